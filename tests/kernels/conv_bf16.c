/* Bfloat16 convolutions, dense, depthwise and by Winograd, from rows and from planes, at every
 * level: sums within cr_conv_bf16_bound() or cr_winograd_bf16_bound() of those taken in double (a
 * product of two bfloat16 is exact there), and what leaves is to the bit the activation and
 * rounding of these sums. */
#include "harness.h"

#include "base/threads.h"
#include "kernels/conv_bf16.h"
#include "kernels/conv_bf16_tile.h"
#define CR_AMX_MODEL
#include "kernels/winograd_bf16.h"
#include "kernels/x86/amx_model.h"
#include "kernels/x86/conv_bf16_amx_body.h"

static const cr_conv_bf16_kernel amx_model = AMX_RECORD("conv_bf16 amx, modelled");

/* A level of the CPU, or beyond them the model of AMX with everything else in C. */
enum { MODEL = CR_CPU_LEVELS };

static const cr_conv_bf16_kernel *kernel_of(int level)
{
    return level == MODEL ? &amx_model : cr_conv_bf16_select(only_level(level));
}

static unsigned flags_of(int level)
{
    return only_level(level == MODEL ? CR_CPU_C : level);
}

static const char *level_name(int level)
{
    return level == MODEL ? amx_model.name : cr_cpu_level_key((cr_cpu_level)level);
}

typedef struct problem {
    cr_conv_geometry g;
    const cr_bf16 *in;   /* rows; or */
    const float *planes; /* [n,cin,h,w] */
    const float *w, *bias;
    cr_act act;
    bool winograd; /* call it, whether it pays or not */
} problem;

static float input_at(const problem *p, int64_t n, int64_t y, int64_t x, int64_t c)
{
    const cr_conv_geometry *g = &p->g;
    if (y < 0 || y >= g->h || x < 0 || x >= g->w) return 0;
    if (p->planes)
        return cr_bf16_widen(cr_bf16_round(p->planes[((n * g->cin + c) * g->h + y) * g->w + x]));
    return cr_bf16_widen(p->in[((n * g->h + y) * g->w + x) * g->ld_in + c]);
}

typedef struct exact {
    double sum, magnitude, largest;
    int64_t terms;
} exact;

static void add_term(exact *e, double a, double w)
{
    const double size = fabs(a) > fabs(w) ? fabs(a) : fabs(w);
    e->sum += a * w;
    e->magnitude += fabs(a * w);
    if (size > e->largest) e->largest = size;
    e->terms++;
}

/* x[4] = |B^T| y, entries `step` apart. */
static void spread_input(const double *y, int step, double *x)
{
    x[0] = y[0] + y[2 * step];
    x[step] = x[2 * step] = y[step] + y[2 * step];
    x[3 * step] = y[step] + y[3 * step];
}

/* |B^T| |d| |B| of the patch of tile (ty, tx). */
static void spread_patch(const problem *p, int64_t n, int64_t ty, int64_t tx, int64_t c,
                         double v[16])
{
    double d[16], t[16];
    for (int i = 0; i < 16; i++)
        d[i] =
            fabs(input_at(p, n, 2 * ty - p->g.pad_top + i / 4, 2 * tx - p->g.pad_left + i % 4, c));
    for (int i = 0; i < 4; i++) spread_input(d + i, 4, t + i);
    for (int i = 0; i < 4; i++) spread_input(t + 4 * i, 1, v + 4 * i);
}

/* |G| |g| |G|^T */
static void spread_filter(const float *g, double u[16])
{
    double t[4][3];
    for (int x = 0; x < 3; x++) {
        const double a = fabs(g[x]), b = fabs(g[3 + x]), c = fabs(g[6 + x]);
        t[0][x] = a;
        t[1][x] = t[2][x] = (a + b + c) / 2;
        t[3][x] = c;
    }
    for (int y = 0; y < 4; y++) {
        u[4 * y] = t[y][0];
        u[4 * y + 1] = u[4 * y + 2] = (t[y][0] + t[y][1] + t[y][2]) / 2;
        u[4 * y + 3] = t[y][2];
    }
}

