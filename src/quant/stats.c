#include "quant/stats.h"

#include <float.h>
#include <limits.h>
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

cr_tensor_stats *cr_stats_get(cr_stats *s, const char *name, int64_t channels)
{
    cr_tensor_stats *old = (cr_tensor_stats *)cr_stats_find(s, name);
    if (old) return old;
    if (!cr_grow((void **)&s->tensors, &s->cap, s->count, sizeof *s->tensors)) return NULL;
    cr_tensor_stats t = {.name = cr_arena_strdup(&s->arena, name), .min = FLT_MAX, .max = -FLT_MAX,
                         .exponent = INT32_MIN, .channels = channels};
    t.counts = cr_arena_alloc(&s->arena, CR_HIST_BINS * sizeof *t.counts);
    t.channel_min = cr_arena_alloc(&s->arena, (size_t)channels * sizeof(float));
    t.channel_max = cr_arena_alloc(&s->arena, (size_t)channels * sizeof(float));
    if (!t.name || !t.counts || !t.channel_min || !t.channel_max) return NULL;
    for (int64_t c = 0; c < channels; c++) {
        t.channel_min[c] = FLT_MAX;
        t.channel_max[c] = -FLT_MAX;
    }
    s->tensors[s->count] = t;
    return &s->tensors[s->count++];
}

double cr_stats_bin(const cr_tensor_stats *t, int k)
{
    return ldexp((double)(t->first + k) + .5, t->exponent);
}

/* ---- histogram ---- */

/* Floor division by 2^shift. */
static int64_t shift_down(int64_t i, int shift)
{
    if (shift > 62) return i < 0 ? -1 : 0;
    return i >> shift; /* arithmetic on every compiler we build with */
}

static int64_t bin_of(float x, int exponent) { return (int64_t)floor(ldexp((double)x, -exponent)); }

/* Adds neighbours up until the bin width is 2^exponent. */
static void coarsen(cr_tensor_stats *t, int exponent)
{
    const int shift = exponent - t->exponent;
    if (shift <= 0) return;
    const int64_t first = shift_down(t->first, shift);
    uint64_t merged[CR_HIST_BINS] = {0};
    for (int k = 0; k < CR_HIST_BINS; k++)
        if (t->counts[k]) merged[shift_down(t->first + k, shift) - first] += t->counts[k];
    memcpy(t->counts, merged, sizeof merged);
    t->first = first;
    t->exponent = exponent;
}

/* Moves the window so that it begins at bin `first`; the counts that are there must fit. */
static void slide(cr_tensor_stats *t, int64_t first)
{
    const int64_t by = t->first - first;
    if (by == 0) return;
    uint64_t moved[CR_HIST_BINS] = {0};
    for (int64_t k = 0; k < CR_HIST_BINS; k++)
        if (t->counts[k]) moved[k + by] = t->counts[k];
    memcpy(t->counts, moved, sizeof moved);
    t->first = first;
}

static int finest_fit(float lo, float hi, int from)
{
    int e = from;
    while (bin_of(hi, e) - bin_of(lo, e) >= CR_HIST_BINS) e++;
    return e;
}

/* Makes room for lo..hi. The window always begins at the bin of the smallest value seen, so that
 * equal data give equal histograms. */
static void make_room(cr_tensor_stats *t, float lo, float hi)
{
    if (t->exponent != INT32_MIN) {
        lo = fminf(lo, t->min);
        hi = fmaxf(hi, t->max);
    }
    const double widest = fmax(fabs((double)lo), fabs((double)hi));
    int least = widest > 0 ? ilogb(widest) - 24 : -126; /* no finer than float32's own grid */
    if (least < -126) least = -126; /* 2^126, which count_row multiplies by, is a float */
    if (t->exponent != INT32_MIN && t->exponent > least) least = t->exponent;
    const int e = finest_fit(lo, hi, least);
    if (t->exponent == INT32_MIN) {
        t->exponent = e;
        t->first = bin_of(lo, e);
        return;
    }
    coarsen(t, e);
    slide(t, bin_of(lo, e));
}

