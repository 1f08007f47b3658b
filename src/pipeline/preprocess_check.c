/* Which preprocessing does the model see best with?
 *
 * A detector that is given what it was trained on finds things with confidence, and finds the same
 * things in the mirror image. Given BGR for RGB, or 0..1 for 0..255, it finds fewer, or it is
 * saturated and covers the picture with confident noise, whose best boxes are not the same in the
 * mirror. So a candidate's score is the mass of what is found twice among the five best boxes
 * (crayon/check.h): with all boxes instead, noise by the hundred overlaps by chance.
 *
 * Three steps, as differences are of three sizes: order and range of colours on FEW pictures, the
 * two orders in the best range on MANY (a network trained on RGB sees BGR some 10 % worse), then the
 * ways to fit on SOME. A warning must be beyond doubt, because a wrong one costs trust: the winner
 * must have a margin, and win on most of the pictures on which the two differ clearly. Ways to fit
 * hardly differ in what is found; only gross mistakes show.
 *
 * Rejected: confidence alone (yolov8n given 0..255 scores 16 times what it should); the spread of
 * the first layer's output (says nothing about the order of colours). */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/check.h"
#include "crayon/runtime.h"
#include "pipeline/model_impl.h"

enum { TOP = 5, FEW = 8, SOME = 12, MANY = 32, MAX_OUTPUTS = 32, LEAST_WINS = 4 };

/* How much more than the declared one a candidate must score: with another order of colours alone,
 * another range of values, another way to fit (what fills more of the input shows more). Measured on
 * the test models with right settings: at most 1.0, 1.0 and 1.07. */
#define ORDER_MARGIN 1.06
#define RANGE_MARGIN 1.25
#define FIT_MARGIN   1.5
#define CLEARLY      1.05 /* between two scores of one picture */
#define LEAST_SCORE  .3   /* of one picture on average: below, the model finds nothing to judge by */

typedef struct trial {
    const cr_model *model;
    cr_runner *runner;
    cr_image *pictures; /* [count] */
    size_t count;
    cr_preprocess_check *check;
    double (*scores)[MANY]; /* by candidate; the first check->candidates[i].pictures of each */
} trial;

static double overlap(const float *a, const float *b)
{
    const double w = fmin((double)a[2], (double)b[2]) - fmax((double)a[0], (double)b[0]);
    const double h = fmin((double)a[3], (double)b[3]) - fmax((double)a[1], (double)b[1]);
    if (w <= 0 || h <= 0) return 0;
    const double area_a = (double)(a[2] - a[0]) * (double)(a[3] - a[1]);
    const double area_b = (double)(b[2] - b[0]) * (double)(b[3] - b[1]);
    return w * h / (area_a + area_b - w * h);
}

static void mirror_boxes(cr_detections *d, int width)
{
    for (size_t i = 0; i < d->count; i++) {
        float *box = d->items[i].box;
        const float left = (float)width - box[2];
        box[2] = (float)width - box[0];
        box[0] = left;
    }
}

/* Pairs greedily, best first; a box is used once (its score becomes 0). */
static double shared_mass(const cr_detections *a, cr_detections *b)
{
    double sum = 0;
    for (size_t i = 0; i < a->count && i < TOP; i++) {
        const cr_detection *x = &a->items[i];
        cr_detection *best = NULL;
        double most = .5;
        for (size_t k = 0; k < b->count && k < TOP; k++) {
            cr_detection *y = &b->items[k];
            const double iou = overlap(x->box, y->box);
            if (y->class_id != x->class_id || !(y->score > 0) || iou < most) continue;
            most = iou;
            best = y;
        }
        if (!best) continue;
        sum += sqrt((double)x->score * (double)best->score) * most;
        best->score = 0;
    }
    return sum;
}

