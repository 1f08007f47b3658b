/* BatchNormalization (Ioffe & Szegedy 2015), [N, C, ...]. With the statistics of the batch,
 *
 *     h = (x - mean) / sqrt(var + eps)     y = scale h + bias
 *     dx = scale / sqrt(var + eps) (dy - mean(dy) - h mean(dy h))
 *
 * and the running mean and variance (inputs 3, 4) follow: running = momentum running +
 * (1 - momentum) batch, the variance over the number of elements, as ONNX defines it (PyTorch
 * divides by one less). With the running statistics it is a scale and a shift. Sums in double. */
static cr_status FN(batch_norm_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(no_scratch)(c, bytes, err);
}

typedef struct FN(norm) {
    const cr_grad_call *c;
    int64_t batch, channels, inner;
    double epsilon, momentum;
} FN(norm);

static FN(norm) FN(norm_read)(const cr_grad_call *c)
{
    const cr_shape *s = &c->op.in[0]->shape;
    FN(norm) n = {.c = c, .batch = s->dim[0], .channels = s->rank > 1 ? s->dim[1] : 1,
                  .inner = s->rank > 2 ? cr_shape_span(s, 2, s->rank) : 1};
    n.epsilon = cr_attr_float(c->op.node, "epsilon", 1e-5f);
    n.momentum = cr_attr_float(c->op.node, "momentum", 0.9f);
    return n;
}

/* Sums over one channel, with d = x less the channel's first value, which keeps squares small where
 * the mean is not: PARTS sums side by side over a piece of PIECE elements, added up in double. */
enum { FN(PARTS) = 8, FN(PIECE) = 256 };

typedef struct FN(norm_sums) {
    double first, d, square, dy, along; /* along: of dy d */
} FN(norm_sums);

static double FN(norm_total)(const real part[FN(PARTS)])
{
    double sum = 0;
    for (int k = 0; k < FN(PARTS); k++) sum += part[k];
    return sum;
}

/* Up to PIECE elements. */
static void FN(norm_piece_x)(const real *x, int64_t n, FN(norm_sums) *s)
{
    const real first = (real)s->first;
    real d[FN(PARTS)] = {0}, square[FN(PARTS)] = {0};
    int64_t i = 0;
    for (; i + FN(PARTS) <= n; i += FN(PARTS))
        for (int k = 0; k < FN(PARTS); k++) {
            const real v = x[i + k] - first;
            d[k] += v;
            square[k] += v * v;
        }
    for (int k = 0; i + k < n; k++) {
        const real v = x[i + k] - first;
        d[k] += v;
        square[k] += v * v;
    }
    s->d += FN(norm_total)(d);
    s->square += FN(norm_total)(square);
}

static void FN(norm_piece_dy)(const real *x, const real *dy, int64_t n, FN(norm_sums) *s)
{
    const real first = (real)s->first;
    real sum[FN(PARTS)] = {0}, along[FN(PARTS)] = {0};
    int64_t i = 0;
    for (; i + FN(PARTS) <= n; i += FN(PARTS))
        for (int k = 0; k < FN(PARTS); k++) {
            sum[k] += dy[i + k];
            along[k] += dy[i + k] * (x[i + k] - first);
        }
    for (int k = 0; i + k < n; k++) {
        sum[k] += dy[i + k];
        along[k] += dy[i + k] * (x[i + k] - first);
    }
    s->dy += FN(norm_total)(sum);
    s->along += FN(norm_total)(along);
}

/* dy: those of the gradient too. */
static FN(norm_sums) FN(norm_sum)(const FN(norm) *n, int64_t ch, bool of_x, const real *dy)
{
    const real *x = (const real *)n->c->op.in[0]->data + ch * n->inner;
    FN(norm_sums) s = {.first = n->inner && n->batch ? (double)x[0] : 0};
    for (int64_t b = 0; b < n->batch; b++)
        for (int64_t i = 0; i < n->inner; i += FN(PIECE)) {
            const int64_t at = b * n->channels * n->inner + i;
            const int64_t left = n->inner - i < FN(PIECE) ? n->inner - i : FN(PIECE);
            if (of_x) FN(norm_piece_x)(x + at, left, &s);
            if (dy) FN(norm_piece_dy)(x + at, dy + ch * n->inner + at, left, &s);
        }
    return s;
}

