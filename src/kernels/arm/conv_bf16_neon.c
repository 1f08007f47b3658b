#define CONV(name) conv_bf16_##name##_neon
#define CONV_MR    8
#define CONV_NV    2
#include "kernels/arm/vec_bf16_neon.h"

#include "kernels/conv_bf16_body.h"

extern const cr_conv_bf16_kernel cr_conv_bf16_neon;
const cr_conv_bf16_kernel cr_conv_bf16_neon = CONV_RECORD("conv_bf16 neon 8x8");
