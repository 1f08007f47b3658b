#include <arm_neon.h>

#include "kernels/peak_body.h"

static volatile signed char one = 1;

CR_PEAK_LOOP(s8_i8mm, int32x4_t, vdupq_n_s32(peak_zero_i), int8x16_t, vdupq_n_s8(one), vmmlaq_s32,
             vaddvq_s32)

extern const cr_peak_kernel cr_peak_i8mm;
const cr_peak_kernel cr_peak_i8mm = {"peak i8mm", NULL, s8_i8mm, NULL, NULL};
