/* Bodies of the row kernels, written once over a handful of vector macros. A file per level defines
 * the macros and includes this; ROWS(name) gives its functions their names.
 *
 *   VF, VI                    float and int32 vectors of VN lanes
 *   V_LOAD V_STORE V_SET1 V_ADD V_SUB V_MUL V_DIV V_FMA(a,b,c)=a*b+c
 *   V_MAX(k,x) V_MIN(k,x)     k first: NaN in x stays, as crayon/arith.h asks
 *   V_EXP2BITS(t)             bits(t) << 23 as float
 *   V_BELOW0(x,a,b)           x < 0 ? a : b
 *   V_ROUND_I(x)              to int32, half to even
 *   VI_LOAD VI_STORE VI_ADD VI_SET1 VI_TO_F
 *   VI_STORE_U8(p,v)          VN codes already within 0..255
 *   V_LOAD_U8(p)              VN codes as int32
 *
 * Tails of fewer than VN values go through a padded copy on the stack: one code path, no lane masks
 * (NEON has none), nothing outside the row is touched. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "crayon/arith.h"
#include "kernels/rows.h"

static inline VF ROWS(expv)(VF x)
{
    x = V_MIN(V_SET1(CR_EXP_MAX), x);
    x = V_MAX(V_SET1(CR_EXP_MIN), x);
    const VF t = V_FMA(x, V_SET1(CR_EXP_LOG2E), V_SET1(CR_EXP_MAGIC));
    const VF s = V_EXP2BITS(t);
    const VF n = V_SUB(t, V_SET1(CR_EXP_MAGIC));
    VF r = V_FMA(n, V_SET1(-CR_EXP_LN2_HI), x);
    r = V_FMA(n, V_SET1(-(CR_EXP_LN2_LO)), r);
    VF p = V_FMA(V_SET1(CR_EXP_C6), r, V_SET1(CR_EXP_C5));
    p = V_FMA(p, r, V_SET1(CR_EXP_C4));
    p = V_FMA(p, r, V_SET1(CR_EXP_C3));
    p = V_FMA(p, r, V_SET1(CR_EXP_C2));
    p = V_FMA(p, r, V_SET1(1.0f));
    p = V_FMA(p, r, V_SET1(1.0f));
    return V_MUL(p, s);
}

static inline VF ROWS(negv)(VF x) { return V_SUB(V_SET1(-0.0f), x); }

static inline VF ROWS(hard_sigmoidv)(VF x, VF a, VF b)
{
    return V_MIN(V_SET1(1.0f), V_MAX(V_SET1(0.0f), V_FMA(x, a, b)));
}

static inline VF ROWS(actv)(VF x, cr_act_kind kind, VF a, VF b)
{
    switch (kind) {
    case CR_ACT_RELU: return V_MAX(V_SET1(0.0f), x);
    case CR_ACT_CLIP: return V_MIN(b, V_MAX(a, x));
    case CR_ACT_LEAKY_RELU: return V_BELOW0(x, V_MUL(a, x), x);
    case CR_ACT_SIGMOID:
        return V_DIV(V_SET1(1.0f), V_ADD(V_SET1(1.0f), ROWS(expv)(ROWS(negv)(x))));
    case CR_ACT_SILU: {
        const VF u = V_MAX(V_SET1(-CR_EXP_MAX), x);
        return V_DIV(u, V_ADD(V_SET1(1.0f), ROWS(expv)(ROWS(negv)(u))));
    }
    case CR_ACT_HARD_SIGMOID: return ROWS(hard_sigmoidv)(x, a, b);
    case CR_ACT_HARD_SWISH: {
        const VF u = V_MAX(V_SET1(-3.0f), x);
        return V_MUL(u, ROWS(hard_sigmoidv)(u, V_SET1(1.0f / 6.0f), V_SET1(0.5f)));
    }
    default: return x;
    }
}

/* clamp, round, add the zero point: cr_round_clamp on codes 0..255 */
static inline VI ROWS(codesv)(VF v, VF lo, VF hi, VI zp)
{
    return VI_ADD(V_ROUND_I(V_MIN(hi, V_MAX_NUM(v, lo))), zp);
}

#define ROWS_ACT_LOOP(kind)                                                                        \
    case kind:                                                                                     \
        for (; i + VN <= n; i += VN) V_STORE(y + i, ROWS(actv)(V_LOAD(x + i), kind, a, b));        \
        break

static void ROWS(act)(float *y, const float *x, size_t n, const cr_act *act)
{
    const VF a = V_SET1(act->a), b = V_SET1(act->b);
    size_t i = 0;
    switch (act->kind) {
        ROWS_ACT_LOOP(CR_ACT_NONE);
        ROWS_ACT_LOOP(CR_ACT_RELU);
        ROWS_ACT_LOOP(CR_ACT_CLIP);
        ROWS_ACT_LOOP(CR_ACT_LEAKY_RELU);
        ROWS_ACT_LOOP(CR_ACT_SIGMOID);
        ROWS_ACT_LOOP(CR_ACT_SILU);
        ROWS_ACT_LOOP(CR_ACT_HARD_SIGMOID);
        ROWS_ACT_LOOP(CR_ACT_HARD_SWISH);
    }
    if (i == n) return;
    float tail[VN] = {0};
    memcpy(tail, x + i, (n - i) * sizeof *x);
    V_STORE(tail, ROWS(actv)(V_LOAD(tail), act->kind, a, b));
    memcpy(y + i, tail, (n - i) * sizeof *y);
}

