#include "runtime/integer_matmul.h"

#include "crayon/arith.h"
#include "graph/nn_rules.h"
#include "ops/nn_loops.h"

static bool is_byte(const cr_recipe_entry *e)
{
    return e && !e->is_weight && cr_q_per_tensor(&e->q) &&
           (e->q.type == CR_DT_U8 || e->q.type == CR_DT_I8);
}

static bool transposed(const cr_node *n)
{
    return n->op->kind == CR_OP_Gemm && cr_attr_int(n, "transB", 0) != 0;
}

static bool constant_codes(const cr_node *n, const cr_recipe_entry *e)
{
    if (!e || !cr_q_byte_codes(e->q.type) || e->q.block || n->in[1]->shape.rank != 2) return false;
    return cr_q_per_tensor(&e->q) || e->q.axis == (transposed(n) ? 0 : 1);
}

static bool plain_gemm(const cr_recipe_entry *const *entries, const cr_node *n)
{
    if (n->op->kind != CR_OP_Gemm) return true;
    if (cr_attr_int(n, "transA", 0) || cr_attr_float(n, "alpha", 1) != 1) return false;
    if (cr_attr_float(n, "beta", 1) != 1) return false;
    const cr_tensor *c = n->n_in > 2 ? n->in[2] : NULL;
    if (!c) return true;
    const cr_shape *s = &c->shape;
    const int64_t cols = n->in[1]->shape.dim[transposed(n) ? 0 : 1];
    if (!c->data || entries[c->id] || c->dtype != CR_DT_F32 || s->rank < 1) return false;
    return cr_shape_count(s) == cols && s->dim[s->rank - 1] == cols;
}

bool cr_matmul_takes_integers(const cr_recipe_entry *const *entries, const cr_node *n)
{
    if (n->op->kind != CR_OP_MatMul && n->op->kind != CR_OP_Gemm) return false;
    const cr_tensor *a = n->in[0], *b = n->in[1];
    if (a->data || !is_byte(entries[a->id]) || a->shape.rank < 2 || b->shape.rank < 2) return false;
    const bool codes = b->data ? constant_codes(n, entries[b->id]) : is_byte(entries[b->id]);
    return codes && plain_gemm(entries, n);
}

float cr_matmul_column_scale(const cr_recipe_entry *const *entries, const cr_node *n, int64_t c)
{
    const cr_qparams *q = &entries[n->in[1]->id]->q;
    return q->scale[q->count == 1 ? 0 : c];
}

/* Codes without their zero point, as two's complement. */
static uint32_t *centred(const cr_tensor *t, const cr_qparams *q)
{
    const int64_t n = cr_shape_count(&t->shape);
    uint32_t *out = cr_buffer_zero(n, sizeof *out);
    if (!out) return NULL;
    cr_quantize_tensor(t, q, (int32_t *)out);
    int64_t inner = 1;
    for (int d = q->axis + 1; q->count > 1 && d < t->shape.rank; d++) inner *= t->shape.dim[d];
    for (int64_t i = 0; i < n; i++) out[i] -= (uint32_t)q->zero_point[(size_t)(i / inner) % q->count];
    return out;
}

/* [n][k] to [k][n], in a new buffer; the old one is freed. */
static uint32_t *turned(uint32_t *b, int64_t k, int64_t n)
{
    uint32_t *out = b ? cr_buffer_zero(k * n, sizeof *out) : NULL;
    for (int64_t i = 0; out && i < k * n; i++) out[i] = b[i % n * k + i / n];
    cr_free(b);
    return out;
}

static cr_status product_shape(const cr_node *n, const cr_tensor *a, const cr_tensor *b,
                               cr_matmul_shape *s, cr_error *err)
{
    const cr_tensor *in[2] = {a, b};
    const cr_op_call call = {n, in, n->out, 2, 1};
    if (n->op->kind == CR_OP_MatMul) return cr_matmul_read(&call, 0, 1, s, err);
    const int turn = transposed(n);
    *s = (cr_matmul_shape){.m = a->shape.dim[0], .k = a->shape.dim[1], .n = b->shape.dim[!turn]};
    s->out = (cr_shape){.rank = 2, .dim = {s->m, s->n}};
    return CR_OK;
}

static void finish(const cr_recipe_entry *const *entries, const cr_node *n, const uint32_t *sums,
                   const cr_matmul_shape *s, float *y)
{
    const cr_tensor *bias = n->n_in > 2 ? n->in[2] : NULL;
    const cr_recipe_entry *out = is_byte(entries[n->out[0]->id]) ? entries[n->out[0]->id] : NULL;
    const float sa = entries[n->in[0]->id]->q.scale[0];
    const int64_t total = cr_shape_count(&s->out);
    for (int64_t i = 0; i < total; i++) {
        const float sb = cr_matmul_column_scale(entries, n, i % s->n);
        int32_t sum = (int32_t)sums[i];
        if (bias)
            sum = cr_wrap_add(sum, cr_quantize_bias(((const float *)bias->data)[i % s->n], sa, sb));
        y[i] = (float)sum * (sa * sb);
        if (!out) continue;
        int32_t lo, hi;
        cr_qtype_range(out->q.type, &lo, &hi);
        const float m = cr_requant_multiplier(sa, sb, out->q.scale[0]);
        y[i] = cr_dequantize(cr_requantize(sum, m, out->q.zero_point[0], lo, hi), out->q.scale[0],
                             out->q.zero_point[0]);
    }
}

cr_status cr_integer_matmul(const cr_recipe_entry *const *entries, const cr_node *n,
                            const cr_tensor *a, const cr_tensor *b, cr_tensor *y, cr_error *err)
{
    cr_matmul_shape s;
    CR_TRY(product_shape(n, a, b, &s, err));
    uint32_t *ca = centred(a, &entries[n->in[0]->id]->q);
    uint32_t *cb = centred(b, &entries[n->in[1]->id]->q);
    uint32_t *sums = cr_buffer_zero(cr_shape_count(&s.out), sizeof *sums);
    if (transposed(n)) cb = turned(cb, s.k, s.n);
    y->shape = s.out;
    y->dtype = CR_DT_F32;
    cr_status st = ca && cb && sums && (y->data || cr_tensor_alloc(y)) ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        cr_matmul_u32(&s, ca, cb, sums);
        finish(entries, n, sums, &s, y->data);
    }
    cr_free(ca);
    cr_free(cb);
    cr_free(sums);
    return st;
}
