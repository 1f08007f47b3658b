#include <immintrin.h>
#include <stdint.h>

#define WINO(name)     winograd_s8_##name##_avx512vnni
#define HALVES         32
#define WINO_MR        12
#define WINO_NV        2
#define WINO_APART     false
#define W_CODES(p)     (VH) _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define W_FEW(p, n)    (VH) _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(((__mmask32)1 << (n)) - 1, p))
#define W_DOT(s, a, b) (VU) _mm512_dpwssd_epi32((__m512i)(s), (__m512i)(a), (__m512i)(b))
#define WINO_EACH_ROWS CR_WINO_ROWS_12
#define W_PAIR(p) (VH) _mm512_set1_epi32(cr_winograd_pair(p))
#include "kernels/winograd_s8_body.h"

extern const cr_winograd_s8_kernel cr_winograd_s8_avx512vnni;
const cr_winograd_s8_kernel cr_winograd_s8_avx512vnni = WINO_RECORD("winograd_s8 avx512vnni 12x32");
