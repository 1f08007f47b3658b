/* Operators on pictures in rows of channels that compute with neighbours: AveragePool (sums in
 * double, the reference's bits), linear Resize (in float), and Pad around the picture.
 *
 * A linear Resize blends two input rows into a line of the input's width first, then two pixels of
 * that line into each output pixel: both are one vector operation over neighbouring floats. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/infer_move.h"
#include "graph/nn_rules.h"
#include "kernels/sums.h"
#include "kernels/vmath.h"
#include "runtime/program.h"

enum { BLOCK = 128 };

static bool is_picture(const cr_tensor *t)
{
    return t && t->shape.rank == 4 && t->dtype == CR_DT_F32 && cr_shape_count(&t->shape) > 0;
}

typedef struct picture_job {
    const void *op;
    const cr_vmath *math;
    const float *in;
    float *out;
    unsigned char *scratch;
    int64_t h, w, oh, ow, channels, ld_in, ld_out;
} picture_job;

static picture_job make_job(const cr_step *s, cr_session *session)
{
    const cr_value *in = &session->program->values[s->in[0]];
    const cr_value *out = &session->program->values[s->out[0]];
    const int64_t *x = in->tensor->shape.dim, *y = out->tensor->shape.dim;
    return (picture_job){s->op,
                         cr_vmath_get(session->program->cpu),
                         session->data[s->in[0]],
                         session->data[s->out[0]],
                         session->scratch,
                         x[2],
                         x[3],
                         y[2],
                         y[3],
                         x[1],
                         in->ld,
                         out->ld};
}

static cr_status add_picture(cr_program *p, const cr_node *n, const char *what, cr_step_fn run,
                             void *op, size_t scratch, cr_error *err)
{
    int in, out;
    CR_TRY(cr_program_need(p, n->in[0], CR_DT_F32, true, &in, err));
    CR_TRY(cr_program_output(p, n->out[0], CR_DT_F32, true, &out, err));
    cr_step *s = cr_program_add_step(p, run, what, n, 1, 1);
    if (!s) return CR_NOMEM(err);
    s->in[0] = in;
    s->out[0] = out;
    s->op = op;
    s->scratch = scratch;
    return cr_program_finish(p, n->out[0], out, err);
}

static int64_t lower_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- AveragePool ---- */

typedef struct average_op {
    cr_window win;
    bool with_pads;
} average_op;

/* Taps of output o along an axis that lie in [-before, size + after). */
static void tap_range(const cr_window *w, int axis, int64_t o, int64_t before, int64_t after,
                      int64_t *from, int64_t *to)
{
    const int64_t first = o * w->stride[axis] - w->pad_lo[axis], dil = w->dilation[axis];
    *from = 0;
    *to = w->kernel[axis];
    while (*from < *to && first + *from * dil < -before) ++*from;
    while (*to > *from && first + (*to - 1) * dil >= w->in[axis] + after) --*to;
}

static int64_t counted(const average_op *op, int axis, int64_t o)
{
    int64_t from, to;
    const bool pads = op->with_pads;
    tap_range(&op->win, axis, o, pads ? op->win.pad_lo[axis] : 0, pads ? op->win.pad_hi[axis] : 0,
              &from, &to);
    return to - from;
}

static void average_pixel(const picture_job *j, int64_t n, int64_t y, int64_t x)
{
    const average_op *op = j->op;
    const cr_window *w = &op->win;
    int64_t y0, y1, x0, x1;
    tap_range(w, 1, y, 0, 0, &y0, &y1);
    tap_range(w, 2, x, 0, 0, &x0, &x1);
    const double count = (double)(counted(op, 1, y) * counted(op, 2, x));
    const int64_t top = y * w->stride[1] - w->pad_lo[1], left = x * w->stride[2] - w->pad_lo[2];
    float *out = j->out + ((n * j->oh + y) * j->ow + x) * j->ld_out;
    for (int64_t c = 0; c < j->channels; c += BLOCK) {
        const int64_t many = lower_of(j->channels - c, BLOCK);
        double sum[BLOCK] = {0};
        for (int64_t ky = y0; ky < y1; ky++)
            for (int64_t kx = x0; kx < x1; kx++) {
                const int64_t iy = top + ky * w->dilation[1], ix = left + kx * w->dilation[2];
                cr_sum_columns(sum, j->in + ((n * j->h + iy) * j->w + ix) * j->ld_in + c, many);
            }
        for (int64_t i = 0; i < many; i++) out[c + i] = count > 0 ? (float)(sum[i] / count) : 0;
    }
}

