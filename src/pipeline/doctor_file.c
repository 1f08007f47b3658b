/* The nodes of a quantized ONNX file, before reading normalizes them: pairs that do nothing, scales
 * that cannot be, axes that no kernel takes.
 *
 * With `mend` the graph is changed so that it can be prepared and its recipe be read: the values of
 * weights stay what the codes say. A pair with an impossible scale vanishes; a weight's channel with
 * one becomes zeros, which is what a scale of 0 says (of NaN nothing is known). Rejected: mending in
 * the Q/DQ reader itself, because a file that runs wrongly elsewhere must not silently run rightly
 * here. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"
#include "pipeline/findings.h"

enum { AXIS_OPSET = 13 };

typedef struct scan {
    cr_graph *g;
    cr_findings *found;
    cr_node **only; /* by tensor id: the reader, if it is one */
    bool *q_only;   /* by tensor id: its readers are QuantizeLinear nodes, at least one */
    bool *is_output;
    bool mend;
} scan;

static bool is_op(const cr_node *n, cr_op_kind kind)
{
    return n && n->op && n->op->kind == kind;
}

static void index_readers(scan *s)
{
    const cr_graph *g = s->g;
    for (size_t i = 0; i < g->tensor_count; i++) s->q_only[i] = g->tensors[i]->uses > 0;
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            const cr_tensor *t = g->nodes[i]->in[k];
            if (!t) continue;
            if (t->uses == 1) s->only[t->id] = g->nodes[i];
            s->q_only[t->id] &= k == 0 && is_op(g->nodes[i], CR_OP_QuantizeLinear);
        }
    for (size_t i = 0; i < g->output_count; i++) {
        s->q_only[g->outputs[i]->id] = false;
        s->is_output[g->outputs[i]->id] = true;
    }
}

/* ---- scales ---- */

/* Counts are checked when shapes are inferred, which comes later. */
static bool is_whole(const cr_node *n)
{
    return n->n_in > 1 && n->in[0] && n->in[1] && n->n_out > 0 && n->out[0];
}

static bool is_bad(float scale)
{
    return !(scale > 0) || isinf(scale);
}

/* The first scale that cannot be one, or -1. */
static int64_t first_bad(const cr_tensor *s, int64_t *bad)
{
    int64_t first = -1;
    *bad = 0;
    if (!s->data || s->dtype != CR_DT_F32) return -1;
    for (int64_t i = cr_shape_count(&s->shape); i-- > 0;) {
        if (!is_bad(((const float *)s->data)[i])) continue;
        first = i;
        ++*bad;
    }
    return first;
}

/* Runs of equal scale: element i has scale i / inner % count. */
static int64_t inner_count(const cr_node *n, int64_t scales)
{
    const cr_shape *x = &n->in[0]->shape;
    int64_t axis = cr_attr_int(n, "axis", 1), inner = 1;
    if (axis < 0) axis += x->rank;
    if (scales == 1 || axis < 0 || axis >= x->rank || x->dim[axis] != scales) return -1;
    for (int d = (int)axis + 1; d < x->rank; d++) inner *= x->dim[d];
    return inner;
}

static void store_code(cr_tensor *t, int64_t i, int64_t code)
{
    switch (cr_dtype_size(t->dtype)) {
    case 1: ((uint8_t *)t->data)[i] = (uint8_t)code; break;
    case 2: ((uint16_t *)t->data)[i] = (uint16_t)code; break;
    default: ((uint32_t *)t->data)[i] = (uint32_t)code; break;
    }
}

/* Own copies of scale and codes (others may read them): 1 and zeros where the scale is bad. */
static cr_status mend_constant(scan *s, cr_node *dq, cr_error *err)
{
    const cr_tensor *codes = dq->in[0], *scale = dq->in[1], *z = dq->n_in > 2 ? dq->in[2] : NULL;
    const int64_t n = cr_shape_count(&scale->shape), inner = inner_count(dq, n);
    if ((inner < 0 && n != 1) || (z && cr_shape_count(&z->shape) != n)) return CR_OK;
    cr_tensor *c2 = cr_graph_new_const(s->g, codes->name, codes->dtype, codes->shape);
    cr_tensor *s2 = cr_graph_new_const(s->g, scale->name, CR_DT_F32, scale->shape);
    if (!c2 || !s2) return CR_NOMEM(err);
    memcpy(c2->data, codes->data, cr_tensor_bytes(codes));
    memcpy(s2->data, scale->data, cr_tensor_bytes(scale));
    for (int64_t i = 0; i < cr_shape_count(&codes->shape); i++) {
        const int64_t k = n == 1 ? 0 : i / inner % n;
        if (is_bad(((const float *)scale->data)[k]))
            store_code(c2, i, z && z->data ? cr_tensor_get_i64(z, (size_t)k) : 0);
    }
    for (int64_t k = 0; k < n; k++)
        if (is_bad(((float *)s2->data)[k])) ((float *)s2->data)[k] = 1;
    dq->in[0] = c2;
    dq->in[1] = s2;
    return CR_OK;
}

