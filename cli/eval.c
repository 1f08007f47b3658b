/* crayon eval: COCO's numbers of a model on labelled pictures (boxes, masks or keypoints), the share
 * of right classes, and its agreement with another model. Every labelled picture is needed: leaving
 * some out would change the figures. */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static const char help[] =
    "usage: crayon eval MODEL --images DIR --labels FILE [options]\n"
    "\n"
    "Measures a model on labelled pictures: detectors by the numbers that pycocotools defines,\n"
    "classifiers by how often the right class is the best one (top1) or among the five best.\n"
    "Only pictures that the labels name are used, and each of them must be there.\n"
    "\n"
    "  --images DIR         folder, .txt list or pattern of pictures (not needed where the labels\n"
    "                       know theirs: data.yaml, folders)\n"
    "  --labels FILE        COCO instances.json (person_keypoints.json), an Ultralytics data.yaml,\n"
    "                       a folder of Pascal VOC .xml files, or a folder of pictures per class\n"
    "                       (for classifiers --images DIR alone does, too)\n"
    "  --metric M           what is compared: boxes, segm (masks), keypoints or obb (oriented\n"
    "                       boxes, by their exact overlap); what the model finds, where the\n"
    "                       labels have it\n"
    "  --against MODEL      another model, usually the float one: how far does MODEL find what\n"
    "                       this one finds at a score of 0.25 or more (\"agreement\")\n"
    "  --conf P             keep detections of at least this score (0.001)\n"
    "  --iou P              overlap at which the better box is kept (by the model's family)\n"
    "  --limit N            the first N labelled pictures only\n"
    "  --per-class          one line per class as well\n"
    "  --save-detections F  write the detections in COCO results form: what --metric compares\n"
    "  --report F.html      a page with all of this: curves, classes, pictures, layers, the graph\n"
    "  --json               print JSON\n" CLI_PRECISION_HELP CLI_COMMON_HELP "\n"
    "JSON: {\"images\", \"metric\", \"metrics\": {\"AP\", \"AP50\", \"AP75\", \"APs\", \"APm\", \"APl\", "
    "\"AR1\",\n"
    "\"AR10\", \"AR100\", \"ARs\", \"ARm\", \"ARl\"}, \"agreement\"}, 0..1, -1 where nothing is labelled;\n"
    "keypoints: \"AP\", \"AP50\", \"AP75\", \"APm\", \"APl\", \"AR\", \"AR50\", \"AR75\", \"ARm\", \"ARl\"; classes:\n"
    "\"top1\", \"top5\". \"agreement\" is of boxes (classifiers: the share of equal best classes),\n"
    "null without --against or if it found nothing; with --against also \"keypoint_agreement\", by\n"
    "object keypoint similarity (OKS), \"mask_agreement\" or \"oriented_agreement\", where there are\n"
    "some.\n"
    "\n"
    "example: what did INT8 cost?\n"
    "  crayon eval yolov8n-int8.onnx --images val/ --labels instances.json --against "
    "yolov8n.onnx\n";

typedef struct settings {
    cli_common common;
    double conf, iou; /* < 0: not given */
    long long limit;  /* 0: all */
    const char *model_path, *images, *labels, *against, *save, *report;
    int metric; /* place in metrics[] */
    bool json, per_class;
} settings;

enum { METRIC_AUTO, METRIC_BOXES, METRIC_SEGM, METRIC_KEYPOINTS, METRIC_OBB };
static const char *const metrics[] = {"auto", "boxes", "segm", "keypoints", "obb", NULL};

typedef struct job {
    settings set;
    cr_coco_metric metric;
    bool classify, labels_missing;
    double top[2], other_top[2]; /* top 1 and top 5 */
    int64_t *answers;            /* of a classifier: the category of each picture */
    cr_labels *labels;
    char **paths; /* owned, one per labelled picture used */
    int64_t *ids;
    size_t count;
    cli_boxes boxes, reference;
    cli_boxes boxes_classes, reference_classes; /* --report: before classes became categories */
    char *command;
    cr_coco_class *classes;
    cr_coco_metrics metrics;
    double agreement, shapes;
    cr_model *model, *other;
} job;

