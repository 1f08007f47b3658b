/* Shape rules of operators that make tensors out of shapes, numbers or counts, and of those whose
 * output size is one of their numbers (TopK, OneHot, NonZero, ArgMax, CumSum). */
#include <math.h>

#include "graph/infer_all.h"
#include "graph/shape.h"

static const cr_shape scalar = {.rank = 0};

cr_status cr_infer_constant(const cr_op_call *call, cr_error *err)
{
    const cr_node *n = call->node;
    const cr_attr *a;
    if ((a = cr_attr_find(n, "value")) && a->type == CR_ATTR_TENSOR && a->tensor->data)
        return cr_op_set_out(call, 0, a->tensor->dtype, &a->tensor->shape, err);
    if ((a = cr_attr_find(n, "value_int")) && a->type == CR_ATTR_INT)
        return cr_op_set_out(call, 0, CR_DT_I64, &scalar, err);
    if ((a = cr_attr_find(n, "value_float")) && a->type == CR_ATTR_FLOAT)
        return cr_op_set_out(call, 0, CR_DT_F32, &scalar, err);
    if ((a = cr_attr_find(n, "value_ints")) && a->type == CR_ATTR_INTS)
        return cr_op_set_out(call, 0, CR_DT_I64, &(cr_shape){1, {(int64_t)a->count}}, err);
    if ((a = cr_attr_find(n, "value_floats")) && a->type == CR_ATTR_FLOATS)
        return cr_op_set_out(call, 0, CR_DT_F32, &(cr_shape){1, {(int64_t)a->count}}, err);
    return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "its value is neither a tensor nor numbers");
}

cr_status cr_infer_constant_of_shape(const cr_op_call *call, cr_error *err)
{
    const cr_attr *a = cr_attr_find(call->node, "value");
    CR_OP_CHECK(!a || (a->type == CR_ATTR_TENSOR && a->tensor->data &&
                       cr_shape_count(&a->tensor->shape) == 1),
                call, err, "its value must be a tensor of one element");
    cr_shape out = cr_shape_unknown();
    int64_t dims[CR_MAX_RANK];
    int count;
    CR_TRY(cr_op_ints(call, 0, CR_MAX_RANK, dims, &count, err));
    if (count >= 0) out.rank = count;
    for (int i = 0; i < count; i++) {
        CR_OP_CHECK(dims[i] >= 0, call, err, "negative size %lld", (long long)dims[i]);
        out.dim[i] = dims[i];
    }
    return cr_op_set_out(call, 0, a ? a->tensor->dtype : CR_DT_F32, &out, err);
}

/* Shape's start and end are clamped to the rank, as the standard asks. */
static int64_t clamp_axis(int64_t axis, int rank)
{
    if (axis < 0) axis = axis < -rank ? 0 : axis + rank;
    return axis > rank ? rank : axis;
}

cr_status cr_infer_shape(const cr_op_call *call, cr_error *err)
{
    if (call->node->op->kind == CR_OP_Size) return cr_op_set_out(call, 0, CR_DT_I64, &scalar, err);
    const int rank = call->in[0]->shape.rank;
    const int64_t start = clamp_axis(cr_attr_int(call->node, "start", 0), rank);
    const int64_t end = clamp_axis(cr_attr_int(call->node, "end", rank), rank);
    const cr_shape out = {1, {end > start ? end - start : 0}};
    return cr_op_set_out(call, 0, CR_DT_I64, &out, err);
}

/* Elements of a float range; -1 when that is no sensible number. */
static int64_t range_count_float(double start, double limit, double delta)
{
    const double n = ceil((limit - start) / delta);
    if (!(n < 0x1p40)) return -1;
    return n > 0 ? (int64_t)n : 0;
}

/* Elements of an integer range, exact over all of int64: the distance is taken unsigned. */
static uint64_t range_count_int(int64_t start, int64_t limit, int64_t delta)
{
    if (delta > 0 ? limit <= start : limit >= start) return 0;
    const uint64_t a = (uint64_t)start, b = (uint64_t)limit, d = (uint64_t)delta;
    return delta > 0 ? (b - a - 1) / d + 1 : (a - b - 1) / (0 - d) + 1;
}

cr_status cr_infer_range(const cr_op_call *call, cr_error *err)
{
    const unsigned types = CR_DTS_FLOAT | CR_DTS_INDEX | CR_DT_BIT(I16);
    bool known = true;
    for (int i = 0; i < 3; i++) {
        CR_TRY(cr_op_check_dtype(call, i, types, err));
        CR_TRY(cr_op_check_same(call, i, 0, err));
        CR_TRY(cr_op_check_scalar(call, i, err));
        known = known && call->in[i]->data;
    }
    cr_shape out = {1, {-1}};
    const cr_tensor *const *in = call->in;
    if (known) {
        CR_OP_CHECK(cr_tensor_get_f64(in[2], 0) != 0, call, err, "a step of 0");
        if (cr_dtype_is_float(in[0]->dtype)) {
            out.dim[0] = range_count_float(cr_tensor_get_f64(in[0], 0), cr_tensor_get_f64(in[1], 0),
                                           cr_tensor_get_f64(in[2], 0));
        } else {
            const uint64_t n =
                range_count_int(cr_tensor_get_i64(in[0], 0), cr_tensor_get_i64(in[1], 0),
                                cr_tensor_get_i64(in[2], 0));
            out.dim[0] = n < (uint64_t)1 << 40 ? (int64_t)n : -1;
        }
        if (out.dim[0] < 0) return cr_op_fail(call, err, CR_ERR_LIMIT, "the range is too long");
    }
    return cr_op_set_out(call, 0, in[0]->dtype, &out, err);
}

