/* Losses: derivatives against finite differences, assigners against a table of all pairs, and every
 * kind of truth and of logit that training meets. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "train/loss_box.h"
#include "train/loss_classify.h"
#include "train/loss_yolov8_job.h"
#include "train/loss_yolox_job.h"
#include "unit/loss_nets.h"

/* Central differences with a step of 1e-5 in float64 are off by some 1e-10 of rounding and the
 * third derivative times 1e-11; the largest seen is 3e-9. Masks keep their slopes in float32. */
static const double STEP = 1e-5, NEAR = 1e-7, PI = 3.14159265358979323846;

static double apart(double a, double b)
{
    return fabs(a - b) / fmax(1, fmax(fabs(a), fabs(b)));
}

/* ---- overlaps -------------------------------------------------------------------------------- */

static double random_box(cr_rng *rng, double b[4])
{
    b[0] = cr_rng_range(rng, 0, 5);
    b[1] = cr_rng_range(rng, 0, 5);
    b[2] = b[0] + cr_rng_range(rng, .1, 6);
    b[3] = b[1] + cr_rng_range(rng, .1, 6);
    return (b[2] - b[0]) * (b[3] - b[1]);
}

/* CIoU with a given alpha, written from the paper. */
static double ciou_of(const double a[4], const double b[4], double alpha)
{
    const double dx = (a[0] + a[2] - b[0] - b[2]) / 2, dy = (a[1] + a[3] - b[1] - b[3]) / 2;
    const double cw = fmax(a[2], b[2]) - fmin(a[0], b[0]), ch = fmax(a[3], b[3]) - fmin(a[1], b[1]);
    const double angle = atan((a[2] - a[0]) / (a[3] - a[1])) - atan((b[2] - b[0]) / (b[3] - b[1]));
    return cr_box_iou(a, b, NULL) - (dx * dx + dy * dy) / (cw * cw + ch * ch) -
           alpha * 4 / (PI * PI) * angle * angle;
}

static double alpha_of(const double a[4], const double b[4])
{
    const double angle = atan((a[2] - a[0]) / (a[3] - a[1])) - atan((b[2] - b[0]) / (b[3] - b[1]));
    const double v = 4 / (PI * PI) * angle * angle;
    return v / (1 - cr_box_iou(a, b, NULL) + v);
}