/* ---- options ---- */

enum {
    OPT_IMAGES = 256,
    OPT_LABELS,
    OPT_AGAINST,
    OPT_METRIC,
    OPT_CONF,
    OPT_IOU,
    OPT_LIMIT,
    OPT_SAVE,
    OPT_REPORT,
    OPT_PER_CLASS,
    OPT_JSON
};

static const struct option options[] = {{"images", required_argument, NULL, OPT_IMAGES},
                                        {"labels", required_argument, NULL, OPT_LABELS},
                                        {"against", required_argument, NULL, OPT_AGAINST},
                                        {"metric", required_argument, NULL, OPT_METRIC},
                                        {"conf", required_argument, NULL, OPT_CONF},
                                        {"iou", required_argument, NULL, OPT_IOU},
                                        {"limit", required_argument, NULL, OPT_LIMIT},
                                        {"save-detections", required_argument, NULL, OPT_SAVE},
                                        {"report", required_argument, NULL, OPT_REPORT},
                                        {"per-class", no_argument, NULL, OPT_PER_CLASS},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        CLI_PRECISION_OPTION,
                                        CLI_COMMON_OPTIONS};

static int take_option(int code, char **argv, settings *s)
{
    switch (code) {
    case OPT_IMAGES:
        s->images = optarg;
        return CLI_DONE;
    case OPT_LABELS:
        s->labels = optarg;
        return CLI_DONE;
    case OPT_AGAINST:
        s->against = optarg;
        return CLI_DONE;
    case OPT_METRIC:
        return cli_choice("metric", optarg, metrics, &s->metric) ? CLI_DONE : CLI_USAGE;
    case OPT_CONF:
        return cli_real("conf", optarg, 0, 1, &s->conf) ? CLI_DONE : CLI_USAGE;
    case OPT_IOU:
        return cli_real("iou", optarg, 0, 1, &s->iou) ? CLI_DONE : CLI_USAGE;
    case OPT_LIMIT:
        return cli_integer("limit", optarg, 1, INT_MAX, &s->limit) ? CLI_DONE : CLI_USAGE;
    case OPT_SAVE:
        s->save = optarg;
        return CLI_DONE;
    case OPT_REPORT:
        s->report = optarg;
        return CLI_DONE;
    case OPT_PER_CLASS:
        s->per_class = true;
        return CLI_DONE;
    case OPT_JSON:
        s->json = true;
        return CLI_DONE;
    default:
        return cli_common_option(code, argv, &s->common);
    }
}

/* ---- pictures ---- */

/* dir/sub/name if there is such a file; `sub` may be empty. */
static char *existing(const char *dir, const char *sub, const char *name)
{
    const size_t size = strlen(dir) + strlen(sub) + strlen(name) + 3;
    char *path = malloc(size);
    if (!path) return NULL;
    snprintf(path, size, "%s/%s%s%s", dir, sub, *sub ? "/" : "", name);
    if (!access(path, R_OK)) return path;
    free(path);
    return NULL;
}

static char *find_in_folder(const char *dir, const char *name)
{
    char *path = existing(dir, "", name);
    if (!path) path = existing(dir, "images", name);
    if (!path && strchr(name, '/')) path = existing(dir, "", cli_base_name(name));
    return path;
}

