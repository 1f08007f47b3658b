/* What quantization did layer by layer, and where a run's time goes: bars in tables, which keep their
 * letters readable on a phone and sort by a click, as a drawing would not. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report_page.h"

/* ---- signal to noise ---- */

/* 60 dB fill the bar; what lies under 10 is lost, under 20 doubtful. */
static const char *tone_of(double db)
{
    return db < 10 ? "bad" : db < 20 ? "warn" : "fine";
}

static void put_diff(FILE *f, const cr_layer_diff *d, size_t order)
{
    fprintf(f, "<tr><td class=\"n\">%zu</td><td class=\"name\" title=\"", order + 1);
    cr_report_text(f, d->tensor);
    fputs("\">", f);
    cr_report_name(f, d->tensor, 44);
    if (isinf(d->sqnr_db) && d->sqnr_db > 0)
        fputs("</td><td class=\"n\" data-v=\"999\">exact</td><td class=\"b\"><div class=\"bar fine\">"
              "<i style=\"width:100%\"></i></div></td>", f);
    else
        fprintf(f, "</td><td class=\"n\">%.1f</td><td class=\"b\"><div class=\"bar %s\"><i style=\"width:%.1f%%\">"
                   "</i></div></td>",
                isfinite(d->sqnr_db) ? d->sqnr_db : -99, tone_of(d->sqnr_db),
                isfinite(d->sqnr_db) ? fmin(fmax(d->sqnr_db, 0), 60) / .6 : 0);
    fprintf(f, "<td class=\"n\">%.5f</td></tr>\n", d->cosine);
}

static void put_diffs(cr_report_page *p, const cr_layer_diff *diffs, size_t count)
{
    FILE *f = p->body;
    cr_report_begin(p, "sqnr", "Signal to noise",
                    "Each activation against the float model's, in the order of execution: signal to "
                    "quantization noise in dB (higher is better), cosine. A click on a heading sorts.");
    fputs("<div class=\"wide tall\"><table class=\"sort\"><thead><tr><th class=\"n\">#</th><th>activation</th>"
          "<th class=\"n\">dB</th><th class=\"b\"></th><th class=\"n\">cosine</th></tr></thead><tbody>\n", f);
    for (size_t i = 0; i < count; i++) put_diff(f, &diffs[i], i);
    fputs("</tbody></table></div>\n", f);
    cr_report_end(p);
}

/* ---- sensitivity ---- */

static void put_costs(cr_report_page *p, const cr_layer_costs *c)
{
    FILE *f = p->body;
    double most = 0;
    for (size_t i = 0; i < c->count; i++) most = fmax(most, c->layers[i].alone.error);
    cr_report_begin(p, "sensitivity", "Sensitivity", NULL);
    fprintf(f, "<p class=\"lead\">What each layer does to the detections, on %zu pictures: the change of scores and "
               "boxes in parts of the scores, when this layer alone is quantized, and when all are but this one. "
               "With all quantized it is <b>%.4f</b>.</p>\n", c->pictures, c->all.error);
    fputs("<div class=\"wide tall\"><table class=\"sort\"><thead><tr><th>layer</th><th class=\"n\">alone</th>"
          "<th class=\"b\"></th><th class=\"n\">all but it</th></tr></thead><tbody>\n", f);
    for (size_t i = 0; i < c->count; i++) {
        const cr_layer_cost *l = &c->layers[i];
        fputs("<tr><td class=\"name\" title=\"", f);
        cr_report_text(f, l->node);
        fputs("\">", f);
        cr_report_name(f, l->node, 44);
        fprintf(f, "</td><td class=\"n\">%.5f</td><td class=\"b\"><div class=\"bar warn\"><i style=\"width:%.1f%%\">"
                   "</i></div></td><td class=\"n\">%.5f</td></tr>\n",
                l->alone.error, most > 0 ? 100 * fmax(l->alone.error, 0) / most : 0, l->without.error);
    }
    fputs("</tbody></table></div>\n", f);
    cr_report_end(p);
}

