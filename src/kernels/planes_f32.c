/* Planes: the portable kernels, laying out, packing and the split among threads (idea:
 * planes_f32.h).
 *
 * A sum's work item is (group, stretch of places) x (some blocks of rows): the lines that a stretch
 * reads stay in L2 while the weights stream by. Tiles within one row of the picture are stored in
 * place, others go through a buffer, without the columns that are dropped. */
#include "kernels/planes_f32.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/vec_c.h"

#define PLANES(name)     planes_f32_##name##_c
#define PLANES_MR        4
#define PLANES_NV        2
#define PLANES_DR        2
#define PLANES_DC        1
#define PLANES_EACH_ROWS PLANES_ROWS(1) PLANES_ROWS(2) PLANES_ROWS(3) PLANES_ROWS(4)
#define PLANES_EACH_DOT  PLANES_DOT(1, 1) PLANES_DOT(2, 1)
#include "kernels/planes_f32_body.h"

static const cr_planes_f32_kernel planes_f32_c = PLANES_RECORD("planes_f32 c 4x8");

#define CR_PLANES_F32_ONLY
#define KERNEL_RECORD cr_planes_f32_kernel
#define KERNEL_C      planes_f32_c
#define KERNEL_LEVEL  cr_planes_f32_level
#define KERNEL_SELECT cr_planes_f32_select
#include "kernels/select.h"

enum {
    STRETCH_BYTES = 256 << 10, /* lines that a work item reads: a quarter of the smallest L2 met */
    LEAST_STRETCH = 512,       /* places that dots add up before they fold */
    MOST_STRETCH = 4096,
    ITEMS_PER_THREAD = 4
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Where part i of `total` begins when it is shared out evenly among `parts`. */
static int64_t part_at(int64_t total, int64_t parts, int64_t i)
{
    return total * i / parts;
}

/* ---- the plan ---- */

static void *take(cr_planes *p, char *scratch, int64_t count, size_t size)
{
    const size_t at = p->bytes;
    p->bytes += cr_round_up((size_t)count * size, 64);
    return scratch ? scratch + at : NULL;
}

/* A picture whose pixels are its places is one long row. */
static bool is_direct(const cr_conv_geometry *g)
{
    return g->kh == 1 && g->kw == 1 && g->stride_h == 1 && g->stride_w == 1 && !g->pad_top &&
           !g->pad_left && g->oh == g->h && g->ow == g->w;
}

static int64_t tap_phase(const cr_conv_geometry *g, int64_t tap)
{
    const int64_t y = tap / g->kw * g->dil_h % g->stride_h,
                  x = tap % g->kw * g->dil_w % g->stride_w;
    return y * g->stride_w + x;
}

static int64_t tap_distance(const cr_planes *p, int64_t tap)
{
    const cr_conv_geometry *g = &p->g;
    return tap / g->kw * g->dil_h / g->stride_h * p->pitch + tap % g->kw * g->dil_w / g->stride_w;
}

void cr_planes_plan(const cr_conv_geometry *geometry, const cr_planes_f32_kernel *kernel,
                    void *scratch, cr_planes *p)
{
    *p = (cr_planes){.g = *geometry, .kernel = kernel, .direct = is_direct(geometry)};
    cr_conv_geometry *g = &p->g;
    if (p->direct) {
        g->w = g->ow = g->h * g->w;
        g->h = g->oh = 1;
    }
    p->taps = g->kh * g->kw;
    p->phases = g->stride_h * g->stride_w;
    p->reach_y = (g->kh - 1) * g->dil_h / g->stride_h;
    p->reach_x = (g->kw - 1) * g->dil_w / g->stride_w;
    p->pitch = larger(g->ow + p->reach_x, (g->w - 1 + g->pad_left) / g->stride_w + 1);
    p->plane = p->pitch * larger(g->oh + p->reach_y, (g->h - 1 + g->pad_top) / g->stride_h + 1);
    p->places = (g->oh - 1) * p->pitch + g->ow;
    p->lead = p->reach_y * p->pitch + p->reach_x;
    p->place_plane = p->lead + p->plane;
    const int64_t fits = STRETCH_BYTES / 4 / (g->cin + g->cout) / CR_PLANES_PARTS * CR_PLANES_PARTS;
    p->stretch = larger(LEAST_STRETCH, smaller(fits, MOST_STRETCH));
    if (!p->direct) {
        p->picture_room = take(p, scratch, g->cin * p->phases * p->plane, sizeof(float));
        p->place_room = take(p, scratch, g->cout * p->place_plane, sizeof(float));
    }
    p->packed = take(p, scratch, g->cout * (g->cin / g->groups) * p->taps, sizeof(float));
    p->tap = take(p, scratch, p->taps, sizeof(int64_t));
    p->off = take(p, scratch, p->taps, sizeof(int64_t));
}

/* ---- laying out ---- */

typedef struct lay_job {
    const cr_planes *p;
    const float *from;
    float *to;
} lay_job;

/* One phase of one channel: every value of `plane` floats is written. */
static void lay_phase(const cr_planes *p, int64_t phase, const float *from, float *to)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t fy = phase / g->stride_w - g->pad_top, fx = phase % g->stride_w - g->pad_left;
    const int64_t c0 = fx < 0 ? ceil_div(-fx, g->stride_w) : 0;
    const int64_t c1 = smaller(p->pitch, fx < g->w ? (g->w - 1 - fx) / g->stride_w + 1 : 0);
    for (int64_t r = 0; r < p->plane / p->pitch; r++, to += p->pitch) {
        const int64_t y = r * g->stride_h + fy;
        if (y < 0 || y >= g->h || c0 >= c1) {
            memset(to, 0, (size_t)p->pitch * sizeof *to);
            continue;
        }
        const float *line = from + y * g->w + fx;
        memset(to, 0, (size_t)c0 * sizeof *to);
        if (g->stride_w == 1)
            memcpy(to + c0, line + c0, (size_t)(c1 - c0) * sizeof *to);
        else
            for (int64_t c = c0; c < c1; c++) to[c] = line[c * g->stride_w];
        memset(to + c1, 0, (size_t)(p->pitch - c1) * sizeof *to);
    }
}

