/* Cross-layer equalization: factors for channels, so that those which share a scale use it alike. */
#ifndef CR_QUANT_EQUALIZE_H
#define CR_QUANT_EQUALIZE_H

#include "crayon/quantize.h"
#include "graph/recipe.h"
#include "quant/placement.h"
#include "quant/stats.h"

typedef struct cr_equalize_report {
    size_t channels;      /* of activations with entries whose factor is not 1 */
    double before, after; /* predicted noise of all layers together, in parts of their outputs */
} cr_equalize_report;

/* Adds the steps and values that scale channels of g to r (which has none yet) and gives statistics
 * of the network that results, which borrow from `stats`. Nothing to gain: r stays as it is and
 * *scaled is NULL. Factors behind SiLU and the like are powers of two, the others of the fourth root of two. */
cr_status cr_equalize(const cr_graph *g, const cr_role *roles, const cr_placement_map *map,
                      const cr_stats *stats, const cr_quantize_options *o, cr_recipe *r,
                      cr_stats **scaled, cr_equalize_report *report, cr_error *err);

#endif
