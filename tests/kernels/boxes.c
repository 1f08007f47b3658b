/* Searches for rows and overlaps: every level of this CPU against the portable one, on data between
 * guard pages, with numbers that are none among them. */
#include "harness.h"

#include <math.h>

#include "vision/boxes.h"

static bool has_record(int level)
{
    return level != CR_CPU_C &&
           cr_boxes_choose(only_level(level)) != cr_boxes_choose(only_level(CR_CPU_C));
}

/* Scores of which about one in `rarity` is above .5; some are NaN or infinite. */
static void fill_scores(float *x, size_t n, uint32_t rarity, cr_rng *rng)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, .5f, 0, -0.0f};
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)cr_rng_range(rng, -1, .5);
        if (!cr_rng_below(rng, rarity)) x[i] += .75f;
        if (!cr_rng_below(rng, 4 * rarity)) x[i] = odd[cr_rng_below(rng, 6)];
    }
}

static void check_rows(const cr_boxes *k, const cr_boxes *c, size_t n, bool at_end, cr_rng *rng)
{
    const size_t planes = 1 + cr_rng_below(rng, 9), ld = n + cr_rng_below(rng, 5);
    const size_t size = (planes - 1) * ld + n;
    guarded g = guarded_alloc(size * sizeof(float), at_end);
    guarded got = guarded_alloc(n * sizeof(uint32_t), at_end);
    guarded want = guarded_alloc(n * sizeof(uint32_t), at_end);
    float *const x = (float *)(void *)g.data;
    uint32_t *const a = (uint32_t *)(void *)got.data, *const b = (uint32_t *)(void *)want.data;
    fill_scores(x, size, 20, rng);
    const size_t count = k->rows_above(x, ld, planes, n, .5f, a);
    assert_int_equal(count, c->rows_above(x, ld, planes, n, .5f, b));
    assert_memory_equal(a, b, count * sizeof *a);
    assert_true(k->largest(x, n) == c->largest(x, n));
    guarded_free(&g);
    guarded_free(&got);
    guarded_free(&want);
}

static void rows_are_the_same(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 21);
    report_levels(has_record);
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has_record(level) || !level_runs(level)) continue;
        for (size_t n = 1; n <= 300; n++)
            check_rows(cr_boxes_choose(only_level(level)), cr_boxes_choose(only_level(CR_CPU_C)), n,
                       n % 2, &rng);
    }
}

static void random_box(float b[4], cr_rng *rng)
{
    b[0] = (float)cr_rng_below(rng, 90);
    b[1] = (float)cr_rng_below(rng, 90);
    b[2] = b[0] + (float)cr_rng_below(rng, 20);
    b[3] = b[1] + (float)cr_rng_below(rng, 20);
}

/* Whole numbers: overlaps that equal the threshold occur. */
static void overlaps_are_the_same(void **state)
{
    enum { SLOTS = 4 * CR_BOX_LANES };
    static float block[5][SLOTS];
    cr_rng rng;
    cr_rng_seed(&rng, 22);
    size_t hits = 0;
    for (int round = 0; round < 20000; round++) {
        cr_survivors s = {block[0], block[1], block[2], block[3], block[4], 0};
        for (size_t i = 0; i < SLOTS; i++) s.area[i] = NAN;
        for (s.count = 0; s.count < (size_t)(round % (SLOTS + 1)); s.count++) {
            float b[4];
            random_box(b, &rng);
            const size_t i = s.count;
            s.x1[i] = b[0];
            s.y1[i] = b[1];
            s.x2[i] = b[2];
            s.y2[i] = b[3];
            s.area[i] = (b[2] - b[0]) * (b[3] - b[1]);
        }
        float b[4];
        random_box(b, &rng);
        const float area = (b[2] - b[0]) * (b[3] - b[1]), iou = (float)cr_rng_below(&rng, 5) / 4;
        const bool want = cr_boxes_choose(only_level(CR_CPU_C))->overlaps(&s, b, area, iou);
        hits += want;
        for (int level = 0; level < CR_CPU_LEVELS; level++)
            if (has_record(level) && level_runs(level))
                assert_int_equal(cr_boxes_choose(only_level(level))->overlaps(&s, b, area, iou),
                                 want);
    }
    assert_true(hits > 1000 && hits < 19000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_the_same),
        cmocka_unit_test(overlaps_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
