/* Elementwise operators.
 *
 * Between two byte tensors a unary operator is a table of 256 codes, built by the reference operator
 * itself (dequantize -> operator -> quantize), so it equals the reference by construction. From a
 * byte tensor to float it is a table of 256 floats. Floats go through vector kernels where there is
 * one, else through the reference. Binary operators work on pieces of rows: operands that are codes
 * are dequantized into a small buffer, the result is quantized from one; nothing is kept in float. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "kernels/act.h"
#include "kernels/rows.h"
#include "ops/ref.h"
#include "runtime/program.h"

enum { PIECE = 2048 };

/* ---- activations that kernels know ---- */

static bool constant_scalar(const cr_tensor *t, float *out)
{
    if (!t) return true;
    if (!t->data || t->dtype != CR_DT_F32 || cr_shape_count(&t->shape) != 1) return false;
    *out = *(const float *)t->data;
    return true;
}

static bool read_activation(const cr_node *n, cr_act *act)
{
    switch (n->op->kind) {
    case CR_OP_Relu: act->kind = CR_ACT_RELU; return true;
    case CR_OP_Sigmoid: act->kind = CR_ACT_SIGMOID; return true;
    case CR_OP_HardSwish: act->kind = CR_ACT_HARD_SWISH; return true;
    case CR_OP_Swish:
        act->kind = CR_ACT_SILU;
        return cr_attr_float(n, "alpha", 1.f) == 1.f;
    case CR_OP_LeakyRelu:
        act->kind = CR_ACT_LEAKY_RELU;
        act->a = cr_attr_float(n, "alpha", .01f);
        return true;
    case CR_OP_HardSigmoid:
        act->kind = CR_ACT_HARD_SIGMOID;
        act->a = cr_attr_float(n, "alpha", .2f);
        act->b = cr_attr_float(n, "beta", .5f);
        return true;
    case CR_OP_Clip:
        act->kind = CR_ACT_CLIP;
        act->a = -INFINITY;
        act->b = INFINITY;
        return constant_scalar(n->n_in > 1 ? n->in[1] : NULL, &act->a) &&
               constant_scalar(n->n_in > 2 ? n->in[2] : NULL, &act->b);
    default: return false;
    }
}

bool cr_node_activation(const cr_node *n, cr_act *act)
{
    *act = (cr_act){.kind = CR_ACT_NONE};
    if (read_activation(n, act)) return true;
    *act = (cr_act){.kind = CR_ACT_NONE};
    return false;
}

const cr_tensor *cr_program_fuse_activation(cr_program *p, const cr_tensor *y, cr_act *act)
{
    const cr_node *next = cr_program_entry(p, y) ? NULL : cr_program_only_reader(p, y);
    *act = (cr_act){.kind = CR_ACT_NONE};
    if (!next || !(next->op->flags & CR_OPF_UNARY) || next->in[0] != y) return y;
    if (!cr_node_activation(next, act)) return y;
    p->fused[next->index] = true;
    return next->out[0];
}

/* ---- row jobs ---- */

typedef struct operand {
    const unsigned char *data; /* NULL: a scalar or a row of channels */
    const float *row;          /* per channel values, or one value when `scalar` */
    bool scalar, codes;
    int64_t ld;
    float scale;
    int32_t zero_point;
} operand;

typedef struct element_op {
    cr_op_kind kind;
    cr_act act;
    const float *row[2];       /* constant operands that repeat: [cols] or one value */
    bool scalar[2];
    const float *full[2];      /* constant operands of the output's size */
    int64_t period;            /* row-major outputs: elements after which a row repeats; 0: none does */
    uint8_t table[256];        /* codes -> codes */
    float values[256];         /* codes -> floats */
} element_op;

typedef struct element_job {
    const element_op *op;
    const cr_rows *k;
    operand in[2];
    unsigned char *out;
    bool out_codes;
    int64_t ld_out, cols, total; /* total: elements when cut into pieces; else 0 */
    float scale;
    int32_t zero_point;
} element_job;

static operand value_operand(const cr_session *s, int value)
{
    const cr_value *v = &s->program->values[value];
    return (operand){s->data[value], NULL, false, v->quantized, v->ld, v->scale, v->zero_point};
}

