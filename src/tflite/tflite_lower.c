/* Nodes without weights that compute, and the choice of what lowers a node. Each function asks for
 * its inputs in the form and order that its operator needs (cr_tfl_get converts), makes the output
 * and leaves the rest to cr_tfl_made. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/nn_rules.h"
#include "tflite/tflite_out.h"

/* ---- which form an operator computes in ---- */

typedef enum mode { COMPUTE_FLOAT, COMPUTE_INT8, COMPUTE_INT16 } mode;

/* Integers where everything that is computed has them; 16 bits if anything has 16. */
static mode mode_between(const cr_tfl_out *o, const cr_node *n, const cr_tensor *out)
{
    mode m = COMPUTE_INT8;
    for (int i = -1; i < n->n_in; i++) {
        const cr_tensor *t = i < 0 ? out : n->in[i];
        if (!t || t->data) continue;
        const cr_tfl_form f = cr_tfl_stored_form(o, t);
        if (!cr_tfl_is_int(&f)) return COMPUTE_FLOAT;
        if (f.type == CR_TFL_I16) m = COMPUTE_INT16;
    }
    return m;
}

static mode mode_of(const cr_tfl_out *o, const cr_node *n)
{
    return mode_between(o, n, n->out[0]);
}

/* int8 codes in 16 bits, without a zero point and exact: |code - zero point| <= 255, times 128. */
static cr_tfl_form widen(cr_tfl_form f)
{
    return f.type == CR_TFL_I8 ? (cr_tfl_form){CR_TFL_I16, f.scale / 128, 0} : f;
}

static cr_tfl_form form_in(const cr_tfl_out *o, const cr_tensor *t, mode m)
{
    const cr_tfl_form f = cr_tfl_stored_form(o, t);
    if (t->dtype != CR_DT_F32) return f;
    return m == COMPUTE_FLOAT ? cr_tfl_float() : m == COMPUTE_INT16 ? widen(f) : f;
}

/* Of what lies in -1..1 (with zero 0) or 0..1 (with zero -128): TFLite leaves no choice. */
static cr_tfl_form fixed_form(mode m, int zero)
{
    if (m == COMPUTE_FLOAT) return cr_tfl_float();
    return m == COMPUTE_INT8 ? (cr_tfl_form){CR_TFL_I8, zero ? 0x1p-8f : 0x1p-7f, zero}
                             : (cr_tfl_form){CR_TFL_I16, 0x1p-15f, 0};
}

/* The finest scale that holds the values of a constant, and zero. */
static cr_tfl_form form_of_const(const cr_tensor *t, mode m)
{
    const int64_t n = cr_shape_count(&t->shape);
    double lo = 0, hi = 0;
    if (m == COMPUTE_FLOAT || t->dtype != CR_DT_F32) return cr_tfl_float();
    for (int64_t i = 0; i < n; i++) {
        lo = fmin(lo, cr_tensor_get_f64(t, (size_t)i));
        hi = fmax(hi, cr_tensor_get_f64(t, (size_t)i));
    }
    if (m == COMPUTE_INT16) {
        const double most = fmax(hi, -lo);
        return (cr_tfl_form){CR_TFL_I16, most > 0 ? (float)(most / 32767) : 1, 0};
    }
    const float s = hi > lo ? (float)((hi - lo) / 255) : 1;
    return (cr_tfl_form){CR_TFL_I8, s, (int32_t)nearbyint(-128 - lo / (double)s)};
}

/* ---- helpers ---- */

static cr_layout axis_last(cr_layout l, int axis)
{
    int n = 0;
    cr_layout out = {.rank = l.rank};
    for (int i = 0; i < l.rank; i++)
        if (l.at[i] != axis) out.at[n++] = l.at[i];
    out.at[n] = axis;
    return out;
}

/* ---- unary ---- */

typedef struct unary_rule {
    cr_op_kind kind;
    cr_tfl_op code;
    bool int8, int16;
    bool fixed; /* the output's scale is given, */
    int zero;   /* and in 8 bits its zero point */
    const char *attr;
    int slot;
    float fallback;
} unary_rule;

