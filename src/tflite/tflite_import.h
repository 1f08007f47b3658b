/* What the files that turn TFLite's operators into nodes share.
 *
 * A value is a tensor of the file. In the graph it has up to two views: plain, with the file's
 * axes, or NCHW, where [N,H,W,C] became [N,C,H,W]. Convolutions and their like ask for NCHW and
 * give NCHW, elementwise operators go on in whatever their inputs are in, and who asks for the
 * other view gets a Transpose (once; a Reshape, if only axes of size 1 move). A TRANSPOSE of the
 * file from one layout to the other is therefore no node at all: its result has the input's view as
 * its other one. */
#ifndef CR_TFLITE_TFLITE_IMPORT_H
#define CR_TFLITE_TFLITE_IMPORT_H

#include "graph/graph.h"
#include "graph/names.h"
#include "tflite/flatbuffer_read.h"
#include "tflite/tflite_schema.h"

enum { CR_TFL_ACT_RELU_0_TO_1 = 100 }; /* an operator of its own, beside the schema's fused ones */

typedef enum cr_tfl_layout { CR_TFL_PLAIN, CR_TFL_NCHW } cr_tfl_layout;

typedef struct cr_tfl_value {
    const char *name;
    int type;       /* cr_tfl_type */
    cr_shape shape; /* as the file claims; true of constants */
    bool quantized; /* integers that stand for real numbers */
    cr_flat_vector scale, zero_point;
    int axis;            /* of the scales, if there are several */
    const uint8_t *data; /* NULL: no constant */
    size_t bytes;
    bool stored_only; /* of a constant: a DEQUANTIZE stands between it and its readers */
    bool is_output;
    cr_tfl_layout native;  /* the layout that the value was made in */
    cr_tensor *view[2];    /* by layout; float where `quantized` */
    cr_tensor *pixels;     /* rounded by pixel, for 1x1 convolutions; NULL: nobody asked yet */
    cr_tensor *dynamic[3]; /* codes, scale, zero point of the view that a dynamic operator reads */
    struct cr_tfl_value *padded; /* NULL, or the value of which this one is the copy with zeros
                                    around its pictures: a node only when it is looked at */
    int64_t pads[4];             /* top, left, bottom, right */
    bool pads_low;               /* not zeros but the lowest value, for a maximum */
} cr_tfl_value;

typedef struct cr_tfl_import {
    cr_graph *g;
    cr_flat file;
    cr_tfl_value *values;
    size_t value_count;
    cr_names names;
    size_t budget;          /* bytes of constants that the file may still make us allocate */
    cr_flat_table options;  /* of the operator that is being read */
    cr_flat_vector in, out; /* its inputs and outputs: indices of values */
    bool channels_first;    /* it makes [N,C,H,W] of [N,H,W,C]: so the file wants it */
    const char *op_name;
    int op; /* cr_tfl_op */
} cr_tfl_import;

/* ---- the operator's tensors ---- */

/* Is it a constant, or written already? */
bool cr_tfl_is_there(const cr_tfl_value *v);
/* Input or output k: an error if there is none. */
cr_status cr_tfl_in(cr_tfl_import *m, size_t k, cr_tfl_value **out, cr_error *err);
cr_status cr_tfl_out(cr_tfl_import *m, size_t k, cr_tfl_value **out, cr_error *err);
cr_status cr_tfl_dtype(const cr_tfl_value *v, cr_dtype *out, cr_error *err);
/* Are both float, or integers of one type, scale and zero point? */
bool cr_tfl_same_params(const cr_tfl_value *a, const cr_tfl_value *b);
/* NULL if input k is absent. */
cr_tfl_value *cr_tfl_optional(cr_tfl_import *m, size_t k);
/* The integers (of 32 bits) of a constant input, at most `room` of them. */
cr_status cr_tfl_ints(cr_tfl_import *m, size_t k, int64_t *values, size_t room, size_t *count,
                      cr_error *err);
/* One integer, an axis of `rank` axes: 0 to rank - 1. */
cr_status cr_tfl_axis(cr_tfl_import *m, int64_t axis, int rank, int *out, cr_error *err);

/* ---- views ---- */

cr_shape cr_tfl_shape(const cr_tfl_value *v); /* with the file's axes */
/* Axis of the view where the file says `axis`. */
int cr_tfl_axis_in(int axis, cr_tfl_layout layout);
cr_status cr_tfl_view(cr_tfl_import *m, cr_tfl_value *v, cr_tfl_layout layout, cr_tensor **out,
                      cr_error *err);
/* Input k of the operator in that layout. */
cr_status cr_tfl_input(cr_tfl_import *m, size_t k, cr_tfl_layout layout, cr_tensor **out,
                       cr_error *err);
