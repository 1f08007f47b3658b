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

static double sigma(size_t k, size_t count)
{
    static const double coco[17] = {.026, .025, .025, .035, .035, .079, .079, .072, .072,
                                    .062, .062, .107, .107, .087, .087, .089, .089};
    return count == 17 ? coco[k] : 1 / (double)count;
}

static bool is_visible(const cr_coco_truth *g, size_t k, double visible)
{
    return k < g->keypoints && g->points[3 * k + 2] >= visible;
}

bool cr_coco_has_visible(const cr_coco_truth *g, double visible)
{
    for (size_t k = 0; k < g->keypoints; k++)
        if (is_visible(g, k, visible)) return true;
    return false;
}

void cr_coco_points_box(const double *points, size_t keypoints, double out[4])
{
    double x0 = points[0], x1 = x0, y0 = points[1], y1 = y0;
    for (size_t k = 1; k < keypoints; k++) {
        x0 = fmin(x0, points[3 * k]), x1 = fmax(x1, points[3 * k]);
        y0 = fmin(y0, points[3 * k + 1]), y1 = fmax(y1, points[3 * k + 1]);
    }
    out[0] = x0, out[1] = y0, out[2] = x1 - x0, out[3] = y1 - y0;
}

static double outside(double x, double from, double to)
{
    return fmax(0, from - x) + fmax(0, x - to);
}

double cr_coco_oks(const cr_coco_shapes *s, size_t det, const cr_coco_truth *g)
{
    const size_t keypoints = s->results->keypoints;
    const double *d = s->results->points + det * keypoints * 3;
    const bool any = cr_coco_has_visible(g, s->visible);
    double sum = 0;
    size_t n = 0;
    for (size_t k = 0; k < keypoints; k++, d += 3) {
        if (any && !is_visible(g, k, s->visible)) continue;
        const double *t = any ? g->points + 3 * k : NULL;
        const double x = d[0], y = d[1], width = 2 * sigma(k, keypoints);
        const double dx = t ? x - t[0] : outside(x, g->x - g->w, g->x + 2 * g->w);
        const double dy = t ? y - t[1] : outside(y, g->y - g->h, g->y + 2 * g->h);
        sum += exp(-((dx * dx + dy * dy) / (width * width) / (g->area + DBL_EPSILON) / 2));
        n++;
    }
    return n ? sum / (double)n : 0;
}
