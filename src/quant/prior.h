/* Entries that a plan takes over from an earlier one: those of a file that is planned anew. */
#ifndef CR_QUANT_PRIOR_H
#define CR_QUANT_PRIOR_H

#include "graph/recipe.h"
#include "quant/placement.h"
#include "quant/range.h"
#include "quant/weight_form.h"

/* By tensor id of g: for each source of `map` the prior entry of a per-tensor 8-bit range on it, or on
 * what it is passed on as; NULL else. The caller frees the list with cr_free; NULL: no memory. */
const cr_recipe_entry **cr_prior_sources(const cr_recipe *prior, const cr_graph *g,
                                         const cr_placement_map *map);

/* Its range in `type` (U8 or I8): the same codes, shifted by 128 where signs differ. False: another
 * type, or `want` is not for 8 bits. */
bool cr_prior_range(const cr_recipe_entry *prior, cr_dtype type, float *scale, int32_t *zero_point);

/* Is the range's squared error on what was seen no larger, beyond the noise of a few pictures, than
 * that of scale and zero point? */
bool cr_prior_is_good(const cr_recipe_entry *prior, const cr_tensor_stats *seen, cr_dtype type,
                      float scale, int32_t zero_point);

/* The prior entry of n's weights if it has the wanted bits, and scales that fit n's kernel; else
 * NULL. */
const cr_recipe_entry *cr_prior_weight(const cr_recipe *prior, const cr_node *n,
                                       const cr_weight_form *form);

#endif
