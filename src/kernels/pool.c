/* Max pooling, columns first, then rows. The maxima of a window's columns over its rows go into a
 * strip of pixels on the stack; there a window of k pixels is the maximum of two windows of m
 * pixels, k - m apart, m the power of two below k: windows double in place until they are that
 * wide. So an output costs kh + log2(kw) + 1 maxima instead of kh * kw, and all steps along a strip
 * are one call on one long row. Padding holds the lowest value. A strip has as many channels as fit
 * a row of the picture, else 64 bytes of them, and then as many pixels as fit.
 *
 * Rejected: columns by doubling too (they would need a strip per row, hence scratch of the session;
 * the calls along rows are the larger part already). Windows too wide for a strip, such as those of
 * a whole picture, go tap by tap: they hardly overlap. */
#include "kernels/pool.h"

#include <math.h>
#include <string.h>

enum {
    STRIP_BYTES = 16 << 10, /* a third of an L1 cache, and no burden on a thread's stack */
    LINE = 64,              /* bytes of the narrowest strip */
    LEAST_BYTES = 32 << 10  /* maxima of a work item: some us */
};

typedef struct pool_job {
    const cr_pool_geometry *g;
    const cr_rows *k;
    const cr_rows_bf16 *bf16; /* with two bytes per element */
    const unsigned char *in;
    unsigned char *out;
    size_t element;
    int64_t channels, pixels; /* of a strip: elements; output pixels */
    int64_t rows;             /* output rows of a work item */
} pool_job;

/* y = max(y, x) on n elements. */
static void fold(const pool_job *j, unsigned char *y, const unsigned char *x, int64_t n)
{
    if (j->element == 1)
        j->k->max_u8(y, x, (size_t)n);
    else if (j->element == sizeof(cr_bf16))
        j->bf16->max((cr_bf16 *)(void *)y, (const cr_bf16 *)(const void *)x, (size_t)n);
    else
        j->k->max_f32((float *)(void *)y, (const float *)(const void *)x, (size_t)n);
}

static size_t bytes_of(const pool_job *j, int64_t elements)
{
    return (size_t)elements * j->element;
}

/* Channel c of an input or output pixel. */
static const unsigned char *input_at(const pool_job *j, int64_t n, int64_t y, int64_t x, int64_t c)
{
    const cr_pool_geometry *g = j->g;
    return j->in + bytes_of(j, ((n * g->h + y) * g->w + x) * g->ld_in + c);
}

static unsigned char *output_at(const pool_job *j, int64_t n, int64_t y, int64_t x, int64_t c)
{
    const cr_pool_geometry *g = j->g;
    return j->out + bytes_of(j, ((n * g->oh + y) * g->ow + x) * g->ld_out + c);
}

/* ---- strips ---- */

/* Output pixels x.. of row y, channels c... */
typedef struct strip {
    int64_t n, y, x, c, pixels, channels, columns;
    unsigned char *data; /* [columns][channels] */
} strip;

/* What every value is above. Bfloat16 are ordered by sign and magnitude: all ones are lowest. */
static void fill_lowest(const pool_job *j, unsigned char *p, int64_t n)
{
    const float lowest = -INFINITY;
    if (j->element < sizeof lowest) memset(p, j->element == 1 ? 0 : 0xFF, bytes_of(j, n));
    for (int64_t i = 0; j->element == sizeof lowest && i < n; i++)
        memcpy(p + (size_t)i * sizeof lowest, &lowest, sizeof lowest);
}

/* One row of the picture into `columns` pixels of the strip: copied, or the larger of the two. */
static void fold_row(const pool_job *j, const strip *s, unsigned char *to,
                     const unsigned char *from, int64_t columns, bool copies)
{
    const bool touch = j->g->ld_in == s->channels;
    const int64_t n = touch ? columns * s->channels : s->channels;
    for (int64_t i = 0; i < (touch ? 1 : columns); i++) {
        if (copies)
            memcpy(to, from, bytes_of(j, n));
        else
            fold(j, to, from, n);
        to += bytes_of(j, s->channels);
        from += bytes_of(j, j->g->ld_in);
    }
}

static void fold_columns(const pool_job *j, const strip *s)
{
    const cr_pool_geometry *g = j->g;
    const int64_t x = s->x * g->stride_w - g->pad_left, end = x + s->columns;
    const int64_t left = x < 0 ? -x : 0, right = end > g->w ? end - g->w : 0;
    const int64_t inside = s->columns - left - right;
    unsigned char *to = s->data + bytes_of(j, left * s->channels);
    bool first = true;
    fill_lowest(j, s->data, left * s->channels);
    fill_lowest(j, s->data + bytes_of(j, (s->columns - right) * s->channels), right * s->channels);
    for (int64_t ky = 0; ky < g->kh; ky++) {
        const int64_t y = s->y * g->stride_h - g->pad_top + ky * g->dil_h;
        if (y < 0 || y >= g->h) continue;
        fold_row(j, s, to, input_at(j, s->n, y, x + left, s->c), inside, first);
        first = false;
    }
}