static const unary_rule unaries[] = {
    {CR_OP_Sigmoid, CR_TFL_LOGISTIC, true, true, true, -128, NULL, 0, 0},
    {CR_OP_Tanh, CR_TFL_TANH, true, true, true, 0, NULL, 0, 0},
    {CR_OP_Relu, CR_TFL_RELU, true, false, false, 0, NULL, 0, 0},
    {CR_OP_LeakyRelu, CR_TFL_LEAKY_RELU, true, true, false, 0, "alpha", CR_TFL_LEAKY_ALPHA, .01f},
    {CR_OP_HardSwish, CR_TFL_HARD_SWISH, true, false, false, 0, NULL, 0, 0},
    {CR_OP_Exp, CR_TFL_EXP, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Log, CR_TFL_LOG, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Sqrt, CR_TFL_SQRT, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Abs, CR_TFL_ABS, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Neg, CR_TFL_NEG, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Elu, CR_TFL_ELU, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Gelu, CR_TFL_GELU, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Sin, CR_TFL_SIN, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Cos, CR_TFL_COS, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Floor, CR_TFL_FLOOR, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Ceil, CR_TFL_CEIL, false, false, false, 0, NULL, 0, 0},
    {CR_OP_Round, CR_TFL_ROUND, false, false, false, 0, NULL, 0, 0}};

static const unary_rule *unary_of(const cr_node *n)
{
    for (size_t i = 0; i < sizeof unaries / sizeof *unaries; i++)
        if (unaries[i].kind == n->op->kind) return &unaries[i];
    return NULL;
}

static cr_status lower_unary(cr_tfl_out *o, const cr_node *n, const unary_rule *u, cr_error *err)
{
    mode m = mode_of(o, n);
    cr_tfl_operator *op;
    if ((m == COMPUTE_INT8 && !u->int8) || (m == COMPUTE_INT16 && !u->int16)) m = COMPUTE_FLOAT;
    if (n->op->kind == CR_OP_Elu && cr_attr_float(n, "alpha", 1) != 1.0f)
        return cr_tfl_refuse(n, "alpha is not 1", err);
    if (n->op->kind == CR_OP_LeakyRelu && m == COMPUTE_INT16) m = COMPUTE_FLOAT;
    const cr_layout l = cr_tfl_layout_of(o, n->in[0]);
    const cr_tfl_form in = form_in(o, n->in[0], m);
    const cr_tfl_form out = u->fixed ? fixed_form(m, u->zero) : form_in(o, n->out[0], m);
    cr_tfl_one_to_one(o, n, u->code, &in, &out, &l, &op);
    if (u->attr) cr_tfl_set(op, u->slot, 'f', (double)cr_attr_float(n, u->attr, u->fallback));
    if (n->op->kind == CR_OP_Gelu)
        cr_tfl_set(op, CR_TFL_GELU_APPROXIMATE, 'b',
                   !strcmp(cr_attr_string(n, "approximate", "none"), "tanh"));
    return CR_OK;
}

static bool clip_bounds(const cr_node *n, double *lo, double *hi)
{
    *lo = -HUGE_VAL;
    *hi = HUGE_VAL;
    for (int k = 1; k < n->n_in; k++)
        if (n->in[k] && !n->in[k]->data) return false;
    if (n->n_in > 1 && n->in[1]) *lo = cr_tensor_get_f64(n->in[1], 0);
    if (n->n_in > 2 && n->in[2]) *hi = cr_tensor_get_f64(n->in[2], 0);
    return true;
}

/* A Clip that TFLite has as an operator, or 0. */
static cr_tfl_op clip_code(const cr_node *n)
{
    double lo, hi;
    if (!clip_bounds(n, &lo, &hi)) return 0;
    if (lo == 0 && hi == 6) return CR_TFL_RELU6;
    if (lo == -1 && hi == 1) return CR_TFL_RELU_N1_TO_1;
    return lo == 0 && hi > 1e30 ? CR_TFL_RELU : 0;
}

