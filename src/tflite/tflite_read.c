/* TFLite model to graph.
 *
 * The model's tensors become values first (name, type, shape, parameters, place of their bytes),
 * then the operators, which a file has in the order in which they run, become nodes one by one.
 * Each node's shape is inferred at once: what the file claims of inner tensors counts only where a
 * RESHAPE has a shape that is computed. Layouts: tflite_import.h. */
#include "tflite/tflite_read.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "graph/passes.h"
#include "tflite/tflite_import.h"

enum { MAX_NAME = 4096, BUDGET_BASE = 64 << 20, BUDGET_FACTOR = 16 };

typedef struct reader {
    cr_tfl_import m;
    cr_flat_table model, graph;
    cr_flat_vector codes, buffers, operators;
} reader;

bool cr_tflite_recognize(const void *bytes, size_t size)
{
    return size >= 8 && !memcmp((const char *)bytes + 4, CR_TFL_IDENTIFIER, 4);
}

/* ---- operators that we have ---- */

typedef cr_status (*read_fn)(cr_tfl_import *m, cr_error *err);

static read_fn find_reader(int op)
{
    switch (op) {
    case CR_TFL_CONV_2D:
    case CR_TFL_DEPTHWISE_CONV_2D:
        return cr_tfl_read_conv;
    case CR_TFL_TRANSPOSE_CONV:
        return cr_tfl_read_transpose_conv;
    case CR_TFL_FULLY_CONNECTED:
        return cr_tfl_read_fully_connected;
    case CR_TFL_BATCH_MATMUL:
        return cr_tfl_read_batch_matmul;
    case CR_TFL_AVERAGE_POOL_2D:
    case CR_TFL_MAX_POOL_2D:
        return cr_tfl_read_pool;
    case CR_TFL_RESIZE_BILINEAR:
    case CR_TFL_RESIZE_NEAREST_NEIGHBOR:
        return cr_tfl_read_resize;
    case CR_TFL_DEPTH_TO_SPACE:
    case CR_TFL_SPACE_TO_DEPTH:
        return cr_tfl_read_depth_space;
    case CR_TFL_ADD:
    case CR_TFL_SUB:
    case CR_TFL_MUL:
    case CR_TFL_DIV:
    case CR_TFL_POW:
    case CR_TFL_MAXIMUM:
    case CR_TFL_MINIMUM:
    case CR_TFL_PRELU:
    case CR_TFL_SQUARED_DIFFERENCE:
        return cr_tfl_read_binary;
    case CR_TFL_LOGISTIC:
    case CR_TFL_HARD_SWISH:
    case CR_TFL_RELU:
    case CR_TFL_RELU6:
    case CR_TFL_RELU_N1_TO_1:
    case CR_TFL_RELU_0_TO_1:
    case CR_TFL_TANH:
    case CR_TFL_ELU:
    case CR_TFL_LEAKY_RELU:
    case CR_TFL_GELU:
    case CR_TFL_EXP:
    case CR_TFL_LOG:
    case CR_TFL_SQRT:
    case CR_TFL_RSQRT:
    case CR_TFL_SQUARE:
    case CR_TFL_ABS:
    case CR_TFL_NEG:
    case CR_TFL_SIN:
    case CR_TFL_COS:
    case CR_TFL_FLOOR:
    case CR_TFL_CEIL:
    case CR_TFL_ROUND:
    case CR_TFL_SIGN:
    case CR_TFL_L2_NORMALIZATION:
        return cr_tfl_read_unary;
    case CR_TFL_SOFTMAX:
    case CR_TFL_LOG_SOFTMAX:
        return cr_tfl_read_softmax;
    case CR_TFL_CAST:
        return cr_tfl_read_cast;
    case CR_TFL_MEAN:
    case CR_TFL_SUM:
    case CR_TFL_REDUCE_MAX:
    case CR_TFL_REDUCE_MIN:
        return cr_tfl_read_reduce;
    case CR_TFL_ARG_MAX:
        return cr_tfl_read_arg_max;
    case CR_TFL_TOPK_V2:
        return cr_tfl_read_top_k;
    case CR_TFL_SELECT_V2:
        return cr_tfl_read_select;
    case CR_TFL_RESHAPE:
    case CR_TFL_SQUEEZE:
    case CR_TFL_EXPAND_DIMS:
        return cr_tfl_read_reshape;
    case CR_TFL_TRANSPOSE:
        return cr_tfl_read_transpose;
    case CR_TFL_CONCATENATION:
        return cr_tfl_read_concat;
    case CR_TFL_SPLIT:
    case CR_TFL_SPLIT_V:
        return cr_tfl_read_split;
    case CR_TFL_SLICE:
        return cr_tfl_read_slice;
    case CR_TFL_STRIDED_SLICE:
        return cr_tfl_read_strided_slice;
    case CR_TFL_PAD:
    case CR_TFL_PADV2:
    case CR_TFL_MIRROR_PAD:
        return cr_tfl_read_pad;
    case CR_TFL_GATHER:
    case CR_TFL_GATHER_ND:
        return cr_tfl_read_gather;
    case CR_TFL_PACK:
        return cr_tfl_read_pack;
    case CR_TFL_UNPACK:
        return cr_tfl_read_unpack;
    case CR_TFL_TILE:
    case CR_TFL_BROADCAST_TO:
        return cr_tfl_read_tile;
    case CR_TFL_SHAPE:
        return cr_tfl_read_shape;
    case CR_TFL_QUANTIZE:
    case CR_TFL_DEQUANTIZE:
        return cr_tfl_read_alias;
    default:
        return NULL;
    }
}

