#define _XOPEN_SOURCE 700
/* Calibration statistics: exact merging, independence of order, methods, JSON round trip. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "quant/range.h"
#include "quant/stats.h"

enum { PICTURES = 12, COUNT = 5000 };

static float data[PICTURES][COUNT];

static void make_data(uint64_t seed)
{
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    for (int p = 0; p < PICTURES; p++)
        for (int i = 0; i < COUNT; i++) {
            const double u = cr_rng_range(&rng, -1, 1);
            data[p][i] = (float)(u * u * u * (1 << (p % 5)));
        }
}

static void add(cr_stats *s, int p)
{
    const cr_tensor t = {.name = "t", .dtype = CR_DT_F32, .shape = {2, {1, COUNT}}};
    const cr_view v = {&t, CR_DT_F32, data[p], 1, COUNT, COUNT, false, 0, 0, NULL, NULL};
    cr_stats_add(cr_stats_get(s, "t", 0), &v);
    s->pictures++;
}

static void assert_same_histogram(const cr_histogram *x, const cr_histogram *y)
{
    assert_true(x->min == y->min && x->max == y->max);
    assert_int_equal(x->exponent, y->exponent);
    assert_int_equal(x->first, y->first);
    assert_int_equal(x->bins, y->bins);
    assert_memory_equal(x->counts, y->counts, (size_t)x->bins * sizeof *x->counts);
}

static void assert_same(const cr_stats *a, const cr_stats *b)
{
    const cr_tensor_stats *x = cr_stats_find(a, "t"), *y = cr_stats_find(b, "t");
    assert_int_equal(x->count, y->count);
    assert_same_histogram(&x->all, &y->all);
}

static void order_and_division_do_not_matter(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        cr_stats *forward, *backward, *half[2];
        make_data(seed);
        cr_stats_create(&forward, NULL);
        cr_stats_create(&backward, NULL);
        for (int i = 0; i < 2; i++) cr_stats_create(&half[i], NULL);
        for (int p = 0; p < PICTURES; p++) {
            add(forward, p);
            add(backward, PICTURES - 1 - p);
            add(half[p * 7 % 3 == 0], p);
        }
        assert_same(forward, backward);
        assert_int_equal(cr_stats_merge(half[0], half[1], NULL), CR_OK);
        assert_same(forward, half[0]);
        cr_stats_release(&forward);
        cr_stats_release(&backward);
        for (int i = 0; i < 2; i++) cr_stats_release(&half[i]);
    }
}

static void bins_hold_what_they_say(void **state)
{
    (void)state;
    cr_stats *s;
    make_data(3);
    cr_stats_create(&s, NULL);
    for (int p = 0; p < PICTURES; p++) add(s, p);
    const cr_tensor_stats *t = cr_stats_find(s, "t");
    uint64_t total = 0;
    for (int k = 0; k < CR_HIST_BINS; k++) {
        uint64_t expected = 0;
        const double width = ldexp(1, t->all.exponent), lo = (double)(t->all.first + k) * width;
        for (int p = 0; p < PICTURES && (k % 97 == 0); p++)
            for (int i = 0; i < COUNT; i++)
                expected += (double)data[p][i] >= lo && (double)data[p][i] < lo + width;
        if (k % 97 == 0) assert_int_equal(expected, t->all.counts[k]);
        total += t->all.counts[k];
    }
    assert_int_equal(total, PICTURES * COUNT);
    cr_stats_release(&s);
}

enum { CHANNELS = 3, PLANE = 500 };

/* Channel c of picture p as it lies in `data`, row-major or pixel by pixel. */
static float channel_value(int p, int c, int i)
{
    return data[p][c * PLANE + i] * (float)(1 << (4 * c));
}

static void add_picture(cr_stats *s, int p, bool nhwc)
{
    static float x[CHANNELS * PLANE];
    for (int c = 0; c < CHANNELS; c++)
        for (int i = 0; i < PLANE; i++)
            x[nhwc ? i * CHANNELS + c : c * PLANE + i] = channel_value(p, c, i);
    const cr_tensor t = {.name = "t", .dtype = CR_DT_F32, .shape = {4, {1, CHANNELS, 20, 25}}};
    const int64_t cols = nhwc ? CHANNELS : CHANNELS * PLANE;
    const cr_view v = {.tensor = &t, .dtype = CR_DT_F32, .data = x, .rows = nhwc ? PLANE : 1,
                       .cols = cols, .ld = cols, .nhwc = nhwc};
    cr_tensor_stats *e = cr_stats_get(s, "t", CHANNELS);
    if (!e->channel) assert_true(cr_stats_split(s, e));
    cr_stats_add(e, &v);
    s->pictures++;
}

