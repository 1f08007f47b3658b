/* Which head is it, and the steps all heads share: options, candidates, suppression, placement.
 *
 * Data flow: outputs -> family decoder (head_yolo.c, head_nanodet.c) -> candidates in input pixels
 * -> best max_candidates by score -> boxes shifted by class -> cr_nms -> detections in source
 * pixels.
 *
 * The guess uses that a detector has one row per grid cell (times 3 anchors for YOLOv5): the row
 * count must equal the cells of a run of strides. That tells [1, 84, 8400] from [1, 8400, 84] and
 * YOLOv5 from YOLOX without any metadata. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/heads.h"
#include "vision/nms.h"

enum { TOP_CLASSES = 5, CLASS_SHIFT = 7680, MAX_CLASSES = 1 << 20 };

cr_detect_options cr_detect_options_default(void)
{
    return (cr_detect_options){
        .conf = .25f, .iou = .7f, .max_detections = 300, .max_candidates = 30000};
}

cr_detect_options cr_detect_options_eval(void)
{
    cr_detect_options o = cr_detect_options_default();
    o.conf = .001f;
    o.multi_label = true;
    o.no_masks = true;
    return o;
}

void cr_detections_free(cr_detections *list)
{
    if (!list) return;
    cr_free(list->items);
    cr_free(list->keypoint_block);
    for (size_t i = 0; i < list->mask_count; i++) cr_free(list->masks[i].on);
    cr_free(list->masks);
    *list = (cr_detections){0};
}

/* ---- shapes ---- */

int64_t cr_grid_cells(int width, int height, int first, int count)
{
    int64_t cells = 0;
    for (int64_t s = first; count > 0; s *= 2, count--)
        cells += ((width + s - 1) / s) * ((height + s - 1) / s);
    return cells;
}

bool cr_find_strides(int width, int height, int64_t cells, int *first, int *count)
{
    *first = 8;
    *count = 3;
    if (cr_grid_cells(width, height, 8, 3) == cells) return true;
    for (*first = 4; *first <= 64; *first *= 2)
        for (*count = 1; *first << (*count - 1) <= 64; ++*count)
            if (cr_grid_cells(width, height, *first, *count) == cells) return true;
    return false;
}

bool cr_output_matrix(const cr_output *out, int64_t *a, int64_t *b)
{
    if (out->rank != 2 && !(out->rank == 3 && out->dim[0] == 1)) return false;
    *a = out->dim[out->rank - 2];
    *b = out->dim[out->rank - 1];
    return *a >= 1 && *b >= 1 && *a <= INT32_MAX && *b <= INT32_MAX;
}

/* "[1, 84, 8400]" */
static const char *shape_text(const cr_output *out, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < out->rank && i < 8 && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%lld", i ? ", " : "", (long long)out->dim[i]);
    if (n < size) snprintf(text + n, size - n, "]");
    return text;
}

static bool is_task(const char *task, const char *name)
{
    return task && !strcmp(task, name);
}

/* ---- the guess ---- */

struct hints {
    const char *task;
    int classes, keypoints, masks;
};

/* [1, nc] or [1, nc, 1, 1] */
static bool guess_classifier(const cr_output *out, const struct hints *hint, cr_head *h)
{
    int64_t classes = out->rank >= 2 && out->dim[0] == 1 ? out->dim[1] : 0;
    for (int i = 2; i < out->rank; i++)
        if (out->dim[i] != 1) classes = 0;
    if (classes < 2 || classes > MAX_CLASSES || (hint->task && !is_task(hint->task, "classify")))
        return false;
    h->kind = CR_HEAD_CLASSIFY;
    h->classes = (int)classes;
    return true;
}

/* Splits what is behind the box and the scores into keypoints of 3 or 2 numbers. */
static bool split_keypoints(const struct hints *hint, int64_t extra, cr_head *h)
{
    const int dims = hint->keypoints && extra == 2 * (int64_t)hint->keypoints ? 2
                     : extra % 3 == 0                                         ? 3
                                                                              : 2;
    if (extra < 2 || extra % dims || (hint->keypoints && extra / dims != hint->keypoints))
        return false;
    h->keypoints = (int)(extra / dims);
    h->keypoint_dims = dims;
    return true;
}

static bool guess_pose(const struct hints *hint, int64_t channels, cr_head *h)
{
    const bool bare_coco_pose = !hint->task && !hint->classes && channels == 4 + 1 + 17 * 3;
    if (!is_task(hint->task, "pose") && !hint->keypoints && !bare_coco_pose) return false;
    const int classes = hint->classes ? hint->classes : 1;
    if (!split_keypoints(hint, channels - 4 - classes, h)) return false;
    h->kind = CR_HEAD_POSE;
    h->classes = classes;
    return true;
}

