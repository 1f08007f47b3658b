/* 8 x 12: 24 sums, 3 weights, 1 broadcast of 32 registers. */
#define CONV(name) conv_f32_##name##_neon
#define CONV_MR    8
#define CONV_NV    3
#include "kernels/arm/vec_neon.h"

#include "kernels/conv_f32_body.h"

extern const cr_conv_f32_kernel cr_conv_f32_neon;
const cr_conv_f32_kernel cr_conv_f32_neon = CONV_RECORD("conv_f32 neon 8x12");
