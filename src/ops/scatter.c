/* ScatterElements and ScatterND: a copy of the data with some elements replaced by, or combined
 * with, updates. Updates are applied in order; float16 sums are rounded after each of them. */
#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

enum reduction { SCATTER_NONE, SCATTER_ADD, SCATTER_MUL, SCATTER_MAX, SCATTER_MIN };

static enum reduction reduction_of(const cr_node *n)
{
    const char *name = cr_attr_string(n, "reduction", "none");
    if (!strcmp(name, "add")) return SCATTER_ADD;
    if (!strcmp(name, "mul")) return SCATTER_MUL;
    if (!strcmp(name, "max")) return SCATTER_MAX;
    return !strcmp(name, "min") ? SCATTER_MIN : SCATTER_NONE;
}

static void combine(cr_tensor *y, int64_t to, const cr_tensor *updates, int64_t from,
                    enum reduction how)
{
    const bool is_float = cr_dtype_is_float(y->dtype), sum = how == SCATTER_ADD;
    bool replace = how == SCATTER_NONE;
    if (how == SCATTER_MAX) replace = cr_order_key(updates, from) > cr_order_key(y, to);
    if (how == SCATTER_MIN) replace = cr_order_key(updates, from) < cr_order_key(y, to);
    if (replace) {
        cr_copy_elem(y->data, to, updates->data, from, cr_dtype_size(y->dtype));
    } else if ((sum || how == SCATTER_MUL) && is_float) {
        const double a = cr_load_f64(y, to), b = cr_load_f64(updates, from);
        cr_store_f64(y, to, sum ? a + b : a * b);
    } else if (sum || how == SCATTER_MUL) {
        const uint64_t a = cr_load_u64(y, to), b = cr_load_u64(updates, from);
        cr_store_bits(y, to, sum ? a + b : a * b);
    }
}

cr_status cr_eval_scatter_elements(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *indices = call->in[1];
    cr_tensor *y = call->out[0];
    const enum reduction how = reduction_of(call->node);
    const int64_t count = cr_shape_count(&indices->shape);
    int axis;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", 0), y->shape.rank, call->node, &axis,
                             err));
    memcpy(y->data, call->in[0]->data, cr_tensor_bytes(y));
    cr_walk w = cr_walk_begin(&indices->shape);
    cr_shape_strides(&y->shape, w.stride[0]);
    const int64_t step = w.stride[0][axis];
    w.stride[0][axis] = 0;
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        int64_t at = 0;
        CR_TRY(cr_load_index(call, i, y->shape.dim[axis], &at, err));
        combine(y, w.at[0] + at * step, call->in[2], i, how);
    }
    return CR_OK;
}

/* Each tuple of `depth` indices names a block of `inner` elements. */
cr_status cr_eval_scatter_nd(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *indices = call->in[1];
    cr_tensor *y = call->out[0];
    const enum reduction how = reduction_of(call->node);
    const int last = indices->shape.rank - 1, depth = (int)indices->shape.dim[last];
    const int64_t tuples = cr_shape_span(&indices->shape, 0, last);
    const int64_t inner = cr_shape_span(&y->shape, depth, y->shape.rank);
    memcpy(y->data, call->in[0]->data, cr_tensor_bytes(y));
    for (int64_t i = 0; i < tuples; i++) {
        int64_t block = 0;
        for (int d = 0; d < depth; d++) {
            int64_t at = 0;
            CR_TRY(cr_load_index(call, i * depth + d, y->shape.dim[d], &at, err));
            block = block * y->shape.dim[d] + at;
        }
        for (int64_t k = 0; k < inner; k++)
            combine(y, block * inner + k, call->in[2], i * inner + k, how);
    }
    return CR_OK;
}
