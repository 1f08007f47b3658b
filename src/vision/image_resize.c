/* Bilinear resize equal to OpenCV's INTER_LINEAR on 8-bit pixels, byte for byte.
 *
 * Method, found by comparing models of it with opencv-python-headless 5.0.0.93 on random pictures
 * (tests/peers/vision_opencv.py repeats that):
 *   position   f = (float)((i + 0.5) * scale - 0.5) with scale = 1.0 / (dst / (double)src), split
 *              into floor and fraction in float32
 *   weights    round_half_even(fraction * 2048) and that of 1 - fraction, 11 bits
 *   columns    the position is clamped into the picture, its fraction then being 0
 *   rows       the two row NUMBERS are clamped, the fraction stays: at the top and bottom edge both
 *              weights apply to the same row and round separately
 *   sum        h = (p0 * wx0 + p1 * wx1) >> 4;  (((h0 * wy0) >> 16) + ((h1 * wy1) >> 16) + 2) >> 2
 *   exact 2:1  in both directions: the mean of the four pixels, (sum + 2) >> 2, except that two
 *              channels round half to even (the library has no fast path for them)
 * That is the classic vector code of the library; its bit-exact variant (INTER_LINEAR_EXACT) and
 * the plain formula both differ by 1 in places.
 *
 * Layout: h fits 16 bits (255 * 2049 >> 4 = 32655), so the horizontally resized rows are kept as
 * int16 in a ring of two and each source row is resized once; the vertical pass is a high-half
 * 16-bit multiply, which compilers vectorize. A table of 2*dw offsets and weights serves all rows.
 */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/image.h"

enum { WEIGHT_ONE = 2048 };

struct tap {
    int32_t first, second; /* pixel or row numbers, inside the picture */
    int16_t w0, w1;
};

static void make_taps(struct tap *taps, int src, int dst, bool clamp_fraction)
{
    const double scale = 1.0 / ((double)dst / src);
    for (int i = 0; i < dst; i++) {
        const float at = (float)((i + 0.5) * scale - 0.5);
        int k = (int)floorf(at);
        float f = at - (float)k;
        if (clamp_fraction && (k < 0 || k >= src - 1)) {
            k = k < 0 ? 0 : src - 1;
            f = 0;
        }
        taps[i].first = k < 0 ? 0 : k > src - 1 ? src - 1 : k;
        taps[i].second = k + 1 < 0 ? 0 : k + 1 > src - 1 ? src - 1 : k + 1;
        taps[i].w0 = (int16_t)lrintf((1.0f - f) * WEIGHT_ONE);
        taps[i].w1 = (int16_t)lrintf(f * WEIGHT_ONE);
    }
}

/* row[sw, c] -> out[dw, c]; c is a constant in each caller, so the inner loop unrolls. */
static inline void stretch_row(const uint8_t *row, const struct tap *taps, int dw, int c,
                               int16_t *out)
{
    for (int x = 0; x < dw; x++) {
        const uint8_t *a = row + (size_t)taps[x].first * (size_t)c;
        const uint8_t *b = row + (size_t)taps[x].second * (size_t)c;
        const int w0 = taps[x].w0, w1 = taps[x].w1;
        for (int k = 0; k < c; k++) out[k] = (int16_t)((a[k] * w0 + b[k] * w1) >> 4);
        out += c;
    }
}

static void stretch(const uint8_t *row, const struct tap *taps, int dw, int channels, int16_t *out)
{
    switch (channels) {
    case 1:
        stretch_row(row, taps, dw, 1, out);
        break;
    case 2:
        stretch_row(row, taps, dw, 2, out);
        break;
    case 3:
        stretch_row(row, taps, dw, 3, out);
        break;
    default:
        stretch_row(row, taps, dw, 4, out);
        break;
    }
}

static void blend_rows(const int16_t *restrict h0, const int16_t *restrict h1, int w0, int w1,
                       size_t n, uint8_t *restrict out)
{
    const int16_t a = (int16_t)w0, b = (int16_t)w1;
    for (size_t i = 0; i < n; i++) {
        const int16_t p = (int16_t)((h0[i] * a) >> 16), q = (int16_t)((h1[i] * b) >> 16);
        out[i] = (uint8_t)((p + q + 2) >> 2);
    }
}

static void halve(const uint8_t *src, int channels, uint8_t *dst, int dw, int dh)
{
    const size_t c = (size_t)channels, row = 2 * (size_t)dw * c;
    for (size_t y = 0; y < (size_t)dh; y++) {
        const uint8_t *p = src + 2 * y * row;
        for (size_t x = 0; x < (size_t)dw; x++, p += c) {
            for (size_t k = 0; k < c; k++, p++) {
                const int sum = p[0] + p[c] + p[row] + p[row + c];
                const bool to_even = c == 2 && sum % 4 == 2 && sum / 4 % 2 == 0;
                *dst++ = (uint8_t)((sum + (to_even ? 1 : 2)) >> 2);
            }
        }
    }
}

struct ring {
    int16_t *row[2];
    int held[2]; /* source row number, -1: none */
};

/* The resized source row y; `keep` is the row number that must not be evicted. */
static const int16_t *ring_row(struct ring *r, int y, int keep, const uint8_t *src, size_t stride,
                               const struct tap *taps, int dw, int channels)
{
    for (int i = 0; i < 2; i++)
        if (r->held[i] == y) return r->row[i];
    const int slot = r->held[0] == keep ? 1 : 0;
    stretch(src + (size_t)y * stride, taps, dw, channels, r->row[slot]);
    r->held[slot] = y;
    return r->row[slot];
}

cr_status cr_resize_linear_u8(const uint8_t *src, int sw, int sh, int channels, uint8_t *dst,
                              int dw, int dh, cr_error *err)
{
    CR_CHECK(sw >= 1 && sh >= 1 && dw >= 1 && dh >= 1 && channels >= 1 && channels <= 4, err,
             CR_ERR_ARGUMENT, "cannot resize %dx%d to %dx%d with %d channels", sw, sh, dw, dh,
             channels);
    const size_t c = (size_t)channels, n = (size_t)dw * c, stride = (size_t)sw * c;
    if (sw == dw && sh == dh) {
        memcpy(dst, src, stride * (size_t)sh);
        return CR_OK;
    }
    if (sw / 2 == dw && sw % 2 == 0 && sh / 2 == dh && sh % 2 == 0) {
        halve(src, channels, dst, dw, dh);
        return CR_OK;
    }
    struct tap *taps = cr_malloc(((size_t)dw + (size_t)dh) * sizeof *taps);
    int16_t *rows = cr_aligned_alloc(2 * n * sizeof *rows);
    const cr_status st = taps && rows ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        struct tap *const across = taps, *const down = taps + dw;
        make_taps(across, sw, dw, true);
        make_taps(down, sh, dh, false);
        struct ring ring = {{rows, rows + n}, {-1, -1}};
        for (int y = 0; y < dh; y++) {
            const struct tap t = down[y];
            const int16_t *a =
                ring_row(&ring, t.first, t.second, src, stride, across, dw, channels);
            const int16_t *b =
                ring_row(&ring, t.second, t.first, src, stride, across, dw, channels);
            blend_rows(a, b, t.w0, t.w1, n, dst + (size_t)y * n);
        }
    }
    cr_aligned_free(rows);
    cr_free(taps);
    return st;
}
