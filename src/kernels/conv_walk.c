/* The split of a convolution into work items and the pointer tables of its tiles (conv_walk.h). */
#include "kernels/conv_walk.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum {
    SPAN_BYTES = 384 << 10,  /* packed weights that should stay in L2 (a core has 0.5..2 MB) */
    ITEMS_PER_THREAD = 16,   /* pieces per thread, so that a slow thread costs 1/8 of its share */
    MIN_ITEM_MACS = 1 << 18, /* some 10 us of work: far above the cost of handing an item out */
};

static const int64_t EXTENT = 1 << 28;

static bool within(int64_t v, int64_t lo)
{
    return v >= lo && v <= EXTENT;
}

static bool volume_fits(int64_t n, int64_t h, int64_t w, int64_t ld)
{
    int64_t v;
    return !__builtin_mul_overflow(n * h, w, &v) && !__builtin_mul_overflow(v, ld, &v) &&
           v <= INT64_MAX / 64;
}

cr_status cr_conv_geometry_check(const cr_conv_geometry *g, cr_error *err)
{
    const int64_t positive[] = {g->n,        g->h,     g->w,     g->cin,   g->oh,
                                g->ow,       g->cout,  g->kh,    g->kw,    g->stride_h,
                                g->stride_w, g->dil_h, g->dil_w, g->groups};
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
        CR_CHECK(within(positive[i], 1), err, CR_ERR_ARGUMENT,
                 "convolution: size %lld is outside 1..2^28", (long long)positive[i]);
    CR_CHECK(within(g->pad_top, 0) && within(g->pad_left, 0), err, CR_ERR_ARGUMENT,
             "convolution: padding %lld, %lld is outside 0..2^28", (long long)g->pad_top,
             (long long)g->pad_left);
    CR_CHECK(g->cin % g->groups == 0 && g->cout % g->groups == 0, err, CR_ERR_ARGUMENT,
             "convolution: %lld groups do not divide %lld and %lld channels", (long long)g->groups,
             (long long)g->cin, (long long)g->cout);
    CR_CHECK(g->ld_in >= g->cin && g->ld_out >= g->cout && g->ld_in <= EXTENT &&
                 g->ld_out <= EXTENT,
             err, CR_ERR_ARGUMENT, "convolution: pixel strides %lld, %lld do not fit the channels",
             (long long)g->ld_in, (long long)g->ld_out);
    CR_CHECK(g->kh <= CR_CONV_MAX_TAPS && g->kw <= CR_CONV_MAX_TAPS &&
                 g->kh * g->kw <= CR_CONV_MAX_TAPS,
             err, CR_ERR_UNSUPPORTED, "convolution: a %lldx%lld window has more than %d taps",
             (long long)g->kh, (long long)g->kw, CR_CONV_MAX_TAPS);
    CR_CHECK(volume_fits(g->n, g->h, g->w, g->ld_in) && volume_fits(g->n, g->oh, g->ow, g->ld_out),
             err, CR_ERR_ARGUMENT, "convolution: the tensors are too large to address");
    return CR_OK;
}

/* ---- pointer tables ---- */

/* An output pixel (column, line, n) and the input coordinates (x, y) of its window's first tap. */
typedef struct window_place {
    int64_t n, line, column, y, x;
} window_place;

static window_place find_window(const cr_conv_geometry *g, int64_t index)
{
    const int64_t row = index / g->ow, n = row / g->oh;
    const int64_t line = row - n * g->oh, column = index - row * g->ow;
    return (window_place){n, line, column, line * g->stride_h - g->pad_top,
                          column * g->stride_w - g->pad_left};
}

/* `pixels` further, which a handful of steps reaches: no division. */
static void advance(const cr_conv_geometry *g, window_place *p, int64_t pixels)
{
    p->column += pixels;
    while (p->column >= g->ow) {
        p->column -= g->ow;
        if (++p->line < g->oh) continue;
        p->line = 0;
        p->n++;
    }
    p->y = p->line * g->stride_h - g->pad_top;
    p->x = p->column * g->stride_w - g->pad_left;
}

