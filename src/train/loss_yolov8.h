/* The loss of YOLOv8 and its successors without anchors: detection, segmentation, pose.
 *
 * A cell's box is four distributions over `bins` whole distances (left, top, right, bottom, in
 * strides; Li et al. 2020, "Generalized Focal Loss"), its class scores are logits. Cells learn the
 * objects that cr_assign_tal gives them, weighted by the target score t:
 *
 *     classes       BCE of all scores of all cells against t of the object's class, 0 elsewhere
 *     box           t (1 - CIoU)
 *     distribution  t * mean over the sides of the cross-entropy with the two bins beside the truth
 *                         each divided by the sum of all t (at least 1)
 *     masks         BCE of sum_k coefficient_k prototype_k, inside the object's box, divided by its
 *                   area; mean over the cells
 *     keypoints     1 - exp(-d^2 / (2 (2 sigma)^2 area)) of the labelled ones (COCO's OKS), mean
 *     visible       BCE of each keypoint's visibility, mean over cells and keypoints
 *
 * and all of it times its gain and the number of pictures. The definition is that of Ultralytics'
 * v8DetectionLoss, v8SegmentationLoss and v8PoseLoss (8.4), which tests/peers/loss_torch.py
 * compares. Pictures given one at a time divide by their own sum of t, a batch by that of all; to
 * add up the gradients of a batch picture by picture, give the sum in `score_sum`. */
#ifndef CR_TRAIN_LOSS_YOLOV8_H
#define CR_TRAIN_LOSS_YOLOV8_H

#include "train/assign_tal.h"
#include "train/loss.h"

typedef struct cr_yolov8_level {
    int height, width, stride;
    cr_raw box;          /* 4 * bins channels: bins of left, top, right, bottom */
    cr_raw classes;      /* `classes` channels */
    cr_raw coefficients; /* `prototypes` channels */
    cr_raw keypoints;    /* keypoints * keypoint_dims channels: x, y (, visible) of each */
    double longest;      /* pixels: objects with a longer side are for other levels (FCOS, Tian et al.
                            2019); 0: any */
} cr_yolov8_level;

typedef struct cr_yolov8_head {
    cr_dtype real; /* of all branches: CR_DT_F32 or CR_DT_F64 */
    int pictures, level_count;
    int classes, bins; /* bins >= 2 */
    cr_yolov8_level level[CR_LOSS_LEVELS];
    int prototypes;                /* 0: no masks */
    cr_raw prototype;              /* `prototypes` channels of mask_height x mask_width cells */
    int mask_height, mask_width;   /* they cover the whole input */
    int input_height, input_width; /* pixels */
    int keypoints, keypoint_dims;  /* 0: no keypoints; dims 2 or 3 */
    const double *sigma; /* [keypoints]; NULL: COCO's for 17 of them, else 1 / keypoints */
} cr_yolov8_head;

typedef struct cr_yolov8_options {
    cr_tal_options assign;                                 /* smallest < 0: the second stride */
    double box, classes, distribution, keypoints, visible; /* gains; masks have that of boxes */
    double score_sum; /* what to divide by; 0: the sum of this call's target scores, at least 1 */
} cr_yolov8_options;

/* 10, .5, 6; 7.5, .5, 1.5, 12, 1. */
cr_yolov8_options cr_yolov8_options_default(void);

/* truth: [head->pictures]. Gradients are written (not added). Without objects everything but
 * `classes` is 0. CR_ERR_ARGUMENT: a head whose numbers make no sense. */
cr_status cr_loss_yolov8(const cr_yolov8_head *head, const cr_truth *truth,
                         const cr_yolov8_options *options, cr_pool *pool, cr_loss_parts *parts,
                         cr_error *err);

#endif
