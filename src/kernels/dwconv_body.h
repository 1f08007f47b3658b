/* Depthwise tiles over vec_*.h: DW_MR pixels at a time, one vector of channels after another; a
 * tap's weights are loaded once for all pixels. Codes become floats on the way in: their sums are
 * whole numbers below 2^24, so the float sums are exact and the order does not matter. The last,
 * shorter vector takes partial loads and stores, nothing outside a row is touched. */
#include "kernels/conv_walk.h"
#include "kernels/unroll.h"

CR_INLINE VF DW(input)(const unsigned char *row, int64_t c, int n, const bool codes)
{
    if (codes) return n == VN ? V_LOAD_U8_F(row + c) : V_LOAD_U8_F_N(row + c, n);
    const float *x = (const float *)(const void *)row + c;
    return n == VN ? V_LOAD(x) : V_LOAD_N(x, n);
}

CR_INLINE void DW(sums)(const cr_dwconv_tile *t, int64_t c, int n, const bool codes, VF *acc)
{
    const unsigned char *const *a = t->a;
    const float *w = t->w + c;
    for (int64_t tap = 0; tap < t->taps; tap++, a += DW_MR, w += t->channels) {
        const VF b = n == VN ? V_LOAD(w) : V_LOAD_N(w, n);
        CR_UNROLL for (int r = 0; r < DW_MR; r++) acc[r] =
            V_FMA(DW(input)(a[r], c, n, codes), b, acc[r]);
    }
}

CR_INLINE void DW(part_f32)(const cr_dwconv_tile *t, int64_t c, int n)
{
    const float *bias = (const float *)t->bias + c;
    float *y = (float *)t->c + c;
    VF acc[DW_MR];
    CR_UNROLL for (int r = 0; r < DW_MR; r++) acc[r] = n == VN ? V_LOAD(bias) : V_LOAD_N(bias, n);
    DW(sums)(t, c, n, false, acc);
    CR_UNROLL for (int r = 0; r < DW_MR; r++)
    {
        if (r >= t->rows) return;
        if (n == VN)
            V_STORE(y + r * t->ld, acc[r]);
        else
            V_STORE_N(y + r * t->ld, acc[r], n);
    }
}

CR_INLINE void DW(part_s8)(const cr_dwconv_tile *t, int64_t c, int n)
{
    const int32_t *bias = (const int32_t *)t->bias + c;
    int32_t *y = (int32_t *)t->c + c;
    VF acc[DW_MR];
    CR_UNROLL for (int r = 0; r < DW_MR; r++) acc[r] = V_SET1(0.0f);
    DW(sums)(t, c, n, true, acc);
    const VI b = n == VN ? VI_LOAD(bias) : VI_LOAD_N(bias, n);
    CR_UNROLL for (int r = 0; r < DW_MR; r++)
    {
        if (r >= t->rows) return;
        const VI sum = VI_ADD(V_ROUND_I(acc[r]), b);
        if (n == VN)
            VI_STORE(y + r * t->ld, sum);
        else
            VI_STORE_N(y + r * t->ld, sum, n);
    }
}

static void DW(run_f32)(const cr_dwconv_tile *t)
{
    int64_t c = 0;
    for (; c + VN <= t->channels; c += VN) DW(part_f32)(t, c, VN);
    if (c < t->channels) DW(part_f32)(t, c, (int)(t->channels - c));
}

static void DW(run_s8)(const cr_dwconv_tile *t)
{
    int64_t c = 0;
    for (; c + VN <= t->channels; c += VN) DW(part_s8)(t, c, VN);
    if (c < t->channels) DW(part_s8)(t, c, (int)(t->channels - c));
}

#define DW_RECORD(level)                                                                           \
    {                                                                                              \
        "dwconv_f32 " level, "dwconv_s8 " level, DW(run_f32), DW(run_s8), DW_MR                    \
    }
