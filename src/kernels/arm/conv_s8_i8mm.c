/* 8 x 8: 16 sums, 4 pairs of pixels, up to 4 pairs of channels of 32 registers. usmmla multiplies a
 * 2x8 matrix (two pixels, eight codes) by an 8x2 one (two channels) into a 2x2 square of sums:
 * twice the products of a dot product. A step is eight codes. Rejected: 8 x 12, whose sums gcc does
 * not keep in registers. */
#include <arm_neon.h>
#include <stdbool.h>

#include "kernels/conv_walk.h"
#include "kernels/unroll.h"

enum { MR = 8, NV = 2, LANES = 4, STEP = 8, BYTES = 16 /* a step's weights of two channels */ };

/* n in 1..7 codes, then zeros. */
CR_INLINE uint8x8_t some_codes(const uint8_t *p, int64_t n)
{
    uint64_t x = 0;
    for (int64_t i = 0; i < n; i++) x |= (uint64_t)p[i] << 8 * i;
    return vcreate_u8(x);
}

CR_INLINE void multiply(int32x4_t acc[MR / 2][2 * NV], const uint8x16_t x[MR / 2], const int8_t *w,
                        const int nv)
{
    CR_UNROLL for (int j = 0; j < 2 * nv; j++)
    {
        const int8x16_t b = vld1q_s8(w + j * BYTES);
        CR_UNROLL for (int r = 0; r < MR / 2; r++) acc[r][j] = vusmmlaq_s32(acc[r][j], x[r], b);
    }
}

CR_INLINE void whole_step(int32x4_t acc[MR / 2][2 * NV], const uint8_t *const p[MR], int64_t k,
                          const int8_t *w, const int nv)
{
    uint8x16_t x[MR / 2];
    CR_UNROLL for (int r = 0; r < MR / 2; r++) x[r] =
        vcombine_u8(vld1_u8(p[2 * r] + k), vld1_u8(p[2 * r + 1] + k));
    multiply(acc, x, w, nv);
}

CR_INLINE void last_step(int32x4_t acc[MR / 2][2 * NV], const uint8_t *const p[MR], int64_t k,
                         int64_t n, const int8_t *w, const int nv)
{
    uint8x16_t x[MR / 2];
    CR_UNROLL for (int r = 0; r < MR / 2; r++) x[r] =
        vcombine_u8(some_codes(p[2 * r] + k, n), some_codes(p[2 * r + 1] + k, n));
    multiply(acc, x, w, nv);
}

/* Two squares side by side are four channels of two pixels. */
CR_INLINE void store(const cr_conv_s8_tile *t, int32x4_t acc[MR / 2][2 * NV], const int nv)
{
    CR_UNROLL for (int r = 0; r < MR / 2; r++) CR_UNROLL for (int v = 0; v < nv; v++)
    {
        const int64x2_t left = vreinterpretq_s64_s32(acc[r][2 * v]);
        const int64x2_t right = vreinterpretq_s64_s32(acc[r][2 * v + 1]);
        const int32x4_t bias = vld1q_s32(t->bias + v * LANES);
        int32_t *c = t->c + (2 * r * nv + v) * LANES;
        vst1q_s32(c, vaddq_s32(vreinterpretq_s32_s64(vzip1q_s64(left, right)), bias));
        vst1q_s32(c + nv * LANES, vaddq_s32(vreinterpretq_s32_s64(vzip2q_s64(left, right)), bias));
    }
}

CR_INLINE void tile(const cr_conv_s8_tile *t, const int nv, const bool line)
{
    int32x4_t acc[MR / 2][2 * NV];
    CR_UNROLL for (int r = 0; r < MR / 2; r++) CR_UNROLL for (int j = 0; j < 2 * nv; j++)
        acc[r][j] = vdupq_n_s32(0);
    const int8_t *w = t->w;
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *p[MR];
        CR_UNROLL for (int r = 0; r < MR; r++) p[r] =
            line ? t->line[tap].base + r * t->line[tap].step : t->a[tap * MR + r];
        int64_t k = 0;
        for (; k + STEP <= t->cin; k += STEP, w += 2 * nv * BYTES) whole_step(acc, p, k, w, nv);
        if (k == t->cin) continue;
        last_step(acc, p, k, t->cin - k, w, nv);
        w += 2 * nv * BYTES;
    }
    store(t, acc, nv);
}

static void run(const cr_conv_s8_tile *t)
{
    if (t->vectors == 1)
        tile(t, 1, false);
    else
        tile(t, NV, false);
}

static void run_line(const cr_conv_s8_tile *t)
{
    if (t->vectors == 1)
        tile(t, 1, true);
    else
        tile(t, NV, true);
}

extern const cr_conv_s8_kernel cr_conv_s8_i8mm;
const cr_conv_s8_kernel cr_conv_s8_i8mm = {.name = "conv_s8 i8mm 8x8",
                                           .run = run,
                                           .run_line = run_line,
                                           .mr = MR,
                                           .nr = NV * LANES,
                                           .lanes = LANES,
                                           .layout = CR_S8_EIGHTS};