/* Gives every image of the labels that the list holds its path; paths[i] belongs to image i. */
static cr_status take_from_list(job *j, char **paths, size_t n, cr_error *err)
{
    cr_image_list list;
    const cr_status st = cr_image_list_open(j->set.images, &list, err);
    if (st != CR_OK) return st;
    const cr_label_image *first = cr_labels_image(j->labels, 0);
    for (size_t i = 0; i < list.count; i++) {
        const cr_label_image *image = cr_labels_find_image(j->labels, list.paths[i]);
        const size_t index = image ? (size_t)(image - first) : n;
        if (index < n && !paths[index]) paths[index] = strdup(list.paths[i]);
    }
    cr_image_list_free(&list);
    return CR_OK;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static cr_status find_pictures(job *j, cr_error *err)
{
    const size_t all = cr_labels_image_count(j->labels);
    const size_t n = j->set.limit && (size_t)j->set.limit < all ? (size_t)j->set.limit : all;
    if (!n) return cli_error(err, CR_ERR_FORMAT, "%s: the labels name no pictures", j->set.labels);
    j->paths = calloc(n, sizeof *j->paths);
    j->ids = calloc(n, sizeof *j->ids);
    if (!j->paths || !j->ids) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    j->count = n;
    const bool folder = j->set.images && is_folder(j->set.images);
    if (j->set.images && !folder) {
        const cr_status st = take_from_list(j, j->paths, n, err);
        if (st != CR_OK) return st;
    }
    for (size_t i = 0; i < n; i++) {
        const cr_label_image *image = cr_labels_image(j->labels, i);
        j->ids[i] = image->id;
        if (folder)
            j->paths[i] = find_in_folder(j->set.images, image->file_name);
        else if (!j->set.images && image->path)
            j->paths[i] = strdup(image->path);
        if (j->paths[i]) continue;
        return cli_error(err, CR_ERR_IO, "%s: picture '%s' of %s is not there",
                         j->set.images ? j->set.images : "--images", image->file_name,
                         j->set.labels);
    }
    return CR_OK;
}

/* ---- measuring ---- */

static cr_detect_options detect_options(const settings *s, const cr_model *model, bool masks)
{
    cr_detect_options o = cr_detect_options_eval();
    /* the customary threshold of YOLOX's own evaluation is .65, of the others .7 */
    if (cr_model_get_info(model)->head.kind == CR_HEAD_YOLOX) o.iou = 0.65f;
    if (s->conf >= 0) o.conf = (float)s->conf;
    if (s->iou >= 0) o.iou = (float)s->iou;
    o.no_masks = !masks;
    return o;
}

static cr_status collect(job *j, const cr_model *model, const char *what, cli_boxes *out,
                         cr_error *err)
{
    const cr_model_info *info = cr_model_get_info(model);
    const bool masks = j->metric == CR_COCO_MASKS || j->set.against;
    const cr_detect_options o = detect_options(&j->set, model, masks);
    const cli_pictures pictures = {j->paths, j->ids, j->count};
    if ((info->head.kind == CR_HEAD_CLASSIFY) != j->classify)
        return cli_error(err, CR_ERR_UNSUPPORTED,
                         "%s: a classifier and a detector cannot be compared", info->path);
    return cli_collect(model, j->set.common.threads, &pictures, &o, what, out, err);
}

static cr_status measure_agreement(job *j, cr_error *err)
{
    cli_common common = j->set.common;
    common.precision = CR_PRECISION_FLOAT32;
    cr_status st = cli_open_model(j->set.against, &common, &j->other, err);
    if (st == CR_OK) st = collect(j, j->other, "evaluating the other", &j->reference, err);
    if (st == CR_OK) st = cli_agreement(j->other, &j->reference, &j->boxes, &j->agreement, err);
    if (st == CR_OK) st = cli_shape_agreement(&j->reference, &j->boxes, &j->shapes, err);
    return st;
}

/* Shares of the pictures whose class is the best one, or among the five best. */
static cr_status count_hits(const job *j, const cli_boxes *boxes, const int64_t *ids, size_t n,
                            double top[2], cr_error *err)
{
    size_t first = 0, any = 0;
    if (boxes->count != j->count)
        return cli_error(err, CR_ERR_FORMAT, "%s: gave classes for %zu of %zu pictures",
                         j->set.model_path, boxes->count, j->count);
    for (size_t i = 0; i < j->count; i++) {
        const cr_label_box *truth = cr_labels_box(j->labels, i);
        bool hit = false;
        for (int k = 0; k < CLI_RANKS && !hit; k++) {
            const int c = boxes->ranks[i][k];
            hit = c >= 0 && (size_t)c < n && ids[c] == truth->category_id;
            first += hit && k == 0;
        }
        any += hit;
    }
    top[0] = (double)first / (double)j->count;
    top[1] = (double)any / (double)j->count;
    return CR_OK;
}

static cr_status keep_answers(job *j, const int64_t *ids, size_t n, cr_error *err)
{
    j->answers = malloc((j->count + 1) * sizeof *j->answers);
    if (!j->answers) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < j->count; i++) {
        const int c = j->boxes.ranks[i][0];
        j->answers[i] = c >= 0 && (size_t)c < n ? ids[c] : CR_NO_CATEGORY;
    }
    return CR_OK;
}

