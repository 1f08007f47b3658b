/* See optimiser.h. SGD with momentum as PyTorch has it (Sutskever et al. 2013 with the rate outside
 * of the velocity), AdamW (Loshchilov & Hutter 2019), cosine schedule (Loshchilov & Hutter 2017).
 * Arithmetic is in double, rounded when stored; the norm is one sum in the order of the parameters,
 * because partial sums per thread would tie results to their number. */
#include "train/optimiser.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "train/muon.h"

enum { PIECE = 1 << 14 };

struct cr_optimiser {
    cr_optimiser_options options;
    cr_pool *pool;
    cr_parameter *parameters;
    size_t count;
    int64_t *start; /* of each parameter in the blocks below; count + 1 of them */
    float *first, *second, *average; /* velocity or first moment; second moment; may be NULL */
    cr_muon *muon;                   /* NULL: no parameter is a matrix */
    int64_t steps;
    double norm;
};

cr_optimiser_options cr_optimiser_options_default(void)
{
    return (cr_optimiser_options){.kind = CR_SGD, .rate = 0.01, .final_rate = 0.01,
                                  .momentum = 0.937, .nesterov = true, .beta1 = 0.9,
                                  .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 5e-4,
                                  .clip_norm = 10, .average = 0.9999, .average_ramp = 2000};
}

double cr_learning_rate(const cr_optimiser_options *o, int64_t step)
{
    if (step < o->warm_up) return o->rate * (double)(step + 1) / (double)(o->warm_up + 1);
    if (o->steps <= o->warm_up) return o->rate;
    const double at = (double)(step - o->warm_up) / (double)(o->steps - o->warm_up);
    const double way = at < 1 ? 0.5 * (1 + cos(acos(-1) * at)) : 0;
    return o->rate * (o->final_rate + (1 - o->final_rate) * way);
}

static bool within(double x, double lo, double hi)
{
    return x >= lo && x <= hi;
}

static cr_status check_options(const cr_optimiser_options *o, cr_error *err)
{
    CR_CHECK(o->rate > 0 && isfinite(o->rate), err, CR_ERR_ARGUMENT,
             "the learning rate must be above 0, not %g", o->rate);
    CR_CHECK(within(o->final_rate, 0, 1) && o->warm_up >= 0 && o->steps >= 0, err, CR_ERR_ARGUMENT,
             "the schedule ends at a fraction of the rate and has no negative lengths");
    CR_CHECK(within(o->momentum, 0, 1) && within(o->beta1, 0, 1) && o->beta1 < 1 &&
                 within(o->beta2, 0, 1) && o->beta2 < 1 && within(o->average, 0, 1),
             err, CR_ERR_ARGUMENT, "momentum, betas and the average's decay lie between 0 and 1");
    CR_CHECK(o->epsilon > 0 && o->weight_decay >= 0 && o->clip_norm >= 0 && o->average_ramp >= 0,
             err, CR_ERR_ARGUMENT,
             "epsilon must be above 0; weight decay, clipping and ramp not below");
    return CR_OK;
}

/* n zeroed floats. */
static float *zeros(int64_t n)
{
    float *p = cr_aligned_alloc((size_t)n * sizeof *p);
    if (p) memset(p, 0, (size_t)n * sizeof *p);
    return p;
}

static bool is_matrix(const cr_optimiser *o, const cr_parameter *p)
{
    return o->options.kind == CR_MUON && p->rows > 0 && p->grad;
}

static cr_status prepare_muon(cr_optimiser *o, cr_error *err)
{
    size_t n = 0;
    cr_muon_matrix *matrices = cr_calloc(o->count + 1, sizeof *matrices);
    if (!matrices) return CR_NOMEM(err);
    for (size_t i = 0; i < o->count; i++) {
        const cr_parameter *p = &o->parameters[i];
        if (!is_matrix(o, p)) continue;
        if (p->count % p->rows) {
            cr_free(matrices);
            return cr_fail(err, CR_ERR_ARGUMENT, "a matrix of %lld elements has not %lld rows",
                           (long long)p->count, (long long)p->rows);
        }
        matrices[n++] = (cr_muon_matrix){p->rows, p->count / p->rows};
    }
    if (n) o->muon = cr_muon_create(matrices, n);
    cr_free(matrices);
    return !n || o->muon ? CR_OK : CR_NOMEM(err);
}

