/* ONNX model to graph.
 *
 * protobuf-c turns the bytes into structures first; its allocator here has a budget that depends on
 * the file's size, because a two-byte message can stand for a structure of two hundred. Then, in
 * this order: operators that we do not have (all of them, so that a user learns everything at
 * once), initializers, graph inputs, nodes (each upgraded to its newest form), outputs, metadata. A
 * payload is released as soon as it is copied, so that weights are never in memory more than twice.
 *
 * Types and shapes that the file claims for inner tensors and outputs are ignored: shape inference
 * knows better, and a wrong claim must not matter. Rejected: walking the wire format without
 * protobuf-c (less memory, but one more parser of hostile bytes to get right). */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "graph/names.h"
#include "onnx/onnx.h"
#include "onnx/onnx_tensor.h"
#include "onnx/upgrade.h"

enum { BUDGET_BASE = 64 << 20, BUDGET_FACTOR = 16 };

typedef struct budget {
    size_t left;
    bool exceeded, no_memory;
} budget;

static void *budget_alloc(void *user, size_t n)
{
    budget *b = user;
    if (n > b->left) {
        b->exceeded = true;
        return NULL;
    }
    b->left -= n;
    void *p = cr_malloc(n);
    b->no_memory |= !p;
    return p;
}

static void budget_free(void *user, void *p)
{
    (void)user;
    cr_free(p);
}

typedef struct reader {
    cr_graph *g;
    cr_names names;
    CrOnnx__ModelProto *model;
    ProtobufCAllocator *allocator;
    const cr_onnx_options *options;
    const char *folder;
    int opset;
} reader;

static const char *text(const char *s)
{
    return s ? s : "";
}

static cr_status unpack(const void *bytes, size_t size, ProtobufCAllocator *a,
                        CrOnnx__ModelProto **out, cr_error *err)
{
    budget *b = a->allocator_data;
    *out = NULL;
    CR_CHECK(size > 0, err, CR_ERR_FORMAT, "the file is empty");
    b->left = size > (SIZE_MAX - BUDGET_BASE) / BUDGET_FACTOR ? SIZE_MAX
                                                              : BUDGET_BASE + size * BUDGET_FACTOR;
    *out = cr_onnx__model_proto__unpack(a, size, bytes);
    if (*out) return CR_OK;
    CR_CHECK(!b->exceeded, err, CR_ERR_LIMIT, "needs far more memory than a model of its size");
    if (b->no_memory) return CR_NOMEM(err);
    return cr_fail(err, CR_ERR_FORMAT, "not an ONNX model, or truncated");
}

static cr_status read_opset(reader *r, cr_error *err)
{
    const CrOnnx__ModelProto *m = r->model;
    int64_t version = 0;
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const char *domain = text(m->opset_import[i]->domain);
        if (!*domain || !strcmp(domain, "ai.onnx")) version = m->opset_import[i]->version;
    }
    CR_CHECK(m->graph, err, CR_ERR_FORMAT, "not an ONNX model: no graph inside");
    CR_CHECK(version, err, CR_ERR_FORMAT, "no opset of domain ai.onnx is named");
    CR_CHECK(version >= CR_ONNX_MIN_OPSET && version <= CR_ONNX_MAX_OPSET, err, CR_ERR_UNSUPPORTED,
             "opset %lld; opset %d to %d can be read (convert it with onnx.version_converter)",
             (long long)version, CR_ONNX_MIN_OPSET, CR_ONNX_MAX_OPSET);
    r->opset = (int)version;
    r->g->source_opset = r->opset;
    r->g->source_ir = m->ir_version > 0 && m->ir_version < 1000 ? (int)m->ir_version : 0;
    return CR_OK;
}

/* ---- operators that we do not have ---- */

enum { NAMED_MISSING = 5 };

static bool same_operator(const CrOnnx__NodeProto *a, const CrOnnx__NodeProto *b)
{
    return !strcmp(text(a->op_type), text(b->op_type)) && !strcmp(text(a->domain), text(b->domain));
}

