/* Dynamic quantization: two steps per convolution (gemm), a third for zero points of weights.
 *
 *     x float ── range, codes ──▶ [codes, with padding | scale, zero point] ── integers ──▶ y float
 *
 * The first step finds the range of x and writes its codes where the kernel reads them, surrounded by
 * the padding that the window wants: codes of 0, whose zero point is known then and not when the
 * kernel is made. So the kernel has no padding of its own and one zero point, 0; what its sums lack
 * is -za * sum w, by channel, and leaves with them: y = act((float)(acc + lack) * (sa * sw) + bias).
 * Scale and zero point stand behind the codes. Readers that want the same padding share codes.
 *
 * Weights with a zero point (ONNX Runtime's uint8 ones): w - zw does not fit int8, w - zw - d does with
 * d by channel; d times the sum of codes under the window, which is one more convolution with ones
 * for weights and one channel, makes up for it.
 *
 * Rejected: the zero point in the kernels' tables of padding (each family has its own, made once and
 * shared among sessions); finding the range where x is made (saves a read from L2, costs a variant
 * of every epilogue). */
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "kernels/conv.h"
#include "kernels/rows.h"
#include "runtime/integer_live.h"
#include "runtime/program.h"

enum { TAIL = 64 }; /* bytes behind the codes */

typedef struct padding {
    int64_t top, bottom, left, right;
} padding;

/* Codes that some reader has asked for. */
typedef struct cr_live_codes {
    const cr_tensor *tensor;
    padding pad;
    bool image; /* [n,h,w,c]; else rows */
    int value;
} cr_live_codes;

/* ---- codes ----------------------------------------------------------------------------------- */

typedef struct codes_op {
    int64_t n, h, w, c; /* of x */
    padding pad;
    int64_t ld;         /* bytes of a pixel of codes */
    bool planes;        /* x is [n,c,h,w] */
    size_t bytes;       /* of all codes, to a whole line */
} codes_op;

static cr_live_range *tail_of(const codes_op *op, unsigned char *codes)
{
    return (cr_live_range *)(void *)(codes + op->bytes);
}

typedef struct codes_job {
    const codes_op *op;
    const cr_rows *k;
    const float *x;
    uint8_t *y;
    int64_t ld; /* of x without planes: floats from a pixel of x to the next */
    cr_live_range range;
    float (*ends)[2]; /* by worker */
} codes_job;

enum { GRAIN = 4096 }; /* elements that are worth another thread's while */

/* Of rows of the picture; of planes any stretch of the same length will do. */
static void find_range(void *ctx, int64_t first, int64_t count, int worker)
{
    const codes_job *j = ctx;
    const codes_op *op = j->op;
    const bool whole = op->planes || j->ld == op->c;
    const int64_t pieces = whole ? 1 : op->w, length = whole ? op->w * op->c : op->c;
    float *ends = j->ends[worker];
    for (int64_t r = first; r < first + count; r++)
        for (int64_t i = 0; i < pieces; i++)
            j->k->range(j->x + r * op->w * (whole ? op->c : j->ld) + i * j->ld, (size_t)length,
                        &ends[0], &ends[1]);
}

static void code_pixels(const codes_job *j, uint8_t *y, int64_t picture, int64_t row)
{
    const codes_op *op = j->op;
    const float scale = j->range.scale, *x = j->x + (picture * op->h + row) * op->w * j->ld;
    const int32_t zero = j->range.zero_point;
    if (op->planes) {
        const float *planes[4] = {NULL, NULL, NULL, NULL};
        for (int64_t c = 0; c < op->c; c++)
            planes[c] = j->x + ((picture * op->c + c) * op->h + row) * op->w;
        j->k->quantize_pixels(y, planes, (size_t)op->w, scale, zero);
    } else if (j->ld == op->c && op->ld == op->c) {
        j->k->quantize(y, x, (size_t)(op->w * op->c), scale, zero);
    } else {
        for (int64_t i = 0; i < op->w; i++)
            j->k->quantize(y + i * op->ld, x + i * j->ld, (size_t)op->c, scale, zero);
    }
}

