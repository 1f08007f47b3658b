/* One forward pass gives every channel a slot; a union of slots (with halved paths) is a class. A
 * tensor of rank 4 and more has a slot for each element of its dimensions but the first and the
 * last two, so that a shuffle's [1, groups, channels, H, W] in between can be followed, too. */
#include "quant/channel_classes.h"

#include <string.h>

#include "base/error.h"
#include "graph/infer_move.h"

/* ---- classes ---- */

int cr_channel_class(const cr_channel_classes *c, int slot)
{
    while (c->parent[slot] != slot) {
        c->parent[slot] = c->parent[c->parent[slot]];
        slot = c->parent[slot];
    }
    return slot;
}

int cr_class_of(const cr_channel_classes *c, const cr_tensor *t, int64_t channel)
{
    return c->slot[t->id] ? cr_channel_class(c, c->slot[t->id][channel]) : 0;
}

/* The lesser name stays, so 0 does. */
static void join(cr_channel_classes *c, int a, int b)
{
    const int x = cr_channel_class(c, a), y = cr_channel_class(c, b);
    c->parent[x > y ? x : y] = x < y ? x : y;
}

void cr_channel_classes_fix(cr_channel_classes *c, const cr_tensor *t)
{
    for (int64_t i = 0; c->slot[t->id] && i < c->lead[t->id]; i++) join(c, c->slot[t->id][i], 0);
}

/* ---- slots ---- */

/* 0: not followed. */
static int64_t lead_of(const cr_tensor *t)
{
    int64_t n = 1;
    if (t->data || t->dtype != CR_DT_F32 || t->shape.rank < 4 || !cr_shape_known(&t->shape))
        return 0;
    for (int d = 1; d < t->shape.rank - 2; d++) n *= t->shape.dim[d];
    return n;
}

static bool new_slot(cr_channel_classes *c, int *slot)
{
    void *list = c->parent;
    size_t cap = (size_t)c->cap;
    if (!cr_grow(&list, &cap, (size_t)c->count, sizeof *c->parent)) return false;
    c->parent = list;
    c->cap = (int)cap;
    *slot = c->count;
    c->parent[c->count] = c->count;
    c->count++;
    return true;
}

static bool open_slots(cr_channel_classes *c, const cr_tensor *t)
{
    const int64_t n = c->lead[t->id];
    if (!n) return true;
    c->slot[t->id] = cr_arena_alloc(&c->arena, (size_t)n * sizeof **c->slot);
    return c->slot[t->id] != NULL;
}

static bool fresh(cr_channel_classes *c, const cr_tensor *t)
{
    if (!open_slots(c, t)) return false;
    for (int64_t i = 0; i < c->lead[t->id]; i++)
        if (!new_slot(c, &c->slot[t->id][i])) return false;
    return true;
}

/* ---- operators ---- */

bool cr_takes_factors(const cr_node *n)
{
    if (n->op->kind != CR_OP_Conv || !cr_has_weights(n) || n->in[1]->uses != 1) return false;
    const cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    return n->in[0]->shape.rank == 4 && n->in[1]->shape.rank == 4 &&
           (!b || (b->data && b->dtype == CR_DT_F32 && b->uses == 1));
}

bool cr_is_homogeneous(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Relu:
    case CR_OP_LeakyRelu:
    case CR_OP_Identity:
    case CR_OP_AveragePool:
    case CR_OP_GlobalAveragePool:
    case CR_OP_GlobalMaxPool:
        return true;
    case CR_OP_MaxPool:
        return n->n_out < 2 || !n->out[1];
    case CR_OP_Resize:
        return strcmp(cr_attr_string(n, "mode", "nearest"), "cubic") &&
               n->in[0]->shape.dim[1] == n->out[0]->shape.dim[1] &&
               !cr_attr_find(n, "extrapolation_value");
    default:
        return false;
    }
}

static bool follow_add(cr_channel_classes *c, const cr_node *n)
{
    const cr_tensor *a = n->in[0], *b = n->in[1], *y = n->out[0];
    if (!c->slot[a->id] || !c->slot[b->id] || !cr_shape_equal(&a->shape, &b->shape)) return false;
    c->slot[y->id] = c->slot[a->id];
    for (int64_t i = 0; i < c->lead[y->id]; i++) join(c, c->slot[a->id][i], c->slot[b->id][i]);
    return true;
}

static bool along_channels(const cr_node *n)
{
    const int64_t axis = cr_attr_int(n, "axis", 0);
    return n->in[0]->shape.rank == 4 && (axis == 1 || axis == -3);
}

static bool follow_concat(cr_channel_classes *c, const cr_node *n)
{
    const cr_tensor *y = n->out[0];
    int64_t at = 0;
    for (int k = 0; k < n->n_in; k++)
        if (!c->slot[n->in[k]->id]) return false;
    if (!along_channels(n) || !open_slots(c, y) || !c->slot[y->id]) return false;
    for (int k = 0; k < n->n_in; k++) {
        const int64_t lead = c->lead[n->in[k]->id];
        memcpy(c->slot[y->id] + at, c->slot[n->in[k]->id], (size_t)lead * sizeof **c->slot);
        at += lead;
    }
    return true;
}

static bool follow_split(cr_channel_classes *c, const cr_node *n)
{
    int64_t at = 0;
    if (!along_channels(n)) return false;
    for (int k = 0; k < n->n_out; k++) {
        c->slot[n->out[k]->id] = c->slot[n->in[0]->id] + at;
        at += c->lead[n->out[k]->id];
    }
    return true;
}

