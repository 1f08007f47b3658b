/* Detector: the way from picture to boxes. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "base/error.h"
#include "crayon/runtime.h"
#include "pipeline/model_impl.h"

enum { MAX_OUTPUTS = 32 };

struct cr_detector {
    const cr_model *model;
    cr_runner *runner;
    uint8_t *pixels; /* [height,width,3] of the input, for cr_detector_run; made when first needed */
    cr_detect_times times;
};

static cr_status check_detectable(const cr_model *m, cr_error *err)
{
    const cr_model_info *info = &m->info;
    CR_CHECK(m->graph->input_count == 1 && m->graph->inputs[0]->dtype == CR_DT_F32 &&
                 m->graph->inputs[0]->shape.rank == 4 && m->graph->inputs[0]->shape.dim[1] == 3,
             err, CR_ERR_UNSUPPORTED, "%s: the input is not one picture [N,3,H,W] of float32",
             info->path);
    CR_CHECK(info->batch == 1, err, CR_ERR_UNSUPPORTED, "%s: has batch %d, detection needs 1",
             info->path, info->batch);
    CR_CHECK(info->head.kind != CR_HEAD_NONE && cr_model_graph(m)->output_count <= MAX_OUTPUTS, err,
             CR_ERR_UNSUPPORTED,
             "%s: the outputs are of no detector or classifier that Crayon knows", info->path);
    return CR_OK;
}

/* `runner` becomes the detector's. */
static cr_status wrap(const cr_model *m, cr_runner *runner, cr_detector **out, cr_error *err)
{
    cr_detector *d = cr_calloc(1, sizeof *d);
    if (!d) {
        cr_runner_free(&runner);
        return CR_NOMEM(err);
    }
    *d = (cr_detector){.model = m, .runner = runner};
    *out = d;
    return CR_OK;
}

cr_status cr_detector_create(const cr_model *m, int threads, cr_detector **out, cr_error *err)
{
    cr_runner *runner;
    *out = NULL;
    CR_TRY(check_detectable(m, err));
    CR_TRY(cr_runner_create(m, threads, &runner, err));
    return wrap(m, runner, out, err);
}

cr_status cr_detector_share(const cr_detector *with, int threads, cr_detector **out, cr_error *err)
{
    cr_runner *runner;
    *out = NULL;
    CR_TRY(cr_runner_share(with->runner, threads, &runner, err));
    return wrap(with->model, runner, out, err);
}

void cr_detector_cancel(cr_detector *d) { cr_runner_cancel(d->runner); }

void cr_detector_free(cr_detector **dp)
{
    if (!dp || !*dp) return;
    cr_runner_free(&(*dp)->runner);
    cr_free((*dp)->pixels);
    cr_free(*dp);
    *dp = NULL;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* The input is filled, since `start`. */
static cr_status run_filled(cr_detector *d, double start, const cr_placement *place,
                            const cr_detect_options *options, cr_detections *out, cr_error *err)
{
    const cr_model *m = d->model;
    const cr_detect_options defaults = cr_detect_options_default();
    cr_output outs[MAX_OUTPUTS];
    const double filled = now_ms();
    CR_TRY(cr_runner_run(d->runner, err));
    const double ran = now_ms();
    const size_t n = cr_model_graph(m)->output_count;
    for (size_t i = 0; i < n; i++) CR_TRY(cr_runner_output(d->runner, i, &outs[i], err));
    CR_TRY(cr_head_decode(&m->info.head, outs, n, place, options ? options : &defaults, out, err));
    d->times = (cr_detect_times){filled - start, ran - filled, now_ms() - ran};
    return CR_OK;
}

/* Bytes as they are where the model can take them, else normalised. */
static cr_status fill(cr_detector *d, const uint8_t *pixels, cr_error *err)
{
    const cr_preprocess *pre = &d->model->info.preprocess;
    if (cr_runner_put_picture(d->runner, pixels, pre->mean, pre->div)) return CR_OK;
    return cr_preprocess_normalize(pre, pixels, cr_runner_input(d->runner, 0, NULL), err);
}

cr_status cr_detector_run(cr_detector *d, const cr_image *picture, const cr_detect_options *options,
                          cr_detections *out, cr_error *err)
{
    const cr_preprocess *pre = &d->model->info.preprocess;
    cr_placement place;
    const double start = now_ms();
    if (!d->pixels) d->pixels = cr_malloc((size_t)pre->width * (size_t)pre->height * 3);
    if (!d->pixels) return CR_NOMEM(err);
    CR_TRY(cr_preprocess_pixels(pre, picture, d->pixels, &place, err));
    CR_TRY(fill(d, d->pixels, err));
    return run_filled(d, start, &place, options, out, err);
}

cr_status cr_detector_run_pixels(cr_detector *d, const uint8_t *pixels, const cr_placement *place,
                                 const cr_detect_options *options, cr_detections *out,
                                 cr_error *err)
{
    const double start = now_ms();
    CR_TRY(fill(d, pixels, err));
    return run_filled(d, start, place, options, out, err);
}

cr_detect_times cr_detector_times(const cr_detector *d) { return d->times; }
