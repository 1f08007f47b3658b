/* Pascal VOC annotations, an .xml file per picture (development kit of VOC2012, section 8):
 *
 *     annotation/filename   annotation/size/{width,height}
 *     annotation/object/{name,difficult}   annotation/object/bndbox/{xmin,ymin,xmax,ymax}
 *
 * Pixels count from 1 and both ends are inside the box. Parts of objects are skipped. A difficult
 * object need not be found. Categories are the names that occur, in alphabetical order, from 1 on.
 * Pictures are looked for beside the .xml and in ../JPEGImages and ../images. Document types are
 * refused: an annotation has none, and entities are the way in for files that grow while they are
 * read. */
#define _POSIX_C_SOURCE 200809L
#include <expat.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "eval/label_store.h"

enum { FILE_LIMIT = 16 << 20, DEPTH_MAX = 32, PATH_MAX_BYTES = 256, TEXT_MAX = 1024 };

typedef struct voc {
    cr_labels *labels;
    const char *file; /* for messages */
    cr_arena arena;
    const char **names; /* of the boxes */
    size_t name_cap;
    XML_Parser xml;
    cr_status status;
    cr_error *err;
    char path[PATH_MAX_BYTES]; /* where we are: "annotation/object/name" */
    size_t depth;
    char text[TEXT_MAX]; /* of the element */
    size_t length;
    const char *file_name, *name;
    double corner[4], width, height, difficult;
    unsigned corners; /* bit k: corner k was there */
} voc;

static void stop(voc *v, cr_status status, const char *what)
{
    if (v->status != CR_OK) return;
    v->status = cr_fail(v->err, status, "%s line %lu: %s", v->file,
                        (unsigned long)XML_GetCurrentLineNumber(v->xml), what);
    XML_StopParser(v->xml, XML_FALSE);
}

static void XMLCALL on_doctype(void *user, const char *name, const char *system, const char *public,
                               int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    stop(user, CR_ERR_FORMAT, "a document type is not allowed here");
}

static void XMLCALL on_start(void *user, const char *name, const char **attributes)
{
    voc *v = user;
    (void)attributes;
    const size_t used = strlen(v->path), more = strlen(name) + 2;
    if (++v->depth > DEPTH_MAX || used + more > sizeof v->path) {
        stop(v, CR_ERR_LIMIT, "elements lie too deep");
        return;
    }
    snprintf(v->path + used, sizeof v->path - used, "%s%s", used ? "/" : "", name);
    v->length = 0;
    if (strcmp(v->path, "annotation/object")) return;
    v->name = NULL;
    v->difficult = 0;
    v->corners = 0;
}

static void XMLCALL on_text(void *user, const char *text, int length)
{
    voc *v = user;
    const size_t n = (size_t)length;
    if (v->length + n >= sizeof v->text) return; /* no text that we want is so long */
    memcpy(v->text + v->length, text, n);
    v->length += n;
}

/* The element's text without space around it. */
static const char *own_text(voc *v)
{
    v->text[v->length] = 0;
    const char *from = v->text + strspn(v->text, " \t\r\n");
    for (size_t n = strlen(v->text); n && strchr(" \t\r\n", v->text[n - 1]); n--)
        v->text[n - 1] = 0;
    return from;
}

static void take_number(voc *v, double *out)
{
    char *end;
    const char *text = own_text(v);
    const double x = strtod(text, &end);
    if (end == text || *end || !(fabs(x) <= INT_MAX))
        stop(v, CR_ERR_FORMAT, "a number is needed");
    else
        *out = x;
}

static void take_text(voc *v, const char **out)
{
    const char *text = own_text(v);
    if (!*text) {
        stop(v, CR_ERR_FORMAT, "a name is empty");
        return;
    }
    *out = cr_arena_strdup(&v->arena, text);
    if (!*out) stop(v, CR_ERR_MEMORY, "out of memory");
}

static void add_object(voc *v)
{
    const double *c = v->corner;
    if (!v->name || v->corners != 0xf) {
        stop(v, CR_ERR_FORMAT, "an object without \"name\" or \"bndbox\"");
        return;
    }
    if (c[2] < c[0] || c[3] < c[1]) {
        stop(v, CR_ERR_FORMAT, "a box ends before it begins");
        return;
    }
    const double w = c[2] - c[0] + 1, h = c[3] - c[1] + 1;
    const cr_label_box box = {.id = (int64_t)v->labels->box_count + 1,
                              .image_id = (int64_t)v->labels->image_count + 1,
                              .x = c[0] - 1,
                              .y = c[1] - 1,
                              .w = w,
                              .h = h,
                              .area = w * h,
                              .ignored = v->difficult != 0};
    if (!cr_grow((void **)&v->names, &v->name_cap, v->labels->box_count, sizeof *v->names) ||
        cr_labels_add_box(v->labels, &box, v->err) != CR_OK) {
        stop(v, CR_ERR_MEMORY, "out of memory");
        return;
    }
    v->names[v->labels->box_count - 1] = v->name;
}

