/* Int8 convolutions, dense and depthwise, with int32, float and uint8 results, against a plain loop
 * over crayon/arith.h: every level gives the same bits. */
#include "harness.h"

#include "base/threads.h"

/* The AMX kernel over a model of its instructions: run on every machine. */
#define CR_AMX_MODEL
#include "kernels/x86/amx_model.h"
#include "kernels/x86/conv_s8_amx_body.h"

static const cr_conv_s8_kernel amx_model = AMX_RECORD("conv_s8 amx, modelled");

typedef struct problem {
    cr_conv_geometry g;
    const uint8_t *in; /* p.wide_in: two planes */
    cr_conv_s8_params p;
} problem;

static int64_t sum_at(const problem *q, int64_t n, int64_t oy, int64_t ox, int64_t o)
{
    const cr_conv_geometry *g = &q->g;
    const int64_t cin = g->cin / g->groups, first = o / (g->cout / g->groups) * cin;
    const int64_t plane = g->n * g->h * g->w * g->ld_in;
    int64_t acc = q->p.bias ? q->p.bias[o] : 0;
    for (int64_t ky = 0; ky < g->kh; ky++)
        for (int64_t kx = 0; kx < g->kw; kx++) {
            const int64_t y = oy * g->stride_h - g->pad_top + ky * g->dil_h;
            const int64_t x = ox * g->stride_w - g->pad_left + kx * g->dil_w;
            if (y < 0 || y >= g->h || x < 0 || x >= g->w) continue;
            const uint8_t *a = q->in + ((n * g->h + y) * g->w + x) * g->ld_in + first;
            for (int64_t c = 0; c < cin; c++) {
                const int32_t w = q->p.weights[((o * cin + c) * g->kh + ky) * g->kw + kx] -
                                  (q->p.zeros_w ? q->p.zeros_w[o] : 0);
                const int32_t zero = q->p.zeros_in ? q->p.zeros_in[first + c] : q->p.zero_in;
                const int32_t code = q->p.wide_in ? a[c] << 8 | a[c + plane] : a[c];
                acc += (int64_t)(code - zero) * w;
            }
        }
    return q->p.wide_in ? acc : (int32_t)(uint32_t)(uint64_t)acc; /* 8 bits: wraps */
}

static size_t result_size(const cr_conv_s8_params *p)
{
    return p->raw_out || p->float_out ? 4 : 1;
}

/* The result of one sum, as bytes. */
static void convert(const problem *q, int64_t acc, int64_t o, unsigned char bytes[4])
{
    const cr_conv_s8_params *p = &q->p;
    const int32_t sum = (int32_t)acc, top = p->wide_out ? 65535 : 255;
    if (p->raw_out) {
        memcpy(bytes, &sum, sizeof sum);
        return;
    }
    const float x = (float)acc * p->multiplier[o], y = activate(x, &p->act);
    const float scale = p->scales_out ? p->scales_out[o] : p->scale_out;
    const int32_t zero = p->scales_out ? p->zeros_out[o] : p->zero_out;
    if (p->float_out)
        memcpy(bytes, &y, sizeof y);
    const int32_t code = p->act.kind == CR_ACT_NONE ? cr_round_clamp(x, zero, 0, top)
                                                    : cr_quantize_value(y, scale, zero, 0, top);
    if (!p->float_out) bytes[0] = (unsigned char)(p->wide_out ? code >> 8 : code);
    if (p->wide_out) bytes[1] = (unsigned char)(code & 255);
}

static void check_output(const problem *q, const unsigned char *out, const char *level)
{
    const cr_conv_geometry *g = &q->g;
    const int64_t pixels = g->n * g->oh * g->ow;
    const size_t size = result_size(&q->p);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t o = 0; o < (i + 1 < pixels ? g->ld_out : g->cout); o++) {
            unsigned char want[4] = {0xA5, 0xA5, 0xA5, 0xA5};
            const int64_t acc =
                o < g->cout ? sum_at(q, i / (g->oh * g->ow), i / g->ow % g->oh, i % g->ow, o) : 0;
            if (o < g->cout) convert(q, acc, o, want);
            const unsigned char *got = out + (size_t)(i * g->ld_out + o) * size;
            const bool low_right = !q->p.wide_out || got[pixels * g->ld_out] == want[1];
            if (!memcmp(want, got, size) && low_right) continue;
            print_geometry(g);
            fail_msg("level %s, act %d, raw %d, float %d: pixel %lld channel %lld (sum %lld) is "
                     "%02x%02x%02x%02x.., not %02x%02x%02x%02x..",
                     level, q->p.act.kind, q->p.raw_out, q->p.float_out, (long long)i, (long long)o,
                     (long long)acc, got[0], size > 1 ? got[1] : 0, size > 1 ? got[2] : 0,
                     size > 1 ? got[3] : 0, want[0], want[1], want[2], want[3]);
        }
}

