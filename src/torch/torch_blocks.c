/* The forward passes of the blocks of YOLOv3 to YOLO26 (Ultralytics' nn.modules.conv and .block,
 * and YOLOv5's models.common, whose modules and attributes have the same names).
 *
 * Each function below is the formula of one class over its named children: cv1, cv2 ... are
 * convolutions with norm and activation, m is a list or chain of inner blocks. Children that a
 * newer version added are looked for, never assumed (a residual `add`, a fused `conv`). */
#include <string.h>

#include "torch/torch_net.h"

static cr_tensor *run(cr_net *net, const cr_mod *m, const char *child, cr_tensor *x)
{
    return cr_net_run_child(net, m, child, x);
}

static cr_tensor *add(cr_net *net, const cr_mod *m, cr_tensor *a, cr_tensor *b)
{
    return cr_net_binary(net, m, CR_OP_Add, a, b);
}

static bool adds(const cr_mod *m)
{
    return cr_mod_int(m, "add", 0) != 0;
}

/* parts[n] = child i of list `m`, run on the part before; the new count. */
static size_t chain(cr_net *net, const cr_mod *m, cr_tensor **parts, size_t n)
{
    const size_t inner = cr_mod_count(m, "m");
    for (size_t i = 0; i < inner && net->st == CR_OK; i++, n++) {
        if (n == CR_NET_MAX_PARTS) {
            cr_net_fail(net, CR_ERR_LIMIT, "%s: more than %d parts", m->path, CR_NET_MAX_PARTS);
            break;
        }
        parts[n] = cr_net_run_item(net, m, "m", i, parts[n - 1]);
    }
    return n;
}

/* ---- convolutions ---- */

static cr_tensor *norm_and_act(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    if (cr_mod_has(m, "bn")) x = run(net, m, "bn", x);
    return cr_mod_has(m, "act") ? run(net, m, "act", x) : x;
}

static cr_tensor *conv(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return norm_and_act(net, m, run(net, m, "conv", x));
}

static cr_tensor *conv2(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *y = run(net, m, "conv", x);
    if (cr_mod_has(m, "cv2")) y = add(net, m, y, run(net, m, "cv2", x));
    return norm_and_act(net, m, y);
}

static cr_tensor *conv_transpose(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return norm_and_act(net, m, run(net, m, "conv_transpose", x));
}

static cr_tensor *light_conv(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return run(net, m, "conv2", run(net, m, "conv1", x));
}

/* Every other pixel becomes a channel: (even, even), (odd, even), (even, odd), (odd, odd) rows and
 * columns, in this order. */
static cr_tensor *focus(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = cr_net_slice(net, m, cr_net_slice(net, m, x, 2, i % 2, INT64_MAX, 2), 3, i / 2,
                                INT64_MAX, 2);
    return run(net, m, "conv", cr_net_concat(net, m, 1, parts, 4));
}

static cr_tensor *ghost_conv(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[2];
    parts[0] = run(net, m, "cv1", x);
    parts[1] = run(net, m, "cv2", parts[0]);
    return cr_net_concat(net, m, 1, parts, 2);
}

/* Training's sum of branches, or the one convolution that fusing left. */
static cr_tensor *rep_conv(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    if (cr_mod_has(m, "conv")) return run(net, m, "act", run(net, m, "conv", x));
    cr_tensor *y = add(net, m, run(net, m, "conv1", x), run(net, m, "conv2", x));
    if (cr_mod_has(m, "bn")) y = add(net, m, y, run(net, m, "bn", x));
    return run(net, m, "act", y);
}

static cr_tensor *rep_vgg(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *y = run(net, m, "conv", x);
    if (cr_mod_has(m, "conv1")) y = add(net, m, y, run(net, m, "conv1", x));
    return run(net, m, "act", y);
}

static cr_tensor *sc_down(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return run(net, m, "cv2", run(net, m, "cv1", x));
}

/* ---- bottlenecks ---- */

static cr_tensor *bottleneck(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *y = run(net, m, "cv2", run(net, m, "cv1", x));
    return adds(m) ? add(net, m, x, y) : y;
}

