/* Dynamic ranges by pixel: what LiteRT does to the input of a 1x1 convolution whose weights have one
 * scale.
 *
 * Such files are the older converter's. For them no kernel of LiteRT does what DynamicQuantizeLinear
 * says: the built-in ones round inputs symmetrically, and XNNPACK, which applications get, takes a 1x1
 * convolution for a product of matrices and gives each pixel's row of channels a range of its own
 * (larger kernels share one over the picture, as here). Measured on single layers of Ultralytics' file:
 * 3x3 convolutions differ from XNNPACK by 1e-7 of their output, 1x1 ones with one range by up to 1e-2.
 *
 *     lo = min(0, min over channels)   range = max(0, max over channels) - lo   steps = 255 / range
 *     z = round(-lo * steps)           x' = (clamp(round(x * steps) + z, 0, 255) - z) * range / 255
 *
 * ONNX has no integers of that form (scales by pixel of an activation), so x' is computed in floats and
 * goes into a float convolution by the weight's codes times their scale. */
#include "base/error.h"
#include "tflite/tflite_import.h"

static cr_status with_number(cr_tfl_import *m, cr_op_kind kind, cr_tensor *x, float v, cr_tensor **y,
                             cr_error *err)
{
    cr_tensor *number;
    CR_TRY(cr_tfl_float(m, v, &number, err));
    return cr_tfl_binary(m, kind, x, number, y, err);
}

/* The least or largest channel of each pixel, with 0. */
static cr_status end_of(cr_tfl_import *m, cr_tensor *x, bool largest, cr_tensor **y, cr_error *err)
{
    cr_node *n;
    cr_tensor *axes;
    CR_TRY(cr_tfl_int_list(m, (const int64_t[]){1}, 1, &axes, err));
    CR_TRY(cr_tfl_node(m, largest ? CR_OP_ReduceMax : CR_OP_ReduceMin, 2, 1, 1, &n, err));
    n->in[0] = x;
    n->in[1] = axes;
    cr_attr_set_int(&n->attrs[0], "keepdims", 1);
    CR_TRY(cr_node_infer(n, err));
    return with_number(m, largest ? CR_OP_Max : CR_OP_Min, n->out[0], 0, y, err);
}

static cr_status clamp_to_codes(cr_tfl_import *m, cr_tensor *x, cr_tensor **y, cr_error *err)
{
    cr_tensor *low;
    CR_TRY(with_number(m, CR_OP_Max, x, 0, &low, err));
    return with_number(m, CR_OP_Min, low, 255, y, err);
}

cr_status cr_tfl_round_pixels(cr_tfl_import *m, cr_tensor *x, cr_tensor **y, cr_error *err)
{
    const float least = 1e-30f; /* a pixel of zeros stays zero */
    cr_tensor *lo, *hi, *range, *step, *steps, *t, *z;
    CR_TRY(end_of(m, x, false, &lo, err));
    CR_TRY(end_of(m, x, true, &hi, err));
    CR_TRY(cr_tfl_binary(m, CR_OP_Sub, hi, lo, &range, err));
    CR_TRY(with_number(m, CR_OP_Max, range, least, &range, err));
    CR_TRY(with_number(m, CR_OP_Mul, range, 1 / 255.f, &step, err));
    CR_TRY(cr_tfl_unary(m, CR_OP_Reciprocal, step, &steps, err));
    CR_TRY(cr_tfl_binary(m, CR_OP_Mul, lo, steps, &t, err));
    CR_TRY(cr_tfl_unary(m, CR_OP_Neg, t, &t, err));
    CR_TRY(cr_tfl_unary(m, CR_OP_Round, t, &z, err));
    CR_TRY(cr_tfl_binary(m, CR_OP_Mul, x, steps, &t, err));
    CR_TRY(cr_tfl_unary(m, CR_OP_Round, t, &t, err));
    CR_TRY(cr_tfl_binary(m, CR_OP_Add, t, z, &t, err));
    CR_TRY(clamp_to_codes(m, t, &t, err));
    CR_TRY(cr_tfl_binary(m, CR_OP_Sub, t, z, &t, err));
    return cr_tfl_binary(m, CR_OP_Mul, t, step, y, err);
}
