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
 * int16 in a ring of two and each source row is resized at most once; one that only has weight 0 is
 * skipped (a whole factor such as 1920 -> 640 reads a third of the rows). The inner loops for three
 * channels are in pixels.h; the other counts, which no network input needs, stay portable. Rows
 * come out one at a time: a caller turns each into floats while it is in the cache, instead of
 * making a whole resized picture first. */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "vision/resize.h"

enum { WEIGHT_ONE = 2048 };

static int clamp(int k, int top)
{
    return k < 0 ? 0 : k > top ? top : k;
}

/* `unit` is what a step of one counts in `at`. */
static void make_taps(cr_taps *taps, int src, int dst, int unit, bool clamp_fraction)
{
    const double scale = 1.0 / ((double)dst / src);
    taps->n = (size_t)dst;
    for (int i = 0; i < dst; i++) {
        const float at = (float)((i + 0.5) * scale - 0.5);
        int k = (int)floorf(at);
        float f = at - (float)k;
        if (clamp_fraction && (k < 0 || k >= src - 1)) {
            k = k < 0 ? 0 : src - 1;
            f = 0;
        }
        taps->at[i] = (cr_tap){clamp(k, src - 1) * unit, clamp(k + 1, src - 1) * unit};
        taps->weights[2 * i] = (int16_t)lrintf((1.0f - f) * WEIGHT_ONE);
        taps->weights[2 * i + 1] = (int16_t)lrintf(f * WEIGHT_ONE);
    }
}

/* Taps ascend, so those that a vector loop may take are the first ones. */
static size_t count_adjacent(const cr_taps *taps, size_t row_bytes)
{
    size_t n = 0;
    while (n < taps->n && (size_t)taps->at[n].first + 8 <= row_bytes) n++;
    return n;
}

/* row[sw, c] -> out[dw, c]; c is a constant in each caller, so the inner loop unrolls. */
static inline void stretch_row(const uint8_t *row, const cr_taps *taps, size_t c, int16_t *out)
{
    for (size_t x = 0; x < taps->n; x++, out += c) {
        const uint8_t *a = row + taps->at[x].first, *b = row + taps->at[x].second;
        const int w0 = taps->weights[2 * x], w1 = taps->weights[2 * x + 1];
        for (size_t k = 0; k < c; k++) out[k] = (int16_t)((a[k] * w0 + b[k] * w1) >> 4);
    }
}

static void stretch(const cr_resizer *r, const uint8_t *row, int16_t *out)
{
    switch (r->channels) {
    case 1:
        stretch_row(row, &r->across, 1, out);
        break;
    case 2:
        stretch_row(row, &r->across, 2, out);
        break;
    case 3:
        r->ops->stretch(row, &r->across, out);
        break;
    default:
        stretch_row(row, &r->across, 4, out);
        break;
    }
}

static void halve(const uint8_t *row0, const uint8_t *row1, size_t channels, size_t n, uint8_t *out)
{
    for (size_t x = 0; x < n; x++, row0 += 2 * channels, row1 += 2 * channels) {
        for (size_t k = 0; k < channels; k++) {
            const int sum = row0[k] + row0[k + channels] + row1[k] + row1[k + channels];
            const bool to_even = channels == 2 && sum % 4 == 2 && sum / 4 % 2 == 0;
            *out++ = (uint8_t)((sum + (to_even ? 1 : 2)) >> 2);
        }
    }
}

/* The resized source row y; `keep` is the row number that must not be evicted. */
static const int16_t *ring_row(cr_resizer *r, int y, int keep)
{
    for (int i = 0; i < 2; i++)
        if (r->held[i] == y) return r->row[i];
    const int slot = r->held[0] == keep ? 1 : 0;
    stretch(r, r->src + (size_t)y * r->stride, r->row[slot]);
    r->held[slot] = y;
    return r->row[slot];
}

