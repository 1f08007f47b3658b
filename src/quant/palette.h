/* Weights as palettes: each tensor keeps 2^bits different values, an element is the index of one.
 *
 * The values are the centres of one-dimensional k-means: the palette with the least squared error.
 * Lloyd's iteration, begun where the density of the best fine quantizer lies (in proportion to the
 * cube root of the weights' density: Panter and Dite 1951), so it needs no random draws and ends in
 * a handful of rounds. Centres are rounded to float16, which every reader of palettes can hold. */
#ifndef CR_QUANT_PALETTE_H
#define CR_QUANT_PALETTE_H

#include "graph/graph.h"

enum { CR_PALETTE_MIN = 512 }; /* elements; a smaller constant is not worth one */

/* The palette of v[n] (finite): at most 2^bits (1 to 8) values, ascending, all different; the count
 * in *count. Errors: MEMORY. */
cr_status cr_palette_fit(const float *v, size_t n, int bits, float *palette, int *count,
                         cr_error *err);

/* v[i] becomes the nearest of them (the smaller one of two). */
void cr_palette_apply(float *v, size_t n, const float *palette, int count);

/* Both for every weight (input 1 of a node that has weights) of at least CR_PALETTE_MIN elements
 * whose nodes are not in `kept` (by node index, may be NULL). *weights: how many; *left: how many
 * were kept or too small; *error: sum of squared errors in parts of the sum of squares. */
cr_status cr_palette_graph(cr_graph *g, int bits, const bool *kept, size_t *weights, size_t *left,
                           double *error, cr_error *err);

#endif
