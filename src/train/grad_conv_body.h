/* Conv and ConvTranspose, 1 to 3 dimensions, any stride, padding, dilation and groups. In float32
 * those of 1 and 2 dimensions run on kernels of their own (grad_conv_planes.h); the others, and
 * float64, as matrix products over unfolded pictures, one picture after the other:
 *
 *     col[channel, tap][place] = picture[channel][place * stride - pad + tap * dilation]
 *     Conv            y = W col(x)      dW += dy col(x)'     dx += fold(W' dy)
 *     ConvTranspose   y = fold(W' x)    dW += x col(dy)'     dx += W col(dy)
 *
 * fold is the transpose of col: it adds each tap back where it was taken from. All groups are one
 * batched product. */
#include <string.h>

#include "graph/nn_rules.h"

typedef struct FN(unfold) {
    int64_t picture[3], place[3], kernel[3], stride[3], dilation[3], pad[3];
    int64_t pixels, places, taps;
    const real *from;
    real *to;
} FN(unfold);

static int64_t FN(volume)(const int64_t *d)
{
    return d[0] * d[1] * d[2];
}

static FN(unfold) FN(unfold_of)(const cr_window *w, bool transposed)
{
    FN(unfold) u;
    for (int d = 0; d < 3; d++) {
        u.picture[d] = transposed ? w->out[d] : w->in[d];
        u.place[d] = transposed ? w->in[d] : w->out[d];
        u.kernel[d] = w->kernel[d];
        u.stride[d] = w->stride[d];
        u.dilation[d] = w->dilation[d];
        u.pad[d] = w->pad_lo[d];
    }
    u.pixels = FN(volume)(u.picture);
    u.places = FN(volume)(u.place);
    u.taps = FN(volume)(u.kernel);
    return u;
}

/* Places lo..hi-1 along d have tap k inside the picture; the first of them at *at. */
static void FN(inside)(const FN(unfold) *u, int d, int64_t k, int64_t *lo, int64_t *hi, int64_t *at)
{
    const int64_t shift = k * u->dilation[d] - u->pad[d], s = u->stride[d];
    const int64_t last = u->picture[d] - 1 - shift;
    *lo = shift < 0 ? (-shift + s - 1) / s : 0;
    *hi = last < 0 ? 0 : last / s + 1;
    if (*hi > u->place[d]) *hi = u->place[d];
    if (*lo > *hi) *lo = *hi;
    *at = *lo * s + shift;
}

/* Row `index` of col: one channel, one tap. */
static void FN(unfold_row)(void *ctx, size_t index, int worker)
{
    const FN(unfold) *u = ctx;
    const int64_t row = (int64_t)index, tap = row % u->taps;
    const int64_t kx = tap % u->kernel[2], ky = tap / u->kernel[2] % u->kernel[1];
    const int64_t kz = tap / u->kernel[2] / u->kernel[1];
    const real *from = u->from + row / u->taps * u->pixels;
    real *to = u->to + row * u->places;
    int64_t x0, x1, xa, y0, y1, ya, z0, z1, za;
    (void)worker;
    FN(inside)(u, 0, kz, &z0, &z1, &za);
    FN(inside)(u, 1, ky, &y0, &y1, &ya);
    FN(inside)(u, 2, kx, &x0, &x1, &xa);
    memset(to, 0, (size_t)u->places * sizeof *to);
    for (int64_t z = z0; z < z1; z++)
        for (int64_t y = y0; y < y1; y++) {
            const int64_t pz = za + (z - z0) * u->stride[0], py = ya + (y - y0) * u->stride[1];
            const real *line = from + (pz * u->picture[1] + py) * u->picture[2] + xa;
            real *out = to + (z * u->place[1] + y) * u->place[2];
            for (int64_t x = x0; x < x1; x++) out[x] = line[(x - x0) * u->stride[2]];
        }
}

