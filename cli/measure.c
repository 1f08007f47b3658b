/* Runs a model over pictures and keeps what it found: the measuring half of quantize, eval and
 * compare. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static cr_status push(cli_boxes *b, const cr_coco_box *box, cr_error *err)
{
    if (b->count == b->cap) {
        const size_t cap = b->cap ? b->cap * 2 : 1024;
        cr_coco_box *grown = realloc(b->items, cap * sizeof *grown);
        if (!grown) return cli_error(err, CR_ERR_MEMORY, "out of memory for %zu detections", cap);
        b->items = grown;
        b->cap = cap;
    }
    b->items[b->count++] = *box;
    return CR_OK;
}

/* Makes room for the keypoints of one more box and copies them. */
static cr_status push_points(cli_boxes *b, const float *points, size_t keypoints, cr_error *err)
{
    const size_t each = 3 * keypoints, at = b->count * each;
    b->keypoints = keypoints;
    if (at + each > b->point_cap) {
        const size_t cap = 2 * (at + each);
        float *grown = realloc(b->points, cap * sizeof *grown);
        if (!grown) return cli_error(err, CR_ERR_MEMORY, "out of memory for keypoints");
        b->points = grown;
        b->point_cap = cap;
    }
    memcpy(b->points + at, points, each * sizeof *points);
    return CR_OK;
}

/* Corners become extents in double: the difference of two float32 is exact there. */
static cr_status keep(const cr_detections *found, int64_t id, cli_boxes *out, cr_error *err)
{
    for (size_t i = 0; i < found->count; i++) {
        const cr_detection *d = &found->items[i];
        const double x = d->box[0], y = d->box[1];
        const cr_coco_box box = {id, d->class_id, x, y, d->box[2] - x, d->box[3] - y, d->score};
        cr_status st = d->keypoints
                           ? push_points(out, d->keypoints, (size_t)found->keypoint_count, err)
                           : CR_OK;
        if (st == CR_OK) st = push(out, &box, err);
        if (st != CR_OK) return st;
    }
    return CR_OK;
}

static cr_status keep_best_class(const cr_detections *found, int64_t id, cli_boxes *out,
                                 cr_error *err)
{
    if (!found->count) return CR_OK;
    const cr_coco_box box = {id, found->items[0].class_id, 0, 0, 1, 1, 1};
    return push(out, &box, err);
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
        st = classify ? keep_best_class(&found, id, out, err) : keep(&found, id, out, err);
    cr_detections_free(&found);
    return st;
}

cr_status cli_collect(const cr_model *model, int threads, const cli_pictures *pictures,
                      const cr_detect_options *options, const char *what, cli_boxes *out,
                      cr_error *err)
{
    const cr_model_info *info = cr_model_get_info(model);
    const bool classify = info->head.kind == CR_HEAD_CLASSIFY;
    cr_detector *detector = NULL;
    cli_reader *reader = NULL;
    *out = (cli_boxes){0};
    cr_status st = cr_detector_create(model, threads, &detector, err);
    if (st == CR_OK)
        st = cli_reader_open(&reader, pictures->paths, pictures->count, &info->preprocess, threads,
                             err);
    for (size_t i = 0; st == CR_OK && i < pictures->count; i++) {
        const int64_t id = pictures->ids ? pictures->ids[i] : (int64_t)i + 1;
        st = collect_one(detector, reader, classify, options, id, out, err);
        if (st == CR_OK && !cli_step(what, i + 1, pictures->count))
            st = cli_error(err, CR_ERR_CANCELLED, "cancelled");
    }
    cli_reader_close(&reader);
    cr_detector_free(&detector);
    if (st != CR_OK) cli_boxes_free(out);
    return st;
}

void cli_boxes_free(cli_boxes *boxes)
{
    free(boxes->items);
    free(boxes->points);
    *boxes = (cli_boxes){0};
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

cr_status cli_keypoint_agreement(const cli_boxes *a, const cli_boxes *b, double *out, cr_error *err)
{
    cr_coco_metrics m;
    *out = NAN;
    if (!a->points || !b->points || a->keypoints != b->keypoints) return CR_OK;
    const cr_status st =
        cr_coco_agreement_keypoints(a->items, a->points, a->count, b->items, b->points, b->count,
                                    a->keypoints, CR_AGREEMENT_CONF, &m, err);
    *out = st == CR_OK && m.ap >= 0 ? m.ap : NAN;
    return st;
}
