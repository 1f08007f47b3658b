/* 14 x 32: 28 sums, 2 weights, 1 broadcast of 32 registers. */
#define WINO(name) winograd_f32_##name##_avx512
#define WINO_MR    14
#define WINO_NV    2
#define WINO_EACH_ROWS CR_WINO_ROWS_14
#include "kernels/x86/vec_avx512.h"

#include "kernels/winograd_f32_body.h"

extern const cr_winograd_f32_kernel cr_winograd_f32_avx512;
const cr_winograd_f32_kernel cr_winograd_f32_avx512 = WINO_RECORD("winograd_f32 avx512 14x32");
