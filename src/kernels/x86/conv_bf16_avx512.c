#define CONV(name) conv_bf16_##name##_avx512
#define CONV_MR    12
#define CONV_NV    2
#include "kernels/x86/vec_bf16_avx512.h"

#include "kernels/conv_bf16_body.h"

extern const cr_conv_bf16_kernel cr_conv_bf16_avx512;
const cr_conv_bf16_kernel cr_conv_bf16_avx512 = CONV_RECORD("conv_bf16 avx512 12x32");
