/* Int8 Winograd convolutions of every level against plain sums: the same bits, to the last code and
 * weight that it accepts; and which it refuses. */
#include "harness.h"

#include "base/threads.h"
#include "kernels/winograd_s8.h"

typedef struct problem {
    cr_conv_geometry g;
    const uint8_t *in, *zero;
    const int8_t *w;
    const int32_t *bias;
    int32_t *sums; /* [pixels][cout] as they should be */
} problem;

static int32_t sum_at(const problem *p, int64_t n, int64_t oy, int64_t ox, int64_t o)
{
    const cr_conv_geometry *g = &p->g;
    int64_t sum = p->bias[o];
    for (int64_t i = 0; i < 9; i++) {
        const int64_t y = oy - g->pad_top + i / 3, x = ox - g->pad_left + i % 3;
        const bool out = y < 0 || y >= g->h || x < 0 || x >= g->w;
        const uint8_t *a = out ? p->zero : p->in + ((n * g->h + y) * g->w + x) * g->ld_in;
        for (int64_t c = 0; c < g->cin; c++) sum += a[c] * p->w[(o * g->cin + c) * 9 + i];
    }
    return (int32_t)(uint32_t)(uint64_t)sum;
}

static void add_up(problem *p)
{
    const cr_conv_geometry *g = &p->g;
    const int64_t pixels = g->n * g->oh * g->ow;
    p->sums = malloc((size_t)(pixels * g->cout) * sizeof *p->sums);
    for (int64_t i = 0; i < pixels * g->cout; i++) {
        const int64_t pixel = i / g->cout;
        p->sums[i] =
            sum_at(p, pixel / (g->oh * g->ow), pixel / g->ow % g->oh, pixel % g->ow, i % g->cout);
    }
}

/* What came out: sums, and how often each was handed over. */
typedef struct result {
    const problem *p;
    const char *level;
    unsigned char *seen;
} result;

static void take(const void *ctx, int64_t pixel, int64_t pixels, int64_t channel, int64_t cols,
                 int32_t *acc, const int32_t *low, int64_t ld)
{
    const result *r = ctx;
    const int64_t cout = r->p->g.cout;
    assert_null(low);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < cols; c++) {
            const int64_t at = (pixel + i) * cout + channel + c;
            r->seen[at]++;
            if (acc[i * ld + c] == r->p->sums[at]) continue;
            print_geometry(&r->p->g);
            fail_msg("level %s: pixel %lld channel %lld is %d, not %d", r->level,
                     (long long)(pixel + i), (long long)(channel + c), acc[i * ld + c],
                     r->p->sums[at]);
        }
}

static void run_level(const problem *p, int level, cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    const size_t count = (size_t)(g->n * g->oh * g->ow * g->cout);
    cr_winograd_s8 *c;
    assert_int_equal(cr_winograd_s8_create(g, p->w, p->bias, p->zero, only_level(level), &c, NULL),
                     CR_OK);
    guarded scratch = guarded_alloc(cr_winograd_s8_scratch(c, cr_pool_threads(pool)), false);
    result r = {p, cr_cpu_level_key((cr_cpu_level)level), calloc(count, 1)};
    cr_winograd_s8_run(c, p->in, 0, take, &r, scratch.data, pool);
    for (size_t i = 0; i < count; i++)
        if (r.seen[i] != 1) fail_msg("level %s: sum %zu came %d times", r.level, i, r.seen[i]);
    free(r.seen);
    guarded_free(&scratch);
    cr_winograd_s8_free(c);
}

static bool has_level(int level)
{
    return cr_winograd_s8_level(level) != NULL;
}

static void run_levels(problem *p, cr_pool *pool)
{
    assert_true(cr_winograd_s8_fits(&p->g, p->w));
    add_up(p);
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (has_level(level) && level_runs(level)) run_level(p, level, pool);
    free(p->sums);
}

static void run_random(const cr_conv_geometry *g, pattern codes, pattern weights, bool at_end,
                       cr_rng *rng, cr_pool *pool)
{
    const size_t in = span_of(g->n * g->h * g->w, g->ld_in, g->cin),
                 w = (size_t)(g->cout * g->cin * 9);
    guarded gi = guarded_alloc(in, at_end), gw = guarded_alloc(w, at_end);
    uint8_t *zero = malloc((size_t)g->cin);
    int32_t *bias = malloc((size_t)g->cout * sizeof *bias);
    fill_u8(gi.data, in, codes, rng);
    fill_s8((int8_t *)gw.data, w, weights, rng);
    fill_u8(zero, (size_t)g->cin, cr_rng_below(rng, 2) ? UNIFORM : NEAR_HIGH, rng);
    for (int64_t i = 0; i < g->cout; i++) bias[i] = (int32_t)(cr_rng_below(rng, 1u << 31) * 2u);
    problem p = {.g = *g, .in = gi.data, .zero = zero, .w = (int8_t *)gw.data, .bias = bias};
    run_levels(&p, pool);
    guarded_free(&gi);
    guarded_free(&gw);
    free(zero);
    free(bias);
}

