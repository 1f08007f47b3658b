/* The whole file: nodes are lowered one after the other, then everything becomes a FlatBuffer, and
 * the metadata follow it as a zip archive, which is how Ultralytics' exporter and loader do it (its
 * file begins behind the FlatBuffer; readers of either format do not mind the other). */
#include "tflite/tflite_write.h"

#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "tflite/flatbuffer_write.h"
#include "tflite/tflite_out.h"
#include "tflite/tflite_zip.h"

/* ---- the graph's ends ---- */

static cr_tfl_form port_form(const cr_tfl_out *o, const cr_tensor *t)
{
    cr_tfl_form f = cr_tfl_stored_form(o, t);
    if (t->dtype != CR_DT_F32) return f;
    if (o->options->ports == CR_TFL_PORT_FLOAT) return cr_tfl_float();
    if (o->options->ports == CR_TFL_PORT_UINT8 && f.type == CR_TFL_I8) {
        f.type = CR_TFL_U8;
        f.zero_point += 128;
    }
    return f;
}

/* Pictures and maps are NHWC; other ports keep the graph's order. */
static cr_layout port_layout(const cr_tensor *t)
{
    return t->shape.rank == 4 ? cr_layout_channels_last(4) : cr_layout_plain(t->shape.rank);
}

static cr_status open_inputs(cr_tfl_out *o, cr_error *err)
{
    for (size_t i = 0; i < o->g->input_count; i++) {
        const cr_tensor *t = o->g->inputs[i];
        CR_CHECK(cr_shape_known(&t->shape) && i < CR_MAX_RANK, err, CR_ERR_UNSUPPORTED,
                 "TFLite: input '%s' has no fixed shape, or is one of more than %d", t->name,
                 CR_MAX_RANK);
        const cr_tfl_form f = port_form(o, t);
        const cr_layout l = port_layout(t);
        o->inputs[i] = cr_tfl_new_tensor(o, t->name, &f, &t->shape, &l);
        cr_tfl_rename(o, t, o->inputs[i], &f, &l);
        cr_tfl_made(o, t);
    }
    return CR_OK;
}

static cr_status close_outputs(cr_tfl_out *o, cr_error *err)
{
    CR_CHECK(o->g->output_count <= sizeof o->outputs / sizeof *o->outputs, err, CR_ERR_UNSUPPORTED,
             "TFLite: more than 64 outputs");
    for (size_t i = 0; i < o->g->output_count; i++) {
        const cr_tensor *t = o->g->outputs[i];
        const cr_tfl_form f = port_form(o, t);
        const cr_layout l = port_layout(t);
        const int index = cr_tfl_get(o, t, &f, &l);
        o->outputs[i] = index;
        if (index < 0) continue;
        if (o->tensors[index].name == t->name) continue;
        for (cr_tfl_variant *v = o->variants[t->id]; v; v = v->next) /* the port has the name */
            if (o->tensors[v->index].name == t->name)
                o->tensors[v->index].name = cr_arena_printf(&o->arena, "%s_codes", t->name);
        o->tensors[index].name = t->name;
    }
    return CR_OK;
}

static cr_status lower(cr_tfl_out *o, cr_error *err)
{
    CR_TRY(open_inputs(o, err));
    for (size_t i = 0; i < o->g->node_count; i++) {
        const cr_node *n = o->g->nodes[i];
        for (int k = 0; k < n->n_in + n->n_out; k++) {
            const cr_tensor *t = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
            CR_CHECK(!t || cr_shape_known(&t->shape), err, CR_ERR_UNSUPPORTED,
                     "TFLite: node '%s' (%s): the shape of '%s' is not fixed", n->name, n->op->name,
                     t->name);
        }
        if (!o->done[i]) CR_TRY(cr_tfl_lower_node(o, n, err));
    }
    CR_TRY(close_outputs(o, err));
    for (size_t i = 0; i < o->tensor_count; i++)
        if (!o->tensors[i].name) o->failed = true;
    return o->failed ? CR_NOMEM(err) : CR_OK;
}

