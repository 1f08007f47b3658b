/* Every object is a task that keeps its best cells in order; what cells are taken twice is settled
 * afterwards, one cell after the other. Memory follows objects * top, never objects * cells. */
#include "train/assign_tal.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "train/loss_box.h"

typedef struct pick {
    double metric, overlap;
    uint32_t cell, object;
} pick;

typedef struct search {
    const cr_tal_options *o;
    const cr_tal_cells *cells;
    const cr_truth *truth;
    const bool *usable;
    pick *picks; /* [objects, top], best first */
    int *taken;  /* [objects] */
} search;

/* May the cell learn an object of this size, and does its centre lie inside it, widened to the smallest
 * side? */
static bool inside(const search *s, size_t object, size_t cell)
{
    const double *b = s->truth->box[object], *c = s->cells->centre[cell];
    const double longest = s->cells->longest ? s->cells->longest[cell] : 0;
    if (longest > 0 && fmax(b[2] - b[0], b[3] - b[1]) > longest) return false;
    for (int k = 0; k < 2; k++) {
        double lo = b[k], hi = b[k + 2];
        if (hi - lo < s->o->smallest) {
            const double middle = (lo + hi) / 2;
            lo = middle - s->o->smallest / 2;
            hi = middle + s->o->smallest / 2;
        }
        if (!(c[k] - lo > 1e-9 && hi - c[k] > 1e-9)) return false;
    }
    return true;
}

static pick measure(const search *s, size_t object, size_t cell)
{
    const double overlap = fmax(cr_box_ciou(s->cells->box[cell], s->truth->box[object], NULL), 0);
    pick p = {0, overlap, (uint32_t)cell, (uint32_t)object};
    if (overlap > 0)
        p.metric =
            pow(s->cells->score(s->cells->ctx, cell, s->truth->class_id[object]), s->o->alpha) *
            pow(overlap, s->o->beta);
    return p;
}

static void search_object(void *ctx, size_t object, int worker)
{
    const search *s = ctx;
    pick *best = s->picks + object * (size_t)s->o->top;
    int n = 0;
    (void)worker;
    for (size_t cell = 0; cell < s->cells->count && (!s->usable || s->usable[object]); cell++) {
        if (!inside(s, object, cell)) continue;
        const pick p = measure(s, object, cell);
        if (!(p.metric > 0) || (n == s->o->top && p.metric <= best[n - 1].metric)) continue;
        int at = n < s->o->top ? n++ : n - 1;
        for (; at > 0 && best[at - 1].metric < p.metric; at--) best[at] = best[at - 1];
        best[at] = p;
    }
    s->taken[object] = n;
}

static int by_cell(const void *a, const void *b)
{
    const pick *x = a, *y = b;
    if (x->cell != y->cell) return x->cell < y->cell ? -1 : 1;
    return (x->object > y->object) - (x->object < y->object);
}

/* Of all objects that the cell lies in, the one that its box overlaps most; the first of equals. */
static pick settle(const search *s, size_t cell)
{
    pick best = {0, -1, 0, 0};
    for (size_t object = 0; object < s->truth->count; object++) {
        if ((s->usable && !s->usable[object]) || !inside(s, object, cell)) continue;
        const pick p = measure(s, object, cell);
        if (p.overlap > best.overlap) best = p;
    }
    return best;
}

/* One pick per cell, in order of cells. */
static size_t unite(const search *s, pick *list)
{
    size_t n = 0, kept = 0;
    for (size_t object = 0; object < s->truth->count; object++)
        for (int k = 0; k < s->taken[object]; k++)
            list[n++] = s->picks[object * (size_t)s->o->top + (size_t)k];
    if (n) qsort(list, n, sizeof *list, by_cell);
    for (size_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && list[next].cell == list[i].cell;) next++;
        list[kept++] = next - i == 1 ? list[i] : settle(s, list[i].cell);
    }
    return kept;
}

static cr_status score_matches(const search *s, const pick *list, size_t n, cr_tal_match *out,
                               cr_error *err)
{
    double(*best)[2] = cr_calloc(s->truth->count, sizeof *best); /* metric, overlap per object */
    if (!best) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        double *b = best[list[i].object];
        b[0] = fmax(b[0], list[i].metric);
        b[1] = fmax(b[1], list[i].overlap);
    }
    for (size_t i = 0; i < n; i++) {
        const double *b = best[list[i].object];
        out[i] =
            (cr_tal_match){list[i].cell, list[i].object, list[i].metric * b[1] / (b[0] + 1e-9)};
    }
    cr_free(best);
    return CR_OK;
}

cr_status cr_assign_tal(const cr_tal_options *options, const cr_tal_cells *cells,
                        const cr_truth *truth, const bool *usable, cr_pool *pool,
                        cr_tal_match **out, size_t *count, cr_error *err)
{
    const size_t objects = truth->count, top = (size_t)options->top;
    search s = {options, cells, truth, usable, NULL, NULL};
    pick *list = NULL;
    cr_status st = CR_OK;
    size_t places;
    *out = NULL;
    *count = 0;
    if (!objects) return CR_OK;
    CR_CHECK(options->top >= 1 && cr_mul_size(objects, top, &places) && places < UINT32_MAX, err,
             CR_ERR_ARGUMENT, "task-aligned assignment: %d cells for each of %zu objects",
             options->top, objects);
    s.picks = cr_calloc(places, sizeof *s.picks);
    list = cr_calloc(places, sizeof *list);
    s.taken = cr_calloc(objects, sizeof *s.taken);
    if (!s.picks || !list || !s.taken) {
        st = CR_NOMEM(err);
        goto done;
    }
    cr_pool_run(pool, objects, search_object, &s);
    *count = unite(&s, list);
    *out = cr_calloc(*count + 1, sizeof **out);
    st = *out ? score_matches(&s, list, *count, *out, err) : CR_NOMEM(err);
    if (st != CR_OK) {
        cr_free(*out);
        *out = NULL;
        *count = 0;
    }
done:
    cr_free(s.picks);
    cr_free(list);
    cr_free(s.taken);
    return st;
}