static bool guess_yolov8(const struct hints *hint, int64_t channels, cr_head *h)
{
    const bool oriented = is_task(hint->task, "obb");
    const int64_t classes = channels - 4 - hint->masks - oriented;
    if (guess_pose(hint, channels, h)) return true;
    if (is_task(hint->task, "pose") || classes < 1 || classes > MAX_CLASSES) return false;
    if (hint->classes && classes != hint->classes) return false;
    h->kind = CR_HEAD_YOLOV8;
    h->oriented = oriented;
    h->classes = (int)classes;
    h->masks = hint->masks;
    return true;
}

static bool guess_with_object(const struct hints *hint, int64_t channels, cr_head_kind kind,
                              cr_head *h)
{
    const int64_t classes = channels - 5 - hint->masks;
    if (classes < 1 || classes > MAX_CLASSES || (hint->classes && classes != hint->classes))
        return false;
    h->kind = kind;
    h->classes = (int)classes;
    h->masks = hint->masks;
    return true;
}

static bool guess_end2end(const struct hints *hint, int64_t rows, int64_t columns, cr_head *h)
{
    const bool oriented = is_task(hint->task, "obb");
    const int64_t extra = columns - 6 - hint->masks - oriented;
    if (extra < 0 || rows > 1000) return false;
    if (extra &&
        (!(is_task(hint->task, "pose") || hint->keypoints) || !split_keypoints(hint, extra, h)))
        return false;
    h->kind = CR_HEAD_END2END;
    h->oriented = oriented;
    h->classes = hint->classes;
    h->masks = hint->masks;
    return true;
}

static bool guess_rows(const cr_output *out, const struct hints *hint, cr_head *h)
{
    const int w = h->input_width, ht = h->input_height;
    int64_t a, b;
    int first, count;
    if (out->rank != 3 || !cr_output_matrix(out, &a, &b)) return false;
    if (cr_find_strides(w, ht, b, &first, &count) && guess_yolov8(hint, a, h)) return true;
    if (a % 3 == 0 && cr_find_strides(w, ht, a / 3, &first, &count) &&
        guess_with_object(hint, b, CR_HEAD_YOLOV5, h))
        return true;
    if (cr_find_strides(w, ht, a, &first, &count)) {
        const bool obb = is_task(hint->task, "obb");
        const bool v8 = hint->classes ? b == 4 + hint->classes + hint->masks + obb
                                      : b == 84 || is_task(hint->task, "pose") || obb;
        if (!v8 && guess_with_object(hint, b, CR_HEAD_YOLOX, h)) return true;
        h->transposed = guess_yolov8(hint, b, h);
        if (h->transposed) return true;
    }
    return guess_end2end(hint, a, b, h);
}

static bool guess_nanodet(const cr_output *outs, size_t n, const struct hints *hint, cr_head *h)
{
    int64_t scores, distances;
    const bool pose = is_task(hint->task, "pose") || hint->keypoints;
    const int w = h->input_width, ht = h->input_height;
    if ((pose || !cr_nanodet_joined(outs, n, hint->classes, w, ht, &scores)) &&
        !cr_nanodet_columns(outs, n, hint->classes, w, ht, &scores, &distances))
        return false;
    h->kind = CR_HEAD_NANODET;
    h->classes = (int)scores;
    return true;
}

cr_status cr_head_guess(const cr_output *outs, size_t n, const char *task, int classes,
                        int keypoints, int input_width, int input_height, cr_head *head,
                        cr_error *err)
{
    *head = (cr_head){.input_width = input_width, .input_height = input_height};
    CR_CHECK(n >= 1 && input_width >= 1 && input_height >= 1 && classes >= 0 && keypoints >= 0, err,
             CR_ERR_ARGUMENT, "no outputs to guess a head from");
    struct hints hint = {task, classes, keypoints, 0};
    const bool proto = n == 2 && outs[1].rank == 4 && outs[1].dim[1] >= 1 && outs[1].dim[1] <= 256;
    if (proto) hint.masks = (int)outs[1].dim[1];
    cr_head h = *head;
    if (guess_nanodet(outs, n, &hint, &h) || guess_classifier(&outs[0], &hint, &h) ||
        guess_rows(&outs[0], &hint, &h)) {
        *head = h;
        return CR_OK;
    }
    char text[160];
    return cr_fail(err, CR_ERR_UNSUPPORTED,
                   "no known head has %zu outputs, the first %s, for an input of %dx%d", n,
                   shape_text(&outs[0], text, sizeof text), input_width, input_height);
}

