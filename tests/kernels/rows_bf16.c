/* Rows of bfloat16 at every level, to the bit, against kernels/bf16.h and plain loops: all lengths
 * around the vectors, both sides on guard pages, values of any bits. */
#include "harness.h"

#include "kernels/rows_bf16.h"

enum { LONGEST = 131 };

static bool has_level(int level)
{
    return cr_rows_bf16_level(level) != NULL;
}

/* Any bits: subnormals, infinities and NaN are as likely as their patterns; halves that must round
 * to even are not, hence the second kind. */
static uint32_t any_bits(cr_rng *rng)
{
    const uint32_t u = cr_rng_below(rng, 1 << 16) << 16 | cr_rng_below(rng, 1 << 16);
    switch (cr_rng_below(rng, 6)) {
    case 0:
        return (u & 0xffff0000) | 0x8000;
    case 1:
        return u & 0x807fffff;
    case 2:
        return u | 0x7f800000;
    default:
        return u;
    }
}

static void fill_any(float *p, size_t n, cr_rng *rng)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = any_bits(rng);
        memcpy(&p[i], &u, sizeof u);
    }
}

static void check_from(const cr_rows_bf16 *k, size_t n, bool at_end, cr_rng *rng)
{
    guarded gx = guarded_alloc(n * sizeof(float), at_end);
    guarded gy = guarded_alloc(n * sizeof(cr_bf16), at_end);
    float *x = (float *)(void *)gx.data;
    cr_bf16 *y = (cr_bf16 *)(void *)gy.data;
    fill_any(x, n, rng);
    k->from_f32(y, x, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(y[i], cr_bf16_round(x[i]));
    k->to_f32(x, y, n);
    for (size_t i = 0; i < n; i++) {
        const float want = cr_bf16_widen(y[i]);
        assert_memory_equal(&x[i], &want, sizeof want);
    }
    guarded_free(&gx);
    guarded_free(&gy);
}

static bool above(cr_bf16 a, cr_bf16 b)
{
    const int32_t u = a & 0x8000 ? -(a & 0x7fff) - 1 : a, v = b & 0x8000 ? -(b & 0x7fff) - 1 : b;
    return u > v;
}

static bool is_nan(cr_bf16 h)
{
    return (h & 0x7fff) > 0x7f80;
}

static void check_two(const cr_rows_bf16 *k, size_t n, bool at_end, cr_rng *rng)
{
    guarded gx = guarded_alloc(n * sizeof(cr_bf16), at_end);
    guarded gy = guarded_alloc(n * sizeof(cr_bf16), at_end);
    cr_bf16 *x = (cr_bf16 *)(void *)gx.data, *y = (cr_bf16 *)(void *)gy.data, was[LONGEST];
    for (size_t i = 0; i < n; i++) {
        x[i] = (cr_bf16)(any_bits(rng) >> 16);
        y[i] = (cr_bf16)(any_bits(rng) >> 16);
    }
    memcpy(was, y, n * sizeof *y);
    k->max(y, x, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(y[i], above(x[i], was[i]) ? x[i] : was[i]);
    memcpy(y, was, n * sizeof *y);
    k->add(y, x, y, n);
    for (size_t i = 0; i < n; i++) {
        const cr_bf16 want = cr_bf16_round(cr_bf16_widen(x[i]) + cr_bf16_widen(was[i]));
        assert_true(is_nan(want) ? is_nan(y[i]) : y[i] == want); /* which NaN is the CPU's matter */
    }
    guarded_free(&gx);
    guarded_free(&gy);
}

static void check_weave(const cr_rows_bf16 *k, size_t n, int planes, bool at_end, cr_rng *rng)
{
    guarded g[4], gy = guarded_alloc(4 * n * sizeof(cr_bf16), at_end);
    const float *from[4] = {NULL};
    const cr_bf16 *y = (const cr_bf16 *)(const void *)gy.data;
    for (int i = 0; i < planes; i++) {
        g[i] = guarded_alloc(n * sizeof(float), at_end);
        fill_any((float *)(void *)g[i].data, n, rng);
        from[i] = (const float *)(const void *)g[i].data;
    }
    k->weave((cr_bf16 *)(void *)gy.data, from, n);
    for (size_t i = 0; i < 4 * n; i++)
        assert_int_equal(y[i], from[i % 4] ? cr_bf16_round(from[i % 4][i / 4]) : 0);
    for (int i = 0; i < planes; i++) guarded_free(&g[i]);
    guarded_free(&gy);
}

static void test_rows(void **state)
{
    report_levels(has_level);
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has_level(level) || !level_runs(level)) continue;
        const cr_rows_bf16 *k = cr_rows_bf16_level(level);
        for (size_t n = 1; n <= LONGEST; n++) {
            check_from(k, n, n & 1, &rng);
            check_two(k, n, n & 1, &rng);
            check_weave(k, n, 1 + (int)n % 4, n & 1, &rng);
        }
    }
}

/* The definition itself: neighbours, ties, the ends of the range. */
static void test_rounding(void **state)
{
    static const struct {
        uint32_t bits;
        cr_bf16 want;
    } cases[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
                 {0x3f818000, 0x3f82}, {0x7f7fffff, 0x7f80}, {0xff7f7fff, 0xff7f},
                 {0x007fffff, 0x0000}, {0x807fffff, 0x8000}, {0x00800000, 0x0080},
                 {0x7f800001, 0x7fc0}, {0xffc12345, 0xffc1}, {0x80000000, 0x8000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float x;
        memcpy(&x, &cases[i].bits, sizeof x);
        assert_int_equal(cr_bf16_round(x), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_rounding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
