/* Integer convolutions and matrix products.
 *
 * Zero points are taken off while loading, so that padding is 0 and the sums are those of
 * nn_loops.h in 32 bits that wrap; QLinear... then adds the bias and requantizes by
 * crayon/arith.h. */
#include "crayon/arith.h"
#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/nn_loops.h"
#include "ops/ref_all.h"

/* Element i of a parameter that is one value or a list. */
static int64_t pick(const cr_tensor *t, int64_t i)
{
    return cr_shape_count(&t->shape) == 1 ? 0 : i;
}

static float scale_at(const cr_tensor *t, int64_t i)
{
    return (float)cr_load_f64(t, pick(t, i));
}

/* All elements minus the zero point of their slice; a slice is `run` elements. zp may be NULL. */
static uint32_t *load_slices(const cr_tensor *t, const cr_tensor *zp, int64_t run)
{
    const int64_t n = cr_shape_count(&t->shape);
    uint32_t *buffer = cr_buffer_zero(n, sizeof *buffer);
    for (int64_t i = 0; buffer && i < n; i++) {
        const int64_t zero = zp ? cr_load_i64(zp, pick(zp, i / run)) : 0;
        buffer[i] = (uint32_t)(cr_load_i64(t, i) - zero);
    }
    return buffer;
}

/* Sums of products, out as [N, M, out...]; the caller frees *acc. */
static cr_status conv_sums(const cr_op_call *call, int weights, const cr_tensor *x_zero,
                           const cr_tensor *w_zero, const cr_conv_shape *c, uint32_t **acc,
                           cr_error *err)
{
    const cr_shape out = cr_conv_out_shape(c);
    const int64_t taps = cr_window_taps(&c->win) * (c->in_channels / c->groups);
    uint32_t *x = load_slices(call->in[0], x_zero, INT64_MAX);
    uint32_t *w = load_slices(call->in[weights], w_zero, taps > 0 ? taps : 1);
    *acc = cr_buffer_zero(cr_shape_count(&out), sizeof **acc);
    const bool ok = x && w && *acc;
    if (ok) cr_conv_u32(c, x, w, *acc);
    cr_free(x);
    cr_free(w);
    return ok ? CR_OK : CR_NOMEM(err);
}

cr_status cr_eval_conv_integer(const cr_op_call *call, cr_error *err)
{
    cr_conv_shape c;
    uint32_t *acc = NULL;
    CR_TRY(cr_conv_read(call, 1, &c, err));
    const cr_status st = conv_sums(call, 1, cr_op_in(call, 2), cr_op_in(call, 3), &c, &acc, err);
    const int64_t n = cr_shape_count(&call->out[0]->shape);
    for (int64_t i = 0; st == CR_OK && i < n; i++) cr_store_bits(call->out[0], i, acc[i]);
    cr_free(acc);
    return st;
}

/* Where a result goes: scale, zero point, range. */
typedef struct target {
    float scale;
    int32_t zero, lo, hi;
} target;

static target read_target(const cr_op_call *call)
{
    const bool is_signed = call->in[7]->dtype == CR_DT_I8;
    return (target){(float)cr_load_f64(call->in[6], 0), (int32_t)cr_load_i64(call->in[7], 0),
                    is_signed ? -128 : 0, is_signed ? 127 : 255};
}

static void put(cr_tensor *y, int64_t i, uint32_t acc, float a_scale, float b_scale,
                const target *t)
{
    const float m = cr_requant_multiplier(a_scale, b_scale, t->scale);
    const int32_t q = cr_requantize((int32_t)acc, m, t->zero, t->lo, t->hi);
    cr_store_bits(y, i, (uint64_t)(int64_t)q);
}

cr_status cr_eval_qlinear_conv(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *bias = cr_op_in(call, 8);
    const target t = read_target(call);
    cr_conv_shape c;
    uint32_t *acc = NULL;
    CR_TRY(cr_conv_read(call, 3, &c, err));
    const cr_status st = conv_sums(call, 3, call->in[2], call->in[5], &c, &acc, err);
    const int64_t n = cr_shape_count(&call->out[0]->shape), plane = cr_window_out(&c.win);
    const float x_scale = scale_at(call->in[1], 0);
    for (int64_t i = 0; st == CR_OK && i < n; i++) {
        const int64_t m = i / plane % c.out_channels;
        const uint32_t b = bias ? (uint32_t)cr_load_i64(bias, m) : 0;
        put(call->out[0], i, acc[i] + b, x_scale, scale_at(call->in[4], m), &t);
    }
    cr_free(acc);
    return st;
}

