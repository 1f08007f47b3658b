#include "onnx/qop.h"

#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/passes.h"
#include "graph/qlinear.h"
#include "onnx/qdq.h"

/* One side of a Q or DQ node: codes and their parameters. */
typedef struct operand {
    cr_node *node;
    cr_tensor *codes, *scale, *zero;
    int64_t count; /* of scales */
} operand;

typedef struct writer {
    cr_graph *g;
    cr_node **only;  /* by tensor id: a node that reads it */
    int *uses;       /* by tensor id: node inputs and graph outputs */
    size_t tensors;
} writer;

static bool is_op(const cr_node *n, cr_op_kind kind)
{
    return n && n->op && n->op->kind == kind;
}

static cr_status count_uses(writer *w, cr_error *err)
{
    const cr_graph *g = w->g;
    w->tensors = g->tensor_count;
    w->uses = cr_calloc(w->tensors + 1, sizeof *w->uses);
    w->only = cr_calloc(w->tensors + 1, sizeof *w->only);
    if (!w->uses || !w->only) return CR_NOMEM(err);
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            const cr_tensor *t = g->nodes[i]->in[k];
            if (!t) continue;
            w->uses[t->id]++;
            w->only[t->id] = g->nodes[i];
        }
    for (size_t i = 0; i < g->output_count; i++) w->uses[g->outputs[i]->id] += 2;
    return CR_OK;
}

static bool is_byte(const cr_tensor *t)
{
    return t->dtype == CR_DT_I8 || t->dtype == CR_DT_U8;
}

static bool read_side(cr_node *n, cr_tensor *codes, operand *o)
{
    *o = (operand){n, codes, n->in[1], n->n_in > 2 ? n->in[2] : NULL, 0};
    o->count = cr_shape_count(&o->scale->shape);
    return is_byte(codes) && o->zero && !cr_attr_int(n, "block_size", 0);
}

/* The codes behind a float input: 8 bits, and one scale unless `list` is set. */
static bool operand_in(const cr_tensor *t, bool list, operand *o)
{
    if (!t || !is_op(t->producer, CR_OP_DequantizeLinear)) return false;
    return read_side(t->producer, t->producer->in[0], o) && (list || o->count == 1);
}

/* The codes that a float result is rounded to at once, read by nobody else. */
static bool operand_out(const writer *w, const cr_tensor *t, operand *o)
{
    cr_node *q = t && w->uses[t->id] == 1 ? w->only[t->id] : NULL;
    return is_op(q, CR_OP_QuantizeLinear) && read_side(q, q->out[0], o) && o->count == 1;
}

static int32_t zero_of(const operand *o)
{
    return (int32_t)cr_tensor_get_i64(o->zero, 0);
}

static bool same_params(const operand *a, const operand *b)
{
    return a->codes->dtype == b->codes->dtype && zero_of(a) == zero_of(b) &&
           ((const float *)a->scale->data)[0] == ((const float *)b->scale->data)[0];
}

static bool same_zero_points(const operand *o)
{
    for (int64_t i = 1; i < o->count; i++)
        if (cr_tensor_get_i64(o->zero, (size_t)i) != zero_of(o)) return false;
    return true;
}

/* Does the range of codes alone cut at lo and hi (NULL: no limit)? */
static bool implies(const operand *o, const float *lo, const float *hi)
{
    int32_t first, last;
    const float scale = ((const float *)o->scale->data)[0];
    cr_qtype_range(o->codes->dtype, &first, &last);
    const int32_t zero = zero_of(o);
    return (!lo || cr_quantize_value(*lo, scale, zero, first, last) == first) &&
           (!hi || cr_quantize_value(*hi, scale, zero, first, last) == last);
}

static const float *limit(const cr_node *n, int i)
{
    const cr_tensor *t = i < n->n_in ? n->in[i] : NULL;
    return t && t->dtype == CR_DT_F32 ? t->data : NULL;
}

/* A ReLU or Clip that rounding does anyway, between n and its rounding; o is that rounding. */
static cr_node *idle_clip(const writer *w, const cr_node *n, operand *o)
{
    const cr_tensor *t = n->out[0];
    cr_node *clip = t && w->uses[t->id] == 1 ? w->only[t->id] : NULL;
    const bool relu = is_op(clip, CR_OP_Relu);
    static const float zero = 0;
    if ((!relu && !is_op(clip, CR_OP_Clip)) || !operand_out(w, clip->out[0], o)) return NULL;
    for (int i = 1; i < clip->n_in; i++)
        if (clip->in[i] && !limit(clip, i)) return NULL;
    const float *lo = relu ? &zero : limit(clip, 1), *hi = relu ? NULL : limit(clip, 2);
    return implies(o, lo, hi) ? clip : NULL;
}

