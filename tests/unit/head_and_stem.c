/* The first layer and the head of a detector, where a step stands for many nodes: that the step is
 * there, and that it gives what the nodes give by reference: bit for bit on integers, at every
 * level of this CPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "runtime/program.h"
#include "unit/random_recipe.h"

enum { H = 22, W = 34, C = 3 };

static bool has_step(const cr_program *p, const char *what)
{
    for (size_t i = 0; i < p->step_count; i++)
        if (!strcmp(p->steps[i].what, what)) return true;
    return false;
}

static bool runs_node(const cr_program *p, cr_op_kind kind)
{
    for (size_t i = 0; i < p->step_count; i++)
        if (p->steps[i].node && p->steps[i].node->op->kind == kind) return true;
    return false;
}

static cr_tensor *every_second(cr_graph *g, cr_tensor *x, int axis, int first)
{
    return done(graph_node(g, CR_OP_Slice, 1, 5, x, const_ints(g, 1, first),
                           const_ints(g, 1, 1 << 20), const_ints(g, 1, axis), const_ints(g, 1, 2)));
}

/* Conv 3x3 and SiLU on the picture, or on its four halves. */
static cr_graph *stem(bool focus, cr_recipe **recipe, cr_rng *rng)
{
    cr_graph *g = graph_new();
    cr_error err;
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, C, H, W)), *part[4], *in = x;
    if (focus) {
        static const int order[4][2] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}};
        for (int k = 0; k < 4; k++)
            part[k] = every_second(g, every_second(g, x, 2, order[k][0]), 3, order[k][1]);
        cr_node *n = graph_node(g, CR_OP_Concat, 1, 4, part[0], part[1], part[2], part[3]);
        attr_int(n, "axis", 1);
        in = done(n);
    }
    cr_tensor *w = const_random(g, rng, "w", shape_of(4, 18, in->shape.dim[1], 3, 3), -1, 1);
    cr_node *conv = graph_node(g, CR_OP_Conv, 1, 2, in, w);
    attr_ints(g, conv, "pads", 4, 1, 1, 1, 1);
    cr_tensor *y = apply1(g, CR_OP_Swish, done(conv));
    graph_output(g, y);
    if (cr_graph_index(g, &err) != CR_OK) graph_fail("index", err.message);
    if (cr_recipe_create(recipe, &err) != CR_OK) graph_fail("recipe", err.message);
    byte_entry(*recipe, rng, in, (tensor_range){-2, 2});
    weight_entry(*recipe, rng, w, 0, true);
    byte_entry(*recipe, rng, y, (tensor_range){-.3f, 4});
    return g;
}

static void normalize(const uint8_t *pixels, const float mean[3], const float div[3], float *out)
{
    for (int c = 0; c < C; c++)
        for (int i = 0; i < H * W; i++)
            out[c * H * W + i] = ((float)pixels[i * C + c] - mean[c]) / div[c];
}

static void check_stem(bool focus, uint64_t seed, bool same_planes)
{
    static uint8_t pixels[H * W * C];
    static float x[C * H * W];
    const float mean[3] = {120, same_planes ? 120 : 110, same_planes ? 120 : 103.5f};
    const float div[3] = {58, same_planes ? 58 : 57, same_planes ? 58 : 55.5f};
    cr_error err;
    cr_rng rng;
    cr_recipe *r;
    cr_rng_seed(&rng, seed);
    cr_graph *g = stem(focus, &r, &rng);
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)cr_rng_below(&rng, 256);
    normalize(pixels, mean, div, x);
    const float *const inputs[1] = {x};
    cr_tensor want[GRAPH_IO] = {{0}};
    if (cr_reference_run(g, r, inputs, want, NULL, &err) != CR_OK) fail_msg("%s", err.message);
    const size_t bytes = cr_tensor_bytes(&want[0]);
    cr_program *p;
    cr_session *s;
    if (cr_program_create(g, r, 2, &p, &err) != CR_OK) fail_msg("%s", err.message);
    assert_false(focus && (runs_node(p, CR_OP_Slice) || runs_node(p, CR_OP_Concat)));
    assert_true(has_step(p, "pixels"));
    if (cr_session_open(p, NULL, &s, &err) != CR_OK) fail_msg("%s", err.message);
    memcpy(cr_session_input_data(s, 0), x, sizeof x);
    assert_int_equal(cr_session_execute(s, &err), CR_OK);
    assert_memory_equal(cr_session_output_tensor(s, 0)->data, want[0].data, bytes);
    memset(cr_session_input_data(s, 0), 0, sizeof x);
    assert_true(cr_session_put_picture(s, pixels, mean, div));
    assert_int_equal(cr_session_execute(s, &err), CR_OK);
    assert_memory_equal(cr_session_output_tensor(s, 0)->data, want[0].data, bytes);
    assert_int_equal(cr_session_execute(s, &err), CR_OK); /* the picture was for one run */
    assert_memory_not_equal(cr_session_output_tensor(s, 0)->data, want[0].data, bytes);
    cr_session_close(&s);
    cr_program_free(&p);
    cr_tensor_drop_data(&want[0]);
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

