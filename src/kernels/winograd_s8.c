/* Int8 Winograd convolution: the portable level, the weights' transform, and the walk over tiles.
 * Idea and layout: winograd_s8.h. */
#include "kernels/winograd_s8.h"

#include "base/error.h"
#include "base/mem.h"
#include "kernels/winograd_tiles.h"

typedef int16_t halves_c __attribute__((vector_size(16)));
typedef uint32_t sums_c __attribute__((vector_size(16)));

static inline sums_c dot_c(sums_c sums, halves_c a, halves_c b)
{
    for (int i = 0; i < 4; i++)
        sums[i] += (uint32_t)(a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1]);
    return sums;
}

static inline halves_c codes_c(const uint8_t *p)
{
    return (halves_c){p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]};
}

static inline halves_c pair_c(const int16_t *p)
{
    return (halves_c){p[0], p[1], p[0], p[1], p[0], p[1], p[0], p[1]};
}

#define WINO(name)     winograd_s8_##name##_c
#define HALVES         8
#define WINO_MR        4
#define WINO_NV        2
#define WINO_APART     false
#define W_CODES(p)     codes_c(p)
#define W_DOT(s, a, b) dot_c(s, a, b)
#define W_PAIR(p)      pair_c(p)
#define WINO_EACH_ROWS CR_WINO_ROWS_4
#include "kernels/winograd_s8_body.h"

static const cr_winograd_s8_kernel winograd_s8_c = WINO_RECORD("winograd_s8 c 4x8");

#define CR_WINOGRAD_S8_ONLY
#define KERNEL_RECORD cr_winograd_s8_kernel
#define KERNEL_C      winograd_s8_c
#define KERNEL_LEVEL  cr_winograd_s8_level
#define KERNEL_SELECT cr_winograd_s8_select
#include "kernels/select.h"

/* ---- packing ---- */

struct cr_winograd_s8 {
    cr_conv_geometry g;
    const cr_winograd_s8_kernel *k;
    int16_t *u;
    int32_t *bias;                   /* whole vectors */
    uint8_t *zero;                   /* a pixel of padding */
    int64_t blocks, depth, pairs;    /* depth: cin in whole vectors of V */
    cr_winograd_tiles tiles;
    int64_t most;                    /* tiles of an item */
};

enum {
    MAX_NR = 32,
    RUN = 12, /* tiles that go back together: 48 pixels are whole groups of finishing vectors */
    ITEM_BYTES = 512 << 10, /* V and M of an item: they should stay in L2 (a core has 0.5..2 MB) */
    MIN_PANELS = 2,         /* but so many panels at least, or the weights' way from L3 shows */
    SUM_BITS = 25           /* a sum must lie in -2^25..2^25 - 1 */
};

/* Does every sum of raw codes over this output channel's weights stay in SUM_BITS? */
static bool sums_fit(const int8_t *w, int64_t n)
{
    int64_t above = 0, below = 0;
    for (int64_t i = 0; i < n; i++) {
        if (w[i] > 0)
            above += w[i];
        else
            below -= w[i];
    }
    const int64_t most = above > below ? above : below;
    return 255 * most < (int64_t)1 << SUM_BITS;
}

bool cr_winograd_s8_fits(const cr_conv_geometry *g, const int8_t *weights)
{
    if (!cr_winograd_f32_fits(g)) return false;
    for (int64_t o = 0; o < g->cout; o++)
        if (!sums_fit(weights + o * g->cin * 9, g->cin * 9)) return false;
    return true;
}

static int block_width(const cr_winograd_s8 *c, int64_t block)
{
    const int64_t left = c->g.cout - block * c->k->nr;
    return left >= c->k->nr ? c->k->nr : (int)cr_round_up((size_t)left, (size_t)c->k->lanes);
}

