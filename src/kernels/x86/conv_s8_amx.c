#include "kernels/x86/amx_model.h"
#include "kernels/x86/conv_s8_amx_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_amx;
const cr_conv_s8_kernel cr_conv_s8_amx = AMX_RECORD("conv_s8 amx 32x32");
