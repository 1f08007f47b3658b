#include "quant/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/error.h"

cr_status cr_stats_create(cr_stats **out, cr_error *err)
{
    *out = cr_calloc(1, sizeof **out);
    return *out ? CR_OK : CR_NOMEM(err);
}

void cr_stats_release(cr_stats **s)
{
    if (!s || !*s) return;
    cr_free((*s)->tensors);
    cr_arena_free(&(*s)->arena);
    cr_free(*s);
    *s = NULL;
}

const cr_tensor_stats *cr_stats_find(const cr_stats *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->tensors[i].name, name)) return &s->tensors[i];
    return NULL;
}

static void forget_range(float *lo, float *hi, int64_t n)
{
    for (int64_t c = 0; c < n; c++) {
        lo[c] = FLT_MAX;
        hi[c] = -FLT_MAX;
    }
}

static bool alloc_channels(cr_stats *s, cr_tensor_stats *t)
{
    const size_t n = (size_t)t->channels;
    float **const floats[] = {&t->channel_min, &t->channel_max, &t->picture_min, &t->picture_max};
    double **const doubles[] = {&t->channel_sum_min, &t->channel_sum_max};
    for (int i = 0; i < 4; i++)
        if (!(*floats[i] = cr_arena_alloc(&s->arena, n * sizeof(float)))) return false;
    for (int i = 0; i < 2; i++)
        if (!(*doubles[i] = cr_arena_alloc(&s->arena, n * sizeof(double)))) return false;
    forget_range(t->channel_min, t->channel_max, t->channels);
    return true;
}

cr_tensor_stats *cr_stats_get(cr_stats *s, const char *name, int64_t channels)
{
    cr_tensor_stats *old = (cr_tensor_stats *)cr_stats_find(s, name);
    if (old) return old;
    if (!cr_grow((void **)&s->tensors, &s->cap, s->count, sizeof *s->tensors)) return NULL;
    cr_tensor_stats t = {.name = cr_arena_strdup(&s->arena, name), .channels = channels};
    uint64_t *const counts = cr_arena_alloc(&s->arena, CR_HIST_BINS * sizeof *counts);
    if (!t.name || !counts || !alloc_channels(s, &t)) return NULL;
    t.all = cr_histogram_empty(CR_HIST_BINS, counts);
    s->tensors[s->count] = t;
    return &s->tensors[s->count++];
}

bool cr_stats_split(cr_stats *s, cr_tensor_stats *t)
{
    const size_t n = (size_t)t->channels;
    cr_histogram *const h = cr_arena_alloc(&s->arena, n * sizeof *h);
    uint64_t *const counts = cr_arena_alloc(&s->arena, n * CR_CHANNEL_BINS * sizeof *counts);
    if (!h || !counts) return false;
    for (size_t c = 0; c < n; c++)
        h[c] = cr_histogram_empty(CR_CHANNEL_BINS, counts + c * CR_CHANNEL_BINS);
    t->channel = h;
    return true;
}

static void forget(cr_histogram *h)
{
    memset(h->counts, 0, (size_t)h->bins * sizeof *h->counts);
    *h = cr_histogram_empty(h->bins, h->counts);
}

void cr_stats_reset(cr_stats *s)
{
    s->pictures = 0;
    for (size_t i = 0; i < s->count; i++) {
        cr_tensor_stats *t = &s->tensors[i];
        const size_t n = (size_t)t->channels;
        t->pictures = t->count = t->bad = 0;
        t->sum_min = t->sum_max = 0;
        forget(&t->all);
        forget_range(t->channel_min, t->channel_max, t->channels);
        memset(t->channel_sum_min, 0, n * sizeof *t->channel_sum_min);
        memset(t->channel_sum_max, 0, n * sizeof *t->channel_sum_max);
        for (size_t c = 0; t->channel && c < n; c++) forget(&t->channel[c]);
    }
}

double cr_stats_bin(const cr_tensor_stats *t, int k)
{
    return ldexp((double)(t->all.first + k) + .5, t->all.exponent);
}