/* y[6] = G x[3], rows of `width` outputs, `x_step` and `y_step` apart; G as in winograd_s8.h. */
static void transform_weights(const int16_t *x, int x_step, int16_t *y, int y_step, int width)
{
    for (int j = 0; j < width; j++) {
        const int x0 = x[j], x1 = x[x_step + j], x2 = x[2 * x_step + j];
        y[j] = (int16_t)(6 * x0);
        y[y_step + j] = (int16_t)(-4 * (x0 + x1 + x2));
        y[2 * y_step + j] = (int16_t)(-4 * (x0 - x1 + x2));
        y[3 * y_step + j] = (int16_t)(x0 + 2 * x1 + 4 * x2);
        y[4 * y_step + j] = (int16_t)(x0 - 2 * x1 + 4 * x2);
        y[5 * y_step + j] = (int16_t)(6 * x2);
    }
}

static int16_t *block_weights(const cr_winograd_s8 *c, int64_t block)
{
    return c->u + block * c->k->nr * CR_WINO_PRODUCTS * c->pairs * 2;
}

/* U of input channel k and the block's output channels; of a spare channel it is zero. */
static void pack_channel(const cr_winograd_s8 *c, const int8_t *weights, int64_t block, int64_t k)
{
    int16_t g[9 * MAX_NR] = {0}, t[18 * MAX_NR], r[CR_WINO_PRODUCTS * MAX_NR];
    const int width = block_width(c, block), lanes = c->k->lanes;
    const int64_t first = block * c->k->nr, left = c->g.cout - first;
    for (int j = 0; j < width && j < left; j++) {
        const int8_t *w = weights + ((first + j) * c->g.cin + k) * 9;
        for (int i = 0; i < 9; i++) g[i * width + j] = w[i];
    }
    for (int x = 0; x < 3; x++) /* g [y][x] to t [6][x] */
        transform_weights(g + x * width, 3 * width, t + x * width, 3 * width, width);
    for (int y = 0; y < CR_WINO_IN; y++)
        transform_weights(t + 3 * y * width, width, r + CR_WINO_IN * y * width, width, width);
    for (int i = 0; i < CR_WINO_PRODUCTS; i++) {
        int16_t *to = block_weights(c, block) + ((i * c->pairs + k / 2) * width) * 2;
        const int16_t *from = r + i * width;
        for (int v = 0; v < width; v += lanes, to += 2 * lanes, from += lanes)
            if (c->k->apart)
                memcpy(to + k % 2 * lanes, from, (size_t)lanes * sizeof *to);
            else
                for (int j = 0; j < lanes; j++) to[2 * j + k % 2] = from[j];
    }
}

static cr_status allocate(cr_winograd_s8 *c, cr_error *err)
{
    size_t u = (size_t)((c->blocks - 1) * c->k->nr + block_width(c, c->blocks - 1));
    CR_CHECK(cr_mul_size(u, (size_t)c->pairs * 2 * CR_WINO_PRODUCTS, &u) &&
                 cr_mul_size(u, sizeof *c->u, &u),
             err, CR_ERR_ARGUMENT, "convolution: the weights are too large to address");
    const size_t bias = (size_t)(c->blocks * c->k->nr) * sizeof *c->bias;
    c->u = cr_aligned_alloc(u);
    c->bias = cr_aligned_alloc(bias);
    c->zero = cr_aligned_alloc((size_t)c->g.cin);
    if (!c->u || !c->bias || !c->zero) return CR_NOMEM(err);
    if (c->g.cin % 2) memset(c->u, 0, u);
    memset(c->bias, 0, bias);
    return CR_OK;
}

static int64_t choose_most(const cr_winograd_s8 *c)
{
    const int64_t tile = CR_WINO_PRODUCTS * (c->depth * (int64_t)sizeof(int16_t) +
                                             c->k->nr * (int64_t)sizeof(int32_t));
    const int64_t least = MIN_PANELS * c->k->mr;
    int64_t most = ITEM_BYTES / tile;
    if (most < least) most = least;
    return most < c->tiles.count ? most : c->tiles.count;
}

