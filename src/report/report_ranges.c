/* Small multiples: what every activation held in calibration with the range that its codes cover, and
 * the weights of every output channel with what their codes reach.
 *
 * `inspect --plot` (quant/plot.c) draws one tensor on a sheet of its own and compares methods; here all
 * tensors are on one page and one range, the recipe's, matters, in colours that follow light and dark. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/model_impl.h"
#include "quant/stats.h"
#include "report/report_page.h"

enum { WIDTH = 260, HEIGHT = 92, COLUMNS = 65, MOST_CHANNELS = 130 };

typedef struct span {
    double lo, hi;
} span;

/* What the codes of all scales together reach. */
static span reach_of(const cr_qparams *q)
{
    int32_t lo, hi;
    span s = {0, 0};
    cr_q_range(q, &lo, &hi);
    for (size_t i = 0; i < q->count; i++) {
        s.lo = fmin(s.lo, ((double)lo - q->zero_point[i]) * (double)q->scale[i]);
        s.hi = fmax(s.hi, ((double)hi - q->zero_point[i]) * (double)q->scale[i]);
    }
    return s;
}

/* ---- activations ---- */

typedef struct bars {
    span axis;
    double column[COLUMNS], most, clipped;
} bars;

/* Clipped: what lies farther outside than rounding moves values inside, and than a bin can tell. */
static bars count_columns(const cr_tensor_stats *t, const cr_qparams *q, span range)
{
    bars b = {.axis = {fmin((double)t->all.min, 0), fmax((double)t->all.max, 0)}};
    if (!(b.axis.hi > b.axis.lo)) b.axis.hi = b.axis.lo + 1;
    const double half = fmax(ldexp(.5, t->all.exponent), (double)q->scale[0] / 2);
    double all = 0;
    for (int k = 0; k < CR_HIST_BINS; k++) {
        if (!t->all.counts[k]) continue;
        const double x = cr_stats_bin(t, k), n = (double)t->all.counts[k];
        const double at = floor((x - b.axis.lo) / (b.axis.hi - b.axis.lo) * COLUMNS);
        double *column = &b.column[(int)fmin(fmax(at, 0), COLUMNS - 1)];
        *column += n;
        b.most = fmax(b.most, *column);
        all += n;
        if (x < range.lo - half || x > range.hi + half) b.clipped += n;
    }
    b.clipped /= fmax(all, 1);
    return b;
}

static double x_in(span axis, double v)
{
    return fmin(fmax((v - axis.lo) / (axis.hi - axis.lo), 0), 1) * WIDTH;
}

static void put_histogram(FILE *f, const bars *b, span range)
{
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\"><rect class=\"range\" x=\"%.1f\" y=\"0\" "
               "width=\"%.1f\" height=\"%d\"/><path class=\"bars\" d=\"", WIDTH, HEIGHT, x_in(b->axis, range.lo),
            fmax(x_in(b->axis, range.hi) - x_in(b->axis, range.lo), .5), HEIGHT);
    const double step = (double)WIDTH / COLUMNS;
    for (int c = 0; c < COLUMNS; c++) {
        if (!(b->column[c] > 0)) continue;
        /* half a value is the ground, so that a bar of one is seen */
        const double h = log(b->column[c] / .5) / log(b->most * 1.05 / .5) * HEIGHT;
        fprintf(f, "M%.1f %dv-%.1fh%.1fv%.1fz", c * step, HEIGHT, h, step - .6, h);
    }
    fprintf(f, "\"/><path class=\"zero\" d=\"M%.1f 0V%d\"/></svg>", x_in(b->axis, 0), HEIGHT);
}

