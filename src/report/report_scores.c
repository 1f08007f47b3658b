/* What eval measured: the twelve numbers, precision over recall, a row per class. */
#include <math.h>

#include "report/report_page.h"

enum { METRICS = 12, PLOT_W = 520, PLOT_H = 380, LEFT = 52, TOP = 14, RIGHT = 508, BOTTOM = 332 };

typedef struct metric {
    const char *key, *text;
    double value[2];
} metric;

static void list_metrics(const cr_report_score *s, size_t count, metric out[METRICS])
{
    static const char *const names[METRICS][2] = {
        {"AP", "precision, IoU .50:.95"},        {"AP50", "precision, IoU .50"},
        {"AP75", "precision, IoU .75"},          {"APs", "precision, small (below 32&times;32 px)"},
        {"APm", "precision, medium"},            {"APl", "precision, large (above 96&times;96 px)"},
        {"AR1", "recall, 1 detection per picture"}, {"AR10", "recall, 10 detections"},
        {"AR100", "recall, 100 detections"},     {"ARs", "recall, small"},
        {"ARm", "recall, medium"},               {"ARl", "recall, large"}};
    for (int i = 0; i < METRICS; i++) out[i] = (metric){names[i][0], names[i][1], {NAN, NAN}};
    for (size_t k = 0; k < count && k < 2; k++) {
        const cr_coco_metrics *m = s[k].metrics;
        const double values[METRICS] = {m->ap,  m->ap50, m->ap75,  m->ap_small, m->ap_medium, m->ap_large,
                                        m->ar1, m->ar10, m->ar100, m->ar_small, m->ar_medium, m->ar_large};
        for (int i = 0; i < METRICS; i++) out[i].value[k] = values[i];
    }
}

static void put_value(FILE *f, double v)
{
    if (v >= 0)
        fprintf(f, "<td class=\"n\">%.4f</td>", v);
    else
        fputs("<td class=\"n\">&ndash;</td>", f);
}

/* Points (hundredths) from b, the model compared with, to a. */
static void put_points(FILE *f, double a, double b)
{
    if (!(a >= 0) || !(b >= 0)) {
        fputs("<td class=\"n\">&ndash;</td>", f);
        return;
    }
    const double points = 100 * (a - b);
    const char *tone = points > .05 ? " good" : points < -.05 ? " bad" : "";
    fprintf(f, "<td class=\"n%s\">%+.2f</td>", tone, points);
}

static void put_headings(FILE *f, const cr_report_score *s, size_t count, const char *what)
{
    for (size_t k = count; k-- > 0;) {
        fprintf(f, "<th class=\"n\">%s", what);
        cr_report_text(f, s[k].name);
        fputs("</th>", f);
    }
    if (count > 1) fprintf(f, "<th class=\"n\">points</th>");
}

static void put_metrics(FILE *f, const cr_report_score *s, size_t count)
{
    metric list[METRICS];
    list_metrics(s, count, list);
    fputs("<div class=\"wide\"><table><thead><tr><th>metric</th>", f);
    put_headings(f, s, count, "");
    fputs("</tr></thead><tbody>\n", f);
    for (int i = 0; i < METRICS; i++) {
        fprintf(f, "<tr><td><b>%s</b> <small>%s</small></td>", list[i].key, list[i].text);
        for (size_t k = count; k-- > 0;) put_value(f, list[i].value[k]);
        if (count > 1) put_points(f, list[i].value[0], list[i].value[1]);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
}

/* ---- curves ---- */

static double x_of(double recall)
{
    return LEFT + recall * (RIGHT - LEFT);
}

static double y_of(double precision)
{
    return BOTTOM - precision * (BOTTOM - TOP);
}

static void put_axes(FILE *f)
{
    for (int i = 0; i <= 5; i++) {
        fprintf(f, "<path class=\"grid\" d=\"M%d %.1fH%dM%.1f %dV%d\"/>", LEFT, y_of(i * .2), RIGHT,
                x_of(i * .2), TOP, BOTTOM);
        fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.1f</text>", LEFT - 8, y_of(i * .2) + 5, i * .2);
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.1f</text>\n", x_of(i * .2),
                BOTTOM + 20, i * .2);
    }
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">recall</text>", (LEFT + RIGHT) / 2, BOTTOM + 41);
    fprintf(f, "<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">precision</text>\n",
            (TOP + BOTTOM) / 2);
}

