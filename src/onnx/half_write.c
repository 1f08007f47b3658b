/* Who computes in which type is decided per node; constants follow their readers, and a Cast stands
 * wherever a tensor's readers want another type than its producer gives.
 *
 * Rejected: to clip values beyond 65504 to it, as converters do. A mask of -1e9 or an anchor table
 * in pixels then means something else; such a constant, and in a whole graph its reader, stays
 * float32. */
#include "onnx/half_write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

static uint16_t round_to(cr_dtype type, float x)
{
    return type == CR_DT_F16 ? cr_f32_to_f16(x) : cr_f32_to_bf16(x);
}

static float value_of(cr_dtype type, uint16_t bits)
{
    return type == CR_DT_F16 ? cr_f16_to_f32(bits) : cr_bf16_to_f32(bits);
}

static bool is_float_const(const cr_tensor *t)
{
    return t && t->data && t->dtype == CR_DT_F32;
}

/* Has it a finite value that would become infinite? */
static bool overflows(const cr_tensor *t, cr_dtype type)
{
    const float *v = t->data;
    const int64_t n = cr_shape_count(&t->shape);
    for (int64_t i = 0; i < n; i++)
        if (isfinite(v[i]) && isinf(value_of(type, round_to(type, v[i])))) return true;
    return false;
}

/* Resize takes its scales (and its region) in float32 whatever its data are. */
static bool stays_float32(const cr_node *n, int k)
{
    return n->op->kind == CR_OP_Resize && k > 0;
}

/* Operators that have no 16-bit form in ONNX, or name their element type in an attribute. */
static bool only_float32(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_NonMaxSuppression:
    case CR_OP_Range:
    case CR_OP_EyeLike:
    case CR_OP_ConstantOfShape:
        return true;
    default:
        return n->op->flags & CR_OPF_QUANT;
    }
}

/* The weight of a convolution or product: what weights-only files store in 16 bits. */
static bool is_weight(const cr_node *n, int k)
{
    return k == 1 && (n->op->flags & CR_OPF_HEAVY) && is_float_const(n->in[k]) &&
           n->in[k]->shape.rank >= 2;
}

static bool touches_floats(const cr_node *n)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] && n->in[k]->dtype == CR_DT_F32) return true;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] && n->out[k]->dtype == CR_DT_F32) return true;
    return false;
}

/* ---- what becomes of nodes and constants ---- */

typedef struct choice {
    bool *half;  /* by node index: computes in 16 bits */
    bool *store; /* by tensor id: a constant that is stored in 16 bits */
} choice;

static void free_choice(choice *c)
{
    cr_free(c->half);
    cr_free(c->store);
}

static bool fits(const cr_tensor *t, const cr_half_plan *plan, cr_half_counts *counts)
{
    if (!overflows(t, plan->type)) return true;
    counts->too_large++;
    if (!counts->largest) counts->largest = t->name;
    return false;
}

static void choose_weights(const cr_graph *g, const cr_half_plan *plan, choice *c,
                           cr_half_counts *counts)
{
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            const cr_tensor *t = g->nodes[i]->in[k];
            if (!is_weight(g->nodes[i], k) || c->store[t->id]) continue;
            c->store[t->id] = !plan->keep_float[i] && fits(t, plan, counts);
            if (c->store[t->id])
                counts->weights++;
            else
                counts->kept++;
        }
}

static bool can_halve(const cr_node *n, const cr_half_plan *plan, cr_half_counts *counts)
{
    if (plan->keep_float[n->index] || only_float32(n)) return false;
    for (int k = 0; k < n->n_in; k++)
        if (is_float_const(n->in[k]) && !stays_float32(n, k) && !fits(n->in[k], plan, counts))
            return false;
    return true;
}

static void choose_nodes(const cr_graph *g, const cr_half_plan *plan, choice *c,
                         cr_half_counts *counts)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!touches_floats(n)) continue;
        c->half[i] = can_halve(n, plan, counts);
        counts->nodes += c->half[i];
        counts->kept += !c->half[i];
        for (int k = 0; k < n->n_in && c->half[i]; k++) {
            if (!is_float_const(n->in[k]) || stays_float32(n, k)) continue;
            counts->weights += !c->store[n->in[k]->id];
            c->store[n->in[k]->id] = true;
        }
    }
}

