/* The planner: statistics + options -> recipe. */
#ifndef CR_QUANT_PLAN_H
#define CR_QUANT_PLAN_H

#include "crayon/quantize.h"
#include "graph/recipe.h"
#include "quant/stats.h"

/* prior: what an earlier plan said of the same tensors, taken over where it is good; stats may be NULL
 * with one, only what it has ranges for is quantized then. NULL: there is none. */
cr_status cr_plan_from(const cr_graph *g, const cr_stats *stats, const cr_quantize_options *o,
                       const cr_recipe *prior, cr_recipe **out, cr_quantize_report *report,
                       cr_error *err);
/* The same without a prior. */
cr_status cr_plan_recipe(const cr_graph *g, const cr_stats *stats, const cr_quantize_options *o,
                         cr_recipe **out, cr_quantize_report *report, cr_error *err);

/* recipe.json */
cr_status cr_recipe_write(const cr_recipe *r, const char *path, cr_error *err);
cr_status cr_recipe_read(const char *path, cr_recipe **out, cr_error *err);

#endif
