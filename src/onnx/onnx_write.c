/* Graph to ONNX model.
 *
 * The protobuf structures are built in an arena and point at the graph's own names and weights, so
 * a model is never copied: packing streams straight into the file. Order is the graph's (inputs,
 * constants by position, nodes in topological order) and nothing depends on addresses or time,
 * hence the same graph gives the same bytes. Constants that no written node reads are left out
 * (lowering may have turned them into attributes). */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "onnx/lower.h"
#include "onnx/onnx.h"
#include "onnx/onnx_tensor.h"

char cr_onnx_new_name;

#define NEW(o, type, init)                                                                         \
    type *p = cr_arena_alloc(&(o)->arena, sizeof *p);                                              \
    if (!p) return NULL;                                                                           \
    init(p)

CrOnnx__NodeProto *cr_onnx_new_node(cr_onnx_out *o, const char *op_type, const char *name,
                                    size_t n_in, size_t n_out, size_t max_attrs)
{
    NEW(o, CrOnnx__NodeProto, cr_onnx__node_proto__init);
    p->op_type = (char *)op_type;
    p->name = (char *)name;
    p->n_input = n_in;
    p->n_output = n_out;
    p->input = cr_arena_alloc(&o->arena, n_in * sizeof *p->input);
    p->output = cr_arena_alloc(&o->arena, n_out * sizeof *p->output);
    p->attribute = cr_arena_alloc(&o->arena, max_attrs * sizeof *p->attribute);
    return p->input && p->output && p->attribute ? p : NULL;
}

bool cr_onnx_push_node(cr_onnx_out *o, CrOnnx__NodeProto *n)
{
    if (!n || !cr_grow((void **)&o->nodes, &o->cap_nodes, o->n_nodes, sizeof *o->nodes))
        return false;
    o->nodes[o->n_nodes++] = n;
    return true;
}

CrOnnx__AttributeProto *cr_onnx_new_attr(cr_onnx_out *o, CrOnnx__NodeProto *n, const char *name,
                                         int type)
{
    NEW(o, CrOnnx__AttributeProto, cr_onnx__attribute_proto__init);
    p->name = (char *)name;
    p->has_type = true;
    p->type = type;
    n->attribute[n->n_attribute++] = p;
    return p;
}

static CrOnnx__TypeProto *type_proto(cr_onnx_out *o, cr_dtype dtype, const cr_shape *shape)
{
    NEW(o, CrOnnx__TypeProto, cr_onnx__type_proto__init);
    CrOnnx__TypeProto__Tensor *t = cr_arena_alloc(&o->arena, sizeof *t);
    CrOnnx__TensorShapeProto *s = cr_arena_alloc(&o->arena, sizeof *s);
    if (!t || !s) return NULL;
    cr_onnx__type_proto__tensor__init(t);
    cr_onnx__tensor_shape_proto__init(s);
    p->tensor_type = t;
    t->has_elem_type = true;
    t->elem_type = cr_dtype_to_onnx(dtype);
    if (shape->rank < 0) return p;
    t->shape = s;
    s->n_dim = (size_t)shape->rank;
    s->dim = cr_arena_alloc(&o->arena, s->n_dim * sizeof *s->dim);
    for (size_t i = 0; s->dim && i < s->n_dim; i++) {
        s->dim[i] = cr_arena_alloc(&o->arena, sizeof **s->dim);
        if (!s->dim[i]) return NULL;
        cr_onnx__tensor_shape_proto__dimension__init(s->dim[i]);
        s->dim[i]->has_dim_value = shape->dim[i] >= 0;
        s->dim[i]->dim_value = shape->dim[i];
    }
    return s->dim ? p : NULL;
}

static CrOnnx__ValueInfoProto *value_info(cr_onnx_out *o, const char *name, cr_dtype dtype,
                                          const cr_shape *shape)
{
    NEW(o, CrOnnx__ValueInfoProto, cr_onnx__value_info_proto__init);
    p->name = (char *)name;
    p->type = type_proto(o, dtype, shape);
    return p->type ? p : NULL;
}

bool cr_onnx_push_info(cr_onnx_out *o, const char *name, cr_dtype dtype, const cr_shape *shape)
{
    if (dtype == CR_DT_NONE || shape->rank < 0) return true;
    CrOnnx__ValueInfoProto *p = value_info(o, name, dtype, shape);
    if (!p || !cr_grow((void **)&o->infos, &o->cap_infos, o->n_infos, sizeof *o->infos))
        return false;
    o->infos[o->n_infos++] = p;
    return true;
}

