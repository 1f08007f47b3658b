/* From a network's outputs to boxes in the picture: heads, non-maximum suppression, drawing.
 *
 *     cr_head head;
 *     cr_detections found;
 *     const cr_detect_options options = cr_detect_options_default();
 *     if (cr_head_guess(outs, 1, "detect", 80, 0, 640, 640, &head, &err) == CR_OK &&
 *         cr_head_decode(&head, outs, 1, &place, &options, &found, &err) == CR_OK)
 *         for (size_t i = 0; i < found.count; i++) ...
 *     cr_detections_free(&found); */
#ifndef CRAYON_DETECT_H
#define CRAYON_DETECT_H

#include "crayon/image.h"
#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The pixels of an object, within its box. */
typedef struct cr_mask {
    int x, y, width, height; /* source pixels; width and height may be 0 */
    uint8_t *on;             /* [height, width], 0 or 1 */
} cr_mask;

typedef struct cr_detection {
    int class_id;
    float score;      /* as the network gives it; object times class for YOLOv5 and YOLOX */
    float box[4];     /* x1, y1, x2, y2 in source pixels, inside the picture */
    float *keypoints; /* [keypoint_count, 3] x, y, score in source pixels, or NULL; the list's */
    const cr_mask *mask; /* of segmentation models, or NULL; the list's */
    bool oriented;    /* `corners` holds the box as it lies; `box` is the upright one around it */
    float corners[8]; /* x, y of four corners in source pixels, in turn */
    int track;        /* number given by cr_tracker_update, from 1; 0: none */
    int index;        /* row of the network's output it came from; levels are counted on */
} cr_detection;

typedef struct cr_detections {
    cr_detection *items; /* best score first, owned */
    size_t count;
    int keypoint_count; /* per detection, 0: none */
    float
        *keypoint_block; /* [count, keypoint_count, 3], owned; what items[i].keypoints point into */
    cr_mask *masks;      /* [mask_count], owned; what items[i].mask point into */
    size_t mask_count;
} cr_detections;

CR_API void cr_detections_free(cr_detections *list);

/* What an output tensor holds. N is the number of candidate rows, nc of classes. */
typedef enum cr_head_kind {
    CR_HEAD_NONE,    /* none of these */
    CR_HEAD_YOLOV8,  /* [1, 4 + nc (+ masks), N] x,y,w,h, scores: YOLOv8, v9, 11, 12; or transposed
                      */
    CR_HEAD_YOLOV5,  /* [1, N, 5 + nc (+ masks)] decoded x,y,w,h, object, scores: YOLOv5, 6, 7 */
    CR_HEAD_YOLOX,   /* [1, N, 5 + nc] offsets in grid cells, log sizes, object, scores */
    CR_HEAD_POSE,    /* [1, 4 + nc + K * dims, N] YOLOv8-pose; or transposed */
    CR_HEAD_NANODET, /* per stride [n, nc] scores and [n, 4 * bins] distance logits, any order
                        (NanoDet, PicoDet); or [1, N, nc + 4 * bins] (NanoDet-Plus) */
    CR_HEAD_END2END, /* [1, N, 6 (+ K * dims or masks)] x1,y1,x2,y2, score, class: YOLOv10, 26 */
    CR_HEAD_CLASSIFY, /* [1, nc] probabilities or logits */
    CR_HEAD_BRANCHES  /* the branches as they leave the last convolutions (quantize --head detach) */
} cr_head_kind;

typedef enum cr_branch_part {
    CR_BRANCH_BOX,
    CR_BRANCH_SCORE,
    CR_BRANCH_OBJECT,
    CR_BRANCH_KEYPOINT
} cr_branch_part;

/* Some channels of one output [1, C, h, w], a cell per `stride` pixels. */
typedef struct cr_branch {
    cr_branch_part part;
    int output, first, channels, stride;
    bool logits; /* a sigmoid is still to be taken (keypoints: of their scores) */
} cr_branch;

enum { CR_MAX_BRANCHES = 32, CR_MAX_BRANCH_BINS = 64 };

/* How the host makes boxes of branches. Cell (x, y) has the point (x + offset, y + offset).
 *   box, exponent false: distances of left, top, right and bottom from the point, in strides; each is
 *       the mean of bin_value[] under a softmax over `bins` or, with one bin, the value itself
 *   box, exponent true: centre (value + point), size exp(value), in strides
 *   keypoint: (value * keypoint_scale + x + keypoint_offset) * stride */
