/* Bfloat16 Winograd convolution: the portable transforms, packing, and the walk over tiles. Idea
 * and layout: winograd_bf16.h. Tiles are finished in strips, neighbours of one row of tiles, so
 * that activation and rounding see two runs of pixels instead of many pairs. */
#include "kernels/winograd_bf16.h"

#include "base/error.h"
#include "base/mem.h"
#include "kernels/conv_bf16_tile.h"
#include "kernels/rows.h"
#include "kernels/winograd_tiles.h"
#include "kernels/rows_bf16.h"
#include "kernels/vec_bf16_c.h"

#define WINO(name) winograd_bf16_##name##_c
#include "kernels/winograd_bf16_body.h"

static const cr_winograd_bf16_kernel winograd_bf16_c = WINO_RECORD("c");

#define CR_WINOGRAD_BF16_ONLY
#define KERNEL_RECORD cr_winograd_bf16_kernel
#define KERNEL_C      winograd_bf16_c
#define KERNEL_LEVEL  cr_winograd_bf16_level
#define KERNEL_SELECT cr_winograd_bf16_select
#include "kernels/select.h"

bool cr_winograd_bf16_fits(const cr_conv_geometry *g)
{
    return g->kh == 3 && g->kw == 3 && g->stride_h == 1 && g->stride_w == 1 && g->dil_h == 1 &&
           g->dil_w == 1 && g->groups == 1;
}

bool cr_winograd_bf16_pays(const cr_conv_geometry *g)
{
    return g->cin >= 32 && g->cout >= 32 && g->n * g->oh * g->ow >= 64;
}

/* ---- packing ---- */

struct cr_winograd_bf16 {
    cr_conv_geometry g;
    const cr_winograd_bf16_kernel *transform;
    const cr_conv_bf16_kernel *k;
    const cr_rows *rows;
    const cr_rows_bf16 *rows_bf16;
    cr_act act;
    bool float_out;
    unsigned char *u;                /* [block][16 taps] in the layout of k */
    float *bias, *none;              /* whole vectors; none: zeros for the products */
    cr_bf16 *zero;                   /* a pixel of padding */
    int64_t blocks, pairs;           /* pairs: of channels, as packed */
    cr_winograd_tiles tiles;
    int64_t most;                    /* tiles of an item */
};

enum {
    ITEM_BYTES = 512 << 10, /* V and M of an item: they should stay in L2 (a core has 0.5..2 MB) */
    MIN_PANELS = 2,         /* but so many panels at least, or the weights' way from L3 shows */
    STRIP = 8               /* tiles that are finished together */
};

static int block_width(const cr_winograd_bf16 *c, int64_t block)
{
    const int64_t left = c->g.cout - block * c->k->nr;
    return left >= c->k->nr ? c->k->nr : (int)cr_round_up((size_t)left, (size_t)c->k->lanes);
}

static size_t channel_bytes(const cr_winograd_bf16 *c)
{
    return (size_t)(CR_WINO2_PRODUCTS * c->pairs) * cr_conv_bf16_pair_bytes(c->k);
}

/* U = G g G^T of one filter, in double; cr_conv_bf16_put rounds it. */
static void transform_filter(const float g[9], double u[CR_WINO2_PRODUCTS])
{
    double t[CR_WINO2_IN][3];
    for (int x = 0; x < 3; x++) {
        const double a = g[x], b = g[3 + x], d = g[6 + x];
        t[0][x] = a;
        t[1][x] = (a + b + d) / 2;
        t[2][x] = (a - b + d) / 2;
        t[3][x] = d;
    }
    for (int y = 0; y < CR_WINO2_IN; y++) {
        const double a = t[y][0], b = t[y][1], d = t[y][2];
        u[4 * y] = a;
        u[4 * y + 1] = (a + b + d) / 2;
        u[4 * y + 2] = (a - b + d) / 2;
        u[4 * y + 3] = d;
    }
}

