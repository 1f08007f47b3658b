/* Micro-kernels of the bfloat16 convolution: records per CPU level, listed in kernels.inc. The walk
 * around them is conv_walk.h's: a tile of `mr` pixels is a table of pointers to channels. */
#ifndef CR_KERNELS_CONV_BF16_TILE_H
#define CR_KERNELS_CONV_BF16_TILE_H

#include "kernels/conv_bf16.h"
#include "kernels/conv_walk.h"

/* Channels are taken in pairs, the four bytes that a lane multiplies at once; of an odd number the
 * last pair of a tap reads one channel only. */
typedef struct cr_conv_bf16_tile {
    const cr_bf16 *const *a;  /* run: [taps][mr] */
    const cr_conv_line *line; /* run_line: [taps] */
    int64_t taps, cin;        /* run_line: a tap may be several that touch, cin their channels */
    const void *w;            /* per layout, below */
    const float *bias;        /* [vectors * lanes] */
    float *c;                 /* [mr][vectors * lanes] result */
    int vectors;              /* 1..nr/lanes */
    unsigned char *packed;    /* CR_BF16_TILES: this tile's own rows, [pairs/16 upwards][mr][64] */
    bool first;               /* first of the tile's blocks: packed is another tile's */
} cr_conv_bf16_tile;

typedef enum cr_conv_bf16_layout {
    CR_BF16_PAIRS,  /* bf16  [taps][cin/2 upwards][channel][2]: dot products of pairs */
    CR_BF16_FLOATS, /* float [taps][cin/2 upwards][2][channel]: widened once, multiplied as floats
                     */
    CR_BF16_TILES /* as CR_BF16_PAIRS, zero pairs to a multiple of 16: a matrix for AMX every 16 */
} cr_conv_bf16_layout;

typedef struct cr_conv_bf16_kernel {
    const char *name;
    void (*run)(const cr_conv_bf16_tile *t);
    int mr, nr, lanes;
    cr_conv_bf16_layout layout;
    void (*run_line)(const cr_conv_bf16_tile *t); /* NULL: run is as good */
    const struct cr_conv_bf16_kernel *narrow;     /* for cout/groups up to its nr; NULL: none */
    void (*enter)(void), (*leave)(void);          /* around a work item, or NULL */
} cr_conv_bf16_kernel;

/* Depthwise: bf16 in, float32 weights and sums (nothing is gained by rounding the weights). */
typedef struct cr_dwconv_bf16_tile {
    const cr_bf16 *const *a; /* [taps][mr] */
    int64_t taps, channels;
    const float *w;    /* [taps][channels] */
    const float *bias; /* [channels] */
    float *c;          /* [mr][channels] result */
    int rows;          /* 1..mr */
} cr_dwconv_bf16_tile;

typedef struct cr_dwconv_bf16_kernel {
    const char *name;
    void (*run)(const cr_dwconv_bf16_tile *t);
    int mr;
} cr_dwconv_bf16_kernel;

/* cr_conv_bf16_create with a kernel of the caller's (tests: one that no CPU here selects). */
cr_status cr_conv_bf16_create_with(const cr_conv_bf16_kernel *k, const cr_conv_geometry *g,
                                   const cr_conv_bf16_params *p, unsigned cpu, cr_conv_bf16 **out,
                                   cr_error *err);

/* ---- packing ---- */

enum { CR_BF16_TILE_PAIRS = 16 };

/* Pairs of `taps` taps in packed weights, and bytes of one per output channel; bytes of `packed`.
 */
int64_t cr_conv_bf16_pairs(const cr_conv_bf16_kernel *k, int64_t taps, int64_t cin);
size_t cr_conv_bf16_pair_bytes(const cr_conv_bf16_kernel *k);
size_t cr_conv_bf16_packed_bytes(const cr_conv_bf16_kernel *k, int64_t pairs);
/* Weight of input channel `channel` behind `pairs` pairs, of output channel j in a block of
 * `width`; rounded. */
static inline void cr_conv_bf16_put(const cr_conv_bf16_kernel *k, void *block, int width, int j,
                                    int64_t pairs, int64_t channel, float w)
{
    const int64_t pair = pairs + channel / 2, i = channel % 2;
    const cr_bf16 rounded = cr_bf16_round(w);
    if (k->layout == CR_BF16_FLOATS) {
        ((float *)block)[(pair * 2 + i) * width + j] = cr_bf16_widen(rounded);
        return;
    }
    ((cr_bf16 *)block)[(pair * width + j) * 2 + i] = rounded;
}

/* NULL: the family has no kernel of exactly that cr_cpu_level. */
const cr_conv_bf16_kernel *cr_conv_bf16_level(int level);
const cr_dwconv_bf16_kernel *cr_dwconv_bf16_level(int level);
/* The best that the flags allow; never NULL. */
const cr_conv_bf16_kernel *cr_conv_bf16_select(unsigned cpu);
const cr_dwconv_bf16_kernel *cr_dwconv_bf16_select(unsigned cpu);

#endif
