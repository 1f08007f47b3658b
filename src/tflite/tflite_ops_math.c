/* TFLite's elementwise operators, reductions and choices. */
#include "base/error.h"
#include "tflite/tflite_import.h"

/* NCHW if an input is in it and all others can be: constants of up to 4 axes, other rank 4 tensors.
 */
static cr_tfl_layout common_layout(cr_tfl_import *m, size_t first, size_t count)
{
    bool some = false;
    for (size_t k = first; k < first + count; k++) {
        const cr_tfl_value *v = cr_tfl_optional(m, k);
        if (!v) continue;
        const int rank = cr_tfl_shape(v).rank;
        if (rank > 4 || (!v->data && rank != 4)) return CR_TFL_PLAIN;
        some = some || (!v->data && v->native == CR_TFL_NCHW);
    }
    return some ? CR_TFL_NCHW : CR_TFL_PLAIN;
}

cr_tfl_layout cr_tfl_common_layout(cr_tfl_import *m)
{
    return common_layout(m, 0, m->in.count);
}

static cr_op_kind binary_kind(int op)
{
    switch (op) {
    case CR_TFL_ADD:
        return CR_OP_Add;
    case CR_TFL_MUL:
        return CR_OP_Mul;
    case CR_TFL_DIV:
        return CR_OP_Div;
    case CR_TFL_POW:
        return CR_OP_Pow;
    case CR_TFL_MAXIMUM:
        return CR_OP_Max;
    case CR_TFL_MINIMUM:
        return CR_OP_Min;
    case CR_TFL_PRELU:
        return CR_OP_PRelu;
    default:
        return CR_OP_Sub; /* SUB, SQUARED_DIFFERENCE */
    }
}

static bool has_fused(int op)
{
    return op == CR_TFL_ADD || op == CR_TFL_SUB || op == CR_TFL_MUL || op == CR_TFL_DIV;
}

cr_status cr_tfl_read_binary(cr_tfl_import *m, cr_error *err)
{
    cr_tensor *a, *b, *y;
    const cr_tfl_layout layout = cr_tfl_common_layout(m);
    CR_TRY(cr_tfl_input(m, 0, layout, &a, err));
    CR_TRY(cr_tfl_input(m, 1, layout, &b, err));
    CR_TRY(cr_tfl_binary(m, binary_kind(m->op), a, b, &y, err));
    if (m->op == CR_TFL_SQUARED_DIFFERENCE) CR_TRY(cr_tfl_binary(m, CR_OP_Mul, y, y, &y, err));
    const int64_t act = has_fused(m->op) ? cr_flat_i8(&m->options, CR_TFL_BINARY_ACT, 0) : 0;
    return cr_tfl_finish_fused(m, act, y, layout, err);
}

/* ---- one input ---- */

static cr_op_kind unary_kind(int op)
{
    switch (op) {
    case CR_TFL_LOGISTIC:
        return CR_OP_Sigmoid;
    case CR_TFL_HARD_SWISH:
        return CR_OP_HardSwish;
    case CR_TFL_ELU:
        return CR_OP_Elu;
    case CR_TFL_EXP:
        return CR_OP_Exp;
    case CR_TFL_LOG:
        return CR_OP_Log;
    case CR_TFL_SQRT:
        return CR_OP_Sqrt;
    case CR_TFL_ABS:
        return CR_OP_Abs;
    case CR_TFL_NEG:
        return CR_OP_Neg;
    case CR_TFL_SIN:
        return CR_OP_Sin;
    case CR_TFL_COS:
        return CR_OP_Cos;
    case CR_TFL_FLOOR:
        return CR_OP_Floor;
    case CR_TFL_CEIL:
        return CR_OP_Ceil;
    case CR_TFL_ROUND:
        return CR_OP_Round;
    case CR_TFL_SIGN:
        return CR_OP_Sign;
    default:
        return CR_OP_NONE;
    }
}

static int64_t activation_of(int op)
{
    switch (op) {
    case CR_TFL_RELU:
        return CR_TFL_ACT_RELU;
    case CR_TFL_RELU6:
        return CR_TFL_ACT_RELU6;
    case CR_TFL_RELU_N1_TO_1:
        return CR_TFL_ACT_RELU_N1_TO_1;
    case CR_TFL_RELU_0_TO_1:
        return CR_TFL_ACT_RELU_0_TO_1;
    case CR_TFL_TANH:
        return CR_TFL_ACT_TANH;
    default:
        return CR_TFL_ACT_NONE;
    }
}

