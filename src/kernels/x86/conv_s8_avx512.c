/* 12 x 32: 24 sums, 2 weights, 1 broadcast and products of 32 registers; for CPUs without VNNI. */
#include <immintrin.h>
#include <stdint.h>

#define CONV_WINOGRAD          .winograd_channels = 16, .winograd_pixels = 100
#define LANES             16
#define P_CODES(x)        _mm512_set1_epi32(x)
#define P_WEIGHTS(p)      _mm512_load_si512(p)
#define P_DOT(sums, a, w) cr_avx512_dot(sums, a, w)
#define P_ZERO            _mm512_setzero_si512()
#define P_STORE(c, sums, bias)                                                                     \
    _mm512_storeu_si512(c, _mm512_add_epi32(sums, _mm512_loadu_si512(bias)))
typedef __m512i VS;

/* The empty statement keeps gcc from putting the step's additions off to its end, where their
 * operands no longer fit the registers. */
static inline __m512i cr_avx512_dot(__m512i sums, __m512i a, __m512i w)
{
    sums = _mm512_add_epi32(sums, _mm512_madd_epi16(a, w));
    __asm__("" : "+v"(sums));
    return sums;
}

#define CONV(name) conv_s8_##name##_avx512
#define CONV_MR    12
#define CONV_NV    2
#include "kernels/x86/conv_s8_pairs_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_avx512;
const cr_conv_s8_kernel cr_conv_s8_avx512 = CONV_RECORD("conv_s8 avx512 12x32", NULL);
