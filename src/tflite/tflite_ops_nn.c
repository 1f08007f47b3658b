/* TFLite's operators with windows or weights: convolutions, products, pooling, resizing.
 *
 * TFLite pads by rule (SAME, VALID) where the graph has numbers. A PAD of zeros in front of a VALID
 * convolution, as every converter of a PyTorch model writes, becomes the convolution's own padding.
 */
#include <string.h>

#include "base/error.h"
#include "tflite/tflite_import.h"

enum { MAX_WINDOW = 1 << 20 };

typedef struct window {
    int64_t kernel[2], stride[2], dilation[2],
        pads[4]; /* height, width; top, left, bottom, right */
} window;

/* Zeros at both ends of `in` so that windows start at 0, stride, ... below `in` (SAME). */
static void pad_same(int64_t in, const window *w, int d, int64_t *begin, int64_t *end)
{
    const int64_t out = (in + w->stride[d] - 1) / w->stride[d];
    const int64_t reach = (out - 1) * w->stride[d] + (w->kernel[d] - 1) * w->dilation[d] + 1;
    const int64_t total = reach > in ? reach - in : 0;
    *begin = total / 2;
    *end = total - total / 2;
}

static cr_status set_padding(const cr_tfl_import *m, const int64_t in[2], window *w, cr_error *err)
{
    const int64_t rule = cr_flat_i8(&m->options, CR_TFL_CONV_PADDING, 0);
    for (int d = 0; d < 2; d++) {
        CR_CHECK(w->stride[d] > 0 && w->dilation[d] > 0 && w->kernel[d] > 0 &&
                     w->stride[d] <= MAX_WINDOW && w->dilation[d] <= MAX_WINDOW &&
                     w->kernel[d] <= MAX_WINDOW && in[d] > 0 && in[d] <= INT32_MAX,
                 err, CR_ERR_FORMAT, "%s: an impossible window", m->op_name);
        if (rule == CR_TFL_SAME) pad_same(in[d], w, d, &w->pads[d], &w->pads[d + 2]);
    }
    return CR_OK;
}

static void read_strides(const cr_tfl_import *m, window *w)
{
    *w = (window){.dilation = {1, 1}};
    w->stride[0] = cr_flat_i32(&m->options, CR_TFL_CONV_STRIDE_H, 0);
    w->stride[1] = cr_flat_i32(&m->options, CR_TFL_CONV_STRIDE_W, 0);
}

static cr_status set_window(cr_tfl_import *m, cr_attr *attrs, const window *w, cr_error *err)
{
    const bool ok = cr_attr_set_ints(m->g, &attrs[0], "kernel_shape", w->kernel, 2) &&
                    cr_attr_set_ints(m->g, &attrs[1], "strides", w->stride, 2) &&
                    cr_attr_set_ints(m->g, &attrs[2], "pads", w->pads, 4) &&
                    cr_attr_set_ints(m->g, &attrs[3], "dilations", w->dilation, 2);
    return ok ? CR_OK : CR_NOMEM(err);
}

static cr_status check_rank(const cr_tfl_import *m, const cr_tfl_value *v, int rank, cr_error *err)
{
    const cr_shape s = cr_tfl_shape(v);
    CR_CHECK(s.rank == rank && cr_shape_count(&s) > 0, err, CR_ERR_FORMAT,
             "%s: '%s' has %d axes, not %d, or is empty", m->op_name, v->name, s.rank, rank);
    return CR_OK;
}

/* ---- dynamic range: integer weights that meet float activations ---- */

static bool is_dynamic(const cr_tfl_value *x, const cr_tfl_value *w)
{
    return !x->quantized && !x->data && w->data && w->quantized && w->type == CR_TFL_I8 &&
           !w->stored_only;
}

/* Codes, scale and zero point of x, made once per tensor. */
static cr_status quantize_dynamic(cr_tfl_import *m, cr_tensor *x, cr_tfl_value *v, cr_error *err)
{
    cr_node *n;
    if (v->dynamic[0]) return CR_OK;
    CR_TRY(cr_tfl_node(m, CR_OP_DynamicQuantizeLinear, 1, 3, 0, &n, err));
    n->in[0] = x;
    memcpy(v->dynamic, n->out, sizeof v->dynamic);
    return cr_node_infer(n, err);
}

