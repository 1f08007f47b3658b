#define _POSIX_C_SOURCE 200809L
/* See trainer.h. The checkpoint's pieces are, in order: the counters, the values of all parameters
 * one after the other, the optimiser's blocks, the curve, then the states of the callbacks. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "crayon/cluster.h"
#include "train/train_state.h"
#include "train/trainer_items.h"

enum { OWN_PIECES = 6, PACE_STEPS = 2 };
static const double checkpoint_seconds = 60;

/* What a checkpoint says in numbers. */
typedef struct counters {
    int64_t done, steps, optimised, left_out, bad_in_row, stopped;
    double seconds;
} counters;

struct cr_trainer {
    cr_tape *tape;
    cr_trained *list;
    size_t n;
    cr_trainer_calls calls;
    cr_trainer_options o;
    cr_optimiser *optimiser;
    uint64_t task;
    counters c;
    cr_curve_point *curve;
    size_t curve_cap;
    cr_items *items;
    float *values; /* of all parameters, packed: for checkpoints */
    double begun;  /* clock at which this process's part of the run began */
    double saved;  /* clock of the last checkpoint */
};

cr_trainer_options cr_trainer_options_default(void)
{
    return (cr_trainer_options){
        .items = 1, .max_bad = 5, .optimiser = cr_optimiser_options_default()};
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what is trained ---- */

static bool is_tracked_statistic(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind == CR_OP_BatchNormalization && n->n_in >= 5 &&
            (n->in[3] == t || n->in[4] == t))
            return true;
    }
    return false;
}

cr_status cr_trained_of_tape(const cr_graph *g, const cr_tape *tape, bool batch_stats, size_t extra,
                             cr_trained **list, size_t *n, cr_error *err)
{
    *n = 0;
    *list = cr_calloc(g->tensor_count + extra + 1, sizeof **list);
    if (!*list) return CR_NOMEM(err);
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *t = g->tensors[i];
        if (!cr_tensor_is_const(t) || !cr_dtype_is_float(t->dtype)) continue;
        const float *grad = cr_tape_grad(tape, t);
        if (!grad && !(batch_stats && is_tracked_statistic(g, t))) continue;
        (*list)[(*n)++] = (cr_trained){t->name,
                                       {.value = cr_tape_value(tape, t),
                                        .grad = grad,
                                        .count = cr_shape_count(&t->shape),
                                        .decays = grad && t->shape.rank >= 2}};
    }
    return CR_OK;
}

void cr_trained_write_back(cr_graph *g, const cr_tape *tape)
{
    for (size_t i = 0; i < g->tensor_count; i++) {
        cr_tensor *t = g->tensors[i];
        if (cr_tensor_is_const(t) && t->dtype == CR_DT_F32)
            memcpy(t->data, cr_tape_value(tape, t), cr_tensor_bytes(t));
    }
}

/* ---- creation ---- */

static cr_status check_options(const cr_trainer_options *o, size_t n, cr_error *err)
{
    CR_CHECK(o->steps >= 0 && o->seconds >= 0 && (o->steps > 0 || o->seconds > 0), err,
             CR_ERR_ARGUMENT, "a training needs a number of steps or a time");
    CR_CHECK(o->items >= 1 && o->max_bad >= 1 && o->judge_every >= 0 && o->checkpoint_every >= 0,
             err, CR_ERR_ARGUMENT,
             "items and bad steps must be at least 1, intervals not negative");
    CR_CHECK(o->part_count >= 1 && o->part_count <= CR_LOSS_PARTS, err, CR_ERR_ARGUMENT,
             "a loss has 1 to %d parts", CR_LOSS_PARTS);
    CR_CHECK(o->state_count <= CR_STATE_PIECES - OWN_PIECES, err, CR_ERR_LIMIT, "at most %d states",
             CR_STATE_PIECES - OWN_PIECES);
    CR_CHECK(!o->resume || o->checkpoint, err, CR_ERR_ARGUMENT,
             "to resume, the checkpoint must be named");
    CR_CHECK(n > 0, err, CR_ERR_ARGUMENT, "nothing to train");
    return CR_OK;
}

