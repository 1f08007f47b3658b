/* The containers of torch.save, and the elements in them.
 *
 * zip: PREFIX/data.pkl is the pickle, PREFIX/data/KEY holds the elements of storage KEY, and
 * PREFIX/byteorder (since 2.1) names their order. libzip reads it and checks the CRC of each entry.
 * Entries are read at most once, and all together may not have more bytes than the file, so
 * entries that overlap cannot multiply it.
 *
 * The older stream (torch below 1.6, and _use_new_zipfile_serialization=False later): four pickles
 * (a magic number, the version 1001, the machine's sizes, the object), a fifth with the list of
 * storage keys, then each storage's element count (int64) and elements, in the order of the keys.
 *
 * Source: torch/serialization.py and caffe2/serialize/inline_container.h of PyTorch. */
#include "torch/checkpoint.h"

#include <string.h>
#include <zip.h>

#include "base/error.h"
#include "graph/graph.h"
#include "graph/names.h"

enum { MAX_PICKLE = 64 << 20, MAX_KEY = 64 };

typedef struct blob { /* a storage's elements */
    const unsigned char *bytes;
    size_t size;
} blob;

struct cr_checkpoint {
    const unsigned char *bytes;
    size_t size;
    cr_arena arena;
    cr_pickle pickle;
    zip_t *zip;         /* NULL: the older stream */
    const char *prefix; /* "archive/" */
    size_t taken;       /* bytes read from entries */
    cr_names blobs;     /* key -> blob */
};

static const unsigned char old_magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                          0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

static bool is_zip(const unsigned char *b, size_t n)
{
    return n >= 4 && !memcmp(b, "PK\3\4", 4);
}

static bool is_old(const unsigned char *b, size_t n)
{
    return n >= sizeof old_magic && !memcmp(b, old_magic, sizeof old_magic);
}

bool cr_checkpoint_is(const unsigned char *bytes, size_t size)
{
    return is_zip(bytes, size) || is_old(bytes, size);
}

/* ---- zip ---- */

static cr_status zip_failed(const char *what, zip_error_t *e, cr_error *err)
{
    const cr_status st = cr_fail(err, CR_ERR_FORMAT, "%s: %s", what, zip_error_strerror(e));
    zip_error_fini(e);
    return st;
}

static cr_status open_zip(cr_checkpoint *c, cr_error *err)
{
    zip_error_t e;
    zip_error_init(&e);
    zip_source_t *source = zip_source_buffer_create(c->bytes, c->size, 0, &e);
    if (!source) return zip_failed("zip archive", &e, err);
    c->zip = zip_open_from_source(source, ZIP_RDONLY, &e);
    if (!c->zip) {
        zip_source_free(source);
        return zip_failed("zip archive", &e, err);
    }
    zip_error_fini(&e);
    return CR_OK;
}

