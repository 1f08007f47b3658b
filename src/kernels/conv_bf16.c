/* Bfloat16 convolution: the portable tile, packing, and the results' way out. Arithmetic:
 * conv_bf16.h; layouts: conv_bf16_tile.h; the walk: conv_walk.h. As in conv_f32.c a tile is
 * finished in a buffer of its own, where it is still float32, and is rounded on its way to its
 * rows.
 *
 * With planes_in the walk sees another geometry: rows of the padded picture in scratch, kw taps of
 * four channels merged into one of 4 kw. A window of 3x3x3 is 18 pairs of channels that way, with
 * rows of three channels it would be 18 as well but nine taps instead of three to look up.
 * Rejected: three channels without the fourth (15 pairs, but pixels at odd addresses, and nothing
 * to gain where looking up and storing dominate). */
#include "kernels/conv_bf16.h"

#include "base/error.h"
#include "base/mem.h"
#include "kernels/conv_bf16_tile.h"
#include "kernels/conv_groups.h"
#include "kernels/rows.h"
#include "kernels/rows_bf16.h"
#include "kernels/vec_c.h"
#include "kernels/winograd_bf16.h"

#define CONV(name) conv_bf16_##name##_c
#define CONV_MR    4
#define CONV_NV    2
#include "kernels/conv_bf16_body.h"

static const cr_conv_bf16_kernel conv_bf16_c = CONV_RECORD("conv_bf16 c 4x8");

#define CR_CONV_BF16_ONLY
#define KERNEL_RECORD cr_conv_bf16_kernel
#define KERNEL_C      conv_bf16_c
#define KERNEL_LEVEL  cr_conv_bf16_level
#define KERNEL_SELECT cr_conv_bf16_select
#include "kernels/select.h"

/* ---- packing ---- */

int64_t cr_conv_bf16_pairs(const cr_conv_bf16_kernel *k, int64_t taps, int64_t cin)
{
    const size_t least = k->layout == CR_BF16_TILES ? CR_BF16_TILE_PAIRS : 1;
    return (int64_t)cr_round_up((size_t)(taps * ((cin + 1) / 2)), least);
}

size_t cr_conv_bf16_packed_bytes(const cr_conv_bf16_kernel *k, int64_t pairs)
{
    return k->layout == CR_BF16_TILES ? (size_t)(pairs * k->mr) * 2 * sizeof(cr_bf16) : 0;
}

size_t cr_conv_bf16_pair_bytes(const cr_conv_bf16_kernel *k)
{
    return 2 * (k->layout == CR_BF16_FLOATS ? sizeof(float) : sizeof(cr_bf16));
}

enum {
    WOVEN = 4, /* channels of a woven pixel */
    MAX_PLANES_KW = 16,
    MAX_PLANES_PADDING = 64,
    MAX_PLANES_PIXELS = 1 << 28 /* 2 GiB of scratch */
};

struct cr_conv_bf16 {
    cr_winograd_bf16 *wino; /* NULL unless it pays; then nothing below is used */
    cr_conv_geometry g;     /* what the walk sees */
    int64_t planes;         /* channels of the float planes; 0: the input is bfloat16 rows */
    int64_t width;          /* planes: pixels of a row before padding; */
    int64_t pad_left;       /* and of its left padding */
    const cr_conv_bf16_kernel *k;
    const cr_dwconv_bf16_kernel *dw; /* NULL unless depthwise */
    const cr_rows *rows;
    const cr_rows_bf16 *rows_bf16;
    cr_act act;
    bool float_out;
    unsigned char *w;
    float *bias;                            /* [group][blocks * nr], 0 beyond cout */
    cr_bf16 *zero;                          /* a row of padding */
    int64_t taps, cin, cout, blocks, pairs; /* per group; pairs: of channels, over all taps */
};

bool cr_conv_bf16_takes_planes(const cr_conv_geometry *g)
{
    const int64_t wide = (g->ow - 1) * g->stride_w + g->kw, most = g->w + MAX_PLANES_PADDING;
    return g->groups == 1 && g->cin <= WOVEN && g->dil_w == 1 && g->kw <= MAX_PLANES_KW &&
           wide <= most && g->n * g->h <= MAX_PLANES_PIXELS / most;
}