/* Classes of the model become categories of the labels; boxes of classes without one are dropped.
 */
static cr_status map_classes(job *j, const cr_model *model, cli_boxes *boxes, cr_error *err)
{
    const cr_model_info *info = cr_model_get_info(model);
    const size_t n = info->head.classes > 0 ? (size_t)info->head.classes : info->name_count;
    int64_t *ids = calloc(n ? n : 1, sizeof *ids);
    if (!ids) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    const bool named = info->name_count >= n;
    cr_status st = cr_labels_map_classes(j->labels, named ? info->names : NULL, n, ids, err);
    const bool own = boxes == &j->boxes;
    if (st == CR_OK && j->classify)
        st = count_hits(j, boxes, ids, n, own ? j->top : j->other_top, err);
    if (st == CR_OK && j->classify && own) st = keep_answers(j, ids, n, err);
    if (st == CR_OK && !j->classify) cli_boxes_rename(boxes, ids, n);
    free(ids);
    return st;
}

/* The reference is not scored without a page that shows it. */
static cr_status keep_classes(job *j, cr_error *err)
{
    if (!j->set.report || !j->other) return CR_OK;
    cr_status st = cli_boxes_copy(&j->boxes, &j->boxes_classes, err);
    if (st == CR_OK) st = cli_boxes_copy(&j->reference, &j->reference_classes, err);
    return st == CR_OK ? map_classes(j, j->other, &j->reference, err) : st;
}

static cr_status write_report(job *j, cr_error *err)
{
    const cli_pictures pictures = {j->paths, j->ids, j->count};
    cli_eval_report r = {.path = j->set.report,
                         .command = j->command ? j->command : "",
                         .labels_path = j->set.labels,
                         .threads = j->set.common.threads,
                         .model = j->model,
                         .other = j->other,
                         .labels = j->labels,
                         .pictures = &pictures,
                         .options = detect_options(&j->set, j->model, false),
                         .metric = j->metric,
                         .boxes = &j->boxes,
                         .other_boxes = &j->reference,
                         .boxes_classes = &j->boxes_classes,
                         .other_classes = &j->reference_classes,
                         .metrics = &j->metrics,
                         .classes = j->classes,
                         .agreement = j->agreement,
                         .answers = j->answers,
                         .top = {j->top[0], j->top[1]},
                         .other_top = {NAN, NAN}};
    if (j->other) memcpy(r.other_top, j->other_top, sizeof r.other_top);
    return cli_eval_report_write(&r, err);
}