static void pack(cr_winograd_bf16 *c, const cr_conv_bf16_params *p)
{
    const int nr = c->k->nr;
    for (int64_t o = 0; o < c->g.cout; o++) {
        const int64_t b = o / nr;
        unsigned char *block = c->u + (size_t)(b * nr) * channel_bytes(c);
        if (p->bias) c->bias[o] = p->bias[o];
        for (int64_t k = 0; k < c->g.cin; k++) {
            double u[CR_WINO2_PRODUCTS];
            transform_filter(p->weights + (o * c->g.cin + k) * 9, u);
            for (int i = 0; i < CR_WINO2_PRODUCTS; i++)
                cr_conv_bf16_put(c->k, block, block_width(c, b), (int)(o % nr), i * c->pairs, k,
                                 (float)u[i]);
        }
    }
}

static cr_status allocate(cr_winograd_bf16 *c, cr_error *err)
{
    const size_t wide = (size_t)(c->blocks * c->k->nr), bias = wide * sizeof(float);
    const size_t zero = (size_t)c->g.cin * sizeof *c->zero;
    size_t u = wide;
    CR_CHECK(cr_mul_size(u, channel_bytes(c), &u), err, CR_ERR_ARGUMENT,
             "convolution: the weights are too large to address");
    c->u = cr_aligned_alloc(u);
    c->bias = cr_aligned_alloc(bias);
    c->none = cr_aligned_alloc(bias);
    c->zero = cr_aligned_alloc(zero);
    if (!c->u || !c->bias || !c->none || !c->zero) return CR_NOMEM(err);
    memset(c->u, 0, u);
    memset(c->bias, 0, bias);
    memset(c->none, 0, bias);
    memset(c->zero, 0, zero);
    return CR_OK;
}

static int64_t choose_most(const cr_winograd_bf16 *c)
{
    const int64_t tile = CR_WINO2_PRODUCTS *
                         (c->g.cin * (int64_t)sizeof(cr_bf16) + c->k->nr * (int64_t)sizeof(float));
    const int64_t least = MIN_PANELS * c->k->mr;
    int64_t most = ITEM_BYTES / tile / c->k->mr * c->k->mr;
    if (most < least) most = least;
    return most < c->tiles.count ? most : c->tiles.count;
}

static void set_up(cr_winograd_bf16 *c, const cr_conv_bf16_kernel *k, const cr_conv_geometry *g,
                   const cr_conv_bf16_params *p, unsigned cpu)
{
    c->g = *g;
    c->transform = cr_winograd_bf16_select(cpu);
    c->k = k;
    if (c->k->narrow && g->cout <= c->k->narrow->nr) c->k = c->k->narrow;
    c->rows = cr_rows_get(cpu);
    c->rows_bf16 = cr_rows_bf16_get(cpu);
    c->act = p->act;
    c->float_out = p->float_out;
    c->blocks = cr_ceil_div(g->cout, c->k->nr);
    c->pairs = cr_conv_bf16_pairs(k, 1, g->cin);
    c->tiles = cr_winograd_tiles_of(g, CR_WINO2_OUT);
    c->most = choose_most(c);
}

cr_status cr_winograd_bf16_create(const cr_conv_geometry *g, const cr_conv_bf16_params *p,
                                  unsigned cpu, cr_winograd_bf16 **out, cr_error *err)
{
    return cr_winograd_bf16_create_with(cr_conv_bf16_select(cpu), g, p, cpu, out, err);
}

cr_status cr_winograd_bf16_create_with(const cr_conv_bf16_kernel *k, const cr_conv_geometry *g,
                                       const cr_conv_bf16_params *p, unsigned cpu,
                                       cr_winograd_bf16 **out, cr_error *err)
{
    *out = NULL;
    cr_winograd_bf16 *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    set_up(c, k, g, p, cpu);
    const cr_status st = allocate(c, err);
    if (st != CR_OK) {
        cr_winograd_bf16_free(c);
        return st;
    }
    pack(c, p);
    *out = c;
    return CR_OK;
}

void cr_winograd_bf16_free(cr_winograd_bf16 *c)
{
    if (!c) return;
    cr_aligned_free(c->u);
    cr_aligned_free(c->bias);
    cr_aligned_free(c->none);
    cr_aligned_free(c->zero);
    cr_free(c);
}

