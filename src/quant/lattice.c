/* 1. Nearest plane (GPTQ, Frantar et al. 2022, which is Babai's algorithm, Chen et al. 2025): codes are
 *    fixed one by one from the last row of R up; each takes the errors of those before into account.
 * 2. Coordinate descent: a code moves by a step or more while that lowers the error (what learned
 *    rounding does by gradients: Nagel et al. 2020; the quadratic form needs none).
 * 3. Scales: nearest plane with the whole grid a bit finer or coarser, as long as the error falls.
 *    Then in turn the best scales for the codes (a small linear system: one unknown per block) and
 *    the best codes for the scales, until that no longer helps (alternating least squares).
 *
 * Rejected: scales of least plain squared error only (weight_scales.h). They know nothing of which
 * inputs matter: of 3x3 convolutions in YOLOv8n with 4 bits a sixth of the error is theirs. */
#include "quant/lattice.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "quant/cholesky.h"

enum { SIZES = 6, ROUNDS = 4 };
static const double SIZE_STEP = 0.07, LEAST_GAIN = 1e-4;
static const double SMALLEST = 0.3, LARGEST = 2; /* of the planned scales */

cr_lattice_row cr_lattice_row_create(int64_t k, int64_t blocks)
{
    const size_t n = (size_t)k, b = (size_t)blocks;
    cr_lattice_row r = {0};
    double *v = cr_calloc(4 * n + 4 * b + b * b + (n + b) / 2 + 2, sizeof *v);
    if (!v) return r;
    r.target = v;
    r.codes = v + n;
    r.rest = v + 2 * n;
    r.best_codes = v + 3 * n;
    r.scale = v + 4 * n;
    r.planned = r.scale + b;
    r.best_scale = r.planned + b;
    r.normal = r.best_scale + b; /* [blocks][blocks + 1] */
    r.error = (float *)(r.normal + b * (b + 1));
    r.zero = (int32_t *)(r.error + n);
    return r;
}

void cr_lattice_row_free(cr_lattice_row *r)
{
    cr_free(r->target);
    *r = (cr_lattice_row){0};
}

/* ---- codes ---- */

static double nearest_code(const cr_lattice *l, const cr_lattice_row *r, int64_t i, double v)
{
    const int32_t zero = r->zero[l->block[i]];
    const double code = nearbyint(v / r->scale[l->block[i]]) + zero;
    return fmin(fmax(code, l->lo), l->hi) - zero;
}

static void set_code(const cr_lattice *l, cr_lattice_row *r, int64_t i, double code)
{
    r->codes[i] = code;
    r->error[i] = (float)(r->target[i] - code * r->scale[l->block[i]]);
}

static double nearest_plane(const cr_lattice *l, cr_lattice_row *r)
{
    double sum = 0;
    for (int64_t i = l->k; i-- > 0;) {
        const float *row = l->h + i * l->k;
        const double pull = (double)cr_dot_f32(row + i + 1, r->error + i + 1, l->k - i - 1);
        set_code(l, r, i, nearest_code(l, r, i, r->target[i] + pull / (double)row[i]));
        const double part = (double)row[i] * (double)r->error[i] + pull;
        sum += part * part;
    }
    return sum;
}

/* rest = H (target - v): half the slope of the error. Row by row below the diagonal, each element for
 * both its places. Gives the error. */
static double slope(const cr_lattice *l, cr_lattice_row *r)
{
    double sum = 0;
    for (int64_t i = 0; i < l->k; i++) {
        const float *row = l->h + i * l->k;
        const double f = (double)r->error[i];
        for (int64_t j = 0; j < i; j++) r->rest[j] += f * (double)row[j];
        r->rest[i] = (double)cr_dot_f32(row, r->error, i) + f * (double)l->diagonal[i];
    }
    for (int64_t i = 0; i < l->k; i++) sum += (double)r->error[i] * r->rest[i];
    return sum;
}

/* rest += f * row i of H. */
static void add_row(const cr_lattice *l, int64_t i, double f, double *rest)
{
    const float *row = l->h + i * l->k;
    for (int64_t j = 0; j < i; j++) rest[j] += f * (double)row[j];
    rest[i] += f * (double)l->diagonal[i];
    for (int64_t j = i + 1; j < l->k; j++) rest[j] += f * (double)l->h[j * l->k + i];
}

/* `rest` holds the slope. Gives the error, from what it was. */
static double descend(const cr_lattice *l, cr_lattice_row *r, double error)
{
    for (int sweep = 0; sweep < l->sweeps; sweep++) {
        bool moved = false;
        for (int64_t i = 0; i < l->k; i++) {
            const double scale = r->scale[l->block[i]], d = (double)l->diagonal[i];
            const double to =
                nearest_code(l, r, i, r->codes[i] * scale + r->rest[i] / d);
            const double step = (to - r->codes[i]) * scale;
            if (to == r->codes[i]) continue;
            moved = true;
            error += step * (step * d - 2 * r->rest[i]);
            set_code(l, r, i, to);
            add_row(l, i, -step, r->rest);
        }
        if (!moved) break;
    }
    return error;
}

