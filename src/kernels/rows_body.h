/* Bodies of the row kernels, written once over a handful of vector macros. A file per level defines
 * the macros and includes this; ROWS(name) gives its functions their names.
 *
 *   VF, VI                    float and int32 vectors of VN lanes
 *   V_LOAD V_STORE V_SET1 V_ADD V_SUB V_MUL V_DIV V_FMA(a,b,c)=a*b+c
 *   V_FNMA(a,b,c)=c-a*b       one rounding, like V_FMA
 *   V_GROUP                   vectors that go through an activation side by side
 *   V_MAX(k,x) V_MIN(k,x)     k first: NaN in x stays, as crayon/arith.h asks
 *   V_EXP2BITS(t)             bits(t) << 23 as float
 *   V_BELOW0(x,a,b)           x < 0 ? a : b
 *   V_ROUND_I(x)              to int32, half to even
 *   VI_LOAD VI_STORE VI_ADD VI_SET1 VI_TO_F
 *   VI_LEFT8(v) VI_RIGHT8(v)  lanes shifted left by 8 bits; right, of values that are not negative
 *   VI_LOW8(v)                their low 8 bits
 *   VI_SUB VI_MUL             modulo 2^32
 *   V_JOIN(high,low,offset)   float(256 * high + low + offset), summed exactly as doubles, rounded
 *                             once; offset: VN doubles in memory
 *   VI_STORE_U8(p,v)          VN codes already within 0..255
 *   V_LOAD_U8(p)              VN codes as int32
 *
 *   V_TRANSPOSE(r)            VN vectors
 *   VB_N VB_LOAD VB_STORE VB_MAX   vectors of VB_N bytes
 *
 * ..._N(p, n): the first n < VN lanes only. Nothing outside a row is touched.
 *
 *   VT, VT_LOAD(t), VT_LOOK(t,x)  optional: a table of 256 bytes in registers, VB_N lookups at once
 *   VB_TRIPLES(p), VB_SPREAD(x)   optional: VB_N / 4 triples of bytes at p; a 0 behind each
 *   VB_LOAD_N VB_STORE_N          optional: the first n bytes
 *   V_STORE_CODES(p,v,lo,hi,zp)   optional: codesv() and VI_STORE_U8 in fewer operations */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "crayon/arith.h"
#include "kernels/expv.h"
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

/* d = 1 + exp(-u) for V_GROUP vectors in step, u <= CR_EXP_MAX. A chain of some 15 dependent
 * operations keeps a core waiting unless several run side by side. Signs are moved so that nothing
 * is negated (r here is -r of cr_expf: the same bits, as rounding is symmetric), and 1 + p * s is
 * one operation because p * s is exact where the sum sees it. */
