#include "kernels/x86/amx_model.h"
#include "kernels/x86/conv_bf16_amx_body.h"

extern const cr_conv_bf16_kernel cr_conv_bf16_amx;
const cr_conv_bf16_kernel cr_conv_bf16_amx = AMX_RECORD("conv_bf16 amx 32x32");
