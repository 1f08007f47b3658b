/* Tuning: better weights for a recipe that is planned, from what the quantized network does to
 * pictures. The recipe gets values (graph/recipe.h); its entries stay. */
#ifndef CR_QUANT_TUNE_H
#define CR_QUANT_TUNE_H

#include "crayon/quantize.h"
#include "graph/recipe.h"
#include "quant/stats.h"

typedef struct cr_tune_options {
    const cr_graph *exact; /* what layers should give: g with other functions in some nodes, tensors
                              and nodes in the same order; NULL: g itself. With it the recipe may
                              have neither steps nor values */
    size_t pictures; /* used at most; fewer where memory is short */
    size_t memory;   /* bytes for what is kept between stages */
    double damping;  /* rounding.h */
    bool correct, centre;
    int sweeps;
    bool scales; /* of fewer than 8 bits: choose them too */
    uint64_t seed;
    int threads;
} cr_tune_options;

cr_tune_options cr_tune_options_default(void);

/* g: the float graph that the recipe was planned for. fill as in cr_stats_collect. Layers that
 * cannot be fitted keep nearest rounding. The result depends on the seed, not on threads. */
cr_status cr_tune_weights(const cr_graph *g, cr_recipe *r, size_t count, cr_sample_fn fill,
                          void *user, const cr_tune_options *o, const cr_progress *progress,
                          cr_tune_report *report, cr_error *err);

#endif
