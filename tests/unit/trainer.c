/* The training loop: the same bits for any number of threads and after a kill at any step, bad
 * steps left out, checkpoints that are damaged or of another task refused. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "train/train_state.h"
#include "train/trainer.h"
#include "unit/graphs.h"

enum { SIDE = 6, PICTURE = 2 * SIDE * SIDE, STEPS = 12, MOST = 512 };

/* Conv 3x3, BatchNormalization, SiLU, Conv 1x1: to give the sum of its inputs' squares. */
typedef struct lesson {
    cr_graph *g;
    cr_tape *tape;
    cr_pool *pool;
    cr_trained *list;
    size_t n;
    int64_t nan_from, nan_to; /* steps whose loss is NaN */
    int64_t die;              /* before this step the process is killed; -1: never */
    int64_t judged, stop_at, warnings, stepped;
    float best;
    char line[256];
} lesson;

static void lesson_open(lesson *l, int threads)
{
    cr_rng r;
    cr_rng_seed(&r, 4);
    *l = (lesson){.g = graph_new(), .die = -1, .nan_from = -1, .nan_to = -1};
    cr_tensor *x = graph_input(l->g, "x", shape_of(4, 2, 2, SIDE, SIDE));
    cr_tensor *w1 = const_random(l->g, &r, "w", shape_of(4, 4, 2, 3, 3), -0.4, 0.4);
    cr_tensor *w2 = const_random(l->g, &r, "w", shape_of(4, 1, 4, 1, 1), -0.5, 0.5);
    cr_tensor *gain = const_random(l->g, &r, "gain", shape_of(1, 4), 0.5, 1.5);
    cr_tensor *shift = const_random(l->g, &r, "shift", shape_of(1, 4), -0.5, 0.5);
    cr_tensor *mean = const_random(l->g, &r, "mean", shape_of(1, 4), -0.1, 0.1);
    cr_tensor *var = const_random(l->g, &r, "var", shape_of(1, 4), 0.5, 1.5);
    x = apply2(l->g, CR_OP_Conv, x, w1);
    x = done(graph_node(l->g, CR_OP_BatchNormalization, 1, 5, x, gain, shift, mean, var));
    x = apply1(l->g, CR_OP_Swish, x);
    graph_output(l->g, apply2(l->g, CR_OP_Conv, x, w2));
    graph_ready(l->g);
    if (threads > 1) assert_int_equal(cr_pool_create(threads, &l->pool, NULL), CR_OK);
    const cr_tape_options o = {.real = CR_DT_F32, .pool = l->pool, .batch_stats = true};
    cr_error err;
    if (cr_tape_create(l->g, &o, &l->tape, &err) != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(cr_trained_of_tape(l->g, l->tape, true, 0, &l->list, &l->n, &err), CR_OK);
    assert_int_equal(l->n, 6);
}

static void lesson_close(lesson *l)
{
    cr_free(l->list);
    cr_tape_free(&l->tape);
    cr_pool_free(&l->pool);
    cr_graph_free(&l->g);
}

static cr_status load(void *ctx, cr_tape *tape, int64_t step, int item, cr_error *err)
{
    const lesson *l = ctx;
    float *x = cr_tape_value(tape, l->g->inputs[0]);
    cr_rng r;
    (void)err;
    if (step == l->die) kill(getpid(), SIGKILL);
    cr_rng_seed_at(&r, 7, (uint64_t)step, (uint64_t)item);
    for (int i = 0; i < 2 * PICTURE; i++) x[i] = (float)cr_rng_range(&r, -1, 1);
    return CR_OK;
}

static cr_status loss(void *ctx, cr_tape *tape, int64_t step, int item, double *parts,
                      cr_error *err)
{
    lesson *l = ctx;
    const cr_tensor *out = l->g->outputs[0];
    const int64_t n = cr_shape_count(&out->shape), half = n / 2;
    const float *x = cr_tape_value(tape, l->g->inputs[0]), *y = cr_tape_value(tape, out);
    float *seed = cr_tape_grad(tape, out);
    (void)err;
    for (int64_t i = 0; i < n; i++) {
        const double wish = (double)x[i] * (double)x[i], d = (double)y[i] - wish;
        parts[i >= half] += d * d / (double)n;
        seed[i] = (float)(2 * d / (double)n);
    }
    if (step >= l->nan_from && step < l->nan_to && item == 1) parts[1] = NAN;
    return CR_OK;
}

static void stepped(void *ctx, int64_t step)
{
    (void)step;
    ((lesson *)ctx)->stepped++;
}

static cr_status judge(void *ctx, cr_trainer *t, int64_t done, bool *stop, cr_error *err)
{
    lesson *l = ctx;
    (void)err;
    l->judged++;
    *stop = done == l->stop_at;
    cr_trainer_swap_average(t);
    l->best = *l->list[0].p.value;
    cr_trainer_swap_average(t);
    return CR_OK;
}

static void warn(void *ctx, const char *line)
{
    lesson *l = ctx;
    l->warnings++;
    snprintf(l->line, sizeof l->line, "%s", line);
}

static const char *const names[] = {"upper", "lower"};

static cr_trainer_options options(void)
{
    cr_trainer_options o = cr_trainer_options_default();
    o.steps = STEPS;
    o.items = 2;
    o.part_names = names;
    o.part_count = 2;
    o.judge_every = 4;
    o.optimiser.kind = CR_ADAMW;
    o.optimiser.rate = 0.01;
    o.optimiser.average = 0.9;
    return o;
}

static cr_status train(lesson *l, const cr_trainer_options *o, cr_trainer **t, cr_error *err)
{
    const cr_trainer_calls calls = {l, load, loss, stepped, judge, warn};
    CR_TRY(cr_trainer_create(l->tape, l->list, l->n, &calls, o, l->pool, t, err));
    return cr_trainer_run(*t, err);
}

static size_t values_of(const lesson *l, float *out)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const cr_parameter *p = &l->list[i].p;
        assert_true(n + (size_t)p->count <= MOST);
        memcpy(out + n, p->value, (size_t)p->count * sizeof *out);
        n += (size_t)p->count;
    }
    return n;
}