static void channels_are_counted_apart(void **state)
{
    (void)state;
    cr_stats *s[2], *half[2], *back;
    cr_error err;
    char path[] = "stats-test-XXXXXX";
    close(mkstemp(path));
    make_data(4);
    for (int i = 0; i < 2; i++) {
        cr_stats_create(&s[i], NULL);
        cr_stats_create(&half[i], NULL);
        for (int p = 0; p < PICTURES; p++) add_picture(s[i], p, i);
    }
    for (int p = 0; p < PICTURES; p++) add_picture(half[p % 3 == 0], p, p % 2);
    assert_int_equal(cr_stats_merge(half[0], half[1], NULL), CR_OK);
    assert_int_equal(cr_stats_write(s[0], path, &err), CR_OK);
    assert_int_equal(cr_stats_read(path, &back, &err), CR_OK);
    unlink(path);
    const cr_tensor_stats *a = cr_stats_find(s[0], "t");
    const cr_tensor_stats *others[] = {cr_stats_find(s[1], "t"), cr_stats_find(half[0], "t"),
                                       cr_stats_find(back, "t")};
    for (int k = 0; k < 3; k++)
        for (int c = 0; c < CHANNELS; c++) {
            assert_same_histogram(&a->channel[c], &others[k]->channel[c]);
            assert_true(a->channel_min[c] == others[k]->channel_min[c]);
            assert_true(a->channel_max[c] == others[k]->channel_max[c]);
            assert_true(fabs(a->channel_sum_max[c] - others[k]->channel_sum_max[c]) < 1e-12);
        }
    for (int c = 0; c < CHANNELS; c++) {
        uint64_t total = 0;
        for (int k = 0; k < CR_CHANNEL_BINS; k++) total += a->channel[c].counts[k];
        assert_int_equal(total, PICTURES * PLANE);
        float most = 0;
        for (int p = 0; p < PICTURES; p++)
            for (int i = 0; i < PLANE; i++) most = fmaxf(most, channel_value(p, c, i));
        assert_true(a->channel_max[c] == most && a->channel[c].max == most);
    }
    cr_stats_reset(s[0]);
    for (int p = 0; p < PICTURES; p++) add_picture(s[0], p, p % 2);
    assert_same_histogram(&cr_stats_find(s[0], "t")->channel[1], &others[0]->channel[1]);
    for (int i = 0; i < 2; i++) {
        cr_stats_release(&s[i]);
        cr_stats_release(&half[i]);
    }
    cr_stats_release(&back);
}

static void parameters_represent_zero(void **state)
{
    (void)state;
    cr_rng rng;
    cr_rng_seed(&rng, 5);
    const cr_dtype types[] = {CR_DT_U8, CR_DT_I8, CR_DT_I16};
    for (int i = 0; i < 3000; i++) {
        float scale;
        int32_t z, qlo, qhi;
        const cr_dtype type = types[i % 3];
        const double lo = -cr_rng_unit(&rng) * (i % 7 ? 10 : 0), hi = cr_rng_unit(&rng) * (i % 5);
        cr_range_to_params(lo, hi, type, i % 2, &scale, &z);
        cr_qtype_range(type, &qlo, &qhi);
        assert_true(scale > 0 && isfinite(scale) && z >= qlo && z <= qhi);
        if (lo == hi) assert_true(scale == 1.f);
        /* both ends are reached to within one step */
        assert_true((double)(float)(qhi - z) * (double)scale >= hi - (double)scale * 1.001);
        assert_true((double)(float)(qlo - z) * (double)scale <= lo + (double)scale * 1.001);
    }
}

static void json_round_trip(void **state)
{
    (void)state;
    cr_stats *s, *back;
    cr_error err;
    char path[] = "stats-test-XXXXXX";
    const int fd = mkstemp(path);
    make_data(9);
    cr_stats_create(&s, NULL);
    for (int p = 0; p < PICTURES; p++) add(s, p);
    assert_int_equal(cr_stats_write(s, path, &err), CR_OK);
    assert_int_equal(cr_stats_read(path, &back, &err), CR_OK);
    assert_same(s, back);
    assert_int_equal(back->pictures, PICTURES);
    cr_stats_release(&s);
    cr_stats_release(&back);
    close(fd);
    FILE *f = fopen(path, "w");
    fputs("{\"format\": 3", f);
    fclose(f);
    assert_int_equal(cr_stats_read(path, &back, &err), CR_ERR_FORMAT);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_division_do_not_matter),
        cmocka_unit_test(bins_hold_what_they_say),
        cmocka_unit_test(channels_are_counted_apart),
        cmocka_unit_test(parameters_represent_zero),
        cmocka_unit_test(json_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
