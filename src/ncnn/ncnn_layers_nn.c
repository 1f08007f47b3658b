/* Layers with weights, pooling, norms, resizing. */
#include <math.h>
#include <string.h>

#include "graph/nn_rules.h"
#include "ncnn/ncnn_out.h"

enum { H = 1, W = 2 }; /* of a window's three dimensions */

static cr_op_call call_of(const cr_node *n)
{
    return (cr_op_call){n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
}

/* ---- activations inside a layer ---- */

static bool is_number(const cr_tensor *t)
{
    return t && t->data && cr_shape_count(&t->shape) == 1;
}

/* Type and numbers of what ncnn's layers can do to their result; 0: not this one. */
static int activation_of(const cr_node *n, float v[2], size_t *count)
{
    *count = 0;
    switch (n->op->kind) {
    case CR_OP_Relu: return 1;
    case CR_OP_LeakyRelu:
        v[(*count)++] = cr_attr_float(n, "alpha", .01f);
        return 2;
    case CR_OP_Clip:
        if (n->n_in < 3 || !is_number(n->in[1]) || !is_number(n->in[2])) return 0;
        for (int k = 1; k < 3; k++) v[(*count)++] = (float)cr_tensor_get_f64(n->in[k], 0);
        return 3;
    case CR_OP_Sigmoid: return 4;
    case CR_OP_Mish: return 5;
    case CR_OP_HardSwish:
        v[0] = 1 / 6.f;
        v[1] = .5f;
        *count = 2;
        return 6;
    default: return 0;
    }
}

/* Output 0 of the layer that writes the node, or of what alone reads it if that can be part of the
 * layer (keys 9 and 10). */
static bool finish(cr_ncnn_out *w, cr_ncnn_layer *l)
{
    const cr_tensor *y = w->n->out[0];
    const cr_node *next = w->reader[y->id];
    float v[2];
    size_t count;
    const int type = next && next->in[0] == y ? activation_of(next, v, &count) : 0;
    if (!type) return cr_ncnn_gives(w, l, 0, y);
    w->merged[next->index] = true;
    return cr_ncnn_int(w, l, 9, type) && (!count || cr_ncnn_floats(w, l, 10, v, count)) &&
           cr_ncnn_gives(w, l, 0, next->out[0]);
}

/* ---- convolutions ---- */

typedef struct pair {
    int key;
    int64_t value;
} pair;

static bool put_ints(cr_ncnn_out *w, cr_ncnn_layer *l, const pair *pairs, size_t n)
{
    bool ok = true;
    for (size_t i = 0; i < n; i++) ok = ok && cr_ncnn_int(w, l, pairs[i].key, pairs[i].value);
    return ok;
}

static bool put_window(cr_ncnn_out *w, cr_ncnn_layer *l, const cr_conv_shape *c, bool bias)
{
    const cr_window *s = &c->win;
    const pair pairs[] = {{0, c->out_channels},   {1, s->kernel[W]},  {11, s->kernel[H]},
                          {2, s->dilation[W]},    {12, s->dilation[H]}, {3, s->stride[W]},
                          {13, s->stride[H]},     {4, s->pad_lo[W]},  {14, s->pad_lo[H]},
                          {15, s->pad_hi[W]},     {16, s->pad_hi[H]}, {5, bias},
                          {6, cr_shape_count(&w->n->in[1]->shape)}, {7, c->groups}};
    return put_ints(w, l, pairs, sizeof pairs / sizeof *pairs - (c->groups == 1));
}

static cr_status bias_of(const cr_node *n, int k, int64_t count, const float **out, cr_error *err)
{
    const cr_tensor *t = k < n->n_in ? n->in[k] : NULL;
    *out = NULL;
    if (!t) return CR_OK;
    CR_CHECK(t->data && t->dtype == CR_DT_F32 && cr_shape_count(&t->shape) == count, err,
             CR_ERR_UNSUPPORTED, "bias '%.80s' that is no constant of one number per output", t->name);
    *out = t->data;
    return CR_OK;
}

static cr_status planes_only(const cr_tensor *t, cr_error *err)
{
    CR_CHECK(t->shape.rank == 4 && t->shape.dim[0] == 1, err, CR_ERR_UNSUPPORTED,
             "of a tensor that is not one picture");
    return CR_OK;
}

cr_status cr_ncnn_put_conv(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_op_call call = call_of(n);
    const float *bias;
    cr_conv_shape c;
    cr_ncnn_codes codes;
    int in;
    CR_TRY(planes_only(n->in[0], err));
    CR_TRY(cr_conv_read(&call, 1, &c, err));
    const int64_t groups = c.groups > 1 ? c.groups : 0;
    CR_TRY(bias_of(n, 2, c.out_channels, &bias, err));
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    CR_TRY(cr_ncnn_codes_of(w, groups, &codes, err));
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, groups ? "ConvolutionDepthWise" : "Convolution", 1, 1);
    if (!l || !put_window(w, l, &c, bias != NULL)) return CR_NOMEM(err);
    /* 1: a scale per group, 2: per output (for groups: one in all) */
    if (codes.weight && !cr_ncnn_int(w, l, 8, groups ? 1 : 2)) return CR_NOMEM(err);
    l->in[0] = in;
    if (!finish(w, l)) return CR_NOMEM(err);
    CR_TRY(cr_ncnn_put_weight(w, n->in[1], NULL, &codes, err));
    if (bias) cr_ncnn_put_floats(w, bias, (size_t)c.out_channels);
    cr_ncnn_put_scales(w, &codes, groups ? groups : c.out_channels);
    return CR_OK;
}

