#include <immintrin.h>

#include "kernels/peak_body.h"

static volatile short one = 0x3f80; /* 1 in bfloat16 */

#define STEP(acc, a, b) _mm512_dpbf16_ps(acc, (__m512bh)(a), (__m512bh)(b))

CR_PEAK_LOOP(bf16_avx512bf16, __m512, _mm512_set1_ps(peak_zero_f), __m512i, _mm512_set1_epi16(one),
             STEP, (double)_mm512_reduce_add_ps)

extern const cr_peak_kernel cr_peak_avx512bf16;
const cr_peak_kernel cr_peak_avx512bf16 = {"peak avx512bf16", NULL, NULL, bf16_avx512bf16, NULL};