#define V_EACH CR_UNROLL for (int g = 0; g < V_GROUP; g++)
CR_INLINE void ROWS(exp_plus_1)(VF d[V_GROUP], const VF u[V_GROUP])
{
    VF r[V_GROUP], s[V_GROUP], p[V_GROUP];
    V_EACH p[g] = V_FNMA(u[g], V_SET1(CR_EXP_LOG2E), V_SET1(CR_EXP_MAGIC));
    V_EACH s[g] = V_EXP2BITS(p[g]);
    V_EACH p[g] = V_SUB(p[g], V_SET1(CR_EXP_MAGIC));
    V_EACH r[g] = V_FMA(p[g], V_SET1(CR_EXP_LN2), u[g]);
    V_EACH p[g] = V_FNMA(r[g], V_SET1(CR_EXP_C5), V_SET1(CR_EXP_C4));
    V_EACH p[g] = V_FNMA(p[g], r[g], V_SET1(CR_EXP_C3));
    V_EACH p[g] = V_FNMA(p[g], r[g], V_SET1(CR_EXP_C2));
    V_EACH p[g] = V_FNMA(p[g], r[g], V_SET1(1.0f));
    V_EACH p[g] = V_FNMA(p[g], r[g], V_SET1(1.0f));
    V_EACH d[g] = V_FMA(p[g], s[g], V_SET1(1.0f));
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

/* The activation of V_GROUP vectors. */
CR_INLINE void ROWS(act_group)(VF x[V_GROUP], cr_act_kind kind, VF a, VF b)
{
    VF u[V_GROUP], d[V_GROUP];
    if (kind != CR_ACT_SILU && kind != CR_ACT_SIGMOID) {
        V_EACH x[g] = ROWS(actv)(x[g], kind, a, b);
        return;
    }
    V_EACH x[g] = V_MAX(V_SET1(-CR_EXP_MAX), x[g]);
    V_EACH u[g] = V_MIN(V_SET1(-CR_EXP_MIN), x[g]);
    ROWS(exp_plus_1)(d, u);
    V_EACH x[g] = V_DIV(kind == CR_ACT_SILU ? x[g] : V_SET1(1.0f), d[g]);
}

/* clamp, round, add the zero point: cr_round_clamp on codes 0..255 */
CR_INLINE VI ROWS(codesv)(VF v, VF lo, VF hi, VI zp)
{
    return VI_ADD(V_ROUND_I(V_MIN(hi, V_MAX_NUM(v, lo))), zp);
}

#ifndef V_STORE_CODES
#define V_STORE_CODES(p, v, lo, hi, zp) VI_STORE_U8(p, ROWS(codesv)(v, lo, hi, zp))
#endif

CR_INLINE VF ROWS(load)(const float *p, int64_t n)
{
    if (n >= VN) return V_LOAD(p);
    return n > 0 ? V_LOAD_N(p, (int)n) : V_SET1(0.0f);
}

CR_INLINE void ROWS(store)(float *p, VF v, int64_t n)
{
    if (n >= VN)
        V_STORE(p, v);
    else if (n > 0)
        V_STORE_N(p, v, (int)n);
}

CR_INLINE void ROWS(act_as)(float *y, const float *x, size_t n, const cr_act *act,
                            const cr_act_kind kind)
{
    const VF a = V_SET1(act->a), b = V_SET1(act->b);
    const int64_t step = V_GROUP * VN, whole = (int64_t)n / step * step;
    VF v[V_GROUP];
    for (int64_t i = 0; i < whole; i += step) {
        V_EACH v[g] = V_LOAD(x + i + g * VN);
        ROWS(act_group)(v, kind, a, b);
        V_EACH V_STORE(y + i + g * VN, v[g]);
    }
    const int64_t rest = (int64_t)n - whole;
    if (!rest) return;
    V_EACH v[g] = ROWS(load)(x + whole + g * VN, rest - g * VN);
    ROWS(act_group)(v, kind, a, b);
    V_EACH ROWS(store)(y + whole + g * VN, v[g], rest - g * VN);
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

static void ROWS(quantize_pixels)(uint8_t *y, const float *const planes[4], size_t n, float scale,
                                  int32_t zero_point)
{
    const VF s = V_SET1(scale), lo = V_SET1((float)-zero_point);
    const VF hi = V_SET1((float)(255 - zero_point));
    const VI zp = VI_SET1(zero_point);
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        VI pixels = VI_SET1(0);
        for (int c = 3; c >= 0; c--) {
            pixels = VI_LEFT8(pixels);
            if (!planes[c]) continue;
            const VI q = ROWS(codesv)(V_DIV(V_LOAD(planes[c] + i), s), lo, hi, zp);
            pixels = VI_ADD(pixels, q);
        }
        VI_STORE((int32_t *)(void *)(y + 4 * i), pixels);
    }
    for (; i < n; i++)
        for (int c = 0; c < 4; c++)
            y[4 * i + c] = planes[c] ? cr_quantize_u8(planes[c][i], scale, zero_point) : 0;
}

static void ROWS(code_pixels)(uint8_t *y, const uint8_t *x, size_t n, const uint8_t table[3][256])
{
    size_t i = 0;
#ifdef VB_SPREAD
    const bool same = !memcmp(table[0], table[1], 256) && !memcmp(table[0], table[2], 256);
    const VT t = VT_LOAD(table[0]);
    for (; same && i + VB_N / 4 <= n; i += VB_N / 4)
        VB_STORE(y + 4 * i, VB_SPREAD(VT_LOOK(t, VB_TRIPLES(x + 3 * i))));
#endif
    for (; i < n; i++) {
        for (int c = 0; c < 3; c++) y[4 * i + c] = table[c][x[3 * i + c]];
        y[4 * i + 3] = 0;
    }
}

static void ROWS(dequantize)(float *y, const uint8_t *x, size_t n, float scale, int32_t zero_point)
{
    const VF s = V_SET1(scale);
    const VI zp = VI_SET1(-zero_point);
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, V_MUL(VI_TO_F(VI_ADD(V_LOAD_U8(x + i), zp)), s));
    for (; i < n; i++) y[i] = cr_dequantize(x[i], scale, zero_point);
}

