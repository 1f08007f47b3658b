/* Int8 depthwise convolution: the portable level, packing, and the walk over bands (dwconv_s8.h).
 */
#include "kernels/dwconv_s8.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernels/vec_c.h"

/* ---- the portable level: rows widened to int16 one by one (P = 1) ---- */

typedef int16_t DX __attribute__((vector_size(8)));
#define DW(name)          dwconv_s8_##name##_c
#define DW_MR             4
#define DX_LOAD(p)        load_c(p)
#define DX_DOT(acc, x, w) ((acc) + __builtin_convertvector(x, VI) * __builtin_convertvector(w, VI))

static inline DX load_c(const void *p)
{
    DX v;
    memcpy(&v, p, sizeof v);
    return v;
}

#include "kernels/dwconv_s8_body.h"

static void DW(zip)(const cr_dwconv_zip *z)
{
    for (int64_t x = 0; x < z->columns; x++) {
        const uint8_t *row = z->row[0] + x * z->step[0];
        unsigned char *out = z->out + x * (int64_t)sizeof(DX);
        for (int64_t c = 0; c < z->channels; c++) {
            const int16_t code = row[c];
            memcpy(out + c / VN * z->plane + c % VN * (int64_t)sizeof code, &code, sizeof code);
        }
    }
}

static const cr_dwconv_s8_kernel dwconv_s8_c = DW_RECORD("c", 1, 2);

#define CR_DWCONV_S8_ONLY
#define KERNEL_RECORD cr_dwconv_s8_kernel
#define KERNEL_C      dwconv_s8_c
#define KERNEL_LEVEL  cr_dwconv_s8_level
#define KERNEL_SELECT cr_dwconv_s8_select
#include "kernels/select.h"

/* ---- packing ---- */

enum {
    UNIT_BYTES = 24 << 10,   /* zipped rows and sums of a unit: half of an L1 cache of 48 KB */
    UNIT_CHANNELS = 64,      /* a cache line of codes: units are no narrower than this */
    UNIT_PIXELS = 16,        /* nor shorter than this */
    ITEMS_PER_THREAD = 8,    /* as in conv_walk.c */
    MAX_EXTENT = 64,         /* of windows: they bound the scratch, to some MB */
    MIN_ITEM_SUMS = 1 << 15, /* some 10 us of work */
};

bool cr_dwconv_s8_takes(const cr_conv_geometry *g)
{
    return g->cin == g->groups && g->cout == g->groups && g->groups > 1 && g->kh <= MAX_EXTENT &&
           g->stride_h <= MAX_EXTENT && g->stride_w <= MAX_EXTENT &&
           (g->kw - 1) * g->dil_w < 4 * MAX_EXTENT;
}

struct cr_dwconv_s8 {
    cr_conv_geometry g;
    const cr_dwconv_s8_kernel *k;
    int64_t groups, band;   /* groups of zipped rows; output rows that they serve */
    int64_t vectors;        /* of all channels */
    int64_t part, pixels;   /* vectors and output pixels of a unit; the last ones have fewer */
    size_t size, band_size; /* bytes of a vector of weights, of an output row's weights */
    unsigned char *w;
    int32_t *bias;
    int planes;         /* of bytes: 2 for wide codes */
    uint8_t *zero;      /* [planes] a pixel of zero points */
    unsigned char *pad; /* [planes][vectors] as zipping leaves it */
};

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t count_columns(const cr_conv_geometry *g, int64_t pixels)
{
    return (pixels - 1) * g->stride_w + (g->kw - 1) * g->dil_w + 1;
}

/* Of a plane, as is what follows. */
static size_t zipped_bytes(const cr_dwconv_s8 *d)
{
    const size_t vectors = (size_t)(d->part * d->groups * count_columns(&d->g, d->pixels));
    return cr_round_up(vectors * d->size, CR_ALIGN);
}

static size_t sum_bytes(const cr_dwconv_s8 *d)
{
    return cr_round_up((size_t)(d->pixels * d->part * d->k->lanes) * sizeof(int32_t), CR_ALIGN);
}

/* In floats: whole rows of wide pictures may be more than 2^64 bytes. */
static bool is_too_large(const cr_dwconv_s8 *d)
{
    const double columns = (double)(d->groups * count_columns(&d->g, d->pixels));
    const double sums = (double)d->pixels * d->k->lanes * (double)sizeof(int32_t);
    return d->planes * (double)d->part * (columns * (double)d->size + sums) > UNIT_BYTES;
}

