/* Where things are in a synthetic scene, and what is seen of them.
 *
 * Ground truth comes from geometry, never from pixels: a shape's path goes through its matrix,
 * cairo flattens it (to a 256th of a pixel), the polygon is clipped to the picture, and box and
 * area are those of the polygon. Keypoints go through the same matrix. A mask of who covers whom
 * (one byte per pixel, filled by scan conversion at pixel centres) answers the two questions about
 * overlap: how much of a shape is hidden, and whether a keypoint is.
 *
 * Rejected: boxes from rendered alpha masks. Antialiased borders and blur move them by up to a
 * pixel, which is an IoU of 0.85 on a shape of 12 pixels. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "vision/synth_scene.h"

static const double PI = 3.14159265358979323846;

enum { MAX_TRIES = 24 };
static const double MIN_INSIDE = 0.6;   /* part of a shape that must lie in the picture */
static const double MAX_HIDDEN = 0.7;   /* more than this covered: not in the scene */
static const double MIN_CONTRAST = 0.3; /* distance between a shape's colour and the background */

static const struct {
    int width, height;
} SIZES[] = {{320, 256}, {320, 240}, {256, 320}, {288, 288}, {256, 256},
             {320, 192}, {240, 320}, {352, 264}, {272, 208}, {224, 320}};

cr_colour cr_colour_random(cr_rng *rng)
{
    cr_colour c;
    c.r = cr_rng_unit(rng);
    c.g = cr_rng_unit(rng);
    c.b = cr_rng_unit(rng);
    return c;
}

double cr_colour_distance(cr_colour a, cr_colour b)
{
    const double r = a.r - b.r, g = a.g - b.g, blue = a.b - b.b;
    return sqrt((r * r + g * g + blue * blue) / 3);
}

static cr_status polygon_add(cr_polygon *p, double x, double y, cr_error *err)
{
    if (!cr_grow((void **)&p->at, &p->capacity, p->count, sizeof *p->at)) return CR_NOMEM(err);
    p->at[p->count++] = (cr_point){x, y};
    return CR_OK;
}

static void polygon_free(cr_polygon *p)
{
    cr_free(p->at);
    *p = (cr_polygon){0};
}

static double polygon_area(const cr_polygon *p)
{
    double twice = 0;
    for (size_t i = 0; i < p->count; i++) {
        const cr_point a = p->at[i], b = p->at[(i + 1) % p->count];
        twice += a.x * b.y - b.x * a.y;
    }
    return fabs(twice) / 2;
}

/* The shape's outline in pixels. `cr` is a scratch context with an identity matrix. */
static cr_status flatten(cairo_t *cr, const cr_instance *it, cr_polygon *out, cr_error *err)
{
    out->count = 0;
    cairo_save(cr);
    cairo_new_path(cr);
    cairo_transform(cr, &it->place);
    it->shape->outline(cr, it->param);
    cairo_restore(cr);
    cairo_path_t *path = cairo_copy_path_flat(cr);
    cr_status st = path->status ? CR_NOMEM(err) : CR_OK;
    for (int i = 0; st == CR_OK && i < path->num_data; i += path->data[i].header.length) {
        const cairo_path_data_t *d = &path->data[i];
        if (d->header.type == CAIRO_PATH_LINE_TO ||
            (d->header.type == CAIRO_PATH_MOVE_TO && out->count == 0))
            st = polygon_add(out, d[1].point.x, d[1].point.y, err);
    }
    cairo_path_destroy(path);
    return st;
}

/* Signed distance into the half plane of border 0..3 (left, right, top, bottom). */
static double inside(cr_point p, int border, int width, int height)
{
    switch (border) {
    case 0:
        return p.x;
    case 1:
        return width - p.x;
    case 2:
        return p.y;
    default:
        return height - p.y;
    }
}

