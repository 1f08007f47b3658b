/* Geometry of sliding windows: attributes to per-dimension numbers, all checked.
 *
 * Every number of a node is bounded by 2^31 before it meets another one, so no sum or product below
 * can overflow 64 bits. */
#include <string.h>

#include "graph/nn_rules.h"
#include "graph/shape.h"

static const int64_t limit = (int64_t)1 << 31;

void cr_window_span(const cr_window *w, int dim, int64_t k, int64_t *lo, int64_t *hi)
{
    const int64_t s = w->stride[dim], first = w->pad_lo[dim] - k * w->dilation[dim];
    const int64_t last = w->in[dim] - 1 + first;
    *lo = first > 0 ? (first + s - 1) / s : 0;
    *hi = last < 0 ? 0 : last / s + 1;
    if (*hi > w->out[dim]) *hi = w->out[dim];
    if (*lo > *hi) *lo = *hi;
}

static void window_init(cr_window *w, int n)
{
    *w = (cr_window){.n = n};
    for (int i = 0; i < CR_WINDOW_DIMS; i++)
        w->in[i] = w->out[i] = w->kernel[i] = w->stride[i] = w->dilation[i] = 1;
}

/* A list attribute of exactly n numbers in min .. 2^31-1; NULL when it is absent. */
static cr_status read_list(const cr_op_call *call, const char *name, int n, int64_t min,
                           const int64_t **out, cr_error *err)
{
    size_t count = 0;
    *out = cr_attr_ints(call->node, name, &count);
    if (count == 0) return CR_OK;
    CR_OP_CHECK(count == (size_t)n, call, err, "attribute %s has %zu numbers, expected %d", name,
                count, n);
    for (int i = 0; i < n; i++)
        CR_OP_CHECK((*out)[i] >= min && (*out)[i] < limit, call, err,
                    "attribute %s: %lld is out of range", name, (long long)(*out)[i]);
    return CR_OK;
}

/* Strides, dilations, pads and the input's size; kernel and out are the caller's. */
static cr_status read_common(const cr_op_call *call, const cr_shape *x, cr_window *w, cr_error *err)
{
    const int n = x->rank - 2, skip = CR_WINDOW_DIMS - n;
    CR_OP_CHECK(n >= 1, call, err, "input '%s' needs spatial dimensions", call->in[0]->name);
    if (n > CR_WINDOW_DIMS)
        return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "more than %d spatial dimensions",
                          CR_WINDOW_DIMS);
    window_init(w, n);
    const int64_t *strides = NULL, *dilations = NULL, *pads = NULL;
    CR_TRY(read_list(call, "strides", n, 1, &strides, err));
    CR_TRY(read_list(call, "dilations", n, 1, &dilations, err));
    CR_TRY(read_list(call, "pads", 2 * n, 0, &pads, err));
    for (int i = 0; i < n; i++) {
        CR_OP_CHECK(x->dim[2 + i] < limit, call, err, "spatial dimension %d is too large", i);
        w->in[skip + i] = x->dim[2 + i];
        if (strides) w->stride[skip + i] = strides[i];
        if (dilations) w->dilation[skip + i] = dilations[i];
        if (pads) w->pad_lo[skip + i] = pads[i];
        if (pads) w->pad_hi[skip + i] = pads[n + i];
    }
    return CR_OK;
}

typedef enum auto_pad { PAD_EXPLICIT, PAD_VALID, PAD_SAME_UPPER, PAD_SAME_LOWER } auto_pad;

static cr_status read_auto_pad(const cr_op_call *call, auto_pad *mode, cr_error *err)
{
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    const char *s = cr_attr_string(call->node, "auto_pad", "NOTSET");
    for (int i = 0; i < 4; i++)
        if (!strcmp(s, names[i])) {
            *mode = (auto_pad)i;
            return CR_OK;
        }
    return cr_op_fail(call, err, CR_ERR_FORMAT, "auto_pad '%s' is unknown", s);
}

static int64_t extent(const cr_window *w, int d)
{
    return (w->kernel[d] - 1) * w->dilation[d] + 1;
}

static void split_pad(cr_window *w, int d, int64_t total, bool extra_last)
{
    if (total < 0) total = 0;
    w->pad_lo[d] = extra_last ? total / 2 : total - total / 2;
    w->pad_hi[d] = total - w->pad_lo[d];
}

