#define DW(name) dwconv_##name##_avx2
#define DW_MR    6
#include "kernels/x86/vec_avx2.h"

#include "kernels/dwconv_body.h"

extern const cr_dwconv_kernel cr_dwconv_avx2;
const cr_dwconv_kernel cr_dwconv_avx2 = DW_RECORD("avx2");