/* ---- ranges ---- */

typedef struct range {
    float lo, hi;
    uint64_t bad;
} range;

static void widen(range *r, const float *x, int64_t n)
{
    float lo = r->lo, hi = r->hi;
    uint64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        const bool ok = fabsf(x[i]) <= FLT_MAX;
        bad += !ok;
        lo = ok && x[i] < lo ? x[i] : lo;
        hi = ok && x[i] > hi ? x[i] : hi;
    }
    *r = (range){lo, hi, r->bad + bad};
}

/* ---- channels ---- */

/* One run of a channel's values: x[0], x[stride], ... */
typedef void run_fn(cr_tensor_stats *t, int64_t channel, const float *x, int64_t n, int64_t stride);

/* All values channel by channel; rows of pixels by blocks that stay in the cache. */
static void each_run(cr_tensor_stats *t, const cr_view *v, run_fn *fn)
{
    enum { BLOCK = 64 };
    const float *x = v->data;
    if (v->nhwc) {
        for (int64_t r = 0; r < v->rows; r += BLOCK) {
            const int64_t n = v->rows - r < BLOCK ? v->rows - r : BLOCK;
            for (int64_t c = 0; c < v->cols; c++) fn(t, c, x + r * v->ld + c, n, v->ld);
        }
        return;
    }
    const int64_t inner = v->cols / (t->channels * v->tensor->shape.dim[0]);
    for (int64_t p = 0; p < v->cols / inner; p++)
        fn(t, p % t->channels, x + p * inner, inner, 1);
}

static void widen_run(cr_tensor_stats *t, int64_t c, const float *x, int64_t n, int64_t stride)
{
    float lo = t->picture_min[c], hi = t->picture_max[c];
    for (int64_t i = 0; i < n; i++) {
        const float value = x[i * stride];
        const bool ok = fabsf(value) <= FLT_MAX;
        lo = ok && value < lo ? value : lo;
        hi = ok && value > hi ? value : hi;
    }
    t->picture_min[c] = lo;
    t->picture_max[c] = hi;
}

static void count_run(cr_tensor_stats *t, int64_t c, const float *x, int64_t n, int64_t stride)
{
    if (!cr_histogram_is_empty(&t->channel[c])) cr_histogram_count(&t->channel[c], x, n, stride);
}

/* Pixels' rows, all channels side by side: the common case, in a form that compilers vectorize. */
static void widen_rows(cr_tensor_stats *t, const cr_view *v)
{
    float *restrict lo = t->picture_min, *restrict hi = t->picture_max;
    for (int64_t r = 0; r < v->rows; r++) {
        const float *x = (const float *)v->data + r * v->ld;
        for (int64_t c = 0; c < v->cols; c++) {
            lo[c] = x[c] < lo[c] && x[c] >= -FLT_MAX ? x[c] : lo[c];
            hi[c] = x[c] > hi[c] && x[c] <= FLT_MAX ? x[c] : hi[c];
        }
    }
}

static void add_channels(cr_tensor_stats *t, const cr_view *v)
{
    forget_range(t->picture_min, t->picture_max, t->channels);
    if (v->nhwc) widen_rows(t, v);
    else each_run(t, v, widen_run);
    for (int64_t c = 0; c < t->channels; c++) {
        const float lo = t->picture_min[c], hi = t->picture_max[c];
        if (lo > hi) continue; /* nothing finite */
        t->channel_min[c] = fminf(t->channel_min[c], lo);
        t->channel_max[c] = fmaxf(t->channel_max[c], hi);
        t->channel_sum_min[c] += (double)lo;
        t->channel_sum_max[c] += (double)hi;
        if (t->channel) cr_histogram_widen(&t->channel[c], lo, hi);
    }
    if (t->channel) each_run(t, v, count_run);
}

