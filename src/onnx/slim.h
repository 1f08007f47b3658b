/* What a quantized graph need not store: values again, and more bits than they have.
 *
 *     A (float32, 8400 grid points) ─ Add      A_f16 ─ Cast ─ A ─ Add      exact, half the size;
 *                                              A_u8 where all are whole numbers of 0 to 255
 *     scales and zero points                   one tensor for all of the same bits
 *
 * Lossless, and readers fold the Cast when they load the file, so what is read back is the graph and the
 * recipe that were written. On yolov8n this is 1 % of the float file: its decoding adds a grid of 8400
 * points that is there twice, and multiplies by as many strides.
 *
 * Rejected: codes and DequantizeLinear (a quarter of the size for grids of halves, too; but whoever reads
 * it finds a quantized tensor that is none). */
#ifndef CR_ONNX_SLIM_H
#define CR_ONNX_SLIM_H

#include "graph/graph.h"

/* For graphs that cr_qdq_write or cr_qop_write gave. */
cr_status cr_onnx_slim(cr_graph *g, cr_error *err);

#endif
