/* Layers that work element by element. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "ncnn/ncnn_out.h"

/* ---- one input ---- */

/* Operators that are a layer without parameters, or a UnaryOp of this number. */
static const struct {
    cr_op_kind kind;
    const char *type;
    int number; /* -1: a layer of its own */
} plain[] = {
    {CR_OP_Relu, "ReLU", -1},        {CR_OP_Sigmoid, "Sigmoid", -1}, {CR_OP_Tanh, "TanH", -1},
    {CR_OP_Mish, "Mish", -1},        {CR_OP_Softplus, "Softplus", -1}, {CR_OP_Erf, "Erf", -1},
    {CR_OP_Abs, "UnaryOp", 0},       {CR_OP_Neg, "UnaryOp", 1},      {CR_OP_Floor, "UnaryOp", 2},
    {CR_OP_Ceil, "UnaryOp", 3},      {CR_OP_Sqrt, "UnaryOp", 5},     {CR_OP_Exp, "UnaryOp", 7},
    {CR_OP_Log, "UnaryOp", 8},       {CR_OP_Sin, "UnaryOp", 9},      {CR_OP_Cos, "UnaryOp", 10},
    {CR_OP_Tan, "UnaryOp", 11},      {CR_OP_Asin, "UnaryOp", 12},    {CR_OP_Acos, "UnaryOp", 13},
    {CR_OP_Atan, "UnaryOp", 14},     {CR_OP_Reciprocal, "UnaryOp", 15},
    {CR_OP_Round, "UnaryOp", 18},
};

static cr_status put_plain(cr_ncnn_out *w, cr_error *err)
{
    size_t k = 0;
    int in;
    while (plain[k].kind != w->n->op->kind) k++;
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, plain[k].type, in);
    return l && (plain[k].number < 0 || cr_ncnn_int(w, l, 0, plain[k].number)) ? CR_OK : CR_NOMEM(err);
}

/* Layers whose parameters 0 and 1 are attributes. */
static const struct {
    cr_op_kind kind;
    const char *type, *name[2];
    float usual[2];
} shaped[] = {
    {CR_OP_LeakyRelu, "ReLU", {"alpha"}, {.01f}},
    {CR_OP_Elu, "ELU", {"alpha"}, {1}},
    {CR_OP_Celu, "CELU", {"alpha"}, {1}},
    {CR_OP_Selu, "SELU", {"alpha", "gamma"}, {1.67326319f, 1.05070102f}},
    {CR_OP_HardSigmoid, "HardSigmoid", {"alpha", "beta"}, {.2f, .5f}},
    {CR_OP_HardSwish, "HardSwish", {"", ""}, {1 / 6.f, .5f}},
};

static cr_status put_shaped(cr_ncnn_out *w, cr_error *err)
{
    size_t k = 0;
    int in;
    while (shaped[k].kind != w->n->op->kind) k++;
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, shaped[k].type, in);
    for (int i = 0; l && i < 2 && shaped[k].name[i]; i++)
        if (!cr_ncnn_float(w, l, i, cr_attr_float(w->n, shaped[k].name[i], shaped[k].usual[i]))) l = NULL;
    return l ? CR_OK : CR_NOMEM(err);
}

static cr_status put_gelu(cr_ncnn_out *w, cr_error *err)
{
    const bool tanh_form = !strcmp(cr_attr_string(w->n, "approximate", "none"), "tanh");
    int in;
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "GELU", in);
    return l && cr_ncnn_int(w, l, 0, tanh_form) ? CR_OK : CR_NOMEM(err);
}

static cr_status put_clip(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    float bounds[2] = {-FLT_MAX, FLT_MAX};
    int in;
    for (int k = 1; k < 3; k++) {
        const cr_tensor *t = k < n->n_in ? n->in[k] : NULL;
        CR_CHECK(!t || (t->data && cr_shape_count(&t->shape) == 1), err, CR_ERR_UNSUPPORTED,
                 "with computed bounds");
        if (t) bounds[k - 1] = (float)cr_tensor_get_f64(t, 0);
    }
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "Clip", in);
    return l && cr_ncnn_float(w, l, 0, bounds[0]) && cr_ncnn_float(w, l, 1, bounds[1]) ? CR_OK
                                                                                    : CR_NOMEM(err);
}

