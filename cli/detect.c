/* crayon detect: objects in pictures, as lines, as JSON, or drawn into copies of the pictures. */
#define _XOPEN_SOURCE 700
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
    "usage: crayon detect MODEL SOURCE... [options]\n"
    "\n"
    "Finds objects in pictures. A source is a JPEG or PNG file, a folder, a .txt list or a quoted\n"
    "glob pattern. Prints one line per picture; a classifier's five best classes, else counts.\n"
    "\n"
    "  --conf P             keep detections of at least this score, 0..1 (0.25)\n"
    "  --iou P              of two boxes of one class that overlap more, keep the better (0.7)\n"
    "  --max-det N          at most so many per picture (300)\n"
    "  --classes LIST       only these classes: names or numbers, separated by commas\n"
    "  --labels FILE        class names, one per line, for a model that has none\n"
    "  --save DIR           write the pictures there, with the boxes drawn\n"
    "  --json FILE|-        write one JSON object per picture and line; - is standard "
    "output\n" CLI_PRECISION_HELP CLI_COMMON_HELP "\n"
    "JSON: {\"image\", \"frame\", \"width\", \"height\", \"detections\": [{\"class\", \"name\", "
    "\"score\",\n"
    "\"box\": [x1, y1, x2, y2]}]}, boxes in pixels of the source, best first; pose models add\n"
    "\"keypoints\": [[x, y, score], ...]; classifiers have no \"box\".\n"
    "\n"
    "example:\n"
    "  $ crayon detect yolov8n.onnx bus.jpg --save found/\n"
    "  bus.jpg 810x1080: 4 person, 1 bus  23.4 ms\n";

typedef struct settings {
    cli_common common;
    cr_detect_options detect;
    const char *model_path, *class_list, *label_path, *save, *json;
} settings;

typedef struct job {
    settings set;
    cr_model *model;
    cr_detector *detector;
    cli_reader *reader;
    cr_image_list *sources;
    int source_count;
    char **paths; /* of all sources, owned by them */
    size_t path_count;
    const char *const *names; /* of classes: the model's or the label file's */
    size_t name_count;
    char *label_text; /* holds the label file's names */
    char **label_names;
    int *classes;
    cli_file json;
} job;

/* ---- options ---- */

enum { OPT_CONF = 256, OPT_IOU, OPT_MAX_DET, OPT_CLASSES, OPT_LABELS, OPT_SAVE, OPT_JSON };

static const struct option options[] = {{"conf", required_argument, NULL, OPT_CONF},
                                        {"iou", required_argument, NULL, OPT_IOU},
                                        {"max-det", required_argument, NULL, OPT_MAX_DET},
                                        {"classes", required_argument, NULL, OPT_CLASSES},
                                        {"labels", required_argument, NULL, OPT_LABELS},
                                        {"save", required_argument, NULL, OPT_SAVE},
                                        {"json", required_argument, NULL, OPT_JSON},
                                        CLI_PRECISION_OPTION,
                                        CLI_COMMON_OPTIONS};

static int take_option(int code, char **argv, settings *s)
{
    double real;
    long long n;
    switch (code) {
    case OPT_CONF:
        if (!cli_real("conf", optarg, 0, 1, &real)) return CLI_USAGE;
        s->detect.conf = (float)real;
        return CLI_DONE;
    case OPT_IOU:
        if (!cli_real("iou", optarg, 0, 1, &real)) return CLI_USAGE;
        s->detect.iou = (float)real;
        return CLI_DONE;
    case OPT_MAX_DET:
        if (!cli_integer("max-det", optarg, 1, 1000000, &n)) return CLI_USAGE;
        s->detect.max_detections = (int)n;
        return CLI_DONE;
    case OPT_CLASSES:
        s->class_list = optarg;
        return CLI_DONE;
    case OPT_LABELS:
        s->label_path = optarg;
        return CLI_DONE;
    case OPT_SAVE:
        s->save = optarg;
        return CLI_DONE;
    case OPT_JSON:
        s->json = optarg;
        return CLI_DONE;
    default:
        return cli_common_option(code, argv, &s->common);
    }
}