static void average_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const picture_job *j = ctx;
    for (int64_t r = first; r < first + count; r++)
        for (int64_t x = 0; x < j->ow; x++) average_pixel(j, r / j->oh, r % j->oh, x);
}

static cr_status run_average(const cr_step *s, cr_session *session, cr_error *err)
{
    picture_job j = make_job(s, session);
    const int64_t rows = session->program->values[s->out[0]].rows / j.ow;
    cr_session_rows(session, rows, 1, average_rows, &j);
    return CR_OK;
}

static cr_status lower_average(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    average_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    if (!op) return CR_NOMEM(err);
    CR_TRY(cr_window_pool(&call, &op->win, err));
    op->with_pads = cr_attr_int(n, "count_include_pad", 0) != 0;
    *done = true;
    return add_picture(p, n, "average_pool", run_average, op, 0, err);
}

/* ---- linear Resize ---- */

typedef struct blend {
    int64_t a, b; /* two input places */
    float wa, wb;
} blend;

typedef struct linear_op {
    const blend *y, *x; /* by output place */
    size_t line;        /* bytes of a blended line, per worker */
} linear_op;

static void linear_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const picture_job *j = ctx;
    const linear_op *op = j->op;
    float *line = (float *)(void *)(j->scratch + (size_t)worker * op->line);
    const size_t c = (size_t)j->channels;
    for (int64_t r = first; r < first + count; r++) {
        const blend *v = &op->y[r % j->oh];
        const float *picture = j->in + r / j->oh * j->h * j->w * j->ld_in;
        const float *a = picture + v->a * j->w * j->ld_in, *b = picture + v->b * j->w * j->ld_in;
        for (int64_t x = 0; x < j->w; x++)
            j->math->blend(line + x * j->channels, a + x * j->ld_in, v->wa, b + x * j->ld_in, v->wb,
                           c);
        for (int64_t x = 0; x < j->ow; x++) {
            const blend *h = &op->x[x];
            j->math->blend(j->out + (r * j->ow + x) * j->ld_out, line + h->a * j->channels, h->wa,
                           line + h->b * j->channels, h->wb, c);
        }
    }
}

static cr_status run_linear(const cr_step *s, cr_session *session, cr_error *err)
{
    picture_job j = make_job(s, session);
    const int64_t rows = session->program->values[s->out[0]].rows / j.ow;
    cr_session_rows(session, rows, 1, linear_rows, &j);
    return CR_OK;
}

static double locate(const char *mode, double scale, double length, int64_t in, int64_t out,
                     int64_t o)
{
    const double x = (double)o;
    if (!strcmp(mode, "asymmetric")) return x / scale;
    if (!strcmp(mode, "align_corners"))
        return length == 1 ? 0 : x * (double)(in - 1) / (length - 1);
    if (!strcmp(mode, "pytorch_half_pixel") && out <= 1) return 0;
    return (x + 0.5) / scale - 0.5;
}

static int64_t inside(double at, int64_t n)
{
    return at < 0 ? 0 : at >= (double)n ? n - 1 : (int64_t)at;
}

static blend *make_blends(cr_program *p, const char *mode, const cr_resize_shape *r, int axis,
                          int64_t in)
{
    const int64_t out = r->out.dim[axis];
    blend *b = cr_arena_alloc(&p->arena, (size_t)out * sizeof *b);
    for (int64_t o = 0; b && o < out; o++) {
        const double x = locate(mode, r->scale[axis], r->length[axis], in, out, o);
        const double base = floor(x), ratio = x - base;
        b[o] = (blend){inside(base, in), inside(base + 1, in), (float)(1 - ratio), (float)ratio};
    }
    return b;
}

