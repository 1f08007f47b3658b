/* Detections in COCO's results form, read and written: boxes, masks, keypoints. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "crayon/eval.h"
#include "eval/coco_match.h"
#include "eval/label_shapes.h"
#include "eval/mask_runs.h"
#include "eval/quad_overlap.h"

static const size_t LIMIT = (size_t)4 << 30;

typedef struct result_list {
    cr_coco_results r;
    size_t box_cap, mask_cap, point_cap, corner_cap;
    bool bbox, mask, points, corners; /* what the first element has */
    cr_arena scratch;
} result_list;

static cr_status grow_list(result_list *l, cr_error *err)
{
    const size_t n = l->r.count;
    if (!cr_grow((void **)&l->r.boxes, &l->box_cap, n, sizeof *l->r.boxes) ||
        (l->mask && !cr_grow((void **)&l->r.masks, &l->mask_cap, n, sizeof *l->r.masks)) ||
        (l->points && !cr_grow((void **)&l->r.points, &l->point_cap, n,
                               3 * l->r.keypoints * sizeof *l->r.points)) ||
        (l->corners && !cr_grow((void **)&l->r.corners, &l->corner_cap, n, 8 * sizeof *l->r.corners)))
        return CR_NOMEM(err);
    return CR_OK;
}

static cr_status lacks(const cr_json_item *item, const char *key, cr_error *err)
{
    return cr_fail(err, CR_ERR_FORMAT, "%s: %s %zu: \"%s\" is missing or unlike the first one's",
                   item->path, item->kind, item->index, key);
}

/* The mask of the element that is next, and its extent. */
static cr_status take_mask(result_list *l, const cr_json_item *item, double xywh[4], cr_error *err)
{
    cr_runs runs = {0};
    int width, height;
    const json_t *v = json_object_get(item->object, "segmentation");
    if (!json_is_object(v)) return lacks(item, "segmentation", err);
    CR_TRY(cr_json_mask(item, v, &runs, &width, &height, err));
    char *text = cr_runs_to_text(&runs);
    cr_runs_box(&runs, height, xywh);
    cr_runs_free(&runs);
    if (!text) return CR_NOMEM(err);
    l->r.masks[l->r.count] = (cr_coco_mask){height, width, text};
    return CR_OK;
}

static cr_status take_points(result_list *l, const cr_json_item *item, double xywh[4],
                             cr_error *err)
{
    const double *points;
    size_t n;
    CR_TRY(cr_json_points(item, &l->scratch, &points, &n, err));
    if (!n || n != l->r.keypoints) return lacks(item, "keypoints", err);
    memcpy(l->r.points + l->r.count * n * 3, points, n * 3 * sizeof *points);
    cr_coco_points_box(points, n, xywh);
    CR_CHECK(isfinite(xywh[2]) && isfinite(xywh[3]), err, CR_ERR_FORMAT,
             "%s: %s %zu: \"keypoints\" lie too far apart", item->path, item->kind, item->index);
    return CR_OK;
}

static cr_status take_corners(result_list *l, const cr_json_item *item, double xywh[4],
                              cr_error *err)
{
    const json_t *v = json_object_get(item->object, "poly");
    double *out = l->r.corners + 8 * l->r.count;
    if (json_array_size(v) != 8) return lacks(item, "poly", err);
    for (size_t i = 0; i < 8; i++) {
        if (!json_is_number(json_array_get(v, i))) return lacks(item, "poly", err);
        out[i] = json_number_value(json_array_get(v, i));
    }
    cr_quad_box(out, xywh);
    CR_CHECK(isfinite(xywh[2]) && isfinite(xywh[3]), err, CR_ERR_FORMAT,
             "%s: %s %zu: the corners of \"poly\" lie too far apart", item->path, item->kind,
             item->index);
    return CR_OK;
}

static void look_at_first(result_list *l, const cr_json_item *item)
{
    l->mask = json_is_object(json_object_get(item->object, "segmentation"));
    const size_t numbers = json_array_size(json_object_get(item->object, "keypoints"));
    l->points = numbers >= 3;
    l->r.keypoints = numbers / 3;
    l->corners = json_is_array(json_object_get(item->object, "poly"));
    l->bbox = cr_json_has(item, "bbox") || (!l->mask && !l->points && !l->corners);
}

/* A mask is the list's only once the element is counted; until then it is freed here. */
static cr_status take_element(result_list *l, const cr_json_item *item, cr_error *err)
{
    cr_coco_box *box = &l->r.boxes[l->r.count];
    double xywh[4];
    CR_TRY(cr_json_int(item, "image_id", &box->image_id, err));
    CR_TRY(cr_json_int(item, "category_id", &box->category_id, err));
    CR_TRY(cr_json_real(item, "score", &box->score, err));
    if (l->points) CR_TRY(take_points(l, item, xywh, err));
    if (l->corners) CR_TRY(take_corners(l, item, xywh, err));
    if (l->mask) CR_TRY(take_mask(l, item, xywh, err));
    l->r.count++;
    if (l->bbox) CR_TRY(cr_json_bbox(item, xywh, err));
    box->x = xywh[0], box->y = xywh[1], box->w = xywh[2], box->h = xywh[3];
    return CR_OK;
}

static cr_status on_box(void *ctx, const cr_json_item *item, cr_error *err)
{
    result_list *l = ctx;
    if (!item->index) look_at_first(l, item);
    CR_TRY(grow_list(l, err));
    const cr_status st = take_element(l, item, err);
    cr_arena_free(&l->scratch);
    return st;
}