static void XMLCALL on_end(void *user, const char *element)
{
    static const char *const corners[] = {
        "annotation/object/bndbox/xmin", "annotation/object/bndbox/ymin",
        "annotation/object/bndbox/xmax", "annotation/object/bndbox/ymax"};
    voc *v = user;
    if (!strcmp(v->path, "annotation/filename")) take_text(v, &v->file_name);
    if (!strcmp(v->path, "annotation/size/width")) take_number(v, &v->width);
    if (!strcmp(v->path, "annotation/size/height")) take_number(v, &v->height);
    if (!strcmp(v->path, "annotation/object/name")) take_text(v, &v->name);
    if (!strcmp(v->path, "annotation/object/difficult")) take_number(v, &v->difficult);
    for (unsigned k = 0; k < 4; k++)
        if (!strcmp(v->path, corners[k])) {
            take_number(v, &v->corner[k]);
            v->corners |= 1u << k;
        }
    if (!strcmp(v->path, "annotation/object")) add_object(v);
    const size_t used = strlen(v->path), own = strlen(element);
    v->path[used > own ? used - own - 1 : 0] = 0;
    v->length = 0;
    v->depth--;
}

static cr_status parse(voc *v, const unsigned char *bytes, size_t size)
{
    v->xml = XML_ParserCreate(NULL);
    if (!v->xml) return CR_NOMEM(v->err);
    v->status = CR_OK;
    v->path[0] = 0;
    v->depth = v->length = 0;
    v->file_name = NULL;
    v->width = v->height = 0;
    XML_SetUserData(v->xml, v);
    XML_SetElementHandler(v->xml, on_start, on_end);
    XML_SetCharacterDataHandler(v->xml, on_text);
    XML_SetStartDoctypeDeclHandler(v->xml, on_doctype);
    if (XML_Parse(v->xml, (const char *)bytes, (int)size, 1) == XML_STATUS_ERROR)
        stop(v, CR_ERR_FORMAT, XML_ErrorString(XML_GetErrorCode(v->xml)));
    XML_ParserFree(v->xml);
    v->xml = NULL;
    return v->status;
}

static const char *find_picture(voc *v, const char *root, const char *name)
{
    static const char *const places[] = {".", "../JPEGImages", "../images"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *path = cr_arena_printf(&v->arena, "%s/%s/%s", root, places[i], name);
        if (path && !access(path, R_OK)) return path;
    }
    return NULL;
}

static cr_status read_file(voc *v, const char *root, const char *name, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    v->file = cr_arena_printf(&v->arena, "%s/%s", root, name);
    if (!v->file) return CR_NOMEM(err);
    CR_TRY(cr_file_read(v->file, FILE_LIMIT, &bytes, &size, err));
    const cr_status st = parse(v, bytes, size);
    cr_free(bytes);
    if (st != CR_OK) return st;
    CR_CHECK(v->file_name, err, CR_ERR_FORMAT, "%s: no annotation/filename", v->file);
    const cr_label_image image = {.id = (int64_t)v->labels->image_count + 1,
                                  .file_name = v->file_name,
                                  .path = find_picture(v, root, v->file_name),
                                  .width = v->width > 0 ? (int)v->width : 0,
                                  .height = v->height > 0 ? (int)v->height : 0};
    return cr_labels_add_image(v->labels, &image, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names become categories, sorted, and the boxes get their ids. */
static cr_status name_categories(voc *v, const char *root, cr_error *err)
{
    const size_t n = v->labels->box_count;
    CR_CHECK(n, err, CR_ERR_FORMAT, "%s: no object in any .xml file", root);
    const char **sorted = cr_calloc(n, sizeof *sorted);
    if (!sorted) return CR_NOMEM(err);
    memcpy(sorted, v->names, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_name);
    size_t kept = 0;
    cr_status st = CR_OK;
    for (size_t i = 0; i < n && st == CR_OK; i++) {
        if (i && !strcmp(sorted[i], sorted[kept - 1])) continue;
        sorted[kept++] = sorted[i];
        st = cr_labels_add_category(v->labels, (int64_t)kept, sorted[kept - 1], err);
    }
    for (size_t i = 0; i < n && st == CR_OK; i++) {
        const char **found = bsearch(&v->names[i], sorted, kept, sizeof *sorted, by_name);
        v->labels->boxes[i].category_id = (int64_t)(found - sorted) + 1;
    }
    cr_free(sorted);
    return st;
}

cr_status cr_labels_read_voc(const char *root, char *const *names, size_t n, cr_labels *l,
                             cr_error *err)
{
    voc v = {.labels = l, .err = err};
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) return CR_NOMEM(err);
    const locale_t before = uselocale(plain); /* strtod must read points, not commas */
    cr_status st = CR_OK;
    for (size_t i = 0; i < n && st == CR_OK; i++) {
        const char *dot = strrchr(names[i], '.');
        if (dot && !strcasecmp(dot, ".xml")) st = read_file(&v, root, names[i], err);
    }
    if (st == CR_OK) st = name_categories(&v, root, err);
    uselocale(before);
    freelocale(plain);
    cr_free(v.names);
    cr_arena_free(&v.arena);
    return st;
}
