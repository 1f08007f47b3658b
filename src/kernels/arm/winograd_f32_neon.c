/* 8 x 12: 24 sums, 3 weights, 1 broadcast of 32 registers. */
#define WINO(name) winograd_f32_##name##_neon
#define WINO_MR    8
#define WINO_NV    3
#define WINO_EACH_ROWS CR_WINO_ROWS_8
#include "kernels/arm/vec_neon.h"

#include "kernels/winograd_f32_body.h"

extern const cr_winograd_f32_kernel cr_winograd_f32_neon;
const cr_winograd_f32_kernel cr_winograd_f32_neon = WINO_RECORD("winograd_f32 neon 8x12");
