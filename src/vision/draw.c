/* Annotated pictures with cairo.
 *
 * Sizes follow the picture: a line is 1/320 of its mean side (at least 1.5 px), text 7 lines high
 * (at least 11 px), so that 320 px thumbnails and 4K frames are equally readable. Labels are drawn
 * after all boxes, best on top, inside the picture even for boxes at its edge.
 *
 * Colours: the seven hues of Okabe & Ito (2008, "Color Universal Design"), which people with the
 * common colour-vision deficiencies can tell apart, in three lightnesses: class k has hue k mod 7
 * and lightness k / 7 mod 3. Black is left out, it is the outline. */
#define _POSIX_C_SOURCE 200809L
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "vision/draw.h"

enum { MAX_SIDE = 32767, MAX_LABEL = 96 };

struct colour {
    double r, g, b;
};

static struct colour class_colour(int class_id)
{
    static const uint8_t hues[7][3] = {{230, 159, 0},  {86, 180, 233}, {0, 158, 115},
                                       {240, 228, 66}, {0, 114, 178},  {213, 94, 0},
                                       {204, 121, 167}};
    static const double toward_white[3] = {0, .45, 0}, keep[3] = {1, 1, .62};
    const unsigned k = (unsigned)class_id;
    const uint8_t *h = hues[k % 7];
    const double w = toward_white[k / 7 % 3], d = keep[k / 7 % 3];
    return (struct colour){d * (h[0] / 255.0 * (1 - w) + w), d * (h[1] / 255.0 * (1 - w) + w),
                           d * (h[2] / 255.0 * (1 - w) + w)};
}

static void set_colour(const cr_pen *p, struct colour c, double alpha)
{
    cairo_set_source_rgba(p->cr, c.r, c.g, c.b, alpha);
}

/* Rec. 709 luma decides between black and white letters. */
static void set_ink_on(const cr_pen *p, struct colour c)
{
    const double v = .2126 * c.r + .7152 * c.g + .0722 * c.b > .45 ? 0 : 1;
    cairo_set_source_rgb(p->cr, v, v, v);
}

/* Tells what is about to be drawn over: the rectangle and `margin` around it. */
static void touch(const cr_pen *p, double x1, double y1, double x2, double y2, double margin)
{
    if (p->touch) p->touch(p->user, x1 - margin, y1 - margin, x2 + margin, y2 + margin);
}

/* A veil of the class's colour over the object's pixels. */
static void draw_mask(const cr_pen *p, const cr_detection *d)
{
    const cr_mask *m = d->mask;
    if (!m->on) return;
    cairo_surface_t *veil = cairo_image_surface_create(CAIRO_FORMAT_A8, m->width, m->height);
    uint8_t *to = cairo_image_surface_get_data(veil);
    const size_t stride = (size_t)cairo_image_surface_get_stride(veil);
    for (int y = 0; to && y < m->height; y++)
        for (int x = 0; x < m->width; x++)
            to[(size_t)y * stride + (size_t)x] =
                m->on[(size_t)y * (size_t)m->width + (size_t)x] ? 115 : 0;
    cairo_surface_mark_dirty(veil);
    touch(p, m->x, m->y, m->x + m->width, m->y + m->height, 1);
    set_colour(p, class_colour(d->class_id), 1);
    cairo_mask_surface(p->cr, veil, m->x, m->y);
    cairo_surface_destroy(veil);
}

