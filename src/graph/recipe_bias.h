/* Biases have no entry of their own: the entries of input and weight say how an integer convolution rounds
 * its bias (crayon/arith.h). What reference, exporters and checks agree on. */
#ifndef CR_GRAPH_RECIPE_BIAS_H
#define CR_GRAPH_RECIPE_BIAS_H

#include "graph/recipe.h"

/* Does n run on integers (runtime/integer_conv.c) with a constant bias in[2]? Then it rounds it. a, w: the
 * entries of in[0] and in[1], or NULL. */
bool cr_recipe_rounds_bias(const cr_node *n, const cr_qparams *a, const cr_qparams *w);

/* The scales of sum c of n: a's, of its input channel, and w's. Their product is the bias's step. */
void cr_recipe_bias_scales(const cr_node *n, const cr_qparams *a, const cr_qparams *w, int64_t c, float *sa,
                           float *sw);

#endif
