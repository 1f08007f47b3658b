/* As loss_yolov8.c: assign picture by picture, then every part over its cells. */
#include "train/loss_yolox.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "train/loss_box.h"
#include "train/loss_yolox_job.h"

enum { CLASSES_MAX = 1 << 20 };

static const double LOG_SIDE_MAX = 30;

cr_yolox_options cr_yolox_options_default(void)
{
    return (cr_yolox_options){.assign = {.radius = 1.5, .largest = 10, .iou_weight = 3},
                              .box = 5,
                              .objectness = 1,
                              .classes = 1};
}

static size_t cells_of(const cr_yolox_level *l)
{
    return (size_t)l->height * (size_t)l->width;
}

static cr_status check_head(const cr_yolox_head *h, cr_error *err)
{
    CR_CHECK((h->real == CR_DT_F32 || h->real == CR_DT_F64) && h->pictures >= 1 &&
                 h->level_count >= 1 && h->level_count <= CR_LOSS_LEVELS && h->classes >= 1 &&
                 h->classes <= CLASSES_MAX,
             err, CR_ERR_ARGUMENT, "YOLOX loss: %d pictures, %d levels, %d classes make no head",
             h->pictures, h->level_count, h->classes);
    for (int i = 0; i < h->level_count; i++) {
        const cr_yolox_level *l = &h->level[i];
        CR_CHECK(l->height >= 1 && l->width >= 1 && l->stride >= 1 && l->box.value &&
                     l->objectness.value && l->classes.value,
                 err, CR_ERR_ARGUMENT, "YOLOX loss: level %d lacks a branch or has no cells", i);
    }
    return CR_OK;
}

static void clear(const cr_yolox_head *h)
{
    for (int i = 0; i < h->level_count; i++) {
        const cr_yolox_level *l = &h->level[i];
        const size_t n = (size_t)h->pictures, cells = cells_of(l);
        cr_raw_clear(&l->box, h->real, n, 4, cells);
        cr_raw_clear(&l->objectness, h->real, n, 1, cells);
        cr_raw_clear(&l->classes, h->real, n, (size_t)h->classes, cells);
    }
}

static const char *find_broken(const cr_yolox_head *h)
{
    for (int i = 0; i < h->level_count; i++) {
        const cr_yolox_level *l = &h->level[i];
        const size_t n = (size_t)h->pictures, cells = cells_of(l);
        if (!cr_raw_finite(&l->box, h->real, n, 4, cells)) return "boxes";
        if (!cr_raw_finite(&l->objectness, h->real, n, 1, cells)) return "objectness";
        if (!cr_raw_finite(&l->classes, h->real, n, (size_t)h->classes, cells)) return "classes";
    }
    return NULL;
}

/* ---- assignment ------------------------------------------------------------------------------ */

typedef struct grid {
    const cr_yolox_job *j;
    int picture;
    size_t count, first[CR_LOSS_LEVELS + 1];
    double (*centre)[2], (*box)[4], *stride;
} grid;

static int level_of(const grid *g, size_t cell)
{
    int l = 0;
    while (cell >= g->first[l + 1]) l++;
    return l;
}

/* In strides. slope: d side / d raw of width and height. */
static void decode(const cr_yolox_head *h, const cr_yolox_level *l, size_t picture, size_t cell,
                   double box[4], double side[2])
{
    double raw[4];
    for (int k = 0; k < 4; k++)
        raw[k] = cr_raw_get(&l->box, h->real, cr_raw_at(&l->box, picture, (size_t)k, cell));
    const double x = raw[0] + (double)(cell % (size_t)l->width);
    const double y = raw[1] + (double)(cell / (size_t)l->width);
    side[0] = exp(fmin(raw[2], LOG_SIDE_MAX));
    side[1] = exp(fmin(raw[3], LOG_SIDE_MAX));
    box[0] = x - side[0] / 2;
    box[1] = y - side[1] / 2;
    box[2] = x + side[0] / 2;
    box[3] = y + side[1] / 2;
}