static void overlaps(void **state)
{
    static const double unit[4] = {0, 0, 2, 2}, moved[4] = {1, 0, 3, 2}, off[4] = {5, 5, 6, 6};
    cr_rng rng;
    double g[4];
    (void)state;
    assert_true(apart(cr_box_iou(unit, moved, NULL), 1. / 3) < 1e-7);
    assert_true(cr_box_iou(unit, off, g) == 0 && g[0] == 0 && g[3] == 0);
    /* one seventh of overlap lost to the distance: 1 / 3 - 1 / 13 */
    assert_true(apart(cr_box_ciou(unit, moved, NULL), 1. / 3 - 1. / 13) < 1e-6);
    cr_rng_seed(&rng, 1);
    for (int i = 0; i < 500; i++) {
        double a[4], b[4], d[4], e[4];
        random_box(&rng, a);
        random_box(&rng, b);
        const double alpha = alpha_of(a, b);
        /* the small numbers that keep flat boxes finite: 1e-7 */
        assert_true(apart(cr_box_ciou(a, b, d), ciou_of(a, b, alpha)) < 1e-5);
        cr_box_iou(a, b, e);
        for (int k = 0; k < 4; k++) {
            double lo[4], hi[4];
            memcpy(lo, a, sizeof lo);
            memcpy(hi, a, sizeof hi);
            lo[k] -= STEP;
            hi[k] += STEP;
            assert_true(apart((ciou_of(hi, b, alpha) - ciou_of(lo, b, alpha)) / (2 * STEP), d[k]) <
                        1e-5);
            assert_true(apart((cr_box_iou(hi, b, NULL) - cr_box_iou(lo, b, NULL)) / (2 * STEP),
                              e[k]) < NEAR);
        }
    }
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* Differences of the total by each number of the store (some are skipped: `every`), positives as
 * they are. */
static void differ(net_store *s, double (*total)(void *job), void *job, size_t every, double near)
{
    size_t seen = 0;
    double *grad = calloc(s->used, sizeof *grad);
    total(job);
    memcpy(grad, s->grad, s->used * sizeof *grad);
    for (size_t i = 0; i < s->used; i += every) {
        const double x = s->value[i];
        s->value[i] = x + STEP;
        const double hi = total(job);
        s->value[i] = x - STEP;
        const double lo = total(job);
        s->value[i] = x;
        const double slope = (hi - lo) / (2 * STEP);
        if (apart(slope, grad[i]) > near)
            fail_msg("number %zu: difference %.10g, gradient %.10g", i, slope, grad[i]);
        seen += fabs(slope) > 1e-3;
    }
    assert_true(seen > 20);
    free(grad);
}

static double yolov8_total(void *job)
{
    cr_loss_parts parts;
    if (cr_yolov8_add_up(job, &parts, NULL) != CR_OK) fail_msg("no loss");
    return parts.total;
}

static double yolox_total(void *job)
{
    cr_loss_parts parts;
    cr_yolox_add_up(job, &parts);
    return parts.total;
}

/* CIoU holds its alpha fixed, which a difference does not; it has its own test above. */
static void yolov8_gradient(void **state)
{
    net_store s;
    net_truth t[2];
    cr_error err;
    (void)state;
    store_open(&s, CR_DT_F64, false, 1);
    const cr_yolov8_head h = net_yolov8(&s, 2);
    const cr_truth truth[2] = {net_objects(&t[0], 3, 1), net_objects(&t[1], 1, 2)};
    cr_yolov8_options o = cr_yolov8_options_default();
    cr_yolov8_job j = {&h, truth, &o};
    if (cr_yolov8_assign(&j, &err) != CR_OK) fail_msg("%s", err.message);
    assert_true(j.count > 10);
    o.box = 0; /* and masks: next test */
    differ(&s, yolov8_total, &j, 7, NEAR);
    cr_free(j.positive);
    store_close(&s);
}

/* Boxes that have the truth's aspect ratio have no v, so differences hold for CIoU as well. */
static void yolov8_box_and_mask_gradient(void **state)
{
    net_store s;
    net_truth t;
    cr_error err;
    (void)state;
    store_open(&s, CR_DT_F64, false, 3);
    const cr_yolov8_head h = net_yolov8(&s, 1);
    const cr_truth truth = net_objects(&t, 4, 3);
    cr_yolov8_options o = cr_yolov8_options_default();
    cr_yolov8_job j = {&h, &truth, &o};
    if (cr_yolov8_assign(&j, &err) != CR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < j.count; i++) { /* the same distance to all sides, of a square object */
        const cr_yolov8_positive *p = &j.positive[i];
        const cr_raw *r = &h.level[p->level].box;
        for (size_t k = 8; k < 32; k++)
            ((double *)(uintptr_t)r->value)[cr_raw_at(r, 0, k, p->cell)] =
                cr_raw_get(r, CR_DT_F64, cr_raw_at(r, 0, k % 8, p->cell));
        t.box[p->object][2] = t.box[p->object][0] + 20;
        t.box[p->object][3] = t.box[p->object][1] + 20;
    }
    o.classes = o.distribution = o.keypoints = o.visible = 0;
    differ(&s, yolov8_total, &j, 5, 1e-5); /* 1e-6: slopes of pixels are float32 */
    cr_free(j.positive);
    store_close(&s);
}

static void yolox_gradient(void **state)
{
    net_store s;
    net_truth t[2];
    cr_error err;
    (void)state;
    store_open(&s, CR_DT_F64, false, 2);
    const cr_yolox_head h = net_yolox(&s, 2);
    const cr_truth truth[2] = {net_objects(&t[0], 3, 4), net_objects(&t[1], 2, 5)};
    cr_yolox_options o = cr_yolox_options_default();
    cr_yolox_job j = {&h, truth, &o};
    o.offsets = 1;
    if (cr_yolox_assign(&j, &err) != CR_OK) fail_msg("%s", err.message);
    assert_true(j.count >= 5);
    differ(&s, yolox_total, &j, 1, NEAR);
    cr_free(j.positive);
    store_close(&s);
}

typedef struct softmax_job {
    cr_raw logits;
    int class_id[3];
} softmax_job;

static double softmax_total(void *job)
{
    softmax_job *j = job;
    cr_loss_parts parts;
    if (cr_loss_classify(CR_DT_F64, &j->logits, 3, 40, j->class_id, .1, &parts, NULL) != CR_OK)
        fail_msg("no loss");
    return parts.total;
}

static void classify(void **state)
{
    net_store s;
    cr_loss_parts parts;
    (void)state;
    store_open(&s, CR_DT_F64, false, 5);
    softmax_job j = {store_branch(&s, 3, 40, 1, -2, 2), {0, 7, 39}};
    differ(&s, softmax_total, &j, 1, NEAR);
    /* two classes, logits 0 and log 3: probabilities 1/4 and 3/4 */
    const float two[2] = {0, logf(3)};
    float g[2];
    const cr_raw r = cr_raw_planes(CR_DT_F32, two, g, 2, 1, 0);
    const int right = 1, unknown = 2;
    assert_int_equal(cr_loss_classify(CR_DT_F32, &r, 1, 2, &right, 0, &parts, NULL), CR_OK);
    assert_true(apart(parts.total, log(4. / 3)) < 1e-7 && fabsf(g[0] - .25f) < 1e-6f);
    assert_int_equal(parts.positives, 1);
    assert_int_equal(cr_loss_classify(CR_DT_F32, &r, 1, 2, &unknown, 0, &parts, NULL), CR_OK);
    assert_true(parts.total == 0 && g[0] == 0);
    assert_int_equal(cr_loss_classify(CR_DT_F32, &r, 1, 2, &right, 2, &parts, NULL),
                     CR_ERR_ARGUMENT);
    store_close(&s);
}

/* ---- assigners against a table --------------------------------------------------------------- */

enum { CELLS = 80, OBJECTS = 6 };

typedef struct table {
    double centre[CELLS][2], box[CELLS][4], stride[CELLS], score[CELLS][3];
    net_truth objects;
    cr_truth truth;
} table;

static double table_score(const void *ctx, size_t cell, int class_id)
{
    return ((const table *)ctx)->score[cell][class_id];
}

static void fill(table *t, uint64_t seed)
{
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    t->truth = net_objects(&t->objects, 1 + seed % OBJECTS, seed);
    for (size_t i = 0; i < CELLS; i++) {
        const size_t fine = i < 64, c = fine ? i : i - 64, side = fine ? 8 : 4;
        t->stride[i] = fine ? 8 : 16;
        t->centre[i][0] = ((double)(c % side) + .5) * t->stride[i];
        t->centre[i][1] = ((double)(c / side) + .5) * t->stride[i];
        for (int k = 0; k < 4; k++)
            t->box[i][k] = t->centre[i][k % 2] + (k < 2 ? -1 : 1) * cr_rng_range(&rng, 1, 30);
        for (int k = 0; k < 3; k++) t->score[i][k] = cr_rng_unit(&rng);
    }
}

static bool lies_inside(const table *t, size_t object, size_t cell, double smallest)
{
    for (int k = 0; k < 2; k++) {
        const double *b = t->truth.box[object];
        const double middle = (b[k] + b[k + 2]) / 2, half = fmax(b[k + 2] - b[k], smallest) / 2;
        if (fabs(t->centre[cell][k] - middle) >= half) return false;
    }
    return true;
}

/* Which object a cell learns by the definition, -1: none. */
static int tal_owner(const table *t, size_t cell, double metric[OBJECTS][CELLS],
                     double overlap[OBJECTS][CELLS])
{
    int owners = 0, owner = -1, best = -1;
    for (size_t o = 0; o < t->truth.count; o++) {
        int above = 0;
        for (size_t c = 0; c < CELLS; c++) above += metric[o][c] > metric[o][cell];
        if (metric[o][cell] > 0 && above < 10) {
            owners++;
            owner = (int)o;
        }
        if (overlap[o][cell] > 0 && (best < 0 || overlap[o][cell] > overlap[best][cell]))
            best = (int)o;
    }
    return owners > 1 ? best : owner;
}

static void tal(void **state)
{
    static double metric[OBJECTS][CELLS], overlap[OBJECTS][CELLS];
    static table t;
    const cr_tal_options options = {10, .5, 6, 16};
    double longest[CELLS];
    size_t shared = 0, barred = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        cr_tal_match *match;
        size_t count, n = 0;
        const bool bounded = seed & 1; /* the finer level for objects of at most 24 pixels */
        fill(&t, seed);
        for (size_t c = 0; c < CELLS; c++) longest[c] = c < 64 ? 24 : 0;
        for (size_t o = 0; o < t.truth.count; o++)
            for (size_t c = 0; c < CELLS; c++) {
                const double *b = t.truth.box[o];
                const bool too_long = bounded && c < 64 && fmax(b[2] - b[0], b[3] - b[1]) > 24;
                const bool in = lies_inside(&t, o, c, 16) && !too_long;
                barred += too_long;
                overlap[o][c] = in ? fmax(0, cr_box_ciou(t.box[c], t.truth.box[o], NULL)) : 0;
                metric[o][c] = sqrt(t.score[c][t.truth.class_id[o]]) * pow(overlap[o][c], 6);
            }
        const cr_tal_cells cells = {CELLS, (const double(*)[2])t.centre, (const double(*)[4])t.box,
                                    table_score, &t, bounded ? longest : NULL};
        assert_int_equal(
            cr_assign_tal(&options, &cells, &t.truth, NULL, NULL, &match, &count, NULL), CR_OK);
        double top[OBJECTS][2] = {{0}};
        for (size_t c = 0; c < CELLS; c++) {
            const int o = tal_owner(&t, c, metric, overlap);
            if (o < 0) continue;
            assert_true(n < count && match[n].cell == c && match[n].object == (uint32_t)o);
            top[o][0] = fmax(top[o][0], metric[o][c]);
            top[o][1] = fmax(top[o][1], overlap[o][c]);
            n++;
        }
        assert_int_equal(n, count);
        for (size_t i = 0; i < n; i++) {
            const uint32_t o = match[i].object;
            const double want = metric[o][match[i].cell] * top[o][1] / (top[o][0] + 1e-9);
            assert_true(apart(match[i].score, want) < 1e-12);
        }
        shared += n;
        cr_free(match);
    }
    assert_true(shared > 400 && barred > 500);
}