/* Output length of one dimension, floor or ceil; a window that would start behind the input and
 * its leading padding does not exist. */
static cr_status slide(const cr_op_call *call, cr_window *w, int d, auto_pad mode, bool ceiling,
                       cr_error *err)
{
    const int64_t s = w->stride[d], size = extent(w, d);
    if (mode == PAD_SAME_UPPER || mode == PAD_SAME_LOWER) {
        w->out[d] = (w->in[d] + s - 1) / s;
        split_pad(w, d, (w->out[d] - 1) * s + size - w->in[d], mode == PAD_SAME_UPPER);
        return CR_OK;
    }
    if (mode == PAD_VALID) w->pad_lo[d] = w->pad_hi[d] = 0;
    const int64_t room = w->in[d] + w->pad_lo[d] + w->pad_hi[d] - size;
    CR_OP_CHECK(room >= 0, call, err, "a window of %lld does not fit into a length of %lld",
                (long long)size, (long long)(room + size));
    w->out[d] = (room + (ceiling ? s - 1 : 0)) / s + 1;
    if (ceiling && (w->out[d] - 1) * s >= w->in[d] + w->pad_lo[d]) w->out[d]--;
    return CR_OK;
}

/* Planes and kernels must stay countable even where the batch is empty and nothing else bounds
 * them. */
static cr_status check_volumes(const cr_op_call *call, const cr_window *w, cr_error *err)
{
    const int64_t *const lists[] = {w->in, w->out, w->kernel};
    for (int i = 0; i < 3; i++) {
        const cr_shape s = {3, {lists[i][0] + 1, lists[i][1] + 1, lists[i][2] + 1}};
        if (cr_shape_count(&s) < 0)
            return cr_op_fail(call, err, CR_ERR_LIMIT,
                              "its window or a plane below it is too large");
    }
    return CR_OK;
}

static cr_status slide_all(const cr_op_call *call, cr_window *w, bool ceiling, cr_error *err)
{
    auto_pad mode = PAD_EXPLICIT;
    CR_TRY(read_auto_pad(call, &mode, err));
    for (int d = CR_WINDOW_DIMS - w->n; d < CR_WINDOW_DIMS; d++)
        CR_TRY(slide(call, w, d, mode, ceiling, err));
    return check_volumes(call, w, err);
}

cr_status cr_window_pool(const cr_op_call *call, cr_window *w, cr_error *err)
{
    const int64_t *kernel = NULL;
    CR_TRY(read_common(call, &call->in[0]->shape, w, err));
    CR_TRY(read_list(call, "kernel_shape", w->n, 1, &kernel, err));
    CR_OP_CHECK(kernel, call, err, "attribute kernel_shape is missing");
    for (int i = 0; i < w->n; i++) {
        const int d = CR_WINDOW_DIMS - w->n + i;
        w->kernel[d] = kernel[i];
        CR_OP_CHECK(w->pad_lo[d] < extent(w, d) && w->pad_hi[d] < extent(w, d), call, err,
                    "padding is not smaller than the window");
    }
    return slide_all(call, w, cr_attr_int(call->node, "ceil_mode", 0) != 0, err);
}

/* Kernel from the weights; the attribute may repeat it, but not differ. */
static cr_status read_kernel(const cr_op_call *call, const cr_shape *weights, cr_window *w,
                             cr_error *err)
{
    const int64_t *kernel = NULL;
    CR_OP_CHECK(weights->rank == w->n + 2, call, err, "weights have %d dimensions, expected %d",
                weights->rank, w->n + 2);
    CR_TRY(read_list(call, "kernel_shape", w->n, 1, &kernel, err));
    for (int i = 0; i < w->n; i++) {
        const int64_t k = weights->dim[2 + i];
        CR_OP_CHECK(k >= 1 && k < limit && (!kernel || kernel[i] == k), call, err,
                    "kernel_shape and the weights' shape differ");
        w->kernel[CR_WINDOW_DIMS - w->n + i] = k;
    }
    return CR_OK;
}

