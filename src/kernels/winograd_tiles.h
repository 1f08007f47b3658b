/* Where the tiles of a Winograd convolution lie: what its three element types share.
 *
 * Output pictures [n,oh,ow] are cut into tiles of out x out pixels, row by row, those of all
 * pictures behind each other; the last of a row or column may reach beyond the picture. A tile needs
 * a patch of (out + 2)^2 input pixels. */
#ifndef CR_KERNELS_WINOGRAD_TILES_H
#define CR_KERNELS_WINOGRAD_TILES_H

#include "kernels/conv.h"

static inline int64_t cr_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

typedef struct cr_winograd_tiles {
    int64_t down, across, count; /* of a picture; count: of all */
    int out;                     /* pixels of a tile's side */
} cr_winograd_tiles;

static inline cr_winograd_tiles cr_winograd_tiles_of(const cr_conv_geometry *g, int out)
{
    const int64_t down = cr_ceil_div(g->oh, out), across = cr_ceil_div(g->ow, out);
    return (cr_winograd_tiles){down, across, g->n * down * across, out};
}

/* Tile `index`, as its first output pixel. */
typedef struct cr_winograd_place {
    int64_t n, y, x;
} cr_winograd_place;

static inline cr_winograd_place cr_winograd_place_at(const cr_winograd_tiles *t, int64_t index)
{
    const int64_t row = index / t->across, n = row / t->down;
    return (cr_winograd_place){n, (row - n * t->down) * t->out, (index - row * t->across) * t->out};
}

/* Work items of at most `most` tiles each, the same number for every thread. */
static inline int64_t cr_winograd_items(const cr_winograd_tiles *t, int64_t most, int64_t threads)
{
    const int64_t items = cr_ceil_div(cr_ceil_div(t->count, most), threads) * threads;
    return items < t->count ? items : t->count;
}

/* CR_WINOGRAD_POINT(g, place, side, in, ld_in, zero, px): px[side * side] to the patch's pixels, those
 * outside of the picture to `zero`. A macro for the elements' type. */
#define CR_WINOGRAD_POINT(g, place, side, in, ld_in, zero, px)                                     \
    for (int64_t i_ = 0; i_ < (side); i_++) {                                                      \
        const int64_t y_ = (place)->y - (g)->pad_top + i_;                                         \
        const bool out_ = y_ < 0 || y_ >= (g)->h;                                                  \
        const int64_t line_ = out_ ? 0 : ((place)->n * (g)->h + y_) * (g)->w;                      \
        for (int64_t j_ = 0; j_ < (side); j_++) {                                                  \
            const int64_t x_ = (place)->x - (g)->pad_left + j_;                                    \
            (px)[i_ * (side) + j_] =                                                               \
                out_ || x_ < 0 || x_ >= (g)->w ? (zero) : (in) + (line_ + x_) * (ld_in);           \
        }                                                                                          \
    }

#endif
