/* Several pictures at once: the leading 1 of the graph's inputs becomes N.
 *
 * Allowed where every node treats the pictures alike and apart, which is proved node by node: a
 * tensor "carries" the batch if its dim 0 is the batch and nothing else. A node passes it on if its
 * rule below says so; where a shape was written down with a leading 1 (Reshape, Resize by sizes), the
 * 1 becomes N, because row-major order keeps each picture's elements together. Anything else is
 * refused by name. Shapes are then inferred anew and must be the old ones but for dim 0.
 *
 * Rejected: changing the input and looking whether shapes still fit; a shape that fits by chance
 * mixes pictures. */
#include <string.h>

#include "graph/passes.h"
#include "graph/shape.h"

typedef struct batch {
    cr_graph *g;
    int64_t n;
    bool *carries;  /* by tensor id */
    cr_shape *old;  /* by tensor id */
    size_t known;   /* tensors when the tables were made; constants made later carry nothing */
} batch;

static bool carries(const batch *b, const cr_tensor *t)
{
    return t && (size_t)t->id < b->known && b->carries[t->id];
}

static int normal(int64_t axis, int rank) { return (int)(axis < 0 ? axis + rank : axis); }

static bool only_first_carries(const batch *b, const cr_node *n)
{
    for (int i = 1; i < n->n_in; i++)
        if (carries(b, n->in[i])) return false;
    return carries(b, n->in[0]);
}

/* Broadcasting: who carries reaches up to dim 0, who does not stretches over it. */
static bool broadcasts(const batch *b, const cr_node *n)
{
    const int rank = n->out[0]->shape.rank;
    for (int i = 0; i < n->n_in; i++) {
        const cr_tensor *t = n->in[i];
        if (!t) continue;
        if (carries(b, t) ? t->shape.rank != rank : t->shape.rank == rank && t->shape.dim[0] != 1)
            return false;
    }
    return true;
}

/* A constant list of axes without the batch; absent: `otherwise`. */
static bool axes_spare_batch(const cr_node *n, int input, int rank, bool otherwise)
{
    const cr_tensor *t = n->n_in > input ? n->in[input] : NULL;
    if (!t) return otherwise;
    if (!t->data) return false;
    for (int64_t i = 0; i < cr_shape_count(&t->shape); i++)
        if (normal(cr_tensor_get_i64(t, (size_t)i), rank) == 0) return false;
    return true;
}

static bool axis_is_not_batch(const cr_node *n, int64_t fallback)
{
    return normal(cr_attr_int(n, "axis", fallback), n->in[0]->shape.rank) != 0;
}

static bool first_is(const cr_tensor *t, int64_t value)
{
    return t && t->data && cr_shape_count(&t->shape) > 0 && cr_tensor_get_i64(t, 0) == value;
}

/* Input k, a constant shape with a leading 1, leads with N from now on. False: no memory. */
static bool lead_with_n(batch *b, cr_node *n, int k)
{
    int64_t dims[CR_MAX_RANK];
    const cr_tensor *t = n->in[k];
    const int64_t count = cr_shape_count(&t->shape);
    for (int64_t i = 0; i < count && i < CR_MAX_RANK; i++) dims[i] = cr_tensor_get_i64(t, (size_t)i);
    dims[0] = b->n;
    n->in[k] = cr_graph_const_i64(b->g, t->name, dims, (size_t)count);
    return n->in[k] != NULL;
}

static bool multiplies(const batch *b, const cr_node *n)
{
    const int rank = n->out[0]->shape.rank;
    if (n->op->kind == CR_OP_Gemm) {
        const cr_tensor *c = n->n_in > 2 ? n->in[2] : NULL;
        return only_first_carries(b, n) && !cr_attr_int(n, "transA", 0) &&
               (!c || c->shape.rank < 2 || c->shape.dim[0] == 1);
    }
    if (rank == 2) return only_first_carries(b, n) && n->in[1]->shape.rank == 2;
    return rank > 2 && broadcasts(b, n);
}

static bool moves(const batch *b, const cr_node *n)
{
    const int rank = n->in[0]->shape.rank;
    size_t count = 0;
    const int64_t *perm = cr_attr_ints(n, "perm", &count);
    switch (n->op->kind) {
    case CR_OP_Transpose: return perm && count > 0 && perm[0] == 0;
    case CR_OP_Split: return only_first_carries(b, n) && axis_is_not_batch(n, 0);
    case CR_OP_Gather: return only_first_carries(b, n) && axis_is_not_batch(n, 0);
    case CR_OP_Slice: return only_first_carries(b, n) && axes_spare_batch(n, 3, rank, false);
    case CR_OP_Squeeze: return axes_spare_batch(n, 1, rank, false);
    case CR_OP_Unsqueeze: return axes_spare_batch(n, 1, n->out[0]->shape.rank, false);
    case CR_OP_Flatten: return cr_attr_int(n, "axis", 1) == 1;
    case CR_OP_Concat:
        for (int i = 0; i < n->n_in; i++)
            if (!carries(b, n->in[i])) return false;
        return axis_is_not_batch(n, 0);
    default: return false;
    }
}

