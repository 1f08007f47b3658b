/* The twelve COCO numbers, equal to pycocotools.
 *
 *   truth  -- sorted by (category, image, place in file) --.
 *                                                           >- match each (category, image):
 * verdicts dets   -- sorted by (category, image, -score, place) --'         | per category: sort
 * verdicts by -score, precision and recall per threshold and range
 *                                                                    |
 *                                                       mean over what is defined (> -1)
 *
 * Two sorts and one merge replace pycocotools' dictionaries, so time is n log n in boxes; memory
 * beyond the sorted references is that of one category.
 *
 * Source: pycocotools 2.0.11, cocoeval.py (evaluate, accumulate, summarize). Orders of addition are
 * kept where a number is formed; only the final means are summed in another order (NumPy adds
 * pairwise), which stays below 1e-12. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "eval/coco_match.h"
#include "eval/label_store.h"
#include "eval/mask_runs.h"
#include "eval/quad_overlap.h"

enum { RECALLS = 101 };

/* Places are 32 bits wide. */
static const size_t BOXES_MAX = UINT32_MAX / 2;

typedef struct det_ref {
    uint32_t category, image;
    double score;
    size_t index;
} det_ref;

/* Everything the evaluation reads. ids are sorted and unique. */
typedef struct coco_case {
    const int64_t *images, *categories;
    size_t image_count, category_count;
    cr_coco_truth *truth;
    size_t truth_count;
    const cr_coco_box *dets;
    det_ref *refs;
    size_t ref_count;
    cr_coco_shapes shapes;
} coco_case;

/* Sums over the categories that have truth in the range. */
typedef struct coco_sums {
    double precision[CR_COCO_AREAS], precision50, precision75;
    double recall[CR_COCO_AREAS], recall1, recall10, recall50, recall75;
    size_t categories[CR_COCO_AREAS];
    cr_coco_curves *curves; /* NULL: not wanted */
} coco_sums;

/* One category's detections, and scratch for its curves. */
typedef struct category_run {
    cr_coco_verdict *verdicts;
    size_t count, cap;
    double *precision, *recall;
    size_t curve_cap;
    cr_coco_scratch scratch;
} category_run;

/* ---- preparation ----------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts, drops repeated ones, gives the new count. */
static size_t unique_ids(int64_t *ids, size_t n)
{
    if (!n) return 0;
    qsort(ids, n, sizeof *ids, by_id);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (ids[i] != ids[kept - 1]) ids[kept++] = ids[i];
    return kept;
}

/* Place of the id, or SIZE_MAX. */
static size_t place_of(const int64_t *ids, size_t n, int64_t id)
{
    const int64_t *found = n ? bsearch(&id, ids, n, sizeof *ids, by_id) : NULL;
    return found ? (size_t)(found - ids) : SIZE_MAX;
}

static int by_place(uint32_t ca, uint32_t ia, uint32_t cb, uint32_t ib)
{
    return ca != cb ? (ca > cb) - (ca < cb) : (ia > ib) - (ia < ib);
}

static int by_det(const void *a, const void *b)
{
    const det_ref *x = a, *y = b;
    const int place = by_place(x->category, x->image, y->category, y->image);
    if (place) return place;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_verdict(const void *a, const void *b)
{
    const cr_coco_verdict *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->order > y->order) - (x->order < y->order);
}

static cr_status check_box(const cr_coco_box *b, const char *kind, size_t index, cr_error *err)
{
    const bool finite =
        isfinite(b->x) && isfinite(b->y) && isfinite(b->w) && isfinite(b->h) && isfinite(b->score);
    CR_CHECK(finite, err, CR_ERR_ARGUMENT, "%s %zu (image %lld) is not finite", kind, index,
             (long long)b->image_id);
    return CR_OK;
}

/* refs: the detections whose image and category take part, in order. */
static cr_status sort_dets(coco_case *c, const cr_coco_box *dets, size_t n, cr_error *err)
{
    CR_CHECK(n <= BOXES_MAX, err, CR_ERR_LIMIT, "more than %zu detections", BOXES_MAX);
    c->dets = dets;
    c->refs = cr_calloc(n, sizeof *c->refs);
    if (!c->refs) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        const size_t image = place_of(c->images, c->image_count, dets[i].image_id);
        const size_t category = place_of(c->categories, c->category_count, dets[i].category_id);
        if (image == SIZE_MAX || category == SIZE_MAX) continue;
        c->refs[c->ref_count++] = (det_ref){(uint32_t)category, (uint32_t)image, dets[i].score, i};
    }
    if (c->ref_count) qsort(c->refs, c->ref_count, sizeof *c->refs, by_det);
    return CR_OK;
}