/* ---- class names ---- */

enum { MAX_LABEL_BYTES = 1 << 20 };

static char *read_text(const char *path, cr_error *err)
{
    FILE *f = fopen(path, "rb");
    char *text = f ? malloc(MAX_LABEL_BYTES + 1) : NULL;
    const size_t n = text ? fread(text, 1, MAX_LABEL_BYTES, f) : 0;
    if (f) fclose(f);
    if (text) text[n] = 0;
    if (!f)
        cli_error(err, CR_ERR_IO, "%s: cannot read the label file", path);
    else if (!text)
        cli_error(err, CR_ERR_MEMORY, "out of memory");
    else if (!n || memchr(text, 0, n) || n == MAX_LABEL_BYTES) {
        cli_error(err, CR_ERR_FORMAT, "%s: not a text file of class names, one per line", path);
        free(text);
        return NULL;
    }
    return text;
}

static cr_status load_labels(job *j, cr_error *err)
{
    j->label_text = read_text(j->set.label_path, err);
    if (!j->label_text) return err->status;
    size_t lines = 1, n = 0;
    for (const char *s = j->label_text; *s; s++) lines += *s == '\n';
    j->label_names = calloc(lines, sizeof *j->label_names);
    if (!j->label_names) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (char *line = j->label_text; *line;) {
        const size_t length = strcspn(line, "\r\n");
        char *next = line + length + strspn(line + length, "\r\n");
        line[length] = 0;
        j->label_names[n++] = line;
        line = next;
    }
    j->names = (const char *const *)j->label_names;
    j->name_count = n;
    return CR_OK;
}

static int class_by_name(const job *j, const char *name)
{
    for (size_t i = 0; i < j->name_count; i++)
        if (!strcmp(j->names[i], name)) return (int)i;
    char *end;
    const long n = strtol(name, &end, 10);
    const int classes = cr_model_get_info(j->model)->head.classes;
    return end != name && !*end && n >= 0 && n < classes ? (int)n : -1;
}

static cr_status choose_classes(job *j, cr_error *err)
{
    char *list = strdup(j->set.class_list), *rest = list;
    j->classes = malloc((strlen(j->set.class_list) + 1) * sizeof *j->classes);
    cr_status st = CR_OK;
    if (!list || !j->classes) st = cli_error(err, CR_ERR_MEMORY, "out of memory");
    size_t n = 0;
    for (char *name; st == CR_OK && (name = strtok_r(rest, ",", &rest));) {
        const int id = class_by_name(j, name + strspn(name, " "));
        if (id < 0)
            st = cli_error(err, CR_ERR_ARGUMENT, "--classes: %s has no class '%s'",
                           j->set.model_path, name);
        j->classes[n++] = id;
    }
    free(list);
    if (st == CR_OK && !n) st = cli_error(err, CR_ERR_ARGUMENT, "--classes: the list is empty");
    j->set.detect.classes = j->classes;
    j->set.detect.class_count = n;
    return st;
}

/* ---- sources ---- */

static cr_status open_sources(job *j, int count, char **specs, cr_error *err)
{
    size_t total = 0;
    j->sources = calloc((size_t)count, sizeof *j->sources);
    if (!j->sources) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (; j->source_count < count; j->source_count++) {
        const cr_status st =
            cr_image_list_open(specs[j->source_count], &j->sources[j->source_count], err);
        if (st != CR_OK) return st;
        total += j->sources[j->source_count].count;
    }
    j->paths = malloc(total * sizeof *j->paths);
    if (!j->paths) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < j->sources[i].count; k++)
            j->paths[j->path_count++] = j->sources[i].paths[k];
    return CR_OK;
}

static int by_base_name(const void *a, const void *b)
{
    return strcmp(cli_base_name(*(char *const *)a), cli_base_name(*(char *const *)b));
}

