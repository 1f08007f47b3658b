/* The table of operators, and the layers of elementwise ones. */
#include <float.h>
#include <string.h>

#include "base/error.h"
#include "openvino/ir_out.h"

enum { MAX_IN = 3 };

/* ---- the same operator under another name ---- */

typedef struct plain {
    cr_op_kind kind;
    const char *type;
    int opset, inputs;
} plain;

static const plain plains[] = {
    {CR_OP_Abs, "Abs", 1, 1},           {CR_OP_Ceil, "Ceiling", 1, 1},
    {CR_OP_Cos, "Cos", 1, 1},           {CR_OP_Erf, "Erf", 1, 1},
    {CR_OP_Exp, "Exp", 1, 1},           {CR_OP_Floor, "Floor", 1, 1},
    {CR_OP_HardSwish, "HSwish", 4, 1},  {CR_OP_Log, "Log", 1, 1},
    {CR_OP_Not, "LogicalNot", 1, 1},    {CR_OP_Mish, "Mish", 4, 1},
    {CR_OP_Neg, "Negative", 1, 1},      {CR_OP_Relu, "ReLU", 1, 1},
    {CR_OP_Sigmoid, "Sigmoid", 1, 1},   {CR_OP_Sign, "Sign", 1, 1},
    {CR_OP_Sin, "Sin", 1, 1},           {CR_OP_Softplus, "SoftPlus", 4, 1},
    {CR_OP_Softsign, "SoftSign", 9, 1}, {CR_OP_Sqrt, "Sqrt", 1, 1},
    {CR_OP_Tan, "Tan", 1, 1},           {CR_OP_Tanh, "Tanh", 1, 1},
    {CR_OP_Add, "Add", 1, 2},           {CR_OP_Sub, "Subtract", 1, 2},
    {CR_OP_Mul, "Multiply", 1, 2},      {CR_OP_Div, "Divide", 1, 2},
    {CR_OP_Pow, "Power", 1, 2},         {CR_OP_Equal, "Equal", 1, 2},
    {CR_OP_Greater, "Greater", 1, 2},   {CR_OP_GreaterOrEqual, "GreaterEqual", 1, 2},
    {CR_OP_Less, "Less", 1, 2},         {CR_OP_LessOrEqual, "LessEqual", 1, 2},
    {CR_OP_And, "LogicalAnd", 1, 2},    {CR_OP_Or, "LogicalOr", 1, 2},
    {CR_OP_Xor, "LogicalXor", 1, 2},    {CR_OP_Where, "Select", 1, 3},
};

static const plain *find_plain(const cr_node *n)
{
    for (size_t i = 0; i < sizeof plains / sizeof *plains; i++)
        if (plains[i].kind == n->op->kind) return &plains[i];
    return NULL;
}

static cr_status put_plain(cr_ir_out *w, cr_error *err)
{
    const plain *p = find_plain(w->n);
    cr_ir_ref in[MAX_IN];
    CR_TRY(cr_ir_refs_in(w, in, p->inputs, err));
    cr_ir_outer(w, p->type, p->opset, p->inputs > 1 ? "auto_broadcast=\"numpy\"" : NULL, in, p->inputs);
    return CR_OK;
}

/* Any number of inputs, two at a time. */
static cr_status put_variadic(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const char *type = n->op->kind == CR_OP_Max   ? "Maximum"
                       : n->op->kind == CR_OP_Min ? "Minimum"
                                                  : "Add";
    cr_ir_ref in[2];
    CR_CHECK(n->n_in > 1, err, CR_ERR_UNSUPPORTED, "with one input");
    CR_TRY(cr_ir_refs_in(w, in, 2, err));
    for (int k = 2; k < n->n_in; k++) {
        in[0] = cr_ir_inner(w, type, 1, "part", "auto_broadcast=\"numpy\"", in, 2, n->out[0]->dtype,
                            &n->out[0]->shape);
        CR_TRY(cr_ir_ref_of(w, n->in[k], &in[1], err));
    }
    cr_ir_outer(w, type, 1, "auto_broadcast=\"numpy\"", in, 2);
    return CR_OK;
}

