/* Shape rules of operators whose inputs say by index which values to take or to replace. The
 * indices themselves are checked when they are used. */
#include <string.h>

#include "graph/infer_all.h"
#include "graph/shape.h"

static cr_status set_out0(const cr_op_call *call, const cr_shape *shape, cr_error *err)
{
    return cr_op_set_out(call, 0, call->in[0]->dtype, shape, err);
}

/* out = a's dims [0, a_end) + b's dims [0, b_end) + c's dims [c_begin, rank). */
static cr_status join(const cr_op_call *call, const cr_shape *a, int a_end, const cr_shape *b,
                      int b_begin, int b_end, const cr_shape *c, int c_begin, cr_shape *out,
                      cr_error *err)
{
    const int rank = a_end + (b_end - b_begin) + (c->rank - c_begin);
    CR_OP_CHECK(rank <= CR_MAX_RANK, call, err, "more than %d dimensions", CR_MAX_RANK);
    *out = (cr_shape){.rank = 0};
    for (int i = 0; i < a_end; i++) out->dim[out->rank++] = a->dim[i];
    for (int i = b_begin; i < b_end; i++) out->dim[out->rank++] = b->dim[i];
    for (int i = c_begin; i < c->rank; i++) out->dim[out->rank++] = c->dim[i];
    return CR_OK;
}

cr_status cr_infer_gather(const cr_op_call *call, cr_error *err)
{
    const cr_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    int axis;
    cr_shape out;
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_INDEX, err));
    CR_TRY(
        cr_axis_normalize(cr_attr_int(call->node, "axis", 0), data->rank, call->node, &axis, err));
    CR_TRY(join(call, data, axis, indices, 0, indices->rank, data, axis + 1, &out, err));
    return set_out0(call, &out, err);
}

/* Indices of the ...Elements operators: data's rank, and within data except along the axis. */
static cr_status check_elements(const cr_op_call *call, cr_error *err)
{
    const cr_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    int axis;
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_INDEX, err));
    CR_TRY(
        cr_axis_normalize(cr_attr_int(call->node, "axis", 0), data->rank, call->node, &axis, err));
    CR_OP_CHECK(data->rank == indices->rank, call, err, "data have %d dimensions, indices %d",
                data->rank, indices->rank);
    for (int i = 0; i < data->rank; i++)
        CR_OP_CHECK(i == axis || indices->dim[i] <= data->dim[i], call, err,
                    "indices are larger than the data in dimension %d", i);
    return CR_OK;
}

cr_status cr_infer_gather_elements(const cr_op_call *call, cr_error *err)
{
    CR_TRY(check_elements(call, err));
    return set_out0(call, &call->in[1]->shape, err);
}

cr_status cr_infer_gather_nd(const cr_op_call *call, cr_error *err)
{
    const cr_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    const int64_t batch = cr_attr_int(call->node, "batch_dims", 0);
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_INDEX, err));
    CR_OP_CHECK(data->rank >= 1 && indices->rank >= 1, call, err, "a scalar input");
    CR_OP_CHECK(batch >= 0 && batch < data->rank && batch < indices->rank, call, err,
                "batch_dims of %lld is out of range", (long long)batch);
    const int64_t depth = indices->dim[indices->rank - 1];
    CR_OP_CHECK(depth >= 1 && depth <= data->rank - batch, call, err,
                "tuples of %lld indices for %d dimensions", (long long)depth, data->rank);
    for (int i = 0; i < batch; i++)
        CR_OP_CHECK(data->dim[i] == indices->dim[i], call, err, "batch dimension %d differs", i);
    cr_shape out;
    CR_TRY(join(call, indices, (int)batch, indices, (int)batch, indices->rank - 1, data,
                (int)(batch + depth), &out, err));
    return set_out0(call, &out, err);
}

static cr_status check_reduction(const cr_op_call *call, cr_error *err)
{
    static const char *const known[] = {"none", "add", "mul", "max", "min"};
    const char *name = cr_attr_string(call->node, "reduction", "none");
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i])) continue;
        return i ? cr_op_check_dtype(call, 0, CR_DTS_NUMERIC, err) : CR_OK;
    }
    return cr_op_fail(call, err, CR_ERR_FORMAT, "unknown reduction '%s'", name);
}

cr_status cr_infer_scatter_elements(const cr_op_call *call, cr_error *err)
{
    CR_TRY(check_elements(call, err));
    CR_TRY(check_reduction(call, err));
    CR_OP_CHECK(cr_shape_equal(&call->in[1]->shape, &call->in[2]->shape), call, err,
                "indices and updates differ in shape");
    return set_out0(call, &call->in[0]->shape, err);
}

cr_status cr_infer_scatter_nd(const cr_op_call *call, cr_error *err)
{
    const cr_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_INDEX, err));
    CR_TRY(check_reduction(call, err));
    CR_OP_CHECK(data->rank >= 1 && indices->rank >= 1, call, err, "a scalar input");
    const int64_t depth = indices->dim[indices->rank - 1];
    CR_OP_CHECK(depth >= 1 && depth <= data->rank, call, err,
                "tuples of %lld indices for %d dimensions", (long long)depth, data->rank);
    cr_shape want;
    CR_TRY(join(call, data, 0, indices, 0, indices->rank - 1, data, (int)depth, &want, err));
    char a[160], b[160];
    CR_OP_CHECK(cr_shape_equal(&want, &call->in[2]->shape), call, err, "updates are %s, not %s",
                cr_shape_text(&call->in[2]->shape, a, sizeof a), cr_shape_text(&want, b, sizeof b));
    return set_out0(call, data, err);
}

cr_status cr_infer_compress(const cr_op_call *call, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    const cr_tensor *condition = call->in[1];
    const cr_attr *a = cr_attr_find(call->node, "axis");
    CR_TRY(cr_op_check_dtype(call, 1, CR_DT_BIT(BOOL), err));
    CR_OP_CHECK(condition->shape.rank == 1, call, err, "the condition must be a list");
    int axis = 0;
    cr_shape out = {1, {cr_shape_count(in)}};
    if (a) {
        CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", 0), in->rank, call->node, &axis,
                                 err));
        out = *in;
    }
    const int64_t size = out.dim[axis], flags = condition->shape.dim[0];
    out.dim[axis] = condition->data ? 0 : -1;
    for (int64_t i = 0; condition->data && i < size && i < flags; i++)
        out.dim[axis] += ((const uint8_t *)condition->data)[i] != 0;
    return set_out0(call, &out, err);
}
