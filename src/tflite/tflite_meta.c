/* What stands behind a TFLite model: a zip archive appended to the file.
 *
 *     metadata.json, temp_meta.txt   Ultralytics: a JSON object, before 2025 a Python dictionary,
 * with names, stride, task, imgsz as their ONNX files have them labels.txt, labelmap.txt ...
 * TFLite's own tools: one class name per line
 *
 * The values become metadata as an ONNX file has them: strings without quotes, all else as Python
 * writes it (so keys of JSON objects that are numbers lose their quotes). An archive that cannot be
 * read is no reason to refuse a model. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

#include "base/error.h"
#include "tflite/tflite_import.h"

enum { MAX_MEMBERS = 64, MAX_TEXT = 1 << 20, MAX_KEY = 256 };

/* ---- dictionaries ---- */

static const char *skip_space(const char *s)
{
    while (*s && strchr(" \t\r\n", *s)) s++;
    return s;
}

/* Behind the string that begins at s; NULL: it does not end. */
static const char *skip_quoted(const char *s)
{
    const char quote = *s++;
    for (; *s && *s != quote; s++)
        if (*s == '\\' && s[1]) s++;
    return *s ? s + 1 : NULL;
}

/* Behind the value that begins at s: up to a comma or bracket that is not inside it. */
static const char *skip_value(const char *s)
{
    int depth = 0;
    while (s && *s) {
        if (*s == '\'' || *s == '"') {
            s = skip_quoted(s);
            continue;
        }
        if (depth == 0 && strchr(",}", *s)) return s;
        if (strchr("{[(", *s)) depth++;
        if (strchr("}])", *s)) depth--;
        s++;
    }
    return NULL;
}

static size_t four_hex_digits(const char *s, unsigned *code)
{
    char digits[5] = "";
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)s[i])) return 0;
        digits[i] = s[i];
    }
    return sscanf(digits, "%4x", code) == 1 ? 4 : 0;
}

static size_t put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    out[0] = (char)(0xe0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 63));
    out[2] = (char)(0x80 | (c & 63));
    return 3;
}

/* s to end with \uXXXX decoded; `bare` strings (no quotes around) lose their other escapes too. */
static char *decode(cr_arena *arena, const char *s, const char *end, bool bare)
{
    char *out = cr_arena_alloc(arena, (size_t)(end - s) + 1);
    size_t n = 0;
    while (out && s < end) {
        unsigned code;
        if (*s == '\\' && s + 5 < end && s[1] == 'u' && four_hex_digits(s + 2, &code) &&
            code >= 32) {
            n += put_utf8(out + n, code);
            s += 6;
        } else if (*s == '\\' && s + 1 < end && bare) {
            out[n++] = s[1] == 'n' ? '\n' : s[1];
            s += 2;
        } else {
            out[n++] = *s++;
        }
    }
    if (out) out[n] = 0;
    return out;
}

/* "12": becomes 12: */
static void unquote_numbers(char *s)
{
    char *out = s;
    while (*s) {
        char *digits = s + 1;
        while (*s == '"' && isdigit((unsigned char)*digits)) digits++;
        if (*s == '"' && digits > s + 1 && *digits == '"' && *skip_space(digits + 1) == ':') {
            memmove(out, s + 1, (size_t)(digits - s - 1));
            out += digits - s - 1;
            s = digits + 1;
        } else {
            *out++ = *s++;
        }
    }
    *out = 0;
}

static cr_status set_value(cr_graph *g, const char *key, const char *s, const char *end,
                           cr_error *err)
{
    while (end > s && isspace((unsigned char)end[-1])) end--;
    const bool quoted = end - s >= 2 && (*s == '\'' || *s == '"') && end[-1] == *s;
    char *value = decode(&g->arena, quoted ? s + 1 : s, quoted ? end - 1 : end, quoted);
    if (!value) return CR_NOMEM(err);
    if (!quoted) unquote_numbers(value);
    return cr_graph_set_meta(g, key, value) ? CR_OK : CR_NOMEM(err);
}

