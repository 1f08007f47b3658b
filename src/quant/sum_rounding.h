/* Rounding without pictures: codes whose errors cancel in sums. */
#ifndef CR_QUANT_SUM_ROUNDING_H
#define CR_QUANT_SUM_ROUNDING_H

#include "graph/recipe.h"

/* Gives the recipe values for weights of convolutions and products that its entries quantize to 8 bits
 * and fewer. g: the float graph. *changed (may be NULL): layers that are no longer rounded to the
 * nearest. */
cr_status cr_round_by_sums(const cr_graph *g, cr_recipe *r, size_t *changed, cr_error *err);

/* Where the weights of a Conv, Gemm or MatMul lie that one output sums up: `kernels` runs of `taps`
 * neighbours. */
typedef struct cr_sum_layout {
    int64_t outs, kernels, taps;
    int64_t out_step, kernel_step; /* elements between neighbours; taps lie side by side */
} cr_sum_layout;

/* false: a node of another kind, or weights that are no float constant. */
bool cr_sum_layout_find(const cr_node *n, cr_sum_layout *l);

/* One output: `kernels` runs of `taps` weights w, in steps of their scale (zero point added), that read
 * neighbouring pixels of one channel; codes: their nearest ones on entry. sum: room for [kernels]. */
void cr_cancel_sums(const double *w, int32_t *codes, size_t kernels, size_t taps, int32_t lo,
                    int32_t hi, double *sum);

#endif
