/* The int8 tile for levels without four-byte dot products: 16-bit multiply, add neighbours. Codes
 * are widened once per tile, for all blocks of channels, into `packed`, [chunk][CONV_MR][32]
 * uint16: a step is two of them, one broadcast without any arithmetic. Codes of a pixel are one
 * row, tap after tap, each tap filled up to two (with whatever was there: its weights are 0). A
 * level says how:
 *
 *   VS, LANES           register of LANES sums
 *   P_CODES(x)          the pair in all lanes
 *   P_WEIGHTS(p)        LANES pairs at p
 *   P_DOT(sums, a, w)   sums + products of pairs; exact: two of at most 255 * 128
 *   P_ZERO, P_STORE(c, s, bias)
 *   CONV_WINOGRAD       the record's fields that say from when on Winograd is faster
 *
 * Rejected: widening in the inner loop (an instruction more per pixel and step, and steps of four
 * codes leave half the lanes for a channel: 1.25 times slower); vpmaddubsw, whose 16-bit sums
 * saturate, on codes split in two: as many multiplications. */
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/conv_walk.h"
#include "kernels/unroll.h"

#define PAIR_CHUNK 32 /* codes */
#define PAIR_BYTES (4 * LANES)

CR_INLINE int32_t CONV(pair)(const uint16_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

CR_INLINE void CONV(widen16)(uint16_t *to, const uint8_t *from)
{
    const __m128i codes = _mm_loadu_si128((const __m128i *)(const void *)from);
    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_cvtepu8_epi16(codes));
}

CR_INLINE void CONV(widen4)(uint16_t *to, const uint8_t *from)
{
    int32_t codes;
    memcpy(&codes, from, sizeof codes);
    _mm_storel_epi64((__m128i *)(void *)to, _mm_cvtepu8_epi16(_mm_cvtsi32_si128(codes)));
}

/* n codes from k on of all pixels. */
CR_INLINE void CONV(pack_piece)(uint16_t *to, const uint8_t *const from[CONV_MR], int64_t k,
                                int64_t n)
{
    for (; n >= 16; n -= 16, k += 16, to += 16)
        for (int r = 0; r < CONV_MR; r++) CONV(widen16)(to + r * PAIR_CHUNK, from[r] + k);
    for (; n >= 4; n -= 4, k += 4, to += 4)
        for (int r = 0; r < CONV_MR; r++) CONV(widen4)(to + r * PAIR_CHUNK, from[r] + k);
    for (; n > 0; n--, k++, to++)
        for (int r = 0; r < CONV_MR; r++) to[r * PAIR_CHUNK] = from[r][k];
}

/* One tap's codes at position `at` of the pixels' rows. */
CR_INLINE void CONV(pack_tap)(const cr_conv_s8_tile *t, int64_t tap, int64_t at, const bool line)
{
    const uint8_t *from[CONV_MR];
    for (int r = 0; r < CONV_MR; r++)
        from[r] = line ? t->line[tap].base + r * t->line[tap].step : t->a[tap * CONV_MR + r];
    for (int64_t k = 0, n; k < t->cin; k += n, at += n) {
        const int64_t room = PAIR_CHUNK - at % PAIR_CHUNK, left = t->cin - k;
        n = left < room ? left : room;
        uint16_t *packed = (uint16_t *)(void *)t->packed;
        CONV(pack_piece)
        (packed + at / PAIR_CHUNK * (CONV_MR * PAIR_CHUNK) + at % PAIR_CHUNK, from, k, n);
    }
}

CR_INLINE void CONV(multiply)(const cr_conv_s8_tile *t, const int nv)
{
    VS acc[CONV_MR][CONV_NV];
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        P_ZERO;
    const int64_t pairs = t->taps * ((t->cin + 1) / 2);
    const unsigned char *w = t->w;
    const uint16_t *a = (const uint16_t *)(const void *)t->packed;
    for (int64_t done = 0; done < pairs; done += PAIR_CHUNK / 2, a += CONV_MR * PAIR_CHUNK) {
        const int n = pairs - done < PAIR_CHUNK / 2 ? (int)(pairs - done) : PAIR_CHUNK / 2;
        for (int i = 0; i < n; i++, w += nv * PAIR_BYTES)
            CR_UNROLL for (int r = 0; r < CONV_MR; r++)
            {
                const VS x = P_CODES(CONV(pair)(a + r * PAIR_CHUNK + 2 * i));
                CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
                    P_DOT(acc[r][v], x, P_WEIGHTS(w + v * PAIR_BYTES));
            }
    }
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        P_STORE(t->c + (r * nv + v) * LANES, acc[r][v], t->bias + v * LANES);
}

static void CONV(multiply_packed)(const cr_conv_s8_tile *t)
{
    if (t->vectors == 1)
        CONV(multiply)(t, 1);
    else
        CONV(multiply)(t, CONV_NV);
}

static void CONV(run)(const cr_conv_s8_tile *t)
{
    const int64_t each = (t->cin + 1) & ~(int64_t)1;
    for (int64_t tap = 0; t->first && tap < t->taps; tap++)
        CONV(pack_tap)(t, tap, tap * each, false);
    CONV(multiply_packed)(t);
}

static void CONV(run_line)(const cr_conv_s8_tile *t)
{
    const int64_t each = (t->cin + 1) & ~(int64_t)1;
    for (int64_t tap = 0; t->first && tap < t->taps; tap++)
        CONV(pack_tap)(t, tap, tap * each, true);
    CONV(multiply_packed)(t);
}

#define CONV_RECORD(text, small)                                                                   \
    {                                                                                              \
        .name = text, .run = CONV(run), .run_line = CONV(run_line), .mr = CONV_MR,                 \
        .nr = CONV_NV * LANES, .lanes = LANES, .layout = CR_S8_PAIRS, .narrow = small,             \
        CONV_WINOGRAD                                                                              \
    }