static int block_width(const cr_conv_bf16 *c, int64_t block)
{
    const int64_t left = c->cout - block * c->k->nr;
    return left >= c->k->nr ? c->k->nr : (int)cr_round_up((size_t)left, (size_t)c->k->lanes);
}

static size_t block_bytes(const cr_conv_bf16 *c)
{
    return (size_t)c->pairs * cr_conv_bf16_pair_bytes(c->k) * (size_t)c->k->nr;
}

static size_t group_bytes(const cr_conv_bf16 *c)
{
    const size_t last = (size_t)block_width(c, c->blocks - 1);
    return (size_t)(c->blocks - 1) * block_bytes(c) +
           (size_t)c->pairs * cr_conv_bf16_pair_bytes(c->k) * last;
}

/* The weights of one output channel: [cin][taps], with planes [planes][kh][kw]. */
static void pack_channel(cr_conv_bf16 *c, const float *src, unsigned char *block, int width, int j)
{
    const int64_t pairs = (c->cin + 1) / 2; /* of a tap */
    for (int64_t tap = 0; tap < c->taps; tap++)
        for (int64_t k = 0; k < c->cin; k++) {
            if (!c->planes) {
                cr_conv_bf16_put(c->k, block, width, j, tap * pairs, k, src[k * c->taps + tap]);
                continue;
            }
            const int64_t channel = k % WOVEN, kx = k / WOVEN, kw = c->cin / WOVEN;
            if (channel < c->planes)
                cr_conv_bf16_put(c->k, block, width, j, tap * pairs, k,
                                 src[(channel * c->taps + tap) * kw + kx]);
        }
}

static void pack(cr_conv_bf16 *c, const cr_conv_bf16_params *p)
{
    const int64_t nr = c->k->nr, each = c->planes ? c->cin / WOVEN * c->planes : c->cin;
    for (int64_t ch = 0; ch < c->g.cout; ch++) {
        const int64_t group = ch / c->cout, own = ch % c->cout, b = own / nr;
        const float *src = p->weights + ch * each * c->taps;
        if (p->bias) c->bias[c->dw ? ch : group * c->blocks * nr + own] = p->bias[ch];
        if (c->dw)
            for (int64_t tap = 0; tap < c->taps; tap++)
                ((float *)(void *)c->w)[tap * c->g.cout + ch] = src[tap];
        else
            pack_channel(c, src, c->w + (size_t)group * group_bytes(c) + (size_t)b * block_bytes(c),
                         block_width(c, b), (int)(own % nr));
    }
}

static cr_status allocate(cr_conv_bf16 *c, cr_error *err)
{
    size_t w = (size_t)c->g.groups, bias = (size_t)c->g.groups;
    const size_t wide = c->dw ? 1 : (size_t)(c->blocks * c->k->nr);
    CR_CHECK(cr_mul_size(w, (size_t)c->pairs, &w) && cr_mul_size(w, wide, &w) &&
                 cr_mul_size(w, 2 * sizeof(float), &w) &&
                 cr_mul_size(bias, wide * sizeof(float), &bias),
             err, CR_ERR_ARGUMENT, "convolution: the weights are too large to address");
    if (!c->dw) w = (size_t)c->g.groups * group_bytes(c);
    const size_t zero = (size_t)(c->g.cin * c->g.kw) * sizeof *c->zero;
    c->w = cr_aligned_alloc(w);
    c->bias = cr_aligned_alloc(bias);
    c->zero = cr_aligned_alloc(zero);
    if (!c->w || !c->bias || !c->zero) return CR_NOMEM(err);
    memset(c->w, 0, w);
    memset(c->bias, 0, bias);
    memset(c->zero, 0, zero);
    return CR_OK;
}

/* The geometry of the woven picture; its window is one pixel of 4 kw channels wide. */
static void merge_columns(cr_conv_bf16 *c, const cr_conv_geometry *g)
{
    c->planes = g->cin;
    c->width = g->w;
    c->pad_left = g->pad_left;
    c->g.w = (g->ow - 1) * g->stride_w + g->kw;
    c->g.cin = WOVEN * g->kw;
    c->g.ld_in = WOVEN;
    c->g.kw = 1;
    c->g.pad_left = 0;
}

