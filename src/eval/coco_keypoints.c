/* Object keypoint similarity, as COCO's evaluation has it (pycocotools, COCOeval.computeOks): the
 * mean over the visible keypoints of exp(-d^2 / (2 area (2 sigma)^2)), d the distance of the two,
 * sigma how far apart two people would put that point. The 17 sigmas are COCO's
 * (https://cocodataset.org/#keypoints-eval); sets of another size have no published ones and get
 * 1 / count each, which is Ultralytics' choice, too.
 *
 * A truth without a visible keypoint is ignored by the evaluation, but can still be matched: then a
 * detection is compared with its box, enlarged by its size on each side. */
#include <float.h>
#include <math.h>

#include "eval/coco_match.h"

static const double visible = .5; /* score from which the reference vouches for a point */

static double sigma(size_t k, size_t count)
{
    static const double coco[17] = {.026, .025, .025, .035, .035, .079, .079, .072, .072,
                                    .062, .062, .107, .107, .087, .087, .089, .089};
    return count == 17 ? coco[k] : 1 / (double)count;
}

bool cr_coco_has_visible(const float *points, size_t keypoints)
{
    for (size_t k = 0; k < keypoints; k++)
        if ((double)points[3 * k + 2] >= visible) return true;
    return false;
}

static double outside(double x, double from, double to)
{
    return fmax(0, from - x) + fmax(0, x - to);
}

double cr_coco_oks(const cr_coco_pose *p, const cr_coco_box *det, const cr_coco_truth *g)
{
    const float *d = p->points + (size_t)(det - p->dets) * p->keypoints * 3;
    const bool any = cr_coco_has_visible(g->points, p->keypoints);
    double sum = 0;
    size_t n = 0;
    for (size_t k = 0; k < p->keypoints; k++, d += 3) {
        const float *t = g->points + 3 * k;
        if (any && (double)t[2] < visible) continue;
        const double x = d[0], y = d[1], s = 2 * sigma(k, p->keypoints);
        const double dx = any ? x - (double)t[0] : outside(x, g->x - g->w, g->x + 2 * g->w);
        const double dy = any ? y - (double)t[1] : outside(y, g->y - g->h, g->y + 2 * g->h);
        sum += exp(-((dx * dx + dy * dy) / (s * s) / (g->area + DBL_EPSILON) / 2));
        n++;
    }
    return n ? sum / (double)n : 0;
}
