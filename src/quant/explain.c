/* The placement in words. It follows from graph and recipe alone, by the rules that quant/placement.c
 * places by, so a file that some other tool quantized is explained like our own recipe:
 *
 *     entry       its note; without one, what the readers are: a convolution's or gemm's input, the
 *                 input of an operator that passes integers on, ...
 *     none        the first that holds: decoding; what a last convolution gives; no float tensor; between
 *                 a convolution and its activation; only read by layers that stay float; only read by
 *                 sums, concatenations and what passes values on, behind which there is one rounding; read
 *                 by OP, which computes in float
 *
 * Biases have no line: they are int32 at scale sa*sw[c] wherever their convolution runs on integers.
 * Rejected: words written where each decision is made. Placement, heads, targets, tuning and readers of
 * foreign files all decide, and reasons for having no entry come from what none of them did. */
#include "quant/explain.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "quant/head_parts.h"
#include "quant/placement.h"

typedef struct explainer {
    const cr_graph *graph;
    const cr_recipe_entry **entries; /* by tensor id */
    cr_role *roles;
    cr_head_parts parts;
    cr_recipe_place *old; /* what was said before */
    size_t old_count;
} explainer;

/* ---- readers ---- */

static bool reads(const cr_node *n, const cr_tensor *t)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] == t) return true;
    return false;
}

static bool is_activation(const cr_node *n)
{
    return (n->op->flags & CR_OPF_UNARY) != 0;
}

static bool joins(const cr_node *n)
{
    return n->op->kind == CR_OP_Add || n->op->kind == CR_OP_Concat || n->op->kind == CR_OP_Mul ||
           n->op->kind == CR_OP_Sub;
}

static bool is_float_layer(const explainer *x, const cr_node *n)
{
    return cr_has_weights(n) && !x->entries[n->in[1]->id];
}

typedef struct readers {
    size_t count, decoding, activations, behind, float_layers, integer_layers, passing;
    char ops[64]; /* which, for a line */
} readers;

static void name_op(readers *r, const char *op)
{
    const size_t used = strlen(r->ops);
    if (strstr(r->ops, op)) return;
    snprintf(r->ops + used, sizeof r->ops - used, "%s%s", used ? ", " : "", op);
}

static readers readers_of(const explainer *x, const cr_tensor *t)
{
    readers r = {0};
    for (size_t i = 0; i < x->graph->node_count; i++) {
        const cr_node *n = x->graph->nodes[i];
        if (!reads(n, t)) continue;
        r.count++;
        r.decoding += x->roles[i] == CR_ROLE_DECODE;
        r.activations += is_activation(n);
        r.behind += joins(n) || cr_passes_integers(n);
        r.float_layers += is_float_layer(x, n);
        r.integer_layers += cr_has_weights(n) && !is_float_layer(x, n);
        r.passing += cr_passes_integers(n);
        name_op(&r, n->op->name);
    }
    return r;
}

/* ---- reasons ---- */

static const char *said_before(const explainer *x, const cr_tensor *t)
{
    for (size_t i = 0; i < x->old_count; i++)
        if (x->old[i].why[0] && !strcmp(x->old[i].tensor, t->name)) return x->old[i].why;
    return NULL;
}

static const char *why_weight(const explainer *x, const cr_node *n)
{
    const char *before = said_before(x, n->in[1]);
    if (before) return before;
    if (x->roles[n->index] == CR_ROLE_DECODE) return "decodes boxes or scores: float";
    if (n->in[0]->data) return "reads a constant";
    if (n->in[0]->dtype != CR_DT_F32 || !cr_shape_known(&n->in[0]->shape))
        return "its input's shape is not known before it runs";
    if (x->roles[n->index] == CR_ROLE_LAST_CONV) return "a last convolution that stays float";
    return "stays float";
}

static const char *why_entry(const readers *r)
{
    if (r->integer_layers) return "input of a layer on integers";
    if (r->passing) return "passed on as integers";
    return r->count ? "stored as integers" : "an output of integers";
}

