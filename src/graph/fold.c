/* Constant folding, in the same sweep as shape inference, because each feeds the other: a Reshape's
 * target is often Concat(Gather(Shape(x)) ...), known once x's shape is. */
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

enum { FOLD_LIMIT = 64 << 20 };

static bool inputs_known(const cr_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && !n->in[i]->data) return false;
    return true;
}

static bool outputs_small(const cr_node *n)
{
    for (int i = 0; i < n->n_out; i++) {
        const cr_tensor *t = n->out[i];
        if (t && cr_shape_known(&t->shape) &&
            cr_shape_count(&t->shape) > FOLD_LIMIT / (int64_t)sizeof(float))
            return false;
    }
    return true;
}

/* The DequantizeLinear behind a weight must survive: the recipe is read from it. */
static bool may_fold(const cr_node *n)
{
    const bool kept = (n->op->flags & CR_OPF_QUANT) && n->op->kind != CR_OP_QuantizeLinear;
    return !kept && inputs_known(n) && outputs_small(n);
}

static cr_status run_node(cr_node *n, cr_run_fn run, cr_error *err)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    CR_TRY(run(&call, err));
    cr_graph_kill(n);
    return CR_OK;
}

static bool only_needs_shape(const cr_node *n)
{
    return (n->op->kind == CR_OP_Shape || n->op->kind == CR_OP_Size) &&
           cr_shape_known(&n->in[0]->shape);
}

cr_status cr_graph_fold(cr_graph *g, cr_run_fn run, cr_error *err)
{
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        CR_TRY(cr_node_infer(n, err));
        if (may_fold(n) || only_needs_shape(n)) CR_TRY(run_node(n, run, err));
    }
    return cr_graph_compact(g, err);
}
