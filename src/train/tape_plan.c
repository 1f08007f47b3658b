/* Lifetimes, cuts, replays. See tape_plan.h. */
#include "train/tape_plan.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "train/grad_plan.h"

typedef struct planner {
    const cr_plan_step *steps;
    size_t n, tensors;
    const size_t *values, *gradients;
    int *producer;      /* [tensors] step, -1: none */
    int *last_reader;   /* [tensors] in forward */
    bool *stored;       /* [tensors] */
    bool *wanted;       /* [n] steps to be run again at this time */
    cr_grad_span *span; /* [3 * tensors] values, replayed values, gradients */
    int *replay;
    size_t *replay_from, replay_count, replay_cap;
} planner;

static int later(int a, int b)
{
    return a > b ? a : b;
}

static cr_status prepare(planner *p, cr_error *err)
{
    p->producer = cr_calloc(p->tensors + 1, sizeof *p->producer);
    p->last_reader = cr_calloc(p->tensors + 1, sizeof *p->last_reader);
    p->stored = cr_calloc(p->tensors + 1, sizeof *p->stored);
    p->wanted = cr_calloc(p->n + 1, sizeof *p->wanted);
    p->span = cr_calloc(3 * p->tensors + 1, sizeof *p->span);
    p->replay_from = cr_calloc(p->n + 1, sizeof *p->replay_from);
    if (!p->producer || !p->last_reader || !p->stored || !p->wanted || !p->span || !p->replay_from)
        return CR_NOMEM(err);
    for (size_t t = 0; t < p->tensors; t++) p->producer[t] = p->last_reader[t] = -1;
    for (size_t i = 0; i < p->n; i++) {
        const cr_plan_step *s = &p->steps[i];
        for (int k = 0; s->runs && k < s->n_in; k++)
            if (s->in[k]) p->last_reader[s->in[k]->id] = (int)i;
        for (int k = 0; s->runs && k < s->n_out; k++)
            if (s->out[k]) p->producer[s->out[k]->id] = (int)i;
    }
    return CR_OK;
}

static void drop(planner *p)
{
    cr_free(p->producer);
    cr_free(p->last_reader);
    cr_free(p->stored);
    cr_free(p->wanted);
    cr_free(p->span);
    cr_free(p->replay);
    cr_free(p->replay_from);
}

/* ---- what is stored ---- */

static void store_all(planner *p)
{
    for (size_t t = 0; t < p->tensors; t++)
        p->stored[t] = p->producer[t] < 0 || !p->steps[p->producer[t]].cheap;
}

/* Bytes that are alive between step i and the next. */
static size_t crossing(const planner *p, int i)
{
    size_t sum = 0;
    for (size_t t = 0; t < p->tensors; t++)
        if (p->producer[t] >= 0 && p->producer[t] <= i && p->last_reader[t] > i)
            sum += p->values[t];
    return sum;
}

static size_t made_by(const planner *p, size_t i)
{
    size_t sum = 0;
    const cr_plan_step *s = &p->steps[i];
    for (int k = 0; k < s->n_out; k++)
        if (s->out[k] && !s->cheap) sum += p->values[s->out[k]->id];
    return sum;
}

/* What crosses cuts that lie about `piece` bytes of values apart, each where least crosses. */
static void store_cuts(planner *p, size_t piece, const size_t *cross)
{
    for (size_t t = 0; t < p->tensors; t++)
        p->stored[t] = p->producer[t] < 0 || !p->steps[p->producer[t]].replays;
    size_t made = 0;
    int best = -1;
    for (size_t i = 0; i < p->n; i++) {
        made += made_by(p, i);
        if (made >= piece / 2 && (best < 0 || cross[i] <= cross[best])) best = (int)i;
        if (made < piece + piece / 2 || best < 0) continue;
        for (size_t t = 0; t < p->tensors; t++)
            if (p->producer[t] <= best && p->last_reader[t] > best) p->stored[t] = true;
        made = 0;
        for (size_t k = (size_t)best + 1; k <= i; k++) made += made_by(p, k);
        best = -1;
    }
}

/* ---- lifetimes ---- */

/* The value must be there at time `at`. */
static size_t want(planner *p, const cr_tensor *t, int at)
{
    if (!t || !p->values[t->id] || p->producer[t->id] < 0) return 0;
    cr_grad_span *value = &p->span[t->id], *replayed = &p->span[p->tensors + t->id];
    if (p->stored[t->id]) {
        value->last = later(value->last, at);
        return 0;
    }
    if (replayed->bytes) {
        replayed->last = later(replayed->last, at);
        return 0;
    }
    const int producer = p->producer[t->id];
    const size_t news = !p->wanted[producer];
    p->wanted[producer] = true;
    return news;
}

static cr_status replay_one(planner *p, int step, int at, cr_error *err)
{
    const cr_plan_step *s = &p->steps[step];
    if (!cr_grow((void **)&p->replay, &p->replay_cap, p->replay_count, sizeof *p->replay))
        return CR_NOMEM(err);
    p->replay[p->replay_count++] = step;
    for (int k = 0; k < s->n_out; k++)
        if (s->out[k])
            p->span[p->tensors + s->out[k]->id] =
                (cr_grad_span){at, at, p->values[s->out[k]->id], 0};
    return CR_OK;
}

