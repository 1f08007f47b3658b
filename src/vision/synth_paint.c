/* Pixels of a synthetic scene, back to front: gradient, texture, clutter, shapes, a few thin
 * things over all, then what a camera adds (synth_degrade.c).
 *
 * Nothing of a shape is painted outside its outline: edges and details are clipped to it, so the
 * label is exact up to antialiasing. Clutter never is a circle, square, triangle, star or crayon:
 * it is open strokes, lumpy blobs and rows of short dashes. */
#include <math.h>

#include "base/mem.h"
#include "vision/synth_scene.h"

static const double PI = 3.14159265358979323846;

enum { STYLE_GRADIENT = 1, STYLE_STRIPES = 2, STYLE_EDGE = 3, STYLE_DOTS = 4 }; /* others: plain */

typedef void (*paint_fn)(cairo_t *cr, cr_rng *rng, double w, double h);

static void set_colour(cairo_t *cr, cr_colour c, double alpha)
{
    cairo_set_source_rgba(cr, c.r, c.g, c.b, alpha);
}

/* One draw per statement: the order in which arguments are evaluated is the compiler's choice. */
static void set_random_colour(cairo_t *cr, cr_rng *rng, double lo, double hi)
{
    const double alpha = cr_rng_range(rng, lo, hi);
    set_colour(cr, cr_colour_random(rng), alpha);
}

static cr_point random_point(cr_rng *rng, double w, double h)
{
    cr_point p;
    p.y = cr_rng_range(rng, 0, h);
    p.x = cr_rng_range(rng, 0, w);
    return p;
}

static void random_line(cairo_t *cr, cr_rng *rng, double w, double h)
{
    const cr_point from = random_point(rng, w, h), to = random_point(rng, w, h);
    cairo_move_to(cr, from.x, from.y);
    cairo_line_to(cr, to.x, to.y);
}

static void paint_gradient(cairo_t *cr, const cr_scene *s, cr_rng *rng)
{
    const double angle = cr_rng_range(rng, 0, 2 * PI), reach = (s->width + s->height) / 4.0;
    const double cx = s->width / 2.0, cy = s->height / 2.0;
    const double dx = reach * cos(angle), dy = reach * sin(angle);
    cairo_pattern_t *p = cairo_pattern_create_linear(cx - dx, cy - dy, cx + dx, cy + dy);
    cairo_pattern_add_color_stop_rgb(p, 0, s->sky.r, s->sky.g, s->sky.b);
    cairo_pattern_add_color_stop_rgb(p, 1, s->ground.r, s->ground.g, s->ground.b);
    cairo_set_source(cr, p);
    cairo_paint(cr);
    cairo_pattern_destroy(p);
}

/* --- textures: the whole picture, faint ---------------------------------------------------- */

/* A small picture of random greys, blown up with bilinear filtering: clouds or patches. */
static void texture_clouds(cairo_t *cr, cr_rng *rng, double w, double h)
{
    enum { CELLS = 16 };
    cairo_surface_t *noise = cairo_image_surface_create(CAIRO_FORMAT_RGB24, CELLS, CELLS);
    if (!cairo_surface_status(noise)) {
        unsigned char *pixels = cairo_image_surface_get_data(noise);
        const int stride = cairo_image_surface_get_stride(noise);
        cairo_surface_flush(noise);
        for (int y = 0; y < CELLS; y++) {
            uint32_t *row = (uint32_t *)(void *)(pixels + y * stride);
            for (int x = 0; x < CELLS; x++) row[x] = (uint32_t)cr_rng_u64(rng) & 0xffffff;
        }
        cairo_surface_mark_dirty(noise);
    }
    const double zoom = (w > h ? w : h) / (CELLS - 2);
    cairo_scale(cr, zoom, zoom);
    cairo_set_source_surface(cr, noise, -1, -1);
    cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_BILINEAR);
    cairo_paint_with_alpha(cr, cr_rng_range(rng, 0.1, 0.35));
    cairo_surface_destroy(noise);
}

static void texture_stripes(cairo_t *cr, cr_rng *rng, double w, double h)
{
    const double step = cr_rng_range(rng, 5, 30), reach = w + h;
    cairo_translate(cr, w / 2, h / 2);
    cairo_rotate(cr, cr_rng_range(rng, 0, PI));
    for (double x = -reach / 2; x < reach / 2; x += step) {
        cairo_move_to(cr, x, -reach / 2);
        cairo_line_to(cr, x, reach / 2);
    }
    set_random_colour(cr, rng, 0.1, 0.35);
    cairo_set_line_width(cr, step * cr_rng_range(rng, 0.15, 0.5));
    cairo_stroke(cr);
}

static void texture_grid(cairo_t *cr, cr_rng *rng, double w, double h)
{
    cairo_save(cr);
    texture_stripes(cr, rng, w, h);
    cairo_restore(cr);
    texture_stripes(cr, rng, w, h);
}

