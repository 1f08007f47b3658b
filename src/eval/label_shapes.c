/* Masks and keypoints of labels. A polygon can become pixels only when the size of its picture is
 * known, and a COCO file may name its pictures last; polygons wait until the file has been read, run
 * lengths name their size themselves. Kept is COCO's compressed text: a hundredth of the pixels. */
#include <math.h>
#include <stdlib.h>

#include "eval/label_shapes.h"
#include "eval/mask_runs.h"
#include "eval/quad_overlap.h"

static const size_t POINTS_MAX = 1000;

static cr_status keep_runs(cr_labels *l, const cr_runs *runs, int width, int height,
                           const cr_coco_mask **out, cr_error *err)
{
    cr_coco_mask *mask = cr_arena_alloc(&l->arena, sizeof *mask);
    char *text = cr_runs_to_text(runs);
    if (mask && text)
        *mask = (cr_coco_mask){height, width, cr_arena_strdup(&l->arena, text)};
    free(text);
    if (!mask || !mask->counts) return CR_NOMEM(err);
    *out = mask;
    return CR_OK;
}

cr_status cr_labels_polygons(cr_labels *l, const cr_polygons *p, int width, int height,
                             cr_label_box *box, bool take_area, cr_error *err)
{
    cr_runs all = {0}, one = {0};
    cr_status st = CR_OK;
    const double *xy = p->xy;
    for (size_t i = 0; i < p->count; xy += 2 * p->corners[i++]) {
        CR_TRY_GOTO(
            cr_runs_from_polygon(xy, p->corners[i], width, height, i ? &one : &all, err), done);
        if (i) CR_TRY_GOTO(cr_runs_unite(&all, &one, err), done);
        cr_runs_free(&one);
    }
    if (take_area) box->area = (double)cr_runs_area(&all);
    st = keep_runs(l, &all, width, height, &box->mask, err);
done:
    cr_runs_free(&all);
    cr_runs_free(&one);
    return st;
}

/* ---- COCO ------------------------------------------------------------------------------------ */

static cr_status misshapen(const cr_json_item *item, const char *what, cr_error *err)
{
    return cr_fail(err, CR_ERR_FORMAT, "%s: %s %zu: %s", item->path, item->kind, item->index, what);
}

static cr_status read_numbers(const cr_json_item *item, const json_t *list, const char *what,
                              double *out, cr_error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v)) return misshapen(item, what, err);
        out[i] = json_number_value(v);
    }
    return CR_OK;
}

static cr_status read_polygons(cr_labels *l, const cr_json_item *item, const json_t *list,
                               bool take_area, cr_error *err)
{
    static const char shape[] = "\"segmentation\" is not a list of polygons, each x,y,x,y,x,y,...";
    const size_t n = json_array_size(list);
    size_t numbers = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t k = json_array_size(json_array_get(list, i));
        if (k < 6 || k % 2) return misshapen(item, shape, err);
        numbers += k;
    }
    double *xy = cr_arena_alloc(&l->waiting_memory, numbers * sizeof *xy), *at = xy;
    size_t *corners = cr_arena_alloc(&l->waiting_memory, n * sizeof *corners);
    if (!xy || !corners || !cr_grow((void **)&l->waiting, &l->waiting_cap, l->waiting_count,
                                    sizeof *l->waiting))
        return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++, at += 2 * corners[i - 1]) {
        const json_t *polygon = json_array_get(list, i);
        corners[i] = json_array_size(polygon) / 2;
        CR_TRY(read_numbers(item, polygon, shape, at, err));
    }
    l->waiting[l->waiting_count++] =
        (cr_waiting_mask){l->box_count, item->index, take_area, {xy, corners, n}};
    return CR_OK;
}

static cr_status read_counts(const json_t *counts, uint32_t pixels, cr_runs *out, cr_error *err)
{
    if (json_is_string(counts)) return cr_runs_from_text(json_string_value(counts), pixels, out, err);
    uint64_t sum = 0;
    for (size_t i = 0; i < json_array_size(counts); i++) {
        const json_t *v = json_array_get(counts, i);
        const json_int_t length = json_is_integer(v) ? json_integer_value(v) : -1;
        CR_CHECK(length >= 0 && length <= pixels, err, CR_ERR_FORMAT,
                 "\"counts\" %zu is no run length", i);
        if (!cr_runs_add(out, i & 1, (uint32_t)length)) return CR_NOMEM(err);
        sum += (uint64_t)length;
        if (sum > pixels) break;
    }
    CR_CHECK(sum == pixels, err, CR_ERR_FORMAT, "the runs of \"counts\" do not make the picture");
    return CR_OK;
}

cr_status cr_json_mask(const cr_json_item *item, const json_t *mask, cr_runs *out, int *width,
                       int *height, cr_error *err)
{
    const json_t *size = json_object_get(mask, "size");
    const json_t *counts = json_object_get(mask, "counts");
    const json_t *h = json_array_get(size, 0), *w = json_array_get(size, 1);
    if (json_array_size(size) != 2 || !json_is_integer(h) || !json_is_integer(w) ||
        !(json_is_string(counts) || json_is_array(counts)))
        return misshapen(item, "\"segmentation\" has no \"size\": [h, w] and \"counts\"", err);
    const json_int_t sides[2] = {json_integer_value(h), json_integer_value(w)};
    for (int i = 0; i < 2; i++)
        if (sides[i] < 1 || sides[i] > CR_MASK_SIDE_MAX)
            return misshapen(item, "\"segmentation\": \"size\" is not that of a picture", err);
    *height = (int)sides[0];
    *width = (int)sides[1];
    cr_status st = cr_mask_check_size(*width, *height, err);
    if (st == CR_OK)
        st = read_counts(counts, (uint32_t)*width * (uint32_t)*height, out, err);
    if (st == CR_OK) return CR_OK;
    cr_runs_free(out);
    return cr_fail_prefix(err, st, "%s: %s %zu", item->path, item->kind, item->index);
}