/* The task of the caller and all that decides whether a checkpoint's numbers fit. */
static uint64_t task_of(const cr_trainer *t)
{
    const int64_t numbers[] = {(int64_t)t->o.seed,        (int64_t)t->o.task, t->o.items,
                               t->o.part_count,           (int64_t)t->n,      t->o.optimiser.kind,
                               t->o.optimiser.average > 0};
    uint64_t h = cr_train_hash(0, numbers, sizeof numbers);
    for (size_t i = 0; i < t->n; i++) {
        h = cr_train_hash(h, t->list[i].name, strlen(t->list[i].name));
        h = cr_train_hash(h, &t->list[i].p.count, sizeof t->list[i].p.count);
    }
    return h;
}

static cr_status make_optimiser(cr_trainer *t, cr_pool *pool, cr_error *err)
{
    cr_parameter *p = cr_calloc(t->n, sizeof *p);
    if (!p) return CR_NOMEM(err);
    for (size_t i = 0; i < t->n; i++) p[i] = t->list[i].p;
    t->o.optimiser.steps = t->o.steps;
    const cr_status st = cr_optimiser_create(p, t->n, &t->o.optimiser, pool, &t->optimiser, err);
    cr_free(p);
    return st;
}

static cr_status make_room(cr_trainer *t, cr_error *err)
{
    int64_t all = 0;
    for (size_t i = 0; i < t->n; i++) all += t->list[i].p.count;
    t->values = cr_aligned_alloc((size_t)all * sizeof(float));
    return t->values ? CR_OK : CR_NOMEM(err);
}

/* ---- checkpoints ---- */

static void pack(const cr_trainer *t)
{
    float *at = t->values;
    for (size_t i = 0; i < t->n; at += t->list[i].p.count, i++)
        memcpy(at, t->list[i].p.value, (size_t)t->list[i].p.count * sizeof *at);
}

static void unpack(const cr_trainer *t)
{
    const float *at = t->values;
    for (size_t i = 0; i < t->n; at += t->list[i].p.count, i++)
        memcpy(t->list[i].p.value, at, (size_t)t->list[i].p.count * sizeof *at);
}

/* The pieces where they lie here; the curve's as long as `points` says. */
static size_t list_pieces(const cr_trainer *t, size_t points, cr_state_piece *piece)
{
    const cr_optimiser_state s = cr_optimiser_state_of(t->optimiser);
    const size_t bytes = (size_t)s.count * sizeof(float);
    size_t n = 0;
    piece[n++] = (cr_state_piece){&t->c, sizeof t->c};
    piece[n++] = (cr_state_piece){t->values, bytes};
    piece[n++] = (cr_state_piece){s.first, bytes};
    piece[n++] = (cr_state_piece){s.second, s.second ? bytes : 0};
    piece[n++] = (cr_state_piece){s.average, s.average ? bytes : 0};
    piece[n++] = (cr_state_piece){t->curve, points * sizeof *t->curve};
    for (size_t i = 0; i < t->o.state_count; i++)
        piece[n++] = (cr_state_piece){t->o.states[i].data, t->o.states[i].bytes};
    return n;
}

