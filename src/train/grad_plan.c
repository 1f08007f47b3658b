/* Greedy placement by size (Pisarchyk & Lee 2020). */
#include "train/grad_plan.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"

static int by_size(const void *a, const void *b)
{
    const cr_grad_span *x = *(cr_grad_span *const *)a, *y = *(cr_grad_span *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x > y) - (x < y); /* both are in one array */
}

/* The lowest free place among done[0..n), which are in order of place. */
static size_t lowest_place(cr_grad_span *const *done, size_t n, const cr_grad_span *s)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const cr_grad_span *d = done[i];
        if (d->last < s->first || s->last < d->first) continue;
        if (d->place >= at && d->place - at >= s->bytes) break;
        if (d->place + d->bytes > at) at = d->place + d->bytes;
    }
    return at;
}

static void insert(cr_grad_span **done, size_t n, cr_grad_span *s)
{
    for (; n > 0 && done[n - 1]->place > s->place; n--) done[n] = done[n - 1];
    done[n] = s;
}

cr_status cr_grad_place(cr_grad_span *spans, size_t n, size_t *total, cr_error *err)
{
    cr_grad_span **order = cr_calloc(2 * n + 1, sizeof *order), **done = order ? order + n : NULL;
    size_t count = 0;
    *total = 0;
    if (!order) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++)
        if (spans[i].bytes) order[count++] = &spans[i];
    qsort(order, count, sizeof *order, by_size);
    for (size_t i = 0; i < count; i++) {
        order[i]->place = lowest_place(done, i, order[i]);
        insert(done, i, order[i]);
        if (order[i]->place + order[i]->bytes > *total) *total = order[i]->place + order[i]->bytes;
    }
    cr_free(order);
    return CR_OK;
}
