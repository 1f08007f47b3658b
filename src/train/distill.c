/* See distill.h. Parts are computed by one task each, which owns its channels of the gradient and
 * its entry in the list of losses; sums are made in the order of parts. */
#include "train/distill.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"
#include "runtime/runtime.h"

const char *const cr_distill_kind_names[CR_DISTILL_KINDS] = {"features", "scores", "distributions",
                                                             "values"};

enum { SIDES = 4 }; /* left, top, right, bottom */

/* Of boxes: cells less sure do not count; half a cell is the smallest; differences of a fiftieth of
 * the size are nearly squared. */
static const double UNSURE = .05, LEAST_SIZE = .5, ROUNDED = .02;

/* A part and where it lies in both networks. */
typedef struct target {
    cr_distill_part p;
    const cr_tensor *tensor; /* the student's */
    size_t taught;           /* index among the teacher's outputs */
    int64_t batch, channels, cells;
    float *confidence; /* [batch, cells], of a part that is weighted; else NULL */
    double total;      /* its sum */
    double loss;
} target;

struct cr_distill {
    const cr_graph *student;
    cr_pool *pool;
    cr_program *program;
    cr_session *session;
    target *targets;
    size_t count;
    /* of one call of cr_distill_loss */
    const cr_tape *tape;
    double share, total;
};

/* ---- cutting ---- */

static void mark_back(const cr_graph *g, const cr_tensor *t, bool *run)
{
    if (t->producer) run[t->producer->index] = true;
    for (size_t i = g->node_count; i-- > 0;) {
        const cr_node *n = g->nodes[i];
        for (int k = 0; run[i] && k < n->n_in; k++)
            if (n->in[k] && n->in[k]->producer) run[n->in[k]->producer->index] = true;
    }
}

static cr_status cut(const cr_graph *g, const char *const *names, size_t n, bool *run, int *ids,
                     cr_graph **out, cr_error *err)
{
    int inputs[8];
    size_t count = 0;
    CR_CHECK(g->input_count <= 8, err, CR_ERR_UNSUPPORTED, "a model with more than 8 inputs");
    for (size_t i = 0; i < g->input_count; i++) inputs[i] = g->inputs[i]->id;
    for (size_t i = 0; i < n; i++) {
        const cr_tensor *t = cr_graph_find(g, names[i]);
        bool twice = false;
        CR_CHECK(t, err, CR_ERR_ARGUMENT, "the model has no tensor '%s'", names[i]);
        for (size_t k = 0; k < count; k++) twice |= ids[k] == t->id;
        if (twice) continue;
        ids[count++] = t->id;
        if (t->producer && !run[t->producer->index]) mark_back(g, t, run);
    }
    CR_TRY(cr_graph_clone_part(g, run, inputs, g->input_count, ids, count, out, err));
    const cr_status st = cr_graph_infer(*out, err);
    if (st != CR_OK) cr_graph_free(out);
    return st;
}

cr_status cr_distill_cut(const cr_graph *g, const char *const *names, size_t n, cr_graph **out,
                         cr_error *err)
{
    *out = NULL;
    bool *run = cr_calloc(g->node_count + 1, sizeof *run);
    int *ids = cr_calloc(n + 1, sizeof *ids);
    const cr_status st = run && ids ? cut(g, names, n, run, ids, out, err) : CR_NOMEM(err);
    cr_free(run);
    cr_free(ids);
    return st;
}

/* ---- creation ---- */

static const cr_tensor *output_named(const cr_graph *g, const char *name, size_t *index)
{
    for (size_t i = 0; i < g->output_count; i++)
        if (!strcmp(g->outputs[i]->name, name)) {
            *index = i;
            return g->outputs[i];
        }
    return NULL;
}

