/* Groups of a few channels, as in ShuffleNet and ResNeXt, leave most lanes of a vector without work:
 * 4 output channels fill a quarter of one, and tables, epilogue and stores are paid per group.
 * Neighbouring groups are therefore run as one, whose weights are 0 where a channel of one group
 * meets an output of another. Multiplications stay as many: those of idle lanes turn into those by
 * 0. Integer sums are the same; so are float ones, but that an infinite or NaN input reaches, as
 * NaN, the groups beside its own, too.
 *
 * Rejected: a kernel that permutes a pixel's channels so that every lane sees its own group's; it
 * saves multiplications as well, for one more family of kernels at each level. */
#ifndef CR_KERNELS_CONV_GROUPS_H
#define CR_KERNELS_CONV_GROUPS_H

#include <stddef.h>

#include "base/mem.h"
#include "kernels/conv.h"

/* How many groups become one, for vectors of `lanes` output channels; 1: better left alone. */
int64_t cr_conv_groups_merge(const cr_conv_geometry *g, int lanes);

/* g with `merge` groups in one. */
cr_conv_geometry cr_conv_groups_geometry(const cr_conv_geometry *g, int64_t merge);

/* Weights [cout][cin/groups][taps] of `element` bytes as the merged convolution has them, in
 * memory of the arena; NULL: there is none. */
const void *cr_conv_groups_weights(cr_arena *arena, const cr_conv_geometry *g, int64_t merge,
                                   size_t element, const void *weights);

#endif