static cr_status take(cr_trainer *t, const cr_train_state *s, cr_error *err)
{
    const char *path = t->o.checkpoint;
    cr_state_piece piece[CR_STATE_PIECES];
    counters c = {0};
    CR_CHECK(s->task == t->task && s->piece[0].bytes == sizeof c, err, CR_ERR_ARGUMENT,
             "%s: a checkpoint of another training: model, pictures or options differ; remove it "
             "or name another file",
             path);
    memcpy(&c, s->piece[0].data, sizeof c);
    CR_CHECK(c.done >= 0 && c.optimised >= 0 && c.optimised <= c.done, err, CR_ERR_FORMAT,
             "%s: the checkpoint's counters make no sense", path);
    const size_t points = (size_t)c.done, n = list_pieces(t, points, piece);
    bool fits = s->count == n;
    for (size_t i = 0; i < n && fits; i++) fits = s->piece[i].bytes == piece[i].bytes;
    CR_CHECK(fits, err, CR_ERR_FORMAT, "%s: the checkpoint does not fit this training", path);
    t->curve = cr_malloc((points + 1) * sizeof *t->curve);
    if (!t->curve) return CR_NOMEM(err);
    t->curve_cap = points + 1;
    list_pieces(t, points, piece);
    for (size_t i = 0; i < n; i++)
        if (piece[i].bytes) memcpy((void *)piece[i].data, s->piece[i].data, piece[i].bytes);
    unpack(t);
    cr_optimiser_resume(t->optimiser, t->c.optimised);
    if (t->c.steps) cr_optimiser_set_length(t->optimiser, t->c.steps);
    return CR_OK;
}

static cr_status resume(cr_trainer *t, cr_error *err)
{
    cr_train_state s;
    if (access(t->o.checkpoint, F_OK)) return CR_OK;
    CR_TRY(cr_train_state_read(t->o.checkpoint, &s, err));
    const cr_status st = take(t, &s, err);
    cr_train_state_free(&s);
    return st;
}

static cr_status save(cr_trainer *t, cr_error *err)
{
    if (!t->o.checkpoint) return CR_OK;
    cr_state_piece piece[CR_STATE_PIECES];
    const counters was = t->c;
    pack(t);
    t->c.seconds += now() - t->begun;
    const size_t n = list_pieces(t, (size_t)t->c.done, piece);
    const cr_status st = cr_train_state_write(t->o.checkpoint, t->task, piece, n, err);
    t->c = was;
    t->saved = now();
    return st;
}

static cr_status build(cr_trainer *t, cr_pool *pool, cr_error *err)
{
    CR_TRY(check_options(&t->o, t->n, err));
    CR_TRY(make_optimiser(t, pool, err));
    CR_TRY(make_room(t, err));
    CR_TRY(cr_items_create(t->list, t->n, &t->items, err));
    t->c.steps = t->o.steps;
    t->task = task_of(t);
    return t->o.resume ? resume(t, err) : CR_OK;
}

cr_status cr_trainer_create(cr_tape *tape, const cr_trained *list, size_t n,
                            const cr_trainer_calls *calls, const cr_trainer_options *options,
                            cr_pool *pool, cr_trainer **out, cr_error *err)
{
    *out = NULL;
    cr_trainer *t = cr_calloc(1, sizeof *t);
    if (!t) return CR_NOMEM(err);
    *t = (cr_trainer){.tape = tape, .n = n, .calls = *calls, .o = *options};
    t->list = cr_calloc(n + 1, sizeof *t->list);
    cr_status st = t->list ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        memcpy(t->list, list, n * sizeof *list);
        st = build(t, pool, err);
    }
    if (st != CR_OK) {
        cr_trainer_free(&t);
        return st;
    }
    *out = t;
    return CR_OK;
}

void cr_trainer_free(cr_trainer **trainer)
{
    if (!trainer || !*trainer) return;
    cr_trainer *t = *trainer;
    cr_optimiser_free(&t->optimiser);
    cr_items_free(&t->items);
    cr_free(t->list);
    cr_free(t->curve);
    cr_aligned_free(t->values);
    cr_free(t);
    *trainer = NULL;
}

/* ---- one step ---- */

static cr_status leave_out(cr_trainer *t, cr_curve_point *point, const char *why, cr_error *err)
{
    cr_items_undo(t->items);
    point->norm = NAN;
    t->c.left_out++;
    t->c.bad_in_row++;
    if (t->calls.warn) t->calls.warn(t->calls.ctx, why);
    CR_CHECK(t->c.bad_in_row < t->o.max_bad, err, CR_ERR_ARGUMENT,
             "%s; %d steps in a row were left out: lower the learning rate", why, t->o.max_bad);
    return CR_OK;
}

