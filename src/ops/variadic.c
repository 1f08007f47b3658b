/* Max, Min, Sum and Mean over any number of broadcast inputs. Sums are kept in double and rounded
 * once; Max and Min pass NaN on. */
#include <math.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

/* Takes element `from` of x where it is further in the operator's direction than y's (or NaN). */
static void select_elem(const cr_tensor *x, int64_t from, cr_tensor *y, int64_t to, bool max)
{
    const uint64_t a = cr_order_key(x, from), b = cr_order_key(y, to);
    const bool nan_x = cr_dtype_is_float(x->dtype) && a == UINT64_MAX;
    const bool nan_y = cr_dtype_is_float(x->dtype) && b == UINT64_MAX;
    if (!nan_y && (nan_x || (max ? a > b : a < b)))
        cr_copy_elem(y->data, to, x->data, from, cr_dtype_size(x->dtype));
}

static void fold_order(const cr_op_call *call, const cr_tensor *x, bool first)
{
    cr_tensor *y = call->out[0];
    const int64_t count = cr_shape_count(&y->shape);
    cr_walk w = cr_walk_begin(&y->shape);
    cr_broadcast_strides(&x->shape, &y->shape, w.stride[0]);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        if (first)
            cr_copy_elem(y->data, i, x->data, w.at[0], cr_dtype_size(x->dtype));
        else
            select_elem(x, w.at[0], y, i, call->node->op->kind == CR_OP_Max);
    }
}

static cr_status sum_all(const cr_op_call *call, cr_error *err)
{
    cr_tensor *y = call->out[0];
    const int64_t count = cr_shape_count(&y->shape);
    double *sum = cr_calloc((size_t)count + 1, sizeof *sum);
    if (!sum) return CR_NOMEM(err);
    for (int k = 0; k < call->n_in; k++) {
        cr_walk w = cr_walk_begin(&y->shape);
        cr_broadcast_strides(&call->in[k]->shape, &y->shape, w.stride[0]);
        for (int64_t i = 0; i < count; i++, cr_walk_next(&w))
            sum[i] += cr_load_f64(call->in[k], w.at[0]);
    }
    const double divisor = call->node->op->kind == CR_OP_Mean ? call->n_in : 1;
    for (int64_t i = 0; i < count; i++) cr_store_f64(y, i, sum[i] / divisor);
    cr_free(sum);
    return CR_OK;
}

cr_status cr_eval_variadic(const cr_op_call *call, cr_error *err)
{
    const cr_op_kind kind = call->node->op->kind;
    if (kind == CR_OP_Sum || kind == CR_OP_Mean) return sum_all(call, err);
    for (int k = 0; k < call->n_in; k++) fold_order(call, call->in[k], k == 0);
    return CR_OK;
}
