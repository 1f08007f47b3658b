/* The forward passes of torch.nn's own modules that detectors are made of.
 *
 * Attributes are those that the constructors of PyTorch store. What would change the result and is
 * not expressed here (padding by reflection, bilinear upsampling) is refused by name. */
#include <math.h>
#include <string.h>

#include "torch/torch_net.h"

static cr_tensor *refuse(cr_net *net, const cr_mod *m, const char *what)
{
    return cr_net_fail(net, CR_ERR_UNSUPPORTED, "%s (%s): %s is not known here", m->path,
                       cr_pkl_class(m->v), what);
}

static cr_tensor *as_it_is(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return x;
}

/* ---- convolutions ---- */

typedef struct window {
    int64_t stride[2], pads[4], dilation[2], groups, output_padding[2];
} window;

/* "same" pads so that a stride of 1 keeps the size, the odd one behind. */
static void pad_same(const cr_tensor *w, window *c)
{
    for (int d = 0; d < 2; d++) {
        const int64_t all = c->dilation[d] * (cr_net_dim(w, 2 + d) - 1);
        c->pads[d] = all / 2;
        c->pads[2 + d] = all - all / 2;
    }
}

static bool read_window(cr_net *net, const cr_mod *m, const cr_tensor *w, window *c)
{
    const cr_pkl *padding = cr_mod_attr(m, "padding"), *mode = cr_mod_attr(m, "padding_mode");
    int64_t pad[2] = {0, 0};
    *c = (window){.groups = cr_mod_int(m, "groups", 1)};
    bool ok = cr_mod_pair(m, "stride", 1, c->stride) &&
              cr_mod_pair(m, "dilation", 1, c->dilation) &&
              cr_mod_pair(m, "output_padding", 0, c->output_padding);
    for (int d = 0; d < 2; d++) ok = ok && c->dilation[d] > 0 && c->dilation[d] < 1 << 16;
    if (mode && !cr_pkl_is_text(mode, "zeros")) ok = refuse(net, m, "this padding mode") != NULL;
    if (!ok) {
        cr_net_fail(net, CR_ERR_FORMAT, "%s: its window makes no sense", m->path);
        return false;
    }
    if (cr_pkl_is_text(padding, "same")) {
        pad_same(w, c);
    } else if (!cr_pkl_is_text(padding, "valid")) {
        if (!cr_mod_pair(m, "padding", 0, pad)) return refuse(net, m, "this padding") != NULL;
        for (int d = 0; d < 4; d++) c->pads[d] = pad[d % 2];
    }
    return true;
}

static cr_tensor *convolve(cr_net *net, const cr_mod *m, cr_tensor *x, cr_op_kind kind)
{
    window c;
    const bool biased = cr_mod_tensor(m, "bias") != NULL;
    cr_tensor *w = cr_mod_weight(net, m, "weight");
    if (!w || !read_window(net, m, w, &c)) return NULL;
    if (w->shape.rank != 4)
        return cr_net_fail(net, CR_ERR_FORMAT, "%s: weights of rank %d, not 4", m->path,
                           w->shape.rank);
    cr_tensor *in[3] = {x, w, biased ? cr_mod_weight(net, m, "bias") : NULL};
    const cr_attr attrs[] = {CR_A_INTS("dilations", c.dilation, 2),
                             CR_A_INT("group", c.groups),
                             CR_A_INTS("kernel_shape", &w->shape.dim[2], 2),
                             CR_A_INTS("pads", c.pads, 4),
                             CR_A_INTS("strides", c.stride, 2),
                             CR_A_INTS("output_padding", c.output_padding, 2)};
    return cr_net_op(net, m, kind, in, biased ? 3 : 2, attrs, kind == CR_OP_Conv ? 5 : 6);
}

static cr_tensor *conv2d(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return convolve(net, m, x, CR_OP_Conv);
}

static cr_tensor *conv_transpose2d(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return convolve(net, m, x, CR_OP_ConvTranspose);
}

static cr_tensor *linear(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    const bool biased = cr_mod_tensor(m, "bias") != NULL;
    cr_tensor *in[3] = {x, cr_mod_weight(net, m, "weight"),
                        biased ? cr_mod_weight(net, m, "bias") : NULL};
    return cr_net_op(net, m, CR_OP_Gemm, in, biased ? 3 : 2, &CR_A_INT("transB", 1), 1);
}

