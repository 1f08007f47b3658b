#include <immintrin.h>

#include "kernels/peak_body.h"

#define OPAQUE(a) __asm__("" : "+v"(a))

static inline __m512i step_s8(__m512i acc, __m512i *a, __m512i b)
{
    OPAQUE(*a);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(*a, b));
}

/* _mm512_reduce_add_epi64 adds signed numbers, which may not wrap. */
static inline uint64_t total_u64(__m512i v)
{
    uint64_t lane[8], all = 0;
    _mm512_storeu_si512(lane, v);
    for (int i = 0; i < 8; i++) all += lane[i];
    return all;
}

static volatile float one_f = 1;
static volatile short one_s = 1;

#define STEP_F32(acc, a, b) _mm512_fmadd_ps(a, b, acc)
#define STEP_S8(acc, a, b)  step_s8(acc, &(a), b)

CR_PEAK_LOOP(f32_avx512, __m512, _mm512_set1_ps(peak_zero_f), __m512, _mm512_set1_ps(one_f),
             STEP_F32, (double)_mm512_reduce_add_ps)
CR_PEAK_LOOP(s8_avx512, __m512i, _mm512_set1_epi32(peak_zero_i), __m512i, _mm512_set1_epi16(one_s),
             STEP_S8, _mm512_reduce_add_epi32)
CR_PEAK_READ(read_avx512, __m512i, _mm512_setzero_si512(), _mm512_load_si512, _mm512_add_epi64,
             total_u64)

extern const cr_peak_kernel cr_peak_avx512;
const cr_peak_kernel cr_peak_avx512 = {"peak avx512", f32_avx512, s8_avx512, NULL, read_avx512};