/* Trains undisturbed; the values it ends with. */
static size_t reference(const cr_trainer_options *o, int threads, float *out)
{
    lesson l;
    cr_trainer *t;
    cr_error err;
    size_t points;
    lesson_open(&l, threads);
    if (train(&l, o, &t, &err) != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(cr_trainer_done(t), STEPS);
    assert_int_equal(l.judged, 3);
    assert_int_equal(l.stepped, STEPS);
    const cr_curve_point *curve = cr_trainer_curve(t, &points);
    assert_int_equal(points, STEPS);
    assert_true(curve[STEPS - 1].parts[0] < curve[0].parts[0]);
    const size_t n = values_of(&l, out);
    cr_trainer_free(&t);
    lesson_close(&l);
    return n;
}

static void threads(void **state)
{
    (void)state;
    const cr_trainer_options o = options();
    float one[MOST], many[MOST];
    const size_t n = reference(&o, 1, one);
    assert_int_equal(reference(&o, 3, many), n);
    assert_memory_equal(one, many, n * sizeof *one);
}

static char *scratch_file(char *path, size_t n)
{
    snprintf(path, n, "/tmp/crayon-trainer-%d", (int)getpid());
    unlink(path);
    return path;
}

/* A child trains until it is killed before step `die` (or to its end). */
static void child(const cr_trainer_options *o, int64_t die)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        lesson l;
        cr_trainer *t;
        lesson_open(&l, 1);
        l.die = die;
        _exit(train(&l, o, &t, NULL) == CR_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void killed_at_every_step(void **state)
{
    (void)state;
    char path[64];
    float whole[MOST], pieces[MOST];
    cr_trainer_options o = options();
    const size_t n = reference(&o, 1, whole);
    o.checkpoint = scratch_file(path, sizeof path);
    o.checkpoint_every = 3;
    o.resume = true;
    for (int64_t die = 0; die < STEPS; die++) child(&o, die);
    lesson l;
    cr_trainer *t;
    size_t points;
    lesson_open(&l, 2);
    assert_int_equal(train(&l, &o, &t, NULL), CR_OK);
    assert_int_equal(l.stepped, 3); /* the rest was done before */
    assert_int_equal(values_of(&l, pieces), n);
    assert_memory_equal(whole, pieces, n * sizeof *whole);
    assert_true(cr_trainer_curve(t, &points) && points == STEPS);
    cr_trainer_free(&t);
    /* resumed once more, it has nothing to do and the same values */
    assert_int_equal(train(&l, &o, &t, NULL), CR_OK);
    assert_int_equal(l.stepped, 3);
    values_of(&l, pieces);
    assert_memory_equal(whole, pieces, n * sizeof *whole);
    cr_trainer_free(&t);
    lesson_close(&l);
    unlink(path);
}

static bool until(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    assert_true(done <= total);
    return done < *(const uint64_t *)user;
}

static void cancelled(void **state)
{
    (void)state;
    char path[64];
    float whole[MOST], pieces[MOST];
    uint64_t limit = 5;
    cr_trainer_options o = options();
    const size_t n = reference(&o, 1, whole);
    o.checkpoint = scratch_file(path, sizeof path);
    o.resume = true;
    o.progress = (cr_progress){until, &limit};
    lesson l;
    cr_trainer *t;
    cr_error err;
    lesson_open(&l, 1);
    assert_int_equal(train(&l, &o, &t, &err), CR_ERR_CANCELLED);
    cr_trainer_free(&t);
    limit = STEPS + 1;
    assert_int_equal(train(&l, &o, &t, &err), CR_OK);
    values_of(&l, pieces);
    assert_memory_equal(whole, pieces, n * sizeof *whole);
    cr_trainer_free(&t);
    lesson_close(&l);
    unlink(path);
}

/* A step with a NaN leaves everything as it was, tracked statistics included. */
static void bad_steps(void **state)
{
    (void)state;
    cr_trainer_options o = options();
    lesson l;
    cr_trainer *t;
    cr_error err;
    float before[MOST], after[MOST];
    lesson_open(&l, 1);
    const size_t n = values_of(&l, before);
    l.nan_from = 0;
    l.nan_to = 3;
    o.steps = 3;
    assert_int_equal(train(&l, &o, &t, &err), CR_OK);
    values_of(&l, after);
    assert_memory_equal(before, after, n * sizeof *before);
    assert_int_equal(cr_trainer_left_out(t), 3);
    assert_int_equal(l.warnings, 3);
    assert_string_equal(l.line, "step 2, item 1: the loss 'lower' is nan");
    cr_trainer_free(&t);
    o.steps = 9; /* three bad ones, then good ones: it goes on */
    assert_int_equal(train(&l, &o, &t, &err), CR_OK);
    values_of(&l, after);
    assert_memory_not_equal(before, after, n * sizeof *before);
    cr_trainer_free(&t);
    l.nan_to = 9;
    assert_int_equal(train(&l, &o, &t, &err), CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "5 steps in a row were left out"));
    cr_trainer_free(&t);
    /* a weight that overflowed: the forward pass itself is not finite */
    l.nan_from = l.nan_to = -1;
    l.list[0].p.value[0] = INFINITY;
    assert_int_equal(train(&l, &o, &t, &err), CR_ERR_ARGUMENT);
    cr_trainer_free(&t);
    lesson_close(&l);
}

static void early_stop_and_time(void **state)
{
    (void)state;
    cr_trainer_options o = options();
    lesson l;
    cr_trainer *t;
    lesson_open(&l, 1);
    l.stop_at = 8;
    assert_int_equal(train(&l, &o, &t, NULL), CR_OK);
    assert_int_equal(cr_trainer_done(t), 8);
    cr_trainer_free(&t);
    l.stop_at = -1;
    o.steps = 0;
    o.seconds = 0.3; /* some hundred steps; on a machine under load, one at least */
    assert_int_equal(train(&l, &o, &t, NULL), CR_OK);
    assert_true(cr_trainer_done(t) >= 1);
    assert_true(cr_trainer_done(t) < 2 || cr_trainer_steps(t) >= cr_trainer_done(t));
    cr_trainer_free(&t);
    lesson_close(&l);
}

static void curve_file(void **state)
{
    (void)state;
    char path[64];
    unsigned char *text;
    size_t size, lines = 0;
    cr_trainer_options o = options();
    lesson l;
    cr_trainer *t;
    o.curve = scratch_file(path, sizeof path);
    lesson_open(&l, 1);
    assert_int_equal(train(&l, &o, &t, NULL), CR_OK);
    assert_int_equal(cr_file_read(path, 1 << 16, &text, &size, NULL), CR_OK);
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    assert_int_equal(lines, STEPS + 1);
    assert_memory_equal(text, "step\tseconds\trate\tnorm\tupper\tlower\n0\t", 37);
    cr_free(text);
    cr_trainer_free(&t);
    lesson_close(&l);
    unlink(path);
}

static void refuse(lesson *l, const cr_trainer_options *o, const char *text)
{
    cr_trainer *t;
    cr_error err;
    float before[MOST], after[MOST];
    const size_t n = values_of(l, before);
    const cr_trainer_calls calls = {.ctx = l, .load = load, .loss = loss};
    assert_int_not_equal(cr_trainer_create(l->tape, l->list, l->n, &calls, o, NULL, &t, &err),
                         CR_OK);
    assert_null(t);
    if (!strstr(err.message, text)) fail_msg("%s", err.message);
    values_of(l, after);
    assert_memory_equal(before, after, n * sizeof *before);
}

static void refusals(void **state)
{
    (void)state;
    char path[64];
    unsigned char *bytes;
    size_t size;
    cr_trainer_options o = options();
    lesson l;
    cr_trainer *t;
    o.checkpoint = scratch_file(path, sizeof path);
    lesson_open(&l, 1);
    assert_int_equal(train(&l, &o, &t, NULL), CR_OK);
    cr_trainer_free(&t);
    o.resume = true;
    o.task = 1;
    refuse(&l, &o, "another training");
    o.task = 0;
    o.seed = 1;
    refuse(&l, &o, "another training");
    o.seed = 0;
    assert_int_equal(cr_file_read(path, 1 << 20, &bytes, &size, NULL), CR_OK);
    for (size_t at = 0; at < size; at += 1 + size / 97) {
        bytes[at] ^= 4;
        assert_int_equal(cr_file_write(path, bytes, size, NULL), CR_OK);
        refuse(&l, &o, path);
        bytes[at] ^= 4;
        assert_int_equal(cr_file_write(path, bytes, at, NULL), CR_OK);
        refuse(&l, &o, path);
    }
    cr_free(bytes);
    unlink(path);
    o.checkpoint = NULL;
    refuse(&l, &o, "must be named");
    o.resume = false;
    o.steps = 0;
    refuse(&l, &o, "steps or a time");
    o.steps = 1;
    o.items = 0;
    refuse(&l, &o, "at least 1");
    o.items = 1;
    o.part_count = 9;
    refuse(&l, &o, "1 to 8 parts");
    lesson_close(&l);
}

static void write_back(void **state)
{
    (void)state;
    lesson l;
    lesson_open(&l, 1);
    l.list[0].p.value[0] = 0.625f;
    cr_trained_write_back(l.g, l.tape);
    const cr_tensor *w = cr_graph_find(l.g, l.list[0].name);
    assert_true(*(const float *)w->data == 0.625f);
    lesson_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),    cmocka_unit_test(killed_at_every_step),
        cmocka_unit_test(cancelled),  cmocka_unit_test(bad_steps),
        cmocka_unit_test(refusals),   cmocka_unit_test(early_stop_and_time),
        cmocka_unit_test(curve_file), cmocka_unit_test(write_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
