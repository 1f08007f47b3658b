/* Every finding has a file that has it, written by code, and is named at the right node; files of our
 * own planner have none but those that their mode brings; what is taken apart and planned anew is
 * sound. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "crayon/quantize.h"
#include "onnx/onnx.h"
#include "onnx/qdq.h"
#include "pipeline/model_impl.h"
#include "unit/graphs.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CR_OK) fail_msg("%s: %s", #call, err.message);                               \
    } while (0)

static const char *sample = "sample/shapes.onnx";
static char path[64]; /* of the file being looked at */

/* ---- files ---- */

static cr_model *open_file(const char *name, bool mend)
{
    cr_error err;
    cr_model *m = NULL;
    cr_model_options o = cr_model_options_default();
    o.mend = mend;
    OK(cr_model_open(name, &o, &m, &err));
    return m;
}

static cr_model *open_sample(void)
{
    if (access(sample, R_OK)) skip();
    return open_file(sample, false);
}

static void write_graph(cr_graph *g)
{
    cr_error err;
    OK(cr_graph_index(g, &err));
    OK(cr_onnx_write(g, &(cr_onnx_write_options){.opset = 13}, path, &err));
    cr_graph_free(&g);
}

/* The sample with these entries, as a QDQ file that is read again. */
static cr_model *reopened(cr_model *m, cr_recipe *r)
{
    cr_error err;
    OK(cr_model_attach(m, r, &err));
    OK(cr_model_export(m, path, &(cr_export_options){.format = "qdq"}, &err));
    cr_model_free(&m);
    return open_file(path, false);
}

/* ---- findings ---- */

typedef struct found {
    cr_finding *list;
    size_t count;
} found;

static found examine(cr_model *m)
{
    cr_error err;
    found f;
    OK(cr_model_findings(m, &f.list, &f.count, &err));
    for (size_t i = 0; i < f.count; i++) {
        assert_true(*f.list[i].key && *f.list[i].why && *f.list[i].mend && *f.list[i].what);
        assert_true(i == 0 || f.list[i - 1].kind <= f.list[i].kind);
    }
    return f;
}

static size_t count_of(const found *f, cr_finding_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++) n += f->list[i].kind == kind;
    return n;
}

static void list_all(const found *f)
{
    for (size_t i = 0; i < f->count; i++)
        print_message("%s at %s: %s\n", f->list[i].key, f->list[i].node, f->list[i].what);
}

/* So many of one kind, the first of them at that tensor (NULL: anywhere), and nothing else. */
static void expect(cr_model *m, cr_finding_kind kind, size_t count, const char *tensor)
{
    found f = examine(m);
    if (f.count != count || count_of(&f, kind) != count) list_all(&f);
    assert_int_equal(f.count, count);
    assert_int_equal(count_of(&f, kind), count);
    if (tensor) assert_string_equal(f.list[0].tensor, tensor);
    free(f.list);
    cr_model_free(&m);
}

/* ---- a small graph with pairs ---- */

static cr_rng rng;

static cr_tensor *scale_of(cr_graph *g, float value)
{
    return cr_graph_const_f32(g, "scale", value);
}

static cr_tensor *zero_of(cr_graph *g, cr_dtype type, int code)
{
    cr_tensor *z = cr_graph_new_const(g, "zero", type, shape_of(0));
    *(uint8_t *)z->data = (uint8_t)code;
    return z;
}

static cr_tensor *quantize(cr_graph *g, cr_tensor *x, float scale, cr_dtype type, int zero)
{
    return done(graph_node(g, CR_OP_QuantizeLinear, 1, 3, x, scale_of(g, scale),
                           zero_of(g, type, zero)));
}

static cr_tensor *pair(cr_graph *g, cr_tensor *x, float scale, cr_dtype type, int zero)
{
    return done(graph_node(g, CR_OP_DequantizeLinear, 1, 3, quantize(g, x, scale, type, zero),
                           scale_of(g, scale), zero_of(g, type, zero)));
}

enum { CHANNELS = 8 };

