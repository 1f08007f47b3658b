/* Deep copy of a graph. */
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

static bool clone_attr(cr_graph *g, cr_attr *to, const cr_attr *from)
{
    *to = *from;
    if (from->type == CR_ATTR_TENSOR) to->tensor = NULL; /* never own the source's */
    to->name = cr_arena_strdup(&g->arena, from->name);
    if (!to->name) return false;
    switch (from->type) {
    case CR_ATTR_STRING: return (to->s = cr_arena_strndup(&g->arena, from->s, from->count)) != NULL;
    case CR_ATTR_INTS: return cr_attr_set_ints(g, to, to->name, from->ints, from->count);
    case CR_ATTR_FLOATS:
        to->floats = cr_arena_alloc(&g->arena, from->count * sizeof(float));
        if (to->floats && from->count) memcpy(to->floats, from->floats, from->count * sizeof(float));
        return to->floats != NULL;
    case CR_ATTR_STRINGS:
        to->strings = cr_arena_alloc(&g->arena, from->count * sizeof *to->strings);
        for (size_t i = 0; to->strings && i < from->count; i++)
            if (!(to->strings[i] = cr_arena_strdup(&g->arena, from->strings[i]))) return false;
        return to->strings != NULL;
    case CR_ATTR_TENSOR: {
        cr_tensor *t = cr_arena_alloc(&g->arena, sizeof *t);
        if (!t) return false;
        *t = *from->tensor;
        t->name = cr_arena_strdup(&g->arena, from->tensor->name);
        t->data = NULL;
        to->tensor = t;
        if (!t->name || !cr_tensor_alloc(t)) return false;
        memcpy(t->data, from->tensor->data, cr_tensor_bytes(t));
        return true;
    }
    default: return true;
    }
}

/* with_data: by tensor id, whose constants are copied; NULL: all. */
static bool clone_tensors(cr_graph *g, const cr_graph *from, const bool *with_data)
{
    for (size_t i = 0; i < from->tensor_count; i++) {
        const cr_tensor *t = from->tensors[i];
        cr_tensor *copy = cr_graph_add_tensor(g, t->name, t->dtype, t->shape);
        if (!copy) return false;
        if (!t->data || (with_data && !with_data[i])) continue;
        if (!cr_tensor_alloc(copy)) return false;
        memcpy(copy->data, t->data, cr_tensor_bytes(t));
    }
    return true;
}

/* run: by node index, which ones; NULL: all. */
static bool clone_nodes(cr_graph *g, const cr_graph *from, const bool *run)
{
    for (size_t i = 0; i < from->node_count; i++) {
        const cr_node *n = from->nodes[i];
        if (run && !run[i]) continue;
        cr_node *copy = cr_graph_add_node(g, n->op->kind, n->name, n->n_in, n->n_out, n->n_attrs);
        if (!copy) return false;
        for (int k = 0; k < n->n_in; k++)
            copy->in[k] = n->in[k] ? g->tensors[n->in[k]->id] : NULL;
        for (int k = 0; k < n->n_out; k++)
            copy->out[k] = n->out[k] ? g->tensors[n->out[k]->id] : NULL;
        for (int a = 0; a < n->n_attrs; a++)
            if (!clone_attr(g, &copy->attrs[a], &n->attrs[a])) return false;
    }
    return true;
}

static cr_tensor **clone_list(cr_graph *g, cr_tensor *const *from, size_t n)
{
    cr_tensor **list = cr_arena_alloc(&g->arena, (n + 1) * sizeof *list);
    for (size_t i = 0; list && i < n; i++) list[i] = g->tensors[from[i]->id];
    return list;
}

/* An empty graph of the same origin. */
static cr_status create_like(const cr_graph *from, cr_graph **out, cr_error *err)
{
    cr_graph *g;
    CR_TRY(cr_graph_create(&g, err));
    g->source_opset = from->source_opset;
    g->source_ir = from->source_ir;
    g->name = cr_arena_strdup(&g->arena, from->name);
    g->producer = cr_arena_strdup(&g->arena, from->producer);
    const bool ok = g->name && g->producer;
    if (!ok) cr_graph_free(&g);
    *out = g;
    return ok ? CR_OK : CR_NOMEM(err);
}

cr_status cr_graph_clone(const cr_graph *from, cr_graph **out, cr_error *err)
{
    *out = NULL;
    cr_graph *g;
    CR_TRY(cr_graph_has_weights(from, err));
    CR_TRY(create_like(from, &g, err));
    bool ok = clone_tensors(g, from, NULL) && clone_nodes(g, from, NULL);
    if (ok) {
        g->inputs = clone_list(g, from->inputs, from->input_count);
        g->outputs = clone_list(g, from->outputs, from->output_count);
        g->input_count = from->input_count;
        g->output_count = from->output_count;
        ok = g->inputs && g->outputs;
    }
    for (size_t i = 0; ok && i < from->meta_count; i++)
        ok = cr_graph_set_meta(g, from->meta[2 * i], from->meta[2 * i + 1]);
    const cr_status st = ok ? cr_graph_index(g, err) : CR_NOMEM(err);
    if (st != CR_OK) cr_graph_free(&g);
    *out = g;
    return st;
}

static cr_tensor **list_of(cr_graph *g, const int *ids, size_t n)
{
    cr_tensor **list = cr_arena_alloc(&g->arena, (n + 1) * sizeof *list);
    for (size_t i = 0; list && i < n; i++) list[i] = g->tensors[ids[i]];
    return list;
}

static bool copy_part(cr_graph *g, const cr_graph *from, const bool *run)
{
    bool *read = cr_calloc(from->tensor_count + 1, sizeof *read);
    if (!read) return false;
    for (size_t i = 0; i < from->node_count; i++)
        for (int k = 0; run[i] && k < from->nodes[i]->n_in; k++)
            if (from->nodes[i]->in[k]) read[from->nodes[i]->in[k]->id] = true;
    const bool ok = clone_tensors(g, from, read) && clone_nodes(g, from, run);
    cr_free(read);
    return ok;
}

cr_status cr_graph_clone_part(const cr_graph *from, const bool *run, const int *inputs, size_t n_in,
                              const int *outputs, size_t n_out, cr_graph **out, cr_error *err)
{
    cr_graph *g;
    *out = NULL;
    CR_TRY(cr_graph_has_weights(from, err));
    CR_TRY(create_like(from, &g, err));
    bool ok = copy_part(g, from, run);
    if (ok) {
        g->inputs = list_of(g, inputs, n_in);
        g->outputs = list_of(g, outputs, n_out);
        g->input_count = n_in;
        g->output_count = n_out;
        ok = g->inputs && g->outputs;
    }
    const cr_status st = ok ? cr_graph_compact(g, err) : CR_NOMEM(err);
    if (st != CR_OK) cr_graph_free(&g);
    *out = g;
    return st;
}
