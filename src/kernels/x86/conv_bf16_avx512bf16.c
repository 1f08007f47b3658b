/* 12 x 32: 24 sums, 2 weights, 1 broadcast of 32 registers; 24 x 16 where there are no more
 * channels. vdpbf16ps multiplies the pairs of all lanes and adds both products to a lane's sum. */
#define CONV(name) conv_bf16_##name##_narrow
#define CONV_MR    24
#define CONV_NV    1
#include "kernels/conv_bf16_pairs_body.h"

static const cr_conv_bf16_kernel narrow = CONV_RECORD("conv_bf16 avx512bf16 24x16", NULL);

#undef CONV
#undef CONV_MR
#undef CONV_NV
#undef CONV_LANES
#undef CONV_BYTES
#undef CONV_THIRDS
#undef CONV_RECORD
#define CONV(name) conv_bf16_##name##_wide
#define CONV_MR    12
#define CONV_NV    2
#include "kernels/conv_bf16_pairs_body.h"

extern const cr_conv_bf16_kernel cr_conv_bf16_avx512bf16;
const cr_conv_bf16_kernel cr_conv_bf16_avx512bf16 =
    CONV_RECORD("conv_bf16 avx512bf16 12x32", &narrow);