static cr_status choose(const cr_graph *g, const cr_half_plan *plan, choice *c,
                        cr_half_counts *counts, cr_error *err)
{
    *counts = (cr_half_counts){0};
    c->half = cr_calloc(g->node_count + 1, sizeof *c->half);
    c->store = cr_calloc(g->tensor_count + 1, sizeof *c->store);
    if (!c->half || !c->store) return CR_NOMEM(err);
    if (plan->whole)
        choose_nodes(g, plan, c, counts);
    else
        choose_weights(g, plan, c, counts);
    return CR_OK;
}

/* ---- writing ---- */

typedef struct writer {
    cr_graph *g;
    cr_dtype type;
    choice c;
    cr_tensor **narrow, **wide; /* by tensor id: the same values in 16 bits, in float32; NULL: not
                                 * there yet */
    size_t tensors;             /* those that g had at the start */
} writer;

static cr_tensor *new_form(writer *w, const cr_tensor *t, cr_dtype type, bool constant)
{
    char name[512];
    snprintf(name, sizeof name, "%s_%s", t->name, cr_dtype_key(type));
    return constant ? cr_graph_new_const(w->g, name, type, t->shape)
                    : cr_graph_new_tensor(w->g, name, type, t->shape);
}

static cr_status add_cast(writer *w, cr_tensor *from, cr_tensor *to, cr_error *err)
{
    char name[512];
    snprintf(name, sizeof name, "%s_Cast", to->name);
    cr_node *n = cr_graph_add_node(w->g, CR_OP_Cast, name, 1, 1, 1);
    if (!n) return CR_NOMEM(err);
    n->in[0] = from;
    n->out[0] = to;
    cr_attr_set_int(&n->attrs[0], "to", cr_dtype_to_onnx(to->dtype));
    return CR_OK;
}

static void round_data(const cr_tensor *from, cr_dtype type, uint16_t *to)
{
    const int64_t n = cr_shape_count(&from->shape);
    for (int64_t i = 0; i < n; i++) to[i] = round_to(type, ((const float *)from->data)[i]);
}

/* The constant under another name, and a Cast that gives it its own. */
static cr_status store_weight(writer *w, cr_tensor *t, cr_error *err)
{
    cr_tensor *stored = new_form(w, t, w->type, true);
    if (!stored) return CR_NOMEM(err);
    round_data(t, w->type, stored->data);
    cr_tensor_drop_data(t);
    return add_cast(w, stored, t, err);
}

static cr_status store_in_place(writer *w, cr_tensor *t, cr_error *err)
{
    cr_tensor stored = {.name = t->name, .dtype = w->type, .shape = t->shape};
    if (!cr_tensor_alloc(&stored)) return CR_NOMEM(err);
    round_data(t, w->type, stored.data);
    cr_tensor_drop_data(t);
    t->data = stored.data;
    t->dtype = w->type;
    w->narrow[t->id] = t;
    return CR_OK;
}

static bool is_output(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == t) return true;
    return false;
}

/* A graph output keeps its name and type; its producer writes another tensor. */
static cr_status halve_output(writer *w, cr_node *n, int k, cr_error *err)
{
    cr_tensor *t = n->out[k];
    if (!is_output(w->g, t)) {
        t->dtype = w->type;
        w->narrow[t->id] = t;
        return CR_OK;
    }
    cr_tensor *made = new_form(w, t, w->type, false);
    if (!made) return CR_NOMEM(err);
    n->out[k] = made;
    w->narrow[t->id] = made;
    w->wide[t->id] = t;
    return add_cast(w, made, t, err);
}