typedef struct truth_key {
    uint32_t category, image;
    size_t index;
} truth_key;

static int by_truth(const void *a, const void *b)
{
    const truth_key *x = a, *y = b;
    const int place = by_place(x->category, x->image, y->category, y->image);
    return place ? place : (x->index > y->index) - (x->index < y->index);
}

static cr_coco_truth make_truth(const cr_label_box *b, const truth_key *k)
{
    return (cr_coco_truth){.category = k->category,
                           .image = k->image,
                           .x = b->x,
                           .y = b->y,
                           .w = b->w,
                           .h = b->h,
                           .ignored = b->crowd || b->ignored ? 0xf : cr_coco_outside(b->area),
                           .crowd = b->crowd,
                           .unnamed = b->id == 0,
                           .area = b->area,
                           .points = b->keypoints,
                           .keypoints = b->keypoint_count,
                           .mask = b->mask,
                           .corners = b->corners};
}

static cr_status sort_truth(coco_case *c, const cr_label_box *boxes, size_t n, cr_error *err)
{
    CR_CHECK(n <= BOXES_MAX, err, CR_ERR_LIMIT, "more than %zu boxes of truth", BOXES_MAX);
    truth_key *keys = cr_calloc(n, sizeof *keys);
    c->truth = cr_calloc(n, sizeof *c->truth);
    if (!keys || !c->truth) {
        cr_free(keys);
        return CR_NOMEM(err);
    }
    for (size_t i = 0; i < n; i++) {
        const size_t image = place_of(c->images, c->image_count, boxes[i].image_id);
        const size_t category = place_of(c->categories, c->category_count, boxes[i].category_id);
        if (image == SIZE_MAX || category == SIZE_MAX) continue;
        keys[c->truth_count++] = (truth_key){(uint32_t)category, (uint32_t)image, i};
    }
    if (c->truth_count) qsort(keys, c->truth_count, sizeof *keys, by_truth);
    for (size_t i = 0; i < c->truth_count; i++) {
        c->truth[i] = make_truth(&boxes[keys[i].index], &keys[i]);
        if (c->shapes.metric == CR_COCO_KEYPOINTS &&
            !cr_coco_has_visible(&c->truth[i], c->shapes.visible))
            c->truth[i].ignored = 0xf;
    }
    cr_free(keys);
    return CR_OK;
}

static void case_free(coco_case *c)
{
    cr_free(c->truth);
    cr_free(c->refs);
    c->truth = NULL;
    c->refs = NULL;
}

/* ---- matching -------------------------------------------------------------------------------- */

static size_t truth_run(const coco_case *c, size_t from, uint32_t category, uint32_t image)
{
    size_t to = from;
    while (to < c->truth_count && c->truth[to].category == category && c->truth[to].image == image)
        to++;
    return to;
}

static size_t det_run(const coco_case *c, size_t from, uint32_t category, uint32_t image)
{
    size_t to = from;
    while (to < c->ref_count && c->refs[to].category == category && c->refs[to].image == image)
        to++;
    return to;
}

/* Adds the verdicts on the detections refs[from..to) of one image to the run. */
static cr_status match_image(const coco_case *c, size_t from, size_t to, const cr_coco_truth *truth,
                             size_t truth_count, category_run *run, cr_error *err)
{
    const cr_coco_box *best[CR_COCO_MAX_DETS];
    const bool poses = c->shapes.metric == CR_COCO_KEYPOINTS;
    const size_t most = poses ? CR_COCO_MAX_POSES : CR_COCO_MAX_DETS;
    const size_t n = to - from < most ? to - from : most;
    for (size_t i = 0; i < n; i++) {
        if (!cr_grow((void **)&run->verdicts, &run->cap, run->count + i, sizeof *run->verdicts))
            return CR_NOMEM(err);
        best[i] = &c->dets[c->refs[from + i].index];
        cr_coco_verdict *v = &run->verdicts[run->count + i];
        v->score = best[i]->score;
        v->order = (uint32_t)(run->count + i);
        v->rank = (uint8_t)i;
    }
    if (n)
        CR_TRY(cr_coco_match(truth, truth_count, best, n, &c->shapes, &run->scratch,
                             &run->verdicts[run->count], err));
    run->count += n;
    return CR_OK;
}