static bool is_linear(const cr_node *n, const char *mode)
{
    static const char *const known[] = {"half_pixel", "asymmetric", "align_corners",
                                        "pytorch_half_pixel"};
    if (strcmp(cr_attr_string(n, "mode", "nearest"), "linear") != 0) return false;
    if (cr_attr_int(n, "antialias", 0) || cr_attr_int(n, "exclude_outside", 0)) return false;
    for (int i = 1; i < n->n_in; i++)
        if (n->in[i] && !n->in[i]->data) return false;
    for (int i = 0; i < 4; i++)
        if (!strcmp(mode, known[i])) return true;
    return false;
}

static cr_status lower_linear(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    const char *mode = cr_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    const cr_shape *x = &n->in[0]->shape;
    cr_resize_shape r;
    if (!is_linear(n, mode)) return CR_OK;
    CR_TRY(cr_resize_read(&call, &r, err));
    if (!r.known || r.scale[0] != 1 || r.scale[1] != 1 || r.out.dim[1] != x->dim[1]) return CR_OK;
    linear_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    if (!op) return CR_NOMEM(err);
    op->y = make_blends(p, mode, &r, 2, x->dim[2]);
    op->x = make_blends(p, mode, &r, 3, x->dim[3]);
    if (!op->y || !op->x) return CR_NOMEM(err);
    op->line = cr_round_up((size_t)(x->dim[3] * x->dim[1]) * sizeof(float), CR_ALIGN);
    *done = true;
    return add_picture(p, n, "resize linear", run_linear, op, (size_t)p->threads * op->line, err);
}

/* ---- Pad ---- */

typedef struct pad_op {
    int64_t top, left;
    float value;
} pad_op;

static void pad_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const picture_job *j = ctx;
    const pad_op *op = j->op;
    for (int64_t r = first; r < first + count; r++) {
        const int64_t n = r / j->oh, y = r % j->oh - op->top;
        for (int64_t ox = 0; ox < j->ow; ox++) {
            const int64_t x = ox - op->left;
            float *to = j->out + (r * j->ow + ox) * j->ld_out;
            if (y >= 0 && y < j->h && x >= 0 && x < j->w) {
                memcpy(to, j->in + ((n * j->h + y) * j->w + x) * j->ld_in,
                       (size_t)j->channels * sizeof *to);
                continue;
            }
            for (int64_t c = 0; c < j->channels; c++) to[c] = op->value;
        }
    }
}

static cr_status run_pad(const cr_step *s, cr_session *session, cr_error *err)
{
    picture_job j = make_job(s, session);
    const int64_t rows = session->program->values[s->out[0]].rows / j.ow;
    cr_session_rows(session, rows, 1, pad_rows, &j);
    return CR_OK;
}

static cr_status lower_pad(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    const cr_tensor *value = n->n_in > 2 ? n->in[2] : NULL;
    cr_pad_plan plan;
    if (!cr_prefers_nhwc(p, n->in[0])) return CR_OK;
    if (strcmp(cr_attr_string(n, "mode", "constant"), "constant") != 0) return CR_OK;
    if (value && (!value->data || value->dtype != CR_DT_F32)) return CR_OK;
    CR_TRY(cr_pad_resolve(&call, &plan, err));
    if (!plan.known) return CR_OK;
    for (int d = 0; d < 2; d++)
        if (plan.before[d] || plan.after[d]) return CR_OK;
    pad_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    if (!op) return CR_NOMEM(err);
    *op = (pad_op){plan.before[2], plan.before[3], value ? *(const float *)value->data : 0};
    *done = true;
    return add_picture(p, n, "pad", run_pad, op, 0, err);
}

cr_status cr_lower_pictures(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (n->n_in < 1 || !is_picture(n->in[0]) || !is_picture(n->out[0]) || n->in[0]->data)
        return CR_OK;
    switch (n->op->kind) {
    case CR_OP_AveragePool:
        return lower_average(p, n, done, err);
    case CR_OP_Resize:
        return lower_linear(p, n, done, err);
    case CR_OP_Pad:
        return lower_pad(p, n, done, err);
    default:
        return CR_OK;
    }
}