/* t: a threshold, or -1 for the mean of all. */
static double curve_at(const cr_coco_curves *c, int t, int r)
{
    if (t >= 0) return c->at[t][r];
    double sum = 0;
    for (int i = 0; i < CR_COCO_CURVES; i++) sum += c->at[i][r];
    return sum / CR_COCO_CURVES;
}

static void put_curve(FILE *f, const cr_report_score *s, int t, const char *colour, bool dashed)
{
    fprintf(f, "<path class=\"curve %s%s\" d=\"", colour, dashed ? " dashed" : "");
    for (int r = 0; r < CR_COCO_RECALLS; r++)
        fprintf(f, "%s%.1f %.1f", r ? "L" : "M", x_of(r * .01), y_of(fmax(curve_at(s->curves, t, r), 0)));
    fputs("\"><title>", f);
    cr_report_text(f, s->name);
    if (t < 0)
        fputs(", mean over IoU .50:.95</title></path>\n", f);
    else
        fprintf(f, ", IoU %.2f</title></path>\n", .5 + .05 * t);
}

static void put_curves(FILE *f, const cr_report_score *s, size_t count)
{
    static const struct {
        int t;
        const char *colour, *text;
    } lines[] = {{0, "c1", "IoU .50"}, {5, "c2", "IoU .75"}, {-1, "c3", "mean over IoU .50:.95"}};
    fprintf(f, "<figure class=\"plot\"><svg viewBox=\"0 0 %d %d\" role=\"img\" "
               "aria-label=\"precision over recall\">", PLOT_W, PLOT_H);
    put_axes(f);
    for (size_t k = count; k-- > 0;)
        for (int i = 0; i < 3; i++) put_curve(f, &s[k], lines[i].t, lines[i].colour, k > 0);
    fputs("</svg><figcaption>", f);
    for (int i = 0; i < 3; i++)
        fprintf(f, "<span class=\"key\"><i class=\"%s\"></i>%s</span>", lines[i].colour, lines[i].text);
    for (size_t k = 0; count > 1 && k < count; k++) {
        fprintf(f, "<span class=\"key\"><u class=\"%s\"></u>", k ? "dashed" : "");
        cr_report_text(f, s[k].name);
        fputs("</span>", f);
    }
    fputs("</figcaption></figure>\n", f);
}

/* ---- classes ---- */

static void put_bar(FILE *f, double v)
{
    fprintf(f, "<td class=\"b\"><div class=\"bar\"><i style=\"width:%.1f%%\"></i></div></td>",
            100 * fmin(fmax(v, 0), 1));
}

static void put_classes(cr_report_page *p, const cr_labels *labels, const cr_report_score *s, size_t count)
{
    FILE *f = p->body;
    cr_report_begin(p, "classes", "Classes", "Classes with labelled objects. Bars show AP; a click on a "
                                             "heading sorts.");
    fputs("<div class=\"wide\"><table class=\"sort\"><thead><tr><th>class</th><th class=\"n\">objects</th>", f);
    put_headings(f, s, count, "AP ");
    fputs("<th class=\"n\">AP50</th><th class=\"b\">AP</th></tr></thead><tbody>\n", f);
    for (size_t i = 0; i < cr_labels_category_count(labels); i++) {
        const cr_coco_class *c = &s[0].classes[i];
        if (!c->truth) continue;
        fputs("<tr><td>", f);
        cr_report_name(f, cr_labels_category(labels, i)->name, 40);
        fprintf(f, "</td><td class=\"n\">%zu</td>", c->truth);
        for (size_t k = count; k-- > 0;) put_value(f, s[k].classes[i].ap);
        if (count > 1) put_points(f, c->ap, s[1].classes[i].ap);
        put_value(f, c->ap50);
        put_bar(f, c->ap);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
    cr_report_end(p);
}

void cr_report_scores(cr_report_page *p, const cr_labels *labels, const cr_report_score *scores, size_t count)
{
    if (!count) return;
    if (count > 2) count = 2;
    cr_report_begin(p, "accuracy", "Accuracy", "COCO metrics on the labelled pictures, 0 to 1; points are hundredths. Of masks and keypoints IoU is their own similarity.");
    fputs("<div class=\"halves\">", p->body);
    put_curves(p->body, scores, count);
    put_metrics(p->body, scores, count);
    fputs("</div>\n", p->body);
    cr_report_end(p);
    put_classes(p, labels, scores, count);
}
