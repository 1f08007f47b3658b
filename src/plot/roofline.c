/* A roofline: one dot per step under the roofs of this machine.
 *
 *     title, facts                                  | where the time goes: the steps that lose most
 *     operations per second (log) over operations   | 1 node                       ms  share
 *     per byte (log); roofs: slanted for memory and | 2 ...
 *     L2, level for each arithmetic in use          | what has no dot
 *
 * A dot's area is its time, so the eye is led to what matters; the steps that lose most time
 * against their roof (not the slowest: those may be at the limit) have numbers, and the list beside
 * the drawing says who they are. Rejected: names at the dots, which hide each other and the dots.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "crayon/profile.h"
#include "plot/canvas.h"

enum { WIDTH = 1060, HEIGHT = 640, LEFT = 84, RIGHT = 656, TOP = 78, BOTTOM = 584 };
enum { LIST = 682, LISTED = 12, LIST_STEP = 36, SHOWN = 40 };

typedef struct dot {
    const cr_step_time *step;
    double intensity, rate, lost_ms; /* operations per byte and per second; above the roof's time */
} dot;

typedef struct sheet {
    cairo_t *cr;
    const cr_peaks *peaks;
    const char *title;
    dot *dots; /* the one that loses most first */
    size_t count;
    double dots_ms, other_ms; /* time with and without multiply-adds */
    size_t other_count;
    bool used[CR_MATH_COUNT];
    double x_lo, x_hi, y_lo, y_hi; /* of the axes */
} sheet;

static const struct {
    double r, g, b;
    double dash[4];
} looks[CR_MATH_COUNT] = {{.835, .369, 0, {9, 3, 9, 3}},    /* vermilion */
                          {0, .62, .451, {4, 2, 4, 2}},     /* green */
                          {0, .447, .698, {14, 0, 14, 0}}}; /* blue */

/* ---- what is drawn ---- */

static int most_lost_first(const void *a, const void *b)
{
    const double x = ((const dot *)a)->lost_ms, y = ((const dot *)b)->lost_ms;
    return (x < y) - (x > y);
}

static double least_seconds(const cr_peaks *p, const cr_step_time *t)
{
    return fmax(2 * (double)t->macs / p->ops[t->math], (double)t->bytes / p->cache_bytes);
}

static void collect(sheet *s, const cr_step_time *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const cr_step_time *t = &steps[i];
        const double ms = (double)t->ns * 1e-6;
        if (!t->macs || !t->bytes || !t->ns) {
            s->other_ms += ms;
            s->other_count++;
            continue;
        }
        s->dots_ms += ms;
        s->used[t->math] = true;
        s->dots[s->count++] = (dot){t, 2 * (double)t->macs / (double)t->bytes, cr_step_rate(t),
                                    ms - 1e3 * least_seconds(s->peaks, t)};
    }
    qsort(s->dots, s->count, sizeof *s->dots, most_lost_first);
}

/* Whole decades upwards, halves of them sideways; the highest roof and every dot is inside. */
static void choose_axes(sheet *s)
{
    double lo = 10, hi = 100, slow = 1e12, fast = 0;
    for (int m = 0; m < CR_MATH_COUNT; m++)
        if (s->used[m]) fast = fmax(fast, s->peaks->ops[m]);
    for (size_t i = 0; i < s->count; i++) {
        lo = fmin(lo, s->dots[i].intensity);
        hi = fmax(hi, s->dots[i].intensity);
        slow = fmin(slow, s->dots[i].rate);
        fast = fmax(fast, s->dots[i].rate);
    }
    if (!(fast > 0)) fast = s->peaks->ops[CR_MATH_FLOAT32];
    s->x_lo = pow(10, floor(2 * log10(lo / 1.3)) / 2);
    s->x_hi = pow(10, ceil(2 * log10(hi * 1.3)) / 2);
    s->y_hi = fast * 1.9;
    s->y_lo = fmin(slow / 1.6, fast / 100);
}

/* ---- drawing ---- */

static double x_of(const sheet *s, double v)
{
    return LEFT + log(v / s->x_lo) / log(s->x_hi / s->x_lo) * (RIGHT - LEFT);
}

static double y_of(const sheet *s, double v)
{
    return BOTTOM - log(v / s->y_lo) / log(s->y_hi / s->y_lo) * (BOTTOM - TOP);
}

static void colour(const sheet *s, int math, double alpha)
{
    cairo_set_source_rgba(s->cr, looks[math].r, looks[math].g, looks[math].b, alpha);
}

static void draw_title(const sheet *s)
{
    char text[200];
    snprintf(text, sizeof text, "%.120s", s->title);
    cr_canvas_ascii(text);
    cr_canvas_ink(s->cr, 0);
    cr_canvas_font(s->cr, 16, true);
    cr_canvas_text(s->cr, 16, 27, 0, text);
    snprintf(text, sizeof text,
             "%zu steps with multiply-adds take %.2f ms (dots, area by time), %zu others %.2f ms; "
             "roofs measured with %d thread%s",
             s->count, s->dots_ms, s->other_count, s->other_ms, s->peaks->threads,
             s->peaks->threads == 1 ? "" : "s");
    cr_canvas_font(s->cr, 12.5, false);
    cr_canvas_text(s->cr, 16, 48, 0, text);
}