static void blend(cr_resizer *r, int y, uint8_t *out)
{
    const cr_tap t = r->down.at[y];
    const int w0 = r->down.weights[2 * y], w1 = r->down.weights[2 * y + 1];
    const int16_t *a = w0 ? ring_row(r, t.first, t.second) : NULL;
    const int16_t *b = w1 ? ring_row(r, t.second, t.first) : a;
    r->ops->blend(a ? a : b, b, w0, w1, (size_t)r->dw * (size_t)r->channels, out);
}

/* One block: taps of both axes, then two rows. */
static cr_status lay_out(cr_resizer *r, size_t dw, size_t dh, cr_error *err)
{
    const size_t at = cr_round_up((dw + dh) * sizeof(cr_tap), CR_ALIGN);
    const size_t weights = cr_round_up(2 * (dw + dh) * sizeof(int16_t), CR_ALIGN);
    const size_t row = dw * (size_t)r->channels + CR_STRETCH_SLACK;
    uint8_t *p = r->block = cr_aligned_alloc(at + weights + 2 * row * sizeof(int16_t));
    if (!p) return CR_NOMEM(err);
    r->across.at = (cr_tap *)(void *)p;
    r->down.at = r->across.at + dw;
    r->across.weights = (int16_t *)(void *)(p + at);
    r->down.weights = r->across.weights + 2 * dw;
    r->row[0] = (int16_t *)(void *)(p + at + weights);
    r->row[1] = r->row[0] + row;
    r->held[0] = r->held[1] = -1;
    return CR_OK;
}

cr_status cr_resizer_open(cr_resizer *r, const uint8_t *src, size_t stride, int sw, int sh,
                          int channels, int dw, int dh, cr_error *err)
{
    *r = (cr_resizer){.ops = cr_pixels_choose(cr_cpu_flags()),
                      .src = src,
                      .stride = stride,
                      .dw = dw,
                      .channels = channels};
    CR_CHECK(sw >= 1 && sh >= 1 && dw >= 1 && dh >= 1 && channels >= 1 && channels <= 4, err,
             CR_ERR_ARGUMENT, "cannot resize %dx%d to %dx%d with %d channels", sw, sh, dw, dh,
             channels);
    if (sw == dw && sh == dh) {
        r->way = CR_RESIZE_COPY;
        return CR_OK;
    }
    if (sw / 2 == dw && sw % 2 == 0 && sh / 2 == dh && sh % 2 == 0) {
        r->way = CR_RESIZE_HALVE;
        return CR_OK;
    }
    r->way = CR_RESIZE_BLEND;
    CR_TRY(lay_out(r, (size_t)dw, (size_t)dh, err));
    make_taps(&r->across, sw, dw, channels, true);
    make_taps(&r->down, sh, dh, 1, false);
    r->across.adjacent = count_adjacent(&r->across, (size_t)sw * (size_t)channels);
    return CR_OK;
}

void cr_resizer_row(cr_resizer *r, int y, uint8_t *out)
{
    const size_t n = (size_t)r->dw, c = (size_t)r->channels;
    const uint8_t *row = r->src + (size_t)y * r->stride;
    switch (r->way) {
    case CR_RESIZE_COPY:
        memcpy(out, row, n * c);
        break;
    case CR_RESIZE_HALVE:
        row += (size_t)y * r->stride;
        if (c == 3)
            r->ops->halve(row, row + r->stride, n, out);
        else
            halve(row, row + r->stride, c, n, out);
        break;
    case CR_RESIZE_BLEND:
        blend(r, y, out);
        break;
    }
}

void cr_resizer_close(cr_resizer *r)
{
    cr_aligned_free(r->block);
    r->block = NULL;
}

cr_status cr_resize_linear_u8(const uint8_t *src, int sw, int sh, int channels, uint8_t *dst,
                              int dw, int dh, cr_error *err)
{
    cr_resizer r;
    CR_TRY(cr_resizer_open(&r, src, (size_t)sw * (size_t)channels, sw, sh, channels, dw, dh, err));
    const size_t row = (size_t)dw * (size_t)channels;
    for (int y = 0; y < dh; y++) cr_resizer_row(&r, y, dst + (size_t)y * row);
    cr_resizer_close(&r);
    return CR_OK;
}
