/* Operators that map each element alone. At a kink the derivative is that of the side which is 0 or
 * flat (as PyTorch has it; Clip passes its gradient on both bounds, as PyTorch's clamp does). */
#include <tgmath.h>

typedef struct FN(unary) {
    cr_op_kind kind;
    real a, b; /* alpha, beta; Clip: the bounds */
    const real *x, *y, *dy;
    real *out; /* y, or dx */
    bool add;  /* dx: to what is there */
} FN(unary);

static FN(unary) FN(unary_read)(const cr_grad_call *c)
{
    const cr_node *n = c->op.node;
    FN(unary) u = {.kind = c->kind, .x = c->op.in[0]->data, .y = c->op.out[0]->data};
    switch (u.kind) {
    case CR_OP_LeakyRelu: u.a = (real)cr_attr_float(n, "alpha", 0.01f); break;
    case CR_OP_HardSigmoid:
        u.a = (real)cr_attr_float(n, "alpha", 0.2f);
        u.b = (real)cr_attr_float(n, "beta", 0.5f);
        break;
    case CR_OP_Swish: u.a = (real)cr_attr_float(n, "alpha", 1); break;
    case CR_OP_Clip: {
        const cr_tensor *lo = cr_op_in(&c->op, 1), *hi = cr_op_in(&c->op, 2);
        u.a = lo ? (real)cr_tensor_get_f64(lo, 0) : (real)-INFINITY;
        u.b = hi ? (real)cr_tensor_get_f64(hi, 0) : (real)INFINITY;
        break;
    }
    default: break;
    }
    return u;
}

static inline real FN(logistic)(real x)
{
    return 1 / (1 + exp(-x));
}

#define CR_MAP(expr)                                                                               \
    for (int64_t i = from; i < to; i++) {                                                          \
        const real x = u->x[i];                                                                    \
        u->out[i] = (expr);                                                                        \
    }                                                                                              \
    break

static void FN(unary_piece)(void *ctx, int64_t from, int64_t to)
{
    const FN(unary) *u = ctx;
    const real a = u->a, b = u->b;
#ifdef GRAD_KERNELS
    const cr_act act = act_of(u->kind, a, b);
    if (act.kind != CR_ACT_NONE) {
        cr_rows_get(cr_cpu_flags())->act(u->out + from, u->x + from, (size_t)(to - from), &act);
        return;
    }
#endif
    switch (u->kind) {
    case CR_OP_Abs: CR_MAP(x < 0 ? -x : x);
    case CR_OP_Exp: CR_MAP(exp(x));
    case CR_OP_HardSigmoid: CR_MAP(fmax((real)0, fmin((real)1, a * x + b)));
    case CR_OP_HardSwish: CR_MAP(x * fmax((real)0, fmin((real)1, x / 6 + (real)0.5)));
    case CR_OP_LeakyRelu: CR_MAP(x < 0 ? a * x : x);
    case CR_OP_Log: CR_MAP(log(x));
    case CR_OP_Neg: CR_MAP(-x);
    case CR_OP_Reciprocal: CR_MAP(1 / x);
    case CR_OP_Relu: CR_MAP(x < 0 ? 0 : x);
    case CR_OP_Sigmoid: CR_MAP(FN(logistic)(x));
    case CR_OP_Softplus: CR_MAP((x > 0 ? x : 0) + log1p(exp(-fabs(x))));
    case CR_OP_Sqrt: CR_MAP(sqrt(x));
    case CR_OP_Swish: CR_MAP(x * FN(logistic)(a * x));
    case CR_OP_Tanh: CR_MAP(tanh(x));
    case CR_OP_Clip: CR_MAP(x < a ? a : x > b ? b : x);
    default: CR_MAP(x);
    }
}
#undef CR_MAP

/* Slopes as functions of x or of y. */
#define CR_MAP(arg, expr)                                                                          \
    if (u->add) {                                                                                  \
        for (int64_t i = from; i < to; i++) {                                                      \
            const real arg = u->arg[i];                                                            \
            u->out[i] += u->dy[i] * (expr);                                                        \
        }                                                                                          \
    } else {                                                                                       \
        for (int64_t i = from; i < to; i++) {                                                      \
            const real arg = u->arg[i];                                                            \
            u->out[i] = u->dy[i] * (expr);                                                         \
        }                                                                                          \
    }                                                                                              \
    break

static inline real FN(swish_slope)(real x, real a)
{
    const real s = FN(logistic)(a * x);
    return s * (1 + a * x * (1 - s));
}

static void FN(unary_slope)(void *ctx, int64_t from, int64_t to)
{
    const FN(unary) *u = ctx;
    const real a = u->a, b = u->b;
#ifdef GRAD_KERNELS
    if (u->kind == CR_OP_Swish) {
        cr_vmath_get(cr_cpu_flags())
            ->swish_slope(u->out + from, u->x + from, u->dy + from, a, u->add, (size_t)(to - from));
        return;
    }
#endif
    switch (u->kind) {
    case CR_OP_Abs: CR_MAP(x, (real)((x > 0) - (x < 0)));
    case CR_OP_Exp: CR_MAP(y, y);
    case CR_OP_HardSigmoid: CR_MAP(y, y > 0 && y < 1 ? a : 0);
    case CR_OP_HardSwish: CR_MAP(x, x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + (real)0.5);
    case CR_OP_LeakyRelu: CR_MAP(x, x > 0 ? 1 : a);
    case CR_OP_Log: CR_MAP(x, 1 / x);
    case CR_OP_Reciprocal: CR_MAP(y, -y * y);
    case CR_OP_Relu: CR_MAP(x, x > 0 ? 1 : 0);
    case CR_OP_Sigmoid: CR_MAP(y, y * (1 - y));
    case CR_OP_Softplus: CR_MAP(x, FN(logistic)(x));
    case CR_OP_Sqrt: CR_MAP(y, 1 / (2 * y));
    case CR_OP_Swish: CR_MAP(x, FN(swish_slope)(x, a));
    case CR_OP_Tanh: CR_MAP(y, 1 - y * y);
    case CR_OP_Clip: CR_MAP(x, x >= a && x <= b ? 1 : 0);
    default:
        for (int64_t i = from; i < to; i++) {
            const real d = u->kind == CR_OP_Neg ? -u->dy[i] : u->dy[i];
            u->out[i] = u->add ? u->out[i] + d : d;
        }
    }
}
#undef CR_MAP

static cr_status FN(unary_forward)(const cr_grad_call *c, cr_error *err)
{
    FN(unary) u = FN(unary_read)(c);
    (void)err;
    u.out = c->op.out[0]->data;
    FN(each)(c->pool, FN(count)(c->op.in[0]), FN(unary_piece), &u);
    return CR_OK;
}

static cr_status FN(unary_backward)(const cr_grad_call *c, cr_error *err)
{
    FN(unary) u = FN(unary_read)(c);
    (void)err;
    u.out = c->d_in[0];
    u.dy = c->d_out[0];
    u.add = !c->first[0];
    if (u.out) FN(each)(c->pool, FN(count)(c->op.in[0]), FN(unary_slope), &u);
    return CR_OK;
}

static cr_status FN(unary_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(no_scratch)(c, bytes, err);
}
