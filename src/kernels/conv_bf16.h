/* Two-dimensional convolution on bfloat16: geometry, layout and life cycle as in conv.h.
 *
 * Arithmetic. Weights and inputs are bfloat16 (bf16.h), bias and sums float32. A product of two
 * bfloat16 has 16 bits and is exact. The CPU's instructions (vpdpbf16ps, tdpbf16ps) add products in
 * an order of their own, flush subnormals to zero and round each addition; levels without them
 * multiply and add floats in the order (ky, kx, channel). So levels differ in the last bits, and
 * each stays within cr_conv_bf16_bound() of the exact sum; 3x3 convolutions of many channels go
 * through Winograd's transforms and stay within cr_winograd_bf16_bound() (winograd_bf16.h).
 * Activation and rounding of the result are the same everywhere: rows.h, bf16.h. A given level
 * gives the same bits for any number of threads. */
#ifndef CR_KERNELS_CONV_BF16_H
#define CR_KERNELS_CONV_BF16_H

#include "kernels/bf16.h"
#include "kernels/conv.h"

typedef struct cr_conv_bf16_params {
    const float
        *weights;      /* [cout][cin/groups][kh][kw]; rounded, except in depthwise convolutions */
    const float *bias; /* [cout] or NULL */
    cr_act act;
    bool float_out; /* float32 results, else bfloat16 */
    bool planes_in; /* input is float32 [n,cin,h,w]; needs cr_conv_bf16_takes_planes() */
} cr_conv_bf16_params;

typedef struct cr_conv_bf16 cr_conv_bf16;

/* The first layer of a network: a few channels, which come as planes of floats. They are rounded
 * and woven into rows of four per pixel with the horizontal padding in place, so that a row of the
 * window is one run of 4 kw channels. */
bool cr_conv_bf16_takes_planes(const cr_conv_geometry *g);

/* Everything in p is copied. */
cr_status cr_conv_bf16_create(const cr_conv_geometry *g, const cr_conv_bf16_params *p, unsigned cpu,
                              cr_conv_bf16 **out, cr_error *err);
void cr_conv_bf16_free(cr_conv_bf16 *c);
size_t cr_conv_bf16_scratch(const cr_conv_bf16 *c, int threads);
const char *cr_conv_bf16_name(const cr_conv_bf16 *c);
/* in: cr_bf16, or floats with planes_in (ld_in is not used then); out: cr_bf16 or float. */
void cr_conv_bf16_run(const cr_conv_bf16 *c, const void *in, int64_t ld_in, void *out,
                      int64_t ld_out, void *scratch, cr_pool *pool);

/* The same with planes_in for one picture of three channels, whose bytes [h,w,3] mean table[c][byte]. */
void cr_conv_bf16_run_bytes(const cr_conv_bf16 *c, const uint8_t *pixels,
                            const cr_bf16 table[3][256], void *out, int64_t ld_out, void *scratch,
                            cr_pool *pool);

/* How far a sum of `terms` products and a bias may be from exact. magnitude: the sum of the
 * absolute values of products and bias; largest: the largest absolute value of an input or weight.
 * Every term passes through at most terms + 1 additions, each off by half a unit in the 24th bit
 * (the classical bound, Higham 2002, section 4.2); a flushed input or sum loses less than the
 * smallest normal number, times what it is multiplied with. */
static inline double cr_conv_bf16_bound(int64_t terms, double magnitude, double largest)
{
    const double n = (double)(terms + 1);
    return n * 0x1p-24 / (1 - n * 0x1p-24) * magnitude + n * 0x1p-126 * (1 + 2 * largest);
}

#endif
