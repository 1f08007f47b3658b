/* Float depthwise convolution: the portable level, the choice of a record, the walk over rows
 * (dwconv_f32.h). Packing and the driver are conv_f32.c. */
#include "kernels/dwconv_f32.h"

#include "kernels/vec_c.h"

#define DW(name) dwconv_f32_##name##_c
#define DW_MR    2
#include "kernels/dwconv_f32_body.h"

static const cr_dwconv_f32_kernel dwconv_f32_c = DW_RECORD("c");

#define CR_DWCONV_F32_ONLY
#define KERNEL_RECORD cr_dwconv_f32_kernel
#define KERNEL_C      dwconv_f32_c
#define KERNEL_LEVEL  cr_dwconv_f32_level
#define KERNEL_SELECT cr_dwconv_f32_select
#include "kernels/select.h"

/* ---- running ---- */

enum {
    UNIT_BYTES = 32 << 10,   /* input of a unit: most of an L1 cache */
    UNIT_PIXELS = 8,         /* units are no shorter */
    ITEMS_PER_THREAD = 8,    /* as in conv_walk.c */
    MIN_ITEM_SUMS = 1 << 15, /* some 10 us of work */
};

typedef struct run_job {
    const cr_dwconv_f32_args *a;
    int64_t pixels, pieces; /* of a unit; per output row */
    int64_t units, chunk;
} run_job;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Taps first..end-1 of `taps`, dil apart, are inside 0..extent-1 when tap 0 is at `start`. */
typedef struct tap_range {
    int64_t first, end;
} tap_range;

static tap_range clip_taps(int64_t start, int64_t taps, int64_t dil, int64_t extent)
{
    tap_range r = {start < 0 ? least(ceil_div(-start, dil), taps) : 0, 0};
    r.end = start < extent ? least(ceil_div(extent - start, dil), taps) : 0;
    if (r.end < r.first) r.end = r.first;
    return r;
}

/* Pixels x.. of output row `row` (over all pictures), whose windows have the taps `across`. */
static void run_pixels(const cr_dwconv_f32_args *a, int64_t row, int64_t x, int64_t pixels,
                       tap_range across)
{
    const cr_conv_geometry *g = a->g;
    const int64_t top = row % g->oh * g->stride_h - g->pad_top;
    const int64_t left = x * g->stride_w - g->pad_left;
    const tap_range down = clip_taps(top, g->kh, g->dil_h, g->h);
    const bool empty = across.first == across.end || down.first == down.end;
    const int64_t line = row / g->oh * g->h + top + down.first * g->dil_h;
    const cr_dwconv_f32_tile t = {
        .x = empty ? a->in : a->in + (line * g->w + left + across.first * g->dil_w) * a->ld_in,
        .kh = empty ? 0 : down.end - down.first,
        .kw = across.end - across.first,
        .row = g->dil_h * g->w * a->ld_in,
        .dil = g->dil_w * a->ld_in,
        .step = empty ? 0 : g->stride_w * a->ld_in,
        .w = a->w + (down.first * g->kw + across.first) * g->cout,
        .w_row = g->kw * g->cout,
        .bias = a->bias,
        .c = a->out + (row * g->ow + x) * a->ld_out,
        .ld = a->ld_out,
        .pixels = pixels,
        .channels = g->cout};
    a->k->run(&t);
}

static void run_unit(const run_job *j, int64_t index)
{
    const cr_dwconv_f32_args *a = j->a;
    const cr_conv_geometry *g = a->g;
    const int64_t row = index / j->pieces, first = index % j->pieces * j->pixels;
    const int64_t end = least(first + j->pixels, g->ow), reach = (g->kw - 1) * g->dil_w;
    for (int64_t x = first, next; x < end; x = next) {
        const int64_t left = x * g->stride_w - g->pad_left;
        const bool inside = left >= 0 && left + reach < g->w;
        next = inside ? least((g->w - 1 - reach + g->pad_left) / g->stride_w + 1, end) : x + 1;
        run_pixels(a, row, x, next - x, clip_taps(left, g->kw, g->dil_w, g->w));
    }
    if (a->finish) a->finish(a->ctx, row * g->ow + first, end - first);
}

static void run_chunk(void *ctx, size_t index, int worker)
{
    const run_job *j = ctx;
    const int64_t first = (int64_t)index * j->chunk, end = least(first + j->chunk, j->units);
    for (int64_t i = first; i < end; i++) run_unit(j, i);
}

void cr_dwconv_f32_run(const cr_dwconv_f32_args *a, cr_pool *pool)
{
    const cr_conv_geometry *g = a->g;
    run_job j = {.a = a};
    const int64_t each = g->kh * g->stride_w * g->cout * (int64_t)sizeof(float);
    j.pixels = UNIT_BYTES / each > UNIT_PIXELS ? UNIT_BYTES / each : UNIT_PIXELS;
    j.pieces = ceil_div(g->ow, j.pixels);
    j.pixels = ceil_div(g->ow, j.pieces);
    j.units = g->n * g->oh * j.pieces;
    const int threads = cr_pool_threads(pool);
    const int64_t sums = j.pixels * g->cout;
    j.chunk = threads == 1 ? j.units : ceil_div(j.units, (int64_t)threads * ITEMS_PER_THREAD);
    if (j.chunk < MIN_ITEM_SUMS / sums + 1)
        j.chunk = least(MIN_ITEM_SUMS / sums + 1, ceil_div(j.units, threads));
    cr_pool_run(pool, (size_t)ceil_div(j.units, j.chunk), run_chunk, &j);
}
