/* SimOTA (Ge et al. 2021, "YOLOX", section 2.4; a short form of Ge et al. 2021, "OTA"): each object
 * takes as many cells as its IoUs with the predictions suggest, the cheapest ones by score and
 * place together.
 *
 * Candidates of an object are the cells whose centre lies within `radius` strides of its centre,
 * along both axes (YOLOX 0.2 and later). The cost of a cell is the binary cross-entropy of the
 * roots of class score times objectness against the object's class, and 3 times -log IoU. An object
 * takes its k cheapest, k = the sum of its ten largest IoUs among all candidates of all objects,
 * rounded down, at least 1. A cell that several objects take goes to the one to which it is
 * cheapest, of all whose candidate it is.
 *
 * A cell far from an object is never taken, where YOLOX's own code takes it at a cost of a million
 * when there are fewer than k near ones. Equal costs: the lower cell first. */
#ifndef CR_TRAIN_ASSIGN_SIMOTA_H
#define CR_TRAIN_ASSIGN_SIMOTA_H

#include "train/loss.h"

typedef struct cr_simota_options {
    double radius;     /* 1.5 strides */
    int largest;       /* 10 IoUs */
    double iou_weight; /* 3 */
} cr_simota_options;

/* One picture's cells. */
typedef struct cr_simota_cells {
    size_t count;
    const double (*centre)[2]; /* [count] pixels */
    const double *stride;      /* [count] pixels */
    const double (*box)[4];    /* [count] predicted, pixels */
    /* class score * objectness, 0..1; `classes` of them are asked for per candidate */
    double (*score)(const void *ctx, size_t cell, int class_id);
    const void *ctx;
    int classes;
} cr_simota_cells;

typedef struct cr_simota_match {
    uint32_t cell, object;
    double iou;
} cr_simota_match;

/* As cr_assign_tal. */
cr_status cr_assign_simota(const cr_simota_options *options, const cr_simota_cells *cells,
                           const cr_truth *truth, const bool *usable, cr_pool *pool,
                           cr_simota_match **out, size_t *count, cr_error *err);

#endif
