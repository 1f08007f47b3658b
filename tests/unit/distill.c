/* Distillation: losses by hand, gradients against finite differences, confidence, refusals, and a
 * student that becomes its teacher, to the same bits with any number of threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train/distill.h"
#include "train/trainer.h"
#include "unit/graphs.h"

enum { SIDE = 5, CELLS = SIDE * SIDE };

/* Conv 3x3 -> SiLU -> two heads of 1x1: "one" [8 bins, 3 classes], "two" [2 values, 1 objectness].
 */
static cr_graph *network(uint64_t seed)
{
    cr_graph *g = graph_new();
    cr_rng r;
    cr_rng_seed(&r, seed);
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 3, SIDE, SIDE));
    cr_tensor *w = const_random(g, &r, "w", shape_of(4, 6, 3, 3, 3), -0.5, 0.5);
    cr_tensor *one = const_random(g, &r, "w1", shape_of(4, 11, 6, 1, 1), -2, 2);
    cr_tensor *two = const_random(g, &r, "w2", shape_of(4, 3, 6, 1, 1), -2, 2);
    cr_node *n = graph_node(g, CR_OP_Conv, 1, 2, x, w);
    attr_ints(g, n, "pads", 4, 1, 1, 1, 1);
    n->out[0]->name = "feature";
    x = apply1(g, CR_OP_Swish, done(n));
    cr_tensor *y = apply2(g, CR_OP_Conv, x, one);
    y->name = "one";
    graph_output(g, apply1(g, CR_OP_Sigmoid, y));
    y = apply2(g, CR_OP_Conv, x, two);
    y->name = "two";
    graph_output(g, apply1(g, CR_OP_Sigmoid, y));
    graph_ready(g);
    return g;
}

static const cr_distill_part parts[] = {
    {"feature", CR_DISTILL_FEATURE, 0, 6, 0, -1, -1, 0.5},
    {"one", CR_DISTILL_BINS, 0, 8, 4, 2, 4, 1.5},
    {"one", CR_DISTILL_LOGIT, 8, 3, 0, -1, 4, 1},
    {"two", CR_DISTILL_VALUE, 0, 2, 0, 2, 4, 2},
    {"two", CR_DISTILL_LOGIT, 2, 1, 0, -1, -1, 1},
};
enum { PARTS = sizeof parts / sizeof *parts };
static const char *const cut_at[] = {"feature", "one", "one", "two", "two"};

typedef struct pair {
    cr_graph *teacher, *student;
    cr_tape *tape;
    cr_distill *d;
    cr_pool *pool;
} pair;

