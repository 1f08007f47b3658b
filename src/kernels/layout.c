/* Transposition in blocks of PIXELS pixels, four planes at a time: a 4 x 4 block of words is four
 * loads, eight shuffles and four stores, and no more than four planes are open at once. (Planes of
 * 160 x 160 floats are a multiple of 4096 bytes apart: their lines compete for the same few places
 * of the L1 cache, so more would evict each other.) The compiler's generic vectors do: SSE2 and
 * NEON have these shuffles in their baseline and memory is the limit, not arithmetic. */
#include "kernels/layout.h"

#include "kernels/transpose.h"

enum {
    PIXELS = 64,
    ITEM = 256 /* blocks times channels of a work item: some 10 us */
};

/* One picture's pixels p0..p1, planes at `planes` (first pixel of the picture), rows at `rows`. */
typedef struct block {
    int64_t channels, pixels, ld, p0, p1;
} block;

static void words_to_rows(const block *b, const uint32_t *planes, uint32_t *rows)
{
    int64_t c = 0;
    for (; c + 4 <= b->channels; c += 4) {
        int64_t p = b->p0;
        for (; p + 4 <= b->p1; p += 4)
            cr_transpose_4x4(planes + c * b->pixels + p, b->pixels, rows + p * b->ld + c, b->ld);
        for (; p < b->p1; p++)
            for (int64_t i = c; i < c + 4; i++) rows[p * b->ld + i] = planes[i * b->pixels + p];
    }
    for (; c < b->channels; c++) {
        const uint32_t *from = planes + c * b->pixels;
        uint32_t *to = rows + c;
        for (int64_t p = b->p0; p < b->p1; p++) to[p * b->ld] = from[p];
    }
}

static void words_to_planes(const block *b, const uint32_t *rows, uint32_t *planes)
{
    int64_t c = 0;
    for (; c + 4 <= b->channels; c += 4) {
        int64_t p = b->p0;
        for (; p + 4 <= b->p1; p += 4)
            cr_transpose_4x4(rows + p * b->ld + c, b->ld, planes + c * b->pixels + p, b->pixels);
        for (; p < b->p1; p++)
            for (int64_t i = c; i < c + 4; i++) planes[i * b->pixels + p] = rows[p * b->ld + i];
    }
    for (; c < b->channels; c++) {
        const uint32_t *from = rows + c;
        uint32_t *to = planes + c * b->pixels;
        for (int64_t p = b->p0; p < b->p1; p++) to[p] = from[p * b->ld];
    }
}

static void bytes_to_rows(const block *b, const uint8_t *planes, uint8_t *rows)
{
    for (int64_t c = 0; c < b->channels; c++)
        for (int64_t p = b->p0; p < b->p1; p++) rows[p * b->ld + c] = planes[c * b->pixels + p];
}

static void bytes_to_planes(const block *b, const uint8_t *rows, uint8_t *planes)
{
    for (int64_t c = 0; c < b->channels; c++)
        for (int64_t p = b->p0; p < b->p1; p++) planes[c * b->pixels + p] = rows[p * b->ld + c];
}

typedef struct layout_job {
    const cr_layout_args *a;
    const unsigned char *in;
    unsigned char *out;
    bool to_rows;
    int64_t piece, pieces; /* pixels of a work item; items per picture */
} layout_job;

static void run_block(const layout_job *j, const block *b, const void *in, void *out)
{
    if (j->a->element == 1 && j->to_rows)
        bytes_to_rows(b, in, out);
    else if (j->a->element == 1)
        bytes_to_planes(b, in, out);
    else if (j->to_rows)
        words_to_rows(b, in, out);
    else
        words_to_planes(b, in, out);
}

static void run_piece(void *ctx, size_t index, int worker)
{
    const layout_job *j = ctx;
    const cr_layout_args *a = j->a;
    const int64_t n = (int64_t)index / j->pieces, p0 = (int64_t)index % j->pieces * j->piece;
    const int64_t p1 = p0 + j->piece < a->pixels ? p0 + j->piece : a->pixels;
    const size_t planes = (size_t)(n * a->channels * a->pixels) * a->element;
    const size_t rows = (size_t)(n * a->pixels * a->ld) * a->element;
    const void *in = j->in + (j->to_rows ? planes : rows);
    void *out = j->out + (j->to_rows ? rows : planes);
    block b = {a->channels, a->pixels, a->ld, 0, 0};
    for (b.p0 = p0; b.p0 < p1; b.p0 = b.p1) {
        b.p1 = b.p0 + PIXELS < p1 ? b.p0 + PIXELS : p1;
        run_block(j, &b, in, out);
    }
}

static void change_layout(const cr_layout_args *a, const void *in, void *out, bool to_rows,
                          cr_pool *pool)
{
    layout_job j = {.a = a, .in = in, .out = out, .to_rows = to_rows};
    j.piece = (ITEM / a->channels + 1) * PIXELS;
    j.pieces = (a->pixels + j.piece - 1) / j.piece;
    cr_pool_run(pool, (size_t)(a->n * j.pieces), run_piece, &j);
}

void cr_nchw_to_nhwc(const cr_layout_args *a, const void *in, void *out, cr_pool *pool)
{
    change_layout(a, in, out, true, pool);
}

void cr_nhwc_to_nchw(const cr_layout_args *a, const void *in, void *out, cr_pool *pool)
{
    change_layout(a, in, out, false, pool);
}
