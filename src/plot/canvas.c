#define _POSIX_C_SOURCE 200809L
#include "plot/canvas.h"

#include <cairo-svg.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"

enum { PNG_ZOOM = 2 };

void cr_canvas_ink(cairo_t *cr, double grey)
{
    cairo_set_source_rgb(cr, grey, grey, grey);
}

void cr_canvas_font(cairo_t *cr, double size, bool bold)
{
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, size);
}

void cr_canvas_text(cairo_t *cr, double x, double y, double align, const char *what)
{
    cairo_text_extents_t e;
    cairo_text_extents(cr, what, &e);
    cairo_move_to(cr, x - align * e.x_advance, y);
    cairo_show_text(cr, what);
}

void cr_canvas_line(cairo_t *cr, double x1, double y1, double x2, double y2, double width)
{
    cairo_move_to(cr, x1, y1);
    cairo_line_to(cr, x2, y2);
    cairo_set_line_width(cr, width);
    cairo_stroke(cr);
}

void cr_canvas_ascii(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~') *text = '?';
}

/* ---- files ---- */

static bool ends_with(const char *path, const char *ending)
{
    const size_t n = strlen(path), k = strlen(ending);
    return n >= k && !strcasecmp(path + n - k, ending);
}

cr_status cr_canvas_check_name(const char *path, cr_error *err)
{
    CR_CHECK(ends_with(path, ".svg") || ends_with(path, ".png"), err, CR_ERR_ARGUMENT,
             "%s: a plot's name ends in .svg or .png", path);
    return CR_OK;
}

static cairo_status_t write_bytes(void *user, const unsigned char *bytes, unsigned n)
{
    return fwrite(bytes, 1, n, user) == n ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static cairo_surface_t *open_surface(bool svg, FILE *f, int width, int height)
{
    if (svg) return cairo_svg_surface_create_for_stream(write_bytes, f, width, height);
    return cairo_image_surface_create(CAIRO_FORMAT_RGB24, width * PNG_ZOOM, height * PNG_ZOOM);
}

/* A full disk shows in the stream and is reported by the commit; what remains here is memory. */
static cr_status finish(cairo_t *cr, cairo_surface_t *surface, bool svg, FILE *f, cr_error *err)
{
    cairo_status_t why = cairo_status(cr);
    cairo_destroy(cr);
    if (why == CAIRO_STATUS_SUCCESS && !svg)
        why = cairo_surface_write_to_png_stream(surface, write_bytes, f);
    cairo_surface_finish(surface);
    if (why == CAIRO_STATUS_SUCCESS) why = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (why == CAIRO_STATUS_SUCCESS || why == CAIRO_STATUS_WRITE_ERROR) return CR_OK;
    return cr_fail(err, why == CAIRO_STATUS_NO_MEMORY ? CR_ERR_MEMORY : CR_ERR_INTERNAL,
                   "cannot draw the plot: %s", cairo_status_to_string(why));
}

cr_status cr_canvas_file(const char *path, int width, int height,
                         void (*draw)(cairo_t *cr, void *ctx), void *ctx, cr_error *err)
{
    CR_TRY(cr_canvas_check_name(path, err));
    const bool svg = ends_with(path, ".svg");
    cr_outfile *out;
    CR_TRY(cr_outfile_open(path, &out, err));
    FILE *f = cr_outfile_stream(out);
    cairo_surface_t *surface = open_surface(svg, f, width, height);
    cairo_t *cr = cairo_create(surface);
    if (!svg) cairo_scale(cr, PNG_ZOOM, PNG_ZOOM);
    cr_canvas_ink(cr, 1);
    cairo_paint(cr);
    draw(cr, ctx);
    const cr_status st = finish(cr, surface, svg, f, err);
    if (st == CR_OK) return cr_outfile_commit(&out, err);
    cr_outfile_abort(&out);
    return st;
}