/* What is compared: what was asked for, else what the model finds. */
static cr_status choose_metric(job *j, cr_error *err)
{
    const cr_head *head = &cr_model_get_info(j->model)->head;
    const bool masks = head->masks > 0, poses = head->keypoints > 0;
    static const char *const lacking[] = {"", "", "masks", "keypoints", "oriented boxes"};
    j->classify = head->kind == CR_HEAD_CLASSIFY;
    j->metric = masks            ? CR_COCO_MASKS
                : poses          ? CR_COCO_KEYPOINTS
                : head->oriented ? CR_COCO_ORIENTED
                                 : CR_COCO_BOXES;
    if (j->set.metric == METRIC_AUTO) return CR_OK;
    const bool fits = !j->classify &&
                      (j->set.metric != METRIC_SEGM || masks) &&
                      (j->set.metric != METRIC_KEYPOINTS || poses) &&
                      (j->set.metric != METRIC_OBB || head->oriented);
    if (!fits)
        return cli_error(err, CR_ERR_ARGUMENT, "%s: --metric %s: the model finds no %s",
                         j->set.model_path, metrics[j->set.metric],
                         j->classify ? "boxes, it is a classifier" : lacking[j->set.metric]);
    j->metric = (cr_coco_metric)(j->set.metric - METRIC_BOXES);
    return CR_OK;
}

/* Labels with what the metric needs; if they lack it, boxes are measured unless it was asked for. */
static cr_status load_labels(job *j, cr_error *err)
{
    static const unsigned parts[] = {0, CR_LABEL_MASKS, CR_LABEL_KEYPOINTS, CR_LABEL_CORNERS};
    static const char *const names[] = {"", "masks", "keypoints", "oriented boxes"};
    static const char *const lacks[] = {"", "not every object has a mask", "no object has keypoints",
                                        "not every object has four corners"};
    const unsigned wanted = j->classify ? 0 : parts[j->metric];
    const cr_status st = cr_labels_load_parts(j->set.labels, wanted, &j->labels, err);
    if (st != CR_OK || (cr_labels_parts(j->labels) & wanted) == wanted) return st;
    if (j->set.metric != METRIC_AUTO)
        return cli_error(err, CR_ERR_ARGUMENT, "%s: %s", j->set.labels, lacks[j->metric]);
    cli_warn("%s has no %s: boxes are measured", j->set.labels, names[j->metric]);
    j->metric = CR_COCO_BOXES;
    cr_labels_free(&j->labels); /* areas are other ones without what was looked for */
    return cr_labels_load(j->set.labels, &j->labels, err);
}

/* A classifier's labels: exactly one object in each picture, in the order of the pictures. */
static cr_status check_class_labels(const job *j, cr_error *err)
{
    const size_t n = cr_labels_image_count(j->labels);
    bool ok = cr_labels_box_count(j->labels) == n;
    for (size_t i = 0; ok && i < n; i++)
        ok = cr_labels_box(j->labels, i)->image_id == cr_labels_image(j->labels, i)->id;
    if (!ok)
        return cli_error(err, CR_ERR_ARGUMENT,
                         "%s: a classifier needs one class per picture: a folder with a folder of "
                         "pictures per class",
                         j->set.labels);
    if (j->set.save)
        return cli_error(err, CR_ERR_UNSUPPORTED,
                         "--save-detections: only of detectors, not of a classifier");
    return CR_OK;
}

static cr_status evaluate(job *j, cr_error *err)
{
    const cr_coco_results found = cli_results(&j->boxes);
    cr_status st =
        j->set.save ? cr_coco_results_write(j->set.save, &found, j->metric, err) : CR_OK;
    if (st != CR_OK) return st;
    j->classes = calloc(cr_labels_category_count(j->labels) + 1, sizeof *j->classes);
    if (!j->classes) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    return cr_coco_evaluate_results(j->labels, &found, j->metric, j->ids, j->count, j->classes,
                                    &j->metrics, err);
}