static void set_up(cr_conv_bf16 *c, const cr_conv_bf16_kernel *k, const cr_conv_geometry *g,
                   const cr_conv_bf16_params *p, unsigned cpu)
{
    c->g = *g;
    if (p->planes_in) merge_columns(c, g);
    c->k = k;
    c->rows = cr_rows_get(cpu);
    c->rows_bf16 = cr_rows_bf16_get(cpu);
    c->act = p->act;
    c->float_out = p->float_out;
    c->taps = c->g.kh * c->g.kw;
    c->cin = c->g.cin / g->groups;
    c->cout = g->cout / g->groups;
    if (c->k->narrow && c->cout <= c->k->narrow->nr) c->k = c->k->narrow;
    c->blocks = (c->cout + c->k->nr - 1) / c->k->nr;
    c->pairs = cr_conv_bf16_pairs(c->k, c->taps, c->cin);
    if (c->cin == 1 && c->cout == 1 && g->groups > 1) c->dw = cr_dwconv_bf16_select(cpu);
}

cr_status cr_conv_bf16_create(const cr_conv_geometry *g, const cr_conv_bf16_params *p, unsigned cpu,
                              cr_conv_bf16 **out, cr_error *err)
{
    return cr_conv_bf16_create_with(cr_conv_bf16_select(cpu), g, p, cpu, out, err);
}

static cr_status create(const cr_conv_bf16_kernel *k, const cr_conv_geometry *g,
                        const cr_conv_bf16_params *p, bool wino, unsigned cpu, cr_conv_bf16 **out,
                        cr_error *err)
{
    cr_conv_bf16 *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    if (!wino) set_up(c, k, g, p, cpu);
    const cr_status st =
        wino ? cr_winograd_bf16_create_with(k, g, p, cpu, &c->wino, err) : allocate(c, err);
    if (st != CR_OK) {
        cr_conv_bf16_free(c);
        return st;
    }
    if (!wino) pack(c, p);
    *out = c;
    return CR_OK;
}

cr_status cr_conv_bf16_create_with(const cr_conv_bf16_kernel *k, const cr_conv_geometry *g,
                                   const cr_conv_bf16_params *p, unsigned cpu, cr_conv_bf16 **out,
                                   cr_error *err)
{
    *out = NULL;
    CR_TRY(cr_conv_geometry_check(g, err));
    CR_CHECK(!p->planes_in || cr_conv_bf16_takes_planes(g), err, CR_ERR_ARGUMENT,
             "convolution: %lld channels in %lld groups cannot be read from planes",
             (long long)g->cin, (long long)g->groups);
    const bool wino = !p->planes_in && cr_winograd_bf16_fits(g) && cr_winograd_bf16_pays(g);
    const int64_t merge = cr_conv_groups_merge(g, k->lanes);
    if (merge == 1) return create(k, g, p, wino, cpu, out, err);
    const cr_conv_geometry merged = cr_conv_groups_geometry(g, merge);
    cr_arena arena = {0};
    cr_conv_bf16_params wide = *p;
    wide.weights = cr_conv_groups_weights(&arena, g, merge, sizeof *p->weights, p->weights);
    const cr_status st =
        wide.weights ? create(k, &merged, &wide, wino, cpu, out, err) : CR_NOMEM(err);
    cr_arena_free(&arena);
    return st;
}

void cr_conv_bf16_free(cr_conv_bf16 *c)
{
    if (!c) return;
    cr_winograd_bf16_free(c->wino);
    cr_aligned_free(c->w);
    cr_aligned_free(c->bias);
    cr_aligned_free(c->zero);
    cr_free(c);
}

const char *cr_conv_bf16_name(const cr_conv_bf16 *c)
{
    return c->wino ? cr_winograd_bf16_name(c->wino) : c->dw ? c->dw->name : c->k->name;
}

/* ---- weaving planes ---- */

typedef struct weave_job {
    const cr_conv_bf16 *c;
    const float *planes;
    const uint8_t *pixels; /* not NULL: instead of planes, */
    uint64_t table[3][256]; /* what a byte of a channel adds to a pixel of four values */
    cr_bf16 *woven;
} weave_job;