/* Floats and bfloat16: the bits of a run on filled planes. */
static void check_float_stem(bool bf16, uint64_t seed)
{
    static uint8_t pixels[H * W * C];
    static float x[C * H * W];
    const float mean[3] = {120, 110, 103.5f}, div[3] = {58, 57, 55.5f};
    const cr_program_options options = {.threads = 2, .bf16 = bf16};
    cr_error err;
    cr_rng rng;
    cr_recipe *r;
    cr_program *p;
    cr_session *s;
    cr_rng_seed(&rng, seed);
    cr_graph *g = stem(false, &r, &rng);
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)cr_rng_below(&rng, 256);
    normalize(pixels, mean, div, x);
    if (cr_program_compile(g, NULL, &options, &p, &err) != CR_OK) fail_msg("%s", err.message);
    if (cr_session_open(p, NULL, &s, &err) != CR_OK) fail_msg("%s", err.message);
    memcpy(cr_session_input_data(s, 0), x, sizeof x);
    assert_int_equal(cr_session_execute(s, &err), CR_OK);
    const cr_tensor *y = cr_session_output_tensor(s, 0);
    void *want = malloc(cr_tensor_bytes(y));
    memcpy(want, y->data, cr_tensor_bytes(y));
    memset(cr_session_input_data(s, 0), 0, sizeof x);
    assert_true(cr_session_put_picture(s, pixels, mean, div));
    assert_int_equal(cr_session_execute(s, &err), CR_OK);
    assert_memory_equal(y->data, want, cr_tensor_bytes(y));
    assert_int_equal(cr_session_execute(s, &err), CR_OK); /* the picture was for one run */
    assert_memory_not_equal(y->data, want, cr_tensor_bytes(y));
    free(want);
    cr_session_close(&s);
    cr_program_free(&p);
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

static void each_level(void (*check)(uint64_t seed))
{
    cr_error err;
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!cr_cpu_has(cr_cpu_hardware(), (cr_cpu_level)level)) continue;
        if (cr_cpu_limit(cr_cpu_level_key((cr_cpu_level)level), &err) != CR_OK)
            fail_msg("%s", err.message);
        for (uint64_t seed = 1; seed <= 4; seed++) check(seed);
    }
}

static void check_stems(uint64_t seed)
{
    check_float_stem(seed & 1, seed);
    check_stem(seed & 1, seed, seed & 2);
}

static void pictures_go_straight_in(void **state)
{
    (void)state;
    each_level(check_stems);
}

/* ---- head ---- */