/* Fewer channels first (a row of pixels is read and written in order), then fewer pixels. */
static void choose_unit(cr_dwconv_s8 *d)
{
    const int64_t line = UNIT_CHANNELS / d->k->lanes;
    d->part = d->vectors;
    d->pixels = d->g.ow;
    for (int64_t n = 2; is_too_large(d) && d->part > line; n++)
        d->part = (int64_t)cr_round_up((size_t)ceil_div(d->vectors, n), (size_t)line);
    for (int64_t n = 2; is_too_large(d) && d->pixels > UNIT_PIXELS; n++)
        d->pixels = ceil_div(d->g.ow, n);
}

/* The best kernel whose weights have room for these. */
static const cr_dwconv_s8_kernel *choose_kernel(const cr_conv_geometry *g, const int16_t *weights,
                                                unsigned cpu)
{
    const cr_dwconv_s8_kernel *best = cr_dwconv_s8_select(cpu);
    bool bytes = true;
    for (int64_t i = 0; i < g->cout * g->kh * g->kw; i++)
        bytes = bytes && weights[i] >= -128 && weights[i] <= 127;
    if (bytes || best->element == 2) return best;
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        const cr_dwconv_s8_kernel *k = cr_dwconv_s8_level(level);
        if (cr_cpu_has(cpu, (cr_cpu_level)level) && k && (best->element == 1 || k->element == 2))
            best = k;
    }
    return best;
}

static void set_up(cr_dwconv_s8 *d, const cr_conv_geometry *g, const int16_t *weights, unsigned cpu)
{
    d->g = *g;
    d->k = choose_kernel(g, weights, cpu);
    d->groups = ceil_div(g->kh, d->k->rows);
    d->band = g->dil_h == 1 ? (d->groups * d->k->rows - g->kh) / g->stride_h + 1 : 1;
    if (d->band > g->oh) d->band = g->oh;
    d->vectors = ceil_div(g->cout, d->k->lanes);
    d->size = (size_t)(d->k->lanes * d->k->rows * d->k->element);
    d->band_size = (size_t)(d->vectors * d->groups * g->kw) * d->size;
    choose_unit(d);
}

/* A code or a weight at `place` of zipped vectors. */
static void put_zipped(const cr_dwconv_s8 *d, unsigned char *vectors, int64_t place, int16_t value)
{
    const int8_t byte = (int8_t)value;
    if (d->k->element == 1)
        memcpy(vectors + place, &byte, 1);
    else
        memcpy(vectors + 2 * place, &value, sizeof value);
}

static size_t pad_bytes(const cr_dwconv_s8 *d)
{
    return (size_t)d->vectors * d->size;
}

/* Pixels of zero points' bytes from bit `shift` on, plain and zipped. */
static void pack_zeros(cr_dwconv_s8 *d, const int32_t *zeros, int plane, int shift)
{
    for (int64_t c = 0; c < d->g.cin; c++) {
        const uint8_t byte = (uint8_t)(zeros[c] >> shift & 255);
        d->zero[plane * d->g.cin + c] = byte;
        for (int64_t i = 0; i < d->k->rows; i++)
            put_zipped(d, d->pad + (size_t)plane * pad_bytes(d), c * d->k->rows + i, byte);
    }
}

/* A weight where the zipped code is that it is multiplied with. */
static void put_weight(const cr_dwconv_s8 *d, int64_t row, int64_t channel, int64_t ky, int64_t kx,
                       int16_t weight)
{
    const int64_t lanes = d->k->lanes, rows = d->k->rows, at = row * d->g.stride_h + ky;
    const int64_t vector =
        ((row * d->vectors + channel / lanes) * d->groups + at / rows) * d->g.kw + kx;
    put_zipped(d, d->w + (size_t)vector * d->size, channel % lanes * rows + at % rows, weight);
}

static void pack(cr_dwconv_s8 *d, const int16_t *weights)
{
    const cr_conv_geometry *g = &d->g;
    for (int64_t row = 0; row < d->band; row++)
        for (int64_t c = 0; c < g->cout; c++)
            for (int64_t i = 0; i < g->kh * g->kw; i++)
                put_weight(d, row, c, i / g->kw, i % g->kw, weights[c * g->kh * g->kw + i]);
}

static cr_status allocate(cr_dwconv_s8 *d, cr_error *err)
{
    const size_t lanes = (size_t)(d->vectors * d->k->lanes);
    size_t w = 0;
    CR_CHECK(cr_mul_size(d->band_size, (size_t)d->band, &w), err, CR_ERR_ARGUMENT,
             "convolution: the weights are too large to address");
    d->w = cr_aligned_alloc(w);
    d->bias = cr_aligned_alloc(lanes * sizeof *d->bias);
    d->zero = cr_aligned_alloc((size_t)d->planes * (size_t)d->g.cin);
    d->pad = cr_aligned_alloc((size_t)d->planes * pad_bytes(d));
    if (!d->w || !d->bias || !d->zero || !d->pad) return CR_NOMEM(err);
    memset(d->pad, 0, (size_t)d->planes * pad_bytes(d));
    memset(d->w, 0, w);
    memset(d->bias, 0, lanes * sizeof *d->bias);
    return CR_OK;
}

