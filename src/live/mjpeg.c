/* JPEG takes YUV 4:2:0 as it is (libjpeg's raw data), in full-range BT.601: swscale brings other
 * frames to that. Planes are padded to whole blocks of 16 pixels by their last ones. */
#include "live/mjpeg.h"

#include <stdio.h> /* before jpeglib.h */

#include <jpeglib.h>
#include <libswscale/swscale.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum { BLOCK = 16, HALF = BLOCK / 2 };

struct cr_mjpeg {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf jump;
    int quality;
    struct SwsContext *convert;
    int width, height;
    bool bt709, full_range;
    uint8_t *plane[3]; /* of whole blocks, and swscale's room behind the rows */
    int stride[3];
};

static void jump_out(j_common_ptr jpeg)
{
    cr_mjpeg *m = jpeg->client_data;
    longjmp(m->jump, 1);
}

static void say_nothing(j_common_ptr jpeg)
{
    (void)jpeg;
}

cr_status cr_mjpeg_create(int quality, cr_mjpeg **out, cr_error *err)
{
    *out = NULL;
    cr_mjpeg *m = cr_calloc(1, sizeof *m);
    if (!m) return CR_NOMEM(err);
    m->quality = quality;
    m->jpeg.err = jpeg_std_error(&m->errors);
    m->errors.error_exit = jump_out;
    m->errors.output_message = say_nothing;
    m->jpeg.client_data = m;
    jpeg_create_compress(&m->jpeg);
    *out = m;
    return CR_OK;
}

void cr_mjpeg_free(cr_mjpeg **mp)
{
    if (!*mp) return;
    jpeg_destroy_compress(&(*mp)->jpeg);
    sws_freeContext((*mp)->convert);
    for (int p = 0; p < 3; p++) cr_free((*mp)->plane[p]);
    cr_free(*mp);
    *mp = NULL;
}

static int padded(int n, int block)
{
    return (n + block - 1) / block * block;
}

static cr_status fit(cr_mjpeg *m, const cr_live_picture *p, cr_error *err)
{
    if (m->width == p->width && m->height == p->height && m->bt709 == p->bt709 &&
        m->full_range == p->full_range)
        return CR_OK;
    m->width = 0;
    for (int i = 0; i < 3; i++) {
        const int block = i ? HALF : BLOCK, shift = i ? 1 : 0;
        const int w = (p->width + shift) >> shift, h = (p->height + shift) >> shift;
        m->stride[i] = padded(w, block) + 64;
        cr_free(m->plane[i]);
        m->plane[i] = cr_malloc((size_t)m->stride[i] * (size_t)padded(h, block));
        if (!m->plane[i]) return CR_NOMEM(err);
    }
    sws_freeContext(m->convert);
    m->convert = sws_getContext(p->width, p->height, AV_PIX_FMT_YUV420P, p->width, p->height,
                                AV_PIX_FMT_YUV420P, SWS_BILINEAR, NULL, NULL, NULL);
    if (!m->convert) return CR_NOMEM(err);
    sws_setColorspaceDetails(
        m->convert, sws_getCoefficients(p->bt709 ? SWS_CS_ITU709 : SWS_CS_ITU601), p->full_range,
        sws_getCoefficients(SWS_CS_ITU601), 1, 0, 1 << 16, 1 << 16);
    m->width = p->width;
    m->height = p->height;
    m->bt709 = p->bt709;
    m->full_range = p->full_range;
    return CR_OK;
}

/* Repeats the last column and row up to whole blocks. */
static void pad(const cr_mjpeg *m)
{
    for (int i = 0; i < 3; i++) {
        const int block = i ? HALF : BLOCK, shift = i ? 1 : 0;
        const int w = (m->width + shift) >> shift, h = (m->height + shift) >> shift;
        const int full_w = padded(w, block), full_h = padded(h, block);
        uint8_t *plane = m->plane[i];
        for (int y = 0; y < h; y++) {
            uint8_t *row = plane + (size_t)y * (size_t)m->stride[i];
            memset(row + w, row[w - 1], (size_t)(full_w - w));
        }
        for (int y = h; y < full_h; y++)
            memcpy(plane + (size_t)y * (size_t)m->stride[i],
                   plane + (size_t)(h - 1) * (size_t)m->stride[i], (size_t)full_w);
    }
}

static void write_rows(cr_mjpeg *m)
{
    JSAMPROW rows[3][BLOCK];
    JSAMPARRAY planes[3] = {rows[0], rows[1], rows[2]};
    while (m->jpeg.next_scanline < m->jpeg.image_height) {
        const int y = (int)m->jpeg.next_scanline;
        for (int i = 0; i < BLOCK; i++)
            rows[0][i] = m->plane[0] + (size_t)(y + i) * (size_t)m->stride[0];
        for (int p = 1; p < 3; p++)
            for (int i = 0; i < HALF; i++)
                rows[p][i] = m->plane[p] + (size_t)(y / 2 + i) * (size_t)m->stride[p];
        jpeg_write_raw_data(&m->jpeg, planes, BLOCK);
    }
}

static void describe(cr_mjpeg *m)
{
    m->jpeg.image_width = (JDIMENSION)m->width;
    m->jpeg.image_height = (JDIMENSION)m->height;
    m->jpeg.input_components = 3;
    m->jpeg.in_color_space = JCS_YCbCr;
    jpeg_set_defaults(&m->jpeg);
    jpeg_set_quality(&m->jpeg, m->quality, TRUE);
    m->jpeg.raw_data_in = TRUE;
    m->jpeg.dct_method = JDCT_FASTEST;
    for (int i = 0; i < 3; i++) {
        m->jpeg.comp_info[i].h_samp_factor = i ? 1 : 2;
        m->jpeg.comp_info[i].v_samp_factor = i ? 1 : 2;
    }
}

cr_status cr_mjpeg_encode(cr_mjpeg *m, const cr_live_picture *p, unsigned char **bytes,
                          size_t *size, cr_error *err)
{
    unsigned long length = 0;
    unsigned char *volatile out = NULL;
    *bytes = NULL;
    CR_TRY(fit(m, p, err));
    sws_scale(m->convert, p->plane, p->stride, 0, p->height, m->plane, m->stride);
    pad(m);
    unsigned char *target = NULL;
    if (setjmp(m->jump)) {
        jpeg_abort_compress(&m->jpeg);
        free(out);
        return cr_fail(err, CR_ERR_MEMORY, "cannot write JPEG of %dx%d", p->width, p->height);
    }
    jpeg_mem_dest(&m->jpeg, &target, &length);
    describe(m);
    jpeg_start_compress(&m->jpeg, TRUE);
    write_rows(m);
    jpeg_finish_compress(&m->jpeg);
    out = target;
    *bytes = target;
    *size = length;
    return CR_OK;
}