/* The least value of a code before the zero point is added: exact for codes of up to 16 bits. */
CR_INLINE VF ROWS(below)(VI zp)
{
    return V_SUB(V_SET1(0.0f), VI_TO_F(zp));
}

static void ROWS(quantize_each)(uint8_t *y, const float *x, size_t n, const float *scale,
                                const int32_t *zero_point)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        const VI zp = VI_LOAD(zero_point + i);
        const VF lo = ROWS(below)(zp);
        VI_STORE_U8(y + i, ROWS(codesv)(V_DIV(V_LOAD(x + i), V_LOAD(scale + i)), lo,
                                        V_ADD(V_SET1(255.0f), lo), zp));
    }
    for (; i < n; i++) y[i] = cr_quantize_u8(x[i], scale[i], zero_point[i]);
}

static void ROWS(dequantize_each)(float *y, const uint8_t *x, size_t n, const float *scale,
                                  const int32_t *zero_point)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        const VF minus_zero = ROWS(below)(VI_LOAD(zero_point + i));
        V_STORE(y + i, V_MUL(V_ADD(VI_TO_F(V_LOAD_U8(x + i)), minus_zero), V_LOAD(scale + i)));
    }
    for (; i < n; i++) y[i] = cr_dequantize(x[i], scale[i], zero_point[i]);
}

CR_INLINE void ROWS(store_wide)(uint8_t *y, int64_t plane, VF v, VF lo, VI zp)
{
    const VI codes = ROWS(codesv)(v, lo, V_ADD(V_SET1(65535.0f), lo), zp);
    VI_STORE_U8(y, VI_RIGHT8(codes));
    VI_STORE_U8(y + plane, VI_LOW8(codes));
}

static void ROWS(quantize_wide)(uint8_t *y, int64_t plane, const float *x, size_t n,
                                const float *scale, const int32_t *zero_point)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        const VI zp = VI_LOAD(zero_point + i);
        ROWS(store_wide)
        (y + i, plane, V_DIV(V_LOAD(x + i), V_LOAD(scale + i)), ROWS(below)(zp), zp);
    }
    for (; i < n; i++) {
        const uint16_t code = cr_quantize_u16(x[i], scale[i], zero_point[i]);
        y[i] = (uint8_t)(code >> 8);
        y[(int64_t)i + plane] = (uint8_t)(code & 255);
    }
}

static void ROWS(dequantize_wide)(float *y, const uint8_t *x, int64_t plane, size_t n,
                                  const float *scale, const int32_t *zero_point)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        const VI codes = VI_ADD(VI_LEFT8(V_LOAD_U8(x + i)), V_LOAD_U8(x + i + plane));
        const VF minus_zero = ROWS(below)(VI_LOAD(zero_point + i));
        V_STORE(y + i, V_MUL(V_ADD(VI_TO_F(codes), minus_zero), V_LOAD(scale + i)));
    }
    for (; i < n; i++)
        y[i] = cr_dequantize(x[i] << 8 | x[(int64_t)i + plane], scale[i], zero_point[i]);
}

