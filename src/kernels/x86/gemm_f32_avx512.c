#define GEMM(name) gemm_f32_##name##_avx512
#define GEMM_MR    12
#define GEMM_NV    2
#include "kernels/x86/vec_avx512.h"

#include "kernels/gemm_f32_body.h"

extern const cr_gemm_f32_kernel cr_gemm_f32_avx512;
const cr_gemm_f32_kernel cr_gemm_f32_avx512 = GEMM_RECORD("gemm_f32 avx512 12x32");
