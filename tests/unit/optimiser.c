/* Optimisers: their formulas on one number, the schedule, clipping, refusals; and a small network
 * that learns, to the same bits with one thread and with three. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/threads.h"
#include "train/optimiser.h"
#include "train/tape.h"
#include "unit/graphs.h"

static cr_optimiser_options plain(cr_optimiser_kind kind)
{
    cr_optimiser_options o = cr_optimiser_options_default();
    o.kind = kind;
    o.rate = 0.125;
    o.clip_norm = o.average = o.weight_decay = 0;
    o.momentum = 0.5;
    return o;
}

static cr_optimiser *start(const cr_parameter *p, size_t n, const cr_optimiser_options *options,
                           cr_pool *pool)
{
    cr_optimiser *o;
    cr_error err;
    if (cr_optimiser_create(p, n, options, pool, &o, &err) != CR_OK) fail_msg("%s", err.message);
    return o;
}

/* Weight 1 under gradient 2, twice: with rate 1/8 and momentum 1/2 every number is exact. */
static void sgd_steps(void **state)
{
    static const float plain_way[] = {0.75f, 0.375f}, nesterov_way[] = {0.625f, 0.1875f};
    (void)state;
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        float w = 1;
        const float g = 2;
        const cr_parameter p = {&w, &g, 1, true};
        cr_optimiser_options how = plain(CR_SGD);
        how.nesterov = nesterov;
        cr_optimiser *o = start(&p, 1, &how, NULL);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(cr_optimiser_step(o, NULL), CR_OK);
            assert_true(w == (nesterov ? nesterov_way : plain_way)[i]);
        }
        assert_int_equal(cr_optimiser_steps(o), 2);
        cr_optimiser_free(&o);
    }
}

static void decay_where_asked(void **state)
{
    (void)state;
    float w[2] = {1, 1};
    const float g[2] = {0, 0};
    const cr_parameter p[2] = {{w, g, 1, true}, {w + 1, g + 1, 1, false}};
    for (int kind = 0; kind < 2; kind++) {
        cr_optimiser_options how = plain(kind ? CR_ADAMW : CR_SGD);
        w[0] = w[1] = 1;
        how.weight_decay = 0.5;
        how.nesterov = false;
        cr_optimiser *o = start(p, 2, &how, NULL);
        assert_int_equal(cr_optimiser_step(o, NULL), CR_OK);
        assert_true(w[0] == 1 - 0.125f * 0.5f && w[1] == 1);
        cr_optimiser_free(&o);
    }
}

/* A diagonal gradient stays diagonal, and the iteration acts on each of its elements alone: its
 * scalar form in double is what the matrix must give, tall or wide, for any number of threads. What
 * is not a matrix moves as AdamW says: by the rate. */
static void muon_steps(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        const bool tall = way & 1, threads = way & 2;
        float w[6] = {0}, g[6] = {0}, bias = 0;
        const float pull = 3;
        const int corner = tall ? 3 : 4; /* [1][1] of [3, 2] or [2, 3] */
        cr_pool *pool = NULL;
        g[0] = 4;
        g[corner] = 0.5f;
        const cr_parameter p[2] = {{w, g, 6, .rows = tall ? 3 : 2}, {&bias, &pull, 1}};
        cr_optimiser_options how = plain(CR_MUON);
        if (threads) assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
        cr_optimiser *o = start(p, 2, &how, pool);
        assert_int_equal(cr_optimiser_step(o, NULL), CR_OK);
        const double scale = tall ? sqrt(1.5) : 1;
        for (int k = 0; k < 2; k++) {
            double s = (k ? 0.5 : 4) / sqrt(16.25);
            for (int i = 0; i < 5; i++)
                s = 3.4445 * s - 4.7750 * s * s * s + 2.0315 * s * s * s * s * s;
            assert_true(s > 0.6 && s < 1.3); /* where the coefficients lead every s from .1 on */
            assert_true(fabs(w[k ? corner : 0] + 0.125 * scale * s) < 1e-5); /* float32 */
        }
        for (int i = 1; i < 6; i++) assert_true(i == corner || w[i] == 0);
        assert_true(fabs(bias + 0.125) < 1e-6);
        cr_optimiser_free(&o);
        cr_pool_free(&pool);
    }
}