/* Scales of the weights as a float constant: one, or [channels, 1, 1] with `behind` axes. */
static cr_status weight_scales(cr_tfl_import *m, const cr_tfl_value *w, int behind, cr_tensor **out,
                               cr_error *err)
{
    CR_TRY(cr_tfl_numbers(m, w->scale.count, behind, out, err));
    for (size_t i = 0; i < w->scale.count; i++) {
        const float s = cr_flat_item_f32(&w->scale, i);
        CR_CHECK(s > 0 && s < 3e38f, err, CR_ERR_FORMAT, "tensor '%s' has a scale of %g", w->name,
                 (double)s);
        CR_CHECK(cr_flat_item_i64(&w->zero_point, i) == 0, err, CR_ERR_UNSUPPORTED,
                 "tensor '%s': dynamic-range weights with a zero point", w->name);
        ((float *)(*out)->data)[i] = s;
    }
    return CR_OK;
}

/* y = the integers' sum, scaled, plus bias (NULL: none; of one number per channel). */
static cr_status scale_sum(cr_tfl_import *m, cr_tensor *sum, const cr_tfl_value *x,
                           const cr_tfl_value *w, const cr_tensor *bias, int behind, cr_tensor **y,
                           cr_error *err)
{
    cr_node *cast;
    cr_tensor *scales, *product, *shaped;
    CR_TRY(cr_tfl_node(m, CR_OP_Cast, 1, 1, 1, &cast, err));
    cast->in[0] = sum;
    cr_attr_set_int(&cast->attrs[0], "to", cr_dtype_to_onnx(CR_DT_F32));
    CR_TRY(cr_node_infer(cast, err));
    CR_TRY(weight_scales(m, w, behind, &scales, err));
    CR_TRY(cr_tfl_binary(m, CR_OP_Mul, x->dynamic[1], scales, &product, err));
    CR_TRY(cr_tfl_binary(m, CR_OP_Mul, cast->out[0], product, y, err));
    if (!bias) return CR_OK;
    const size_t count = (size_t)cr_shape_count(&bias->shape);
    CR_TRY(cr_tfl_numbers(m, count, behind, &shaped, err));
    memcpy(shaped->data, bias->data, count * sizeof(float));
    return cr_tfl_binary(m, CR_OP_Add, *y, shaped, y, err);
}

/* ---- convolutions ---- */

typedef struct conv {
    cr_tfl_value *x, *w;
    cr_tensor *bias;
    window window;
    int64_t groups;
    int64_t activation;
    const int *perm; /* the file's weight axes as [out, in / groups, height, width] */
} conv;

static cr_status read_bias(cr_tfl_import *m, size_t k, int64_t channels, cr_tensor **bias,
                           cr_error *err)
{
    cr_tfl_value *v = cr_tfl_optional(m, k);
    *bias = NULL;
    if (!v) return CR_OK;
    CR_TRY(cr_tfl_floats(m, v, bias, err));
    CR_CHECK((*bias)->shape.rank == 1 && (*bias)->shape.dim[0] == channels, err, CR_ERR_FORMAT,
             "%s: bias '%s' does not fit %lld channels", m->op_name, v->name, (long long)channels);
    return CR_OK;
}

static cr_status describe_conv(cr_tfl_import *m, conv *c, cr_error *err)
{
    static const int ordinary[4] = {0, 3, 1, 2}, depthwise[4] = {3, 0, 1, 2};
    const bool is_depthwise = m->op == CR_TFL_DEPTHWISE_CONV_2D;
    CR_TRY(cr_tfl_in(m, 0, &c->x, err));
    CR_TRY(cr_tfl_in(m, 1, &c->w, err));
    CR_CHECK(c->w->data, err, CR_ERR_UNSUPPORTED, "%s: weight '%s' is not a constant", m->op_name,
             c->w->name);
    CR_TRY(check_rank(m, c->x, 4, err));
    CR_TRY(check_rank(m, c->w, 4, err));
    const cr_shape *w = &c->w->shape;
    const int64_t channels = cr_tfl_shape(c->x).dim[3], per_group = is_depthwise ? 1 : w->dim[3];
    CR_CHECK(channels % per_group == 0 && (!is_depthwise || w->dim[0] == 1), err, CR_ERR_FORMAT,
             "%s: weight '%s' does not fit %lld channels", m->op_name, c->w->name,
             (long long)channels);
    c->groups = channels / per_group;
    c->perm = is_depthwise ? depthwise : ordinary;
    read_strides(m, &c->window);
    const unsigned first = is_depthwise ? CR_TFL_DW_ACT : CR_TFL_CONV_ACT;
    c->activation = cr_flat_i8(&m->options, first, 0);
    c->window.dilation[1] = cr_flat_i32(&m->options, first + 1, 1);
    c->window.dilation[0] = cr_flat_i32(&m->options, first + 2, 1);
    c->window.kernel[0] = w->dim[1];
    c->window.kernel[1] = w->dim[2];
    return read_bias(m, 2, w->dim[is_depthwise ? 3 : 0], &c->bias, err);
}

