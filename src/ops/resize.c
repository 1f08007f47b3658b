/* Resize: nearest copies elements of any type; linear and cubic resample one dimension after the
 * other in double and round once at the end.
 *
 * A position between input pixels is split into `base` and a ratio in (0, 1]: the pixel at base is
 * on its left, and a position that hits a pixel exactly has ratio 1 with the pixel on its right, so
 * that taps base + first .. base + 1 - first are the nearest ones for every filter. Pixels outside
 * repeat the edge, or with exclude_outside get weight 0. Antialiasing stretches the filter by
 * 1 / scale where that is above 1. These are the rules of ONNX's text and node tests (fractional
 * output lengths included, where ONNX Runtime uses the integer one for align_corners). */
#include <math.h>
#include <string.h>

#include "graph/shape.h"
#include "ops/elem.h"
#include "ops/nn_loops.h"
#include "ops/ref_all.h"

typedef struct resizer {
    cr_resize_shape shape;
    const cr_shape *in;
    const char *place; /* coordinate_transformation_mode */
    bool nearest, crop, cubic, antialias, exclude;
    double a, extrapolation;
} resizer;

/* Nearest rounds positions to whole pixels, and ties are common; each step is rounded to float32,
 * as ONNX Runtime computes them, so that the same pixel is taken. */
static double step(const resizer *r, double x)
{
    return r->nearest ? (double)(float)x : x;
}

/* Input coordinate of output o along dimension d. */
static double locate(const resizer *r, int d, int64_t o)
{
    const double scale = step(r, r->shape.scale[d]), length = r->shape.length[d], x = (double)o;
    const double last = (double)r->in->dim[d] - 1;
    if (!strcmp(r->place, "asymmetric")) return step(r, x / scale);
    if (!strcmp(r->place, "align_corners"))
        return length == 1 ? 0 : step(r, step(r, x * last) / step(r, length - 1));
    if (r->crop) {
        const double lo = r->shape.roi_lo[d], hi = r->shape.roi_hi[d];
        const double along = length == 1 ? 0.5 : x / (length - 1);
        return (lo + along * (hi - lo)) * last;
    }
    if (!strcmp(r->place, "pytorch_half_pixel") && r->shape.out.dim[d] <= 1) return 0;
    const double centre = step(r, step(r, (x + 0.5) / scale) - 0.5);
    if (strcmp(r->place, "half_pixel_symmetric") != 0) return centre;
    const double adjustment = (double)r->shape.out.dim[d] / length;
    return (double)r->in->dim[d] / 2 * (1 - adjustment) + centre;
}

/* tf_crop_and_resize: outside of the picture there is only extrapolation_value. */
static bool is_outside(const resizer *r, int d, double x)
{
    return r->crop && !(x >= 0 && x <= (double)r->in->dim[d] - 1);
}

static int64_t clamp_index(double x, int64_t n)
{
    if (!(x > 0)) return 0;
    return x < (double)n ? (int64_t)x : n - 1;
}

static double round_by(const char *mode, double x)
{
    if (!strcmp(mode, "floor")) return floor(x);
    if (!strcmp(mode, "ceil")) return ceil(x);
    return !strcmp(mode, "round_prefer_ceil") ? floor(x + 0.5) : ceil(x - 0.5);
}

/* Source index of every output index of every dimension, one list after the other; -1 outside. */
static void map_nearest(const resizer *r, const char *mode, int64_t *map)
{
    for (int d = 0; d < r->in->rank; d++)
        for (int64_t o = 0; o < r->shape.out.dim[d]; o++) {
            const double x = locate(r, d, o);
            *map++ = is_outside(r, d, x) ? -1 : clamp_index(round_by(mode, x), r->in->dim[d]);
        }
}

static void fill_outside(cr_tensor *y, int64_t i, double value)
{
    if (cr_dtype_is_float(y->dtype))
        cr_store_f64(y, i, value);
    else
        cr_store_bits(y, i, value > -9e18 && value < 9e18 ? (uint64_t)(int64_t)value : 0);
}

static cr_status resize_nearest(const cr_op_call *call, const resizer *r, cr_error *err)
{
    const cr_shape *out = &r->shape.out;
    const char *mode = cr_attr_string(call->node, "nearest_mode", "round_prefer_floor");
    const size_t size = cr_dtype_size(call->in[0]->dtype);
    const int64_t n = cr_shape_count(out);
    int64_t strides[CR_MAX_RANK], total = 0, start[CR_MAX_RANK];
    for (int d = 0; d < out->rank; d++) {
        start[d] = total;
        total += out->dim[d];
    }
    int64_t *map = cr_buffer_zero(total, sizeof *map);
    if (!map) return CR_NOMEM(err);
    map_nearest(r, mode, map);
    cr_shape_strides(r->in, strides);
    cr_walk w = cr_walk_begin(out);
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w)) {
        int64_t from = 0;
        for (int d = 0; d < out->rank && from >= 0; d++) {
            const int64_t index = map[start[d] + w.index[d]];
            from = index < 0 ? -1 : from + index * strides[d];
        }
        if (from < 0)
            fill_outside(call->out[0], i, r->extrapolation);
        else
            cr_copy_elem(call->out[0]->data, i, call->in[0]->data, from, size);
    }
    cr_free(map);
    return CR_OK;
}

