/* Architectures: networks made from a table instead of a file, with weights drawn from a seed.
 *
 *     cr_arch_options o = {.name = "yolov8n", .classes = 80, .height = 640, .width = 640,
 *                          .batch = 16, .seed = 1, .training = true};
 *     cr_arch_graph(&o, &graph, &layout, &err);
 *
 * The same options but `training` and `batch` give the same weights by the same names: what is learnt
 * in the one form belongs to the other.
 *
 *   training   [N,3,H,W] in 0..1; BatchNormalization kept; outputs are the branches as they leave
 *              the last convolutions, in the order of cr_arch_layout
 *   otherwise  [1,3,H,W]; decoded as Ultralytics' exports are: output0 [1, 4 + classes + extra, A],
 *              segmentation with prototypes as output1; classifiers [1, classes]. Metadata is that
 *              of those exports, so every verb reads the file.
 *
 * Names are a size (cr_arch_names) and a task: "yolov8n", "yolov8n-seg", "pico-pose", "pico-cls". */
#ifndef CR_TRAIN_ARCH_H
#define CR_TRAIN_ARCH_H

#include "graph/graph.h"

typedef enum cr_arch_task {
    CR_ARCH_DETECT,
    CR_ARCH_SEGMENT,
    CR_ARCH_POSE,
    CR_ARCH_CLASSIFY
} cr_arch_task;

typedef struct cr_arch_options {
    const char *name;
    int classes;                    /* 1..10000 */
    const char *const *class_names; /* [classes], or NULL: their numbers; only for the metadata */
    int keypoints, keypoint_dims;   /* pose: how many, 2 or 3 numbers each */
    int height, width;              /* multiples of the largest stride */
    int batch;                      /* training only, 1..1024 */
    bool training;
    uint64_t seed;
} cr_arch_options;

enum { CR_ARCH_LEVELS = 3, CR_ARCH_BINS = 16, CR_ARCH_MASKS = 32 };

/* Outputs of a training graph: box, score and extra of level 0, then of level 1, ...; prototypes
 * last. Box [N, 4 * bins, h, w] distances left, top, right, bottom; score [N, classes, h, w] logits;
 * extra [N, keypoints * dims, h, w] or [N, masks, h, w]; prototypes [N, masks, H / 4, W / 4] (of
 * half the finest level's stride). A classifier has one output, [N, classes] logits. */
typedef struct cr_arch_layout {
    cr_arch_task task;
    int levels, per_level; /* outputs per level: 2 or 3 */
    int stride[CR_ARCH_LEVELS];
    int bins, masks;
} cr_arch_layout;

/* CR_ERR_ARGUMENT: a name that is not known (the message lists those that are) or sizes that do not
 * fit. The caller owns *out; it is indexed and inferred. */
cr_status cr_arch_graph(const cr_arch_options *o, cr_graph **out, cr_arch_layout *layout,
                        cr_error *err);
/* "pico, yolov8n, yolov8s, yolov8m". */
const char *cr_arch_names(void);
/* Task of a name; false if there is no such name. */
bool cr_arch_find_task(const char *name, cr_arch_task *task);

#endif
