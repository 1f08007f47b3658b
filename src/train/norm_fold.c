/* See norm_fold.h. */
#include "train/norm_fold.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

/* ---- statistics ---- */

typedef struct moments { /* of one node, over batches */
    const cr_node *node;
    float *mean, *variance; /* the tape's running ones */
    int64_t channels;
    double keep;                     /* momentum */
    double *means, *squares, *inner; /* sums over batches: means, their squares, variances */
} moments;

static cr_status open_moments(const cr_graph *g, const cr_tape *tape, moments *all, size_t *count,
                              cr_error *err)
{
    *count = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind != CR_OP_BatchNormalization) continue;
        moments *m = &all[*count];
        *m = (moments){.node = n,
                       .mean = cr_tape_value(tape, n->in[3]),
                       .variance = cr_tape_value(tape, n->in[4]),
                       .channels = cr_shape_count(&n->in[3]->shape),
                       .keep = (double)cr_attr_float(n, "momentum", .9f)};
        (*count)++;
        CR_CHECK(m->keep < 1, err, CR_ERR_UNSUPPORTED,
                 "node '%s': a momentum of 1 hides the statistics of a batch", n->name);
        m->means = cr_calloc(3 * (size_t)m->channels + 1, sizeof *m->means);
        if (!m->means) return CR_NOMEM(err);
        m->squares = m->means + m->channels;
        m->inner = m->squares + m->channels;
    }
    return CR_OK;
}

/* From zero a forward pass leaves (1 - momentum) times the batch's statistics. */
static void clear(const moments *m)
{
    memset(m->mean, 0, (size_t)m->channels * sizeof *m->mean);
    memset(m->variance, 0, (size_t)m->channels * sizeof *m->variance);
}

static void add_batch(const moments *m)
{
    for (int64_t c = 0; c < m->channels; c++) {
        const double mean = (double)m->mean[c] / (1 - m->keep);
        m->means[c] += mean;
        m->squares[c] += mean * mean;
        m->inner[c] += (double)m->variance[c] / (1 - m->keep);
    }
}

static void store(const moments *m, int64_t n)
{
    for (int64_t c = 0; c < m->channels; c++) {
        const double mean = m->means[c] / (double)n;
        const double between = m->squares[c] / (double)n - mean * mean;
        m->mean[c] = (float)mean;
        m->variance[c] = (float)(m->inner[c] / (double)n + fmax(0, between));
    }
}

static cr_status gather(moments *all, size_t count, cr_tape *tape, int64_t n, cr_norm_load_fn load,
                        void *ctx, cr_error *err)
{
    for (int64_t i = 0; i < n; i++) {
        CR_TRY(load(ctx, tape, i, err));
        for (size_t k = 0; k < count; k++) clear(&all[k]);
        CR_TRY(cr_tape_forward(tape, err));
        for (size_t k = 0; k < count; k++) add_batch(&all[k]);
    }
    for (size_t k = 0; k < count; k++) store(&all[k], n);
    return CR_OK;
}

cr_status cr_norm_reestimate(const cr_graph *g, cr_tape *tape, int64_t n, cr_norm_load_fn load,
                             void *ctx, cr_error *err)
{
    size_t count;
    CR_CHECK(n > 0, err, CR_ERR_ARGUMENT, "no pictures to take statistics from");
    moments *all = cr_calloc(g->node_count + 1, sizeof *all);
    if (!all) return CR_NOMEM(err);
    cr_status st = open_moments(g, tape, all, &count, err);
    if (st == CR_OK) st = gather(all, count, tape, n, load, ctx, err);
    for (size_t k = 0; k < count; k++) cr_free(all[k].means);
    cr_free(all);
    return st;
}

/* ---- folding ---- */

typedef struct pair {            /* a convolution and what is behind it, before the fold */
    const char *weight, *output; /* output: of the normalization, afterwards of the convolution */
    double *gain;                /* by output channel */
    int64_t channels, inner;     /* channel of weight element i: i / inner % channels */
} pair;

static cr_status read_pair(const cr_graph *g, const cr_node *bn, pair *p, cr_error *err)
{
    const cr_node *conv = bn->in[0]->producer;
    (void)g;
    *p = (pair){.output = bn->out[0]->name};
    if (!conv || (conv->op->kind != CR_OP_Conv && conv->op->kind != CR_OP_ConvTranspose))
        return CR_OK;
    const cr_shape *w = &conv->in[1]->shape;
    const int axis = conv->op->kind == CR_OP_Conv ? 0 : 1;
    const double epsilon = (double)cr_attr_float(bn, "epsilon", 1e-5f);
    p->weight = conv->in[1]->name;
    p->channels = w->dim[axis];
    p->inner = 1;
    for (int d = axis + 1; d < w->rank; d++) p->inner *= w->dim[d];
    p->gain = cr_calloc((size_t)p->channels + 1, sizeof *p->gain);
    if (!p->gain) return CR_NOMEM(err);
    for (int64_t c = 0; c < p->channels && c < cr_shape_count(&bn->in[1]->shape); c++)
        p->gain[c] = cr_tensor_get_f64(bn->in[1], (size_t)c) /
                     sqrt(cr_tensor_get_f64(bn->in[4], (size_t)c) + epsilon);
    return CR_OK;
}