/* ---- candidates ---- */

static bool class_wanted(const cr_detect_options *o, int class_id)
{
    if (!o->classes) return true;
    for (size_t i = 0; i < o->class_count; i++)
        if (o->classes[i] == class_id) return true;
    return false;
}

cr_status cr_emit(const cr_detect_options *o, const cr_candidate *c, cr_candidates *list,
                  cr_error *err)
{
    if (!(c->score > o->conf) || !isfinite(c->score) || !class_wanted(o, c->class_id)) return CR_OK;
    for (int i = 0; i < 4; i++)
        if (!isfinite(c->box[i])) return CR_OK;
    if (!cr_grow((void **)&list->items, &list->cap, list->count, sizeof *list->items))
        return CR_NOMEM(err);
    list->items[list->count++] = *c;
    return CR_OK;
}

cr_status cr_emit_row(const cr_head *h, const cr_detect_options *o, const float box[4],
                      const float *scores, size_t step, float weight, int index,
                      cr_candidates *list, cr_error *err)
{
    cr_candidate c = {.score = -1, .index = index};
    memcpy(c.box, box, sizeof c.box);
    for (int k = 0; k < h->classes; k++) {
        const float score = scores[(size_t)k * step] * weight;
        if (!(score > (o->multi_label ? o->conf : c.score))) continue;
        c.score = score;
        c.class_id = k;
        if (o->multi_label) CR_TRY(cr_emit(o, &c, list, err));
    }
    return o->multi_label ? CR_OK : cr_emit(o, &c, list, err);
}

/* Scores are above conf >= 0, and positive floats are ordered as their bits are: the complement of
 * the bits ascends as scores descend. */
struct ranked {
    uint32_t key, at; /* at: place in the candidates */
};

/* Three passes of 11 bits, each stable, so that equal scores keep their order. */
static void sort_keys(struct ranked *a, struct ranked *b, size_t n)
{
    enum { BITS = 11, BINS = 1 << BITS };
    for (int shift = 0; shift < 32; shift += BITS) {
        uint32_t start[BINS] = {0}, sum = 0;
        for (size_t i = 0; i < n; i++) start[a[i].key >> shift & (BINS - 1)]++;
        for (size_t k = 0; k < BINS; k++) {
            const uint32_t count = start[k];
            start[k] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++) b[start[a[i].key >> shift & (BINS - 1)]++] = a[i];
        struct ranked *const swap = a;
        a = b;
        b = swap;
    }
}

/* Sorts the candidates, best first, and cuts them at max_candidates. */
static cr_status rank(cr_candidates *list, int max_candidates, cr_error *err)
{
    const size_t n = list->count, keep = n < (size_t)max_candidates ? n : (size_t)max_candidates;
    if (n < 2) return CR_OK;
    CR_CHECK(n <= UINT32_MAX, err, CR_ERR_LIMIT, "%zu candidate boxes", n);
    struct ranked *order = cr_malloc(2 * n * sizeof *order);
    cr_candidate *sorted = cr_malloc(keep * sizeof *sorted);
    if (!order || !sorted) {
        cr_free(order);
        cr_free(sorted);
        return CR_NOMEM(err);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &list->items[i].score, sizeof bits);
        order[i] = (struct ranked){~bits, (uint32_t)i};
    }
    sort_keys(order, order + n, n); /* an odd number of passes: the result is in the second half */
    for (size_t i = 0; i < keep; i++) sorted[i] = list->items[order[n + i].at];
    cr_free(order);
    cr_free(list->items);
    *list = (cr_candidates){sorted, keep, keep};
    return CR_OK;
}

static cr_status keep_upright(const cr_candidates *list, const cr_detect_options *o, size_t *keep,
                              size_t *kept, cr_error *err)
{
    const size_t n = list->count;
    float *boxes = cr_malloc(n * 4 * sizeof *boxes);
    if (!boxes) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        const float shift = o->class_agnostic ? 0 : (float)list->items[i].class_id * CLASS_SHIFT;
        for (int k = 0; k < 4; k++) boxes[4 * i + (size_t)k] = list->items[i].box[k] + shift;
    }
    const cr_status st = cr_nms(boxes, n, o->iou, (size_t)o->max_detections, keep, kept, err);
    cr_free(boxes);
    return st;
}

