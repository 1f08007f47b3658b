/* Plan: roles -> placement -> ranges -> recipe. Every decision is written down in the recipe; no
 * later stage decides anything. */
#include "quant/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "quant/head_plan.h"
#include "quant/placement.h"
#include "quant/range.h"

typedef struct planner {
    const cr_graph *graph;
    const cr_stats *stats;
    const cr_quantize_options *options;
    cr_recipe *recipe;
    cr_placement_map map;
    cr_qparams *params;  /* by tensor id: of activations with an entry; count 0 else */
    cr_arena arena;      /* of params */
} planner;

static const char *head_name(cr_head_mode h)
{
    static const char *const names[] = {"auto", "quantize", "float"};
    return names[h];
}

static bool is_graph_input(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->input_count; i++)
        if (g->inputs[i] == t) return true;
    return false;
}

/* ---- activations ---- */

static cr_dtype activation_type(const planner *p, const cr_tensor *source)
{
    if (p->map.wide[source->id]) return CR_DT_I16;
    return p->options->activations == CR_ACTIVATIONS_INT8 ? CR_DT_I8 : CR_DT_U8;
}

static cr_status open_params(planner *p, const cr_tensor *t, size_t count, cr_error *err)
{
    cr_qparams *q = &p->params[t->id];
    *q = (cr_qparams){activation_type(p, t), count > 1 ? 1 : -1, count,
                      cr_arena_alloc(&p->arena, count * sizeof *q->scale),
                      cr_arena_alloc(&p->arena, count * sizeof *q->zero_point)};
    return q->scale && q->zero_point ? CR_OK : CR_NOMEM(err);
}

/* A picture's pixels are integers already: its full range keeps them exact (scale 1/255 or 1). 16
 * bits are fine enough for all that was seen, with zero in the middle, which is cheapest to run. */
static cr_status choose_params(planner *p, const cr_tensor *t, cr_error *err)
{
    const cr_quantize_options *o = p->options;
    const cr_tensor_stats *s = cr_stats_find(p->stats, t->name);
    CR_CHECK(s, err, CR_ERR_ARGUMENT,
             "the statistics have no tensor '%s': they were made with another model", t->name);
    const bool picture = is_graph_input(p->graph, t), wide = p->map.wide[t->id];
    const bool symmetric = wide || (o->symmetric && !picture);
    const bool by_channel = p->map.by_channel[t->id] && s->channels == t->shape.dim[1];
    const cr_qparams *q = &p->params[t->id];
    const cr_range_want want = {picture || wide ? CR_CALIB_MINMAX : o->calibration, o->percentile,
                                o->norm, wide ? 65536 : 256, symmetric};
    CR_TRY(open_params(p, t, by_channel ? (size_t)s->channels : 1, err));
    for (size_t c = 0; c < q->count; c++) {
        cr_interval v;
        CR_TRY(by_channel ? cr_range_choose_channel(s, (int64_t)c, &want, &v, err)
                          : cr_range_choose(s, &want, &v, err));
        cr_range_to_params(v.lo, v.hi, q->type, symmetric, &q->scale[c], &q->zero_point[c]);
    }
    return CR_OK;
}

static cr_status plan_activations(planner *p, cr_quantize_report *report, cr_error *err)
{
    const cr_graph *g = p->graph;
    for (size_t i = 0; i < g->tensor_count; i++)
        if (p->map.source[i] == g->tensors[i]) CR_TRY(choose_params(p, g->tensors[i], err));
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *source = p->map.source[i];
        if (!source) continue;
        p->params[i] = p->params[source->id];
        CR_TRY(cr_recipe_add(p->recipe, g->tensors[i]->name, false, &p->params[i], p->map.why[i], err));
        report->activations++;
    }
    return CR_OK;
}

/* ---- weights ---- */

static int channel_axis(const cr_node *n)
{
    const cr_shape *w = &n->in[1]->shape;
    switch (n->op->kind) {
    case CR_OP_Conv: return 0;
    case CR_OP_ConvTranspose: return cr_attr_int(n, "group", 1) == 1 ? 1 : -1;
    case CR_OP_Gemm: return cr_attr_int(n, "transB", 0) ? 0 : 1;
    case CR_OP_MatMul: return w->rank == 2 ? 1 : -1;
    default: return -1;
    }
}

