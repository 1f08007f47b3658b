/* The loss of YOLOX in its two halves: which cells learn what, and what that costs. */
#ifndef CR_TRAIN_LOSS_YOLOX_JOB_H
#define CR_TRAIN_LOSS_YOLOX_JOB_H

#include "train/loss_yolox.h"

typedef struct cr_yolox_positive {
    int picture, level;
    size_t cell; /* within its level */
    uint32_t object;
    double iou;
} cr_yolox_positive;

typedef struct cr_yolox_job {
    const cr_yolox_head *head;
    const cr_truth *truth;
    const cr_yolox_options *options;
    cr_pool *pool;
    cr_yolox_positive *positive; /* by picture, level, cell */
    size_t count, cap;
    const char *broken; /* a branch that is not finite */
} cr_yolox_job;

/* Fills `positive` (the caller frees it) from the head's values. */
cr_status cr_yolox_assign(cr_yolox_job *j, cr_error *err);
/* The loss and its gradient with those positives as they are. */
void cr_yolox_add_up(const cr_yolox_job *j, cr_loss_parts *parts);

#endif
