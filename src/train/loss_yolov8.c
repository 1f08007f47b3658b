/* Order of work: boxes of all cells of a picture are decoded, objects assigned, picture by picture;
 * then, with the sum of all target scores known, every part goes over its cells once, loss and
 * gradient together. Class scores are most of the numbers (80 per cell): their loss is that of "no
 * object" everywhere, softplus(x), and positives put -t x on top. */
#include "train/loss_yolov8.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "train/loss_box.h"
#include "train/loss_yolov8_job.h"

enum { BINS_MAX = 256, CLASSES_MAX = 1 << 20 };

cr_yolov8_options cr_yolov8_options_default(void)
{
    return (cr_yolov8_options){.assign = {.top = 10, .alpha = .5, .beta = 6, .smallest = -1},
                               .box = 7.5,
                               .classes = .5,
                               .distribution = 1.5,
                               .keypoints = 12,
                               .visible = 1};
}

static size_t cells_of(const cr_yolov8_level *l)
{
    return (size_t)l->height * (size_t)l->width;
}

static cr_status check_head(const cr_yolov8_head *h, cr_error *err)
{
    CR_CHECK((h->real == CR_DT_F32 || h->real == CR_DT_F64) && h->pictures >= 1 &&
                 h->level_count >= 1 && h->level_count <= CR_LOSS_LEVELS && h->classes >= 1 &&
                 h->classes <= CLASSES_MAX && h->bins >= 2 && h->bins <= BINS_MAX,
             err, CR_ERR_ARGUMENT,
             "YOLOv8 loss: %d pictures, %d levels, %d classes, %d bins make no head", h->pictures,
             h->level_count, h->classes, h->bins);
    for (int i = 0; i < h->level_count; i++) {
        const cr_yolov8_level *l = &h->level[i];
        CR_CHECK(l->height >= 1 && l->width >= 1 && l->stride >= 1 && l->box.value &&
                     l->classes.value && (!h->prototypes || l->coefficients.value) &&
                     (!h->keypoints || l->keypoints.value),
                 err, CR_ERR_ARGUMENT, "YOLOv8 loss: level %d lacks a branch or has no cells", i);
    }
    CR_CHECK(!h->prototypes || (h->prototype.value && h->mask_height >= 1 && h->mask_width >= 1 &&
                                h->input_height >= 1 && h->input_width >= 1),
             err, CR_ERR_ARGUMENT, "YOLOv8 loss: masks without prototypes or sizes");
    CR_CHECK(!h->keypoints || h->keypoint_dims == 2 || h->keypoint_dims == 3, err, CR_ERR_ARGUMENT,
             "YOLOv8 loss: keypoints of %d numbers, 2 or 3 are possible", h->keypoint_dims);
    return CR_OK;
}

/* ---- all branches ---------------------------------------------------------------------------- */

typedef void (*branch_fn)(void *ctx, const char *name, const cr_raw *r, size_t channels,
                          size_t cells);

static void each_branch(const cr_yolov8_head *h, branch_fn fn, void *ctx)
{
    for (int i = 0; i < h->level_count; i++) {
        const cr_yolov8_level *l = &h->level[i];
        const size_t n = cells_of(l);
        fn(ctx, "boxes", &l->box, 4 * (size_t)h->bins, n);
        fn(ctx, "classes", &l->classes, (size_t)h->classes, n);
        if (h->prototypes) fn(ctx, "mask coefficients", &l->coefficients, (size_t)h->prototypes, n);
        if (h->keypoints)
            fn(ctx, "keypoints", &l->keypoints, (size_t)(h->keypoints * h->keypoint_dims), n);
    }
    if (h->prototypes)
        fn(ctx, "mask prototypes", &h->prototype, (size_t)h->prototypes,
           (size_t)h->mask_height * (size_t)h->mask_width);
}

typedef struct branch_walk {
    const cr_yolov8_head *head;
    const char *broken;
} branch_walk;

static void clear_branch(void *ctx, const char *name, const cr_raw *r, size_t channels,
                         size_t cells)
{
    const branch_walk *w = ctx;
    (void)name;
    cr_raw_clear(r, w->head->real, (size_t)w->head->pictures, channels, cells);
}

static void check_branch(void *ctx, const char *name, const cr_raw *r, size_t channels,
                         size_t cells)
{
    branch_walk *w = ctx;
    if (!w->broken && !cr_raw_finite(r, w->head->real, (size_t)w->head->pictures, channels, cells))
        w->broken = name;
}