CrOnnx__TensorProto *cr_onnx_tensor_proto(cr_onnx_out *o, const cr_tensor *t, const char *name)
{
    NEW(o, CrOnnx__TensorProto, cr_onnx__tensor_proto__init);
    const size_t count = (size_t)cr_shape_count(&t->shape);
    p->name = (char *)name;
    p->has_data_type = true;
    p->data_type = cr_dtype_to_onnx(t->dtype);
    p->n_dims = (size_t)t->shape.rank;
    p->dims = cr_arena_alloc(&o->arena, p->n_dims * sizeof *p->dims);
    if (!p->dims) return NULL;
    memcpy(p->dims, t->shape.dim, p->n_dims * sizeof *p->dims);
    p->has_raw_data = true;
    p->raw_data.len = cr_onnx_stored_bytes(t->dtype, count);
    p->raw_data.data = t->data;
    if (cr_onnx_packed_bits(t->dtype)) {
        p->raw_data.data = cr_arena_alloc(&o->arena, p->raw_data.len);
        if (!p->raw_data.data) return NULL;
        cr_onnx_pack(t->data, count, t->dtype, p->raw_data.data);
    }
    return p;
}

/* ---- the graph ---- */

static cr_status lower_nodes(cr_onnx_out *o, cr_error *err)
{
    for (size_t i = 0; i < o->g->tensor_count; i++)
        if (!cr_names_put(&o->names, o->g->tensors[i]->name, o->g->tensors[i]))
            return CR_NOMEM(err);
    for (size_t i = 0; i < o->g->node_count; i++)
        CR_TRY(cr_onnx_lower_node(o, o->g->nodes[i], err));
    return CR_OK;
}

static cr_status write_values(cr_onnx_out *o, cr_tensor *const *tensors, size_t n,
                              CrOnnx__ValueInfoProto ***out, cr_error *err)
{
    *out = cr_arena_alloc(&o->arena, n * sizeof **out);
    if (!*out) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        const cr_tensor *t = tensors[i];
        CR_CHECK(t->dtype != CR_DT_NONE, err, CR_ERR_ARGUMENT,
                 "tensor '%s' has no element type: infer shapes before writing", t->name);
        (*out)[i] = value_info(o, t->name, t->dtype, &t->shape);
        if (!(*out)[i]) return CR_NOMEM(err);
    }
    return CR_OK;
}

/* needed[id] of constants that a written node or an output reads. */
static void mark_needed(const cr_onnx_out *o, bool *needed)
{
    for (size_t i = 0; i < o->n_nodes; i++)
        for (size_t k = 0; k < o->nodes[i]->n_input; k++) {
            const cr_tensor *t = cr_names_get(&o->names, o->nodes[i]->input[k]);
            if (t && (const char *)t != &cr_onnx_new_name) needed[t->id] = true;
        }
    for (size_t i = 0; i < o->g->output_count; i++) needed[o->g->outputs[i]->id] = true;
}

static cr_status write_constants(cr_onnx_out *o, CrOnnx__GraphProto *graph, const bool *needed,
                                 cr_error *err)
{
    graph->initializer =
        cr_arena_alloc(&o->arena, (o->g->tensor_count + o->n_inits) * sizeof *graph->initializer);
    if (!graph->initializer) return CR_NOMEM(err);
    for (size_t i = 0; i < o->g->tensor_count; i++) {
        const cr_tensor *t = o->g->tensors[i];
        if (!t->data || !needed[t->id]) continue;
        const int bits = cr_onnx_packed_bits(t->dtype), since = bits == 2 ? 25 : bits == 4 ? 21 : 0;
        CR_CHECK(o->opset >= since, err, CR_ERR_UNSUPPORTED,
                 "tensor '%s' is %s, which needs opset %d (asked for %d)", t->name,
                 cr_dtype_key(t->dtype), since, o->opset);
        CrOnnx__TensorProto *p = cr_onnx_tensor_proto(o, t, t->name);
        if (!p) return CR_NOMEM(err);
        graph->initializer[graph->n_initializer++] = p;
    }
    for (size_t i = 0; i < o->n_inits; i++)
        graph->initializer[graph->n_initializer++] = o->inits[i];
    return CR_OK;
}