cr_status cr_dwconv_s8_create(const cr_conv_geometry *g, const int16_t *weights, const int32_t *bias,
                              const int32_t *zeros_in, bool wide, unsigned cpu, cr_dwconv_s8 **out,
                              cr_error *err)
{
    *out = NULL;
    cr_dwconv_s8 *d = cr_calloc(1, sizeof *d);
    if (!d) return CR_NOMEM(err);
    d->planes = wide ? 2 : 1;
    set_up(d, g, weights, cpu);
    const cr_status st = allocate(d, err);
    if (st != CR_OK) {
        cr_dwconv_s8_free(d);
        return st;
    }
    pack(d, weights);
    memcpy(d->bias, bias, (size_t)g->cout * sizeof *bias);
    for (int i = 0; i < d->planes; i++) pack_zeros(d, zeros_in, i, wide && i == 0 ? 8 : 0);
    *out = d;
    return CR_OK;
}

void cr_dwconv_s8_free(cr_dwconv_s8 *d)
{
    if (!d) return;
    cr_aligned_free(d->w);
    cr_aligned_free(d->bias);
    cr_aligned_free(d->zero);
    cr_aligned_free(d->pad);
    cr_free(d);
}

const char *cr_dwconv_s8_name(const cr_dwconv_s8 *d)
{
    return d->k->name;
}

size_t cr_dwconv_s8_scratch(const cr_dwconv_s8 *d, int threads)
{
    return (size_t)d->planes * (zipped_bytes(d) + sum_bytes(d)) * (size_t)threads;
}

/* ---- running ---- */

typedef struct run_job {
    const cr_dwconv_s8 *d;
    const uint8_t *in;
    int64_t ld_in, plane_in; /* plane_in: bytes from one plane to the next */
    cr_conv_s8_finish finish;
    const void *ctx;
    unsigned char *scratch;
    int64_t bands, pieces, parts; /* per picture, per band, per piece */
    int64_t units, chunk;
} run_job;

/* Output rows y.. y+rows-1, pixels x.., channels of vectors v... */
typedef struct unit {
    int64_t n, y, x, v, rows, pixels, vectors, channels, columns;
    unsigned char *zipped; /* [planes] */
    int32_t *sums;         /* [planes] */
} unit;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static unit find_unit(const run_job *j, int64_t index, int worker)
{
    const cr_dwconv_s8 *d = j->d;
    const int64_t piece = index / j->parts, band = piece / j->pieces, lanes = d->k->lanes;
    unit u = {.n = band / j->bands,
              .y = band % j->bands * d->band,
              .x = piece % j->pieces * d->pixels,
              .v = index % j->parts * d->part};
    u.rows = least(d->band, d->g.oh - u.y);
    u.pixels = least(d->pixels, d->g.ow - u.x);
    u.vectors = least(d->part, d->vectors - u.v);
    u.channels = least(u.vectors * lanes, d->g.cout - u.v * lanes);
    u.columns = count_columns(&d->g, u.pixels);
    u.zipped = j->scratch + cr_dwconv_s8_scratch(d, worker);
    u.sums = (int32_t *)(void *)(u.zipped + (size_t)d->planes * zipped_bytes(d));
    return u;
}

/* Columns of a plane's padding for vector v of channels. */
static void fill(const cr_dwconv_s8 *d, int plane, int64_t v, unsigned char *out, int64_t columns)
{
    const unsigned char *pad = d->pad + (size_t)plane * pad_bytes(d) + (size_t)v * d->size;
    for (; columns > 0; columns--, out += d->size) memcpy(out, pad, d->size);
}

