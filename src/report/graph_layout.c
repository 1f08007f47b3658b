/* Layered drawing (Sugiyama, Tagawa & Toda 1981): a node lies one layer below the lowest of those it
 * reads; an edge that crosses layers gets a narrow stand-in in each; layers are put in the order of
 * their neighbours' mean places, up and down in turn; places follow from the order.
 *
 * The last step is exact for one layer at a time: of all places that keep order and distance, those
 * nearest to what the neighbours ask for, in least squares. With the distances subtracted that is
 * isotonic regression, which pooling adjacent violators solves in linear time (Ayer et al. 1955).
 * Rejected: dot's network simplex, four times the code for a picture that people zoom through. */
#include "report/graph_layout.h"

#include <stdlib.h>

#include "base/mem.h"

enum { MOST_CELLS = 200000, ORDER_SWEEPS = 12, PLACE_SWEEPS = 16 };

typedef struct cell {
    int rank;
    int node;         /* -1: stands in for an edge */
    double x, want;
    int up, up_count, down, down_count; /* neighbours: links[up ...] */
} cell;

typedef struct net {
    cell *cells;
    int count;
    int (*joint)[2];  /* cells of neighbouring ranks */
    int joints;
    int *links;
    int *order;       /* cells, rank by rank */
    int *rank_first;  /* [ranks + 1] */
    int ranks;
    struct pool *pools;
    struct ask *asks;
} net;

/* For sorting a layer; `at` keeps equal ones as they are. */
typedef struct ask {
    double want;
    int cell, at;
} ask;

/* Places that stick together: mean of what they ask for, minus their offsets. */
typedef struct pool {
    double sum, weight;
    int count;
} pool;

static double width_of(const cell *c)
{
    return c->node >= 0 ? CR_LAYOUT_NODE : CR_LAYOUT_WAY;
}

/* ---- the cells ---- */

static void find_ranks(int nodes, const cr_layout_edge *edges, size_t n, int *rank)
{
    /* edges come by their readers, and nodes in topological order: one pass is enough */
    for (size_t e = 0; e < n; e++)
        if (rank[edges[e].to] <= rank[edges[e].from]) rank[edges[e].to] = rank[edges[e].from] + 1;
}

static int add_cell(net *g, int rank, int node)
{
    g->cells[g->count] = (cell){.rank = rank, .node = node};
    return g->count++;
}

static void join(net *g, int above, int below)
{
    g->joint[g->joints][0] = above;
    g->joint[g->joints++][1] = below;
    g->cells[above].down_count++;
    g->cells[below].up_count++;
}

static void fill(net *g, int nodes, cr_layout_edge *edges, size_t n, const int *rank)
{
    size_t ways = 0;
    for (int i = 0; i < nodes; i++) add_cell(g, rank[i], i);
    for (size_t e = 0; e < n; e++) {
        int above = edges[e].from;
        edges[e].first = ways;
        edges[e].ways = rank[edges[e].to] - rank[edges[e].from] - 1;
        ways += (size_t)edges[e].ways;
        for (int r = rank[edges[e].from] + 1; r < rank[edges[e].to]; r++) {
            const int way = add_cell(g, r, -1);
            join(g, above, way);
            above = way;
        }
        join(g, above, edges[e].to);
    }
}

static void link_up(net *g)
{
    int at = 0;
    for (int i = 0; i < g->count; i++) {
        cell *c = &g->cells[i];
        c->up = at;
        c->down = at + c->up_count;
        at += c->up_count + c->down_count;
        c->up_count = c->down_count = 0;
    }
    for (int j = 0; j < g->joints; j++) {
        cell *above = &g->cells[g->joint[j][0]], *below = &g->cells[g->joint[j][1]];
        g->links[above->down + above->down_count++] = g->joint[j][1];
        g->links[below->up + below->up_count++] = g->joint[j][0];
    }
}

static void divide_ranks(net *g)
{
    for (int i = 0; i < g->count; i++) g->rank_first[g->cells[i].rank + 1]++;
    for (int r = 0; r < g->ranks; r++) g->rank_first[r + 1] += g->rank_first[r];
    int *next = g->links + 2 * (size_t)g->joints; /* room for [ranks] behind the links */
    for (int r = 0; r < g->ranks; r++) next[r] = g->rank_first[r];
    for (int i = 0; i < g->count; i++) g->order[next[g->cells[i].rank]++] = i;
}

/* ---- order and places ---- */

/* Mean place of the neighbours above (or below); its own without any. */
static double wanted(const net *g, const cell *c, bool above)
{
    const int n = above ? c->up_count : c->down_count, first = above ? c->up : c->down;
    double sum = 0;
    for (int i = 0; i < n; i++) sum += g->cells[g->links[first + i]].x;
    return n ? sum / n : c->x;
}

static int by_want(const void *a, const void *b)
{
    const ask *x = a, *y = b;
    if (x->want != y->want) return x->want < y->want ? -1 : 1;
    return x->at - y->at;
}

static void sort_rank(net *g, int r)
{
    int *o = g->order + g->rank_first[r];
    const int n = g->rank_first[r + 1] - g->rank_first[r];
    for (int i = 0; i < n; i++) g->asks[i] = (ask){g->cells[o[i]].want, o[i], i};
    qsort(g->asks, (size_t)n, sizeof *g->asks, by_want);
    for (int i = 0; i < n; i++) o[i] = g->asks[i].cell;
}

