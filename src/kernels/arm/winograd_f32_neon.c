/* 8 x 12: 24 sums, 3 weights, 1 broadcast of 32 registers. */
#define WINO(name) winograd_f32_##name##_neon
#define WINO_MR    8
#define WINO_NV    3
#define WINO_EACH_ROWS                                                                             \
    WINO_ROWS(1)                                                                                   \
    WINO_ROWS(2)                                                                                   \
    WINO_ROWS(3) WINO_ROWS(4) WINO_ROWS(5) WINO_ROWS(6) WINO_ROWS(7) WINO_ROWS(8)
#include "kernels/arm/vec_neon.h"

#include "kernels/winograd_f32_body.h"

extern const cr_winograd_f32_kernel cr_winograd_f32_neon;
const cr_winograd_f32_kernel cr_winograd_f32_neon = WINO_RECORD("winograd_f32 neon 8x12");
