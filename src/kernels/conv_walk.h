/* What all convolutions share: kernel records, the split into work items, the pointer tables.
 *
 * Indirect GEMM (Dukhan 2019, "The Indirect Convolution Algorithm"): an output pixel is a row of
 * the product A*W, where A's row strings together, over the taps of the window, the channels of one
 * input pixel each. A is never built (no im2col). A tile of `mr` output pixels is a table
 *
 *     a[tap][mr]      pointers to `cin` neighbouring channels; a tap on padding points to a row of
 *                     zeros (int8: of the zero point)
 *
 * and the micro-kernel walks taps and channels with one accumulator register row per pixel. Most
 * tiles lie within one row of the picture and away from its left and right edges: their windows are
 * equally far apart, so a tap is one pointer and a step (a "line"), which a kernel that has the
 * registers for it reads without tables; taps of a kernel row that touch in memory become one. The
 * output pixels of all pictures form one line, cut into tiles; only the last one is ragged (its
 * spare rows repeat the last pixel and are not stored).
 *
 * Weights are packed by blocks of `nr` output channels, all steps of a block behind each other, so
 * that a block streams through the L1 cache. A work item is (group, span of blocks) x (range of
 * tiles); a span is as many blocks as stay in L2 together, and items are numbered so that threads
 * share it. A value is computed by one thread in one order: results do not depend on the number of
 * threads. Rejected: blocking along K as well (partial sums in memory; the weights of the largest
 * layers met, 3x3x512 by 32 channels, still stream from L2 fast enough for 12-row tiles). */
#ifndef CR_KERNELS_CONV_WALK_H
#define CR_KERNELS_CONV_WALK_H

#include "kernels/conv.h"

enum { CR_CONV_MAX_TAPS = 1024, CR_CONV_MAX_MR = 32, CR_CONV_MAX_NR = 64, CR_CONV_GROUP = 4 };

/* ---- micro-kernels: one record per CPU level, listed in kernels.inc ---- */

typedef struct cr_conv_f32_tile {
    const float *const *a;           /* [taps][mr], or NULL: */
    const struct cr_conv_line *line; /* [taps], where a tap may be several that touch */
    int64_t taps, cin;               /* cin: floats per tap */
    const float *w;                  /* [taps][cin][vectors * lanes] */
    const float *bias;               /* [vectors * lanes] */
    float *c;                        /* [mr][vectors * lanes] result */
    int vectors;
} cr_conv_f32_tile;

typedef struct cr_conv_f32_kernel {
    const char *name;
    void (*run)(const cr_conv_f32_tile *t);
    /* The first `cols` of every `width` floats of c to rows `ld` apart: a dozen short copies, which
     * cost more than the sums of a 16-channel tile when each is a call of memcpy. */
    void (*put)(float *y, int64_t ld, const float *c, int64_t width, int rows, int64_t cols);
    int mr, nr, lanes; /* pixels and channels of a tile; channels per vector */
} cr_conv_f32_kernel;

/* One tap of a tile whose pixels are equally far apart: pixel r reads at base + r * step. */
typedef struct cr_conv_line {
    const unsigned char *base;
    int64_t step; /* bytes; 0: the tap is on padding */
} cr_conv_line;

/* Channels are taken in steps of four codes (or as the layout says); the last step of a tap reads only what is left. */
typedef struct cr_conv_s8_tile {
    const uint8_t *const *a;  /* run: [taps][mr] */
    const cr_conv_line *line; /* run_line: [taps] */
    int64_t taps, cin;        /* run_line: a tap may be several that touch, cin their channels */
    const void *w;       /* per layout, below */
    const int32_t *bias; /* [vectors * lanes], folded */
    int32_t *c;          /* [mr][vectors * lanes] result */
    int vectors;
    uint8_t *packed; /* CR_S8_TILES, CR_S8_PAIRS: room for this tile's codes, as the kernel likes;
                        mr times as many bytes as a channel's weights, to whole cache lines */
    bool first;      /* first of the tile's blocks: packed is another tile's */
} cr_conv_s8_tile;

typedef enum cr_conv_s8_layout {
    CR_S8_BYTES,  /* int8  [taps][ceil(cin/4)][channel][4]: four-byte dot products */
    CR_S8_SIGNED, /* the same for kernels that read code - 128: the bias makes up for it */
    CR_S8_EIGHTS, /* int8  [taps][ceil(cin/8)][channel][8]: eight-byte dot products */
    CR_S8_TILES,  /* as CR_S8_BYTES, zero steps to a multiple of 16: a matrix for AMX every 16 */
    CR_S8_PAIRS,  /* int16 [taps][ceil(cin/2)][channel][2]: 16-bit multiply, add neighbours */
    CR_S8_COLUMNS /* int16 [taps][ceil(cin/4)][channel/lanes][4][lanes]: multiply by a lane */
} cr_conv_s8_layout;