static void count_row(cr_tensor_stats *t, const float *x, int64_t n)
{
    const float inverse = ldexpf(1.f, -t->exponent); /* a power of two: products are exact */
    const int64_t first = t->first;
    for (int64_t i = 0; i < n; i++) {
        if (!(fabsf(x[i]) <= FLT_MAX)) continue;
        const float scaled = x[i] * inverse; /* within +-2^25: see make_room */
        const int32_t cut = (int32_t)scaled;
        const int64_t k = cut - (scaled < (float)cut) - first; /* floor, without a library call */
        t->counts[k < 0 ? 0 : k >= CR_HIST_BINS ? CR_HIST_BINS - 1 : k]++;
    }
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

static void widen_channels(cr_tensor_stats *t, const cr_view *v)
{
    if (v->nhwc) {
        for (int64_t r = 0; r < v->rows; r++) {
            const float *x = (const float *)v->data + r * v->ld;
            for (int64_t c = 0; c < v->cols; c++) {
                t->channel_min[c] = x[c] < t->channel_min[c] ? x[c] : t->channel_min[c];
                t->channel_max[c] = x[c] > t->channel_max[c] ? x[c] : t->channel_max[c];
            }
        }
        return;
    }
    const int64_t inner = v->cols / (t->channels * v->tensor->shape.dim[0]);
    for (int64_t p = 0; p < v->cols / inner; p++) {
        range r = {t->channel_min[p % t->channels], t->channel_max[p % t->channels], 0};
        widen(&r, (const float *)v->data + p * inner, inner);
        t->channel_min[p % t->channels] = r.lo;
        t->channel_max[p % t->channels] = r.hi;
    }
}

void cr_stats_add(cr_tensor_stats *t, const cr_view *v)
{
    range r = {FLT_MAX, -FLT_MAX, 0};
    for (int64_t i = 0; i < v->rows; i++) widen(&r, (const float *)v->data + i * v->ld, v->cols);
    const uint64_t n = (uint64_t)(v->rows * v->cols);
    t->pictures++;
    t->bad += r.bad;
    if (r.lo > r.hi) return; /* empty, or nothing finite */
    make_room(t, r.lo, r.hi);
    t->min = fminf(t->min, r.lo);
    t->max = fmaxf(t->max, r.hi);
    t->sum_min += (double)r.lo;
    t->sum_max += (double)r.hi;
    t->count += n - r.bad;
    for (int64_t i = 0; i < v->rows; i++)
        count_row(t, (const float *)v->data + i * v->ld, v->cols);
    if (t->channels) widen_channels(t, v);
}

static void merge_tensor(cr_tensor_stats *a, const cr_tensor_stats *b)
{
    a->pictures += b->pictures;
    a->bad += b->bad;
    a->count += b->count;
    a->sum_min += b->sum_min;
    a->sum_max += b->sum_max;
    for (int64_t c = 0; c < a->channels && a->channels == b->channels; c++) {
        a->channel_min[c] = fminf(a->channel_min[c], b->channel_min[c]);
        a->channel_max[c] = fmaxf(a->channel_max[c], b->channel_max[c]);
    }
    if (b->exponent == INT32_MIN) return;
    if (a->exponent == INT32_MIN) {
        a->exponent = b->exponent;
        a->first = b->first;
        a->min = b->min;
        a->max = b->max;
        memcpy(a->counts, b->counts, CR_HIST_BINS * sizeof *a->counts);
        return;
    }
    if (b->exponent > a->exponent) {
        coarsen(a, b->exponent);
        slide(a, bin_of(a->min, a->exponent));
    }
    make_room(a, b->min, b->max);
    a->min = fminf(a->min, b->min);
    a->max = fmaxf(a->max, b->max);
    for (int k = 0; k < CR_HIST_BINS; k++)
        if (b->counts[k])
            a->counts[shift_down(b->first + k, a->exponent - b->exponent) - a->first] +=
                b->counts[k];
}

cr_status cr_stats_merge(cr_stats *a, const cr_stats *b, cr_error *err)
{
    a->pictures += b->pictures;
    for (size_t i = 0; i < b->count; i++) {
        cr_tensor_stats *t = cr_stats_get(a, b->tensors[i].name, b->tensors[i].channels);
        if (!t) return CR_NOMEM(err);
        merge_tensor(t, &b->tensors[i]);
    }
    return CR_OK;
}