static cr_status lower_clip(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_tfl_op code = clip_code(n);
    const mode m = code && mode_of(o, n) == COMPUTE_INT8 ? COMPUTE_INT8 : COMPUTE_FLOAT;
    const cr_tfl_form in = form_in(o, n->in[0], m), out = form_in(o, n->out[0], m);
    const cr_layout l = cr_tfl_layout_of(o, n->in[0]);
    cr_tfl_operator *op;
    double bound[2];
    if (code) {
        cr_tfl_one_to_one(o, n, code, &in, &out, &l, &op);
        return CR_OK;
    }
    if (!clip_bounds(n, &bound[0], &bound[1]))
        return cr_tfl_refuse(n, "bounds are no constants", err);
    int x = cr_tfl_get(o, n->in[0], &in, &l);
    for (int k = 0; k < 2; k++) { /* a bound that is absent is one that nothing reaches */
        const float value = (float)fmax(fmin(bound[k], (double)FLT_MAX), -(double)FLT_MAX);
        const cr_shape scalar = {.rank = 0};
        float *data = cr_arena_alloc(&o->arena, sizeof *data);
        const cr_layout none = cr_layout_plain(0);
        const int c = cr_tfl_new_tensor(o, k ? "upper" : "lower", &in, &scalar, &none);
        const int y = k ? cr_tfl_make(o, n->out[0], &out, &l)
                        : cr_tfl_new_tensor(o, n->name, &in, &n->in[0]->shape, &l);
        if (!data || c < 0) return CR_NOMEM(err);
        *data = value;
        o->tensors[c].data = data;
        o->tensors[c].bytes = sizeof *data;
        op = cr_tfl_new_op(o, k ? CR_TFL_MINIMUM : CR_TFL_MAXIMUM, 2, 1);
        op->in[0] = x;
        op->in[1] = c;
        op->out[0] = x = y;
    }
    return CR_OK;
}

/* ---- binary ---- */

static cr_tfl_op binary_code(cr_op_kind k)
{
    switch (k) {
    case CR_OP_Add:
        return CR_TFL_ADD;
    case CR_OP_Sub:
        return CR_TFL_SUB;
    case CR_OP_Mul:
        return CR_TFL_MUL;
    case CR_OP_Div:
        return CR_TFL_DIV;
    case CR_OP_Max:
        return CR_TFL_MAXIMUM;
    case CR_OP_Min:
        return CR_TFL_MINIMUM;
    default:
        return CR_TFL_POW;
    }
}

/* The order of the first input that has all axes; plain where inputs of fewer axes are computed. */
static cr_layout common_layout(const cr_tfl_out *o, const cr_node *n)
{
    const int rank = n->out[0]->shape.rank;
    const cr_tensor *lead = NULL;
    for (int k = 0; k < n->n_in; k++) {
        if (n->in[k]->data) continue;
        if (n->in[k]->shape.rank != rank) return cr_layout_plain(rank);
        if (!lead) lead = n->in[k];
    }
    return lead ? cr_tfl_layout_of(o, lead) : cr_layout_plain(rank);
}

static cr_status lower_binary(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_tfl_op code = binary_code(n->op->kind);
    const bool integers = code == CR_TFL_ADD || code == CR_TFL_SUB || code == CR_TFL_MUL;
    if (n->n_in != 2) return cr_tfl_refuse(n, "not two inputs", err);
    const cr_tensor *end;
    const int act = integers || code == CR_TFL_DIV ? cr_tfl_fused_activation(o, n, &end) : 0;
    if (!act) end = n->out[0];
    const mode m = integers ? mode_between(o, n, end) : COMPUTE_FLOAT;
    const cr_layout l = common_layout(o, n);
    const cr_tfl_form out = form_in(o, end, m);
    int in[2];
    for (int k = 0; k < 2; k++) {
        const cr_tensor *t = n->in[k];
        const cr_tfl_form f = t->data ? form_of_const(t, m) : form_in(o, t, m);
        const cr_layout own =
            t->data || t->shape.rank == l.rank ? l : cr_layout_plain(t->shape.rank);
        in[k] = cr_tfl_get(o, t, &f, &own);
    }
    const int y = cr_tfl_make(o, end, &out, &l);
    cr_tfl_operator *op = cr_tfl_new_op(o, code, 2, 1);
    op->in[0] = in[0];
    op->in[1] = in[1];
    op->out[0] = y;
    if (act) cr_tfl_set(op, CR_TFL_BINARY_ACT, 'b', act);
    if (m == COMPUTE_INT16 && (code == CR_TFL_ADD || code == CR_TFL_SUB))
        cr_tfl_set(op, CR_TFL_BINARY_POT_SCALE, 'n', 0);
    if (end != n->out[0]) cr_tfl_made(o, end);
    return CR_OK;
}

