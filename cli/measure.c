/* Runs a model over pictures and keeps what it found: the measuring half of quantize, eval and
 * compare. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "crayon/cluster.h"

/* Makes room for one more element; false: no memory. */
static bool grow(void **items, size_t *cap, size_t count, size_t size)
{
    if (count < *cap) return true;
    const size_t more = *cap ? *cap * 2 : 1024;
    void *grown = realloc(*items, more * size);
    if (!grown) return false;
    *items = grown;
    *cap = more;
    return true;
}

/* These give the box that comes next its keypoints, its corners and its mask. */
static cr_status push_points(cli_boxes *b, const float *points, size_t keypoints, cr_error *err)
{
    const size_t each = 3 * keypoints;
    b->keypoints = keypoints;
    if (!grow((void **)&b->points, &b->point_cap, b->count, each * sizeof *b->points))
        return cli_error(err, CR_ERR_MEMORY, "out of memory for keypoints");
    for (size_t i = 0; i < each; i++) b->points[b->count * each + i] = (double)points[i];
    return CR_OK;
}

static cr_status push_corners(cli_boxes *b, const float corners[8], cr_error *err)
{
    if (!grow((void **)&b->corners, &b->corner_cap, b->count, 8 * sizeof *b->corners))
        return cli_error(err, CR_ERR_MEMORY, "out of memory for corners");
    for (size_t i = 0; i < 8; i++) b->corners[8 * b->count + i] = (double)corners[i];
    return CR_OK;
}

static cr_status push_mask(cli_boxes *b, const cr_mask *mask, const cr_placement *place,
                           cr_error *err)
{
    char *text;
    if (!grow((void **)&b->masks, &b->mask_cap, b->count, sizeof *b->masks))
        return cli_error(err, CR_ERR_MEMORY, "out of memory for masks");
    const cr_status st = cr_mask_to_rle(mask, place->src_width, place->src_height, &text, err);
    if (st == CR_OK)
        b->masks[b->count] = (cr_coco_mask){place->src_height, place->src_width, text};
    return st;
}

/* Corners become extents in double: the difference of two float32 is exact there. */
static cr_status keep(const cr_detections *found, const cr_placement *place, int64_t id,
                      cli_boxes *out, cr_error *err)
{
    for (size_t i = 0; i < found->count; i++) {
        const cr_detection *d = &found->items[i];
        const double x = d->box[0], y = d->box[1];
        const cr_coco_box box = {id, d->class_id, x, y, d->box[2] - x, d->box[3] - y, d->score};
        cr_status st = CR_OK;
        if (!grow((void **)&out->items, &out->cap, out->count, sizeof *out->items))
            st = cli_error(err, CR_ERR_MEMORY, "out of memory for %zu detections", out->count);
        if (st == CR_OK && d->keypoints)
            st = push_points(out, d->keypoints, (size_t)found->keypoint_count, err);
        if (st == CR_OK && d->oriented) st = push_corners(out, d->corners, err);
        if (st == CR_OK && d->mask) st = push_mask(out, d->mask, place, err);
        if (st != CR_OK) return st;
        out->items[out->count++] = box;
    }
    return CR_OK;
}

static cr_status keep_classes(const cr_detections *found, int64_t id, cli_boxes *out, cr_error *err)
{
    if (!found->count) return CR_OK;
    const cr_coco_box box = {id, found->items[0].class_id, 0, 0, 1, 1, found->items[0].score};
    if (!grow((void **)&out->items, &out->cap, out->count, sizeof *out->items) ||
        !grow((void **)&out->ranks, &out->rank_cap, out->count, sizeof *out->ranks))
        return cli_error(err, CR_ERR_MEMORY, "out of memory for classes");
    for (size_t k = 0; k < CLI_RANKS; k++)
        out->ranks[out->count][k] = k < found->count ? found->items[k].class_id : -1;
    out->items[out->count++] = box;
    return CR_OK;
}

static cr_status collect_one(cr_detector *detector, cli_reader *reader, bool classify,
                             const cr_detect_options *options, int64_t id, cli_boxes *out,
                             cr_error *err)
{
    cli_fitted *fitted;
    cr_detections found = {0};
    cr_status st = cli_reader_next(reader, &fitted, err);
    if (st != CR_OK) return st;
    st = cr_detector_run_pixels(detector, fitted->pixels, &fitted->place, options, &found, err);
    if (st == CR_OK)
        st = classify ? keep_classes(&found, id, out, err)
                      : keep(&found, &fitted->place, id, out, err);
    cr_detections_free(&found);
    return st;
}

static cr_status collect_all(const cr_model *model, int threads, const cli_pictures *pictures,
                             const cr_detect_options *options, const char *what, cli_boxes *out,
                             cr_error *err)
{
    const cr_model_info *info = cr_model_get_info(model);
    const bool classify = info->head.kind == CR_HEAD_CLASSIFY;
    cr_detector *detector = NULL;
    cli_reader *reader = NULL;
    cr_status st = cr_detector_create(model, threads, &detector, err);
    if (st == CR_OK)
        st = cli_reader_open(&reader, pictures->paths, pictures->count, &info->preprocess, threads,
                             err);
    for (size_t i = 0; st == CR_OK && i < pictures->count; i++) {
        st = collect_one(detector, reader, classify, options, pictures->ids[i], out, err);
        if (st == CR_OK && !cli_step(what, i + 1, pictures->count))
            st = cli_error(err, CR_ERR_CANCELLED, "cancelled");
    }
    cli_reader_close(&reader);
    cr_detector_free(&detector);
    return st;
}