/* Contiguous operands are walked in pieces instead of rows. */
static bool contiguous(const cr_session *s, const cr_step *step)
{
    const cr_value *values = s->program->values;
    for (int i = 0; i < step->n_in; i++)
        if (step->in[i] >= 0 && values[step->in[i]].ld != values[step->in[i]].cols) return false;
    return values[step->out[0]].ld == values[step->out[0]].cols;
}

static element_job make_job(const cr_step *step, cr_session *s, bool pieces)
{
    const cr_value *out = &s->program->values[step->out[0]];
    const element_op *op = step->op;
    element_job j = {.op = op, .k = cr_rows_get(s->program->cpu), .out = s->data[step->out[0]],
                     .out_codes = out->quantized, .ld_out = out->ld, .cols = out->cols,
                     .scale = out->scale, .zero_point = out->zero_point};
    for (int i = 0; i < step->n_in; i++) {
        if (step->in[i] >= 0) j.in[i] = value_operand(s, step->in[i]);
        else j.in[i] = (operand){(const unsigned char *)op->full[i], op->row[i], op->scalar[i],
                                 .ld = out->cols};
        if (pieces || op->period) j.in[i].ld = pieces ? PIECE : op->period;
    }
    if (op->period) j.cols = j.ld_out = op->period;
    if (pieces) {
        j.total = out->rows * out->cols;
        j.cols = PIECE;
        j.ld_out = PIECE;
    }
    return j;
}

static int64_t row_length(const element_job *j, int64_t row)
{
    if (!j->total) return j->cols;
    const int64_t left = j->total - row * PIECE;
    return left < PIECE ? left : PIECE;
}

static void run_rows(const cr_step *step, cr_session *s, element_job *j, cr_rows_fn fn)
{
    const cr_value *out = &s->program->values[step->out[0]];
    const int64_t whole = out->rows * out->cols, period = j->op->period;
    const int64_t rows = j->total ? (j->total + PIECE - 1) / PIECE
                         : period ? whole / period
                                  : out->rows;
    cr_session_rows(s, rows, 1 + 8192 / (j->cols + 1), fn, j);
}

/* ---- unary ---- */

static void table_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const element_job *j = ctx;
    for (int64_t r = first; r < first + count; r++) {
        const uint8_t *x = j->in[0].data + r * j->in[0].ld;
        const size_t n = (size_t)row_length(j, r);
        if (j->out_codes) {
            j->k->table(j->out + r * j->ld_out, x, &(cr_finish_area){1, (int64_t)n, 0, 0},
                        j->op->table);
        } else {
            float *y = (float *)j->out + r * j->ld_out;
            for (size_t i = 0; i < n; i++) y[i] = j->op->values[x[i]];
        }
    }
}

static void act_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const element_job *j = ctx;
    for (int64_t r = first; r < first + count; r++)
        j->k->act((float *)j->out + r * j->ld_out, (const float *)j->in[0].data + r * j->in[0].ld,
                  (size_t)row_length(j, r), &j->op->act);
}

static cr_status run_unary(const cr_step *step, cr_session *s, cr_error *err)
{
    element_job j = make_job(step, s, contiguous(s, step));
    run_rows(step, s, &j, j.in[0].codes ? table_rows : act_rows);
    return CR_OK;
}

/* What the operator makes of each of the 256 codes. */
static cr_status tabulate(const cr_node *n, float scale, int32_t zero_point, float out[256],
                          cr_error *err)
{
    float x[256];
    for (int q = 0; q < 256; q++) x[q] = cr_dequantize(q, scale, zero_point);
    const cr_tensor in0 = {.name = "codes", .dtype = CR_DT_F32, .shape = {1, {256}}, .data = x};
    cr_tensor y = {.name = "table"};
    const cr_tensor *in[3] = {&in0, n->n_in > 1 ? n->in[1] : NULL, n->n_in > 2 ? n->in[2] : NULL};
    cr_tensor *outs[1] = {&y};
    const cr_op_call call = {n, in, outs, n->n_in, 1};
    CR_TRY(cr_op_run(&call, err));
    memcpy(out, y.data, 256 * sizeof *out);
    cr_tensor_drop_data(&y);
    return CR_OK;
}

static bool other_inputs_constant(const cr_node *n)
{
    for (int i = 1; i < n->n_in; i++)
        if (n->in[i] && !n->in[i]->data) return false;
    return n->n_in <= 3;
}