/* Loss and gradients of one item. */
static cr_status run_item(void *ctx, int item, cr_item_words *words, cr_error *err)
{
    cr_trainer *t = ctx;
    const int64_t step = t->c.done;
    CR_TRY(t->calls.load(t->calls.ctx, t->tape, step, item, err));
    CR_TRY(cr_tape_forward(t->tape, err));
    CR_TRY(t->calls.loss(t->calls.ctx, t->tape, step, item, words->parts, err));
    for (int k = 0; k < t->o.part_count; k++) {
        if (isfinite(words->parts[k])) continue;
        snprintf(words->why, sizeof words->why, "step %lld, item %d: the loss '%s' is %g",
                 (long long)step, item, t->o.part_names ? t->o.part_names[k] : "loss",
                 words->parts[k]);
        return CR_OK;
    }
    return cr_tape_backward(t->tape, err);
}

static void zero_gradients(void *ctx)
{
    const cr_trainer *t = ctx;
    cr_tape_zero(t->tape);
}

static cr_status optimise(cr_trainer *t, cr_curve_point *point, char *why, size_t room,
                          cr_error *err)
{
    cr_error bad = {0};
    point->rate = cr_learning_rate(&t->o.optimiser, t->c.optimised);
    const cr_status st = cr_optimiser_step(t->optimiser, &bad);
    if (st == CR_ERR_ARGUMENT) {
        snprintf(why, room, "step %lld: the gradient is not finite", (long long)t->c.done);
        return CR_OK;
    }
    if (st != CR_OK) return cr_fail(err, st, "%s", bad.message);
    point->norm = cr_optimiser_norm(t->optimiser);
    t->c.optimised++;
    t->c.bad_in_row = 0;
    if (t->calls.stepped) t->calls.stepped(t->calls.ctx, t->c.done);
    return CR_OK;
}

/* Seconds of the run so far, which are the first process's for all. */
static cr_status read_clock(const cr_trainer *t, double *seconds, cr_error *err)
{
    *seconds = t->c.seconds + now() - t->begun;
    if (cr_cluster_size() == 1) return CR_OK;
    cr_cluster_part *parts;
    CR_TRY(cr_cluster_gather(seconds, sizeof *seconds, &parts, err));
    *seconds = *(const double *)parts[0].bytes;
    free(parts);
    return CR_OK;
}

static cr_status make_step(cr_trainer *t, cr_error *err)
{
    cr_item_words words = {0};
    cr_curve_point point = {0};
    if (!cr_grow((void **)&t->curve, &t->curve_cap, (size_t)t->c.done, sizeof *t->curve))
        return CR_NOMEM(err);
    t->o.optimiser.steps = t->c.steps;
    CR_TRY(cr_items_run(t->items, t->o.items, run_item, zero_gradients, t, &words, err));
    memcpy(point.parts, words.parts, sizeof point.parts);
    if (!*words.why) CR_TRY(optimise(t, &point, words.why, sizeof words.why, err));
    if (*words.why) CR_TRY(leave_out(t, &point, words.why, err));
    CR_TRY(read_clock(t, &point.seconds, err));
    t->curve[t->c.done++] = point;
    return CR_OK;
}

/* ---- the run ---- */

/* With a time instead of a number of steps, the number follows from the pace so far, judging
 * included, and is corrected through the first half of the time; then it stays, and the schedule
 * ends where the run does. */
static void set_length(cr_trainer *t)
{
    const double used = t->curve[t->c.done - 1].seconds, left = t->o.seconds - used;
    if (t->o.steps || t->c.done < PACE_STEPS || (t->c.steps && 2 * used > t->o.seconds)) return;
    const double more = left > 0 ? (double)t->c.done * left / (used > 1e-6 ? used : 1e-6) : 0;
    t->c.steps = t->c.done + (int64_t)(more < 1e9 ? more : 1e9);
    cr_optimiser_set_length(t->optimiser, t->c.steps);
}

