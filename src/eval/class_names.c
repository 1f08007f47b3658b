/* Class names from labels.txt or data.yaml. The yaml's "names" is a list (Roboflow) or a map
 * (Ultralytics): https://docs.ultralytics.com/datasets/detect/ */
#include "crayon/class_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/error.h"
#include "base/mem.h"

enum { MAX_BYTES = 1 << 20, MAX_NAMES = 65536 };

void cr_class_names_free(cr_class_names *names)
{
    for (size_t i = 0; i < names->count; i++) cr_free(names->items[i]);
    cr_free(names->items);
    *names = (cr_class_names){0};
}

/* Sets items[at], filling a gap with empty names. */
static cr_status set_name(cr_class_names *n, size_t at, const char *text, size_t length,
                          cr_error *err)
{
    CR_CHECK(at < MAX_NAMES, err, CR_ERR_FORMAT, "more than %d class names", MAX_NAMES);
    if (at >= n->count) {
        char **items = cr_realloc(n->items, (at + 1) * sizeof *items);
        if (!items) return CR_NOMEM(err);
        n->items = items;
        for (; n->count <= at; n->count++)
            if (!(items[n->count] = cr_strdup(""))) return CR_NOMEM(err);
    }
    char *name = cr_malloc(length + 1);
    if (!name) return CR_NOMEM(err);
    memcpy(name, text, length);
    name[length] = 0;
    cr_free(n->items[at]);
    n->items[at] = name;
    return CR_OK;
}

/* ---- text ---- */

static cr_status take_lines(const char *text, cr_class_names *out, cr_error *err)
{
    for (const char *s = text; *s;) {
        const size_t length = strcspn(s, "\r\n");
        if (length) CR_TRY(set_name(out, out->count, s, length, err));
        s += length + strspn(s + length, "\r\n");
    }
    return CR_OK;
}

/* ---- yaml ---- */

static const char *text_of(yaml_document_t *doc, int id, size_t *length)
{
    const yaml_node_t *node = yaml_document_get_node(doc, id);
    if (!node || node->type != YAML_SCALAR_NODE) return NULL;
    *length = node->data.scalar.length;
    const char *text = (const char *)node->data.scalar.value;
    return memchr(text, 0, *length) ? NULL : text;
}

static const yaml_node_t *names_of(yaml_document_t *doc)
{
    const yaml_node_t *root = yaml_document_get_root_node(doc);
    if (!root || root->type != YAML_MAPPING_NODE) return NULL;
    const yaml_node_pair_t *p = root->data.mapping.pairs.start;
    for (; p < root->data.mapping.pairs.top; p++) {
        size_t length;
        const char *key = text_of(doc, p->key, &length);
        if (key && !strcmp(key, "names")) return yaml_document_get_node(doc, p->value);
    }
    return NULL;
}

static bool number_of(const char *text, size_t *out)
{
    char *end;
    const long n = text && *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : -1;
    if (n < 0 || *end || n >= MAX_NAMES) return false;
    *out = (size_t)n;
    return true;
}

static cr_status take_yaml(yaml_document_t *doc, cr_class_names *out, cr_error *err)
{
    const yaml_node_t *names = names_of(doc);
    size_t at = 0, length;
    CR_CHECK(names && names->type != YAML_SCALAR_NODE && names->type != YAML_NO_NODE, err,
             CR_ERR_FORMAT, "\"names\" is missing or not a list of class names");
    if (names->type == YAML_SEQUENCE_NODE) {
        const yaml_node_item_t *item = names->data.sequence.items.start;
        for (; item < names->data.sequence.items.top; item++, at++) {
            const char *text = text_of(doc, *item, &length);
            CR_CHECK(text, err, CR_ERR_FORMAT, "the name of class %zu is not a text", at);
            CR_TRY(set_name(out, at, text, length, err));
        }
        return CR_OK;
    }
    const yaml_node_pair_t *p = names->data.mapping.pairs.start;
    for (; p < names->data.mapping.pairs.top; p++) {
        CR_CHECK(number_of(text_of(doc, p->key, &length), &at), err, CR_ERR_FORMAT,
                 "\"names\" has a key that is no class number from 0 to %d", MAX_NAMES - 1);
        const char *text = text_of(doc, p->value, &length);
        CR_CHECK(text, err, CR_ERR_FORMAT, "the name of class %zu is not a text", at);
        CR_TRY(set_name(out, at, text, length, err));
    }
    return CR_OK;
}

static cr_status parse_yaml(const char *text, cr_class_names *out, cr_error *err)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser)) return CR_NOMEM(err);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    cr_status st;
    if (!yaml_parser_load(&parser, &doc))
        st = cr_fail(err, CR_ERR_FORMAT, "line %zu: %s", parser.problem_mark.line + 1,
                     parser.problem ? parser.problem : "no YAML");
    else {
        st = take_yaml(&doc, out, err);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    return st;
}

/* ---- files ---- */

static bool is_yaml(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

cr_status cr_class_names_read(const char *path, cr_class_names *out, cr_error *err)
{
    *out = (cr_class_names){0};
    FILE *f = fopen(path, "rb");
    CR_CHECK(f, err, CR_ERR_IO, "%s: cannot read the label file", path);
    char *text = cr_malloc(MAX_BYTES + 1);
    const size_t n = text ? fread(text, 1, MAX_BYTES, f) : 0;
    fclose(f);
    if (!text) return CR_NOMEM(err);
    text[n] = 0;
    cr_error why = {0};
    cr_status st = CR_OK;
    if (!n || n == MAX_BYTES || memchr(text, 0, n))
        st = cr_fail(err, CR_ERR_FORMAT, "%s: not a text file of class names, one per line", path);
    else if ((st = (is_yaml(path) ? parse_yaml : take_lines)(text, out, &why)) != CR_OK)
        cr_fail(err, st, "%s: %s", path, why.message);
    else if (!out->count)
        st = cr_fail(err, CR_ERR_FORMAT, "%s: has no class names", path);
    cr_free(text);
    if (st != CR_OK) cr_class_names_free(out);
    return st;
}
