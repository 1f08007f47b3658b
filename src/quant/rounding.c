/* Second-order rounding, group by group, output by output.
 *
 * 1. Least squares: W* = (G + l)^-1 (B + l W) makes up on average for what quantization did to the
 *    layer's input (l: damping; it holds W* to W where inputs say little).
 * 2. The codes, and where asked the scales, with the least error (W* - V)^T (G + l) (W* - V)
 *    (lattice.c). Inputs of most energy are fixed first.
 *
 * What comes out replaces nearest rounding only where pictures that it was not fitted to confirm
 * it, output by output. Rejected: the explicit inverse of GPTQ's paper (the same codes for three
 * times the work), fitting without a check (on YOLOv8n a mean correction that is right on every
 * layer by itself costs .2 agreement). */
#include "quant/rounding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "quant/cholesky.h"
#include "quant/lattice.h"

typedef struct problem {
    const cr_gram *gram;
    const cr_qparams *q;
    const cr_rounding_options *o;
    cr_q_grain grain;
    int64_t group, k, blocks;
    cr_lattice lattice;
    double lambda;
    int64_t *order;      /* [k] row of R -> input */
    int32_t *block;      /* [k] of that row's scale */
    int64_t *first;      /* [blocks] an input that it holds for */
    int64_t *at;         /* [k] for permute */
    float *h, *diagonal; /* as in the lattice */
    struct scratch *scratch; /* by worker */
    float *weights, *shift;
} problem;

/* For one output, in inputs' order: [k] each. */
typedef struct scratch {
    double *w, *fitted, *nearest;
    cr_lattice_row row;
} scratch;

/* ---- one group ---- */

static const float *group_g(const problem *p, int set)
{
    return p->gram->sums[set].g + p->group * p->k * p->k;
}

static double mean_x(const problem *p, int set, int64_t i)
{
    const cr_gram_sums *s = &p->gram->sums[set];
    return s->rows > 0 ? s->x[p->group * p->k + i] / s->rows : 0;
}

static double mean_y(const problem *p, int set, int64_t o)
{
    const cr_gram_sums *s = &p->gram->sums[set];
    return s->rows > 0 ? s->y[p->group * p->gram->out + o] / s->rows : 0;
}

static double fit_g(const problem *p, int64_t i, int64_t j)
{
    const double raw = (double)group_g(p, CR_GRAM_FIT)[i * p->k + j];
    if (!p->o->centre) return raw;
    return raw -
           p->gram->sums[CR_GRAM_FIT].rows * mean_x(p, CR_GRAM_FIT, i) * mean_x(p, CR_GRAM_FIT, j);
}

static double fit_b(const problem *p, int64_t i, int64_t o)
{
    const cr_gram *g = p->gram;
    const double raw = (double)g->sums[CR_GRAM_FIT].b[(p->group * p->k + i) * g->out + o];
    if (!p->o->centre) return raw;
    return raw - g->sums[CR_GRAM_FIT].rows * mean_x(p, CR_GRAM_FIT, i) * mean_y(p, CR_GRAM_FIT, o);
}

typedef struct ranked {
    double energy;
    int64_t input;
} ranked;

static int by_energy(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->energy != y->energy) return x->energy < y->energy ? -1 : 1;
    return x->input < y->input ? -1 : x->input > y->input;
}

static cr_status order_inputs(problem *p, cr_error *err)
{
    ranked *list = cr_calloc((size_t)p->k, sizeof *list);
    double sum = 0;
    if (!list) return CR_NOMEM(err);
    for (int64_t i = 0; i < p->k; i++) {
        list[i] = (ranked){fit_g(p, i, i), i};
        sum += list[i].energy;
    }
    qsort(list, (size_t)p->k, sizeof *list, by_energy);
    for (int64_t i = 0; i < p->k; i++) p->order[i] = list[i].input;
    p->lambda = p->o->damping * sum / (double)p->k;
    cr_free(list);
    return CR_OK;
}

static void swap_inputs(float *g, int64_t k, int64_t a, int64_t b)
{
    for (int64_t i = 0; i < k; i++) {
        const float v = g[a * k + i];
        g[a * k + i] = g[b * k + i];
        g[b * k + i] = v;
    }
    for (int64_t i = 0; i < k; i++) {
        const float v = g[i * k + a];
        g[i * k + a] = g[i * k + b];
        g[i * k + b] = v;
    }
}

/* Brings rows and columns of the fitted G into R's order, in its own memory: `at` [k] says which input
 * a row holds. */
static void permute(problem *p)
{
    for (int64_t i = 0; i < p->k; i++) p->at[i] = i;
    for (int64_t i = 0; i < p->k; i++) {
        int64_t j = i;
        while (p->at[j] != p->order[i]) j++;
        if (j == i) continue;
        swap_inputs(p->h, p->k, i, j);
        p->at[j] = p->at[i];
        p->at[i] = p->order[i];
    }
}

