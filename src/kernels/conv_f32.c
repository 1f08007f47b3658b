/* Float convolution: the portable tile, packing, and the results' way out. Idea and layout:
 * conv_walk.h. A tile is finished in a buffer of its own (bias is in the sums from the start, the
 * activation runs over the whole tile at once) and then copied to its rows: stores never reach
 * beyond the tensor's columns, and the kernel needs no tail code. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernels/conv_groups.h"
#include "kernels/conv_walk.h"
#include "kernels/dwconv_f32.h"
#include "kernels/rows.h"
#include "kernels/vec_c.h"
#include "kernels/winograd_f32.h"

#define CONV(name) conv_f32_##name##_c
#define CONV_MR    4
#define CONV_NV    2
#include "kernels/conv_f32_body.h"

static const cr_conv_f32_kernel conv_f32_c = CONV_RECORD("conv_f32 c 4x8");

#define CR_CONV_F32_ONLY
#define KERNEL_RECORD cr_conv_f32_kernel
#define KERNEL_C      conv_f32_c
#define KERNEL_LEVEL  cr_conv_f32_level
#define KERNEL_SELECT cr_conv_f32_select
#include "kernels/select.h"

/* ---- packing ---- */

struct cr_conv_f32 {
    cr_conv_geometry g;
    const cr_conv_f32_kernel *k;
    const cr_dwconv_f32_kernel *dw; /* NULL unless depthwise */
    cr_winograd_f32 *wino;          /* NULL unless it pays; then nothing below is used */
    const cr_rows *rows;
    cr_act act;
    float *w, *bias, *zero;          /* bias: [group][blocks * nr], 0 beyond cout */
    int64_t taps, cin, cout, blocks; /* per group */
};

/* Channels of a block as the kernel sees them: whole vectors. */
static int block_width(const cr_conv_f32 *c, int64_t block)
{
    const int64_t left = c->cout - block * c->k->nr;
    return left >= c->k->nr ? c->k->nr : (int)cr_round_up((size_t)left, (size_t)c->k->lanes);
}

static float *group_weights(const cr_conv_f32 *c, int64_t group)
{
    const int64_t last = c->blocks - 1;
    const int64_t width = last * c->k->nr + block_width(c, last);
    return c->w + group * width * c->taps * c->cin;
}

/* [block][tap][cin][width], zero where a vector has fewer channels. */
static void pack_group(const cr_conv_f32 *c, const float *src, float *dst)
{
    for (int64_t b = 0; b < c->blocks; b++) {
        const int width = block_width(c, b);
        const int64_t first = b * c->k->nr;
        for (int64_t tap = 0; tap < c->taps; tap++)
            for (int64_t k = 0; k < c->cin; k++, dst += width)
                for (int j = 0; j < width; j++)
                    dst[j] =
                        first + j < c->cout ? src[((first + j) * c->cin + k) * c->taps + tap] : 0;
    }
}

static void pack(cr_conv_f32 *c, const float *weights, const float *bias)
{
    const int64_t groups = c->g.groups;
    for (int64_t i = 0; i < groups && !c->dw; i++) {
        pack_group(c, weights + i * c->cout * c->cin * c->taps, group_weights(c, i));
        for (int64_t j = 0; j < c->blocks * c->k->nr; j++)
            c->bias[i * c->blocks * c->k->nr + j] = bias && j < c->cout ? bias[i * c->cout + j] : 0;
    }
    for (int64_t ch = 0; ch < c->g.cout && c->dw; ch++) {
        c->bias[ch] = bias ? bias[ch] : 0;
        for (int64_t tap = 0; tap < c->taps; tap++)
            c->w[tap * c->g.cout + ch] = weights[ch * c->taps + tap];
    }
}

/* Sizes are products of checked extents; each factor here is below 2^29, hence the checks. */
static cr_status allocate(cr_conv_f32 *c, cr_error *err)
{
    const size_t groups = (size_t)c->g.groups, taps = (size_t)c->taps;
    const size_t width =
        c->dw ? 1 : (size_t)((c->blocks - 1) * c->k->nr + block_width(c, c->blocks - 1));
    const size_t wide = c->dw ? 1 : (size_t)(c->blocks * c->k->nr);
    size_t w = groups, bias = groups;
    CR_CHECK(cr_mul_size(w, width, &w) && cr_mul_size(w, taps * (size_t)c->cin, &w) &&
                 cr_mul_size(w, sizeof(float), &w) &&
                 cr_mul_size(bias, wide * sizeof(float), &bias),
             err, CR_ERR_ARGUMENT, "convolution: the weights are too large to address");
    c->w = cr_aligned_alloc(w);
    c->bias = cr_aligned_alloc(bias);
    const size_t zero = (size_t)(c->dw ? c->g.cin : c->cin * c->g.kw) * sizeof(float);
    c->zero = cr_aligned_alloc(zero);
    if (!c->w || !c->bias || !c->zero) return CR_NOMEM(err);
    memset(c->zero, 0, zero);
    return CR_OK;
}

static cr_status create(const cr_conv_geometry *g, const float *weights, const float *bias,
                        const cr_act *act, bool wino, unsigned cpu, cr_conv_f32 **out,
                        cr_error *err)
{
    cr_conv_f32 *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    c->g = *g;
    c->k = cr_conv_f32_select(cpu);
    c->rows = cr_rows_get(cpu);
    if (act) c->act = *act;
    c->taps = g->kh * g->kw;
    c->cin = g->cin / g->groups;
    c->cout = g->cout / g->groups;
    c->blocks = (c->cout + c->k->nr - 1) / c->k->nr;
    if (c->cin == 1 && c->cout == 1 && g->groups > 1) c->dw = cr_dwconv_f32_select(cpu);
    const cr_status st =
        wino ? cr_winograd_f32_create(g, weights, bias, act, cpu, &c->wino, err) : allocate(c, err);
    if (st != CR_OK) {
        cr_conv_f32_free(c);
        return st;
    }
    if (!wino) pack(c, weights, bias);
    *out = c;
    return CR_OK;
}

