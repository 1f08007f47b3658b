#include <immintrin.h>

#include "kernels/peak_body.h"

static inline double total_s32(__m256i v)
{
    int32_t lane[8];
    double all = 0;
    _mm256_storeu_si256((__m256i *)(void *)lane, v);
    for (int i = 0; i < 8; i++) all += lane[i];
    return all;
}

static volatile char one = 1;

CR_PEAK_LOOP(s8_avxvnni, __m256i, _mm256_set1_epi32(peak_zero_i), __m256i, _mm256_set1_epi8(one),
             _mm256_dpbusd_avx_epi32, total_s32)

extern const cr_peak_kernel cr_peak_avxvnni;
const cr_peak_kernel cr_peak_avxvnni = {"peak avxvnni", NULL, s8_avxvnni, NULL, NULL};
