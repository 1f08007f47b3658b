/* Calibration methods: what each does to a known distribution, the closed form of the error against
 * counting it, and the awkward tensors (empty, constant, denormal, huge, broken) with every method. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "quant/range.h"
#include "quant/stats.h"

enum { COUNT = 5000, METHODS = 7 };

static cr_stats *stats_of(const float *x, int64_t channels, int64_t plane)
{
    cr_stats *s;
    assert_int_equal(cr_stats_create(&s, NULL), CR_OK);
    const cr_tensor t = {
        .name = "t", .dtype = CR_DT_F32, .shape = {4, {1, channels, 1, plane}}};
    const cr_view v = {.tensor = &t, .dtype = CR_DT_F32, .data = x, .rows = 1,
                       .cols = channels * plane, .ld = channels * plane};
    cr_tensor_stats *e = cr_stats_get(s, "t", channels);
    assert_true(cr_stats_split(s, e));
    cr_stats_add(e, &v);
    return s;
}

static cr_range_want want_of(cr_calibration method, int levels, bool symmetric)
{
    return (cr_range_want){method, 99.9, 4, levels, symmetric};
}

static cr_interval choose(const cr_stats *s, cr_calibration method)
{
    const cr_range_want want = want_of(method, 256, false);
    cr_interval v;
    assert_int_equal(cr_range_choose(cr_stats_find(s, "t"), &want, &v, NULL), CR_OK);
    return v;
}

static void bulk_with_outlier(float *x, float outlier)
{
    for (int i = 0; i < COUNT; i++) x[i] = (float)(i - COUNT / 2) / COUNT; /* -.5 .. .5 */
    x[0] = outlier;
}

static void methods_cut_what_they_should(void **state)
{
    (void)state;
    float x[COUNT];
    bulk_with_outlier(x, 100);
    cr_stats *s = stats_of(x, 1, COUNT);
    cr_interval v = choose(s, CR_CALIB_MINMAX);
    assert_true(v.hi == 100 && v.lo < -.49);
    v = choose(s, CR_CALIB_MOVING_AVERAGE); /* one picture: its extremes */
    assert_true(v.hi == 100 && v.lo < -.49);
    v = choose(s, CR_CALIB_PERCENTILE);
    assert_true(v.hi < .6 && v.hi > .4 && v.lo < -.4);
    /* the outlier's clipping error outweighs the noise of 5000 values only while
     * 5000 s^2 / 12 < (100 - hi)^2: mse must cut somewhere strictly between, lp 4 less */
    v = choose(s, CR_CALIB_MSE);
    assert_true(v.hi < 100 && v.hi > 50);
    const cr_interval lp = choose(s, CR_CALIB_LP);
    assert_true(lp.hi >= v.hi);
    cr_stats_release(&s);
}

/* An outlier that no longer matters at 16 bits is not cut there, and cut more at 4. */
static void more_codes_cut_less(void **state)
{
    (void)state;
    float x[COUNT];
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    for (int i = 0; i < COUNT; i++) {
        const double u = cr_rng_range(&rng, -1, 1);
        x[i] = (float)(u * u * u * u * u);
    }
    cr_stats *s = stats_of(x, 1, COUNT);
    double width[3];
    const int levels[3] = {16, 256, 65536};
    for (int i = 0; i < 3; i++) {
        const cr_range_want want = want_of(CR_CALIB_MSE, levels[i], false);
        cr_interval v;
        assert_int_equal(cr_range_choose(cr_stats_find(s, "t"), &want, &v, NULL), CR_OK);
        width[i] = v.hi - v.lo;
    }
    assert_true(width[0] < width[1] && width[1] <= width[2]);
    assert_true(width[2] > .99 * ((double)cr_stats_find(s, "t")->all.max -
                                  (double)cr_stats_find(s, "t")->all.min));
    cr_stats_release(&s);
}

/* The integral over bins against quantizing every value. The values are spread evenly on purpose, so
 * the model of a bin holds up to their number in a bin. */
static void error_is_what_quantizing_gives(void **state)
{
    (void)state;
    float x[COUNT];
    cr_rng rng;
    cr_rng_seed(&rng, 8);
    for (int i = 0; i < COUNT; i++) x[i] = (float)(3.7 * i / COUNT - .9);
    cr_stats *s = stats_of(x, 1, COUNT);
    const cr_histogram *h = &cr_stats_find(s, "t")->all;
    for (int trial = 0; trial < 200; trial++) {
        const int levels = trial % 2 ? 16 : 256;
        const double lo = -cr_rng_range(&rng, .2, 1.2), hi = cr_rng_range(&rng, .5, 3.5);
        const double norm = trial % 3 + 2, step = (hi - lo) / (levels - 1), zero = rint(-lo / step);
        double sum = 0;
        for (int i = 0; i < COUNT; i++) {
            const double q = fmin(fmax(rint((double)x[i] / step), -zero), levels - 1 - zero);
            sum += pow(fabs((double)x[i] - q * step), norm);
        }
        const double got = cr_range_error(h, lo, hi, levels, false, norm);
        /* measured: at most .011 apart, with 1.8 values per bin on average */
        assert_true(fabs(got / (sum / COUNT) - 1) < .03);
    }
    cr_stats_release(&s);
}