/* ---- versions ---- */

/* The version of an operator in which it takes these types (tensorflow/lite/tools/versioning). */
static int version_of(const cr_tfl_out *o, const cr_tfl_operator *op)
{
    const cr_tfl_type type = op->in[0] < 0 ? CR_TFL_F32 : o->tensors[op->in[0]].form.type;
    const bool weighted = op->n_in > 1 && op->in[1] >= 0;
    const cr_tfl_type weight = weighted ? o->tensors[op->in[1]].form.type : type;
    const bool hybrid = type == CR_TFL_F32 && weight == CR_TFL_I8;
    switch (op->code) {
    case CR_TFL_CONV_2D:
        return hybrid ? 5 : type == CR_TFL_I16 ? 4 : type == CR_TFL_I8 ? 3 : 1;
    case CR_TFL_DEPTHWISE_CONV_2D:
        return hybrid ? 6 : type == CR_TFL_I16 ? 5 : type == CR_TFL_I8 ? 3 : 2;
    case CR_TFL_FULLY_CONNECTED:
        return hybrid ? 9 : type == CR_TFL_I16 ? 7 : type == CR_TFL_I8 ? 4 : 1;
    case CR_TFL_TRANSPOSE_CONV:
        return op->n_in > 3 ? 3 : weight == CR_TFL_I8 ? 2 : 1;
    case CR_TFL_ADD:
        return type == CR_TFL_I16 ? 3 : type == CR_TFL_I8 ? 2 : 1;
    case CR_TFL_SUB:
        return type == CR_TFL_I16 ? 5 : type == CR_TFL_I8 ? 2 : 1;
    case CR_TFL_MUL:
        return type == CR_TFL_I16 ? 4 : type == CR_TFL_I8 ? 2 : 1;
    case CR_TFL_QUANTIZE:
        return type == CR_TFL_I16 || o->tensors[op->out[0]].form.type == CR_TFL_I16 ? 2 : 1;
    case CR_TFL_DEQUANTIZE:
        return type == CR_TFL_F16 || type == CR_TFL_I16 ? 3 : type == CR_TFL_I8 ? 2 : 1;
    case CR_TFL_RESIZE_NEAREST_NEIGHBOR:
    case CR_TFL_RESIZE_BILINEAR:
        return op->fields ? 3 : type == CR_TFL_I8 || type == CR_TFL_I16 ? 2 : 1;
    case CR_TFL_STRIDED_SLICE:
    case CR_TFL_TRANSPOSE:
        return type == CR_TFL_I16 ? 4 : type == CR_TFL_I8 ? 2 : 1;
    case CR_TFL_LEAKY_RELU:
        return type == CR_TFL_I8 || type == CR_TFL_I16 ? 2 : 1;
    case CR_TFL_RESHAPE:
    case CR_TFL_HARD_SWISH:
    case CR_TFL_GELU:
    case CR_TFL_DIV:
        return 1;
    case CR_TFL_BATCH_MATMUL:
        return type == CR_TFL_I8 ? 2 : 1;
    case CR_TFL_GATHER:
        return type == CR_TFL_I16 ? 4 : type == CR_TFL_I8 ? 2 : 1;
    default:
        return type == CR_TFL_I16 ? 3 : type == CR_TFL_I8 ? 2 : 1;
    }
}

/* ---- the FlatBuffer ---- */

/* Zeros take twice the room of the scales, so those of one length are shared. */
static cr_fb_ref zero_vector(cr_fb *b, cr_tfl_out *o, size_t n)
{
    enum { ROOM = sizeof o->zeros / sizeof *o->zeros };
    for (int i = 0; i < o->zero_vectors; i++)
        if (o->zeros[i].count == n) return o->zeros[i].ref;
    int64_t *zeros = cr_calloc(n, sizeof *zeros);
    o->failed |= !zeros;
    const cr_fb_ref ref = zeros ? cr_fb_vector(b, zeros, n, 8, 8) : 0;
    cr_free(zeros);
    if (o->zero_vectors < ROOM) o->zeros[o->zero_vectors++] = (struct cr_tfl_zeros){n, ref};
    return ref;
}

