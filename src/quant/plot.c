/* A picture of one tensor's statistics: what calibration saw, and what each method makes of it.
 *
 *     title: tensor, values, pictures, extremes
 *     histogram, counts on a log scale: one bar per COLUMN_PX, each the sum of the bins under it
 *     one row per method: its interval on the histogram's axis, its 8-bit step, what it clips
 *
 * The log scale is the point of the drawing: the values that decide a range are one in a million,
 * and no linear axis shows them next to the peak at zero. The method's ends go up into the
 * histogram as dashed lines. Colours are Okabe & Ito's (2008, "Color Universal Design"); every row
 * also has its name and every line its own dashes, so that colour is not needed to read it.
 *
 * cairo draws the same picture as SVG or PNG. Rejected: one file per method (cannot be compared),
 * cumulative curves (hide the outliers that minmax follows). */
#define _POSIX_C_SOURCE 200809L
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/nearest.h"
#include "crayon/quantize.h"
#include "plot/canvas.h"
#include "quant/range.h"
#include "quant/stats.h"

enum { WIDTH = 960, HEIGHT = 620, LEFT = 152, RIGHT = 935, TOP = 66, BOTTOM = 384 };
enum { ROWS_TOP = 436, ROW_STEP = 44, COLUMNS = 322, METHODS = 4 };

typedef struct method {
    cr_calibration calibration;
    const char *name;
    double r, g, b;
    double dash[4];
    double lo, hi, below, above; /* the interval; shares of the values that it clips */
} method;

static const method all_methods[METHODS] = {
    {CR_CALIB_MINMAX, "minmax", 0, .447, .698, {9, 3, 9, 3}, 0, 0, 0, 0},
    {CR_CALIB_MOVING_AVERAGE, "moving-average", .902, .624, 0, {2, 3, 2, 3}, 0, 0, 0, 0},
    {CR_CALIB_PERCENTILE, "percentile", 0, .62, .451, {9, 3, 2, 3}, 0, 0, 0, 0},
    {CR_CALIB_MSE, "mse", .835, .369, 0, {4, 2, 4, 2}, 0, 0, 0, 0}};

typedef struct sheet {
    cairo_t *cr;
    const cr_tensor_stats *t;
    method methods[METHODS];
    double lo, hi;           /* the axis */
    double columns[COLUMNS]; /* values per bar */
    double most;
} sheet;

/* ---- what is drawn ---- */

static void measure_clipping(const cr_tensor_stats *t, method *m)
{
    const double half = ldexp(.5, t->all.exponent);
    double all = 0;
    for (int k = 0; k < CR_HIST_BINS; k++) {
        const double x = cr_stats_bin(t, k), n = (double)t->all.counts[k];
        all += n;
        if (x < m->lo - half) m->below += n;
        if (x > m->hi + half) m->above += n;
    }
    m->below /= fmax(all, 1);
    m->above /= fmax(all, 1);
}

static cr_status choose_intervals(sheet *s, cr_error *err)
{
    const double percentile = cr_quantize_options_default().percentile;
    const double norm = cr_quantize_options_default().norm;
    for (int i = 0; i < METHODS; i++) {
        method *m = &s->methods[i];
        *m = all_methods[i];
        const cr_range_want want = {m->calibration, percentile, norm, 256, false};
        cr_interval v;
        CR_TRY(cr_range_choose(s->t, &want, &v, err));
        m->lo = v.lo;
        m->hi = v.hi;
        measure_clipping(s->t, m);
    }
    return CR_OK;
}

static void choose_axis(sheet *s)
{
    const double lo = fmin((double)s->t->all.min, 0), hi = fmax((double)s->t->all.max, 0);
    const double room = hi > lo ? .02 * (hi - lo) : 1;
    s->lo = lo - room;
    s->hi = hi + room;
}

static void fill_columns(sheet *s)
{
    for (int k = 0; k < CR_HIST_BINS; k++) {
        if (!s->t->all.counts[k]) continue;
        const double at = (cr_stats_bin(s->t, k) - s->lo) / (s->hi - s->lo) * COLUMNS;
        const int c = at < 0 ? 0 : at >= COLUMNS ? COLUMNS - 1 : (int)at;
        s->columns[c] += (double)s->t->all.counts[k];
        s->most = fmax(s->most, s->columns[c]);
    }
}

