#include "train/muon.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

struct cr_muon {
    float *room, *x, *turned, *next; /* [count] each */
    float *y, *z;                    /* [side, side] */
};

enum { STEPS = 5 };
static const float A = 3.4445f, B = -4.7750f, C = 2.0315f;

cr_muon *cr_muon_create(int64_t count, int64_t side)
{
    cr_muon *m = cr_calloc(1, sizeof *m);
    if (!m) return NULL;
    float **parts[] = {&m->room, &m->x, &m->turned, &m->next};
    bool ok = true;
    for (int i = 0; i < 4; i++) {
        *parts[i] = cr_aligned_alloc((size_t)count * sizeof(float));
        ok &= *parts[i] != NULL;
    }
    m->y = cr_aligned_alloc((size_t)(side * side) * sizeof(float));
    m->z = cr_aligned_alloc((size_t)(side * side) * sizeof(float));
    if (!ok || !m->y || !m->z) cr_muon_free(&m);
    return m;
}

void cr_muon_free(cr_muon **mp)
{
    if (!mp || !*mp) return;
    cr_muon *m = *mp;
    cr_aligned_free(m->room);
    cr_aligned_free(m->x);
    cr_aligned_free(m->turned);
    cr_aligned_free(m->next);
    cr_aligned_free(m->y);
    cr_aligned_free(m->z);
    cr_free(m);
    *mp = NULL;
}

float *cr_muon_room(cr_muon *m)
{
    return m->room;
}

/* to = plus * base + times * left right; left [rows, depth], the others [., cols]. Rows are tasks, and
 * a row is a sum of multiples of rows: one order, whatever the number of threads. */
typedef struct product {
    float *to;
    const float *left, *right, *base;
    float plus, times;
    int64_t depth, cols;
} product;

static void product_row(void *ctx, size_t row, int worker)
{
    const product *p = ctx;
    float *to = p->to + (int64_t)row * p->cols;
    const float *left = p->left + (int64_t)row * p->depth;
    const float *base = p->base ? p->base + (int64_t)row * p->cols : NULL;
    (void)worker;
    for (int64_t j = 0; j < p->cols; j++) to[j] = base ? p->plus * base[j] : 0;
    for (int64_t k = 0; k < p->depth; k++) {
        const float f = p->times * left[k];
        const float *right = p->right + k * p->cols;
        for (int64_t j = 0; j < p->cols; j++) to[j] += f * right[j];
    }
}

static void turn(const float *from, float *to, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) to[j * rows + i] = from[i * cols + j];
}

static void step(cr_muon *m, cr_pool *pool, int64_t rows, int64_t cols)
{
    turn(m->x, m->turned, rows, cols);
    product y = {m->y, m->x, m->turned, NULL, 0, 1, cols, rows};
    cr_pool_run(pool, (size_t)rows, product_row, &y);
    product z = {m->z, m->y, m->y, m->y, B, C, rows, rows};
    cr_pool_run(pool, (size_t)rows, product_row, &z);
    product x = {m->next, m->z, m->x, m->x, A, 1, rows, cols};
    cr_pool_run(pool, (size_t)rows, product_row, &x);
    float *swap = m->x;
    m->x = m->next;
    m->next = swap;
}

void cr_muon_orthogonal(cr_muon *m, cr_pool *pool, float *x, int64_t rows, int64_t cols)
{
    const bool tall = rows > cols;
    const int64_t small = tall ? cols : rows, large = tall ? rows : cols;
    double sum = 0;
    for (int64_t i = 0; i < rows * cols; i++) sum += (double)x[i] * (double)x[i];
    const double scale = 1 / (sqrt(sum) + 1e-7);
    for (int64_t i = 0; i < rows * cols; i++) x[i] = (float)(x[i] * scale);
    if (tall)
        turn(x, m->x, rows, cols);
    else
        memcpy(m->x, x, (size_t)(rows * cols) * sizeof *x);
    for (int i = 0; i < STEPS; i++) step(m, pool, small, large);
    if (tall)
        turn(m->x, x, small, large);
    else
        memcpy(x, m->x, (size_t)(rows * cols) * sizeof *x);
}
