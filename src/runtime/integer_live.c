#include "runtime/integer_live.h"

#include "crayon/arith.h"
#include "ops/nn_loops.h"

cr_live_range cr_live_range_of(float lo, float hi)
{
    const float scale = hi > lo ? (hi - lo) / 255 : 1;
    return (cr_live_range){scale, cr_round_clamp(0 - lo / scale, 0, 0, 255)};
}

void cr_live_weights(const cr_node *n, const cr_qparams *w, int32_t *codes)
{
    const cr_tensor *t = n->in[1];
    const int64_t rows = cr_dynamic_rows(n), depth = rows ? cr_shape_count(&t->shape) / rows : 0;
    const bool by_column = n->op->kind != CR_OP_Conv && !cr_dynamic_turned(n);
    int64_t inner = 1;
    for (int d = w->axis + 1; w->count > 1 && d < t->shape.rank; d++) inner *= t->shape.dim[d];
    for (int64_t i = 0; i < rows * depth; i++) {
        const size_t c = w->count == 1 ? 0 : (size_t)(i / inner) % w->count;
        const int64_t to = by_column ? i % rows * depth + i / rows : i;
        int32_t lo, hi;
        cr_q_range(w, &lo, &hi);
        const float x = ((const float *)t->data)[i];
        codes[to] =
            cr_quantize_value(x, w->scale[c], w->zero_point[c], lo, hi) - w->zero_point[c];
    }
}

float cr_live_bias(const cr_node *n, int64_t c)
{
    return n->n_in > 2 && n->in[2] ? ((const float *)n->in[2]->data)[c] : 0;
}

/* Codes of x without their zero point, modulo 2^64. */
static cr_live_range centred(const cr_tensor *x, uint64_t *out)
{
    const float *v = x->data;
    const int64_t n = cr_shape_count(&x->shape);
    float lo = 0, hi = 0;
    for (int64_t i = 0; i < n; i++) {
        lo = v[i] < lo ? v[i] : lo;
        hi = v[i] > hi ? v[i] : hi;
    }
    const cr_live_range r = cr_live_range_of(lo, hi);
    for (int64_t i = 0; i < n; i++)
        out[i] = (uint64_t)((int64_t)cr_quantize_u8(v[i], r.scale, r.zero_point) - r.zero_point);
    return r;
}

static void product(const uint64_t *a, const uint64_t *w, int64_t m, int64_t n, int64_t k,
                    uint64_t *sums)
{
    for (int64_t i = 0; i < m * n; i++)
        for (int64_t j = 0; j < k; j++) sums[i] += a[i / n * k + j] * w[i % n * k + j];
}

cr_status cr_live_eval(const cr_recipe_entry *const *entries, const cr_node *n, const cr_tensor *x,
                       cr_tensor *y, cr_error *err)
{
    const cr_qparams *q = &entries[n->in[1]->id]->q;
    const cr_tensor *in[2] = {x, n->in[1]};
    const cr_op_call call = {n, in, n->out, 2, 1};
    const bool conv = n->op->kind == CR_OP_Conv;
    const int64_t rows = cr_dynamic_rows(n), weights = cr_shape_count(&n->in[1]->shape);
    const int64_t values = cr_shape_count(&x->shape);
    cr_conv_shape c;
    if (conv) CR_TRY(cr_conv_read(&call, 1, &c, err));
    y->dtype = CR_DT_F32;
    y->shape = conv ? cr_conv_out_shape(&c) : x->shape;
    if (!conv) y->shape.dim[y->shape.rank - 1] = rows;
    const int64_t total = cr_shape_count(&y->shape);
    int64_t inner = 1;
    for (int d = 2; conv && d < y->shape.rank; d++) inner *= y->shape.dim[d];
    uint64_t *a = cr_buffer_zero(values, sizeof *a), *w = cr_buffer_zero(weights, sizeof *w);
    uint64_t *sums = cr_buffer_zero(total, sizeof *sums);
    int32_t *codes = cr_buffer_zero(weights, sizeof *codes);
    const bool ok = a && w && sums && codes && (y->data || cr_tensor_alloc(y));
    if (ok) {
        const cr_live_range r = centred(x, a);
        cr_live_weights(n, q, codes);
        for (int64_t i = 0; i < weights; i++) w[i] = (uint64_t)(int64_t)codes[i];
        if (conv) cr_conv_u64(&c, a, w, sums);
        else product(a, w, rows ? total / rows : 0, rows, rows ? weights / rows : 0, sums);
        for (int64_t i = 0; i < total; i++) {
            const int64_t channel = i / inner % rows;
            const float v = (float)(int32_t)(uint32_t)sums[i] * (r.scale * cr_live_scale(q, channel));
            ((float *)y->data)[i] = n->n_in > 2 && n->in[2] ? v + cr_live_bias(n, channel) : v;
        }
    }
    cr_free(a);
    cr_free(w);
    cr_free(sums);
    cr_free(codes);
    return ok ? CR_OK : CR_NOMEM(err);
}