/* Operator i's table and code; the larger field counts: old files have one, new files both. */
static int operator_at(const reader *r, size_t i, cr_flat_table *op, cr_flat_table *code)
{
    *op = cr_flat_item_table(&r->operators, i);
    const int64_t at = cr_flat_u32(op, CR_TFL_OPERATOR_CODE, 0);
    *code = (size_t)at < r->codes.count ? cr_flat_item_table(&r->codes, (size_t)at)
                                        : (cr_flat_table){0};
    if (!code->file) return -1;
    const int64_t small = cr_flat_i8(code, CR_TFL_CODE_SMALL, 0);
    const int64_t full = cr_flat_i32(code, CR_TFL_CODE_BUILTIN, 0);
    const int64_t larger = full > small ? full : small;
    return larger >= 0 && larger < 1000 ? (int)larger : -1;
}

static const char *operator_name(int op, const cr_flat_table *code, char *text, size_t size)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
#define CR_TFL_OP(number, name, options) {number, #name},
        CR_TFL_OPS(CR_TFL_OP)
#undef CR_TFL_OP
    };
    size_t length;
    const char *custom = cr_flat_text(code, CR_TFL_CODE_CUSTOM, &length);
    snprintf(text, size, "%.*s", (int)(length < 60 ? length : 60), custom);
    if (op == CR_TFL_CUSTOM && length) return text;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == op) return names[i].name;
    snprintf(text, size, "number %d", op);
    return text;
}

/* All operators that we do not have at once, so that a user learns everything. */
static cr_status check_operators(const reader *r, cr_error *err)
{
    enum { NAMED = 5 };
    int missing[NAMED];
    size_t named = 0, others = 0;
    char list[320] = "", text[64];
    for (size_t i = 0; i < r->operators.count; i++) {
        cr_flat_table op, code;
        const int number = operator_at(r, i, &op, &code);
        CR_TRY(cr_flat_check(&r->m.file, err));
        CR_CHECK(number >= 0, err, CR_ERR_FORMAT, "operator %zu has no code", i);
        if (find_reader(number)) continue;
        size_t k = 0;
        while (k < named && missing[k] != number) k++;
        if (k < named) continue;
        if (named == NAMED) {
            others++;
            continue;
        }
        missing[named++] = number;
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s'%s'%s", used ? ", " : "",
                 operator_name(number, &code, text, sizeof text),
                 number == CR_TFL_CUSTOM ? " (custom)" : "");
    }
    CR_CHECK(!named, err, CR_ERR_UNSUPPORTED, "operator%s %s %s not supported%s",
             named > 1 ? "s" : "", list, named > 1 ? "are" : "is",
             others ? ", nor are others" : "");
    return CR_OK;
}