/* The node on x and w; `codes` of x and their zero point where it is dynamic. */
static cr_status add_conv(cr_tfl_import *m, const conv *c, cr_tensor *x, cr_tensor *zero_point,
                          cr_tensor **y, cr_error *err)
{
    cr_node *n;
    cr_tensor *w;
    CR_TRY(cr_tfl_constant(m, c->w, c->perm, zero_point != NULL, &w, err));
    const int n_in = zero_point || c->bias ? 3 : 2;
    CR_TRY(cr_tfl_node(m, zero_point ? CR_OP_ConvInteger : CR_OP_Conv, n_in, 1, 5, &n, err));
    n->in[0] = x;
    n->in[1] = w;
    if (n_in > 2) n->in[2] = zero_point ? zero_point : c->bias;
    CR_TRY(set_window(m, n->attrs, &c->window, err));
    cr_attr_set_int(&n->attrs[4], "group", c->groups);
    *y = n->out[0];
    return cr_node_infer(n, err);
}

static bool is_pointwise(const conv *c)
{
    const window *w = &c->window;
    return c->groups == 1 && w->kernel[0] * w->kernel[1] * w->stride[0] * w->stride[1] == 1;
}

/* Once per tensor. */
static cr_status rounded_pixels(cr_tfl_import *m, cr_tensor *x, cr_tfl_value *v, cr_error *err)
{
    return v->pixels ? CR_OK : cr_tfl_round_pixels(m, x, &v->pixels, err);
}

cr_status cr_tfl_read_conv(cr_tfl_import *m, cr_error *err)
{
    conv c;
    cr_tensor *x, *y;
    CR_TRY(describe_conv(m, &c, err));
    const bool valid = cr_flat_i8(&m->options, CR_TFL_CONV_PADDING, 0) == CR_TFL_VALID;
    if (valid && c.x->padded && !c.x->pads_low) {
        memcpy(c.window.pads, c.x->pads, sizeof c.window.pads);
        c.x = c.x->padded;
    }
    const cr_shape in = cr_tfl_shape(c.x);
    CR_TRY(set_padding(m, &in.dim[1], &c.window, err));
    CR_TRY(cr_tfl_view(m, c.x, CR_TFL_NCHW, &x, err));
    if (is_dynamic(c.x, c.w) && is_pointwise(&c) && c.w->scale.count == 1) {
        CR_TRY(rounded_pixels(m, x, c.x, err));
        CR_TRY(add_conv(m, &c, c.x->pixels, NULL, &y, err));
    } else if (is_dynamic(c.x, c.w)) {
        CR_TRY(quantize_dynamic(m, x, c.x, err));
        CR_TRY(add_conv(m, &c, c.x->dynamic[0], c.x->dynamic[2], &y, err));
        CR_TRY(scale_sum(m, y, c.x, c.w, c.bias, 2, &y, err));
    } else {
        CR_TRY(add_conv(m, &c, x, NULL, &y, err));
    }
    return cr_tfl_finish_fused(m, c.activation, y, CR_TFL_NCHW, err);
}

/* TFLite gives the output's size; the padding is that of the convolution which it is the gradient
 * of. */
