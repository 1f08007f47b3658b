/* Places every root value in one block. Greedy by size (Pisarchyk & Lee 2020, "greedy by size"):
 * largest first, each at the lowest offset where it overlaps no value that lives at the same time.
 * Views do not own memory; they stretch their root's lifetime. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/program.h"

/* More than any detector needs; a hostile model of a few bytes could ask for terabytes. */
static const size_t memory_limit = (size_t)8 << 30;

static void touch(cr_program *p, int v, int step)
{
    if (v < 0 || p->values[v].fixed || p->values[v].dynamic) return;
    cr_value *root = &p->values[p->values[v].root];
    if (root->first < 0 || step < root->first) root->first = step;
    if (step > root->last) root->last = step;
}

static void find_lifetimes(cr_program *p)
{
    for (size_t i = 0; i < p->step_count; i++) {
        const cr_step *s = &p->steps[i];
        for (int k = 0; k < s->n_in; k++) touch(p, s->in[k], (int)i);
        for (int k = 0; k < s->n_out; k++) touch(p, s->out[k], (int)i);
        if (s->scratch > p->scratch_bytes) p->scratch_bytes = s->scratch;
    }
    for (size_t i = 0; i < p->graph->input_count; i++) {
        touch(p, p->inputs[i], 0);
        touch(p, p->inputs[i], (int)p->step_count); /* a caller may run twice on one input */
    }
    for (size_t i = 0; i < p->graph->output_count; i++)
        touch(p, p->outputs[i], (int)p->step_count);
}

typedef struct placed {
    size_t place, bytes;
    int first, last;
    int value;
} placed;

static int by_size(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x->value > y->value) - (x->value < y->value);
}

static int by_place(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

/* Lowest offset at which `item` fits between the overlapping ones among done[0..n). */
static size_t lowest_fit(const placed *done, size_t n, const placed *item, placed *busy)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        if (done[i].first <= item->last && item->first <= done[i].last) busy[count++] = done[i];
    qsort(busy, count, sizeof *busy, by_place);
    for (size_t i = 0; i < count; i++) {
        if (busy[i].place >= at && busy[i].place - at >= item->bytes) return at;
        if (busy[i].place + busy[i].bytes > at) at = busy[i].place + busy[i].bytes;
    }
    return at;
}

cr_status cr_program_plan(cr_program *p, cr_error *err)
{
    find_lifetimes(p);
    placed *items = cr_calloc(p->value_count, sizeof *items);
    placed *busy = cr_calloc(p->value_count, sizeof *busy);
    if (!items || !busy) {
        cr_free(items);
        cr_free(busy);
        return CR_NOMEM(err);
    }
    size_t n = 0;
    for (size_t i = 0; i < p->value_count; i++) {
        const cr_value *v = &p->values[i];
        if (v->root != (int)i || v->first < 0) continue;
        items[n++] = (placed){0, cr_round_up(v->bytes ? v->bytes : 1, CR_ALIGN), v->first, v->last,
                              (int)i};
    }
    qsort(items, n, sizeof *items, by_size);
    for (size_t i = 0; i < n; i++) {
        items[i].place = lowest_fit(items, i, &items[i], busy);
        p->values[items[i].value].place = items[i].place;
        if (items[i].place + items[i].bytes > p->block_bytes)
            p->block_bytes = items[i].place + items[i].bytes;
    }
    cr_free(items);
    cr_free(busy);
    const size_t larger = p->block_bytes > p->scratch_bytes ? p->block_bytes : p->scratch_bytes;
    CR_CHECK(larger <= memory_limit, err, CR_ERR_LIMIT,
             "the model needs %zu MiB for activations, more than the limit of %zu MiB: use a smaller "
             "input", larger >> 20, memory_limit >> 20);
    return CR_OK;
}