static void weave_bytes(const weave_job *j, int64_t y, cr_bf16 *to, int64_t n)
{
    const uint8_t *x = j->pixels + y * j->c->width * 3;
    for (int64_t i = 0; i < n; i++, x += 3, to += WOVEN) {
        const uint64_t pixel = j->table[0][x[0]] | j->table[1][x[1]] | j->table[2][x[2]];
        memcpy(to, &pixel, sizeof pixel);
    }
}

/* One row of one picture, with its padding. */
static void weave_row(void *ctx, size_t index, int worker)
{
    const weave_job *j = ctx;
    const cr_conv_bf16 *c = j->c;
    const int64_t n = (int64_t)index / c->g.h, y = (int64_t)index % c->g.h, wide = c->g.w;
    const float *from[WOVEN] = {NULL};
    for (int64_t i = 0; i < c->planes && j->planes; i++)
        from[i] = j->planes + ((n * c->planes + i) * c->g.h + y) * c->width;
    cr_bf16 *to = j->woven + (int64_t)index * wide * WOVEN;
    const int64_t left = c->pad_left < wide ? c->pad_left : wide;
    const int64_t inside = c->width < wide - left ? c->width : wide - left;
    memset(to, 0, (size_t)(left * WOVEN) * sizeof *to);
    if (j->pixels)
        weave_bytes(j, y, to + left * WOVEN, inside);
    else
        c->rows_bf16->weave(to + left * WOVEN, from, (size_t)inside);
    memset(to + (left + inside) * WOVEN, 0, (size_t)((wide - left - inside) * WOVEN) * sizeof *to);
}

static size_t woven_bytes(const cr_conv_bf16 *c)
{
    return c->planes ? (size_t)(c->g.n * c->g.h * c->g.w * WOVEN) * sizeof(cr_bf16) : 0;
}

/* ---- running ---- */

typedef struct run_job {
    const cr_conv_bf16 *c;
    void *out;
    int64_t ld_out;
} run_job;

static int tile_rows(const cr_conv_bf16 *c)
{
    return c->dw ? c->dw->mr : c->k->mr;
}

static size_t sum_bytes(const cr_conv_bf16 *c)
{
    return (size_t)tile_rows(c) * (size_t)(c->dw ? c->g.cout : c->k->nr) * sizeof(float);
}

/* Sums and, with CR_BF16_TILES, packed rows (mr * nr sums are whole cache lines there). */
static size_t tile_bytes(const cr_conv_bf16 *c)
{
    return sum_bytes(c) + (c->dw ? 0 : cr_conv_bf16_packed_bytes(c->k, c->pairs));
}

static size_t walk_scratch(const cr_conv_bf16 *c, int threads)
{
    return cr_conv_walk_scratch(&c->g, tile_rows(c), tile_bytes(c), false, threads);
}

size_t cr_conv_bf16_scratch(const cr_conv_bf16 *c, int threads)
{
    if (c->wino) return cr_winograd_bf16_scratch(c->wino, threads);
    return walk_scratch(c, threads) + woven_bytes(c);
}

/* sums: [rows][ld], `cols` of them leave from `channel` on. */
static void finish_tile(const run_job *j, const cr_conv_place *p, float *sums, int64_t ld,
                        int64_t channel, int64_t cols)
{
    const cr_conv_bf16 *c = j->c;
    const int64_t at = p->pixel * j->ld_out + channel;
    if (c->act.kind != CR_ACT_NONE) c->rows->act(sums, sums, (size_t)(p->rows * ld), &c->act);
    const cr_finish_area area = {p->rows, cols, ld, j->ld_out};
    if (!c->float_out) c->rows_bf16->from_area((cr_bf16 *)j->out + at, sums, &area);
    for (int r = 0; r < p->rows && c->float_out; r++)
        memcpy((float *)j->out + at + r * j->ld_out, sums + r * ld, (size_t)cols * sizeof *sums);
}