static bool at_end(const cr_trainer *t)
{
    if (t->c.stopped || (t->c.steps && t->c.done >= t->c.steps)) return true;
    return t->o.seconds > 0 && t->c.done && t->curve[t->c.done - 1].seconds >= t->o.seconds;
}

static cr_status judge(cr_trainer *t, bool last, cr_error *err)
{
    bool stop = false;
    const int64_t every = t->o.judge_every;
    if (!t->calls.judge || (!last && (!every || t->c.done % every))) return CR_OK;
    CR_TRY(t->calls.judge(t->calls.ctx, t, t->c.done, &stop, err));
    t->c.stopped |= stop;
    return CR_OK;
}

static cr_status write_curve(const cr_trainer *t, cr_error *err)
{
    cr_outfile *f;
    if (!t->o.curve) return CR_OK;
    CR_TRY(cr_outfile_open(t->o.curve, &f, err));
    FILE *s = cr_outfile_stream(f);
    fprintf(s, "step\tseconds\trate\tnorm");
    for (int k = 0; k < t->o.part_count; k++)
        fprintf(s, "\t%s", t->o.part_names ? t->o.part_names[k] : "loss");
    for (int64_t i = 0; i < t->c.done; i++) {
        const cr_curve_point *p = &t->curve[i];
        fprintf(s, "\n%lld\t%.3f\t%.6g\t%.6g", (long long)i, p->seconds, p->rate, p->norm);
        for (int k = 0; k < t->o.part_count; k++) fprintf(s, "\t%.6g", p->parts[k]);
    }
    fprintf(s, "\n");
    return cr_outfile_commit(&f, err);
}

static cr_status save_now_and_then(cr_trainer *t, cr_error *err)
{
    const int64_t every = t->o.checkpoint_every;
    if ((!every || t->c.done % every) && now() - t->saved < checkpoint_seconds) return CR_OK;
    CR_TRY(write_curve(t, err));
    return save(t, err);
}

static cr_status look_for_cancel(cr_trainer *t, cr_error *err)
{
    cr_status st = CR_OK;
    if (!cr_report(&t->o.progress, "training", (uint64_t)t->c.done, (uint64_t)t->c.steps))
        st = cr_fail(err, CR_ERR_CANCELLED, "cancelled after %lld steps", (long long)t->c.done);
    st = cr_cluster_agree(st, err);
    if (st != CR_OK) CR_TRY(save(t, err));
    return st;
}

cr_status cr_trainer_run(cr_trainer *t, cr_error *err)
{
    t->begun = t->saved = now();
    const bool finished = at_end(t);
    for (bool last = finished; !last;) {
        CR_TRY(look_for_cancel(t, err));
        CR_TRY(make_step(t, err));
        set_length(t);
        last = at_end(t);
        CR_TRY(judge(t, last, err));
        last = last || t->c.stopped;
        CR_TRY(save_now_and_then(t, err));
    }
    if (!finished) CR_TRY(save(t, err));
    cr_report(&t->o.progress, "training", (uint64_t)t->c.done, (uint64_t)t->c.done);
    return write_curve(t, err);
}

int64_t cr_trainer_done(const cr_trainer *t)
{
    return t->c.done;
}

int64_t cr_trainer_steps(const cr_trainer *t)
{
    return t->c.steps;
}

int64_t cr_trainer_left_out(const cr_trainer *t)
{
    return t->c.left_out;
}

const cr_curve_point *cr_trainer_curve(const cr_trainer *t, size_t *n)
{
    *n = (size_t)t->c.done;
    return t->curve;
}

void cr_trainer_swap_average(cr_trainer *t)
{
    const cr_optimiser_state s = cr_optimiser_state_of(t->optimiser);
    float *at = s.average;
    for (size_t i = 0; at && i < t->n; i++)
        for (int64_t k = 0; k < t->list[i].p.count; k++, at++) {
            const float x = t->list[i].p.value[k];
            t->list[i].p.value[k] = *at;
            *at = x;
        }
}
