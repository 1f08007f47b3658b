/* --head quantize on a small detector: boxes and scores never share a scale unless the boxes are
 * fractions, and the rewritten graph computes the same floats. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "quant/plan.h"
#include "unit/graphs.h"

enum { SIDE = 64, CELLS = 64, BINS = 4, CLASSES = 3 };

static cr_rng rng;

static cr_tensor *conv(cr_graph *g, cr_tensor *x, int cout, int stride)
{
    cr_tensor *w = const_random(g, &rng, "w", shape_of(4, cout, (int)x->shape.dim[1], 1, 1), -1, 1);
    cr_node *n = graph_node(g, CR_OP_Conv, 1, 2, x, w);
    attr_ints(g, n, "strides", 2, stride, stride);
    return done(n);
}

typedef struct detector {
    cr_graph *g;
    cr_tensor *features, *bins, *soft, *distance, *corner, *boxes, *logits, *scores, *joint;
} detector;

/* softmax -> expectation -> grid - distance -> (times strides) -> joint with sigmoid(scores). */
static detector make(bool strides, int axis)
{
    detector d = {.g = graph_new()};
    cr_graph *g = d.g;
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 3, SIDE, SIDE));
    d.features = apply1(g, CR_OP_Relu, conv(g, x, 8, 8));
    d.bins = apply2(g, CR_OP_Reshape, conv(g, d.features, 4 * BINS, 1),
                    const_ints(g, 4, 1, 4, BINS, CELLS));
    cr_node *turn = graph_node(g, CR_OP_Transpose, 1, 1, d.bins);
    attr_ints(g, turn, "perm", 4, 0, 2, 1, 3);
    cr_node *soft = graph_node(g, CR_OP_Softmax, 1, 1, done(turn));
    attr_int(soft, "axis", 1);
    d.soft = done(soft);
    cr_tensor *w = cr_graph_new_const(g, "whole", CR_DT_F32, shape_of(4, 1, BINS, 1, 1));
    for (int i = 0; i < BINS; i++) ((float *)w->data)[i] = (float)i;
    d.distance = apply2(g, CR_OP_Reshape, done(graph_node(g, CR_OP_Conv, 1, 2, d.soft, w)),
                        const_ints(g, 3, 1, 4, CELLS));
    cr_tensor *grid = const_random(g, &rng, "grid", shape_of(3, 1, 4, CELLS), 0, 60);
    d.boxes = d.corner = apply2(g, CR_OP_Sub, grid, d.distance);
    if (strides)
        d.boxes = apply2(g, CR_OP_Mul, d.corner,
                         const_random(g, &rng, "strides", shape_of(2, 1, CELLS), 8, 8));
    d.logits = apply2(g, CR_OP_Reshape, conv(g, d.features, CLASSES, 1),
                      const_ints(g, 3, 1, CLASSES, CELLS));
    d.scores = apply1(g, CR_OP_Sigmoid, d.logits);
    cr_tensor *a = d.boxes, *b = d.scores;
    if (axis == 2) {
        cr_node *t[2];
        for (int i = 0; i < 2; i++) {
            t[i] = graph_node(g, CR_OP_Transpose, 1, 1, i ? b : a);
            attr_ints(g, t[i], "perm", 3, 0, 2, 1);
        }
        a = done(t[0]);
        b = done(t[1]);
    }
    cr_node *join = graph_node(g, CR_OP_Concat, 1, 2, a, b);
    attr_int(join, "axis", axis);
    d.joint = done(join);
    graph_output(g, d.joint);
    graph_ready(g);
    return d;
}

static cr_status fill(void *user, size_t index, float *input, cr_error *err)
{
    (void)user;
    (void)err;
    for (size_t i = 0; i < 3 * SIDE * SIDE; i++)
        input[i] = (float)((i * 31 + index) % 200) / 100 - 1;
    return CR_OK;
}

