/* Cross-layer equalization by predicted noise.
 *
 * A layer that reads X [C channels] with one scale, from weights with one scale per output o, gets
 *
 *     A = step_X^2 / 12  sum_c sum_o w_oc^2         from rounding X: step_X is the widest channel's
 *     B = sum_o step_o^2 / 12  sum_c E[x_c^2]       from rounding w: step_o is the largest weight's
 *
 * A factor g_c on channel c (and 1 / g_c on the weights that read it) leaves the function alone and
 * moves both: channels that are narrow against the widest can be raised until A no longer falls or
 * B rises too much. Both are measured in units of the layer's output before scaling, so factors on
 * that output do not matter to them and classes of channels (channel_classes.h) can be moved one by
 * one: coordinate descent over the factors' exponents, for the least sum of (A + .25 B) / output
 * energy over all layers (a quarter, as rounding by inputs takes away about so much of B). From two
 * starts: no factors, and half of the way (in logarithms) to ranges that are all equal; the better
 * end is taken.
 *
 * Rejected: equal ranges in closed form (Nagel et al. 2019), which knows pairs of layers only and
 * trades one tensor's outliers for another's; a fixed exponent (Xiao et al. 2022), which is right
 * for one model and wrong for the next; factors that are not powers of two: they cost a rounding of
 * each weight and buy less than a tenth of the noise. */
#include "quant/equalize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "quant/channel_classes.h"

/* Exponents of factors count in OCTAVE-ths; how many octaves at most; rounds of descent. */
enum { OCTAVE = 4, MOST = 5 * OCTAVE, SWEEPS = 16 };
static const double ROUNDED_BY_INPUTS = .25;

/* A tensor with a scale of its own: the source of what some layers read. */
typedef struct site {
    const cr_tensor *tensor;
    int64_t channels;
    const int *slot;
    float *lo, *hi; /* [channels], 0 within, as calibration saw them on the average */
    double *energy; /* [channels] mean square */
} site;

typedef struct layer {
    const cr_node *node;
    int site;
    int64_t groups, in, out; /* of a group */
    int *cls;                /* [groups*in] class of each input */
    float *most;             /* [groups*out][in] largest |w| over a kernel's taps */
    double *squares;         /* [groups*in] sum of w^2 over outputs and taps */
    double *energy;          /* [groups*in] mean square of the input, times taps */
    float *top;              /* [groups*out] largest scaled weight */
    double power;            /* mean square of the output, all outputs together */
} layer;

typedef struct equalizer {
    const cr_graph *graph;
    const cr_placement_map *map;
    const cr_stats *stats;
    cr_channel_classes classes;
    site *sites;
    layer *layers;
    int site_count, layer_count;
    int *site_of;   /* by tensor id; -1 */
    int *exponent;  /* by class, of its factor */
    bool *whole;    /* by class: only powers of two */
    int **sites_of; /* by class: a list ended by -1 */
    cr_arena arena;
} equalizer;

/* ---- what is scaled together ---- */

/* SiLU and the like behind a convolution, whose product with a factor the kernel in front can give.
 */
static bool can_restore(const cr_graph *g, const cr_placement_map *m, const cr_tensor *t)
{
    const cr_node *n = t->producer;
    if (m->source[t->id] != t || !n || t->shape.rank != 4 || m->wide[t->id]) return false;
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == t) return false;
    if (cr_is_homogeneous(n)) return false; /* hands factors on */
    if (!(n->op->flags & CR_OPF_UNARY) && n->op->kind != CR_OP_Mul) return false;
    for (int k = 0; k < n->n_in; k++) {
        const cr_node *conv = n->in[k] ? n->in[k]->producer : NULL;
        if (conv && conv->op->kind == CR_OP_Conv && m->node[conv->index]) return true;
    }
    return false;
}

static cr_status find_classes(equalizer *e, const cr_role *roles, bool restore, cr_error *err)
{
    const cr_graph *g = e->graph;
    bool *restorable = cr_calloc(g->tensor_count + 1, sizeof *restorable);
    if (!restorable) return CR_NOMEM(err);
    for (size_t i = 0; restore && i < g->tensor_count; i++)
        restorable[i] = can_restore(g, e->map, g->tensors[i]);
    const cr_status st = cr_channel_classes_find(g, roles, restorable, &e->classes, err);
    cr_free(restorable);
    return st;
}