/* Types and shapes of inner tensors, so that readers need not infer them. */
static cr_status write_infos(cr_onnx_out *o, const bool *needed, cr_error *err)
{
    for (size_t i = 0; i < o->g->tensor_count; i++) {
        const cr_tensor *t = o->g->tensors[i];
        if (t->data || !t->producer || !needed[t->id]) continue;
        bool is_output = false;
        for (size_t k = 0; k < o->g->output_count; k++) is_output |= o->g->outputs[k] == t;
        if (!is_output && !cr_onnx_push_info(o, t->name, t->dtype, &t->shape)) return CR_NOMEM(err);
    }
    return CR_OK;
}

/* Their tensors have names that say as much. */
static void drop_pair_names(cr_onnx_out *o)
{
    for (size_t i = 0; i < o->n_nodes; i++) {
        const char *type = o->nodes[i]->op_type;
        if (!strcmp(type, "QuantizeLinear") || !strcmp(type, "DequantizeLinear"))
            o->nodes[i]->name = NULL;
    }
}

static cr_status build_graph(cr_onnx_out *o, bool lean, CrOnnx__GraphProto *graph, cr_error *err)
{
    const cr_graph *g = o->g;
    CR_TRY(lower_nodes(o, err));
    graph->name = (char *)(g->name[0] ? g->name : "graph");
    graph->n_node = o->n_nodes;
    graph->node = o->nodes;
    graph->n_input = g->input_count;
    CR_TRY(write_values(o, g->inputs, g->input_count, &graph->input, err));
    graph->n_output = g->output_count;
    CR_TRY(write_values(o, g->outputs, g->output_count, &graph->output, err));
    bool *needed = cr_arena_alloc(&o->arena, g->tensor_count * sizeof *needed);
    if (!needed) return CR_NOMEM(err);
    mark_needed(o, needed);
    CR_TRY(write_constants(o, graph, needed, err));
    if (lean) {
        drop_pair_names(o);
        return CR_OK;
    }
    CR_TRY(write_infos(o, needed, err));
    graph->n_value_info = o->n_infos;
    graph->value_info = o->infos;
    return CR_OK;
}

/* ---- the model ---- */

static int ir_of_opset(int opset)
{
    if (opset >= 23) return opset >= 25 ? 13 : opset - 12;
    if (opset >= 21) return 10;
    if (opset >= 19) return 9;
    return opset >= 15 ? 8 : 7;
}

static cr_status write_metadata(cr_onnx_out *o, CrOnnx__ModelProto *m, cr_error *err)
{
    const size_t n = o->g->meta_count;
    m->metadata_props = cr_arena_alloc(&o->arena, n * sizeof *m->metadata_props);
    if (!m->metadata_props) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        CrOnnx__StringStringEntryProto *e = cr_arena_alloc(&o->arena, sizeof *e);
        if (!e) return CR_NOMEM(err);
        cr_onnx__string_string_entry_proto__init(e);
        e->key = (char *)o->g->meta[2 * i];
        e->value = (char *)o->g->meta[2 * i + 1];
        m->metadata_props[m->n_metadata_props++] = e;
    }
    return CR_OK;
}

static cr_status choose_opset(const cr_graph *g, int wanted, int *opset, cr_error *err)
{
    *opset = wanted ? wanted : g->source_opset;
    if (!wanted && *opset < CR_ONNX_MIN_WRITE_OPSET) *opset = g->source_opset ? 13 : 17;
    if (!wanted && *opset > CR_ONNX_USUAL_OPSET) *opset = CR_ONNX_USUAL_OPSET;
    CR_CHECK(*opset >= CR_ONNX_MIN_WRITE_OPSET && *opset <= CR_ONNX_MAX_WRITE_OPSET, err,
             CR_ERR_ARGUMENT, "opset %d cannot be written; %d to %d can", *opset,
             CR_ONNX_MIN_WRITE_OPSET, CR_ONNX_MAX_WRITE_OPSET);
    return CR_OK;
}

typedef struct sink {
    ProtobufCBuffer base;
    FILE *stream;
    unsigned char *bytes;
    size_t used;
} sink;

static void sink_append(ProtobufCBuffer *b, size_t n, const uint8_t *data)
{
    sink *s = (sink *)b;
    if (s->stream)
        fwrite(data, 1, n, s->stream); /* cr_outfile_commit looks at ferror */
    else
        memcpy(s->bytes + s->used, data, n);
    s->used += n;
}

