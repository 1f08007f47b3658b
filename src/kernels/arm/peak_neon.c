/* smlal makes eight products of 16-bit numbers a pair of instructions; bytes are widened first. */
#include <arm_neon.h>

#include "kernels/peak_body.h"

#define OPAQUE(a) __asm__("" : "+w"(a))

static inline int32x4_t step_s8(int32x4_t acc, int16x4_t *a, int16x4_t b)
{
    OPAQUE(*a);
    return vmlal_s16(acc, *a, b);
}

static volatile float one_f = 1;
static volatile short one_s = 1;

#define STEP_F32(acc, a, b) vfmaq_f32(acc, a, b)
#define STEP_S8(acc, a, b)  step_s8(acc, &(a), b)
#define TOTAL_F32(v)        (double)vaddvq_f32(v)
#define LOAD(p)             (*(p))

CR_PEAK_LOOP(f32_neon, float32x4_t, vdupq_n_f32(peak_zero_f), float32x4_t, vdupq_n_f32(one_f),
             STEP_F32, TOTAL_F32)
CR_PEAK_LOOP(s8_neon, int32x4_t, vdupq_n_s32(peak_zero_i), int16x4_t, vdup_n_s16(one_s), STEP_S8,
             vaddvq_s32)
CR_PEAK_READ(read_neon, uint64x2_t, vdupq_n_u64(0), LOAD, vaddq_u64, vaddvq_u64)

extern const cr_peak_kernel cr_peak_neon;
const cr_peak_kernel cr_peak_neon = {"peak neon", f32_neon, s8_neon, NULL, read_neon};
