/* Options that name nodes by glob patterns: which layers are quantized, and how finely. */
#ifndef CR_QUANT_LAYER_CHOICE_H
#define CR_QUANT_LAYER_CHOICE_H

#include "crayon/quantize.h"
#include "graph/graph.h"

/* What keep_float, only and layers say of each node, by node index: CR_LAYER_FLOAT if it is to stay
 * float, CR_LAYER_PLANNED if nothing is said. Of several patterns in `layers` that match a node the
 * last one counts; keep_float and only go before them. The caller frees *out with cr_free.
 * CR_ERR_ARGUMENT: a pattern matches no node; the message has the nearest names. */
cr_status cr_layer_choices(const cr_graph *g, const cr_quantize_options *o,
                           cr_layer_precision **out, cr_error *err);

#endif
