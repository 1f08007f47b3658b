/* Winograd convolutions of every level against sums in double, within a bound in units of what the
 * patch of a tile can add up to; and against each other: levels with fused multiply-add, any number
 * of threads and both ends of a page give the same bits. */
#include "harness.h"

#include "base/threads.h"
#include "kernels/winograd_f32.h"

/* Largest error met, over sum over channels of (largest |input| of the 6x6 patch * sum of |w|):
 * 4.0e-7 over 300 seeds by the level `c`, 3.5e-7 with fused multiply-add, both on one channel. The
 * bound has half as much room again; the activations' slopes (HardSwish: 1.5) come on top. */
static const double error_bound = 6e-7;
static const double steepest = 1.5;

typedef struct problem {
    cr_conv_geometry g;
    const float *in, *w, *bias;
    cr_act act;
    double *sum, *scale; /* per output: exact, and what its tile could add up to */
} problem;

static double input_at(const problem *p, int64_t n, int64_t y, int64_t x, int64_t c)
{
    const cr_conv_geometry *g = &p->g;
    if (y < 0 || y >= g->h || x < 0 || x >= g->w) return 0;
    return p->in[((n * g->h + y) * g->w + x) * g->ld_in + c];
}

static double sum_at(const problem *p, int64_t n, int64_t oy, int64_t ox, int64_t o)
{
    const cr_conv_geometry *g = &p->g;
    double acc = p->bias ? p->bias[o] : 0;
    for (int64_t c = 0; c < g->cin; c++)
        for (int64_t i = 0; i < 9; i++)
            acc += p->w[(o * g->cin + c) * 9 + i] *
                   input_at(p, n, oy - g->pad_top + i / 3, ox - g->pad_left + i % 3, c);
    return acc;
}

/* Every input as large as the largest of its channel in the tile's patch. */
static double scale_at(const problem *p, int64_t n, int64_t oy, int64_t ox, int64_t o)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t top = oy / 4 * 4 - g->pad_top, left = ox / 4 * 4 - g->pad_left;
    double scale = p->bias ? fabs((double)p->bias[o]) : 0;
    for (int64_t c = 0; c < g->cin; c++) {
        double largest = 0, weights = 0;
        for (int64_t i = 0; i < CR_WINO_PRODUCTS; i++)
            largest = fmax(largest, fabs(input_at(p, n, top + i / 6, left + i % 6, c)));
        for (int64_t i = 0; i < 9; i++) weights += fabs((double)p->w[(o * g->cin + c) * 9 + i]);
        scale += largest * weights;
    }
    return scale;
}

static void add_up(problem *p)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t pixels = g->n * g->oh * g->ow;
    p->sum = malloc((size_t)(pixels * g->cout) * sizeof *p->sum);
    p->scale = malloc((size_t)(pixels * g->cout) * sizeof *p->scale);
    for (int64_t i = 0; i < pixels * g->cout; i++) {
        const int64_t at = i / g->cout, o = i % g->cout;
        const int64_t n = at / (g->oh * g->ow), y = at / g->ow % g->oh, x = at % g->ow;
        p->sum[i] = sum_at(p, n, y, x, o);
        p->scale[i] = scale_at(p, n, y, x, o);
    }
}

static void check_output(const problem *p, const float *out, int level)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t pixels = g->n * g->oh * g->ow;
    for (int64_t i = 0; i < pixels; i++) {
        for (int64_t o = 0; o < g->cout; o++) {
            const float got = out[i * g->ld_out + o];
            const float want = activate((float)p->sum[i * g->cout + o], &p->act);
            const double room = steepest * error_bound * p->scale[i * g->cout + o] + 1e-37;
            if (fabs((double)got - want) <= room) continue;
            print_geometry(g);
            fail_msg("level %s, act %d: pixel %lld channel %lld is %a, not %a within %g",
                     cr_cpu_level_key((cr_cpu_level)level), p->act.kind, (long long)i, (long long)o,
                     (double)got, (double)want, room);
        }
        float untouched;
        memset(&untouched, 0xA5, sizeof untouched);
        for (int64_t o = g->cout; o < (i + 1 < pixels ? g->ld_out : 0); o++)
            assert_memory_equal(&untouched, &out[i * g->ld_out + o], sizeof untouched);
    }
}

static size_t output_floats(const cr_conv_geometry *g)
{
    return span_of(g->n * g->oh * g->ow, g->ld_out, g->cout);
}

static guarded run_level(const problem *p, int level, bool at_end, cr_pool *pool)
{
    cr_winograd_f32 *c;
    assert_int_equal(
        cr_winograd_f32_create(&p->g, p->w, p->bias, &p->act, only_level(level), &c, NULL), CR_OK);
    guarded scratch = guarded_alloc(cr_winograd_f32_scratch(c, cr_pool_threads(pool)), false);
    guarded out = guarded_alloc(output_floats(&p->g) * sizeof(float), at_end);
    cr_winograd_f32_run(c, p->in, 0, (float *)(void *)out.data, 0, scratch.data, pool);
    guarded_free(&scratch);
    cr_winograd_f32_free(c);
    return out;
}

static bool has_level(int level)
{
    return cr_winograd_f32_level(level) != NULL;
}

/* Every level against double, then levels with fused multiply-add and a second run on the pool
 * against the first of them. */
