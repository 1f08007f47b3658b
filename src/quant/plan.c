/* Plan: roles -> placement -> ranges -> recipe. Every decision is written down in the recipe; no
 * later stage decides anything. */
#include "quant/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "quant/equalize.h"
#include "quant/full_plan.h"
#include "quant/head_plan.h"
#include "quant/placement.h"
#include "quant/prior.h"
#include "quant/range.h"
#include "quant/range_split.h"
#include "quant/weight_form.h"

typedef struct planner {
    const cr_graph *source; /* the float graph */
    const cr_graph *graph;  /* it, or it with tensors divided and channels scaled: */
    cr_graph *divided, *equalized;
    const cr_stats *stats;
    cr_stats *parted, *scaled;
    const cr_quantize_options *options;
    const cr_recipe *prior;
    const cr_recipe_entry **before; /* by tensor id: of sources, in the prior; NULL without one */
    cr_recipe *recipe;
    cr_placement_map map;
    cr_role *roles;
    bool *first;         /* by node index: has weights, and nothing in front of it has */
    bool *small;         /* by node index: of the smallest layers */
    cr_qparams *params;  /* by tensor id: of activations with an entry; count 0 else */
    const char **method; /* by tensor id: the calibration method that gave them */
    cr_arena arena;      /* of params */
} planner;

static bool only_weights(const cr_quantize_options *o)
{
    return o->mode == CR_MODE_WEIGHTS || o->activations == CR_ACTIVATIONS_FLOAT;
}

static const char *head_name(cr_head_mode h)
{
    static const char *const names[] = {"auto", "quantize", "float", "detach"};
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
    static const cr_dtype types[] = {[CR_ACTIVATIONS_UINT8] = CR_DT_U8,
                                     [CR_ACTIVATIONS_INT8] = CR_DT_I8,
                                     [CR_ACTIVATIONS_INT16] = CR_DT_I16,
                                     [CR_ACTIVATIONS_UINT16] = CR_DT_U16};
    if (cr_target_is_full(p->options->target) && p->options->activations == CR_ACTIVATIONS_UINT8)
        return CR_DT_I8; /* theirs are signed */
    if (p->options->target == CR_TARGET_NCNN) return CR_DT_I8;
    return p->map.wide[source->id] ? CR_DT_I16 : types[p->options->activations];
}

static cr_status open_params(planner *p, const cr_tensor *t, size_t count, cr_error *err)
{
    cr_qparams *q = &p->params[t->id];
    *q = (cr_qparams){activation_type(p, t), count > 1 ? 1 : -1, count,
                      cr_arena_alloc(&p->arena, count * sizeof *q->scale),
                      cr_arena_alloc(&p->arena, count * sizeof *q->zero_point)};
    return q->scale && q->zero_point ? CR_OK : CR_NOMEM(err);
}

static const char as_in_the_file[] = "as in the file";

/* What the prior says of the tensor, for want of statistics or because it is no worse; *taken false:
 * it says nothing good. */
static void take_prior(planner *p, const cr_tensor *t, const cr_tensor_stats *s, bool *taken)
{
    const cr_recipe_entry *e = p->before ? p->before[t->id] : NULL;
    cr_qparams *q = &p->params[t->id];
    *taken = q->count == 1 && e &&
             (!s || cr_prior_is_good(e, s, q->type, q->scale[0], q->zero_point[0])) &&
             cr_prior_range(e, q->type, &q->scale[0], &q->zero_point[0]);
    if (*taken) p->method[t->id] = as_in_the_file;
}

static cr_status choose_without_stats(planner *p, const cr_tensor *t, cr_error *err)
{
    bool taken;
    CR_TRY(open_params(p, t, 1, err));
    take_prior(p, t, NULL, &taken);
    CR_CHECK(taken, err, CR_ERR_ARGUMENT, "the file has no 8-bit range for '%s'", t->name);
    return CR_OK;
}