static void append(char *buf, size_t size, const char *part)
{
    const size_t used = strlen(buf);
    snprintf(buf + used, size - used, "%s", part);
}

static cr_status report_missing(const reader *r, const CrOnnx__NodeProto *const *missing,
                                size_t named, size_t others, cr_error *err)
{
    char list[400], part[120];
    snprintf(list, sizeof list, "node '%.60s': operator '%.40s' (domain '%.40s') is not supported",
             text(missing[0]->name), text(missing[0]->op_type), text(missing[0]->domain));
    for (size_t i = 1; i < named; i++) {
        snprintf(part, sizeof part, "%s'%.24s'", i > 1 ? ", " : "; nor ",
                 text(missing[i]->op_type));
        append(list, sizeof list, part);
    }
    if (others) {
        snprintf(part, sizeof part, " and %zu more nodes", others);
        append(list, sizeof list, part);
    }
    if (r->model->n_functions)
        append(list, sizeof list, " (the file has functions of its own: inline them first)");
    return cr_fail(err, CR_ERR_UNSUPPORTED, "%s", list);
}

static cr_status check_operators(const reader *r, cr_error *err)
{
    const CrOnnx__GraphProto *graph = r->model->graph;
    const CrOnnx__NodeProto *missing[NAMED_MISSING];
    size_t named = 0, others = 0;
    for (size_t i = 0; i < graph->n_node; i++) {
        const CrOnnx__NodeProto *n = graph->node[i];
        if (cr_upgrade_find(r->opset, text(n->domain), text(n->op_type))) continue;
        size_t k = 0;
        while (k < named && !same_operator(missing[k], n)) k++;
        if (k < named) continue;
        if (named < NAMED_MISSING)
            missing[named++] = n;
        else
            others++;
    }
    return named ? report_missing(r, missing, named, others, err) : CR_OK;
}

/* ---- tensors ---- */

/* The tensor of that name, made if it is new. */
static cr_tensor *touch(reader *r, const char *name)
{
    cr_tensor *t = cr_names_get(&r->names, name);
    if (t) return t;
    t = cr_graph_add_tensor(r->g, name, CR_DT_NONE, cr_shape_unknown());
    return t && cr_names_put(&r->names, t->name, t) ? t : NULL;
}

static cr_status read_initializer(reader *r, CrOnnx__TensorProto *p, cr_error *err)
{
    const char *name = text(p->name);
    CR_CHECK(*name, err, CR_ERR_FORMAT, "an initializer has no name");
    CR_CHECK(!cr_names_get(&r->names, name), err, CR_ERR_FORMAT, "tensor '%s' is defined twice",
             name);
    cr_tensor *t = touch(r, name);
    if (!t) return CR_NOMEM(err);
    return cr_onnx_decode_tensor(p, r->folder, r->allocator, t, err);
}

/* Height and width of metadata `imgsz`: "[640, 640]" or "640"; false if there is none. */
static bool metadata_size(const reader *r, int64_t hw[2])
{
    const char *s = cr_graph_meta(r->g, "imgsz");
    int found = 0;
    for (; s && *s && found < 2; s++) {
        if (*s < '0' || *s > '9') continue;
        char *end;
        hw[found++] = strtoll(s, &end, 10);
        s = end - 1;
    }
    if (found == 1) hw[1] = hw[0];
    return found && hw[0] > 0 && hw[1] > 0 && hw[0] <= 1 << 20 && hw[1] <= 1 << 20;
}

static cr_status fix_dim(int64_t *dim, int64_t wanted, const char *name, const char *option,
                         cr_error *err)
{
    CR_CHECK(*dim < 0 || !wanted || *dim == wanted, err, CR_ERR_ARGUMENT,
             "input '%s' is fixed at %lld, %s cannot make it %lld: export it with that size", name,
             (long long)*dim, option, (long long)wanted);
    if (*dim < 0 && wanted > 0) *dim = wanted;
    return CR_OK;
}

