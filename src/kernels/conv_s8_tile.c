/* The portable int8 tile, and which level's record a CPU gets. */
#include "crayon/arith.h"
#include "kernels/conv_walk.h"

enum { C_MR = 4, C_NR = 8, C_STEP = 4 };

static void step_c(int32_t acc[C_MR][C_NR], const uint8_t *const *a, int64_t k, int n,
                   const int8_t *w)
{
    for (int r = 0; r < C_MR; r++)
        for (int j = 0; j < C_NR; j++)
            for (int i = 0; i < n; i++)
                acc[r][j] = cr_wrap_add(acc[r][j], (int32_t)a[r][k + i] * w[j * C_STEP + i]);
}

static void tile_c(const cr_conv_s8_tile *t)
{
    int32_t acc[C_MR][C_NR] = {{0}};
    const int8_t *w = t->w;
    for (int64_t tap = 0; tap < t->taps; tap++)
        for (int64_t k = 0; k < t->cin; k += C_STEP, w += C_NR * C_STEP)
            step_c(acc, t->a + tap * C_MR, k, t->cin - k < C_STEP ? (int)(t->cin - k) : C_STEP, w);
    for (int r = 0; r < C_MR; r++)
        for (int j = 0; j < C_NR; j++) t->c[r * C_NR + j] = cr_wrap_add(acc[r][j], t->bias[j]);
}

static const cr_conv_s8_kernel conv_s8_c = {.name = "conv_s8 c 4x8",
                                            .run = tile_c,
                                            .mr = C_MR,
                                            .nr = C_NR,
                                            .lanes = C_NR,
                                            .layout = CR_S8_BYTES,
                                            .winograd_channels = 16,
                                            .winograd_pixels = 100};

#define CR_CONV_S8_ONLY
#define KERNEL_RECORD cr_conv_s8_kernel
#define KERNEL_C      conv_s8_c
#define KERNEL_LEVEL  cr_conv_s8_level
#define KERNEL_SELECT cr_conv_s8_select
#include "kernels/select.h"
