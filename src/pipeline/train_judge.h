/* How good is what has been learnt so far: the model as users will get it, on labelled pictures, by
 * the metric of its task, as `crayon eval` measures it. */
#ifndef CR_PIPELINE_TRAIN_JUDGE_H
#define CR_PIPELINE_TRAIN_JUDGE_H

#include "crayon/model.h"
#include "train/arch.h"
#include "train/dataset.h"

/* "mAP50-95", "mask mAP50-95", "keypoint mAP50-95", "top1". */
const char *cr_train_metric_name(cr_arch_task task);

/* Pictures of a data set: `which` [count] of them. */
typedef struct cr_train_part {
    const cr_dataset *set;
    size_t *which, count;
} cr_train_part;

/* 0..1; 0 where nothing is found or labelled. Pictures that cannot be read are passed over.
 * class_category: [classes] category id of each of the model's classes. */
cr_status cr_train_score(const cr_model *m, const cr_train_part *part, cr_arch_task task,
                         const int64_t *class_category, int threads, double *score, cr_error *err);

#endif
