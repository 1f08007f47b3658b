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

static bool clone_tensors(cr_graph *g, const cr_graph *from)
{
    for (size_t i = 0; i < from->tensor_count; i++) {
        const cr_tensor *t = from->tensors[i];
        cr_tensor *copy = cr_graph_add_tensor(g, t->name, t->dtype, t->shape);
        if (!copy) return false;
        if (!t->data) continue;
        if (!cr_tensor_alloc(copy)) return false;
        memcpy(copy->data, t->data, cr_tensor_bytes(t));
    }
    return true;
}

static bool clone_nodes(cr_graph *g, const cr_graph *from)
{
    for (size_t i = 0; i < from->node_count; i++) {
        const cr_node *n = from->nodes[i];
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

cr_status cr_graph_clone(const cr_graph *from, cr_graph **out, cr_error *err)
{
    *out = NULL;
    cr_graph *g;
    CR_TRY(cr_graph_create(&g, err));
    g->source_opset = from->source_opset;
    g->source_ir = from->source_ir;
    g->name = cr_arena_strdup(&g->arena, from->name);
    g->producer = cr_arena_strdup(&g->arena, from->producer);
    bool ok = g->name && g->producer && clone_tensors(g, from) && clone_nodes(g, from);
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