static cr_status bind(const cr_graph *teacher, const cr_graph *student, target *t, cr_error *err)
{
    size_t index;
    const cr_tensor *wish = output_named(teacher, t->p.tensor, &t->taught);
    t->tensor = output_named(student, t->p.student ? t->p.student : t->p.tensor, &index);
    CR_CHECK(wish && t->tensor, err, CR_ERR_ARGUMENT, "'%s' is no output of teacher and student",
             t->p.tensor);
    const cr_shape *s = &t->tensor->shape;
    CR_CHECK(cr_shape_known(s) && cr_shape_equal(s, &wish->shape) && s->rank >= 2 &&
                 t->tensor->dtype == CR_DT_F32 && wish->dtype == CR_DT_F32,
             err, CR_ERR_ARGUMENT, "'%s' differs in shape between teacher and student",
             t->p.tensor);
    t->batch = s->dim[0];
    t->channels = s->dim[1];
    t->cells = t->batch * t->channels > 0 ? cr_shape_count(s) / (t->batch * t->channels) : 0;
    CR_CHECK(t->p.first >= 0 && t->p.count > 0 && t->p.first <= t->channels - t->p.count, err,
             CR_ERR_ARGUMENT, "'%s': channels %lld to %lld of %lld", t->p.tensor,
             (long long)t->p.first, (long long)(t->p.first + t->p.count), (long long)t->channels);
    CR_CHECK(t->p.kind != CR_DISTILL_BINS || (t->p.bins > 1 && t->p.count % t->p.bins == 0), err,
             CR_ERR_ARGUMENT, "'%s': %lld channels are no groups of %lld bins", t->p.tensor,
             (long long)t->p.count, (long long)t->p.bins);
    CR_CHECK(t->p.extent == 0 ||
                 (t->p.kind == CR_DISTILL_BINS && t->p.count == SIDES * t->p.bins),
             err, CR_ERR_ARGUMENT, "'%s': sides of a box are four groups of bins", t->p.tensor);
    return CR_OK;
}

/* Does the part at `index` (or none) weigh the cells of t? */
static bool weighs(const cr_distill *d, const target *t, int index)
{
    if (index < 0) return true;
    if ((size_t)index >= d->count) return false;
    const target *by = &d->targets[index];
    return by->p.kind == CR_DISTILL_LOGIT && by->cells == t->cells && by->batch == t->batch;
}

static cr_status weigh(const cr_distill *d, target *t, cr_error *err)
{
    const bool scored = t->p.kind == CR_DISTILL_BINS || t->p.kind == CR_DISTILL_VALUE;
    if (!scored) t->p.scores = -1;
    if (t->p.kind == CR_DISTILL_FEATURE) t->p.objects = -1;
    CR_CHECK(weighs(d, t, t->p.scores) && weighs(d, t, t->p.objects), err, CR_ERR_ARGUMENT,
             "'%s': what weighs its cells are no scores of the same cells", t->p.tensor);
    if (t->p.scores < 0 && t->p.objects < 0) return CR_OK;
    t->confidence = cr_calloc((size_t)(t->batch * t->cells) + 1, sizeof *t->confidence);
    return t->confidence ? CR_OK : CR_NOMEM(err);
}

/* Parts are computed at the same time, each adding to its own channels of the gradient. */
static cr_status check_apart(const cr_distill *d, cr_error *err)
{
    for (size_t i = 0; i < d->count; i++)
        for (size_t k = 0; k < i; k++) {
            const target *a = &d->targets[i], *b = &d->targets[k];
            CR_CHECK(a->tensor != b->tensor || a->p.first >= b->p.first + b->p.count ||
                         b->p.first >= a->p.first + a->p.count,
                     err, CR_ERR_ARGUMENT, "'%s': two parts share channels", a->p.tensor);
        }
    return CR_OK;
}

static cr_status build(cr_distill *d, const cr_graph *teacher, const cr_distill_part *parts,
                       cr_error *err)
{
    const cr_graph *student = d->student;
    CR_CHECK(teacher->input_count == 1 && student->input_count == 1 &&
                 cr_shape_equal(&teacher->inputs[0]->shape, &student->inputs[0]->shape),
             err, CR_ERR_ARGUMENT, "teacher and student need one input of the same shape");
    d->targets = cr_calloc(d->count + 1, sizeof *d->targets);
    if (!d->targets) return CR_NOMEM(err);
    for (size_t i = 0; i < d->count; i++) {
        d->targets[i].p = parts[i];
        CR_TRY(bind(teacher, student, &d->targets[i], err));
    }
    CR_TRY(check_apart(d, err));
    for (size_t i = 0; i < d->count; i++) CR_TRY(weigh(d, &d->targets[i], err));
    CR_TRY(cr_program_create(teacher, NULL, cr_pool_threads(d->pool), &d->program, err));
    return cr_session_open(d->program, d->pool, &d->session, err);
}

