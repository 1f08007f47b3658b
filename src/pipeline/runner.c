/* Runner: a compiled model with memory and threads to run it. The program, which holds the packed
 * weights and is never written to once compiled, is counted and shared among runners. */
#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "crayon/runtime.h"
#include "pipeline/model_impl.h"
#include "runtime/runtime.h"

typedef struct shared_program {
    cr_program *program;
    int threads;
    atomic_int users;
} shared_program;

struct cr_runner {
    const cr_model *model;
    shared_program *shared;
    cr_pool *pool;
    cr_session *session;
};

static void release(shared_program *s)
{
    if (!s || atomic_fetch_sub(&s->users, 1) > 1) return;
    cr_program_free(&s->program);
    cr_free(s);
}

/* The program has what it needs of the graph that it was made from; of the others all goes. */
static void give_weights(const cr_model *m)
{
    cr_graph *const graphs[] = {m->graph, m->read, m->applied, m->stored};
    for (size_t i = 0; i < sizeof graphs / sizeof graphs[0]; i++) {
        if (!graphs[i]) continue;
        graphs[i]->weights_given = true;
        for (size_t t = 0; graphs[i] != cr_model_graph(m) && t < graphs[i]->tensor_count; t++)
            cr_tensor_drop_data(graphs[i]->tensors[t]);
    }
    cr_memory_trim();
}

static cr_status compile(const cr_model *m, int threads, shared_program **out, cr_error *err)
{
    const cr_program_options o = {.threads = threads, .bf16 = m->bf16, .take_weights = m->gives};
    shared_program *s = cr_calloc(1, sizeof *s);
    if (!s) return CR_NOMEM(err);
    s->threads = threads;
    atomic_init(&s->users, 1);
    const cr_status st = cr_program_compile(cr_model_graph(m), m->recipe, &o, &s->program, err);
    *out = st == CR_OK ? s : NULL;
    if (st == CR_OK && m->gives) give_weights(m);
    if (st != CR_OK) cr_free(s);
    return st;
}

cr_status cr_runner_create(const cr_model *m, int threads, cr_runner **out, cr_error *err)
{
    *out = NULL;
    cr_status st = CR_OK;
    cr_runner *r = cr_calloc(1, sizeof *r);
    if (!r) return CR_NOMEM(err);
    r->model = m;
    CR_TRY_GOTO(cr_pool_create(threads, &r->pool, err), done);
    CR_TRY_GOTO(compile(m, cr_pool_threads(r->pool), &r->shared, err), done);
    CR_TRY_GOTO(cr_session_open(r->shared->program, r->pool, &r->session, err), done);
    *out = r;
    r = NULL;
done:
    cr_runner_free(&r);
    return st;
}

cr_status cr_runner_share(const cr_runner *with, int threads, cr_runner **out, cr_error *err)
{
    *out = NULL;
    cr_status st = CR_OK;
    CR_CHECK(threads >= 0 && threads <= with->shared->threads, err, CR_ERR_ARGUMENT,
             "%d threads: the shared model was compiled for 1 to %d", threads,
             with->shared->threads);
    cr_runner *r = cr_calloc(1, sizeof *r);
    if (!r) return CR_NOMEM(err);
    r->model = with->model;
    r->shared = with->shared;
    atomic_fetch_add(&r->shared->users, 1);
    CR_TRY_GOTO(cr_pool_create(threads ? threads : r->shared->threads, &r->pool, err), done);
    CR_TRY_GOTO(cr_session_open(r->shared->program, r->pool, &r->session, err), done);
    *out = r;
    r = NULL;
done:
    cr_runner_free(&r);
    return st;
}

void cr_runner_free(cr_runner **rp)
{
    if (!rp || !*rp) return;
    cr_runner *r = *rp;
    cr_session_close(&r->session);
    cr_pool_free(&r->pool);
    release(r->shared);
    cr_free(r);
    *rp = NULL;
}

void *cr_runner_input(cr_runner *r, size_t index, size_t *bytes)
{
    if (index >= r->model->graph->input_count) return NULL;
    if (bytes) *bytes = cr_tensor_bytes(r->model->graph->inputs[index]);
    return cr_session_input_data(r->session, index);
}

bool cr_runner_put_picture(cr_runner *r, const uint8_t *pixels, const float mean[3],
                           const float div[3])
{
    return cr_session_put_picture(r->session, pixels, mean, div);
}

cr_status cr_runner_run(cr_runner *r, cr_error *err)
{
    return cr_session_execute(r->session, err);
}
void cr_runner_cancel(cr_runner *r)
{
    cr_session_cancel(r->session);
}

cr_status cr_runner_output(const cr_runner *r, size_t index, cr_output *out, cr_error *err)
{
    CR_CHECK(index < cr_model_graph(r->model)->output_count, err, CR_ERR_ARGUMENT, "no output %zu", index);
    const cr_tensor *t = cr_session_output_tensor(r->session, index);
    CR_CHECK(t->dtype == CR_DT_F32, err, CR_ERR_UNSUPPORTED, "output '%s' is %s, not float32",
             t->name, cr_dtype_key(t->dtype));
    *out = (cr_output){.data = t->data, .rank = t->shape.rank};
    memcpy(out->dim, t->shape.dim, sizeof out->dim);
    return CR_OK;
}

cr_status cr_runner_output_raw(const cr_runner *r, size_t index, cr_raw_output *out, cr_error *err)
{
    CR_CHECK(index < cr_model_graph(r->model)->output_count, err, CR_ERR_ARGUMENT, "no output %zu", index);
    const cr_tensor *t = cr_session_output_tensor(r->session, index);
    *out = (cr_raw_output){t->data, cr_dtype_key(t->dtype), cr_tensor_bytes(t), t->shape.rank, {0}};
    memcpy(out->dim, t->shape.dim, sizeof out->dim);
    return CR_OK;
}

size_t cr_runner_memory(const cr_runner *r)
{
    return cr_session_bytes(r->session);
}

cr_status cr_runner_profile(cr_runner *r, size_t runs, cr_error *err)
{
    return cr_session_profile(r->session, runs, err);
}

size_t cr_runner_step_count(const cr_runner *r)
{
    return cr_session_step_count(r->session);
}
cr_step_time cr_runner_step(const cr_runner *r, size_t i)
{
    return cr_session_step(r->session, i);
}
