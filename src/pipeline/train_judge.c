#include "pipeline/train_judge.h"

#include <stdlib.h>

#include "base/error.h"
#include "crayon/runtime.h"
#include "train/dataset_store.h"

const char *cr_train_metric_name(cr_arch_task task)
{
    static const char *const names[] = {"mAP50-95", "mask mAP50-95", "keypoint mAP50-95", "top1"};
    return names[task];
}

typedef struct found {
    cr_coco_results r;
    size_t cap;
    bool masks;
    size_t hits, seen; /* classifiers */
} found;

static cr_status grow(found *f, size_t more, size_t keypoints, cr_error *err)
{
    if (f->r.count + more <= f->cap) return CR_OK;
    const size_t cap = 2 * (f->r.count + more);
    void *boxes = cr_realloc(f->r.boxes, cap * sizeof *f->r.boxes);
    if (boxes) f->r.boxes = boxes;
    void *masks = f->masks ? cr_realloc(f->r.masks, cap * sizeof *f->r.masks) : NULL;
    if (masks) f->r.masks = masks;
    void *points = keypoints ? cr_realloc(f->r.points, cap * 3 * keypoints * sizeof(double)) : NULL;
    if (points) f->r.points = points;
    if (!boxes || (f->masks && !masks) || (keypoints && !points)) return CR_NOMEM(err);
    f->r.keypoints = keypoints;
    f->cap = cap;
    return CR_OK;
}

static cr_status keep(found *f, const cr_detections *list, const cr_image *picture, int64_t id,
                      const int64_t *category, cr_error *err)
{
    const size_t keypoints = (size_t)list->keypoint_count;
    CR_TRY(grow(f, list->count, keypoints, err));
    for (size_t i = 0; i < list->count; i++) {
        const cr_detection *d = &list->items[i];
        const double x = d->box[0], y = d->box[1];
        if (f->masks && !d->mask) continue;
        if (f->masks) {
            char *text;
            CR_TRY(cr_mask_to_rle(d->mask, picture->width, picture->height, &text, err));
            f->r.masks[f->r.count] = (cr_coco_mask){picture->height, picture->width, text};
        }
        for (size_t k = 0; k < 3 * keypoints; k++)
            f->r.points[3 * keypoints * f->r.count + k] = (double)d->keypoints[k];
        f->r.boxes[f->r.count++] = (cr_coco_box){
            id, category[d->class_id], x, y, d->box[2] - x, d->box[3] - y, (double)d->score};
    }
    return CR_OK;
}

static void count_hit(found *f, const cr_detections *list, const cr_dataset *set, size_t picture)
{
    const cr_dataset_entry *e = &set->entry[picture];
    f->seen++;
    if (!list->count || !e->count) return;
    f->hits += list->items[0].class_id == set->object[e->first].class_id;
}

static cr_status look(cr_detector *d, const cr_dataset *set, size_t i,
                      const cr_detect_options *o, bool classify, const int64_t *category,
                      found *f, cr_error *err)
{
    cr_image picture;
    cr_detections list = {0};
    if (cr_image_read(cr_dataset_path(set, i), &picture, NULL) != CR_OK) return CR_OK;
    cr_status st = cr_detector_run(d, &picture, o, &list, err);
    if (st == CR_OK && classify) count_hit(f, &list, set, i);
    if (st == CR_OK && !classify) st = keep(f, &list, &picture, cr_dataset_image_id(set, i), category, err);
    cr_detections_free(&list);
    cr_image_free(&picture);
    return st;
}

static void release(found *f)
{
    for (size_t i = 0; f->r.masks && i < f->r.count; i++) free((char *)f->r.masks[i].counts);
    cr_free(f->r.boxes);
    cr_free(f->r.masks);
    cr_free(f->r.points);
}

static cr_status measure(const found *f, const cr_train_part *part, cr_arch_task task,
                         double *score, cr_error *err)
{
    static const cr_coco_metric metrics[] = {CR_COCO_BOXES, CR_COCO_MASKS, CR_COCO_KEYPOINTS};
    cr_coco_metrics m = {0};
    *score = 0;
    if (task == CR_ARCH_CLASSIFY) {
        if (f->seen) *score = (double)f->hits / (double)f->seen;
        return CR_OK;
    }
    if (!f->r.count) return CR_OK;
    int64_t *ids = cr_calloc(part->count, sizeof *ids);
    if (!ids) return CR_NOMEM(err);
    for (size_t i = 0; i < part->count; i++)
        ids[i] = cr_dataset_image_id(part->set, part->which[i]);
    const cr_status st = cr_coco_evaluate_results(cr_dataset_labels(part->set), &f->r, metrics[task],
                                                  ids, part->count, NULL, &m, err);
    cr_free(ids);
    if (m.ap > 0) *score = m.ap;
    return st;
}

cr_status cr_train_score(const cr_model *m, const cr_train_part *part, cr_arch_task task,
                         const int64_t *class_category, int threads, double *score, cr_error *err)
{
    cr_detector *d = NULL;
    cr_detect_options o = cr_detect_options_eval();
    found f = {.masks = task == CR_ARCH_SEGMENT};
    o.no_masks = !f.masks;
    if (cr_model_get_info(m)->head.kind == CR_HEAD_YOLOX) o.iou = .65f; /* as `eval` has it */
    cr_status st = cr_detector_create(m, threads, &d, err);
    for (size_t i = 0; st == CR_OK && i < part->count; i++)
        st = look(d, part->set, part->which[i], &o, task == CR_ARCH_CLASSIFY, class_category, &f,
                  err);
    cr_detector_free(&d);
    if (st == CR_OK) st = measure(&f, part, task, score, err);
    release(&f);
    return st;
}