/* ---- sites ---- */

static cr_status open_site(equalizer *e, site *s, const cr_tensor *t, const cr_tensor_stats *seen,
                           cr_error *err)
{
    const size_t n = (size_t)seen->channels;
    *s = (site){t,
                seen->channels,
                e->classes.slot[t->id],
                cr_arena_alloc(&e->arena, n * sizeof *s->lo),
                cr_arena_alloc(&e->arena, n * sizeof *s->hi),
                cr_arena_alloc(&e->arena, n * sizeof *s->energy)};
    if (!s->lo || !s->hi || !s->energy) return CR_NOMEM(err);
    for (size_t c = 0; c < n && seen->pictures; c++) {
        if (cr_histogram_is_empty(&seen->channel[c])) continue;
        s->lo[c] = (float)fmin(seen->channel_sum_min[c] / (double)seen->pictures, 0);
        s->hi[c] = (float)fmax(seen->channel_sum_max[c] / (double)seen->pictures, 0);
        s->energy[c] = cr_histogram_mean_square(&seen->channel[c]);
    }
    return CR_OK;
}

/* A tensor whose range could not be told after scaling is not scaled. */
static cr_status find_sites(equalizer *e, cr_error *err)
{
    const cr_graph *g = e->graph;
    e->sites = cr_arena_alloc(&e->arena, (g->tensor_count + 1) * sizeof *e->sites);
    e->site_of = cr_arena_alloc(&e->arena, (g->tensor_count + 1) * sizeof *e->site_of);
    if (!e->sites || !e->site_of) return CR_NOMEM(err);
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *t = g->tensors[i];
        e->site_of[i] = -1;
        if (e->map->source[i] != t || !e->classes.slot[i]) continue;
        const cr_tensor_stats *seen = cr_stats_find(e->stats, t->name);
        const bool known =
            seen && seen->channel && !seen->bad && seen->channels == e->classes.lead[i];
        if (!known) cr_channel_classes_fix(&e->classes, t);
        if (!known || e->map->by_channel[i] || e->map->wide[i]) continue;
        e->site_of[i] = e->site_count;
        CR_TRY(open_site(e, &e->sites[e->site_count++], t, seen, err));
    }
    return CR_OK;
}

/* ---- layers ---- */

static void measure_weights(layer *l, int64_t taps)
{
    const float *w = l->node->in[1]->data;
    for (int64_t o = 0; o < l->groups * l->out; o++)
        for (int64_t c = 0; c < l->in; c++) {
            const int64_t input = o / l->out * l->in + c;
            float most = 0;
            double squares = 0;
            for (int64_t t = 0; t < taps; t++, w++) {
                most = fmaxf(most, fabsf(*w));
                squares += (double)*w * (double)*w;
            }
            l->most[o * l->in + c] = most;
            l->squares[input] += squares;
            l->power += squares * l->energy[input] / (double)taps;
        }
}

/* The energy of each input is that of the site's channel with the same values. */
static void find_inputs(equalizer *e, layer *l, int64_t taps, int64_t *channel_of)
{
    const cr_tensor *x = l->node->in[0];
    const site *s = &e->sites[l->site];
    for (int64_t c = 0; c < s->channels; c++) channel_of[s->slot[c]] = c;
    for (int64_t c = 0; c < l->groups * l->in; c++) {
        const int slot = e->classes.slot[x->id][c];
        l->cls[c] = cr_channel_class(&e->classes, slot);
        l->energy[c] = s->energy[channel_of[slot]] * (double)taps;
    }
}

