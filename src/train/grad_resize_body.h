/* Resize, nearest and linear. The reference says where every output looks: along one dimension,
 * a ramp of positions resized is the list of positions looked at (both filters reproduce a
 * ramp), so one resized ramp per dimension gives all taps, whatever the coordinate mode.
 * Antialiasing, exclude_outside, cropping and cubic do not have that property and are refused.
 * Nearest by whole factors, where output o looks at o / factor, is what detectors have and has loops
 * of its own. */
#include "graph/nn_rules.h"

/* How often each pixel is repeated. */
typedef struct FN(repeat) {
    int64_t h, w, down, across; /* of the input; factors */
    const real *from;
    real *to;
    bool add;
} FN(repeat);

/* Modes that look at o / factor for every o: (o + .5) / f - .5 is less than half from it, and o / f
 * rounded down is it. */
static bool FN(resize_repeats)(const cr_grad_call *c, FN(repeat) *r)
{
    const cr_node *n = c->op.node;
    const cr_shape *x = &c->op.in[0]->shape, *y = &c->op.out[0]->shape;
    const char *place = cr_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    const char *round = cr_attr_string(n, "nearest_mode", "round_prefer_floor");
    const bool halves = !strcmp(place, "half_pixel") && !strncmp(round, "round", 5);
    const bool floors = !strcmp(place, "asymmetric") && !strcmp(round, "floor");
    cr_resize_shape s;
    if (strcmp(cr_attr_string(n, "mode", "nearest"), "nearest") != 0 || !(halves || floors) ||
        x->rank != 4 || cr_shape_count(x) == 0 || cr_resize_read(&c->op, &s, NULL) != CR_OK)
        return false;
    for (int d = 0; d < 4; d++) {
        const int64_t factor = y->dim[d] / x->dim[d];
        if (factor < 1 || y->dim[d] != factor * x->dim[d] || s.scale[d] != (double)factor ||
            (d < 2 && factor != 1))
            return false;
    }
    *r = (FN(repeat)){.h = x->dim[2], .w = x->dim[3], .down = y->dim[2] / x->dim[2],
                      .across = y->dim[3] / x->dim[3]};
    return true;
}

static void FN(repeat_plane)(void *ctx, size_t index, int worker)
{
    const FN(repeat) *r = ctx;
    const int64_t wide = r->w * r->across;
    const real *from = r->from + (int64_t)index * r->h * r->w;
    real *to = r->to + (int64_t)index * r->h * r->down * wide;
    (void)worker;
    for (int64_t y = 0; y < r->h; y++, from += r->w, to += r->down * wide) {
        if (r->across == 2)
            for (int64_t x = 0; x < r->w; x++) to[2 * x] = to[2 * x + 1] = from[x];
        else
            for (int64_t x = 0; x < wide; x++) to[x] = from[x / r->across];
        for (int64_t k = 1; k < r->down; k++) memcpy(to + k * wide, to, (size_t)wide * sizeof *to);
    }
}

/* The gradient of a pixel: its repetitions in their order. */
static void FN(repeat_sums)(void *ctx, size_t index, int worker)
{
    const FN(repeat) *r = ctx;
    const int64_t wide = r->w * r->across;
    const real *from = r->from + (int64_t)index * r->h * r->down * wide;
    real *to = r->to + (int64_t)index * r->h * r->w;
    (void)worker;
    for (int64_t y = 0; y < r->h; y++, to += r->w) {
        if (!r->add) memset(to, 0, (size_t)r->w * sizeof *to);
        for (int64_t k = 0; k < r->down; k++, from += wide) {
            if (r->across == 2)
                for (int64_t x = 0; x < r->w; x++) to[x] = to[x] + from[2 * x] + from[2 * x + 1];
            else
                for (int64_t x = 0; x < wide; x++) to[x / r->across] += from[x];
        }
    }
}
static cr_status FN(resize_check)(const cr_grad_call *c, cr_error *err)
{
    const cr_node *n = c->op.node;
    const char *mode = cr_attr_string(n, "mode", "nearest");
    const char *place = cr_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    CR_CHECK(strcmp(mode, "cubic") != 0 && strcmp(place, "tf_crop_and_resize") != 0 &&
                 !cr_attr_int(n, "antialias", 0) && !cr_attr_int(n, "exclude_outside", 0),
             err, CR_ERR_UNSUPPORTED,
             "node '%s' (Resize): no gradient for cubic, cropped, antialiased resizing", n->name);
    return CR_OK;
}

/* Dimensions before *outer keep their size: what follows is one plane, resized many times. Only where
 * that can be told from scales or sizes of all dimensions. */
static int FN(resize_outer)(const cr_grad_call *c)
{
    const cr_shape *x = &c->op.in[0]->shape, *y = &c->op.out[0]->shape;
    cr_resize_shape s;
    int outer = 0;
    if (cr_attr_find(c->op.node, "axes") || cr_attr_find(c->op.node, "keep_aspect_ratio_policy") ||
        cr_resize_read(&c->op, &s, NULL) != CR_OK)
        return 0;
    while (outer < x->rank - 1 && x->dim[outer] == y->dim[outer] && s.scale[outer] == 1) outer++;
    return outer;
}

