/* AVX2: a 128-bit lane holds four pixels in 12 bytes, so a register holds 8; `spread` puts 24
 * packed bytes into that form and byte shuffles inside lanes do the rest. `spread` loads 32 bytes,
 * which the loops keep inside the row. */
#include <immintrin.h>

#include "vision/pixels.h"

extern const cr_pixels cr_pixels_avx2;

/* 8 packed pixels, 12 bytes to a lane. */
static inline __m256i spread(const uint8_t *p)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5);
    return _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const void *)p), lanes);
}

/* 12 bytes of each lane, one behind the other. */
static inline void store24(uint8_t *p, __m256i x)
{
    const __m256i join = _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
    _mm_storeu_si128((void *)p, _mm256_castsi256_si128(join));
    _mm_storel_epi64((void *)(p + 16), _mm256_extracti128_si256(join, 1));
}

static inline __m256i each_lane(__m128i x)
{
    return _mm256_broadcastsi128_si256(x);
}

/* The resized pixels of two taps as r,g,b,0 in 32 bits, a lane each. */
static inline __m256i two_pixels(const uint8_t *row, const cr_tap *a, const cr_tap *b, __m256i w)
{
    const __m128i pair = _mm_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 8, 11, 9, 12, 10, 13, -1, -1);
    const __m128i bytes = _mm_unpacklo_epi64(_mm_loadl_epi64((const void *)(row + a->first)),
                                             _mm_loadl_epi64((const void *)(row + b->first)));
    const __m256i words = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(bytes, pair));
    return _mm256_srli_epi32(_mm256_madd_epi16(words, w), 4);
}

static void stretch(const uint8_t *row, const cr_taps *taps, int16_t *out)
{
    const __m256i even = _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2);
    const __m256i odd = _mm256_setr_epi32(1, 1, 1, 1, 3, 3, 3, 3);
    const __m256i close =
        each_lane(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1));
    size_t x = 0;
    for (; x + 4 <= taps->adjacent; x += 4) {
        const cr_tap *at = taps->at + x;
        const __m256i w =
            _mm256_castsi128_si256(_mm_loadu_si128((const void *)(taps->weights + 2 * x)));
        const __m256i a = two_pixels(row, &at[0], &at[2], _mm256_permutevar8x32_epi32(w, even));
        const __m256i b = two_pixels(row, &at[1], &at[3], _mm256_permutevar8x32_epi32(w, odd));
        const __m256i h = _mm256_shuffle_epi8(_mm256_packs_epi32(a, b), close);
        _mm_storeu_si128((void *)(out + 3 * x), _mm256_castsi256_si128(h));
        _mm_storeu_si128((void *)(out + 3 * x + 6), _mm256_extracti128_si256(h, 1));
    }
    cr_stretch_from(row, taps, x, out);
}

static inline __m256i blend16(const int16_t *h0, const int16_t *h1, __m256i a, __m256i b)
{
    const __m256i p = _mm256_mulhi_epi16(_mm256_loadu_si256((const void *)h0), a);
    const __m256i q = _mm256_mulhi_epi16(_mm256_loadu_si256((const void *)h1), b);
    return _mm256_srli_epi16(_mm256_add_epi16(_mm256_add_epi16(p, q), _mm256_set1_epi16(2)), 2);
}

static void blend(const int16_t *h0, const int16_t *h1, int w0, int w1, size_t n, uint8_t *out)
{
    const __m256i a = _mm256_set1_epi16((int16_t)w0), b = _mm256_set1_epi16((int16_t)w1);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i low = blend16(h0 + i, h1 + i, a, b);
        const __m256i high = blend16(h0 + i + 16, h1 + i + 16, a, b);
        _mm256_storeu_si256((void *)(out + i),
                            _mm256_permute4x64_epi64(_mm256_packus_epi16(low, high), 0xd8));
    }
    cr_blend_from(h0, h1, w0, w1, i, n, out);
}

static void halve(const uint8_t *row0, const uint8_t *row1, size_t n, uint8_t *out)
{
    const __m256i pair =
        each_lane(_mm_setr_epi8(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, -1, -1, -1, -1));
    const __m256i ones = _mm256_set1_epi8(1);
    size_t x = 0;
    for (; 6 * x + 32 <= 6 * n; x += 4) {
        const __m256i a =
            _mm256_maddubs_epi16(_mm256_shuffle_epi8(spread(row0 + 6 * x), pair), ones);
        const __m256i b =
            _mm256_maddubs_epi16(_mm256_shuffle_epi8(spread(row1 + 6 * x), pair), ones);
        const __m256i sum = _mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_set1_epi16(2));
        const __m256i mean = _mm256_srli_epi16(sum, 2);
        /* 6 bytes of each lane: 4 and 2 of the low one, then the high one over the rest */
        const __m256i bytes = _mm256_packus_epi16(mean, mean);
        const __m128i low = _mm256_castsi256_si128(bytes),
                      high = _mm256_extracti128_si256(bytes, 1);
        const __m128i all = _mm_or_si128(
            _mm_slli_si128(high, 6), _mm_and_si128(low, _mm_setr_epi16(-1, -1, -1, 0, 0, 0, 0, 0)));
        _mm_storel_epi64((void *)(out + 3 * x), all);
        _mm_storeu_si32(out + 3 * x + 8, _mm_srli_si128(all, 8));
    }
    cr_halve_from(row0, row1, x, n, out);
}

static void swap(uint8_t *row, size_t n)
{
    const __m256i back =
        each_lane(_mm_setr_epi8(2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, -1, -1, -1, -1));
    size_t x = 0;
    for (; 3 * x + 32 <= 3 * n; x += 8)
        store24(row + 3 * x, _mm256_shuffle_epi8(spread(row + 3 * x), back));
    cr_swap_from(row, x, n);
}

static void planes(const uint8_t *row, size_t n, const float mean[3], const float div[3],
                   float *const out[3])
{
    const __m256i first =
        each_lane(_mm_setr_epi8(0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1));
    __m256i pick[3];
    __m256 m[3], d[3];
#pragma GCC unroll 3
    for (int c = 0; c < 3; c++) {
        pick[c] = _mm256_add_epi8(first, _mm256_set1_epi32(c));
        m[c] = _mm256_set1_ps(mean[c]);
        d[c] = _mm256_set1_ps(div[c]);
    }
    size_t x = 0;
    for (; 3 * x + 32 <= 3 * n; x += 8) {
        const __m256i pixels = spread(row + 3 * x);
#pragma GCC unroll 3
        for (int c = 0; c < 3; c++) {
            const __m256 v = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(pixels, pick[c]));
            _mm256_storeu_ps(out[c] + x, _mm256_div_ps(_mm256_sub_ps(v, m[c]), d[c]));
        }
    }
    cr_planes_from(row, x, n, mean, div, out);
}

const cr_pixels cr_pixels_avx2 = {stretch, blend, halve, swap, planes};
