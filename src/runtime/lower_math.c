/* Float mathematics by vector kernels: functions of one tensor, and +, -, *, / of two that
 * broadcast to each other (what lower_elementwise.c leaves: it takes equal shapes, and codes).
 *
 * A broadcast is strides: the output's dims in memory order (n, h, w, c for pictures), and for each
 * operand how far to step along each, 0 where it is stretched. Dims that all three walk as one are
 * merged, so most broadcasts end as rows against a row or rows against single values. */
#include <string.h>

#include "base/error.h"
#include "graph/shape.h"
#include "kernels/vmath.h"
#include "runtime/program.h"

enum { PIECE = 4096 };

static bool fixed_floats(const cr_tensor *t)
{
    return t && t->dtype == CR_DT_F32 && cr_shape_known(&t->shape) && cr_shape_count(&t->shape) > 0;
}

/* ---- one tensor ---- */

typedef struct map_job {
    cr_vmath_fn fn;
    const cr_vmath *k;
    const float *in;
    float *out;
    int64_t rows, cols, ld_in, ld_out, total; /* total: elements when cut into pieces; else 0 */
} map_job;

static void map_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const map_job *j = ctx;
    for (int64_t r = first; r < first + count; r++) {
        const int64_t left = j->total - r * PIECE;
        const int64_t n = !j->total ? j->cols : left < PIECE ? left : PIECE;
        j->k->map(j->fn, j->out + r * j->ld_out, j->in + r * j->ld_in, (size_t)n);
    }
}

static cr_status run_map(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *in = &session->program->values[s->in[0]];
    const cr_value *out = &session->program->values[s->out[0]];
    map_job j = {.fn = *(const cr_vmath_fn *)s->op,
                 .k = cr_vmath_get(session->program->cpu),
                 .in = session->data[s->in[0]],
                 .out = session->data[s->out[0]],
                 .rows = in->rows,
                 .cols = in->cols,
                 .ld_in = in->ld,
                 .ld_out = out->ld};
    if (in->ld == in->cols && out->ld == out->cols) {
        j.total = in->rows * in->cols;
        j.rows = (j.total + PIECE - 1) / PIECE;
        j.ld_in = j.ld_out = PIECE;
    }
    cr_session_rows(session, j.rows, j.total ? 2 : 1 + 8192 / j.cols, map_rows, &j);
    return CR_OK;
}

static bool constant_is(const cr_program *p, const cr_tensor *t, float value)
{
    return t->data && !cr_program_entry(p, t) && t->dtype == CR_DT_F32 &&
           cr_shape_count(&t->shape) == 1 && *(const float *)t->data == value;
}

static bool read_function(const cr_program *p, const cr_node *n, cr_vmath_fn *fn)
{
    switch (n->op->kind) {
    case CR_OP_Neg:
        *fn = CR_VM_NEG;
        return true;
    case CR_OP_Sqrt:
        *fn = CR_VM_SQRT;
        return true;
    case CR_OP_Reciprocal:
        *fn = CR_VM_RECIPROCAL;
        return true;
    case CR_OP_Exp:
        *fn = CR_VM_EXP;
        return true;
    case CR_OP_Erf:
        *fn = CR_VM_ERF;
        return true;
    case CR_OP_Tanh:
        *fn = CR_VM_TANH;
        return true;
    case CR_OP_Gelu:
        *fn = CR_VM_GELU;
        return !strcmp(cr_attr_string(n, "approximate", "none"), "none");
    case CR_OP_Pow:
        if (n->in[1]->shape.rank > n->in[0]->shape.rank) return false;
        *fn = CR_VM_SQUARE;
        return constant_is(p, n->in[1], 2);
    default:
        return false;
    }
}

static cr_status add_function(cr_program *p, const cr_node *n, cr_vmath_fn fn, const cr_tensor *y,
                              cr_error *err)
{
    const bool nhwc = cr_prefers_nhwc(p, n->in[0]);
    int in, out;
    CR_TRY(cr_program_need(p, n->in[0], CR_DT_F32, nhwc, &in, err));
    CR_TRY(cr_program_output(p, y, CR_DT_F32, nhwc, &out, err));
    cr_vmath_fn *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run_map, fn == CR_VM_GELU ? "gelu" : n->op->name, n, 1, 1);
    if (!op || !s) return CR_NOMEM(err);
    *op = fn;
    s->op = op;
    s->in[0] = in;
    s->out[0] = out;
    return cr_program_finish(p, y, out, err);
}

/* ---- Gelu as exporters spell it: x * (1 + erf(x / sqrt 2)) * 0.5 ---- */

/* The only reader of n's output, which must be `kind` and leave no entry between. */
static const cr_node *next_of(const cr_program *p, const cr_node *n, cr_op_kind kind)
{
    const cr_node *next = cr_program_only_reader(p, n->out[0]);
    if (cr_program_entry(p, n->out[0]) || !next || next->op->kind != kind) return NULL;
    return next;
}

