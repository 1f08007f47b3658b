/* Float depthwise convolution: one input channel per group, multiplier 1; channels are lanes.
 *
 * A kernel reads pixels where they lie: the window's rows are pointers, its columns and the output
 * pixels are steps. Rows of padding are left out (they would add zeros), and so are columns: pixels
 * whose windows hang over the left or right edge are computed one by one with fewer taps, all
 * between them in groups. A unit of work is a run of pixels of one output row, as long as its
 * input rows stay in L1 while vector after vector of channels reads them.
 *
 * Rejected: a table of pointers per tile as in conv_walk.h: a pointer is loaded for every pixel of
 * every tap, twice the loads of what there is to compute. */
#ifndef CR_KERNELS_DWCONV_F32_H
#define CR_KERNELS_DWCONV_F32_H

#include "kernels/conv.h"

/* ---- micro-kernels: one record per CPU level, listed in kernels.inc ---- */

typedef struct cr_dwconv_f32_tile {
    const float *x;   /* first tap of the first pixel's window */
    int64_t kh, kw;   /* taps that are inside */
    int64_t row, dil; /* elements from a tap to the one below, to its right */
    int64_t step;     /* elements from an output pixel's window to the next one's */
    const float *w;   /* first tap's weights: [kh][w_row], in it [kw][channels] */
    int64_t w_row;
    const float *bias;
    float *c;
    int64_t ld, pixels, channels;
} cr_dwconv_f32_tile;

typedef struct cr_dwconv_f32_kernel {
    const char *name;
    void (*run)(const cr_dwconv_f32_tile *t);
} cr_dwconv_f32_kernel;

const cr_dwconv_f32_kernel *cr_dwconv_f32_level(int level); /* NULL: none of exactly that level */
const cr_dwconv_f32_kernel *cr_dwconv_f32_select(unsigned cpu); /* best that the flags allow */

/* ---- the walk ---- */

/* `pixels` results from output pixel `pixel` on are ready. */
typedef void (*cr_dwconv_f32_finish)(const void *ctx, int64_t pixel, int64_t pixels);

typedef struct cr_dwconv_f32_args {
    const cr_conv_geometry *g;
    const cr_dwconv_f32_kernel *k;
    const float *in, *w, *bias; /* w: [tap][channel] */
    float *out;
    int64_t ld_in, ld_out;
    cr_dwconv_f32_finish finish;
    const void *ctx;
} cr_dwconv_f32_args;

void cr_dwconv_f32_run(const cr_dwconv_f32_args *a, cr_pool *pool);

#endif
