/* Random networks of the kind that detectors are made of. */
#ifndef CR_TESTS_RANDOM_NET_H
#define CR_TESTS_RANDOM_NET_H

#include <math.h>

#include "unit/graphs.h"

enum { NET_TENSORS = 96 };

typedef struct net {
    cr_graph *g;
    cr_rng r;
    cr_tensor *live[NET_TENSORS]; /* float tensors to build on */
    int n_live;
    bool exact; /* no operator whose sums depend on their order in floats */
} net;

static inline int roll(net *t, int lo, int hi) /* lo..hi */
{
    return lo + (int)cr_rng_below(&t->r, (uint32_t)(hi - lo + 1));
}

static inline cr_tensor *keep(net *t, cr_tensor *x)
{
    if (t->n_live < NET_TENSORS && cr_shape_count(&x->shape) > 0) t->live[t->n_live++] = x;
    return x;
}

static inline cr_tensor *pick_rank(net *t, int rank)
{
    for (int tries = 0; tries < 24; tries++) {
        /* later tensors more often: deep rather than wide */
        const int a = roll(t, 0, t->n_live - 1), b = roll(t, 0, t->n_live - 1);
        cr_tensor *x = t->live[a > b ? a : b];
        if (x->shape.rank == rank) return x;
    }
    return NULL;
}

/* ---- operators ---- */

static inline cr_tensor *random_activation(net *t, cr_tensor *x)
{
    static const cr_op_kind kinds[] = {CR_OP_Relu,  CR_OP_Sigmoid,   CR_OP_HardSwish,   CR_OP_Swish,
                                       CR_OP_Swish, CR_OP_LeakyRelu, CR_OP_HardSigmoid, CR_OP_Clip,
                                       CR_OP_Swish, CR_OP_Clip,      CR_OP_Tanh,        CR_OP_Elu};
    const int which = roll(t, 0, t->exact ? 9 : 11); /* Tanh and Elu: their kernels' own rounding */
    cr_node *n;
    if (kinds[which] == CR_OP_Clip) {
        cr_tensor *lo = cr_graph_const_f32(t->g, "lo", -.5f);
        cr_tensor *hi = which == 7 ? cr_graph_const_f32(t->g, "hi", 2.f) : NULL;
        n = graph_node(t->g, CR_OP_Clip, 1, 3, x, lo, hi);
    } else {
        n = graph_node(t->g, kinds[which], 1, 1, x);
    }
    if (which == 8) attr_float(n, "alpha", 1.5f);
    if (kinds[which] == CR_OP_LeakyRelu && roll(t, 0, 1)) attr_float(n, "alpha", .2f);
    if (kinds[which] == CR_OP_HardSigmoid && roll(t, 0, 1)) attr_float(n, "alpha", 1.f / 6);
    return done(n);
}

/* y by a power of two per channel, or now and then by what is none. */
static inline cr_tensor *random_scaling(net *t, cr_tensor *y)
{
    const int c = (int)y->shape.dim[1], form = roll(t, 0, 3);
    const cr_shape s = form == 0   ? shape_of(1, 1)
                       : form == 1 ? shape_of(3, c, 1, 1)
                                   : shape_of(4, 1, c, 1, 1);
    cr_tensor *f = cr_graph_new_const(t->g, "factors", CR_DT_F32, s);
    for (int64_t i = 0; i < cr_shape_count(&s); i++)
        ((float *)f->data)[i] = ldexpf(1, roll(t, -3, 2));
    if (roll(t, 0, 5) == 0) *(float *)f->data = 1.25f;
    return roll(t, 0, 1) ? apply2(t->g, CR_OP_Mul, y, f) : apply2(t->g, CR_OP_Mul, f, y);
}

