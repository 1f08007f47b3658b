/* Calibration from pictures, planning and export on a cr_model: the public face of src/quant. */
#include <string.h>

#include "base/error.h"
#include "base/rng.h"
#include "crayon/quantize.h"
#include "onnx/qdq.h"
#include "pipeline/formats.h"
#include "quant/explain.h"
#include "quant/plan.h"
#include "quant/sum_rounding.h"
#include "quant/stats.h"
#include "quant/tune.h"

cr_quantize_options cr_quantize_options_default(void)
{
    return (cr_quantize_options){.calibration = CR_CALIB_AUTO,
                                 .percentile = 99.999,
                                 .norm = 4,
                                 .block = CR_BLOCK_AUTO,
                                 .small_layers = CR_SMALL_LAYERS_AUTO,
                                 .samples = 128,
                                 .equalize = CR_EQUALIZE_FOLD,
                                 .split_channels = CR_SPLIT_AUTO,
                                 .rounding = CR_ROUNDING_LEARNED};
}

void cr_stats_free(cr_stats **s) { cr_stats_release(s); }
uint64_t cr_stats_pictures(const cr_stats *s) { return s->pictures; }
bool cr_stats_converged(const cr_stats *s) { return s->converged; }

cr_status cr_stats_save(const cr_stats *s, const char *path, cr_error *err)
{
    return cr_stats_write(s, path, err);
}

cr_status cr_stats_load(const char *path, cr_stats **out, cr_error *err)
{
    return cr_stats_read(path, out, err);
}

typedef struct picture_source {
    const cr_model *model;
    const cr_image_list *list;
    const size_t *chosen;
    cr_image_reader *reader;
} picture_source;

static cr_status fill_picture(void *user, size_t index, float *input, cr_error *err)
{
    const picture_source *s = user;
    const cr_preprocess *pre = &s->model->info.preprocess;
    const size_t plane = (size_t)3 * (size_t)pre->width * (size_t)pre->height;
    cr_image img;
    CR_TRY(cr_image_reader_read(s->reader, s->list->paths[s->chosen[index]], &img, err));
    cr_status st = cr_preprocess_run(pre, &img, input, NULL, err);
    cr_image_free(&img);
    for (int b = 1; st == CR_OK && b < s->model->info.batch; b++)
        memcpy(input + (size_t)b * plane, input, plane * sizeof *input);
    return st;
}

/* A seeded choice of k of n in their original order (Knuth's selection sampling). */
static size_t choose(size_t n, size_t k, uint64_t seed, size_t *out)
{
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    size_t found = 0;
    for (size_t i = 0; i < n && found < k; i++)
        if (cr_rng_unit(&rng) * (double)(n - i) < (double)(k - found)) out[found++] = i;
    return found;
}

cr_status cr_calibrate(const cr_model *m, const cr_image_list *pictures,
                       const cr_quantize_options *o, const cr_progress *progress, cr_stats **out,
                       cr_error *err)
{
    *out = NULL;
    const cr_graph *g = m->graph;
    CR_CHECK(!m->recipe, err, CR_ERR_ARGUMENT, "%s is quantized already: calibrate the float model",
             m->info.path);
    CR_CHECK(g->input_count == 1 && g->inputs[0]->shape.rank == 4 && g->inputs[0]->shape.dim[1] == 3,
             err, CR_ERR_UNSUPPORTED, "%s: the input is not one picture [N,3,H,W]", m->info.path);
    CR_CHECK(pictures->count > 0, err, CR_ERR_ARGUMENT, "no pictures to calibrate with");
    size_t *chosen = cr_calloc(pictures->count, sizeof *chosen);
    if (!chosen) return CR_NOMEM(err);
    const size_t want = o->samples && o->samples < pictures->count ? o->samples : pictures->count;
    picture_source source = {m, pictures, chosen, NULL};
    const size_t n = choose(pictures->count, want, o->seed, chosen);
    const cr_collect_options collect = {.count = n,
                                        .fill = fill_picture,
                                        .user = &source,
                                        .threads = o->threads,
                                        .all = o->all_samples,
                                        .all_channels = o->equalize == CR_EQUALIZE_ALL,
                                        .progress = progress};
    cr_status st = cr_image_reader_create(&source.reader, err);
    if (st == CR_OK) st = cr_stats_collect(g, &collect, out, err);
    cr_image_reader_free(&source.reader);
    cr_free(chosen);
    return st;
}

