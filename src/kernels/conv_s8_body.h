/* The int8 tile, written once: CONV_MR pixels times up to CONV_NV vectors of LANES output channels.
 * A step takes four codes of every pixel, gives them to all lanes and multiplies them into the four
 * weights that each lane has for them. A level says how:
 *
 *   VS, VA, VW, LANES   registers of sums, of four broadcast codes, of one vector's step of weights
 *   S_CODES(u32)        VA of four codes (lowest byte first)
 *   S_WEIGHTS(p)        VW at p, S_BYTES further for the next vector
 *   S_DOT(sums, a, w)   exact: int32 sums of products of uint8 and int8 that cannot saturate
 *   S_START(bias)       VS to begin with: bias, or zero where a channel owns several lanes
 *   CONV_WINOGRAD       the record's fields that say from when on Winograd is faster
 *   S_STORE(c, s, bias) LANES int32: the sums, plus bias unless they began with it
 *
 * cin is cut into steps per tap; what the last step lacks is read as zero codes, byte by byte: rows
 * are never read beyond their end. */
#include <string.h>

#include "kernels/conv_walk.h"
#include "kernels/unroll.h"

/* n in 1..3 codes, then zeros. */
CR_INLINE uint32_t CONV(tail)(const uint8_t *p, int n)
{
    uint32_t x = p[0];
    if (n > 1) x |= (uint32_t)p[1] << 8;
    if (n > 2) x |= (uint32_t)p[2] << 16;
    return x;
}

CR_INLINE uint32_t CONV(four)(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap32(x);
#endif
    return x;
}

/* rest 0: a whole step at k. */
CR_INLINE void CONV(step)(VS acc[CONV_MR][CONV_NV], const uint8_t *const *p, int64_t k, int rest,
                          const unsigned char *w, const int nv)
{
    VW b[CONV_NV];
    CR_UNROLL for (int v = 0; v < nv; v++) b[v] = S_WEIGHTS(w + v * S_BYTES);
    CR_UNROLL for (int r = 0; r < CONV_MR; r++)
    {
        const VA x = S_CODES(rest ? CONV(tail)(p[r] + k, rest) : CONV(four)(p[r] + k));
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = S_DOT(acc[r][v], x, b[v]);
    }
}

CR_INLINE void CONV(tile)(const cr_conv_s8_tile *t, const int nv)
{
    VS acc[CONV_MR][CONV_NV];
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        S_START(t->bias + v * LANES);
    const unsigned char *w = t->w;
    const uint8_t *const *a = t->a;
    const int64_t whole = t->cin & ~(int64_t)3;
    const int rest = (int)(t->cin - whole);
    for (int64_t tap = 0; tap < t->taps; tap++, a += CONV_MR) {
        const uint8_t *p[CONV_MR];
        CR_UNROLL for (int r = 0; r < CONV_MR; r++) p[r] = a[r];
        for (int64_t k = 0; k < whole; k += 4, w += nv * S_BYTES) CONV(step)(acc, p, k, 0, w, nv);
        if (!rest) continue;
        CONV(step)(acc, p, whole, rest, w, nv);
        w += nv * S_BYTES;
    }
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        S_STORE(t->c + (r * nv + v) * LANES, acc[r][v], t->bias + v * LANES);
}

/* Pixel r of a line, from every third pixel's pointer: x86 addresses reach the two behind it. */
#define CONV_THIRDS ((CONV_MR + 2) / 3)

CR_INLINE void CONV(line_step)(VS acc[CONV_MR][CONV_NV], const uint8_t *const q[CONV_THIRDS],
                               int64_t step, int64_t k, int rest, const unsigned char *w,
                               const int nv)
{
    VW b[CONV_NV];
    CR_UNROLL for (int v = 0; v < nv; v++) b[v] = S_WEIGHTS(w + v * S_BYTES);
    CR_UNROLL for (int r = 0; r < CONV_MR; r++)
    {
        const uint8_t *p = q[r / 3] + r % 3 * step + k;
        const VA x = S_CODES(rest ? CONV(tail)(p, rest) : CONV(four)(p));
        CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = S_DOT(acc[r][v], x, b[v]);
    }
}

CR_INLINE void CONV(line)(const cr_conv_s8_tile *t, const int nv)
{
    VS acc[CONV_MR][CONV_NV];
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++) acc[r][v] =
        S_START(t->bias + v * LANES);
    const unsigned char *w = t->w;
    const int64_t whole = t->cin & ~(int64_t)3;
    const int rest = (int)(t->cin - whole);
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const int64_t step = t->line[tap].step;
        const uint8_t *q[CONV_THIRDS];
        CR_UNROLL for (int j = 0; j < CONV_THIRDS; j++) q[j] = t->line[tap].base + 3 * j * step;
        for (int64_t k = 0; k < whole; k += 4, w += nv * S_BYTES)
            CONV(line_step)(acc, q, step, k, 0, w, nv);
        if (!rest) continue;
        CONV(line_step)(acc, q, step, whole, rest, w, nv);
        w += nv * S_BYTES;
    }
    CR_UNROLL for (int r = 0; r < CONV_MR; r++) CR_UNROLL for (int v = 0; v < nv; v++)
        S_STORE(t->c + (r * nv + v) * LANES, acc[r][v], t->bias + v * LANES);
}

static void CONV(run_line)(const cr_conv_s8_tile *t)
{
    if (t->vectors == 1)
        CONV(line)(t, 1);
    else
        CONV(line)(t, CONV_NV);
}

static void CONV(run)(const cr_conv_s8_tile *t)
{
    if (t->vectors == 1)
        CONV(tile)(t, 1);
    else
        CONV(tile)(t, CONV_NV);
}

#define CONV_RECORD(text, order, small)                                                            \
    {                                                                                              \
        .name = text, .run = CONV(run), .mr = CONV_MR, .nr = CONV_NV * LANES, .lanes = LANES,      \
        .layout = order, .run_line = CONV(run_line), .narrow = small, CONV_WINOGRAD                \
    }
