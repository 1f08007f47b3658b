/* MatMul, Gemm, Einsum. Floats: exact sums in double, rounded once. Integers wrap. */
#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/nn_loops.h"
#include "ops/ref_all.h"

static cr_status matmul_f64(const cr_op_call *call, const cr_matmul_shape *s, cr_error *err)
{
    cr_status st = CR_OK;
    double *a = cr_buffer_f64(call->in[0]), *b = cr_buffer_f64(call->in[1]);
    double *c = cr_buffer_zero(cr_shape_count(&s->out), sizeof *c);
    if (!a || !b || !c) {
        st = CR_NOMEM(err);
        goto done;
    }
    cr_matmul_f64(s, a, b, c);
    cr_buffer_store_f64(c, call->out[0]);
done:
    cr_free(a);
    cr_free(b);
    cr_free(c);
    return st;
}

static cr_status matmul_u64(const cr_op_call *call, const cr_matmul_shape *s, cr_error *err)
{
    cr_status st = CR_OK;
    uint64_t *a = cr_buffer_u64(call->in[0]), *b = cr_buffer_u64(call->in[1]);
    uint64_t *c = cr_buffer_zero(cr_shape_count(&s->out), sizeof *c);
    if (!a || !b || !c) {
        st = CR_NOMEM(err);
        goto done;
    }
    cr_matmul_u64(s, a, b, c);
    cr_buffer_store_u64(c, call->out[0]);
done:
    cr_free(a);
    cr_free(b);
    cr_free(c);
    return st;
}

cr_status cr_eval_matmul(const cr_op_call *call, cr_error *err)
{
    cr_matmul_shape s;
    CR_TRY(cr_matmul_read(call, 0, 1, &s, err));
    const bool is_float = cr_dtype_is_float(call->in[0]->dtype);
    return (is_float ? matmul_f64 : matmul_u64)(call, &s, err);
}

/* Gemm's factors as strided matrices: element (row, col) at row * down + col * right. */
typedef struct gemm {
    int64_t m, n, k, a_down, a_right, b_down, b_right;
    int64_t c_stride[CR_MAX_RANK];
    const cr_tensor *a, *b, *c;
} gemm;

static gemm read_gemm(const cr_op_call *call)
{
    gemm g = {.a = call->in[0], .b = call->in[1], .c = cr_op_in(call, 2)};
    const bool ta = cr_attr_int(call->node, "transA", 0) != 0;
    const bool tb = cr_attr_int(call->node, "transB", 0) != 0;
    g.m = g.a->shape.dim[ta];
    g.k = g.a->shape.dim[!ta];
    g.n = g.b->shape.dim[!tb];
    g.a_down = ta ? 1 : g.k;
    g.a_right = ta ? g.m : 1;
    g.b_down = tb ? 1 : g.n;
    g.b_right = tb ? g.k : 1;
    if (g.c) cr_broadcast_strides(&g.c->shape, &call->out[0]->shape, g.c_stride);
    return g;
}

static double gemm_f64(const gemm *g, int64_t r, int64_t q, double alpha, double beta)
{
    double sum = 0;
    for (int64_t p = 0; p < g->k; p++)
        sum += cr_load_f64(g->a, r * g->a_down + p * g->a_right) *
               cr_load_f64(g->b, p * g->b_down + q * g->b_right);
    sum *= alpha;
    if (g->c) sum += beta * cr_load_f64(g->c, r * g->c_stride[0] + q * g->c_stride[1]);
    return sum;
}

/* alpha and beta are floats even for integers: whole numbers are what such models have. */
static uint64_t gemm_u64(const gemm *g, int64_t r, int64_t q, int64_t alpha, int64_t beta)
{
    uint64_t sum = 0;
    for (int64_t p = 0; p < g->k; p++)
        sum += cr_load_u64(g->a, r * g->a_down + p * g->a_right) *
               cr_load_u64(g->b, p * g->b_down + q * g->b_right);
    sum *= (uint64_t)alpha;
    if (g->c) sum += (uint64_t)beta * cr_load_u64(g->c, r * g->c_stride[0] + q * g->c_stride[1]);
    return sum;
}

cr_status cr_eval_gemm(const cr_op_call *call, cr_error *err)
{
    const gemm g = read_gemm(call);
    const float alpha = cr_attr_float(call->node, "alpha", 1);
    const float beta = cr_attr_float(call->node, "beta", 1);
    cr_tensor *y = call->out[0];
    const bool is_float = cr_dtype_is_float(y->dtype);
    const bool whole = alpha > -1e9f && alpha < 1e9f && beta > -1e9f && beta < 1e9f &&
                       alpha == (float)(int64_t)alpha && beta == (float)(int64_t)beta;
    if (!is_float && !whole)
        return cr_op_fail(call, err, CR_ERR_UNSUPPORTED,
                          "alpha and beta of an integer product must be whole numbers");
    for (int64_t r = 0, i = 0; r < g.m; r++)
        for (int64_t q = 0; q < g.n; q++, i++)
            if (is_float)
                cr_store_f64(y, i, gemm_f64(&g, r, q, alpha, beta));
            else
                cr_store_bits(y, i, gemm_u64(&g, r, q, (int64_t)alpha, (int64_t)beta));
    return CR_OK;
}

/* Einsum is a nest of loops over labels, kept as an odometer; at[i] is operand i's offset. */
typedef struct odometer {
    const cr_einsum_shape *s;
    int inputs;
    int64_t index[CR_EINSUM_LABELS], at[CR_EINSUM_INPUTS];
} odometer;

/* Advances labels first .. last-1, the last one fastest; false when they are all back at 0. */
static bool advance(odometer *o, int first, int last)
{
    for (int l = last - 1; l >= first; l--) {
        const bool wraps = ++o->index[l] == o->s->size[l];
        for (int i = 0; i < o->inputs; i++)
            o->at[i] += wraps ? o->s->stride[i][l] * (1 - o->s->size[l]) : o->s->stride[i][l];
        if (!wraps) return true;
        o->index[l] = 0;
    }
    return false;
}

static bool sums_nothing(const cr_einsum_shape *s)
{
    for (int l = s->out_labels; l < s->labels; l++)
        if (s->size[l] == 0) return true;
    return false;
}

static double term_f64(const cr_op_call *call, const odometer *o)
{
    double product = 1;
    for (int i = 0; i < o->inputs; i++) product *= cr_load_f64(call->in[i], o->at[i]);
    return product;
}

static uint64_t term_u64(const cr_op_call *call, const odometer *o)
{
    uint64_t product = 1;
    for (int i = 0; i < o->inputs; i++) product *= cr_load_u64(call->in[i], o->at[i]);
    return product;
}

cr_status cr_eval_einsum(const cr_op_call *call, cr_error *err)
{
    cr_einsum_shape s;
    CR_TRY(cr_einsum_read(call, &s, err));
    odometer o = {.s = &s, .inputs = call->n_in};
    cr_tensor *y = call->out[0];
    const int64_t count = cr_shape_count(&s.out);
    const bool is_float = cr_dtype_is_float(y->dtype), empty = sums_nothing(&s);
    for (int64_t i = 0; i < count; i++, advance(&o, 0, s.out_labels)) {
        double sum = 0;
        uint64_t whole = 0;
        do {
            if (empty) break;
            if (is_float)
                sum += term_f64(call, &o);
            else
                whole += term_u64(call, &o);
        } while (advance(&o, s.out_labels, s.labels));
        if (is_float)
            cr_store_f64(y, i, sum);
        else
            cr_store_bits(y, i, whole);
    }
    return CR_OK;
}