static cr_status open_layer(equalizer *e, layer *l, const cr_node *n, int64_t *channel_of,
                            cr_error *err)
{
    const cr_shape *w = &n->in[1]->shape;
    const int64_t taps = w->dim[2] * w->dim[3];
    l->node = n;
    l->site = e->site_of[e->map->source[n->in[0]->id]->id];
    l->groups = cr_attr_int(n, "group", 1);
    l->in = w->dim[1];
    l->out = w->dim[0] / l->groups;
    const size_t inputs = (size_t)(l->groups * l->in), outputs = (size_t)(l->groups * l->out);
    l->cls = cr_arena_alloc(&e->arena, inputs * sizeof *l->cls);
    l->most = cr_arena_alloc(&e->arena, outputs * (size_t)l->in * sizeof *l->most);
    l->squares = cr_arena_alloc(&e->arena, inputs * sizeof *l->squares);
    l->energy = cr_arena_alloc(&e->arena, inputs * sizeof *l->energy);
    l->top = cr_arena_alloc(&e->arena, outputs * sizeof *l->top);
    if (!l->cls || !l->most || !l->squares || !l->energy || !l->top) return CR_NOMEM(err);
    find_inputs(e, l, taps, channel_of);
    measure_weights(l, taps);
    return CR_OK;
}

static cr_status find_layers(equalizer *e, cr_error *err)
{
    const cr_graph *g = e->graph;
    cr_status st = CR_OK;
    int64_t *channel_of = cr_calloc((size_t)e->classes.count, sizeof *channel_of); /* by slot */
    e->layers = cr_arena_alloc(&e->arena, (g->node_count + 1) * sizeof *e->layers);
    if (!e->layers || !channel_of) st = CR_NOMEM(err);
    for (size_t i = 0; st == CR_OK && i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!e->map->node[i] || !cr_takes_factors(n) || !e->classes.slot[n->in[0]->id]) continue;
        const cr_tensor *source = e->map->source[n->in[0]->id];
        if (!source || e->site_of[source->id] < 0) continue;
        st = open_layer(e, &e->layers[e->layer_count], n, channel_of, err);
        e->layer_count += e->layers[e->layer_count].power > 0;
    }
    cr_free(channel_of);
    return st;
}

/* ---- noise ---- */

static double power(int exponent)
{
    static const double roots[OCTAVE] = {1, 1.189207115002721, 1.4142135623730951,
                                         1.681792830507429};
    const int octaves = (exponent + 64 * OCTAVE) / OCTAVE - 64;
    const double whole = (double)(UINT64_C(1) << abs(octaves)); /* ldexp was a third of all planning */
    return octaves < 0 ? roots[exponent - octaves * OCTAVE] / whole : roots[exponent - octaves * OCTAVE] * whole;
}

static double factor(const equalizer *e, int cls)
{
    return power(e->exponent[cls]);
}

static double step_of(const equalizer *e, const site *s)
{
    double lo = 0, hi = 0;
    for (int64_t c = 0; c < s->channels; c++) {
        const double f = factor(e, cr_channel_class(&e->classes, s->slot[c]));
        lo = fmin(lo, f * (double)s->lo[c]);
        hi = fmax(hi, f * (double)s->hi[c]);
    }
    return (hi - lo) / 255;
}

static float scaled_weight(const equalizer *e, const layer *l, int64_t o, int64_t c, int cls)
{
    return l->most[o * l->in + c] * (float)power(-e->exponent[cls]);
}

static float scaled_row(const equalizer *e, const layer *l, int64_t o)
{
    float top = 0;
    const int *cls = l->cls + o / l->out * l->in;
    for (int64_t c = 0; c < l->in; c++) top = fmaxf(top, scaled_weight(e, l, o, c, cls[c]));
    return top;
}

static double noise_of(const equalizer *e, const layer *l)
{
    const double step = step_of(e, &e->sites[l->site]);
    double a = 0, b = 0;
    for (int64_t g = 0; g < l->groups; g++) {
        double energy = 0, tops = 0;
        for (int64_t c = g * l->in; c < (g + 1) * l->in; c++) {
            const double f = factor(e, l->cls[c]);
            a += l->squares[c] / (f * f);
            energy += l->energy[c] * f * f;
        }
        for (int64_t o = g * l->out; o < (g + 1) * l->out; o++)
            tops += (double)l->top[o] * (double)l->top[o];
        b += energy * tops / (127. * 127);
    }
    return (a * step * step + ROUNDED_BY_INPUTS * b) / 12 / l->power;
}

static double noise_around(const equalizer *e, int cls)
{
    double sum = 0;
    for (const int *s = e->sites_of[cls]; *s >= 0; s++)
        for (int i = 0; i < e->layer_count; i++)
            if (e->layers[i].site == *s) sum += noise_of(e, &e->layers[i]);
    return sum;
}

