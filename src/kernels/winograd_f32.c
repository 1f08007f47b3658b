/* Float Winograd convolution: the portable level, the weights' transform, and the walk over tiles.
 * Idea and layout: winograd_f32.h. */
#include "kernels/winograd_f32.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernels/conv_walk.h"
#include "kernels/rows.h"
#include "kernels/winograd_tiles.h"
#include "kernels/vec_c.h"

#define WINO(name)     winograd_f32_##name##_c
#define WINO_MR        4
#define WINO_NV        2
#define WINO_EACH_ROWS CR_WINO_ROWS_4
#include "kernels/winograd_f32_body.h"

static const cr_winograd_f32_kernel winograd_f32_c = WINO_RECORD("winograd_f32 c 4x8");

#define CR_WINOGRAD_F32_ONLY
#define KERNEL_RECORD cr_winograd_f32_kernel
#define KERNEL_C      winograd_f32_c
#define KERNEL_LEVEL  cr_winograd_f32_level
#define KERNEL_SELECT cr_winograd_f32_select
#include "kernels/select.h"

/* ---- packing ---- */

struct cr_winograd_f32 {
    cr_conv_geometry g;
    const cr_winograd_f32_kernel *k;
    const cr_conv_f32_kernel *direct; /* for its way to put a tile's rows */
    const cr_rows *rows;
    cr_act act;
    float *u, *bias, *zero; /* u: [block][36][cin][width]; bias: whole vectors; zero: a pixel */
    int64_t blocks, depth;  /* depth: cin in whole vectors */
    cr_winograd_tiles tiles;
    int64_t most;                    /* tiles of an item */
};

enum {
    MAX_NR = 64,
    ITEM_BYTES = 512 << 10, /* V and M of an item: they should stay in L2 (a core has 0.5..2 MB) */
    MIN_PANELS = 2          /* but so many panels at least, or the weights' way from L3 shows */
};

bool cr_winograd_f32_fits(const cr_conv_geometry *g)
{
    return g->kh == 3 && g->kw == 3 && g->stride_h == 1 && g->stride_w == 1 && g->dil_h == 1 &&
           g->dil_w == 1 && g->groups == 1;
}

/* Measured on one Zen 5 core against the direct convolution, 491 shapes of 8 to 256 channels on 8x8
 * to 104x104 pictures: 2.0 times as fast with AVX-512, 1.9 with AVX2, 1.4 in plain C (geometric
 * means); none slower, but for shapes below 16 channels in plain C (down to 0.8). Smaller
 * ones gain a few microseconds, which is not worth the larger error. The rule does not ask for the
 * level: levels give the same bits. */
bool cr_winograd_f32_pays(const cr_conv_geometry *g)
{
    return g->cin >= 8 && g->oh * g->ow >= 64;
}

static int block_width(const cr_winograd_f32 *c, int64_t block)
{
    const int64_t left = c->g.cout - block * c->k->nr;
    return left >= c->k->nr ? c->k->nr : (int)cr_round_up((size_t)left, (size_t)c->k->lanes);
}

/* G of the points 0, +-root, +-2 root, infinity, with the divisors of the interpolation in it. */
static const double root = 0.70710678118654752440;
enum { SOME = 4 }; /* divides every level's lanes */

/* y[6] = G x[3], each entry a row of `width` channels. */
#define DEFINE_TRANSFORM(name, real)                                                               \
    static void name(const real *x, int64_t x_step, real *y, int64_t y_step, int width)            \
    {                                                                                              \
        const real third = (real)(1.0 / 3), inner = (real)(root / 3), half = (real)0.5;            \
        for (int at = 0; at < width; at += SOME, x += SOME, y += SOME)                             \
            for (int j = 0; j < SOME; j++) { /* as many as a compiler turns into vectors */        \
                const real x0 = x[j], x1 = x[x_step + j] * inner, x2 = x[2 * x_step + j];          \
                const real even1 = (x0 + x2 * half) * (-2 * third), odd1 = x1 * -2;                \
                const real even2 = (x0 * half + x2) * third;                                       \
                y[j] = x0;                                                                         \
                y[y_step + j] = even1 + odd1;                                                      \
                y[2 * y_step + j] = even1 - odd1;                                                  \
                y[3 * y_step + j] = even2 + x1;                                                    \
                y[4 * y_step + j] = even2 - x1;                                                    \
                y[5 * y_step + j] = x2;                                                            \
            }                                                                                      \
    }
DEFINE_TRANSFORM(transform_weights, double)
DEFINE_TRANSFORM(transform_quickly, float)

/* U = G g G^T of input channel k and the block's output channels; the sums of a spare channel are
 * zero. In double, rounded once. */
