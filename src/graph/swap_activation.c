/* One activation in place of another. */
#include "base/error.h"
#include "graph/passes.h"

static const float leaky_slope = .1f, top = 6;

/* The node in its place, as a node of another operator; false: no memory. */
static bool swap(cr_graph *g, cr_node *n, cr_op_kind kind)
{
    const int n_in = kind == CR_OP_Clip ? 3 : 1;
    cr_tensor **in = cr_arena_alloc(&g->arena, (size_t)n_in * sizeof *in);
    cr_attr *attrs = cr_arena_alloc(&g->arena, sizeof *attrs);
    if (!in || !attrs) return false;
    in[0] = n->in[0];
    if (kind == CR_OP_Clip) {
        in[1] = cr_graph_const_f32(g, "low", 0);
        in[2] = cr_graph_const_f32(g, "high", top);
        if (!in[1] || !in[2]) return false;
    }
    n->n_attrs = 0;
    n->attrs = attrs;
    if (kind == CR_OP_LeakyRelu) cr_attr_set_float(&attrs[n->n_attrs++], "alpha", leaky_slope);
    n->op = cr_op_get(kind);
    n->in = in;
    n->n_in = n_in;
    return true;
}

cr_status cr_graph_swap_activation(cr_graph *g, cr_op_kind kind, size_t *count, cr_error *err)
{
    *count = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i]->op->kind != CR_OP_Swish) continue;
        if (!swap(g, g->nodes[i], kind)) return CR_NOMEM(err);
        ++*count;
    }
    CR_TRY(cr_graph_index(g, err));
    return cr_graph_infer(g, err);
}
