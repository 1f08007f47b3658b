/* Every precision runs as a whole model, step by step under the profile, in turn with the others.
 * Of the runs the least counts, step by step: whatever disturbs a machine only adds time. A step
 * belongs to the layer whose node it begins with, a conversion to the layer that reads what it
 * writes. What is left (pooling, resizing, decoding) is in `whole` alone.
 *
 * times.json: {"format": "crayon-times", "version": 1, "whole": {"float32": ms, "int8": ms, ...},
 *              "layers": {node: {"float32": ms, ...}, ...}} */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/layer_times.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "crayon/runtime.h"
#include "graph/names.h"
#include "pipeline/judge.h"
#include "pipeline/model_impl.h"
#include "quant/json_io.h"

enum { RUNS = 25 };

static const char *const keys[CR_CHOICES] = {"int4", "int8", "int16", "float32"};

typedef struct bench {
    cr_model model;
    cr_runner *runner;
    size_t steps;
    uint64_t *least; /* nanoseconds by step; only under the profile */
} bench;

static cr_status open_bench(const cr_model *m, const cr_recipe *r, int threads, bool profile,
                            bench *b, cr_error *err)
{
    CR_TRY(cr_model_borrow(m, r, &b->model, err));
    CR_TRY(cr_runner_create(&b->model, threads, &b->runner, err));
    CR_TRY(cr_runner_run(b->runner, err)); /* warm */
    if (!profile) return CR_OK;
    b->steps = cr_runner_step_count(b->runner);
    b->least = cr_calloc(b->steps + 1, sizeof *b->least);
    return b->least ? cr_runner_profile(b->runner, 1, err) : CR_NOMEM(err);
}

static void close_bench(bench *b)
{
    cr_runner_free(&b->runner);
    cr_free(b->least);
    cr_model_give_back(&b->model);
}

/* Names of nodes, and of the tensors that layers read, to the layer's number plus one. */
static cr_status name_layers(const cr_recipe_layers *l, cr_names *nodes, cr_names *tensors,
                             size_t *numbers, cr_error *err)
{
    for (size_t i = 0; i < l->count; i++) {
        numbers[i] = i;
        if (!cr_names_put(nodes, l->node[i]->name, &numbers[i])) return CR_NOMEM(err);
        const char *input = l->node[i]->in[0]->name;
        if (!cr_names_get(tensors, input) && !cr_names_put(tensors, input, &numbers[i]))
            return CR_NOMEM(err);
    }
    return CR_OK;
}

/* One run; each step's least time so far. */
static cr_status run_bench(bench *b, cr_error *err)
{
    CR_TRY(cr_runner_run(b->runner, err));
    for (size_t i = 0; i < b->steps; i++) {
        const uint64_t ns = cr_runner_step(b->runner, i).ns;
        if (!b->least[i] || ns < b->least[i]) b->least[i] = ns;
    }
    return CR_OK;
}

static void add_up(const bench *b, const cr_names *nodes, const cr_names *tensors, int choice,
                   cr_layer_times *out)
{
    for (size_t i = 0; i < b->steps; i++) {
        const cr_step_time t = cr_runner_step(b->runner, i);
        const size_t *layer =
            *t.node ? cr_names_get(nodes, t.node) : cr_names_get(tensors, t.tensor);
        const double ms = (double)b->least[i] * 1e-6;
        out->whole[choice] += ms;
        if (layer) out->ms[*layer][choice] += ms;
    }
}

static cr_status allocate(cr_layer_times *t, size_t count, cr_error *err)
{
    *t = (cr_layer_times){.count = count, .ms = cr_calloc(count + 1, sizeof *t->ms)};
    return t->ms ? CR_OK : CR_NOMEM(err);
}

static void int4_as_int8(cr_layer_times *t)
{
    for (size_t i = 0; i < t->count; i++) t->ms[i][CR_CHOICE_INT4] = t->ms[i][CR_CHOICE_INT8];
    t->whole[CR_CHOICE_INT4] = t->whole[CR_CHOICE_INT8];
    t->have[CR_CHOICE_INT4] = true;
}

