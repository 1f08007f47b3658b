/* There, through, and back. See winograd_planes.h. */
#include "kernels/winograd_planes.h"

#include "base/mem.h"
#include "kernels/transpose.h"

enum { STRIP = 64, ROWS = 8 }; /* pixels of a task; channels that are added at a time */

static cr_conv_geometry turned(const cr_conv_geometry *g, bool back)
{
    cr_conv_geometry t = *g;
    t.n = 1;
    if (back) {
        t.h = g->oh, t.w = g->ow, t.cin = g->cout;
        t.oh = g->h, t.ow = g->w, t.cout = g->cin;
        t.pad_top = g->kh - 1 - g->pad_top;
        t.pad_left = g->kw - 1 - g->pad_left;
    }
    t.ld_in = t.cin;
    t.ld_out = t.cout;
    return t;
}

/* Measured with AVX-512 on one and two cores, the weights' transform included: 32 channels on 80x80
 * pixels 1.8 times as fast as the direct sums, 64 on 80x80 2.3, 64 on 40x40 2.0; 16 channels no
 * faster, nor 128 on 20x20, where transforming weights takes as long as using them. */
enum { LEAST_CHANNELS = 24, LEAST_PIXELS = 900 };

bool cr_winograd_planes_pays(const cr_conv_geometry *g)
{
    return cr_winograd_f32_fits(g) && g->pad_top <= 2 && g->pad_left <= 2 &&
           g->cin >= LEAST_CHANNELS && g->cout >= LEAST_CHANNELS && g->h * g->w >= LEAST_PIXELS &&
           g->oh * g->ow >= LEAST_PIXELS;
}

static void *take(cr_winograd_planes *p, char *room, size_t bytes)
{
    const size_t at = p->bytes;
    p->bytes += cr_round_up(bytes, CR_ALIGN);
    return room ? room + at : NULL;
}

void cr_winograd_planes_plan(const cr_conv_geometry *g, bool back, unsigned cpu, int threads,
                             void *room, cr_winograd_planes *p)
{
    *p = (cr_winograd_planes){.g = turned(g, back),
                              .back = back,
                              .kernel = cr_planes_f32_select(cpu),
                              .rows = cr_rows_get(cpu)};
    const cr_conv_geometry *t = &p->g;
    p->bytes = cr_round_up(cr_winograd_f32_place(t, cpu, room, &p->wino), CR_ALIGN);
    p->in = take(p, room, (size_t)(t->h * t->w * t->cin) * sizeof(float));
    p->out = take(p, room, (size_t)(t->oh * t->ow * t->cout) * sizeof(float));
    p->scratch = take(p, room, cr_winograd_f32_scratch_of(t, cpu, threads));
}

void cr_winograd_planes_load(const cr_winograd_planes *p, const float *weights, const float *bias,
                             cr_pool *pool)
{
    const int64_t channels = p->back ? p->g.cout : p->g.cin; /* the convolution's inputs */
    cr_winograd_f32_load(p->wino, weights, p->back ? 9 : 9 * channels, p->back ? 9 * channels : 9,
                         p->back, bias, pool);
}

typedef struct strip_job {
    const cr_winograd_planes *p;
    const float *from;
    float *to;
    bool add;
} strip_job;

static int strip_length(int64_t pixels, int64_t first)
{
    return pixels - first < STRIP ? (int)(pixels - first) : STRIP;
}

static void to_pixels(void *ctx, size_t index, int worker)
{
    const strip_job *j = ctx;
    const cr_conv_geometry *g = &j->p->g;
    const int64_t plane = g->h * g->w, first = (int64_t)index * STRIP;
    (void)worker;
    cr_transpose_words((const uint32_t *)(const void *)(j->from + first), plane,
                       (uint32_t *)(void *)(j->to + first * g->cin), g->cin, g->cin,
                       strip_length(plane, first));
}

static void to_planes(void *ctx, size_t index, int worker)
{
    const strip_job *j = ctx;
    const cr_conv_geometry *g = &j->p->g;
    const int64_t plane = g->oh * g->ow, first = (int64_t)index * STRIP;
    const int n = strip_length(plane, first);
    const float *from = j->from + first * g->cout;
    float tile[ROWS * STRIP];
    (void)worker;
    if (!j->add) {
        j->p->rows->planes(j->to + first, plane, from, g->cout, n, g->cout);
        return;
    }
    for (int64_t c = 0; c < g->cout; c += ROWS) {
        const int rows = g->cout - c < ROWS ? (int)(g->cout - c) : ROWS;
        j->p->rows->planes(tile, STRIP, from + c, g->cout, n, rows);
        const cr_planes_put put = {.y = j->to + c * plane + first,
                                   .y_down = plane,
                                   .step = 1,
                                   .x = tile,
                                   .x_down = STRIP,
                                   .rows = rows,
                                   .n = n,
                                   .add = true};
        j->p->kernel->put(&put);
    }
}

void cr_winograd_planes_run(const cr_winograd_planes *p, const float *from, float *to, bool add,
                            cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    strip_job there = {p, from, p->in, false}, back = {p, p->out, to, add};
    cr_pool_run(pool, (size_t)((g->h * g->w + STRIP - 1) / STRIP), to_pixels, &there);
    cr_winograd_f32_run(p->wino, p->in, 0, p->out, 0, p->scratch, pool);
    cr_pool_run(pool, (size_t)((g->oh * g->ow + STRIP - 1) / STRIP), to_planes, &back);
}
