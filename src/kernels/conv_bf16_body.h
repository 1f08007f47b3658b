/* The bfloat16 tile for CPUs without bfloat16 arithmetic, written once over vec_*.h: a pair of
 * channels is widened with a shift and a mask and multiplied into float weights, first channel
 * first. As fast as float32 at best; what it saves is memory traffic, and it lets a bf16 program
 * run anywhere. */
#include "kernels/conv_bf16_tile.h"
#include "kernels/unroll.h"

CR_INLINE float CONV(bits)(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* One channel of every pixel, in the upper half of u[r], times a vector row of weights. */
CR_INLINE void CONV(channel)(VF acc[CONV_MR][CONV_NV], const uint32_t u[CONV_MR], const float *w,
                             const int nv)
{
    VF b[CONV_NV];
    CR_UNROLL for (int v = 0; v < nv; v++) b[v] = V_LOAD(w + v * VN);
    CR_UNROLL for (int r = 0; r < CONV_MR; r++)
    {
        const VF x = V_SET1(CONV(bits)(u[r]));
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = V_FMA(x, b[v], acc[r][v]);
    }
}

CR_INLINE void CONV(tile)(const cr_conv_bf16_tile *t, const int nv)
{
    VF acc[CONV_MR][CONV_NV];
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        V_LOAD(t->bias + v * VN);
    const float *w = t->w;
    const cr_bf16 *const *a = t->a;
    for (int64_t tap = 0; tap < t->taps; tap++, a += CONV_MR)
        for (int64_t k = 0; k < t->cin; k += 2, w += 2 * nv * VN) {
            uint32_t first[CONV_MR], second[CONV_MR];
            CR_UNROLL for (int r = 0; r < CONV_MR; r++) first[r] = (uint32_t)a[r][k] << 16;
            CONV(channel)(acc, first, w, nv);
            if (k + 1 == t->cin) continue;
            CR_UNROLL for (int r = 0; r < CONV_MR; r++) second[r] = (uint32_t)a[r][k + 1] << 16;
            CONV(channel)(acc, second, w + nv * VN, nv);
        }
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        V_STORE(t->c + (r * nv + v) * VN, acc[r][v]);
}

static void CONV(run)(const cr_conv_bf16_tile *t)
{
    if (t->vectors == 1)
        CONV(tile)(t, 1);
    else
        CONV(tile)(t, CONV_NV);
}

#define CONV_RECORD(text)                                                                          \
    {                                                                                              \
        .name = text, .run = CONV(run), .mr = CONV_MR, .nr = CONV_NV * VN, .lanes = VN,            \
        .layout = CR_BF16_FLOATS                                                                   \
    }