static cr_tensor *cib(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *y = run(net, m, "cv1", x);
    return adds(m) ? add(net, m, x, y) : y;
}

static cr_tensor *ghost_bottleneck(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return add(net, m, run(net, m, "conv", x), run(net, m, "shortcut", x));
}

static cr_tensor *bottleneck_csp(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[2] = {run(net, m, "cv3", run(net, m, "m", run(net, m, "cv1", x))),
                           run(net, m, "cv2", x)};
    return run(net, m, "cv4", norm_and_act(net, m, cr_net_concat(net, m, 1, parts, 2)));
}

/* ---- stages ---- */

static cr_tensor *c1(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *y = run(net, m, "cv1", x);
    return add(net, m, run(net, m, "m", y), y);
}

static cr_tensor *c2(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[2];
    if (!cr_net_halves(net, m, run(net, m, "cv1", x), parts)) return NULL;
    parts[0] = run(net, m, "m", parts[0]);
    return run(net, m, "cv2", cr_net_concat(net, m, 1, parts, 2));
}

static cr_tensor *c2f(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[CR_NET_MAX_PARTS];
    if (!cr_net_halves(net, m, run(net, m, "cv1", x), parts)) return NULL;
    const size_t n = chain(net, m, parts, 2);
    return run(net, m, "cv2", cr_net_concat(net, m, 1, parts, n));
}

static cr_tensor *c3(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[2] = {run(net, m, "m", run(net, m, "cv1", x)), run(net, m, "cv2", x)};
    return run(net, m, "cv3", cr_net_concat(net, m, 1, parts, 2));
}

static cr_tensor *c3f(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[CR_NET_MAX_PARTS] = {run(net, m, "cv2", x), run(net, m, "cv1", x)};
    const size_t n = chain(net, m, parts, 2);
    return run(net, m, "cv3", cr_net_concat(net, m, 1, parts, n));
}

static cr_tensor *rep_c3(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *y = run(net, m, "m", run(net, m, "cv1", x));
    return run(net, m, "cv3", add(net, m, y, run(net, m, "cv2", x)));
}

/* RepNCSPELAN4 and ELAN1: two more parts, each from the one before. */
static cr_tensor *elan(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[4];
    if (!cr_net_halves(net, m, run(net, m, "cv1", x), parts)) return NULL;
    parts[2] = run(net, m, "cv2", parts[1]);
    parts[3] = run(net, m, "cv3", parts[2]);
    return run(net, m, "cv4", cr_net_concat(net, m, 1, parts, 4));
}

/* A residual stage scales its result by gamma, one factor per channel. */
static cr_tensor *a2c2f(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[CR_NET_MAX_PARTS] = {run(net, m, "cv1", x)};
    const size_t n = chain(net, m, parts, 1);
    cr_tensor *y = run(net, m, "cv2", cr_net_concat(net, m, 1, parts, n));
    if (!cr_mod_tensor(m, "gamma")) return y;
    const int64_t dims[4] = {1, cr_net_dim(y, 1), 1, 1};
    cr_tensor *gamma = cr_net_reshape(net, m, cr_mod_weight(net, m, "gamma"), dims, 4);
    return add(net, m, x, cr_net_binary(net, m, CR_OP_Mul, gamma, y));
}

/* ---- pooling ---- */

static cr_tensor *spp(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[CR_NET_MAX_PARTS] = {run(net, m, "cv1", x)};
    const size_t pools = cr_mod_count(m, "m");
    for (size_t i = 0; i < pools && i + 1 < CR_NET_MAX_PARTS; i++)
        parts[i + 1] = cr_net_run_item(net, m, "m", i, parts[0]);
    return run(net, m, "cv2", cr_net_concat(net, m, 1, parts, pools + 1));
}

