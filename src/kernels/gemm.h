/* Products of two matrices that are both computed at run time: C = A * B, many at once (the heads
 * of an attention block). A constant B is a 1x1 convolution and runs as one (kernels/conv.h).
 *
 * Operands may have any strides, so a transposed or interleaved operand costs nothing extra: B is
 * packed into panels of nr columns first (all of them, by all threads), A is read in place, one
 * value broadcast at a time. A tile of mr x nr sums stays in registers over the whole of k.
 *
 *     B panel   [k][width]         width: nr, or what is left rounded up to whole vectors
 *     integers  A [m][k2] int16    codes minus zero point, k2 = k rounded up to even
 *               B [k2/2][width][2] int16
 *
 * Integers are 16 bits wide because both operands have zero points: sums of (a-za)(b-zb) are then
 * plain dot products, exact in int32 at every level (vpmaddwd). Rejected: uint8 x int8 dot products
 * with corrections by row and column sums: twice the peak on VNNI, but these products are a few
 * percent of a detector and quantizing, not multiplying, is most of their time. */
#ifndef CR_KERNELS_GEMM_H
#define CR_KERNELS_GEMM_H

#include "base/threads.h"
#include "kernels/rows.h"

typedef struct cr_gemm_shape {
    int64_t batch, m, n, k; /* all >= 1 */
    int64_t a_down, a_right, b_down, b_right, c_down;
    const int64_t *a_at, *b_at, *c_at; /* [batch] where each product's matrices begin */
    float alpha;                       /* float32: what every element is multiplied by at the end */
} cr_gemm_shape;

/* ---- float32: one chain of multiply-adds over k per element, from 0 ----
 *
 * A wide B whose columns lie the wrong way would have to be transposed to be packed. Then C' = B'A'
 * is computed instead: A is packed, and tiles of C' are transposed as they are stored. */

typedef struct cr_gemm_f32_tile {
    const float *a;
    int64_t a_down, a_right, k;
    const float *b; /* a panel */
    float *c;
    int64_t c_down;
    int rows, cols; /* 1..mr, 1..nr; the panel's width is cols rounded up to whole vectors */
    float alpha;
} cr_gemm_f32_tile;

typedef struct cr_gemm_f32_kernel {
    const char *name;
    void (*run)(const cr_gemm_f32_tile *t);
    int mr, nr, lanes;
} cr_gemm_f32_kernel;

const cr_gemm_f32_kernel *cr_gemm_f32_level(int level); /* NULL: none of that level */
const cr_gemm_f32_kernel *cr_gemm_f32_select(unsigned cpu);

size_t cr_gemm_f32_scratch(const cr_gemm_f32_kernel *kernel, const cr_gemm_shape *s);
/* No overlap of C with the others; scratch 64-byte aligned. */
void cr_gemm_f32_run(const cr_gemm_f32_kernel *kernel, const cr_gemm_shape *s, const float *a,
                     const float *b, float *c, void *scratch, cr_pool *pool);

/* ---- codes: exact int32 sums of (a - zero_a)(b - zero_b), wrapping ---- */

typedef struct cr_gemm_s16_tile {
    const int16_t *a; /* rows k2 apart */
    const int16_t *b; /* a panel */
    int64_t k2;
    int32_t *c; /* [mr][width] */
    int rows, cols;
} cr_gemm_s16_tile;

typedef struct cr_gemm_s16_kernel {
    const char *name;
    void (*run)(const cr_gemm_s16_tile *t);
    int mr, nr, lanes;
} cr_gemm_s16_kernel;

const cr_gemm_s16_kernel *cr_gemm_s16_level(int level);
const cr_gemm_s16_kernel *cr_gemm_s16_select(unsigned cpu);

typedef struct cr_gemm_codes {
    int32_t zero_a, zero_b;
    float multiplier; /* sa*sb, or sa*sb/sy for codes */
    bool float_out;   /* float32 results, else uint8 codes */
    int32_t zero_out;
} cr_gemm_codes;

size_t cr_gemm_s16_scratch(const cr_gemm_s16_kernel *kernel, const cr_gemm_shape *s, int threads);
void cr_gemm_s16_run(const cr_gemm_s16_kernel *kernel, const cr_rows *rows, const cr_gemm_shape *s,
                     const cr_gemm_codes *q, const uint8_t *a, const uint8_t *b, void *c,
                     void *scratch, cr_pool *pool);

#endif
