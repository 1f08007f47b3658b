/* Shape rules of operators that move, repeat or cut out values. */
#include "graph/infer_move.h"

#include <string.h>

#include "graph/infer_all.h"

static cr_status set_out0(const cr_op_call *call, const cr_shape *shape, cr_error *err)
{
    return cr_op_set_out(call, 0, call->in[0]->dtype, shape, err);
}

cr_status cr_perm_resolve(const cr_op_call *call, int perm[CR_MAX_RANK], cr_error *err)
{
    const int rank = call->in[0]->shape.rank;
    size_t count;
    const int64_t *list = cr_attr_ints(call->node, "perm", &count);
    bool seen[CR_MAX_RANK] = {false};
    CR_OP_CHECK(!list || count == (size_t)rank, call, err, "perm has %zu numbers for %d dimensions",
                count, rank);
    for (int i = 0; i < rank; i++) {
        perm[i] = rank - 1 - i;
        if (list) CR_TRY(cr_axis_normalize(list[i], rank, call->node, &perm[i], err));
        CR_OP_CHECK(!seen[perm[i]], call, err, "perm lists dimension %d twice", perm[i]);
        seen[perm[i]] = true;
    }
    return CR_OK;
}

cr_status cr_infer_transpose(const cr_op_call *call, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    int perm[CR_MAX_RANK];
    CR_TRY(cr_perm_resolve(call, perm, err));
    cr_shape out = {.rank = in->rank};
    for (int i = 0; i < in->rank; i++) out.dim[i] = in->dim[perm[i]];
    return set_out0(call, &out, err);
}

cr_status cr_infer_concat(const cr_op_call *call, cr_error *err)
{
    cr_shape out = call->in[0]->shape;
    int axis;
    const cr_attr *a = cr_attr_find(call->node, "axis");
    CR_OP_CHECK(a && a->type == CR_ATTR_INT, call, err, "attribute 'axis' is missing");
    CR_TRY(cr_axis_normalize(a->i, out.rank, call->node, &axis, err));
    for (int i = 1; i < call->n_in; i++) {
        CR_OP_CHECK(call->in[i], call, err, "input %d is missing", i);
        CR_TRY(cr_op_check_same(call, i, 0, err));
        const cr_shape *s = &call->in[i]->shape;
        bool fits = s->rank == out.rank;
        for (int d = 0; fits && d < out.rank; d++) fits = d == axis || s->dim[d] == out.dim[d];
        char x[160], y[160];
        CR_OP_CHECK(fits, call, err, "input %d is %s, which does not continue %s along axis %d", i,
                    cr_shape_text(s, x, sizeof x), cr_shape_text(&call->in[0]->shape, y, sizeof y),
                    axis);
        CR_OP_CHECK(!__builtin_add_overflow(out.dim[axis], s->dim[axis], &out.dim[axis]), call, err,
                    "the result is too large");
    }
    return set_out0(call, &out, err);
}

/* Sizes from the split input; its data are known. */
static cr_status split_listed(const cr_op_call *call, int axis, cr_error *err)
{
    const cr_tensor *sizes = call->in[1];
    cr_shape out = call->in[0]->shape;
    int64_t left = out.dim[axis];
    for (int i = 0; i < call->n_out; i++) {
        out.dim[axis] = sizes->data ? cr_tensor_get_i64(sizes, (size_t)i) : -1;
        CR_OP_CHECK(!sizes->data || (out.dim[axis] >= 0 && out.dim[axis] <= left), call, err,
                    "part %d of %lld does not fit", i, (long long)out.dim[axis]);
        left -= sizes->data ? out.dim[axis] : 0;
        CR_TRY(cr_op_set_out(call, i, call->in[0]->dtype, &out, err));
    }
    CR_OP_CHECK(!sizes->data || !left, call, err, "the parts leave %lld of %lld over",
                (long long)left, (long long)call->in[0]->shape.dim[axis]);
    return CR_OK;
}

static cr_status split_evenly(const cr_op_call *call, int axis, cr_error *err)
{
    cr_shape out = call->in[0]->shape;
    const int64_t size = out.dim[axis], parts = call->n_out;
    CR_OP_CHECK(cr_attr_int(call->node, "num_outputs", parts) == parts, call, err,
                "num_outputs is not the %d outputs that there are", call->n_out);
    const int64_t chunk = (size + parts - 1) / parts;
    CR_OP_CHECK(chunk * (parts - 1) <= size, call, err, "%lld does not split into %d parts",
                (long long)size, call->n_out);
    for (int i = 0; i < call->n_out; i++) {
        out.dim[axis] = i < parts - 1 ? chunk : size - chunk * (parts - 1);
        CR_TRY(cr_op_set_out(call, i, call->in[0]->dtype, &out, err));
    }
    return CR_OK;
}

cr_status cr_infer_split(const cr_op_call *call, cr_error *err)
{
    int axis;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", 0), call->in[0]->shape.rank,
                             call->node, &axis, err));
    const cr_tensor *sizes = cr_op_in(call, 1);
    if (!sizes) return split_evenly(call, axis, err);
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_INDEX, err));
    CR_OP_CHECK(sizes->shape.rank == 1 && sizes->shape.dim[0] == call->n_out, call, err,
                "'%s' must list %d sizes, one per output", sizes->name, call->n_out);
    return split_listed(call, axis, err);
}