static void ROWS(join_sums)(int32_t *high, const int32_t *low, const double *offset,
                            const cr_finish_area *area)
{
    for (int64_t r = 0; r < area->rows; r++, high += area->ld_in, low += area->ld_in) {
        int64_t i = 0;
        for (; i + VN <= area->cols; i += VN)
            V_STORE((float *)(void *)(high + i),
                    V_JOIN(VI_LOAD(high + i), VI_LOAD(low + i), offset + i));
        for (; i < area->cols; i++) {
            const float sum = (float)((double)high[i] * 256 + (double)low[i] + offset[i]);
            memcpy(high + i, &sum, sizeof sum);
        }
    }
}

static void ROWS(take_zeros)(int32_t *sums, const int32_t *zero, const int32_t *ones,
                             const cr_finish_area *area)
{
    for (int64_t r = 0; r < area->rows; r++, sums += area->ld_in, ones += area->ld_out) {
        const VI sum = VI_SET1(*ones);
        int64_t i = 0;
        for (; i + VN <= area->cols; i += VN)
            VI_STORE(sums + i, VI_SUB(VI_LOAD(sums + i), VI_MUL(VI_LOAD(zero + i), sum)));
        for (; i < area->cols; i++)
            sums[i] = cr_wrap_add(sums[i], cr_wrap_mul(-zero[i], *ones));
    }
}

static void ROWS(table)(uint8_t *y, const uint8_t *x, const cr_finish_area *area,
                        const uint8_t table[256])
{
#ifdef VT_LOOK
    const VT t = VT_LOAD(table);
#endif
    for (int64_t r = 0; r < area->rows; r++, y += area->ld_out, x += area->ld_in) {
        int64_t i = 0;
#ifdef VT_LOOK
        for (; i + VB_N <= area->cols; i += VB_N) VB_STORE(y + i, VT_LOOK(t, VB_LOAD(x + i)));
#ifdef VB_LOAD_N
        const int rest = (int)(area->cols - i);
        if (rest) VB_STORE_N(y + i, VT_LOOK(t, VB_LOAD_N(x + i, rest)), rest);
        continue;
#endif
#endif
        for (; i < area->cols; i++) y[i] = table[x[i]];
    }
}

CR_INLINE VF ROWS(values)(const uint8_t *x, int64_t at, int n, VF scale, VI minus_zero)
{
    const uint8_t *p = x + at;
    uint8_t part[VN] = {0};
    if (n < VN) memcpy(part, p, (size_t)n);
    return V_MUL(VI_TO_F(VI_ADD(V_LOAD_U8(n < VN ? part : p), minus_zero)), scale);
}

static void ROWS(add_u8)(uint8_t *y, int64_t ld, const cr_codes *a, const cr_codes *b, int64_t rows,
                         int64_t cols, float scale, int32_t zero_point)
{
    const VF sa = V_SET1(a->scale), sb = V_SET1(b->scale), s = V_SET1(scale);
    const VI za = VI_SET1(-a->zero_point), zb = VI_SET1(-b->zero_point), zp = VI_SET1(zero_point);
    const VF lo = V_SET1((float)-zero_point), hi = V_SET1((float)(255 - zero_point));
    (void)hi;
    for (int64_t r = 0; r < rows; r++) {
        int64_t i = 0;
        for (; i + VN <= cols; i += VN) {
            const VF v = V_ADD(ROWS(values)(a->data, r * a->ld + i, VN, sa, za),
                               ROWS(values)(b->data, r * b->ld + i, VN, sb, zb));
            V_STORE_CODES(y + r * ld + i, V_DIV(v, s), lo, hi, zp);
        }
        const int rest = (int)(cols - i);
        if (!rest) continue;
        uint8_t part[VN];
        const VF v = V_ADD(ROWS(values)(a->data, r * a->ld + i, rest, sa, za),
                           ROWS(values)(b->data, r * b->ld + i, rest, sb, zb));
        V_STORE_CODES(part, V_DIV(v, s), lo, hi, zp);
        memcpy(y + r * ld + i, part, (size_t)rest);
    }
}

/* ---- sums to results ---- */

/* V_GROUP rows of one vector of columns, `n` of its lanes: act((float)acc * m). Rows from `rows` on
 * repeat the last one. */
