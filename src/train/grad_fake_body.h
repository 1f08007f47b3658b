/* Rounding in training graphs (fake_quant.h says what the inputs are). With v = x / s and codes
 * from lo to hi around the zero point z,
 *
 *     y = clamp(round(v), lo - z, hi - z) s        as crayon/arith.h has it, to the bit in float32
 *
 * and the gradient that of rounding taken for the identity (straight through, Bengio et al. 2013):
 *
 *     dy/dx  1 inside, 0 outside
 *     dy/ds  round(v) - v inside, lo - z or hi - z outside      (LSQ, Esser et al. 2020)
 *     dy/dz  0 inside, -s outside                               (LSQ+, Bhalgat et al. 2020)
 *
 * Binary weights: y = sign(x) s, dy/dx 1 everywhere: most weights lie beyond their scale and would
 * never learn again otherwise. Sums over what shares a scale are in double; each has one order.
 */
#include "graph/fake_scale.h"
#include "graph/recipe.h"

/* Of one scale, ready for use. */
typedef struct FN(step) {
    real s, lo, hi; /* lo - z, hi - z */
} FN(step);

typedef struct FN(fake) {
    const cr_grad_call *c;
    cr_q_grain g;
    int64_t count, scales;
    real lo, hi;
    bool sign, tensor; /* tensor: one scale for all */
    FN(step) * steps;  /* [scales] */
    double *sums;      /* [slots][2]; a slot: a scale, or a piece of what has one scale */
} FN(fake);

typedef void (*FN(fake_fn))(const FN(fake) * f, int64_t k, int64_t from, int64_t n, double sum[2]);

typedef struct FN(fake_job) {
    const FN(fake) * f;
    FN(fake_fn) run;
} FN(fake_job);

static FN(fake) FN(fake_read)(const cr_grad_call *c)
{
    const cr_node *n = c->op.node;
    const cr_shape *x = &c->op.in[0]->shape;
    FN(fake)
    f = {.c = c, .count = cr_shape_count(x), .scales = cr_shape_count(&c->op.in[1]->shape)};
    const cr_qparams q = {.axis = (int)cr_attr_int(n, "axis", -1),
                          .count = (size_t)f.scales,
                          .block = cr_attr_int(n, "block", 0)};
    f.g = cr_q_grain_of(&q, x);
    f.lo = (real)cr_attr_int(n, "lo", 0);
    f.hi = (real)cr_attr_int(n, "hi", 0);
    f.sign = cr_attr_int(n, "sign", 0) != 0;
    f.tensor = f.g.outer == 1 && f.g.length == 1 && !f.g.block;
    f.steps = c->scratch;
    f.sums = (double *)((char *)c->scratch + cr_round_up((size_t)f.scales * sizeof *f.steps, 64));
    return f;
}

static int64_t FN(fake_tasks)(const FN(fake) * f)
{
    if (f->tensor) return (f->count + FN(CHUNK) - 1) / FN(CHUNK);
    return f->g.block ? f->g.outer * f->g.blocks : f->g.length;
}

static int64_t FN(fake_slots)(const FN(fake) * f)
{
    return f->tensor ? FN(fake_tasks)(f) : f->scales;
}

static cr_status FN(fake_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    const FN(fake) f = FN(fake_read)(c);
    (void)err;
    *bytes = cr_round_up((size_t)f.scales * sizeof *f.steps, 64) +
             (size_t)FN(fake_slots)(&f) * 2 * sizeof *f.sums;
    return CR_OK;
}

static real FN(fake_scale)(const cr_tensor *scale, const cr_tensor *factor, int64_t k)
{
    const real s = ((const real *)scale->data)[k], f = ((const real *)factor->data)[k];
    return sizeof(real) == sizeof(float) ? (real)cr_fake_scale_f32((float)s, (float)f)
                                         : (real)cr_fake_scale_f64(s, f);
}

static void FN(fake_prepare)(FN(fake) * f)
{
    const cr_op_call *op = &f->c->op;
    const cr_tensor *shift = cr_op_in(op, 4);
    for (int64_t k = 0; k < f->scales; k++) {
        real z = ((const real *)op->in[3]->data)[k];
        if (shift) z = (real)cr_fake_zero(z, ((const real *)shift->data)[k], f->lo, f->hi);
        f->steps[k] = (FN(step)){FN(fake_scale)(op->in[1], op->in[2], k), f->lo - z, f->hi - z};
    }
    memset(f->sums, 0, (size_t)FN(fake_slots)(f) * 2 * sizeof *f->sums);
}

