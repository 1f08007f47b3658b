/* ReduceSum, ReduceMean, ReduceMax, LayerNormalization and InstanceNormalization of floats.
 *
 * Reduced dims that are neighbours make a tensor [outer][n][inner]; the mean over a picture's
 * pixels is the same on its rows of channels, [batch][pixels][channels]. Sums are the reference's
 * to the last bit (kernels/sums.h); normalizations take mean and variance from such sums and do the
 * rest in float. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/shape.h"
#include "kernels/rows.h"
#include "kernels/sums.h"
#include "kernels/vmath.h"
#include "runtime/program.h"

enum { COLUMNS = 256 };

static bool fixed_floats(const cr_tensor *t)
{
    return t && t->dtype == CR_DT_F32 && cr_shape_known(&t->shape) && cr_shape_count(&t->shape) > 0;
}

/* ---- reductions ---- */

typedef struct reduce_op {
    cr_op_kind kind;
    int64_t outer, n, inner;
} reduce_op;

typedef struct reduce_job {
    const reduce_op *op;
    const cr_rows *rows;
    const cr_vmath *math;
    const float *in;
    float *out;
    int64_t ld; /* elements between the n places of one column: inner, or more */
} reduce_job;

static float finish_sum(const reduce_op *op, double sum)
{
    return (float)(op->kind == CR_OP_ReduceMean ? sum / (double)op->n : sum);
}

/* inner = 1: every result is of neighbours. */
static void reduce_lines(void *ctx, int64_t first, int64_t count, int worker)
{
    const reduce_job *j = ctx;
    const int64_t n = j->op->n, end = first + count;
    double sum[CR_SUM_ROWS];
    for (int64_t r = first; r < end; r += CR_SUM_ROWS) {
        const int lines = (int)(end - r < CR_SUM_ROWS ? end - r : CR_SUM_ROWS);
        const float *x = j->in + r * n;
        if (j->op->kind != CR_OP_ReduceMax) cr_sum_rows(x, n, lines, n, sum);
        for (int k = 0; k < lines; k++)
            j->out[r + k] = j->op->kind == CR_OP_ReduceMax ? j->math->largest(x + k * n, (size_t)n)
                                                           : finish_sum(j->op, sum[k]);
    }
}

static void reduce_block(const reduce_job *j, const float *x, float *y, int64_t width)
{
    const reduce_op *op = j->op;
    double sum[COLUMNS] = {0};
    if (op->kind == CR_OP_ReduceMax) {
        memcpy(y, x, (size_t)width * sizeof *y);
        for (int64_t i = 1; i < op->n; i++) j->rows->max_f32(y, x + i * j->ld, (size_t)width);
        return;
    }
    for (int64_t i = 0; i < op->n; i++) cr_sum_columns(sum, x + i * j->ld, width);
    for (int64_t c = 0; c < width; c++) y[c] = finish_sum(op, sum[c]);
}

/* Columns side by side, in blocks. */
static void reduce_columns(void *ctx, int64_t first, int64_t count, int worker)
{
    const reduce_job *j = ctx;
    const reduce_op *op = j->op;
    const int64_t blocks = (op->inner + COLUMNS - 1) / COLUMNS;
    for (int64_t b = first; b < first + count; b++) {
        const int64_t c = b % blocks * COLUMNS, o = b / blocks;
        const int64_t width = op->inner - c < COLUMNS ? op->inner - c : COLUMNS;
        reduce_block(j, j->in + o * op->n * j->ld + c, j->out + o * op->inner + c, width);
    }
}

static cr_status run_reduce(const cr_step *s, cr_session *session, cr_error *err)
{
    const reduce_op *op = s->op;
    const cr_value *in = &session->program->values[s->in[0]];
    reduce_job j = {op,
                    cr_rows_get(session->program->cpu),
                    cr_vmath_get(session->program->cpu),
                    session->data[s->in[0]],
                    session->data[s->out[0]],
                    in->nhwc ? in->ld : op->inner};
    const int64_t blocks = (op->inner + COLUMNS - 1) / COLUMNS;
    if (op->inner == 1 && !in->nhwc)
        cr_session_rows(session, op->outer, CR_SUM_ROWS, reduce_lines, &j);
    else
        cr_session_rows(session, op->outer * blocks, 1, reduce_columns, &j);
    return CR_OK;
}

