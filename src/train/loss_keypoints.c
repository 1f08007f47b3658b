/* Keypoints of cells that learn an object: how far they are from the truth by COCO's object
 * keypoint similarity, and whether they are labelled at all. In units of the cell's stride, like
 * the boxes. */
#include <math.h>

#include "train/loss_yolov8_job.h"

enum { COCO_KEYPOINTS = 17 };

static double sigma_of(const cr_yolov8_head *h, int k)
{
    static const double coco[COCO_KEYPOINTS] = {.026, .025, .025, .035, .035, .079,
                                                .079, .072, .072, .062, .062, .107,
                                                .107, .087, .087, .089, .089};
    if (h->sigma) return h->sigma[k];
    return h->keypoints == COCO_KEYPOINTS ? coco[k] : 1. / h->keypoints;
}

typedef struct spot {
    const cr_yolov8_level *level;
    size_t picture, cell;
    double x, y; /* of the cell, in strides */
    int dims;
    cr_dtype real;
} spot;

static size_t number_at(const spot *s, int keypoint, int dim)
{
    return cr_raw_at(&s->level->keypoints, s->picture, (size_t)(keypoint * s->dims + dim), s->cell);
}

/* 1 - exp(-e), e = d^2 / (8 sigma^2 area); weight: what it counts. */
static double place_loss(const spot *s, int k, const double *truth, double sigma, double area,
                         double weight)
{
    const cr_raw *r = &s->level->keypoints;
    const size_t at[2] = {number_at(s, k, 0), number_at(s, k, 1)};
    const double dx = 2 * cr_raw_get(r, s->real, at[0]) + s->x - truth[0] / s->level->stride;
    const double dy = 2 * cr_raw_get(r, s->real, at[1]) + s->y - truth[1] / s->level->stride;
    const double by = 1 / (8 * sigma * sigma * (area + 1e-9));
    const double like = exp(-(dx * dx + dy * dy) * by);
    if (r->grad) {
        cr_raw_put(r, s->real, at[0], weight * like * by * 4 * dx);
        cr_raw_put(r, s->real, at[1], weight * like * by * 4 * dy);
    }
    return weight * (1 - like);
}

static double visible_loss(const spot *s, int k, bool labelled, double weight)
{
    const cr_raw *r = &s->level->keypoints;
    const size_t at = number_at(s, k, 2);
    const double x = cr_raw_get(r, s->real, at);
    if (r->grad) cr_raw_put(r, s->real, at, weight * (cr_sigmoid(x) - labelled));
    return weight * (cr_softplus(x) - (labelled ? x : 0));
}

static void positive_keypoints(const cr_yolov8_job *j, const cr_yolov8_positive *p,
                               const double weight[2], cr_loss_parts *parts)
{
    const cr_yolov8_head *h = j->head;
    const cr_yolov8_level *level = &h->level[p->level];
    const cr_truth *t = &j->truth[p->picture];
    const double *box = t->box[p->object];
    const double *points = t->keypoints + (size_t)p->object * (size_t)h->keypoints * 3;
    const double area = (box[2] - box[0]) * (box[3] - box[1]) / level->stride / level->stride;
    const spot s = {level,
                    (size_t)p->picture,
                    p->cell,
                    p->cell % (uint32_t)level->width,
                    p->cell / (uint32_t)level->width,
                    h->keypoint_dims,
                    h->real};
    int labelled = 0;
    for (int k = 0; k < h->keypoints; k++) labelled += points[k * 3 + 2] != 0;
    for (int k = 0; k < h->keypoints; k++) {
        const bool is = points[k * 3 + 2] != 0;
        if (is)
            parts->keypoints += place_loss(&s, k, points + k * 3, sigma_of(h, k), area,
                                           weight[0] * h->keypoints / labelled);
        if (h->keypoint_dims == 3) parts->visible += visible_loss(&s, k, is, weight[1]);
    }
}

void cr_yolov8_keypoints(const cr_yolov8_job *j, cr_loss_parts *parts)
{
    size_t n = 0;
    for (size_t i = 0; i < j->count; i++) n += j->truth[j->positive[i].picture].keypoints != NULL;
    if (!n) return;
    const double mean = j->head->pictures / ((double)n * j->head->keypoints);
    const double weight[2] = {j->options->keypoints * mean, j->options->visible * mean};
    for (size_t i = 0; i < j->count; i++)
        if (j->truth[j->positive[i].picture].keypoints)
            positive_keypoints(j, &j->positive[i], weight, parts);
}
