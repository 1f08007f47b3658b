/* 8 x 8: 16 sums, 8 rows of sixteen codes, 2 weights of 32 registers. sdot by lane multiplies four
 * codes of a pixel into the four weights of each of four channels. It is signed on both sides,
 * hence codes are read as code - 128; what that takes away is in the bias (CR_S8_SIGNED). Rejected:
 * udot with weights + 128, which needs the sum of every pixel's codes as well. */
#include <arm_neon.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/conv_walk.h"
#include "kernels/unroll.h"

enum { MR = 8, NV = 2, LANES = 4, BYTES = 16 /* weights of four steps in four channels */ };

/* n in 1..4 codes in every lane; the weights of absent ones are 0. */
CR_INLINE int8x16_t four_codes(const uint8_t *p, int64_t n)
{
    uint32_t x = p[0];
    if (n >= 4)
        memcpy(&x, p, sizeof x);
    else
        for (int64_t i = 1; i < n; i++) x |= (uint32_t)p[i] << 8 * i;
    return vreinterpretq_s8_u32(vdupq_n_u32(x ^ 0x80808080u));
}

CR_INLINE int8x16_t sixteen_codes(const uint8_t *p)
{
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(0x80)));
}

/* One of the four steps in sixteen codes; the lane of sdot is part of the instruction. */
#define STEP_OF(i)                                                                                 \
    do {                                                                                           \
        CR_UNROLL for (int v = 0; v < nv; v++)                                                     \
        {                                                                                          \
            const int8x16_t b = vld1q_s8(w + ((i)*nv + v) * BYTES);                                \
            CR_UNROLL for (int r = 0; r < MR; r++) acc[r][v] =                                     \
                vdotq_laneq_s32(acc[r][v], b, x[r], i);                                            \
        }                                                                                          \
    } while (0)

CR_INLINE void steps16(int32x4_t acc[MR][NV], const uint8_t *const p[MR], int64_t k,
                       const int8_t *w, const int nv)
{
    int8x16_t x[MR];
    CR_UNROLL for (int r = 0; r < MR; r++) x[r] = sixteen_codes(p[r] + k);
    STEP_OF(0);
    STEP_OF(1);
    STEP_OF(2);
    STEP_OF(3);
}

CR_INLINE void step4(int32x4_t acc[MR][NV], const uint8_t *const p[MR], int64_t k, int64_t n,
                     const int8_t *w, const int nv)
{
    int8x16_t b[NV];
    CR_UNROLL for (int v = 0; v < nv; v++) b[v] = vld1q_s8(w + v * BYTES);
    CR_UNROLL for (int r = 0; r < MR; r++)
    {
        const int8x16_t x = four_codes(p[r] + k, n);
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vdotq_s32(acc[r][v], b[v], x);
    }
}

CR_INLINE void tile(const cr_conv_s8_tile *t, const int nv, const bool line)
{
    int32x4_t acc[MR][NV];
    CR_UNROLL for (int r = 0; r < MR; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        vld1q_s32(t->bias + v * LANES);
    const int8_t *w = t->w;
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *p[MR];
        CR_UNROLL for (int r = 0; r < MR; r++) p[r] =
            line ? t->line[tap].base + r * t->line[tap].step : t->a[tap * MR + r];
        int64_t k = 0;
        for (; k + 16 <= t->cin; k += 16, w += 4 * nv * BYTES) steps16(acc, p, k, w, nv);
        for (; k < t->cin; k += 4, w += nv * BYTES) step4(acc, p, k, t->cin - k, w, nv);
    }
    CR_UNROLL for (int r = 0; r < MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        vst1q_s32(t->c + (r * nv + v) * LANES, acc[r][v]);
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

extern const cr_conv_s8_kernel cr_conv_s8_dotprod;
const cr_conv_s8_kernel cr_conv_s8_dotprod = {.name = "conv_s8 dotprod 8x8",
                                              .run = run,
                                              .run_line = run_line,
                                              .mr = MR,
                                              .nr = NV * LANES,
                                              .lanes = LANES,
                                              .layout = CR_S8_SIGNED};