static void simota(void **state)
{
    static double cost[OBJECTS][CELLS], iou[OBJECTS][CELLS];
    static table t;
    const cr_simota_options options = {1.5, 10, 3};
    size_t all = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        cr_simota_match *match;
        size_t count, n = 0;
        bool near[CELLS] = {false};
        int share[OBJECTS];
        fill(&t, seed);
        for (size_t o = 0; o < t.truth.count; o++)
            for (size_t c = 0; c < CELLS; c++) {
                const double *b = t.truth.box[o], reach = 1.5 * t.stride[c];
                const bool is = fabs((b[0] + b[2]) / 2 - t.centre[c][0]) < reach &&
                                fabs((b[1] + b[3]) / 2 - t.centre[c][1]) < reach;
                iou[o][c] = cr_box_iou(t.box[c], b, NULL);
                cost[o][c] = is ? -3 * log(iou[o][c] + 1e-8) : INFINITY;
                for (int k = 0; k < 3; k++) {
                    const double p = sqrt(t.score[c][k]);
                    cost[o][c] -= log(k == t.truth.class_id[o] ? p : 1 - p);
                }
                near[c] |= is;
            }
        for (size_t o = 0; o < t.truth.count; o++) {
            double sum = 0;
            for (size_t c = 0; c < CELLS; c++) {
                int above = 0;
                for (size_t d = 0; d < CELLS; d++) above += near[d] && iou[o][d] > iou[o][c];
                if (near[c] && above < 10) sum += iou[o][c];
            }
            share[o] = sum < 1 ? 1 : (int)sum;
        }
        const cr_simota_cells cells = {CELLS,
                                       (const double(*)[2])t.centre,
                                       t.stride,
                                       (const double(*)[4])t.box,
                                       table_score,
                                       &t,
                                       3};
        assert_int_equal(
            cr_assign_simota(&options, &cells, &t.truth, NULL, NULL, &match, &count, NULL), CR_OK);
        for (size_t c = 0; c < CELLS; c++) {
            int owners = 0, owner = -1, best = 0;
            for (size_t o = 0; o < t.truth.count; o++) {
                int below = 0;
                for (size_t d = 0; d < CELLS; d++) below += cost[o][d] < cost[o][c];
                if (isfinite(cost[o][c]) && below < share[o]) {
                    owners++;
                    owner = (int)o;
                }
                if (cost[o][c] < cost[best][c]) best = (int)o;
            }
            if (!owners) continue;
            if (owners > 1) owner = best;
            assert_true(n < count && match[n].cell == c && match[n].object == (uint32_t)owner);
            assert_true(match[n].iou == iou[owner][c]);
            n++;
        }
        assert_int_equal(n, count);
        all += n;
        cr_free(match);
    }
    assert_true(all > 100);
}

