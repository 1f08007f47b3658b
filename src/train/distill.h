/* Learning from a teacher instead of labels: the float network says what every tensor of interest
 * should have been, for any picture.
 *
 * Targets are named parts: channels of tensors that both graphs have, raw outputs of the last
 * convolutions (before decoding) and outputs of layers in between.
 *
 *     kind      loss of the item, s the student's values and t the teacher's
 *     FEATURE   sum (s - t)^2 / sum (t - mean of its channel)^2
 *     LOGIT     sum over elements of KL(sigmoid t || sigmoid s) / Z          scores, objectness
 *     BINS      sum over cells of c * mean over groups of `bins` channels of KL(softmax t ||
 * softmax s) / Z                                                          distributions of boxes
 *               + extent E, with E the sum over cells of c^2 * sum over sides of the error of its mean
 *               in parts of the box's size / Z (about 1 - IoU)
 *     VALUE     sum over cells of c * mean over channels (s - t)^2 / V / Z   boxes, keypoints,
 * masks
 *
 * c is the teacher's confidence in the cell: its best score (times its objectness); most of a
 * picture is background, where a box means nothing and must not cost capacity. Z is the sum of all
 * c of the item, at least 1; V the c-weighted variance of t in the part. All are zero where student
 * and teacher agree. Knowledge distillation: Hinton et al. 2015; of distributions of boxes: Zheng
 * et al. 2022 (LD); of features: Romero et al. 2015. Rejected: the decoded outputs as targets (a
 * sigmoid and a softmax flatten the gradient where the student is wrong and sure of it). */
#ifndef CR_TRAIN_DISTILL_H
#define CR_TRAIN_DISTILL_H

#include "train/tape.h"

typedef enum cr_distill_kind {
    CR_DISTILL_FEATURE,
    CR_DISTILL_LOGIT,
    CR_DISTILL_BINS,
    CR_DISTILL_VALUE,
    CR_DISTILL_KINDS
} cr_distill_kind;

/* Names of the kinds' sums, in that order: "features", "scores", "distributions", "values". */
extern const char *const cr_distill_kind_names[CR_DISTILL_KINDS];

typedef struct cr_distill_part {
    const char *tensor; /* [N,C,...] of both graphs; channels along axis 1 */
    cr_distill_kind kind;
    int64_t first, count; /* channels; count a multiple of bins for BINS */
    int64_t bins;
    int scores, objects; /* parts of kind LOGIT over the same cells that tell c; -1: none. Of a
                            LOGIT part: `objects` weighs it, `scores` is not used */
    double weight;
    double extent; /* BINS of four sides: what E weighs beside the distributions; 0: nothing */
    const char *student; /* the tensor's name in the student's graph; NULL: the same */
} cr_distill_part;

/* The nodes of g that the named tensors depend on, with these tensors as outputs in that order
 * (each once). The caller owns *out. CR_ERR_ARGUMENT: no such tensor. */
cr_status cr_distill_cut(const cr_graph *g, const char *const *names, size_t n, cr_graph **out,
                         cr_error *err);

typedef struct cr_distill cr_distill;

/* teacher and student: one input of the same shape, outputs with the parts' tensors (float32, known
 * shapes). Graphs and pool must outlive it, and so must the parts' names; results do not depend on
 * the pool. CR_ERR_ARGUMENT names what does not fit. */
cr_status cr_distill_create(const cr_graph *teacher, const cr_graph *student,
                            const cr_distill_part *parts, size_t n, cr_pool *pool, cr_distill **out,
                            cr_error *err);
void cr_distill_free(cr_distill **d);

/* The weight of a part from now on (features fade towards the end of a training). */
void cr_distill_set_weight(cr_distill *d, size_t part, double weight);

/* Runs the teacher on an input of the tape's form. */
cr_status cr_distill_teach(cr_distill *d, const float *input, cr_error *err);

/* After the student's forward on the same input: adds share * weight * loss of each part to
 * sums[kind] and writes the gradient of all that into the gradients of all outputs. each: per part
 * its loss, unweighted; or NULL. */
void cr_distill_loss(cr_distill *d, const cr_tape *tape, double share,
                     double sums[CR_DISTILL_KINDS], double *each);

#endif
