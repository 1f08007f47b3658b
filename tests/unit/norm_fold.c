/* The end of a training with BatchNormalization (train/norm_fold.h): statistics anew, and the fold
 * of a graph with its recipe. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/runtime.h"
#include "train/norm_fold.h"
#include "unit/rounded_tape.h"

/* x -> conv (no bias, 4 bits) -> norm -> relu -> conv (one scale) -> norm; gains of either sign. */
static cr_graph *normed_net(cr_recipe **r, cr_dtype first, cr_dtype second)
{
    enum { CHANNELS = 6 };
    cr_rng rng;
    cr_error err;
    cr_graph *g = graph_new();
    cr_rng_seed(&rng, 11);
    cr_tensor *y = graph_input(g, "x", shape_of(4, 2, CHANNELS, 7, 7));
    assert_int_equal(cr_recipe_create(r, &err), CR_OK);
    put_entry(*r, "x", false, CR_DT_U16, 6.2e-5f, 32768);
    for (int layer = 0; layer < 2; layer++) {
        cr_tensor *w = const_random(g, &rng, "w", shape_of(4, CHANNELS, CHANNELS, 1, 1), -1, 1);
        const cr_shape by_channel = shape_of(1, CHANNELS);
        float scale[CHANNELS];
        int32_t zero[CHANNELS] = {0};
        const cr_dtype type = layer ? second : first;
        for (int c = 0; c < CHANNELS; c++) {
            scale[c] = type == CR_DT_I4 ? .12f + .01f * (float)c : .004f * (float)(c + 2);
            if (!cr_dtype_is_signed(type)) zero[c] = 90 + c;
        }
        const cr_qparams q = {type, layer ? -1 : 0, layer ? 1 : CHANNELS, scale, zero};
        assert_int_equal(cr_recipe_add(*r, w->name, true, &q, "", &err), CR_OK);
        y = apply2(g, CR_OP_Conv, y, w);
        y = done(graph_node(g, CR_OP_BatchNormalization, 1, 5, y,
                            const_random(g, &rng, "gamma", by_channel, -1.5, 1.5),
                            const_random(g, &rng, "beta", by_channel, -.5, .5),
                            const_random(g, &rng, "mean", by_channel, -.5, .5),
                            const_random(g, &rng, "var", by_channel, .5, 2)));
        if (layer) break;
        y = apply1(g, CR_OP_Relu, y);
        put_entry(*r, y->name, false, CR_DT_U16, 5e-5f, 0);
    }
    graph_output(g, y);
    graph_ready(g);
    return g;
}

static cr_status load_random(void *ctx, cr_tape *tape, int64_t i, cr_error *err)
{
    const cr_tensor *x = ((const cr_graph *)ctx)->inputs[0];
    float *to = cr_tape_value(tape, x);
    cr_rng rng;
    cr_rng_seed(&rng, 100 + (uint64_t)i);
    for (int64_t k = 0; k < cr_shape_count(&x->shape); k++)
        to[k] = (float)(cr_rng_range(&rng, -1, 1) + .2 * (double)i);
    (void)err;
    return CR_OK;
}

static double worst;

/* The folded graph with its recipe, by reference, gives what the tape gives. Activations have 16
 * bits, so that the biases' rounding to int32 and codes at a tie cannot be seen. */
