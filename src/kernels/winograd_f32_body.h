/* The three steps of winograd_f32.h, written once over vec_*.h: WINO(name) names the functions,
 * WINO_MR rows and WINO_NV vectors are the largest register tile of the products. Every operation
 * is spelled out as multiply, add or multiply-add, so all levels that have FMA agree to the last
 * bit. */
#include "kernels/unroll.h"
#include "kernels/winograd_f32.h"

static const float WINO(root) = 0.70710678118654752f; /* the points are 0, +-root, +-2 root, inf */

/* y = B^T x: six values `xs` vectors apart to six results. */
CR_INLINE void WINO(forward)(const VF *x, const int xs, VF *y)
{
    const VF a = V_SET1(WINO(root)), b = V_SET1(2 * WINO(root));
    const VF na = V_SET1(-WINO(root)), nb = V_SET1(-2 * WINO(root));
    const VF x0 = x[0], x1 = x[xs], x2 = x[2 * xs], x3 = x[3 * xs], x4 = x[4 * xs], x5 = x[5 * xs];
    const VF even1 = V_FMA(V_SET1(-2.0f), x2, x4), odd1 = V_FMA(V_SET1(-2.0f), x1, x3);
    const VF even2 = V_FMA(V_SET1(-0.5f), x2, x4), odd2 = V_FMA(V_SET1(-0.5f), x1, x3);
    y[0] = V_ADD(V_FMA(V_SET1(-2.5f), x2, x0), x4);
    y[1] = V_FMA(a, odd1, even1);
    y[2] = V_FMA(na, odd1, even1);
    y[3] = V_FMA(b, odd2, even2);
    y[4] = V_FMA(nb, odd2, even2);
    y[5] = V_ADD(V_FMA(V_SET1(-2.5f), x3, x1), x5);
}

/* y = A^T x: six values `xs` vectors apart to four results. */
CR_INLINE void WINO(backward)(const VF *x, const int xs, VF *y)
{
    const VF a = V_SET1(WINO(root));
    const VF s1 = V_ADD(x[xs], x[2 * xs]), d1 = V_SUB(x[xs], x[2 * xs]);
    const VF s2 = V_ADD(x[3 * xs], x[4 * xs]), d2 = V_SUB(x[3 * xs], x[4 * xs]);
    y[0] = V_ADD(V_ADD(x[0], s1), s2);
    y[1] = V_MUL(a, V_FMA(V_SET1(2.0f), d2, d1));
    y[2] = V_FMA(V_SET1(0.5f), s1, V_MUL(V_SET1(2.0f), s2));
    y[3] = V_FMA(a, V_FMA(V_SET1(0.5f), d1, V_MUL(V_SET1(4.0f), d2)), x[5 * xs]);
}

CR_INLINE void WINO(patch)(const float *const *px, int64_t at, int64_t ahead, const int n, float *v,
                           int64_t v_step)
{
    VF t[CR_WINO_IN][CR_WINO_IN]; /* [column][transformed row] */
    CR_UNROLL for (int x = 0; x < CR_WINO_IN; x++)
    {
        VF d[CR_WINO_IN];
        CR_UNROLL for (int y = 0; y < CR_WINO_IN; y++)
        {
            const float *p = px[y * CR_WINO_IN + x] + at;
            if (x >= CR_WINO_IN - CR_WINO_OUT) __builtin_prefetch(p + ahead);
            d[y] = n == VN ? V_LOAD(p) : V_LOAD_N(p, n);
        }
        WINO(forward)(d, 1, t[x]);
    }
    CR_UNROLL for (int y = 0; y < CR_WINO_IN; y++)
    {
        VF r[CR_WINO_IN];
        WINO(forward)(&t[0][y], CR_WINO_IN, r);
        CR_UNROLL for (int x = 0; x < CR_WINO_IN; x++, v += v_step) V_STORE(v, r[x]);
    }
}

static void WINO(input)(const float *const *px, int64_t ahead, int64_t cin, float *v,
                        int64_t v_step, int64_t step)
{
    int64_t k = 0;
    for (; k + VN <= cin; k += VN, v += step) WINO(patch)(px, k, ahead, VN, v, v_step);
    if (k < cin) WINO(patch)(px, k, ahead, (int)(cin - k), v, v_step);
}

