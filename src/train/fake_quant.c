/* Putting a recipe into a graph, and taking it out again. See fake_quant.h.
 *
 * Tensors that an integer pass-through joins (concatenation, pooling, slices) and that the recipe
 * gives the same parameters are one group with one scale to learn, and what only moves codes within
 * a group is not rounded again: its values are on the grid. */
#include "train/fake_quant.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/fake_scale.h"
#include "graph/passes.h"
#include "runtime/integer_conv.h"
#include "runtime/integer_matmul.h"

/* What is learned of one set of scales. */
typedef struct grid {
    cr_tensor *scale, *factor, *zero, *shift; /* shift NULL: zero points stay */
    double *range;                            /* observed, [scales][2]; NULL before the first */
} grid;

typedef struct site { /* of an entry */
    const cr_recipe_entry *entry;
    cr_tensor *tensor;  /* of the graph, as it is before rounding */
    cr_tensor *rounded; /* what readers see */
    cr_tensor *seen;    /* NULL: not observed */
    int32_t lo, hi;     /* codes */
    size_t group;       /* the site whose grid it has */
    bool rounds;        /* it has a node; else it is on the grid as it is */
    grid grid;
} site;

struct cr_fake_quant {
    cr_graph *graph;
    cr_recipe *part; /* entries that the graph has */
    const cr_recipe *recipe;
    cr_fake_quant_options options;
    site *sites;                     /* by entry of `part` */
    const cr_recipe_entry **entries; /* by tensor id of the graph before the nodes came in */
    size_t tensors;                  /* how many those were */
};

cr_fake_quant_options cr_fake_quant_options_default(void)
{
    return (cr_fake_quant_options){
        .weight_scales = true, .activation_scales = true, .zero_points = true};
}

/* ---- the part of graph and recipe ---- */

static cr_status cut_outputs(cr_fake_quant *q, cr_error *err)
{
    const cr_fake_quant_options *o = &q->options;
    if (!o->output_count) return CR_OK;
    cr_graph *g = q->graph;
    cr_tensor **outputs = cr_arena_alloc(&g->arena, o->output_count * sizeof *outputs);
    if (!outputs) return CR_NOMEM(err);
    for (size_t i = 0; i < o->output_count; i++) {
        outputs[i] = cr_graph_find(g, o->outputs[i]);
        CR_CHECK(outputs[i], err, CR_ERR_ARGUMENT, "the model has no tensor '%s' to end at",
                 o->outputs[i]);
    }
    g->outputs = outputs;
    g->output_count = o->output_count;
    CR_TRY(cr_graph_index(g, err));
    return cr_graph_tidy(g, err);
}

static cr_status pick_entries(cr_fake_quant *q, cr_error *err)
{
    CR_TRY(cr_recipe_create(&q->part, err));
    for (size_t i = 0; i < q->recipe->count; i++) {
        const cr_recipe_entry *e = &q->recipe->entries[i];
        CR_CHECK(!e->q.dynamic, err, CR_ERR_UNSUPPORTED,
                 "tensor '%s': ranges found at run time leave nothing to train", e->tensor);
        if (cr_graph_find(q->graph, e->tensor))
            CR_TRY(cr_recipe_add(q->part, e->tensor, e->is_weight, &e->q, e->note, err));
    }
    CR_TRY(cr_recipe_bind(q->part, q->graph, &q->entries, err));
    q->tensors = q->graph->tensor_count;
    q->sites = cr_calloc(q->part->count + 1, sizeof *q->sites);
    if (!q->sites) return CR_NOMEM(err);
    for (size_t i = 0; i < q->tensors; i++) {
        if (!q->entries[i]) continue;
        const size_t at = (size_t)(q->entries[i] - q->part->entries);
        cr_tensor *t = q->graph->tensors[i];
        q->sites[at] = (site){.entry = q->entries[i], .tensor = t, .rounded = t, .group = at};
    }
    return CR_OK;
}

/* ---- groups ---- */

static bool same_params(const cr_qparams *a, const cr_qparams *b)
{
    return a->type == b->type && a->axis == b->axis && a->count == b->count &&
           a->block == b->block && !memcmp(a->scale, b->scale, a->count * sizeof *a->scale) &&
           !memcmp(a->zero_point, b->zero_point, a->count * sizeof *a->zero_point);
}