static void try_folding(cr_dtype first, cr_dtype second)
{
    cr_recipe *r, *trained, *out;
    cr_error err;
    cr_graph *g = normed_net(&r, first, second), *folded;
    cr_fake_quant *q;
    const cr_fake_quant_options o = cr_fake_quant_options_default();
    assert_int_equal(cr_fake_quant_create(g, r, &o, &q, &err), CR_OK);
    cr_graph *t = cr_fake_quant_graph(q);
    float *x = calloc((size_t)cr_shape_count(&g->inputs[0]->shape), sizeof *x);
    cr_tape *tape = tape_of(t, x);
    cr_rng rng;
    cr_rng_seed(&rng, 5);
    disturb(t, tape, &rng);
    load_random(t, tape, 0, &err);
    memcpy(x, cr_tape_value(tape, t->inputs[0]), cr_tensor_bytes(t->inputs[0]));
    forward(tape);
    assert_int_equal(cr_fake_quant_recipe(q, tape, &trained, &err), CR_OK);
    if (cr_norm_fold(g, trained, &folded, &out, &err) != CR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < folded->node_count; i++)
        assert_int_not_equal(folded->nodes[i]->op->kind, CR_OP_BatchNormalization);
    cr_tensor y = {0};
    const float *const inputs[1] = {x};
    if (cr_reference_run(folded, out, inputs, &y, NULL, &err) != CR_OK) fail_msg("%s", err.message);
    const float *got = y.data, *want = cr_tape_value(tape, t->outputs[0]);
    const int64_t n = cr_shape_count(&y.shape);
    const double most = largest_of(want, n);
    for (int64_t i = 0; i < n; i++) { /* biases' steps and flipped codes: 1e-5 of the largest */
        const double gap = fabs((double)got[i] - (double)want[i]) / most;
        worst = fmax(worst, gap);
        if (gap > 1e-4)
            fail_msg("element %lld: %.9g, not %.9g", (long long)i, (double)got[i], (double)want[i]);
    }
    cr_tensor_drop_data(&y);
    cr_tape_free(&tape);
    cr_fake_quant_free(&q);
    cr_recipe_release(&r);
    cr_recipe_release(&trained);
    cr_recipe_release(&out);
    cr_graph_free(&folded);
    cr_graph_free(&g);
    free(x);
}

static void folding(void **state)
{
    (void)state;
    try_folding(CR_DT_I4, CR_DT_I8);
    try_folding(CR_DT_I8, CR_DT_I8);
    try_folding(CR_DT_U8, CR_DT_U8);
    print_message("within %.2g of the largest output\n", worst);
}

/* Statistics of three batches, against the two passes over everything that define them. */
static void statistics(void **state)
{
    (void)state;
    enum { BATCHES = 3 };
    cr_error err;
    cr_graph *g = graph_new();
    cr_rng rng;
    cr_rng_seed(&rng, 2);
    const cr_shape two = shape_of(1, 2);
    cr_tensor *x = graph_input(g, "x", shape_of(3, 2, 2, 5));
    graph_output(g, done(graph_node(g, CR_OP_BatchNormalization, 1, 5, x,
                                    const_random(g, &rng, "gamma", two, 1, 2),
                                    const_random(g, &rng, "beta", two, 0, 1),
                                    const_random(g, &rng, "mean", two, 0, 1),
                                    const_random(g, &rng, "var", two, 1, 2))));
    graph_ready(g);
    const cr_tape_options how = {.real = CR_DT_F32, .batch_stats = true};
    cr_tape *tape;
    assert_int_equal(cr_tape_create(g, &how, &tape, &err), CR_OK);
    assert_int_equal(cr_norm_reestimate(g, tape, BATCHES, load_random, g, &err), CR_OK);
    const cr_node *bn = g->nodes[0];
    const float *mean = cr_tape_value(tape, bn->in[3]), *var = cr_tape_value(tape, bn->in[4]);
    for (int c = 0; c < 2; c++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < BATCHES; i++) {
            load_random(g, tape, i, &err);
            const float *v = cr_tape_value(tape, x);
            for (int b = 0; b < 2; b++)
                for (int k = 0; k < 5; k++) {
                    const double e = (double)v[(b * 2 + c) * 5 + k];
                    sum += e;
                    squares += e * e;
                }
        }
        const double m = sum / (10 * BATCHES);
        assert_true(fabs((double)mean[c] - m) < 1e-6);
        assert_true(fabs((double)var[c] - (squares / (10 * BATCHES) - m * m)) < 1e-6);
    }
    assert_int_equal(cr_norm_reestimate(g, tape, 0, load_random, g, &err), CR_ERR_ARGUMENT);
    cr_tape_free(&tape);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(folding), cmocka_unit_test(statistics)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
