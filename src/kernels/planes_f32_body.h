/* The kernels of planes_f32.h over vec_*.h. PLANES(name) names them; PLANES_MR rows and PLANES_NV
 * vectors are the register tile of sums, PLANES_DR and PLANES_DC that of dots. PLANES_EACH_ROWS and
 * PLANES_EACH_DOT list the sizes that are compiled. PLANES_FOLD(v): the sum of an array of vectors
 * that hold 16 partial sums, i + 8 to i, then 4, 2, 1. */
#include "kernels/planes_f32.h"
#include "kernels/unroll.h"

enum { PLANES(parts) = CR_PLANES_PARTS / VN };

#ifndef PLANES_FOLD
static inline float PLANES(fold)(const VF *v)
{
    float s[CR_PLANES_PARTS];
    for (int i = 0; i < PLANES(parts); i++) V_STORE(s + i * VN, v[i]);
    for (int half = CR_PLANES_PARTS / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}
#define PLANES_FOLD(v) PLANES(fold)(v)
#endif

/* `last` columns of the last vector, or all of them (whole). */
CR_INLINE void PLANES(store)(float *c, VF v, const bool whole, int last, bool add)
{
    if (whole)
        V_STORE(c, add ? V_ADD(V_LOAD(c), v) : v);
    else
        V_STORE_N(c, add ? V_ADD(V_LOAD_N(c, last), v) : v, last);
}

CR_INLINE void PLANES(tile)(const cr_planes_sums *t, const int rows, const int nv, const bool whole)
{
    VF acc[PLANES_MR][PLANES_NV];
    const int last = t->cols - (nv - 1) * VN;
    CR_UNROLL for (int r = 0; r < rows; r++)
    {
        const VF start = V_SET1(t->bias ? t->bias[r] : 0.0f);
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = start;
    }
    const float *w = t->w, *in = t->in;
    for (int64_t k = 0; k < t->channels; k++, in += t->plane)
        for (int64_t tap = 0; tap < t->taps; tap++, w += rows) {
            const float *p = in + t->off[tap];
            VF b[PLANES_NV];
            CR_UNROLL for (int v = 0; v < nv - 1; v++) b[v] = V_LOAD(p + v * VN);
            b[nv - 1] = whole ? V_LOAD(p + (nv - 1) * VN) : V_LOAD_N(p + (nv - 1) * VN, last);
            CR_UNROLL for (int r = 0; r < rows; r++)
            {
                const VF x = V_SET1(w[r]);
                CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = V_FMA(x, b[v], acc[r][v]);
            }
        }
    CR_UNROLL for (int r = 0; r < rows; r++) CR_UNROLL for (int v = 0; v < nv; v++) PLANES(store)(
        t->out + r * t->out_down + v * VN, acc[r][v], whole || v < nv - 1, last, t->add);
}

CR_INLINE void PLANES(any)(const cr_planes_sums *t, const int rows)
{
    const int nv = (t->cols + VN - 1) / VN;
    if (t->cols == PLANES_NV * VN)
        PLANES(tile)(t, rows, PLANES_NV, true);
    else if (nv == 1)
        PLANES(tile)(t, rows, 1, false);
#if PLANES_NV > 2
    else if (nv == 2)
        PLANES(tile)(t, rows, 2, false);
#endif
    else
        PLANES(tile)(t, rows, PLANES_NV, false);
}

static void PLANES(sums)(const cr_planes_sums *t)
{
    switch (t->rows) {
#define PLANES_ROWS(n)                                                                             \
    case n:                                                                                        \
        PLANES(any)(t, n);                                                                         \
        break;
        PLANES_EACH_ROWS
#undef PLANES_ROWS
    }
}

CR_INLINE void PLANES(products)(const cr_planes_dots *t, const int rows, const int cols)
{
    VF acc[PLANES_DR][PLANES_DC][CR_PLANES_PARTS / VN];
    const float *a[PLANES_DR], *b[PLANES_DC];
    CR_UNROLL for (int r = 0; r < rows; r++) a[r] = t->a + r * t->a_down;
    CR_UNROLL for (int j = 0; j < cols; j++) b[j] = t->b[j];
    CR_UNROLL for (int r = 0; r < rows; r++) CR_UNROLL for (int j = 0; j < cols; j++)
        CR_UNROLL for (int q = 0; q < PLANES(parts); q++) acc[r][j][q] = V_SET1(0.0f);
    int64_t i = 0;
    for (; i + CR_PLANES_PARTS <= t->n; i += CR_PLANES_PARTS)
        CR_UNROLL for (int q = 0; q < PLANES(parts); q++)
        {
            VF y[PLANES_DC];
            CR_UNROLL for (int j = 0; j < cols; j++) y[j] = V_LOAD(b[j] + i + q * VN);
            CR_UNROLL for (int r = 0; r < rows; r++)
            {
                const VF x = V_LOAD(a[r] + i + q * VN);
                CR_UNROLL for (int j = 0; j < cols; j++) acc[r][j][q] =
                    V_FMA(x, y[j], acc[r][j][q]);
            }
        }
    CR_UNROLL for (int q = 0; q < PLANES(parts); q++)
    {
        const int64_t left = t->n - i - q * VN;
        if (left > 0) {
            const int n = left < VN ? (int)left : VN;
            VF y[PLANES_DC];
            CR_UNROLL for (int j = 0; j < cols; j++) y[j] = V_LOAD_N(b[j] + i + q * VN, n);
            CR_UNROLL for (int r = 0; r < rows; r++)
            {
                const VF x = V_LOAD_N(a[r] + i + q * VN, n);
                CR_UNROLL for (int j = 0; j < cols; j++) acc[r][j][q] =
                    V_FMA(x, y[j], acc[r][j][q]);
            }
        }
    }
    CR_UNROLL for (int r = 0; r < rows; r++) CR_UNROLL for (int j = 0; j < cols; j++)
        t->c[r * t->c_down + j] += PLANES_FOLD(acc[r][j]);
}

static void PLANES(dots)(const cr_planes_dots *t)
{
    switch (t->rows * PLANES_DC + t->cols) {
#define PLANES_DOT(r, j)                                                                           \
    case (r)*PLANES_DC + (j):                                                                      \
        PLANES(products)(t, r, j);                                                                 \
        break;
        PLANES_EACH_DOT
#undef PLANES_DOT
    }
}

static void PLANES(put)(const cr_planes_put *t)
{
    for (int r = 0; r < t->rows; r++) {
        float *y = t->y + r * t->y_down;
        const float *x = t->x + r * t->x_down;
        int i = 0;
        if (t->step == 1) {
            for (; i + VN <= t->n; i += VN) PLANES(store)(y + i, V_LOAD(x + i), true, VN, t->add);
            if (i < t->n) PLANES(store)(y + i, V_LOAD_N(x + i, t->n - i), false, t->n - i, t->add);
            continue;
        }
        for (; i < t->n; i++) y[i * t->step] = t->add ? y[i * t->step] + x[i] : x[i];
    }
}

#define PLANES_RECORD(text)                                                                        \
    {                                                                                              \
        text, PLANES(sums), PLANES(dots), PLANES(put), PLANES_MR, PLANES_NV *VN, PLANES_DR,        \
            PLANES_DC                                                                              \
    }