/* Every element of its outputs is one of its inputs'. */
static bool passes_codes(const cr_node *n)
{
    if (!(n->op->flags & CR_OPF_MOVE) || n->op->kind == CR_OP_Trilu) return false;
    if (n->op->kind == CR_OP_Pad) return false;
    return n->op->kind != CR_OP_Resize || !strcmp(cr_attr_string(n, "mode", "nearest"), "nearest");
}

/* Do entries with these parameters on both sides of n give every element the same grid? */
static bool keeps_grid(const cr_node *n, const cr_qparams *a, const cr_qparams *b)
{
    return passes_codes(n) && same_params(a, b) && (a->count == 1 || n->op->kind == CR_OP_MaxPool);
}

static size_t site_of(const cr_fake_quant *q, const cr_tensor *t)
{
    return (size_t)(q->entries[t->id] - q->part->entries);
}

static size_t group_of(const cr_fake_quant *q, size_t i)
{
    while (q->sites[i].group != i) i = q->sites[i].group;
    return i;
}

static const cr_recipe_entry *entry_of(const cr_fake_quant *q, const cr_tensor *t)
{
    return t && (size_t)t->id < q->tensors ? q->entries[t->id] : NULL;
}

/* Number of inputs that are values: all of a Concat's, else the first. */
static int moved_inputs(const cr_node *n)
{
    return n->op->kind == CR_OP_Concat ? n->n_in : 1;
}

static void join_groups(cr_fake_quant *q)
{
    const cr_graph *g = q->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in && k < moved_inputs(n); k++)
            for (int o = 0; o < n->n_out; o++) {
                const cr_recipe_entry *a = entry_of(q, n->in[k]), *b = entry_of(q, n->out[o]);
                if (!a || !b || a->is_weight || !keeps_grid(n, &a->q, &b->q)) continue;
                const size_t x = group_of(q, site_of(q, n->in[k]));
                const size_t y = group_of(q, site_of(q, n->out[o]));
                q->sites[x > y ? x : y].group = x > y ? y : x;
            }
    }
}

/* Everything that made t is on its grid already. */
static bool is_on_grid(const cr_fake_quant *q, const cr_tensor *t)
{
    const cr_node *n = t->producer;
    if (!n || !passes_codes(n)) return false;
    for (int k = 0; k < moved_inputs(n); k++) {
        const cr_recipe_entry *e = entry_of(q, n->in[k]);
        if (!e || e->is_weight || !keeps_grid(n, &e->q, &q->entries[t->id]->q)) return false;
    }
    return true;
}

/* ---- grids ---- */

static cr_tensor *new_list(cr_graph *g, const char *name, const char *what, size_t n)
{
    char text[160];
    const cr_shape shape = {.rank = 1, .dim = {(int64_t)n}};
    snprintf(text, sizeof text, "%.120s.%s", name, what);
    return cr_graph_new_const(g, text, CR_DT_F32, shape);
}

/* The middle of the codes, where the zero point of symmetric parameters lies. */
static int32_t middle(cr_dtype type)
{
    return type == CR_DT_U8 ? 128 : type == CR_DT_U16 ? 32768 : 0;
}

static bool can_move_zero(const cr_qparams *q)
{
    int32_t lo, hi;
    cr_q_range(q, &lo, &hi);
    for (size_t i = 0; i < q->count; i++)
        if (q->zero_point[i] == middle(q->type) || q->zero_point[i] == lo || q->zero_point[i] == hi)
            return false;
    return true;
}

static cr_status add_grid(cr_fake_quant *q, site *s, cr_error *err)
{
    cr_graph *g = q->graph;
    const cr_qparams *p = &s->entry->q;
    const char *name = s->entry->tensor;
    grid *d = &s->grid;
    d->scale = new_list(g, name, "scale", p->count);
    d->factor = new_list(g, name, "factor", p->count);
    d->zero = new_list(g, name, "zero", p->count);
    const bool moves = q->options.zero_points && !s->entry->is_weight && can_move_zero(p);
    if (moves) d->shift = new_list(g, name, "shift", p->count);
    if (!d->scale || !d->factor || !d->zero || (moves && !d->shift)) return CR_NOMEM(err);
    memcpy(d->scale->data, p->scale, p->count * sizeof *p->scale);
    for (size_t i = 0; i < p->count; i++) ((float *)d->zero->data)[i] = (float)p->zero_point[i];
    return CR_OK;
}