/* What cr_winograd_bf16_bound() calls the magnitude. */
static double winograd_magnitude(const problem *p, int64_t n, int64_t oy, int64_t ox, int64_t o)
{
    double m[16] = {0}, sum = p->bias ? fabs(p->bias[o]) : 0;
    for (int64_t c = 0; c < p->g.cin; c++) {
        double v[16], u[16];
        spread_patch(p, n, oy / 2, ox / 2, c, v);
        spread_filter(p->w + (o * p->g.cin + c) * 9, u);
        for (int i = 0; i < 16; i++) m[i] += u[i] * v[i];
    }
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++) sum += m[(y + oy % 2) * 4 + x + ox % 2];
    return sum;
}

/* The sum that Winograd approximates takes the weights before they are rounded. */
static double winograd_sum(const problem *p, int64_t n, int64_t oy, int64_t ox, int64_t o)
{
    double sum = p->bias ? p->bias[o] : 0;
    for (int64_t c = 0; c < p->g.cin; c++)
        for (int i = 0; i < 9; i++)
            sum += (double)p->w[(o * p->g.cin + c) * 9 + i] *
                   input_at(p, n, oy - p->g.pad_top + i / 3, ox - p->g.pad_left + i % 3, c);
    return sum;
}

static bool by_winograd(const problem *p)
{
    const bool pays = cr_winograd_bf16_fits(&p->g) && cr_winograd_bf16_pays(&p->g);
    return p->winograd || (pays && !p->planes);
}

static exact output_at(const problem *p, int64_t n, int64_t oy, int64_t ox, int64_t o)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t cin = g->cin / g->groups, group = o / (g->cout / g->groups);
    const bool depthwise = cin == 1 && g->cout == g->groups && g->groups > 1;
    exact e = {.sum = p->bias ? p->bias[o] : 0};
    e.magnitude = fabs(e.sum);
    for (int64_t ky = 0; ky < g->kh; ky++)
        for (int64_t kx = 0; kx < g->kw; kx++)
            for (int64_t c = 0; c < cin; c++) {
                const float w = p->w[((o * cin + c) * g->kh + ky) * g->kw + kx];
                add_term(&e,
                         input_at(p, n, oy * g->stride_h - g->pad_top + ky * g->dil_h,
                                  ox * g->stride_w - g->pad_left + kx * g->dil_w, group * cin + c),
                         depthwise ? w : cr_bf16_widen(cr_bf16_round(w)));
            }
    return e;
}

static void complain(const problem *p, int level, int64_t pixel, int64_t o, double is, double want)
{
    print_geometry(&p->g);
    fail_msg("level %s, act %d: pixel %lld channel %lld is %a, not %a", level_name(level),
             p->act.kind, (long long)pixel, (long long)o, is, want);
}

static void check_sums(const problem *p, const float *out, int level)
{
    const cr_conv_geometry *g = &p->g;
    float untouched;
    memset(&untouched, 0xA5, sizeof untouched);
    for (int64_t i = 0; i < g->n * g->oh * g->ow; i++)
        for (int64_t o = 0; o < (i + 1 < g->n * g->oh * g->ow ? g->ld_out : g->cout); o++) {
            const float is = out[i * g->ld_out + o];
            if (o >= g->cout) {
                if (memcmp(&is, &untouched, sizeof is)) complain(p, level, i, o, is, untouched);
                continue;
            }
            const exact e = output_at(p, i / (g->oh * g->ow), i / g->ow % g->oh, i % g->ow, o);
            double want = e.sum, bound = cr_conv_bf16_bound(e.terms, e.magnitude, e.largest);
            if (by_winograd(p)) {
                const int64_t n = i / (g->oh * g->ow), y = i / g->ow % g->oh, x = i % g->ow;
                const double magnitude = winograd_magnitude(p, n, y, x, o);
                want = winograd_sum(p, n, y, x, o);
                bound = cr_winograd_bf16_bound(g->cin, magnitude, e.largest);
            }
            if (!(fabs(is - want) <= bound)) complain(p, level, i, o, is, want);
        }
}

