/* The float tile, written once over vec_*.h: CONV_MR pixels times up to CONV_NV vectors of output
 * channels, all sums in registers. CONV(name) names it. A value of A is broadcast and multiplied
 * into the CONV_NV vectors of one step's weights; every sum is one chain of fused multiply-adds in
 * the order (tap, channel), so all levels that have FMA agree to the last bit. */
#include "kernels/conv_walk.h"
#include "kernels/unroll.h"

CR_INLINE void CONV(tile)(const cr_conv_f32_tile *t, const int nv)
{
    VF acc[CONV_MR][CONV_NV];
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        V_LOAD(t->bias + v * VN);
    const float *w = t->w;
    const float *const *a = t->a;
    for (int64_t tap = 0; tap < t->taps; tap++, a += CONV_MR) {
        const float *p[CONV_MR];
        CR_UNROLL for (int r = 0; r < CONV_MR; r++) p[r] = a[r];
        for (int64_t k = 0; k < t->cin; k++, w += nv * VN) {
            VF b[CONV_NV];
            CR_UNROLL for (int v = 0; v < nv; v++) b[v] = V_LOAD(w + v * VN);
            CR_UNROLL for (int r = 0; r < CONV_MR; r++)
            {
                const VF x = V_SET1(p[r][k]);
                CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = V_FMA(x, b[v], acc[r][v]);
            }
        }
    }
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        V_STORE(t->c + (r * nv + v) * VN, acc[r][v]);
}

static void CONV(run)(const cr_conv_f32_tile *t)
{
    switch (t->vectors) {
    case 1:
        CONV(tile)(t, 1);
        break;
#if CONV_NV > 2
    case 2:
        CONV(tile)(t, 2);
        break;
    case 3:
        CONV(tile)(t, 3);
        break;
#endif
    default:
        CONV(tile)(t, CONV_NV);
        break;
    }
}

#define CONV_RECORD(text)                                                                          \
    {                                                                                              \
        text, CONV(run), CONV_MR, CONV_NV *VN, VN                                                  \
    }
