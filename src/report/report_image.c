/* Pictures are made small before anything is drawn on them, so that labels stay readable. */
#define _POSIX_C_SOURCE 200809L
#include "report/report_image.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "vision/image_codec.h"

static cr_status shrink(cr_image *img, int largest, cr_error *err)
{
    const int side = img->width > img->height ? img->width : img->height;
    const double factor = (double)largest / side;
    if (side <= largest) return CR_OK;
    cr_image small;
    const int w = (int)fmax(1, round(img->width * factor)), h = (int)fmax(1, round(img->height * factor));
    /* halves first: bilinear alone skips pixels */
    while (img->width >= 2 * w && img->height >= 2 * h && img->width > 2 && img->height > 2) {
        CR_TRY(cr_image_create(img->width / 2, img->height / 2, &small, err));
        for (int y = 0; y < small.height; y++)
            for (int x = 0; x < 3 * small.width; x++) {
                const uint8_t *s = img->rgb + ((size_t)2 * y * img->width + 2 * (x / 3)) * 3 + x % 3;
                const size_t row = (size_t)img->width * 3;
                small.rgb[(size_t)y * small.width * 3 + x] = (uint8_t)((s[0] + s[3] + s[row] + s[row + 3] + 2) / 4);
            }
        cr_image_free(img);
        *img = small;
    }
    CR_TRY(cr_image_create(w, h, &small, err));
    const cr_status st = cr_resize_linear_u8(img->rgb, img->width, img->height, 3, small.rgb, w, h, err);
    cr_image_free(img);
    *img = small;
    return st;
}

cr_status cr_report_image_read(const char *path, int largest, cr_image *out, double *fx, double *fy,
                               cr_error *err)
{
    CR_TRY(cr_image_read(path, out, err));
    const int width = out->width, height = out->height;
    const cr_status st = shrink(out, largest, err);
    *fx = (double)out->width / width;
    *fy = (double)out->height / height;
    if (st != CR_OK) cr_image_free(out);
    return st;
}

static void put_base64(FILE *f, const unsigned char *s, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const unsigned a = s[i], b = i + 1 < n ? s[i + 1] : 0, c = i + 2 < n ? s[i + 2] : 0;
        const unsigned bits = a << 16 | b << 8 | c;
        fputc(digits[bits >> 18], f);
        fputc(digits[bits >> 12 & 63], f);
        fputc(i + 1 < n ? digits[bits >> 6 & 63] : '=', f);
        fputc(i + 2 < n ? digits[bits & 63] : '=', f);
    }
}

cr_status cr_report_image_put(FILE *f, const char *name, const cr_image *img, cr_error *err)
{
    char *bytes = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&bytes, &size);
    if (!memory) return CR_NOMEM(err);
    cr_status st = cr_jpeg_encode(memory, name, img, err);
    if (fclose(memory) && st == CR_OK) st = CR_NOMEM(err);
    if (st == CR_OK) {
        fprintf(f, "<img width=\"%d\" height=\"%d\" alt=\"\" src=\"data:image/jpeg;base64,", img->width, img->height);
        put_base64(f, (const unsigned char *)bytes, size);
        fputs("\">", f);
    }
    free(bytes);
    return st;
}
