#define _POSIX_C_SOURCE 200809L
#include "crayon_py.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan_options.h"

static int fail(cr_error *err, cr_status status, const char *message)
{
    err->status = status;
    snprintf(err->message, sizeof err->message, "%s", message);
    return (int)status;
}

/* ---- models ---------------------------------------------------------------------------------- */

int cr_py_open(const char *path, int height, int width, int batch, int precision, cr_model **out,
               cr_error *err)
{
    cr_model_options o = cr_model_options_default();
    o.height = height;
    o.width = width;
    o.batch = batch;
    o.precision = (cr_precision)precision;
    return (int)cr_model_open(path, &o, out, err);
}

const char *cr_py_text(const cr_model *model, int which)
{
    const cr_model_info *info = cr_model_get_info(model);
    const char *const texts[] = {info->family, info->task, info->precision,
                                 cr_fit_name(info->preprocess.fit), info->preprocess_why};
    return texts[which];
}

const char *cr_py_class_name(const cr_model *model, size_t index)
{
    const cr_model_info *info = cr_model_get_info(model);
    return index < info->name_count ? info->names[index] : NULL;
}

int cr_py_quantized(const cr_model *model)
{
    return cr_model_get_info(model)->quantized;
}

size_t cr_py_ports(const cr_model *model, int outputs)
{
    return cr_model_port_count(model, outputs ? CR_PORT_OUTPUT : CR_PORT_INPUT);
}

void cr_py_port(const cr_model *model, int outputs, size_t index, cr_py_tensor *out)
{
    const cr_port_info p = cr_model_port(model, outputs ? CR_PORT_OUTPUT : CR_PORT_INPUT, index);
    *out = (cr_py_tensor){.name = p.name, .dtype = p.dtype, .rank = p.rank};
    memcpy(out->dim, p.dim, sizeof out->dim);
}

int cr_py_node(const cr_model *model, int of_file, size_t index, const char **name, const char **op)
{
    size_t count = cr_model_get_info(model)->nodes;
    const cr_file_node *nodes = of_file ? cr_model_file_nodes(model, &count) : NULL;
    cr_layer_info layer;
    if (index >= count) return 0;
    if (!of_file && cr_model_layer(model, index, &layer, NULL) != CR_OK) return 0;
    *name = of_file ? nodes[index].name : layer.name;
    *op = of_file ? nodes[index].op : layer.op;
    return 1;
}

int cr_py_output(const cr_runner *runner, size_t index, cr_py_tensor *out, cr_error *err)
{
    cr_raw_output raw;
    const cr_status st = cr_runner_output_raw(runner, index, &raw, err);
    if (st != CR_OK) return (int)st;
    *out = (cr_py_tensor){.dtype = raw.dtype, .data = raw.data, .bytes = raw.bytes, .rank = raw.rank};
    memcpy(out->dim, raw.dim, sizeof out->dim);
    return CR_OK;
}

/* ---- pictures -------------------------------------------------------------------------------- */

int cr_py_picture_size(const cr_model *model, int *height, int *width)
{
    const cr_preprocess *pre = &cr_model_get_info(model)->preprocess;
    const bool one = cr_model_port_count(model, CR_PORT_INPUT) == 1;
    const cr_port_info in = one ? cr_model_port(model, CR_PORT_INPUT, 0) : (cr_port_info){0};
    *height = pre->height;
    *width = pre->width;
    return one && in.rank == 4 && in.dim[1] == 3 && in.dim[2] == pre->height &&
           in.dim[3] == pre->width;
}

int cr_py_preprocess(const cr_model *model, const uint8_t *rgb, int height, int width, float *out,
                     cr_error *err)
{
    const cr_image picture = {width, height, (uint8_t *)rgb};
    return (int)cr_preprocess_run(&cr_model_get_info(model)->preprocess, &picture, out, NULL, err);
}

int cr_py_read_image(const char *path, cr_image **out, const uint8_t **rgb, int *height, int *width,
                     cr_error *err)
{
    cr_image *image = calloc(1, sizeof *image);
    if (!image) return fail(err, CR_ERR_MEMORY, "out of memory");
    const cr_status st = cr_image_read(path, image, err);
    *out = image;
    if (st != CR_OK) {
        cr_py_free_image(out);
        return (int)st;
    }
    *rgb = image->rgb;
    *height = image->height;
    *width = image->width;
    return CR_OK;
}

void cr_py_free_image(cr_image **image)
{
    if (*image) cr_image_free(*image);
    free(*image);
    *image = NULL;
}

/* ---- detections ------------------------------------------------------------------------------ */

struct cr_py_found {
    cr_detections list;
};

