/* The three steps of winograd_s8.h, written once over vectors of the compiler's. A level defines
 *
 *   WINO(name)     the functions' names
 *   HALVES         int16 of a vector; LANES int32 are half as many
 *   WINO_MR, WINO_NV, WINO_EACH_ROWS   largest register tile of the products
 *   W_CODES(p)     HALVES codes as int16
 *   W_FEW(p, n)    the first n of them, then zeros (or nothing: by a buffer)
 *   W_DOT(sums, a, b)   sums[i] += a[2i] * b[2i] + a[2i+1] * b[2i+1], wrapping
 *   W_PAIR(p)      the two int16 at p in every lane
 *   WINO_APART     b holds [2][LANES] instead of [LANES][2] */
#include "kernels/unroll.h"
#include "kernels/winograd_s8.h"

enum { LANES = HALVES / 2 };
typedef int16_t VH __attribute__((vector_size(2 * HALVES)));
typedef uint32_t VU __attribute__((vector_size(2 * HALVES))); /* sums: unsigned, they wrap */
typedef int32_t VI __attribute__((vector_size(2 * HALVES)));

/* y = B^T x: six values `xs` vectors apart to six results. */
CR_INLINE void WINO(forward)(const VH *x, const int xs, VH *y)
{
    const VH a = x[4 * xs] - x[2 * xs], b = (x[3 * xs] - x[xs]) * 2;
    const VH even = x[4 * xs] - x[2 * xs] * 4, odd = x[3 * xs] - x[xs] * 4;
    y[0] = (x[0] - x[2 * xs]) * 4 + a;
    y[1] = even + odd;
    y[2] = even - odd;
    y[3] = a + b;
    y[4] = a - b;
    y[5] = (x[5 * xs] - x[3 * xs]) - b * 2;
}

/* y = 24 A^T x: six values `xs` vectors apart to four results. */
CR_INLINE void WINO(backward)(const VU *x, const int xs, VU *y)
{
    const VU s1 = x[xs] + x[2 * xs], d1 = x[xs] - x[2 * xs];
    const VU s2 = x[3 * xs] + x[4 * xs], d2 = x[3 * xs] - x[4 * xs];
    y[0] = x[0] + s1 + s2;
    y[1] = d1 + (d2 << 1);
    y[2] = s1 + (s2 << 2);
    y[3] = d1 + (d2 << 3) + (x[5 * xs] << 2);
}

#ifndef W_FEW
/* The first n codes, then zeros. */
CR_INLINE VH WINO(few)(const uint8_t *p, int64_t n)
{
    uint8_t room[HALVES] = {0};
    memcpy(room, p, (size_t)n);
    return W_CODES(room);
}
#define W_FEW(p, n) WINO(few)(p, n)
#endif

CR_INLINE void WINO(patch)(const uint8_t *const *px, int64_t at, const int64_t n, int16_t *v,
                           int64_t v_step)
{
    VH t[CR_WINO_IN][CR_WINO_IN]; /* [column][transformed row] */
    CR_UNROLL for (int x = 0; x < CR_WINO_IN; x++)
    {
        VH d[CR_WINO_IN];
        CR_UNROLL for (int y = 0; y < CR_WINO_IN; y++)
        {
            const uint8_t *p = px[y * CR_WINO_IN + x] + at;
            d[y] = n == HALVES ? W_CODES(p) : W_FEW(p, n);
        }
        WINO(forward)(d, 1, t[x]);
    }
    CR_UNROLL for (int y = 0; y < CR_WINO_IN; y++)
    {
        VH r[CR_WINO_IN];
        WINO(forward)(&t[0][y], CR_WINO_IN, r);
        CR_UNROLL for (int x = 0; x < CR_WINO_IN; x++, v += v_step) memcpy(v, &r[x], sizeof r[x]);
    }
}

static void WINO(input)(const uint8_t *const *px, int64_t cin, int16_t *v, int64_t v_step,
                        int64_t step)
{
    int64_t k = 0;
    for (; k + HALVES <= cin; k += HALVES, v += step) WINO(patch)(px, k, HALVES, v, v_step);
    if (k < cin) WINO(patch)(px, k, cin - k, v, v_step);
}

