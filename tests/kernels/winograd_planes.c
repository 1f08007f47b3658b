/* Winograd on planes, both ways, against sums in double, within a bound in units of what a value's
 * window could add up to; the same bits for any number of threads, and with fused multiply-add at
 * every level. */
#include "harness.h"

#include <math.h>

#include "base/threads.h"
#include "kernels/winograd_planes.h"

/* Largest error met over sum over channels of (largest |input| of the channel * sum of |w|): 2.4e-7
 * over 30 geometries. (winograd_f32.c: 4.0e-7 on a single channel, which does not come here.) */
static const double error_bound = 5e-7;

typedef struct problem {
    cr_conv_geometry g;
    bool back, add;
    const float *from, *w, *bias, *before;
    size_t count; /* of results */
} problem;

/* The weight between channel `in` of what is read and `out` of what is written. */
static const float *window_of(const problem *p, int64_t in, int64_t out)
{
    return p->w + (p->back ? in * p->g.cin + out : out * p->g.cin + in) * 9;
}

static double value_at(const problem *p, int64_t out, int64_t y, int64_t x)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t channels = p->back ? g->cout : g->cin;
    const int64_t h = p->back ? g->oh : g->h, w = p->back ? g->ow : g->w;
    double sum = p->bias ? p->bias[out] : 0;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t tap = 0; tap < 9; tap++) {
            const int64_t down = tap / 3 - g->pad_top, right = tap % 3 - g->pad_left;
            const int64_t fy = p->back ? y - down : y + down, fx = p->back ? x - right : x + right;
            if (fy < 0 || fy >= h || fx < 0 || fx >= w) continue;
            sum += (double)window_of(p, c, out)[tap] * (double)p->from[(c * h + fy) * w + fx];
        }
    return sum;
}

static double scale_of(const problem *p, int64_t out)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t size = p->back ? g->oh * g->ow : g->h * g->w;
    double scale = 1e-30;
    for (int64_t c = 0; c < (p->back ? g->cout : g->cin); c++) {
        double most = 0, weights = 0;
        for (int64_t i = 0; i < size; i++) most = fmax(most, fabs((double)p->from[c * size + i]));
        for (int tap = 0; tap < 9; tap++) weights += fabs((double)window_of(p, c, out)[tap]);
        scale += most * weights;
    }
    return scale + (p->bias ? fabs((double)p->bias[out]) : 0);
}

static guarded run(const problem *p, int level, bool at_end, cr_pool *pool)
{
    cr_winograd_planes c;
    const unsigned cpu = only_level(level);
    guarded out = guarded_alloc(p->count * sizeof(float), at_end);
    cr_winograd_planes_plan(&p->g, p->back, cpu, cr_pool_threads(pool), NULL, &c);
    guarded room = guarded_alloc(c.bytes, false);
    cr_winograd_planes_plan(&p->g, p->back, cpu, cr_pool_threads(pool), room.data, &c);
    memcpy(out.data, p->before, p->count * sizeof(float));
    cr_winograd_planes_load(&c, p->w, p->bias, pool);
    cr_winograd_planes_run(&c, p->from, (float *)(void *)out.data, p->add, pool);
    guarded_free(&room);
    return out;
}

static void check(const problem *p, const float *got, int level, double *worst)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t h = p->back ? g->h : g->oh, w = p->back ? g->w : g->ow;
    double channel = 0;
    for (size_t i = 0; i < p->count; i++) {
        const int64_t out = (int64_t)i / (h * w), at = (int64_t)i % (h * w);
        const double before = p->add ? p->before[i] : 0;
        if (at == 0) channel = scale_of(p, out);
        const double want = before + value_at(p, out, at / w, at % w);
        const double scale = channel + fabs(before);
        const double error = fabs((double)got[i] - want) / scale;
        if (error > *worst) *worst = error;
        if (error <= error_bound) continue;
        print_geometry(g);
        fail_msg("level %s, %s: element %zu is %a, not %a within %g",
                 cr_cpu_level_key((cr_cpu_level)level), p->back ? "back" : "there", i,
                 (double)got[i], want, error_bound * scale);
    }
}

static bool has_level(int level)
{
    return cr_winograd_f32_level(level) != NULL;
}

static void run_levels(const problem *p, bool at_end, cr_pool *pool, double *worst)
{
    const size_t bytes = p->count * sizeof(float);
    guarded fused = {0};
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has_level(level) || !level_runs(level)) continue;
        guarded one = run(p, level, at_end, NULL), many = run(p, level, !at_end, pool);
        assert_memory_equal(one.data, many.data, bytes);
        check(p, (const float *)(const void *)one.data, level, worst);
        if (level != CR_CPU_C && fused.map) assert_memory_equal(fused.data, one.data, bytes);
        guarded_free(&many);
        if (level == CR_CPU_C || fused.map)
            guarded_free(&one);
        else
            fused = one;
    }
    if (fused.map) guarded_free(&fused);
}

static void fill(float *x, size_t n, cr_rng *rng)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)cr_rng_range(rng, -1, 1);
}

static void test_both_ways(void **state)
{
    cr_pool *pool;
    double worst = 0;
    report_levels(has_level);
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 12; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed);
        cr_conv_geometry g = {.n = 1,
                              .h = 9 + cr_rng_below(&rng, 9),
                              .w = 9 + cr_rng_below(&rng, 12),
                              .cin = 24 + cr_rng_below(&rng, 13),
                              .cout = 24 + cr_rng_below(&rng, 13),
                              .kh = 3,
                              .kw = 3,
                              .pad_top = cr_rng_below(&rng, 3),
                              .pad_left = cr_rng_below(&rng, 3)};
        finish_geometry(&g);
        const size_t picture = (size_t)(g.cin * g.h * g.w), places = (size_t)(g.cout * g.oh * g.ow);
        const size_t most = picture > places ? picture : places,
                     weights = (size_t)(g.cin * g.cout * 9);
        float *from = malloc(most * sizeof *from), *before = malloc(most * sizeof *before);
        float *w = malloc(weights * sizeof *w), bias[64];
        fill(from, most, &rng);
        fill(before, most, &rng);
        fill(w, weights, &rng);
        fill(bias, 64, &rng);
        for (int back = 0; back < 2; back++) {
            const problem p = {g,        back,
                               seed & 1, from,
                               w,        seed % 3 ? bias : NULL,
                               before,   back ? picture : places};
            run_levels(&p, seed & 1, pool, &worst);
        }
        free(from);
        free(before);
        free(w);
    }
    print_message("largest error %.2g\n", worst);
    cr_pool_free(&pool);
}

static void test_choice(void **state)
{
    cr_conv_geometry g = {
        .cin = 64, .cout = 64, .h = 40, .w = 40, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1};
    finish_geometry(&g);
    assert_true(cr_winograd_planes_pays(&g));
    g.cin = 16;
    assert_true(!cr_winograd_planes_pays(&g));
    g.cin = 64;
    g.pad_left = 3; /* the way back would begin inside the picture */
    finish_geometry(&g);
    assert_true(!cr_winograd_planes_pays(&g));
    g.pad_left = 1;
    g.stride_w = 2;
    finish_geometry(&g);
    assert_true(!cr_winograd_planes_pays(&g));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_ways),
                                       cmocka_unit_test(test_choice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
