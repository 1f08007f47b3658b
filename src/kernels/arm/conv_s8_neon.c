/* 8 x 8: 16 sums, 4 weights, 1 row of codes of 32 registers; for cores without dot products. Codes
 * and weights are 16 bits wide; smlal by lane multiplies four channels by one code. From when on
 * Winograd is faster was not measured, for want of such a core: AVX2's rule, as both ways have one
 * instruction for their products there, too. */
#include <arm_neon.h>
#include <stdint.h>

#define CONV(name)             conv_s8_##name##_neon
#define CONV_MR                8
#define CONV_NV                2
#define CONV_WINOGRAD          .winograd_channels = 16, .winograd_pixels = 100
#define LANES                  4
#define S_BYTES                32
#define S_CODES(x)             vget_low_s16(vreinterpretq_s16_u16(vmovl_u8(vcreate_u8(x))))
#define S_WEIGHTS(p)           vld1q_s16_x2((const int16_t *)(const void *)(p))
#define S_DOT(sums, a, w)      cr_neon_dot(sums, a, w)
#define S_START(bias)          vdupq_n_s32(0)
#define S_STORE(c, sums, bias) vst1q_s32(c, vaddq_s32(sums, vld1q_s32(bias)))
typedef int32x4_t VS;
typedef int16x4_t VA;
typedef int16x8x2_t VW;

static inline int32x4_t cr_neon_dot(int32x4_t sums, int16x4_t a, int16x8x2_t w)
{
    sums = vmlal_lane_s16(sums, vget_low_s16(w.val[0]), a, 0);
    sums = vmlal_lane_s16(sums, vget_high_s16(w.val[0]), a, 1);
    sums = vmlal_lane_s16(sums, vget_low_s16(w.val[1]), a, 2);
    return vmlal_lane_s16(sums, vget_high_s16(w.val[1]), a, 3);
}

#include "kernels/conv_s8_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_neon;
const cr_conv_s8_kernel cr_conv_s8_neon = CONV_RECORD("conv_s8 neon 8x8", CR_S8_COLUMNS, NULL);