static cr_status measure(job *j, cr_error *err)
{
    cr_status st = j->set.save ? cli_check_writable(j->set.save, err) : CR_OK;
    if (st == CR_OK && j->set.report) st = cli_check_writable(j->set.report, err);
    if (st == CR_OK) st = cli_open_model(j->set.model_path, &j->set.common, &j->model, err);
    if (st == CR_OK) st = choose_metric(j, err);
    if (st != CR_OK) return st;
    if (!j->set.labels && !j->classify) {
        j->labels_missing = true;
        return CR_ERR_ARGUMENT;
    }
    if (!j->set.labels) { /* a folder, which is both */
        j->set.labels = j->set.images;
        j->set.images = NULL;
    }
    st = load_labels(j, err);
    if (st == CR_OK && j->classify) st = check_class_labels(j, err);
    if (st == CR_OK) st = find_pictures(j, err);
    if (st == CR_OK) st = collect(j, j->model, "evaluating", &j->boxes, err);
    if (st == CR_OK && j->set.against) st = measure_agreement(j, err);
    if (st == CR_OK) st = keep_classes(j, err);
    if (st == CR_OK) st = map_classes(j, j->model, &j->boxes, err);
    if (st == CR_OK && !j->classify) st = evaluate(j, err);
    return st == CR_OK && j->set.report ? write_report(j, err) : st;
}

/* ---- results ---- */

typedef struct named_metric {
    const char *key, *text;
    double value;
} named_metric;

enum { METRICS = 12 };

/* How many there are. */
static int list_metrics(const job *j, named_metric out[METRICS])
{
    const cr_coco_metrics *m = &j->metrics;
    const named_metric list[METRICS] = {
        {"AP", "precision, IoU .50:.95", m->ap},
        {"AP50", "precision, IoU .50", m->ap50},
        {"AP75", "precision, IoU .75", m->ap75},
        {"APs", "precision, small (< 32x32 px)", m->ap_small},
        {"APm", "precision, medium", m->ap_medium},
        {"APl", "precision, large (> 96x96 px)", m->ap_large},
        {"AR1", "recall, 1 detection per picture", m->ar1},
        {"AR10", "recall, 10 detections", m->ar10},
        {"AR100", "recall, 100 detections", m->ar100},
        {"ARs", "recall, small", m->ar_small},
        {"ARm", "recall, medium", m->ar_medium},
        {"ARl", "recall, large", m->ar_large},
    };
    const named_metric poses[] = {
        {"AP", "precision, OKS .50:.95", m->ap},
        {"AP50", "precision, OKS .50", m->ap50},
        {"AP75", "precision, OKS .75", m->ap75},
        {"APm", "precision, medium (32x32 to 96x96 px)", m->ap_medium},
        {"APl", "precision, large", m->ap_large},
        {"AR", "recall, 20 detections per picture", m->ar100},
        {"AR50", "recall, OKS .50", m->ar50},
        {"AR75", "recall, OKS .75", m->ar75},
        {"ARm", "recall, medium", m->ar_medium},
        {"ARl", "recall, large", m->ar_large},
    };
    const named_metric classes[] = {
        {"top1", "the right class is the best one", j->top[0]},
        {"top5", "the right class is among the five best", j->top[1]},
    };
    if (j->classify) {
        memcpy(out, classes, sizeof classes);
        return sizeof classes / sizeof *classes;
    }
    if (j->metric == CR_COCO_KEYPOINTS) {
        memcpy(out, poses, sizeof poses);
        return sizeof poses / sizeof *poses;
    }
    memcpy(out, list, sizeof list);
    return METRICS;
}

static const char *metric_name(const job *j)
{
    return j->classify ? "classes" : metrics[METRIC_BOXES + (int)j->metric];
}

static void print_class_json(cli_json *out, const job *j)
{
    cli_json_open(out, "classes", '[');
    for (size_t i = 0; j->classes && i < cr_labels_category_count(j->labels); i++) {
        cli_json_open(out, NULL, '{');
        cli_json_integer(out, "category_id", j->classes[i].category_id);
        cli_json_string(out, "name", cr_labels_category(j->labels, i)->name);
        cli_json_real(out, "AP", j->classes[i].ap);
        cli_json_real(out, "AP50", j->classes[i].ap50);
        cli_json_integer(out, "truth", (long long)j->classes[i].truth);
        cli_json_close(out, '}');
    }
    cli_json_close(out, ']');
}

