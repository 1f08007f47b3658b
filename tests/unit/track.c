/* Tracking: pairs are the cheapest, numbers stay with their objects, lines and zones count them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "crayon/track.h"
#include "vision/assign.h"

/* The least sum over all ways to pair every one of the fewer, by trying them. */
static double best_sum(const float *cost, int rows, int columns, int row, unsigned used, int left)
{
    if (!left) return 0;
    if (row == rows) return INFINITY;
    double best = rows - row > left ? best_sum(cost, rows, columns, row + 1, used, left) : INFINITY;
    for (int c = 0; c < columns; c++) {
        if (used >> c & 1) continue;
        const double rest = best_sum(cost, rows, columns, row + 1, used | 1u << c, left - 1);
        best = fmin(best, (double)cost[row * columns + c] + rest);
    }
    return best;
}

static void pairs_cost_the_least(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    for (int k = 0; k < 400; k++) {
        float cost[36];
        int column_of[6];
        const int rows = 1 + (int)cr_rng_range(&rng, 0, 5.99),
                  columns = 1 + (int)cr_rng_range(&rng, 0, 5.99);
        const int fewer = rows < columns ? rows : columns;
        for (int i = 0; i < rows * columns; i++)
            cost[i] =
                k % 3 ? (float)cr_rng_range(&rng, 0, 1) : (float)((int)cr_rng_range(&rng, 0, 4));
        cr_error err;
        assert_int_equal(cr_assign(cost, rows, columns, INFINITY, column_of, &err), CR_OK);
        double sum = 0;
        int pairs = 0;
        unsigned used = 0;
        for (int r = 0; r < rows; r++) {
            if (column_of[r] < 0) continue;
            assert_false(used >> column_of[r] & 1);
            used |= 1u << column_of[r];
            sum += (double)cost[r * columns + column_of[r]];
            pairs++;
        }
        assert_int_equal(pairs, fewer);
        assert_true(fabs(sum - best_sum(cost, rows, columns, 0, 0, fewer)) < 1e-5);
        assert_int_equal(cr_assign(cost, rows, columns, .5f, column_of, &err), CR_OK);
        for (int r = 0; r < rows; r++)
            assert_true(column_of[r] < 0 || cost[r * columns + column_of[r]] <= .5f);
    }
}

static cr_detection at(int class_id, float score, double x, double y, double size)
{
    return (cr_detection){.class_id = class_id,
                          .score = score,
                          .box = {(float)x, (float)y, (float)(x + size), (float)(y + size)}};
}

typedef struct shot {
    cr_detection items[8];
    cr_detections list;
} shot;

static void begin(shot *s)
{
    s->list = (cr_detections){.items = s->items};
}
static void add(shot *s, cr_detection d)
{
    s->items[s->list.count++] = d;
}

static cr_tracker *make(void)
{
    cr_tracker *t = NULL;
    cr_error err;
    assert_int_equal(cr_tracker_create(NULL, &t, &err), CR_OK);
    return t;
}

static void update(cr_tracker *t, shot *s, int frame)
{
    cr_error err;
    assert_int_equal(cr_tracker_update(t, &s->list, frame / 30.0, &err), CR_OK);
}

/* The number of the detection nearest to x; 0: none there. */
static int number_near(const shot *s, double x)
{
    for (size_t i = 0; i < s->list.count; i++)
        if (fabs((double)s->items[i].box[0] - x) < 5) return s->items[i].track;
    return 0;
}

/* Two objects of one class pass each other; where they overlap, their speeds tell them apart. */
static void crossing_objects_keep_their_numbers(void **state)
{
    cr_tracker *t = make();
    int left = 0, right = 0;
    for (int i = 0; i < 100; i++) {
        shot s;
        begin(&s);
        add(&s, at(0, .8f, 4 * i, 50, 40));
        add(&s, at(0, .9f, 400 - 4 * i, 62, 40));
        update(t, &s, i);
        if (i < 5) {
            left = number_near(&s, 4 * i);
            right = number_near(&s, 400 - 4 * i);
        }
        if (i > 60) {
            assert_int_equal(number_near(&s, 4 * i), left);
            assert_int_equal(number_near(&s, 400 - 4 * i), right);
        }
    }
    assert_int_equal(cr_tracker_total(t), 2);
    cr_tracker_free(&t);
}