/* ONNX has [I, O/g, kh, kw], ncnn [g, O/g, I/g, kh, kw]. */
static int64_t *turn_channels(const cr_conv_shape *c, const cr_shape *s)
{
    const int64_t plane = s->dim[2] * s->dim[3], ins = s->dim[0] / c->groups, outs = s->dim[1];
    int64_t *order = cr_malloc((size_t)(cr_shape_count(s) + 1) * sizeof *order), *at = order;
    for (int64_t g = 0; order && g < c->groups; g++)
        for (int64_t o = 0; o < outs; o++)
            for (int64_t i = 0; i < ins; i++)
                for (int64_t p = 0; p < plane; p++)
                    *at++ = ((g * ins + i) * outs + o) * plane + p;
    return order;
}

/* ncnn cuts the pads off the full result; what the file adds at the end is output_pad. */
static bool put_adjustment(cr_ncnn_out *w, cr_ncnn_layer *l, const cr_window *s)
{
    int64_t extra[3];
    for (int d = H; d <= W; d++)
        extra[d] = s->out[d] - ((s->in[d] - 1) * s->stride[d] +
                                (s->kernel[d] - 1) * s->dilation[d] + 1 - s->pad_lo[d] - s->pad_hi[d]);
    const pair pairs[] = {{18, extra[W]}, {19, extra[H]}};
    return put_ints(w, l, pairs, 2);
}

cr_status cr_ncnn_put_deconv(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_op_call call = call_of(n);
    const cr_ncnn_codes floats = {0};
    const float *bias;
    cr_conv_shape c;
    int in;
    CR_TRY(planes_only(n->in[0], err));
    CR_TRY(cr_conv_transpose_read(&call, &c, err));
    CR_TRY(bias_of(n, 2, c.out_channels, &bias, err));
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    cr_ncnn_layer *l =
        cr_ncnn_layer_add(w, c.groups > 1 ? "DeconvolutionDepthWise" : "Deconvolution", 1, 1);
    if (!l || !put_window(w, l, &c, bias != NULL) || !put_adjustment(w, l, &c.win))
        return CR_NOMEM(err);
    l->in[0] = in;
    int64_t *order = finish(w, l) ? turn_channels(&c, &n->in[1]->shape) : NULL;
    if (!order) return CR_NOMEM(err);
    const cr_status st = cr_ncnn_put_weight(w, n->in[1], order, &floats, err);
    if (st == CR_OK && bias) cr_ncnn_put_floats(w, bias, (size_t)c.out_channels);
    cr_free(order);
    return st;
}

/* ---- products of matrices ---- */

/* [depth][outputs] as [outputs][depth]. */
static int64_t *turn_matrix(int64_t depth, int64_t outputs)
{
    int64_t *order = cr_malloc((size_t)(depth * outputs + 1) * sizeof *order), *at = order;
    for (int64_t o = 0; order && o < outputs; o++)
        for (int64_t i = 0; i < depth; i++) *at++ = i * outputs + o;
    return order;
}

