/* Depthwise tiles on bfloat16 rows over vec_bf16_*.h: DW_MR pixels at a time, one vector of
 * channels after another, float32 arithmetic in the order of the taps. */
#include "kernels/conv_bf16_tile.h"
#include "kernels/unroll.h"

CR_INLINE void DW(part)(const cr_dwconv_bf16_tile *t, int64_t c, int n)
{
    const bool whole = n == VN;
    const cr_bf16 *const *a = t->a;
    const float *w = t->w + c;
    const VF bias = whole ? V_LOAD(t->bias + c) : V_LOAD_N(t->bias + c, n);
    VF acc[DW_MR];
    CR_UNROLL for (int r = 0; r < DW_MR; r++) acc[r] = bias;
    for (int64_t tap = 0; tap < t->taps; tap++, a += DW_MR, w += t->channels) {
        const VF b = whole ? V_LOAD(w) : V_LOAD_N(w, n);
        CR_UNROLL for (int r = 0; r < DW_MR; r++) acc[r] =
            V_FMA(whole ? B_LOAD(a[r] + c) : B_LOAD_N(a[r] + c, n), b, acc[r]);
    }
    CR_UNROLL for (int r = 0; r < DW_MR; r++)
    {
        float *y = t->c + r * t->channels + c;
        if (r >= t->rows) return;
        if (whole)
            V_STORE(y, acc[r]);
        else
            V_STORE_N(y, acc[r], n);
    }
}

static void DW(run)(const cr_dwconv_bf16_tile *t)
{
    int64_t c = 0;
    for (; c + VN <= t->channels; c += VN) DW(part)(t, c, VN);
    if (c < t->channels) DW(part)(t, c, (int)(t->channels - c));
}

#define DW_RECORD(level)                                                                           \
    {                                                                                              \
        "dwconv_bf16 " level, DW(run), DW_MR                                                       \
    }
