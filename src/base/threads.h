/* A fork-join pool: the caller works too, workers spin briefly and then sleep.
 *
 * cr_pool_run(pool, n, fn, ctx) calls fn(ctx, i, worker) for i in 0..n-1, each exactly once, on any
 * thread, and returns when all are done. Work is handed out by an atomic counter, so which thread
 * does what is not fixed: fn must write to places that depend on i alone (results must be the same
 * for 1..N threads). `worker` (0..threads-1) picks per-thread scratch. Calls must not nest. */
#ifndef CR_BASE_THREADS_H
#define CR_BASE_THREADS_H

#include "crayon/status.h"

typedef struct cr_pool cr_pool;
typedef void (*cr_task_fn)(void *ctx, size_t index, int worker);

/* threads 0: cr_cpu_count(). At most 256. */
cr_status cr_pool_create(int threads, cr_pool **out, cr_error *err);
void cr_pool_free(cr_pool **pool);
int cr_pool_threads(const cr_pool *pool); /* 1 for NULL */
void cr_pool_run(cr_pool *pool, size_t n, cr_task_fn fn, void *ctx); /* NULL pool: runs inline */

#endif