/* Mean and variance that channel `ch` is normalised by. */
static void FN(norm_moments)(const FN(norm) *n, int64_t ch, const FN(norm_sums) *s, double *mean,
                             double *variance)
{
    const cr_op_call *op = &n->c->op;
    if (!n->c->batch_stats) {
        *mean = ((const real *)op->in[3]->data)[ch];
        *variance = ((const real *)op->in[4]->data)[ch];
        return;
    }
    const double count = (double)(n->batch * n->inner), shift = s->d / count;
    *mean = s->first + shift;
    *variance = s->square / count - shift * shift;
    if (*variance < 0) *variance = 0;
}

static void FN(norm_channel)(void *ctx, size_t index, int worker)
{
    const FN(norm) *n = ctx;
    const cr_op_call *op = &n->c->op;
    const int64_t ch = (int64_t)index;
    real *running_mean = op->in[3]->data, *running_var = op->in[4]->data;
    FN(norm_sums) s = {0};
    double mean, variance;
    (void)worker;
    if (n->c->batch_stats) s = FN(norm_sum)(n, ch, true, NULL);
    FN(norm_moments)(n, ch, &s, &mean, &variance);
    const double scale = ((const real *)op->in[1]->data)[ch] / sqrt(variance + n->epsilon);
    const real by = (real)scale, bias = ((const real *)op->in[2]->data)[ch], centre = (real)mean;
    for (int64_t b = 0; b < n->batch; b++) {
        const real *x = (const real *)op->in[0]->data + (b * n->channels + ch) * n->inner;
        real *y = (real *)op->out[0]->data + (b * n->channels + ch) * n->inner;
        for (int64_t i = 0; i < n->inner; i++) y[i] = (x[i] - centre) * by + bias;
    }
    if (!n->c->batch_stats || n->c->again) return;
    running_mean[ch] = (real)(n->momentum * running_mean[ch] + (1 - n->momentum) * mean);
    running_var[ch] = (real)(n->momentum * running_var[ch] + (1 - n->momentum) * variance);
}

static cr_status FN(batch_norm_forward)(const cr_grad_call *c, cr_error *err)
{
    FN(norm) n = FN(norm_read)(c);
    (void)err;
    cr_pool_run(c->pool, (size_t)n.channels, FN(norm_channel), &n);
    return CR_OK;
}

/* dx (+)= p dy + q (x - centre) + r */
static void FN(norm_spread)(const FN(norm) *n, int64_t ch, real p, real q, real r, real centre)
{
    for (int64_t b = 0; b < n->batch; b++) {
        const int64_t from = (b * n->channels + ch) * n->inner;
        const real *x = (const real *)n->c->op.in[0]->data + from;
        const real *dy = (const real *)n->c->d_out[0] + from;
        real *dx = (real *)n->c->d_in[0] + from;
        if (n->c->first[0])
            for (int64_t i = 0; i < n->inner; i++) dx[i] = p * dy[i] + (q * (x[i] - centre) + r);
        else
            for (int64_t i = 0; i < n->inner; i++) dx[i] += p * dy[i] + (q * (x[i] - centre) + r);
    }
}

static void FN(norm_gradient)(void *ctx, size_t index, int worker)
{
    const FN(norm) *n = ctx;
    const cr_grad_call *c = n->c;
    const int64_t ch = (int64_t)index;
    real *dscale = c->d_in[1], *dbias = c->d_in[2];
    const FN(norm_sums) s = FN(norm_sum)(n, ch, c->batch_stats, c->d_out[0]);
    double mean, variance;
    (void)worker;
    FN(norm_moments)(n, ch, &s, &mean, &variance);
    const double inverse = 1 / sqrt(variance + n->epsilon);
    const double along = (s.along - (mean - s.first) * s.dy) * inverse; /* sum of dy h */
    if (dbias) dbias[ch] = (c->first[2] ? 0 : dbias[ch]) + (real)s.dy;
    if (dscale) dscale[ch] = (c->first[1] ? 0 : dscale[ch]) + (real)along;
    if (!c->d_in[0]) return;
    const double scale = ((const real *)c->op.in[1]->data)[ch] * inverse;
    const double count = (double)(n->batch * n->inner);
    const double mean_dy = c->batch_stats ? s.dy / count : 0;
    const double mean_along = c->batch_stats ? along / count : 0;
    FN(norm_spread)(n, ch, (real)scale, (real)(-scale * mean_along * inverse),
                    (real)(-scale * mean_dy), (real)mean);
}

static cr_status FN(batch_norm_backward)(const cr_grad_call *c, cr_error *err)
{
    FN(norm) n = FN(norm_read)(c);
    (void)err;
    cr_pool_run(c->pool, (size_t)n.channels, FN(norm_gradient), &n);
    return CR_OK;
}