cr_status cr_tfl_read_transpose_conv(cr_tfl_import *m, cr_error *err)
{
    static const int perm[4] = {3, 0, 1, 2}; /* [out, h, w, in] to [in, out, h, w] */
    int64_t size[4], extra[2] = {0, 0};
    size_t count;
    cr_tfl_value *w, *x;
    cr_tensor *view, *weight, *bias;
    cr_node *n;
    window win;
    CR_TRY(cr_tfl_ints(m, 0, size, 4, &count, err));
    CR_TRY(cr_tfl_in(m, 1, &w, err));
    CR_TRY(cr_tfl_in(m, 2, &x, err));
    CR_TRY(check_rank(m, x, 4, err));
    CR_TRY(check_rank(m, w, 4, err));
    CR_CHECK(w->data && count == 4, err, CR_ERR_UNSUPPORTED, "%s: weight '%s' is not a constant",
             m->op_name, w->name);
    read_strides(m, &win);
    win.kernel[0] = w->shape.dim[1];
    win.kernel[1] = w->shape.dim[2];
    CR_TRY(set_padding(m, &size[1], &win, err));
    const cr_shape in = cr_tfl_shape(x);
    for (int d = 0; d < 2; d++) {
        const int64_t full = (in.dim[d + 1] - 1) * win.stride[d] + win.kernel[d];
        extra[d] = size[d + 1] - (full - win.pads[d] - win.pads[d + 2]);
        CR_CHECK(extra[d] >= 0 && extra[d] < win.stride[d], err, CR_ERR_FORMAT,
                 "%s: an output of %lld does not fit", m->op_name, (long long)size[d + 1]);
    }
    CR_TRY(read_bias(m, 3, w->shape.dim[0], &bias, err));
    CR_TRY(cr_tfl_view(m, x, CR_TFL_NCHW, &view, err));
    CR_TRY(cr_tfl_constant(m, w, perm, false, &weight, err));
    CR_TRY(cr_tfl_node(m, CR_OP_ConvTranspose, bias ? 3 : 2, 1, 5, &n, err));
    n->in[0] = view;
    n->in[1] = weight;
    if (bias) n->in[2] = bias;
    CR_TRY(set_window(m, n->attrs, &win, err));
    if (!cr_attr_set_ints(m->g, &n->attrs[4], "output_padding", extra, 2)) return CR_NOMEM(err);
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish_fused(m, cr_flat_i8(&m->options, CR_TFL_TCONV_ACT, 0), n->out[0],
                               CR_TFL_NCHW, err);
}

/* ---- products ---- */

static cr_status add_gemm(cr_tfl_import *m, cr_tensor *x, cr_tfl_value *w, cr_tensor *bias,
                          cr_tensor **y, cr_error *err)
{
    cr_node *n;
    cr_tensor *weight;
    CR_TRY(cr_tfl_view(m, w, CR_TFL_PLAIN, &weight, err));
    CR_TRY(cr_tfl_node(m, CR_OP_Gemm, bias ? 3 : 2, 1, 1, &n, err));
    n->in[0] = x;
    n->in[1] = weight;
    if (bias) n->in[2] = bias;
    cr_attr_set_int(&n->attrs[0], "transB", 1);
    *y = n->out[0];
    return cr_node_infer(n, err);
}

static cr_status add_dynamic_gemm(cr_tfl_import *m, cr_tensor *x, const cr_tfl_value *w,
                                  const cr_tensor *bias, cr_tensor **y, cr_error *err)
{
    static const int perm[2] = {1, 0};
    cr_tfl_value rows = {.name = w->name}; /* x in the shape that the product reads */
    cr_node *n;
    cr_tensor *codes;
    CR_TRY(quantize_dynamic(m, x, &rows, err));
    CR_TRY(cr_tfl_constant(m, w, perm, true, &codes, err));
    CR_TRY(cr_tfl_node(m, CR_OP_MatMulInteger, 3, 1, 0, &n, err));
    n->in[0] = rows.dynamic[0];
    n->in[1] = codes;
    n->in[2] = rows.dynamic[2];
    CR_TRY(cr_node_infer(n, err));
    return scale_sum(m, n->out[0], &rows, w, bias, 0, y, err);
}