/* ---- nodes ---- */

/* What has a known range whatever it reads; integer runtimes fix its scale. */
static bool has_fixed_range(const cr_tensor *t)
{
    if (!t->producer) return false;
    switch (t->producer->op->kind) {
    case CR_OP_Sigmoid:
    case CR_OP_HardSigmoid:
    case CR_OP_Softmax:
    case CR_OP_Tanh:
        return true;
    default:
        return false;
    }
}

/* Inputs of a rounding node that are parameters besides the first. */
static int learned_inputs(const cr_fake_quant *q, const site *s)
{
    const bool fixed = has_fixed_range(s->tensor);
    if (s->entry->is_weight) return q->options.weight_scales ? 1 << 2 : 0;
    return (q->options.activation_scales && !fixed ? 1 << 2 : 0) | (fixed ? 0 : 1 << 4);
}

/* Which scale element i has. */
static size_t scale_index(const cr_q_grain *g, int64_t i)
{
    const int64_t line = i / g->inner;
    return cr_q_first_scale(g, line / g->length, line % g->length) +
           (g->block ? (size_t)(i % g->inner) : 0);
}

/* Is it the weight of a convolution in front of a BatchNormalization? */
static bool is_normed(const cr_graph *g, const cr_tensor *w)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        const cr_node *maker = n->op->kind == CR_OP_BatchNormalization ? n->in[0]->producer : NULL;
        if (maker && maker->n_in > 1 && maker->in[1] == w) return true;
    }
    return false;
}

static bool uses_code(const site *s, int32_t code)
{
    const cr_q_grain g = cr_q_grain_of(&s->entry->q, &s->tensor->shape);
    const float *x = s->tensor->data;
    for (int64_t i = 0; i < cr_shape_count(&s->tensor->shape); i++)
        if (cr_q_code(&s->entry->q, scale_index(&g, i), x[i]) == code) return true;
    return false;
}

/* Symmetric int8 weights leave -128 out, as the planner does, where they have not used it so far.
 * In front of a normalization the codes of signed types can be mirrored (norm_fold.h). */
static void find_codes(const cr_fake_quant *q, site *s)
{
    const cr_qparams *p = &s->entry->q;
    cr_q_range(p, &s->lo, &s->hi);
    if (!s->entry->is_weight || s->lo >= -s->hi) return;
    for (size_t k = 0; k < p->count; k++)
        if (p->zero_point[k] != 0) return;
    if (is_normed(q->graph, s->tensor) || (p->type == CR_DT_I8 && !uses_code(s, s->lo)))
        s->lo = -s->hi;
}

/* LSQ's factor on the gradient of a scale: 1 / sqrt(elements that share it, of one picture, times
 * the largest code). */
static float gradient_factor(const site *s, int32_t hi)
{
    const cr_shape *x = &s->tensor->shape;
    const bool batched = !s->entry->is_weight && x->rank > 1 && x->dim[0] > 0;
    const double n = (double)cr_shape_count(x) / (double)s->entry->q.count;
    return (float)(1 / sqrt(fmax(1, n / (batched ? (double)x->dim[0] : 1)) * fmax(1, hi)));
}

/* The new tensor takes the name of what a node makes, so that the recipe's name is what readers
 * see; inputs and constants keep theirs. */
static cr_tensor *add_rounded(cr_graph *g, const site *s)
{
    char name[160];
    const bool made = s->tensor->producer != NULL;
    snprintf(name, sizeof name, "%.120s.%s", s->tensor->name, made ? "raw" : "rounded");
    cr_tensor *y = cr_graph_new_tensor(g, name, CR_DT_F32, s->tensor->shape);
    if (y && made) {
        const char *fresh = y->name;
        y->name = s->tensor->name;
        s->tensor->name = fresh;
    }
    return y;
}

