#include "coreml/mil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMMEDIATE_ELEMENTS = 16 };

void cr_mil_free(cr_mil *m)
{
    cr_arena_free(&m->arena);
    cr_blob_free(&m->weights);
    cr_names_free(&m->used);
    cr_names_free(&m->shared);
    cr_free(m->ops);
    *m = (cr_mil){0};
}

static void *take(cr_mil *m, size_t n)
{
    void *p = cr_arena_alloc(&m->arena, n);
    if (!p) m->no_memory = true;
    return p;
}

/* A new message of a generated type. */
#define NEW(m, var, type, init)                                                                    \
    type *var = take(m, sizeof *var);                                                              \
    if (!var) return NULL;                                                                         \
    init(var)

const char *cr_mil_type_name(cr_mil_type t)
{
    switch (t) {
    case CR_MIL_BOOL:
        return "bool";
    case CR_MIL_F16:
        return "fp16";
    case CR_MIL_F32:
        return "fp32";
    case CR_MIL_I8:
        return "int8";
    case CR_MIL_I32:
        return "int32";
    case CR_MIL_U8:
        return "uint8";
    default:
        return "?";
    }
}

size_t cr_mil_type_bits(cr_mil_type t)
{
    switch (t) {
    case CR_MIL_U1:
        return 1;
    case CR_MIL_U2:
        return 2;
    case CR_MIL_I4:
    case CR_MIL_U4:
        return 4;
    case CR_MIL_U6:
        return 6;
    case CR_MIL_F16:
        return 16;
    case CR_MIL_F32:
    case CR_MIL_I32:
    case CR_MIL_U32:
        return 32;
    default:
        return 8;
    }
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

const char *cr_mil_identifier(cr_mil *m, const char *stem)
{
    const size_t n = strlen(stem);
    char *name = take(m, n + 24);
    if (!name) return NULL;
    size_t at = 0;
    if (!n || (stem[0] >= '0' && stem[0] <= '9')) name[at++] = '_';
    for (size_t i = 0; i < n; i++)
        name[at++] = is_letter(stem[i]) || (stem[i] >= '0' && stem[i] <= '9') ? stem[i] : '_';
    for (unsigned k = 1; cr_names_get(&m->used, name); k++) snprintf(name + at, 16, "_%u", k);
    if (!cr_names_put(&m->used, name, name)) m->no_memory = true;
    return name;
}

CrCoreml__ValueType *cr_mil_tensor_type(cr_mil *m, cr_mil_type t, const cr_shape *s)
{
    NEW(m, v, CrCoreml__ValueType, cr_coreml__value_type__init);
    NEW(m, p, CrCoreml__TensorType, cr_coreml__tensor_type__init);
    v->tensor_type = p;
    p->has_data_type = p->has_rank = true;
    p->data_type = (int32_t)t;
    p->rank = s->rank;
    p->dimensions = take(m, (size_t)s->rank * sizeof *p->dimensions + 1);
    if (!p->dimensions) return NULL;
    for (int i = 0; i < s->rank; i++) {
        NEW(m, d, CrCoreml__Dimension, cr_coreml__dimension__init);
        NEW(m, c, CrCoreml__Dimension__Constant, cr_coreml__dimension__constant__init);
        c->has_size = true;
        c->size = (uint64_t)s->dim[i];
        d->constant = c;
        p->dimensions[p->n_dimensions++] = d;
    }
    return v;
}

CrCoreml__NamedValueType *cr_mil_named_type(cr_mil *m, const char *name, CrCoreml__ValueType *type)
{
    if (!name || !type) return NULL;
    NEW(m, p, CrCoreml__NamedValueType, cr_coreml__named_value_type__init);
    p->name = (char *)name;
    p->type = type;
    return p;
}

/* ---- values ---- */

static bool int_tensor(cr_mil *m, CrCoreml__TensorValue *t, const int32_t *v, size_t n)
{
    CrCoreml__TensorValue__Ints *p = take(m, sizeof *p);
    if (!p) return false;
    cr_coreml__tensor_value__ints__init(p);
    p->n_values = n;
    p->values = take(m, n * sizeof *v + 1);
    if (p->values && n) memcpy(p->values, v, n * sizeof *v);
    t->ints = p;
    return p->values;
}

static bool float_tensor(cr_mil *m, CrCoreml__TensorValue *t, const float *v, size_t n)
{
    CrCoreml__TensorValue__Floats *p = take(m, sizeof *p);
    if (!p) return false;
    cr_coreml__tensor_value__floats__init(p);
    p->n_values = n;
    p->values = take(m, n * sizeof *v + 1);
    if (p->values && n) memcpy(p->values, v, n * sizeof *v);
    t->floats = p;
    return p->values;
}

static bool bool_tensor(cr_mil *m, CrCoreml__TensorValue *t, const uint8_t *v, size_t n)
{
    CrCoreml__TensorValue__Bools *p = take(m, sizeof *p);
    if (!p) return false;
    cr_coreml__tensor_value__bools__init(p);
    p->n_values = n;
    p->values = take(m, n * sizeof *p->values + 1);
    for (size_t i = 0; p->values && i < n; i++) p->values[i] = v[i] != 0;
    t->bools = p;
    return p->values;
}

static bool byte_tensor(cr_mil *m, CrCoreml__TensorValue *t, const void *v, size_t size)
{
    CrCoreml__TensorValue__Bytes *p = take(m, sizeof *p);
    if (!p) return false;
    cr_coreml__tensor_value__bytes__init(p);
    p->has_values = true;
    p->values.len = size;
    p->values.data = take(m, size + 1);
    if (p->values.data && size) memcpy(p->values.data, v, size);
    t->bytes = p;
    return p->values.data;
}

static CrCoreml__TensorValue *new_immediate(cr_mil *m, CrCoreml__Value *v)
{
    NEW(m, i, CrCoreml__Value__Immediate, cr_coreml__value__immediate__init);
    NEW(m, t, CrCoreml__TensorValue, cr_coreml__tensor_value__init);
    v->immediate_value = i;
    i->tensor = t;
    return t;
}

static bool blob_type(cr_mil_type t, cr_blob_type *out)
{
    switch (t) {
    case CR_MIL_F16:
        *out = CR_BLOB_F16;
        return true;
    case CR_MIL_F32:
        *out = CR_BLOB_F32;
        return true;
    case CR_MIL_U8:
        *out = CR_BLOB_U8;
        return true;
    case CR_MIL_I8:
        *out = CR_BLOB_I8;
        return true;
    case CR_MIL_I4:
        *out = CR_BLOB_I4;
        return true;
    case CR_MIL_U1:
        *out = CR_BLOB_U1;
        return true;
    case CR_MIL_U2:
        *out = CR_BLOB_U2;
        return true;
    case CR_MIL_U4:
        *out = CR_BLOB_U4;
        return true;
    case CR_MIL_U6:
        *out = CR_BLOB_U6;
        return true;
    default:
        return false; /* int32, bool: whatever their size they stand in the program */
    }
}

static bool immediate(cr_mil *m, CrCoreml__Value *v, cr_mil_type t, size_t n, const void *data)
{
    CrCoreml__TensorValue *p = new_immediate(m, v);
    if (!p) return false;
    switch (t) {
    case CR_MIL_F32:
        return float_tensor(m, p, data, n);
    case CR_MIL_I32:
        return int_tensor(m, p, data, n);
    case CR_MIL_BOOL:
        return bool_tensor(m, p, data, n);
    default:
        return byte_tensor(m, p, data, (n * cr_mil_type_bits(t) + 7) / 8);
    }
}

CrCoreml__Value *cr_mil_value(cr_mil *m, cr_mil_type t, const cr_shape *s, const void *data)
{
    const size_t n = (size_t)cr_shape_count(s), bits = n * cr_mil_type_bits(t);
    cr_blob_type blob;
    NEW(m, v, CrCoreml__Value, cr_coreml__value__init);
    v->type = cr_mil_tensor_type(m, t, s);
    if (!v->type) return NULL;
    if (n < IMMEDIATE_ELEMENTS || !blob_type(t, &blob))
        return immediate(m, v, t, n, data) ? v : NULL;
    NEW(m, f, CrCoreml__Value__BlobFile, cr_coreml__value__blob_file__init);
    f->file_name = (char *)"@model_path/weights/weight.bin";
    f->has_offset = true;
    if (!cr_blob_append(&m->weights, blob, data, (bits + 7) / 8, (8 - bits % 8) % 8, &f->offset)) {
        m->no_memory = true;
        return NULL;
    }
    v->blob_file_value = f;
    return v;
}

CrCoreml__Value *cr_mil_string_value(cr_mil *m, const char *text)
{
    NEW(m, v, CrCoreml__Value, cr_coreml__value__init);
    NEW(m, p, CrCoreml__TensorValue__Strings, cr_coreml__tensor_value__strings__init);
    v->type = cr_mil_tensor_type(m, CR_MIL_STRING, &(cr_shape){0});
    CrCoreml__TensorValue *t = new_immediate(m, v);
    p->n_values = 1;
    p->values = take(m, sizeof *p->values);
    if (!v->type || !t || !p->values || !text) return NULL;
    p->values[0] = (char *)text;
    t->strings = p;
    return v;
}

/* ---- operations ---- */

void cr_mil_attribute(cr_mil *m, cr_mil_op *op, const char *key, CrCoreml__Value *value)
{
    CrCoreml__ValueEntry *e = take(m, sizeof *e);
    if (!e || !value) {
        m->no_memory = true;
        return;
    }
    cr_coreml__value_entry__init(e);
    e->key = (char *)key;
    e->value = value;
    op->attributes[op->n_attributes++] = e;
}

/* Room for every argument as an attribute too: those of constants are attributes. */
cr_mil_op *cr_mil_begin(cr_mil *m, const char *type, const char *name, size_t inputs,
                        size_t outputs)
{
    NEW(m, op, CrCoreml__Operation, cr_coreml__operation__init);
    op->type = (char *)type;
    op->inputs = take(m, (inputs + 1) * sizeof *op->inputs);
    op->attributes = take(m, (inputs + 1) * sizeof *op->attributes);
    op->outputs = take(m, (outputs + 1) * sizeof *op->outputs);
    if (!op->inputs || !op->attributes || !op->outputs) return NULL;
    if (!cr_grow((void **)&m->ops, &m->op_cap, m->op_count, sizeof *m->ops)) {
        m->no_memory = true;
        return NULL;
    }
    m->ops[m->op_count++] = op;
    cr_mil_attribute(m, op, "name", cr_mil_string_value(m, name));
    return op;
}

static CrCoreml__Argument *new_argument(cr_mil *m, cr_mil_op *op, const char *key, size_t n)
{
    NEW(m, e, CrCoreml__ArgumentEntry, cr_coreml__argument_entry__init);
    NEW(m, a, CrCoreml__Argument, cr_coreml__argument__init);
    a->arguments = take(m, (n + 1) * sizeof *a->arguments);
    if (!a->arguments) return NULL;
    e->key = (char *)key;
    e->value = a;
    op->inputs[op->n_inputs++] = e;
    return a;
}

static void bind(cr_mil *m, CrCoreml__Argument *a, const char *name, CrCoreml__Value *value)
{
    CrCoreml__Argument__Binding *b = take(m, sizeof *b);
    if (!a || !b || (!name && !value)) {
        m->no_memory = true;
        return;
    }
    cr_coreml__argument__binding__init(b);
    b->name = (char *)name;
    b->value = value;
    a->arguments[a->n_arguments++] = b;
}

void cr_mil_arg(cr_mil *m, cr_mil_op *op, const char *key, const char *value)
{
    if (op) bind(m, new_argument(m, op, key, 1), value, NULL);
}

void cr_mil_arg_value(cr_mil *m, cr_mil_op *op, const char *key, CrCoreml__Value *value)
{
    if (op) bind(m, new_argument(m, op, key, 1), NULL, value);
}

void cr_mil_arg_list(cr_mil *m, cr_mil_op *op, const char *key, const char *const *values, size_t n)
{
    CrCoreml__Argument *a = op ? new_argument(m, op, key, n) : NULL;
    for (size_t i = 0; a && i < n; i++) bind(m, a, values[i], NULL);
}

void cr_mil_out(cr_mil *m, cr_mil_op *op, const char *name, cr_mil_type t, const cr_shape *s)
{
    CrCoreml__NamedValueType *v = cr_mil_named_type(m, name, cr_mil_tensor_type(m, t, s));
    if (!op || !v)
        m->no_memory = true;
    else
        op->outputs[op->n_outputs++] = v;
}

/* ---- constants ---- */

static void const_op(cr_mil *m, const char *name, CrCoreml__ValueType *type, CrCoreml__Value *value)
{
    cr_mil_op *op = name && value ? cr_mil_begin(m, "const", name, 1, 1) : NULL;
    CrCoreml__NamedValueType *out = cr_mil_named_type(m, name, type);
    if (!op || !out) {
        m->no_memory = true;
        return;
    }
    cr_mil_attribute(m, op, "val", value);
    op->outputs[op->n_outputs++] = out;
}

void cr_mil_const(cr_mil *m, const char *name, cr_mil_type t, const cr_shape *s, const void *data)
{
    CrCoreml__Value *v = cr_mil_value(m, t, s, data);
    const_op(m, name, v ? v->type : NULL, v);
}

/* The constant whose content `key` tells, made by the first who asks. */
static const char *shared(cr_mil *m, const char *key, cr_mil_type t, const cr_shape *s,
                          const void *data)
{
    const char *name = cr_names_get(&m->shared, key);
    if (name) return name;
    const char *kept = cr_arena_strdup(&m->arena, key);
    name = cr_mil_identifier(m, key);
    if (t == CR_MIL_STRING) {
        CrCoreml__Value *v = cr_mil_string_value(m, cr_arena_strdup(&m->arena, data));
        const_op(m, name, v ? v->type : NULL, v);
    } else {
        cr_mil_const(m, name, t, s, data);
    }
    if (!kept || !name || !cr_names_put(&m->shared, kept, (void *)name)) m->no_memory = true;
    return name;
}

static const cr_shape scalar;

const char *cr_mil_int(cr_mil *m, int64_t v)
{
    char key[48];
    const int32_t narrow = (int32_t)v;
    snprintf(key, sizeof key, "int_%s%lld", v < 0 ? "m" : "", llabs((long long)v));
    return shared(m, key, CR_MIL_I32, &scalar, &narrow);
}

const char *cr_mil_ints(cr_mil *m, const int64_t *v, size_t n)
{
    const cr_shape list = {1, {(int64_t)n}};
    int32_t *narrow = take(m, n * sizeof *narrow + 1);
    char *key = take(m, n * 24 + 8);
    if (!narrow || !key) return NULL;
    char *at = key + sprintf(key, "ints");
    for (size_t i = 0; i < n; i++) {
        narrow[i] = (int32_t)v[i];
        at += sprintf(at, "_%s%lld", v[i] < 0 ? "m" : "", llabs((long long)v[i]));
    }
    return shared(m, key, CR_MIL_I32, &list, narrow);
}

const char *cr_mil_bool(cr_mil *m, bool v)
{
    const uint8_t byte = v;
    return shared(m, v ? "bool_true" : "bool_false", CR_MIL_BOOL, &scalar, &byte);
}

const char *cr_mil_bools(cr_mil *m, const bool *v, size_t n)
{
    char key[64] = "bools_";
    uint8_t bytes[CR_MAX_RANK];
    size_t at = strlen(key);
    for (size_t i = 0; i < n && i < CR_MAX_RANK; i++) {
        bytes[i] = v[i];
        key[at++] = v[i] ? '1' : '0';
    }
    return shared(m, key, CR_MIL_BOOL, &(cr_shape){1, {(int64_t)n}}, bytes);
}

const char *cr_mil_string(cr_mil *m, const char *v)
{
    char key[64];
    snprintf(key, sizeof key, "string_%s", v);
    return shared(m, key, CR_MIL_STRING, &scalar, v);
}

const char *cr_mil_float(cr_mil *m, cr_mil_type t, float v)
{
    char key[48];
    const uint16_t half = cr_f32_to_f16(v);
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (t == CR_MIL_F16)
        snprintf(key, sizeof key, "fp16_%04x", half);
    else
        snprintf(key, sizeof key, "fp32_%08x", bits);
    return shared(m, key, t, &scalar, t == CR_MIL_F16 ? (const void *)&half : (const void *)&v);
}
