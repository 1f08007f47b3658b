/* Reductions: every input element is folded into the accumulator of its output element.
 *
 * Floats fold in double and are rounded once; LogSumExp takes the maximum out first. Integer sums
 * and products wrap in 64 bits and are cut to the type; their roots and logarithms are computed in
 * double and truncated, as numpy's casts do. */
#include <math.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/nn_loops.h"
#include "ops/ref_all.h"

/* The input walked with at[0] = index of the output element. */
static cr_status begin(const cr_op_call *call, cr_walk *w, cr_error *err)
{
    const cr_shape *x = &call->in[0]->shape;
    bool flags[CR_MAX_RANK];
    int count = 0;
    CR_TRY(cr_op_axes(call, 1, x->rank, flags, &count, err));
    const bool all = count == 0 && !cr_attr_int(call->node, "noop_with_empty_axes", 0);
    cr_shape kept = *x;
    for (int i = 0; i < x->rank; i++)
        if (all || flags[i]) kept.dim[i] = 1;
    *w = cr_walk_begin(x);
    cr_broadcast_strides(&kept, x, w->stride[0]);
    return CR_OK;
}

static double identity_f64(cr_op_kind kind)
{
    if (kind == CR_OP_ReduceMax) return -INFINITY;
    if (kind == CR_OP_ReduceMin) return INFINITY;
    return kind == CR_OP_ReduceProd ? 1 : 0;
}

static double fold_f64(cr_op_kind kind, double acc, double x)
{
    switch (kind) {
    case CR_OP_ReduceMax:
        return x > acc || x != x ? x : acc;
    case CR_OP_ReduceMin:
        return x < acc || x != x ? x : acc;
    case CR_OP_ReduceProd:
        return acc * x;
    case CR_OP_ReduceL1:
        return acc + fabs(x);
    case CR_OP_ReduceL2:
    case CR_OP_ReduceSumSquare:
        return acc + x * x;
    default:
        return acc + x;
    }
}

static double finish_f64(cr_op_kind kind, double acc, double count)
{
    switch (kind) {
    case CR_OP_ReduceMean:
        return acc / count;
    case CR_OP_ReduceL2:
        return sqrt(acc);
    case CR_OP_ReduceLogSum:
        return log(acc);
    default:
        return acc;
    }
}

static void fold_all(const cr_tensor *x, cr_walk w, cr_op_kind kind, double *acc, int64_t outs)
{
    const int64_t n = cr_shape_count(&x->shape);
    for (int64_t i = 0; i < outs; i++) acc[i] = identity_f64(kind);
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w))
        acc[w.at[0]] = fold_f64(kind, acc[w.at[0]], cr_load_f64(x, i));
    for (int64_t i = 0; i < outs; i++)
        acc[i] = finish_f64(kind, acc[i], (double)(outs ? n / outs : 0));
}

/* log(sum(exp(x - top))) + top; an infinite top is left inside, where it gives the right limit. */
static cr_status log_sum_exp(const cr_tensor *x, cr_walk w, double *acc, int64_t outs,
                             cr_error *err)
{
    const int64_t n = cr_shape_count(&x->shape);
    double *top = cr_buffer_zero(outs, sizeof *top);
    if (!top) return CR_NOMEM(err);
    fold_all(x, w, CR_OP_ReduceMax, top, outs);
    for (int64_t i = 0; i < outs; i++) {
        acc[i] = 0;
        if (isinf(top[i])) top[i] = 0;
    }
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w))
        acc[w.at[0]] += exp(cr_load_f64(x, i) - top[w.at[0]]);
    for (int64_t i = 0; i < outs; i++) acc[i] = log(acc[i]) + top[i];
    cr_free(top);
    return CR_OK;
}

static void store_truncated(const double *acc, cr_tensor *y, int64_t outs)
{
    for (int64_t i = 0; i < outs; i++)
        if (cr_dtype_is_float(y->dtype))
            cr_store_f64(y, i, acc[i]);
        else
            cr_store_bits(y, i, acc[i] > -9e18 && acc[i] < 9e18 ? (uint64_t)(int64_t)acc[i] : 0);
}

