/* What a training holds together; train_job.c runs it, train_loss.c feeds the loss. */
#ifndef CR_PIPELINE_TRAIN_JOB_H
#define CR_PIPELINE_TRAIN_JOB_H

#include "crayon/train.h"
#include "pipeline/train_judge.h"
#include "pipeline/train_net.h"
#include "train/trainer.h"

/* What goes into the checkpoint besides the trainer's own: the best so far. */
typedef struct cr_train_best {
    double score; /* -1: none yet */
    int64_t step, since; /* validations since then */
    int64_t marks;
} cr_train_best;

enum { CR_TRAIN_MARKS = 1024 };

typedef struct cr_train_job {
    const cr_train_options *o;
    cr_train_result *result;
    cr_train_net net;
    cr_dataset *set, *val_set; /* val_set NULL: `val` is a part of set */
    cr_train_part train, val;
    int64_t *class_category; /* of val's labels */
    cr_pool *pool;
    cr_tape *tape;
    cr_trained *list;
    size_t trained;
    int passes; /* per step */
    int64_t steps, per_epoch, validate_every;
    /* the pictures of a pass */
    cr_item_options how;
    cr_item *items; /* [net.batch] */
    size_t *order;  /* of `epoch`: places in train.which */
    int64_t epoch;
    /* the best weights, packed in the order of list */
    cr_train_best best;
    cr_train_mark marks[CR_TRAIN_MARKS];
    float *best_values;
    int64_t values;
    const char *out;
} cr_train_job;

/* Places in parts[]; the names of those that the net has, NULL behind the last. */
void cr_train_part_names(const cr_train_net *net, const char *names[CR_TRAIN_PARTS]);

/* The trainer's callbacks; ctx is the job. */
cr_status cr_train_load_pass(void *ctx, cr_tape *tape, int64_t step, int item, cr_error *err);
cr_status cr_train_loss_pass(void *ctx, cr_tape *tape, int64_t step, int item, double *parts,
                             cr_error *err);

void cr_train_warn(const cr_train_job *j, const char *format, ...) CR_PRINTF(2, 3);

#endif