typedef struct cr_branches {
    bool exponent;
    int bins;
    float bin_value[CR_MAX_BRANCH_BINS]; /* 0, 1, 2, ... but for files that rounded them */
    float offset, keypoint_scale, keypoint_offset;
    int count;
    cr_branch items[CR_MAX_BRANCHES]; /* strides ascending */
} cr_branches;

typedef struct cr_head {
    cr_head_kind kind;
    int classes;
    int keypoints;     /* per detection */
    int keypoint_dims; /* 2 (x, y) or 3 (x, y, score) */
    int masks;         /* mask coefficients per row; their prototypes are output 1 */
    bool oriented;     /* YOLOV8, END2END: the last column is an angle in radians */
    bool fractions;    /* boxes and keypoints are fractions of the input: RT-DETR (END2END: x, y, w, h),
                          Ultralytics' TFLite files; never guessed from shapes */
    bool transposed;   /* YOLOV8, POSE: [1, N, channels] */
    int input_width, input_height; /* of the network, pixels */
    const cr_branches *branches; /* BRANCHES: the model's */
} cr_head;

/* One float32 output, row-major. */
typedef struct cr_output {
    const float *data;
    int rank;
    int64_t dim[8];
} cr_output;

/* Finds the kind from the outputs' shapes alone (data may be NULL). `task` is "detect", "segment",
 * "pose", "obb", "classify" or NULL; classes and keypoints are 0 if unknown. A shape that fits no
 * head is CR_ERR_UNSUPPORTED. YOLOX and YOLOv6 files whose boxes were decoded inside the network
 * look like raw YOLOX and are taken for it: cr_model_open, which sees the operators, knows them
 * apart. */
CR_API cr_status cr_head_guess(const cr_output *outs, size_t n, const char *task, int classes,
                               int keypoints, int input_width, int input_height, cr_head *head,
                               cr_error *err);

typedef struct cr_detect_options {
    float conf;          /* 0..1, scores must be above it; .25 */
    float iou;           /* 0..1, a box that overlaps a better one by more is dropped; .7 */
    int max_detections;  /* per picture; 300 */
    int max_candidates;  /* best ones that enter suppression; 30000 */
    bool class_agnostic; /* boxes of different classes suppress each other; false */
    bool multi_label;    /* a row may give several classes, not only its best; false */
    bool no_masks;       /* of segmentation models the boxes only */
    const int *classes;  /* keep only these; NULL: all */
    size_t class_count;
} cr_detect_options;

/* For showing: what `yolo predict` does (IoU .7). */
CR_API cr_detect_options cr_detect_options_default(void);

/* For measuring: conf .001, IoU .7, 300 detections, multi_label, no masks, boxes clipped and not rounded.
 * With these, and IoU .65 for YOLOX, ONNX Runtime's outputs give the published figures of the test
 * models (tests/peers/vision_coco.py: yolov8n .4004, yolox_nano .3100; best class only: .3884,
 * .3083). */
CR_API cr_detect_options cr_detect_options_eval(void);

/* Decodes the outputs, suppresses, and moves the boxes into the source picture.
 *
 * Suppression is Ultralytics' non_max_suppression around torchvision's CPU kernel, in float32:
 * boxes are shifted by class * 7680, sorted by score (ties keep the order of rows, then classes),
 * and a box is dropped if inter / (a + b - inter) > iou with a better one. CR_HEAD_END2END is
 * already suppressed and only filtered; oriented boxes suppress each other by ProbIoU, as Ultralytics'
 * do; CR_HEAD_CLASSIFY gives the five best classes whatever conf
 * is, with the whole picture as box, after a softmax unless the values already sum to 1. Rows with a
 * box that is not finite are skipped. On success the caller frees *out; CR_ERR_FORMAT if the
 * outputs do not have the head's shape. */
CR_API cr_status cr_head_decode(const cr_head *head, const cr_output *outs, size_t n,
                                const cr_placement *place, const cr_detect_options *options,
                                cr_detections *out, cr_error *err);

/* A mask as COCO's compressed run-length code of the whole picture, column by column, ended by 0; free
 * it with free(). Its "size" is [height, width]. */
CR_API cr_status cr_mask_to_rle(const cr_mask *mask, int width, int height, char **text,
                                cr_error *err);

/* Draws masks, boxes, "name 0.87" labels and keypoints (with the COCO skeleton if there are 17) into the
 * picture. Line and text sizes follow the picture's; a class keeps its colour. names[class_id] is
 * UTF-8; classes from name_count on are shown as numbers. */
CR_API cr_status cr_draw_detections(cr_image *img, const cr_detections *found,
                                    const char *const *names, size_t name_count, cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