static void draw_turned(const cr_pen *p, const cr_detection *d)
{
    const struct colour black = {0, 0, 0};
    const float *c = d->corners;
    for (int k = 0; k < 4; k++) {
        const int n = (k + 1) % 4;
        touch(p, fmin(c[2 * k], c[2 * n]), fmin(c[2 * k + 1], c[2 * n + 1]),
              fmax(c[2 * k], c[2 * n]), fmax(c[2 * k + 1], c[2 * n + 1]), p->line * 2);
        if (!k)
            cairo_move_to(p->cr, c[0], c[1]);
        else
            cairo_line_to(p->cr, c[2 * k], c[2 * k + 1]);
    }
    cairo_close_path(p->cr);
    set_colour(p, black, .5);
    cairo_set_line_join(p->cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_width(p->cr, p->line * 1.7);
    cairo_stroke_preserve(p->cr);
    set_colour(p, class_colour(d->class_id), 1);
    cairo_set_line_width(p->cr, p->line);
    cairo_stroke(p->cr);
}

static void draw_box(const cr_pen *p, const cr_detection *d)
{
    const double half = p->line / 2;
    const double x1 = fmax(d->box[0], half), y1 = fmax(d->box[1], half);
    const double x2 = fmin(d->box[2], p->width - half), y2 = fmin(d->box[3], p->height - half);
    const struct colour black = {0, 0, 0};
    touch(p, x1, y1, x2, y1, p->line);
    touch(p, x1, y2, x2, y2, p->line);
    touch(p, x1, y1, x1, y2, p->line);
    touch(p, x2, y1, x2, y2, p->line);
    cairo_set_line_join(p->cr, CAIRO_LINE_JOIN_MITER); /* cairo fills such frames without a path */
    cairo_rectangle(p->cr, x1, y1, fmax(x2 - x1, 0), fmax(y2 - y1, 0));
    set_colour(p, black, .5);
    cairo_set_line_width(p->cr, p->line * 1.7);
    cairo_stroke_preserve(p->cr);
    set_colour(p, class_colour(d->class_id), 1);
    cairo_set_line_width(p->cr, p->line);
    cairo_stroke(p->cr);
}

/* "name 0.87"; a name is cut to MAX_LABEL bytes at a whole UTF-8 character. */
static void label_text(const cr_detection *d, const char *const *names, size_t count, char *out,
                       size_t size)
{
    char name[MAX_LABEL];
    if ((size_t)d->class_id < count && names[d->class_id]) {
        const size_t room = sizeof name - 1;
        size_t n = strnlen(names[d->class_id], room + 1);
        if (n > room)
            for (n = room; n > 0 && ((unsigned char)names[d->class_id][n] & 0xc0) == 0x80;) n--;
        memcpy(name, names[d->class_id], n);
        name[n] = 0;
    } else {
        snprintf(name, sizeof name, "%d", d->class_id);
    }
    if (d->track)
        snprintf(out, size, "%s #%d %.2f", name, d->track, (double)d->score);
    else
        snprintf(out, size, "%s %.2f", name, (double)d->score);
}

/* Length of the UTF-8 character at p, 0 if it is malformed, overlong or no Unicode scalar. */
static size_t utf8_length(const unsigned char *p)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0x80) return 1;
    const size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc0 || p[0] >= 0xf8) return 0;
    uint32_t code = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    return code < smallest[n] || code > 0x10ffff || surrogate ? 0 : n;
}

/* cairo stops drawing for good at text that is not UTF-8: bad bytes become '?'. */
static void make_printable(char *s)
{
    while (*s) {
        const size_t n = utf8_length((const unsigned char *)s);
        if (!n || (unsigned char)*s < ' ') *s = '?';
        s += n ? n : 1;
    }
}

static void draw_label(const cr_pen *p, const cr_detection *d, const char *const *names,
                       size_t name_count)
{
    char text[MAX_LABEL + 32];
    cairo_text_extents_t t;
    cairo_font_extents_t f;
    label_text(d, names, name_count, text, sizeof text);
    make_printable(text);
    cairo_text_extents(p->cr, text, &t);
    cairo_font_extents(p->cr, &f);
    const double gap = p->text * .25, w = t.x_advance + 2 * gap, h = f.ascent + f.descent;
    double x = fmin(d->box[0] - p->line / 2, p->width - w), y = d->box[1] - h;
    x = fmax(x, 0);
    if (y < 0) y = fmin(d->box[1], p->height - h);
    y = fmax(y, 0);
    const struct colour c = class_colour(d->class_id);
    touch(p, x, y, x + w, y + h, 1);
    cairo_rectangle(p->cr, x, y, w, h);
    set_colour(p, c, .9);
    cairo_fill(p->cr);
    set_ink_on(p, c);
    cairo_move_to(p->cr, x + gap, y + f.ascent);
    cairo_show_text(p->cr, text);
}

/* COCO's 17 points: 0 nose, 1-2 eyes, 3-4 ears, then left/right shoulders, elbows, wrists, hips,
 * knees, ankles. */
