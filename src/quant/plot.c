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
#include <cairo-svg.h>
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/file.h"
#include "crayon/quantize.h"
#include "quant/range.h"
#include "quant/stats.h"

enum { WIDTH = 960, HEIGHT = 620, LEFT = 152, RIGHT = 935, TOP = 66, BOTTOM = 384 };
enum { ROWS_TOP = 436, ROW_STEP = 44, COLUMNS = 322, METHODS = 4, PNG_ZOOM = 2 };

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
    const double half = ldexp(.5, t->exponent);
    double all = 0;
    for (int k = 0; k < CR_HIST_BINS; k++) {
        const double x = cr_stats_bin(t, k), n = (double)t->counts[k];
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
    for (int i = 0; i < METHODS; i++) {
        method *m = &s->methods[i];
        *m = all_methods[i];
        CR_TRY(cr_range_choose(s->t, m->calibration, percentile, 256, false, &m->lo, &m->hi, err));
        measure_clipping(s->t, m);
    }
    return CR_OK;
}

static void choose_axis(sheet *s)
{
    const double lo = fmin((double)s->t->min, 0), hi = fmax((double)s->t->max, 0);
    const double room = hi > lo ? .02 * (hi - lo) : 1;
    s->lo = lo - room;
    s->hi = hi + room;
}

