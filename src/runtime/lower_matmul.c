/* MatMul and Gemm.
 *
 * With a constant matrix behind: a 1x1 convolution over the rows of input 0, so the bias (Gemm's,
 * or an Add behind the product) and the activation are its epilogue. Of two computed operands:
 * kernels/gemm.h, which reads any strides, so a Transpose in front of it (queries and keys of an
 * attention block) is not a step of its own: cr_matmul_reads_transposed() tells the Transpose's
 * lowering to stand back, and operand() here follows it to its source. */
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/nn_rules.h"
#include "graph/shape.h"
#include "kernels/conv.h"
#include "kernels/gemm.h"
#include "runtime/integer_conv.h"
#include "runtime/integer_matmul.h"
#include "runtime/program.h"

/* ---- a constant matrix ---- */

typedef struct dense_op {
    cr_conv_f32 *f32;
    cr_conv_s8 *s8;
} dense_op;

static void free_dense(void *op)
{
    dense_op *d = op;
    cr_conv_f32_free(d->f32);
    cr_conv_s8_free(d->s8);
}

static cr_status run_dense(const cr_step *s, cr_session *session, cr_error *err)
{
    const dense_op *d = s->op;
    void *x = session->data[s->in[0]], *y = session->data[s->out[0]];
    if (d->s8)
        cr_conv_s8_run(d->s8, x, 0, y, 0, session->scratch, session->pool);
    else
        cr_conv_f32_run(d->f32, x, 0, y, 0, session->scratch, session->pool);
    return CR_OK;
}

/* What becomes one step: the product, a bias row, an activation; `y` is what it writes. */
typedef struct dense {
    const cr_node *n;
    bool turned; /* weights are [n][k] */
    bool integers;
    int64_t m, n_out, k;
    const cr_tensor *bias, *y;
    float alpha;
    cr_act act;
} dense;

static bool is_bias_row(const cr_program *p, const cr_tensor *c, int64_t cols)
{
    const cr_shape *s = &c->shape;
    return c->data && c->dtype == CR_DT_F32 && !cr_program_entry(p, c) && s->rank >= 1 &&
           cr_shape_count(s) == cols && s->dim[s->rank - 1] == cols;
}

static bool read_dense(const cr_program *p, const cr_node *n, dense *d)
{
    const cr_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape;
    const bool gemm = n->op->kind == CR_OP_Gemm;
    if (n->in[0]->data || !n->in[1]->data || b->rank != 2 || a->rank < 2) return false;
    *d = (dense){.n = n, .y = n->out[0], .alpha = 1};
    d->turned = gemm && cr_attr_int(n, "transB", 0);
    d->k = b->dim[d->turned];
    d->n_out = b->dim[!d->turned];
    d->m = cr_shape_count(a) / d->k;
    d->integers = cr_matmul_takes_integers(p->entries, n);
    if (!gemm) return true;
    d->alpha = cr_attr_float(n, "alpha", 1);
    d->bias = n->n_in > 2 ? n->in[2] : NULL;
    if (cr_attr_int(n, "transA", 0) || (d->bias && cr_attr_float(n, "beta", 1) != 1)) return false;
    return !d->bias || is_bias_row(p, d->bias, d->n_out);
}

/* Float: y + constant row. (On integers the bias would be rounded, which an Add's is not.) */
static void fuse_bias(cr_program *p, dense *d)
{
    const cr_node *next = cr_program_entry(p, d->y) ? NULL : cr_program_only_reader(p, d->y);
    if (d->bias || d->integers || !next || next->op->kind != CR_OP_Add) return;
    const cr_tensor *row = next->in[next->in[0] == d->y];
    if (row == d->y || !is_bias_row(p, row, d->n_out)) return;
    if (!cr_shape_equal(&next->out[0]->shape, &d->y->shape)) return;
    d->bias = row;
    d->y = next->out[0];
    p->fused[next->index] = true;
}

static cr_conv_geometry rows_geometry(const dense *d)
{
    return (cr_conv_geometry){.n = 1,
                              .h = 1,
                              .w = d->m,
                              .cin = d->k,
                              .oh = 1,
                              .ow = d->m,
                              .cout = d->n_out,
                              .ld_in = d->k,
                              .ld_out = d->n_out,
                              .kh = 1,
                              .kw = 1,
                              .stride_h = 1,
                              .stride_w = 1,
                              .dil_h = 1,
                              .dil_w = 1,
                              .groups = 1};
}

