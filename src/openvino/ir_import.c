#include "openvino/ir_import.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { FOLDED = 4096 }; /* elements of an integer result that is computed while reading */

/* ---- types ---- */

typedef struct element_type {
    const char *key;
    cr_dtype stored, used; /* as it lies in the .bin; in the graph */
    int bits;
} element_type;

/* Floats are float32 here and integers that count are int64, whatever width the file gives them: an
 * IR mixes i32 and i64 where ONNX's operators want one type. */
static const element_type types[] = {
    {"f32", CR_DT_F32, CR_DT_F32, 32},  {"f16", CR_DT_F16, CR_DT_F32, 16},
    {"bf16", CR_DT_BF16, CR_DT_F32, 16}, {"f64", CR_DT_F64, CR_DT_F32, 64},
    {"i64", CR_DT_I64, CR_DT_I64, 64},  {"i32", CR_DT_I32, CR_DT_I64, 32},
    {"u64", CR_DT_U64, CR_DT_I64, 64},  {"u32", CR_DT_U32, CR_DT_I64, 32},
    {"i16", CR_DT_I16, CR_DT_I16, 16},  {"u16", CR_DT_U16, CR_DT_U16, 16},
    {"i8", CR_DT_I8, CR_DT_I8, 8},      {"u8", CR_DT_U8, CR_DT_U8, 8},
    {"i4", CR_DT_I4, CR_DT_I4, 4},      {"u4", CR_DT_U4, CR_DT_U4, 4},
    {"boolean", CR_DT_BOOL, CR_DT_BOOL, 8},
};

static const element_type *find_type(const char *key)
{
    for (size_t i = 0; key && i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].key, key)) return &types[i];
    return NULL;
}

cr_dtype cr_ir_dtype(const char *element_type_key)
{
    const element_type *t = find_type(element_type_key);
    return t ? t->used : CR_DT_NONE;
}

/* ---- attributes ---- */

const char *cr_ir_text(const cr_ir_import *m, const char *key, const char *fallback)
{
    const char *text = cr_ir_attr(m->l, key);
    return text ? text : fallback;
}

bool cr_ir_flag(const cr_ir_import *m, const char *key, bool fallback)
{
    const char *text = cr_ir_attr(m->l, key);
    if (!text) return fallback;
    return !strcmp(text, "true") || !strcmp(text, "1") || !strcmp(text, "True");
}

/* A list of numbers between commas and blanks. */
static bool parse_ints(const char *text, int64_t *out, size_t room, size_t *count)
{
    *count = 0;
    for (;;) {
        text += strspn(text, " ,");
        if (!*text) return true;
        char *end;
        errno = 0;
        const long long v = strtoll(text, &end, 10);
        if (end == text || errno || *count == room || (*end && !strchr(" ,", *end))) return false;
        out[(*count)++] = v;
        text = end;
    }
}

cr_status cr_ir_ints(const cr_ir_import *m, const char *key, int64_t *out, size_t room,
                     size_t *count, cr_error *err)
{
    const char *text = cr_ir_attr(m->l, key);
    *count = 0;
    CR_CHECK(!text || parse_ints(text, out, room, count), err, CR_ERR_FORMAT,
             "%s: '%.40s' is no list of at most %zu integers", key, text, room);
    return CR_OK;
}

cr_status cr_ir_int(const cr_ir_import *m, const char *key, int64_t fallback, int64_t *out,
                    cr_error *err)
{
    size_t count;
    CR_TRY(cr_ir_ints(m, key, out, 1, &count, err));
    if (!count) *out = fallback;
    return CR_OK;
}

cr_status cr_ir_float(const cr_ir_import *m, const char *key, float fallback, float *out,
                      cr_error *err)
{
    const char *text = cr_ir_attr(m->l, key);
    char *end = NULL;
    *out = text ? strtof(text, &end) : fallback;
    CR_CHECK(!text || (end != text && !*end && isfinite(*out)), err, CR_ERR_FORMAT,
             "%s: '%.40s' is no number", key, text);
    return CR_OK;
}

/* ---- constants ---- */