static inline void random_conv(net *t)
{
    cr_tensor *x = pick_rank(t, 4);
    if (!x) return;
    const int c = (int)x->shape.dim[1], h = (int)x->shape.dim[2], w = (int)x->shape.dim[3];
    int k[2] = {roll(t, 1, 5), roll(t, 1, 5)}, d[2] = {roll(t, 1, 2), roll(t, 1, 2)};
    if (roll(t, 0, 2)) k[0] = k[1] = roll(t, 0, 1) ? 3 : 1;
    const int p[4] = {roll(t, 0, 2), roll(t, 0, 2), roll(t, 0, 2), roll(t, 0, 2)};
    while ((k[0] - 1) * d[0] + 1 > h + p[0] + p[2]) k[0] = d[0] = 1;
    while ((k[1] - 1) * d[1] + 1 > w + p[1] + p[3]) k[1] = d[1] = 1;
    int groups = 1, cout = roll(t, 1, 40);
    const int form = roll(t, 0, 4);
    if (form == 0) {
        groups = c; /* depthwise, sometimes with a multiplier */
        cout = c * (roll(t, 0, 3) ? 1 : 2);
    } else if (form == 1 && c % 2 == 0) {
        groups = c % 4 == 0 && roll(t, 0, 1) ? 4 : 2;
        cout = groups * roll(t, 1, 9);
    }
    const double range = 1.7 / sqrt((double)(c / groups * k[0] * k[1]));
    cr_tensor *weight =
        const_random(t->g, &t->r, "w", shape_of(4, cout, c / groups, k[0], k[1]), -range, range);
    cr_tensor *bias = const_random(t->g, &t->r, "b", shape_of(1, cout), -.5, .5);
    cr_node *n = graph_node(t->g, CR_OP_Conv, 1, roll(t, 0, 3) ? 3 : 2, x, weight, bias);
    attr_int(n, "group", groups);
    attr_ints(t->g, n, "pads", 4, p[0], p[1], p[2], p[3]);
    attr_ints(t->g, n, "strides", 2, roll(t, 1, 2), roll(t, 1, 2));
    attr_ints(t->g, n, "dilations", 2, d[0], d[1]);
    cr_tensor *y = keep(t, done(n));
    if (roll(t, 0, 9) < 6) y = keep(t, random_activation(t, y));
    if (roll(t, 0, 5) == 0) keep(t, random_scaling(t, y));
}

static inline void random_unary(net *t)
{
    keep(t, random_activation(t, t->live[roll(t, 0, t->n_live - 1)]));
}

static inline void random_binary(net *t)
{
    static const cr_op_kind kinds[] = {CR_OP_Add, CR_OP_Mul, CR_OP_Sub, CR_OP_Div, CR_OP_Max};
    cr_tensor *a = t->live[roll(t, 0, t->n_live - 1)], *b = NULL;
    cr_op_kind kind = kinds[roll(t, 0, 4)];
    for (int i = t->n_live - 1; i >= 0 && !b && roll(t, 0, 1); i--)
        if (t->live[i] != a && cr_shape_equal(&t->live[i]->shape, &a->shape)) b = t->live[i];
    if (b && kind == CR_OP_Div) kind = CR_OP_Add; /* would divide by values near 0 */
    if (!b) {
        cr_shape s = {.rank = 0};
        const int form = roll(t, 0, 5), r = a->shape.rank;
        if (form == 0) s = shape_of(1, 1);
        if (form == 1 && r == 4) s = shape_of(3, (int)a->shape.dim[1], 1, 1);
        if (form == 2 && r == 4) s = shape_of(4, 1, (int)a->shape.dim[1], 1, 1);
        if (form == 3 && r > 0) s = shape_of(1, (int)a->shape.dim[r - 1]);
        if (form == 4) s = a->shape;
        for (int d = 0; form == 5 && d < r; d++, s.rank++)
            s.dim[d] = roll(t, 0, 1) ? a->shape.dim[d] : 1;
        b = const_random(t->g, &t->r, "c", s, .5, 1.5);
    }
    const bool swap = kind != CR_OP_Div && roll(t, 0, 1);
    keep(t, apply2(t->g, kind, swap ? b : a, swap ? a : b));
}

