/* Shape rules of operators that speak integers. Scales and zero points come per tensor (one
 * value), per channel (a list) or, for Quantize and Dequantize, per block along an axis. */
#include "graph/infer_all.h"
#include "graph/nn_rules.h"
#include "graph/shape.h"

static const unsigned byte_types = CR_DT_BIT(I8) | CR_DT_BIT(U8);
static const unsigned quant_types =
    CR_DT_BIT(I8) | CR_DT_BIT(U8) | CR_DT_BIT(I16) | CR_DT_BIT(U16) | CR_DT_BIT(I4) |
    CR_DT_BIT(U4) | CR_DT_BIT(I2) | CR_DT_BIT(U2);
static const unsigned scale_types = CR_DT_BIT(F32) | CR_DT_BIT(F16) | CR_DT_BIT(BF16);

static cr_status check_blocks(const cr_op_call *call, int axis, int64_t block, cr_error *err)
{
    const cr_shape *x = &call->in[0]->shape, *s = &call->in[1]->shape;
    CR_OP_CHECK(s->rank == x->rank, call, err, "blocked scales must have the input's rank");
    for (int i = 0; i < x->rank; i++) {
        const int64_t want = i == axis ? x->dim[i] / block + (x->dim[i] % block != 0) : x->dim[i];
        CR_OP_CHECK(s->dim[i] == want, call, err,
                    "dimension %d of the scales is %lld, expected %lld", i, (long long)s->dim[i],
                    (long long)want);
    }
    return CR_OK;
}

/* Shape of the scale against x and the axis; the zero point must have the scale's shape. */
static cr_status check_granularity(const cr_op_call *call, cr_error *err)
{
    const cr_shape *x = &call->in[0]->shape, *s = &call->in[1]->shape;
    const cr_tensor *zp = cr_op_in(call, 2);
    const int64_t block = cr_attr_int(call->node, "block_size", 0);
    const bool one = cr_shape_count(s) == 1 && s->rank <= 1;
    CR_TRY(cr_op_check_dtype(call, 1, scale_types, err));
    CR_OP_CHECK(!zp || cr_shape_equal(&zp->shape, s) ||
                    (one && cr_shape_count(&zp->shape) == 1 && zp->shape.rank <= 1),
                call, err, "scale and zero point have different shapes");
    CR_OP_CHECK(block >= 0, call, err, "block_size is negative");
    if (one && block == 0) return CR_OK;
    int axis = 0;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", 1), x->rank, call->node, &axis, err));
    if (block > 0) return check_blocks(call, axis, block, err);
    CR_OP_CHECK(s->rank == 1 && s->dim[0] == x->dim[axis], call, err,
                "the scale must be one value or a list of %lld", (long long)x->dim[axis]);
    return CR_OK;
}

cr_status cr_infer_quantize_linear(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *zp = cr_op_in(call, 2);
    const int64_t number = cr_attr_int(call->node, "output_dtype", 0);
    cr_dtype out = zp ? zp->dtype : CR_DT_U8;
    if (!zp && number) out = number > 0 && number < 64 ? cr_dtype_from_onnx((int)number) : 0;
    CR_TRY(cr_op_check_dtype(call, 0, scale_types | CR_DT_BIT(I32), err));
    if (!cr_dtype_in(out, quant_types))
        return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "cannot quantize to this element type");
    CR_OP_CHECK(!zp || !number || cr_dtype_to_onnx(out) == number, call, err,
                "output_dtype and the zero point's type differ");
    CR_TRY(check_granularity(call, err));
    return cr_op_set_out(call, 0, out, &call->in[0]->shape, err);
}

cr_status cr_infer_dequantize_linear(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, quant_types | CR_DT_BIT(I32), err));
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    CR_TRY(check_granularity(call, err));
    return cr_op_set_out(call, 0, call->in[1]->dtype, &call->in[0]->shape, err);
}

cr_status cr_infer_dynamic_quantize(const cr_op_call *call, cr_error *err)
{
    const cr_shape scalar = {.rank = 0};
    CR_TRY(cr_op_check_dtype(call, 0, CR_DT_BIT(F32), err));
    CR_TRY(cr_op_set_out(call, 0, CR_DT_U8, &call->in[0]->shape, err));
    CR_TRY(cr_op_set_out(call, 1, CR_DT_F32, &scalar, err));
    return cr_op_set_out(call, 2, CR_DT_U8, &scalar, err);
}

static bool is_one_or_list(const cr_tensor *t, int64_t n)
{
    return !t || (t->shape.rank <= 1 && (cr_shape_count(&t->shape) == 1 || t->shape.dim[0] == n));
}

