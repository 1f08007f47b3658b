/* Runners of one compiled model: several threads with several runners each give the bits that one
 * runner gives alone; and a cancelled run leaves its runner as good as new. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crayon/quantize.h"
#include "crayon/runtime.h"
#include "runtime/program.h"
#include "unit/random_recipe.h"

enum { THREADS = 4, EACH = 2, ROUNDS = 12, INPUTS = 3 };

static const char *sample = "sample/shapes.onnx";

static cr_model *open_sample(void)
{
    cr_error err;
    cr_model *m = NULL;
    if (cr_model_open(sample, NULL, &m, &err) != CR_OK) {
        print_message("SKIP: %s\n", err.message);
        skip();
    }
    return m;
}

static void fill(cr_runner *r, unsigned seed)
{
    size_t bytes;
    float *x = cr_runner_input(r, 0, &bytes);
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    for (size_t i = 0; i < bytes / sizeof *x; i++) x[i] = (float)cr_rng_range(&rng, 0, 1);
}

static size_t output_size(const cr_output *o)
{
    size_t n = 1;
    for (int d = 0; d < o->rank; d++) n *= (size_t)o->dim[d];
    return n * sizeof *o->data;
}

typedef struct truth {
    unsigned char *bytes[INPUTS];
    size_t size;
} truth;

static truth truth_of(cr_runner *r)
{
    cr_error err;
    cr_output o;
    truth t = {.size = 0};
    for (unsigned i = 0; i < INPUTS; i++) {
        fill(r, i);
        assert_int_equal(cr_runner_run(r, &err), CR_OK);
        assert_int_equal(cr_runner_output(r, 0, &o, &err), CR_OK);
        t.size = output_size(&o);
        t.bytes[i] = malloc(t.size);
        memcpy(t.bytes[i], o.data, t.size);
    }
    return t;
}

static void drop_truth(truth *t)
{
    for (int i = 0; i < INPUTS; i++) free(t->bytes[i]);
}

static bool same(cr_runner *r, unsigned seed, const truth *t)
{
    cr_error err;
    cr_output o;
    fill(r, seed);
    if (cr_runner_run(r, &err) != CR_OK || cr_runner_output(r, 0, &o, &err) != CR_OK) return false;
    return output_size(&o) == t->size && !memcmp(o.data, t->bytes[seed], t->size);
}

typedef struct worker {
    const cr_runner *first;
    const truth *t;
    unsigned index;
    atomic_int wrong;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    cr_error err;
    cr_runner *own[EACH];
    for (int k = 0; k < EACH; k++) {
        if (cr_runner_share(w->first, k + 1, &own[k], &err) != CR_OK) {
            w->wrong++;
            return NULL;
        }
    }
    for (unsigned round = 0; round < ROUNDS; round++)
        if (!same(own[round % EACH], (w->index + round) % INPUTS, w->t)) w->wrong++;
    for (int k = 0; k < EACH; k++) cr_runner_free(&own[k]);
    return NULL;
}

static void in_parallel(void **state)
{
    (void)state;
    cr_error err;
    cr_model *m = open_sample();
    cr_runner *first;
    pthread_t threads[THREADS];
    worker workers[THREADS];
    assert_int_equal(cr_runner_create(m, EACH, &first, &err), CR_OK);
    truth t = truth_of(first);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.first = first, .t = &t, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    print_message("%d threads x %d runners, %d runs: the same bits; %zu KiB per further runner\n",
                  THREADS, EACH, THREADS * ROUNDS, cr_runner_memory(first) >> 10);
    drop_truth(&t);
    cr_runner_free(&first);
    cr_model_free(&m);
}

/* The program lives until the last runner is gone, whichever that is. */
static void any_order(void **state)
{
    (void)state;
    cr_error err;
    cr_model *m = open_sample();
    cr_runner *first, *second, *third;
    assert_int_equal(cr_runner_create(m, 1, &first, &err), CR_OK);
    truth t = truth_of(first);
    assert_int_equal(cr_runner_share(first, 0, &second, &err), CR_OK);
    cr_runner_free(&first);
    assert_int_equal(cr_runner_share(second, 1, &third, &err), CR_OK);
    assert_int_equal(cr_runner_share(second, 2, &first, &err), CR_ERR_ARGUMENT);
    assert_null(first);
    cr_runner_free(&second);
    assert_true(same(third, 1, &t));
    cr_runner_free(&third);
    drop_truth(&t);
    cr_model_free(&m);
}

/* ---- cancelling ---- */

static cr_runner *volatile target;
static void on_signal(int number)
{
    (void)number;
    cr_runner_cancel(target);
}