static cr_status keep_turned(const cr_head *h, const cr_output *out, const cr_candidates *list,
                             const cr_detect_options *o, size_t *keep, size_t *kept, cr_error *err)
{
    const size_t n = list->count;
    float *turned = cr_malloc(n * 5 * sizeof *turned);
    int *classes = cr_malloc(n * sizeof *classes);
    cr_status st = turned && classes ? CR_OK : CR_NOMEM(err);
    for (size_t i = 0; st == CR_OK && i < n; i++) {
        cr_head_turned(h, out, list->items[i].index, turned + 5 * i);
        classes[i] = list->items[i].class_id;
    }
    if (st == CR_OK)
        st = cr_nms_turned(turned, o->class_agnostic ? NULL : classes, n, o->iou,
                           (size_t)o->max_detections, keep, kept, err);
    cr_free(turned);
    cr_free(classes);
    return st;
}

/* Leaves the survivors at the front of the list. */
static cr_status suppress(const cr_head *h, const cr_output *out, cr_candidates *list,
                          const cr_detect_options *o, cr_error *err)
{
    size_t *keep = cr_malloc((list->count + 1) * sizeof *keep), kept = 0;
    if (!keep) return CR_NOMEM(err);
    const cr_status st = !list->count   ? CR_OK
                         : h->oriented ? keep_turned(h, out, list, o, keep, &kept, err)
                                       : keep_upright(list, o, keep, &kept, err);
    for (size_t i = 0; i < kept; i++) list->items[i] = list->items[keep[i]];
    list->count = kept;
    cr_free(keep);
    return st;
}

/* ---- detections ---- */

static void place_keypoints(const cr_placement *place, int count, float *k)
{
    for (int i = 0; i < count; i++, k += 3) {
        float box[4] = {k[0], k[1], k[0], k[1]};
        cr_placement_box(place, box);
        k[0] = box[0];
        k[1] = box[1];
    }
}

/* The four corners, in source pixels: they may lie outside the picture. */
static void place_turned(const cr_head *h, const cr_output *out, const cr_placement *place,
                         cr_detection *d)
{
    float t[5];
    cr_head_turned(h, out, d->index, t);
    const float c = cosf(t[4]), s = sinf(t[4]);
    static const float ends[4][2] = {{1, 1}, {1, -1}, {-1, -1}, {-1, 1}};
    d->oriented = true;
    for (int k = 0; k < 4; k++) {
        const float u = ends[k][0] * t[2] / 2, v = ends[k][1] * t[3] / 2;
        d->corners[2 * k] = (t[0] + u * c - v * s - place->pad_x) / place->gain_x;
        d->corners[2 * k + 1] = (t[1] + u * s + v * c - place->pad_y) / place->gain_y;
    }
}

static cr_status finish(const cr_head *h, const cr_output *outs, const cr_candidates *list,
                        const cr_placement *place, cr_detections *out, cr_error *err)
{
    const size_t n = list->count, per = 3 * (size_t)h->keypoints;
    if (!n) return CR_OK;
    out->items = cr_calloc(n, sizeof *out->items);
    if (per) out->keypoint_block = cr_calloc(n, per * sizeof(float));
    if (!out->items || (per && !out->keypoint_block)) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        const cr_candidate *c = &list->items[i];
        cr_detection *d = &out->items[i];
        *d = (cr_detection){.class_id = c->class_id, .score = c->score, .index = c->index};
        memcpy(d->box, c->box, sizeof d->box);
        cr_placement_box(place, d->box);
        if (h->oriented) place_turned(h, &outs[0], place, d);
        if (!per) continue;
        d->keypoints = out->keypoint_block + i * per;
        if (h->kind == CR_HEAD_BRANCHES)
            cr_branch_keypoints(h, outs, c->index, d->keypoints);
        else
            cr_head_keypoints(h, outs, c->index, d->keypoints);
        place_keypoints(place, h->keypoints, d->keypoints);
    }
    out->count = n;
    return CR_OK;
}

/* Softmax unless the values are probabilities already (1e-3: float16 models sum no closer). */
static cr_status probabilities(const float *x, size_t n, float *p, cr_error *err)
{
    double sum = 0, total = 0;
    float top = -INFINITY;
    bool negative = false;
    for (size_t i = 0; i < n; i++) {
        CR_CHECK(isfinite(x[i]), err, CR_ERR_FORMAT, "class score %zu is not a number", i);
        sum += x[i];
        negative = negative || x[i] < 0;
        if (x[i] > top) top = x[i];
    }
    if (!negative && fabs(sum - 1) < 1e-3) {
        memcpy(p, x, n * sizeof *p);
        return CR_OK;
    }
    for (size_t i = 0; i < n; i++) total += exp((double)x[i] - (double)top);
    for (size_t i = 0; i < n; i++) p[i] = (float)(exp((double)x[i] - (double)top) / total);
    return CR_OK;
}

