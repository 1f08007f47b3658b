/* One forward and one backward pass of a model, for comparison with another autograd.
 *
 *     peers-autograd_dump MODEL OUTDIR [--threads N] [--runs N] [--f64] [--recompute]
 *
 * MODEL: train_model.h. BatchNormalization stays. OUTDIR gets graph.onnx (what was
 * differentiated); in0.bin (the input, uniform in 0..1), seedN.bin (the loss's gradient at output N,
 * uniform in -1..1 over the number of its elements); outN.bin; grad-K.bin for every parameter, listed
 * in grads.txt as "K name". All float32, row-major. Prints the median time of a pass over --runs of
 * them (milliseconds) and the memory of the tape. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "onnx/onnx.h"
#include "peers/train_model.h"
#include "train/tape.h"

typedef struct job {
    const char *dir;
    cr_graph *g;
    cr_tape *tape;
    cr_dtype real;
} job;

static double load(const job *j, const void *data, int64_t i)
{
    return j->real == CR_DT_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void save(const job *j, const char *kind, size_t number, const void *data, int64_t n)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%zu.bin", j->dir, kind, number);
    FILE *f = fopen(path, "wb");
    if (!f) {
        fprintf(stderr, "%s: cannot write\n", path);
        exit(1);
    }
    for (int64_t i = 0; i < n; i++) {
        const float v = (float)load(j, data, i);
        fwrite(&v, sizeof v, 1, f);
    }
    fclose(f);
}

static void fill(const job *j, void *data, int64_t n, cr_rng *r, double lo, double hi)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = (float)cr_rng_range(r, lo, hi);
        if (j->real == CR_DT_F64)
            ((double *)data)[i] = (double)v;
        else
            ((float *)data)[i] = v;
    }
}

static int64_t count_of(const cr_tensor *t)
{
    return cr_shape_count(&t->shape);
}

/* Forward and backward from the same seeds; gradients are those of this pass alone. */
static void pass(const job *j)
{
    cr_error err;
    cr_rng r;
    cr_rng_seed(&r, 2);
    must(cr_tape_forward(j->tape, &err), &err);
    cr_tape_zero(j->tape);
    for (size_t o = 0; o < j->g->output_count; o++) {
        void *seed = cr_tape_grad(j->tape, j->g->outputs[o]);
        const int64_t n = count_of(j->g->outputs[o]);
        if (seed) fill(j, seed, n, &r, -1.0 / (double)n, 1.0 / (double)n);
    }
    must(cr_tape_backward(j->tape, &err), &err);
}

/* Outputs that are read on have added to their seeds, so those are drawn once more. */
static void save_seeds(const job *j)
{
    cr_rng r;
    cr_rng_seed(&r, 2);
    for (size_t o = 0; o < j->g->output_count; o++) {
        void *seed = cr_tape_grad(j->tape, j->g->outputs[o]);
        const int64_t n = count_of(j->g->outputs[o]);
        if (seed) fill(j, seed, n, &r, -1.0 / (double)n, 1.0 / (double)n);
        if (seed) save(j, "seed", o, seed, n);
        save(j, "out", o, cr_tape_value(j->tape, j->g->outputs[o]), n);
    }
}

static void save_gradients(const job *j)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/grads.txt", j->dir);
    FILE *list = fopen(path, "w");
    if (!list) {
        fprintf(stderr, "%s: cannot write\n", path);
        exit(1);
    }
    size_t k = 0;
    for (size_t i = 0; i < j->g->tensor_count; i++) {
        const cr_tensor *t = j->g->tensors[i];
        if (!cr_tensor_is_const(t) || !cr_tape_grad(j->tape, t)) continue;
        save(j, "grad-", k, cr_tape_grad(j->tape, t), count_of(t));
        fprintf(list, "%zu %s\n", k++, t->name);
    }
    fclose(list);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_passes(const job *j, int runs)
{
    double *ms = malloc((size_t)runs * sizeof *ms);
    if (!ms) exit(1);
    for (int i = 0; i < runs; i++) {
        const double start = now_ms();
        pass(j);
        ms[i] = now_ms() - start;
    }
    qsort(ms, (size_t)runs, sizeof *ms, by_value);
    const cr_tape_memory m = cr_tape_memory_of(j->tape);
    printf("pass %.1f ms; MB: values %.1f, gradients kept %.1f, shared %.1f, scratch %.1f\n",
           ms[runs / 2], (double)m.values / 1e6, (double)m.kept / 1e6, (double)m.shared / 1e6,
           (double)m.scratch / 1e6);
    free(ms);
}

int main(int argc, char **argv)
{
    int threads = 1, runs = 1;
    bool recompute = false;
    job j = {.real = CR_DT_F32};
    cr_error err;
    cr_pool *pool;
    cr_rng r;
    if (argc < 3) {
        fprintf(stderr, "usage: peers-autograd_dump MODEL OUTDIR [--threads N] [--runs N] [--f64] "
                        "[--recompute]\n");
        return 2;
    }
    j.dir = argv[2];
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "--f64")) j.real = CR_DT_F64;
        if (!strcmp(argv[i], "--recompute")) recompute = true;
        if (!strcmp(argv[i], "--threads") && i + 1 < argc) threads = atoi(argv[++i]);
        if (!strcmp(argv[i], "--runs") && i + 1 < argc) runs = atoi(argv[++i]);
    }
    cr_tape_options options = {.real = j.real};
    j.g = train_model(argv[1], &options.batch_stats);
    must(cr_pool_create(threads, &pool, &err), &err);
    options.pool = pool;
    options.recompute = recompute;
    must(cr_tape_create(j.g, &options, &j.tape, &err), &err);
    char path[4096];
    snprintf(path, sizeof path, "%s/graph.onnx", j.dir);
    must(cr_onnx_write(j.g, &(cr_onnx_write_options){0}, path, &err), &err);
    cr_rng_seed(&r, 1);
    fill(&j, cr_tape_value(j.tape, j.g->inputs[0]), count_of(j.g->inputs[0]), &r, 0, 1);
    save(&j, "in", 0, cr_tape_value(j.tape, j.g->inputs[0]), count_of(j.g->inputs[0]));
    time_passes(&j, runs < 1 ? 1 : runs);
    save_gradients(&j);
    save_seeds(&j);
    cr_tape_free(&j.tape);
    cr_pool_free(&pool);
    cr_graph_free(&j.g);
    return 0;
}