cr_status cr_ir_new_const(cr_ir_import *m, cr_dtype dtype, const cr_shape *shape, cr_tensor **out,
                          cr_error *err)
{
    cr_tensor *t = cr_graph_add_tensor(m->g, "", dtype, *shape);
    if (!t) return CR_NOMEM(err);
    const int64_t count = cr_shape_count(shape);
    size_t bytes = 0;
    CR_CHECK(count >= 0 && cr_mul_size((size_t)count, cr_dtype_size(dtype), &bytes) &&
                 bytes <= m->budget,
             err, CR_ERR_LIMIT, "constants take far more memory than a model of that size");
    m->budget -= bytes;
    if (!cr_tensor_alloc(t)) return CR_NOMEM(err);
    *out = t;
    return CR_OK;
}

cr_status cr_ir_int_list(cr_ir_import *m, const int64_t *values, size_t n, cr_tensor **out,
                         cr_error *err)
{
    const cr_shape s = {1, {(int64_t)n}};
    CR_TRY(cr_ir_new_const(m, CR_DT_I64, &s, out, err));
    if (n) memcpy((*out)->data, values, n * sizeof *values);
    return CR_OK;
}

cr_status cr_ir_scalar(cr_ir_import *m, float value, cr_tensor **out, cr_error *err)
{
    const cr_shape s = {0};
    CR_TRY(cr_ir_new_const(m, CR_DT_F32, &s, out, err));
    *(float *)(*out)->data = value;
    return CR_OK;
}

static void widen(const element_type *type, const unsigned char *from, size_t count, cr_tensor *to)
{
    cr_tensor stored = {.dtype = type->stored, .data = (void *)(uintptr_t)from};
    if (type->bits == 4) {
        for (size_t i = 0; i < count; i++) {
            const int v = from[i / 2] >> (i % 2 * 4) & 15;
            ((int8_t *)to->data)[i] = (int8_t)(type->stored == CR_DT_I4 && v > 7 ? v - 16 : v);
        }
    } else if (type->stored == type->used) {
        memcpy(to->data, from, count * (size_t)(type->bits / 8));
    } else if (type->used == CR_DT_F32) {
        for (size_t i = 0; i < count; i++) ((float *)to->data)[i] = (float)cr_tensor_get_f64(&stored, i);
    } else {
        for (size_t i = 0; i < count; i++) ((int64_t *)to->data)[i] = cr_tensor_get_i64(&stored, i);
    }
}

/* The .bin has no alignment of its own: odd offsets are copied first. */
static cr_status copy_constant(cr_ir_import *m, const element_type *type, size_t offset,
                               size_t bytes, size_t count, cr_tensor *t, cr_error *err)
{
    if (!bytes) return CR_OK;
    if (offset % 8 == 0 || type->stored == type->used || type->bits == 4) {
        widen(type, m->bin + offset, count, t);
        return CR_OK;
    }
    unsigned char *aligned = cr_aligned_alloc(bytes);
    if (!aligned) return CR_NOMEM(err);
    memcpy(aligned, m->bin + offset, bytes);
    widen(type, aligned, count, t);
    cr_aligned_free(aligned);
    return CR_OK;
}

static cr_status read_constant(cr_ir_import *m, cr_tensor **out, cr_error *err)
{
    const element_type *type = find_type(cr_ir_attr(m->l, "element_type"));
    cr_shape shape = {0};
    int64_t dims[CR_MAX_RANK], offset, size;
    size_t rank;
    CR_CHECK(type, err, CR_ERR_UNSUPPORTED, "constants of type '%.20s'",
             cr_ir_text(m, "element_type", "?"));
    CR_TRY(cr_ir_ints(m, "shape", dims, CR_MAX_RANK, &rank, err));
    CR_TRY(cr_ir_int(m, "offset", -1, &offset, err));
    CR_TRY(cr_ir_int(m, "size", -1, &size, err));
    shape.rank = (int)rank;
    for (size_t d = 0; d < rank; d++) shape.dim[d] = dims[d];
    const int64_t count = cr_shape_count(&shape);
    CR_CHECK(count >= 0, err, CR_ERR_FORMAT, "shape '%.40s'", cr_ir_text(m, "shape", ""));
    const size_t bytes = ((size_t)count * (size_t)type->bits + 7) / 8;
    CR_CHECK(offset >= 0 && size >= 0 && (uint64_t)size <= m->bin_size &&
                 (uint64_t)offset <= m->bin_size - (uint64_t)size && (uint64_t)size >= bytes,
             err, CR_ERR_FORMAT, "%lld bytes at %lld of a .bin of %zu, for %zu bytes of values",
             (long long)size, (long long)offset, m->bin_size, bytes);
    CR_TRY(cr_ir_new_const(m, type->used, &shape, out, err));
    return copy_constant(m, type, (size_t)offset, bytes, (size_t)count, *out, err);
}

