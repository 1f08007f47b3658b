/* Suppression by cases worked out by hand, and against the quadratic definition on random boxes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "vision/nms.h"

static void expect(const float *boxes, size_t n, float iou, size_t limit, const size_t *want,
                   size_t count)
{
    size_t keep[64], kept = 99;
    assert_int_equal(cr_nms(boxes, n, iou, limit, keep, &kept, NULL), CR_OK);
    assert_int_equal(kept, count);
    for (size_t i = 0; i < count; i++) assert_int_equal(keep[i], want[i]);
}

/* Overlap of 0 and 1 is 50 / 150, of 0 and 2 it is 0, box 3 equals box 0. */
static void known_cases(void **state)
{
    const float boxes[] = {0, 0, 10, 10, 5, 0, 15, 10, 20, 20, 30, 30, 0, 0, 10, 10};
    const size_t all_but_twin[] = {0, 1, 2}, apart[] = {0, 2}, every[] = {0, 1, 2, 3};
    expect(boxes, 4, .5f, 300, all_but_twin, 3);
    expect(boxes, 4, .3f, 300, apart, 2);
    expect(boxes, 4, 1, 300, every, 4);
    expect(boxes, 4, .5f, 2, all_but_twin, 2);
    expect(boxes, 0, .5f, 300, NULL, 0);
    expect(boxes, 4, .5f, 0, NULL, 0);
}

/* An overlap equal to the threshold stays: 1/3 in float32 against 1/3. */
static void equal_overlap_is_kept(void **state)
{
    const float boxes[] = {0, 0, 10, 10, 5, 0, 15, 10};
    const size_t both[] = {0, 1};
    expect(boxes, 2, 50.0f / 150.0f, 300, both, 2);
}

/* 0 / 0 is no number and suppresses nothing. */
static void empty_boxes_are_kept(void **state)
{
    const float boxes[] = {3, 3, 3, 3, 3, 3, 3, 3};
    const size_t both[] = {0, 1};
    expect(boxes, 2, .5f, 300, both, 2);
}

static float overlap(const float *a, const float *b)
{
    const float x1 = a[0] > b[0] ? a[0] : b[0], y1 = a[1] > b[1] ? a[1] : b[1];
    const float x2 = a[2] < b[2] ? a[2] : b[2], y2 = a[3] < b[3] ? a[3] : b[3];
    const float w = x2 - x1 > 0 ? x2 - x1 : 0, h = y2 - y1 > 0 ? y2 - y1 : 0;
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h);
}

static void equals_the_definition(void **state)
{
    enum { N = 700 };
    float *boxes = malloc(4 * N * sizeof *boxes);
    size_t keep[N], kept;
    cr_rng rng;
    cr_rng_seed(&rng, 11);
    for (int round = 0; round < 20; round++) {
        bool gone[N] = {false};
        size_t count = 0;
        for (size_t i = 0; i < N; i++) {
            float *b = boxes + 4 * i;
            b[0] = (float)cr_rng_range(&rng, 0, 120);
            b[1] = (float)cr_rng_range(&rng, 0, 120);
            b[2] = b[0] + (float)cr_rng_range(&rng, 10, 40);
            b[3] = b[1] + (float)cr_rng_range(&rng, 10, 40);
        }
        assert_int_equal(cr_nms(boxes, N, .6f, N, keep, &kept, NULL), CR_OK);
        for (size_t i = 0; i < N; i++) {
            if (gone[i]) continue;
            assert_true(count < kept);
            assert_int_equal(keep[count++], i);
            for (size_t j = i + 1; j < N; j++)
                if (overlap(boxes + 4 * i, boxes + 4 * j) > .6f) gone[j] = true;
        }
        assert_int_equal(count, kept);
        assert_true(kept > 20 && kept < N);
    }
    free(boxes);
}

static void no_memory_is_an_error(void **state)
{
    const float boxes[] = {0, 0, 1, 1};
    size_t keep[1], kept;
    cr_alloc_fail_after(0);
    const cr_status st = cr_nms(boxes, 1, .5f, 1, keep, &kept, NULL);
    cr_alloc_fail_after(-1);
    assert_int_equal(st, CR_ERR_MEMORY);
    assert_int_equal(kept, 0);
}

/* ultralytics.utils.metrics.batch_probiou of the same boxes gave these. */
static const float turned[5][5] = {{16, 10, 8, 4, .5f},
                                   {17, 11, 8, 4, .7f},
                                   {16, 10, 4, 8, .5f + 1.57079633f},
                                   {30, 10, 8, 4, .5f},
                                   {16, 10, 20, 3, -.3f}};

static void overlap_of_turned_boxes(void **state)
{
    static const float wanted[5][5] = {{.999532f, .753305f, .999532f, .000213f, .368385f},
                                       {.753305f, .999532f, .753305f, .0001f, .302044f},
                                       {.999532f, .753305f, .999532f, .000213f, .368385f},
                                       {.000213f, .0001f, .000213f, .999532f, .044109f},
                                       {.368385f, .302044f, .368385f, .044109f, .999532f}};
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 5; k++)
            assert_true(fabsf(cr_probiou(turned[i], turned[k]) - wanted[i][k]) < 2e-6f);
}

/* Any better box of the class drops one, even if it was dropped itself. */
static void turned_boxes_are_suppressed(void **state)
{
    static const int classes[5] = {0, 0, 1, 0, 0};
    size_t keep[5], kept;
    assert_int_equal(cr_nms_turned(turned[0], classes, 5, .7f, 5, keep, &kept, NULL), CR_OK);
    assert_int_equal(kept, 4); /* the second is too near to the first, the third of another class */
    assert_true(keep[0] == 0 && keep[1] == 2 && keep[2] == 3 && keep[3] == 4);
    assert_int_equal(cr_nms_turned(turned[0], NULL, 5, .3f, 5, keep, &kept, NULL), CR_OK);
    assert_int_equal(kept, 2);
    assert_true(keep[0] == 0 && keep[1] == 3);
    assert_int_equal(cr_nms_turned(turned[0], classes, 5, .7f, 2, keep, &kept, NULL), CR_OK);
    assert_int_equal(kept, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_cases),           cmocka_unit_test(equal_overlap_is_kept),
        cmocka_unit_test(empty_boxes_are_kept),  cmocka_unit_test(equals_the_definition),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(overlap_of_turned_boxes),
        cmocka_unit_test(turned_boxes_are_suppressed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
