/* Sums of zipped rows (dwconv_s8.h) for every level: DW_MR output pixels at a time, one vector of
 * channels after another; a weight is loaded once for all pixels, a column once per tap. The last
 * pixels of a row are done by a step back: some are computed twice, none needs its own code.
 *
 * A level defines DX (a vector of zipped codes or weights), DX_LOAD, DX_DOT(acc, x, w) and DW_MR.
 */
#include "kernels/dwconv_s8.h"
#include "kernels/unroll.h"

CR_INLINE void DW(pixels)(const cr_dwconv_s8_tile *t, int64_t v, int64_t p, const int n,
                          const int64_t stride)
{
    const int64_t size = sizeof(DX);
    const unsigned char *x = t->x + (v * t->groups * t->columns + p * stride) * size;
    const unsigned char *w = t->w + v * t->groups * t->kw * size;
    const VI bias = VI_LOAD(t->bias + v * VN);
    VI acc[DW_MR];
    CR_UNROLL for (int r = 0; r < n; r++) acc[r] = bias;
    for (int64_t g = 0; g < t->groups; g++, x += t->columns * size) {
        const unsigned char *column = x;
        for (int64_t kx = 0; kx < t->kw; kx++, column += t->dil * size, w += size) {
            const DX b = DX_LOAD(w);
            CR_UNROLL for (int r = 0; r < n; r++) acc[r] =
                DX_DOT(acc[r], DX_LOAD(column + r * stride * size), b);
        }
    }
    int32_t *c = t->c + (p * t->vectors + v) * VN;
    CR_UNROLL for (int r = 0; r < n; r++) VI_STORE(c + r * t->vectors * VN, acc[r]);
}

CR_INLINE void DW(rows)(const cr_dwconv_s8_tile *t, const int64_t stride)
{
    for (int64_t v = 0; v < t->vectors; v++) {
        int64_t p = 0;
        for (; p + DW_MR <= t->pixels; p += DW_MR) DW(pixels)(t, v, p, DW_MR, stride);
        if (p < t->pixels && p) {
            DW(pixels)(t, v, t->pixels - DW_MR, DW_MR, stride);
            continue;
        }
        for (; p < t->pixels; p++) DW(pixels)(t, v, p, 1, stride);
    }
}

static void DW(run)(const cr_dwconv_s8_tile *t)
{
    if (t->stride == 1)
        DW(rows)(t, 1);
    else if (t->stride == 2)
        DW(rows)(t, 2);
    else
        DW(rows)(t, t->stride);
}

#define DW_RECORD(level, rows, element)                                                            \
    {                                                                                              \
        "dwconv_s8 " level, DW(zip), DW(run), rows, VN, element                                    \
    }
