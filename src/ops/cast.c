/* Cast between any two element types, and the operators that copy as they are. Integers keep their
 * low bits; floats outside an integer's range, where the standard leaves the result open, saturate
 * at 64 bits first. An int64 goes to float32 in one rounding, not by way of double. */
#include <math.h>

#include "ops/elem.h"
#include "ops/ref_all.h"

static uint64_t float_to_bits(double x, cr_dtype to)
{
    if (to == CR_DT_BOOL) return x != 0; /* NaN is true */
    if (isnan(x)) return 0;
    if (x >= 0x1p63) {
        if (to == CR_DT_U64) return x < 0x1p64 ? (uint64_t)x : UINT64_MAX;
        return INT64_MAX;
    }
    return x > -0x1p63 ? (uint64_t)(int64_t)x : (uint64_t)INT64_MIN;
}

static void int_to_float(const cr_tensor *x, cr_tensor *y, int64_t i)
{
    const int64_t s = cr_load_i64(x, i);
    const bool is_signed = cr_dtype_is_signed(x->dtype);
    if (y->dtype == CR_DT_F64)
        cr_store_f64(y, i, is_signed ? (double)s : (double)(uint64_t)s);
    else
        cr_store_f64(y, i, is_signed ? (float)s : (float)(uint64_t)s);
}

cr_status cr_eval_copy(const cr_op_call *call, cr_error *err)
{
    memcpy(call->out[0]->data, call->in[0]->data, cr_tensor_bytes(call->in[0]));
    return CR_OK;
}

cr_status cr_eval_cast(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    cr_tensor *y = call->out[0];
    const int64_t n = cr_shape_count(&x->shape);
    if (x->dtype == y->dtype) return cr_eval_copy(call, err);
    const bool from_float = cr_dtype_is_float(x->dtype), to_float = cr_dtype_is_float(y->dtype);
    for (int64_t i = 0; i < n; i++) {
        if (from_float && to_float)
            cr_store_f64(y, i, cr_load_f64(x, i));
        else if (from_float)
            cr_store_bits(y, i, float_to_bits(cr_load_f64(x, i), y->dtype));
        else if (to_float)
            int_to_float(x, y, i);
        else
            cr_store_bits(y, i, cr_load_u64(x, i));
    }
    return CR_OK;
}

/* Inference: the input passes, and the mask keeps everything. */
cr_status cr_eval_dropout(const cr_op_call *call, cr_error *err)
{
    if (call->n_out > 1 && call->out[1])
        memset(call->out[1]->data, 1, cr_tensor_bytes(call->out[1]));
    return cr_eval_copy(call, err);
}