static double noise_of_all(const equalizer *e)
{
    double sum = 0;
    for (int i = 0; i < e->layer_count; i++) sum += noise_of(e, &e->layers[i]);
    return sum;
}

/* Rows whose largest weight may have changed when the class's exponent moved by `by`. */
static void update_tops(const equalizer *e, layer *l, int cls, int by)
{
    const float before = (float)power(by) * 1.00001f;
    for (int64_t i = 0; i < l->groups * l->in; i++) {
        if (l->cls[i] != cls) continue;
        const int64_t group = i / l->in, c = i % l->in;
        for (int64_t o = group * l->out; o < (group + 1) * l->out; o++) {
            const float now = scaled_weight(e, l, o, c, cls);
            if (by < 0)
                l->top[o] = fmaxf(l->top[o], now);
            else if (now * before >= l->top[o])
                l->top[o] = scaled_row(e, l, o);
        }
    }
}

static void move(equalizer *e, int cls, int by)
{
    e->exponent[cls] += by;
    for (const int *s = e->sites_of[cls]; *s >= 0; s++)
        for (int i = 0; i < e->layer_count; i++)
            if (e->layers[i].site == *s) update_tops(e, &e->layers[i], cls, by);
}

static void settle(equalizer *e)
{
    for (int i = 0; i < e->layer_count; i++)
        for (int64_t o = 0; o < e->layers[i].groups * e->layers[i].out; o++)
            e->layers[i].top[o] = scaled_row(e, &e->layers[i], o);
}

/* ---- descent ---- */

static cr_status list_sites(equalizer *e, cr_error *err)
{
    const size_t classes = (size_t)e->classes.count;
    e->exponent = cr_arena_alloc(&e->arena, classes * sizeof *e->exponent);
    e->sites_of = cr_arena_alloc(&e->arena, classes * sizeof *e->sites_of);
    e->whole = cr_arena_alloc(&e->arena, classes * sizeof *e->whole);
    int *count = cr_calloc(classes, sizeof *count), *last = cr_calloc(classes, sizeof *last);
    cr_status st = e->exponent && e->sites_of && e->whole && count && last ? CR_OK : CR_NOMEM(err);
    for (int pass = 0; pass < 2 && st == CR_OK; pass++) {
        for (size_t k = 0; k < classes; k++) {
            if (pass)
                e->sites_of[k] = cr_arena_alloc(&e->arena, (size_t)(count[k] + 1) * sizeof(int));
            if (pass && !e->sites_of[k]) st = CR_NOMEM(err);
            if (pass && st == CR_OK) e->sites_of[k][count[k]] = -1;
            count[k] = 0;
            last[k] = -1;
        }
        for (int s = 0; st == CR_OK && s < e->site_count; s++)
            for (int64_t c = 0; c < e->sites[s].channels; c++) {
                const int k = cr_channel_class(&e->classes, e->sites[s].slot[c]);
                if (k == 0 || last[k] == s) continue;
                last[k] = s;
                if (pass) e->sites_of[k][count[k]] = s;
                count[k]++;
            }
    }
    cr_free(count);
    cr_free(last);
    return st;
}

/* Classes with a factor behind an activation that is not homogeneous: kernels give that exactly if
 * it is a power of two. */
static void mark_whole(equalizer *e)
{
    const cr_graph *g = e->graph;
    for (size_t i = 0; i < g->tensor_count; i++)
        for (int64_t c = 0; can_restore(g, e->map, g->tensors[i]) && c < e->classes.lead[i]; c++)
            e->whole[cr_class_of(&e->classes, g->tensors[i], c)] = true;
}

static bool attempt(equalizer *e, int cls, int by)
{
    if (e->exponent[cls] + by > MOST || e->exponent[cls] + by < -MOST) return false;
    const double before = noise_around(e, cls);
    move(e, cls, by);
    if (noise_around(e, cls) < before * (1 - 1e-9)) return true;
    move(e, cls, -by);
    return false;
}

