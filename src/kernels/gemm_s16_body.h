/* The integer tile of gemm.h: GEMM_MR rows times GEMM_NV vectors of LANES columns. A level defines
 * VS (vectors of int32 sums), VB (two int16 per column), G_PAIR(x) (a pair of int16 as one int32,
 * everywhere), G_LOAD(p), G_DOT(sums, a, b), G_ZERO, G_STORE(p, sums). */
#include <string.h>

#include "kernels/gemm.h"
#include "kernels/unroll.h"

CR_INLINE void GEMM(tile)(const cr_gemm_s16_tile *t, const int nv)
{
    VS acc[GEMM_MR][GEMM_NV];
    const int16_t *p[GEMM_MR];
    CR_UNROLL for (int r = 0; r < GEMM_MR; r++)
    {
        p[r] = t->a + (r < t->rows ? r : t->rows - 1) * t->k2;
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = G_ZERO;
    }
    const int16_t *w = t->b;
    for (int64_t k = 0; k < t->k2; k += 2, w += nv * LANES * 2) {
        VB b[GEMM_NV];
        CR_UNROLL for (int v = 0; v < nv; v++) b[v] = G_LOAD(w + v * LANES * 2);
        CR_UNROLL for (int r = 0; r < GEMM_MR; r++)
        {
            int32_t pair;
            memcpy(&pair, p[r] + k, sizeof pair);
            const VB x = G_PAIR(pair);
            CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = G_DOT(acc[r][v], x, b[v]);
        }
    }
    CR_UNROLL for (int r = 0; r < GEMM_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        G_STORE(t->c + (r * nv + v) * LANES, acc[r][v]);
}

static void GEMM(run)(const cr_gemm_s16_tile *t)
{
    if (t->cols <= LANES)
        GEMM(tile)(t, 1);
    else
        GEMM(tile)(t, 2);
}

#define GEMM_RECORD(text)                                                                          \
    {                                                                                              \
        text, GEMM(run), GEMM_MR, GEMM_NV *LANES, LANES                                            \
    }
