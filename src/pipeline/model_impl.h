/* What a cr_model holds. Shared by the files of src/pipeline only. */
#ifndef CR_PIPELINE_MODEL_IMPL_H
#define CR_PIPELINE_MODEL_IMPL_H

#include "crayon/model.h"
#include "graph/graph.h"
#include "graph/recipe.h"
#include "quant/roles.h"

struct cr_model {
    cr_graph *graph;
    cr_recipe *recipe;     /* NULL: float */
    bool bf16;             /* float arithmetic; see cr_precision */
    cr_role *roles;        /* by node index */
    cr_model_info info;
    cr_arena arena;        /* strings and lists of info */
};

/* Fills family, task, names, head and preprocessing of m->info from metadata and shapes. */
cr_status cr_family_guess(cr_model *m, cr_error *err);

/* Refreshes what info says about the recipe. */
void cr_model_describe_recipe(cr_model *m);

#endif