/* Least squares of want under order and distance. */
static void place_rank(net *g, int r)
{
    const int *o = g->order + g->rank_first[r];
    const int n = g->rank_first[r + 1] - g->rank_first[r];
    int used = 0;
    double offset = 0;
    for (int i = 0; i < n; i++) {
        const cell *c = &g->cells[o[i]];
        if (i) offset += (width_of(&g->cells[o[i - 1]]) + width_of(c)) / 2;
        const double weight = c->node >= 0 ? 1 : 3; /* long edges are to be straight */
        g->pools[used++] = (pool){weight * (c->want - offset), weight, 1};
        while (used > 1 && g->pools[used - 2].sum / g->pools[used - 2].weight >
                               g->pools[used - 1].sum / g->pools[used - 1].weight) {
            pool *a = &g->pools[used - 2], *b = &g->pools[--used];
            *a = (pool){a->sum + b->sum, a->weight + b->weight, a->count + b->count};
        }
    }
    offset = 0;
    for (int k = 0, i = 0; k < used; k++)
        for (int m = 0; m < g->pools[k].count; m++, i++) {
            cell *c = &g->cells[o[i]];
            if (i) offset += (width_of(&g->cells[o[i - 1]]) + width_of(c)) / 2;
            c->x = g->pools[k].sum / g->pools[k].weight + offset;
        }
}

static void sweep(net *g, bool down, bool reorder)
{
    for (int i = 0; i < g->ranks; i++) {
        const int r = down ? i : g->ranks - 1 - i;
        for (int k = g->rank_first[r]; k < g->rank_first[r + 1]; k++) {
            cell *c = &g->cells[g->order[k]];
            c->want = wanted(g, c, down);
        }
        if (reorder) sort_rank(g, r);
        place_rank(g, r);
    }
}

static void arrange(net *g)
{
    for (int r = 0; r < g->ranks; r++) {
        double x = 0;
        for (int k = g->rank_first[r]; k < g->rank_first[r + 1]; k++) {
            cell *c = &g->cells[g->order[k]];
            c->x = x + width_of(c) / 2;
            x += width_of(c);
        }
    }
    for (int i = 0; i < ORDER_SWEEPS; i++) sweep(g, i % 2 == 0, true);
    for (int i = 0; i < PLACE_SWEEPS; i++) sweep(g, i % 2 == 0, false);
}

static void read_places(const net *g, int nodes, cr_layout *out)
{
    double least = 0, most = 0;
    for (int i = 0; i < g->count; i++) {
        const cell *c = &g->cells[i];
        if (!i || c->x - width_of(c) / 2 < least) least = c->x - width_of(c) / 2;
        if (!i || c->x + width_of(c) / 2 > most) most = c->x + width_of(c) / 2;
    }
    for (int i = 0; i < nodes; i++) out->x[i] = g->cells[i].x - least;
    for (int i = nodes; i < g->count; i++) out->way[i - nodes] = g->cells[i].x - least;
    out->width = most - least;
    out->ranks = g->ranks;
}

/* ---- the whole ---- */

static cr_status count_cells(int nodes, const cr_layout_edge *edges, size_t n, const int *rank, int *cells,
                             cr_error *err)
{
    int64_t all = nodes;
    for (size_t e = 0; e < n; e++) all += rank[edges[e].to] - rank[edges[e].from] - 1;
    CR_CHECK(all + (int64_t)n <= MOST_CELLS, err, CR_ERR_LIMIT, "the graph is too large to be drawn");
    *cells = (int)all;
    return CR_OK;
}

static bool get_room(net *g, cr_layout *out, int nodes, int cells, size_t edges)
{
    const size_t joints = (size_t)(cells - nodes) + edges;
    g->cells = cr_calloc((size_t)cells + 1, sizeof *g->cells);
    g->joint = cr_calloc(joints + 1, sizeof *g->joint);
    g->links = cr_calloc(2 * joints + (size_t)g->ranks + 1, sizeof *g->links);
    g->order = cr_calloc((size_t)cells + 1, sizeof *g->order);
    g->rank_first = cr_calloc((size_t)g->ranks + 1, sizeof *g->rank_first);
    g->pools = cr_calloc((size_t)cells + 1, sizeof *g->pools);
    g->asks = cr_calloc((size_t)cells + 1, sizeof *g->asks);
    out->x = cr_calloc((size_t)nodes + 1, sizeof *out->x);
    out->way = cr_calloc((size_t)(cells - nodes) + 1, sizeof *out->way);
    return g->cells && g->joint && g->links && g->order && g->rank_first && g->pools && g->asks && out->x && out->way;
}

cr_status cr_layout_make(int nodes, cr_layout_edge *edges, size_t n, cr_layout *out, cr_error *err)
{
    net g = {0};
    int cells = 0;
    *out = (cr_layout){.rank = cr_calloc((size_t)nodes + 1, sizeof *out->rank)};
    if (!out->rank) return CR_NOMEM(err);
    find_ranks(nodes, edges, n, out->rank);
    for (int i = 0; i < nodes; i++)
        if (out->rank[i] >= g.ranks) g.ranks = out->rank[i] + 1;
    CR_TRY(count_cells(nodes, edges, n, out->rank, &cells, err));
    const bool room = get_room(&g, out, nodes, cells, n);
    if (room) {
        fill(&g, nodes, edges, n, out->rank);
        link_up(&g);
        divide_ranks(&g);
        arrange(&g);
        read_places(&g, nodes, out);
    }
    cr_free(g.cells);
    cr_free(g.joint);
    cr_free(g.links);
    cr_free(g.order);
    cr_free(g.rank_first);
    cr_free(g.pools);
    cr_free(g.asks);
    return room ? CR_OK : CR_NOMEM(err);
}

void cr_layout_free(cr_layout *l)
{
    cr_free(l->rank);
    cr_free(l->x);
    cr_free(l->way);
    *l = (cr_layout){0};
}
