/* Reading big JSON files of hostile origin piece by piece.
 *
 * The walk keeps the outermost object and array apart itself and hands each element of an array to
 * jansson alone, so memory is bounded by the largest element (16 MiB of text), not by the file: a
 * COCO file of 450 MB would take several GB as one tree. Nesting inside an element is bounded by
 * jansson (2048 levels). */
#ifndef CR_EVAL_JSON_WALK_H
#define CR_EVAL_JSON_WALK_H

#include <jansson.h>

#include "base/error.h"

typedef struct cr_json_walk {
    const char *path; /* for messages; the caller's */
    unsigned char *bytes;
    size_t size, at;
} cr_json_walk;

/* Reads the file (at most `limit` bytes); close also after a failure is fine. */
cr_status cr_json_walk_open(cr_json_walk *w, const char *path, size_t limit, cr_error *err);
void cr_json_walk_close(cr_json_walk *w);

/* The next character that is not white space, 0 at the end. */
char cr_json_peek(cr_json_walk *w);

/* Takes the character `c`; CR_ERR_FORMAT if another one is next. */
cr_status cr_json_take(cr_json_walk *w, char c, cr_error *err);

/* Fails unless nothing follows. */
cr_status cr_json_end(cr_json_walk *w, cr_error *err);

/* One whole value of at most 16 MiB; *out is a new reference (json_decref). */
cr_status cr_json_value(cr_json_walk *w, json_t **out, cr_error *err);

/* One element of an array: what messages need to name it, and the value, which must be an object.
 */
typedef struct cr_json_item {
    const char *path, *kind; /* "instances.json", "annotation" */
    size_t index;            /* 0-based place in the array */
    const json_t *object;
} cr_json_item;

typedef cr_status (*cr_json_item_fn)(void *ctx, const cr_json_item *item, cr_error *err);

/* Calls fn for each element of the array that is next (all must be objects). */
cr_status cr_json_items(cr_json_walk *w, const char *kind, cr_json_item_fn fn, void *ctx,
                        cr_error *err);

/* Skips the value that is next, an array of any length included. */
cr_status cr_json_skip(cr_json_walk *w, cr_error *err);

/* Members of an item. An absent or null member is an error; has says whether one is there. Integers
 * may be written as 5.0 (table tools do that). Reals are finite, as JSON has no others. */
bool cr_json_has(const cr_json_item *item, const char *key);
cr_status cr_json_int(const cr_json_item *item, const char *key, int64_t *out, cr_error *err);
cr_status cr_json_real(const cr_json_item *item, const char *key, double *out, cr_error *err);
cr_status cr_json_text(const cr_json_item *item, const char *key, const char **out, cr_error *err);
cr_status cr_json_bbox(const cr_json_item *item, double out[4], cr_error *err);

#endif
