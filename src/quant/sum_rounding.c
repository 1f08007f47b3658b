/* What a layer reads is positive on average (it comes out of ReLU, SiLU or a picture) and alike at
 * neighbouring pixels. So an error of all weights in one direction costs far more than the same errors
 * in both: with inputs x = mean + noise, the output's error is (sum of errors) * mean + noise. Nearest
 * rounding leaves sums to chance. Here, for each output:
 *
 * 1. In each kernel (the taps that read one input channel) codes next to a tie are flipped to the other
 *    side until the sum of errors is at most half a step.
 * 2. Over all kernels of the output likewise, one flip per kernel at most, those first whose own sum is
 *    furthest in the sum's direction.
 *
 * Each flip takes the code whose error grows least. This is SQuant (Guo et al., "SQuant: On-the-Fly
 * Data-Free Quantization via Diagonal Hessian Approximation", ICLR 2022): exact for a Gram matrix (gram.h)
 * of the form a I + b (ones within a kernel) + c (ones). Rejected: nearest plane with such a matrix
 * (lattice.h), the same aim for a thousand times the work. */
#include "quant/sum_rounding.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"

/* ---- one output ---- */

typedef struct line {
    const double *w;
    int32_t *codes, lo, hi;
} line;

static double error_of(const line *l, size_t i)
{
    return l->codes[i] - l->w[i];
}

/* Moves the code among [first, first + n) that is furthest in direction `sign` a step back. false: all
 * are at the end of the range, or already on the other side of their value. */
static bool flip(const line *l, size_t first, size_t n, int sign)
{
    const size_t end = first + n;
    size_t best = end;
    double most = 0;
    for (size_t i = first; i < end; i++) {
        const int32_t to = l->codes[i] - sign;
        const double error = sign * error_of(l, i);
        if (to < l->lo || to > l->hi || !(error > most)) continue;
        most = error;
        best = i;
    }
    if (best == end) return false;
    l->codes[best] -= sign;
    return true;
}

static double sum_of(const line *l, size_t first, size_t n)
{
    double sum = 0;
    for (size_t i = first; i < first + n; i++) sum += error_of(l, i);
    return sum;
}

static void cancel_kernel(const line *l, size_t first, size_t taps, double *sum)
{
    *sum = sum_of(l, first, taps);
    const int sign = *sum < 0 ? -1 : 1;
    while (fabs(*sum) > .5 && flip(l, first, taps, sign)) *sum -= sign;
}

/* The kernel whose sum is furthest in the direction and that has not been used. */
static size_t next_kernel(const double *sum, size_t kernels, int sign)
{
    size_t best = kernels;
    for (size_t c = 0; c < kernels; c++)
        if (sign * sum[c] > 0 && (best == kernels || sign * (sum[c] - sum[best]) > 0)) best = c;
    return best;
}

void cr_cancel_sums(const double *w, int32_t *codes, size_t kernels, size_t taps, int32_t lo,
                    int32_t hi, double *sum)
{
    const line l = {w, codes, lo, hi};
    double all = 0;
    for (size_t c = 0; c < kernels; c++) {
        sum[c] = 0;
        if (taps > 1)
            cancel_kernel(&l, c * taps, taps, &sum[c]);
        else
            sum[c] = error_of(&l, c);
        all += sum[c];
    }
    const int sign = all < 0 ? -1 : 1;
    for (size_t c; fabs(all) > .5 && (c = next_kernel(sum, kernels, sign)) < kernels;) {
        if (flip(&l, c * taps, taps, sign)) all -= sign;
        sum[c] = 0; /* used */
    }
}

/* ---- a layer ---- */

bool cr_sum_layout_find(const cr_node *n, cr_sum_layout *l)
{
    const cr_op_kind kind = n->op->kind;
    if (n->n_in < 2 || !n->in[1] || !n->in[1]->data || n->in[1]->dtype != CR_DT_F32) return false;
    const cr_shape *w = &n->in[1]->shape;
    if (kind == CR_OP_Conv && w->rank >= 3) {
        *l = (cr_sum_layout){w->dim[0], w->dim[1], 1, 0, 0};
        for (int d = 2; d < w->rank; d++) l->taps *= w->dim[d];
        l->kernel_step = l->taps;
        l->out_step = l->kernels * l->taps;
        return true;
    }
    if ((kind != CR_OP_Gemm && kind != CR_OP_MatMul) || w->rank != 2) return false;
    const bool turned = kind == CR_OP_Gemm && cr_attr_int(n, "transB", 0);
    *l = turned ? (cr_sum_layout){w->dim[0], w->dim[1], 1, w->dim[1], 1}
                : (cr_sum_layout){w->dim[1], w->dim[0], 1, 1, w->dim[1]};
    return true;
}

typedef struct job {
    const cr_tensor *weight;
    const cr_qparams *q;
    cr_sum_layout at;
    cr_q_grain grain;
    float *data; /* a copy of the weights, then the result */
    double *w, *sum;
    int32_t *codes;
    bool changed;
} job;

