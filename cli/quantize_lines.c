/* What quantize says on stdout: about five lines. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quantize_job.h"

static void print_model(const quantize_job *j)
{
    const cr_model_info *info = cr_model_get_info(j->model);
    char text[160];
    cli_preprocess_text(&info->preprocess, text, sizeof text);
    printf("model        %s: %s, %zu classes, %s (%s)\n", cli_base_name(j->model_path),
           info->family, info->name_count, text, info->preprocess_why);
}

static void print_calibration(const quantize_job *j)
{
    const cr_quantize_options *o = &j->plan.options;
    if (j->recipe_in) {
        printf("calibration  none: recipe %s\n", j->recipe_in);
        return;
    }
    if (j->mode != MODE_STATIC) {
        puts(j->mode == MODE_DYNAMIC ? "calibration  none: each run finds its ranges"
                                     : "calibration  none: only weights are quantized");
        return;
    }
    if (!j->stats) {
        puts("calibration  none: the file's ranges");
        return;
    }
    const unsigned long long pictures = (unsigned long long)cr_stats_pictures(j->stats);
    printf("calibration  %llu pictures", pictures);
    if (cr_stats_converged(j->stats)) fputs(" (ranges no longer moved)", stdout);
    printf(", %s", cli_calibration_name(o->calibration));
    if (o->calibration == CR_CALIB_PERCENTILE) printf(" %g", o->percentile);
    if (o->calibration == CR_CALIB_LP) printf(" %g", o->norm);
    if (j->stats_in)
        printf(", statistics of %s\n", j->stats_in);
    else
        printf(", %.1f s\n", j->calibration_s);
}

/* Targets that know integers alone. */
static bool is_full(cr_target t)
{
    return t == CR_TARGET_TFLITE || t == CR_TARGET_EDGETPU || t == CR_TARGET_NPU_NXP;
}

static const char *activation_text(const cr_quantize_options *o)
{
    const bool theirs = is_full(o->target) && o->activations == CR_ACTIVATIONS_UINT8; /* they are signed */
    const bool bytes = theirs || o->target == CR_TARGET_NCNN;
    return cli_activations_name(bytes ? CR_ACTIVATIONS_INT8 : o->activations);
}

static void print_plan(const quantize_job *j)
{
    const cr_quantize_options *o = &j->plan.options;
    const cr_quantize_report *r = &j->report;
    if (j->recipe_in) {
        const cr_model_info *info = cr_model_get_info(j->model);
        printf("quantized    %zu weights and %zu activations, by the recipe\n",
               info->weight_entries, info->activation_entries);
        return;
    }
    printf("quantized    %zu of %zu convolutions and gemms: weights ", r->convs_quantized, r->convs);
    if (j->fix) printf("%zu of %zu as in the file", r->kept_weights, r->weights);
    else printf("%s per %s", cli_weights_name(o->weights), cli_granularity_name(o->granularity));
    if (o->block > 0) printf(" or %lld input channels", (long long)o->block);
    const bool floats = j->mode == MODE_WEIGHTS || o->activations == CR_ACTIVATIONS_FLOAT;
    if (j->fix) printf(", %zu of %zu ranges as well", r->kept_activations, r->activations);
    if (r->wider_weights) printf(", %zu small ones and ends int8", r->wider_weights);
    printf(", activations %s%s", floats ? "float" : activation_text(o),
           j->mode == MODE_DYNAMIC ? " by the ranges of each run" : "");
    if (r->divided) printf("; %zu tensors in %zu parts by range", r->divided, r->parts);
    if (r->excluded) printf("; %zu nodes kept float as asked", r->excluded);
    const bool full = is_full(o->target) && j->mode == MODE_STATIC && o->head != CR_HEAD_FLOAT;
    if (full && o->head != CR_HEAD_DETACH)
        printf("; every tensor, decoding in %d bits", o->target == CR_TARGET_TFLITE ? 16 : 8);
    if (o->head == CR_HEAD_AUTO && !full)
        printf("; head float: %zu nodes behind %zu last convolutions", r->head_nodes,
               r->last_convs);
    if (o->target == CR_TARGET_ORT && j->mode == MODE_STATIC)
        printf("; one scale per activation, as ONNX Runtime's integer operators have it");
    if (o->target == CR_TARGET_NCNN && j->mode == MODE_STATIC)
        printf("; zero in the middle, one scale per activation, as ncnn's layers have it");
    if (o->head == CR_HEAD_DETACH)
        printf("; ends at %zu last convolutions: decoding is the host's", r->last_convs);
    if (o->head == CR_HEAD_FLOAT)
        printf("; head float: %zu last convolutions and %zu nodes behind", r->last_convs,
               r->head_nodes);
    const bool sums = o->rounding == CR_ROUNDING_SUMS || !j->calibration.count;
    if (j->tuned.layers && sums)
        printf("; rounding sums, without pictures, in %zu layers", j->tuned.layers);
    else if (j->tuned.layers)
        printf("; rounding %s, %zu of %zu layers better for it", cli_rounding_name(o->rounding),
               j->tuned.better, j->tuned.layers);
    putchar('\n');
}

