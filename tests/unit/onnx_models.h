/* Little ONNX models for the reader's tests, put together from protobuf structures. */
#ifndef CR_TESTS_ONNX_MODELS_H
#define CR_TESTS_ONNX_MODELS_H

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cr_onnx.pb-c.h"

typedef struct model {
    cr_arena arena;
    CrOnnx__ModelProto m;
    CrOnnx__GraphProto g;
    CrOnnx__OperatorSetIdProto opset, *opsets[1];
    CrOnnx__NodeProto *nodes[16];
    CrOnnx__TensorProto *inits[16];
    CrOnnx__ValueInfoProto *inputs[4], *outputs[4];
    CrOnnx__StringStringEntryProto *meta[2];
} model;

static inline void model_begin(model *b, int opset)
{
    memset(b, 0, sizeof *b);
    cr_onnx__model_proto__init(&b->m);
    cr_onnx__graph_proto__init(&b->g);
    cr_onnx__operator_set_id_proto__init(&b->opset);
    b->opset.has_version = 1;
    b->opset.version = opset;
    b->opsets[0] = &b->opset;
    b->m.has_ir_version = 1;
    b->m.ir_version = 8;
    b->m.n_opset_import = 1;
    b->m.opset_import = b->opsets;
    b->m.graph = &b->g;
    b->m.metadata_props = b->meta;
    b->g.node = b->nodes;
    b->g.initializer = b->inits;
    b->g.input = b->inputs;
    b->g.output = b->outputs;
}

static inline size_t split_names(cr_arena *a, const char *names, char **out)
{
    size_t n = 0;
    for (;; names += strcspn(names, ",") + 1) {
        out[n++] = cr_arena_strndup(a, names, strcspn(names, ","));
        if (!names[strcspn(names, ",")]) return n;
    }
}

/* Names separated by commas. */
static inline CrOnnx__NodeProto *model_node(model *b, const char *op, const char *in,
                                            const char *out)
{
    CrOnnx__NodeProto *n = cr_arena_alloc(&b->arena, sizeof *n);
    cr_onnx__node_proto__init(n);
    n->op_type = (char *)op;
    n->name = cr_arena_printf(&b->arena, "%s_%zu", op, b->g.n_node);
    n->input = cr_arena_alloc(&b->arena, 8 * sizeof *n->input);
    n->output = cr_arena_alloc(&b->arena, 8 * sizeof *n->output);
    n->n_input = *in ? split_names(&b->arena, in, n->input) : 0;
    n->n_output = split_names(&b->arena, out, n->output);
    n->attribute = cr_arena_alloc(&b->arena, 8 * sizeof *n->attribute);
    b->nodes[b->g.n_node++] = n;
    return n;
}

static inline CrOnnx__AttributeProto *model_attr(model *b, CrOnnx__NodeProto *n, const char *name)
{
    CrOnnx__AttributeProto *a = cr_arena_alloc(&b->arena, sizeof *a);
    cr_onnx__attribute_proto__init(a);
    a->name = (char *)name;
    n->attribute[n->n_attribute++] = a;
    return a;
}

static inline void model_attr_int(model *b, CrOnnx__NodeProto *n, const char *name, int64_t value)
{
    CrOnnx__AttributeProto *a = model_attr(b, n, name);
    a->has_type = a->has_i = 1;
    a->type = 2;
    a->i = value;
}

/* dims: count, then the sizes; -1 is symbolic. */
static inline CrOnnx__ValueInfoProto *model_value(model *b, const char *name, int type,
                                                  const int64_t *dims, size_t n)
{
    CrOnnx__ValueInfoProto *v = cr_arena_alloc(&b->arena, sizeof *v);
    CrOnnx__TypeProto *t = cr_arena_alloc(&b->arena, sizeof *t);
    CrOnnx__TypeProto__Tensor *tensor = cr_arena_alloc(&b->arena, sizeof *tensor);
    CrOnnx__TensorShapeProto *s = cr_arena_alloc(&b->arena, sizeof *s);
    cr_onnx__value_info_proto__init(v);
    cr_onnx__type_proto__init(t);
    cr_onnx__type_proto__tensor__init(tensor);
    cr_onnx__tensor_shape_proto__init(s);
    v->name = (char *)name;
    v->type = t;
    t->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = type;
    tensor->shape = s;
    s->n_dim = n;
    s->dim = cr_arena_alloc(&b->arena, (n + 1) * sizeof *s->dim);
    for (size_t i = 0; i < n; i++) {
        s->dim[i] = cr_arena_alloc(&b->arena, sizeof **s->dim);
        cr_onnx__tensor_shape_proto__dimension__init(s->dim[i]);
        s->dim[i]->has_dim_value = dims[i] >= 0;
        s->dim[i]->dim_value = dims[i];
        if (dims[i] < 0) s->dim[i]->dim_param = (char *)"d";
    }
    return v;
}

static inline void model_input(model *b, const char *name, int type, const int64_t *dims, size_t n)
{
    b->inputs[b->g.n_input++] = model_value(b, name, type, dims, n);
}

static inline void model_output(model *b, const char *name)
{
    b->outputs[b->g.n_output++] = model_value(b, name, 1, NULL, 0);
}

static inline CrOnnx__TensorProto *model_init(model *b, const char *name, int type,
                                              const int64_t *dims, size_t n)
{
    CrOnnx__TensorProto *t = cr_arena_alloc(&b->arena, sizeof *t);
    cr_onnx__tensor_proto__init(t);
    t->name = (char *)name;
    t->has_data_type = 1;
    t->data_type = type;
    t->n_dims = n;
    t->dims = cr_arena_alloc(&b->arena, (n + 1) * sizeof *t->dims);
    if (n) memcpy(t->dims, dims, n * sizeof *dims);
    b->inits[b->g.n_initializer++] = t;
    return t;
}

static inline void model_raw(CrOnnx__TensorProto *t, const void *bytes, size_t size)
{
    t->has_raw_data = 1;
    t->raw_data = (ProtobufCBinaryData){size, (uint8_t *)bytes};
}

static inline void model_external(model *b, CrOnnx__TensorProto *t, const char *location,
                                  const char *offset)
{
    const char *pairs[2][2] = {{"location", location}, {"offset", offset}};
    t->has_data_location = 1;
    t->data_location = 1;
    t->external_data = cr_arena_alloc(&b->arena, 2 * sizeof *t->external_data);
    for (int i = 0; i < 2; i++) {
        CrOnnx__StringStringEntryProto *e = cr_arena_alloc(&b->arena, sizeof *e);
        cr_onnx__string_string_entry_proto__init(e);
        e->key = (char *)pairs[i][0];
        e->value = (char *)pairs[i][1];
        t->external_data[t->n_external_data++] = e;
    }
}

static inline void model_meta(model *b, const char *key, const char *value)
{
    CrOnnx__StringStringEntryProto *e = cr_arena_alloc(&b->arena, sizeof *e);
    cr_onnx__string_string_entry_proto__init(e);
    e->key = (char *)key;
    e->value = (char *)value;
    b->meta[b->m.n_metadata_props++] = e;
}

/* Serialised model; the builder is emptied. Free with free(). */
static inline unsigned char *model_end(model *b, size_t *size)
{
    *size = cr_onnx__model_proto__get_packed_size(&b->m);
    unsigned char *bytes = malloc(*size + 1);
    cr_onnx__model_proto__pack(&b->m, bytes);
    cr_arena_free(&b->arena);
    return bytes;
}

#endif
