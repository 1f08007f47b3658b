/* What a cr_model holds. Shared by the files of src/pipeline only. */
#ifndef CR_PIPELINE_MODEL_IMPL_H
#define CR_PIPELINE_MODEL_IMPL_H

#include "crayon/model.h"
#include "crayon/quantize.h"
#include "graph/graph.h"
#include "graph/palette_scales.h"
#include "graph/recipe.h"
#include "pipeline/findings.h"
#include "quant/roles.h"

struct cr_model {
    cr_graph *graph;       /* as the file has it */
    cr_graph *read;        /* what `graph` was before it got a target's form (info has its strings) */
    cr_graph *applied;     /* the same with the recipe's steps and values; NULL: it has none */
    cr_graph *stored;      /* `graph` as it is to be written, with 16-bit floats; NULL: as it is */
    int palette_bits;      /* the weights' values are palettes of 2^palette_bits; 0: they are not */
    const cr_palette_scales *palette_scales; /* of those that have some */
    size_t palette_scale_count;
    cr_recipe *recipe;     /* NULL: float */
    cr_target target;      /* whose form `graph` has */
    bool bf16;             /* float arithmetic; see cr_precision */
    bool gives;            /* see cr_model_give_weights */
    cr_role *roles;        /* by node index */
    cr_recipe *prior;      /* what the file said before cr_model_unquantize; NULL: nothing */
    cr_findings notes;     /* what was found in the file's nodes (doctor_file.c) */
    cr_file_node *file_nodes;
    size_t file_node_count;
    cr_head head;          /* of graph; info.head is that of applied, if there is one */
    cr_branches branches;  /* of info.head, where it has them */
    cr_model_info info;
    cr_arena arena;        /* strings and lists of info */
};

/* A float model of a graph as a file would have it; takes the graph over, on failure too. `path` stands
 * for the file. */
cr_status cr_model_of_graph(cr_graph *g, const char *path, cr_model **out, cr_error *err);

/* Fills family, task, names, head and preprocessing of m->info from metadata and shapes. */
cr_status cr_family_guess(cr_model *m, cr_error *err);

/* Sets h->fractions if the boxes of a decoded head are fractions of the input (box_scale.c). */
cr_status cr_box_scale_find(const cr_graph *g, const cr_role *roles, cr_head *h, cr_error *err);

/* The head of a graph that ends at its branches, from its metadata: *found is false without. What is
 * wrong with them is CR_ERR_FORMAT. Takes classes, keypoints and preprocessing from there, too. */
cr_status cr_branches_read(const cr_graph *g, cr_head *head, cr_branches *b, cr_preprocess *pre,
                           const char **family, bool *found, cr_arena *arena, cr_error *err);
/* The metadata's text, in the arena. */
cr_status cr_branches_write(const cr_graph *g, const cr_head *head, const cr_branches *b,
                            const cr_model_info *info, const char **text, cr_arena *arena,
                            cr_error *err);
/* Adds to the recipe the step that ends the model at its branches. CR_ERR_UNSUPPORTED: it decodes in
 * a way that the host does not know. */
cr_status cr_model_detach(const cr_model *m, cr_recipe *r, cr_error *err);

/* The graph that the recipe speaks of, which runs and is exported. */
static inline const cr_graph *cr_model_graph(const cr_model *m)
{
    return m->applied ? m->applied : m->graph;
}

/* The type of the constants that cr_model_to_half rounded; CR_DT_NONE if it did not. */
cr_dtype cr_model_half_type(const cr_model *m);

/* Gives the model a recipe (NULL: none), which it owns then, in place of the one it has, and applies
 * it; on failure the model is as it was and the recipe still the caller's. */
cr_status cr_model_attach(cr_model *m, cr_recipe *r, cr_error *err);

/* Roles and counts of nodes anew, after the graph has changed. */
cr_status cr_model_recount(cr_model *m, cr_error *err);

/* Refreshes what info says about the recipe. */
void cr_model_describe_recipe(cr_model *m);

#endif