static cr_status clip_border(const cr_polygon *in, int border, const cr_scene *s, cr_polygon *out,
                             cr_error *err)
{
    out->count = 0;
    for (size_t i = 0; i < in->count; i++) {
        const cr_point a = in->at[i], b = in->at[(i + 1) % in->count];
        const double da = inside(a, border, s->width, s->height);
        const double db = inside(b, border, s->width, s->height);
        if (da >= 0) CR_TRY(polygon_add(out, a.x, a.y, err));
        if ((da >= 0) == (db >= 0)) continue;
        const double t = da / (da - db);
        CR_TRY(polygon_add(out, a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), err));
    }
    return CR_OK;
}

/* Sutherland & Hodgman 1974. Pieces of a concave shape stay joined by edges on the border, which
 * add nothing to area or extent. */
static cr_status clip(cr_polygon *p, const cr_scene *s, cr_error *err)
{
    cr_polygon other = {0};
    cr_status st = CR_OK;
    for (int border = 0; border < 4 && st == CR_OK; border++) {
        st = clip_border(p, border, s, &other, err);
        const cr_polygon swap = *p;
        *p = other;
        other = swap;
    }
    polygon_free(&other);
    return st;
}

/* Puts the outline on the 0.01 px grid that is written, dropping points that became equal. */
static void snap(cr_polygon *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        const cr_point q = {round(p->at[i].x * 100) / 100, round(p->at[i].y * 100) / 100};
        if (kept && p->at[kept - 1].x == q.x && p->at[kept - 1].y == q.y) continue;
        p->at[kept++] = q;
    }
    while (kept > 1 && p->at[0].x == p->at[kept - 1].x && p->at[0].y == p->at[kept - 1].y) kept--;
    p->count = kept;
}

static void measure(cr_instance *it)
{
    it->x1 = it->y1 = INFINITY;
    it->x2 = it->y2 = -INFINITY;
    for (size_t i = 0; i < it->outline.count; i++) {
        const cr_point p = it->outline.at[i];
        it->x1 = fmin(it->x1, p.x);
        it->y1 = fmin(it->y1, p.y);
        it->x2 = fmax(it->x2, p.x);
        it->y2 = fmax(it->y2, p.y);
    }
    it->area = polygon_area(&it->outline);
}

/* Keypoints in pixels, the interchangeable ones beginning with the topmost. */
static void place_keypoints(cr_instance *it)
{
    cr_point raw[CR_MAX_KEYPOINTS];
    const int n = it->shape->keypoints, turning = it->shape->turning;
    int first = 0;
    for (int i = 0; i < n; i++) {
        raw[i] = it->shape->keypoint[i];
        cairo_matrix_transform_point(&it->place, &raw[i].x, &raw[i].y);
        if (i < turning && raw[i].y < raw[first].y) first = i;
    }
    for (int i = 0; i < n; i++) it->keypoint[i] = i < turning ? raw[(first + i) % turning] : raw[i];
}

/* Geometry of an instance whose shape, param and place are set. *whole is the unclipped area. */
static cr_status trace(cr_instance *it, const cr_scene *s, cairo_t *cr, double *whole,
                       cr_error *err)
{
    CR_TRY(flatten(cr, it, &it->outline, err));
    *whole = polygon_area(&it->outline);
    CR_TRY(clip(&it->outline, s, err));
    snap(&it->outline);
    measure(it);
    place_keypoints(it);
    return CR_OK;
}

/* x of the polygon's edges at height y, in increasing order; at most `limit`. */
static int crossings(const cr_polygon *p, double y, double *x, int limit)
{
    int n = 0;
    for (size_t i = 0; i < p->count; i++) {
        const cr_point a = p->at[i], b = p->at[(i + 1) % p->count];
        if ((a.y <= y) == (b.y <= y) || n == limit) continue;
        const double at = a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x);
        int k = n++;
        for (; k > 0 && x[k - 1] > at; k--) x[k] = x[k - 1];
        x[k] = at;
    }
    return n;
}

