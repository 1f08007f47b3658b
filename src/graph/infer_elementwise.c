/* Shape rules of operators that compute each output element from the elements at its place. */
#include <string.h>

#include "graph/infer_all.h"
#include "graph/shape.h"

static cr_status same_as_input(const cr_op_call *call, cr_error *err)
{
    return cr_op_set_out(call, 0, call->in[0]->dtype, &call->in[0]->shape, err);
}

static unsigned unary_types(cr_op_kind kind)
{
    switch (kind) {
    case CR_OP_Abs:
    case CR_OP_Sign:
    case CR_OP_Shrink:
        return CR_DTS_NUMERIC;
    case CR_OP_Neg:
    case CR_OP_Relu:
        return CR_DTS_FLOAT | CR_DTS_SIGNED;
    default:
        return CR_DTS_FLOAT;
    }
}

cr_status cr_infer_unary(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, unary_types(call->node->op->kind), err));
    if (call->node->op->kind == CR_OP_Gelu) {
        const char *how = cr_attr_string(call->node, "approximate", "none");
        CR_OP_CHECK(!strcmp(how, "none") || !strcmp(how, "tanh"), call, err,
                    "approximate '%s' is neither 'none' nor 'tanh'", how);
    }
    return same_as_input(call, err);
}

cr_status cr_infer_logic_not(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DT_BIT(BOOL), err));
    return same_as_input(call, err);
}

cr_status cr_infer_is_special(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    return cr_op_set_out(call, 0, CR_DT_BOOL, &call->in[0]->shape, err);
}

cr_status cr_infer_clip(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_NUMERIC, err));
    for (int i = 1; i < 3; i++) {
        CR_TRY(cr_op_check_same(call, i, 0, err));
        CR_TRY(cr_op_check_scalar(call, i, err));
    }
    return same_as_input(call, err);
}

cr_status cr_infer_cast(const cr_op_call *call, cr_error *err)
{
    cr_dtype to = call->n_in > 1 ? call->in[1]->dtype : CR_DT_NONE;
    if (call->node->op->kind == CR_OP_Cast) {
        const int64_t number = cr_attr_int(call->node, "to", 0);
        to = number > 0 && number < 64 ? cr_dtype_from_onnx((int)number) : CR_DT_NONE;
        if (to == CR_DT_NONE)
            return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "cannot cast to element type %lld",
                              (long long)number);
    }
    return cr_op_set_out(call, 0, to, &call->in[0]->shape, err);
}

cr_status cr_infer_copy(const cr_op_call *call, cr_error *err)
{
    return same_as_input(call, err);
}

cr_status cr_infer_dropout(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(cr_op_check_scalar(call, 1, err));
    CR_TRY(cr_op_check_scalar(call, 2, err));
    const cr_tensor *ratio = cr_op_in(call, 1), *training = cr_op_in(call, 2);
    const bool drops = !ratio || (ratio->data && cr_tensor_get_f64(ratio, 0) != 0);
    if (training && training->data && cr_tensor_get_f64(training, 0) != 0 && drops)
        return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "training mode is not supported");
    CR_TRY(same_as_input(call, err));
    return cr_op_set_out(call, 1, CR_DT_BOOL, &call->in[0]->shape, err);
}

static cr_status broadcast(const cr_op_call *call, int first, int last, cr_shape *out,
                           cr_error *err)
{
    *out = call->in[first]->shape;
    for (int i = first + 1; i <= last; i++) {
        char a[160], b[160];
        if (cr_shape_broadcast(out, &call->in[i]->shape, out)) continue;
        return cr_op_fail(call, err, CR_ERR_FORMAT, "shapes %s and %s do not broadcast",
                          cr_shape_text(out, a, sizeof a),
                          cr_shape_text(&call->in[i]->shape, b, sizeof b));
    }
    return CR_OK;
}

static unsigned binary_types(cr_op_kind kind)
{
    const unsigned wide = CR_DT_BIT(I32) | CR_DT_BIT(I64);
    switch (kind) {
    case CR_OP_Pow:
        return CR_DTS_FLOAT | wide;
    case CR_OP_PRelu:
        return CR_DTS_FLOAT | wide | CR_DT_BIT(U32) | CR_DT_BIT(U64);
    case CR_OP_BitShift:
        return CR_DTS_SIGNED | CR_DTS_UNSIGNED;
    default:
        return CR_DTS_NUMERIC;
    }
}

static cr_status check_shift(const cr_op_call *call, cr_error *err)
{
    const char *way = cr_attr_string(call->node, "direction", "");
    CR_OP_CHECK(!strcmp(way, "LEFT") || !strcmp(way, "RIGHT"), call, err,
                "direction '%s' is neither 'LEFT' nor 'RIGHT'", way);
    return CR_OK;
}

cr_status cr_infer_binary(const cr_op_call *call, cr_error *err)
{
    const cr_op_kind kind = call->node->op->kind;
    cr_shape out;
    CR_TRY(cr_op_check_dtype(call, 0, binary_types(kind), err));
    if (kind == CR_OP_Pow)
        CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_NUMERIC, err));
    else
        CR_TRY(cr_op_check_same(call, 1, 0, err));
    if (kind == CR_OP_BitShift) CR_TRY(check_shift(call, err));
    CR_TRY(broadcast(call, 0, 1, &out, err));
    CR_OP_CHECK(kind != CR_OP_PRelu || cr_shape_equal(&out, &call->in[0]->shape), call, err,
                "the slope does not broadcast to the input's shape");
    return cr_op_set_out(call, 0, call->in[0]->dtype, &out, err);
}

cr_status cr_infer_compare(const cr_op_call *call, cr_error *err)
{
    unsigned types = CR_DTS_NUMERIC;
    switch (call->node->op->kind) {
    case CR_OP_And:
    case CR_OP_Or:
    case CR_OP_Xor:
        types = CR_DT_BIT(BOOL);
        break;
    case CR_OP_Equal:
        types |= CR_DT_BIT(BOOL);
        break;
    default:
        break;
    }
    cr_shape out;
    CR_TRY(cr_op_check_dtype(call, 0, types, err));
    CR_TRY(cr_op_check_same(call, 1, 0, err));
    CR_TRY(broadcast(call, 0, 1, &out, err));
    return cr_op_set_out(call, 0, CR_DT_BOOL, &out, err);
}

cr_status cr_infer_variadic(const cr_op_call *call, cr_error *err)
{
    const cr_op_kind kind = call->node->op->kind;
    const bool order = kind == CR_OP_Max || kind == CR_OP_Min;
    CR_TRY(cr_op_check_dtype(call, 0, order ? CR_DTS_NUMERIC : CR_DTS_FLOAT, err));
    for (int i = 1; i < call->n_in; i++) {
        CR_OP_CHECK(call->in[i], call, err, "input %d is missing", i);
        CR_TRY(cr_op_check_same(call, i, 0, err));
    }
    cr_shape out;
    CR_TRY(broadcast(call, 0, call->n_in - 1, &out, err));
    return cr_op_set_out(call, 0, call->in[0]->dtype, &out, err);
}

cr_status cr_infer_where(const cr_op_call *call, cr_error *err)
{
    cr_shape out;
    CR_TRY(cr_op_check_dtype(call, 0, CR_DT_BIT(BOOL), err));
    CR_TRY(cr_op_check_same(call, 2, 1, err));
    CR_TRY(broadcast(call, 0, 2, &out, err));
    return cr_op_set_out(call, 0, call->in[1]->dtype, &out, err);
}