static void lay_picture_channel(void *ctx, size_t index, int worker)
{
    const lay_job *j = ctx;
    const cr_planes *p = j->p;
    const float *from = j->from + (int64_t)index * p->g.h * p->g.w;
    float *to = j->to + (int64_t)index * p->phases * p->plane;
    (void)worker;
    for (int64_t phase = 0; phase < p->phases; phase++)
        for (int64_t tap = 0; tap < p->taps; tap++)
            if (tap_phase(&p->g, tap) == phase) {
                lay_phase(p, phase, from, to + phase * p->plane);
                break;
            }
}

static void lay_place_channel(void *ctx, size_t index, int worker)
{
    const lay_job *j = ctx;
    const cr_planes *p = j->p;
    const int64_t ow = p->g.ow;
    const float *from = j->from + (int64_t)index * p->g.oh * ow;
    float *to = j->to + (int64_t)index * p->place_plane, *const end = to + p->place_plane;
    (void)worker;
    memset(to, 0, (size_t)p->lead * sizeof *to);
    to += p->lead;
    for (int64_t r = 0; r < p->g.oh; r++, to += p->pitch, from += ow) {
        memcpy(to, from, (size_t)ow * sizeof *to);
        memset(to + ow, 0, (size_t)(p->pitch - ow) * sizeof *to);
    }
    memset(to, 0, (size_t)(end - to) * sizeof *to);
}

void cr_planes_lay_picture(cr_planes *p, const float *picture, cr_pool *pool)
{
    lay_job j = {p, picture, p->picture_room};
    p->picture = p->direct ? picture : p->picture_room;
    if (!p->direct) cr_pool_run(pool, (size_t)p->g.cin, lay_picture_channel, &j);
}

void cr_planes_lay_places(cr_planes *p, const float *places, cr_pool *pool)
{
    lay_job j = {p, places, p->place_room};
    p->laid = p->direct ? places : p->place_room;
    if (!p->direct) cr_pool_run(pool, (size_t)p->g.cout, lay_place_channel, &j);
}

/* ---- packing ---- */

typedef struct pack_job {
    const float *w;
    float *to;
    int64_t rows, channels, blocks;    /* per group, of the product */
    int64_t w_row, w_channel, w_group; /* floats from one to the next in w */
    const int64_t *tap;                /* [taps] */
    int64_t taps;
} pack_job;

/* One block of rows: [channel][tap][rows]. */
static void pack_block(void *ctx, size_t index, int worker)
{
    const pack_job *j = ctx;
    const int64_t group = (int64_t)index / j->blocks, block = (int64_t)index % j->blocks;
    const int64_t first = part_at(j->rows, j->blocks, block);
    const int64_t rows = part_at(j->rows, j->blocks, block + 1) - first;
    const float *w = j->w + group * j->w_group + first * j->w_row;
    float *to = j->to + (group * j->rows + first) * j->channels * j->taps;
    (void)worker;
    for (int64_t k = 0; k < j->channels; k++)
        for (int64_t t = 0; t < j->taps; t++, to += rows) {
            const float *from = w + k * j->w_channel + j->tap[t];
            for (int64_t r = 0; r < rows; r++) to[r] = from[r * j->w_row];
        }
}