/* ---- names ---- */

static const char *unique(cr_ir_import *m, const char *stem)
{
    const char *name = stem;
    for (size_t i = m->names.count; name && cr_names_get(&m->names, name); i++)
        name = cr_arena_printf(&m->g->arena, "%s.%zu", stem, i);
    return name;
}

/* The name of one output of several: the port's, if it has one. */
static const char *port_stem(cr_ir_import *m, size_t k)
{
    const char *names = m->l->out[k].names;
    const size_t n = strcspn(names, ",");
    return n ? cr_arena_strndup(&m->g->arena, names, n)
             : cr_arena_printf(&m->g->arena, "%s.%zu", m->l->name, k);
}

static cr_status name_output(cr_ir_import *m, size_t k, cr_tensor *t, cr_error *err)
{
    if (*t->name) return CR_OK;
    const char *stem = m->l->out_count > 1 ? port_stem(m, k) : m->l->name;
    const char *name = stem ? unique(m, stem) : NULL;
    t->name = name ? cr_arena_strdup(&m->g->arena, name) : NULL;
    if (!t->name) t->name = "";
    return *t->name && cr_names_put(&m->names, t->name, t) ? CR_OK : CR_NOMEM(err);
}

cr_status cr_ir_name_as_input(cr_ir_import *m, size_t k, cr_tensor *t, cr_error *err)
{
    if (*t->name) return CR_OK;
    const char *name = unique(m, m->ir->layers[m->l->from_layer[k]].name);
    t->name = name ? cr_arena_strdup(&m->g->arena, name) : NULL;
    if (!t->name) t->name = "";
    return *t->name && cr_names_put(&m->names, t->name, t) ? CR_OK : CR_NOMEM(err);
}

/* ---- inputs ---- */

cr_ir_value *cr_ir_value_in(const cr_ir_import *m, size_t k)
{
    if (k >= m->l->in_count || m->l->from_layer[k] < 0) return NULL;
    return &m->values[m->l->from_layer[k]][m->l->from_port[k]];
}

bool cr_ir_has_in(const cr_ir_import *m, size_t k)
{
    return cr_ir_value_in(m, k) != NULL;
}

/* A constant becomes a tensor where it is read first. */
static cr_status make_tensor(cr_ir_import *m, const cr_ir_layer *source, cr_ir_value *v,
                             cr_error *err)
{
    const cr_ir_layer *reader = m->l;
    cr_status st;
    m->l = source;
    if (v->packed) {
        st = cr_ir_unpack(m, v->packed, &v->t, err);
        if (st == CR_OK) st = name_output(m, 0, v->t, err);
    } else {
        CR_CHECK(!strcmp(source->type, "Const"), err, CR_ERR_FORMAT,
                 "'%s' gives nothing that can be read", source->name);
        st = read_constant(m, &v->t, err);
        if (st == CR_OK) st = cr_ir_give(m, 0, v->t, err);
    }
    m->l = reader;
    return st;
}

cr_status cr_ir_in(cr_ir_import *m, size_t k, cr_tensor **out, cr_error *err)
{
    cr_ir_value *v = cr_ir_value_in(m, k);
    CR_CHECK(v, err, CR_ERR_FORMAT, "input %zu is not connected", k);
    if (!v->t) CR_TRY(make_tensor(m, &m->ir->layers[m->l->from_layer[k]], v, err));
    *out = v->t;
    return CR_OK;
}