/* Steps to be run again before backward of step i: from i downwards, each adds what it reads. */
static cr_status find_replays(planner *p, int i, cr_error *err)
{
    const cr_plan_step *s = &p->steps[i];
    const int at = 2 * (int)p->n - 1 - i;
    const size_t from = p->replay_count;
    size_t left = 0;
    p->replay_from[i] = from;
    for (int k = 0; s->backward && s->reads_in && k < s->n_in; k++) left += want(p, s->in[k], at);
    for (int k = 0; s->backward && s->reads_out && k < s->n_out; k++)
        left += want(p, s->out[k], at);
    for (int j = i; left > 0; j--) {
        if (!p->wanted[j]) continue;
        p->wanted[j] = false;
        left--;
        CR_TRY(replay_one(p, j, at, err));
        for (int k = 0; k < p->steps[j].n_in; k++) left += want(p, p->steps[j].in[k], at);
    }
    for (size_t a = from, b = p->replay_count; a + 1 < b; a++) { /* in forward order */
        const int other = p->replay[--b];
        p->replay[b] = p->replay[a];
        p->replay[a] = other;
    }
    return CR_OK;
}

static void span_gradients(planner *p)
{
    const int end = 2 * (int)p->n;
    for (size_t t = 0; t < p->tensors; t++) {
        const int made = p->producer[t] < 0 ? end : end - 1 - p->producer[t];
        p->span[2 * p->tensors + t] = (cr_grad_span){made, made, p->gradients[t], 0};
    }
    for (size_t i = 0; i < p->n; i++)
        for (int k = 0; p->steps[i].backward && k < p->steps[i].n_in; k++) {
            const cr_tensor *x = p->steps[i].in[k];
            if (!x) continue;
            cr_grad_span *s = &p->span[2 * p->tensors + x->id];
            if (end - 1 - (int)i < s->first) s->first = end - 1 - (int)i;
        }
}

/* All spans for what is stored now; *total: the block. */
static cr_status place(planner *p, size_t *total, cr_error *err)
{
    p->replay_count = 0;
    for (size_t t = 0; t < p->tensors; t++) {
        const int made = p->producer[t];
        p->span[t] = (cr_grad_span){later(made, 0), later(made, p->last_reader[t]),
                                    made < 0 ? 0 : p->values[t], 0};
        p->span[p->tensors + t] = (cr_grad_span){0};
    }
    span_gradients(p);
    for (size_t i = p->n; i-- > 0;) CR_TRY(find_replays(p, (int)i, err));
    return cr_grad_place(p->span, 3 * p->tensors, total, err);
}

/* Pieces of a half to a sixteenth of all values. */
static cr_status choose_cuts(planner *p, size_t *total, cr_error *err)
{
    enum { MOST_PIECES = 16 };
    size_t all = 0, best = *total;
    int pieces = 0;
    size_t *cross = cr_calloc(p->n + 1, sizeof *cross);
    if (!cross) return CR_NOMEM(err);
    cr_status st = CR_OK;
    for (size_t i = 0; i < p->n; i++) {
        cross[i] = crossing(p, (int)i);
        all += made_by(p, i);
    }
    for (int k = 2; k <= MOST_PIECES; k++) {
        store_cuts(p, all / (size_t)k, cross);
        CR_TRY_GOTO(place(p, total, err), done);
        if (*total < best) best = *total, pieces = k;
    }
    if (pieces)
        store_cuts(p, all / (size_t)pieces, cross);
    else
        store_all(p);
    st = place(p, total, err);
done:
    cr_free(cross);
    return st;
}

static cr_status hand_over(planner *p, cr_tape_plan *out, cr_error *err)
{
    size_t **const places[3] = {&out->value, &out->replayed, &out->gradient};
    for (int k = 0; k < 3; k++) {
        *places[k] = cr_calloc(p->tensors + 1, sizeof(size_t));
        if (!*places[k]) return CR_NOMEM(err);
        for (size_t t = 0; t < p->tensors; t++)
            (*places[k])[t] = p->span[(size_t)k * p->tensors + t].place;
    }
    /* found from the last step to the first: replays of step i end where those of i - 1 begin */
    out->replay = p->replay;
    p->replay = NULL;
    out->replay_from = p->replay_from;
    p->replay_from = NULL;
    out->replay_count = p->replay_count;
    return CR_OK;
}

cr_status cr_tape_plan_make(const cr_plan_step *steps, size_t step_count, const size_t *values,
                            const size_t *gradients, size_t tensors, bool recompute,
                            cr_tape_plan *out, cr_error *err)
{
    planner p = {.steps = steps,
                 .n = step_count,
                 .tensors = tensors,
                 .values = values,
                 .gradients = gradients};
    *out = (cr_tape_plan){0};
    cr_status st = prepare(&p, err);
    if (st == CR_OK) {
        store_all(&p);
        st = place(&p, &out->bytes, err);
    }
    if (st == CR_OK && recompute) st = choose_cuts(&p, &out->bytes, err);
    if (st == CR_OK) st = hand_over(&p, out, err);
    if (st != CR_OK) cr_tape_plan_free(out);
    drop(&p);
    return st;
}

void cr_tape_plan_free(cr_tape_plan *p)
{
    cr_free(p->value);
    cr_free(p->replayed);
    cr_free(p->gradient);
    cr_free(p->replay);
    cr_free(p->replay_from);
    *p = (cr_tape_plan){0};
}

const int *cr_tape_plan_replays(const cr_tape_plan *p, size_t step, size_t *count)
{
    const size_t from = p->replay_from[step];
    *count = (step == 0 ? p->replay_count : p->replay_from[step - 1]) - from;
    return p->replay + from;
}
