/* Format: PKWARE's APPNOTE. Offsets count from the whole file's start, as tools that append to a
 * zip write them. Rejected: libzip, which rewrites the file that it appends to. */
#include "tflite/tflite_zip.h"

#include <string.h>

#include "base/error.h"

enum { LOCAL = 30, CENTRAL = 46, END = 22 };

static uint32_t crc32(const unsigned char *p, size_t n)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
    }
    return ~c;
}

static unsigned char *put(unsigned char *p, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) *p++ = (unsigned char)(v >> 8 * i);
    return p;
}

/* Version needed, flags, method, time, date, crc, sizes, length of the name: in both headers. */
static unsigned char *common(unsigned char *p, uint32_t crc, size_t n, size_t name)
{
    const uint32_t date = 1 << 5 | 1;
    p = put(p, 20, 2);
    p = put(p, 0, 4);
    p = put(p, date << 16, 4);
    p = put(p, crc, 4);
    p = put(p, (uint32_t)n, 4);
    p = put(p, (uint32_t)n, 4);
    return put(p, (uint32_t)name, 2);
}

cr_status cr_tfl_zip(const char *name, const char *text, size_t before, unsigned char **bytes,
                     size_t *size, cr_error *err)
{
    const size_t n = strlen(text), len = strlen(name), directory = LOCAL + len + n;
    CR_CHECK(before + directory < 0x7fffffff, err, CR_ERR_LIMIT, "metadata beyond 2 GiB");
    *size = directory + CENTRAL + len + END;
    unsigned char *p = *bytes = cr_calloc(1, *size);
    if (!p) return CR_NOMEM(err);
    const uint32_t crc = crc32((const unsigned char *)text, n);
    p = common(put(p, 0x04034b50, 4), crc, n, len) + 2; /* no extra field */
    memcpy(p, name, len);
    memcpy(p + len, text, n);
    p = *bytes + directory;
    p = common(put(put(p, 0x02014b50, 4), 20, 2), crc, n, len);
    p = put(p + 12, (uint32_t)before, 4); /* extra, comment, disk, attributes: none */
    memcpy(p, name, len);
    p = put(p + len, 0x06054b50, 4) + 4;
    p = put(p, 1, 2);
    p = put(p, 1, 2);
    p = put(p, (uint32_t)(CENTRAL + len), 4);
    put(p, (uint32_t)(before + directory), 4);
    return CR_OK;
}
