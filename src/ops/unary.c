/* Elementwise operators with one input: y[i] = f(x[i]). float32 is computed in float32 by libm's
 * float functions, except for the activations that crayon/arith.h defines; float64 in float64,
 * integers exactly. */
#include <math.h>

#include "crayon/arith.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

#define REAL    float
#define UNARY   unary_f32
#define M(name) name##f
#include "ops/unary_math.inc"
#undef REAL
#undef UNARY
#undef M
#define REAL    double
#define UNARY   unary_f64
#define M(name) name
#include "ops/unary_math.inc"
#undef REAL
#undef UNARY
#undef M

/* The (at most two) attributes of each function, with the standard's defaults. */
static void attributes(const cr_node *n, float *a, float *b)
{
    *a = *b = 0;
    switch (n->op->kind) {
    case CR_OP_Celu:
    case CR_OP_Elu:
    case CR_OP_Swish:
    case CR_OP_ThresholdedRelu:
        *a = cr_attr_float(n, "alpha", 1);
        break;
    case CR_OP_LeakyRelu:
        *a = cr_attr_float(n, "alpha", 0.01f);
        break;
    case CR_OP_Gelu:
        *a = !strcmp(cr_attr_string(n, "approximate", "none"), "tanh");
        break;
    case CR_OP_HardSigmoid:
        *a = cr_attr_float(n, "alpha", 0.2f);
        *b = cr_attr_float(n, "beta", 0.5f);
        break;
    case CR_OP_Selu:
        *a = cr_attr_float(n, "alpha", 1.67326319217681884765625f);
        *b = cr_attr_float(n, "gamma", 1.05070102214813232421875f);
        break;
    case CR_OP_Shrink:
        *a = cr_attr_float(n, "lambd", 0.5f);
        *b = cr_attr_float(n, "bias", 0);
        break;
    default:
        break;
    }
}

/* The activations that kernels fuse have one definition, bit for bit. */
static float activation_f32(cr_op_kind kind, float x, float a, float b)
{
    switch (kind) {
    case CR_OP_Sigmoid:
        return cr_sigmoidf(x);
    case CR_OP_HardSigmoid:
        return cr_hard_sigmoidf(x, a, b);
    case CR_OP_HardSwish:
        return cr_hard_swishf(x);
    case CR_OP_Swish:
        return a == 1 ? cr_siluf(x) : unary_f32(kind, x, a, b);
    default:
        return unary_f32(kind, x, a, b);
    }
}

/* x - d for an integer x and a real d, the result cut towards 0; exact where it fits. */
static uint64_t minus_real(int64_t x, double d)
{
    const double whole = floor(d);
    if (!(fabs(whole) < 0x1p62)) return 0;
    const uint64_t r = (uint64_t)x - (uint64_t)(int64_t)whole;
    return whole < d && (int64_t)r > 0 ? r - 1 : r;
}

static uint64_t shrink_int(int64_t x, double size, float lambda, float bias)
{
    if (size < -lambda) return minus_real(x, -bias);
    return size > lambda ? minus_real(x, bias) : 0;
}

static uint64_t unary_int(cr_op_kind kind, const cr_tensor *t, int64_t i, float a, float b)
{
    const int64_t x = cr_load_i64(t, i);
    const bool negative = cr_dtype_is_signed(t->dtype) && x < 0;
    switch (kind) {
    case CR_OP_Abs:
        return negative ? 0 - (uint64_t)x : (uint64_t)x;
    case CR_OP_Neg:
        return 0 - (uint64_t)x;
    case CR_OP_Relu:
        return negative ? 0 : (uint64_t)x;
    case CR_OP_Sign:
        return negative ? UINT64_MAX : x != 0;
    default:
        return shrink_int(x, cr_load_f64(t, i), a, b);
    }
}

cr_status cr_eval_unary(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    cr_tensor *y = call->out[0];
    const cr_op_kind kind = call->node->op->kind;
    const int64_t n = cr_shape_count(&x->shape);
    float a, b;
    attributes(call->node, &a, &b);
    for (int64_t i = 0; i < n; i++) {
        if (x->dtype == CR_DT_F32)
            ((float *)y->data)[i] = activation_f32(kind, ((const float *)x->data)[i], a, b);
        else if (x->dtype == CR_DT_F64)
            ((double *)y->data)[i] = unary_f64(kind, ((const double *)x->data)[i], a, b);
        else
            cr_store_bits(y, i, unary_int(kind, x, i, a, b));
    }
    return CR_OK;
}

cr_status cr_eval_logic_not(const cr_op_call *call, cr_error *err)
{
    const int64_t n = cr_shape_count(&call->in[0]->shape);
    for (int64_t i = 0; i < n; i++) cr_store_bits(call->out[0], i, !cr_load_u64(call->in[0], i));
    return CR_OK;
}

cr_status cr_eval_is_special(const cr_op_call *call, cr_error *err)
{
    const int64_t n = cr_shape_count(&call->in[0]->shape);
    const bool nan = call->node->op->kind == CR_OP_IsNaN;
    const bool low = !nan && cr_attr_int(call->node, "detect_negative", 1);
    const bool high = !nan && cr_attr_int(call->node, "detect_positive", 1);
    for (int64_t i = 0; i < n; i++) {
        const double x = cr_load_f64(call->in[0], i);
        const bool yes = (nan && isnan(x)) || (low && x == -INFINITY) || (high && x == INFINITY);
        cr_store_bits(call->out[0], i, yes);
    }
    return CR_OK;
}

/* min(max(x, low), high): where low > high, high wins. NaN stays. */
cr_status cr_eval_clip(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    const cr_tensor *low = call->n_in > 1 ? call->in[1] : NULL;
    const cr_tensor *high = call->n_in > 2 ? call->in[2] : NULL;
    const int64_t n = cr_shape_count(&x->shape);
    const size_t size = cr_dtype_size(x->dtype);
    const uint64_t low_key = low ? cr_order_key(low, 0) : 0;
    const uint64_t high_key = high ? cr_order_key(high, 0) : UINT64_MAX;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t key = cr_order_key(x, i);
        const bool keep = cr_dtype_is_float(x->dtype) && key == UINT64_MAX;
        if (!keep && high && (key > high_key || low_key > high_key))
            cr_copy_elem(call->out[0]->data, i, high->data, 0, size);
        else if (!keep && low && key < low_key)
            cr_copy_elem(call->out[0]->data, i, low->data, 0, size);
        else
            cr_copy_elem(call->out[0]->data, i, x->data, i, size);
    }
    return CR_OK;
}
