/* Heads with one output whose rows are boxes: YOLOv8 and pose, YOLOv5, YOLOX, end-to-end.
 *
 * YOLOv8 stores channels first, [4 + nc, N]: reading one row jumps through the whole tensor. So
 * blocks of rows are searched in memory order for a score above the threshold, and only the rows
 * that have one (a handful of thousands) are read in full, while their block is in the cache.
 * Row-major outputs are searched row by row.
 *
 * Box arithmetic is float32 in the field's order, xy -+ wh / 2 (Ultralytics xywh2xyxy), so that
 * borderline suppressions fall the same way. YOLOX: xy = (t + cell) * stride, wh = exp(t) * stride
 * (Ge et al. 2021), cells row by row, strides ascending. */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "vision/boxes.h"
#include "vision/heads.h"

enum { BLOCK = 256 }; /* rows searched at a time: 80 KB of 80 classes */

/* Element (row, channel) is at data[row * row_step + channel * channel_step]. */
struct view {
    const float *data;
    size_t rows, channels, row_step, channel_step;
};

static size_t expected_channels(const cr_head *h)
{
    const size_t base = (size_t)h->classes + (size_t)h->masks +
                        (size_t)h->keypoints * (size_t)h->keypoint_dims + h->oriented;
    return base + (h->kind == CR_HEAD_YOLOV5 || h->kind == CR_HEAD_YOLOX ? 5 : 4);
}

static bool channels_first(const cr_head *h)
{
    return (h->kind == CR_HEAD_YOLOV8 || h->kind == CR_HEAD_POSE) && !h->transposed;
}

static bool make_view(const cr_head *h, const cr_output *out, struct view *v)
{
    int64_t a, b;
    if (!out->data || !cr_output_matrix(out, &a, &b)) return false;
    const size_t m = (size_t)a, n = (size_t)b;
    *v = channels_first(h) ? (struct view){out->data, n, m, 1, n}
                           : (struct view){out->data, m, n, n, 1};
    return true;
}

/* The level of YOLOX's grid that a row is in. Rows ascend, so it only ever goes on. */
struct level {
    int width, height; /* of the input */
    int stride;
    size_t first, cells, columns; /* its rows are first .. first + cells - 1 */
};

static void enter_level(struct level *l, int stride)
{
    l->first += l->cells;
    l->stride = stride;
    l->columns = (size_t)((l->width + stride - 1) / stride);
    l->cells = l->columns * (size_t)((l->height + stride - 1) / stride);
}

/* x, y, w, h and an angle -> the upright box around: extents |w cos| + |h sin|, |w sin| + |h cos|.
 */
static void stand_upright(const float p[4], float angle, float box[4])
{
    const float c = fabsf(cosf(angle)), s = fabsf(sinf(angle));
    const float w = p[2] * c + p[3] * s, h = p[2] * s + p[3] * c;
    box[0] = p[0] - w / 2;
    box[1] = p[1] - h / 2;
    box[2] = p[0] + w / 2;
    box[3] = p[1] + h / 2;
}

static void enlarge(const cr_head *h, const float p[4], float box[4])
{
    const float w = (float)h->input_width, ht = (float)h->input_height;
    stand_upright((const float[4]){p[0] * w, p[1] * ht, p[2] * w, p[3] * ht}, 0, box);
}

static void read_box(const cr_head *h, const struct view *v, size_t row, struct level *l,
                     float box[4])
{
    const float *p = v->data + row * v->row_step;
    const size_t s = v->channel_step;
    float x = p[0], y = p[s], w = p[2 * s], ht = p[3 * s];
    if (h->kind == CR_HEAD_YOLOX) {
        while (row - l->first >= l->cells) enter_level(l, l->stride * 2);
        const float stride = (float)l->stride;
        x = (x + (float)((row - l->first) % l->columns)) * stride;
        y = (y + (float)((row - l->first) / l->columns)) * stride;
        w = expf(w) * stride;
        ht = expf(ht) * stride;
    }
    if (h->fractions) {
        x *= (float)h->input_width;
        y *= (float)h->input_height;
        w *= (float)h->input_width;
        ht *= (float)h->input_height;
    }
    const float angle = h->oriented ? p[(v->channels - 1) * s] : 0;
    stand_upright((const float[4]){x, y, w, ht}, angle, box);
}

static cr_status check_view(const cr_head *h, const cr_output *out, struct view *v, struct level *l,
                            cr_error *err)
{
    CR_CHECK(make_view(h, out, v) && v->channels == expected_channels(h), err, CR_ERR_FORMAT,
             "the head's output does not have the %zu values per box that its shape promised",
             expected_channels(h));
    int first = 8, count = 0;
    if (h->kind == CR_HEAD_YOLOX)
        CR_CHECK(cr_find_strides(h->input_width, h->input_height, (int64_t)v->rows, &first, &count),
                 err, CR_ERR_FORMAT, "%zu rows are no grid of a %dx%d input", v->rows,
                 h->input_width, h->input_height);
    *l = (struct level){.width = h->input_width, .height = h->input_height};
    enter_level(l, first);
    return CR_OK;
}

/* What the two walks below share. */
struct walk {
    const cr_head *head;
    const cr_detect_options *options;
    const cr_boxes *ops;
    struct view view;
    struct level level;
    cr_candidates *list;
};