typedef struct coverage {
    size_t total, taken;
} coverage;

/* Counts the pixels whose centres lie in the outline and those already set in `mask`
 * [height, width]; with `mark` not 0, sets them to it. */
static coverage scan(const cr_polygon *p, const cr_scene *s, uint8_t *mask, uint8_t mark)
{
    enum { MAX_CROSSINGS = 64 };
    coverage c = {0, 0};
    double x[MAX_CROSSINGS];
    for (int y = 0; y < s->height; y++) {
        const int n = crossings(p, y + 0.5, x, MAX_CROSSINGS);
        for (int k = 0; k + 1 < n; k += 2) {
            const int from = (int)ceil(x[k] - 0.5), to = (int)ceil(x[k + 1] - 0.5);
            uint8_t *row = mask + (size_t)y * (size_t)s->width;
            for (int i = from < 0 ? 0 : from; i < to && i < s->width; i++) {
                c.total++;
                c.taken += row[i] != 0;
                if (mark) row[i] = mark;
            }
        }
    }
    return c;
}

static double log_uniform(cr_rng *rng, double lo, double hi)
{
    return hi <= lo ? lo : lo * exp(cr_rng_unit(rng) * log(hi / lo));
}

/* Size, stretch, turn and position. The stretch (as of a view from the side) is along any axis. */
static void draw_place(cr_rng *rng, const cr_scene *s, cr_synth_task task, cr_instance *it)
{
    const double longer = s->width > s->height ? s->width : s->height;
    const double shorter = s->width > s->height ? s->height : s->width;
    const bool single = task == CR_SYNTH_CLASSIFY;
    const double size = single ? shorter * cr_rng_range(rng, 0.45, 1.0)
                               : log_uniform(rng, it->shape->smallest, longer / 2 / 1.12);
    const double stretch = exp(cr_rng_range(rng, -0.11, 0.11));
    const double reach = single ? 0.12 : 0.5;
    const double x = s->width * (0.5 + cr_rng_range(rng, -reach, reach));
    const double y = s->height * (0.5 + cr_rng_range(rng, -reach, reach));
    cairo_matrix_init_translate(&it->place, x, y);
    cairo_matrix_rotate(&it->place, cr_rng_range(rng, 0, 2 * PI));
    cairo_matrix_scale(&it->place, size * stretch, size / stretch);
    cairo_matrix_rotate(&it->place, cr_rng_range(rng, 0, 2 * PI));
}

static void draw_colours(cr_rng *rng, const cr_scene *s, cr_instance *it)
{
    const cr_colour middle = {(s->sky.r + s->ground.r) / 2, (s->sky.g + s->ground.g) / 2,
                              (s->sky.b + s->ground.b) / 2};
    it->fill = cr_colour_random(rng);
    for (int i = 0; i < MAX_TRIES && cr_colour_distance(it->fill, middle) < MIN_CONTRAST; i++)
        it->fill = cr_colour_random(rng);
    it->second = cr_colour_random(rng);
    it->style = (int)cr_rng_below(rng, 8);
}

static const cr_shape *draw_shape(cr_rng *rng, cr_synth_task task, int index)
{
    if (task == CR_SYNTH_CLASSIFY) return &cr_shapes[index % CR_SHAPES];
    const cr_shape *shape = &cr_shapes[cr_rng_below(rng, CR_SHAPES)];
    while (task == CR_SYNTH_POSE && shape->keypoints == 0)
        shape = &cr_shapes[cr_rng_below(rng, CR_SHAPES)];
    return shape;
}

