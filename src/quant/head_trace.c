/* Decoding, followed channel by channel.
 *
 *     last convolution [1, C, h, w]: element (c, y, x) holds the label first + c + 1
 *            |  Reshape, Transpose, Split, Gather, Concat ...: the operator itself, run on labels
 *            |  Sigmoid, Exp, Softmax, sums with constants: labels stay, the channel gets a fact
 *            v
 *     graph output: which column a channel ends in
 *
 * Data movement is not modelled but done: the reference operator moves labels as it would move
 * values, so that any way of writing a head (views, slices, gathers, splits, transposes) is
 * understood alike. Where several channels meet in one element (a sum over bins, a corner of a box
 * made of a centre and a size), the first one goes on: each has its facts already. A choice by
 * data (rows by TopK, indices of a suppression) takes row 0, which has the same columns.
 *
 * A summand counts as a grid if it differs between two cells of one channel. That tells box
 * arithmetic from a bias that was left behind a MatMul.
 *
 * Rejected: patterns of node types per family (each exporter, version and simplifier writes
 * another); probing with random values (cannot tell a large factor from a large offset).
 *
 * The work is bounded: above MAX_ELEMENTS labels in all, tracing stops and what is behind is
 * unknown. */
#include "quant/head_trace.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "ops/ref.h"

enum { MAX_LABELS = 1 << 24, MAX_ELEMENTS = 1 << 26, MAX_INPUTS = 64, MAX_OUTPUTS = 64 };

typedef struct tracer {
    const cr_graph *graph;
    cr_head_trace *trace;
    int64_t room; /* elements that may still be labelled */
} tracer;

/* ---- sources ---- */

static size_t channel_axis(const cr_node *n)
{
    const cr_shape *s = &n->out[0]->shape;
    const bool conv = n->op->kind == CR_OP_Conv || n->op->kind == CR_OP_ConvTranspose;
    return conv ? 1 : (size_t)(s->rank - 1);
}

static bool can_be_source(const cr_node *n, cr_role role)
{
    return role == CR_ROLE_LAST_CONV && n->out[0] && cr_shape_known(&n->out[0]->shape) &&
           n->out[0]->shape.rank >= 2;
}

static cr_status list_sources(const cr_graph *g, const cr_role *roles, cr_head_trace *t,
                              cr_error *err)
{
    t->sources = cr_calloc(g->node_count, sizeof *t->sources);
    if (!t->sources) return CR_NOMEM(err);
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!can_be_source(n, roles[i])) continue;
        const int64_t channels = n->out[0]->shape.dim[channel_axis(n)];
        if (channels < 1 || channels > MAX_LABELS - (int64_t)t->channel_count) continue;
        t->sources[t->source_count++] = (cr_source){n, t->channel_count, (size_t)channels,
                                                    cr_shape_count(&n->out[0]->shape) / channels};
        t->channel_count += (size_t)channels;
    }
    t->channels = cr_calloc(t->channel_count + 1, sizeof *t->channels);
    if (!t->channels) return CR_NOMEM(err);
    for (size_t c = 0; c < t->channel_count; c++) t->channels[c].output = -1;
    return CR_OK;
}

/* Room for a tensor's labels (zeros); NULL: no memory, unknown shape or the bound is reached. */
static float *new_labels(tracer *t, const cr_tensor *x)
{
    const int64_t n = x ? cr_shape_count(&x->shape) : -1;
    if (n < 1 || n > t->room || t->trace->labels[x->id]) return NULL;
    t->room -= n;
    return t->trace->labels[x->id] = cr_calloc((size_t)n, sizeof(float));
}

static void label_source(tracer *t, const cr_source *s)
{
    const cr_tensor *y = s->node->out[0];
    float *labels = new_labels(t, y);
    if (!labels) return;
    int64_t inner = 1;
    for (int d = (int)channel_axis(s->node) + 1; d < y->shape.rank; d++) inner *= y->shape.dim[d];
    const int64_t n = cr_shape_count(&y->shape);
    for (int64_t i = 0; i < n; i++)
        labels[i] = (float)(s->first + 1 + (size_t)(i / inner) % s->channels);
}

