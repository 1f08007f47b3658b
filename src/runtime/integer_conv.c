#include "runtime/integer_conv.h"

#include <string.h>

#include "crayon/arith.h"
#include "ops/nn_loops.h"
#include "ops/ref.h"

static bool plain_bias(const cr_recipe_entry *const *entries, const cr_tensor *b)
{
    return !b || (b->data && b->dtype == CR_DT_F32 && !entries[b->id]);
}

static bool symmetric(const cr_qparams *w)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->zero_point[i]) return false;
    return true;
}

/* The weights' axis that is output channels; -1: none is (groups of a transposed convolution). */
static int channel_axis(const cr_node *n)
{
    if (n->op->kind == CR_OP_Conv) return 0;
    return cr_attr_int(n, "group", 1) == 1 ? 1 : -1;
}

bool cr_conv_takes_integers(const cr_recipe_entry *const *entries, const cr_node *n)
{
    if (n->op->kind != CR_OP_Conv && n->op->kind != CR_OP_ConvTranspose) return false;
    if (!n->in[1]->data || n->in[0]->data) return false;
    const cr_recipe_entry *a = entries[n->in[0]->id], *w = entries[n->in[1]->id];
    if (!a || !w || !cr_q_per_tensor(&a->q)) return false;
    if (a->q.type != CR_DT_U8 && a->q.type != CR_DT_I8) return false;
    if (w->q.type != CR_DT_I8 || (w->q.axis != channel_axis(n) && !cr_q_per_tensor(&w->q))) return false;
    return symmetric(&w->q) && plain_bias(entries, n->n_in > 2 ? n->in[2] : NULL);
}

/* Codes of a float tensor as a tensor of the entry's 8-bit type. */
static cr_status codes_of(const cr_tensor *t, const cr_qparams *q, cr_tensor *out, cr_error *err)
{
    *out = *t;
    out->dtype = q->type;
    out->data = NULL;
    const int64_t n = cr_shape_count(&t->shape);
    int32_t *codes = cr_malloc((size_t)n * sizeof *codes);
    if (!codes || !cr_tensor_alloc(out)) {
        cr_free(codes);
        return CR_NOMEM(err);
    }
    cr_quantize_tensor(t, q, codes);
    for (int64_t i = 0; i < n; i++) ((uint8_t *)out->data)[i] = (uint8_t)codes[i];
    cr_free(codes);
    return CR_OK;
}

/* Straight to the output's codes when it has some: one product with m = sa*sw/sy. */
static float finish_sum(int32_t sum, float sa, float sw, const cr_qparams *out)
{
    if (!out) return (float)sum * (sa * sw);
    int32_t lo = 0, hi = 0;
    cr_qtype_range(out->type, &lo, &hi);
    const float m = cr_requant_multiplier(sa, sw, out->scale[0]);
    const int32_t code = cr_requantize(sum, m, out->zero_point[0], lo, hi);
    return cr_dequantize(code, out->scale[0], out->zero_point[0]);
}

static cr_status finish(const cr_recipe_entry *const *entries, const cr_node *n,
                        const cr_tensor *acc, cr_tensor *y, cr_error *err)
{
    const cr_qparams *a = &entries[n->in[0]->id]->q, *w = &entries[n->in[1]->id]->q;
    const cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    const cr_recipe_entry *out = entries[n->out[0]->id];
    if (out && !cr_q_per_tensor(&out->q)) out = NULL;
    y->shape = acc->shape;
    y->dtype = CR_DT_F32;
    if (!y->data && !cr_tensor_alloc(y)) return CR_NOMEM(err);
    int64_t inner = 1;
    for (int d = 2; d < acc->shape.rank; d++) inner *= acc->shape.dim[d];
    const int64_t total = cr_shape_count(&acc->shape), channels = acc->shape.dim[1];
    for (int64_t i = 0; i < total; i++) {
        const int64_t c = i / inner % channels;
        const float sw = w->scale[w->count == 1 ? 0 : c];
        int32_t sum = ((const int32_t *)acc->data)[i];
        if (b)
            sum = cr_wrap_add(sum, cr_quantize_bias(((const float *)b->data)[c], a->scale[0], sw));
        ((float *)y->data)[i] = finish_sum(sum, a->scale[0], sw, out ? &out->q : NULL);
    }
    return CR_OK;
}

/* ConvInteger of the codes. */
static cr_status conv_sums(const cr_node *n, const cr_tensor *codes, const cr_tensor *k,
                           int32_t zero_point, cr_tensor *acc, cr_error *err)
{
    cr_tensor zero = {.name = "zero", .dtype = codes->dtype};
    if (!cr_tensor_alloc(&zero)) return CR_NOMEM(err);
    *(uint8_t *)zero.data = (uint8_t)zero_point;
    cr_node node = *n;
    const cr_tensor *in[3] = {codes, k, &zero};
    cr_tensor *out[1] = {acc};
    node.op = cr_op_get(CR_OP_ConvInteger);
    node.n_in = 3;
    const cr_op_call call = {&node, in, out, 3, 1};
    const cr_status st = cr_op_run(&call, err);
    cr_tensor_drop_data(&zero);
    return st;
}

/* Codes of an 8-bit tensor as two's complement, minus zero_point. */
static uint32_t *words_of(const cr_tensor *codes, int32_t zero_point)
{
    const int64_t n = cr_shape_count(&codes->shape);
    uint32_t *out = cr_buffer_zero(n, sizeof *out);
    for (int64_t i = 0; out && i < n; i++)
        out[i] = (uint32_t)(cr_tensor_get_i64(codes, (size_t)i) - zero_point);
    return out;
}

/* The same sums for a transposed convolution, for which ONNX has no operator. */
static cr_status transposed_sums(const cr_node *n, const cr_tensor *codes, const cr_tensor *k,
                                 int32_t zero_point, cr_tensor *acc, cr_error *err)
{
    const cr_tensor *in[2] = {codes, k};
    const cr_op_call call = {n, in, n->out, 2, 1};
    cr_conv_shape c;
    CR_TRY(cr_conv_transpose_read(&call, &c, err));
    acc->shape = cr_conv_out_shape(&c);
    acc->dtype = CR_DT_I32;
    uint32_t *x = words_of(codes, zero_point), *w = words_of(k, 0);
    const bool ok = x && w && cr_tensor_alloc(acc);
    if (ok) {
        memset(acc->data, 0, cr_tensor_bytes(acc));
        cr_conv_transpose_u32(&c, x, w, acc->data);
    }
    cr_free(x);
    cr_free(w);
    return ok ? CR_OK : CR_NOMEM(err);
}

cr_status cr_integer_conv(const cr_recipe_entry *const *entries, const cr_node *n,
                          const cr_tensor *x, cr_tensor *y, cr_error *err)
{
    const cr_recipe_entry *a = entries[n->in[0]->id], *w = entries[n->in[1]->id];
    cr_tensor codes = {0}, k = {0}, acc = {.name = "acc"};
    cr_status st = CR_OK;
    CR_TRY_GOTO(codes_of(x, &a->q, &codes, err), done);
    CR_TRY_GOTO(codes_of(n->in[1], &w->q, &k, err), done);
    st = (n->op->kind == CR_OP_Conv ? conv_sums : transposed_sums)(n, &codes, &k,
                                                                   a->q.zero_point[0], &acc, err);
    if (st == CR_OK) st = finish(entries, n, &acc, y, err);
done:
    cr_tensor_drop_data(&codes);
    cr_tensor_drop_data(&k);
    cr_tensor_drop_data(&acc);
    return st;
}
