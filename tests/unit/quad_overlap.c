/* The area that two quadrilaterals share: by hand where there is a formula, else held against lines
 * drawn through both, whose common lengths are summed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "eval/quad_overlap.h"

/* Sums of some forty products of numbers below 1e3. */
static const double CLOSE = 1e-9;

static void assert_close(double a, double b, double limit)
{
    if (!(fabs(a - b) <= limit)) fail_msg("%.17g is not %.17g", a, b);
}

static void turned(double x, double y, double w, double h, double angle, double out[8])
{
    static const double ends[4][2] = {{.5, .5}, {.5, -.5}, {-.5, -.5}, {-.5, .5}};
    for (int k = 0; k < 4; k++) {
        const double u = ends[k][0] * w, v = ends[k][1] * h;
        out[2 * k] = x + u * cos(angle) - v * sin(angle);
        out[2 * k + 1] = y + u * sin(angle) + v * cos(angle);
    }
}

static void by_hand(void **state)
{
    const double square[8] = {0, 0, 1, 0, 1, 1, 0, 1},
                 other[8] = {.5, .25, 1.5, .25, 1.5, 1.25, .5, 1.25};
    const double beside[8] = {1, 0, 2, 0, 2, 1, 1, 1}, point[8] = {.5, .5, .5, .5, .5, .5, .5, .5};
    double q[8], box[4];
    assert_close(cr_quad_area(square), 1, 0);
    assert_close(cr_quad_both(square, square), 1, CLOSE);
    assert_close(cr_quad_both(square, other), .375, CLOSE);
    assert_close(cr_quad_both(square, beside), 0, 0);
    assert_close(cr_quad_both(square, point), 0, 0);
    turned(.5, .5, 1, 1, acos(-1) / 4, q); /* what is left is an octagon */
    assert_close(cr_quad_both(square, q), 2 * sqrt(2) - 2, CLOSE);
    cr_quad_box(q, box);
    assert_close(box[0], .5 - sqrt(.5), CLOSE);
    assert_close(box[3], sqrt(2), CLOSE);
    turned(.5, .5, .25, .5, 1, q);
    assert_close(cr_quad_both(square, q), .125, CLOSE);
    const double arrow[8] = {0, 0, 1, .5, 0, 1, .5, .5}; /* not convex */
    assert_close(cr_quad_area(arrow), .25, CLOSE);
    assert_close(cr_quad_both(square, arrow), .25, CLOSE);
    const double left[8] = {0, 0, .5, 0, .5, 1, 0, 1};
    assert_close(cr_quad_both(arrow, left), .125, CLOSE);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Where the line at y enters and leaves: 0, 2 or 4 places. */
static int crossings(const double q[8], double y, double out[4])
{
    int n = 0;
    for (int k = 0; k < 4; k++) {
        const double *a = q + 2 * k, *b = q + 2 * ((k + 1) % 4);
        if ((a[1] < y) != (b[1] < y)) out[n++] = a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]);
    }
    qsort(out, (size_t)n, sizeof *out, by_value);
    return n;
}

static double common_length(const double a[8], const double b[8], double y)
{
    double p[4], q[4], sum = 0;
    const int n = crossings(a, y, p), m = crossings(b, y, q);
    for (int i = 0; i < n; i += 2)
        for (int k = 0; k < m; k += 2) sum += fmax(0, fmin(p[i + 1], q[k + 1]) - fmax(p[i], q[k]));
    return sum;
}

enum { LINES = 20000 };

static double by_lines(const double a[8], const double b[8])
{
    double box[4], sum = 0;
    cr_quad_box(a, box);
    for (int i = 0; i < LINES; i++) sum += common_length(a, b, box[1] + (i + .5) / LINES * box[3]);
    return sum / LINES * box[3];
}

static void reverse(double q[8])
{
    for (int k = 0; k < 2; k++)
        for (int d = 0; d < 2; d++) {
            const double t = q[2 * k + d];
            q[2 * k + d] = q[2 * (3 - k) + d];
            q[2 * (3 - k) + d] = t;
        }
}

/* Turned boxes, and quadrilaterals with a corner pushed in or out. */
static void by_chance(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 5);
    int apart = 0;
    for (int i = 0; i < 200; i++) {
        double q[2][8];
        for (int k = 0; k < 2; k++) {
            turned(cr_rng_range(&rng, 0, 60), cr_rng_range(&rng, 0, 60), cr_rng_range(&rng, 1, 80),
                   cr_rng_range(&rng, 1, 80), cr_rng_range(&rng, 0, 6.3), q[k]);
            if (i % 3 == k) { /* the first corner on its diagonal: .3 is not convex */
                const double way = cr_rng_range(&rng, .3, 1.5);
                for (int d = 0; d < 2; d++) q[k][d] = q[k][4 + d] + way * (q[k][d] - q[k][4 + d]);
            }
        }
        const double both = cr_quad_both(q[0], q[1]);
        apart += both == 0;
        /* lines 1/200 apart at most, over edges of slopes: error of the midpoint rule, measured
         * .0017 */
        assert_close(both, by_lines(q[0], q[1]), .01);
        assert_close(cr_quad_both(q[1], q[0]), both, CLOSE);
        assert_close(cr_quad_area(q[0]), by_lines(q[0], q[0]), .01);
        reverse(q[0]);
        assert_close(cr_quad_both(q[0], q[1]), both, CLOSE);
        for (int d = 0; d < 16; d++) q[d / 8][d % 8] += 1e5;
        assert_close(cr_quad_both(q[0], q[1]), both, 1e-7); /* 1e5 has eleven digits left */
    }
    assert_in_range(apart, 10, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(by_chance)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
