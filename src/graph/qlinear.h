/* ONNX Runtime's integer operators (domain com.microsoft): a float operator between a dequantization
 * of its operands and a quantization of its result, in one node. Operands come as triples (codes,
 * scale, zero point) from input `first` on; the result's scale and zero point are inputs `y`, y + 1.
 * Source: ContribOperators.md of ONNX Runtime. */
#ifndef CR_GRAPH_QLINEAR_H
#define CR_GRAPH_QLINEAR_H

#include "graph/graph.h"

typedef struct cr_qlinear_form {
    cr_op_kind kind, plain; /* QLinearAdd, Add */
    int first, y;
} cr_qlinear_form;

/* NULL: the operator is none of them. */
const cr_qlinear_form *cr_qlinear_form_of(cr_op_kind kind);
const cr_qlinear_form *cr_qlinear_form_for(cr_op_kind plain);

/* How many operands the node has. */
int cr_qlinear_operands(const cr_qlinear_form *f, const cr_node *n);

/* A call of the float operator on `floats`, one tensor per operand, with result `y`: node, in and out
 * live in *plain, whose `in` array the caller frees. */
typedef struct cr_qlinear_plain {
    cr_node node;
    const cr_tensor **in;
    cr_tensor *floats; /* float32, the operands' shapes, no data */
    cr_tensor *out[1];
    cr_op_call call;
} cr_qlinear_plain;

cr_status cr_qlinear_open(const cr_op_call *call, cr_tensor *y, cr_qlinear_plain *plain,
                          cr_error *err);
void cr_qlinear_close(cr_qlinear_plain *plain); /* drops the floats' data, too */

#endif