static cr_status read_pairs(const cr_graph *g, pair *pairs, size_t *count, cr_error *err)
{
    *count = 0;
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == CR_OP_BatchNormalization)
            CR_TRY(read_pair(g, g->nodes[i], &pairs[(*count)++], err));
    return CR_OK;
}

static void mirror(const cr_qparams *q, size_t k, int32_t *zero)
{
    int32_t lo, hi;
    cr_q_range(q, &lo, &hi);
    const bool centred = q->zero_point[k] == 0 && lo < 0;
    *zero = centred ? 0 : lo + hi - q->zero_point[k];
}

/* Parameters of the folded weight: a scale per output channel where there was one for all. */
static cr_status fold_params(const cr_qparams *from, const cr_tensor *w, const pair *p, int axis,
                             cr_arena *arena, cr_qparams *to, cr_error *err)
{
    *to = *from;
    if (from->count == 1) {
        to->axis = axis;
        to->block = 0;
        to->count = (size_t)p->channels;
    }
    to->scale = cr_arena_alloc(arena, to->count * sizeof *to->scale);
    to->zero_point = cr_arena_alloc(arena, to->count * sizeof *to->zero_point);
    int64_t *channel = cr_arena_alloc(arena, to->count * sizeof *channel);
    if (!to->scale || !to->zero_point || !channel) return CR_NOMEM(err);
    for (size_t k = 0; k < to->count; k++) channel[k] = -1;
    const cr_q_grain g = cr_q_grain_of(to, &w->shape);
    for (int64_t i = 0; i < cr_shape_count(&w->shape); i++) {
        const int64_t line = i / g.inner, c = i / p->inner % p->channels;
        const size_t k = cr_q_first_scale(&g, line / g.length, line % g.length) +
                         (g.block ? (size_t)(i % g.inner) : 0);
        CR_CHECK(channel[k] < 0 || channel[k] == c, err, CR_ERR_UNSUPPORTED,
                 "weight '%s': its scales lie along another axis than the batch normalization",
                 w->name);
        if (channel[k] == c) continue;
        channel[k] = c;
        const size_t old = from->count == 1 ? 0 : k;
        const float scale = (float)((double)from->scale[old] * fabs(p->gain[c]));
        to->scale[k] = scale > 0 ? scale : from->scale[old]; /* all weights are zero then */
        to->zero_point[k] = from->zero_point[old];
        if (p->gain[c] < 0) mirror(from, old, &to->zero_point[k]);
    }
    return CR_OK;
}

static const pair *pair_of(const pair *pairs, size_t count, const char *weight)
{
    for (size_t i = 0; i < count; i++)
        if (pairs[i].weight && !strcmp(pairs[i].weight, weight)) return &pairs[i];
    return NULL;
}

static cr_status fold_entry(const cr_recipe_entry *e, const cr_graph *folded, const pair *p,
                            cr_recipe *out, cr_error *err)
{
    const cr_tensor *y = p ? cr_graph_find(folded, p->output) : NULL;
    const cr_node *conv = y ? y->producer : NULL;
    if (!conv || conv->op->kind == CR_OP_BatchNormalization || conv->n_in < 3)
        return cr_recipe_add(out, e->tensor, e->is_weight, &e->q, e->note, err);
    cr_qparams q;
    CR_TRY(fold_params(&e->q, conv->in[1], p, conv->op->kind == CR_OP_Conv ? 0 : 1, &out->arena, &q,
                       err));
    return cr_recipe_add(out, conv->in[1]->name, true, &q, e->note, err);
}

static cr_status fold_recipe(const cr_recipe *r, const cr_graph *folded, const pair *pairs,
                             size_t count, cr_recipe *out, cr_error *err)
{
    for (size_t i = 0; i < r->count; i++)
        CR_TRY(fold_entry(&r->entries[i], folded, pair_of(pairs, count, r->entries[i].tensor), out,
                          err));
    for (size_t i = 0; i < r->fact_count; i++)
        if (!cr_recipe_set_fact(out, r->facts[2 * i], r->facts[2 * i + 1])) return CR_NOMEM(err);
    return CR_OK;
}

cr_status cr_norm_fold(const cr_graph *g, const cr_recipe *r, cr_graph **folded, cr_recipe **out,
                       cr_error *err)
{
    size_t count = 0;
    *out = NULL;
    CR_TRY(r ? cr_recipe_apply(r, g, folded, err) : cr_graph_clone(g, folded, err));
    pair *pairs = cr_calloc((*folded)->node_count + 1, sizeof *pairs);
    cr_status st = pairs ? read_pairs(*folded, pairs, &count, err) : CR_NOMEM(err);
    if (st == CR_OK) st = cr_graph_fuse_norm(*folded, err);
    if (st == CR_OK && r) st = cr_recipe_create(out, err);
    if (st == CR_OK && r) st = fold_recipe(r, *folded, pairs, count, *out, err);
    for (size_t i = 0; i < count; i++) cr_free(pairs[i].gain);
    cr_free(pairs);
    if (st != CR_OK) {
        cr_graph_free(folded);
        cr_recipe_release(out);
    }
    return st;
}
