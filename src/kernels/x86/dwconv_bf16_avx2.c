#define DW(name) dwconv_bf16_##name##_avx2
#define DW_MR    4
#include "kernels/x86/vec_bf16_avx2.h"

#include "kernels/dwconv_bf16_body.h"

extern const cr_dwconv_bf16_kernel cr_dwconv_bf16_avx2;
const cr_dwconv_bf16_kernel cr_dwconv_bf16_avx2 = DW_RECORD("avx2");
