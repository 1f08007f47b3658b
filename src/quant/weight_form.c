#include "quant/weight_form.h"

static int channel_axis(const cr_node *n)
{
    const cr_shape *w = &n->in[1]->shape;
    switch (n->op->kind) {
    case CR_OP_Conv: return 0;
    case CR_OP_ConvTranspose: return cr_attr_int(n, "group", 1) == 1 ? 1 : -1;
    case CR_OP_Gemm: return cr_attr_int(n, "transB", 0) ? 0 : 1;
    case CR_OP_MatMul: return w->rank == 2 ? 1 : -1;
    default: return -1;
    }
}

/* The weights' axis of input channels, -1: unknown. */
static int input_axis(const cr_node *n)
{
    const int rank = n->in[1]->shape.rank;
    switch (n->op->kind) {
    case CR_OP_Conv: return 1;
    case CR_OP_ConvTranspose: return 0;
    case CR_OP_Gemm: return cr_attr_int(n, "transB", 0) ? 1 : 0;
    case CR_OP_MatMul: return rank >= 2 ? rank - 2 : -1;
    default: return -1;
    }
}

static cr_dtype type_of(cr_weight_type t)
{
    static const cr_dtype types[] = {
        [CR_WEIGHTS_INT8] = CR_DT_I8,   [CR_WEIGHTS_UINT8] = CR_DT_U8, [CR_WEIGHTS_INT16] = CR_DT_I16,
        [CR_WEIGHTS_INT4] = CR_DT_I4,   [CR_WEIGHTS_UINT4] = CR_DT_U4, [CR_WEIGHTS_INT2] = CR_DT_I2,
        [CR_WEIGHTS_UINT2] = CR_DT_U2,  [CR_WEIGHTS_INT1] = CR_DT_I1};
    return types[t];
}

static bool is_small(cr_dtype t)
{
    return t == CR_DT_I4 || t == CR_DT_U4 || t == CR_DT_I2 || t == CR_DT_U2 || t == CR_DT_I1;
}

/* A layer whose precision is given has that precision; the others follow `weights`, but the first and
 * the last have 8 bits where that says fewer. */
static cr_dtype layer_type(const cr_quantize_options *o, cr_layer_precision precision, bool is_end)
{
    const cr_dtype asked = type_of(o->weights);
    if (precision == CR_LAYER_INT4) return asked == CR_DT_U4 ? CR_DT_U4 : CR_DT_I4;
    const bool eight = precision == CR_LAYER_INT8 || precision == CR_LAYER_INT16 ||
                       (is_end && o->first_last == CR_FIRST_LAST_INT8);
    return eight && is_small(asked) ? CR_DT_I8 : asked;
}

cr_weight_form cr_weight_form_of(const cr_node *n, const cr_quantize_options *o,
                                 cr_layer_precision precision, bool is_end)
{
    cr_weight_form f = {.type = layer_type(o, precision, is_end), .reduced = o->reduce_range};
    const int along = input_axis(n);
    f.axis = o->granularity == CR_PER_CHANNEL ? channel_axis(n) : -1;
    f.least_error = o->weight_scales == CR_SCALES_MSE ||
                    (o->weight_scales == CR_SCALES_AUTO && is_small(f.type));
    if (o->block && is_small(f.type) && along >= 0 && n->in[1]->shape.dim[along] >= o->block) {
        f.axis = along;
        f.block = o->block;
    }
    return f;
}
