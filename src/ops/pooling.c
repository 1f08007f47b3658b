/* MaxPool, AveragePool, LpPool and the global pools, in double, rounded once (maxima are exact).
 *
 * Padding never counts as a value. AveragePool with count_include_pad divides by the taps that fall
 * on the input or its declared padding; taps that a ceil_mode window reaches beyond both do not
 * count (ONNX since opset 19, PyTorch, ONNX Runtime). */
#include <math.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/nn_loops.h"
#include "ops/ref_all.h"

/* Taps under one output whose positions are within [-before, in + after) in every dimension. */
typedef struct patch {
    int64_t first[CR_WINDOW_DIMS], taps[CR_WINDOW_DIMS]; /* first position, number of taps */
} patch;

static patch patch_at(const cr_window *w, const int64_t *o, bool with_pads)
{
    patch p;
    for (int d = 0; d < CR_WINDOW_DIMS; d++) {
        const int64_t step = w->dilation[d], start = o[d] * w->stride[d] - w->pad_lo[d];
        const int64_t lo = with_pads ? -w->pad_lo[d] : 0;
        const int64_t hi = w->in[d] + (with_pads ? w->pad_hi[d] : 0);
        const int64_t skip = start < lo ? (lo - start + step - 1) / step : 0;
        int64_t end = start < hi ? (hi - 1 - start) / step + 1 : 0;
        if (end > w->kernel[d]) end = w->kernel[d];
        p.first[d] = start + skip * step;
        p.taps[d] = end > skip ? end - skip : 0;
    }
    return p;
}

static int64_t patch_taps(const patch *p)
{
    return p->taps[0] * p->taps[1] * p->taps[2];
}

/* Position of tap i of the patch in the plane. */
static int64_t patch_position(const cr_window *w, const patch *p, int64_t i)
{
    const int64_t x = p->first[2] + i % p->taps[2] * w->dilation[2];
    i /= p->taps[2];
    const int64_t y = p->first[1] + i % p->taps[1] * w->dilation[1];
    const int64_t z = p->first[0] + i / p->taps[1] * w->dilation[0];
    return (z * w->in[1] + y) * w->in[2] + x;
}

/* One output from the values below it; *where (may be NULL) is the position of a maximum. */
typedef struct pooling {
    cr_window win;
    cr_op_kind kind;
    double lowest, power;
    bool with_pads;
} pooling;

static double pool_one(const pooling *p, const double *plane, const int64_t *o, int64_t *where)
{
    const patch at = patch_at(&p->win, o, false);
    const int64_t taps = patch_taps(&at);
    const bool max = p->kind == CR_OP_MaxPool, lp = p->kind == CR_OP_LpPool;
    double acc = max ? p->lowest : 0;
    for (int64_t i = 0; i < taps; i++) {
        const int64_t position = patch_position(&p->win, &at, i);
        const double x = plane[position];
        if (!max) {
            acc += lp ? pow(fabs(x), p->power) : x;
        } else if (x > acc || x != x || i == 0) {
            acc = x;
            *where = position;
        }
    }
    if (max) return acc;
    if (lp) return pow(acc, 1 / p->power);
    const patch whole = patch_at(&p->win, o, p->with_pads);
    const int64_t count = patch_taps(&whole);
    return count ? acc / (double)count : 0;
}

/* Row-major position to the column-major one of storage_order 1. */
static int64_t column_major(const cr_window *w, int64_t position)
{
    const int64_t x = position % w->in[2], y = position / w->in[2] % w->in[1];
    const int64_t z = position / w->in[2] / w->in[1];
    return z + w->in[0] * (y + w->in[1] * x);
}

static void pool_plane(const pooling *p, const double *x, double *y, int64_t *where, bool by_column)
{
    const cr_window *w = &p->win;
    int64_t o[CR_WINDOW_DIMS], position = 0;
    for (o[0] = 0; o[0] < w->out[0]; o[0]++)
        for (o[1] = 0; o[1] < w->out[1]; o[1]++)
            for (o[2] = 0; o[2] < w->out[2]; o[2]++) {
                *y++ = pool_one(p, x, o, &position);
                if (where) *where++ += by_column ? column_major(w, position) : position;
            }
}

static cr_status pool(const cr_op_call *call, const pooling *p, cr_error *err)
{
    cr_status st = CR_OK;
    const int64_t in = cr_window_in(&p->win), out = cr_window_out(&p->win);
    const int64_t planes = call->in[0]->shape.dim[0] * call->in[0]->shape.dim[1];
    const bool by_column = cr_attr_int(call->node, "storage_order", 0) != 0;
    int64_t *where = call->n_out > 1 && call->out[1] ? call->out[1]->data : NULL;
    double *x = cr_buffer_f64(call->in[0]), *y = cr_buffer_zero(planes * out, sizeof *y);
    if (!x || !y) {
        st = CR_NOMEM(err);
        goto done;
    }
    for (int64_t i = 0; i < planes; i++) {
        for (int64_t k = 0; where && k < out; k++) where[i * out + k] = i * in;
        pool_plane(p, x + i * in, y + i * out, where ? where + i * out : NULL, by_column);
    }
    if (call->out[0]) cr_buffer_store_f64(y, call->out[0]);
done:
    cr_free(x);
    cr_free(y);
    return st;
}

cr_status cr_eval_max_pool(const cr_op_call *call, cr_error *err)
{
    const cr_dtype t = call->in[0]->dtype;
    pooling p = {.kind = CR_OP_MaxPool, .lowest = -INFINITY};
    if (!cr_dtype_is_float(t)) p.lowest = t == CR_DT_I8 ? -128 : 0;
    CR_TRY(cr_window_pool(call, &p.win, err));
    return pool(call, &p, err);
}

cr_status cr_eval_average_pool(const cr_op_call *call, cr_error *err)
{
    pooling p = {.kind = CR_OP_AveragePool};
    p.with_pads = cr_attr_int(call->node, "count_include_pad", 0) != 0;
    CR_TRY(cr_window_pool(call, &p.win, err));
    return pool(call, &p, err);
}

cr_status cr_eval_lp_pool(const cr_op_call *call, cr_error *err)
{
    pooling p = {.kind = CR_OP_LpPool, .power = (double)cr_attr_int(call->node, "p", 2)};
    CR_TRY(cr_window_pool(call, &p.win, err));
    return pool(call, &p, err);
}

cr_status cr_eval_global_pool(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    const int64_t planes = x->shape.dim[0] * x->shape.dim[1];
    const int64_t size = planes ? cr_shape_count(&x->shape) / planes : 0;
    const bool max = call->node->op->kind == CR_OP_GlobalMaxPool;
    for (int64_t p = 0; p < planes; p++) {
        double acc = max ? -INFINITY : 0;
        for (int64_t i = 0; i < size; i++) {
            const double v = cr_load_f64(x, p * size + i);
            if (!max)
                acc += v;
            else if (v > acc || v != v)
                acc = v;
        }
        cr_store_f64(call->out[0], p, max ? acc : acc / (double)size);
    }
    return CR_OK;
}
