/* Int8 convolution: packing, the portable tile, the driver. Layout and idea: conv.h.
 *
 * sum((a - za) * w) = sum(a * w) - za * sum(w): the second term is folded into the bias when the
 * weights are packed, and padding taps read za, so kernels multiply raw codes. Sums wrap like the
 * reference's; with int8 weights they cannot overflow below 2^16 products. */
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "crayon/arith.h"
#include "kernels/conv.h"

/* ---- the portable tile ---- */

enum { C_MR = 4, C_NR = 8 };

static void tile_c(const cr_conv_s8_tile *t)
{
    int32_t acc[C_MR][C_NR] = {{0}};
    const int8_t *w = t->w;
    for (int64_t tap = 0; tap < t->taps; tap++)
        for (int64_t k = 0; k < t->cin; k++, w += C_NR)
            for (int r = 0; r < C_MR; r++)
                for (int j = 0; j < C_NR; j++)
                    acc[r][j] += (int32_t)t->a[tap * C_MR + r][k] * w[j];
    memcpy(t->c, acc, sizeof acc);
}

static const cr_conv_s8_kernel conv_s8_c = {"c", tile_c, C_MR, C_NR, C_NR, 1, false};

#define CR_CONV_S8_ONLY
#define CR_KERNEL(family, level, symbol) extern const cr_##family symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL

const cr_conv_s8_kernel *cr_conv_s8_level(int level)
{
    switch (level) {
    case CR_CPU_C: return &conv_s8_c;
#define CR_KERNEL(family, level, symbol)                                                           \
    case level: return &symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL
    default: return NULL;
    }
}

const cr_conv_s8_kernel *cr_conv_s8_select(unsigned cpu)
{
    const cr_conv_s8_kernel *best = &conv_s8_c;
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (cr_cpu_has(cpu, (cr_cpu_level)level) && cr_conv_s8_level(level))
            best = cr_conv_s8_level(level);
    return best;
}

/* ---- packing ---- */

struct cr_conv_s8 {
    cr_conv_geometry g;
    const cr_conv_s8_kernel *k;
    const cr_rows *rows;
    unsigned char *w;
    int16_t *depth_w;              /* [tap][channel] */
    int32_t *bias;                 /* with -za*sum(w) */
    float *multiplier;
    uint8_t *zero;
    cr_conv_s8_params p;
    int64_t taps, cin, cout, blocks, steps; /* per group; steps of kg channels */
    bool depthwise;
};

static void put_weight(const cr_conv_s8 *c, unsigned char *block, int64_t at, int8_t w)
{
    if (c->k->wide) ((int16_t *)(void *)block)[at] = w;
    else ((int8_t *)block)[at] = w;
}

static size_t weight_size(const cr_conv_s8 *c) { return c->k->wide ? 2 : 1; }

static size_t block_bytes(const cr_conv_s8 *c)
{
    return (size_t)(c->taps * c->steps * c->k->nr * c->k->kg) * weight_size(c);
}

static void pack_block(const cr_conv_s8 *c, const int8_t *src, int64_t b, unsigned char *dst)
{
    const int nr = c->k->nr, kg = c->k->kg;
    for (int64_t tap = 0; tap < c->taps; tap++)
        for (int64_t k = 0; k < c->cin; k++)
            for (int j = 0; j < nr && b * nr + j < c->cout; j++) {
                const int64_t at = ((tap * c->steps + k / kg) * nr + j) * kg + k % kg;
                put_weight(c, dst, at, src[((b * nr + j) * c->cin + k) * c->taps + tap]);
            }
}

static void pack_weights(cr_conv_s8 *c, const int8_t *weights)
{
    if (c->depthwise) {
        for (int64_t ch = 0; ch < c->g.cout; ch++)
            for (int64_t tap = 0; tap < c->taps; tap++)
                c->depth_w[tap * c->g.cout + ch] = weights[ch * c->taps + tap];
        return;
    }
    for (int64_t i = 0; i < c->g.groups; i++)
        for (int64_t b = 0; b < c->blocks; b++)
            pack_block(c, weights + i * c->cout * c->cin * c->taps, b,
                       c->w + (size_t)(i * c->blocks + b) * block_bytes(c));
}

