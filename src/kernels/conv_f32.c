/* Float convolution: packing, the portable tile, the driver. Layout and idea: conv.h. */
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "kernels/conv.h"

/* ---- the portable tile ---- */

enum { C_MR = 4, C_NR = 8 };

static void tile_c(const cr_conv_f32_tile *t)
{
    float acc[C_MR][C_NR] = {{0}};
    const float *w = t->w;
    for (int64_t tap = 0; tap < t->taps; tap++)
        for (int64_t k = 0; k < t->cin; k++, w += C_NR)
            for (int r = 0; r < C_MR; r++)
                for (int j = 0; j < C_NR; j++) acc[r][j] += t->a[tap * C_MR + r][k] * w[j];
    memcpy(t->c, acc, sizeof acc);
}

static const cr_conv_f32_kernel conv_f32_c = {"c", tile_c, C_MR, C_NR, C_NR};

#define CR_CONV_F32_ONLY
#define CR_KERNEL(family, level, symbol) extern const cr_##family symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL

const cr_conv_f32_kernel *cr_conv_f32_level(int level)
{
    switch (level) {
    case CR_CPU_C: return &conv_f32_c;
#define CR_KERNEL(family, level, symbol)                                                           \
    case level: return &symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL
    default: return NULL;
    }
}

const cr_conv_f32_kernel *cr_conv_f32_select(unsigned cpu)
{
    const cr_conv_f32_kernel *best = &conv_f32_c;
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (cr_cpu_has(cpu, (cr_cpu_level)level) && cr_conv_f32_level(level))
            best = cr_conv_f32_level(level);
    return best;
}

/* ---- packing ---- */

struct cr_conv_f32 {
    cr_conv_geometry g;
    const cr_conv_f32_kernel *k;
    const cr_rows *rows;
    cr_act act;
    float *w, *bias, *zero;
    int64_t taps, cin, cout, blocks; /* per group */
    bool depthwise;
};

/* [block][tap][cin][nr], zero where a block has fewer channels. */
static void pack_group(const cr_conv_f32 *c, const float *src, float *dst)
{
    const int nr = c->k->nr;
    for (int64_t b = 0; b < c->blocks; b++)
        for (int64_t tap = 0; tap < c->taps; tap++)
            for (int64_t k = 0; k < c->cin; k++, dst += nr)
                for (int j = 0; j < nr && b * nr + j < c->cout; j++)
                    dst[j] = src[((b * nr + j) * c->cin + k) * c->taps + tap];
}

/* [tap][channel] */
static void pack_depthwise(const cr_conv_f32 *c, const float *src)
{
    for (int64_t ch = 0; ch < c->g.cout; ch++)
        for (int64_t tap = 0; tap < c->taps; tap++)
            c->w[tap * c->g.cout + ch] = src[ch * c->taps + tap];
}

static size_t packed_floats(const cr_conv_f32 *c)
{
    if (c->depthwise) return (size_t)(c->taps * c->g.cout);
    return (size_t)(c->g.groups * c->blocks * c->taps * c->cin * c->k->nr);
}

cr_status cr_conv_f32_create(const cr_conv_geometry *g, const float *weights, const float *bias,
                             const cr_act *act, unsigned cpu, cr_conv_f32 **out, cr_error *err)
{
    *out = NULL;
    CR_CHECK(g->kh * g->kw <= CR_CONV_MAX_TAPS, err, CR_ERR_UNSUPPORTED,
             "a kernel of %lld taps is too large", (long long)(g->kh * g->kw));
    cr_conv_f32 *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    c->g = *g;
    c->k = cr_conv_f32_select(cpu);
    c->rows = cr_rows_get(cpu);
    c->act = *act;
    c->taps = g->kh * g->kw;
    c->cin = g->cin / g->groups;
    c->cout = g->cout / g->groups;
    c->blocks = (c->cout + c->k->nr - 1) / c->k->nr;
    c->depthwise = c->cin == 1 && c->cout == 1 && g->groups > 1;
    c->w = cr_aligned_alloc(packed_floats(c) * sizeof *c->w);
    c->bias = cr_aligned_alloc((size_t)g->cout * sizeof *c->bias);
    c->zero = cr_aligned_alloc((size_t)c->cin * sizeof *c->zero);
    if (!c->w || !c->bias || !c->zero) {
        cr_conv_f32_free(c);
        return CR_NOMEM(err);
    }
    memset(c->w, 0, packed_floats(c) * sizeof *c->w);
    memset(c->zero, 0, (size_t)c->cin * sizeof *c->zero);
    for (int64_t ch = 0; ch < g->cout; ch++) c->bias[ch] = bias ? bias[ch] : 0;
    if (c->depthwise) pack_depthwise(c, weights);
    for (int64_t i = 0; i < g->groups && !c->depthwise; i++)
        pack_group(c, weights + i * c->cout * c->cin * c->taps,
                   c->w + i * c->blocks * c->taps * c->cin * c->k->nr);
    *out = c;
    return CR_OK;
}

void cr_conv_f32_free(cr_conv_f32 *c)
{
    if (!c) return;
    cr_aligned_free(c->w);
    cr_aligned_free(c->bias);
    cr_aligned_free(c->zero);
    cr_free(c);
}

const char *cr_conv_f32_name(const cr_conv_f32 *c)
{
    return c->depthwise ? "dwconv_f32" : "conv_f32";
}

/* ---- running ---- */

