/* --head quantize: entries behind the last convolutions. */
#ifndef CR_QUANT_HEAD_PLAN_H
#define CR_QUANT_HEAD_PLAN_H

#include "crayon/quantize.h"
#include "graph/recipe.h"
#include "quant/roles.h"
#include "quant/stats.h"

/* Adds to the recipe, which has the body's entries, those of the head, and the steps that keep boxes
 * and scores apart. */
cr_status cr_plan_head(const cr_graph *g, const cr_role *roles, const cr_stats *stats,
                       const cr_quantize_options *o, cr_recipe *r, cr_quantize_report *report,
                       cr_error *err);

#endif