static void set_up(cr_winograd_s8 *c, const cr_conv_geometry *g, unsigned cpu)
{
    c->g = *g;
    c->k = cr_winograd_s8_select(cpu);
    c->blocks = cr_ceil_div(g->cout, c->k->nr);
    c->depth = cr_ceil_div(g->cin, 2 * c->k->lanes) * 2 * c->k->lanes;
    c->pairs = cr_ceil_div(g->cin, 2);
    c->tiles = cr_winograd_tiles_of(g, CR_WINO_OUT);
    c->most = choose_most(c);
}

cr_status cr_winograd_s8_create(const cr_conv_geometry *g, const int8_t *weights,
                                const int32_t *bias, const uint8_t *zero, unsigned cpu,
                                cr_winograd_s8 **out, cr_error *err)
{
    *out = NULL;
    cr_winograd_s8 *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    set_up(c, g, cpu);
    const cr_status st = allocate(c, err);
    if (st != CR_OK) {
        cr_winograd_s8_free(c);
        return st;
    }
    for (int64_t b = 0; b < c->blocks; b++)
        for (int64_t k = 0; k < g->cin; k++) pack_channel(c, weights, b, k);
    memcpy(c->bias, bias, (size_t)g->cout * sizeof *bias);
    memcpy(c->zero, zero, (size_t)g->cin);
    *out = c;
    return CR_OK;
}

void cr_winograd_s8_free(cr_winograd_s8 *c)
{
    if (!c) return;
    cr_aligned_free(c->u);
    cr_aligned_free(c->bias);
    cr_aligned_free(c->zero);
    cr_free(c);
}

const char *cr_winograd_s8_name(const cr_winograd_s8 *c)
{
    return c->k->name;
}

/* ---- running ---- */

typedef struct wino_run {
    const cr_winograd_s8 *c;
    const uint8_t *in;
    int64_t ld_in, items;
    cr_conv_s8_finish finish;
    const void *ctx;
    unsigned char *scratch;
} wino_run;

/* The 36 parts of V and M are an odd number of cache lines apart: a power of two would put all of a
 * patch's vectors into one set of L1. */
static int64_t odd_lines(int64_t elements, int64_t size)
{
    const int64_t line = CR_ALIGN / size;
    return ((elements + line - 1) / line | 1) * line;
}

static int64_t v_step(const cr_winograd_s8 *c)
{
    return odd_lines(c->most * c->depth, sizeof(int16_t));
}

static int64_t m_step(const cr_winograd_s8 *c)
{
    return odd_lines(c->most * c->k->nr, sizeof(int32_t));
}

/* A worker's room: V, M, and the pixels of a run of tiles. */
static size_t v_bytes(const cr_winograd_s8 *c)
{
    return (size_t)(v_step(c) * CR_WINO_PRODUCTS) * sizeof(int16_t);
}

static size_t worker_bytes(const cr_winograd_s8 *c)
{
    const int64_t run = RUN * CR_WINO_OUT * CR_WINO_OUT * c->k->nr;
    const size_t sums = (size_t)(m_step(c) * CR_WINO_PRODUCTS + run) * sizeof(int32_t);
    return cr_round_up(v_bytes(c) + sums, CR_ALIGN);
}

size_t cr_winograd_s8_scratch(const cr_winograd_s8 *c, int threads)
{
    return worker_bytes(c) * (size_t)threads;
}

static void point_patch(const wino_run *r, const cr_winograd_place *p, const uint8_t *px[CR_WINO_PRODUCTS])
{
    CR_WINOGRAD_POINT(&r->c->g, p, CR_WINO_IN, r->in, r->ld_in, r->c->zero, px);
}

static void transform_inputs(const wino_run *r, int64_t first, int64_t tiles, int16_t *v)
{
    const cr_winograd_s8 *c = r->c;
    const int64_t panels = cr_winograd_panels(tiles, c->k->mr), halves = 2 * c->k->lanes;
    const uint8_t *px[CR_WINO_PRODUCTS];
    for (int64_t i = 0; i < panels; i++) {
        const cr_winograd_panel panel = cr_winograd_panel_at(tiles, panels, i);
        for (int row = 0; row < panel.rows; row++) {
            const cr_winograd_place p = cr_winograd_place_at(&c->tiles, first + panel.first + row);
            point_patch(r, &p, px);
            c->k->input(px, c->g.cin, v + panel.first * c->depth + row * halves, v_step(c),
                        panel.rows * halves);
        }
    }
}

