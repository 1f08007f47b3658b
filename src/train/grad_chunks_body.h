/* Long loops over elements in pieces of a fixed size, so that what a task does depends on the
 * shapes alone. */
#include <string.h>

#include "graph/shape.h"
#include "ops/ref.h"

enum { FN(CHUNK) = 1 << 14 };

typedef struct FN(pieces) {
    void (*run)(void *ctx, int64_t from, int64_t to);
    void *ctx;
    int64_t n;
} FN(pieces);

static void FN(piece)(void *ctx, size_t index, int worker)
{
    const FN(pieces) *p = ctx;
    const int64_t from = (int64_t)index * FN(CHUNK), left = p->n - from;
    (void)worker;
    p->run(p->ctx, from, from + (left < FN(CHUNK) ? left : FN(CHUNK)));
}

static void FN(each)(cr_pool *pool, int64_t n, void (*run)(void *, int64_t, int64_t), void *ctx)
{
    FN(pieces) p = {run, ctx, n};
    cr_pool_run(pool, (size_t)((n + FN(CHUNK) - 1) / FN(CHUNK)), FN(piece), &p);
}

static int64_t FN(count)(const cr_tensor *t)
{
    return cr_shape_count(&t->shape);
}

/* to[i] += from[i] */
typedef struct FN(sum) {
    real *to;
    const real *from;
} FN(sum);

static void FN(sum_piece)(void *ctx, int64_t from, int64_t to)
{
    const FN(sum) *s = ctx;
    for (int64_t i = from; i < to; i++) s->to[i] += s->from[i];
}

static void FN(add_to)(cr_pool *pool, real *to, const real *from, int64_t n)
{
    FN(sum) s = {to, from};
    FN(each)(pool, n, FN(sum_piece), &s);
}

static cr_status FN(no_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    (void)c;
    (void)err;
    *bytes = 0;
    return CR_OK;
}
