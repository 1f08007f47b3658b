/* The float tile, written once over vec_*.h: MR rows times NV vectors of output channels, all sums
 * in registers. CONV(name) names it; CONV_MR and CONV_NV give its size. Rows of A are broadcast one
 * value at a time, which fused multiply-add takes from memory for free. */
#include "kernels/conv.h"

#define CONV_TILE(nv)                                                                              \
    VF acc[CONV_MR][nv];                                                                           \
    _Pragma("GCC unroll 16") for (int r = 0; r < CONV_MR; r++)                                     \
        _Pragma("GCC unroll 4") for (int v = 0; v < nv; v++) acc[r][v] = V_SET1(0.0f);             \
    const float *w = t->w;                                                                         \
    for (int64_t tap = 0; tap < t->taps; tap++) {                                                  \
        const float *const *a = t->a + tap * CONV_MR;                                              \
        for (int64_t k = 0; k < t->cin; k++, w += CONV_NV * VN) {                                  \
            VF b[nv];                                                                              \
            _Pragma("GCC unroll 4") for (int v = 0; v < nv; v++) b[v] = V_LOAD(w + v * VN);        \
            _Pragma("GCC unroll 16") for (int r = 0; r < CONV_MR; r++)                             \
            {                                                                                      \
                const VF x = V_SET1(a[r][k]);                                                      \
                _Pragma("GCC unroll 4") for (int v = 0; v < nv; v++)                               \
                    acc[r][v] = V_FMA(x, b[v], acc[r][v]);                                         \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    _Pragma("GCC unroll 16") for (int r = 0; r < CONV_MR; r++)                                     \
        _Pragma("GCC unroll 4") for (int v = 0; v < nv; v++)                                       \
            V_STORE(t->c + (r * CONV_NV + v) * VN, acc[r][v])

static void CONV(run)(const cr_conv_f32_tile *t)
{
    if (t->vectors == 1) {
        CONV_TILE(1);
    } else {
        CONV_TILE(CONV_NV);
    }
}

#define CONV_RECORD(text)                                                                          \
    {                                                                                              \
        text, CONV(run), CONV_MR, CONV_NV *VN, VN                                                  \
    }
