/* Greedy non-maximum suppression. */
#ifndef CR_VISION_NMS_H
#define CR_VISION_NMS_H

#include "crayon/status.h"

/* boxes[n, 4] are x1,y1,x2,y2, best first. Writes the numbers of the survivors to keep[0..*kept-1],
 * ascending, and stops at `limit` of them. iou >= 0. */
cr_status cr_nms(const float *boxes, size_t n, float iou, size_t limit, size_t *keep, size_t *kept,
                 cr_error *err);

/* The same for boxes that lie at an angle: turned[n, 5] are centre x, y, width, height and angle in radians;
 * class_of[n], NULL: all of one class. A box is dropped if any better one of its class, dropped or not,
 * has a ProbIoU of at least `iou` with it: that is Ultralytics' rule for oriented boxes. ProbIoU (Llerena
 * et al. 2021, "Gaussian Bounding Boxes and Probabilistic Intersection-over-Union"): 1 - the Hellinger
 * distance of the normal distributions that the boxes stand for. */
cr_status cr_nms_turned(const float *turned, const int *class_of, size_t n, float iou, size_t limit,
                        size_t *keep, size_t *kept, cr_error *err);
/* a and b as above, x, y, w, h, angle. */
float cr_probiou(const float a[5], const float b[5]);

#endif
