/* Do the losses teach what they should? The branches' numbers themselves are trained (there is no
 * network): afterwards the cells that score highest must decode to the objects, with their masks
 * and keypoints, and all others must be silent. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "train/loss_box.h"
#include "train/loss_yolov8_job.h"
#include "unit/loss_nets.h"

/* Adam (Kingma and Ba 2015) on every number of a store. */
typedef struct adam {
    double *m, *v;
    int step;
} adam;

static void adam_step(adam *a, net_store *s, double rate)
{
    const double b1 = 1 - pow(.9, ++a->step), b2 = 1 - pow(.999, a->step);
    for (size_t i = 0; i < s->used; i++) {
        const double g = s->grad[i];
        a->m[i] += .1 * (g - a->m[i]);
        a->v[i] += .001 * (g * g - a->v[i]);
        s->value[i] -= rate * a->m[i] / b1 / (sqrt(a->v[i] / b2) + 1e-8);
    }
}

static const int class_id[3] = {2, 0, 1};
static const double box[3][4] = {{4, 6, 28, 38}, {36, 10, 60, 26}, {20, 34, 58, 62}};
static const double points[3 * 9] = {5, 7,  2,  27, 8,  2,  16, 36, 1,  40, 12, 2,  0, 0,
                                     0, 50, 20, 2,  22, 36, 2,  56, 40, 2,  30, 60, 2};
static uint8_t masks[3 * 256];

/* Each object's left half. */
static cr_truth truth_of(void)
{
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < 16; y++)
            for (int x = 0; x < 16; x++)
                masks[i * 256 + y * 16 + x] = (x + .5) * 4 < (box[i][0] + box[i][2]) / 2;
    return (cr_truth){3, class_id, box, points, masks};
}

static double best_overlap(const double got[4], int class_of)
{
    double best = 0;
    for (int i = 0; i < 3; i++)
        if (class_id[i] == class_of) best = fmax(best, cr_box_iou(got, box[i], NULL));
    return best;
}

static double distance(const cr_yolov8_head *h, const cr_yolov8_level *l, size_t cell, int side)
{
    double sum = 0, mean = 0;
    for (int b = 0; b < h->bins; b++) {
        const double e =
            exp(cr_raw_get(&l->box, h->real, cr_raw_at(&l->box, 0, (size_t)(side * 8 + b), cell)));
        sum += e;
        mean += e * b;
    }
    return mean / sum * l->stride;
}

/* Share of the box's pixels that the cell's mask has right. */
static double mask_right(const cr_yolov8_head *h, const cr_yolov8_level *l, size_t cell, int object)
{
    int right = 0, all = 0;
    for (int y = (int)box[object][1] / 4 + 1; y < (int)box[object][3] / 4; y++)
        for (int x = (int)box[object][0] / 4 + 1; x < (int)box[object][2] / 4; x++) {
            double logit = 0;
            for (size_t k = 0; k < 4; k++)
                logit +=
                    cr_raw_get(&l->coefficients, h->real, cr_raw_at(&l->coefficients, 0, k, cell)) *
                    cr_raw_get(&h->prototype, h->real,
                               cr_raw_at(&h->prototype, 0, k, (size_t)(y * 16 + x)));
            right += (logit > 0) == masks[object * 256 + y * 16 + x];
            all++;
        }
    return (double)right / all;
}

static double keypoint_error(const cr_yolov8_head *h, const cr_yolov8_level *l, size_t cell,
                             int object)
{
    double most = 0;
    for (size_t k = 0; k < 3; k++) {
        const double *p = points + object * 9 + k * 3;
        double at[3];
        for (size_t i = 0; i < 3; i++)
            at[i] =
                cr_raw_get(&l->keypoints, h->real, cr_raw_at(&l->keypoints, 0, k * 3 + i, cell));
        assert_true((at[2] > 0) == (p[2] > 0));
        if (p[2] == 0) continue;
        const double x = (2 * at[0] + (double)(cell % (size_t)l->width)) * l->stride;
        const double y = (2 * at[1] + (double)(cell / (size_t)l->width)) * l->stride;
        most = fmax(most, hypot(x - p[0], y - p[1]));
    }
    return most;
}

