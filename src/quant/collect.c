/* Calibration runs: each thread has a single-threaded session and statistics of its own, pictures
 * are handed out one by one, and the statistics are merged at the end. That keeps every core busy
 * on decoding, running and counting alike, and needs no locks. */
#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "quant/stats.h"

typedef struct lane {
    cr_session *session;
    cr_stats *stats;
    cr_observer observer;
    cr_status status;
    cr_error error;
    bool out_of_memory;
} lane;

typedef struct collector {
    lane *lanes;
    int count;
    size_t samples;
    cr_sample_fn fill;
    void *user;
    const cr_progress *progress;
    atomic_size_t done;
    atomic_bool stop;
} collector;

static void see(void *user, const cr_view *v)
{
    lane *l = user;
    if (v->dtype != CR_DT_F32 || v->tensor->data) return;
    const int64_t channels = v->tensor->shape.rank == 4 ? v->tensor->shape.dim[1] : 0;
    cr_tensor_stats *t = cr_stats_get(l->stats, v->tensor->name, channels);
    if (t) cr_stats_add(t, v);
    else l->out_of_memory = true;
}

static cr_status run_sample(collector *c, lane *l, size_t index)
{
    CR_TRY(c->fill(c->user, index, cr_session_input_data(l->session, 0), &l->error));
    CR_TRY(cr_session_execute(l->session, &l->error));
    l->stats->pictures++;
    return l->out_of_memory ? CR_NOMEM(&l->error) : CR_OK;
}

static void sample_task(void *ctx, size_t index, int worker)
{
    collector *c = ctx;
    lane *l = &c->lanes[worker];
    if (atomic_load(&c->stop)) return;
    l->status = run_sample(c, l, index);
    const size_t done = atomic_fetch_add(&c->done, 1) + 1;
    if (l->status == CR_OK && worker == 0 && !cr_report(c->progress, "calibrating", done, c->samples))
        l->status = cr_fail(&l->error, CR_ERR_CANCELLED, "cancelled");
    if (l->status != CR_OK) atomic_store(&c->stop, true);
}

static cr_status open_lanes(collector *c, const cr_program *p, cr_pool **inline_pool, cr_error *err)
{
    CR_TRY(cr_pool_create(1, inline_pool, err));
    for (int i = 0; i < c->count; i++) {
        lane *l = &c->lanes[i];
        CR_TRY(cr_session_open(p, *inline_pool, &l->session, err));
        CR_TRY(cr_stats_create(&l->stats, err));
        l->observer = (cr_observer){see, l};
        cr_session_set_observer(l->session, &l->observer);
    }
    return CR_OK;
}

static cr_status first_failure(const collector *c, cr_error *err)
{
    for (int i = 0; i < c->count; i++)
        if (c->lanes[i].status != CR_OK)
            return cr_fail(err, c->lanes[i].status, "%s", c->lanes[i].error.message);
    return CR_OK;
}

static cr_status merge_lanes(collector *c, cr_stats **out, cr_error *err)
{
    for (int i = 1; i < c->count; i++) CR_TRY(cr_stats_merge(c->lanes[0].stats, c->lanes[i].stats, err));
    *out = c->lanes[0].stats;
    c->lanes[0].stats = NULL;
    return CR_OK;
}

cr_status cr_stats_collect(const cr_graph *g, size_t count, cr_sample_fn fill, void *user,
                           int threads, const cr_progress *progress, cr_stats **out, cr_error *err)
{
    *out = NULL;
    CR_CHECK(count > 0, err, CR_ERR_ARGUMENT, "calibration needs at least one picture");
    CR_CHECK(g->input_count == 1 && g->inputs[0]->dtype == CR_DT_F32, err, CR_ERR_UNSUPPORTED,
             "calibration needs a model with one float input");
    cr_status st = CR_OK;
    cr_program *program = NULL;
    cr_pool *pool = NULL, *inline_pool = NULL;
    collector c = {.samples = count, .fill = fill, .user = user, .progress = progress};
    CR_TRY_GOTO(cr_pool_create(threads, &pool, err), done);
    c.count = cr_pool_threads(pool);
    c.lanes = cr_calloc((size_t)c.count, sizeof *c.lanes);
    if (!c.lanes) {
        st = CR_NOMEM(err);
        goto done;
    }
    CR_TRY_GOTO(cr_program_create(g, NULL, 1, &program, err), done);
    CR_TRY_GOTO(open_lanes(&c, program, &inline_pool, err), done);
    cr_pool_run(pool, count, sample_task, &c);
    CR_TRY_GOTO(first_failure(&c, err), done);
    CR_TRY_GOTO(merge_lanes(&c, out, err), done);
done:
    for (int i = 0; c.lanes && i < c.count; i++) {
        cr_session_close(&c.lanes[i].session);
        cr_stats_release(&c.lanes[i].stats);
    }
    cr_free(c.lanes);
    cr_program_free(&program);
    cr_pool_free(&pool);
    cr_pool_free(&inline_pool);
    return st;
}
