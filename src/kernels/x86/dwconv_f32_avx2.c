#define DW(name) dwconv_f32_##name##_avx2
#define DW_MR    6
#include "kernels/x86/vec_avx2.h"

#include "kernels/dwconv_f32_body.h"

extern const cr_dwconv_f32_kernel cr_dwconv_f32_avx2;
const cr_dwconv_f32_kernel cr_dwconv_f32_avx2 = DW_RECORD("avx2");
