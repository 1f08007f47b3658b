/* Bodies of vmath.h over the vector macros (listed in rows_body.h; V_SQRT besides). The caller
 * names its functions by VMATH(name). */
#include <math.h>
#include <string.h>

#include "kernels/expv.h"
#include "kernels/vmath.h"

CR_INLINE VF VMATH(negv)(VF x)
{
    return V_SUB(V_SET1(-0.0f), x);
}

CR_INLINE VF VMATH(signed_as)(VF x, VF size)
{
    return V_BELOW0(x, VMATH(negv)(size), size);
}

CR_INLINE VF VMATH(erfv)(VF x)
{
    const VF t = V_MUL(x, x), a = V_MIN(V_SET1(4.0f), V_MAX(VMATH(negv)(x), x));
    VF p = V_FMA(V_SET1(CR_ERF_P6), t, V_SET1(CR_ERF_P5));
    p = V_FMA(p, t, V_SET1(CR_ERF_P4));
    p = V_FMA(p, t, V_SET1(CR_ERF_P3));
    p = V_FMA(p, t, V_SET1(CR_ERF_P2));
    p = V_FMA(p, t, V_SET1(CR_ERF_P1));
    p = V_MUL(x, V_FMA(p, t, V_SET1(CR_ERF_P0)));
    VF q = V_FMA(V_SET1(CR_ERF_Q6), a, V_SET1(CR_ERF_Q5));
    q = V_FMA(q, a, V_SET1(CR_ERF_Q4));
    q = V_FMA(q, a, V_SET1(CR_ERF_Q3));
    q = V_FMA(q, a, V_SET1(CR_ERF_Q2));
    q = V_FMA(q, a, V_SET1(CR_ERF_Q1));
    q = V_MUL(VMATH(negv)(a), V_FMA(q, a, V_SET1(CR_ERF_Q0)));
    q = VMATH(signed_as)(x, V_SUB(V_SET1(1.0f), cr_expv(q)));
    return V_BELOW0(V_SUB(a, V_SET1(1.0f)), p, q);
}

CR_INLINE VF VMATH(tanhv)(VF x)
{
    const VF t = V_MUL(x, x), a = V_MIN(V_SET1(10.0f), V_MAX(VMATH(negv)(x), x));
    VF p = V_FMA(V_SET1(CR_TANH_4), t, V_SET1(CR_TANH_3));
    p = V_FMA(p, t, V_SET1(CR_TANH_2));
    p = V_FMA(p, t, V_SET1(CR_TANH_1));
    p = V_FMA(p, t, V_SET1(CR_TANH_0));
    p = V_FMA(V_MUL(p, t), x, x);
    VF q = V_ADD(cr_expv(V_ADD(a, a)), V_SET1(1.0f));
    q = VMATH(signed_as)(x, V_SUB(V_SET1(1.0f), V_DIV(V_SET1(2.0f), q)));
    return V_BELOW0(V_SUB(a, V_SET1(0.625f)), p, q);
}

CR_INLINE VF VMATH(fnv)(VF x, const cr_vmath_fn f)
{
    switch (f) {
    case CR_VM_NEG:
        return VMATH(negv)(x);
    case CR_VM_SQRT:
        return V_SQRT(x);
    case CR_VM_RECIPROCAL:
        return V_DIV(V_SET1(1.0f), x);
    case CR_VM_SQUARE:
        return V_MUL(x, x);
    case CR_VM_EXP:
        return cr_expv(x);
    case CR_VM_ERF:
        return VMATH(erfv)(x);
    case CR_VM_GELU:
        return V_MUL(V_MUL(V_SET1(0.5f), x),
                     V_ADD(V_SET1(1.0f), VMATH(erfv)(V_MUL(x, V_SET1(CR_SQRT_HALF)))));
    case CR_VM_TANH:
        return VMATH(tanhv)(x);
    default:
        return x;
    }
}