cr_status cr_infer_eye_like(const cr_op_call *call, cr_error *err)
{
    CR_OP_CHECK(call->in[0]->shape.rank == 2, call, err, "the input must have 2 dimensions");
    const int64_t number = cr_attr_int(call->node, "dtype", cr_dtype_to_onnx(call->in[0]->dtype));
    const cr_dtype dtype = number > 0 && number < 64 ? cr_dtype_from_onnx((int)number) : CR_DT_NONE;
    if (dtype == CR_DT_NONE)
        return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "unsupported element type");
    return cr_op_set_out(call, 0, dtype, &call->in[0]->shape, err);
}

cr_status cr_infer_non_zero(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    cr_shape out = {2, {x->shape.rank, -1}};
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_NUMERIC | CR_DT_BIT(BOOL), err));
    if (x->data) {
        const int64_t n = cr_shape_count(&x->shape);
        out.dim[1] = 0;
        for (int64_t i = 0; i < n; i++) out.dim[1] += cr_tensor_get_f64(x, (size_t)i) != 0;
    }
    return cr_op_set_out(call, 0, CR_DT_I64, &out, err);
}

cr_status cr_infer_one_hot(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *indices = call->in[0], *depth = call->in[1], *values = call->in[2];
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_NUMERIC, err));
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_NUMERIC, err));
    CR_TRY(cr_op_check_scalar(call, 1, err));
    CR_OP_CHECK(values->shape.rank == 1 && values->shape.dim[0] == 2, call, err,
                "values must be the two numbers [off, on]");
    const int rank = indices->shape.rank + 1;
    CR_OP_CHECK(rank <= CR_MAX_RANK, call, err, "more than %d dimensions", CR_MAX_RANK);
    int axis;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", -1), rank, call->node, &axis, err));
    cr_shape out = {.rank = rank};
    for (int i = 0; i < rank; i++) out.dim[i] = i == axis ? -1 : indices->shape.dim[i - (i > axis)];
    if (depth->data) {
        out.dim[axis] = cr_tensor_get_i64(depth, 0);
        CR_OP_CHECK(out.dim[axis] > 0, call, err, "a depth of %lld", (long long)out.dim[axis]);
    }
    return cr_op_set_out(call, 0, values->dtype, &out, err);
}

cr_status cr_infer_cum_sum(const cr_op_call *call, cr_error *err)
{
    const unsigned types = CR_DTS_FLOAT | CR_DTS_INDEX | CR_DT_BIT(U32) | CR_DT_BIT(U64);
    CR_TRY(cr_op_check_dtype(call, 0, types, err));
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_INDEX, err));
    CR_TRY(cr_op_check_scalar(call, 1, err));
    int axis;
    if (call->in[1]->data)
        CR_TRY(cr_axis_normalize(cr_tensor_get_i64(call->in[1], 0), call->in[0]->shape.rank,
                                 call->node, &axis, err));
    return cr_op_set_out(call, 0, call->in[0]->dtype, &call->in[0]->shape, err);
}

cr_status cr_infer_top_k(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_NUMERIC, err));
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_INDEX, err));
    CR_TRY(cr_op_check_scalar(call, 1, err));
    int axis;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", -1), x->shape.rank, call->node, &axis,
                             err));
    cr_shape out = x->shape;
    out.dim[axis] = -1;
    if (call->in[1]->data) {
        const int64_t k = cr_tensor_get_i64(call->in[1], 0);
        CR_OP_CHECK(k >= 0 && k <= x->shape.dim[axis], call, err, "k is %lld, but there are %lld",
                    (long long)k, (long long)x->shape.dim[axis]);
        out.dim[axis] = k;
    }
    CR_TRY(cr_op_set_out(call, 0, x->dtype, &out, err));
    return cr_op_set_out(call, 1, CR_DT_I64, &out, err);
}

cr_status cr_infer_arg_reduce(const cr_op_call *call, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    int axis;
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_NUMERIC, err));
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", 0), in->rank, call->node, &axis, err));
    CR_OP_CHECK(in->dim[axis] > 0, call, err, "nothing along axis %d", axis);
    cr_shape out = *in;
    out.dim[axis] = 1;
    if (!cr_attr_int(call->node, "keepdims", 1)) {
        out.rank--;
        for (int i = axis; i < out.rank; i++) out.dim[i] = in->dim[i + 1];
    }
    return cr_op_set_out(call, 0, CR_DT_I64, &out, err);
}