cr_status cr_quantize(cr_model *m, const cr_stats *stats, const cr_quantize_options *o,
                      cr_quantize_report *report, cr_error *err)
{
    cr_recipe *r;
    CR_CHECK(o->target == m->target, err, CR_ERR_ARGUMENT,
             "%s: the plan is for another target than the model's (cr_model_set_target)", m->info.path);
    CR_CHECK(o->weights < CR_WEIGHTS_PALETTE8, err, CR_ERR_ARGUMENT,
             "palettes are no plan of integers: cr_model_to_palette makes them");
    CR_CHECK(!m->palette_bits, err, CR_ERR_ARGUMENT, "%s: its weights are palettes already",
             m->info.path);
    CR_TRY(cr_plan_from(m->graph, stats, o, m->prior, &r, report, err));
    cr_status st = o->head == CR_HEAD_DETACH ? cr_model_detach(m, r, err) : CR_OK;
    if (st == CR_OK) st = cr_model_attach(m, r, err);
    if (st != CR_OK) cr_recipe_release(&r);
    return st;
}

cr_status cr_tune(cr_model *m, const cr_image_list *pictures, const cr_quantize_options *o,
                  const cr_progress *progress, cr_tune_report *report, cr_error *err)
{
    cr_tune_report unused;
    CR_CHECK(m->recipe, err, CR_ERR_ARGUMENT, "%s has no recipe to tune", m->info.path);
    if (!report) report = &unused;
    *report = (cr_tune_report){0};
    if (o->rounding == CR_ROUNDING_NEAREST) return CR_OK;
    if (o->rounding == CR_ROUNDING_SUMS || !pictures || !pictures->count) {
        CR_TRY(cr_round_by_sums(m->graph, m->recipe, &report->better, err));
        report->layers = report->better;
        return cr_model_attach(m, m->recipe, err);
    }
    cr_tune_options t = cr_tune_options_default();
    if (o->rounding == CR_ROUNDING_GPTQ) t.sweeps = 0;
    t.centre = o->bias_correction;
    t.seed = o->seed;
    t.threads = o->threads;
    size_t *all = cr_calloc(pictures->count + 1, sizeof *all);
    if (!all) return CR_NOMEM(err);
    for (size_t i = 0; i < pictures->count; i++) all[i] = i;
    picture_source source = {m, pictures, all, NULL};
    cr_status st = cr_image_reader_create(&source.reader, err);
    if (st == CR_OK)
        st = cr_tune_weights(m->graph, m->recipe, pictures->count, fill_picture, &source, &t,
                             progress, report, err);
    cr_image_reader_free(&source.reader);
    cr_free(all);
    if (st != CR_OK) return st;
    return cr_model_attach(m, m->recipe, err);
}

cr_status cr_model_save_recipe(const cr_model *m, const char *path, cr_error *err)
{
    CR_CHECK(m->recipe, err, CR_ERR_ARGUMENT, "%s has no recipe to save", m->info.path);
    CR_TRY(cr_recipe_explain(cr_model_graph(m), m->recipe, err));
    return cr_recipe_write(m->recipe, path, err);
}

cr_status cr_model_load_recipe(cr_model *m, const char *path, cr_error *err)
{
    cr_recipe *r;
    CR_TRY(cr_recipe_read(path, &r, err));
    const cr_status st = cr_model_attach(m, r, err);
    if (st == CR_OK) return CR_OK;
    cr_recipe_release(&r);
    return cr_fail_prefix(err, st, "%s", path);
}

void cr_model_drop_recipe(cr_model *m)
{
    (void)cr_model_attach(m, NULL, NULL); /* nothing has to fit: it cannot fail */
}

cr_export_options cr_export_options_default(void)
{
    return (cr_export_options){.confidence = .25, .iou = .7};
}

cr_status cr_export_check(const char *path, const cr_export_options *options, cr_error *err)
{
    const cr_export_options defaults = cr_export_options_default();
    const cr_format *format;
    return cr_format_for_export(path, options ? options : &defaults, &format, err);
}

const char *cr_export_format(const char *path, const cr_export_options *options)
{
    const cr_export_options defaults = cr_export_options_default();
    const cr_format *format;
    cr_error unused;
    return cr_format_for_export(path, options ? options : &defaults, &format, &unused) == CR_OK ? format->key : NULL;
}

cr_status cr_model_export(const cr_model *m, const char *path, const cr_export_options *options,
                          cr_error *err)
{
    const cr_export_options o = options ? *options : cr_export_options_default();
    const cr_format *format;
    CR_TRY(cr_format_for_export(path, &o, &format, err));
    return format->write(m, &o, path, err);
}