static cr_status decode_classes(const cr_head *h, const cr_output *out, const cr_placement *place,
                                const cr_detect_options *o, cr_detections *found, cr_error *err)
{
    const size_t n = (size_t)h->classes;
    CR_CHECK(out->rank >= 2 && out->dim[0] == 1 && out->dim[1] == h->classes, err, CR_ERR_FORMAT,
             "the classifier's output is not [1, %d]", h->classes);
    size_t top = n < TOP_CLASSES ? n : TOP_CLASSES;
    if (top > (size_t)o->max_detections) top = (size_t)o->max_detections;
    float *p = cr_malloc(n * sizeof *p);
    found->items = cr_calloc(top, sizeof *found->items);
    cr_status st = p && found->items ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) st = probabilities(out->data, n, p, err);
    while (st == CR_OK && found->count < top) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
            if (p[i] > p[best]) best = i;
        found->items[found->count++] =
            (cr_detection){.class_id = (int)best,
                           .score = p[best],
                           .box = {0, 0, (float)place->src_width, (float)place->src_height}};
        p[best] = -1;
    }
    cr_free(p);
    return st;
}

static cr_status collect(const cr_head *h, const cr_output *outs, size_t n,
                         const cr_detect_options *o, cr_candidates *list, cr_error *err)
{
    switch (h->kind) {
    case CR_HEAD_YOLOV8:
    case CR_HEAD_YOLOV5:
    case CR_HEAD_YOLOX:
    case CR_HEAD_POSE:
        return cr_decode_yolo(h, &outs[0], o, list, err);
    case CR_HEAD_NANODET:
        return cr_decode_nanodet(h, outs, n, o, list, err);
    case CR_HEAD_END2END:
        return cr_decode_end2end(h, &outs[0], o, list, err);
    case CR_HEAD_BRANCHES:
        return cr_decode_branches(h, outs, n, o, list, err);
    default:
        return cr_fail(err, CR_ERR_UNSUPPORTED, "the model's outputs are of no known head");
    }
}

static cr_status decode_boxes(const cr_head *h, const cr_output *outs, size_t n,
                              const cr_placement *place, const cr_detect_options *o,
                              cr_detections *out, cr_error *err)
{
    cr_candidates list = {0};
    cr_status st;
    CR_TRY_GOTO(collect(h, outs, n, o, &list, err), done);
    CR_TRY_GOTO(rank(&list, o->max_candidates, err), done);
    if (h->kind == CR_HEAD_END2END) {
        if (list.count > (size_t)o->max_detections) list.count = (size_t)o->max_detections;
    } else {
        CR_TRY_GOTO(suppress(h, &outs[0], &list, o, err), done);
    }
    out->keypoint_count = h->keypoints;
    st = finish(h, outs, &list, place, out, err);
    if (st == CR_OK && h->masks && !o->no_masks) st = cr_head_masks(h, outs, n, place, out, err);
done:
    cr_free(list.items);
    return st;
}

cr_status cr_head_decode(const cr_head *head, const cr_output *outs, size_t n,
                         const cr_placement *place, const cr_detect_options *options,
                         cr_detections *out, cr_error *err)
{
    *out = (cr_detections){0};
    CR_CHECK(n >= 1 && head->classes >= 0 && head->keypoints >= 0, err, CR_ERR_ARGUMENT,
             "no outputs to decode");
    CR_CHECK(options->max_detections >= 1 && options->max_candidates >= 1, err, CR_ERR_ARGUMENT,
             "limits of %d detections and %d candidates; both must be positive",
             options->max_detections, options->max_candidates);
    CR_CHECK(options->iou >= 0 && options->iou <= 1 && options->conf >= 0 && options->conf <= 1,
             err, CR_ERR_ARGUMENT, "confidence %g and IoU %g; both are 0 to 1",
             (double)options->conf, (double)options->iou);
    const cr_status st = head->kind == CR_HEAD_CLASSIFY
                             ? decode_classes(head, &outs[0], place, options, out, err)
                             : decode_boxes(head, outs, n, place, options, out, err);
    if (st != CR_OK) cr_detections_free(out);
    return st;
}
