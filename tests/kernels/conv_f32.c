/* Float convolutions, dense and depthwise, against a plain loop that adds in the same order: every
 * result must be the same bits (the level `c` has no fused multiply-add, so its loop has none). */
#include "harness.h"

#include "base/threads.h"
#include "kernels/winograd_f32.h"

typedef struct problem {
    cr_conv_geometry g;
    const float *in, *w, *bias;
    cr_act act;
} problem;

static float input_at(const problem *p, int64_t n, int64_t y, int64_t x, int64_t c)
{
    const cr_conv_geometry *g = &p->g;
    if (y < 0 || y >= g->h || x < 0 || x >= g->w) return 0;
    return p->in[((n * g->h + y) * g->w + x) * g->ld_in + c];
}

static float output_at(const problem *p, int64_t n, int64_t oy, int64_t ox, int64_t o, bool fused)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t cin = g->cin / g->groups, group = o / (g->cout / g->groups);
    float acc = p->bias ? p->bias[o] : 0;
    for (int64_t ky = 0; ky < g->kh; ky++)
        for (int64_t kx = 0; kx < g->kw; kx++)
            for (int64_t c = 0; c < cin; c++) {
                const float w = p->w[((o * cin + c) * g->kh + ky) * g->kw + kx];
                const float a =
                    input_at(p, n, oy * g->stride_h - g->pad_top + ky * g->dil_h,
                             ox * g->stride_w - g->pad_left + kx * g->dil_w, group * cin + c);
                acc = fused ? fmaf(a, w, acc) : acc + a * w;
            }
    return activate(acc, &p->act);
}

static void check_output(const problem *p, const float *out, int level)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t pixels = g->n * g->oh * g->ow;
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t o = 0; o < (i + 1 < pixels ? g->ld_out : g->cout); o++) {
            float want;
            if (o < g->cout)
                want = output_at(p, i / (g->oh * g->ow), i / g->ow % g->oh, i % g->ow, o,
                                 level != CR_CPU_C);
            else
                memset(&want, 0xA5, sizeof want);
            if (!memcmp(&want, &out[i * g->ld_out + o], sizeof want)) continue;
            print_geometry(g);
            fail_msg("level %s, act %d: pixel %lld channel %lld is %a, not %a",
                     cr_cpu_level_key((cr_cpu_level)level), p->act.kind, (long long)i, (long long)o,
                     (double)out[i * g->ld_out + o], (double)want);
        }
}

static void run_level(const problem *p, int level, bool at_end, cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    cr_conv_f32 *c;
    assert_int_equal(cr_conv_f32_create(g, p->w, p->bias, &p->act, only_level(level), &c, NULL),
                     CR_OK);
    guarded scratch = guarded_alloc(cr_conv_f32_scratch(c, cr_pool_threads(pool)), false);
    guarded out =
        guarded_alloc(span_of(g->n * g->oh * g->ow, g->ld_out, g->cout) * sizeof(float), at_end);
    cr_conv_f32_run(c, p->in, 0, (float *)(void *)out.data, 0, scratch.data, pool);
    check_output(p, (const float *)(const void *)out.data, level);
    guarded_free(&out);
    guarded_free(&scratch);
    cr_conv_f32_free(c);
}

static bool has_level(int level)
{
    return cr_conv_f32_level(level) || cr_dwconv_f32_level(level);
}

/* All levels on one geometry. */
static void run_geometry(const cr_conv_geometry *g, pattern kind, bool at_end, cr_rng *rng,
                         cr_pool *pool)
{
    const size_t in = span_of(g->n * g->h * g->w, g->ld_in, g->cin);
    const size_t w = (size_t)(g->cout * g->cin / g->groups * g->kh * g->kw);
    guarded gi = guarded_alloc(in * sizeof(float), at_end),
            gw = guarded_alloc(w * sizeof(float), at_end);
    guarded gb = guarded_alloc((size_t)g->cout * sizeof(float), at_end);
    fill_f32((float *)(void *)gi.data, in, kind, rng);
    fill_f32((float *)(void *)gw.data, w, UNIFORM, rng);
    fill_f32((float *)(void *)gb.data, (size_t)g->cout, UNIFORM, rng);
    const problem p = {.g = *g,
                       .in = (float *)(void *)gi.data,
                       .w = (float *)(void *)gw.data,
                       .bias = cr_rng_below(rng, 4) ? (float *)(void *)gb.data : NULL,
                       .act = {(cr_act_kind)cr_rng_below(rng, CR_ACT_HARD_SWISH + 1), 0.1f, 0.7f}};
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (has_level(level) && level_runs(level)) run_level(&p, level, at_end, pool);
    guarded_free(&gi);
    guarded_free(&gw);
    guarded_free(&gb);
}