/* Two pictures of one name would overwrite each other in --save DIR. */
static cr_status check_names_differ(const job *j, cr_error *err)
{
    const size_t n = j->path_count;
    char **sorted = malloc(n * sizeof *sorted);
    if (!sorted) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    memcpy(sorted, j->paths, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_base_name);
    cr_status st = CR_OK;
    for (size_t i = 1; st == CR_OK && i < n; i++)
        if (!by_base_name(&sorted[i - 1], &sorted[i]))
            st = cli_error(err, CR_ERR_ARGUMENT,
                           "--save %s: %s and %s would get the same name; save them apart",
                           j->set.save, sorted[i - 1], sorted[i]);
    free(sorted);
    return st;
}

/* ---- results ---- */

static void write_keypoints(cli_json *out, const float *keypoints, int count)
{
    cli_json_open(out, "keypoints", '[');
    for (int k = 0; k < count; k++) {
        cli_json_open(out, NULL, '[');
        for (int i = 0; i < 3; i++) cli_json_float(out, NULL, keypoints[3 * k + i]);
        cli_json_close(out, ']');
    }
    cli_json_close(out, ']');
}

static void write_json(job *j, const char *path, size_t frame, const cr_image *picture,
                       const cr_detections *found, bool classify)
{
    cli_json out = {.out = j->json.stream};
    char number[16];
    cli_json_open(&out, NULL, '{');
    cli_json_string(&out, "image", path);
    cli_json_integer(&out, "frame", (long long)frame);
    cli_json_integer(&out, "width", picture->width);
    cli_json_integer(&out, "height", picture->height);
    cli_json_open(&out, "detections", '[');
    for (size_t i = 0; i < found->count; i++) {
        const cr_detection *d = &found->items[i];
        cli_json_open(&out, NULL, '{');
        cli_json_integer(&out, "class", d->class_id);
        cli_json_string(&out, "name", cli_class_name(j->names, j->name_count, d->class_id, number));
        cli_json_float(&out, "score", d->score);
        if (!classify) {
            cli_json_open(&out, "box", '[');
            for (int k = 0; k < 4; k++) cli_json_float(&out, NULL, d->box[k]);
            cli_json_close(&out, ']');
        }
        if (d->keypoints) write_keypoints(&out, d->keypoints, found->keypoint_count);
        cli_json_close(&out, '}');
    }
    cli_json_close(&out, ']');
    cli_json_close(&out, '}');
    fputc('\n', j->json.stream);
}

/* "4 person, 1 bus": classes in the order of their best detection. */
static void print_counts(const job *j, const cr_detections *found)
{
    char number[16];
    bool first = true;
    if (!found->count) fputs(" nothing", stdout);
    for (size_t i = 0; i < found->count; i++) {
        const int id = found->items[i].class_id;
        size_t count = 0;
        bool seen = false;
        for (size_t k = 0; k < found->count; k++) {
            if (found->items[k].class_id != id) continue;
            if (k < i) seen = true;
            count++;
        }
        if (seen) continue;
        printf("%s %zu %s", first ? "" : ",", count,
               cli_class_name(j->names, j->name_count, id, number));
        first = false;
    }
}

static void print_line(const job *j, const char *path, const cli_fitted *fitted,
                       const cr_detections *found, bool classify)
{
    char number[16];
    const cr_detect_times t = cr_detector_times(j->detector);
    cli_progress_clear();
    printf("%s %dx%d:", cli_base_name(path), fitted->picture.width,
           fitted->picture.height);
    if (!classify) print_counts(j, found);
    for (size_t i = 0; classify && i < found->count; i++)
        printf("%s %s %.2f", i ? "," : "",
               cli_class_name(j->names, j->name_count, found->items[i].class_id, number),
               (double)found->items[i].score);
    printf("  %.1f ms\n", fitted->fit_ms + t.preprocess_ms + t.run_ms + t.decode_ms);
}