/* Computed operands of different shapes: a picture by its channels' means, a row by a column. */
static inline void random_broadcast(net *t)
{
    static const cr_op_kind kinds[] = {CR_OP_Add,
                                       CR_OP_Mul}; /* x - mean(x) would cancel to nothing */
    cr_tensor *x = pick_rank(t, roll(t, 3, 4));
    if (!x) return;
    int from[4] = {0}, to[4], step[4] = {1, 1, 1, 1}, axes[4] = {0, 1, 2, 3};
    for (int d = 0; d < x->shape.rank; d++) to[d] = roll(t, 0, 1) ? (int)x->shape.dim[d] : 1;
    cr_tensor *part;
    if (x->shape.rank == 4 && roll(t, 0, 1))
        part = apply1(t->g, CR_OP_GlobalAveragePool, x);
    else if (x->shape.rank == 4)
        part = done(graph_node(t->g, CR_OP_Slice, 1, 5, x,
                               const_ints(t->g, 4, from[0], from[1], from[2], from[3]),
                               const_ints(t->g, 4, to[0], to[1], to[2], to[3]),
                               const_ints(t->g, 4, axes[0], axes[1], axes[2], axes[3]),
                               const_ints(t->g, 4, step[0], step[1], step[2], step[3])));
    else
        part = done(graph_node(t->g, CR_OP_Slice, 1, 4, x, const_ints(t->g, 3, 0, 0, 0),
                               const_ints(t->g, 3, to[0], to[1], to[2]),
                               const_ints(t->g, 3, 0, 1, 2)));
    const bool swap = roll(t, 0, 1);
    keep(t, apply2(t->g, kinds[roll(t, 0, 1)], swap ? part : x, swap ? x : part));
}

/* Functions that run by vector kernels; the exact ones only where bits are compared. */
static inline void random_function(net *t)
{
    static const cr_op_kind kinds[] = {CR_OP_Neg, CR_OP_Erf, CR_OP_Gelu, CR_OP_Exp};
    cr_tensor *x = t->live[roll(t, 0, t->n_live - 1)];
    if (roll(t, 0, 2) == 0) {
        keep(t, apply2(t->g, CR_OP_Pow, x, cr_graph_const_f32(t->g, "two", 2)));
        return;
    }
    if (!t->exact && roll(t, 0, 3) == 0) { /* Gelu in five operators */
        cr_tensor *e = apply2(t->g, CR_OP_Div, x, cr_graph_const_f32(t->g, "root", 1.41421356f));
        e = apply1(t->g, CR_OP_Erf, e);
        e = apply2(t->g, CR_OP_Add, e, cr_graph_const_f32(t->g, "one", roll(t, 0, 3) ? 1 : 2));
        e = roll(t, 0, 1) ? apply2(t->g, CR_OP_Mul, x, e) : apply2(t->g, CR_OP_Mul, e, x);
        keep(t, apply2(t->g, CR_OP_Mul, e, cr_graph_const_f32(t->g, "half", .5f)));
        return;
    }
    const cr_op_kind kind = kinds[t->exact ? 0 : roll(t, 0, 3)];
    if (kind == CR_OP_Exp) x = apply1(t->g, CR_OP_Tanh, x); /* large values would drown the rest */
    keep(t, apply1(t->g, kind, x));
}

/* Over neighbouring dims, or over the outermost and the innermost. */
static inline void random_reduction(net *t)
{
    static const cr_op_kind kinds[] = {CR_OP_ReduceMean, CR_OP_ReduceSum, CR_OP_ReduceMax};
    cr_tensor *x = pick_rank(t, roll(t, 3, 4));
    if (!x) return;
    const int r = x->shape.rank, pixels = r == 4 && roll(t, 0, 1);
    const int from = pixels ? 2 : roll(t, 0, r - 1), to = pixels ? 3 : roll(t, from, r - 1);
    const cr_op_kind kind = kinds[roll(t, 0, 2)];
    cr_node *n = graph_node(t->g, kind, 1, 2, x,
                            from < to ? const_ints(t->g, 2, from, to) : const_ints(t->g, 1, from - r));
    attr_int(n, "keepdims", roll(t, 0, 1));
    cr_tensor *y = done(n);
    /* sums grow; what follows should not */
    keep(t, kind == CR_OP_ReduceSum
                ? apply2(t->g, CR_OP_Mul, y, cr_graph_const_f32(t->g, "small", .05f))
                : y);
}

