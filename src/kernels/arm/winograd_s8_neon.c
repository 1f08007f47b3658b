/* Weights are multiplied by a lane of the pair, as vpaddq_s32 would cost as much as a product. */
#include <arm_neon.h>

#define WINO(name) winograd_s8_##name##_neon
#define HALVES     8
#define WINO_MR    8
#define WINO_NV    2
#define WINO_APART true
#define W_CODES(p) (VH) vmovl_u8(vld1_u8(p))
#define W_DOT(s, a, b)                                                                             \
    (VU) vmlal_high_lane_s16(vmlal_lane_s16((int32x4_t)(s), vget_low_s16((int16x8_t)(b)),          \
                                            vget_low_s16((int16x8_t)(a)), 0),                      \
                             (int16x8_t)(b), vget_low_s16((int16x8_t)(a)), 1)
#define WINO_EACH_ROWS CR_WINO_ROWS_8
#define W_PAIR(p) (VH) vdupq_n_s32(cr_winograd_pair(p))
#include "kernels/winograd_s8_body.h"

extern const cr_winograd_s8_kernel cr_winograd_s8_neon;
const cr_winograd_s8_kernel cr_winograd_s8_neon = WINO_RECORD("winograd_s8 neon 8x8");