/* Rows of the padded picture. */
static void code_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    (void)worker;
    const codes_job *j = ctx;
    const codes_op *op = j->op;
    const int64_t height = op->h + op->pad.top + op->pad.bottom;
    const int64_t width = op->w + op->pad.left + op->pad.right;
    const int zero = j->range.zero_point;
    for (int64_t r = first; r < first + count; r++) {
        uint8_t *y = j->y + r * width * op->ld;
        const int64_t row = r % height - op->pad.top;
        if (row < 0 || row >= op->h) {
            memset(y, zero, (size_t)(width * op->ld));
            continue;
        }
        memset(y, zero, (size_t)(op->pad.left * op->ld));
        code_pixels(j, y + op->pad.left * op->ld, r / height, row);
        memset(y + (op->pad.left + op->w) * op->ld, zero, (size_t)(op->pad.right * op->ld));
    }
}

static cr_status run_codes(const cr_step *s, cr_session *session, cr_error *err)
{
    const codes_op *op = s->op;
    const cr_value *in = &session->program->values[s->in[0]];
    const int threads = cr_pool_threads(session->pool);
    codes_job j = {.op = op,
                   .k = cr_rows_get(session->program->cpu),
                   .x = session->data[s->in[0]],
                   .y = session->data[s->out[0]],
                   .ld = in->nhwc ? in->ld : op->c,
                   .ends = (float(*)[2])(void *)session->scratch};
    for (int i = 0; i < threads; i++) j.ends[i][0] = j.ends[i][1] = 0;
    const int64_t grain = 1 + GRAIN / (op->w * op->c + 1);
    cr_session_rows(session, op->n * op->h, grain, find_range, &j);
    float lo = 0, hi = 0;
    for (int i = 0; i < threads; i++) {
        lo = j.ends[i][0] < lo ? j.ends[i][0] : lo;
        hi = j.ends[i][1] > hi ? j.ends[i][1] : hi;
    }
    j.range = cr_live_range_of(lo, hi);
    *tail_of(op, j.y) = j.range;
    cr_session_rows(session, op->n * (op->h + op->pad.top + op->pad.bottom), grain, code_rows, &j);
    return CR_OK;
}

static bool same_padding(const padding *a, const padding *b)
{
    return a->top == b->top && a->bottom == b->bottom && a->left == b->left && a->right == b->right;
}

static const cr_live_codes *find_codes(const cr_program *p, const cr_tensor *t, const padding *pad,
                                       bool image)
{
    for (size_t i = 0; i < p->live_count; i++) {
        const cr_live_codes *c = &p->live_codes[i];
        if (c->tensor == t && c->image == image && same_padding(&c->pad, pad)) return c;
    }
    return NULL;
}

static size_t code_bytes(const codes_op *o)
{
    const int64_t pixels =
        o->n * (o->h + o->pad.top + o->pad.bottom) * (o->w + o->pad.left + o->pad.right);
    return cr_round_up((size_t)(pixels * o->ld), TAIL);
}