static void pack_channel(const cr_winograd_f32 *c, const float *weights, int64_t block, int64_t k,
                         float *u)
{
    double g[9 * MAX_NR], t[18 * MAX_NR], r[CR_WINO_PRODUCTS * MAX_NR];
    const int width = block_width(c, block);
    for (int j = 0; j < width; j++) {
        const int64_t o = block * c->k->nr + j;
        for (int i = 0; i < 9; i++)
            g[i * width + j] = o < c->g.cout ? weights[(o * c->g.cin + k) * 9 + i] : 0;
    }
    for (int x = 0; x < 3; x++) /* g [y][x] to t [6][x] */
        transform_weights(g + x * width, 3 * width, t + x * width, 3 * width, width);
    for (int y = 0; y < CR_WINO_IN; y++)
        transform_weights(t + 3 * y * width, width, r + CR_WINO_IN * y * width, width, width);
    for (int i = 0; i < CR_WINO_PRODUCTS; i++)
        for (int j = 0; j < width; j++) u[(i * c->g.cin + k) * width + j] = (float)r[i * width + j];
}

static float *block_weights(const cr_winograd_f32 *c, int64_t block)
{
    return c->u + block * c->k->nr * CR_WINO_PRODUCTS * c->g.cin;
}

static void set_bias(cr_winograd_f32 *c, const float *bias)
{
    for (int64_t j = 0; j < c->blocks * c->k->nr; j++)
        c->bias[j] = bias && j < c->g.cout ? bias[j] : 0;
}

static void pack(cr_winograd_f32 *c, const float *weights, const float *bias)
{
    for (int64_t b = 0; b < c->blocks; b++)
        for (int64_t k = 0; k < c->g.cin; k++) pack_channel(c, weights, b, k, block_weights(c, b));
    set_bias(c, bias);
}

/* As pack_channel, in float32 and of weights that lie as the caller says. */
typedef struct load_job {
    const cr_winograd_f32 *c;
    const float *weights;
    int64_t out_step, in_step;
    bool turned;
} load_job;

static void load_channel(void *ctx, size_t index, int worker)
{
    const load_job *job = ctx;
    const cr_winograd_f32 *c = job->c;
    const int64_t block = (int64_t)index / c->g.cin, k = (int64_t)index % c->g.cin;
    const int width = block_width(c, block);
    float g[9 * MAX_NR], t[18 * MAX_NR], r[CR_WINO_PRODUCTS * MAX_NR];
    float *u = block_weights(c, block) + k * width;
    (void)worker;
    for (int j = 0; j < width; j++) {
        const int64_t o = block * c->k->nr + j;
        const float *w = job->weights + o * job->out_step + k * job->in_step;
        for (int i = 0; i < 9; i++)
            g[i * width + j] = o < c->g.cout ? w[job->turned ? 8 - i : i] : 0;
    }
    for (int x = 0; x < 3; x++)
        transform_quickly(g + x * width, 3 * width, t + x * width, 3 * width, width);
    for (int y = 0; y < CR_WINO_IN; y++)
        transform_quickly(t + 3 * y * width, width, r + CR_WINO_IN * y * width, width, width);
    for (int i = 0; i < CR_WINO_PRODUCTS; i++)
        memcpy(u + i * c->g.cin * width, r + i * width, (size_t)width * sizeof *u);
}

void cr_winograd_f32_load(cr_winograd_f32 *c, const float *weights, int64_t out_step,
                          int64_t in_step, bool turned, const float *bias, cr_pool *pool)
{
    load_job job = {c, weights, out_step, in_step, turned};
    cr_pool_run(pool, (size_t)(c->blocks * c->g.cin), load_channel, &job);
    set_bias(c, bias);
}

static cr_status allocate(cr_winograd_f32 *c, cr_error *err)
{
    size_t u = (size_t)((c->blocks - 1) * c->k->nr + block_width(c, c->blocks - 1));
    CR_CHECK(cr_mul_size(u, (size_t)c->g.cin * CR_WINO_PRODUCTS, &u) &&
                 cr_mul_size(u, sizeof(float), &u),
             err, CR_ERR_ARGUMENT, "convolution: the weights are too large to address");
    const size_t zero = (size_t)c->g.cin * sizeof(float);
    c->u = cr_aligned_alloc(u);
    c->bias = cr_aligned_alloc((size_t)(c->blocks * c->k->nr) * sizeof(float));
    c->zero = cr_aligned_alloc(zero);
    if (!c->u || !c->bias || !c->zero) return CR_NOMEM(err);
    memset(c->zero, 0, zero);
    return CR_OK;
}

