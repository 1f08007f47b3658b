/* Targets whose integer operators know nothing but integers: an entry on every tensor. */
#ifndef CR_QUANT_FULL_PLAN_H
#define CR_QUANT_FULL_PLAN_H

#include "crayon/quantize.h"
#include "graph/recipe.h"
#include "quant/roles.h"
#include "quant/stats.h"

/* Does this target want it? */
bool cr_target_is_full(cr_target t);
/* Does its plan need SiLU in two nodes? Full targets, and ONNX Runtime. */
bool cr_target_splits(cr_target t);

/* Adds to the recipe, which has the body's entries, those of all other tensors that integer kernels
 * of such a target make. */
cr_status cr_plan_full(const cr_graph *g, const cr_role *roles, const cr_stats *stats,
                       const cr_quantize_options *o, cr_recipe *r, cr_quantize_report *report,
                       cr_error *err);

#endif
