#include "coreml/weight_blob.h"

#include <string.h>

static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (8 * i));
}

static void put64(unsigned char *p, uint64_t v)
{
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

/* Room for n more zeroed bytes behind the padding to the next multiple of 64. */
static unsigned char *extend(cr_blob_file *f, size_t n)
{
    if (f->size > SIZE_MAX / 4 || n > SIZE_MAX / 4) return NULL;
    const size_t start = cr_round_up(f->size, CR_BLOB_ALIGN), end = start + n;
    if (end > f->cap) {
        const size_t cap = end + end / 2 + 4096;
        unsigned char *bytes = cr_realloc(f->bytes, cap);
        if (!bytes) return NULL;
        f->bytes = bytes;
        f->cap = cap;
    }
    memset(f->bytes + f->size, 0, end - f->size);
    f->size = end;
    return f->bytes + start;
}

bool cr_blob_append(cr_blob_file *f, cr_blob_type type, const void *data, size_t size,
                    unsigned unused_bits, uint64_t *offset)
{
    if (!f->size && !extend(f, CR_BLOB_ALIGN)) return false;
    unsigned char *record = extend(f, CR_BLOB_ALIGN);
    if (!record) return false;
    *offset = (uint64_t)(record - f->bytes);
    put32(record, CR_BLOB_SENTINEL);
    put32(record + 4, type);
    put64(record + 8, size);
    put64(record + 16, *offset + CR_BLOB_ALIGN);
    put64(record + 24, unused_bits);
    unsigned char *body = extend(f, size);
    if (!body) return false;
    if (size) memcpy(body, data, size);
    put32(f->bytes, ++f->count);
    put32(f->bytes + 4, CR_BLOB_VERSION);
    return true;
}

void cr_blob_free(cr_blob_file *f)
{
    cr_free(f->bytes);
    *f = (cr_blob_file){0};
}

void cr_blob_pack(const uint8_t *codes, size_t count, unsigned bits, unsigned char *out)
{
    const unsigned mask = (1u << bits) - 1;
    for (size_t i = 0; i < count; i++) {
        const size_t at = i * bits;
        const unsigned v = (codes[i] & mask) << (at % 8);
        out[at / 8] |= (unsigned char)v;
        if (v > 255) out[at / 8 + 1] |= (unsigned char)(v >> 8);
    }
}