CR_INLINE void ROWS(finish_group)(VF v[V_GROUP], const int32_t *acc, int64_t ld, int rows, int n, VF m,
                                  const cr_act *act, const cr_act_kind kind, const bool floats)
{
    V_EACH
    {
        const int32_t *row = acc + (g < rows ? g : rows - 1) * ld;
        const VF sum = floats ? ROWS(load)((const float *)(const void *)row, n)
                              : VI_TO_F(n == VN ? VI_LOAD(row) : VI_LOAD_N(row, n));
        v[g] = V_MUL(sum, m);
    }
    ROWS(act_group)(v, kind, V_SET1(act->a), V_SET1(act->b));
}

CR_INLINE void ROWS(finish_f32_part)(float *y, const int32_t *acc, const cr_finish_area *area,
                                     int rows, int n, VF m, const cr_act *act,
                                     const cr_act_kind kind, const bool floats)
{
    VF v[V_GROUP];
    ROWS(finish_group)(v, acc, area->ld_in, rows, n, m, act, kind, floats);
    V_EACH if (g < rows) ROWS(store)(y + g * area->ld_out, v[g], n);
}

/* Scales and zero points of n columns from i on; lanes beyond them are not used. */
CR_INLINE VF ROWS(scales)(const cr_finish *f, int64_t i, int n)
{
    return f->scales ? ROWS(load)(f->scales + i, n) : V_SET1(f->scale);
}

CR_INLINE VI ROWS(zeros)(const cr_finish *f, int64_t i, int n)
{
    if (!f->scales) return VI_SET1(f->zero_point);
    return n == VN ? VI_LOAD(f->zeros + i) : VI_LOAD_N(f->zeros + i, n);
}

/* FINISH(y, acc, area, rows, n, column, row) for every group of rows of every vector of columns;
 * rows and n are constants where it is whole. */
#define ROWS_FINISH(FINISH)                                                                        \
    for (int64_t i = 0; i < area->cols; i += VN) {                                                 \
        const int n = area->cols - i < VN ? (int)(area->cols - i) : VN;                            \
        const VF m = ROWS(load)(own.multiplier + i, n), s = ROWS(scales)(&own, i, n);              \
        const VI zp = ROWS(zeros)(&own, i, n);                                                     \
        for (int64_t r = 0; r < area->rows; r += V_GROUP) {                                        \
            const int rows = area->rows - r < V_GROUP ? (int)(area->rows - r) : V_GROUP;           \
            if (rows == V_GROUP && n == VN)                                                        \
                FINISH(y + r * area->ld_out + i, acc + r * area->ld_in + i, area, V_GROUP, VN, i,  \
                       r);                                                                         \
            else                                                                                   \
                FINISH(y + r * area->ld_out + i, acc + r * area->ld_in + i, area, rows, n, i, r);  \
        }                                                                                          \
    }

CR_INLINE void ROWS(finish_f32_as)(float *y, const int32_t *acc, const cr_finish_area *area,
                                   const cr_finish *f, const cr_act_kind kind, const bool floats)
{
    const cr_finish own = *f;
#define ROWS_FLOATS(y, acc, area, rows, n, i, r)                                                   \
    ((void)s, (void)zp, ROWS(finish_f32_part)(y, acc, area, rows, n, m, &own.act, kind, floats))
    ROWS_FINISH(ROWS_FLOATS)
#undef ROWS_FLOATS
}

static void ROWS(finish_f32)(float *y, const int32_t *acc, const cr_finish_area *area,
                             const cr_finish *f)
{
    switch (f->act.kind) {
#define ROWS_AS(kind)                                                                              \
    case kind:                                                                                     \
        if (f->floats)                                                                             \
            ROWS(finish_f32_as)(y, acc, area, f, kind, true);                                      \
        else                                                                                       \
            ROWS(finish_f32_as)(y, acc, area, f, kind, false);                                     \
        break;
        ROWS_KINDS
#undef ROWS_AS
    }
}

