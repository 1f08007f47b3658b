/* The transforms of winograd_bf16.h, written once over vec_bf16_*.h; WINO(name) names them. */
#include "kernels/unroll.h"
#include "kernels/winograd_bf16.h"

/* y = B^T x: four values `xs` vectors apart to four results. */
CR_INLINE void WINO(forward)(const VF *x, const int xs, VF *y)
{
    y[0] = x[0] - x[2 * xs];
    y[1] = x[xs] + x[2 * xs];
    y[2] = x[2 * xs] - x[xs];
    y[3] = x[xs] - x[3 * xs];
}

/* y = A^T x: to two results. */
CR_INLINE void WINO(backward)(const VF *x, const int xs, VF *y)
{
    y[0] = (x[0] + x[xs]) + x[2 * xs];
    y[1] = (x[xs] - x[2 * xs]) - x[3 * xs];
}

CR_INLINE void WINO(patch)(const cr_bf16 *const *px, int64_t at, const int n, cr_bf16 *v,
                           int64_t v_step)
{
    VF t[CR_WINO2_IN][CR_WINO2_IN]; /* [column][transformed row] */
    CR_UNROLL for (int x = 0; x < CR_WINO2_IN; x++)
    {
        VF d[CR_WINO2_IN];
        CR_UNROLL for (int y = 0; y < CR_WINO2_IN; y++)
        {
            const cr_bf16 *p = px[y * CR_WINO2_IN + x] + at;
            d[y] = n == VN ? B_LOAD(p) : B_LOAD_N(p, n);
        }
        WINO(forward)(d, 1, t[x]);
    }
    CR_UNROLL for (int y = 0; y < CR_WINO2_IN; y++)
    {
        VF r[CR_WINO2_IN];
        WINO(forward)(&t[0][y], CR_WINO2_IN, r);
        CR_UNROLL for (int x = 0; x < CR_WINO2_IN; x++, v += v_step)
        {
            cr_bf16 part[VN];
            B_STORE(n == VN ? v : part, r[x]);
            if (n != VN) memcpy(v, part, (size_t)n * sizeof *v);
        }
    }
}

static void WINO(input)(const cr_bf16 *const *px, int64_t cin, cr_bf16 *v, int64_t v_step)
{
    int64_t k = 0;
    for (; k + VN <= cin; k += VN) WINO(patch)(px, k, VN, v + k, v_step);
    if (k < cin) WINO(patch)(px, k, (int)(cin - k), v + k, v_step);
}

static void WINO(output)(const float *m, int64_t m_step, const float *bias, float *y,
                         int64_t y_step, int width)
{
    for (int c = 0; c < width; c += VN) {
        VF t[CR_WINO2_IN][CR_WINO2_OUT]; /* [column][row of the result] */
        CR_UNROLL for (int x = 0; x < CR_WINO2_IN; x++)
        {
            VF d[CR_WINO2_IN];
            CR_UNROLL for (int i = 0; i < CR_WINO2_IN; i++) d[i] =
                V_LOAD(m + (i * CR_WINO2_IN + x) * m_step + c);
            WINO(backward)(d, 1, t[x]);
        }
        const VF b = V_LOAD(bias + c);
        CR_UNROLL for (int i = 0; i < CR_WINO2_OUT; i++)
        {
            VF r[CR_WINO2_OUT];
            WINO(backward)(&t[0][i], CR_WINO2_OUT, r);
            CR_UNROLL for (int x = 0; x < CR_WINO2_OUT; x++)
                V_STORE(y + i * y_step + x * width + c, r[x] + b);
        }
    }
}

#define WINO_RECORD(level)                                                                         \
    {                                                                                              \
        "winograd_bf16 " level, WINO(input), WINO(output)                                          \
    }
