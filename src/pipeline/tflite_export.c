/* TFLite files of models: the graph as the target wants it, and metadata in the form in which
 * Ultralytics' exporter appends them (metadata.json: their loader and ours read names, stride,
 * task, imgsz from there). */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "pipeline/target.h"
#include "tflite/tflite_write.h"

/* ---- metadata: values that are Python literals become JSON ---- */

typedef struct text {
    char *bytes;
    size_t used, cap;
    bool failed;
} text;

static void put(text *t, char c)
{
    if (!cr_grow((void **)&t->bytes, &t->cap, t->used, 1))
        t->failed = true;
    else
        t->bytes[t->used++] = c;
}

static void put_string(text *t, const char *s)
{
    for (; *s; s++) put(t, *s);
}

/* '...' or "..." at s becomes "..."; what is behind it, or NULL. */
static const char *copy_string(text *t, const char *s)
{
    const char quote = *s++;
    put(t, '"');
    for (; *s && *s != quote; s++) {
        if (*s == '\\' && (s[1] == '\'' || s[1] == '"' || s[1] == '\\'))
            s++;
        else if (*s == '\\')
            return NULL;
        if (*s == '"' || *s == '\\') put(t, '\\');
        put(t, *s);
    }
    put(t, '"');
    return *s ? s + 1 : NULL;
}

/* A word or number; keys of dictionaries are strings in JSON. */
static const char *copy_word(text *t, const char *s)
{
    static const struct {
        const char *python, *json;
    } words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    const char *end = s;
    while (isalnum((unsigned char)*end) || strchr("+-._", *end) ? *end != 0 : false) end++;
    if (end == s) return NULL;
    const char *behind = end;
    while (*behind == ' ') behind++;
    if (*behind == ':') put(t, '"');
    bool known = false;
    for (size_t i = 0; i < sizeof words / sizeof *words && !known; i++) {
        known = strlen(words[i].python) == (size_t)(end - s) &&
                !strncmp(s, words[i].python, (size_t)(end - s));
        if (known) put_string(t, words[i].json);
    }
    for (; !known && s < end; s++) put(t, *s);
    if (*behind == ':') put(t, '"');
    return end;
}

/* NULL: not a literal that we know. */
static json_t *from_python(const char *s)
{
    text t = {0};
    while (s && *s) {
        if (*s == '\'' || *s == '"')
            s = copy_string(&t, s);
        else if (strchr("{}[]:, ", *s))
            put(&t, *s++);
        else if (*s == '(' || *s == ')')
            put(&t, *s++ == '(' ? '[' : ']');
        else
            s = copy_word(&t, s);
    }
    json_t *v = s && !t.failed ? json_loadb(t.bytes, t.used, JSON_DECODE_ANY, NULL) : NULL;
    cr_free(t.bytes);
    return v;
}

/* As the exporter writes them: numbers, lists and dictionaries as such, all else as text. */
static json_t *value_of(const char *s)
{
    const bool literal = *s && (strchr("{[(", *s) || !strcmp(s, "True") || !strcmp(s, "False"));
    char *end;
    const long number = strtol(s, &end, 10);
    json_t *v = literal ? from_python(s) : *s && !*end ? json_integer(number) : NULL;
    return v ? v : json_string(s);
}

/* The text is freed with free(); NULL without memory. A model without metadata gets what its tools
 * need to know. */
static char *metadata_of(const cr_model *m, const cr_graph *g)
{
    json_t *root = json_object();
    const cr_preprocess *pre = &m->info.preprocess;
    bool ok = root != NULL;
    for (size_t i = 0; ok && i < g->meta_count; i++)
        ok = !json_object_set_new(root, g->meta[2 * i], value_of(g->meta[2 * i + 1]));
    if (ok && !json_object_get(root, "task") && m->info.task[0])
        ok = !json_object_set_new(root, "task", json_string(m->info.task));
    if (ok && !json_object_get(root, "imgsz") && pre->width > 0)
        ok = !json_object_set_new(root, "imgsz", json_pack("[ii]", pre->height, pre->width));
    json_t *names = json_object_get(root, "names") || !m->info.name_count ? NULL : json_object();
    for (size_t i = 0; names && i < m->info.name_count; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        ok &= !json_object_set_new(names, key, json_string(m->info.names[i]));
    }
    if (names) ok &= !json_object_set_new(root, "names", names);
    char *out = ok ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    json_decref(root);
    return out;
}

/* ---- the file ---- */

static cr_status check_half(const cr_model *m, cr_error *err)
{
    for (size_t i = 0; m->stored && i < m->stored->tensor_count; i++)
        CR_CHECK(m->stored->tensors[i]->dtype != CR_DT_BF16, err, CR_ERR_UNSUPPORTED,
                 "TFLite has no bfloat16 weights; choose fp16");
    return CR_OK;
}

cr_status cr_tflite_export(const cr_model *m, const cr_export_options *o, const char *path,
                           cr_error *err)
{
    cr_graph *g;
    cr_head head = m->info.head;
    CR_TRY(check_half(m, err));
    CR_TRY(cr_target_graph(cr_model_graph(m), m->recipe, &head, &g, err));
    char *metadata = metadata_of(m, g);
    const cr_tfl_write_options w = {
        .ports = (cr_tfl_port)o->ports,
        .half = m->stored != NULL,
        .whole_bytes = m->target == CR_TARGET_EDGETPU || m->target == CR_TARGET_NPU_NXP,
        .metadata = metadata};
    const cr_status st = metadata ? cr_tflite_write(g, m->recipe, &w, path, err) : CR_NOMEM(err);
    free(metadata);
    cr_graph_free(&g);
    return st;
}

cr_status cr_model_target_rows(const cr_model *m, const cr_export_options *o,
                               cr_target_row rows[CR_MAX_TARGET_ROWS], size_t *count, cr_error *err)
{
    cr_tfl_device_row found[CR_TFL_MAX_ROWS];
    const cr_export_options plain = cr_export_options_default();
    const cr_tfl_write_options w = {.ports = (cr_tfl_port)(o ? o : &plain)->ports};
    cr_head head = m->info.head;
    cr_graph *g;
    *count = 0;
    if (m->target != CR_TARGET_EDGETPU && m->target != CR_TARGET_NPU_NXP) return CR_OK;
    CR_TRY(cr_target_graph(cr_model_graph(m), m->recipe, &head, &g, err));
    const cr_status st = cr_tflite_devices(
        g, m->recipe, &w, m->target == CR_TARGET_EDGETPU ? CR_TFL_EDGETPU : CR_TFL_VX, found, count,
        err);
    for (size_t i = 0; st == CR_OK && i < *count; i++)
        rows[i] = (cr_target_row){found[i].op, found[i].count, found[i].mapped, found[i].why};
    cr_graph_free(&g);
    return st;
}
