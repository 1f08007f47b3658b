/* Scales of weights: each method against a search of its own, groups of every form, codes in range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "quant/weight_form.h"
#include "unit/graphs.h"

enum { WEIGHTS = 8 * 12 * 3 };

static cr_arena arena;

static int drop_arena(void **state)
{
    (void)state;
    cr_arena_free(&arena);
    return 0;
}

/* [8,12,3]: bell-shaped with a few large ones, channels of different size. */
static cr_tensor weights(float *x, uint64_t seed)
{
    cr_rng r;
    cr_rng_seed(&r, seed);
    for (int i = 0; i < WEIGHTS; i++) {
        double v = -6;
        for (int k = 0; k < 12; k++) v += cr_rng_unit(&r);
        x[i] = (float)(v * (1 + i / 36) * (cr_rng_below(&r, 40) ? 1 : 3));
    }
    return (cr_tensor){.name = "w", .dtype = CR_DT_F32, .shape = shape_of(3, 8, 12, 3), .data = x};
}

static cr_qparams scales_of(const cr_tensor *w, cr_weight_form form)
{
    cr_error err;
    cr_qparams q;
    if (cr_weight_scales(w, &form, &arena, &q, &err) != CR_OK) fail_msg("%s", err.message);
    assert_true(cr_q_fits(&q, &w->shape));
    return q;
}

static double error_of(const cr_tensor *w, const cr_qparams *q)
{
    float back[WEIGHTS];
    double sum = 0;
    cr_fake_quantize(w, q, back);
    for (int i = 0; i < WEIGHTS; i++) {
        const double gap = (double)back[i] - (double)((const float *)w->data)[i];
        sum += gap * gap;
    }
    return sum;
}

/* Nothing lies beyond the codes, and the largest weight of each group gets the last one. */
static void largest_value(void **state)
{
    (void)state;
    float x[WEIGHTS];
    int32_t codes[WEIGHTS];
    const cr_tensor w = weights(x, 1);
    const struct {
        cr_dtype type;
        bool reduced;
        int32_t top;
    } cases[] = {{CR_DT_I8, false, 127}, {CR_DT_I8, true, 63}, {CR_DT_I4, false, 7},
                 {CR_DT_I16, false, 32767}, {CR_DT_I2, false, 1}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const cr_qparams q = scales_of(&w, (cr_weight_form){cases[k].type, 0, 0, cases[k].reduced, false});
        cr_quantize_tensor(&w, &q, codes);
        for (int c = 0; c < 8; c++) {
            int32_t most = 0;
            for (int i = 0; i < 36; i++) most = abs(codes[c * 36 + i]) > most ? abs(codes[c * 36 + i]) : most;
            assert_int_equal(most, cases[k].top);
            assert_int_equal(q.zero_point[c], 0);
        }
    }
    const cr_qparams u = scales_of(&w, (cr_weight_form){CR_DT_U8, 0, 0, true, false});
    cr_quantize_tensor(&w, &u, codes);
    for (int i = 0; i < WEIGHTS; i++) assert_in_range(codes[i], 0, 127);
}

/* The scan plus Lloyd's iteration against 4000 scales: within 2 % of their error (measured: 1.0), and
 * smaller groups never do worse. */
static void least_error(void **state)
{
    (void)state;
    float x[WEIGHTS];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const cr_tensor w = weights(x, seed);
        cr_qparams q = scales_of(&w, (cr_weight_form){CR_DT_I4, -1, 0, false, true});
        const double found = error_of(&w, &q);
        double best = INFINITY;
        const float top = q.scale[0];
        for (int i = 1; i <= 4000; i++) {
            q.scale[0] = top * (float)i / 1000;
            best = fmin(best, error_of(&w, &q));
        }
        assert_true(found <= best * 1.02);
        const cr_qparams most = scales_of(&w, (cr_weight_form){CR_DT_I4, 0, 0, false, false});
        const cr_qparams channel = scales_of(&w, (cr_weight_form){CR_DT_I4, 0, 0, false, true});
        const cr_qparams block = scales_of(&w, (cr_weight_form){CR_DT_I4, 1, 4, false, true});
        const cr_qparams affine = scales_of(&w, (cr_weight_form){CR_DT_U4, 0, 0, false, true});
        const cr_qparams affine_most = scales_of(&w, (cr_weight_form){CR_DT_U4, 0, 0, false, false});
        assert_int_equal(block.count, 8 * 3 * 3);
        assert_true(error_of(&w, &channel) < error_of(&w, &most));
        assert_true(error_of(&w, &affine) < error_of(&w, &affine_most));
        assert_true(error_of(&w, &channel) < found);
        assert_true(error_of(&w, &block) < error_of(&w, &channel));
    }
}