static bool improve(equalizer *e, int cls)
{
    if (attempt(e, cls, OCTAVE) || attempt(e, cls, -OCTAVE)) return true;
    return !e->whole[cls] && (attempt(e, cls, 1) || attempt(e, cls, -1));
}

static void descend(equalizer *e)
{
    settle(e);
    for (int sweep = 0, moved = 1; sweep < SWEEPS && moved; sweep++) {
        moved = 0;
        for (int k = 1; k < e->classes.count; k++)
            if (e->sites_of[k][0] >= 0) moved += improve(e, k);
    }
}

/* Half of the way to equal ranges, by the first site that has the class. */
static void start_half_way(equalizer *e)
{
    for (int i = e->site_count; i-- > 0;) {
        const site *s = &e->sites[i];
        float widest = 0;
        for (int64_t c = 0; c < s->channels; c++) widest = fmaxf(widest, s->hi[c] - s->lo[c]);
        for (int64_t c = 0; c < s->channels; c++) {
            const float width = s->hi[c] - s->lo[c];
            const int k = cr_channel_class(&e->classes, s->slot[c]);
            const double octaves = width > 0 ? .5 * log2((double)(widest / width)) : 0;
            const int unit = e->whole[k] ? OCTAVE : 1;
            if (k)
                e->exponent[k] = (int)fmin(MOST, (double)(lround(octaves * OCTAVE / unit) * unit));
        }
    }
}

static cr_status search(equalizer *e, cr_equalize_report *report, cr_error *err)
{
    const size_t bytes = (size_t)e->classes.count * sizeof *e->exponent;
    int *first = cr_malloc(bytes);
    if (!first) return CR_NOMEM(err);
    settle(e);
    report->before = noise_of_all(e);
    descend(e);
    const double least = noise_of_all(e);
    memcpy(first, e->exponent, bytes);
    memset(e->exponent, 0, bytes);
    start_half_way(e);
    descend(e);
    report->after = noise_of_all(e);
    if (least <= report->after) {
        memcpy(e->exponent, first, bytes);
        report->after = least;
    }
    cr_free(first);
    return CR_OK;
}

/* ---- writing ---- */

static int exponent_of(const equalizer *e, const cr_tensor *t, int64_t channel)
{
    return e->exponent[cr_class_of(&e->classes, t, channel)];
}

static double factor_of(const equalizer *e, const cr_tensor *t, int64_t channel)
{
    return power(exponent_of(e, t, channel));
}

static bool is_scaled(const equalizer *e, const cr_tensor *t)
{
    for (int64_t c = 0; e->classes.slot[t->id] && c < e->classes.lead[t->id]; c++)
        if (exponent_of(e, t, c)) return true;
    return false;
}

static cr_status scale_weights(const equalizer *e, const cr_node *n, cr_recipe *r, cr_error *err)
{
    const cr_tensor *w = n->in[1], *b = n->n_in > 2 ? n->in[2] : NULL;
    const int64_t outputs = w->shape.dim[0], in = w->shape.dim[1];
    const int64_t taps = w->shape.dim[2] * w->shape.dim[3];
    const int64_t each = outputs / cr_attr_int(n, "group", 1); /* outputs of a group */
    float *v = cr_malloc(cr_tensor_bytes(w)), *to = v,
          *bias = cr_malloc((size_t)outputs * sizeof *bias);
    const float *from = w->data;
    cr_status st = v && bias ? CR_OK : CR_NOMEM(err);
    for (int64_t o = 0; st == CR_OK && o < outputs; o++) {
        const double up = factor_of(e, n->out[0], o);
        for (int64_t c = 0; c < in; c++) {
            const double f = up / factor_of(e, n->in[0], o / each * in + c);
            for (int64_t t = 0; t < taps; t++) *to++ = (float)((double)*from++ * f);
        }
        if (b) bias[o] = (float)((double)((const float *)b->data)[o] * up);
    }
    if (st == CR_OK) st = cr_recipe_set_value(r, w->name, &w->shape, v, err);
    if (st == CR_OK && b && is_scaled(e, n->out[0]))
        st = cr_recipe_set_value(r, b->name, &b->shape, bias, err);
    cr_free(v);
    cr_free(bias);
    return st;
}