const char *cr_winograd_bf16_name(const cr_winograd_bf16 *c)
{
    return c->transform->name;
}

/* ---- running ---- */

/* A worker's room. M and V take whole panels of rows, for the product writes and reads whole ones.
 * Their 16 parts are an odd number of cache lines apart: a power of two would put all of a patch's
 * vectors into one set of L1. */
typedef struct room {
    cr_bf16 *v;
    float *m, *y;
    unsigned char *packed;  /* of a panel, for kernels that pack */
    const cr_bf16 **a;      /* a panel's pointers, for kernels without lines */
    int64_t v_step, m_step; /* elements from one of the 16 to the next */
    size_t bytes;
} room;

static int64_t odd_lines(int64_t elements, int64_t line)
{
    return (cr_ceil_div(elements, line) | 1) * line;
}

static room lay_out(const cr_winograd_bf16 *c, unsigned char *base)
{
    const int64_t rows = cr_ceil_div(c->most, c->k->mr) * c->k->mr, line = CR_ALIGN;
    room r = {.v_step = odd_lines(rows * c->g.cin, line / (int64_t)sizeof(cr_bf16)),
              .m_step = odd_lines(rows * c->k->nr, line / (int64_t)sizeof(float))};
    const size_t v = (size_t)(r.v_step * CR_WINO2_PRODUCTS) * sizeof(cr_bf16);
    const size_t m = (size_t)(r.m_step * CR_WINO2_PRODUCTS) * sizeof(float);
    const size_t y = (size_t)(STRIP * 4 * c->k->nr) * sizeof(float);
    const size_t a = (size_t)c->k->mr * sizeof(void *);
    const size_t packed = cr_conv_bf16_packed_bytes(c->k, c->pairs);
    r.bytes = v + m + packed + cr_round_up(y, CR_ALIGN) + cr_round_up(a, CR_ALIGN);
    if (!base) return r;
    r.v = (cr_bf16 *)(void *)base;
    r.m = (float *)(void *)(base + v);
    r.packed = base + v + m;
    r.y = (float *)(void *)(r.packed + packed);
    r.a = (const cr_bf16 **)(void *)(r.packed + packed + cr_round_up(y, CR_ALIGN));
    return r;
}

size_t cr_winograd_bf16_scratch(const cr_winograd_bf16 *c, int threads)
{
    return lay_out(c, NULL).bytes * (size_t)threads;
}

typedef struct wino_run {
    const cr_winograd_bf16 *c;
    const cr_bf16 *in;
    void *out;
    int64_t ld_in, ld_out, items;
    unsigned char *scratch;
} wino_run;

static void point_patch(const wino_run *r, const cr_winograd_place *p,
                        const cr_bf16 *px[CR_WINO2_PRODUCTS])
{
    CR_WINOGRAD_POINT(&r->c->g, p, CR_WINO2_IN, r->in, r->ld_in, r->c->zero, px);
}

static void transform_inputs(const wino_run *r, int64_t first, int64_t tiles, const room *own)
{
    const cr_winograd_bf16 *c = r->c;
    const cr_bf16 *px[CR_WINO2_PRODUCTS];
    for (int64_t t = 0; t < tiles; t++) {
        const cr_winograd_place p = cr_winograd_place_at(&c->tiles, first + t);
        point_patch(r, &p, px);
        c->transform->input(px, c->g.cin, own->v + t * c->g.cin, own->v_step);
    }
}

