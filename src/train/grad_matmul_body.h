/* MatMul with numpy's broadcasting, and Gemm. One picture's product at a time: where a factor is
 * stretched over the batch its gradient is the sum over it, in the order of the batch. */
/* c[m, n] (dense) = a[m, k] b[k, n], strides as given. */
static cr_gemm_shape FN(product_shape)(const int64_t *zero, int64_t m, int64_t n, int64_t k,
                                       int64_t a_down, int64_t a_right, int64_t b_down,
                                       int64_t b_right)
{
    return (cr_gemm_shape){.batch = 1, .m = m, .n = n, .k = k, .a_down = a_down,
                           .a_right = a_right, .b_down = b_down, .b_right = b_right, .c_down = n,
                           .a_at = zero, .b_at = zero, .c_at = zero, .alpha = 1};
}

/* What the three products of c = a b need: c, da = dc b', db = a' dc. */
enum { FN(OF_C), FN(OF_A), FN(OF_B) };

typedef struct FN(factors) {
    int64_t m, n, k;
    bool a_flip, b_flip; /* stored transposed */
} FN(factors);

static const int64_t FN(origin)[1] = {0};

/* A gradient is computed in the layout of its factor, so a flipped one is the flipped product. */
static cr_gemm_shape FN(factor_product)(const FN(factors) *f, int which)
{
    const int64_t m = f->m, n = f->n, k = f->k;
    const int64_t ad = f->a_flip ? 1 : k, ar = f->a_flip ? m : 1;
    const int64_t bd = f->b_flip ? 1 : n, br = f->b_flip ? k : 1;
    if (which == FN(OF_C)) return FN(product_shape)(FN(origin), m, n, k, ad, ar, bd, br);
    if (which == FN(OF_A))
        return f->a_flip ? FN(product_shape)(FN(origin), k, m, n, bd, br, 1, n)   /* b dc' */
                         : FN(product_shape)(FN(origin), m, k, n, n, 1, br, bd);  /* dc b' */
    return f->b_flip ? FN(product_shape)(FN(origin), n, k, m, 1, n, ad, ar)       /* dc' a */
                     : FN(product_shape)(FN(origin), k, n, m, ar, ad, n, 1);      /* a' dc */
}

static void FN(multiply)(const cr_grad_call *c, const FN(factors) *f, int which, const real *a,
                         const real *b, real *to, void *scratch)
{
    const cr_gemm_shape s = FN(factor_product)(f, which);
    FN(gemm_run)(&s, a, b, to, scratch, c->pool);
}

/* da += dc b', db += a' dc for one product; the scratch holds a product, then the kernel's. */
static size_t FN(product_bytes)(const FN(factors) *f)
{
    const int64_t a = f->m * f->k, b = f->k * f->n, c = f->m * f->n;
    const int64_t most = a > b ? (a > c ? a : c) : (b > c ? b : c);
    return cr_round_up((size_t)most * sizeof(real), CR_ALIGN);
}

static size_t FN(factors_bytes)(const FN(factors) *f)
{
    size_t most = 0;
    for (int which = 0; which < 3; which++) {
        const cr_gemm_shape s = FN(factor_product)(f, which);
        const size_t need = FN(gemm_bytes)(&s);
        if (need > most) most = need;
    }
    return FN(product_bytes)(f) + most;
}

static void FN(factors_backward)(const cr_grad_call *c, const FN(factors) *f, const real *a,
                                 const real *b, const real *dc, real *da, real *db)
{
    real *product = c->scratch;
    void *rest = (char *)c->scratch + FN(product_bytes)(f);
    if (da) {
        FN(multiply)(c, f, FN(OF_A), f->a_flip ? b : dc, f->a_flip ? dc : b, product, rest);
        FN(add_to)(c->pool, da, product, f->m * f->k);
    }
    if (db) {
        FN(multiply)(c, f, FN(OF_B), f->b_flip ? dc : a, f->b_flip ? a : dc, product, rest);
        FN(add_to)(c->pool, db, product, f->k * f->n);
    }
}

/* ---- MatMul ---- */

static cr_walk FN(batch_walk)(const cr_matmul_shape *s)
{
    cr_walk w = cr_walk_begin(&s->batch);
    cr_broadcast_strides(&s->a_batch, &s->batch, w.stride[0]);
    cr_broadcast_strides(&s->b_batch, &s->batch, w.stride[1]);
    return w;
}

static cr_status FN(matmul_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    cr_matmul_shape s;
    CR_TRY(cr_matmul_read(&c->op, 0, 1, &s, err));
    const FN(factors) f = {s.m, s.n, s.k, false, false};
    *bytes = FN(factors_bytes)(&f);
    return CR_OK;
}

static cr_status FN(matmul_forward)(const cr_grad_call *c, cr_error *err)
{
    cr_matmul_shape s;
    CR_TRY(cr_matmul_read(&c->op, 0, 1, &s, err));
    const FN(factors) f = {s.m, s.n, s.k, false, false};
    const real *a = c->op.in[0]->data, *b = c->op.in[1]->data;
    real *y = c->op.out[0]->data;
    const int64_t count = cr_shape_count(&s.batch);
    cr_walk w = FN(batch_walk)(&s);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w))
        FN(multiply)(c, &f, FN(OF_C), a + w.at[0] * s.m * s.k, b + w.at[1] * s.k * s.n,
                     y + i * s.m * s.n, c->scratch);
    return CR_OK;
}

