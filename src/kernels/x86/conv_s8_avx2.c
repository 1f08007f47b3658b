/* 6 x 16: 12 sums, 2 weights, 1 broadcast and 1 product of 16 registers. */
#include <immintrin.h>
#include <stdint.h>

#define CONV(name)        conv_s8_##name##_avx2
#define CONV_MR           6
#define CONV_NV           2
#define CONV_WINOGRAD          .winograd_channels = 16, .winograd_pixels = 100
#define LANES             8
#define P_CODES(x)        _mm256_set1_epi32(x)
#define P_WEIGHTS(p)      _mm256_load_si256((const __m256i *)(const void *)(p))
#define P_DOT(sums, a, w) cr_avx2_dot(sums, a, w)
#define P_ZERO            _mm256_setzero_si256()
#define P_STORE(c, sums, bias)                                                                     \
    _mm256_storeu_si256(                                                                           \
        (__m256i *)(void *)(c),                                                                    \
        _mm256_add_epi32(sums, _mm256_loadu_si256((const __m256i *)(const void *)(bias))))
typedef __m256i VS;

/* The empty statement keeps gcc from putting the step's additions off to its end, where their
 * operands no longer fit the registers. */
static inline __m256i cr_avx2_dot(__m256i sums, __m256i a, __m256i w)
{
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(a, w));
    __asm__("" : "+x"(sums));
    return sums;
}

#include "kernels/x86/conv_s8_pairs_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_avx2;
const cr_conv_s8_kernel cr_conv_s8_avx2 = CONV_RECORD("conv_s8 avx2 6x16", NULL);