cr_status cr_tfl_read_fully_connected(cr_tfl_import *m, cr_error *err)
{
    cr_tfl_value *x, *w;
    cr_tensor *view, *bias, *y;
    CR_TRY(cr_tfl_in(m, 0, &x, err));
    CR_TRY(cr_tfl_in(m, 1, &w, err));
    CR_TRY(check_rank(m, w, 2, err));
    CR_CHECK(cr_flat_i8(&m->options, CR_TFL_FC_FORMAT, 0) == 0, err, CR_ERR_UNSUPPORTED,
             "%s: shuffled weights", m->op_name);
    const cr_shape ws = cr_tfl_shape(w);
    cr_shape s = cr_tfl_shape(x);
    const int64_t all = cr_shape_count(&s);
    CR_CHECK(all > 0 && all % ws.dim[1] == 0, err, CR_ERR_FORMAT,
             "%s: %lld numbers are no rows of %lld", m->op_name, (long long)all,
             (long long)ws.dim[1]);
    const bool keep = cr_flat_u8(&m->options, CR_TFL_FC_KEEP_DIMS, 0) && s.rank > 0;
    CR_TRY(cr_tfl_view(m, x, CR_TFL_PLAIN, &view, err));
    const cr_shape rows = {2, {all / ws.dim[1], ws.dim[1]}};
    CR_TRY(cr_tfl_reshape(m, view, &rows, &view, err));
    CR_TRY(cr_tfl_like(m, x, view, &view, err));
    CR_TRY(read_bias(m, 2, ws.dim[0], &bias, err));
    if (is_dynamic(x, w))
        CR_TRY(add_dynamic_gemm(m, view, w, bias, &y, err));
    else
        CR_TRY(add_gemm(m, view, w, bias, &y, err));
    CR_TRY(cr_tfl_activate(m, cr_flat_i8(&m->options, CR_TFL_FC_ACT, 0), y, &y, err));
    s.dim[s.rank > 0 ? s.rank - 1 : 0] = ws.dim[0];
    if (keep) CR_TRY(cr_tfl_reshape(m, y, &s, &y, err));
    return cr_tfl_finish(m, 0, y, CR_TFL_PLAIN, err);
}

/* v with its last two axes exchanged. */
static cr_status swap_last(cr_tfl_import *m, cr_tfl_value *v, cr_tensor **out, cr_error *err)
{
    int perm[CR_MAX_RANK];
    cr_tensor *x;
    const int rank = cr_tfl_shape(v).rank;
    CR_CHECK(rank >= 2, err, CR_ERR_FORMAT, "%s: '%s' is no matrix", m->op_name, v->name);
    for (int d = 0; d < rank; d++) perm[d] = d < rank - 2 ? d : 2 * rank - 3 - d;
    if (v->data) return cr_tfl_constant(m, v, perm, false, out, err);
    CR_TRY(cr_tfl_view(m, v, CR_TFL_PLAIN, &x, err));
    CR_TRY(cr_tfl_transpose(m, x, perm, &x, err));
    return cr_tfl_like(m, v, x, out, err);
}

cr_status cr_tfl_read_batch_matmul(cr_tfl_import *m, cr_error *err)
{
    cr_tensor *side[2], *y;
    for (unsigned k = 0; k < 2; k++) {
        cr_tfl_value *v;
        CR_TRY(cr_tfl_in(m, k, &v, err));
        if (cr_flat_u8(&m->options, CR_TFL_MATMUL_ADJ_X + k, 0))
            CR_TRY(swap_last(m, v, &side[k], err));
        else
            CR_TRY(cr_tfl_view(m, v, CR_TFL_PLAIN, &side[k], err));
    }
    CR_TRY(cr_tfl_binary(m, CR_OP_MatMul, side[0], side[1], &y, err));
    return cr_tfl_finish(m, 0, y, CR_TFL_PLAIN, err);
}

/* ---- pooling and resizing ---- */

/* A window that lies in the padding alone has no largest value. */
static bool fits(const window *w, const int64_t *pads)
{
    for (int d = 0; d < 4; d++)
        if (pads[d] >= w->kernel[d % 2]) return false;
    return true;
}

cr_status cr_tfl_read_pool(cr_tfl_import *m, cr_error *err)
{
    cr_tfl_value *x;
    cr_tensor *view;
    cr_node *n;
    window w;
    CR_TRY(cr_tfl_in(m, 0, &x, err));
    CR_TRY(check_rank(m, x, 4, err));
    read_strides(m, &w);
    w.kernel[0] = cr_flat_i32(&m->options, CR_TFL_POOL_FILTER_H, 0);
    w.kernel[1] = cr_flat_i32(&m->options, CR_TFL_POOL_FILTER_W, 0);
    const bool max = m->op == CR_TFL_MAX_POOL_2D;
    const bool valid = cr_flat_i8(&m->options, CR_TFL_CONV_PADDING, 0) == CR_TFL_VALID;
    if (max && valid && x->padded && x->pads_low && fits(&w, x->pads)) {
        memcpy(w.pads, x->pads, sizeof w.pads);
        x = x->padded;
    }
    const cr_shape in = cr_tfl_shape(x);
    CR_TRY(set_padding(m, &in.dim[1], &w, err));
    CR_TRY(cr_tfl_view(m, x, CR_TFL_NCHW, &view, err));
    CR_TRY(cr_tfl_node(m, max ? CR_OP_MaxPool : CR_OP_AveragePool, 1, 1, 4, &n, err));
    n->in[0] = view;
    CR_TRY(set_window(m, n->attrs, &w, err));
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish_fused(m, cr_flat_i8(&m->options, CR_TFL_POOL_ACT, 0), n->out[0],
                               CR_TFL_NCHW, err);
}