static void pack(const cr_planes *p, pack_job *j, cr_pool *pool)
{
    j->blocks = ceil_div(j->rows, p->kernel->mr);
    j->w_group = j->rows * j->channels * p->taps;
    if (j->taps) cr_pool_run(pool, (size_t)(p->g.groups * j->blocks), pack_block, j);
}

void cr_planes_pack_places(const cr_planes *p, const float *w, cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    pack_job j = {.w = w,
                  .to = p->packed,
                  .rows = g->cout / g->groups,
                  .channels = g->cin / g->groups,
                  .w_row = g->cin / g->groups * p->taps,
                  .w_channel = p->taps,
                  .tap = p->tap,
                  .taps = p->taps};
    for (int64_t tap = 0; tap < p->taps; tap++) p->tap[tap] = tap;
    pack(p, &j, pool);
}

/* Taps of one phase, in their order, from tap[0] on. */
static int64_t taps_of(const cr_planes *p, int64_t phase, int64_t *tap)
{
    int64_t count = 0;
    for (int64_t i = 0; i < p->taps; i++)
        if (tap_phase(&p->g, i) == phase) tap[count++] = i;
    return count;
}

/* Phase after phase. */
void cr_planes_pack_picture(const cr_planes *p, const float *w, cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    for (int64_t phase = 0, done = 0; phase < p->phases; phase++) {
        pack_job j = {.w = w,
                      .to = p->packed + g->cin * (g->cout / g->groups) * done,
                      .rows = g->cin / g->groups,
                      .channels = g->cout / g->groups,
                      .w_row = p->taps,
                      .w_channel = g->cin / g->groups * p->taps,
                      .tap = p->tap};
        j.taps = taps_of(p, phase, p->tap);
        pack(p, &j, pool);
        done += j.taps;
    }
}

/* ---- sums ---- */

/* Numbered places of a laid-out plane, and where their values go: p = r * pitch + c, of rows
 * r0..r1-1 and columns c0..c1-1, to out[r * down + c * right + base] of a plane. */
typedef struct window_of {
    int64_t pitch, r0, r1, c0, c1, down, right, base;
} window_of;

typedef struct sums_job {
    const cr_planes *p;
    const float *in, *packed, *bias;
    int64_t in_plane, in_group, rows, channels, taps, blocks;
    const int64_t *off;
    float *out;
    int64_t out_plane;
    window_of at;
    bool add;
    int64_t first, count;         /* places */
    int64_t chunk, chunks, parts; /* places of an item; items along them; items of blocks */
} sums_job;

/* A tile's columns from place `place` on, without those that are dropped. */
static void put_tile(const sums_job *j, const float *tile, int64_t place, int rows, int cols,
                     float *out)
{
    const window_of *at = &j->at;
    const cr_planes_f32_kernel *k = j->p->kernel;
    int64_t r = place / at->pitch, c = place % at->pitch;
    for (int64_t i = 0; i < cols; r++, c = 0) {
        const int64_t run = smaller(at->pitch - c, cols - i);
        const int64_t lo = larger(c, at->c0), hi = smaller(c + run, at->c1);
        if (lo < hi && r >= at->r0 && r < at->r1) {
            const cr_planes_put put = {.y = out + r * at->down + lo * at->right + at->base,
                                       .y_down = j->out_plane,
                                       .step = at->right,
                                       .x = tile + i + lo - c,
                                       .x_down = k->nr,
                                       .rows = rows,
                                       .n = (int)(hi - lo),
                                       .add = j->add};
            k->put(&put);
        }
        i += run;
    }
}

static void sum_tile(const sums_job *j, cr_planes_sums *t, int64_t place, float *out)
{
    const window_of *at = &j->at;
    const int64_t r = place / at->pitch, c = place % at->pitch;
    if (at->right == 1 && c >= at->c0 && c + t->cols <= at->c1) {
        t->out = out + r * at->down + c + at->base;
        t->out_down = j->out_plane;
        t->add = j->add;
        j->p->kernel->sums(t);
        return;
    }
    float tile[CR_PLANES_MAX_MR * CR_PLANES_MAX_NR];
    t->out = tile;
    t->out_down = j->p->kernel->nr;
    t->add = false;
    j->p->kernel->sums(t);
    put_tile(j, tile, place, t->rows, t->cols, out);
}

