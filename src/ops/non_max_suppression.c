/* NonMaxSuppression; the method is in graph/nms_select.c, beside the shape rule that needs it. */
#include "graph/nn_rules.h"
#include "graph/shape.h"
#include "ops/ref_all.h"

cr_status cr_eval_non_max_suppression(const cr_op_call *call, cr_error *err)
{
    cr_tensor *y = call->out[0];
    int64_t count = 0;
    CR_TRY(cr_nms_select(call, y->data, y->shape.dim[0], &count, err));
    CR_OP_CHECK(count == y->shape.dim[0], call, err, "the number of boxes has changed");
    return CR_OK;
}
