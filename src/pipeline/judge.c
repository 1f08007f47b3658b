/* The error of a recipe: what becomes of each candidate that the float model was sure of.
 *
 *     candidates   rows of the head before suppression, score above LEAST, by (row, class)
 *     changed      (s - s')^2 + (s (1 - IoU(box, box')))^2 [+ (s d)^2 of key points], s' = 0 if
 * gone error        sum of changes / sum of s^2, over all pictures
 *
 * Squares, because errors of layers are nearly independent, so their energies add; a score's and a
 * box's change weigh alike because the metric (mAP over IoU .5 to .95) needs both. Models with
 * unknown outputs are judged by the energy of the outputs' change over that of the outputs.
 *
 * Rejected: signal-to-noise ratios of the last convolutions (a poor proxy: rounding that raises it
 * by 5 dB need not change the agreement, for most pixels hold no object); the agreement itself on
 * few pictures (moves in steps, and by nothing at all for most single layers). */
#include "pipeline/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "crayon/runtime.h"
#include "pipeline/model_impl.h"

enum { MAX_OUTPUTS = 32, GROUPS = CR_JUDGE_GROUPS };
#define SURE  .1f  /* candidates of the reference that count */
#define LEAST .02f /* below this a candidate is gone */

typedef struct box_list {
    cr_coco_box *items;
    size_t count, cap;
} box_list;

typedef struct picture {
    uint8_t *pixels;
    cr_placement place;
    cr_detections seen; /* the reference's candidates, by row and class */
    float *outputs;     /* its outputs, one behind the other, where the head is unknown */
    int64_t id;         /* of the labels, or 1, 2, ... */
} picture;

struct cr_judge {
    const cr_model *reference;
    cr_judge_options options;
    picture *pictures;
    size_t count;
    box_list truth;    /* the reference's detections */
    int64_t *category; /* of each class, with labels */
    size_t class_count;
};

/* ---- running ---- */

static cr_status outputs_of(const cr_runner *r, const cr_model *m, cr_output *out, cr_error *err)
{
    for (size_t i = 0; i < m->graph->output_count; i++)
        CR_TRY(cr_runner_output(r, i, &out[i], err));
    return CR_OK;
}

static cr_status run_picture(const cr_judge *j, cr_runner *r, const cr_model *m, const picture *p,
                             cr_output *outs, cr_error *err)
{
    const cr_preprocess *pre = &j->reference->info.preprocess;
    if (!cr_runner_put_picture(r, p->pixels, pre->mean, pre->div))
        CR_TRY(cr_preprocess_normalize(pre, p->pixels, cr_runner_input(r, 0, NULL), err));
    CR_TRY(cr_runner_run(r, err));
    return outputs_of(r, m, outs, err);
}

static int by_row_and_class(const void *a, const void *b)
{
    const cr_detection *x = a, *y = b;
    if (x->index != y->index) return x->index < y->index ? -1 : 1;
    return (x->class_id > y->class_id) - (x->class_id < y->class_id);
}

/* Everything that the head gives, without suppression. */
static cr_status candidates(const cr_model *m, const cr_output *outs, const picture *p,
                            cr_detections *out, cr_error *err)
{
    cr_detect_options o = cr_detect_options_eval();
    o.conf = LEAST;
    o.iou = 1;
    o.max_detections = o.max_candidates;
    CR_TRY(cr_head_decode(&m->info.head, outs, m->graph->output_count, &p->place, &o, out, err));
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_row_and_class);
    return CR_OK;
}

/* ---- the error ---- */

typedef struct energies {
    double change, scores;
} energies;

static double overlap(const float a[4], const float b[4])
{
    const double w = fmin(a[2], b[2]) - fmax(a[0], b[0]), h = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    const double inter = w > 0 && h > 0 ? w * h : 0;
    const double x = ((double)a[2] - (double)a[0]) * ((double)a[3] - (double)a[1]);
    const double y = ((double)b[2] - (double)b[0]) * ((double)b[3] - (double)b[1]);
    return x + y - inter > 0 ? inter / (x + y - inter) : 1;
}

