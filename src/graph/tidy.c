/* Dead code, pass-through nodes, and the removal machinery of all passes. */
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

void cr_graph_replace_uses(cr_graph *g, const cr_tensor *from, cr_tensor *to)
{
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] == from) n->in[k] = to;
    }
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == from) g->outputs[i] = to;
}

void cr_graph_kill(cr_node *n)
{
    for (int a = 0; a < n->n_attrs; a++)
        if (n->attrs[a].type == CR_ATTR_TENSOR && n->attrs[a].tensor)
            cr_tensor_drop_data(n->attrs[a].tensor);
    n->op = NULL;
}

static bool is_dead(const cr_graph *g, const cr_node *n, const bool *needed)
{
    if (!n->op) return true;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] && needed[n->out[k]->id]) return false;
    return true;
}

/* Keeps the nodes that outputs need; nodes are in topological order, so one backward sweep does. */
static void drop_dead_nodes(cr_graph *g, bool *needed)
{
    for (size_t i = 0; i < g->output_count; i++) needed[g->outputs[i]->id] = true;
    for (size_t i = 0; i < g->input_count; i++) needed[g->inputs[i]->id] = true;
    for (size_t i = g->node_count; i-- > 0;) {
        cr_node *n = g->nodes[i];
        if (is_dead(g, n, needed)) {
            if (n->op) cr_graph_kill(n);
            continue;
        }
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k]) needed[n->in[k]->id] = true;
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k]) needed[n->out[k]->id] = true;
    }
}

cr_status cr_graph_compact(cr_graph *g, cr_error *err)
{
    bool *needed = cr_calloc(g->tensor_count, sizeof *needed);
    if (!needed) return CR_NOMEM(err);
    drop_dead_nodes(g, needed);
    size_t kept = 0;
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op) g->nodes[kept++] = g->nodes[i];
    g->node_count = kept;
    kept = 0;
    for (size_t i = 0; i < g->tensor_count; i++) {
        cr_tensor *t = g->tensors[i];
        if (!needed[i]) {
            cr_tensor_drop_data(t);
            continue;
        }
        t->id = (int)kept;
        g->tensors[kept++] = t;
    }
    g->tensor_count = kept;
    cr_free(needed);
    return cr_graph_index(g, err);
}

/* Nodes whose output 0 equals input 0, value for value and in the same shape. */
static bool is_no_op(const cr_node *n)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    if (!y) return false;
    switch (n->op->kind) {
    case CR_OP_Identity:
    case CR_OP_Dropout:
        return n->n_out < 2 || !n->out[1] || n->out[1]->uses == 0;
    case CR_OP_Cast:
        return x->dtype == y->dtype && x->dtype != CR_DT_NONE;
    case CR_OP_Reshape:
    case CR_OP_Flatten:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze:
    case CR_OP_Expand:
        return cr_shape_known(&x->shape) && cr_shape_equal(&x->shape, &y->shape);
    case CR_OP_Concat:
        return n->n_in == 1;
    default:
        return false;
    }
}

/* One forward sweep: instead of searching the readers of each tensor that vanishes, its stand-in is
 * noted and every node's inputs are looked up when the sweep comes by, and once more at the end. */
typedef struct sweep {
    cr_tensor **alias; /* by tensor id: what is read in its stead, or NULL */
    bool *io;          /* by tensor id: graph input or output */
} sweep;

static void follow_aliases(const sweep *s, cr_node *n)
{
    for (int k = 0; n->op && k < n->n_in; k++)
        while (n->in[k] && s->alias[n->in[k]->id]) n->in[k] = s->alias[n->in[k]->id];
}

/* The name of a graph output is part of the model's interface: when such a tensor would vanish, the
 * tensor in front of the no-op takes over its place instead, if it is an ordinary inner one. */
static void bypass(sweep *s, cr_node *n)
{
    cr_tensor *x = n->in[0], *y = n->out[0];
    if (!s->io[y->id]) {
        s->alias[y->id] = x;
        cr_graph_kill(n);
        return;
    }
    if (s->io[x->id] || !x->producer || !x->producer->op) return;
    cr_node *p = x->producer;
    for (int k = 0; k < p->n_out; k++)
        if (p->out[k] == x) p->out[k] = y;
    y->producer = p;
    cr_graph_kill(n);
    s->alias[x->id] = y;
}

cr_status cr_graph_tidy(cr_graph *g, cr_error *err)
{
    sweep s = {cr_calloc(g->tensor_count, sizeof *s.alias),
               cr_calloc(g->tensor_count, sizeof *s.io)};
    cr_status st = s.alias && s.io ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        for (size_t i = 0; i < g->input_count; i++) s.io[g->inputs[i]->id] = true;
        for (size_t i = 0; i < g->output_count; i++) s.io[g->outputs[i]->id] = true;
        for (size_t i = 0; i < g->node_count; i++) {
            cr_node *n = g->nodes[i];
            follow_aliases(&s, n);
            if (n->op && n->n_in && n->in[0] && is_no_op(n)) bypass(&s, n);
        }
        for (size_t i = 0; i < g->node_count; i++) follow_aliases(&s, g->nodes[i]);
        st = cr_graph_compact(g, err);
    }
    cr_free(s.alias);
    cr_free(s.io);
    return st;
}