/* Half hidden (an unsure box), then hidden, then there again. */
static void hidden_objects_keep_their_numbers(void **state)
{
    cr_tracker *t = make();
    for (int i = 0; i < 60; i++) {
        shot s;
        begin(&s);
        const bool hidden = i >= 30 && i < 45;
        if (!hidden) add(&s, at(3, i >= 20 && i < 30 ? .15f : .7f, 100 + 3 * i, 40, 60));
        update(t, &s, i);
        assert_int_equal(s.list.count, !hidden);
        if (!hidden) assert_int_equal(s.items[0].track, 1);
    }
    shot late; /* a second and more after it was last seen it is another one */
    begin(&late);
    update(t, &late, 200);
    for (int i = 201; i < 203; i++) {
        begin(&late);
        add(&late, at(3, .7f, 280, 40, 60));
        update(t, &late, i);
        assert_int_equal(late.list.count, i > 201);
    }
    assert_int_equal(late.items[0].track, 2);
    cr_tracker_free(&t);
}

static void flashes_and_unsure_boxes_get_no_number(void **state)
{
    cr_tracker *t = make();
    for (int i = 0; i < 30; i++) {
        shot s;
        begin(&s);
        add(&s, at(0, .9f, 100, 100, 50));
        add(&s, at(1, .9f, 102, 100, 50)); /* another class in the same place */
        if (i % 5 == 4) add(&s, at(0, .9f, 300 + 20 * i, 100, 50));
        add(&s, at(0, .15f, 600, 300, 50));
        update(t, &s, i);
        assert_int_equal(s.list.count, 2);
        assert_int_not_equal(s.items[0].track, s.items[1].track);
    }
    assert_int_equal(cr_tracker_total(t), 2);
    cr_tracker_free(&t);
}

static void odd_boxes_do_no_harm(void **state)
{
    cr_tracker *t = make();
    for (int i = 0; i < 20; i++) {
        shot s;
        begin(&s);
        add(&s, at(0, .9f, NAN, 0, 10));
        add(&s, at(0, .9f, 10, 10, 0));
        add(&s, at(0, NAN, 10, 10, 5));
        add(&s, at(0, .9f, 1e30, 10, 5));
        update(t, &s, i);
        for (size_t k = 0; k < s.list.count; k++) assert_true(s.items[k].track > 0);
    }
    cr_tracker_free(&t);
}

static cr_zone_counts walk(const cr_zone *z, const double (*path)[2], int steps)
{
    cr_error err;
    cr_zone_counter *c;
    assert_int_equal(cr_zone_counter_create(z, &c, &err), CR_OK);
    for (int i = 0; i < steps; i++) {
        shot s;
        begin(&s);
        add(&s,
            at(0, .9f, path[i][0] - 5, path[i][1] - 10, 10)); /* it stands at the path's point */
        s.items[0].track = 7;
        add(&s, at(0, .9f, 5000 * (i % 2) - 2000, path[i][1], 10)); /* has no number */
        assert_int_equal(cr_zone_counter_update(c, &s.list, &err), CR_OK);
    }
    const cr_zone_counts n = cr_zone_counter_get(c);
    cr_zone_counter_free(&c);
    return n;
}

static void lines_count_both_ways(void **state)
{
    const cr_zone line = {2, {100, 100}, {0, 200}}; /* downwards: its right is at smaller x */
    const double there[][2] = {{150, 50}, {130, 60}, {90, 70}, {50, 80}};
    const double back[][2] = {{150, 50}, {90, 70}, {150, 50}, {90, 70}, {160, 20}};
    const double past[][2] = {{150, 250}, {50, 260}, {150, 300}};
    cr_zone_counts n = walk(&line, there, 4);
    assert_int_equal(n.forward, 1);
    assert_int_equal(n.backward, 0);
    n = walk(&line, back, 5);
    assert_int_equal(n.forward, 2);
    assert_int_equal(n.backward, 2);
    n = walk(&line, past, 3);
    assert_int_equal(n.forward + n.backward, 0);
}

static void zones_count_who_is_inside(void **state)
{
    const cr_zone zone = {4, {100, 200, 200, 100}, {100, 100, 200, 200}};
    const double in_and_out[][2] = {{50, 150}, {150, 150}, {250, 150}, {150, 120}};
    const cr_zone_counts n = walk(&zone, in_and_out, 4);
    assert_int_equal(n.forward, 2);
    assert_int_equal(n.backward, 1);
    assert_int_equal(n.inside, 1);
    cr_error err;
    cr_zone_counter *c;
    const cr_zone point = {1, {3}, {4}}, nowhere = {2, {NAN, 3}, {0, 1}};
    assert_int_equal(cr_zone_counter_create(&point, &c, &err), CR_ERR_ARGUMENT);
    assert_int_equal(cr_zone_counter_create(&nowhere, &c, &err), CR_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_cost_the_least),
        cmocka_unit_test(crossing_objects_keep_their_numbers),
        cmocka_unit_test(hidden_objects_keep_their_numbers),
        cmocka_unit_test(flashes_and_unsure_boxes_get_no_number),
        cmocka_unit_test(odd_boxes_do_no_harm),
        cmocka_unit_test(lines_count_both_ways),
        cmocka_unit_test(zones_count_who_is_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
