/* cr_graph_index: who writes and who reads each tensor, and a topological node order.
 *
 * Kahn's algorithm with the file order as tie-break: repeatedly sweeping would be quadratic on a
 * reversed file, so ready nodes wait in a binary heap keyed by their original position. */
#include <string.h>

#include "base/error.h"
#include "graph/graph.h"

static cr_status find_producers(cr_graph *g, cr_error *err)
{
    for (size_t i = 0; i < g->tensor_count; i++) {
        g->tensors[i]->producer = NULL;
        g->tensors[i]->uses = 0;
    }
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        n->index = (int)i;
        for (int k = 0; k < n->n_out; k++) {
            cr_tensor *t = n->out[k];
            if (!t) continue;
            CR_CHECK(!t->producer && !t->data, err, CR_ERR_FORMAT,
                     "tensor '%s' is written twice (by node '%s')", t->name, n->name);
            t->producer = n;
        }
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k]) n->in[k]->uses++;
    }
    for (size_t i = 0; i < g->output_count; i++) g->outputs[i]->uses++;
    return CR_OK;
}

static cr_status check_sources(const cr_graph *g, cr_error *err)
{
    bool *is_input = cr_calloc(g->tensor_count, sizeof *is_input);
    if (!is_input) return CR_NOMEM(err);
    cr_status st = CR_OK;
    for (size_t i = 0; i < g->input_count; i++) {
        const cr_tensor *t = g->inputs[i];
        is_input[t->id] = true;
        if (t->producer)
            st = cr_fail(err, CR_ERR_FORMAT, "graph input '%s' is written by a node", t->name);
    }
    for (size_t i = 0; i < g->tensor_count && st == CR_OK; i++) {
        const cr_tensor *t = g->tensors[i];
        if (t->uses && !t->producer && !t->data && !is_input[t->id])
            st = cr_fail(err, CR_ERR_FORMAT, "tensor '%s' is read but never written", t->name);
    }
    cr_free(is_input);
    return st;
}

typedef struct heap {
    int *items;
    size_t count;
} heap;

static void heap_push(heap *h, int value)
{
    size_t i = h->count++;
    for (; i && h->items[(i - 1) / 2] > value; i = (i - 1) / 2) h->items[i] = h->items[(i - 1) / 2];
    h->items[i] = value;
}

static int heap_pop(heap *h)
{
    const int top = h->items[0], last = h->items[--h->count];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < h->count; i = c) {
        if (c + 1 < h->count && h->items[c + 1] < h->items[c]) c++;
        if (h->items[c] >= last) break;
        h->items[i] = h->items[c];
    }
    h->items[i] = last;
    return top;
}

typedef struct edges { /* consumers of node i: to[start[i] .. start[i+1]) */
    int *start, *to, *waiting;
} edges;

static void build_edges(const cr_graph *g, edges *e)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; k++) {
            if (!n->in[k] || !n->in[k]->producer) continue;
            e->start[n->in[k]->producer->index + 1]++;
            e->waiting[i]++;
        }
    }
    for (size_t i = 0; i < g->node_count; i++) e->start[i + 1] += e->start[i];
    for (size_t i = g->node_count; i-- > 0;) {
        const cr_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] && n->in[k]->producer) {
                const int p = n->in[k]->producer->index;
                e->to[--e->start[p + 1]] = (int)i;
            }
    }
    /* the decrements turned start[p+1] into the first edge of p */
    memmove(e->start, e->start + 1, g->node_count * sizeof *e->start);
}

static size_t count_edges(const cr_graph *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->node_count; i++) n += (size_t)g->nodes[i]->n_in;
    return n;
}

static cr_status sort_nodes(cr_graph *g, cr_error *err)
{
    const size_t n = g->node_count, m = count_edges(g);
    cr_status st = CR_OK;
    edges e = {cr_calloc(n + 2, sizeof(int)), cr_calloc(m + 1, sizeof(int)),
               cr_calloc(n + 1, sizeof(int))};
    heap ready = {cr_calloc(n + 1, sizeof(int)), 0};
    cr_node **order = cr_calloc(n + 1, sizeof(cr_node *));
    if (!e.start || !e.to || !e.waiting || !ready.items || !order) {
        st = CR_NOMEM(err);
        goto done;
    }
    build_edges(g, &e);
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            total += g->nodes[i]->in[k] && g->nodes[i]->in[k]->producer;
    e.start[n] = (int)total;
    for (size_t i = 0; i < n; i++)
        if (!e.waiting[i]) heap_push(&ready, (int)i);
    size_t done_count = 0;
    while (ready.count) {
        const int i = heap_pop(&ready);
        order[done_count++] = g->nodes[i];
        for (int k = e.start[i]; k < e.start[i + 1]; k++)
            if (--e.waiting[e.to[k]] == 0) heap_push(&ready, e.to[k]);
    }
    if (done_count < n) {
        size_t i = 0;
        while (e.waiting[i] <= 0) i++;
        st = cr_fail(err, CR_ERR_FORMAT, "the graph has a cycle through node '%s' (%s)",
                     g->nodes[i]->name, g->nodes[i]->op->name);
        goto done;
    }
    if (n) memcpy(g->nodes, order, n * sizeof *order);
    for (size_t i = 0; i < n; i++) g->nodes[i]->index = (int)i;
done:
    cr_free(e.start);
    cr_free(e.to);
    cr_free(e.waiting);
    cr_free(ready.items);
    cr_free(order);
    return st;
}

static cr_status name_nodes(cr_graph *g, cr_error *err)
{
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        if (n->name[0]) continue;
        n->name = cr_arena_printf(&g->arena, "%s_%zu", n->op->name, i);
        if (!n->name) return CR_NOMEM(err);
    }
    return CR_OK;
}

cr_status cr_graph_index(cr_graph *g, cr_error *err)
{
    CR_TRY(find_producers(g, err));
    CR_TRY(check_sources(g, err));
    CR_TRY(sort_nodes(g, err));
    return name_nodes(g, err);
}