/* All 4000 scales around it and rounding to nearest: none beats the closed form. */
static void ternary_and_binary(void **state)
{
    (void)state;
    float x[WEIGHTS];
    int32_t codes[WEIGHTS];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const cr_tensor w = weights(x, seed);
        cr_qparams q = scales_of(&w, (cr_weight_form){CR_DT_I2, -1, 0, false, true});
        cr_quantize_tensor(&w, &q, codes);
        for (int i = 0; i < WEIGHTS; i++) assert_in_range(codes[i] + 1, 0, 2);
        const double found = error_of(&w, &q);
        const float best = q.scale[0];
        for (int i = 1; i <= 4000; i++) {
            q.scale[0] = best * (float)i / 1000;
            assert_true(error_of(&w, &q) >= found * (1 - 1e-6));
        }
        q = scales_of(&w, (cr_weight_form){CR_DT_I1, 0, 0, false, true});
        double mean = 0;
        for (int i = 36; i < 72; i++) mean += fabs((double)x[i]) / 36;
        assert_true(fabs((double)q.scale[1] - mean) < 1e-6 * mean);
    }
}

static void odd_values(void **state)
{
    (void)state;
    float x[WEIGHTS] = {0};
    cr_error err;
    cr_qparams q;
    cr_tensor w = weights(x, 1);
    static const cr_dtype types[] = {CR_DT_I8, CR_DT_U8, CR_DT_I4, CR_DT_U4, CR_DT_I2, CR_DT_U2, CR_DT_I1};
    for (int k = 0; k < 14; k++) { /* a channel of zeros, one of denormals, one of huge values */
        memset(x, 0, 36 * sizeof *x);
        for (int i = 36; i < 72; i++) x[i] = 1e-44f * (float)(i % 3);
        for (int i = 72; i < 108; i++) x[i] = i % 2 ? 3e38f : -3e38f;
        q = scales_of(&w, (cr_weight_form){types[k % 7], 0, 0, false, k < 7});
        int32_t lo, hi;
        cr_q_range(&q, &lo, &hi);
        for (size_t i = 0; i < q.count; i++) {
            assert_true(q.scale[i] > 0 && isfinite(q.scale[i]));
            assert_true(q.zero_point[i] >= lo && q.zero_point[i] <= hi);
        }
    }
    x[5] = NAN;
    const cr_weight_form f = {CR_DT_I8, 0, 0, false, false};
    assert_int_equal(cr_weight_scales(&w, &f, &arena, &q, &err), CR_ERR_FORMAT);
    assert_string_equal(err.message, "weight 'w' has NaN or infinite values");
}

/* ---- which form a layer gets ---- */