/* A large epsilon: a small one blows the rounding of almost equal inputs up. */
static inline void random_norm(net *t)
{
    cr_tensor *x = pick_rank(t, roll(t, 3, 4));
    if (!x || t->exact) return;
    const bool pixels = x->shape.rank == 4 && roll(t, 0, 1);
    const int size = (int)x->shape.dim[pixels ? 1 : x->shape.rank - 1];
    cr_tensor *scale = const_random(t->g, &t->r, "scale", shape_of(1, size), .5, 1.5);
    cr_tensor *bias = const_random(t->g, &t->r, "bias", shape_of(1, size), -.5, .5);
    cr_node *n = graph_node(t->g, pixels ? CR_OP_InstanceNormalization : CR_OP_LayerNormalization, 1,
                            pixels || roll(t, 0, 1) ? 3 : 2, x, scale, bias);
    attr_float(n, "epsilon", .1f);
    keep(t, done(n));
}

static inline void random_split(net *t)
{
    cr_tensor *x = pick_rank(t, 4);
    if (!x || x->shape.dim[1] < 3) return;
    const int c = (int)x->shape.dim[1], a = roll(t, 1, c - 2), b = roll(t, 1, c - a - 1);
    const bool three = roll(t, 0, 1);
    cr_tensor *sizes = three ? const_ints(t->g, 3, a, b, c - a - b) : const_ints(t->g, 2, a, c - a);
    cr_node *n = graph_node(t->g, CR_OP_Split, three ? 3 : 2, 2, x, sizes);
    attr_int(n, "axis", roll(t, 0, 1) ? 1 : -3);
    done(n);
    for (int k = 0; k < n->n_out; k++) keep(t, n->out[k]);
}

static inline void random_slice(net *t)
{
    cr_tensor *x = pick_rank(t, roll(t, 0, 4) ? 4 : 3);
    if (!x) return;
    const int axis = roll(t, 0, 2) ? 1 : roll(t, 0, x->shape.rank - 1);
    const int size = (int)x->shape.dim[axis], from = roll(t, 0, size - 1);
    const int to = roll(t, from + 1, size), step = roll(t, 0, 2) ? 1 : 2;
    keep(t, done(graph_node(t->g, CR_OP_Slice, 1, 5, x,
                            const_ints(t->g, 1, from - (roll(t, 0, 1) ? size : 0)),
                            const_ints(t->g, 1, to == size ? 9999 : to), const_ints(t->g, 1, axis),
                            const_ints(t->g, 1, step))));
}

static inline void random_concat(net *t)
{
    cr_tensor *x = pick_rank(t, 4), *in[4];
    if (!x) return;
    const int axis = roll(t, 0, 5) ? 1 : 2;
    int n = 0, channels = 0;
    for (int tries = 0; tries < 40 && n < roll(t, 2, 4); tries++) {
        cr_tensor *y = n ? t->live[roll(t, 0, t->n_live - 1)] : x;
        cr_shape s = y->shape;
        if (s.rank != 4 || channels + s.dim[1] > 90) continue;
        s.dim[axis] = x->shape.dim[axis];
        if (!cr_shape_equal(&s, &x->shape)) continue;
        channels += (int)y->shape.dim[1];
        in[n++] = y;
    }
    if (n < 1) return;
    cr_node *c = graph_node(t->g, CR_OP_Concat, 1, n, in[0], in[n > 1], in[n > 2 ? 2 : 0],
                            in[n > 3 ? 3 : 0]);
    attr_int(c, "axis", axis == 1 && roll(t, 0, 1) ? -3 : axis);
    keep(t, done(c));
}

static inline void random_pool(net *t)
{
    cr_tensor *x = pick_rank(t, 4);
    if (!x) return;
    const int form = roll(t, 0, 4);
    if (form == 0) {
        keep(t, apply1(t->g, CR_OP_GlobalAveragePool, x));
        return;
    }
    int k = roll(t, 2, 5);
    if (k > x->shape.dim[2] || k > x->shape.dim[3]) k = 1;
    cr_node *n = graph_node(t->g, form == 1 ? CR_OP_AveragePool : CR_OP_MaxPool, 1, 1, x);
    const int p = k / 2 ? roll(t, 0, k / 2) : 0, s = roll(t, 1, 2);
    attr_ints(t->g, n, "kernel_shape", 2, k, k);
    attr_ints(t->g, n, "pads", 4, p, p, p, p);
    attr_ints(t->g, n, "strides", 2, s, s);
    attr_int(n, "count_include_pad", roll(t, 0, 1));
    keep(t, done(n));
}

