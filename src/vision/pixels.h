/* The inner loops of resizing and normalising, one record per CPU level. Integer results are those
 * of the C record, and floats too: a subtraction and a division, each rounded once.
 *
 * No function reads outside the row that it is given. Pixels are packed triples; what fills a row
 * is counted in pixels unless it says values. */
#ifndef CR_VISION_PIXELS_H
#define CR_VISION_PIXELS_H

#include <stddef.h>
#include <stdint.h>

/* Where an output pixel (or row) comes from: two neighbours. Columns are counted in bytes. */
typedef struct cr_tap {
    int32_t first, second;
} cr_tap;

/* One axis: n taps and their weights, 2048 for a whole pixel: weights[2 * i] for `first`,
 * weights[2 * i + 1] for `second`. Taps ascend. For i < adjacent, `second` is 3 bytes on and 8
 * bytes from `first` are inside the row. */
typedef struct cr_taps {
    cr_tap *at;
    int16_t *weights;
    size_t n, adjacent;
} cr_taps;

enum { CR_STRETCH_SLACK = 16 }; /* values behind a stretched row that may be overwritten */

typedef struct cr_pixels {
    /* out[3 * n] = (first * w0 + second * w1) >> 4 */
    void (*stretch)(const uint8_t *row, const cr_taps *taps, int16_t *out);
    /* out[n] = (((h0 * w0) >> 16) + ((h1 * w1) >> 16) + 2) >> 2, n values */
    void (*blend)(const int16_t *h0, const int16_t *h1, int w0, int w1, size_t n, uint8_t *out);
    /* out[n] = (sum of 2x2 pixels + 2) >> 2, from two rows of 2 * n pixels */
    void (*halve)(const uint8_t *row0, const uint8_t *row1, size_t n, uint8_t *out);
    /* R,G,B -> B,G,R in place, n pixels */
    void (*swap)(uint8_t *row, size_t n);
    /* out[c][n] = (row[n][c] - mean[c]) / div[c] */
    void (*planes)(const uint8_t *row, size_t n, const float mean[3], const float div[3],
                   float *const out[3]);
} cr_pixels;

/* The best record for these flags (base/cpu.h); never NULL. */
const cr_pixels *cr_pixels_choose(unsigned flags);

/* The rest of a stretched row, for records that do most of it in vectors. */
static inline void cr_stretch_from(const uint8_t *row, const cr_taps *taps, size_t x, int16_t *out)
{
    for (; x < taps->n; x++) {
        const uint8_t *a = row + taps->at[x].first, *b = row + taps->at[x].second;
        const int w0 = taps->weights[2 * x], w1 = taps->weights[2 * x + 1];
        for (size_t k = 0; k < 3; k++) out[3 * x + k] = (int16_t)((a[k] * w0 + b[k] * w1) >> 4);
    }
}

static inline void cr_blend_from(const int16_t *h0, const int16_t *h1, int w0, int w1, size_t i,
                                 size_t n, uint8_t *out)
{
    for (; i < n; i++) out[i] = (uint8_t)((((h0[i] * w0) >> 16) + ((h1[i] * w1) >> 16) + 2) >> 2);
}

static inline void cr_halve_from(const uint8_t *row0, const uint8_t *row1, size_t x, size_t n,
                                 uint8_t *out)
{
    for (; x < n; x++) {
        const uint8_t *a = row0 + 6 * x, *b = row1 + 6 * x;
        for (size_t k = 0; k < 3; k++)
            out[3 * x + k] = (uint8_t)((a[k] + a[k + 3] + b[k] + b[k + 3] + 2) >> 2);
    }
}

static inline void cr_swap_from(uint8_t *row, size_t x, size_t n)
{
    for (; x < n; x++) {
        const uint8_t first = row[3 * x];
        row[3 * x] = row[3 * x + 2];
        row[3 * x + 2] = first;
    }
}

static inline void cr_planes_from(const uint8_t *row, size_t x, size_t n, const float mean[3],
                                  const float div[3], float *const out[3])
{
    for (; x < n; x++)
        for (size_t c = 0; c < 3; c++) out[c][x] = ((float)row[3 * x + c] - mean[c]) / div[c];
}

#endif