/* Codes of a group; s, zp: its columns' scales and zero points. A residual is the same piece of another tensor. */
CR_INLINE void ROWS(finish_u8_part)(uint8_t *y, const int32_t *acc, const cr_finish_area *area,
                                    int rows, int n, VF m, VF s, VI zp, const cr_finish *f,
                                    const uint8_t *added, const cr_act_kind kind,
                                    const bool floats)
{
    const VF lo = ROWS(below)(zp), hi = V_ADD(V_SET1(255.0f), lo);
    VF v[V_GROUP];
    (void)hi; /* some levels saturate instead */
    ROWS(finish_group)(v, acc, area->ld_in, rows, n, m, &f->act, kind, floats);
    if (added) {
        const cr_codes *r = &f->residual;
        const VF sr = V_SET1(r->scale);
        const VI zr = VI_SET1(-r->zero_point);
        V_EACH v[g] = V_ADD(v[g], ROWS(values)(added, (g < rows ? g : rows - 1) * r->ld, n, sr, zr));
    }
    V_EACH if (kind != CR_ACT_NONE || added) v[g] = V_DIV(v[g], s);
    V_EACH if (g < rows)
    {
        uint8_t part[VN];
        V_STORE_CODES(n == VN ? y + g * area->ld_out : part, v[g], lo, hi, zp);
        if (n < VN) memcpy(y + g * area->ld_out, part, (size_t)n);
    }
}

CR_INLINE void ROWS(finish_u8_as)(uint8_t *y, const int32_t *acc, const cr_finish_area *area,
                                  const cr_finish *f, const cr_act_kind kind, const bool floats)
{
    const cr_finish own = *f; /* y may alias anything that is a byte, this cannot */
#define ROWS_PLAIN(y, acc, area, rows, n, i, r)                                                    \
    ROWS(finish_u8_part)(y, acc, area, rows, n, m, s, zp, &own, NULL, kind, floats)
#define ROWS_ADDED(y, acc, area, rows, n, i, r)                                                    \
    ROWS(finish_u8_part)                                                                           \
    (y, acc, area, rows, n, m, s, zp, &own, own.residual.data + (r) * own.residual.ld + (i), kind, \
     floats)
    if (own.residual.data)
        ROWS_FINISH(ROWS_ADDED)
    else
        ROWS_FINISH(ROWS_PLAIN)
#undef ROWS_PLAIN
#undef ROWS_ADDED
}

static void ROWS(finish_u8)(uint8_t *y, const int32_t *acc, const cr_finish_area *area,
                            const cr_finish *f)
{
    switch (f->act.kind) {
#define ROWS_AS(kind)                                                                              \
    case kind:                                                                                     \
        if (f->floats)                                                                             \
            ROWS(finish_u8_as)(y, acc, area, f, kind, true);                                       \
        else                                                                                       \
            ROWS(finish_u8_as)(y, acc, area, f, kind, false);                                      \
        break;
        ROWS_KINDS
#undef ROWS_AS
    }
}

CR_INLINE void ROWS(finish_wide_part)(uint8_t *y, int64_t plane, const int32_t *acc,
                                      const cr_finish_area *area, int rows, int n, VF m, VF s,
                                      VI zp, const cr_act *act, const cr_act_kind kind,
                                      const bool floats)
{
    const VF lo = ROWS(below)(zp);
    VF v[V_GROUP];
    ROWS(finish_group)(v, acc, area->ld_in, rows, n, m, act, kind, floats);
    V_EACH if (kind != CR_ACT_NONE) v[g] = V_DIV(v[g], s);
    V_EACH if (g < rows)
    {
        uint8_t part[2 * VN], *to = y + g * area->ld_out;
        if (n == VN) {
            ROWS(store_wide)(to, plane, v[g], lo, zp);
            continue;
        }
        ROWS(store_wide)(part, VN, v[g], lo, zp);
        memcpy(to, part, (size_t)n);
        memcpy(to + plane, part + VN, (size_t)n);
    }
}

CR_INLINE void ROWS(finish_wide_as)(uint8_t *y, int64_t plane, const int32_t *acc,
                                    const cr_finish_area *area, const cr_finish *f,
                                    const cr_act_kind kind, const bool floats)
{
    const cr_finish own = *f;
#define ROWS_WIDE(y, acc, area, rows, n, i, r)                                                     \
    ROWS(finish_wide_part)(y, plane, acc, area, rows, n, m, s, zp, &own.act, kind, floats)
    ROWS_FINISH(ROWS_WIDE)
#undef ROWS_WIDE
}

