#include <immintrin.h>
#include <stdint.h>

#define WINO(name) winograd_s8_##name##_avx2
#define HALVES     16
#define WINO_MR    6
#define WINO_NV    2
#define WINO_APART false
#define W_CODES(p) (VH) _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define W_DOT(s, a, b)                                                                             \
    (VU) _mm256_add_epi32((__m256i)(s), _mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#define WINO_EACH_ROWS CR_WINO_ROWS_6
#define W_PAIR(p)      (VH) _mm256_set1_epi32(cr_winograd_pair(p))
#include "kernels/winograd_s8_body.h"

extern const cr_winograd_s8_kernel cr_winograd_s8_avx2;
const cr_winograd_s8_kernel cr_winograd_s8_avx2 = WINO_RECORD("winograd_s8 avx2 6x16");
