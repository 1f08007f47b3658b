/* The bfloat16 tile of AMX, over the macros of amx_model.h: 32 pixels x 32 channels, four tiles of
 * sums, two of inputs, two of weights; idea and register use are conv_s8_amx_body.h's. A depth is
 * 32 channels, a tile of inputs times a tile of weights.
 *
 * Channels of a pixel, tap after tap and each tap filled up to a pair, are one long row that is cut
 * into depths. The rows of a tile are packed once for all blocks of output channels, [depth][32]
 * [64 bytes]; unlike with integers, what fills up must be zero, for zero weights do not silence a
 * NaN. Where every tap of a line is whole depths, tiles are loaded from the picture itself.
 *
 * Rejected: sharing the int8 body by macros: its tails may hold anything and its sums are added in
 * any order, and both would have to be bought with more parameters than there are lines. */
#include <stdbool.h>

#include "kernels/conv_bf16_tile.h"
#include "kernels/unroll.h"

enum { MR = 32, NV = 2, LANES = 16, HALF = 16, DEPTH = 64, TILE = HALF * DEPTH }; /* in bytes */

/* Bytes of a tap's channels in a packed row. */
static int64_t tap_bytes(const cr_conv_bf16_tile *t)
{
    return (t->cin + 1) / 2 * 4;
}

static int64_t count_depths(const cr_conv_bf16_tile *t)
{
    return (t->taps * tap_bytes(t) + DEPTH - 1) / DEPTH;
}

/* One tap's channels of all pixels at byte `at` of their rows. */
CR_INLINE void pack_tap(const cr_conv_bf16_tile *t, int64_t tap, int64_t at, const bool line)
{
    const int64_t bytes = t->cin * 2;
    for (int64_t k = 0; k < bytes;) {
        const int64_t room = DEPTH - at % DEPTH, left = bytes - k, n = left < room ? left : room;
        unsigned char *to = t->packed + at / DEPTH * (2 * TILE) + at % DEPTH;
        for (int r = 0; r < MR; r++) {
            const unsigned char *from = line ? t->line[tap].base + r * t->line[tap].step
                                             : (const unsigned char *)t->a[tap * MR + r];
            TILE_COPY(to + r * DEPTH, from + k, n);
        }
        k += n;
        at += n;
    }
}

CR_INLINE void pack(const cr_conv_bf16_tile *t, const bool line)
{
    const int64_t depths = count_depths(t), clean = t->cin & 1 ? 0 : depths - 1;
    memset(t->packed + clean * 2 * TILE, 0, (size_t)((depths - clean) * 2 * TILE));
    for (int64_t tap = 0; tap < t->taps; tap++) pack_tap(t, tap, tap * tap_bytes(t), line);
}

/* A step of 0 loads the bias into every row. */
static void start(const cr_conv_bf16_tile *t)
{
    TILE_FENCE();
    TILE_LOAD(0, t->bias, 0);
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
    TILE_DOT_BF16(0, 4, 6);
    TILE_LOAD(5, a + HALF * step, step);
    TILE_DOT_BF16(1, 5, 6);
    TILE_LOAD(7, w + 64, NV * 64);
    TILE_DOT_BF16(2, 4, 7);
    TILE_DOT_BF16(3, 5, 7);
}

/* One vector of channels: even depths go to sums 0 and 1, odd ones to 2 and 3. */
CR_INLINE void narrow_depth(const unsigned char *a, int64_t step, const unsigned char *w, bool odd)
{
    TILE_LOAD(4, a, step);
    TILE_LOAD(5, a + HALF * step, step);
    TILE_LOAD(6, w, 64);
    if (odd) {
        TILE_DOT_BF16(2, 4, 6);
        TILE_DOT_BF16(3, 5, 6);
    } else {
        TILE_DOT_BF16(0, 4, 6);
        TILE_DOT_BF16(1, 5, 6);
    }
}

/* `depths` from depth `first` on; those of a are `next` bytes apart. */
static void multiply(const cr_conv_bf16_tile *t, int64_t first, int64_t depths,
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

static void store_wide(const cr_conv_bf16_tile *t)
{
    const int64_t row = NV * 64;
    TILE_STORE(0, t->c, row);
    TILE_STORE(1, t->c + HALF * NV * LANES, row);
    TILE_STORE(2, t->c + LANES, row);
    TILE_STORE(3, t->c + (HALF * NV + 1) * LANES, row);
}

/* The odd depths' sums rest behind the even ones' until they are added. */
static void store_narrow(const cr_conv_bf16_tile *t)
{
    float odd[MR * LANES];
    TILE_STORE(0, t->c, 64);
    TILE_STORE(1, t->c + HALF * LANES, 64);
    TILE_STORE(2, odd, 64);
    TILE_STORE(3, odd + HALF * LANES, 64);
    TILE_FENCE();
    for (int i = 0; i < MR * LANES; i++) t->c[i] += odd[i];
}

static void store(const cr_conv_bf16_tile *t)
{
    if (t->vectors == 1)
        store_narrow(t);
    else
        store_wide(t);
}

static void multiply_packed(const cr_conv_bf16_tile *t)
{
    start(t);
    multiply(t, 0, count_depths(t), t->packed, DEPTH, 2 * TILE);
    store(t);
}

static void run(const cr_conv_bf16_tile *t)
{
    if (t->first) pack(t, false);
    multiply_packed(t);
}

static void run_line(const cr_conv_bf16_tile *t)
{
    const int64_t bytes = t->cin * 2, each = bytes / DEPTH;
    if (bytes % DEPTH) {
        if (t->first) pack(t, true);
        multiply_packed(t);
        return;
    }
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
        .lanes = LANES, .layout = CR_BF16_TILES, .enter = enter, .leave = leave                    \
    }
