/* AVX-512 (BW, VL): a 128-bit lane holds four pixels in 12 bytes, so a register holds 16; `spread`
 * puts 48 packed bytes into that form and byte shuffles inside lanes do the rest. */
#include <immintrin.h>

#include "vision/pixels.h"

#define TRIPLES 0xffffffffffffull /* 48 bytes */

extern const cr_pixels cr_pixels_avx512;

/* 16 packed pixels, 12 bytes to a lane. */
static inline __m512i spread(const uint8_t *p)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
    return _mm512_permutexvar_epi32(lanes, _mm512_maskz_loadu_epi8(TRIPLES, p));
}

static inline __m512i each_lane(__m128i x)
{
    return _mm512_broadcast_i32x4(x);
}

/* Two neighbouring pixels, from each of two places. */
static inline __m128i two_pairs(const uint8_t *row, const cr_tap *at)
{
    const __m128i a = _mm_loadl_epi64((const void *)(row + at[0].first));
    return _mm_unpacklo_epi64(a, _mm_loadl_epi64((const void *)(row + at[1].first)));
}

static void stretch(const uint8_t *row, const cr_taps *taps, int16_t *out)
{
    const __m256i pair = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 8, 11, 9, 12, 10, 13, -1, -1));
    const __m512i four_times = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    /* low halves of dwords 0 1 2, 4 5 6, 8 9 10, 12 13 14 */
    const __m512i close = _mm512_castsi256_si512(
        _mm256_setr_epi16(0, 2, 4, 8, 10, 12, 16, 18, 20, 24, 26, 28, 0, 0, 0, 0));
    size_t x = 0;
    for (; x + 4 <= taps->adjacent; x += 4) {
        const cr_tap *at = taps->at + x;
        const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(two_pairs(row, at)),
                                                      two_pairs(row, at + 2), 1);
        const __m512i words = _mm512_cvtepu8_epi16(_mm256_shuffle_epi8(bytes, pair));
        const __m512i w = _mm512_permutexvar_epi32(
            four_times,
            _mm512_castsi128_si512(_mm_loadu_si128((const void *)(taps->weights + 2 * x))));
        const __m512i h = _mm512_srli_epi32(_mm512_madd_epi16(words, w), 4);
        _mm256_storeu_si256((void *)(out + 3 * x),
                            _mm512_castsi512_si256(_mm512_permutexvar_epi16(close, h)));
    }
    cr_stretch_from(row, taps, x, out);
}

static void blend(const int16_t *h0, const int16_t *h1, int w0, int w1, size_t n, uint8_t *out)
{
    const __m512i a = _mm512_set1_epi16((int16_t)w0), b = _mm512_set1_epi16((int16_t)w1);
    for (size_t i = 0; i < n; i += 32) {
        const __mmask32 m = n - i < 32 ? (1u << (n - i)) - 1 : ~0u;
        const __m512i p = _mm512_mulhi_epi16(_mm512_maskz_loadu_epi16(m, h0 + i), a);
        const __m512i q = _mm512_mulhi_epi16(_mm512_maskz_loadu_epi16(m, h1 + i), b);
        const __m512i sum = _mm512_add_epi16(_mm512_add_epi16(p, q), _mm512_set1_epi16(2));
        _mm256_mask_storeu_epi8(out + i, m, _mm512_cvtepi16_epi8(_mm512_srli_epi16(sum, 2)));
    }
}

static void halve(const uint8_t *row0, const uint8_t *row1, size_t n, uint8_t *out)
{
    const __m512i pair =
        each_lane(_mm_setr_epi8(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, -1, -1, -1, -1));
    const __m512i ones = _mm512_set1_epi8(1);
    const __m256i close = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1));
    const __m256i join = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
    size_t x = 0;
    for (; x + 8 <= n; x += 8) {
        const __m512i a =
            _mm512_maddubs_epi16(_mm512_shuffle_epi8(spread(row0 + 6 * x), pair), ones);
        const __m512i b =
            _mm512_maddubs_epi16(_mm512_shuffle_epi8(spread(row1 + 6 * x), pair), ones);
        const __m512i sum = _mm512_add_epi16(_mm512_add_epi16(a, b), _mm512_set1_epi16(2));
        const __m256i mean = _mm512_cvtepi16_epi8(_mm512_srli_epi16(sum, 2));
        _mm256_mask_storeu_epi8(
            out + 3 * x, 0xffffff,
            _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(mean, close), join));
    }
    cr_halve_from(row0, row1, x, n, out);
}

static void swap(uint8_t *row, size_t n)
{
    const __m512i back =
        each_lane(_mm_setr_epi8(2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, -1, -1, -1, -1));
    const __m512i join = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 15, 15, 15);
    size_t x = 0;
    for (; x + 16 <= n; x += 16) {
        const __m512i turned = _mm512_shuffle_epi8(spread(row + 3 * x), back);
        _mm512_mask_storeu_epi8(row + 3 * x, TRIPLES, _mm512_permutexvar_epi32(join, turned));
    }
    cr_swap_from(row, x, n);
}

static void planes(const uint8_t *row, size_t n, const float mean[3], const float div[3],
                   float *const out[3])
{
    const __m512i first =
        each_lane(_mm_setr_epi8(0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1));
    __m512i pick[3];
    __m512 m[3], d[3];
#pragma GCC unroll 3
    for (int c = 0; c < 3; c++) {
        /* the bytes that stay -1 keep their high bit, so they stay zero */
        pick[c] = _mm512_add_epi8(first, _mm512_set1_epi32(c));
        m[c] = _mm512_set1_ps(mean[c]);
        d[c] = _mm512_set1_ps(div[c]);
    }
    size_t x = 0;
    for (; x + 16 <= n; x += 16) {
        const __m512i pixels = spread(row + 3 * x);
#pragma GCC unroll 3
        for (int c = 0; c < 3; c++) {
            const __m512 v = _mm512_cvtepi32_ps(_mm512_shuffle_epi8(pixels, pick[c]));
            _mm512_storeu_ps(out[c] + x, _mm512_div_ps(_mm512_sub_ps(v, m[c]), d[c]));
        }
    }
    cr_planes_from(row, x, n, mean, div, out);
}

const cr_pixels cr_pixels_avx512 = {stretch, blend, halve, swap, planes};