/* Adds all taps of channel `index` to its picture, tap after tap. */
static void FN(fold_channel)(void *ctx, size_t index, int worker)
{
    const FN(unfold) *u = ctx;
    real *to = u->to + (int64_t)index * u->pixels;
    (void)worker;
    for (int64_t tap = 0; tap < u->taps; tap++) {
        const int64_t kx = tap % u->kernel[2], ky = tap / u->kernel[2] % u->kernel[1];
        const int64_t kz = tap / u->kernel[2] / u->kernel[1];
        const real *from = u->from + ((int64_t)index * u->taps + tap) * u->places;
        int64_t x0, x1, xa, y0, y1, ya, z0, z1, za;
        FN(inside)(u, 0, kz, &z0, &z1, &za);
        FN(inside)(u, 1, ky, &y0, &y1, &ya);
        FN(inside)(u, 2, kx, &x0, &x1, &xa);
        for (int64_t z = z0; z < z1; z++)
            for (int64_t y = y0; y < y1; y++) {
                const int64_t pz = za + (z - z0) * u->stride[0], py = ya + (y - y0) * u->stride[1];
                real *line = to + (pz * u->picture[1] + py) * u->picture[2] + xa;
                const real *in = from + (z * u->place[1] + y) * u->place[2];
                for (int64_t x = x0; x < x1; x++) line[(x - x0) * u->stride[2]] += in[x];
            }
    }
}

/* One convolution with its scratch cut up. */
typedef struct FN(conv) {
    cr_conv_shape s;
    FN(unfold) u;
    bool transposed, direct; /* direct: a 1x1 kernel, col is the picture itself */
    int64_t picture_channels, place_channels; /* those of the unfolded side and of the other */
    int64_t rows, cols;      /* of W per group: place channels, picture channels * taps */
    int64_t *at[3];
    real *col, *product;
    void *gemm;
    size_t bytes;
} FN(conv);

static cr_status FN(conv_cut)(const cr_grad_call *c, FN(conv) *v, cr_error *err)
{
    v->transposed = c->op.node->op->kind == CR_OP_ConvTranspose;
    CR_TRY(v->transposed ? cr_conv_transpose_read(&c->op, &v->s, err)
                         : cr_conv_read(&c->op, 1, &v->s, err));
    v->u = FN(unfold_of)(&v->s.win, v->transposed);
    v->picture_channels = v->transposed ? v->s.out_channels : v->s.in_channels;
    v->place_channels = v->transposed ? v->s.in_channels : v->s.out_channels;
    v->rows = v->place_channels / v->s.groups;
    v->cols = v->picture_channels / v->s.groups * v->u.taps;
    v->direct = v->u.taps == 1;
    for (int d = 0; d < 3; d++)
        v->direct &= v->u.stride[d] == 1 && v->u.pad[d] == 0 && v->u.picture[d] == v->u.place[d];
    const int64_t col = v->picture_channels * v->u.taps * v->u.places;
    const int64_t places = v->place_channels * v->u.places, weights = v->place_channels * v->cols;
    char *at = c->scratch;
    size_t used = 0;
    for (int i = 0; i < 3; i++) {
        v->at[i] = (int64_t *)(void *)(at ? at + used : NULL);
        used += cr_round_up((size_t)v->s.groups * sizeof(int64_t), CR_ALIGN);
    }
    v->col = (real *)(void *)(at ? at + used : NULL);
    used += cr_round_up((size_t)col * sizeof(real), CR_ALIGN);
    v->product = (real *)(void *)(at ? at + used : NULL);
    used += cr_round_up((size_t)(places > weights ? places : weights) * sizeof(real), CR_ALIGN);
    v->gemm = at ? at + used : NULL;
    v->bytes = used;
    return CR_OK;
}

/* The three products over all groups. */
enum { FN(BY_PLACES), FN(BY_COL), FN(BY_WEIGHTS) };