static cr_status prepare(cr_optimiser *o, const cr_parameter *parameters, size_t n, cr_error *err)
{
    const cr_optimiser_options *how = &o->options;
    o->count = n;
    o->parameters = cr_calloc(n + 1, sizeof *o->parameters);
    o->start = cr_calloc(n + 1, sizeof *o->start);
    if (!o->parameters || !o->start) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        o->parameters[i] = parameters[i];
        o->start[i + 1] = o->start[i] + parameters[i].count;
    }
    const int64_t total = o->start[n];
    o->first = zeros(total);
    if (how->kind != CR_SGD) o->second = zeros(total);
    if (how->average > 0) o->average = zeros(total);
    if (!o->first || (how->kind != CR_SGD && !o->second) || (how->average > 0 && !o->average))
        return CR_NOMEM(err);
    for (size_t i = 0; o->average && i < n; i++)
        memcpy(o->average + o->start[i], parameters[i].value,
               (size_t)parameters[i].count * sizeof(float));
    return prepare_muon(o, err);
}

cr_status cr_optimiser_create(const cr_parameter *parameters, size_t n,
                              const cr_optimiser_options *options, cr_pool *pool,
                              cr_optimiser **out, cr_error *err)
{
    *out = NULL;
    CR_TRY(check_options(options, err));
    cr_optimiser *o = cr_calloc(1, sizeof *o);
    if (!o) return CR_NOMEM(err);
    o->options = *options;
    o->pool = pool;
    const cr_status st = prepare(o, parameters, n, err);
    if (st != CR_OK) {
        cr_optimiser_free(&o);
        return st;
    }
    *out = o;
    return CR_OK;
}

void cr_optimiser_free(cr_optimiser **optimiser)
{
    if (!optimiser || !*optimiser) return;
    cr_optimiser *o = *optimiser;
    cr_free(o->parameters);
    cr_free(o->start);
    cr_muon_free(&o->muon);
    cr_aligned_free(o->first);
    cr_aligned_free(o->second);
    cr_aligned_free(o->average);
    cr_free(o);
    *optimiser = NULL;
}

/* What one step does to one parameter. */
typedef struct update {
    const cr_optimiser_options *how;
    cr_parameter p;
    float *first, *second, *average;
    double scale;        /* of the gradient, from clipping */
    double rate, decay;  /* decay: weight decay of this parameter */
    double bias1, bias2; /* 1 - beta^step */
    double keep;         /* the average's decay */
    bool matrix;         /* moved by Muon already */
} update;

static void sgd(const update *u, int64_t i)
{
    const double w = u->p.value[i], momentum = u->how->momentum;
    const double g = u->p.grad[i] * u->scale + u->decay * w;
    const double v = momentum * u->first[i] + g;
    u->first[i] = (float)v;
    u->p.value[i] = (float)(w - u->rate * (u->how->nesterov ? g + momentum * v : v));
}

static void adamw(const update *u, int64_t i)
{
    const double g = u->p.grad[i] * u->scale, b1 = u->how->beta1, b2 = u->how->beta2;
    const double m = b1 * u->first[i] + (1 - b1) * g, v = b2 * u->second[i] + (1 - b2) * g * g;
    const double w = u->p.value[i] * (1 - u->rate * u->decay);
    u->first[i] = (float)m;
    u->second[i] = (float)v;
    u->p.value[i] =
        (float)(w - u->rate * (m / u->bias1) / (sqrt(v / u->bias2) + u->how->epsilon));
}

