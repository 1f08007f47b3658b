/* Losses: from what a model's branches give and what the pictures hold to one number and to its
 * gradient by every element of the branches.
 *
 *     loss_yolov8.h    YOLOv8, YOLO11 ...: boxes as distributions; masks and keypoints if there are
 *     loss_yolox.h     YOLOX
 *     loss_classify.h  classifiers
 *
 * They are functions of arrays and know no tape: the caller points them at the branches' values and
 * at the places of the gradients (cr_tape_value, cr_tape_grad). Which cell learns which object is
 * decided by an assigner (assign_tal.h, assign_simota.h) from the predictions as they stand; no
 * gradient flows through that decision, nor through what it makes of them (targets, weights).
 *
 * Elements are float32 or float64, as the tape's; everything between is float64, and every sum has
 * one order, so results do not depend on the number of threads. A value that is not finite, where
 * a loss reads it, makes the total NaN and all gradients 0: the caller sees it, skips the step, and
 * nothing is poisoned.
 *
 * Rejected: losses as graph nodes with gradients of their own. An assigner is no operator, its
 * shapes depend on the data, and the closed form of a whole loss is shorter than its graph. */
#ifndef CR_TRAIN_LOSS_H
#define CR_TRAIN_LOSS_H

#include "base/error.h"
#include "base/threads.h"
#include "graph/graph.h"

enum { CR_LOSS_LEVELS = 6 };

/* One branch output: element (p, c, i) of picture p, channel c, cell i (row by row) lies at
 * p * picture + c * channel + i * cell. A slice of the channels of a larger tensor is one too. */
typedef struct cr_raw {
    const void *value; /* NULL: the model has no such branch */
    void *grad;        /* every element of the view is written; NULL: not wanted */
    int64_t picture, channel, cell;
} cr_raw;

/* The view of a [N, channels, height, width] tensor, from channel `first` on. */
cr_raw cr_raw_planes(cr_dtype real, const void *value, void *grad, int64_t channels, int64_t cells,
                     int64_t first);

static inline size_t cr_raw_at(const cr_raw *r, size_t picture, size_t channel, size_t cell)
{
    return (size_t)((int64_t)picture * r->picture + (int64_t)channel * r->channel +
                    (int64_t)cell * r->cell);
}

static inline double cr_raw_get(const cr_raw *r, cr_dtype real, size_t at)
{
    return real == CR_DT_F32 ? (double)((const float *)r->value)[at]
                             : ((const double *)r->value)[at];
}

static inline void cr_raw_put(const cr_raw *r, cr_dtype real, size_t at, double g)
{
    if (real == CR_DT_F32)
        ((float *)r->grad)[at] = (float)g;
    else
        ((double *)r->grad)[at] = g;
}

/* Clears the gradient of a view of `channels` x `cells` of all pictures. */
void cr_raw_clear(const cr_raw *r, cr_dtype real, size_t pictures, size_t channels, size_t cells);
/* Is every element of it finite? */
bool cr_raw_finite(const cr_raw *r, cr_dtype real, size_t pictures, size_t channels, size_t cells);

/* What one picture holds, in pixels of the network's input. An object that no cell can learn (no
 * extent, not finite, class unknown to the model) is passed over. */
typedef struct cr_truth {
    size_t count;
    const int *class_id;     /* [count] */
    const double (*box)[4];  /* [count] x1, y1, x2, y2 */
    const double *keypoints; /* [count, K, 3] x, y, visible (0: not labelled); or NULL: none is */
    const uint8_t *masks;    /* [count, mask height, mask width] 0 or 1; or NULL: none is */
} cr_truth;

/* What a loss is made of, weighted by its gains. Parts that a loss lacks are 0. */
typedef struct cr_loss_parts {
    double total;                      /* the sum of the others */
    double box, classes, distribution; /* IoU; class scores; DFL */
    double objectness, offsets;        /* YOLOX: is there something; L1 of raw boxes */
    double masks, keypoints, visible;
    size_t positives;   /* cells that learn an object */
    double score_sum;   /* of the targets of the class scores: what YOLOv8 divides by */
    const char *broken; /* the branch that is not finite ("boxes", ...), NULL: all are */
} cr_loss_parts;

/* log(1 + exp(x)) and 1 / (1 + exp(-x)), for any finite x. */
double cr_softplus(double x);
double cr_sigmoid(double x);

#endif
