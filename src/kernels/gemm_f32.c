/* Float products: the portable tile, packing, and the split among threads (idea: gemm.h). */
#include <string.h>

#include "base/mem.h"
#include "kernels/gemm.h"
#include "kernels/transpose.h"
#include "kernels/vec_c.h"

#define GEMM(name) gemm_f32_##name##_c
#define GEMM_MR    4
#define GEMM_NV    2
#include "kernels/gemm_f32_body.h"

static const cr_gemm_f32_kernel gemm_f32_c = GEMM_RECORD("gemm_f32 c 4x8");

#define CR_GEMM_F32_ONLY
#define KERNEL_RECORD cr_gemm_f32_kernel
#define KERNEL_C      gemm_f32_c
#define KERNEL_LEVEL  cr_gemm_f32_level
#define KERNEL_SELECT cr_gemm_f32_select
#include "kernels/select.h"

/* ---- the work ---- */

enum { MAX_MR = 16, MAX_NR = 64, ITEMS_PER_THREAD = 8, MIN_ITEM_MACS = 1 << 16 };

typedef struct f32_job {
    const cr_gemm_f32_kernel *kernel;
    const cr_gemm_shape *s; /* turned: of C' = B'A', but c_down is C's */
    bool turned;
    const float *a, *b;
    float *c, *packed;
    int64_t panels, packed_size;         /* panels of one B; floats of one packed B */
    int64_t tall, chunk, chunks, groups; /* rows and panels of an item; items down, across */
} f32_job;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool is_turned(const cr_gemm_shape *s)
{
    return s->b_down == 1 && s->b_right != 1 && s->m < s->n;
}

static cr_gemm_shape turn(const cr_gemm_shape *s)
{
    cr_gemm_shape t = *s;
    t.m = s->n;
    t.n = s->m;
    t.a_down = s->b_right;
    t.a_right = s->b_down;
    t.b_down = s->a_right;
    t.b_right = s->a_down;
    t.a_at = s->b_at;
    t.b_at = s->a_at;
    return t;
}

static int64_t packed_size(const cr_gemm_f32_kernel *kernel, const cr_gemm_shape *s)
{
    return (int64_t)cr_round_up((size_t)s->n, (size_t)kernel->lanes) * s->k;
}

size_t cr_gemm_f32_scratch(const cr_gemm_f32_kernel *kernel, const cr_gemm_shape *s)
{
    const cr_gemm_shape turned = turn(s);
    return (size_t)(s->batch * packed_size(kernel, is_turned(s) ? &turned : s)) * sizeof(float);
}

static void pack_panel(void *ctx, size_t index, int worker)
{
    const f32_job *j = ctx;
    const cr_gemm_shape *s = j->s;
    const int64_t batch = (int64_t)index / j->panels, panel = (int64_t)index % j->panels;
    const int64_t first = panel * j->kernel->nr, cols = smaller(s->n - first, j->kernel->nr);
    const int64_t width = (int64_t)cr_round_up((size_t)cols, (size_t)j->kernel->lanes);
    const float *b = j->b + s->b_at[batch] + first * s->b_right;
    float *to = j->packed + batch * j->packed_size + first * s->k;
    if (s->b_down == 1 && s->b_right != 1) {
        cr_transpose_words((const uint32_t *)(const void *)b, s->b_right, (uint32_t *)(void *)to,
                           width, cols, s->k);
    } else if (s->b_right == 1) {
        for (int64_t k = 0; k < s->k; k++)
            memcpy(to + k * width, b + k * s->b_down, (size_t)cols * sizeof *to);
    } else {
        for (int64_t k = 0; k < s->k; k++)
            for (int64_t i = 0; i < cols; i++)
                to[k * width + i] = b[k * s->b_down + i * s->b_right];
    }
    for (int64_t k = 0; k < s->k && cols < width; k++)
        memset(to + k * width + cols, 0, (size_t)(width - cols) * sizeof *to);
}

/* A tile of C' goes to C by columns. */
static void store_turned(const f32_job *j, const cr_gemm_f32_tile *t, float *c)
{
    cr_transpose_words((const uint32_t *)(const void *)t->c, t->c_down, (uint32_t *)(void *)c,
                       j->s->c_down, t->rows, t->cols);
}

static void compute_item(void *ctx, size_t index, int worker)
{
    const f32_job *j = ctx;
    const cr_gemm_shape *s = j->s;
    const int mr = j->kernel->mr, nr = j->kernel->nr;
    const int64_t per_batch = j->chunks * j->groups;
    const int64_t batch = (int64_t)index / per_batch, rest = (int64_t)index % per_batch;
    const int64_t top = rest / j->groups * j->tall, bottom = smaller(top + j->tall, s->m);
    const int64_t first = rest % j->groups * j->chunk, last = smaller(first + j->chunk, j->panels);
    const float *packed = j->packed + batch * j->packed_size;
    cr_gemm_f32_tile t = {.a_down = s->a_down,
                          .a_right = s->a_right,
                          .k = s->k,
                          .c_down = j->turned ? nr : s->c_down,
                          .alpha = s->alpha};
    float tile[MAX_MR * MAX_NR], *const c = j->c + s->c_at[batch];
    for (int64_t panel = first; panel < last; panel++) {
        t.b = packed + panel * nr * s->k;
        t.cols = (int)smaller(s->n - panel * nr, nr);
        for (int64_t row = top; row < bottom; row += mr) {
            t.a = j->a + s->a_at[batch] + row * s->a_down;
            t.c = j->turned ? tile : c + row * s->c_down + panel * nr;
            t.rows = (int)smaller(bottom - row, mr);
            j->kernel->run(&t);
            if (j->turned) store_turned(j, &t, c + panel * nr * s->c_down + row);
        }
    }
}

/* Whole rows of tiles per item; across too when there are fewer of those than threads want. */
static void split_work(f32_job *j, int threads)
{
    const cr_gemm_shape *s = j->s;
    const int mr = j->kernel->mr;
    const int64_t tiles = (s->m + mr - 1) / mr, wanted = (int64_t)threads * ITEMS_PER_THREAD;
    const int64_t least = MIN_ITEM_MACS / (s->n * s->k * mr) + 1;
    int64_t per = (tiles * s->batch + wanted - 1) / wanted;
    per = smaller(per < least ? least : per, tiles);
    j->tall = per * mr;
    j->chunks = (tiles + per - 1) / per;
    const int64_t items = j->chunks * s->batch;
    j->groups = items >= threads ? 1 : smaller(j->panels, (wanted + items - 1) / items);
    j->chunk = (j->panels + j->groups - 1) / j->groups;
    j->groups = (j->panels + j->chunk - 1) / j->chunk;
}

void cr_gemm_f32_run(const cr_gemm_f32_kernel *kernel, const cr_gemm_shape *s, const float *a,
                     const float *b, float *c, void *scratch, cr_pool *pool)
{
    const cr_gemm_shape other = turn(s);
    f32_job j = {.kernel = kernel, .s = s, .a = a, .b = b, .c = c, .packed = scratch};
    if (is_turned(s)) {
        j.turned = true;
        j.s = s = &other;
        j.a = b;
        j.b = a;
    }
    j.panels = (s->n + kernel->nr - 1) / kernel->nr;
    j.packed_size = packed_size(kernel, s);
    split_work(&j, cr_pool_threads(pool));
    cr_pool_run(pool, (size_t)(s->batch * j.panels), pack_panel, &j);
    cr_pool_run(pool, (size_t)(s->batch * j.chunks * j.groups), compute_item, &j);
}