static cr_gemm_shape FN(conv_product)(const FN(conv) *v, int which)
{
    const int64_t p = v->u.places, m = v->rows, k = v->cols, groups = v->s.groups;
    cr_gemm_shape s = {.batch = groups, .alpha = 1};
    int64_t a, b, c;
    if (which == FN(BY_PLACES)) { /* places = W col */
        s.m = m, s.n = p, s.k = k;
        s.a_down = k, s.a_right = 1, s.b_down = p, s.b_right = 1, s.c_down = p;
        a = m * k, b = k * p, c = m * p;
    } else if (which == FN(BY_COL)) { /* col = W' places */
        s.m = k, s.n = p, s.k = m;
        s.a_down = 1, s.a_right = k, s.b_down = p, s.b_right = 1, s.c_down = p;
        a = m * k, b = m * p, c = k * p;
    } else { /* W = places col' */
        s.m = m, s.n = k, s.k = p;
        s.a_down = p, s.a_right = 1, s.b_down = 1, s.b_right = p, s.c_down = k;
        a = m * p, b = k * p, c = m * k;
    }
    for (int64_t g = 0; v->at[0] && g < groups; g++)
        v->at[0][g] = g * a, v->at[1][g] = g * b, v->at[2][g] = g * c;
    s.a_at = v->at[0], s.b_at = v->at[1], s.c_at = v->at[2];
    return s;
}

static cr_status FN(conv_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    FN(conv) v;
    size_t most = 0;
    CR_TRY(FN(conv_cut)(c, &v, err));
#ifdef GRAD_KERNELS
    if (on_planes(&v.s)) {
        *bytes = planes_bytes(c, &v.s, v.transposed);
        return CR_OK;
    }
#endif
    for (int which = 0; which < 3; which++) {
        const cr_gemm_shape s = FN(conv_product)(&v, which);
        const size_t need = FN(gemm_bytes)(&s);
        if (need > most) most = need;
    }
    *bytes = v.bytes + most;
    return CR_OK;
}

static void FN(conv_multiply)(const cr_grad_call *c, const FN(conv) *v, int which, const real *a,
                              const real *b, real *to)
{
    const cr_gemm_shape s = FN(conv_product)(v, which);
    FN(gemm_run)(&s, a, b, to, v->gemm, c->pool);
}

/* The unfolded picture: v->col, or the picture itself. */
static const real *FN(unfolded)(const cr_grad_call *c, FN(conv) *v, const real *picture)
{
    if (v->direct) return picture;
    v->u.from = picture;
    v->u.to = v->col;
    cr_pool_run(c->pool, (size_t)(v->picture_channels * v->u.taps), FN(unfold_row), &v->u);
    return v->col;
}

static void FN(fold_into)(const cr_grad_call *c, FN(conv) *v, real *picture)
{
    v->u.from = v->col;
    v->u.to = picture;
    cr_pool_run(c->pool, (size_t)v->picture_channels, FN(fold_channel), &v->u);
}

static void FN(add_bias)(const cr_conv_shape *s, const real *bias, real *y)
{
    const int64_t plane = FN(volume)(s->win.out);
    for (int64_t m = 0; m < s->out_channels; m++, y += plane)
        for (int64_t i = 0; i < plane; i++) y[i] += bias[m];
}

static cr_status FN(conv_forward)(const cr_grad_call *c, cr_error *err)
{
    FN(conv) v;
    CR_TRY(FN(conv_cut)(c, &v, err));
#ifdef GRAD_KERNELS
    if (on_planes(&v.s)) {
        planes_forward(c, &v.s, v.transposed);
        return CR_OK;
    }
#endif
    const real *w = c->op.in[1]->data;
    const cr_tensor *bias = cr_op_in(&c->op, 2);
    const int64_t in = v.s.in_channels * FN(volume)(v.s.win.in);
    const int64_t out = v.s.out_channels * FN(volume)(v.s.win.out);
    for (int64_t b = 0; b < v.s.batch; b++) {
        const real *x = (const real *)c->op.in[0]->data + b * in;
        real *y = (real *)c->op.out[0]->data + b * out;
        if (v.transposed) {
            FN(conv_multiply)(c, &v, FN(BY_COL), w, x, v.col);
            memset(y, 0, (size_t)out * sizeof *y);
            FN(fold_into)(c, &v, y);
        } else {
            FN(conv_multiply)(c, &v, FN(BY_PLACES), w, FN(unfolded)(c, &v, x), y);
        }
        if (bias) FN(add_bias)(&v.s, bias->data, y);
    }
    return CR_OK;
}

