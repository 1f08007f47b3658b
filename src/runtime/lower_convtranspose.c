/* Transposed convolutions as stride x stride ordinary ones.
 *
 * Output o = s q + r of phase r sees only the taps k with (r + pad - k dil) divisible by s, at
 * input q + (r + pad - k dil) / s: a convolution of stride 1 whose taps run backwards. Its results
 * are the columns r of a wide intermediate picture,
 *
 *     wide   [n][ceil(oh/sh)][ceil(ow/sw)][sh][sw][cout]
 *
 * whose pixels are then laid out. Where all phases look through the same window (a kernel as large
 * as the stride: the usual 2x2) they are one convolution with sh*sw*cout channels, run row by row,
 * so that the intermediate row is still in cache when it is laid out.
 *
 * Rejected: one convolution over an input with zeros in between (stride^2 times the work). */
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/nn_rules.h"
#include "kernels/conv.h"
#include "runtime/integer_conv.h"
#include "runtime/program.h"

enum { MOST_PHASES = 64 };

/* One axis of one phase: `taps` taps, `dil` input positions apart, the first at q - pad. Tap t is
 * the kernel's first + t * step, or none of it where that is outside. */
typedef struct phase {
    int64_t taps, dil, pad, first, step;
} phase;

typedef struct sub_conv {
    cr_conv_f32 *f32;
    cr_conv_s8 *s8;
} sub_conv;

typedef struct deconv_op {
    sub_conv conv[MOST_PHASES];
    int count;   /* convolutions: phases, or 1 */
    bool by_row; /* one convolution without padding: `h` is 1 there */
    int64_t n, h, w, sh, sw, cout, wide, rows, cols, oh, ow;
    size_t element, conv_scratch, row_bytes; /* of results; per worker */
} deconv_op;

static void free_deconv(void *op)
{
    deconv_op *d = op;
    for (int i = 0; i < d->count; i++) {
        cr_conv_f32_free(d->conv[i].f32);
        cr_conv_s8_free(d->conv[i].s8);
    }
}

/* ---- running ---- */

typedef struct lay_job {
    const deconv_op *op;
    const unsigned char *in; /* by_row: the input; else the wide picture */
    unsigned char *out, *scratch;
    int64_t ld_in, ld_out;
    size_t in_element;
} lay_job;

static void run_conv(const sub_conv *c, const void *in, int64_t ld_in, void *out, int64_t ld_out,
                     void *scratch, cr_pool *pool)
{
    if (c->s8)
        cr_conv_s8_run(c->s8, in, ld_in, out, ld_out, scratch, pool);
    else
        cr_conv_f32_run(c->f32, in, ld_in, out, ld_out, scratch, pool);
}

/* A row of the wide picture becomes sh rows of the output. */
static void lay_row(const lay_job *j, const unsigned char *wide, int64_t n, int64_t q)
{
    const deconv_op *op = j->op;
    const size_t pixel = (size_t)op->cout * op->element, ld = (size_t)j->ld_out * op->element;
    for (int64_t r = 0; r < op->sh && q * op->sh + r < op->oh; r++) {
        unsigned char *to = j->out + (size_t)((n * op->oh + q * op->sh + r) * op->ow) * ld;
        for (int64_t x = 0; x < op->cols; x++) {
            const unsigned char *from = wide + (size_t)(x * op->sh + r) * (size_t)op->sw * pixel;
            const int64_t left = op->ow - x * op->sw, many = left < op->sw ? left : op->sw;
            if (ld == pixel) {
                memcpy(to + (size_t)(x * op->sw) * ld, from, (size_t)many * pixel);
                continue;
            }
            for (int64_t k = 0; k < many; k++)
                memcpy(to + (size_t)(x * op->sw + k) * ld, from + (size_t)k * pixel, pixel);
        }
    }
}

static void lay_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const lay_job *j = ctx;
    const deconv_op *op = j->op;
    const size_t row = (size_t)(op->cols * op->wide) * op->element;
    for (int64_t i = first; i < first + count; i++)
        lay_row(j, j->in + (size_t)i * row, i / op->rows, i % op->rows);
}