/* The error of a tensor is that of its widest channel, which is no measure where depthwise convolutions hand
 * channels on one by one: once channels of like range are together, the range of an average picture is better
 * than what the error chooses (YOLOX-nano, all tensors of one scale: agreement .86 against .83). */
static cr_calibration calibration_of(const planner *p, const cr_tensor *t, bool by_channel)
{
    const cr_calibration given = p->options->calibration;
    const bool one = p->stats->parted && !by_channel && given == CR_CALIB_AUTO && cr_only_depthwise_reads(p->graph, t);
    return one ? CR_CALIB_MOVING_AVERAGE : given;
}

/* A picture's pixels are integers already: its full range keeps them exact (scale 1/255 or 1). 16
 * bits are fine enough for all that was seen, with zero in the middle, which is cheapest to run. */
static cr_status choose_params(planner *p, const cr_tensor *t, cr_error *err)
{
    const cr_quantize_options *o = p->options;
    if (!p->stats) return choose_without_stats(p, t, err);
    const cr_tensor_stats *s = cr_stats_find(p->stats, t->name);
    CR_CHECK(s, err, CR_ERR_ARGUMENT,
             "the statistics have no tensor '%s': they were made with another model", t->name);
    const cr_dtype type = activation_type(p, t);
    const bool picture = is_graph_input(p->graph, t), wide = cr_dtype_size(type) == 2;
    const bool symmetric =
        type == CR_DT_I16 || (o->symmetric && !picture) || o->target == CR_TARGET_NCNN;
    const bool by_channel = !wide && p->map.by_channel[t->id] && s->channels == t->shape.dim[1];
    const cr_qparams *q = &p->params[t->id];
    const cr_range_want want = {picture || wide ? CR_CALIB_MINMAX : calibration_of(p, t, by_channel),
                                o->percentile, o->norm, wide ? 65536 : 256, symmetric};
    cr_calibration method = want.method;
    const bool few = by_channel || (!wide && want.method == CR_CALIB_MOVING_AVERAGE); /* channels seen */
    const double room = few && !picture && o->calibration == CR_CALIB_AUTO ? cr_range_room(&t->shape) : 1;
    bool mixed = false; /* channels chose differently */
    CR_TRY(open_params(p, t, by_channel ? (size_t)s->channels : 1, err));
    for (size_t c = 0; c < q->count; c++) {
        cr_interval v;
        CR_TRY(by_channel ? cr_range_choose_channel(s, (int64_t)c, &want, &v, err)
                          : cr_range_choose(s, &want, &v, err));
        cr_range_to_params(v.lo * room, v.hi * room, q->type, symmetric, &q->scale[c], &q->zero_point[c]);
        mixed |= c > 0 && v.method != method;
        method = v.method;
    }
    p->method[t->id] = mixed ? "auto, by channel" : cr_calibration_name(method);
    bool taken;
    if (!picture) take_prior(p, t, s, &taken);
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
        char note[96];
        snprintf(note, sizeof note, "%s, %s", p->map.why[i], p->method[source->id]);
        CR_TRY(cr_recipe_add(p->recipe, g->tensors[i]->name, false, &p->params[i], note, err));
        report->activations++;
        report->kept_activations += p->method[source->id] == as_in_the_file;
    }
    return CR_OK;
}

/* ---- weights ---- */

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

/* Is n fed by nothing but what comes from the graph's inputs without weights, or a last one? */
static bool is_end(const planner *p, const cr_node *n)
{
    return p->first[n->index] || p->roles[n->index] == CR_ROLE_LAST_CONV;
}

/* Does n keep 8 bits where others have fewer? */
static bool is_precious(const planner *p, const cr_node *n)
{
    return p->small[n->index] || (is_end(p, n) && p->options->first_last == CR_FIRST_LAST_INT8);
}

/* Unsigned codes by channel of dynamic mode are signed ones around 128: ONNX Runtime's ConvInteger takes one zero
 * point for all channels. */
