/* crayon bench --pipeline: from a picture's file to boxes, by stages.
 *
 * One loop does what `detect` does for one picture, the file read anew each time; every stage's
 * median is taken on its own, so they need not sum to the median of the whole. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "crayon/cpu.h"

enum stage { DECODE, LETTERBOX, RUN, HEAD, TOTAL, STAGES };

static const char *const keys[STAGES] = {"decode_ms", "letterbox_ms", "run_ms", "head_ms",
                                         "total_ms"};

enum { DEFAULT_RUNS = 50, LEAST_RUNS = 5 };
static const double time_limit_ms = 20000;

typedef struct laps {
    double *ms; /* [STAGES, most] */
    size_t most, count, boxes;
    int width, height;
} laps;

static cr_status lap(cr_detector *detector, const char *path, double ms[STAGES], laps *l,
                     cr_error *err)
{
    cr_image picture;
    cr_detections found = {0};
    const double start = cli_now_ms();
    cr_status st = cr_image_read(path, &picture, err);
    if (st != CR_OK) return st;
    const double decoded = cli_now_ms();
    st = cr_detector_run(detector, &picture, NULL, &found, err);
    const cr_detect_times t = cr_detector_times(detector);
    ms[DECODE] = decoded - start;
    ms[LETTERBOX] = t.preprocess_ms;
    ms[RUN] = t.run_ms;
    ms[HEAD] = t.decode_ms;
    ms[TOTAL] = cli_now_ms() - start;
    l->boxes = found.count;
    l->width = picture.width;
    l->height = picture.height;
    cr_detections_free(&found);
    cr_image_free(&picture);
    return st;
}

static cr_status run_laps(const cli_bench_pipeline *b, cr_detector *detector, laps *l,
                          cr_error *err)
{
    double ms[STAGES];
    cr_status st = CR_OK;
    for (long long i = 0; st == CR_OK && i < b->warmup; i++)
        st = lap(detector, b->picture, ms, l, err);
    const double start = cli_now_ms();
    while (st == CR_OK && l->count < l->most) {
        st = lap(detector, b->picture, ms, l, err);
        for (size_t k = 0; k < STAGES; k++) l->ms[k * l->most + l->count] = ms[k];
        l->count++;
        if (!b->runs && l->count >= LEAST_RUNS && cli_now_ms() - start > time_limit_ms) break;
        if (st == CR_OK && !cli_step("measuring", l->count, l->most))
            st = cli_error(err, CR_ERR_CANCELLED, "cancelled");
    }
    cli_progress_clear();
    return st;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void write_json(const cli_bench_pipeline *b, const char *path, const char *precision,
                       laps *l, FILE *f)
{
    cli_json out = {.out = f};
    cli_json_open(&out, NULL, '{');
    cli_json_string(&out, "model", path);
    cli_json_string(&out, "precision", precision);
    cli_json_integer(&out, "threads", b->common->threads ? b->common->threads : cr_cpu_count());
    cli_json_string(&out, "cpu", cr_cpu_name());
    cli_json_string(&out, "level", cr_cpu_level_name());
    cli_json_string(&out, "picture", b->picture);
    cli_json_integer(&out, "width", l->width);
    cli_json_integer(&out, "height", l->height);
    cli_json_integer(&out, "runs", (long long)l->count);
    for (size_t k = 0; k < STAGES; k++)
        cli_json_real(&out, keys[k], median(l->ms + k * l->most, l->count));
    cli_json_integer(&out, "boxes", (long long)l->boxes);
    cli_json_close(&out, '}');
}

static void write_text(const cli_bench_pipeline *b, const char *path, const char *precision,
                       laps *l, FILE *f)
{
    fprintf(f, "%-28s %-10s", cli_base_name(path), precision);
    for (size_t k = 0; k < STAGES; k++)
        fprintf(f, " %.*s %.2f", (int)strcspn(keys[k], "_"), keys[k],
                median(l->ms + k * l->most, l->count));
    fprintf(f, " ms  %s %dx%d, %zu boxes (%zu runs)\n", cli_base_name(b->picture), l->width,
            l->height, l->boxes, l->count);
}

int cli_bench_pipeline_run(const cli_bench_pipeline *b, const char *path, FILE *out)
{
    cr_model *model = NULL;
    cr_detector *detector = NULL;
    cr_error err = {0};
    laps l = {.most = b->runs ? (size_t)b->runs : DEFAULT_RUNS};
    cr_status st = cli_open_model(path, b->common, &model, &err);
    if (st == CR_OK) st = cr_detector_create(model, b->common->threads, &detector, &err);
    if (st == CR_OK && !(l.ms = malloc(STAGES * l.most * sizeof *l.ms)))
        st = cli_error(&err, CR_ERR_MEMORY, "out of memory");
    if (st == CR_OK) st = run_laps(b, detector, &l, &err);
    if (st == CR_OK)
        (b->json ? write_json : write_text)(b, path, cr_model_get_info(model)->precision, &l, out);
    free(l.ms);
    cr_detector_free(&detector);
    cr_model_free(&model);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
