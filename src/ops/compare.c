/* Comparisons and logic on two broadcast inputs, and Where. Anything compared with NaN is false
 * (Equal too). */
#include <math.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

static bool is_nan(const cr_tensor *t, int64_t i)
{
    return cr_dtype_is_float(t->dtype) && isnan(cr_load_f64(t, i));
}

static bool compare(cr_op_kind kind, const cr_tensor *a, int64_t p, const cr_tensor *b, int64_t q)
{
    if (is_nan(a, p) || is_nan(b, q)) return false;
    const uint64_t x = cr_order_key(a, p), y = cr_order_key(b, q);
    switch (kind) {
    case CR_OP_And:
        return x && y;
    case CR_OP_Or:
        return x || y;
    case CR_OP_Xor:
        return !x != !y;
    case CR_OP_Equal:
        return a->dtype == CR_DT_BOOL ? !x == !y : x == y;
    case CR_OP_Greater:
        return x > y;
    case CR_OP_GreaterOrEqual:
        return x >= y;
    case CR_OP_Less:
        return x < y;
    default:
        return x <= y;
    }
}

cr_status cr_eval_compare(const cr_op_call *call, cr_error *err)
{
    const cr_shape *out = &call->out[0]->shape;
    const int64_t count = cr_shape_count(out);
    cr_walk w = cr_walk_begin(out);
    for (int k = 0; k < 2; k++) cr_broadcast_strides(&call->in[k]->shape, out, w.stride[k]);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w))
        cr_store_bits(call->out[0], i,
                      compare(call->node->op->kind, call->in[0], w.at[0], call->in[1], w.at[1]));
    return CR_OK;
}

cr_status cr_eval_where(const cr_op_call *call, cr_error *err)
{
    cr_tensor *y = call->out[0];
    const int64_t count = cr_shape_count(&y->shape);
    const size_t size = cr_dtype_size(y->dtype);
    cr_walk w = cr_walk_begin(&y->shape);
    for (int k = 0; k < 3; k++) cr_broadcast_strides(&call->in[k]->shape, &y->shape, w.stride[k]);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        const int from = ((const uint8_t *)call->in[0]->data)[w.at[0]] ? 1 : 2;
        cr_copy_elem(y->data, i, call->in[from]->data, w.at[from], size);
    }
    return CR_OK;
}