static cr_status read_groups(const cr_op_call *call, cr_conv_shape *c, cr_error *err)
{
    c->groups = cr_attr_int(call->node, "group", 1);
    CR_OP_CHECK(c->groups >= 1 && c->groups < limit, call, err, "group %lld is out of range",
                (long long)c->groups);
    return CR_OK;
}

cr_status cr_conv_read(const cr_op_call *call, int weights, cr_conv_shape *c, cr_error *err)
{
    const cr_shape *x = &call->in[0]->shape, *w = &call->in[weights]->shape;
    *c = (cr_conv_shape){0};
    CR_TRY(read_common(call, x, &c->win, err));
    CR_TRY(read_kernel(call, w, &c->win, err));
    CR_TRY(read_groups(call, c, err));
    c->batch = x->dim[0];
    c->in_channels = x->dim[1];
    c->out_channels = w->dim[0];
    CR_OP_CHECK(c->in_channels % c->groups == 0 && c->in_channels / c->groups == w->dim[1], call,
                err, "%lld input channels in %lld groups do not fit weights for %lld",
                (long long)c->in_channels, (long long)c->groups, (long long)w->dim[1]);
    CR_OP_CHECK(c->out_channels % c->groups == 0, call, err,
                "%lld output channels cannot be split into %lld groups", (long long)c->out_channels,
                (long long)c->groups);
    return slide_all(call, &c->win, false, err);
}

/* Either the output length follows from the padding or, where the file gives the length, the other
 * way round. ONNX puts the odd element of such a padding first unless SAME_UPPER is asked for. */
static cr_status spread(const cr_op_call *call, cr_window *w, int d, auto_pad mode, int64_t adjust,
                        int64_t wanted, cr_error *err)
{
    if (mode == PAD_VALID) w->pad_lo[d] = w->pad_hi[d] = 0;
    const int64_t full = w->stride[d] * (w->in[d] - 1) + adjust + extent(w, d);
    if (wanted < 0 && (mode == PAD_SAME_UPPER || mode == PAD_SAME_LOWER))
        wanted = w->in[d] * w->stride[d];
    if (wanted >= 0)
        split_pad(w, d, full - wanted, mode == PAD_SAME_UPPER);
    else
        wanted = full - w->pad_lo[d] - w->pad_hi[d];
    CR_OP_CHECK(wanted >= 0, call, err, "padding is larger than the output");
    w->out[d] = wanted;
    return CR_OK;
}

cr_status cr_conv_transpose_read(const cr_op_call *call, cr_conv_shape *c, cr_error *err)
{
    const cr_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    const int64_t *adjust = NULL, *wanted = NULL;
    auto_pad mode = PAD_EXPLICIT;
    *c = (cr_conv_shape){0};
    CR_TRY(read_common(call, x, &c->win, err));
    CR_TRY(read_kernel(call, w, &c->win, err));
    CR_TRY(read_groups(call, c, err));
    c->batch = x->dim[0];
    c->in_channels = x->dim[1];
    CR_OP_CHECK(c->in_channels == w->dim[0] && c->in_channels % c->groups == 0, call, err,
                "%lld input channels in %lld groups do not fit weights for %lld",
                (long long)c->in_channels, (long long)c->groups, (long long)w->dim[0]);
    CR_OP_CHECK(w->dim[1] < limit, call, err, "too many output channels");
    c->out_channels = w->dim[1] * c->groups;
    CR_TRY(read_auto_pad(call, &mode, err));
    CR_TRY(read_list(call, "output_padding", c->win.n, 0, &adjust, err));
    CR_TRY(read_list(call, "output_shape", c->win.n, 0, &wanted, err));
    for (int i = 0; i < c->win.n; i++)
        CR_TRY(spread(call, &c->win, CR_WINDOW_DIMS - c->win.n + i, mode, adjust ? adjust[i] : 0,
                      wanted ? wanted[i] : -1, err));
    return check_volumes(call, &c->win, err);
}

cr_shape cr_conv_out_shape(const cr_conv_shape *c)
{
    cr_shape s = {.rank = c->win.n + 2, .dim = {c->batch, c->out_channels}};
    for (int i = 0; i < c->win.n; i++) s.dim[2 + i] = c->win.out[CR_WINDOW_DIMS - c->win.n + i];
    return s;
}
