/* Weights as palettes: each tensor keeps 2^bits different values, an element is the index of one.
 *
 * The values are the centres of one-dimensional k-means: the palette with the least squared error.
 * Lloyd's iteration, begun where the density of the best fine quantizer lies (in proportion to the
 * cube root of the weights' density: Panter and Dite 1951), so it needs no random draws and ends in
 * a handful of rounds. Centres are rounded to float16, which every reader of palettes can hold.
 *
 * One palette for a whole tensor is little where outputs differ in scale, so `scaled` divides each
 * output's weights by their largest magnitude first; the palette is of the quotients. And an index next
 * to a tie may go to the other side where that brings the sum of an output's errors nearer to zero, as
 * in sum_rounding.h (what a layer reads is positive on average, so errors of one sign cost most).
 * yolov8n, agreement on 30 pictures of coco-calib, 16 and 64 values: plain .167 .847, scaled .612 .967,
 * both .829 .981. (Rejected: a palette per group of outputs: .435 with one each, at 11 % more bytes.) */
#ifndef CR_QUANT_PALETTE_H
#define CR_QUANT_PALETTE_H

#include "graph/graph.h"
#include "graph/palette_scales.h"

enum { CR_PALETTE_MIN = 512 }; /* elements; a smaller constant is not worth one */

/* The palette of v[n] (finite): at most 2^bits (1 to 8) values, ascending, all different; the count
 * in *count. Errors: MEMORY. */
cr_status cr_palette_fit(const float *v, size_t n, int bits, float *palette, int *count,
                         cr_error *err);

/* v[i] becomes the nearest of them (the smaller one of two). */
void cr_palette_apply(float *v, size_t n, const float *palette, int count);

typedef struct cr_palette_made {
    size_t weights, left; /* how many got a palette; how many were kept or too small */
    double error;         /* sum of squared errors in parts of the sum of squares */
    cr_palette_scales *scales; /* of those that have some, in the arena; names are the graph's */
    size_t scale_count;
} cr_palette_made;

/* Gives each weight (input 1 of a node that has weights) of at least CR_PALETTE_MIN elements whose
 * nodes are not in `kept` (by node index, may be NULL) a palette of 2^bits values. Errors: MEMORY. */
cr_status cr_palette_graph(cr_graph *g, int bits, bool scaled, const bool *kept, cr_arena *arena,
                           cr_palette_made *made, cr_error *err);

#endif