/* Pictures are rank 4, channels first unless only the last dimension looks like colours. */
static cr_status fix_input(const reader *r, cr_tensor *t, cr_error *err)
{
    const cr_onnx_options *o = r->options;
    cr_shape *s = &t->shape;
    if (o->keep_symbolic) return CR_OK;
    CR_CHECK(s->rank >= 0, err, CR_ERR_ARGUMENT,
             "input '%s' has no shape: export the model with one", t->name);
    if (s->rank > 0 && s->dim[0] < 0) s->dim[0] = o->batch > 0 ? o->batch : 1;
    if (s->rank == 4) {
        CR_TRY(fix_dim(&s->dim[0], o->batch, t->name, "the batch size", err));
        const int h = s->dim[3] == 3 && s->dim[1] != 3 && s->dim[1] != 1 ? 1 : 2;
        int64_t hw[2] = {0, 0};
        CR_TRY(fix_dim(&s->dim[h], o->height, t->name, "--imgsz", err));
        CR_TRY(fix_dim(&s->dim[h + 1], o->width, t->name, "--imgsz", err));
        if (metadata_size(r, hw)) {
            if (s->dim[h] < 0) s->dim[h] = hw[0];
            if (s->dim[h + 1] < 0) s->dim[h + 1] = hw[1];
        }
    }
    CR_CHECK(cr_shape_known(s), err, CR_ERR_ARGUMENT, "input '%s' has symbolic size: give --imgsz",
             t->name);
    CR_CHECK(cr_shape_count(s) >= 0, err, CR_ERR_LIMIT, "input '%s' is too large", t->name);
    return CR_OK;
}

static cr_status read_shape(const CrOnnx__TensorShapeProto *p, cr_tensor *t, cr_error *err)
{
    t->shape = cr_shape_unknown();
    if (!p) return CR_OK;
    CR_CHECK(p->n_dim <= CR_MAX_RANK, err, CR_ERR_LIMIT, "input '%s': rank %zu, at most %d",
             t->name, p->n_dim, CR_MAX_RANK);
    t->shape.rank = (int)p->n_dim;
    for (size_t i = 0; i < p->n_dim; i++) {
        const bool known = p->dim[i]->has_dim_value && p->dim[i]->dim_value >= 0;
        t->shape.dim[i] = known ? p->dim[i]->dim_value : -1;
    }
    return CR_OK;
}

static cr_status read_input(reader *r, const CrOnnx__ValueInfoProto *v, cr_error *err)
{
    const char *name = text(v->name);
    const CrOnnx__TypeProto__Tensor *type = v->type ? v->type->tensor_type : NULL;
    CR_CHECK(type, err, CR_ERR_UNSUPPORTED, "input '%s' is not a tensor", name);
    CR_CHECK(*name && !cr_names_get(&r->names, name), err, CR_ERR_FORMAT,
             "graph input '%s' is defined twice or has no name", name);
    cr_tensor *t = touch(r, name);
    if (!t) return CR_NOMEM(err);
    t->dtype = cr_dtype_from_onnx(type->elem_type);
    CR_CHECK(t->dtype != CR_DT_NONE, err, CR_ERR_UNSUPPORTED,
             "input '%s': element type %d (%s) is not supported", name, type->elem_type,
             cr_onnx_type_name(type->elem_type));
    CR_TRY(read_shape(type->shape, t, err));
    CR_TRY(fix_input(r, t, err));
    r->g->inputs[r->g->input_count++] = t;
    return CR_OK;
}

/* Before IR 4 every initializer had to be listed as an input too; those are constants here. */
static cr_status read_inputs(reader *r, cr_error *err)
{
    const CrOnnx__GraphProto *p = r->model->graph;
    r->g->inputs = cr_arena_alloc(&r->g->arena, p->n_input * sizeof *r->g->inputs);
    if (!r->g->inputs) return CR_NOMEM(err);
    for (size_t i = 0; i < p->n_input; i++) {
        const cr_tensor *t = cr_names_get(&r->names, text(p->input[i]->name));
        if (t && t->data) continue;
        CR_TRY(read_input(r, p->input[i], err));
    }
    return CR_OK;
}

