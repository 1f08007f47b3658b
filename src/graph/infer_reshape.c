/* Shape rules of operators that only rename dimensions: data stay where they are. */
#include "graph/infer_all.h"
#include "graph/shape.h"

/* Reshape's target: 0 copies the input's dim (unless allowzero), one -1 takes what is left. */
static cr_status reshape_to(const cr_op_call *call, const int64_t *want, int rank, cr_shape *out,
                            cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    const bool allow_zero = cr_attr_int(call->node, "allowzero", 0) != 0;
    int rest = -1;
    out->rank = rank;
    for (int i = 0; i < rank; i++) {
        CR_OP_CHECK(want[i] >= -1, call, err, "the target has a size of %lld", (long long)want[i]);
        out->dim[i] = want[i];
        if (want[i] == -1) {
            CR_OP_CHECK(rest < 0, call, err, "the target has more than one -1");
            rest = i;
            out->dim[i] = 1;
        } else if (want[i] == 0 && !allow_zero) {
            CR_OP_CHECK(i < in->rank, call, err, "the target copies dimension %d of %d", i,
                        in->rank);
            out->dim[i] = in->dim[i];
        }
    }
    const int64_t have = cr_shape_count(in), fixed = cr_shape_count(out);
    if (rest >= 0 && fixed > 0 && have >= 0 && have % fixed == 0) out->dim[rest] = have / fixed;
    if (cr_shape_count(out) == have && have >= 0 && (rest < 0 || fixed > 0)) return CR_OK;
    char a[160], b[160];
    if (rest >= 0) out->dim[rest] = -1;
    return cr_op_fail(call, err, CR_ERR_FORMAT, "%s cannot become %s",
                      cr_shape_text(in, a, sizeof a), cr_shape_text(out, b, sizeof b));
}

static cr_status infer_reshape(const cr_op_call *call, cr_shape *out, cr_error *err)
{
    int64_t want[CR_MAX_RANK];
    int count;
    CR_TRY(cr_op_ints(call, 1, CR_MAX_RANK, want, &count, err));
    *out = cr_shape_unknown();
    return count < 0 ? CR_OK : reshape_to(call, want, count, out, err);
}

static cr_status infer_flatten(const cr_op_call *call, cr_shape *out, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    int64_t axis = cr_attr_int(call->node, "axis", 1);
    CR_OP_CHECK(axis >= -in->rank && axis <= in->rank, call, err,
                "axis %lld is out of range for %d dimensions", (long long)axis, in->rank);
    if (axis < 0) axis += in->rank;
    *out = (cr_shape){2, {cr_shape_span(in, 0, (int)axis), cr_shape_span(in, (int)axis, in->rank)}};
    return CR_OK;
}

static cr_status infer_squeeze(const cr_op_call *call, cr_shape *out, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    bool drop[CR_MAX_RANK];
    int count;
    CR_TRY(cr_op_axes(call, 1, in->rank, drop, &count, err));
    *out = cr_shape_unknown();
    if (count < 0) return CR_OK;
    const bool all = !cr_op_in(call, 1);
    out->rank = 0;
    for (int i = 0; i < in->rank; i++) {
        CR_OP_CHECK(!drop[i] || in->dim[i] == 1, call, err, "dimension %d is %lld, not 1", i,
                    (long long)in->dim[i]);
        if (!(drop[i] || (all && in->dim[i] == 1))) out->dim[out->rank++] = in->dim[i];
    }
    return CR_OK;
}

static cr_status infer_unsqueeze(const cr_op_call *call, cr_shape *out, cr_error *err)
{
    const cr_shape *in = &call->in[0]->shape;
    bool insert[CR_MAX_RANK];
    const int64_t added = cr_shape_count(&call->in[1]->shape);
    CR_OP_CHECK(added >= 0 && added + in->rank <= CR_MAX_RANK, call, err, "more than %d dimensions",
                CR_MAX_RANK);
    int count;
    CR_TRY(cr_op_axes(call, 1, in->rank + (int)added, insert, &count, err));
    *out = cr_shape_unknown();
    if (count < 0) return CR_OK;
    out->rank = in->rank + count;
    for (int i = 0, from = 0; i < out->rank; i++) out->dim[i] = insert[i] ? 1 : in->dim[from++];
    return CR_OK;
}

cr_status cr_infer_reshape(const cr_op_call *call, cr_error *err)
{
    cr_shape out;
    switch (call->node->op->kind) {
    case CR_OP_Flatten:
        CR_TRY(infer_flatten(call, &out, err));
        break;
    case CR_OP_Squeeze:
        CR_TRY(infer_squeeze(call, &out, err));
        break;
    case CR_OP_Unsqueeze:
        CR_TRY(infer_unsqueeze(call, &out, err));
        break;
    default:
        CR_TRY(infer_reshape(call, &out, err));
        break;
    }
    return cr_op_set_out(call, 0, call->in[0]->dtype, &out, err);
}
