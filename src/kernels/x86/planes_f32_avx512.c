#define PLANES(name) planes_f32_##name##_avx512
#define PLANES_MR    12
#define PLANES_NV    2
#define PLANES_DR    5
#define PLANES_DC    5
#define PLANES_EACH_ROWS                                                                           \
    PLANES_ROWS(1) PLANES_ROWS(2) PLANES_ROWS(3) PLANES_ROWS(4) PLANES_ROWS(5) PLANES_ROWS(6)      \
        PLANES_ROWS(7) PLANES_ROWS(8) PLANES_ROWS(9) PLANES_ROWS(10) PLANES_ROWS(11)               \
            PLANES_ROWS(12)
#define PLANES_DOTS_OF(r)                                                                          \
    PLANES_DOT(r, 1) PLANES_DOT(r, 2) PLANES_DOT(r, 3) PLANES_DOT(r, 4) PLANES_DOT(r, 5)
#define PLANES_EACH_DOT                                                                            \
    PLANES_DOTS_OF(1) PLANES_DOTS_OF(2) PLANES_DOTS_OF(3) PLANES_DOTS_OF(4) PLANES_DOTS_OF(5)
#define PLANES_FOLD(v) planes_f32_fold_avx512((v)[0])
#include "kernels/x86/vec_avx512.h"

static inline float planes_f32_fold_avx512(__m512 v)
{
    const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

#include "kernels/planes_f32_body.h"

extern const cr_planes_f32_kernel cr_planes_f32_avx512;
const cr_planes_f32_kernel cr_planes_f32_avx512 = PLANES_RECORD("planes_f32 avx512 12x32");