/* One dim of a slice, clamped as the standard says; returns the element count. */
static int64_t slice_dim(int64_t dim, int64_t *start, int64_t end, int64_t step)
{
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? dim : dim - 1;
    int64_t *const edge[2] = {start, &end};
    for (int i = 0; i < 2; i++) {
        int64_t at = *edge[i];
        if (at < 0) at = at < -dim ? -1 : at + dim;
        if (at < (i ? low : 0)) at = i ? low : 0;
        *edge[i] = at > high ? high : at;
    }
    const int64_t distance = step > 0 ? end - *start : *start - end;
    const uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    return distance > 0 ? (int64_t)(((uint64_t)distance - 1) / stride + 1) : 0;
}

cr_status cr_slice_resolve(const cr_op_call *call, cr_slice_plan *plan, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    int64_t list[4][CR_MAX_RANK];
    int count[4];
    plan->out = *in;
    for (int i = 0; i < 4; i++) CR_TRY(cr_op_ints(call, i + 1, in->rank, list[i], &count[i], err));
    for (int i = 0; i < in->rank; i++) {
        plan->start[i] = 0;
        plan->step[i] = 1;
    }
    bool known = true, seen[CR_MAX_RANK] = {false};
    for (int i = 0; i < 4; i++) known = known && count[i] >= 0;
    for (int i = 0; !known && i < in->rank; i++) plan->out.dim[i] = -1;
    if (!known) return CR_OK;
    const bool has_axes = cr_op_in(call, 3), has_steps = cr_op_in(call, 4);
    CR_OP_CHECK(count[1] == count[0] && (!has_axes || count[2] == count[0]) &&
                    (!has_steps || count[3] == count[0]),
                call, err, "starts, ends, axes and steps differ in length");
    for (int i = 0; i < count[0]; i++) {
        int axis = i;
        if (has_axes) CR_TRY(cr_axis_normalize(list[2][i], in->rank, call->node, &axis, err));
        CR_OP_CHECK(!seen[axis], call, err, "axis %d is listed twice", axis);
        seen[axis] = true;
        plan->step[axis] = has_steps ? list[3][i] : 1;
        CR_OP_CHECK(plan->step[axis], call, err, "a step of 0 along axis %d", axis);
        plan->start[axis] = list[0][i];
        plan->out.dim[axis] =
            slice_dim(in->dim[axis], &plan->start[axis], list[1][i], plan->step[axis]);
    }
    return CR_OK;
}

cr_status cr_infer_slice(const cr_op_call *call, cr_error *err)
{
    cr_slice_plan plan;
    CR_TRY(cr_slice_resolve(call, &plan, err));
    return set_out0(call, &plan.out, err);
}

cr_status cr_infer_expand(const cr_op_call *call, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    cr_shape out = cr_shape_unknown(), want = {0};
    CR_TRY(cr_op_ints(call, 1, CR_MAX_RANK, want.dim, &want.rank, err));
    if (want.rank >= 0) {
        for (int i = 0; i < want.rank; i++)
            CR_OP_CHECK(want.dim[i] >= 0, call, err, "the target has a size of %lld",
                        (long long)want.dim[i]);
        char a[160], b[160];
        CR_OP_CHECK(cr_shape_broadcast(in, &want, &out), call, err, "%s does not expand to %s",
                    cr_shape_text(in, a, sizeof a), cr_shape_text(&want, b, sizeof b));
    }
    return set_out0(call, &out, err);
}

cr_status cr_infer_tile(const cr_op_call *call, cr_error *err)
{
    cr_shape out = call->in[0]->shape;
    int64_t repeats[CR_MAX_RANK];
    int count;
    CR_TRY(cr_op_ints(call, 1, CR_MAX_RANK, repeats, &count, err));
    CR_OP_CHECK(cr_shape_count(&call->in[1]->shape) == out.rank, call, err,
                "repeats must list %d numbers", out.rank);
    for (int i = 0; i < out.rank; i++) {
        int64_t dim = -1;
        CR_OP_CHECK(count < 0 ||
                        (repeats[i] >= 0 && !__builtin_mul_overflow(out.dim[i], repeats[i], &dim)),
                    call, err, "bad repeat count for dimension %d", i);
        out.dim[i] = count < 0 ? -1 : dim;
    }
    return set_out0(call, &out, err);
}

/* Sizes along one padded dim, with what must hold: no overflow, nothing negative, and something to
 * repeat where the mode repeats the input. */
static cr_status pad_dim(const cr_op_call *call, int64_t before, int64_t after, bool constant,
                         int64_t *dim, cr_error *err)
{
    const int64_t limit = (int64_t)1 << 40;
    const int64_t in = *dim;
    CR_OP_CHECK(before > -limit && before < limit && after > -limit && after < limit, call, err,
                "padding of %lld and %lld is out of range", (long long)before, (long long)after);
    const int64_t kept = in + (before < 0 ? before : 0) + (after < 0 ? after : 0);
    *dim = in + before + after;
    CR_OP_CHECK(*dim >= 0, call, err, "padding takes more away than the %lld there are",
                (long long)in);
    CR_OP_CHECK(constant || kept > 0 || *dim == 0, call, err, "there is nothing to repeat");
    return CR_OK;
}