/* The whole way for some input rows, in this worker's scratch. */
static void convolve_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const lay_job *j = ctx;
    const deconv_op *op = j->op;
    unsigned char *own = j->scratch + (size_t)worker * (op->conv_scratch + op->row_bytes);
    unsigned char *wide = own + op->conv_scratch;
    for (int64_t i = first; i < first + count; i++) {
        const unsigned char *x = j->in + (size_t)(i * op->w * j->ld_in) * j->in_element;
        run_conv(&op->conv[0], x, j->ld_in, wide, op->wide, own, NULL);
        lay_row(j, wide, i / op->h, i % op->h);
    }
}

static cr_status run_deconv(const cr_step *s, cr_session *session, cr_error *err)
{
    const deconv_op *op = s->op;
    const cr_value *in = &session->program->values[s->in[0]];
    unsigned char *scratch = session->scratch;
    lay_job j = {.op = op,
                 .in = session->data[s->in[0]],
                 .out = session->data[s->out[0]],
                 .scratch = scratch,
                 .ld_in = in->ld,
                 .ld_out = session->program->values[s->out[0]].ld,
                 .in_element = cr_dtype_size(in->dtype)};
    if (op->by_row) {
        cr_session_rows(session, op->n * op->h, 1, convolve_rows, &j);
        return CR_OK;
    }
    unsigned char *wide = scratch + op->conv_scratch;
    const size_t step = (size_t)op->cout * op->element * (op->count == 1 ? 0 : 1);
    for (int i = 0; i < op->count; i++)
        run_conv(&op->conv[i], j.in, in->ld, wide + (size_t)i * step, op->wide, scratch,
                 session->pool);
    j.in = wide;
    cr_session_rows(session, op->n * op->rows, 1, lay_rows, &j);
    return CR_OK;
}

/* ---- taking the kernel apart ---- */

static int64_t common_factor(int64_t a, int64_t b)
{
    return b ? common_factor(b, a % b) : a;
}

/* Phase r of an axis. Kernel taps that belong to it are `every` apart; going down them, input
 * positions go up by `dil`. */
static phase read_phase(const cr_window *w, int axis, int64_t r)
{
    const int64_t s = w->stride[axis], dil = w->dilation[axis], shared = common_factor(s, dil);
    const int64_t every = s / shared;
    phase p = {.dil = dil / shared, .step = -every, .first = -1};
    int64_t lowest = 0;
    for (int64_t k = w->kernel[axis] - 1; k >= 0; k--) {
        const int64_t at = r + w->pad_lo[axis] - k * dil;
        if (at % s) continue;
        if (p.taps++) continue;
        p.first = k;
        lowest = at / s;
    }
    if (p.taps == 0) p.taps = 1; /* no tap sees it: one of weight 0, and the bias */
    while (lowest > 0) {         /* padding cannot be negative: taps of weight 0 in front */
        lowest -= p.dil;
        p.first += every;
        p.taps++;
    }
    p.pad = -lowest;
    return p;
}

static bool same_window(const phase *a, const phase *b)
{
    return a->taps == b->taps && a->dil == b->dil && a->pad == b->pad;
}

typedef struct deconv {
    const cr_node *n;
    cr_conv_shape c;
    phase y[MOST_PHASES], x[MOST_PHASES]; /* by phase of the axis */
    bool merged, integers;
    cr_act act;
} deconv;

static int phases(const deconv *d)
{
    return (int)(d->c.win.stride[1] * d->c.win.stride[2]);
}

