/* The loss of YOLOX (Ge et al. 2021): boxes as x, y, log width, log height of a cell, an
 * objectness, class scores. Cells learn the objects that cr_assign_simota gives them:
 *
 *     box         1 - IoU^2 of those cells, gain 5
 *     objectness  BCE of all cells against "learns an object"
 *     classes     BCE of those cells' scores against their IoU for the object's class, 0 elsewhere
 *     offsets     L1 of the raw numbers; YOLOX adds it for the last 15 epochs, without mosaic
 *
 * sums over all pictures, divided by the number of cells that learn (at least 1). */
#ifndef CR_TRAIN_LOSS_YOLOX_H
#define CR_TRAIN_LOSS_YOLOX_H

#include "train/assign_simota.h"
#include "train/loss.h"

typedef struct cr_yolox_level {
    int height, width, stride;
    cr_raw box; /* 4 channels: x, y in strides from the cell's corner, log of sides in strides */
    cr_raw objectness; /* 1 channel, logits as the classes */
    cr_raw classes;
} cr_yolox_level;

typedef struct cr_yolox_head {
    cr_dtype real;
    int pictures, level_count, classes;
    cr_yolox_level level[CR_LOSS_LEVELS];
} cr_yolox_head;

typedef struct cr_yolox_options {
    cr_simota_options assign;
    double box, objectness, classes, offsets; /* gains; offsets 0: not yet */
    double positives;                         /* what to divide by; 0: this call's, at least 1 */
} cr_yolox_options;

/* 1.5, 10, 3; 5, 1, 1, 0. */
cr_yolox_options cr_yolox_options_default(void);

/* As cr_loss_yolov8. A predicted side is at most e^30 strides: beyond it nothing is learnt. */
cr_status cr_loss_yolox(const cr_yolox_head *head, const cr_truth *truth,
                        const cr_yolox_options *options, cr_pool *pool, cr_loss_parts *parts,
                        cr_error *err);

#endif
