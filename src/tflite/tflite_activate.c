/* Activations that operators of the file carry with them, as nodes of their own. */
#include "base/error.h"
#include "graph/passes.h"
#include "tflite/tflite_import.h"

static cr_status clip(cr_tfl_import *m, cr_tensor *x, float lo, float hi, cr_tensor **y,
                      cr_error *err)
{
    cr_node *n;
    cr_tensor *min, *max;
    CR_TRY(cr_tfl_float(m, lo, &min, err));
    CR_TRY(cr_tfl_float(m, hi, &max, err));
    CR_TRY(cr_tfl_node(m, CR_OP_Clip, 3, 1, 0, &n, err));
    n->in[0] = x;
    n->in[1] = min;
    n->in[2] = max;
    *y = n->out[0];
    return cr_node_infer(n, err);
}

cr_status cr_tfl_activate(cr_tfl_import *m, int64_t activation, cr_tensor *x, cr_tensor **y,
                          cr_error *err)
{
    *y = x;
    switch (activation) {
    case CR_TFL_ACT_NONE:
        return CR_OK;
    case CR_TFL_ACT_RELU:
        return cr_tfl_unary(m, CR_OP_Relu, x, y, err);
    case CR_TFL_ACT_RELU_N1_TO_1:
        return clip(m, x, -1, 1, y, err);
    case CR_TFL_ACT_RELU6:
        return clip(m, x, 0, 6, y, err);
    case CR_TFL_ACT_TANH:
        return cr_tfl_unary(m, CR_OP_Tanh, x, y, err);
    case CR_TFL_ACT_RELU_0_TO_1:
        return clip(m, x, 0, 1, y, err);
    default:
        return cr_fail(err, CR_ERR_UNSUPPORTED, "%s: fused activation %lld is not supported",
                       m->op_name, (long long)activation);
    }
}

cr_status cr_tfl_finish_fused(cr_tfl_import *m, int64_t activation, cr_tensor *y,
                              cr_tfl_layout layout, cr_error *err)
{
    CR_TRY(cr_tfl_activate(m, activation, y, &y, err));
    return cr_tfl_finish(m, 0, y, layout, err);
}
