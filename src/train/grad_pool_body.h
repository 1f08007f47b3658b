/* MaxPool and AveragePool. A maximum's gradient goes to the first of its equals, in the order of
 * the window; an average's to all taps that it counted (ops/pooling.c says which those are). */
typedef struct FN(pool) {
    cr_window w;
    const real *x, *dy;
    real *dx;
    bool with_pads;
} FN(pool);

static cr_status FN(max_pool_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(no_scratch)(c, bytes, err);
}

static cr_status FN(max_pool_forward)(const cr_grad_call *c, cr_error *err)
{
    return cr_op_eval(&c->op, err);
}

/* Taps *lo..*hi-1 along d that fall on [-before, in + after). */
static void FN(taps_within)(const cr_window *w, int d, int64_t o, int64_t before, int64_t after,
                            int64_t *lo, int64_t *hi)
{
    const int64_t start = o * w->stride[d] - w->pad_lo[d];
    *lo = *hi = 0;
    while (*lo < w->kernel[d] && start + *lo * w->dilation[d] < -before) ++*lo;
    *hi = *lo;
    while (*hi < w->kernel[d] && start + *hi * w->dilation[d] < w->in[d] + after) ++*hi;
}

/* The taps of output o that fall on the plane; returns how many the average divides by. */
static int64_t FN(window_at)(const FN(pool) *p, int64_t o, int64_t lo[3], int64_t hi[3])
{
    const cr_window *w = &p->w;
    int64_t divisor = 1;
    for (int d = 2; d >= 0; d--) {
        const int64_t at = o % w->out[d];
        int64_t first, end;
        o /= w->out[d];
        FN(taps_within)(w, d, at, p->with_pads ? w->pad_lo[d] : 0, p->with_pads ? w->pad_hi[d] : 0,
                        &first, &end);
        divisor *= end - first;
        FN(taps_within)(w, d, at, 0, 0, &lo[d], &hi[d]);
        lo[d] = at * w->stride[d] - w->pad_lo[d] + lo[d] * w->dilation[d];
        hi[d] = at * w->stride[d] - w->pad_lo[d] + hi[d] * w->dilation[d];
    }
    return divisor;
}

#define CR_EACH_TAP(p, lo, hi, at)                                                                 \
    for (int64_t z = lo[0]; z < hi[0]; z += p->w.dilation[0])                                      \
        for (int64_t y = lo[1]; y < hi[1]; y += p->w.dilation[1])                                  \
            for (int64_t x = lo[2], at = (z * p->w.in[1] + y) * p->w.in[2] + x; x < hi[2];         \
                 x += p->w.dilation[2], at += p->w.dilation[2])

static void FN(max_plane)(void *ctx, size_t index, int worker)
{
    const FN(pool) *p = ctx;
    const int64_t in = p->w.in[0] * p->w.in[1] * p->w.in[2];
    const int64_t out = p->w.out[0] * p->w.out[1] * p->w.out[2];
    const real *from = p->x + (int64_t)index * in, *dy = p->dy + (int64_t)index * out;
    real *dx = p->dx + (int64_t)index * in;
    (void)worker;
    for (int64_t o = 0; o < out; o++) {
        int64_t lo[3], hi[3], best = -1;
        FN(window_at)(p, o, lo, hi);
        CR_EACH_TAP(p, lo, hi, at)
            if (best < 0 || from[at] > from[best]) best = at;
        if (best >= 0) dx[best] += dy[o];
    }
}

static void FN(average_plane)(void *ctx, size_t index, int worker)
{
    const FN(pool) *p = ctx;
    const int64_t out = p->w.out[0] * p->w.out[1] * p->w.out[2];
    const real *dy = p->dy + (int64_t)index * out;
    real *dx = p->dx + (int64_t)index * p->w.in[0] * p->w.in[1] * p->w.in[2];
    (void)worker;
    for (int64_t o = 0; o < out; o++) {
        int64_t lo[3], hi[3];
        const int64_t divisor = FN(window_at)(p, o, lo, hi);
        CR_EACH_TAP(p, lo, hi, at) dx[at] += dy[o] / (real)divisor;
    }
}
#undef CR_EACH_TAP

static cr_status FN(pool_backward)(const cr_grad_call *c, cr_task_fn plane, cr_error *err)
{
    const cr_shape *s = &c->op.in[0]->shape;
    FN(pool) p = {.x = c->op.in[0]->data, .dy = c->d_out[0], .dx = c->d_in[0],
                  .with_pads = cr_attr_int(c->op.node, "count_include_pad", 0) != 0};
    CR_TRY(cr_window_pool(&c->op, &p.w, err));
    if (p.dx) cr_pool_run(c->pool, (size_t)(s->dim[0] * s->dim[1]), plane, &p);
    return CR_OK;
}

static cr_status FN(max_pool_backward)(const cr_grad_call *c, cr_error *err)
{
    return FN(pool_backward)(c, FN(max_plane), err);
}

static cr_status FN(average_pool_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(no_scratch)(c, bytes, err);
}

static cr_status FN(average_pool_forward)(const cr_grad_call *c, cr_error *err)
{
    return cr_op_eval(&c->op, err);
}

static cr_status FN(average_pool_backward)(const cr_grad_call *c, cr_error *err)
{
    return FN(pool_backward)(c, FN(average_plane), err);
}
