/* The TFLite writer: layouts, the passes in front of it, and random networks through file and
 * reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx/qdq.h"
#include "ops/ref.h"
#include "runtime/runtime.h"
#include "tflite/tflite_layout.h"
#include "tflite/tflite_read.h"
#include "tflite/tflite_write.h"
#include "unit/random_net.h"

/* ---- layouts ---- */

static void check_layout(const cr_layout *l, int rank, const int *want)
{
    assert_int_equal(l->rank, rank);
    for (int i = 0; i < rank; i++) assert_int_equal(l->at[i], want[i]);
}

static void reshapes_keep_channels_last(void **state)
{
    const cr_shape map = shape_of(4, 1, 64, 8, 8), flat = shape_of(3, 1, 64, 64);
    const cr_shape bins = shape_of(4, 1, 4, 16, 64), shuffle = shape_of(5, 1, 2, 32, 8, 8);
    const cr_layout nhwc = cr_layout_channels_last(4), nlc = cr_layout_channels_last(3);
    cr_layout need, give;
    cr_layout_reshape(&map, &flat, &nhwc, &need, &give); /* [1,8,8,64] -> [1,64 cells,64] */
    assert_true(cr_layout_equal(&need, &nhwc));
    check_layout(&give, 3, (const int[]){0, 2, 1});
    cr_layout_reshape(&flat, &bins, &nlc, &need, &give); /* -> [1, cells, 4, 16] */
    assert_true(cr_layout_equal(&need, &nlc));
    check_layout(&give, 4, (const int[]){0, 3, 1, 2});
    cr_layout_reshape(&map, &shuffle, &nhwc, &need, &give);
    assert_true(cr_layout_equal(&need, &nhwc));
    check_layout(&give, 5, (const int[]){0, 3, 4, 1, 2});
    const cr_layout turned = {
        5, {0, 3, 4, 2, 1}}; /* shuffled: the run {2, 32} is in the wrong order */
    cr_layout_reshape(&shuffle, &map, &turned, &need, &give);
    check_layout(&need, 5, (const int[]){0, 3, 4, 1, 2});
    check_layout(&give, 4, (const int[]){0, 2, 3, 1});
    (void)state;
}

/* ---- running ---- */

enum { MOST = 70000 };

/* Output `index` of g on the same made-up input; count of its elements. */
static int64_t run(const cr_graph *g, size_t index, float *out)
{
    cr_error err;
    cr_program *p;
    cr_session *s;
    if (cr_program_create(g, NULL, 1, &p, &err) != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(cr_session_open(p, NULL, &s, &err), CR_OK);
    float *x = cr_session_input_data(s, 0);
    for (int64_t i = 0; i < cr_shape_count(&g->inputs[0]->shape); i++) x[i] = sinf((float)i * .7f);
    assert_int_equal(cr_session_execute(s, &err), CR_OK);
    const cr_tensor *y = cr_session_output_tensor(s, index);
    const int64_t n = cr_shape_count(&y->shape);
    assert_in_range(n, 1, MOST);
    memcpy(out, y->data, (size_t)n * sizeof *out);
    cr_session_close(&s);
    cr_program_free(&p);
    return n;
}

/* Sums of floats in another order: relative to the largest value, 1e-4 is ten times what is seen.
 */
static bool near(const float *a, const float *b, int64_t n)
{
    float most = 1e-3f, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmaxf(most, fabsf(a[i]));
        worst = fmaxf(worst, fabsf(a[i] - b[i]));
    }
    return worst <= 1e-4f * most;
}

/* ---- passes ---- */