static void put_activation(FILE *f, const cr_recipe_entry *e, const cr_tensor_stats *t)
{
    const span range = reach_of(&e->q);
    const bars b = count_columns(t, &e->q, range);
    fputs("<figure class=\"small\">", f);
    put_histogram(f, &b, range);
    fprintf(f, "<div class=\"ends\"><span>%.3g</span><span>%.3g</span></div><figcaption title=\"", b.axis.lo, b.axis.hi);
    cr_report_text(f, e->tensor);
    fputs("\"><b>", f);
    cr_report_name(f, e->tensor, 34);
    fprintf(f, "</b>%s %.3g to %.3g", cr_dtype_key(e->q.type), range.lo, range.hi);
    if (!cr_q_per_tensor(&e->q)) fprintf(f, ", %zu scales", e->q.count);
    if (b.clipped > 0) fprintf(f, ", %.2g %% clipped", 100 * b.clipped);
    if (*e->note) {
        fputs(" <small>", f);
        cr_report_text(f, e->note);
        fputs("</small>", f);
    }
    fputs("</figcaption></figure>\n", f);
}

void cr_report_ranges(cr_report_page *p, const cr_model *m, const cr_stats *stats)
{
    size_t shown = 0;
    for (size_t i = 0; m->recipe && stats && i < m->recipe->count; i++) {
        const cr_recipe_entry *e = &m->recipe->entries[i];
        const cr_tensor_stats *t = e->is_weight || e->q.dynamic ? NULL : cr_stats_find(stats, e->tensor);
        if (!t || cr_histogram_is_empty(&t->all)) continue;
        if (!shown++) {
            cr_report_begin(p, "ranges", "Activations",
                            "What each quantized activation held on the calibration pictures (counts on a log "
                            "scale), and the range that its codes cover: the shaded part.");
            fputs("<div class=\"grid\">\n", p->body);
        }
        put_activation(p->body, e, t);
    }
    if (!shown) return;
    fputs("</div>\n", p->body);
    cr_report_end(p);
}

/* ---- weights ---- */

typedef struct channel {
    double min, low, high, max; /* low, high: 5 % and 95 % of the values */
    double reach_lo, reach_hi;
} channel;

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Values of index c along the axis; out has room for all. */
static size_t gather(const cr_tensor *t, const cr_q_grain *g, int64_t c, float *out)
{
    size_t n = 0;
    for (int64_t o = 0; o < g->outer; o++)
        for (int64_t i = 0; i < g->inner; i++) out[n++] = (float)cr_tensor_get_f64(t, (size_t)((o * g->length + c) * g->inner + i));
    return n;
}

static channel measure(const cr_tensor *t, const cr_qparams *q, const cr_q_grain *g, int64_t c, float *room)
{
    int32_t lo, hi;
    const size_t n = gather(t, g, c, room);
    const size_t k = cr_q_per_tensor(q) ? 0 : (size_t)c;
    cr_q_range(q, &lo, &hi);
    qsort(room, n, sizeof *room, by_value);
    channel ch = {(double)room[0], (double)room[n / 20], (double)room[n - 1 - n / 20], (double)room[n - 1], 0, 0};
    if (q->block) return ch;
    ch.reach_lo = ((double)lo - q->zero_point[k]) * (double)q->scale[k];
    ch.reach_hi = ((double)hi - q->zero_point[k]) * (double)q->scale[k];
    return ch;
}

/* Neighbours share a column where there are more channels than columns. */
static void widen(channel *a, const channel *b, bool first)
{
    if (first) {
        *a = *b;
        return;
    }
    a->min = fmin(a->min, b->min);
    a->low = fmin(a->low, b->low);
    a->high = fmax(a->high, b->high);
    a->max = fmax(a->max, b->max);
    a->reach_lo = fmin(a->reach_lo, b->reach_lo);
    a->reach_hi = fmax(a->reach_hi, b->reach_hi);
}

static double y_in(double most, double v)
{
    return (1 - fmin(fmax(v / most, -1), 1)) * HEIGHT / 2;
}

