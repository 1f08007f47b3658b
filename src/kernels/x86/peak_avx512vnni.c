#include <immintrin.h>

#include "kernels/peak_body.h"

static volatile char one = 1;

CR_PEAK_LOOP(s8_avx512vnni, __m512i, _mm512_set1_epi32(peak_zero_i), __m512i, _mm512_set1_epi8(one),
             _mm512_dpbusd_epi32, _mm512_reduce_add_epi32)

extern const cr_peak_kernel cr_peak_avx512vnni;
const cr_peak_kernel cr_peak_avx512vnni = {"peak avx512vnni", NULL, s8_avx512vnni, NULL, NULL};
