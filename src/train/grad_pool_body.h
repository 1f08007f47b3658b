/* MaxPool and AveragePool. A maximum's gradient goes to the first of its equals, in the order of
 * the window; an average's to all taps that it counted (ops/pooling.c says which those are). */
typedef struct FN(pool) {
    cr_window w;
    const real *x, *dy;
    real *y, *dx;
    bool with_pads, add; /* add: to what is in dx */
} FN(pool);

static cr_status FN(max_pool_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    cr_window w;
    CR_TRY(cr_window_pool(&c->op, &w, err));
    CR_CHECK(w.in[0] * w.in[1] * w.in[2] <= INT32_MAX, err, CR_ERR_LIMIT,
             "node '%s': pictures of more than 2^31 pixels", c->op.node->name);
    return FN(no_scratch)(c, bytes, err);
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

/* Maxima are taken tap after tap over a strip of outputs of one row: `best` their values, `where`
 * their places in the plane, -1 where no tap has fallen on the picture yet. */
enum { FN(STRIP) = 128 };

/* Outputs lo..hi-1 of a strip look at x[i * step], which is the plane's element at + i * step. */
static void FN(max_tap)(const real *x, int64_t step, int32_t at, int64_t lo, int64_t hi,
                        real *restrict best, int32_t *restrict where)
{
    for (int64_t i = lo; i < hi; i++) {
        const real v = x[i * step], b = best[i];
        const int32_t here = at + (int32_t)(i * step), w = where[i];
        const bool more = (v > b) | (v != v) | (w < 0);
        best[i] = more ? v : b;
        where[i] = more ? here : w;
    }
}

/* Outputs o0..o1-1 of row (oz, oy). */
static void FN(max_strip)(const FN(pool) *p, const real *plane, int64_t oz, int64_t oy, int64_t o0,
                          int64_t o1, real *best, int32_t *where)
{
    const cr_window *w = &p->w;
    for (int64_t i = 0; i < o1 - o0; i++) best[i] = -INFINITY, where[i] = -1;
    for (int64_t kz = 0; kz < w->kernel[0]; kz++)
        for (int64_t ky = 0; ky < w->kernel[1]; ky++) {
            const int64_t z = oz * w->stride[0] - w->pad_lo[0] + kz * w->dilation[0];
            const int64_t y = oy * w->stride[1] - w->pad_lo[1] + ky * w->dilation[1];
            if (z < 0 || z >= w->in[0] || y < 0 || y >= w->in[1]) continue;
            const int64_t row = (z * w->in[1] + y) * w->in[2];
            for (int64_t kx = 0; kx < w->kernel[2]; kx++) {
                const int64_t shift = kx * w->dilation[2] - w->pad_lo[2];
                int64_t lo, hi;
                cr_window_span(w, 2, kx, &lo, &hi);
                lo = (lo > o0 ? lo : o0) - o0;
                hi = (hi < o1 ? hi : o1) - o0;
                const real *x = plane + row + o0 * w->stride[2] + shift;
                FN(max_tap)(x, w->stride[2], (int32_t)(x - plane), lo, hi, best, where);
            }
        }
}

/* Every strip of a plane; forward writes the maxima, backward adds to where they are. */
static void FN(max_plane)(void *ctx, size_t index, int worker)
{
    const FN(pool) *p = ctx;
    const cr_window *w = &p->w;
    const int64_t in = w->in[0] * w->in[1] * w->in[2], out = w->out[0] * w->out[1] * w->out[2];
    const real *from = p->x + (int64_t)index * in;
    const real *dy = p->dy ? p->dy + (int64_t)index * out : NULL;
    real *y = p->y ? p->y + (int64_t)index * out : NULL, best[FN(STRIP)];
    real *dx = p->dx ? p->dx + (int64_t)index * in : NULL;
    int32_t where[FN(STRIP)];
    int64_t at = 0;
    (void)worker;
    if (dx && !p->add) memset(dx, 0, (size_t)in * sizeof *dx);
    for (int64_t row = 0; row < w->out[0] * w->out[1]; row++)
        for (int64_t o = 0; o < w->out[2]; o += FN(STRIP)) {
            const int64_t end = o + FN(STRIP) < w->out[2] ? o + FN(STRIP) : w->out[2];
            FN(max_strip)(p, from, row / w->out[1], row % w->out[1], o, end, best, where);
            for (int64_t i = 0; i < end - o; i++, at++) {
                if (y) y[at] = best[i];
                if (dx && where[i] >= 0) dx[where[i]] += dy[at];
            }
        }
}

static cr_status FN(max_pool_forward)(const cr_grad_call *c, cr_error *err)
{
    const cr_shape *s = &c->op.in[0]->shape;
    FN(pool) p = {.x = c->op.in[0]->data};
    if (c->op.n_out > 1 && c->op.out[1]) return cr_op_eval(&c->op, err); /* and where they were */
    p.y = c->op.out[0]->data;
    CR_TRY(cr_window_pool(&c->op, &p.w, err));
    cr_pool_run(c->pool, (size_t)(s->dim[0] * s->dim[1]), FN(max_plane), &p);
    return CR_OK;
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
    FN(pool) p = {.x = c->op.in[0]->data, .dy = c->d_out[0], .dx = c->d_in[0], .add = !c->first[0],
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
