#include "quant/palette.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { MAX_COLOURS = 256, MAX_ROUNDS = 100, DENSITY_BINS = 512 };

/* Sorted values and the sums of all before each. */
typedef struct sorted {
    float *v;
    double *sum; /* [n + 1] */
    size_t n;
} sorted;

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static bool sort_values(sorted *s, const float *v, size_t n)
{
    *s = (sorted){cr_malloc(n * sizeof *s->v + 1), cr_malloc((n + 1) * sizeof *s->sum), n};
    if (!s->v || !s->sum) return false;
    memcpy(s->v, v, n * sizeof *v);
    qsort(s->v, n, sizeof *v, compare);
    s->sum[0] = 0;
    for (size_t i = 0; i < n; i++) s->sum[i + 1] = s->sum[i] + s->v[i];
    return true;
}

static void sorted_free(sorted *s)
{
    cr_free(s->v);
    cr_free(s->sum);
}

/* How many values are below (or, with `equal`, not above) x. */
static size_t below(const sorted *s, double x, bool equal)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (s->v[mid] < x || (equal && s->v[mid] == x))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Centres at equal steps of the integral of density^(1/3). */
static void companded(const sorted *s, int k, double *centre)
{
    const double lo = s->v[0], width = (s->v[s->n - 1] - lo) / DENSITY_BINS;
    double total[DENSITY_BINS + 1] = {0};
    size_t before = 0;
    for (int b = 0; b < DENSITY_BINS; b++) {
        const size_t upto = b + 1 == DENSITY_BINS ? s->n : below(s, lo + (b + 1) * width, false);
        total[b + 1] = total[b] + cbrt((double)(upto - before));
        before = upto;
    }
    int b = 0;
    for (int i = 0; i < k; i++) {
        const double want = (i + .5) / k * total[DENSITY_BINS];
        while (b + 1 < DENSITY_BINS && total[b + 1] < want) b++;
        const double step = total[b + 1] - total[b];
        centre[i] = lo + width * (b + (step > 0 ? (want - total[b]) / step : .5));
    }
}

/* One round: cells end halfway between centres, centres move to the means of their cells; an empty
 * cell keeps its centre. Has anything moved? */
static bool improve(const sorted *s, int k, double *centre)
{
    size_t from = 0;
    bool moved = false;
    for (int i = 0; i < k; i++) {
        const size_t to = i + 1 == k ? s->n : below(s, (centre[i] + centre[i + 1]) / 2, true);
        if (to > from) {
            const double mean = (s->sum[to] - s->sum[from]) / (double)(to - from);
            moved |= mean != centre[i];
            centre[i] = mean;
            from = to;
        }
    }
    return moved;
}

/* All different values if there are no more than k of them. */
static int all_values(const sorted *s, int k, float *palette)
{
    int count = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (count && palette[count - 1] == s->v[i]) continue;
        if (count == k) return -1;
        palette[count++] = s->v[i];
    }
    return count;
}

static float to_half(float v)
{
    const float h = cr_f16_to_f32(cr_f32_to_f16(v));
    return isfinite(h) ? h : v;
}

static int round_palette(float *palette, int count)
{
    int kept = 0;
    for (int i = 0; i < count; i++) {
        const float h = to_half(palette[i]);
        if (!kept || palette[kept - 1] != h) palette[kept++] = h;
    }
    return kept;
}

cr_status cr_palette_fit(const float *v, size_t n, int bits, float *palette, int *count,
                         cr_error *err)
{
    sorted s;
    double centre[MAX_COLOURS];
    const int k = 1 << bits;
    *count = 0;
    if (!n) return CR_OK;
    if (!sort_values(&s, v, n)) {
        sorted_free(&s);
        return CR_NOMEM(err);
    }
    int found = all_values(&s, k, palette);
    if (found < 0) {
        companded(&s, k, centre);
        for (int i = 0; i < MAX_ROUNDS && improve(&s, k, centre);) i++;
        for (int i = 0; i < k; i++) palette[i] = (float)centre[i];
        found = k;
    }
    *count = round_palette(palette, found);
    sorted_free(&s);
    return CR_OK;
}

void cr_palette_apply(float *v, size_t n, const float *palette, int count)
{
    for (size_t i = 0; i < n; i++) {
        int lo = 0, hi = count - 1;
        while (lo < hi) {
            const int mid = (lo + hi) / 2;
            if ((double)v[i] - palette[mid] <= (double)palette[mid + 1] - v[i])
                hi = mid;
            else
                lo = mid + 1;
        }
        v[i] = palette[lo];
    }
}