/* ---- scales ---- */

static void set_size(const cr_lattice *l, cr_lattice_row *r, double size)
{
    if (size < r->least) size = r->least;
    for (int64_t b = 0; b < l->blocks; b++)
        r->scale[b] = (double)(float)(size * r->planned[b]);
}

static void keep(const cr_lattice *l, cr_lattice_row *r)
{
    memcpy(r->best_codes, r->codes, (size_t)l->k * sizeof *r->codes);
    memcpy(r->best_scale, r->scale, (size_t)l->blocks * sizeof *r->scale);
}

static void take_back(const cr_lattice *l, cr_lattice_row *r)
{
    memcpy(r->scale, r->best_scale, (size_t)l->blocks * sizeof *r->scale);
    for (int64_t i = 0; i < l->k; i++) set_code(l, r, i, r->best_codes[i]);
}

/* In one direction, as long as it helps. */
static bool walk(const cr_lattice *l, cr_lattice_row *r, double step, double *least)
{
    bool helped = false;
    for (int i = 1; i <= SIZES; i++) {
        set_size(l, r, 1 + step * i);
        const double error = nearest_plane(l, r);
        if (!(error < *least)) break;
        *least = error;
        keep(l, r);
        helped = true;
    }
    return helped;
}

static double choose_size(const cr_lattice *l, cr_lattice_row *r)
{
    double least = nearest_plane(l, r);
    keep(l, r);
    if (!walk(l, r, -SIZE_STEP, &least)) walk(l, r, SIZE_STEP, &least);
    take_back(l, r);
    return least;
}

/* The normal equations of changes d of the scales: A[b][c] = sum over i of b, j of c of codes[i]
 * H[i][j] codes[j], right side sum over i of b of codes[i] rest[i]. */
static void set_up(const cr_lattice *l, cr_lattice_row *r)
{
    const int64_t n = l->blocks, wide = n + 1;
    memset(r->normal, 0, (size_t)(n * wide) * sizeof *r->normal);
    for (int64_t i = 0; i < l->k; i++) {
        const float *row = l->h + i * l->k;
        const double c = r->codes[i];
        double *a = r->normal + l->block[i] * wide;
        a[n] += c * r->rest[i];
        a[l->block[i]] += c * c * (double)l->diagonal[i];
        if (c == 0) continue;
        for (int64_t j = 0; j < i; j++) {
            const double v = c * r->codes[j] * (double)row[j];
            a[l->block[j]] += v;
            r->normal[l->block[j] * wide + l->block[i]] += v;
        }
    }
}

/* Gaussian elimination of a positive semidefinite system: unknowns without a pivot stay 0. */
static void eliminate(double *a, int64_t n)
{
    const int64_t wide = n + 1;
    double largest = 0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, a[i * wide + i]);
    for (int64_t i = 0; i < n; i++) {
        double *row = a + i * wide;
        if (row[i] <= 1e-9 * largest) {
            for (int64_t j = 0; j < wide; j++) row[j] = 0;
            row[i] = 1;
        }
        for (int64_t other = i + 1; other < n; other++) {
            double *to = a + other * wide;
            const double f = to[i] / row[i];
            for (int64_t j = i; f != 0 && j < wide; j++) to[j] -= f * row[j];
        }
    }
    for (int64_t i = n; i-- > 0;) {
        double *row = a + i * wide;
        for (int64_t j = i + 1; j < n; j++) row[n] -= row[j] * a[j * wide + n];
        row[n] /= row[i];
    }
}

static void refit(const cr_lattice *l, cr_lattice_row *r)
{
    set_up(l, r);
    eliminate(r->normal, l->blocks);
    for (int64_t b = 0; b < l->blocks; b++) {
        const double least = fmax(SMALLEST, r->least) * r->planned[b];
        const double v = r->scale[b] + r->normal[b * (l->blocks + 1) + l->blocks];
        r->scale[b] = (double)(float)fmin(fmax(v, least), LARGEST * r->planned[b]);
    }
    for (int64_t i = 0; i < l->k; i++) set_code(l, r, i, r->codes[i]);
}

double cr_lattice_fit(const cr_lattice *l, cr_lattice_row *r)
{
    double least;
    memcpy(r->planned, r->scale, (size_t)l->blocks * sizeof *r->scale);
    least = l->scales ? choose_size(l, r) : nearest_plane(l, r);
    if (l->sweeps < 1) return least;
    least = descend(l, r, slope(l, r));
    for (int round = 0; l->scales && round < ROUNDS; round++) {
        keep(l, r);
        refit(l, r);
        const double error = descend(l, r, slope(l, r));
        const bool better = error < least;
        if (!better) take_back(l, r);
        if (!(error < least * (1 - LEAST_GAIN))) return better ? error : least;
        least = error;
    }
    return least;
}