static cr_recipe *plan(const cr_graph *g)
{
    cr_error err;
    cr_stats *stats;
    cr_recipe *r = NULL;
    cr_quantize_options o = cr_quantize_options_default();
    o.head = CR_HEAD_QUANTIZE;
    o.equalize = CR_EQUALIZE_OFF; /* its factors need not be powers of two */
    const cr_collect_options collect = {.count = 2, .fill = fill, .threads = 1};
    cr_status st = cr_stats_collect(g, &collect, &stats, &err);
    if (st == CR_OK) st = cr_plan_recipe(g, stats, &o, &r, NULL, &err);
    if (st != CR_OK) fail_msg("%s", err.message);
    cr_stats_release(&stats);
    return r;
}

static const cr_qparams *entry(const cr_recipe *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, name)) return &r->entries[i].q;
    return NULL;
}

static const cr_qparams *entry_of(const cr_recipe *r, const cr_tensor *t)
{
    const cr_qparams *q = entry(r, t->name);
    if (!q) fail_msg("%s has no entry", t->name);
    return q;
}

static float *run(const cr_graph *g, const cr_recipe *r)
{
    cr_error err;
    cr_program *p;
    cr_session *s = NULL;
    cr_status st = cr_program_create(g, r, 1, &p, &err);
    if (st == CR_OK) st = cr_session_open(p, NULL, &s, &err);
    if (st == CR_OK) st = fill(NULL, 5, cr_session_input_data(s, 0), &err);
    if (st == CR_OK) st = cr_session_execute(s, &err);
    if (st != CR_OK) fail_msg("%s", err.message);
    const cr_tensor *y = cr_session_output_tensor(s, 0);
    float *copy = malloc(cr_tensor_bytes(y));
    memcpy(copy, y->data, cr_tensor_bytes(y));
    cr_session_close(&s);
    cr_program_free(&p);
    return copy;
}

static void check_entries(const detector *d, const cr_recipe *r)
{
    assert_null(entry(r, d->joint->name)); /* the output in pixels: boxes beside scores */
    assert_int_equal(entry_of(r, d->soft)->type, CR_DT_U8);
    assert_int_equal(entry_of(r, d->distance)->type, CR_DT_U8);
    assert_int_equal(entry_of(r, d->corner)->type, CR_DT_U16);
    assert_int_equal(entry_of(r, d->boxes)->type, CR_DT_U16);
    assert_true(entry_of(r, d->scores)->scale[0] <= 1 / 255.f + 1e-6f);
    const cr_qparams *bins = entry(r, "whole");
    assert_non_null(bins);
    assert_true(bins->scale[0] == 1 / 32.f); /* whole numbers to 3 are exact: 96 / 32 */
}

static void fractions_at_the_joint(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        cr_error err;
        cr_graph *g;
        detector d = make(k < 2, k == 1 ? 2 : 1);
        cr_recipe *r = plan(d.g);
        check_entries(&d, r);
        char name[300];
        snprintf(name, sizeof name, "%s_joint", d.joint->name);
        const cr_qparams *joint = entry(r, name);
        assert_non_null(joint);
        assert_int_equal(joint->type, CR_DT_U16);
        assert_true(joint->scale[0] < 2.f / 65535); /* boxes are fractions there */
        if (cr_recipe_apply(r, d.g, &g, &err) != CR_OK) fail_msg("%s", err.message);
        float *before = run(d.g, NULL), *after = run(g, NULL), *quantized = run(g, r);
        const float limit = 60 * 8; /* of a box */
        for (int i = 0; i < (4 + CLASSES) * CELLS; i++) {
            const bool box = k == 1 ? i % (4 + CLASSES) < 4 : i < 4 * CELLS;
            assert_true(before[i] == after[i]); /* powers of two */
            /* boxes: a distance's step of 3 / 255, halved, times a stride of 8, measured .0014 of
             * the range; scores: .0101 */
            assert_true(fabsf(before[i] - quantized[i]) <= (box ? .003f * limit : .05f));
        }
        free(before);
        free(after);
        free(quantized);
        cr_graph_free(&g);
        cr_recipe_release(&r);
        cr_graph_free(&d.g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fractions_at_the_joint)};
    cr_rng_seed(&rng, 3);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