static void compute_tile(const void *ctx, const cr_conv_place *p)
{
    const run_job *j = ctx;
    const cr_conv_bf16 *c = j->c;
    const int nr = c->k->nr, width = block_width(c, p->block);
    const cr_conv_bf16_tile t = {.a = (const cr_bf16 *const *)(const void *)p->a,
                                 .line = p->line,
                                 .taps = p->taps,
                                 .cin = p->run,
                                 .w = c->w + (size_t)p->group * group_bytes(c) +
                                      (size_t)p->block * block_bytes(c),
                                 .bias = c->bias + (p->group * c->blocks + p->block) * nr,
                                 .c = p->tile,
                                 .vectors = width / c->k->lanes,
                                 .packed = (unsigned char *)p->tile + sum_bytes(c),
                                 .first = p->first};
    if (p->line)
        c->k->run_line(&t);
    else
        c->k->run(&t);
    const int64_t left = c->cout - p->block * nr;
    finish_tile(j, p, t.c, width, p->group * c->cout + p->block * nr, left < nr ? left : nr);
}

static void compute_depthwise(const void *ctx, const cr_conv_place *p)
{
    const run_job *j = ctx;
    const cr_conv_bf16 *c = j->c;
    const cr_dwconv_bf16_tile t = {.a = (const cr_bf16 *const *)(const void *)p->a,
                                   .taps = c->taps,
                                   .channels = c->g.cout,
                                   .w = (const float *)(const void *)c->w,
                                   .bias = c->bias,
                                   .c = p->tile,
                                   .rows = p->rows};
    c->dw->run(&t);
    finish_tile(j, p, t.c, c->g.cout, 0, c->g.cout);
}

static const cr_bf16 *weave(const cr_conv_bf16 *c, weave_job *j, void *scratch, cr_pool *pool)
{
    j->c = c;
    j->woven = (cr_bf16 *)(void *)((unsigned char *)scratch +
                                   walk_scratch(c, cr_pool_threads(pool)));
    cr_pool_run(pool, (size_t)(c->g.n * c->g.h), weave_row, j);
    return j->woven;
}

static void walk(const cr_conv_bf16 *c, const void *in, int64_t ld_in, void *out, int64_t ld_out,
                 void *scratch, cr_pool *pool)
{
    const run_job j = {c, out, ld_out ? ld_out : c->g.ld_out};
    const cr_conv_walk w = {.g = &c->g,
                            .ld_in = ld_in && !c->planes ? ld_in : c->g.ld_in,
                            .element = sizeof(cr_bf16),
                            .in = in,
                            .zero = (const unsigned char *)c->zero,
                            .depthwise = c->dw != NULL,
                            .line_step = c->dw || !c->k->run_line ? 0 : 2,
                            .mr = tile_rows(c),
                            .nr = c->k->nr,
                            .block_bytes = block_bytes(c),
                            .tile_bytes = tile_bytes(c),
                            .compute = c->dw ? compute_depthwise : compute_tile,
                            .ctx = &j,
                            .enter = c->dw ? NULL : c->k->enter,
                            .leave = c->dw ? NULL : c->k->leave};
    cr_conv_walk_run(&w, scratch, pool);
}

void cr_conv_bf16_run(const cr_conv_bf16 *c, const void *in, int64_t ld_in, void *out,
                      int64_t ld_out, void *scratch, cr_pool *pool)
{
    if (c->wino) {
        cr_winograd_bf16_run(c->wino, in, ld_in, out, ld_out, scratch, pool);
        return;
    }
    if (c->planes) {
        weave_job j = {.planes = in};
        in = weave(c, &j, scratch, pool);
    }
    walk(c, in, ld_in, out, ld_out, scratch, pool);
}

void cr_conv_bf16_run_bytes(const cr_conv_bf16 *c, const uint8_t *pixels,
                            const cr_bf16 table[3][256], void *out, int64_t ld_out, void *scratch,
                            cr_pool *pool)
{
    weave_job j = {.pixels = pixels};
    for (int i = 0; i < 3; i++)
        for (int b = 0; b < 256; b++) {
            cr_bf16 pixel[WOVEN] = {0};
            pixel[i] = table[i][b];
            memcpy(&j.table[i][b], pixel, sizeof pixel);
        }
    walk(c, weave(c, &j, scratch, pool), 0, out, ld_out, scratch, pool);
}