static void run_both(cr_graph *g, const float *x, const char *step, double tolerance)
{
    cr_error err;
    const float *const inputs[1] = {x};
    cr_tensor want[GRAPH_IO] = {{0}};
    cr_program *p;
    cr_session *s;
    if (cr_graph_index(g, &err) != CR_OK) graph_fail("index", err.message);
    if (cr_reference_run(g, NULL, inputs, want, NULL, &err) != CR_OK) fail_msg("%s", err.message);
    if (cr_program_create(g, NULL, 2, &p, &err) != CR_OK) fail_msg("%s", err.message);
    assert_true(has_step(p, step));
    if (cr_session_open(p, NULL, &s, &err) != CR_OK) fail_msg("%s", err.message);
    memcpy(cr_session_input_data(s, 0), x, cr_tensor_bytes(g->inputs[0]));
    assert_int_equal(cr_session_execute(s, &err), CR_OK);
    const float *got = cr_session_output_tensor(s, 0)->data, *w = want[0].data;
    for (int64_t i = 0; i < cr_shape_count(&want[0].shape); i++)
        if (fabs((double)got[i] - (double)w[i]) > tolerance * fmax(1, fabs((double)w[i])))
            fail_msg("%s: element %lld is %.9g, not %.9g", step, (long long)i, (double)got[i],
                     (double)w[i]);
    cr_session_close(&s);
    cr_program_free(&p);
    cr_tensor_drop_data(&want[0]);
}

static float *noise(int64_t n, uint64_t seed)
{
    cr_rng rng;
    float *x = malloc((size_t)n * sizeof *x);
    cr_rng_seed(&rng, seed);
    for (int64_t i = 0; i < n; i++) x[i] = (float)cr_rng_range(&rng, -6, 6);
    return x;
}

/* Sum and quotient in another order: the largest difference over these seeds was 4.6e-7 of the value
 * (or of 1). Twice that. */
static void check_distribution(uint64_t seed)
{
    enum { SIDES = 4, BINS = 16 };
    const int anchors = 500 + 37 * (int)seed;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(3, 2, SIDES * BINS, anchors));
    cr_tensor *bins = apply2(g, CR_OP_Reshape, x, const_ints(g, 4, 2, SIDES, BINS, anchors));
    cr_node *turn = graph_node(g, CR_OP_Transpose, 1, 1, bins);
    attr_ints(g, turn, "perm", 4, 0, 2, 1, 3);
    cr_node *soft = graph_node(g, CR_OP_Softmax, 1, 1, done(turn));
    attr_int(soft, "axis", 1);
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    cr_tensor *w = const_random(g, &rng, "w", shape_of(4, 1, BINS, 1, 1), 0, 1);
    for (int i = 0; i < BINS; i++) ((float *)w->data)[i] = (float)i;
    graph_output(g, apply2(g, CR_OP_Conv, done(soft), w));
    float *input = noise(2 * SIDES * BINS * anchors, seed);
    run_both(g, input, "distribution mean", 1e-6);
    free(input);
    cr_graph_free(&g);
}

static void distributions_are_one_step(void **state)
{
    (void)state;
    each_level(check_distribution);
}

/* Two scales' scores: convolutions, flattened, side by side, through a sigmoid. The convolutions sum
 * in another order than the reference; the largest difference over these seeds was 2.4e-7, and four
 * times that leaves room for levels that sum differently again. */
static void check_planes(uint64_t seed)
{
    const int classes = 5 + 14 * (int)seed;
    cr_graph *g = graph_new();
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 8, 11, 13)), *part[2];
    for (int k = 0; k < 2; k++) {
        cr_tensor *w = const_random(g, &rng, "w", shape_of(4, classes, 8, 1, 1), -1, 1);
        cr_node *conv = graph_node(g, CR_OP_Conv, 1, 2, x, w);
        attr_ints(g, conv, "strides", 2, 1 + k, 1 + k);
        part[k] = apply2(g, CR_OP_Reshape, done(conv), const_ints(g, 3, 1, classes, -1));
    }
    cr_node *join = graph_node(g, CR_OP_Concat, 1, 2, part[0], part[1]);
    attr_int(join, "axis", 2);
    graph_output(g, apply1(g, CR_OP_Sigmoid, done(join)));
    float *input = noise(8 * 11 * 13, seed);
    run_both(g, input, "planes", 1e-6);
    free(input);
    cr_graph_free(&g);
}

static void heads_leave_in_one_pass(void **state)
{
    (void)state;
    each_level(check_planes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_go_straight_in),
        cmocka_unit_test(distributions_are_one_step),
        cmocka_unit_test(heads_leave_in_one_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
