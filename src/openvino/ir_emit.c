/* Text and bytes of an IR: layers, edges, constants. */
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "openvino/ir_out.h"

/* ---- text ---- */

static char *room(cr_ir_out *w, cr_ir_buffer *b, size_t n)
{
    while (!w->failed && b->cap - b->used < n)
        if (!cr_grow((void **)&b->bytes, &b->cap, b->cap, 1)) w->failed = true;
    return w->failed ? NULL : b->bytes + b->used;
}

void cr_ir_print(cr_ir_out *w, cr_ir_buffer *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *at = room(w, b, (size_t)n + 1);
    if (!at) return;
    va_start(args, fmt);
    vsnprintf(at, (size_t)n + 1, fmt, args);
    va_end(args);
    b->used += (size_t)n;
}

/* Length of the UTF-8 character at s; 0: there is none that XML may hold. */
static size_t character(const unsigned char *s)
{
    if (*s < 0x80) return *s >= 0x20 || *s == '\t' || *s == '\n' || *s == '\r';
    const size_t n = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;
    if (*s < 0xc2 || *s > 0xf4) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    const bool overlong = (*s == 0xe0 && s[1] < 0xa0) || (*s == 0xf0 && s[1] < 0x90);
    const bool surrogate = *s == 0xed && s[1] > 0x9f, beyond = *s == 0xf4 && s[1] > 0x8f;
    const bool none = *s == 0xef && s[1] == 0xbf && s[2] > 0xbd;
    return overlong || surrogate || beyond || none ? 0 : n;
}

void cr_ir_print_text(cr_ir_out *w, cr_ir_buffer *b, const char *text)
{
    while (*text) {
        const size_t n = character((const unsigned char *)text);
        if (!n) cr_ir_print(w, b, "?");
        else if (n == 1 && (strchr("<>&\"", *text) || *text < 0x20))
            cr_ir_print(w, b, "&#%d;", *text);
        else cr_ir_print(w, b, "%.*s", (int)n, text);
        text += n ? n : 1;
    }
}

/* ---- names ---- */

static const char *unique(cr_ir_out *w, const char *stem)
{
    const char *name = stem;
    for (size_t k = w->names.count; name && cr_names_get(&w->names, name); k++)
        name = cr_arena_printf(&w->arena, "%s.%zu", stem, k);
    if (!name || !cr_names_put(&w->names, name, w)) w->failed = true;
    return name ? name : "";
}

const char *cr_ir_stem(cr_ir_out *w, const cr_tensor *t, const char *suffix)
{
    const char *name = cr_arena_printf(&w->arena, "%s/%s", t->name, suffix);
    if (!name) w->failed = true;
    return name ? name : "";
}

bool cr_ir_is_output(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == t) return true;
    return false;
}

const char *cr_ir_maker_name(cr_ir_out *w, const cr_tensor *t)
{
    return cr_ir_needs_fake(w, t) && cr_ir_is_output(w->g, t) ? cr_ir_stem(w, t, "float") : t->name;
}

/* ---- layers ---- */

typedef struct type_name {
    const char *key, *precision;
} type_name;

static type_name type_of(cr_dtype t)
{
    switch (t) {
    case CR_DT_F32: return (type_name){"f32", "FP32"};
    case CR_DT_F16: return (type_name){"f16", "FP16"};
    case CR_DT_BF16: return (type_name){"bf16", "BF16"};
    case CR_DT_F64: return (type_name){"f64", "FP64"};
    case CR_DT_I64: return (type_name){"i64", "I64"};
    case CR_DT_I32: return (type_name){"i32", "I32"};
    case CR_DT_I16: return (type_name){"i16", "I16"};
    case CR_DT_U16: return (type_name){"u16", "U16"};
    case CR_DT_I8: return (type_name){"i8", "I8"};
    case CR_DT_U8: return (type_name){"u8", "U8"};
    case CR_DT_I4: return (type_name){"i4", "I4"};
    case CR_DT_U4: return (type_name){"u4", "U4"};
    case CR_DT_BOOL: return (type_name){"boolean", "BOOL"};
    default: return (type_name){NULL, NULL};
    }
}

/* A comma divides names in the file. */
static void print_port(cr_ir_out *w, int id, const cr_ir_ref *r, const char *tensor, bool input)
{
    const char *precision = type_of(r->dtype).precision;
    cr_ir_print(w, &w->layers, "<port id=\"%d\" precision=\"%s\"", id,
                precision ? precision : "UNSPECIFIED");
    if (tensor && *tensor && !strchr(tensor, ',') && !strchr(tensor, '\\')) {
        cr_ir_print(w, &w->layers, " names=\"");
        cr_ir_print_text(w, &w->layers, tensor);
        cr_ir_print(w, &w->layers, "\"");
    }
    const int dims = input ? 0 : r->shape.rank; /* an edge brings an input's */
    cr_ir_print(w, &w->layers, dims ? ">\n" : " />\n");
    for (int d = 0; d < dims; d++)
        cr_ir_print(w, &w->layers, "<dim>%lld</dim>", (long long)r->shape.dim[d]);
    if (dims) cr_ir_print(w, &w->layers, "</port>\n");
}