CR_INLINE void VMATH(map_as)(float *y, const float *x, size_t n, const cr_vmath_fn f)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, VMATH(fnv)(V_LOAD(x + i), f));
    const int rest = (int)(n - i);
    if (rest) V_STORE_N(y + i, VMATH(fnv)(V_LOAD_N(x + i, rest), f), rest);
}

#define VMATH_FN(f)                                                                                \
    case f:                                                                                        \
        VMATH(map_as)(y, x, n, f);                                                                 \
        break;

static void VMATH(map)(cr_vmath_fn f, float *y, const float *x, size_t n)
{
    switch (f) {
        VMATH_FN(CR_VM_NEG)
        VMATH_FN(CR_VM_SQRT)
        VMATH_FN(CR_VM_RECIPROCAL)
        VMATH_FN(CR_VM_SQUARE)
        VMATH_FN(CR_VM_EXP)
        VMATH_FN(CR_VM_ERF)
        VMATH_FN(CR_VM_GELU)
        VMATH_FN(CR_VM_TANH)
    default:
        break;
    }
}

CR_INLINE VF VMATH(pairv)(VF a, VF b, const cr_vmath_pair op)
{
    switch (op) {
    case CR_VM_ADD:
        return V_ADD(a, b);
    case CR_VM_SUB:
        return V_SUB(a, b);
    case CR_VM_MUL:
        return V_MUL(a, b);
    default:
        return V_DIV(a, b);
    }
}

CR_INLINE void VMATH(pair_as)(float *y, const float *a, const bool a_one, const float *b,
                              const bool b_one, size_t n, const cr_vmath_pair op)
{
    const VF u = V_SET1(a[0]), v = V_SET1(b[0]);
    size_t i = 0;
    for (; i + VN <= n; i += VN)
        V_STORE(y + i, VMATH(pairv)(a_one ? u : V_LOAD(a + i), b_one ? v : V_LOAD(b + i), op));
    const int rest = (int)(n - i);
    if (rest)
        V_STORE_N(
            y + i,
            VMATH(pairv)(a_one ? u : V_LOAD_N(a + i, rest), b_one ? v : V_LOAD_N(b + i, rest), op),
            rest);
}

#define VMATH_PAIR(op)                                                                             \
    case op:                                                                                       \
        if (a_one)                                                                                 \
            VMATH(pair_as)(y, a, true, b, false, n, op);                                           \
        else if (b_one)                                                                            \
            VMATH(pair_as)(y, a, false, b, true, n, op);                                           \
        else                                                                                       \
            VMATH(pair_as)(y, a, false, b, false, n, op);                                          \
        break;

static void VMATH(pair)(cr_vmath_pair op, float *y, const float *a, bool a_one, const float *b,
                        bool b_one, size_t n)
{
    if (n == 0) return;
    if (a_one && b_one) { /* one result, everywhere */
        float one;
        VMATH(pair)(op, &one, a, false, b, false, 1);
        for (size_t i = 0; i < n; i++) y[i] = one;
        return;
    }
    switch (op) {
        VMATH_PAIR(CR_VM_ADD)
        VMATH_PAIR(CR_VM_SUB)
        VMATH_PAIR(CR_VM_MUL)
        VMATH_PAIR(CR_VM_DIV)
    default:
        break;
    }
}

/* ---- softmax ---- */

enum { VMATH(parts) = CR_VM_PARTS / VN };

