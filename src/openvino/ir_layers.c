/* The table of layers, by type and version of the operation set, and the readers of elementwise ones. */
#include <string.h>

#include "base/error.h"
#include "openvino/ir_import.h"

/* ---- elementwise ---- */

typedef struct plain { /* the same operator under another name */
    const char *type;
    cr_op_kind kind;
    int inputs;
} plain;

static const plain plains[] = {
    {"Abs", CR_OP_Abs, 1},         {"Ceiling", CR_OP_Ceil, 1},      {"Cos", CR_OP_Cos, 1},
    {"Erf", CR_OP_Erf, 1},         {"Exp", CR_OP_Exp, 1},           {"Floor", CR_OP_Floor, 1},
    {"HSwish", CR_OP_HardSwish, 1}, {"Log", CR_OP_Log, 1},          {"LogicalNot", CR_OP_Not, 1},
    {"Mish", CR_OP_Mish, 1},       {"Negative", CR_OP_Neg, 1},      {"Relu", CR_OP_Relu, 1},
    {"ReLU", CR_OP_Relu, 1},       {"Sigmoid", CR_OP_Sigmoid, 1},   {"Sign", CR_OP_Sign, 1},
    {"Sin", CR_OP_Sin, 1},         {"SoftPlus", CR_OP_Softplus, 1}, {"SoftSign", CR_OP_Softsign, 1},
    {"Sqrt", CR_OP_Sqrt, 1},       {"Tan", CR_OP_Tan, 1},           {"Tanh", CR_OP_Tanh, 1},
    {"Subtract", CR_OP_Sub, 2},    {"Multiply", CR_OP_Mul, 2},      {"Maximum", CR_OP_Max, 2},
    {"Minimum", CR_OP_Min, 2},     {"Power", CR_OP_Pow, 2},         {"Equal", CR_OP_Equal, 2},
    {"Greater", CR_OP_Greater, 2}, {"GreaterEqual", CR_OP_GreaterOrEqual, 2},
    {"Less", CR_OP_Less, 2},       {"LessEqual", CR_OP_LessOrEqual, 2},
    {"LogicalAnd", CR_OP_And, 2},  {"LogicalOr", CR_OP_Or, 2},      {"LogicalXor", CR_OP_Xor, 2},
    {"Divide", CR_OP_Div, 2},      {"FloorMod", CR_OP_Mod, 2},      {"Select", CR_OP_Where, 3},
    {"Range", CR_OP_Range, 3},
};