static void test_random(void **state)
{
    report_levels(has_level);
    cr_pool *pool;
    assert_int_equal(cr_pool_create(2, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 240; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed);
        const cr_conv_geometry g = random_geometry(&rng, seed % 3 == 2);
        if (cr_winograd_f32_fits(&g) && cr_winograd_f32_pays(&g)) continue; /* has its own test */
        run_geometry(&g, (pattern)(seed % PATTERNS), seed & 1, &rng, seed % 4 ? NULL : pool);
    }
    cr_pool_free(&pool);
}

static void test_groups(void **state)
{
    for (uint64_t seed = 0; seed < 120; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed + 3000);
        const cr_conv_geometry g = random_groups(&rng);
        run_geometry(&g, (pattern)(seed % PATTERNS), seed & 1, &rng, NULL);
    }
}

/* Every width around the tiles of every level, with one pixel more or less than whole tiles. */
static void test_tile_edges(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 7);
    for (int64_t cout = 1; cout <= 66; cout++)
        for (int64_t w = 1; w <= 25; w += 3) {
            cr_conv_geometry g = {.h = 1, .w = w, .cin = 3, .cout = cout, .kh = 1, .kw = 1};
            finish_geometry(&g);
            run_geometry(&g, UNIFORM, true, &rng, NULL);
        }
}

/* Windows that see padding only, on some or on all pixels. */
static void test_far_padding(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 8);
    cr_conv_geometry g = {
        .h = 2, .w = 2, .cin = 5, .cout = 6, .kh = 2, .kw = 2, .pad_top = 5, .pad_left = 6};
    finish_geometry(&g);
    run_geometry(&g, UNIFORM, true, &rng, NULL);
}

/* More than one span of weights and many items: the same bits for 1, 2, 3 and 5 threads. */
static void test_threads(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 9);
    cr_conv_geometry g = {
        .h = 9, .w = 21, .cin = 160, .cout = 200, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1,
        .groups = 2}; /* not one for Winograd */
    finish_geometry(&g);
    const size_t n_in = (size_t)(9 * 21 * 160), n_w = (size_t)(200 * 80 * 9),
                 n_out = (size_t)(9 * 21 * 200);
    float *in = malloc(n_in * sizeof *in), *w = malloc(n_w * sizeof *w);
    float *first = malloc(n_out * sizeof *first), *out = malloc(n_out * sizeof *out);
    fill_f32(in, n_in, UNIFORM, &rng);
    fill_f32(w, n_w, UNIFORM, &rng);
    const cr_act act = {CR_ACT_SILU, 0, 0};
    cr_conv_f32 *c;
    assert_int_equal(cr_conv_f32_create(&g, w, NULL, &act, cr_cpu_hardware(), &c, NULL), CR_OK);
    for (int threads = 1; threads <= 5; threads++) {
        cr_pool *pool;
        assert_int_equal(cr_pool_create(threads, &pool, NULL), CR_OK);
        void *scratch = malloc(cr_conv_f32_scratch(c, threads));
        memset(out, 0xA5, n_out * sizeof *out);
        cr_conv_f32_run(c, in, 0, out, 0, scratch, pool);
        if (threads == 1) memcpy(first, out, n_out * sizeof *out);
        assert_memory_equal(first, out, n_out * sizeof *out);
        free(scratch);
        cr_pool_free(&pool);
    }
    cr_conv_f32_free(c);
    free(in);
    free(w);
    free(first);
    free(out);
}

static void test_refusals(void **state)
{
    cr_conv_geometry ok = {.h = 4, .w = 4, .cin = 4, .cout = 4, .kh = 3, .kw = 3};
    finish_geometry(&ok);
    assert_int_equal(cr_conv_geometry_check(&ok, NULL), CR_OK);
    cr_conv_geometry g = ok;
    g.groups = 3;
    assert_int_equal(cr_conv_geometry_check(&g, NULL), CR_ERR_ARGUMENT);
    g = ok;
    g.ld_in = 3;
    assert_int_equal(cr_conv_geometry_check(&g, NULL), CR_ERR_ARGUMENT);
    g = ok;
    g.pad_left = -1;
    assert_int_equal(cr_conv_geometry_check(&g, NULL), CR_ERR_ARGUMENT);
    g = ok;
    g.stride_w = 0;
    assert_int_equal(cr_conv_geometry_check(&g, NULL), CR_ERR_ARGUMENT);
    g = ok;
    g.h = g.w = g.n = 1 << 28;
    assert_int_equal(cr_conv_geometry_check(&g, NULL), CR_ERR_ARGUMENT);
    g = ok;
    g.kh = g.kw = 33;
    cr_conv_f32 *c;
    assert_int_equal(cr_conv_f32_create(&g, NULL, NULL, NULL, 1, &c, NULL), CR_ERR_UNSUPPORTED);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),  cmocka_unit_test(test_groups),      cmocka_unit_test(test_tile_edges),
        cmocka_unit_test(test_far_padding), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
