/* Scales of weights: per tensor, per channel or per block.
 *
 * largest value   the largest magnitude becomes the last code (signed types), or smallest and largest
 *                 value the first and last (unsigned). Nothing is clipped: right for 8 bits.
 * least error     the scale with the least squared error of rounding, clipped values included: a scan
 *                 over CANDIDATES shares of the largest value, then Lloyd's iteration (the best scale
 *                 for given codes is sum(w q) / sum(q q)) while it helps. With 4 bits and fewer a few
 *                 large weights must not decide how coarse all others are. Unsigned types
 *                 shorten the two ends in turn.
 * ternary         codes -1, 0, 1: the least error has a closed form. With the k largest magnitudes kept,
 *                 the best scale is their mean and the error falls by (their sum)^2 / k; the best k is
 *                 found exactly from the sorted magnitudes. This is what Li & Liu, "Ternary Weight
 *                 Networks" (2016), approximate by a threshold of 0.7 mean |w|. At the optimum the
 *                 threshold is half the scale, so rounding to nearest gives these very codes.
 * binary          the mean magnitude, the best scale for signs (Rastegari et al., XNOR-Net, 2016).
 *
 * Rejected: a search over the output error of the layer. That is what rounding with second-order
 * information does on top of these scales; doing it twice moves the grid under its feet. */
#include "quant/weight_scales.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/arith.h"

enum { CANDIDATES = 40, LLOYD_ROUNDS = 8, END_ROUNDS = 2 };
static const double LEAST_SHARE = 0.2; /* of the largest value: below it all types here clip too much */

/* ---- one group: the values that share a scale ---- */

typedef struct group {
    const float *x;
    size_t n;
    cr_dtype type;
    int32_t lo, hi; /* codes */
} group;

typedef struct choice {
    double scale, error;
    int32_t zero;
} choice;

/* An infinite error: the scale is no float above 0. */
static choice try_scale(const group *g, double scale, int32_t zero)
{
    const float s = (float)scale;
    choice c = {(double)s, INFINITY, zero};
    if (!(s > 0) || !isfinite(s)) return c;
    c.error = 0;
    for (size_t i = 0; i < g->n; i++) {
        const int32_t code = cr_quantize_value(g->x[i], s, zero, g->lo, g->hi);
        const double gap = (double)g->x[i] - (double)(code - zero) * c.scale;
        c.error += gap * gap;
    }
    return c;
}

static void keep_better(choice *best, choice c)
{
    if (c.error < best->error) *best = c;
}

/* Lloyd: the codes of the best scale, then the best scale of these codes. */
static void refine(const group *g, choice *best)
{
    for (int round = 0; round < LLOYD_ROUNDS; round++) {
        double above = 0, below = 0;
        for (size_t i = 0; i < g->n; i++) {
            const int32_t code =
                cr_quantize_value(g->x[i], (float)best->scale, best->zero, g->lo, g->hi);
            const double q = code - best->zero;
            above += (double)g->x[i] * q;
            below += q * q;
        }
        const choice c = try_scale(g, below > 0 ? above / below : 0, best->zero);
        if (!(c.error < best->error)) return;
        *best = c;
    }
}

static void find_range(const group *g, double *lo, double *hi)
{
    *lo = *hi = 0;
    for (size_t i = 0; i < g->n; i++) {
        *lo = fmin(*lo, (double)g->x[i]);
        *hi = fmax(*hi, (double)g->x[i]);
    }
}

static choice symmetric_choice(const group *g, bool least_error)
{
    double lo, hi;
    find_range(g, &lo, &hi);
    const double largest = fmax(hi, -lo);
    choice best = {largest / g->hi, INFINITY, 0};
    if (!least_error) return best;
    for (int i = 0; i < CANDIDATES; i++) {
        const double share = 1 - (1 - LEAST_SHARE) * i / CANDIDATES;
        keep_better(&best, try_scale(g, share * largest / g->hi, 0));
    }
    refine(g, &best);
    return best;
}

static choice affine_params(const group *g, double lo, double hi)
{
    choice c = {(hi - lo) / ((double)g->hi - g->lo), INFINITY, g->lo};
    if ((float)c.scale > 0)
        c.zero = (int32_t)fmin(fmax(nearbyint(g->lo - lo / (double)(float)c.scale), g->lo), g->hi);
    return c;
}

static choice affine_choice(const group *g, bool least_error)
{
    double lo, hi;
    find_range(g, &lo, &hi);
    choice best = affine_params(g, lo, hi);
    if (!least_error) return best;
    best = try_scale(g, best.scale, best.zero);
    double share[2] = {1, 1}; /* of lo and of hi */
    for (int k = 0; k < 2 * END_ROUNDS; k++) {
        const double other = share[1 - k % 2];
        for (int i = 1; i < CANDIDATES; i++) {
            const double mine = 1 - (double)i / CANDIDATES;
            const choice c = affine_params(g, lo * (k % 2 ? other : mine),
                                           hi * (k % 2 ? mine : other));
            const choice tried = try_scale(g, c.scale, c.zero);
            if (tried.error < best.error) share[k % 2] = mine;
            keep_better(&best, tried);
        }
    }
    refine(g, &best);
    return best;
}