/* A constant matrix: InnerProduct over the last axis. turned: it is [depth][outputs]. */
static cr_status put_inner_product(cr_ncnn_out *w, bool turned, const float *bias, int in,
                                   cr_error *err)
{
    const cr_tensor *t = w->n->in[1];
    const int64_t outputs = t->shape.dim[t->shape.rank - (turned ? 1 : 2)];
    const int64_t depth = t->shape.dim[t->shape.rank - (turned ? 2 : 1)];
    cr_ncnn_codes codes;
    CR_TRY(cr_ncnn_codes_of(w, 0, &codes, err));
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "InnerProduct", 1, 1);
    const pair pairs[] = {{0, outputs}, {1, bias != NULL}, {2, outputs * depth}, {8, 2}};
    if (!l || !put_ints(w, l, pairs, codes.weight ? 4 : 3)) return CR_NOMEM(err);
    l->in[0] = in;
    int64_t *order = NULL;
    if (!finish(w, l) || (turned && !(order = turn_matrix(depth, outputs)))) return CR_NOMEM(err);
    const cr_status st = cr_ncnn_put_weight(w, t, order, &codes, err);
    if (st == CR_OK && bias) cr_ncnn_put_floats(w, bias, (size_t)outputs);
    if (st == CR_OK) cr_ncnn_put_scales(w, &codes, outputs);
    cr_free(order);
    return st;
}

cr_status cr_ncnn_put_gemm(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const float *bias;
    int in;
    CR_CHECK(n->in[1]->data && !cr_attr_int(n, "transA", 0) && cr_attr_float(n, "alpha", 1) == 1 &&
                 (n->n_in < 3 || !n->in[2] || cr_attr_float(n, "beta", 1) == 1),
             err, CR_ERR_UNSUPPORTED, "with factors, or of two computed matrices");
    CR_TRY(bias_of(n, 2, n->out[0]->shape.dim[1], &bias, err));
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    return put_inner_product(w, !cr_attr_int(n, "transB", 0), bias, in, err);
}

cr_status cr_ncnn_put_matmul(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const int rank = n->out[0]->shape.rank;
    int64_t dims[CR_NCNN_MAX_AXES];
    const int axes = cr_ncnn_axes(&n->out[0]->shape, dims);
    int in[2];
    CR_CHECK(n->in[0]->shape.rank == rank && rank >= 2, err, CR_ERR_UNSUPPORTED, "of vectors");
    if (n->in[1]->data && !n->in[0]->data && n->in[1]->shape.rank == 2 && axes <= 2) {
        CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in[0], err));
        return put_inner_product(w, true, NULL, in[0], err);
    }
    CR_CHECK(axes >= 2, err, CR_ERR_UNSUPPORTED, "of two matrices that are computed, one row");
    for (int k = 0; k < 2; k++) CR_TRY(cr_ncnn_blob_as(w, n->in[k], axes, &in[k], err));
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "MatMul", 2, 1);
    if (!l || !cr_ncnn_gives(w, l, 0, n->out[0])) return CR_NOMEM(err);
    memcpy(l->in, in, sizeof in);
    return CR_OK;
}

/* ---- pooling ---- */

/* Rounding up, ncnn fills the last window behind the padding; ONNX drops a window that would begin
 * there, so the rules agree where no such window is. */
static bool rounds_alike(const cr_window *s, bool up)
{
    for (int d = H; up && d <= W; d++)
        if ((s->in[d] + s->pad_lo[d] + s->pad_hi[d] - s->kernel[d] + s->stride[d] - 1) / s->stride[d] + 1 !=
            s->out[d])
            return false;
    return true;
}

static bool has_tail(const cr_window *s)
{
    for (int d = H; d <= W; d++)
        if ((s->in[d] + s->pad_lo[d] + s->pad_hi[d] - s->kernel[d]) % s->stride[d]) return true;
    return false;
}