/* A wide matrix moves each output by a vector of length 1, a tall one less: hence the factor. */
static void muon(const cr_optimiser *o, const update *u)
{
    const int64_t rows = u->p.rows, cols = u->p.count / rows;
    const double momentum = u->how->momentum;
    float *move = cr_muon_room(o->muon);
    for (int64_t i = 0; i < u->p.count; i++) {
        const double g = u->p.grad[i] * u->scale;
        const double v = momentum * u->first[i] + (1 - momentum) * g;
        u->first[i] = (float)v;
        move[i] = (float)(u->how->nesterov ? momentum * v + (1 - momentum) * g : v);
    }
    cr_muon_orthogonal(o->muon, o->pool, move, rows, cols);
    const double rate = u->rate * (rows > cols ? sqrt((double)rows / (double)cols) : 1);
    for (int64_t i = 0; i < u->p.count; i++)
        u->p.value[i] = (float)(u->p.value[i] * (1 - u->rate * u->decay) - rate * move[i]);
}

static void update_piece(void *ctx, size_t index, int worker)
{
    const update *u = ctx;
    const int64_t from = (int64_t)index * PIECE;
    const int64_t to = from + PIECE < u->p.count ? from + PIECE : u->p.count;
    (void)worker;
    for (int64_t i = from; i < to; i++) {
        if (u->p.grad && u->how->kind == CR_SGD) sgd(u, i);
        if (u->p.grad && u->how->kind != CR_SGD && !u->matrix) adamw(u, i);
        if (u->average)
            u->average[i] = (float)(u->keep * u->average[i] + (1 - u->keep) * u->p.value[i]);
    }
}

static double gradient_norm(const cr_optimiser *o)
{
    double sum = 0;
    for (size_t k = 0; k < o->count; k++) {
        const float *g = o->parameters[k].grad;
        for (int64_t i = 0; g && i < o->parameters[k].count; i++) sum += (double)g[i] * (double)g[i];
    }
    return sqrt(sum);
}

cr_status cr_optimiser_step(cr_optimiser *o, cr_error *err)
{
    const cr_optimiser_options *how = &o->options;
    const double norm = gradient_norm(o), step = (double)(o->steps + 1);
    CR_CHECK(isfinite(norm), err, CR_ERR_ARGUMENT,
             "step %lld: the gradient is not finite; lower the learning rate",
             (long long)o->steps);
    update u = {.how = how, .scale = how->clip_norm > 0 && norm > how->clip_norm
                                         ? how->clip_norm / norm : 1};
    const double rate = cr_learning_rate(how, o->steps);
    u.bias1 = 1 - pow(how->beta1, step);
    u.bias2 = 1 - pow(how->beta2, step);
    u.keep = how->average * (how->average_ramp > 0 ? 1 - exp(-step / how->average_ramp) : 1);
    for (size_t k = 0; k < o->count; k++) {
        u.p = o->parameters[k];
        u.first = o->first + o->start[k];
        u.second = o->second ? o->second + o->start[k] : NULL;
        u.average = o->average ? o->average + o->start[k] : NULL;
        u.rate = rate * (u.p.rate > 0 ? u.p.rate : 1);
        u.decay = u.p.decays ? how->weight_decay : 0;
        u.matrix = is_matrix(o, &u.p);
        if (u.matrix) muon(o, &u);
        cr_pool_run(o->pool, (size_t)((u.p.count + PIECE - 1) / PIECE), update_piece, &u);
    }
    o->norm = norm;
    o->steps++;
    return CR_OK;
}

void cr_optimiser_set_length(cr_optimiser *o, int64_t steps) { o->options.steps = steps; }

cr_optimiser_state cr_optimiser_state_of(const cr_optimiser *o)
{
    return (cr_optimiser_state){o->first, o->second, o->average, o->start[o->count]};
}

void cr_optimiser_resume(cr_optimiser *o, int64_t steps) { o->steps = steps; }

int64_t cr_optimiser_steps(const cr_optimiser *o) { return o->steps; }

double cr_optimiser_norm(const cr_optimiser *o) { return o->norm; }

const float *cr_optimiser_average(const cr_optimiser *o, size_t i)
{
    return o->average ? o->average + o->start[i] : NULL;
}