static bool read_deconv(const cr_program *p, const cr_node *n, deconv *d)
{
    const cr_tensor *x = n->in[0], *w = n->in[1], *b = n->n_in > 2 ? n->in[2] : NULL;
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    if (x->dtype != CR_DT_F32 || x->shape.rank != 4 || x->data || !w->data) return false;
    if (w->dtype != CR_DT_F32 || cr_shape_count(&n->out[0]->shape) <= 0) return false;
    if (b && (!b->data || b->dtype != CR_DT_F32 || cr_program_entry(p, b))) return false;
    *d = (deconv){.n = n, .merged = true};
    if (cr_conv_transpose_read(&call, &d->c, NULL) != CR_OK || d->c.win.n != 2) return false;
    const cr_window *win = &d->c.win;
    for (int a = 1; a <= 2; a++)
        if (win->stride[a] > 8 || win->pad_lo[a] < 0 || win->kernel[a] > 64) return false;
    for (int64_t r = 0; r < win->stride[1]; r++) d->y[r] = read_phase(win, 1, r);
    for (int64_t r = 0; r < win->stride[2]; r++) d->x[r] = read_phase(win, 2, r);
    for (int64_t r = 0; r < win->stride[1]; r++) d->merged &= same_window(&d->y[0], &d->y[r]);
    for (int64_t r = 0; r < win->stride[2]; r++) d->merged &= same_window(&d->x[0], &d->x[r]);
    d->merged &= d->c.groups == 1;
    d->integers = cr_conv_takes_integers(p->entries, n);
    return true;
}

/* Kernel index of tap t, or -1. */
static int64_t kernel_tap(const phase *p, int64_t t, int64_t kernel)
{
    const int64_t k = p->first + t * p->step;
    return k >= 0 && k < kernel ? k : -1;
}

/* Index into the node's weights [cin][cout/g][kh][kw] of output channel o, input channel i (of its
 * group), tap (ty, tx) of a phase; -1 where the phase has none. */
static int64_t weight_at(const deconv *d, const phase *y, const phase *x, int64_t o, int64_t i,
                         int64_t ty, int64_t tx)
{
    const cr_window *w = &d->c.win;
    const int64_t ky = kernel_tap(y, ty, w->kernel[1]), kx = kernel_tap(x, tx, w->kernel[2]);
    if (ky < 0 || kx < 0) return -1;
    const int64_t per = d->c.out_channels / d->c.groups, in = d->c.in_channels / d->c.groups;
    const int64_t row = o / per * in + i;
    return ((row * per + o % per) * w->kernel[1] + ky) * w->kernel[2] + kx;
}

/* Phases first .. first + many - 1 as one convolution: which weight goes where, [many *
 * cout][cin/g] [taps]. */
static int64_t *weight_map(cr_arena *a, const deconv *d, int first, int many)
{
    const phase *py = &d->y[first / d->c.win.stride[2]], *px = &d->x[first % d->c.win.stride[2]];
    const int64_t cin = d->c.in_channels / d->c.groups, taps = py->taps * px->taps;
    int64_t *map = cr_arena_alloc(a, (size_t)(many * d->c.out_channels * cin * taps) * sizeof *map);
    int64_t *to = map;
    for (int k = first; map && k < first + many; k++) {
        const phase *y = &d->y[k / d->c.win.stride[2]], *x = &d->x[k % d->c.win.stride[2]];
        for (int64_t o = 0; o < d->c.out_channels; o++)
            for (int64_t i = 0; i < cin; i++)
                for (int64_t t = 0; t < taps; t++)
                    *to++ = weight_at(d, y, x, o, i, t / px->taps, t % px->taps);
    }
    return map;
}

static cr_conv_geometry sub_geometry(const deconv *d, const deconv_op *op, int first, int many)
{
    const phase *y = &d->y[first / d->c.win.stride[2]], *x = &d->x[first % d->c.win.stride[2]];
    cr_conv_geometry g = {.n = op->n,
                          .h = op->h,
                          .w = op->w,
                          .cin = d->c.in_channels,
                          .oh = op->rows,
                          .ow = op->cols,
                          .cout = many * op->cout,
                          .ld_in = d->c.in_channels,
                          .ld_out = op->wide,
                          .kh = y->taps,
                          .kw = x->taps,
                          .stride_h = 1,
                          .stride_w = 1,
                          .dil_h = y->dil,
                          .dil_w = x->dil,
                          .pad_top = y->pad,
                          .pad_left = x->pad,
                          .groups = d->c.groups};
    if (op->by_row) g.n = g.h = g.oh = 1;
    return g;
}