static cr_status add_step(cr_program *p, const cr_node *n, const char *what, cr_step_fn run,
                          element_op *op, int n_in, const int *in, int out, cr_error *err)
{
    cr_step *s = cr_program_add_step(p, run, what, n, n_in, 1);
    if (!s) return CR_NOMEM(err);
    for (int i = 0; i < n_in; i++) s->in[i] = in[i];
    s->out[0] = out;
    s->op = op;
    return cr_program_finish(p, n->out[0], out, err);
}

static cr_status lower_unary(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    const bool nhwc = cr_prefers_nhwc(p, x), codes = cr_program_byte_entry(p, x) != NULL;
    element_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    int in, out;
    if (!op) return CR_NOMEM(err);
    op->kind = n->op->kind;
    if (!codes && !cr_node_activation(n, &op->act)) return CR_OK;
    if (codes && !other_inputs_constant(n)) return CR_OK;
    CR_TRY(cr_program_need(p, x, codes ? CR_DT_U8 : CR_DT_F32, nhwc, &in, err));
    *done = true;
    if (!codes || !cr_program_byte_entry(p, y))
        CR_TRY(cr_program_output(p, y, CR_DT_F32, nhwc, &out, err));
    else
        CR_TRY(cr_program_output_u8(p, y, nhwc, &out, err));
    const cr_value *vi = &p->values[in], *vo = &p->values[out];
    if (codes) CR_TRY(tabulate(n, vi->scale, vi->zero_point, op->values, err));
    for (int q = 0; q < 256 && vo->quantized; q++)
        op->table[q] = cr_quantize_u8(op->values[q], vo->scale, vo->zero_point);
    return add_step(p, n, codes ? "table" : "activation", run_unary, op, 1, &in, out, err);
}

/* ---- binary ---- */

static const float *operand_row(const element_job *j, int i, int64_t row, size_t n, float *buffer)
{
    const operand *o = &j->in[i];
    if (o->row) return o->row;
    if (!o->codes) return (const float *)o->data + row * o->ld;
    j->k->dequantize(buffer, o->data + row * o->ld, n, o->scale, o->zero_point);
    return buffer;
}

#define EACH(expr)                                                                                 \
    for (size_t i = 0; i < n; i++) {                                                               \
        const float u = sa ? a[0] : a[i], v = sb ? b[0] : b[i];                                    \
        y[i] = (expr);                                                                             \
    }                                                                                              \
    break

static void combine(cr_op_kind kind, const float *a, bool sa, const float *b, bool sb, float *y,
                    size_t n)
{
    switch (kind) {
    case CR_OP_Add: EACH(u + v);
    case CR_OP_Sub: EACH(u - v);
    case CR_OP_Mul: EACH(u *v);
    case CR_OP_Div: EACH(u / v);
    default: break;
    }
}

static void binary_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const element_job *j = ctx;
    float a[PIECE], b[PIECE], y[PIECE];
    for (int64_t r = first; r < first + count; r++) {
        const size_t n = (size_t)row_length(j, r);
        const float *u = operand_row(j, 0, r, n, a), *v = operand_row(j, 1, r, n, b);
        float *to = j->out_codes ? y : (float *)j->out + r * j->ld_out;
        combine(j->op->kind, u, j->in[0].scalar, v, j->in[1].scalar, to, n);
        if (j->out_codes) j->k->quantize(j->out + r * j->ld_out, y, n, j->scale, j->zero_point);
    }
}

/* Codes plus codes to codes, the residual connection of a quantized model. */
static void add_codes_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const element_job *j = ctx;
    cr_codes in[2];
    for (int i = 0; i < 2; i++)
        in[i] = (cr_codes){j->in[i].data + first * j->in[i].ld, j->in[i].ld, j->in[i].scale,
                           j->in[i].zero_point};
    uint8_t *y = j->out + first * j->ld_out;
    if (!j->total) {
        j->k->add_u8(y, j->ld_out, &in[0], &in[1], count, j->cols, j->scale, j->zero_point);
        return;
    }
    const int64_t left = j->total - first * PIECE, n = left < count * PIECE ? left : count * PIECE;
    j->k->add_u8(y, 0, &in[0], &in[1], 1, n, j->scale, j->zero_point);
}

static bool adds_codes(const element_job *j)
{
    return j->op->kind == CR_OP_Add && j->out_codes && j->in[0].codes && j->in[1].codes;
}