/* kernel NULL: the level's own. */
static void run_kernel(const problem *q, const cr_conv_s8_kernel *kernel, int level, bool at_end,
                       cr_pool *pool)
{
    const cr_conv_geometry *g = &q->g;
    const unsigned cpu = only_level(level);
    cr_conv_s8 *c;
    if (kernel)
        assert_int_equal(cr_conv_s8_create_with(kernel, g, &q->p, cpu, &c, NULL), CR_OK);
    else
        assert_int_equal(cr_conv_s8_create(g, &q->p, cpu, &c, NULL), CR_OK);
    guarded scratch = guarded_alloc(cr_conv_s8_scratch(c, cr_pool_threads(pool)), false);
    const size_t plane = (size_t)(g->n * g->oh * g->ow * g->ld_out) * q->p.wide_out;
    guarded out = guarded_alloc(
        plane + span_of(g->n * g->oh * g->ow, g->ld_out, g->cout) * result_size(&q->p), at_end);
    cr_conv_s8_run(c, q->in, 0, out.data, 0, scratch.data, pool);
    check_output(q, out.data, kernel ? kernel->name : cr_cpu_level_key((cr_cpu_level)level));
    guarded_free(&out);
    guarded_free(&scratch);
    cr_conv_s8_free(c);
}

static bool has_level(int level)
{
    return cr_conv_s8_level(level) || cr_dwconv_s8_level(level) || cr_rows_level(level);
}

static void run_levels(const problem *q, bool at_end, cr_pool *pool)
{
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (has_level(level) && level_runs(level)) run_kernel(q, NULL, level, at_end, pool);
    run_kernel(q, &amx_model, CR_CPU_C, at_end, pool);
}

static void fill_bias(int32_t *bias, int64_t n, cr_rng *rng)
{
    for (int64_t i = 0; i < n; i++) bias[i] = (int32_t)cr_rng_below(rng, 200001) - 100000;
}

static void fill_multipliers(float *m, int64_t n, cr_rng *rng)
{
    for (int64_t i = 0; i < n; i++) m[i] = (float)cr_rng_range(rng, 1e-5, 3e-3);
    if (!cr_rng_below(rng, 4)) m[0] = 0;
}

static int32_t *random_zeros(int64_t n, uint32_t codes, cr_rng *rng)
{
    int32_t *zeros = malloc((size_t)n * sizeof *zeros);
    for (int64_t i = 0; i < n; i++) zeros[i] = (int32_t)cr_rng_below(rng, codes);
    return zeros;
}

