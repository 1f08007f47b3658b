/* Rounding weights so that a layer's output, not each weight, is as near as can be to the float
 * network's (gram.h says what is known of the layer's inputs). */
#ifndef CR_QUANT_ROUNDING_H
#define CR_QUANT_ROUNDING_H

#include "graph/recipe.h"
#include "quant/gram.h"

typedef struct cr_rounding_options {
    double damping; /* added to the diagonal of G, as a part of its mean: how much W is trusted */
    bool correct;   /* fit to the float output, not only to W (least squares) */
    bool centre; /* fit the outputs' deviations from their means and put the means into the bias */
    int sweeps;  /* of coordinate descent over the codes afterwards */
    bool scales; /* choose scales too; not those that all outputs share */
    bool never_finer; /* no scale below the planned one (a bias needs it) */
} cr_rounding_options;

typedef struct cr_rounding_result {
    double before, after; /* squared error on the check set, in parts of the output's energy */
    bool kept; /* `after` is of the new weights; else nothing was better than what was there */
} cr_rounding_result;

/* `weights`: the layer's tensor as it is, float; on return, if kept, values on q's grid, whose scales
 * may be others then. The sums' fitted G is used up. shift[groups * out]: what to add to the bias (zeros without `centre`). */
cr_status cr_round_weights(const cr_gram *g, cr_qparams *q, const cr_rounding_options *o,
                           cr_pool *pool, float *weights, float *shift, cr_rounding_result *result,
                           cr_error *err);

#endif