/* Where output pixels look in the input, in ONNX's words. TFLite rounds halves up where it rounds.
 */
static bool set_resize_mode(cr_tfl_import *m, cr_node *n)
{
    const bool nearest = m->op == CR_TFL_RESIZE_NEAREST_NEIGHBOR;
    const unsigned at = nearest ? CR_TFL_NEAREST_ALIGN : CR_TFL_BILINEAR_ALIGN;
    const bool align = cr_flat_u8(&m->options, at, 0), half = cr_flat_u8(&m->options, at + 1, 0);
    const char *where = align ? "align_corners" : half ? "half_pixel" : "asymmetric";
    const char *rounding = align || half ? "round_prefer_ceil" : "floor";
    return cr_attr_set_string(m->g, &n->attrs[0], "mode", nearest ? "nearest" : "linear") &&
           cr_attr_set_string(m->g, &n->attrs[1], "coordinate_transformation_mode", where) &&
           cr_attr_set_string(m->g, &n->attrs[2], "nearest_mode", rounding);
}

cr_status cr_tfl_read_resize(cr_tfl_import *m, cr_error *err)
{
    cr_tfl_value *x;
    cr_tensor *view, *sizes;
    cr_node *n;
    int64_t wanted[2];
    size_t count;
    CR_TRY(cr_tfl_in(m, 0, &x, err));
    CR_TRY(check_rank(m, x, 4, err));
    CR_TRY(cr_tfl_ints(m, 1, wanted, 2, &count, err));
    CR_CHECK(count == 2 && wanted[0] > 0 && wanted[1] > 0, err, CR_ERR_FORMAT,
             "%s: an impossible size", m->op_name);
    CR_TRY(cr_tfl_view(m, x, CR_TFL_NCHW, &view, err));
    const cr_shape *s = &view->shape;
    const bool whole = wanted[0] % s->dim[2] == 0 && wanted[1] % s->dim[3] == 0;
    if (whole) {
        CR_TRY(cr_tfl_numbers(m, 4, 0, &sizes, err));
        float *scale = sizes->data;
        scale[0] = scale[1] = 1;
        for (int d = 0; d < 2; d++) scale[2 + d] = (float)(wanted[d] / s->dim[2 + d]);
    } else {
        const int64_t all[4] = {s->dim[0], s->dim[1], wanted[0], wanted[1]};
        CR_TRY(cr_tfl_int_list(m, all, 4, &sizes, err));
    }
    CR_TRY(cr_tfl_node(m, CR_OP_Resize, whole ? 3 : 4, 1, 3, &n, err));
    n->in[0] = view;
    n->in[whole ? 2 : 3] = sizes;
    if (!set_resize_mode(m, n)) return CR_NOMEM(err);
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish(m, 0, n->out[0], CR_TFL_NCHW, err);
}

cr_status cr_tfl_read_depth_space(cr_tfl_import *m, cr_error *err)
{
    cr_node *n;
    cr_tensor *x;
    const cr_op_kind kind =
        m->op == CR_TFL_DEPTH_TO_SPACE ? CR_OP_DepthToSpace : CR_OP_SpaceToDepth;
    CR_TRY(cr_tfl_input(m, 0, CR_TFL_NCHW, &x, err));
    CR_TRY(cr_tfl_node(m, kind, 1, 1, 1, &n, err));
    n->in[0] = x;
    cr_attr_set_int(&n->attrs[0], "blocksize", cr_flat_i32(&m->options, CR_TFL_BLOCK_SIZE, 0));
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish(m, 0, n->out[0], CR_TFL_NCHW, err);
}