void cr_stats_add(cr_tensor_stats *t, const cr_view *v)
{
    range r = {FLT_MAX, -FLT_MAX, 0};
    for (int64_t i = 0; i < v->rows; i++) widen(&r, (const float *)v->data + i * v->ld, v->cols);
    const uint64_t n = (uint64_t)(v->rows * v->cols);
    t->pictures++;
    t->bad += r.bad;
    if (r.lo > r.hi) return; /* empty, or nothing finite */
    cr_histogram_widen(&t->all, r.lo, r.hi);
    t->sum_min += (double)r.lo;
    t->sum_max += (double)r.hi;
    t->count += n - r.bad;
    for (int64_t i = 0; i < v->rows; i++)
        cr_histogram_count(&t->all, (const float *)v->data + i * v->ld, v->cols, 1);
    if (t->channels) add_channels(t, v);
}

/* ---- merging ---- */

static void merge_channels(cr_tensor_stats *a, const cr_tensor_stats *b)
{
    for (int64_t c = 0; c < a->channels && a->channels == b->channels; c++) {
        a->channel_min[c] = fminf(a->channel_min[c], b->channel_min[c]);
        a->channel_max[c] = fmaxf(a->channel_max[c], b->channel_max[c]);
        a->channel_sum_min[c] += b->channel_sum_min[c];
        a->channel_sum_max[c] += b->channel_sum_max[c];
        if (a->channel && b->channel) cr_histogram_merge(&a->channel[c], &b->channel[c]);
    }
}

cr_status cr_stats_merge(cr_stats *a, const cr_stats *b, cr_error *err)
{
    a->pictures += b->pictures;
    for (size_t i = 0; i < b->count; i++) {
        const cr_tensor_stats *from = &b->tensors[i];
        cr_tensor_stats *to = cr_stats_get(a, from->name, from->channels);
        if (!to) return CR_NOMEM(err);
        if (from->channel && !to->channel && !to->pictures && !cr_stats_split(a, to))
            return CR_NOMEM(err);
        to->pictures += from->pictures;
        to->bad += from->bad;
        to->count += from->count;
        to->sum_min += from->sum_min;
        to->sum_max += from->sum_max;
        cr_histogram_merge(&to->all, &from->all);
        merge_channels(to, from);
    }
    return CR_OK;
}

/* ---- scaling ---- */

/* The same values times f in bins of about the same relative width: to[] has room for twice as many.
 * Counts that fall on an edge are divided in proportion. Powers of two move the exponent only. */
static cr_histogram scale_histogram(const cr_histogram *h, double f, uint64_t *counts)
{
    int octaves;
    const double rest = 2 * frexp(f, &octaves); /* [1, 2) */
    cr_histogram to = {.bins = CR_HIST_BINS, .exponent = h->exponent + octaves - 1,
                       .first = INT64_MAX, .counts = memset(counts, 0, CR_HIST_BINS * sizeof *counts)};
    to.min = (float)((double)h->min * f);
    to.max = (float)((double)h->max * f);
    to.first = (int64_t)floor(ldexp((double)to.min, -to.exponent));
    const int64_t last = (int64_t)floor(ldexp((double)to.max, -to.exponent));
    for (int k = 0; k < h->bins; k++) {
        const double lower = (double)(h->first + k) * rest, upper = lower + rest;
        uint64_t left = h->counts[k];
        int64_t bin = (int64_t)floor(lower);
        for (; left && (double)bin + 1 < upper && bin < last; bin++) {
            const double share = ((double)bin + 1 - fmax(lower, (double)bin)) / rest;
            uint64_t part = (uint64_t)((double)h->counts[k] * share);
            if (part > left) part = left;
            if (bin >= to.first) counts[bin - to.first] += part, left -= part;
        }
        counts[(bin < to.first ? to.first : bin > last ? last : bin) - to.first] += left;
    }
    return to;
}

