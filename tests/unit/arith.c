/* include/crayon/arith.h against double arithmetic, over a dense sample of all float32 patterns. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "crayon/arith.h"

/* Every 101st bit pattern: 42 million floats of both signs, denormals, infinities and NaN among
 * them; 101 is prime, so all low-order bits occur. */
enum { STRIDE = 101 };

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* Distance in units of the last place of a float32 at `exact`. */
static double ulps(double got, double exact)
{
    int e;
    frexp(exact, &e);
    return fabs(got - exact) / ldexp(1, (e < -125 ? -125 : e) - 24);
}

typedef struct worst {
    const char *name;
    double error, bound;
    float at;
} worst;

static void note(worst *w, float x, double got, double exact)
{
    const double e = ulps(got, exact);
    if (!(e <= w->error)) {
        w->error = e;
        w->at = x;
    }
}

static void judge(const worst *w)
{
    print_message("%s: at most %.4f ulp, at %a\n", w->name, w->error, (double)w->at);
    assert_true(w->error <= w->bound);
}

/* Bounds: what a sweep over all patterns gave (5.54, 5.64, 6.59; the largest
 * stand near |x| = 88, where the reduction is multiplied by 127), rounded up. */
static void activations_are_close(void **state)
{
    worst e = {.name = "exp", .bound = 5.6}, s = {.name = "sigmoid", .bound = 5.7};
    worst u = {.name = "silu", .bound = 6.6};
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += STRIDE) {
        const float x = from_bits((uint32_t)bits);
        const double d = x;
        if (x != x) {
            if (cr_expf(x) == cr_expf(x) || cr_sigmoidf(x) == cr_sigmoidf(x) ||
                cr_siluf(x) == cr_siluf(x) || cr_hard_swishf(x) == cr_hard_swishf(x))
                fail_msg("NaN is lost: %08x", (unsigned)bits);
            continue;
        }
        if (d < -87.33) { /* below the normal range */
            if (!(cr_expf(x) >= 0 && cr_expf(x) < 0x1p-125f) || !(cr_sigmoidf(x) >= 0) ||
                !(cr_sigmoidf(x) < 0x1p-125f) || !(cr_siluf(x) <= 0 && cr_siluf(x) > -0x1p-119f))
                fail_msg("%a is not tiny", d);
            continue;
        }
        if (d <= 88.37) note(&e, x, cr_expf(x), exp(d));
        note(&s, x, cr_sigmoidf(x), 1 / (1 + exp(-d)));
        if (isfinite(x)) note(&u, x, cr_siluf(x), d / (1 + exp(-d)));
    }
    judge(&e);
    judge(&s);
    judge(&u);
}

static void activations_at_the_edges(void **state)
{
    assert_int_equal(to_bits(cr_expf(0)), to_bits(1));
    assert_int_equal(to_bits(cr_expf(-INFINITY)), 0);
    assert_int_equal(to_bits(cr_expf(-1000)), 0);
    assert_true(isinf(cr_expf(INFINITY)) && isinf(cr_expf(1000)));
    assert_true(isfinite(cr_expf(88.37f)) && isinf(cr_expf(88.39f)));
    assert_true(cr_sigmoidf(0) == 0.5f);
    assert_true(cr_sigmoidf(100) == 1 && cr_sigmoidf(INFINITY) == 1);
    assert_true(cr_sigmoidf(-100) == 0 && cr_sigmoidf(-INFINITY) == 0);
    assert_int_equal(to_bits(cr_siluf(-0.0f)), to_bits(-0.0f));
    assert_int_equal(to_bits(cr_siluf(-100)), to_bits(-0.0f));
    assert_int_equal(to_bits(cr_siluf(-INFINITY)), to_bits(-0.0f));
    assert_true(cr_siluf(3e38f) == 3e38f && isinf(cr_siluf(INFINITY)));
    assert_int_equal(to_bits(cr_hard_swishf(-3)), to_bits(-0.0f));
    assert_int_equal(to_bits(cr_hard_swishf(-INFINITY)), to_bits(-0.0f));
    assert_true(cr_hard_swishf(3) == 3 && cr_hard_swishf(1e30f) == 1e30f);
    assert_true(cr_hard_sigmoidf(10, 0.2f, 0.5f) == 1 && cr_hard_sigmoidf(-10, 0.2f, 0.5f) == 0);
    assert_true(cr_clipf(7, 0, 6) == 6 && cr_clipf(-1, 0, 6) == 0 && cr_clipf(NAN, 0, 6) != 0);
    assert_true(cr_leaky_reluf(-2, 0.25f) == -0.5f && cr_leaky_reluf(2, 0.25f) == 2);
}

