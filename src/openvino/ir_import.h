/* What the readers of single layers share: values, attributes, new nodes. */
#ifndef CR_OPENVINO_IR_IMPORT_H
#define CR_OPENVINO_IR_IMPORT_H

#include "graph/names.h"
#include "openvino/ir_xml.h"
#include "openvino/openvino.h"

/* Integer constants on the way to floats: codes, then what is taken off and multiplied by. */
typedef struct cr_ir_packed {
    cr_tensor *codes;        /* an integer constant of 8 bits or fewer */
    cr_tensor *zero, *scale; /* float constants that broadcast to it; NULL: 0, 1 */
    cr_shape shape;          /* that it is given in the end; rank -1: its own */
} cr_ir_packed;

typedef struct cr_ir_value { /* of one output port */
    cr_tensor *t;            /* NULL: not needed as a tensor yet */
    cr_ir_packed *packed;
    int uses, fakes;         /* edges that leave it; to a FakeQuantize */
} cr_ir_value;

typedef struct cr_ir_import {
    const cr_ir *ir;
    cr_graph *g;
    const cr_openvino_options *options;
    cr_run_fn run;
    const unsigned char *bin;
    size_t bin_size, budget; /* budget: bytes that constants may still take */
    cr_ir_value **values;    /* by layer, then output port */
    const cr_ir_layer *l;    /* being read */
    cr_names names;
} cr_ir_import;

typedef cr_status cr_ir_reader(cr_ir_import *m, cr_error *err);

/* ---- inputs of the layer being read ---- */

bool cr_ir_has_in(const cr_ir_import *m, size_t k);
cr_ir_value *cr_ir_value_in(const cr_ir_import *m, size_t k); /* NULL: not connected */
cr_status cr_ir_in(cr_ir_import *m, size_t k, cr_tensor **out, cr_error *err);
/* It must be a constant. */
cr_status cr_ir_const_in(cr_ir_import *m, size_t k, cr_tensor **out, cr_error *err);
/* A constant of at most `room` integers. */
cr_status cr_ir_ints_in(cr_ir_import *m, size_t k, int64_t *out, size_t room, size_t *count,
                        cr_error *err);

/* ---- attributes ---- */

const char *cr_ir_text(const cr_ir_import *m, const char *key, const char *fallback);
bool cr_ir_flag(const cr_ir_import *m, const char *key, bool fallback);
cr_status cr_ir_int(const cr_ir_import *m, const char *key, int64_t fallback, int64_t *out,
                    cr_error *err);
cr_status cr_ir_float(const cr_ir_import *m, const char *key, float fallback, float *out,
                      cr_error *err);
/* "1, 2, 3"; *count 0 if absent. */
cr_status cr_ir_ints(const cr_ir_import *m, const char *key, int64_t *out, size_t room,
                     size_t *count, cr_error *err);
cr_dtype cr_ir_dtype(const char *element_type); /* CR_DT_NONE: we do not have it */

/* ---- outputs ---- */

/* A node without inputs yet, named as the layer, with fresh outputs. */
cr_status cr_ir_node(cr_ir_import *m, cr_op_kind kind, int n_in, int n_out, int n_attrs,
                     cr_node **out, cr_error *err);
/* Infers it; integers that follow from constants become constants. */
cr_status cr_ir_done(cr_ir_import *m, cr_node *n, cr_error *err);
cr_status cr_ir_unary(cr_ir_import *m, cr_op_kind kind, cr_tensor *x, cr_tensor **y, cr_error *err);
cr_status cr_ir_binary(cr_ir_import *m, cr_op_kind kind, cr_tensor *a, cr_tensor *b, cr_tensor **y,
                       cr_error *err);
cr_status cr_ir_new_const(cr_ir_import *m, cr_dtype dtype, const cr_shape *shape, cr_tensor **out,
                          cr_error *err);
cr_status cr_ir_int_list(cr_ir_import *m, const int64_t *values, size_t n, cr_tensor **out,
                         cr_error *err);
cr_status cr_ir_scalar(cr_ir_import *m, float value, cr_tensor **out, cr_error *err);
/* The tensor is what output port k gives; it takes the layer's name if it has none. */
cr_status cr_ir_give(cr_ir_import *m, size_t k, cr_tensor *t, cr_error *err);

/* t, made of what the layer at input k gives, takes that layer's name if it has none. */
cr_status cr_ir_name_as_input(cr_ir_import *m, size_t k, cr_tensor *t, cr_error *err);

/* ---- quantization (ir_quant.c) ---- */

/* The float tensor of packed weights: a DequantizeLinear, or the arithmetic as it stands. */
cr_status cr_ir_unpack(cr_ir_import *m, const cr_ir_packed *p, cr_tensor **out, cr_error *err);
/* The same of grouped convolutions' weights, [G, O/G, ...] as [O, ...]. */
cr_status cr_ir_unpack_groups(cr_ir_import *m, const cr_ir_packed *p, cr_tensor **out,
                              cr_error *err);
/* The same, transposed; of rank 2. */
cr_status cr_ir_unpack_turned(cr_ir_import *m, const cr_ir_packed *p, cr_tensor **out,
                              cr_error *err);
/* t behind a pair of its own if it is moved from values behind pairs of one scale: an IR has one
 * FakeQuantize where the values are made, and codes are passed on. Else t itself. */
cr_status cr_ir_pass_codes(cr_ir_import *m, cr_tensor *t, cr_tensor **out, cr_error *err);
/* Does the layer continue packed weights (Convert, Subtract, Multiply, Reshape)? */
cr_status cr_ir_continue_packed(cr_ir_import *m, bool *taken, cr_error *err);
cr_ir_reader cr_ir_read_fake_quantize;

/* ---- layers (ir_layers_*.c) ---- */

/* NULL: we do not have it, or not of that version. */
cr_ir_reader *cr_ir_find_reader(const cr_ir_layer *l);

cr_ir_reader cr_ir_read_convolution, cr_ir_read_group_convolution, cr_ir_read_backprop,
    cr_ir_read_group_backprop, cr_ir_read_matmul, cr_ir_read_pool, cr_ir_read_interpolate,
    cr_ir_read_add, cr_ir_read_batch_norm;
cr_ir_reader cr_ir_read_reshape, cr_ir_read_axes, cr_ir_read_transpose, cr_ir_read_concat,
    cr_ir_read_split, cr_ir_read_variadic_split, cr_ir_read_slice, cr_ir_read_strided_slice,
    cr_ir_read_gather, cr_ir_read_shape, cr_ir_read_broadcast, cr_ir_read_tile, cr_ir_read_pad,
    cr_ir_read_depth_space, cr_ir_read_top_k, cr_ir_read_convert;

#endif