cr_status cr_ir_const_in(cr_ir_import *m, size_t k, cr_tensor **out, cr_error *err)
{
    CR_TRY(cr_ir_in(m, k, out, err));
    CR_CHECK((*out)->data, err, CR_ERR_UNSUPPORTED, "input %zu is computed; a constant is needed",
             k);
    return CR_OK;
}

cr_status cr_ir_ints_in(cr_ir_import *m, size_t k, int64_t *out, size_t room, size_t *count,
                        cr_error *err)
{
    cr_tensor *t;
    CR_TRY(cr_ir_const_in(m, k, &t, err));
    const int64_t n = cr_shape_count(&t->shape);
    CR_CHECK(n >= 0 && (uint64_t)n <= room, err, CR_ERR_LIMIT, "input %zu has %lld numbers, at most %zu",
             k, (long long)n, room);
    for (int64_t i = 0; i < n; i++) out[i] = cr_tensor_get_i64(t, (size_t)i);
    *count = (size_t)n;
    return CR_OK;
}

/* ---- nodes ---- */

cr_status cr_ir_node(cr_ir_import *m, cr_op_kind kind, int n_in, int n_out, int n_attrs,
                     cr_node **out, cr_error *err)
{
    CR_CHECK(m->g->node_count < CR_MAX_NODES, err, CR_ERR_LIMIT, "more than %d nodes",
             CR_MAX_NODES);
    cr_node *n = cr_graph_add_node(m->g, kind, m->l->name, n_in, n_out, n_attrs);
    if (!n) return CR_NOMEM(err);
    for (int i = 0; i < n_out; i++) {
        n->out[i] = cr_graph_add_tensor(m->g, "", CR_DT_NONE, cr_shape_unknown());
        if (!n->out[i]) return CR_NOMEM(err);
        n->out[i]->producer = n;
    }
    *out = n;
    return CR_OK;
}

static bool is_small_integer(const cr_tensor *t)
{
    const int64_t count = cr_shape_count(&t->shape);
    return (t->dtype == CR_DT_I64 || t->dtype == CR_DT_BOOL) && count >= 0 && count <= FOLDED;
}

static bool follows_from_constants(const cr_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && (!n->in[i]->data || cr_shape_count(&n->in[i]->shape) > FOLDED)) return false;
    for (int i = 0; i < n->n_out; i++)
        if (!is_small_integer(n->out[i])) return false;
    return n->n_in > 0 && !(n->op->flags & (CR_OPF_HEAVY | CR_OPF_QUANT));
}

cr_status cr_ir_done(cr_ir_import *m, cr_node *n, cr_error *err)
{
    CR_TRY(cr_node_infer(n, err));
    if (!follows_from_constants(n)) return CR_OK;
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    CR_TRY(m->run(&call, err));
    for (int i = 0; i < n->n_out; i++) n->out[i]->producer = NULL;
    cr_graph_kill(n);
    return CR_OK;
}

cr_status cr_ir_unary(cr_ir_import *m, cr_op_kind kind, cr_tensor *x, cr_tensor **y, cr_error *err)
{
    cr_node *n;
    CR_TRY(cr_ir_node(m, kind, 1, 1, 0, &n, err));
    n->in[0] = x;
    *y = n->out[0];
    return cr_ir_done(m, n, err);
}

cr_status cr_ir_binary(cr_ir_import *m, cr_op_kind kind, cr_tensor *a, cr_tensor *b, cr_tensor **y,
                       cr_error *err)
{
    cr_node *n;
    CR_TRY(cr_ir_node(m, kind, 2, 1, 0, &n, err));
    n->in[0] = a;
    n->in[1] = b;
    *y = n->out[0];
    return cr_ir_done(m, n, err);
}

/* ---- outputs ---- */

cr_status cr_ir_give(cr_ir_import *m, size_t k, cr_tensor *t, cr_error *err)
{
    CR_CHECK(k < m->l->out_count, err, CR_ERR_FORMAT, "output %zu is missing", k);
    cr_ir_value *v = &m->values[m->l - m->ir->layers][k];
    v->packed = NULL;
    CR_TRY(name_output(m, k, t, err));
    v->t = t;
    if (v->uses && v->fakes == v->uses) return CR_OK; /* it gets other codes */
    return cr_ir_pass_codes(m, t, &v->t, err);
}
