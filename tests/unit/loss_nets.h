/* Heads of random numbers with their branches, for tests of losses. */
#ifndef TESTS_UNIT_LOSS_NETS_H
#define TESTS_UNIT_LOSS_NETS_H

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "train/loss_yolov8.h"
#include "train/loss_yolox.h"

enum { NET_FLOATS = 1 << 16 };

/* One block of values, one of gradients; branches lie one behind the other. */
typedef struct net_store {
    cr_dtype real;
    bool last; /* channels last */
    double *value, *grad;
    float *value32, *grad32;
    size_t used;
    cr_rng rng;
} net_store;

static inline void store_open(net_store *s, cr_dtype real, bool last, uint64_t seed)
{
    *s = (net_store){real,
                     last,
                     calloc(NET_FLOATS, 8),
                     calloc(NET_FLOATS, 8),
                     calloc(NET_FLOATS, 4),
                     calloc(NET_FLOATS, 4)};
    cr_rng_seed(&s->rng, seed);
}

static inline void store_close(net_store *s)
{
    free(s->value);
    free(s->grad);
    free(s->value32);
    free(s->grad32);
}

/* A branch of numbers in lo..hi, the same whatever the layout and type. Gradients start as 7, so
 * that one which is not written shows. */
static inline cr_raw store_branch(net_store *s, int pictures, int channels, int cells, double lo,
                                  double hi)
{
    cr_raw r = {.picture = (int64_t)channels * cells,
                .channel = s->last ? 1 : cells,
                .cell = s->last ? channels : 1};
    const size_t first = s->used;
    r.value = s->real == CR_DT_F32 ? (void *)(s->value32 + first) : (void *)(s->value + first);
    r.grad = s->real == CR_DT_F32 ? (void *)(s->grad32 + first) : (void *)(s->grad + first);
    for (int p = 0; p < pictures; p++)
        for (int c = 0; c < channels; c++)
            for (int i = 0; i < cells; i++) {
                const size_t at = first + cr_raw_at(&r, (size_t)p, (size_t)c, (size_t)i);
                s->value32[at] = (float)cr_rng_range(&s->rng, lo, hi);
                s->value[at] = (double)s->value32[at];
                s->grad[at] = 7;
                s->grad32[at] = 7;
            }
    s->used += (size_t)pictures * (size_t)channels * (size_t)cells;
    if (s->used > NET_FLOATS) abort();
    return r;
}

/* 64 x 64 pixels, strides 8 and 16, 3 classes, 8 bins, 4 prototypes of 16 x 16, 3 keypoints. */
static inline cr_yolov8_head net_yolov8(net_store *s, int pictures)
{
    cr_yolov8_head h = {.real = s->real,
                        .pictures = pictures,
                        .level_count = 2,
                        .classes = 3,
                        .bins = 8,
                        .prototypes = 4,
                        .mask_height = 16,
                        .mask_width = 16,
                        .input_height = 64,
                        .input_width = 64,
                        .keypoints = 3,
                        .keypoint_dims = 3};
    for (int i = 0; i < 2; i++) {
        cr_yolov8_level *l = &h.level[i];
        l->stride = 8 << i;
        l->height = l->width = 64 / l->stride;
        const int cells = l->height * l->width;
        l->box = store_branch(s, pictures, 4 * h.bins, cells, -2, 2);
        l->classes = store_branch(s, pictures, h.classes, cells, -3, 1);
        l->coefficients = store_branch(s, pictures, h.prototypes, cells, -1, 1);
        l->keypoints = store_branch(s, pictures, 9, cells, -1, 1);
    }
    h.prototype = store_branch(s, pictures, 4, 256, -1, 1);
    return h;
}

static inline cr_yolox_head net_yolox(net_store *s, int pictures)
{
    cr_yolox_head h = {.real = s->real, .pictures = pictures, .level_count = 2, .classes = 3};
    for (int i = 0; i < 2; i++) {
        cr_yolox_level *l = &h.level[i];
        l->stride = 8 << i;
        l->height = l->width = 64 / l->stride;
        const int cells = l->height * l->width;
        l->box = store_branch(s, pictures, 4, cells, -.5, 1.2);
        l->objectness = store_branch(s, pictures, 1, cells, -3, 1);
        l->classes = store_branch(s, pictures, 3, cells, -3, 1);
    }
    return h;
}

/* `count` objects in 64 x 64 pixels, with masks of 16 x 16 and keypoints; room for 8. */
typedef struct net_truth {
    int class_id[8];
    double box[8][4], keypoints[8 * 9];
    uint8_t masks[8 * 256];
} net_truth;

static inline cr_truth net_objects(net_truth *t, size_t count, uint64_t seed)
{
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    for (size_t i = 0; i < count; i++) {
        const double w = cr_rng_range(&rng, 6, 40), h = cr_rng_range(&rng, 6, 40);
        t->class_id[i] = (int)cr_rng_below(&rng, 3);
        t->box[i][0] = cr_rng_range(&rng, 0, 64 - w);
        t->box[i][1] = cr_rng_range(&rng, 0, 64 - h);
        t->box[i][2] = t->box[i][0] + w;
        t->box[i][3] = t->box[i][1] + h;
        for (int k = 0; k < 3; k++) {
            double *p = &t->keypoints[i * 9 + (size_t)k * 3];
            p[0] = cr_rng_range(&rng, t->box[i][0], t->box[i][2]);
            p[1] = cr_rng_range(&rng, t->box[i][1], t->box[i][3]);
            p[2] = cr_rng_below(&rng, 3);
        }
        for (int k = 0; k < 256; k++) t->masks[i * 256 + (size_t)k] = cr_rng_below(&rng, 2);
    }
    return (cr_truth){count, t->class_id, (const double(*)[4])t->box, t->keypoints, t->masks};
}

#endif
