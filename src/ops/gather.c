/* Operators that take values by index. */
#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

static cr_status axis_of(const cr_op_call *call, int *axis, cr_error *err)
{
    return cr_axis_normalize(cr_attr_int(call->node, "axis", 0), call->in[0]->shape.rank,
                             call->node, axis, err);
}

/* data is [outer, size, inner], the output [outer, indices, inner]. */
cr_status cr_eval_gather(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *indices = call->in[1];
    int axis;
    CR_TRY(axis_of(call, &axis, err));
    const int64_t size = x->shape.dim[axis], n = cr_shape_count(&indices->shape);
    const int64_t outer = cr_shape_span(&x->shape, 0, axis);
    const int64_t inner = cr_shape_span(&x->shape, axis + 1, x->shape.rank);
    const size_t block = (size_t)inner * cr_dtype_size(x->dtype);
    for (int64_t o = 0; o < outer; o++) {
        for (int64_t i = 0; i < n; i++) {
            int64_t at = 0;
            CR_TRY(cr_load_index(call, i, size, &at, err));
            cr_copy_elem(call->out[0]->data, o * n + i, x->data, o * size + at, block);
        }
    }
    return CR_OK;
}

cr_status cr_eval_gather_elements(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *indices = call->in[1];
    const int64_t count = cr_shape_count(&indices->shape);
    int axis;
    CR_TRY(axis_of(call, &axis, err));
    cr_walk w = cr_walk_begin(&indices->shape);
    cr_shape_strides(&x->shape, w.stride[0]);
    const int64_t step = w.stride[0][axis];
    w.stride[0][axis] = 0;
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        int64_t at = 0;
        CR_TRY(cr_load_index(call, i, x->shape.dim[axis], &at, err));
        cr_copy_elem(call->out[0]->data, i, x->data, w.at[0] + at * step, cr_dtype_size(x->dtype));
    }
    return CR_OK;
}

/* indices is [batch, tuples, depth], data [batch, depth dims..., inner]. */
cr_status cr_eval_gather_nd(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *indices = call->in[1];
    const int batch_dims = (int)cr_attr_int(call->node, "batch_dims", 0);
    const int last = indices->shape.rank - 1, depth = (int)indices->shape.dim[last];
    const int64_t batches = cr_shape_span(&x->shape, 0, batch_dims);
    const int64_t tuples = cr_shape_span(&indices->shape, batch_dims, last);
    const int64_t inner = cr_shape_span(&x->shape, batch_dims + depth, x->shape.rank);
    const size_t block = (size_t)inner * cr_dtype_size(x->dtype);
    for (int64_t i = 0; i < batches * tuples; i++) {
        int64_t from = i / tuples;
        for (int d = 0; d < depth; d++) {
            const int64_t size = x->shape.dim[batch_dims + d];
            int64_t at = 0;
            CR_TRY(cr_load_index(call, i * depth + d, size, &at, err));
            from = from * size + at;
        }
        cr_copy_elem(call->out[0]->data, i, x->data, from, block);
    }
    return CR_OK;
}

cr_status cr_eval_compress(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *condition = call->in[1];
    const bool flat = !cr_attr_find(call->node, "axis");
    int axis = 0;
    if (!flat) CR_TRY(axis_of(call, &axis, err));
    const int64_t outer = flat ? 1 : cr_shape_span(&x->shape, 0, axis);
    const int64_t inner = flat ? 1 : cr_shape_span(&x->shape, axis + 1, x->shape.rank);
    const int64_t size = flat ? cr_shape_count(&x->shape) : x->shape.dim[axis];
    const int64_t flags = condition->shape.dim[0];
    const size_t block = (size_t)inner * cr_dtype_size(x->dtype);
    int64_t to = 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < size && i < flags; i++)
            if (((const uint8_t *)condition->data)[i])
                cr_copy_elem(call->out[0]->data, to++, x->data, o * size + i, block);
    return CR_OK;
}