static float VMATH(largest)(const float *x, size_t n)
{
    float lane[VN], top = x[0];
    VF m = V_SET1(x[0]);
    size_t i = 0;
    for (; i + VN <= n; i += VN) m = V_MAX(V_LOAD(x + i), m);
    V_STORE(lane, m);
    for (int k = 0; k < VN; k++) top = lane[k] > top ? lane[k] : top;
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

static void VMATH(softmax)(float *y, const float *x, size_t n)
{
    const float shift = VMATH(largest)(x, n);
    const VF top = V_SET1(shift);
    VF sum[VMATH(parts)];
    float part[CR_VM_PARTS];
    size_t i = 0;
    for (int g = 0; g < VMATH(parts); g++) sum[g] = V_SET1(0.0f);
    for (; i + CR_VM_PARTS <= n; i += CR_VM_PARTS) CR_UNROLL for (int g = 0; g < VMATH(parts); g++)
        {
            const VF e = cr_expv(V_SUB(V_LOAD(x + i + g * VN), top));
            V_STORE(y + i + g * VN, e);
            sum[g] = V_ADD(sum[g], e);
        }
    for (int g = 0; g < VMATH(parts); g++) V_STORE(part + g * VN, sum[g]);
    for (int k = 0; i < n; k++, i++) {
        y[i] = cr_expf(x[i] - shift);
        part[k] += y[i];
    }
    for (int half = CR_VM_PARTS / 2; half; half /= 2)
        for (int k = 0; k < half; k++) part[k] += part[k + half];
    const float inverse = 1.0f / part[0];
    VMATH(pair_as)(y, y, false, &inverse, true, n, CR_VM_MUL);
}

static void VMATH(blend)(float *y, const float *a, float wa, const float *b, float wb, size_t n)
{
    const VF u = V_SET1(wa), v = V_SET1(wb);
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, V_FMA(V_LOAD(b + i), v, V_MUL(V_LOAD(a + i), u)));
    const int rest = (int)(n - i);
    if (rest)
        V_STORE_N(y + i, V_FMA(V_LOAD_N(b + i, rest), v, V_MUL(V_LOAD_N(a + i, rest), u)), rest);
}

static void VMATH(normalize)(float *y, const float *x, float mean, float inverse,
                             const float *scale, const float *bias, size_t n)
{
    const VF m = V_SET1(mean), k = V_SET1(inverse);
    size_t i = 0;
    for (; i + VN <= n; i += VN)
        V_STORE(y + i,
                V_FMA(V_MUL(V_SUB(V_LOAD(x + i), m), k), V_LOAD(scale + i), V_LOAD(bias + i)));
    const int rest = (int)(n - i);
    if (!rest) return;
    const VF centred = V_MUL(V_SUB(V_LOAD_N(x + i, rest), m), k);
    V_STORE_N(y + i, V_FMA(centred, V_LOAD_N(scale + i, rest), V_LOAD_N(bias + i, rest)), rest);
}

CR_INLINE VF VMATH(swish_slopev)(VF x, VF dy, VF a)
{
    const VF one = V_SET1(1.0f), u = V_MUL(a, x);
    const VF s = V_DIV(one, V_ADD(one, cr_expv(VMATH(negv)(u))));
    return V_MUL(dy, V_MUL(s, V_FMA(u, V_SUB(one, s), one)));
}

CR_INLINE void VMATH(swish_slope_as)(float *dx, const float *x, const float *dy, float a,
                                     const bool add, size_t n)
{
    const VF va = V_SET1(a);
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        const VF d = VMATH(swish_slopev)(V_LOAD(x + i), V_LOAD(dy + i), va);
        V_STORE(dx + i, add ? V_ADD(V_LOAD(dx + i), d) : d);
    }
    const int rest = (int)(n - i);
    if (!rest) return;
    const VF d = VMATH(swish_slopev)(V_LOAD_N(x + i, rest), V_LOAD_N(dy + i, rest), va);
    V_STORE_N(dx + i, add ? V_ADD(V_LOAD_N(dx + i, rest), d) : d, rest);
}

static void VMATH(swish_slope)(float *dx, const float *x, const float *dy, float a, bool add,
                               size_t n)
{
    if (add)
        VMATH(swish_slope_as)(dx, x, dy, a, true, n);
    else
        VMATH(swish_slope_as)(dx, x, dy, a, false, n);
}

#define VMATH_RECORD(level)                                                                        \
    {                                                                                              \
        .name = "vmath " level, .map = VMATH(map), .pair = VMATH(pair), .softmax = VMATH(softmax), \
        .blend = VMATH(blend), .largest = VMATH(largest), .normalize = VMATH(normalize),           \
        .swish_slope = VMATH(swish_slope)                                                          \
    }
