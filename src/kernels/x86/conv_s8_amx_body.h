/* The int8 tile of AMX, over the macros of amx_model.h: 32 pixels x 32 channels, four tiles of
 * sums, two of codes, two of weights. A depth is 64 codes: a tile of codes times a tile of weights.
 *
 * Codes of a pixel, tap after tap and each tap filled up to four, are one long row; 64 of them
 * cross taps, so a layer with 16 channels wastes nothing. The rows of a tile are packed once, for
 * all blocks of channels, into `packed`, [depth][32][64]; what fills up is whatever was there,
 * since its weights are 0. Where every tap of a line is a multiple of 64 codes, tiles are loaded
 * from the picture itself.
 *
 * With 16 channels two tiles of sums take the even depths and two the odd ones: a sum is ready for
 * the next product only after 52 cycles, and a product starts every 16.
 *
 * Rejected: 16 x 64, which packs half as much, but reads as many weights per product as L2
 * delivers; a configuration with shorter tiles for the last depth (reconfiguring clears the sums).
 */
#include <stdbool.h>

#include "kernels/conv_walk.h"
#include "kernels/unroll.h"

enum { MR = 32, NV = 2, LANES = 16, HALF = 16, DEPTH = 64, TILE = HALF * DEPTH };

/* One tap's `cin` codes of all pixels at byte `at` of their rows. */
CR_INLINE void pack_tap(const cr_conv_s8_tile *t, int64_t tap, int64_t at, const bool line)
{
    for (int64_t k = 0; k < t->cin;) {
        const int64_t room = DEPTH - at % DEPTH, left = t->cin - k, n = left < room ? left : room;
        unsigned char *to = t->packed + at / DEPTH * (2 * TILE) + at % DEPTH;
        for (int r = 0; r < MR; r++) {
            const uint8_t *from =
                line ? t->line[tap].base + r * t->line[tap].step : t->a[tap * MR + r];
            TILE_COPY(to + r * DEPTH, from + k, n);
        }
        k += n;
        at += n;
    }
}

CR_INLINE void pack(const cr_conv_s8_tile *t, const bool line)
{
    const int64_t each = (t->cin + 3) & ~(int64_t)3;
    for (int64_t tap = 0; tap < t->taps; tap++) pack_tap(t, tap, tap * each, line);
}

static void start(const cr_conv_s8_tile *t)
{
    TILE_FENCE();
    TILE_LOAD(0, t->bias, 0); /* a step of 0: the same in all rows */
    TILE_LOAD(1, t->bias, 0);
    if (t->vectors == 1) {
        TILE_ZERO(2);
        TILE_ZERO(3);
    } else {
        TILE_LOAD(2, t->bias + LANES, 0);
        TILE_LOAD(3, t->bias + LANES, 0);
    }
}

/* Sums 0 and 1: the pixels' halves, first vector of channels; 2 and 3: the second one. */
CR_INLINE void wide_depth(const unsigned char *a, int64_t step, const unsigned char *w)
{
    TILE_LOAD(4, a, step);
    TILE_LOAD(6, w, NV * 64);
    TILE_DOT(0, 4, 6);
    TILE_LOAD(5, a + HALF * step, step);
    TILE_DOT(1, 5, 6);
    TILE_LOAD(7, w + 64, NV * 64);
    TILE_DOT(2, 4, 7);
    TILE_DOT(3, 5, 7);
}

CR_INLINE void narrow_depth(const unsigned char *a, int64_t step, const unsigned char *w, bool odd)
{
    TILE_LOAD(4, a, step);
    TILE_LOAD(5, a + HALF * step, step);
    TILE_LOAD(6, w, 64);
    if (odd) {
        TILE_DOT(2, 4, 6);
        TILE_DOT(3, 5, 6);
    } else {
        TILE_DOT(0, 4, 6);
        TILE_DOT(1, 5, 6);
    }
}

/* `depths` from depth `first` on; those of a are `next` bytes apart. */
static void multiply(const cr_conv_s8_tile *t, int64_t first, int64_t depths,
                     const unsigned char *a, int64_t step, int64_t next)
{
    const int64_t size = (int64_t)t->vectors * TILE;
    const unsigned char *w = (const unsigned char *)t->w + first * size;
    for (int64_t d = first; d < first + depths; d++, a += next, w += size)
        if (t->vectors == 1)
            narrow_depth(a, step, w, d & 1);
        else
            wide_depth(a, step, w);
}

static void store_wide(const cr_conv_s8_tile *t)
{
    const int64_t row = NV * 64;
    TILE_STORE(0, t->c, row);
    TILE_STORE(1, t->c + HALF * NV * LANES, row);
    TILE_STORE(2, t->c + LANES, row);
    TILE_STORE(3, t->c + (HALF * NV + 1) * LANES, row);
}

/* The odd depths' sums rest in the half of c that one vector of channels leaves free. */
static void store_narrow(const cr_conv_s8_tile *t)
{
    int32_t *odd = t->c + MR * LANES;
    TILE_STORE(0, t->c, 64);
    TILE_STORE(1, t->c + HALF * LANES, 64);
    TILE_STORE(2, odd, 64);
    TILE_STORE(3, odd + HALF * LANES, 64);
    for (int i = 0; i < MR * LANES; i++) t->c[i] = (int32_t)((uint32_t)t->c[i] + (uint32_t)odd[i]);
}

static void store(const cr_conv_s8_tile *t)
{
    if (t->vectors == 1)
        store_narrow(t);
    else
        store_wide(t);
}

static void multiply_packed(const cr_conv_s8_tile *t)
{
    const int64_t codes = t->taps * ((t->cin + 3) & ~(int64_t)3);
    start(t);
    multiply(t, 0, (codes + DEPTH - 1) / DEPTH, t->packed, DEPTH, 2 * TILE);
    store(t);
}

static void run(const cr_conv_s8_tile *t)
{
    if (t->first) pack(t, false);
    multiply_packed(t);
}

static void run_line(const cr_conv_s8_tile *t)
{
    if (t->cin % DEPTH) {
        if (t->first) pack(t, true);
        multiply_packed(t);
        return;
    }
    const int64_t each = t->cin / DEPTH;
    start(t);
    for (int64_t tap = 0; tap < t->taps; tap++)
        multiply(t, tap * each, each, t->line[tap].base, t->line[tap].step, DEPTH);
    store(t);
}

static void enter(void)
{
    TILE_BEGIN();
}

static void leave(void)
{
    TILE_END();
}

#define AMX_RECORD(text)                                                                           \
    {                                                                                              \
        .name = text, .run = run, .run_line = run_line, .mr = MR, .nr = NV * LANES,                \
        .lanes = LANES, .layout = CR_S8_TILES, .enter = enter, .leave = leave                      \
    }