int cr_tfl_fused_activation(cr_tfl_out *o, const cr_node *n, const cr_tensor **end)
{
    const cr_tensor *t = n->out[0];
    *end = t;
    if (t->uses != 1 || o->entry[t->id]) return CR_TFL_ACT_NONE;
    for (size_t i = (size_t)n->index + 1; i < o->g->node_count; i++) {
        const cr_node *r = o->g->nodes[i];
        if (r->n_in < 1 || r->in[0] != t) continue;
        const cr_tfl_op code = r->op->kind == CR_OP_Relu   ? CR_TFL_RELU
                               : r->op->kind == CR_OP_Clip ? clip_code(r)
                                                           : 0;
        if (!code) return CR_TFL_ACT_NONE;
        o->done[r->index] = true;
        *end = r->out[0];
        return code == CR_TFL_RELU    ? CR_TFL_ACT_RELU
               : code == CR_TFL_RELU6 ? CR_TFL_ACT_RELU6
                                      : CR_TFL_ACT_RELU_N1_TO_1;
    }
    return CR_TFL_ACT_NONE;
}

/* ---- joints ---- */

static cr_status lower_concat(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_tensor *y = n->out[0];
    const mode m = mode_of(o, n);
    const cr_tfl_form f = y->dtype != CR_DT_F32 ? cr_tfl_stored_form(o, y)
                          : m == COMPUTE_FLOAT  ? cr_tfl_float()
                                                : cr_tfl_stored_form(o, y);
    cr_layout l = cr_layout_plain(y->shape.rank);
    for (int k = n->n_in; k-- > 0;)
        if (!n->in[k]->data) l = cr_tfl_layout_of(o, n->in[k]);
    const int axis = cr_layout_find(&l, (int)cr_tfl_axis_of(n, "axis", 0, y->shape.rank));
    int *in = cr_arena_alloc(&o->arena, (size_t)n->n_in * sizeof *in);
    if (!in) return CR_NOMEM(err);
    for (int k = 0; k < n->n_in; k++) in[k] = cr_tfl_get(o, n->in[k], &f, &l);
    const int out = cr_tfl_make(o, y, &f, &l);
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_CONCATENATION, n->n_in, 1);
    for (int k = 0; k < n->n_in && !o->failed; k++) op->in[k] = in[k];
    op->out[0] = out;
    cr_tfl_set(op, CR_TFL_CONCAT_AXIS, 'i', axis);
    return CR_OK;
}

/* ---- pools, reductions, softmax ---- */

/* The input behind pads of the lowest value, which no maximum is. */
static int pad_lowest(cr_tfl_out *o, const cr_node *n, int x, const cr_tfl_form *f,
                      const cr_window *w)
{
    const cr_shape *s = &n->in[0]->shape, one = {1, {1}};
    const cr_shape shape = {4,
                            {s->dim[0], s->dim[2] + w->pad_lo[1] + w->pad_hi[1],
                             s->dim[3] + w->pad_lo[2] + w->pad_hi[2], s->dim[1]}};
    const int32_t pads[8] = {0,
                             0,
                             (int32_t)w->pad_lo[1],
                             (int32_t)w->pad_hi[1],
                             (int32_t)w->pad_lo[2],
                             (int32_t)w->pad_hi[2],
                             0,
                             0};
    static const float least = -FLT_MAX;
    static const int8_t least8 = INT8_MIN;
    static const int16_t least16 = INT16_MIN;
    const cr_layout four = cr_layout_plain(4), single = cr_layout_plain(1);
    const int table = cr_tfl_new_i32(o, "pads", pads, 4, 2);
    const int value = cr_tfl_new_tensor(o, "lowest", f, &one, &single);
    const int y =
        cr_tfl_new_tensor(o, cr_arena_printf(&o->arena, "%s_padded", n->name), f, &shape, &four);
    if (value < 0) return -1;
    o->tensors[value].data = f->type == CR_TFL_F32  ? (const void *)&least
                             : f->type == CR_TFL_I8 ? (const void *)&least8
                                                    : (const void *)&least16;
    o->tensors[value].bytes = f->type == CR_TFL_F32 ? 4 : f->type == CR_TFL_I8 ? 1 : 2;
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_PADV2, 3, 1);
    op->in[0] = x;
    op->in[1] = table;
    op->in[2] = value;
    op->out[0] = y;
    return y;
}