/* Bilinear sampling of a picture at random places, some of them outside. */
static inline void random_sample(net *t)
{
    cr_tensor *x = pick_rank(t, 4);
    if (!x) return;
    const int h = roll(t, 1, 9), w = roll(t, 1, 9);
    cr_tensor *grid =
        const_random(t->g, &t->r, "grid", shape_of(4, (int)x->shape.dim[0], h, w, 2), -1.3, 1.3);
    cr_node *n = graph_node(t->g, CR_OP_GridSample, 1, 2, x, grid);
    attr_string(t->g, n, "mode", "linear");
    attr_string(t->g, n, "padding_mode", roll(t, 0, 1) ? "zeros" : "border");
    attr_int(n, "align_corners", roll(t, 0, 1));
    keep(t, done(n));
}

static inline void random_pad(net *t)
{
    cr_tensor *x = pick_rank(t, 4);
    if (!x || x->shape.dim[2] > 20) return;
    cr_tensor *pads = const_ints(t->g, 8, 0, 0, roll(t, 0, 2), roll(t, 0, 2), 0, 0, roll(t, 0, 2),
                                 roll(t, 0, 2));
    keep(t, done(graph_node(t->g, CR_OP_Pad, 1, roll(t, 2, 3), x, pads,
                            cr_graph_const_f32(t->g, "value", .25f))));
}

static inline void random_resize(net *t)
{
    cr_tensor *x = pick_rank(t, 4);
    if (!x || x->shape.dim[2] > 12 || x->shape.dim[3] > 12) return;
    cr_tensor *scales = cr_graph_new_const(t->g, "scales", CR_DT_F32, shape_of(1, 4));
    const float v[4] = {1, 1, 2, roll(t, 0, 2) ? 2 : 1.5f};
    memcpy(scales->data, v, sizeof v);
    cr_node *n = graph_node(t->g, CR_OP_Resize, 1, 3, x, NULL, scales);
    static const char *const modes[] = {"asymmetric", "half_pixel", "align_corners",
                                        "pytorch_half_pixel"};
    const bool smooth = !t->exact && roll(t, 0, 1);
    attr_string(t->g, n, "mode", smooth ? "linear" : "nearest");
    attr_string(t->g, n, "coordinate_transformation_mode", modes[roll(t, 0, smooth ? 3 : 1)]);
    attr_string(t->g, n, "nearest_mode", "floor");
    keep(t, done(n));
}

static inline void random_layout(net *t)
{
    cr_tensor *x = t->live[roll(t, 0, t->n_live - 1)];
    if (x->shape.rank == 4 && roll(t, 0, 1)) {
        const int n = (int)x->shape.dim[0], c = (int)x->shape.dim[1];
        keep(t, apply2(t->g, CR_OP_Reshape, x, const_ints(t->g, 3, n, c, -1)));
    } else if (x->shape.rank == 4) {
        static const int perms[3][4] = {{0, 2, 3, 1}, {0, 1, 3, 2}, {0, 3, 1, 2}};
        const int *p = perms[roll(t, 0, 2)];
        cr_node *n = graph_node(t->g, CR_OP_Transpose, 1, 1, x);
        attr_ints(t->g, n, "perm", 4, p[0], p[1], p[2], p[3]);
        keep(t, done(n));
    } else if (x->shape.rank == 3) {
        cr_node *n = graph_node(t->g, CR_OP_Transpose, 1, 1, x);
        attr_ints(t->g, n, "perm", 3, 0, 2, 1);
        keep(t, done(n));
    }
}

