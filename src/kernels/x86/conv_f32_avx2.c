/* 6 x 16: 12 sums, 2 weights, 1 broadcast of 16 registers. */
#define CONV(name) conv_f32_##name##_avx2
#define CONV_MR    6
#define CONV_NV    2
#include "kernels/x86/vec_avx2.h"

#include "kernels/conv_f32_body.h"

extern const cr_conv_f32_kernel cr_conv_f32_avx2;
const cr_conv_f32_kernel cr_conv_f32_avx2 = CONV_RECORD("conv_f32 avx2 6x16");
