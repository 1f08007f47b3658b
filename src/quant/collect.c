/* Calibration runs. Each thread has a single-threaded session and statistics of its own and takes
 * pictures one by one, which keeps every core busy on decoding, running and counting alike. After
 * each block of BLOCK pictures the threads' statistics are added to the whole, exactly and in no
 * order that matters, and their memory is used again: memory is that of one block for any number of
 * pictures.
 *
 * Early stop. Pictures after the ranges have converged cost time and change nothing. After a block,
 * convergence.c compares what the whole says with what it said a block ago; blocks are counted in
 * pictures, so the decision is the same for any number of threads and any timing.
 *
 * Several processes (crayon/cluster.h) divide each block and exchange what they saw after it. */
#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "crayon/cluster.h"
#include "quant/channel_classes.h"
#include "quant/convergence.h"
#include "quant/placement.h"
#include "quant/stats_share.h"

enum { BLOCK = 16 };

typedef struct lane {
    cr_session *session;
    cr_stats *stats;
    cr_observer observer;
    cr_status status;
    cr_error error;
    bool out_of_memory;
    const bool *split; /* the collector's */
} lane;

typedef struct collector {
    const cr_collect_options *options;
    lane *lanes;
    int count;
    bool *split; /* by tensor id: with histograms per channel */
    size_t begin; /* of the block */
    cr_stats *whole, *block; /* block: of this process */
    cr_convergence *convergence; /* NULL: no early stop */
    atomic_size_t done;
    atomic_bool stop;
} collector;

static cr_tensor_stats *entry_of(lane *l, const cr_tensor *t)
{
    const int64_t channels = t->shape.rank == 4 ? t->shape.dim[1] : 0;
    cr_tensor_stats *s = cr_stats_get(l->stats, t->name, channels);
    if (s && channels && l->split[t->id] && !s->channel && !cr_stats_split(l->stats, s))
        return NULL;
    return s;
}

static void see(void *user, const cr_view *v)
{
    lane *l = user;
    if (v->dtype != CR_DT_F32 || v->tensor->data) return;
    cr_tensor_stats *t = entry_of(l, v->tensor);
    if (t) cr_stats_add(t, v);
    else l->out_of_memory = true;
}

static cr_status run_sample(collector *c, lane *l, size_t index)
{
    const cr_collect_options *o = c->options;
    CR_TRY(o->fill(o->user, index, cr_session_input_data(l->session, 0), &l->error));
    CR_TRY(cr_session_execute(l->session, &l->error));
    l->stats->pictures++;
    return l->out_of_memory ? CR_NOMEM(&l->error) : CR_OK;
}

static void sample_task(void *ctx, size_t index, int worker)
{
    collector *c = ctx;
    lane *l = &c->lanes[worker];
    if (atomic_load(&c->stop)) return;
    const size_t ranks = (size_t)cr_cluster_size();
    l->status = run_sample(c, l, c->begin + index * ranks + (size_t)cr_cluster_rank());
    const size_t all = (atomic_fetch_add(&c->done, 1) + 1) * ranks, count = c->options->count;
    const size_t done = all < count ? all : count;
    if (l->status == CR_OK && worker == 0 &&
        !cr_report(c->options->progress, "calibrating", done, count))
        l->status = cr_fail(&l->error, CR_ERR_CANCELLED, "cancelled");
    if (l->status != CR_OK) atomic_store(&c->stop, true);
}

/* Has t a channel that may be scaled? */
static bool is_free(const cr_channel_classes *classes, const cr_tensor *t)
{
    for (int64_t c = 0; classes->slot[t->id] && c < classes->lead[t->id]; c++)
        if (cr_class_of(classes, t, c)) return true;
    return false;
}

/* What depthwise convolutions read may be quantized channel by channel, what other convolutions read may
 * have its channels scaled: these tensors, and those that reach them through operators which move
 * values. */
static void mark_split(const cr_graph *g, const cr_channel_classes *classes, bool all, bool *split)
{
    for (size_t i = g->node_count; i-- > 0;) {
        const cr_node *n = g->nodes[i];
        const cr_tensor *x = n->n_in > 0 ? n->in[0] : NULL;
        if (!x || x->data) continue;
        bool wanted = n->op->kind == CR_OP_Conv &&
                      (all || cr_is_depthwise(n) || is_free(classes, x));
        for (int k = 0; k < n->n_out && cr_passes_integers(n); k++)
            wanted |= n->out[k] && split[n->out[k]->id];
        split[x->id] |= wanted;
    }
}

/* All that lies between a depthwise convolution and the convolution in front of it, and what it gives:
 * they may fall into groups of channels, each with a range of its own (range_split.h). */
static void mark_groups(const cr_graph *g, bool *split)
{
    for (size_t i = g->node_count; i-- > 0;) {
        const cr_node *n = g->nodes[i];
        if (n->n_out < 1 || !n->out[0]) continue;
        if (cr_is_depthwise(n)) split[n->out[0]->id] = split[n->in[0]->id] = true;
        const bool elementwise = n->op->flags & (CR_OPF_UNARY | CR_OPF_MATH);
        for (int k = 0; elementwise && split[n->out[0]->id] && k < n->n_in; k++)
            if (n->in[k] && cr_shape_equal(&n->in[k]->shape, &n->out[0]->shape))
                split[n->in[k]->id] = true;
    }
}