static void texture_none(cairo_t *cr, cr_rng *rng, double w, double h) {}

static const paint_fn TEXTURES[] = {texture_none, texture_clouds, texture_stripes, texture_grid};

/* --- clutter -------------------------------------------------------------------------------- */

static void clutter_line(cairo_t *cr, cr_rng *rng, double w, double h)
{
    random_line(cr, rng, w, h);
    cairo_set_line_width(cr, cr_rng_range(rng, 0.7, 5));
    cairo_stroke(cr);
}

static void clutter_curve(cairo_t *cr, cr_rng *rng, double w, double h)
{
    double p[8];
    for (int i = 0; i < 8; i++) p[i] = cr_rng_range(rng, -0.1, 1.1) * (i % 2 ? h : w);
    cairo_move_to(cr, p[0], p[1]);
    cairo_curve_to(cr, p[2], p[3], p[4], p[5], p[6], p[7]);
    cairo_set_line_width(cr, cr_rng_range(rng, 0.7, 8));
    cairo_stroke(cr);
}

/* A smooth closed curve around a ring of control points at very different radii: quadratic arcs
 * between the middles of neighbours, raised to cubic ones. */
static void clutter_blob(cairo_t *cr, cr_rng *rng, double w, double h)
{
    enum { KNOTS = 7 };
    double x[KNOTS], y[KNOTS];
    const double cx = cr_rng_range(rng, 0, w), cy = cr_rng_range(rng, 0, h);
    const double size = cr_rng_range(rng, 0.04, 0.2) * (w + h) / 2;
    for (int i = 0; i < KNOTS; i++) {
        const double r = size * (i % 2 ? cr_rng_range(rng, 0.2, 0.6) : cr_rng_range(rng, 0.7, 1.4));
        x[i] = cx + r * cos(2 * PI * i / KNOTS);
        y[i] = cy + r * sin(2 * PI * i / KNOTS);
    }
    double ax = (x[KNOTS - 1] + x[0]) / 2, ay = (y[KNOTS - 1] + y[0]) / 2;
    cairo_move_to(cr, ax, ay);
    for (int i = 0; i < KNOTS; i++) {
        const int next = (i + 1) % KNOTS;
        const double bx = (x[i] + x[next]) / 2, by = (y[i] + y[next]) / 2;
        cairo_curve_to(cr, (ax + 2 * x[i]) / 3, (ay + 2 * y[i]) / 3, (bx + 2 * x[i]) / 3,
                       (by + 2 * y[i]) / 3, bx, by);
        ax = bx;
        ay = by;
    }
    cairo_close_path(cr);
    cairo_fill(cr);
}

/* Something like a line of handwriting. */
static void clutter_scribble(cairo_t *cr, cr_rng *rng, double w, double h)
{
    const double size = cr_rng_range(rng, 3, 12);
    double x = cr_rng_range(rng, -0.1, 0.9) * w;
    const double y = cr_rng_range(rng, 0, h);
    cairo_move_to(cr, x, y);
    for (int i = 6 + (int)cr_rng_below(rng, 14); i > 0; i--) {
        x += size * cr_rng_range(rng, 0.2, 0.8);
        cairo_line_to(cr, x, y + size * cr_rng_range(rng, -1, 1));
    }
    cairo_set_line_width(cr, cr_rng_range(rng, 0.8, 2.2));
    cairo_stroke(cr);
}

static void clutter_dashes(cairo_t *cr, cr_rng *rng, double w, double h)
{
    const double on = cr_rng_range(rng, 2, 12);
    cairo_set_dash(cr, &on, 1, 0);
    clutter_line(cr, rng, w, h);
}

static const paint_fn CLUTTER[] = {clutter_line, clutter_curve, clutter_blob, clutter_scribble,
                                   clutter_dashes};

static void paint_clutter(cairo_t *cr, cr_rng *rng, double w, double h)
{
    enum { KINDS = sizeof CLUTTER / sizeof CLUTTER[0] };
    for (int i = (int)cr_rng_below(rng, 14); i > 0; i--) {
        cairo_save(cr);
        set_random_colour(cr, rng, 0.25, 1);
        CLUTTER[cr_rng_below(rng, KINDS)](cr, rng, w, h);
        cairo_restore(cr);
    }
}

/* At most three hairlines in front of everything. */
static void paint_front(cairo_t *cr, cr_rng *rng, double w, double h)
{
    if (cr_rng_below(rng, 3)) return;
    for (int i = 1 + (int)cr_rng_below(rng, 3); i > 0; i--) {
        set_random_colour(cr, rng, 0.3, 0.8);
        random_line(cr, rng, w, h);
        cairo_set_line_width(cr, cr_rng_range(rng, 0.6, 1.5));
        cairo_stroke(cr);
    }
}

/* --- shapes: unit space, clipped to the outline, already filled plainly -------------------- */

