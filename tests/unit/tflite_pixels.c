/* Dynamic ranges by pixel: each pixel's channels become 256 steps between their least and their greatest
 * value and 0, whatever its neighbours hold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/runtime.h"
#include "tflite/tflite_import.h"
#include "unit/graphs.h"

enum { BATCH = 2, CHANNELS = 5, PIXELS = 12, COUNT = BATCH * CHANNELS * PIXELS };

/* What the nodes that stand for x' give. */
static void round_pixels(const float *x, float *out)
{
    cr_tfl_import m = {.g = graph_new(), .op_name = "test", .budget = 1 << 16};
    cr_tensor *y, result = {0};
    cr_error err;
    const float *const inputs[] = {x};
    cr_tensor *in = graph_input(m.g, "x", shape_of(4, BATCH, CHANNELS, 3, 4));
    cr_status st = cr_tfl_round_pixels(&m, in, &y, &err);
    if (st == CR_OK) {
        graph_output(m.g, y);
        st = cr_tfl_name_all(&m, &err);
    }
    if (st != CR_OK) fail_msg("%s", err.message);
    graph_ready(m.g);
    assert_int_equal(y->dtype, CR_DT_F32);
    if (cr_reference_run(m.g, NULL, inputs, &result, NULL, &err) != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(cr_shape_count(&result.shape), COUNT);
    memcpy(out, result.data, COUNT * sizeof *out);
    cr_tensor_drop_data(&result);
    cr_names_free(&m.names);
    cr_graph_free(&m.g);
}

static size_t at(int picture, int channel, int pixel)
{
    return (size_t)((picture * CHANNELS + channel) * PIXELS + pixel);
}

/* Pixels of very different sizes, signs mixed. */
static void make_pixels(float *x)
{
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    for (int b = 0; b < BATCH; b++)
        for (int p = 0; p < PIXELS; p++)
            for (int c = 0; c < CHANNELS; c++)
                x[at(b, c, p)] = (float)cr_rng_range(&rng, -1, 1) * powf(10, (float)(p % 7 - 3));
}

static float end_of(const float *x, int picture, int pixel, float sign)
{
    float most = 0;
    for (int c = 0; c < CHANNELS; c++) most = fmaxf(most, sign * x[at(picture, c, pixel)]);
    return sign * most;
}

/* In float32, operation by operation: the same bits. */
static void is_what_xnnpack_does(void **state)
{
    (void)state;
    float x[COUNT], y[COUNT];
    make_pixels(x);
    round_pixels(x, y);
    for (int b = 0; b < BATCH; b++)
        for (int p = 0; p < PIXELS; p++) {
            const float lo = end_of(x, b, p, -1), range = end_of(x, b, p, 1) - lo;
            const float step = range * (1 / 255.f), steps = 1 / step, z = rintf(-(lo * steps));
            for (int c = 0; c < CHANNELS; c++) {
                const float code = fminf(fmaxf(rintf(x[at(b, c, p)] * steps) + z, 0), 255);
                const float expected = (code - z) * step;
                if (y[at(b, c, p)] != expected)
                    fail_msg("picture %d, pixel %d, channel %d: %g is %g, not %g", b, p, c, (double)x[at(b, c, p)],
                             (double)y[at(b, c, p)], (double)expected);
            }
        }
}

/* 0 and both ends have codes; nothing moves by more than a step: half of one, and what moving the zero
 * point to a whole number takes from the end. */
static void moves_by_a_step(void **state)
{
    (void)state;
    float x[COUNT], y[COUNT];
    make_pixels(x);
    for (int p = 0; p < PIXELS; p++) x[at(0, 2, p)] = 0;
    round_pixels(x, y);
    for (int b = 0; b < BATCH; b++)
        for (int p = 0; p < PIXELS; p++) {
            const double step = ((double)end_of(x, b, p, 1) - (double)end_of(x, b, p, -1)) / 255;
            for (int c = 0; c < CHANNELS; c++)
                assert_true(fabs((double)y[at(b, c, p)] - (double)x[at(b, c, p)]) <= 1.0001 * step);
        }
    for (int p = 0; p < PIXELS; p++) assert_true(y[at(0, 2, p)] == 0);
}

/* Of one sign, the range begins at 0; a pixel of zeros stays zero. */
static void one_sign_and_none(void **state)
{
    (void)state;
    float x[COUNT] = {0}, y[COUNT];
    for (int c = 0; c < CHANNELS; c++) {
        x[at(0, c, 0)] = 10.0f + (float)c;  /* steps of 14/255, not of 4/255 */
        x[at(0, c, 1)] = -10.0f - (float)c;
    }
    round_pixels(x, y);
    const float step = 14 * (1 / 255.f);
    for (int c = 0; c < CHANNELS; c++) {
        assert_true(y[at(0, c, 0)] == rintf((10.0f + (float)c) * (1 / step)) * step);
        assert_true(y[at(0, c, 1)] == -y[at(0, c, 0)]);
    }
    for (int p = 2; p < PIXELS; p++)
        for (int c = 0; c < CHANNELS; c++) assert_true(y[at(0, c, p)] == 0 && y[at(1, c, p)] == 0);
}

/* Another value in one pixel of one picture changes nothing else. */
static void pixels_stand_alone(void **state)
{
    (void)state;
    float x[COUNT], before[COUNT], after[COUNT];
    int changed = 0;
    make_pixels(x);
    round_pixels(x, before);
    x[at(1, 3, 7)] = 1e4f;
    round_pixels(x, after);
    for (int b = 0; b < BATCH; b++)
        for (int p = 0; p < PIXELS; p++)
            for (int c = 0; c < CHANNELS; c++) {
                const bool differs = before[at(b, c, p)] != after[at(b, c, p)];
                assert_false(differs && !(b == 1 && p == 7));
                changed += differs;
            }
    assert_int_equal(changed, CHANNELS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_what_xnnpack_does),
        cmocka_unit_test(moves_by_a_step),
        cmocka_unit_test(one_sign_and_none),
        cmocka_unit_test(pixels_stand_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