cr_status cr_distill_create(const cr_graph *teacher, const cr_graph *student,
                            const cr_distill_part *parts, size_t n, cr_pool *pool, cr_distill **out,
                            cr_error *err)
{
    *out = NULL;
    cr_distill *d = cr_calloc(1, sizeof *d);
    if (!d) return CR_NOMEM(err);
    *d = (cr_distill){.student = student, .pool = pool, .count = n};
    const cr_status st = build(d, teacher, parts, err);
    if (st != CR_OK) cr_distill_free(&d);
    *out = d;
    return st;
}

void cr_distill_free(cr_distill **distill)
{
    if (!distill || !*distill) return;
    cr_distill *d = *distill;
    for (size_t i = 0; d->targets && i < d->count; i++) cr_free(d->targets[i].confidence);
    cr_free(d->targets);
    cr_session_close(&d->session);
    cr_program_free(&d->program);
    cr_free(d);
    *distill = NULL;
}

void cr_distill_set_weight(cr_distill *d, size_t part, double weight)
{
    d->targets[part].p.weight = weight;
}

/* ---- the teacher ---- */

static const float *wish_of(const cr_distill *d, const target *t)
{
    return cr_session_output_tensor(d->session, t->taught)->data;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* [batch, cells] of the part's best logit. */
static void multiply_best(const cr_distill *d, const target *by, float *confidence)
{
    const float *wish = wish_of(d, by);
    for (int64_t b = 0; b < by->batch; b++)
        for (int64_t i = 0; i < by->cells; i++) {
            const float *at = wish + (b * by->channels + by->p.first) * by->cells + i;
            float best = *at;
            for (int64_t c = 1; c < by->p.count; c++)
                if (at[c * by->cells] > best) best = at[c * by->cells];
            confidence[b * by->cells + i] *= (float)sigmoid((double)best);
        }
}

static void find_confidence(void *ctx, size_t index, int worker)
{
    cr_distill *d = ctx;
    target *t = &d->targets[index];
    const int64_t n = t->batch * t->cells;
    (void)worker;
    if (!t->confidence) return;
    for (int64_t i = 0; i < n; i++) t->confidence[i] = 1;
    if (t->p.scores >= 0) multiply_best(d, &d->targets[t->p.scores], t->confidence);
    if (t->p.objects >= 0) multiply_best(d, &d->targets[t->p.objects], t->confidence);
    t->total = 0;
    for (int64_t i = 0; i < n; i++) t->total += (double)t->confidence[i];
}

/* Z: the largest of what kinds of weighted parts add up to, so that a model whose boxes, keypoints
 * and masks share their cells counts them once. Scores weigh nothing themselves: without any
 * weighted part their own best values count. */
static double total_confidence(const cr_distill *d)
{
    double sums[CR_DISTILL_KINDS] = {0}, most = 1;
    for (size_t i = 0; i < d->count; i++) sums[d->targets[i].p.kind] += d->targets[i].total;
    for (int k = 0; k < CR_DISTILL_KINDS; k++)
        if (sums[k] > most) most = sums[k];
    return most;
}

cr_status cr_distill_teach(cr_distill *d, const float *input, cr_error *err)
{
    const size_t bytes = cr_tensor_bytes(d->student->inputs[0]);
    memcpy(cr_session_input_data(d->session, 0), input, bytes);
    CR_TRY(cr_session_execute(d->session, err));
    cr_pool_run(d->pool, d->count, find_confidence, d);
    d->total = total_confidence(d);
    return CR_OK;
}

/* ---- losses of one part over the cells of one picture ---- */

typedef struct patch { /* of a part: count channels of `cells` */
    const float *s, *t;
    float *ds;
    const float *c; /* [cells] or NULL */
    int64_t count, cells, bins;
    double scale;  /* of the gradient */
    double extent; /* of BINS */
} patch;

static double square_about_mean(const float *x, int64_t n)
{
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        square += (double)x[i] * (double)x[i];
    }
    const double about = square - sum * sum / (double)n, floor = 1e-6 * square;
    return about > floor ? about : floor;
}