/* A constant with its axes permuted, axis j being perm[j] of the file: codes and a DequantizeLinear
 * if it is quantized (codes alone, if `codes_only`), else numbers. */
cr_status cr_tfl_constant(cr_tfl_import *m, const cr_tfl_value *v, const int *perm, bool codes_only,
                          cr_tensor **out, cr_error *err);
/* A constant of small integers or a bias as float32, dequantized: no entry. */
cr_status cr_tfl_floats(cr_tfl_import *m, const cr_tfl_value *v, cr_tensor **out, cr_error *err);
/* y is the value of output k, in that layout; its pair is added here. Tensors of cr_tfl_node have
 * no name until they are finished: others keep theirs. */
cr_status cr_tfl_finish(cr_tfl_import *m, size_t k, cr_tensor *y, cr_tfl_layout layout,
                        cr_error *err);
/* The same with the operator's fused activation in front. */
cr_status cr_tfl_finish_fused(cr_tfl_import *m, int64_t activation, cr_tensor *y,
                              cr_tfl_layout layout, cr_error *err);
/* The same where y has the numbers of `source`: no second pair if the parameters are equal. */
cr_status cr_tfl_alias(cr_tfl_import *m, size_t k, const cr_tfl_value *source, cr_tensor *y,
                       cr_tfl_layout layout, cr_error *err);
cr_status cr_tfl_activate(cr_tfl_import *m, int64_t activation, cr_tensor *x, cr_tensor **y,
                          cr_error *err);
cr_status cr_tfl_name_all(cr_tfl_import *m, cr_error *err);
/* Gives x the pair of v: for tensors that hold v's numbers in another shape. */
cr_status cr_tfl_like(cr_tfl_import *m, const cr_tfl_value *v, cr_tensor *x, cr_tensor **out,
                      cr_error *err);

/* ---- nodes ---- */

/* A node with `n_out` new output tensors. */
cr_status cr_tfl_node(cr_tfl_import *m, cr_op_kind kind, int n_in, int n_out, int n_attrs,
                      cr_node **out, cr_error *err);
/* Nodes of one output without attributes, inferred. */
cr_status cr_tfl_unary(cr_tfl_import *m, cr_op_kind kind, cr_tensor *x, cr_tensor **y,
                       cr_error *err);
cr_status cr_tfl_binary(cr_tfl_import *m, cr_op_kind kind, cr_tensor *a, cr_tensor *b,
                        cr_tensor **y, cr_error *err);
cr_status cr_tfl_transpose(cr_tfl_import *m, cr_tensor *x, const int *perm, cr_tensor **y,
                           cr_error *err);
cr_status cr_tfl_reshape(cr_tfl_import *m, cr_tensor *x, const cr_shape *shape, cr_tensor **y,
                         cr_error *err);
cr_status cr_tfl_float(cr_tfl_import *m, float value, cr_tensor **out, cr_error *err);
/* Room for `count` numbers, of shape [count, 1, ...] with `behind` ones. */
cr_status cr_tfl_numbers(cr_tfl_import *m, size_t count, int behind, cr_tensor **out,
                         cr_error *err);
/* What dynamic 1x1 convolutions by weights of one scale read (tflite_pixels.c). x is [N, C, H, W]. */
cr_status cr_tfl_round_pixels(cr_tfl_import *m, cr_tensor *x, cr_tensor **y, cr_error *err);
cr_status cr_tfl_int_list(cr_tfl_import *m, const int64_t *values, size_t n, cr_tensor **out,
                          cr_error *err);

/* ---- operators, by file ---- */

/* The layout for an operator that treats all its inputs alike, element by element. */
cr_tfl_layout cr_tfl_common_layout(cr_tfl_import *m);

cr_status cr_tfl_read_conv(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_transpose_conv(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_fully_connected(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_batch_matmul(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_pool(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_resize(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_depth_space(cr_tfl_import *m, cr_error *err);

cr_status cr_tfl_read_binary(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_unary(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_softmax(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_reduce(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_arg_max(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_top_k(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_select(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_cast(cr_tfl_import *m, cr_error *err);

cr_status cr_tfl_read_reshape(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_transpose(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_concat(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_split(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_slice(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_strided_slice(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_pad(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_gather(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_pack(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_unpack(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_tile(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_shape(cr_tfl_import *m, cr_error *err);
cr_status cr_tfl_read_alias(cr_tfl_import *m, cr_error *err);

/* Metadata that stand behind the model as a zip archive, as Ultralytics and TFLite's own tools put
 * them there, into the graph's metadata. What is no such archive is ignored. */
cr_status cr_tfl_read_metadata(cr_graph *g, const void *bytes, size_t size, cr_error *err);

#endif