/* The first step of Adam is the rate whatever the gradient; later ones follow the formula. */
static void adamw_steps(void **state)
{
    (void)state;
    float w = 1, g = 0;
    const cr_parameter p = {&w, &g, 1, true};
    const cr_optimiser_options how = plain(CR_ADAMW);
    cr_optimiser *o = start(&p, 1, &how, NULL);
    double m = 0, v = 0, expected = 1;
    for (int t = 1; t <= 20; t++) {
        g = (float)sin(t) + 1;
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        expected -= 0.125 * (m / (1 - pow(0.9, t))) / (sqrt(v / (1 - pow(0.999, t))) + 1e-8);
        assert_int_equal(cr_optimiser_step(o, NULL), CR_OK);
        if (t == 1) assert_true(fabs((double)w - 0.875) < 1e-6);
        assert_true(fabs((double)w - expected) < 2e-6); /* twenty roundings of numbers < 2 */
    }
    cr_optimiser_free(&o);
}

static void schedule(void **state)
{
    (void)state;
    cr_optimiser_options o = plain(CR_SGD);
    assert_true(cr_learning_rate(&o, 0) == 0.125 && cr_learning_rate(&o, 1000) == 0.125);
    o.warm_up = 3;
    o.steps = 13;
    o.final_rate = 0.5;
    assert_true(cr_learning_rate(&o, 0) == 0.125 / 4 && cr_learning_rate(&o, 2) == 0.125 * 3 / 4);
    assert_true(cr_learning_rate(&o, 3) == 0.125);
    assert_true(fabs(cr_learning_rate(&o, 8) - 0.125 * 0.75) < 1e-15);
    assert_true(cr_learning_rate(&o, 13) == 0.0625 && cr_learning_rate(&o, 99) == 0.0625);
    for (int i = 3; i < 13; i++) assert_true(cr_learning_rate(&o, i + 1) < cr_learning_rate(&o, i));
}

static void clipping_and_average(void **state)
{
    (void)state;
    float w[2] = {0, 0};
    const float g[2] = {3, 4};
    const cr_parameter p[2] = {{w, g, 1, false}, {w + 1, g + 1, 1, false}};
    cr_optimiser_options how = plain(CR_SGD);
    how.momentum = 0;
    how.clip_norm = 2.5; /* half of the norm, 5, of both together */
    how.average = 0.75;
    how.average_ramp = 0;
    cr_optimiser *o = start(p, 2, &how, NULL);
    assert_int_equal(cr_optimiser_step(o, NULL), CR_OK);
    assert_true(w[0] == -0.1875f && w[1] == -0.25f && cr_optimiser_norm(o) == 5);
    assert_true(*cr_optimiser_average(o, 0) == w[0] / 4 && *cr_optimiser_average(o, 1) == w[1] / 4);
    cr_optimiser_free(&o);
}

static void refusals(void **state)
{
    (void)state;
    float w = 1, g = NAN;
    const cr_parameter p = {&w, &g, 1, true};
    cr_optimiser_options how = plain(CR_SGD);
    cr_error err;
    cr_optimiser *o = start(&p, 1, &how, NULL);
    assert_int_equal(cr_optimiser_step(o, &err), CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "not finite"));
    assert_true(w == 1 && cr_optimiser_steps(o) == 0);
    cr_optimiser_free(&o);
    how.rate = NAN;
    assert_int_equal(cr_optimiser_create(&p, 1, &how, NULL, &o, &err), CR_ERR_ARGUMENT);
    assert_null(o);
    how = plain(CR_ADAMW);
    how.beta2 = 1;
    assert_int_equal(cr_optimiser_create(&p, 1, &how, NULL, &o, &err), CR_ERR_ARGUMENT);
}

/* Conv 3x3, SiLU, Conv 1x1: to give what another network of that form gives. */
typedef struct learner {
    cr_graph *g;
    cr_tensor *weights[2];
} learner;

static learner learner_new(uint64_t seed)
{
    learner l = {.g = graph_new()};
    cr_rng r;
    cr_rng_seed(&r, seed);
    cr_tensor *x = graph_input(l.g, "x", shape_of(4, 1, 3, 8, 8));
    l.weights[0] = const_random(l.g, &r, "w", shape_of(4, 8, 3, 3, 3), -0.3, 0.3);
    l.weights[1] = const_random(l.g, &r, "w", shape_of(4, 2, 8, 1, 1), -0.5, 0.5);
    x = apply1(l.g, CR_OP_Swish, apply2(l.g, CR_OP_Conv, x, l.weights[0]));
    graph_output(l.g, apply2(l.g, CR_OP_Conv, x, l.weights[1]));
    graph_ready(l.g);
    return l;
}