static void shift_codes(const cr_quantize_options *o, cr_qparams *q)
{
    if (o->weights != CR_WEIGHTS_UINT8) return;
    q->type = CR_DT_U8;
    for (size_t c = 0; c < q->count; c++) q->zero_point[c] = 128;
    if (q->lo || q->hi) q->lo += 128, q->hi += 128;
}

static cr_status plan_weight(planner *p, const cr_node *n, cr_quantize_report *report,
                             cr_error *err)
{
    const cr_tensor *w = n->in[1], *bias = n->n_in > 2 ? n->in[2] : NULL;
    cr_quantize_options o = *p->options;
    const bool shifted = o.mode == CR_MODE_DYNAMIC && o.granularity == CR_PER_CHANNEL;
    if (shifted) o.weights = CR_WEIGHTS_INT8; /* shift_codes makes them unsigned */
    const cr_weight_form form =
        cr_weight_form_of(n, &o, p->map.precision[n->index], is_precious(p, n));
    const cr_weight_form usual = cr_weight_form_of(n, &o, CR_LAYER_PLANNED, false);
    report->wider_weights += form.type == CR_DT_I8 && usual.type != CR_DT_I8;
    const cr_recipe_entry *before = cr_prior_weight(p->prior, n, &form);
    if (before) {
        report->kept_weights++;
        return cr_recipe_add(p->recipe, w->name, true, &before->q, "as in the file", err);
    }
    cr_arena arena = {0};
    cr_qparams q;
    cr_status st = cr_weight_scales(w, &form, &arena, &q, err);
    if (st == CR_OK && shifted) shift_codes(p->options, &q);
    for (size_t c = 0; st == CR_OK && !q.block && c < q.count; c++)
        q.scale[c] = fit_bias(q.scale[c], input_scale(p, n->in[0], c), bias, c, q.count);
    if (st == CR_OK) st = cr_recipe_add(p->recipe, w->name, true, &q, "round to nearest", err);
    cr_arena_free(&arena);
    return st;
}

/* first[node index]: has weights, and nothing in front of it has. */
static cr_status find_first(const cr_graph *g, bool **first, cr_error *err)
{
    *first = cr_calloc(g->node_count, sizeof **first);
    bool *behind = cr_calloc(g->tensor_count, sizeof *behind); /* a node with weights */
    if (!*first || !behind) {
        cr_free(behind);
        return CR_NOMEM(err);
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        bool fed = false;
        for (int k = 0; k < n->n_in; k++) fed |= n->in[k] && behind[n->in[k]->id];
        (*first)[i] = !fed && cr_has_weights(n);
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k]) behind[n->out[k]->id] = fed || cr_has_weights(n);
    }
    cr_free(behind);
    return CR_OK;
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
    CR_TRY(cr_small_layers(g, p->map.node, p->options, &p->small, err));
    for (size_t i = 0; i < g->node_count; i++) {
        if (!p->map.node[i]) continue;
        report->convs_quantized++;
        if (has_entry(p->recipe, g->nodes[i]->in[1]->name)) continue; /* a shared weight */
        CR_TRY(plan_weight(p, g->nodes[i], report, err));
        report->weights++;
    }
    return CR_OK;
}

/* ---- ranges of each run ---- */

static cr_status check_dynamic(const cr_quantize_options *o, cr_error *err)
{
    CR_CHECK(o->weights == CR_WEIGHTS_INT8 || o->weights == CR_WEIGHTS_UINT8, err, CR_ERR_ARGUMENT,
             "mode dynamic: weights are int8 or uint8");
    CR_CHECK(o->activations == CR_ACTIVATIONS_UINT8 && !o->symmetric, err, CR_ERR_ARGUMENT,
             "mode dynamic: activations are uint8, with any zero point");
    CR_CHECK(o->head != CR_HEAD_QUANTIZE, err, CR_ERR_ARGUMENT,
             "mode dynamic: the head is auto or float, there is nothing to quantize behind it");
    return CR_OK;
}

