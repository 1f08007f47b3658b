/* bfloat16, the upper half of a float32: 8 bits of exponent, 7 of mantissa. Rounding is to nearest,
 * ties to even; subnormal float32 become zero of their sign and NaN stays NaN, which is what the
 * CPUs' own conversion does: every level gives the same bits. */
#ifndef CR_KERNELS_BF16_H
#define CR_KERNELS_BF16_H

#include <stdint.h>
#include <string.h>

typedef uint16_t cr_bf16;

static inline float cr_bf16_widen(cr_bf16 h)
{
    const uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline cr_bf16 cr_bf16_round(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000) return (cr_bf16)(u >> 16 | 0x40);
    if (!(u & 0x7f800000)) return (cr_bf16)(u >> 16 & 0x8000);
    return (cr_bf16)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

#endif