static void draw_bones(const cr_pen *p, const float *k)
{
    cairo_set_line_join(p->cr, CAIRO_LINE_JOIN_ROUND);
    static const uint8_t bones[][2] = {
        {15, 13}, {13, 11}, {16, 14}, {14, 12}, {11, 12}, {5, 11}, {6, 12}, {5, 6}, {5, 7}, {6, 8},
        {7, 9},   {8, 10},  {1, 2},   {0, 1},   {0, 2},   {1, 3},  {2, 4},  {3, 5}, {4, 6}};
    for (size_t i = 0; i < sizeof bones / sizeof bones[0]; i++) {
        const float *a = k + 3 * bones[i][0], *b = k + 3 * bones[i][1];
        if (a[2] < .5f || b[2] < .5f) continue;
        touch(p, fmin(a[0], b[0]), fmin(a[1], b[1]), fmax(a[0], b[0]), fmax(a[1], b[1]), p->line);
        cairo_move_to(p->cr, a[0], a[1]);
        cairo_line_to(p->cr, b[0], b[1]);
    }
    cairo_set_line_width(p->cr, p->line);
    set_colour(p, class_colour(1), .9);
    cairo_stroke(p->cr);
}

static void draw_keypoints(const cr_pen *p, const float *k, int count)
{
    if (count == 17) draw_bones(p, k);
    const struct colour black = {0, 0, 0};
    for (int i = 0; i < count; i++, k += 3) {
        if (!(k[2] >= .5f)) continue;
        touch(p, k[0], k[1], k[0], k[1], p->line * 2);
        cairo_arc(p->cr, k[0], k[1], p->line * 1.4, 0, 6.283185307179586);
        set_colour(p, class_colour(3), 1);
        cairo_fill_preserve(p->cr);
        set_colour(p, black, .6);
        cairo_set_line_width(p->cr, p->line * .4);
        cairo_stroke(p->cr);
    }
}

cr_pen cr_pen_begin(cairo_t *cr, int width, int height)
{
    cr_pen p = {.cr = cr, .width = width, .height = height};
    p.line = fmax(sqrt((double)width * height) / 320, 1.5);
    p.text = fmax(p.line * 7, 11);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_ROUND);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
    cairo_set_font_size(cr, p.text);
    return p;
}

void cr_pen_detections(const cr_pen *p, const cr_detections *found, const char *const *names,
                       size_t name_count)
{
    for (size_t i = found->count; i-- > 0;)
        if (found->items[i].mask) draw_mask(p, &found->items[i]);
    for (size_t i = found->count; i-- > 0;)
        (found->items[i].oriented ? draw_turned : draw_box)(p, &found->items[i]);
    for (size_t i = found->count; i-- > 0;)
        if (found->items[i].keypoints)
            draw_keypoints(p, found->items[i].keypoints, found->keypoint_count);
    for (size_t i = found->count; i-- > 0;) draw_label(p, &found->items[i], names, name_count);
}

void cr_pen_zone(const cr_pen *p, const cr_zone *z, const cr_zone_counts *n)
{
    char text[64];
    cairo_text_extents_t t;
    const struct colour c = class_colour(2);
    for (int i = 0; i < z->points; i++) {
        const int j = (i + 1) % z->points;
        touch(p, fmin(z->x[i], z->x[j]), fmin(z->y[i], z->y[j]), fmax(z->x[i], z->x[j]),
              fmax(z->y[i], z->y[j]), p->line * 2);
        if (!i)
            cairo_move_to(p->cr, z->x[i], z->y[i]);
        else
            cairo_line_to(p->cr, z->x[i], z->y[i]);
    }
    if (z->points > 2) cairo_close_path(p->cr);
    set_colour(p, c, .9);
    cairo_set_line_width(p->cr, p->line * 1.5);
    cairo_stroke(p->cr);
    if (z->points > 2)
        snprintf(text, sizeof text, "%lld inside, %lld in, %lld out", n->inside, n->forward,
                 n->backward);
    else
        snprintf(text, sizeof text, "%lld right, %lld left", n->forward, n->backward);
    cairo_text_extents(p->cr, text, &t);
    const double gap = p->text * .3, w = t.x_advance + 2 * gap, h = p->text * 1.4;
    const double x = fmax(fmin(z->x[0] + p->line, p->width - w), 0);
    const double y = fmax(fmin(z->y[0] + p->line, p->height - h), 0);
    touch(p, x, y, x + w, y + h, 1);
    cairo_rectangle(p->cr, x, y, w, h);
    cairo_set_source_rgba(p->cr, 0, 0, 0, .6);
    cairo_fill(p->cr);
    cairo_set_source_rgb(p->cr, 1, 1, 1);
    cairo_move_to(p->cr, x + gap, y + p->text * 1.05);
    cairo_show_text(p->cr, text);
}