/* Takes the fitted G's memory for H and R. false: the layer's inputs are all zero, or not a number. */
static bool factor(problem *p)
{
    if (!(p->lambda > 0) || !isfinite(p->lambda)) return false;
    p->h = p->gram->sums[CR_GRAM_FIT].g + p->group * p->k * p->k;
    for (int64_t i = 0; p->o->centre && i < p->k; i++)
        for (int64_t j = 0; j < p->k; j++) p->h[i * p->k + j] = (float)fit_g(p, i, j);
    permute(p);
    for (int64_t i = 0; i < p->k; i++) {
        p->h[i * p->k + i] += (float)p->lambda;
        p->diagonal[i] = p->h[i * p->k + i];
    }
    return cr_cholesky(p->h, p->k);
}

/* ---- one output ---- */

/* The scale of weight (o, i) of the group. */
static size_t scale_at(const problem *p, int64_t o, int64_t i)
{
    const cr_gram *g = p->gram;
    const int64_t at = p->group * g->down + o * g->across + i * g->step;
    const int64_t line = at / p->grain.inner, a = line % p->grain.length;
    if (p->q->count == 1) return 0;
    return cr_q_first_scale(&p->grain, line / p->grain.length, a) +
           (size_t)(p->grain.block ? at % p->grain.inner : 0);
}

/* Inputs that share a scale, the same for every output of the group: block[] and first[]. */
static void find_blocks(problem *p)
{
    p->blocks = 0;
    for (int64_t row = 0; row < p->k; row++) {
        const size_t mine = scale_at(p, 0, p->order[row]);
        int64_t b = 0;
        while (b < p->blocks && scale_at(p, 0, p->first[b]) != mine) b++;
        if (b == p->blocks) p->first[p->blocks++] = p->order[row];
        p->block[row] = (int32_t)b;
    }
}

static float on_grid(const problem *p, float w, size_t scale)
{
    const int32_t zero = p->q->zero_point[scale];
    int32_t code = cr_quantize_value(w, p->q->scale[scale], zero, p->lattice.lo, p->lattice.hi);
    return cr_dequantize(code, p->q->scale[scale], zero);
}

/* Squared error of v (in the inputs' own order) on the check set, with `shift` added to the output.
 */
static double check_error(const problem *p, const double *v, int64_t o, double shift)
{
    const cr_gram *gram = p->gram;
    const cr_gram_sums *s = &gram->sums[CR_GRAM_CHECK];
    const float *g = group_g(p, CR_GRAM_CHECK);
    double error = s->yy[p->group * gram->out + o], mean = -s->y[p->group * gram->out + o];
    for (int64_t i = 0; i < p->k; i++) {
        const float *row = g + i * p->k; /* symmetric: twice what lies right of the diagonal */
        const double sum = (double)row[i] * v[i] + 2 * cr_dot(row + i + 1, v + i + 1, p->k - i - 1);
        error += v[i] * (sum - 2 * (double)s->b[(p->group * p->k + i) * gram->out + o]);
        mean += v[i] * s->x[p->group * p->k + i];
    }
    return error + 2 * shift * mean + s->rows * shift * shift;
}

static void fit_output(const problem *p, scratch *s, int64_t o)
{
    cr_lattice_row *r = &s->row;
    for (int64_t i = 0; i < p->k; i++) r->target[i] = s->w[p->order[i]];
    if (p->o->correct) {
        for (int64_t i = 0; i < p->k; i++)
            r->target[i] = fit_b(p, p->order[i], o) + p->lambda * s->w[p->order[i]];
        cr_cholesky_solve(p->h, p->k, r->target);
    }
    for (int64_t b = 0; b < p->blocks; b++) {
        const size_t at = scale_at(p, o, p->first[b]);
        r->scale[b] = (double)p->q->scale[at];
        r->zero[b] = p->q->zero_point[at];
    }
    cr_lattice_fit(&p->lattice, r);
    for (int64_t i = 0; i < p->k; i++)
        s->fitted[p->order[i]] = r->codes[i] * r->scale[p->block[i]];
}

static double mean_shift(const problem *p, const scratch *s, int64_t o)
{
    if (!p->o->centre) return 0;
    double shift = mean_y(p, CR_GRAM_FIT, o);
    for (int64_t i = 0; i < p->k; i++) shift -= s->fitted[i] * mean_x(p, CR_GRAM_FIT, i);
    return shift;
}

/* Values on the grid, which no longer depend on how they were computed; its scales too. */
static void store_fitted(const problem *p, const scratch *s, int64_t o, float *w)
{
    const cr_lattice_row *r = &s->row;
    for (int64_t b = 0; p->lattice.scales && b < p->blocks; b++)
        p->q->scale[scale_at(p, o, p->first[b])] = (float)r->scale[b];
    for (int64_t i = 0; i < p->k; i++) {
        const int64_t input = p->order[i];
        const int32_t zero = r->zero[p->block[i]];
        w[input * p->gram->step] =
            cr_dequantize((int32_t)r->codes[i] + zero, (float)r->scale[p->block[i]], zero);
    }
}

