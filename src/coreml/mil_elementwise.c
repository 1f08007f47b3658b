/* Operators that map elements alone: activations, arithmetic, comparisons, casts. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coreml/mil_graph.h"

#define NUMBER(v) cr_coreml_number(w, n, v)
#define IN(k)     cr_coreml_in(w, n, k)

static const cr_shape *out_shape(const cr_node *n)
{
    return &n->out[0]->shape;
}

/* MIL's name of an operator that has one input and no parameter, or two inputs; else NULL. */
static const char *plain_name(cr_op_kind kind)
{
    switch (kind) {
    case CR_OP_Abs:
        return "abs";
    case CR_OP_Acos:
        return "acos";
    case CR_OP_Asin:
        return "asin";
    case CR_OP_Atan:
        return "atan";
    case CR_OP_Atanh:
        return "atanh";
    case CR_OP_Ceil:
        return "ceil";
    case CR_OP_Cos:
        return "cos";
    case CR_OP_Cosh:
        return "cosh";
    case CR_OP_Erf:
        return "erf";
    case CR_OP_Exp:
        return "exp";
    case CR_OP_Floor:
        return "floor";
    case CR_OP_Relu:
        return "relu";
    case CR_OP_Round:
        return "round";
    case CR_OP_Sigmoid:
        return "sigmoid";
    case CR_OP_Sign:
        return "sign";
    case CR_OP_Sin:
        return "sin";
    case CR_OP_Sinh:
        return "sinh";
    case CR_OP_Softplus:
        return "softplus";
    case CR_OP_Softsign:
        return "softsign";
    case CR_OP_Sqrt:
        return "sqrt";
    case CR_OP_Tan:
        return "tan";
    case CR_OP_Tanh:
        return "tanh";
    case CR_OP_Not:
        return "logical_not";
    case CR_OP_Identity:
        return "identity";
    case CR_OP_Add:
        return "add";
    case CR_OP_Sub:
        return "sub";
    case CR_OP_Mul:
        return "mul";
    case CR_OP_Pow:
        return "pow";
    case CR_OP_And:
        return "logical_and";
    case CR_OP_Or:
        return "logical_or";
    case CR_OP_Xor:
        return "logical_xor";
    case CR_OP_Equal:
        return "equal";
    case CR_OP_Greater:
        return "greater";
    case CR_OP_GreaterOrEqual:
        return "greater_equal";
    case CR_OP_Less:
        return "less";
    case CR_OP_LessOrEqual:
        return "less_equal";
    default:
        return NULL;
    }
}

static cr_status plain(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const char *name = plain_name(n->op->kind);
    if (n->op->max_in == 1)
        cr_coreml_emit(w, n, 0, name, CR_ARGS({"x", IN(0)}));
    else
        cr_coreml_emit(w, n, 0, name, CR_ARGS({"x", IN(0)}, {"y", IN(1)}));
    (void)err;
    return CR_OK;
}

/* Those with one or two numbers. */
static cr_status with_numbers(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const char *x = IN(0);
    switch (n->op->kind) {
    case CR_OP_Elu:
        cr_coreml_emit(w, n, 0, "elu",
                       CR_ARGS({"x", x}, {"alpha", NUMBER(cr_attr_float(n, "alpha", 1))}));
        break;
    case CR_OP_LeakyRelu:
        cr_coreml_emit(w, n, 0, "leaky_relu",
                       CR_ARGS({"x", x}, {"alpha", NUMBER(cr_attr_float(n, "alpha", .01F))}));
        break;
    case CR_OP_HardSigmoid:
        cr_coreml_emit(w, n, 0, "sigmoid_hard",
                       CR_ARGS({"x", x}, {"alpha", NUMBER(cr_attr_float(n, "alpha", .2F))},
                               {"beta", NUMBER(cr_attr_float(n, "beta", .5F))}));
        break;
    case CR_OP_Log:
        cr_coreml_emit(w, n, 0, "log", CR_ARGS({"x", x}, {"epsilon", NUMBER(0)}));
        break;
    case CR_OP_Reciprocal:
        cr_coreml_emit(w, n, 0, "real_div", CR_ARGS({"x", NUMBER(1)}, {"y", x}));
        break;
    case CR_OP_Neg:
        cr_coreml_emit(w, n, 0, "mul", CR_ARGS({"x", x}, {"y", NUMBER(-1)}));
        break;
    default: /* Gelu */
        cr_coreml_emit(
            w, n, 0, "gelu",
            CR_ARGS({"x", x},
                    {"mode",
                     cr_mil_string(&w->mil, strcmp(cr_attr_string(n, "approximate", "none"), "tanh")
                                                ? "EXACT"
                                                : "TANH_APPROXIMATION")}));
        break;
    }
    (void)err;
    return CR_OK;
}