/* OpenVINO leaves constants of 16 bits as they are only if their Convert says what it is for. */
static bool is_decompression(const char *type, const cr_ir_ref *in, int n_in)
{
    return n_in == 1 && !strcmp(type, "Convert") &&
           (in->dtype == CR_DT_F16 || in->dtype == CR_DT_BF16);
}

void cr_ir_layer_n(cr_ir_out *w, const char *type, int opset, const char *name, const char *attrs,
                   const cr_ir_ref *in, int n_in, cr_ir_ref *outs, const char *const *tensors,
                   int n_out)
{
    const int id = w->count++;
    cr_ir_print(w, &w->layers, "<layer id=\"%d\" name=\"", id);
    cr_ir_print_text(w, &w->layers, unique(w, name));
    cr_ir_print(w, &w->layers, "\" type=\"%s\" version=\"opset%d\">\n", type, opset);
    if (attrs) cr_ir_print(w, &w->layers, "<data %s />\n", attrs);
    if (is_decompression(type, in, n_in))
        cr_ir_print(w, &w->layers, "<rt_info>\n<attribute name=\"decompression\" "
                                   "version=\"0\" />\n</rt_info>\n");
    if (n_in) cr_ir_print(w, &w->layers, "<input>\n");
    for (int k = 0; k < n_in; k++) {
        print_port(w, k, &in[k], NULL, true);
        cr_ir_print(w, &w->edges,
                    "<edge from-layer=\"%d\" from-port=\"%d\" to-layer=\"%d\" to-port=\"%d\" />\n",
                    in[k].layer - 1, in[k].port, id, k);
    }
    if (n_in) cr_ir_print(w, &w->layers, "</input>\n");
    if (n_out) cr_ir_print(w, &w->layers, "<output>\n");
    for (int k = 0; k < n_out; k++) {
        outs[k].layer = id + 1;
        outs[k].port = n_in + k;
        print_port(w, outs[k].port, &outs[k], tensors ? tensors[k] : NULL, false);
    }
    if (n_out) cr_ir_print(w, &w->layers, "</output>\n");
    cr_ir_print(w, &w->layers, "</layer>\n");
}

cr_ir_ref cr_ir_inner(cr_ir_out *w, const char *type, int opset, const char *suffix,
                      const char *attrs, const cr_ir_ref *in, int n_in, cr_dtype dtype,
                      const cr_shape *shape)
{
    cr_ir_ref out = {.dtype = dtype, .shape = *shape};
    cr_ir_layer_n(w, type, opset, cr_ir_stem(w, w->n->out[0], suffix), attrs, in, n_in, &out, NULL, 1);
    return out;
}

void cr_ir_outer(cr_ir_out *w, const char *type, int opset, const char *attrs, const cr_ir_ref *in,
                 int n_in)
{
    const cr_tensor *y = w->n->out[0];
    const char *name = cr_ir_maker_name(w, y);
    w->refs[y->id] = (cr_ir_ref){.dtype = y->dtype, .shape = y->shape};
    cr_ir_layer_n(w, type, opset, name, attrs, in, n_in, &w->refs[y->id], &name, 1);
}

/* ---- constants ---- */

enum { BIN_ALIGN = 8 }; /* of the widest element */

cr_ir_ref cr_ir_const(cr_ir_out *w, const char *name, cr_dtype dtype, const cr_shape *shape,
                      const void *bytes, size_t size)
{
    static const char zeros[BIN_ALIGN] = {0};
    cr_ir_ref out = {.dtype = dtype, .shape = *shape};
    char attrs[64 + CR_MAX_RANK * 24];
    const size_t pad = (BIN_ALIGN - w->offset % BIN_ALIGN) % BIN_ALIGN;
    fwrite(zeros, 1, pad, w->bin); /* the stream remembers a failure */
    fwrite(bytes, 1, size, w->bin);
    w->offset += pad;
    int at = snprintf(attrs, sizeof attrs, "element_type=\"%s\" shape=\"", type_of(dtype).key);
    for (int d = 0; d < shape->rank; d++)
        at += snprintf(attrs + at, sizeof attrs - (size_t)at, "%s%lld", d ? ", " : "",
                       (long long)shape->dim[d]);
    snprintf(attrs + at, sizeof attrs - (size_t)at, "\" offset=\"%llu\" size=\"%zu\"",
             (unsigned long long)w->offset, size);
    w->offset += size;
    cr_ir_layer_n(w, "Const", 1, name, attrs, NULL, 0, &out, NULL, 1);
    return out;
}

