/* ONNX Runtime's operators on codes, by their meaning: dequantize, the float operator, quantize. Its own
 * kernels may round a tie differently, as they fold scales (a * s_a / s_y). */
#include "crayon/arith.h"
#include "graph/qlinear.h"
#include "ops/elem.h"
#include "ops/ref.h"
#include "ops/ref_all.h"

static int32_t zero_of(const cr_tensor *t)
{
    return t ? (int32_t)cr_load_i64(t, 0) : 0;
}

static cr_status load_operands(const cr_op_call *call, const cr_qlinear_form *f,
                               cr_qlinear_plain *p, cr_error *err)
{
    for (int i = 0; i < p->node.n_in; i++) {
        const int at = f->first + 3 * i;
        const cr_tensor *codes = call->in[at], *zp = at + 2 < call->n_in ? call->in[at + 2] : NULL;
        const float scale = (float)cr_load_f64(call->in[at + 1], 0);
        cr_tensor *x = &p->floats[i];
        if (!cr_tensor_alloc(x)) return CR_NOMEM(err);
        for (int64_t k = 0; k < cr_shape_count(&x->shape); k++)
            ((float *)x->data)[k] =
                cr_dequantize((int32_t)cr_load_i64(codes, k), scale, zero_of(zp));
    }
    return CR_OK;
}

cr_status cr_eval_qlinear_float(const cr_op_call *call, cr_error *err)
{
    const cr_qlinear_form *f = cr_qlinear_form_of(call->node->op->kind);
    cr_tensor y = {.name = "", .dtype = CR_DT_F32, .shape = call->out[0]->shape};
    cr_qlinear_plain plain;
    CR_TRY(cr_qlinear_open(call, &y, &plain, err));
    cr_status st = load_operands(call, f, &plain, err);
    if (st == CR_OK) st = cr_op_run(&plain.call, err);
    const bool is_signed = call->out[0]->dtype == CR_DT_I8;
    const float scale = (float)cr_load_f64(call->in[f->y], 0);
    const int32_t zero = zero_of(f->y + 1 < call->n_in ? call->in[f->y + 1] : NULL);
    const int64_t n = st == CR_OK ? cr_shape_count(&y.shape) : 0;
    for (int64_t i = 0; i < n; i++) {
        const float v = ((const float *)y.data)[i];
        const int32_t q = cr_quantize_value(v, scale, zero, is_signed ? -128 : 0, is_signed ? 127 : 255);
        cr_store_bits(call->out[0], i, (uint64_t)(int64_t)q);
    }
    cr_tensor_drop_data(&y);
    cr_qlinear_close(&plain);
    return st;
}