/* ---- assignment ------------------------------------------------------------------------------ */

/* softmax of one side's bins into p[bins]; gives the mean distance. */
static double side_of(const cr_yolov8_head *h, const cr_raw *box, size_t picture, size_t cell,
                      int side, double *p)
{
    double top = -INFINITY, sum = 0, mean = 0;
    for (int b = 0; b < h->bins; b++) {
        p[b] =
            cr_raw_get(box, h->real, cr_raw_at(box, picture, (size_t)(side * h->bins + b), cell));
        top = fmax(top, p[b]);
    }
    for (int b = 0; b < h->bins; b++) sum += p[b] = exp(p[b] - top);
    for (int b = 0; b < h->bins; b++) {
        p[b] /= sum;
        mean += p[b] * b;
    }
    return mean;
}

/* The cells of all levels, one behind the other. */
typedef struct grid {
    const cr_yolov8_job *job;
    int picture;
    size_t count, first[CR_LOSS_LEVELS + 1];
    double (*centre)[2], (*box)[4], *longest;
} grid;

static int level_of(const grid *g, size_t cell)
{
    int l = 0;
    while (cell >= g->first[l + 1]) l++;
    return l;
}

static void decode_row(void *ctx, size_t index, int worker)
{
    const grid *g = ctx;
    const cr_yolov8_head *h = g->job->head;
    size_t row = index;
    int l = 0;
    double p[BINS_MAX];
    (void)worker;
    for (; row >= (size_t)h->level[l].height; l++) row -= (size_t)h->level[l].height;
    const cr_yolov8_level *level = &h->level[l];
    for (int x = 0; x < level->width; x++) {
        const size_t cell = row * (size_t)level->width + (size_t)x, at = g->first[l] + cell;
        const double c[2] = {(x + .5) * level->stride, ((double)row + .5) * level->stride};
        g->centre[at][0] = c[0];
        g->centre[at][1] = c[1];
        for (int side = 0; side < 4; side++) {
            const double far =
                side_of(h, &level->box, (size_t)g->picture, cell, side, p) * level->stride;
            g->box[at][side] = side < 2 ? c[side] - far : c[side - 2] + far;
        }
    }
}

static double score_of(const void *ctx, size_t cell, int class_id)
{
    const grid *g = ctx;
    const cr_yolov8_head *h = g->job->head;
    const int l = level_of(g, cell);
    const cr_raw *r = &h->level[l].classes;
    return cr_sigmoid(cr_raw_get(
        r, h->real, cr_raw_at(r, (size_t)g->picture, (size_t)class_id, cell - g->first[l])));
}

static bool is_usable(const cr_truth *t, size_t i, int classes)
{
    const double *b = t->box[i];
    for (int k = 0; k < 4; k++)
        if (!isfinite(b[k])) return false;
    return t->class_id[i] >= 0 && t->class_id[i] < classes && b[2] > b[0] && b[3] > b[1];
}

static cr_status add_positives(cr_yolov8_job *j, const grid *g, const cr_tal_match *match, size_t n,
                               cr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const int l = level_of(g, match[i].cell);
        if (!cr_grow((void **)&j->positive, &j->cap, j->count, sizeof *j->positive))
            return CR_NOMEM(err);
        j->positive[j->count++] =
            (cr_yolov8_positive){g->picture, l, (uint32_t)(match[i].cell - g->first[l]),
                                 match[i].object, match[i].score};
    }
    return CR_OK;
}

static cr_status assign_picture(cr_yolov8_job *j, grid *g, cr_error *err)
{
    const cr_yolov8_head *h = j->head;
    const cr_truth *truth = &j->truth[g->picture];
    cr_tal_options o = j->options->assign;
    cr_tal_match *match = NULL;
    size_t n = 0, rows = 0;
    if (!truth->count) return CR_OK;
    if (o.smallest < 0) o.smallest = h->level[h->level_count > 1].stride;
    bool *usable = cr_calloc(truth->count, sizeof *usable);
    if (!usable) return CR_NOMEM(err);
    for (size_t i = 0; i < truth->count; i++) usable[i] = is_usable(truth, i, h->classes);
    for (int l = 0; l < h->level_count; l++) rows += (size_t)h->level[l].height;
    cr_pool_run(j->pool, rows, decode_row, g);
    const cr_tal_cells cells = {g->count, (const double(*)[2])g->centre, (const double(*)[4])g->box,
                                score_of, g, g->longest};
    cr_status st = cr_assign_tal(&o, &cells, truth, usable, j->pool, &match, &n, err);
    if (st == CR_OK) st = add_positives(j, g, match, n, err);
    cr_free(match);
    cr_free(usable);
    return st;
}

