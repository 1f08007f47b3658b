/* Shape rules of rounding in training graphs (train/fake_quant.h). */
#include "graph/infer_all.h"
#include "graph/recipe.h"
#include "graph/shape.h"

static const unsigned reals = CR_DT_BIT(F32) | CR_DT_BIT(F64);

/* Inputs 1 to 4 hold one number per scale, input 5 two. */
static cr_status check_lists(const cr_op_call *call, int64_t scales, cr_error *err)
{
    for (int i = 1; i < call->n_in; i++) {
        const cr_tensor *t = call->in[i];
        if (!t) continue;
        CR_OP_CHECK(cr_shape_count(&t->shape) == scales * (i == 5 ? 2 : 1), call, err,
                    "input %d ('%s') does not fit %lld scales", i, t->name, (long long)scales);
    }
    return CR_OK;
}

cr_status cr_infer_fake_quantize(const cr_op_call *call, cr_error *err)
{
    const cr_shape *x = &call->in[0]->shape;
    const int64_t axis = cr_attr_int(call->node, "axis", -1);
    const int64_t lo = cr_attr_int(call->node, "lo", 0), hi = cr_attr_int(call->node, "hi", 0);
    for (int i = 0; i < call->n_in; i++) {
        CR_TRY(cr_op_check_dtype(call, i, reals, err));
        CR_TRY(cr_op_check_same(call, i, 0, err));
    }
    CR_OP_CHECK(call->in[1] && call->in[2] && call->in[3], call, err, "an input is missing");
    CR_OP_CHECK(cr_shape_known(x), call, err, "the shape of its input is not known");
    CR_OP_CHECK(lo < hi && lo >= -65536 && hi <= 65536, call, err, "%lld to %lld is no range",
                (long long)lo, (long long)hi);
    const int64_t scales = cr_shape_count(&call->in[1]->shape);
    const cr_qparams q = {.axis = axis >= 0 && axis < x->rank ? (int)axis : -1,
                          .count = (size_t)(scales > 0 ? scales : 0),
                          .block = cr_attr_int(call->node, "block", 0)};
    CR_OP_CHECK(q.block >= 0 && (q.axis >= 0 ? cr_q_fits(&q, x) : scales == 1 && !q.block), call,
                err, "%lld scales do not fit its input", (long long)scales);
    CR_TRY(check_lists(call, scales, err));
    return cr_op_set_out(call, 0, call->in[0]->dtype, x, err);
}

cr_status cr_infer_fake_bias(const cr_op_call *call, cr_error *err)
{
    int64_t n[5];
    for (int i = 0; i < 5; i++) {
        CR_OP_CHECK(call->in[i], call, err, "input %d is missing", i);
        CR_TRY(cr_op_check_dtype(call, i, reals, err));
        CR_TRY(cr_op_check_same(call, i, 0, err));
        n[i] = cr_shape_count(&call->in[i]->shape);
        CR_OP_CHECK(n[i] > 0 && n[0] % n[i] == 0, call, err, "%lld values for %lld channels",
                    (long long)n[i], (long long)n[0]);
    }
    CR_OP_CHECK(n[1] == n[2] && n[3] == n[4], call, err, "scales and factors differ in number");
    return cr_op_set_out(call, 0, call->in[0]->dtype, &call->in[0]->shape, err);
}
