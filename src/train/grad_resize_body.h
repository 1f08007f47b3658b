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

/* Scratch: a ramp of the input's size, its resized form, and the positions of each dimension. */
static size_t FN(resize_bytes)(const cr_grad_call *c, size_t part[3])
{
    const cr_shape *out = &c->op.out[0]->shape;
    int64_t sum = 0;
    for (int d = 0; d < out->rank; d++) sum += out->dim[d];
    part[0] = cr_round_up((size_t)FN(count)(c->op.in[0]) * sizeof(double), CR_ALIGN);
    part[1] = cr_round_up((size_t)FN(count)(c->op.out[0]) * sizeof(double), CR_ALIGN);
    part[2] = cr_round_up((size_t)sum * sizeof(double), CR_ALIGN);
    return part[0] + part[1] + part[2];
}

static cr_status FN(resize_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    size_t part[3];
    FN(repeat) r;
    CR_TRY(FN(resize_check)(c, err));
    *bytes = FN(resize_repeats)(c, &r) ? 0 : FN(resize_bytes)(c, part);
    return CR_OK;
}

static cr_status FN(resize_forward)(const cr_grad_call *c, cr_error *err)
{
    FN(repeat) r;
    if (FN(resize_repeats)(c, &r)) {
        r.from = c->op.in[0]->data;
        r.to = c->op.out[0]->data;
        cr_pool_run(c->pool, (size_t)cr_shape_span(&c->op.in[0]->shape, 0, 2), FN(repeat_plane),
                    &r);
        return CR_OK;
    }
    return cr_op_eval(&c->op, err);
}

/* Positions in the input of every output index along d. */
static cr_status FN(resize_positions)(const cr_grad_call *c, int d, double *ramp, double *seen,
                                      double *positions, cr_error *err)
{
    cr_tensor from = *c->op.in[0], to = *c->op.out[0];
    const cr_tensor *in[4] = {&from};
    cr_tensor *out[1] = {&to};
    from.dtype = to.dtype = CR_DT_F64;
    from.data = ramp;
    to.data = seen;
    for (int i = 1; i < c->op.n_in && i < 4; i++) in[i] = c->op.in[i];
    const cr_op_call op = {c->op.node, in, out, c->op.n_in, 1};
    const int64_t n = FN(count)(&from), after = cr_shape_span(&from.shape, d + 1, from.shape.rank);
    for (int64_t i = 0; i < n; i++) ramp[i] = (double)(i / after % from.shape.dim[d]);
    CR_TRY(cr_op_eval(&op, err));
    const int64_t step = cr_shape_span(&to.shape, d + 1, to.shape.rank);
    for (int64_t o = 0; o < to.shape.dim[d]; o++) positions[o] = seen[o * step];
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
static void FN(resize_spread)(const cr_shape *in, const int64_t *index, const int64_t *start,
                              const double *positions, const int64_t *strides, int d, int64_t at,
                              real dy, real *dx)
{
    if (d == in->rank) {
        dx[at] += dy;
        return;
    }
    real second;
    const int64_t first = FN(tap)(positions[start[d] + index[d]], in->dim[d], &second);
    const int64_t here = at + first * strides[d];
    if (second != 1)
        FN(resize_spread)(in, index, start, positions, strides, d + 1, here, dy * (1 - second), dx);
    if (second != 0)
        FN(resize_spread)(in, index, start, positions, strides, d + 1, here + strides[d],
                          dy * second, dx);
}

static cr_status FN(resize_backward)(const cr_grad_call *c, cr_error *err)
{
    const cr_shape *in = &c->op.in[0]->shape, *out = &c->op.out[0]->shape;
    const real *dy = c->d_out[0];
    size_t part[3];
    int64_t start[CR_MAX_RANK], strides[CR_MAX_RANK], total = 0;
    if (!c->d_in[0] || FN(count)(c->op.in[0]) == 0) return CR_OK;
    FN(repeat) r;
    if (FN(resize_repeats)(c, &r)) {
        r.from = dy;
        r.to = c->d_in[0];
        r.add = !c->first[0];
        cr_pool_run(c->pool, (size_t)cr_shape_span(in, 0, 2), FN(repeat_sums), &r);
        return CR_OK;
    }
    if (c->first[0]) memset(c->d_in[0], 0, (size_t)FN(count)(c->op.in[0]) * sizeof(real));
    if (FN(count)(c->op.out[0]) == 0) return CR_OK;
    FN(resize_bytes)(c, part);
    double *ramp = c->scratch, *seen = ramp + part[0] / sizeof(double);
    double *positions = seen + part[1] / sizeof(double);
    for (int d = 0; d < in->rank; d++) {
        start[d] = total;
        CR_TRY(FN(resize_positions)(c, d, ramp, seen, positions + total, err));
        total += out->dim[d];
    }
    cr_shape_strides(in, strides);
    cr_walk w = cr_walk_begin(out);
    const int64_t n = FN(count)(c->op.out[0]);
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w))
        FN(resize_spread)(in, w.index, start, positions, strides, 0, 0, dy[i], c->d_in[0]);
    return CR_OK;
}
