/* The reference's convolution on integers: sums of (a - za)(w - zw) as crayon/arith.h says. They are
 * formed modulo 2^64; for 8-bit activations the low 32 bits of them are what int32 registers that
 * wrap give. */
#include "runtime/integer_conv.h"

#include "crayon/arith.h"
#include "kernels/conv.h"
#include "ops/nn_loops.h"
#include "ops/ref.h"

static bool plain_bias(const cr_recipe_entry *const *entries, const cr_tensor *b)
{
    return !b || (b->data && b->dtype == CR_DT_F32 && !entries[b->id]);
}

static bool is_byte(cr_dtype type)
{
    return type == CR_DT_U8 || type == CR_DT_I8;
}

static bool is_wide(cr_dtype type)
{
    return type == CR_DT_U16 || type == CR_DT_I16;
}

_Static_assert((int)CR_Q_WIDE_PRODUCTS == (int)CR_CONV_WIDE_PRODUCTS, "what the kernels hold");

/* 16-bit codes are multiplied in 2-D convolutions whose sums the kernels hold. */
static bool takes_wide(const cr_node *n)
{
    const cr_shape *w = &n->in[1]->shape;
    return n->op->kind == CR_OP_Conv && w->rank == 4 && w->dim[0] > 0 &&
           cr_shape_count(w) / w->dim[0] <= CR_Q_WIDE_PRODUCTS;
}

/* The weights' axis that is output channels; -1: none is (groups of a transposed convolution). */
static int channel_axis(const cr_node *n)
{
    if (n->op->kind == CR_OP_Conv) return 0;
    return cr_attr_int(n, "group", 1) == 1 ? 1 : -1;
}

/* Every output channel sees one input channel, so that input's scale is a factor of its sum. */
static bool is_depthwise(const cr_node *n)
{
    const cr_shape *x = &n->in[0]->shape;
    return n->op->kind == CR_OP_Conv && x->rank > 2 && cr_attr_int(n, "group", 1) == x->dim[1];
}

static bool byte_weights(const cr_node *n, const cr_qparams *w)
{
    return cr_q_byte_codes(w->type) && !w->block &&
           (cr_q_per_tensor(w) || w->axis == channel_axis(n));
}

bool cr_conv_takes_integers(const cr_recipe_entry *const *entries, const cr_node *n)
{
    if (n->op->kind != CR_OP_Conv && n->op->kind != CR_OP_ConvTranspose) return false;
    if (!n->in[1]->data || n->in[0]->data) return false;
    const cr_recipe_entry *a = entries[n->in[0]->id], *w = entries[n->in[1]->id];
    if (!a || !w || !byte_weights(n, &w->q)) return false;
    if (!is_byte(a->q.type) && !(is_wide(a->q.type) && takes_wide(n))) return false;
    if (!cr_q_per_tensor(&a->q) && (a->q.axis != 1 || !is_depthwise(n))) return false;
    return plain_bias(entries, n->n_in > 2 ? n->in[2] : NULL);
}

/* Codes minus their zero points, modulo 2^64. */
static uint64_t *centred(const cr_tensor *t, const cr_qparams *q)
{
    const int64_t n = cr_shape_count(&t->shape);
    int64_t inner = 1;
    for (int d = q->axis + 1; q->count > 1 && d < t->shape.rank; d++) inner *= t->shape.dim[d];
    int32_t *codes = cr_buffer_zero(n, sizeof *codes);
    uint64_t *out = cr_buffer_zero(n, sizeof *out);
    if (codes && out) {
        cr_quantize_tensor(t, q, codes);
        for (int64_t i = 0; i < n; i++)
            out[i] = (uint64_t)((int64_t)codes[i] - q->zero_point[(size_t)(i / inner) % q->count]);
    } else {
        cr_free(out);
        out = NULL;
    }
    cr_free(codes);
    return out;
}

