/* Synthetic labelled scenes: five shapes in clutter, drawn with exact ground truth. They make the
 * sample model's training set, and give every test and demo pictures with labels, without a
 * download.
 *
 *     cr_synth_options options = cr_synth_options_default();
 *     options.count = 200;
 *     cr_synth_write("scenes", &options, NULL, &err);
 *
 * Classes: circle, square, triangle, star, crayon (category ids 1..5 in this order). */
#ifndef CRAYON_SYNTH_H
#define CRAYON_SYNTH_H

#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a data set is for; it decides what the scenes look like, not only what is written. */
typedef enum cr_synth_task {
    CR_SYNTH_DETECT = 0,   /* all classes, shapes may hide each other */
    CR_SYNTH_SEGMENT = 1,  /* all classes, no shape hides another: polygons are the exact masks */
    CR_SYNTH_POSE = 2,     /* only shapes that have keypoints (no circle) */
    CR_SYNTH_CLASSIFY = 3, /* one large shape per picture, class = index % 5 */
    CR_SYNTH_TASKS
} cr_synth_task;

/* "detect", "segment", "pose", "classify"; NULL for other values. */
CR_API const char *cr_synth_task_name(cr_synth_task task);

typedef struct cr_synth_options {
    int count;         /* pictures, 1..1000000 */
    uint64_t seed;     /* picture i depends on seed and i alone: fewer pictures are a prefix */
    int width, height; /* pixels, 64..4096; both 0: sizes vary from picture to picture */
    cr_synth_task task;
} cr_synth_options;

/* 100 pictures, seed 0, sizes that vary around 320x256 (classify: around 96x96), detect. */
CR_API cr_synth_options cr_synth_options_default(void);

/* Writes DIR/images/000000.jpg ... and then DIR/instances.json (classify: DIR/CLASS/000000.jpg
 * and no JSON). Folders are made as needed; existing files of the same names are replaced. A folder
 * that holds more pictures of this kind than `count` is refused (CR_ERR_ARGUMENT): old pictures
 * would mix with the new labels.
 *
 * instances.json is in COCO form. Shapes are 12 pixels to half the picture's longer side. Labels
 * describe the whole shape as far as it lies inside the picture, whatever is drawn over it:
 * `segmentation` is one polygon (0.01 px), `bbox` [x,y,w,h] its exact extent, `area` its area in
 * square pixels. A shape of which later ones cover more than 70 % is left out of picture and
 * labels. `keypoints` (x,y,v) exist for square (4 corners), triangle (3), star (5 tips, centre)
 * and crayon (tip, end): corners and tips clockwise from the topmost one; v is 0 outside the
 * picture, 1 covered by another shape, 2 visible. Categories name their keypoints and skeleton.
 *
 * The same options give the same bytes (on one machine: other versions of cairo and libjpeg may
 * round differently). Errors: CR_ERR_ARGUMENT, CR_ERR_IO, CR_ERR_MEMORY, CR_ERR_CANCELLED. A
 * failure leaves complete pictures and no new instances.json. */
CR_API cr_status cr_synth_write(const char *dir, const cr_synth_options *options,
                                const cr_progress *progress, cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
