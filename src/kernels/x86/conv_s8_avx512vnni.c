/* 12 x 32: 24 sums, 2 weights, 1 broadcast of 32 registers; 24 x 16 where there are no more
 * channels (as many sums, so the latency of a chain still hides). vpdpbusd adds four exact products
 * of uint8 codes and int8 weights to a lane. */
#include <immintrin.h>
#include <stdint.h>

#define CONV_WINOGRAD          .winograd_channels = 32, .winograd_pixels = 576
#define LANES                  16
#define S_BYTES                64
#define S_CODES(x)             _mm512_set1_epi32((int)(x))
#define S_WEIGHTS(p)           _mm512_load_si512(p)
#define S_DOT(sums, a, w)      _mm512_dpbusd_epi32(sums, a, w)
#define S_START(bias)          _mm512_loadu_si512(bias)
#define S_STORE(c, sums, bias) _mm512_storeu_si512(c, sums)
typedef __m512i VS, VA, VW;

#define CONV(name) conv_s8_##name##_narrow_avx512vnni
#define CONV_MR    24
#define CONV_NV    1
#include "kernels/conv_s8_body.h"

static const cr_conv_s8_kernel narrow = CONV_RECORD("conv_s8 avx512vnni 24x16", CR_S8_BYTES, NULL);

#undef CONV
#undef CONV_MR
#undef CONV_NV
#define CONV(name) conv_s8_##name##_avx512vnni
#define CONV_MR    12
#define CONV_NV    2
#include "kernels/conv_s8_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_avx512vnni;
const cr_conv_s8_kernel cr_conv_s8_avx512vnni =
    CONV_RECORD("conv_s8 avx512vnni 12x32", CR_S8_BYTES, &narrow);