static void print_half(const quantize_job *j)
{
    const cr_half_report *h = &j->half;
    printf("stored       %zu constants as %s", h->weights,
           j->mode == MODE_BF16 ? "bfloat16" : "float16");
    if (j->mode == MODE_FP16_GRAPH)
        printf(", %zu nodes compute so; %zu nodes stay float32", h->nodes, h->kept);
    else if (h->kept)
        printf("; %zu stay float32", h->kept);
    if (h->too_large)
        printf("; %zu hold values beyond its range, '%s' for one", h->too_large, h->largest);
    putchar('\n');
}

static void print_palette(const quantize_job *j)
{
    const cr_palette_report *p = &j->palette;
    printf("stored       %zu weights as palettes of %d values, %.4f %% of their energy lost", p->weights,
           1 << palette_bits(j), 100 * p->error);
    if (p->kept) printf("; %zu stay float", p->kept);
    putchar('\n');
}

static void print_sizes(const quantize_job *j)
{
    const double before = (double)cr_model_get_info(j->model)->file_bytes;
    const double after = cli_size_of(j->out);
    printf("size         %.2f MB -> %.2f MB (%.1f %%)\n", before / 1e6, after / 1e6,
           before > 0 ? 100 * after / before : 0);
}

static void print_agreement(const quantize_job *j)
{
    const bool classify = cr_model_get_info(j->model)->head.kind == CR_HEAD_CLASSIFY;
    const char *which = j->apart ? "pictures that calibration did not see"
                                 : "of the calibration pictures (none were left over)";
    if (j->stats_in || j->recipe_in || j->mode != MODE_STATIC) which = "pictures";
    fputs("agreement    ", stdout);
    if (!j->measured_count)
        puts("not measured: no --images");
    else if (!can_measure(j))
        puts("not measured: the outputs are of no known kind");
    else if (isnan(j->agreement))
        printf("not measured: the float model found nothing on %zu %s\n", j->measured_count, which);
    else
        printf("%.3f %s with the float model, on %zu %s\n", j->agreement,
               classify ? "equal best class" : "mAP50-95", j->measured_count, which);
    if (j->fix && can_measure(j) && !isnan(j->file_agreement))
        printf("as it was    %.3f with the float model, on the same\n", j->file_agreement);
    const cli_shape_text *shape = cli_shape(&j->seen_int);
    if (can_measure(j) && shape && !isnan(j->shapes))
        printf("%-12s %.3f mAP50-95 %s, on the same\n", shape->name, j->shapes, shape->by);
}

static void print_match(const char *what, const cr_score_match *s)
{
    if (s->wanted > 0)
        printf("scores       %s: logits %+.3f; above .25: %.0f in the float model, %.0f -> %.0f here\n",
               what, (double)s->shift, s->wanted, s->before, s->after);
}

/* What stays on the CPU, and why. */
static void print_target(const quantize_job *j)
{
    cr_target_row rows[CR_MAX_TARGET_ROWS];
    cr_error err;
    size_t n = 0;
    int all = 0, mapped = 0;
    if (cr_model_target_rows(j->model, &j->export, rows, &n, &err) != CR_OK || !n) return;
    for (size_t i = 0; i < n; i++) all += rows[i].count, mapped += rows[i].mapped;
    printf("target       %s: %d of %d operators will run there\n", quantize_targets[j->target], mapped, all);
    for (size_t i = 0; i < n; i++)
        if (rows[i].why)
            printf("             %d of %d %s stay on the CPU: %s\n", rows[i].count - rows[i].mapped,
                   rows[i].count, rows[i].op, rows[i].why);
}

void quantize_print(const quantize_job *j)
{
    cli_doubts_print(&j->doubts);
    print_model(j);
    if (j->swapped)
        printf("activation   %s in place of %zu SiLU\n", quantize_activations[j->activation],
               j->swapped);
    if (is_half(j)) {
        print_half(j);
    } else if (palette_bits(j)) {
        print_palette(j);
    } else {
        print_calibration(j);
        cli_budget_given(&j->budget) ? cli_budget_print(&j->budget) : print_plan(j);
        if (cli_budget_given(&j->budget) && j->tuned.layers)
            printf("rounding     %s, behind the table: %zu of %zu layers better for it\n",
                   cli_rounding_name(j->plan.options.rounding), j->tuned.better, j->tuned.layers);
    }
    if (j->fix) cli_findings_print_mended(&j->found, &j->left);
    print_sizes(j);
    print_target(j);
    print_match("classes", &j->scores);
    print_match("objectness", &j->objects);
    if (!cli_budget_given(&j->budget)) print_agreement(j);
}
