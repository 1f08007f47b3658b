/* What the writers of single layers share: the text of the .xml, constants, references to outputs.
 * Lack of memory is remembered in `failed` and reported once at the end. */
#ifndef CR_OPENVINO_IR_OUT_H
#define CR_OPENVINO_IR_OUT_H

#include <stdio.h>

#include "graph/names.h"
#include "openvino/ir_write.h"

typedef struct cr_ir_buffer {
    char *bytes;
    size_t used, cap;
} cr_ir_buffer;

typedef struct cr_ir_ref { /* an output port of a layer that has been written */
    int layer, port;       /* layer 0: none */
    cr_dtype dtype;
    cr_shape shape;
} cr_ir_ref;

typedef struct cr_ir_out {
    const cr_graph *g;
    const cr_openvino_write_options *options;
    const cr_recipe_entry **entries; /* by tensor id */
    cr_ir_ref *refs;                 /* by tensor id */
    const cr_node *n;                /* being written */
    cr_ir_buffer layers, edges;
    int count;                       /* layers */
    FILE *bin;
    uint64_t offset;                 /* in the .bin */
    cr_names names;
    cr_arena arena;
    bool failed;
} cr_ir_out;

typedef cr_status cr_ir_put(cr_ir_out *w, cr_error *err);

/* ---- text ---- */

void cr_ir_print(cr_ir_out *w, cr_ir_buffer *b, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* With what XML cannot hold replaced. */
void cr_ir_print_text(cr_ir_out *w, cr_ir_buffer *b, const char *text);
const char *cr_ir_stem(cr_ir_out *w, const cr_tensor *t, const char *suffix); /* "T/suffix" */

/* ---- layers ---- */

/* One layer; attrs is the text of <data>'s attributes, e.g. `axis="1"`. outs have dtype and shape and
 * are given layer and port; `tensors` are the ports' names (NULL, or NULL entries: none). */
void cr_ir_layer_n(cr_ir_out *w, const char *type, int opset, const char *name, const char *attrs,
                   const cr_ir_ref *in, int n_in, cr_ir_ref *outs, const char *const *tensors,
                   int n_out);
/* With one output that has no name as a tensor. */
cr_ir_ref cr_ir_inner(cr_ir_out *w, const char *type, int opset, const char *suffix,
                      const char *attrs, const cr_ir_ref *in, int n_in, cr_dtype dtype,
                      const cr_shape *shape);
/* The layer that makes output 0 of the node being written. */
void cr_ir_outer(cr_ir_out *w, const char *type, int opset, const char *attrs, const cr_ir_ref *in,
                 int n_in);
bool cr_ir_is_output(const cr_graph *g, const cr_tensor *t);
/* The name that the layer behind t's producer has: t's own, or another if a FakeQuantize gets that. */
const char *cr_ir_maker_name(cr_ir_out *w, const cr_tensor *t);

cr_ir_ref cr_ir_const(cr_ir_out *w, const char *name, cr_dtype dtype, const cr_shape *shape,
                      const void *bytes, size_t size);
cr_ir_ref cr_ir_const_ints(cr_ir_out *w, const char *suffix, const int64_t *v, size_t n);
cr_ir_ref cr_ir_const_int(cr_ir_out *w, const char *suffix, int64_t v); /* a scalar */
cr_ir_ref cr_ir_const_float(cr_ir_out *w, const char *suffix, float v);
/* Float constants, in 16 bits where the options say so. */
cr_ir_ref cr_ir_const_floats(cr_ir_out *w, const char *name, const cr_shape *shape, const float *v);

/* The port that gives t; a constant is written where it is read first. */
cr_status cr_ir_ref_of(cr_ir_out *w, const cr_tensor *t, cr_ir_ref *out, cr_error *err);
cr_status cr_ir_refs_in(cr_ir_out *w, cr_ir_ref *in, int n, cr_error *err); /* inputs 0..n-1 */
/* Integers of a constant input. *count 0 if it is absent. */
cr_status cr_ir_list_in(const cr_ir_out *w, int k, int64_t out[2 * CR_MAX_RANK], size_t *count,
                        cr_error *err);

/* ---- quantization (ir_put_codes.c) ---- */

/* A constant with an entry as a shape of its own (groups > 1: [G, O/G, ...]). */
cr_ir_ref cr_ir_put_codes(cr_ir_out *w, const cr_tensor *t, const cr_qparams *q, int64_t groups);
/* Does t need a FakeQuantize? Not where its producer passes codes of the same entry on. */
bool cr_ir_needs_fake(const cr_ir_out *w, const cr_tensor *t);
cr_ir_ref cr_ir_put_fake(cr_ir_out *w, const cr_tensor *t, const cr_qparams *q, cr_ir_ref x);

/* NULL: there is no layer for it. */
cr_ir_put *cr_ir_find_put(const cr_node *n);
cr_ir_put cr_ir_put_conv, cr_ir_put_matmul, cr_ir_put_gemm, cr_ir_put_pool, cr_ir_put_global_pool,
    cr_ir_put_batch_norm, cr_ir_put_resize;
cr_ir_put cr_ir_put_reshape, cr_ir_put_flatten, cr_ir_put_axes, cr_ir_put_reduce,
    cr_ir_put_transpose, cr_ir_put_concat, cr_ir_put_split, cr_ir_put_slice, cr_ir_put_gather,
    cr_ir_put_expand, cr_ir_put_tile, cr_ir_put_pad, cr_ir_put_depth_space, cr_ir_put_top_k;

#endif