static void print_json(const job *j)
{
    cli_json out = {.out = stdout};
    named_metric metric[METRICS];
    const int n = list_metrics(j, metric);
    cli_json_open(&out, NULL, '{');
    cli_json_integer(&out, "images", (long long)j->count);
    cli_json_string(&out, "metric", metric_name(j));
    cli_json_open(&out, "metrics", '{');
    for (int i = 0; i < n; i++) cli_json_real(&out, metric[i].key, metric[i].value);
    cli_json_close(&out, '}');
    if (j->set.against)
        cli_json_real(&out, "agreement", j->agreement);
    else
        cli_json_null(&out, "agreement");
    const cli_shape_text *shape = j->set.against ? cli_shape(&j->boxes) : NULL;
    if (shape) cli_json_real(&out, shape->key, j->shapes);
    if (j->set.per_class && j->classes) print_class_json(&out, j);
    cli_json_close(&out, '}');
    putchar('\n');
}

static void print_value(double value)
{
    if (!(value >= 0))
        fputs("     -", stdout);
    else
        printf("%6.4f", value);
}

static void print_text(const job *j)
{
    named_metric metric[METRICS];
    const int n = list_metrics(j, metric);
    printf("%s (%s), %zu pictures\n", cli_base_name(j->set.model_path),
           cr_model_get_info(j->model)->precision, j->count);
    for (int i = 0; i < n; i++) {
        printf("  %-6s ", metric[i].key);
        print_value(metric[i].value);
        printf("  %s\n", metric[i].text);
    }
    if (j->set.against) {
        fputs("agreement ", stdout);
        print_value(j->agreement);
        printf("  with %s\n", cli_base_name(j->set.against));
    }
    const cli_shape_text *shape = j->set.against ? cli_shape(&j->boxes) : NULL;
    if (shape) {
        printf("%-9s ", shape->name);
        print_value(j->shapes);
        printf("  the same %s\n", shape->by);
    }
    if (!j->set.per_class || !j->classes) return;
    puts("class                    objects     AP   AP50");
    for (size_t i = 0; i < cr_labels_category_count(j->labels); i++) {
        if (!j->classes[i].truth) continue;
        printf("%-24s %7zu ", cr_labels_category(j->labels, i)->name, j->classes[i].truth);
        print_value(j->classes[i].ap);
        putchar(' ');
        print_value(j->classes[i].ap50);
        putchar('\n');
    }
}

static void release(job *j)
{
    for (size_t i = 0; j->paths && i < j->count; i++) free(j->paths[i]);
    free(j->paths);
    free(j->ids);
    free(j->classes);
    free(j->answers);
    cli_boxes_free(&j->boxes);
    cli_boxes_free(&j->reference);
    cli_boxes_free(&j->boxes_classes);
    cli_boxes_free(&j->reference_classes);
    free(j->command);
    cr_labels_free(&j->labels);
    cr_model_free(&j->model);
    cr_model_free(&j->other);
}

int cmd_eval(int argc, char **argv)
{
    job j = {.set = {.conf = -1, .iou = -1}};
    cr_error err = {0};
    for (int c; (c = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        const int status = take_option(c, argv, &j.set);
        if (status) return status;
    }
    if (j.set.common.help) return cli_help(help);
    if (optind >= argc) return cli_usage("a model file is missing");
    if (argc - optind > 1) return cli_usage("one model, not '%s' as well", argv[optind + 1]);
    if (!j.set.labels && !(j.set.images && is_folder(j.set.images)))
        return cli_usage("--labels is missing");
    const char *dot = j.set.labels ? strrchr(j.set.labels, '.') : NULL;
    const bool yaml = dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
    if (!j.set.images && !yaml && !is_folder(j.set.labels))
        return cli_usage("--images is missing");
    j.set.model_path = argv[optind];
    j.command = cli_command_text(argc, argv);
    const cr_status st = measure(&j, &err);
    if (j.labels_missing) {
        release(&j);
        return cli_usage("--labels is missing");
    }
    if (st == CR_OK) j.set.json ? print_json(&j) : print_text(&j);
    release(&j);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
