/* What a profile says of a step: whose multiply-adds, how many bytes, which arithmetic; and that a
 * median is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/program.h"
#include "unit/graphs.h"

typedef struct rig {
    cr_graph *g;
    cr_program *p;
    cr_session *s;
} rig;

/* relu(conv 3x3) and a global mean behind it. */
static rig open_rig(void)
{
    cr_error err;
    cr_rng rng;
    rig r = {.g = graph_new()};
    cr_rng_seed(&rng, 7);
    cr_tensor *x = graph_input(r.g, "x", shape_of(4, 2, 8, 10, 12));
    cr_node *n = graph_node(r.g, CR_OP_Conv, 1, 3, x,
                            const_random(r.g, &rng, "w", shape_of(4, 16, 8, 3, 3), -1, 1),
                            const_random(r.g, &rng, "b", shape_of(1, 16), -1, 1));
    attr_ints(r.g, n, "pads", 4, 1, 1, 1, 1);
    cr_tensor *y = apply1(r.g, CR_OP_Relu, done(n));
    graph_output(r.g, apply1(r.g, CR_OP_GlobalAveragePool, y));
    graph_ready(r.g);
    if (cr_program_create(r.g, NULL, 1, &r.p, &err) != CR_OK) fail_msg("%s", err.message);
    if (cr_session_open(r.p, NULL, &r.s, &err) != CR_OK) fail_msg("%s", err.message);
    return r;
}

static void close_rig(rig *r)
{
    cr_session_close(&r->s);
    cr_program_free(&r->p);
    cr_graph_free(&r->g);
}

static cr_step_time find_step(const cr_session *s, const char *op)
{
    for (size_t i = 0; i < cr_session_step_count(s); i++)
        if (!strcmp(cr_session_step(s, i).op, op)) return cr_session_step(s, i);
    fail_msg("no step of a %s", op);
    return (cr_step_time){0};
}

static void test_work(void **state)
{
    cr_error err;
    rig r = open_rig();
    assert_int_equal(cr_session_profile(r.s, 2, &err), CR_OK);
    const cr_step_time conv = find_step(r.s, "Conv"), mean = find_step(r.s, "GlobalAveragePool");
    const uint64_t pixels = 2 * 10 * 12;
    assert_int_equal(conv.macs, pixels * 16 * 8 * 9);
    assert_int_equal(conv.bytes, 4 * (pixels * 8 + pixels * 16 + 16 * 8 * 9 + 16));
    assert_int_equal(conv.math, CR_MATH_FLOAT32);
    assert_string_equal(conv.tensor, "Relu_1_out0"); /* swallowed */
    assert_int_equal(mean.macs, 0);
    assert_int_equal(mean.bytes, 4 * (pixels * 16 + 2 * 16));
    close_rig(&r);
}

static void test_times(void **state)
{
    cr_error err;
    rig r = open_rig();
    assert_int_equal(cr_session_profile(r.s, 0, &err), CR_ERR_ARGUMENT);
    assert_int_equal(cr_session_profile(r.s, 3, &err), CR_OK);
    assert_int_equal(find_step(r.s, "Conv").ns, 0);
    for (int run = 0; run < 5; run++) assert_int_equal(cr_session_execute(r.s, &err), CR_OK);
    assert_true(find_step(r.s, "Conv").ns > 0);
    static const uint64_t ns[] = {900, 10, 5, 7, 300, 200}; /* three are kept: 7, 300, 200 */
    for (int run = 0; run < 6; run++) {
        for (size_t i = 0; i < cr_session_step_count(r.s); i++)
            cr_profile_note(r.s->profile, i, ns[run] + i);
        cr_profile_end_run(r.s->profile);
    }
    for (size_t i = 0; i < cr_session_step_count(r.s); i++)
        assert_int_equal(cr_session_step(r.s, i).ns, 200 + i);
    close_rig(&r);
}

/* An even number of runs: the mean of the middle two. */
static void test_even(void **state)
{
    cr_error err;
    rig r = open_rig();
    assert_int_equal(cr_session_profile(r.s, 4, &err), CR_OK);
    static const uint64_t ns[] = {40, 10, 30, 1000};
    for (int run = 0; run < 4; run++) {
        cr_profile_note(r.s->profile, 0, ns[run]);
        cr_profile_end_run(r.s->profile);
    }
    assert_int_equal(cr_session_step(r.s, 0).ns, 35);
    close_rig(&r);
}

/* Peaks are rates of this machine: positive, and no cache is slower than the memory behind it by
 * more than a factor that a busy machine explains. */
static void test_peaks(void **state)
{
    cr_error err;
    cr_peaks p;
    assert_int_equal(cr_peaks_measure(1, &p, &err), CR_OK);
    assert_int_equal(p.threads, 1);
    for (int m = 0; m < CR_MATH_COUNT; m++) assert_true(p.ops[m] > 1e6);
    assert_true(p.cache_bytes > 1e6 && p.memory_bytes > 1e6);
    assert_true(p.cache_bytes > p.memory_bytes / 4);
    const cr_step_time t = {.ns = 2000, .macs = 5000};
    assert_true(cr_step_rate(&t) == 5e9);
}

static void test_drawing_refuses(void **state)
{
    cr_error err;
    const cr_peaks none = {.threads = 1};
    assert_int_equal(cr_roofline_draw(&none, NULL, 0, "t", "x.svg", &err), CR_ERR_ARGUMENT);
    const cr_peaks some = {1, {1e9, 1e9, 1e9}, 1e9, 1e9};
    assert_int_equal(cr_roofline_draw(&some, NULL, 0, "t", "x.gif", &err), CR_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_even),
        cmocka_unit_test(test_peaks),
        cmocka_unit_test(test_drawing_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