cr_status cr_labels_read_segmentation(cr_labels *l, const cr_json_item *item, cr_label_box *box,
                                      bool take_area, cr_error *err)
{
    const json_t *v = json_object_get(item->object, "segmentation");
    if (!v || json_is_null(v) || (json_is_array(v) && !json_array_size(v))) return CR_OK;
    if (json_is_array(v)) return read_polygons(l, item, v, take_area, err);
    cr_runs runs = {0};
    int width, height;
    CR_TRY(cr_json_mask(item, v, &runs, &width, &height, err));
    if (take_area) box->area = (double)cr_runs_area(&runs);
    const cr_status st = keep_runs(l, &runs, width, height, &box->mask, err);
    cr_runs_free(&runs);
    return st;
}

cr_status cr_labels_corners(cr_labels *l, const double xy[8], cr_label_box *box, bool take_area,
                            cr_error *err)
{
    double *kept = cr_arena_alloc(&l->arena, 8 * sizeof *kept);
    if (!kept) return CR_NOMEM(err);
    for (int i = 0; i < 8; i++) {
        CR_CHECK(fabs(xy[i]) <= CR_MASK_COORDINATE_MAX, err, CR_ERR_FORMAT,
                 "a corner is absurdly far away");
        kept[i] = xy[i];
    }
    box->corners = kept;
    if (take_area) box->area = cr_quad_area(kept);
    return CR_OK;
}

cr_status cr_labels_read_corners(cr_labels *l, const cr_json_item *item, cr_label_box *box,
                                 bool take_area, cr_error *err)
{
    double xy[8];
    const json_t *v = json_object_get(item->object, "segmentation");
    const json_t *polygon = json_array_size(v) == 1 ? json_array_get(v, 0) : NULL;
    if (json_array_size(polygon) != 8) return CR_OK;
    CR_TRY(read_numbers(item, polygon, "\"segmentation\" holds no numbers", xy, err));
    const cr_status st = cr_labels_corners(l, xy, box, take_area, err);
    return st == CR_ERR_FORMAT
               ? cr_fail_prefix(err, st, "%s: %s %zu", item->path, item->kind, item->index)
               : st;
}

cr_status cr_json_points(const cr_json_item *item, cr_arena *arena, const double **out, size_t *n,
                         cr_error *err)
{
    static const char shape[] = "\"keypoints\" is not a list of x, y, v, x, y, v, ...";
    const json_t *v = json_object_get(item->object, "keypoints");
    const size_t numbers = json_array_size(v);
    *out = NULL;
    *n = 0;
    if (!v || json_is_null(v)) return CR_OK;
    if (!json_is_array(v) || numbers % 3 || numbers > 3 * POINTS_MAX)
        return misshapen(item, shape, err);
    if (!numbers) return CR_OK;
    double *xyv = cr_arena_alloc(arena, numbers * sizeof *xyv);
    if (!xyv) return CR_NOMEM(err);
    CR_TRY(read_numbers(item, v, shape, xyv, err));
    *out = xyv;
    *n = numbers / 3;
    return CR_OK;
}

/* ---- once the pictures are known -------------------------------------------------------------- */

static cr_status check_size(const cr_labels *l, const cr_label_box *b, const char *path,
                            cr_error *err)
{
    const cr_label_image *image = cr_labels_find_id(l, b->image_id);
    CR_CHECK(b->mask->width == image->width && b->mask->height == image->height, err, CR_ERR_FORMAT,
             "%s: annotation %lld has a mask of %dx%d pixels, its image has %dx%d", path,
             (long long)b->id, b->mask->width, b->mask->height, image->width, image->height);
    return CR_OK;
}

cr_status cr_labels_make_masks(cr_labels *l, const char *path, cr_error *err)
{
    for (size_t i = 0; i < l->waiting_count; i++) {
        const cr_waiting_mask *w = &l->waiting[i];
        cr_label_box *b = &l->boxes[w->box];
        const cr_label_image *image = cr_labels_find_id(l, b->image_id);
        CR_CHECK(image->width && image->height, err, CR_ERR_FORMAT,
                 "%s: image %lld has no \"width\" and \"height\", which its masks need", path,
                 (long long)image->id);
        const cr_status st = cr_labels_polygons(l, &w->polygons, image->width, image->height, b,
                                                w->take_area, err);
        if (st != CR_OK) return cr_fail_prefix(err, st, "%s: annotation %zu", path, w->annotation);
    }
    for (size_t i = 0; i < l->box_count; i++)
        if (l->boxes[i].mask) CR_TRY(check_size(l, &l->boxes[i], path, err));
    cr_arena_free(&l->waiting_memory);
    return CR_OK;
}

unsigned cr_labels_parts(const cr_labels *l)
{
    bool masks = l->box_count, corners = masks, points = false;
    for (size_t i = 0; i < l->box_count; i++) {
        masks = masks && l->boxes[i].mask;
        corners = corners && l->boxes[i].corners;
        points = points || l->boxes[i].keypoint_count;
    }
    return (masks ? CR_LABEL_MASKS : 0u) | (points ? CR_LABEL_KEYPOINTS : 0u) |
           (corners ? CR_LABEL_CORNERS : 0u);
}
