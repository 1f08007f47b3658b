/* Prototypes of every shape-inference function, one per stem of ops.inc (repeats are harmless). */
#ifndef CR_GRAPH_INFER_ALL_H
#define CR_GRAPH_INFER_ALL_H

#include "base/error.h"
#include "graph/graph.h"

#define CR_OP(name, domain, stem, min_in, max_in, min_out, max_out, flags)                         \
    cr_status cr_infer_##stem(const cr_op_call *call, cr_error *err);
#include "graph/ops.inc"
#undef CR_OP

#endif
