/* Suppression of boxes that lie at an angle. */
#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/nms.h"

/* Upright hulls apart mean a ProbIoU below .2 (two equal squares side by side: .12), so such pairs
 * need no logarithm. */
#define SURELY_APART .2f

/* Of the normal distribution with the box's mean and spread: variances a, b and covariance c. */
static void spread(const float t[5], float *a, float *b, float *c)
{
    const float w = t[2] * t[2] / 12, h = t[3] * t[3] / 12, cs = cosf(t[4]), sn = sinf(t[4]);
    *a = w * cs * cs + h * sn * sn;
    *b = w * sn * sn + h * cs * cs;
    *c = (w - h) * cs * sn;
}

float cr_probiou(const float p[5], const float q[5])
{
    const float eps = 1e-7f;
    float a1, b1, c1, a2, b2, c2;
    spread(p, &a1, &b1, &c1);
    spread(q, &a2, &b2, &c2);
    const float a = a1 + a2, b = b1 + b2, c = c1 + c2, dx = p[0] - q[0], dy = p[1] - q[1];
    const float det = a * b - c * c;
    const float t1 = (a * dy * dy + b * dx * dx) / (det + eps) * .25f;
    const float t2 = -c * dx * dy / (det + eps) * .5f;
    const float own = sqrtf(fmaxf(a1 * b1 - c1 * c1, 0) * fmaxf(a2 * b2 - c2 * c2, 0));
    const float t3 = logf(det / (4 * own + eps) + eps) * .5f;
    const float distance = fminf(fmaxf(t1 + t2 + t3, eps), 100);
    return 1 - sqrtf(1 - expf(-distance) + eps);
}

static bool apart(const float p[5], const float q[5])
{
    const float cp = fabsf(cosf(p[4])), sp = fabsf(sinf(p[4]));
    const float cq = fabsf(cosf(q[4])), sq = fabsf(sinf(q[4]));
    return 2 * fabsf(p[0] - q[0]) > p[2] * cp + p[3] * sp + q[2] * cq + q[3] * sq ||
           2 * fabsf(p[1] - q[1]) > p[2] * sp + p[3] * cp + q[2] * sq + q[3] * cq;
}

cr_status cr_nms_turned(const float *turned, const int *class_of, size_t n, float iou, size_t limit,
                        size_t *keep, size_t *kept, cr_error *err)
{
    (void)err;
    *kept = 0;
    for (size_t i = 0; i < n && *kept < limit; i++) {
        const float *t = turned + 5 * i;
        bool dropped = false;
        for (size_t k = 0; k < i && !dropped; k++) {
            if (class_of && class_of[k] != class_of[i]) continue;
            if (iou >= SURELY_APART && apart(turned + 5 * k, t)) continue;
            dropped = cr_probiou(turned + 5 * k, t) >= iou;
        }
        if (!dropped) keep[(*kept)++] = i;
    }
    return CR_OK;
}
