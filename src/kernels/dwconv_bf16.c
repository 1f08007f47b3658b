/* Depthwise bfloat16 convolution: the portable tile and the choice of a record. The driver is
 * conv_bf16.c. */
#include "kernels/vec_bf16_c.h"

#define DW(name) dwconv_bf16_##name##_c
#define DW_MR    2
#include "kernels/dwconv_bf16_body.h"

static const cr_dwconv_bf16_kernel dwconv_bf16_c = DW_RECORD("c");

#define CR_DWCONV_BF16_ONLY
#define KERNEL_RECORD cr_dwconv_bf16_kernel
#define KERNEL_C      dwconv_bf16_c
#define KERNEL_LEVEL  cr_dwconv_bf16_level
#define KERNEL_SELECT cr_dwconv_bf16_select
#include "kernels/select.h"
