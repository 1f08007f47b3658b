/* Softmax, LogSoftmax and Hardmax along one axis, in double, rounded once. */
#include <math.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

/* n elements from `at` on, `step` apart. */
typedef struct line {
    int64_t at, n, step;
} line;

/* Index of the first maximum (or of a NaN, which then spoils the line as it should). */
static int64_t first_max(const cr_tensor *x, line l)
{
    int64_t best = 0;
    for (int64_t i = 1; i < l.n; i++) {
        const double v = cr_load_f64(x, l.at + i * l.step);
        if (v > cr_load_f64(x, l.at + best * l.step) || v != v) best = i;
    }
    return best;
}

static void soften(const cr_tensor *x, cr_tensor *y, line l, bool as_log)
{
    const double top = cr_load_f64(x, l.at + first_max(x, l) * l.step);
    double sum = 0;
    for (int64_t i = 0; i < l.n; i++) sum += exp(cr_load_f64(x, l.at + i * l.step) - top);
    for (int64_t i = 0; i < l.n; i++) {
        const double v = cr_load_f64(x, l.at + i * l.step) - top;
        cr_store_f64(y, l.at + i * l.step, as_log ? v - log(sum) : exp(v) / sum);
    }
}

static void harden(const cr_tensor *x, cr_tensor *y, line l)
{
    const int64_t best = first_max(x, l);
    for (int64_t i = 0; i < l.n; i++) cr_store_f64(y, l.at + i * l.step, i == best);
}

cr_status cr_eval_softmax(const cr_op_call *call, cr_error *err)
{
    const cr_op_kind kind = call->node->op->kind;
    const cr_shape *s = &call->in[0]->shape;
    int axis = 0;
    if (cr_shape_count(s) == 0) return CR_OK;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", -1), s->rank, call->node, &axis, err));
    const int64_t n = s->dim[axis], step = cr_shape_span(s, axis + 1, s->rank);
    const int64_t outer = cr_shape_span(s, 0, axis);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < step; i++) {
            const line l = {o * n * step + i, n, step};
            if (kind == CR_OP_Hardmax)
                harden(call->in[0], call->out[0], l);
            else
                soften(call->in[0], call->out[0], l, kind == CR_OP_LogSoftmax);
        }
    return CR_OK;
}
