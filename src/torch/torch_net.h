/* Building a graph from a checkpoint's modules: what every module's forward pass is written with.
 *
 * A module is a record of the pickle: its class name, plain attributes, `_parameters`, `_buffers`
 * and
 * `_modules`. Its forward pass is not in the file; torch_layers.c, torch_blocks.c and torch_heads.c
 * state it for the classes that we know.
 *
 * Errors stick: the first one is kept in the net, from then on every function here gives NULL and
 * takes NULL, so that a forward pass reads like the formula it stands for. Each node's shape is
 * inferred when it is made, so what does not fit (a hostile or damaged file) stops at once, by
 * name.
 *
 * Nodes and weights are named as torch.onnx names them ("/model.2/m.0/cv1/conv/Conv",
 * "model.2.m.0.cv1.conv.weight"), so that lists of layers which people keep for an exported file
 * fit. */
#ifndef CR_TORCH_TORCH_NET_H
#define CR_TORCH_TORCH_NET_H

#include "graph/graph.h"
#include "graph/names.h"
#include "torch/checkpoint.h"

enum {
    CR_NET_MAX_PARTS = 64
}; /* tensors of one Concat, children that are looped over in a block */

typedef struct cr_net {
    cr_graph *g;
    cr_checkpoint *file;
    cr_error *err;
    cr_status st;        /* of the first failure */
    cr_names counts;     /* node name -> how often */
    cr_names weights;    /* name -> constant */
    size_t calls;        /* of modules */
    size_t weights_left; /* bytes that constants may still take */
    int depth;
} cr_net;

/* A module at its place. v is NULL where there is none. */
typedef struct cr_mod {
    const cr_pkl *v;
    const char *scope; /* "/model.22/cv2.0" */
    const char *path;  /* "model.22.cv2.0" */
    const char *name;  /* "cv2.0" */
} cr_mod;

/* NULL; keeps the message unless one is there already. */
cr_tensor *cr_net_fail(cr_net *net, cr_status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- what a module has ---- */

const cr_pkl *cr_mod_attr(const cr_mod *m, const char *key);
int64_t cr_mod_int(const cr_mod *m, const char *key, int64_t fallback);
double cr_mod_float(const cr_mod *m, const char *key, double fallback);
/* A number that stands for both, or (height, width); false if it is something else. */
bool cr_mod_pair(const cr_mod *m, const char *key, int64_t fallback, int64_t out[2]);
/* A list of integers: their count, 0 if it is none or longer than max. */
size_t cr_mod_ints(const cr_mod *m, const char *key, int64_t *out, size_t max);
bool cr_mod_has(const cr_mod *m, const char *child); /* a child that is not None */
cr_mod cr_mod_child(cr_net *net, const cr_mod *m, const char *name);
/* Child i of the ModuleList `list`; of a Sequential, itself given, with list NULL. */
cr_mod cr_mod_item(cr_net *net, const cr_mod *m, const char *list, size_t i);
size_t cr_mod_count(const cr_mod *m, const char *list); /* children of a child; list NULL: own */
/* A tensor of the module, whatever kind (parameter, buffer, plain attribute); NULL without. */
const cr_pkl_tensor *cr_mod_tensor(const cr_mod *m, const char *name);
/* The same as a float constant of the graph. Missing: an error. */
cr_tensor *cr_mod_weight(cr_net *net, const cr_mod *m, const char *name);
/* Its elements, at most max, as floats; their count, 0 if there is none. */
size_t cr_mod_floats(cr_net *net, const cr_mod *m, const char *name, float *out, size_t max);

/* ---- calling modules ---- */

cr_tensor *cr_net_run(cr_net *net, cr_mod m, cr_tensor *x);
cr_tensor *cr_net_run_child(cr_net *net, const cr_mod *m, const char *name, cr_tensor *x);
cr_tensor *cr_net_run_item(cr_net *net, const cr_mod *m, const char *list, size_t i, cr_tensor *x);

typedef cr_tensor *(*cr_forward)(cr_net *net, const cr_mod *m, cr_tensor *x);
typedef struct cr_module_class {
    const char *name;
    cr_forward forward;
} cr_module_class;
cr_forward cr_torch_layer(const char *name); /* torch.nn's own; NULL if unknown */
cr_forward cr_torch_block(const char *name); /* Ultralytics' */
cr_forward cr_torch_attention(const char *name);
cr_forward cr_torch_find(const cr_module_class *classes, size_t n, const char *name);

/* ---- nodes ---- */

#define CR_A_INT(n, v)     ((cr_attr){.name = (n), .type = CR_ATTR_INT, .i = (v)})
#define CR_A_FLOAT(n, v)   ((cr_attr){.name = (n), .type = CR_ATTR_FLOAT, .f = (v)})
#define CR_A_STRING(n, v)  ((cr_attr){.name = (n), .type = CR_ATTR_STRING, .s = (v)})
#define CR_A_INTS(n, v, c) ((cr_attr){.name = (n), .type = CR_ATTR_INTS, .count = (c), .ints = (v)})

/* A node of the module with the inputs given (NULLs at the end are left out only by n_in), its
 * n_out outputs in out[]. False after a failure. */
bool cr_net_node(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *const *in, int n_in,
                 const cr_attr *attrs, int n_attrs, cr_tensor **out, int n_out);
cr_tensor *cr_net_op(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *const *in, int n_in,
                     const cr_attr *attrs, int n_attrs);
cr_tensor *cr_net_unary(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *x);
cr_tensor *cr_net_binary(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *a, cr_tensor *b);
cr_tensor *cr_net_scalar(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *a, float b);
cr_tensor *cr_net_concat(cr_net *net, const cr_mod *m, int64_t axis, cr_tensor *const *x, size_t n);
/* Pieces of the sizes given; false after a failure. */
bool cr_net_split(cr_net *net, const cr_mod *m, int64_t axis, cr_tensor *x, const int64_t *sizes,
                  int n, cr_tensor **out);
/* Two halves of the channels. */
bool cr_net_halves(cr_net *net, const cr_mod *m, cr_tensor *x, cr_tensor *out[2]);
cr_tensor *cr_net_slice(cr_net *net, const cr_mod *m, cr_tensor *x, int64_t axis, int64_t from,
                        int64_t to, int64_t step);
cr_tensor *cr_net_reshape(cr_net *net, const cr_mod *m, cr_tensor *x, const int64_t *dims,
                          int rank);
cr_tensor *cr_net_transpose(cr_net *net, const cr_mod *m, cr_tensor *x, const int64_t *perm, int n);
cr_tensor *cr_net_softmax(cr_net *net, const cr_mod *m, cr_tensor *x, int64_t axis);
cr_tensor *cr_net_const_i64(cr_net *net, const cr_mod *m, const int64_t *v, size_t n);
/* A zeroed float constant. */
cr_tensor *cr_net_const_f32(cr_net *net, const cr_mod *m, cr_shape shape);
int64_t cr_net_dim(const cr_tensor *t, int d); /* 0 for NULL or beyond the rank */

#endif
