/* w'[o][i] = round(w[o][i] * f[o] * g[i]), where f[o] * g[i] are powers of the fourth root of two, as
 * equalization leaves it (equalize.c): f and g by least squares in turn, from 1, then each product to the
 * nearest such power. What is left must be small: rounding to 4 bits leaves 1 to 3 % of the energy, to
 * one bit 36 % (a Gaussian's), another weight 100 % or more. Factors count only where they explain what
 * rounding alone does not. What slices measure one by one is no rule: at 4 bits and fewer, small slices are
 * rounded to half or double their length.
 *
 * An input channel of a grouped convolution is counted by group; f alone is fitted where each group has
 * one (depthwise). */
#include "quant/weight_match.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

static const double MOST_LEFT = .5, EXPLAINS = 1.5;
enum { ROUNDS = 16, OCTAVE = 4 };

typedef struct matcher {
    const float *a, *b; /* the original, and what has become of it */
    int64_t rows, cols, inner;
    int64_t group_rows; /* rows of a group */
    int64_t groups;
    double *f, *g; /* [rows], [groups * cols] */
} matcher;

/* Axis 0 are rows and axis 1 columns of a convolution's [O, I / groups, ...]; matrices likewise. */
static void describe(const cr_node *n, const cr_tensor *w, matcher *m)
{
    m->rows = w->shape.rank ? w->shape.dim[0] : 1;
    m->cols = w->shape.rank > 1 ? w->shape.dim[1] : 1;
    m->inner = 1;
    for (int d = 2; d < w->shape.rank; d++) m->inner *= w->shape.dim[d];
    m->groups = n->op->kind == CR_OP_Conv ? cr_attr_int(n, "group", 1) : 1;
    if (m->groups < 1 || m->rows % m->groups) m->groups = 1;
    m->group_rows = m->rows / m->groups;
}

static double column(const matcher *m, int64_t row, int64_t col)
{
    return m->g[row / m->group_rows * m->cols + col];
}

/* The factor of least squares, sum(x y) / sum(x x); without one as it was. */
static double factor_of(double xy, double xx, double now)
{
    return xx > 0 && xy > 0 ? xy / xx : now;
}

static void fit_rows(matcher *m)
{
    for (int64_t r = 0; r < m->rows; r++) {
        double xy = 0, xx = 0;
        for (int64_t c = 0; c < m->cols; c++)
            for (int64_t i = 0; i < m->inner; i++) {
                const int64_t at = (r * m->cols + c) * m->inner + i;
                const double x = (double)m->a[at] * column(m, r, c);
                xy += x * (double)m->b[at];
                xx += x * x;
            }
        m->f[r] = factor_of(xy, xx, m->f[r]);
    }
}

static void fit_columns(matcher *m)
{
    for (int64_t k = 0; k < m->groups * m->cols; k++) {
        const int64_t first = k / m->cols * m->group_rows, c = k % m->cols;
        double xy = 0, xx = 0;
        for (int64_t r = first; r < first + m->group_rows; r++)
            for (int64_t i = 0; i < m->inner; i++) {
                const int64_t at = (r * m->cols + c) * m->inner + i;
                const double x = (double)m->a[at] * m->f[r];
                xy += x * (double)m->b[at];
                xx += x * x;
            }
        m->g[k] = factor_of(xy, xx, m->g[k]);
    }
}

/* Writes what was before rounding (with factors or as it was); the energy of what rounding moved over
 * that of what it gave. */
static double undo(const matcher *m, bool factors, float *unrounded)
{
    double left = 0, energy = 0;
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t c = 0; c < m->cols; c++) {
            const double both = factors ? m->f[r] * column(m, r, c) : 1;
            const float factor = (float)exp2(nearbyint(OCTAVE * log2(both)) / OCTAVE);
            for (int64_t i = 0; i < m->inner; i++) {
                const int64_t at = (r * m->cols + c) * m->inner + i;
                unrounded[at] = m->a[at] * factor;
                const double d = (double)unrounded[at] - (double)m->b[at];
                left += d * d;
                energy += (double)m->b[at] * (double)m->b[at];
            }
        }
    return energy > 0 ? left / energy : left > 0 ? INFINITY : 0;
}

static cr_match decide(const matcher *m, float *unrounded)
{
    const double scaled = undo(m, true, unrounded), plain = undo(m, false, unrounded);
    if (plain <= MOST_LEFT && plain <= EXPLAINS * scaled) return CR_MATCH_ROUNDED;
    if (!(scaled <= MOST_LEFT)) return CR_MATCH_NONE;
    undo(m, true, unrounded);
    return CR_MATCH_SCALED;
}

cr_status cr_match_weights(const cr_node *n, const cr_tensor *original, float *unrounded,
                           cr_match *match, cr_error *err)
{
    matcher m = {.a = original->data, .b = n->in[1]->data};
    describe(n, original, &m);
    m.f = cr_calloc((size_t)m.rows + 1, sizeof *m.f);
    m.g = cr_calloc((size_t)(m.groups * m.cols) + 1, sizeof *m.g);
    *match = CR_MATCH_NONE;
    cr_status st = m.f && m.g ? CR_OK : CR_NOMEM(err);
    for (int64_t r = 0; st == CR_OK && r < m.rows; r++) m.f[r] = 1;
    for (int64_t k = 0; st == CR_OK && k < m.groups * m.cols; k++) m.g[k] = 1;
    for (int k = 0; st == CR_OK && k < ROUNDS; k++) {
        fit_rows(&m);
        if (m.group_rows > 1) fit_columns(&m);
    }
    if (st == CR_OK) *match = decide(&m, unrounded);
    cr_free(m.f);
    cr_free(m.g);
    return st;
}
