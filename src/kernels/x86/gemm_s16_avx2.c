#include <immintrin.h>
#include <stdint.h>

#define GEMM(name)       gemm_s16_##name##_avx2
#define GEMM_MR          6
#define GEMM_NV          2
#define LANES            8
#define G_PAIR(x)        _mm256_set1_epi32(x)
#define G_LOAD(p)        _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define G_DOT(s, a, b)   _mm256_add_epi32(s, _mm256_madd_epi16(a, b))
#define G_ZERO           _mm256_setzero_si256()
#define G_STORE(p, sums) _mm256_storeu_si256((__m256i *)(void *)(p), sums)
typedef __m256i VS, VB;

#include "kernels/gemm_s16_body.h"

extern const cr_gemm_s16_kernel cr_gemm_s16_avx2;
const cr_gemm_s16_kernel cr_gemm_s16_avx2 = GEMM_RECORD("gemm_s16 avx2 6x16");