/* x * sigmoid(alpha * x): a layer for alpha 1. */
static cr_status put_swish(cr_ncnn_out *w, cr_error *err)
{
    const float alpha = cr_attr_float(w->n, "alpha", 1);
    int in;
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    if (alpha == 1) return cr_ncnn_outer(w, "Swish", in) ? CR_OK : CR_NOMEM(err);
    cr_ncnn_layer *scaled = cr_ncnn_layer_add(w, "BinaryOp", 1, 1);
    if (!scaled || !cr_ncnn_int(w, scaled, 0, 2) || !cr_ncnn_int(w, scaled, 1, 1) ||
        !cr_ncnn_float(w, scaled, 2, alpha) || cr_ncnn_inner(w, scaled, 0, "scaled") < 0)
        return CR_NOMEM(err);
    scaled->in[0] = in;
    cr_ncnn_layer *gate = cr_ncnn_layer_add(w, "Sigmoid", 1, 1);
    if (!gate || cr_ncnn_inner(w, gate, 0, "gate") < 0) return CR_NOMEM(err);
    gate->in[0] = scaled->out[0];
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "BinaryOp", 2, 1);
    if (!l || !cr_ncnn_int(w, l, 0, 2) || !cr_ncnn_gives(w, l, 0, w->n->out[0])) return CR_NOMEM(err);
    l->in[0] = in;
    l->in[1] = gate->out[0];
    return CR_OK;
}

/* ---- two inputs ---- */

enum { ADD, SUB, MUL, DIV, MAX, MIN, POW, SUB_TURNED, DIV_TURNED };

static int binary_of(cr_op_kind kind)
{
    switch (kind) {
    case CR_OP_Add:
    case CR_OP_Sum: return ADD;
    case CR_OP_Sub: return SUB;
    case CR_OP_Mul: return MUL;
    case CR_OP_Div: return DIV;
    case CR_OP_Max: return MAX;
    case CR_OP_Min: return MIN;
    default: return POW;
    }
}

static int turned_of(int op)
{
    return op == SUB ? SUB_TURNED : op == DIV ? DIV_TURNED : op;
}

/* ncnn's vector code makes powers of logarithms, which negative numbers have none of: that is what
 * ONNX gives, too, unless the exponent is whole. */
static cr_status put_power(cr_ncnn_out *w, const cr_tensor *exponent, bool *done, cr_error *err)
{
    const double e = cr_tensor_get_f64(exponent, 0);
    int in;
    *done = e == 2;
    CR_CHECK(e == 2 || e != floor(e), err, CR_ERR_UNSUPPORTED, "to the power of %g", e);
    if (e != 2) return CR_OK;
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "UnaryOp", in);
    return l && cr_ncnn_int(w, l, 0, 4) ? CR_OK : CR_NOMEM(err);
}

static bool is_number(const cr_tensor *t)
{
    return t->data && cr_shape_count(&t->shape) == 1;
}

