/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear: the functions of crayon/arith.h, element
 * by element, in float32 (half-precision inputs and scales are widened first). */
#include "crayon/arith.h"

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

/* Which scale element i of x has: element / inner % length along the axis, then by block. */
typedef struct grain {
    int64_t inner, length, block, blocks; /* length 0: one scale for all */
} grain;

static cr_status read_grain(const cr_op_call *call, grain *g, cr_error *err)
{
    const cr_shape *x = &call->in[0]->shape, *s = &call->in[1]->shape;
    const int64_t block = cr_attr_int(call->node, "block_size", 0);
    int axis = 0;
    *g = (grain){.inner = 1};
    if (block == 0 && s->rank <= 1 && cr_shape_count(s) == 1) return CR_OK;
    if (cr_shape_count(x) == 0) return CR_OK;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", 1), x->rank, call->node, &axis, err));
    g->inner = cr_shape_span(x, axis + 1, x->rank);
    g->length = x->dim[axis];
    g->block = block;
    g->blocks = block > 0 ? s->dim[axis] : 0;
    return CR_OK;
}

static int64_t scale_index(const grain *g, int64_t i)
{
    if (g->length == 0) return 0;
    const int64_t along = i / g->inner % g->length;
    if (g->block == 0) return along;
    const int64_t outer = i / g->inner / g->length;
    return (outer * g->blocks + along / g->block) * g->inner + i % g->inner;
}

static void range_of(cr_dtype t, int32_t *lo, int32_t *hi)
{
    const bool four = t == CR_DT_I4 || t == CR_DT_U4, two = t == CR_DT_I2 || t == CR_DT_U2;
    const int bits = four ? 4 : two ? 2 : 8 * (int)cr_dtype_size(t);
    *lo = cr_dtype_is_signed(t) ? -(1 << (bits - 1)) : 0;
    *hi = *lo + (1 << bits) - 1;
}

cr_status cr_eval_quantize_linear(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *zp = cr_op_in(call, 2);
    const int64_t n = cr_shape_count(&x->shape);
    int32_t lo, hi;
    grain g;
    CR_TRY(read_grain(call, &g, err));
    range_of(call->out[0]->dtype, &lo, &hi);
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = scale_index(&g, i);
        const float scale = (float)cr_load_f64(call->in[1], k);
        const int32_t zero = zp ? (int32_t)cr_load_i64(zp, k) : 0;
        const int32_t q = cr_quantize_value((float)cr_load_f64(x, i), scale, zero, lo, hi);
        cr_store_bits(call->out[0], i, (uint64_t)(int64_t)q);
    }
    return CR_OK;
}

cr_status cr_eval_dequantize_linear(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *zp = cr_op_in(call, 2);
    const int64_t n = cr_shape_count(&x->shape);
    grain g;
    CR_TRY(read_grain(call, &g, err));
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = scale_index(&g, i);
        const float scale = (float)cr_load_f64(call->in[1], k);
        const int32_t zero = zp ? (int32_t)cr_load_i64(zp, k) : 0;
        cr_store_f64(call->out[0], i, cr_dequantize((int32_t)cr_load_i64(x, i), scale, zero));
    }
    return CR_OK;
}

/* Range widened to hold 0; an all-zero tensor gets scale 1 (ONNX Runtime's choice: ONNX divides
 * by 0 there). */
cr_status cr_eval_dynamic_quantize(const cr_op_call *call, cr_error *err)
{
    const float *x = call->in[0]->data;
    const int64_t n = cr_shape_count(&call->in[0]->shape);
    float min = 0, max = 0;
    for (int64_t i = 0; i < n; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
    }
    const float scale = max > min ? (max - min) / 255 : 1;
    const int32_t zero = cr_round_clamp(0 - min / scale, 0, 0, 255);
    if (call->out[1]) *(float *)call->out[1]->data = scale;
    if (call->out[2]) *(uint8_t *)call->out[2]->data = (uint8_t)zero;
    if (!call->out[0]) return CR_OK;
    uint8_t *y = call->out[0]->data;
    for (int64_t i = 0; i < n; i++) y[i] = cr_quantize_u8(x[i], scale, zero);
    return CR_OK;
}