static void put_columns(FILE *f, const channel *list, int columns)
{
    double most = FLT_MIN;
    for (int c = 0; c < columns; c++) {
        most = fmax(most, fmax(fabs(list[c].min), fabs(list[c].max)));
        most = fmax(most, fmax(fabs(list[c].reach_lo), fabs(list[c].reach_hi)));
    }
    const double step = (double)WIDTH / columns, thick = fmin(step * .7, 8);
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\"><path class=\"range\" d=\"", WIDTH, HEIGHT);
    for (int c = 0; c < columns; c++)
        fprintf(f, "M%.1f %.1fh%.1fV%.1fh-%.1fz", c * step, y_in(most, list[c].reach_hi), step,
                y_in(most, list[c].reach_lo), step);
    fprintf(f, "\"/><path class=\"whole\" style=\"stroke-width:%.2f\" d=\"", fmin(thick * .35, 1.2));
    for (int c = 0; c < columns; c++)
        fprintf(f, "M%.1f %.1fV%.1f", (c + .5) * step, y_in(most, list[c].max), y_in(most, list[c].min));
    fprintf(f, "\"/><path class=\"core\" style=\"stroke-width:%.2f\" d=\"", thick);
    for (int c = 0; c < columns; c++)
        fprintf(f, "M%.1f %.1fV%.1f", (c + .5) * step, y_in(most, list[c].high), y_in(most, list[c].low));
    fprintf(f, "\"/></svg><div class=\"ends\"><span>&plusmn;%.3g</span><span>channel %d</span></div>", most, columns);
}

static cr_status put_weight(FILE *f, const cr_recipe_entry *e, const cr_tensor *t, cr_error *err)
{
    const int64_t elements = cr_shape_count(&t->shape);
    cr_qparams along = e->q;
    if (along.axis < 0) along.axis = 0;
    if (elements < 1 || t->shape.rank < 1 || along.axis >= t->shape.rank) return CR_OK;
    const cr_q_grain g = cr_q_grain_of(&along, &t->shape);
    const int64_t each = (g.length + MOST_CHANNELS - 1) / MOST_CHANNELS;
    channel list[MOST_CHANNELS];
    char shape[96];
    float *room = cr_malloc((size_t)(elements / g.length) * sizeof *room);
    if (!room) return CR_NOMEM(err);
    int columns = 0;
    for (int64_t c = 0; c < g.length; c++) {
        const channel one = measure(t, &e->q, &g, c, room);
        columns = (int)(c / each) + 1;
        widen(&list[columns - 1], &one, c % each == 0);
    }
    cr_free(room);
    fputs("<figure class=\"small\">", f);
    put_columns(f, list, columns);
    fputs("<figcaption title=\"", f);
    cr_report_text(f, e->tensor);
    fputs("\"><b>", f);
    cr_report_name(f, e->tensor, 34);
    fprintf(f, "</b>%s, %s, %zu scale%s", cr_dtype_key(e->q.type), cr_shape_text(&t->shape, shape, sizeof shape),
            e->q.count, e->q.count == 1 ? "" : "s");
    if (each > 1) fprintf(f, " <small>%lld channels a column</small>", (long long)each);
    fputs("</figcaption></figure>\n", f);
    return CR_OK;
}

cr_status cr_report_weights(cr_report_page *p, const cr_model *m, cr_error *err)
{
    cr_status st = CR_OK;
    const cr_recipe_entry **found = NULL;
    const cr_graph *g = cr_model_graph(m);
    size_t shown = 0;
    if (!m->recipe) return CR_OK;
    CR_TRY(cr_recipe_bind(m->recipe, g, &found, err));
    for (size_t i = 0; i < g->tensor_count && st == CR_OK; i++) {
        const cr_recipe_entry *e = found[g->tensors[i]->id];
        if (!e || !e->is_weight || !g->tensors[i]->data) continue;
        if (!shown++) {
            cr_report_begin(p, "weights", "Weights",
                            "Each output channel of each quantized weight: a thin line from its least to its largest "
                            "value, a thick one for the middle nine tenths, and behind it, shaded, what its codes "
                            "reach.");
            fputs("<div class=\"grid\">\n", p->body);
        }
        st = put_weight(p->body, e, g->tensors[i], err);
    }
    cr_free(found);
    if (!shown) return st;
    fputs("</div>\n", p->body);
    cr_report_end(p);
    return st;
}
