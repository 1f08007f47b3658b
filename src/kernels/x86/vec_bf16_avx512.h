/* As vec_bf16_c.h, for AVX-512, with the CPU's own conversion where the file is built for it. */
#ifndef CR_KERNELS_VEC_BF16_AVX512_H
#define CR_KERNELS_VEC_BF16_AVX512_H

#include "kernels/bf16.h"
#include "kernels/x86/vec_avx512.h"

#define B_LOAD(p)      cr_avx512_load_bf16(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define B_LOAD_N(p, n) cr_avx512_load_bf16(_mm256_maskz_loadu_epi16(V_FIRST(n), p))
#define B_STORE(p, v)  _mm256_storeu_si256((__m256i *)(void *)(p), cr_avx512_round(v))

static inline __m512 cr_avx512_load_bf16(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

#if defined(__AVX512BF16__)
static inline __m256i cr_avx512_round(__m512 v)
{
    return (__m256i)_mm512_cvtneps_pbh(v);
}
#else
static inline __m256i cr_avx512_round(__m512 v)
{
    const __m512i u = _mm512_castps_si512(v), high = _mm512_srli_epi32(u, 16);
    const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 small = _mm512_testn_epi32_mask(u, _mm512_set1_epi32(0x7f800000));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    __m512i r = _mm512_srli_epi32(up, 16);
    r = _mm512_mask_and_epi32(r, small, high, _mm512_set1_epi32(0x8000));
    r = _mm512_mask_or_epi32(r, nan, high, _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(r);
}
#endif

#endif
