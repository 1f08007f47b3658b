/* PNG through libpng. The transforms are those of OpenCV's IMREAD_COLOR: palettes and small greys
 * expanded, 16 bits cut to their high byte, alpha and transparency dropped without blending, no
 * gamma. Errors longjmp as in image_jpeg.c; what must survive lives in `struct reader`. */
#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/image_codec.h"

enum { MAX_CHUNK = 8 << 20 }; /* bytes of an ancillary chunk that libpng may unpack */

struct reader {
    png_structp png;
    png_infop info;
    const uint8_t *bytes;
    size_t left;
    cr_image image;
    png_bytep *rows;
    char text[160];
};

static void on_error(png_structp png, png_const_charp text)
{
    char *const out = png_get_error_ptr(png);
    strncpy(out, text, sizeof((struct reader *)0)->text - 1);
    longjmp(*png_set_longjmp_fn(png, longjmp, sizeof(jmp_buf)), 1);
}

static void on_warning(png_structp png, png_const_charp text) {}

static void on_read(png_structp png, png_bytep out, size_t n)
{
    struct reader *const r = png_get_io_ptr(png);
    if (n > r->left) png_error(png, "the file ends too early");
    memcpy(out, r->bytes, n);
    r->bytes += n;
    r->left -= n;
}

static void set_transforms(struct reader *r)
{
    const int type = png_get_color_type(r->png, r->info);
    if (png_get_bit_depth(r->png, r->info) == 16) png_set_strip_16(r->png);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(r->png);
    if (type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA) {
        png_set_expand_gray_1_2_4_to_8(r->png);
        png_set_gray_to_rgb(r->png);
    }
    png_set_strip_alpha(r->png);
    png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
}

static int read_orientation(struct reader *r)
{
    png_uint_32 size = 0;
    png_bytep exif = NULL;
    return png_get_eXIf_1(r->png, r->info, &size, &exif) ? cr_exif_orientation(exif, size) : 1;
}

static cr_status read_rows(struct reader *r, const char *name, cr_error *err)
{
    const png_uint_32 width = png_get_image_width(r->png, r->info);
    const png_uint_32 height = png_get_image_height(r->png, r->info);
    CR_TRY(cr_image_check_size(name, width, height, err));
    set_transforms(r);
    CR_CHECK(png_get_rowbytes(r->png, r->info) == (size_t)width * 3, err, CR_ERR_INTERNAL,
             "%s: PNG rows of an unexpected size", name);
    CR_TRY(cr_image_alloc((int)width, (int)height, &r->image, err));
    r->rows = cr_malloc(height * sizeof *r->rows);
    if (!r->rows) return CR_NOMEM(err);
    for (size_t y = 0; y < height; y++) r->rows[y] = r->image.rgb + y * width * 3;
    png_read_image(r->png, r->rows);
    png_read_end(r->png, r->info);
    return CR_OK;
}

static cr_status read_all(struct reader *r, const char *name, int *orientation, cr_error *err)
{
    r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r->text, on_error, on_warning);
    if (!r->png) return CR_NOMEM(err);
    if (setjmp(png_jmpbuf(r->png)))
        return cr_fail(err, CR_ERR_FORMAT, "%s: damaged PNG: %s", name, r->text);
    r->info = png_create_info_struct(r->png);
    if (!r->info) return CR_NOMEM(err);
    png_set_user_limits(r->png, 0x7fffffff, 0x7fffffff);
    png_set_chunk_malloc_max(r->png, MAX_CHUNK);
    png_set_read_fn(r->png, r, on_read);
    png_read_info(r->png, r->info);
    CR_TRY(read_rows(r, name, err));
    *orientation = read_orientation(r);
    return CR_OK;
}

cr_status cr_png_decode(const uint8_t *bytes, size_t size, const char *name, cr_image *out,
                        int *orientation, cr_error *err)
{
    struct reader *r = cr_calloc(1, sizeof *r);
    if (!r) return CR_NOMEM(err);
    r->bytes = bytes;
    r->left = size;
    const cr_status st = read_all(r, name, orientation, err);
    png_destroy_read_struct(&r->png, &r->info, NULL);
    cr_free(r->rows);
    if (st == CR_OK)
        *out = r->image;
    else
        cr_image_free(&r->image);
    cr_free(r);
    return st;
}

struct writer {
    png_structp png;
    png_infop info;
    char text[160];
};

static cr_status write_all(struct writer *w, FILE *f, const char *name, const cr_image *img,
                           cr_error *err)
{
    w->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, w->text, on_error, on_warning);
    if (!w->png) return CR_NOMEM(err);
    if (setjmp(png_jmpbuf(w->png)))
        return cr_fail(err, CR_ERR_IO, "%s: cannot write PNG: %s", name, w->text);
    w->info = png_create_info_struct(w->png);
    if (!w->info) return CR_NOMEM(err);
    png_set_user_limits(w->png, 0x7fffffff, 0x7fffffff);
    png_init_io(w->png, f);
    png_set_IHDR(w->png, w->info, (png_uint_32)img->width, (png_uint_32)img->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    for (int y = 0; y < img->height; y++)
        png_write_row(w->png, img->rgb + (size_t)y * (size_t)img->width * 3);
    png_write_end(w->png, w->info);
    return CR_OK;
}

cr_status cr_png_encode(FILE *f, const char *name, const cr_image *img, cr_error *err)
{
    struct writer *w = cr_calloc(1, sizeof *w);
    if (!w) return CR_NOMEM(err);
    const cr_status st = write_all(w, f, name, img, err);
    png_destroy_write_struct(&w->png, &w->info);
    cr_free(w);
    return st;
}
