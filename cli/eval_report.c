/* eval --report: what was measured, as a page. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { PICTURES = 6 };

static void put_cards(cr_report_page *p, const cli_eval_report *r)
{
    const double before = r->other ? (double)cr_model_get_info(r->other)->file_bytes / 1e6 : NAN;
    cr_report_card cards[5] = {
        {"mAP50-95", "", r->other ? r->other_metrics.ap : NAN, r->metrics->ap, 4, false, "mean of .50 to .95"},
        {"mAP50", "", r->other ? r->other_metrics.ap50 : NAN, r->metrics->ap50, 4, false, ""},
        {"Time", "ms", r->speed.before_ms, r->speed.after_ms, 2, true, "median of a run, without pictures"},
        {"Size", "MB", before, (double)cr_model_get_info(r->model)->file_bytes / 1e6, 2, true, ""}};
    size_t n = 4;
    if (r->answers) {
        cards[0] = (cr_report_card){"Top 1", "", r->other_top[0], r->top[0], 4, false,
                                    "the right class is the best one"};
        cards[1] = (cr_report_card){"Top 5", "", r->other_top[1], r->top[1], 4, false,
                                    "the right class is among the five best"};
    }
    if (!r->other) cards[2].before = NAN;
    if (r->other)
        cards[n++] = (cr_report_card){"Agreement", "", NAN, r->agreement, 4, false,
                                      r->answers ? "equal best class"
                                                 : "mAP50-95 with the other model's detections as the truth"};
    cr_report_cards(p, cards, n);
}

static void put_facts(cr_report_page *p, const cli_eval_report *r)
{
    const cr_model_info *info = cr_model_get_info(r->model);
    static const char *const shapes[] = {"boxes, by overlap (IoU)", "masks, by overlap (IoU)",
                                         "keypoints, by object keypoint similarity (OKS)",
                                         "oriented boxes, by overlap (IoU)"};
    char pre[160], model[512], count[64], limits[96];
    cli_preprocess_text(&info->preprocess, pre, sizeof pre);
    snprintf(model, sizeof model, "%.300s: %.80s, %zu classes, %.60s", info->path, info->family, info->name_count,
             info->precision);
    snprintf(count, sizeof count, "%zu labelled", r->pictures->count);
    snprintf(limits, sizeof limits, "confidence above %g, overlap of %g at most", (double)r->options.conf,
             (double)r->options.iou);
    const cr_report_fact facts[] = {{"Model", model},
                                    {"Compared with", r->other ? cr_model_get_info(r->other)->path : "nothing"},
                                    {"Input", pre},
                                    {"Pictures", count},
                                    {"Labels", r->labels_path},
                                    {"Compared", r->answers ? "the best class" : shapes[r->metric]},
                                    {"Detections", limits}};
    const size_t all = sizeof facts / sizeof facts[0];
    cr_report_facts(p, "Evaluation", facts, r->answers ? all - 1 : all);
}

/* ---- pictures ---- */

static size_t category_index(const cr_labels *labels, int64_t id)
{
    for (size_t i = 0; i < cr_labels_category_count(labels); i++)
        if (cr_labels_category(labels, i)->id == id) return i;
    return 0;
}

/* The labels as detections of confidence 1, with what the metric compares. */
typedef struct label_list {
    cr_coco_results r; /* texts of masks are the labels' */
} label_list;

static void drop_labels(label_list *l)
{
    free(l->r.boxes);
    free(l->r.masks);
    free(l->r.points);
    free(l->r.corners);
}

static bool room_for_labels(label_list *l, size_t n, cr_coco_metric metric, size_t keypoints)
{
    l->r = (cr_coco_results){.boxes = calloc(n + 1, sizeof *l->r.boxes), .keypoints = keypoints};
    if (metric == CR_COCO_MASKS) l->r.masks = calloc(n + 1, sizeof *l->r.masks);
    if (metric == CR_COCO_KEYPOINTS) l->r.points = calloc(n + 1, 3 * keypoints * sizeof *l->r.points);
    if (metric == CR_COCO_ORIENTED) l->r.corners = calloc(n + 1, 8 * sizeof *l->r.corners);
    return l->r.boxes && (metric != CR_COCO_MASKS || l->r.masks) &&
           (metric != CR_COCO_KEYPOINTS || l->r.points) && (metric != CR_COCO_ORIENTED || l->r.corners);
}

static cr_status list_labels(const cli_eval_report *r, label_list *out, cr_error *err)
{
    const size_t n = cr_labels_box_count(r->labels), keypoints = r->boxes->keypoints;
    if (!room_for_labels(out, n, r->metric, keypoints)) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const cr_label_box *b = cr_labels_box(r->labels, i);
        if (b->crowd) continue;
        const size_t k = out->r.count++;
        out->r.boxes[k] = (cr_coco_box){b->image_id, (int64_t)category_index(r->labels, b->category_id),
                                        b->x, b->y, b->w, b->h, 1};
        if (out->r.masks) out->r.masks[k] = *b->mask;
        if (out->r.corners) memcpy(out->r.corners + 8 * k, b->corners, 8 * sizeof *b->corners);
        if (out->r.points && b->keypoint_count)
            memcpy(out->r.points + 3 * keypoints * k, b->keypoints, 3 * b->keypoint_count * sizeof *b->keypoints);
    }
    return CR_OK;
}

static const char **category_names(const cr_labels *labels)
{
    const size_t n = cr_labels_category_count(labels);
    const char **names = calloc(n + 1, sizeof *names);
    for (size_t i = 0; names && i < n; i++) names[i] = cr_labels_category(labels, i)->name;
    return names;
}