static void yolov8_learns(void **state)
{
    net_store s;
    cr_loss_parts first = {0}, last = {0};
    bool found[3] = {false};
    (void)state;
    store_open(&s, CR_DT_F64, false, 21);
    const cr_yolov8_head h = net_yolov8(&s, 1);
    const cr_truth truth = truth_of();
    const cr_yolov8_options o = cr_yolov8_options_default();
    adam a = {calloc(s.used, 8), calloc(s.used, 8), 0};
    for (int step = 0; step < 600; step++) {
        assert_int_equal(cr_loss_yolov8(&h, &truth, &o, NULL, &last, NULL), CR_OK);
        if (!step) first = last;
        adam_step(&a, &s, .05 * (1 - step / 600.));
    }
    assert_true(last.box < .05 * first.box && last.total < .25 * first.total);
    for (int i = 0; i < 2; i++)
        for (size_t cell = 0; cell < (size_t)(h.level[i].height * h.level[i].width); cell++)
            for (int k = 0; k < 3; k++) {
                const cr_yolov8_level *l = &h.level[i];
                const double score = cr_sigmoid(
                    cr_raw_get(&l->classes, h.real, cr_raw_at(&l->classes, 0, (size_t)k, cell)));
                if (score < .5) continue;
                const double cx = ((double)(cell % (size_t)l->width) + .5) * l->stride;
                const double cy = ((double)(cell / (size_t)l->width) + .5) * l->stride;
                const double got[4] = {cx - distance(&h, l, cell, 0), cy - distance(&h, l, cell, 1),
                                       cx + distance(&h, l, cell, 2),
                                       cy + distance(&h, l, cell, 3)};
                const int object = k == 2 ? 0 : k == 0 ? 1 : 2;
                assert_true(best_overlap(got, k) > .95);
                assert_true(mask_right(&h, l, cell, object) > .95);
                assert_true(keypoint_error(&h, l, cell, object) < 1);
                found[object] = true;
            }
    assert_true(found[0] && found[1] && found[2]);
    free(a.m);
    free(a.v);
    store_close(&s);
}

static void yolox_learns(void **state)
{
    net_store s;
    cr_loss_parts first = {0}, last = {0};
    bool found[3] = {false};
    (void)state;
    store_open(&s, CR_DT_F64, false, 22);
    const cr_yolox_head h = net_yolox(&s, 1);
    const cr_truth truth = {3, class_id, box, NULL, NULL};
    cr_yolox_options o = cr_yolox_options_default();
    adam a = {calloc(s.used, 8), calloc(s.used, 8), 0};
    for (int step = 0; step < 600; step++) {
        o.offsets = step >= 400;
        assert_int_equal(cr_loss_yolox(&h, &truth, &o, NULL, &last, NULL), CR_OK);
        if (!step) first = last;
        adam_step(&a, &s, .03 * (1 - step / 600.));
    }
    assert_true(last.box < .01 * first.box && last.total < .25 * first.total);
    for (int i = 0; i < 2; i++)
        for (size_t cell = 0; cell < (size_t)(h.level[i].height * h.level[i].width); cell++)
            for (int k = 0; k < 3; k++) {
                const cr_yolox_level *l = &h.level[i];
                const double score =
                    cr_sigmoid(cr_raw_get(&l->classes, h.real,
                                          cr_raw_at(&l->classes, 0, (size_t)k, cell))) *
                    cr_sigmoid(
                        cr_raw_get(&l->objectness, h.real, cr_raw_at(&l->objectness, 0, 0, cell)));
                double raw[4];
                if (score < .5) continue;
                for (size_t e = 0; e < 4; e++)
                    raw[e] = cr_raw_get(&l->box, h.real, cr_raw_at(&l->box, 0, e, cell));
                const double x = (raw[0] + (double)(cell % (size_t)l->width)) * l->stride;
                const double y = (raw[1] + (double)(cell / (size_t)l->width)) * l->stride;
                const double w = exp(raw[2]) * l->stride / 2, g = exp(raw[3]) * l->stride / 2;
                const double got[4] = {x - w, y - g, x + w, y + g};
                assert_true(best_overlap(got, k) > .95);
                found[k] = true;
            }
    assert_true(found[0] && found[1] && found[2]);
    free(a.m);
    free(a.v);
    store_close(&s);
}

/* A level that is for short objects alone learns no others, and what it was asked for goes to the
 * other level. */
static void levels_by_size(void **state)
{
    net_store s;
    cr_error err;
    size_t at[2][2] = {{0}};
    (void)state;
    store_open(&s, CR_DT_F64, false, 23);
    cr_yolov8_head h = net_yolov8(&s, 1);
    const cr_truth truth = truth_of();
    const cr_yolov8_options o = cr_yolov8_options_default();
    for (int way = 0; way < 2; way++) {
        cr_yolov8_job j = {&h, &truth, &o};
        h.level[0].longest = way ? 25 : 0; /* one of the three is shorter */
        if (cr_yolov8_assign(&j, &err) != CR_OK) fail_msg("%s", err.message);
        for (size_t i = 0; i < j.count; i++) {
            at[way][j.positive[i].level]++;
            assert_true(!way || j.positive[i].level == 1 || j.positive[i].object == 1);
        }
        cr_free(j.positive);
    }
    assert_true(at[1][0] < at[0][0] && at[1][1] > at[0][1]);
    store_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yolov8_learns),
        cmocka_unit_test(yolox_learns),
        cmocka_unit_test(levels_by_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
