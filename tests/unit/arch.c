/* Architectures: what a training graph's branches say, decoded by hand, is what the decoded form of
 * the same weights gives, with BatchNormalization folded; names and sizes that do not fit are
 * refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/rng.h"
#include "graph/passes.h"
#include "ops/ref.h"
#include "runtime/runtime.h"
#include "train/arch.h"
#include "train/tape.h"

enum { SIDE = 64, CLASSES = 3, POINTS = 4 };

static cr_arch_options small(const char *name, bool training)
{
    return (cr_arch_options){.name = name, .classes = CLASSES, .keypoints = POINTS,
                             .keypoint_dims = 3, .height = SIDE, .width = SIDE, .batch = 1,
                             .training = training, .seed = 7};
}

static cr_graph *make(const cr_arch_options *o, cr_arch_layout *layout)
{
    cr_graph *g;
    cr_error err = {0};
    if (cr_arch_graph(o, &g, layout, &err) != CR_OK) fail_msg("%s", err.message);
    return g;
}

/* Statistics and biases away from 0 and 1, so that folding them has something to get wrong. */
static void disturb(cr_graph *g)
{
    cr_rng r;
    cr_rng_seed(&r, 3);
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *t = g->tensors[i];
        if (!t->data || t->dtype != CR_DT_F32 || t->shape.rank != 1 || t->name[0] == '/') continue;
        const bool positive = strstr(t->name, "running_var") || strstr(t->name, "bn.weight");
        for (int64_t k = 0; k < t->shape.dim[0]; k++)
            ((float *)t->data)[k] = (float)cr_rng_range(&r, positive ? .5 : -.5, positive ? 1.5 : .5);
    }
}

/* The weights of one form into the other: every one of them has its namesake there. */
static void copy_weights(const cr_graph *from, cr_graph *to)
{
    size_t copied = 0;
    for (size_t i = 0; i < from->tensor_count; i++) {
        const cr_tensor *t = from->tensors[i];
        if (!t->data || t->dtype != CR_DT_F32 || t->name[0] == '/') continue;
        const cr_tensor *same = cr_graph_find(to, t->name);
        assert_non_null(same);
        assert_true(cr_shape_equal(&same->shape, &t->shape));
        memcpy(same->data, t->data, cr_tensor_bytes(t));
        copied++;
    }
    assert_true(copied > 60);
}

typedef struct pair {
    cr_graph *train, *plain;
    cr_arch_layout layout;
    cr_tape *tape;
    cr_tensor out[2];
} pair;

