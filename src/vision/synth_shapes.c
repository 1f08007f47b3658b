/* The five classes: one function per outline, one table row per class. */
#include <math.h>

#include "vision/synth_scene.h"

static const double PI = 3.14159265358979323846;

static void regular_polygon(cairo_t *cr, int corners, double radius, double inner)
{
    const int points = inner > 0 ? 2 * corners : corners;
    for (int i = 0; i < points; i++) {
        const double angle = 2 * PI * i / points - PI / 2;
        const double r = inner > 0 && i % 2 ? inner : radius;
        cairo_line_to(cr, r * cos(angle), r * sin(angle));
    }
    cairo_close_path(cr);
}

static void circle_outline(cairo_t *cr, double param)
{
    cairo_new_sub_path(cr);
    cairo_arc(cr, 0, 0, 0.5, 0, 2 * PI);
    cairo_close_path(cr);
}

static void square_outline(cairo_t *cr, double param)
{
    cairo_rectangle(cr, -0.35, -0.35, 0.7, 0.7);
}

static void triangle_outline(cairo_t *cr, double param)
{
    regular_polygon(cr, 3, 0.5, 0);
}

static void star_outline(cairo_t *cr, double param)
{
    regular_polygon(cr, 5, 0.5, 0.18 + 0.08 * param);
}

/* A wax crayon lies along x, its tip at +0.49: barrel, shoulder, cone, blunt tip. */
static double crayon_radius(double param)
{
    return 0.08 + 0.04 * param;
}

static void crayon_outline(cairo_t *cr, double param)
{
    const double r = crayon_radius(param), waist = 0.72 * r, tip = 0.3 * r;
    const cr_point upper[] = {{-0.49, r}, {0.25, r}, {0.28, waist}, {0.48, tip}, {0.49, tip / 2}};
    const int n = sizeof upper / sizeof upper[0];
    for (int i = 0; i < n; i++) cairo_line_to(cr, upper[i].x, upper[i].y);
    for (int i = n - 1; i >= 0; i--) cairo_line_to(cr, upper[i].x, -upper[i].y);
    cairo_close_path(cr);
}

/* The paper sleeve with two printed rings; wax shows at both ends. */
static void crayon_detail(cairo_t *cr, double param, cr_colour fill)
{
    const double r = crayon_radius(param);
    const double light = 0.35 + 0.3 * param;
    cairo_set_source_rgb(cr, fill.r + (1 - fill.r) * light, fill.g + (1 - fill.g) * light,
                         fill.b + (1 - fill.b) * light);
    cairo_rectangle(cr, -0.44, -r, 0.64, 2 * r);
    cairo_fill(cr);
    cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
    cairo_rectangle(cr, -0.38, -r, 0.03, 2 * r);
    cairo_rectangle(cr, 0.12, -r, 0.03, 2 * r);
    cairo_fill(cr);
    cairo_arc(cr, -0.11, 0, 0.55 * r, 0, 2 * PI);
    cairo_fill(cr);
}

/* sin and cos of the corners' angles */
#define SIN72 0.95105651629515353
#define COS72 0.30901699437494745
#define SIN36 0.58778525229247314
#define COS36 0.80901699437494745

const cr_shape cr_shapes[CR_SHAPES] = {
    {.name = "circle", .outline = circle_outline, .smallest = 12},
    {.name = "square",
     .outline = square_outline,
     .smallest = 17,
     .keypoints = 4,
     .turning = 4,
     .keypoint_names = {"corner1", "corner2", "corner3", "corner4"},
     .keypoint = {{-0.35, -0.35}, {0.35, -0.35}, {0.35, 0.35}, {-0.35, 0.35}},
     .bones = 4,
     .bone = {{1, 2}, {2, 3}, {3, 4}, {4, 1}}},
    {.name = "triangle",
     .outline = triangle_outline,
     .smallest = 14,
     .keypoints = 3,
     .turning = 3,
     .keypoint_names = {"corner1", "corner2", "corner3"},
     .keypoint = {{0, -0.5}, {0.43301270189221935, 0.25}, {-0.43301270189221935, 0.25}},
     .bones = 3,
     .bone = {{1, 2}, {2, 3}, {3, 1}}},
    {.name = "star",
     .outline = star_outline,
     .smallest = 14,
     .keypoints = 6,
     .turning = 5,
     .keypoint_names = {"tip1", "tip2", "tip3", "tip4", "tip5", "centre"},
     .keypoint = {{0, -0.5},
                  {0.5 * SIN72, -0.5 * COS72},
                  {0.5 * SIN36, 0.5 * COS36},
                  {-0.5 * SIN36, 0.5 * COS36},
                  {-0.5 * SIN72, -0.5 * COS72},
                  {0, 0}},
     .bones = 5,
     .bone = {{6, 1}, {6, 2}, {6, 3}, {6, 4}, {6, 5}}},
    {.name = "crayon",
     .outline = crayon_outline,
     .detail = crayon_detail,
     .smallest = 24,
     .keypoints = 2,
     .keypoint_names = {"tip", "end"},
     .keypoint = {{0.49, 0}, {-0.49, 0}},
     .bones = 1,
     .bone = {{1, 2}}},
};