/* ---- facts ---- */

static const float *labels_of(const tracer *t, const cr_tensor *x)
{
    return x ? t->trace->labels[x->id] : NULL;
}

static void add_fact(tracer *t, const cr_tensor *x, unsigned fact)
{
    const float *labels = labels_of(t, x);
    const int64_t n = labels && fact ? cr_shape_count(&x->shape) : 0;
    for (int64_t i = 0; i < n; i++)
        if (labels[i] > 0) t->trace->channels[(size_t)labels[i] - 1].facts |= fact;
}

static bool has_fact(const tracer *t, const cr_tensor *x, unsigned fact)
{
    const float *labels = labels_of(t, x);
    const int64_t n = labels ? cr_shape_count(&x->shape) : 0;
    for (int64_t i = 0; i < n; i++)
        if (labels[i] > 0 && (t->trace->channels[(size_t)labels[i] - 1].facts & fact)) return true;
    return false;
}

/* ---- moving labels ---- */

/* Element of `from` that broadcasting puts at element `at` of `to`. */
static int64_t broadcast_from(const cr_shape *from, const cr_shape *to, int64_t at)
{
    int64_t index = 0, step = 1;
    for (int d = to->rank - 1; d >= 0; d--) {
        const int k = d - (to->rank - from->rank);
        const int64_t place = at % to->dim[d];
        at /= to->dim[d];
        if (k < 0) continue;
        if (from->dim[k] != 1) index += place * step;
        step *= from->dim[k];
    }
    return index;
}

static void spread(tracer *t, const cr_tensor *from, const cr_tensor *to)
{
    const float *labels = labels_of(t, from);
    float *out = t->trace->labels[to->id] ? t->trace->labels[to->id] : new_labels(t, to);
    const int64_t n = labels && out ? cr_shape_count(&to->shape) : 0;
    for (int64_t i = 0; i < n; i++)
        if (out[i] == 0) out[i] = labels[broadcast_from(&from->shape, &to->shape, i)];
}

/* Sums and the like: the first label along the axes that vanish. */
static void collapse(tracer *t, const cr_tensor *from, const cr_tensor *to, const bool *gone)
{
    const float *labels = labels_of(t, from);
    float *out = new_labels(t, to);
    if (!labels || !out) return;
    int64_t step[CR_MAX_RANK], total = 1;
    for (int d = from->shape.rank - 1; d >= 0; d--) {
        step[d] = gone[d] ? 0 : total;
        total *= gone[d] ? 1 : from->shape.dim[d];
    }
    if (total != cr_shape_count(&to->shape)) return;
    const int64_t n = cr_shape_count(&from->shape);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0;
        for (int64_t d = from->shape.rank - 1, rest = i; d >= 0; rest /= from->shape.dim[d--])
            at += rest % from->shape.dim[d] * step[d];
        if (out[at] == 0) out[at] = labels[i];
    }
}

/* What stands for an input when the operator runs on labels: labels, a constant that steers it, or
 * zeros (values that have no label; rows that are known only at run time: row 0). */
static bool stand_in(const tracer *t, const cr_tensor *x, cr_tensor *made)
{
    const float *labels = labels_of(t, x);
    *made = *x;
    if (labels) {
        made->dtype = CR_DT_F32;
        made->data = (void *)labels;
        return false;
    }
    if (x->data && x->dtype != CR_DT_F32) return false;
    made->data = NULL;
    if (cr_shape_count(&x->shape) <= t->room) cr_tensor_alloc(made);
    return true;
}