static cr_status add_node(cr_fake_quant *q, site *s, cr_error *err)
{
    enum { INPUTS = 6, ATTRS = 7 };
    cr_graph *g = q->graph;
    const cr_qparams *p = &s->entry->q;
    const grid *d = &q->sites[group_of(q, (size_t)(s - q->sites))].grid;
    char name[160];
    snprintf(name, sizeof name, "%.120s.rounded", s->entry->tensor);
    cr_tensor *y = add_rounded(g, s);
    cr_node *n = cr_graph_add_node(g, CR_OP_FakeQuantize, name, INPUTS, 1, ATTRS);
    if (!y || !n) return CR_NOMEM(err);
    if (q->options.observe && !s->entry->is_weight) {
        s->seen = new_list(g, s->entry->tensor, "seen", 2 * p->count);
        if (!s->seen) return CR_NOMEM(err);
    }
    cr_graph_replace_uses(g, s->tensor, y);
    cr_tensor *const in[INPUTS] = {s->tensor, d->scale, d->factor, d->zero, d->shift, s->seen};
    memcpy(n->in, in, sizeof in);
    n->out[0] = s->rounded = y;
    cr_attr_set_int(&n->attrs[0], "lo", s->lo);
    cr_attr_set_int(&n->attrs[1], "hi", s->hi);
    cr_attr_set_int(&n->attrs[2], "axis", p->axis);
    cr_attr_set_int(&n->attrs[3], "block", p->block);
    cr_attr_set_int(&n->attrs[4], "sign", p->type == CR_DT_I1);
    cr_attr_set_int(&n->attrs[5], "learn", learned_inputs(q, s));
    cr_attr_set_float(&n->attrs[6], "gradient", gradient_factor(s, s->hi));
    return cr_node_infer(n, err);
}

static cr_status round_bias(cr_fake_quant *q, cr_node *n, const site *a, const site *w,
                            cr_error *err)
{
    cr_graph *g = q->graph;
    cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    char name[160];
    if (!b) return CR_OK;
    const grid *da = &q->sites[group_of(q, (size_t)(a - q->sites))].grid, *dw = &w->grid;
    snprintf(name, sizeof name, "%.120s.rounded", b->name);
    cr_tensor *y = cr_graph_new_tensor(g, name, CR_DT_F32, b->shape);
    cr_node *r = cr_graph_add_node(g, CR_OP_FakeQuantizeBias, name, 5, 1, 0);
    if (!y || !r) return CR_NOMEM(err);
    cr_tensor *const in[5] = {b, da->scale, da->factor, dw->scale, dw->factor};
    memcpy(r->in, in, sizeof in);
    r->out[0] = y;
    n->in[2] = y;
    return cr_node_infer(r, err);
}

/* Before any node comes in: entries are found by the tensors that nodes read. */
static cr_status round_biases(cr_fake_quant *q, cr_error *err)
{
    const size_t nodes = q->graph->node_count;
    for (size_t i = 0; i < nodes; i++) {
        cr_node *n = q->graph->nodes[i];
        if (!cr_conv_takes_integers(q->entries, n) && !cr_matmul_takes_integers(q->entries, n))
            continue;
        CR_TRY(round_bias(q, n, &q->sites[site_of(q, n->in[0])], &q->sites[site_of(q, n->in[1])],
                          err));
    }
    return CR_OK;
}

static cr_status insert_nodes(cr_fake_quant *q, cr_error *err)
{
    for (size_t i = 0; i < q->part->count; i++)
        if (q->sites[i].group == i) CR_TRY(add_grid(q, &q->sites[i], err));
    for (size_t i = 0; i < q->part->count; i++) find_codes(q, &q->sites[i]);
    CR_TRY(round_biases(q, err));
    for (size_t i = 0; i < q->part->count; i++)
        q->sites[i].rounds = q->sites[i].entry->is_weight || !is_on_grid(q, q->sites[i].tensor);
    for (size_t i = 0; i < q->part->count; i++)
        if (q->sites[i].rounds) CR_TRY(add_node(q, &q->sites[i], err));
    return cr_graph_index(q->graph, err);
}

static cr_status build(cr_fake_quant *q, const cr_graph *g, cr_error *err)
{
    CR_TRY(cr_recipe_apply(q->recipe, g, &q->graph, err));
    CR_TRY(cut_outputs(q, err));
    CR_TRY(pick_entries(q, err));
    join_groups(q);
    return insert_nodes(q, err);
}

cr_status cr_fake_quant_create(const cr_graph *g, const cr_recipe *r,
                               const cr_fake_quant_options *options, cr_fake_quant **out,
                               cr_error *err)
{
    *out = NULL;
    cr_fake_quant *q = cr_calloc(1, sizeof *q);
    if (!q) return CR_NOMEM(err);
    q->recipe = r;
    q->options = *options;
    const cr_status st = build(q, g, err);
    if (st != CR_OK) {
        cr_fake_quant_free(&q);
        return st;
    }
    *out = q;
    return CR_OK;
}