/* The node becomes `kind` with these inputs (NULLs at the end are cut) and writes y's codes. */
static cr_status become(writer *w, cr_node *n, cr_op_kind kind, cr_tensor *const *in, int n_in,
                        const operand *y, cr_error *err)
{
    while (n_in && !in[n_in - 1]) n_in--;
    n->in = cr_arena_alloc(&w->g->arena, (size_t)n_in * sizeof *n->in);
    if (!n->in) return CR_NOMEM(err);
    memcpy(n->in, in, (size_t)n_in * sizeof *n->in);
    n->n_in = n_in;
    n->op = cr_op_get(kind);
    cr_graph_kill(y->node);
    n->out[0] = y->codes;
    y->codes->producer = n;
    return CR_OK;
}

/* The int32 codes of a bias; false: it has one that is float. */
static bool bias_codes(const cr_node *n, cr_tensor **codes)
{
    cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    *codes = NULL;
    if (!b) return true;
    if (!is_op(b->producer, CR_OP_DequantizeLinear) || b->producer->in[0]->dtype != CR_DT_I32)
        return false;
    *codes = b->producer->in[0];
    return true;
}

/* ---- convolutions ---- */

static bool weight_in(const cr_node *n, operand *o)
{
    if (!operand_in(n->in[1], true, o) || !o->codes->data || !same_zero_points(o)) return false;
    return o->count == 1 || cr_attr_int(o->node, "axis", 1) == 0;
}

static cr_status write_conv(writer *w, cr_node *n, cr_error *err)
{
    operand x, k, y;
    cr_tensor *bias;
    if (!operand_in(n->in[0], false, &x) || !weight_in(n, &k) || !bias_codes(n, &bias)) return CR_OK;
    if (x.codes->dtype == CR_DT_I8 && k.codes->dtype == CR_DT_U8) return CR_OK;
    cr_node *clip = idle_clip(w, n, &y);
    if (!clip && !operand_out(w, n->out[0], &y)) return CR_OK;
    if (y.codes->dtype != x.codes->dtype) return CR_OK;
    if (clip) cr_graph_kill(clip);
    cr_tensor *const in[] = {x.codes, x.scale, x.zero, k.codes, k.scale,
                             k.zero,  y.scale, y.zero, bias};
    return become(w, n, CR_OP_QLinearConv, in, 9, &y, err);
}

/* ---- the others ---- */

/* A list of scales runs along the columns of b. */
static cr_status write_matmul(writer *w, cr_node *n, cr_error *err)
{
    operand a, b, y;
    if (!operand_in(n->in[0], false, &a) || !operand_in(n->in[1], true, &b)) return CR_OK;
    if (!operand_out(w, n->out[0], &y) || y.codes->dtype != a.codes->dtype) return CR_OK;
    if (a.codes->dtype == CR_DT_I8 && b.codes->dtype == CR_DT_U8) return CR_OK;
    const int rank = b.codes->shape.rank;
    if (b.count > 1 && (rank != 2 || cr_attr_int(b.node, "axis", 1) != rank - 1)) return CR_OK;
    if (rank < 2 || a.codes->shape.rank < 2) return CR_OK;
    cr_tensor *const in[] = {a.codes, a.scale, a.zero, b.codes, b.scale, b.zero, y.scale, y.zero};
    return become(w, n, CR_OP_QLinearMatMul, in, 8, &y, err);
}

/* Attributes that the operator of domain com.microsoft does not have. */
static bool has_form(const cr_node *n)
{
    size_t count;
    const int64_t *dilations = cr_attr_ints(n, "dilations", &count);
    for (size_t i = 0; i < count; i++)
        if (dilations[i] != 1) return false;
    return true;
}

static void drop_attr(cr_node *n, const char *name)
{
    int kept = 0;
    for (int i = 0; i < n->n_attrs; i++)
        if (strcmp(n->attrs[i].name, name)) n->attrs[kept++] = n->attrs[i];
    n->n_attrs = kept;
}

static cr_status write_float_op(writer *w, cr_node *n, const cr_qlinear_form *f, cr_error *err)
{
    operand x, y;
    if (!operand_out(w, n->out[0], &y) || !has_form(n)) return CR_OK;
    const int n_in = 3 * n->n_in + 2;
    cr_tensor **in = cr_arena_alloc(&w->g->arena, (size_t)n_in * sizeof *in);
    if (!in) return CR_NOMEM(err);
    for (int i = 0; i < n->n_in; i++) {
        if (!operand_in(n->in[i], false, &x) || x.codes->dtype != y.codes->dtype) return CR_OK;
        cr_tensor **at = in + f->first + 3 * i;
        at[0] = x.codes;
        at[1] = x.scale;
        at[2] = x.zero;
    }
    in[f->y] = y.scale;
    in[f->y + 1] = y.zero;
    drop_attr(n, "dilations");
    return become(w, n, f->kind, in, n_in, &y, err);
}

