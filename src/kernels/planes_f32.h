/* Float convolution of planes [channel][y][x], its transpose and its gradient by the weights, which
 * is what training needs: nothing here owns weights, because they change with every step.
 *
 * One picture at a time, laid out so that a convolution becomes sums over shifted lines. Let the
 * stride be (sh, sw). Of the padded picture every sh-th row and sw-th column from (fy, fx) on is
 * one of sh*sw phases; all have rows of `pitch` floats, at least as long as a row of places and the
 * reach of the window. The place (r, c) has the number p = r*pitch + c, and a tap is a distance:
 *
 *     places    y[m][p]      = sum w[m][k][tap] phase(tap)[k][p + off(tap)]
 *     picture   phase[k][p]  = sum w[m][k][tap] y[m][p - off(tap)]             taps of that phase
 *     weights   dw[m][k][tap] = sum over p of y[m][p] phase(tap)[k][p + off(tap)]
 *
 * Columns behind the row's last place are computed and dropped (1 in 80 of a 3x3 window on rows of
 * 160); in a laid-out y they are zero, so they add nothing. A 1x1 window of stride 1 needs no
 * laying out at all. The first two are one kernel (`sums`: places along the vector, a weight
 * broadcast), the third another (`dots`: places along the vector, summed at the end).
 *
 * Every sum has one order that follows from the shapes: `sums` is one chain over (channel, tap)
 * from the bias, `dots` 16 partial sums over the places of a stretch (cr_planes.stretch) that are
 * folded in halves, stretch after stretch; all levels with fused multiply-add give the same bits.
 *
 * Rejected: unfolded pictures (im2col) and matrix products, which write and read every value as
 * often as the window has taps; the channels-last kernels of conv_f32.c, which are as fast but
 * would have everything transposed twice (Winograd's are worth that: winograd_planes.h). */
#ifndef CR_KERNELS_PLANES_F32_H
#define CR_KERNELS_PLANES_F32_H

#include "kernels/conv.h"

enum { CR_PLANES_MAX_MR = 16, CR_PLANES_MAX_NR = 64, CR_PLANES_MAX_COLS = 8, CR_PLANES_PARTS = 16 };

/* out[r][i] = bias[r] + sum w[k][tap][r] in[k * plane + off[tap] + i], i < cols */
typedef struct cr_planes_sums {
    const float *in;
    int64_t plane, channels, taps;
    const int64_t *off; /* [taps] */
    const float *w;     /* [channels][taps][rows] */
    const float *bias;  /* [rows], or NULL: 0 */
    float *out;
    int64_t out_down;
    int rows, cols; /* 1..mr, 1..nr */
    bool add;       /* to what is in out */
} cr_planes_sums;

/* c[r][j] += sum a[r * a_down + i] b[j][i], i < n */
typedef struct cr_planes_dots {
    const float *a, *const *b;
    int64_t a_down, n;
    float *c;
    int64_t c_down;
    int rows, cols; /* 1..dot_rows, 1..dot_cols */
} cr_planes_dots;

/* rows of n floats, `step` floats apart in y: y = x, or y += x */
typedef struct cr_planes_put {
    float *y;
    int64_t y_down, step;
    const float *x;
    int64_t x_down;
    int rows, n;
    bool add;
} cr_planes_put;

typedef struct cr_planes_f32_kernel {
    const char *name;
    void (*sums)(const cr_planes_sums *t);
    void (*dots)(const cr_planes_dots *t);
    void (*put)(const cr_planes_put *t);
    int mr, nr, dot_rows, dot_cols;
} cr_planes_f32_kernel;

const cr_planes_f32_kernel *cr_planes_f32_level(int level); /* NULL: none of that level */
const cr_planes_f32_kernel *cr_planes_f32_select(unsigned cpu);

/* One convolution and its room. Read-only for callers. */
typedef struct cr_planes {
    cr_conv_geometry g; /* n, ld_in and ld_out do not matter */
    const cr_planes_f32_kernel *kernel;
    bool direct;
    int64_t taps, phases;
    int64_t reach_y, reach_x; /* of the window within a phase */
    int64_t pitch, plane;     /* of a phase */
    int64_t places, lead,
        place_plane; /* places from the first to the last; zeros before laid places */
    int64_t stretch;
    const float *picture, *laid; /* as laid out last; laid: places, `lead` zeros first */
    float *picture_room, *place_room, *packed;
    int64_t *tap, *off;
    size_t bytes;
} cr_planes;

/* scratch: 64-byte aligned, or NULL to learn `bytes`, what it must have. */
void cr_planes_plan(const cr_conv_geometry *g, const cr_planes_f32_kernel *kernel, void *scratch,
                    cr_planes *out);

/* Lays out a picture [cin][h][w], places [cout][oh][ow]; they must stay until used (1x1 windows are
 * read where they are). */
void cr_planes_lay_picture(cr_planes *p, const float *picture, cr_pool *pool);
void cr_planes_lay_places(cr_planes *p, const float *places, cr_pool *pool);

/* Packs weights [cout][cin/groups][kh][kw] for the way to places or to a picture; they share a
 * room. */
void cr_planes_pack_places(const cr_planes *p, const float *w, cr_pool *pool);
void cr_planes_pack_picture(const cr_planes *p, const float *w, cr_pool *pool);

/* From the picture that was laid out to places [cout][oh][ow]; from places to a picture; from both
 * to the weights' gradient, which is added. bias: one per channel of the result, or NULL; add: to
 * what is there. */
void cr_planes_to_places(const cr_planes *p, const float *bias, float *places, bool add,
                         cr_pool *pool);
void cr_planes_to_picture(const cr_planes *p, const float *bias, float *picture, bool add,
                          cr_pool *pool);
void cr_planes_to_weights(const cr_planes *p, float *dw, cr_pool *pool);

#endif