static double feature_loss(const patch *p)
{
    double energy = 1e-12, sum = 0;
    const int64_t n = p->count * p->cells;
    for (int64_t k = 0; k < p->count; k++)
        energy += square_about_mean(p->t + k * p->cells, p->cells);
    const float step = (float)(2 * p->scale / energy);
    for (int64_t i = 0; i < n; i++) {
        const float e = p->s[i] - p->t[i];
        sum += (double)(e * e);
        p->ds[i] += step * e;
    }
    return sum / energy;
}

/* sigmoid(x), and log(1 + exp(x)) into *plus, without overflow. */
static double sigmoid_softplus(double x, double *plus)
{
    const double e = exp(-fabs(x));
    *plus = (x > 0 ? x : 0) + log1p(e);
    return x > 0 ? 1 / (1 + e) : e / (1 + e);
}

/* With q = sigmoid(t) and r = sigmoid(s), q log(q / r) + (1 - q) log((1 - q) / (1 - r)) is
 * q (t - s) + softplus(s) - softplus(t). */
static double logit_loss(const patch *p)
{
    double sum = 0;
    for (int64_t k = 0; k < p->count; k++)
        for (int64_t i = 0; i < p->cells; i++) {
            const int64_t at = k * p->cells + i;
            const double s = (double)p->s[at], t = (double)p->t[at];
            const double w = p->c ? (double)p->c[i] : 1;
            double plus_s, plus_t;
            const double r = sigmoid_softplus(s, &plus_s), q = sigmoid_softplus(t, &plus_t);
            sum += w * (q * (t - s) + plus_s - plus_t);
            p->ds[at] += (float)(w * p->scale * (r - q));
        }
    return sum;
}

static double log_sum_exp(const float *x, int64_t n, int64_t stride)
{
    double most = (double)*x, sum = 0;
    for (int64_t i = 1; i < n; i++)
        if ((double)x[i * stride] > most) most = (double)x[i * stride];
    for (int64_t i = 0; i < n; i++) sum += exp((double)x[i * stride] - most);
    return most + log(sum);
}

static double bins_loss(const patch *p)
{
    const int64_t groups = p->count / p->bins;
    double sum = 0;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t i = 0; i < p->cells; i++) {
            const int64_t at = g * p->bins * p->cells + i;
            const double w = (p->c ? (double)p->c[i] : 1) / (double)groups;
            const double zs = log_sum_exp(p->s + at, p->bins, p->cells);
            const double zt = log_sum_exp(p->t + at, p->bins, p->cells);
            for (int64_t k = 0; k < p->bins; k++) {
                const double ls = (double)p->s[at + k * p->cells] - zs;
                const double lt = (double)p->t[at + k * p->cells] - zt, q = exp(lt);
                sum += w * q * (lt - ls);
                p->ds[at + k * p->cells] += (float)(w * p->scale * (exp(ls) - q));
            }
        }
    return sum;
}

/* Distances of the sides from the cell, in cells. */
static void find_sides(const patch *p, const float *x, double sides[SIDES])
{
    for (int g = 0; g < SIDES; g++) {
        const float *at = x + g * p->bins * p->cells;
        const double z = log_sum_exp(at, p->bins, p->cells);
        sides[g] = 0;
        for (int64_t k = 0; k < p->bins; k++)
            sides[g] += (double)k * exp((double)at[k * p->cells] - z);
    }
}

/* d side / d logit k = p_k (k - side). */
static void push_side(const patch *p, const float *x, float *dx, double side, double slope)
{
    const double z = log_sum_exp(x, p->bins, p->cells);
    for (int64_t k = 0; k < p->bins; k++)
        dx[k * p->cells] +=
            (float)(slope * exp((double)x[k * p->cells] - z) * ((double)k - side));
}

/* 1 - IoU of two boxes that nearly are one is the sum of what their sides differ by, in parts of
 * the box's width or height: so much, but smooth at 0. The square of the confidence, because of all
 * cells that see an object the surest one gives its box. */
