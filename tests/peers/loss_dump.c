/* A loss and its gradients on numbers from standard input, for comparison with other code; see
 * tests/peers/loss_torch.py, which writes them.
 *
 *     peers-loss_dump < CASE > RESULT
 *
 * CASE: int32 kind (0 YOLOv8, 1 YOLOX, 2 classes), float64 (0, 1) or not, threads; the head's
 * numbers; its branches in order of levels; the truth of each picture. RESULT: 11 float64 (the
 * parts, and the sums that they are divided by), then the gradients in the order of the branches.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "train/loss_classify.h"
#include "train/loss_yolov8.h"
#include "train/loss_yolox.h"

enum { BRANCHES_MAX = 32, PICTURES_MAX = 16 };

typedef struct branch {
    void *value, *grad;
    size_t size;
} branch;

typedef struct job {
    cr_dtype real;
    size_t size; /* of an element */
    cr_pool *pool;
    branch branches[BRANCHES_MAX];
    int count;
    cr_truth truth[PICTURES_MAX];
} job;

static void take(void *to, size_t bytes)
{
    if (fread(to, 1, bytes, stdin) == bytes) return;
    fprintf(stderr, "loss_dump: the case ends early\n");
    exit(1);
}

static int number(void)
{
    int32_t n;
    take(&n, sizeof n);
    return n;
}

static void *block(size_t bytes)
{
    void *p = calloc(bytes + 1, 1);
    if (!p) exit(1);
    return p;
}

static cr_raw take_branch(job *j, int pictures, int channels, int cells)
{
    branch *b = &j->branches[j->count++];
    if (j->count > BRANCHES_MAX) exit(1);
    b->size = (size_t)pictures * (size_t)channels * (size_t)cells * j->size;
    b->value = block(b->size);
    b->grad = block(b->size);
    take(b->value, b->size);
    return cr_raw_planes(j->real, b->value, b->grad, channels, cells, 0);
}

static void take_truth(cr_truth *t, int keypoints, int mask_area)
{
    const size_t n = (size_t)number(), k = n * (size_t)keypoints * 3, m = n * (size_t)mask_area;
    int *class_id = block(n * sizeof *class_id);
    double(*box)[4] = block(n * sizeof *box);
    double *points = block(k * sizeof *points);
    uint8_t *masks = block(m);
    take(class_id, n * sizeof *class_id);
    take(box, n * sizeof *box);
    take(points, k * sizeof *points);
    take(masks, m);
    *t = (cr_truth){n, class_id, (const double(*)[4])box, points, masks};
}

static cr_status yolov8(job *j, cr_loss_parts *parts, cr_error *err)
{
    cr_yolov8_head h = {.real = j->real};
    const cr_yolov8_options o = cr_yolov8_options_default();
    int *const numbers[] = {&h.pictures,    &h.level_count, &h.classes,      &h.bins,
                            &h.prototypes,  &h.mask_height, &h.mask_width,   &h.input_height,
                            &h.input_width, &h.keypoints,   &h.keypoint_dims};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) *numbers[i] = number();
    if (h.pictures > PICTURES_MAX || h.level_count > CR_LOSS_LEVELS) exit(1);
    for (int i = 0; i < h.level_count; i++) {
        cr_yolov8_level *l = &h.level[i];
        l->height = number();
        l->width = number();
        l->stride = number();
    }
    for (int i = 0; i < h.level_count; i++) {
        cr_yolov8_level *l = &h.level[i];
        const int cells = l->height * l->width;
        l->box = take_branch(j, h.pictures, 4 * h.bins, cells);
        l->classes = take_branch(j, h.pictures, h.classes, cells);
        if (h.prototypes) l->coefficients = take_branch(j, h.pictures, h.prototypes, cells);
        if (h.keypoints)
            l->keypoints = take_branch(j, h.pictures, h.keypoints * h.keypoint_dims, cells);
    }
    if (h.prototypes)
        h.prototype = take_branch(j, h.pictures, h.prototypes, h.mask_height * h.mask_width);
    for (int p = 0; p < h.pictures; p++)
        take_truth(&j->truth[p], h.keypoints, h.prototypes ? h.mask_height * h.mask_width : 0);
    return cr_loss_yolov8(&h, j->truth, &o, j->pool, parts, err);
}

static cr_status yolox(job *j, cr_loss_parts *parts, cr_error *err)
{
    cr_yolox_head h = {.real = j->real};
    cr_yolox_options o = cr_yolox_options_default();
    h.pictures = number();
    h.level_count = number();
    h.classes = number();
    o.offsets = number();
    if (h.pictures > PICTURES_MAX || h.level_count > CR_LOSS_LEVELS) exit(1);
    for (int i = 0; i < h.level_count; i++) {
        cr_yolox_level *l = &h.level[i];
        l->height = number();
        l->width = number();
        l->stride = number();
    }
    for (int i = 0; i < h.level_count; i++) {
        cr_yolox_level *l = &h.level[i];
        const int cells = l->height * l->width;
        l->box = take_branch(j, h.pictures, 4, cells);
        l->objectness = take_branch(j, h.pictures, 1, cells);
        l->classes = take_branch(j, h.pictures, h.classes, cells);
    }
    for (int p = 0; p < h.pictures; p++) take_truth(&j->truth[p], 0, 0);
    return cr_loss_yolox(&h, j->truth, &o, j->pool, parts, err);
}

/* Smoothing .1. */
static cr_status classify(job *j, cr_loss_parts *parts, cr_error *err)
{
    const int pictures = number(), classes = number();
    const cr_raw logits = take_branch(j, pictures, classes, 1);
    int *class_id = block((size_t)pictures * sizeof *class_id);
    take(class_id, (size_t)pictures * sizeof *class_id);
    const cr_status st =
        cr_loss_classify(j->real, &logits, pictures, classes, class_id, .1, parts, err);
    free(class_id);
    return st;
}

int main(void)
{
    job j = {0};
    cr_error err;
    cr_loss_parts p;
    const int kind = number();
    j.real = number() ? CR_DT_F64 : CR_DT_F32;
    j.size = j.real == CR_DT_F64 ? 8 : 4;
    if (cr_pool_create(number(), &j.pool, &err) != CR_OK) return 1;
    const cr_status st = kind == 0   ? yolov8(&j, &p, &err)
                         : kind == 1 ? yolox(&j, &p, &err)
                                     : classify(&j, &p, &err);
    if (st != CR_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const double parts[11] = {p.total,    p.box,   p.classes,   p.distribution, p.objectness,
                              p.offsets,  p.masks, p.keypoints, p.visible,      (double)p.positives,
                              p.score_sum};
    fwrite(parts, sizeof parts, 1, stdout);
    for (int i = 0; i < j.count; i++) {
        fwrite(j.branches[i].grad, 1, j.branches[i].size, stdout);
        free(j.branches[i].value);
        free(j.branches[i].grad);
    }
    for (int i = 0; i < PICTURES_MAX; i++) {
        free((void *)(uintptr_t)j.truth[i].class_id);
        free((void *)(uintptr_t)j.truth[i].box);
        free((void *)(uintptr_t)j.truth[i].keypoints);
        free((void *)(uintptr_t)j.truth[i].masks);
    }
    cr_pool_free(&j.pool);
    return 0;
}
