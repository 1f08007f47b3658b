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

/* Mean and variance that channel `ch` is normalised by. */
static void FN(norm_moments)(const FN(norm) *n, int64_t ch, double *mean, double *variance)
{
    const cr_op_call *op = &n->c->op;
    const real *x = op->in[0]->data;
    if (!n->c->batch_stats) {
        *mean = ((const real *)op->in[3]->data)[ch];
        *variance = ((const real *)op->in[4]->data)[ch];
        return;
    }
    const double count = (double)(n->batch * n->inner);
    double sum = 0, squares = 0;
    for (int64_t b = 0; b < n->batch; b++)
        for (int64_t i = 0; i < n->inner; i++) sum += x[(b * n->channels + ch) * n->inner + i];
    *mean = sum / count;
    for (int64_t b = 0; b < n->batch; b++)
        for (int64_t i = 0; i < n->inner; i++) {
            const double d = x[(b * n->channels + ch) * n->inner + i] - *mean;
            squares += d * d;
        }
    *variance = squares / count;
}

static void FN(norm_channel)(void *ctx, size_t index, int worker)
{
    const FN(norm) *n = ctx;
    const cr_op_call *op = &n->c->op;
    const int64_t ch = (int64_t)index;
    const real *x = op->in[0]->data;
    real *y = op->out[0]->data, *running_mean = op->in[3]->data, *running_var = op->in[4]->data;
    double mean, variance;
    (void)worker;
    FN(norm_moments)(n, ch, &mean, &variance);
    const double scale = ((const real *)op->in[1]->data)[ch] / sqrt(variance + n->epsilon);
    const double bias = ((const real *)op->in[2]->data)[ch];
    for (int64_t b = 0; b < n->batch; b++)
        for (int64_t i = 0; i < n->inner; i++) {
            const int64_t at = (b * n->channels + ch) * n->inner + i;
            y[at] = (real)((x[at] - mean) * scale + bias);
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

static void FN(norm_gradient)(void *ctx, size_t index, int worker)
{
    const FN(norm) *n = ctx;
    const cr_grad_call *c = n->c;
    const int64_t ch = (int64_t)index, step = n->channels * n->inner, from = ch * n->inner;
    const real *x = c->op.in[0]->data, *dy = c->d_out[0];
    real *dx = c->d_in[0], *dscale = c->d_in[1], *dbias = c->d_in[2];
    double mean, variance, sum = 0, along = 0;
    (void)worker;
    FN(norm_moments)(n, ch, &mean, &variance);
    const double inverse = 1 / sqrt(variance + n->epsilon);
    for (int64_t b = 0; b < n->batch; b++)
        for (int64_t at = b * step + from; at < b * step + from + n->inner; at++) {
            sum += dy[at];
            along += dy[at] * ((x[at] - mean) * inverse);
        }
    if (dbias) dbias[ch] += (real)sum;
    if (dscale) dscale[ch] += (real)along;
    if (!dx) return;
    const double scale = ((const real *)c->op.in[1]->data)[ch] * inverse;
    const double count = (double)(n->batch * n->inner);
    const double mean_dy = c->batch_stats ? sum / count : 0;
    const double mean_along = c->batch_stats ? along / count : 0;
    for (int64_t b = 0; b < n->batch; b++)
        for (int64_t at = b * step + from; at < b * step + from + n->inner; at++) {
            const double h = (x[at] - mean) * inverse;
            dx[at] += (real)(scale * (dy[at] - mean_dy - h * mean_along));
        }
}

static cr_status FN(batch_norm_backward)(const cr_grad_call *c, cr_error *err)
{
    FN(norm) n = FN(norm_read)(c);
    (void)err;
    cr_pool_run(c->pool, (size_t)n.channels, FN(norm_gradient), &n);
    return CR_OK;
}
