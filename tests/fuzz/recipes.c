/* Random recipes: entries per tensor and per channel, of 8 and 16 bits, weights with and without zero
 * points, Muls by powers of two, on random small networks. What a session computes must be what the
 * reference run says, bit for bit, at any CPU level and for any number of threads.
 *
 *     fuzz-recipes [COUNT [SEED]] */
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "unit/random_recipe.h"

/* Seeds of networks that tests/unit/session.c does not use. */
enum { FIRST_SEED = 1000000 };

static void note_range(void *user, const cr_view *v)
{
    tensor_range *r = (tensor_range *)user + v->tensor->id;
    const float *x = v->data;
    for (int64_t i = 0; i < v->rows * v->cols; i++) {
        r->lo = x[i] < r->lo ? x[i] : r->lo;
        r->hi = x[i] > r->hi ? x[i] : r->hi;
    }
}

static void check(cr_status st, const cr_error *err, const char *what, uint64_t seed)
{
    if (st == CR_OK) return;
    printf("seed %llu: %s: %s\n", (unsigned long long)seed, what, err->message);
    exit(1);
}

static float *random_input(const cr_graph *g, cr_rng *rng)
{
    const int64_t n = cr_shape_count(&g->inputs[0]->shape);
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)cr_rng_range(rng, -2, 2);
    return x;
}

/* A level that this CPU has. */
static const char *random_level(cr_rng *rng)
{
    for (;;) {
        const cr_cpu_level level = (cr_cpu_level)cr_rng_below(rng, CR_CPU_LEVELS);
        if (cr_cpu_has(cr_cpu_hardware(), level)) return cr_cpu_level_key(level);
    }
}

/* Elements that differ; -0 and 0 are the same code's value. */
static int64_t count_different(const cr_tensor *want, const cr_tensor *got)
{
    const float *a = want->data, *b = got->data;
    int64_t different = 0;
    for (int64_t i = 0; i < cr_shape_count(&want->shape); i++) different += !(a[i] == b[i]);
    return different;
}

static int64_t run_session(const cr_graph *g, const cr_recipe *r, const float *x,
                           const cr_tensor *want, int threads, uint64_t seed)
{
    cr_error err = {0};
    cr_program *p;
    cr_session *s;
    int64_t different = 0;
    check(cr_program_create(g, r, threads, &p, &err), &err, "compile", seed);
    check(cr_session_open(p, NULL, &s, &err), &err, "open", seed);
    memcpy(cr_session_input_data(s, 0), x, cr_tensor_bytes(g->inputs[0]));
    check(cr_session_execute(s, &err), &err, "run", seed);
    for (size_t i = 0; i < g->output_count; i++)
        if (want[i].dtype == CR_DT_F32)
            different += count_different(&want[i], cr_session_output_tensor(s, i));
    cr_session_close(&s);
    cr_program_free(&p);
    return different;
}

static bool run_case(uint64_t seed)
{
    cr_rng rng;
    cr_error err = {0};
    cr_tensor want[GRAPH_IO] = {{0}};
    cr_rng_seed(&rng, seed);
    cr_graph *g = random_net(FIRST_SEED + seed, true, false);
    tensor_range *ranges = calloc(g->tensor_count, sizeof *ranges);
    float *x = random_input(g, &rng);
    const float *const inputs[1] = {x};
    const cr_observer observer = {note_range, ranges};
    check(cr_reference_run(g, NULL, inputs, want, &observer, &err), &err, "reference", seed);
    for (size_t i = 0; i < g->output_count; i++) cr_tensor_drop_data(&want[i]);
    ranges[g->inputs[0]->id] = (tensor_range){-2, 2};
    cr_recipe *r = random_recipe(g, seed, ranges);
    check(cr_reference_run(g, r, inputs, want, NULL, &err), &err, "reference", seed);
    const char *level = random_level(&rng);
    const int threads = 1 + (int)cr_rng_below(&rng, 3);
    check(cr_cpu_limit(level, &err), &err, "level", seed);
    const int64_t different = run_session(g, r, x, want, threads, seed);
    if (different)
        printf("seed %llu: level %s, %d threads: %lld values are not the reference's\n",
               (unsigned long long)seed, level, threads, (long long)different);
    for (size_t i = 0; i < g->output_count; i++) cr_tensor_drop_data(&want[i]);
    cr_recipe_release(&r);
    cr_graph_free(&g);
    free(ranges);
    free(x);
    return different == 0;
}

int main(int argc, char **argv)
{
    const uint64_t count = argc > 1 ? (uint64_t)atoll(argv[1]) : 1000;
    const uint64_t first = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
    uint64_t failed = 0;
    for (uint64_t seed = first; seed < first + count; seed++) failed += !run_case(seed);
    printf("%llu recipes, %llu of them not the reference's\n", (unsigned long long)count,
           (unsigned long long)failed);
    return failed != 0;
}