static void fill_gradient(cairo_t *cr, cr_rng *rng, const cr_instance *it)
{
    const double angle = cr_rng_range(rng, 0, 2 * PI), dx = 0.5 * cos(angle), dy = 0.5 * sin(angle);
    const cr_colour a = it->fill, b = it->second;
    cairo_pattern_t *p = cairo_pattern_create_linear(-dx, -dy, dx, dy);
    cairo_pattern_add_color_stop_rgb(p, 0, a.r, a.g, a.b);
    cairo_pattern_add_color_stop_rgb(p, 1, (a.r + b.r) / 2, (a.g + b.g) / 2, (a.b + b.b) / 2);
    cairo_set_source(cr, p);
    cairo_paint(cr);
    cairo_pattern_destroy(p);
}

static void fill_stripes(cairo_t *cr, cr_rng *rng, const cr_instance *it)
{
    const double step = cr_rng_range(rng, 0.1, 0.3);
    cairo_rotate(cr, cr_rng_range(rng, 0, PI));
    for (double x = -0.6; x < 0.6; x += step) {
        cairo_move_to(cr, x, -0.6);
        cairo_line_to(cr, x, 0.6);
    }
    set_colour(cr, it->second, 0.7);
    cairo_set_line_width(cr, step * 0.4);
    cairo_stroke(cr);
}

static void fill_edge(cairo_t *cr, cr_rng *rng, const cr_instance *it)
{
    cairo_new_path(cr);
    it->shape->outline(cr, it->param);
    set_colour(cr, it->second, 1);
    cairo_set_line_width(cr, cr_rng_range(rng, 0.06, 0.2)); /* half of it lies inside */
    cairo_stroke(cr);
}

static void fill_dots(cairo_t *cr, cr_rng *rng, const cr_instance *it)
{
    const double step = cr_rng_range(rng, 0.12, 0.25);
    for (double y = -0.5; y < 0.5; y += step)
        for (double x = -0.5; x < 0.5; x += step) {
            cairo_new_sub_path(cr);
            cairo_arc(cr, x, y, step * 0.25, 0, 2 * PI);
        }
    set_colour(cr, it->second, 0.8);
    cairo_fill(cr);
}

static void paint_instance(cairo_t *cr, cr_rng *rng, const cr_instance *it)
{
    cairo_save(cr);
    cairo_transform(cr, &it->place);
    it->shape->outline(cr, it->param);
    set_colour(cr, it->fill, 1);
    cairo_fill_preserve(cr);
    cairo_clip(cr);
    if (it->shape->detail)
        it->shape->detail(cr, it->param, it->fill);
    else if (it->style == STYLE_GRADIENT)
        fill_gradient(cr, rng, it);
    else if (it->style == STYLE_STRIPES)
        fill_stripes(cr, rng, it);
    else if (it->style == STYLE_EDGE)
        fill_edge(cr, rng, it);
    else if (it->style == STYLE_DOTS)
        fill_dots(cr, rng, it);
    cairo_restore(cr);
}

static void paint_all(cairo_t *cr, cr_rng *rng, const cr_scene *s)
{
    enum { KINDS = sizeof TEXTURES / sizeof TEXTURES[0] };
    paint_gradient(cr, s, rng);
    cairo_save(cr);
    TEXTURES[cr_rng_below(rng, KINDS)](cr, rng, s->width, s->height);
    cairo_restore(cr);
    paint_clutter(cr, rng, s->width, s->height);
    for (int i = 0; i < s->count; i++) paint_instance(cr, rng, &s->instance[i]);
    paint_front(cr, rng, s->width, s->height);
}

static void copy_pixels(cairo_surface_t *surface, cr_image *out)
{
    cairo_surface_flush(surface);
    const unsigned char *pixels = cairo_image_surface_get_data(surface);
    const size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    uint8_t *to = out->rgb;
    for (int y = 0; y < out->height; y++) {
        const uint32_t *row = (const uint32_t *)(const void *)(pixels + (size_t)y * stride);
        for (int x = 0; x < out->width; x++, to += 3) {
            to[0] = (uint8_t)(row[x] >> 16);
            to[1] = (uint8_t)(row[x] >> 8);
            to[2] = (uint8_t)row[x];
        }
    }
}

cr_status cr_scene_paint(const cr_scene *s, cr_rng *rng, cr_image *out, cr_error *err)
{
    CR_TRY(cr_image_create(s->width, s->height, out, err));
    cr_status st = CR_OK;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, s->width, s->height);
    cairo_t *cr = cairo_create(surface);
    paint_all(cr, rng, s);
    if (cairo_status(cr) || cairo_surface_status(surface))
        st = CR_NOMEM(err);
    else
        copy_pixels(surface, out);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    if (st == CR_OK) st = cr_degrade(out, rng, err);
    if (st != CR_OK) cr_image_free(out);
    return st;
}
