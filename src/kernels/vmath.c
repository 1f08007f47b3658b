/* The portable vector mathematics: the definitions that the other levels must equal. */
#include "kernels/vmath.h"

#include <math.h>

#include "crayon/arith.h"

static float erf_one(float x)
{
    const float t = x * x, size = -x > x ? -x : x, a = 4.0f < size ? 4.0f : size;
    float p = fmaf(CR_ERF_P6, t, CR_ERF_P5);
    p = fmaf(p, t, CR_ERF_P4);
    p = fmaf(p, t, CR_ERF_P3);
    p = fmaf(p, t, CR_ERF_P2);
    p = fmaf(p, t, CR_ERF_P1);
    if (a < 1.0f) return x * fmaf(p, t, CR_ERF_P0);
    float q = fmaf(CR_ERF_Q6, a, CR_ERF_Q5);
    q = fmaf(q, a, CR_ERF_Q4);
    q = fmaf(q, a, CR_ERF_Q3);
    q = fmaf(q, a, CR_ERF_Q2);
    q = fmaf(q, a, CR_ERF_Q1);
    q = 1.0f - cr_expf(-a * fmaf(q, a, CR_ERF_Q0));
    return x < 0 ? -q : q;
}

static float tanh_one(float x)
{
    const float t = x * x, size = -x > x ? -x : x, a = 10.0f < size ? 10.0f : size;
    float p = fmaf(CR_TANH_4, t, CR_TANH_3);
    p = fmaf(p, t, CR_TANH_2);
    p = fmaf(p, t, CR_TANH_1);
    p = fmaf(p, t, CR_TANH_0);
    if (a < 0.625f) return fmaf(p * t, x, x);
    const float q = 1.0f - 2.0f / (cr_expf(a + a) + 1.0f);
    return x < 0 ? -q : q;
}

static float fn_one(cr_vmath_fn f, float x)
{
    switch (f) {
    case CR_VM_NEG:
        return -x;
    case CR_VM_SQRT:
        return sqrtf(x);
    case CR_VM_RECIPROCAL:
        return 1.0f / x;
    case CR_VM_SQUARE:
        return x * x;
    case CR_VM_EXP:
        return cr_expf(x);
    case CR_VM_ERF:
        return erf_one(x);
    case CR_VM_GELU:
        return 0.5f * x * (1.0f + erf_one(x * CR_SQRT_HALF));
    case CR_VM_TANH:
        return tanh_one(x);
    default:
        return x;
    }
}

static void map_c(cr_vmath_fn f, float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = fn_one(f, x[i]);
}

static void pair_c(cr_vmath_pair op, float *y, const float *a, bool a_one, const float *b,
                   bool b_one, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float u = a[a_one ? 0 : i], v = b[b_one ? 0 : i];
        y[i] = op == CR_VM_ADD ? u + v : op == CR_VM_SUB ? u - v : op == CR_VM_MUL ? u * v : u / v;
    }
}

static float largest_c(const float *x, size_t n)
{
    float top = x[0];
    for (size_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

static void normalize_c(float *y, const float *x, float mean, float inverse, const float *scale,
                        const float *bias, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = fmaf((x[i] - mean) * inverse, scale[i], bias[i]);
}

static void blend_c(float *y, const float *a, float wa, const float *b, float wb, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = fmaf(b[i], wb, a[i] * wa);
}

static void softmax_c(float *y, const float *x, size_t n)
{
    const float top = largest_c(x, n);
    float part[CR_VM_PARTS] = {0};
    for (size_t i = 0; i < n; i++) {
        y[i] = cr_expf(x[i] - top);
        part[i % CR_VM_PARTS] += y[i];
    }
    for (int half = CR_VM_PARTS / 2; half; half /= 2)
        for (int k = 0; k < half; k++) part[k] += part[k + half];
    const float inverse = 1.0f / part[0];
    for (size_t i = 0; i < n; i++) y[i] *= inverse;
}

static void swish_slope_c(float *dx, const float *x, const float *dy, float a, bool add, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float u = a * x[i], s = 1.0f / (1.0f + cr_expf(-u));
        const float d = dy[i] * (s * fmaf(u, 1.0f - s, 1.0f));
        dx[i] = add ? dx[i] + d : d;
    }
}

static const cr_vmath vmath_c = {.name = "vmath c",
                                 .map = map_c,
                                 .pair = pair_c,
                                 .softmax = softmax_c,
                                 .blend = blend_c,
                                 .largest = largest_c,
                                 .normalize = normalize_c,
                                 .swish_slope = swish_slope_c};

#define CR_VMATH_ONLY
#define KERNEL_RECORD cr_vmath
#define KERNEL_C      vmath_c
#define KERNEL_LEVEL  cr_vmath_level
#define KERNEL_SELECT cr_vmath_get
#include "kernels/select.h"
