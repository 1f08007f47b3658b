/* Graphs with 16-bit floats, for cr_onnx_write: a way to store weights, or to compute.
 *
 *     W_float16 (float16) ─ Cast ─ W ─ Conv            weights only: inputs, outputs and arithmetic
 *                                                      stay float32
 *     x ─ Cast ─ x_float16 ─ Conv ─ ... ─ Cast ─ y     whole graph: everything between is float16
 *
 * The first form runs everywhere that knows Cast and loses nothing but the last bits of weights. The
 * second is what converters of half-precision models write; the graph's inputs and outputs stay
 * float32 in it too. Reading either gives the float32 graph back, the weights rounded (widen.c), and
 * writing that again rounds nothing more. */
#ifndef CR_ONNX_HALF_WRITE_H
#define CR_ONNX_HALF_WRITE_H

#include "graph/graph.h"

typedef struct cr_half_plan {
    cr_dtype type;          /* CR_DT_F16 or CR_DT_BF16 */
    bool whole;             /* the whole graph, else weights only */
    const bool *keep_float; /* by node index: this node, or its weights, stay float32 */
} cr_half_plan;

typedef struct cr_half_counts {
    size_t weights;        /* stored in 16 bits */
    size_t nodes;          /* whole graph: that compute in 16 bits */
    size_t kept;           /* weights or nodes kept float32 */
    size_t too_large;      /* of these, for a value that 16 bits cannot hold */
    const char *largest;   /* the tensor with the first such value (of g); else NULL */
} cr_half_counts;

/* A copy of g (indexed, inferred) in that form. */
cr_status cr_half_write(const cr_graph *g, const cr_half_plan *plan, cr_graph **out,
                        cr_half_counts *counts, cr_error *err);

/* Rounds the constants of g to what such a copy stores. */
cr_status cr_half_round(cr_graph *g, const cr_half_plan *plan, cr_error *err);

#endif