cr_ir_ref cr_ir_const_ints(cr_ir_out *w, const char *suffix, const int64_t *v, size_t n)
{
    const cr_shape s = {1, {(int64_t)n}};
    return cr_ir_const(w, cr_ir_stem(w, w->n->out[0], suffix), CR_DT_I64, &s, v, n * sizeof *v);
}

cr_ir_ref cr_ir_const_int(cr_ir_out *w, const char *suffix, int64_t v)
{
    const cr_shape s = {0};
    return cr_ir_const(w, cr_ir_stem(w, w->n->out[0], suffix), CR_DT_I64, &s, &v, sizeof v);
}

cr_ir_ref cr_ir_const_float(cr_ir_out *w, const char *suffix, float v)
{
    const cr_shape s = {0};
    return cr_ir_const(w, cr_ir_stem(w, w->n->out[0], suffix), CR_DT_F32, &s, &v, sizeof v);
}

/* The values in 16 bits, if none of them changes. */
static uint16_t *halves(cr_ir_out *w, const float *v, size_t n)
{
    const bool f16 = w->options->half == CR_DT_F16;
    uint16_t *out = n > 1 && w->options->half ? cr_malloc(n * sizeof *out) : NULL;
    for (size_t i = 0; out && i < n; i++) {
        out[i] = f16 ? cr_f32_to_f16(v[i]) : cr_f32_to_bf16(v[i]);
        if ((f16 ? cr_f16_to_f32(out[i]) : cr_bf16_to_f32(out[i])) == v[i]) continue;
        cr_free(out);
        out = NULL;
    }
    return out;
}

cr_ir_ref cr_ir_const_floats(cr_ir_out *w, const char *name, const cr_shape *shape, const float *v)
{
    const size_t n = (size_t)cr_shape_count(shape);
    uint16_t *half = halves(w, v, n);
    if (!half) return cr_ir_const(w, name, CR_DT_F32, shape, v, n * sizeof *v);
    const cr_ir_ref c = cr_ir_const(w, name, w->options->half, shape, half, n * sizeof *half);
    cr_free(half);
    cr_ir_ref out = {.dtype = CR_DT_F32, .shape = *shape};
    const char *convert = cr_arena_printf(&w->arena, "%s/float", name);
    cr_ir_layer_n(w, "Convert", 1, convert ? convert : "", "destination_type=\"f32\"", &c, 1, &out,
                  NULL, 1);
    return out;
}

/* ---- inputs ---- */

static cr_status put_constant(cr_ir_out *w, const cr_tensor *t, cr_ir_ref *out, cr_error *err)
{
    const cr_recipe_entry *e = w->entries[t->id];
    CR_CHECK(type_of(t->dtype).key && t->dtype != CR_DT_I4 && t->dtype != CR_DT_U4, err,
             CR_ERR_UNSUPPORTED, "constant '%.80s' of type %s", t->name, cr_dtype_key(t->dtype));
    if (e) *out = cr_ir_put_codes(w, t, &e->q, 1);
    else if (t->dtype == CR_DT_F32) *out = cr_ir_const_floats(w, t->name, &t->shape, t->data);
    else *out = cr_ir_const(w, t->name, t->dtype, &t->shape, t->data, cr_tensor_bytes(t));
    return CR_OK;
}

cr_status cr_ir_ref_of(cr_ir_out *w, const cr_tensor *t, cr_ir_ref *out, cr_error *err)
{
    CR_CHECK(t, err, CR_ERR_UNSUPPORTED, "an input that is left out");
    cr_ir_ref *r = &w->refs[t->id];
    if (!r->layer && t->data) CR_TRY(put_constant(w, t, r, err));
    CR_CHECK(r->layer, err, CR_ERR_UNSUPPORTED, "tensor '%.80s' has no value", t->name);
    *out = *r;
    return CR_OK;
}

cr_status cr_ir_refs_in(cr_ir_out *w, cr_ir_ref *in, int n, cr_error *err)
{
    for (int k = 0; k < n; k++) CR_TRY(cr_ir_ref_of(w, k < w->n->n_in ? w->n->in[k] : NULL, &in[k], err));
    return CR_OK;
}

cr_status cr_ir_list_in(const cr_ir_out *w, int k, int64_t out[2 * CR_MAX_RANK], size_t *count,
                        cr_error *err)
{
    const cr_tensor *t = k < w->n->n_in ? w->n->in[k] : NULL;
    *count = 0;
    if (!t) return CR_OK;
    const int64_t n = cr_shape_count(&t->shape);
    CR_CHECK(t->data && n >= 0 && n <= 2 * CR_MAX_RANK, err, CR_ERR_UNSUPPORTED,
             "input %d is no short list of constants", k);
    for (int64_t i = 0; i < n; i++) out[i] = cr_tensor_get_i64(t, (size_t)i);
    *count = (size_t)n;
    return CR_OK;
}