/* Scratch: a ramp of a plane's size, its resized form, the positions of each dimension. */
typedef struct FN(resizer) {
    const cr_grad_call *c;
    cr_shape in, out;        /* of a plane, with ones in front */
    int64_t planes, in_size, out_size;
    int64_t start[CR_MAX_RANK], strides[CR_MAX_RANK];
    double *ramp, *seen, *positions;
    size_t bytes;
} FN(resizer);

static FN(resizer) FN(resize_cut)(const cr_grad_call *c)
{
    FN(resizer) r = {.c = c, .in = c->op.in[0]->shape, .out = c->op.out[0]->shape, .planes = 1};
    const int outer = FN(resize_outer)(c);
    int64_t sum = 0;
    for (int d = 0; d < outer; d++) {
        r.planes *= r.in.dim[d];
        r.in.dim[d] = r.out.dim[d] = 1;
    }
    for (int d = 0; d < r.out.rank; d++) {
        r.start[d] = sum;
        sum += r.out.dim[d];
    }
    r.in_size = cr_shape_count(&r.in);
    r.out_size = cr_shape_count(&r.out);
    cr_shape_strides(&r.in, r.strides);
    r.ramp = c->scratch;
    r.seen = r.ramp + r.in_size;
    r.positions = r.seen + r.out_size;
    r.bytes = (size_t)(r.in_size + r.out_size + sum) * sizeof(double);
    return r;
}

static cr_status FN(resize_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    FN(repeat) r;
    CR_TRY(FN(resize_check)(c, err));
    *bytes = FN(resize_repeats)(c, &r) ? 0 : FN(resize_cut)(c).bytes;
    return CR_OK;
}

/* Positions in the input of every output index along d. */
static cr_status FN(resize_positions)(const FN(resizer) *r, int d, cr_error *err)
{
    const cr_op_call *full = &r->c->op;
    cr_tensor from = *full->in[0], to = *full->out[0], sizes;
    const cr_tensor *in[4] = {&from};
    cr_tensor *out[1] = {&to};
    int64_t wide[CR_MAX_RANK];
    from.dtype = to.dtype = CR_DT_F64;
    from.shape = r->in;
    to.shape = r->out;
    from.data = r->ramp;
    to.data = r->seen;
    for (int i = 1; i < full->n_in && i < 4; i++) in[i] = full->in[i];
    if (in[3] && in[3]->dtype == CR_DT_I64 && cr_shape_count(&in[3]->shape) == r->out.rank) {
        for (int k = 0; k < r->out.rank; k++) wide[k] = r->out.dim[k];
        sizes = *in[3];
        sizes.data = wide;
        in[3] = &sizes;
    }
    const cr_op_call op = {full->node, in, out, full->n_in, 1};
    const int64_t after = cr_shape_span(&r->in, d + 1, r->in.rank);
    for (int64_t i = 0; i < r->in_size; i++) r->ramp[i] = (double)(i / after % r->in.dim[d]);
    CR_TRY(cr_op_eval(&op, err));
    const int64_t step = cr_shape_span(&r->out, d + 1, r->out.rank);
    for (int64_t o = 0; o < r->out.dim[d]; o++) r->positions[r->start[d] + o] = r->seen[o * step];
    return CR_OK;
}

/* The two taps around a position of a dimension of n elements, and the weight of the second. */
static int64_t FN(tap)(double position, int64_t n, real *second)
{
    int64_t first = (int64_t)position;
    if (first > n - 2) first = n - 2;
    if (first < 0) first = 0;
    *second = (real)(position - (double)first);
    return first;
}

/* Spreads dy[at] over the taps of dimensions d.. that are left. */
static void FN(resize_spread)(const FN(resizer) *r, const int64_t *index, int d, int64_t at,
                              real dy, real *dx)
{
    if (d == r->in.rank) {
        dx[at] += dy;
        return;
    }
    real second;
    const int64_t first = FN(tap)(r->positions[r->start[d] + index[d]], r->in.dim[d], &second);
    const int64_t here = at + first * r->strides[d];
    if (second != 1) FN(resize_spread)(r, index, d + 1, here, dy * (1 - second), dx);
    if (second != 0) FN(resize_spread)(r, index, d + 1, here + r->strides[d], dy * second, dx);
}

static void FN(resize_plane_slopes)(void *ctx, size_t index, int worker)
{
    const FN(resizer) *r = ctx;
    const real *dy = (const real *)r->c->d_out[0] + (int64_t)index * r->out_size;
    real *dx = (real *)r->c->d_in[0] + (int64_t)index * r->in_size;
    (void)worker;
    if (r->c->first[0]) memset(dx, 0, (size_t)r->in_size * sizeof *dx);
    cr_walk w = cr_walk_begin(&r->out);
    for (int64_t i = 0; i < r->out_size; i++, cr_walk_next(&w))
        FN(resize_spread)(r, w.index, 0, 0, dy[i], dx);
}