static void become_identity(cr_node *n)
{
    n->op = cr_op_get(CR_OP_Identity);
    n->n_in = 1;
    n->n_attrs = 0;
    n->out[0]->dtype = CR_DT_NONE;
}

static cr_status check_scale(scan *s, cr_node *n, cr_error *err)
{
    int64_t bad;
    const cr_tensor *scale = n->in[1];
    const int64_t first = first_bad(scale, &bad);
    if (first < 0) return CR_OK;
    const bool constant = n->in[0]->data != NULL;
    if (is_op(n, CR_OP_QuantizeLinear) || constant)
        CR_TRY(cr_findings_add(s->found, CR_FINDING_BAD_SCALE, n->name,
                               (is_op(n, CR_OP_QuantizeLinear) ? n->in[0] : n->out[0])->name, err,
                               "%lld of %lld scales cannot be: number %lld is %g", (long long)bad,
                               (long long)cr_shape_count(&scale->shape), (long long)first,
                               (double)((const float *)scale->data)[first]));
    if (!s->mend) return CR_OK;
    if (constant && is_op(n, CR_OP_DequantizeLinear)) return mend_constant(s, n, err);
    become_identity(n);
    return CR_OK;
}

/* ---- axes ---- */

/* Axis of a weight's output channels, -1: n has none. */
static int output_axis(const cr_node *n, int rank)
{
    if (is_op(n, CR_OP_Conv)) return 0;
    if (is_op(n, CR_OP_ConvTranspose)) return cr_attr_int(n, "group", 1) == 1 ? 1 : -1;
    if (is_op(n, CR_OP_Gemm)) return cr_attr_int(n, "transB", 0) ? 0 : 1;
    if (is_op(n, CR_OP_MatMul)) return rank == 2 ? 1 : -1;
    return -1;
}

static cr_status set_axis(scan *s, cr_node *n, int axis, cr_error *err)
{
    for (int a = 0; a < n->n_attrs; a++)
        if (!strcmp(n->attrs[a].name, "axis")) {
            cr_attr_set_int(&n->attrs[a], "axis", axis);
            return CR_OK;
        }
    cr_attr *grown = cr_arena_alloc(&s->g->arena, (size_t)(n->n_attrs + 1) * sizeof *grown);
    if (!grown) return CR_NOMEM(err);
    if (n->n_attrs) memcpy(grown, n->attrs, (size_t)n->n_attrs * sizeof *grown);
    cr_attr_set_int(&grown[n->n_attrs], "axis", axis);
    n->attrs = grown;
    n->n_attrs++;
    return CR_OK;
}

static cr_status check_axis(scan *s, cr_node *n, cr_error *err)
{
    const cr_tensor *codes = n->in[0], *scale = n->in[1];
    const int rank = codes->shape.rank;
    if (!codes->data || scale->shape.rank != 1 || scale->shape.dim[0] < 2) return CR_OK;
    if (cr_attr_int(n, "block_size", 0)) return CR_OK;
    const int64_t count = scale->shape.dim[0];
    const cr_node *reader = s->only[n->out[0]->id];
    const bool weight = reader && reader->n_in > 1 && reader->in[1] == n->out[0];
    const int right = rank == 1 ? 0 : weight ? output_axis(reader, rank) : -1;
    int64_t axis = cr_attr_int(n, "axis", 1);
    if (axis < 0) axis += rank;
    if (s->g->source_opset && s->g->source_opset < AXIS_OPSET)
        CR_TRY(cr_findings_add(s->found, CR_FINDING_OLD_OPSET, n->name, n->out[0]->name, err,
                               "%lld scales at opset %d", (long long)count, s->g->source_opset));
    else if (right >= 0 && rank > 1 && axis != right)
        CR_TRY(cr_findings_add(s->found, CR_FINDING_WRONG_AXIS, n->name, n->out[0]->name, err,
                               "%lld scales along axis %lld, the output channels of %s '%s' are axis %d",
                               (long long)count, (long long)axis, reader->op->name, reader->name,
                               right));
    const bool fits = axis >= 0 && axis < rank && codes->shape.dim[axis] == count;
    if (s->mend && right >= 0 && right < rank && axis != right && !fits &&
        codes->shape.dim[right] == count)
        return set_axis(s, n, right, err);
    return CR_OK;
}