/* ---- values ---- */

static cr_status read_shape(const cr_flat_vector *dims, cr_tfl_value *v, cr_error *err)
{
    CR_CHECK(dims->count <= CR_MAX_RANK, err, CR_ERR_LIMIT, "tensor '%s': rank %zu, at most %d",
             v->name, dims->count, CR_MAX_RANK);
    v->shape.rank = (int)dims->count;
    for (size_t d = 0; d < dims->count; d++) v->shape.dim[d] = cr_flat_item_i32(dims, d);
    return CR_OK;
}

static bool is_code_type(int type)
{
    return type == CR_TFL_I8 || type == CR_TFL_U8 || type == CR_TFL_I16 || type == CR_TFL_U16 ||
           type == CR_TFL_I4 || type == CR_TFL_U4 || type == CR_TFL_I2 || type == CR_TFL_I32 ||
           type == CR_TFL_I64;
}

static cr_status read_params(const cr_flat_table *t, cr_tfl_value *v, cr_error *err)
{
    const cr_flat_table q = cr_flat_child(t, CR_TFL_TENSOR_QUANTIZATION);
    v->scale = cr_flat_items(&q, CR_TFL_QUANT_SCALE, 4);
    v->zero_point = cr_flat_items(&q, CR_TFL_QUANT_ZERO_POINT, 8);
    v->quantized = v->scale.count && is_code_type(v->type);
    CR_CHECK(!v->quantized || !cr_flat_u8(&q, CR_TFL_QUANT_DETAILS_TYPE, 0), err,
             CR_ERR_UNSUPPORTED, "tensor '%s' is quantized in blocks", v->name);
    const int64_t axis = cr_flat_i32(&q, CR_TFL_QUANT_AXIS, 0);
    CR_CHECK(!v->quantized || v->scale.count == 1 || (axis >= 0 && axis < v->shape.rank), err,
             CR_ERR_FORMAT, "tensor '%s' has scales along axis %lld", v->name, (long long)axis);
    v->axis = v->quantized && v->scale.count > 1 ? (int)axis : 0;
    return CR_OK;
}

/* Bytes that a constant of this type and shape has in the file. */
static size_t stored_bytes(const cr_tfl_value *v, int64_t count)
{
    cr_error ignored;
    cr_dtype t;
    if (v->type == CR_TFL_I4 || v->type == CR_TFL_U4) return ((size_t)count + 1) / 2;
    if (v->type == CR_TFL_I2) return ((size_t)count + 3) / 4;
    return cr_tfl_dtype(v, &t, &ignored) == CR_OK ? (size_t)count * cr_dtype_size(t) : 0;
}

static cr_status read_data(const reader *r, const cr_flat_table *t, cr_tfl_value *v, cr_error *err)
{
    const int64_t index = cr_flat_u32(t, CR_TFL_TENSOR_BUFFER, 0);
    if ((size_t)index >= r->buffers.count) return CR_OK;
    const cr_flat_table buffer = cr_flat_item_table(&r->buffers, (size_t)index);
    cr_flat_vector data = cr_flat_items(&buffer, CR_TFL_BUFFER_DATA, 1);
    const uint64_t offset = cr_flat_u64(&buffer, CR_TFL_BUFFER_OFFSET, 0);
    const uint64_t size = cr_flat_u64(&buffer, CR_TFL_BUFFER_SIZE, 0);
    const cr_flat *f = &r->m.file;
    if (offset > 1 && !data.count) { /* behind the model */
        CR_CHECK(offset <= f->size && size <= f->size - offset, err, CR_ERR_FORMAT,
                 "tensor '%s' lies behind the end of the file", v->name);
        data = (cr_flat_vector){data.file, (size_t)offset, (size_t)size, 1};
    }
    if (!data.count) return CR_OK;
    const cr_flat_table sparse = cr_flat_child(t, CR_TFL_TENSOR_SPARSITY);
    CR_CHECK(!sparse.file, err, CR_ERR_UNSUPPORTED, "tensor '%s' is sparse", v->name);
    const int64_t count = cr_shape_count(&v->shape);
    CR_CHECK(count >= 0 && (stored_bytes(v, count) == data.count || v->type == CR_TFL_STRING), err,
             CR_ERR_FORMAT, "tensor '%s' has %zu bytes, which is not its size", v->name,
             data.count);
    v->data = f->bytes + data.at;
    v->bytes = data.count;
    return CR_OK;
}

