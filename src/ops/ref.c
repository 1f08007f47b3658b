/* Runs reference operators. Half-precision floats are widened here, once, for every operator whose
 * result depends on arithmetic; operators that move or convert values see the types as they are. */
#include "ops/ref.h"

#include <string.h>

#include "ops/ref_all.h"

typedef cr_status (*eval_fn)(const cr_op_call *call, cr_error *err);

static const eval_fn table[CR_OP_COUNT] = {
#define CR_OP(name, domain, stem, min_in, max_in, min_out, max_out, flags)                         \
    [CR_OP_##name] = cr_eval_##stem,
#include "graph/ops.inc"
#undef CR_OP
};

static bool is_half(const cr_tensor *t)
{
    return t && (t->dtype == CR_DT_F16 || t->dtype == CR_DT_BF16);
}

/* Copies, casts and quantizers read element types themselves. */
static bool handles_half(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Cast:
    case CR_OP_CastLike:
    case CR_OP_Constant:
    case CR_OP_ConstantOfShape:
    case CR_OP_Shape:
    case CR_OP_Size:
    case CR_OP_EyeLike:
    case CR_OP_OneHot:
    case CR_OP_ScatterElements:
    case CR_OP_ScatterND:
    case CR_OP_NonZero:
    case CR_OP_Where:
    case CR_OP_QuantizeLinear:
    case CR_OP_DequantizeLinear: return true;
    case CR_OP_Resize:
    case CR_OP_MaxPool:
    case CR_OP_GlobalMaxPool:
    case CR_OP_Pad: return false;
    default: return n->op->flags & CR_OPF_MOVE;
    }
}

static bool widen(const cr_tensor *from, cr_tensor *to)
{
    *to = *from;
    to->data = NULL;
    to->dtype = CR_DT_F32;
    if (!cr_tensor_alloc(to)) return false;
    const int64_t n = cr_shape_count(&from->shape);
    const uint16_t *src = from->data;
    float *dst = to->data;
    for (int64_t i = 0; i < n; i++)
        dst[i] = from->dtype == CR_DT_F16 ? cr_f16_to_f32(src[i]) : cr_bf16_to_f32(src[i]);
    return true;
}

static void narrow(const cr_tensor *from, cr_tensor *to)
{
    const int64_t n = cr_shape_count(&from->shape);
    const float *src = from->data;
    uint16_t *dst = to->data;
    for (int64_t i = 0; i < n; i++)
        dst[i] = to->dtype == CR_DT_F16 ? cr_f32_to_f16(src[i]) : cr_f32_to_bf16(src[i]);
}

static cr_status eval_half(const cr_op_call *call, cr_error *err)
{
    cr_status st = CR_OK;
    const size_t count = (size_t)call->n_in + (size_t)call->n_out;
    cr_tensor *wide = cr_calloc(count, sizeof *wide);
    const cr_tensor **in = cr_calloc((size_t)call->n_in, sizeof *in);
    cr_tensor **out = cr_calloc((size_t)call->n_out, sizeof *out);
    if (!wide || !in || !out) {
        st = CR_NOMEM(err);
        goto done;
    }
    for (int i = 0; i < call->n_in; i++) {
        in[i] = call->in[i];
        if (!is_half(in[i])) continue;
        if (!widen(in[i], &wide[i])) st = CR_NOMEM(err);
        in[i] = &wide[i];
    }
    for (int i = 0; i < call->n_out; i++) {
        out[i] = call->out[i];
        if (!is_half(out[i])) continue;
        cr_tensor *t = &wide[call->n_in + i];
        *t = *out[i];
        t->data = NULL;
        t->dtype = CR_DT_F32;
        if (!cr_tensor_alloc(t)) st = CR_NOMEM(err);
        out[i] = t;
    }
    if (st != CR_OK) goto done;
    const cr_op_call wide_call = {call->node, in, out, call->n_in, call->n_out};
    CR_TRY_GOTO(table[call->node->op->kind](&wide_call, err), done);
    for (int i = 0; i < call->n_out; i++)
        if (call->out[i] && is_half(call->out[i])) narrow(out[i], call->out[i]);
done:
    for (size_t i = 0; wide && i < count; i++) cr_tensor_drop_data(&wide[i]);
    cr_free(wide);
    cr_free(in);
    cr_free(out);
    return st;
}

static bool any_half(const cr_op_call *call)
{
    for (int i = 0; i < call->n_in; i++)
        if (is_half(call->in[i])) return true;
    for (int i = 0; i < call->n_out; i++)
        if (is_half(call->out[i])) return true;
    return false;
}

cr_status cr_op_eval(const cr_op_call *call, cr_error *err)
{
    if (any_half(call) && !handles_half(call->node)) return eval_half(call, err);
    return table[call->node->op->kind](call, err);
}

/* Sizes that come out of a model's own arithmetic (Range, Expand, Tile ...) are bounded here. */
static const size_t output_limit = (size_t)4 << 30;

cr_status cr_op_run(const cr_op_call *call, cr_error *err)
{
    size_t before[64] = {0};
    CR_CHECK(call->n_out <= 64, err, CR_ERR_LIMIT, "node '%s': more than 64 outputs",
             call->node->name);
    for (int i = 0; i < call->n_out; i++)
        if (call->out[i] && call->out[i]->data) before[i] = cr_tensor_bytes(call->out[i]);
    CR_TRY(call->node->op->infer(call, err));
    for (int i = 0; i < call->n_out; i++) {
        cr_tensor *t = call->out[i];
        if (!t || (t->data && before[i] == cr_tensor_bytes(t))) continue;
        CR_CHECK(cr_tensor_bytes(t) <= output_limit, err, CR_ERR_LIMIT,
                 "node '%s' (%s): an output of %zu MiB, more than the limit of %zu MiB",
                 call->node->name, call->node->op->name, cr_tensor_bytes(t) >> 20,
                 output_limit >> 20);
        CR_CHECK(cr_shape_count(&t->shape) >= 0, err, CR_ERR_LIMIT,
                 "node '%s' (%s): output shape is unknown or too large", call->node->name,
                 call->node->op->name);
        if (!cr_tensor_alloc(t)) return CR_NOMEM(err);
    }
    return cr_op_eval(call, err);
}