static int64_t choose_most(const cr_winograd_f32 *c)
{
    const int64_t tile = (c->depth + c->k->nr) * CR_WINO_PRODUCTS * (int64_t)sizeof(float);
    const int64_t least = MIN_PANELS * c->k->mr;
    int64_t most = ITEM_BYTES / tile;
    if (most < least) most = least;
    return most < c->tiles.count ? most : c->tiles.count;
}

static void set_up(cr_winograd_f32 *c, const cr_conv_geometry *g, const cr_act *act, unsigned cpu)
{
    c->g = *g;
    c->k = cr_winograd_f32_select(cpu);
    c->direct = cr_conv_f32_select(cpu);
    c->rows = cr_rows_get(cpu);
    if (act) c->act = *act;
    c->blocks = cr_ceil_div(g->cout, c->k->nr);
    c->depth = cr_ceil_div(g->cin, c->k->lanes) * c->k->lanes;
    c->tiles = cr_winograd_tiles_of(g, CR_WINO_OUT);
    c->most = choose_most(c);
}

cr_status cr_winograd_f32_create(const cr_conv_geometry *g, const float *weights, const float *bias,
                                 const cr_act *act, unsigned cpu, cr_winograd_f32 **out,
                                 cr_error *err)
{
    *out = NULL;
    cr_winograd_f32 *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    set_up(c, g, act, cpu);
    const cr_status st = allocate(c, err);
    if (st != CR_OK) {
        cr_winograd_f32_free(c);
        return st;
    }
    pack(c, weights, bias);
    *out = c;
    return CR_OK;
}

size_t cr_winograd_f32_place(const cr_conv_geometry *g, unsigned cpu, void *room,
                             cr_winograd_f32 **out)
{
    cr_winograd_f32 c = {0};
    set_up(&c, g, NULL, cpu);
    const size_t widths = (size_t)((c.blocks - 1) * c.k->nr + block_width(&c, c.blocks - 1));
    const size_t parts[4] = {sizeof c, widths * (size_t)g->cin * CR_WINO_PRODUCTS * sizeof(float),
                             (size_t)(c.blocks * c.k->nr) * sizeof(float),
                             (size_t)g->cin * sizeof(float)};
    size_t at[5] = {0};
    for (int i = 0; i < 4; i++) at[i + 1] = at[i] + cr_round_up(parts[i], CR_ALIGN);
    if (!room) return at[4];
    char *base = room;
    *out = room;
    c.u = (float *)(void *)(base + at[1]);
    c.bias = (float *)(void *)(base + at[2]);
    c.zero = (float *)(void *)(base + at[3]);
    memset(c.zero, 0, parts[3]);
    **out = c;
    return at[4];
}

void cr_winograd_f32_free(cr_winograd_f32 *c)
{
    if (!c) return;
    cr_aligned_free(c->u);
    cr_aligned_free(c->bias);
    cr_aligned_free(c->zero);
    cr_free(c);
}

const char *cr_winograd_f32_name(const cr_winograd_f32 *c)
{
    return c->k->name;
}

/* ---- running ---- */

typedef struct wino_run {
    const cr_winograd_f32 *c;
    const float *in;
    float *out;
    int64_t ld_in, ld_out, items;
    float *scratch;
} wino_run;

/* A worker's room. The 36 parts of V and M are an odd number of cache lines apart: a power of two
 * would put all of a patch's vectors into one set of L1. */
static int64_t v_step(const cr_winograd_f32 *c)
{
    return (c->most * c->depth + 15) / 16 * 16 | 16;
}

static int64_t m_step(const cr_winograd_f32 *c)
{
    return (c->most * c->k->nr + 15) / 16 * 16 | 16;
}

static int64_t worker_floats(const cr_winograd_f32 *c)
{
    return (v_step(c) + m_step(c)) * CR_WINO_PRODUCTS + CR_WINO_OUT * CR_WINO_OUT * c->k->nr;
}

size_t cr_winograd_f32_scratch(const cr_winograd_f32 *c, int threads)
{
    return cr_round_up((size_t)worker_floats(c) * sizeof(float), CR_ALIGN) * (size_t)threads;
}

size_t cr_winograd_f32_scratch_of(const cr_conv_geometry *g, unsigned cpu, int threads)
{
    cr_winograd_f32 c = {0};
    set_up(&c, g, NULL, cpu);
    return cr_winograd_f32_scratch(&c, threads);
}

static void point_patch(const wino_run *r, const cr_winograd_place *p, const float *px[CR_WINO_PRODUCTS])
{
    CR_WINOGRAD_POINT(&r->c->g, p, CR_WINO_IN, r->in, r->ld_in, r->c->zero, px);
}