static cr_status FN(matmul_backward)(const cr_grad_call *c, cr_error *err)
{
    cr_matmul_shape s;
    CR_TRY(cr_matmul_read(&c->op, 0, 1, &s, err));
    const FN(factors) f = {s.m, s.n, s.k, false, false};
    const real *a = c->op.in[0]->data, *b = c->op.in[1]->data, *dy = c->d_out[0];
    real *da = c->d_in[0], *db = c->d_in[1];
    const int64_t count = cr_shape_count(&s.batch);
    cr_walk w = FN(batch_walk)(&s);
    for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) {
        const int64_t at_a = w.at[0] * s.m * s.k, at_b = w.at[1] * s.k * s.n;
        FN(factors_backward)(c, &f, a + at_a, b + at_b, dy + i * s.m * s.n, da ? da + at_a : NULL,
                             db ? db + at_b : NULL);
    }
    return CR_OK;
}

/* ---- Gemm: alpha a b + beta c, either factor transposed, c broadcast ---- */

typedef struct FN(gemm) {
    FN(factors) f;
    real alpha, beta;
} FN(gemm);

static FN(gemm) FN(gemm_read)(const cr_grad_call *c)
{
    const cr_node *n = c->op.node;
    const int64_t *a = c->op.in[0]->shape.dim, *b = c->op.in[1]->shape.dim;
    FN(gemm) g = {.alpha = (real)cr_attr_float(n, "alpha", 1),
                  .beta = (real)cr_attr_float(n, "beta", 1)};
    g.f.a_flip = cr_attr_int(n, "transA", 0) != 0;
    g.f.b_flip = cr_attr_int(n, "transB", 0) != 0;
    g.f.m = a[g.f.a_flip];
    g.f.k = a[!g.f.a_flip];
    g.f.n = b[!g.f.b_flip];
    return g;
}

/* dy times alpha stands in front of everything else. */
static size_t FN(scaled_bytes)(const FN(gemm) *g)
{
    return cr_round_up((size_t)(g->f.m * g->f.n) * sizeof(double), CR_ALIGN);
}

static cr_status FN(gemm_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    const FN(gemm) g = FN(gemm_read)(c);
    (void)err;
    *bytes = FN(scaled_bytes)(&g) + FN(factors_bytes)(&g.f);
    return CR_OK;
}

static cr_status FN(gemm_forward)(const cr_grad_call *c, cr_error *err)
{
    const FN(gemm) g = FN(gemm_read)(c);
    const cr_tensor *bias = cr_op_in(&c->op, 2);
    const real *add = bias ? bias->data : NULL;
    real *y = c->op.out[0]->data;
    const int64_t n = g.f.m * g.f.n;
    (void)err;
    FN(multiply)(c, &g.f, FN(OF_C), c->op.in[0]->data, c->op.in[1]->data, y, c->scratch);
    cr_walk w = cr_walk_begin(&c->op.out[0]->shape);
    if (bias) cr_broadcast_strides(&bias->shape, &c->op.out[0]->shape, w.stride[0]);
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w))
        y[i] = g.alpha * y[i] + (add ? g.beta * add[w.at[0]] : 0);
    return CR_OK;
}

/* The sum over the places that c was stretched to, in double. */
static void FN(gemm_bias)(const cr_grad_call *c, const FN(gemm) *g)
{
    const cr_tensor *bias = c->op.in[2];
    const int64_t own = FN(count)(bias), n = g->f.m * g->f.n;
    const real *dy = c->d_out[0];
    real *d = c->d_in[2];
    double *sum = c->scratch;
    for (int64_t i = 0; i < own; i++) sum[i] = 0;
    cr_walk w = cr_walk_begin(&c->op.out[0]->shape);
    cr_broadcast_strides(&bias->shape, &c->op.out[0]->shape, w.stride[0]);
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w)) sum[w.at[0]] += g->beta * dy[i];
    for (int64_t i = 0; i < own; i++) d[i] += (real)sum[i];
}

static cr_status FN(gemm_backward)(const cr_grad_call *c, cr_error *err)
{
    const FN(gemm) g = FN(gemm_read)(c);
    const int64_t n = g.f.m * g.f.n;
    const real *dy = c->d_out[0];
    real *scaled = c->scratch;
    (void)err;
    if (c->op.n_in > 2 && c->d_in[2]) FN(gemm_bias)(c, &g);
    for (int64_t i = 0; i < n; i++) scaled[i] = g.alpha * dy[i];
    cr_grad_call inner = *c;
    inner.scratch = (char *)c->scratch + FN(scaled_bytes)(&g);
    FN(factors_backward)(&inner, &g.f, c->op.in[0]->data, c->op.in[1]->data, scaled, c->d_in[0],
                         c->d_in[1]);
    return CR_OK;
}
