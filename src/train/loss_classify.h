/* Softmax cross-entropy with smoothed labels (Szegedy et al. 2016, "Rethinking the Inception
 * Architecture", section 7): the right class shall have 1 - smoothing + smoothing / classes, each
 * other one smoothing / classes. Mean over the pictures. */
#ifndef CR_TRAIN_LOSS_CLASSIFY_H
#define CR_TRAIN_LOSS_CLASSIFY_H

#include "train/loss.h"

/* logits: `classes` channels of one cell; class_id: [pictures]. A picture whose class is outside
 * 0..classes-1 counts for nothing. parts->classes is the loss, parts->positives the number of
 * pictures whose right class has the largest logit. CR_ERR_ARGUMENT: smoothing outside 0..1. */
cr_status cr_loss_classify(cr_dtype real, const cr_raw *logits, int pictures, int classes,
                           const int *class_id, double smoothing, cr_loss_parts *parts,
                           cr_error *err);

#endif