static cr_status choose_split(const cr_graph *g, bool all, bool *split, cr_error *err)
{
    cr_role *roles;
    cr_channel_classes classes = {0};
    CR_TRY(cr_roles_find(g, &roles, err));
    const cr_status st = cr_channel_classes_find(g, roles, NULL, &classes, err);
    if (st == CR_OK) mark_split(g, &classes, all, split);
    if (st == CR_OK) mark_groups(g, split);
    cr_channel_classes_release(&classes);
    cr_free(roles);
    return st;
}

static cr_status open_lanes(collector *c, const cr_program *p, cr_pool **inline_pool, cr_error *err)
{
    CR_TRY(cr_pool_create(1, inline_pool, err));
    for (int i = 0; i < c->count; i++) {
        lane *l = &c->lanes[i];
        l->split = c->split;
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

static cr_status merge_lanes(collector *c, cr_error *err)
{
    for (int i = 0; i < c->count; i++) {
        CR_TRY(cr_stats_merge(c->block, c->lanes[i].stats, err));
        cr_stats_reset(c->lanes[i].stats);
    }
    return CR_OK;
}

/* Samples of a block of n that are this rank's: each ranks-th. */
static size_t share_of(size_t n)
{
    const size_t rank = (size_t)cr_cluster_rank(), ranks = (size_t)cr_cluster_size();
    return rank < n ? (n - rank - 1) / ranks + 1 : 0;
}

static cr_status run_block(collector *c, size_t n, cr_pool *pool, cr_error *err)
{
    cr_pool_run(pool, share_of(n), sample_task, c);
    cr_status st = first_failure(c, err);
    if (st == CR_OK) st = merge_lanes(c, err);
    CR_TRY(cr_stats_share(c->whole, c->block, st, err));
    cr_stats_reset(c->block);
    return CR_OK;
}

static cr_status run_blocks(collector *c, cr_pool *pool, cr_error *err)
{
    const size_t count = c->options->count;
    for (c->begin = 0; c->begin < count; c->begin += BLOCK) {
        const size_t left = count - c->begin;
        CR_TRY(run_block(c, left < BLOCK ? left : BLOCK, pool, err));
        if (left <= BLOCK || !c->convergence) continue;
        CR_TRY(cr_convergence_check(c->convergence, c->whole, &c->whole->converged, err));
        if (c->whole->converged) break;
    }
    cr_report(c->options->progress, "calibrating", count, count); /* also when it ended early */
    return CR_OK;
}

static void close_all(collector *c)
{
    for (int i = 0; c->lanes && i < c->count; i++) {
        cr_session_close(&c->lanes[i].session);
        cr_stats_release(&c->lanes[i].stats);
    }
    cr_free(c->lanes);
    cr_free(c->split);
    cr_stats_release(&c->whole);
    cr_stats_release(&c->block);
    cr_convergence_free(&c->convergence);
}

static cr_status prepare(collector *c, const cr_graph *g, int lanes, cr_error *err)
{
    c->count = lanes;
    c->lanes = cr_calloc((size_t)lanes, sizeof *c->lanes);
    c->split = cr_calloc(g->tensor_count, sizeof *c->split);
    if (!c->lanes || !c->split) return CR_NOMEM(err);
    CR_TRY(choose_split(g, c->options->all_channels, c->split, err));
    CR_TRY(cr_stats_create(&c->whole, err));
    CR_TRY(cr_stats_create(&c->block, err));
    return c->options->all ? CR_OK : cr_convergence_create(&c->convergence, err);
}

cr_status cr_stats_collect(const cr_graph *g, const cr_collect_options *o, cr_stats **out,
                           cr_error *err)
{
    *out = NULL;
    CR_CHECK(o->count > 0, err, CR_ERR_ARGUMENT, "calibration needs at least one picture");
    CR_CHECK(g->input_count == 1 && g->inputs[0]->dtype == CR_DT_F32, err, CR_ERR_UNSUPPORTED,
             "calibration needs a model with one float input");
    cr_status st = CR_OK;
    cr_program *program = NULL;
    cr_pool *pool = NULL, *inline_pool = NULL;
    collector c = {.options = o};
    CR_TRY_GOTO(cr_pool_create(o->threads, &pool, err), done);
    CR_TRY_GOTO(prepare(&c, g, cr_pool_threads(pool), err), done);
    CR_TRY_GOTO(cr_program_create(g, NULL, 1, &program, err), done);
    CR_TRY_GOTO(open_lanes(&c, program, &inline_pool, err), done);
    CR_TRY_GOTO(run_blocks(&c, pool, err), done);
    *out = c.whole;
    c.whole = NULL;
done:
    close_all(&c);
    cr_program_free(&program);
    cr_pool_free(&pool);
    cr_pool_free(&inline_pool);
    return st;
}
