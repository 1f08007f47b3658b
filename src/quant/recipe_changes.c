/* What a recipe changes in the float graph, as JSON:
 *
 *     "rewrites": [{"kind": "branch", "tensor": "T", "result": "T_scaled", "readers": ["conv_out"],
 *                   "factor": [0.5, 1, ...]},
 *                  {"kind": "split", "tensor": "T", "result": "T_split", "readers": ["conv_out"],
 *                   "channel": [3, 17]},
 *                  {"kind": "restore", "tensor": "T", "result": "T_part", "channel": [1],
 *                   "factor": [1024, 1, ...]},
 *                  {"kind": "groups", "tensor": "T", "result": "by range", "channel": [2, 1, 2, 1, 0, 2]}],
 *     "values": {"model.0.conv.weight": {"shape": [16, 3, 3, 3], "codes": "base64"},
 *                "model.0.conv.bias": {"shape": [16], "float32": "base64"}}
 *
 * Values on the grid of their tensor's entry are stored as its codes, one byte each (16-bit types:
 * two, least first); others as float32, least byte first. Rejected: always float32 (four times the
 * file), numbers in decimal (ten times). */
#include "quant/recipe_changes.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "quant/json_io.h"

static const char *const kinds[] = {"branch", "split", "restore", "groups", "outputs"}; /* as cr_rewrite_kind */
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- writing ---- */

static json_t *names_json(const char *const *names, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(a, json_string(names[i]));
    return a;
}

static json_t *rewrite_json(const cr_rewrite *s)
{
    json_t *o = json_object();
    json_object_set_new(o, "kind", json_string(kinds[s->kind]));
    json_object_set_new(o, "tensor", json_string(s->tensor));
    json_object_set_new(o, "result", json_string(s->result));
    if (s->reader_count) json_object_set_new(o, "readers", names_json(s->readers, s->reader_count));
    if (s->factor_count)
        json_object_set_new(o, "factor", cr_json_floats(s->factor, s->factor_count));
    json_t *channel = s->channel_count ? json_array() : NULL;
    for (size_t i = 0; i < s->channel_count; i++)
        json_array_append_new(channel, json_integer(s->channel[i]));
    if (channel) json_object_set_new(o, "channel", channel);
    return o;
}

static const cr_recipe_entry *entry_of(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, tensor)) return &r->entries[i];
    return NULL;
}

static cr_tensor as_tensor(const cr_recipe_value *v)
{
    return (cr_tensor){.name = v->tensor, .dtype = CR_DT_F32, .shape = v->shape, .data = v->data};
}

static bool fits(const cr_recipe_entry *e, const cr_shape *s)
{
    return e && e->is_weight && cr_q_fits(&e->q, s);
}

static size_t code_bytes(const cr_qparams *q)
{
    return cr_dtype_size(q->type) == 2 ? 2 : 1;
}

/* The codes as bytes, or NULL: the values do not lie on the grid, or no memory. */
static unsigned char *codes_of(const cr_recipe_value *v, const cr_qparams *q, int32_t *codes)
{
    const cr_tensor t = as_tensor(v);
    const size_t n = (size_t)cr_shape_count(&v->shape), each = code_bytes(q);
    float *back = cr_malloc(n * sizeof *back);
    unsigned char *bytes = cr_malloc(n * each);
    if (!back || !bytes) goto none;
    cr_fake_quantize(&t, q, back);
    for (size_t i = 0; i < n; i++)
        if (back[i] != v->data[i]) goto none;
    cr_quantize_tensor(&t, q, codes);
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < each; b++)
            bytes[i * each + b] = (unsigned char)((uint32_t)codes[i] >> (8 * b));
    cr_free(back);
    return bytes;
none:
    cr_free(back);
    cr_free(bytes);
    return NULL;
}

static json_t *floats_base64(const float *x, size_t n)
{
    unsigned char *bytes = cr_malloc(4 * n);
    for (size_t i = 0; bytes && i < n; i++) {
        uint32_t word;
        memcpy(&word, &x[i], 4);
        for (size_t b = 0; b < 4; b++) bytes[4 * i + b] = (unsigned char)(word >> (8 * b));
    }
    json_t *text = bytes ? cr_json_bytes(bytes, 4 * n) : NULL;
    cr_free(bytes);
    return text;
}

