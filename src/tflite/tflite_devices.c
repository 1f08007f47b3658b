/* Which operators run on an accelerator, and why others do not.
 *
 * Edge TPU: Coral's list of supported operations and their limitations
 * (coral.ai/docs/edgetpu/models-intro): everything 8 bits wide, tensors of at most three dimensions
 * above 1, and per operator what stands in the table. Its compiler may leave more on the CPU, for
 * large tensors above all, and everything behind the first operator that it cannot map.
 *
 * i.MX 8M Plus: the operators that VeriSilicon's TFLite delegate translates (tflite-vx-delegate); 8
 * bits run on its NPU, floats and 16 bits slowly or not at all. */
#include "tflite/tflite_out.h"

enum { TPU = 1, VX = 2, BOTH = 3 };

static int devices_of(cr_tfl_op code)
{
    switch (code) {
    case CR_TFL_ADD:
    case CR_TFL_AVERAGE_POOL_2D:
    case CR_TFL_CONCATENATION:
    case CR_TFL_CONV_2D:
    case CR_TFL_DEPTHWISE_CONV_2D:
    case CR_TFL_FULLY_CONNECTED:
    case CR_TFL_LOGISTIC:
    case CR_TFL_MAX_POOL_2D:
    case CR_TFL_MAXIMUM:
    case CR_TFL_MEAN:
    case CR_TFL_MINIMUM:
    case CR_TFL_MUL:
    case CR_TFL_PAD:
    case CR_TFL_PRELU:
    case CR_TFL_QUANTIZE:
    case CR_TFL_REDUCE_MAX:
    case CR_TFL_REDUCE_MIN:
    case CR_TFL_RELU:
    case CR_TFL_RELU6:
    case CR_TFL_RELU_N1_TO_1:
    case CR_TFL_RESHAPE:
    case CR_TFL_RESIZE_BILINEAR:
    case CR_TFL_RESIZE_NEAREST_NEIGHBOR:
    case CR_TFL_SOFTMAX:
    case CR_TFL_SPACE_TO_DEPTH:
    case CR_TFL_STRIDED_SLICE:
    case CR_TFL_SUB:
    case CR_TFL_SUM:
    case CR_TFL_TANH:
    case CR_TFL_TRANSPOSE_CONV:
        return BOTH;
    case CR_TFL_BATCH_MATMUL:
    case CR_TFL_DEPTH_TO_SPACE:
    case CR_TFL_DEQUANTIZE:
    case CR_TFL_DIV:
    case CR_TFL_ELU:
    case CR_TFL_EXP:
    case CR_TFL_FLOOR:
    case CR_TFL_GATHER:
    case CR_TFL_HARD_SWISH:
    case CR_TFL_LEAKY_RELU:
    case CR_TFL_LOG:
    case CR_TFL_NEG:
    case CR_TFL_POW:
    case CR_TFL_SQRT:
    case CR_TFL_TRANSPOSE:
        return VX;
    default:
        return 0;
    }
}

static bool is_byte(const cr_tfl_tensor *t)
{
    return t->form.type == CR_TFL_I8 || t->form.type == CR_TFL_U8;
}

static const char *wrong_types(const cr_tfl_out *o, const cr_tfl_operator *op)
{
    for (int i = -op->n_out; i < op->n_in; i++) {
        const int index = i < 0 ? op->out[-1 - i] : op->in[i];
        const cr_tfl_tensor *t = index < 0 ? NULL : &o->tensors[index];
        if (!t || t->data) continue; /* tables of axes and sizes are int32 */
        if (t->form.type == CR_TFL_F32) return "it works on floats";
        if (!is_byte(t)) return "it works on 16 bits";
    }
    return NULL;
}

static double option(const cr_tfl_operator *op, int slot, double fallback)
{
    for (int i = 0; i < op->fields; i++)
        if (op->field[i].slot == slot) return op->field[i].value;
    return fallback;
}

static int dims_above_one(const cr_tfl_tensor *t, bool *inner)
{
    int n = 0;
    *inner = true;
    for (int i = 0; i < t->rank; i++) {
        n += t->dim[i] > 1;
        *inner &= t->dim[i] == 1 || i >= t->rank - 3;
    }
    return n;
}

static int64_t elements(const cr_tfl_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

/* The limitations in Coral's table. */
static const char *tpu_refuses(const cr_tfl_out *o, const cr_tfl_operator *op)
{
    const cr_tfl_tensor *in = &o->tensors[op->in[0]], *out = &o->tensors[op->out[0]];
    bool inner;
    if (dims_above_one(in, &inner) > 3 || !inner)
        return "its input has more than three dimensions above 1";
    if (dims_above_one(out, &inner) > 3 || !inner)
        return "its output has more than three dimensions above 1";
    switch (op->code) {
    case CR_TFL_CONV_2D:
        if (option(op, CR_TFL_CONV_DILATION_W, 1) != option(op, CR_TFL_CONV_DILATION_H, 1))
            return "dilations of rows and columns differ";
        return o->tensors[op->in[1]].dim[3] != in->dim[3] ? "it has groups" : NULL;
    case CR_TFL_DEPTHWISE_CONV_2D:
        return option(op, CR_TFL_DW_DILATION_W, 1) != option(op, CR_TFL_DW_DILATION_H, 1)
                   ? "dilations of rows and columns differ"
                   : NULL;
    case CR_TFL_SOFTMAX:
        return dims_above_one(in, &inner) > 1 || elements(in) > 16000
                   ? "only rows of at most 16000 elements, one at a time"
                   : NULL;
    case CR_TFL_STRIDED_SLICE: {
        const int32_t *step = o->tensors[op->in[3]].data;
        for (int i = 0; i < in->rank; i++)
            if (step[i] != 1) return "it takes every so many elements";
        return NULL;
    }
    case CR_TFL_CONCATENATION:
        for (int i = 0; i < op->n_in; i++)
            if (o->tensors[op->in[i]].data) return "one of its inputs is a constant";
        return NULL;
    default:
        return NULL;
    }
}

const char *cr_tfl_device_refuses(const cr_tfl_out *o, const cr_tfl_operator *op, cr_tfl_device d)
{
    const char *why = wrong_types(o, op);
    if (why) return why;
    if (!(devices_of(op->code) & (d == CR_TFL_EDGETPU ? TPU : VX)))
        return "the device has no such operator";
    return d == CR_TFL_EDGETPU ? tpu_refuses(o, op) : NULL;
}
