/* Overlaps are written as products and quotients of widths, so their derivatives follow by the
 * product rule; `dw`, `dh` are derivatives by the width and height of box a, and land on its
 * corners with opposite signs. At ties (a corner of both boxes at one place) the derivative is that
 * of box a alone moving inward. */
#include "train/loss_box.h"

#include <math.h>
#include <stddef.h>

static const double EPSILON = 1e-7; /* keeps quotients of flat boxes finite */
static const double PI = 3.14159265358979323846;

/* The common interval of two, at least 0; d: its derivative by a0 and a1. */
static double common(double a0, double a1, double b0, double b1, double d[2])
{
    const double length = fmin(a1, b1) - fmax(a0, b0);
    d[0] = length > 0 && a0 > b0 ? -1 : 0;
    d[1] = length > 0 && a1 < b1 ? 1 : 0;
    return fmax(length, 0);
}

double cr_box_iou(const double a[4], const double b[4], double gradient[4])
{
    double dx[2], dy[2];
    const double w = a[2] - a[0], h = a[3] - a[1];
    const double iw = common(a[0], a[2], b[0], b[2], dx), ih = common(a[1], a[3], b[1], b[3], dy);
    const double inter = iw * ih, all = w * h + (b[2] - b[0]) * (b[3] - b[1]) - inter + EPSILON;
    if (gradient) {
        /* d(inter / all) = (d inter (all + inter) - d area inter) / all^2 */
        const double by_inter = (all + inter) / (all * all), by_area = -inter / (all * all);
        gradient[0] = by_inter * ih * dx[0] - by_area * h;
        gradient[1] = by_inter * iw * dy[0] - by_area * w;
        gradient[2] = by_inter * ih * dx[1] + by_area * h;
        gradient[3] = by_inter * iw * dy[1] + by_area * w;
    }
    return inter / all;
}

double cr_box_ciou(const double a[4], const double b[4], double gradient[4])
{
    const double iou = cr_box_iou(a, b, gradient);
    const double w = a[2] - a[0], h = a[3] - a[1] + EPSILON;
    const double cw = fmax(a[2], b[2]) - fmin(a[0], b[0]), ch = fmax(a[3], b[3]) - fmin(a[1], b[1]);
    const double diagonal = cw * cw + ch * ch + EPSILON;
    const double dx = (a[0] + a[2] - b[0] - b[2]) / 2, dy = (a[1] + a[3] - b[1] - b[3]) / 2;
    const double apart = (dx * dx + dy * dy) / diagonal;
    const double angle = atan(w / h) - atan((b[2] - b[0]) / (b[3] - b[1] + EPSILON));
    const double v = 4 / (PI * PI) * angle * angle, alpha = v / (1 - iou + v + EPSILON);
    if (gradient) {
        const double by_cw = -apart / diagonal * 2 * cw, by_ch = -apart / diagonal * 2 * ch;
        const double by_angle = alpha * 8 / (PI * PI) * angle / (w * w + h * h);
        gradient[0] -= dx / diagonal - (a[0] < b[0] ? by_cw : 0) - by_angle * h;
        gradient[1] -= dy / diagonal - (a[1] < b[1] ? by_ch : 0) + by_angle * w;
        gradient[2] -= dx / diagonal + (a[2] > b[2] ? by_cw : 0) + by_angle * h;
        gradient[3] -= dy / diagonal + (a[3] > b[3] ? by_ch : 0) - by_angle * w;
    }
    return iou - apart - v * alpha;
}
