/* Random recipes for random networks (random_net.h). */
#ifndef CR_TESTS_RANDOM_RECIPE_H
#define CR_TESTS_RANDOM_RECIPE_H

#include "graph/recipe.h"
#include "runtime/runtime.h"
#include "unit/random_net.h"

typedef struct tensor_range {
    float lo, hi;
} tensor_range;

static inline void add_entry(cr_recipe *r, const cr_tensor *t, const cr_qparams *q)
{
    cr_error err;
    const cr_status st = cr_recipe_add(r, t->name, t->data != NULL, q, "random", &err);
    if (st != CR_OK) graph_fail("recipe", err.message);
}

static inline void byte_entry(cr_recipe *r, cr_rng *rng, const cr_tensor *t, tensor_range range)
{
    float scale = (range.hi - range.lo) / 255 * (float)cr_rng_range(rng, .6, 1.4);
    if (!(scale > 0)) scale = 1;
    const bool is_signed = cr_rng_below(rng, 2);
    int32_t lo, hi, zero;
    const cr_dtype type = is_signed ? CR_DT_I8 : CR_DT_U8;
    cr_qtype_range(type, &lo, &hi);
    const double z = lo - (double)range.lo / (double)scale;
    zero = z < lo ? lo : z > hi ? hi : (int32_t)z;
    add_entry(r, t, &(cr_qparams){type, -1, 1, &scale, &zero});
}

/* 16 bits, or one scale per channel: forms that no byte storage exists for. */
static inline void odd_entry(cr_recipe *r, cr_rng *rng, const cr_tensor *t, tensor_range range)
{
    float scale[128];
    int32_t zero[128] = {0};
    const float step = (range.hi - range.lo) / 255 + 1e-6f;
    const bool channels = t->shape.rank == 4 && t->shape.dim[1] <= 128 && cr_rng_below(rng, 2);
    const int64_t n = channels ? t->shape.dim[1] : 1;
    for (int64_t i = 0; i < n; i++) {
        scale[i] = step * (float)cr_rng_range(rng, .5, 1.5);
        zero[i] = (int32_t)cr_rng_below(rng, 200);
    }
    add_entry(
        r, t,
        &(cr_qparams){channels ? CR_DT_U8 : CR_DT_U16, channels ? 1 : -1, (size_t)n, scale, zero});
}

/* A scale per channel, with one zero point for all or one for each; n 1: one for all. */
static inline void scales_entry(cr_recipe *r, cr_rng *rng, const cr_tensor *t, tensor_range range,
                                cr_dtype type, int64_t n)
{
    float scale[256];
    int32_t zero[256], lo, hi;
    const bool even = cr_rng_below(rng, 2);
    cr_qtype_range(type, &lo, &hi);
    const float step = (range.hi - range.lo) / (float)(hi - lo) + 1e-6f;
    if (n > 256) graph_fail(t->name, "too many channels");
    for (int64_t i = 0; i < n; i++) {
        scale[i] = step * (float)cr_rng_range(rng, .4, 1.5);
        zero[i] = lo + (int32_t)cr_rng_below(rng, (uint32_t)(hi - lo + 1));
        if (even) zero[i] = zero[0];
    }
    add_entry(r, t, &(cr_qparams){type, n > 1 ? 1 : -1, (size_t)n, scale, zero});
}

static inline void channel_entry(cr_recipe *r, cr_rng *rng, const cr_tensor *t, tensor_range range)
{
    scales_entry(r, rng, t, range, cr_rng_below(rng, 2) ? CR_DT_I8 : CR_DT_U8, t->shape.dim[1]);
}

/* 16 bits; each channel its own scale if `channels`. */
static inline void wide_entry(cr_recipe *r, cr_rng *rng, const cr_tensor *t, tensor_range range,
                              bool channels)
{
    scales_entry(r, rng, t, range, cr_rng_below(rng, 2) ? CR_DT_I16 : CR_DT_U16,
                 channels ? t->shape.dim[1] : 1);
}

/* The first channel of x that t, made by p from x, shows. */
static inline size_t first_channel(const cr_node *p, const cr_tensor *t)
{
    size_t first = 0;
    for (int k = 0; p->op->kind == CR_OP_Split && p->out[k] != t; k++)
        first += (size_t)p->out[k]->shape.dim[1];
    if (p->op->kind == CR_OP_Slice && cr_tensor_get_i64(p->in[3], 0) == 1) {
        const int64_t from = cr_tensor_get_i64(p->in[1], 0);
        first = (size_t)(from < 0 ? from + p->in[0]->shape.dim[1] : from);
    }
    return first;
}

/* t gets those of its source's channels that it shows, if both are pictures (else another slice of
 * them, which is as good a recipe). */
static inline bool passed_entry(cr_recipe *r, const cr_node *p, const cr_tensor *t,
                                const cr_recipe_entry *source)
{
    cr_qparams q = source->q;
    if (q.axis < 0) {
        add_entry(r, t, &q);
        return true;
    }
    const size_t first = first_channel(p, t);
    if (q.axis != 1 || t->shape.rank != 4 || first + (size_t)t->shape.dim[1] > q.count) return false;
    q.count = (size_t)t->shape.dim[1];
    q.scale += first;
    q.zero_point += first;
    add_entry(r, t, &q);
    return true;
}

