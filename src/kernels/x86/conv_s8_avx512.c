/* 12 x 16: 24 sums, 2 weights, 1 broadcast of 32 registers; for CPUs without VNNI. 16-bit products
 * as in conv_s8_avx2.c. */
#include <immintrin.h>
#include <stdint.h>

#define CONV(name)             conv_s8_##name##_avx512
#define CONV_MR                12
#define CONV_NV                2
#define LANES                  8
#define S_BYTES                64
#define S_CODES(x)             _mm512_cvtepu8_epi16(_mm256_set1_epi32((int)(x)))
#define S_WEIGHTS(p)           _mm512_load_si512(p)
#define S_DOT(sums, a, w)      _mm512_add_epi32(sums, _mm512_madd_epi16(a, w))
#define S_START(bias)          _mm512_setzero_si512()
#define S_STORE(c, sums, bias) cr_avx512_store_sums(c, sums, bias)
typedef __m512i VS, VA, VW;

static inline void cr_avx512_store_sums(int32_t *c, __m512i sums, const int32_t *bias)
{
    const __m512i both = _mm512_add_epi32(sums, _mm512_srli_epi64(sums, 32));
    const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)bias);
    _mm256_storeu_si256((__m256i *)(void *)c, _mm256_add_epi32(_mm512_cvtepi64_epi32(both), b));
}

#include "kernels/conv_s8_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_avx512;
const cr_conv_s8_kernel cr_conv_s8_avx512 = CONV_RECORD("conv_s8 avx512 12x16", CR_S8_PAIRS, NULL);
