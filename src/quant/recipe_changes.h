/* Steps and values of a recipe in recipe.json. */
#ifndef CR_QUANT_RECIPE_CHANGES_H
#define CR_QUANT_RECIPE_CHANGES_H

#include <jansson.h>

#include "graph/recipe.h"

/* Adds "rewrites" and "values" to the root object, if there are any; false: no memory, or a name
 * that is not UTF-8. */
bool cr_recipe_changes_write(const cr_recipe *r, json_t *root);
/* Reads them into r, whose entries have been read. */
cr_status cr_recipe_changes_read(cr_recipe *r, const json_t *root, cr_error *err);

#endif
