/* Training steps of a model for bench/peers/train_step.py: forward, backward from the same gradient
 * at the outputs each time, SGD with momentum.
 *
 *     peers-train_step MODEL [--threads N] [--recompute]
 *
 * MODEL: train_model.h. Each line read from standard input is a number of steps; the answer is a
 * line with the milliseconds of each. At the end of the input: one line with the process's peak
 * memory and the tape's (MB). */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "peers/train_model.h"
#include "train/optimiser.h"
#include "train/tape.h"

typedef struct job {
    cr_graph *g;
    cr_tape *tape;
    cr_optimiser *optimiser;
    float *seeds; /* of all outputs, behind each other */
} job;

static size_t count_of(const cr_tensor *t)
{
    return (size_t)cr_shape_count(&t->shape);
}

static void fill(float *to, size_t n, cr_rng *r, double lo, double hi)
{
    for (size_t i = 0; i < n; i++) to[i] = (float)cr_rng_range(r, lo, hi);
}

static void make_seeds(job *j)
{
    size_t total = 0;
    cr_rng r;
    cr_rng_seed(&r, 1);
    fill(cr_tape_value(j->tape, j->g->inputs[0]), count_of(j->g->inputs[0]), &r, 0, 1);
    for (size_t o = 0; o < j->g->output_count; o++) total += count_of(j->g->outputs[o]);
    j->seeds = cr_calloc(total + 1, sizeof *j->seeds);
    if (!j->seeds) exit(1);
    for (size_t o = 0, at = 0; o < j->g->output_count; at += count_of(j->g->outputs[o++]))
        fill(j->seeds + at, count_of(j->g->outputs[o]), &r, -1e-4, 1e-4);
}

static void make_optimiser(job *j, cr_pool *pool)
{
    cr_error err;
    size_t n = 0;
    cr_parameter *list = cr_calloc(j->g->tensor_count + 1, sizeof *list);
    cr_optimiser_options o = cr_optimiser_options_default();
    if (!list) exit(1);
    for (size_t i = 0; i < j->g->tensor_count; i++) {
        const cr_tensor *t = j->g->tensors[i];
        if (!cr_tensor_is_const(t) || !cr_tape_grad(j->tape, t)) continue;
        list[n++] = (cr_parameter){.value = cr_tape_value(j->tape, t),
                                   .grad = cr_tape_grad(j->tape, t),
                                   .count = (int64_t)count_of(t)};
    }
    o.rate = 1e-5;
    o.clip_norm = o.average = 0;
    must(cr_optimiser_create(list, n, &o, pool, &j->optimiser, &err), &err);
    cr_free(list);
}

static void step(const job *j)
{
    cr_error err;
    must(cr_tape_forward(j->tape, &err), &err);
    cr_tape_zero(j->tape);
    for (size_t o = 0, at = 0; o < j->g->output_count; at += count_of(j->g->outputs[o++])) {
        void *to = cr_tape_grad(j->tape, j->g->outputs[o]);
        if (to) memcpy(to, j->seeds + at, count_of(j->g->outputs[o]) * sizeof(float));
    }
    must(cr_tape_backward(j->tape, &err), &err);
    must(cr_optimiser_step(j->optimiser, &err), &err);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

int main(int argc, char **argv)
{
    job j = {0};
    int threads = 1;
    cr_tape_options options = {.real = CR_DT_F32};
    cr_error err;
    char line[64];
    if (argc < 2) {
        fprintf(stderr, "usage: peers-train_step MODEL [--threads N] [--recompute]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "--recompute")) options.recompute = true;
        if (!strcmp(argv[i], "--threads") && i + 1 < argc) threads = atoi(argv[++i]);
    }
    must(cr_pool_create(threads, &options.pool, &err), &err);
    j.g = train_model(argv[1], &options.batch_stats);
    must(cr_tape_create(j.g, &options, &j.tape, &err), &err);
    make_seeds(&j);
    make_optimiser(&j, options.pool);
    while (fgets(line, sizeof line, stdin)) {
        for (int i = 0; i < atoi(line); i++) {
            const double start = now_ms();
            step(&j);
            printf("%.2f ", now_ms() - start);
        }
        printf("\n");
        fflush(stdout);
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    const cr_tape_memory m = cr_tape_memory_of(j.tape);
    printf("%.1f %.1f\n", (double)use.ru_maxrss / 1024,
           (double)(m.values + m.kept + m.shared + m.scratch) / 1e6);
    cr_free(j.seeds);
    cr_optimiser_free(&j.optimiser);
    cr_tape_free(&j.tape);
    cr_pool_free(&options.pool);
    cr_graph_free(&j.g);
    return 0;
}
