/* An item's numbers are one vector: its gradients, and for each tracked statistic how far the item
 * moved it. Rounds of as many items as there are processes; after a round every process has all
 * vectors of it and adds them by the number of the item. Rejected: a reduction by MPI, whose order
 * of adding depends on the number of processes. */
#include "train/trainer_items.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/cluster.h"

typedef struct message {
    cr_item_words words;
    float vector[];
} message;

struct cr_items {
    const cr_trained *list;
    size_t n, count;     /* numbers of all */
    float *sum, *before; /* before: statistics where the step began */
    message *message; /* of this process's item */
};

static size_t message_size(const cr_items *s)
{
    return sizeof *s->message + s->count * sizeof *s->message->vector;
}

cr_status cr_items_create(const cr_trained *list, size_t n, cr_items **out, cr_error *err)
{
    *out = NULL;
    cr_items *s = cr_calloc(1, sizeof *s);
    if (!s) return CR_NOMEM(err);
    s->list = list;
    s->n = n;
    for (size_t i = 0; i < n; i++) s->count += (size_t)list[i].p.count;
    s->sum = cr_aligned_alloc(s->count * sizeof *s->sum);
    s->before = cr_aligned_alloc(s->count * sizeof *s->before);
    s->message = cr_aligned_alloc(message_size(s));
    if (!s->sum || !s->before || !s->message) {
        cr_items_free(&s);
        return CR_NOMEM(err);
    }
    *out = s;
    return CR_OK;
}

void cr_items_free(cr_items **sp)
{
    if (!sp || !*sp) return;
    cr_aligned_free((*sp)->sum);
    cr_aligned_free((*sp)->before);
    cr_aligned_free((*sp)->message);
    cr_free(*sp);
    *sp = NULL;
}

/* The tape's memory: the list has it as what optimisers may read. */
static float *gradient(const cr_parameter *p)
{
    return (float *)(uintptr_t)p->grad;
}

static void keep_statistics(const cr_items *s)
{
    float *at = s->before;
    for (size_t i = 0; i < s->n; at += s->list[i++].p.count)
        if (!s->list[i].p.grad)
            memcpy(at, s->list[i].p.value, (size_t)s->list[i].p.count * sizeof *at);
}

void cr_items_undo(cr_items *s)
{
    const float *at = s->before;
    for (size_t i = 0; i < s->n; at += s->list[i++].p.count)
        if (!s->list[i].p.grad)
            memcpy(s->list[i].p.value, at, (size_t)s->list[i].p.count * sizeof *at);
}

/* Gradients and moves into the message; statistics go back to where they began. */
static void take_numbers(const cr_items *s)
{
    const float *before = s->before;
    float *to = s->message->vector;
    for (size_t i = 0; i < s->n; i++) {
        const cr_parameter *p = &s->list[i].p;
        for (int64_t k = 0; k < p->count; k++)
            to[k] = p->grad ? p->grad[k] : p->value[k] - before[k];
        if (!p->grad) memcpy(p->value, before, (size_t)p->count * sizeof *before);
        to += p->count;
        before += p->count;
    }
}

static void give_sums(const cr_items *s)
{
    const float *sum = s->sum, *before = s->before;
    for (size_t i = 0; i < s->n; i++) {
        const cr_parameter *p = &s->list[i].p;
        if (p->grad) memcpy(gradient(p), sum, (size_t)p->count * sizeof *sum);
        for (int64_t k = 0; !p->grad && k < p->count; k++) p->value[k] = before[k] + sum[k];
        sum += p->count;
        before += p->count;
    }
}

/* False: the item is unusable, which ends the step. */
static bool add(cr_items *s, const message *m, cr_item_words *all)
{
    const cr_item_words *w = &m->words;
    for (int k = 0; k < CR_LOSS_PARTS; k++) all->parts[k] += w->parts[k];
    if (*w->why) {
        memcpy(all->why, w->why, sizeof all->why);
        return false;
    }
    for (size_t k = 0; k < s->count; k++) s->sum[k] += m->vector[k];
    return true;
}

static cr_status run_own(cr_items *s, int item, cr_item_fn run, void (*zero)(void *ctx), void *ctx,
                         cr_error *err)
{
    zero(ctx);
    s->message->words = (cr_item_words){0};
    CR_TRY(run(ctx, item, &s->message->words, err));
    take_numbers(s);
    return CR_OK;
}

/* Adds items first .. first + n - 1 of all processes; *go: the step goes on. */
static cr_status add_round(cr_items *s, int n, cr_item_words *all, bool *go, cr_error *err)
{
    if (cr_cluster_size() == 1) {
        *go = add(s, s->message, all);
        return CR_OK;
    }
    cr_cluster_part *parts;
    const size_t size = cr_cluster_rank() < n ? message_size(s) : 0;
    CR_TRY(cr_cluster_gather(s->message, size, &parts, err));
    for (int r = 0; r < n && *go; r++) *go = add(s, parts[r].bytes, all);
    free(parts);
    return CR_OK;
}

cr_status cr_items_run(cr_items *s, int count, cr_item_fn run, void (*zero)(void *ctx), void *ctx,
                       cr_item_words *all, cr_error *err)
{
    const int ranks = cr_cluster_size(), rank = cr_cluster_rank();
    bool go = true;
    keep_statistics(s);
    if (count == 1 && ranks == 1) { /* nothing to add */
        zero(ctx);
        return run(ctx, 0, all, err);
    }
    memset(s->sum, 0, s->count * sizeof *s->sum);
    for (int first = 0; first < count && go; first += ranks) {
        const int n = count - first < ranks ? count - first : ranks;
        const cr_status st = rank < n ? run_own(s, first + rank, run, zero, ctx, err) : CR_OK;
        CR_TRY(cr_cluster_agree(st, err));
        CR_TRY(add_round(s, n, all, &go, err));
    }
    give_sums(s);
    return CR_OK;
}