/* Operators with one number or word. */
static cr_status with_attribute(cr_tfl_import *m, cr_tensor *x, int last, cr_tensor **y,
                                cr_error *err)
{
    const cr_op_kind kind = m->op == CR_TFL_LEAKY_RELU ? CR_OP_LeakyRelu
                            : m->op == CR_TFL_GELU     ? CR_OP_Gelu
                                                       : CR_OP_LpNormalization;
    cr_node *n;
    CR_TRY(cr_tfl_node(m, kind, 1, 1, 2, &n, err));
    n->in[0] = x;
    n->n_attrs = 1;
    if (kind == CR_OP_LeakyRelu) {
        cr_attr_set_float(&n->attrs[0], "alpha", cr_flat_f32(&m->options, CR_TFL_LEAKY_ALPHA, 0));
    } else if (kind == CR_OP_Gelu) {
        const bool tanh = cr_flat_u8(&m->options, CR_TFL_GELU_APPROXIMATE, 0);
        if (!cr_attr_set_string(m->g, &n->attrs[0], "approximate", tanh ? "tanh" : "none"))
            return CR_NOMEM(err);
    } else {
        cr_attr_set_int(&n->attrs[0], "axis", last);
        cr_attr_set_int(&n->attrs[1], "p", 2);
        n->n_attrs = 2;
    }
    *y = n->out[0];
    return cr_node_infer(n, err);
}

/* The last axis of the file, in the view's terms. */
static int last_axis(const cr_tensor *x, cr_tfl_layout layout)
{
    return layout == CR_TFL_NCHW ? 1 : x->shape.rank - 1;
}

cr_status cr_tfl_read_unary(cr_tfl_import *m, cr_error *err)
{
    cr_tensor *x, *y;
    const cr_tfl_layout layout = cr_tfl_common_layout(m);
    CR_TRY(cr_tfl_input(m, 0, layout, &x, err));
    const cr_op_kind kind = unary_kind(m->op);
    const int64_t act = activation_of(m->op);
    if (kind) {
        CR_TRY(cr_tfl_unary(m, kind, x, &y, err));
    } else if (act) {
        CR_TRY(cr_tfl_activate(m, act, x, &y, err));
    } else if (m->op == CR_TFL_SQUARE) {
        CR_TRY(cr_tfl_binary(m, CR_OP_Mul, x, x, &y, err));
    } else if (m->op == CR_TFL_RSQRT) {
        CR_TRY(cr_tfl_unary(m, CR_OP_Sqrt, x, &y, err));
        CR_TRY(cr_tfl_unary(m, CR_OP_Reciprocal, y, &y, err));
    } else {
        CR_TRY(with_attribute(m, x, last_axis(x, layout), &y, err));
    }
    return cr_tfl_finish(m, 0, y, layout, err);
}

cr_status cr_tfl_read_softmax(cr_tfl_import *m, cr_error *err)
{
    cr_tensor *x;
    cr_node *n;
    const bool logarithm = m->op == CR_TFL_LOG_SOFTMAX;
    const float beta = logarithm ? 1 : cr_flat_f32(&m->options, CR_TFL_SOFTMAX_BETA, 0);
    const cr_tfl_layout layout = cr_tfl_common_layout(m);
    CR_TRY(cr_tfl_input(m, 0, layout, &x, err));
    if (beta != 1) {
        cr_tensor *factor;
        CR_TRY(cr_tfl_float(m, beta, &factor, err));
        CR_TRY(cr_tfl_binary(m, CR_OP_Mul, x, factor, &x, err));
    }
    CR_TRY(cr_tfl_node(m, logarithm ? CR_OP_LogSoftmax : CR_OP_Softmax, 1, 1, 1, &n, err));
    n->in[0] = x;
    cr_attr_set_int(&n->attrs[0], "axis", last_axis(x, layout));
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish(m, 0, n->out[0], layout, err);
}

cr_status cr_tfl_read_cast(cr_tfl_import *m, cr_error *err)
{
    cr_tfl_value *y;
    cr_tensor *x;
    cr_node *n;
    const cr_tfl_layout layout = cr_tfl_common_layout(m);
    CR_TRY(cr_tfl_input(m, 0, layout, &x, err));
    CR_TRY(cr_tfl_out(m, 0, &y, err));
    cr_dtype to;
    CR_TRY(cr_tfl_dtype(y, &to, err));
    CR_TRY(cr_tfl_node(m, CR_OP_Cast, 1, 1, 1, &n, err));
    n->in[0] = x;
    cr_attr_set_int(&n->attrs[0], "to", cr_dtype_to_onnx(to));
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish(m, 0, n->out[0], layout, err);
}

/* ---- reductions ---- */

static cr_op_kind reduce_kind(int op)
{
    return op == CR_TFL_MEAN         ? CR_OP_ReduceMean
           : op == CR_TFL_SUM        ? CR_OP_ReduceSum
           : op == CR_TFL_REDUCE_MAX ? CR_OP_ReduceMax
                                     : CR_OP_ReduceMin;
}

/* Without the reduced axes, are the others in the file's order in NCHW too? */
static bool order_survives(const bool *gone)
{
    return gone[3] || (gone[1] && gone[2]);
}