cr_status cr_infer_qlinear_conv(const cr_op_call *call, cr_error *err)
{
    cr_conv_shape c;
    for (int i = 0; i < 8; i++) {
        const bool scale = i == 1 || i == 4 || i == 6;
        CR_TRY(cr_op_check_dtype(call, i, scale ? CR_DT_BIT(F32) : byte_types, err));
        if (i != 0 && i != 3 && i != 4 && i != 5) CR_TRY(cr_op_check_scalar(call, i, err));
    }
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    CR_TRY(cr_op_check_same(call, 5, 3, err));
    CR_TRY(cr_conv_read(call, 3, &c, err));
    CR_OP_CHECK(is_one_or_list(call->in[4], c.out_channels) &&
                    is_one_or_list(call->in[5], c.out_channels),
                call, err, "weight scales and zero points must be one value or one per channel");
    const cr_tensor *bias = cr_op_in(call, 8);
    CR_TRY(cr_op_check_dtype(call, 8, CR_DT_BIT(I32), err));
    CR_OP_CHECK(!bias || (bias->shape.rank == 1 && bias->shape.dim[0] == c.out_channels), call, err,
                "the bias must have one value per channel");
    const cr_shape out = cr_conv_out_shape(&c);
    return cr_op_set_out(call, 0, call->in[7]->dtype, &out, err);
}

cr_status cr_infer_conv_integer(const cr_op_call *call, cr_error *err)
{
    cr_conv_shape c;
    CR_TRY(cr_op_check_dtype(call, 0, byte_types, err));
    CR_TRY(cr_op_check_dtype(call, 1, byte_types, err));
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    CR_TRY(cr_op_check_same(call, 3, 1, err));
    CR_TRY(cr_op_check_scalar(call, 2, err));
    CR_TRY(cr_conv_read(call, 1, &c, err));
    CR_OP_CHECK(is_one_or_list(cr_op_in(call, 3), c.out_channels), call, err,
                "weight zero points must be one value or one per channel");
    const cr_shape out = cr_conv_out_shape(&c);
    return cr_op_set_out(call, 0, CR_DT_I32, &out, err);
}

/* Parameters of a matrix operand: one value, a list with one per row (of a) or column (of b), or
 * the operand's shape with the inner dimension 1. */
static cr_status check_lines(const cr_op_call *call, int param, int operand, bool rows,
                             cr_error *err)
{
    const cr_tensor *t = cr_op_in(call, param);
    const cr_shape *x = &call->in[operand]->shape;
    if (!t || (cr_shape_count(&t->shape) == 1 && t->shape.rank <= 1)) return CR_OK;
    const int line = rows ? x->rank - 2 : x->rank - 1, inner = rows ? x->rank - 1 : x->rank - 2;
    bool fits = x->rank >= 2;
    if (fits && t->shape.rank == 1) {
        fits = t->shape.dim[0] == x->dim[line];
    } else {
        fits = fits && t->shape.rank == x->rank;
        for (int i = 0; fits && i < x->rank; i++)
            fits = t->shape.dim[i] == (i == inner ? 1 : x->dim[i]);
    }
    CR_OP_CHECK(fits, call, err, "input %d ('%s') must be one value or one per %s of input %d",
                param, t->name, rows ? "row" : "column", operand);
    return CR_OK;
}

cr_status cr_infer_qlinear_matmul(const cr_op_call *call, cr_error *err)
{
    cr_matmul_shape s;
    for (int i = 0; i < 8; i++) {
        const bool scale = i == 1 || i == 4 || i == 6;
        CR_TRY(cr_op_check_dtype(call, i, scale ? scale_types : byte_types, err));
    }
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    CR_TRY(cr_op_check_same(call, 5, 3, err));
    CR_TRY(cr_matmul_read(call, 0, 3, &s, err));
    for (int i = 1; i < 3; i++) CR_TRY(check_lines(call, i, 0, true, err));
    for (int i = 4; i < 6; i++) CR_TRY(check_lines(call, i, 3, false, err));
    for (int i = 6; i < 8; i++) CR_TRY(cr_op_check_scalar(call, i, err));
    return cr_op_set_out(call, 0, call->in[7]->dtype, &s.out, err);
}

cr_status cr_infer_matmul_integer(const cr_op_call *call, cr_error *err)
{
    cr_matmul_shape s;
    CR_TRY(cr_op_check_dtype(call, 0, byte_types, err));
    CR_TRY(cr_op_check_dtype(call, 1, byte_types, err));
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    CR_TRY(cr_op_check_same(call, 3, 1, err));
    CR_TRY(cr_matmul_read(call, 0, 1, &s, err));
    CR_TRY(check_lines(call, 2, 0, true, err));
    CR_TRY(check_lines(call, 3, 1, false, err));
    return cr_op_set_out(call, 0, CR_DT_I32, &s.out, err);
}
