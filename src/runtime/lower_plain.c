/* Data movement on row-major tensors: Reshape and its kin are views, Transpose, Slice, Split,
 * Expand, Tile and a Gather of one index are one strided copy (a Transpose goes by blocks where both sides have runs of neighbours),
 * Concat is a few. Values are moved in the form they have: uint8 codes stay codes when the output's
 * entry says the same scale and zero point, else floats are moved. Softmax is here because detection
 * heads take it along an axis of such tensors. cr_lower_plain() also asks the families that have a
 * file of their own: products, transposed convolutions, mathematics, reductions, pictures, samples.
 */
#include <string.h>

#include "base/error.h"
#include "graph/shape.h"
#include "kernels/rows.h"
#include "kernels/transpose.h"
#include "kernels/vmath.h"
#include "runtime/program.h"

enum { TURN = 32 };

/* ---- strided copy: out (contiguous, dims) = in[offset + sum index*stride] ---- */

typedef struct strided {
    int rank;
    int64_t dim[CR_MAX_RANK], stride[CR_MAX_RANK];
    int64_t offset, inner;   /* inner: elements of the last dim */
    size_t size;             /* bytes per element */
    int turned;              /* a dim whose source elements are neighbours while the last one's are
                                not: those two are transposed in blocks; -1: none */
} strided;

typedef struct strided_job {
    const strided *plan;
    const unsigned char *in;
    unsigned char *out;
} strided_job;

#define COPY_RUN(type)                                                                             \
    do {                                                                                           \
        const type *from = (const type *)src;                                                      \
        type *to = (type *)dst;                                                                    \
        for (int64_t i = 0; i < n; i++) to[i] = from[i * stride];                                  \
    } while (0)

static void copy_run(unsigned char *dst, const unsigned char *src, int64_t n, int64_t stride,
                     size_t size)
{
    if (stride == 1) memcpy(dst, src, (size_t)n * size);
    else if (size == 1) COPY_RUN(uint8_t);
    else if (size == 2) COPY_RUN(uint16_t);
    else if (size == 4) COPY_RUN(uint32_t);
    else COPY_RUN(uint64_t);
}

static void strided_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const strided_job *j = ctx;
    const strided *p = j->plan;
    for (int64_t row = first; row < first + count; row++) {
        int64_t rest = row, at = p->offset;
        for (int d = p->rank - 2; d >= 0; d--) {
            at += rest % p->dim[d] * p->stride[d];
            rest /= p->dim[d];
        }
        copy_run(j->out + (size_t)(row * p->inner) * p->size, j->in + (ptrdiff_t)at * (ptrdiff_t)p->size,
                 p->inner, p->stride[p->rank - 1], p->size);
    }
}

/* Row r of the outer dims and blocks of TURN along the turned one: a matrix of inner x TURN. */
static void turned_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const strided_job *j = ctx;
    const strided *p = j->plan;
    for (int64_t row = first; row < first + count; row++) {
        int64_t rest = row, at = p->offset, to = 0, step = p->inner, cols = 0, to_ld = 0;
        for (int d = p->rank - 2; d >= 0; d--) {
            const bool turned = d == p->turned;
            const int64_t n = turned ? (p->dim[d] + TURN - 1) / TURN : p->dim[d];
            const int64_t index = rest % n * (turned ? TURN : 1);
            if (turned) cols = p->dim[d] - index < TURN ? p->dim[d] - index : TURN;
            if (turned) to_ld = step;
            at += index * p->stride[d];
            to += index * step;
            step *= p->dim[d];
            rest /= n;
        }
        const unsigned char *src = j->in + (ptrdiff_t)at * (ptrdiff_t)p->size;
        unsigned char *dst = j->out + (size_t)to * p->size;
        if (p->size == 1)
            cr_transpose_bytes(src, p->stride[p->rank - 1], dst, to_ld, p->inner, cols);
        else
            cr_transpose_words((const uint32_t *)(const void *)src, p->stride[p->rank - 1],
                               (uint32_t *)(void *)dst, to_ld, p->inner, cols);
    }
}