/* int8 codes [CHANNELS, cin, 1, 1] behind DQ with n scales along the axis. */
static cr_node *weight(cr_graph *g, int cin, int n, int axis)
{
    cr_tensor *codes = cr_graph_new_const(g, "codes", CR_DT_I8, shape_of(4, CHANNELS, cin, 1, 1));
    for (int i = 0; i < CHANNELS * cin; i++)
        ((int8_t *)codes->data)[i] = (int8_t)(cr_rng_below(&rng, 2) ? 127 - i % cin : i % 5 - 100);
    cr_tensor *s = cr_graph_new_const(g, "scales", CR_DT_F32, n == 1 ? shape_of(0) : shape_of(1, n));
    for (int i = 0; i < n; i++) ((float *)s->data)[i] = .01f * (float)(1 + i);
    cr_node *dq = graph_node(g, CR_OP_DequantizeLinear, 1, 2, codes, s);
    attr_int(dq, "axis", axis);
    return dq;
}

/* A convolution that is no last one: another follows, which is float. */
static cr_graph *finish(cr_graph *g, cr_tensor *x)
{
    const int cin = (int)x->shape.dim[1];
    cr_tensor *w = const_random(g, &rng, "last", shape_of(4, 2, cin, 1, 1), -1, 1);
    graph_output(g, done(graph_node(g, CR_OP_Conv, 1, 2, x, w)));
    return g;
}

typedef struct net {
    cr_graph *g;
    cr_tensor *x;
} net;

static net begin(int cin)
{
    net n = {.g = graph_new()};
    n.x = graph_input(n.g, "x", shape_of(4, 1, cin, 4, 4));
    return n;
}

static cr_tensor *conv(cr_graph *g, cr_tensor *x, cr_tensor *w)
{
    return done(graph_node(g, CR_OP_Conv, 1, 2, x, w));
}

static cr_tensor *sound_conv(cr_graph *g, cr_tensor *x, cr_dtype type)
{
    const int cin = (int)x->shape.dim[1];
    return conv(g, pair(g, x, .1f, type, 3), done(weight(g, cin, CHANNELS, 0)));
}

static void sound(void **state)
{
    (void)state;
    net n = begin(4);
    write_graph(finish(n.g, sound_conv(n.g, n.x, CR_DT_U8)));
    expect(open_file(path, false), CR_FINDING_KINDS, 0, NULL);
}

/* ---- pairs ---- */

static void dead_pairs(void **state)
{
    (void)state;
    net n = begin(4); /* twice the same, then another scale */
    cr_tensor *y = pair(n.g, pair(n.g, n.x, .1f, CR_DT_U8, 3), .1f, CR_DT_U8, 3);
    y = pair(n.g, y, .2f, CR_DT_U8, 3);
    write_graph(finish(n.g, conv(n.g, y, done(weight(n.g, 4, CHANNELS, 0)))));
    expect(open_file(path, false), CR_FINDING_DEAD_PAIR, 2, NULL);
}

static void unread_pair(void **state)
{
    (void)state;
    net n = begin(4);
    cr_tensor *y = sound_conv(n.g, n.x, CR_DT_U8);
    char name[64];
    snprintf(name, sizeof name, "%s", y->name);
    quantize(n.g, y, .1f, CR_DT_U8, 0);
    write_graph(finish(n.g, y));
    expect(open_file(path, false), CR_FINDING_DEAD_PAIR, 1, name);
}

static void stored_float(void **state)
{
    (void)state;
    net n = begin(4);
    cr_tensor *w = const_random(n.g, &rng, "kernel", shape_of(4, CHANNELS, 4, 1, 1), -1, 1);
    cr_tensor *y = conv(n.g, pair(n.g, n.x, .1f, CR_DT_U8, 3), pair(n.g, w, .01f, CR_DT_I8, 0));
    write_graph(finish(n.g, y));
    expect(open_file(path, false), CR_FINDING_STORED_FLOAT, 1, "kernel");
}

/* ---- scales ---- */

static void bad_scales(void **state)
{
    (void)state;
    const float bad[] = {0, NAN, INFINITY, -1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        net n = begin(4);
        cr_tensor *y = conv(n.g, pair(n.g, n.x, bad[i], CR_DT_U8, 3),
                            const_random(n.g, &rng, "w", shape_of(4, CHANNELS, 4, 1, 1), -1, 1));
        write_graph(finish(n.g, y));
        expect(open_file(path, false), CR_FINDING_BAD_SCALE, 1, "x");
        expect(open_file(path, true), CR_FINDING_BAD_SCALE, 1, "x");
    }
}