/* ---- what training meets --------------------------------------------------------------------- */

/* The same numbers as float32, as channels-last views and with three threads: the same loss. */
static void layouts_types_threads(void **state)
{
    net_truth t[2];
    cr_loss_parts want = {0}, got;
    cr_pool *pool = NULL;
    double *first = NULL;
    (void)state;
    const cr_truth truth[2] = {net_objects(&t[0], 5, 1), net_objects(&t[1], 4, 2)};
    const cr_yolov8_options o = cr_yolov8_options_default();
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    for (int way = 0; way < 4; way++) {
        net_store s;
        store_open(&s, way == 1 ? CR_DT_F32 : CR_DT_F64, way == 2, 9);
        const cr_yolov8_head h = net_yolov8(&s, 2);
        assert_int_equal(cr_loss_yolov8(&h, truth, &o, way == 3 ? pool : NULL, &got, NULL), CR_OK);
        if (way == 0) {
            want = got;
            first = calloc(s.used, sizeof *first);
            memcpy(first, s.grad, s.used * sizeof *first);
        }
        if (way == 1)
            for (size_t i = 0; i < s.used; i++)
                assert_true(fabs((double)s.grad32[i] - first[i]) <= 1e-7 * fmax(1, fabs(first[i])));
        if (way == 2) { /* boxes of level 0 */
            const cr_raw *r = &h.level[0].box;
            for (size_t c = 0; c < 32; c++)
                for (size_t i = 0; i < 64; i++)
                    assert_true(((double *)r->grad)[cr_raw_at(r, 1, c, i)] ==
                                first[64 * 32 + c * 64 + i]);
        }
        if (way == 3) assert_memory_equal(s.grad, first, s.used * sizeof *first);
        assert_memory_equal(&got, &want, sizeof got);
        store_close(&s);
    }
    free(first);
    cr_pool_free(&pool);
}

