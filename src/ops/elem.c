#include "ops/elem.h"

#include "graph/shape.h"

void cr_store_f64(cr_tensor *t, int64_t i, double value)
{
    switch (t->dtype) {
    case CR_DT_F32:
        ((float *)t->data)[i] = (float)value;
        break;
    case CR_DT_F64:
        ((double *)t->data)[i] = value;
        break;
    case CR_DT_F16:
        ((uint16_t *)t->data)[i] = cr_f32_to_f16((float)value);
        break;
    case CR_DT_BF16:
        ((uint16_t *)t->data)[i] = cr_f32_to_bf16((float)value);
        break;
    default:
        break;
    }
}

void cr_store_bits(cr_tensor *t, int64_t i, uint64_t bits)
{
    switch (t->dtype) {
    case CR_DT_I64:
    case CR_DT_U64:
        ((uint64_t *)t->data)[i] = bits;
        break;
    case CR_DT_I32:
    case CR_DT_U32:
        ((uint32_t *)t->data)[i] = (uint32_t)bits;
        break;
    case CR_DT_I16:
    case CR_DT_U16:
        ((uint16_t *)t->data)[i] = (uint16_t)bits;
        break;
    case CR_DT_I8:
    case CR_DT_U8:
        ((uint8_t *)t->data)[i] = (uint8_t)bits;
        break;
    case CR_DT_U4:
        ((uint8_t *)t->data)[i] = (uint8_t)(bits & 15);
        break;
    case CR_DT_I4:
        ((uint8_t *)t->data)[i] = (uint8_t)((bits & 15) ^ 8) - 8;
        break;
    case CR_DT_U2:
        ((uint8_t *)t->data)[i] = (uint8_t)(bits & 3);
        break;
    case CR_DT_I2:
        ((uint8_t *)t->data)[i] = (uint8_t)((bits & 3) ^ 2) - 2;
        break;
    case CR_DT_BOOL:
        ((uint8_t *)t->data)[i] = bits != 0;
        break;
    default:
        break;
    }
}

cr_status cr_load_index(const cr_op_call *call, int64_t i, int64_t size, int64_t *out,
                        cr_error *err)
{
    const int64_t at = cr_load_i64(call->in[1], i);
    CR_OP_CHECK(at >= -size && at < size, call, err, "index %lld is out of range for %lld",
                (long long)at, (long long)size);
    *out = at < 0 ? at + size : at;
    return CR_OK;
}

/* A double's bits order like sign-magnitude numbers; flipping makes them order like unsigned. */
static uint64_t float_key(double x)
{
    uint64_t u;
    if (x != x) return UINT64_MAX;
    x += 0.0; /* -0 becomes +0 */
    memcpy(&u, &x, sizeof u);
    return u >> 63 ? ~u : u | (uint64_t)1 << 63;
}

uint64_t cr_order_key(const cr_tensor *t, int64_t i)
{
    switch (cr_class_of(t->dtype)) {
    case CR_CLASS_FLOAT:
        return float_key(cr_load_f64(t, i));
    case CR_CLASS_SIGNED:
        return (uint64_t)cr_load_i64(t, i) ^ (uint64_t)1 << 63;
    case CR_CLASS_UNSIGNED:
        break;
    }
    return cr_load_u64(t, i);
}

void cr_copy_strided(const cr_strided *job)
{
    cr_shape shape = *job->shape;
    size_t run = job->size;
    const int last = shape.rank - 1;
    if (cr_shape_count(&shape) <= 0) return;
    if (last >= 0 && job->to_stride[last] == 1 && job->from_stride[last] == 1) {
        run *= (size_t)shape.dim[last]; /* whole rows at once */
        shape.rank--;
    }
    const int64_t count = cr_shape_count(&shape);
    cr_walk w = cr_walk_begin(&shape);
    memcpy(w.stride[0], job->to_stride, sizeof w.stride[0]);
    memcpy(w.stride[1], job->from_stride, sizeof w.stride[1]);
    w.at[0] = job->to;
    w.at[1] = job->from;
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w))
        memcpy((char *)job->dst + (size_t)w.at[0] * job->size,
               (const char *)job->src + (size_t)w.at[1] * job->size, run);
}