static bool follow_slice(cr_channel_classes *c, const cr_node *n)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    const cr_tensor *y = n->out[0];
    cr_slice_plan plan;
    if (n->in[0]->shape.rank != 4 || cr_slice_resolve(&call, &plan, NULL) != CR_OK) return false;
    if (!cr_shape_equal(&plan.out, &y->shape) || !open_slots(c, y) || !c->slot[y->id]) return false;
    for (int64_t i = 0; i < c->lead[y->id]; i++)
        c->slot[y->id][i] = c->slot[n->in[0]->id][plan.start[1] + i * plan.step[1]];
    return true;
}

/* Do a and b have the same first and the same last two dimensions? */
static bool same_ends(const cr_shape *a, const cr_shape *b)
{
    return a->dim[0] == b->dim[0] && a->dim[a->rank - 1] == b->dim[b->rank - 1] &&
           a->dim[a->rank - 2] == b->dim[b->rank - 2];
}

static bool follow_reshape(cr_channel_classes *c, const cr_node *n)
{
    if (!c->lead[n->out[0]->id] || !same_ends(&n->in[0]->shape, &n->out[0]->shape)) return false;
    c->slot[n->out[0]->id] = c->slot[n->in[0]->id];
    return true;
}

/* Of the dimensions between the first and the last two. */
static bool follow_transpose(cr_channel_classes *c, const cr_node *n)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    const cr_shape *x = &n->in[0]->shape, *y = &n->out[0]->shape;
    const int middle = x->rank - 3;
    int perm[CR_MAX_RANK];
    int64_t stride[CR_MAX_RANK], at[CR_MAX_RANK] = {0};
    if (cr_perm_resolve(&call, perm, NULL) != CR_OK || perm[0] != 0) return false;
    if (perm[x->rank - 1] != x->rank - 1 || perm[x->rank - 2] != x->rank - 2) return false;
    if (!open_slots(c, n->out[0]) || !c->slot[n->out[0]->id]) return false;
    stride[middle] = 1;
    for (int d = middle; d > 1; d--) stride[d - 1] = stride[d] * x->dim[d];
    for (int64_t i = 0; i < c->lead[n->out[0]->id]; i++) {
        int64_t from = 0;
        for (int d = 1; d <= middle; d++) from += at[d] * stride[perm[d]];
        c->slot[n->out[0]->id][i] = c->slot[n->in[0]->id][from];
        for (int d = middle; d >= 1 && ++at[d] == y->dim[d]; d--) at[d] = 0;
    }
    return true;
}

/* Hands the factors of n's inputs on to its outputs, if it is an operator that does. */
static bool follow(cr_channel_classes *c, const cr_node *n)
{
    const cr_tensor *x = n->n_in ? n->in[0] : NULL, *y = n->out[0];
    if (!x || !c->slot[x->id] || !y) return false;
    if (cr_is_homogeneous(n)) {
        if (c->lead[x->id] != c->lead[y->id]) return false;
        c->slot[y->id] = c->slot[x->id];
        return true;
    }
    switch (n->op->kind) {
    case CR_OP_Add:
        return follow_add(c, n);
    case CR_OP_Concat:
        return follow_concat(c, n);
    case CR_OP_Split:
        return follow_split(c, n);
    case CR_OP_Slice:
        return follow_slice(c, n);
    case CR_OP_Reshape:
        return follow_reshape(c, n);
    case CR_OP_Transpose:
        return follow_transpose(c, n);
    default:
        return false;
    }
}

/* Factors end here: n's inputs are fixed, its outputs begin anew. */
static cr_status stop(cr_channel_classes *c, const cr_node *n, bool takes, const bool *restorable,
                      cr_error *err)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] && !takes) cr_channel_classes_fix(c, n->in[k]);
    for (int k = 0; k < n->n_out; k++) {
        const cr_tensor *y = n->out[k];
        if (!y) continue;
        if (!fresh(c, y)) return CR_NOMEM(err);
        if (!takes && !(restorable && restorable[y->id])) cr_channel_classes_fix(c, y);
    }
    return CR_OK;
}

cr_status cr_channel_classes_find(const cr_graph *g, const cr_role *roles, const bool *restorable,
                                  cr_channel_classes *c, cr_error *err)
{
    int zero;
    *c = (cr_channel_classes){.slot = cr_calloc(g->tensor_count + 1, sizeof *c->slot),
                              .lead = cr_calloc(g->tensor_count + 1, sizeof *c->lead)};
    if (!c->slot || !c->lead || !new_slot(c, &zero)) return CR_NOMEM(err);
    for (size_t i = 0; i < g->tensor_count; i++) c->lead[i] = lead_of(g->tensors[i]);
    for (size_t i = 0; i < g->input_count; i++) {
        if (!fresh(c, g->inputs[i])) return CR_NOMEM(err);
        cr_channel_classes_fix(c, g->inputs[i]);
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (follow(c, n)) continue;
        const bool takes = roles[i] != CR_ROLE_DECODE && cr_takes_factors(n);
        CR_TRY(stop(c, n, takes, restorable, err));
    }
    for (size_t i = 0; i < g->output_count; i++) cr_channel_classes_fix(c, g->outputs[i]);
    return CR_OK;
}

void cr_channel_classes_release(cr_channel_classes *c)
{
    cr_free(c->slot);
    cr_free(c->lead);
    cr_free(c->parent);
    cr_arena_free(&c->arena);
    *c = (cr_channel_classes){0};
}