/* Weights of every type and form, also those that no integer product takes: then results are equal
 * to rounding only, because sums of floats depend on their order. */
static bool any_weights;

/* Few bits, perhaps a range of codes; with any_weights any type, perhaps blocks along any axis. */
static inline void small_entry(cr_recipe *r, cr_rng *rng, const cr_tensor *t, int axis)
{
    static const cr_dtype types[] = {CR_DT_I16, CR_DT_U16, CR_DT_I8, CR_DT_I4,
                                     CR_DT_U4,  CR_DT_I2,  CR_DT_U2, CR_DT_I1};
    static const cr_dtype integers[] = {CR_DT_I8, CR_DT_I4, CR_DT_I2, CR_DT_I1};
    cr_qparams q = {any_weights ? types[cr_rng_below(rng, 8)] : integers[cr_rng_below(rng, 4)], axis};
    int32_t lo, hi;
    if (any_weights && t->shape.rank > 1 && cr_rng_below(rng, 2)) {
        q.axis = (int)cr_rng_below(rng, (uint32_t)t->shape.rank);
        q.block = 1 + (int64_t)cr_rng_below(rng, (uint32_t)t->shape.dim[q.axis] + 1);
    }
    if (q.type != CR_DT_I1 && cr_rng_below(rng, 3) == 0) {
        cr_qtype_range(q.type, &lo, &q.hi);
        q.lo = lo + 1;
    }
    const cr_q_grain g = cr_q_grain_of(&(cr_qparams){q.type, q.axis, 2, .block = q.block}, &t->shape);
    q.count = (size_t)(q.axis < 0 ? 1 : q.block ? g.outer * g.blocks * g.inner : g.length);
    q.scale = calloc(q.count, sizeof *q.scale);
    q.zero_point = calloc(q.count, sizeof *q.zero_point);
    cr_q_range(&q, &lo, &hi);
    const bool centred = lo <= 0 && (!any_weights || cr_rng_below(rng, 2));
    for (size_t i = 0; i < q.count; i++) {
        q.scale[i] = 1.f / (float)(hi - lo) * (float)cr_rng_range(rng, .5, 1.5);
        if (!centred && q.type != CR_DT_I1)
            q.zero_point[i] = lo + (int32_t)cr_rng_below(rng, (uint32_t)(hi - lo) + 1);
    }
    add_entry(r, t, &q);
    free(q.scale);
    free(q.zero_point);
}

/* Weights of a product on integers: any type whose codes fit a byte, symmetric or not. */
static inline void product_weight(cr_recipe *r, cr_rng *rng, const cr_tensor *t, int axis)
{
    static const cr_dtype types[] = {CR_DT_I8, CR_DT_U8, CR_DT_I4, CR_DT_U4, CR_DT_I2, CR_DT_U2};
    float scale[512];
    int32_t zero[512] = {0}, lo, hi;
    const cr_dtype type = types[cr_rng_below(rng, 6)];
    const size_t n = axis < 0 ? 1 : (size_t)t->shape.dim[axis];
    const bool narrow = cr_rng_below(rng, 3) == 0; /* zero points in the middle */
    if (n > 512) graph_fail(t->name, "too many channels");
    cr_qtype_range(type, &lo, &hi);
    for (size_t i = 0; i < n; i++) {
        scale[i] = (float)cr_rng_range(rng, .4, 2.5) / (float)(hi - lo);
        zero[i] = narrow ? (lo + hi + 1) / 2 : lo + (int32_t)cr_rng_below(rng, (uint32_t)(hi - lo + 1));
    }
    add_entry(r, t, &(cr_qparams){.type = type, .axis = axis, .count = n, .scale = scale, .zero_point = zero});
}

/* axis -1: one scale. Symmetric int8, or unsigned with zero points. */
static inline void weight_entry(cr_recipe *r, cr_rng *rng, const cr_tensor *t, int axis, bool sym)
{
    float scale[512];
    int32_t zero[512] = {0};
    const size_t n = axis < 0 ? 1 : (size_t)t->shape.dim[axis];
    if (cr_rng_below(rng, 5) == 0) {
        small_entry(r, rng, t, axis);
        return;
    }
    if (n > 512) graph_fail(t->name, "too many channels");
    for (size_t i = 0; i < n; i++) {
        scale[i] = (float)cr_rng_range(rng, .002, .01);
        if (!sym) zero[i] = (int32_t)(100 + cr_rng_below(rng, 56));
    }
    add_entry(r, t, &(cr_qparams){sym ? CR_DT_I8 : CR_DT_U8, axis, n, scale, zero});
}

/* As a rule what the planner makes. */
static inline void any_weight(cr_recipe *r, cr_rng *rng, const cr_tensor *t, int axis)
{
    if (cr_rng_below(rng, 3) == 0)
        product_weight(r, rng, t, axis);
    else
        weight_entry(r, rng, t, axis, true);
}

static inline bool recipe_has(const cr_recipe *r, const cr_tensor *t)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, t->name)) return true;
    return false;
}

