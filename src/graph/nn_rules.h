/* What shape inference and evaluation of neural operators both need: the geometry of sliding
 * windows, products of matrices, Einsum equations, Resize factors and non-maximum suppression. Each
 * is read once from a node by one function, which checks it, so that the two sides cannot differ.
 */
#ifndef CR_GRAPH_NN_RULES_H
#define CR_GRAPH_NN_RULES_H

#include "base/error.h"
#include "graph/graph.h"

/* A window that slides over 1 to 3 spatial dimensions. Always stored as three (depth, height,
 * width): those that are missing come first and have in = out = kernel = stride = dilation = 1 and
 * no padding. Input position of kernel tap k under output o: o * stride - pad_lo + k * dilation. */
enum { CR_WINDOW_DIMS = 3 };
typedef struct cr_window {
    int n; /* dimensions that the node really has */
    int64_t in[CR_WINDOW_DIMS], out[CR_WINDOW_DIMS], kernel[CR_WINDOW_DIMS];
    int64_t stride[CR_WINDOW_DIMS], dilation[CR_WINDOW_DIMS];
    int64_t pad_lo[CR_WINDOW_DIMS], pad_hi[CR_WINDOW_DIMS];
} cr_window;

/* Outputs o with 0 <= o * stride - pad_lo + k * dilation < in are from *lo to *hi - 1. */
void cr_window_span(const cr_window *w, int dim, int64_t k, int64_t *lo, int64_t *hi);

/* Pooling: x is [N, C, D...], the kernel is the attribute kernel_shape. */
cr_status cr_window_pool(const cr_op_call *call, cr_window *w, cr_error *err);

/* A convolution or transposed convolution: x [N, C, D...] (input 0), weights [M, C/g, k...] (for
 * the transposed one [C, M/g, k...]). In a transposed window `in` and `out` keep their meaning, and
 * output position = i * stride - pad_lo + k * dilation. */
typedef struct cr_conv_shape {
    cr_window win;
    int64_t batch, in_channels, out_channels, groups;
} cr_conv_shape;

/* `weights`: index of the weight input (1; 3 in QLinearConv). */
cr_status cr_conv_read(const cr_op_call *call, int weights, cr_conv_shape *c, cr_error *err);
cr_status cr_conv_transpose_read(const cr_op_call *call, cr_conv_shape *c, cr_error *err);
/* [N, M, out...]. */
cr_shape cr_conv_out_shape(const cr_conv_shape *c);

/* numpy's matmul: a [..., m, k] times b [..., k, n]; 1-D operands lose their dimension again. */
typedef struct cr_matmul_shape {
    int64_t m, n, k;
    cr_shape batch, a_batch, b_batch; /* leading dims: of the result, and as a and b have them */
    cr_shape out;
} cr_matmul_shape;

cr_status cr_matmul_read(const cr_op_call *call, int a, int b, cr_matmul_shape *s, cr_error *err);

/* An Einsum equation as loops: label l runs over 0 .. size[l]-1; the first `out_labels` of them
 * index the output in order, the others are summed. stride[i][l] walks operand i (several places of
 * one label in an operand, a diagonal, add up; a dimension of 1 that is broadcast has 0). */
enum { CR_EINSUM_LABELS = 24, CR_EINSUM_INPUTS = 16 };
typedef struct cr_einsum_shape {
    int labels, out_labels;
    int64_t size[CR_EINSUM_LABELS];
    int64_t stride[CR_EINSUM_INPUTS][CR_EINSUM_LABELS];
    cr_shape out;
} cr_einsum_shape;

cr_status cr_einsum_read(const cr_op_call *call, cr_einsum_shape *s, cr_error *err);

/* Resize, per dimension of the input: factor, exact (fractional) and integer output length, crop
 * window. known is false while scales and sizes have no data. */
typedef struct cr_resize_shape {
    bool known;
    double scale[CR_MAX_RANK], length[CR_MAX_RANK], roi_lo[CR_MAX_RANK], roi_hi[CR_MAX_RANK];
    cr_shape out;
} cr_resize_shape;

cr_status cr_resize_read(const cr_op_call *call, cr_resize_shape *s, cr_error *err);

/* NonMaxSuppression. Writes up to `max` triples (batch, class, box) into picked (NULL: counts only)
 * and returns how many there are in *count. */
cr_status cr_nms_select(const cr_op_call *call, int64_t *picked, int64_t max, int64_t *count,
                        cr_error *err);

#endif
