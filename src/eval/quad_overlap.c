/* The exact overlap of two quadrilaterals, which need not be rectangles or convex: labels are drawn
 * by hand. Each is two triangles behind its first corner with the sign of their turning; the
 * products of the signs times what two triangles share (Sutherland & Hodgman 1974: one is cut by
 * the lines of the other) add up to what the quadrilaterals share. Only one whose sides cross has
 * no such area.
 *
 * Rejected: clipping whole quadrilaterals, which is wrong for those that are not convex, and the
 * rectangle of least area around each, which is another shape than the label. */
#include "eval/quad_overlap.h"

#include <math.h>

typedef struct point {
    double x, y;
} point;

enum { SHARED_MAX = 6 }; /* corners of what two triangles share */

/* Twice the area on the left of a -> b -> c; negative: on the right. */
static double turning(point a, point b, point c)
{
    return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

static double fan(const point *p, int n)
{
    double sum = 0;
    for (int i = 2; i < n; i++) sum += turning(p[0], p[i - 1], p[i]);
    return sum / 2;
}

/* Keeps of the convex polygon p[n] what lies on the left of a -> b; the new count. */
static int cut(point *p, int n, point a, point b)
{
    point out[SHARED_MAX + 1];
    int count = 0;
    for (int i = 0; i < n; i++) {
        const point from = p[i], to = p[(i + 1) % n];
        const double f = turning(a, b, from), t = turning(a, b, to);
        if (f >= 0) out[count++] = from;
        if ((f < 0) == (t < 0)) continue;
        const double way = f / (f - t);
        out[count++] = (point){from.x + way * (to.x - from.x), from.y + way * (to.y - from.y)};
    }
    for (int i = 0; i < count; i++) p[i] = out[i];
    return count;
}

/* A triangle that turns left, and the sign that it had. */
static double order(const point q[4], int k, point out[3])
{
    const double sign = turning(q[0], q[k], q[k + 1]) < 0 ? -1 : 1;
    out[0] = q[0];
    out[1] = q[sign < 0 ? k + 1 : k];
    out[2] = q[sign < 0 ? k : k + 1];
    return sign;
}

static double triangles_both(const point a[3], const point b[3])
{
    point p[SHARED_MAX + 1] = {a[0], a[1], a[2]};
    int n = 3;
    for (int i = 0; i < 3 && n; i++) n = cut(p, n, b[i], b[(i + 1) % 3]);
    return fan(p, n);
}

/* Relative to (x, y), so that a box far from the picture's corner is as exact as one near it. */
static void shift(const double corners[8], double x, double y, point out[4])
{
    for (int k = 0; k < 4; k++) out[k] = (point){corners[2 * k] - x, corners[2 * k + 1] - y};
}

double cr_quad_area(const double corners[8])
{
    point p[4];
    shift(corners, corners[0], corners[1], p);
    return fabs(fan(p, 4));
}

void cr_quad_box(const double corners[8], double out[4])
{
    double x1 = corners[0], y1 = corners[1], x2 = x1, y2 = y1;
    for (int k = 1; k < 4; k++) {
        x1 = fmin(x1, corners[2 * k]), x2 = fmax(x2, corners[2 * k]);
        y1 = fmin(y1, corners[2 * k + 1]), y2 = fmax(y2, corners[2 * k + 1]);
    }
    out[0] = x1, out[1] = y1, out[2] = x2 - x1, out[3] = y2 - y1;
}

double cr_quad_both(const double a[8], const double b[8])
{
    point p[4], q[4];
    double around[2][4], sum = 0;
    cr_quad_box(a, around[0]);
    cr_quad_box(b, around[1]);
    for (int d = 0; d < 2; d++)
        if (around[0][d] + around[0][d + 2] <= around[1][d] ||
            around[1][d] + around[1][d + 2] <= around[0][d])
            return 0;
    shift(a, a[0], a[1], p);
    shift(b, a[0], a[1], q);
    for (int i = 1; i < 3; i++)
        for (int k = 1; k < 3; k++) {
            point s[3], t[3];
            const double sign = order(p, i, s) * order(q, k, t);
            sum += sign * triangles_both(s, t);
        }
    return fmin(fabs(sum), fmin(cr_quad_area(a), cr_quad_area(b)));
}
