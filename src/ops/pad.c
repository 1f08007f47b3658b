/* Movement in which an output element's place is computed rather than strided: Pad, Tile, Trilu,
 * ReverseSequence. */
#include "graph/infer_move.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

static enum pad_mode pad_mode_of(const cr_node *n)
{
    const char *mode = cr_attr_string(n, "mode", "constant");
    if (!strcmp(mode, "reflect")) return PAD_REFLECT;
    if (!strcmp(mode, "edge")) return PAD_EDGE;
    return !strcmp(mode, "wrap") ? PAD_WRAP : PAD_CONSTANT;
}

/* Place `at` of a line of n elements that the mode continues to both sides; -1: the constant. */
static int64_t continued(int64_t at, int64_t n, enum pad_mode mode)
{
    if (at >= 0 && at < n) return at;
    if (mode == PAD_CONSTANT) return -1;
    if (mode == PAD_EDGE) return at < 0 ? 0 : n - 1;
    const int64_t period = mode == PAD_WRAP ? n : n > 1 ? 2 * n - 2 : 1;
    at %= period;
    if (at < 0) at += period;
    return at < n ? at : period - at;
}

/* Offset in the input of the output element at `index`; -1: the constant. Negative pads take
 * elements away before the rest is continued. */
static int64_t pad_source(const cr_shape *in, const int64_t *stride, const int64_t *index,
                          const cr_pad_plan *plan, enum pad_mode mode)
{
    int64_t offset = 0;
    for (int d = 0; d < in->rank; d++) {
        const int64_t before = plan->before[d], after = plan->after[d];
        const int64_t first = before < 0 ? -before : 0;
        const int64_t kept = in->dim[d] - first - (after < 0 ? -after : 0);
        const int64_t at = continued(index[d] - (before > 0 ? before : 0), kept, mode);
        if (at < 0) return -1;
        offset += (first + at) * stride[d];
    }
    return offset;
}

cr_status cr_eval_pad(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *value = cr_op_in(call, 2);
    cr_tensor *y = call->out[0];
    const size_t size = cr_dtype_size(x->dtype);
    const int64_t count = cr_shape_count(&y->shape);
    const enum pad_mode mode = pad_mode_of(call->node);
    const uint64_t zero = 0; /* all types have zero bits for 0 */
    int64_t stride[CR_MAX_RANK];
    cr_pad_plan plan;
    CR_TRY(cr_pad_resolve(call, &plan, err));
    cr_shape_strides(&x->shape, stride);
    cr_walk w = cr_walk_begin(&y->shape);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        const int64_t from = pad_source(&x->shape, stride, w.index, &plan, mode);
        if (from >= 0)
            cr_copy_elem(y->data, i, x->data, from, size);
        else
            cr_copy_elem(y->data, i, value ? value->data : &zero, 0, size);
    }
    return CR_OK;
}

cr_status cr_eval_tile(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    cr_tensor *y = call->out[0];
    const int64_t count = cr_shape_count(&y->shape);
    int64_t stride[CR_MAX_RANK];
    cr_shape_strides(&x->shape, stride);
    cr_walk w = cr_walk_begin(&y->shape);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        int64_t from = 0;
        for (int d = 0; d < x->shape.rank; d++) from += w.index[d] % x->shape.dim[d] * stride[d];
        cr_copy_elem(y->data, i, x->data, from, cr_dtype_size(x->dtype));
    }
    return CR_OK;
}

cr_status cr_eval_trilu(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *diagonal = cr_op_in(call, 1);
    cr_tensor *y = call->out[0];
    const int64_t count = cr_shape_count(&x->shape), k = diagonal ? cr_load_i64(diagonal, 0) : 0;
    const bool upper = cr_attr_int(call->node, "upper", 1) != 0;
    const size_t size = cr_dtype_size(x->dtype);
    const int row = x->shape.rank - 2;
    memset(y->data, 0, cr_tensor_bytes(y));
    cr_walk w = cr_walk_begin(&x->shape);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        const int64_t at = w.index[row + 1] - w.index[row];
        if (upper ? at >= k : at <= k) cr_copy_elem(y->data, i, x->data, i, size);
    }
    return CR_OK;
}

cr_status cr_eval_reverse_sequence(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *lens = call->in[1];
    const int time = (int)cr_attr_int(call->node, "time_axis", 0);
    const int64_t count = cr_shape_count(&x->shape), steps = x->shape.dim[time];
    int64_t stride[CR_MAX_RANK];
    for (int64_t i = 0; i < x->shape.dim[1 - time]; i++) {
        const int64_t n = cr_load_i64(lens, i);
        CR_OP_CHECK(n >= 0 && n <= steps, call, err, "length %lld of sequence %lld is out of range",
                    (long long)n, (long long)i);
    }
    cr_shape_strides(&x->shape, stride);
    cr_walk w = cr_walk_begin(&x->shape);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        const int64_t n = cr_load_i64(lens, w.index[1 - time]), t = w.index[time];
        const int64_t from = t < n ? i + (n - 1 - 2 * t) * stride[time] : i;
        cr_copy_elem(call->out[0]->data, i, x->data, from, cr_dtype_size(x->dtype));
    }
    return CR_OK;
}