static void transform_inputs(const wino_run *r, int64_t first, int64_t tiles, float *v)
{
    const cr_winograd_f32 *c = r->c;
    const int64_t panels = cr_winograd_panels(tiles, c->k->mr);
    const float *px[CR_WINO_PRODUCTS];
    for (int64_t i = 0; i < panels; i++) {
        const cr_winograd_panel panel = cr_winograd_panel_at(tiles, panels, i);
        for (int row = 0; row < panel.rows; row++) {
            const cr_winograd_place p = cr_winograd_place_at(&c->tiles, first + panel.first + row);
            point_patch(r, &p, px);
            c->k->input(px, CR_WINO_OUT * r->ld_in, c->g.cin,
                        v + panel.first * c->depth + row * c->k->lanes, v_step(c),
                        panel.rows * c->k->lanes);
        }
    }
}

/* y[16][width] to the pixels that the picture has. */
static void store_tile(const wino_run *r, const cr_winograd_place *p, const float *y, int64_t channel,
                       int width)
{
    const cr_conv_geometry *g = &r->c->g;
    const int64_t left = g->cout - channel, high = g->oh - p->y, wide = g->ow - p->x;
    const int64_t cols = left < width ? left : width;
    float *to = r->out + ((p->n * g->oh + p->y) * g->ow + p->x) * r->ld_out + channel;
    for (int i = 0; i < CR_WINO_OUT && i < high; i++)
        r->c->direct->put(to + i * g->ow * r->ld_out, r->ld_out, y + i * CR_WINO_OUT * width, width,
                          wide < CR_WINO_OUT ? (int)wide : CR_WINO_OUT, cols);
}

/* Asks for the cache lines that a tile will be written to: they come while the one before it is
 * computed. */
static void claim_tile(const wino_run *r, int64_t index, int64_t channel, int width)
{
    const cr_conv_geometry *g = &r->c->g;
    const cr_winograd_place p = cr_winograd_place_at(&r->c->tiles, index);
    const int64_t line = CR_ALIGN / (int64_t)sizeof(float);
    for (int i = 0; i < CR_WINO_OUT; i++) {
        const float *row = r->out + ((p.n * g->oh + p.y + i) * g->ow + p.x) * r->ld_out + channel;
        for (int j = 0; j < CR_WINO_OUT; j++, row += r->ld_out)
            for (int64_t k = 0; k < width; k += line) __builtin_prefetch(row + k, 1);
    }
}

static void finish_tiles(const wino_run *r, int64_t first, const cr_winograd_f32_block *b,
                         int64_t channel, float *y)
{
    const cr_winograd_f32 *c = r->c;
    const int width = b->vectors * c->k->lanes;
    for (int64_t t = 0; t < b->tiles; t++) {
        const cr_winograd_place p = cr_winograd_place_at(&c->tiles, first + t);
        if (t + 1 < b->tiles) claim_tile(r, first + t + 1, channel, width);
        c->k->output(b->m + t * width, b->m_step, c->bias + channel, y, b->vectors);
        if (c->act.kind != CR_ACT_NONE)
            c->rows->act(y, y, (size_t)(CR_WINO_OUT * CR_WINO_OUT * width), &c->act);
        store_tile(r, &p, y, channel, width);
    }
}

static void run_item(void *ctx, size_t index, int worker)
{
    const wino_run *r = ctx;
    const cr_winograd_f32 *c = r->c;
    const int64_t first = c->tiles.count * (int64_t)index / r->items;
    const int64_t tiles = c->tiles.count * ((int64_t)index + 1) / r->items - first;
    float *v = r->scratch + cr_winograd_f32_scratch(c, worker) / sizeof(float);
    float *m = v + v_step(c) * CR_WINO_PRODUCTS, *y = m + m_step(c) * CR_WINO_PRODUCTS;
    transform_inputs(r, first, tiles, v);
    for (int64_t block = 0; block < c->blocks; block++) {
        const cr_winograd_f32_block b = {.v = v,
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

void cr_winograd_f32_run(const cr_winograd_f32 *c, const float *in, int64_t ld_in, float *out,
                         int64_t ld_out, void *scratch, cr_pool *pool)
{
    wino_run r = {.c = c,
                  .in = in,
                  .out = out,
                  .ld_in = ld_in ? ld_in : c->g.ld_in,
                  .ld_out = ld_out ? ld_out : c->g.ld_out,
                  .scratch = scratch};
    r.items = cr_winograd_items(&c->tiles, c->most, cr_pool_threads(pool));
    cr_pool_run(pool, (size_t)r.items, run_item, &r);
}
