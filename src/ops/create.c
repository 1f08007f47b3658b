/* Operators that make tensors out of shapes and numbers: Constant, ConstantOfShape, Shape, Size,
 * Range, EyeLike, NonZero, OneHot. */
#include <math.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

cr_status cr_eval_constant(const cr_op_call *call, cr_error *err)
{
    static const char *const names[] = {"value", "value_int", "value_float", "value_ints",
                                        "value_floats"};
    static const cr_attr_type types[] = {CR_ATTR_TENSOR, CR_ATTR_INT, CR_ATTR_FLOAT, CR_ATTR_INTS,
                                         CR_ATTR_FLOATS};
    cr_tensor *y = call->out[0];
    for (int i = 0; i < 5; i++) {
        const cr_attr *a = cr_attr_find(call->node, names[i]);
        if (!a || a->type != types[i]) continue;
        const void *from = &a->i;
        if (types[i] == CR_ATTR_TENSOR) from = a->tensor->data;
        if (types[i] == CR_ATTR_FLOAT) from = &a->f;
        if (types[i] == CR_ATTR_INTS) from = a->ints;
        if (types[i] == CR_ATTR_FLOATS) from = a->floats;
        const size_t bytes = cr_tensor_bytes(y);
        if (bytes) memcpy(y->data, from, bytes);
        break;
    }
    return CR_OK;
}

cr_status cr_eval_constant_of_shape(const cr_op_call *call, cr_error *err)
{
    cr_tensor *y = call->out[0];
    const cr_attr *a = cr_attr_find(call->node, "value");
    const int64_t count = cr_shape_count(&y->shape);
    memset(y->data, 0, cr_tensor_bytes(y));
    for (int64_t i = 0; a && i < count; i++)
        cr_copy_elem(y->data, i, a->tensor->data, 0, cr_dtype_size(y->dtype));
    return CR_OK;
}

cr_status cr_eval_shape(const cr_op_call *call, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    int64_t *out = call->out[0]->data;
    if (call->node->op->kind == CR_OP_Size) {
        *out = cr_shape_count(in);
        return CR_OK;
    }
    int64_t start = cr_attr_int(call->node, "start", 0);
    if (start < 0) start = start < -in->rank ? 0 : start + in->rank;
    for (int64_t i = 0; i < call->out[0]->shape.dim[0]; i++) out[i] = in->dim[start + i];
    return CR_OK;
}

cr_status cr_eval_range(const cr_op_call *call, cr_error *err)
{
    cr_tensor *y = call->out[0];
    const int64_t count = cr_shape_count(&y->shape);
    for (int64_t i = 0; i < count; i++) {
        if (cr_dtype_is_float(y->dtype))
            cr_store_f64(y, i,
                         cr_load_f64(call->in[0], 0) + (double)i * cr_load_f64(call->in[2], 0));
        else
            cr_store_bits(y, i,
                          cr_load_u64(call->in[0], 0) + (uint64_t)i * cr_load_u64(call->in[2], 0));
    }
    return CR_OK;
}

cr_status cr_eval_eye_like(const cr_op_call *call, cr_error *err)
{
    cr_tensor *y = call->out[0];
    const int64_t rows = y->shape.dim[0], columns = y->shape.dim[1];
    const int64_t k = cr_attr_int(call->node, "k", 0);
    memset(y->data, 0, cr_tensor_bytes(y));
    if (k <= -rows || k >= columns) return CR_OK;
    for (int64_t r = k < 0 ? -k : 0; r < rows && r + k < columns; r++) {
        cr_store_f64(y, r * columns + r + k, 1);
        cr_store_bits(y, r * columns + r + k, 1);
    }
    return CR_OK;
}

cr_status cr_eval_non_zero(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    const int64_t count = cr_shape_count(&x->shape), found = call->out[0]->shape.dim[1];
    int64_t *out = call->out[0]->data, n = 0;
    cr_walk w = cr_walk_begin(&x->shape);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        if (cr_load_f64(x, i) == 0) continue;
        for (int d = 0; d < x->shape.rank; d++) out[d * found + n] = w.index[d];
        n++;
    }
    return CR_OK;
}

/* The class that element i names; -1 when it names none. Fractions are cut off. */
static int64_t class_of(const cr_tensor *indices, int64_t i, int64_t depth)
{
    if (indices->dtype == CR_DT_U64) {
        const uint64_t at = cr_load_u64(indices, i);
        return at < (uint64_t)depth ? (int64_t)at : -1;
    }
    if (cr_dtype_is_float(indices->dtype) && isnan(cr_load_f64(indices, i))) return -1;
    const int64_t at = cr_load_i64(indices, i);
    if (at < -depth || at >= depth) return -1;
    return at < 0 ? at + depth : at;
}

/* The output is [outer, depth, inner], the indices [outer, inner]. */
cr_status cr_eval_one_hot(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *indices = call->in[0], *values = call->in[2];
    cr_tensor *y = call->out[0];
    const size_t size = cr_dtype_size(y->dtype);
    int axis;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", -1), y->shape.rank, call->node, &axis,
                             err));
    const int64_t depth = y->shape.dim[axis], count = cr_shape_count(&y->shape);
    const int64_t inner = cr_shape_span(&y->shape, axis + 1, y->shape.rank);
    for (int64_t i = 0; i < count; i++) cr_copy_elem(y->data, i, values->data, 0, size);
    for (int64_t i = 0; i < cr_shape_count(&indices->shape); i++) {
        const int64_t at = class_of(indices, i, depth);
        if (at < 0) continue;
        cr_copy_elem(y->data, (i / inner * depth + at) * inner + i % inner, values->data, 1, size);
    }
    return CR_OK;
}