cr_status cr_ncnn_put_pool(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_op_call call = call_of(n);
    const bool average = n->op->kind == CR_OP_AveragePool, up = cr_attr_int(n, "ceil_mode", 0) != 0;
    cr_window s;
    int in;
    CR_TRY(planes_only(n->in[0], err));
    CR_TRY(cr_window_pool(&call, &s, err));
    CR_CHECK(s.dilation[H] == 1 && s.dilation[W] == 1, err, CR_ERR_UNSUPPORTED, "with dilations");
    CR_CHECK(n->n_out < 2 || !n->out[1] || !n->out[1]->uses, err, CR_ERR_UNSUPPORTED,
             "indices of the largest values");
    CR_CHECK(rounds_alike(&s, up) && !(average && up && has_tail(&s)), err, CR_ERR_UNSUPPORTED,
             "rounding up over an incomplete window");
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "Pooling", in);
    const pair pairs[] = {{0, average},      {1, s.kernel[W]},  {11, s.kernel[H]}, {2, s.stride[W]},
                          {12, s.stride[H]}, {3, s.pad_lo[W]},  {13, s.pad_lo[H]}, {14, s.pad_hi[W]},
                          {15, s.pad_hi[H]}, {5, up ? 0 : 1},   {6, cr_attr_int(n, "count_include_pad", 0)}};
    return l && put_ints(w, l, pairs, sizeof pairs / sizeof *pairs) ? CR_OK : CR_NOMEM(err);
}

/* ncnn's result has one axis. */
cr_status cr_ncnn_put_global_pool(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    int64_t dims[CR_NCNN_MAX_AXES];
    int in;
    CR_TRY(planes_only(n->in[0], err));
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "Pooling", 1, 1);
    const pair pairs[] = {{0, n->op->kind == CR_OP_GlobalAveragePool}, {4, 1}};
    if (!l || !put_ints(w, l, pairs, 2) || cr_ncnn_inner(w, l, 0, "pooled") < 0) return CR_NOMEM(err);
    l->in[0] = in;
    const int axes = cr_ncnn_axes(&n->out[0]->shape, dims);
    return cr_ncnn_reshape(w, l->out[0], dims, axes, n->out[0], &in, err);
}

/* ---- norms ---- */

static cr_status constant_floats(const cr_node *n, int k, int64_t count, const float **out,
                                 cr_error *err)
{
    CR_TRY(bias_of(n, k, count, out, err));
    CR_CHECK(*out, err, CR_ERR_UNSUPPORTED, "without constants of its own");
    return CR_OK;
}

/* Channels are ncnn's outermost axis then. */
static cr_status one_item(const cr_tensor *t, cr_error *err)
{
    CR_CHECK(t->shape.rank > 1 && t->shape.dim[0] == 1, err, CR_ERR_UNSUPPORTED,
             "of another batch than one");
    return CR_OK;
}

cr_status cr_ncnn_put_batch_norm(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const int64_t channels = n->in[0]->shape.dim[1];
    const float *v[4]; /* scale, bias, mean, variance; ncnn: slope, mean, variance, bias */
    static const int order[4] = {0, 2, 3, 1};
    int in;
    CR_TRY(one_item(n->in[0], err));
    for (int k = 0; k < 4; k++) CR_TRY(constant_floats(n, k + 1, channels, &v[k], err));
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "BatchNorm", in);
    if (!l || !cr_ncnn_int(w, l, 0, channels) ||
        !cr_ncnn_float(w, l, 1, cr_attr_float(n, "epsilon", 1e-5f)))
        return CR_NOMEM(err);
    for (int k = 0; k < 4; k++) cr_ncnn_put_floats(w, v[order[k]], (size_t)channels);
    return CR_OK;
}

/* `first`: keys in front of the epsilon, count, and 1 for "has factors". */
static cr_status put_norm(cr_ncnn_out *w, const char *type, const pair *first, size_t pairs,
                          int epsilon, int64_t count, const float *scale, const float *bias, cr_error *err)
{
    int in;
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, type, in);
    if (!l || !put_ints(w, l, first, pairs) ||
        !cr_ncnn_float(w, l, epsilon, cr_attr_float(w->n, "epsilon", 1e-5f)) ||
        !cr_ncnn_int(w, l, epsilon + 1, 1))
        return CR_NOMEM(err);
    cr_ncnn_put_floats(w, scale, (size_t)count);
    cr_ncnn_put_floats(w, bias, (size_t)count);
    return CR_OK;
}

cr_status cr_ncnn_put_instance_norm(cr_ncnn_out *w, cr_error *err)
{
    const int64_t channels = w->n->in[0]->shape.dim[1];
    const float *scale, *bias;
    CR_TRY(planes_only(w->n->in[0], err));
    CR_TRY(constant_floats(w->n, 1, channels, &scale, err));
    CR_TRY(constant_floats(w->n, 2, channels, &bias, err));
    return put_norm(w, "InstanceNorm", &(pair){0, channels}, 1, 1, channels, scale, bias, err);
}