void cr_fake_quant_free(cr_fake_quant **quant)
{
    if (!quant || !*quant) return;
    cr_fake_quant *q = *quant;
    for (size_t i = 0; q->sites && i < q->part->count; i++) cr_free(q->sites[i].grid.range);
    cr_free(q->sites);
    cr_free(q->entries);
    cr_recipe_release(&q->part);
    cr_graph_free(&q->graph);
    cr_free(q);
    *quant = NULL;
}

cr_graph *cr_fake_quant_graph(const cr_fake_quant *q)
{
    return q->graph;
}

cr_tensor *cr_fake_quant_find(const cr_fake_quant *q, const char *name)
{
    for (size_t i = 0; i < q->part->count; i++)
        if (!strcmp(q->sites[i].entry->tensor, name)) return q->sites[i].rounded;
    return cr_graph_find(q->graph, name);
}

/* ---- and back ---- */

static double lowest(const cr_qparams *p, double *highest)
{
    int32_t lo, hi;
    cr_q_range(p, &lo, &hi);
    *highest = hi;
    return lo;
}

/* The parameters of a site as the tape has them; arrays in the arena. */
static cr_status read_params(const cr_fake_quant *q, const cr_tape *tape, const site *s,
                             cr_arena *arena, cr_qparams *out, cr_error *err)
{
    const grid *d = &q->sites[group_of(q, (size_t)(s - q->sites))].grid;
    const float *scale = cr_tape_value(tape, d->scale), *factor = cr_tape_value(tape, d->factor);
    const float *zero = cr_tape_value(tape, d->zero);
    const float *shift = d->shift ? cr_tape_value(tape, d->shift) : NULL;
    *out = s->entry->q;
    out->scale = cr_arena_alloc(arena, out->count * sizeof *out->scale);
    out->zero_point = cr_arena_alloc(arena, out->count * sizeof *out->zero_point);
    if (!out->scale || !out->zero_point) return CR_NOMEM(err);
    double hi;
    const double lo = lowest(out, &hi);
    for (size_t i = 0; i < out->count; i++) {
        out->scale[i] = cr_fake_scale_f32(scale[i], factor[i]);
        out->zero_point[i] =
            (int32_t)(shift ? cr_fake_zero((double)zero[i], (double)shift[i], lo, hi)
                            : (double)zero[i]);
    }
    return CR_OK;
}

static const site *find_site(const cr_fake_quant *q, const char *tensor)
{
    for (size_t i = 0; i < q->part->count; i++)
        if (!strcmp(q->sites[i].entry->tensor, tensor)) return &q->sites[i];
    return NULL;
}

/* A weight as its readers see it: on the grid. */
static cr_status put_weight(const cr_tape *tape, const site *s, const cr_qparams *p, cr_recipe *out,
                            cr_error *err)
{
    cr_tensor w = *s->tensor;
    cr_qparams codes = *p;
    codes.lo = s->lo;
    codes.hi = s->hi;
    w.data = cr_tape_value(tape, s->tensor);
    float *y = cr_malloc(cr_tensor_bytes(&w) + 1);
    if (!y) return CR_NOMEM(err);
    cr_fake_quantize(&w, &codes, y);
    const cr_status st = cr_recipe_set_value(out, w.name, &w.shape, y, err);
    cr_free(y);
    return st;
}

static cr_status copy_entries(const cr_fake_quant *q, const cr_tape *tape, cr_recipe *out,
                              cr_error *err)
{
    for (size_t i = 0; i < q->recipe->count; i++) {
        const cr_recipe_entry *e = &q->recipe->entries[i];
        const site *s = find_site(q, e->tensor);
        cr_qparams p = e->q;
        if (s) CR_TRY(read_params(q, tape, s, &out->arena, &p, err));
        CR_TRY(cr_recipe_add(out, e->tensor, e->is_weight, &p, e->note, err));
        if (s && e->is_weight) CR_TRY(put_weight(tape, s, &p, out, err));
    }
    return CR_OK;
}

