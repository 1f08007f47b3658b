/* Bfloat16 3x3 convolution with stride 1 by Winograd's minimal filtering, F(2x2, 3x3) (Lavin and
 * Gray 2016): 16 products make 4 outputs, direct convolution needs 36.
 *
 *     V = B^T d B      a 4x4 patch of every input channel, rounded to bfloat16   (input)
 *     M = sum V * U    16 small matrix products over channels, U = G g G^T, rounded when packed
 *     Y = A^T M A      a 2x2 patch of every output channel in float32            (output)
 *
 * with the points 0, 1, -1 and infinity, whose transforms are additions. The products are tiles of
 * the direct convolution (conv_bf16_tile.h): a product is one tap and a row of V one pixel,
 *
 *     V [16][tiles][cin]   M [16][tiles][width]   U packed as 16 taps
 *
 * A work item is a range of tiles, as long as its V and M stay in L2; a value is made by one thread
 * in one order.
 *
 * Accuracy: on 64 normally distributed channels the result has 48 dB over its error, where rounding
 * inputs and weights alone leaves 53. Rejected: F(4x4, 3x3) with the points of winograd_f32.h, 40
 * dB: no better than 8-bit integers.
 *
 * An infinity or NaN of the input reaches all outputs of its tiles. */
#ifndef CR_KERNELS_WINOGRAD_BF16_H
#define CR_KERNELS_WINOGRAD_BF16_H

#include "kernels/conv_bf16_tile.h"

enum { CR_WINO2_OUT = 2, CR_WINO2_IN = 4, CR_WINO2_PRODUCTS = 16 };

typedef struct cr_winograd_bf16_kernel {
    const char *name;
    /* One patch: px[16] point to its pixels; channel k of product i goes to v[i * v_step + k]. */
    void (*input)(const cr_bf16 *const *px, int64_t cin, cr_bf16 *v, int64_t v_step);
    /* One tile: m[i * m_step + channel] with bias to y[row * y_step + column * width + channel];
     * width: whole vectors. */
    void (*output)(const float *m, int64_t m_step, const float *bias, float *y, int64_t y_step,
                   int width);
} cr_winograd_bf16_kernel;

/* NULL: no kernel of exactly that cr_cpu_level; the best that the flags allow. */
const cr_winograd_bf16_kernel *cr_winograd_bf16_level(int level);
const cr_winograd_bf16_kernel *cr_winograd_bf16_select(unsigned cpu);

/* True for 3x3 windows with stride, dilation and group 1 that are read from rows. */
bool cr_winograd_bf16_fits(const cr_conv_geometry *g);
/* True where it was measured faster than the direct convolution. */
bool cr_winograd_bf16_pays(const cr_conv_geometry *g);

/* As cr_conv_bf16_*, for a checked geometry that fits; planes_in is not used. */
typedef struct cr_winograd_bf16 cr_winograd_bf16;
cr_status cr_winograd_bf16_create(const cr_conv_geometry *g, const cr_conv_bf16_params *p,
                                  unsigned cpu, cr_winograd_bf16 **out, cr_error *err);
cr_status cr_winograd_bf16_create_with(const cr_conv_bf16_kernel *k, const cr_conv_geometry *g,
                                       const cr_conv_bf16_params *p, unsigned cpu,
                                       cr_winograd_bf16 **out, cr_error *err);
void cr_winograd_bf16_free(cr_winograd_bf16 *c);
size_t cr_winograd_bf16_scratch(const cr_winograd_bf16 *c, int threads);
const char *cr_winograd_bf16_name(const cr_winograd_bf16 *c);
void cr_winograd_bf16_run(const cr_winograd_bf16 *c, const cr_bf16 *in, int64_t ld_in, void *out,
                          int64_t ld_out, void *scratch, cr_pool *pool);

/* How far a sum may be from exact. magnitude: |bias| + |A^T| (sum over channels of (|G| |g| |G|^T)
 * times (|B^T| |d| |B|)) |A|, every matrix of absolute values: V and U are each off by 2^-9 of
 * themselves, and the float32 sums (three in each transform, cin in the products) by less than the
 * rest; largest as in cr_conv_bf16_bound(). */
static inline double cr_winograd_bf16_bound(int64_t cin, double magnitude, double largest)
{
    const double rounding = 0x1p-9, sums = (double)(cin + 16) * 0x1p-24;
    return magnitude * (2 * rounding + rounding * rounding + 2 * sums) +
           (double)(16 * cin + 16) * 0x1p-126 * (1 + 9 * largest);
}

#endif