static cr_status run_binary(const cr_step *step, cr_session *s, cr_error *err)
{
    const element_op *op = step->op;
    const bool repeats = (op->row[0] && !op->scalar[0]) || (op->row[1] && !op->scalar[1]);
    element_job j = make_job(step, s, !repeats && contiguous(s, step));
    run_rows(step, s, &j, adds_codes(&j) ? add_codes_rows : binary_rows);
    return CR_OK;
}

/* t's dimensions are y's last ones, behind ones. */
static bool is_tail_of(const cr_shape *t, const cr_shape *y)
{
    int d = 1;
    if (t->rank > y->rank) return false;
    while (d <= t->rank && t->dim[t->rank - d] == y->dim[y->rank - d]) d++;
    while (d <= t->rank && t->dim[t->rank - d] == 1) d++;
    return d > t->rank;
}

/* A constant that is one value, one per channel of an NHWC tensor, or the tail of a row-major one. */
static bool constant_row(const cr_program *p, const cr_tensor *t, const cr_tensor *y, bool nhwc,
                         element_op *op, int i)
{
    const int64_t n = cr_shape_count(&t->shape);
    if (!t->data || cr_program_entry(p, t) || n < 1) return false;
    op->row[i] = t->data;
    op->scalar[i] = n == 1 && t->shape.rank <= y->shape.rank;
    if (op->scalar[i]) return true;
    const int r = t->shape.rank;
    if (nhwc) return (r == 3 || r == 4) && n == y->shape.dim[1] && t->shape.dim[r - 3] == n;
    if (!is_tail_of(&t->shape, &y->shape)) return false;
    if (n == cr_shape_count(&y->shape)) {
        op->full[i] = op->row[i];
        op->row[i] = NULL;
        return true;
    }
    op->period = n;
    return true;
}

static bool usable(const cr_tensor *t) { return t->dtype == CR_DT_F32 && cr_shape_known(&t->shape); }

/* Codes are decoded into a buffer of PIECE values. */
static bool has_codes(const cr_program *p, const cr_node *n)
{
    return cr_program_byte_entry(p, n->in[0]) || cr_program_byte_entry(p, n->in[1]) ||
           cr_program_byte_entry(p, n->out[0]);
}

static cr_status lower_binary(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *y = n->out[0];
    const bool nhwc = y->shape.rank == 4 && (cr_prefers_nhwc(p, n->in[0]) || cr_prefers_nhwc(p, n->in[1]));
    element_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    int in[2] = {-1, -1}, out;
    if (!op) return CR_NOMEM(err);
    op->kind = n->op->kind;
    for (int i = 0; i < 2; i++) {
        const cr_tensor *t = n->in[i];
        if (!usable(t)) return CR_OK;
        if (t->data ? !constant_row(p, t, y, nhwc, op, i) : !cr_shape_equal(&t->shape, &y->shape))
            return CR_OK;
    }
    if (nhwc && y->shape.dim[1] > PIECE) return CR_OK;
    if (n->in[0]->data && n->in[1]->data) return CR_OK;
    if (op->period && has_codes(p, n)) return CR_OK;
    for (int i = 0; i < 2; i++) {
        if (n->in[i]->data) continue;
        const cr_dtype type = cr_program_byte_entry(p, n->in[i]) ? CR_DT_U8 : CR_DT_F32;
        CR_TRY(cr_program_need(p, n->in[i], type, nhwc, &in[i], err));
    }
    *done = true;
    if (cr_program_byte_entry(p, y)) CR_TRY(cr_program_output_u8(p, y, nhwc, &out, err));
    else CR_TRY(cr_program_output(p, y, CR_DT_F32, nhwc, &out, err));
    return add_step(p, n, n->op->name, run_binary, op, 2, in, out, err);
}

cr_status cr_lower_elementwise(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (n->n_in < 1 || !n->in[0] || !usable(n->in[0]) || !usable(n->out[0])) return CR_OK;
    if (n->op->flags & CR_OPF_UNARY) return n->in[0]->data ? CR_OK : lower_unary(p, n, done, err);
    switch (n->op->kind) {
    case CR_OP_Add:
        if (cr_float_form(p, n->out[0]) == CR_DT_BF16) CR_TRY(cr_lower_add_bf16(p, n, done, err));
        return *done ? CR_OK : lower_binary(p, n, done, err);
    case CR_OP_Sub:
    case CR_OP_Mul:
    case CR_OP_Div: return lower_binary(p, n, done, err);
    default: return CR_OK;
    }
}