static void run_yolov8(const cr_truth *truth, cr_loss_parts *parts, double *most)
{
    net_store s;
    store_open(&s, CR_DT_F32, false, 11);
    const cr_yolov8_head h = net_yolov8(&s, 1);
    const cr_yolov8_options o = cr_yolov8_options_default();
    assert_int_equal(cr_loss_yolov8(&h, truth, &o, NULL, parts, NULL), CR_OK);
    assert_true(isfinite(parts->total));
    *most = 0;
    for (size_t i = 0; i < s.used; i++) {
        assert_true(isfinite(s.grad32[i]));
        *most = fmax(*most, fabs((double)s.grad32[i]));
    }
    store_close(&s);
}

static void run_yolox(const cr_truth *truth, cr_loss_parts *parts)
{
    net_store s;
    store_open(&s, CR_DT_F32, false, 11);
    const cr_yolox_head h = net_yolox(&s, 1);
    const cr_yolox_options o = cr_yolox_options_default();
    assert_int_equal(cr_loss_yolox(&h, truth, &o, NULL, parts, NULL), CR_OK);
    assert_true(isfinite(parts->total));
    for (size_t i = 0; i < s.used; i++) assert_true(isfinite(s.grad32[i]) && s.grad32[i] != 7);
    store_close(&s);
}

static void strange_truth(void **state)
{
    static const int class_id[8] = {0, 1, 2, 3, -1, 0, 0, 0};
    static const double box[8][4] = {
        {20, 20, 21, 21},                         /* one pixel */
        {100, 100, 120, 120},                     /* outside */
        {-1e6, -1e6, 1e6, 1e6}, {10, 10, 30, 30}, /* classes that the model lacks */
        {10, 10, 30, 30},       {30, 30, 30, 40}, /* no width */
        {50, 50, 40, 40},                         /* inside out */
        {0, 0, NAN, 10}};
    cr_loss_parts parts;
    double most;
    (void)state;
    const cr_truth none = {0};
    run_yolov8(&none, &parts, &most);
    assert_true(parts.positives == 0 && parts.total == parts.classes && most > 0);
    run_yolox(&none, &parts);
    assert_true(parts.positives == 0 && parts.total == parts.objectness);
    for (size_t i = 0; i < 8; i++) {
        const cr_truth one = {1, class_id + i, box + i, NULL, NULL};
        run_yolov8(&one, &parts, &most);
        if (i >= 3 || i == 1) assert_int_equal(parts.positives, 0);
        run_yolox(&one, &parts);
        if (i >= 3 || i == 1) assert_int_equal(parts.positives, 0);
    }
    const cr_truth all = {8, class_id, box, NULL, NULL};
    run_yolov8(&all, &parts, &most);
    assert_true(parts.positives > 0);
    run_yolox(&all, &parts);
}

