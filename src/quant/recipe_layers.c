/* Which entries belong to which layer, and recipes of some layers only: what sensitivity is
 * measured with. Taking a finished recipe apart (in place of planning once per layer) keeps
 * everything that was tuned, works for recipes of other tools' files, and costs milliseconds. */
#include "quant/recipe_layers.h"

#include <string.h>

#include "base/error.h"
#include "quant/placement.h"
#include "quant/weight_match.h"

typedef struct finder {
    cr_recipe_layers *out;
    const cr_recipe_entry **entry; /* by tensor id */
    bool *owned;                   /* by entry */
} finder;

static void use(finder *f, size_t layer, const cr_recipe_entry *e)
{
    const size_t i = (size_t)(e - f->out->recipe->entries);
    f->out->uses[layer * f->out->recipe->count + i] = true;
    f->owned[i] = true;
}

static void use_inputs(finder *f, size_t layer)
{
    const cr_node *n = f->out->node[layer];
    for (int k = 0; k < n->n_in; k++) {
        const cr_tensor *t = n->in[k];
        while (t && f->entry[t->id]) {
            use(f, layer, f->entry[t->id]);
            t = t->producer && cr_passes_integers(t->producer) ? t->producer->in[0] : NULL;
        }
    }
}

/* The layer whose output t is, perhaps behind operators without weights; layer_of by node index. */
static int maker(const cr_tensor *t, const int *layer_of)
{
    for (; t && t->producer; t = t->producer->n_in ? t->producer->in[0] : NULL)
        if (layer_of[t->producer->index] >= 0) return layer_of[t->producer->index];
    return -1;
}

static void use_outputs(finder *f, const int *layer_of)
{
    const cr_graph *g = f->out->graph;
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_recipe_entry *e = f->entry[g->tensors[i]->id];
        if (!e || f->owned[e - f->out->recipe->entries]) continue;
        const int layer = maker(g->tensors[i], layer_of);
        if (layer >= 0) use(f, (size_t)layer, e);
    }
}

static bool is_layer(const finder *f, const cr_node *n)
{
    return cr_has_weights(n) && f->entry[n->in[1]->id];
}

cr_status cr_recipe_layers_find(const cr_graph *g, const cr_recipe *r, cr_recipe_layers *out,
                                cr_error *err)
{
    *out = (cr_recipe_layers){.graph = g, .recipe = r};
    finder f = {.out = out};
    int *layer_of = cr_calloc(g->node_count, sizeof *layer_of);
    cr_status st = cr_recipe_bind(r, g, &f.entry, err);
    if (st != CR_OK) goto done;
    f.owned = cr_calloc(r->count, sizeof *f.owned);
    out->node = cr_calloc(g->node_count, sizeof *out->node);
    if (!layer_of || !f.owned || !out->node) {
        st = CR_NOMEM(err);
        goto done;
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const bool layer = is_layer(&f, g->nodes[i]);
        layer_of[i] = layer ? (int)out->count : -1;
        if (layer) out->node[out->count++] = g->nodes[i];
    }
    out->uses = cr_calloc(out->count * r->count + 1, sizeof *out->uses);
    if (!out->uses) {
        st = CR_NOMEM(err);
        goto done;
    }
    for (size_t i = 0; i < out->count; i++) use_inputs(&f, i);
    use_outputs(&f, layer_of);
done:
    cr_free(layer_of);
    cr_free(f.owned);
    cr_free(f.entry);
    if (st != CR_OK) cr_recipe_layers_release(out);
    return st;
}

void cr_recipe_layers_release(cr_recipe_layers *l)
{
    cr_free(l->node);
    cr_free(l->uses);
    *l = (cr_recipe_layers){0};
}

/* ---- subsets ---- */

static bool is_kept(const cr_recipe_layers *l, size_t entry, const bool *keep, bool others)
{
    bool owned = false;
    for (size_t i = 0; i < l->count; i++) {
        const bool uses = l->uses[i * l->recipe->count + entry];
        if (uses && keep[i]) return true;
        owned |= uses;
    }
    return !owned && others;
}

static bool is_constant_like(const cr_tensor *t, const cr_tensor *like)
{
    return t && t->data && t->dtype == CR_DT_F32 && like && like->data &&
           cr_shape_equal(&t->shape, &like->shape);
}

/* The node that computes the tensor of the same name; constants are named anew by some files. */
static const cr_node *counterpart(const cr_node *n, const cr_graph *original)
{
    const cr_tensor *y = cr_graph_find(original, n->out[0]->name);
    const bool same = y && y->producer && y->producer->op == n->op && y->producer->n_in > 1;
    return same ? y->producer : NULL;
}

/* Has a layer that is kept the same weight? */
static bool shares_weight(const cr_recipe_layers *l, const bool *keep, const cr_node *n)
{
    for (size_t i = 0; i < l->count; i++)
        if (keep[i] && l->node[i]->in[1] == n->in[1]) return true;
    return false;
}

/* The bias follows a weight that was rounded only: behind a scaled one a corrected bias is not told from a
 * scaled one, and stays. */
static cr_status restore(const cr_node *n, const cr_graph *original, cr_recipe *r, cr_error *err)
{
    const cr_node *o = counterpart(n, original);
    const cr_tensor *w = n->in[1], *b = n->n_in > 2 ? n->in[2] : NULL;
    cr_match match;
    if (!o || !is_constant_like(o->in[1], w)) return CR_OK;
    float *values = cr_malloc(cr_tensor_bytes(w) + 1);
    if (!values) return CR_NOMEM(err);
    cr_status st = cr_match_weights(n, o->in[1], values, &match, err);
    if (st == CR_OK && match != CR_MATCH_NONE)
        st = cr_recipe_set_value(r, w->name, &w->shape, values, err);
    cr_free(values);
    if (st != CR_OK || match != CR_MATCH_ROUNDED) return st;
    if (o->n_in < 3 || !is_constant_like(o->in[2], b)) return CR_OK;
    return cr_recipe_set_value(r, b->name, &b->shape, o->in[2]->data, err);
}

cr_status cr_recipe_subset(const cr_recipe_layers *l, const bool *keep, bool others,
                           const cr_graph *original, cr_recipe **out, cr_error *err)
{
    const cr_recipe *from = l->recipe;
    cr_recipe *r;
    *out = NULL;
    CR_TRY(cr_recipe_create(&r, err));
    cr_status st = CR_OK;
    for (size_t i = 0; st == CR_OK && i < from->rewrite_count; i++)
        st = cr_recipe_add_rewrite(r, &from->rewrites[i], err);
    for (size_t i = 0; st == CR_OK && i < from->value_count; i++)
        st = cr_recipe_set_value(r, from->values[i].tensor, &from->values[i].shape,
                                 from->values[i].data, err);
    for (size_t i = 0; st == CR_OK && i < l->count; i++)
        if (!keep[i] && !shares_weight(l, keep, l->node[i]))
            st = restore(l->node[i], original, r, err);
    for (size_t i = 0; st == CR_OK && i < from->count; i++) {
        const cr_recipe_entry *e = &from->entries[i];
        if (is_kept(l, i, keep, others))
            st = cr_recipe_add(r, e->tensor, e->is_weight, &e->q, e->note, err);
    }
    if (st != CR_OK) cr_recipe_release(&r);
    *out = r;
    return st;
}