static inline const cr_recipe_entry *recipe_entry(const cr_recipe *r, const cr_tensor *t)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, t->name)) return &r->entries[i];
    return NULL;
}

static inline bool can_quantize(const cr_tensor *t)
{
    return t->dtype == CR_DT_F32 && cr_shape_count(&t->shape) > 0;
}

/* Both sides of a product get entries that make it one on integers; a Transpose in front sometimes
 * shares its entry with its source. */
static inline void product_entries(cr_recipe *r, cr_rng *rng, const cr_node *n,
                                   const tensor_range *ranges)
{
    for (int i = 0; i < 2; i++) {
        const cr_tensor *t = n->in[i];
        if (recipe_has(r, t)) continue;
        if (t->data) {
            const int axis = cr_attr_int(n, "transB", 0) ? 0 : 1;
            any_weight(r, rng, t, cr_rng_below(rng, 3) ? axis : -1);
            continue;
        }
        const cr_tensor *source = t->producer ? t->producer->in[0] : NULL;
        byte_entry(r, rng, t, ranges[t->id]);
        if (source && t->producer->op->kind == CR_OP_Transpose && !recipe_has(r, source) &&
            cr_rng_below(rng, 2))
            add_entry(r, source, &recipe_entry(r, t)->q);
    }
}

static inline bool is_depthwise(const cr_node *n)
{
    const cr_shape *x = &n->in[0]->shape;
    return n->op->kind == CR_OP_Conv && x->rank == 4 && cr_attr_int(n, "group", 1) == x->dim[1];
}

/* Whatever multiplies x by weights does so channel by channel: it may have a scale per channel. */
static inline bool feeds_depthwise_only(const cr_graph *g, const cr_tensor *x)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in && n->op->flags & CR_OPF_HEAVY; k++)
            if (n->in[k] == x && !is_depthwise(n)) return false;
    }
    return x->shape.dim[1] <= 256;
}

/* Whatever multiplies x by weights is a 2-D convolution: it may have 16 bits. */
static inline bool feeds_pictures_only(const cr_graph *g, const cr_tensor *x)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in && n->op->flags & CR_OPF_HEAVY; k++)
            if (n->in[k] == x && n->op->kind != CR_OP_Conv) return false;
    }
    return x->shape.rank == 4;
}

/* Every convolution and matrix product runs on integers; other tensors get entries at random, those
 * behind an operator that moves values often the entry of its source. ranges: by tensor id. */
static inline cr_recipe *random_recipe(const cr_graph *g, uint64_t seed, const tensor_range *ranges)
{
    cr_recipe *r;
    cr_error err;
    cr_rng rng;
    if (cr_recipe_create(&r, &err) != CR_OK) graph_fail("recipe", err.message);
    cr_rng_seed(&rng, seed ^ 0x5eed);
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind == CR_OP_MatMul || n->op->kind == CR_OP_Gemm)
            product_entries(r, &rng, n, ranges);
        const bool turned = n->op->kind == CR_OP_ConvTranspose;
        if (n->op->kind != CR_OP_Conv && !turned) continue;
        const int axis = !turned ? 0 : cr_attr_int(n, "group", 1) == 1 ? 1 : -1;
        const cr_tensor *x = n->in[0];
        if (!recipe_has(r, x) && is_depthwise(n) && feeds_depthwise_only(g, x) &&
            cr_rng_below(&rng, 3))
            channel_entry(r, &rng, x, ranges[x->id]);
        else if (!recipe_has(r, x) && feeds_pictures_only(g, x) && cr_rng_below(&rng, 5) == 0)
            wide_entry(r, &rng, x, ranges[x->id],
                       feeds_depthwise_only(g, x) && cr_rng_below(&rng, 2));
        else if (!recipe_has(r, x))
            byte_entry(r, &rng, x, ranges[x->id]);
        any_weight(r, &rng, n->in[1], cr_rng_below(&rng, 3) ? axis : -1);
    }
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *t = g->tensors[i];
        if (t->data || !can_quantize(t) || recipe_has(r, t)) continue;
        const cr_node *p = t->producer;
        const cr_recipe_entry *source =
            p && p->op->flags & CR_OPF_MOVE ? recipe_entry(r, p->in[0]) : NULL;
        const uint32_t form = cr_rng_below(&rng, 10);
        if (source && form < 6 && passed_entry(r, p, t, source)) continue;
        if (form < 3)
            byte_entry(r, &rng, t, ranges[i]);
        else if (form == 3)
            odd_entry(r, &rng, t, ranges[i]);
        else if (form == 4 && t->shape.rank == 4 && t->shape.dim[1] <= 256)
            channel_entry(r, &rng, t, ranges[i]);
        else if (form == 5)
            wide_entry(r, &rng, t, ranges[i],
                       t->shape.rank == 4 && t->shape.dim[1] <= 256 && cr_rng_below(&rng, 2));
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind == CR_OP_Add && n->in[1]->data && cr_rng_below(&rng, 4) == 0)
            weight_entry(r, &rng, n->in[1], -1, false);
    }
    return r;
}

#endif