static cr_status emit(struct walk *w, size_t row, size_t first_class, float object, cr_error *err)
{
    const struct view *v = &w->view;
    float box[4];
    read_box(w->head, v, row, &w->level, box);
    return cr_emit_row(w->head, w->options, box,
                       v->data + row * v->row_step + first_class * v->channel_step, v->channel_step,
                       object, (int)row, w->list, err);
}

static cr_status walk_channels_first(struct walk *w, cr_error *err)
{
    const struct view *v = &w->view;
    uint32_t rows[BLOCK];
    for (size_t from = 0; from < v->rows; from += BLOCK) {
        const size_t n = v->rows - from < BLOCK ? v->rows - from : BLOCK;
        const size_t count =
            w->ops->rows_above(v->data + 4 * v->channel_step + from, v->channel_step,
                               (size_t)w->head->classes, n, w->options->conf, rows);
        for (size_t i = 0; i < count; i++) CR_TRY(emit(w, from + rows[i], 4, 1, err));
    }
    return CR_OK;
}

static cr_status walk_rows(struct walk *w, cr_error *err)
{
    const struct view *v = &w->view;
    const bool has_object = w->head->kind == CR_HEAD_YOLOV5 || w->head->kind == CR_HEAD_YOLOX;
    const size_t first_class = has_object ? 5 : 4;
    for (size_t r = 0; r < v->rows; r++) {
        const float *p = v->data + r * v->row_step;
        const float object = has_object ? p[4] : 1;
        const float best = w->ops->largest(p + first_class, (size_t)w->head->classes);
        if (best * object > w->options->conf) CR_TRY(emit(w, r, first_class, object, err));
    }
    return CR_OK;
}

cr_status cr_decode_yolo(const cr_head *h, const cr_output *out, const cr_detect_options *o,
                         cr_candidates *list, cr_error *err)
{
    struct walk w = {h, o, cr_boxes_choose(cr_cpu_flags()), .list = list};
    CR_TRY(check_view(h, out, &w.view, &w.level, err));
    return w.view.channel_step == 1 ? walk_rows(&w, err) : walk_channels_first(&w, err);
}

void cr_head_keypoints(const cr_head *h, const cr_output *out, int index, float *keypoints)
{
    struct view v;
    if (!make_view(h, out, &v)) return;
    const size_t dims = (size_t)h->keypoint_dims;
    const size_t first = h->kind == CR_HEAD_END2END ? 6 : 4 + (size_t)h->classes;
    const float *p = v.data + (size_t)index * v.row_step + first * v.channel_step;
    for (size_t k = 0; k < (size_t)h->keypoints; k++, p += dims * v.channel_step) {
        keypoints[3 * k] = p[0] * (h->fractions ? (float)h->input_width : 1);
        keypoints[3 * k + 1] = p[v.channel_step] * (h->fractions ? (float)h->input_height : 1);
        keypoints[3 * k + 2] = dims == 3 ? p[2 * v.channel_step] : 1;
    }
}

void cr_head_turned(const cr_head *h, const cr_output *out, int index, float turned[5])
{
    struct view v;
    memset(turned, 0, 5 * sizeof *turned);
    if (!make_view(h, out, &v)) return;
    const float *p = v.data + (size_t)index * v.row_step;
    const float w = h->fractions ? (float)h->input_width : 1;
    const float ht = h->fractions ? (float)h->input_height : 1;
    for (size_t k = 0; k < 4; k++) turned[k] = p[k * v.channel_step] * (k % 2 ? ht : w);
    turned[4] = p[(v.channels - 1) * v.channel_step];
}

bool cr_head_coefficients(const cr_head *h, const cr_output *out, int index, const float **first,
                          size_t *step)
{
    struct view v;
    const size_t boxes = h->kind == CR_HEAD_END2END  ? 6
                         : h->kind == CR_HEAD_YOLOV5 ? 5 + (size_t)h->classes
                                                     : 4 + (size_t)h->classes;
    if (!make_view(h, out, &v) || (size_t)index >= v.rows || boxes + (size_t)h->masks > v.channels)
        return false;
    *first = v.data + (size_t)index * v.row_step + boxes * v.channel_step;
    *step = v.channel_step;
    return true;
}

cr_status cr_decode_end2end(const cr_head *h, const cr_output *out, const cr_detect_options *o,
                            cr_candidates *list, cr_error *err)
{
    struct view v;
    const size_t columns =
        6 + (size_t)h->masks + (size_t)h->keypoints * (size_t)h->keypoint_dims + h->oriented;
    CR_CHECK(make_view(h, out, &v) && v.channels == columns, err, CR_ERR_FORMAT,
             "the head's output does not have %zu values per box", columns);
    for (size_t r = 0; r < v.rows; r++) {
        const float *p = v.data + r * v.row_step;
        if (!(p[5] >= 0 && p[5] < 1e6f)) continue;
        cr_candidate c = {.score = p[4], .class_id = (int)p[5], .index = (int)r};
        if (h->fractions)
            enlarge(h, p, c.box);
        else if (h->oriented)
            stand_upright(p, p[columns - 1], c.box);
        else
            memcpy(c.box, p, sizeof c.box);
        CR_TRY(cr_emit(o, &c, list, err));
    }
    return CR_OK;
}
