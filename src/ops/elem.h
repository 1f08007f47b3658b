/* Single elements of any type: what the reference operators are written with.
 *
 * An element is computed in one of three classes: float (as double: sums, products and quotients of
 * two float32 rounded once from double are the correctly rounded float32 results), signed and
 * unsigned (64 bit; storing keeps the low bits, so narrower types wrap as numpy's do). */
#ifndef CR_OPS_ELEM_H
#define CR_OPS_ELEM_H

#include <string.h>

#include "graph/graph.h"

typedef enum cr_class { CR_CLASS_FLOAT, CR_CLASS_SIGNED, CR_CLASS_UNSIGNED } cr_class;

static inline cr_class cr_class_of(cr_dtype t)
{
    if (cr_dtype_is_float(t)) return CR_CLASS_FLOAT;
    return cr_dtype_is_signed(t) ? CR_CLASS_SIGNED : CR_CLASS_UNSIGNED;
}

static inline double cr_load_f64(const cr_tensor *t, int64_t i)
{
    if (t->dtype == CR_DT_F32) return ((const float *)t->data)[i];
    return cr_tensor_get_f64(t, (size_t)i);
}

static inline int64_t cr_load_i64(const cr_tensor *t, int64_t i)
{
    if (t->dtype == CR_DT_I64) return ((const int64_t *)t->data)[i];
    return cr_tensor_get_i64(t, (size_t)i);
}

/* For unsigned types: all 64 bits. */
static inline uint64_t cr_load_u64(const cr_tensor *t, int64_t i)
{
    return (uint64_t)cr_tensor_get_i64(t, (size_t)i);
}

/* Stores into a float type, rounding once (float16: by way of float32). */
void cr_store_f64(cr_tensor *t, int64_t i, double value);
/* Stores into an integer type: the low bits. bool: whether it is not 0. */
void cr_store_bits(cr_tensor *t, int64_t i, uint64_t bits);

/* Element i of input 1, an index into a dim of `size`; negative ones count from its end. Fails when
 * it is out of range: indices come from data, so each is checked when it is read. */
cr_status cr_load_index(const cr_op_call *call, int64_t i, int64_t size, int64_t *out,
                        cr_error *err);

/* Order of elements as numbers: larger element, larger key; equal elements, equal keys. NaN is
 * above all. */
uint64_t cr_order_key(const cr_tensor *t, int64_t i);

static inline void cr_copy_elem(void *dst, int64_t to, const void *src, int64_t from, size_t size)
{
    memcpy((char *)dst + (size_t)to * size, (const char *)src + (size_t)from * size, size);
}

/* dst[to + i·to_stride] = src[from + i·from_stride] for all indices i of the shape; strides and
 * offsets count elements of `size` bytes. */
typedef struct cr_strided {
    const cr_shape *shape;
    void *dst;
    const void *src;
    int64_t to, from;
    int64_t to_stride[CR_MAX_RANK], from_stride[CR_MAX_RANK];
    size_t size;
} cr_strided;
void cr_copy_strided(const cr_strided *job);

#endif
