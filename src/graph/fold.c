/* Constant folding, in the same sweep as shape inference, because each feeds the other: a Reshape's
 * target is often Concat(Gather(Shape(x)) ...), known once x's shape is.
 *
 * A model of a kilobyte can ask for gigabytes (ConstantOfShape, Tile, Expand, Range, Resize, in a
 * chain) or for hours (MatMul of two such results). So a sweep may make no more than four times the
 * model's own constants and 64 MiB, and take no more than 2^31 element operations, by estimates
 * that are too high rather than too low; what is beyond stays a node and is computed at run time.
 */
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

enum { FOLD_BYTES = 64 << 20, FOLD_GROWTH = 4 };
static const uint64_t fold_work = (uint64_t)1 << 31;

typedef struct budget {
    uint64_t bytes, work; /* what is left */
} budget;

static budget full_budget(const cr_graph *g)
{
    budget b = {FOLD_BYTES, fold_work};
    for (size_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i]->data) b.bytes += FOLD_GROWTH * (uint64_t)cr_tensor_bytes(g->tensors[i]);
    return b;
}

static bool inputs_known(const cr_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && !n->in[i]->data) return false;
    return true;
}

static uint64_t elements(cr_tensor *const *list, int n)
{
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        const int64_t count = list[i] ? cr_shape_count(&list[i]->shape) : 0;
        if (count > 0) sum += (uint64_t)count;
    }
    return sum;
}

/* Upper bound of a node's element operations: elementwise ones touch each element once, the others
 * at most each input for each output; suppression compares boxes with each other. */
static uint64_t work_of(const cr_node *n)
{
    const uint64_t in = 1 + elements(n->in, n->n_in), out = 1 + elements(n->out, n->n_out);
    const bool windows = n->op->kind == CR_OP_Resize || n->op->kind == CR_OP_MaxPool;
    uint64_t product;
    if (n->op->kind == CR_OP_NonMaxSuppression)
        return __builtin_mul_overflow(in, in, &product) ? UINT64_MAX : product;
    if (!windows && !(n->op->flags & (CR_OPF_HEAVY | CR_OPF_REDUCE))) return in + out;
    return __builtin_mul_overflow(in, out, &product) ? UINT64_MAX : product;
}

static bool within_budget(const cr_node *n, budget *b)
{
    const uint64_t work = work_of(n);
    uint64_t bytes = 0;
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i]) bytes += cr_tensor_bytes(n->out[i]);
    if (work > b->work || bytes > b->bytes || bytes > FOLD_BYTES) return false;
    b->work -= work;
    b->bytes -= bytes;
    return true;
}

/* The DequantizeLinear behind a weight must survive: the recipe is read from it. */
static bool may_fold(const cr_node *n)
{
    const bool kept = (n->op->flags & CR_OPF_QUANT) && n->op->kind != CR_OP_QuantizeLinear;
    return !kept && inputs_known(n);
}

/* Constants that nobody reads any more make room at once. */
static void release_inputs(const cr_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && n->in[i]->data && --n->in[i]->uses == 0) cr_tensor_drop_data(n->in[i]);
}

static cr_status run_node(cr_node *n, cr_run_fn run, cr_error *err)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    CR_TRY(run(&call, err));
    release_inputs(n);
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
    budget left = full_budget(g);
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        CR_TRY(cr_node_infer(n, err));
        if ((may_fold(n) || only_needs_shape(n)) && within_budget(n, &left))
            CR_TRY(run_node(n, run, err));
    }
    return cr_graph_compact(g, err);
}