static cr_status run_turned(const cr_step *s, cr_session *session, cr_error *err)
{
    const strided *p = s->op;
    strided_job job = {p, session->data[s->in[0]], session->data[s->out[0]]};
    int64_t rows = 1;
    for (int d = 0; d < p->rank - 1; d++)
        rows *= d == p->turned ? (p->dim[d] + TURN - 1) / TURN : p->dim[d];
    cr_session_rows(session, rows, 1 + 512 / p->inner, turned_rows, &job);
    return CR_OK;
}

static cr_status run_strided(const cr_step *s, cr_session *session, cr_error *err)
{
    const strided *p = s->op;
    strided_job job = {p, session->data[s->in[0]], session->data[s->out[0]]};
    int64_t rows = 1;
    for (int d = 0; d < p->rank - 1; d++) rows *= p->dim[d];
    if (p->inner == 0) return CR_OK;
    cr_session_rows(session, rows, 1 + 16384 / p->inner, strided_rows, &job);
    return CR_OK;
}

/* Merges neighbouring dims that are walked as one, so that the inner run is as long as possible. */
static void collapse(strided *p)
{
    int kept = 0;
    for (int d = 0; d < p->rank; d++) {
        if (p->dim[d] == 1) continue;
        if (kept && p->stride[kept - 1] == p->dim[d] * p->stride[d]) {
            p->dim[kept - 1] *= p->dim[d];
            p->stride[kept - 1] = p->stride[d];
        } else {
            p->dim[kept] = p->dim[d];
            p->stride[kept++] = p->stride[d];
        }
    }
    if (!kept) {
        p->dim[0] = 1;
        p->stride[0] = 1;
        kept = 1;
    }
    p->rank = kept;
    p->inner = p->dim[kept - 1];
}

/* Which dim to transpose with the last one, if that is worth it. */
static int find_turned(const strided *p)
{
    const int last = p->rank - 1;
    if ((p->size != 1 && p->size != 4) || p->stride[last] <= 1 || p->dim[last] < 4) return -1;
    for (int d = 0; d < last; d++)
        if (p->stride[d] == 1 && p->dim[d] >= 4) return d;
    return -1;
}

static void contiguous(const cr_shape *s, int64_t *stride)
{
    int64_t n = 1;
    for (int d = s->rank - 1; d >= 0; d--) {
        stride[d] = n;
        n *= s->dim[d];
    }
}

/* ---- which form to move ---- */

/* Codes may move when all outputs that have readers carry the input's parameters. */
static bool same_bytes(const cr_program *p, const cr_tensor *x, const cr_tensor *y)
{
    const cr_recipe_entry *a = cr_program_byte_entry(p, x), *b = cr_program_byte_entry(p, y);
    return a && b && a->q.type == b->q.type && a->q.scale[0] == b->q.scale[0] &&
           a->q.zero_point[0] == b->q.zero_point[0];
}

static cr_status move_input(cr_program *p, const cr_tensor *x, bool codes, int *value, cr_error *err)
{
    return cr_program_need(p, x, codes ? CR_DT_U8 : x->dtype, false, value, err);
}

static cr_status move_output(cr_program *p, const cr_tensor *y, bool codes, int *value,
                             cr_error *err)
{
    if (codes) return cr_program_output_u8(p, y, false, value, err);
    return cr_program_output(p, y, y->dtype, false, value, err);
}

static cr_status add_strided(cr_program *p, const cr_node *n, int in, const cr_tensor *y, bool codes,
                             strided plan, cr_error *err)
{
    int out;
    CR_TRY(move_output(p, y, codes, &out, err));
    strided *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run_strided, n->op->name, n, 1, 1);
    if (!op || !s) return CR_NOMEM(err);
    *op = plan;
    op->size = cr_dtype_size(p->values[out].dtype);
    collapse(op);
    op->turned = find_turned(op);
    if (op->turned >= 0) s->run = run_turned;
    s->op = op;
    s->in[0] = in;
    s->out[0] = out;
    return cr_program_finish(p, y, out, err);
}

/* ---- the operators ---- */