/* Boxes of a detector: anchors, distances, strides, scores. */
static cr_graph *decoder(void)
{
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(3, 1, 6, 5));
    const int64_t cut[4] = {0, 2, 4, 6}, one = 1;
    cr_tensor *parts[3], *axis = cr_graph_const_i64(g, "axis", &one, 1);
    cr_tensor *anchors = cr_graph_add_const(g, "anchors", CR_DT_F32, shape_of(3, 1, 2, 5));
    cr_tensor *strides = cr_graph_add_const(g, "strides", CR_DT_F32, shape_of(3, 1, 1, 5));
    for (int i = 0; i < 10; i++) ((float *)anchors->data)[i] = (float)i + .5f;
    for (int i = 0; i < 5; i++) ((float *)strides->data)[i] = i < 3 ? 8 : 16;
    for (int k = 0; k < 3; k++)
        parts[k] = graph_node(g, CR_OP_Slice, 1, 4, x, cr_graph_const_i64(g, "from", &cut[k], 1),
                              cr_graph_const_i64(g, "to", &cut[k + 1], 1), axis)
                       ->out[0];
    cr_tensor *low = graph_node(g, CR_OP_Sub, 1, 2, anchors, parts[0])->out[0];
    cr_tensor *high = graph_node(g, CR_OP_Add, 1, 2, anchors, parts[1])->out[0];
    cr_tensor *sum = graph_node(g, CR_OP_Add, 1, 2, low, high)->out[0];
    cr_tensor *mid = graph_node(g, CR_OP_Div, 1, 2, sum, cr_graph_const_f32(g, "two", 2))->out[0];
    cr_tensor *size = graph_node(g, CR_OP_Sub, 1, 2, high, low)->out[0];
    cr_node *boxes = graph_node(g, CR_OP_Concat, 1, 2, mid, size);
    cr_attr_set_int(&boxes->attrs[boxes->n_attrs++], "axis", 1);
    cr_tensor *pixels = graph_node(g, CR_OP_Mul, 1, 2, boxes->out[0], strides)->out[0];
    cr_tensor *scores = graph_node(g, CR_OP_Swish, 1, 1, parts[2])->out[0];
    cr_node *all = graph_node(g, CR_OP_Concat, 1, 2, pixels, scores);
    cr_attr_set_int(&all->attrs[all->n_attrs++], "axis", 1);
    cr_error err;
    graph_output(g, all->out[0]);
    if (cr_graph_index(g, &err) != CR_OK) graph_fail("index", err.message);
    if (cr_graph_infer(g, &err) != CR_OK) graph_fail("infer", err.message);
    return g;
}

static bool has(const cr_graph *g, cr_op_kind kind)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == kind) return true;
    return false;
}

static void factors_move_into_constants(void **state)
{
    static float before[MOST], after[MOST];
    const float factor[6] = {1 / 64.f, 1 / 48.f, 1 / 64.f, 1 / 48.f, 1, 1};
    cr_error err;
    cr_graph *g = decoder();
    const int64_t n = run(g, 0, before);
    const char *name = g->outputs[0]->name;
    char kept[64];
    snprintf(kept, sizeof kept, "%s", name);
    assert_int_equal(cr_graph_split_activations(g, &err), CR_OK);
    assert_false(has(g, CR_OP_Swish) || has(g, CR_OP_Div));
    assert_true(has(g, CR_OP_Sigmoid));
    assert_int_equal(cr_graph_scale_output(g, 0, 1, factor, &err), CR_OK);
    assert_string_equal(g->outputs[0]->name, kept);
    /* nothing larger than a picture is left: not even the grid */
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *t = g->tensors[i];
        for (int64_t k = 0; t->data && t->dtype == CR_DT_F32 && k < cr_shape_count(&t->shape); k++)
            assert_true(((const float *)t->data)[k] < 4);
    }
    assert_int_equal(run(g, 0, after), n);
    for (int64_t i = 0; i < n; i++) before[i] *= factor[i / 5];
    assert_true(near(before, after, n));
    cr_graph_free(&g);
    (void)state;
}

/* ---- random networks ---- */

/* Outputs of rank 4 are NHWC in the file, and where no convolution made them the reader cannot
 * know. */
static bool same_values(const cr_shape *s, const float *a, const float *b, int64_t n)
{
    static float turned[MOST];
    if (near(a, b, n)) return true;
    if (s->rank != 4) return false;
    for (int64_t i = 0; i < n; i++) {
        const int64_t w = i % s->dim[3], h = i / s->dim[3] % s->dim[2];
        const int64_t c = i / (s->dim[3] * s->dim[2]) % s->dim[1],
                      b0 = i / (s->dim[3] * s->dim[2] * s->dim[1]);
        turned[((b0 * s->dim[2] + h) * s->dim[3] + w) * s->dim[1] + c] = a[i];
    }
    return near(turned, b, n);
}

/* False: TFLite has no such network. */
static bool round_trip(uint64_t seed)
{
    static float before[MOST], after[MOST];
    cr_graph *g = random_net(seed, false, false), *back = NULL;
    cr_error err;
    unsigned char *bytes;
    size_t size;
    assert_int_equal(cr_graph_split_activations(g, &err), CR_OK);
    const cr_status st = cr_tflite_serialize(g, NULL, NULL, &bytes, &size, &err);
    if (st != CR_OK) {
        assert_int_equal(st, CR_ERR_UNSUPPORTED);
        cr_graph_free(&g);
        return false;
    }
    if (cr_tflite_parse(bytes, size, "random", &back, &err) != CR_OK ||
        cr_graph_prepare(back, cr_op_run, &err) != CR_OK)
        fail_msg("seed %d: %s", (int)seed, err.message);
    assert_int_equal(back->output_count, g->output_count);
    for (size_t i = 0; i < g->output_count; i++) {
        const int64_t n = run(g, i, before);
        assert_int_equal(run(back, i, after), n);
        if (!same_values(&g->outputs[i]->shape, before, after, n))
            fail_msg("seed %d: output '%s' differs", (int)seed, g->outputs[i]->name);
    }
    cr_free(bytes);
    cr_graph_free(&back);
    cr_graph_free(&g);
    return true;
}