/* Mean squared way of the key points, a tenth of the box's area counting as lost. */
static double key_point_change(const cr_detection *a, const cr_detection *b, int count)
{
    const double area =
        ((double)a->box[2] - (double)a->box[0]) * ((double)a->box[3] - (double)a->box[1]);
    double sum = 0;
    for (int k = 0; k < count && area > 0; k++) {
        const double dx = (double)a->keypoints[3 * k] - (double)b->keypoints[3 * k];
        const double dy = (double)a->keypoints[3 * k + 1] - (double)b->keypoints[3 * k + 1];
        sum += fmin(1, (dx * dx + dy * dy) / (.1 * area));
    }
    return count ? sum / count : 0;
}

static double change(const cr_detection *a, const cr_detection *b, int keypoints)
{
    const double s = (double)a->score;
    if (!b) return s * s;
    const double ds = s - (double)b->score, lost = s * (1 - overlap(a->box, b->box));
    return ds * ds + lost * lost + s * s * key_point_change(a, b, keypoints);
}

/* Rows of an end-to-end head are sorted by score, so there the best overlap of the class counts. */
static const cr_detection *best_overlap(const cr_detections *list, const cr_detection *d)
{
    const cr_detection *best = NULL;
    double most = .5;
    for (size_t i = 0; i < list->count; i++) {
        const double o = overlap(list->items[i].box, d->box);
        if (list->items[i].class_id != d->class_id || o <= most) continue;
        most = o;
        best = &list->items[i];
    }
    return best;
}

static const cr_detection *find(const cr_model *m, const cr_detections *list, const cr_detection *d)
{
    if (!list->count) return NULL;
    if (m->info.head.kind == CR_HEAD_END2END) return best_overlap(list, d);
    return bsearch(d, list->items, list->count, sizeof *list->items, by_row_and_class);
}

static void compare(const cr_model *m, const cr_detections *a, const cr_detections *b, energies *e)
{
    const bool all = m->info.head.kind == CR_HEAD_CLASSIFY;
    for (size_t i = 0; i < a->count; i++) {
        const cr_detection *d = &a->items[i];
        if (d->score < SURE && !all) continue;
        e->change += change(d, find(m, b, d), a->keypoint_count);
        e->scores += (double)d->score * (double)d->score;
    }
    for (size_t i = 0; i < b->count; i++) { /* what the reference did not see at all */
        const cr_detection *d = &b->items[i];
        if (d->score >= SURE && !find(m, a, d)) e->change += (double)d->score * (double)d->score;
    }
}

static size_t elements(const cr_output *o)
{
    size_t n = 1;
    for (int d = 0; d < o->rank; d++) n *= (size_t)o->dim[d];
    return n;
}

static void compare_outputs(const float *a, const cr_output *outs, size_t count, energies *e)
{
    for (size_t i = 0; i < count; i++) {
        const size_t n = elements(&outs[i]);
        for (size_t k = 0; k < n; k++, a++) {
            const double d = (double)*a - (double)outs[i].data[k];
            e->change += d * d;
            e->scores += (double)*a * (double)*a;
        }
    }
}

static float *copy_outputs(const cr_output *outs, size_t count)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < count; i++) n += elements(&outs[i]);
    float *copy = cr_calloc(n + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; at += elements(&outs[i++]))
        memcpy(copy + at, outs[i].data, elements(&outs[i]) * sizeof *copy);
    return copy;
}

/* ---- the agreement ---- */

static bool is_classifier(const cr_judge *j)
{
    return j->reference->info.head.kind == CR_HEAD_CLASSIFY;
}

static int64_t category_of(const cr_judge *j, int class_id)
{
    if (!j->category) return class_id;
    return (size_t)class_id < j->class_count ? j->category[class_id] : CR_NO_CATEGORY;
}

static cr_status keep_boxes(const cr_judge *j, const cr_detections *found, int64_t id,
                            box_list *out, cr_error *err)
{
    const size_t count = is_classifier(j) && found->count ? 1 : found->count;
    for (size_t i = 0; i < count; i++) {
        const cr_detection *d = &found->items[i];
        const double x = (double)d->box[0], y = (double)d->box[1];
        const int64_t category = category_of(j, d->class_id);
        if (category == CR_NO_CATEGORY) continue;
        if (!cr_grow((void **)&out->items, &out->cap, out->count, sizeof *out->items))
            return CR_NOMEM(err);
        out->items[out->count++] = (cr_coco_box){
            id, category, x, y, (double)d->box[2] - x, (double)d->box[3] - y, (double)d->score};
    }
    return CR_OK;
}