/* The reduced dims as a range [from, to); false if they are not neighbours or not known. */
static bool reduced_range(const cr_node *n, int *from, int *to)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    const int rank = n->in[0]->shape.rank;
    bool flags[CR_MAX_RANK];
    int count = 0, seen = 0;
    if (n->n_in > 1 && n->in[1] && !n->in[1]->data) return false;
    if (cr_op_axes(&call, 1, rank, flags, &count, NULL) != CR_OK) return false;
    if (count == 0 && cr_attr_int(n, "noop_with_empty_axes", 0)) return false;
    *from = 0;
    *to = count ? 0 : rank;
    for (int d = 0; d < rank && count; d++) {
        if (!flags[d]) continue;
        if (!seen++) *from = d;
        *to = d + 1;
    }
    return !count || *to - *from == seen;
}

static cr_status lower_reduction(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    const int rank = x->shape.rank;
    int from, to, in, out;
    if (rank < 1 || !reduced_range(n, &from, &to)) return CR_OK;
    const bool pixels = rank == 4 && from == 2 && to == 4 && cr_prefers_nhwc(p, x);
    reduce_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    if (!op) return CR_NOMEM(err);
    *op = (reduce_op){n->op->kind, cr_shape_span(&x->shape, 0, from),
                      cr_shape_span(&x->shape, from, to), cr_shape_span(&x->shape, to, rank)};
    if (pixels) *op = (reduce_op){n->op->kind, x->shape.dim[0], op->n, x->shape.dim[1]};
    *done = true;
    CR_TRY(cr_program_need(p, x, CR_DT_F32, pixels, &in, err));
    CR_TRY(cr_program_output(p, y, CR_DT_F32, false, &out, err));
    cr_step *s = cr_program_add_step(p, run_reduce, n->op->name, n, 1, 1);
    if (!s) return CR_NOMEM(err);
    s->in[0] = in;
    s->out[0] = out;
    s->op = op;
    return cr_program_finish(p, y, out, err);
}

/* ---- normalizations ---- */

typedef struct norm_op {
    int64_t outer, n; /* layers: runs of n; instances: pictures of n pixels */
    float epsilon;
    const float *scale, *bias;
} norm_op;

typedef struct norm_job {
    const norm_op *op;
    const cr_vmath *math;
    const float *in;
    float *out;
    int64_t channels, ld_in, ld_out;
} norm_job;

static float inverse_root(double squares, int64_t n, float epsilon)
{
    return (float)(1 / sqrt(squares / (double)n + (double)epsilon));
}

static void layer_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const norm_job *j = ctx;
    const norm_op *op = j->op;
    const int64_t n = op->n, end = first + count;
    double mean[CR_SUM_ROWS], squares[CR_SUM_ROWS];
    for (int64_t r = first; r < end; r += CR_SUM_ROWS) {
        const int lines = (int)(end - r < CR_SUM_ROWS ? end - r : CR_SUM_ROWS);
        const float *x = j->in + r * n;
        cr_sum_rows(x, n, lines, n, mean);
        for (int k = 0; k < lines; k++) mean[k] /= (double)n;
        cr_variance_rows(x, n, lines, n, mean, squares);
        for (int k = 0; k < lines; k++)
            j->math->normalize(j->out + (r + k) * n, x + k * n, (float)mean[k],
                               inverse_root(squares[k], n, op->epsilon), op->scale, op->bias,
                               (size_t)n);
    }
}

static cr_status run_layer_norm(const cr_step *s, cr_session *session, cr_error *err)
{
    const norm_op *op = s->op;
    norm_job j = {.op = op,
                  .math = cr_vmath_get(session->program->cpu),
                  .in = session->data[s->in[0]],
                  .out = session->data[s->out[0]]};
    cr_session_rows(session, op->outer, CR_SUM_ROWS, layer_rows, &j);
    return CR_OK;
}

/* One picture's channels c0 .. c0 + width: mean and factor per channel, then row by row. */
static void instance_block(const norm_job *j, int64_t picture, int64_t c0, int64_t width)
{
    const norm_op *op = j->op;
    const float *x = j->in + picture * op->n * j->ld_in + c0;
    float *y = j->out + picture * op->n * j->ld_out + c0, shift[COLUMNS], factor[COLUMNS];
    double mean[COLUMNS] = {0}, squares[COLUMNS] = {0};
    const size_t w = (size_t)width;
    for (int64_t i = 0; i < op->n; i++) cr_sum_columns(mean, x + i * j->ld_in, width);
    for (int64_t c = 0; c < width; c++) mean[c] /= (double)op->n;
    for (int64_t i = 0; i < op->n; i++) cr_variance_columns(squares, x + i * j->ld_in, mean, width);
    for (int64_t c = 0; c < width; c++) {
        shift[c] = (float)mean[c];
        factor[c] = inverse_root(squares[c], op->n, op->epsilon) * op->scale[c0 + c];
    }
    for (int64_t i = 0; i < op->n; i++) {
        float *row = y + i * j->ld_out;
        j->math->pair(CR_VM_SUB, row, x + i * j->ld_in, false, shift, false, w);
        j->math->pair(CR_VM_MUL, row, row, false, factor, false, w);
        j->math->pair(CR_VM_ADD, row, row, false, op->bias + c0, false, w);
    }
}