/* M of one block of output channels. */
static void multiply(const cr_winograd_bf16 *c, const room *own, int64_t tiles, int64_t block)
{
    const int width = block_width(c, block), mr = c->k->mr;
    const size_t tap = (size_t)(c->pairs * width) * cr_conv_bf16_pair_bytes(c->k);
    const unsigned char *u = c->u + (size_t)(block * c->k->nr) * channel_bytes(c);
    for (int i = 0; i < CR_WINO2_PRODUCTS; i++, u += tap)
        for (int64_t t = 0; t < tiles; t += mr) {
            const cr_bf16 *v = own->v + i * own->v_step + t * c->g.cin;
            const cr_conv_line line = {(const unsigned char *)v,
                                       c->g.cin * (int64_t)sizeof(cr_bf16)};
            const cr_conv_bf16_tile tile = {.a = own->a,
                                            .line = &line,
                                            .taps = 1,
                                            .cin = c->g.cin,
                                            .w = u,
                                            .bias = c->none,
                                            .c = own->m + i * own->m_step + t * width,
                                            .vectors = width / c->k->lanes,
                                            .packed = own->packed,
                                            .first = true};
            for (int j = 0; j < mr && !c->k->run_line; j++) own->a[j] = v + j * c->g.cin;
            (c->k->run_line ? c->k->run_line : c->k->run)(&tile);
        }
}

/* sums: the pixels of one row of the picture, from (n, y, x) on. */
static void store_row(const wino_run *r, const cr_winograd_place *p, int64_t y, int64_t pixels,
                      const float *sums, int64_t channel, int width)
{
    const cr_winograd_bf16 *c = r->c;
    const int64_t left = c->g.cout - channel, cols = left < width ? left : width;
    const int64_t at = ((p->n * c->g.oh + y) * c->g.ow + p->x) * r->ld_out + channel;
    const cr_finish_area area = {pixels, cols, width, r->ld_out};
    if (!c->float_out) c->rows_bf16->from_area((cr_bf16 *)r->out + at, sums, &area);
    for (int64_t i = 0; i < pixels && c->float_out; i++)
        memcpy((float *)r->out + at + i * r->ld_out, sums + i * width, (size_t)cols * sizeof *sums);
}

static void finish_tiles(const wino_run *r, int64_t first, int64_t tiles, const room *own,
                         int64_t block)
{
    const cr_winograd_bf16 *c = r->c;
    const int width = block_width(c, block);
    const int64_t channel = block * c->k->nr, y_step = STRIP * CR_WINO2_OUT * width;
    for (int64_t t = 0, strip; t < tiles; t += strip) {
        const cr_winograd_place p = cr_winograd_place_at(&c->tiles, first + t);
        const int64_t in_row = c->tiles.across - p.x / CR_WINO2_OUT;
        strip = tiles - t < in_row ? tiles - t : in_row;
        if (strip > STRIP) strip = STRIP;
        for (int64_t i = 0; i < strip; i++)
            c->transform->output(own->m + (t + i) * width, own->m_step, c->bias + channel,
                                 own->y + i * CR_WINO2_OUT * width, y_step, width);
        const int64_t left = c->g.ow - p.x;
        const int64_t pixels = left < strip * CR_WINO2_OUT ? left : strip * CR_WINO2_OUT;
        for (int64_t y = p.y; y < p.y + CR_WINO2_OUT && y < c->g.oh; y++) {
            float *sums = own->y + (y - p.y) * y_step;
            if (c->act.kind != CR_ACT_NONE)
                c->rows->act(sums, sums, (size_t)(pixels * width), &c->act);
            store_row(r, &p, y, pixels, sums, channel, width);
        }
    }
}

static void run_item(void *ctx, size_t index, int worker)
{
    const wino_run *r = ctx;
    const cr_winograd_bf16 *c = r->c;
    const int64_t first = c->tiles.count * (int64_t)index / r->items;
    const int64_t tiles = c->tiles.count * ((int64_t)index + 1) / r->items - first;
    const room own = lay_out(c, r->scratch + cr_winograd_bf16_scratch(c, worker));
    transform_inputs(r, first, tiles, &own);
    if (c->k->enter) c->k->enter();
    for (int64_t block = 0; block < c->blocks; block++) {
        multiply(c, &own, tiles, block);
        finish_tiles(r, first, tiles, &own, block);
    }
    if (c->k->leave) c->k->leave();
}

void cr_winograd_bf16_run(const cr_winograd_bf16 *c, const cr_bf16 *in, int64_t ld_in, void *out,
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