/* The value with codes of t. */
static cr_status need_codes(cr_program *p, const cr_tensor *t, const codes_op *shape, bool image,
                            int *value, cr_error *err)
{
    const cr_live_codes *made = find_codes(p, t, &shape->pad, image);
    if (made) {
        *value = made->value;
        return CR_OK;
    }
    int in;
    const int primary = cr_program_primary(p, t);
    const bool planes = image && shape->ld == CR_PIXEL && primary >= 0 && !p->values[primary].nhwc;
    CR_TRY(cr_program_need(p, t, CR_DT_F32, image && !planes, &in, err));
    *value = cr_program_add_value(p, t, CR_DT_U8, false);
    codes_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run_codes, "dynamic_quantize", NULL, 1, 1);
    if (*value < 0 || !op || !s ||
        !cr_grow((void **)&p->live_codes, &p->live_cap, p->live_count, sizeof *p->live_codes))
        return CR_NOMEM(err);
    cr_program_hide_value(p, t, *value);
    *op = *shape;
    op->planes = planes;
    op->bytes = code_bytes(op);
    p->values[*value].bytes = op->bytes + TAIL;
    s->op = op;
    s->in[0] = in;
    s->out[0] = *value;
    s->scratch = (size_t)p->threads * sizeof(float[2]);
    p->live_codes[p->live_count++] = (cr_live_codes){t, shape->pad, image, *value};
    return CR_OK;
}

/* ---- the product ----------------------------------------------------------------------------- */

typedef struct live_op {
    codes_op codes; /* what it reads */
    cr_conv_s8 *conv, *window; /* window: sums of codes; NULL: weights have no zero point */
    int64_t cout, pixels;
    const float *scales, *bias;   /* [cout] */
    const int32_t *sums, *zero;   /* [cout] of weights with all zero points taken off; -d */
    size_t kernel_scratch;        /* of the larger of the two; what a run knows stands behind it */
    cr_act act;
} live_op;

static void free_live(void *op)
{
    live_op *l = op;
    cr_conv_s8_free(l->conv);
    cr_conv_s8_free(l->window);
}

static cr_status run_live(const cr_step *s, cr_session *session, cr_error *err)
{
    const live_op *l = s->op;
    const cr_value *out = &session->program->values[s->out[0]];
    unsigned char *codes = session->data[s->in[0]];
    const cr_live_range r = *tail_of(&l->codes, codes);
    float *multiplier = (float *)(void *)(session->scratch + l->kernel_scratch);
    int32_t *missing = (int32_t *)(void *)(multiplier + l->cout), *window = missing + l->cout;
    for (int64_t c = 0; c < l->cout; c++) {
        multiplier[c] = r.scale * l->scales[c];
        missing[c] = (int32_t)(0 - (uint32_t)r.zero_point * (uint32_t)l->sums[c]);
    }
    if (l->window)
        cr_conv_s8_run(l->window, codes, 0, window, 0, session->scratch, session->pool);
    const cr_conv_s8_live live = {multiplier, l->bias, missing, l->window ? l->zero : NULL, window,
                                  l->act};
    const int64_t ld = out->nhwc ? out->ld : l->cout;
    cr_conv_s8_run_live(l->conv, codes, 0, &live, session->data[s->out[0]], ld, session->scratch,
                        session->pool);
    return CR_OK;
}

/* Weights as the kernel takes them: [cout][cin / groups][taps] bytes and what was taken off each
 * channel to fit. */
typedef struct live_weights {
    int8_t *bytes;
    int32_t *sums, *zero;
    float *scales, *bias;
    bool shifted;
} live_weights;

static int32_t shift_of(const int32_t *w, int64_t n)
{
    int32_t lo = 0, hi = 0;
    for (int64_t i = 0; i < n; i++) {
        lo = w[i] < lo ? w[i] : lo;
        hi = w[i] > hi ? w[i] : hi;
    }
    if (hi > 127) return hi - 127;
    return lo < -128 ? lo + 128 : 0;
}