cr_status cli_collect(const cr_model *model, int threads, const cli_pictures *pictures,
                      const cr_detect_options *options, const char *what, cli_boxes *out,
                      cr_error *err)
{
    const size_t n = pictures->count, begin = cli_share_begin(n, cr_cluster_rank()),
                 end = cli_share_begin(n, cr_cluster_rank() + 1);
    int64_t *ids = malloc((n + 1) * sizeof *ids);
    *out = (cli_boxes){0};
    cr_status st = ids ? CR_OK : cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (size_t i = 0; ids && i < n; i++) ids[i] = pictures->ids ? pictures->ids[i] : (int64_t)i + 1;
    if (ids) {
        const cli_pictures mine = {pictures->paths + begin, ids + begin, end - begin};
        st = collect_all(model, threads, &mine, options, what, out, err);
    }
    st = cli_boxes_gather(out, st, err);
    free(ids);
    if (st != CR_OK) cli_boxes_free(out);
    return st;
}

void cli_boxes_free(cli_boxes *boxes)
{
    for (size_t i = 0; boxes->masks && i < boxes->count; i++) free((char *)boxes->masks[i].counts);
    free(boxes->items);
    free(boxes->points);
    free(boxes->masks);
    free(boxes->corners);
    free(boxes->ranks);
    *boxes = (cli_boxes){0};
}

static void *copy_of(const void *from, size_t bytes, bool *ok)
{
    void *to = from ? malloc(bytes + 1) : NULL;
    if (to && bytes) memcpy(to, from, bytes);
    *ok = *ok && (to || !from);
    return to;
}

cr_status cli_boxes_copy(const cli_boxes *from, cli_boxes *to, cr_error *err)
{
    const size_t n = from->count;
    bool ok = true;
    *to = (cli_boxes){.count = n, .keypoints = from->keypoints};
    to->items = copy_of(from->items, n * sizeof *to->items, &ok);
    to->points = copy_of(from->points, 3 * n * from->keypoints * sizeof *to->points, &ok);
    to->corners = copy_of(from->corners, 8 * n * sizeof *to->corners, &ok);
    to->masks = copy_of(from->masks, n * sizeof *to->masks, &ok);
    for (size_t i = 0; to->masks && i < n; i++) {
        to->masks[i].counts = strdup(from->masks[i].counts);
        ok = ok && to->masks[i].counts;
    }
    return ok ? CR_OK : cli_error(err, CR_ERR_MEMORY, "out of memory");
}

cr_coco_results cli_results(const cli_boxes *b)
{
    return (cr_coco_results){b->items, b->count, b->masks, b->points, b->keypoints, b->corners};
}

void cli_boxes_rename(cli_boxes *b, const int64_t *ids, size_t n)
{
    const size_t each = 3 * b->keypoints;
    size_t kept = 0;
    for (size_t i = 0; i < b->count; i++) {
        const int64_t k = b->items[i].category_id;
        if (k < 0 || (size_t)k >= n || ids[k] == CR_NO_CATEGORY) {
            if (b->masks) free((char *)b->masks[i].counts);
            continue;
        }
        b->items[kept] = b->items[i];
        b->items[kept].category_id = ids[k];
        if (b->masks) b->masks[kept] = b->masks[i];
        if (b->points)
            memmove(b->points + kept * each, b->points + i * each, each * sizeof *b->points);
        if (b->corners)
            memmove(b->corners + kept * 8, b->corners + i * 8, 8 * sizeof *b->corners);
        kept++;
    }
    b->count = kept;
}

static double same_class_share(const cli_boxes *a, const cli_boxes *b)
{
    size_t same = 0;
    for (size_t i = 0; i < a->count && i < b->count; i++)
        same += a->items[i].category_id == b->items[i].category_id;
    return a->count ? (double)same / (double)a->count : NAN;
}

cr_status cli_agreement(const cr_model *model, const cli_boxes *a, const cli_boxes *b, double *out,
                        cr_error *err)
{
    cr_coco_metrics m;
    if (cr_model_get_info(model)->head.kind == CR_HEAD_CLASSIFY) {
        *out = same_class_share(a, b);
        return CR_OK;
    }
    const cr_status st =
        cr_coco_agreement(a->items, a->count, b->items, b->count, CR_AGREEMENT_CONF, &m, err);
    *out = st == CR_OK && m.ap >= 0 ? m.ap : NAN;
    return st;
}

const cli_shape_text *cli_shape(const cli_boxes *b)
{
    static const cli_shape_text keypoints = {"keypoints", "keypoint_agreement",
                                             "by object keypoint similarity (OKS)"};
    static const cli_shape_text oriented = {"oriented", "oriented_agreement",
                                            "by overlap of the boxes as they lie"};
    static const cli_shape_text masks = {"masks", "mask_agreement", "by overlap of masks"};
    return b->points ? &keypoints : b->corners ? &oriented : b->masks ? &masks : NULL;
}

cr_coco_metric cli_common_metric(const cli_boxes *a, const cli_boxes *b)
{
    if (a->points && b->points && a->keypoints == b->keypoints) return CR_COCO_KEYPOINTS;
    if (a->corners && b->corners) return CR_COCO_ORIENTED;
    return a->masks && b->masks ? CR_COCO_MASKS : CR_COCO_BOXES;
}

cr_status cli_shape_agreement(const cli_boxes *a, const cli_boxes *b, double *out, cr_error *err)
{
    cr_coco_metrics m;
    const cr_coco_results ours = cli_results(a), others = cli_results(b);
    const cr_coco_metric metric = cli_common_metric(a, b);
    *out = NAN;
    if (metric == CR_COCO_BOXES) return CR_OK;
    const cr_status st =
        cr_coco_agreement_results(&ours, &others, metric, CR_AGREEMENT_CONF, &m, err);
    *out = st == CR_OK && m.ap >= 0 ? m.ap : NAN;
    return st;
}