/* Whatever was searched by error is at least as good, by that error, as every other method. */
static void searches_find_the_least(void **state)
{
    (void)state;
    cr_rng rng;
    cr_rng_seed(&rng, 11);
    for (int trial = 0; trial < 30; trial++) {
        float x[COUNT];
        const double power = 1 + trial % 5, shift = cr_rng_range(&rng, 0, 1);
        for (int i = 0; i < COUNT; i++) {
            const double u = cr_rng_range(&rng, -1, 1);
            x[i] = (float)(copysign(pow(fabs(u), power), u) + shift);
        }
        cr_stats *s = stats_of(x, 1, COUNT);
        const cr_histogram *h = &cr_stats_find(s, "t")->all;
        /* auto is the least of all by squared error, mse's own search included */
        const cr_interval best_of = choose(s, CR_CALIB_AUTO), mse = choose(s, CR_CALIB_MSE);
        assert_true(cr_range_error(h, best_of.lo, best_of.hi, 256, false, 2) <=
                    cr_range_error(h, mse.lo, mse.hi, 256, false, 2));
        assert_true(best_of.method != CR_CALIB_AUTO);
        for (int norm = 2; norm <= 4; norm += 2) {
            const cr_interval best = choose(s, norm == 2 ? CR_CALIB_MSE : CR_CALIB_LP);
            const double least = cr_range_error(h, best.lo, best.hi, 256, false, norm);
            for (int m = 0; m < METHODS; m++) {
                const cr_interval v = choose(s, (cr_calibration)m);
                /* .979 at worst here: the grid of the search is 1/256 of the range */
                assert_true(cr_range_error(h, v.lo, v.hi, 256, false, norm) >= .97 * least);
            }
        }
        cr_stats_release(&s);
    }
}

/* ---- awkward tensors ---- */

enum { AWKWARD = 512 };

/* Every method, at 4, 8 and 16 bits, symmetric and not, for the tensor and for each channel: an
 * interval around zero within what was seen, and parameters that a kernel can work with. */
static void check_all(const float *x, int64_t channels, int64_t plane)
{
    static const struct { cr_dtype type; int levels; } types[] = {
        {CR_DT_U4, 16}, {CR_DT_U8, 256}, {CR_DT_I8, 256}, {CR_DT_I16, 65536}};
    cr_stats *s = stats_of(x, channels, plane);
    const cr_tensor_stats *t = cr_stats_find(s, "t");
    for (int m = 0; m < METHODS; m++)
        for (int k = 0; k < 8; k++)
            for (int64_t c = -1; c < channels; c++) {
                const bool symmetric = k & 1;
                const cr_range_want want = want_of((cr_calibration)m, types[k / 2].levels, symmetric);
                cr_interval v;
                cr_error err;
                const cr_status st = c < 0 ? cr_range_choose(t, &want, &v, &err)
                                           : cr_range_choose_channel(t, c, &want, &v, &err);
                assert_int_equal(st, CR_OK);
                assert_true(v.lo <= 0 && v.hi >= 0 && isfinite(v.lo) && isfinite(v.hi));
                if (symmetric) assert_true(v.lo == -v.hi);
                else assert_true(v.lo >= fmin((double)t->all.min, 0) &&
                                 v.hi <= fmax((double)t->all.max, 0));
                float scale;
                int32_t z, qlo, qhi;
                cr_range_to_params(v.lo, v.hi, types[k / 2].type, symmetric, &scale, &z);
                cr_qtype_range(types[k / 2].type, &qlo, &qhi);
                assert_true(scale >= FLT_MIN && isfinite(scale) && isfinite(1 / scale));
                assert_true(z >= qlo && z <= qhi);
            }
    cr_stats_release(&s);
}

static void fill(float *x, float value)
{
    for (int i = 0; i < AWKWARD; i++) x[i] = value;
}

