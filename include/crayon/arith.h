/* The arithmetic of a quantized model, stated once.
 *
 * Everything that quantizes, simulates or runs integers (the planner, the reference operators, the
 * fast kernels, the exporters' tests) means exactly these functions. They are ONNX Runtime's and
 * XNNPACK-fp32's rules: float32 scales, round half to even, saturation at the end.
 *
 *     quantize     q = clamp(round_half_even(x / s) + z, lo, hi)      s float32 > 0, z in lo..hi
 *     dequantize   x = (q - z) * s                                    one float32 product
 *     accumulate   acc = sum((a - za) * (w - zw)) + bias              int32; 16-bit a: int64
 *     bias         round_half_even(b / (sa * sw))                     float32, saturated to int32
 *     requantize   q = clamp(round_half_even((float)acc * m) + z, lo, hi),  m = sa * sw / sy
 *
 * Why x / s and not x * (1 / s): the quotient is what ONNX defines, and the two differ near halves.
 * Why not a fixed-point multiplier: TFLite's reference kernels have one, at most a step away; float
 * is what the CPU runtimes compute, and one conversion and one product cost less than two shifts.
 *
 * The second half defines the float activations that kernels fuse behind a convolution. libm
 * differs between systems and cannot be vectorised, so each is a fixed sequence of IEEE operations
 * (add, multiply, divide, fused multiply-add, compare); code for AVX2, AVX-512 or NEON that follows
 * the sequence gives the same bits. A compiler that contracts a * b + c changes nothing: the only
 * product that meets a sum is one with a power of two, which is exact where the sum sees it.
 * Options that let it reorder (-ffast-math) do.
 *
 * Requires the default rounding mode (nearest even) and denormals not flushed. Compiles as C11 and
 * as C++. Free of side effects; nothing here fails. */
#ifndef CRAYON_ARITH_H
#define CRAYON_ARITH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Nearest integer, halves to the even neighbour; NaN and infinities stay. */
static inline float cr_round_half_even(float x)
{
    return rintf(x);
}

/* clamp(round_half_even(v) + zp, lo, hi); lo <= zp <= hi, all within +-2^24. NaN gives lo, as ONNX
 * Runtime's vector code does. SIMD: max(v, lo - zp), where NaN selects the bound, then min, then
 * the CPU's float-to-int conversion, then add zp: clamping to integers first changes nothing. */
static inline int32_t cr_round_clamp(float v, int32_t zp, int32_t lo, int32_t hi)
{
    const float fmin = (float)(lo - zp), fmax = (float)(hi - zp);
    v = v > fmin ? v : fmin;
    v = v < fmax ? v : fmax;
    return (int32_t)cr_round_half_even(v) + zp;
}

/* Real x to an integer in lo..hi; scale > 0. */
static inline int32_t cr_quantize_value(float x, float scale, int32_t zp, int32_t lo, int32_t hi)
{
    return cr_round_clamp(x / scale, zp, lo, hi);
}

static inline uint8_t cr_quantize_u8(float x, float scale, int32_t zp)
{
    return (uint8_t)cr_quantize_value(x, scale, zp, 0, 255);
}

static inline int8_t cr_quantize_i8(float x, float scale, int32_t zp)
{
    return (int8_t)cr_quantize_value(x, scale, zp, -128, 127);
}

static inline uint16_t cr_quantize_u16(float x, float scale, int32_t zp)
{
    return (uint16_t)cr_quantize_value(x, scale, zp, 0, 65535);
}

static inline int16_t cr_quantize_i16(float x, float scale, int32_t zp)
{
    return (int16_t)cr_quantize_value(x, scale, zp, -32768, 32767);
}

/* The difference is exact for every int32 q; it is rounded to float32 before the product. */
static inline float cr_dequantize(int32_t q, float scale, int32_t zp)
{
    return (float)((int64_t)q - zp) * scale;
}

/* m of cr_requantize: the product is rounded before the quotient. */
static inline float cr_requant_multiplier(float a_scale, float w_scale, float y_scale)
{
    const float s = a_scale * w_scale;
    return s / y_scale;
}

/* Accumulator to output; (float)acc rounds to nearest even above 2^24. */
static inline int32_t cr_requantize(int32_t acc, float m, int32_t zp, int32_t lo, int32_t hi)
{
    return cr_round_clamp((float)acc * m, zp, lo, hi);
}

/* A convolution's or gemm's bias at scale sa * sw, saturated; 0 when that scale is 0 (a channel
 * whose weights are all zero) or b is NaN. */
static inline int32_t cr_quantize_bias(float b, float a_scale, float w_scale)
{
    const float s = a_scale * w_scale;
    if (!(s > 0) || b != b) return 0;
    const float q = cr_round_half_even(b / s);
    if (q >= 2147483648.0f) return INT32_MAX;
    return q <= -2147483648.0f ? INT32_MIN : (int32_t)q;
}

/* Two's complement sum and product: what every integer kernel's registers do when they overflow. */
static inline int32_t cr_wrap_add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int32_t cr_wrap_mul(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a * (uint32_t)b);
}

