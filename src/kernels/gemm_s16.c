/* Products of codes: the portable tile, packing, finishing (idea and layout: gemm.h). A tile's sums
 * become floats or codes by the same row kernels as a convolution's. */
#include <string.h>

#include "base/mem.h"
#include "kernels/gemm.h"
#include "kernels/transpose.h"

enum { MR_C = 4, NR_C = 8, MAX_NR = 64 };

static void run_c(const cr_gemm_s16_tile *t)
{
    const int width = (t->cols + NR_C - 1) / NR_C * NR_C;
    uint32_t acc[NR_C];
    for (int r = 0; r < t->rows; r++) {
        const int16_t *a = t->a + r * t->k2, *b = t->b;
        memset(acc, 0, sizeof acc);
        for (int64_t k = 0; k < t->k2; k += 2, b += 2 * NR_C)
            for (int i = 0; i < NR_C; i++)
                acc[i] += (uint32_t)(a[k] * b[2 * i] + a[k + 1] * b[2 * i + 1]);
        memcpy(t->c + r * width, acc, sizeof acc);
    }
}

static const cr_gemm_s16_kernel gemm_s16_c = {"gemm_s16 c 4x8", run_c, MR_C, NR_C, NR_C};

#define CR_GEMM_S16_ONLY
#define KERNEL_RECORD cr_gemm_s16_kernel
#define KERNEL_C      gemm_s16_c
#define KERNEL_LEVEL  cr_gemm_s16_level
#define KERNEL_SELECT cr_gemm_s16_select
#include "kernels/select.h"

/* ---- packing ---- */

typedef struct s16_job {
    const cr_gemm_s16_kernel *kernel;
    const cr_rows *rows;
    const cr_gemm_shape *s;
    const cr_gemm_codes *q;
    const uint8_t *a, *b;
    unsigned char *c;
    int16_t *pa, *pb; /* packed: [batch][m][k2], [batch][k2/2][width][2] in panels */
    int32_t *tiles;   /* [worker][mr * nr] */
    int64_t k2, width, panels, tall, chunks;
    float multiplier[MAX_NR]; /* the same for every column */
} s16_job;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

typedef uint8_t bytes8 __attribute__((vector_size(8)));
typedef int16_t shorts8 __attribute__((vector_size(16)));

static inline shorts8 load_shorts(const uint8_t *p, int16_t zero)
{
    bytes8 codes;
    memcpy(&codes, p, sizeof codes);
    return __builtin_convertvector(codes, shorts8) - zero;
}

static void pack_row(const s16_job *j, const uint8_t *a, int16_t *to)
{
    const int64_t k = j->s->k, step = j->s->a_right;
    const int16_t zero = (int16_t)j->q->zero_a;
    int64_t i = 0;
    for (; step == 1 && i + 8 <= k; i += 8) {
        const shorts8 x = load_shorts(a + i, zero);
        memcpy(to + i, &x, sizeof x);
    }
    for (; i < k; i++) to[i] = (int16_t)(a[i * step] - zero);
    if (k < j->k2) to[k] = 0;
}

static void pack_rows(void *ctx, size_t index, int worker)
{
    const s16_job *j = ctx;
    const int64_t batch = (int64_t)index / j->chunks, top = (int64_t)index % j->chunks * j->tall;
    const int64_t bottom = smaller(top + j->tall, j->s->m);
    for (int64_t row = top; row < bottom; row++)
        pack_row(j, j->a + j->s->a_at[batch] + row * j->s->a_down,
                 j->pa + (batch * j->s->m + row) * j->k2);
}

#if defined(__clang__)
#define ZIP(a, b, from)                                                                            \
    __builtin_shufflevector(a, b, from, from + 8, from + 1, from + 9, from + 2, from + 10,         \
                            from + 3, from + 11)
#else
#define ZIP(a, b, from)                                                                            \
    __builtin_shuffle(                                                                             \
        a, b,                                                                                      \
        (shorts8){from, from + 8, from + 1, from + 9, from + 2, from + 10, from + 3, from + 11})
#endif

/* Rows k and k + 1 of B, both runs of neighbours, as pairs: 8 columns at a time. */
static int64_t zip_rows(const uint8_t *b, int64_t down, int64_t cols, int16_t zero, int16_t *to)
{
    int64_t i = 0;
    for (; i + 8 <= cols; i += 8) {
        const shorts8 u = load_shorts(b + i, zero), v = load_shorts(b + down + i, zero);
        const shorts8 pairs[2] = {ZIP(u, v, 0), ZIP(u, v, 4)};
        memcpy(to + 2 * i, pairs, sizeof pairs);
    }
    return i;
}

enum { RUN = 256 }; /* of k */

/* Columns that are runs of neighbours: widened into a buffer, then transposed as pairs. */
static void turn_columns(const s16_job *j, const uint8_t *b, int64_t cols, int64_t width,
                         int16_t *to)
{
    const int64_t k = j->s->k, right = j->s->b_right;
    const int16_t zero = (int16_t)j->q->zero_b;
    int16_t wide[MAX_NR * RUN];
    for (int64_t first = 0; first < k; first += RUN) {
        const int64_t many = smaller(k - first, RUN), k2 = (many + 1) / 2 * 2;
        for (int64_t c = 0; c < cols; c++) {
            const uint8_t *from = b + c * right + first;
            int16_t *row = wide + c * RUN;
            int64_t i = 0;
            for (; i + 8 <= many; i += 8) {
                const shorts8 x = load_shorts(from + i, zero);
                memcpy(row + i, &x, sizeof x);
            }
            for (; i < many; i++) row[i] = (int16_t)(from[i] - zero);
            if (many < k2) row[many] = 0;
        }
        cr_transpose_words((const uint32_t *)(const void *)wide, RUN / 2,
                           (uint32_t *)(void *)(to + first * width), width, cols, k2 / 2);
    }
}