/* All images of the category at *truth_at and *ref_at, which move on to the next category. */
static cr_status match_category(const coco_case *c, uint32_t category, size_t *truth_at,
                                size_t *ref_at, category_run *run, cr_error *err)
{
    run->count = 0;
    for (;;) {
        const cr_coco_truth *g = *truth_at < c->truth_count ? &c->truth[*truth_at] : NULL;
        const det_ref *d = *ref_at < c->ref_count ? &c->refs[*ref_at] : NULL;
        if (g && g->category != category) g = NULL;
        if (d && d->category != category) d = NULL;
        if (!g && !d) return CR_OK;
        const uint32_t image = !d || (g && g->image < d->image) ? g->image : d->image;
        const size_t truth_end = truth_run(c, *truth_at, category, image);
        const size_t ref_end = det_run(c, *ref_at, category, image);
        CR_TRY(match_image(c, *ref_at, ref_end, &c->truth[*truth_at], truth_end - *truth_at, run,
                           err));
        *truth_at = truth_end;
        *ref_at = ref_end;
    }
}

/* ---- precision and recall -------------------------------------------------------------------- */

/* Fills run->precision and recall for one range and threshold. A point per detection, ignored ones
 * included; precision becomes the largest at this recall or a higher one. Returns the last recall.
 */
static double make_curve(category_run *run, int a, int t, size_t truth)
{
    double tp = 0, fp = 0;
    for (size_t i = 0; i < run->count; i++) {
        tp += run->verdicts[i].hit[a] >> t & 1;
        fp += run->verdicts[i].miss[a] >> t & 1;
        run->recall[i] = tp / (double)truth;
        run->precision[i] = tp / (fp + tp + DBL_EPSILON);
    }
    for (size_t i = run->count; i-- > 1;)
        if (run->precision[i] > run->precision[i - 1]) run->precision[i - 1] = run->precision[i];
    return run->count ? run->recall[run->count - 1] : 0;
}

/* Mean of the precision at recall 0, .01 ... 1; beyond the last recall it is 0. Each is added to
 * curve[] as well, unless that is NULL. */
static double mean_precision(const category_run *run, double *curve)
{
    double sum = 0;
    size_t at = 0;
    for (int r = 0; r < RECALLS; r++) {
        const double recall = r == RECALLS - 1 ? 1.0 : r * 0.01;
        while (at < run->count && run->recall[at] < recall) at++;
        if (at == run->count) break;
        sum += run->precision[at];
        if (curve) curve[r] += run->precision[at];
    }
    return sum / RECALLS;
}

/* Recall in the range "all" when each image gives its `limit` best only, mean over thresholds. */
static double mean_recall(const category_run *run, int limit, size_t truth)
{
    double sum = 0;
    for (int t = 0; t < CR_COCO_THRESHOLDS; t++) {
        size_t hits = 0;
        for (size_t i = 0; i < run->count; i++)
            if (run->verdicts[i].rank < limit) hits += run->verdicts[i].hit[0] >> t & 1;
        sum += (double)hits / (double)truth;
    }
    return sum / CR_COCO_THRESHOLDS;
}

static void sum_range(category_run *run, int a, size_t truth, coco_sums *sums, cr_coco_class *out)
{
    double precision = 0, recall = 0;
    for (int t = 0; t < CR_COCO_THRESHOLDS; t++) {
        const double last = make_curve(run, a, t, truth);
        recall += last;
        if (a == 0 && t == 0) sums->recall50 += last;
        if (a == 0 && t == 5) sums->recall75 += last;
        const double mean = mean_precision(run, a == 0 && sums->curves ? sums->curves->at[t] : NULL);
        precision += mean;
        if (a == 0 && t == 0) out->ap50 = mean;
        if (a == 0 && t == 5) sums->precision75 += mean;
    }
    sums->precision[a] += precision / CR_COCO_THRESHOLDS;
    sums->recall[a] += recall / CR_COCO_THRESHOLDS;
    sums->categories[a]++;
    if (a == 0) sums->precision50 += out->ap50;
    if (a == 0) out->ap = precision / CR_COCO_THRESHOLDS;
}

