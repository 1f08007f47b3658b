/* The loss of YOLOv8 in its two halves: which cells learn what, and what that costs; and its parts
 * for masks and keypoints. */
#ifndef CR_TRAIN_LOSS_YOLOV8_JOB_H
#define CR_TRAIN_LOSS_YOLOV8_JOB_H

#include "train/loss_yolov8.h"

/* A cell that learns an object: where its numbers lie. */
typedef struct cr_yolov8_positive {
    int picture, level;
    uint32_t cell; /* within its level */
    uint32_t object;
    double score; /* t */
} cr_yolov8_positive;

typedef struct cr_yolov8_job {
    const cr_yolov8_head *head;
    const cr_truth *truth;
    const cr_yolov8_options *options;
    cr_pool *pool;
    cr_yolov8_positive *positive; /* by picture, then cell */
    size_t count, cap;
    const char *broken; /* a branch that is not finite */
} cr_yolov8_job;

/* Fills `positive` (the caller frees it) from the head's values. */
cr_status cr_yolov8_assign(cr_yolov8_job *j, cr_error *err);
/* The loss and its gradient with those positives as they are. */
cr_status cr_yolov8_add_up(const cr_yolov8_job *j, cr_loss_parts *parts, cr_error *err);

/* Fill parts->masks, and parts->keypoints and parts->visible, and write their gradients over the
 * cleared ones. */
cr_status cr_yolov8_masks(const cr_yolov8_job *j, cr_loss_parts *parts, cr_error *err);
void cr_yolov8_keypoints(const cr_yolov8_job *j, cr_loss_parts *parts);

#endif