/* Runs the node on labels. What it refuses (a shape that depends on data) has no labels behind. */
static void run_on_labels(tracer *t, const cr_node *n)
{
    cr_tensor in[MAX_INPUTS], out[MAX_OUTPUTS];
    const cr_tensor *ins[MAX_INPUTS];
    cr_tensor *outs[MAX_OUTPUTS];
    bool made[MAX_INPUTS] = {false}, possible = n->n_in <= MAX_INPUTS && n->n_out <= MAX_OUTPUTS;
    if (!possible) return;
    for (int i = 0; i < n->n_in; i++) {
        ins[i] = n->in[i] ? &in[i] : NULL;
        if (n->in[i]) made[i] = stand_in(t, n->in[i], &in[i]);
        possible &= !n->in[i] || in[i].data;
    }
    for (int k = 0; k < n->n_out; k++) {
        outs[k] = n->out[k] ? &out[k] : NULL;
        if (!n->out[k]) continue;
        out[k] = *n->out[k];
        out[k].data = NULL;
        const int64_t size = cr_shape_count(&out[k].shape);
        possible &= size >= 0 && size <= t->room;
    }
    const cr_op_call call = {n, ins, outs, n->n_in, n->n_out};
    cr_error ignored;
    if (possible && cr_op_run(&call, &ignored) == CR_OK) {
        for (int k = 0; k < n->n_out; k++) {
            float *labels = outs[k] && out[k].dtype == CR_DT_F32 &&
                                    cr_shape_equal(&out[k].shape, &n->out[k]->shape)
                                ? new_labels(t, n->out[k])
                                : NULL;
            if (labels) memcpy(labels, out[k].data, cr_tensor_bytes(&out[k]));
        }
    }
    for (int k = 0; k < n->n_out && possible; k++)
        if (outs[k]) cr_tensor_drop_data(outs[k]);
    for (int i = 0; i < n->n_in; i++)
        if (made[i]) cr_tensor_drop_data(&in[i]);
}

/* ---- arithmetic ---- */

/* Does the constant differ between two elements of one channel? */
static bool differs_between_cells(tracer *t, const cr_tensor *x, const cr_tensor *constant,
                                  const cr_tensor *y)
{
    const float *labels = labels_of(t, x);
    if (!labels || cr_shape_count(&constant->shape) < 2 || !cr_shape_known(&y->shape)) return false;
    double *seen = cr_malloc((t->trace->channel_count + 1) * sizeof *seen);
    bool differs = false;
    if (!seen) return false;
    for (size_t c = 0; c < t->trace->channel_count; c++) seen[c] = NAN;
    const int64_t n = cr_shape_count(&y->shape);
    for (int64_t i = 0; i < n && !differs; i++) {
        const float label = labels[broadcast_from(&x->shape, &y->shape, i)];
        if (label == 0) continue;
        const int64_t at = broadcast_from(&constant->shape, &y->shape, i);
        const double v = cr_tensor_get_f64(constant, (size_t)at);
        double *first = &seen[(size_t)label - 1];
        if (isnan(*first)) *first = v;
        differs = *first != v;
    }
    cr_free(seen);
    return differs;
}

static bool is_sum(cr_op_kind k)
{
    return k == CR_OP_Add || k == CR_OP_Sub || k == CR_OP_Sum || k == CR_OP_Mean;
}

static unsigned fact_of_operand(tracer *t, const cr_node *n, const cr_tensor *x,
                                const cr_tensor *other)
{
    const cr_op_kind k = n->op->kind;
    if (x == other) return k == CR_OP_Mul ? CR_FACT_SQUARE : 0;
    if (labels_of(t, other)) return is_sum(k) ? CR_FACT_PAIR : 0;
    if (k == CR_OP_Pow) return CR_FACT_SQUARE;
    if (!is_sum(k)) return 0;
    if (!other->data) return CR_FACT_GRID; /* reference points that the body computes */
    return differs_between_cells(t, x, other, n->out[0]) ? CR_FACT_GRID : 0;
}

