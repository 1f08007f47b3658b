/* A quantized model becomes float again: the recipe is taken out and kept as the prior of the next
 * plan, and the graph is prepared once more, so that activations whose pieces had roundings between
 * them become one node. */
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"
#include "ops/ref.h"
#include "pipeline/model_impl.h"

/* The tensor that the graph will have in the place of one that a copy gives. */
static const char *lasting_name(const cr_graph *g, const char *name)
{
    const cr_tensor *t = cr_graph_find(g, name);
    while (t && t->producer && t->producer->op->kind == CR_OP_Identity) t = t->producer->in[0];
    return t ? t->name : name;
}

static bool has_entry(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, tensor)) return true;
    return false;
}

/* The entries under the names that their tensors will have. */
static cr_status rename_entries(const cr_graph *g, const cr_recipe *from, cr_recipe **out,
                                cr_error *err)
{
    CR_TRY(cr_recipe_create(out, err));
    for (size_t i = 0; i < from->count; i++) {
        const cr_recipe_entry *e = &from->entries[i];
        const char *name = e->is_weight ? e->tensor : lasting_name(g, e->tensor);
        if (has_entry(*out, name)) continue;
        CR_TRY(cr_recipe_add(*out, name, e->is_weight, &e->q, e->note, err));
    }
    return CR_OK;
}

cr_status cr_model_unquantize(cr_model *m, cr_error *err)
{
    CR_CHECK(m->recipe, err, CR_ERR_ARGUMENT, "%s: is not quantized", m->info.path);
    CR_CHECK(!cr_recipe_changes_graph(m->recipe), err, CR_ERR_ARGUMENT,
             "%s: its recipe changes the graph", m->info.path);
    cr_recipe *prior = NULL;
    cr_status st = rename_entries(m->graph, m->recipe, &prior, err);
    if (st == CR_OK) st = cr_model_attach(m, NULL, err);
    if (st == CR_OK) st = cr_graph_prepare(m->graph, cr_op_run, err);
    if (st == CR_OK) st = cr_graph_infer(m->graph, err);
    if (st == CR_OK) st = cr_model_recount(m, err);
    if (st != CR_OK) {
        cr_recipe_release(&prior);
        return st;
    }
    cr_model_describe_recipe(m);
    cr_recipe_release(&m->prior);
    m->prior = prior;
    m->notes.count = 0;
    return CR_OK;
}