/* ---- one input and numbers ---- */

static cr_status put_with_attrs(cr_ir_out *w, const char *type, int opset, const char *attrs,
                                cr_error *err)
{
    cr_ir_ref in;
    CR_TRY(cr_ir_ref_of(w, w->n->in[0], &in, err));
    cr_ir_outer(w, type, opset, attrs, &in, 1);
    return CR_OK;
}

static cr_status put_swish(cr_ir_out *w, cr_error *err)
{
    cr_ir_ref in[2];
    const float alpha = cr_attr_float(w->n, "alpha", 1);
    CR_TRY(cr_ir_ref_of(w, w->n->in[0], &in[0], err));
    if (alpha != 1) in[1] = cr_ir_const_float(w, "beta", alpha);
    cr_ir_outer(w, "Swish", 4, NULL, in, alpha != 1 ? 2 : 1);
    return CR_OK;
}

static cr_status put_elu(cr_ir_out *w, cr_error *err)
{
    char attrs[64];
    snprintf(attrs, sizeof attrs, "alpha=\"%.9g\"", cr_attr_float(w->n, "alpha", 1));
    return put_with_attrs(w, "Elu", 1, attrs, err);
}

static cr_status put_hard_sigmoid(cr_ir_out *w, cr_error *err)
{
    cr_ir_ref in[3];
    CR_TRY(cr_ir_ref_of(w, w->n->in[0], &in[0], err));
    in[1] = cr_ir_const_float(w, "alpha", cr_attr_float(w->n, "alpha", .2f));
    in[2] = cr_ir_const_float(w, "beta", cr_attr_float(w->n, "beta", .5f));
    cr_ir_outer(w, "HardSigmoid", 1, NULL, in, 3);
    return CR_OK;
}

static cr_status put_gelu(cr_ir_out *w, cr_error *err)
{
    const bool tanh = !strcmp(cr_attr_string(w->n, "approximate", "none"), "tanh");
    return put_with_attrs(w, "Gelu", 7, tanh ? "approximation_mode=\"TANH\"" : "approximation_mode=\"ERF\"",
                          err);
}

static cr_status put_softmax(cr_ir_out *w, cr_error *err)
{
    char attrs[64];
    const bool log = w->n->op->kind == CR_OP_LogSoftmax;
    snprintf(attrs, sizeof attrs, "axis=\"%lld\"", (long long)cr_attr_int(w->n, "axis", -1));
    return put_with_attrs(w, log ? "LogSoftmax" : "SoftMax", log ? 5 : 8, attrs, err);
}

static cr_status put_round(cr_ir_out *w, cr_error *err)
{
    return put_with_attrs(w, "Round", 5, "mode=\"half_to_even\"", err);
}

/* The bound at input k; what float32 ends at if it is absent. */
static cr_status bound(const cr_ir_out *w, int k, double fallback, double *out, cr_error *err)
{
    const cr_tensor *t = k < w->n->n_in ? w->n->in[k] : NULL;
    *out = fallback;
    if (!t) return CR_OK;
    CR_CHECK(t->data && cr_shape_count(&t->shape) == 1, err, CR_ERR_UNSUPPORTED, "a computed bound");
    *out = cr_tensor_get_f64(t, 0);
    return CR_OK;
}

static cr_status put_clip(cr_ir_out *w, cr_error *err)
{
    double low, high;
    char attrs[96];
    CR_TRY(bound(w, 1, -(double)FLT_MAX, &low, err));
    CR_TRY(bound(w, 2, (double)FLT_MAX, &high, err));
    CR_CHECK(low <= high, err, CR_ERR_UNSUPPORTED, "an empty range");
    snprintf(attrs, sizeof attrs, "min=\"%.9g\" max=\"%.9g\"", low, high);
    return put_with_attrs(w, "Clamp", 1, attrs, err);
}