typedef struct channel_range {
    double lo, hi;
} channel_range;

static void weight_ranges(const cr_tensor *w, int axis, size_t count, channel_range *r)
{
    int64_t inner = 1;
    for (int d = axis + 1; axis >= 0 && d < w->shape.rank; d++) inner *= w->shape.dim[d];
    const int64_t total = cr_shape_count(&w->shape);
    const float *x = w->data;
    for (int64_t i = 0; i < total; i++) {
        channel_range *c = &r[axis < 0 ? 0 : (size_t)(i / inner) % count];
        c->lo = fmin(c->lo, (double)x[i]);
        c->hi = fmax(c->hi, (double)x[i]);
    }
}

/* The bias is an int32 at scale sa*sw: a channel of tiny weights would overflow it, so its scale is
 * raised until the bias fits 2^30. Its weights then round to fewer steps, which is harmless: they
 * are tiny against the bias. */
static float fit_bias(float sw, float sa, const cr_tensor *bias, size_t c, size_t channels)
{
    if (!bias || !bias->data || bias->dtype != CR_DT_F32 || !(sa > 0)) return sw;
    const int64_t n = cr_shape_count(&bias->shape);
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        if (channels == 1 || (size_t)i == c)
            largest = fmax(largest, fabs((double)((const float *)bias->data)[i]));
    const double least = largest / ((double)sa * 0x1p30);
    return (double)sw < least ? (float)least : sw;
}

static float input_scale(const planner *p, const cr_tensor *x, size_t c)
{
    const cr_qparams *q = &p->params[x->id];
    return q->count ? q->scale[c < q->count ? c : 0] : 0;
}

static cr_dtype weight_type(const planner *p, const cr_node *n)
{
    if (p->map.precision[n->index] == CR_LAYER_INT4) return CR_DT_I4;
    return p->options->weights == CR_WEIGHTS_INT8 ? CR_DT_I8 : CR_DT_U8;
}

static void weight_params(const planner *p, cr_dtype type, channel_range r, float *scale,
                          int32_t *zero_point)
{
    const cr_quantize_options *o = p->options;
    if (type != CR_DT_U8) {
        const int top = type == CR_DT_I4 ? 7 : o->reduce_range ? 63 : 127;
        const double s = fmax(r.hi, -r.lo) / top;
        *scale = (float)s > 0 ? (float)s : 1.f;
        *zero_point = 0;
        return;
    }
    cr_range_to_params(r.lo, r.hi, CR_DT_U8, false, scale, zero_point);
    if (o->reduce_range) { /* 0..127 */
        *scale *= 255.f / 127.f;
        *zero_point /= 2;
    }
}

static cr_status plan_weight(planner *p, const cr_node *n, cr_error *err)
{
    const cr_tensor *w = n->in[1], *bias = n->n_in > 2 ? n->in[2] : NULL;
    const cr_dtype type = weight_type(p, n);
    const int axis = p->options->granularity == CR_PER_CHANNEL ? channel_axis(n) : -1;
    const size_t count = axis < 0 ? 1 : (size_t)w->shape.dim[axis];
    cr_status st = CR_OK;
    channel_range *ranges = cr_calloc(count, sizeof *ranges);
    float *scale = cr_calloc(count, sizeof *scale);
    int32_t *zero_point = cr_calloc(count, sizeof *zero_point);
    if (!ranges || !scale || !zero_point) {
        st = CR_NOMEM(err);
        goto done;
    }
    weight_ranges(w, axis, count, ranges);
    for (size_t c = 0; c < count; c++) {
        if (!isfinite(ranges[c].lo) || !isfinite(ranges[c].hi)) {
            st = cr_fail(err, CR_ERR_FORMAT, "weight '%s' has NaN or infinite values", w->name);
            goto done;
        }
        weight_params(p, type, ranges[c], &scale[c], &zero_point[c]);
        scale[c] = fit_bias(scale[c], input_scale(p, n->in[0], c), bias, c, count);
    }
    const cr_qparams q = {type, axis, count, scale, zero_point};
    st = cr_recipe_add(p->recipe, w->name, true, &q, "round to nearest", err);
done:
    cr_free(ranges);
    cr_free(scale);
    cr_free(zero_point);
    return st;
}

