#define DW(name) dwconv_bf16_##name##_neon
#define DW_MR    4
#include "kernels/arm/vec_bf16_neon.h"

#include "kernels/dwconv_bf16_body.h"

extern const cr_dwconv_bf16_kernel cr_dwconv_bf16_neon;
const cr_dwconv_bf16_kernel cr_dwconv_bf16_neon = DW_RECORD("neon");
