/* quantize --report: what was done and what it cost, as a page. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quantize_job.h"

enum { PICTURES = 6, MOST_FACTS = 18 };

typedef struct facts {
    cr_report_fact list[MOST_FACTS];
    char text[MOST_FACTS][400];
    size_t count;
} facts;

static char *fact(facts *f, const char *name)
{
    char *text = f->text[f->count];
    f->list[f->count++] = (cr_report_fact){name, text};
    return text;
}

enum { FACT = sizeof ((facts *)0)->text[0] };

cr_status quantize_report_measure(quantize_job *j, cr_error *err)
{
    const cr_image_list measured = {j->measured, j->measured_count};
    size_t swapped;
    cr_status st = cli_open_model(j->model_path, &j->common, &j->original, err);
    if (st == CR_OK && j->fix) st = cr_model_unquantize(j->original, err);
    if (st == CR_OK)
        st = cr_model_swap_activation(j->original, (cr_activation)j->activation, &swapped, err);
    if (st == CR_OK) st = cr_model_set_target(j->original, (cr_target)j->target, err);
    if (st == CR_OK) st = cli_speed_measure(j->original, j->model, j->common.threads, &j->speed, err);
    return st == CR_OK ? cli_diffs_measure(j->original, j->model, &measured, j->common.threads, &j->diffs, err)
                       : st;
}

/* ---- facts ---- */

static void calibration_fact(const quantize_job *j, facts *f)
{
    const cr_quantize_options *o = &j->plan.options;
    char *text = fact(f, "Calibration");
    if (j->recipe_in)
        snprintf(text, FACT, "none: recipe %.300s", j->recipe_in);
    else if (!j->stats)
        snprintf(text, FACT, "none");
    else
        snprintf(text, FACT, "%llu pictures%s, %s", (unsigned long long)cr_stats_pictures(j->stats),
                 cr_stats_converged(j->stats) ? " (ranges no longer moved)" : "",
                 cli_calibration_name(o->calibration));
}

static void plan_facts(const quantize_job *j, facts *f)
{
    const cr_quantize_options *o = &j->plan.options;
    const cr_quantize_report *r = &j->report;
    const bool floats = j->mode == MODE_WEIGHTS || o->activations == CR_ACTIVATIONS_FLOAT;
    static const char *const heads[] = {"auto: float behind the last convolutions", "quantized",
                                        "float, the last convolutions too", "detached: decoding is the host's"};
    snprintf(fact(f, "Weights"), FACT, "%s per %s", cli_weights_name(o->weights),
             cli_granularity_name(o->granularity));
    snprintf(fact(f, "Activations"), FACT, "%s", floats ? "float" : cli_activations_name(o->activations));
    snprintf(fact(f, "Head"), FACT, "%s", heads[o->head]);
    if (r->convs)
        snprintf(fact(f, "Quantized"), FACT, "%zu of %zu convolutions and gemms, %zu weights, %zu activations",
                 r->convs_quantized, r->convs, r->weights, r->activations);
    if (r->excluded) snprintf(fact(f, "Kept float"), FACT, "%zu nodes, as asked", r->excluded);
    if (r->divided)
        snprintf(fact(f, "Divided by range"), FACT, "%zu tensors in %zu parts", r->divided, r->parts);
    if (r->equalized) snprintf(fact(f, "Equalized"), FACT, "%zu channels", r->equalized);
    if (j->tuned.layers)
        snprintf(fact(f, "Rounding"), FACT, "%s: %zu of %zu layers better for it; mean squared error of their "
                 "outputs %.3g -> %.3g of the energy", cli_rounding_name(o->rounding), j->tuned.better,
                 j->tuned.layers, j->tuned.before, j->tuned.after);
}

static void put_facts(cr_report_page *p, const quantize_job *j)
{
    const cr_model_info *info = cr_model_get_info(j->model);
    facts f = {.count = 0};
    char pre[160];
    cli_preprocess_text(&info->preprocess, pre, sizeof pre);
    snprintf(fact(&f, "Model"), FACT, "%.200s: %.60s, %zu classes, %.3g M parameters, %.3g G multiply-adds",
             j->model_path, info->family, info->name_count, (double)info->parameters / 1e6, (double)info->macs / 1e9);
    snprintf(fact(&f, "Input"), FACT, "%s (%.60s)", pre, info->preprocess_why);
    snprintf(fact(&f, "Mode"), FACT, "%s, target %s", quantize_modes[j->mode], quantize_targets[j->target]);
    if (!is_half(j) && !palette_bits(j)) {
        calibration_fact(j, &f);
        plan_facts(j, &f);
    }
    if (is_half(j)) snprintf(fact(&f, "Stored"), FACT, "%zu constants in 16 bits, %zu nodes or weights stay float32",
                             j->half.weights, j->half.kept);
    if (palette_bits(j)) snprintf(fact(&f, "Stored"), FACT, "%zu weights as palettes of %d values", j->palette.weights,
                                  1 << palette_bits(j));
    snprintf(fact(&f, "Written"), FACT, "%.300s", j->out);
    cr_report_facts(p, "Quantization", f.list, f.count);
}

