#define GEMM(name) gemm_f32_##name##_neon
#define GEMM_MR    8
#define GEMM_NV    3
#include "kernels/arm/vec_neon.h"

#include "kernels/gemm_f32_body.h"

extern const cr_gemm_f32_kernel cr_gemm_f32_neon;
const cr_gemm_f32_kernel cr_gemm_f32_neon = GEMM_RECORD("gemm_f32 neon 8x12");
