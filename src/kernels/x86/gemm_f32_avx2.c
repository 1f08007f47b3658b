#define GEMM(name) gemm_f32_##name##_avx2
#define GEMM_MR    6
#define GEMM_NV    2
#include "kernels/x86/vec_avx2.h"

#include "kernels/gemm_f32_body.h"

extern const cr_gemm_f32_kernel cr_gemm_f32_avx2;
const cr_gemm_f32_kernel cr_gemm_f32_avx2 = GEMM_RECORD("gemm_f32 avx2 6x16");