static int by_magnitude(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* The mean of the k largest magnitudes for which (sum)^2 / k is largest. x is overwritten. */
static double ternary_scale(float *x, size_t n)
{
    double sum = 0, gain = -1, scale = 0;
    for (size_t i = 0; i < n; i++) x[i] = fabsf(x[i]);
    qsort(x, n, sizeof *x, by_magnitude);
    for (size_t k = 1; k <= n; k++) {
        sum += (double)x[k - 1];
        if (sum * sum / (double)k > gain) {
            gain = sum * sum / (double)k;
            scale = sum / (double)k;
        }
    }
    return scale;
}

static double mean_magnitude(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs((double)x[i]);
    return sum / (double)n;
}

static choice choose(const group *g, float *x, bool least_error)
{
    if (g->type == CR_DT_I1) return (choice){mean_magnitude(x, g->n), 0, 0};
    if (g->type == CR_DT_I2 && least_error) return (choice){ternary_scale(x, g->n), 0, 0};
    return cr_dtype_is_signed(g->type) ? symmetric_choice(g, least_error)
                                       : affine_choice(g, least_error);
}

/* ---- all groups of a tensor ---- */

/* The values of scale k, one behind the other; gives their number. */
static size_t gather(const float *x, const cr_q_grain *g, int64_t k, float *out)
{
    size_t n = 0;
    if (g->block) {
        const int64_t i = k % g->inner, first = k / g->inner % g->blocks * g->block;
        const int64_t o = k / g->inner / g->blocks;
        for (int64_t a = first; a < g->length && a < first + g->block; a++)
            out[n++] = x[(o * g->length + a) * g->inner + i];
        return n;
    }
    for (int64_t o = 0; o < g->outer; o++)
        for (int64_t i = 0; i < g->inner; i++) out[n++] = x[(o * g->length + k) * g->inner + i];
    return n;
}

static void set_codes(const cr_weight_form *f, cr_qparams *q)
{
    const bool eight = f->type == CR_DT_I8 || f->type == CR_DT_U8;
    if (f->type == CR_DT_I2) q->lo = -1, q->hi = 1;
    if (f->reduced && eight) q->hi = f->type == CR_DT_I8 ? 63 : 127;
    if (f->reduced && f->type == CR_DT_I8) q->lo = -63;
}

/* Scales that do not depend on each other: k has the group's values, room for them in `x`. */
static void choose_group(const cr_tensor *w, const cr_weight_form *f, const cr_q_grain *grain,
                         size_t k, float *x, cr_qparams *q)
{
    group g = {x, gather(w->data, grain, (int64_t)k, x), f->type, 0, 0};
    cr_q_range(q, &g.lo, &g.hi);
    const choice c = choose(&g, x, f->least_error);
    const bool usable = (float)c.scale > 0 && isfinite((float)c.scale);
    q->scale[k] = usable ? (float)c.scale : 1.f;
    q->zero_point[k] = usable ? c.zero : 0;
}

static bool all_finite(const cr_tensor *w)
{
    const float *x = w->data;
    for (int64_t i = 0; i < cr_shape_count(&w->shape); i++)
        if (!isfinite(x[i])) return false;
    return true;
}

cr_status cr_weight_scales(const cr_tensor *w, const cr_weight_form *f, cr_arena *arena,
                           cr_qparams *out, cr_error *err)
{
    cr_qparams q = {.type = f->type, .axis = f->axis, .count = f->axis < 0 ? 1 : 2, .block = f->block};
    CR_CHECK(all_finite(w), err, CR_ERR_FORMAT, "weight '%s' has NaN or infinite values", w->name);
    const cr_q_grain g = cr_q_grain_of(&q, &w->shape);
    q.count = (size_t)(f->axis < 0 ? 1 : g.block ? g.outer * g.blocks * g.inner : g.length);
    q.scale = cr_arena_alloc(arena, q.count * sizeof *q.scale);
    q.zero_point = cr_arena_alloc(arena, q.count * sizeof *q.zero_point);
    float *x = cr_malloc((size_t)cr_shape_count(&w->shape) * sizeof *x);
    if (!q.scale || !q.zero_point || !x) {
        cr_free(x);
        return CR_NOMEM(err);
    }
    set_codes(f, &q);
    for (size_t k = 0; k < q.count; k++) choose_group(w, f, &g, k, x, &q);
    cr_free(x);
    *out = q;
    return CR_OK;
}
