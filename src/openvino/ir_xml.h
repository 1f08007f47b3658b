/* The .xml of an IR as lists: layers with their ports, edges, facts about the model. */
#ifndef CR_OPENVINO_IR_XML_H
#define CR_OPENVINO_IR_XML_H

#include "graph/graph.h"

typedef struct cr_ir_port {
    int64_t id;
    const char *names; /* "a,b", or "" */
} cr_ir_port;

typedef struct cr_ir_layer {
    int64_t id;
    const char *name, *type;
    int version;        /* 8 of "opset8"; -1: another namespace of operators */
    const char *space;  /* "opset8", as it stands */
    const char **attrs; /* of <data>: key, value, ... NULL */
    cr_ir_port *in, *out;
    size_t in_count, in_cap, out_count, out_cap;
    int *from_layer, *from_port; /* by input port: index of the layer, of its output port; -1: none */
} cr_ir_layer;

typedef struct cr_ir {
    cr_arena arena;
    cr_ir_layer *layers;
    size_t layer_count, layer_cap;
    int *order;         /* indices of layers, each behind what it reads */
    const char **facts; /* of rt_info: path of element names joined by '/', value, ... */
    size_t fact_count, fact_cap;
} cr_ir;

/* Errors: FORMAT with the line, UNSUPPORTED (nested bodies), LIMIT, MEMORY. Free it in any case. */
cr_status cr_ir_parse(const void *xml, size_t size, cr_ir *out, cr_error *err);
void cr_ir_free(cr_ir *ir);

/* NULL if absent. */
const char *cr_ir_attr(const cr_ir_layer *l, const char *key);
const char *cr_ir_fact(const cr_ir *ir, const char *path);

#endif
