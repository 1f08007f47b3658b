/* Float depthwise sums (dwconv_f32.h) for every level: DW_MR output pixels at a time, one vector of
 * channels after another, products added in the order of the taps. A weight is loaded once for all
 * pixels. The last pixels are done by a step back (some are computed twice); the last, shorter
 * vector takes partial loads and stores: nothing outside a row is touched. */
#include "kernels/dwconv_f32.h"
#include "kernels/unroll.h"

CR_INLINE void DW(pixels)(const cr_dwconv_f32_tile *t, int64_t c, int64_t p, const int n,
                          const int lanes)
{
    const bool whole = lanes == VN;
    const float *x = t->x + p * t->step + c, *w = t->w + c;
    const VF bias = whole ? V_LOAD(t->bias + c) : V_LOAD_N(t->bias + c, lanes);
    VF acc[DW_MR];
    CR_UNROLL for (int r = 0; r < n; r++) acc[r] = bias;
    for (int64_t ky = 0; ky < t->kh; ky++, x += t->row, w += t->w_row) {
        const float *tap = x, *b = w;
        for (int64_t kx = 0; kx < t->kw; kx++, tap += t->dil, b += t->channels) {
            const VF v = whole ? V_LOAD(b) : V_LOAD_N(b, lanes);
            CR_UNROLL for (int r = 0; r < n; r++) acc[r] = V_FMA(
                whole ? V_LOAD(tap + r * t->step) : V_LOAD_N(tap + r * t->step, lanes), v, acc[r]);
        }
    }
    float *y = t->c + p * t->ld + c;
    CR_UNROLL for (int r = 0; r < n; r++)
    {
        if (whole)
            V_STORE(y + r * t->ld, acc[r]);
        else
            V_STORE_N(y + r * t->ld, acc[r], lanes);
    }
}

CR_INLINE void DW(vector)(const cr_dwconv_f32_tile *t, int64_t c, const int lanes)
{
    int64_t p = 0;
    for (; p + DW_MR <= t->pixels; p += DW_MR) DW(pixels)(t, c, p, DW_MR, lanes);
    if (p && p < t->pixels) DW(pixels)(t, c, t->pixels - DW_MR, DW_MR, lanes);
    for (; p < t->pixels && t->pixels < DW_MR; p++) DW(pixels)(t, c, p, 1, lanes);
}

static void DW(run)(const cr_dwconv_f32_tile *t)
{
    int64_t c = 0;
    for (; c + VN <= t->channels; c += VN) DW(vector)(t, c, VN);
    if (c < t->channels) DW(vector)(t, c, (int)(t->channels - c));
}

#define DW_RECORD(level)                                                                           \
    {                                                                                              \
        "dwconv_f32 " level, DW(run)                                                               \
    }
