/* Finds objects in one picture: detect_one MODEL.onnx PICTURE [DRAWN.jpg] */
#include <stdio.h>

#include "crayon/runtime.h"

static cr_status detect(cr_detector *detector, const cr_model_info *info, const char *path,
                        const char *drawn, cr_error *err)
{
    cr_image picture;
    cr_detections found = {0};
    cr_status st = cr_image_read(path, &picture, err);
    if (st != CR_OK) return st;
    st = cr_detector_run(detector, &picture, NULL, &found, err);
    for (size_t i = 0; st == CR_OK && i < found.count; i++) {
        const cr_detection *d = &found.items[i];
        const char *name =
            (size_t)d->class_id < info->name_count ? info->names[d->class_id] : "object";
        printf("%-12s %.2f  %.0f %.0f %.0f %.0f\n", name, d->score, d->box[0], d->box[1], d->box[2],
               d->box[3]);
    }
    if (st == CR_OK && drawn)
        st = cr_draw_detections(&picture, &found, info->names, info->name_count, err);
    if (st == CR_OK && drawn) st = cr_image_write(drawn, &picture, err);
    cr_detections_free(&found);
    cr_image_free(&picture);
    return st;
}

int main(int argc, char **argv)
{
    cr_error err = {0};
    cr_model *model = NULL;
    cr_detector *detector = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: detect_one MODEL.onnx PICTURE [DRAWN.jpg]\n");
        return 2;
    }
    cr_status st = cr_model_open(argv[1], NULL, &model, &err);
    if (st == CR_OK) st = cr_detector_create(model, 0, &detector, &err);
    if (st == CR_OK)
        st = detect(detector, cr_model_get_info(model), argv[2], argc > 3 ? argv[3] : NULL, &err);
    cr_detector_free(&detector);
    cr_model_free(&model);
    if (st != CR_OK) fprintf(stderr, "detect_one: %s\n", err.message);
    return st == CR_OK ? 0 : 1;
}