static void why_none(const explainer *x, const cr_tensor *t, char *text, size_t size)
{
    const cr_node *maker = t->producer;
    const readers r = readers_of(x, t);
    const char *plain = NULL;
    if (maker && x->roles[maker->index] == CR_ROLE_DECODE) plain = "decoding: float";
    else if (maker && x->roles[maker->index] == CR_ROLE_LAST_CONV) plain = "what the head decodes: float";
    else if (t->dtype != CR_DT_F32) plain = "no float tensor";
    else if (!r.count) plain = "an output of the model";
    else if (r.decoding == r.count) plain = "read by decoding alone";
    else if (maker && cr_has_weights(maker) && r.activations == r.count)
        plain = "between a layer and its activation: rounded once, behind it";
    else if (r.float_layers == r.count) plain = "read by layers that stay float";
    if (plain) snprintf(text, size, "%s", plain);
    else if (r.behind == r.count) snprintf(text, size, "read by %s alone: rounded once, behind", r.ops);
    else snprintf(text, size, "read by %s, in float", r.ops);
}

/* ---- lines ---- */

static const char *part_names(const explainer *x, const cr_node *n, char *text, size_t size)
{
    size_t used = 0;
    unsigned seen = 0;
    text[0] = 0;
    for (size_t i = 0; i < x->parts.count && used < size; i++) {
        const cr_part_run *run = &x->parts.runs[i];
        if (run->node != n || seen & 1u << run->part) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s", seen ? " + " : "",
                                 cr_part_name(run->part));
        seen |= 1u << run->part;
    }
    return seen ? text : "last";
}

static const char *role_of(const explainer *x, const cr_node *n, char *text, size_t size)
{
    switch (x->roles[n->index]) {
    case CR_ROLE_DECODE: return "decode";
    case CR_ROLE_LAST_CONV: return part_names(x, n, text, size);
    default: return "body";
    }
}

static cr_status add_line(explainer *x, const cr_tensor *t, const cr_node *n, cr_recipe *r,
                          cr_error *err)
{
    char shape[96], role[128], why[128] = "";
    cr_recipe_entry *e = (cr_recipe_entry *)x->entries[t->id];
    const bool is_weight = t->data != NULL;
    if (is_weight && !e) {
        snprintf(why, sizeof why, "%s", why_weight(x, n));
    } else if (!e) {
        why_none(x, t, why, sizeof why);
    } else if (!e->note[0] && !is_weight) {
        const readers found = readers_of(x, t);
        e->note = why_entry(&found);
    }
    const cr_recipe_place place = {t->name,
                                   is_weight,
                                   cr_shape_text(&t->shape, shape, sizeof shape),
                                   n ? n->op->name : "",
                                   n ? n->name : "",
                                   n ? role_of(x, n, role, sizeof role) : "input",
                                   why};
    return cr_recipe_add_place(r, &place) ? CR_OK : CR_NOMEM(err);
}

static cr_status add_lines(explainer *x, cr_recipe *r, cr_error *err)
{
    const cr_graph *g = x->graph;
    bool *done = cr_calloc(g->tensor_count + 1, sizeof *done); /* of weights: some are shared */
    if (!done) return CR_NOMEM(err);
    cr_status st = CR_OK;
    for (size_t i = 0; st == CR_OK && i < g->input_count; i++)
        st = add_line(x, g->inputs[i], NULL, r, err);
    for (size_t i = 0; st == CR_OK && i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        for (int k = 0; st == CR_OK && k < n->n_in; k++) {
            const cr_tensor *w = n->in[k];
            const bool listed = w && w->data && !done[w->id] &&
                                (x->entries[w->id] || (k == 1 && cr_has_weights(n)));
            if (!listed) continue;
            done[w->id] = true;
            st = add_line(x, w, n, r, err);
        }
        for (int k = 0; st == CR_OK && k < n->n_out; k++)
            if (n->out[k] && !n->out[k]->data) st = add_line(x, n->out[k], n, r, err);
    }
    cr_free(done);
    return st;
}

cr_status cr_recipe_explain(const cr_graph *g, cr_recipe *r, cr_error *err)
{
    explainer x = {.graph = g, .old = r->places, .old_count = r->place_count};
    r->places = NULL;
    r->place_count = r->place_cap = 0;
    cr_status st = cr_recipe_bind(r, g, &x.entries, err);
    if (st == CR_OK) st = cr_roles_find(g, &x.roles, err);
    if (st == CR_OK) st = cr_head_parts_find(g, x.roles, NULL, &x.parts, err);
    if (st == CR_OK) st = add_lines(&x, r, err);
    cr_head_parts_release(&x.parts);
    cr_free(x.roles);
    cr_free(x.entries);
    cr_free(x.old);
    return st;
}