static cr_status read_outputs(reader *r, cr_error *err)
{
    const CrOnnx__GraphProto *p = r->model->graph;
    r->g->outputs = cr_arena_alloc(&r->g->arena, p->n_output * sizeof *r->g->outputs);
    if (!r->g->outputs) return CR_NOMEM(err);
    for (size_t i = 0; i < p->n_output; i++) {
        const char *name = text(p->output[i]->name);
        cr_tensor *t = cr_names_get(&r->names, name);
        CR_CHECK(t, err, CR_ERR_FORMAT, "graph output '%s' is never written", name);
        r->g->outputs[r->g->output_count++] = t;
    }
    CR_CHECK(p->n_output, err, CR_ERR_FORMAT, "the graph has no outputs");
    return CR_OK;
}

/* ---- attributes ---- */

enum {
    ATTR_FLOAT = 1,
    ATTR_INT = 2,
    ATTR_STRING = 3,
    ATTR_TENSOR = 4,
    ATTR_FLOATS = 6,
    ATTR_INTS = 7,
    ATTR_STRINGS = 8
};

/* Files of the first IR version have no type field. */
static int attribute_type(const CrOnnx__AttributeProto *p)
{
    if (p->type) return p->type;
    if (p->has_f) return ATTR_FLOAT;
    if (p->has_i) return ATTR_INT;
    if (p->has_s) return ATTR_STRING;
    if (p->t) return ATTR_TENSOR;
    if (p->n_floats) return ATTR_FLOATS;
    if (p->n_ints) return ATTR_INTS;
    return p->n_strings ? ATTR_STRINGS : 0;
}

static cr_status read_tensor_attribute(reader *r, CrOnnx__AttributeProto *p, const char *node,
                                       cr_attr *a, cr_error *err)
{
    CR_CHECK(p->t, err, CR_ERR_FORMAT, "node '%s': attribute '%s' is empty", node, a->name);
    a->tensor = cr_arena_alloc(&r->g->arena, sizeof *a->tensor);
    if (!a->tensor) return CR_NOMEM(err);
    a->tensor->name = cr_arena_strdup(&r->g->arena, text(p->t->name));
    if (!a->tensor->name) return CR_NOMEM(err);
    return cr_onnx_decode_tensor(p->t, r->folder, r->allocator, a->tensor, err);
}

static bool read_strings(reader *r, const CrOnnx__AttributeProto *p, cr_attr *a)
{
    a->strings = cr_arena_alloc(&r->g->arena, p->n_strings * sizeof *a->strings);
    for (size_t i = 0; a->strings && i < p->n_strings; i++) {
        const ProtobufCBinaryData *s = &p->strings[i];
        a->strings[i] = cr_arena_strndup(&r->g->arena, (const char *)s->data, s->len);
        if (!a->strings[i]) return false;
    }
    a->count = p->n_strings;
    return a->strings != NULL;
}

static bool read_floats(reader *r, const CrOnnx__AttributeProto *p, cr_attr *a)
{
    a->floats = cr_arena_alloc(&r->g->arena, p->n_floats * sizeof *a->floats);
    if (a->floats && p->n_floats) memcpy(a->floats, p->floats, p->n_floats * sizeof *a->floats);
    a->count = p->n_floats;
    return a->floats != NULL;
}

