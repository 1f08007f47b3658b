#define DW(name) dwconv_f32_##name##_avx512
#define DW_MR    8
#include "kernels/x86/vec_avx512.h"

#include "kernels/dwconv_f32_body.h"

extern const cr_dwconv_f32_kernel cr_dwconv_f32_avx512;
const cr_dwconv_f32_kernel cr_dwconv_f32_avx512 = DW_RECORD("avx512");