static void decode_cell(void *ctx, size_t at, int worker)
{
    const grid *g = ctx;
    const cr_yolox_head *h = g->j->head;
    const int i = level_of(g, at);
    const cr_yolox_level *l = &h->level[i];
    const size_t cell = at - g->first[i];
    double side[2];
    (void)worker;
    decode(h, l, (size_t)g->picture, cell, g->box[at], side);
    for (int k = 0; k < 4; k++) g->box[at][k] *= l->stride;
    g->centre[at][0] = ((double)(cell % (size_t)l->width) + .5) * l->stride;
    g->centre[at][1] = ((double)(cell / (size_t)l->width) + .5) * l->stride;
    g->stride[at] = l->stride;
}

static double score_of(const void *ctx, size_t at, int class_id)
{
    const grid *g = ctx;
    const cr_yolox_head *h = g->j->head;
    const int i = level_of(g, at);
    const cr_yolox_level *l = &h->level[i];
    const size_t p = (size_t)g->picture, cell = at - g->first[i];
    return cr_sigmoid(cr_raw_get(&l->classes, h->real,
                                 cr_raw_at(&l->classes, p, (size_t)class_id, cell))) *
           cr_sigmoid(cr_raw_get(&l->objectness, h->real, cr_raw_at(&l->objectness, p, 0, cell)));
}

static bool is_usable(const cr_truth *t, size_t i, int classes)
{
    const double *b = t->box[i];
    for (int k = 0; k < 4; k++)
        if (!isfinite(b[k])) return false;
    return t->class_id[i] >= 0 && t->class_id[i] < classes && b[2] > b[0] && b[3] > b[1];
}

static cr_status assign_picture(cr_yolox_job *j, grid *g, cr_error *err)
{
    const cr_truth *truth = &j->truth[g->picture];
    cr_simota_match *match = NULL;
    size_t n = 0;
    if (!truth->count) return CR_OK;
    bool *usable = cr_calloc(truth->count, sizeof *usable);
    if (!usable) return CR_NOMEM(err);
    for (size_t i = 0; i < truth->count; i++) usable[i] = is_usable(truth, i, j->head->classes);
    cr_pool_run(j->pool, g->count, decode_cell, g);
    const cr_simota_cells cells = {g->count,        (const double(*)[2])g->centre,
                                   g->stride,       (const double(*)[4])g->box,
                                   score_of,        g,
                                   j->head->classes};
    cr_status st =
        cr_assign_simota(&j->options->assign, &cells, truth, usable, j->pool, &match, &n, err);
    for (size_t i = 0; st == CR_OK && i < n; i++) {
        const int l = level_of(g, match[i].cell);
        if (cr_grow((void **)&j->positive, &j->cap, j->count, sizeof *j->positive))
            j->positive[j->count++] = (cr_yolox_positive){
                g->picture, l, match[i].cell - g->first[l], match[i].object, match[i].iou};
        else
            st = CR_NOMEM(err);
    }
    cr_free(match);
    cr_free(usable);
    return st;
}