static cr_status put_leaky(cr_ir_out *w, cr_error *err)
{
    const float alpha = cr_attr_float(w->n, "alpha", .01f);
    const cr_shape one = {1, {1}};
    cr_ir_ref in[2];
    CR_TRY(cr_ir_ref_of(w, w->n->in[0], &in[0], err));
    in[1] = cr_ir_const(w, cr_ir_stem(w, w->n->out[0], "slope"), CR_DT_F32, &one, &alpha, sizeof alpha);
    cr_ir_outer(w, "PReLU", 1, NULL, in, 2);
    return CR_OK;
}

/* A list of slopes is along axis 1. */
static cr_status put_prelu(cr_ir_out *w, cr_error *err)
{
    const cr_tensor *x = w->n->in[0], *s = w->n->in[1];
    const int64_t n = cr_shape_count(&s->shape);
    const cr_shape list = {1, {n}};
    const bool by_channel = n == 1 || (s->shape.rank > 0 && x->shape.rank == s->shape.rank + 1 &&
                                       s->shape.dim[0] == n && x->shape.dim[1] == n);
    CR_CHECK(s->data && s->dtype == CR_DT_F32 && by_channel, err, CR_ERR_UNSUPPORTED,
             "slopes other than one per channel");
    cr_ir_ref in[2];
    CR_TRY(cr_ir_ref_of(w, x, &in[0], err));
    in[1] = cr_ir_const_floats(w, cr_ir_stem(w, w->n->out[0], "slope"), &list, s->data);
    cr_ir_outer(w, "PReLU", 1, NULL, in, 2);
    return CR_OK;
}

static cr_status put_reciprocal(cr_ir_out *w, cr_error *err)
{
    cr_ir_ref in[2];
    in[0] = cr_ir_const_float(w, "one", 1);
    CR_TRY(cr_ir_ref_of(w, w->n->in[0], &in[1], err));
    cr_ir_outer(w, "Divide", 1, "auto_broadcast=\"numpy\"", in, 2);
    return CR_OK;
}

static cr_status put_mod(cr_ir_out *w, cr_error *err)
{
    cr_ir_ref in[2];
    CR_TRY(cr_ir_refs_in(w, in, 2, err));
    cr_ir_outer(w, cr_attr_int(w->n, "fmod", 0) ? "Mod" : "FloorMod", 1, "auto_broadcast=\"numpy\"", in,
                2);
    return CR_OK;
}

static cr_status put_cast(cr_ir_out *w, cr_error *err)
{
    static const struct {
        cr_dtype type;
        const char *attrs;
    } to[] = {{CR_DT_F32, "destination_type=\"f32\""}, {CR_DT_I64, "destination_type=\"i64\""},
              {CR_DT_I32, "destination_type=\"i32\""}, {CR_DT_BOOL, "destination_type=\"boolean\""},
              {CR_DT_U8, "destination_type=\"u8\""},   {CR_DT_I8, "destination_type=\"i8\""}};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        if (to[i].type == w->n->out[0]->dtype) return put_with_attrs(w, "Convert", 1, to[i].attrs, err);
    return cr_fail(err, CR_ERR_UNSUPPORTED, "to type %s", cr_dtype_key(w->n->out[0]->dtype));
}

static cr_status put_grid_sample(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const char *mode = cr_attr_string(n, "mode", "linear");
    char attrs[128];
    cr_ir_ref in[2];
    CR_CHECK(n->in[0]->shape.rank == 4, err, CR_ERR_UNSUPPORTED, "of %d axes", n->in[0]->shape.rank);
    CR_TRY(cr_ir_refs_in(w, in, 2, err));
    snprintf(attrs, sizeof attrs, "align_corners=\"%s\" mode=\"%s\" padding_mode=\"%.16s\"",
             cr_attr_int(n, "align_corners", 0) ? "true" : "false",
             !strcmp(mode, "linear")  ? "bilinear"
             : !strcmp(mode, "cubic") ? "bicubic"
                                      : "nearest",
             cr_attr_string(n, "padding_mode", "zeros"));
    cr_ir_outer(w, "GridSample", 9, attrs, in, 2);
    return CR_OK;
}