static cr_status create_f32(cr_program *p, const deconv *d, const cr_conv_geometry *g,
                            const int64_t *map, cr_arena *a, sub_conv *out, cr_error *err)
{
    const float *source, *b = d->n->n_in > 2 && d->n->in[2] ? d->n->in[2]->data : NULL;
    CR_TRY(cr_program_weights(p, d->n->in[1], &source, err));
    const int64_t count = g->cout * (g->cin / g->groups) * g->kh * g->kw;
    float *w = cr_arena_alloc(a, (size_t)count * sizeof *w);
    float *bias = cr_arena_alloc(a, (size_t)g->cout * sizeof *bias);
    if (!w || !bias) return CR_NOMEM(err);
    for (int64_t i = 0; i < count; i++) w[i] = map[i] < 0 ? 0 : source[map[i]];
    for (int64_t i = 0; i < g->cout && b; i++) bias[i] = b[i % d->c.out_channels];
    return cr_conv_f32_create(g, w, bias, &d->act, p->cpu, &out->f32, err);
}

static cr_status create_s8(cr_program *p, const deconv *d, const cr_conv_geometry *g,
                           const int64_t *map, const cr_value *in, const cr_value *out_value,
                           cr_arena *a, sub_conv *out, cr_error *err)
{
    const cr_qparams *q = &cr_program_entry(p, d->n->in[1])->q;
    const float *b = d->n->n_in > 2 && d->n->in[2] ? d->n->in[2]->data : NULL;
    const int64_t count = g->cout * (g->cin / g->groups) * g->kh * g->kw;
    int32_t *codes = cr_arena_alloc(a, (size_t)cr_shape_count(&d->n->in[1]->shape) * sizeof *codes);
    int8_t *w = cr_arena_alloc(a, (size_t)count);
    int32_t *zeros_w = cr_arena_alloc(a, (size_t)g->cout * sizeof *zeros_w);
    int32_t *bias = cr_arena_alloc(a, (size_t)g->cout * sizeof *bias);
    float *m = cr_arena_alloc(a, (size_t)g->cout * sizeof *m);
    const bool columns = out_value->scales != NULL;
    float *scales = columns ? cr_arena_alloc(a, (size_t)g->cout * sizeof *scales) : NULL;
    int32_t *zeros = columns ? cr_arena_alloc(a, (size_t)g->cout * sizeof *zeros) : NULL;
    if (!codes || !w || !zeros_w || !bias || !m || (columns && (!scales || !zeros))) return CR_NOMEM(err);
    cr_quantize_tensor(d->n->in[1], q, codes);
    for (int64_t i = 0; i < count; i++) {
        const int64_t channel = i / (count / g->cout);
        zeros_w[channel] = cr_weight_zero(q, channel % d->c.out_channels);
        w[i] = (int8_t)(map[i] < 0 ? zeros_w[channel] : codes[map[i]] - cr_weight_shift(q->type));
    }
    for (int64_t i = 0; i < g->cout; i++) {
        const int64_t c = i % d->c.out_channels;
        const float sw = q->scale[q->count == 1 ? 0 : c];
        bias[i] = b ? cr_quantize_bias(b[c], in->scale, sw) : 0;
        const float sy = columns ? out_value->scales[c] : out_value->scale;
        m[i] = in->scale * sw;
        if (out_value->quantized && d->act.kind == CR_ACT_NONE)
            m[i] = cr_requant_multiplier(in->scale, sw, sy);
        if (!columns) continue;
        scales[i] = sy;
        zeros[i] = out_value->zeros[c];
    }
    const cr_conv_s8_params params = {.weights = w,
                                      .zeros_w = zeros_w,
                                      .bias = bias,
                                      .multiplier = m,
                                      .zero_in = in->zero_point,
                                      .act = d->act,
                                      .float_out = !out_value->quantized,
                                      .scale_out = out_value->scale,
                                      .zero_out = out_value->zero_point,
                                      .scales_out = scales,
                                      .zeros_out = zeros};
    return cr_conv_s8_create(g, &params, p->cpu, &out->s8, err);
}

static size_t aligned(size_t n)
{
    return cr_round_up(n, CR_ALIGN);
}