/* ---- pairs ---- */

static bool same_constant(const cr_tensor *a, const cr_tensor *b)
{
    if (a == b) return true;
    return a && b && a->data && b->data && a->dtype == b->dtype &&
           cr_tensor_bytes(a) == cr_tensor_bytes(b) && !memcmp(a->data, b->data, cr_tensor_bytes(a));
}

static bool same_params(const cr_node *a, const cr_node *b)
{
    return same_constant(a->in[1], b->in[1]) &&
           same_constant(a->n_in > 2 ? a->in[2] : NULL, b->n_in > 2 ? b->in[2] : NULL);
}

static cr_status check_pair(scan *s, const cr_node *n, cr_error *err)
{
    const bool quantizes = is_op(n, CR_OP_QuantizeLinear);
    const cr_tensor *x = n->in[0], *y = n->out[0];
    const char *tensor = (quantizes ? x : y)->name;
    if (y->uses == 0 && !s->is_output[y->id] && s->g->source_opset) /* else a reader left it over */
        return cr_findings_add(s->found, CR_FINDING_DEAD_PAIR, n->name, tensor, err,
                               "nothing reads what it gives");
    if (quantizes && x->data && x->dtype == CR_DT_F32 && cr_shape_count(&x->shape) > 1)
        return cr_findings_add(s->found, CR_FINDING_STORED_FLOAT, n->name, tensor, err,
                               "%lld float constants are quantized in every run",
                               (long long)cr_shape_count(&x->shape));
    const cr_node *before = quantizes ? x->producer : NULL;
    if (is_op(before, CR_OP_DequantizeLinear) && is_whole(before) && s->q_only[x->id])
        return cr_findings_add(s->found, CR_FINDING_DEAD_PAIR, n->name, tensor, err,
                               same_params(n, before) ? "'%s' has just taken off the same scale"
                                                      : "'%s' in front has another scale: rounded twice",
                               before->name);
    return CR_OK;
}

static cr_status scan_node(scan *s, cr_node *n, cr_error *err)
{
    if (!is_whole(n)) return CR_OK;
    if (is_op(n, CR_OP_ConvInteger) || is_op(n, CR_OP_MatMulInteger))
        return cr_findings_add(s->found, CR_FINDING_INTEGER_OPERATOR, n->name, n->out[0]->name, err,
                               "%s", n->op->name);
    if (!is_op(n, CR_OP_QuantizeLinear) && !is_op(n, CR_OP_DequantizeLinear)) return CR_OK;
    CR_TRY(check_pair(s, n, err));
    if (is_op(n, CR_OP_DequantizeLinear)) CR_TRY(check_axis(s, n, err));
    return check_scale(s, n, err);
}

cr_status cr_doctor_file(cr_graph *g, bool mend, cr_findings *f, cr_error *err)
{
    scan s = {.g = g, .found = f, .mend = mend};
    const size_t nodes = g->node_count, tensors = g->tensor_count;
    s.only = cr_calloc(tensors + 1, sizeof *s.only);
    s.q_only = cr_calloc(tensors + 1, sizeof *s.q_only);
    s.is_output = cr_calloc(tensors + 1, sizeof *s.is_output);
    cr_status st = s.only && s.q_only && s.is_output ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) index_readers(&s);
    for (size_t i = 0; st == CR_OK && i < nodes; i++) st = scan_node(&s, g->nodes[i], err);
    cr_free(s.only);
    cr_free(s.q_only);
    cr_free(s.is_output);
    return st == CR_OK && mend ? cr_graph_index(g, err) : st;
}
