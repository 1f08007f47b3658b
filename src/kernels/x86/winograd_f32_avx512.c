/* 14 x 32: 28 sums, 2 weights, 1 broadcast of 32 registers. */
#define WINO(name) winograd_f32_##name##_avx512
#define WINO_MR    14
#define WINO_NV    2
#define WINO_EACH_ROWS                                                                             \
    WINO_ROWS(1)                                                                                   \
    WINO_ROWS(2)                                                                                   \
    WINO_ROWS(3)                                                                                   \
    WINO_ROWS(4)                                                                                   \
    WINO_ROWS(5)                                                                                   \
    WINO_ROWS(6)                                                                                   \
    WINO_ROWS(7)                                                                                   \
    WINO_ROWS(8)                                                                                   \
    WINO_ROWS(9)                                                                                   \
    WINO_ROWS(10) WINO_ROWS(11) WINO_ROWS(12) WINO_ROWS(13) WINO_ROWS(14)
#include "kernels/x86/vec_avx512.h"

#include "kernels/winograd_f32_body.h"

extern const cr_winograd_f32_kernel cr_winograd_f32_avx512;
const cr_winograd_f32_kernel cr_winograd_f32_avx512 = WINO_RECORD("winograd_f32 avx512 14x32");