/* Biases, running statistics and what stays float, where they have moved. */
static cr_status copy_constants(const cr_fake_quant *q, const cr_tape *tape, cr_recipe *out,
                                cr_error *err)
{
    for (size_t i = 0; i < q->graph->tensor_count; i++) {
        const cr_tensor *t = q->graph->tensors[i];
        if (!t->data || t->dtype != CR_DT_F32) continue;
        if ((size_t)t->id >= q->tensors || q->entries[t->id]) continue;
        const float *now = cr_tape_value(tape, t);
        if (!memcmp(now, t->data, cr_tensor_bytes(t))) continue;
        CR_TRY(cr_recipe_set_value(out, t->name, &t->shape, now, err));
    }
    return CR_OK;
}

static cr_status copy_recipe(const cr_fake_quant *q, const cr_tape *tape, cr_recipe *out,
                             cr_error *err)
{
    const cr_recipe *r = q->recipe;
    for (size_t i = 0; i < r->rewrite_count; i++)
        CR_TRY(cr_recipe_add_rewrite(out, &r->rewrites[i], err));
    for (size_t i = 0; i < r->value_count; i++)
        CR_TRY(cr_recipe_set_value(out, r->values[i].tensor, &r->values[i].shape, r->values[i].data,
                                   err));
    for (size_t i = 0; i < r->fact_count; i++)
        if (!cr_recipe_set_fact(out, r->facts[2 * i], r->facts[2 * i + 1])) return CR_NOMEM(err);
    CR_TRY(copy_entries(q, tape, out, err));
    return copy_constants(q, tape, out, err);
}

cr_status cr_fake_quant_recipe(const cr_fake_quant *q, const cr_tape *tape, cr_recipe **out,
                               cr_error *err)
{
    CR_TRY(cr_recipe_create(out, err));
    const cr_status st = copy_recipe(q, tape, *out, err);
    if (st != CR_OK) cr_recipe_release(out);
    return st;
}

/* ---- observing ---- */

/* Over all tensors of the group; 0 is always in it. */
static void group_range(const cr_fake_quant *q, const cr_tape *tape, size_t group, size_t k,
                        double *least, double *most)
{
    *least = *most = 0;
    for (size_t i = 0; i < q->part->count; i++) {
        if (!q->sites[i].seen || group_of(q, i) != group) continue;
        const float *seen = cr_tape_value(tape, q->sites[i].seen);
        *least = fmin(*least, (double)seen[2 * k]);
        *most = fmax(*most, (double)seen[2 * k + 1]);
    }
}

static void set_grid(const cr_tape *tape, const site *s, size_t k)
{
    const cr_qparams *p = &s->entry->q;
    const grid *d = &s->grid;
    const double least = d->range[2 * k], most = d->range[2 * k + 1];
    double hi;
    const double lo = lowest(p, &hi), zero = p->zero_point[k];
    const bool symmetric = zero == middle(p->type);
    double s0 = symmetric ? fmax(-least, most) / (hi - zero) : (most - least) / (hi - lo);
    if (!(s0 > 1e-30)) return; /* nothing but zeros so far */
    ((float *)cr_tape_value(tape, d->scale))[k] = (float)s0;
    ((float *)cr_tape_value(tape, d->factor))[k] = 0;
    if (d->shift) ((float *)cr_tape_value(tape, d->shift))[k] = 0;
    if (!symmetric)
        ((float *)cr_tape_value(tape, d->zero))[k] =
            (float)fmin(hi, fmax(lo, rint(lo - least / s0)));
}

void cr_fake_quant_observe(cr_fake_quant *q, cr_tape *tape, double momentum)
{
    for (size_t i = 0; i < q->part->count; i++) {
        site *s = &q->sites[i];
        if (s->entry->is_weight || s->group != i || has_fixed_range(s->tensor)) continue;
        const size_t n = s->entry->q.count;
        const bool first = !s->grid.range;
        if (first && !(s->grid.range = cr_calloc(2 * n, sizeof *s->grid.range))) continue;
        for (size_t k = 0; k < n; k++) {
            double seen[2];
            group_range(q, tape, i, k, &seen[0], &seen[1]);
            for (size_t end = 0; end < 2; end++) {
                double *to = &s->grid.range[2 * k + end];
                *to = first ? seen[end] : momentum * *to + (1 - momentum) * seen[end];
            }
            set_grid(tape, s, k);
        }
    }
}
