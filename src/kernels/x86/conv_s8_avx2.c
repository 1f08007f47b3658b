/* 6 x 8: 12 sums, 2 weights, 1 broadcast of 16 registers. vpmaddubsw would saturate its 16-bit
 * sums, so codes and weights are 16 bits wide and vpmaddwd adds two exact products: a channel owns
 * two lanes, whose sums meet at the end. */
#include <immintrin.h>
#include <stdint.h>

#define CONV(name)             conv_s8_##name##_avx2
#define CONV_MR                6
#define CONV_NV                2
#define LANES                  4
#define S_BYTES                32
#define S_CODES(x)             _mm256_cvtepu8_epi16(_mm_set1_epi32((int)(x)))
#define S_WEIGHTS(p)           _mm256_load_si256((const __m256i *)(const void *)(p))
#define S_DOT(sums, a, w)      _mm256_add_epi32(sums, _mm256_madd_epi16(a, w))
#define S_START(bias)          _mm256_setzero_si256()
#define S_STORE(c, sums, bias) cr_avx2_store_sums(c, sums, bias)
typedef __m256i VS, VA, VW;

static inline void cr_avx2_store_sums(int32_t *c, __m256i sums, const int32_t *bias)
{
    const __m256i both = _mm256_add_epi32(sums, _mm256_srli_epi64(sums, 32));
    const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    const __m128i four = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(both, even));
    const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)bias);
    _mm_storeu_si128((__m128i *)(void *)c, _mm_add_epi32(four, b));
}

#include "kernels/conv_s8_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_avx2;
const cr_conv_s8_kernel cr_conv_s8_avx2 = CONV_RECORD("conv_s8 avx2 6x8", CR_S8_PAIRS, NULL);