static void random_networks_come_back(void **state)
{
    int written = 0;
    for (uint64_t seed = 0; seed < 300; seed++) written += round_trip(seed);
    assert_in_range(written, 20, 300);
    (void)state;
}

/* ---- recipes ---- */

/* An odd number of weights, with outputs of different scale. */
static cr_graph *one_convolution(cr_tensor **weight)
{
    cr_rng r;
    cr_rng_seed(&r, 5);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 3, 6, 6));
    *weight = const_random(g, &r, "weight", shape_of(4, 5, 3, 3, 3), -1, 1);
    cr_tensor *bias = const_random(g, &r, "bias", shape_of(1, 5), -1, 1);
    for (int i = 0; i < 5 * 27; i++) ((float *)(*weight)->data)[i] *= (float)(1 + i / 27);
    graph_output(g, done(graph_node(g, CR_OP_Conv, 1, 3, x, *weight, bias)));
    graph_ready(g);
    return g;
}

static const cr_recipe_entry *only_weight(const cr_recipe *r)
{
    assert_non_null(r);
    assert_int_equal(r->count, 1);
    assert_true(r->entries[0].is_weight);
    return &r->entries[0];
}

static void check_weight(cr_dtype type, size_t scales)
{
    static const int32_t zero[5];
    const float step = type == CR_DT_I8 ? .04f : type == CR_DT_I4 ? .72f : 2.5f;
    const float scale[5] = {step, step * .4f, step * .6f, step * .8f, step};
    const cr_qparams q = {type, scales > 1 ? 0 : -1, scales, (float *)scale, (int32_t *)zero};
    static float want[5 * 27], got[5 * 27];
    cr_tensor *weight;
    cr_graph *g = one_convolution(&weight), *back;
    cr_recipe *r, *found;
    cr_error err;
    unsigned char *bytes;
    size_t size;
    cr_fake_quantize(weight, &q, want);
    assert_int_equal(cr_recipe_create(&r, &err), CR_OK);
    assert_int_equal(cr_recipe_add(r, "weight", true, &q, "", &err), CR_OK);
    assert_int_equal(cr_tflite_serialize(g, r, NULL, &bytes, &size, &err), CR_OK);
    assert_int_equal(cr_tflite_parse(bytes, size, "weights", &back, &err), CR_OK);
    assert_int_equal(cr_graph_prepare(back, cr_op_run, &err), CR_OK);
    assert_int_equal(cr_qdq_read(back, &found, &err), CR_OK);
    const cr_recipe_entry *e = only_weight(found);
    assert_int_equal(e->q.type, type == CR_DT_I4 ? CR_DT_I4 : CR_DT_I8); /* 2 bits take a byte */
    assert_int_equal(e->q.count, scales);
    assert_memory_equal(e->q.scale, scale, scales * sizeof *scale);
    const cr_tensor *t = cr_graph_find(back, e->tensor);
    assert_non_null(t);
    cr_fake_quantize(t, &e->q, got);
    assert_memory_equal(got, want, sizeof want);
    cr_free(bytes);
    cr_recipe_release(&found);
    cr_recipe_release(&r);
    cr_graph_free(&back);
    cr_graph_free(&g);
}

static void weights_come_back(void **state)
{
    static const cr_dtype types[] = {CR_DT_I8, CR_DT_I4, CR_DT_I2};
    for (int k = 0; k < 3; k++) {
        check_weight(types[k], 1);
        check_weight(types[k], 5);
    }
    (void)state;
}

static void memory_runs_out(void **state)
{
    cr_graph *g = decoder();
    cr_error err;
    unsigned char *bytes;
    size_t size;
    cr_status st = CR_ERR_MEMORY;
    assert_int_equal(cr_graph_split_activations(g, &err), CR_OK);
    for (long n = 0; st != CR_OK; n++) {
        assert_in_range(n, 0, 2000);
        cr_alloc_fail_after(n);
        st = cr_tflite_serialize(g, NULL, &(cr_tfl_write_options){.metadata = "{}"}, &bytes, &size,
                                 &err);
        cr_alloc_fail_after(-1);
        if (st != CR_OK) assert_int_equal(st, CR_ERR_MEMORY);
    }
    cr_free(bytes);
    cr_graph_free(&g);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reshapes_keep_channels_last),
                                       cmocka_unit_test(factors_move_into_constants),
                                       cmocka_unit_test(random_networks_come_back),
                                       cmocka_unit_test(weights_come_back),
                                       cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