static cr_status assign_all(cr_yolov8_job *j, cr_error *err)
{
    const cr_yolov8_head *h = j->head;
    grid g = {j};
    for (int l = 0; l < h->level_count; l++) g.first[l + 1] = g.first[l] + cells_of(&h->level[l]);
    g.count = g.first[h->level_count];
    g.centre = cr_calloc(g.count, sizeof *g.centre);
    g.box = cr_calloc(g.count, sizeof *g.box);
    g.longest = cr_calloc(g.count, sizeof *g.longest);
    cr_status st = g.centre && g.box && g.longest ? CR_OK : CR_NOMEM(err);
    for (int l = 0; st == CR_OK && l < h->level_count; l++)
        for (size_t i = g.first[l]; i < g.first[l + 1]; i++) g.longest[i] = h->level[l].longest;
    for (; st == CR_OK && g.picture < h->pictures; g.picture++) st = assign_picture(j, &g, err);
    cr_free(g.centre);
    cr_free(g.box);
    cr_free(g.longest);
    return st;
}

/* ---- class scores ---------------------------------------------------------------------------- */

/* One row of scores of cells that see nothing: sum of softplus(x), gradient scale * sigmoid(x).
 * A sum of logarithms is the logarithm of a product: one log for 512 factors of 1 to 2. */
typedef struct score_rows {
    const cr_yolov8_job *job;
    double scale, *sum; /* [picture, level, class] */
} score_rows;

static void score_row(void *ctx, size_t index, int worker)
{
    const score_rows *s = ctx;
    const cr_yolov8_head *h = s->job->head;
    const size_t k = index % (size_t)h->classes, rest = index / (size_t)h->classes;
    const cr_yolov8_level *level = &h->level[rest % (size_t)h->level_count];
    const cr_raw *r = &level->classes;
    const size_t picture = rest / (size_t)h->level_count, n = cells_of(level);
    double sum = 0, product = 1;
    (void)worker;
    for (size_t i = 0; i < n; i++) {
        const size_t at = cr_raw_at(r, picture, k, i);
        const double x = cr_raw_get(r, h->real, at), e = exp(-fabs(x));
        sum += fmax(x, 0);
        product *= 1 + e;
        if (i % 512 == 511) {
            sum += log(product);
            product = 1;
        }
        if (r->grad) cr_raw_put(r, h->real, at, s->scale * (x >= 0 ? 1 : e) / (1 + e));
    }
    s->sum[index] = sum + log(product);
}

static cr_status class_scores(const cr_yolov8_job *j, double scale, cr_loss_parts *parts,
                              cr_error *err)
{
    const cr_yolov8_head *h = j->head;
    const size_t rows = (size_t)h->pictures * (size_t)h->level_count * (size_t)h->classes;
    score_rows s = {j, scale, cr_calloc(rows, sizeof *s.sum)};
    double sum = 0;
    if (!s.sum) return CR_NOMEM(err);
    cr_pool_run(j->pool, rows, score_row, &s);
    for (size_t i = 0; i < rows; i++) sum += s.sum[i];
    cr_free(s.sum);
    for (size_t i = 0; i < j->count; i++) {
        const cr_yolov8_positive *p = &j->positive[i];
        const cr_raw *r = &h->level[p->level].classes;
        const int k = j->truth[p->picture].class_id[p->object];
        const size_t at = cr_raw_at(r, (size_t)p->picture, (size_t)k, p->cell);
        const double x = cr_raw_get(r, h->real, at);
        sum -= p->score * x;
        if (r->grad) cr_raw_put(r, h->real, at, scale * (cr_sigmoid(x) - p->score));
    }
    parts->classes = scale * sum;
    return CR_OK;
}

/* ---- boxes ----------------------------------------------------------------------------------- */

typedef struct sides {
    double p[4][BINS_MAX], mean[4];
} sides;

