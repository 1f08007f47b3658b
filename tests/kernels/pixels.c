/* Pixel loops: every level of this CPU against the portable one, on rows between guard pages. */
#include "harness.h"

#include "vision/resize.h"

/* Rows of these many pixels: around the 4, 8, 16 and 32 that vector loops take at once. */
static const size_t lengths[] = {1,  2,  3,  4,  5,  7,  8,  9,  11, 15,
                                 16, 17, 31, 32, 33, 47, 64, 67, 640};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

static bool has_record(int level)
{
    return level != CR_CPU_C &&
           cr_pixels_choose(only_level(level)) != cr_pixels_choose(only_level(CR_CPU_C));
}

static guarded random_row(size_t bytes, bool at_end, pattern kind, cr_rng *rng)
{
    guarded g = guarded_alloc(bytes, at_end);
    fill_u8(g.data, bytes, kind, rng);
    return g;
}

static void check_halve(const cr_pixels *k, const cr_pixels *c, size_t n, bool at_end, cr_rng *rng)
{
    guarded a = random_row(6 * n, at_end, UNIFORM, rng),
            b = random_row(6 * n, at_end, NEAR_HIGH, rng);
    guarded got = guarded_alloc(3 * n, at_end), want = guarded_alloc(3 * n, at_end);
    k->halve(a.data, b.data, n, got.data);
    c->halve(a.data, b.data, n, want.data);
    assert_memory_equal(got.data, want.data, 3 * n);
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&got);
    guarded_free(&want);
}

static void check_swap(const cr_pixels *k, const cr_pixels *c, size_t n, bool at_end, cr_rng *rng)
{
    guarded got = random_row(3 * n, at_end, UNIFORM, rng), want = guarded_alloc(3 * n, at_end);
    memcpy(want.data, got.data, 3 * n);
    k->swap(got.data, n);
    c->swap(want.data, n);
    assert_memory_equal(got.data, want.data, 3 * n);
    guarded_free(&got);
    guarded_free(&want);
}

static void check_planes(const cr_pixels *k, const cr_pixels *c, size_t n, bool at_end, cr_rng *rng)
{
    const float mean[3] = {0, 103.53f, 116.28f}, div[3] = {255, 57.375f, 1e-3f};
    guarded row = random_row(3 * n, at_end, UNIFORM, rng), got[3], want[3];
    float *g[3], *w[3];
    for (int i = 0; i < 3; i++) {
        got[i] = guarded_alloc(n * sizeof(float), at_end);
        want[i] = guarded_alloc(n * sizeof(float), at_end);
        g[i] = (float *)(void *)got[i].data;
        w[i] = (float *)(void *)want[i].data;
    }
    k->planes(row.data, n, mean, div, g);
    c->planes(row.data, n, mean, div, w);
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(g[i], w[i], n * sizeof(float));
        guarded_free(&got[i]);
        guarded_free(&want[i]);
    }
    guarded_free(&row);
}

static void check_blend(const cr_pixels *k, const cr_pixels *c, size_t n, bool at_end, cr_rng *rng)
{
    const size_t bytes = n * sizeof(int16_t);
    guarded a = guarded_alloc(bytes, at_end), b = guarded_alloc(bytes, at_end);
    guarded got = guarded_alloc(n, at_end), want = guarded_alloc(n, at_end);
    int16_t *h0 = (int16_t *)(void *)a.data, *h1 = (int16_t *)(void *)b.data;
    for (size_t i = 0; i < n; i++) {
        h0[i] = (int16_t)cr_rng_below(rng, 32656); /* 255 * 2049 >> 4 is the largest */
        h1[i] = (int16_t)(32655 - cr_rng_below(rng, 4));
    }
    const int w = (int)cr_rng_below(rng, 2049);
    k->blend(h0, h1, 2048 - w, w, n, got.data);
    c->blend(h0, h1, 2048 - w, w, n, want.data);
    assert_memory_equal(got.data, want.data, n);
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&got);
    guarded_free(&want);
}

static void rows_equal_portable(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 11);
    report_levels(has_record);
    const cr_pixels *c = cr_pixels_choose(only_level(CR_CPU_C));
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has_record(level) || !level_runs(level)) continue;
        const cr_pixels *k = cr_pixels_choose(only_level(level));
        for (int i = 0; i < 2 * LENGTHS; i++) {
            const size_t n = lengths[i / 2];
            check_halve(k, c, n, i % 2, &rng);
            check_swap(k, c, n, i % 2, &rng);
            check_planes(k, c, n, i % 2, &rng);
            check_blend(k, c, n, i % 2, &rng);
        }
    }
}

/* Random sizes, three channels: the whole resize with each record, the source ending at a page that
 * faults. */
static void resize_equals_portable(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 12);
    for (int round = 0; round < 300; round++) {
        const int sw = 1 + (int)cr_rng_below(&rng, 80), sh = 1 + (int)cr_rng_below(&rng, 9);
        const int dw = 1 + (int)cr_rng_below(&rng, 80), dh = 1 + (int)cr_rng_below(&rng, 9);
        const size_t row = (size_t)sw * 3, out_row = (size_t)dw * 3, bytes = out_row * (size_t)dh;
        guarded src = random_row(row * (size_t)sh, true, (pattern)(round % 3), &rng);
        guarded want = guarded_alloc(bytes, true), got = guarded_alloc(bytes, true);
        assert_int_equal(cr_cpu_limit("c", NULL), CR_OK);
        assert_int_equal(cr_resize_linear_u8(src.data, sw, sh, 3, want.data, dw, dh, NULL), CR_OK);
        for (int level = 0; level < CR_CPU_LEVELS; level++) {
            if (!has_record(level) || !level_runs(level)) continue;
            assert_int_equal(cr_cpu_limit(cr_cpu_level_key((cr_cpu_level)level), NULL), CR_OK);
            assert_int_equal(cr_resize_linear_u8(src.data, sw, sh, 3, got.data, dw, dh, NULL),
                             CR_OK);
            assert_memory_equal(got.data, want.data, bytes);
        }
        guarded_free(&src);
        guarded_free(&want);
        guarded_free(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_equal_portable),
        cmocka_unit_test(resize_equals_portable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