/* A detection head's end: pictures of as many channels side by side as rows of channels. */
static inline void random_flatten(net *t)
{
    cr_tensor *x = pick_rank(t, 4), *flat[3];
    if (!x) return;
    const int parts = roll(t, 1, 3), c = roll(t, 1, 20), again = roll(t, 0, 5) == 0;
    cr_tensor *y = NULL;
    for (int i = 0; i < parts; i++) {
        if (!y || !again) {
            const int from = (int)x->shape.dim[1];
            cr_tensor *w = const_random(t->g, &t->r, "w", shape_of(4, c, from, 1, 1), -.4, .4);
            y = apply2(t->g, CR_OP_Conv, x, w);
            if (roll(t, 0, 1)) y = random_activation(t, y);
            if (roll(t, 0, 5) == 0) keep(t, y);
        }
        flat[i] = apply2(t->g, CR_OP_Reshape, y,
                         const_ints(t->g, 3, (int)y->shape.dim[0], c, -1));
    }
    cr_node *join = graph_node(t->g, CR_OP_Concat, 1, parts, flat[0], flat[parts > 1],
                               flat[parts > 2 ? 2 : 0]);
    attr_int(join, "axis", roll(t, 0, 1) ? 2 : -1);
    cr_node *turn = graph_node(t->g, CR_OP_Transpose, 1, 1, done(join));
    attr_ints(t->g, turn, "perm", 3, 0, 2, 1);
    keep(t, done(turn));
}

/* Copies, stretched dims, one index of a dim. */
static inline void random_repeat(net *t)
{
    cr_tensor *x = pick_rank(t, roll(t, 3, 4));
    if (!x || cr_shape_count(&x->shape) > 8000) return;
    const int r = x->shape.rank, form = roll(t, 0, 2), axis = roll(t, 0, r - 1);
    if (form == 0) {
        cr_tensor *index = cr_graph_new_const(t->g, "index", CR_DT_I64, shape_of(0));
        *(int64_t *)index->data = roll(t, -1, (int)x->shape.dim[axis] - 1);
        cr_node *n = graph_node(t->g, CR_OP_Gather, 1, 2, x, index);
        attr_int(n, "axis", roll(t, 0, 1) ? axis : axis - r);
        keep(t, done(n));
    } else if (form == 1) {
        cr_tensor *many = r == 4 ? const_ints(t->g, 4, 1, roll(t, 1, 2), roll(t, 1, 2), roll(t, 1, 3))
                                 : const_ints(t->g, 3, 1, roll(t, 1, 3), roll(t, 1, 2));
        keep(t, apply2(t->g, CR_OP_Tile, x, many));
    } else {
        cr_tensor *y = x;
        if (r == 4) y = apply1(t->g, CR_OP_GlobalAveragePool, x);
        const cr_shape *s = &y->shape;
        cr_tensor *wide = r == 4 ? const_ints(t->g, 4, (int)s->dim[0], (int)s->dim[1], 3, 5)
                                 : const_ints(t->g, 4, 2, (int)s->dim[0], (int)s->dim[1], 1);
        keep(t, apply2(t->g, CR_OP_Expand, y, wide));
    }
}

static inline cr_tensor *swap_last(net *t, cr_tensor *x)
{
    cr_node *n = graph_node(t->g, CR_OP_Transpose, 1, 1, x);
    if (x->shape.rank == 3)
        attr_ints(t->g, n, "perm", 3, 0, 2, 1);
    else
        attr_ints(t->g, n, "perm", 4, 0, 1, 3, 2);
    return done(n);
}

