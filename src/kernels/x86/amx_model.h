/* The AMX instructions that the kernels use, as macros: the compiler's intrinsics, or with
 * CR_AMX_MODEL a plain C model of them (Intel SDM volume 1 chapter 18, volume 2 TDPBUSD,
 * TDPBF16PS), so that a machine without AMX can run the kernels too. All eight tiles are 16 rows of
 * 64 bytes.
 *
 *   TILE_BEGIN() TILE_END()   configure, release: a released thread holds no tile state, which would
 *                             cost every context switch 8 KB and surprise other users of AMX
 *   TILE_ZERO(t)
 *   TILE_LOAD(t, p, step)     rows `step` bytes apart
 *   TILE_STORE(t, p, step)
 *   TILE_DOT(c, a, b)         c[m][n] += a[m][4k + i] * b[k][4n + i] over k < 16, i < 4: int32
 *                             wrapping sums, a uint8, b int8
 *   TILE_DOT_BF16(c, a, b)    c[m][n] += a[m][2k + i] * b[k][2n + i] over k < 16, i < 2: float32
 *                             sums of bfloat16
 *   TILE_COPY(to, from, n)    n in 1..64 bytes */
#ifndef CR_KERNELS_AMX_MODEL_H
#define CR_KERNELS_AMX_MODEL_H

#include <stdint.h>
#include <string.h>

#if defined(CR_AMX_MODEL)

#include <stdbool.h>

#include "crayon/arith.h"

/* An instruction without a configuration faults in hardware; here it does nothing. */
typedef struct cr_amx_model {
    bool configured;
    unsigned char tile[8][16][64];
} cr_amx_model;

static _Thread_local cr_amx_model cr_amx;

static inline void cr_amx_set(bool configured)
{
    memset(&cr_amx, 0, sizeof cr_amx);
    cr_amx.configured = configured;
}

static inline void cr_amx_load(int t, const void *p, int64_t step)
{
    for (int r = 0; r < 16 && cr_amx.configured; r++)
        memcpy(cr_amx.tile[t][r], (const unsigned char *)p + r * step, 64);
}

static inline void cr_amx_store(int t, void *p, int64_t step)
{
    for (int r = 0; r < 16 && cr_amx.configured; r++)
        memcpy((unsigned char *)p + r * step, cr_amx.tile[t][r], 64);
}

static inline int32_t cr_amx_four(int a, int b, int m, int n, int k)
{
    int32_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += cr_amx.tile[a][m][4 * k + i] * (int8_t)cr_amx.tile[b][k][4 * n + i];
    return sum;
}

static inline void cr_amx_dot(int c, int a, int b)
{
    for (int m = 0; m < 16 && cr_amx.configured; m++)
        for (int n = 0; n < 16; n++) {
            int32_t sum;
            memcpy(&sum, &cr_amx.tile[c][m][4 * n], sizeof sum);
            for (int k = 0; k < 16; k++) sum = cr_wrap_add(sum, cr_amx_four(a, b, m, n, k));
            memcpy(&cr_amx.tile[c][m][4 * n], &sum, sizeof sum);
        }
}

/* A bfloat16 in the upper half of a float; subnormals count as zero, before and behind. */
static inline float cr_amx_flush(float x)
{
    return x < 0x1p-126f && x > -0x1p-126f ? 0.0f * x : x;
}

static inline float cr_amx_widen(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    const uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return cr_amx_flush(f);
}

/* Even and odd channels are summed apart, as TDPBF16PS has it. */
static inline float cr_amx_pairs(int a, int b, int m, int n)
{
    float sum[2] = {0, 0};
    for (int k = 0; k < 16; k++)
        for (int i = 0; i < 2; i++)
            sum[i] = cr_amx_flush(sum[i] + cr_amx_widen(&cr_amx.tile[a][m][4 * k + 2 * i]) *
                                               cr_amx_widen(&cr_amx.tile[b][k][4 * n + 2 * i]));
    return cr_amx_flush(sum[0] + sum[1]);
}

static inline void cr_amx_dot_bf16(int c, int a, int b)
{
    for (int m = 0; m < 16 && cr_amx.configured; m++)
        for (int n = 0; n < 16; n++) {
            float sum;
            memcpy(&sum, &cr_amx.tile[c][m][4 * n], sizeof sum);
            sum = cr_amx_flush(sum + cr_amx_pairs(a, b, m, n));
            memcpy(&cr_amx.tile[c][m][4 * n], &sum, sizeof sum);
        }
}

#define TILE_BEGIN()           cr_amx_set(true)
#define TILE_END()             cr_amx_set(false)
#define TILE_ZERO(t)           memset(cr_amx.tile[t], 0, sizeof cr_amx.tile[t])
#define TILE_LOAD(t, p, step)  cr_amx_load(t, p, step)
#define TILE_STORE(t, p, step) cr_amx_store(t, p, step)
#define TILE_DOT(c, a, b)      cr_amx_dot(c, a, b)
#define TILE_DOT_BF16(c, a, b) cr_amx_dot_bf16(c, a, b)
#define TILE_COPY(to, from, n) memcpy(to, from, (size_t)(n))
#define TILE_FENCE()           (void)0

#else

#include <immintrin.h>

/* The configuration of LDTILECFG: palette 1, bytes of a row, rows. */
typedef struct cr_amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} cr_amx_config;

static const cr_amx_config cr_amx_tiles = {.palette = 1,
                                           .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                           .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

static inline void cr_amx_copy(unsigned char *to, const unsigned char *from, int64_t n)
{
    const __mmask64 first = ~0ull >> (64 - n);
    _mm512_mask_storeu_epi8(to, first, _mm512_maskz_loadu_epi8(first, from));
}

#define TILE_BEGIN()           _tile_loadconfig(&cr_amx_tiles)
#define TILE_END()             _tile_release()
#define TILE_ZERO(t)           _tile_zero(t)
#define TILE_LOAD(t, p, step)  _tile_loadd(t, p, step)
#define TILE_STORE(t, p, step) _tile_stored(t, p, step)
#define TILE_DOT(c, a, b)      _tile_dpbusd(c, a, b)
#define TILE_DOT_BF16(c, a, b) _tile_dpbf16ps(c, a, b)
#define TILE_COPY(to, from, n) cr_amx_copy(to, from, n)
/* gcc does not know that a tile load reads memory: stores must not sink below it. */
#define TILE_FENCE()           __asm__ volatile("" ::: "memory")

#endif
#endif