cr_status cr_tfl_read_reduce(cr_tfl_import *m, cr_error *err)
{
    int64_t axes[CR_MAX_RANK];
    size_t count;
    bool gone[CR_MAX_RANK] = {false};
    cr_tfl_value *x;
    cr_tensor *view, *list;
    cr_node *n;
    CR_TRY(cr_tfl_in(m, 0, &x, err));
    const int rank = cr_tfl_shape(x).rank;
    const bool keep = cr_flat_u8(&m->options, CR_TFL_REDUCE_KEEP_DIMS, 0);
    cr_tfl_layout layout = x->native;
    CR_TRY(cr_tfl_ints(m, 1, axes, CR_MAX_RANK, &count, err));
    for (size_t i = 0; i < count; i++) {
        int axis;
        CR_TRY(cr_tfl_axis(m, axes[i], rank, &axis, err));
        gone[axis] = true;
    }
    if (layout == CR_TFL_NCHW && !keep && !order_survives(gone)) layout = CR_TFL_PLAIN;
    count = 0;
    for (int d = 0; d < rank; d++)
        if (gone[d]) axes[count++] = cr_tfl_axis_in(d, layout);
    CR_TRY(cr_tfl_view(m, x, layout, &view, err));
    CR_TRY(cr_tfl_int_list(m, axes, count, &list, err));
    CR_TRY(cr_tfl_node(m, reduce_kind(m->op), 2, 1, 2, &n, err));
    n->in[0] = view;
    n->in[1] = list;
    cr_attr_set_int(&n->attrs[0], "keepdims", keep);
    cr_attr_set_int(&n->attrs[1], "noop_with_empty_axes", 1);
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish(m, 0, n->out[0], keep ? layout : CR_TFL_PLAIN, err);
}

cr_status cr_tfl_read_arg_max(cr_tfl_import *m, cr_error *err)
{
    int64_t axis;
    size_t count;
    int at;
    cr_tensor *x;
    cr_node *n, *cast;
    CR_TRY(cr_tfl_input(m, 0, CR_TFL_PLAIN, &x, err));
    CR_TRY(cr_tfl_ints(m, 1, &axis, 1, &count, err));
    CR_TRY(cr_tfl_axis(m, count ? axis : 0, x->shape.rank, &at, err));
    CR_TRY(cr_tfl_node(m, CR_OP_ArgMax, 1, 1, 2, &n, err));
    n->in[0] = x;
    cr_attr_set_int(&n->attrs[0], "axis", at);
    cr_attr_set_int(&n->attrs[1], "keepdims", 0);
    CR_TRY(cr_node_infer(n, err));
    const bool wide = cr_flat_i8(&m->options, CR_TFL_ARG_TYPE, CR_TFL_F32) == CR_TFL_I64;
    if (wide) return cr_tfl_finish(m, 0, n->out[0], CR_TFL_PLAIN, err);
    CR_TRY(cr_tfl_node(m, CR_OP_Cast, 1, 1, 1, &cast, err));
    cast->in[0] = n->out[0];
    cr_attr_set_int(&cast->attrs[0], "to", cr_dtype_to_onnx(CR_DT_I32));
    CR_TRY(cr_node_infer(cast, err));
    return cr_tfl_finish(m, 0, cast->out[0], CR_TFL_PLAIN, err);
}

cr_status cr_tfl_read_top_k(cr_tfl_import *m, cr_error *err)
{
    int64_t k;
    size_t count;
    cr_tensor *x, *list;
    cr_node *n, *cast;
    CR_TRY(cr_tfl_input(m, 0, CR_TFL_PLAIN, &x, err));
    CR_TRY(cr_tfl_ints(m, 1, &k, 1, &count, err));
    CR_CHECK(count == 1, err, CR_ERR_FORMAT, "%s: no count", m->op_name);
    CR_TRY(cr_tfl_int_list(m, &k, 1, &list, err));
    CR_TRY(cr_tfl_node(m, CR_OP_TopK, 2, 2, 0, &n, err));
    n->in[0] = x;
    n->in[1] = list;
    CR_TRY(cr_node_infer(n, err));
    CR_TRY(cr_tfl_node(m, CR_OP_Cast, 1, 1, 1, &cast, err));
    cast->in[0] = n->out[1];
    cr_attr_set_int(&cast->attrs[0], "to", cr_dtype_to_onnx(CR_DT_I32));
    CR_TRY(cr_node_infer(cast, err));
    CR_TRY(cr_tfl_finish(m, 0, n->out[0], CR_TFL_PLAIN, err));
    return cr_tfl_finish(m, 1, cast->out[0], CR_TFL_PLAIN, err);
}

cr_status cr_tfl_read_select(cr_tfl_import *m, cr_error *err)
{
    cr_node *n;
    cr_tensor *in[3];
    const cr_tfl_layout layout = cr_tfl_common_layout(m);
    for (size_t k = 0; k < 3; k++) CR_TRY(cr_tfl_input(m, k, layout, &in[k], err));
    CR_TRY(cr_tfl_node(m, CR_OP_Where, 3, 1, 0, &n, err));
    for (int k = 0; k < 3; k++) n->in[k] = in[k];
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish(m, 0, n->out[0], layout, err);
}
