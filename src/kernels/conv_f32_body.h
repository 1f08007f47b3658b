/* The float tile, written once over vec_*.h: CONV_MR pixels times up to CONV_NV vectors of output
 * channels, all sums in registers. CONV(name) names it. A value of A is broadcast and multiplied
 * into the CONV_NV vectors of one step's weights; every sum is one chain of fused multiply-adds in
 * the order (tap, channel), so all levels that have FMA agree to the last bit. */
#include "kernels/conv_walk.h"
#include "kernels/unroll.h"

/* One step: a value of every pixel, that of pixel r at q[r / hop] + r % hop * step + k (bytes). */
CR_INLINE void CONV(step)(VF acc[CONV_MR][CONV_NV], const char *const *q, const int hop,
                          int64_t step, int64_t k, const float *w, const int nv)
{
    VF b[CONV_NV];
    CR_UNROLL for (int v = 0; v < nv; v++) b[v] = V_LOAD(w + v * VN);
    CR_UNROLL for (int r = 0; r < CONV_MR; r++)
    {
        const VF x = V_SET1(*(const float *)(const void *)(q[r / hop] + r % hop * step + k));
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = V_FMA(x, b[v], acc[r][v]);
    }
}

/* The tile's pixels are equally far apart: x86 addresses reach two pixels behind a pointer. What
 * the next tile will read is fetched meanwhile, a cache line of every pixel at a time: the hardware
 * does not follow a dozen short rows (1x1 convolutions of pictures out of L2: 20 to 40 % faster).
 */
enum { CONV(hop) = 3, CONV(hops) = (CONV_MR + 2) / 3, CONV(ahead) = 64 };

CR_INLINE void CONV(line)(VF acc[CONV_MR][CONV_NV], const cr_conv_f32_tile *t, const int nv)
{
    const float *w = t->w;
    const int64_t bytes = t->cin * (int64_t)sizeof(float);
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const int64_t step = t->line[tap].step;
        const char *q[CONV(hops)];
        CR_UNROLL for (int i = 0; i < CONV(hops); i++) q[i] =
            (const char *)t->line[tap].base + CONV(hop) * i * step;
        for (int64_t k = 0; k < bytes;) {
            const int64_t end = bytes - k < CONV(ahead) ? bytes : k + CONV(ahead);
            if (bytes >= CONV(ahead))
                CR_UNROLL for (int r = 0; r < CONV_MR; r++)
                    __builtin_prefetch(q[r / CONV(hop)] + (r % CONV(hop) + CONV_MR) * step + k);
            for (; k < end; k += (int64_t)sizeof(float), w += nv * VN)
                CONV(step)(acc, q, CONV(hop), step, k, w, nv);
        }
    }
}

CR_INLINE void CONV(table)(VF acc[CONV_MR][CONV_NV], const cr_conv_f32_tile *t, const int nv)
{
    const float *w = t->w;
    const float *const *a = t->a;
    const int64_t bytes = t->cin * (int64_t)sizeof(float);
    for (int64_t tap = 0; tap < t->taps; tap++, a += CONV_MR) {
        const char *q[CONV_MR];
        CR_UNROLL for (int r = 0; r < CONV_MR; r++) q[r] = (const char *)a[r];
        for (int64_t k = 0; k < bytes; k += (int64_t)sizeof(float), w += nv * VN)
            CONV(step)(acc, q, 1, 0, k, w, nv);
    }
}

CR_INLINE void CONV(tile)(const cr_conv_f32_tile *t, const int nv, const bool line)
{
    VF acc[CONV_MR][CONV_NV];
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        V_LOAD(t->bias + v * VN);
    if (line)
        CONV(line)(acc, t, nv);
    else
        CONV(table)(acc, t, nv);
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        V_STORE(t->c + (r * nv + v) * VN, acc[r][v]);
}

CR_INLINE void CONV(any)(const cr_conv_f32_tile *t, const int nv)
{
    if (t->line)
        CONV(tile)(t, nv, true);
    else
        CONV(tile)(t, nv, false);
}

static void CONV(run)(const cr_conv_f32_tile *t)
{
    switch (t->vectors) {
    case 1:
        CONV(any)(t, 1);
        break;
#if CONV_NV > 2
    case 2:
        CONV(any)(t, 2);
        break;
#endif
    default:
        CONV(any)(t, CONV_NV);
        break;
    }
}

CR_INLINE void CONV(put_as)(float *y, int64_t ld, const float *c, int64_t width, int rows,
                            const int64_t whole, const int rest)
{
    for (int r = 0; r < rows; r++, y += ld, c += width) {
        for (int64_t k = 0; k < whole; k += VN) V_STORE(y + k, V_LOAD(c + k));
        if (rest) V_STORE_N(y + whole, V_LOAD_N(c + whole, rest), rest);
    }
}

static void CONV(put)(float *y, int64_t ld, const float *c, int64_t width, int rows, int64_t cols)
{
    if (cols == CONV_NV * VN)
        CONV(put_as)(y, ld, c, width, rows, CONV_NV * VN, 0);
    else
        CONV(put_as)(y, ld, c, width, rows, cols / VN * VN, (int)(cols % VN));
}

#define CONV_RECORD(text)                                                                          \
    {                                                                                              \
        text, CONV(run), CONV(put), CONV_MR, CONV_NV *VN, VN                                       \
    }