int cr_py_detect_run(cr_detector *detector, const uint8_t *rgb, int height, int width,
                     const cr_py_detect *o, cr_py_found **out, size_t *count, int *keypoints,
                     cr_error *err)
{
    const cr_image picture = {width, height, (uint8_t *)rgb};
    cr_detect_options options = cr_detect_options_default();
    options.conf = o->conf;
    options.iou = o->iou;
    options.max_detections = o->max_detections;
    options.class_agnostic = o->class_agnostic;
    options.multi_label = o->multi_label;
    options.classes = o->classes;
    options.class_count = o->class_count;
    cr_py_found *found = calloc(1, sizeof *found);
    if (!found) return fail(err, CR_ERR_MEMORY, "out of memory");
    const cr_status st = cr_detector_run(detector, &picture, &options, &found->list, err);
    if (st != CR_OK) {
        free(found);
        return (int)st;
    }
    *out = found;
    *count = found->list.count;
    *keypoints = found->list.keypoint_count;
    return CR_OK;
}

void cr_py_found_copy(const cr_py_found *found, float *boxes, float *scores, int *classes,
                      float *points)
{
    const size_t each = (size_t)found->list.keypoint_count * 3;
    for (size_t i = 0; i < found->list.count; i++) {
        const cr_detection *d = &found->list.items[i];
        memcpy(boxes + 4 * i, d->box, sizeof d->box);
        scores[i] = d->score;
        classes[i] = d->class_id;
        if (points && d->keypoints) memcpy(points + each * i, d->keypoints, each * sizeof *points);
    }
}

void cr_py_found_free(cr_py_found **found)
{
    if (!*found) return;
    cr_detections_free(&(*found)->list);
    free(*found);
    *found = NULL;
}

/* ---- plans ----------------------------------------------------------------------------------- */

typedef struct text_list {
    char **text;
    size_t count;
} text_list;

struct cr_py_plan {
    cli_plan plan;
    text_list values, nodes[2]; /* what the options point to: keep float, only */
};

/* plan_options.c speaks through cli_usage and getopt's optarg, which are the process's: one setting
 * at a time. */
static pthread_mutex_t setting = PTHREAD_MUTEX_INITIALIZER;
static char complaint[sizeof((cr_error *)0)->message];

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(complaint, sizeof complaint, format, args);
    va_end(args);
    return CLI_USAGE;
}

cr_py_plan *cr_py_plan_create(void)
{
    cr_py_plan *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->plan = cli_plan_default();
    cli_plan_finish(&p->plan);
    return p;
}

static void drop(text_list *list)
{
    for (size_t i = 0; i < list->count; i++) free(list->text[i]);
    free(list->text);
    *list = (text_list){NULL, 0};
}

void cr_py_plan_free(cr_py_plan **plan)
{
    if (!*plan) return;
    drop(&(*plan)->values);
    drop(&(*plan)->nodes[0]);
    drop(&(*plan)->nodes[1]);
    free(*plan);
    *plan = NULL;
}

/* The list's own copy, or NULL without memory. Every character of `special` gets a \ in front. */
static char *keep(text_list *list, const char *text, const char *special)
{
    char **grown = realloc(list->text, (list->count + 1) * sizeof *grown);
    if (!grown) return NULL;
    list->text = grown;
    char *copy = malloc(2 * strlen(text) + 1), *to = copy;
    if (!copy) return NULL;
    for (; *text; text++) {
        if (strchr(special, *text)) *to++ = '\\';
        *to++ = *text;
    }
    *to = 0;
    return list->text[list->count++] = copy;
}

static struct option joined[CLI_MAX_OPTIONS];

static void join_options(void)
{
    static const struct option none = {0};
    cli_plan_join(&none, joined);
}

static const struct option *plan_options(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, join_options);
    return joined;
}

static const struct option *find_option(const char *name)
{
    for (const struct option *o = plan_options(); o->name; o++)
        if (!strcmp(o->name, name)) return o;
    return NULL;
}

int cr_py_plan_kind(const char *option)
{
    const struct option *o = find_option(option);
    return !o ? -1 : o->has_arg == no_argument;
}

const char *cr_py_plan_name(size_t index)
{
    const struct option *o = plan_options();
    while (index && o->name) o++, index--;
    return o->name;
}

int cr_py_plan_set(cr_py_plan *p, const char *option, const char *value, cr_error *err)
{
    const struct option *o = find_option(option);
    char *copy = value ? keep(&p->values, value, "") : NULL;
    if (!o) return fail(err, CR_ERR_ARGUMENT, "no such option");
    if (value && !copy) return fail(err, CR_ERR_MEMORY, "out of memory");
    int status = CLI_DONE;
    pthread_mutex_lock(&setting);
    complaint[0] = 0;
    optarg = copy;
    (void)cli_plan_take(o->val, &p->plan, &status);
    if (status != CLI_DONE) fail(err, CR_ERR_ARGUMENT, complaint);
    pthread_mutex_unlock(&setting);
    return status == CLI_DONE ? CR_OK : CR_ERR_ARGUMENT;
}