static cr_status read_value(reader *r, const cr_flat_table *t, size_t i, cr_error *err)
{
    cr_tfl_value *v = &r->m.values[i];
    size_t length;
    const char *name = cr_flat_text(t, CR_TFL_TENSOR_NAME, &length);
    CR_CHECK(length <= MAX_NAME, err, CR_ERR_LIMIT, "tensor %zu has a name of %zu bytes", i,
             length);
    v->name = length ? cr_arena_strndup(&r->m.g->arena, name, length)
                     : cr_arena_printf(&r->m.g->arena, "tensor_%zu", i);
    if (!v->name) return CR_NOMEM(err);
    if (!*v->name) v->name = "tensor";
    v->type = (int)cr_flat_i8(t, CR_TFL_TENSOR_TYPE, 0);
    const cr_flat_vector dims = cr_flat_items(t, CR_TFL_TENSOR_SHAPE, 4);
    CR_TRY(read_shape(&dims, v, err));
    CR_TRY(read_params(t, v, err));
    CR_TRY(read_data(r, t, v, err));
    return cr_flat_check(&r->m.file, err);
}

static cr_status read_values(reader *r, cr_error *err)
{
    const cr_flat_vector tensors = cr_flat_items(&r->graph, CR_TFL_GRAPH_TENSORS, 4);
    CR_TRY(cr_flat_check(&r->m.file, err));
    CR_CHECK(tensors.count <= CR_MAX_NODES * 4, err, CR_ERR_LIMIT, "%zu tensors", tensors.count);
    r->m.values = cr_calloc(tensors.count + 1, sizeof *r->m.values);
    if (!r->m.values) return CR_NOMEM(err);
    r->m.value_count = tensors.count;
    for (size_t i = 0; i < tensors.count; i++) {
        const cr_flat_table t = cr_flat_item_table(&tensors, i);
        CR_TRY(read_value(r, &t, i, err));
    }
    return CR_OK;
}

/* ---- inputs and outputs ---- */

static cr_tfl_value *port(reader *r, const cr_flat_vector *list, size_t k)
{
    const int64_t i = cr_flat_item_i32(list, k);
    return i >= 0 && (size_t)i < r->m.value_count ? &r->m.values[i] : NULL;
}

/* The first operator other than QUANTIZE and DEQUANTIZE that reads value `index`; -1: none. */
static int first_reader(const reader *r, int64_t index)
{
    for (size_t i = 0; i < r->operators.count; i++) {
        cr_flat_table op, code;
        const int number = operator_at(r, i, &op, &code);
        const cr_flat_vector in = cr_flat_items(&op, CR_TFL_OPERATOR_INPUTS, 4);
        const cr_flat_vector out = cr_flat_items(&op, CR_TFL_OPERATOR_OUTPUTS, 4);
        bool reads = false;
        for (size_t k = 0; k < in.count; k++) reads |= cr_flat_item_i32(&in, k) == index;
        if (!reads) continue;
        if (number != CR_TFL_QUANTIZE && number != CR_TFL_DEQUANTIZE) return number;
        if (out.count) index = cr_flat_item_i32(&out, 0);
    }
    return -1;
}

/* Pictures are channels first in the graph, unless the file has them so and transposes them itself.
 */