cr_status cr_coco_results_read(const char *path, cr_coco_results *out, cr_error *err)
{
    *out = (cr_coco_results){0};
    result_list list = {0};
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
    *out = list.r;
    list.r = (cr_coco_results){0};
done:
    cr_coco_results_free(&list.r);
    cr_json_walk_close(&w);
    return st;
}

void cr_coco_results_free(cr_coco_results *r)
{
    if (!r) return;
    for (size_t i = 0; r->masks && i < r->count; i++) free((char *)r->masks[i].counts);
    cr_free(r->boxes);
    cr_free(r->masks);
    cr_free(r->points);
    cr_free(r->corners);
    *r = (cr_coco_results){0};
}

cr_status cr_coco_boxes_read(const char *path, cr_coco_box **out, size_t *n, cr_error *err)
{
    cr_coco_results r;
    *out = NULL;
    *n = 0;
    CR_TRY(cr_coco_results_read(path, &r, err));
    *out = r.boxes;
    *n = r.count;
    r.boxes = NULL;
    cr_coco_results_free(&r);
    return CR_OK;
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

static void put_reals(FILE *f, const char *key, const double *v, size_t n)
{
    fprintf(f, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        if (i) fputc(',', f);
        put_real(f, v[i]);
    }
    fputs("],", f);
}

/* JSON's only character of a run-length text that needs care is the backslash. */
static void put_mask(FILE *f, const cr_coco_mask *m)
{
    fprintf(f, "\"segmentation\":{\"size\":[%d,%d],\"counts\":\"", m->height, m->width);
    for (const char *c = m->counts; *c; c++) {
        if (*c == '\\') fputc('\\', f);
        fputc(*c, f);
    }
    fputs("\"},", f);
}

static void put_result(FILE *f, const cr_coco_results *r, cr_coco_metric metric, size_t i)
{
    const cr_coco_box *b = &r->boxes[i];
    const double xywh[4] = {b->x, b->y, b->w, b->h};
    const size_t each = 3 * r->keypoints;
    fprintf(f, "{\"image_id\":%lld,\"category_id\":%lld,", (long long)b->image_id,
            (long long)b->category_id);
    if (metric == CR_COCO_BOXES) put_reals(f, "bbox", xywh, 4);
    if (metric == CR_COCO_MASKS) put_mask(f, &r->masks[i]);
    if (metric == CR_COCO_KEYPOINTS) put_reals(f, "keypoints", r->points + i * each, each);
    if (metric == CR_COCO_ORIENTED) put_reals(f, "poly", r->corners + 8 * i, 8);
    fputs("\"score\":", f);
    put_real(f, b->score);
    fputc('}', f);
}

static bool is_finite(const cr_coco_results *r, cr_coco_metric metric, size_t i)
{
    const cr_coco_box *b = &r->boxes[i];
    bool ok = isfinite(b->x) && isfinite(b->y) && isfinite(b->w) && isfinite(b->h) &&
              isfinite(b->score);
    const size_t each = metric == CR_COCO_KEYPOINTS ? 3 * r->keypoints : 0;
    for (size_t k = 0; k < each; k++) ok = ok && isfinite(r->points[i * each + k]);
    for (size_t k = 0; metric == CR_COCO_ORIENTED && k < 8; k++) ok = ok && isfinite(r->corners[8 * i + k]);
    return ok;
}

/* Only texts that could come out of a reader are written: a quote would end the JSON. */
static cr_status check_mask(const cr_coco_results *r, size_t i, cr_error *err)
{
    cr_runs runs = {0};
    const cr_status st = cr_mask_runs(&r->masks[i], "detection", i, &runs, err);
    cr_runs_free(&runs);
    return st;
}

cr_status cr_coco_results_write(const char *path, const cr_coco_results *r, cr_coco_metric metric,
                                cr_error *err)
{
    CR_CHECK(!r->count || metric != CR_COCO_MASKS || r->masks, err, CR_ERR_ARGUMENT,
             "the detections have no masks");
    CR_CHECK(!r->count || metric != CR_COCO_KEYPOINTS || r->points, err, CR_ERR_ARGUMENT,
             "the detections have no keypoints");
    CR_CHECK(!r->count || metric != CR_COCO_ORIENTED || r->corners, err, CR_ERR_ARGUMENT,
             "the detections have no corners");
    for (size_t i = 0; i < r->count; i++) {
        CR_CHECK(is_finite(r, metric, i), err, CR_ERR_ARGUMENT,
                 "%s: detection %zu is not finite and has no JSON form", path, i);
        if (metric == CR_COCO_MASKS) CR_TRY(check_mask(r, i, err));
    }
    cr_outfile *file;
    CR_TRY(cr_outfile_open(path, &file, err));
    FILE *f = cr_outfile_stream(file);
    fputc('[', f);
    for (size_t i = 0; i < r->count; i++) {
        if (i) fputs(",\n", f);
        put_result(f, r, metric, i);
    }
    fputs("]\n", f);
    return cr_outfile_commit(&file, err);
}

cr_status cr_coco_boxes_write(const char *path, const cr_coco_box *boxes, size_t n, cr_error *err)
{
    const cr_coco_results r = {.boxes = (cr_coco_box *)boxes, .count = n};
    return cr_coco_results_write(path, &r, CR_COCO_BOXES, err);
}