static void pack_panel(void *ctx, size_t index, int worker)
{
    const s16_job *j = ctx;
    const cr_gemm_shape *s = j->s;
    const int64_t batch = (int64_t)index / j->panels, panel = (int64_t)index % j->panels;
    const int64_t first = panel * j->kernel->nr, cols = smaller(s->n - first, j->kernel->nr);
    const int64_t width = (int64_t)cr_round_up((size_t)cols, (size_t)j->kernel->lanes);
    const uint8_t *b = j->b + s->b_at[batch] + first * s->b_right;
    int16_t *to = j->pb + (batch * j->width + first) * j->k2;
    const int zero = j->q->zero_b;
    if (cols < width || s->k < j->k2) memset(to, 0, (size_t)(width * j->k2) * sizeof *to);
    if (s->b_down == 1 && s->b_right != 1) {
        turn_columns(j, b, cols, width, to);
        return;
    }
    for (int64_t k = 0; k < s->k; k++) {
        int16_t *row = to + k / 2 * 2 * width + k % 2;
        const uint8_t *from = b + k * s->b_down;
        int64_t i = 0;
        if (s->b_right == 1 && k % 2 == 0 && k + 1 < s->k)
            i = zip_rows(from, s->b_down, cols, (int16_t)zero, row);
        else if (s->b_right == 1 && k % 2)
            i = cols / 8 * 8; /* zipped with the row before */
        for (; i < cols; i++) row[2 * i] = (int16_t)(from[i * s->b_right] - zero);
    }
}

/* ---- the products ---- */

static void finish_tile(const s16_job *j, const int32_t *sums, int64_t at, int rows, int64_t cols)
{
    const cr_finish f = {.multiplier = j->multiplier, .zero_point = j->q->zero_out, .scale = 1};
    const int64_t width = (int64_t)cr_round_up((size_t)cols, (size_t)j->kernel->lanes);
    const cr_finish_area area = {rows, cols, width, j->s->c_down};
    if (j->q->float_out)
        j->rows->finish_f32((float *)(void *)j->c + at, sums, &area, &f);
    else
        j->rows->finish_u8(j->c + at, sums, &area, &f);
}

static void compute_rows(void *ctx, size_t index, int worker)
{
    const s16_job *j = ctx;
    const cr_gemm_shape *s = j->s;
    const int mr = j->kernel->mr, nr = j->kernel->nr;
    const int64_t batch = (int64_t)index / j->chunks, top = (int64_t)index % j->chunks * j->tall;
    const int64_t bottom = smaller(top + j->tall, s->m);
    cr_gemm_s16_tile t = {.k2 = j->k2, .c = j->tiles + (int64_t)worker * mr * nr};
    for (int64_t panel = 0; panel < j->panels; panel++) {
        t.b = j->pb + (batch * j->width + panel * nr) * j->k2;
        t.cols = (int)smaller(s->n - panel * nr, nr);
        for (int64_t row = top; row < bottom; row += mr) {
            t.a = j->pa + (batch * s->m + row) * j->k2;
            t.rows = (int)smaller(bottom - row, mr);
            j->kernel->run(&t);
            finish_tile(j, t.c, s->c_at[batch] + row * s->c_down + panel * nr, t.rows, t.cols);
        }
    }
}

static int64_t even(int64_t k)
{
    return (k + 1) / 2 * 2;
}

static size_t tiles_bytes(const cr_gemm_s16_kernel *k, int threads)
{
    return (size_t)threads * (size_t)(k->mr * k->nr) * sizeof(int32_t);
}

static size_t rows_bytes(const cr_gemm_shape *s)
{
    return cr_round_up((size_t)(s->batch * s->m * even(s->k)) * sizeof(int16_t), CR_ALIGN);
}

size_t cr_gemm_s16_scratch(const cr_gemm_s16_kernel *kernel, const cr_gemm_shape *s, int threads)
{
    const size_t width = cr_round_up((size_t)s->n, (size_t)kernel->lanes);
    return tiles_bytes(kernel, threads) + rows_bytes(s) +
           (size_t)(s->batch * even(s->k)) * width * sizeof(int16_t);
}

void cr_gemm_s16_run(const cr_gemm_s16_kernel *kernel, const cr_rows *rows, const cr_gemm_shape *s,
                     const cr_gemm_codes *q, const uint8_t *a, const uint8_t *b, void *c,
                     void *scratch, cr_pool *pool)
{
    const int threads = cr_pool_threads(pool);
    unsigned char *at = scratch;
    s16_job j = {kernel, rows, s, q, a, b, c, .tiles = scratch};
    j.pa = (int16_t *)(void *)(at += tiles_bytes(kernel, threads));
    j.pb = (int16_t *)(void *)(at + rows_bytes(s));
    for (int i = 0; i < kernel->nr; i++) j.multiplier[i] = q->multiplier;
    j.k2 = even(s->k);
    j.width = (int64_t)cr_round_up((size_t)s->n, (size_t)kernel->lanes);
    j.panels = (s->n + kernel->nr - 1) / kernel->nr;
    const int64_t tiles = (s->m + kernel->mr - 1) / kernel->mr, wanted = (int64_t)threads * 8;
    j.tall = ((tiles * s->batch + wanted - 1) / wanted) * kernel->mr;
    j.chunks = (s->m + j.tall - 1) / j.tall;
    cr_pool_run(pool, (size_t)(s->batch * j.chunks), pack_rows, &j);
    cr_pool_run(pool, (size_t)(s->batch * j.panels), pack_panel, &j);
    cr_pool_run(pool, (size_t)(s->batch * j.chunks), compute_rows, &j);
}