/* What the output channels' sums are worth. */
typedef struct scales {
    const cr_qparams *a, *w, *out; /* out NULL: floats */
    int64_t per_input;             /* output channels of an input channel; 0: `a` has one scale */
} scales;

static float scale_of(const cr_qparams *q, int64_t channel)
{
    return q->scale[q->count == 1 ? 0 : channel];
}

/* Straight to the output's codes when it has some: one product with m = sa*sw/sy. */
static float finish_sum(const scales *s, int64_t c, int64_t sum, const float *bias)
{
    const float sa = scale_of(s->a, s->per_input ? c / s->per_input : 0), sw = scale_of(s->w, c);
    sum += bias ? cr_quantize_bias(bias[c], sa, sw) : 0;
    if (!is_wide(s->a->type)) sum = (int32_t)(uint32_t)(uint64_t)sum;
    if (!s->out) return (float)sum * (sa * sw);
    int32_t lo = 0, hi = 0;
    const float sy = scale_of(s->out, c);
    const int32_t zero = s->out->zero_point[s->out->count == 1 ? 0 : c];
    cr_qtype_range(s->out->type, &lo, &hi);
    const float m = cr_requant_multiplier(sa, sw, sy);
    return cr_dequantize(cr_round_clamp((float)sum * m, zero, lo, hi), sy, zero);
}

/* Do sums become these codes without being floats between? (Those of 2-D convolutions do to 16 bits.) */
static bool straight_to_codes(const cr_node *n, const cr_qparams *out)
{
    const bool wide = n->op->kind == CR_OP_Conv && n->out[0]->shape.rank == 4 && is_wide(out->type);
    return (is_byte(out->type) || wide) && (cr_q_per_tensor(out) || out->axis == 1);
}

static void finish(const cr_recipe_entry *const *entries, const cr_node *n, const uint64_t *sums,
                   cr_tensor *y)
{
    const cr_recipe_entry *out = entries[n->out[0]->id];
    const cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    const int64_t total = cr_shape_count(&y->shape), channels = y->shape.dim[1];
    scales s = {&entries[n->in[0]->id]->q, &entries[n->in[1]->id]->q, out ? &out->q : NULL, 0};
    if (!cr_q_per_tensor(s.a)) s.per_input = channels / n->in[0]->shape.dim[1];
    if (s.out && !straight_to_codes(n, s.out)) s.out = NULL;
    int64_t inner = 1;
    for (int d = 2; d < y->shape.rank; d++) inner *= y->shape.dim[d];
    for (int64_t i = 0; i < total; i++)
        ((float *)y->data)[i] =
            finish_sum(&s, i / inner % channels, (int64_t)sums[i], b ? b->data : NULL);
}

cr_status cr_integer_conv(const cr_recipe_entry *const *entries, const cr_node *n,
                          const cr_tensor *x, cr_tensor *y, cr_error *err)
{
    const cr_tensor *in[2] = {x, n->in[1]};
    const cr_op_call call = {n, in, n->out, 2, 1};
    const bool forward = n->op->kind == CR_OP_Conv;
    cr_conv_shape c;
    CR_TRY(forward ? cr_conv_read(&call, 1, &c, err) : cr_conv_transpose_read(&call, &c, err));
    y->shape = cr_conv_out_shape(&c);
    y->dtype = CR_DT_F32;
    uint64_t *a = centred(x, &entries[n->in[0]->id]->q);
    uint64_t *w = centred(n->in[1], &entries[n->in[1]->id]->q);
    uint64_t *sums = cr_buffer_zero(cr_shape_count(&y->shape), sizeof *sums);
    const bool ok = a && w && sums && (y->data || cr_tensor_alloc(y));
    if (ok) {
        (forward ? cr_conv_u64 : cr_conv_transpose_u64)(&c, a, w, sums);
        finish(entries, n, sums, y);
    }
    cr_free(a);
    cr_free(w);
    cr_free(sums);
    return ok ? CR_OK : CR_NOMEM(err);
}