static cr_status sum_category(category_run *run, const cr_coco_truth *truth, size_t truth_count,
                              coco_sums *sums, cr_coco_class *out, cr_error *err)
{
    if (run->count > run->curve_cap) {
        cr_free(run->precision);
        cr_free(run->recall);
        run->precision = cr_calloc(run->count, sizeof *run->precision);
        run->recall = cr_calloc(run->count, sizeof *run->recall);
        if (!run->precision || !run->recall) return CR_NOMEM(err);
        run->curve_cap = run->count;
    }
    if (run->count) qsort(run->verdicts, run->count, sizeof *run->verdicts, by_verdict);
    for (int a = 0; a < CR_COCO_AREAS; a++) {
        size_t counted = 0;
        for (size_t g = 0; g < truth_count; g++) counted += !(truth[g].ignored >> a & 1);
        if (!counted) continue;
        if (a == 0) {
            out->truth = counted;
            sums->recall1 += mean_recall(run, 1, counted);
            sums->recall10 += mean_recall(run, 10, counted);
        }
        sum_range(run, a, counted, sums, out);
    }
    return CR_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static double mean_of(double sum, size_t n)
{
    return n ? sum / (double)n : -1;
}

static void to_metrics(const coco_sums *s, cr_coco_metrics *out)
{
    const size_t *n = s->categories;
    *out = (cr_coco_metrics){
        .ap = mean_of(s->precision[0], n[0]),
        .ap50 = mean_of(s->precision50, n[0]),
        .ap75 = mean_of(s->precision75, n[0]),
        .ap_small = mean_of(s->precision[1], n[1]),
        .ap_medium = mean_of(s->precision[2], n[2]),
        .ap_large = mean_of(s->precision[3], n[3]),
        .ar1 = mean_of(s->recall1, n[0]),
        .ar10 = mean_of(s->recall10, n[0]),
        .ar100 = mean_of(s->recall[0], n[0]),
        .ar_small = mean_of(s->recall[1], n[1]),
        .ar_medium = mean_of(s->recall[2], n[2]),
        .ar_large = mean_of(s->recall[3], n[3]),
        .ar50 = mean_of(s->recall50, n[0]),
        .ar75 = mean_of(s->recall75, n[0]),
    };
}

/* classes: NULL, or one element per category; curves: NULL, or zeros. */
static cr_status evaluate(const coco_case *c, cr_coco_class *classes, cr_coco_curves *curves,
                          cr_coco_metrics *out, cr_error *err)
{
    category_run run = {0};
    coco_sums sums = {.curves = curves};
    size_t truth_at = 0, ref_at = 0;
    cr_status st = CR_OK;
    for (size_t k = 0; k < c->category_count; k++) {
        const size_t first = truth_at;
        cr_coco_class one = {c->categories[k], -1, -1, 0};
        CR_TRY_GOTO(match_category(c, (uint32_t)k, &truth_at, &ref_at, &run, err), done);
        CR_TRY_GOTO(sum_category(&run, c->truth + first, truth_at - first, &sums, &one, err), done);
        if (classes) classes[k] = one;
    }
    if (out) to_metrics(&sums, out);
    for (int t = 0; curves && t < CR_COCO_THRESHOLDS; t++)
        for (int r = 0; r < RECALLS; r++) curves->at[t][r] = mean_of(curves->at[t][r], sums.categories[0]);
done:
    cr_free(run.verdicts);
    cr_free(run.precision);
    cr_free(run.recall);
    cr_coco_scratch_free(&run.scratch);
    return st;
}

static cr_status check_dets(const cr_labels *truth, const cr_coco_box *dets, size_t n,
                            cr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        CR_TRY(check_box(&dets[i], "detection", i, err));
        const bool known = (i && dets[i].image_id == dets[i - 1].image_id) ||
                           cr_labels_find_id(truth, dets[i].image_id);
        CR_CHECK(known, err, CR_ERR_ARGUMENT,
                 "detection %zu is of image %lld, which is not in the labels", i,
                 (long long)dets[i].image_id);
    }
    return CR_OK;
}

/* Sorted ids of the images to evaluate and of all categories: *images (count in *n), *categories.
 */