int cr_py_plan_nodes(cr_py_plan *p, int only, const char *const *names, size_t count, cr_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!keep(&p->nodes[only != 0], names[i], "\\*?["))
            return fail(err, CR_ERR_MEMORY, "out of memory");
    return CR_OK;
}

void cr_py_plan_mode(cr_py_plan *p, int mode)
{
    p->plan.options.mode = (cr_quantize_mode)mode;
}

void cr_py_plan_threads(cr_py_plan *p, int threads)
{
    p->plan.options.threads = threads;
}

/* The options, whose lists are those that were set by name or else by pattern. */
static cr_quantize_options options_of(const cr_py_plan *p)
{
    cr_quantize_options o = p->plan.options;
    if (p->nodes[0].count) {
        o.keep_float = (const char *const *)p->nodes[0].text;
        o.keep_float_count = p->nodes[0].count;
    }
    if (p->nodes[1].count) {
        o.only = (const char *const *)p->nodes[1].text;
        o.only_count = p->nodes[1].count;
    }
    return o;
}

/* ---- calibration ----------------------------------------------------------------------------- */

int cr_py_calibrate_images(const cr_model *model, const char *const *paths, size_t count,
                           const cr_py_plan *plan, cr_progress_fn progress, cr_stats **out,
                           cr_error *err)
{
    const cr_image_list list = {(char **)paths, count};
    const cr_quantize_options o = options_of(plan);
    const cr_progress report = {progress, NULL};
    return (int)cr_calibrate(model, &list, &o, &report, out, err);
}

int cr_py_calibrate_folder(const cr_model *model, const char *spec, const cr_py_plan *plan,
                           cr_progress_fn progress, cr_stats **out, cr_error *err)
{
    cr_image_list list;
    const cr_status st = cr_image_list_open(spec, &list, err);
    if (st != CR_OK) return (int)st;
    const int done = cr_py_calibrate_images(model, (const char *const *)list.paths, list.count, plan,
                                            progress, out, err);
    cr_image_list_free(&list);
    return done;
}

int cr_py_tune_images(cr_model *model, const char *const *paths, size_t count,
                      const cr_py_plan *plan, cr_progress_fn progress, cr_error *err)
{
    const cr_image_list list = {(char **)paths, count};
    const cr_quantize_options o = options_of(plan);
    const cr_progress report = {progress, NULL};
    return (int)cr_tune(model, &list, &o, &report, NULL, err);
}

int cr_py_tune_folder(cr_model *model, const char *spec, const cr_py_plan *plan,
                      cr_progress_fn progress, cr_error *err)
{
    cr_image_list list;
    const cr_status st = cr_image_list_open(spec, &list, err);
    if (st != CR_OK) return (int)st;
    const int done = cr_py_tune_images(model, (const char *const *)list.paths, list.count, plan,
                                       progress, err);
    cr_image_list_free(&list);
    return done;
}

typedef struct sample_file {
    int file;
    size_t bytes; /* of a sample */
} sample_file;

static cr_status read_sample(void *user, size_t index, float *input, cr_error *err)
{
    const sample_file *f = user;
    for (size_t done = 0; done < f->bytes;) {
        const ssize_t n =
            pread(f->file, (char *)input + done, f->bytes - done, (off_t)(index * f->bytes + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            fail(err, CR_ERR_IO, n ? strerror(errno) : "calibration data end too early");
            return CR_ERR_IO;
        }
        done += (size_t)n;
    }
    return CR_OK;
}

int cr_py_calibrate_file(const cr_model *model, int file, size_t count, const cr_py_plan *plan,
                         cr_progress_fn progress, cr_stats **out, cr_error *err)
{
    const cr_port_info in = cr_model_port(model, CR_PORT_INPUT, 0);
    sample_file source = {file, sizeof(float)};
    for (int d = 0; d < in.rank; d++) source.bytes *= (size_t)in.dim[d];
    const cr_quantize_options o = options_of(plan);
    const cr_progress report = {progress, NULL};
    return (int)cr_calibrate_tensors(model, count, read_sample, &source, &o, &report, out, err);
}

int cr_py_quantize(cr_model *model, const cr_stats *stats, const cr_py_plan *plan, size_t report[7],
                   cr_error *err)
{
    const cr_quantize_options o = options_of(plan);
    cr_quantize_report r;
    const cr_status st = cr_quantize(model, stats, &o, &r, err);
    if (st != CR_OK) return (int)st;
    const size_t figures[7] = {r.convs,       r.convs_quantized, r.head_nodes, r.last_convs,
                               r.activations, r.weights,         r.excluded};
    memcpy(report, figures, sizeof figures);
    return CR_OK;
}
