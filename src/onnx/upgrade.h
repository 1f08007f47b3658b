/* From the form that a node has in its file's opset to the newest form of its operator. */
#ifndef CR_ONNX_UPGRADE_H
#define CR_ONNX_UPGRADE_H

#include "graph/graph.h"
#include "graph/names.h"

typedef struct cr_upgrade {
    cr_graph *g;
    cr_names *names; /* every tensor of g by name */
    int opset;       /* of the file, domain ai.onnx */
    bool pending;    /* some node needs cr_upgrade_finish */
} cr_upgrade;

/* The operator that a file's node becomes; NULL if we do not have it. Operators that were renamed
 * (Upsample, Scatter) are found under their old names while the opset has them. */
const cr_op_def *cr_upgrade_find(int opset, const char *domain, const char *op_type);

/* What a node alone tells: attributes that became inputs, defaults that changed. `op_type` is the
 * file's spelling. */
cr_status cr_upgrade_node(cr_upgrade *u, cr_node *n, const char *op_type, cr_error *err);

/* What needs types or ranks of inputs: the old flattening Softmax, limits of an old Clip or Pad in
 * a model that is not float32, per-group GroupNormalization. The graph must be indexed; it is
 * indexed again. Shapes are inferred on the way. */
cr_status cr_upgrade_finish(cr_upgrade *u, cr_error *err);

#endif
