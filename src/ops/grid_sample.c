/* GridSample on 1 to 3 spatial dimensions: values at fractional positions, in double.
 *
 * A position becomes, per dimension, up to four taps (pixel index and weight); a tap outside of the
 * input is mapped by the padding mode or dropped (index -1). The value is the sum over all
 * combinations of taps. Nearest and linear bring the position itself inside first, cubic only its
 * taps (PyTorch and ONNX Runtime; ONNX's text leaves it open). NaN counts as -1, as in PyTorch. */
#include <math.h>
#include <string.h>

#include "graph/nn_rules.h"
#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

typedef enum padding { PAD_ZEROS, PAD_BORDER, PAD_REFLECTION } padding;
enum { MAX_TAPS = 4 };

typedef struct sampler {
    int dims, taps; /* taps per dimension: 1 nearest, 2 linear, 4 cubic */
    padding pad;
    bool align;
    int64_t size[CR_WINDOW_DIMS];
} sampler;

typedef struct place {
    int64_t index[CR_WINDOW_DIMS][MAX_TAPS];
    double weight[CR_WINDOW_DIMS][MAX_TAPS];
} place;

/* Folds x back into [lo, hi] by reflection at its ends. */
static double reflect(double x, double lo, double hi)
{
    const double span = hi - lo;
    if (span <= 0) return lo;
    const double over = x < lo ? lo - x : x - hi;
    if (over <= 0) return x;
    const double times = floor(over / span), rest = over - times * span;
    const bool from_lo = (x < lo) == (fmod(times, 2) == 0);
    return from_lo ? lo + rest : hi - rest;
}

static double fold_back(const sampler *s, int d, double x)
{
    const double n = (double)s->size[d], lo = s->align ? 0 : -0.5, hi = n - (s->align ? 1 : 0.5);
    if (s->pad == PAD_ZEROS || (x >= lo && x <= hi)) return x;
    return s->pad == PAD_REFLECTION ? reflect(x, lo, hi) : fmin(fmax(x, 0), n - 1);
}

/* Pixel of a tap; -1 where it counts as zero. */
static int64_t pixel(const sampler *s, int d, double at)
{
    const double n = (double)s->size[d];
    if (at >= 0 && at < n) return (int64_t)at;
    if (s->pad == PAD_ZEROS) return -1;
    return (int64_t)fmin(fmax(trunc(fold_back(s, d, at)), 0), n - 1);
}

static void cubic_weights(double t, double *w)
{
    const double a = -0.75;
    w[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    w[2] = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1;
    w[3] = ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a;
}

static void place_dim(const sampler *s, int d, double x, place *p)
{
    const double n = (double)s->size[d];
    if (x != x) x = -1;
    x = s->align ? (x + 1) / 2 * (n - 1) : ((x + 1) * n - 1) / 2;
    x = fmin(fmax(x, -1e9), 1e9);
    if (s->taps == 1) x = rint(x);
    if (s->taps < 4) x = fold_back(s, d, x);
    const double base = s->taps == 1 ? x : floor(x), t = x - base;
    const double first = s->taps == 4 ? base - 1 : base;
    double *w = p->weight[d];
    w[0] = s->taps == 1 ? 1 : 1 - t;
    w[1] = t;
    if (s->taps == 4) cubic_weights(t, w);
    for (int i = 0; i < s->taps; i++) p->index[d][i] = pixel(s, d, first + i);
}

/* Sum over all tap combinations of dimensions d and up; `at` is the offset so far. */
static double gather(const sampler *s, const place *p, const cr_tensor *x, int d, int64_t at)
{
    if (d == s->dims) return cr_load_f64(x, at);
    double sum = 0;
    for (int i = 0; i < s->taps; i++)
        if (p->index[d][i] >= 0)
            sum += p->weight[d][i] * gather(s, p, x, d + 1, at * s->size[d] + p->index[d][i]);
    return sum;
}

static sampler read_sampler(const cr_op_call *call)
{
    const cr_shape *x = &call->in[0]->shape;
    const char *mode = cr_attr_string(call->node, "mode", "linear");
    const char *pad = cr_attr_string(call->node, "padding_mode", "zeros");
    sampler s = {.dims = x->rank - 2};
    s.taps = !strcmp(mode, "linear") ? 2 : !strcmp(mode, "cubic") ? 4 : 1;
    s.pad = !strcmp(pad, "border")       ? PAD_BORDER
            : !strcmp(pad, "reflection") ? PAD_REFLECTION
                                         : PAD_ZEROS;
    s.align = cr_attr_int(call->node, "align_corners", 0) != 0;
    for (int d = 0; d < s.dims; d++) s.size[d] = x->dim[2 + d];
    return s;
}

cr_status cr_eval_grid_sample(const cr_op_call *call, cr_error *err)
{
    const cr_tensor *x = call->in[0], *grid = call->in[1];
    const sampler s = read_sampler(call);
    const int64_t batch = x->shape.dim[0], channels = x->shape.dim[1];
    if (cr_shape_count(&call->out[0]->shape) == 0) return CR_OK;
    const int64_t points = cr_shape_span(&grid->shape, 1, grid->shape.rank - 1);
    for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < points; i++) {
            place p;
            for (int d = 0; d < s.dims; d++) /* the grid names the last dimension first */
                place_dim(&s, d, cr_load_f64(grid, (b * points + i) * s.dims + (s.dims - 1 - d)),
                          &p);
            for (int64_t c = 0; c < channels; c++)
                cr_store_f64(call->out[0], (b * channels + c) * points + i,
                             gather(&s, &p, x, 0, b * channels + c));
        }
    return CR_OK;
}
