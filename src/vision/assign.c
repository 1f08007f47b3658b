/* The assignment problem by shortest augmenting paths.
 *
 * Rows are added one by one. Each looks for the cheapest alternating path to a free column, with
 * costs reduced by potentials of rows (u) and columns (v), which keep all reduced costs of the
 * pairs so far at zero and all others at zero or above. Index 0 stands for "no column" and "no
 * row". */
#include "vision/assign.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

typedef struct work {
    int n, m; /* n <= m */
    const float *cost;
    bool turned; /* rows and columns have changed places */
    double *u, *v, *least;
    int *row_of, *way;
    bool *used;
} work;

static double cost_at(const work *w, int row, int column)
{
    const size_t r = (size_t)row - 1, c = (size_t)column - 1;
    return w->turned ? w->cost[c * (size_t)w->n + r] : w->cost[r * (size_t)w->m + c];
}

/* The unused column with the least distance from the path's end; potentials move by that distance.
 */
static int step(work *w, int column)
{
    double delta = INFINITY;
    int next = 0;
    const int row = w->row_of[column];
    w->used[column] = true;
    for (int j = 1; j <= w->m; j++) {
        if (w->used[j]) continue;
        const double reduced = cost_at(w, row, j) - w->u[row] - w->v[j];
        if (reduced < w->least[j]) {
            w->least[j] = reduced;
            w->way[j] = column;
        }
        if (w->least[j] < delta) {
            delta = w->least[j];
            next = j;
        }
    }
    for (int j = 0; j <= w->m; j++) {
        if (w->used[j]) {
            w->u[w->row_of[j]] += delta;
            w->v[j] -= delta;
        } else {
            w->least[j] -= delta;
        }
    }
    return next;
}

static void add_row(work *w, int row)
{
    int column = 0;
    w->row_of[0] = row;
    for (int j = 0; j <= w->m; j++) {
        w->least[j] = INFINITY;
        w->used[j] = false;
    }
    do column = step(w, column);
    while (w->row_of[column]);
    while (column) { /* the pairs along the path change places */
        const int before = w->way[column];
        w->row_of[column] = w->row_of[before];
        column = before;
    }
}

static void read_pairs(const work *w, float most, int rows, int *column_of)
{
    for (int i = 0; i < rows; i++) column_of[i] = -1;
    for (int j = 1; j <= w->m; j++) {
        const int i = w->row_of[j];
        if (!i || cost_at(w, i, j) > most) continue;
        if (w->turned)
            column_of[j - 1] = i - 1;
        else
            column_of[i - 1] = j - 1;
    }
}

cr_status cr_assign(const float *cost, int rows, int columns, float most, int *column_of,
                    cr_error *err)
{
    work w = {.cost = cost, .turned = rows > columns};
    w.n = w.turned ? columns : rows;
    w.m = w.turned ? rows : columns;
    const size_t n = (size_t)w.n + 1, m = (size_t)w.m + 1;
    double *reals = cr_calloc(n + 2 * m, sizeof *reals);
    int *whole = cr_calloc(2 * m, sizeof *whole);
    bool *used = cr_calloc(m, sizeof *used);
    const bool ok = reals && whole && used;
    if (ok) {
        w.u = reals;
        w.v = reals + n;
        w.least = reals + n + m;
        w.row_of = whole;
        w.way = whole + m;
        w.used = used;
        for (int i = 1; i <= w.n; i++) add_row(&w, i);
        read_pairs(&w, most, rows, column_of);
    }
    cr_free(reals);
    cr_free(whole);
    cr_free(used);
    return ok ? CR_OK : CR_NOMEM(err);
}
