/* Normalisations, in double, rounded once. All but batch, local-response and Lp normalisation are
 * one thing: mean and variance over a run of consecutive elements, then scale and bias. */
#include <math.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

cr_status cr_eval_batch_norm(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    const cr_shape *s = &x->shape;
    const double epsilon = cr_attr_float(call->node, "epsilon", 1e-5f);
    const int64_t n = cr_shape_count(s), channels = s->rank > 1 ? s->dim[1] : 1;
    if (n == 0) return CR_OK;
    const int64_t inner = cr_shape_span(s, 2, s->rank);
    for (int64_t i = 0; i < n; i++) {
        const int64_t c = s->rank > 1 ? i / inner % channels : 0;
        const double d = sqrt(cr_load_f64(call->in[4], c) + epsilon);
        const double v = (cr_load_f64(x, i) - cr_load_f64(call->in[3], c)) / d;
        cr_store_f64(call->out[0], i,
                     v * cr_load_f64(call->in[1], c) + cr_load_f64(call->in[2], c));
    }
    return CR_OK;
}

typedef struct moments {
    double mean, inverse; /* inverse: 1 / sqrt(variance + epsilon) */
} moments;

static moments measure(const cr_tensor *x, int64_t at, int64_t n, double epsilon)
{
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; i++) mean += cr_load_f64(x, at + i);
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double d = cr_load_f64(x, at + i) - mean;
        variance += d * d;
    }
    return (moments){mean, 1 / sqrt(variance / (double)n + epsilon)};
}

/* Groups of channels, each normalised alone; scale and bias per channel. */
static cr_status norm_channels(const cr_op_call *call, int64_t groups)
{
    const cr_tensor *x = call->in[0];
    const double epsilon = cr_attr_float(call->node, "epsilon", 1e-5f);
    if (cr_shape_count(&x->shape) == 0) return CR_OK;
    const int64_t channels = x->shape.dim[1], inner = cr_shape_span(&x->shape, 2, x->shape.rank);
    const int64_t run = channels / groups * inner, runs = x->shape.dim[0] * groups;
    for (int64_t r = 0; r < runs; r++) {
        const moments m = measure(x, r * run, run, epsilon);
        for (int64_t i = r * run; i < (r + 1) * run; i++) {
            const int64_t c = i / inner % channels;
            const double v = (cr_load_f64(x, i) - m.mean) * m.inverse;
            cr_store_f64(call->out[0], i,
                         v * cr_load_f64(call->in[1], c) + cr_load_f64(call->in[2], c));
        }
    }
    return CR_OK;
}

cr_status cr_eval_instance_norm(const cr_op_call *call, cr_error *err)
{
    return norm_channels(call, call->in[0]->shape.dim[1]);
}

cr_status cr_eval_group_norm(const cr_op_call *call, cr_error *err)
{
    return norm_channels(call, cr_attr_int(call->node, "num_groups", 1));
}

static void store_optional(const cr_op_call *call, int i, int64_t at, double value)
{
    if (i < call->n_out && call->out[i]) cr_store_f64(call->out[i], at, value);
}

cr_status cr_eval_layer_norm(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *bias = cr_op_in(call, 2);
    const double epsilon = cr_attr_float(call->node, "epsilon", 1e-5f);
    int axis = 0;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", -1), x->shape.rank, call->node, &axis,
                             err));
    const int64_t run = cr_shape_span(&x->shape, axis, x->shape.rank);
    const int64_t runs = cr_shape_span(&x->shape, 0, axis);
    cr_walk w = cr_walk_begin(&x->shape);
    cr_broadcast_strides(&call->in[1]->shape, &x->shape, w.stride[0]);
    if (bias) cr_broadcast_strides(&bias->shape, &x->shape, w.stride[1]);
    for (int64_t r = 0; r < runs; r++) {
        const moments m = measure(x, r * run, run, epsilon);
        store_optional(call, 1, r, m.mean);
        store_optional(call, 2, r, m.inverse);
        for (int64_t i = r * run; i < (r + 1) * run; i++, cr_walk_next(&w)) {
            double v = (cr_load_f64(x, i) - m.mean) * m.inverse;
            v *= cr_load_f64(call->in[1], w.at[0]);
            store_optional(call, 0, i, bias ? v + cr_load_f64(bias, w.at[1]) : v);
        }
    }
    return CR_OK;
}

cr_status cr_eval_lp_norm(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    const cr_shape *s = &x->shape;
    const bool squares = cr_attr_int(call->node, "p", 2) == 2;
    int axis = 0;
    if (cr_shape_count(s) == 0) return CR_OK;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", -1), s->rank, call->node, &axis, err));
    const int64_t n = s->dim[axis], step = cr_shape_span(s, axis + 1, s->rank);
    const int64_t lines = n ? cr_shape_count(s) / n : 0;
    for (int64_t l = 0; l < lines; l++) {
        const int64_t at = l / step * n * step + l % step;
        double norm = 0;
        for (int64_t i = 0; i < n; i++) {
            const double v = cr_load_f64(x, at + i * step);
            norm += squares ? v * v : fabs(v);
        }
        if (squares) norm = sqrt(norm);
        for (int64_t i = 0; i < n; i++) {
            const double v = cr_load_f64(x, at + i * step);
            cr_store_f64(call->out[0], at + i * step, norm == 0 ? 0 : v / norm);
        }
    }
    return CR_OK;
}

cr_status cr_eval_lrn(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0];
    const cr_node *node = call->node;
    const int64_t size = cr_attr_int(node, "size", 1);
    const double alpha = cr_attr_float(node, "alpha", 1e-4f), bias = cr_attr_float(node, "bias", 1);
    const double beta = cr_attr_float(node, "beta", 0.75f);
    const int64_t n = cr_shape_count(&x->shape);
    if (n == 0) return CR_OK;
    const int64_t channels = x->shape.dim[1], inner = cr_shape_span(&x->shape, 2, x->shape.rank);
    for (int64_t i = 0; i < n; i++) {
        const int64_t c = i / inner % channels, base = i - c * inner;
        const int64_t lo = c - (size - 1) / 2, hi = c + size / 2;
        double sum = 0;
        for (int64_t k = lo < 0 ? 0 : lo; k <= hi && k < channels; k++) {
            const double v = cr_load_f64(x, base + k * inner);
            sum += v * v;
        }
        cr_store_f64(call->out[0], i,
                     cr_load_f64(x, i) / pow(bias + alpha / (double)size * sum, beta));
    }
    return CR_OK;
}