static void forms(void **state)
{
    (void)state;
    cr_rng r;
    cr_rng_seed(&r, 1);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 64, 8, 8));
    cr_tensor *wide = cr_graph_new_const(g, "w", CR_DT_F32, shape_of(4, 16, 64, 3, 3));
    cr_tensor *narrow = cr_graph_new_const(g, "n", CR_DT_F32, shape_of(4, 16, 16, 1, 1));
    cr_tensor *y = apply2(g, CR_OP_Conv, x, wide);
    graph_output(g, apply2(g, CR_OP_Conv, y, narrow));
    const cr_node *a = g->nodes[0], *b = g->nodes[1];
    cr_quantize_options o = {.weights = CR_WEIGHTS_INT4, .block = 32};
    cr_weight_form f = cr_weight_form_of(a, &o, CR_LAYER_PLANNED, false);
    assert_int_equal(f.type, CR_DT_I4);
    assert_int_equal(f.block, 32);
    assert_int_equal(f.axis, 1);
    assert_true(f.least_error);
    f = cr_weight_form_of(b, &o, CR_LAYER_PLANNED, false); /* too few channels */
    assert_int_equal(f.block, 0);
    assert_int_equal(f.axis, 0);
    f = cr_weight_form_of(a, &o, CR_LAYER_PLANNED, true);
    assert_int_equal(f.type, CR_DT_I8);
    assert_int_equal(f.block, 0);
    assert_false(f.least_error);
    assert_int_equal(cr_weight_form_of(a, &o, CR_LAYER_INT8, false).type, CR_DT_I8);
    assert_int_equal(cr_weight_form_of(a, &o, CR_LAYER_INT4, true).type, CR_DT_I4);
    o.block = CR_BLOCK_AUTO;
    assert_int_equal(cr_weight_form_of(a, &o, CR_LAYER_PLANNED, false).block, 0);
    o.activations = CR_ACTIVATIONS_FLOAT;
    assert_true(cr_weight_form_of(a, &o, CR_LAYER_PLANNED, false).block > 0);
    o = (cr_quantize_options){.weights = CR_WEIGHTS_UINT8, .granularity = CR_PER_TENSOR};
    f = cr_weight_form_of(a, &o, CR_LAYER_PLANNED, true);
    assert_int_equal(f.type, CR_DT_U8);
    assert_int_equal(f.axis, -1);
    assert_int_equal(cr_weight_form_of(a, &o, CR_LAYER_INT4, false).type, CR_DT_I4);
    cr_graph_free(&g);
}

/* Of 256 and 9216 weights the smaller layer is small at 3 per cent of all, not at 2. */
static void small_layers(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 64, 8, 8));
    cr_tensor *wide = cr_graph_new_const(g, "w", CR_DT_F32, shape_of(4, 16, 64, 3, 3));
    cr_tensor *narrow = cr_graph_new_const(g, "n", CR_DT_F32, shape_of(4, 16, 16, 1, 1));
    cr_tensor *y = apply2(g, CR_OP_Conv, x, wide);
    graph_output(g, apply2(g, CR_OP_Conv, y, narrow));
    graph_ready(g);
    const double share[] = {0, 2, 3, 99, 100, CR_SMALL_LAYERS_AUTO};
    const bool expected[][2] = {{0, 0}, {0, 0}, {0, 1}, {0, 1}, {1, 1}, {0, 1}};
    const bool planned[2] = {true, true};
    for (int i = 0; i < 6; i++) {
        const cr_quantize_options o = {.weights = CR_WEIGHTS_INT4, .small_layers = share[i]};
        bool *small;
        assert_int_equal(cr_small_layers(g, planned, &o, &small, NULL), CR_OK);
        assert_true(small[0] == expected[i][0] && small[1] == expected[i][1]);
        cr_free(small);
    }
    cr_graph_free(&g);
}

/* The larger layer, of 1x1 kernels, is the smaller one here. */
static void pointwise_layers_come_first(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, 8, 8));
    cr_tensor *y = apply2(g, CR_OP_Conv, x, cr_graph_new_const(g, "a", CR_DT_F32, shape_of(4, 32, 4, 3, 3)));
    graph_output(g, apply2(g, CR_OP_Conv, y, cr_graph_new_const(g, "b", CR_DT_F32, shape_of(4, 64, 32, 1, 1))));
    graph_ready(g);
    const bool planned[2] = {true, true};
    const cr_quantize_options o = {.weights = CR_WEIGHTS_INT4, .small_layers = 70};
    bool *small;
    assert_int_equal(cr_small_layers(g, planned, &o, &small, NULL), CR_OK);
    assert_true(small[1] && !small[0]); /* 2048 and 1152 weights */
    cr_free(small);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_value), cmocka_unit_test(least_error),
        cmocka_unit_test(ternary_and_binary), cmocka_unit_test(odd_values),
        cmocka_unit_test(forms),
        cmocka_unit_test(small_layers),
        cmocka_unit_test(pointwise_layers_come_first),
    };
    return cmocka_run_group_tests(tests, NULL, drop_arena);
}
