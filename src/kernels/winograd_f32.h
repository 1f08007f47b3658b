/* Float 3x3 convolution with stride 1 by Winograd's minimal filtering, F(4x4, 3x3) (Lavin and Gray
 * 2016, "Fast Algorithms for Convolutional Neural Networks"): 36 products make 16 outputs, direct
 * convolution needs 144.
 *
 *     V = B^T d B      a 6x6 patch of every input channel        (input)
 *     M = sum V * U    36 small matrix products over channels    (multiply; U = G g G^T, packed
 * once) Y = A^T M A      a 4x4 patch of every output channel       (output; then bias, activation)
 *
 * Points: 0, +-sqrt(1/2), +-sqrt(2), infinity. The usual 0, +-1, +-2 are exact in binary but lose
 * two bits more: on 64 normally distributed channels the error's rms in units of the root of the
 * sum of squared products is 1.7e-6 for +-1, +-2, 8.2e-7 for ours, 4.3e-7 for the direct sum
 * (largest 2.9e-5, 5.9e-6, 3.6e-6). Since they come in pairs, half of each transform is shared.
 *
 * A work item is a range of tiles: it transforms its patches once into
 *
 *     V [36][panel][ceil(cin/lanes)][rows of the panel][lanes]
 *
 * then takes blocks of nr output channels: 36 products into M [36][tiles][width], and tile by tile
 * the way back. A panel is what one register tile of the product eats; because its rows lie a
 * constant distance apart, one pointer serves them all. Ranges are as long as V and M stay in L2.
 * Every value is made by one thread in one order: results do not depend on the thread count, and
 * levels with fused multiply-add give the same bits as each other.
 *
 * An infinity or NaN of the input reaches all 16 outputs of its tiles, not only its neighbours.
 *
 * Rejected: F(2x2, 3x3), which needs 64 products for the same 16 outputs and whose accuracy no
 * model met has asked for; F(6x6, 3x3), a fifth fewer products for larger transforms and less
 * accuracy; transforming a whole layer at once: V of a layer leaves L2, and the memory plan pays
 * for it. */
#ifndef CR_KERNELS_WINOGRAD_F32_H
#define CR_KERNELS_WINOGRAD_F32_H

#include "kernels/conv.h"

enum { CR_WINO_OUT = 4, CR_WINO_IN = 6, CR_WINO_PRODUCTS = 36 };

/* WINO_ROWS(n) for every height of a panel, for the bodies' switches. */
#define CR_WINO_ROWS_4  WINO_ROWS(1) WINO_ROWS(2) WINO_ROWS(3) WINO_ROWS(4)
#define CR_WINO_ROWS_6  CR_WINO_ROWS_4 WINO_ROWS(5) WINO_ROWS(6)
#define CR_WINO_ROWS_8  CR_WINO_ROWS_6 WINO_ROWS(7) WINO_ROWS(8)
#define CR_WINO_ROWS_12 CR_WINO_ROWS_8 WINO_ROWS(9) WINO_ROWS(10) WINO_ROWS(11) WINO_ROWS(12)
#define CR_WINO_ROWS_14 CR_WINO_ROWS_12 WINO_ROWS(13) WINO_ROWS(14)

/* The products of one block of output channels for all tiles of an item. */
typedef struct cr_winograd_f32_block {
    const float *v, *u;     /* u: [36][cin][vectors * lanes] */
    float *m;               /* [36][tiles][vectors * lanes] */
    int64_t v_step, m_step; /* floats from one of the 36 to the next */
    int64_t tiles, cin;
    int vectors;
} cr_winograd_f32_block;

typedef struct cr_winograd_f32_kernel {
    const char *name;
    /* One 6x6 patch: px[36] point to its pixels, the next patch lies `ahead` floats behind; vector
     * kv of product i goes to v[i * v_step + kv * step]. Lanes beyond cin are written as zero. */
    void (*input)(const float *const *px, int64_t ahead, int64_t cin, float *v, int64_t v_step,
                  int64_t step);
    void (*multiply)(const cr_winograd_f32_block *b);
    /* One tile: m[i * m_step + channel] to y[16][vectors * lanes], bias added. */
    void (*output)(const float *m, int64_t m_step, const float *bias, float *y, int vectors);
    int mr, nr, lanes; /* most rows of a panel; channels of a block; channels per vector */
} cr_winograd_f32_kernel;

/* Panel i of `tiles`: rows are shared out evenly, so that no panel is padded. */
typedef struct cr_winograd_panel {
    int64_t first;
    int rows;
} cr_winograd_panel;

static inline int64_t cr_winograd_panels(int64_t tiles, int mr)
{
    return (tiles + mr - 1) / mr;
}

static inline cr_winograd_panel cr_winograd_panel_at(int64_t tiles, int64_t panels, int64_t i)
{
    const int64_t first = tiles * i / panels;
    return (cr_winograd_panel){first, (int)(tiles * (i + 1) / panels - first)};
}

/* NULL: no kernel of exactly that level (a cr_cpu_level). */
const cr_winograd_f32_kernel *cr_winograd_f32_level(int level);
const cr_winograd_f32_kernel *cr_winograd_f32_select(unsigned cpu);

/* True for 3x3 windows with stride, dilation and group 1. */
bool cr_winograd_f32_fits(const cr_conv_geometry *g);
/* True where it was measured faster than the direct convolution (winograd_f32.c). */
bool cr_winograd_f32_pays(const cr_conv_geometry *g);

/* As cr_conv_f32_*, for a checked geometry that fits. */
typedef struct cr_winograd_f32 cr_winograd_f32;
cr_status cr_winograd_f32_create(const cr_conv_geometry *g, const float *weights, const float *bias,
                                 const cr_act *act, unsigned cpu, cr_winograd_f32 **out,
                                 cr_error *err);
void cr_winograd_f32_free(cr_winograd_f32 *c);
size_t cr_winograd_f32_scratch(const cr_winograd_f32 *c, int threads);
/* For training, whose weights change with every step: one that lies in the caller's memory (64-byte
 * aligned; NULL: only the bytes that it must have) and is not freed, and its weights, transformed in
 * float32 by all threads. That of output o, input k and tap i is weights[o * out_step + k * in_step +
 * i], turned: tap 8 - i. */
size_t cr_winograd_f32_place(const cr_conv_geometry *g, unsigned cpu, void *room,
                             cr_winograd_f32 **out);
size_t cr_winograd_f32_scratch_of(const cr_conv_geometry *g, unsigned cpu, int threads);
void cr_winograd_f32_load(cr_winograd_f32 *c, const float *weights, int64_t out_step,
                          int64_t in_step, bool turned, const float *bias, cr_pool *pool);
const char *cr_winograd_f32_name(const cr_winograd_f32 *c);
void cr_winograd_f32_run(const cr_winograd_f32 *c, const float *in, int64_t ld_in, float *out,
                         int64_t ld_out, void *scratch, cr_pool *pool);

#endif