static cr_fb_ref build_quantization(cr_fb *b, cr_tfl_out *o, const cr_tfl_form *f)
{
    const size_t n = f->axis ? f->axis->count : 1;
    if (f->type == CR_TFL_F32 || !(f->scale > 0)) return 0;
    const int64_t one = f->zero_point; /* per channel they are 0 */
    const cr_fb_ref scale = cr_fb_vector(b, f->axis ? f->axis->scale : &f->scale, n, 4, 4);
    const cr_fb_ref zero = f->axis || !one ? zero_vector(b, o, n) : cr_fb_vector(b, &one, 1, 8, 8);
    cr_fb_table(b);
    cr_fb_put_ref(b, CR_TFL_QUANT_SCALE, scale);
    cr_fb_put_ref(b, CR_TFL_QUANT_ZERO_POINT, zero);
    cr_fb_put_i32(b, CR_TFL_QUANT_AXIS, f->file_axis, 0);
    return cr_fb_end(b);
}

static cr_fb_ref build_tensor(cr_fb *b, cr_tfl_out *o, const cr_tfl_tensor *t, uint32_t buffer)
{
    const cr_fb_ref name = cr_fb_string(b, t->name),
                    shape = cr_fb_vector(b, t->dim, (size_t)t->rank, 4, 4);
    const cr_fb_ref q = build_quantization(b, o, &t->form);
    cr_fb_table(b);
    cr_fb_put_ref(b, CR_TFL_TENSOR_SHAPE, shape);
    cr_fb_put_u32(b, CR_TFL_TENSOR_BUFFER, buffer, 0);
    cr_fb_put_ref(b, CR_TFL_TENSOR_NAME, name);
    cr_fb_put_ref(b, CR_TFL_TENSOR_QUANTIZATION, q);
    cr_fb_put_i8(b, CR_TFL_TENSOR_TYPE, (int)t->form.type, 0);
    cr_fb_put_i8(b, CR_TFL_TENSOR_HAS_RANK, 1, 0);
    return cr_fb_end(b);
}

static int options_union(cr_tfl_op code)
{
    static const unsigned char unions[] = {
#define CR_TFL_OP(number, name, options) [number] = options,
        CR_TFL_OPS(CR_TFL_OP)
#undef CR_TFL_OP
    };
    return unions[code];
}

static cr_fb_ref build_options(cr_fb *b, const cr_tfl_operator *op)
{
    if (!options_union(op->code)) return 0;
    cr_fb_table(b);
    for (int i = 0; i < op->fields; i++) {
        const cr_tfl_field *f = &op->field[i];
        switch (f->kind) {
        case 'b':
            cr_fb_put_i8(b, f->slot, (int)f->value, 0);
            break;
        case 'n':
            cr_fb_put_i8(b, f->slot, (int)f->value, 1);
            break;
        case 'd':
            cr_fb_put_i32(b, f->slot, (int32_t)f->value, 1);
            break;
        case 'i':
            cr_fb_put_i32(b, f->slot, (int32_t)f->value, 0);
            break;
        default:
            cr_fb_put_f32(b, f->slot, (float)f->value);
        }
    }
    return cr_fb_end(b);
}

typedef struct op_code {
    cr_tfl_op op;
    int version;
} op_code;

static uint32_t code_index(op_code *codes, size_t *count, const op_code *c)
{
    size_t i = 0;
    while (i < *count && (codes[i].op != c->op || codes[i].version != c->version)) i++;
    if (i == *count) codes[(*count)++] = *c;
    return (uint32_t)i;
}