/* No layer, unless it has to give an output its name. */
static cr_status put_identity(cr_ir_out *w, cr_error *err)
{
    const cr_tensor *y = w->n->out[0];
    if (cr_ir_is_output(w->g, y)) return put_cast(w, err);
    return cr_ir_ref_of(w, w->n->in[0], &w->refs[y->id], err);
}

/* ---- the table ---- */

typedef struct row {
    cr_op_kind kind;
    cr_ir_put *put;
} row;

static const row rows[] = {
    {CR_OP_AveragePool, cr_ir_put_pool},       {CR_OP_BatchNormalization, cr_ir_put_batch_norm},
    {CR_OP_Cast, put_cast},                    {CR_OP_Clip, put_clip},
    {CR_OP_Concat, cr_ir_put_concat},          {CR_OP_Conv, cr_ir_put_conv},
    {CR_OP_ConvTranspose, cr_ir_put_conv},     {CR_OP_DepthToSpace, cr_ir_put_depth_space},
    {CR_OP_Elu, put_elu},                      {CR_OP_Expand, cr_ir_put_expand},
    {CR_OP_Flatten, cr_ir_put_flatten},        {CR_OP_Gather, cr_ir_put_gather},
    {CR_OP_Gelu, put_gelu},                    {CR_OP_Gemm, cr_ir_put_gemm},
    {CR_OP_GlobalAveragePool, cr_ir_put_global_pool},
    {CR_OP_GlobalMaxPool, cr_ir_put_global_pool},
    {CR_OP_GridSample, put_grid_sample},
    {CR_OP_HardSigmoid, put_hard_sigmoid},     {CR_OP_Identity, put_identity},
    {CR_OP_LeakyRelu, put_leaky},              {CR_OP_LogSoftmax, put_softmax},
    {CR_OP_MatMul, cr_ir_put_matmul},          {CR_OP_Max, put_variadic},
    {CR_OP_MaxPool, cr_ir_put_pool},           {CR_OP_Min, put_variadic},
    {CR_OP_Mod, put_mod},                      {CR_OP_PRelu, put_prelu},
    {CR_OP_Pad, cr_ir_put_pad},                {CR_OP_Reciprocal, put_reciprocal},
    {CR_OP_ReduceL1, cr_ir_put_reduce},        {CR_OP_ReduceL2, cr_ir_put_reduce},
    {CR_OP_ReduceMax, cr_ir_put_reduce},       {CR_OP_ReduceMean, cr_ir_put_reduce},
    {CR_OP_ReduceMin, cr_ir_put_reduce},       {CR_OP_ReduceProd, cr_ir_put_reduce},
    {CR_OP_ReduceSum, cr_ir_put_reduce},       {CR_OP_Reshape, cr_ir_put_reshape},
    {CR_OP_Resize, cr_ir_put_resize},          {CR_OP_Round, put_round},
    {CR_OP_Slice, cr_ir_put_slice},            {CR_OP_Softmax, put_softmax},
    {CR_OP_SpaceToDepth, cr_ir_put_depth_space}, {CR_OP_Split, cr_ir_put_split},
    {CR_OP_Squeeze, cr_ir_put_axes},           {CR_OP_Sum, put_variadic},
    {CR_OP_Swish, put_swish},                  {CR_OP_Tile, cr_ir_put_tile},
    {CR_OP_TopK, cr_ir_put_top_k},             {CR_OP_Transpose, cr_ir_put_transpose},
    {CR_OP_Unsqueeze, cr_ir_put_axes},
};

cr_ir_put *cr_ir_find_put(const cr_node *n)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].kind == n->op->kind) return rows[i].put;
    return find_plain(n) ? put_plain : NULL;
}