static void halves_go_to_even(void **state)
{
    static const float in[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 120.5f, 0.49999997f};
    static const int want[] = {0, 2, 2, 0, -2, -2, 120, 0};
    for (int i = 0; i < 8; i++) {
        assert_int_equal(cr_quantize_i8(in[i], 1, 0), want[i]);
        assert_int_equal(cr_round_clamp(in[i], 3, -128, 127), want[i] + 3);
    }
}

static void quantize_saturates(void **state)
{
    assert_int_equal(cr_quantize_u8(1e30f, 1e-3f, 7), 255);
    assert_int_equal(cr_quantize_u8(-1e30f, 1e-3f, 7), 0);
    assert_int_equal(cr_quantize_u8(INFINITY, 1, 7), 255);
    assert_int_equal(cr_quantize_u8(-INFINITY, 1, 7), 0);
    assert_int_equal(cr_quantize_u8(NAN, 1, 7), 0);
    assert_int_equal(cr_quantize_i8(NAN, 1, 7), -128);
    assert_int_equal(cr_quantize_u8(0, 0.1f, 7), 7);
    assert_int_equal(cr_quantize_u16(1e9f, 1, 0), 65535);
    assert_int_equal(cr_quantize_i16(-1e9f, 1, 5), -32768);
    assert_int_equal(cr_requantize(INT_MAX, 1, 0, -128, 127), 127);
    assert_int_equal(cr_requantize(INT_MIN, 1, 0, 0, 255), 0);
}

/* The same sentences in another form: clamp the rounded sum in double, where nothing is inexact
 * after the one float32 quotient or product. */
static void against_double(void **state)
{
    cr_rng r;
    cr_rng_seed(&r, 1);
    for (int i = 0; i < 2000000; i++) {
        const float scale = (float)exp(cr_rng_range(&r, -12, 4));
        const float x = (float)cr_rng_range(&r, -300, 300) * scale;
        const int zp = (int)cr_rng_below(&r, 256);
        const int32_t acc = (int32_t)cr_rng_u64(&r) >> cr_rng_below(&r, 24);
        const double q = rint((double)(float)(x / scale)) + zp;
        assert_int_equal(cr_quantize_u8(x, scale, zp), (int)fmin(fmax(q, 0), 255));
        const float product = (float)acc * scale;
        const double y = rint((double)product) + zp - 128;
        assert_int_equal(cr_requantize(acc, scale, zp - 128, -128, 127),
                         (int)fmin(fmax(y, -128), 127));
    }
}

/* Dequantizing and quantizing again gives the number back for every 8-bit value. */
static void round_trip(void **state)
{
    cr_rng r;
    cr_rng_seed(&r, 2);
    for (int i = 0; i < 20000; i++) {
        const float scale = (float)exp(cr_rng_range(&r, -80, 80));
        const int zp = (int)cr_rng_below(&r, 256);
        for (int q = 0; q < 256; q++)
            assert_int_equal(cr_quantize_u8(cr_dequantize(q, scale, zp), scale, zp), q);
    }
}

static void bias_and_wrapping(void **state)
{
    assert_int_equal(cr_quantize_bias(1.25f, 0.5f, 1), 2);
    assert_int_equal(cr_quantize_bias(-1.25f, 0.5f, 1), -2);
    assert_int_equal(cr_quantize_bias(1e30f, 1, 1), INT_MAX);
    assert_int_equal(cr_quantize_bias(-1e30f, 1, 1), INT_MIN);
    assert_int_equal(cr_quantize_bias(1, 0, 1), 0);
    assert_int_equal(cr_quantize_bias(1, 1e-30f, 1e-30f), 0);
    assert_int_equal(cr_quantize_bias(NAN, 1, 1), 0);
    assert_int_equal(cr_wrap_add(INT_MAX, 1), INT_MIN);
    assert_int_equal(cr_wrap_mul(65536, 65536), 0);
    assert_true(cr_dequantize(INT_MIN, 1, 127) == (float)(-2147483648.0 - 127));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_close), cmocka_unit_test(activations_at_the_edges),
        cmocka_unit_test(halves_go_to_even),     cmocka_unit_test(quantize_saturates),
        cmocka_unit_test(against_double),        cmocka_unit_test(round_trip),
        cmocka_unit_test(bias_and_wrapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