static void thousands_of_objects(void **state)
{
    enum { MANY = 4000 };
    static int class_id[MANY];
    static double box[MANY][4];
    cr_loss_parts parts;
    cr_rng rng;
    double most;
    (void)state;
    cr_rng_seed(&rng, 4);
    for (int i = 0; i < MANY; i++) {
        random_box(&rng, box[i]);
        for (int k = 0; k < 4; k++) box[i][k] *= 64. / 11;
        class_id[i] = (int)cr_rng_below(&rng, 3);
    }
    const cr_truth many = {MANY, class_id, (const double(*)[4])box, NULL, NULL};
    run_yolov8(&many, &parts, &most);
    assert_true(parts.positives > 40 && parts.positives <= 80);
    run_yolox(&many, &parts);
    assert_true(parts.positives > 40 && parts.positives <= 80);
}

/* A logit that is not finite: total NaN, the branch named, no gradient. Huge ones are fine. */
static void broken_logits(void **state)
{
    static const char *const names[] = {"boxes", "classes", "mask coefficients", "keypoints",
                                        "mask prototypes"};
    net_truth t;
    cr_loss_parts parts;
    (void)state;
    const cr_truth truth = net_objects(&t, 3, 1);
    const cr_yolov8_options o = cr_yolov8_options_default();
    for (int way = 0; way < 6; way++) {
        net_store s;
        store_open(&s, CR_DT_F32, way % 2, 3);
        const cr_yolov8_head h = net_yolov8(&s, 1);
        const cr_raw *const branch[] = {&h.level[1].box, &h.level[0].classes,
                                        &h.level[1].coefficients, &h.level[0].keypoints,
                                        &h.prototype};
        if (way < 5)
            ((float *)(uintptr_t)branch[way]->value)[13] = way % 2 ? NAN : -INFINITY;
        else
            for (size_t i = 0; i < s.used; i++) s.value32[i] *= 1e4f;
        assert_int_equal(cr_loss_yolov8(&h, &truth, &o, NULL, &parts, NULL), CR_OK);
        if (way < 5) {
            assert_true(isnan(parts.total));
            assert_string_equal(parts.broken, names[way]);
        } else
            assert_true(isfinite(parts.total) && !parts.broken);
        for (size_t i = 0; i < s.used; i++)
            assert_true(way < 5 ? s.grad32[i] == 0 : isfinite(s.grad32[i]));
        store_close(&s);
    }
    for (int way = 0; way < 4; way++) {
        net_store s;
        store_open(&s, CR_DT_F32, false, 3);
        const cr_yolox_head h = net_yolox(&s, 1);
        const cr_yolox_options x = cr_yolox_options_default();
        const cr_raw *const branch[] = {&h.level[1].box, &h.level[0].objectness,
                                        &h.level[1].classes};
        static const char *const parts_of[] = {"boxes", "objectness", "classes"};
        if (way < 3)
            ((float *)(uintptr_t)branch[way]->value)[7] = NAN;
        else
            for (size_t i = 0; i < s.used; i++) s.value32[i] *= 1e4f;
        assert_int_equal(cr_loss_yolox(&h, &truth, &x, NULL, &parts, NULL), CR_OK);
        if (way < 3) {
            assert_true(isnan(parts.total));
            assert_string_equal(parts.broken, parts_of[way]);
        } else
            assert_true(isfinite(parts.total));
        for (size_t i = 0; i < s.used; i++)
            assert_true(way < 3 ? s.grad32[i] == 0 : isfinite(s.grad32[i]));
        store_close(&s);
    }
}

