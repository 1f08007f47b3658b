/* Why each tensor has an entry in the recipe or none. */
#ifndef CR_QUANT_EXPLAIN_H
#define CR_QUANT_EXPLAIN_H

#include "graph/recipe.h"

/* Writes r->places anew for g, the graph that r's entries speak of: a line for every weight and every
 * activation, in the order of the nodes. What r->places said of a tensor without an entry before (the
 * planner knows what the user asked for) stays its reason. Takes some ten milliseconds. */
cr_status cr_recipe_explain(const cr_graph *g, cr_recipe *r, cr_error *err);

#endif