static void combine(tracer *t, const cr_node *n)
{
    cr_head_trace *trace = t->trace;
    const cr_tensor *y = n->out[0];
    const int first = n->op->kind == CR_OP_Where; /* its condition has no part in the value */
    for (int i = first; i < n->n_in; i++)
        for (int k = first; k < n->n_in; k++) {
            if (i == k || !n->in[i] || !n->in[k] || !labels_of(t, n->in[i])) continue;
            const unsigned fact = fact_of_operand(t, n, n->in[i], n->in[k]);
            add_fact(t, n->in[i], fact);
            if (fact & CR_FACT_GRID) trace->absolute[y->id] = true;
        }
    for (int i = first; i < n->n_in; i++)
        if (labels_of(t, n->in[i])) spread(t, n->in[i], y);
}

static unsigned fact_of_unary(cr_op_kind k)
{
    switch (k) {
    case CR_OP_Sigmoid:
    case CR_OP_HardSigmoid:
        return CR_FACT_SIGMOID;
    case CR_OP_Exp:
    case CR_OP_Softplus:
        return CR_FACT_EXP;
    case CR_OP_Sin:
    case CR_OP_Cos:
        return CR_FACT_ANGLE;
    default:
        return 0;
    }
}

/* ---- sums over bins ---- */

static void mark_gone(const cr_node *n, bool gone[CR_MAX_RANK])
{
    const int rank = n->in[0]->shape.rank;
    const cr_tensor *axes = n->n_in > 1 ? n->in[1] : NULL;
    const int64_t count = axes && axes->data ? cr_shape_count(&axes->shape) : 0;
    for (int d = 0; d < rank; d++) gone[d] = count == 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t axis = cr_tensor_get_i64(axes, (size_t)i);
        const int64_t d = axis < 0 ? axis + rank : axis;
        if (d >= 0 && d < rank) gone[d] = true;
    }
}

static void reduce(tracer *t, const cr_node *n)
{
    bool gone[CR_MAX_RANK] = {false};
    const bool sum = n->op->kind == CR_OP_ReduceSum || n->op->kind == CR_OP_ReduceMean;
    if (sum && has_fact(t, n->in[0], CR_FACT_SOFTMAX)) add_fact(t, n->in[0], CR_FACT_MEAN);
    mark_gone(n, gone);
    collapse(t, n->in[0], n->out[0], gone);
}

/* The expectation over bins as a convolution or a product (roles.c). */
static void expectation(tracer *t, const cr_node *n)
{
    bool gone[CR_MAX_RANK] = {false};
    gone[n->op->kind == CR_OP_Conv ? 1 : n->in[0]->shape.rank - 1] = true;
    add_fact(t, n->in[0], CR_FACT_MEAN);
    collapse(t, n->in[0], n->out[0], gone);
}

/* ---- one node ---- */

static bool reads_labels(const tracer *t, const cr_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (labels_of(t, n->in[i])) return true;
    return false;
}

static bool is_reduction(cr_op_kind k)
{
    return k >= CR_OP_ReduceL1 && k <= CR_OP_ReduceSumSquare;
}

static void carry_absolute(tracer *t, const cr_node *n)
{
    bool absolute = false;
    for (int i = 0; i < n->n_in; i++) absolute |= n->in[i] && t->trace->absolute[n->in[i]->id];
    for (int k = 0; absolute && k < n->n_out; k++)
        if (n->out[k]) t->trace->absolute[n->out[k]->id] = true;
}

static void step(tracer *t, const cr_node *n)
{
    const cr_op_kind kind = n->op->kind;
    if (!reads_labels(t, n) || !n->out[0]) return;
    carry_absolute(t, n);
    if (n->op->flags & CR_OPF_MOVE || kind == CR_OP_TopK) {
        run_on_labels(t, n);
    } else if (n->op->flags & CR_OPF_UNARY || kind == CR_OP_Cast || kind == CR_OP_Softmax) {
        add_fact(t, n->in[0], kind == CR_OP_Softmax ? CR_FACT_SOFTMAX : fact_of_unary(kind));
        if (n->out[0]->dtype == CR_DT_F32) spread(t, n->in[0], n->out[0]);
    } else if (kind == CR_OP_NonMaxSuppression) {
        add_fact(t, n->in[0], CR_FACT_BOXES);
        add_fact(t, n->in[1], CR_FACT_SCORES);
    } else if (is_reduction(kind)) {
        reduce(t, n);
    } else if (cr_has_weights(n)) {
        expectation(t, n);
    } else if (n->op->flags & CR_OPF_MATH && n->out[0]->dtype == CR_DT_F32) {
        combine(t, n);
    }
}