void cr_report_layers(cr_report_page *p, const cr_layer_diff *diffs, size_t count, const cr_layer_costs *costs)
{
    if (count) put_diffs(p, diffs, count);
    if (costs && costs->count) put_costs(p, costs);
}

/* ---- time ---- */

static double ms_of(const cr_step_time *s)
{
    return (double)s->ns * 1e-6;
}

static const char *label(const cr_step_time *s)
{
    return *s->node ? s->node : s->tensor;
}

static void put_share(FILE *f, const cr_step_time *steps, size_t count, double all)
{
    static const char *const colours[CR_MATH_COUNT] = {"c2", "c4", "c1"};
    double ms[CR_MATH_COUNT] = {0};
    for (size_t i = 0; i < count; i++) ms[steps[i].math] += ms_of(&steps[i]);
    fputs("<div class=\"stack\">", f);
    for (int m = 0; m < CR_MATH_COUNT; m++)
        if (ms[m] > 0) fprintf(f, "<i class=\"%s\" style=\"width:%.2f%%\"></i>", colours[m], 100 * ms[m] / all);
    fputs("</div><p class=\"keys\">", f);
    for (int m = 0; m < CR_MATH_COUNT; m++)
        if (ms[m] > 0)
            fprintf(f, "<span class=\"key\"><i class=\"%s\"></i>%s %.2f ms (%.0f %%)</span>", colours[m],
                    cr_math_name((cr_math)m), ms[m], 100 * ms[m] / all);
    fputs("</p>\n", f);
}

static void put_step(FILE *f, const cr_step_time *s, size_t order, double all, double most, const cr_peaks *peaks)
{
    fprintf(f, "<tr><td class=\"n\">%zu</td><td class=\"name\" title=\"", order + 1);
    cr_report_text(f, label(s));
    fputs("\">", f);
    cr_report_name(f, label(s), 40);
    fprintf(f, "</td><td class=\"n\">%.4f</td><td class=\"b\"><div class=\"bar\"><i style=\"width:%.1f%%\"></i></div>"
               "</td><td class=\"n\">%.1f</td>", ms_of(s), most > 0 ? 100 * ms_of(s) / most : 0, 100 * ms_of(s) / all);
    if (s->macs)
        fprintf(f, "<td class=\"n\">%.0f</td>", cr_step_rate(s) * 1e-9);
    else
        fputs("<td class=\"n\"></td>", f);
    if (peaks && s->macs && peaks->ops[s->math] > 0)
        fprintf(f, "<td class=\"n\">%.0f</td>", 100 * cr_step_rate(s) / peaks->ops[s->math]);
    else
        fputs("<td class=\"n\"></td>", f);
    fprintf(f, "<td>%s</td><td class=\"name\">", cr_math_name(s->math));
    cr_report_text(f, s->kernel);
    fputs("</td></tr>\n", f);
}

void cr_report_times(cr_report_page *p, const cr_step_time *steps, size_t count, const cr_peaks *peaks)
{
    FILE *f = p->body;
    double all = 0, most = 0;
    for (size_t i = 0; i < count; i++) {
        all += ms_of(&steps[i]);
        most = fmax(most, ms_of(&steps[i]));
    }
    if (!(all > 0)) return;
    cr_report_begin(p, "time", "Time by layer", NULL);
    fprintf(f, "<p class=\"lead\">Medians, %zu steps, %.2f ms in all%s.</p>\n", count, all,
            peaks ? "; of peak: of what this CPU reaches in that arithmetic" : "");
    put_share(f, steps, count, all);
    fputs("<div class=\"wide tall\"><table class=\"sort\"><thead><tr><th class=\"n\">#</th><th>step</th>"
          "<th class=\"n\">ms</th><th class=\"b\"></th><th class=\"n\">%</th><th class=\"n\">GOPS</th>"
          "<th class=\"n\">of peak %</th><th>type</th><th>kernel</th></tr></thead><tbody>\n", f);
    for (size_t i = 0; i < count; i++) put_step(f, &steps[i], i, all, most, peaks);
    fputs("</tbody></table></div>\n", f);
    cr_report_end(p);
}
