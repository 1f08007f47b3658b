/* Depthwise convolutions beyond what random small geometries of conv_s8.c and conv_f32.c reach:
 * windows up to 9x9, rows that are cut into pieces, channels that are cut into parts, many pictures
 * and threads; on guard pages, against plain loops. Integers and floats give the same bits (floats:
 * levels with fused multiply-add against fmaf, `c` against a product and a sum). */
#include "harness.h"

#include <math.h>

#include "base/threads.h"

typedef struct problem {
    cr_conv_geometry g;
    const void *in;
    const void *w; /* [channels][kh][kw] */
    const int32_t *zeros; /* [channels] */
    int32_t zero_w;       /* of the weights of channel 1 */
} problem;

/* Index of the input value under a tap, or -1 on padding. */
static int64_t find_input(const cr_conv_geometry *g, int64_t pixel, int64_t tap)
{
    const int64_t ox = pixel % g->ow, oy = pixel / g->ow % g->oh, n = pixel / g->ow / g->oh;
    const int64_t y = oy * g->stride_h - g->pad_top + tap / g->kw * g->dil_h;
    const int64_t x = ox * g->stride_w - g->pad_left + tap % g->kw * g->dil_w;
    if (y < 0 || y >= g->h || x < 0 || x >= g->w) return -1;
    return ((n * g->h + y) * g->w + x) * g->ld_in;
}

static int32_t sum_s8(const problem *q, int64_t pixel, int64_t c)
{
    const int64_t taps = q->g.kh * q->g.kw;
    int32_t sum = 0;
    for (int64_t tap = 0; tap < taps; tap++) {
        const int64_t at = find_input(&q->g, pixel, tap);
        if (at < 0) continue;
        const int32_t w = ((const int8_t *)q->w)[c * taps + tap] - (c == 1 ? q->zero_w : 0);
        sum += (((const uint8_t *)q->in)[at + c] - q->zeros[c]) * w;
    }
    return sum;
}

static float sum_f32(const problem *q, int64_t pixel, int64_t c, bool fused)
{
    const int64_t taps = q->g.kh * q->g.kw;
    float sum = 0;
    for (int64_t tap = 0; tap < taps; tap++) {
        const int64_t at = find_input(&q->g, pixel, tap);
        if (at < 0) continue;
        const float a = ((const float *)q->in)[at + c], w = ((const float *)q->w)[c * taps + tap];
        sum = fused ? fmaf(a, w, sum) : a * w + sum;
    }
    return sum;
}

static void check(const problem *q, const unsigned char *out, int level, bool codes)
{
    const cr_conv_geometry *g = &q->g;
    const int64_t pixels = g->n * g->oh * g->ow;
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < (i + 1 < pixels ? g->ld_out : g->cout); c++) {
            unsigned char want[4] = {0xA5, 0xA5, 0xA5, 0xA5};
            const int32_t s = c < g->cout && codes ? sum_s8(q, i, c) : 0;
            const float f = c < g->cout && !codes ? sum_f32(q, i, c, level != CR_CPU_C) : 0;
            if (c < g->cout) memcpy(want, codes ? (const void *)&s : (const void *)&f, 4);
            if (!memcmp(want, out + (i * g->ld_out + c) * 4, 4)) continue;
            print_geometry(g);
            fail_msg("level %s, %s: pixel %lld channel %lld differs",
                     cr_cpu_level_key((cr_cpu_level)level), codes ? "int8" : "float", (long long)i,
                     (long long)c);
        }
}

static void run_s8(const problem *q, int level, bool at_end, cr_pool *pool)
{
    const cr_conv_geometry *g = &q->g;
    int32_t *zeros_w = calloc((size_t)g->cout, sizeof *zeros_w);
    zeros_w[1] = q->zero_w;
    const cr_conv_s8_params p = {.weights = q->w, .zeros_in = q->zeros, .raw_out = true,
                                 .zeros_w = zeros_w};
    cr_conv_s8 *c;
    assert_int_equal(cr_conv_s8_create(g, &p, only_level(level), &c, NULL), CR_OK);
    guarded scratch = guarded_alloc(cr_conv_s8_scratch(c, cr_pool_threads(pool)), false);
    guarded out = guarded_alloc(span_of(g->n * g->oh * g->ow, g->ld_out, g->cout) * 4, at_end);
    cr_conv_s8_run(c, q->in, 0, out.data, 0, scratch.data, pool);
    check(q, out.data, level, true);
    guarded_free(&out);
    guarded_free(&scratch);
    cr_conv_s8_free(c);
    free(zeros_w);
}

static void run_f32(const problem *q, int level, bool at_end, cr_pool *pool)
{
    const cr_conv_geometry *g = &q->g;
    cr_conv_f32 *c;
    assert_int_equal(cr_conv_f32_create(g, q->w, NULL, NULL, only_level(level), &c, NULL), CR_OK);
    assert_int_equal(cr_conv_f32_scratch(c, 1), 0);
    guarded out = guarded_alloc(span_of(g->n * g->oh * g->ow, g->ld_out, g->cout) * 4, at_end);
    cr_conv_f32_run(c, q->in, 0, (float *)(void *)out.data, 0, NULL, pool);
    check(q, out.data, level, false);
    guarded_free(&out);
    cr_conv_f32_free(c);
}