typedef struct cr_conv_s8_kernel {
    const char *name;
    void (*run)(const cr_conv_s8_tile *t);
    int mr, nr, lanes;
    cr_conv_s8_layout layout;
    void (*run_line)(const cr_conv_s8_tile *t); /* NULL: run is as good */
    const struct cr_conv_s8_kernel *narrow;     /* for cout/groups up to its nr; NULL: none */
    /* From so many channels (in and out) and pixels on, winograd_s8.h is faster; 0: never. */
    int winograd_channels, winograd_pixels;
    void (*enter)(void), (*leave)(void);        /* around a work item; NULL: nothing to set up */
} cr_conv_s8_kernel;

/* NULL: the family has no kernel of exactly that level (a cr_cpu_level). */
const cr_conv_f32_kernel *cr_conv_f32_level(int level);
const cr_conv_s8_kernel *cr_conv_s8_level(int level);
/* The best that the flags allow; never NULL. */
const cr_conv_f32_kernel *cr_conv_f32_select(unsigned cpu);
const cr_conv_s8_kernel *cr_conv_s8_select(unsigned cpu);

/* cr_conv_s8_create with a kernel of the caller's (tests: one that no CPU here selects). */
cr_status cr_conv_s8_create_with(const cr_conv_s8_kernel *k, const cr_conv_geometry *g,
                                 const cr_conv_s8_params *p, unsigned cpu, cr_conv_s8 **out,
                                 cr_error *err);

/* What other ways to the same sums (depthwise, Winograd) call when some are ready: of `pixels` output
 * pixels from `pixel` on (over all pictures), `cols` channels from `channel` on, `ld` apart; of wide
 * codes those over their high bytes and those over their low ones (else NULL). They may be
 * overwritten. */
typedef void (*cr_conv_s8_finish)(const void *ctx, int64_t pixel, int64_t pixels, int64_t channel,
                                  int64_t cols, int32_t *acc, const int32_t *low, int64_t ld);

/* ---- the walk ---- */

/* Where a tile is: group, block of channels, first output pixel (over all pictures), and how many
 * of its rows are real. */
typedef struct cr_conv_place {
    int64_t group, block, pixel;
    int rows, worker;
    bool first;                    /* the first block at this pixel in the work item */
    const unsigned char *const *a; /* [taps][mr]; NULL: line */
    const cr_conv_line *line;      /* [taps], see cr_conv_walk.line_step */
    int64_t taps, run;             /* of a or line; elements per tap */
    void *tile;                    /* this worker's room for results, cr_conv_walk.tile_bytes */
} cr_conv_place;

typedef struct cr_conv_walk {
    const cr_conv_geometry *g;
    int64_t ld_in;
    size_t element;                 /* bytes per input element */
    const unsigned char *in, *zero; /* zero: cin/groups padding elements (depthwise: cin) */
    bool zero_by_group;             /* zero: cin elements, each group has its own */
    bool depthwise;                 /* the groups are one block of lanes */
    int line_step;                  /* > 0: lines are wanted, and taps whose elements are a multiple of
                                       this may be joined (zero: kw times as long); 0: tables only */
    int mr, nr;
    int64_t depth;                  /* set by cr_conv_walk_run: cin / groups */
    size_t block_bytes, tile_bytes; /* packed weights of a block; results of a tile */
    void (*compute)(const void *ctx, const cr_conv_place *place);
    /* Instead of compute, for a kernel to whom a tile is little work: up to CR_CONV_GROUP tiles of
     * neighbouring pixels and one block at once. They share the first one's room, which has
     * CR_CONV_GROUP * tile_bytes. */
    void (*compute_group)(const void *ctx, const cr_conv_place *places, int count);
    const void *ctx;
    void (*enter)(void), (*leave)(void); /* around a work item, or NULL */
} cr_conv_walk;

/* grouped: for a walk with compute_group. */
size_t cr_conv_walk_scratch(const cr_conv_geometry *g, int mr, size_t tile_bytes, bool grouped,
                            int threads);
void cr_conv_walk_run(const cr_conv_walk *w, void *scratch, cr_pool *pool);

#endif