static cr_status reduce_f64(const cr_op_call *call, const cr_walk *w, cr_error *err)
{
    const cr_op_kind kind = call->node->op->kind;
    const int64_t outs = cr_shape_count(&call->out[0]->shape);
    cr_status st = CR_OK;
    double *acc = cr_buffer_zero(outs, sizeof *acc);
    if (!acc) return CR_NOMEM(err);
    if (kind == CR_OP_ReduceLogSumExp)
        st = log_sum_exp(call->in[0], *w, acc, outs, err);
    else
        fold_all(call->in[0], *w, kind, acc, outs);
    if (st == CR_OK) store_truncated(acc, call->out[0], outs);
    cr_free(acc);
    return st;
}

/* Integers are compared with the sign bit flipped, which orders two's complement like unsigned. */
static uint64_t identity_u64(cr_op_kind kind, cr_dtype t)
{
    const int bits = t == CR_DT_BOOL ? 1 : 8 * (int)cr_dtype_size(t);
    const uint64_t top = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    const bool is_signed = cr_dtype_is_signed(t);
    if (kind == CR_OP_ReduceMax) return is_signed ? ~(top >> 1) : 0;
    if (kind == CR_OP_ReduceMin) return is_signed ? top >> 1 : top;
    return kind == CR_OP_ReduceProd;
}

static uint64_t fold_u64(cr_op_kind kind, uint64_t acc, uint64_t x, uint64_t flip)
{
    switch (kind) {
    case CR_OP_ReduceMax:
        return (x ^ flip) > (acc ^ flip) ? x : acc;
    case CR_OP_ReduceMin:
        return (x ^ flip) < (acc ^ flip) ? x : acc;
    case CR_OP_ReduceProd:
        return acc * x;
    case CR_OP_ReduceL1:
        return acc + (x & flip ? 0 - x : x);
    case CR_OP_ReduceSumSquare:
        return acc + x * x;
    default:
        return acc + x;
    }
}

static uint64_t mean_u64(uint64_t acc, int64_t count, bool is_signed)
{
    if (count == 0) return 0;
    return is_signed ? (uint64_t)((int64_t)acc / count) : acc / (uint64_t)count;
}

static cr_status reduce_u64(const cr_op_call *call, cr_walk w, cr_error *err)
{
    const cr_op_kind kind = call->node->op->kind;
    const cr_tensor *x = call->in[0];
    const int64_t n = cr_shape_count(&x->shape), outs = cr_shape_count(&call->out[0]->shape);
    const bool is_signed = cr_dtype_is_signed(x->dtype);
    const uint64_t flip = is_signed ? (uint64_t)1 << 63 : 0;
    uint64_t *acc = cr_buffer_zero(outs, sizeof *acc);
    if (!acc) return CR_NOMEM(err);
    for (int64_t i = 0; i < outs; i++) acc[i] = identity_u64(kind, x->dtype);
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w))
        acc[w.at[0]] = fold_u64(kind, acc[w.at[0]], cr_load_u64(x, i), flip);
    for (int64_t i = 0; i < outs && kind == CR_OP_ReduceMean; i++)
        acc[i] = mean_u64(acc[i], outs ? n / outs : 0, is_signed);
    cr_buffer_store_u64(acc, call->out[0]);
    cr_free(acc);
    return CR_OK;
}

cr_status cr_eval_reduce(const cr_op_call *call, cr_error *err)
{
    const cr_op_kind kind = call->node->op->kind;
    cr_walk w;
    CR_TRY(begin(call, &w, err));
    const bool real =
        kind == CR_OP_ReduceL2 || kind == CR_OP_ReduceLogSum || kind == CR_OP_ReduceLogSumExp;
    if (real || cr_dtype_is_float(call->in[0]->dtype)) return reduce_f64(call, &w, err);
    return reduce_u64(call, w, err);
}