/* One register tile: `rows` tiles of a panel times nv vectors of output channels. */
CR_INLINE void WINO(tile)(const int16_t *a, const int16_t *u, int32_t *m, int64_t pairs,
                          const int rows, const int nv)
{
    VU acc[WINO_MR][WINO_NV];
    CR_UNROLL for (int r = 0; r < rows; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        (VU){0};
    for (int64_t k = 0; k < pairs; a += (rows - 1) * HALVES) {
        const int64_t end = k + LANES < pairs ? k + LANES : pairs;
        for (; k < end; k++, a += 2, u += nv * HALVES) {
            VH b[WINO_NV];
            CR_UNROLL for (int v = 0; v < nv; v++) memcpy(&b[v], u + v * HALVES, sizeof b[v]);
            CR_UNROLL for (int r = 0; r < rows; r++)
            {
                const VH x = W_PAIR(a + r * HALVES);
                CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = W_DOT(acc[r][v], x, b[v]);
            }
        }
    }
    CR_UNROLL for (int r = 0; r < rows; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        memcpy(m + (r * nv + v) * LANES, &acc[r][v], sizeof acc[r][v]);
}

CR_INLINE void WINO(panel)(const int16_t *a, const int16_t *u, int32_t *m, int64_t pairs, int rows,
                           const int nv)
{
    switch (rows) {
#define WINO_ROWS(n)                                                                               \
    case n:                                                                                        \
        WINO(tile)(a, u, m, pairs, n, nv);                                                         \
        break;
        WINO_EACH_ROWS
#undef WINO_ROWS
    }
}

CR_INLINE void WINO(multiply_by)(const cr_winograd_s8_block *b, const int nv)
{
    const int64_t panels = cr_winograd_panels(b->tiles, WINO_MR), pairs = (b->cin + 1) / 2;
    const int64_t depth = (b->cin + HALVES - 1) / HALVES * HALVES;
    for (int i = 0; i < CR_WINO_PRODUCTS; i++)
        for (int64_t p = 0; p < panels; p++) {
            const cr_winograd_panel at = cr_winograd_panel_at(b->tiles, panels, p);
            WINO(panel)
            (b->v + i * b->v_step + at.first * depth, b->u + i * pairs * nv * HALVES,
             b->m + i * b->m_step + at.first * nv * LANES, pairs, at.rows, nv);
        }
}

static void WINO(multiply)(const cr_winograd_s8_block *b)
{
    if (b->vectors == 1)
        WINO(multiply_by)(b, 1);
    else
        WINO(multiply_by)(b, WINO_NV);
}

/* What is left of 9 * 64 times a sum: see winograd_s8.h. */
CR_INLINE VU WINO(divide)(const VU x)
{
    const VI shifted = (VI)(x * 0x38e38e39u) >> 6;
    return (VU)shifted;
}

static void WINO(output)(const int32_t *m, int64_t m_step, const int32_t *bias, int32_t *y,
                         int64_t y_row, int vectors)
{
    const int width = vectors * LANES;
    for (int c = 0; c < width; c += LANES) {
        VU t[CR_WINO_IN][CR_WINO_OUT], b; /* t: [column][row of the result] */
        CR_UNROLL for (int x = 0; x < CR_WINO_IN; x++)
        {
            VU d[CR_WINO_IN];
            CR_UNROLL for (int i = 0; i < CR_WINO_IN; i++)
                memcpy(&d[i], m + (i * CR_WINO_IN + x) * m_step + c, sizeof d[i]);
            WINO(backward)(d, 1, t[x]);
        }
        memcpy(&b, bias + c, sizeof b);
        CR_UNROLL for (int i = 0; i < CR_WINO_OUT; i++)
        {
            VU r[CR_WINO_OUT];
            WINO(backward)(&t[0][i], CR_WINO_OUT, r);
            CR_UNROLL for (int x = 0; x < CR_WINO_OUT; x++)
            {
                r[x] = WINO(divide)(r[x]) + b;
                memcpy(y + i * y_row + x * width + c, &r[x], sizeof r[x]);
            }
        }
    }
}

#define WINO_RECORD(text)                                                                          \
    {                                                                                              \
        text, WINO(input), WINO(multiply), WINO(output), WINO_MR, WINO_NV *LANES, LANES,           \
            WINO_APART                                                                             \
    }
