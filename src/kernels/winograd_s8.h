/* Int8 3x3 convolution with stride 1 by Winograd's F(4x4, 3x3), exact to the last bit: 36 products
 * of 16 bits make 16 outputs, direct convolution needs 144 of 8 bits.
 *
 *     V = B^T d B      a 6x6 patch of codes of every input channel           (input; int16)
 *     M = sum V * U    36 small matrix products over channels                (multiply; int32,
 * wraps) Y = A^T M A      a 4x4 patch of sums of every output channel           (output; int32)
 *
 * The points are 0, +-1, +-2, infinity (Lavin and Gray 2016), whose weight transform G divides by
 * 4, 6 and 24. Exact integers need two observations.
 *
 * Ranges: B^T has whole entries; a patch of codes 0..255 gives |V| <= 17340 (rows 1 and 2, whose
 * entries of one sign sum to 8). The rows of G times (24, 24, 24, 24, 24, 6) are whole too, and of
 * int8 weights |U| <= 144 * 128 = 18432. Both fit int16, so a product of pairs (vpdpwssd, vpmaddwd,
 * smlal) is exact.
 *
 * Division: with those rows (the last one's missing 4 is a shift in A^T) Y comes out 24 * 24 = 9 *
 * 64 times too large, and the sums may overflow on the way; but all arithmetic is modulo 2^32.
 * Times the inverse of 9 modulo 2^32 it is 64 times the true sum modulo 2^32, and an arithmetic
 * shift by 6 gives the sum itself if that lies in -2^25..2^25 - 1. Packing checks it for every
 * output channel: 255 times the sum of its positive weights, and of its negative ones, must stay
 * inside. No trained layer met comes near (64 channels of weights 127 throughout reach 0.56 of it);
 * what does not fit is convolved directly.
 *
 * Codes are transformed raw; padding reads as their zero point and the bias makes up for it, as in
 * conv_s8.c. The walk is winograd_f32.h's:
 *
 *     V [36][panel][ceil(cin / 2 lanes)][rows of the panel][2 * lanes]    int16
 *     U [block of nr outputs][36][ceil(cin / 2)][output][2]               int16 (or record.apart)
 *     M [36][tiles][width]                                                int32
 *
 * Tiles of one row go back together, so that finishing sees long runs of pixels.
 *
 * Rejected: F(2x2, 3x3) with 16 bits (64 products instead of 36); 8-bit transforms with rounding
 * (other results); a second modulus instead of the check (twice the products). */
#ifndef CR_KERNELS_WINOGRAD_S8_H
#define CR_KERNELS_WINOGRAD_S8_H

#include <string.h>

#include "kernels/conv_walk.h"
#include "kernels/winograd_f32.h"

/* The products of one block of output channels for all tiles of an item. */
typedef struct cr_winograd_s8_block {
    const int16_t *v, *u;
    int32_t *m;
    int64_t v_step, m_step; /* elements from one of the 36 to the next */
    int64_t tiles, cin;
    int vectors;
} cr_winograd_s8_block;

typedef struct cr_winograd_s8_kernel {
    const char *name;
    /* One 6x6 patch: px[36] point to its pixels; vector kv (2 * lanes channels) of product i goes
     * to v[i * v_step + kv * step]. Lanes beyond cin are written as zero. */
    void (*input)(const uint8_t *const *px, int64_t cin, int16_t *v, int64_t v_step, int64_t step);
    void (*multiply)(const cr_winograd_s8_block *b);
    /* One tile: m[i * m_step + channel] to the sums, bias added, of pixel (i, j) at y[i * y_row + j
     * * vectors * lanes + channel]. */
    void (*output)(const int32_t *m, int64_t m_step, const int32_t *bias, int32_t *y, int64_t y_row,
                   int vectors);
    int mr, nr, lanes; /* most rows of a panel; channels of a block; sums per vector */
    bool apart;        /* U's vectors are [2][lanes], not [lanes][2] */
} cr_winograd_s8_kernel;

static inline int32_t cr_winograd_pair(const int16_t *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return pair;
}

const cr_winograd_s8_kernel *cr_winograd_s8_level(int level); /* NULL: none of exactly that level */
const cr_winograd_s8_kernel *cr_winograd_s8_select(unsigned cpu); /* best that the flags allow */

typedef struct cr_winograd_s8 cr_winograd_s8;

/* weights [cout][cin][3][3]: true where sums are exact (above) and the geometry is made for it. */
bool cr_winograd_s8_fits(const cr_conv_geometry *g, const int8_t *weights);
/* bias [cout]: folded, as conv_s8.c has it. zero [cin]: codes of padding. Copied. */
cr_status cr_winograd_s8_create(const cr_conv_geometry *g, const int8_t *weights,
                                const int32_t *bias, const uint8_t *zero, unsigned cpu,
                                cr_winograd_s8 **out, cr_error *err);
void cr_winograd_s8_free(cr_winograd_s8 *c); /* NULL is fine */
size_t cr_winograd_s8_scratch(const cr_winograd_s8 *c, int threads);
const char *cr_winograd_s8_name(const cr_winograd_s8 *c);
void cr_winograd_s8_run(const cr_winograd_s8 *c, const uint8_t *in, int64_t ld_in,
                        cr_conv_s8_finish finish, const void *ctx, void *scratch, cr_pool *pool);

#endif
