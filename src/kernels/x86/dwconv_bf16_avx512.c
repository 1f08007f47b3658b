#define DW(name) dwconv_bf16_##name##_avx512
#define DW_MR    8
#include "kernels/x86/vec_bf16_avx512.h"

#include "kernels/dwconv_bf16_body.h"

extern const cr_dwconv_bf16_kernel cr_dwconv_bf16_avx512;
const cr_dwconv_bf16_kernel cr_dwconv_bf16_avx512 = DW_RECORD("avx512");