static const unsigned char *zero_row(const cr_conv_walk *w, int64_t channel)
{
    return w->zero_by_group ? w->zero + (size_t)channel * w->element : w->zero;
}

/* Windows of neighbouring pixels of a line: `count` columns of the table from column r on. One tap
 * of them is pointers a constant step apart, but for those that hang over the left or right edge.
 */
static void point_segment(const cr_conv_walk *w, const window_place *p, int count, int64_t channel,
                          const unsigned char **a)
{
    const cr_conv_geometry *g = w->g;
    const int64_t pixel = w->ld_in * (int64_t)w->element, step = g->stride_w * pixel;
    const int64_t reach = (count - 1) * g->stride_w;
    const unsigned char *zero = zero_row(w, channel);
    for (int64_t ky = 0; ky < g->kh; ky++) {
        const int64_t y = p->y + ky * g->dil_h;
        const bool outside = y < 0 || y >= g->h;
        const int64_t row = ((p->n * g->h + y) * g->w) * pixel + channel * (int64_t)w->element;
        for (int64_t kx = 0; kx < g->kw; kx++, a += w->mr) {
            const int64_t x = p->x + kx * g->dil_w;
            const unsigned char *from = w->in + (outside ? 0 : row);
            int first = 0, end = outside ? 0 : count;
            while (first < end && x + first * g->stride_w < 0) a[first++] = zero;
            if (x + reach >= g->w)
                while (end > first && x + (end - 1) * g->stride_w >= g->w) end--;
            const unsigned char *at = from + (x * pixel + first * step);
            for (int r = first; r < end; r++, at += step) a[r] = at;
            for (int r = end; r < count; r++) a[r] = zero;
        }
    }
}

static void point_tile(const cr_conv_walk *w, window_place p, int rows, int64_t channel,
                       const unsigned char **a)
{
    for (int r = 0; r < rows;) {
        const int64_t left = w->g->ow - p.column;
        const int count = left < rows - r ? (int)left : rows - r;
        point_segment(w, &p, count, channel, a + r);
        r += count;
        if (r < rows) advance(w->g, &p, count);
    }
    const int64_t taps = w->g->kh * w->g->kw;
    for (int64_t tap = 0; tap < taps && rows < w->mr; tap++, a += w->mr)
        for (int r = rows; r < w->mr; r++) a[r] = a[rows - 1];
}

/* The windows of `mr` pixels from p on are side by side and away from the left and right edges. */
static bool is_line(const cr_conv_walk *w, const window_place *p, int rows)
{
    const cr_conv_geometry *g = w->g;
    return rows == w->mr && p->column + rows <= g->ow && p->x >= 0 &&
           p->x + (rows - 1) * g->stride_w + (g->kw - 1) * g->dil_w < g->w;
}

/* Taps of a kernel row that touch: pixels without gaps, and no padding inside a step. */
static bool joins_taps(const cr_conv_walk *w)
{
    const cr_conv_geometry *g = w->g;
    return w->line_step && w->ld_in == g->cin && g->groups == 1 && g->dil_w == 1 &&
           g->cin % w->line_step == 0;
}

static void point_line(const cr_conv_walk *w, const window_place *p, int64_t channel, bool joined,
                       cr_conv_line *line)
{
    const cr_conv_geometry *g = w->g;
    const int64_t pixel = w->ld_in * (int64_t)w->element, across = joined ? 1 : g->kw;
    for (int64_t ky = 0; ky < g->kh; ky++) {
        const int64_t y = p->y + ky * g->dil_h;
        const bool padding = y < 0 || y >= g->h;
        const unsigned char *row =
            w->in + ((p->n * g->h + y) * g->w + p->x) * pixel + channel * (int64_t)w->element;
        for (int64_t kx = 0; kx < across; kx++, line++)
            *line = padding ? (cr_conv_line){zero_row(w, channel), 0}
                            : (cr_conv_line){row + kx * g->dil_w * pixel, g->stride_w * pixel};
    }
}