static cr_status check_layers(const cr_quantize_options *o, cr_error *err)
{
    for (size_t i = 0; i < o->layer_count && !cr_target_has_wide_layers(o->target); i++)
        CR_CHECK(o->layers[i].precision != CR_LAYER_INT16, err, CR_ERR_ARGUMENT,
                 "layers '%s' in 16 bits: the target has one width for all activations", o->layers[i].nodes);
    return CR_OK;
}

static cr_status plan_dynamic(planner *p, cr_quantize_report *report, cr_error *err)
{
    float one = 1;
    int32_t zero = 0;
    const cr_qparams q = {CR_DT_U8, -1, 1, &one, &zero, .dynamic = true};
    for (size_t i = 0; i < p->graph->node_count; i++) {
        const cr_node *n = p->graph->nodes[i];
        if (n->op->kind == CR_OP_ConvTranspose) p->map.node[i] = false;
        if (!p->map.node[i] || has_entry(p->recipe, n->in[0]->name)) continue;
        CR_TRY(cr_recipe_add(p->recipe, n->in[0]->name, false, &q, "ranges of each run", err));
        report->activations++;
    }
    return CR_OK;
}

/* ---- provenance ---- */

static void write_calibration(const planner *p, cr_recipe *r)
{
    const cr_quantize_options *o = p->options;
    char text[64];
    snprintf(text, sizeof text, "%s", cr_calibration_name(o->calibration));
    if (o->calibration == CR_CALIB_PERCENTILE)
        snprintf(text, sizeof text, "percentile:%g", o->percentile);
    if (o->calibration == CR_CALIB_LP) snprintf(text, sizeof text, "lp:%g", o->norm);
    cr_recipe_set_fact(r, "calibration", text);
    snprintf(text, sizeof text, "%llu", (unsigned long long)p->stats->pictures);
    cr_recipe_set_fact(r, "pictures", text);
}

static void write_globs(cr_recipe *r, const char *key, const char *const *globs, size_t count)
{
    char text[512];
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "", globs[i]);
    if (count) cr_recipe_set_fact(r, key, text);
}

/* For the explanation of the recipe: which layers are float because someone said so. */
static cr_status note_excluded(const planner *p, cr_error *err)
{
    for (size_t i = 0; i < p->graph->node_count; i++) {
        const cr_node *n = p->graph->nodes[i];
        if (!cr_has_weights(n) || p->map.precision[i] != CR_LAYER_FLOAT) continue;
        const cr_recipe_place place = {.tensor = n->in[1]->name, .is_weight = true, .why = "float was asked for"};
        if (!cr_recipe_add_place(p->recipe, &place)) return CR_NOMEM(err);
    }
    return CR_OK;
}

static void write_facts(const planner *p)
{
    const cr_quantize_options *o = p->options;
    static const char *const scales[] = {"auto", "max", "mse"};
    char text[32];
    cr_recipe *r = p->recipe;
    static const char *const targets[] = {"crayon", "tflite",   "edgetpu", "npu-nxp",
                                          "ort",    "openvino", "ncnn"};
    if (o->target) cr_recipe_set_fact(r, "target", targets[o->target]);
    if (p->stats) write_calibration(p, r);
    if (only_weights(o)) cr_recipe_set_fact(r, "mode", "weights");
    if (o->mode == CR_MODE_DYNAMIC) cr_recipe_set_fact(r, "mode", "dynamic");
    cr_recipe_set_fact(r, "weight_scales", scales[o->weight_scales]);
    snprintf(text, sizeof text, "%lld", (long long)o->block);
    if (o->block > 0) cr_recipe_set_fact(r, "block", text);
    cr_recipe_set_fact(r, "granularity", o->granularity == CR_PER_CHANNEL ? "channel" : "tensor");
    cr_recipe_set_fact(r, "head", head_name(o->head));
    if (o->reduce_range) cr_recipe_set_fact(r, "reduce_range", "true");
    write_globs(r, "keep_float", o->keep_float, o->keep_float_count);
    write_globs(r, "only", o->only, o->only_count);
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

/* Without statistics: nodes whose input the prior has no range for stay float. */
static cr_status place_by_prior(planner *p, cr_error *err)
{
    const cr_graph *g = p->graph;
    bool *barred = cr_calloc(g->node_count, sizeof *barred);
    if (!barred) return CR_NOMEM(err);
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_tensor *source = p->map.node[i] ? p->map.source[g->nodes[i]->in[0]->id] : NULL;
        barred[i] = source && !p->before[source->id];
    }
    cr_placement_release(&p->map);
    const cr_status st = cr_placement_find(g, p->roles, p->options, barred, &p->map, err);
    cr_free(barred);
    return st;
}