static cr_status lower_view(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    int in, out;
    const bool codes = same_bytes(p, x, y);
    CR_TRY(move_input(p, x, codes, &in, err));
    CR_TRY(move_output(p, y, codes, &out, err));
    p->values[out].root = p->values[in].root;
    p->values[out].offset = p->values[in].offset;
    *done = true;
    return cr_program_finish(p, y, out, err);
}

static cr_status lower_transpose(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    size_t count;
    const int64_t *perm = cr_attr_ints(n, "perm", &count);
    strided plan = {.rank = x->shape.rank};
    int64_t stride[CR_MAX_RANK];
    *done = true;
    if (cr_matmul_reads_transposed(p, n)) return CR_OK;
    contiguous(&x->shape, stride);
    for (int d = 0; d < x->shape.rank; d++) {
        const int from = perm ? (int)perm[d] : x->shape.rank - 1 - d;
        plan.dim[d] = x->shape.dim[from];
        plan.stride[d] = stride[from];
    }
    int in;
    const bool codes = same_bytes(p, x, y);
    CR_TRY(move_input(p, x, codes, &in, err));
    return add_strided(p, n, in, y, codes, plan, err);
}

/* Where x is stretched the stride is 0. */
static cr_status lower_expand(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    if (cr_shape_count(&y->shape) == 0) return CR_OK;
    strided plan = {.rank = y->shape.rank};
    memcpy(plan.dim, y->shape.dim, sizeof plan.dim);
    cr_broadcast_strides(&x->shape, &y->shape, plan.stride);
    int in;
    const bool codes = same_bytes(p, x, y);
    CR_TRY(move_input(p, x, codes, &in, err));
    *done = true;
    return add_strided(p, n, in, y, codes, plan, err);
}

/* Every dim as two: the repeats, with stride 0, and itself. */
static cr_status lower_tile(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    int64_t stride[CR_MAX_RANK];
    strided plan = {.rank = 0};
    if (cr_shape_count(&y->shape) == 0) return CR_OK;
    contiguous(&x->shape, stride);
    for (int d = 0; d < x->shape.rank; d++) {
        const int64_t repeats = y->shape.dim[d] / x->shape.dim[d];
        if (plan.rank + 2 > CR_MAX_RANK) return CR_OK;
        if (repeats > 1) plan.dim[plan.rank++] = repeats;
        plan.dim[plan.rank] = x->shape.dim[d];
        plan.stride[plan.rank++] = stride[d];
    }
    int in;
    const bool codes = same_bytes(p, x, y);
    CR_TRY(move_input(p, x, codes, &in, err));
    *done = true;
    return add_strided(p, n, in, y, codes, plan, err);
}

/* One constant index: a slice whose dim goes away. */
static cr_status lower_gather(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0], *index = n->in[1];
    int64_t axis = cr_attr_int(n, "axis", 0), stride[CR_MAX_RANK];
    if (!index->data || index->shape.rank != 0 || x->data || cr_shape_count(&y->shape) == 0)
        return CR_OK;
    if (axis < 0) axis += x->shape.rank;
    contiguous(&x->shape, stride);
    int64_t at = cr_tensor_get_i64(index, 0);
    if (at < 0) at += x->shape.dim[axis];
    if (at < 0 || at >= x->shape.dim[axis]) return CR_OK; /* the reference says what is wrong */
    strided plan = {.rank = 0, .offset = at * stride[axis]};
    for (int d = 0; d < x->shape.rank; d++) {
        if (d == axis) continue;
        plan.dim[plan.rank] = x->shape.dim[d];
        plan.stride[plan.rank++] = stride[d];
    }
    int in;
    const bool codes = same_bytes(p, x, y);
    CR_TRY(move_input(p, x, codes, &in, err));
    *done = true;
    return add_strided(p, n, in, y, codes, plan, err);
}

