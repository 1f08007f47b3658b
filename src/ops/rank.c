/* Operators along one axis that order or accumulate: TopK, ArgMax, ArgMin, CumSum. The tensor is
 * [outer, n, inner]; a line is the n elements with one outer and one inner index. */
#include <stdlib.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

typedef struct line {
    int64_t outer, n, inner;
} line;

static line line_of(const cr_shape *s, int axis)
{
    return (line){cr_shape_span(s, 0, axis), s->dim[axis], cr_shape_span(s, axis + 1, s->rank)};
}

typedef struct ranked {
    uint64_t key;
    int64_t index;
} ranked;

/* Larger keys first; among equals the lower index, as the standard asks. */
static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void top_k_line(const cr_op_call *call, int64_t from, int64_t to, line in, int64_t k,
                       ranked *order)
{
    const cr_tensor *x = call->in[0];
    const uint64_t flip = cr_attr_int(call->node, "largest", 1) ? 0 : UINT64_MAX;
    for (int64_t i = 0; i < in.n; i++)
        order[i] = (ranked){cr_order_key(x, from + i * in.inner) ^ flip, i};
    qsort(order, (size_t)in.n, sizeof *order, by_rank);
    for (int64_t i = 0; i < k; i++) {
        const int64_t at = to + i * in.inner;
        if (call->out[0])
            cr_copy_elem(call->out[0]->data, at, x->data, from + order[i].index * in.inner,
                         cr_dtype_size(x->dtype));
        if (call->out[1]) ((int64_t *)call->out[1]->data)[at] = order[i].index;
    }
}

cr_status cr_eval_top_k(const cr_op_call *call, cr_error *err)
{
    const cr_shape *shape = &call->in[0]->shape;
    const int64_t k = cr_load_i64(call->in[1], 0);
    int axis;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", -1), shape->rank, call->node, &axis,
                             err));
    const line in = line_of(shape, axis);
    ranked *order = cr_calloc((size_t)in.n + 1, sizeof *order);
    if (!order) return CR_NOMEM(err);
    for (int64_t o = 0; k && o < in.outer; o++)
        for (int64_t i = 0; i < in.inner; i++)
            top_k_line(call, o * in.n * in.inner + i, o * k * in.inner + i, in, k, order);
    cr_free(order);
    return CR_OK;
}

cr_status cr_eval_arg_reduce(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    const uint64_t flip = call->node->op->kind == CR_OP_ArgMax ? 0 : UINT64_MAX;
    const bool last = cr_attr_int(call->node, "select_last_index", 0) != 0;
    int axis;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", 0), x->shape.rank, call->node, &axis,
                             err));
    const line in = line_of(&x->shape, axis);
    for (int64_t to = 0; to < in.outer * in.inner; to++) {
        const int64_t from = to / in.inner * in.n * in.inner + to % in.inner;
        uint64_t best_key = cr_order_key(x, from) ^ flip;
        int64_t best = 0;
        for (int64_t i = 1; i < in.n; i++) {
            const uint64_t key = cr_order_key(x, from + i * in.inner) ^ flip;
            if (key < best_key || (key == best_key && !last)) continue;
            best_key = key;
            best = i;
        }
        ((int64_t *)call->out[0]->data)[to] = best;
    }
    return CR_OK;
}

/* One running sum; floats are kept in double and rounded once per element. */
static void cum_sum_line(const cr_tensor *x, cr_tensor *y, int64_t from, line in, bool exclusive,
                         bool reverse)
{
    const bool is_float = cr_dtype_is_float(x->dtype);
    double real = 0;
    uint64_t whole = 0;
    for (int64_t i = 0; i < in.n; i++) {
        const int64_t at = from + (reverse ? in.n - 1 - i : i) * in.inner;
        const double next_real = real + (is_float ? cr_load_f64(x, at) : 0);
        const uint64_t next_whole = whole + (is_float ? 0 : cr_load_u64(x, at));
        if (is_float)
            cr_store_f64(y, at, exclusive ? real : next_real);
        else
            cr_store_bits(y, at, exclusive ? whole : next_whole);
        real = next_real;
        whole = next_whole;
    }
}

cr_status cr_eval_cum_sum(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    const bool exclusive = cr_attr_int(call->node, "exclusive", 0) != 0;
    const bool reverse = cr_attr_int(call->node, "reverse", 0) != 0;
    int axis;
    CR_TRY(cr_axis_normalize(cr_load_i64(call->in[1], 0), x->shape.rank, call->node, &axis, err));
    const line in = line_of(&x->shape, axis);
    for (int64_t o = 0; o < in.outer; o++)
        for (int64_t i = 0; i < in.inner; i++)
            cum_sum_line(x, call->out[0], o * in.n * in.inner + i, in, exclusive, reverse);
    return CR_OK;
}
