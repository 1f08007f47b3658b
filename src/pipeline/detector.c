/* Runner and detector: a compiled model with its memory, and the way from picture to boxes. */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "crayon/runtime.h"
#include "pipeline/model_impl.h"
#include "runtime/runtime.h"

struct cr_runner {
    const cr_model *model;
    cr_program *program;
    cr_session *session;
};

cr_status cr_runner_create(const cr_model *m, int threads, cr_runner **out, cr_error *err)
{
    *out = NULL;
    cr_status st = CR_OK;
    cr_pool *probe = NULL;
    cr_runner *r = cr_calloc(1, sizeof *r);
    if (!r) return CR_NOMEM(err);
    r->model = m;
    CR_TRY_GOTO(cr_pool_create(threads, &probe, err), done);
    threads = cr_pool_threads(probe);
    const cr_program_options o = {.threads = threads, .bf16 = m->bf16};
    CR_TRY_GOTO(cr_program_compile(m->graph, m->recipe, &o, &r->program, err), done);
    CR_TRY_GOTO(cr_session_open(r->program, NULL, &r->session, err), done);
    *out = r;
    r = NULL;
done:
    cr_pool_free(&probe);
    cr_runner_free(&r);
    return st;
}

void cr_runner_free(cr_runner **rp)
{
    if (!rp || !*rp) return;
    cr_session_close(&(*rp)->session);
    cr_program_free(&(*rp)->program);
    cr_free(*rp);
    *rp = NULL;
}

void *cr_runner_input(cr_runner *r, size_t index, size_t *bytes)
{
    if (index >= r->model->graph->input_count) return NULL;
    if (bytes) *bytes = cr_tensor_bytes(r->model->graph->inputs[index]);
    return cr_session_input_data(r->session, index);
}

cr_status cr_runner_run(cr_runner *r, cr_error *err) { return cr_session_execute(r->session, err); }

cr_status cr_runner_output(const cr_runner *r, size_t index, cr_output *out, cr_error *err)
{
    CR_CHECK(index < r->model->graph->output_count, err, CR_ERR_ARGUMENT, "no output %zu", index);
    const cr_tensor *t = cr_session_output_tensor(r->session, index);
    CR_CHECK(t->dtype == CR_DT_F32, err, CR_ERR_UNSUPPORTED, "output '%s' is %s, not float32",
             t->name, cr_dtype_key(t->dtype));
    *out = (cr_output){.data = t->data, .rank = t->shape.rank};
    memcpy(out->dim, t->shape.dim, sizeof out->dim);
    return CR_OK;
}

size_t cr_runner_memory(const cr_runner *r) { return cr_session_bytes(r->session); }
cr_status cr_runner_profile(cr_runner *r, size_t runs, cr_error *err)
{
    return cr_session_profile(r->session, runs, err);
}
size_t cr_runner_step_count(const cr_runner *r) { return cr_session_step_count(r->session); }
cr_step_time cr_runner_step(const cr_runner *r, size_t i) { return cr_session_step(r->session, i); }

/* ---- detector ---- */

enum { MAX_OUTPUTS = 32 };

struct cr_detector {
    const cr_model *model;
    cr_runner *runner;
    cr_detect_times times;
};

static cr_status check_detectable(const cr_model *m, cr_error *err)
{
    const cr_model_info *info = &m->info;
    CR_CHECK(m->graph->input_count == 1 && m->graph->inputs[0]->dtype == CR_DT_F32 &&
                 m->graph->inputs[0]->shape.rank == 4 && m->graph->inputs[0]->shape.dim[1] == 3,
             err, CR_ERR_UNSUPPORTED, "%s: the input is not one picture [N,3,H,W] of float32",
             info->path);
    CR_CHECK(info->batch == 1, err, CR_ERR_UNSUPPORTED, "%s: has batch %d, detection needs 1",
             info->path, info->batch);
    CR_CHECK(info->head.kind != CR_HEAD_NONE && m->graph->output_count <= MAX_OUTPUTS, err,
             CR_ERR_UNSUPPORTED,
             "%s: the outputs are of no detector or classifier that Crayon knows", info->path);
    return CR_OK;
}

cr_status cr_detector_create(const cr_model *m, int threads, cr_detector **out, cr_error *err)
{
    *out = NULL;
    CR_TRY(check_detectable(m, err));
    cr_detector *d = cr_calloc(1, sizeof *d);
    if (!d) return CR_NOMEM(err);
    d->model = m;
    const cr_status st = cr_runner_create(m, threads, &d->runner, err);
    if (st != CR_OK) cr_detector_free(&d);
    *out = d;
    return st;
}

void cr_detector_free(cr_detector **dp)
{
    if (!dp || !*dp) return;
    cr_runner_free(&(*dp)->runner);
    cr_free(*dp);
    *dp = NULL;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

cr_status cr_detector_run(cr_detector *d, const cr_image *picture, const cr_detect_options *options,
                          cr_detections *out, cr_error *err)
{
    const cr_model *m = d->model;
    const cr_detect_options defaults = cr_detect_options_default();
    cr_output outs[MAX_OUTPUTS];
    cr_placement place;
    const double t0 = now_ms();
    CR_TRY(cr_preprocess_run(&m->info.preprocess, picture, cr_runner_input(d->runner, 0, NULL),
                             &place, err));
    const double t1 = now_ms();
    CR_TRY(cr_runner_run(d->runner, err));
    const double t2 = now_ms();
    const size_t n = m->graph->output_count;
    for (size_t i = 0; i < n; i++) CR_TRY(cr_runner_output(d->runner, i, &outs[i], err));
    CR_TRY(cr_head_decode(&m->info.head, outs, n, &place, options ? options : &defaults, out, err));
    d->times = (cr_detect_times){t1 - t0, t2 - t1, now_ms() - t2};
    return CR_OK;
}

cr_detect_times cr_detector_times(const cr_detector *d) { return d->times; }