/* ---- the outputs ---- */

/* Labels along axis d from the first element; 0 if one comes twice: that is an axis of rows, where
 * the cells of one channel follow each other. `seen` has room for all channels. */
static int count_along(const cr_tensor *y, const float *labels, int d, bool *seen, size_t channels)
{
    int64_t inner = 1;
    int distinct = 0;
    memset(seen, 0, channels * sizeof *seen);
    for (int k = d + 1; k < y->shape.rank; k++) inner *= y->shape.dim[k];
    for (int64_t i = 0; i < y->shape.dim[d]; i++) {
        const size_t label = (size_t)labels[i * inner];
        if (!label) continue;
        if (seen[label - 1]) return 0;
        seen[label - 1] = true;
        distinct++;
    }
    return distinct;
}

/* The axis of columns: the one with most channels; -1 without memory. */
static int column_axis(const cr_tensor *y, const float *labels, size_t channels)
{
    int best = -1, most = -1;
    bool *seen = cr_malloc((channels + 1) * sizeof *seen);
    for (int d = 0; seen && d < y->shape.rank; d++) {
        const int distinct = count_along(y, labels, d, seen, channels);
        if (distinct > most) {
            best = d;
            most = distinct;
        }
    }
    cr_free(seen);
    return best;
}

static void read_output(tracer *t, int index)
{
    const cr_tensor *y = t->graph->outputs[index];
    const float *labels = labels_of(t, y);
    if (!labels || y->shape.rank < 1) return;
    const int axis = column_axis(y, labels, t->trace->channel_count);
    if (axis < 0) return;
    int64_t inner = 1;
    for (int d = axis + 1; d < y->shape.rank; d++) inner *= y->shape.dim[d];
    const int64_t n = cr_shape_count(&y->shape);
    for (int64_t i = 0; i < n; i++) {
        if (labels[i] == 0) continue;
        cr_channel *c = &t->trace->channels[(size_t)labels[i] - 1];
        if (c->output >= 0) continue;
        c->output = index;
        c->columns = (int)y->shape.dim[axis];
        c->column = (int)(i / inner % y->shape.dim[axis]);
    }
}

cr_status cr_head_trace_run(const cr_graph *g, const cr_role *roles, cr_head_trace *out,
                            cr_error *err)
{
    *out = (cr_head_trace){.tensor_count = g->tensor_count};
    tracer t = {g, out, MAX_ELEMENTS};
    cr_status st = CR_OK;
    out->labels = cr_calloc(g->tensor_count, sizeof *out->labels);
    out->absolute = cr_calloc(g->tensor_count, sizeof *out->absolute);
    if (!out->labels || !out->absolute) st = CR_NOMEM(err);
    if (st == CR_OK) st = list_sources(g, roles, out, err);
    if (st != CR_OK) {
        cr_head_trace_release(out);
        return st;
    }
    for (size_t s = 0; s < out->source_count; s++) label_source(&t, &out->sources[s]);
    for (size_t i = 0; i < g->node_count; i++)
        if (roles[i] == CR_ROLE_DECODE) step(&t, g->nodes[i]);
    for (size_t k = 0; k < g->output_count; k++) read_output(&t, (int)k);
    return CR_OK;
}

void cr_head_trace_release(cr_head_trace *t)
{
    for (size_t i = 0; t->labels && i < t->tensor_count; i++) cr_free(t->labels[i]);
    cr_free(t->labels);
    cr_free(t->absolute);
    cr_free(t->sources);
    cr_free(t->channels);
    *t = (cr_head_trace){0};
}