static cr_status create_convs(cr_program *p, const deconv *d, int in, int out, deconv_op *op,
                              cr_error *err)
{
    const int many = d->merged ? phases(d) : 1;
    const int threads = op->by_row ? 1 : p->threads;
    for (int first = 0; first < phases(d); first += many) {
        const cr_conv_geometry g = sub_geometry(d, op, first, many);
        cr_arena a = {0};
        sub_conv *conv = &op->conv[op->count];
        const int64_t *map = weight_map(&a, d, first, many);
        cr_status st = map ? CR_OK : CR_NOMEM(err);
        if (st == CR_OK && d->integers)
            st = create_s8(p, d, &g, map, &p->values[in], &p->values[out], &a, conv, err);
        else if (st == CR_OK)
            st = create_f32(p, d, &g, map, &a, conv, err);
        cr_arena_free(&a);
        if (st != CR_OK) return st;
        op->count++;
        const size_t need = aligned(conv->s8 ? cr_conv_s8_scratch(conv->s8, threads)
                                             : cr_conv_f32_scratch(conv->f32, threads));
        if (need > op->conv_scratch) op->conv_scratch = need;
    }
    return CR_OK;
}

static void read_sizes(const deconv *d, const cr_value *out, deconv_op *op)
{
    const cr_window *w = &d->c.win;
    *op = (deconv_op){.n = d->c.batch,
                      .h = w->in[1],
                      .w = w->in[2],
                      .sh = w->stride[1],
                      .sw = w->stride[2],
                      .cout = d->c.out_channels,
                      .oh = w->out[1],
                      .ow = w->out[2],
                      .element = cr_dtype_size(out->dtype)};
    op->wide = op->sh * op->sw * op->cout;
    op->rows = (op->oh + op->sh - 1) / op->sh;
    op->cols = (op->ow + op->sw - 1) / op->sw;
    op->by_row = d->merged && d->y[0].taps == 1 && d->y[0].pad == 0 && op->rows == op->h;
    op->row_bytes = aligned((size_t)(op->cols * op->wide) * op->element);
}

/* The bytes of the whole intermediate, at most 1 GiB of them. */
static bool wide_fits(const deconv *d)
{
    const cr_window *w = &d->c.win;
    const int64_t rows = w->out[1] / w->stride[1] + 1, cols = w->out[2] / w->stride[2] + 1;
    int64_t bytes = d->c.batch * 4;
    return !__builtin_mul_overflow(bytes, rows * w->stride[1], &bytes) &&
           !__builtin_mul_overflow(bytes, cols * w->stride[2], &bytes) &&
           !__builtin_mul_overflow(bytes, d->c.out_channels, &bytes) && bytes <= 1 << 30;
}

cr_status cr_lower_convtranspose(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    deconv d;
    int in, out;
    if (n->op->kind != CR_OP_ConvTranspose || !read_deconv(p, n, &d) || !wide_fits(&d))
        return CR_OK;
    *done = true;
    CR_TRY(cr_program_need(p, n->in[0], d.integers ? CR_DT_U8 : CR_DT_F32, true, &in, err));
    const cr_tensor *y = cr_program_fuse_activation(p, n->out[0], &d.act);
    if (d.integers && cr_program_codes_entry(p, y))
        CR_TRY(cr_program_output_u8(p, y, true, &out, err));
    else
        CR_TRY(cr_program_output(p, y, CR_DT_F32, true, &out, err));
    deconv_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run_deconv, "", n, 1, 1);
    if (!op || !s) return CR_NOMEM(err);
    read_sizes(&d, &p->values[out], op);
    s->in[0] = in;
    s->out[0] = out;
    s->op = op;
    s->free_op = free_deconv;
    CR_TRY(create_convs(p, &d, in, out, op, err));
    s->what = d.integers ? cr_conv_s8_name(op->conv[0].s8) : cr_conv_f32_name(op->conv[0].f32);
    s->scratch = op->by_row ? (size_t)p->threads * (op->conv_scratch + op->row_bytes)
                            : op->conv_scratch + (size_t)(op->n * op->rows) * op->row_bytes;
    return cr_program_finish(p, y, out, err);
}