static void sums_item(void *ctx, size_t index, int worker)
{
    const sums_job *j = ctx;
    const int nr = j->p->kernel->nr;
    const int64_t part = (int64_t)index % j->parts, rest = (int64_t)index / j->parts;
    const int64_t group = rest / j->chunks, from = rest % j->chunks * j->chunk;
    const int64_t to = smaller(from + j->chunk, j->count);
    const float *in = j->in + group * j->in_group;
    (void)worker;
    cr_planes_sums t = {
        .plane = j->in_plane, .channels = j->channels, .taps = j->taps, .off = j->off};
    for (int64_t b = part_at(j->blocks, j->parts, part); b < part_at(j->blocks, j->parts, part + 1);
         b++) {
        const int64_t first = part_at(j->rows, j->blocks, b);
        const int64_t row = group * j->rows + first;
        t.rows = (int)(part_at(j->rows, j->blocks, b + 1) - first);
        t.w = j->packed + row * j->channels * j->taps;
        t.bias = j->bias ? j->bias + row : NULL;
        for (int64_t i = from; i < to; i += nr) {
            t.in = in + j->first + i;
            t.cols = (int)smaller(nr, to - i);
            sum_tile(j, &t, j->first + i, j->out + row * j->out_plane);
        }
    }
}

static void run_sums(sums_job *j, cr_pool *pool)
{
    const cr_planes *p = j->p;
    const int64_t nr = p->kernel->nr, groups = p->g.groups;
    const int64_t wanted = (int64_t)cr_pool_threads(pool) * ITEMS_PER_THREAD;
    j->first = j->at.r0 * j->at.pitch + j->at.c0;
    j->count = (j->at.r1 - 1 - j->at.r0) * j->at.pitch + j->at.c1 - j->at.c0;
    const int64_t fits = STRETCH_BYTES / 4 / (j->channels * p->phases),
                  tiles = ceil_div(j->count, nr);
    const int64_t each = larger(2, smaller(fits / nr, ceil_div(tiles * groups, wanted)));
    j->chunks = ceil_div(tiles, each);
    j->chunk = ceil_div(tiles, j->chunks) * nr;
    j->chunks = ceil_div(j->count, j->chunk);
    j->parts = larger(1, smaller(j->blocks, ceil_div(wanted, groups * j->chunks)));
    cr_pool_run(pool, (size_t)(groups * j->chunks * j->parts), sums_item, j);
}

void cr_planes_to_places(const cr_planes *p, const float *bias, float *places, bool add,
                         cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t rows = g->cout / g->groups, channels = g->cin / g->groups;
    for (int64_t tap = 0; tap < p->taps; tap++)
        p->off[tap] = tap_phase(g, tap) * p->plane + tap_distance(p, tap);
    sums_job j = {.p = p,
                  .in = p->picture,
                  .packed = p->packed,
                  .bias = bias,
                  .rows = rows,
                  .channels = channels,
                  .taps = p->taps,
                  .blocks = ceil_div(rows, p->kernel->mr),
                  .off = p->off,
                  .in_plane = p->phases * p->plane,
                  .out = places,
                  .out_plane = g->oh * g->ow,
                  .add = add};
    j.in_group = channels * j.in_plane;
    j.at = (window_of){p->pitch, 0, g->oh, 0, g->ow, g->ow, 1, 0};
    run_sums(&j, pool);
}

/* The rows or columns of a phase that lie in the picture: *lo..*hi-1. */
static void phase_span(int64_t start, int64_t extent, int64_t stride, int64_t *lo, int64_t *hi)
{
    *lo = start < 0 ? ceil_div(-start, stride) : 0;
    *hi = start < extent ? (extent - 1 - start) / stride + 1 : 0;
}