static void fold_bias(cr_conv_s8 *c, const cr_conv_s8_params *p)
{
    const int64_t per = c->cin * c->taps;
    for (int64_t ch = 0; ch < c->g.cout; ch++) {
        int32_t sum = 0;
        for (int64_t i = 0; i < per; i++) sum += p->weights[ch * per + i];
        c->bias[ch] = cr_wrap_add(p->bias ? p->bias[ch] : 0, -cr_wrap_mul(p->zero_in, sum));
    }
}

cr_status cr_conv_s8_create(const cr_conv_geometry *g, const cr_conv_s8_params *p, unsigned cpu,
                            cr_conv_s8 **out, cr_error *err)
{
    *out = NULL;
    CR_CHECK(g->kh * g->kw <= CR_CONV_MAX_TAPS, err, CR_ERR_UNSUPPORTED,
             "a kernel of %lld taps is too large", (long long)(g->kh * g->kw));
    cr_conv_s8 *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    c->g = *g;
    c->p = *p;
    c->k = cr_conv_s8_select(cpu);
    c->rows = cr_rows_get(cpu);
    c->taps = g->kh * g->kw;
    c->cin = g->cin / g->groups;
    c->cout = g->cout / g->groups;
    c->blocks = (c->cout + c->k->nr - 1) / c->k->nr;
    c->steps = (c->cin + c->k->kg - 1) / c->k->kg;
    c->depthwise = c->cin == 1 && c->cout == 1 && g->groups > 1;
    const size_t packed = c->depthwise ? 0 : (size_t)(g->groups * c->blocks) * block_bytes(c);
    const size_t depth = c->depthwise ? (size_t)(c->taps * g->cout) * sizeof *c->depth_w : 0;
    c->w = cr_aligned_alloc(packed);
    c->depth_w = cr_aligned_alloc(depth);
    c->bias = cr_aligned_alloc((size_t)g->cout * sizeof *c->bias);
    c->multiplier = cr_aligned_alloc((size_t)g->cout * sizeof *c->multiplier);
    c->zero = cr_aligned_alloc((size_t)c->cin);
    if (!c->w || !c->depth_w || !c->bias || !c->multiplier || !c->zero) {
        cr_conv_s8_free(c);
        return CR_NOMEM(err);
    }
    memset(c->w, 0, packed);
    memset(c->zero, p->zero_in, (size_t)c->cin);
    memcpy(c->multiplier, p->multiplier, (size_t)g->cout * sizeof *c->multiplier);
    pack_weights(c, p->weights);
    fold_bias(c, p);
    c->p.weights = NULL;
    c->p.bias = NULL;
    c->p.multiplier = NULL;
    *out = c;
    return CR_OK;
}

void cr_conv_s8_free(cr_conv_s8 *c)
{
    if (!c) return;
    cr_aligned_free(c->w);
    cr_aligned_free(c->depth_w);
    cr_aligned_free(c->bias);
    cr_aligned_free(c->multiplier);
    cr_aligned_free(c->zero);
    cr_free(c);
}

const char *cr_conv_s8_name(const cr_conv_s8 *c)
{
    return c->depthwise ? "dwconv_s8" : "conv_s8";
}

/* ---- running ---- */

typedef struct run_job {
    const cr_conv_s8 *c;
    const uint8_t *in;
    void *out;
    int64_t ld_in, ld_out, pixels, tiles, chunk, chunks;
    unsigned char *scratch;
    size_t per_worker;
} run_job;

static size_t table_bytes(const cr_conv_s8 *c)
{
    return cr_round_up((size_t)c->taps * (size_t)c->k->mr * sizeof(void *), CR_ALIGN);
}

static size_t worker_bytes(const cr_conv_s8 *c)
{
    if (c->depthwise) return cr_round_up((size_t)c->g.cout * sizeof(int32_t), CR_ALIGN);
    return table_bytes(c) +
           cr_round_up((size_t)c->k->mr * (size_t)c->k->nr * sizeof(int32_t), CR_ALIGN);
}

size_t cr_conv_s8_scratch(const cr_conv_s8 *c, int threads)
{
    return worker_bytes(c) * (size_t)threads;
}