/* Index into a matrix operand's parameter: one value, one per line (row of a, column of b), or one
 * per line of every matrix of the batch. */
static int64_t line_index(const cr_tensor *param, int64_t matrix, int64_t lines, int64_t line)
{
    if (cr_shape_count(&param->shape) == 1) return 0;
    return param->shape.rank == 1 ? line : matrix * lines + line;
}

/* An operand [batch, rows, columns] without its zero point; lines are rows of a, columns of b. */
static uint32_t *load_matrix(const cr_tensor *t, const cr_tensor *zp, bool by_row)
{
    const int64_t n = cr_shape_count(&t->shape);
    const int rank = t->shape.rank;
    uint32_t *buffer = cr_buffer_zero(n, sizeof *buffer);
    if (!buffer || n == 0) return buffer;
    const int64_t columns = t->shape.dim[rank - 1], rows = rank > 1 ? t->shape.dim[rank - 2] : 1;
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = i / columns % rows, column = i % columns;
        const int64_t matrix = i / columns / rows;
        int64_t zero = 0;
        if (zp)
            zero = cr_load_i64(
                zp, line_index(zp, matrix, by_row ? rows : columns, by_row ? row : column));
        buffer[i] = (uint32_t)(cr_load_i64(t, i) - zero);
    }
    return buffer;
}

static cr_status matmul_sums(const cr_op_call *call, const int in[4], const cr_matmul_shape *s,
                             uint32_t **acc, cr_error *err)
{
    uint32_t *a = load_matrix(call->in[in[0]], cr_op_in(call, in[1]), true);
    uint32_t *b = load_matrix(call->in[in[2]], cr_op_in(call, in[3]), false);
    *acc = cr_buffer_zero(cr_shape_count(&s->out), sizeof **acc);
    const bool ok = a && b && *acc;
    if (ok) cr_matmul_u32(s, a, b, *acc);
    cr_free(a);
    cr_free(b);
    return ok ? CR_OK : CR_NOMEM(err);
}

cr_status cr_eval_matmul_integer(const cr_op_call *call, cr_error *err)
{
    const int in[4] = {0, 2, 1, 3};
    cr_matmul_shape s;
    uint32_t *acc = NULL;
    CR_TRY(cr_matmul_read(call, 0, 1, &s, err));
    const cr_status st = matmul_sums(call, in, &s, &acc, err);
    const int64_t n = cr_shape_count(&s.out);
    for (int64_t i = 0; st == CR_OK && i < n; i++) cr_store_bits(call->out[0], i, acc[i]);
    cr_free(acc);
    return st;
}

cr_status cr_eval_qlinear_matmul(const cr_op_call *call, cr_error *err)
{
    const int in[4] = {0, 2, 3, 5};
    const target t = read_target(call);
    cr_matmul_shape s;
    uint32_t *acc = NULL;
    CR_TRY(cr_matmul_read(call, 0, 3, &s, err));
    const cr_status st = matmul_sums(call, in, &s, &acc, err);
    const int64_t batches = cr_shape_count(&s.out) > 0 ? cr_shape_count(&s.batch) : 0;
    const cr_tensor *a_scale = call->in[1], *b_scale = call->in[4];
    cr_walk w = cr_walk_begin(&s.batch);
    cr_broadcast_strides(&s.a_batch, &s.batch, w.stride[0]);
    cr_broadcast_strides(&s.b_batch, &s.batch, w.stride[1]);
    for (int64_t k = 0; st == CR_OK && k < batches; k++, cr_walk_next(&w))
        for (int64_t i = 0; i < s.m * s.n; i++) {
            const int64_t a = line_index(a_scale, w.at[0], s.m, i / s.n);
            const int64_t b = line_index(b_scale, w.at[1], s.n, i % s.n);
            put(call->out[0], k * s.m * s.n + i, acc[k * s.m * s.n + i],
                (float)cr_load_f64(a_scale, a), (float)cr_load_f64(b_scale, b), &t);
        }
    cr_free(acc);
    return st;
}
