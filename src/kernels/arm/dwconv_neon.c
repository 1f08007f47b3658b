#define DW(name) dwconv_##name##_neon
#define DW_MR    6
#include "kernels/arm/vec_neon.h"

#include "kernels/dwconv_body.h"

extern const cr_dwconv_kernel cr_dwconv_neon;
const cr_dwconv_kernel cr_dwconv_neon = DW_RECORD("neon");