/* First what there is: every tensor's own type. */
static cr_status set_types(writer *w, size_t nodes, cr_error *err)
{
    for (size_t i = 0; i < w->tensors; i++) {
        cr_tensor *t = w->g->tensors[i];
        if (w->c.store[i])
            CR_TRY(store_in_place(w, t, err));
        else if (t->dtype == CR_DT_F32)
            w->wide[i] = t;
    }
    for (size_t i = 0; i < nodes; i++) {
        cr_node *n = w->g->nodes[i];
        if (!w->c.half[i]) continue;
        for (int k = 0; k < n->n_out; k++) {
            if (!n->out[k] || n->out[k]->dtype != CR_DT_F32) continue;
            w->wide[n->out[k]->id] = NULL;
            CR_TRY(halve_output(w, n, k, err));
        }
        if (n->op->kind == CR_OP_Cast && n->out[0]->dtype == w->type)
            cr_attr_set_int(&n->attrs[cr_attr_find(n, "to") - n->attrs], "to",
                            cr_dtype_to_onnx(w->type));
    }
    return CR_OK;
}

/* Then what each reader wants. */
static cr_status set_readers(writer *w, size_t nodes, cr_error *err)
{
    for (size_t i = 0; i < nodes; i++)
        for (int k = 0; k < w->g->nodes[i]->n_in; k++) {
            cr_node *n = w->g->nodes[i];
            cr_tensor *t = n->in[k];
            if (!t || (size_t)t->id >= w->tensors || !(w->narrow[t->id] || w->wide[t->id]))
                continue;
            const bool narrow = w->c.half[i] && !stays_float32(n, k);
            cr_tensor **form = &(narrow ? w->narrow : w->wide)[t->id];
            if (!*form) {
                cr_tensor *from = (narrow ? w->wide : w->narrow)[t->id];
                *form = new_form(w, t, narrow ? w->type : CR_DT_F32, false);
                if (!*form) return CR_NOMEM(err);
                CR_TRY(add_cast(w, from, *form, err));
            }
            n->in[k] = *form;
        }
    return CR_OK;
}

static cr_status write_weights(writer *w, cr_error *err)
{
    for (size_t i = 0; i < w->tensors; i++)
        if (w->c.store[i]) CR_TRY(store_weight(w, w->g->tensors[i], err));
    return CR_OK;
}

static cr_status write_whole(writer *w, cr_error *err)
{
    const size_t nodes = w->g->node_count;
    w->narrow = cr_calloc(w->tensors + 1, sizeof(cr_tensor *));
    w->wide = cr_calloc(w->tensors + 1, sizeof(cr_tensor *));
    if (!w->narrow || !w->wide) return CR_NOMEM(err);
    CR_TRY(set_types(w, nodes, err));
    return set_readers(w, nodes, err);
}

cr_status cr_half_write(const cr_graph *source, const cr_half_plan *plan, cr_graph **out,
                        cr_half_counts *counts, cr_error *err)
{
    *out = NULL;
    writer w = {.type = plan->type};
    cr_status st = cr_graph_clone(source, &w.g, err);
    if (st != CR_OK) return st;
    w.tensors = w.g->tensor_count;
    CR_TRY_GOTO(choose(source, plan, &w.c, counts, err), done);
    CR_TRY_GOTO(plan->whole ? write_whole(&w, err) : write_weights(&w, err), done);
    CR_TRY_GOTO(cr_graph_index(w.g, err), done);
    *out = w.g;
    w.g = NULL;
done:
    cr_graph_free(&w.g);
    free_choice(&w.c);
    cr_free(w.narrow);
    cr_free(w.wide);
    return st;
}

cr_status cr_half_round(cr_graph *g, const cr_half_plan *plan, cr_error *err)
{
    cr_half_counts counts;
    choice c = {0};
    const cr_status st = choose(g, plan, &c, &counts, err);
    for (size_t i = 0; st == CR_OK && i < g->tensor_count; i++) {
        if (!c.store[i]) continue;
        float *v = g->tensors[i]->data;
        const int64_t n = cr_shape_count(&g->tensors[i]->shape);
        for (int64_t k = 0; k < n; k++) v[k] = value_of(plan->type, round_to(plan->type, v[k]));
    }
    free_choice(&c);
    return st;
}