/* exp(x), float32.
 *
 * x = n ln2 + r with n integer and |r| <= ln2 / 2, exp(r) by a degree-5 polynomial 1 + r + r^2 q(r)
 * (q: our own minimax fit, relative error 1.04e-7), then one product with 2^n. Every operation saved
 * here shows in a detector's frame rate; what is gone is a sixth degree (to 4e-9) and a second step
 * of the reduction (float ln2 is off by 1.9e-9, times n), for 2 to 5 ulp.
 * The step that is worth a picture is how 2^n is made:
 *
 *     t = fma(x, log2(e), 1.5*2^23 + 127)     ulp(t) is 1, so this rounds to the integer n + 127
 *     bits(t) = 0x4b400000 + n + 127          a shift by 23 leaves n + 127 in the exponent field
 *
 * so n = 128 is +inf and n = -127 is 0 without a branch. SIMD, in this order and no other:
 *
 *     x = min(CR_EXP_MAX, x)  x = max(CR_EXP_MIN, x)     (first operand the constant: NaN stays NaN
 *                                                         with x86's min/max and with NEON's)
 *     t = fma(x, CR_EXP_LOG2E, CR_EXP_MAGIC)
 *     s = bits(t) << 23                       as float
 *     n = t - CR_EXP_MAGIC
 *     r = fma(n, -CR_EXP_LN2, x)
 *     p = fma(C5, r, C4)  p = fma(p, r, C3)  fma C2  p = fma(p, r, 1)  p = fma(p, r, 1)
 *     exp = p * s
 *
 * Against the exact value: at most 5.6 ulp where the result is normal (tests/unit/arith.c measures
 * it). Infinity from x > 88.38 on (n = 128; the exact function overflows at 88.73), and 0 below
 * -87.69 (the exact one is denormal until -103.98). exp(-inf) is 0, exp(0) is 1, NaN gives NaN. */
#define CR_EXP_MAX    88.75f
#define CR_EXP_MIN    (-88.0f)
#define CR_EXP_LOG2E  1.44269502f     /* 0x1.715476p+0 */
#define CR_EXP_MAGIC  12583039.0f     /* 0x1.8000fep+23 */
#define CR_EXP_LN2    0.693147182f    /* 0x1.62e43p-1 */
#define CR_EXP_C2     0.499992311f
#define CR_EXP_C3     0.166670889f
#define CR_EXP_C4     0.0418904610f
#define CR_EXP_C5     0.00831477717f

static inline float cr_expf(float x)
{
    x = CR_EXP_MAX < x ? CR_EXP_MAX : x;
    x = CR_EXP_MIN > x ? CR_EXP_MIN : x;
    const float t = fmaf(x, CR_EXP_LOG2E, CR_EXP_MAGIC);
    uint32_t bits;
    float s;
    memcpy(&bits, &t, sizeof bits);
    bits <<= 23;
    memcpy(&s, &bits, sizeof s);
    const float n = t - CR_EXP_MAGIC;
    const float r = fmaf(n, -CR_EXP_LN2, x);
    float p = fmaf(CR_EXP_C5, r, CR_EXP_C4);
    p = fmaf(p, r, CR_EXP_C3);
    p = fmaf(p, r, CR_EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    return p * s;
}

/* 1 / (1 + exp(-x)): negate, exp, add, divide. 0 below -88.38, 1 above 17; NaN only for NaN. At
 * most 5.7 ulp. */
static inline float cr_sigmoidf(float x)
{
    return 1.0f / (1.0f + cr_expf(-x));
}

/* x * sigmoid(x) as u / (1 + exp(-u)), u = max(-CR_EXP_MAX, x): with the constant as the first
 * operand NaN stays NaN, and -inf (like everything below -88.38) gives -0. At most 6.6 ulp. */
static inline float cr_siluf(float x)
{
    const float u = -CR_EXP_MAX > x ? -CR_EXP_MAX : x;
    return u / (1.0f + cr_expf(-u));
}

/* clamp(fma(x, alpha, beta), 0, 1): max(0, v), then min(1, v), constants first. */
static inline float cr_hard_sigmoidf(float x, float alpha, float beta)
{
    const float v = fmaf(x, alpha, beta);
    const float low = 0.0f > v ? 0.0f : v;
    return 1.0f < low ? 1.0f : low;
}

/* u * hard_sigmoid(u, 1/6, 1/2), u = max(-3, x): -0 for every x <= -3, x itself from 3 on. */
static inline float cr_hard_swishf(float x)
{
    const float u = -3.0f > x ? -3.0f : x;
    return u * cr_hard_sigmoidf(u, 1.0f / 6.0f, 0.5f);
}

/* max(lo, x), then min(hi, x), constants first: ReLU is (0, inf), ReLU6 (0, 6). NaN stays NaN. */
static inline float cr_clipf(float x, float lo, float hi)
{
    const float low = lo > x ? lo : x;
    return hi < low ? hi : low;
}

static inline float cr_leaky_reluf(float x, float alpha)
{
    return x < 0.0f ? alpha * x : x;
}

#endif
