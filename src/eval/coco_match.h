/* One category in one image: which detections find which truth, at all IoU thresholds and area
 * ranges at once. */
#ifndef CR_EVAL_COCO_MATCH_H
#define CR_EVAL_COCO_MATCH_H

#include "base/error.h"
#include "base/runs.h"
#include "crayon/eval.h"

enum {
    CR_COCO_THRESHOLDS = 10, /* IoU .50, .55 ... .95 */
    CR_COCO_AREAS = 4,       /* all, small, medium, large */
    CR_COCO_MAX_DETS = 100   /* per image and category */
};

/* A truth box; category and image are places in the sorted lists of ids. */
typedef struct cr_coco_truth {
    uint32_t category, image;
    double x, y, w, h;
    uint8_t ignored; /* bit a: neither right nor wrong in range a (crowds: in all) */
    bool crowd;
    bool unnamed; /* annotation id 0: takes a detection but does not count as found */
    double area;
    const double *points; /* [keypoints, 3] x, y, visible or not, or NULL */
    size_t keypoints;
    const cr_coco_mask *mask; /* or NULL */
    const double *corners;    /* [4, 2] or NULL */
} cr_coco_truth;

/* What detections are compared by, and how the area of one is measured. */
typedef struct cr_coco_shapes {
    cr_coco_metric metric;
    const cr_coco_results *results;
    double visible;  /* score from which a point of the truth counts */
    bool box_areas;  /* else those of what is compared */
} cr_coco_shapes;

enum { CR_COCO_MAX_POSES = 20 }; /* per image and category, best first */

/* Object keypoint similarity, 0..1. */
double cr_coco_oks(const cr_coco_shapes *s, size_t det, const cr_coco_truth *truth);
/* Is any keypoint visible: can this truth be found at all? */
bool cr_coco_has_visible(const cr_coco_truth *truth, double visible);
/* Extent of a detection's keypoints: x, y, w, h. */
void cr_coco_points_box(const double *points, size_t keypoints, double out[4]);

/* What became of one detection: bit t of hit[a] (miss[a]): a true (false) positive at threshold t
 * in range a; neither: ignored. */
typedef struct cr_coco_verdict {
    double score;
    uint32_t order; /* place before sorting by score */
    uint8_t rank;   /* 0..99, within its image and category */
    uint16_t hit[CR_COCO_AREAS], miss[CR_COCO_AREAS];
} cr_coco_verdict;

/* Scratch that grows as needed; zero-initialise, free once. */
typedef struct cr_coco_scratch {
    struct cr_coco_overlap *overlaps;
    uint16_t (*taken)[CR_COCO_AREAS];
    cr_runs *masks; /* of the truth */
    size_t cap;
} cr_coco_scratch;

void cr_coco_scratch_free(cr_coco_scratch *s);

/* Bit a set: the area lies outside range a. */
uint8_t cr_coco_outside(double area);

double cr_coco_threshold(int t);

/* truth: n boxes of one image and category in the file's order. dets: pointers to the (at most 100)
 * best detections, best first. Fills hit and miss of out[0..det_count-1]. */
cr_status cr_coco_match(const cr_coco_truth *truth, size_t n, const cr_coco_box *const *dets,
                        size_t det_count, const cr_coco_shapes *shapes, cr_coco_scratch *s,
                        cr_coco_verdict *out, cr_error *err);

#endif