/* Cross-entropy with the two bins beside `target`, and its gradient by the logits into g[bins]. */
static double distribution_loss(const double *p, int bins, double target, double *g)
{
    const double t = fmin(fmax(target, 0), bins - 1 - .01);
    const int left = (int)t;
    const double right = t - left;
    for (int b = 0; b < bins; b++) g[b] = p[b];
    g[left] -= 1 - right;
    g[left + 1] -= right;
    /* probabilities that float64 rounds to 0 count as its smallest number */
    return -(1 - right) * log(fmax(p[left], 1e-300)) - right * log(fmax(p[left + 1], 1e-300));
}

static void box_loss(const cr_yolov8_job *j, const cr_yolov8_positive *p, const double scale[2],
                     cr_loss_parts *parts, sides *s)
{
    const cr_yolov8_head *h = j->head;
    const cr_yolov8_level *level = &h->level[p->level];
    const double *truth = j->truth[p->picture].box[p->object];
    const double c[2] = {(double)(p->cell % (uint32_t)level->width) + .5,
                         (double)(p->cell / (uint32_t)level->width) + .5};
    double box[4], target[4], slope[4], g[BINS_MAX];
    for (int k = 0; k < 4; k++) {
        s->mean[k] = side_of(h, &level->box, (size_t)p->picture, p->cell, k, s->p[k]);
        box[k] = k < 2 ? c[k] - s->mean[k] : c[k - 2] + s->mean[k];
        target[k] = truth[k] / level->stride;
    }
    parts->box += scale[0] * p->score * (1 - cr_box_ciou(box, target, slope));
    for (int k = 0; k < 4; k++) {
        const double far = k < 2 ? c[k] - target[k] : target[k] - c[k - 2];
        const double by_mean = scale[0] * p->score * (k < 2 ? slope[k] : -slope[k]);
        const double by_bin = scale[1] * p->score / 4;
        parts->distribution += by_bin * distribution_loss(s->p[k], h->bins, far, g);
        for (int b = 0; b < h->bins && level->box.grad; b++)
            cr_raw_put(
                &level->box, h->real,
                cr_raw_at(&level->box, (size_t)p->picture, (size_t)(k * h->bins + b), p->cell),
                by_mean * s->p[k][b] * (b - s->mean[k]) + by_bin * g[b]);
    }
}

/* ---- together -------------------------------------------------------------------------------- */

cr_status cr_yolov8_assign(cr_yolov8_job *j, cr_error *err)
{
    branch_walk walk = {j->head};
    CR_TRY(check_head(j->head, err));
    each_branch(j->head, check_branch, &walk);
    j->broken = walk.broken;
    return j->broken ? CR_OK : assign_all(j, err);
}

cr_status cr_yolov8_add_up(const cr_yolov8_job *j, cr_loss_parts *parts, cr_error *err)
{
    const cr_yolov8_head *h = j->head;
    const cr_yolov8_options *o = j->options;
    branch_walk walk = {h};
    sides s;
    *parts = (cr_loss_parts){.broken = j->broken, .positives = j->count};
    each_branch(h, clear_branch, &walk);
    if (j->broken) {
        parts->total = NAN;
        return CR_OK;
    }
    for (size_t i = 0; i < j->count; i++) parts->score_sum += j->positive[i].score;
    const double n = h->pictures / (o->score_sum > 0 ? o->score_sum : fmax(parts->score_sum, 1));
    const double scale[2] = {o->box * n, o->distribution * n};
    CR_TRY(class_scores(j, o->classes * n, parts, err));
    for (size_t i = 0; i < j->count; i++) box_loss(j, &j->positive[i], scale, parts, &s);
    if (h->prototypes) CR_TRY(cr_yolov8_masks(j, parts, err));
    if (h->keypoints) cr_yolov8_keypoints(j, parts);
    parts->total = parts->box + parts->classes + parts->distribution + parts->masks +
                   parts->keypoints + parts->visible;
    return CR_OK;
}

cr_status cr_loss_yolov8(const cr_yolov8_head *head, const cr_truth *truth,
                         const cr_yolov8_options *options, cr_pool *pool, cr_loss_parts *parts,
                         cr_error *err)
{
    cr_yolov8_job j = {head, truth, options, pool};
    memset(parts, 0, sizeof *parts);
    cr_status st = cr_yolov8_assign(&j, err);
    if (st == CR_OK) st = cr_yolov8_add_up(&j, parts, err);
    cr_free(j.positive);
    return st;
}