static cr_tensor *sppf(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    const int64_t n = cr_mod_int(m, "n", 3); /* newer versions let it be chosen */
    cr_tensor *parts[CR_NET_MAX_PARTS] = {run(net, m, "cv1", x)};
    if (n < 1 || n >= CR_NET_MAX_PARTS)
        return cr_net_fail(net, CR_ERR_LIMIT, "%s: pools %lld times", m->path, (long long)n);
    for (int64_t i = 0; i < n; i++) parts[i + 1] = run(net, m, "m", parts[i]);
    cr_tensor *y = run(net, m, "cv2", cr_net_concat(net, m, 1, parts, (size_t)n + 1));
    return adds(m) ? add(net, m, y, x) : y;
}

static cr_tensor *spp_elan(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[4] = {run(net, m, "cv1", x)};
    parts[1] = run(net, m, "cv2", parts[0]);
    parts[2] = run(net, m, "cv3", parts[1]);
    parts[3] = run(net, m, "cv4", parts[2]);
    return run(net, m, "cv5", cr_net_concat(net, m, 1, parts, 4));
}

static cr_tensor *window(cr_net *net, const cr_mod *m, cr_tensor *x, cr_op_kind kind, int64_t size,
                         int64_t stride, int64_t pad)
{
    int64_t kernel[2] = {size, size}, strides[2] = {stride, stride}, pads[4] = {pad, pad, pad, pad};
    const cr_attr attrs[] = {CR_A_INTS("kernel_shape", kernel, 2), CR_A_INTS("pads", pads, 4),
                             CR_A_INTS("strides", strides, 2), CR_A_INT("count_include_pad", 1)};
    return cr_net_op(net, m, kind, &x, 1, attrs, kind == CR_OP_AveragePool ? 4 : 3);
}

static cr_tensor *a_conv(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return run(net, m, "cv1", window(net, m, x, CR_OP_AveragePool, 2, 1, 0));
}

static cr_tensor *a_down(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[2];
    if (!cr_net_halves(net, m, window(net, m, x, CR_OP_AveragePool, 2, 1, 0), parts)) return NULL;
    parts[0] = run(net, m, "cv1", parts[0]);
    parts[1] = run(net, m, "cv2", window(net, m, parts[1], CR_OP_MaxPool, 3, 2, 1));
    return cr_net_concat(net, m, 1, parts, 2);
}

/* ---- prototypes of masks ---- */

static cr_tensor *proto(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    return run(net, m, "cv3", run(net, m, "cv2", run(net, m, "upsample", run(net, m, "cv1", x))));
}

/* ---- classifiers ---- */

static cr_tensor *classify(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    x = run(net, m, "pool", run(net, m, "conv", x));
    x = cr_net_op(net, m, CR_OP_Flatten, &x, 1, &CR_A_INT("axis", 1), 1);
    return cr_net_softmax(net, m, run(net, m, "linear", x), 1);
}

cr_forward cr_torch_block(const char *name)
{
    static const cr_module_class classes[] = {
        {"A2C2f", a2c2f},
        {"AConv", a_conv},
        {"ADown", a_down},
        {"Bottleneck", bottleneck},
        {"BottleneckCSP", bottleneck_csp},
        {"C1", c1},
        {"C2", c2},
        {"C2f", c2f},
        {"C2fCIB", c2f},
        {"C2fPSA", c2f},
        {"C3", c3},
        {"C3Ghost", c3},
        {"C3f", c3f},
        {"C3k", c3},
        {"C3k2", c2f},
        {"C3x", c3},
        {"CIB", cib},
        {"Classify", classify},
        {"Conv", conv},
        {"Conv2", conv2},
        {"ConvTranspose", conv_transpose},
        {"DWConv", conv},
        {"ELAN1", elan},
        {"Focus", focus},
        {"GhostBottleneck", ghost_bottleneck},
        {"GhostConv", ghost_conv},
        {"LightConv", light_conv},
        {"Proto", proto},
        {"RepBottleneck", bottleneck},
        {"RepC3", rep_c3},
        {"RepCSP", c3},
        {"RepConv", rep_conv},
        {"RepNCSPELAN4", elan},
        {"RepVGGDW", rep_vgg},
        {"SCDown", sc_down},
        {"SPP", spp},
        {"SPPELAN", spp_elan},
        {"SPPF", sppf},
    };
    return cr_torch_find(classes, sizeof classes / sizeof *classes, name);
}