static void check_rounded(const problem *p, const cr_bf16 *out, const float *sums, int level)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t pixels = g->n * g->oh * g->ow;
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t o = 0; o < (i + 1 < pixels ? g->ld_out : g->cout); o++) {
            const float *s = &sums[i * g->ld_out + o];
            const cr_bf16 want = o < g->cout ? cr_bf16_round(activate(*s, &p->act)) : 0xA5A5;
            if (out[i * g->ld_out + o] == want) continue;
            complain(p, level, i, o, cr_bf16_widen(out[i * g->ld_out + o]), cr_bf16_widen(want));
        }
}

static guarded run_once(const problem *p, int level, bool sums, bool at_end, cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    const cr_conv_bf16_params params = {.weights = p->w,
                                        .bias = p->bias,
                                        .act = sums ? (cr_act){CR_ACT_NONE, 0, 0} : p->act,
                                        .float_out = sums,
                                        .planes_in = p->planes != NULL};
    const void *in = p->planes ? (const void *)p->planes : p->in;
    guarded out = guarded_alloc(span_of(g->n * g->oh * g->ow, g->ld_out, g->cout) *
                                    (sums ? sizeof(float) : sizeof(cr_bf16)),
                                at_end);
    if (p->winograd) {
        cr_winograd_bf16 *c;
        assert_int_equal(
            cr_winograd_bf16_create_with(kernel_of(level), g, &params, flags_of(level), &c, NULL),
            CR_OK);
        guarded scratch = guarded_alloc(cr_winograd_bf16_scratch(c, cr_pool_threads(pool)), false);
        cr_winograd_bf16_run(c, in, 0, out.data, 0, scratch.data, pool);
        guarded_free(&scratch);
        cr_winograd_bf16_free(c);
    } else {
        cr_conv_bf16 *c;
        assert_int_equal(
            cr_conv_bf16_create_with(kernel_of(level), g, &params, flags_of(level), &c, NULL),
            CR_OK);
        guarded scratch = guarded_alloc(cr_conv_bf16_scratch(c, cr_pool_threads(pool)), false);
        cr_conv_bf16_run(c, in, 0, out.data, 0, scratch.data, pool);
        guarded_free(&scratch);
        cr_conv_bf16_free(c);
    }
    return out;
}

static void run_level(const problem *p, int level, bool at_end, cr_pool *pool)
{
    guarded sums = run_once(p, level, true, at_end, pool);
    guarded out = run_once(p, level, false, at_end, pool);
    check_sums(p, (const float *)(const void *)sums.data, level);
    check_rounded(p, (const cr_bf16 *)(const void *)out.data,
                  (const float *)(const void *)sums.data, level);
    guarded_free(&sums);
    guarded_free(&out);
}

static bool has_level(int level)
{
    return cr_conv_bf16_level(level) || cr_dwconv_bf16_level(level) ||
           cr_winograd_bf16_level(level);
}

typedef enum source { ROWS_IN, PLANES_IN, WINOGRAD } source;