/* ---- work items ---- */

typedef struct item_plan {
    const cr_conv_walk *w;
    int64_t pixels, tiles, blocks; /* blocks: per group */
    int64_t span, spans;           /* blocks per item; spans per group */
    int64_t chunk, chunks;         /* tiles per item; chunks of tiles */
    unsigned char *scratch;
    size_t table_bytes, worker_bytes;
    int group; /* tiles per call */
} item_plan;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static size_t table_bytes(const cr_conv_geometry *g, int mr)
{
    const size_t pointers = (size_t)mr * sizeof(void *);
    const size_t each = pointers > sizeof(cr_conv_line) ? pointers : sizeof(cr_conv_line);
    return cr_round_up((size_t)(g->kh * g->kw) * each, CR_ALIGN);
}

/* A worker's memory: tables, then room for results. */
static size_t worker_bytes(const cr_conv_geometry *g, int mr, size_t tile_bytes, bool grouped)
{
    const size_t count = grouped ? CR_CONV_GROUP : 1;
    return count * table_bytes(g, mr) + cr_round_up(count * tile_bytes, CR_ALIGN);
}

size_t cr_conv_walk_scratch(const cr_conv_geometry *g, int mr, size_t tile_bytes, bool grouped,
                            int threads)
{
    return worker_bytes(g, mr, tile_bytes, grouped) * (size_t)threads;
}

/* Gives the place its lines where it can, else its table of pointers. */
static void point_place(const cr_conv_walk *w, const window_place *p, int64_t channel, bool joined,
                        unsigned char *own, cr_conv_place *place)
{
    const cr_conv_geometry *g = w->g;
    const bool line = w->line_step && is_line(w, p, place->rows);
    place->taps = line && joined ? g->kh : g->kh * g->kw;
    place->run = (line && joined ? g->kw : 1) * w->depth;
    place->a = line ? NULL : (const unsigned char *const *)(void *)own;
    place->line = line ? (const cr_conv_line *)(void *)own : NULL;
    if (line)
        point_line(w, p, channel, joined, (cr_conv_line *)(void *)own);
    else
        point_tile(w, *p, place->rows, channel, (const unsigned char **)(void *)own);
}

/* A work item on its way: a group of tiles, pointed to once, for all blocks of the span. */
typedef struct item_state {
    const item_plan *plan;
    unsigned char *own;
    window_place window; /* of the next tile */
    int64_t group, channel;
    int worker;
    bool joined;
} item_state;

static void point_group(item_state *s, int64_t tile, int count, cr_conv_place *places)
{
    const item_plan *p = s->plan;
    const cr_conv_walk *w = p->w;
    unsigned char *room = s->own + (size_t)p->group * p->table_bytes;
    for (int i = 0; i < count; i++, advance(w->g, &s->window, w->mr)) {
        const int64_t pixel = (tile + i) * w->mr, left = p->pixels - pixel;
        places[i] = (cr_conv_place){.group = s->group,
                                    .pixel = pixel,
                                    .rows = left < w->mr ? (int)left : w->mr,
                                    .worker = s->worker,
                                    .tile = room};
        point_place(w, &s->window, s->channel, s->joined, s->own + (size_t)i * p->table_bytes,
                    &places[i]);
    }
}

static void compute_block(const cr_conv_walk *w, cr_conv_place *places, int count, int64_t block,
                          bool first)
{
    for (int i = 0; i < count; i++) {
        places[i].block = block;
        places[i].first = first;
    }
    if (w->compute_group)
        w->compute_group(w->ctx, places, count);
    else
        w->compute(w->ctx, places);
}

