/* Palettes for the weights of a graph. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "quant/palette.h"
#include "quant/roles.h"
#include "quant/sum_rounding.h"

enum { MAX_COLOURS = 256 };

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

/* ---- scales ---- */

static int64_t place(const cr_sum_layout *l, int64_t o, int64_t k)
{
    return o * l->out_step + k / l->taps * l->kernel_step + k % l->taps;
}

/* The largest magnitude of an output, in float16; 1 where that is 0 or too large. */
static float scale_of(const float *v, const cr_sum_layout *l, int64_t o)
{
    float most = 0;
    for (int64_t k = 0; k < l->kernels * l->taps; k++) most = fmaxf(most, fabsf(v[place(l, o, k)]));
    const float scale = cr_f16_to_f32(cr_f32_to_f16(most));
    return scale > 0 && isfinite(scale) ? scale : 1;
}

/* ---- sums ---- */

typedef struct run { /* weights that are summed up, with the index of each */
    const float *x;
    uint8_t *index;
    const float *palette;
    int count;
} run;

/* What moving element k one step in direction `sign` costs per unit; infinite: it cannot, or lies on
 * that side already. */
static double cost_of(const run *r, size_t k, int sign, double *step)
{
    const int to = r->index[k] + sign;
    const double from = (double)r->palette[r->index[k]], error = (double)r->x[k] - from;
    if (to < 0 || to >= r->count || !(error * sign > 0)) return INFINITY;
    *step = (double)r->palette[to] - from;
    return (*step - 2 * error) * *step / fabs(*step);
}

/* Moves the cheapest ones as long as the sum of errors comes nearer to zero. */
static void cancel(const run *r, size_t n)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++) sum += (double)r->x[k] - (double)r->palette[r->index[k]];
    const int sign = sum < 0 ? -1 : 1;
    for (;;) {
        size_t best = n;
        double least = INFINITY, by = 0;
        for (size_t k = 0; k < n; k++) {
            double step = 0;
            const double cost = cost_of(r, k, sign, &step);
            if (!(cost < least) || !(fabs(sum - step) < fabs(sum))) continue;
            best = k;
            least = cost;
            by = step;
        }
        if (best == n) return;
        r->index[best] = (uint8_t)(r->index[best] + sign);
        sum -= by;
    }
}

/* ---- a weight ---- */

static uint8_t index_of(float v, const float *palette, int count)
{
    cr_palette_apply(&v, 1, palette, count);
    int at = 0;
    while (palette[at] != v) at++;
    return (uint8_t)at;
}

/* One output of quotients x, in place: the palette's values. */
static void round_output(float *x, const cr_sum_layout *l, const float *palette, int count,
                         uint8_t *index)
{
    const size_t taps = (size_t)l->taps, n = (size_t)l->kernels * taps;
    for (size_t k = 0; k < n; k++) index[k] = index_of(x[k], palette, count);
    for (size_t k = 0; taps > 1 && k < n; k += taps)
        cancel(&(run){x + k, index + k, palette, count}, taps);
    cancel(&(run){x, index, palette, count}, n);
    for (size_t k = 0; k < n; k++) x[k] = palette[index[k]];
}

/* x: the weights output by output, divided by their scales (NULL: by 1). */
static void gather(const float *v, const cr_sum_layout *l, const float *scale, float *x)
{
    const int64_t n = l->kernels * l->taps;
    for (int64_t o = 0; o < l->outs; o++)
        for (int64_t k = 0; k < n; k++) x[o * n + k] = v[place(l, o, k)] / (scale ? scale[o] : 1);
}

