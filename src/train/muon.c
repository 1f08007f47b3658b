#include "train/muon.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "kernels/gemm.h"

struct cr_muon {
    const cr_gemm_f32_kernel *kernel;
    float *room, *x, *next; /* [count] each */
    float *y, *z;           /* [side, side] */
    void *scratch;
};

enum { STEPS = 5 };
static const float A = 3.4445f, B = -4.7750f, C = 2.0315f;

static const int64_t nowhere[1] = {0};

/* [rows, depth] times [depth, cols], both row by row, or the second turned. */
static cr_gemm_shape product(int64_t rows, int64_t cols, int64_t depth, bool turned)
{
    return (cr_gemm_shape){.batch = 1, .m = rows, .n = cols, .k = depth, .a_down = depth,
                           .a_right = 1, .b_down = turned ? 1 : cols,
                           .b_right = turned ? depth : 1, .c_down = cols, .a_at = nowhere,
                           .b_at = nowhere, .c_at = nowhere, .alpha = 1};
}

static size_t most_scratch(const cr_muon *m, int64_t rows, int64_t cols)
{
    const cr_gemm_shape s[] = {product(rows, rows, cols, true), product(rows, rows, rows, false),
                               product(rows, cols, rows, false)};
    size_t most = 0;
    for (int i = 0; i < 3; i++) {
        const size_t bytes = cr_gemm_f32_scratch(m->kernel, &s[i]);
        if (bytes > most) most = bytes;
    }
    return most;
}

cr_muon *cr_muon_create(const cr_muon_matrix *matrices, size_t n)
{
    int64_t count = 0, side = 0;
    size_t scratch = 0;
    cr_muon *m = cr_calloc(1, sizeof *m);
    if (!m) return NULL;
    m->kernel = cr_gemm_f32_select(cr_cpu_flags());
    for (size_t i = 0; i < n; i++) {
        const int64_t rows = matrices[i].rows, cols = matrices[i].cols;
        const int64_t small = rows < cols ? rows : cols, large = rows < cols ? cols : rows;
        const size_t bytes = most_scratch(m, small, large);
        if (rows * cols > count) count = rows * cols;
        if (small > side) side = small;
        if (bytes > scratch) scratch = bytes;
    }
    m->room = cr_aligned_alloc((size_t)count * sizeof(float));
    m->x = cr_aligned_alloc((size_t)count * sizeof(float));
    m->next = cr_aligned_alloc((size_t)count * sizeof(float));
    m->y = cr_aligned_alloc((size_t)(side * side) * sizeof(float));
    m->z = cr_aligned_alloc((size_t)(side * side) * sizeof(float));
    m->scratch = cr_aligned_alloc(scratch);
    if (!m->room || !m->x || !m->next || !m->y || !m->z || !m->scratch) cr_muon_free(&m);
    return m;
}

void cr_muon_free(cr_muon **mp)
{
    if (!mp || !*mp) return;
    cr_muon *m = *mp;
    cr_aligned_free(m->room);
    cr_aligned_free(m->x);
    cr_aligned_free(m->next);
    cr_aligned_free(m->y);
    cr_aligned_free(m->z);
    cr_aligned_free(m->scratch);
    cr_free(m);
    *mp = NULL;
}

float *cr_muon_room(cr_muon *m)
{
    return m->room;
}

static void turn(const float *from, float *to, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) to[j * rows + i] = from[i * cols + j];
}

static void multiply(const cr_muon *m, cr_pool *pool, const cr_gemm_shape *s, const float *a,
                     const float *b, float *c)
{
    cr_gemm_f32_run(m->kernel, s, a, b, c, m->scratch, pool);
}

static void step(cr_muon *m, cr_pool *pool, int64_t rows, int64_t cols)
{
    const cr_gemm_shape square = product(rows, rows, cols, true);
    const cr_gemm_shape fourth = product(rows, rows, rows, false);
    const cr_gemm_shape apply = product(rows, cols, rows, false);
    multiply(m, pool, &square, m->x, m->x, m->y);
    multiply(m, pool, &fourth, m->y, m->y, m->z);
    for (int64_t i = 0; i < rows * rows; i++) m->z[i] = B * m->y[i] + C * m->z[i];
    for (int64_t i = 0; i < rows; i++) m->z[i * rows + i] += A;
    multiply(m, pool, &apply, m->z, m->x, m->next);
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
