/* As vec_bf16_c.h, for NEON. */
#ifndef CR_KERNELS_VEC_BF16_NEON_H
#define CR_KERNELS_VEC_BF16_NEON_H

#include "kernels/arm/vec_neon.h"
#include "kernels/bf16.h"

#define B_LOAD(p)      vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))
#define B_LOAD_N(p, n) cr_neon_load_bf16_n(p, n)
#define B_STORE(p, v)  vst1_u16(p, cr_neon_round(v))

static inline float32x4_t cr_neon_load_bf16_n(const cr_bf16 *p, int n)
{
    cr_bf16 part[4] = {0};
    memcpy(part, p, (size_t)n * sizeof *p);
    return B_LOAD(part);
}

static inline uint16x4_t cr_neon_round(float32x4_t v)
{
    const uint32x4_t u = vreinterpretq_u32_f32(v), high = vshrq_n_u32(u, 16);
    const uint32x4_t odd = vandq_u32(high, vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd);
    const uint32x4_t normal = vtstq_u32(u, vdupq_n_u32(0x7f800000));
    uint32x4_t r = vshrq_n_u32(up, 16);
    r = vbslq_u32(normal, r, vandq_u32(high, vdupq_n_u32(0x8000)));
    r = vbslq_u32(vceqq_f32(v, v), r, vorrq_u32(high, vdupq_n_u32(0x40)));
    return vmovn_u32(r);
}

#endif
