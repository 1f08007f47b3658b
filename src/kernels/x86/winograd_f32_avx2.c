/* 6 x 16: 12 sums, 2 weights, 1 broadcast of 16 registers. */
#define WINO(name)     winograd_f32_##name##_avx2
#define WINO_MR        6
#define WINO_NV        2
#define WINO_EACH_ROWS CR_WINO_ROWS_6
#include "kernels/x86/vec_avx2.h"

#include "kernels/winograd_f32_body.h"

extern const cr_winograd_f32_kernel cr_winograd_f32_avx2;
const cr_winograd_f32_kernel cr_winograd_f32_avx2 = WINO_RECORD("winograd_f32 avx2 6x16");
