/* Greedy non-maximum suppression. */
#ifndef CR_VISION_NMS_H
#define CR_VISION_NMS_H

#include "crayon/status.h"

/* boxes[n, 4] are x1,y1,x2,y2, best first. Writes the numbers of the survivors to keep[0..*kept-1],
 * ascending, and stops at `limit` of them. iou >= 0. */
cr_status cr_nms(const float *boxes, size_t n, float iou, size_t limit, size_t *keep, size_t *kept,
                 cr_error *err);

#endif