static void test_random(void **state)
{
    report_levels(has_level);
    cr_pool *pool;
    assert_int_equal(cr_pool_create(2, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 150; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed + 500);
        cr_conv_geometry g = {.n = 1 + (int64_t)cr_rng_below(&rng, 2),
                              .h = 1 + (int64_t)cr_rng_below(&rng, 13),
                              .w = 1 + (int64_t)cr_rng_below(&rng, 22),
                              .cin = 1 + (int64_t)cr_rng_below(&rng, 70),
                              .cout = 1 + (int64_t)cr_rng_below(&rng, 70),
                              .kh = 3,
                              .kw = 3,
                              .pad_top = 1 + (int64_t)cr_rng_below(&rng, 2),
                              .pad_left = 1 + (int64_t)cr_rng_below(&rng, 2)};
        finish_geometry(&g);
        if (seed % 3 == 0) g.ld_in += 1 + (int64_t)cr_rng_below(&rng, 40);
        run_random(&g, (pattern)(seed % PATTERNS), (pattern)(seed / 2 % PATTERNS), seed & 1, &rng,
                   seed % 4 ? NULL : pool);
    }
    cr_pool_free(&pool);
}

/* So many tiles that a work item has full panels, and several items share a picture. */
static void test_large(void **state)
{
    static const int64_t channels[][2] = {{32, 32}, {16, 48}, {80, 80}};
    cr_pool *pool;
    assert_int_equal(cr_pool_create(2, &pool, NULL), CR_OK);
    for (int i = 0; i < 3; i++) {
        cr_rng rng;
        cr_rng_seed(&rng, (uint64_t)i + 900);
        cr_conv_geometry g = {.h = 53,
                              .w = 50,
                              .cin = channels[i][0],
                              .cout = channels[i][1],
                              .kh = 3,
                              .kw = 3,
                              .pad_top = 1,
                              .pad_left = 1};
        finish_geometry(&g);
        run_random(&g, UNIFORM, UNIFORM, true, &rng, i % 2 ? NULL : pool);
    }
    cr_pool_free(&pool);
}

enum { CIN = 122, MOST = (1 << 25) / 255 }; /* MOST: largest sum of weights of one sign */

/* Weights of one sign that sum to +-(MOST + more). */
static void fill_to_limit(int8_t *w, int sign, int more)
{
    int left = MOST + more;
    for (int i = 0; i < CIN * 9; i++) {
        const int each = left < 127 ? left : 127;
        w[i] = (int8_t)(sign * each);
        left -= each;
    }
    assert_int_equal(left, 0);
}

static void test_limit(void **state)
{
    cr_conv_geometry g = {
        .h = 9, .w = 6, .cin = CIN, .cout = 1, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1};
    finish_geometry(&g);
    static uint8_t in[9 * 6 * CIN], zero[CIN];
    static int8_t w[CIN * 9];
    const int32_t bias = 0;
    memset(zero, 255, sizeof zero);
    for (int sign = -1; sign <= 1; sign += 2)
        for (int checks = 0; checks < 2; checks++) { /* all 255; 0 and 255 like a chessboard */
            for (int i = 0; i < 9 * 6 * CIN; i++)
                in[i] = !checks || (i / CIN + i / CIN / 6) % 2 ? 255 : 0;
            fill_to_limit(w, sign, 0);
            problem p = {.g = g, .in = in, .zero = zero, .w = w, .bias = &bias};
            run_levels(&p, NULL);
            fill_to_limit(w, sign, 1);
            assert_true(!cr_winograd_s8_fits(&g, w));
        }
}

static void test_refusals(void **state)
{
    const int8_t w[25] = {0};
    cr_conv_geometry g = {.h = 9, .w = 9, .cin = 1, .cout = 1, .kh = 3, .kw = 3};
    finish_geometry(&g);
    assert_true(cr_winograd_s8_fits(&g, w));
    cr_conv_geometry other = g;
    other.stride_w = 2;
    assert_true(!cr_winograd_s8_fits(&other, w));
    other = g;
    other.dil_h = 2;
    assert_true(!cr_winograd_s8_fits(&other, w));
    other = g;
    other.kh = 5;
    assert_true(!cr_winograd_s8_fits(&other, w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
