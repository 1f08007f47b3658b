/* What pictures of numbers share: text, lines, and a file of either kind. Drawn with cairo, the same
 * as SVG or PNG. Colours are Okabe & Ito's (2008, "Color Universal Design"). */
#ifndef CR_PLOT_CANVAS_H
#define CR_PLOT_CANVAS_H

#include <cairo.h>

#include "base/error.h"

void cr_canvas_ink(cairo_t *cr, double grey); /* 0 black to 1 white */
void cr_canvas_font(cairo_t *cr, double size, bool bold);
/* `align`: 0 begins at x, .5 is centred on it, 1 ends there. */
void cr_canvas_text(cairo_t *cr, double x, double y, double align, const char *what);
void cr_canvas_line(cairo_t *cr, double x1, double y1, double x2, double y2, double width);

/* cairo refuses text that is not UTF-8, and names come from files: anything but ASCII becomes '?'. */
void cr_canvas_ascii(char *text);

/* CR_ERR_ARGUMENT unless the name ends in .svg or .png. */
cr_status cr_canvas_check_name(const char *path, cr_error *err);
/* Calls draw() once on a white sheet of width x height units (points in SVG, two pixels in PNG) and
 * writes the file, whole or not at all. */
cr_status cr_canvas_file(const char *path, int width, int height,
                         void (*draw)(cairo_t *cr, void *ctx), void *ctx, cr_error *err);

#endif