/* Weights are fetched so many floats ahead, also from one product to the next: on 20x20 pictures,
 * whose weights come from L3 for two panels, a tenth of the time. */
enum { WINO(ahead) = 1024 };

/* One register tile: `rows` tiles of a panel times nv vectors of output channels. */
CR_INLINE void WINO(tile)(const float *a, const float *u, float *m, int64_t cin, const int rows,
                          const int nv)
{
    VF acc[WINO_MR][WINO_NV];
    CR_UNROLL for (int r = 0; r < rows; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        V_SET1(0.0f);
    for (int64_t k = 0; k < cin; a += (rows - 1) * VN) {
        const int64_t end = k + VN < cin ? k + VN : cin;
        for (; k < end; k++, a++, u += nv * VN) {
            VF b[WINO_NV];
            CR_UNROLL for (int v = 0; v < nv; v++) __builtin_prefetch(u + WINO(ahead) + v * VN);
            CR_UNROLL for (int v = 0; v < nv; v++) b[v] = V_LOAD(u + v * VN);
            CR_UNROLL for (int r = 0; r < rows; r++)
            {
                const VF x = V_SET1(a[r * VN]);
                CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = V_FMA(x, b[v], acc[r][v]);
            }
        }
    }
    CR_UNROLL for (int r = 0; r < rows; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        V_STORE(m + (r * nv + v) * VN, acc[r][v]);
}

CR_INLINE void WINO(panel)(const float *a, const float *u, float *m, int64_t cin, int rows,
                           const int nv)
{
    switch (rows) {
#define WINO_ROWS(n)                                                                               \
    case n:                                                                                        \
        WINO(tile)(a, u, m, cin, n, nv);                                                           \
        break;
        WINO_EACH_ROWS
#undef WINO_ROWS
    }
}

CR_INLINE void WINO(multiply_by)(const cr_winograd_f32_block *b, const int nv)
{
    const int64_t panels = cr_winograd_panels(b->tiles, WINO_MR);
    const int64_t depth = (b->cin + VN - 1) / VN * VN;
    for (int i = 0; i < CR_WINO_PRODUCTS; i++)
        for (int64_t p = 0; p < panels; p++) {
            const cr_winograd_panel at = cr_winograd_panel_at(b->tiles, panels, p);
            WINO(panel)
            (b->v + i * b->v_step + at.first * depth, b->u + i * b->cin * nv * VN,
             b->m + i * b->m_step + at.first * nv * VN, b->cin, at.rows, nv);
        }
}

static void WINO(multiply)(const cr_winograd_f32_block *b)
{
    switch (b->vectors) {
    case 1:
        WINO(multiply_by)(b, 1);
        break;
#if WINO_NV > 2
    case 2:
        WINO(multiply_by)(b, 2);
        break;
#endif
    default:
        WINO(multiply_by)(b, WINO_NV);
        break;
    }
}

static void WINO(output)(const float *m, int64_t m_step, const float *bias, float *y, int vectors)
{
    for (int c = 0; c < vectors * VN; c += VN) {
        VF t[CR_WINO_IN][CR_WINO_OUT]; /* [column][row of the result] */
        CR_UNROLL for (int x = 0; x < CR_WINO_IN; x++)
        {
            VF d[CR_WINO_IN];
            CR_UNROLL for (int i = 0; i < CR_WINO_IN; i++) d[i] =
                V_LOAD(m + (i * CR_WINO_IN + x) * m_step + c);
            WINO(backward)(d, 1, t[x]);
        }
        const VF b = V_LOAD(bias + c);
        CR_UNROLL for (int i = 0; i < CR_WINO_OUT; i++)
        {
            VF r[CR_WINO_OUT];
            WINO(backward)(&t[0][i], CR_WINO_OUT, r);
            CR_UNROLL for (int x = 0; x < CR_WINO_OUT; x++)
                V_STORE(y + (i * CR_WINO_OUT + x) * vectors * VN + c, V_ADD(r[x], b));
        }
    }
}

#define WINO_RECORD(text)                                                                          \
    {                                                                                              \
        text, WINO(input), WINO(multiply), WINO(output), WINO_MR, WINO_NV *VN, VN                  \
    }
