#include <immintrin.h>
#include <stdint.h>

#define GEMM(name)       gemm_s16_##name##_avx512
#define GEMM_MR          12
#define GEMM_NV          2
#define LANES            16
#define G_PAIR(x)        _mm512_set1_epi32(x)
#define G_LOAD(p)        _mm512_loadu_si512(p)
#define G_DOT(s, a, b)   _mm512_add_epi32(s, _mm512_madd_epi16(a, b))
#define G_ZERO           _mm512_setzero_si512()
#define G_STORE(p, sums) _mm512_storeu_si512(p, sums)
typedef __m512i VS, VB;

#include "kernels/gemm_s16_body.h"

extern const cr_gemm_s16_kernel cr_gemm_s16_avx512;
const cr_gemm_s16_kernel cr_gemm_s16_avx512 = GEMM_RECORD("gemm_s16 avx512 12x32");