static void run_geometry(const cr_conv_geometry *g, pattern kind, bool at_end, cr_rng *rng,
                         cr_pool *pool)
{
    const bool wide = cr_rng_below(rng, 3) == 0;
    const size_t plane = (size_t)(g->n * g->h * g->w * g->ld_in) * wide;
    const size_t in = plane + span_of(g->n * g->h * g->w, g->ld_in, g->cin);
    const size_t w = (size_t)(g->cout * g->cin / g->groups * g->kh * g->kw);
    guarded gi = guarded_alloc(in, at_end), gw = guarded_alloc(w, at_end);
    int32_t *bias = malloc((size_t)g->cout * sizeof *bias);
    float *m = malloc((size_t)g->cout * sizeof *m);
    float *scales = malloc((size_t)g->cout * sizeof *scales);
    const uint32_t codes = wide ? 65536 : 256;
    int32_t *zeros_in = random_zeros(g->cin, codes, rng), *zeros_out = random_zeros(g->cout, 256, rng);
    int32_t *zeros_w = random_zeros(g->cout, 256, rng);
    const bool small = cr_rng_below(rng, 3) == 0; /* often the weights then fit int8 without them */
    for (int64_t i = 0; i < g->cout; i++) zeros_w[i] = small ? zeros_w[i] % 4 - 1 : zeros_w[i] - 128;
    for (int64_t i = 0; i < g->cout; i++) scales[i] = (float)cr_rng_range(rng, .005, .05);
    fill_u8(gi.data, in, kind, rng);
    fill_s8((int8_t *)gw.data, w, (pattern)cr_rng_below(rng, PATTERNS), rng);
    fill_bias(bias, g->cout, rng);
    fill_multipliers(m, g->cout, rng);
    problem q = {.g = *g, .in = gi.data};
    for (int out = wide; out < 5; out++) {
        const cr_act_kind act = (cr_act_kind)cr_rng_below(rng, CR_ACT_HARD_SWISH + 1);
        q.p = (cr_conv_s8_params){.weights = (int8_t *)gw.data,
                                  .bias = cr_rng_below(rng, 4) ? bias : NULL,
                                  .multiplier = m,
                                  .zero_in = (int32_t)cr_rng_below(rng, codes),
                                  .wide_in = wide,
                                  .wide_out = out == 4,
                                  .act = {act, 0.1f, 0.7f},
                                  .raw_out = out == 0,
                                  .float_out = out == 1,
                                  .scale_out = 0.02f,
                                  .zero_out = (int32_t)cr_rng_below(rng, out == 4 ? 65536 : 256)};
        if (out == 4 && cr_rng_below(rng, 2)) q.p.scale_out = 0.0001f;
        if (out == 3 || (out == 4 && cr_rng_below(rng, 2))) q.p.scales_out = scales, q.p.zeros_out = zeros_out;
        if (cr_rng_below(rng, 2)) q.p.zeros_in = zeros_in;
        if (cr_rng_below(rng, 2)) q.p.zeros_w = zeros_w;
        run_levels(&q, at_end, pool);
    }
    guarded_free(&gi);
    guarded_free(&gw);
    free(bias);
    free(m);
    free(scales);
    free(zeros_in);
    free(zeros_w);
    free(zeros_out);
}

static void test_random(void **state)
{
    report_levels(has_level);
    cr_pool *pool;
    assert_int_equal(cr_pool_create(2, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 240; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed + 1000);
        const cr_conv_geometry g = random_geometry(&rng, seed % 3 == 2);
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

static void test_tile_edges(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 17);
    for (int64_t cout = 1; cout <= 66; cout++)
        for (int64_t cin = 1; cin <= 9; cin += 2) {
            cr_conv_geometry g = {
                .h = 1, .w = 11 + cin, .cin = cin, .cout = cout, .kh = 1, .kw = 1};
            finish_geometry(&g);
            run_geometry(&g, UNIFORM, true, &rng, NULL);
        }
}

/* Rows long enough for lines of the widest tile, with channels that fill vectors and matrices or do
 * not, several blocks of them, and taps that touch in memory or (ld_in) do not. */
static void test_lines(void **state)
{
    static const int64_t cins[] = {4, 21, 32, 64, 128};
    cr_rng rng;
    cr_rng_seed(&rng, 18);
    for (int i = 0; i < 5; i++)
        for (int64_t k = 1; k <= 3; k += 2)
            for (int64_t stride = 1; stride <= 2; stride++) {
                cr_conv_geometry g = {.h = 3, .w = 35 * stride, .cin = cins[i], .cout = 70};
                g.kh = g.kw = k;
                g.pad_top = g.pad_left = k / 2;
                g.stride_h = g.stride_w = stride;
                if (stride == 1) g.ld_in = cins[i] + 8;
                finish_geometry(&g);
                run_geometry(&g, UNIFORM, true, &rng, NULL);
            }
}

/* Pictures and channels that levels with a Winograd kernel (winograd_s8.h) send there. */
static void test_winograd(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 19);
    const int8_t w[32 * 33 * 9] = {0};
    cr_conv_geometry g = {.h = 24, .w = 26, .cin = 33, .cout = 32, .kh = 3, .kw = 3, .pad_top = 1,
                          .pad_left = 1};
    finish_geometry(&g);
    const cr_conv_s8_params p = {.weights = w, .raw_out = true};
    cr_conv_s8 *c;
    assert_int_equal(cr_conv_s8_create(&g, &p, only_level(CR_CPU_C), &c, NULL), CR_OK);
    assert_int_equal(strcmp(cr_conv_s8_name(c), "winograd_s8 c 4x8"), 0);
    cr_conv_s8_free(c);
    for (int i = 0; i < 3; i++) run_geometry(&g, UNIFORM, i & 1, &rng, NULL);
}

