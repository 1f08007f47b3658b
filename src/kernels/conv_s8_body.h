/* The int8 tile, written once: MR rows times NV vectors of int32 sums. Each step takes KG codes of
 * every row, broadcasts them to all lanes and multiplies them into the lanes' own KG weights.
 *
 *   DOT(acc, x, w)    acc += sum of KG products per lane (exact)
 *   STEP(p)           KG codes at p, broadcast;  STEP_TAIL(p, n): only n < KG are there
 *   W_LOAD(p)         one vector of packed weights; WBYTES: its size in bytes */
#include <string.h>

#include "kernels/conv.h"

#define CONV_STEP(nv, load)                                                                        \
    do {                                                                                           \
        VI b[nv];                                                                                  \
        _Pragma("GCC unroll 4") for (int v = 0; v < nv; v++) b[v] = W_LOAD(w + v * WBYTES);        \
        _Pragma("GCC unroll 16") for (int r = 0; r < CONV_MR; r++)                                 \
        {                                                                                          \
            const VI x = load;                                                                     \
            _Pragma("GCC unroll 4") for (int v = 0; v < nv; v++) acc[r][v] = DOT(acc[r][v], x, b[v]); \
        }                                                                                          \
        w += CONV_NV * WBYTES;                                                                     \
    } while (0)

#define CONV_TILE(nv)                                                                              \
    VI acc[CONV_MR][nv];                                                                           \
    _Pragma("GCC unroll 16") for (int r = 0; r < CONV_MR; r++)                                     \
        _Pragma("GCC unroll 4") for (int v = 0; v < nv; v++) acc[r][v] = VI_SET1(0);               \
    const unsigned char *w = t->w;                                                                 \
    const int64_t whole = t->cin / KG * KG;                                                        \
    const int rest = (int)(t->cin - whole);                                                        \
    for (int64_t tap = 0; tap < t->taps; tap++) {                                                  \
        const uint8_t *const *a = t->a + tap * CONV_MR;                                            \
        for (int64_t k = 0; k < whole; k += KG) CONV_STEP(nv, STEP(a[r] + k));                     \
        if (rest) CONV_STEP(nv, STEP_TAIL(a[r] + whole, rest));                                    \
    }                                                                                              \
    _Pragma("GCC unroll 16") for (int r = 0; r < CONV_MR; r++)                                     \
        _Pragma("GCC unroll 4") for (int v = 0; v < nv; v++)                                       \
            VI_STORE(t->c + (r * CONV_NV + v) * VN, acc[r][v])

static void CONV(run)(const cr_conv_s8_tile *t)
{
    if (t->vectors == 1) {
        CONV_TILE(1);
    } else {
        CONV_TILE(CONV_NV);
    }
}

#define CONV_RECORD(text)                                                                          \
    {                                                                                              \
        text, CONV(run), CONV_MR, CONV_NV *VN, VN, KG, WBYTES == VN * KG * 2                       \
    }
