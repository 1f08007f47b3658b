#define DW(name) dwconv_f32_##name##_neon
#define DW_MR    6
#include "kernels/arm/vec_neon.h"

#include "kernels/dwconv_f32_body.h"

extern const cr_dwconv_f32_kernel cr_dwconv_f32_neon;
const cr_dwconv_f32_kernel cr_dwconv_f32_neon = DW_RECORD("neon");