/* One channel's scale is 0: it becomes zeros, all else stays. */
static void bad_weight_scale(void **state)
{
    (void)state;
    cr_error err;
    net n = begin(4);
    cr_node *dq = weight(n.g, 4, CHANNELS, 0);
    ((float *)dq->in[1]->data)[2] = 0;
    cr_tensor *y = conv(n.g, pair(n.g, n.x, .1f, CR_DT_U8, 3), done(dq));
    write_graph(finish(n.g, y));
    cr_model *m = open_file(path, true);
    found f = examine(m);
    assert_int_equal(count_of(&f, CR_FINDING_BAD_SCALE), 1);
    free(f.list);
    const cr_tensor *w = m->graph->nodes[0]->in[1];
    assert_true(w->data && w->dtype == CR_DT_F32);
    for (int i = 0; i < CHANNELS * 4; i++)
        assert_true(isfinite(((float *)w->data)[i]) && (((float *)w->data)[i] == 0) == (i / 4 == 2));
    OK(cr_model_unquantize(m, &err));
    OK(cr_quantize(m, NULL, &(cr_quantize_options){.mode = CR_MODE_STATIC, .calibration = CR_CALIB_AUTO,
                                                   .percentile = 99.999, .norm = 4},
                   NULL, &err));
    found left = examine(m);
    assert_int_equal(left.count, 0);
    free(left.list);
    cr_model_free(&m);
}

/* ---- axes ---- */

/* Scales along the input channels: it can be read, no kernel takes it. */
static void input_axis(void **state)
{
    (void)state;
    net n = begin(CHANNELS);
    cr_node *dq = weight(n.g, CHANNELS, CHANNELS, 1);
    const char *name = dq->out[0]->name;
    cr_tensor *y = conv(n.g, pair(n.g, n.x, .1f, CR_DT_U8, 3), done(dq));
    char kept[64];
    snprintf(kept, sizeof kept, "%s", name);
    write_graph(finish(n.g, y));
    expect(open_file(path, false), CR_FINDING_WRONG_AXIS, 1, kept);
}

/* Along an axis of another size: not read, unless it is to be mended. */
static void impossible_axis(void **state)
{
    (void)state;
    cr_error err;
    net n = begin(4);
    cr_node *dq = weight(n.g, 4, CHANNELS, 0);
    cr_tensor *y = conv(n.g, pair(n.g, n.x, .1f, CR_DT_U8, 3), done(dq));
    cr_attr_set_int(&dq->attrs[0], "axis", 3);
    write_graph(finish(n.g, y));
    cr_model *m = NULL;
    assert_int_equal(cr_model_open(path, NULL, &m, &err), CR_ERR_FORMAT);
    m = open_file(path, true);
    assert_int_equal(cr_model_get_info(m)->weight_entries, 1);
    expect(m, CR_FINDING_WRONG_AXIS, 1, NULL);
}

static void old_opset(void **state)
{
    (void)state;
    cr_error err;
    net n = begin(4);
    finish(n.g, sound_conv(n.g, n.x, CR_DT_U8));
    n.g->source_opset = 10;
    OK(cr_graph_index(n.g, &err));
    cr_arena arena = {0};
    cr_findings f = {.arena = &arena};
    OK(cr_doctor_file(n.g, false, &f, &err));
    assert_int_equal(f.count, 1);
    assert_int_equal(f.list[0].kind, CR_FINDING_OLD_OPSET);
    cr_free(f.list);
    cr_arena_free(&arena);
    cr_graph_free(&n.g);
}

/* ---- kernels ---- */

static void coarse_weights(void **state)
{
    (void)state;
    net n = begin(4);
    cr_node *dq = weight(n.g, 4, 1, 0);
    int8_t *codes = dq->in[0]->data;
    for (int i = 0; i < 4; i++) codes[4 + i] = (int8_t)(i - 1); /* one channel of eight */
    cr_tensor *y = conv(n.g, pair(n.g, n.x, .1f, CR_DT_U8, 3), done(dq));
    write_graph(finish(n.g, y));
    expect(open_file(path, false), CR_FINDING_COARSE_WEIGHTS, 1, NULL);
}

static void unfused(void **state)
{
    (void)state;
    net n = begin(4);
    cr_tensor *y = sound_conv(n.g, n.x, CR_DT_U8);
    cr_tensor *w = const_random(n.g, &rng, "w", shape_of(4, 3, CHANNELS, 1, 1), -1, 1);
    y = conv(n.g, pair(n.g, y, .1f, CR_DT_U8, 0), w); /* float weights */
    write_graph(finish(n.g, y));
    expect(open_file(path, false), CR_FINDING_UNFUSED_PAIR, 1, NULL);
    n = begin(4);
    y = conv(n.g, sound_conv(n.g, n.x, CR_DT_U8), done(weight(n.g, CHANNELS, CHANNELS, 0)));
    write_graph(finish(n.g, y)); /* a float input */
    expect(open_file(path, false), CR_FINDING_UNFUSED_PAIR, 1, NULL);
}