static cr_status place(planner *p, cr_error *err)
{
    cr_placement_release(&p->map);
    cr_free(p->roles);
    p->roles = NULL;
    CR_TRY(cr_roles_find(p->graph, &p->roles, err));
    CR_TRY(cr_placement_find(p->graph, p->roles, p->options, NULL, &p->map, err));
    if (!p->prior) return CR_OK;
    p->before = cr_prior_sources(p->prior, p->graph, &p->map);
    if (!p->before) return CR_NOMEM(err);
    const bool ranges = p->options->mode == CR_MODE_STATIC && !only_weights(p->options);
    return !p->stats && ranges ? place_by_prior(p, err) : CR_OK;
}

/* Everything behind this plans the network with tensors that fall into groups of channels, where formats
 * have one scale per tensor and that costs much. */
static cr_status split_channels(planner *p, cr_quantize_report *report, cr_error *err)
{
    const cr_quantize_options *o = p->options;
    cr_range_split_report found;
    const bool bytes = o->activations == CR_ACTIVATIONS_UINT8 || o->activations == CR_ACTIVATIONS_INT8;
    if (o->mode != CR_MODE_STATIC || !bytes || p->prior || o->only_count) return CR_OK;
    if (o->split_channels == CR_SPLIT_OFF) return CR_OK;
    if (o->split_channels == CR_SPLIT_AUTO && !cr_has_one_scale(o)) return CR_OK;
    CR_TRY(cr_range_split(p->graph, p->roles, &p->map, p->stats, o, p->recipe, &p->parted, &found, err));
    report->divided = found.tensors;
    report->parts = found.parts;
    if (!p->parted) return CR_OK;
    CR_TRY(cr_recipe_apply(p->recipe, p->source, &p->divided, err));
    p->graph = p->divided;
    p->stats = p->parted;
    return place(p, err);
}

/* Everything behind this plans the network with scaled channels, where there is something to gain. What a
 * prior says is of the network as it is. */
static cr_status equalize(planner *p, cr_quantize_report *report, cr_error *err)
{
    const cr_quantize_options *o = p->options;
    cr_equalize_report found;
    if (o->equalize == CR_EQUALIZE_OFF || o->mode != CR_MODE_STATIC || only_weights(o)) return CR_OK;
    if (o->granularity != CR_PER_CHANNEL || p->prior) return CR_OK;
    CR_CHECK(!cr_target_is_full(o->target) || o->equalize != CR_EQUALIZE_ALL, err, CR_ERR_ARGUMENT,
             "equalize all: a factor between SiLU and its readers is too coarse in 8 bits; use fold");
    CR_TRY(cr_equalize(p->graph, p->roles, &p->map, p->stats, o, p->recipe, &p->scaled, &found, err));
    report->equalized = found.channels;
    if (!p->scaled) return CR_OK;
    CR_TRY(cr_recipe_apply(p->recipe, p->source, &p->equalized, err));
    p->graph = p->equalized;
    p->stats = p->scaled;
    return place(p, err);
}