static void FN(fake_task)(void *ctx, size_t index, int worker)
{
    const FN(fake_job) *j = ctx;
    const FN(fake) *f = j->f;
    const cr_q_grain *g = &f->g;
    const int64_t t = (int64_t)index;
    (void)worker;
    if (f->tensor) {
        const int64_t from = t * FN(CHUNK), left = f->count - from;
        j->run(f, 0, from, left < FN(CHUNK) ? left : FN(CHUNK), f->sums + 2 * t);
        return;
    }
    if (!g->block) {
        for (int64_t o = 0; o < g->outer; o++)
            j->run(f, t, (o * g->length + t) * g->inner, g->inner, f->sums + 2 * t);
        return;
    }
    const int64_t o = t / g->blocks, first = t % g->blocks * g->block;
    for (int64_t a = first; a < g->length && a < first + g->block; a++)
        for (int64_t i = 0; i < g->inner; i++)
            j->run(f, t * g->inner + i, (o * g->length + a) * g->inner + i, 1,
                   f->sums + 2 * (t * g->inner + i));
}

static void FN(fake_run)(const FN(fake) * f, FN(fake_fn) run)
{
    FN(fake_job) j = {f, run};
    cr_pool_run(f->c->pool, (size_t)FN(fake_tasks)(f), FN(fake_task), &j);
}

/* Sums of a scale, over its slots in order. */
static void FN(fake_total)(const FN(fake) * f, int64_t k, double total[2])
{
    total[0] = total[1] = 0;
    const int64_t from = f->tensor ? 0 : k, to = f->tensor ? FN(fake_slots)(f) : k + 1;
    for (int64_t i = from; i < to; i++) {
        total[0] += f->sums[2 * i];
        total[1] += f->sums[2 * i + 1];
    }
}

/* Nearest integer, halves to even, of |v| < 2^22 (2^51): the sum has no room for a fraction. */
static inline real FN(fake_round)(real v)
{
    const real magic = sizeof(real) == sizeof(float) ? (real)12582912 : (real)6755399441055744.0;
    return v + magic - magic;
}

static inline real FN(fake_clamp)(real v, const FN(step) * s)
{
    v = v > s->lo ? v : s->lo; /* NaN gives lo */
    return v < s->hi ? v : s->hi;
}

static void FN(fake_hard)(const FN(fake) * f, int64_t k, int64_t from, int64_t n, double sum[2])
{
    const real *x = (const real *)f->c->op.in[0]->data + from;
    real *y = (real *)f->c->op.out[0]->data + from;
    const FN(step) s = f->steps[k];
    (void)sum;
    if (f->sign) {
        for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0 ? -s.s : s.s;
        return;
    }
    for (int64_t i = 0; i < n; i++) y[i] = FN(fake_round)(FN(fake_clamp)(x[i] / s.s, &s)) * s.s;
}

