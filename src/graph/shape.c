#include "graph/shape.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool cr_shape_broadcast(const cr_shape *a, const cr_shape *b, cr_shape *out)
{
    cr_shape r = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 1; i <= r.rank; i++) {
        const int64_t x = i <= a->rank ? a->dim[a->rank - i] : 1;
        const int64_t y = i <= b->rank ? b->dim[b->rank - i] : 1;
        if (x != y && x != 1 && y != 1) return false;
        r.dim[r.rank - i] = x == 1 ? y : x;
    }
    *out = r;
    return true;
}

void cr_shape_strides(const cr_shape *s, int64_t strides[CR_MAX_RANK])
{
    int64_t step = 1;
    for (int i = s->rank - 1; i >= 0; i--) {
        strides[i] = step;
        step *= s->dim[i];
    }
}

void cr_broadcast_strides(const cr_shape *in, const cr_shape *out, int64_t strides[CR_MAX_RANK])
{
    int64_t dense[CR_MAX_RANK];
    cr_shape_strides(in, dense);
    const int lead = out->rank - in->rank;
    for (int i = 0; i < out->rank; i++)
        strides[i] = i < lead || in->dim[i - lead] == 1 ? 0 : dense[i - lead];
}

int64_t cr_shape_span(const cr_shape *s, int from, int to)
{
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= s->dim[i];
    return n;
}

cr_status cr_axis_normalize(int64_t axis, int rank, const cr_node *node, int *out, cr_error *err)
{
    CR_CHECK(axis >= -rank && axis < rank, err, CR_ERR_FORMAT,
             "node '%s' (%s): axis %lld is out of range for %d dimensions", node->name,
             node->op->name, (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return CR_OK;
}

cr_status cr_op_fail(const cr_op_call *call, cr_error *err, cr_status status, const char *fmt, ...)
{
    char text[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return cr_fail(err, status, "node '%s' (%s): %s", call->node->name, call->node->op->name, text);
}

cr_status cr_op_check_dtype(const cr_op_call *call, int i, unsigned set, cr_error *err)
{
    const cr_tensor *t = cr_op_in(call, i);
    if (!t || cr_dtype_in(t->dtype, set)) return CR_OK;
    return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "input %d ('%s') cannot be of type %s", i,
                      t->name, cr_dtype_key(t->dtype));
}

cr_status cr_op_check_same(const cr_op_call *call, int i, int like, cr_error *err)
{
    const cr_tensor *t = cr_op_in(call, i);
    if (!t || t->dtype == call->in[like]->dtype) return CR_OK;
    return cr_op_fail(call, err, CR_ERR_FORMAT, "input %d ('%s') is %s, but input %d is %s", i,
                      t->name, cr_dtype_key(t->dtype), like, cr_dtype_key(call->in[like]->dtype));
}

cr_status cr_op_check_scalar(const cr_op_call *call, int i, cr_error *err)
{
    const cr_tensor *t = cr_op_in(call, i);
    if (!t || cr_shape_count(&t->shape) == 1) return CR_OK;
    char text[160];
    return cr_op_fail(call, err, CR_ERR_FORMAT, "input %d ('%s') must be one value, not %s", i,
                      t->name, cr_shape_text(&t->shape, text, sizeof text));
}

cr_status cr_op_set_out(const cr_op_call *call, int i, cr_dtype dtype, const cr_shape *shape,
                        cr_error *err)
{
    const cr_op_def *op = call->node->op;
    cr_tensor *t = i < call->n_out ? call->out[i] : NULL;
    if (t) {
        t->dtype = dtype;
        t->shape = *shape;
        return CR_OK;
    }
    if (i > 0 || op->min_out != 1 || op->max_out < 0) return CR_OK;
    return cr_op_fail(call, err, CR_ERR_FORMAT, "its output has no name");
}

cr_status cr_op_ints(const cr_op_call *call, int i, int max, int64_t *values, int *count,
                     cr_error *err)
{
    const cr_tensor *t = cr_op_in(call, i);
    *count = 0;
    if (!t) return CR_OK;
    CR_TRY(cr_op_check_dtype(call, i, CR_DTS_INDEX, err));
    const int64_t n = cr_shape_count(&t->shape);
    CR_OP_CHECK(t->shape.rank <= 1 && n >= 0 && n <= max, call, err,
                "input %d ('%s') must be a list of at most %d numbers", i, t->name, max);
    *count = t->data ? (int)n : -1;
    for (int k = 0; k < *count; k++) values[k] = cr_tensor_get_i64(t, (size_t)k);
    return CR_OK;
}

cr_status cr_op_axes(const cr_op_call *call, int i, int rank, bool flags[CR_MAX_RANK], int *count,
                     cr_error *err)
{
    int64_t axes[CR_MAX_RANK];
    memset(flags, 0, CR_MAX_RANK * sizeof *flags);
    CR_TRY(cr_op_ints(call, i, CR_MAX_RANK, axes, count, err));
    for (int k = 0; k < *count; k++) {
        int axis = 0;
        CR_TRY(cr_axis_normalize(axes[k], rank, call->node, &axis, err));
        CR_OP_CHECK(!flags[axis], call, err, "axis %d is listed twice", axis);
        flags[axis] = true;
    }
    return CR_OK;
}

cr_walk cr_walk_begin(const cr_shape *shape)
{
    return (cr_walk){.shape = *shape};
}

void cr_walk_next(cr_walk *w)
{
    for (int d = w->shape.rank - 1; d >= 0; d--) {
        for (int k = 0; k < CR_WALK_OFFSETS; k++) w->at[k] += w->stride[k][d];
        if (++w->index[d] < w->shape.dim[d]) return;
        for (int k = 0; k < CR_WALK_OFFSETS; k++) w->at[k] -= w->stride[k][d] * w->shape.dim[d];
        w->index[d] = 0;
    }
}