/* ---- drawing ---- */

static double x_of(const sheet *s, double v)
{
    return LEFT + (v - s->lo) / (s->hi - s->lo) * (RIGHT - LEFT);
}

/* The axis begins at half a value, so that a bar of one is seen. */
static double y_of(const sheet *s, double count)
{
    return BOTTOM - log(count / .5) / log(s->most * 1.3 / .5) * (BOTTOM - TOP);
}

/* Behind a line of text, where the methods' lines pass. */
static void backdrop(const sheet *s, double x, double y, double width)
{
    cairo_set_source_rgba(s->cr, 1, 1, 1, .85);
    cairo_rectangle(s->cr, x, y, width, 16);
    cairo_fill(s->cr);
}

/* The end of a long name says more than its beginning. */
static void draw_title(const sheet *s)
{
    enum { SHOWN = 84 };
    const cr_tensor_stats *t = s->t;
    const size_t n = strlen(t->name), skip = n > SHOWN ? n - SHOWN : 0;
    char title[SHOWN + 8], facts[160];
    snprintf(title, sizeof title, "%s%s", skip ? "..." : "", t->name + skip);
    cr_canvas_ascii(title);
    snprintf(facts, sizeof facts, "%llu values of %llu pictures, from %.4g to %.4g",
             (unsigned long long)t->count, (unsigned long long)t->pictures, (double)t->all.min,
             (double)t->all.max);
    cr_canvas_ink(s->cr, 0);
    cr_canvas_font(s->cr, 16, true);
    cr_canvas_text(s->cr, 16, 27, 0, title);
    cr_canvas_font(s->cr, 12.5, false);
    cr_canvas_text(s->cr, 16, 48, 0, facts);
}

static void draw_counts_axis(const sheet *s)
{
    cairo_save(s->cr);
    cairo_translate(s->cr, 30, (TOP + BOTTOM) / 2.);
    cairo_rotate(s->cr, -1.5707963267948966);
    cr_canvas_ink(s->cr, .2);
    cr_canvas_text(s->cr, 0, 0, .5, "values per bar (log scale)");
    cairo_restore(s->cr);
    for (double count = 1; count <= s->most * 1.3; count *= 10) {
        static const char *const suffixes[] = {"", "k", "M", "G", "T"};
        char label[32];
        const int thousands = (int)fmin(floor(log10(count * 1.001) / 3), 4);
        snprintf(label, sizeof label, "%.0f%s", count / pow(1000, thousands), suffixes[thousands]);
        cr_canvas_ink(s->cr, .85);
        cr_canvas_line(s->cr, LEFT, y_of(s, count), RIGHT, y_of(s, count), 1);
        cr_canvas_ink(s->cr, .2);
        cr_canvas_text(s->cr, LEFT - 8, y_of(s, count) + 4, 1, label);
    }
}

/* 1, 2 or 5 times a power of ten, about a tenth of the axis. */
static double tick_step(double span)
{
    const double power = pow(10, floor(log10(span / 10))), part = span / 10 / power;
    return power * (part > 5 ? 10 : part > 2 ? 5 : part > 1 ? 2 : 1);
}

static void draw_values_axis(const sheet *s)
{
    const double step = tick_step(s->hi - s->lo);
    const int first = (int)ceil(s->lo / step), last = (int)floor(s->hi / step);
    for (int i = first; i <= last; i++) {
        char label[32];
        snprintf(label, sizeof label, "%.6g", i * step);
        cr_canvas_ink(s->cr, .2);
        cr_canvas_line(s->cr, x_of(s, i * step), BOTTOM, x_of(s, i * step), BOTTOM + 5, 1);
        cairo_text_extents_t e;
        cairo_text_extents(s->cr, label, &e);
        backdrop(s, x_of(s, i * step) - e.x_advance / 2 - 2, BOTTOM + 6, e.x_advance + 4);
        cr_canvas_ink(s->cr, .2);
        cr_canvas_text(s->cr, x_of(s, i * step), BOTTOM + 19, .5, label);
    }
    cr_canvas_line(s->cr, LEFT, BOTTOM, RIGHT, BOTTOM, 1);
}