/* Tiles first .. first + count of the block, neighbours in a row of them. */
static void finish_run(const wino_run *r, int64_t first, int64_t count,
                       const cr_winograd_s8_block *b, const int32_t *m, int64_t channel, int32_t *y)
{
    const cr_winograd_s8 *c = r->c;
    const cr_conv_geometry *g = &c->g;
    const int width = b->vectors * c->k->lanes;
    const int64_t y_row = RUN * CR_WINO_OUT * width;
    const cr_winograd_place p = cr_winograd_place_at(&c->tiles, first);
    for (int64_t t = 0; t < count; t++)
        c->k->output(m + t * width, b->m_step, c->bias + channel, y + t * CR_WINO_OUT * width,
                     y_row, b->vectors);
    const int64_t left = g->cout - channel, cols = left < width ? left : width;
    const int64_t wide = g->ow - p.x, high = g->oh - p.y;
    const int64_t pixels = wide < count * CR_WINO_OUT ? wide : count * CR_WINO_OUT;
    for (int i = 0; i < CR_WINO_OUT && i < high; i++)
        r->finish(r->ctx, (p.n * g->oh + p.y + i) * g->ow + p.x, pixels, channel, cols,
                  y + i * y_row, NULL, width);
}

static void finish_tiles(const wino_run *r, int64_t first, const cr_winograd_s8_block *b,
                         int64_t channel, int32_t *y)
{
    const int64_t width = b->vectors * r->c->k->lanes, row = r->c->tiles.across;
    for (int64_t t = 0, count; t < b->tiles; t += count) {
        const int64_t to_edge = row - (first + t) % row, left = b->tiles - t;
        count = left < to_edge ? left : to_edge;
        if (count > RUN) count = RUN;
        finish_run(r, first + t, count, b, b->m + t * width, channel, y);
    }
}

static void run_item(void *ctx, size_t index, int worker)
{
    const wino_run *r = ctx;
    const cr_winograd_s8 *c = r->c;
    const int64_t first = c->tiles.count * (int64_t)index / r->items;
    const int64_t tiles = c->tiles.count * ((int64_t)index + 1) / r->items - first;
    unsigned char *room = r->scratch + cr_winograd_s8_scratch(c, worker);
    int16_t *v = (int16_t *)(void *)room;
    int32_t *m = (int32_t *)(void *)(room + v_bytes(c)), *y = m + m_step(c) * CR_WINO_PRODUCTS;
    transform_inputs(r, first, tiles, v);
    for (int64_t block = 0; block < c->blocks; block++) {
        const cr_winograd_s8_block b = {.v = v,
                                        .u = block_weights(c, block),
                                        .m = m,
                                        .v_step = v_step(c),
                                        .m_step = m_step(c),
                                        .tiles = tiles,
                                        .cin = c->g.cin,
                                        .vectors = block_width(c, block) / c->k->lanes};
        c->k->multiply(&b);
        finish_tiles(r, first, &b, block * c->k->nr, y);
    }
}

void cr_winograd_s8_run(const cr_winograd_s8 *c, const uint8_t *in, int64_t ld_in,
                        cr_conv_s8_finish finish, const void *ctx, void *scratch, cr_pool *pool)
{
    wino_run r = {.c = c,
                  .in = in,
                  .ld_in = ld_in ? ld_in : c->g.ld_in,
                  .finish = finish,
                  .ctx = ctx,
                  .scratch = scratch};
    r.items = cr_winograd_items(&c->tiles, c->most, cr_pool_threads(pool));
    cr_pool_run(pool, (size_t)r.items, run_item, &r);
}