static int64_t weight_at(const dense *d, int64_t out, int64_t k)
{
    return d->turned ? out * d->k + k : k * d->n_out + out;
}

static cr_status create_f32(cr_program *p, const dense *d, cr_conv_f32 **conv, cr_error *err)
{
    const float *source;
    CR_TRY(cr_program_weights(p, d->n->in[1], &source, err));
    float *w = cr_malloc((size_t)(d->n_out * d->k) * sizeof *w);
    if (!w) return CR_NOMEM(err);
    for (int64_t i = 0; i < d->n_out; i++)
        for (int64_t k = 0; k < d->k; k++) w[i * d->k + k] = source[weight_at(d, i, k)] * d->alpha;
    const cr_conv_geometry g = rows_geometry(d);
    const cr_status st =
        cr_conv_f32_create(&g, w, d->bias ? d->bias->data : NULL, &d->act, p->cpu, conv, err);
    cr_free(w);
    return st;
}

static cr_status create_s8(cr_program *p, const dense *d, const cr_value *in, const cr_value *out,
                           cr_conv_s8 **conv, cr_error *err)
{
    const int64_t count = d->n_out * d->k;
    cr_arena temporary = {0};
    cr_status st = CR_OK;
    int32_t *codes = cr_arena_alloc(&temporary, (size_t)count * sizeof *codes);
    int8_t *w = cr_arena_alloc(&temporary, (size_t)count);
    int32_t *zeros = cr_arena_alloc(&temporary, (size_t)d->n_out * sizeof *zeros);
    int32_t *bias = cr_arena_alloc(&temporary, (size_t)d->n_out * sizeof *bias);
    float *m = cr_arena_alloc(&temporary, (size_t)d->n_out * sizeof *m);
    if (!codes || !w || !zeros || !bias || !m) {
        st = CR_NOMEM(err);
        goto done;
    }
    const cr_qparams *qw = &cr_program_entry(p, d->n->in[1])->q;
    cr_quantize_tensor(d->n->in[1], qw, codes);
    for (int64_t i = 0; i < d->n_out; i++) {
        const float sb = cr_matmul_column_scale(p->entries, d->n, i);
        zeros[i] = cr_weight_zero(qw, i);
        for (int64_t k = 0; k < d->k; k++)
            w[i * d->k + k] = (int8_t)(codes[weight_at(d, i, k)] - cr_weight_shift(qw->type));
        if (d->bias) bias[i] = cr_quantize_bias(((const float *)d->bias->data)[i], in->scale, sb);
        m[i] = in->scale * sb;
        if (out->quantized && d->act.kind == CR_ACT_NONE)
            m[i] = cr_requant_multiplier(in->scale, sb, out->scale);
    }
    const cr_conv_geometry g = rows_geometry(d);
    const cr_conv_s8_params params = {.weights = w,
                                      .zeros_w = zeros,
                                      .bias = bias,
                                      .multiplier = m,
                                      .zero_in = in->zero_point,
                                      .act = d->act,
                                      .float_out = !out->quantized,
                                      .scale_out = out->scale,
                                      .zero_out = out->zero_point};
    st = cr_conv_s8_create(&g, &params, p->cpu, conv, err);
done:
    cr_arena_free(&temporary);
    return st;
}

static cr_status lower_dense(cr_program *p, dense *d, cr_error *err)
{
    int in, out;
    CR_TRY(cr_program_need(p, d->n->in[0], d->integers ? CR_DT_U8 : CR_DT_F32, false, &in, err));
    fuse_bias(p, d);
    d->y = cr_program_fuse_activation(p, d->y, &d->act);
    if (d->integers && cr_program_byte_entry(p, d->y))
        CR_TRY(cr_program_output_u8(p, d->y, false, &out, err));
    else
        CR_TRY(cr_program_output(p, d->y, CR_DT_F32, false, &out, err));
    dense_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run_dense, "", d->n, 1, 1);
    if (!op || !s) return CR_NOMEM(err);
    s->in[0] = in;
    s->out[0] = out;
    s->op = op;
    s->free_op = free_dense;
    if (d->integers) {
        CR_TRY(create_s8(p, d, &p->values[in], &p->values[out], &op->s8, err));
        s->what = cr_conv_s8_name(op->s8);
        s->scratch = cr_conv_s8_scratch(op->s8, p->threads);
    } else {
        CR_TRY(create_f32(p, d, &op->f32, err));
        s->what = cr_conv_f32_name(op->f32);
        s->scratch = cr_conv_f32_scratch(op->f32, p->threads);
    }
    return cr_program_finish(p, d->y, out, err);
}