/* x * W, sometimes with a bias and an activation behind it; or x as a matrix through Gemm. */
static inline void random_dense(net *t, cr_tensor *x, int k)
{
    const int cols = roll(t, 1, 3) == 1 ? roll(t, 1, 50) : roll(t, 1, 12);
    if (roll(t, 0, 2) == 0) {
        const int turn = roll(t, 0, 1);
        cr_tensor *m = const_random(t->g, &t->r, "w",
                                    turn ? shape_of(2, cols, k) : shape_of(2, k, cols), -.2, .2);
        cr_tensor *rows = apply2(t->g, CR_OP_Reshape, x, const_ints(t->g, 2, -1, k));
        cr_tensor *b = const_random(t->g, &t->r, "b", shape_of(1, cols), -.5, .5);
        cr_node *n = graph_node(t->g, CR_OP_Gemm, 1, roll(t, 0, 2) ? 3 : 2, rows, m, b);
        attr_int(n, "transB", turn);
        if (!t->exact && roll(t, 0, 3) == 0) attr_float(n, "alpha", .5f);
        keep(t, done(n));
        return;
    }
    cr_tensor *m = const_random(t->g, &t->r, "w", shape_of(2, k, cols), -.2, .2);
    cr_tensor *y = apply2(t->g, CR_OP_MatMul, x, m);
    if (roll(t, 0, 1)) {
        cr_tensor *b = const_random(t->g, &t->r, "b", shape_of(1, cols), -.5, .5);
        y = roll(t, 0, 1) ? apply2(t->g, CR_OP_Add, y, b) : apply2(t->g, CR_OP_Add, b, y);
    }
    keep(t, roll(t, 0, 2) ? y : random_activation(t, y));
}

/* Products of computed tensors, as attention has them: scores of x with itself, then x by them. */
static inline void random_product(net *t)
{
    cr_tensor *x = pick_rank(t, 3);
    if (!x || x->shape.dim[1] > 80 || x->shape.dim[2] > 80) return;
    const int n = (int)x->shape.dim[0], c = (int)x->shape.dim[1], w = (int)x->shape.dim[2];
    const bool columns = roll(t, 0, 1), turned = roll(t, 0, 1);
    if (c % 2 == 0 && roll(t, 0, 1)) /* two heads */
        x = apply2(t->g, CR_OP_Reshape, x, const_ints(t->g, 4, n, 2, c / 2, w));
    cr_tensor *y = columns ? apply2(t->g, CR_OP_MatMul, swap_last(t, x), x)
                           : apply2(t->g, CR_OP_MatMul, x, swap_last(t, x));
    keep(t, y = apply2(t->g, CR_OP_Mul, y, cr_graph_const_f32(t->g, "scale", .2f)));
    if (!t->exact) {
        cr_node *s = graph_node(t->g, CR_OP_Softmax, 1, 1, y);
        attr_int(s, "axis", -1);
        y = done(s);
    }
    if (turned) y = swap_last(t, y);
    keep(t, columns ? apply2(t->g, CR_OP_MatMul, x, y) : apply2(t->g, CR_OP_MatMul, y, x));
}

static inline void random_rank3(net *t)
{
    cr_tensor *x = pick_rank(t, 3);
    if (!x) return;
    const int c = (int)x->shape.dim[1], w = (int)x->shape.dim[2];
    const int form = roll(t, 0, 3);
    if (form == 0 && c <= 100 && w >= 3) { /* a one-dimensional convolution */
        const int cout = roll(t, 1, 8);
        cr_tensor *k = const_random(t->g, &t->r, "w", shape_of(3, cout, c, 3), -.3, .3);
        cr_tensor *b = const_random(t->g, &t->r, "b", shape_of(1, cout), -.3, .3);
        cr_node *n = graph_node(t->g, CR_OP_Conv, 1, 3, x, k, b);
        attr_ints(t->g, n, "pads", 2, 1, 1);
        keep(t, done(n));
    } else if (form == 1 && w <= 400) {
        random_dense(t, x, w);
    } else if (form == 2 && c * w % 2 == 0 && w % 2 == 0) {
        keep(t, apply2(t->g, CR_OP_Reshape, x,
                       const_ints(t->g, 4, (int)x->shape.dim[0], c, 2, w / 2)));
    } else if (!t->exact) {
        cr_node *n = graph_node(t->g, CR_OP_Softmax, 1, 1, x);
        attr_int(n, "axis", roll(t, 1, 2));
        keep(t, done(n));
    }
}

