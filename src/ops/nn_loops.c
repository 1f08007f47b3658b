#include "ops/nn_loops.h"

#include <math.h>

#include "graph/shape.h"
#include "ops/elem.h"

void *cr_buffer_zero(int64_t count, size_t size)
{
    return cr_calloc((size_t)count + 1, size);
}

double *cr_buffer_f64(const cr_tensor *t)
{
    const int64_t n = cr_shape_count(&t->shape);
    double *buffer = cr_buffer_zero(n, sizeof *buffer);
    for (int64_t i = 0; buffer && i < n; i++) buffer[i] = cr_load_f64(t, i);
    return buffer;
}

uint64_t *cr_buffer_u64(const cr_tensor *t)
{
    const int64_t n = cr_shape_count(&t->shape);
    uint64_t *buffer = cr_buffer_zero(n, sizeof *buffer);
    for (int64_t i = 0; buffer && i < n; i++) buffer[i] = cr_load_u64(t, i);
    return buffer;
}

/* Nearest even integer within the type's range; NaN gives 0. */
static uint64_t saturate(double x, cr_dtype t)
{
    const int bits = 8 * (int)cr_dtype_size(t);
    const bool is_signed = cr_dtype_is_signed(t);
    const double top = ldexp(1, is_signed ? bits - 1 : bits), bottom = is_signed ? -top : 0;
    x = rint(x);
    if (x != x) return 0;
    if (x <= bottom) return (uint64_t)(int64_t)bottom;
    if (x >= top) return is_signed ? ((uint64_t)1 << (bits - 1)) - 1 : UINT64_MAX;
    return x < 0 ? (uint64_t)(int64_t)x : (uint64_t)x;
}

void cr_buffer_store_f64(const double *values, cr_tensor *t)
{
    const int64_t n = cr_shape_count(&t->shape);
    const bool is_float = cr_dtype_is_float(t->dtype);
    for (int64_t i = 0; i < n; i++)
        if (is_float)
            cr_store_f64(t, i, values[i]);
        else
            cr_store_bits(t, i, saturate(values[i], t->dtype));
}

void cr_buffer_store_u64(const uint64_t *values, cr_tensor *t)
{
    const int64_t n = cr_shape_count(&t->shape);
    for (int64_t i = 0; i < n; i++) cr_store_bits(t, i, values[i]);
}

int64_t cr_window_in(const cr_window *w)
{
    return w->in[0] * w->in[1] * w->in[2];
}

int64_t cr_window_out(const cr_window *w)
{
    return w->out[0] * w->out[1] * w->out[2];
}

int64_t cr_window_taps(const cr_window *w)
{
    return w->kernel[0] * w->kernel[1] * w->kernel[2];
}

static inline int64_t source(const cr_window *w, int dim, int64_t o, int64_t k)
{
    return o * w->stride[dim] - w->pad_lo[dim] + k * w->dilation[dim];
}

static cr_window turn(const cr_window *w)
{
    cr_window t = *w;
    for (int i = 0; i < CR_WINDOW_DIMS; i++) {
        t.in[i] = w->out[i];
        t.out[i] = w->in[i];
    }
    return t;
}

#define T    double
#define N(x) x##_f64
#include "ops/nn_loops.inc"
#undef T
#undef N

#define T    uint32_t
#define N(x) x##_u32
#include "ops/nn_loops.inc"
#undef T
#undef N

#define T    uint64_t
#define N(x) x##_u64
#include "ops/nn_loops.inc"