static cr_tensor *batch_norm(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *in[5] = {x, cr_mod_weight(net, m, "weight"), cr_mod_weight(net, m, "bias"),
                        cr_mod_weight(net, m, "running_mean"),
                        cr_mod_weight(net, m, "running_var")};
    const double eps = cr_mod_float(m, "eps", 1e-5);
    if (!(eps >= 0 && eps < 1)) return refuse(net, m, "its eps");
    return cr_net_op(net, m, CR_OP_BatchNormalization, in, 5, &CR_A_FLOAT("epsilon", (float)eps),
                     1);
}

/* ---- pooling, sizes ---- */

static cr_tensor *pool(cr_net *net, const cr_mod *m, cr_tensor *x, cr_op_kind kind)
{
    int64_t kernel[2], stride[2], pad[2], dilation[2];
    const cr_pkl *ceiling = cr_mod_attr(m, "ceil_mode");
    if (!cr_mod_pair(m, "kernel_size", 1, kernel) || !cr_mod_pair(m, "stride", kernel[0], stride) ||
        !cr_mod_pair(m, "padding", 0, pad) || !cr_mod_pair(m, "dilation", 1, dilation))
        return cr_net_fail(net, CR_ERR_FORMAT, "%s: its window makes no sense", m->path);
    const cr_pkl *divisor = cr_mod_attr(m, "divisor_override");
    if (divisor && divisor->kind != CR_PKL_NONE) return refuse(net, m, "a divisor of its own");
    int64_t pads[4] = {pad[0], pad[1], pad[0], pad[1]};
    const bool max = kind == CR_OP_MaxPool;
    const cr_attr attrs[] = {
        CR_A_INT("ceil_mode", cr_pkl_int(ceiling, 0)), CR_A_INTS("kernel_shape", kernel, 2),
        CR_A_INTS("pads", pads, 4), CR_A_INTS("strides", stride, 2),
        max ? CR_A_INTS("dilations", dilation, 2)
            : CR_A_INT("count_include_pad", cr_mod_int(m, "count_include_pad", 1))};
    return cr_net_op(net, m, kind, &x, 1, attrs, 5);
}

static cr_tensor *max_pool(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return pool(net, m, x, CR_OP_MaxPool);
}

static cr_tensor *average_pool(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return pool(net, m, x, CR_OP_AveragePool);
}

static cr_tensor *global_pool(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    int64_t size[2];
    if (!cr_mod_pair(m, "output_size", 0, size) || size[0] != 1 || size[1] != 1)
        return refuse(net, m, "an output size other than 1");
    return cr_net_unary(net, m, CR_OP_GlobalAveragePool, x);
}

static cr_tensor *upsample(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    const cr_pkl *factor = cr_mod_attr(m, "scale_factor");
    if (factor && factor->kind == CR_PKL_TUPLE && factor->list.count == 2 &&
        cr_pkl_float(factor->list.item[0], 0) == cr_pkl_float(factor->list.item[1], 0))
        factor = factor->list.item[0];
    const double scale = cr_pkl_float(factor, 0);
    if (!cr_pkl_is_text(cr_mod_attr(m, "mode"), "nearest")) return refuse(net, m, "this mode");
    if (!(scale >= 1 && scale <= 64)) return refuse(net, m, "this scale factor");
    cr_tensor *scales = cr_net_const_f32(net, m, (cr_shape){1, {4}});
    if (!scales) return NULL;
    float *s = scales->data;
    s[0] = s[1] = 1;
    s[2] = s[3] = (float)scale;
    cr_tensor *in[3] = {x, NULL, scales};
    const cr_attr attrs[] = {CR_A_STRING("coordinate_transformation_mode", "asymmetric"),
                             CR_A_STRING("mode", "nearest"), CR_A_STRING("nearest_mode", "floor")};
    return cr_net_op(net, m, CR_OP_Resize, in, 3, attrs, 3);
}