static cr_tape *tape_of(const learner *l, cr_pool *pool)
{
    const cr_tape_options o = {.real = CR_DT_F32, .pool = pool};
    cr_tape *tape;
    cr_error err;
    if (cr_tape_create(l->g, &o, &tape, &err) != CR_OK) fail_msg("%s", err.message);
    return tape;
}

/* One step towards the teacher on a random picture; gives the mean squared difference. */
static double learn(const learner *pupil, cr_tape *tape, const learner *teacher, cr_tape *truth,
                    cr_rng *r)
{
    const int64_t n = cr_shape_count(&pupil->g->outputs[0]->shape);
    float *x = cr_tape_value(tape, pupil->g->inputs[0]);
    float *t = cr_tape_value(truth, teacher->g->inputs[0]);
    double loss = 0;
    for (int i = 0; i < 3 * 8 * 8; i++) x[i] = t[i] = (float)cr_rng_range(r, -1, 1);
    assert_int_equal(cr_tape_forward(tape, NULL), CR_OK);
    assert_int_equal(cr_tape_forward(truth, NULL), CR_OK);
    cr_tape_zero(tape);
    const float *y = cr_tape_value(tape, pupil->g->outputs[0]);
    const float *wish = cr_tape_value(truth, teacher->g->outputs[0]);
    float *seed = cr_tape_grad(tape, pupil->g->outputs[0]);
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)y[i] - (double)wish[i];
        loss += d * d / (double)n;
        seed[i] = (float)(2 * d / (double)n);
    }
    assert_int_equal(cr_tape_backward(tape, NULL), CR_OK);
    return loss;
}

enum { LESSONS = 400 };

static double train(cr_optimiser_kind kind, cr_pool *pool, float *weights)
{
    learner teacher = learner_new(1), pupil = learner_new(2);
    cr_tape *truth = tape_of(&teacher, NULL), *tape = tape_of(&pupil, pool);
    cr_parameter p[2];
    cr_rng r;
    double before = 0, after = 0;
    cr_rng_seed(&r, 3);
    for (int i = 0; i < 2; i++)
        p[i] = (cr_parameter){cr_tape_value(tape, pupil.weights[i]),
                              cr_tape_grad(tape, pupil.weights[i]),
                              cr_shape_count(&pupil.weights[i]->shape), true};
    cr_optimiser_options how = cr_optimiser_options_default();
    how.kind = kind;
    how.rate = kind == CR_SGD ? 0.05 : 0.02;
    how.weight_decay = 0;
    how.warm_up = 10;
    how.steps = LESSONS;
    cr_optimiser *o = start(p, 2, &how, pool);
    for (int i = 0; i < LESSONS; i++) {
        const double loss = learn(&pupil, tape, &teacher, truth, &r);
        if (i < 10) before += loss / 10;
        if (i >= LESSONS - 10) after += loss / 10;
        assert_int_equal(cr_optimiser_step(o, NULL), CR_OK);
    }
    memcpy(weights, p[0].value, 216 * sizeof *weights);
    cr_optimiser_free(&o);
    cr_tape_free(&tape);
    cr_tape_free(&truth);
    cr_graph_free(&teacher.g);
    cr_graph_free(&pupil.g);
    return after / before;
}

static void learning(void **state)
{
    (void)state;
    cr_pool *pool;
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    for (int kind = 0; kind < 2; kind++) {
        float one[216], many[216];
        const double left = train(kind ? CR_ADAMW : CR_SGD, NULL, one);
        print_message("%s: %.4f of the first loss is left\n", kind ? "AdamW" : "SGD", left);
        assert_true(left < 0.1);
        train(kind ? CR_ADAMW : CR_SGD, pool, many);
        assert_memory_equal(one, many, sizeof one);
    }
    cr_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_steps), cmocka_unit_test(decay_where_asked),
        cmocka_unit_test(muon_steps), cmocka_unit_test(adamw_steps), cmocka_unit_test(schedule),
        cmocka_unit_test(clipping_and_average), cmocka_unit_test(refusals),
        cmocka_unit_test(learning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
