/* How a training went: the loss and its parts, and the score of every validation, over steps. */
#include <math.h>

#include "report/report_page.h"

enum { PLOT_W = 520, PLOT_H = 300, LEFT = 60, TOP = 14, RIGHT = 508, BOTTOM = 252, LINES = 5 };

typedef struct frame {
    double steps, top; /* largest value of either axis */
} frame;

static double x_of(const frame *f, int64_t step)
{
    return LEFT + (double)step / f->steps * (RIGHT - LEFT);
}

static double y_of(const frame *f, double v)
{
    return BOTTOM - fmin(v / f->top, 1) * (BOTTOM - TOP);
}

static void put_axes(FILE *out, const frame *f, const char *name)
{
    for (int i = 0; i <= 4; i++) {
        const double y = y_of(f, f->top * i / 4), x = x_of(f, (int64_t)(f->steps * i / 4));
        fprintf(out, "<path class=\"grid\" d=\"M%d %.1fH%dM%.1f %dV%d\"/>", LEFT, y, RIGHT, x, TOP,
                BOTTOM);
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>", LEFT - 8, y + 5,
                f->top * i / 4);
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", x,
                BOTTOM + 20, f->steps * i / 4);
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>", (LEFT + RIGHT) / 2,
            BOTTOM + 41);
    fprintf(out,
            "<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
            (TOP + BOTTOM) / 2, name);
}

static void open_plot(FILE *out, const char *what)
{
    fprintf(out,
            "<figure class=\"plot\"><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">",
            PLOT_W, PLOT_H, what);
}

static void put_losses(FILE *out, const cr_train_result *r)
{
    static const char *const colours[LINES] = {"c1", "c2", "c3", "c4", "c5"};
    frame f = {(double)r->steps, 0};
    for (size_t i = 0; i < r->point_count; i++)
        for (int k = 0; k < CR_TRAIN_PARTS; k++) f.top = fmax(f.top, r->points[i].parts[k]);
    if (!(f.top > 0) || r->point_count < 2) return;
    open_plot(out, "loss over steps");
    put_axes(out, &f, "loss");
    for (int k = 0; k < CR_TRAIN_PARTS && r->part_names[k]; k++) {
        fprintf(out, "<path class=\"curve %s\" d=\"", colours[k]);
        for (size_t i = 0; i < r->point_count; i++)
            fprintf(out, "%s%.1f %.1f", i ? "L" : "M", x_of(&f, r->points[i].step),
                    y_of(&f, r->points[i].parts[k]));
        fprintf(out, "\"><title>%s</title></path>\n", r->part_names[k]);
    }
    fputs("</svg><figcaption>", out);
    for (int k = 0; k < CR_TRAIN_PARTS && r->part_names[k]; k++)
        fprintf(out, "<span class=\"key\"><i class=\"%s\"></i>%s</span>", colours[k],
                r->part_names[k]);
    fputs("</figcaption></figure>\n", out);
}

static void put_scores(FILE *out, const cr_train_result *r)
{
    const frame f = {(double)r->steps, 1};
    if (!r->mark_count || r->steps < 1) return;
    open_plot(out, "score over steps");
    put_axes(out, &f, r->metric);
    fputs("<path class=\"curve c1\" d=\"", out);
    for (size_t i = 0; i < r->mark_count; i++)
        fprintf(out, "%s%.1f %.1f", i ? "L" : "M", x_of(&f, r->marks[i].step),
                y_of(&f, r->marks[i].score));
    fprintf(out,
            "\"/><circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>best: %.4f after step "
            "%lld</title></circle>\n",
            x_of(&f, r->best_step), y_of(&f, r->best), r->best, (long long)r->best_step);
    fputs("</svg></figure>\n", out);
}

void cr_report_training(cr_report_page *page, const cr_train_result *r)
{
    const cr_report_card card = {r->metric, "", NAN, r->best, 4, false, "on pictures kept apart"};
    cr_report_cards(page, &card, 1);
    cr_report_begin(page, "training", "Training", NULL);
    put_losses(page->body, r);
    put_scores(page->body, r);
    cr_report_end(page);
}
