/* A network run in stages: a part of its nodes at a time over all pictures, what flows from one
 * part to the next being kept in between. So each layer can be looked at, and changed, before what
 * lies behind it is run, and all of it costs about as much as one run. */
#ifndef CR_QUANT_STAGE_H
#define CR_QUANT_STAGE_H

#include "graph/graph.h"
#include "graph/recipe.h"
#include "runtime/runtime.h"

/* Values of one tensor on one picture: codes if it has an 8-bit entry, else 16 bits relative to its
 * largest value (-90 dB: far below what 8 bits do). */
typedef struct cr_kept {
    void *data;  /* NULL: none */
    float scale; /* of 16-bit values */
    bool bytes;
} cr_kept;

size_t cr_kept_bytes(const cr_tensor *t, const cr_recipe_entry *e);
cr_status cr_kept_store(cr_kept *k, const cr_tensor *t, const cr_recipe_entry *e, const float *x,
                        cr_error *err);
void cr_kept_load(const cr_kept *k, const cr_tensor *t, const cr_recipe_entry *e, float *x);
void cr_kept_drop(cr_kept *k);

/* The nodes of g with run[index], as a graph of its own from `inputs` to `outputs` (ids of g); and
 * the entries of r that it has (r may be NULL). The caller owns both. */
cr_status cr_stage_cut(const cr_graph *g, const bool *run, const int *inputs, size_t n_in,
                       const int *outputs, size_t n_out, const cr_recipe *r, cr_graph **part,
                       cr_recipe **entries, cr_error *err);

#endif