static inline void random_rare(net *t)
{
    cr_tensor *x = pick_rank(t, 4);
    if (!x || x->shape.dim[2] > 10 || x->shape.dim[3] > 30) return;
    const int c = (int)x->shape.dim[1], cout = roll(t, 1, 6), groups = c % 2 || roll(t, 0, 4) ? 1 : 2;
    const bool usual = roll(t, 0, 1);
    const int k[2] = {usual ? 2 : roll(t, 1, 5), usual ? 2 : roll(t, 1, 5)};
    cr_tensor *w =
        const_random(t->g, &t->r, "w", shape_of(4, c, cout, k[0], k[1]), -.5 / groups, .5 / groups);
    cr_tensor *b = const_random(t->g, &t->r, "b", shape_of(1, cout * groups), -.5, .5);
    cr_node *n = graph_node(t->g, CR_OP_ConvTranspose, 1, roll(t, 0, 1) ? 2 : 3, x, w, b);
    const int s[2] = {usual ? 2 : roll(t, 1, 3), usual ? 2 : roll(t, 1, 3)};
    attr_ints(t->g, n, "strides", 2, s[0], s[1]);
    attr_int(n, "group", groups);
    if (!usual) {
        const int d[2] = {roll(t, 1, 2), roll(t, 1, 2)};
        attr_ints(t->g, n, "dilations", 2, d[0], d[1]);
        attr_ints(t->g, n, "pads", 4, roll(t, 0, 1) * (k[0] > 2), roll(t, 0, 1) * (k[1] > 2),
                  roll(t, 0, 1) * (k[0] > 2), roll(t, 0, 1) * (k[1] > 2));
        attr_ints(t->g, n, "output_padding", 2, roll(t, 0, s[0] - 1), roll(t, 0, s[1] - 1));
    }
    cr_tensor *y = keep(t, done(n));
    if (roll(t, 0, 1)) keep(t, random_activation(t, y));
}

/* Positions of the positive inputs: how many there are is known at run time only. */
static inline void random_tail(net *t)
{
    cr_tensor *x = apply1(t->g, CR_OP_Relu, t->g->inputs[0]);
    cr_tensor *at = apply1(t->g, CR_OP_NonZero, x);
    cr_node *n = graph_node(t->g, CR_OP_Cast, 1, 1, at);
    attr_int(n, "to", 1);
    done(n);
    graph_output(t->g, at);
    graph_output(t->g, apply1(t->g, CR_OP_Identity, n->out[0]));
}

static inline bool is_read(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k] == t) return true;
    return false;
}

/* exact: without operators whose float result depends on the order of summing. */
static inline cr_graph *random_net(uint64_t seed, bool exact, bool dynamic_tail)
{
    static void (*const ops[])(net *) = {
        random_conv,   random_conv,  random_conv,    random_unary,     random_binary,
        random_binary, random_split, random_slice,   random_concat,    random_concat,
        random_concat, random_pool,  random_resize,  random_layout,    random_rank3,
        random_rare,   random_rank3, random_product, random_broadcast, random_function,
                                         random_reduction, random_norm,
                                         random_sample, random_pad, random_flatten};
    net t = {.g = graph_new(), .exact = exact};
    cr_rng_seed(&t.r, seed);
    const int batch = roll(&t, 0, 3) ? 1 : 2;
    keep(&t, graph_input(t.g, "x",
                         shape_of(4, batch, roll(&t, 1, 20), roll(&t, 4, 17), roll(&t, 4, 17))));
    random_conv(&t);
    for (int n = roll(&t, 3, 16); n > 0; n--) {
        const size_t before = t.g->node_count;
        ops[roll(&t, 0, exact ? 24 : 23)](&t); /* the last one is for programs with a recipe */
        if (t.g->node_count == before) n++;
        if (cr_shape_count(&t.live[t.n_live - 1]->shape) > 60000) break;
    }
    for (int i = 0; i < t.n_live; i++) {
        const bool inner = is_read(t.g, t.live[i]);
        if (t.live[i] != t.g->inputs[0] && (!inner || roll(&t, 0, 9) == 0) &&
            t.g->output_count < GRAPH_IO - 4)
            graph_output(t.g, t.live[i]);
    }
    if (dynamic_tail) random_tail(&t);
    cr_error err;
    if (cr_graph_index(t.g, &err) != CR_OK) graph_fail("index", err.message);
    if (cr_graph_compact(t.g, &err) != CR_OK) graph_fail("compact", err.message);
    return t.g;
}

#endif