static void instance_blocks(void *ctx, int64_t first, int64_t count, int worker)
{
    const norm_job *j = ctx;
    const int64_t blocks = (j->channels + 63) / 64;
    for (int64_t b = first; b < first + count; b++) {
        const int64_t c = b % blocks * 64;
        instance_block(j, b / blocks, c, j->channels - c < 64 ? j->channels - c : 64);
    }
}

static cr_status run_instance_norm(const cr_step *s, cr_session *session, cr_error *err)
{
    const norm_op *op = s->op;
    const cr_value *in = &session->program->values[s->in[0]];
    norm_job j = {.op = op,
                  .math = cr_vmath_get(session->program->cpu),
                  .in = session->data[s->in[0]],
                  .out = session->data[s->out[0]],
                  .channels = in->cols,
                  .ld_in = in->ld,
                  .ld_out = session->program->values[s->out[0]].ld};
    cr_session_rows(session, op->outer * ((in->cols + 63) / 64), 1, instance_blocks, &j);
    return CR_OK;
}

/* A constant of `count` floats without an entry. Absent: zeros in the arena. */
static const float *constant_row(cr_program *p, const cr_tensor *t, int64_t count)
{
    if (!t) return cr_arena_alloc(&p->arena, (size_t)count * sizeof(float));
    const bool fits = t->data && t->dtype == CR_DT_F32 && cr_shape_count(&t->shape) == count &&
                      t->shape.rank >= 1 && !cr_program_entry(p, t);
    return fits ? t->data : NULL;
}

static cr_status add_norm(cr_program *p, const cr_node *n, cr_step_fn run, const norm_op *norm,
                          bool nhwc, bool *done, cr_error *err)
{
    int in, out;
    if (!norm->scale || !norm->bias) return CR_OK;
    *done = true;
    CR_TRY(cr_program_need(p, n->in[0], CR_DT_F32, nhwc, &in, err));
    CR_TRY(cr_program_output(p, n->out[0], CR_DT_F32, nhwc, &out, err));
    norm_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run, n->op->name, n, 1, 1);
    if (!op || !s) return CR_NOMEM(err);
    *op = *norm;
    s->op = op;
    s->in[0] = in;
    s->out[0] = out;
    return cr_program_finish(p, n->out[0], out, err);
}

static cr_status lower_layer_norm(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_shape *x = &n->in[0]->shape;
    int64_t axis = cr_attr_int(n, "axis", -1);
    for (int i = 1; i < n->n_out; i++)
        if (n->out[i]) return CR_OK;
    if (axis < 0) axis += x->rank;
    norm_op op = {.outer = cr_shape_span(x, 0, (int)axis),
                  .n = cr_shape_span(x, (int)axis, x->rank),
                  .epsilon = cr_attr_float(n, "epsilon", 1e-5f)};
    op.scale = constant_row(p, n->in[1], op.n);
    op.bias = constant_row(p, n->n_in > 2 ? n->in[2] : NULL, op.n);
    return add_norm(p, n, run_layer_norm, &op, false, done, err);
}

static cr_status lower_instance_norm(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_shape *x = &n->in[0]->shape;
    if (x->rank != 4) return CR_OK;
    const norm_op op = {.outer = x->dim[0],
                        .n = x->dim[2] * x->dim[3],
                        .epsilon = cr_attr_float(n, "epsilon", 1e-5f),
                        .scale = constant_row(p, n->in[1], x->dim[1]),
                        .bias = constant_row(p, n->in[2], x->dim[1])};
    return add_norm(p, n, run_instance_norm, &op, true, done, err);
}

cr_status cr_lower_reduce(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (n->n_in < 1 || !fixed_floats(n->in[0]) || n->in[0]->data || !fixed_floats(n->out[0]))
        return CR_OK;
    switch (n->op->kind) {
    case CR_OP_ReduceSum:
    case CR_OP_ReduceMean:
    case CR_OP_ReduceMax:
        return lower_reduction(p, n, done, err);
    case CR_OP_LayerNormalization:
        return lower_layer_norm(p, n, done, err);
    case CR_OP_InstanceNormalization:
        return lower_instance_norm(p, n, done, err);
    default:
        return CR_OK;
    }
}