static cr_status swish(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const char *x = IN(0);
    const float alpha = cr_attr_float(n, "alpha", 1);
    (void)err;
    if (alpha == 1) {
        cr_coreml_emit(w, n, 0, "silu", CR_ARGS({"x", x}));
        return CR_OK;
    }
    const char *scaled =
        cr_coreml_step(w, n, "mul", out_shape(n), CR_ARGS({"x", x}, {"y", NUMBER(alpha)}));
    const char *gate = cr_coreml_step(w, n, "sigmoid", out_shape(n), CR_ARGS({"x", scaled}));
    cr_coreml_emit(w, n, 0, "mul", CR_ARGS({"x", x}, {"y", gate}));
    return CR_OK;
}

static cr_status gated(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const char *x = IN(0), *gate;
    (void)err;
    if (n->op->kind == CR_OP_HardSwish) {
        gate = cr_coreml_step(w, n, "sigmoid_hard", out_shape(n),
                              CR_ARGS({"x", x}, {"alpha", NUMBER(1.F / 6)}, {"beta", NUMBER(.5F)}));
    } else { /* Mish */
        const char *plus = cr_coreml_step(w, n, "softplus", out_shape(n), CR_ARGS({"x", x}));
        gate = cr_coreml_step(w, n, "tanh", out_shape(n), CR_ARGS({"x", plus}));
    }
    cr_coreml_emit(w, n, 0, "mul", CR_ARGS({"x", x}, {"y", gate}));
    return CR_OK;
}

/* A bound of Clip: absent, a number, or a tensor of one element. */
static bool bound_number(const cr_node *n, int k, float none, float *v)
{
    const cr_tensor *t = n->n_in > k ? n->in[k] : NULL;
    *v = none;
    if (t && t->data) *v = (float)cr_tensor_get_f64(t, 0);
    return !t || t->data;
}

static cr_status clip(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const char *x = IN(0);
    float lo, hi;
    const bool low = bound_number(n, 1, -INFINITY, &lo), high = bound_number(n, 2, INFINITY, &hi);
    if (!low || !high) return cr_coreml_refuse(n, "with bounds that are computed", err);
    const bool floats = cr_dtype_is_float(n->out[0]->dtype);
    if (floats && isfinite(lo) && isfinite(hi))
        cr_coreml_emit(w, n, 0, "clip",
                       CR_ARGS({"x", x}, {"alpha", NUMBER(lo)}, {"beta", NUMBER(hi)}));
    else if (isfinite(lo) && isfinite(hi))
        cr_coreml_emit(w, n, 0, "minimum",
                       CR_ARGS({"x", cr_coreml_step(w, n, "maximum", out_shape(n),
                                                    CR_ARGS({"x", x}, {"y", NUMBER(lo)}))},
                               {"y", NUMBER(hi)}));
    else if (isfinite(lo))
        cr_coreml_emit(w, n, 0, "maximum", CR_ARGS({"x", x}, {"y", NUMBER(lo)}));
    else if (isfinite(hi))
        cr_coreml_emit(w, n, 0, "minimum", CR_ARGS({"x", x}, {"y", NUMBER(hi)}));
    else
        cr_coreml_emit(w, n, 0, "identity", CR_ARGS({"x", x}));
    return CR_OK;
}

