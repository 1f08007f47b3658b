/* FakeQuantize and FakeQuantizeBias (train/fake_quant.h says what their inputs are), element by
 * element: the functions of crayon/arith.h with floats in and out. In float64 the same formulas
 * without their rounding to float32. */
#include "graph/fake_scale.h"
#include "graph/recipe.h"
#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

static double scale_at(const cr_tensor *scale, const cr_tensor *factor, int64_t k)
{
    const double s = cr_load_f64(scale, k), f = cr_load_f64(factor, k);
    if (scale->dtype == CR_DT_F64) return cr_fake_scale_f64(s, f);
    return (double)cr_fake_scale_f32((float)s, (float)f);
}

/* Which scale element i has. */
static int64_t scale_index(const cr_q_grain *g, int64_t i)
{
    const int64_t line = i / g->inner, a = line % g->length;
    const int64_t first = (int64_t)cr_q_first_scale(g, line / g->length, a);
    return g->block ? first + i % g->inner : first;
}

static double quotient(cr_dtype type, double x, double s)
{
    return type == CR_DT_F32 ? (double)((float)x / (float)s) : x / s;
}

static double clamp(double v, double lo, double hi)
{
    v = v > lo ? v : lo; /* NaN gives lo */
    return v < hi ? v : hi;
}

cr_status cr_eval_fake_quantize(const cr_op_call *call, cr_error *err)
{
    const cr_node *n = call->node;
    const cr_tensor *x = call->in[0], *shift = cr_op_in(call, 4);
    const double lo = (double)cr_attr_int(n, "lo", 0), hi = (double)cr_attr_int(n, "hi", 0);
    const bool sign = cr_attr_int(n, "sign", 0) != 0;
    const cr_qparams q = {.axis = (int)cr_attr_int(n, "axis", -1),
                          .count = (size_t)cr_shape_count(&call->in[1]->shape),
                          .block = cr_attr_int(n, "block", 0)};
    const cr_q_grain g = cr_q_grain_of(&q, &x->shape);
    (void)err;
    for (int64_t i = 0; i < cr_shape_count(&x->shape); i++) {
        const int64_t k = scale_index(&g, i);
        const double s = scale_at(call->in[1], call->in[2], k), value = cr_load_f64(x, i);
        double z = cr_load_f64(call->in[3], k);
        if (shift) z = cr_fake_zero(z, cr_load_f64(shift, k), lo, hi);
        const double v = quotient(x->dtype, value, s);
        double code = rint(clamp(v, lo - z, hi - z));
        if (sign) code = value < 0 ? -1 : 1;
        cr_store_f64(call->out[0], i, code * s + 0.0); /* integers know no -0 */
    }
    return CR_OK;
}

/* Inputs: bias; scale and factor of the activation, then of the weight. */
cr_status cr_eval_fake_bias(const cr_op_call *call, cr_error *err)
{
    const int64_t n = cr_shape_count(&call->in[0]->shape);
    const int64_t every_a = n / cr_shape_count(&call->in[1]->shape);
    const int64_t every_w = n / cr_shape_count(&call->in[3]->shape);
    (void)err;
    for (int64_t i = 0; i < n; i++) {
        const double a = scale_at(call->in[1], call->in[2], i / every_a);
        const double w = scale_at(call->in[3], call->in[4], i / every_w);
        const double b = cr_load_f64(call->in[0], i);
        double y =
            (double)((float)cr_quantize_bias((float)b, (float)a, (float)w) * ((float)a * (float)w));
        if (call->in[0]->dtype == CR_DT_F64) y = a * w > 0 ? rint(b / (a * w)) * (a * w) : 0;
        cr_store_f64(call->out[0], i, y);
    }
    return CR_OK;
}
