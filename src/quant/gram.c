#include "quant/gram.h"

#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/rng.h"
#include "graph/nn_rules.h"
#include "kernels/gemm.h"

/* A Gram matrix of 3x3 over 512 channels has k = 4608: 85 MB. Larger layers keep nearest rounding.
 */
enum { PANEL = 256, MAX_K = 4608, LEAST_ROWS = 2048, MOST_PLACES = 1024 };

static bool describe_conv(const cr_node *n, cr_gram *g)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    cr_conv_shape c;
    if (cr_conv_read(&call, 1, &c, NULL) != CR_OK || c.win.n != 2) return false;
    g->conv = true;
    g->groups = c.groups;
    g->channels = c.in_channels / c.groups;
    g->h = c.win.in[1], g->w = c.win.in[2];
    g->oh = c.win.out[1], g->ow = c.win.out[2];
    g->kh = c.win.kernel[1], g->kw = c.win.kernel[2];
    g->stride_h = c.win.stride[1], g->stride_w = c.win.stride[2];
    g->dil_h = c.win.dilation[1], g->dil_w = c.win.dilation[2];
    g->top = c.win.pad_lo[1], g->left = c.win.pad_lo[2];
    g->k = g->channels * g->kh * g->kw;
    g->out = c.out_channels / c.groups;
    g->down = g->out * g->k;
    g->across = g->k;
    g->step = 1;
    return g->oh * g->ow > 0;
}

/* x [..., k] times W [k, out] (Gemm with transB: [out, k]): a row of x is a place. */
static bool describe_product(const cr_node *n, cr_gram *g)
{
    const cr_shape *x = &n->in[0]->shape, *w = &n->in[1]->shape;
    const bool turned = n->op->kind == CR_OP_Gemm && cr_attr_int(n, "transB", 0);
    if (w->rank != 2 || x->rank < 1) return false;
    if (n->op->kind == CR_OP_Gemm &&
        (cr_attr_int(n, "transA", 0) || cr_attr_float(n, "alpha", 1) != 1.f))
        return false;
    g->groups = 1;
    g->k = w->dim[turned ? 1 : 0];
    g->out = w->dim[turned ? 0 : 1];
    g->across = turned ? g->k : 1;
    g->step = turned ? 1 : g->out;
    g->ow = 1;
    g->oh = cr_shape_count(x) / (g->k > 0 ? g->k : 1);
    return x->dim[x->rank - 1] == g->k && g->oh > 0;
}

bool cr_gram_describe(const cr_node *n, cr_gram *g)
{
    *g = (cr_gram){.node = n};
    const cr_op_kind kind = n->op->kind;
    if (kind != CR_OP_Conv && kind != CR_OP_Gemm && kind != CR_OP_MatMul) return false;
    g->input = n->in[0];
    g->weight = n->in[1];
    if (!g->weight->data || g->weight->dtype != CR_DT_F32 || g->weight->uses != 1) return false;
    if (!cr_shape_known(&g->input->shape) || g->input->data || g->input->dtype != CR_DT_F32)
        return false;
    if (!(kind == CR_OP_Conv ? describe_conv(n, g) : describe_product(n, g))) return false;
    return g->k >= 1 && g->out >= 1 && g->k <= MAX_K;
}

static cr_status open_sums(const cr_gram *g, cr_gram_sums *s, cr_error *err)
{
    const size_t groups = (size_t)g->groups, k = (size_t)g->k, out = (size_t)g->out;
    s->g = cr_calloc(groups * k * k, sizeof *s->g);
    s->b = cr_calloc(groups * k * out, sizeof *s->b);
    s->x = cr_calloc(groups * k, sizeof *s->x);
    s->y = cr_calloc(groups * out, sizeof *s->y);
    s->yy = cr_calloc(groups * out, sizeof *s->yy);
    return s->g && s->b && s->x && s->y && s->yy ? CR_OK : CR_NOMEM(err);
}