static void run_geometry(const cr_conv_geometry *g, pattern kind, source from, bool at_end,
                         cr_rng *rng, cr_pool *pool)
{
    const bool planes = from == PLANES_IN;
    const size_t in = planes ? (size_t)(g->n * g->h * g->w * g->cin)
                             : span_of(g->n * g->h * g->w, g->ld_in, g->cin);
    const size_t w = (size_t)(g->cout * g->cin / g->groups * g->kh * g->kw);
    float *x = malloc(in * sizeof *x);
    guarded gi = guarded_alloc(in * (planes ? sizeof(float) : sizeof(cr_bf16)), at_end);
    guarded gw = guarded_alloc(w * sizeof(float), at_end);
    guarded gb = guarded_alloc((size_t)g->cout * sizeof(float), at_end);
    fill_f32(x, in, kind, rng);
    fill_f32((float *)(void *)gw.data, w, UNIFORM, rng);
    fill_f32((float *)(void *)gb.data, (size_t)g->cout, UNIFORM, rng);
    if (planes) memcpy(gi.data, x, in * sizeof *x);
    for (size_t i = 0; i < in && !planes; i++)
        ((cr_bf16 *)(void *)gi.data)[i] = cr_bf16_round(x[i]);
    const problem p = {.g = *g,
                       .in = planes ? NULL : (cr_bf16 *)(void *)gi.data,
                       .planes = planes ? (float *)(void *)gi.data : NULL,
                       .winograd = from == WINOGRAD,
                       .w = (float *)(void *)gw.data,
                       .bias = cr_rng_below(rng, 4) ? (float *)(void *)gb.data : NULL,
                       .act = {(cr_act_kind)cr_rng_below(rng, CR_ACT_HARD_SWISH + 1), 0.1f, 0.7f}};
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (has_level(level) && level_runs(level)) run_level(&p, level, at_end, pool);
    if (!cr_rng_below(rng, 3)) run_level(&p, MODEL, at_end, pool); /* it is slow */
    guarded_free(&gi);
    guarded_free(&gw);
    guarded_free(&gb);
    free(x);
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
        run_geometry(&g, (pattern)(seed % PATTERNS), ROWS_IN, seed & 1, &rng,
                     seed % 4 ? NULL : pool);
    }
    cr_pool_free(&pool);
}

static void test_planes(void **state)
{
    int met = 0;
    for (uint64_t seed = 0; met < 80; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, 1000 + seed);
        cr_conv_geometry g = random_geometry(&rng, false);
        g.groups = g.dil_w = 1;
        g.cin = g.ld_in = 1 + cr_rng_below(&rng, 4);
        g.w += cr_rng_below(&rng, 40);
        finish_geometry(&g);
        if (!g.oh || !g.ow || !cr_conv_bf16_takes_planes(&g)) continue;
        met++;
        run_geometry(&g, (pattern)(seed % PATTERNS), PLANES_IN, seed & 1, &rng, NULL);
    }
}

static void test_groups(void **state)
{
    for (uint64_t seed = 0; seed < 120; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed + 3000);
        const cr_conv_geometry g = random_groups(&rng);
        run_geometry(&g, (pattern)(seed % PATTERNS), ROWS_IN, seed & 1, &rng, NULL);
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
            run_geometry(&g, UNIFORM, ROWS_IN, true, &rng, NULL);
        }
}

/* Wide enough for lines of every tile (conv_walk.h): strides, paddings, gaps, odd channels. */
static void test_lines(void **state)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, 2000 + seed);
        cr_conv_geometry g = random_geometry(&rng, false);
        g.n = 1;
        g.h = 2 + cr_rng_below(&rng, 4);
        g.w = 30 + cr_rng_below(&rng, 60);
        if (seed % 2) g.ld_in = g.cin; /* taps that touch */
        finish_geometry(&g);
        if (g.oh && g.ow) run_geometry(&g, UNIFORM, ROWS_IN, seed & 1, &rng, NULL);
    }
}

