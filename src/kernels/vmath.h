/* Vector mathematics on rows of floats: functions, two operands, softmax,
 * normalization.
 *
 * As in rows.h every level gives the bits of the portable one: functions are one chain of
 * multiply-adds per element, and a sum over a row is 16 partial sums (lane i takes elements i, i +
 * 16, ...) that meet in a fixed order, whatever the vectors' width. */
#ifndef CR_KERNELS_VMATH_H
#define CR_KERNELS_VMATH_H

#include <stdbool.h>
#include <stddef.h>

typedef enum cr_vmath_fn {
    CR_VM_NEG,
    CR_VM_SQRT,
    CR_VM_RECIPROCAL,
    CR_VM_SQUARE,
    CR_VM_EXP,
    CR_VM_ERF,  /* at most 1.5e-7 off */
    CR_VM_GELU, /* x / 2 * (1 + erf(x / sqrt 2)) */
    CR_VM_TANH, /* at most 1.5e-7 off */
    CR_VM_FNS
} cr_vmath_fn;

typedef enum cr_vmath_pair {
    CR_VM_ADD,
    CR_VM_SUB,
    CR_VM_MUL,
    CR_VM_DIV,
    CR_VM_PAIRS
} cr_vmath_pair;

enum { CR_VM_PARTS = 16 };

typedef struct cr_vmath {
    const char *name;
    /* y[i] = f(x[i]); y may be x */
    void (*map)(cr_vmath_fn f, float *y, const float *x, size_t n);
    /* y[i] = a[i] op b[i]; a_one: a is one value, b_one likewise; y may be a or b */
    void (*pair)(cr_vmath_pair op, float *y, const float *a, bool a_one, const float *b, bool b_one,
                 size_t n);
    /* softmax of a row of n >= 1; y may be x */
    void (*softmax)(float *y, const float *x, size_t n);
    /* y[i] = a[i] * wa + b[i] * wb */
    void (*blend)(float *y, const float *a, float wa, const float *b, float wb, size_t n);
    /* the largest of n >= 1, none of them NaN */
    float (*largest)(const float *x, size_t n);
    /* y[i] = (x[i] - mean) * inverse * scale[i] + bias[i]; y may be x */
    void (*normalize)(float *y, const float *x, float mean, float inverse, const float *scale,
                      const float *bias, size_t n);
    /* dx[i] = dy[i] times the derivative of x * sigmoid(a * x) at x[i]; add: to what is in dx */
    void (*swish_slope)(float *dx, const float *x, const float *dy, float a, bool add, size_t n);
} cr_vmath;

const cr_vmath *cr_vmath_get(unsigned cpu);
const cr_vmath *cr_vmath_level(int level); /* NULL: none of that level */

/* erf: x P(x^2) below 1, else 1 - exp(-a Q(a)) with a = min(|x|, 4). tanh: x + x^3 R(x^2) below
 * 0.625, else 1 - 2 / (exp(2 min(|x|, 10)) + 1). Our own fits, to 1.2e-9, 3.7e-10 and 4.1e-8. */
#define CR_ERF_P0    1.12837917f
#define CR_ERF_P1    (-0.376126271f)
#define CR_ERF_P2    0.112836002f
#define CR_ERF_P3    (-0.0268544445f)
#define CR_ERF_P4    0.00518953519f
#define CR_ERF_P5    (-0.000802083994f)
#define CR_ERF_P6    7.88911507e-05f
#define CR_ERF_Q0    1.12869716f
#define CR_ERF_Q1    0.634958284f
#define CR_ERF_Q2    0.106549125f
#define CR_ERF_Q3    (-0.0240255273f)
#define CR_ERF_Q4    0.00376466888f
#define CR_ERF_Q5    (-0.000352334308f)
#define CR_ERF_Q6    1.41340537e-05f
#define CR_TANH_0    (-0.333333292f)
#define CR_TANH_1    0.133327929f
#define CR_TANH_2    (-0.0538539137f)
#define CR_TANH_3    0.0210095446f
#define CR_TANH_4    (-0.00611257733f)
#define CR_SQRT_HALF 0.707106781f

#endif