static cr_status put_with_number(cr_ncnn_out *w, int op, const cr_tensor *x, const cr_tensor *number,
                                 cr_error *err)
{
    int64_t dims[CR_NCNN_MAX_AXES];
    int in;
    CR_TRY(cr_ncnn_blob_as(w, x, cr_ncnn_axes(&w->n->out[0]->shape, dims), &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "BinaryOp", in);
    return l && cr_ncnn_int(w, l, 0, op) && cr_ncnn_int(w, l, 1, 1) &&
                   cr_ncnn_float(w, l, 2, (float)cr_tensor_get_f64(number, 0))
               ? CR_OK
               : CR_NOMEM(err);
}

static int64_t length_of(const cr_shape *s, int from_last)
{
    return from_last < s->rank ? s->dim[s->rank - 1 - from_last] : 1;
}

/* ncnn repeats one of two blobs, not both. */
static bool one_is_whole(const cr_tensor *a, const cr_tensor *b, const cr_shape *out)
{
    bool whole_a = true, whole_b = true;
    for (int i = 0; i < out->rank; i++) {
        const int64_t n = length_of(out, i);
        whole_a = whole_a && length_of(&a->shape, i) == n;
        whole_b = whole_b && length_of(&b->shape, i) == n;
    }
    return whole_a || whole_b;
}

static cr_status put_binary(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_tensor *a = n->in[0], *b = n->n_in > 1 ? n->in[1] : NULL;
    const cr_shape *y = &n->out[0]->shape;
    const int op = binary_of(n->op->kind);
    int64_t dims[CR_NCNN_MAX_AXES];
    const int axes = cr_ncnn_axes(y, dims);
    int in[2];
    if (n->n_in == 1) return cr_ncnn_put_alias(w, err);
    CR_CHECK(n->n_in == 2, err, CR_ERR_UNSUPPORTED, "of more than two tensors");
    bool done = false;
    if (op == POW && is_number(b)) CR_TRY(put_power(w, b, &done, err));
    CR_CHECK(op != POW || is_number(b), err, CR_ERR_UNSUPPORTED, "to a power that is no number");
    if (done) return CR_OK;
    if (is_number(b)) return put_with_number(w, op, a, b, err);
    if (is_number(a)) return put_with_number(w, turned_of(op), b, a, err);
    CR_CHECK(one_is_whole(a, b, y), err, CR_ERR_UNSUPPORTED,
             "of two tensors that are both repeated");
    CR_TRY(cr_ncnn_blob_as(w, a, axes, &in[0], err));
    CR_TRY(cr_ncnn_blob_as(w, b, axes, &in[1], err));
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "BinaryOp", 2, 1);
    if (!l || !cr_ncnn_int(w, l, 0, op) || !cr_ncnn_gives(w, l, 0, n->out[0])) return CR_NOMEM(err);
    memcpy(l->in, in, sizeof in);
    return CR_OK;
}

/* One slope, or one per channel. */
static cr_status put_prelu(cr_ncnn_out *w, cr_error *err)
{
    const cr_tensor *x = w->n->in[0], *slope = w->n->in[1];
    const int64_t n = cr_shape_count(&slope->shape);
    int in;
    CR_CHECK(slope->data && slope->dtype == CR_DT_F32 &&
                 (n == 1 || (cr_ncnn_batch(&x->shape) && n == x->shape.dim[1] &&
                             length_of(&slope->shape, x->shape.rank - 2) == n)),
             err, CR_ERR_UNSUPPORTED, "with slopes that are not one per channel");
    CR_TRY(cr_ncnn_blob_of(w, x, &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "PReLU", in);
    if (!l || !cr_ncnn_int(w, l, 0, n)) return CR_NOMEM(err);
    cr_ncnn_put_floats(w, slope->data, (size_t)n);
    return CR_OK;
}

cr_ncnn_put *cr_ncnn_elementwise(const cr_node *n)
{
    for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
        if (plain[k].kind == n->op->kind) return put_plain;
    for (size_t k = 0; k < sizeof shaped / sizeof *shaped; k++)
        if (shaped[k].kind == n->op->kind) return put_shaped;
    switch (n->op->kind) {
    case CR_OP_Gelu: return put_gelu;
    case CR_OP_Clip: return put_clip;
    case CR_OP_Swish: return put_swish;
    case CR_OP_PRelu: return put_prelu;
    case CR_OP_Add:
    case CR_OP_Sub:
    case CR_OP_Mul:
    case CR_OP_Div:
    case CR_OP_Max:
    case CR_OP_Min:
    case CR_OP_Sum:
    case CR_OP_Pow: return put_binary;
    default: return NULL;
    }
}
