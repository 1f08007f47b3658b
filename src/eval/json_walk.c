#include "eval/json_walk.h"

#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

enum { ELEMENT_LIMIT = 16 << 20 };

cr_status cr_json_walk_open(cr_json_walk *w, const char *path, size_t limit, cr_error *err)
{
    *w = (cr_json_walk){.path = path};
    CR_TRY(cr_file_read(path, limit, &w->bytes, &w->size, err));
    if (w->size >= 3 && !memcmp(w->bytes, "\xef\xbb\xbf", 3)) w->at = 3;
    return CR_OK;
}

void cr_json_walk_close(cr_json_walk *w)
{
    cr_free(w->bytes);
    w->bytes = NULL;
    w->size = w->at = 0;
}

char cr_json_peek(cr_json_walk *w)
{
    while (w->at < w->size && w->bytes[w->at] && strchr(" \t\r\n", w->bytes[w->at])) w->at++;
    return w->at < w->size ? (char)w->bytes[w->at] : 0;
}

cr_status cr_json_take(cr_json_walk *w, char c, cr_error *err)
{
    CR_CHECK(cr_json_peek(w) == c, err, CR_ERR_FORMAT,
             "%s: not the expected JSON: no '%c' at byte %zu", w->path, c, w->at);
    w->at++;
    return CR_OK;
}

cr_status cr_json_end(cr_json_walk *w, cr_error *err)
{
    cr_json_peek(w);
    CR_CHECK(w->at == w->size, err, CR_ERR_FORMAT, "%s: more text after the JSON value at byte %zu",
             w->path, w->at);
    return CR_OK;
}

cr_status cr_json_value(cr_json_walk *w, json_t **out, cr_error *err)
{
    cr_json_peek(w);
    const size_t left = w->size - w->at;
    const size_t n = left < ELEMENT_LIMIT ? left : ELEMENT_LIMIT;
    json_error_t e;
    *out =
        json_loadb((const char *)w->bytes + w->at, n, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &e);
    if (*out) {
        w->at += (size_t)e.position;
        return CR_OK;
    }
    const enum json_error_code code = json_error_code(&e);
    if (code == json_error_out_of_memory) return CR_NOMEM(err);
    CR_CHECK(code != json_error_premature_end_of_input || n == left, err, CR_ERR_LIMIT,
             "%s: the JSON value at byte %zu is longer than %d bytes", w->path, w->at,
             ELEMENT_LIMIT);
    return cr_fail(err, CR_ERR_FORMAT, "%s: not JSON at byte %zu: %s", w->path,
                   w->at + (size_t)(e.position > 0 ? e.position : 0), e.text);
}

static cr_status one_item(cr_json_walk *w, cr_json_item *item, cr_json_item_fn fn, void *ctx,
                          cr_error *err)
{
    json_t *value = NULL;
    CR_TRY(cr_json_value(w, &value, err));
    item->object = value;
    const cr_status st = json_is_object(value)
                             ? fn(ctx, item, err)
                             : cr_fail(err, CR_ERR_FORMAT, "%s: %s %zu is not an object", w->path,
                                       item->kind, item->index);
    json_decref(value);
    return st;
}

cr_status cr_json_items(cr_json_walk *w, const char *kind, cr_json_item_fn fn, void *ctx,
                        cr_error *err)
{
    CR_TRY(cr_json_take(w, '[', err));
    if (cr_json_peek(w) == ']') return cr_json_take(w, ']', err);
    cr_json_item item = {w->path, kind, 0, NULL};
    for (;; item.index++) {
        CR_TRY(one_item(w, &item, fn, ctx, err));
        if (cr_json_peek(w) == ']') return cr_json_take(w, ']', err);
        CR_TRY(cr_json_take(w, ',', err));
    }
}

cr_status cr_json_skip(cr_json_walk *w, cr_error *err)
{
    const bool array = cr_json_peek(w) == '[';
    if (array) CR_TRY(cr_json_take(w, '[', err));
    if (array && cr_json_peek(w) == ']') return cr_json_take(w, ']', err);
    for (;;) {
        json_t *value = NULL;
        CR_TRY(cr_json_value(w, &value, err));
        json_decref(value);
        if (!array) return CR_OK;
        if (cr_json_peek(w) == ']') return cr_json_take(w, ']', err);
        CR_TRY(cr_json_take(w, ',', err));
    }
}

bool cr_json_has(const cr_json_item *item, const char *key)
{
    const json_t *v = json_object_get(item->object, key);
    return v && !json_is_null(v);
}

static cr_status wrong(const cr_json_item *item, const char *key, const char *wanted, cr_error *err)
{
    return cr_fail(err, CR_ERR_FORMAT, "%s: %s %zu: \"%s\" %s, need %s", item->path, item->kind,
                   item->index, key, cr_json_has(item, key) ? "has a wrong value" : "is missing",
                   wanted);
}

cr_status cr_json_int(const cr_json_item *item, const char *key, int64_t *out, cr_error *err)
{
    const json_t *v = json_object_get(item->object, key);
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return CR_OK;
    }
    const double x = json_real_value(v);
    if (!json_is_real(v) || fabs(x) > 0x1p53 || x != floor(x))
        return wrong(item, key, "an integer", err);
    *out = (int64_t)x;
    return CR_OK;
}

cr_status cr_json_real(const cr_json_item *item, const char *key, double *out, cr_error *err)
{
    const json_t *v = json_object_get(item->object, key);
    if (!json_is_number(v)) return wrong(item, key, "a number", err);
    *out = json_number_value(v);
    return CR_OK;
}

cr_status cr_json_text(const cr_json_item *item, const char *key, const char **out, cr_error *err)
{
    const json_t *v = json_object_get(item->object, key);
    if (!json_is_string(v) || !json_string_length(v)) return wrong(item, key, "a text", err);
    *out = json_string_value(v);
    return CR_OK;
}

cr_status cr_json_bbox(const cr_json_item *item, double out[4], cr_error *err)
{
    const json_t *v = json_object_get(item->object, "bbox");
    if (!json_is_array(v) || json_array_size(v) != 4)
        return wrong(item, "bbox", "an array [x, y, width, height]", err);
    for (size_t i = 0; i < 4; i++) {
        const json_t *number = json_array_get(v, i);
        if (!json_is_number(number)) return wrong(item, "bbox", "four numbers", err);
        out[i] = json_number_value(number);
    }
    return CR_OK;
}