static cr_status read_input(reader *r, cr_tfl_value *v, int64_t index, cr_error *err)
{
    static const int to_nchw[4] = {0, 3, 1, 2};
    cr_tfl_import *m = &r->m;
    cr_shape shape = v->shape;
    cr_dtype dtype = CR_DT_F32;
    CR_CHECK(!v->data && !v->view[0] && !v->view[1], err, CR_ERR_FORMAT,
             "input '%s' is a constant or listed twice", v->name);
    if (!v->quantized) CR_TRY(cr_tfl_dtype(v, &dtype, err));
    const int reader_op = v->shape.rank == 4 ? first_reader(r, index) : -1;
    v->native = v->shape.rank == 4 && reader_op != CR_TFL_TRANSPOSE ? CR_TFL_NCHW : CR_TFL_PLAIN;
    for (int d = 0; d < shape.rank; d++) {
        if (v->native == CR_TFL_NCHW) shape.dim[d] = v->shape.dim[to_nchw[d]];
        CR_CHECK(shape.dim[d] > 0, err, CR_ERR_FORMAT, "input '%s' has an axis of %lld", v->name,
                 (long long)shape.dim[d]);
    }
    CR_CHECK(cr_shape_count(&shape) > 0, err, CR_ERR_LIMIT, "input '%s' is too large", v->name);
    cr_tensor *t = cr_graph_add_tensor(m->g, v->name, dtype, shape);
    if (!t || !cr_names_put(&m->names, t->name, t)) return CR_NOMEM(err);
    m->g->inputs[m->g->input_count++] = t;
    return cr_tfl_like(m, v, t, &v->view[v->native], err);
}

static cr_status read_inputs(reader *r, cr_error *err)
{
    const cr_flat_vector in = cr_flat_items(&r->graph, CR_TFL_GRAPH_INPUTS, 4);
    const cr_flat_vector out = cr_flat_items(&r->graph, CR_TFL_GRAPH_OUTPUTS, 4);
    cr_graph *g = r->m.g;
    CR_TRY(cr_flat_check(&r->m.file, err));
    CR_CHECK(in.count <= 1000 && out.count <= 1000, err, CR_ERR_LIMIT,
             "too many inputs or outputs");
    CR_CHECK(out.count, err, CR_ERR_FORMAT, "the graph has no outputs");
    g->inputs = cr_arena_alloc(&g->arena, in.count * sizeof *g->inputs);
    g->outputs = cr_arena_alloc(&g->arena, out.count * sizeof *g->outputs);
    if (!g->inputs || !g->outputs) return CR_NOMEM(err);
    for (size_t k = 0; k < out.count; k++) {
        cr_tfl_value *v = port(r, &out, k);
        CR_CHECK(v, err, CR_ERR_FORMAT, "output %zu is missing", k);
        v->is_output = true;
    }
    for (size_t k = 0; k < in.count; k++) {
        cr_tfl_value *v = port(r, &in, k);
        CR_CHECK(v, err, CR_ERR_FORMAT, "input %zu is missing", k);
        CR_CHECK(!cr_names_get(&r->m.names, v->name), err, CR_ERR_FORMAT,
                 "two inputs are named '%s'", v->name);
        CR_TRY(read_input(r, v, cr_flat_item_i32(&in, k), err));
    }
    return CR_OK;
}

static cr_status read_outputs(reader *r, cr_error *err)
{
    const cr_flat_vector out = cr_flat_items(&r->graph, CR_TFL_GRAPH_OUTPUTS, 4);
    cr_graph *g = r->m.g;
    for (size_t k = 0; k < out.count; k++) {
        const cr_tfl_value *v = port(r, &out, k);
        cr_tensor *t = v->view[v->native];
        CR_CHECK(t, err, CR_ERR_FORMAT, "output '%s' is never written", v->name);
        g->outputs[g->output_count++] = t;
    }
    return CR_OK;
}

/* ---- operators ---- */

static cr_status read_operator(reader *r, size_t i, cr_error *err)
{
    cr_tfl_import *m = &r->m;
    cr_flat_table op, code;
    char text[64];
    m->op = operator_at(r, i, &op, &code);
    m->options = cr_flat_child(&op, CR_TFL_OPERATOR_OPTIONS);
    m->in = cr_flat_items(&op, CR_TFL_OPERATOR_INPUTS, 4);
    m->out = cr_flat_items(&op, CR_TFL_OPERATOR_OUTPUTS, 4);
    CR_TRY(cr_flat_check(&m->file, err));
    const char *name = cr_arena_printf(&m->g->arena, "operator %zu (%s)", i,
                                       operator_name(m->op, &code, text, sizeof text));
    if (!name) return CR_NOMEM(err);
    m->op_name = name;
    m->channels_first = false;
    CR_TRY(find_reader(m->op)(m, err));
    return cr_flat_check(&m->file, err);
}