/* Softmax needs to be told which of its definitions is meant. */
static cr_status write_softmax(writer *w, cr_node *n, cr_error *err)
{
    CR_TRY(write_float_op(w, n, cr_qlinear_form_for(CR_OP_Softmax), err));
    if (!is_op(n, CR_OP_QLinearSoftmax)) return CR_OK;
    const int64_t axis = cr_attr_int(n, "axis", -1);
    n->attrs = cr_arena_alloc(&w->g->arena, 2 * sizeof *n->attrs);
    if (!n->attrs) return CR_NOMEM(err);
    n->n_attrs = 2;
    cr_attr_set_int(&n->attrs[0], "axis", axis);
    cr_attr_set_int(&n->attrs[1], "opset", 13);
    return CR_OK;
}

/* Values go through as they are; these have kernels for bytes in ONNX Runtime. */
static bool moves_codes(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_MaxPool: return (n->n_out < 2 || !n->out[1]) && n->in[0]->shape.rank == 4;
    case CR_OP_Resize: return !strcmp(cr_attr_string(n, "mode", "nearest"), "nearest");
    case CR_OP_Concat:
    case CR_OP_Split:
    case CR_OP_Slice:
    case CR_OP_Reshape:
    case CR_OP_Flatten:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze:
    case CR_OP_Transpose:
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth: return true;
    default: return false;
    }
}

static int moved_inputs(const cr_node *n)
{
    return n->op->kind == CR_OP_Concat ? n->n_in : 1;
}

/* Every operand and every result has the same parameters: the operator runs on codes. */
static bool can_move(const writer *w, const cr_node *n)
{
    operand x, other;
    if (!moves_codes(n) || !operand_in(n->in[0], false, &x)) return false;
    for (int i = 1; i < moved_inputs(n); i++)
        if (!operand_in(n->in[i], false, &other) || !same_params(&x, &other)) return false;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] && (!operand_out(w, n->out[k], &other) || !same_params(&x, &other)))
            return false;
    return true;
}

static void move_codes(const writer *w, cr_node *n)
{
    operand o;
    for (int i = 0; i < moved_inputs(n); i++)
        if (operand_in(n->in[i], false, &o)) n->in[i] = o.codes;
    for (int k = 0; k < n->n_out; k++) {
        if (!n->out[k] || !operand_out(w, n->out[k], &o)) continue;
        cr_graph_kill(o.node);
        n->out[k] = o.codes;
        o.codes->producer = n;
    }
}

static cr_status write_node(writer *w, cr_node *n, cr_error *err)
{
    if (can_move(w, n)) {
        move_codes(w, n);
        return CR_OK;
    }
    switch (n->op->kind) {
    case CR_OP_Conv: return write_conv(w, n, err);
    case CR_OP_MatMul: return write_matmul(w, n, err);
    case CR_OP_Softmax: return write_softmax(w, n, err);
    default: break;
    }
    const cr_qlinear_form *f = cr_qlinear_form_for(n->op->kind);
    return f ? write_float_op(w, n, f, err) : CR_OK;
}

/* What is left of a graph with killed nodes and new ones at its end, in order. */
static cr_status tidy_up(cr_graph *g, cr_error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op) g->nodes[kept++] = g->nodes[i];
    g->node_count = kept;
    CR_TRY(cr_graph_index(g, err));
    return cr_graph_compact(g, err);
}

cr_status cr_qop_write(const cr_graph *g, const cr_recipe *r, cr_graph **out, cr_error *err)
{
    *out = NULL;
    writer w = {0};
    cr_status st = cr_qdq_write(g, r, &w.g, err);
    if (st == CR_OK) st = count_uses(&w, err);
    const size_t nodes = st == CR_OK ? w.g->node_count : 0;
    for (size_t i = 0; i < nodes && st == CR_OK; i++)
        if (w.g->nodes[i]->op) st = write_node(&w, w.g->nodes[i], err);
    if (st == CR_OK) st = tidy_up(w.g, err);
    if (st == CR_OK) {
        *out = w.g;
        w.g = NULL;
    }
    cr_graph_free(&w.g);
    cr_free(w.only);
    cr_free(w.uses);
    return st;
}