static json_t *value_json(const cr_recipe *r, const cr_recipe_value *v)
{
    const cr_recipe_entry *e = entry_of(r, v->tensor);
    const size_t n = (size_t)cr_shape_count(&v->shape);
    int32_t *codes = cr_malloc(n * sizeof *codes);
    unsigned char *bytes = codes && fits(e, &v->shape) ? codes_of(v, &e->q, codes) : NULL;
    json_t *o = json_object(), *shape = json_array();
    for (int d = 0; d < v->shape.rank; d++)
        json_array_append_new(shape, json_integer(v->shape.dim[d]));
    json_object_set_new(o, "shape", shape);
    const int failed =
        bytes ? json_object_set_new(o, "codes", cr_json_bytes(bytes, n * code_bytes(&e->q)))
              : json_object_set_new(o, "float32", floats_base64(v->data, n));
    cr_free(codes);
    cr_free(bytes);
    if (!failed) return o;
    json_decref(o);
    return NULL;
}

bool cr_recipe_changes_write(const cr_recipe *r, json_t *root)
{
    int failed = 0;
    json_t *rewrites = json_array(), *values = json_object();
    for (size_t i = 0; i < r->rewrite_count; i++)
        failed |= json_array_append_new(rewrites, rewrite_json(&r->rewrites[i]));
    for (size_t i = 0; i < r->value_count; i++)
        failed |= json_object_set_new(values, r->values[i].tensor, value_json(r, &r->values[i]));
    if (r->rewrite_count) failed |= json_object_set(root, "rewrites", rewrites);
    if (r->value_count) failed |= json_object_set(root, "values", values);
    json_decref(rewrites);
    json_decref(values);
    return !failed;
}

/* ---- reading ---- */

static cr_status read_names(const json_t *list, const char **names, size_t n, const char *tensor,
                            cr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        names[i] = json_string_value(json_array_get(list, i));
        CR_CHECK(names[i], err, CR_ERR_FORMAT, "rewrite of '%s': readers must be names", tensor);
    }
    return CR_OK;
}

static cr_status read_channels(const json_t *list, int64_t *channel, size_t n, const char *tensor,
                               cr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *c = json_array_get(list, i);
        CR_CHECK(json_is_integer(c), err, CR_ERR_FORMAT,
                 "rewrite of '%s': channels must be whole numbers", tensor);
        channel[i] = json_integer_value(c);
    }
    return CR_OK;
}

static bool read_kind(const json_t *o, cr_rewrite_kind *kind)
{
    const char *name = json_string_value(json_object_get(o, "kind"));
    for (int k = 0; name && k < KINDS; k++) {
        if (strcmp(name, kinds[k])) continue;
        *kind = (cr_rewrite_kind)k;
        return true;
    }
    return false;
}

static cr_status read_rewrite(cr_recipe *r, const json_t *o, cr_error *err)
{
    const json_t *readers = json_object_get(o, "readers"), *factor = json_object_get(o, "factor");
    const json_t *channel = json_object_get(o, "channel");
    cr_rewrite s = {.tensor = json_string_value(json_object_get(o, "tensor")),
                    .result = json_string_value(json_object_get(o, "result")),
                    .reader_count = json_array_size(readers),
                    .factor_count = json_array_size(factor),
                    .channel_count = json_array_size(channel)};
    CR_CHECK(read_kind(o, &s.kind) && s.tensor && s.result, err, CR_ERR_FORMAT,
             "a rewrite needs kind (branch, split, restore, groups or outputs), tensor and result");
    s.readers = cr_calloc(s.reader_count + 1, sizeof *s.readers);
    s.factor = cr_calloc(s.factor_count + 1, sizeof *s.factor);
    s.channel = cr_calloc(s.channel_count + 1, sizeof *s.channel);
    cr_status st = s.readers && s.factor && s.channel ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) st = read_names(readers, s.readers, s.reader_count, s.tensor, err);
    if (st == CR_OK) st = read_channels(channel, s.channel, s.channel_count, s.tensor, err);
    if (st == CR_OK && s.factor_count && !cr_json_get_floats(factor, s.factor, s.factor_count))
        st = cr_fail(err, CR_ERR_FORMAT, "rewrite of '%s': factor must be a list of numbers",
                     s.tensor);
    if (st == CR_OK) st = cr_recipe_add_rewrite(r, &s, err);
    cr_free(s.readers);
    cr_free(s.factor);
    cr_free(s.channel);
    return st;
}