static cr_status read_root(reader *r, const void *bytes, size_t size, cr_error *err)
{
    CR_CHECK(cr_flat_open(&r->m.file, bytes, size, CR_TFL_IDENTIFIER, &r->model), err,
             CR_ERR_FORMAT, "not a TFLite model, or truncated");
    const int64_t version = cr_flat_u32(&r->model, CR_TFL_MODEL_VERSION, 0);
    CR_CHECK(version == CR_TFL_VERSION, err, CR_ERR_UNSUPPORTED,
             "schema version %lld; version %d can be read", (long long)version, CR_TFL_VERSION);
    r->codes = cr_flat_items(&r->model, CR_TFL_MODEL_OPERATOR_CODES, 4);
    r->buffers = cr_flat_items(&r->model, CR_TFL_MODEL_BUFFERS, 4);
    const cr_flat_vector graphs = cr_flat_items(&r->model, CR_TFL_MODEL_SUBGRAPHS, 4);
    r->graph = cr_flat_item_table(&graphs, 0);
    r->operators = cr_flat_items(&r->graph, CR_TFL_GRAPH_OPERATORS, 4);
    CR_TRY(cr_flat_check(&r->m.file, err));
    CR_CHECK(r->graph.file, err, CR_ERR_FORMAT, "no graph inside");
    CR_CHECK(r->operators.count <= CR_MAX_NODES, err, CR_ERR_LIMIT, "%zu operators, at most %d",
             r->operators.count, CR_MAX_NODES);
    return CR_OK;
}

static cr_status build(reader *r, const void *bytes, size_t size, cr_error *err)
{
    cr_tfl_import *m = &r->m;
    size_t length;
    CR_TRY(read_root(r, bytes, size, err));
    CR_TRY(check_operators(r, err));
    CR_TRY(cr_tfl_read_metadata(m->g, bytes, size, err));
    const char *made_by = cr_flat_text(&r->model, CR_TFL_MODEL_DESCRIPTION, &length);
    m->g->producer = cr_arena_strndup(&m->g->arena, made_by, length < MAX_NAME ? length : MAX_NAME);
    if (!m->g->producer) return CR_NOMEM(err);
    m->budget = size > (SIZE_MAX - BUDGET_BASE) / BUDGET_FACTOR
                    ? SIZE_MAX
                    : BUDGET_BASE + size * BUDGET_FACTOR;
    CR_TRY(read_values(r, err));
    CR_TRY(read_inputs(r, err));
    for (size_t i = 0; i < r->operators.count; i++) CR_TRY(read_operator(r, i, err));
    CR_TRY(cr_tfl_name_all(m, err));
    CR_TRY(read_outputs(r, err));
    CR_TRY(cr_graph_index(m->g, err));
    return cr_graph_infer(m->g, err);
}

cr_status cr_tflite_parse(const void *bytes, size_t size, const char *label, cr_graph **out,
                          cr_error *err)
{
    reader r = {0};
    *out = NULL;
    cr_status st = cr_graph_create(&r.m.g, err);
    if (st == CR_OK) st = build(&r, bytes, size, err);
    if (st == CR_OK) {
        *out = r.m.g;
        r.m.g = NULL;
    }
    cr_graph_free(&r.m.g);
    cr_names_free(&r.m.names);
    cr_free(r.m.values);
    return st == CR_OK ? st : cr_fail_prefix(err, st, "%s", label);
}

cr_status cr_tflite_read(const char *path, size_t max_bytes, cr_graph **out, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    *out = NULL;
    CR_TRY(cr_file_read(path, max_bytes ? max_bytes : (size_t)1 << 31, &bytes, &size, err));
    const cr_status st = cr_tflite_parse(bytes, size, path, out, err);
    cr_free(bytes);
    return st;
}