static void draw_bars(const sheet *s)
{
    const double width = (double)(RIGHT - LEFT) / COLUMNS;
    for (int c = 0; c < COLUMNS; c++) {
        if (!(s->columns[c] > 0)) continue;
        const double y = y_of(s, s->columns[c]);
        cairo_rectangle(s->cr, LEFT + c * width, y, width, BOTTOM - y);
    }
    cr_canvas_ink(s->cr, .66);
    cairo_fill(s->cr);
}

static void draw_ends(const sheet *s, const method *m, double y)
{
    cairo_set_source_rgb(s->cr, m->r, m->g, m->b);
    cairo_set_dash(s->cr, m->dash, 4, 0);
    cr_canvas_line(s->cr, x_of(s, m->lo), TOP, x_of(s, m->lo), y, 1.4);
    cr_canvas_line(s->cr, x_of(s, m->hi), TOP, x_of(s, m->hi), y, 1.4);
    cairo_set_dash(s->cr, NULL, 0, 0);
}

static void draw_method(const sheet *s, const method *m, double y)
{
    char facts[160];
    float scale;
    int32_t zero;
    cr_range_to_params(m->lo, m->hi, CR_DT_U8, false, &scale, &zero);
    snprintf(facts, sizeof facts,
             "%.4g to %.4g   step %.4g   zero point %d   clips %.2g %% below, %.2g %% above", m->lo,
             m->hi, (double)scale, (int)zero, 100 * m->below, 100 * m->above);
    cairo_set_source_rgb(s->cr, m->r, m->g, m->b);
    cairo_rectangle(s->cr, x_of(s, m->lo), y - 5, x_of(s, m->hi) - x_of(s, m->lo), 10);
    cairo_fill(s->cr);
    cr_canvas_ink(s->cr, 0);
    cr_canvas_font(s->cr, 13, true);
    cr_canvas_text(s->cr, LEFT - 10, y + 4, 1, m->name);
    cr_canvas_font(s->cr, 12.5, false);
    cairo_text_extents_t e;
    cairo_text_extents(s->cr, facts, &e);
    backdrop(s, LEFT - 2, y + 8, e.x_advance + 6);
    cr_canvas_ink(s->cr, 0);
    cr_canvas_text(s->cr, LEFT, y + 20, 0, facts);
}

static void draw(cairo_t *cr, void *ctx)
{
    sheet *s = ctx;
    s->cr = cr;
    cairo_set_source_rgb(s->cr, 1, 1, 1);
    cairo_paint(s->cr);
    draw_title(s);
    draw_counts_axis(s);
    draw_bars(s);
    for (int i = 0; i < METHODS; i++) draw_ends(s, &s->methods[i], ROWS_TOP + ROW_STEP * i);
    draw_values_axis(s);
    for (int i = 0; i < METHODS; i++) draw_method(s, &s->methods[i], ROWS_TOP + ROW_STEP * i);
}

/* ---- names ---- */

static cr_status unknown_tensor(const cr_stats *s, const char *tensor, cr_error *err)
{
    char text[320];
    cr_nearest near = cr_nearest_to(tensor);
    CR_CHECK(s->count > 0, err, CR_ERR_ARGUMENT, "the statistics hold no tensor at all");
    for (size_t i = 0; i < s->count; i++) cr_nearest_see(&near, s->tensors[i].name);
    return cr_fail(err, CR_ERR_ARGUMENT, "no tensor '%.96s' in the statistics; near names: %s",
                   tensor, cr_nearest_text(&near, text, sizeof text));
}

cr_status cr_stats_plot(const cr_stats *s, const char *tensor, const char *path, cr_error *err)
{
    CR_TRY(cr_canvas_check_name(path, err));
    sheet drawn = {.t = cr_stats_find(s, tensor)};
    if (!drawn.t) return unknown_tensor(s, tensor, err);
    CR_TRY(choose_intervals(&drawn, err));
    choose_axis(&drawn);
    fill_columns(&drawn);
    return cr_canvas_file(path, WIDTH, HEIGHT, draw, &drawn, err);
}
