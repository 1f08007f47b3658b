/* Elementwise operators with two broadcast inputs. See elem.h for the three classes in which they
 * compute; division by an integer 0 is the one thing that fails. */
#include <math.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

/* The remainder with C's sign, or with the divisor's (as numpy's %). */
static double modulo_float(double a, double b, bool c_sign)
{
    const double r = fmod(a, b);
    if (c_sign || isnan(r) || isnan(b)) return r;
    if (r == 0) return copysign(0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}

static double binary_float(cr_op_kind kind, double a, double b, bool flag)
{
    switch (kind) {
    case CR_OP_Add:
        return a + b;
    case CR_OP_Sub:
        return a - b;
    case CR_OP_Mul:
        return a * b;
    case CR_OP_Div:
        return a / b;
    case CR_OP_Pow:
        return pow(a, b);
    case CR_OP_Mod:
        return modulo_float(a, b, flag);
    default:
        return a < 0 ? a * b : a; /* PRelu */
    }
}

/* a^b by squaring, wrapping. Below 0 only powers of 1 and -1 are not 0 as integers. */
static uint64_t power(uint64_t a, uint64_t b, bool negative)
{
    if (negative && a != 1 && a != UINT64_MAX) return 0;
    uint64_t r = 1;
    for (; b; b >>= 1, a *= a)
        if (b & 1) r *= a;
    return r;
}

/* C's / and % on int64 without its one overflow. b is not 0. */
static uint64_t divide(int64_t a, int64_t b)
{
    return b == -1 ? 0 - (uint64_t)a : (uint64_t)(a / b);
}

static uint64_t modulo(int64_t a, int64_t b, bool c_sign)
{
    int64_t r = b == -1 ? 0 : a % b;
    if (!c_sign && r && (r < 0) != (b < 0)) r += b; /* the divisor's sign, as Python's % */
    return (uint64_t)r;
}

/* Shifts by less than 0 or by the width and more leave nothing but the sign. */
static uint64_t shift(int64_t a, int64_t b, bool left)
{
    const bool out = b < 0 || b > 63;
    if (left) return out ? 0 : (uint64_t)a << b;
    const uint64_t sign = a < 0 ? UINT64_MAX : 0;
    return out ? sign : (((uint64_t)a ^ sign) >> b) ^ sign;
}

static uint64_t binary_signed(cr_op_kind kind, int64_t a, int64_t b, bool flag)
{
    switch (kind) {
    case CR_OP_Add:
        return (uint64_t)a + (uint64_t)b;
    case CR_OP_Sub:
        return (uint64_t)a - (uint64_t)b;
    case CR_OP_Mul:
        return (uint64_t)a * (uint64_t)b;
    case CR_OP_Div:
        return divide(a, b);
    case CR_OP_Mod:
        return modulo(a, b, flag);
    case CR_OP_BitShift:
        return shift(a, b, flag);
    default:
        return a < 0 ? (uint64_t)a * (uint64_t)b : (uint64_t)a; /* PRelu */
    }
}

static uint64_t binary_unsigned(cr_op_kind kind, uint64_t a, uint64_t b, bool flag)
{
    switch (kind) {
    case CR_OP_Add:
        return a + b;
    case CR_OP_Sub:
        return a - b;
    case CR_OP_Mul:
        return a * b;
    case CR_OP_Div:
        return a / b;
    case CR_OP_Mod:
        return a % b;
    case CR_OP_BitShift:
        if (b > 63) return 0;
        return flag ? a << b : a >> b;
    default:
        return a; /* PRelu */
    }
}

/* Integer base; the exponent may be of another type. */
static uint64_t power_int(const cr_tensor *x, int64_t xi, const cr_tensor *y, int64_t yi)
{
    const int64_t a = cr_load_i64(x, xi), b = cr_load_i64(y, yi);
    if (cr_class_of(y->dtype) != CR_CLASS_FLOAT) {
        const bool negative = cr_dtype_is_signed(y->dtype) && b < 0;
        return power((uint64_t)a, negative ? 0 - (uint64_t)b : (uint64_t)b, negative);
    }
    const double r = pow((double)a, cr_load_f64(y, yi));
    if (isnan(r)) return 0;
    if (r >= 0x1p63) return INT64_MAX;
    return r > -0x1p63 ? (uint64_t)(int64_t)r : (uint64_t)INT64_MIN;
}

static void binary_elem(const cr_op_call *call, const cr_walk *w, int64_t i, bool flag)
{
    const cr_op_kind kind = call->node->op->kind;
    const cr_tensor *a = call->in[0], *b = call->in[1];
    cr_tensor *y = call->out[0];
    const int64_t p = w->at[0], q = w->at[1];
    switch (cr_class_of(a->dtype)) {
    case CR_CLASS_FLOAT:
        cr_store_f64(y, i, binary_float(kind, cr_load_f64(a, p), cr_load_f64(b, q), flag));
        break;
    case CR_CLASS_SIGNED:
        if (kind == CR_OP_Pow)
            cr_store_bits(y, i, power_int(a, p, b, q));
        else
            cr_store_bits(y, i, binary_signed(kind, cr_load_i64(a, p), cr_load_i64(b, q), flag));
        break;
    case CR_CLASS_UNSIGNED:
        cr_store_bits(y, i, binary_unsigned(kind, cr_load_u64(a, p), cr_load_u64(b, q), flag));
        break;
    }
}

static cr_status check_divisor(const cr_op_call *call, cr_error *err)
{
    const cr_op_kind kind = call->node->op->kind;
    const cr_tensor *b = call->in[1];
    if ((kind != CR_OP_Div && kind != CR_OP_Mod) || cr_dtype_is_float(b->dtype)) return CR_OK;
    const int64_t n = cr_shape_count(&call->out[0]->shape) ? cr_shape_count(&b->shape) : 0;
    for (int64_t i = 0; i < n; i++)
        CR_OP_CHECK(cr_load_i64(b, i), call, err, "integer division by 0");
    return CR_OK;
}

cr_status cr_eval_binary(const cr_op_call *call, cr_error *err)
{
    const cr_node *n = call->node;
    const cr_shape *out = &call->out[0]->shape;
    const int64_t count = cr_shape_count(out);
    const bool flag = n->op->kind == CR_OP_BitShift
                          ? !strcmp(cr_attr_string(n, "direction", ""), "LEFT")
                          : cr_attr_int(n, "fmod", 0) != 0;
    CR_TRY(check_divisor(call, err));
    cr_walk w = cr_walk_begin(out);
    for (int k = 0; k < 2; k++) cr_broadcast_strides(&call->in[k]->shape, out, w.stride[k]);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) binary_elem(call, &w, i, flag);
    return CR_OK;
}