static bool has_entry(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, tensor)) return true;
    return false;
}

static cr_status plan_weights(planner *p, cr_quantize_report *report, cr_error *err)
{
    const cr_graph *g = p->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        if (!p->map.node[i]) continue;
        report->convs_quantized++;
        if (has_entry(p->recipe, g->nodes[i]->in[1]->name)) continue; /* a shared weight */
        CR_TRY(plan_weight(p, g->nodes[i], err));
        report->weights++;
    }
    return CR_OK;
}

/* ---- provenance ---- */

static void write_facts(const planner *p)
{
    const cr_quantize_options *o = p->options;
    char text[64];
    cr_recipe *r = p->recipe;
    snprintf(text, sizeof text, "%s", cr_calibration_name(o->calibration));
    if (o->calibration == CR_CALIB_PERCENTILE)
        snprintf(text, sizeof text, "percentile:%g", o->percentile);
    if (o->calibration == CR_CALIB_LP) snprintf(text, sizeof text, "lp:%g", o->norm);
    cr_recipe_set_fact(r, "calibration", text);
    snprintf(text, sizeof text, "%llu", (unsigned long long)p->stats->pictures);
    cr_recipe_set_fact(r, "pictures", text);
    cr_recipe_set_fact(r, "granularity", o->granularity == CR_PER_CHANNEL ? "channel" : "tensor");
    cr_recipe_set_fact(r, "head", head_name(o->head));
    if (o->reduce_range) cr_recipe_set_fact(r, "reduce_range", "true");
    cr_recipe_set_fact(r, "crayon", CR_VERSION);
}

static void count_nodes(const cr_graph *g, const cr_role *roles, const planner *p,
                        cr_quantize_report *report)
{
    for (size_t i = 0; i < g->node_count; i++) {
        report->convs += cr_has_weights(g->nodes[i]);
        report->head_nodes += roles[i] == CR_ROLE_DECODE;
        report->last_convs += roles[i] == CR_ROLE_LAST_CONV;
    }
    report->excluded = p->map.excluded;
}

cr_status cr_plan_recipe(const cr_graph *g, const cr_stats *stats, const cr_quantize_options *o,
                         cr_recipe **out, cr_quantize_report *report, cr_error *err)
{
    *out = NULL;
    cr_quantize_report unused, *rep = report ? report : &unused;
    *rep = (cr_quantize_report){0};
    CR_CHECK(o->norm >= 1 && o->norm <= 16, err, CR_ERR_ARGUMENT,
             "lp norm %g: must be 1 to 16", o->norm);
    CR_CHECK(o->percentile > 50 && o->percentile <= 100, err, CR_ERR_ARGUMENT,
             "percentile %g: must be above 50 and at most 100", o->percentile);
    planner p = {.graph = g, .stats = stats, .options = o};
    cr_role *roles = NULL;
    cr_status st = CR_OK;
    CR_TRY_GOTO(cr_roles_find(g, &roles, err), done);
    CR_TRY_GOTO(cr_placement_find(g, roles, o, &p.map, err), done);
    CR_TRY_GOTO(cr_recipe_create(&p.recipe, err), done);
    p.params = cr_calloc(g->tensor_count, sizeof *p.params);
    if (!p.params) {
        st = CR_NOMEM(err);
        goto done;
    }
    CR_TRY_GOTO(plan_activations(&p, rep, err), done);
    CR_TRY_GOTO(plan_weights(&p, rep, err), done);
    if (o->head == CR_HEAD_QUANTIZE)
        CR_TRY_GOTO(cr_plan_head(g, roles, stats, o, p.recipe, rep, err), done);
    count_nodes(g, roles, &p, rep);
    if (rep->convs_quantized == 0) {
        st = cr_fail(err, CR_ERR_ARGUMENT, "nothing to quantize: no convolution or gemm is left");
        goto done;
    }
    write_facts(&p);
    *out = p.recipe;
    p.recipe = NULL;
done:
    cr_recipe_release(&p.recipe);
    cr_placement_release(&p.map);
    cr_free(p.params);
    cr_arena_free(&p.arena);
    cr_free(roles);
    return st;
}
