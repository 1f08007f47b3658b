#include "quant/palette.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "quant/roles.h"

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

static bool is_palette_weight(const cr_node *n)
{
    return cr_has_weights(n) && n->in[1]->dtype == CR_DT_F32;
}

/* A weight that several nodes read is kept if one of them is. */
static cr_status mark(const cr_graph *g, const bool *kept, unsigned char **out, cr_error *err)
{
    *out = cr_calloc(g->tensor_count + 1, 1);
    if (!*out) return CR_NOMEM(err);
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!is_palette_weight(n)) continue;
        const bool small = cr_shape_count(&n->in[1]->shape) < CR_PALETTE_MIN;
        unsigned char *m = &(*out)[n->in[1]->id];
        if (small || (kept && kept[i]) || *m == 2)
            *m = 2;
        else
            *m = 1;
    }
    return CR_OK;
}

cr_status cr_palette_graph(cr_graph *g, int bits, const bool *kept, size_t *weights, size_t *left,
                           double *error, cr_error *err)
{
    unsigned char *marks;
    double energy = 0, lost = 0;
    cr_status st = mark(g, kept, &marks, err);
    *weights = *left = 0;
    for (size_t i = 0; st == CR_OK && i < g->tensor_count; i++) {
        cr_tensor *t = g->tensors[i];
        const size_t n = marks[i] == 1 ? (size_t)cr_shape_count(&t->shape) : 0;
        float palette[MAX_COLOURS], *v = t->data;
        int count;
        *left += marks[i] == 2;
        if (!n) continue;
        st = cr_palette_fit(v, n, bits, palette, &count, err);
        for (size_t k = 0; st == CR_OK && k < n; k++) {
            float q = v[k];
            cr_palette_apply(&q, 1, palette, count);
            energy += (double)v[k] * v[k];
            lost += ((double)v[k] - q) * ((double)v[k] - q);
            v[k] = q;
        }
        ++*weights;
    }
    *error = energy > 0 ? lost / energy : 0;
    cr_free(marks);
    return st;
}
