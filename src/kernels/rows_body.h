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
 *   VB_N VB_LOAD VB_STORE VB_MAX   vectors of VB_N bytes
 *
 * ..._N(p, n): the first n < VN lanes only. Nothing outside a row is touched. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "crayon/arith.h"
#include "kernels/rows.h"
#include "kernels/unroll.h"

/* All kinds, for switches that turn the kind into a constant of the loop. */
#define ROWS_KINDS                                                                                 \
    ROWS_AS(CR_ACT_NONE)                                                                           \
    ROWS_AS(CR_ACT_RELU)                                                                           \
    ROWS_AS(CR_ACT_CLIP)                                                                           \
    ROWS_AS(CR_ACT_LEAKY_RELU)                                                                     \
    ROWS_AS(CR_ACT_SIGMOID)                                                                        \
    ROWS_AS(CR_ACT_SILU)                                                                           \
    ROWS_AS(CR_ACT_HARD_SIGMOID)                                                                   \
    ROWS_AS(CR_ACT_HARD_SWISH)

CR_INLINE VF ROWS(expv)(VF x)
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

CR_INLINE VF ROWS(negv)(VF x)
{
    return V_SUB(V_SET1(-0.0f), x);
}

CR_INLINE VF ROWS(hard_sigmoidv)(VF x, VF a, VF b)
{
    return V_MIN(V_SET1(1.0f), V_MAX(V_SET1(0.0f), V_FMA(x, a, b)));
}

CR_INLINE VF ROWS(actv)(VF x, cr_act_kind kind, VF a, VF b)
{
    switch (kind) {
    case CR_ACT_RELU:
        return V_MAX(V_SET1(0.0f), x);
    case CR_ACT_CLIP:
        return V_MIN(b, V_MAX(a, x));
    case CR_ACT_LEAKY_RELU:
        return V_BELOW0(x, V_MUL(a, x), x);
    case CR_ACT_SIGMOID:
        return V_DIV(V_SET1(1.0f), V_ADD(V_SET1(1.0f), ROWS(expv)(ROWS(negv)(x))));
    case CR_ACT_SILU: {
        const VF u = V_MAX(V_SET1(-CR_EXP_MAX), x);
        return V_DIV(u, V_ADD(V_SET1(1.0f), ROWS(expv)(ROWS(negv)(u))));
    }
    case CR_ACT_HARD_SIGMOID:
        return ROWS(hard_sigmoidv)(x, a, b);
    case CR_ACT_HARD_SWISH: {
        const VF u = V_MAX(V_SET1(-3.0f), x);
        return V_MUL(u, ROWS(hard_sigmoidv)(u, V_SET1(1.0f / 6.0f), V_SET1(0.5f)));
    }
    default:
        return x;
    }
}

/* clamp, round, add the zero point: cr_round_clamp on codes 0..255 */
CR_INLINE VI ROWS(codesv)(VF v, VF lo, VF hi, VI zp)
{
    return VI_ADD(V_ROUND_I(V_MIN(hi, V_MAX_NUM(v, lo))), zp);
}

CR_INLINE void ROWS(act_as)(float *y, const float *x, size_t n, const cr_act *act,
                            const cr_act_kind kind)
{
    const VF a = V_SET1(act->a), b = V_SET1(act->b);
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, ROWS(actv)(V_LOAD(x + i), kind, a, b));
    const int rest = (int)(n - i);
    if (rest) V_STORE_N(y + i, ROWS(actv)(V_LOAD_N(x + i, rest), kind, a, b), rest);
}

static void ROWS(act)(float *y, const float *x, size_t n, const cr_act *act)
{
    switch (act->kind) {
#define ROWS_AS(kind)                                                                              \
    case kind:                                                                                     \
        ROWS(act_as)(y, x, n, act, kind);                                                          \
        break;
        ROWS_KINDS
#undef ROWS_AS
    }
}