/* ---- two computed operands ---- */

typedef struct product_op {
    cr_gemm_shape shape;
    const cr_gemm_f32_kernel *f32;
    const cr_gemm_s16_kernel *s16;
    cr_gemm_codes codes;
} product_op;

static cr_status run_product(const cr_step *s, cr_session *session, cr_error *err)
{
    const product_op *op = s->op;
    const void *a = session->data[s->in[0]], *b = session->data[s->in[1]];
    void *c = session->data[s->out[0]];
    if (op->f32)
        cr_gemm_f32_run(op->f32, &op->shape, a, b, c, session->scratch, session->pool);
    else
        cr_gemm_s16_run(op->s16, cr_rows_get(session->program->cpu), &op->shape, &op->codes, a, b,
                        c, session->scratch, session->pool);
    return CR_OK;
}

static bool same_codes(const cr_program *p, const cr_tensor *x, const cr_tensor *y)
{
    const cr_recipe_entry *a = cr_program_byte_entry(p, x), *b = cr_program_byte_entry(p, y);
    return a && b && a->q.type == b->q.type && a->q.scale[0] == b->q.scale[0] &&
           a->q.zero_point[0] == b->q.zero_point[0];
}

static bool fixed_floats(const cr_tensor *t)
{
    return t->dtype == CR_DT_F32 && cr_shape_known(&t->shape) && cr_shape_count(&t->shape) > 0;
}

/* Both operands packed, once per product, are at most this many elements each. */
static bool packs_small(const cr_node *n)
{
    const cr_shape *a = &n->in[0]->shape, *y = &n->out[0]->shape;
    const int64_t k = a->dim[a->rank - 1], count = cr_shape_count(y), most = 1 << 30;
    return count / y->dim[y->rank - 1] <= most / k && count / y->dim[y->rank - 2] <= most / k;
}

/* A MatMul that lower_product() takes, whatever its recipe. */
static bool is_product(const cr_node *n)
{
    if (n->op->kind != CR_OP_MatMul || n->in[0]->data || n->in[1]->data) return false;
    return fixed_floats(n->in[0]) && fixed_floats(n->in[1]) && fixed_floats(n->out[0]) &&
           n->in[0]->shape.rank >= 2 && n->in[1]->shape.rank >= 2 && packs_small(n);
}

bool cr_matmul_reads_transposed(const cr_program *p, const cr_node *transpose)
{
    const cr_tensor *x = transpose->in[0], *y = transpose->out[0];
    const cr_node *reader = cr_program_only_reader(p, y);
    if (!reader || x->data || !is_product(reader)) return false;
    /* what the product reads as codes (or floats) must be there as such in front, too */
    if (cr_matmul_takes_integers(p->entries, reader)) return same_codes(p, x, y);
    return !cr_program_entry(p, y);
}

/* Strides of t's dims in the value that is read: t itself, or the source of a Transpose that stood
 * back. */
static cr_status operand(cr_program *p, const cr_tensor *t, bool codes, int *value,
                         int64_t stride[CR_MAX_RANK], cr_error *err)
{
    const cr_dtype type = codes ? CR_DT_U8 : CR_DT_F32;
    if (cr_program_primary(p, t) >= 0) {
        cr_shape_strides(&t->shape, stride);
        return cr_program_need(p, t, type, false, value, err);
    }
    const cr_node *turn = t->producer;
    int64_t source[CR_MAX_RANK];
    size_t count;
    const int64_t *perm = cr_attr_ints(turn, "perm", &count);
    const int rank = t->shape.rank;
    cr_shape_strides(&turn->in[0]->shape, source);
    for (int d = 0; d < rank; d++) stride[d] = source[perm ? perm[d] : rank - 1 - d];
    return cr_program_need(p, turn->in[0], type, false, value, err);
}

/* Where each product of the batch begins in an operand with these strides. */
static int64_t *offsets(cr_program *p, const cr_shape *batch, const cr_shape *own,
                        const int64_t *stride)
{
    const int64_t count = cr_shape_count(batch);
    int64_t *at = cr_arena_alloc(&p->arena, (size_t)count * sizeof *at);
    const int skip = batch->rank - (own->rank - 2);
    for (int64_t i = 0; at && i < count; i++) {
        int64_t rest = i;
        for (int d = batch->rank - 1; d >= 0; d--) {
            const int64_t index = rest % batch->dim[d];
            rest /= batch->dim[d];
            if (d >= skip && own->dim[d - skip] > 1) at[i] += index * stride[d - skip];
        }
    }
    return at;
}