static cr_status detect(trial *t, const cr_preprocess *pre, const cr_image *img, cr_detections *out,
                        cr_error *err)
{
    const cr_graph *g = t->model->graph;
    cr_output outs[MAX_OUTPUTS];
    cr_placement place;
    const cr_detect_options options = cr_detect_options_default();
    CR_TRY(cr_preprocess_run(pre, img, cr_runner_input(t->runner, 0, NULL), &place, err));
    CR_TRY(cr_runner_run(t->runner, err));
    for (size_t i = 0; i < g->output_count; i++)
        CR_TRY(cr_runner_output(t->runner, i, &outs[i], err));
    return cr_head_decode(&t->model->info.head, outs, g->output_count, &place, &options, out, err);
}

/* In place; twice is none. */
static void mirror_image(const cr_image *img)
{
    for (int y = 0; y < img->height; y++) {
        uint8_t *left = img->rgb + (size_t)y * (size_t)img->width * 3;
        uint8_t *right = left + ((size_t)img->width - 1) * 3;
        for (; left < right; left += 3, right -= 3) {
            uint8_t pixel[3];
            memcpy(pixel, left, 3);
            memcpy(left, right, 3);
            memcpy(right, pixel, 3);
        }
    }
}

static cr_status score_picture(trial *t, const cr_preprocess *pre, size_t index, double *score,
                               cr_error *err)
{
    cr_detections seen = {0}, mirrored = {0};
    const cr_image *img = &t->pictures[index];
    cr_status st = detect(t, pre, img, &seen, err);
    if (st == CR_OK) {
        mirror_image(img);
        st = detect(t, pre, img, &mirrored, err);
        mirror_image(img);
    }
    if (st == CR_OK) {
        mirror_boxes(&mirrored, img->width);
        *score = shared_mass(&seen, &mirrored);
    }
    cr_detections_free(&seen);
    cr_detections_free(&mirrored);
    return st;
}

static bool same(const cr_preprocess *a, const cr_preprocess *b)
{
    bool equal = a->fit == b->fit && a->bgr == b->bgr;
    for (int c = 0; c < 3; c++)
        equal = equal && fabsf(a->mean[c] - b->mean[c]) < .5f &&
                fabsf(a->div[c] / b->div[c] - 1) < .01f;
    return equal;
}

/* Looks at more pictures with candidate `index`, until there are `most`. */
static cr_status extend(trial *t, size_t index, size_t most, cr_error *err)
{
    cr_preprocess_score *c = &t->check->candidates[index];
    double sum = c->score * (double)c->pictures;
    if (most > t->count) most = t->count;
    for (; c->pictures < most; c->pictures++) {
        double *score = &t->scores[index][c->pictures];
        CR_TRY(score_picture(t, &c->preprocess, c->pictures, score, err));
        sum += *score;
    }
    c->score = c->pictures ? sum / (double)c->pictures : 0;
    return CR_OK;
}

/* The candidate's index, new or old, or 0 if there is no room, with `most` pictures looked at. */
static cr_status add_candidate(trial *t, const cr_preprocess *pre, size_t most, size_t *index,
                               cr_error *err)
{
    cr_preprocess_check *c = t->check;
    size_t i = 0;
    while (i < c->count && !same(pre, &c->candidates[i].preprocess)) i++;
    if (i == CR_PREPROCESS_CANDIDATES) i = 0;
    if (i == c->count) c->candidates[c->count++] = (cr_preprocess_score){.preprocess = *pre};
    *index = i;
    return extend(t, i, most, err);
}

/* ---- candidates ---- */

static cr_preprocess with_colours(const cr_preprocess *base, bool bgr, int range)
{
    static const float imagenet[2][3] = {{123.675f, 116.28f, 103.53f}, {58.395f, 57.12f, 57.375f}};
    cr_preprocess p = *base;
    p.bgr = bgr;
    for (int c = 0; c < 3; c++) {
        const int k = bgr ? 2 - c : c;
        p.mean[c] = range == 2 ? imagenet[0][k] : 0;
        p.div[c] = range == 0 ? 255 : range == 1 ? 1 : imagenet[1][k];
    }
    return p;
}

