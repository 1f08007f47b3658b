/* 12 x 32: 24 sums, 2 weights, 1 broadcast of 32 registers. vdpbf16ps multiplies the pairs of all
 * lanes and adds both products to a lane's sum. The loop is the one of conv_s8_body.h with pairs of
 * bfloat16 for fours of bytes; it is not shared because only int8 has a level per layout. */
#include <immintrin.h>

#include "kernels/conv_bf16_tile.h"
#include "kernels/unroll.h"

enum { MR = 12, NV = 2, LANES = 16, BYTES = 64 };

/* rest: the last, single channel of an odd number. */
CR_INLINE void step(__m512 acc[MR][NV], const cr_bf16 *const *p, int64_t k, const bool rest,
                    const unsigned char *w, const int nv)
{
    __m512i b[NV];
    CR_UNROLL for (int v = 0; v < nv; v++) b[v] = _mm512_load_si512(w + v * BYTES);
    CR_UNROLL for (int r = 0; r < MR; r++)
    {
        uint32_t pair = p[r][k];
        if (!rest) memcpy(&pair, p[r] + k, sizeof pair);
        const __m512bh x = (__m512bh)_mm512_set1_epi32((int)pair);
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
            _mm512_dpbf16_ps(acc[r][v], x, (__m512bh)b[v]);
    }
}

CR_INLINE void tile(const cr_conv_bf16_tile *t, const int nv)
{
    __m512 acc[MR][NV];
    CR_UNROLL for (int r = 0; r < MR; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        _mm512_loadu_ps(t->bias + v * LANES);
    const unsigned char *w = t->w;
    const cr_bf16 *const *a = t->a;
    const int64_t whole = t->cin & ~(int64_t)1;
    for (int64_t tap = 0; tap < t->taps; tap++, a += MR) {
        const cr_bf16 *p[MR];
        CR_UNROLL for (int r = 0; r < MR; r++) p[r] = a[r];
        for (int64_t k = 0; k < whole; k += 2, w += nv * BYTES) step(acc, p, k, false, w, nv);
        if (whole == t->cin) continue;
        step(acc, p, whole, true, w, nv);
        w += nv * BYTES;
    }
    CR_UNROLL for (int r = 0; r < MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        _mm512_storeu_ps(t->c + (r * nv + v) * LANES, acc[r][v]);
}

static void run(const cr_conv_bf16_tile *t)
{
    if (t->vectors == 1)
        tile(t, 1);
    else
        tile(t, NV);
}

extern const cr_conv_bf16_kernel cr_conv_bf16_avx512bf16;
const cr_conv_bf16_kernel cr_conv_bf16_avx512bf16 = {
    "conv_bf16 avx512bf16 12x32", run, MR, NV *LANES, LANES, CR_BF16_PAIRS};