cr_status cr_gram_open(cr_gram *g, size_t pictures, int64_t rows_per_input, cr_error *err)
{
    int64_t wanted = g->k * rows_per_input;
    if (wanted < LEAST_ROWS) wanted = LEAST_ROWS;
    g->places = (wanted + (int64_t)pictures - 1) / (int64_t)pictures;
    if (g->places > g->oh * g->ow) g->places = g->oh * g->ow;
    if (g->places > MOST_PLACES) g->places = MOST_PLACES;
    for (int i = 0; i < CR_GRAM_SETS; i++) CR_TRY(open_sums(g, &g->sums[i], err));
    for (int i = 0; i < 2; i++)
        if (!(g->error[i] = cr_calloc((size_t)(g->groups * g->out), sizeof *g->error[i])))
            return CR_NOMEM(err);
    return CR_OK;
}

void cr_gram_close(cr_gram *g)
{
    for (int i = 0; i < CR_GRAM_SETS; i++) {
        cr_gram_sums *s = &g->sums[i];
        cr_free(s->g);
        cr_free(s->b);
        cr_free(s->x);
        cr_free(s->y);
        cr_free(s->yy);
        *s = (cr_gram_sums){0};
    }
    for (int i = 0; i < 2; i++) {
        cr_free(g->error[i]);
        g->error[i] = NULL;
    }
}

/* ---- gathering ---- */

size_t cr_gram_row_bytes(const cr_gram *g)
{
    return (size_t)(g->places * g->groups * g->k) * sizeof(float);
}

static float view_value(const cr_view *v, int64_t at)
{
    if (v->dtype == CR_DT_U8)
        return (float)((int32_t)((const uint8_t *)v->data)[at] - v->zero_point) * v->scale;
    return ((const float *)v->data)[at];
}

/* One tap of a patch: all channels of input pixel (y, x) of the first picture. */
static void gather_pixel(const cr_gram *g, const cr_view *v, int64_t y, int64_t x, float *to,
                         int64_t taps)
{
    const int64_t channels = g->groups * g->channels, plane = g->h * g->w, pixel = y * g->w + x;
    for (int64_t c = 0; c < channels; c++)
        to[c * taps] = view_value(v, v->nhwc ? pixel * v->ld + c : c * plane + pixel);
}

static void gather_patch(const cr_gram *g, const cr_view *v, int64_t place, float *row)
{
    const int64_t oy = place / g->ow, ox = place % g->ow, taps = g->kh * g->kw;
    for (int64_t t = 0; t < taps; t++) {
        const int64_t y = oy * g->stride_h - g->top + t / g->kw * g->dil_h;
        const int64_t x = ox * g->stride_w - g->left + t % g->kw * g->dil_w;
        if (y >= 0 && y < g->h && x >= 0 && x < g->w) {
            gather_pixel(g, v, y, x, row + t, taps);
            continue;
        }
        for (int64_t c = 0; c < g->groups * g->channels; c++) row[c * taps + t] = 0;
    }
}

void cr_gram_gather(const cr_gram *g, const cr_view *v, uint64_t seed, float *rows)
{
    cr_rng rng;
    const int64_t all = g->oh * g->ow;
    cr_rng_seed(&rng, seed);
    for (int64_t i = 0; i < g->places; i++) {
        const int64_t place = g->places == all ? i : (int64_t)cr_rng_below(&rng, (uint32_t)all);
        float *row = rows + i * g->groups * g->k;
        if (g->conv) {
            gather_patch(g, v, place, row);
            continue;
        }
        for (int64_t c = 0; c < g->k; c++) row[c] = view_value(v, place * g->k + c);
    }
}

/* ---- adding ---- */

typedef struct product {
    const cr_gemm_f32_kernel *kernel;
    cr_pool *pool;
    int64_t *a_at, *b_at, *c_at;
    void *scratch;
    size_t scratch_size;
    float *y, *sums; /* [rows][groups*out]; [groups][PANEL][max(k, out)] */
} product;