static cr_status detect(const cr_judge *j, const cr_model *m, const cr_output *outs,
                        const picture *p, box_list *out, cr_error *err)
{
    const cr_detect_options o = cr_detect_options_eval();
    cr_detections found = {0};
    CR_TRY(cr_head_decode(&m->info.head, outs, m->graph->output_count, &p->place, &o, &found, err));
    const cr_status st = keep_boxes(j, &found, p->id, out, err);
    cr_detections_free(&found);
    return st;
}

/* Boxes of the first `pictures`, but for those of one group: picture i is in group i % GROUPS. */
static size_t choose_boxes(const cr_judge *j, const box_list *all, size_t pictures, int group,
                           cr_coco_box *out)
{
    size_t n = 0, at = 0; /* boxes are in the order of the pictures */
    for (size_t i = 0; i < all->count; i++) {
        while (j->pictures[at].id != all->items[i].image_id) at++;
        if (at < pictures && (int)(at % GROUPS) != group) out[n++] = all->items[i];
    }
    return n;
}

static double same_class_share(const cr_coco_box *a, const cr_coco_box *b, size_t n)
{
    size_t same = 0;
    for (size_t i = 0; i < n; i++) same += a[i].category_id == b[i].category_id;
    return n ? (double)same / (double)n : NAN;
}

/* On the first `pictures` without those of one group (-1: on all of them). */
static cr_status score(const cr_judge *j, const box_list *boxes, size_t pictures, int group,
                       double *out, cr_error *err)
{
    cr_coco_metrics m = {.ap = -1};
    cr_status st = CR_OK;
    cr_coco_box *a = cr_calloc(j->truth.count + 1, sizeof *a);
    cr_coco_box *b = cr_calloc(boxes->count + 1, sizeof *b);
    int64_t *ids = cr_calloc(pictures + 1, sizeof *ids);
    if (!a || !b || !ids) {
        st = CR_NOMEM(err);
        goto done;
    }
    const size_t n = choose_boxes(j, &j->truth, pictures, group, a);
    const size_t k = choose_boxes(j, boxes, pictures, group, b);
    size_t id_count = 0;
    for (size_t i = 0; i < pictures; i++)
        if ((int)(i % GROUPS) != group) ids[id_count++] = j->pictures[i].id;
    if (is_classifier(j))
        *out = same_class_share(a, b, n < k ? n : k);
    else if (j->options.labels)
        st = cr_coco_evaluate(j->options.labels, b, k, ids, id_count, &m, err);
    else
        st = cr_coco_agreement(a, n, b, k, CR_AGREEMENT_CONF, &m, err);
    if (!is_classifier(j)) *out = m.ap >= 0 ? m.ap : NAN;
done:
    cr_free(a);
    cr_free(b);
    cr_free(ids);
    return st;
}

/* Delete-a-group jackknife (Kott 2001): the standard error of a figure that is no mean, from what it
 * is without each of the groups. */
static double jackknife(const double *each)
{
    double mean = 0, sum = 0;
    for (int g = 0; g < GROUPS; g++) mean += each[g] / GROUPS;
    for (int g = 0; g < GROUPS; g++) sum += (each[g] - mean) * (each[g] - mean);
    return sqrt(sum * (GROUPS - 1) / GROUPS);
}

double cr_verdict_gain(const cr_verdict *a, const cr_verdict *b, double *deviation)
{
    double each[GROUPS];
    *deviation = NAN;
    if (!isnan(a->deviation) && !isnan(b->deviation)) {
        for (int g = 0; g < GROUPS; g++) each[g] = b->without[g] - a->without[g];
        *deviation = jackknife(each);
    }
    return b->agreement - a->agreement;
}

static cr_status measure(const cr_judge *j, const box_list *boxes, size_t pictures, cr_verdict *out,
                         cr_error *err)
{
    CR_TRY(score(j, boxes, pictures, -1, &out->agreement, err));
    if (pictures < GROUPS) return CR_OK;
    for (int g = 0; g < GROUPS; g++)
        CR_TRY(score(j, boxes, pictures, g, &out->without[g], err));
    out->deviation = jackknife(out->without);
    return CR_OK;
}

/* ---- the reference ---- */

static bool known_head(const cr_judge *j)
{
    return j->reference->info.head.kind != CR_HEAD_NONE;
}

