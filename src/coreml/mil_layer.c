/* Layers: convolutions, products, pools, norms, reductions, resizing. */
#include <math.h>
#include <string.h>

#include "coreml/mil_graph.h"
#include "graph/nn_rules.h"

#define IN(k)     cr_coreml_in(w, n, k)
#define INT(v)    cr_mil_int(&w->mil, v)
#define BOOL(v)   cr_mil_bool(&w->mil, v)
#define STRING(v) cr_mil_string(&w->mil, v)
#define NUMBER(v) cr_coreml_number(w, n, v)

static cr_op_call call_of(const cr_node *n)
{
    return (cr_op_call){n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
}

static bool has(const cr_node *n, int k)
{
    return k < n->n_in && n->in[k];
}

/* Is input k made of constants alone, so that MIL takes it for one? */
static bool is_constant(const cr_node *n, int k)
{
    const cr_tensor *t = n->in[k];
    const cr_node *p = t->producer;
    return t->data || (p && (p->op->kind == CR_OP_DequantizeLinear || p->op->kind == CR_OP_Cast) &&
                       p->in[0]->data);
}

/* ---- windows ---- */

/* Spatial numbers of a window as MIL lists them, pads as before, after per dimension. */
typedef struct window_lists {
    const char *kernel, *strides, *dilations, *pad;
} window_lists;

static window_lists lists_of(cr_coreml_writer *w, const cr_window *v, const int64_t *pad_hi)
{
    const int skip = CR_WINDOW_DIMS - v->n;
    const size_t n = (size_t)v->n;
    int64_t pads[2 * CR_WINDOW_DIMS];
    for (int i = 0; i < v->n; i++) {
        pads[2 * i] = v->pad_lo[skip + i];
        pads[2 * i + 1] = pad_hi[skip + i];
    }
    return (window_lists){
        cr_mil_ints(&w->mil, v->kernel + skip, n), cr_mil_ints(&w->mil, v->stride + skip, n),
        cr_mil_ints(&w->mil, v->dilation + skip, n), cr_mil_ints(&w->mil, pads, 2 * n)};
}

/* Bias where it is no constant, or none: added behind. */
static cr_status conv(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_call call = call_of(n);
    cr_conv_shape c;
    CR_TRY(cr_conv_read(&call, 1, &c, err));
    const bool bias = has(n, 2);
    if (bias && !is_constant(n, 2)) return cr_coreml_refuse(n, "with a computed bias", err);
    const window_lists l = lists_of(w, &c.win, c.win.pad_hi);
    cr_coreml_emit(w, n, 0, "conv",
                   CR_ARGS({"x", IN(0)}, {"weight", IN(1)},
                           {bias ? "bias" : NULL, bias ? IN(2) : NULL}, {"strides", l.strides},
                           {"pad_type", STRING("custom")}, {"pad", l.pad},
                           {"dilations", l.dilations}, {"groups", INT(c.groups)}));
    return CR_OK;
}

static cr_status conv_transpose(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_call call = call_of(n);
    cr_conv_shape c;
    int64_t hi[CR_WINDOW_DIMS];
    CR_TRY(cr_conv_transpose_read(&call, &c, err));
    if (!is_constant(n, 1) || (has(n, 2) && !is_constant(n, 2)))
        return cr_coreml_refuse(n, "with computed weights", err);
    for (int i = 0; i < CR_WINDOW_DIMS; i++) {
        hi[i] = (c.win.in[i] - 1) * c.win.stride[i] + (c.win.kernel[i] - 1) * c.win.dilation[i] +
                1 - c.win.pad_lo[i] - c.win.out[i];
        if (hi[i] < 0) return cr_coreml_refuse(n, "with output padding", err);
    }
    const window_lists l = lists_of(w, &c.win, hi);
    const cr_shape *out = &n->out[0]->shape;
    const bool bias = has(n, 2);
    cr_coreml_emit(w, n, 0, "conv_transpose",
                   CR_ARGS({"x", IN(0)}, {"weight", IN(1)},
                           {bias ? "bias" : NULL, bias ? IN(2) : NULL}, {"pad", l.pad},
                           {"output_shape", cr_mil_ints(&w->mil, out->dim, (size_t)out->rank)},
                           {"pad_type", STRING("custom")}, {"strides", l.strides},
                           {"dilations", l.dilations}, {"groups", INT(c.groups)}));
    return CR_OK;
}

/* Padding behind, so that rounding down gives as many outputs as ONNX's rounding up. */
static bool pad_to_out(const cr_window *v, int64_t *hi)
{
    bool more = false;
    for (int i = 0; i < CR_WINDOW_DIMS; i++) {
        const int64_t need =
            (v->out[i] - 1) * v->stride[i] + v->kernel[i] - v->in[i] - v->pad_lo[i];
        hi[i] = need > v->pad_hi[i] ? need : v->pad_hi[i];
        more |= hi[i] != v->pad_hi[i];
    }
    return more;
}

static cr_status pool(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_call call = call_of(n);
    const bool max = n->op->kind == CR_OP_MaxPool;
    const bool include = cr_attr_int(n, "count_include_pad", 0) != 0;
    cr_window v;
    int64_t hi[CR_WINDOW_DIMS];
    CR_TRY(cr_window_pool(&call, &v, err));
    for (int i = 0; i < CR_WINDOW_DIMS; i++)
        if (v.dilation[i] != 1) return cr_coreml_refuse(n, "with dilation", err);
    if (n->n_out > 1 && n->out[1]) return cr_coreml_refuse(n, "that gives indices", err);
    if (pad_to_out(&v, hi) && !max && include)
        return cr_coreml_refuse(n, "that rounds its size up and counts padding", err);
    const window_lists l = lists_of(w, &v, hi);
    cr_coreml_emit(w, n, 0, max ? "max_pool" : "avg_pool",
                   CR_ARGS({"x", IN(0)}, {"kernel_sizes", l.kernel}, {"strides", l.strides},
                           {"pad_type", STRING("custom")}, {"pad", l.pad},
                           {"ceil_mode", BOOL(false)},
                           {max ? NULL : "exclude_padding_from_average", BOOL(!include)}));
    return CR_OK;
}

/* ---- products ---- */

static cr_status matmul(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    if (n->in[0]->shape.rank < 2 || n->in[1]->shape.rank < 2)
        return cr_coreml_refuse(n, "with a vector", err);
    cr_coreml_emit(w, n, 0, "matmul",
                   CR_ARGS({"x", IN(0)}, {"y", IN(1)}, {"transpose_x", BOOL(false)},
                           {"transpose_y", BOOL(false)}));
    return CR_OK;
}

/* Core ML's linear is Gemm as networks have it: weights [outputs, inputs], a bias per output. */
static bool is_linear(const cr_node *n)
{
    return !cr_attr_int(n, "transA", 0) && cr_attr_int(n, "transB", 0) &&
           cr_attr_float(n, "alpha", 1) == 1 && cr_attr_float(n, "beta", 1) == 1 &&
           is_constant(n, 1) &&
           (!has(n, 2) || (is_constant(n, 2) && n->in[2]->shape.rank == 1 &&
                           n->in[2]->shape.dim[0] == n->in[1]->shape.dim[0]));
}

static cr_status gemm(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const bool bias = has(n, 2);
    (void)err;
    if (is_linear(n)) {
        cr_coreml_emit(
            w, n, 0, "linear",
            CR_ARGS({"x", IN(0)}, {"weight", IN(1)}, {bias ? "bias" : NULL, bias ? IN(2) : NULL}));
        return CR_OK;
    }
    const float alpha = cr_attr_float(n, "alpha", 1), beta = cr_attr_float(n, "beta", 1);
    const cr_mil_pair product[] = {{"x", IN(0)},
                                   {"y", IN(1)},
                                   {"transpose_x", BOOL(cr_attr_int(n, "transA", 0) != 0)},
                                   {"transpose_y", BOOL(cr_attr_int(n, "transB", 0) != 0)}};
    const cr_shape *s = &n->out[0]->shape;
    if (!bias && alpha == 1) {
        cr_coreml_emit(w, n, 0, "matmul", product, 4);
        return CR_OK;
    }
    const char *x = cr_coreml_step(w, n, "matmul", s, product, 4), *c = NULL;
    if (alpha != 1 && bias)
        x = cr_coreml_step(w, n, "mul", s, CR_ARGS({"x", x}, {"y", NUMBER(alpha)}));
    if (bias) c = IN(2);
    if (bias && beta != 1)
        c = cr_coreml_step(w, n, "mul", &n->in[2]->shape, CR_ARGS({"x", c}, {"y", NUMBER(beta)}));
    if (bias)
        cr_coreml_emit(w, n, 0, "add", CR_ARGS({"x", x}, {"y", c}));
    else
        cr_coreml_emit(w, n, 0, "mul", CR_ARGS({"x", x}, {"y", NUMBER(alpha)}));
    return CR_OK;
}

/* ---- reductions and norms ---- */

static cr_status softmax(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const int rank = n->in[0]->shape.rank;
    int64_t axis = cr_attr_int(n, "axis", -1);
    if (axis < 0) axis += rank;
    (void)err;
    const char *x = IN(0);
    if (n->op->kind == CR_OP_Softmax) {
        cr_coreml_emit(w, n, 0, "softmax", CR_ARGS({"x", x}, {"axis", INT(axis)}));
        return CR_OK;
    }
    cr_shape s = n->in[0]->shape;
    s.dim[axis] = 1;
    const char *sum = cr_coreml_step(
        w, n, "reduce_log_sum_exp", &s,
        CR_ARGS({"x", x}, {"axes", cr_mil_ints(&w->mil, &axis, 1)}, {"keep_dims", BOOL(true)}));
    cr_coreml_emit(w, n, 0, "sub", CR_ARGS({"x", x}, {"y", sum}));
    return CR_OK;
}

static const char *reduce_name(cr_op_kind kind)
{
    switch (kind) {
    case CR_OP_ReduceL1:
        return "reduce_l1_norm";
    case CR_OP_ReduceL2:
        return "reduce_l2_norm";
    case CR_OP_ReduceLogSum:
        return "reduce_log_sum";
    case CR_OP_ReduceLogSumExp:
        return "reduce_log_sum_exp";
    case CR_OP_ReduceMax:
        return "reduce_max";
    case CR_OP_ReduceMean:
        return "reduce_mean";
    case CR_OP_ReduceMin:
        return "reduce_min";
    case CR_OP_ReduceProd:
        return "reduce_prod";
    case CR_OP_ReduceSum:
        return "reduce_sum";
    case CR_OP_ReduceSumSquare:
        return "reduce_sum_square";
    case CR_OP_GlobalAveragePool:
        return "reduce_mean";
    case CR_OP_GlobalMaxPool:
        return "reduce_max";
    default:
        return NULL;
    }
}

static cr_status reduce(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const int rank = n->in[0]->shape.rank;
    const bool global =
        n->op->kind == CR_OP_GlobalAveragePool || n->op->kind == CR_OP_GlobalMaxPool;
    int64_t axes[CR_MAX_RANK];
    size_t count = 0;
    if (has(n, 1) && !n->in[1]->data) return cr_coreml_refuse(n, "along computed axes", err);
    if (has(n, 1) && !global)
        for (int64_t i = 0; i < cr_shape_count(&n->in[1]->shape); i++) {
            const int64_t axis = cr_tensor_get_i64(n->in[1], (size_t)i);
            axes[count++] = axis < 0 ? axis + rank : axis;
        }
    if (!count && cr_attr_int(n, "noop_with_empty_axes", 0)) {
        cr_coreml_emit(w, n, 0, "identity", CR_ARGS({"x", IN(0)}));
        return CR_OK;
    }
    if (!count)
        for (int i = global ? 2 : 0; i < rank; i++) axes[count++] = i;
    cr_coreml_emit(w, n, 0, reduce_name(n->op->kind),
                   CR_ARGS({"x", IN(0)}, {"axes", cr_mil_ints(&w->mil, axes, count)},
                           {"keep_dims", BOOL(global || cr_attr_int(n, "keepdims", 1))}));
    return CR_OK;
}

static cr_status norm(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_kind kind = n->op->kind;
    const int rank = n->in[0]->shape.rank;
    for (int k = 1; k < n->n_in; k++)
        if (has(n, k) && !is_constant(n, k))
            return cr_coreml_refuse(n, "with computed factors", err);
    if (n->n_out > 1 && n->out[1]) return cr_coreml_refuse(n, "that gives mean and deviation", err);
    const char *x = IN(0), *gamma = IN(1), *beta = has(n, 2) ? IN(2) : NULL;
    const char *epsilon = NUMBER(cr_attr_float(n, "epsilon", 1e-5F));
    if (kind == CR_OP_BatchNormalization) {
        cr_coreml_emit(w, n, 0, "batch_norm",
                       CR_ARGS({"x", x}, {"mean", IN(3)}, {"variance", IN(4)}, {"gamma", gamma},
                               {"beta", beta}, {"epsilon", epsilon}));
    } else if (kind == CR_OP_InstanceNormalization) {
        cr_coreml_emit(w, n, 0, "instance_norm",
                       CR_ARGS({"x", x}, {"gamma", gamma}, {"beta", beta}, {"epsilon", epsilon}));
    } else {
        int64_t axes[CR_MAX_RANK], axis = cr_attr_int(n, "axis", -1);
        size_t count = 0;
        for (int64_t i = axis < 0 ? axis + rank : axis; i < rank; i++) axes[count++] = i;
        cr_coreml_emit(w, n, 0, "layer_norm",
                       CR_ARGS({"x", x}, {"axes", cr_mil_ints(&w->mil, axes, count)},
                               {"gamma", gamma}, {beta ? "beta" : NULL, beta},
                               {"epsilon", epsilon}));
    }
    return CR_OK;
}

/* ---- resizing ---- */

/* Which of MIL's rules samples as ONNX's does; NULL: none. */
static const char *sampling_mode(const char *transform)
{
    if (!strcmp(transform, "align_corners")) return "STRICT_ALIGN_CORNERS";
    if (!strcmp(transform, "asymmetric")) return "DEFAULT";
    return !strcmp(transform, "half_pixel") || !strcmp(transform, "pytorch_half_pixel")
               ? "UNALIGN_CORNERS"
               : NULL;
}

/* Whole factors, and the nearest one is the pixel that was there: floor of asymmetric coordinates,
 * or any rounding of half-pixel ones but those to the next (they are never halfway). */
static bool repeats_pixels(const cr_node *n, const char *transform, int64_t fy, int64_t fx)
{
    const char *nearest = cr_attr_string(n, "nearest_mode", "round_prefer_floor");
    const cr_shape *in = &n->in[0]->shape, *out = &n->out[0]->shape;
    if (in->dim[2] * fy != out->dim[2] || in->dim[3] * fx != out->dim[3]) return false;
    if (!strcmp(transform, "asymmetric")) return !strcmp(nearest, "floor");
    return (!strcmp(transform, "half_pixel") || !strcmp(transform, "pytorch_half_pixel")) &&
           !strncmp(nearest, "round_", 6);
}

static cr_status resize(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_shape *in = &n->in[0]->shape, *out = &n->out[0]->shape;
    const char *mode = cr_attr_string(n, "mode", "nearest");
    const char *transform = cr_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    if (in->rank != 4 || in->dim[0] != out->dim[0] || in->dim[1] != out->dim[1])
        return cr_coreml_refuse(n, "of other than height and width", err);
    if (cr_attr_int(n, "antialias", 0)) return cr_coreml_refuse(n, "with antialias", err);
    const int64_t fy = out->dim[2] / in->dim[2], fx = out->dim[3] / in->dim[3];
    if (!strcmp(mode, "nearest") && repeats_pixels(n, transform, fy, fx)) {
        cr_coreml_emit(w, n, 0, "upsample_nearest_neighbor",
                       CR_ARGS({"x", IN(0)}, {"scale_factor_height", INT(fy)},
                               {"scale_factor_width", INT(fx)}));
        return CR_OK;
    }
    const char *sampling = sampling_mode(transform);
    if (strcmp(mode, "linear") || !sampling)
        return cr_coreml_refuse(n, "in this mode (nearest by whole factors and linear it has)",
                                err);
    cr_coreml_emit(w, n, 0, "resize_bilinear",
                   CR_ARGS({"x", IN(0)}, {"target_size_height", INT(out->dim[2])},
                           {"target_size_width", INT(out->dim[3])},
                           {"sampling_mode", STRING(sampling)}));
    return CR_OK;
}

cr_coreml_writer_of cr_coreml_layer(cr_op_kind kind)
{
    if (reduce_name(kind)) return reduce;
    switch (kind) {
    case CR_OP_Conv:
        return conv;
    case CR_OP_ConvTranspose:
        return conv_transpose;
    case CR_OP_MaxPool:
    case CR_OP_AveragePool:
        return pool;
    case CR_OP_MatMul:
        return matmul;
    case CR_OP_Gemm:
        return gemm;
    case CR_OP_Softmax:
    case CR_OP_LogSoftmax:
        return softmax;
    case CR_OP_BatchNormalization:
    case CR_OP_InstanceNormalization:
    case CR_OP_LayerNormalization:
        return norm;
    case CR_OP_Resize:
        return resize;
    default:
        return NULL;
    }
}