static cr_status read_plain(cr_ir_import *m, cr_error *err)
{
    size_t i = 0;
    cr_node *n;
    while (strcmp(plains[i].type, m->l->type)) i++;
    CR_TRY(cr_ir_node(m, plains[i].kind, plains[i].inputs, 1, 0, &n, err));
    for (int k = 0; k < plains[i].inputs; k++) CR_TRY(cr_ir_in(m, (size_t)k, &n->in[k], err));
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

/* C's remainder, with the sign of the dividend; ONNX's Mod of integers has the divisor's unless fmod
 * is asked for. */
static cr_status read_mod(cr_ir_import *m, cr_error *err)
{
    cr_node *n;
    CR_TRY(cr_ir_node(m, CR_OP_Mod, 2, 1, 1, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    CR_TRY(cr_ir_in(m, 1, &n->in[1], err));
    cr_attr_set_int(&n->attrs[0], "fmod", 1);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

static cr_status read_squared_difference(cr_ir_import *m, cr_error *err)
{
    cr_tensor *a, *b, *y;
    CR_TRY(cr_ir_in(m, 0, &a, err));
    CR_TRY(cr_ir_in(m, 1, &b, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Sub, a, b, &y, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Mul, y, y, &y, err));
    return cr_ir_give(m, 0, y, err);
}

/* One input and numbers: from attributes, or from constants of one element at inputs 1, 2. */
static cr_status number_in(cr_ir_import *m, size_t k, float fallback, float *out, cr_error *err)
{
    cr_tensor *t;
    *out = fallback;
    if (!cr_ir_has_in(m, k)) return CR_OK;
    CR_TRY(cr_ir_const_in(m, k, &t, err));
    CR_CHECK(cr_shape_count(&t->shape) == 1, err, CR_ERR_UNSUPPORTED, "input %zu is no single number", k);
    *out = (float)cr_tensor_get_f64(t, 0);
    return CR_OK;
}

static cr_status with_floats(cr_ir_import *m, cr_op_kind kind, const char *a, float x, const char *b,
                             float y, cr_error *err)
{
    cr_node *n;
    CR_TRY(cr_ir_node(m, kind, 1, 1, 2, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    n->n_attrs = 0;
    if (a) cr_attr_set_float(&n->attrs[n->n_attrs++], a, x);
    if (b) cr_attr_set_float(&n->attrs[n->n_attrs++], b, y);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

static cr_status read_swish(cr_ir_import *m, cr_error *err)
{
    float beta;
    CR_TRY(number_in(m, 1, 1, &beta, err));
    return with_floats(m, CR_OP_Swish, "alpha", beta, NULL, 0, err);
}

static cr_status read_elu(cr_ir_import *m, cr_error *err)
{
    float alpha;
    CR_TRY(cr_ir_float(m, "alpha", 1, &alpha, err));
    return with_floats(m, CR_OP_Elu, "alpha", alpha, NULL, 0, err);
}

static cr_status read_hard_sigmoid(cr_ir_import *m, cr_error *err)
{
    float alpha, beta;
    if (!strcmp(m->l->type, "HSigmoid"))
        return with_floats(m, CR_OP_HardSigmoid, "alpha", 1.f / 6, "beta", .5f, err);
    CR_TRY(number_in(m, 1, .2f, &alpha, err));
    CR_TRY(number_in(m, 2, .5f, &beta, err));
    return with_floats(m, CR_OP_HardSigmoid, "alpha", alpha, "beta", beta, err);
}

static cr_status read_gelu(cr_ir_import *m, cr_error *err)
{
    const bool tanh = !strcmp(cr_ir_text(m, "approximation_mode", "ERF"), "TANH") ||
                      !strcmp(cr_ir_text(m, "approximation_mode", "ERF"), "tanh");
    cr_node *n;
    CR_TRY(cr_ir_node(m, CR_OP_Gelu, 1, 1, 1, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    if (!cr_attr_set_string(m->g, &n->attrs[0], "approximate", tanh ? "tanh" : "none"))
        return CR_NOMEM(err);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

static cr_status read_clamp(cr_ir_import *m, cr_error *err)
{
    float low, high;
    cr_node *n;
    CR_TRY(cr_ir_float(m, "min", 0, &low, err));
    CR_TRY(cr_ir_float(m, "max", 0, &high, err));
    CR_TRY(cr_ir_node(m, CR_OP_Clip, 3, 1, 0, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    CR_TRY(cr_ir_scalar(m, low, &n->in[1], err));
    CR_TRY(cr_ir_scalar(m, high, &n->in[2], err));
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

/* A list of slopes belongs to axis 1; ONNX counts from the end. */
static cr_status read_prelu(cr_ir_import *m, cr_error *err)
{
    cr_tensor *x, *slope, *y;
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_TRY(cr_ir_in(m, 1, &slope, err));
    if (slope->data && slope->dtype == CR_DT_F32 && cr_shape_count(&slope->shape) == 1)
        return with_floats(m, CR_OP_LeakyRelu, "alpha", *(const float *)slope->data, NULL, 0, err);
    if (slope->shape.rank == 1 && x->shape.rank > 2) {
        int64_t dims[CR_MAX_RANK] = {slope->shape.dim[0], 1, 1, 1, 1, 1, 1};
        cr_tensor *shape;
        CR_TRY(cr_ir_int_list(m, dims, (size_t)(x->shape.rank - 1), &shape, err));
        CR_TRY(cr_ir_binary(m, CR_OP_Reshape, slope, shape, &slope, err));
    }
    CR_TRY(cr_ir_binary(m, CR_OP_PRelu, x, slope, &y, err));
    return cr_ir_give(m, 0, y, err);
}

static cr_status read_softmax(cr_ir_import *m, cr_error *err)
{
    int64_t axis;
    cr_node *n;
    CR_TRY(cr_ir_int(m, "axis", 1, &axis, err));
    CR_TRY(cr_ir_node(m, !strcmp(m->l->type, "LogSoftmax") ? CR_OP_LogSoftmax : CR_OP_Softmax, 1, 1,
                      1, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    cr_attr_set_int(&n->attrs[0], "axis", axis);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

static cr_status read_round(cr_ir_import *m, cr_error *err)
{
    const char *mode = cr_ir_text(m, "mode", "half_to_even");
    cr_tensor *x, *y;
    CR_CHECK(!strcmp(mode, "half_to_even"), err, CR_ERR_UNSUPPORTED, "mode '%.20s'", mode);
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_TRY(cr_ir_unary(m, CR_OP_Round, x, &y, err));
    return cr_ir_give(m, 0, y, err);
}

static cr_status read_grid_sample(cr_ir_import *m, cr_error *err)
{
    const char *mode = cr_ir_text(m, "mode", "bilinear");
    cr_node *n;
    CR_TRY(cr_ir_node(m, CR_OP_GridSample, 2, 1, 3, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    CR_TRY(cr_ir_in(m, 1, &n->in[1], err));
    if (!strcmp(mode, "bilinear")) mode = "linear";
    if (!strcmp(mode, "bicubic")) mode = "cubic";
    cr_attr_set_int(&n->attrs[0], "align_corners", cr_ir_flag(m, "align_corners", false));
    if (!cr_attr_set_string(m->g, &n->attrs[1], "mode", mode) ||
        !cr_attr_set_string(m->g, &n->attrs[2], "padding_mode", cr_ir_text(m, "padding_mode", "zeros")))
        return CR_NOMEM(err);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

/* ---- the table ---- */

typedef struct row {
    const char *type;
    cr_ir_reader *read;
    int newest; /* operation set whose form of the layer has been checked */
} row;

static const row rows[] = {
    {"Add", cr_ir_read_add, 1},
    {"AvgPool", cr_ir_read_pool, 14},
    {"BatchNormInference", cr_ir_read_batch_norm, 5},
    {"Broadcast", cr_ir_read_broadcast, 3},
    {"Clamp", read_clamp, 1},
    {"Concat", cr_ir_read_concat, 1},
    {"Convert", cr_ir_read_convert, 1},
    {"Convolution", cr_ir_read_convolution, 1},
    {"ConvolutionBackpropData", cr_ir_read_backprop, 1},
    {"DepthToSpace", cr_ir_read_depth_space, 1},
    {"Elu", read_elu, 1},
    {"FakeQuantize", cr_ir_read_fake_quantize, 1},
    {"Gather", cr_ir_read_gather, 8},
    {"Gelu", read_gelu, 7},
    {"GridSample", read_grid_sample, 9},
    {"GroupConvolution", cr_ir_read_group_convolution, 1},
    {"GroupConvolutionBackpropData", cr_ir_read_group_backprop, 1},
    {"HSigmoid", read_hard_sigmoid, 5},
    {"HardSigmoid", read_hard_sigmoid, 1},
    {"Interpolate", cr_ir_read_interpolate, 11},
    {"LogSoftmax", read_softmax, 5},
    {"MatMul", cr_ir_read_matmul, 1},
    {"MaxPool", cr_ir_read_pool, 14},
    {"Mod", read_mod, 1},
    {"PRelu", read_prelu, 1},
    {"PReLU", read_prelu, 1},
    {"Pad", cr_ir_read_pad, 12},
    {"ReduceL1", cr_ir_read_axes, 4},
    {"ReduceL2", cr_ir_read_axes, 4},
    {"ReduceMax", cr_ir_read_axes, 1},
    {"ReduceMean", cr_ir_read_axes, 1},
    {"ReduceMin", cr_ir_read_axes, 1},
    {"ReduceProd", cr_ir_read_axes, 1},
    {"ReduceSum", cr_ir_read_axes, 1},
    {"Reshape", cr_ir_read_reshape, 1},
    {"Round", read_round, 5},
    {"ShapeOf", cr_ir_read_shape, 3},
    {"Slice", cr_ir_read_slice, 8},
    {"SoftMax", read_softmax, 8},
    {"Softmax", read_softmax, 8},
    {"SpaceToDepth", cr_ir_read_depth_space, 1},
    {"Split", cr_ir_read_split, 1},
    {"SquaredDifference", read_squared_difference, 1},
    {"Squeeze", cr_ir_read_axes, 15},
    {"StridedSlice", cr_ir_read_strided_slice, 1},
    {"Swish", read_swish, 4},
    {"Tile", cr_ir_read_tile, 1},
    {"TopK", cr_ir_read_top_k, 11},
    {"Transpose", cr_ir_read_transpose, 1},
    {"Unsqueeze", cr_ir_read_axes, 1},
    {"VariadicSplit", cr_ir_read_variadic_split, 1},
};

enum { NEWEST_PLAIN = 10 }; /* of elementwise layers, which do not change */

cr_ir_reader *cr_ir_find_reader(const cr_ir_layer *l)
{
    if (l->version < 1) return NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].type, l->type)) return l->version <= rows[i].newest ? rows[i].read : NULL;
    for (size_t i = 0; i < sizeof plains / sizeof *plains; i++)
        if (!strcmp(plains[i].type, l->type)) return l->version <= NEWEST_PLAIN ? read_plain : NULL;
    return NULL;
}
