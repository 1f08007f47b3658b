/* Two-dimensional convolution on NHWC rows, float32 and int8.
 *
 * A prepared convolution owns packed copies of its weights and never changes after creation: any
 * number of threads and sessions may run it. A run allocates nothing; the caller lends scratch.
 * How it works: conv_walk.h (work split, indirection), conv_f32.c and conv_s8.c (packing).
 *
 * Layout: input [n,h,w] pixels of `cin` values, output [n,oh,ow] pixels of `cout` values, pixels
 * `ld` elements apart. With ld > channels a tensor is a column range of a wider one, so Concat and
 * Split along channels cost nothing; what lies between the columns is neither read nor written. */
#ifndef CR_KERNELS_CONV_H
#define CR_KERNELS_CONV_H

#include "base/threads.h"
#include "crayon/status.h"
#include "kernels/act.h"

typedef struct cr_conv_geometry {
    int64_t n, h, w, cin;  /* input [n,h,w,cin]; cin counts all groups */
    int64_t oh, ow, cout;  /* output [n,oh,ow,cout] */
    int64_t ld_in, ld_out; /* elements between pixels; >= cin, cout */
    int64_t kh, kw, stride_h, stride_w, dil_h, dil_w, pad_top, pad_left, groups;
} cr_conv_geometry;

/* CR_ERR_ARGUMENT for sizes that do not fit together (zero or negative extents, groups that do not
 * divide the channels, ld too small, products that overflow), CR_ERR_UNSUPPORTED for more than
 * 1024 taps. Padding at the bottom and right follows from oh and ow; outputs that look only at
 * padding are fine. */
cr_status cr_conv_geometry_check(const cr_conv_geometry *g, cr_error *err);

/* ---- float32 ---- */

/* y = act(bias + sum a * w): one accumulator per output, products added in the order (ky, kx,
 * channel), or, for 3x3 windows with stride 1 where it is faster, Winograd's algorithm, whose error
 * is about twice as large (winograd_f32.h). Levels with fused multiply-add (all but `c`) give the
 * same bits as each other. */
typedef struct cr_conv_f32 cr_conv_f32;

/* weights [cout][cin/groups][kh][kw], bias [cout] or NULL, act or NULL: copied. cpu: flags as of
 * cr_cpu_flags(). */
cr_status cr_conv_f32_create(const cr_conv_geometry *g, const float *weights, const float *bias,
                             const cr_act *act, unsigned cpu, cr_conv_f32 **out, cr_error *err);
void cr_conv_f32_free(cr_conv_f32 *c); /* NULL is fine */
/* Bytes of 64-byte aligned scratch that a run on so many threads uses. */
size_t cr_conv_f32_scratch(const cr_conv_f32 *c, int threads);
/* The chosen kernel, such as "conv_f32 avx512 12x32" or "dwconv_f32 neon". */
const char *cr_conv_f32_name(const cr_conv_f32 *c);
/* ld_in and ld_out replace the geometry's unless 0. in and out must not overlap. The pool (NULL:
 * run inline) must not have more threads than scratch was asked for. */
void cr_conv_f32_run(const cr_conv_f32 *c, const float *in, int64_t ld_in, float *out,
                     int64_t ld_out, void *scratch, cr_pool *pool);

/* ---- int8: uint8 activations, int8 weights, exact int32 sums ---- */

