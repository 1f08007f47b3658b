/* Three steps: which cells are a candidate of any object, and what they would cost for "no class";
 * then each object by itself (a task): its IoUs, its k, its cheapest candidates; then cells that
 * were taken twice, one after the other. Costs are computed where they are asked for: a table of
 * objects * cells would be 70 MB for a thousand objects. */
#include "train/assign_simota.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "train/loss_box.h"

enum { LARGEST_MAX = 64 };

typedef struct pick {
    double cost, iou;
    uint32_t cell, object;
} pick;

typedef struct search {
    const cr_simota_options *o;
    const cr_simota_cells *cells;
    const cr_truth *truth;
    const bool *usable;
    uint32_t *near; /* candidates of any object, ascending */
    size_t near_count;
    double *silence; /* [near] sum over the classes of -log(1 - root of score) */
    pick *picks;     /* [objects, largest] cheapest first */
    int *taken;      /* [objects] */
} search;

/* As PyTorch bounds them in a binary cross-entropy. */
static double safe_log(double x)
{
    return fmax(log(x), -100);
}

static bool is_near(const search *s, size_t object, size_t cell)
{
    const double *b = s->truth->box[object], *c = s->cells->centre[cell];
    const double reach = s->o->radius * s->cells->stride[cell];
    return (!s->usable || s->usable[object]) && fabs((b[0] + b[2]) / 2 - c[0]) < reach &&
           fabs((b[1] + b[3]) / 2 - c[1]) < reach;
}

static void mark_cell(void *ctx, size_t cell, int worker)
{
    const search *s = ctx;
    (void)worker;
    s->near[cell] = 0;
    for (size_t i = 0; i < s->truth->count && !s->near[cell]; i++)
        s->near[cell] = is_near(s, i, cell);
}

static void find_near(search *s, cr_pool *pool)
{
    cr_pool_run(pool, s->cells->count, mark_cell, s);
    for (size_t cell = 0; cell < s->cells->count; cell++)
        if (s->near[cell]) s->near[s->near_count++] = (uint32_t)cell;
}

static double root(const search *s, size_t cell, int class_id)
{
    return sqrt(s->cells->score(s->cells->ctx, cell, class_id));
}

static void silence_cell(void *ctx, size_t index, int worker)
{
    const search *s = ctx;
    double sum = 0;
    (void)worker;
    for (int k = 0; k < s->cells->classes; k++) sum -= safe_log(1 - root(s, s->near[index], k));
    s->silence[index] = sum;
}

static pick measure(const search *s, size_t object, size_t index)
{
    const size_t cell = s->near[index];
    const double p = root(s, cell, s->truth->class_id[object]);
    const double iou = cr_box_iou(s->cells->box[cell], s->truth->box[object], NULL);
    const double classes = s->silence[index] + safe_log(1 - p) - safe_log(p);
    return (pick){classes - s->o->iou_weight * log(iou + 1e-8), iou, (uint32_t)cell,
                  (uint32_t)object};
}

/* How many cells the object takes. */
static int share_of(const search *s, size_t object)
{
    double best[LARGEST_MAX], sum = 0;
    int n = 0;
    for (size_t i = 0; i < s->near_count; i++) {
        const double iou = cr_box_iou(s->cells->box[s->near[i]], s->truth->box[object], NULL);
        if (n == s->o->largest && iou <= best[n - 1]) continue;
        int at = n < s->o->largest ? n++ : n - 1;
        for (; at > 0 && best[at - 1] < iou; at--) best[at] = best[at - 1];
        best[at] = iou;
    }
    for (int i = 0; i < n; i++) sum += best[i];
    return sum < 1 ? 1 : (int)sum;
}

static void search_object(void *ctx, size_t object, int worker)
{
    const search *s = ctx;
    pick *best = s->picks + object * (size_t)s->o->largest;
    int n = 0;
    (void)worker;
    s->taken[object] = 0;
    if (s->usable && !s->usable[object]) return;
    const int share = share_of(s, object);
    for (size_t i = 0; i < s->near_count; i++) {
        if (!is_near(s, object, s->near[i])) continue;
        const pick p = measure(s, object, i);
        if (n == share && p.cost >= best[n - 1].cost) continue;
        int at = n < share ? n++ : n - 1;
        for (; at > 0 && best[at - 1].cost > p.cost; at--) best[at] = best[at - 1];
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

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static pick settle(const search *s, uint32_t cell)
{
    const uint32_t *found = bsearch(&cell, s->near, s->near_count, sizeof cell, by_number);
    pick best = {INFINITY, 0, 0, 0};
    for (size_t object = 0; object < s->truth->count; object++) {
        if (!is_near(s, object, cell)) continue;
        const pick p = measure(s, object, (size_t)(found - s->near));
        if (p.cost < best.cost) best = p;
    }
    return best;
}

static size_t unite(const search *s, pick *list)
{
    size_t n = 0, kept = 0;
    for (size_t object = 0; object < s->truth->count; object++)
        for (int k = 0; k < s->taken[object]; k++)
            list[n++] = s->picks[object * (size_t)s->o->largest + (size_t)k];
    if (n) qsort(list, n, sizeof *list, by_cell);
    for (size_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && list[next].cell == list[i].cell;) next++;
        list[kept++] = next - i == 1 ? list[i] : settle(s, list[i].cell);
    }
    return kept;
}

cr_status cr_assign_simota(const cr_simota_options *options, const cr_simota_cells *cells,
                           const cr_truth *truth, const bool *usable, cr_pool *pool,
                           cr_simota_match **out, size_t *count, cr_error *err)
{
    const size_t objects = truth->count;
    search s = {options, cells, truth, usable};
    pick *list = NULL;
    cr_status st = CR_OK;
    size_t places;
    *out = NULL;
    *count = 0;
    if (!objects) return CR_OK;
    CR_CHECK(options->largest >= 1 && options->largest <= LARGEST_MAX &&
                 cr_mul_size(objects, (size_t)options->largest, &places) && places < UINT32_MAX,
             err, CR_ERR_ARGUMENT, "SimOTA: %d cells for each of %zu objects", options->largest,
             objects);
    s.near = cr_calloc(cells->count, sizeof *s.near);
    s.silence = cr_calloc(cells->count, sizeof *s.silence);
    s.picks = cr_calloc(places, sizeof *s.picks);
    list = cr_calloc(places, sizeof *list);
    s.taken = cr_calloc(objects, sizeof *s.taken);
    if (s.near && s.silence && s.picks && list && s.taken) {
        find_near(&s, pool);
        cr_pool_run(pool, s.near_count, silence_cell, &s);
        cr_pool_run(pool, objects, search_object, &s);
        *count = unite(&s, list);
        *out = cr_calloc(*count + 1, sizeof **out);
    }
    for (size_t i = 0; *out && i < *count; i++)
        (*out)[i] = (cr_simota_match){list[i].cell, list[i].object, list[i].iou};
    if (!*out) {
        st = CR_NOMEM(err);
        *count = 0;
    }
    cr_free(s.near);
    cr_free(s.silence);
    cr_free(s.picks);
    cr_free(list);
    cr_free(s.taken);
    return st;
}
