/* What architectures are written with. Errors stick: the first is kept, from then on every function
 * takes and gives NULL, so that a network reads like its diagram. A place is a path of modules,
 * "/model.2/m.0/cv1"; nodes and weights are named from it as torch.onnx names them. */
#ifndef CR_TRAIN_ARCH_NET_H
#define CR_TRAIN_ARCH_NET_H

#include "base/error.h"
#include "base/rng.h"
#include "graph/graph.h"

typedef struct cr_arch_net {
    cr_graph *g;
    cr_error *err;
    cr_status st;
    cr_rng rng; /* of the weights */
} cr_arch_net;

/* "/model.2" and "m.0" -> "/model.2/m.0". */
const char *cr_arch_place(cr_arch_net *net, const char *fmt, ...) CR_PRINTF(2, 3);
int64_t cr_arch_dim(const cr_tensor *t, int d); /* 0 for NULL */

/* One node, named place/Op; its only output, or those in out[]. */
cr_tensor *cr_arch_node(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *const *in,
                        int n_in, const cr_attr *attrs, int n_attrs);
bool cr_arch_nodes(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *const *in,
                   int n_in, const cr_attr *attrs, int n_attrs, cr_tensor **out, int n_out);

/* Convolution with bias, weights uniform in +-1/sqrt(fan-in) as torch.nn.Conv2d draws them (He et
 * al. 2015 with a = sqrt 5); bias constant. */
cr_tensor *cr_arch_plain(cr_arch_net *net, const char *place, cr_tensor *x, int64_t co, int64_t k,
                         int64_t stride, float bias);
/* Convolution, BatchNormalization (epsilon 1e-3, momentum .97), SiLU. */
cr_tensor *cr_arch_conv(cr_arch_net *net, const char *place, cr_tensor *x, int64_t co, int64_t k,
                        int64_t stride);
/* Transposed 2x2 convolution with bias: twice the size. */
cr_tensor *cr_arch_grow(cr_arch_net *net, const char *place, cr_tensor *x, int64_t co);
/* [N, C] -> [N, out] with weights like those of a convolution. */
cr_tensor *cr_arch_linear(cr_arch_net *net, const char *place, cr_tensor *x, int64_t out);
cr_tensor *cr_arch_pool5(cr_arch_net *net, const char *place, cr_tensor *x);
cr_tensor *cr_arch_upsample(cr_arch_net *net, const char *place, cr_tensor *x);
cr_tensor *cr_arch_concat(cr_arch_net *net, const char *place, int64_t axis, cr_tensor *const *x,
                          int n);
bool cr_arch_split(cr_arch_net *net, const char *place, cr_tensor *x, const int64_t *sizes, int n,
                   cr_tensor **out);
cr_tensor *cr_arch_slice(cr_arch_net *net, const char *place, cr_tensor *x, int64_t axis,
                         int64_t from, int64_t to);
cr_tensor *cr_arch_reshape(cr_arch_net *net, const char *place, cr_tensor *x, const int64_t *dims,
                           int n);
cr_tensor *cr_arch_pair(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *a,
                        cr_tensor *b);
cr_tensor *cr_arch_scalar(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *a,
                          float b);
cr_tensor *cr_arch_unary(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *x);
cr_tensor *cr_arch_const(cr_arch_net *net, const char *name, cr_shape shape); /* zeroed floats */

#endif