/* Two pictures at once, or one after the other with the sum of both: the same gradient. */
static void picture_by_picture(void **state)
{
    net_store s;
    net_truth t[2];
    cr_loss_parts both, one;
    (void)state;
    store_open(&s, CR_DT_F64, false, 8);
    cr_yolov8_head h = net_yolov8(&s, 2);
    h.prototypes = h.keypoints = 0; /* their means are over the cells of a call */
    const cr_truth truth[2] = {net_objects(&t[0], 4, 3), net_objects(&t[1], 2, 4)};
    cr_yolov8_options o = cr_yolov8_options_default();
    assert_int_equal(cr_loss_yolov8(&h, truth, &o, NULL, &both, NULL), CR_OK);
    const cr_raw *r = &h.level[0].box;
    double want[2][32 * 64], total = 0;
    for (int p = 0; p < 2; p++) memcpy(want[p], (double *)r->grad + p * 32 * 64, sizeof want[p]);
    o.score_sum = both.score_sum;
    for (int p = 0; p < 2; p++) {
        cr_yolov8_head single = h;
        single.pictures = 1;
        for (int l = 0; l < 2; l++)
            for (int b = 0; b < 2; b++) {
                cr_raw *view = b ? &single.level[l].classes : &single.level[l].box;
                view->value = (const double *)view->value + p * view->picture;
                view->grad = (double *)view->grad + p * view->picture;
            }
        assert_int_equal(cr_loss_yolov8(&single, truth + p, &o, NULL, &one, NULL), CR_OK);
        total += one.total;
        for (int i = 0; i < 32 * 64; i++)
            assert_true(apart(2 * ((double *)single.level[0].box.grad)[i], want[p][i]) < 1e-12);
    }
    assert_true(apart(2 * total, both.total) < 1e-12);
    store_close(&s);
}

static void bad_heads(void **state)
{
    net_store s;
    cr_loss_parts parts;
    cr_error err;
    (void)state;
    store_open(&s, CR_DT_F32, false, 1);
    const cr_yolov8_head good = net_yolov8(&s, 1);
    const cr_truth none = {0};
    const cr_yolov8_options o = cr_yolov8_options_default();
    for (int way = 0; way < 6; way++) {
        cr_yolov8_head h = good;
        if (way == 0) h.real = CR_DT_U8;
        if (way == 1) h.bins = 1;
        if (way == 2) h.level[1].keypoints.value = NULL;
        if (way == 3) h.keypoint_dims = 4;
        if (way == 4) h.prototype.value = NULL;
        if (way == 5) h.level_count = 7;
        assert_int_equal(cr_loss_yolov8(&h, &none, &o, NULL, &parts, &err), CR_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "YOLOv8 loss"));
    }
    store_close(&s);
}

static void no_memory(void **state)
{
    net_store s;
    net_truth t;
    cr_loss_parts parts;
    (void)state;
    store_open(&s, CR_DT_F32, false, 1);
    const cr_truth truth = net_objects(&t, 3, 1);
    const cr_yolov8_options o = cr_yolov8_options_default();
    const cr_yolox_options x = cr_yolox_options_default();
    const cr_yolov8_head h = net_yolov8(&s, 1);
    const cr_yolox_head hx = net_yolox(&s, 1);
    for (int family = 0; family < 2; family++)
        for (long n = 0;; n++) {
            cr_alloc_fail_after(n);
            const cr_status st = family ? cr_loss_yolox(&hx, &truth, &x, NULL, &parts, NULL)
                                        : cr_loss_yolov8(&h, &truth, &o, NULL, &parts, NULL);
            cr_alloc_fail_after(-1);
            if (st == CR_OK) {
                assert_true(n > 5);
                break;
            }
            assert_int_equal(st, CR_ERR_MEMORY);
        }
    store_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlaps),
        cmocka_unit_test(yolov8_gradient),
        cmocka_unit_test(yolov8_box_and_mask_gradient),
        cmocka_unit_test(yolox_gradient),
        cmocka_unit_test(classify),
        cmocka_unit_test(tal),
        cmocka_unit_test(simota),
        cmocka_unit_test(layouts_types_threads),
        cmocka_unit_test(strange_truth),
        cmocka_unit_test(thousands_of_objects),
        cmocka_unit_test(broken_logits),
        cmocka_unit_test(picture_by_picture),
        cmocka_unit_test(bad_heads),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