static double extent_loss(const patch *p)
{
    double sum = 0, s[SIDES], t[SIDES];
    for (int64_t i = 0; i < p->cells; i++) {
        const double c = p->c ? (double)p->c[i] : 1, w = p->extent * c * c;
        if (c < UNSURE) continue;
        find_sides(p, p->s + i, s);
        find_sides(p, p->t + i, t);
        for (int g = 0; g < SIDES; g++) {
            const int64_t at = g * p->bins * p->cells + i;
            const double size = fmax(t[g] + t[(g + 2) % SIDES], LEAST_SIZE);
            const double e = (s[g] - t[g]) / size, root = sqrt(e * e + ROUNDED * ROUNDED);
            sum += w * (root - ROUNDED);
            push_side(p, p->s + at, p->ds + at, s[g], w * p->scale * e / root / size);
        }
    }
    return sum;
}

static double weighted_variance(const patch *p)
{
    double w = 1e-12, sum = 0, square = 0;
    for (int64_t k = 0; k < p->count; k++)
        for (int64_t i = 0; i < p->cells; i++) {
            const double c = p->c ? (double)p->c[i] : 1, x = (double)p->t[k * p->cells + i];
            w += c;
            sum += c * x;
            square += c * x * x;
        }
    const double about = (square - sum * sum / w) / w, floor = 1e-3 * square / w + 1e-12;
    return about > floor ? about : floor;
}

static double value_loss(const patch *p)
{
    const double part = 1 / (weighted_variance(p) * (double)p->count);
    double sum = 0;
    for (int64_t k = 0; k < p->count; k++)
        for (int64_t i = 0; i < p->cells; i++) {
            const int64_t at = k * p->cells + i;
            const double w = part * (p->c ? (double)p->c[i] : 1);
            const double e = (double)p->s[at] - (double)p->t[at];
            sum += w * e * e;
            p->ds[at] += (float)(2 * w * p->scale * e);
        }
    return sum;
}

/* ---- all parts ---- */

/* A part that runs over each cell once is not divided by the confidence of others. */
static double divisor(const cr_distill *d, const target *t)
{
    if (t->p.kind == CR_DISTILL_FEATURE) return 1;
    return t->confidence || t->p.kind == CR_DISTILL_LOGIT ? d->total
                                                          : (double)(t->batch * t->cells);
}

static void part_loss(void *ctx, size_t index, int worker)
{
    cr_distill *d = ctx;
    target *t = &d->targets[index];
    const double z = divisor(d, t);
    (void)worker;
    t->loss = 0;
    for (int64_t b = 0; b < t->batch; b++) {
        const int64_t from = (b * t->channels + t->p.first) * t->cells;
        const patch p = {.s = (const float *)cr_tape_value(d->tape, t->tensor) + from,
                         .t = wish_of(d, t) + from,
                         .ds = (float *)cr_tape_grad(d->tape, t->tensor) + from,
                         .c = t->confidence ? t->confidence + b * t->cells : NULL,
                         .count = t->p.count,
                         .cells = t->cells,
                         .bins = t->p.bins,
                         .extent = t->p.extent,
                         .scale = d->share * t->p.weight / z};
        switch (t->p.kind) {
        case CR_DISTILL_LOGIT:
            t->loss += logit_loss(&p) / z;
            break;
        case CR_DISTILL_BINS:
            t->loss += bins_loss(&p) / z;
            if (p.extent > 0) t->loss += extent_loss(&p) / z;
            break;
        case CR_DISTILL_VALUE:
            t->loss += value_loss(&p) / z;
            break;
        default:
            t->loss += feature_loss(&p) / z;
            break;
        }
    }
}

void cr_distill_loss(cr_distill *d, const cr_tape *tape, double share,
                     double sums[CR_DISTILL_KINDS], double *each)
{
    for (size_t i = 0; i < d->student->output_count; i++) {
        const cr_tensor *t = d->student->outputs[i];
        float *grad = cr_tape_grad(tape, t);
        if (grad) memset(grad, 0, cr_tensor_bytes(t));
    }
    d->tape = tape;
    d->share = share;
    cr_pool_run(d->pool, d->count, part_loss, d);
    for (size_t i = 0; i < d->count; i++) {
        const target *t = &d->targets[i];
        sums[t->p.kind] += share * t->p.weight * t->loss;
        if (each) each[i] = t->loss;
    }
}
