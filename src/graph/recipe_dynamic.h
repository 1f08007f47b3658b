/* Who reads codes of a dynamic entry (recipe.h): what compiler, reference and exporter agree on. */
#ifndef CR_GRAPH_RECIPE_DYNAMIC_H
#define CR_GRAPH_RECIPE_DYNAMIC_H

#include "graph/recipe.h"

/* Takes the dynamic entries out of `found` (as cr_recipe_bind gives it) into a list of the same form;
 * the caller frees it with cr_free. NULL: no memory. */
const cr_recipe_entry **cr_recipe_part_dynamic(const cr_recipe_entry **found, size_t count);

/* dynamic, entries: by tensor id, as parted. A Conv, MatMul or plain Gemm whose input 0 has a dynamic
 * entry and whose constant weight has one of 8-bit codes, one scale or one per output. */
bool cr_dynamic_takes(const cr_recipe_entry *const *dynamic, const cr_recipe_entry *const *entries,
                      const cr_node *n);
/* Outputs of such a node: channels, or columns of the product. */
int64_t cr_dynamic_rows(const cr_node *n);
/* A Gemm whose weight is [outputs][depth]. */
bool cr_dynamic_turned(const cr_node *n);

#endif