/* As in cr_q_grain: of the element at `at`. */
static size_t scale_of(const job *j, int64_t at)
{
    const int64_t row = at / j->grain.inner;
    if (j->q->count == 1) return 0;
    return cr_q_first_scale(&j->grain, row / j->grain.length, row % j->grain.length) +
           (size_t)(j->grain.block ? at % j->grain.inner : 0);
}

/* Kernels [first, last) at one tap or, taps = all, at each, which share a scale. */
static void round_part(job *j, int64_t base, int64_t first, int64_t last, int64_t taps)
{
    const size_t scale = scale_of(j, base + first * j->at.kernel_step);
    const double step = (double)j->q->scale[scale];
    const int32_t zero = j->q->zero_point[scale];
    int32_t lo, hi;
    size_t n = 0;
    cr_q_range(j->q, &lo, &hi);
    if (j->q->type == CR_DT_I8 && lo < -127) lo = -127; /* as nearest rounding leaves it */
    for (int64_t c = first; c < last; c++)
        for (int64_t t = 0; t < taps; t++, n++) {
            const float x = j->data[base + c * j->at.kernel_step + t];
            j->codes[n] = cr_quantize_value(x, j->q->scale[scale], zero, lo, hi);
            j->w[n] = (double)x / step + zero;
        }
    cr_cancel_sums(j->w, j->codes, (size_t)(last - first), (size_t)taps, lo, hi, j->sum);
    n = 0;
    for (int64_t c = first; c < last; c++)
        for (int64_t t = 0; t < taps; t++, n++) {
            float *x = &j->data[base + c * j->at.kernel_step + t];
            const int32_t nearest = cr_quantize_value(*x, j->q->scale[scale], zero, lo, hi);
            j->changed |= j->codes[n] != nearest;
            *x = cr_dequantize(j->codes[n], j->q->scale[scale], zero);
        }
}

static void round_output(job *j, int64_t o)
{
    const int64_t base = o * j->at.out_step, block = j->q->block;
    if (!block) {
        round_part(j, base, 0, j->at.kernels, j->at.taps);
        return;
    }
    for (int64_t t = 0; t < j->at.taps; t++)
        for (int64_t c = 0; c < j->at.kernels; c += block)
            round_part(j, base + t, c, c + block < j->at.kernels ? c + block : j->at.kernels, 1);
}

/* Scales along the outputs, one for all, or blocks of inputs. */
static bool can_round(const job *j)
{
    const int out_axis = j->at.out_step == 1 ? 1 : 0;
    if (!cr_q_byte_codes(j->q->type) || j->q->type == CR_DT_I1) return false;
    if (j->q->block) return j->q->axis == 1 - out_axis;
    return j->q->count == 1 || j->q->axis == out_axis;
}

static cr_status round_layer(job *j, cr_recipe *r, size_t *changed, cr_error *err)
{
    const size_t n = (size_t)cr_shape_count(&j->weight->shape);
    const size_t each = (size_t)(j->at.kernels * j->at.taps);
    cr_status st = CR_OK;
    j->data = cr_malloc(n * sizeof *j->data);
    j->w = cr_calloc(each + (size_t)j->at.kernels, sizeof *j->w);
    j->codes = cr_calloc(each, sizeof *j->codes);
    if (!j->data || !j->w || !j->codes) {
        st = CR_NOMEM(err);
        goto done;
    }
    j->sum = j->w + each;
    memcpy(j->data, j->weight->data, n * sizeof *j->data);
    for (int64_t o = 0; o < j->at.outs; o++) round_output(j, o);
    if (j->changed) {
        ++*changed;
        st = cr_recipe_set_value(r, j->weight->name, &j->weight->shape, j->data, err);
    }
done:
    cr_free(j->data);
    cr_free(j->w);
    cr_free(j->codes);
    return st;
}

cr_status cr_round_by_sums(const cr_graph *g, cr_recipe *r, size_t *changed, cr_error *err)
{
    cr_graph *whole = NULL;
    const cr_recipe_entry **entries = NULL;
    size_t unused, *count = changed ? changed : &unused;
    *count = 0;
    cr_status st = cr_recipe_apply(r, g, &whole, err);
    if (st == CR_OK) st = cr_recipe_bind(r, whole, &entries, err);
    for (size_t i = 0; st == CR_OK && i < whole->node_count; i++) {
        const cr_node *n = whole->nodes[i];
        job j = {0};
        if (!cr_sum_layout_find(n, &j.at) || n->in[1]->uses != 1 || !entries[n->in[1]->id]) continue;
        j.weight = n->in[1];
        j.q = &entries[j.weight->id]->q;
        j.grain = cr_q_grain_of(j.q, &j.weight->shape);
        if (can_round(&j)) st = round_layer(&j, r, count, err);
    }
    cr_free(entries);
    cr_graph_free(&whole);
    return st;
}