static cr_status product_shape(cr_program *p, const cr_node *n, const int64_t *sa,
                               const int64_t *sb, cr_gemm_shape *g, cr_error *err)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    cr_matmul_shape s;
    int64_t sc[CR_MAX_RANK];
    CR_TRY(cr_matmul_read(&call, 0, 1, &s, err));
    const cr_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape, *c = &n->out[0]->shape;
    cr_shape_strides(c, sc);
    *g = (cr_gemm_shape){.batch = cr_shape_count(&s.batch),
                         .m = s.m,
                         .n = s.n,
                         .k = s.k,
                         .a_down = sa[a->rank - 2],
                         .a_right = sa[a->rank - 1],
                         .b_down = sb[b->rank - 2],
                         .b_right = sb[b->rank - 1],
                         .c_down = s.n};
    g->a_at = offsets(p, &s.batch, a, sa);
    g->b_at = offsets(p, &s.batch, b, sb);
    g->c_at = offsets(p, &s.batch, c, sc);
    return g->a_at && g->b_at && g->c_at ? CR_OK : CR_NOMEM(err);
}

static void set_codes(const cr_program *p, const int in[2], int out, cr_gemm_codes *q)
{
    const cr_value *a = &p->values[in[0]], *b = &p->values[in[1]], *y = &p->values[out];
    *q = (cr_gemm_codes){.zero_a = a->zero_point,
                         .zero_b = b->zero_point,
                         .multiplier = a->scale * b->scale,
                         .float_out = !y->quantized,
                         .zero_out = y->zero_point};
    if (y->quantized) q->multiplier = cr_requant_multiplier(a->scale, b->scale, y->scale);
}

/* A product by a constant behind the product (1 / sqrt(d) of attention). */
static const cr_tensor *fuse_scale(cr_program *p, const cr_tensor *y, float *alpha)
{
    const cr_node *next = cr_program_entry(p, y) ? NULL : cr_program_only_reader(p, y);
    if (!next || next->op->kind != CR_OP_Mul) return y;
    const cr_tensor *c = next->in[next->in[0] == y];
    if (!c->data || c->dtype != CR_DT_F32 || cr_shape_count(&c->shape) != 1) return y;
    if (cr_program_entry(p, c) || c->shape.rank > y->shape.rank) return y;
    *alpha = *(const float *)c->data;
    p->fused[next->index] = true;
    return next->out[0];
}

static cr_status lower_product(cr_program *p, const cr_node *n, cr_error *err)
{
    const bool codes = cr_matmul_takes_integers(p->entries, n);
    float alpha = 1;
    const cr_tensor *y = codes ? n->out[0] : fuse_scale(p, n->out[0], &alpha);
    int64_t stride[2][CR_MAX_RANK];
    int in[2], out;
    for (int i = 0; i < 2; i++) CR_TRY(operand(p, n->in[i], codes, &in[i], stride[i], err));
    if (codes && cr_program_byte_entry(p, y))
        CR_TRY(cr_program_output_u8(p, y, false, &out, err));
    else
        CR_TRY(cr_program_output(p, y, CR_DT_F32, false, &out, err));
    product_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run_product, "", n, 2, 1);
    if (!op || !s) return CR_NOMEM(err);
    CR_TRY(product_shape(p, n, stride[0], stride[1], &op->shape, err));
    op->shape.alpha = alpha;
    memcpy(s->in, in, sizeof in);
    s->out[0] = out;
    s->op = op;
    if (codes) {
        op->s16 = cr_gemm_s16_select(p->cpu);
        set_codes(p, in, out, &op->codes);
        s->what = op->s16->name;
        s->scratch = cr_gemm_s16_scratch(op->s16, &op->shape, p->threads);
    } else {
        op->f32 = cr_gemm_f32_select(p->cpu);
        s->what = op->f32->name;
        s->scratch = cr_gemm_f32_scratch(op->f32, &op->shape);
    }
    return cr_program_finish(p, y, out, err);
}

cr_status cr_lower_matmul(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    dense d;
    if (n->op->kind != CR_OP_MatMul && n->op->kind != CR_OP_Gemm) return CR_OK;
    if (!fixed_floats(n->in[0]) || !fixed_floats(n->in[1]) || !fixed_floats(n->out[0]))
        return CR_OK;
    if (read_dense(p, n, &d)) {
        *done = true;
        return lower_dense(p, &d, err);
    }
    if (!is_product(n)) return CR_OK;
    *done = true;
    return lower_product(p, n, err);
}