static void before_a_run(void **state)
{
    (void)state;
    cr_error err;
    cr_model *m = open_sample();
    cr_runner *r;
    assert_int_equal(cr_runner_create(m, 2, &r, &err), CR_OK);
    truth t = truth_of(r);
    cr_runner_cancel(r);
    assert_int_equal(cr_runner_run(r, &err), CR_ERR_CANCELLED);
    assert_int_equal(err.status, CR_ERR_CANCELLED);
    assert_true(same(r, 2, &t));
    target = r;
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    assert_int_equal(cr_runner_run(r, &err), CR_ERR_CANCELLED);
    assert_true(same(r, 0, &t));
    signal(SIGUSR1, SIG_DFL);
    drop_truth(&t);
    cr_runner_free(&r);
    cr_model_free(&m);
}

typedef struct stopper {
    cr_session *s;
    int left; /* tensors to see before the stop */
} stopper;

static void stop_at(void *user, const cr_view *v)
{
    (void)v;
    stopper *x = user;
    if (x->left-- == 0) cr_session_cancel(x->s);
}

/* At every step of random networks: nothing behind it runs, and the next run is right. */
static void at_every_step(void **state)
{
    (void)state;
    cr_error err;
    int stops = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        cr_graph *g = random_net(seed, false, false);
        cr_program *p;
        cr_session *s;
        assert_int_equal(cr_program_create(g, NULL, 1, &p, &err), CR_OK);
        assert_int_equal(cr_session_open(p, NULL, &s, &err), CR_OK);
        float *x = cr_session_input_data(s, 0);
        for (int64_t i = 0; i < cr_shape_count(&g->inputs[0]->shape); i++)
            x[i] = (float)(i % 7) - 3;
        assert_int_equal(cr_session_execute(s, &err), CR_OK);
        const cr_tensor *y = cr_session_output_tensor(s, 0);
        const size_t size = cr_tensor_bytes(y);
        unsigned char *want = malloc(size + 1);
        memcpy(want, y->data, size);
        for (int step = 0;; step++) {
            stopper stop = {s, step};
            const cr_observer o = {stop_at, &stop};
            cr_session_set_observer(s, &o);
            const cr_status st = cr_session_execute(s, &err);
            cr_session_set_observer(s, NULL);
            if (st == CR_OK && stop.left >= 0) break; /* fewer tensors than that */
            if (st == CR_OK) /* asked for during the last step: the next run takes it */
                assert_int_equal(cr_session_execute(s, &err), CR_ERR_CANCELLED);
            else
                assert_int_equal(st, CR_ERR_CANCELLED);
            stops++;
            assert_int_equal(cr_session_execute(s, &err), CR_OK);
            assert_memory_equal(cr_session_output_tensor(s, 0)->data, want, size);
        }
        free(want);
        cr_session_close(&s);
        cr_program_free(&p);
        cr_graph_free(&g);
    }
    print_message("stopped at %d steps\n", stops);
    assert_true(stops > 40);
}

/* A runner that took the model's weights computes what another one does; then they are gone. */
static void given_weights(void **state)
{
    cr_error err;
    cr_model *keeps = open_sample(), *gives = open_sample();
    cr_runner *a, *b, *c = NULL;
    assert_int_equal(cr_runner_create(keeps, 1, &a, &err), CR_OK);
    cr_model_give_weights(gives);
    assert_int_equal(cr_runner_create(gives, 1, &b, &err), CR_OK);
    truth want = truth_of(a), got = truth_of(b);
    assert_int_equal(want.size, got.size);
    for (int i = 0; i < INPUTS; i++) assert_memory_equal(want.bytes[i], got.bytes[i], want.size);
    drop_truth(&got);
    assert_int_equal(cr_runner_create(gives, 1, &c, &err), CR_ERR_ARGUMENT);
    assert_null(c);
    const cr_export_options o = cr_export_options_default();
    assert_int_equal(cr_model_export(gives, "given-weights.onnx", &o, &err), CR_ERR_ARGUMENT);
    assert_null(fopen("given-weights.onnx", "rb"));
    assert_int_equal(cr_runner_share(b, 1, &c, &err), CR_OK);
    got = truth_of(c);
    for (int i = 0; i < INPUTS; i++) assert_memory_equal(want.bytes[i], got.bytes[i], want.size);
    drop_truth(&got);
    drop_truth(&want);
    cr_runner_free(&a);
    cr_runner_free(&b);
    cr_runner_free(&c);
    cr_model_free(&keeps);
    cr_model_free(&gives);
}

int main(int argc, char **argv)
{
    if (argc > 1) sample = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_parallel),
        cmocka_unit_test(any_order),
        cmocka_unit_test(given_weights),
        cmocka_unit_test(before_a_run),
        cmocka_unit_test(at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