void cr_pen_panel(const cr_pen *p, const char *text)
{
    cairo_text_extents_t t;
    cairo_font_extents_t f;
    char line[MAX_LABEL + 32];
    snprintf(line, sizeof line, "%s", text);
    make_printable(line);
    cairo_text_extents(p->cr, line, &t);
    cairo_font_extents(p->cr, &f);
    const double gap = p->text * .4, w = t.x_advance + 2 * gap, h = f.ascent + f.descent;
    touch(p, 0, 0, w, h, 1);
    cairo_rectangle(p->cr, 0, 0, w, h);
    cairo_set_source_rgba(p->cr, 0, 0, 0, .6);
    cairo_fill(p->cr);
    cairo_set_source_rgb(p->cr, 1, 1, 1);
    cairo_move_to(p->cr, gap, f.ascent);
    cairo_show_text(p->cr, line);
}

/* cairo's RGB24 is a native-endian 0x00RRGGBB word per pixel. */
static void to_surface(const cr_image *img, cairo_surface_t *s)
{
    uint8_t *data = cairo_image_surface_get_data(s);
    const size_t stride = (size_t)cairo_image_surface_get_stride(s);
    const uint8_t *p = img->rgb;
    for (size_t y = 0; y < (size_t)img->height; y++)
        for (size_t x = 0; x < (size_t)img->width; x++, p += 3) {
            const uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
            memcpy(data + y * stride + 4 * x, &v, 4);
        }
    cairo_surface_mark_dirty(s);
}

static void from_surface(cairo_surface_t *s, cr_image *img)
{
    cairo_surface_flush(s);
    const uint8_t *data = cairo_image_surface_get_data(s);
    const size_t stride = (size_t)cairo_image_surface_get_stride(s);
    uint8_t *p = img->rgb;
    for (size_t y = 0; y < (size_t)img->height; y++)
        for (size_t x = 0; x < (size_t)img->width; x++, p += 3) {
            uint32_t v;
            memcpy(&v, data + y * stride + 4 * x, 4);
            p[0] = (uint8_t)(v >> 16);
            p[1] = (uint8_t)(v >> 8);
            p[2] = (uint8_t)v;
        }
}

cr_status cr_draw_detections(cr_image *img, const cr_detections *found, const char *const *names,
                             size_t name_count, cr_error *err)
{
    CR_CHECK(img->rgb && img->width >= 1 && img->height >= 1, err, CR_ERR_ARGUMENT,
             "the picture to draw on is empty");
    CR_CHECK(img->width <= MAX_SIDE && img->height <= MAX_SIDE, err, CR_ERR_LIMIT,
             "cannot draw on %dx%d pixels; sides of at most %d", img->width, img->height, MAX_SIDE);
    cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, img->width, img->height);
    cairo_t *cr = cairo_create(s);
    cr_status st = CR_OK;
    if (cairo_status(cr) == CAIRO_STATUS_SUCCESS) {
        to_surface(img, s);
        const cr_pen p = cr_pen_begin(cr, img->width, img->height);
        cr_pen_detections(&p, found, names, name_count);
    }
    if (cairo_status(cr) == CAIRO_STATUS_SUCCESS)
        from_surface(s, img);
    else
        st = cr_fail(err, CR_ERR_MEMORY, "cannot draw on %dx%d pixels: %s", img->width, img->height,
                     cairo_status_to_string(cairo_status(cr)));
    cairo_destroy(cr);
    cairo_surface_destroy(s);
    return st;
}