static void ROWS(finish_wide)(uint8_t *y, int64_t plane, const int32_t *acc,
                              const cr_finish_area *area, const cr_finish *f)
{
    switch (f->act.kind) {
#define ROWS_AS(kind)                                                                              \
    case kind:                                                                                     \
        if (f->floats)                                                                             \
            ROWS(finish_wide_as)(y, plane, acc, area, f, kind, true);                              \
        else                                                                                       \
            ROWS(finish_wide_as)(y, plane, acc, area, f, kind, false);                             \
        break;
        ROWS_KINDS
#undef ROWS_AS
    }
}

#include "kernels/rows_live_body.h"

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
        const VF e = cr_expv(V_SUB(V_LOAD(x + i), V_LOAD(shift + i)));
        V_STORE(y + i, e);
        V_STORE(sum + i, V_ADD(V_LOAD(sum + i), e));
    }
    for (; i < n; i++) {
        y[i] = cr_expf(x[i] - shift[i]);
        sum[i] += y[i];
    }
}

static void ROWS(exp_mean)(const float *x, const float *shift, float w, float *sum, float *mean,
                           size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        const VF e = cr_expv(V_SUB(V_LOAD(x + i), V_LOAD(shift + i)));
        V_STORE(sum + i, V_ADD(V_LOAD(sum + i), e));
        V_STORE(mean + i, V_FMA(e, V_SET1(w), V_LOAD(mean + i)));
    }
    for (; i < n; i++) {
        const float e = cr_expf(x[i] - shift[i]);
        sum[i] += e;
        mean[i] = fmaf(e, w, mean[i]);
    }
}

/* Blocks of VN x VN; what is left of channels and pixels goes one by one. */
static void ROWS(planes)(float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t pixels,
                         int64_t channels)
{
    int64_t c = 0;
    for (; c + VN <= channels; c += VN) {
        int64_t p = 0;
        for (; p + VN <= pixels; p += VN) {
            VF r[VN];
            CR_UNROLL for (int i = 0; i < VN; i++) r[i] = V_LOAD(x + (p + i) * ld_x + c);
            V_TRANSPOSE(r);
            CR_UNROLL for (int i = 0; i < VN; i++) V_STORE(y + (c + i) * ld_y + p, r[i]);
        }
        for (; p < pixels; p++)
            for (int i = 0; i < VN; i++) y[(c + i) * ld_y + p] = x[p * ld_x + c + i];
    }
    for (; c < channels; c++)
        for (int64_t p = 0; p < pixels; p++) y[c * ld_y + p] = x[p * ld_x + c];
}

#define ROWS_RECORD(level)                                                                         \
    {                                                                                              \
        .name = "rows " level, .act = ROWS(act), .quantize = ROWS(quantize), .quantize_pixels = ROWS(quantize_pixels), .code_pixels = ROWS(code_pixels),                       \
        .dequantize = ROWS(dequantize), .quantize_each = ROWS(quantize_each),                      \
        .dequantize_each = ROWS(dequantize_each), .quantize_wide = ROWS(quantize_wide),            \
        .dequantize_wide = ROWS(dequantize_wide), .finish_wide = ROWS(finish_wide),                \
        .join_sums = ROWS(join_sums), .take_zeros = ROWS(take_zeros), .table = ROWS(table), .add_u8 = ROWS(add_u8), .finish_f32 = ROWS(finish_f32),      \
        .finish_u8 = ROWS(finish_u8), .finish_live = ROWS(finish_live), .range = ROWS(range), .max_f32 = ROWS(max_f32), .max_u8 = ROWS(max_u8),            \
        .add_f32 = ROWS(add_f32), .mul_f32 = ROWS(mul_f32), .exp_sum = ROWS(exp_sum), .exp_mean = ROWS(exp_mean), .planes = ROWS(planes)               \
    }
