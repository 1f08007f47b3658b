/* Tensors of an ONNX file.
 *
 * A payload comes in one of three ways: raw_data (little endian), a typed list (float_data,
 * int32_data for everything of 32 bits or less that is not float, ...), or a file beside the model
 * (external_data). In each case the number of elements follows from the dims, and the payload has
 * to have exactly that length BEFORE anything is allocated, so a tensor of 2^40 elements needs a
 * file of that size. External files are looked up inside the model's folder only: the path must be
 * relative, without "..", and after all symbolic links are followed it must still lie in the
 * folder. */
#define _XOPEN_SOURCE 700
#include "onnx/onnx_tensor.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "onnx/onnx.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little endian");

enum { ONNX_STRING = 8, ONNX_EXTERNAL = 1 };

const char *cr_onnx_type_name(int data_type)
{
    static const struct {
        int number;
        const char *name;
    } others[] = {{0, "undefined"},   {8, "string"},          {14, "complex64"},
                  {15, "complex128"}, {17, "float8e4m3fn"},   {18, "float8e4m3fnuz"},
                  {19, "float8e5m2"}, {20, "float8e5m2fnuz"}, {23, "float4e2m1"},
                  {24, "float8e8m0"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].number == data_type) return others[i].name;
    return cr_dtype_key(cr_dtype_from_onnx(data_type));
}

int cr_onnx_packed_bits(cr_dtype dtype)
{
    if (dtype == CR_DT_I4 || dtype == CR_DT_U4) return 4;
    return dtype == CR_DT_I2 || dtype == CR_DT_U2 ? 2 : 0;
}

size_t cr_onnx_stored_bytes(cr_dtype dtype, size_t count)
{
    const size_t bits = (size_t)cr_onnx_packed_bits(dtype), each = bits ? 8 / bits : 1;
    return bits ? count / each + (count % each != 0) : count * cr_dtype_size(dtype);
}

/* Element i % (8 / bits) of a byte, its sign extended. */
static uint8_t element_of(uint8_t byte, size_t i, cr_dtype dtype)
{
    const unsigned bits = (unsigned)cr_onnx_packed_bits(dtype), sign = 1u << (bits - 1);
    const unsigned v = byte >> (i % (8 / bits) * bits) & ((1u << bits) - 1);
    return (uint8_t)(cr_dtype_is_signed(dtype) ? (v ^ sign) - sign : v);
}

void cr_onnx_unpack(const uint8_t *packed, size_t count, cr_dtype dtype, uint8_t *out)
{
    const size_t each = 8 / (size_t)cr_onnx_packed_bits(dtype);
    for (size_t i = 0; i < count; i++) out[i] = element_of(packed[i / each], i, dtype);
}

void cr_onnx_pack(const uint8_t *values, size_t count, cr_dtype dtype, uint8_t *packed)
{
    const size_t bits = (size_t)cr_onnx_packed_bits(dtype), each = 8 / bits;
    for (size_t i = 0; i < count; i++) {
        const unsigned v = (values[i] & ((1u << bits) - 1)) << (i % each * bits);
        packed[i / each] = (uint8_t)(i % each ? packed[i / each] | v : v);
    }
}

/* dtype and shape of the header; *count elements. */
static cr_status decode_header(const CrOnnx__TensorProto *p, cr_tensor *out, size_t *count,
                               cr_error *err)
{
    out->dtype = cr_dtype_from_onnx(p->data_type);
    CR_CHECK(out->dtype != CR_DT_NONE, err, CR_ERR_UNSUPPORTED,
             "tensor '%s': element type %d (%s) is not supported", out->name, p->data_type,
             cr_onnx_type_name(p->data_type));
    CR_CHECK(!p->has_segment, err, CR_ERR_UNSUPPORTED, "tensor '%s' is split into segments",
             out->name);
    CR_CHECK(p->n_dims <= CR_MAX_RANK, err, CR_ERR_LIMIT, "tensor '%s': rank %zu, at most %d",
             out->name, p->n_dims, CR_MAX_RANK);
    out->shape.rank = (int)p->n_dims;
    for (size_t i = 0; i < p->n_dims; i++) {
        CR_CHECK(p->dims[i] >= 0, err, CR_ERR_FORMAT, "tensor '%s': negative dimension %lld",
                 out->name, (long long)p->dims[i]);
        out->shape.dim[i] = p->dims[i];
    }
    const int64_t n = cr_shape_count(&out->shape);
    CR_CHECK(n >= 0, err, CR_ERR_LIMIT, "tensor '%s' has too many elements", out->name);
    *count = (size_t)n;
    return CR_OK;
}

static cr_status check_length(const cr_tensor *t, size_t have, size_t want, const char *unit,
                              cr_error *err)
{
    char text[160];
    CR_CHECK(have == want, err, CR_ERR_FORMAT, "tensor '%s' (%s, %s): %zu %s of data, expected %zu",
             t->name, cr_dtype_key(t->dtype), cr_shape_text(&t->shape, text, sizeof text), have,
             unit, want);
    return CR_OK;
}