/* How far the last window reaches, for sizes that are rounded up. */
static void cover(cr_window *w)
{
    for (int d = 1; d < CR_WINDOW_DIMS; d++) {
        const int64_t past =
            (w->out[d] - 1) * w->stride[d] + w->kernel[d] - w->in[d] - w->pad_lo[d];
        w->pad_hi[d] = past > 0 ? past : 0;
    }
}

static cr_status lower_pool(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const bool max = n->op->kind == CR_OP_MaxPool;
    const cr_op_call call = cr_tfl_call_of(n);
    cr_window w;
    CR_TRY(cr_window_pool(&call, &w, err));
    if (n->in[0]->shape.rank != 4 || (n->n_out > 1 && n->out[1]) || w.dilation[1] != 1 ||
        w.dilation[2] != 1)
        return cr_tfl_refuse(n, "not a plain pool over two dimensions", err);
    const bool valid = cr_tfl_unpadded(&w) &&
                       (w.in[1] - w.kernel[1]) / w.stride[1] + 1 == w.out[1] &&
                       (w.in[2] - w.kernel[2]) / w.stride[2] + 1 == w.out[2];
    const bool same = !valid && cr_tfl_same(&w), padded = !valid && !same;
    if (!max && (padded || (same && cr_attr_int(n, "count_include_pad", 0))))
        return cr_tfl_refuse(n, "averages over padding that TFLite does not know", err);
    const cr_layout l = cr_layout_channels_last(4);
    const cr_tfl_form f = cr_tfl_moved_form(o, n->in[0], n->out[0]);
    int x = cr_tfl_get(o, n->in[0], &f, &l);
    if (padded) {
        cover(&w);
        x = pad_lowest(o, n, x, &f, &w);
    }
    const int y = cr_tfl_make(o, n->out[0], &f, &l);
    cr_tfl_operator *op = cr_tfl_new_op(o, max ? CR_TFL_MAX_POOL_2D : CR_TFL_AVERAGE_POOL_2D, 1, 1);
    op->in[0] = x;
    op->out[0] = y;
    cr_tfl_set(op, CR_TFL_CONV_PADDING, 'b', same ? CR_TFL_SAME : CR_TFL_VALID);
    cr_tfl_set(op, CR_TFL_CONV_STRIDE_W, 'i', (double)w.stride[2]);
    cr_tfl_set(op, CR_TFL_CONV_STRIDE_H, 'i', (double)w.stride[1]);
    cr_tfl_set(op, CR_TFL_POOL_FILTER_W, 'i', (double)w.kernel[2]);
    cr_tfl_set(op, CR_TFL_POOL_FILTER_H, 'i', (double)w.kernel[1]);
    return CR_OK;
}

static cr_tfl_op reduce_code(cr_op_kind k)
{
    switch (k) {
    case CR_OP_ReduceSum:
        return CR_TFL_SUM;
    case CR_OP_ReduceMax:
    case CR_OP_GlobalMaxPool:
        return CR_TFL_REDUCE_MAX;
    case CR_OP_ReduceMin:
        return CR_TFL_REDUCE_MIN;
    default:
        return CR_TFL_MEAN;
    }
}