cr_status cr_plan_recipe(const cr_graph *g, const cr_stats *stats, const cr_quantize_options *o,
                         cr_recipe **out, cr_quantize_report *report, cr_error *err)
{
    return cr_plan_from(g, stats, o, NULL, out, report, err);
}

cr_status cr_plan_from(const cr_graph *g, const cr_stats *stats, const cr_quantize_options *o,
                       const cr_recipe *prior, cr_recipe **out, cr_quantize_report *report,
                       cr_error *err)
{
    *out = NULL;
    cr_quantize_report unused, *rep = report ? report : &unused;
    *rep = (cr_quantize_report){0};
    CR_CHECK(o->norm >= 1 && o->norm <= 16, err, CR_ERR_ARGUMENT,
             "lp norm %g: must be 1 to 16", o->norm);
    CR_CHECK(o->percentile > 50 && o->percentile <= 100, err, CR_ERR_ARGUMENT,
             "percentile %g: must be above 50 and at most 100", o->percentile);
    CR_CHECK(o->block >= CR_BLOCK_AUTO, err, CR_ERR_ARGUMENT, "a block of %lld weights", (long long)o->block);
    CR_CHECK(stats || o->mode != CR_MODE_STATIC || (prior && o->head != CR_HEAD_QUANTIZE), err, CR_ERR_ARGUMENT,
             "statistics are missing: only modes weights and dynamic need none");
    if (o->mode == CR_MODE_DYNAMIC) CR_TRY(check_dynamic(o, err));
    CR_TRY(check_layers(o, err));
    planner p = {.source = g, .graph = g, .stats = stats, .options = o, .prior = prior};
    cr_status st = CR_OK;
    CR_TRY_GOTO(cr_recipe_create(&p.recipe, err), done);
    CR_TRY_GOTO(place(&p, err), done);
    CR_TRY_GOTO(split_channels(&p, rep, err), done);
    CR_TRY_GOTO(equalize(&p, rep, err), done);
    g = p.graph, stats = p.stats;
    CR_TRY_GOTO(find_first(g, &p.first, err), done);
    p.params = cr_calloc(g->tensor_count, sizeof *p.params);
    p.method = cr_calloc(g->tensor_count, sizeof *p.method);
    if (!p.params || !p.method) {
        st = CR_NOMEM(err);
        goto done;
    }
    if (o->mode == CR_MODE_DYNAMIC)
        CR_TRY_GOTO(plan_dynamic(&p, rep, err), done);
    else if (!only_weights(o))
        CR_TRY_GOTO(plan_activations(&p, rep, err), done);
    CR_TRY_GOTO(plan_weights(&p, rep, err), done);
    if (cr_target_splits(o->target) && o->mode == CR_MODE_STATIC && !only_weights(o))
        CR_TRY_GOTO(cr_plan_full(g, p.roles, stats, o, p.recipe, rep, err), done);
    else if (o->head == CR_HEAD_QUANTIZE && !only_weights(o))
        CR_TRY_GOTO(cr_plan_head(g, p.roles, stats, o, p.recipe, rep, err), done);
    count_nodes(g, p.roles, &p, rep);
    if (rep->convs_quantized == 0) {
        st = cr_fail(err, CR_ERR_ARGUMENT, "nothing to quantize: no convolution or gemm %s",
                     prior && !stats ? "reads what the file has a range for (pictures give ranges)"
                                     : "is left");
        goto done;
    }
    CR_TRY_GOTO(note_excluded(&p, err), done);
    write_facts(&p);
    *out = p.recipe;
    p.recipe = NULL;
done:
    cr_recipe_release(&p.recipe);
    cr_placement_release(&p.map);
    cr_free(p.before);
    cr_free(p.params);
    cr_free(p.method);
    cr_arena_free(&p.arena);
    cr_free(p.first);
    cr_free(p.small);
    cr_free(p.roles);
    cr_graph_free(&p.divided);
    cr_graph_free(&p.equalized);
    cr_stats_release(&p.parted);
    cr_stats_release(&p.scaled);
    return st;
}