static void run_geometry(const cr_conv_geometry *g, pattern kind, bool at_end, cr_rng *rng,
                         cr_pool *pool)
{
    const size_t n = span_of(g->n * g->h * g->w, g->ld_in, g->cin);
    const size_t n_w = (size_t)(g->cout * g->kh * g->kw);
    guarded codes = guarded_alloc(n, at_end), w8 = guarded_alloc(n_w, at_end);
    guarded floats = guarded_alloc(n * 4, at_end), w32 = guarded_alloc(n_w * 4, at_end);
    fill_u8(codes.data, n, kind, rng);
    fill_s8((int8_t *)w8.data, n_w, kind, rng);
    fill_f32((float *)(void *)floats.data, n, kind, rng);
    fill_f32((float *)(void *)w32.data, n_w, UNIFORM, rng);
    guarded zeros = guarded_alloc((size_t)g->cin * 4, at_end);
    const bool even = cr_rng_below(rng, 2);
    for (int64_t c = 0; c < g->cin; c++) {
        int32_t *zero = (int32_t *)(void *)zeros.data;
        zero[c] = c && even ? zero[0] : (int32_t)cr_rng_below(rng, 256);
    }
    const problem integers = {*g, codes.data, w8.data, (const int32_t *)(void *)zeros.data,
                              (int32_t)cr_rng_below(rng, 256) - 128};
    const problem reals = {*g, floats.data, w32.data, NULL, 0};
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!level_runs(level)) continue;
        if (cr_dwconv_s8_level(level)) run_s8(&integers, level, at_end, pool);
        if (cr_dwconv_f32_level(level)) run_f32(&reals, level, at_end, pool);
    }
    guarded_free(&zeros);
    guarded_free(&codes);
    guarded_free(&w8);
    guarded_free(&floats);
    guarded_free(&w32);
}

static bool has_level(int level)
{
    return cr_dwconv_s8_level(level) || cr_dwconv_f32_level(level);
}

static void test_windows(void **state)
{
    report_levels(has_level);
    cr_pool *pool;
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    static const int64_t channels[] = {2, 7, 16, 17, 33, 48, 64, 71, 96};
    cr_rng rng;
    cr_rng_seed(&rng, 31);
    int turn = 0;
    for (int64_t k = 1; k <= 9; k++)
        for (int64_t stride = 1; stride <= 3; stride++, turn++) {
            cr_conv_geometry g = {.n = 1 + turn % 2, .h = k + turn % 5, .w = k + 7 + turn % 11};
            g.cin = g.cout = g.groups = channels[turn % 9];
            g.kh = k;
            g.kw = turn % 4 ? k : 10 - k;
            g.stride_h = g.stride_w = stride;
            g.pad_top = k / 2;
            g.pad_left = g.kw / 2;
            g.ld_in = g.cin + turn % 3;
            g.ld_out = g.cin + turn % 2 * 5;
            finish_geometry(&g);
            run_geometry(&g, (pattern)(turn % PATTERNS), turn & 1, &rng, turn % 3 ? NULL : pool);
        }
    cr_pool_free(&pool);
}

/* Units are parts of a row and of the channels. */
static void test_pieces(void **state)
{
    cr_pool *pool;
    assert_int_equal(cr_pool_create(2, &pool, NULL), CR_OK);
    static const int64_t sizes[][4] = {
        /* width, channels, window, stride */
        {417, 16, 3, 1}, {331, 33, 3, 2}, {67, 515, 3, 1}, {53, 192, 5, 1}, {131, 80, 7, 2},
    };
    cr_rng rng;
    cr_rng_seed(&rng, 32);
    for (int i = 0; i < 5; i++) {
        cr_conv_geometry g = {.n = 2, .h = 7, .w = sizes[i][0], .kh = sizes[i][2]};
        g.cin = g.cout = g.groups = sizes[i][1];
        g.kw = g.kh;
        g.stride_h = g.stride_w = sizes[i][3];
        g.pad_top = g.pad_left = g.kh / 2;
        finish_geometry(&g);
        run_geometry(&g, UNIFORM, i & 1, &rng, pool);
    }
    cr_pool_free(&pool);
}

/* All codes 255 and all weights -128 or 127 in the largest windows: no 16-bit sum may saturate. */
static void test_extremes(void **state)
{
    enum { C = 19, K = 31 };
    static uint8_t in[C * K * K];
    static int8_t w[C * K * K];
    memset(in, 255, sizeof in);
    for (int sign = 0; sign < 2; sign++) {
        memset(w, sign ? 127 : -128, sizeof w);
        cr_conv_geometry g = {
            .h = K, .w = K, .cin = C, .cout = C, .kh = K, .kw = K, .groups = C, .pad_left = 2};
        finish_geometry(&g);
        static const int32_t zeros[C] = {0};
        const problem q = {g, in, w, zeros, sign ? -128 : 127};
        for (int level = 0; level < CR_CPU_LEVELS; level++)
            if (level_runs(level) && cr_dwconv_s8_level(level)) run_s8(&q, level, true, NULL);
    }
}

/* Windows and steps that are too large for zipped rows run as grouped convolutions. */
static void test_untaken(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 33);
    cr_conv_geometry g = {.h = 3, .w = 9, .cin = 5, .cout = 5, .kh = 2, .kw = 2, .groups = 5};
    g.stride_h = 1;
    g.stride_w = 65;
    g.pad_left = 100;
    finish_geometry(&g);
    assert_true(!cr_dwconv_s8_takes(&g));
    run_geometry(&g, UNIFORM, true, &rng, NULL);
    g.stride_w = 64;
    finish_geometry(&g);
    assert_true(cr_dwconv_s8_takes(&g));
    run_geometry(&g, UNIFORM, true, &rng, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_untaken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