/* The operand of a node that is not t; NULL if t is none of the two. */
static const cr_tensor *other_operand(const cr_node *n, const cr_tensor *t)
{
    return n->in[0] == t ? n->in[1] : n->in[1] == t ? n->in[0] : NULL;
}

static bool halves_root(const cr_program *p, const cr_node *n)
{
    return (n->op->kind == CR_OP_Div && constant_is(p, n->in[1], 1.41421356f)) ||
           (n->op->kind == CR_OP_Mul && constant_is(p, n->in[1], CR_SQRT_HALF));
}

cr_status cr_lower_gelu(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if ((n->op->kind != CR_OP_Div && n->op->kind != CR_OP_Mul) || !halves_root(p, n)) return CR_OK;
    const cr_tensor *x = n->in[0];
    const cr_node *chain[4]; /* Erf, Add, Mul, Mul */
    if (!fixed_floats(x) || x->data || !(chain[0] = next_of(p, n, CR_OP_Erf)) ||
        !(chain[1] = next_of(p, chain[0], CR_OP_Add)) ||
        !(chain[2] = next_of(p, chain[1], CR_OP_Mul)) ||
        !(chain[3] = next_of(p, chain[2], CR_OP_Mul)))
        return CR_OK;
    const cr_tensor *one = other_operand(chain[1], chain[0]->out[0]);
    const cr_tensor *half = other_operand(chain[3], chain[2]->out[0]);
    if (!one || !constant_is(p, one, 1) || !half || !constant_is(p, half, .5f)) return CR_OK;
    if (other_operand(chain[2], chain[1]->out[0]) != x) return CR_OK;
    if (!cr_shape_equal(&chain[3]->out[0]->shape, &x->shape)) return CR_OK;
    for (int i = 0; i < 4; i++) p->fused[chain[i]->index] = true;
    *done = true;
    return add_function(p, n, CR_VM_GELU, chain[3]->out[0], err);
}

/* ---- two tensors ---- */

enum { A, B, Y, OPERANDS, CHUNK = 1024 };

typedef struct pair_op {
    cr_vmath_pair op;
    int rank; /* >= 1 */
    int64_t dim[CR_MAX_RANK + 1], stride[OPERANDS][CR_MAX_RANK + 1];
} pair_op;

typedef struct pair_job {
    const pair_op *op;
    const cr_vmath *k;
    const float *in[2];
    float *out;
} pair_job;

/* n elements from x on, as a row or as one value. */
static const float *gather(const float *x, int64_t stride, int64_t n, float *buffer)
{
    if (stride <= 1) return x;
    for (int64_t i = 0; i < n; i++) buffer[i] = x[i * stride];
    return buffer;
}

