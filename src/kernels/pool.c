#include "kernels/pool.h"

#include <string.h>

typedef struct pool_job {
    const cr_pool_geometry *g;
    const cr_rows *k;
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
    pool_job j = {g, k, (const unsigned char *)in, (unsigned char *)out, sizeof(float)};
    cr_pool_run(pool, (size_t)(g->n * g->oh), pool_row, &j);
}

void cr_max_pool_u8(const cr_pool_geometry *g, const cr_rows *k, const uint8_t *in, uint8_t *out,
                    cr_pool *pool)
{
    pool_job j = {g, k, in, out, 1};
    cr_pool_run(pool, (size_t)(g->n * g->oh), pool_row, &j);
}

/* ---- layouts: blocks of 16 x 64 so that both sides stay in few cache lines ---- */

enum { BLOCK_C = 16, BLOCK_P = 64 };

typedef struct layout_job {
    const cr_layout_args *a;
    const unsigned char *in;
    unsigned char *out;
    bool to_nhwc;
    int64_t blocks; /* of pixels, per picture */
} layout_job;

#define MOVE_BLOCK(type)                                                                           \
    do {                                                                                           \
        const type *from = (const type *)(const void *)j->in;                                      \
        type *to = (type *)(void *)j->out;                                                         \
        for (int64_t p = p0; p < p1; p++)                                                          \
            for (int64_t c = c0; c < c1; c++) {                                                    \
                const int64_t planar = (n * a->channels + c) * a->pixels + p;                      \
                const int64_t packed = (n * a->pixels + p) * a->ld + c;                            \
                if (j->to_nhwc)                                                                    \
                    to[packed] = from[planar];                                                     \
                else                                                                               \
                    to[planar] = from[packed];                                                     \
            }                                                                                      \
    } while (0)

static void layout_block(void *ctx, size_t index, int worker)
{
    const layout_job *j = ctx;
    const cr_layout_args *a = j->a;
    const int64_t n = (int64_t)index / j->blocks, p0 = (int64_t)index % j->blocks * BLOCK_P;
    const int64_t p1 = p0 + BLOCK_P < a->pixels ? p0 + BLOCK_P : a->pixels;
    for (int64_t c0 = 0; c0 < a->channels; c0 += BLOCK_C) {
        const int64_t c1 = c0 + BLOCK_C < a->channels ? c0 + BLOCK_C : a->channels;
        if (a->element == 1)
            MOVE_BLOCK(uint8_t);
        else
            MOVE_BLOCK(uint32_t);
    }
}

static void change_layout(const cr_layout_args *a, const void *in, void *out, bool to_nhwc,
                          cr_pool *pool)
{
    layout_job j = {a, in, out, to_nhwc, (a->pixels + BLOCK_P - 1) / BLOCK_P};
    cr_pool_run(pool, (size_t)(a->n * j.blocks), layout_block, &j);
}

void cr_nchw_to_nhwc(const cr_layout_args *a, const void *in, void *out, cr_pool *pool)
{
    change_layout(a, in, out, true, pool);
}

void cr_nhwc_to_nchw(const cr_layout_args *a, const void *in, void *out, cr_pool *pool)
{
    change_layout(a, in, out, false, pool);
}