static cr_tensor *zero_pad(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    int64_t p[4]; /* left, right, top, bottom */
    if (cr_mod_ints(m, "padding", p, 4) != 4) return refuse(net, m, "this padding");
    const int64_t pads[8] = {0, 0, p[2], p[0], 0, 0, p[3], p[1]};
    cr_tensor *in[2] = {x, cr_net_const_i64(net, m, pads, 8)};
    return cr_net_op(net, m, CR_OP_Pad, in, 2, &CR_A_STRING("mode", "constant"), 1);
}

static cr_tensor *flatten(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    if (cr_mod_int(m, "start_dim", 1) != 1 || cr_mod_int(m, "end_dim", -1) != -1)
        return refuse(net, m, "this range of dimensions");
    return cr_net_op(net, m, CR_OP_Flatten, &x, 1, &CR_A_INT("axis", 1), 1);
}

/* ---- activations ---- */

static cr_tensor *silu(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return cr_net_binary(net, m, CR_OP_Mul, x, cr_net_unary(net, m, CR_OP_Sigmoid, x));
}

static cr_tensor *sigmoid(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return cr_net_unary(net, m, CR_OP_Sigmoid, x);
}

static cr_tensor *relu(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return cr_net_unary(net, m, CR_OP_Relu, x);
}

static cr_tensor *hard_swish(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return cr_net_unary(net, m, CR_OP_HardSwish, x);
}

static cr_tensor *mish(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return cr_net_unary(net, m, CR_OP_Mish, x);
}

static cr_tensor *tanh_of(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return cr_net_unary(net, m, CR_OP_Tanh, x);
}

static cr_tensor *gelu(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    const bool by_tanh = cr_pkl_is_text(cr_mod_attr(m, "approximate"), "tanh");
    return cr_net_op(net, m, CR_OP_Gelu, &x, 1,
                     &CR_A_STRING("approximate", by_tanh ? "tanh" : "none"), 1);
}

static cr_tensor *relu6(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *in[3] = {x, cr_net_const_f32(net, m, (cr_shape){0, {0}}),
                        cr_net_const_f32(net, m, (cr_shape){0, {0}})};
    if (in[2]) *(float *)in[2]->data = 6;
    return cr_net_op(net, m, CR_OP_Clip, in, 3, NULL, 0);
}

static cr_tensor *with_alpha(cr_net *net, const cr_mod *m, cr_tensor *x, cr_op_kind kind,
                             double alpha)
{
    if (!(fabs(alpha) < 1e6)) return refuse(net, m, "its slope");
    return cr_net_op(net, m, kind, &x, 1, &CR_A_FLOAT("alpha", (float)alpha), 1);
}

static cr_tensor *leaky_relu(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return with_alpha(net, m, x, CR_OP_LeakyRelu, cr_mod_float(m, "negative_slope", 0.01));
}

static cr_tensor *elu(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return with_alpha(net, m, x, CR_OP_Elu, cr_mod_float(m, "alpha", 1));
}

/* ---- ---- */

static cr_tensor *sequential(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    const size_t n = cr_mod_count(m, NULL);
    for (size_t i = 0; i < n; i++) x = cr_net_run_item(net, m, NULL, i, x);
    return x;
}

cr_forward cr_torch_layer(const char *name)
{
    static const cr_module_class classes[] = {
        {"AdaptiveAvgPool2d", global_pool},
        {"AvgPool2d", average_pool},
        {"BatchNorm2d", batch_norm},
        {"Conv2d", conv2d},
        {"ConvTranspose2d", conv_transpose2d},
        {"DWConvTranspose2d", conv_transpose2d},
        {"Dropout", as_it_is},
        {"ELU", elu},
        {"Flatten", flatten},
        {"GELU", gelu},
        {"Hardswish", hard_swish},
        {"Identity", as_it_is},
        {"LeakyReLU", leaky_relu},
        {"Linear", linear},
        {"MaxPool2d", max_pool},
        {"Mish", mish},
        {"ReLU", relu},
        {"ReLU6", relu6},
        {"Sequential", sequential},
        {"SiLU", silu},
        {"Sigmoid", sigmoid},
        {"Tanh", tanh_of},
        {"Upsample", upsample},
        {"ZeroPad2d", zero_pad},
    };
    return cr_torch_find(classes, sizeof classes / sizeof *classes, name);
}