static void awkward_tensors(void **state)
{
    (void)state;
    float x[AWKWARD];
    static const float constants[] = {0.f, -0.f, 1.f, -3.f, 1e-42f, -1e-42f, FLT_MIN, 1e30f,
                                      -FLT_MAX, FLT_MAX};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        fill(x, constants[i]);
        check_all(x, 1, AWKWARD);
        check_all(x, AWKWARD, 1); /* one-element channels */
        check_all(x, 1, 1);
    }
    for (int i = 0; i < AWKWARD; i++) x[i] = -1.f - (float)i; /* all negative */
    check_all(x, 4, AWKWARD / 4);
    for (int i = 0; i < AWKWARD; i++) x[i] = (float)i / AWKWARD;
    x[7] = 1e30f; /* one channel with an outlier, one constant zero */
    for (int i = AWKWARD / 2; i < AWKWARD * 3 / 4; i++) x[i] = 0;
    check_all(x, 4, AWKWARD / 4);
    x[9] = -FLT_MAX;
    x[8] = FLT_MAX;
    check_all(x, 4, AWKWARD / 4);
    for (int i = 0; i < AWKWARD; i++) x[i] = (float)i * 1e-44f; /* denormals */
    check_all(x, 4, AWKWARD / 4);
}

static void constants_are_kept(void **state)
{
    (void)state;
    static const float values[] = {1.f, -3.f, 255.f};
    for (int i = 0; i < 3; i++)
        for (int m = 0; m < METHODS; m++) {
            float x[AWKWARD], scale;
            int32_t z;
            fill(x, values[i]);
            cr_stats *s = stats_of(x, 1, AWKWARD);
            const cr_interval v = choose(s, (cr_calibration)m);
            cr_range_to_params(v.lo, v.hi, CR_DT_U8, false, &scale, &z);
            const double code = fmin(fmax(rint((double)values[i] / (double)scale) + z, 0), 255);
            /* a searched end may lie a grid step inside: 1/256 of the range */
            assert_true(fabs((code - z) * (double)scale / (double)values[i] - 1) < .005);
            cr_stats_release(&s);
        }
}

static void broken_tensors_are_refused_by_name(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++)
        for (int m = 0; m < METHODS; m++) {
            float x[AWKWARD];
            const cr_range_want want = want_of((cr_calibration)m, 256, false);
            cr_interval v;
            cr_error err;
            fill(x, 1);
            x[17] = bad[i];
            cr_stats *s = stats_of(x, 2, AWKWARD / 2);
            const cr_tensor_stats *t = cr_stats_find(s, "t");
            assert_int_equal(t->bad, 1);
            assert_int_equal(cr_range_choose(t, &want, &v, &err), CR_ERR_FORMAT);
            assert_non_null(strstr(err.message, "'t'"));
            err.message[0] = 0;
            assert_int_equal(cr_range_choose_channel(t, 1, &want, &v, &err), CR_ERR_FORMAT);
            assert_non_null(strstr(err.message, "'t'"));
            cr_stats_release(&s);
        }
}

/* A channel's choice is that of a tensor which holds the channel alone, up to the coarser bins. */
static void channels_choose_for_themselves(void **state)
{
    (void)state;
    enum { PLANE = 4096 };
    static float x[2 * PLANE];
    cr_rng rng;
    cr_rng_seed(&rng, 21);
    for (int i = 0; i < 2 * PLANE; i++) {
        const double u = cr_rng_range(&rng, -1, 1);
        x[i] = (float)(u * u * u * (i < PLANE ? 1 : 50));
    }
    cr_stats *both = stats_of(x, 2, PLANE);
    for (int c = 0; c < 2; c++) {
        cr_stats *alone = stats_of(x + c * PLANE, 1, PLANE);
        for (int m = 0; m < METHODS; m++) {
            if (m == CR_CALIB_ENTROPY) continue; /* 256 bins do not show what 256 cells lose */
            const cr_range_want want = want_of((cr_calibration)m, 256, false);
            cr_interval v;
            assert_int_equal(
                cr_range_choose_channel(cr_stats_find(both, "t"), c, &want, &v, NULL), CR_OK);
            const cr_interval w = choose(alone, (cr_calibration)m);
            /* two bins of 256 */
            assert_true(fabs(v.hi - w.hi) <= .02 * (w.hi - w.lo));
            assert_true(fabs(v.lo - w.lo) <= .02 * (w.hi - w.lo));
        }
        cr_stats_release(&alone);
    }
    cr_stats_release(&both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_cut_what_they_should),
        cmocka_unit_test(more_codes_cut_less),
        cmocka_unit_test(error_is_what_quantizing_gives),
        cmocka_unit_test(searches_find_the_least),
        cmocka_unit_test(awkward_tensors),
        cmocka_unit_test(constants_are_kept),
        cmocka_unit_test(broken_tensors_are_refused_by_name),
        cmocka_unit_test(channels_choose_for_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
