/* Drawing detections with cairo, onto whatever surface the pen has. */
#ifndef CR_VISION_DRAW_H
#define CR_VISION_DRAW_H

#include <cairo.h>

#include "crayon/track.h"

typedef struct cr_pen {
    cairo_t *cr;
    double line,
        text; /* width of lines, height of letters, in pixels; they follow the picture's size */
    int width, height; /* of the picture */
    /* NULL, or told of each rectangle before something is drawn in it; may reach beyond the
     * picture. */
    void (*touch)(void *user, double x1, double y1, double x2, double y2);
    void *user;
} cr_pen;

cr_pen cr_pen_begin(cairo_t *cr, int width, int height);
void cr_pen_detections(const cr_pen *p, const cr_detections *found, const char *const *names,
                       size_t name_count);
/* A line or zone with its counts beside its first point. */
void cr_pen_zone(const cr_pen *p, const cr_zone *zone, const cr_zone_counts *counts);
/* A line of white text on a dark panel at the top left. */
void cr_pen_panel(const cr_pen *p, const char *text);

#endif