/* Stored bytes to elements; the data block is there. */
static void fill_raw(const uint8_t *bytes, size_t count, cr_tensor *out)
{
    uint8_t *data = out->data;
    if (cr_onnx_packed_bits(out->dtype)) {
        cr_onnx_unpack(bytes, count, out->dtype, data);
    } else if (out->dtype == CR_DT_BOOL) {
        for (size_t i = 0; i < count; i++) data[i] = bytes[i] != 0;
    } else if (count) {
        memcpy(data, bytes, count * cr_dtype_size(out->dtype));
    }
}

static cr_status decode_raw(const ProtobufCBinaryData *raw, size_t count, cr_tensor *out,
                            cr_error *err)
{
    CR_TRY(check_length(out, raw->len, cr_onnx_stored_bytes(out->dtype, count), "bytes", err));
    if (!cr_tensor_alloc(out)) return CR_NOMEM(err);
    fill_raw(raw->data, count, out);
    return CR_OK;
}

/* int32_data holds every type up to 32 bits that is not float32, one element per entry; 4-bit and
 * 2-bit types have one packed byte (two or four elements) per entry. */
static void fill_int32(const CrOnnx__TensorProto *p, size_t count, cr_tensor *out)
{
    const int32_t *src = p->int32_data;
    for (size_t i = 0; i < count; i++) {
        switch (out->dtype) {
        case CR_DT_I32:
            ((int32_t *)out->data)[i] = src[i];
            break;
        case CR_DT_BOOL:
            ((uint8_t *)out->data)[i] = src[i] != 0;
            break;
        case CR_DT_I8:
        case CR_DT_U8:
            ((uint8_t *)out->data)[i] = (uint8_t)src[i];
            break;
        case CR_DT_I4:
        case CR_DT_U4:
            ((uint8_t *)out->data)[i] = element_of((uint8_t)src[i / 2], i, out->dtype);
            break;
        case CR_DT_I2:
        case CR_DT_U2:
            ((uint8_t *)out->data)[i] = element_of((uint8_t)src[i / 4], i, out->dtype);
            break;
        default:
            ((uint16_t *)out->data)[i] = (uint16_t)src[i];
            break;
        }
    }
}

static cr_status decode_typed(const CrOnnx__TensorProto *p, size_t count, cr_tensor *out,
                              cr_error *err)
{
    size_t have = p->n_int32_data, want = count;
    const void *src = NULL;
    switch (out->dtype) {
    case CR_DT_F32:
        have = p->n_float_data, src = p->float_data;
        break;
    case CR_DT_F64:
        have = p->n_double_data, src = p->double_data;
        break;
    case CR_DT_I64:
        have = p->n_int64_data, src = p->int64_data;
        break;
    case CR_DT_U64:
        have = p->n_uint64_data, src = p->uint64_data;
        break;
    case CR_DT_U32:
        have = p->n_uint64_data;
        break;
    case CR_DT_I4:
    case CR_DT_U4:
    case CR_DT_I2:
    case CR_DT_U2:
        want = cr_onnx_stored_bytes(out->dtype, count);
        break;
    default:
        break;
    }
    CR_TRY(check_length(out, have, want, "values", err));
    if (!cr_tensor_alloc(out)) return CR_NOMEM(err);
    if (src) {
        memcpy(out->data, src, cr_tensor_bytes(out));
    } else if (out->dtype == CR_DT_U32) {
        for (size_t i = 0; i < count; i++) ((uint32_t *)out->data)[i] = (uint32_t)p->uint64_data[i];
    } else {
        fill_int32(p, count, out);
    }
    return CR_OK;
}

typedef struct external {
    const char *location;
    uint64_t offset, length;
    bool has_length;
} external;

static bool parse_u64(const char *text, uint64_t *out)
{
    char *end;
    if (!text || *text < '0' || *text > '9') return false;
    *out = strtoull(text, &end, 10);
    return !*end && *out <= INT64_MAX;
}

static cr_status decode_external_entries(const CrOnnx__TensorProto *p, const char *name,
                                         external *e, cr_error *err)
{
    *e = (external){0};
    for (size_t i = 0; i < p->n_external_data; i++) {
        const char *key = p->external_data[i]->key, *value = p->external_data[i]->value;
        bool ok = true;
        if (!key || !value) continue;
        if (!strcmp(key, "location")) e->location = value;
        if (!strcmp(key, "offset")) ok = parse_u64(value, &e->offset);
        if (!strcmp(key, "length")) ok = e->has_length = parse_u64(value, &e->length);
        CR_CHECK(ok, err, CR_ERR_FORMAT, "tensor '%s': external data has %s '%s'", name, key,
                 value);
    }
    CR_CHECK(e->location && e->location[0], err, CR_ERR_FORMAT,
             "tensor '%s': external data without a location", name);
    return CR_OK;
}