static cr_status collect_ids(const cr_labels *truth, const int64_t *image_ids, size_t image_count,
                             int64_t **images, size_t *n, int64_t **categories, cr_error *err)
{
    *n = image_ids ? image_count : truth->image_count;
    *images = cr_calloc(*n, sizeof **images);
    *categories = cr_calloc(truth->category_count, sizeof **categories);
    if (!*images || !*categories) return CR_NOMEM(err);
    for (size_t i = 0; i < *n; i++) {
        (*images)[i] = image_ids ? image_ids[i] : truth->images[i].id;
        CR_CHECK(!image_ids || cr_labels_find_id(truth, image_ids[i]), err, CR_ERR_ARGUMENT,
                 "image %lld is to be evaluated, but is not in the labels",
                 (long long)image_ids[i]);
    }
    for (size_t k = 0; k < truth->category_count; k++) (*categories)[k] = truth->categories[k].id;
    *n = unique_ids(*images, *n);
    return CR_OK;
}

/* Have truth and results what the metric compares? */
static cr_status check_masks(const cr_labels *truth, const cr_coco_results *r, cr_error *err)
{
    CR_CHECK(r->masks || !r->count, err, CR_ERR_ARGUMENT, "the detections have no masks");
    CR_CHECK(cr_labels_parts(truth) & CR_LABEL_MASKS, err, CR_ERR_ARGUMENT,
             "not every object of the labels has a mask");
    for (size_t i = 0; i < r->count; i++) {
        const cr_label_image *image = cr_labels_find_id(truth, r->boxes[i].image_id);
        CR_CHECK(r->masks[i].width == image->width && r->masks[i].height == image->height, err,
                 CR_ERR_ARGUMENT,
                 "detection %zu has a mask of %dx%d pixels, image %lld of the labels has %dx%d", i,
                 r->masks[i].width, r->masks[i].height, (long long)image->id, image->width,
                 image->height);
    }
    return CR_OK;
}

static cr_status check_points(const cr_coco_results *r, const char *kind, cr_error *err)
{
    CR_CHECK(!r->count || (r->points && r->keypoints > 0 && r->keypoints <= 1000), err, CR_ERR_ARGUMENT,
             "%zu keypoints", r->keypoints);
    for (size_t i = 0; i < r->count * r->keypoints * 3; i++)
        CR_CHECK(isfinite(r->points[i]), err, CR_ERR_ARGUMENT, "%s: a keypoint is not finite",
                 kind);
    return CR_OK;
}

static cr_status check_poses(const cr_labels *truth, const cr_coco_results *r, cr_error *err)
{
    CR_CHECK(cr_labels_parts(truth) & CR_LABEL_KEYPOINTS, err, CR_ERR_ARGUMENT,
             "the labels have no keypoints");
    CR_TRY(check_points(r, "detections", err));
    for (size_t i = 0; r->count && i < truth->box_count; i++)
        CR_CHECK(truth->boxes[i].keypoint_count <= r->keypoints, err, CR_ERR_ARGUMENT,
                 "the labels have %zu keypoints, the detections %zu",
                 truth->boxes[i].keypoint_count, r->keypoints);
    return CR_OK;
}

static cr_status check_corners(const cr_coco_results *r, const char *kind, cr_error *err)
{
    CR_CHECK(!r->count || r->corners, err, CR_ERR_ARGUMENT, "%s: the boxes have no corners", kind);
    for (size_t i = 0; i < r->count * 8; i++)
        CR_CHECK(isfinite(r->corners[i]), err, CR_ERR_ARGUMENT, "%s: a corner is not finite", kind);
    return CR_OK;
}

static cr_status check_oriented(const cr_labels *truth, const cr_coco_results *r, cr_error *err)
{
    CR_CHECK(cr_labels_parts(truth) & CR_LABEL_CORNERS, err, CR_ERR_ARGUMENT,
             "not every object of the labels has four corners");
    return check_corners(r, "detections", err);
}

cr_status cr_coco_evaluate_results(const cr_labels *truth, const cr_coco_results *results,
                                   cr_coco_metric metric, const int64_t *image_ids,
                                   size_t image_count, cr_coco_class *classes,
                                   cr_coco_metrics *out, cr_error *err)
{
    return cr_coco_evaluate_curves(truth, results, metric, image_ids, image_count, classes, NULL,
                                   out, err);
}