static void draw_grid(const sheet *s)
{
    static const int ticks[] = {1, 2, 5};
    char label[32];
    cr_canvas_font(s->cr, 12.5, false);
    for (double power = 1e-6; power <= 1e15; power *= 10)
        for (int i = 0; i < 3; i++) {
            const double v = power * ticks[i], grey = i ? .93 : .8;
            if (v >= s->x_lo * .999 && v <= s->x_hi * 1.001) {
                cr_canvas_ink(s->cr, grey);
                cr_canvas_line(s->cr, x_of(s, v), TOP, x_of(s, v), BOTTOM, 1);
                snprintf(label, sizeof label, "%g", v);
                cr_canvas_ink(s->cr, .2);
                cr_canvas_text(s->cr, x_of(s, v), BOTTOM + 18, .5, label);
            }
            if (v >= s->y_lo && v <= s->y_hi) {
                cr_canvas_ink(s->cr, grey);
                cr_canvas_line(s->cr, LEFT, y_of(s, v), RIGHT, y_of(s, v), 1);
                snprintf(label, sizeof label, "%g", v * 1e-9);
                cr_canvas_ink(s->cr, .2);
                cr_canvas_text(s->cr, LEFT - 8, y_of(s, v) + 4, 1, label);
            }
        }
    cr_canvas_text(s->cr, (LEFT + RIGHT) / 2., BOTTOM + 42, .5,
                   "operations per byte moved (a multiply-add is two)");
    cairo_save(s->cr);
    cairo_translate(s->cr, 26, (TOP + BOTTOM) / 2.);
    cairo_rotate(s->cr, -1.5707963267948966);
    cr_canvas_text(s->cr, 0, 0, .5, "billion operations per second (GOPS)");
    cairo_restore(s->cr);
    cr_canvas_ink(s->cr, .2);
    cairo_rectangle(s->cr, LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP);
    cairo_set_line_width(s->cr, 1);
    cairo_stroke(s->cr);
}

static double highest(const sheet *s)
{
    double top = 0;
    for (int m = 0; m < CR_MATH_COUNT; m++)
        if (s->used[m]) top = fmax(top, s->peaks->ops[m]);
    return top;
}

/* Bytes per second times operations per byte, up to the highest roof; the label lies along it. */
static void draw_slope(const sheet *s, double bandwidth, const char *name)
{
    char label[64];
    const double top = highest(s), end = fmin(top / bandwidth, s->x_hi);
    const double begin = fmax(s->x_lo, s->y_lo / bandwidth);
    if (begin >= end) return;
    const double x1 = x_of(s, begin), y1 = y_of(s, begin * bandwidth);
    const double x2 = x_of(s, end), y2 = y_of(s, end * bandwidth);
    cr_canvas_ink(s->cr, .35);
    cr_canvas_line(s->cr, x1, y1, x2, y2, 1.4);
    snprintf(label, sizeof label, "%s %.0f GB/s", name, bandwidth * 1e-9);
    cairo_save(s->cr);
    cairo_translate(s->cr, x1, y1);
    cairo_rotate(s->cr, atan2(y2 - y1, x2 - x1));
    cr_canvas_text(s->cr, 22, -6, 0, label);
    cairo_restore(s->cr);
}

static void draw_roof(const sheet *s, int math)
{
    char label[64];
    const double peak = s->peaks->ops[math], y = y_of(s, peak);
    const double begin = fmax(s->x_lo, peak / s->peaks->cache_bytes);
    if (begin >= s->x_hi) return;
    colour(s, math, 1);
    cairo_set_dash(s->cr, looks[math].dash, 4, 0);
    cr_canvas_line(s->cr, x_of(s, begin), y, RIGHT, y, 2);
    cairo_set_dash(s->cr, NULL, 0, 0);
    snprintf(label, sizeof label, "%s %.0f GOPS", cr_math_name((cr_math)math), peak * 1e-9);
    cr_canvas_font(s->cr, 12.5, true);
    cr_canvas_text(s->cr, RIGHT - 6, y - 6, 1, label);
    cr_canvas_font(s->cr, 12.5, false);
}

static double radius(const sheet *s, const dot *d)
{
    return fmax(2.5, 60 * sqrt((double)d->step->ns * 1e-6 / fmax(s->dots_ms, 1e-9)));
}

static void draw_dot(const sheet *s, const dot *d)
{
    cairo_new_path(s->cr);
    cairo_arc(s->cr, x_of(s, d->intensity), y_of(s, d->rate), radius(s, d), 0, 6.283185307179586);
    colour(s, d->step->math, .42);
    cairo_fill_preserve(s->cr);
    colour(s, d->step->math, 1);
    cairo_set_line_width(s->cr, 1);
    cairo_stroke(s->cr);
}