/* The same values in the other order. */
static cr_preprocess other_order(const cr_preprocess *base)
{
    cr_preprocess p = *base;
    p.bgr = !p.bgr;
    for (int c = 0; c < 3; c++) {
        p.mean[c] = base->mean[2 - c];
        p.div[c] = base->div[2 - c];
    }
    return p;
}

static void better_of(const trial *t, size_t candidate, size_t *best)
{
    const cr_preprocess_score *c = t->check->candidates;
    if (c[candidate].score > c[*best].score) *best = candidate;
}

static cr_status try_colours(trial *t, size_t *best, cr_error *err)
{
    const cr_preprocess declared = t->check->candidates[0].preprocess;
    size_t i, swapped;
    *best = 0;
    for (int range = 0; range < 3; range++)
        for (int bgr = 0; bgr < 2; bgr++) {
            const cr_preprocess p = with_colours(&declared, bgr, range);
            CR_TRY(add_candidate(t, &p, FEW, &i, err));
            better_of(t, i, best);
        }
    const cr_preprocess p = other_order(&t->check->candidates[*best].preprocess);
    CR_TRY(add_candidate(t, &p, MANY, &swapped, err));
    CR_TRY(extend(t, *best, MANY, err));
    CR_TRY(extend(t, 0, MANY, err));
    better_of(t, swapped, best);
    better_of(t, 0, best);
    return CR_OK;
}

/* On the pictures that both have seen. */
static double gain_of(const trial *t, size_t candidate, double margin, double least)
{
    const size_t a = t->check->candidates[0].pictures, b = t->check->candidates[candidate].pictures;
    const size_t n = a < b ? a : b;
    double mine = 0, declared = 0;
    size_t wins = 0, losses = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = t->scores[candidate][i], y = t->scores[0][i];
        mine += x;
        declared += y;
        wins += x > CLEARLY * y + .02;
        losses += y > CLEARLY * x + .02;
    }
    const bool sure = mine > margin * declared && mine >= least * (double)n &&
                      wins >= LEAST_WINS && wins >= 2 * losses;
    return sure ? mine / fmax(declared, 1e-3) : 0;
}

static double margin_of(const cr_preprocess *declared, const cr_preprocess *other)
{
    const cr_preprocess swapped = other_order(declared);
    return same(&swapped, other) ? ORDER_MARGIN : RANGE_MARGIN;
}

static void accept(trial *t, size_t candidate, double margin)
{
    const double gain = candidate ? gain_of(t, candidate, margin, LEAST_SCORE) : 0;
    if (!(gain > t->check->gain)) return;
    t->check->best = candidate;
    t->check->gain = gain;
}

static cr_status try_fits(trial *t, size_t colours, cr_error *err)
{
    static const cr_fit fits[] = {CR_FIT_LETTERBOX, CR_FIT_STRETCH, CR_FIT_TOPLEFT};
    const double before = t->check->best ? t->check->gain : 1;
    if (t->check->candidates[0].preprocess.fit == CR_FIT_CENTERCROP) return CR_OK;
    for (int k = 0; k < 3; k++) {
        cr_preprocess p = t->check->candidates[colours].preprocess;
        size_t i;
        p.fit = fits[k];
        CR_TRY(add_candidate(t, &p, SOME, &i, err));
        if (i != colours) accept(t, i, before * FIT_MARGIN);
    }
    return CR_OK;
}

/* ---- pictures ---- */

/* A picture that cannot be read is left for the calibration to complain about; a large one is made
 * smaller, as many of them are kept. */