static int64_t clamp64(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

/* ONNX Slice with constant arguments. Shapes were checked by inference. */
static bool slice_plan(const cr_node *n, strided *plan)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    for (int i = 1; i < n->n_in; i++)
        if (n->in[i] && !n->in[i]->data) return false;
    int64_t stride[CR_MAX_RANK];
    contiguous(&x->shape, stride);
    *plan = (strided){.rank = x->shape.rank};
    for (int d = 0; d < x->shape.rank; d++) {
        plan->dim[d] = y->shape.dim[d];
        plan->stride[d] = stride[d];
    }
    const int64_t count = cr_shape_count(&n->in[1]->shape);
    for (int64_t i = 0; i < count; i++) {
        const bool axes = n->n_in > 3 && n->in[3], steps = n->n_in > 4 && n->in[4];
        int64_t axis = axes ? cr_tensor_get_i64(n->in[3], (size_t)i) : i;
        if (axis < 0) axis += x->shape.rank;
        const int64_t step = steps ? cr_tensor_get_i64(n->in[4], (size_t)i) : 1;
        const int64_t size = x->shape.dim[axis];
        int64_t start = cr_tensor_get_i64(n->in[1], (size_t)i);
        if (start < 0) start += size;
        start = step > 0 ? clamp64(start, 0, size) : clamp64(start, 0, size - 1);
        plan->offset += start * stride[axis];
        plan->stride[axis] = stride[axis] * step;
    }
    return true;
}

static cr_status lower_slice(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    strided plan;
    if (!slice_plan(n, &plan) || cr_shape_count(&n->out[0]->shape) == 0) return CR_OK;
    int in;
    const bool codes = same_bytes(p, n->in[0], n->out[0]);
    CR_TRY(move_input(p, n->in[0], codes, &in, err));
    *done = true;
    return add_strided(p, n, in, n->out[0], codes, plan, err);
}

static cr_status lower_split(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->in[0];
    int64_t axis = cr_attr_int(n, "axis", 0), stride[CR_MAX_RANK], at = 0;
    if (axis < 0) axis += x->shape.rank;
    contiguous(&x->shape, stride);
    *done = true;
    for (int k = 0; k < n->n_out; k++) {
        const cr_tensor *y = n->out[k];
        if (!y) continue;
        strided plan = {.rank = x->shape.rank, .offset = at * stride[axis]};
        memcpy(plan.dim, y->shape.dim, sizeof plan.dim);
        memcpy(plan.stride, stride, sizeof plan.stride);
        at += y->shape.dim[axis];
        int in;
        const bool codes = same_bytes(p, x, y);
        CR_TRY(move_input(p, x, codes, &in, err));
        CR_TRY(add_strided(p, n, in, y, codes, plan, err));
    }
    return CR_OK;
}

typedef struct concat_plan {
    int64_t outer, row;   /* row: bytes of one output row */
    int64_t *bytes;       /* per input: bytes of one of its rows; 0: it is in its place already */
    int64_t *at;          /* per input: where its part of an output row begins */
} concat_plan;

typedef struct concat_job {
    const concat_plan *plan;
    const cr_step *step;
    const cr_session *session;
} concat_job;

/* Piece r: row r / inputs of input r % inputs. */
static void concat_pieces(void *ctx, int64_t first, int64_t count, int worker)
{
    const concat_job *j = ctx;
    const concat_plan *p = j->plan;
    unsigned char *out = j->session->data[j->step->out[0]];
    for (int64_t r = first; r < first + count; r++) {
        const int64_t o = r / j->step->n_in, i = r % j->step->n_in;
        const unsigned char *in = j->session->data[j->step->in[i]];
        if (p->bytes[i])
            memcpy(out + o * p->row + p->at[i], in + o * p->bytes[i], (size_t)p->bytes[i]);
    }
}

static cr_status run_concat(const cr_step *s, cr_session *session, cr_error *err)
{
    concat_job j = {s->op, s, session};
    cr_session_rows(session, j.plan->outer * s->n_in, 1 + 32768 / (j.plan->row + 1), concat_pieces,
                    &j);
    return CR_OK;
}

/* The memory of an input that is all of it moves into the output's, so that its producer writes it
 * there: for rows that lie one behind the other (outer 1). */
