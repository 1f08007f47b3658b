/* Recipes as integer operators (ONNX's "QOperator" form), and back to Q/DQ pairs.
 *
 *     x ─ Q ─ x_quantized ─ QLinearConv ─ y_quantized ─ QLinearSigmoid ─ ... ─ DQ ─ float readers
 *
 * Written: the Q/DQ form (qdq.h) whose groups DQ -> operator -> Q become one node each:
 *
 *     Conv                      QLinearConv; a ReLU or Clip that the result's range implies goes
 *     MatMul                    QLinearMatMul
 *     Add, Mul, Sigmoid, LeakyRelu, Softmax, Concat, AveragePool, GlobalAveragePool
 *                               com.microsoft QLinear... (ONNX has none)
 *     MaxPool, nearest Resize, Reshape, Transpose, Slice, Split, Concat ... between equal scales
 *                               the operator itself, on codes
 *
 * What ONNX Runtime's kernels do not take stays as Q/DQ around the float operator: 16 bits, fewer than 8,
 * blocks, a scale per channel of an activation, zero points that differ among a weight's channels,
 * types of input and result that differ, convolutions whose result is float. (Rejected for those:
 * ConvInteger with Cast and Mul behind it, which says the same; ONNX Runtime 1.31 takes 2.8 times as long
 * for it on yolov8n as for the float convolution.)
 *
 * Read: each such node is taken apart into DQ -> float operator -> Q, so that cr_qdq_read finds
 * what it would find in a QDQ file. Rejected: reading into a recipe directly, which would need every
 * rule of qdq_read.c (graph outputs, float readers beside quantized ones) a second time. */
#ifndef CR_ONNX_QOP_H
#define CR_ONNX_QOP_H

#include "graph/graph.h"
#include "graph/recipe.h"

/* A copy of g with integer operators (for cr_onnx_write). */
cr_status cr_qop_write(const cr_graph *g, const cr_recipe *r, cr_graph **out, cr_error *err);

/* Takes the integer operators of an indexed graph apart. Operators whose form no
 * pair can express stay (a scale per row of a matrix product). */
cr_status cr_qop_read(cr_graph *g, cr_error *err);

#endif