static cr_fb_ref build_operator(cr_fb *b, const cr_tfl_out *o, const cr_tfl_operator *op,
                                op_code *codes, size_t *code_count)
{
    const op_code c = {op->code, version_of(o, op)};
    const cr_fb_ref in = cr_fb_vector(b, op->in, (size_t)op->n_in, 4, 4);
    const cr_fb_ref out = cr_fb_vector(b, op->out, (size_t)op->n_out, 4, 4);
    const cr_fb_ref options = build_options(b, op);
    cr_fb_table(b);
    cr_fb_put_u32(b, CR_TFL_OPERATOR_CODE, code_index(codes, code_count, &c), 0);
    cr_fb_put_ref(b, CR_TFL_OPERATOR_INPUTS, in);
    cr_fb_put_ref(b, CR_TFL_OPERATOR_OUTPUTS, out);
    cr_fb_put_ref(b, CR_TFL_OPERATOR_OPTIONS, options);
    if (options) cr_fb_put_i8(b, CR_TFL_OPERATOR_OPTIONS_TYPE, options_union(op->code), 0);
    return cr_fb_end(b);
}

static cr_fb_ref build_code(cr_fb *b, const op_code *c)
{
    cr_fb_table(b);
    cr_fb_put_i32(b, CR_TFL_CODE_VERSION, c->version, 1);
    cr_fb_put_i32(b, CR_TFL_CODE_BUILTIN, (int32_t)c->op, 0);
    cr_fb_put_i8(b, CR_TFL_CODE_SMALL, c->op < CR_TFL_LARGE_CODES ? (int)c->op : CR_TFL_LARGE_CODES,
                 0);
    return cr_fb_end(b);
}

static cr_fb_ref build_buffer(cr_fb *b, const void *data, size_t bytes)
{
    const cr_fb_ref vector = data ? cr_fb_vector(b, data, bytes, 1, 16) : 0;
    cr_fb_table(b);
    cr_fb_put_ref(b, CR_TFL_BUFFER_DATA, vector);
    return cr_fb_end(b);
}

static cr_fb_ref build_ports(cr_fb *b, cr_tfl_out *o, cr_tensor *const *ports, const int *index,
                             size_t n)
{
    cr_fb_ref *refs = cr_arena_alloc(&o->arena, n * sizeof *refs + 1);
    if (!refs) {
        o->failed = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        const cr_fb_ref name = cr_fb_string(b, ports[i]->name);
        cr_fb_table(b);
        cr_fb_put_ref(b, CR_TFL_TENSOR_MAP_NAME, name);
        cr_fb_put_u32(b, CR_TFL_TENSOR_MAP_INDEX, (uint32_t)index[i], 0);
        refs[i] = cr_fb_end(b);
    }
    return cr_fb_ref_vector(b, refs, n);
}

static cr_fb_ref build_signature(cr_fb *b, cr_tfl_out *o)
{
    const cr_fb_ref in = build_ports(b, o, o->g->inputs, o->inputs, o->g->input_count);
    const cr_fb_ref out = build_ports(b, o, o->g->outputs, o->outputs, o->g->output_count);
    const cr_fb_ref key = cr_fb_string(b, "serving_default");
    cr_fb_table(b);
    cr_fb_put_ref(b, CR_TFL_SIGNATURE_INPUTS, in);
    cr_fb_put_ref(b, CR_TFL_SIGNATURE_OUTPUTS, out);
    cr_fb_put_ref(b, CR_TFL_SIGNATURE_KEY, key);
    const cr_fb_ref signature = cr_fb_end(b);
    return cr_fb_ref_vector(b, &signature, 1);
}