cr_status cr_coco_evaluate_curves(const cr_labels *truth, const cr_coco_results *results,
                                  cr_coco_metric metric, const int64_t *image_ids,
                                  size_t image_count, cr_coco_class *classes,
                                  cr_coco_curves *curves, cr_coco_metrics *out, cr_error *err)
{
    if (curves) *curves = (cr_coco_curves){0};
    CR_TRY(check_dets(truth, results->boxes, results->count, err));
    if (metric == CR_COCO_MASKS) CR_TRY(check_masks(truth, results, err));
    if (metric == CR_COCO_KEYPOINTS) CR_TRY(check_poses(truth, results, err));
    if (metric == CR_COCO_ORIENTED) CR_TRY(check_oriented(truth, results, err));
    coco_case c = {.category_count = truth->category_count,
                   .shapes = {metric, results, DBL_MIN, false}};
    int64_t *images = NULL, *categories = NULL;
    cr_status st;
    CR_TRY_GOTO(
        collect_ids(truth, image_ids, image_count, &images, &c.image_count, &categories, err),
        done);
    c.images = images;
    c.categories = categories;
    CR_TRY_GOTO(sort_truth(&c, truth->boxes, truth->box_count, err), done);
    CR_TRY_GOTO(sort_dets(&c, results->boxes, results->count, err), done);
    st = evaluate(&c, classes, curves, out, err);
done:
    case_free(&c);
    cr_free(images);
    cr_free(categories);
    return st;
}

cr_status cr_coco_evaluate_classes(const cr_labels *truth, const cr_coco_box *dets, size_t n,
                                   const int64_t *image_ids, size_t image_count,
                                   cr_coco_class *classes, cr_coco_metrics *out, cr_error *err)
{
    const cr_coco_results results = {.boxes = (cr_coco_box *)dets, .count = n};
    return cr_coco_evaluate_results(truth, &results, CR_COCO_BOXES, image_ids, image_count, classes,
                                    out, err);
}

cr_status cr_coco_evaluate(const cr_labels *truth, const cr_coco_box *dets, size_t n,
                           const int64_t *image_ids, size_t image_count, cr_coco_metrics *out,
                           cr_error *err)
{
    return cr_coco_evaluate_classes(truth, dets, n, image_ids, image_count, NULL, out, err);
}

/* The reference's detections of score >= conf as truth: count into *n. */
static cr_status make_reference(const cr_coco_results *r, cr_coco_metric metric, double conf,
                                cr_label_box **out, size_t *n, cr_error *err)
{
    const double share = metric == CR_COCO_KEYPOINTS ? CR_COCO_BODY_SHARE : 1;
    *out = cr_calloc(r->count, sizeof **out);
    if (!*out) return CR_NOMEM(err);
    for (size_t i = 0; i < r->count; i++) {
        const cr_coco_box *b = &r->boxes[i];
        CR_TRY(check_box(b, "reference detection", i, err));
        if (b->score < conf) continue;
        cr_label_box *t = &(*out)[(*n)++];
        *t = (cr_label_box){.id = (int64_t)i + 1,
                            .image_id = b->image_id,
                            .category_id = b->category_id,
                            .x = b->x,
                            .y = b->y,
                            .w = b->w,
                            .h = b->h,
                            .area = b->w * b->h * share};
        if (metric == CR_COCO_KEYPOINTS) {
            t->keypoints = r->points + i * r->keypoints * 3;
            t->keypoint_count = r->keypoints;
        }
        if (metric == CR_COCO_ORIENTED) {
            t->corners = r->corners + 8 * i;
            t->area = cr_quad_area(t->corners);
        }
        if (metric != CR_COCO_MASKS) continue;
        cr_runs runs = {0};
        t->mask = &r->masks[i];
        CR_TRY(cr_mask_runs(t->mask, "reference detection", i, &runs, err));
        t->area = (double)cr_runs_area(&runs);
        cr_runs_free(&runs);
    }
    return CR_OK;
}