static cr_status scale_channels(cr_stats *s, cr_tensor_stats *t, const cr_tensor_stats *from,
                                const double *f, cr_error *err)
{
    uint64_t *const counts = cr_arena_alloc(&s->arena, CR_HIST_BINS * sizeof *counts);
    uint64_t *const one = cr_arena_alloc(&s->arena, CR_HIST_BINS * sizeof *one);
    if (!counts || !one || !alloc_channels(s, t) || !cr_stats_split(s, t)) return CR_NOMEM(err);
    t->all = cr_histogram_empty(CR_HIST_BINS, counts);
    t->sum_min = t->sum_max = 0;
    for (int64_t c = 0; c < t->channels; c++) {
        if (cr_histogram_is_empty(&from->channel[c])) continue;
        const cr_histogram scaled = scale_histogram(&from->channel[c], f[c], one);
        t->channel_min[c] = (float)((double)from->channel_min[c] * f[c]);
        t->channel_max[c] = (float)((double)from->channel_max[c] * f[c]);
        t->channel_sum_min[c] = from->channel_sum_min[c] * f[c];
        t->channel_sum_max[c] = from->channel_sum_max[c] * f[c];
        t->sum_min = fmin(t->sum_min, t->channel_sum_min[c]);
        t->sum_max = fmax(t->sum_max, t->channel_sum_max[c]);
        cr_histogram_merge(&t->all, &scaled);
        cr_histogram_narrow(&scaled, &t->channel[c]);
    }
    return CR_OK;
}

static void pick_channel(cr_tensor_stats *t, int64_t to, const cr_tensor_stats *from, int64_t c)
{
    t->channel_min[to] = from->channel_min[c];
    t->channel_max[to] = from->channel_max[c];
    t->channel_sum_min[to] = from->channel_sum_min[c];
    t->channel_sum_max[to] = from->channel_sum_max[c];
    t->sum_min = fmin(t->sum_min, t->channel_sum_min[to]);
    t->sum_max = fmax(t->sum_max, t->channel_sum_max[to]);
    if (t->channel) t->channel[to] = from->channel[c]; /* borrows the counts */
}

cr_status cr_stats_pick(cr_stats *s, const cr_tensor_stats *from, const char *name,
                        const int64_t *channel, int64_t count, const uint64_t *weight, cr_error *err)
{
    if (!cr_grow((void **)&s->tensors, &s->cap, s->count, sizeof *s->tensors)) return CR_NOMEM(err);
    cr_tensor_stats t = *from;
    uint64_t *const counts = cr_arena_alloc(&s->arena, CR_HIST_BINS * sizeof *counts);
    uint64_t *const one = cr_arena_alloc(&s->arena, CR_HIST_BINS * sizeof *one);
    const bool all = count == from->channels;
    t.name = cr_arena_strdup(&s->arena, name);
    t.channels = count;
    if (!counts || !one || !t.name || !alloc_channels(s, &t)) return CR_NOMEM(err);
    if (from->channel && !(t.channel = cr_arena_alloc(&s->arena, (size_t)count * sizeof *t.channel)))
        return CR_NOMEM(err);
    if (!all) t.all = cr_histogram_empty(CR_HIST_BINS, counts);
    t.count = from->count / (uint64_t)from->channels * (uint64_t)count;
    t.sum_min = t.sum_max = 0;
    for (int64_t i = 0; i < count; i++) {
        pick_channel(&t, i, from, channel[i]);
        if (all || !from->channel || cr_histogram_is_empty(&from->channel[channel[i]])) continue;
        const cr_histogram wide = scale_histogram(&from->channel[channel[i]], 1, one);
        for (int k = 0; weight && k < wide.bins; k++) one[k] *= weight[channel[i]];
        cr_histogram_merge(&t.all, &wide);
    }
    if (all) t.sum_min = from->sum_min, t.sum_max = from->sum_max;
    s->tensors[s->count++] = t;
    return CR_OK;
}

cr_status cr_stats_borrow(cr_stats *s, const cr_tensor_stats *from, const double *factor,
                          cr_error *err)
{
    if (!cr_grow((void **)&s->tensors, &s->cap, s->count, sizeof *s->tensors)) return CR_NOMEM(err);
    cr_tensor_stats t = *from;
    if (factor && from->channel) CR_TRY(scale_channels(s, &t, from, factor, err));
    s->tensors[s->count++] = t;
    return CR_OK;
}