/* cin: channels that the kernel reads, of which those beyond the convolution's own have weight 0. */
static cr_status make_weights(cr_program *p, const cr_node *n, const cr_conv_geometry *g, int64_t cin,
                              live_weights *w, cr_error *err)
{
    const cr_qparams *q = &cr_program_entry(p, n->in[1])->q;
    const int64_t own = g->cin / g->groups, each = cin / g->groups, taps = g->kh * g->kw;
    int32_t *codes = cr_calloc((size_t)(g->cout * own * taps), sizeof *codes);
    w->bytes = cr_calloc((size_t)(g->cout * each * taps), 1);
    w->sums = cr_arena_alloc(&p->arena, (size_t)g->cout * sizeof *w->sums);
    w->zero = cr_arena_alloc(&p->arena, (size_t)g->cout * sizeof *w->zero);
    w->scales = cr_arena_alloc(&p->arena, (size_t)g->cout * sizeof *w->scales);
    w->bias = cr_arena_alloc(&p->arena, (size_t)g->cout * sizeof *w->bias);
    const bool ok = codes && w->bytes && w->sums && w->zero && w->scales && w->bias;
    if (ok) cr_live_weights(n, q, codes);
    for (int64_t c = 0; ok && c < g->cout; c++) {
        const int32_t *row = codes + c * own * taps, d = shift_of(row, own * taps);
        w->zero[c] = -d;
        w->shifted |= d != 0;
        w->scales[c] = cr_live_scale(q, c);
        w->bias[c] = cr_live_bias(n, c);
        w->sums[c] = 0;
        for (int64_t i = 0; i < own * taps; i++) {
            w->bytes[c * each * taps + i] = (int8_t)(row[i] - d);
            w->sums[c] = cr_wrap_add(w->sums[c], row[i]);
        }
    }
    cr_free(codes);
    return ok ? CR_OK : CR_NOMEM(err);
}

static cr_status make_window(cr_program *p, const cr_conv_geometry *g, live_op *l, cr_error *err)
{
    cr_conv_geometry ones = *g;
    ones.cout = ones.ld_out = 1;
    const size_t n = (size_t)(g->cin * g->kh * g->kw);
    int8_t *weights = cr_malloc(n);
    if (!weights) return CR_NOMEM(err);
    memset(weights, 1, n);
    const cr_conv_s8_params params = {.weights = weights, .raw_out = true};
    const cr_status st = cr_conv_s8_create(&ones, &params, p->cpu, &l->window, err);
    cr_free(weights);
    return st;
}

static cr_status make_kernels(cr_program *p, const cr_node *n, const cr_conv_geometry *g,
                              const cr_conv_geometry *own, live_op *l, cr_error *err)
{
    live_weights w = {.shifted = false};
    cr_status st = make_weights(p, n, own, g->cin, &w, err);
    const cr_conv_s8_params params = {.weights = w.bytes, .raw_out = true};
    if (st == CR_OK) st = cr_conv_s8_create(g, &params, p->cpu, &l->conv, err);
    if (st == CR_OK && w.shifted) {
        cr_conv_geometry narrow = *g;
        narrow.cin = own->cin;
        st = make_window(p, &narrow, l, err);
    }
    cr_free(w.bytes);
    if (st != CR_OK) return st;
    l->scales = w.scales;
    l->bias = w.bias;
    l->sums = w.sums;
    l->zero = w.zero;
    l->kernel_scratch = cr_conv_s8_scratch(l->conv, p->threads);
    if (l->window) {
        const size_t more = cr_conv_s8_scratch(l->window, p->threads);
        if (more > l->kernel_scratch) l->kernel_scratch = more;
    }
    l->kernel_scratch = cr_round_up(l->kernel_scratch, TAIL);
    return CR_OK;
}

/* A matrix product is a 1x1 convolution over a row of pixels. */
static bool read_shape(const cr_node *n, cr_conv_geometry *g)
{
    const cr_tensor *x = n->in[0];
    if (!cr_shape_known(&x->shape) || cr_shape_count(&x->shape) <= 0) return false;
    if (n->op->kind == CR_OP_Conv) return x->shape.rank == 4 && cr_conv_read_geometry(n, g);
    const int64_t k = x->shape.dim[x->shape.rank - 1], cout = cr_dynamic_rows(n);
    if (cr_shape_count(&n->in[1]->shape) != k * cout || cout < 1) return false;
    *g = (cr_conv_geometry){.n = 1, .h = 1, .w = cr_shape_count(&x->shape) / k, .cin = k, .oh = 1,
                            .ow = cr_shape_count(&x->shape) / k, .cout = cout, .ld_in = k,
                            .ld_out = cout, .kh = 1, .kw = 1, .stride_h = 1, .stride_w = 1,
                            .dil_h = 1, .dil_w = 1, .groups = 1};
    return true;
}