/* ---- the page ---- */

static const char *agreement_note(const quantize_job *j)
{
    if (cr_model_get_info(j->model)->head.kind == CR_HEAD_CLASSIFY) return "equal best class";
    return j->apart ? "mAP50-95, the float model's detections being the truth, on pictures that calibration did not see"
                    : "mAP50-95, the float model's detections being the truth, on calibration pictures";
}

static void put_cards(cr_report_page *p, const quantize_job *j)
{
    const double before = (double)cr_model_get_info(j->original)->file_bytes / 1e6;
    cr_report_card cards[3] = {
        {"Size", "MB", before, cli_size_of(j->out) / 1e6, 2, true, ""},
        {"Time", "ms", j->speed.before_ms, j->speed.after_ms, 2, true, "median of a run on this CPU, in turn"}};
    size_t n = 2;
    if (can_measure(j) && !isnan(j->agreement))
        cards[n++] = (cr_report_card){"Agreement", "", NAN, j->agreement, 3, false, agreement_note(j)};
    cr_report_cards(p, cards, n);
}

/* The float model's classes beside those of the quantized one. */
static cr_status put_confusion(cr_report_page *p, const quantize_job *j, cr_error *err)
{
    const cr_model_info *info = cr_model_get_info(j->model);
    const size_t n = j->measured_count;
    int *class[2] = {NULL, NULL};
    float *sure[2] = {NULL, NULL};
    cr_status st = CR_OK;
    if (j->seen_float.count != n || j->seen_int.count != n) return CR_OK;
    for (int k = 0; k < 2; k++) {
        const cr_coco_box *seen = k ? j->seen_int.items : j->seen_float.items;
        class[k] = calloc(n + 1, sizeof *class[k]);
        sure[k] = calloc(n + 1, sizeof *sure[k]);
        if (!class[k] || !sure[k]) st = cli_error(err, CR_ERR_MEMORY, "out of memory");
        for (size_t i = 0; st == CR_OK && i < n; i++) {
            class[k][i] = (int)seen[i].category_id;
            sure[k][i] = (float)seen[i].score;
        }
    }
    const cr_report_answers answers = {j->measured, n, cr_model_get_info(j->original)->precision,
                                       info->precision, class[0], class[1], sure[0], sure[1],
                                       info->names, info->name_count};
    if (st == CR_OK) st = cr_report_confusion(p, &answers, 2 * PICTURES, err);
    for (int k = 0; k < 2; k++) {
        free(class[k]);
        free(sure[k]);
    }
    return st;
}

static cr_status put_pictures(cr_report_page *p, const quantize_job *j, cr_error *err)
{
    const cr_model_info *info = cr_model_get_info(j->model);
    const cr_coco_results before = cli_results(&j->seen_float), after = cli_results(&j->seen_int);
    const cr_report_views views = {j->measured,
                                   NULL,
                                   j->measured_count,
                                   cr_model_get_info(j->original)->precision,
                                   info->precision,
                                   &before,
                                   &after,
                                   cli_common_metric(&j->seen_float, &j->seen_int),
                                   info->names,
                                   info->name_count};
    if (!can_measure(j)) return CR_OK;
    if (info->head.kind == CR_HEAD_CLASSIFY) return put_confusion(p, j, err);
    return cr_report_pictures(p, &views, PICTURES, err);
}

static cr_status compose(cr_report_page *p, const quantize_job *j, cr_error *err)
{
    put_cards(p, j);
    put_facts(p, j);
    cr_status st = put_pictures(p, j, err);
    if (st != CR_OK) return st;
    cr_report_layers(p, j->diffs.list, j->diffs.count, &j->diffs.costs);
    cr_report_ranges(p, j->model, j->stats);
    st = cr_report_weights(p, j->model, err);
    if (st != CR_OK) return st;
    cr_report_times(p, j->speed.layers.steps, j->speed.layers.count, &j->speed.layers.peaks);
    return cr_report_graph(p, j->model, err);
}

cr_status quantize_report_write(quantize_job *j, cr_error *err)
{
    cr_report_page *page = NULL;
    char title[512];
    snprintf(title, sizeof title, "%.200s \xe2\x86\x92 %.200s", cli_base_name(j->model_path), cli_base_name(j->out));
    cr_status st = cr_report_open(title, j->command ? j->command : "", &page, err);
    if (st == CR_OK) st = compose(page, j, err);
    if (st == CR_OK) st = cr_report_save(page, j->report_path, err);
    cr_report_close(&page);
    return st;
}
