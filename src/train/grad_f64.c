/* The gradients in float64: what finite differences are compared with. */
#include "kernels/gemm.h"
#include "train/grad.h"

#define REAL     double
#define FN(name) name##_f64

static size_t gemm_bytes_f64(const cr_gemm_shape *s)
{
    (void)s;
    return 0;
}

typedef struct product_f64 {
    const cr_gemm_shape *s;
    const double *a, *b;
    double *c;
} product_f64;

static void product_row_f64(void *ctx, size_t index, int worker)
{
    const product_f64 *p = ctx;
    const cr_gemm_shape *s = p->s;
    const int64_t i = (int64_t)index / s->m, row = (int64_t)index % s->m;
    const double *a = p->a + s->a_at[i] + row * s->a_down, *b = p->b + s->b_at[i];
    double *c = p->c + s->c_at[i] + row * s->c_down;
    (void)worker;
    for (int64_t n = 0; n < s->n; n++) {
        double sum = 0;
        for (int64_t k = 0; k < s->k; k++)
            sum += a[k * s->a_right] * b[k * s->b_down + n * s->b_right];
        c[n] = sum * (double)s->alpha;
    }
}

static void gemm_run_f64(const cr_gemm_shape *s, const double *a, const double *b, double *c,
                         void *scratch, cr_pool *pool)
{
    product_f64 p = {s, a, b, c};
    (void)scratch;
    cr_pool_run(pool, (size_t)(s->batch * s->m), product_row_f64, &p);
}

#include "train/grad_table.h"
