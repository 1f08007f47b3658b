/* Graphs with 16-bit floats: what is written and read back computes what the rounded graph does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx/half_write.h"
#include "onnx/onnx.h"
#include "ops/ref.h"
#include "runtime/runtime.h"
#include "unit/random_net.h"

enum { NETS = 60 };

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CR_OK) fail_msg("%s: %s", #call, err.message);                               \
    } while (0)

static unsigned char *written(const cr_graph *g, size_t *size)
{
    const cr_onnx_write_options w = {.opset = 17};
    cr_error err;
    unsigned char *bytes;
    OK(cr_onnx_serialize(g, &w, &bytes, size, &err));
    return bytes;
}

static cr_graph *read_again(const unsigned char *bytes, size_t size, bool keep_half)
{
    const cr_onnx_options o = {.keep_half = keep_half};
    cr_error err;
    cr_graph *g;
    OK(cr_onnx_parse(bytes, size, NULL, "memory", &o, &g, &err));
    if (keep_half)
        OK(cr_graph_infer(g, &err)); /* types of every operator fit */
    else
        OK(cr_graph_prepare(g, cr_op_run, &err));
    return g;
}

static void run(const cr_graph *g, cr_tensor *out)
{
    const float *inputs[GRAPH_IO];
    float *filled[GRAPH_IO];
    cr_error err;
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    for (size_t i = 0; i < g->input_count; i++) {
        const int64_t n = cr_shape_count(&g->inputs[i]->shape);
        inputs[i] = filled[i] = malloc((size_t)n * sizeof(float));
        for (int64_t k = 0; k < n; k++) filled[i][k] = (float)cr_rng_range(&rng, -2, 2);
    }
    memset(out, 0, GRAPH_IO * sizeof *out);
    OK(cr_reference_run(g, NULL, inputs, out, NULL, &err));
    for (size_t i = 0; i < g->input_count; i++) free(filled[i]);
}

static void same_outputs(const cr_graph *a, const cr_graph *b)
{
    cr_tensor x[GRAPH_IO], y[GRAPH_IO];
    run(a, x);
    run(b, y);
    assert_int_equal(a->output_count, b->output_count);
    for (size_t i = 0; i < a->output_count; i++) {
        assert_string_equal(a->outputs[i]->name, b->outputs[i]->name);
        assert_memory_equal(x[i].data, y[i].data, cr_tensor_bytes(&x[i]));
        cr_tensor_drop_data(&x[i]);
        cr_tensor_drop_data(&y[i]);
    }
}

/* Written and read again: as many nodes, tensors of the same names, types and
 * shapes, the same results. Nothing is left to round: g is what was read with nothing kept. */
static void check_fixpoint(const cr_graph *g, const cr_half_plan *plan)
{
    cr_half_counts counts;
    cr_error err;
    cr_graph *stored;
    size_t size;
    bool *keep = calloc(g->node_count + 1, 1);
    const cr_half_plan own = {plan->type, plan->whole, keep};
    OK(cr_half_write(g, &own, &stored, &counts, &err));
    unsigned char *bytes = written(stored, &size);
    cr_graph *back = read_again(bytes, size, false);
    assert_int_equal(back->node_count, g->node_count);
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *a = g->tensors[i], *b = cr_graph_find(back, a->name);
        if (!b) fail_msg("%s is lost", a->name);
        assert_int_equal(a->dtype, b->dtype);
        assert_true(cr_shape_equal(&a->shape, &b->shape));
    }
    same_outputs(g, back);
    cr_graph_free(&back);
    cr_graph_free(&stored);
    cr_free(bytes);
    free(keep);
}

static void check_net(uint64_t seed, cr_dtype type, bool whole, int kept)
{
    cr_error err;
    cr_half_counts counts;
    cr_graph *stored, *rounded;
    size_t size;
    cr_graph *g = random_net(seed, true, false);
    OK(cr_graph_prepare(g, cr_op_run, &err));
    bool *keep = calloc(g->node_count + 1, 1);
    for (size_t i = 0; i < g->node_count; i++) keep[i] = kept && (seed + i) % kept == 0;
    const cr_half_plan plan = {type, whole, keep};
    OK(cr_half_write(g, &plan, &stored, &counts, &err));
    OK(cr_graph_clone(g, &rounded, &err));
    OK(cr_graph_index(rounded, &err));
    OK(cr_half_round(rounded, &plan, &err));
    unsigned char *bytes = written(stored, &size);
    cr_graph *typed = read_again(bytes, size, true), *back = read_again(bytes, size, false);
    for (size_t i = 0; i < typed->output_count; i++)
        assert_int_equal(typed->outputs[i]->dtype, g->outputs[i]->dtype);
    cr_free(bytes);
    bytes = written(rounded, &size); /* what an older opset lacks is written in other operators */
    cr_graph *plain = read_again(bytes, size, false);
    same_outputs(plain, back);
    if (!kept) check_fixpoint(back, &plan);
    cr_graph_free(&typed);
    cr_graph_free(&plain);
    cr_graph_free(&back);
    cr_graph_free(&stored);
    cr_graph_free(&rounded);
    cr_graph_free(&g);
    cr_free(bytes);
    free(keep);
}

static void what_is_read_is_what_was_rounded(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= NETS; seed++) {
        check_net(seed, CR_DT_F16, false, 0);
        check_net(seed, CR_DT_F16, true, 0);
        check_net(seed, CR_DT_F16, true, 5);
        check_net(seed, CR_DT_BF16, false, 3);
    }
}

/* 1x1 convolution with these weights, on one channel. */
static cr_graph *small_graph(float first, float second)
{
    cr_graph *g = graph_new();
    cr_error err;
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 1, 4, 4));
    cr_tensor *w = cr_graph_add_const(g, "w", CR_DT_F32, shape_of(4, 2, 1, 1, 1));
    ((float *)w->data)[0] = first;
    ((float *)w->data)[1] = second;
    graph_output(g, done(graph_node(g, CR_OP_Conv, 1, 2, x, w)));
    OK(cr_graph_index(g, &err));
    return g;
}

/* 65504 is the largest float16; 65519 rounds to it, 65520 would be infinite. */
static void values_beyond_the_range_stay_float32(void **state)
{
    static const struct {
        float w;
        bool fits;
    } cases[] = {{65504, true},  {-65504, true}, {65519, true},    {65520, false},
                 {-1e5f, false}, {1e-8f, true},  {-INFINITY, true}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int whole = 0; whole < 2; whole++) {
            cr_graph *g = small_graph(.1f, cases[i].w), *stored;
            const bool keep[2] = {false, false};
            const cr_half_plan plan = {CR_DT_F16, whole, keep};
            cr_half_counts counts;
            cr_error err;
            OK(cr_half_write(g, &plan, &stored, &counts, &err));
            assert_int_equal(counts.weights, cases[i].fits);
            assert_int_equal(counts.too_large, !cases[i].fits);
            assert_int_equal(counts.kept, !cases[i].fits);
            if (!cases[i].fits) assert_string_equal(counts.largest, "w");
            OK(cr_half_round(g, &plan, &err));
            assert_true(((const float *)cr_graph_find(g, "w")->data)[0] ==
                        (cases[i].fits ? 0.0999755859375f : .1f));
            cr_graph_free(&stored);
            cr_graph_free(&g);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_what_was_rounded),
        cmocka_unit_test(values_beyond_the_range_stay_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