static cr_status see_reference(cr_judge *j, cr_runner *r, picture *p, cr_error *err)
{
    const cr_model *m = j->reference;
    cr_output outs[MAX_OUTPUTS];
    CR_TRY(run_picture(j, r, m, p, outs, err));
    if (known_head(j)) {
        CR_TRY(candidates(m, outs, p, &p->seen, err));
        return detect(j, m, outs, p, &j->truth, err);
    }
    p->outputs = copy_outputs(outs, m->graph->output_count);
    return p->outputs ? CR_OK : CR_NOMEM(err);
}

static cr_status fit_picture(cr_judge *j, cr_image_reader *reader, const char *path, picture *p,
                             cr_error *err)
{
    const cr_preprocess *pre = &j->reference->info.preprocess;
    cr_image img;
    p->id = (int64_t)(p - j->pictures) + 1;
    if (j->options.labels) {
        const cr_label_image *labelled = cr_labels_find_image(j->options.labels, path);
        CR_CHECK(labelled, err, CR_ERR_ARGUMENT, "%s: the labels do not name this picture", path);
        p->id = labelled->id;
    }
    p->pixels = cr_malloc((size_t)pre->width * (size_t)pre->height * 3);
    if (!p->pixels) return CR_NOMEM(err);
    CR_TRY(cr_image_reader_read(reader, path, &img, err));
    const cr_status st = cr_preprocess_pixels(pre, &img, p->pixels, &p->place, err);
    cr_image_free(&img);
    return st;
}

static cr_status map_classes(cr_judge *j, cr_error *err)
{
    const cr_model_info *info = &j->reference->info;
    j->class_count = info->head.classes > 0 ? (size_t)info->head.classes : info->name_count;
    j->category = cr_calloc(j->class_count + 1, sizeof *j->category);
    if (!j->category) return CR_NOMEM(err);
    const bool named = info->name_count >= j->class_count;
    return cr_labels_map_classes(j->options.labels, named ? info->names : NULL, j->class_count,
                                 j->category, err);
}

static cr_status look(cr_judge *j, const cr_image_list *list, const cr_progress *progress,
                      cr_error *err)
{
    cr_runner *r = NULL;
    cr_image_reader *reader = NULL;
    cr_status st = cr_runner_create(j->reference, j->options.threads, &r, err);
    if (st == CR_OK) st = cr_image_reader_create(&reader, err);
    for (size_t i = 0; st == CR_OK && i < j->count; i++) {
        st = fit_picture(j, reader, list->paths[i], &j->pictures[i], err);
        if (st == CR_OK) st = see_reference(j, r, &j->pictures[i], err);
        if (st == CR_OK && !cr_report(progress, "running the float model", i + 1, j->count))
            st = cr_fail(err, CR_ERR_CANCELLED, "cancelled");
    }
    cr_image_reader_free(&reader);
    cr_runner_free(&r);
    return st;
}

static cr_status check(const cr_model *m, const cr_labels *labels, cr_error *err)
{
    const cr_graph *g = m->graph;
    CR_CHECK(
        g->input_count == 1 && g->inputs[0]->dtype == CR_DT_F32 && g->inputs[0]->shape.rank == 4 &&
            g->inputs[0]->shape.dim[1] == 3 && m->info.batch == 1 && g->output_count <= MAX_OUTPUTS,
        err, CR_ERR_UNSUPPORTED, "%s: judging needs one picture [1,3,H,W] as input", m->info.path);
    const cr_head_kind kind = m->info.head.kind;
    CR_CHECK(!labels || (kind != CR_HEAD_NONE && kind != CR_HEAD_CLASSIFY), err, CR_ERR_UNSUPPORTED,
             "%s: labels are of use with detectors only", m->info.path);
    return CR_OK;
}

cr_status cr_judge_open(const cr_model *reference, const cr_image_list *pictures,
                        const cr_judge_options *options, const cr_progress *progress,
                        cr_judge **out, cr_error *err)
{
    *out = NULL;
    CR_TRY(check(reference, options->labels, err));
    const size_t most = options->pictures;
    cr_judge *j = cr_calloc(1, sizeof *j);
    if (!j) return CR_NOMEM(err);
    *j = (cr_judge){.reference = reference, .options = *options};
    j->count = most && most < pictures->count ? most : pictures->count;
    j->pictures = cr_calloc(j->count + 1, sizeof *j->pictures);
    cr_status st = j->pictures ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK && options->labels) st = map_classes(j, err);
    if (st == CR_OK) st = look(j, pictures, progress, err);
    if (st != CR_OK) cr_judge_close(&j);
    *out = j;
    return st;
}

