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
