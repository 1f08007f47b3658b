/* vpmaddwd makes sixteen products of 16-bit numbers; bytes have no exact product of their own. */
#include <immintrin.h>

#include "kernels/peak_body.h"

/* The barrier makes `a` new for every step, at the cost of no instruction. */
#define OPAQUE(a) __asm__("" : "+x"(a))

static inline __m256i step_s8(__m256i acc, __m256i *a, __m256i b)
{
    OPAQUE(*a);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(*a, b));
}

static inline double total_f32(__m256 v)
{
    float lane[8];
    double all = 0;
    _mm256_storeu_ps(lane, v);
    for (int i = 0; i < 8; i++) all += (double)lane[i];
    return all;
}

static inline double total_s32(__m256i v)
{
    int32_t lane[8];
    double all = 0;
    _mm256_storeu_si256((__m256i *)(void *)lane, v);
    for (int i = 0; i < 8; i++) all += lane[i];
    return all;
}

static inline uint64_t total_u64(__m256i v)
{
    uint64_t lane[4];
    _mm256_storeu_si256((__m256i *)(void *)lane, v);
    return lane[0] + lane[1] + lane[2] + lane[3];
}

static volatile float one_f = 1;
static volatile short one_s = 1;

#define STEP_F32(acc, a, b) _mm256_fmadd_ps(a, b, acc)
#define STEP_S8(acc, a, b)  step_s8(acc, &(a), b)

CR_PEAK_LOOP(f32_avx2, __m256, _mm256_set1_ps(peak_zero_f), __m256, _mm256_set1_ps(one_f), STEP_F32,
             total_f32)
CR_PEAK_LOOP(s8_avx2, __m256i, _mm256_set1_epi32(peak_zero_i), __m256i, _mm256_set1_epi16(one_s),
             STEP_S8, total_s32)
CR_PEAK_READ(read_avx2, __m256i, _mm256_setzero_si256(), _mm256_load_si256, _mm256_add_epi64,
             total_u64)

extern const cr_peak_kernel cr_peak_avx2;
const cr_peak_kernel cr_peak_avx2 = {"peak avx2", f32_avx2, s8_avx2, NULL, read_avx2};