cr_status cr_layer_times_measure(const cr_model *m, const cr_recipe *const plan[CR_CHOICES],
                                 const cr_recipe_layers *layers, int threads, cr_layer_times *out,
                                 cr_error *err)
{
    bench b[CR_CHOICES] = {0};
    cr_names nodes = {0}, tensors = {0};
    cr_status st = CR_OK;
    size_t *numbers = cr_calloc(layers->count + 1, sizeof *numbers);
    const bool same = plan[CR_CHOICE_INT4] && plan[CR_CHOICE_INT8];
    CR_TRY_GOTO(allocate(out, layers->count, err), done);
    if (!numbers) {
        st = CR_NOMEM(err);
        goto done;
    }
    CR_TRY_GOTO(name_layers(layers, &nodes, &tensors, numbers, err), done);
    for (int c = 0; c < CR_CHOICES; c++) {
        out->have[c] = c == CR_CHOICE_FLOAT || (plan[c] && !(same && c == CR_CHOICE_INT4));
        if (out->have[c]) CR_TRY_GOTO(open_bench(m, plan[c], threads, true, &b[c], err), done);
    }
    for (int run = 0; run < RUNS; run++)
        for (int c = 0; c < CR_CHOICES; c++)
            if (b[c].runner) CR_TRY_GOTO(run_bench(&b[c], err), done);
    for (int c = 0; c < CR_CHOICES; c++)
        if (b[c].runner) add_up(&b[c], &nodes, &tensors, c, out);
    if (same) int4_as_int8(out);
done:
    for (int c = 0; c < CR_CHOICES; c++) close_bench(&b[c]);
    cr_names_free(&nodes);
    cr_names_free(&tensors);
    cr_free(numbers);
    if (st != CR_OK) cr_layer_times_free(out);
    return st;
}

void cr_layer_times_free(cr_layer_times *t)
{
    cr_free(t->ms);
    *t = (cr_layer_times){0};
}

/* ---- the file ---- */

static json_t *times_json(const double ms[CR_CHOICES], const bool have[CR_CHOICES])
{
    json_t *o = json_object();
    for (int c = 0; c < CR_CHOICES; c++)
        if (have[c]) json_object_set_new(o, keys[c], json_real(ms[c]));
    return o;
}

cr_status cr_layer_times_save(const cr_layer_times *t, const cr_recipe_layers *layers,
                              const char *path, cr_error *err)
{
    json_t *root = json_pack("{s:s, s:i}", "format", "crayon-times", "version", 1);
    json_t *list = json_object();
    int failed = json_object_set_new(root, "whole", times_json(t->whole, t->have));
    for (size_t i = 0; i < t->count; i++)
        failed |= json_object_set_new(list, layers->node[i]->name, times_json(t->ms[i], t->have));
    failed |= json_object_set_new(root, "layers", list);
    const cr_status st = failed
                             ? cr_fail(err, CR_ERR_FORMAT, "%s: cannot write names as JSON", path)
                             : cr_json_write(path, root, err);
    json_decref(root);
    return st;
}

static cr_status read_times(const json_t *o, const char *of, const bool want[CR_CHOICES],
                            double ms[CR_CHOICES], cr_error *err)
{
    CR_CHECK(json_is_object(o), err, CR_ERR_FORMAT,
             "no times of '%.200s': measured with another model", of);
    for (int c = 0; c < CR_CHOICES; c++) {
        const json_t *v = json_object_get(o, keys[c]);
        if (!want[c]) continue;
        CR_CHECK(json_is_number(v), err, CR_ERR_FORMAT,
                 "no %s time of '%.200s': remove the file to measure again", keys[c], of);
        ms[c] = json_number_value(v);
        CR_CHECK(isfinite(ms[c]) && ms[c] >= 0 && ms[c] < 1e9, err, CR_ERR_FORMAT,
                 "'%.200s': %g milliseconds", of, ms[c]);
    }
    return CR_OK;
}

cr_status cr_layer_times_load(const char *path, const cr_recipe_layers *layers,
                              const bool want[CR_CHOICES], cr_layer_times *out, cr_error *err)
{
    json_t *root;
    *out = (cr_layer_times){0};
    CR_TRY(cr_json_read(path, "crayon-times", &root, err));
    const json_t *list = json_object_get(root, "layers");
    cr_status st = allocate(out, layers->count, err);
    if (st == CR_OK)
        st = read_times(json_object_get(root, "whole"), "whole", want, out->whole, err);
    for (size_t i = 0; st == CR_OK && i < layers->count; i++) {
        const char *name = layers->node[i]->name;
        st = read_times(json_object_get(list, name), name, want, out->ms[i], err);
    }
    memcpy(out->have, want, sizeof out->have);
    json_decref(root);
    if (st == CR_OK) return CR_OK;
    cr_layer_times_free(out);
    return cr_fail_prefix(err, st, "%s", path);
}

/* ---- whole models ---- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

cr_status cr_time_pair(const cr_model *m, const cr_recipe *a, const cr_recipe *b, int threads,
                       double ms[2], cr_error *err)
{
    bench pair[2] = {0};
    cr_status st = CR_OK;
    for (int i = 0; i < 2; i++)
        CR_TRY_GOTO(open_bench(m, i ? b : a, threads, false, &pair[i], err), done);
    for (int run = 0; run < RUNS; run++)
        for (int i = 0; i < 2; i++) {
            const double start = now_ms();
            CR_TRY_GOTO(cr_runner_run(pair[i].runner, err), done);
            const double took = now_ms() - start;
            if (!run || took < ms[i]) ms[i] = took;
        }
done:
    for (int i = 0; i < 2; i++) close_bench(&pair[i]);
    return st;
}