/* Numbers stand in the middle of their dots unless another number is there; then they step out. */
static void draw_number(const sheet *s, size_t i, double placed[][2])
{
    char label[8];
    const double x0 = x_of(s, s->dots[i].intensity), y0 = y_of(s, s->dots[i].rate);
    double x = x0, y = y0;
    for (int turn = 0; turn < 24; turn++) {
        bool free = true;
        for (size_t k = 0; k < i; k++)
            free &= fabs(placed[k][0] - x) > 15 || fabs(placed[k][1] - y) > 13;
        if (free) break;
        const double far = 16 + 14 * (turn / 8), angle = .785398 * (turn % 8);
        x = x0 + far * cos(angle);
        y = y0 - far * sin(angle);
    }
    placed[i][0] = x;
    placed[i][1] = y;
    snprintf(label, sizeof label, "%zu", i + 1);
    if (x != x0 || y != y0) {
        cr_canvas_ink(s->cr, .45);
        cr_canvas_line(s->cr, x0, y0, x, y, .7);
    }
    cr_canvas_font(s->cr, 12, true);
    cairo_text_extents_t e;
    cairo_text_extents(s->cr, label, &e);
    cairo_move_to(s->cr, x - e.x_advance / 2, y + 4.4);
    cairo_text_path(s->cr, label);
    cr_canvas_ink(s->cr, 1);
    cairo_set_line_width(s->cr, 3);
    cairo_stroke_preserve(s->cr);
    cr_canvas_ink(s->cr, 0);
    cairo_fill(s->cr);
}

/* The end of a long name says more than its beginning. */
static void draw_entry(const sheet *s, size_t i, double y)
{
    char name[SHOWN + 8], facts[160];
    const dot *d = &s->dots[i];
    const char *node = *d->step->node ? d->step->node : d->step->tensor;
    const size_t n = strlen(node), skip = n > SHOWN ? n - SHOWN : 0;
    snprintf(name, sizeof name, "%s%s", skip ? "..." : "", node + skip);
    cr_canvas_ascii(name);
    snprintf(facts, sizeof facts, "%.3f ms, %.3f lost   %.0f GOPS, %.0f %% of peak   %s",
             (double)d->step->ns * 1e-6, fmax(d->lost_ms, 0), d->rate * 1e-9,
             100 * d->rate / s->peaks->ops[d->step->math], cr_math_name(d->step->math));
    char number[8];
    snprintf(number, sizeof number, "%zu", i + 1);
    cr_canvas_ink(s->cr, 0);
    cr_canvas_font(s->cr, 12.5, true);
    cr_canvas_text(s->cr, LIST + 16, y, 1, number);
    cr_canvas_font(s->cr, 12, false);
    cr_canvas_text(s->cr, LIST + 24, y, 0, name);
    cr_canvas_ink(s->cr, .3);
    cr_canvas_font(s->cr, 11.5, false);
    cr_canvas_text(s->cr, LIST + 24, y + 15, 0, facts);
}

static void draw(cairo_t *cr, void *ctx)
{
    sheet *s = ctx;
    double placed[LISTED][2];
    const size_t listed = s->count < LISTED ? s->count : LISTED;
    s->cr = cr;
    draw_title(s);
    draw_grid(s);
    cairo_save(cr);
    cairo_rectangle(cr, LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP);
    cairo_clip(cr);
    draw_slope(s, s->peaks->memory_bytes, "memory");
    draw_slope(s, s->peaks->cache_bytes, "L2");
    for (int m = 0; m < CR_MATH_COUNT; m++)
        if (s->used[m]) draw_roof(s, m);
    for (size_t i = s->count; i-- > 0;) draw_dot(s, &s->dots[i]);
    for (size_t i = 0; i < listed; i++) draw_number(s, i, placed);
    cairo_restore(cr);
    cr_canvas_ink(cr, 0);
    cr_canvas_font(cr, 13, true);
    cr_canvas_text(cr, LIST, TOP + 10, 0, "Most time lost against the roof");
    for (size_t i = 0; i < listed; i++) draw_entry(s, i, TOP + 40 + (double)(LIST_STEP * i));
}

cr_status cr_roofline_draw(const cr_peaks *peaks, const cr_step_time *steps, size_t count,
                           const char *title, const char *path, cr_error *err)
{
    sheet s = {.peaks = peaks, .title = title};
    for (int m = 0; m < CR_MATH_COUNT; m++)
        CR_CHECK(peaks->ops[m] > 0, err, CR_ERR_ARGUMENT, "a roofline needs measured peaks");
    CR_CHECK(peaks->cache_bytes > 0 && peaks->memory_bytes > 0, err, CR_ERR_ARGUMENT,
             "a roofline needs measured peaks");
    s.dots = cr_calloc(count + 1, sizeof *s.dots);
    if (!s.dots) return CR_NOMEM(err);
    collect(&s, steps, count);
    choose_axes(&s);
    const cr_status st = cr_canvas_file(path, WIDTH, HEIGHT, draw, &s, err);
    cr_free(s.dots);
    return st;
}