cr_status cr_pad_resolve(const cr_op_call *call, cr_pad_plan *plan, cr_error *err)
{
    const int rank = call->in[0]->shape.rank;
    int64_t pads[2 * CR_MAX_RANK], axes[CR_MAX_RANK];
    int count, axis_count;
    *plan = (cr_pad_plan){.known = false};
    CR_TRY(cr_op_ints(call, 1, 2 * rank, pads, &count, err));
    CR_TRY(cr_op_ints(call, 3, rank, axes, &axis_count, err));
    if (count < 0 || axis_count < 0) return CR_OK;
    plan->known = true;
    const bool has_axes = cr_op_in(call, 3);
    const int n = has_axes ? axis_count : rank;
    bool seen[CR_MAX_RANK] = {false};
    CR_OP_CHECK(count == 2 * n, call, err, "%d pads for %d dimensions", count, n);
    for (int i = 0; i < n; i++) {
        int axis = i;
        if (has_axes) CR_TRY(cr_axis_normalize(axes[i], rank, call->node, &axis, err));
        CR_OP_CHECK(!seen[axis], call, err, "axis %d is listed twice", axis);
        seen[axis] = true;
        plan->before[axis] = pads[i];
        plan->after[axis] = pads[n + i];
    }
    return CR_OK;
}

cr_status cr_infer_pad(const cr_op_call *call, cr_error *err)
{
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    const char *mode = cr_attr_string(call->node, "mode", "constant");
    int known = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) known |= !strcmp(mode, modes[i]);
    CR_OP_CHECK(known, call, err, "unknown mode '%s'", mode);
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    CR_TRY(cr_op_check_scalar(call, 2, err));
    cr_pad_plan plan;
    CR_TRY(cr_pad_resolve(call, &plan, err));
    cr_shape out = call->in[0]->shape;
    for (int i = 0; i < out.rank; i++) {
        if (plan.known)
            CR_TRY(pad_dim(call, plan.before[i], plan.after[i], !strcmp(mode, "constant"),
                           &out.dim[i], err));
        else
            out.dim[i] = -1;
    }
    return set_out0(call, &out, err);
}

cr_status cr_infer_depth_space(const cr_op_call *call, cr_error *err)
{
    const bool to_space = call->node->op->kind == CR_OP_DepthToSpace;
    const char *mode = cr_attr_string(call->node, "mode", "DCR");
    const int64_t b = cr_attr_int(call->node, "blocksize", 0);
    cr_shape out = call->in[0]->shape;
    CR_OP_CHECK(out.rank == 4, call, err, "the input must have 4 dimensions");
    CR_OP_CHECK(b > 0 && b < 1 << 11, call, err, "a block size of %lld", (long long)b);
    CR_OP_CHECK(!strcmp(mode, "DCR") || !strcmp(mode, "CRD"), call, err, "unknown mode '%s'", mode);
    if (to_space) {
        CR_OP_CHECK(out.dim[1] % (b * b) == 0, call, err,
                    "%lld channels are no multiple of the block", (long long)out.dim[1]);
        out = (cr_shape){4, {out.dim[0], out.dim[1] / (b * b), out.dim[2] * b, out.dim[3] * b}};
    } else {
        CR_OP_CHECK(out.dim[2] % b == 0 && out.dim[3] % b == 0, call, err,
                    "%lld x %lld is no multiple of the block", (long long)out.dim[2],
                    (long long)out.dim[3]);
        out = (cr_shape){4, {out.dim[0], out.dim[1] * b * b, out.dim[2] / b, out.dim[3] / b}};
    }
    return set_out0(call, &out, err);
}

cr_status cr_infer_trilu(const cr_op_call *call, cr_error *err)
{
    CR_OP_CHECK(call->in[0]->shape.rank >= 2, call, err,
                "the input must have 2 or more dimensions");
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_INDEX, err));
    CR_TRY(cr_op_check_scalar(call, 1, err));
    return set_out0(call, &call->in[0]->shape, err);
}

cr_status cr_infer_reverse_sequence(const cr_op_call *call, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape, *lens = &call->in[1]->shape;
    const int64_t time = cr_attr_int(call->node, "time_axis", 0);
    const int64_t batch = cr_attr_int(call->node, "batch_axis", 1);
    CR_OP_CHECK(in->rank >= 2, call, err, "the input must have 2 or more dimensions");
    CR_OP_CHECK((time == 0 && batch == 1) || (time == 1 && batch == 0), call, err,
                "time_axis and batch_axis must be 0 and 1 or 1 and 0");
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_INDEX, err));
    CR_OP_CHECK(lens->rank == 1 && lens->dim[0] == in->dim[batch], call, err,
                "sequence_lens must list %lld lengths", (long long)in->dim[batch]);
    return set_out0(call, in, err);
}
