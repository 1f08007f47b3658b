/* NonMaxSuppression as ONNX defines it, float32 throughout, as ONNX Runtime computes it: per batch
 * and class, boxes in the order of falling scores (equal scores: lower index first); a box is taken
 * unless it overlaps one that was taken by more than the threshold.
 *
 * It lives beside shape inference because the number of boxes is the output's shape. */
#include <math.h>
#include <stdlib.h>

#include "graph/nn_rules.h"
#include "graph/shape.h"

typedef struct candidate {
    float score;
    int64_t index;
} candidate;

typedef struct nms {
    const float *boxes, *scores;
    int64_t batches, classes, count, limit;
    float iou, min_score;
    bool has_min, center;
} nms;

static int by_score(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* One box along one dimension. */
static void span(const float *box, int dim, bool center, float *lo, float *hi)
{
    if (center) { /* x, y, w, h; dim 0 is y */
        const float c = box[dim ? 0 : 1], half = box[dim ? 2 : 3] / 2;
        *lo = c - half;
        *hi = c + half;
    } else { /* two corners y, x in any order */
        *lo = fminf(box[dim], box[dim + 2]);
        *hi = fmaxf(box[dim], box[dim + 2]);
    }
}

static bool overlaps(const nms *s, const float *a, const float *b)
{
    float shared = 1, area_a = 1, area_b = 1;
    for (int dim = 0; dim < 2; dim++) {
        float a_lo, a_hi, b_lo, b_hi;
        span(a, dim, s->center, &a_lo, &a_hi);
        span(b, dim, s->center, &b_lo, &b_hi);
        const float side = fminf(a_hi, b_hi) - fmaxf(a_lo, b_lo);
        if (!(side > 0)) return false;
        shared *= side;
        area_a *= a_hi - a_lo;
        area_b *= b_hi - b_lo;
    }
    const float both = area_a + area_b - shared;
    return area_a > 0 && area_b > 0 && both > 0 && shared / both > s->iou;
}

static bool is_free(const nms *s, const float *boxes, const candidate *taken, int64_t n,
                    int64_t index)
{
    for (int64_t i = 0; i < n; i++)
        if (overlaps(s, boxes + 4 * index, boxes + 4 * taken[i].index)) return false;
    return true;
}

/* Selects in place: the boxes that are kept move to the front of `list`. Returns how many. */
static int64_t select_class(const nms *s, int64_t batch, int64_t class, candidate *list)
{
    const float *boxes = s->boxes + batch * s->count * 4;
    const float *scores = s->scores + (batch * s->classes + class) * s->count;
    int64_t n = 0, kept = 0;
    for (int64_t i = 0; i < s->count; i++)
        if (scores[i] == scores[i] && (!s->has_min || scores[i] > s->min_score))
            list[n++] = (candidate){scores[i], i};
    if (n) qsort(list, (size_t)n, sizeof *list, by_score);
    for (int64_t i = 0; i < n && kept < s->limit; i++)
        if (is_free(s, boxes, list, kept, list[i].index)) list[kept++] = list[i];
    return kept;
}

static cr_status read_nms(const cr_op_call *call, nms *s, cr_error *err)
{
    const cr_tensor *limit = cr_op_in(call, 2), *iou = cr_op_in(call, 3),
                    *score = cr_op_in(call, 4);
    const cr_shape *boxes = &call->in[0]->shape, *scores = &call->in[1]->shape;
    *s = (nms){.boxes = call->in[0]->data, .scores = call->in[1]->data};
    s->batches = boxes->dim[0];
    s->count = boxes->dim[1];
    s->classes = scores->dim[1];
    s->center = cr_attr_int(call->node, "center_point_box", 0) != 0;
    if (limit) s->limit = cr_tensor_get_i64(limit, 0);
    if (iou) s->iou = (float)cr_tensor_get_f64(iou, 0);
    s->has_min = score != NULL;
    if (score) s->min_score = (float)cr_tensor_get_f64(score, 0);
    CR_OP_CHECK(s->iou >= 0 && s->iou <= 1, call, err, "iou_threshold %g is not within 0 and 1",
                (double)s->iou);
    return CR_OK;
}

cr_status cr_nms_select(const cr_op_call *call, int64_t *picked, int64_t max, int64_t *count,
                        cr_error *err)
{
    nms s;
    *count = 0;
    CR_TRY(read_nms(call, &s, err));
    candidate *list = cr_calloc((size_t)s.count + 1, sizeof *list);
    if (!list) return CR_NOMEM(err);
    for (int64_t b = 0; b < s.batches; b++)
        for (int64_t c = 0; c < s.classes; c++) {
            const int64_t kept = select_class(&s, b, c, list);
            for (int64_t i = 0; i < kept; i++, (*count)++) {
                if (!picked || *count >= max) continue;
                picked[3 * *count] = b;
                picked[3 * *count + 1] = c;
                picked[3 * *count + 2] = list[i].index;
            }
        }
    cr_free(list);
    return CR_OK;
}
