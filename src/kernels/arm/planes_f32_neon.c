#define PLANES(name) planes_f32_##name##_neon
#define PLANES_MR    8
#define PLANES_NV    3
#define PLANES_DR    3
#define PLANES_DC    2
#define PLANES_EACH_ROWS                                                                           \
    PLANES_ROWS(1) PLANES_ROWS(2) PLANES_ROWS(3) PLANES_ROWS(4) PLANES_ROWS(5) PLANES_ROWS(6)      \
        PLANES_ROWS(7) PLANES_ROWS(8)
#define PLANES_EACH_DOT                                                                            \
    PLANES_DOT(1, 1) PLANES_DOT(1, 2) PLANES_DOT(2, 1) PLANES_DOT(2, 2) PLANES_DOT(3, 1)           \
        PLANES_DOT(3, 2)
#include "kernels/arm/vec_neon.h"

#include "kernels/planes_f32_body.h"

extern const cr_planes_f32_kernel cr_planes_f32_neon;
const cr_planes_f32_kernel cr_planes_f32_neon = PLANES_RECORD("planes_f32 neon 8x12");