static bool read_shape(const json_t *list, cr_shape *s)
{
    const size_t rank = json_array_size(list);
    if (!json_is_array(list) || rank > CR_MAX_RANK) return false;
    *s = (cr_shape){.rank = (int)rank};
    for (size_t i = 0; i < rank; i++) {
        s->dim[i] = json_integer_value(json_array_get(list, i));
        if (s->dim[i] < 1) return false;
    }
    return cr_shape_count(s) > 0;
}

static void floats_from(const unsigned char *bytes, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t word = 0;
        for (size_t b = 0; b < 4; b++) word |= (uint32_t)bytes[4 * i + b] << (8 * b);
        memcpy(&x[i], &word, 4);
    }
}

/* code -> float by the entry; false if one lies outside its type. */
static bool values_from(const unsigned char *bytes, const cr_shape *s, const cr_qparams *q,
                        float *x)
{
    const size_t n = (size_t)cr_shape_count(s), each = code_bytes(q);
    const cr_q_grain g = cr_q_grain_of(q, s);
    int32_t lo, hi;
    cr_q_range(q, &lo, &hi);
    for (size_t i = 0; i < n; i++) {
        const int64_t run = (int64_t)i / g.inner;
        size_t c = cr_q_first_scale(&g, run / g.length, run % g.length);
        if (g.block) c += i % (size_t)g.inner;
        int32_t code = each == 2 ? bytes[2 * i] | bytes[2 * i + 1] << 8 : bytes[i];
        if (lo < 0) code = each == 2 ? (int16_t)code : (int8_t)code;
        if (code < lo || code > hi || (q->type == CR_DT_I1 && !code)) return false;
        x[i] = cr_dequantize(code, q->scale[c], q->zero_point[c]);
    }
    return true;
}

static cr_status read_value(cr_recipe *r, const char *tensor, const json_t *o, cr_error *err)
{
    const json_t *codes = json_object_get(o, "codes"), *floats = json_object_get(o, "float32");
    const json_t *text = codes ? codes : floats;
    const cr_recipe_entry *e = codes ? entry_of(r, tensor) : NULL;
    cr_shape shape;
    CR_CHECK(read_shape(json_object_get(o, "shape"), &shape) && json_is_string(text), err,
             CR_ERR_FORMAT, "values of '%s': need shape and codes or float32", tensor);
    CR_CHECK(!codes || fits(e, &shape), err, CR_ERR_FORMAT,
             "values of '%s': codes without an entry that fits", tensor);
    const size_t n = (size_t)cr_shape_count(&shape), size = n * (codes ? code_bytes(&e->q) : 4);
    CR_CHECK(size / 3 <= json_string_length(text) / 4, err, CR_ERR_FORMAT,
             "values of '%s': too few for their shape", tensor); /* before memory is taken */
    unsigned char *bytes = cr_malloc(size);
    float *x = cr_malloc(n * sizeof *x);
    cr_status st = bytes && x ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK && !cr_json_get_bytes(text, bytes, size))
        st = cr_fail(err, CR_ERR_FORMAT, "values of '%s': not base64 of %zu bytes", tensor, size);
    if (st == CR_OK && !codes) floats_from(bytes, n, x);
    if (st == CR_OK && codes && !values_from(bytes, &shape, &e->q, x))
        st = cr_fail(err, CR_ERR_FORMAT, "values of '%s': a code outside %s", tensor,
                     cr_dtype_key(e->q.type));
    if (st == CR_OK) st = cr_recipe_set_value(r, tensor, &shape, x, err);
    cr_free(bytes);
    cr_free(x);
    return st;
}

cr_status cr_recipe_changes_read(cr_recipe *r, const json_t *root, cr_error *err)
{
    const json_t *rewrites = json_object_get(root, "rewrites");
    json_t *values = json_object_get(root, "values"), *o;
    const char *tensor;
    for (size_t i = 0; i < json_array_size(rewrites); i++)
        CR_TRY(read_rewrite(r, json_array_get(rewrites, i), err));
    json_object_foreach(values, tensor, o) CR_TRY(read_value(r, tensor, o, err));
    return CR_OK;
}
