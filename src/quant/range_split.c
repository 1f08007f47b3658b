/* Which tensors, and into which groups.
 *
 * Rounding a channel of width w with the step of a tensor of width W adds noise of (W / w)^2 times what the
 * channel's own scale would add, in parts of the channel. A depthwise convolution hands that on channel by
 * channel, so nothing averages it away; the mean of (W / w)^2 over channels is what is brought down:
 *
 *     ranges, sorted    .2 .2 .3 .4 | .9 1 1 2 | 6 8 87        three scales in place of one
 *
 * The best division of sorted widths into k intervals is found exactly by dynamic programming, and k is
 * the least that brings the mean below ENOUGH. YOLOX-nano: 32,000 -> 3 in its first block.
 *
 * Where equalization can scale channels (behind ReLU), that does the same without more tensors.
 *
 * Rejected: groups of equal size (outliers are few), k-means on widths (its squares are absolute, these
 * are relative), a division by measured error at the output (a run of the model for each candidate, and
 * the mean above ranks tensors as it does). */
#include "quant/range_split.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/channel_groups.h"
#include "quant/channel_classes.h"

enum { MOST_GROUPS = 4 };
static const double ENOUGH = 12;

/* ---- groups ---- */

typedef struct division {
    const double *width; /* sorted, ascending */
    double *inverse;     /* [n + 1] sums of 1 / width^2 */
    double *best;        /* [most + 1][n + 1] least sum for the first e channels in k groups */
    int64_t *from;       /* [most + 1][n + 1] where the last of them begins */
    int64_t n;
} division;

static void fill_row(const division *d, int k)
{
    const int64_t row = d->n + 1;
    for (int64_t e = k; e <= d->n; e++) {
        double *least = &d->best[k * row + e];
        const double w = d->width[e - 1];
        *least = INFINITY;
        for (int64_t b = k - 1; b < e; b++) {
            const double sum = d->best[(k - 1) * row + b] + w * w * (d->inverse[e] - d->inverse[b]);
            if (sum >= *least) continue;
            *least = sum;
            d->from[k * row + e] = b;
        }
    }
}

