/* The bfloat16 tile for CPUs that multiply pairs: CONV_MR pixels times up to CONV_NV vectors of
 * output channels. The loops are those of conv_s8_body.h with pairs of bfloat16 for fours of bytes;
 * they are apart because what surrounds the product (tails, widths, sums) has little in common. */
#include <immintrin.h>

#include "kernels/conv_bf16_tile.h"
#include "kernels/unroll.h"

#define CONV_LANES  16
#define CONV_BYTES  64 /* a vector's step of weights */
#define CONV_THIRDS ((CONV_MR + 2) / 3)

/* rest: the last, single channel of an odd number. */
CR_INLINE __m512bh CONV(pair)(const cr_bf16 *p, const bool rest)
{
    uint32_t pair = *p;
    if (!rest) memcpy(&pair, p, sizeof pair);
    return (__m512bh)_mm512_set1_epi32((int)pair);
}

CR_INLINE void CONV(begin)(__m512 acc[CONV_MR][CONV_NV], const float *bias, const int nv)
{
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        _mm512_loadu_ps(bias + v * CONV_LANES);
}

CR_INLINE void CONV(end)(__m512 acc[CONV_MR][CONV_NV], float *c, const int nv)
{
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        _mm512_storeu_ps(c + (r * nv + v) * CONV_LANES, acc[r][v]);
}

CR_INLINE void CONV(step)(__m512 acc[CONV_MR][CONV_NV], const cr_bf16 *const *p, int64_t k,
                          const bool rest, const unsigned char *w, const int nv)
{
    __m512i b[CONV_NV];
    CR_UNROLL for (int v = 0; v < nv; v++) b[v] = _mm512_load_si512(w + v * CONV_BYTES);
    CR_UNROLL for (int r = 0; r < CONV_MR; r++)
    {
        const __m512bh x = CONV(pair)(p[r] + k, rest);
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
            _mm512_dpbf16_ps(acc[r][v], x, (__m512bh)b[v]);
    }
}

CR_INLINE void CONV(tile)(const cr_conv_bf16_tile *t, const int nv)
{
    __m512 acc[CONV_MR][CONV_NV];
    CONV(begin)(acc, t->bias, nv);
    const unsigned char *w = t->w;
    const cr_bf16 *const *a = t->a;
    const int64_t whole = t->cin & ~(int64_t)1;
    for (int64_t tap = 0; tap < t->taps; tap++, a += CONV_MR) {
        const cr_bf16 *p[CONV_MR];
        CR_UNROLL for (int r = 0; r < CONV_MR; r++) p[r] = a[r];
        for (int64_t k = 0; k < whole; k += 2, w += nv * CONV_BYTES)
            CONV(step)(acc, p, k, false, w, nv);
        if (whole == t->cin) continue;
        CONV(step)(acc, p, whole, true, w, nv);
        w += nv * CONV_BYTES;
    }
    CONV(end)(acc, t->c, nv);
}

/* Pixel r of a line, from every third pixel's pointer: x86 addresses reach the two behind it. */
CR_INLINE void CONV(line_step)(__m512 acc[CONV_MR][CONV_NV], const unsigned char *const *q,
                               int64_t step, int64_t k, const bool rest, const unsigned char *w,
                               const int nv)
{
    __m512i b[CONV_NV];
    CR_UNROLL for (int v = 0; v < nv; v++) b[v] = _mm512_load_si512(w + v * CONV_BYTES);
    CR_UNROLL for (int r = 0; r < CONV_MR; r++)
    {
        const unsigned char *p = q[r / 3] + r % 3 * step + k;
        const __m512bh x = CONV(pair)((const cr_bf16 *)(const void *)p, rest);
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
            _mm512_dpbf16_ps(acc[r][v], x, (__m512bh)b[v]);
    }
}

CR_INLINE void CONV(line)(const cr_conv_bf16_tile *t, const int nv)
{
    __m512 acc[CONV_MR][CONV_NV];
    CONV(begin)(acc, t->bias, nv);
    const unsigned char *w = t->w;
    const int64_t whole = (t->cin & ~(int64_t)1) * 2; /* bytes */
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const int64_t step = t->line[tap].step;
        const unsigned char *q[CONV_THIRDS];
        CR_UNROLL for (int j = 0; j < CONV_THIRDS; j++) q[j] = t->line[tap].base + 3 * j * step;
        for (int64_t k = 0; k < whole; k += 4, w += nv * CONV_BYTES)
            CONV(line_step)(acc, q, step, k, false, w, nv);
        if (!(t->cin & 1)) continue;
        CONV(line_step)(acc, q, step, whole, true, w, nv);
        w += nv * CONV_BYTES;
    }
    CONV(end)(acc, t->c, nv);
}

static void CONV(run)(const cr_conv_bf16_tile *t)
{
    if (t->vectors == 1)
        CONV(tile)(t, 1);
    else
        CONV(tile)(t, CONV_NV);
}

static void CONV(run_line)(const cr_conv_bf16_tile *t)
{
    if (t->vectors == 1)
        CONV(line)(t, 1);
    else
        CONV(line)(t, CONV_NV);
}

#define CONV_RECORD(text, narrower)                                                                \
    {                                                                                              \
        .name = text, .run = CONV(run), .run_line = CONV(run_line), .mr = CONV_MR,                 \
        .nr = CONV_NV * CONV_LANES, .lanes = CONV_LANES, .layout = CR_BF16_PAIRS,                  \
        .narrow = narrower                                                                         \
    }