static cr_status read_attribute(reader *r, CrOnnx__AttributeProto *p, const char *node, cr_attr *a,
                                cr_error *err)
{
    const int type = attribute_type(p);
    const char *name = cr_arena_strdup(&r->g->arena, text(p->name));
    bool ok = name != NULL;
    if (!ok) return CR_NOMEM(err);
    a->name = name;
    CR_CHECK(!p->ref_attr_name || !*p->ref_attr_name, err, CR_ERR_FORMAT,
             "node '%s': attribute '%s' refers to a function's attribute", node, name);
    switch (type) {
    case ATTR_FLOAT:
        cr_attr_set_float(a, name, p->f);
        break;
    case ATTR_INT:
        cr_attr_set_int(a, name, p->i);
        break;
    case ATTR_STRING:
        a->type = CR_ATTR_STRING;
        a->count = p->s.len;
        a->s = cr_arena_strndup(&r->g->arena, (const char *)p->s.data, p->s.len);
        ok = a->s != NULL;
        break;
    case ATTR_TENSOR:
        a->type = CR_ATTR_TENSOR;
        return read_tensor_attribute(r, p, node, a, err);
    case ATTR_FLOATS:
        a->type = CR_ATTR_FLOATS;
        ok = read_floats(r, p, a);
        break;
    case ATTR_INTS:
        ok = cr_attr_set_ints(r->g, a, name, p->ints, p->n_ints);
        break;
    case ATTR_STRINGS:
        a->type = CR_ATTR_STRINGS;
        ok = read_strings(r, p, a);
        break;
    default:
        return cr_fail(err, CR_ERR_UNSUPPORTED,
                       "node '%s': attribute '%s' has a type that is not supported (%d)", node,
                       name, type);
    }
    return ok ? CR_OK : CR_NOMEM(err);
}

/* ---- nodes ---- */

static int trimmed(char *const *names, size_t n)
{
    while (n && !*text(names[n - 1])) n--;
    return (int)n;
}

static cr_status connect(reader *r, char *const *names, int n, cr_tensor **out, cr_error *err)
{
    for (int i = 0; i < n; i++) {
        if (!*text(names[i])) continue;
        out[i] = touch(r, names[i]);
        if (!out[i]) return CR_NOMEM(err);
    }
    return CR_OK;
}

static cr_status read_node(reader *r, cr_upgrade *u, const CrOnnx__NodeProto *p, cr_error *err)
{
    const cr_op_def *op = cr_upgrade_find(r->opset, text(p->domain), text(p->op_type));
    CR_CHECK(p->n_attribute <= 1000, err, CR_ERR_LIMIT, "node '%s' has %zu attributes",
             text(p->name), p->n_attribute);
    CR_CHECK(p->n_input <= INT32_MAX && p->n_output <= INT32_MAX, err, CR_ERR_LIMIT,
             "node '%s' has too many inputs", text(p->name));
    const int n_in = trimmed(p->input, p->n_input), n_out = trimmed(p->output, p->n_output);
    cr_node *n = cr_graph_add_node(r->g, op->kind, text(p->name), n_in, n_out, (int)p->n_attribute);
    if (!n) return CR_NOMEM(err);
    CR_TRY(connect(r, p->input, n_in, n->in, err));
    CR_TRY(connect(r, p->output, n_out, n->out, err));
    for (size_t i = 0; i < p->n_attribute; i++)
        CR_TRY(read_attribute(r, p->attribute[i], n->name, &n->attrs[i], err));
    return cr_upgrade_node(u, n, text(p->op_type), err);
}

static cr_status read_nodes(reader *r, cr_upgrade *u, cr_error *err)
{
    const CrOnnx__GraphProto *p = r->model->graph;
    for (size_t i = 0; i < p->n_node; i++) CR_TRY(read_node(r, u, p->node[i], err));
    for (size_t i = 0; i < r->g->input_count; i++)
        CR_CHECK(!r->g->inputs[i]->data, err, CR_ERR_FORMAT,
                 "graph input '%s' is written by a node", r->g->inputs[i]->name);
    return CR_OK;
}

