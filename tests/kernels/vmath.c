/* Vector mathematics: every level gives the bits of the portable one, on any length, in place too,
 * between guard pages; and the portable functions are close to the C library's. */
#include "harness.h"

#include <math.h>

#include "kernels/vmath.h"

static bool has_level(int level)
{
    return cr_vmath_level(level) != NULL;
}

static void fill(float *x, size_t n, uint64_t seed)
{
    static const float odd[] = {0,  -0.0f, 1,        -1,        0.625f, 4,      -4,      10,
                                88, -88,   INFINITY, -INFINITY, NAN,    1e-30f, -1e-30f, 1e30f};
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    const double range = seed % 3 ? 3 : 30;
    for (size_t i = 0; i < n; i++)
        x[i] = cr_rng_below(&rng, 12) ? (float)cr_rng_range(&rng, -range, range)
                                      : odd[cr_rng_below(&rng, seed % 2 ? 10 : 16)];
}

/* NaN equals NaN whatever its bits (the sign of a made one differs from CPU to CPU). */
static void check_same(const float *want, const float *got, size_t n, const char *what, int level)
{
    for (size_t i = 0; i < n; i++) {
        if (!memcmp(&want[i], &got[i], sizeof *want) || (isnan(want[i]) && isnan(got[i]))) continue;
        fail_msg("%s at level %s, element %zu of %zu: %a, not %a", what,
                 cr_cpu_level_key((cr_cpu_level)level), i, n, (double)got[i], (double)want[i]);
    }
}

enum { MOST = 67 };

static void test_levels(void **state)
{
    report_levels(has_level);
    const cr_vmath *c = cr_vmath_level(CR_CPU_C);
    for (size_t n = 1; n <= MOST; n++) {
        guarded gx = guarded_alloc(n * sizeof(float), n & 1);
        guarded gz = guarded_alloc(n * sizeof(float), n & 1);
        guarded gy = guarded_alloc(n * sizeof(float), n & 1);
        float *x = (float *)(void *)gx.data, *y = (float *)(void *)gy.data;
        float *z = (float *)(void *)gz.data, want[MOST];
        fill(x, n, n);
        fill(z, n, n + 100);
        for (int level = 1; level < CR_CPU_LEVELS; level++) {
            if (!has_level(level) || !level_runs(level)) continue;
            const cr_vmath *k = cr_vmath_level(level);
            for (int f = 0; f < CR_VM_FNS; f++) {
                c->map((cr_vmath_fn)f, want, x, n);
                k->map((cr_vmath_fn)f, y, x, n);
                check_same(want, y, n, "map", level);
            }
            for (int op = 0; op < CR_VM_PAIRS; op++)
                for (int one = 0; one < 4; one++) {
                    c->pair((cr_vmath_pair)op, want, x, one & 1, z, one & 2, n);
                    k->pair((cr_vmath_pair)op, y, x, one & 1, z, one & 2, n);
                    check_same(want, y, n, "pair", level);
                }
            for (size_t i = 0; i < n; i++) y[i] = isnan(x[i]) || isinf(x[i]) ? 0 : x[i];
            if (c->largest(y, n) != k->largest(y, n)) fail_msg("largest of %zu", n);
            c->softmax(want, y, n);
            k->softmax(y, y, n);
            check_same(want, y, n, "softmax", level);
            c->blend(want, x, .3f, z, .7f, n);
            k->blend(y, x, .3f, z, .7f, n);
            check_same(want, y, n, "blend", level);
            c->normalize(want, x, .3f, 1.7f, z, x, n);
            k->normalize(y, x, .3f, 1.7f, z, x, n);
            check_same(want, y, n, "normalize", level);
            for (int add = 0; add < 2; add++) {
                memcpy(want, z, n * sizeof *want);
                memcpy(y, z, n * sizeof *y);
                c->swish_slope(want, x, z, .9f, add, n);
                k->swish_slope(y, x, z, .9f, add, n);
                check_same(want, y, n, "swish_slope", level);
            }
        }
        guarded_free(&gx);
        guarded_free(&gy);
        guarded_free(&gz);
    }
}

/* Measured: erf 1.5e-7, gelu 4.5e-7 (at 5, where one ulp is 4.8e-7), tanh 7.6e-8, the slope of
 * x * sigmoid(x) 5.2e-7. Below: twice that. */
static void test_values(void **state)
{
    const cr_vmath *c = cr_vmath_level(CR_CPU_C);
    double worst[4] = {0};
    for (int i = -600000; i <= 600000; i++) {
        const float x = (float)i * 1e-5f;
        const float one = 1;
        float y[4];
        c->map(CR_VM_ERF, &y[0], &x, 1);
        c->map(CR_VM_GELU, &y[1], &x, 1);
        c->map(CR_VM_TANH, &y[2], &x, 1);
        c->swish_slope(&y[3], &x, &one, 1, false, 1);
        const double d = (double)x, s = 1 / (1 + exp(-d));
        const double want[4] = {erf(d), d / 2 * (1 + erf(d * sqrt(0.5))), tanh(d),
                                s * (1 + d * (1 - s))};
        for (int k = 0; k < 4; k++) worst[k] = fmax(worst[k], fabs((double)y[k] - want[k]));
    }
    print_message("erf %.2g, gelu %.2g, tanh %.2g, slope %.2g from the C library's\n", worst[0],
                  worst[1], worst[2], worst[3]);
    assert_true(worst[0] < 3e-7 && worst[1] < 9e-7 && worst[2] < 1.6e-7 && worst[3] < 1.1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels),
                                       cmocka_unit_test(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