static cr_status cast(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_mil_type from = w->values[n->in[0]->id].native;
    const cr_mil_type to = cr_coreml_type(n->out[0]->dtype, cr_coreml_floats(w, n));
    const char *x = cr_coreml_want(w, n->in[0], from ? from : to);
    (void)err;
    cr_coreml_emit(w, n, 0, "cast",
                   CR_ARGS({"x", x}, {"dtype", cr_mil_string(&w->mil, cr_mil_type_name(to))}));
    return CR_OK;
}

/* Whole numbers divide towards zero in ONNX, down in MIL: the same for the sizes and indices that
 * models divide, and refused where it is not known to be. */
static cr_status divide(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    if (!cr_dtype_is_float(n->out[0]->dtype)) return cr_coreml_refuse(n, "of whole numbers", err);
    cr_coreml_emit(w, n, 0, "real_div", CR_ARGS({"x", IN(0)}, {"y", IN(1)}));
    return CR_OK;
}

static cr_status modulo(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    if (cr_attr_int(n, "fmod", 0)) return cr_coreml_refuse(n, "with the sign of the dividend", err);
    cr_coreml_emit(w, n, 0, "mod", CR_ARGS({"x", IN(0)}, {"y", IN(1)}));
    return CR_OK;
}

/* Max, Min, Sum of any number of tensors: one after the other. */
static cr_status variadic(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_kind kind = n->op->kind;
    const char *name = kind == CR_OP_Max ? "maximum" : kind == CR_OP_Min ? "minimum" : "add";
    const char *sum = IN(0);
    (void)err;
    for (int k = 1; k < n->n_in - 1; k++)
        sum = cr_coreml_step(w, n, name, out_shape(n), CR_ARGS({"x", sum}, {"y", IN(k)}));
    if (n->n_in == 1)
        cr_coreml_emit(w, n, 0, "identity", CR_ARGS({"x", sum}));
    else
        cr_coreml_emit(w, n, 0, name, CR_ARGS({"x", sum}, {"y", IN(n->n_in - 1)}));
    return CR_OK;
}

static cr_status prelu(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const char *x = IN(0), *slope = IN(1);
    (void)err;
    const char *up = cr_coreml_step(w, n, "relu", out_shape(n), CR_ARGS({"x", x}));
    const char *down =
        cr_coreml_step(w, n, "minimum", out_shape(n), CR_ARGS({"x", x}, {"y", NUMBER(0)}));
    const char *scaled =
        cr_coreml_step(w, n, "mul", out_shape(n), CR_ARGS({"x", down}, {"y", slope}));
    cr_coreml_emit(w, n, 0, "add", CR_ARGS({"x", up}, {"y", scaled}));
    return CR_OK;
}

static cr_status where(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    (void)err;
    cr_coreml_emit(w, n, 0, "select", CR_ARGS({"cond", IN(0)}, {"a", IN(1)}, {"b", IN(2)}));
    return CR_OK;
}

cr_coreml_writer_of cr_coreml_elementwise(cr_op_kind kind)
{
    if (plain_name(kind)) return plain;
    switch (kind) {
    case CR_OP_Elu:
    case CR_OP_LeakyRelu:
    case CR_OP_HardSigmoid:
    case CR_OP_Log:
    case CR_OP_Reciprocal:
    case CR_OP_Neg:
    case CR_OP_Gelu:
        return with_numbers;
    case CR_OP_Swish:
        return swish;
    case CR_OP_HardSwish:
    case CR_OP_Mish:
        return gated;
    case CR_OP_Clip:
        return clip;
    case CR_OP_Cast:
        return cast;
    case CR_OP_Div:
        return divide;
    case CR_OP_Mod:
        return modulo;
    case CR_OP_Max:
    case CR_OP_Min:
    case CR_OP_Sum:
        return variadic;
    case CR_OP_PRelu:
        return prelu;
    case CR_OP_Where:
        return where;
    default:
        return NULL;
    }
}
