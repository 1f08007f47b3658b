/* A recipe taken apart: its layers, and the recipe of some of them. */
#ifndef CR_QUANT_RECIPE_LAYERS_H
#define CR_QUANT_RECIPE_LAYERS_H

#include "graph/graph.h"
#include "graph/recipe.h"

/* A layer is a node whose constant weight has an entry, with the entries of the activations that it
 * reads: through operators that pass integers on, back to where the integers are made. Layers that
 * read one tensor share its entry. An entry that no layer reads belongs to the layer that computes
 * it, if there is one. */
typedef struct cr_recipe_layers {
    const cr_graph *graph; /* the one that the entries speak of */
    const cr_recipe *recipe;
    const cr_node **node; /* [count], in the order of execution */
    size_t count;
    bool *uses; /* [count][recipe->count]: entries by layer */
} cr_recipe_layers;

/* `graph` and `recipe` must outlive the layers. */
cr_status cr_recipe_layers_find(const cr_graph *graph, const cr_recipe *recipe,
                                cr_recipe_layers *out, cr_error *err);
void cr_recipe_layers_release(cr_recipe_layers *l);

/* The recipe with the entries of those layers alone that keep[] names; `others`: with the entries
 * of no layer as well. All rewrites of the graph stay. Weights and biases of the other layers
 * become what `original` (the float model's graph) has in their place, with the factors of channels
 * that the recipe scaled (weight_match.h); where it changed more, they stay as they are. The caller owns
 * *out. */
cr_status cr_recipe_subset(const cr_recipe_layers *l, const bool *keep, bool others,
                           const cr_graph *original, cr_recipe **out, cr_error *err);

#endif