static void fill_columns(sheet *s)
{
    for (int k = 0; k < CR_HIST_BINS; k++) {
        if (!s->t->counts[k]) continue;
        const double at = (cr_stats_bin(s->t, k) - s->lo) / (s->hi - s->lo) * COLUMNS;
        const int c = at < 0 ? 0 : at >= COLUMNS ? COLUMNS - 1 : (int)at;
        s->columns[c] += (double)s->t->counts[k];
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

static void ink(const sheet *s, double grey)
{
    cairo_set_source_rgb(s->cr, grey, grey, grey);
}

static void font(const sheet *s, double size, cairo_font_weight_t weight)
{
    cairo_select_font_face(s->cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, weight);
    cairo_set_font_size(s->cr, size);
}

/* `align`: 0 begins at x, .5 is centred on it, 1 ends there. */
static void text(const sheet *s, double x, double y, double align, const char *what)
{
    cairo_text_extents_t e;
    cairo_text_extents(s->cr, what, &e);
    cairo_move_to(s->cr, x - align * e.x_advance, y);
    cairo_show_text(s->cr, what);
}

/* Behind a line of text, where the methods' lines pass. */
static void backdrop(const sheet *s, double x, double y, double width)
{
    cairo_set_source_rgba(s->cr, 1, 1, 1, .85);
    cairo_rectangle(s->cr, x, y, width, 16);
    cairo_fill(s->cr);
}

static void line(const sheet *s, double x1, double y1, double x2, double y2, double width)
{
    cairo_move_to(s->cr, x1, y1);
    cairo_line_to(s->cr, x2, y2);
    cairo_set_line_width(s->cr, width);
    cairo_stroke(s->cr);
}

/* The end of a long name says more than its beginning. cairo refuses text that is not UTF-8, and
 * names come from files: anything but ASCII becomes '?'. */
static void draw_title(const sheet *s)
{
    enum { SHOWN = 84 };
    const cr_tensor_stats *t = s->t;
    const size_t n = strlen(t->name), skip = n > SHOWN ? n - SHOWN : 0;
    char title[SHOWN + 8], facts[160];
    snprintf(title, sizeof title, "%s%s", skip ? "..." : "", t->name + skip);
    for (char *c = title; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    snprintf(facts, sizeof facts, "%llu values of %llu pictures, from %.4g to %.4g",
             (unsigned long long)t->count, (unsigned long long)t->pictures, (double)t->min,
             (double)t->max);
    ink(s, 0);
    font(s, 16, CAIRO_FONT_WEIGHT_BOLD);
    text(s, 16, 27, 0, title);
    font(s, 12.5, CAIRO_FONT_WEIGHT_NORMAL);
    text(s, 16, 48, 0, facts);
}

static void draw_counts_axis(const sheet *s)
{
    cairo_save(s->cr);
    cairo_translate(s->cr, 30, (TOP + BOTTOM) / 2.);
    cairo_rotate(s->cr, -1.5707963267948966);
    ink(s, .2);
    text(s, 0, 0, .5, "values per bar (log scale)");
    cairo_restore(s->cr);
    for (double count = 1; count <= s->most * 1.3; count *= 10) {
        static const char *const suffixes[] = {"", "k", "M", "G", "T"};
        char label[32];
        const int thousands = (int)fmin(floor(log10(count * 1.001) / 3), 4);
        snprintf(label, sizeof label, "%.0f%s", count / pow(1000, thousands), suffixes[thousands]);
        ink(s, .85);
        line(s, LEFT, y_of(s, count), RIGHT, y_of(s, count), 1);
        ink(s, .2);
        text(s, LEFT - 8, y_of(s, count) + 4, 1, label);
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
        ink(s, .2);
        line(s, x_of(s, i * step), BOTTOM, x_of(s, i * step), BOTTOM + 5, 1);
        cairo_text_extents_t e;
        cairo_text_extents(s->cr, label, &e);
        backdrop(s, x_of(s, i * step) - e.x_advance / 2 - 2, BOTTOM + 6, e.x_advance + 4);
        ink(s, .2);
        text(s, x_of(s, i * step), BOTTOM + 19, .5, label);
    }
    line(s, LEFT, BOTTOM, RIGHT, BOTTOM, 1);
}

static void draw_bars(const sheet *s)
{
    const double width = (double)(RIGHT - LEFT) / COLUMNS;
    for (int c = 0; c < COLUMNS; c++) {
        if (!(s->columns[c] > 0)) continue;
        const double y = y_of(s, s->columns[c]);
        cairo_rectangle(s->cr, LEFT + c * width, y, width, BOTTOM - y);
    }
    ink(s, .66);
    cairo_fill(s->cr);
}

static void draw_ends(const sheet *s, const method *m, double y)
{
    cairo_set_source_rgb(s->cr, m->r, m->g, m->b);
    cairo_set_dash(s->cr, m->dash, 4, 0);
    line(s, x_of(s, m->lo), TOP, x_of(s, m->lo), y, 1.4);
    line(s, x_of(s, m->hi), TOP, x_of(s, m->hi), y, 1.4);
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
    ink(s, 0);
    font(s, 13, CAIRO_FONT_WEIGHT_BOLD);
    text(s, LEFT - 10, y + 4, 1, m->name);
    font(s, 12.5, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_text_extents_t e;
    cairo_text_extents(s->cr, facts, &e);
    backdrop(s, LEFT - 2, y + 8, e.x_advance + 6);
    ink(s, 0);
    text(s, LEFT, y + 20, 0, facts);
}

static void draw(const sheet *s)
{
    cairo_set_source_rgb(s->cr, 1, 1, 1);
    cairo_paint(s->cr);
    draw_title(s);
    draw_counts_axis(s);
    draw_bars(s);
    for (int i = 0; i < METHODS; i++) draw_ends(s, &s->methods[i], ROWS_TOP + ROW_STEP * i);
    draw_values_axis(s);
    for (int i = 0; i < METHODS; i++) draw_method(s, &s->methods[i], ROWS_TOP + ROW_STEP * i);
}

/* ---- files ---- */

static cairo_status_t write_bytes(void *user, const unsigned char *bytes, unsigned n)
{
    return fwrite(bytes, 1, n, user) == n ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static bool ends_with(const char *path, const char *ending)
{
    const size_t n = strlen(path), k = strlen(ending);
    return n >= k && !strcasecmp(path + n - k, ending);
}

static cairo_surface_t *open_surface(bool svg, FILE *f)
{
    if (svg) return cairo_svg_surface_create_for_stream(write_bytes, f, WIDTH, HEIGHT);
    return cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH * PNG_ZOOM, HEIGHT * PNG_ZOOM);
}

/* A full disk shows in the stream and is reported by the commit; what remains here is memory. */
static cr_status draw_file(sheet *s, bool svg, cr_outfile *out, cr_error *err)
{
    FILE *f = cr_outfile_stream(out);
    cairo_surface_t *surface = open_surface(svg, f);
    s->cr = cairo_create(surface);
    if (!svg) cairo_scale(s->cr, PNG_ZOOM, PNG_ZOOM);
    draw(s);
    cairo_status_t why = cairo_status(s->cr);
    cairo_destroy(s->cr);
    if (why == CAIRO_STATUS_SUCCESS && !svg)
        why = cairo_surface_write_to_png_stream(surface, write_bytes, f);
    cairo_surface_finish(surface);
    if (why == CAIRO_STATUS_SUCCESS) why = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (why == CAIRO_STATUS_SUCCESS || why == CAIRO_STATUS_WRITE_ERROR) return CR_OK;
    return cr_fail(err, why == CAIRO_STATUS_NO_MEMORY ? CR_ERR_MEMORY : CR_ERR_INTERNAL,
                   "cannot draw the plot: %s", cairo_status_to_string(why));
}

/* ---- names ---- */

enum { NEAR = 3, COMPARED = 128, WRONG = 20 };

/* Edit distance of the last COMPARED characters, case ignored. A character that the name has and
 * the query lacks costs 1, a wrong or surplus one WRONG: part of a name is near to the whole. */
static int distance(const char *query, const char *name)
{
    int row[COMPARED + 1];
    const size_t q = strlen(query), n = strlen(name);
    if (q > COMPARED) query += q - COMPARED;
    if (n > COMPARED) name += n - COMPARED;
    row[0] = 0;
    for (int j = 0; query[j]; j++) row[j + 1] = WRONG * (j + 1);
    for (; *name; name++) {
        int diagonal = row[0]++;
        for (int j = 0; query[j]; j++) {
            const bool same = !strncasecmp(&query[j], name, 1);
            const int change = diagonal + (same ? 0 : WRONG);
            diagonal = row[j + 1];
            const int least = row[j] + WRONG < diagonal + 1 ? row[j] + WRONG : diagonal + 1;
            row[j + 1] = change < least ? change : least;
        }
    }
    return row[strlen(query)];
}

static cr_status unknown_tensor(const cr_stats *s, const char *tensor, cr_error *err)
{
    const char *names[NEAR] = {"", "", ""};
    int far[NEAR] = {INT32_MAX, INT32_MAX, INT32_MAX};
    for (size_t i = 0; i < s->count; i++) {
        const int d = distance(tensor, s->tensors[i].name);
        int place = NEAR;
        while (place > 0 && d < far[place - 1]) place--;
        for (int k = NEAR - 1; k > place; k--) {
            names[k] = names[k - 1];
            far[k] = far[k - 1];
        }
        if (place == NEAR) continue;
        names[place] = s->tensors[i].name;
        far[place] = d;
    }
    CR_CHECK(s->count > 0, err, CR_ERR_ARGUMENT, "the statistics hold no tensor at all");
    return cr_fail(err, CR_ERR_ARGUMENT,
                   "no tensor '%.96s' in the statistics; near names: %.96s%s%.96s%s%.96s", tensor,
                   names[0], s->count > 1 ? ", " : "", names[1], s->count > 2 ? ", " : "",
                   names[2]);
}

cr_status cr_stats_plot(const cr_stats *s, const char *tensor, const char *path, cr_error *err)
{
    const bool svg = ends_with(path, ".svg");
    CR_CHECK(svg || ends_with(path, ".png"), err, CR_ERR_ARGUMENT,
             "%s: a plot's name ends in .svg or .png", path);
    sheet drawn = {.t = cr_stats_find(s, tensor)};
    if (!drawn.t) return unknown_tensor(s, tensor, err);
    CR_TRY(choose_intervals(&drawn, err));
    choose_axis(&drawn);
    fill_columns(&drawn);
    cr_outfile *out;
    CR_TRY(cr_outfile_open(path, &out, err));
    const cr_status st = draw_file(&drawn, svg, out, err);
    if (st == CR_OK) return cr_outfile_commit(&out, err);
    cr_outfile_abort(&out);
    return st;
}