/* Group `at` of the unit's input rows: padding left and right, the picture's columns between. */
static void zip_group(const run_job *j, const unit *u, int plane, int64_t at)
{
    const cr_dwconv_s8 *d = j->d;
    const cr_conv_geometry *g = &d->g;
    const int64_t size = (int64_t)d->size, x = u->x * g->stride_w - g->pad_left;
    const int64_t left = x < 0 ? least(-x, u->columns) : 0;
    const int64_t right = x + u->columns > g->w ? least(x + u->columns - g->w, u->columns) : 0;
    const int64_t needed = (u->rows - 1) * g->stride_h + g->kh;
    cr_dwconv_zip z = {.columns = u->columns - left - right,
                       .channels = u->channels,
                       .plane = d->groups * u->columns * size};
    unsigned char *out =
        u->zipped + (size_t)plane * zipped_bytes(d) + at * u->columns * size;
    const uint8_t *in = j->in + plane * j->plane_in, *zero = d->zero + plane * g->cin;
    for (int64_t v = 0; v < u->vectors && left; v++)
        fill(d, plane, u->v + v, out + v * z.plane, left);
    for (int64_t v = 0; v < u->vectors && right; v++)
        fill(d, plane, u->v + v, out + v * z.plane + (u->columns - right) * size, right);
    if (z.columns <= 0) return;
    for (int i = 0; i < d->k->rows; i++) {
        const int64_t row = at * d->k->rows + i,
                      y = u->y * g->stride_h - g->pad_top + row * g->dil_h;
        const bool inside = row < needed && y >= 0 && y < g->h;
        z.row[i] = inside ? in + ((u->n * g->h + y) * g->w + x + left) * j->ld_in : zero;
        z.row[i] += u->v * d->k->lanes;
        z.step[i] = inside ? j->ld_in : 0;
    }
    z.out = out + left * size;
    d->k->zip(&z);
}

static void run_row(const run_job *j, const unit *u, int plane, int64_t row, int32_t *sums)
{
    const cr_dwconv_s8 *d = j->d;
    const cr_conv_geometry *g = &d->g;
    const cr_dwconv_s8_tile t = {.x = u->zipped + (size_t)plane * zipped_bytes(d),
                                 .w = d->w + (size_t)row * d->band_size +
                                      (size_t)(u->v * d->groups * g->kw) * d->size,
                                 .bias = d->bias + u->v * d->k->lanes,
                                 .c = sums,
                                 .vectors = u->vectors,
                                 .groups = d->groups,
                                 .columns = u->columns,
                                 .kw = g->kw,
                                 .pixels = u->pixels,
                                 .stride = g->stride_w,
                                 .dil = g->dil_w};
    d->k->run(&t);
}

static void run_unit(const run_job *j, const unit *u)
{
    const cr_dwconv_s8 *d = j->d;
    const cr_conv_geometry *g = &d->g;
    const int64_t lanes = d->k->lanes;
    int32_t *const low = d->planes == 2 ? u->sums + sum_bytes(d) / sizeof *u->sums : NULL;
    for (int plane = 0; plane < d->planes; plane++)
        for (int64_t i = 0; i < d->groups; i++) zip_group(j, u, plane, i);
    for (int64_t row = 0; row < u->rows; row++) {
        run_row(j, u, 0, row, u->sums);
        if (low) run_row(j, u, 1, row, low);
        j->finish(j->ctx, (u->n * g->oh + u->y + row) * g->ow + u->x, u->pixels, u->v * lanes,
                  u->channels, u->sums, low, u->vectors * lanes);
    }
}

static void run_chunk(void *ctx, size_t index, int worker)
{
    const run_job *j = ctx;
    const int64_t first = (int64_t)index * j->chunk, end = least(first + j->chunk, j->units);
    for (int64_t i = first; i < end; i++) {
        const unit u = find_unit(j, i, worker);
        run_unit(j, &u);
    }
}

void cr_dwconv_s8_run(const cr_dwconv_s8 *d, const uint8_t *in, int64_t ld_in,
                      cr_conv_s8_finish finish, const void *ctx, void *scratch, cr_pool *pool)
{
    const cr_conv_geometry *g = &d->g;
    run_job j = {
        .d = d, .in = in, .ld_in = ld_in, .finish = finish, .ctx = ctx, .scratch = scratch};
    j.plane_in = g->n * g->h * g->w * ld_in;
    j.bands = ceil_div(g->oh, d->band);
    j.pieces = ceil_div(g->ow, d->pixels);
    j.parts = ceil_div(d->vectors, d->part);
    j.units = g->n * j.bands * j.pieces * j.parts;
    const int threads = cr_pool_threads(pool);
    const int64_t sums = d->band * d->pixels * d->part * d->k->lanes;
    j.chunk = threads == 1 ? j.units : ceil_div(j.units, (int64_t)threads * ITEMS_PER_THREAD);
    if (j.chunk < MIN_ITEM_SUMS / sums + 1)
        j.chunk = least(MIN_ITEM_SUMS / sums + 1, ceil_div(j.units, threads));
    cr_pool_run(pool, (size_t)ceil_div(j.units, j.chunk), run_chunk, &j);
}