static cr_status agree(const cr_coco_results *reference, const cr_coco_results *candidate,
                       cr_coco_metric metric, double conf, cr_coco_metrics *out, cr_error *err)
{
    CR_CHECK(isfinite(conf), err, CR_ERR_ARGUMENT, "the confidence limit is not finite");
    for (size_t i = 0; i < candidate->count; i++)
        CR_TRY(check_box(&candidate->boxes[i], "candidate detection", i, err));
    /* a keypoint of the reference counts if its score is .5 or more */
    coco_case c = {.shapes = {metric, candidate, .5, metric == CR_COCO_KEYPOINTS}};
    cr_label_box *truth = NULL;
    int64_t *images = NULL, *categories = NULL;
    size_t n = 0;
    cr_status st;
    CR_TRY_GOTO(make_reference(reference, metric, conf, &truth, &n, err), done);
    images = cr_calloc(n + candidate->count, sizeof *images);
    categories = cr_calloc(n, sizeof *categories);
    if (!images || !categories) {
        st = CR_NOMEM(err);
        goto done;
    }
    for (size_t i = 0; i < n; i++) images[i] = truth[i].image_id;
    for (size_t i = 0; i < n; i++) categories[i] = truth[i].category_id;
    for (size_t i = 0; i < candidate->count; i++) images[n + i] = candidate->boxes[i].image_id;
    c.image_count = unique_ids(images, n + candidate->count);
    c.category_count = unique_ids(categories, n);
    c.images = images;
    c.categories = categories;
    CR_TRY_GOTO(sort_truth(&c, truth, n, err), done);
    CR_TRY_GOTO(sort_dets(&c, candidate->boxes, candidate->count, err), done);
    st = evaluate(&c, NULL, NULL, out, err);
done:
    case_free(&c);
    cr_free(truth);
    cr_free(images);
    cr_free(categories);
    return st;
}

cr_status cr_coco_agreement(const cr_coco_box *reference, size_t reference_count,
                            const cr_coco_box *candidate, size_t candidate_count, double conf,
                            cr_coco_metrics *out, cr_error *err)
{
    const cr_coco_results a = {.boxes = (cr_coco_box *)reference, .count = reference_count};
    const cr_coco_results b = {.boxes = (cr_coco_box *)candidate, .count = candidate_count};
    return agree(&a, &b, CR_COCO_BOXES, conf, out, err);
}

static cr_status check_parts(const cr_coco_results *r, cr_coco_metric metric, const char *kind,
                             cr_error *err)
{
    CR_CHECK(metric != CR_COCO_MASKS || r->masks || !r->count, err, CR_ERR_ARGUMENT,
             "%s: the detections have no masks", kind);
    if (metric == CR_COCO_ORIENTED) CR_TRY(check_corners(r, kind, err));
    return metric == CR_COCO_KEYPOINTS ? check_points(r, kind, err) : CR_OK;
}

cr_status cr_coco_agreement_results(const cr_coco_results *reference,
                                    const cr_coco_results *candidate, cr_coco_metric metric,
                                    double conf, cr_coco_metrics *out, cr_error *err)
{
    CR_TRY(check_parts(reference, metric, "reference", err));
    CR_TRY(check_parts(candidate, metric, "candidate", err));
    CR_CHECK(metric != CR_COCO_KEYPOINTS || !reference->count || !candidate->count ||
                 reference->keypoints == candidate->keypoints,
             err, CR_ERR_ARGUMENT, "%zu and %zu keypoints cannot be compared",
             reference->keypoints, candidate->keypoints);
    return agree(reference, candidate, metric, conf, out, err);
}

static cr_status widen(const cr_coco_box *boxes, const float *points, size_t n, size_t keypoints,
                       const char *kind, cr_coco_results *out, cr_error *err)
{
    *out = (cr_coco_results){.boxes = (cr_coco_box *)boxes, .count = n, .keypoints = keypoints};
    out->points = cr_calloc(n * keypoints * 3, sizeof *out->points);
    if (!out->points) return CR_NOMEM(err);
    for (size_t i = 0; i < n * keypoints * 3; i++) out->points[i] = (double)points[i];
    return check_points(out, kind, err);
}

cr_status cr_coco_agreement_keypoints(const cr_coco_box *reference, const float *reference_points,
                                      size_t reference_count, const cr_coco_box *candidate,
                                      const float *candidate_points, size_t candidate_count,
                                      size_t keypoints, double conf, cr_coco_metrics *out,
                                      cr_error *err)
{
    cr_coco_results a = {0}, b = {0};
    cr_status st;
    CR_CHECK(keypoints > 0 && keypoints <= 1000, err, CR_ERR_ARGUMENT, "%zu keypoints", keypoints);
    CR_TRY_GOTO(
        widen(reference, reference_points, reference_count, keypoints, "reference", &a, err), done);
    CR_TRY_GOTO(
        widen(candidate, candidate_points, candidate_count, keypoints, "candidate", &b, err), done);
    st = agree(&a, &b, CR_COCO_KEYPOINTS, conf, out, err);
done:
    cr_free(a.points);
    cr_free(b.points);
    return st;
}
