/* Convolution of planes [channel][y][x] with 3x3 windows by Winograd's algorithm (winograd_f32.h),
 * and its transpose, which is one too: the window turned by 180 degrees, inputs and outputs
 * exchanged.
 *
 * The picture is transposed to pixels of channels and the result back, which costs a fifth of what
 * the direct sums (planes_f32.h) take longer. Rejected: transforms along the planes, where the
 * tiles of a row are four apart: gathers on every level. */
#ifndef CR_KERNELS_WINOGRAD_PLANES_H
#define CR_KERNELS_WINOGRAD_PLANES_H

#include "kernels/planes_f32.h"
#include "kernels/rows.h"
#include "kernels/winograd_f32.h"

typedef struct cr_winograd_planes {
    cr_conv_geometry g; /* of what is computed: turned when it is the transpose */
    bool back;
    const cr_planes_f32_kernel *kernel;
    const cr_rows *rows;
    cr_winograd_f32 *wino;
    float *in, *out; /* pixels of channels */
    void *scratch;
    size_t bytes;
} cr_winograd_planes;

/* Whether it can be used, and is faster than cr_planes_to_places and cr_planes_to_picture. */
bool cr_winograd_planes_pays(const cr_conv_geometry *g);

/* g: the convolution's, one picture. back: from places to a picture. room: as in cr_planes_plan. */
void cr_winograd_planes_plan(const cr_conv_geometry *g, bool back, unsigned cpu, int threads,
                             void *room, cr_winograd_planes *out);
/* weights [cout][cin][3][3] of the convolution; bias of the result's channels, or NULL. */
void cr_winograd_planes_load(const cr_winograd_planes *p, const float *weights, const float *bias,
                             cr_pool *pool);
/* add: to what is in `to`. */
void cr_winograd_planes_run(const cr_winograd_planes *p, const float *from, float *to, bool add,
                            cr_pool *pool);

#endif