/* {'key': value, ...}; what is not of that form ends the reading. */
static cr_status read_dictionary(cr_graph *g, const char *s, cr_error *err)
{
    s = skip_space(s);
    if (*s != '{') return CR_OK;
    s = skip_space(s + 1);
    for (int entries = 0; (*s == '\'' || *s == '"') && entries < MAX_MEMBERS; entries++) {
        char key[MAX_KEY];
        const char *end = skip_quoted(s);
        if (!end || end - s - 2 >= MAX_KEY) return CR_OK;
        snprintf(key, sizeof key, "%.*s", (int)(end - s - 2), s + 1);
        s = skip_space(end);
        if (*s != ':') return CR_OK;
        s = skip_space(s + 1);
        end = skip_value(s);
        if (!end) return CR_OK;
        CR_TRY(set_value(g, key, s, end, err));
        s = *end == ',' ? skip_space(end + 1) : end;
    }
    return CR_OK;
}

/* One name per line to ['a', 'b']. */
static cr_status read_labels(cr_graph *g, const char *s, cr_error *err)
{
    if (cr_graph_meta(g, "names")) return CR_OK;
    char *out = cr_arena_alloc(&g->arena, 4 * strlen(s) + 8);
    size_t n = 0;
    if (!out) return CR_NOMEM(err);
    out[n++] = '[';
    while (*s) {
        const size_t length = strcspn(s, "\r\n");
        if (length) {
            if (n > 1) out[n++] = ',';
            out[n++] = '"';
            for (size_t i = 0; i < length; i++) {
                if (s[i] == '"' || s[i] == '\\') out[n++] = '\\';
                out[n++] = s[i];
            }
            out[n++] = '"';
        }
        s += length;
        s += strspn(s, "\r\n");
    }
    out[n++] = ']';
    out[n] = 0;
    return cr_graph_set_meta(g, "names", out) ? CR_OK : CR_NOMEM(err);
}

/* ---- the archive ---- */

static bool ends_in(const char *name, const char *ending)
{
    const size_t n = strlen(name), e = strlen(ending);
    return n >= e && !strcmp(name + n - e, ending);
}

static cr_status read_member(cr_graph *g, zip_t *z, zip_uint64_t i, cr_error *err)
{
    const char *name = zip_get_name(z, i, 0);
    const bool text = name && ends_in(name, ".txt"), json = name && ends_in(name, ".json");
    if (!text && !json) return CR_OK;
    zip_file_t *f = zip_fopen_index(z, i, 0);
    char *bytes = f ? cr_calloc(1, MAX_TEXT + 1) : NULL;
    const zip_int64_t n = bytes ? zip_fread(f, bytes, MAX_TEXT) : -1;
    cr_status st = f && !bytes ? CR_NOMEM(err) : CR_OK;
    if (n > 0) {
        bytes[n] = 0;
        st = text && strstr(name, "label") ? read_labels(g, bytes, err)
                                           : read_dictionary(g, bytes, err);
    }
    cr_free(bytes);
    if (f) zip_fclose(f);
    return st;
}

static size_t word(const unsigned char *p)
{
    return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

/* Where the offsets of the archive in the last 64 KB count from: 0 if it was written for this
 * place, as Python's zipfile does, its own beginning if it was glued on. SIZE_MAX: there is none.
 */
static size_t find_archive(const unsigned char *bytes, size_t size)
{
    const size_t reach = size < (1 << 16) + 22 ? size : (1 << 16) + 22;
    for (size_t back = 22; back <= reach; back++) {
        const unsigned char *end = bytes + size - back;
        if (memcmp(end, "PK\5\6", 4)) continue;
        const size_t length = word(end + 12), offset = word(end + 16), at = size - back;
        return length <= at && offset <= at - length ? at - length - offset : SIZE_MAX;
    }
    return SIZE_MAX;
}

cr_status cr_tfl_read_metadata(cr_graph *g, const void *bytes, size_t size, cr_error *err)
{
    zip_error_t ignored;
    cr_status st = CR_OK;
    const size_t start = find_archive(bytes, size);
    if (start == SIZE_MAX) return CR_OK;
    zip_error_init(&ignored);
    zip_source_t *source =
        zip_source_buffer_create((const char *)bytes + start, size - start, 0, &ignored);
    zip_t *z = source ? zip_open_from_source(source, ZIP_RDONLY, &ignored) : NULL;
    if (!z && source) zip_source_free(source);
    const zip_int64_t count = z ? zip_get_num_entries(z, 0) : 0;
    for (zip_int64_t i = 0; st == CR_OK && i < count && i < MAX_MEMBERS; i++)
        st = read_member(g, z, (zip_uint64_t)i, err);
    if (z) zip_discard(z);
    zip_error_fini(&ignored);
    return st;
}
