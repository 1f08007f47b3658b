/* What the writers of single layers share: lines of the .param, weights of the .bin, blobs. */
#ifndef CR_NCNN_NCNN_OUT_H
#define CR_NCNN_NCNN_OUT_H

#include <stdio.h>

#include "base/error.h"
#include "graph/names.h"
#include "ncnn/ncnn_write.h"

enum { CR_NCNN_MAX_AXES = 4 };

typedef struct cr_ncnn_layer {
    const char *type, *name, *params; /* " 0=16 1=3" */
    int n_in, n_out;
    int *in, *out; /* blobs; -1: not set yet */
} cr_ncnn_layer;

typedef struct cr_ncnn_out {
    const cr_graph *g;
    const cr_ncnn_write_options *options;
    const cr_recipe_entry **entries; /* by tensor id; NULL: in float */
    const cr_node **reader;          /* by tensor id: the node that alone reads it; NULL: none or more */
    int *blob;                       /* by tensor id; -1: none yet */
    bool *merged;                    /* by node index: is part of the layer before it */
    const cr_node *n;                /* being written */
    cr_ncnn_layer **layers;
    size_t layer_count, layer_cap;
    const char **blob_names;
    size_t blob_count, blob_cap;
    FILE *bin;
    cr_names names, layer_names;     /* of blobs, of layers: taken */
    cr_arena arena;
} cr_ncnn_out;

typedef cr_status cr_ncnn_put(cr_ncnn_out *w, cr_error *err);

/* ---- layers: NULL or -1 where memory ran out ---- */

/* The next layer, with room for its blobs, named after the node being written. */
cr_ncnn_layer *cr_ncnn_layer_add(cr_ncnn_out *w, const char *type, int n_in, int n_out);
bool cr_ncnn_int(cr_ncnn_out *w, cr_ncnn_layer *l, int key, int64_t v);
bool cr_ncnn_float(cr_ncnn_out *w, cr_ncnn_layer *l, int key, float v);
bool cr_ncnn_ints(cr_ncnn_out *w, cr_ncnn_layer *l, int key, const int64_t *v, size_t n);
bool cr_ncnn_floats(cr_ncnn_out *w, cr_ncnn_layer *l, int key, const float *v, size_t n);
/* Output k of l is tensor t. */
bool cr_ncnn_gives(cr_ncnn_out *w, cr_ncnn_layer *l, int k, const cr_tensor *t);
/* The same where the layer makes so many axes, which may not be as many as t has. */
cr_status cr_ncnn_gives_as(cr_ncnn_out *w, cr_ncnn_layer *l, int k, int axes, const cr_tensor *t,
                           cr_error *err);
/* Output k of l is a blob on the way; gives it. */
int cr_ncnn_inner(cr_ncnn_out *w, cr_ncnn_layer *l, int k, const char *stem);
/* One layer from blob `in` to output 0 of the node. */
cr_ncnn_layer *cr_ncnn_outer(cr_ncnn_out *w, const char *type, int in);

/* ---- blobs ---- */

/* A tensor's axes as ncnn has them, outermost first: without a leading one. Gives their number, 0 where
 * the tensor does not fit. */
int cr_ncnn_axes(const cr_shape *s, int64_t out[CR_NCNN_MAX_AXES]);
/* The axes that are left out: 1 or 0. */
static inline int cr_ncnn_batch(const cr_shape *s) { return s->rank > 1 && s->dim[0] == 1; }
/* Axis `axis` of a tensor of this shape as ncnn counts it; UNSUPPORTED for one that is left out. */
cr_status cr_ncnn_axis(int64_t axis, const cr_shape *s, int *out, cr_error *err);
/* The blob that holds t; a constant gets its layer here. */
cr_status cr_ncnn_blob_of(cr_ncnn_out *w, const cr_tensor *t, int *out, cr_error *err);
/* The same with leading axes of one in front, so that there are `axes`. */
cr_status cr_ncnn_blob_as(cr_ncnn_out *w, const cr_tensor *t, int axes, int *out, cr_error *err);
/* A Reshape of a blob; gives the new one. t (may be NULL): the tensor that it is. */
cr_status cr_ncnn_reshape(cr_ncnn_out *w, int in, const int64_t *dims, int axes, const cr_tensor *t,
                          int *out, cr_error *err);
/* Integers of a constant input; *count 0 where there is none. */
cr_status cr_ncnn_list_in(const cr_ncnn_out *w, int k, int64_t out[2 * CR_MAX_RANK], size_t *count,
                          cr_error *err);

/* ---- weights (ncnn_weights.c) ---- */

/* How a layer with weights computes. */
typedef struct cr_ncnn_codes {
    const cr_qparams *input, *weight; /* NULL: in float */
} cr_ncnn_codes;

/* groups: of ConvolutionDepthWise, else 0. UNSUPPORTED: an entry that ncnn cannot express. */
cr_status cr_ncnn_codes_of(const cr_ncnn_out *w, int64_t groups, cr_ncnn_codes *out, cr_error *err);
/* A weight in its stored order, at most `count` elements: order[i] is where element i is in t
 * (NULL: as it is). With a tag in front; integers where c says so. */
cr_status cr_ncnn_put_weight(cr_ncnn_out *w, const cr_tensor *t, const int64_t *order,
                             const cr_ncnn_codes *c, cr_error *err);
/* Float values with a tag, in the smallest form that the options allow and that loses nothing. */
void cr_ncnn_put_values(cr_ncnn_out *w, const float *v, size_t n);
/* Float values without a tag: biases. NULL: zeros. */
void cr_ncnn_put_floats(cr_ncnn_out *w, const float *v, size_t n);
/* The scales behind the bias: `outputs` of the weight (groups in ConvolutionDepthWise), the input's. */
void cr_ncnn_put_scales(cr_ncnn_out *w, const cr_ncnn_codes *c, int64_t outputs);

/* NULL: there is no layer for it. */
cr_ncnn_put *cr_ncnn_find_put(const cr_node *n);
cr_ncnn_put *cr_ncnn_elementwise(const cr_node *n);
cr_ncnn_put cr_ncnn_put_conv, cr_ncnn_put_deconv, cr_ncnn_put_gemm, cr_ncnn_put_matmul,
    cr_ncnn_put_pool, cr_ncnn_put_global_pool, cr_ncnn_put_batch_norm, cr_ncnn_put_instance_norm,
    cr_ncnn_put_layer_norm, cr_ncnn_put_group_norm, cr_ncnn_put_softmax, cr_ncnn_put_resize;
cr_ncnn_put cr_ncnn_put_alias, cr_ncnn_put_reshape, cr_ncnn_put_transpose, cr_ncnn_put_concat,
    cr_ncnn_put_split, cr_ncnn_put_slice, cr_ncnn_put_pad, cr_ncnn_put_tile, cr_ncnn_put_depth_space,
    cr_ncnn_put_reduce;

#endif
