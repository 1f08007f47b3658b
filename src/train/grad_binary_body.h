/* Add, Sub, Mul, Div with broadcasting. The gradient of an operand that was stretched is a sum over
 * the places it was stretched to, taken in double in the order of the output. */
typedef struct FN(binary) {
    cr_op_kind kind;
    const real *a, *b, *dy;
    real *y, *da, *db;
    bool add_a, add_b; /* to what is in da, db */
} FN(binary);

static inline real FN(binary_value)(cr_op_kind kind, real a, real b)
{
    switch (kind) {
    case CR_OP_Add: return a + b;
    case CR_OP_Sub: return a - b;
    case CR_OP_Mul: return a * b;
    default: return a / b;
    }
}

static inline real FN(slope_a)(cr_op_kind kind, real b)
{
    return kind == CR_OP_Mul ? b : kind == CR_OP_Div ? 1 / b : 1;
}

static inline real FN(slope_b)(cr_op_kind kind, real a, real b)
{
    switch (kind) {
    case CR_OP_Add: return 1;
    case CR_OP_Sub: return -1;
    case CR_OP_Mul: return a;
    default: return -a / (b * b);
    }
}

static bool FN(same_shapes)(const cr_grad_call *c)
{
    return cr_shape_equal(&c->op.in[0]->shape, &c->op.in[1]->shape);
}

#define CR_EACH(expr)                                                                              \
    for (int64_t i = from; i < to; i++) expr;                                                      \
    break

static void FN(binary_piece)(void *ctx, int64_t from, int64_t to)
{
    const FN(binary) *p = ctx;
    switch (p->kind) {
    case CR_OP_Add: CR_EACH(p->y[i] = p->a[i] + p->b[i]);
    case CR_OP_Sub: CR_EACH(p->y[i] = p->a[i] - p->b[i]);
    case CR_OP_Mul: CR_EACH(p->y[i] = p->a[i] * p->b[i]);
    default: CR_EACH(p->y[i] = p->a[i] / p->b[i]);
    }
}

static void FN(slopes_a)(const FN(binary) *p, int64_t from, int64_t to)
{
    if (!p->add_a) memset(p->da + from, 0, (size_t)(to - from) * sizeof *p->da);
    switch (p->kind) {
    case CR_OP_Mul: CR_EACH(p->da[i] += p->dy[i] * p->b[i]);
    case CR_OP_Div: CR_EACH(p->da[i] += p->dy[i] * (1 / p->b[i]));
    default: CR_EACH(p->da[i] += p->dy[i]);
    }
}

static void FN(slopes_b)(const FN(binary) *p, int64_t from, int64_t to)
{
    if (!p->add_b) memset(p->db + from, 0, (size_t)(to - from) * sizeof *p->db);
    switch (p->kind) {
    case CR_OP_Add: CR_EACH(p->db[i] += p->dy[i]);
    case CR_OP_Sub: CR_EACH(p->db[i] -= p->dy[i]);
    case CR_OP_Mul: CR_EACH(p->db[i] += p->dy[i] * p->a[i]);
    default: CR_EACH(p->db[i] += p->dy[i] * (-p->a[i] / (p->b[i] * p->b[i])));
    }
}
#undef CR_EACH

static void FN(binary_slopes)(void *ctx, int64_t from, int64_t to)
{
    const FN(binary) *p = ctx;
    if (p->da) FN(slopes_a)(p, from, to);
    if (p->db) FN(slopes_b)(p, from, to);
}

static cr_walk FN(binary_walk)(const cr_grad_call *c)
{
    const cr_shape *out = &c->op.out[0]->shape;
    cr_walk w = cr_walk_begin(out);
    for (int i = 0; i < 2; i++) cr_broadcast_strides(&c->op.in[i]->shape, out, w.stride[i]);
    return w;
}

static cr_status FN(binary_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    const int64_t a = FN(count)(c->op.in[0]), b = FN(count)(c->op.in[1]);
    (void)err;
    *bytes = FN(same_shapes)(c) ? 0 : (size_t)(a > b ? a : b) * sizeof(double);
    return CR_OK;
}

static cr_status FN(binary_forward)(const cr_grad_call *c, cr_error *err)
{
    FN(binary) p = {.kind = c->kind, .a = c->op.in[0]->data, .b = c->op.in[1]->data,
                    .y = c->op.out[0]->data};
    const int64_t n = FN(count)(c->op.out[0]);
    (void)err;
    if (FN(same_shapes)(c)) {
        FN(each)(c->pool, n, FN(binary_piece), &p);
        return CR_OK;
    }
    cr_walk w = FN(binary_walk)(c);
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w))
        p.y[i] = FN(binary_value)(p.kind, p.a[w.at[0]], p.b[w.at[1]]);
    return CR_OK;
}

static void FN(binary_stretched)(const cr_grad_call *c, const FN(binary) *p, int side)
{
    const int64_t n = FN(count)(c->op.out[0]), own = FN(count)(c->op.in[side]);
    double *sum = c->scratch;
    real *d = c->d_in[side];
    for (int64_t i = 0; i < own; i++) sum[i] = 0;
    cr_walk w = FN(binary_walk)(c);
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w)) {
        const real a = p->a[w.at[0]], b = p->b[w.at[1]];
        sum[w.at[side]] +=
            p->dy[i] * (side == 0 ? FN(slope_a)(p->kind, b) : FN(slope_b)(p->kind, a, b));
    }
    for (int64_t i = 0; i < own; i++) d[i] = c->first[side] ? (real)sum[i] : d[i] + (real)sum[i];
}

static cr_status FN(binary_backward)(const cr_grad_call *c, cr_error *err)
{
    FN(binary) p = {.kind = c->kind, .a = c->op.in[0]->data, .b = c->op.in[1]->data,
                    .dy = c->d_out[0], .da = c->d_in[0], .db = c->d_in[1],
                    .add_a = !c->first[0], .add_b = !c->first[1]};
    (void)err;
    if (FN(same_shapes)(c)) {
        FN(each)(c->pool, FN(count)(c->op.out[0]), FN(binary_slopes), &p);
        return CR_OK;
    }
    for (int side = 0; side < 2; side++)
        if (c->d_in[side]) FN(binary_stretched)(c, &p, side);
    return CR_OK;
}