static bool is_safe_relative(const char *path)
{
    if (path[0] == '/' || path[0] == '\\' || (path[0] && path[1] == ':')) return false;
    for (const char *part = path; *part; part += strcspn(part, "/\\")) {
        part += strspn(part, "/\\");
        if (!strncmp(part, "..", 2) && strcspn(part, "/\\") == 2) return false;
    }
    return true;
}

/* The real path of folder/location if that lies inside folder. Freed with free(). */
static cr_status resolve_inside(const char *folder, const char *location, const char *name,
                                char **out, cr_error *err)
{
    *out = NULL;
    CR_CHECK(is_safe_relative(location), err, CR_ERR_FORMAT,
             "tensor '%s': external data '%s' is not inside the model's folder", name, location);
    char joined[PATH_MAX];
    const int n = snprintf(joined, sizeof joined, "%s/%s", folder, location);
    CR_CHECK(n > 0 && (size_t)n < sizeof joined, err, CR_ERR_LIMIT,
             "tensor '%s': path of the external data is too long", name);
    char *base = realpath(folder, NULL), *full = realpath(joined, NULL);
    cr_status st = CR_OK;
    const size_t len = base ? strlen(base) : 0;
    if (!base || !full)
        st = cr_fail(err, CR_ERR_IO, "tensor '%s': no external data file '%s'", name, joined);
    else if (strncmp(base, full, len) || (full[len] != '/' && base[len - 1] != '/'))
        st = cr_fail(err, CR_ERR_FORMAT,
                     "tensor '%s': external data '%s' is not inside the model's folder", name,
                     location);
    free(base);
    if (st == CR_OK)
        *out = full;
    else
        free(full);
    return st;
}

static cr_status read_external(const char *path, const external *e, size_t count, cr_tensor *out,
                               cr_error *err)
{
    const size_t bytes = cr_onnx_stored_bytes(out->dtype, count);
    if (e->has_length) CR_TRY(check_length(out, (size_t)e->length, bytes, "bytes", err));
    struct stat info;
    CR_CHECK(!stat(path, &info) && S_ISREG(info.st_mode), err, CR_ERR_IO,
             "tensor '%s': '%s' is not a regular file", out->name, path);
    const uint64_t have = (uint64_t)info.st_size;
    CR_CHECK(e->offset <= have && bytes <= have - e->offset, err, CR_ERR_FORMAT,
             "tensor '%s': '%s' has no %zu bytes at offset %llu", out->name, e->location, bytes,
             (unsigned long long)e->offset);
    uint8_t *stored = cr_malloc(bytes);
    if (!stored || !cr_tensor_alloc(out)) {
        cr_free(stored);
        return CR_NOMEM(err);
    }
    const cr_status st = cr_file_read_at(path, e->offset, bytes, stored, err);
    if (st == CR_OK) fill_raw(stored, count, out);
    cr_free(stored);
    return st;
}

static cr_status decode_external(const CrOnnx__TensorProto *p, const char *folder, size_t count,
                                 cr_tensor *out, cr_error *err)
{
    external e;
    char *path;
    CR_CHECK(folder, err, CR_ERR_FORMAT, "tensor '%s': external data without a folder", out->name);
    CR_TRY(decode_external_entries(p, out->name, &e, err));
    CR_TRY(resolve_inside(folder, e.location, out->name, &path, err));
    const cr_status st = read_external(path, &e, count, out, err);
    free(path);
    return st;
}

static void release_payload(CrOnnx__TensorProto *p, ProtobufCAllocator *a)
{
    a->free(a->allocator_data, p->raw_data.data);
    a->free(a->allocator_data, p->float_data);
    p->raw_data = (ProtobufCBinaryData){0};
    p->float_data = NULL;
    p->n_float_data = 0;
}

cr_status cr_onnx_decode_tensor(CrOnnx__TensorProto *p, const char *folder,
                                ProtobufCAllocator *allocator, cr_tensor *out, cr_error *err)
{
    size_t count = 0;
    cr_status st;
    CR_TRY(decode_header(p, out, &count, err));
    if (p->data_location == ONNX_EXTERNAL)
        st = decode_external(p, folder, count, out, err);
    else if (p->has_raw_data && (p->raw_data.len || !count))
        st = decode_raw(&p->raw_data, count, out, err);
    else
        st = decode_typed(p, count, out, err);
    if (allocator) release_payload(p, allocator);
    if (st != CR_OK) cr_tensor_drop_data(out);
    return st;
}

cr_status cr_onnx_parse_tensor(const void *bytes, size_t size, char name_buffer[64], cr_tensor *out,
                               cr_error *err)
{
    CrOnnx__TensorProto *p = cr_onnx__tensor_proto__unpack(NULL, size, bytes);
    CR_CHECK(p, err, CR_ERR_FORMAT, "not a serialised tensor");
    snprintf(name_buffer, 64, "%s", p->name ? p->name : "");
    *out = (cr_tensor){.name = name_buffer};
    const cr_status st = cr_onnx_decode_tensor(p, NULL, NULL, out, err);
    cr_onnx__tensor_proto__free_unpacked(p, NULL);
    return st;
}
