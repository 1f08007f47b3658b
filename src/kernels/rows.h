/* Kernels on one row of values: the epilogues of convolutions and all elementwise work.
 *
 * A record of function pointers per CPU level, filled from C upward; every level gives the same
 * bits as the C one. Rows may have any length and alignment; reads and writes stay inside them. */
#ifndef CR_KERNELS_ROWS_H
#define CR_KERNELS_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/act.h"

/* 16-bit codes are kept in two planes of bytes: the high bytes, and `plane` bytes behind them the low
 * ones, so that kernels that multiply bytes can read them (conv.h). */

/* Rows of codes: value = (code - zero_point) * scale. */
typedef struct cr_codes {
    const uint8_t *data;
    int64_t ld; /* bytes between rows */
    float scale;
    int32_t zero_point; /* 0..255 */
} cr_codes;

/* From int32 sums to results, as crayon/arith.h says. */
typedef struct cr_finish {
    const float
        *multiplier; /* [cols] sa*sw[c]; without activation and residual, codes out: sa*sw[c]/sy */
    cr_act act;
    float scale;        /* of the output codes */
    int32_t zero_point; /* 0..255 */
    cr_codes residual;  /* codes out: values that are added behind the activation; data NULL: none */
    const float *scales;  /* [cols] instead of scale and zero_point; NULL: one for all */
    const int32_t *zeros; /* [cols] */
    bool floats;          /* the sums are floats already (join_sums) */
} cr_finish;

/* The part of a result that is finished at once: `rows` pixels of `cols` channels, pixels ld_in
 * sums and ld_out results apart (table: codes). */
typedef struct cr_finish_area {
    int64_t rows, cols, ld_in, ld_out;
} cr_finish_area;

typedef struct cr_rows {
    const char *name;
    /* y[i] = act(x[i]); y may be x */
    void (*act)(float *y, const float *x, size_t n, const cr_act *act);
    /* codes 0..255 */
    void (*quantize)(uint8_t *y, const float *x, size_t n, float scale, int32_t zero_point);
    void (*dequantize)(float *y, const uint8_t *x, size_t n, float scale, int32_t zero_point);
    /* the same where every element has its own scale and zero point (a row of channels) */
    void (*quantize_each)(uint8_t *y, const float *x, size_t n, const float *scale,
                          const int32_t *zero_point);
    void (*dequantize_each)(float *y, const uint8_t *x, size_t n, const float *scale,
                            const int32_t *zero_point);
    /* the same for 16-bit codes */
    void (*quantize_wide)(uint8_t *y, int64_t plane, const float *x, size_t n, const float *scale,
                          const int32_t *zero_point);
    void (*dequantize_wide)(float *y, const uint8_t *x, int64_t plane, size_t n, const float *scale,
                            const int32_t *zero_point);
    /* Pixels of up to four planes to rows of four codes; planes that are NULL give code 0. */
    void (*quantize_pixels)(uint8_t *y, const float *const planes[4], size_t n, float scale,
                            int32_t zero_point);
    /* Packed triples to rows of four codes, table[c] for value c of a triple; the fourth is 0. */
    void (*code_pixels)(uint8_t *y, const uint8_t *x, size_t n, const uint8_t table[3][256]);
    /* y = table[x] on an area; y may be x */
    void (*table)(uint8_t *y, const uint8_t *x, const cr_finish_area *area,
                  const uint8_t table[256]);
    /* codes of the sum of two tensors' values: quantize(dequantize(a) + dequantize(b)) */
    void (*add_u8)(uint8_t *y, int64_t ld, const cr_codes *a, const cr_codes *b, int64_t rows,
                   int64_t cols, float scale, int32_t zero_point);
    /* y = act((float)acc * multiplier) */
    void (*finish_f32)(float *y, const int32_t *acc, const cr_finish_area *area,
                       const cr_finish *f);
    /* the same plus the residual, then codes; with neither straight by requantization */
    void (*finish_u8)(uint8_t *y, const int32_t *acc, const cr_finish_area *area,
                      const cr_finish *f);
    /* the same to 16-bit codes, without a residual */
    void (*finish_wide)(uint8_t *y, int64_t plane, const int32_t *acc, const cr_finish_area *area,
                        const cr_finish *f);
    /* Sums over high bytes become float32, rounded once, of 256 * high + low + offset[column];
     * `area` (rows, cols, ld_in) is both sums'. |offset| < 2^52 and whole. */
    void (*join_sums)(int32_t *high, const int32_t *low, const double *offset,
                      const cr_finish_area *area);
    /* sums[r][i] -= zero[i] * ones[r * ld_out], modulo 2^32, on rows, cols and ld_in of `area` */
    void (*take_zeros)(int32_t *sums, const int32_t *zero, const int32_t *ones,
                       const cr_finish_area *area);
    /* y = act((float)(acc + zeros) * multiplier + scales), by column */
    void (*finish_live)(float *y, const int32_t *acc, const cr_finish_area *area,
                        const cr_finish *f);
    /* *lo and *hi are moved apart to hold all x that are no NaN */
    void (*range)(const float *x, size_t n, float *lo, float *hi);
    /* y = max(y, x) */
    void (*max_f32)(float *y, const float *x, size_t n);
    void (*max_u8)(uint8_t *y, const uint8_t *x, size_t n);
    /* y[i] = x[i] + w[i], x[i] * w[i]; y may be x or w */
    void (*add_f32)(float *y, const float *x, const float *w, size_t n);
    void (*mul_f32)(float *y, const float *x, const float *w, size_t n);
    /* y[i] = exp(x[i] - shift[i]); sum[i] += y[i] */
    void (*exp_sum)(float *y, const float *x, const float *shift, float *sum, size_t n);
    /* Pixels of channels to planes: y[c * ld_y + p] = x[p * ld_x + c] */
    void (*planes)(float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t pixels,
                   int64_t channels);
    /* e = exp(x[i] - shift[i]); sum[i] += e; mean[i] = fma(e, w, mean[i]) */
    void (*exp_mean)(const float *x, const float *shift, float w, float *sum, float *mean, size_t n);
} cr_rows;

/* The best record for these cr_cpu_flags(). */
const cr_rows *cr_rows_get(unsigned cpu);

/* The record of one level (index of cr_cpu_level), or NULL if the family has none there. */
const cr_rows *cr_rows_level(int level);

#endif