/* sum: minus the least and the greatest value, or 0. */
static void FN(fake_see)(const FN(fake) * f, int64_t k, int64_t from, int64_t n, double sum[2])
{
    const real *x = (const real *)f->c->op.in[0]->data + from;
    real least = 0, most = 0;
    (void)k;
    for (int64_t i = 0; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    sum[0] = fmin(sum[0], (double)least);
    sum[1] = fmax(sum[1], (double)most);
}

static void FN(fake_keep_seen)(const FN(fake) * f, real *seen)
{
    memset(seen, 0, (size_t)f->scales * 2 * sizeof *seen);
    for (int64_t i = 0; i < FN(fake_slots)(f); i++) {
        real *to = seen + (f->tensor ? 0 : 2 * i);
        if (f->sums[2 * i] < to[0]) to[0] = (real)f->sums[2 * i];
        if (f->sums[2 * i + 1] > to[1]) to[1] = (real)f->sums[2 * i + 1];
    }
}

static cr_status FN(fake_forward)(const cr_grad_call *c, cr_error *err)
{
    FN(fake) f = FN(fake_read)(c);
    const cr_tensor *seen = cr_op_in(&c->op, 5);
    (void)err;
    FN(fake_prepare)(&f);
    FN(fake_run)(&f, FN(fake_hard));
    if (!seen) return CR_OK;
    FN(fake_run)(&f, FN(fake_see));
    FN(fake_keep_seen)(&f, seen->data);
    return CR_OK;
}

/* Sums side by side over a strip, then in double. */
enum { FN(STRIP_PARTS) = 8, FN(FAKE_STRIP) = 256 };

/* Up to FAKE_STRIP elements; dx NULL: not wanted. */
static void FN(fake_strip)(const FN(step) * step, const real *restrict x, const real *restrict dy,
                           real *restrict dx, bool add, int64_t n, double sum[2])
{
    const FN(step) s = *step;
    real along_s[FN(STRIP_PARTS)] = {0}, beyond[FN(STRIP_PARTS)] = {0}, part[FN(FAKE_STRIP)];
    real out[FN(FAKE_STRIP)];
    for (int64_t i = 0; i < n; i++) {
        const real v = x[i] / s.s, cut = FN(fake_clamp)(v, &s);
        const real inner = cut == v ? v : 0, rounded = FN(fake_round)(cut);
        part[i] = dy[i] * (rounded - inner);
        out[i] = cut == v ? 0 : dy[i];
    }
    for (int64_t i = 0; dx && i < n; i++) dx[i] = (add ? dx[i] : 0) + (dy[i] - out[i]);
    int64_t i = 0;
    for (; i + FN(STRIP_PARTS) <= n; i += FN(STRIP_PARTS))
        for (int k = 0; k < FN(STRIP_PARTS); k++) {
            along_s[k] += part[i + k];
            beyond[k] += out[i + k];
        }
    for (int k = 0; i + k < n; k++) {
        along_s[k] += part[i + k];
        beyond[k] += out[i + k];
    }
    for (int k = 0; k < FN(STRIP_PARTS); k++) {
        sum[0] += (double)along_s[k];
        sum[1] -= (double)beyond[k] * (double)s.s;
    }
}

/* sum: of dy dy/ds and dy dy/dz. */
static void FN(fake_back)(const FN(fake) * f, int64_t k, int64_t from, int64_t n, double sum[2])
{
    const cr_grad_call *c = f->c;
    const real *x = (const real *)c->op.in[0]->data + from, *dy = (const real *)c->d_out[0] + from;
    real *dx = c->d_in[0] ? (real *)c->d_in[0] + from : NULL;
    const bool add = !c->first[0];
    for (int64_t i = 0; !f->sign && i < n; i += FN(FAKE_STRIP)) {
        const int64_t left = n - i < FN(FAKE_STRIP) ? n - i : FN(FAKE_STRIP);
        FN(fake_strip)(&f->steps[k], x + i, dy + i, dx ? dx + i : NULL, add, left, sum);
    }
    for (int64_t i = 0; f->sign && i < n; i++) {
        if (dx) dx[i] = (add ? dx[i] : 0) + dy[i];
        sum[0] += (double)(x[i] < 0 ? -dy[i] : dy[i]);
    }
}

static cr_status FN(fake_backward)(const cr_grad_call *c, cr_error *err)
{
    FN(fake) f = FN(fake_read)(c);
    const double part = (double)cr_attr_float(c->op.node, "gradient", 1);
    real *d_factor = c->d_in[2], *d_shift = c->op.n_in > 4 ? c->d_in[4] : NULL;
    (void)err;
    FN(fake_prepare)(&f);
    for (int k = 1; k < c->op.n_in; k++)
        if (c->d_in[k] && c->first[k])
            memset(c->d_in[k], 0, (size_t)FN(count)(c->op.in[k]) * sizeof(real));
    FN(fake_run)(&f, FN(fake_back));
    for (int64_t k = 0; k < f.scales && (d_factor || d_shift); k++) {
        const double factor = ((const real *)c->op.in[2]->data)[k];
        double total[2];
        FN(fake_total)(&f, k, total);
        if (d_factor && fabs(factor) < CR_FAKE_FACTOR_MAX)
            d_factor[k] += (real)(part * total[0] * (double)f.steps[k].s); /* ds/dfactor = s */
        if (d_shift) d_shift[k] += (real)(part * total[1] * (double)(f.hi - f.lo));
    }
    return CR_OK;
}

/* The bias is rounded as the reference does it; its gradient goes straight through, and none to the
 * scales: what is left of the bias is half a step of an int32 sum at most. */
static cr_status FN(fake_bias_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(no_scratch)(c, bytes, err);
}

static cr_status FN(fake_bias_forward)(const cr_grad_call *c, cr_error *err)
{
    return cr_op_eval(&c->op, err);
}

static cr_status FN(fake_bias_backward)(const cr_grad_call *c, cr_error *err)
{
    (void)err;
    if (c->d_in[0]) FN(add_to)(c->pool, c->d_in[0], c->d_out[0], FN(count)(c->op.in[0]));
    return CR_OK;
}