/* T becomes what its maker gives times the factors. */
static cr_status restore(const equalizer *e, const cr_tensor *t, cr_recipe *r, cr_error *err)
{
    const size_t n = (size_t)t->shape.dim[1];
    int64_t axis = 1;
    char *name = cr_malloc(strlen(t->name) + sizeof "_uneven");
    float *factors = cr_malloc(n * sizeof *factors);
    cr_status st = name && factors ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        sprintf(name, "%s_uneven", t->name);
        for (size_t c = 0; c < n; c++) factors[c] = (float)factor_of(e, t, (int64_t)c);
        st = cr_recipe_add_rewrite(r,
                                   &(cr_rewrite){.kind = CR_REWRITE_RESTORE,
                                                 .tensor = t->name,
                                                 .result = name,
                                                 .factor = factors,
                                                 .factor_count = n,
                                                 .channel = &axis,
                                                 .channel_count = 1},
                                   err);
    }
    cr_free(name);
    cr_free(factors);
    return st;
}

static cr_status write_changes(const equalizer *e, const cr_role *roles, cr_recipe *r,
                               cr_error *err)
{
    const cr_graph *g = e->graph;
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *t = g->tensors[i];
        if (can_restore(g, e->map, t) && is_scaled(e, t)) CR_TRY(restore(e, t, r, err));
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (roles[i] == CR_ROLE_DECODE || !cr_takes_factors(n)) continue;
        if (is_scaled(e, n->in[0]) || is_scaled(e, n->out[0])) CR_TRY(scale_weights(e, n, r, err));
    }
    return CR_OK;
}

static cr_status scale_stats(const equalizer *e, cr_stats **out, cr_error *err)
{
    cr_status st = cr_stats_create(out, err);
    double *factors = NULL;
    for (size_t i = 0; st == CR_OK && i < e->stats->count; i++) {
        const cr_tensor_stats *s = &e->stats->tensors[i];
        const cr_tensor *t = cr_graph_find(e->graph, s->name);
        const bool scaled =
            t && s->channels && s->channels == e->classes.lead[t->id] && is_scaled(e, t);
        double *grown = scaled ? cr_realloc(factors, (size_t)s->channels * sizeof *grown) : factors;
        if (scaled && !grown) st = CR_NOMEM(err);
        if (st != CR_OK) break;
        factors = grown;
        for (int64_t c = 0; scaled && c < s->channels; c++) factors[c] = factor_of(e, t, c);
        st = cr_stats_borrow(*out, s, scaled ? factors : NULL, err);
    }
    if (st == CR_OK) (*out)->pictures = e->stats->pictures, (*out)->parted = e->stats->parted;
    cr_free(factors);
    if (st != CR_OK) cr_stats_release(out);
    return st;
}

static size_t count_scaled(const equalizer *e)
{
    size_t n = 0;
    for (int i = 0; i < e->site_count; i++)
        for (int64_t c = 0; c < e->sites[i].channels; c++)
            n += exponent_of(e, e->sites[i].tensor, c) != 0;
    return n;
}

cr_status cr_equalize(const cr_graph *g, const cr_role *roles, const cr_placement_map *map,
                      const cr_stats *stats, const cr_quantize_options *o, cr_recipe *r,
                      cr_stats **scaled, cr_equalize_report *report, cr_error *err)
{
    equalizer e = {.graph = g, .map = map, .stats = stats};
    const bool restore = o->equalize == CR_EQUALIZE_ALL;
    cr_status st = CR_OK;
    *scaled = NULL;
    *report = (cr_equalize_report){0};
    CR_TRY_GOTO(find_classes(&e, roles, restore, err), done);
    CR_TRY_GOTO(find_sites(&e, err), done);
    CR_TRY_GOTO(find_layers(&e, err), done);
    CR_TRY_GOTO(list_sites(&e, err), done);
    if (restore) mark_whole(&e);
    CR_TRY_GOTO(search(&e, report, err), done);
    report->channels = count_scaled(&e);
    if (report->channels == 0) goto done;
    CR_TRY_GOTO(write_changes(&e, roles, r, err), done);
    CR_TRY_GOTO(scale_stats(&e, scaled, err), done);
done:
    cr_channel_classes_release(&e.classes);
    cr_arena_free(&e.arena);
    return st;
}
