/* The portable pixel loops, and the choice of a record. */
#include "vision/pixels.h"

#include "base/cpu.h"

static void stretch_c(const uint8_t *row, const cr_taps *taps, int16_t *out)
{
    cr_stretch_from(row, taps, 0, out);
}

static void blend_c(const int16_t *restrict h0, const int16_t *restrict h1, int w0, int w1,
                    size_t n, uint8_t *restrict out)
{
    cr_blend_from(h0, h1, w0, w1, 0, n, out);
}

static void halve_c(const uint8_t *row0, const uint8_t *row1, size_t n, uint8_t *out)
{
    cr_halve_from(row0, row1, 0, n, out);
}

static void swap_c(uint8_t *row, size_t n)
{
    cr_swap_from(row, 0, n);
}

static void planes_c(const uint8_t *row, size_t n, const float mean[3], const float div[3],
                     float *const out[3])
{
    cr_planes_from(row, 0, n, mean, div, out);
}

static const cr_pixels portable = {stretch_c, blend_c, halve_c, swap_c, planes_c};

#if defined(__x86_64__)
extern const cr_pixels cr_pixels_avx2, cr_pixels_avx512;
#elif defined(__aarch64__)
extern const cr_pixels cr_pixels_neon;
#endif

const cr_pixels *cr_pixels_choose(unsigned flags)
{
#if defined(__x86_64__)
    if (cr_cpu_has(flags, CR_CPU_AVX512)) return &cr_pixels_avx512;
    if (cr_cpu_has(flags, CR_CPU_AVX2)) return &cr_pixels_avx2;
#elif defined(__aarch64__)
    if (cr_cpu_has(flags, CR_CPU_NEON)) return &cr_pixels_neon;
#endif
    return &portable;
}