cr_status cr_ncnn_put_group_norm(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const int64_t channels = n->in[0]->shape.dim[1];
    const pair first[] = {{0, cr_attr_int(n, "num_groups", 1)}, {1, channels}};
    const float *scale, *bias;
    CR_TRY(one_item(n->in[0], err));
    CR_TRY(constant_floats(n, 1, channels, &scale, err));
    CR_TRY(constant_floats(n, 2, channels, &bias, err));
    return put_norm(w, "GroupNorm", first, 2, 2, channels, scale, bias, err);
}

cr_status cr_ncnn_put_layer_norm(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_shape *s = &n->in[0]->shape;
    int axis;
    const float *scale, *bias;
    CR_TRY(cr_ncnn_axis(cr_attr_int(n, "axis", -1), s, &axis, err));
    CR_CHECK(axis == s->rank - 1 - cr_ncnn_batch(s), err, CR_ERR_UNSUPPORTED, "over more than the last axis");
    CR_CHECK(n->n_out < 2 || (!n->out[1] && (n->n_out < 3 || !n->out[2])), err, CR_ERR_UNSUPPORTED,
             "with mean and deviation as results");
    const int64_t size = s->dim[s->rank - 1];
    CR_TRY(constant_floats(n, 1, size, &scale, err));
    CR_TRY(bias_of(n, 2, size, &bias, err));
    return put_norm(w, "LayerNorm", &(pair){0, size}, 1, 1, size, scale, bias, err);
}

cr_status cr_ncnn_put_softmax(cr_ncnn_out *w, cr_error *err)
{
    int axis, in;
    CR_TRY(cr_ncnn_axis(cr_attr_int(w->n, "axis", -1), &w->n->in[0]->shape, &axis, err));
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "Softmax", in);
    const pair pairs[] = {{0, axis}, {1, 1}}; /* 1: the axis is meant as it is said */
    return l && put_ints(w, l, pairs, 2) ? CR_OK : CR_NOMEM(err);
}

/* ---- resizing ---- */

/* ncnn takes pixel floor(o * in / out). */
static bool nearest_alike(const char *place, const char *near, int64_t in, int64_t out)
{
    if (out % in) return false;
    if (!strcmp(place, "asymmetric"))
        return !strcmp(near, "floor") || (!strcmp(near, "round_prefer_floor") && out / in <= 2);
    return !strncmp(near, "round", 5) &&
           (!strcmp(place, "half_pixel") || (!strcmp(place, "pytorch_half_pixel") && out > 1));
}

cr_status cr_ncnn_put_resize(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_op_call call = call_of(n);
    const char *mode = cr_attr_string(n, "mode", "nearest");
    const char *place = cr_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    const char *near = cr_attr_string(n, "nearest_mode", "round_prefer_floor");
    const bool nearest = !strcmp(mode, "nearest"), corners = !strcmp(place, "align_corners");
    cr_resize_shape s;
    int in;
    CR_TRY(planes_only(n->in[0], err));
    CR_TRY(cr_resize_read(&call, &s, err));
    CR_CHECK(s.known && s.out.dim[1] == n->in[0]->shape.dim[1], err, CR_ERR_UNSUPPORTED,
             "to a size that is computed, or of channels");
    bool same = !cr_attr_int(n, "antialias", 0) && (nearest || !strcmp(mode, "linear"));
    for (int d = 2; d < 4; d++) {
        const int64_t from = n->in[0]->shape.dim[d], to = s.out.dim[d];
        const bool whole = fabs(s.scale[d] * (double)from - (double)to) < 1e-3;
        same = same && whole &&
               (nearest ? nearest_alike(place, near, from, to)
                        : corners || !strcmp(place, "half_pixel") ||
                              (!strcmp(place, "pytorch_half_pixel") && to > 1));
    }
    CR_CHECK(same, err, CR_ERR_UNSUPPORTED, "%s, %s: ncnn places pixels in another way", mode, place);
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "Interp", in);
    const pair pairs[] = {{0, nearest ? 1 : 2}, {3, s.out.dim[2]}, {4, s.out.dim[3]},
                          {6, !nearest && corners}};
    return l && put_ints(w, l, pairs, 4) ? CR_OK : CR_NOMEM(err);
}