/* Tries places until one is good; scene->count grows by one, or not. */
static cr_status add_instance(cr_rng *rng, cr_synth_task task, int index, cr_scene *s, cairo_t *cr,
                              uint8_t *mask, cr_error *err)
{
    cr_instance *it = &s->instance[s->count];
    it->shape = draw_shape(rng, task, index);
    it->param = cr_rng_unit(rng);
    draw_colours(rng, s, it);
    for (int i = 0; i < MAX_TRIES; i++) {
        double whole;
        draw_place(rng, s, task, it);
        CR_TRY(trace(it, s, cr, &whole, err));
        const coverage c = scan(&it->outline, s, mask, 0);
        if (it->area < MIN_INSIDE * whole || c.total == 0) continue;
        if (task == CR_SYNTH_SEGMENT && c.taken) continue;
        scan(&it->outline, s, mask, 1);
        s->count++;
        return CR_OK;
    }
    polygon_free(&it->outline);
    return CR_OK;
}

static int keypoint_visibility(const cr_scene *s, const uint8_t *mask, cr_point p)
{
    if (!(p.x >= 0 && p.y >= 0 && p.x < s->width && p.y < s->height)) return 0;
    return mask[(size_t)p.y * (size_t)s->width + (size_t)p.x] ? 1 : 2;
}

/* From the topmost instance down: leaves out what is hidden, sees which keypoints are. */
static void drop_hidden(cr_scene *s, uint8_t *mask)
{
    memset(mask, 0, (size_t)s->width * (size_t)s->height);
    for (int i = s->count - 1; i >= 0; i--) {
        cr_instance *it = &s->instance[i];
        const coverage c = scan(&it->outline, s, mask, 0);
        if ((double)c.taken > MAX_HIDDEN * (double)c.total) {
            polygon_free(&it->outline);
            memmove(it, it + 1, (size_t)(s->count - 1 - i) * sizeof *it);
            s->instance[--s->count] = (cr_instance){0};
            continue;
        }
        for (int k = 0; k < it->shape->keypoints; k++)
            it->visible[k] = keypoint_visibility(s, mask, it->keypoint[k]);
        scan(&it->outline, s, mask, 1);
    }
}

static void draw_canvas(cr_rng *rng, const cr_synth_options *o, cr_scene *s)
{
    const uint32_t which = cr_rng_below(rng, sizeof SIZES / sizeof SIZES[0]);
    const int part = o->task == CR_SYNTH_CLASSIFY ? 3 : 1;
    s->width = o->width ? o->width : SIZES[which].width / part;
    s->height = o->height ? o->height : SIZES[which].height / part;
    s->sky = cr_colour_random(rng);
    s->ground = cr_colour_random(rng);
    for (int i = 0; i < MAX_TRIES && cr_colour_distance(s->sky, s->ground) > 0.35; i++)
        s->ground = cr_colour_random(rng);
}

cr_status cr_scene_make(cr_rng *rng, const cr_synth_options *options, int index, cr_scene *s,
                        cr_error *err)
{
    cr_status st = CR_OK;
    *s = (cr_scene){0};
    draw_canvas(rng, options, s);
    const bool single = options->task == CR_SYNTH_CLASSIFY;
    const int wanted = single ? 1 : 1 + (int)cr_rng_below(rng, CR_MAX_INSTANCES - 2);
    uint8_t *mask = cr_calloc((size_t)s->width * (size_t)s->height, 1);
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    cairo_t *cr = cairo_create(surface);
    if (!mask || cairo_status(cr)) st = CR_NOMEM(err);
    while (st == CR_OK && single && s->count == 0)
        st = add_instance(rng, options->task, index, s, cr, mask, err);
    for (int i = s->count; i < wanted && st == CR_OK; i++)
        st = add_instance(rng, options->task, index, s, cr, mask, err);
    if (st == CR_OK) drop_hidden(s, mask);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    cr_free(mask);
    if (st != CR_OK) cr_scene_free(s);
    return st;
}

void cr_scene_free(cr_scene *s)
{
    for (int i = 0; i < CR_MAX_INSTANCES; i++) polygon_free(&s->instance[i].outline);
    *s = (cr_scene){0};
}