static cr_status read_small(trial *t, cr_image_reader *reader, const char *name, cr_error *err)
{
    const cr_preprocess *pre = &t->model->info.preprocess;
    cr_image img, *out = &t->pictures[t->count];
    if (cr_image_reader_read(reader, name, &img, NULL)) return CR_OK;
    const double r = 2 * fmax((double)pre->width / img.width, (double)pre->height / img.height);
    cr_status st = CR_OK;
    if (r >= 1) {
        *out = img;
        t->count++;
        return CR_OK;
    }
    st = cr_image_create((int)fmax(img.width * r, 1), (int)fmax(img.height * r, 1), out, err);
    if (st == CR_OK)
        st = cr_resize_linear_u8(img.rgb, img.width, img.height, 3, out->rgb, out->width,
                                 out->height, err);
    t->count += st == CR_OK;
    if (st != CR_OK) cr_image_free(out);
    cr_image_free(&img);
    return st;
}

static cr_status read_pictures(trial *t, const cr_image_list *list, size_t n, cr_error *err)
{
    cr_image_reader *reader;
    CR_TRY(cr_image_reader_create(&reader, err));
    cr_status st = CR_OK;
    for (size_t i = 0; st == CR_OK && i < n; i++) {
        /* the first ones are spread over the list as all are: steps of about the golden section */
        const size_t at = (size_t)((double)i * .618034 * (double)list->count) % list->count;
        st = read_small(t, reader, list->paths[at], err);
    }
    cr_image_reader_free(&reader);
    return st;
}

static bool can_try(const cr_model *m)
{
    const cr_graph *g = m->graph;
    return m->info.head.kind != CR_HEAD_NONE && m->info.batch == 1 && g->input_count == 1 &&
           g->output_count <= MAX_OUTPUTS && g->inputs[0]->dtype == CR_DT_F32 &&
           g->inputs[0]->shape.rank == 4 && g->inputs[0]->shape.dim[1] == 3;
}

static bool go_on(const cr_progress *progress, uint64_t done)
{
    return cr_report(progress, "checking the preprocessing", done, 3);
}

static cr_status run_trial(trial *t, const cr_progress *progress, cr_error *err)
{
    size_t best, declared;
    const cr_preprocess *p = &t->model->info.preprocess;
    CR_TRY(add_candidate(t, p, FEW, &declared, err));
    CR_CHECK(go_on(progress, 1), err, CR_ERR_CANCELLED, "cancelled");
    CR_TRY(try_colours(t, &best, err));
    accept(t, best, margin_of(p, &t->check->candidates[best].preprocess));
    CR_CHECK(go_on(progress, 2), err, CR_ERR_CANCELLED, "cancelled");
    CR_TRY(try_fits(t, t->check->best, err));
    return go_on(progress, 3) ? CR_OK : cr_fail(err, CR_ERR_CANCELLED, "cancelled");
}

cr_status cr_preprocess_try(const cr_model *m, const cr_image_list *pictures, int threads,
                            const cr_progress *progress, cr_preprocess_check *out, cr_error *err)
{
    *out = (cr_preprocess_check){.possible = can_try(m)};
    if (!out->possible || !pictures->count) return CR_OK;
    const size_t n = pictures->count < MANY ? pictures->count : MANY;
    trial t = {.model = m, .check = out};
    cr_status st = CR_OK;
    t.pictures = cr_calloc(n, sizeof *t.pictures);
    t.scores = cr_calloc(CR_PREPROCESS_CANDIDATES, sizeof *t.scores);
    if (!t.pictures || !t.scores) st = CR_NOMEM(err);
    if (st == CR_OK) st = cr_runner_create(m, threads, &t.runner, err);
    if (st == CR_OK) st = read_pictures(&t, pictures, n, err);
    if (st == CR_OK) st = run_trial(&t, progress, err);
    for (size_t i = 0; t.pictures && i < n; i++) cr_image_free(&t.pictures[i]);
    cr_free(t.pictures);
    cr_free(t.scores);
    cr_runner_free(&t.runner);
    return st;
}
