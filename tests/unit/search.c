/* The search for the cheapest precision per layer, on tables whose optimum is known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "quant/search.h"

enum { MOST = 12, CHOICES = CR_SEARCH_CHOICES };

typedef struct problem {
    double cost[MOST][CHOICES], loss[MOST][CHOICES];
    cr_search_table table;
    double budget; /* of the sum of losses */
    double noise;  /* added to what is measured of every second choice */
    size_t measured;
} problem;

static double total(const double (*t)[CHOICES], size_t n, const int *choice)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += t[i][choice[i]];
    return sum;
}

static cr_status measure(void *user, const int *choice, bool *within, cr_error *err)
{
    problem *p = user;
    const double noise = p->measured++ % 2 ? p->noise : 0;
    *within = total(p->table.loss, p->table.layers, choice) + noise <= p->budget;
    return CR_OK;
}

static void make(problem *p, size_t layers, double budget)
{
    p->budget = budget;
    p->table = (cr_search_table){layers, (const double(*)[CHOICES])p->cost,
                                 (const double(*)[CHOICES])p->loss, -1, 0};
}

/* Costs rise, losses fall, by choice; the last loses nothing. */
static void make_random(problem *p, cr_rng *rng, size_t layers)
{
    for (size_t i = 0; i < layers; i++) {
        p->loss[i][CHOICES - 1] = p->cost[i][0] = 0;
        for (int c = 1; c < CHOICES; c++)
            p->cost[i][c] = p->cost[i][c - 1] + cr_rng_range(rng, .1, 1);
        for (int c = CHOICES - 1; c-- > 0;)
            p->loss[i][c] = p->loss[i][c + 1] + cr_rng_range(rng, .1, 1);
    }
    make(p, layers, 0);
}

/* The least cost of all combinations within the budget. */
static double optimum(const problem *p)
{
    const size_t n = p->table.layers;
    double best = INFINITY;
    for (size_t code = 0; code < (size_t)1 << 2 * n; code++) {
        int choice[MOST];
        for (size_t i = 0; i < n; i++) choice[i] = (int)(code >> 2 * i & 3);
        if (total(p->table.loss, n, choice) > p->budget) continue;
        best = fmin(best, total(p->table.cost, n, choice));
    }
    return best;
}

static void every_point_of_the_path_is_optimal(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 1);
    for (int round = 0; round < 30; round++) {
        problem p = {0};
        cr_search_path path;
        int choice[MOST];
        make_random(&p, &rng, 5);
        assert_int_equal(cr_search_find_path(&p.table, &path, NULL), CR_OK);
        for (size_t k = 0; k <= path.count; k++) {
            cr_search_choices(&p.table, &path, k, choice);
            p.budget = total(p.table.loss, 5, choice) + 1e-9;
            const double cost = total(p.table.cost, 5, choice);
            if (cost > optimum(&p) + 1e-9) fail_msg("round %d, step %zu", round, k);
        }
        cr_search_path_release(&path);
    }
}

static void the_search_ends_within_the_budget_and_near_the_optimum(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 2);
    for (int round = 0; round < 60; round++) {
        problem p = {0};
        int choice[MOST];
        bool found;
        make_random(&p, &rng, 6);
        p.budget = cr_rng_range(&rng, 0, 8);
        assert_int_equal(cr_search_run(&p.table, 4, measure, &p, choice, &found, NULL), CR_OK);
        assert_true(found);
        assert_true(total(p.table.loss, 6, choice) <= p.budget);
        /* off the hull's corners at most one step too dear; a step costs at most 3 */
        assert_true(total(p.table.cost, 6, choice) <= optimum(&p) + 3);
        assert_true(p.measured <= 2 + 5 + 4);
    }
}

static void nothing_is_paid_where_the_cheapest_will_do(void **state)
{
    cr_rng rng;
    problem p = {0};
    int choice[MOST];
    bool found;
    cr_rng_seed(&rng, 3);
    make_random(&p, &rng, 6);
    p.budget = 100;
    assert_int_equal(cr_search_run(&p.table, 4, measure, &p, choice, &found, NULL), CR_OK);
    assert_true(found);
    for (int i = 0; i < 6; i++) assert_int_equal(choice[i], 0);
    assert_int_equal(p.measured, 1);
}

static void a_budget_that_cannot_be_met_is_said(void **state)
{
    cr_rng rng;
    problem p = {0};
    int choice[MOST];
    bool found;
    cr_rng_seed(&rng, 4);
    make_random(&p, &rng, 6);
    for (int i = 0; i < 6; i++) p.cost[i][3] = INFINITY; /* without float */
    p.budget = .01;
    assert_int_equal(cr_search_run(&p.table, 4, measure, &p, choice, &found, NULL), CR_OK);
    assert_false(found);
    for (int i = 0; i < 6; i++) assert_int_equal(choice[i], 2);
}

/* A choice that costs more and loses as much is never taken; of equal layers the first goes first.
 */
static void ties_go_to_the_first_and_the_cheap(void **state)
{
    problem p = {0};
    cr_search_path path;
    make(&p, 3, 0);
    for (int i = 0; i < 3; i++) {
        const double cost[CHOICES] = {2, 1, 1, 4}, loss[CHOICES] = {1, 2, 1, 0};
        memcpy(p.cost[i], cost, sizeof cost);
        memcpy(p.loss[i], loss, sizeof loss);
    }
    assert_int_equal(cr_search_find_path(&p.table, &path, NULL), CR_OK);
    assert_int_equal(path.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(path.start[i], 2);
        assert_int_equal(path.steps[i].layer, i);
        assert_int_equal(path.steps[i].to, 3);
    }
    cr_search_path_release(&path);
}

static void a_limited_choice_is_given_to_those_who_need_it_most(void **state)
{
    problem p = {0};
    cr_search_path path;
    int choice[MOST];
    make(&p, 5, 0);
    for (int i = 0; i < 5; i++) {
        const double cost[CHOICES] = {0, 1, INFINITY, INFINITY};
        memcpy(p.cost[i], cost, sizeof cost);
        p.loss[i][0] = (double[]){3, 9, 1, 7, 5}[i];
    }
    p.table.limited = 1;
    p.table.limit = 2;
    assert_int_equal(cr_search_find_path(&p.table, &path, NULL), CR_OK);
    cr_search_choices(&p.table, &path, path.count, choice);
    const int expected[] = {0, 1, 0, 1, 0};
    assert_memory_equal(choice, expected, sizeof expected);
    cr_search_path_release(&path);
}

static void noise_cannot_break_the_promise(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 5);
    for (int round = 0; round < 40; round++) {
        problem p = {0};
        int choice[MOST];
        bool found;
        make_random(&p, &rng, 6);
        p.budget = cr_rng_range(&rng, 1, 8);
        p.noise = .5;
        assert_int_equal(cr_search_run(&p.table, 3, measure, &p, choice, &found, NULL), CR_OK);
        if (found) assert_true(total(p.table.loss, 6, choice) <= p.budget);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_point_of_the_path_is_optimal),
        cmocka_unit_test(the_search_ends_within_the_budget_and_near_the_optimum),
        cmocka_unit_test(nothing_is_paid_where_the_cheapest_will_do),
        cmocka_unit_test(a_budget_that_cannot_be_met_is_said),
        cmocka_unit_test(ties_go_to_the_first_and_the_cheap),
        cmocka_unit_test(a_limited_choice_is_given_to_those_who_need_it_most),
        cmocka_unit_test(noise_cannot_break_the_promise)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