typedef struct run_job {
    const cr_conv_f32 *c;
    const float *in;
    float *out;
    int64_t ld_in, ld_out, pixels, tiles, chunk, chunks; /* tiles per chunk; chunks per block */
    unsigned char *scratch;
    size_t per_worker;
} run_job;

/* Pointer table, then one tile of results. */
static size_t worker_bytes(const cr_conv_f32 *c)
{
    const size_t table = (size_t)c->taps * (size_t)c->k->mr * sizeof(void *);
    const size_t tile = (size_t)c->k->mr * (size_t)c->k->nr * sizeof(float);
    return cr_round_up(table, CR_ALIGN) + cr_round_up(tile, CR_ALIGN);
}

size_t cr_conv_f32_scratch(const cr_conv_f32 *c, int threads)
{
    return c->depthwise ? 0 : worker_bytes(c) * (size_t)threads;
}

static void store_tile(const run_job *j, const float *tile, int64_t first, int64_t rows,
                       int64_t channel, int64_t cols)
{
    const cr_conv_f32 *c = j->c;
    for (int64_t r = 0; r < rows; r++) {
        float *y = j->out + (first + r) * j->ld_out + channel;
        const float *x = tile + r * c->k->nr;
        for (int64_t i = 0; i < cols; i++) y[i] = x[i] + c->bias[channel + i];
        if (c->act.kind != CR_ACT_NONE) c->rows->act(y, y, (size_t)cols, &c->act);
    }
}

static void run_chunk(void *ctx, size_t index, int worker)
{
    const run_job *j = ctx;
    const cr_conv_f32 *c = j->c;
    const int64_t block = (int64_t)index / j->chunks, chunk = (int64_t)index % j->chunks;
    const int64_t group = block / c->blocks, b = block % c->blocks;
    const int mr = c->k->mr, nr = c->k->nr;
    unsigned char *mine = j->scratch + (size_t)worker * j->per_worker;
    const unsigned char **a = (const unsigned char **)(void *)mine;
    float *tile = (float *)(void *)(mine + cr_round_up((size_t)c->taps * (size_t)mr * sizeof *a, CR_ALIGN));
    const int64_t cols = c->cout - b * nr < nr ? c->cout - b * nr : nr;
    const cr_conv_walk walk = {&c->g, j->ld_in, sizeof(float), (const unsigned char *)j->in,
                               (const unsigned char *)c->zero, group * c->cin};
    const cr_conv_f32_tile t = {(const float *const *)(void *)a, c->taps, c->cin,
                                c->w + block * c->taps * c->cin * nr, tile,
                                (int)((cols + c->k->lanes - 1) / c->k->lanes)};
    const int64_t last = (chunk + 1) * j->chunk < j->tiles ? (chunk + 1) * j->chunk : j->tiles;
    for (int64_t i = chunk * j->chunk; i < last; i++) {
        const int64_t first = i * mr, rows = j->pixels - first < mr ? j->pixels - first : mr;
        cr_conv_pointers(&walk, first, rows, mr, a);
        c->k->run(&t);
        store_tile(j, tile, first, rows, group * c->cout + b * nr, cols);
    }
}

/* Depthwise: one output row of pixels per task. */
static void run_depthwise(void *ctx, size_t index, int worker)
{
    const run_job *j = ctx;
    const cr_conv_f32 *c = j->c;
    const cr_conv_geometry *g = &c->g;
    const int64_t y = (int64_t)index % g->oh, n = (int64_t)index / g->oh;
    const size_t channels = (size_t)g->cout;
    for (int64_t x = 0; x < g->ow; x++) {
        float *out = j->out + ((n * g->oh + y) * g->ow + x) * j->ld_out;
        memcpy(out, c->bias, channels * sizeof *out);
        for (int64_t ky = 0; ky < g->kh; ky++) {
            const int64_t iy = y * g->stride_h - g->pad_top + ky * g->dil_h;
            if (iy < 0 || iy >= g->h) continue;
            for (int64_t kx = 0; kx < g->kw; kx++) {
                const int64_t ix = x * g->stride_w - g->pad_left + kx * g->dil_w;
                if (ix < 0 || ix >= g->w) continue;
                const float *in = j->in + ((n * g->h + iy) * g->w + ix) * j->ld_in;
                c->rows->fma_f32(out, in, c->w + (size_t)(ky * g->kw + kx) * channels, channels);
            }
        }
        if (c->act.kind != CR_ACT_NONE) c->rows->act(out, out, channels, &c->act);
    }
}

void cr_conv_f32_run(const cr_conv_f32 *c, const float *in, int64_t ld_in, float *out,
                     int64_t ld_out, void *scratch, cr_pool *pool)
{
    const cr_conv_geometry *g = &c->g;
    run_job j = {.c = c, .in = in, .out = out, .ld_in = ld_in ? ld_in : g->ld_in,
                 .ld_out = ld_out ? ld_out : g->ld_out, .pixels = g->n * g->oh * g->ow,
                 .scratch = scratch, .per_worker = worker_bytes(c)};
    if (c->depthwise) {
        cr_pool_run(pool, (size_t)(g->n * g->oh), run_depthwise, &j);
        return;
    }
    j.tiles = (j.pixels + c->k->mr - 1) / c->k->mr;
    const int64_t threads = cr_pool_threads(pool), blocks = c->blocks * g->groups;
    const int64_t wanted = threads == 1 ? 1 : threads * 8; /* work items per block, about */
    j.chunk = (j.tiles + wanted - 1) / wanted;
    j.chunks = (j.tiles + j.chunk - 1) / j.chunk;
    cr_pool_run(pool, (size_t)(blocks * j.chunks), run_chunk, &j);
}