static void run_levels(const problem *p, bool at_end, cr_pool *pool)
{
    const size_t bytes = output_floats(&p->g) * sizeof(float);
    guarded fused = {0};
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has_level(level) || !level_runs(level)) continue;
        guarded out = run_level(p, level, at_end, NULL);
        guarded again = run_level(p, level, !at_end, pool);
        check_output(p, (const float *)(const void *)out.data, level);
        assert_memory_equal(out.data, again.data, bytes);
        guarded_free(&again);
        if (level == CR_CPU_C || fused.map) {
            if (level != CR_CPU_C) assert_memory_equal(fused.data, out.data, bytes);
            guarded_free(&out);
        } else {
            fused = out;
        }
    }
    if (fused.map) guarded_free(&fused);
}

static void run_geometry(const cr_conv_geometry *g, pattern kind, bool at_end, cr_rng *rng,
                         cr_pool *pool)
{
    const size_t in = span_of(g->n * g->h * g->w, g->ld_in, g->cin);
    const size_t w = (size_t)(g->cout * g->cin * 9);
    guarded gi = guarded_alloc(in * sizeof(float), at_end);
    guarded gw = guarded_alloc(w * sizeof(float), at_end);
    guarded gb = guarded_alloc((size_t)g->cout * sizeof(float), at_end);
    fill_f32((float *)(void *)gi.data, in, kind, rng);
    fill_f32((float *)(void *)gw.data, w, UNIFORM, rng);
    fill_f32((float *)(void *)gb.data, (size_t)g->cout, UNIFORM, rng);
    problem p = {.g = *g,
                 .in = (float *)(void *)gi.data,
                 .w = (float *)(void *)gw.data,
                 .bias = cr_rng_below(rng, 4) ? (float *)(void *)gb.data : NULL,
                 .act = {(cr_act_kind)cr_rng_below(rng, CR_ACT_HARD_SWISH + 1), 0.1f, 0.7f}};
    add_up(&p);
    run_levels(&p, at_end, pool);
    free(p.sum);
    free(p.scale);
    guarded_free(&gi);
    guarded_free(&gw);
    guarded_free(&gb);
}

/* Pictures of all sizes around whole tiles, any padding, channels around all vectors' ends. */
static void test_random(void **state)
{
    static const int64_t channels[] = {1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 48, 49, 65};
    report_levels(has_level);
    cr_pool *pool;
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 80; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed);
        cr_conv_geometry g = {.n = 1 + cr_rng_below(&rng, 2), .kh = 3, .kw = 3};
        g.h = 1 + cr_rng_below(&rng, 19);
        g.w = 1 + cr_rng_below(&rng, 19);
        g.cin = channels[cr_rng_below(&rng, 14)];
        g.cout = channels[cr_rng_below(&rng, 14)];
        g.pad_top = cr_rng_below(&rng, 4);
        g.pad_left = cr_rng_below(&rng, 4);
        g.ld_in = g.cin + (cr_rng_below(&rng, 2) ? 13 : 0);
        g.ld_out = g.cout + (cr_rng_below(&rng, 2) ? 7 : 0);
        finish_geometry(&g);
        if (!g.oh || !g.ow) continue;
        run_geometry(&g, (pattern)(seed % PATTERNS), seed & 1, &rng, pool);
    }
    cr_pool_free(&pool);
}

/* More tiles than an item takes, more blocks than one: 1 to 5 threads cut the line of tiles, and
 * with it the panels, differently. */
static void test_threads(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 9);
    cr_conv_geometry g = {
        .h = 25, .w = 27, .cin = 130, .cout = 35, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1};
    finish_geometry(&g);
    for (int threads = 2; threads <= 5; threads++) {
        cr_pool *pool;
        assert_int_equal(cr_pool_create(threads, &pool, NULL), CR_OK);
        run_geometry(&g, UNIFORM, true, &rng, pool);
        cr_pool_free(&pool);
    }
}

/* cr_conv_f32 takes this way where it pays, and only there. */
static void test_choice(void **state)
{
    static const float weights[64 * 64 * 9];
    cr_conv_geometry g = {
        .h = 40, .w = 40, .cin = 64, .cout = 64, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1};
    finish_geometry(&g);
    cr_conv_geometry strided = g;
    strided.stride_w = 2;
    strided.ow = 20;
    cr_conv_geometry dilated = g;
    dilated.dil_h = 2;
    dilated.oh = 38;
    cr_conv_geometry grouped = g;
    grouped.groups = 2;
    assert_true(cr_winograd_f32_fits(&g));
    assert_true(!cr_winograd_f32_fits(&strided));
    assert_true(!cr_winograd_f32_fits(&dilated));
    assert_true(!cr_winograd_f32_fits(&grouped));
    const cr_conv_geometry *const all[] = {&g, &strided, &dilated, &grouped};
    for (int i = 0; i < 4; i++) {
        cr_conv_f32 *c;
        assert_int_equal(
            cr_conv_f32_create(all[i], weights, NULL, NULL, cr_cpu_hardware(), &c, NULL), CR_OK);
        assert_int_equal(!strncmp(cr_conv_f32_name(c), "winograd_f32", 12), i == 0);
        cr_conv_f32_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_threads),
                                       cmocka_unit_test(test_choice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