/* Keys' cubic with parameter a; the triangle for linear. */
static double filter(const resizer *r, double x)
{
    const double a = r->a;
    x = fabs(x);
    if (!r->cubic) return x < 1 ? 1 - x : 0;
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Taps first .. 1 - first around a position; the filter is stretched by 1 / squeeze. */
typedef struct taps {
    int64_t first, count;
    double squeeze;
} taps;

static taps taps_of(const resizer *r, int d)
{
    const double scale = r->shape.scale[d];
    taps t = {.squeeze = r->antialias && scale < 1 ? scale : 1};
    t.first = (int64_t)floor((r->cubic ? -2 : -1) / t.squeeze) + 1;
    t.count = 2 - 2 * t.first;
    return t;
}

static void weigh(const resizer *r, const taps *t, int d, double x, double *weights)
{
    const double base = ceil(x) - 1, ratio = x - base, n = (double)r->in->dim[d];
    double sum = 0;
    for (int64_t i = 0; i < t->count; i++) {
        const double k = (double)(t->first + i), at = base + k;
        weights[i] = filter(r, (k - ratio) * t->squeeze);
        if (r->exclude && (at < 0 || at >= n)) weights[i] = 0;
        sum += weights[i];
    }
    if (!r->antialias && !r->exclude) return;
    for (int64_t i = 0; i < t->count && sum != 0; i++) weights[i] /= sum;
}

/* src [outer, in, inner] to dst [outer, out, inner] along dimension d. */
static cr_status resample(const resizer *r, int d, const double *src, double *dst, int64_t outer,
                          int64_t inner, cr_error *err)
{
    const int64_t in = r->in->dim[d], out = r->shape.out.dim[d];
    const taps t = taps_of(r, d);
    double *weights = cr_buffer_zero(t.count, sizeof *weights);
    if (!weights) return CR_NOMEM(err);
    for (int64_t o = 0; o < out; o++) {
        const double x = locate(r, d, o), base = ceil(x) - 1;
        const bool outside = is_outside(r, d, x);
        weigh(r, &t, d, x, weights);
        for (int64_t p = 0; p < outer * inner; p++) {
            const double *from = src + p / inner * in * inner + p % inner;
            double sum = 0;
            for (int64_t i = 0; i < t.count; i++)
                sum += weights[i] * from[clamp_index(base + (double)(t.first + i), in) * inner];
            dst[(p / inner * out + o) * inner + p % inner] = outside ? r->extrapolation : sum;
        }
    }
    cr_free(weights);
    return CR_OK;
}

/* Nothing changes along a dimension that keeps its length and its pixel grid. */
static bool is_still(const resizer *r, int d)
{
    return !r->crop && r->shape.scale[d] == 1 && r->shape.out.dim[d] == r->in->dim[d];
}

static cr_status resize_smooth(const cr_op_call *call, const resizer *r, cr_error *err)
{
    cr_status st = CR_OK;
    cr_shape now = *r->in;
    double *src = cr_buffer_f64(call->in[0]), *dst = NULL;
    if (!src) return CR_NOMEM(err);
    for (int d = 0; d < now.rank; d++) {
        if (is_still(r, d)) continue;
        const int64_t outer = cr_shape_span(&now, 0, d);
        const int64_t inner = cr_shape_span(&now, d + 1, now.rank);
        now.dim[d] = r->shape.out.dim[d];
        const int64_t n = cr_shape_count(&now);
        dst = n < 0 ? NULL : cr_buffer_zero(n, sizeof *dst);
        if (!dst) {
            st = CR_NOMEM(err);
            goto done;
        }
        CR_TRY_GOTO(resample(r, d, src, dst, outer, inner, err), done);
        cr_free(src);
        src = dst;
        dst = NULL;
    }
    cr_buffer_store_f64(src, call->out[0]);
done:
    cr_free(src);
    cr_free(dst);
    return st;
}

cr_status cr_eval_resize(const cr_op_call *call, cr_error *err)
{
    const cr_node *n = call->node;
    const char *mode = cr_attr_string(n, "mode", "nearest");
    resizer r = {.in = &call->in[0]->shape};
    CR_TRY(cr_resize_read(call, &r.shape, err));
    r.place = cr_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    r.crop = !strcmp(r.place, "tf_crop_and_resize");
    r.nearest = !strcmp(mode, "nearest");
    r.cubic = !strcmp(mode, "cubic");
    r.antialias = cr_attr_int(n, "antialias", 0) != 0;
    r.exclude = cr_attr_int(n, "exclude_outside", 0) != 0;
    r.a = cr_attr_float(n, "cubic_coeff_a", -0.75f);
    r.extrapolation = cr_attr_float(n, "extrapolation_value", 0);
    if (cr_shape_count(&r.shape.out) == 0) return CR_OK;
    return r.nearest ? resize_nearest(call, &r, err) : resize_smooth(call, &r, err);
}
