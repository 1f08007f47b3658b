/* Detections in COCO's results form, read and written. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "crayon/eval.h"
#include "eval/json_walk.h"

static const size_t LIMIT = (size_t)4 << 30;

typedef struct box_list {
    cr_coco_box *items;
    size_t count, cap;
} box_list;

static cr_status on_box(void *ctx, const cr_json_item *item, cr_error *err)
{
    box_list *list = ctx;
    cr_coco_box box;
    double xywh[4];
    CR_TRY(cr_json_int(item, "image_id", &box.image_id, err));
    CR_TRY(cr_json_int(item, "category_id", &box.category_id, err));
    CR_TRY(cr_json_bbox(item, xywh, err));
    CR_TRY(cr_json_real(item, "score", &box.score, err));
    box.x = xywh[0], box.y = xywh[1], box.w = xywh[2], box.h = xywh[3];
    if (!cr_grow((void **)&list->items, &list->cap, list->count, sizeof *list->items))
        return CR_NOMEM(err);
    list->items[list->count++] = box;
    return CR_OK;
}

cr_status cr_coco_boxes_read(const char *path, cr_coco_box **out, size_t *n, cr_error *err)
{
    *out = NULL;
    *n = 0;
    box_list list = {0};
    cr_json_walk w;
    cr_status st;
    CR_TRY_GOTO(cr_json_walk_open(&w, path, LIMIT, err), done);
    if (cr_json_peek(&w) != '[') {
        st = cr_fail(err, CR_ERR_FORMAT, "%s: not COCO results: it must be a JSON array of boxes",
                     path);
        goto done;
    }
    CR_TRY_GOTO(cr_json_items(&w, "detection", on_box, &list, err), done);
    CR_TRY_GOTO(cr_json_end(&w, err), done);
    *out = list.items;
    *n = list.count;
    list.items = NULL;
done:
    cr_free(list.items);
    cr_json_walk_close(&w);
    return st;
}

void cr_coco_boxes_free(cr_coco_box **boxes)
{
    if (!boxes) return;
    cr_free(*boxes);
    *boxes = NULL;
}

/* Shortest of 15..17 digits that reads back as x; a locale's decimal comma becomes a point. */
static void put_real(FILE *f, double x)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    for (char *c = text; *c; c++)
        if (*c == ',') *c = '.';
    fputs(text, f);
}

static void put_box(FILE *f, const cr_coco_box *b)
{
    const double xywh[4] = {b->x, b->y, b->w, b->h};
    fprintf(f, "{\"image_id\":%lld,\"category_id\":%lld,\"bbox\":[", (long long)b->image_id,
            (long long)b->category_id);
    for (int i = 0; i < 4; i++) {
        if (i) fputc(',', f);
        put_real(f, xywh[i]);
    }
    fputs("],\"score\":", f);
    put_real(f, b->score);
    fputc('}', f);
}

static bool box_is_finite(const cr_coco_box *b)
{
    return isfinite(b->x) && isfinite(b->y) && isfinite(b->w) && isfinite(b->h) &&
           isfinite(b->score);
}

cr_status cr_coco_boxes_write(const char *path, const cr_coco_box *boxes, size_t n, cr_error *err)
{
    for (size_t i = 0; i < n; i++)
        CR_CHECK(box_is_finite(&boxes[i]), err, CR_ERR_ARGUMENT,
                 "%s: detection %zu is not finite and has no JSON form", path, i);
    cr_outfile *file;
    CR_TRY(cr_outfile_open(path, &file, err));
    FILE *f = cr_outfile_stream(file);
    fputc('[', f);
    for (size_t i = 0; i < n; i++) {
        if (i) fputs(",\n", f);
        put_box(f, &boxes[i]);
    }
    fputs("]\n", f);
    return cr_outfile_commit(&file, err);
}
