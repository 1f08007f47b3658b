/* From the newest form of an operator to the one that an older opset has. */
#ifndef CR_ONNX_LOWER_H
#define CR_ONNX_LOWER_H

#include "cr_onnx.pb-c.h"
#include "graph/graph.h"
#include "graph/names.h"

/* A model being put together: protobuf structures that live in `arena` and point into the graph. */
typedef struct cr_onnx_out {
    const cr_graph *g;
    int opset;
    cr_arena arena;
    cr_names names; /* every tensor name in use; the value is its cr_tensor or &cr_onnx_new_name */
    CrOnnx__NodeProto **nodes;
    size_t n_nodes, cap_nodes;
    CrOnnx__TensorProto **inits; /* constants that lowering made */
    size_t n_inits, cap_inits;
    CrOnnx__ValueInfoProto **infos;
    size_t n_infos, cap_infos;
} cr_onnx_out;

extern char cr_onnx_new_name; /* marks names that no tensor of the graph has */

/* Appends what node `n` becomes at o->opset. */
cr_status cr_onnx_lower_node(cr_onnx_out *o, const cr_node *n, cr_error *err);

/* From onnx_write.c. All return NULL or false when memory runs out. */
CrOnnx__NodeProto *cr_onnx_new_node(cr_onnx_out *o, const char *op_type, const char *name,
                                    size_t n_in, size_t n_out, size_t max_attrs);
bool cr_onnx_push_node(cr_onnx_out *o, CrOnnx__NodeProto *n);
CrOnnx__AttributeProto *cr_onnx_new_attr(cr_onnx_out *o, CrOnnx__NodeProto *n, const char *name,
                                         int type);
CrOnnx__TensorProto *cr_onnx_tensor_proto(cr_onnx_out *o, const cr_tensor *t, const char *name);
bool cr_onnx_push_info(cr_onnx_out *o, const char *name, cr_dtype dtype, const cr_shape *shape);

enum {
    CR_ONNX_ATTR_FLOAT = 1,
    CR_ONNX_ATTR_INT,
    CR_ONNX_ATTR_STRING,
    CR_ONNX_ATTR_TENSOR,
    CR_ONNX_ATTR_FLOATS = 6,
    CR_ONNX_ATTR_INTS,
    CR_ONNX_ATTR_STRINGS
};

#endif