static void signed_activations(void **state)
{
    (void)state;
    net n = begin(4);
    write_graph(finish(n.g, sound_conv(n.g, n.x, CR_DT_I8)));
    expect(open_file(path, false), CR_FINDING_SIGNED_ACTIVATIONS, 1, "x");
}

/* x * Sigmoid(x) with a rounding at every place, or at one. */
static void cut_activations(void **state)
{
    (void)state;
    for (int where = 1; where < 4; where++) {
        net n = begin(4);
        cr_tensor *x = sound_conv(n.g, n.x, CR_DT_U8);
        if (where & 1) x = pair(n.g, x, .2f, CR_DT_U8, 128);
        cr_tensor *s = apply1(n.g, CR_OP_Sigmoid, x);
        if (where & 2) s = pair(n.g, s, 1 / 255.f, CR_DT_U8, 0);
        write_graph(finish(n.g, apply2(n.g, CR_OP_Mul, x, s)));
        cr_model *m = open_file(path, false);
        found f = examine(m);
        assert_int_equal(f.count, 1);
        assert_int_equal(f.list[0].kind, CR_FINDING_CUT_ACTIVATION);
        assert_true((strstr(f.list[0].what, "exclusion") != NULL) == (where == 2)); /* 1: one node */
        free(f.list);
        cr_model_free(&m);
    }
    net n = begin(4);
    cr_tensor *x = pair(n.g, sound_conv(n.g, n.x, CR_DT_U8), .2f, CR_DT_U8, 128);
    write_graph(finish(n.g, apply1(n.g, CR_OP_HardSwish, x)));
    expect(open_file(path, false), CR_FINDING_CUT_ACTIVATION, 1, NULL);
}

/* ---- heads: the sample, with an entry at one place ---- */

static void add_entry(cr_recipe *r, const cr_tensor *t, double lo, double hi)
{
    cr_error err;
    float scale = (float)((hi - lo) / 255);
    int32_t zero = (int32_t)(-lo / (double)scale);
    const cr_qparams q = {CR_DT_U8, -1, 1, &scale, &zero};
    OK(cr_recipe_add(r, t->name, false, &q, "", &err));
}

static const cr_node *only_node(const cr_graph *g, cr_op_kind kind)
{
    const cr_node *n = NULL;
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == kind) n = g->nodes[i];
    assert_non_null(n);
    return n;
}

static cr_recipe *new_recipe(void)
{
    cr_error err;
    cr_recipe *r;
    OK(cr_recipe_create(&r, &err));
    return r;
}

static void boxes_and_scores(void **state)
{
    (void)state;
    const double highest[] = {320, 1};
    const cr_finding_kind kinds[] = {CR_FINDING_SHARED_SCALE, CR_FINDING_COARSE_BOXES};
    for (int i = 0; i < 2; i++) {
        cr_model *m = open_sample();
        cr_recipe *r = new_recipe();
        char name[64];
        snprintf(name, sizeof name, "%s", m->graph->outputs[0]->name);
        add_entry(r, m->graph->outputs[0], 0, highest[i]);
        expect(reopened(m, r), kinds[i], 1, name);
    }
}

static void distributions(void **state)
{
    (void)state;
    cr_model *m = open_sample();
    cr_recipe *r = new_recipe();
    const cr_node *soft = only_node(m->graph, CR_OP_Softmax);
    add_entry(r, soft->out[0], 0, 1);
    expect(reopened(m, r), CR_FINDING_QUANTIZED_DFL, 1, NULL);
}

/* ---- what our own planner writes, and planning anew ---- */

static cr_status fill(void *user, size_t index, float *input, cr_error *err)
{
    (void)err;
    const size_t n = *(const size_t *)user;
    for (size_t i = 0; i < n; i++) input[i] = (float)((i * 37 + index * 11) % 251) / 251;
    return CR_OK;
}

static cr_stats *stats_of(const cr_model *m, const cr_quantize_options *o)
{
    cr_error err;
    cr_stats *s = NULL;
    size_t n = (size_t)cr_shape_count(&m->graph->inputs[0]->shape);
    OK(cr_calibrate_tensors(m, 2, fill, &n, o, NULL, &s, &err));
    return s;
}

