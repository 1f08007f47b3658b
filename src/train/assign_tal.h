/* Task-aligned assignment (Feng et al. 2021, "TOOD: Task-aligned One-stage Object Detection"): the
 * cells that learn an object are those that already see it best, by score and place together.
 *
 *     metric = score ^ alpha * CIoU ^ beta        of a cell whose centre lies inside the object
 *
 * Each object takes its `top` cells of the largest metric; a cell that several take goes to the one
 * that its box overlaps most, among all objects that it lies in. What a cell shall score for its
 * class is metric * (largest CIoU of the object's cells) / (largest metric of them).
 *
 * Cells of metric 0 are never taken: PyTorch code fills up to `top` with them in an order that
 * nobody has chosen, and they would learn nothing but masks and keypoints of an object that they do
 * not meet. Equal metrics: the lower cell first. */
#ifndef CR_TRAIN_ASSIGN_TAL_H
#define CR_TRAIN_ASSIGN_TAL_H

#include "train/loss.h"

typedef struct cr_tal_options {
    int top;            /* 10 */
    double alpha, beta; /* .5, 6 */
    double smallest;    /* pixels; a shorter side of an object is taken for this long when its cells
                           are found, so that small objects have some (Ultralytics 8.4: the second
                           stride); 0: as in the paper */
} cr_tal_options;

/* One picture's cells. */
typedef struct cr_tal_cells {
    size_t count;
    const double (*centre)[2];                                   /* [count] pixels */
    const double (*box)[4];                                      /* [count] predicted, pixels */
    double (*score)(const void *ctx, size_t cell, int class_id); /* 0..1 */
    const void *ctx;
    const double *longest; /* [count] pixels: no object with a longer side is for the cell, 0: any; or
                              NULL */
} cr_tal_cells;

typedef struct cr_tal_match {
    uint32_t cell, object;
    double score; /* the target of the object's class */
} cr_tal_match;

/* *out: the caller's (cr_free), in order of cells; objects that `usable` (may be NULL: all) denies
 * get none. */
cr_status cr_assign_tal(const cr_tal_options *options, const cr_tal_cells *cells,
                        const cr_truth *truth, const bool *usable, cr_pool *pool,
                        cr_tal_match **out, size_t *count, cr_error *err);

#endif