static cr_status round_layer(float *v, size_t n, const cr_sum_layout *l, int bits,
                             const float *scale, cr_error *err)
{
    const size_t each = (size_t)(l->kernels * l->taps);
    float palette[MAX_COLOURS], *x = cr_malloc(n * sizeof *x + 1);
    uint8_t *index = cr_malloc(each + 1);
    int count;
    cr_status st = x && index ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        gather(v, l, scale, x);
        st = cr_palette_fit(x, n, bits, palette, &count, err);
    }
    for (int64_t o = 0; st == CR_OK && o < l->outs; o++) {
        float *own = x + (size_t)o * each;
        round_output(own, l, palette, count, index);
        for (size_t k = 0; k < each; k++)
            v[place(l, o, (int64_t)k)] = own[k] * (scale ? scale[o] : 1);
    }
    cr_free(x);
    cr_free(index);
    return st;
}

static cr_status round_plain(float *v, size_t n, int bits, cr_error *err)
{
    float palette[MAX_COLOURS];
    int count;
    CR_TRY(cr_palette_fit(v, n, bits, palette, &count, err));
    cr_palette_apply(v, n, palette, count);
    return CR_OK;
}

/* Scales of t, kept for who writes it; NULL: no memory. */
static const float *add_scales(const cr_tensor *t, const cr_sum_layout *l, cr_arena *arena,
                               cr_palette_made *made)
{
    float *scale = cr_arena_alloc(arena, (size_t)l->outs * sizeof *scale);
    for (int64_t o = 0; scale && o < l->outs; o++) scale[o] = scale_of(t->data, l, o);
    made->scales[made->scale_count] =
        (cr_palette_scales){t->name, l->out_step == 1 ? 1 : 0, (size_t)l->outs, scale};
    made->scale_count += scale != NULL;
    return scale;
}

static cr_status give_palette(cr_tensor *t, const cr_node *reader, int bits, bool scaled,
                              cr_arena *arena, cr_palette_made *made, cr_error *err)
{
    const size_t n = (size_t)cr_shape_count(&t->shape);
    cr_sum_layout l;
    if (!cr_sum_layout_find(reader, &l)) return round_plain(t->data, n, bits, err);
    const float *scale = scaled ? add_scales(t, &l, arena, made) : NULL;
    if (scaled && !scale) return CR_NOMEM(err);
    return round_layer(t->data, n, &l, bits, scale, err);
}

/* ---- all of them ---- */

static cr_status give_all(cr_graph *g, int bits, bool scaled, unsigned char *marks,
                          cr_arena *arena, cr_palette_made *made, cr_error *err)
{
    double energy = 0, lost = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        cr_tensor *t = is_palette_weight(g->nodes[i]) ? g->nodes[i]->in[1] : NULL;
        if (!t || !marks[t->id]) continue;
        const bool kept = marks[t->id] == 2;
        marks[t->id] = 0; /* once */
        made->left += kept;
        made->weights += !kept;
        if (kept) continue;
        const size_t n = (size_t)cr_shape_count(&t->shape);
        float *was = cr_malloc(n * sizeof *was);
        if (!was) return CR_NOMEM(err);
        memcpy(was, t->data, n * sizeof *was);
        const cr_status st = give_palette(t, g->nodes[i], bits, scaled, arena, made, err);
        for (size_t k = 0; k < n; k++) {
            const double off = (double)was[k] - (double)((const float *)t->data)[k];
            energy += (double)was[k] * was[k];
            lost += off * off;
        }
        cr_free(was);
        if (st != CR_OK) return st;
    }
    made->error = energy > 0 ? lost / energy : 0;
    return CR_OK;
}

cr_status cr_palette_graph(cr_graph *g, int bits, bool scaled, const bool *kept, cr_arena *arena,
                           cr_palette_made *made, cr_error *err)
{
    unsigned char *marks;
    *made = (cr_palette_made){0};
    cr_status st = mark(g, kept, &marks, err);
    if (st == CR_OK && scaled) {
        made->scales = cr_arena_alloc(arena, (g->node_count + 1) * sizeof *made->scales);
        if (!made->scales) st = CR_NOMEM(err);
    }
    if (st == CR_OK) st = give_all(g, bits, scaled, marks, arena, made, err);
    cr_free(marks);
    return st;
}