cr_status cr_conv_f32_create(const cr_conv_geometry *g, const float *weights, const float *bias,
                             const cr_act *act, unsigned cpu, cr_conv_f32 **out, cr_error *err)
{
    *out = NULL;
    CR_TRY(cr_conv_geometry_check(g, err));
    const bool wino = cr_winograd_f32_fits(g) && cr_winograd_f32_pays(g);
    const int64_t merge = cr_conv_groups_merge(g, cr_conv_f32_select(cpu)->lanes);
    if (merge == 1) return create(g, weights, bias, act, wino, cpu, out, err);
    const cr_conv_geometry merged = cr_conv_groups_geometry(g, merge);
    cr_arena arena = {0};
    const float *wide = cr_conv_groups_weights(&arena, g, merge, sizeof *weights, weights);
    const cr_status st =
        wide ? create(&merged, wide, bias, act, wino, cpu, out, err) : CR_NOMEM(err);
    cr_arena_free(&arena);
    return st;
}

void cr_conv_f32_free(cr_conv_f32 *c)
{
    if (!c) return;
    cr_winograd_f32_free(c->wino);
    cr_aligned_free(c->w);
    cr_aligned_free(c->bias);
    cr_aligned_free(c->zero);
    cr_free(c);
}

const char *cr_conv_f32_name(const cr_conv_f32 *c)
{
    return c->wino ? cr_winograd_f32_name(c->wino) : c->dw ? c->dw->name : c->k->name;
}

/* ---- running ---- */

typedef struct run_job {
    const cr_conv_f32 *c;
    float *out;
    int64_t ld_out;
} run_job;

static size_t tile_bytes(const cr_conv_f32 *c)
{
    return (size_t)c->k->mr * (size_t)c->k->nr * sizeof(float);
}

size_t cr_conv_f32_scratch(const cr_conv_f32 *c, int threads)
{
    if (c->wino) return cr_winograd_f32_scratch(c->wino, threads);
    if (c->dw) return 0;
    return cr_conv_walk_scratch(&c->g, c->k->mr, tile_bytes(c), false, threads);
}

static void compute_tile(const void *ctx, const cr_conv_place *p)
{
    const run_job *j = ctx;
    const cr_conv_f32 *c = j->c;
    const int nr = c->k->nr, width = block_width(c, p->block);
    const cr_conv_f32_tile t = {.a = (const float *const *)(const void *)p->a,
                                .line = p->line,
                                .taps = p->taps,
                                .cin = p->run,
                                .w = group_weights(c, p->group) + p->block * nr * c->taps * c->cin,
                                .bias = c->bias + (p->group * c->blocks + p->block) * nr,
                                .c = p->tile,
                                .vectors = width / c->k->lanes};
    c->k->run(&t);
    if (c->act.kind != CR_ACT_NONE) c->rows->act(t.c, t.c, (size_t)(p->rows * width), &c->act);
    const int64_t left = c->cout - p->block * nr, cols = left < nr ? left : nr;
    float *y = j->out + p->pixel * j->ld_out + p->group * c->cout + p->block * nr;
    c->k->put(y, j->ld_out, t.c, width, p->rows, cols);
}

static void activate_depthwise(const void *ctx, int64_t pixel, int64_t pixels)
{
    const run_job *j = ctx;
    const cr_conv_f32 *c = j->c;
    float *y = j->out + pixel * j->ld_out;
    const bool touch = j->ld_out == c->g.cout;
    const size_t n = (size_t)(touch ? pixels * c->g.cout : c->g.cout);
    for (int64_t i = 0; i < (touch ? 1 : pixels); i++, y += j->ld_out)
        c->rows->act(y, y, n, &c->act);
}

static void run_depthwise(const run_job *j, const float *in, int64_t ld_in, cr_pool *pool)
{
    const cr_conv_f32 *c = j->c;
    const cr_dwconv_f32_args a = {.g = &c->g,
                                  .k = c->dw,
                                  .in = in,
                                  .w = c->w,
                                  .bias = c->bias,
                                  .out = j->out,
                                  .ld_in = ld_in,
                                  .ld_out = j->ld_out,
                                  .finish = c->act.kind == CR_ACT_NONE ? NULL : activate_depthwise,
                                  .ctx = j};
    cr_dwconv_f32_run(&a, pool);
}

void cr_conv_f32_run(const cr_conv_f32 *c, const float *in, int64_t ld_in, float *out,
                     int64_t ld_out, void *scratch, cr_pool *pool)
{
    if (c->wino) {
        cr_winograd_f32_run(c->wino, in, ld_in, out, ld_out, scratch, pool);
        return;
    }
    const run_job j = {c, out, ld_out ? ld_out : c->g.ld_out};
    if (!ld_in) ld_in = c->g.ld_in;
    if (c->dw) {
        run_depthwise(&j, in, ld_in, pool);
        return;
    }
    const cr_conv_walk w = {.g = &c->g,
                            .ld_in = ld_in,
                            .element = sizeof(float),
                            .in = (const unsigned char *)in,
                            .zero = (const unsigned char *)c->zero,
                            .line_step = 1,
                            .mr = c->k->mr,
                            .nr = c->k->nr,
                            .block_bytes = (size_t)(c->taps * c->cin * c->k->nr) * sizeof(float),
                            .tile_bytes = tile_bytes(c),
                            .compute = compute_tile,
                            .ctx = &j};
    cr_conv_walk_run(&w, scratch, pool);
}
