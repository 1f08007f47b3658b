#define DW(name) dwconv_bf16_##name##_avx512bf16
#define DW_MR    8
#include "kernels/x86/vec_bf16_avx512.h"

#include "kernels/dwconv_bf16_body.h"

extern const cr_dwconv_bf16_kernel cr_dwconv_bf16_avx512bf16;
const cr_dwconv_bf16_kernel cr_dwconv_bf16_avx512bf16 = DW_RECORD("avx512bf16");
