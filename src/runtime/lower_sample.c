/* GridSample with linear weights on pictures (deformable attention): per point four places and
 * weights, found once for all channels; sums in double in the reference's order, hence its bits. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "runtime/program.h"

enum { POINTS = 64 };

typedef struct sample_op {
    int64_t channels, h, w, points;
    bool align, border;
} sample_op;

typedef struct sample_job {
    const sample_op *op;
    const float *in, *grid;
    float *out;
    int64_t blocks; /* per picture */
} sample_job;

/* A tap outside counts as zero: weight 0 at place 0. */
typedef struct point {
    int64_t at[4];
    double wy[2], wx[4]; /* wx: of the upper row, then of the lower one */
} point;

typedef struct axis_taps {
    int64_t at[2];
    double weight[2];
    bool inside[2];
} axis_taps;

static axis_taps find_taps(const sample_op *op, double x, int64_t size)
{
    const double n = (double)size;
    if (x != x) x = -1;
    x = op->align ? (x + 1) / 2 * (n - 1) : ((x + 1) * n - 1) / 2;
    x = fmin(fmax(x, -1e9), 1e9);
    const double edge = op->align ? 0 : 0.5;
    if (op->border && !(x >= -edge && x <= n - 1 + edge)) x = fmin(fmax(x, 0), n - 1);
    const double base = floor(x), t = x - base;
    axis_taps a = {.weight = {1 - t, t}};
    for (int i = 0; i < 2; i++) {
        const double at = base + i;
        a.inside[i] = at >= 0 && at < n;
        a.at[i] = a.inside[i] ? (int64_t)at : 0;
        if (!a.inside[i] && op->border) {
            a.inside[i] = true;
            a.at[i] = at < 0 ? 0 : size - 1;
        }
    }
    return a;
}

static point find_point(const sample_op *op, const float *grid)
{
    const axis_taps x = find_taps(op, (double)grid[0], op->w);
    const axis_taps y = find_taps(op, (double)grid[1], op->h);
    point p;
    for (int r = 0; r < 2; r++) {
        p.wy[r] = y.inside[r] ? y.weight[r] : 0;
        for (int c = 0; c < 2; c++) {
            p.at[2 * r + c] = y.at[r] * op->w + x.at[c];
            p.wx[2 * r + c] = x.inside[c] ? x.weight[c] : 0;
        }
    }
    return p;
}

static void sample_blocks(void *ctx, int64_t first, int64_t count, int worker)
{
    const sample_job *j = ctx;
    const sample_op *op = j->op;
    point p[POINTS];
    for (int64_t b = first; b < first + count; b++) {
        const int64_t picture = b / j->blocks, from = b % j->blocks * POINTS;
        const int64_t many = op->points - from < POINTS ? op->points - from : POINTS;
        for (int64_t i = 0; i < many; i++)
            p[i] = find_point(op, j->grid + (picture * op->points + from + i) * 2);
        for (int64_t c = picture * op->channels; c < (picture + 1) * op->channels; c++) {
            const float *x = j->in + c * op->h * op->w;
            float *y = j->out + c * op->points + from;
            for (int64_t i = 0; i < many; i++) {
                const point *q = &p[i];
                const double top = q->wx[0] * (double)x[q->at[0]] + q->wx[1] * (double)x[q->at[1]];
                const double low = q->wx[2] * (double)x[q->at[2]] + q->wx[3] * (double)x[q->at[3]];
                y[i] = (float)(q->wy[0] * top + q->wy[1] * low);
            }
        }
    }
}

static cr_status run_sample(const cr_step *s, cr_session *session, cr_error *err)
{
    const sample_op *op = s->op;
    const int64_t pictures = session->program->values[s->out[0]].tensor->shape.dim[0];
    sample_job j = {op, session->data[s->in[0]], session->data[s->in[1]], session->data[s->out[0]],
                    (op->points + POINTS - 1) / POINTS};
    cr_session_rows(session, pictures * j.blocks, 1, sample_blocks, &j);
    return CR_OK;
}

static bool fixed_floats(const cr_tensor *t)
{
    return t->dtype == CR_DT_F32 && cr_shape_known(&t->shape) && cr_shape_count(&t->shape) > 0;
}

cr_status cr_lower_sample(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (n->op->kind != CR_OP_GridSample || n->in[0]->shape.rank != 4) return CR_OK;
    const cr_tensor *x = n->in[0], *grid = n->in[1], *y = n->out[0];
    const char *pad = cr_attr_string(n, "padding_mode", "zeros");
    const bool border = !strcmp(pad, "border");
    if (!fixed_floats(x) || !fixed_floats(grid) || !fixed_floats(y)) return CR_OK;
    if (strcmp(cr_attr_string(n, "mode", "linear"), "linear") != 0) return CR_OK;
    if (!border && strcmp(pad, "zeros") != 0) return CR_OK;
    int in[2], out;
    *done = true;
    for (int i = 0; i < 2; i++) CR_TRY(cr_program_need(p, n->in[i], CR_DT_F32, false, &in[i], err));
    CR_TRY(cr_program_output(p, y, CR_DT_F32, false, &out, err));
    sample_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run_sample, "grid_sample", n, 2, 1);
    if (!op || !s) return CR_NOMEM(err);
    *op = (sample_op){.channels = x->shape.dim[1],
                      .h = x->shape.dim[2],
                      .w = x->shape.dim[3],
                      .points = grid->shape.dim[1] * grid->shape.dim[2],
                      .align = cr_attr_int(n, "align_corners", 0) != 0,
                      .border = border};
    s->op = op;
    memcpy(s->in, in, sizeof in);
    s->out[0] = out;
    return cr_program_finish(p, y, out, err);
}
