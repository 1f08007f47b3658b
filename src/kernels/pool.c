#include "kernels/pool.h"

#include <string.h>

typedef struct pool_job {
    const cr_pool_geometry *g;
    const cr_rows *k;
    const cr_rows_bf16 *bf16; /* with two bytes per element */
    const unsigned char *in;
    unsigned char *out;
    size_t element;
} pool_job;

/* One output pixel: the maximum over the taps that lie inside. */
static void pool_pixel(const pool_job *j, int64_t n, int64_t y, int64_t x)
{
    const cr_pool_geometry *g = j->g;
    const size_t bytes = (size_t)g->c * j->element;
    unsigned char *out = j->out + (size_t)(((n * g->oh + y) * g->ow + x) * g->ld_out) * j->element;
    bool first = true;
    for (int64_t ky = 0; ky < g->kh; ky++) {
        const int64_t iy = y * g->stride_h - g->pad_top + ky * g->dil_h;
        if (iy < 0 || iy >= g->h) continue;
        for (int64_t kx = 0; kx < g->kw; kx++) {
            const int64_t ix = x * g->stride_w - g->pad_left + kx * g->dil_w;
            if (ix < 0 || ix >= g->w) continue;
            const unsigned char *in =
                j->in + (size_t)(((n * g->h + iy) * g->w + ix) * g->ld_in) * j->element;
            if (first)
                memcpy(out, in, bytes);
            else if (j->element == 1)
                j->k->max_u8(out, in, (size_t)g->c);
            else if (j->element == sizeof(cr_bf16))
                j->bf16->max((cr_bf16 *)(void *)out, (const cr_bf16 *)(const void *)in,
                             (size_t)g->c);
            else
                j->k->max_f32((float *)(void *)out, (const float *)(const void *)in, (size_t)g->c);
            first = false;
        }
    }
}

static void pool_row(void *ctx, size_t index, int worker)
{
    const pool_job *j = ctx;
    for (int64_t x = 0; x < j->g->ow; x++)
        pool_pixel(j, (int64_t)index / j->g->oh, (int64_t)index % j->g->oh, x);
}

void cr_max_pool_f32(const cr_pool_geometry *g, const cr_rows *k, const float *in, float *out,
                     cr_pool *pool)
{
    pool_job j = {g, k, NULL, (const unsigned char *)in, (unsigned char *)out, sizeof(float)};
    cr_pool_run(pool, (size_t)(g->n * g->oh), pool_row, &j);
}

void cr_max_pool_u8(const cr_pool_geometry *g, const cr_rows *k, const uint8_t *in, uint8_t *out,
                    cr_pool *pool)
{
    pool_job j = {g, k, NULL, in, out, 1};
    cr_pool_run(pool, (size_t)(g->n * g->oh), pool_row, &j);
}

void cr_max_pool_bf16(const cr_pool_geometry *g, const cr_rows_bf16 *k, const cr_bf16 *in,
                      cr_bf16 *out, cr_pool *pool)
{
    pool_job j = {g,      NULL, k, (const unsigned char *)in, (unsigned char *)out, sizeof *in};
    cr_pool_run(pool, (size_t)(g->n * g->oh), pool_row, &j);
}
