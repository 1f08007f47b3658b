#include "quant/json_io.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"

enum { JSON_LIMIT = 256 << 20 };

cr_status cr_json_read(const char *path, const char *format, json_t **root, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    json_error_t why;
    *root = NULL;
    CR_TRY(cr_file_read(path, JSON_LIMIT, &bytes, &size, err));
    json_t *j = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, &why);
    cr_free(bytes);
    CR_CHECK(j, err, CR_ERR_FORMAT, "%s: line %d: %s", path, why.line, why.text);
    const char *f = json_string_value(json_object_get(j, "format"));
    if (!f || strcmp(f, format) || json_integer_value(json_object_get(j, "version")) != 1) {
        json_decref(j);
        return cr_fail(err, CR_ERR_FORMAT, "%s: not a %s file of version 1", path, format);
    }
    *root = j;
    return CR_OK;
}

cr_status cr_json_write(const char *path, const json_t *root, cr_error *err)
{
    cr_outfile *f;
    CR_CHECK(root, err, CR_ERR_MEMORY, "%s: out of memory", path);
    CR_TRY(cr_outfile_open(path, &f, err));
    json_dumpf(root, cr_outfile_stream(f), JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    fputc('\n', cr_outfile_stream(f));
    return cr_outfile_commit(&f, err);
}

json_t *cr_json_floats(const float *v, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(a, json_real((double)v[i]));
    return a;
}

bool cr_json_get_floats(const json_t *a, float *v, size_t n)
{
    if (!json_is_array(a) || json_array_size(a) != n) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(a, i);
        v[i] = (float)json_number_value(x);
        if (!json_is_number(x) || !isfinite(v[i])) return false;
    }
    return true;
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *cr_json_bytes(const unsigned char *bytes, size_t n)
{
    char *text = cr_malloc((n + 2) / 3 * 4 + 1), *to = text;
    if (!text) return NULL;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16;
        if (i + 1 < n) three |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < n) three |= bytes[i + 2];
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = i + 1 < n ? digits[three >> 6 & 63] : '=';
        *to++ = i + 2 < n ? digits[three & 63] : '=';
    }
    json_t *out = json_stringn_nocheck(text, (size_t)(to - text));
    cr_free(text);
    return out;
}

static int digit_value(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

bool cr_json_get_bytes(const json_t *text, unsigned char *bytes, size_t n)
{
    const char *s = json_string_value(text);
    if (!s || json_string_length(text) != (n + 2) / 3 * 4) return false;
    for (size_t i = 0; i < n; i += 3, s += 4) {
        const size_t left = n - i < 3 ? n - i : 3;
        uint32_t three = 0;
        for (size_t k = 0; k < 4; k++) {
            const int v = digit_value(s[k]);
            if (k <= left ? v < 0 : s[k] != '=') return false;
            three = three << 6 | (uint32_t)(k <= left ? v : 0);
        }
        for (size_t k = 0; k < left; k++) bytes[i + k] = (unsigned char)(three >> (16 - 8 * k));
    }
    return true;
}