static void sort_by_width(const double *width, int64_t n, int64_t *order)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i;
        for (; at > 0 && width[order[at - 1]] > width[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

static int divide(division *d, int most, double enough, int64_t *size, double *cost)
{
    const int64_t row = d->n + 1;
    int k = 0;
    for (int64_t e = 0; e <= d->n; e++) d->best[e] = e ? INFINITY : 0;
    do {
        fill_row(d, ++k);
        *cost = d->best[k * row + d->n] / (double)d->n;
    } while (k < most && k < d->n && *cost > enough);
    for (int64_t j = k, e = d->n; j > 0; j--) {
        size[j - 1] = e - d->from[j * row + e];
        e = d->from[j * row + e];
    }
    return k;
}

int cr_range_groups(const double *width, int64_t n, int most, double enough, int64_t *order,
                    int64_t *size, double *cost)
{
    const size_t rows = (size_t)most + 1, cells = rows * (size_t)(n + 1);
    double *sorted = cr_malloc((size_t)n * sizeof *sorted);
    division d = {sorted, cr_malloc((size_t)(n + 1) * sizeof *d.inverse), cr_malloc(cells * sizeof *d.best),
                  cr_malloc(cells * sizeof *d.from), n};
    int groups = 0;
    if (sorted && d.inverse && d.best && d.from) {
        sort_by_width(width, n, order);
        d.inverse[0] = 0;
        for (int64_t i = 0; i < n; i++) {
            sorted[i] = width[order[i]];
            d.inverse[i + 1] = d.inverse[i] + (sorted[i] > 0 ? 1 / (sorted[i] * sorted[i]) : 0);
        }
        groups = divide(&d, most, enough, size, cost);
    }
    cr_free(sorted);
    cr_free(d.inverse);
    cr_free(d.best);
    cr_free(d.from);
    return groups;
}

/* ---- tensors ---- */

/* Histograms of its channels are there, or it was not seen at all (a kernel hid it). */
static bool is_known(const cr_stats *stats, const cr_tensor *t)
{
    const cr_tensor_stats *s = cr_stats_find(stats, t->name);
    return !s || (s->channel && !s->bad && s->channels == t->shape.dim[1]);
}

/* Tensors whose scale is one, of layers that are all integer. Whether some have 16 bits does not matter, so
 * that plans of other precisions have the same layers. */
static bool is_candidate(const cr_graph *g, const cr_placement_map *m, const cr_stats *stats,
                         const cr_tensor *y, cr_group_site *site)
{
    if (m->source[y->id] != y || m->by_channel[y->id]) return false;
    if (!cr_stats_find(stats, y->name) || !cr_group_site_find(g, y, site)) return false;
    if (!m->node[site->maker->index]) return false;
    for (int r = 0; r < site->reader_count; r++)
        if (!m->node[site->readers[r]->index]) return false;
    for (int i = 0; i < site->divided_count; i++)
        if (!is_known(stats, site->divided[i])) return false;
    return true;
}

/* As calibration saw it on the average, zero within. */
static void widths_of(const cr_tensor_stats *s, double *width)
{
    for (int64_t c = 0; c < s->channels; c++) {
        const bool empty = cr_histogram_is_empty(&s->channel[c]);
        const double n = (double)s->pictures;
        width[c] = empty ? 0 : fmax(s->channel_sum_max[c] / n, 0) - fmin(s->channel_sum_min[c] / n, 0);
    }
}

/* list: [groups, sizes..., channels...]; *count 0: one scale is enough. */
static cr_status choose(const cr_tensor_stats *s, const cr_quantize_options *o, int64_t *list,
                        size_t *count, cr_error *err)
{
    const int64_t n = s->channels;
    int most = o->split_channels > 0 ? o->split_channels : MOST_GROUPS;
    if (most > n) most = (int)n;
    double *width = cr_malloc((size_t)n * sizeof *width), cost;
    int64_t *order = cr_malloc((size_t)n * sizeof *order);
    cr_status st = width && order ? CR_OK : CR_NOMEM(err);
    *count = 0;
    if (st == CR_OK) {
        widths_of(s, width);
        const int groups = cr_range_groups(width, n, most, ENOUGH, order, list + 1, &cost);
        if (!groups) st = CR_NOMEM(err);
        list[0] = groups;
        if (groups > 1) {
            memcpy(list + 1 + groups, order, (size_t)n * sizeof *order);
            *count = 1 + (size_t)groups + (size_t)n;
        }
    }
    cr_free(width);
    cr_free(order);
    return st;
}

/* ---- statistics of what results ---- */

/* Errors count in parts of the channel's energy, behind the depthwise convolution: that of y, for what leads
 * to it as well. */
static void find_weights(const cr_tensor_stats *y, uint64_t *weight)
{
    double least = INFINITY;
    for (int64_t c = 0; c < y->channels; c++) {
        const double e = cr_histogram_mean_square(&y->channel[c]);
        if (e > 0) least = fmin(least, e);
    }
    for (int64_t c = 0; c < y->channels; c++) {
        const double e = cr_histogram_mean_square(&y->channel[c]);
        weight[c] = e > 0 ? 1 + (uint64_t)(0x1p20 * least / e) : 1;
    }
}

static cr_status pick_parts(const cr_stats *stats, const cr_group_site *s, const int64_t *list,
                            const uint64_t *weight, cr_stats *out, cr_error *err)
{
    const int64_t groups = list[0], *channel = list + 1 + groups;
    for (int64_t k = 0; k < groups; channel += list[1 + k++])
        for (int i = 0; i < s->divided_count + s->reader_count; i++) {
            const cr_tensor *t =
                i < s->divided_count ? s->divided[i] : s->joints[i - s->divided_count];
            const cr_tensor_stats *from = cr_stats_find(stats, t->name);
            const char *name = cr_group_part_name(&out->arena, t->name, (int)k);
            if (!name) return CR_NOMEM(err);
            if (from && from->channels) CR_TRY(cr_stats_pick(out, from, name, channel, list[1 + k], weight, err));
        }
    return CR_OK;
}

static cr_status pick_permuted(const cr_stats *stats, const cr_group_site *s, const int64_t *list, bool *done,
                               cr_stats *out, cr_error *err)
{
    for (int i = 0; i < s->permuted_count; i++) {
        const cr_tensor_stats *from = cr_stats_find(stats, s->permuted[i]->name);
        if (!from || from->channels != s->channels) continue;
        CR_TRY(cr_stats_pick(out, from, from->name, list + 1 + list[0], s->channels, NULL, err));
        done[from - stats->tensors] = true;
    }
    return CR_OK;
}

typedef struct splitter {
    const cr_graph *graph;
    const cr_stats *stats;
    cr_recipe *recipe;
    cr_stats *parted;
    bool *done; /* by index of stats: has its channels in another order */
    cr_range_split_report *report;
    cr_channel_classes classes;
} splitter;

static cr_status split(splitter *p, const cr_group_site *site, const int64_t *list, size_t count, cr_error *err)
{
    const cr_rewrite step = {.kind = CR_REWRITE_GROUPS,
                             .tensor = site->tensor->name,
                             .result = "channels of like range",
                             .channel = (int64_t *)list,
                             .channel_count = count};
    CR_TRY(cr_recipe_add_rewrite(p->recipe, &step, err));
    p->report->tensors++;
    p->report->parts += (size_t)list[0];
    uint64_t *weight = cr_malloc((size_t)site->channels * sizeof *weight);
    if (!weight) return CR_NOMEM(err);
    find_weights(cr_stats_find(p->stats, site->tensor->name), weight);
    const cr_status st = pick_parts(p->stats, site, list, weight, p->parted, err);
    cr_free(weight);
    if (st != CR_OK) return st;
    return pick_permuted(p->stats, site, list, p->done, p->parted, err);
}

static cr_status borrow_others(splitter *p, cr_error *err)
{
    for (size_t i = 0; i < p->stats->count; i++)
        if (!p->done[i]) CR_TRY(cr_stats_borrow(p->parted, &p->stats->tensors[i], NULL, err));
    p->parted->pictures = p->stats->pictures;
    p->parted->parted = true;
    return CR_OK;
}

static bool can_be_scaled(const cr_channel_classes *classes, const cr_tensor *t, const cr_quantize_options *o)
{
    bool all = o->equalize != CR_EQUALIZE_OFF && o->granularity == CR_PER_CHANNEL;
    for (int64_t c = 0; all && c < t->shape.dim[1]; c++) all = cr_class_of(classes, t, c) != 0;
    return all;
}

static cr_status try_tensor(splitter *p, const cr_tensor *y, const cr_placement_map *map,
                            const cr_quantize_options *o, cr_error *err)
{
    cr_group_site site;
    size_t count = 0;
    if (!is_candidate(p->graph, map, p->stats, y, &site) || can_be_scaled(&p->classes, y, o)) return CR_OK;
    int64_t *list = cr_malloc((size_t)(2 * site.channels + 2) * sizeof *list);
    if (!list) return CR_NOMEM(err);
    cr_status st = choose(cr_stats_find(p->stats, y->name), o, list, &count, err);
    if (st == CR_OK && count) st = split(p, &site, list, count, err);
    cr_free(list);
    return st;
}

cr_status cr_range_split(const cr_graph *g, const cr_role *roles, const cr_placement_map *map,
                         const cr_stats *stats, const cr_quantize_options *o, cr_recipe *r,
                         cr_stats **parted, cr_range_split_report *report, cr_error *err)
{
    *parted = NULL;
    *report = (cr_range_split_report){0};
    splitter p = {.graph = g, .stats = stats, .recipe = r, .report = report};
    p.done = cr_calloc(stats->count + 1, sizeof *p.done);
    cr_status st = p.done ? cr_stats_create(&p.parted, err) : CR_NOMEM(err);
    if (st == CR_OK) st = cr_channel_classes_find(g, roles, NULL, &p.classes, err);
    for (size_t i = 0; st == CR_OK && i < g->tensor_count; i++)
        st = try_tensor(&p, g->tensors[i], map, o, err);
    if (st == CR_OK && report->tensors) st = borrow_others(&p, err);
    if (st == CR_OK && report->tensors) *parted = p.parted, p.parted = NULL;
    cr_channel_classes_release(&p.classes);
    cr_stats_release(&p.parted);
    cr_free(p.done);
    return st;
}