static bool reduces(const batch *b, const cr_node *n)
{
    if (!only_first_carries(b, n)) return false;
    switch (n->op->kind) {
    case CR_OP_Softmax:
    case CR_OP_LogSoftmax:
    case CR_OP_TopK:
    case CR_OP_LayerNormalization: return axis_is_not_batch(n, -1);
    case CR_OP_ArgMax:
    case CR_OP_ArgMin: return axis_is_not_batch(n, 0);
    case CR_OP_ReduceMax:
    case CR_OP_ReduceMean:
    case CR_OP_ReduceMin:
    case CR_OP_ReduceSum: return axes_spare_batch(n, 1, n->in[0]->shape.rank, false);
    default: return false;
    }
}

/* Does the node pass the batch on, as it stands or once `rewrite` (an input's index) leads with N? */
static bool passes_on(const batch *b, const cr_node *n, int *rewrite)
{
    const cr_tensor *sizes = n->n_in > 3 ? n->in[3] : NULL;
    switch (n->op->kind) {
    case CR_OP_Identity:
    case CR_OP_Conv:
    case CR_OP_ConvTranspose:
    case CR_OP_MaxPool:
    case CR_OP_AveragePool:
    case CR_OP_GlobalAveragePool:
    case CR_OP_GlobalMaxPool:
    case CR_OP_BatchNormalization:
    case CR_OP_InstanceNormalization:
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth: return only_first_carries(b, n);
    case CR_OP_Gemm:
    case CR_OP_MatMul: return multiplies(b, n);
    case CR_OP_Reshape:
        if (first_is(n->in[1], 1)) *rewrite = 1;
        return *rewrite || first_is(n->in[1], -1) ||
               (first_is(n->in[1], 0) && !cr_attr_int(n, "allowzero", 0));
    case CR_OP_Resize:
        if (cr_attr_find(n, "axes") || !only_first_carries(b, n)) return false;
        if (sizes && first_is(sizes, 1)) *rewrite = 3;
        return *rewrite || (!sizes && n->n_in > 2 && n->in[2] && n->in[2]->dtype == CR_DT_F32 &&
                            n->in[2]->data && ((const float *)n->in[2]->data)[0] == 1);
    default: break;
    }
    if (n->op->flags & CR_OPF_MATH) return broadcasts(b, n);
    if (n->op->flags & CR_OPF_MOVE) return moves(b, n);
    return reduces(b, n);
}

static cr_status follow(batch *b, cr_node *n, cr_error *err)
{
    bool any = false;
    int rewrite = 0;
    for (int i = 0; i < n->n_in; i++) any |= carries(b, n->in[i]);
    if (!any) return CR_OK;
    bool ok = true;
    for (int k = 0; k < n->n_out; k++)
        ok &= !n->out[k] || (n->out[k]->shape.rank >= 1 && n->out[k]->shape.dim[0] == 1 &&
                             cr_shape_known(&n->out[k]->shape));
    CR_CHECK(ok && passes_on(b, n, &rewrite), err, CR_ERR_UNSUPPORTED,
             "node '%s' (%s) may mix the pictures of a batch: only batch 1 is possible", n->name,
             n->op->name);
    if (rewrite && !lead_with_n(b, n, rewrite)) return CR_NOMEM(err);
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k]) b->carries[n->out[k]->id] = true;
    return CR_OK;
}

static cr_status check_shapes(const batch *b, cr_error *err)
{
    for (size_t i = 0; i < b->known; i++) {
        const cr_tensor *t = b->g->tensors[i];
        cr_shape want = b->old[i];
        if (b->carries[i]) want.dim[0] = b->n;
        CR_CHECK(cr_shape_equal(&t->shape, &want), err, CR_ERR_UNSUPPORTED,
                 "tensor '%s' has another shape in a batch: only batch 1 is possible", t->name);
    }
    return CR_OK;
}

static cr_status set_batch(batch *b, cr_error *err)
{
    cr_graph *g = b->g;
    for (size_t i = 0; i < b->known; i++) b->old[i] = g->tensors[i]->shape;
    for (size_t i = 0; i < g->input_count; i++) {
        const cr_shape *s = &g->inputs[i]->shape;
        CR_CHECK(s->rank >= 1 && s->dim[0] == 1, err, CR_ERR_UNSUPPORTED,
                 "input '%s' has no leading dimension of 1 to make a batch of", g->inputs[i]->name);
        b->carries[g->inputs[i]->id] = true;
    }
    for (size_t i = 0; i < g->node_count; i++) CR_TRY(follow(b, g->nodes[i], err));
    for (size_t i = 0; i < g->input_count; i++) g->inputs[i]->shape.dim[0] = b->n;
    CR_TRY(cr_graph_index(g, err));
    CR_TRY(cr_graph_infer(g, err));
    return check_shapes(b, err);
}

cr_status cr_graph_set_batch(cr_graph *g, int64_t n, cr_error *err)
{
    batch b = {.g = g, .n = n, .known = g->tensor_count};
    CR_CHECK(n >= 1 && n <= 1024, err, CR_ERR_ARGUMENT, "batch %lld: must be 1 to 1024",
             (long long)n);
    b.carries = cr_calloc(b.known + 1, sizeof *b.carries);
    b.old = cr_calloc(b.known + 1, sizeof *b.old);
    const cr_status st = b.carries && b.old ? set_batch(&b, err) : CR_NOMEM(err);
    cr_free(b.carries);
    cr_free(b.old);
    return st;
}