/* All codes 255 and all weights -128 or 127 over many channels: no 16-bit sum may saturate. */
static void test_extremes(void **state)
{
    enum { CIN = 515, COUT = 33 };
    cr_conv_geometry g = {
        .h = 3, .w = 5, .cin = CIN, .cout = COUT, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1};
    finish_geometry(&g);
    static uint8_t in[3 * 5 * CIN];
    static int8_t w[COUT * CIN * 9];
    memset(in, 255, sizeof in);
    for (int sign = 0; sign < 2; sign++) {
        memset(w, sign ? 127 : -128, sizeof w);
        for (int32_t zero = 0; zero <= 255; zero += 85) {
            const problem q = {g, in, {.weights = w, .zero_in = zero, .raw_out = true}};
            run_levels(&q, true, NULL);
        }
    }
}

/* The largest codes, weights and sums of 16 bits: both planes' sums at the ends of int32. */
static void test_wide_extremes(void **state)
{
    enum { CIN = 32768, COUT = 3, PIXELS = 2 };
    cr_conv_geometry g = {.h = 1, .w = PIXELS, .cin = CIN, .cout = COUT, .kh = 1, .kw = 1};
    finish_geometry(&g);
    uint8_t *in = malloc(2 * PIXELS * CIN);
    int8_t *w = malloc(COUT * CIN);
    const float m[COUT] = {1e-9f, 1e-9f, 1e-9f};
    memset(in, 255, 2 * PIXELS * CIN);
    for (int sign = 0; sign < 2; sign++) {
        memset(w, sign ? 127 : -128, COUT * CIN);
        const int32_t zeros_w[COUT] = {0, 3, sign ? -128 : 127};
        for (int32_t zero = 0; zero <= 65535; zero += 65535) {
            const problem q = {g, in, {.weights = w, .zeros_w = zeros_w, .zero_in = zero,
                                       .multiplier = m, .wide_in = true, .float_out = true}};
            run_levels(&q, true, NULL);
        }
    }
    free(in);
    free(w);
}

/* Sums that leave int32 wrap, at every level. */
static void test_wrapping(void **state)
{
    cr_conv_geometry g = {.h = 1, .w = 13, .cin = 8, .cout = 17, .kh = 1, .kw = 1};
    finish_geometry(&g);
    uint8_t in[13 * 8];
    int8_t w[17 * 8];
    int32_t bias[17];
    memset(in, 200, sizeof in);
    memset(w, 100, sizeof w);
    for (int i = 0; i < 17; i++) bias[i] = INT32_MAX - i;
    const problem q = {g, in, {.weights = w, .bias = bias, .zero_in = 3, .raw_out = true}};
    run_levels(&q, true, NULL);
}

static void test_refusals(void **state)
{
    cr_conv_geometry g = {.h = 4, .w = 4, .cin = 1, .cout = 1, .kh = 1, .kw = 1};
    finish_geometry(&g);
    const int8_t w = 1;
    const float m = 1;
    cr_conv_s8 *c;
    cr_conv_s8_params p = {.weights = &w, .multiplier = &m, .scale_out = 1};
    assert_int_equal(cr_conv_s8_create(&g, &p, 1, &c, NULL), CR_OK);
    cr_conv_s8_free(c);
    p.zero_in = 256;
    assert_int_equal(cr_conv_s8_create(&g, &p, 1, &c, NULL), CR_ERR_ARGUMENT);
    const int32_t beyond = 256;
    p = (cr_conv_s8_params){.weights = &w, .multiplier = &m, .scale_out = 1, .zeros_in = &beyond};
    assert_int_equal(cr_conv_s8_create(&g, &p, 1, &c, NULL), CR_ERR_ARGUMENT);
    p = (cr_conv_s8_params){.weights = &w, .multiplier = &m, .scale_out = 1, .zeros_w = &beyond};
    assert_int_equal(cr_conv_s8_create(&g, &p, 1, &c, NULL), CR_ERR_ARGUMENT);
    p = (cr_conv_s8_params){.weights = &w, .multiplier = &m, .scales_out = &m};
    assert_int_equal(cr_conv_s8_create(&g, &p, 1, &c, NULL), CR_ERR_ARGUMENT);
    p = (cr_conv_s8_params){.weights = &w, .multiplier = &m};
    assert_int_equal(cr_conv_s8_create(&g, &p, 1, &c, NULL), CR_ERR_ARGUMENT);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),  cmocka_unit_test(test_groups),   cmocka_unit_test(test_tile_edges),
        cmocka_unit_test(test_lines), cmocka_unit_test(test_winograd),   cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_wide_extremes), cmocka_unit_test(test_wrapping), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
