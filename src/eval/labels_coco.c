/* COCO instances JSON: {"images": [...], "annotations": [...], "categories": [...]} in any order,
 * other members skipped. Field meanings: cocodataset.org, "Data format". */
#include <limits.h>
#include <string.h>

#include "eval/keypoint_pairs.h"
#include "eval/json_walk.h"
#include "eval/label_shapes.h"

static const size_t LIMIT = (size_t)1 << 30;

static cr_status read_extent(const cr_json_item *item, const char *key, int *out, cr_error *err)
{
    *out = 0;
    if (!cr_json_has(item, key)) return CR_OK;
    int64_t value;
    CR_TRY(cr_json_int(item, key, &value, err));
    CR_CHECK(value >= 0 && value <= INT_MAX, err, CR_ERR_FORMAT,
             "%s: image %zu: \"%s\" is %lld, not a size in pixels", item->path, item->index, key,
             (long long)value);
    *out = (int)value;
    return CR_OK;
}

static cr_status on_image(void *ctx, const cr_json_item *item, cr_error *err)
{
    cr_label_image image = {0};
    CR_TRY(cr_json_int(item, "id", &image.id, err));
    CR_TRY(cr_json_text(item, "file_name", &image.file_name, err));
    CR_TRY(read_extent(item, "width", &image.width, err));
    CR_TRY(read_extent(item, "height", &image.height, err));
    return cr_labels_add_image(ctx, &image, err);
}

static cr_status on_category(void *ctx, const cr_json_item *item, cr_error *err)
{
    int64_t id;
    const char *name;
    CR_TRY(cr_json_int(item, "id", &id, err));
    CR_TRY(cr_json_text(item, "name", &name, err));
    cr_labels *l = ctx;
    if (l->parts & CR_LABEL_KEYPOINTS)
        CR_TRY(cr_labels_pair_names(l, json_object_get(item->object, "keypoints"), err));
    return cr_labels_add_category(l, id, name, err);
}

static cr_status read_crowd(const cr_json_item *item, bool *crowd, cr_error *err)
{
    const json_t *v = json_object_get(item->object, "iscrowd");
    *crowd = json_is_true(v);
    if (!v || json_is_null(v) || json_is_boolean(v)) return CR_OK;
    int64_t value;
    CR_TRY(cr_json_int(item, "iscrowd", &value, err));
    *crowd = value != 0;
    return CR_OK;
}

/* An object whose num_keypoints is 0 has none, whatever the list says. */
static cr_status read_points(cr_labels *l, const cr_json_item *item, cr_label_box *box,
                             cr_error *err)
{
    int64_t labelled = 1;
    if (cr_json_has(item, "num_keypoints"))
        CR_TRY(cr_json_int(item, "num_keypoints", &labelled, err));
    CR_TRY(cr_json_points(item, &l->arena, &box->keypoints, &box->keypoint_count, err));
    if (!labelled) box->keypoint_count = 0;
    return CR_OK;
}

static cr_status on_annotation(void *ctx, const cr_json_item *item, cr_error *err)
{
    cr_labels *l = ctx;
    cr_label_box box = {0};
    double xywh[4];
    CR_TRY(cr_json_int(item, "id", &box.id, err));
    CR_TRY(cr_json_int(item, "image_id", &box.image_id, err));
    CR_TRY(cr_json_int(item, "category_id", &box.category_id, err));
    CR_TRY(cr_json_bbox(item, xywh, err));
    box.x = xywh[0], box.y = xywh[1], box.w = xywh[2], box.h = xywh[3];
    box.area = box.w * box.h;
    const bool has_area = cr_json_has(item, "area");
    if (l->parts & CR_LABEL_KEYPOINTS) box.area *= CR_COCO_BODY_SHARE;
    if (has_area) CR_TRY(cr_json_real(item, "area", &box.area, err));
    CR_TRY(read_crowd(item, &box.crowd, err));
    if (l->parts & CR_LABEL_MASKS)
        CR_TRY(cr_labels_read_segmentation(l, item, &box, !has_area, err));
    if (l->parts & CR_LABEL_KEYPOINTS) CR_TRY(read_points(l, item, &box, err));
    if (l->parts & CR_LABEL_CORNERS) CR_TRY(cr_labels_read_corners(l, item, &box, !has_area, err));
    return cr_labels_add_box(l, &box, err);
}

static const struct {
    const char *key, *kind;
    cr_json_item_fn fn;
} LISTS[] = {{"images", "image", on_image},
             {"annotations", "annotation", on_annotation},
             {"categories", "category", on_category}};
enum { LIST_COUNT = sizeof LISTS / sizeof LISTS[0] };

static cr_status read_member(cr_json_walk *w, bool seen[LIST_COUNT], cr_labels *l, cr_error *err)
{
    CR_CHECK(cr_json_peek(w) == '"', err, CR_ERR_FORMAT,
             "%s: not the expected JSON: no member name at byte %zu", w->path, w->at);
    json_t *key = NULL;
    CR_TRY(cr_json_value(w, &key, err));
    size_t which = 0;
    while (which < LIST_COUNT && strcmp(json_string_value(key), LISTS[which].key)) which++;
    json_decref(key);
    CR_TRY(cr_json_take(w, ':', err));
    if (which == LIST_COUNT) return cr_json_skip(w, err);
    CR_CHECK(!seen[which], err, CR_ERR_FORMAT, "%s: \"%s\" occurs twice", w->path,
             LISTS[which].key);
    seen[which] = true;
    CR_CHECK(cr_json_peek(w) == '[', err, CR_ERR_FORMAT, "%s: \"%s\" is not an array", w->path,
             LISTS[which].key);
    return cr_json_items(w, LISTS[which].kind, LISTS[which].fn, l, err);
}

static cr_status read_members(cr_json_walk *w, cr_labels *l, cr_error *err)
{
    bool seen[LIST_COUNT] = {false};
    CR_CHECK(cr_json_peek(w) == '{', err, CR_ERR_FORMAT,
             "%s: not a COCO labels file: it must be a JSON object with images, annotations and "
             "categories",
             w->path);
    CR_TRY(cr_json_take(w, '{', err));
    if (cr_json_peek(w) != '}') {
        CR_TRY(read_member(w, seen, l, err));
        while (cr_json_peek(w) == ',') {
            CR_TRY(cr_json_take(w, ',', err));
            CR_TRY(read_member(w, seen, l, err));
        }
    }
    CR_TRY(cr_json_take(w, '}', err));
    for (size_t i = 0; i < LIST_COUNT; i++)
        CR_CHECK(seen[i], err, CR_ERR_FORMAT, "%s: not a COCO labels file: \"%s\" is missing",
                 w->path, LISTS[i].key);
    return cr_json_end(w, err);
}

cr_status cr_labels_read_coco(const char *path, cr_labels *l, cr_error *err)
{
    cr_json_walk w;
    cr_status st = cr_json_walk_open(&w, path, LIMIT, err);
    if (st == CR_OK) st = read_members(&w, l, err);
    cr_json_walk_close(&w);
    return st;
}
