/* NEON: structured loads take R,G,B apart. */
#include <arm_neon.h>

#include "vision/pixels.h"

extern const cr_pixels cr_pixels_neon;

static void stretch(const uint8_t *row, const cr_taps *taps, int16_t *out)
{
    size_t x = 0;
    for (; x < taps->adjacent; x++) {
        const uint16x8_t pair = vmovl_u8(vld1_u8(row + taps->at[x].first));
        const uint16x4_t a = vget_low_u16(pair), b = vget_low_u16(vextq_u16(pair, pair, 3));
        const uint32x4_t sum = vmlal_n_u16(vmull_n_u16(a, (uint16_t)taps->weights[2 * x]), b,
                                           (uint16_t)taps->weights[2 * x + 1]);
        vst1_s16(out + 3 * x, vreinterpret_s16_u16(vshrn_n_u32(sum, 4)));
    }
    cr_stretch_from(row, taps, x, out);
}

static inline int16x8_t scaled(const int16_t *h, int w)
{
    const int16x8_t v = vld1q_s16(h);
    const int16x4_t low = vshrn_n_s32(vmull_n_s16(vget_low_s16(v), (int16_t)w), 16);
    return vcombine_s16(low, vshrn_n_s32(vmull_n_s16(vget_high_s16(v), (int16_t)w), 16));
}

static void blend(const int16_t *h0, const int16_t *h1, int w0, int w1, size_t n, uint8_t *out)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        vst1_u8(out + i, vqrshrun_n_s16(vaddq_s16(scaled(h0 + i, w0), scaled(h1 + i, w1)), 2));
    cr_blend_from(h0, h1, w0, w1, i, n, out);
}

static void halve(const uint8_t *row0, const uint8_t *row1, size_t n, uint8_t *out)
{
    size_t x = 0;
    for (; x + 8 <= n; x += 8) {
        const uint8x16x3_t a = vld3q_u8(row0 + 6 * x), b = vld3q_u8(row1 + 6 * x);
        uint8x8x3_t mean;
#pragma GCC unroll 3
        for (int c = 0; c < 3; c++)
            mean.val[c] = vrshrn_n_u16(vpadalq_u8(vpaddlq_u8(a.val[c]), b.val[c]), 2);
        vst3_u8(out + 3 * x, mean);
    }
    cr_halve_from(row0, row1, x, n, out);
}

static void swap(uint8_t *row, size_t n)
{
    size_t x = 0;
    for (; x + 16 <= n; x += 16) {
        uint8x16x3_t p = vld3q_u8(row + 3 * x);
        const uint8x16_t first = p.val[0];
        p.val[0] = p.val[2];
        p.val[2] = first;
        vst3q_u8(row + 3 * x, p);
    }
    cr_swap_from(row, x, n);
}

static inline void four(float *out, uint16x4_t v, float mean, float div)
{
    const float32x4_t x = vcvtq_f32_u32(vmovl_u16(v));
    vst1q_f32(out, vdivq_f32(vsubq_f32(x, vdupq_n_f32(mean)), vdupq_n_f32(div)));
}

static void planes(const uint8_t *row, size_t n, const float mean[3], const float div[3],
                   float *const out[3])
{
    size_t x = 0;
    for (; x + 8 <= n; x += 8) {
        const uint8x8x3_t p = vld3_u8(row + 3 * x);
#pragma GCC unroll 3
        for (int c = 0; c < 3; c++) {
            const uint16x8_t v = vmovl_u8(p.val[c]);
            four(out[c] + x, vget_low_u16(v), mean[c], div[c]);
            four(out[c] + x + 4, vget_high_u16(v), mean[c], div[c]);
        }
    }
    cr_planes_from(row, x, n, mean, div, out);
}

const cr_pixels cr_pixels_neon = {stretch, blend, halve, swap, planes};