static cr_status read_metadata(reader *r, cr_error *err)
{
    const CrOnnx__ModelProto *m = r->model;
    CR_CHECK(m->n_metadata_props <= 1000, err, CR_ERR_LIMIT, "%zu metadata entries",
             m->n_metadata_props);
    for (size_t i = 0; i < m->n_metadata_props; i++) {
        const CrOnnx__StringStringEntryProto *e = m->metadata_props[i];
        if (!cr_graph_set_meta(r->g, text(e->key), text(e->value))) return CR_NOMEM(err);
    }
    r->g->name = cr_arena_strdup(&r->g->arena, text(m->graph->name));
    r->g->producer = cr_arena_printf(&r->g->arena, "%s%s%s", text(m->producer_name),
                                     m->producer_version ? " " : "", text(m->producer_version));
    return r->g->name && r->g->producer ? CR_OK : CR_NOMEM(err);
}

static cr_status build(reader *r, cr_error *err)
{
    CR_TRY(read_opset(r, err));
    const CrOnnx__GraphProto *p = r->model->graph;
    CR_CHECK(!p->n_sparse_initializer, err, CR_ERR_UNSUPPORTED, "sparse initializers");
    CR_TRY(check_operators(r, err));
    CR_TRY(read_metadata(r, err));
    for (size_t i = 0; i < p->n_initializer; i++)
        CR_TRY(read_initializer(r, p->initializer[i], err));
    CR_TRY(read_inputs(r, err));
    cr_upgrade u = {r->g, &r->names, r->opset, false};
    CR_TRY(read_nodes(r, &u, err));
    CR_TRY(read_outputs(r, err));
    CR_TRY(cr_graph_index(r->g, err));
    if (u.pending) CR_TRY(cr_upgrade_finish(&u, err));
    return r->options->keep_half ? CR_OK : cr_graph_widen_half(r->g, err);
}

/* `*owned` (may be NULL) is the memory behind `bytes`; it is released once it is unpacked. */
static cr_status parse(const void *bytes, size_t size, unsigned char **owned, const char *folder,
                       const cr_onnx_options *options, cr_graph **out, cr_error *err)
{
    static const cr_onnx_options defaults;
    budget b = {0};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &b};
    reader r = {
        .options = options ? options : &defaults, .folder = folder, .allocator = &allocator};
    cr_status st;
    CR_TRY_GOTO(unpack(bytes, size, &allocator, &r.model, err), done);
    if (owned) {
        cr_free(*owned);
        *owned = NULL;
    }
    CR_TRY_GOTO(cr_graph_create(&r.g, err), done);
    CR_TRY_GOTO(build(&r, err), done);
    *out = r.g;
    r.g = NULL;
done:
    if (r.model) cr_onnx__model_proto__free_unpacked(r.model, &allocator);
    cr_names_free(&r.names);
    cr_graph_free(&r.g);
    return st;
}

cr_status cr_onnx_parse(const void *bytes, size_t size, const char *folder, const char *label,
                        const cr_onnx_options *options, cr_graph **out, cr_error *err)
{
    *out = NULL;
    const cr_status st = parse(bytes, size, NULL, folder, options, out, err);
    return st == CR_OK ? st : cr_fail_prefix(err, st, "%s", label);
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return cr_strdup(".");
    const size_t n = slash == path ? 1 : (size_t)(slash - path);
    char *folder = cr_strdup(path);
    if (folder) folder[n] = 0;
    return folder;
}

cr_status cr_onnx_read(const char *path, const cr_onnx_options *options, cr_graph **out,
                       cr_error *err)
{
    *out = NULL;
    const size_t limit = options && options->max_bytes ? options->max_bytes : (size_t)1 << 31;
    unsigned char *bytes;
    size_t size;
    CR_TRY(cr_file_read(path, limit, &bytes, &size, err));
    char *folder = folder_of(path);
    cr_status st = folder ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) st = parse(bytes, size, &bytes, folder, options, out, err);
    cr_free(folder);
    cr_free(bytes);
    return st == CR_OK ? st : cr_fail_prefix(err, st, "%s", path);
}