static cr_status put_against_labels(cr_report_page *p, const cli_eval_report *r, cr_error *err)
{
    label_list truth = {{0}};
    cr_coco_results found = cli_results(r->boxes);
    const char **names = category_names(r->labels);
    found.boxes = calloc(found.count + 1, sizeof *found.boxes);
    cr_status st = found.boxes && names ? list_labels(r, &truth, err)
                                        : cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (size_t i = 0; found.boxes && i < found.count; i++) {
        found.boxes[i] = r->boxes->items[i];
        found.boxes[i].category_id = (int64_t)category_index(r->labels, found.boxes[i].category_id);
    }
    const cr_report_views views = {r->pictures->paths, r->pictures->ids, r->pictures->count, "labels", "found",
                                   &truth.r, &found, r->metric, names, cr_labels_category_count(r->labels)};
    if (st == CR_OK) st = cr_report_pictures(p, &views, PICTURES, err);
    drop_labels(&truth);
    free(found.boxes);
    free(names);
    return st;
}

static cr_status put_against_other(cr_report_page *p, const cli_eval_report *r, cr_error *err)
{
    const cr_model_info *info = cr_model_get_info(r->model);
    const cr_coco_results before = cli_results(r->other_classes), after = cli_results(r->boxes_classes);
    const cr_report_views views = {r->pictures->paths,
                                   r->pictures->ids,
                                   r->pictures->count,
                                   cr_model_get_info(r->other)->precision,
                                   info->precision,
                                   &before,
                                   &after,
                                   cli_common_metric(r->other_classes, r->boxes_classes),
                                   info->names,
                                   info->name_count};
    return cr_report_pictures(p, &views, PICTURES, err);
}

/* ---- a classifier ---- */

static cr_status put_confusion(cr_report_page *p, const cli_eval_report *r, cr_error *err)
{
    const size_t n = r->pictures->count;
    const char **names = category_names(r->labels);
    int *truth = calloc(n + 1, sizeof *truth), *found = calloc(n + 1, sizeof *found);
    float *sure = calloc(n + 1, sizeof *sure);
    cr_status st = names && truth && found && sure ? CR_OK : cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (size_t i = 0; st == CR_OK && i < n; i++) {
        truth[i] = (int)category_index(r->labels, cr_labels_box(r->labels, i)->category_id);
        found[i] = r->answers[i] == CR_NO_CATEGORY ? -1 : (int)category_index(r->labels, r->answers[i]);
        sure[i] = (float)r->boxes->items[i].score;
    }
    const cr_report_answers answers = {r->pictures->paths, n, "labels", "found", truth, found, NULL, sure,
                                       names, cr_labels_category_count(r->labels)};
    if (st == CR_OK) st = cr_report_confusion(p, &answers, 2 * PICTURES, err);
    free(names);
    free(truth);
    free(found);
    free(sure);
    return st;
}

/* ---- the page ---- */

static cr_status compose(cr_report_page *p, cli_eval_report *r, cr_error *err)
{
    const cr_report_score scores[2] = {
        {cr_model_get_info(r->model)->precision, r->metrics, &r->curves, r->classes},
        {r->other ? cr_model_get_info(r->other)->precision : "", &r->other_metrics, &r->other_curves,
         r->other_rows}};
    const cr_image_list list = {(char **)r->pictures->paths, r->pictures->count};
    cr_status st = cli_speed_measure(r->other, r->model, r->threads, &r->speed, err);
    if (st == CR_OK && r->other) st = cli_diffs_measure(r->other, r->model, &list, r->threads, &r->diffs, err);
    if (st != CR_OK) return st;
    put_cards(p, r);
    put_facts(p, r);
    if (!r->answers) cr_report_scores(p, r->labels, scores, r->other ? 2 : 1);
    st = r->answers ? put_confusion(p, r, err)
         : r->other ? put_against_other(p, r, err)
                    : put_against_labels(p, r, err);
    if (st != CR_OK) return st;
    cr_report_layers(p, r->diffs.list, r->diffs.count, &r->diffs.costs);
    cr_report_times(p, r->speed.layers.steps, r->speed.layers.count, &r->speed.layers.peaks);
    st = cr_report_weights(p, r->model, err);
    return st == CR_OK ? cr_report_graph(p, r->model, err) : st;
}

static cr_status score(cli_eval_report *r, cr_error *err)
{
    const cli_pictures *p = r->pictures;
    const cr_coco_results own = cli_results(r->boxes), other = cli_results(r->other_boxes);
    const cr_status st = cr_coco_evaluate_curves(r->labels, &own, r->metric, p->ids, p->count, NULL, &r->curves,
                                                 NULL, err);
    if (st != CR_OK || !r->other) return st;
    r->other_rows = calloc(cr_labels_category_count(r->labels) + 1, sizeof *r->other_rows);
    if (!r->other_rows) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    return cr_coco_evaluate_curves(r->labels, &other, r->metric, p->ids, p->count, r->other_rows,
                                   &r->other_curves, &r->other_metrics, err);
}

cr_status cli_eval_report_write(cli_eval_report *r, cr_error *err)
{
    cr_report_page *page = NULL;
    char title[320];
    const cr_model_info *info = cr_model_get_info(r->model);
    snprintf(title, sizeof title, "%.200s on %zu pictures", cli_base_name(info->path), r->pictures->count);
    cr_status st = r->answers ? CR_OK : score(r, err);
    if (st == CR_OK) st = cr_report_open(title, r->command, &page, err);
    if (st == CR_OK) st = compose(page, r, err);
    if (st == CR_OK) st = cr_report_save(page, r->path, err);
    cr_report_close(&page);
    cli_speed_free(&r->speed);
    cli_diffs_free(&r->diffs);
    free(r->other_rows);
    r->other_rows = NULL;
    return st;
}
