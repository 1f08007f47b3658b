/* The head by role: walk back from the outputs through everything that is not a convolution (or
 * gemm) with weights; the first such nodes on each path are the last convolutions, what was walked
 * through is decoding.
 *
 * One convolution is decoding itself: distribution focal loss (GFL, Li et al. 2020) reads each box
 * side as the expectation of a softmax over bins 0..n-1, exported as a 1x1 convolution (or a MatMul)
 * with the fixed weights 0, 1, ... n-1 behind a Softmax. It is recognised by that: one output
 * channel and a Softmax in front, with data movement only in between. Names differ between exports
 * (and are renamed by users); this structure does not. */
#include "quant/roles.h"

#include <string.h>

#include "base/error.h"

bool cr_has_weights(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Conv:
    case CR_OP_ConvTranspose:
    case CR_OP_Gemm:
    case CR_OP_MatMul: return n->in[1] && n->in[1]->data && n->in[1]->dtype == CR_DT_F32;
    default: return false;
    }
}

static bool behind_softmax(const cr_node *n)
{
    const cr_tensor *t = n->in[0];
    while (t->producer && (t->producer->op->flags & CR_OPF_MOVE) && t->producer->in[0])
        t = t->producer->in[0];
    return t->producer && t->producer->op->kind == CR_OP_Softmax;
}

static int64_t output_channels(const cr_node *n)
{
    const cr_shape *w = &n->in[1]->shape;
    if (n->op->kind == CR_OP_Conv) return w->dim[0];
    if (n->op->kind == CR_OP_MatMul) return w->rank == 1 ? 1 : w->dim[w->rank - 1];
    return -1;
}

static bool is_expectation(const cr_node *n)
{
    return output_channels(n) == 1 && behind_softmax(n);
}

/* Backward sweep in reverse topological order: a node is decoding if any of its outputs is a graph
 * output or is read by decoding, unless it has weights. */
static void sweep(const cr_graph *g, bool *wanted, cr_role *roles)
{
    for (size_t i = 0; i < g->output_count; i++) wanted[g->outputs[i]->id] = true;
    for (size_t i = g->node_count; i-- > 0;) {
        const cr_node *n = g->nodes[i];
        bool reached = false;
        for (int k = 0; k < n->n_out; k++) reached |= n->out[k] && wanted[n->out[k]->id];
        if (!reached) continue;
        if (cr_has_weights(n) && !is_expectation(n)) {
            roles[i] = CR_ROLE_LAST_CONV;
            continue;
        }
        roles[i] = CR_ROLE_DECODE;
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k]) wanted[n->in[k]->id] = true;
    }
}

/* A tensor that decoding reads may also feed the body (a prototype branch, an auxiliary output): the
 * nodes between the last such tensor and the outputs stay decoding, but what also feeds another
 * convolution is body. */
static void return_shared(const cr_graph *g, cr_role *roles)
{
    for (size_t i = g->node_count; i-- > 0;) { /* producers come before their readers */
        const cr_node *n = g->nodes[i];
        if (roles[i] == CR_ROLE_DECODE) continue;
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] && n->in[k]->producer) roles[n->in[k]->producer->index] = CR_ROLE_BODY;
    }
}

cr_status cr_roles_find(const cr_graph *g, cr_role **roles, cr_error *err)
{
    *roles = cr_calloc(g->node_count, sizeof **roles);
    bool *wanted = cr_calloc(g->tensor_count, sizeof *wanted);
    if (!*roles || !wanted) {
        cr_free(*roles);
        cr_free(wanted);
        *roles = NULL;
        return CR_NOMEM(err);
    }
    sweep(g, wanted, *roles);
    return_shared(g, *roles);
    cr_free(wanted);
    return CR_OK;
}