static cr_graph *cut_network(uint64_t seed)
{
    cr_graph *whole = network(seed), *g;
    cr_error err;
    if (cr_distill_cut(whole, cut_at, PARTS, &g, &err) != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(g->output_count, 3);
    assert_int_equal(g->node_count, 4); /* what lies behind is gone */
    cr_graph_free(&whole);
    return g;
}

static void pair_open_with(pair *p, const cr_distill_part *list, uint64_t student, int threads)
{
    cr_error err;
    *p = (pair){.teacher = cut_network(1), .student = cut_network(student)};
    if (threads > 1) assert_int_equal(cr_pool_create(threads, &p->pool, NULL), CR_OK);
    const cr_tape_options o = {.real = CR_DT_F32, .pool = p->pool};
    if (cr_tape_create(p->student, &o, &p->tape, &err) != CR_OK) fail_msg("%s", err.message);
    if (cr_distill_create(p->teacher, p->student, list, PARTS, p->pool, &p->d, &err) != CR_OK)
        fail_msg("%s", err.message);
}

static void pair_open(pair *p, uint64_t student, int threads)
{
    pair_open_with(p, parts, student, threads);
}

static void pair_close(pair *p)
{
    cr_distill_free(&p->d);
    cr_tape_free(&p->tape);
    cr_pool_free(&p->pool);
    cr_graph_free(&p->teacher);
    cr_graph_free(&p->student);
}

static void show(const pair *p, uint64_t seed)
{
    float *x = cr_tape_value(p->tape, p->student->inputs[0]);
    cr_rng r;
    cr_rng_seed(&r, seed);
    for (int i = 0; i < 3 * CELLS; i++) x[i] = (float)cr_rng_range(&r, -1, 1);
    assert_int_equal(cr_distill_teach(p->d, x, NULL), CR_OK);
    assert_int_equal(cr_tape_forward(p->tape, NULL), CR_OK);
}

static void equal_networks(void **state)
{
    (void)state;
    pair p;
    double sums[CR_DISTILL_KINDS] = {0}, each[PARTS];
    pair_open(&p, 1, 1);
    show(&p, 5);
    cr_distill_loss(p.d, p.tape, 1, sums, each);
    for (int k = 0; k < PARTS; k++)
        assert_true(fabs(each[k]) < 1e-10); /* two orders of summation */
    for (size_t i = 0; i < p.student->output_count; i++) {
        const cr_tensor *t = p.student->outputs[i];
        const float *grad = cr_tape_grad(p.tape, t);
        for (int64_t k = 0; k < cr_shape_count(&t->shape); k++) assert_true(fabsf(grad[k]) < 1e-5f);
    }
    pair_close(&p);
}

static double total(const pair *p)
{
    double sums[CR_DISTILL_KINDS] = {0}, sum = 0;
    cr_distill_loss(p->d, p->tape, 0.5, sums, NULL);
    for (int k = 0; k < CR_DISTILL_KINDS; k++) sum += sums[k];
    return sum;
}

/* The gradient of every element of every output, by central differences of the values on the tape. */
static double worst_gradient(const cr_distill_part *list, float h)
{
    pair p;
    double worst = 0, steepest = 0;
    pair_open_with(&p, list, 2, 1);
    show(&p, 6);
    assert_true(total(&p) > 0.1);
    for (size_t i = 0; i < p.student->output_count; i++) {
        const cr_tensor *t = p.student->outputs[i];
        float *value = cr_tape_value(p.tape, t);
        const float *grad = cr_tape_grad(p.tape, t);
        for (int64_t k = 0; k < cr_shape_count(&t->shape); k++) {
            const float was = value[k], said = grad[k];
            value[k] = was + h;
            const double up = total(&p);
            value[k] = was - h;
            const double found = (up - total(&p)) / (double)((was + h) - (was - h));
            value[k] = was;
            total(&p);
            const double error = fabs(found - (double)said);
            if (error > worst) worst = error;
            if (fabs(found) > steepest) steepest = fabs(found);
        }
    }
    print_message("worst difference %.2g\n", worst);
    assert_true(steepest > 0.01);
    pair_close(&p);
    return worst;
}

/* Values are float32: a step of 2^-7 changes losses of some 1 by 1e-2, rounded to 1e-7. */
static void gradients(void **state)
{
    (void)state;
    assert_true(worst_gradient(parts, 0x1p-7f) < 1e-6); /* rounding to float32; measured 6e-8 */
}

/* The sides of boxes: their loss bends within a fiftieth of a box, so steps are smaller. */
static void gradients_of_sides(void **state)
{
    (void)state;
    cr_distill_part list[PARTS];
    memcpy(list, parts, sizeof list);
    list[1].bins = 2; /* four groups */
    list[1].extent = 3;
    assert_true(worst_gradient(list, 0x1p-10f) < 2e-5); /* h^2/6 times the third derivative */
}

/* A box costs what the teacher's confidence in its cell is: the cell with the least against the one
 * with the most. */
static void confidence_weighs(void **state)
{
    (void)state;
    pair p;
    double sums[CR_DISTILL_KINDS] = {0}, cost[CELLS];
    int least = 0, most = 0;
    double sure[CELLS];
    pair_open(&p, 1, 1);
    show(&p, 7);
    float *two = cr_tape_value(p.tape, cr_graph_find(p.student, "two"));
    const float *one = cr_tape_value(p.tape, cr_graph_find(p.student, "one"));
    for (int i = 0; i < CELLS; i++) {
        double each[PARTS], best = -1e9;
        for (int k = 8; k < 11; k++) best = fmax(best, (double)one[k * CELLS + i]);
        sure[i] = 1 / (1 + exp(-best)) / (1 + exp(-(double)two[2 * CELLS + i]));
        if (sure[i] < sure[least]) least = i;
        if (sure[i] > sure[most]) most = i;
        two[i] += 1;
        cr_distill_loss(p.d, p.tape, 1, sums, each);
        two[i] -= 1;
        cost[i] = each[3];
    }
    assert_true(sure[most] > 3 * sure[least]);
    const double expected = sure[most] / sure[least];
    assert_true(fabs(cost[most] / cost[least] / expected - 1) < 1e-4); /* float32 values */
    pair_close(&p);
}

typedef struct course {
    pair *p;
} course;

static cr_status load(void *ctx, cr_tape *tape, int64_t step, int item, cr_error *err)
{
    const course *c = ctx;
    float *x = cr_tape_value(tape, c->p->student->inputs[0]);
    cr_rng r;
    cr_rng_seed_at(&r, 8, (uint64_t)step, (uint64_t)item);
    for (int i = 0; i < 3 * CELLS; i++) x[i] = (float)cr_rng_range(&r, -1, 1);
    return cr_distill_teach(c->p->d, x, err);
}

static cr_status loss(void *ctx, cr_tape *tape, int64_t step, int item, double *sums, cr_error *err)
{
    const course *c = ctx;
    (void)step, (void)item, (void)err;
    cr_distill_loss(c->p->d, tape, 0.5, sums, NULL);
    return CR_OK;
}

static void train(int threads, float *weight, double *first, double *last)
{
    pair p;
    cr_trained *list;
    cr_trainer *t;
    cr_error err;
    size_t n, points;
    pair_open(&p, 2, threads);
    course c = {&p};
    const cr_trainer_calls calls = {.ctx = &c, .load = load, .loss = loss};
    cr_trainer_options o = cr_trainer_options_default();
    o.steps = 400;
    o.items = 2;
    o.part_names = cr_distill_kind_names;
    o.part_count = CR_DISTILL_KINDS;
    o.optimiser.kind = CR_ADAMW;
    o.optimiser.rate = 0.02;
    o.optimiser.weight_decay = 0;
    assert_int_equal(cr_trained_of_tape(p.student, p.tape, false, 0, &list, &n, &err), CR_OK);
    assert_int_equal(cr_trainer_create(p.tape, list, n, &calls, &o, p.pool, &t, &err), CR_OK);
    if (cr_trainer_run(t, &err) != CR_OK) fail_msg("%s", err.message);
    const cr_curve_point *curve = cr_trainer_curve(t, &points);
    *first = *last = 0;
    for (int k = 0; k < CR_DISTILL_KINDS; k++) {
        *first += curve[0].parts[k];
        *last += curve[points - 1].parts[k];
    }
    memcpy(weight, list[0].p.value, 162 * sizeof *weight);
    cr_trainer_free(&t);
    cr_free(list);
    pair_close(&p);
}

static void learning(void **state)
{
    (void)state;
    float one[162], many[162];
    double first, last;
    train(1, one, &first, &last);
    print_message("loss %.3f -> %.4f\n", first, last);
    assert_true(last < first / 20);
    train(3, many, &first, &last);
    assert_memory_equal(one, many, sizeof one);
}

static void refuse(const pair *p, const cr_distill_part *list, size_t n, const char *text)
{
    cr_distill *d;
    cr_error err;
    assert_int_equal(cr_distill_create(p->teacher, p->student, list, n, NULL, &d, &err),
                     CR_ERR_ARGUMENT);
    assert_null(d);
    if (!strstr(err.message, text)) fail_msg("%s", err.message);
}

static void refusals(void **state)
{
    (void)state;
    pair p;
    pair_open(&p, 2, 1);
    cr_distill_part one = {"nothing", CR_DISTILL_FEATURE, 0, 1, 0, -1, -1, 1};
    refuse(&p, &one, 1, "no output");
    one.tensor = "two";
    one.first = 2, one.count = 2;
    refuse(&p, &one, 1, "channels 2 to 4 of 3");
    one.first = -1;
    refuse(&p, &one, 1, "channels");
    one = (cr_distill_part){"one", CR_DISTILL_BINS, 0, 8, 3, -1, -1, 1};
    refuse(&p, &one, 1, "no groups");
    one = (cr_distill_part){"one", CR_DISTILL_VALUE, 0, 8, 0, 7, -1, 1};
    refuse(&p, &one, 1, "no scores");
    one.scores = 0;
    refuse(&p, &one, 1, "no scores");
    const cr_distill_part both[] = {{"one", CR_DISTILL_VALUE, 0, 8, 0, -1, -1, 1},
                                    {"one", CR_DISTILL_FEATURE, 7, 4, 0, -1, -1, 1}};
    refuse(&p, both, 2, "share channels");
    static const char *const name = "x_of_nobody";
    cr_graph *g;
    assert_int_equal(cr_distill_cut(p.student, &name, 1, &g, NULL), CR_ERR_ARGUMENT);
    assert_null(g);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_networks),    cmocka_unit_test(gradients),
        cmocka_unit_test(gradients_of_sides),
        cmocka_unit_test(confidence_weighs), cmocka_unit_test(learning),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