/* Padding behind the last row and column that windows reach. */
static int64_t reach(int64_t out, int64_t stride, int64_t kernel, int64_t dil, int64_t before,
                     int64_t in)
{
    const int64_t last = (out - 1) * stride + (kernel - 1) * dil + 1 - before - in;
    return last > 0 ? last : 0;
}

static codes_op codes_for(const cr_conv_geometry *g, bool image)
{
    const bool spare = image && g->groups == 1 && g->cin < CR_PIXEL;
    codes_op c = {.n = g->n, .h = g->h, .w = g->w, .c = g->cin, .ld = spare ? CR_PIXEL : g->cin};
    if (!image) c.h = g->w, c.w = 1; /* rows for threads to share */
    if (image)
        c.pad = (padding){g->pad_top, reach(g->oh, g->stride_h, g->kh, g->dil_h, g->pad_top, g->h),
                          g->pad_left, reach(g->ow, g->stride_w, g->kw, g->dil_w, g->pad_left, g->w)};
    c.bytes = code_bytes(&c);
    return c;
}

/* Several weights' zero points in grouped convolutions would need sums by group: those, and sizes
 * that kernels do not take, run by reference. */
static bool is_fast(const cr_program *p, const cr_node *n, const cr_conv_geometry *g)
{
    const cr_recipe_entry *e = cr_program_entry(p, n->in[1]);
    for (size_t i = 0; g->groups > 1 && i < e->q.count; i++)
        if (e->q.zero_point[i] != (e->q.type == CR_DT_U8 ? 128 : 0)) return false;
    return true;
}

cr_status cr_lower_live(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    cr_conv_geometry own;
    if (!cr_dynamic_takes(p->live, p->entries, n)) return CR_OK;
    if (!read_shape(n, &own) || !is_fast(p, n, &own)) {
        *done = true;
        return cr_lower_reference(p, n, err);
    }
    const bool image = n->op->kind == CR_OP_Conv;
    int in, out;
    live_op *l = cr_arena_alloc(&p->arena, sizeof *l);
    if (!l) return CR_NOMEM(err);
    *l = (live_op){.codes = codes_for(&own, image), .cout = own.cout,
                   .pixels = own.n * own.oh * own.ow};
    CR_TRY(need_codes(p, n->in[0], &l->codes, image, &in, err));
    cr_conv_geometry g = own;
    g.h += l->codes.pad.top + l->codes.pad.bottom;
    g.w += l->codes.pad.left + l->codes.pad.right;
    g.pad_top = g.pad_left = 0;
    g.ld_in = l->codes.ld;
    if (g.ld_in > g.cin) g.cin = g.ld_in; /* spare codes, weights 0 */
    const cr_tensor *y = cr_program_fuse_activation(p, n->out[0], &l->act);
    CR_TRY(cr_program_output(p, y, CR_DT_F32, image, &out, err));
    cr_step *s = cr_program_add_step(p, run_live, "", n, 1, 1);
    if (!s) return CR_NOMEM(err);
    s->in[0] = in;
    s->out[0] = out;
    s->op = l;
    s->free_op = free_live;
    *done = true;
    CR_TRY(make_kernels(p, n, &g, &own, l, err));
    s->what = cr_conv_s8_name(l->conv);
    s->scratch = l->kernel_scratch + (size_t)l->cout * 8 + (l->window ? (size_t)l->pixels * 4 : 0);
    return cr_program_finish(p, y, out, err);
}