static cr_model *planned(const cr_quantize_options *o)
{
    cr_error err;
    cr_model *m = open_sample();
    cr_stats *s = o->mode == CR_MODE_STATIC ? stats_of(m, o) : NULL;
    OK(cr_quantize(m, s, o, NULL, &err));
    OK(cr_model_export(m, path, &(cr_export_options){.format = "qdq"}, &err));
    cr_stats_free(&s);
    cr_model_free(&m);
    return open_file(path, false);
}

static void our_own(void **state)
{
    (void)state;
    cr_quantize_options o = cr_quantize_options_default();
    expect(planned(&o), CR_FINDING_KINDS, 0, NULL);
    o.head = CR_HEAD_FLOAT;
    expect(planned(&o), CR_FINDING_KINDS, 0, NULL);
    o.head = CR_HEAD_AUTO;
    o.mode = CR_MODE_WEIGHTS;
    expect(planned(&o), CR_FINDING_KINDS, 0, NULL);
    o.mode = CR_MODE_DYNAMIC;
    cr_model *m = planned(&o);
    expect(m, CR_FINDING_INTEGER_OPERATOR, cr_model_get_info(m)->weight_entries, NULL);
    expect(open_sample(), CR_FINDING_KINDS, 0, NULL);
}

/* A plan with all the ills of a head, taken apart: the weights' codes and the ranges of convolutions'
 * inputs are the file's, the rest is gone; the same with and without statistics. */
static void planned_anew(void **state)
{
    (void)state;
    cr_error err;
    for (int with_stats = 0; with_stats < 2; with_stats++) {
        cr_quantize_options o = cr_quantize_options_default();
        cr_quantize_report report;
        o.granularity = CR_PER_TENSOR;
        cr_model *m = planned(&o);
        const size_t activations = cr_model_get_info(m)->activation_entries;
        const size_t weights = cr_model_get_info(m)->weight_entries;
        cr_recipe *r = m->recipe;
        m->recipe = NULL;
        add_entry(r, m->graph->outputs[0], 0, 320);
        add_entry(r, only_node(m->graph, CR_OP_Softmax)->out[0], 0, 1);
        m = reopened(m, r);
        found before = examine(m);
        assert_int_equal(count_of(&before, CR_FINDING_SHARED_SCALE), 1);
        assert_int_equal(count_of(&before, CR_FINDING_QUANTIZED_DFL), 1);
        free(before.list);
        OK(cr_model_unquantize(m, &err));
        assert_false(cr_model_get_info(m)->quantized);
        o = cr_quantize_options_default();
        cr_stats *s = with_stats ? stats_of(m, &o) : NULL;
        OK(cr_quantize(m, s, &o, &report, &err));
        cr_stats_free(&s);
        assert_int_equal(cr_model_get_info(m)->activation_entries, activations);
        assert_int_equal(report.kept_weights, weights);
        /* with statistics, ranges of a larger error than a new one are not kept */
        assert_true(report.kept_activations >= (with_stats ? activations / 2 : activations));
        found after = examine(m);
        assert_int_equal(after.count, count_of(&after, CR_FINDING_COARSE_WEIGHTS));
        free(after.list);
        assert_int_equal(cr_model_unquantize(m, &err), CR_OK);
        assert_int_equal(cr_model_unquantize(m, &err), CR_ERR_ARGUMENT);
        cr_model_free(&m);
    }
}

static int choose_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/crayon-doctor-%ld.onnx", (long)getpid());
    cr_rng_seed(&rng, 3);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound),
        cmocka_unit_test(dead_pairs),
        cmocka_unit_test(unread_pair),
        cmocka_unit_test(stored_float),
        cmocka_unit_test(bad_scales),
        cmocka_unit_test(bad_weight_scale),
        cmocka_unit_test(input_axis),
        cmocka_unit_test(impossible_axis),
        cmocka_unit_test(old_opset),
        cmocka_unit_test(coarse_weights),
        cmocka_unit_test(unfused),
        cmocka_unit_test(signed_activations),
        cmocka_unit_test(cut_activations),
        cmocka_unit_test(boxes_and_scores),
        cmocka_unit_test(distributions),
        cmocka_unit_test(our_own),
        cmocka_unit_test(planned_anew),
    };
    return cmocka_run_group_tests(tests, choose_path, remove_file);
}
