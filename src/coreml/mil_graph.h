/* From a graph to the operations of a MIL program. Shared by the files of src/coreml.
 *
 * The graph is in the form that cr_qdq_write gives: what is quantized stands in it as
 * QuantizeLinear and DequantizeLinear. Shapes are all known. Nodes are taken in order; each has one
 * float type (float32, or float16 where `half` says so), and asks for its inputs in that type.
 * Constants, DequantizeLinear and casts are written when the first reader asks, in the type that it
 * wants: a weight is thus stored in one form, next to the layer that reads it, and nothing is
 * converted that need not be. (Rejected: a pass that inserts Cast nodes first; a quantized weight
 * behind a Cast is no constant for Core ML any more.) */
#ifndef CR_COREML_MIL_GRAPH_H
#define CR_COREML_MIL_GRAPH_H

#include "base/error.h"
#include "coreml/coreml.h"
#include "coreml/mil.h"

/* What values of one tensor have been made: by type. */
enum {
    CR_COREML_HALF,
    CR_COREML_FLOAT,
    CR_COREML_INT,
    CR_COREML_BOOL,
    CR_COREML_CODES,
    CR_COREML_FORMS
};

typedef struct cr_coreml_value {
    const char *name[CR_COREML_FORMS]; /* NULL: not made yet */
    const char *feature;               /* inputs and outputs of the graph: their identifier */
    cr_mil_type native;                /* what its node made; 0 until then */
} cr_coreml_value;

typedef struct cr_coreml_writer {
    cr_mil mil;
    const cr_graph *g;
    const cr_coreml_options *o;
    cr_coreml_value *values; /* by tensor id */
    int level;               /* 5 to 8: the operator set, CoreML5 (iOS 15) to CoreML8 (iOS 18) */
} cr_coreml_writer;

/* The lowest operator set that has what the graph needs. Errors: UNSUPPORTED names the tensor. */
cr_status cr_coreml_find_level(cr_coreml_writer *w, cr_error *err);

/* Writes all operations; *outputs are the names of the graph's outputs. Errors: UNSUPPORTED names
 * the node, MEMORY. w->mil.ops are the program then. */
cr_status cr_coreml_write_nodes(cr_coreml_writer *w, const char ***outputs, cr_error *err);

/* Must every element of the output be of this type: int32 for integers, else bool or float? */
cr_mil_type cr_coreml_type(cr_dtype dtype, cr_mil_type floats);
/* The float type that a node computes in. */
cr_mil_type cr_coreml_floats(const cr_coreml_writer *w, const cr_node *n);

/* The value of a tensor in a type (floats: F16 or F32, anything for the others). */
const char *cr_coreml_want(cr_coreml_writer *w, const cr_tensor *t, cr_mil_type floats);

/* ---- what the writers of operators use ---- */

typedef struct cr_mil_pair {
    const char *key, *value; /* name of an argument, name of the value */
} cr_mil_pair;

#define CR_ARGS(...)                                                                               \
    (const cr_mil_pair[]){__VA_ARGS__},                                                            \
        sizeof((const cr_mil_pair[]){__VA_ARGS__}) / sizeof(cr_mil_pair)

/* Input k in the node's float type. */
const char *cr_coreml_in(cr_coreml_writer *w, const cr_node *n, int k);

/* An operation whose result is output k of the node. */
void cr_coreml_emit(cr_coreml_writer *w, const cr_node *n, int k, const char *type,
                    const cr_mil_pair *args, size_t count);
/* One on the way to it: gives its value. */
const char *cr_coreml_step(cr_coreml_writer *w, const cr_node *n, const char *type,
                           const cr_shape *shape, const cr_mil_pair *args, size_t count);
/* Tells op that its next output is output k of the node. */
void cr_coreml_result(cr_coreml_writer *w, cr_mil_op *op, const cr_node *n, int k);
/* The identifier that names the operation of output k; the same for its next call. */
const char *cr_coreml_output_name(cr_coreml_writer *w, const cr_node *n, int k);

/* A number in the node's float type (or int32 where the node's output 0 is of integers). */
const char *cr_coreml_number(cr_coreml_writer *w, const cr_node *n, float v);

cr_status cr_coreml_refuse(const cr_node *n, const char *why, cr_error *err);

typedef cr_status (*cr_coreml_writer_of)(cr_coreml_writer *w, const cr_node *n, cr_error *err);
/* By operator; NULL: Core ML has no form of it here. */
cr_coreml_writer_of cr_coreml_elementwise(cr_op_kind kind);
cr_coreml_writer_of cr_coreml_move(cr_op_kind kind);
cr_coreml_writer_of cr_coreml_layer(cr_op_kind kind);

/* ---- constants (mil_constants.c) ---- */

/* A constant of the graph under `name`. */
void cr_coreml_constant(cr_coreml_writer *w, const cr_tensor *t, cr_mil_type type,
                        const char *name);
/* What a DequantizeLinear of constants gives. */
void cr_coreml_dequantized(cr_coreml_writer *w, const cr_node *n, cr_mil_type type,
                           const char *name);
/* The least operator set that stores the codes of such a node; 0: none does. */
int cr_coreml_weight_level(const cr_node *n);
/* Is it a float constant with so few different values that a palette of o->palette_bits is smaller
 * and loses nothing? */
bool cr_coreml_has_palette(const cr_coreml_writer *w, const cr_tensor *t);
/* The scales behind which that holds; NULL: none. */
const cr_palette_scales *cr_coreml_scales_of(const cr_coreml_writer *w, const cr_tensor *t);

#endif