/* done: taps of the phases before. */
static int64_t to_phase(const cr_planes *p, int64_t phase, int64_t done, const float *bias,
                        float *picture, bool add, cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t fy = phase / g->stride_w - g->pad_top, fx = phase % g->stride_w - g->pad_left;
    const int64_t rows = g->cin / g->groups, channels = g->cout / g->groups;
    sums_job j = {.p = p,
                  .in = p->laid + p->lead,
                  .bias = bias,
                  .rows = rows,
                  .packed = p->packed + g->cin * channels * done,
                  .channels = channels,
                  .taps = taps_of(p, phase, p->off),
                  .blocks = ceil_div(rows, p->kernel->mr),
                  .off = p->off,
                  .in_plane = p->place_plane,
                  .out = picture,
                  .out_plane = g->h * g->w,
                  .add = add};
    j.in_group = channels * j.in_plane;
    j.at = (window_of){.pitch = p->pitch,
                       .down = g->stride_h * g->w,
                       .right = g->stride_w,
                       .base = fy * g->w + fx};
    phase_span(fy, g->h, g->stride_h, &j.at.r0, &j.at.r1);
    phase_span(fx, g->w, g->stride_w, &j.at.c0, &j.at.c1);
    for (int64_t i = 0; i < j.taps; i++) p->off[i] = -tap_distance(p, p->off[i]);
    if (j.at.r0 < j.at.r1 && j.at.c0 < j.at.c1) run_sums(&j, pool);
    return j.taps;
}

void cr_planes_to_picture(const cr_planes *p, const float *bias, float *picture, bool add,
                          cr_pool *pool)
{
    for (int64_t phase = 0, done = 0; phase < p->phases; phase++)
        done += to_phase(p, phase, done, bias, picture, add, pool);
}

/* ---- dots ---- */

typedef struct dots_job {
    const cr_planes *p;
    float *dw;
    int64_t rows, cols, row_tiles, col_tiles; /* per group */
    int64_t row_parts, col_parts;
} dots_job;

static void dots_stretch(const dots_job *j, int64_t group, int64_t from, int64_t row_part,
                         int64_t col_part)
{
    const cr_planes *p = j->p;
    const float *picture = p->picture + group * (j->cols / p->taps) * p->phases * p->plane + from;
    const float *laid = p->laid + p->lead + group * j->rows * p->place_plane + from;
    cr_planes_dots t = {
        .a_down = p->place_plane, .n = smaller(p->stretch, p->places - from), .c_down = j->cols};
    for (int64_t y = part_at(j->row_tiles, j->row_parts, row_part);
         y < part_at(j->row_tiles, j->row_parts, row_part + 1); y++) {
        const int64_t row = part_at(j->rows, j->row_tiles, y);
        t.rows = (int)(part_at(j->rows, j->row_tiles, y + 1) - row);
        t.a = laid + row * p->place_plane;
        for (int64_t x = part_at(j->col_tiles, j->col_parts, col_part);
             x < part_at(j->col_tiles, j->col_parts, col_part + 1); x++) {
            const float *b[CR_PLANES_MAX_COLS];
            const int64_t col = part_at(j->cols, j->col_tiles, x);
            t.cols = (int)(part_at(j->cols, j->col_tiles, x + 1) - col);
            int64_t tap = col % p->taps;
            const float *plane = picture + col / p->taps * p->phases * p->plane;
            for (int i = 0; i < t.cols; i++) {
                b[i] = plane + p->off[tap];
                if (++tap < p->taps) continue;
                tap = 0;
                plane += p->phases * p->plane;
            }
            t.b = b;
            t.c = j->dw + (group * j->rows + row) * j->cols + col;
            p->kernel->dots(&t);
        }
    }
}

static void dots_item(void *ctx, size_t index, int worker)
{
    const dots_job *j = ctx;
    const int64_t col_part = (int64_t)index % j->col_parts, rest = (int64_t)index / j->col_parts;
    (void)worker;
    for (int64_t from = 0; from < j->p->places; from += j->p->stretch)
        dots_stretch(j, rest / j->row_parts, from, rest % j->row_parts, col_part);
}

void cr_planes_to_weights(const cr_planes *p, float *dw, cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    dots_job j = {
        .p = p, .dw = dw, .rows = g->cout / g->groups, .cols = g->cin / g->groups * p->taps};
    const int64_t wanted = (int64_t)cr_pool_threads(pool) * ITEMS_PER_THREAD;
    j.row_tiles = ceil_div(j.rows, p->kernel->dot_rows);
    j.col_tiles = ceil_div(j.cols, p->kernel->dot_cols);
    j.row_parts = smaller(j.row_tiles, ceil_div(wanted, g->groups));
    j.col_parts = smaller(j.col_tiles, ceil_div(wanted, g->groups * j.row_parts));
    for (int64_t tap = 0; tap < p->taps; tap++)
        p->off[tap] = tap_phase(g, tap) * p->plane + tap_distance(p, tap);
    cr_pool_run(pool, (size_t)(g->groups * j.row_parts * j.col_parts), dots_item, &j);
}
