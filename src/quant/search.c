/* Greedy by loss saved per cost, then verified.
 *
 *     loss |x                       each layer starts at its cheapest choice; the step that saves
 * most | \                      loss per cost is taken first, whatever layer it belongs to: with |
 * x--.__                losses and costs that add up, this walks along the lower convex | ''x____x
 * hull of all combinations, so every point of the path is the best
 *          +---------------- cost   that its cost can buy (Lagrangian relaxation: Shoham & Gersho
 * 1988)
 *
 * Estimated losses only order the steps. How many are needed is measured: the measured loss falls
 * along the path but for noise, so bisection finds the place in a few measurements. Rejected:
 * integer programming on the estimates (HAWQ-V3, Yao et al. 2021): exact on numbers that are not.
 */
#include "quant/search.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

static int cheapest(const cr_search_table *t, size_t layer)
{
    const double *cost = t->cost[layer], *loss = t->loss[layer];
    int best = -1;
    for (int c = 0; c < CR_SEARCH_CHOICES; c++) {
        if (isinf(cost[c]) || (c == t->limited && t->limit < t->layers)) continue;
        if (best < 0 || cost[c] < cost[best] || (cost[c] == cost[best] && loss[c] < loss[best]))
            best = c;
    }
    return best;
}

/* Loss saved per cost; a step that costs nothing is worth more than any other. */
static double worth(const cr_search_table *t, size_t layer, int from, int to)
{
    const double saved = t->loss[layer][from] - t->loss[layer][to];
    const double paid = t->cost[layer][to] - t->cost[layer][from];
    if (isinf(t->cost[layer][to]) || !(saved > 0)) return 0;
    return paid > 0 ? saved / paid : INFINITY;
}

static bool best_step(const cr_search_table *t, const int *choice, size_t limited,
                      cr_search_step *out)
{
    double most = 0;
    for (size_t i = 0; i < t->layers; i++)
        for (int c = 0; c < CR_SEARCH_CHOICES; c++) {
            if (c == t->limited && limited >= t->limit) continue;
            const double w = worth(t, i, choice[i], c);
            if (w <= most) continue; /* of equals the first */
            most = w;
            *out = (cr_search_step){i, choice[i], c};
        }
    return most > 0;
}

cr_status cr_search_find_path(const cr_search_table *t, cr_search_path *out, cr_error *err)
{
    cr_search_step step;
    size_t limited = 0;
    cr_status st = CR_OK;
    int *choice = cr_calloc(t->layers + 1, sizeof *choice);
    *out = (cr_search_path){cr_calloc(t->layers + 1, sizeof *out->start),
                            cr_calloc(t->layers * CR_SEARCH_CHOICES + 1, sizeof *out->steps), 0};
    if (!choice || !out->start || !out->steps) {
        st = CR_NOMEM(err);
        goto done;
    }
    for (size_t i = 0; i < t->layers; i++) {
        choice[i] = out->start[i] = cheapest(t, i);
        if (choice[i] < 0) {
            st = cr_fail(err, CR_ERR_ARGUMENT, "layer %zu has no choice at all", i);
            goto done;
        }
    }
    while (best_step(t, choice, limited, &step)) { /* losses fall, so it ends */
        limited += (step.to == t->limited) - (step.from == t->limited);
        choice[step.layer] = step.to;
        out->steps[out->count++] = step;
    }
done:
    cr_free(choice);
    if (st != CR_OK) cr_search_path_release(out);
    return st;
}

void cr_search_path_release(cr_search_path *p)
{
    cr_free(p->start);
    cr_free(p->steps);
    *p = (cr_search_path){0};
}

void cr_search_choices(const cr_search_table *t, const cr_search_path *p, size_t steps, int *choice)
{
    memcpy(choice, p->start, t->layers * sizeof *choice);
    for (size_t i = 0; i < steps && i < p->count; i++) choice[p->steps[i].layer] = p->steps[i].to;
}

typedef struct runner {
    const cr_search_table *table;
    cr_search_path path;
    cr_search_measure measure;
    void *user;
} runner;

static cr_status try_steps(runner *r, size_t steps, int *choice, bool *within, cr_error *err)
{
    cr_search_choices(r->table, &r->path, steps, choice);
    return r->measure(r->user, choice, within, err);
}

/* The smallest number of steps that is within the budget, were the loss to fall steadily; the
 * answer has been measured. */
static cr_status bisect(runner *r, int *choice, size_t *steps, bool *found, cr_error *err)
{
    size_t low = 0, high = r->path.count; /* all below `low` are not, `high` is */
    bool within;
    CR_TRY(try_steps(r, 0, choice, &within, err));
    *steps = 0;
    *found = within;
    if (within) return CR_OK;
    CR_TRY(try_steps(r, high, choice, found, err));
    *steps = high;
    if (!*found) return CR_OK;
    for (low = 1; low < high;) {
        const size_t middle = (low + high) / 2;
        CR_TRY(try_steps(r, middle, choice, &within, err));
        if (within)
            high = middle;
        else
            low = middle + 1;
    }
    *steps = high;
    return CR_OK;
}

/* A step may be taken back if it is its layer's last and has been paid for. */
static bool can_take_back(const runner *r, const int *choice, const cr_search_step *s)
{
    return choice[s->layer] == s->to &&
           r->table->cost[s->layer][s->to] > r->table->cost[s->layer][s->from];
}

static size_t count_limited(const cr_search_table *t, const int *choice)
{
    size_t n = 0;
    for (size_t i = 0; i < t->layers; i++) n += choice[i] == t->limited;
    return n;
}

/* From the last step backwards, for the last bought least. */
static cr_status take_back(runner *r, size_t steps, size_t repairs, int *choice, cr_error *err)
{
    for (size_t i = steps; i-- > 0 && repairs > 0;) {
        const cr_search_step *s = &r->path.steps[i];
        bool within;
        if (!can_take_back(r, choice, s)) continue;
        choice[s->layer] = s->from;
        if (count_limited(r->table, choice) > r->table->limit) {
            choice[s->layer] = s->to;
            continue;
        }
        repairs--;
        CR_TRY(r->measure(r->user, choice, &within, err));
        if (!within) choice[s->layer] = s->to;
    }
    return CR_OK;
}

cr_status cr_search_run(const cr_search_table *t, size_t repairs, cr_search_measure measure,
                        void *user, int *choice, bool *found, cr_error *err)
{
    runner r = {.table = t, .measure = measure, .user = user};
    size_t steps = 0;
    *found = false;
    CR_TRY(cr_search_find_path(t, &r.path, err));
    cr_status st = bisect(&r, choice, &steps, found, err);
    cr_search_choices(t, &r.path, steps, choice);
    /* the step before the last is what bisection has found to be too cheap */
    if (st == CR_OK && *found && steps > 1) st = take_back(&r, steps - 1, repairs, choice, err);
    cr_search_path_release(&r.path);
    return st;
}
