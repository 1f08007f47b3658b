/* mAP of a detector on labelled pictures: evaluate MODEL.onnx FOLDER instances.json */
#include <stdio.h>
#include <stdlib.h>

#include "crayon/eval.h"
#include "crayon/runtime.h"

typedef struct results {
    cr_coco_box *boxes;
    size_t count;
} results;

/* Appends what the detector finds in one picture; class k is taken as the labels' k-th category. */
static cr_status look(cr_detector *detector, const char *path, const cr_labels *labels, results *r,
                      cr_error *err)
{
    const cr_label_image *image = cr_labels_find_image(labels, path);
    const cr_detect_options options = cr_detect_options_eval();
    cr_image picture;
    cr_detections found = {0};
    if (!image) return CR_OK;
    cr_status st = cr_image_read(path, &picture, err);
    if (st != CR_OK) return st;
    st = cr_detector_run(detector, &picture, &options, &found, err);
    cr_image_free(&picture);
    cr_coco_box *grown = realloc(r->boxes, (r->count + found.count + 1) * sizeof *grown);
    if (!grown) {
        cr_detections_free(&found);
        return CR_ERR_MEMORY;
    }
    r->boxes = grown;
    for (size_t i = 0; st == CR_OK && i < found.count; i++) {
        const cr_detection *d = &found.items[i];
        const cr_label_category *c = cr_labels_category(labels, (size_t)d->class_id);
        if (!c) continue;
        r->boxes[r->count++] = (cr_coco_box){
            image->id, c->id, d->box[0], d->box[1], d->box[2] - d->box[0], d->box[3] - d->box[1],
            d->score};
    }
    cr_detections_free(&found);
    return st;
}

int main(int argc, char **argv)
{
    cr_error err = {0};
    cr_model *model = NULL;
    cr_detector *detector = NULL;
    cr_labels *labels = NULL;
    cr_image_list pictures = {0};
    cr_coco_metrics m;
    results r = {0};
    if (argc != 4) {
        fprintf(stderr, "usage: evaluate MODEL.onnx FOLDER instances.json\n");
        return 2;
    }
    cr_status st = cr_labels_load(argv[3], &labels, &err);
    if (st == CR_OK) st = cr_image_list_open(argv[2], &pictures, &err);
    if (st == CR_OK) st = cr_model_open(argv[1], NULL, &model, &err);
    if (st == CR_OK) st = cr_detector_create(model, 0, &detector, &err);
    for (size_t i = 0; st == CR_OK && i < pictures.count; i++)
        st = look(detector, pictures.paths[i], labels, &r, &err);
    if (st == CR_OK) st = cr_coco_evaluate(labels, r.boxes, r.count, NULL, 0, &m, &err);
    if (st == CR_OK) printf("mAP50-95 %.4f, mAP50 %.4f\n", m.ap, m.ap50);
    free(r.boxes);
    cr_detector_free(&detector);
    cr_model_free(&model);
    cr_image_list_free(&pictures);
    cr_labels_free(&labels);
    if (st != CR_OK) fprintf(stderr, "evaluate: %s\n", err.message);
    return st == CR_OK ? 0 : 1;
}
