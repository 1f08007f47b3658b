/* Overlap of two boxes, x1, y1, x2, y2, and its derivative by the first. */
#ifndef CR_TRAIN_LOSS_BOX_H
#define CR_TRAIN_LOSS_BOX_H

/* Complete IoU (Zheng et al. 2020, "Distance-IoU Loss", eq. 7 to 11):
 *     IoU - d^2 / c^2 - alpha v
 * d: distance of the centres, c: diagonal of the box around both, v: how far the aspect ratios are
 * apart, alpha = v / (1 - IoU + v), which counts as a constant. gradient (4, may be NULL): by `a`.
 */
double cr_box_ciou(const double a[4], const double b[4], double gradient[4]);

/* Plain IoU; the gradient likewise. Boxes that do not meet: 0 and no gradient. */
double cr_box_iou(const double a[4], const double b[4], double gradient[4]);

#endif