static cr_status lower_reduce(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    const bool global =
        n->op->kind == CR_OP_GlobalAveragePool || n->op->kind == CR_OP_GlobalMaxPool;
    const bool keep = global || cr_attr_int(n, "keepdims", 1);
    const cr_tfl_op code = reduce_code(n->op->kind);
    const mode m =
        code == CR_TFL_MEAN && mode_of(o, n) == COMPUTE_INT8 ? COMPUTE_INT8 : COMPUTE_FLOAT;
    const cr_layout l = keep ? cr_tfl_layout_of(o, x) : cr_layout_plain(x->shape.rank);
    const cr_layout give = keep ? l : cr_layout_plain(y->shape.rank);
    int32_t axes[CR_MAX_RANK];
    int count = 0;
    if (!global && n->n_in > 1 && n->in[1] && !n->in[1]->data)
        return cr_tfl_refuse(n, "axes are no constants", err);
    for (int a = 0; a < x->shape.rank; a++) {
        bool mine = global ? a >= 2 : n->n_in < 2 || !n->in[1];
        for (int64_t i = 0; !mine && !global && i < cr_shape_count(&n->in[1]->shape); i++) {
            const int64_t v = cr_tensor_get_i64(n->in[1], (size_t)i);
            mine = (v < 0 ? v + x->shape.rank : v) == a;
        }
        if (mine) axes[count++] = cr_layout_find(&l, a);
    }
    const cr_tfl_form in = form_in(o, x, m), out = form_in(o, y, m);
    const int i = cr_tfl_get(o, x, &in, &l), table = cr_tfl_new_i32(o, "axes", axes, count, 1);
    const int made = cr_tfl_make(o, y, &out, &give);
    cr_tfl_operator *op = cr_tfl_new_op(o, code, 2, 1);
    op->in[0] = i;
    op->in[1] = table;
    op->out[0] = made;
    if (keep) cr_tfl_set(op, CR_TFL_REDUCE_KEEP_DIMS, 'b', 1);
    return CR_OK;
}

static cr_status lower_softmax(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    (void)err;
    const mode m = mode_of(o, n);
    const int axis = (int)cr_tfl_axis_of(n, "axis", -1, n->in[0]->shape.rank);
    const cr_layout l = axis_last(cr_tfl_layout_of(o, n->in[0]), axis);
    const cr_tfl_form in = form_in(o, n->in[0], m), out = fixed_form(m, -128);
    cr_tfl_operator *op;
    cr_tfl_one_to_one(o, n, CR_TFL_SOFTMAX, &in, &out, &l, &op);
    cr_tfl_set(op, CR_TFL_SOFTMAX_BETA, 'f', 1);
    return CR_OK;
}

/* ---- dispatch ---- */

typedef cr_status lower_fn(cr_tfl_out *o, const cr_node *n, cr_error *err);

static lower_fn *rule_of(cr_op_kind k)
{
    switch (k) {
    case CR_OP_Conv:
    case CR_OP_ConvTranspose:
        return cr_tfl_lower_conv;
    case CR_OP_Gemm:
    case CR_OP_MatMul:
        return cr_tfl_lower_gemm;
    case CR_OP_Add:
    case CR_OP_Sub:
    case CR_OP_Mul:
    case CR_OP_Div:
    case CR_OP_Max:
    case CR_OP_Min:
    case CR_OP_Pow:
        return lower_binary;
    case CR_OP_Clip:
        return lower_clip;
    case CR_OP_Reshape:
    case CR_OP_Flatten:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze:
        return cr_tfl_lower_reshape;
    case CR_OP_Transpose:
        return cr_tfl_lower_transpose;
    case CR_OP_Identity:
    case CR_OP_Dropout:
        return cr_tfl_lower_copy;
    case CR_OP_Concat:
        return lower_concat;
    case CR_OP_Slice:
        return cr_tfl_lower_slice;
    case CR_OP_Split:
        return cr_tfl_lower_split;
    case CR_OP_Gather:
        return cr_tfl_lower_gather;
    case CR_OP_Pad:
        return cr_tfl_lower_pad;
    case CR_OP_Resize:
        return cr_tfl_lower_resize;
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth:
        return cr_tfl_lower_depth_space;
    case CR_OP_MaxPool:
    case CR_OP_AveragePool:
        return lower_pool;
    case CR_OP_GlobalAveragePool:
    case CR_OP_GlobalMaxPool:
    case CR_OP_ReduceMean:
    case CR_OP_ReduceMax:
    case CR_OP_ReduceMin:
    case CR_OP_ReduceSum:
        return lower_reduce;
    case CR_OP_Softmax:
        return lower_softmax;
    default:
        return NULL;
    }
}

cr_status cr_tfl_lower_node(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const unary_rule *u = unary_of(n);
    lower_fn *rule = rule_of(n->op->kind);
    if (!u && !rule) return cr_tfl_refuse(n, "TFLite has no such operator", err);
    CR_TRY(u ? lower_unary(o, n, u, err) : rule(o, n, err));
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] && o->variants[n->out[k]->id]) cr_tfl_made(o, n->out[k]);
    return o->failed ? CR_NOMEM(err) : CR_OK;
}