/* Planes of two dimensions: a line of the picture at a time. */
static void FN(resize_rows)(const FN(resizer) *r, size_t index, bool back)
{
    const int dy = r->in.rank - 2, dx = r->in.rank - 1;
    const int64_t w = r->in.dim[dx], wide = r->out.dim[dx];
    const real *x = (const real *)r->c->op.in[0]->data + (int64_t)index * r->in_size;
    real *y = (real *)r->c->op.out[0]->data + (int64_t)index * r->out_size;
    const real *slope = back ? (const real *)r->c->d_out[0] + (int64_t)index * r->out_size : NULL;
    real *to = back ? (real *)r->c->d_in[0] + (int64_t)index * r->in_size : NULL;
    if (back && r->c->first[0]) memset(to, 0, (size_t)r->in_size * sizeof *to);
    for (int64_t i = 0; i < r->out.dim[dy]; i++) {
        real low;
        const int64_t top = FN(tap)(r->positions[r->start[dy] + i], r->in.dim[dy], &low) * w;
        const int64_t down = low != 0 ? w : 0;
        for (int64_t k = 0; k < wide; k++) {
            real far;
            const int64_t at = top + FN(tap)(r->positions[r->start[dx] + k], w, &far);
            const int64_t next = far != 0 ? 1 : 0;
            if (!back) {
                const real upper = x[at] * (1 - far) + x[at + next] * far;
                const real lower = x[at + down] * (1 - far) + x[at + down + next] * far;
                y[i * wide + k] = upper * (1 - low) + lower * low;
                continue;
            }
            const real d = slope[i * wide + k], upper = d * (1 - low), lower = d * low;
            to[at] += upper * (1 - far);
            to[at + next] += upper * far;
            to[at + down] += lower * (1 - far);
            to[at + down + next] += lower * far;
        }
    }
}

static void FN(resize_forward_rows)(void *ctx, size_t index, int worker)
{
    (void)worker;
    FN(resize_rows)(ctx, index, false);
}

static void FN(resize_backward_rows)(void *ctx, size_t index, int worker)
{
    (void)worker;
    FN(resize_rows)(ctx, index, true);
}

/* All positions; *flat: what is resized has two dimensions. */
static cr_status FN(resize_look)(FN(resizer) *r, bool *flat, cr_error *err)
{
    *flat = r->in.rank >= 2;
    for (int d = 0; d < r->in.rank; d++) {
        CR_TRY(FN(resize_positions)(r, d, err));
        if (d < r->in.rank - 2 && (r->in.dim[d] != 1 || r->out.dim[d] != 1)) *flat = false;
    }
    return CR_OK;
}

static cr_status FN(resize_forward)(const cr_grad_call *c, cr_error *err)
{
    FN(repeat) r;
    if (FN(count)(c->op.in[0]) == 0 || FN(count)(c->op.out[0]) == 0) return CR_OK;
    if (FN(resize_repeats)(c, &r)) {
        r.from = c->op.in[0]->data;
        r.to = c->op.out[0]->data;
        cr_pool_run(c->pool, (size_t)cr_shape_span(&c->op.in[0]->shape, 0, 2), FN(repeat_plane),
                    &r);
        return CR_OK;
    }
    bool flat;
    FN(resizer) all = FN(resize_cut)(c);
    CR_TRY(FN(resize_look)(&all, &flat, err));
    if (!flat) return cr_op_eval(&c->op, err);
    cr_pool_run(c->pool, (size_t)all.planes, FN(resize_forward_rows), &all);
    return CR_OK;
}

static cr_status FN(resize_backward)(const cr_grad_call *c, cr_error *err)
{
    FN(repeat) r;
    if (!c->d_in[0] || FN(count)(c->op.in[0]) == 0) return CR_OK;
    if (FN(count)(c->op.out[0]) == 0) {
        if (c->first[0]) memset(c->d_in[0], 0, (size_t)FN(count)(c->op.in[0]) * sizeof(real));
        return CR_OK;
    }
    if (FN(resize_repeats)(c, &r)) {
        r.from = c->d_out[0];
        r.to = c->d_in[0];
        r.add = !c->first[0];
        cr_pool_run(c->pool, (size_t)cr_shape_span(&c->op.in[0]->shape, 0, 2), FN(repeat_sums),
                    &r);
        return CR_OK;
    }
    bool flat;
    FN(resizer) all = FN(resize_cut)(c);
    CR_TRY(FN(resize_look)(&all, &flat, err));
    cr_pool_run(c->pool, (size_t)all.planes, flat ? FN(resize_backward_rows)
                                                  : FN(resize_plane_slopes), &all);
    return CR_OK;
}