/* The strip's pixel i becomes the maximum of pixels i, i + dil, .., i + (kw-1) * dil. */
static void widen_windows(const pool_job *j, const strip *s)
{
    const cr_pool_geometry *g = j->g;
    for (int64_t wide = 1; wide < g->kw;) {
        const int64_t more = 2 * wide <= g->kw ? wide : g->kw - wide, apart = more * g->dil_w;
        fold(j, s->data, s->data + bytes_of(j, apart * s->channels),
             (s->columns - apart) * s->channels);
        wide += more;
    }
}

static void pool_strip(const pool_job *j, const strip *s)
{
    const cr_pool_geometry *g = j->g;
    fold_columns(j, s);
    widen_windows(j, s);
    for (int64_t i = 0; i < s->pixels; i++)
        memcpy(output_at(j, s->n, s->y, s->x + i, s->c),
               s->data + bytes_of(j, i * g->stride_w * s->channels), bytes_of(j, s->channels));
}

static int64_t count_columns(const cr_pool_geometry *g, int64_t pixels)
{
    return (pixels - 1) * g->stride_w + (g->kw - 1) * g->dil_w + 1;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void pool_row(const pool_job *j, int64_t row)
{
    const cr_pool_geometry *g = j->g;
    _Alignas(LINE) unsigned char data[STRIP_BYTES];
    strip s = {.n = row / g->oh, .y = row % g->oh, .data = data};
    for (s.x = 0; s.x < g->ow; s.x += j->pixels) {
        s.pixels = least(j->pixels, g->ow - s.x);
        s.columns = count_columns(g, s.pixels);
        for (s.c = 0; s.c < g->c; s.c += j->channels) {
            s.channels = least(j->channels, g->c - s.c);
            pool_strip(j, &s);
        }
    }
}

/* False: not even one window fits a strip. */
static bool choose_strip(pool_job *j)
{
    const cr_pool_geometry *g = j->g;
    const int64_t room = STRIP_BYTES / (int64_t)j->element, line = LINE / (int64_t)j->element;
    const int64_t wanted = room / count_columns(g, g->ow);
    j->channels = wanted >= g->c ? g->c : wanted > line ? wanted / line * line : line;
    j->channels = least(j->channels, g->c);
    const int64_t columns = room / j->channels, reach = (g->kw - 1) * g->dil_w;
    if (columns <= reach) return false;
    j->pixels = least((columns - reach - 1) / g->stride_w + 1, g->ow);
    return true;
}

/* ---- tap by tap ---- */

/* One output pixel: the maximum over the taps that lie inside. */
static void pool_pixel(const pool_job *j, int64_t n, int64_t y, int64_t x)
{
    const cr_pool_geometry *g = j->g;
    unsigned char *out = output_at(j, n, y, x, 0);
    bool first = true;
    for (int64_t ky = 0; ky < g->kh; ky++) {
        const int64_t iy = y * g->stride_h - g->pad_top + ky * g->dil_h;
        if (iy < 0 || iy >= g->h) continue;
        for (int64_t kx = 0; kx < g->kw; kx++) {
            const int64_t ix = x * g->stride_w - g->pad_left + kx * g->dil_w;
            if (ix < 0 || ix >= g->w) continue;
            if (first)
                memcpy(out, input_at(j, n, iy, ix, 0), bytes_of(j, g->c));
            else
                fold(j, out, input_at(j, n, iy, ix, 0), g->c);
            first = false;
        }
    }
}

/* ---- running ---- */

static void run_rows(void *ctx, size_t index, int worker)
{
    const pool_job *j = ctx;
    const cr_pool_geometry *g = j->g;
    const int64_t first = (int64_t)index * j->rows, end = least(first + j->rows, g->n * g->oh);
    for (int64_t row = first; row < end; row++) {
        if (j->pixels) pool_row(j, row);
        for (int64_t x = 0; x < g->ow && !j->pixels; x++)
            pool_pixel(j, row / g->oh, row % g->oh, x);
    }
}

static void run(pool_job *j, cr_pool *pool)
{
    const cr_pool_geometry *g = j->g;
    if (!choose_strip(j)) j->pixels = 0;
    const size_t row = bytes_of(j, g->ow * g->c * (g->kh + g->kw));
    j->rows = 1 + (int64_t)(LEAST_BYTES / (row + 1));
    cr_pool_run(pool, (size_t)((g->n * g->oh + j->rows - 1) / j->rows), run_rows, j);
}

void cr_max_pool_f32(const cr_pool_geometry *g, const cr_rows *k, const float *in, float *out,
                     cr_pool *pool)
{
    pool_job j = {.g = g,
                  .k = k,
                  .in = (const unsigned char *)in,
                  .out = (unsigned char *)out,
                  .element = sizeof *in};
    run(&j, pool);
}

void cr_max_pool_u8(const cr_pool_geometry *g, const cr_rows *k, const uint8_t *in, uint8_t *out,
                    cr_pool *pool)
{
    pool_job j = {.g = g, .k = k, .in = in, .out = out, .element = 1};
    run(&j, pool);
}

void cr_max_pool_bf16(const cr_pool_geometry *g, const cr_rows_bf16 *k, const cr_bf16 *in,
                      cr_bf16 *out, cr_pool *pool)
{
    pool_job j = {.g = g,
                  .bf16 = k,
                  .in = (const unsigned char *)in,
                  .out = (unsigned char *)out,
                  .element = sizeof *in};
    run(&j, pool);
}