/* Reads a whole entry; a 0 stands behind its end. */
static cr_status read_entry(cr_checkpoint *c, uint64_t index, blob *out, cr_error *err)
{
    zip_stat_t s;
    CR_CHECK(!zip_stat_index(c->zip, index, 0, &s) && s.valid & ZIP_STAT_SIZE &&
                 s.valid & ZIP_STAT_COMP_METHOD && s.valid & ZIP_STAT_NAME,
             err, CR_ERR_FORMAT, "zip entry %llu cannot be read", (unsigned long long)index);
    CR_CHECK(s.comp_method == ZIP_CM_STORE, err, CR_ERR_UNSUPPORTED,
             "zip entry '%.100s' is compressed, which torch.save never does: refused", s.name);
    CR_CHECK(s.size <= c->size - c->taken, err, CR_ERR_FORMAT,
             "zip entry '%.100s' says %llu bytes, more than the file has", s.name,
             (unsigned long long)s.size);
    c->taken += (size_t)s.size;
    unsigned char *bytes = cr_arena_alloc(&c->arena, (size_t)s.size + 1);
    if (!bytes) return CR_NOMEM(err);
    zip_file_t *f = zip_fopen_index(c->zip, index, 0);
    CR_CHECK(f, err, CR_ERR_FORMAT, "zip entry '%.100s': %s", s.name, zip_strerror(c->zip));
    zip_int64_t n = 0;
    size_t done = 0;
    /* one byte more than there are: only at its end does libzip compare the CRC */
    while (done <= s.size && (n = zip_fread(f, bytes + done, (size_t)s.size + 1 - done)) > 0)
        done += (size_t)n;
    zip_fclose(f);
    CR_CHECK(n == 0 && done == s.size, err, CR_ERR_FORMAT,
             "zip entry '%.100s' is damaged or truncated", s.name);
    *out = (blob){bytes, done};
    return CR_OK;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The entry of that name behind the prefix; -1 if there is none. */
static int64_t locate(cr_checkpoint *c, const char *folder, const char *name)
{
    const char *full = cr_arena_printf(&c->arena, "%s%s%s", c->prefix, folder, name);
    return full ? zip_name_locate(c->zip, full, 0) : -1;
}

static cr_status find_pickle(cr_checkpoint *c, uint64_t *index, cr_error *err)
{
    const zip_int64_t n = zip_get_num_entries(c->zip, 0);
    for (zip_int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(c->zip, (zip_uint64_t)i, 0);
        if (!name || strcmp(last_part(name), "data.pkl")) continue;
        *index = (uint64_t)i;
        c->prefix = cr_arena_strndup(&c->arena, name, (size_t)(last_part(name) - name));
        return c->prefix ? CR_OK : CR_NOMEM(err);
    }
    return cr_fail(err, CR_ERR_FORMAT, "a zip archive, but no checkpoint: it has no data.pkl");
}

static cr_status check_order(cr_checkpoint *c, cr_error *err)
{
    blob order;
    const int64_t index = locate(c, "", "byteorder");
    if (index < 0) return CR_OK;
    CR_TRY(read_entry(c, (uint64_t)index, &order, err));
    CR_CHECK(!strncmp((const char *)order.bytes, "little", 6), err, CR_ERR_UNSUPPORTED,
             "the tensors were written on a big-endian machine");
    return CR_OK;
}

static cr_status read_zip(cr_checkpoint *c, cr_error *err)
{
    uint64_t index = 0;
    blob pickle;
    CR_TRY(open_zip(c, err));
    CR_TRY(find_pickle(c, &index, err));
    CR_CHECK(locate(c, "", "constants.pkl") < 0, err, CR_ERR_UNSUPPORTED,
             "a TorchScript program; what is read is the checkpoint that training wrote");
    CR_TRY(check_order(c, err));
    CR_TRY(read_entry(c, index, &pickle, err));
    CR_CHECK(pickle.size <= MAX_PICKLE, err, CR_ERR_LIMIT, "data.pkl has %zu bytes, at most %d",
             pickle.size, MAX_PICKLE);
    const cr_status st = cr_pkl_read(pickle.bytes, pickle.size, &c->arena, &c->pickle, err);
    return st == CR_OK ? st : cr_fail_prefix(err, st, "data.pkl");
}

/* ---- elements ---- */

static size_t element_size(const char *type)
{
    static const struct {
        const char *name;
        size_t bytes;
    } types[] = {{"FloatStorage", 4},  {"HalfStorage", 2}, {"BFloat16Storage", 2},
                 {"DoubleStorage", 8}, {"LongStorage", 8}, {"IntStorage", 4},
                 {"ShortStorage", 2},  {"CharStorage", 1}, {"ByteStorage", 1},
                 {"BoolStorage", 1}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(type, types[i].name)) return types[i].bytes;
    return 0;
}

static cr_status bytes_of(const cr_pkl_storage *s, size_t *bytes, cr_error *err)
{
    const size_t each = element_size(s->type);
    CR_CHECK(each, err, CR_ERR_UNSUPPORTED, "storage '%.40s' has type '%.40s', which is not read",
             s->key, s->type);
    CR_CHECK(cr_mul_size((size_t)s->count, each, bytes), err, CR_ERR_FORMAT,
             "storage '%.40s' is too large", s->key);
    return CR_OK;
}

static cr_status keep(cr_checkpoint *c, const char *key, blob b, const blob **out, cr_error *err)
{
    blob *kept = cr_arena_alloc(&c->arena, sizeof *kept);
    if (!kept || !cr_names_put(&c->blobs, key, kept)) return CR_NOMEM(err);
    *kept = b;
    if (out) *out = kept;
    return CR_OK;
}

static cr_status find_blob(cr_checkpoint *c, const cr_pkl_storage *s, const blob **out,
                           cr_error *err)
{
    *out = cr_names_get(&c->blobs, s->key);
    if (*out) return CR_OK;
    CR_CHECK(strlen(s->key) <= MAX_KEY, err, CR_ERR_FORMAT, "a storage's key is too long");
    const int64_t index = c->zip ? locate(c, "data/", s->key) : -1;
    CR_CHECK(index >= 0, err, CR_ERR_FORMAT, "the elements of storage '%s' are missing", s->key);
    blob b;
    CR_TRY(read_entry(c, (uint64_t)index, &b, err));
    return keep(c, s->key, b, out, err);
}

static float element(const unsigned char *p, const char *type)
{
    uint64_t bits = 0;
    float f;
    double d;
    const size_t n = element_size(type);
    memcpy(&bits, p, n); /* little-endian, as the tree's machines are */
    switch (type[0]) {
    case 'F':
        memcpy(&f, &bits, sizeof f);
        return f;
    case 'H':
        return cr_f16_to_f32((uint16_t)bits);
    case 'D':
        memcpy(&d, &bits, sizeof d);
        return (float)d;
    case 'L':
        return (float)(int64_t)bits;
    case 'I':
        return (float)(int32_t)bits;
    case 'S':
        return (float)(int16_t)bits;
    case 'C':
        return (float)(int8_t)bits;
    default:
        return type[1] == 'F' ? cr_bf16_to_f32((uint16_t)bits)
                              : (float)bits; /* BFloat16; Byte, Bool */
    }
}

cr_status cr_checkpoint_floats(cr_checkpoint *c, const cr_pkl_tensor *t, float *out, cr_error *err)
{
    const blob *b;
    size_t bytes;
    int64_t index[CR_PKL_MAX_RANK] = {0}, at = t->offset, total = 1;
    const size_t each = element_size(t->storage->type);
    CR_TRY(bytes_of(t->storage, &bytes, err));
    CR_TRY(find_blob(c, t->storage, &b, err));
    CR_CHECK(bytes <= b->size, err, CR_ERR_FORMAT,
             "storage '%s' says %lld elements, but has %zu bytes", t->storage->key,
             (long long)t->storage->count, b->size);
    for (int d = 0; d < t->rank; d++)
        if (!t->size[d]) return CR_OK;
    for (int d = 0; d < t->rank; d++) total *= t->size[d]; /* at most the storage's count */
    for (int64_t i = 0; i < total; i++) {
        out[i] = element(b->bytes + (size_t)at * each, t->storage->type);
        for (int d = t->rank - 1; d >= 0; d--) { /* the next element, as an odometer counts */
            at += t->stride[d];
            if (++index[d] < t->size[d]) break;
            at -= t->stride[d] * t->size[d];
            index[d] = 0;
        }
    }
    return CR_OK;
}

/* ---- the older stream ---- */

static cr_status next_pickle(cr_checkpoint *c, size_t *at, cr_pickle *out, cr_error *err)
{
    CR_TRY(cr_pkl_read(c->bytes + *at, c->size - *at, &c->arena, out, err));
    *at += out->size;
    return CR_OK;
}

static cr_status check_machine(const cr_pkl *sizes, cr_error *err)
{
    const cr_pkl *little = cr_pkl_get(sizes, "little_endian");
    CR_CHECK(!little || cr_pkl_int(little, 1), err, CR_ERR_UNSUPPORTED,
             "the tensors were written on a big-endian machine");
    return CR_OK;
}

static cr_status storage_of_key(cr_names *named, const cr_pkl *key, const cr_pkl_storage **out,
                                cr_error *err)
{
    CR_CHECK(key->kind == CR_PKL_STRING, err, CR_ERR_FORMAT, "a storage's key is no string");
    *out = cr_names_get(named, key->text.s);
    CR_CHECK(*out, err, CR_ERR_FORMAT, "storage '%.40s' is listed but not used", key->text.s);
    return CR_OK;
}

static cr_status place_storages(cr_checkpoint *c, cr_names *named, const cr_pkl *keys, size_t at,
                                cr_error *err)
{
    CR_CHECK(keys->kind == CR_PKL_LIST, err, CR_ERR_FORMAT, "the list of storages is missing");
    for (const cr_pkl_storage *s = c->pickle.storages; s; s = s->next)
        if (!cr_names_put(named, s->key, (void *)s)) return CR_NOMEM(err);
    for (size_t i = 0; i < keys->list.count; i++) {
        const cr_pkl_storage *s;
        size_t bytes;
        uint64_t count;
        CR_TRY(storage_of_key(named, keys->list.item[i], &s, err));
        CR_TRY(bytes_of(s, &bytes, err));
        CR_CHECK(c->size - at >= sizeof count && c->size - at - sizeof count >= bytes, err,
                 CR_ERR_FORMAT, "truncated: storage '%.40s' needs %zu bytes", s->key, bytes);
        memcpy(&count, c->bytes + at, sizeof count);
        CR_CHECK(count == (uint64_t)s->count, err, CR_ERR_FORMAT,
                 "storage '%.40s' has another length than its tensors say", s->key);
        CR_TRY(keep(c, s->key, (blob){c->bytes + at + sizeof count, bytes}, NULL, err));
        at += sizeof count + bytes;
    }
    return CR_OK;
}

static cr_status read_old(cr_checkpoint *c, cr_error *err)
{
    size_t at = sizeof old_magic;
    cr_pickle version, machine, keys;
    cr_names named = {0};
    CR_TRY(next_pickle(c, &at, &version, err));
    CR_CHECK(cr_pkl_int(version.root, 0) == 1001, err, CR_ERR_UNSUPPORTED,
             "version %lld of torch's old container; 1001 is read",
             (long long)cr_pkl_int(version.root, 0));
    CR_TRY(next_pickle(c, &at, &machine, err));
    CR_TRY(check_machine(machine.root, err));
    CR_TRY(next_pickle(c, &at, &c->pickle, err));
    CR_TRY(next_pickle(c, &at, &keys, err));
    const cr_status st = place_storages(c, &named, keys.root, at, err);
    cr_names_free(&named);
    return st;
}

/* ---- */

cr_status cr_checkpoint_open(const unsigned char *bytes, size_t size, cr_checkpoint **out,
                             cr_error *err)
{
    *out = NULL;
    CR_CHECK(cr_checkpoint_is(bytes, size), err, CR_ERR_FORMAT, "not a file that torch.save wrote");
    cr_checkpoint *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    c->bytes = bytes;
    c->size = size;
    const cr_status st = is_zip(bytes, size) ? read_zip(c, err) : read_old(c, err);
    if (st != CR_OK)
        cr_checkpoint_close(&c);
    else
        *out = c;
    return st;
}

void cr_checkpoint_close(cr_checkpoint **cp)
{
    if (!cp || !*cp) return;
    cr_checkpoint *c = *cp;
    if (c->zip) zip_discard(c->zip);
    cr_names_free(&c->blobs);
    cr_arena_free(&c->arena);
    cr_free(c);
    *cp = NULL;
}

const cr_pkl *cr_checkpoint_root(const cr_checkpoint *c)
{
    return c->pickle.root;
}