static cr_fb_ref build_subgraph(cr_fb *b, cr_tfl_out *o, const cr_fb_ref *tensors,
                                const cr_fb_ref *ops)
{
    const cr_fb_ref t = cr_fb_ref_vector(b, tensors, o->tensor_count);
    const cr_fb_ref in = cr_fb_vector(b, o->inputs, o->g->input_count, 4, 4);
    const cr_fb_ref out = cr_fb_vector(b, o->outputs, o->g->output_count, 4, 4);
    const cr_fb_ref n = cr_fb_ref_vector(b, ops, o->op_count), name = cr_fb_string(b, "main");
    cr_fb_table(b);
    cr_fb_put_ref(b, CR_TFL_GRAPH_TENSORS, t);
    cr_fb_put_ref(b, CR_TFL_GRAPH_INPUTS, in);
    cr_fb_put_ref(b, CR_TFL_GRAPH_OUTPUTS, out);
    cr_fb_put_ref(b, CR_TFL_GRAPH_OPERATORS, n);
    cr_fb_put_ref(b, CR_TFL_GRAPH_NAME, name);
    const cr_fb_ref graph = cr_fb_end(b);
    return cr_fb_ref_vector(b, &graph, 1);
}

static cr_status build(cr_fb *b, cr_tfl_out *o, cr_fb_ref *root, cr_error *err)
{
    cr_fb_ref *tensors = cr_arena_alloc(&o->arena, o->tensor_count * sizeof *tensors + 1);
    cr_fb_ref *buffers = cr_arena_alloc(&o->arena, (o->tensor_count + 1) * sizeof *buffers);
    cr_fb_ref *ops = cr_arena_alloc(&o->arena, o->op_count * sizeof *ops + 1);
    op_code *codes = cr_arena_alloc(&o->arena, (o->op_count + 1) * sizeof *codes);
    size_t buffer_count = 1, code_count = 0;
    if (!tensors || !buffers || !ops || !codes) return CR_NOMEM(err);
    buffers[0] = build_buffer(b, NULL, 0);
    for (size_t i = 0; i < o->tensor_count; i++) {
        const cr_tfl_tensor *t = &o->tensors[i];
        const uint32_t buffer = t->data ? (uint32_t)buffer_count : 0;
        if (t->data) buffers[buffer_count++] = build_buffer(b, t->data, t->bytes);
        tensors[i] = build_tensor(b, o, t, buffer);
    }
    for (size_t i = 0; i < o->op_count; i++)
        ops[i] = build_operator(b, o, &o->ops[i], codes, &code_count);
    const cr_fb_ref graph = build_subgraph(b, o, tensors, ops);
    for (size_t i = 0; i < code_count; i++) ops[i] = build_code(b, &codes[i]);
    const cr_fb_ref code_list = cr_fb_ref_vector(b, ops, code_count);
    const cr_fb_ref buffer_list = cr_fb_ref_vector(b, buffers, buffer_count);
    const cr_fb_ref signature = build_signature(b, o);
    const cr_fb_ref text =
        cr_fb_string(b, o->options->description ? o->options->description : "crayon " CR_VERSION);
    cr_fb_table(b);
    cr_fb_put_u32(b, CR_TFL_MODEL_VERSION, CR_TFL_VERSION, 0);
    cr_fb_put_ref(b, CR_TFL_MODEL_OPERATOR_CODES, code_list);
    cr_fb_put_ref(b, CR_TFL_MODEL_SUBGRAPHS, graph);
    cr_fb_put_ref(b, CR_TFL_MODEL_DESCRIPTION, text);
    cr_fb_put_ref(b, CR_TFL_MODEL_BUFFERS, buffer_list);
    cr_fb_put_ref(b, CR_TFL_MODEL_SIGNATURES, signature);
    *root = cr_fb_end(b);
    return o->failed ? CR_NOMEM(err) : CR_OK;
}

/* ---- out ---- */

static void release(cr_tfl_out *o)
{
    cr_free(o->entry);
    cr_free(o->variants);
    cr_free(o->done);
    cr_free(o->tensors);
    cr_free(o->ops);
    cr_arena_free(&o->arena);
}

