/* 12 x 32: 24 sums, 2 weights, 1 broadcast of 32 registers. */
#define CONV(name) conv_f32_##name##_avx512
#define CONV_MR    12
#define CONV_NV    2
#include "kernels/x86/vec_avx512.h"

#include "kernels/conv_f32_body.h"

extern const cr_conv_f32_kernel cr_conv_f32_avx512;
const cr_conv_f32_kernel cr_conv_f32_avx512 = CONV_RECORD("conv_f32 avx512 12x32");
