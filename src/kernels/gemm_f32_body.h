/* The float tile of gemm.h over vec_*.h: GEMM_MR rows times GEMM_NV vectors of columns. */
#include "kernels/gemm.h"
#include "kernels/unroll.h"

CR_INLINE void GEMM(tile)(const cr_gemm_f32_tile *t, const int nv)
{
    VF acc[GEMM_MR][GEMM_NV];
    const float *p[GEMM_MR];
    CR_UNROLL for (int r = 0; r < GEMM_MR; r++)
    {
        p[r] = t->a + (r < t->rows ? r : t->rows - 1) * t->a_down;
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = V_SET1(0.0f);
    }
    const float *w = t->b;
    for (int64_t k = 0, at = 0; k < t->k; k++, at += t->a_right, w += nv * VN) {
        VF b[GEMM_NV];
        CR_UNROLL for (int v = 0; v < nv; v++) b[v] = V_LOAD(w + v * VN);
        CR_UNROLL for (int r = 0; r < GEMM_MR; r++)
        {
            const VF x = V_SET1(p[r][at]);
            CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = V_FMA(x, b[v], acc[r][v]);
        }
    }
    const VF alpha = V_SET1(t->alpha);
    const int last = t->cols - (nv - 1) * VN; /* columns of the last vector */
    CR_UNROLL for (int r = 0; r < GEMM_MR; r++)
    {
        if (r >= t->rows) return;
        float *c = t->c + r * t->c_down;
        CR_UNROLL for (int v = 0; v < nv - 1; v++) V_STORE(c + v * VN, V_MUL(alpha, acc[r][v]));
        if (last == VN)
            V_STORE(c + (nv - 1) * VN, V_MUL(alpha, acc[r][nv - 1]));
        else
            V_STORE_N(c + (nv - 1) * VN, V_MUL(alpha, acc[r][nv - 1]), last);
    }
}

static void GEMM(run)(const cr_gemm_f32_tile *t)
{
    switch ((t->cols + VN - 1) / VN) {
    case 1:
        GEMM(tile)(t, 1);
        break;
#if GEMM_NV > 2
    case 2:
        GEMM(tile)(t, 2);
        break;
#endif
    default:
        GEMM(tile)(t, GEMM_NV);
        break;
    }
}

#define GEMM_RECORD(text)                                                                          \
    {                                                                                              \
        text, GEMM(run), GEMM_MR, GEMM_NV *VN, VN                                                  \
    }
