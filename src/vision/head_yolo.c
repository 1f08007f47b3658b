/* Heads with one output whose rows are boxes: YOLOv8 and pose, YOLOv5, YOLOX, end-to-end.
 *
 * YOLOv8 stores channels first, [4 + nc, N]: reading one row jumps through the whole tensor. So a
 * first pass walks it in memory order and keeps each row's best score; only rows above the
 * threshold (a handful of thousands) are then read in full. The same pass serves row-major outputs.
 *
 * Box arithmetic is float32 in the field's order, xy -+ wh / 2 (Ultralytics xywh2xyxy), so that
 * borderline suppressions fall the same way. YOLOX: xy = (t + cell) * stride, wh = exp(t) * stride
 * (Ge et al. 2021), cells row by row, strides ascending. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/heads.h"

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

/* best[row] = the largest class score; NaN never wins. */
static void row_maxima(const struct view *v, size_t first_class, size_t classes, float *best)
{
    for (size_t r = 0; r < v->rows; r++) best[r] = -INFINITY;
    if (v->channel_step == 1) {
        for (size_t r = 0; r < v->rows; r++)
            for (size_t k = 0; k < classes; k++) {
                const float x = v->data[r * v->row_step + first_class + k];
                if (x > best[r]) best[r] = x;
            }
        return;
    }
    for (size_t k = 0; k < classes; k++) {
        const float *x = v->data + (first_class + k) * v->channel_step;
        for (size_t r = 0; r < v->rows; r++) best[r] = x[r] > best[r] ? x[r] : best[r];
    }
}

/* A walk over YOLOX's grid in row order. */
struct cell {
    int width, height; /* of the input */
    int stride, columns, rows, x, y;
};

static void enter_level(struct cell *c, int stride)
{
    c->stride = stride;
    c->columns = (c->width + stride - 1) / stride;
    c->rows = (c->height + stride - 1) / stride;
    c->x = c->y = 0;
}

static void next_cell(struct cell *c)
{
    if (++c->x < c->columns) return;
    c->x = 0;
    if (++c->y == c->rows) enter_level(c, c->stride * 2);
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

static void read_box(const cr_head *h, const struct view *v, size_t row, const struct cell *c,
                     float box[4])
{
    const float *p = v->data + row * v->row_step;
    const size_t s = v->channel_step;
    float x = p[0], y = p[s], w = p[2 * s], ht = p[3 * s];
    if (h->kind == CR_HEAD_YOLOX) {
        const float stride = (float)c->stride;
        x = (x + (float)c->x) * stride;
        y = (y + (float)c->y) * stride;
        w = expf(w) * stride;
        ht = expf(ht) * stride;
    }
    const float angle = h->oriented ? p[(v->channels - 1) * s] : 0;
    stand_upright((const float[4]){x, y, w, ht}, angle, box);
}

static cr_status check_view(const cr_head *h, const cr_output *out, struct view *v, struct cell *c,
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
    *c = (struct cell){.width = h->input_width, .height = h->input_height};
    enter_level(c, first);
    return CR_OK;
}

cr_status cr_decode_yolo(const cr_head *h, const cr_output *out, const cr_detect_options *o,
                         cr_candidates *list, cr_error *err)
{
    struct view v = {0};
    struct cell c = {0};
    CR_TRY(check_view(h, out, &v, &c, err));
    const bool has_object = h->kind == CR_HEAD_YOLOV5 || h->kind == CR_HEAD_YOLOX;
    const size_t first_class = has_object ? 5 : 4;
    float *best = cr_malloc(v.rows * sizeof *best);
    if (!best) return CR_NOMEM(err);
    row_maxima(&v, first_class, (size_t)h->classes, best);
    cr_status st = CR_OK;
    for (size_t r = 0; st == CR_OK && r < v.rows; r++) {
        const struct cell at = c;
        if (h->kind == CR_HEAD_YOLOX) next_cell(&c);
        const float *p = v.data + r * v.row_step;
        const float object = has_object ? p[4 * v.channel_step] : 1;
        if (!(best[r] * object > o->conf)) continue;
        float box[4];
        read_box(h, &v, r, &at, box);
        st = cr_emit_row(h, o, box, p + first_class * v.channel_step, v.channel_step, object,
                         (int)r, list, err);
    }
    cr_free(best);
    return st;
}

void cr_head_keypoints(const cr_head *h, const cr_output *out, int index, float *keypoints)
{
    struct view v;
    if (!make_view(h, out, &v)) return;
    const size_t dims = (size_t)h->keypoint_dims;
    const size_t first = h->kind == CR_HEAD_END2END ? 6 : 4 + (size_t)h->classes;
    const float *p = v.data + (size_t)index * v.row_step + first * v.channel_step;
    for (size_t k = 0; k < (size_t)h->keypoints; k++, p += dims * v.channel_step) {
        keypoints[3 * k] = p[0];
        keypoints[3 * k + 1] = p[v.channel_step];
        keypoints[3 * k + 2] = dims == 3 ? p[2 * v.channel_step] : 1;
    }
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