typedef struct cr_conv_s8_params {
    const int8_t *weights;   /* [cout][cin/groups][kh][kw] */
    const int32_t *zeros_w;  /* [cout] zero points of the weights, -128..127 (of uint8 weights all this is
                                kept less 128); NULL: 0 */
    const int32_t *bias;     /* [cout] at scale sa*sw[c], or NULL */
    const float *multiplier; /* [cout] see cr_finish in rows.h; not used with raw_out */
    int32_t zero_in;         /* of the input codes, 0..255; also what padding holds */
    const int32_t *zeros_in; /* [cin] instead, or NULL */
    cr_act act;
    bool wide_in;     /* 16-bit codes in two planes (rows.h), zero points 0..65535 */
    bool wide_out;    /* such codes */
    bool float_out;   /* float32 results, else uint8 codes */
    float scale_out;  /* of uint8 codes; > 0 */
    int32_t zero_out; /* of uint8 codes, 0..255 */
    const float *scales_out;  /* [cout] instead of scale_out and zero_out, or NULL */
    const int32_t *zeros_out; /* [cout] */
    bool adds;        /* uint8 codes only: a residual is added behind the activation, multiplier is
                         without the output's scale then */
    float scale_added; /* of the residual's codes */
    int32_t zero_added;
    bool raw_out;     /* int32 sums with bias instead: no multiplier, no activation */
} cr_conv_s8_params;

/* acc = bias + sum (a - zero_in) * (w - zero_w) in two's complement int32 (wraps like every integer register),
 * then the conversions of crayon/arith.h, the same bits at every CPU level. Codes of int8 tensors
 * are kept as uint8 with 128 added to code and zero point. Where a w - zero_w leaves int8, a block of
 * ones gives sum a at every output pixel, and zero_w times that is taken off; depthwise kernels
 * multiply int16 weights then.
 *
 * wide_in: codes a = 256 * high + low, so the sum is 256 * sum high * w + sum low * w: the same kernels
 * twice. Each of the two fits int32 (at most CR_CONV_WIDE_PRODUCTS of 255 * 255), their sum with bias and
 * zero points is exact in a double, and it becomes a float32 by one rounding. The input's planes are
 * n * h * w * ld_in bytes apart, the output's n * oh * ow * ld_out; no raw_out, no residual out of
 * wide_out. (Rejected: 16-bit multiplications, which are as many at half the width, with int32
 * sums that have to be emptied every 256 products.) */
enum { CR_CONV_WIDE_PRODUCTS = 32768 };
typedef struct cr_conv_s8 cr_conv_s8;

/* Everything in p is copied. Output elements are uint8_t, float or int32_t. */
cr_status cr_conv_s8_create(const cr_conv_geometry *g, const cr_conv_s8_params *p, unsigned cpu,
                            cr_conv_s8 **out, cr_error *err);
void cr_conv_s8_free(cr_conv_s8 *c);
size_t cr_conv_s8_scratch(const cr_conv_s8 *c, int threads);
const char *cr_conv_s8_name(const cr_conv_s8 *c);
void cr_conv_s8_run(const cr_conv_s8 *c, const uint8_t *in, int64_t ld_in, void *out,
                    int64_t ld_out, void *scratch, cr_pool *pool);
/* What dynamic quantization knows only when it runs. The convolution was made with raw_out and zero
 * point 0, and holds no bias: y[c] = act((float)(acc + missing[c] - zero[c] * window[pixel]) *
 * multiplier[c] + bias[c]), float32 out. */
typedef struct cr_conv_s8_live {
    const float *multiplier, *bias; /* [cout] */
    const int32_t *missing;         /* [cout] */
    const int32_t *zero;            /* [cout], with window [n * oh * ow]; NULL: none */
    const int32_t *window;
    cr_act act;
} cr_conv_s8_live;
void cr_conv_s8_run_live(const cr_conv_s8 *c, const uint8_t *in, int64_t ld_in,
                         const cr_conv_s8_live *live, float *out, int64_t ld_out, void *scratch,
                         cr_pool *pool);
/* The same for a convolution that adds: `added` are codes in the output's shape, pixels ld_added
 * apart; they may not overlap with the output. */
void cr_conv_s8_run_add(const cr_conv_s8 *c, const uint8_t *in, int64_t ld_in, const uint8_t *added,
                        int64_t ld_added, uint8_t *out, int64_t ld_out, void *scratch,
                        cr_pool *pool);

#endif