static void run_item(void *ctx, size_t index, int worker)
{
    const item_plan *p = ctx;
    const cr_conv_walk *w = p->w;
    const int64_t chunk = (int64_t)index % p->chunks, spans = (int64_t)index / p->chunks;
    const int64_t group = spans / p->spans, block0 = spans % p->spans * p->span;
    const int64_t block1 = block0 + p->span < p->blocks ? block0 + p->span : p->blocks;
    const int64_t tile1 = (chunk + 1) * p->chunk < p->tiles ? (chunk + 1) * p->chunk : p->tiles;
    cr_conv_place places[CR_CONV_GROUP];
    item_state s = {.plan = p,
                    .own = p->scratch + p->worker_bytes * (size_t)worker,
                    .window = find_window(w->g, chunk * p->chunk * w->mr),
                    .group = group,
                    .channel = w->depthwise ? 0 : group * w->depth,
                    .worker = worker,
                    .joined = joins_taps(w)};
    if (w->enter) w->enter();
    for (int64_t t = chunk * p->chunk; t < tile1; t += p->group) {
        const int count = tile1 - t < p->group ? (int)(tile1 - t) : p->group;
        point_group(&s, t, count, places);
        for (int64_t block = block0; block < block1; block++)
            compute_block(w, places, count, block, block == block0);
    }
    if (w->leave) w->leave();
}

/* Ranges of tiles: enough items to balance the threads, none so small that handing it out shows. */
static int64_t choose_chunk(const item_plan *p, int threads)
{
    const cr_conv_geometry *g = p->w->g;
    if (threads == 1) return p->tiles;
    const int64_t groups = p->w->depthwise ? 1 : g->groups;
    const int64_t want = ceil_div((int64_t)threads * ITEMS_PER_THREAD, groups * p->spans);
    const int64_t depth = p->w->depthwise ? 1 : g->cin / g->groups;
    const int64_t width = p->w->depthwise ? g->cout : p->span * p->w->nr;
    const double tile_macs = (double)(g->kh * g->kw * depth) * (double)width * p->w->mr;
    int64_t least = (int64_t)(MIN_ITEM_MACS / tile_macs) + 1;
    const int64_t fair = ceil_div(p->tiles, want < p->tiles ? want : p->tiles);
    if (least > ceil_div(p->tiles, threads)) least = ceil_div(p->tiles, threads);
    return fair > least ? fair : least;
}

/* A 1x1 window over every pixel knows no rows: all pictures are one line. */
static cr_conv_geometry flatten(const cr_conv_geometry *g)
{
    cr_conv_geometry flat = *g;
    if (g->kh * g->kw == 1 && g->stride_h * g->stride_w == 1 && !g->pad_top && !g->pad_left &&
        g->oh == g->h && g->ow == g->w) {
        flat.n = flat.h = flat.oh = 1;
        flat.w = flat.ow = g->n * g->h * g->w;
    }
    return flat;
}

void cr_conv_walk_run(const cr_conv_walk *walk, void *scratch, cr_pool *pool)
{
    const cr_conv_geometry flat = flatten(walk->g), *g = &flat;
    cr_conv_walk own = *walk, *const w = &own;
    own.g = &flat;
    own.depth = g->cin / g->groups;
    item_plan p = {.w = w, .scratch = scratch, .pixels = g->n * g->oh * g->ow};
    p.tiles = ceil_div(p.pixels, w->mr);
    p.blocks = w->depthwise ? 1 : ceil_div(g->cout / g->groups, w->nr);
    p.span = w->block_bytes < SPAN_BYTES ? (int64_t)(SPAN_BYTES / (w->block_bytes + 1)) : 1;
    if (p.span < 1) p.span = 1;
    if (p.span > p.blocks) p.span = p.blocks;
    p.spans = ceil_div(p.blocks, p.span);
    p.chunk = choose_chunk(&p, cr_pool_threads(pool));
    p.chunks = ceil_div(p.tiles, p.chunk);
    p.table_bytes = table_bytes(g, w->mr);
    p.worker_bytes = worker_bytes(g, w->mr, w->tile_bytes, w->compute_group != NULL);
    p.group = w->compute_group ? CR_CONV_GROUP : 1;
    const int64_t groups = w->depthwise ? 1 : g->groups;
    cr_pool_run(pool, (size_t)(groups * p.spans * p.chunks), run_item, &p);
}