static cr_status multiply(product *p, cr_gemm_shape s, const float *a, const float *b, float *c,
                          int64_t a_each, int64_t b_each, int64_t c_each, cr_error *err)
{
    for (int64_t i = 0; i < s.batch; i++) {
        p->a_at[i] = i * a_each;
        p->b_at[i] = i * b_each;
        p->c_at[i] = i * c_each;
    }
    s.a_at = p->a_at, s.b_at = p->b_at, s.c_at = p->c_at, s.alpha = 1;
    const size_t need = cr_gemm_f32_scratch(p->kernel, &s);
    if (need > p->scratch_size) {
        cr_aligned_free(p->scratch);
        p->scratch_size = 0;
        p->scratch = cr_aligned_alloc(need);
        if (!p->scratch) return CR_NOMEM(err);
        p->scratch_size = need;
    }
    cr_gemm_f32_run(p->kernel, &s, a, b, c, p->scratch, p->pool);
    return CR_OK;
}

/* to [groups][k][cols] += x^T z, where z [rows][groups * cols]; PANEL rows of a group at a time, so
 * that products which are still to be added take little memory. */
static cr_status add_product(const cr_gram *g, product *p, const float *x, const float *z,
                             int64_t cols, int64_t rows, float *to, cr_error *err)
{
    const int64_t k = g->k;
    for (int64_t first = 0; first < k; first += PANEL) {
        const int64_t n = k - first < PANEL ? k - first : PANEL;
        const cr_gemm_shape s = {.batch = g->groups,
                                 .m = n,
                                 .n = cols,
                                 .k = rows,
                                 .a_down = 1,
                                 .a_right = g->groups * k,
                                 .b_down = g->groups * cols,
                                 .b_right = 1,
                                 .c_down = cols};
        CR_TRY(multiply(p, s, x + first, z, p->sums, k, cols, n * cols, err));
        for (int64_t b = 0; b < g->groups; b++)
            for (int64_t i = 0; i < n * cols; i++)
                to[(b * k + first) * cols + i] += p->sums[b * n * cols + i];
    }
    return CR_OK;
}

static void add_columns(double *sum, double *squares, const float *rows, int64_t n, int64_t cols)
{
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < cols; c++) {
            const double v = (double)rows[r * cols + c];
            sum[c] += v;
            if (squares) squares[c] += v * v;
        }
}

static cr_status add_rows(cr_gram *g, cr_gram_sums *s, product *p, const float *xq, const float *xf,
                          const float *w, int64_t rows, cr_error *err)
{
    const int64_t wide = g->groups * g->k, wide_y = g->groups * g->out, k = g->k, out = g->out;
    const cr_gemm_shape target = {.batch = g->groups,
                                  .m = rows,
                                  .n = out,
                                  .k = k,
                                  .a_down = wide,
                                  .a_right = 1,
                                  .b_down = g->step,
                                  .b_right = g->across,
                                  .c_down = wide_y};
    CR_TRY(multiply(p, target, xf, w, p->y, k, g->down, out, err));
    CR_TRY(add_product(g, p, xq, xq, k, rows, s->g, err));
    CR_TRY(add_product(g, p, xq, p->y, out, rows, s->b, err));
    add_columns(s->x, NULL, xq, rows, wide);
    add_columns(s->y, s->yy, p->y, rows, wide_y);
    s->rows += (double)rows;
    return CR_OK;
}

cr_status cr_gram_add(cr_gram *g, int set, const float *quantized, const float *exact,
                      size_t pictures, const float *weights, cr_pool *pool, cr_error *err)
{
    const int64_t rows = (int64_t)pictures * g->places;
    const size_t groups = (size_t)g->groups;
    const size_t widest = (size_t)(g->k > g->out ? g->k : g->out);
    if (rows == 0) return CR_OK;
    product p = {.kernel = cr_gemm_f32_select(cr_cpu_flags()), .pool = pool};
    p.a_at = cr_calloc(3 * groups, sizeof *p.a_at);
    p.y = cr_calloc((size_t)rows * groups * (size_t)g->out, sizeof *p.y);
    const size_t panel = (size_t)(g->k < PANEL ? g->k : PANEL);
    p.sums = cr_calloc(groups * panel * widest, sizeof *p.sums);
    cr_status st = p.a_at && p.y && p.sums ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        p.b_at = p.a_at + groups;
        p.c_at = p.b_at + groups;
        st = add_rows(g, &g->sums[set], &p, quantized, exact, weights, rows, err);
    }
    cr_free(p.a_at);
    cr_free(p.y);
    cr_free(p.sums);
    cr_aligned_free(p.scratch);
    return st;
}