/* Domains of operators beside ONNX's own: ONNX Runtime's. */
static bool uses_domain(const cr_graph *g, const char *domain)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (!strcmp(g->nodes[i]->op->domain, domain)) return true;
    return false;
}

/* Builds the model and hands it to `emit`. */
static cr_status with_model(const cr_graph *g, const cr_onnx_write_options *w,
                            cr_status (*emit)(const CrOnnx__ModelProto *, void *, cr_error *),
                            void *user, cr_error *err)
{
    static const cr_onnx_write_options defaults;
    cr_onnx_out o = {.g = g};
    CrOnnx__ModelProto m = CR_ONNX__MODEL_PROTO__INIT;
    CrOnnx__GraphProto graph = CR_ONNX__GRAPH_PROTO__INIT;
    CrOnnx__OperatorSetIdProto opset = CR_ONNX__OPERATOR_SET_ID_PROTO__INIT, microsoft = opset;
    CrOnnx__OperatorSetIdProto *opsets[] = {&opset, &microsoft};
    cr_status st;
    if (!w) w = &defaults;
    CR_TRY_GOTO(choose_opset(g, w->opset, &o.opset, err), done);
    m.has_ir_version = opset.has_version = true;
    m.ir_version = w->ir_version ? w->ir_version : ir_of_opset(o.opset);
    m.producer_name = (char *)(w->producer_name ? w->producer_name : "crayon");
    m.producer_version = (char *)(w->producer_version ? w->producer_version : CR_VERSION);
    opset.domain = (char *)"";
    opset.version = o.opset;
    microsoft.domain = (char *)"com.microsoft";
    microsoft.has_version = true;
    microsoft.version = 1;
    m.n_opset_import = uses_domain(g, microsoft.domain) ? 2 : 1;
    m.opset_import = opsets;
    m.graph = &graph;
    CR_TRY_GOTO(write_metadata(&o, &m, err), done);
    CR_TRY_GOTO(build_graph(&o, w->lean, &graph, err), done);
    st = emit(&m, user, err);
done:
    cr_arena_free(&o.arena);
    cr_names_free(&o.names);
    cr_free(o.nodes);
    cr_free(o.inits);
    cr_free(o.infos);
    return st;
}

static cr_status check_size(const CrOnnx__ModelProto *m, size_t *size, cr_error *err)
{
    *size = cr_onnx__model_proto__get_packed_size(m);
    CR_CHECK(*size <= INT_MAX, err, CR_ERR_LIMIT,
             "the model takes %zu bytes, ONNX files end at 2 GiB", *size);
    return CR_OK;
}

static cr_status emit_file(const CrOnnx__ModelProto *m, void *user, cr_error *err)
{
    const char *path = user;
    size_t size;
    cr_outfile *f;
    CR_TRY(check_size(m, &size, err));
    CR_TRY(cr_outfile_open(path, &f, err));
    sink s = {{sink_append}, cr_outfile_stream(f), NULL, 0};
    cr_onnx__model_proto__pack_to_buffer(m, &s.base);
    return cr_outfile_commit(&f, err);
}

cr_status cr_onnx_write(const cr_graph *g, const cr_onnx_write_options *options, const char *path,
                        cr_error *err)
{
    CR_TRY(cr_graph_has_weights(g, err));
    return with_model(g, options, emit_file, (void *)path, err);
}

typedef struct memory {
    unsigned char **bytes;
    size_t *size;
} memory;

static cr_status emit_memory(const CrOnnx__ModelProto *m, void *user, cr_error *err)
{
    const memory *out = user;
    CR_TRY(check_size(m, out->size, err));
    *out->bytes = cr_malloc(*out->size);
    if (!*out->bytes) return CR_NOMEM(err);
    sink s = {{sink_append}, NULL, *out->bytes, 0};
    cr_onnx__model_proto__pack_to_buffer(m, &s.base);
    return CR_OK;
}

cr_status cr_onnx_serialize(const cr_graph *g, const cr_onnx_write_options *options,
                            unsigned char **bytes, size_t *size, cr_error *err)
{
    memory out = {bytes, size};
    *bytes = NULL;
    CR_TRY(cr_graph_has_weights(g, err));
    return with_model(g, options, emit_memory, &out, err);
}
