#define CONV(name) conv_bf16_##name##_avx2
#define CONV_MR    6
#define CONV_NV    2
#include "kernels/x86/vec_bf16_avx2.h"

#include "kernels/conv_bf16_body.h"

extern const cr_conv_bf16_kernel cr_conv_bf16_avx2;
const cr_conv_bf16_kernel cr_conv_bf16_avx2 = CONV_RECORD("conv_bf16 avx2 6x16");