static cr_status assign_all(cr_yolox_job *j, cr_error *err)
{
    grid g = {j};
    for (int l = 0; l < j->head->level_count; l++)
        g.first[l + 1] = g.first[l] + cells_of(&j->head->level[l]);
    g.count = g.first[j->head->level_count];
    g.centre = cr_calloc(g.count, sizeof *g.centre);
    g.box = cr_calloc(g.count, sizeof *g.box);
    g.stride = cr_calloc(g.count, sizeof *g.stride);
    cr_status st = g.centre && g.box && g.stride ? CR_OK : CR_NOMEM(err);
    for (; st == CR_OK && g.picture < j->head->pictures; g.picture++)
        st = assign_picture(j, &g, err);
    cr_free(g.centre);
    cr_free(g.box);
    cr_free(g.stride);
    return st;
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* BCE of one logit; writes its gradient. */
static double bce(const cr_yolox_head *h, const cr_raw *r, size_t at, double target, double weight)
{
    const double x = cr_raw_get(r, h->real, at);
    if (r->grad) cr_raw_put(r, h->real, at, weight * (cr_sigmoid(x) - target));
    return weight * (cr_softplus(x) - target * x);
}

static void objectness_loss(const cr_yolox_job *j, double weight, cr_loss_parts *parts)
{
    const cr_yolox_head *h = j->head;
    const cr_yolox_positive *next = j->positive,
                            *end = j->positive + j->count; /* by picture, level, cell */
    for (int p = 0; p < h->pictures; p++)
        for (int i = 0; i < h->level_count; i++)
            for (size_t cell = 0; cell < cells_of(&h->level[i]); cell++) {
                const cr_raw *r = &h->level[i].objectness;
                const bool is =
                    next < end && next->picture == p && next->level == i && next->cell == cell;
                next += is;
                parts->objectness += bce(h, r, cr_raw_at(r, (size_t)p, 0, cell), is, weight);
            }
}

static void class_loss(const cr_yolox_job *j, const cr_yolox_positive *p, double weight,
                       cr_loss_parts *parts)
{
    const cr_raw *r = &j->head->level[p->level].classes;
    const int right = j->truth[p->picture].class_id[p->object];
    for (int k = 0; k < j->head->classes; k++)
        parts->classes += bce(j->head, r, cr_raw_at(r, (size_t)p->picture, (size_t)k, p->cell),
                              k == right ? p->iou : 0, weight);
}

/* Derivative by a raw log side: nothing beyond the largest one. */
static double side_slope(double raw, double side)
{
    return raw < LOG_SIDE_MAX ? side : 0;
}

static void box_loss(const cr_yolox_job *j, const cr_yolox_positive *p, double weight, double l1,
                     cr_loss_parts *parts)
{
    const cr_yolox_head *h = j->head;
    const cr_yolox_level *l = &h->level[p->level];
    const double *truth = j->truth[p->picture].box[p->object];
    double box[4], target[4], side[2], d[4], g[4];
    for (int k = 0; k < 4; k++) target[k] = truth[k] / l->stride;
    decode(h, l, (size_t)p->picture, p->cell, box, side);
    const double iou = cr_box_iou(box, target, d);
    const double corner[2] = {(double)(p->cell % (size_t)l->width),
                              (double)(p->cell / (size_t)l->width)};
    parts->box += weight * (1 - iou * iou);
    for (int k = 0; k < 2; k++) {
        g[k] = -2 * weight * iou * (d[k] + d[k + 2]);
        g[k + 2] = -2 * weight * iou * (d[k + 2] - d[k]) / 2;
    }
    for (int k = 0; k < 4; k++) {
        const size_t at = cr_raw_at(&l->box, (size_t)p->picture, (size_t)k, p->cell);
        const double raw = cr_raw_get(&l->box, h->real, at);
        const double wanted = k < 2 ? (target[k] + target[k + 2]) / 2 - corner[k]
                                    : log(target[k] - target[k - 2] + 1e-8);
        if (k >= 2) g[k] *= side_slope(raw, side[k - 2]);
        parts->offsets += l1 * fabs(raw - wanted);
        g[k] += l1 * ((raw > wanted) - (raw < wanted));
        if (l->box.grad) cr_raw_put(&l->box, h->real, at, g[k]);
    }
}

cr_status cr_yolox_assign(cr_yolox_job *j, cr_error *err)
{
    CR_TRY(check_head(j->head, err));
    j->broken = find_broken(j->head);
    return j->broken ? CR_OK : assign_all(j, err);
}

void cr_yolox_add_up(const cr_yolox_job *j, cr_loss_parts *parts)
{
    const cr_yolox_options *o = j->options;
    *parts = (cr_loss_parts){.broken = j->broken, .positives = j->count};
    clear(j->head);
    if (j->broken) {
        parts->total = NAN;
        return;
    }
    const double n = 1 / (o->positives > 0 ? o->positives : fmax((double)j->count, 1));
    objectness_loss(j, o->objectness * n, parts);
    for (size_t i = 0; i < j->count; i++) {
        class_loss(j, &j->positive[i], o->classes * n, parts);
        box_loss(j, &j->positive[i], o->box * n, o->offsets * n, parts);
        parts->score_sum += j->positive[i].iou;
    }
    parts->total = parts->box + parts->objectness + parts->classes + parts->offsets;
}

cr_status cr_loss_yolox(const cr_yolox_head *head, const cr_truth *truth,
                        const cr_yolox_options *options, cr_pool *pool, cr_loss_parts *parts,
                        cr_error *err)
{
    cr_yolox_job j = {head, truth, options, pool};
    memset(parts, 0, sizeof *parts);
    const cr_status st = cr_yolox_assign(&j, err);
    if (st == CR_OK) cr_yolox_add_up(&j, parts);
    cr_free(j.positive);
    return st;
}