static void ROWS(quantize)(uint8_t *y, const float *x, size_t n, float scale, int32_t zero_point)
{
    const VF s = V_SET1(scale), lo = V_SET1((float)-zero_point), hi = V_SET1((float)(255 - zero_point));
    const VI zp = VI_SET1(zero_point);
    size_t i = 0;
    for (; i + VN <= n; i += VN)
        VI_STORE_U8(y + i, ROWS(codesv)(V_DIV(V_LOAD(x + i), s), lo, hi, zp));
    if (i == n) return;
    float tail[VN] = {0};
    uint8_t out[VN];
    memcpy(tail, x + i, (n - i) * sizeof *x);
    VI_STORE_U8(out, ROWS(codesv)(V_DIV(V_LOAD(tail), s), lo, hi, zp));
    memcpy(y + i, out, n - i);
}

static void ROWS(dequantize)(float *y, const uint8_t *x, size_t n, float scale, int32_t zero_point)
{
    const VF s = V_SET1(scale);
    const VI zp = VI_SET1(-zero_point);
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, V_MUL(VI_TO_F(VI_ADD(V_LOAD_U8(x + i), zp)), s));
    for (; i < n; i++) y[i] = cr_dequantize(x[i], scale, zero_point);
}

static void ROWS(table)(uint8_t *y, const uint8_t *x, size_t n, const uint8_t table[256])
{
    for (size_t i = 0; i < n; i++) y[i] = table[x[i]];
}

static inline VF ROWS(finishv)(VF acc, VF m, cr_act_kind kind, VF a, VF b)
{
    return ROWS(actv)(V_MUL(acc, m), kind, a, b);
}

static void ROWS(finish_f32)(float *y, const int32_t *acc, size_t n, const cr_finish *f)
{
    const VF a = V_SET1(f->act.a), b = V_SET1(f->act.b);
    size_t i = 0;
    for (; i + VN <= n; i += VN)
        V_STORE(y + i, ROWS(finishv)(VI_TO_F(VI_LOAD(acc + i)), V_LOAD(f->multiplier + i),
                                     f->act.kind, a, b));
    if (i == n) return;
    int32_t tail[VN] = {0};
    float m[VN] = {0}, out[VN];
    memcpy(tail, acc + i, (n - i) * sizeof *acc);
    memcpy(m, f->multiplier + i, (n - i) * sizeof *m);
    V_STORE(out, ROWS(finishv)(VI_TO_F(VI_LOAD(tail)), V_LOAD(m), f->act.kind, a, b));
    memcpy(y + i, out, (n - i) * sizeof *y);
}

#define ROWS_FINISH_LOOP(kind, divide)                                                             \
    for (; i + VN <= n; i += VN) {                                                                 \
        const VF v = ROWS(finishv)(VI_TO_F(VI_LOAD(acc + i)), V_LOAD(f->multiplier + i), kind, a,  \
                                   b);                                                             \
        VI_STORE_U8(y + i, ROWS(codesv)(divide ? V_DIV(v, s) : v, lo, hi, zp));                    \
    }

static void ROWS(finish_u8)(uint8_t *y, const int32_t *acc, size_t n, const cr_finish *f)
{
    const VF a = V_SET1(f->act.a), b = V_SET1(f->act.b), s = V_SET1(f->scale);
    const VF lo = V_SET1((float)-f->zero_point), hi = V_SET1((float)(255 - f->zero_point));
    const VI zp = VI_SET1(f->zero_point);
    const bool divide = f->act.kind != CR_ACT_NONE;
    size_t i = 0;
    if (f->act.kind == CR_ACT_SILU) {
        ROWS_FINISH_LOOP(CR_ACT_SILU, true)
    } else if (f->act.kind == CR_ACT_NONE) {
        ROWS_FINISH_LOOP(CR_ACT_NONE, false)
    } else {
        ROWS_FINISH_LOOP(f->act.kind, true)
    }
    if (i == n) return;
    int32_t tail[VN] = {0};
    float m[VN] = {0};
    uint8_t out[VN];
    memcpy(tail, acc + i, (n - i) * sizeof *acc);
    memcpy(m, f->multiplier + i, (n - i) * sizeof *m);
    const VF v = ROWS(finishv)(VI_TO_F(VI_LOAD(tail)), V_LOAD(m), f->act.kind, a, b);
    VI_STORE_U8(out, ROWS(codesv)(divide ? V_DIV(v, s) : v, lo, hi, zp));
    memcpy(y + i, out, n - i);
}

static void ROWS(max_f32)(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, V_MAX(V_LOAD(x + i), V_LOAD(y + i)));
    for (; i < n; i++) y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void ROWS(max_u8)(uint8_t *y, const uint8_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void ROWS(fma_f32)(float *y, const float *x, const float *w, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, V_FMA(V_LOAD(x + i), V_LOAD(w + i), V_LOAD(y + i)));
    for (; i < n; i++) y[i] = fmaf(x[i], w[i], y[i]);
}

static void ROWS(fma_s32)(int32_t *acc, const uint8_t *x, const int16_t *w, size_t n)
{
    for (size_t i = 0; i < n; i++) acc[i] += (int32_t)x[i] * w[i];
}

static void ROWS(exp_sum)(float *y, const float *x, const float *shift, float *sum, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        const VF e = ROWS(expv)(V_SUB(V_LOAD(x + i), V_LOAD(shift + i)));
        V_STORE(y + i, e);
        V_STORE(sum + i, V_ADD(V_LOAD(sum + i), e));
    }
    for (; i < n; i++) {
        y[i] = cr_expf(x[i] - shift[i]);
        sum[i] += y[i];
    }
}

#define ROWS_RECORD(text)                                                                          \
    {                                                                                              \
        text, ROWS(act), ROWS(quantize), ROWS(dequantize), ROWS(table), ROWS(finish_f32),          \
            ROWS(finish_u8), ROWS(max_f32), ROWS(max_u8), ROWS(fma_f32), ROWS(fma_s32),            \
            ROWS(exp_sum)                                                                          \
    }
