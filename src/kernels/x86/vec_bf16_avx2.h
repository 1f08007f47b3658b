/* As vec_bf16_c.h, for AVX2. */
#ifndef CR_KERNELS_VEC_BF16_AVX2_H
#define CR_KERNELS_VEC_BF16_AVX2_H

#include "kernels/bf16.h"
#include "kernels/x86/vec_avx2.h"

#define B_LOAD(p)      cr_avx2_load_bf16(p)
#define B_LOAD_N(p, n) cr_avx2_load_bf16_n(p, n)
#define B_STORE(p, v)  cr_avx2_store_bf16(p, v)

static inline __m256 cr_avx2_load_bf16(const cr_bf16 *p)
{
    const __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

static inline __m256 cr_avx2_load_bf16_n(const cr_bf16 *p, int n)
{
    cr_bf16 part[8] = {0};
    memcpy(part, p, (size_t)n * sizeof *p);
    return cr_avx2_load_bf16(part);
}

static inline void cr_avx2_store_bf16(cr_bf16 *p, __m256 v)
{
    const __m256i u = _mm256_castps_si256(v), high = _mm256_srli_epi32(u, 16);
    const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i exponent = _mm256_and_si256(u, _mm256_set1_epi32(0x7f800000));
    const __m256i small = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    __m256i r = _mm256_srli_epi32(up, 16);
    r = _mm256_blendv_epi8(r, _mm256_and_si256(high, _mm256_set1_epi32(0x8000)), small);
    r = _mm256_blendv_epi8(r, _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan);
    const __m128i low = _mm256_castsi256_si128(r), upper = _mm256_extracti128_si256(r, 1);
    _mm_storeu_si128((__m128i *)(void *)p, _mm_packus_epi32(low, upper));
}

#endif
