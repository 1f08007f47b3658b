#define PLANES(name) planes_f32_##name##_avx2
#define PLANES_MR    6
#define PLANES_NV    2
#define PLANES_DR    3
#define PLANES_DC    2
#define PLANES_EACH_ROWS                                                                           \
    PLANES_ROWS(1) PLANES_ROWS(2) PLANES_ROWS(3) PLANES_ROWS(4) PLANES_ROWS(5) PLANES_ROWS(6)
#define PLANES_EACH_DOT                                                                            \
    PLANES_DOT(1, 1) PLANES_DOT(1, 2) PLANES_DOT(2, 1) PLANES_DOT(2, 2) PLANES_DOT(3, 1)           \
        PLANES_DOT(3, 2)
#define PLANES_FOLD(v) planes_f32_fold_avx2((v)[0], (v)[1])
#include "kernels/x86/vec_avx2.h"

static inline float planes_f32_fold_avx2(__m256 low, __m256 high)
{
    const __m256 a = _mm256_add_ps(low, high);
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

#include "kernels/planes_f32_body.h"

extern const cr_planes_f32_kernel cr_planes_f32_avx2;
const cr_planes_f32_kernel cr_planes_f32_avx2 = PLANES_RECORD("planes_f32 avx2 6x16");