static void FN(bias_gradient)(const cr_grad_call *c, const cr_conv_shape *s, const real *dy,
                              real *db)
{
    const int64_t plane = FN(volume)(s->win.out);
#ifdef GRAD_KERNELS
    bias_job j = {dy, db, s->out_channels, plane};
    cr_pool_run(c->pool, (size_t)((s->out_channels + CR_SUM_ROWS - 1) / CR_SUM_ROWS), bias_rows,
                &j);
#else
    (void)c;
    for (int64_t m = 0; m < s->out_channels; m++, dy += plane) {
        double sum = 0;
        for (int64_t i = 0; i < plane; i++) sum += dy[i];
        db[m] += (real)sum;
    }
#endif
}

static void FN(one_conv_backward)(const cr_grad_call *c, FN(conv) *v, const real *x, const real *dy,
                                  real *dx)
{
    const real *w = c->op.in[1]->data;
    const int64_t weights = v->place_channels * v->cols;
    const int64_t in = v->s.in_channels * FN(volume)(v->s.win.in);
    const real *places = v->transposed ? x : dy, *picture = v->transposed ? dy : x;
    real *dw = c->d_in[1];
    const real *col = dw || v->transposed ? FN(unfolded)(c, v, picture) : NULL;
    if (dw) {
        FN(conv_multiply)(c, v, FN(BY_WEIGHTS), places, col, v->product);
        FN(add_to)(c->pool, dw, v->product, weights);
    }
    if (dx && v->transposed) {
        FN(conv_multiply)(c, v, FN(BY_PLACES), w, col, v->product);
        FN(add_to)(c->pool, dx, v->product, in);
    } else if (dx) {
        FN(conv_multiply)(c, v, FN(BY_COL), w, dy, v->col);
        FN(fold_into)(c, v, dx);
    }
}

static cr_status FN(conv_backward)(const cr_grad_call *c, cr_error *err)
{
    FN(conv) v;
    CR_TRY(FN(conv_cut)(c, &v, err));
    const int64_t in = v.s.in_channels * FN(volume)(v.s.win.in);
    const int64_t out = v.s.out_channels * FN(volume)(v.s.win.out);
    const real *x = c->op.in[0]->data, *dy = c->d_out[0];
    real *dx = c->d_in[0], *db = c->op.n_in > 2 ? c->d_in[2] : NULL;
    for (int k = 1; k < c->op.n_in; k++) /* computed weights and biases */
        if (c->d_in[k] && c->first[k])
            memset(c->d_in[k], 0, (size_t)FN(count)(c->op.in[k]) * sizeof(real));
    for (int64_t b = 0; db && b < v.s.batch; b++) FN(bias_gradient)(c, &v.s, dy + b * out, db);
#ifdef GRAD_KERNELS
    if (on_planes(&v.s)) {
        planes_backward(c, &v.s, v.transposed);
        return CR_OK;
    }
#endif
    if (dx && c->first[0]) memset(dx, 0, (size_t)(v.s.batch * in) * sizeof *dx);
    for (int64_t b = 0; b < v.s.batch; b++)
        FN(one_conv_backward)(c, &v, x + b * in, dy + b * out, dx ? dx + b * in : NULL);
    return CR_OK;
}

/* One source for both: the node's kind says which side is unfolded. */
static cr_status FN(conv_transpose_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(conv_scratch)(c, bytes, err);
}

static cr_status FN(conv_transpose_forward)(const cr_grad_call *c, cr_error *err)
{
    return FN(conv_forward)(c, err);
}

static cr_status FN(conv_transpose_backward)(const cr_grad_call *c, cr_error *err)
{
    return FN(conv_backward)(c, err);
}
