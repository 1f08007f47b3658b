/* JPEG through libjpeg-turbo.
 *
 * The decoder keeps libjpeg's defaults (slow integer DCT, "fancy" chroma upsampling): OpenCV does
 * too, which is why the pixels are equal. Two departures, both about damage: libjpeg only warns
 * when the data end early and paints the rest grey; a detector would quietly see half a picture, so
 * it is an error here. And a progressive file may ask for any number of passes over the whole
 * picture, so scans are counted.
 *
 * libjpeg reports errors by a callback that must not return. It longjmps to the one setjmp of the
 * public function; what must survive the jump lives in `struct reader`, not in locals. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/image_codec.h"

enum {
    MAX_SCANS = 200,
    QUALITY = 92,
    MCU_ROWS = 16 /* offered to libjpeg at a time: what it decodes at once with 4:2:0 */
};

struct jump_error {
    struct jpeg_error_mgr base; /* first: libjpeg hands back a pointer to it */
    jmp_buf jump;
    char text[JMSG_LENGTH_MAX];
};

struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jump_error error;
    struct jpeg_progress_mgr progress;
    cr_image image;
    uint8_t *cmyk; /* one row of C,M,Y,K, or NULL */
};

static void on_error(j_common_ptr jpeg)
{
    struct jump_error *const e = (struct jump_error *)jpeg->err;
    e->base.format_message(jpeg, e->text);
    longjmp(e->jump, 1);
}

/* Odd but harmless things (stray bytes before a marker) pass, missing data do not. */
static void on_message(j_common_ptr jpeg, int level)
{
    const int code = jpeg->err->msg_code;
    if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER)) on_error(jpeg);
}

static void on_progress(j_common_ptr jpeg)
{
    if (((j_decompress_ptr)jpeg)->input_scan_number <= MAX_SCANS) return;
    struct jump_error *const e = (struct jump_error *)jpeg->err;
    snprintf(e->text, sizeof e->text, "more than %d scans", MAX_SCANS);
    longjmp(e->jump, 1);
}

static void install_errors(struct jump_error *e)
{
    jpeg_std_error(&e->base);
    e->base.error_exit = on_error;
    e->base.emit_message = on_message;
}

static int read_orientation(j_decompress_ptr jpeg)
{
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && !memcmp(m->data, "Exif\0", 6))
            return cr_exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

/* OpenCV's formula; Adobe files store the inks inverted, 255 = none. */
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++) {
        const int k = cmyk[4 * i + 3];
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(k - ((255 - cmyk[4 * i + c]) * k >> 8));
    }
}

/* Everything between the header and the last row; may longjmp. */
static cr_status read_rows(struct reader *r, const char *name, cr_error *err)
{
    j_decompress_ptr jpeg = &r->jpeg;
    CR_TRY(cr_image_check_size(name, jpeg->image_width, jpeg->image_height, err));
    CR_TRY(cr_image_alloc((int)jpeg->image_width, (int)jpeg->image_height, &r->image, err));
    const size_t width = jpeg->image_width;
    const bool inks = jpeg->num_components == 4;
    jpeg->out_color_space = inks ? JCS_CMYK : JCS_RGB;
    if (inks && !(r->cmyk = cr_malloc(4 * width))) return CR_NOMEM(err);
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *const rgb = r->image.rgb + 3 * width * jpeg->output_scanline;
        if (inks) {
            jpeg_read_scanlines(jpeg, &r->cmyk, 1);
            cmyk_to_rgb(r->cmyk, rgb, width);
            continue;
        }
        JSAMPROW rows[MCU_ROWS];
        const JDIMENSION left = jpeg->output_height - jpeg->output_scanline;
        const JDIMENSION n = left < MCU_ROWS ? left : MCU_ROWS;
        for (JDIMENSION i = 0; i < n; i++) rows[i] = rgb + 3 * width * i;
        jpeg_read_scanlines(jpeg, rows, n);
    }
    jpeg_finish_decompress(jpeg);
    return CR_OK;
}

static cr_status read_all(struct reader *r, const uint8_t *bytes, size_t size, const char *name,
                          int *orientation, cr_error *err)
{
    install_errors(&r->error);
    r->jpeg.err = &r->error.base;
    if (setjmp(r->error.jump))
        return cr_fail(err, CR_ERR_FORMAT, "%s: damaged JPEG: %s", name, r->error.text);
    jpeg_create_decompress(&r->jpeg);
    r->progress.progress_monitor = on_progress;
    r->jpeg.progress = &r->progress;
    jpeg_mem_src(&r->jpeg, bytes, (unsigned long)size);
    jpeg_save_markers(&r->jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&r->jpeg, TRUE);
    *orientation = read_orientation(&r->jpeg);
    return read_rows(r, name, err);
}

cr_status cr_jpeg_decode(const uint8_t *bytes, size_t size, const char *name, cr_image *out,
                         int *orientation, cr_error *err)
{
    struct reader *r = cr_calloc(1, sizeof *r);
    if (!r) return CR_NOMEM(err);
    const cr_status st = read_all(r, bytes, size, name, orientation, err);
    jpeg_destroy_decompress(&r->jpeg);
    cr_free(r->cmyk);
    if (st == CR_OK)
        *out = r->image;
    else
        cr_image_free(&r->image);
    cr_free(r);
    return st;
}

struct writer {
    struct jpeg_compress_struct jpeg;
    struct jump_error error;
};

static cr_status write_all(struct writer *w, FILE *f, const char *name, const cr_image *img,
                           cr_error *err)
{
    install_errors(&w->error);
    w->jpeg.err = &w->error.base;
    if (setjmp(w->error.jump))
        return cr_fail(err, CR_ERR_IO, "%s: cannot write JPEG: %s", name, w->error.text);
    jpeg_create_compress(&w->jpeg);
    jpeg_stdio_dest(&w->jpeg, f);
    w->jpeg.image_width = (JDIMENSION)img->width;
    w->jpeg.image_height = (JDIMENSION)img->height;
    w->jpeg.input_components = 3;
    w->jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&w->jpeg);
    jpeg_set_quality(&w->jpeg, QUALITY, TRUE);
    jpeg_start_compress(&w->jpeg, TRUE);
    while (w->jpeg.next_scanline < w->jpeg.image_height) {
        JSAMPROW row = img->rgb + (size_t)w->jpeg.next_scanline * (size_t)img->width * 3;
        jpeg_write_scanlines(&w->jpeg, &row, 1);
    }
    jpeg_finish_compress(&w->jpeg);
    return CR_OK;
}

cr_status cr_jpeg_encode(FILE *f, const char *name, const cr_image *img, cr_error *err)
{
    CR_CHECK(img->width <= JPEG_MAX_DIMENSION && img->height <= JPEG_MAX_DIMENSION, err,
             CR_ERR_LIMIT, "%s: %dx%d is too large for a JPEG; write a .png", name, img->width,
             img->height);
    struct writer *w = cr_calloc(1, sizeof *w);
    if (!w) return CR_NOMEM(err);
    const cr_status st = write_all(w, f, name, img, err);
    jpeg_destroy_compress(&w->jpeg);
    cr_free(w);
    return st;
}