static void test_winograd(void **state)
{
    cr_pool *pool;
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 60; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, 3000 + seed);
        cr_conv_geometry g = random_geometry(&rng, false);
        g.kh = g.kw = 3;
        g.stride_h = g.stride_w = g.dil_h = g.dil_w = g.groups = 1;
        g.h = 1 + cr_rng_below(&rng, 24);
        g.w = 1 + cr_rng_below(&rng, 24);
        finish_geometry(&g);
        if (!g.oh || !g.ow) continue;
        assert_true(cr_winograd_bf16_fits(&g));
        run_geometry(&g, (pattern)(seed % PATTERNS), WINOGRAD, seed & 1, &rng,
                     seed % 4 ? NULL : pool);
    }
    cr_pool_free(&pool);
}

/* Windows that see padding only, on some or on all pixels. */
static void test_far_padding(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 8);
    cr_conv_geometry g = {
        .h = 2, .w = 2, .cin = 4, .cout = 6, .kh = 2, .kw = 2, .pad_top = 5, .pad_left = 6};
    finish_geometry(&g);
    run_geometry(&g, UNIFORM, ROWS_IN, true, &rng, NULL);
    run_geometry(&g, UNIFORM, PLANES_IN, true, &rng, NULL);
}

/* More than one span of weights and many items: the same bits for 1, 2, 3 and 5 threads. */
static void test_threads(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 9);
    cr_conv_geometry g = {
        .h = 9, .w = 21, .cin = 320, .cout = 200, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1};
    finish_geometry(&g);
    const size_t n_in = (size_t)(9 * 21 * 320), n_w = (size_t)(200 * 320 * 9),
                 n_out = (size_t)(9 * 21 * 200);
    cr_bf16 *in = malloc(n_in * sizeof *in), *first = malloc(n_out * sizeof *first);
    cr_bf16 *out = malloc(n_out * sizeof *out);
    float *w = malloc(n_w * sizeof *w);
    for (size_t i = 0; i < n_in; i++) in[i] = cr_bf16_round((float)cr_rng_range(&rng, -1, 1));
    fill_f32(w, n_w, UNIFORM, &rng);
    const cr_conv_bf16_params params = {.weights = w, .act = {CR_ACT_SILU, 0, 0}};
    cr_conv_bf16 *c;
    assert_int_equal(cr_conv_bf16_create(&g, &params, cr_cpu_hardware(), &c, NULL), CR_OK);
    for (int threads = 1; threads <= 5; threads++) {
        cr_pool *pool;
        assert_int_equal(cr_pool_create(threads, &pool, NULL), CR_OK);
        void *scratch = malloc(cr_conv_bf16_scratch(c, threads));
        memset(out, 0xA5, n_out * sizeof *out);
        cr_conv_bf16_run(c, in, 0, out, 0, scratch, pool);
        if (threads == 1) memcpy(first, out, n_out * sizeof *out);
        assert_memory_equal(first, out, n_out * sizeof *out);
        free(scratch);
        cr_pool_free(&pool);
    }
    cr_conv_bf16_free(c);
    free(in);
    free(w);
    free(first);
    free(out);
}

static void test_refusals(void **state)
{
    const float w[45] = {0};
    const cr_conv_bf16_params params = {.weights = w, .planes_in = true};
    cr_conv_geometry g = {.h = 4, .w = 4, .cin = 5, .cout = 1, .kh = 3, .kw = 3};
    cr_conv_bf16 *c;
    finish_geometry(&g);
    assert_int_equal(cr_conv_bf16_create(&g, &params, 1, &c, NULL), CR_ERR_ARGUMENT);
    g.cin = g.ld_in = 3;
    assert_true(cr_conv_bf16_takes_planes(&g));
    g.stride_w = 1 << 27; /* one row of planes would be 2^28 pixels */
    g.ow = 3;
    assert_int_equal(cr_conv_bf16_create(&g, &params, 1, &c, NULL), CR_ERR_ARGUMENT);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),  cmocka_unit_test(test_groups),     cmocka_unit_test(test_planes),
        cmocka_unit_test(test_tile_edges), cmocka_unit_test(test_far_padding),
        cmocka_unit_test(test_lines),      cmocka_unit_test(test_winograd),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