static bool move_into(cr_program *p, int value, int out, int64_t at)
{
    const cr_value v = p->values[value], root = p->values[v.root];
    if (v.root == out || v.nhwc || root.nhwc || root.fixed || root.dynamic || v.offset) return false;
    if (v.dtype != p->values[out].dtype || root.dtype != v.dtype || root.root != v.root) return false;
    if (v.cols != root.cols || v.ld != v.cols) return false;
    for (size_t i = 0; i < p->graph->input_count; i++)
        if (p->values[p->inputs[i]].root == v.root) return false;
    for (size_t i = 0; i < p->value_count; i++) {
        if (p->values[i].root != v.root) continue;
        p->values[i].root = out;
        p->values[i].offset += at;
    }
    return true;
}

static cr_status lower_concat(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *y = n->out[0];
    bool codes = true;
    for (int i = 0; i < n->n_in; i++) codes &= same_bytes(p, n->in[i], y);
    int64_t axis = cr_attr_int(n, "axis", 0);
    if (axis < 0) axis += y->shape.rank;
    concat_plan *op = cr_arena_alloc(&p->arena, sizeof *op);
    int *in = cr_arena_alloc(&p->arena, (size_t)n->n_in * sizeof *in);
    if (!op || !in) return CR_NOMEM(err);
    op->bytes = cr_arena_alloc(&p->arena, (size_t)n->n_in * sizeof *op->bytes);
    op->at = cr_arena_alloc(&p->arena, (size_t)n->n_in * sizeof *op->at);
    if (!op->bytes || !op->at) return CR_NOMEM(err);
    op->outer = 1;
    for (int d = 0; d < axis; d++) op->outer *= y->shape.dim[d];
    if (!op->outer) return CR_OK;
    for (int i = 0; i < n->n_in; i++) {
        CR_TRY(move_input(p, n->in[i], codes, &in[i], err));
        const int64_t size = (int64_t)cr_dtype_size(p->values[in[i]].dtype);
        op->bytes[i] = cr_shape_count(&n->in[i]->shape) / op->outer * size;
        op->at[i] = op->row;
        op->row += op->bytes[i];
    }
    int out;
    CR_TRY(move_output(p, y, codes, &out, err));
    for (int i = 0; i < n->n_in && op->outer == 1; i++) {
        const int64_t size = (int64_t)cr_dtype_size(p->values[in[i]].dtype);
        if (op->bytes[i] && move_into(p, in[i], out, op->at[i] / size)) op->bytes[i] = 0;
    }
    cr_step *s = cr_program_add_step(p, run_concat, "Concat", n, n->n_in, 1);
    if (!s) return CR_NOMEM(err);
    memcpy(s->in, in, (size_t)n->n_in * sizeof *in);
    s->out[0] = out;
    s->op = op;
    *done = true;
    return cr_program_finish(p, y, out, err);
}

/* ---- Softmax along one axis: [outer][n][inner] ---- */

enum { SOFTMAX_BLOCK = 256 };

typedef struct softmax_op {
    int64_t outer, n, inner;
} softmax_op;

typedef struct softmax_job {
    const softmax_op *op;
    const cr_rows *k;
    const cr_vmath *math;
    const float *in;
    float *out;
} softmax_job;

/* `width` neighbouring lines at once: maximum, exponentials and their sum, quotient. */
static void softmax_lines(const softmax_job *j, const float *x, float *y, size_t width)
{
    float top[SOFTMAX_BLOCK], sum[SOFTMAX_BLOCK] = {0};
    const int64_t n = j->op->n, step = j->op->inner;
    memcpy(top, x, width * sizeof *top);
    for (int64_t i = 1; i < n; i++) j->k->max_f32(top, x + i * step, width);
    for (int64_t i = 0; i < n; i++) j->k->exp_sum(y + i * step, x + i * step, top, sum, width);
    for (int64_t i = 0; i < n; i++)
        j->math->pair(CR_VM_DIV, y + i * step, y + i * step, false, sum, false, width);
}