void cr_judge_close(cr_judge **jp)
{
    if (!jp || !*jp) return;
    cr_judge *j = *jp;
    for (size_t i = 0; j->pictures && i < j->count; i++) {
        cr_free(j->pictures[i].pixels);
        cr_free(j->pictures[i].outputs);
        cr_detections_free(&j->pictures[i].seen);
    }
    cr_free(j->pictures);
    cr_free(j->truth.items);
    cr_free(j->category);
    cr_free(j);
    *jp = NULL;
}

size_t cr_judge_pictures(const cr_judge *j)
{
    return j->count;
}

bool cr_judge_measures_agreement(const cr_judge *j)
{
    bool sure = false;
    for (size_t i = 0; i < j->truth.count; i++)
        sure |= j->truth.items[i].score >= CR_AGREEMENT_CONF || is_classifier(j);
    return known_head(j) && (sure || j->options.labels);
}

/* ---- the candidate ---- */

static cr_status try_picture(const cr_judge *j, cr_runner *r, const cr_model *m, const picture *p,
                             energies *e, box_list *boxes, cr_error *err)
{
    cr_output outs[MAX_OUTPUTS];
    CR_TRY(run_picture(j, r, m, p, outs, err));
    if (!known_head(j)) {
        compare_outputs(p->outputs, outs, m->graph->output_count, e);
        return CR_OK;
    }
    cr_detections found = {0};
    CR_TRY(candidates(m, outs, p, &found, err));
    compare(m, &p->seen, &found, e);
    cr_detections_free(&found);
    return boxes ? detect(j, m, outs, p, boxes, err) : CR_OK;
}

static cr_status try_model(const cr_judge *j, const cr_model *m, size_t pictures, bool exact,
                           cr_verdict *out, cr_error *err)
{
    energies e = {0};
    box_list boxes = {0};
    cr_runner *r = NULL;
    cr_status st = cr_runner_create(m, j->options.threads, &r, err);
    for (size_t i = 0; st == CR_OK && i < pictures; i++)
        st = try_picture(j, r, m, &j->pictures[i], &e, exact ? &boxes : NULL, err);
    if (st == CR_OK && exact) st = measure(j, &boxes, pictures, out, err);
    out->error = e.scores > 0 ? e.change / e.scores : e.change > 0 ? INFINITY : 0;
    cr_runner_free(&r);
    cr_free(boxes.items);
    return st;
}

cr_status cr_model_borrow(const cr_model *model, const cr_recipe *recipe, cr_model *out,
                          cr_error *err)
{
    const cr_recipe_entry **found = NULL;
    *out = *model;
    out->applied = NULL;
    out->recipe = (cr_recipe *)recipe; /* nobody changes it there */
    if (cr_recipe_changes_graph(recipe))
        CR_TRY(cr_recipe_apply(recipe, model->graph, &out->applied, err));
    const cr_status st = cr_recipe_bind(recipe, cr_model_graph(out), &found, err);
    cr_free(found);
    if (st != CR_OK) cr_model_give_back(out);
    return st;
}

void cr_model_give_back(cr_model *m)
{
    cr_graph_free(&m->applied);
}

static cr_status try_recipe(const cr_judge *j, const cr_model *model, const cr_recipe *recipe,
                            size_t pictures, bool exact, cr_verdict *out, cr_error *err)
{
    cr_model trial;
    CR_TRY(cr_model_borrow(model, recipe, &trial, err));
    const cr_status st = try_model(j, &trial, pictures, exact, out, err);
    cr_model_give_back(&trial);
    return st;
}

cr_status cr_judge_try(cr_judge *j, const cr_model *model, const cr_recipe *recipe, size_t pictures,
                       bool exact, cr_verdict *out, cr_error *err)
{
    const size_t n = pictures && pictures < j->count ? pictures : j->count;
    *out = (cr_verdict){.agreement = NAN, .deviation = NAN};
    CR_CHECK(model->info.head.kind == j->reference->info.head.kind &&
                 model->graph->output_count == j->reference->graph->output_count,
             err, CR_ERR_ARGUMENT, "%s and %s: not the same kind of output",
             j->reference->info.path, model->info.path);
    return try_recipe(j, model, recipe, n, exact && cr_judge_measures_agreement(j), out, err);
}