/* The annotated copy never goes over the picture itself. */
static cr_status save_picture(const job *j, const char *path, cr_image *picture,
                              const cr_detections *found, cr_error *err)
{
    char target[PATH_MAX], real_source[PATH_MAX], real_target[PATH_MAX];
    const int n = snprintf(target, sizeof target, "%s/%s", j->set.save, cli_base_name(path));
    if (n < 0 || (size_t)n >= sizeof target)
        return cli_error(err, CR_ERR_ARGUMENT, "--save %.200s: the path is too long", j->set.save);
    if (realpath(path, real_source) && realpath(target, real_target) &&
        !strcmp(real_source, real_target))
        return cli_error(err, CR_ERR_ARGUMENT,
                         "--save %s: would overwrite the source %s; give another folder",
                         j->set.save, path);
    const cr_status st = cr_draw_detections(picture, found, j->names, j->name_count, err);
    return st == CR_OK ? cr_image_write(target, picture, err) : st;
}

/* ---- the run ---- */

static cr_status run_picture(job *j, size_t index, cr_error *err)
{
    const char *path = j->paths[index];
    const bool classify = cr_model_get_info(j->model)->head.kind == CR_HEAD_CLASSIFY;
    cli_fitted *fitted;
    cr_detections found = {0};
    cr_status st = cli_reader_next(j->reader, &fitted, err);
    if (st != CR_OK) return st;
    cr_image *const picture = &fitted->picture;
    st = cr_detector_run_pixels(j->detector, fitted->pixels, &fitted->place, &j->set.detect, &found,
                                err);
    if (st == CR_OK && j->set.save) st = save_picture(j, path, picture, &found, err);
    if (st == CR_OK && j->json.stream) write_json(j, path, index, picture, &found, classify);
    if (st == CR_OK && j->json.stream != stdout) print_line(j, path, fitted, &found, classify);
    cr_detections_free(&found);
    if (st == CR_OK && !cli_step("detecting", index + 1, j->path_count))
        st = cli_error(err, CR_ERR_CANCELLED, "cancelled");
    return st;
}

static cr_status prepare(job *j, int source_count, char **sources, cr_error *err)
{
    cr_status st = cli_open_model(j->set.model_path, &j->set.common, &j->model, err);
    if (st != CR_OK) return st;
    j->names = cr_model_get_info(j->model)->names;
    j->name_count = cr_model_get_info(j->model)->name_count;
    if (j->set.label_path) st = load_labels(j, err);
    if (st == CR_OK && j->set.class_list) st = choose_classes(j, err);
    if (st == CR_OK) st = open_sources(j, source_count, sources, err);
    if (st == CR_OK) st = cr_detector_create(j->model, j->set.common.threads, &j->detector, err);
    if (st == CR_OK && j->set.save) st = check_names_differ(j, err);
    if (st == CR_OK && j->set.save) st = cli_make_folder(j->set.save, err);
    if (st == CR_OK && j->set.json) st = cli_file_open(&j->json, j->set.json, err);
    if (st == CR_OK)
        st = cli_reader_open(&j->reader, j->paths, j->path_count,
                             &cr_model_get_info(j->model)->preprocess, j->set.common.threads, err);
    return st;
}

static void release(job *j)
{
    cli_file_abort(&j->json);
    cli_reader_close(&j->reader);
    cr_detector_free(&j->detector);
    cr_model_free(&j->model);
    for (int i = 0; i < j->source_count; i++) cr_image_list_free(&j->sources[i]);
    free(j->sources);
    free(j->paths);
    free(j->label_text);
    free(j->label_names);
    free(j->classes);
}

int cmd_detect(int argc, char **argv)
{
    job j = {.set = {.detect = cr_detect_options_default()}};
    cr_error err = {0};
    for (int c; (c = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        const int status = take_option(c, argv, &j.set);
        if (status) return status;
    }
    if (j.set.common.help) return cli_help(help);
    if (argc - optind < 1) return cli_usage("a model file is missing");
    if (argc - optind < 2) return cli_usage("a picture, folder, list or pattern is missing");
    j.set.model_path = argv[optind];
    cr_status st = prepare(&j, argc - optind - 1, argv + optind + 1, &err);
    for (size_t i = 0; st == CR_OK && i < j.path_count; i++) st = run_picture(&j, i, &err);
    if (st == CR_OK && j.json.stream) st = cli_file_commit(&j.json, &err);
    release(&j);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