static void run_both(const char *name, pair *p)
{
    cr_error err = {0};
    cr_arch_layout same;
    cr_arch_options o = small(name, true);
    *p = (pair){0};
    p->train = make(&o, &p->layout);
    disturb(p->train);
    o.training = false;
    o.seed = 8;
    p->plain = make(&o, &same);
    copy_weights(p->train, p->plain);
    const cr_tape_options to = {.real = CR_DT_F32};
    if (cr_tape_create(p->train, &to, &p->tape, &err) != CR_OK) fail_msg("%s", err.message);
    float *x = cr_tape_value(p->tape, p->train->inputs[0]);
    cr_rng r;
    cr_rng_seed(&r, 5);
    for (int i = 0; i < 3 * SIDE * SIDE; i++) x[i] = (float)cr_rng_unit(&r);
    assert_int_equal(cr_tape_forward(p->tape, &err), CR_OK);
    if (cr_graph_prepare(p->plain, cr_op_run, &err) != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(cr_graph_infer(p->plain, &err), CR_OK);
    for (size_t i = 0; i < p->plain->node_count; i++)
        assert_int_not_equal(p->plain->nodes[i]->op->kind, CR_OP_BatchNormalization);
    const float *in[1] = {x};
    if (cr_reference_run(p->plain, NULL, in, p->out, NULL, &err) != CR_OK)
        fail_msg("%s", err.message);
}

static void release(pair *p)
{
    cr_tape_free(&p->tape);
    cr_tensor_drop_data(&p->out[0]);
    cr_tensor_drop_data(&p->out[1]);
    cr_graph_free(&p->train);
    cr_graph_free(&p->plain);
}

/* float32 sums over some 600 products in another order, pixels up to 64: the largest difference over
 * all tests here is 3e-5 */
static void near(double a, double b)
{
    if (!(fabs(a - b) <= 2e-4)) fail_msg("%.7g is not %.7g", a, b);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double distance(const float *box, int side, int64_t cells, int64_t cell)
{
    double sum = 0, mean = 0;
    for (int b = 0; b < CR_ARCH_BINS; b++) {
        const double e = exp(box[(side * CR_ARCH_BINS + b) * cells + cell]);
        sum += e;
        mean += b * e;
    }
    return mean / sum;
}

static void check_level(const pair *p, int level, int64_t first)
{
    const int64_t rows = p->out[0].shape.dim[2];
    const int outputs = level * p->layout.per_level, stride = p->layout.stride[level];
    const int64_t w = SIDE / stride, cells = w * w;
    const float *box = cr_tape_value(p->tape, p->train->outputs[outputs]);
    const float *score = cr_tape_value(p->tape, p->train->outputs[outputs + 1]);
    const float *extra = p->layout.per_level < 3
                             ? NULL
                             : cr_tape_value(p->tape, p->train->outputs[outputs + 2]);
    for (int64_t i = 0; i < cells; i++) {
        const float *y = (const float *)p->out[0].data + first + i;
        const double cx = (double)(i % w) + .5, cy = (double)(i / w) + .5;
        const double l = distance(box, 0, cells, i), t = distance(box, 1, cells, i);
        const double r = distance(box, 2, cells, i), b = distance(box, 3, cells, i);
        near(y[0], (cx + (r - l) / 2) * stride);
        near(y[rows], (cy + (b - t) / 2) * stride);
        near(y[2 * rows], (l + r) * stride);
        near(y[3 * rows], (t + b) * stride);
        for (int k = 0; k < CLASSES; k++) near(y[(4 + k) * rows], sigmoid(score[k * cells + i]));
        for (int k = 0; extra && k < (p->layout.masks ? p->layout.masks : 3 * POINTS); k++) {
            const double v = extra[k * cells + i];
            const double corner = k % 3 == 0 ? cx - .5 : cy - .5;
            const double want = p->layout.masks ? v
                                : k % 3 == 2    ? sigmoid(v)
                                                : (2 * v + corner) * stride;
            near(y[(4 + CLASSES + k) * rows], want);
        }
    }
}

static void check_detector(const char *name)
{
    pair p;
    run_both(name, &p);
    int64_t first = 0;
    for (int i = 0; i < p.layout.levels; i++) {
        check_level(&p, i, first);
        first += (SIDE / p.layout.stride[i]) * (SIDE / p.layout.stride[i]);
    }
    assert_int_equal(first, p.out[0].shape.dim[2]);
    if (p.layout.masks) {
        const cr_tensor *t = p.train->outputs[p.train->output_count - 1];
        const float *want = cr_tape_value(p.tape, t), *got = p.out[1].data;
        assert_true(cr_shape_equal(&t->shape, &p.out[1].shape));
        for (int64_t i = 0; i < cr_shape_count(&t->shape); i++) near(got[i], want[i]);
    }
    release(&p);
}

static void detectors(void **state)
{
    (void)state;
    check_detector("pico");
    check_detector("yolov8n");
    check_detector("pico-seg");
    check_detector("pico-pose");
}

static void classifier(void **state)
{
    (void)state;
    pair p;
    run_both("pico-cls", &p);
    const float *logit = cr_tape_value(p.tape, p.train->outputs[0]), *got = p.out[0].data;
    double sum = 0;
    for (int k = 0; k < CLASSES; k++) sum += exp(logit[k]);
    for (int k = 0; k < CLASSES; k++) near(got[k], exp(logit[k]) / sum);
    release(&p);
}

static void seeds(void **state)
{
    (void)state;
    cr_arch_layout layout;
    cr_arch_options o = small("pico", true);
    cr_graph *a = make(&o, &layout), *b = make(&o, &layout);
    o.seed++;
    cr_graph *c = make(&o, &layout);
    size_t differ = 0;
    for (size_t i = 0; i < a->tensor_count; i++) {
        const size_t n = a->tensors[i]->data ? cr_tensor_bytes(a->tensors[i]) : 0;
        assert_memory_equal(a->tensors[i]->data ? a->tensors[i]->data : "",
                            b->tensors[i]->data ? b->tensors[i]->data : "", n);
        differ += n && memcmp(a->tensors[i]->data, c->tensors[i]->data, n) != 0;
    }
    assert_int_equal(differ, 39); /* the weights of its convolutions */
    cr_graph_free(&a);
    cr_graph_free(&b);
    cr_graph_free(&c);
}

static void refuses(cr_arch_options o, const char *why)
{
    cr_graph *g;
    cr_arch_layout layout;
    cr_error err = {0};
    assert_int_equal(cr_arch_graph(&o, &g, &layout, &err), CR_ERR_ARGUMENT);
    assert_null(g);
    assert_non_null(strstr(err.message, why));
}

static void refused(void **state)
{
    (void)state;
    cr_arch_options o = small("yolov8x", true);
    refuses(o, "there are pico, yolov8n");
    o = small("pico-obb", true);
    refuses(o, "no architecture 'pico-obb'");
    o = small("yolov8n", true);
    o.width = 80;
    refuses(o, "multiples of 32");
    o = small("pico", true);
    o.batch = 0;
    refuses(o, "batch of 0");
    o = small("pico", true);
    o.classes = 0;
    refuses(o, "0 classes");
    o = small("pico-pose", true);
    o.keypoints = 0;
    refuses(o, "0 keypoints");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(detectors), cmocka_unit_test(classifier),
                                       cmocka_unit_test(seeds), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