static void pair_row(const pair_job *j, const int64_t at[OPERANDS])
{
    const pair_op *op = j->op;
    const int last = op->rank - 1;
    const int64_t n = op->dim[last], sa = op->stride[A][last], sb = op->stride[B][last];
    float a[CHUNK], b[CHUNK];
    if (sa <= 1 && sb <= 1) {
        j->k->pair(op->op, j->out + at[Y], j->in[A] + at[A], !sa, j->in[B] + at[B], !sb, (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; i += CHUNK) {
        const int64_t m = n - i < CHUNK ? n - i : CHUNK;
        j->k->pair(op->op, j->out + at[Y] + i, gather(j->in[A] + at[A] + i * sa, sa, m, a), !sa,
                   gather(j->in[B] + at[B] + i * sb, sb, m, b), !sb, (size_t)m);
    }
}

static void pair_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const pair_job *j = ctx;
    const pair_op *op = j->op;
    int64_t index[CR_MAX_RANK + 1], at[OPERANDS] = {0}, rest = first;
    for (int d = op->rank - 2; d >= 0; d--) {
        index[d] = rest % op->dim[d];
        rest /= op->dim[d];
        for (int i = 0; i < OPERANDS; i++) at[i] += index[d] * op->stride[i][d];
    }
    for (int64_t r = 0; r < count; r++) {
        pair_row(j, at);
        for (int d = op->rank - 2; d >= 0; d--) {
            const bool wraps = ++index[d] == op->dim[d];
            for (int i = 0; i < OPERANDS; i++)
                at[i] += wraps ? op->stride[i][d] * (1 - op->dim[d]) : op->stride[i][d];
            if (!wraps) break;
            index[d] = 0;
        }
    }
}

/* Steps along y's dims (n, c, h, w order) in a value of t. */
static void value_strides(const cr_value *v, const cr_tensor *t, const cr_shape *y,
                          int64_t stride[CR_MAX_RANK])
{
    cr_broadcast_strides(&t->shape, y, stride);
    if (!v->nhwc) return;
    const int64_t *x = t->shape.dim;
    const int64_t steps[4] = {x[2] * x[3] * v->ld, 1, x[3] * v->ld, v->ld};
    for (int d = 0; d < 4; d++) stride[d] = x[d] == 1 && y->dim[d] > 1 ? 0 : steps[d];
}

static bool merges(const pair_op *op, int outer, const int64_t dim, int64_t *const stride[OPERANDS],
                   int d)
{
    for (int i = 0; i < OPERANDS; i++)
        if (op->stride[i][outer] != dim * stride[i][d]) return false;
    return true;
}

/* Adds y's dims in memory order, merging each with the one before where all walk them as one. */
static void arrange(pair_op *op, const cr_shape *y, bool nhwc, int64_t *const stride[OPERANDS])
{
    static const int picture[4] = {0, 2, 3, 1};
    for (int k = 0; k < y->rank; k++) {
        const int d = nhwc ? picture[k] : k;
        if (y->dim[d] == 1) continue;
        const bool joins = op->rank && merges(op, op->rank - 1, y->dim[d], stride, d);
        if (!joins) op->dim[op->rank++] = 1;
        op->dim[op->rank - 1] *= y->dim[d];
        for (int i = 0; i < OPERANDS; i++) op->stride[i][op->rank - 1] = stride[i][d];
    }
    if (op->rank && op->stride[Y][op->rank - 1] == 1) return;
    op->dim[op->rank] = 1; /* rows of one channel in a wider tensor: not a run of elements */
    for (int i = 0; i < OPERANDS; i++) op->stride[i][op->rank] = 1;
    op->rank++;
}

/* Steps are found when running: a Concat that is lowered later may still widen a value's rows. */
static cr_status run_pair(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *values = session->program->values, *out = &values[s->out[0]];
    const cr_shape *y = &out->tensor->shape;
    int64_t stride[OPERANDS][CR_MAX_RANK];
    int64_t *const strides[OPERANDS] = {stride[A], stride[B], stride[Y]};
    pair_op op = {.op = *(const cr_vmath_pair *)s->op};
    for (int i = 0; i < 2; i++)
        value_strides(&values[s->in[i]], values[s->in[i]].tensor, y, stride[i]);
    value_strides(out, out->tensor, y, stride[Y]);
    arrange(&op, y, out->nhwc, strides);
    pair_job j = {&op,
                  cr_vmath_get(session->program->cpu),
                  {session->data[s->in[A]], session->data[s->in[B]]},
                  session->data[s->out[0]]};
    int64_t rows = 1;
    for (int d = 0; d < op.rank - 1; d++) rows *= op.dim[d];
    cr_session_rows(session, rows, 1 + 8192 / op.dim[op.rank - 1], pair_rows, &j);
    return CR_OK;
}

static bool read_pair(const cr_node *n, cr_vmath_pair *op)
{
    switch (n->op->kind) {
    case CR_OP_Add:
        *op = CR_VM_ADD;
        return true;
    case CR_OP_Sub:
        *op = CR_VM_SUB;
        return true;
    case CR_OP_Mul:
        *op = CR_VM_MUL;
        return true;
    case CR_OP_Div:
        *op = CR_VM_DIV;
        return true;
    default:
        return false;
    }
}

/* A picture of channels in rows, which an operand of rank 4 can be read as, too. */
static bool is_rows(const cr_program *p, const cr_tensor *t)
{
    return !t->data && t->shape.rank == 4 && cr_prefers_nhwc(p, t);
}

static cr_status lower_pair(cr_program *p, const cr_node *n, cr_vmath_pair kind, cr_error *err)
{
    const cr_tensor *y = n->out[0];
    const bool nhwc = y->shape.rank == 4 && (is_rows(p, n->in[A]) || is_rows(p, n->in[B]));
    int in[2], out;
    for (int i = 0; i < 2; i++) {
        const cr_tensor *t = n->in[i];
        CR_TRY(
            cr_program_need(p, t, CR_DT_F32, nhwc && !t->data && t->shape.rank == 4, &in[i], err));
    }
    CR_TRY(cr_program_output(p, y, CR_DT_F32, nhwc, &out, err));
    cr_vmath_pair *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run_pair, n->op->name, n, 2, 1);
    if (!op || !s) return CR_NOMEM(err);
    *op = kind;
    s->op = op;
    memcpy(s->in, in, sizeof in);
    s->out[0] = out;
    return cr_program_finish(p, y, out, err);
}

cr_status cr_lower_math(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    cr_vmath_fn fn;
    cr_vmath_pair pair;
    if (n->n_in < 1 || !fixed_floats(n->in[0]) || !fixed_floats(n->out[0])) return CR_OK;
    if (read_function(p, n, &fn) && !n->in[0]->data) {
        *done = true;
        return add_function(p, n, fn, n->out[0], err);
    }
    if (!read_pair(n, &pair) || !fixed_floats(n->in[1])) return CR_OK;
    *done = true;
    return lower_pair(p, n, pair, err);
}