static void ROWS(quantize)(uint8_t *y, const float *x, size_t n, float scale, int32_t zero_point)
{
    const VF s = V_SET1(scale), lo = V_SET1((float)-zero_point);
    const VF hi = V_SET1((float)(255 - zero_point));
    const VI zp = VI_SET1(zero_point);
    size_t i = 0;
    for (; i + VN <= n; i += VN)
        VI_STORE_U8(y + i, ROWS(codesv)(V_DIV(V_LOAD(x + i), s), lo, hi, zp));
    for (; i < n; i++) y[i] = cr_quantize_u8(x[i], scale, zero_point);
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

/* ---- sums to results ---- */

CR_INLINE void ROWS(finish_f32_as)(float *y, const int32_t *acc, const cr_finish_area *area,
                                   const cr_finish *f, const cr_act_kind kind)
{
    const VF a = V_SET1(f->act.a), b = V_SET1(f->act.b);
    const float *m = f->multiplier;
    for (int64_t r = 0; r < area->rows; r++, y += area->ld_out, acc += area->ld_in) {
        int64_t i = 0;
        for (; i + VN <= area->cols; i += VN) {
            const VF v = V_MUL(VI_TO_F(VI_LOAD(acc + i)), V_LOAD(m + i));
            V_STORE(y + i, ROWS(actv)(v, kind, a, b));
        }
        const int rest = (int)(area->cols - i);
        if (!rest) continue;
        const VF v = V_MUL(VI_TO_F(VI_LOAD_N(acc + i, rest)), V_LOAD_N(m + i, rest));
        V_STORE_N(y + i, ROWS(actv)(v, kind, a, b), rest);
    }
}

static void ROWS(finish_f32)(float *y, const int32_t *acc, const cr_finish_area *area,
                             const cr_finish *f)
{
    switch (f->act.kind) {
#define ROWS_AS(kind)                                                                              \
    case kind:                                                                                     \
        ROWS(finish_f32_as)(y, acc, area, f, kind);                                                \
        break;
        ROWS_KINDS
#undef ROWS_AS
    }
}

CR_INLINE VI ROWS(finish_codes)(VI acc, VF m, const cr_finish *f, const cr_act_kind kind)
{
    const VF v = ROWS(actv)(V_MUL(VI_TO_F(acc), m), kind, V_SET1(f->act.a), V_SET1(f->act.b));
    return ROWS(codesv)(kind == CR_ACT_NONE ? v : V_DIV(v, V_SET1(f->scale)),
                        V_SET1((float)-f->zero_point), V_SET1((float)(255 - f->zero_point)),
                        VI_SET1(f->zero_point));
}

CR_INLINE void ROWS(finish_u8_as)(uint8_t *y, const int32_t *acc, const cr_finish_area *area,
                                  const cr_finish *f, const cr_act_kind kind)
{
    const cr_finish own = *f; /* y may alias anything that is a byte, this cannot */
    const float *m = own.multiplier;
    for (int64_t r = 0; r < area->rows; r++, y += area->ld_out, acc += area->ld_in) {
        int64_t i = 0;
        for (; i + VN <= area->cols; i += VN)
            VI_STORE_U8(y + i, ROWS(finish_codes)(VI_LOAD(acc + i), V_LOAD(m + i), &own, kind));
        const int rest = (int)(area->cols - i);
        if (!rest) continue;
        uint8_t out[VN];
        VI_STORE_U8(
            out, ROWS(finish_codes)(VI_LOAD_N(acc + i, rest), V_LOAD_N(m + i, rest), &own, kind));
        memcpy(y + i, out, (size_t)rest);
    }
}

static void ROWS(finish_u8)(uint8_t *y, const int32_t *acc, const cr_finish_area *area,
                            const cr_finish *f)
{
    switch (f->act.kind) {
#define ROWS_AS(kind)                                                                              \
    case kind:                                                                                     \
        ROWS(finish_u8_as)(y, acc, area, f, kind);                                                 \
        break;
        ROWS_KINDS
#undef ROWS_AS
    }
}

/* ---- two rows ---- */

static void ROWS(max_f32)(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, V_MAX(V_LOAD(x + i), V_LOAD(y + i)));
    for (; i < n; i++) y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void ROWS(max_u8)(uint8_t *y, const uint8_t *x, size_t n)
{
    size_t i = 0;
    for (; i + VB_N <= n; i += VB_N) VB_STORE(y + i, VB_MAX(VB_LOAD(x + i), VB_LOAD(y + i)));
    for (; i < n; i++) y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void ROWS(add_f32)(float *y, const float *x, const float *w, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, V_ADD(V_LOAD(x + i), V_LOAD(w + i)));
    for (; i < n; i++) y[i] = x[i] + w[i];
}

static void ROWS(mul_f32)(float *y, const float *x, const float *w, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, V_MUL(V_LOAD(x + i), V_LOAD(w + i)));
    for (; i < n; i++) y[i] = x[i] * w[i];
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

#define ROWS_RECORD(level)                                                                         \
    {                                                                                              \
        .name = "rows " level, .act = ROWS(act), .quantize = ROWS(quantize),                       \
        .dequantize = ROWS(dequantize), .table = ROWS(table), .finish_f32 = ROWS(finish_f32),      \
        .finish_u8 = ROWS(finish_u8), .max_f32 = ROWS(max_f32), .max_u8 = ROWS(max_u8),            \
        .add_f32 = ROWS(add_f32), .mul_f32 = ROWS(mul_f32), .exp_sum = ROWS(exp_sum)               \
    }