static void output_task(void *ctx, size_t index, int worker)
{
    const problem *p = ctx;
    scratch *s = &p->scratch[worker];
    const cr_gram *g = p->gram;
    const int64_t o = (int64_t)index, channel = p->group * g->out + o;
    float *w = p->weights + p->group * g->down + o * g->across;
    for (int64_t i = 0; i < p->k; i++) {
        s->w[i] = (double)w[i * g->step];
        w[i * g->step] = on_grid(p, w[i * g->step], scale_at(p, o, i));
        s->nearest[i] = (double)w[i * g->step];
    }
    fit_output(p, s, o);
    const double move = mean_shift(p, s, o), after = check_error(p, s->fitted, o, move);
    const double before = check_error(p, s->nearest, o, 0);
    const bool better = after < before;
    g->error[0][channel] = before;
    g->error[1][channel] = better ? after : before;
    p->shift[channel] = better ? (float)move : 0;
    if (better) store_fitted(p, s, o, w);
}

/* -128 stays unused with zero in the middle, as nearest rounding leaves it. */
static void set_range(problem *p)
{
    cr_lattice *l = &p->lattice;
    cr_q_range(p->q, &l->lo, &l->hi);
    if (p->q->type == CR_DT_I8 && l->lo < -127) l->lo = -127;
}

/* A group whose inputs say nothing, as of a channel that is always zero. */
static void round_nearest(const problem *p)
{
    const cr_gram *g = p->gram;
    for (int64_t o = 0; o < g->out; o++) {
        float *w = p->weights + p->group * g->down + o * g->across;
        for (int64_t i = 0; i < p->k; i++)
            w[i * g->step] = on_grid(p, w[i * g->step], scale_at(p, o, i));
    }
}

static cr_status open_problem(problem *p, int workers, cr_error *err)
{
    const size_t k = (size_t)p->k;
    p->order = cr_calloc(k, sizeof *p->order);
    p->block = cr_calloc(k, sizeof *p->block);
    p->first = cr_calloc(k, sizeof *p->first);
    p->at = cr_calloc(k, sizeof *p->at);
    p->diagonal = cr_calloc(k, sizeof *p->diagonal);
    p->scratch = cr_calloc((size_t)workers, sizeof *p->scratch);
    if (!p->order || !p->block || !p->first || !p->at || !p->diagonal || !p->scratch)
        return CR_NOMEM(err);
    return CR_OK;
}

static cr_status open_scratch(problem *p, int workers, cr_error *err)
{
    const size_t k = (size_t)p->k;
    const double planned_is_least = 1;
    for (int i = 0; i < workers; i++) {
        scratch *s = &p->scratch[i];
        if (s->w) continue;
        s->w = cr_calloc(3 * k, sizeof *s->w);
        s->row = cr_lattice_row_create(p->k, p->blocks);
        if (!s->w || !s->row.target) return CR_NOMEM(err);
        s->fitted = s->w + k;
        s->nearest = s->w + 2 * k;
        s->row.least = p->o->never_finer ? planned_is_least : 0;
    }
    return CR_OK;
}

static void close_problem(problem *p, int workers)
{
    for (int i = 0; p->scratch && i < workers; i++) {
        cr_free(p->scratch[i].w);
        cr_lattice_row_free(&p->scratch[i].row);
    }
    cr_free(p->scratch);
    cr_free(p->order);
    cr_free(p->block);
    cr_free(p->first);
    cr_free(p->at);
    cr_free(p->diagonal);
}

static cr_status round_group(problem *p, cr_pool *pool, cr_rounding_result *result, cr_error *err)
{
    const cr_gram *g = p->gram;
    CR_TRY(order_inputs(p, err));
    find_blocks(p);
    CR_TRY(open_scratch(p, cr_pool_threads(pool), err));
    if (!factor(p)) {
        round_nearest(p);
        return CR_OK;
    }
    const int32_t lo = p->lattice.lo, hi = p->lattice.hi;
    p->lattice = (cr_lattice){p->k, p->blocks,     p->h,
                              p->diagonal, p->block, lo, hi, p->o->sweeps,
                              p->o->scales && p->q->count > 1};
    cr_pool_run(pool, (size_t)g->out, output_task, p);
    for (int64_t c = p->group * g->out; c < (p->group + 1) * g->out; c++) {
        result->before += g->error[0][c];
        result->after += g->error[1][c];
        result->kept |= g->error[1][c] < g->error[0][c];
    }
    return CR_OK;
}

cr_status cr_round_weights(const cr_gram *g, cr_qparams *q, const cr_rounding_options *o,
                           cr_pool *pool, float *weights, float *shift, cr_rounding_result *result,
                           cr_error *err)
{
    problem p = {.gram = g, .q = q, .o = o, .k = g->k, .weights = weights, .shift = shift};
    const int workers = cr_pool_threads(pool);
    cr_status st = CR_OK;
    *result = (cr_rounding_result){0};
    p.grain = cr_q_grain_of(q, &g->weight->shape);
    set_range(&p);
    CR_TRY_GOTO(open_problem(&p, workers, err), done);
    for (p.group = 0; p.group < g->groups; p.group++)
        CR_TRY_GOTO(round_group(&p, pool, result, err), done);
done:
    close_problem(&p, workers);
    return st;
}