/* One row of finished sums to the output. */
static void finish_row(const run_job *j, const int32_t *acc, int64_t pixel, int64_t channel,
                       int64_t cols)
{
    const cr_conv_s8 *c = j->c;
    const cr_finish f = {c->multiplier + channel, c->p.act, c->p.scale_out, c->p.zero_out};
    const int64_t at = pixel * j->ld_out + channel;
    if (c->p.float_out) c->rows->finish_f32((float *)j->out + at, acc, (size_t)cols, &f);
    else c->rows->finish_u8((uint8_t *)j->out + at, acc, (size_t)cols, &f);
}

static void run_chunk(void *ctx, size_t index, int worker)
{
    const run_job *j = ctx;
    const cr_conv_s8 *c = j->c;
    const int64_t block = (int64_t)index / j->chunks, chunk = (int64_t)index % j->chunks;
    const int64_t group = block / c->blocks, b = block % c->blocks;
    const int mr = c->k->mr, nr = c->k->nr;
    unsigned char *mine = j->scratch + (size_t)worker * j->per_worker;
    const unsigned char **a = (const unsigned char **)(void *)mine;
    int32_t *tile = (int32_t *)(void *)(mine + table_bytes(c));
    const int64_t cols = c->cout - b * nr < nr ? c->cout - b * nr : nr;
    const int64_t channel = group * c->cout + b * nr;
    const cr_conv_walk walk = {&c->g, j->ld_in, 1, j->in, c->zero, group * c->cin};
    const cr_conv_s8_tile t = {a, c->taps, c->cin, c->w + (size_t)block * block_bytes(c), tile,
                               (int)((cols + c->k->lanes - 1) / c->k->lanes)};
    const int64_t last = (chunk + 1) * j->chunk < j->tiles ? (chunk + 1) * j->chunk : j->tiles;
    for (int64_t i = chunk * j->chunk; i < last; i++) {
        const int64_t first = i * mr, rows = j->pixels - first < mr ? j->pixels - first : mr;
        cr_conv_pointers(&walk, first, rows, mr, a);
        c->k->run(&t);
        for (int64_t r = 0; r < rows; r++) {
            int32_t *acc = tile + r * nr;
            for (int64_t i2 = 0; i2 < cols; i2++) acc[i2] = cr_wrap_add(acc[i2], c->bias[channel + i2]);
            finish_row(j, acc, first + r, channel, cols);
        }
    }
}

/* Depthwise: one output row of pixels per task. Taps on padding contribute za * w. */
static void run_depthwise(void *ctx, size_t index, int worker)
{
    const run_job *j = ctx;
    const cr_conv_s8 *c = j->c;
    const cr_conv_geometry *g = &c->g;
    const int64_t y = (int64_t)index % g->oh, n = (int64_t)index / g->oh;
    const size_t channels = (size_t)g->cout;
    int32_t *acc = (int32_t *)(void *)(j->scratch + (size_t)worker * j->per_worker);
    for (int64_t x = 0; x < g->ow; x++) {
        memcpy(acc, c->bias, channels * sizeof *acc);
        for (int64_t tap = 0; tap < c->taps; tap++) {
            const int64_t iy = y * g->stride_h - g->pad_top + tap / g->kw * g->dil_h;
            const int64_t ix = x * g->stride_w - g->pad_left + tap % g->kw * g->dil_w;
            const int16_t *w = c->depth_w + (size_t)tap * channels;
            if (iy >= 0 && iy < g->h && ix >= 0 && ix < g->w)
                c->rows->fma_s32(acc, j->in + ((n * g->h + iy) * g->w + ix) * j->ld_in, w, channels);
            else
                for (size_t i = 0; i < channels; i++) acc[i] += c->p.zero_in * w[i];
        }
        finish_row(j, acc, (n * g->oh + y) * g->ow + x, 0, g->cout);
    }
}

void cr_conv_s8_run(const cr_conv_s8 *c, const uint8_t *in, int64_t ld_in, void *out,
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
    const int64_t wanted = threads == 1 ? 1 : threads * 8;
    j.chunk = (j.tiles + wanted - 1) / wanted;
    j.chunks = (j.tiles + j.chunk - 1) / j.chunk;
    cr_pool_run(pool, (size_t)(blocks * j.chunks), run_chunk, &j);
}
