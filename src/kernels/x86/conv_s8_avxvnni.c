/* 6 x 16: 12 sums, 2 weights, 1 broadcast of 16 registers; 12 x 8 where there are no more channels.
 * For CPUs that have vpdpbusd with 256 bits alone. */
#include <immintrin.h>
#include <stdint.h>

#define CONV_WINOGRAD          .winograd_channels = 32, .winograd_pixels = 576
#define LANES                  8
#define S_BYTES                32
#define S_CODES(x)             _mm256_set1_epi32((int)(x))
#define S_WEIGHTS(p)           _mm256_load_si256((const __m256i *)(const void *)(p))
#define S_DOT(sums, a, w)      _mm256_dpbusd_avx_epi32(sums, a, w)
#define S_START(bias)          _mm256_loadu_si256((const __m256i *)(const void *)(bias))
#define S_STORE(c, sums, bias) _mm256_storeu_si256((__m256i *)(void *)(c), sums)
typedef __m256i VS, VA, VW;

#define CONV(name) conv_s8_##name##_narrow_avxvnni
#define CONV_MR    12
#define CONV_NV    1
#include "kernels/conv_s8_body.h"

static const cr_conv_s8_kernel narrow = CONV_RECORD("conv_s8 avxvnni 12x8", CR_S8_BYTES, NULL);

#undef CONV
#undef CONV_MR
#undef CONV_NV
#define CONV(name) conv_s8_##name##_avxvnni
#define CONV_MR    6
#define CONV_NV    2
#include "kernels/conv_s8_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_avxvnni;
const cr_conv_s8_kernel cr_conv_s8_avxvnni =
    CONV_RECORD("conv_s8 avxvnni 6x16", CR_S8_BYTES, &narrow);