static void softmax_blocks(void *ctx, int64_t first, int64_t count, int worker)
{
    const softmax_job *j = ctx;
    const softmax_op *op = j->op;
    if (op->inner == 1) {
        for (int64_t o = first; o < first + count; o++)
            j->math->softmax(j->out + o * op->n, j->in + o * op->n, (size_t)op->n);
        return;
    }
    const int64_t blocks = (op->inner + SOFTMAX_BLOCK - 1) / SOFTMAX_BLOCK;
    for (int64_t b = first; b < first + count; b++) {
        const int64_t c = b % blocks * SOFTMAX_BLOCK, at = b / blocks * op->n * op->inner + c;
        const int64_t w = op->inner - c < SOFTMAX_BLOCK ? op->inner - c : SOFTMAX_BLOCK;
        softmax_lines(j, j->in + at, j->out + at, (size_t)w);
    }
}

static cr_status run_softmax(const cr_step *s, cr_session *session, cr_error *err)
{
    const softmax_op *op = s->op;
    softmax_job j = {op, cr_rows_get(session->program->cpu), cr_vmath_get(session->program->cpu),
                     session->data[s->in[0]], session->data[s->out[0]]};
    const int64_t blocks = (op->inner + SOFTMAX_BLOCK - 1) / SOFTMAX_BLOCK;
    cr_session_rows(session, op->outer * blocks, 1, softmax_blocks, &j);
    return CR_OK;
}

static cr_status lower_softmax(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_shape *x = &n->in[0]->shape;
    if (n->in[0]->dtype != CR_DT_F32 || cr_shape_count(x) == 0 || x->rank < 1) return CR_OK;
    softmax_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    if (!op) return CR_NOMEM(err);
    int64_t axis = cr_attr_int(n, "axis", -1);
    if (axis < 0) axis += x->rank;
    *op = (softmax_op){1, x->dim[axis], 1};
    for (int d = 0; d < x->rank; d++) {
        if (d < axis) op->outer *= x->dim[d];
        if (d > axis) op->inner *= x->dim[d];
    }
    int in, out;
    CR_TRY(cr_program_need(p, n->in[0], CR_DT_F32, false, &in, err));
    CR_TRY(cr_program_output(p, n->out[0], CR_DT_F32, false, &out, err));
    cr_step *s = cr_program_add_step(p, run_softmax, "softmax", n, 1, 1);
    if (!s) return CR_NOMEM(err);
    s->in[0] = in;
    s->out[0] = out;
    s->op = op;
    *done = true;
    return cr_program_finish(p, n->out[0], out, err);
}

static bool all_static(const cr_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && !cr_shape_known(&n->in[i]->shape)) return false;
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i] && !cr_shape_known(&n->out[i]->shape)) return false;
    return true;
}

static bool weight_among(const cr_program *p, const cr_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && n->in[i]->data && cr_program_entry(p, n->in[i])) return true;
    return false;
}

cr_status cr_lower_plain(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (!all_static(n)) return CR_OK;
    CR_TRY(cr_lower_matmul(p, n, done, err));
    if (!*done) CR_TRY(cr_lower_convtranspose(p, n, done, err));
    if (*done || weight_among(p, n)) return CR_OK;
    CR_TRY(cr_lower_math(p, n, done, err));
    if (!*done) CR_TRY(cr_lower_reduce(p, n, done, err));
    if (!*done) CR_TRY(cr_lower_pictures(p, n, done, err));
    if (!*done) CR_TRY(cr_lower_sample(p, n, done, err));
    if (*done) return CR_OK;
    switch (n->op->kind) {
    case CR_OP_Reshape:
    case CR_OP_Flatten:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze:
    case CR_OP_Identity: return lower_view(p, n, done, err);
    case CR_OP_Transpose: return lower_transpose(p, n, done, err);
    case CR_OP_Expand: return lower_expand(p, n, done, err);
    case CR_OP_Tile: return lower_tile(p, n, done, err);
    case CR_OP_Gather: return lower_gather(p, n, done, err);
    case CR_OP_Slice: return lower_slice(p, n, done, err);
    case CR_OP_Split: return lower_split(p, n, done, err);
    case CR_OP_Concat: return lower_concat(p, n, done, err);
    case CR_OP_Softmax: return lower_softmax(p, n, done, err);
    default: return CR_OK;
    }
}
