/* Products of a pair meet in vpaddq_s32. */
#include <arm_neon.h>

#define GEMM(name) gemm_s16_##name##_neon
#define GEMM_MR    6
#define GEMM_NV    2
#define LANES      4
#define G_PAIR(x)  vreinterpretq_s16_s32(vdupq_n_s32(x))
#define G_LOAD(p)  vld1q_s16(p)
#define G_DOT(s, a, b)                                                                             \
    vaddq_s32(s, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)))
#define G_ZERO           vdupq_n_s32(0)
#define G_STORE(p, sums) vst1q_s32(p, sums)
typedef int32x4_t VS;
typedef int16x8_t VB;

#include "kernels/gemm_s16_body.h"

extern const cr_gemm_s16_kernel cr_gemm_s16_neon;
const cr_gemm_s16_kernel cr_gemm_s16_neon = GEMM_RECORD("gemm_s16 neon 6x8");