static cr_status prepare(cr_tfl_out *o, const cr_recipe *r, cr_error *err)
{
    CR_TRY(cr_recipe_bind(r, o->g, &o->entry, err));
    o->variants = cr_calloc(o->g->tensor_count + 1, sizeof *o->variants);
    o->done = cr_calloc(o->g->node_count + 1, sizeof *o->done);
    for (size_t i = 0; i < o->g->tensor_count; i++) {
        const cr_recipe_entry *e = o->entry[i];
        CR_CHECK(
            !e || e->is_weight || cr_q_per_tensor(&e->q), err, CR_ERR_UNSUPPORTED,
            "TFLite: activation '%s' has a scale per channel, which no kernel takes; plan with "
            "--target tflite",
            e->tensor);
    }
    return o->variants && o->done ? CR_OK : CR_NOMEM(err);
}

cr_status cr_tflite_serialize(const cr_graph *g, const cr_recipe *r, const cr_tfl_write_options *w,
                              unsigned char **bytes, size_t *size, cr_error *err)
{
    static const cr_tfl_write_options defaults;
    cr_tfl_out o = {.g = g, .options = w ? w : &defaults};
    const unsigned char *built = NULL;
    unsigned char *zip = NULL;
    size_t built_size = 0, zip_size = 0;
    cr_fb b = {0};
    cr_fb_ref root = 0;
    *bytes = NULL;
    cr_status st = prepare(&o, r, err);
    if (st == CR_OK) st = lower(&o, err);
    if (st == CR_OK) st = build(&b, &o, &root, err);
    if (st == CR_OK) st = cr_fb_finish(&b, root, CR_TFL_IDENTIFIER, &built, &built_size, err);
    if (st == CR_OK && o.options->metadata)
        st = cr_tfl_zip("metadata.json", o.options->metadata, built_size, &zip, &zip_size, err);
    if (st == CR_OK && !(*bytes = cr_malloc(built_size + zip_size))) st = CR_NOMEM(err);
    if (st == CR_OK) {
        memcpy(*bytes, built, built_size);
        if (zip_size) memcpy(*bytes + built_size, zip, zip_size);
        *size = built_size + zip_size;
    }
    cr_free(zip);
    cr_fb_free(&b);
    release(&o);
    return st;
}

cr_status cr_tflite_write(const cr_graph *g, const cr_recipe *r, const cr_tfl_write_options *o,
                          const char *path, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    CR_TRY(cr_tflite_serialize(g, r, o, &bytes, &size, err));
    const cr_status st = cr_file_write(path, bytes, size, err);
    cr_free(bytes);
    return st;
}

/* ---- accelerators ---- */

static const char *op_name(cr_tfl_op code)
{
    static const char *const names[] = {
#define CR_TFL_OP(number, name, options) [number] = #name,
        CR_TFL_OPS(CR_TFL_OP)
#undef CR_TFL_OP
    };
    return names[code];
}

static void count_op(const cr_tfl_out *o, const cr_tfl_operator *op, cr_tfl_device device,
                     cr_tfl_device_row *rows, size_t *count)
{
    const char *why = cr_tfl_device_refuses(o, op, device);
    size_t i = 0;
    while (i < *count && rows[i].op != op_name(op->code)) i++;
    if (i == CR_TFL_MAX_ROWS) return;
    if (i == *count) rows[(*count)++] = (cr_tfl_device_row){.op = op_name(op->code)};
    rows[i].count++;
    rows[i].mapped += !why;
    if (!rows[i].why) rows[i].why = why;
}

cr_status cr_tflite_devices(const cr_graph *g, const cr_recipe *r, const cr_tfl_write_options *w,
                            cr_tfl_device device, cr_tfl_device_row rows[CR_TFL_MAX_ROWS],
                            size_t *count, cr_error *err)
{
    cr_tfl_out o = {.g = g, .options = w};
    *count = 0;
    cr_status st = prepare(&o, r, err);
    if (st == CR_OK) st = lower(&o, err);
    for (size_t i = 0; st == CR_OK && i < o.op_count; i++)
        count_op(&o, &o.ops[i], device, rows, count);
    release(&o);
    return st;
}
