/* Placement: quantize what integer kernels consume, and nothing else.
 *
 * Each quantized convolution (gemm) needs its input as integers, so that tensor gets an entry.
 * Nothing lies between a convolution and its activation (a rounding there costs .03 agreement on
 * YOLOv8n and a fused kernel has no use for it), nothing on what only an Add or a Concat reads: the
 * kernel in front can round once, to the scale of what comes out. Operators that pass integers
 * through (MaxPool, Split, Slice, nearest Resize, reshapes) hand the entry on to their source and
 * share its scale, so the integers are made where the values are made and moved from there.
 *
 *      Conv -> SiLU -> [T] -> Split -> [t0] -> Conv        T gets an entry; t0, t1 take T's scale
 *                                   -> [t1] -> Concat -> [U] -> Conv      U has its own
 *
 * Rejected: an entry on every activation (ONNX Runtime's default): rounds sums and concatenations
 * twice, cuts Sigmoid from Mul, and needs the head's exclusion by hand. */
#include "quant/placement.h"

#include <string.h>

#include "base/error.h"
#include "quant/full_plan.h"
#include "quant/layer_choice.h"

static bool stays_float(cr_role role, cr_head_mode head)
{
    return role == CR_ROLE_DECODE || (role == CR_ROLE_LAST_CONV && head == CR_HEAD_FLOAT);
}

static cr_status choose_nodes(const cr_graph *g, const cr_role *roles, const cr_quantize_options *o,
                              const bool *barred, cr_placement_map *m, cr_error *err)
{
    CR_TRY(cr_layer_choices(g, o, &m->precision, err));
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!cr_has_weights(n) || stays_float(roles[i], o->head) || n->in[0]->data) continue;
        if (!cr_shape_known(&n->in[0]->shape) || n->in[0]->dtype != CR_DT_F32) continue;
        const bool wanted = m->precision[i] != CR_LAYER_FLOAT;
        m->node[i] = wanted && !(barred && barred[i]);
        m->excluded += !wanted;
    }
    return CR_OK;
}

bool cr_passes_integers(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_MaxPool: return n->n_out < 2 || !n->out[1];
    case CR_OP_Resize: return !strcmp(cr_attr_string(n, "mode", "nearest"), "nearest");
    case CR_OP_Concat: return n->n_in == 1;
    case CR_OP_Split:
    case CR_OP_Slice:
    case CR_OP_Reshape:
    case CR_OP_Flatten:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze:
    case CR_OP_Transpose:
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth:
    case CR_OP_Identity: return true;
    default: return false;
    }
}

static const cr_tensor *find_source(const cr_tensor *t)
{
    while (t->producer && cr_passes_integers(t->producer)) t = t->producer->in[0];
    return t;
}

/* All tensors on the way from `t` back to its source take the source's scale. */
static void mark_path(cr_placement_map *m, const cr_tensor *t, const char *why)
{
    const cr_tensor *source = find_source(t);
    if (source->data) return;
    for (;; t = t->producer->in[0]) {
        m->source[t->id] = source;
        if (!m->why[t->id]) m->why[t->id] = t == source ? why : "passed through";
        if (t == source) return;
    }
}

/* What a pass-through operator gives from a quantized source is quantized by nature; saying so keeps
 * exported graphs free of detours through float. */
static void mark_siblings(const cr_graph *g, cr_placement_map *m, const cr_role *roles)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!cr_passes_integers(n) || roles[i] == CR_ROLE_DECODE || !m->source[n->in[0]->id]) continue;
        for (int k = 0; k < n->n_out; k++) {
            if (!n->out[k] || m->source[n->out[k]->id]) continue;
            m->source[n->out[k]->id] = m->source[n->in[0]->id];
            m->why[n->out[k]->id] = "passed through";
        }
    }
}

static const char *input_role(const cr_node *n)
{
    return n->op->kind == CR_OP_Conv || n->op->kind == CR_OP_ConvTranspose ? "convolution input"
                                                                            : "gemm input";
}

bool cr_is_depthwise(const cr_node *n)
{
    if (n->op->kind != CR_OP_Conv || n->in[0]->shape.rank < 3) return false;
    const int64_t groups = cr_attr_int(n, "group", 1);
    return groups > 1 && groups == n->in[0]->shape.dim[1] && groups == n->in[1]->shape.dim[0];
}

bool cr_has_one_scale(const cr_quantize_options *o)
{
    return o->granularity == CR_PER_TENSOR || cr_target_splits(o->target) || o->target == CR_TARGET_NCNN;
}

bool cr_target_has_wide_layers(cr_target t)
{
    return !cr_target_is_full(t) && t != CR_TARGET_NCNN;
}

bool cr_only_depthwise_reads(const cr_graph *g, const cr_tensor *t)
{
    int reads = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; k++) {
            if (n->in[k] != t) continue;
            const bool single = n->op->kind == CR_OP_Conv && t->shape.rank > 2 && t->shape.dim[1] == 1 &&
                                n->in[1]->shape.dim[0] == 1;
            if (k > 0 || (!single && !cr_is_depthwise(n))) return false;
            reads++;
        }
    }
    return reads > 0;
}

/* One scale per channel costs a depthwise kernel nothing, and no dense kernel can take it: tensors
 * that depthwise convolutions alone read as integers, as they are made, get one. (YOLOX-nano: .51
 * agreement -> .90.) Others may read the tensor too, as floats. A tensor that both kinds read would
 * need two sets of integers; it keeps one scale. */
static void mark_channels(const cr_graph *g, cr_placement_map *m)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (m->node[i] && cr_is_depthwise(g->nodes[i])) m->by_channel[g->nodes[i]->in[0]->id] = true;
    for (size_t i = 0; i < g->node_count; i++)
        if (m->node[i] && !cr_is_depthwise(g->nodes[i])) m->by_channel[g->nodes[i]->in[0]->id] = false;
    for (size_t i = 0; i < g->tensor_count; i++) {
        if (m->wide[i]) m->by_channel[i] = false; /* 16 bits have steps enough */
        /* a scale that is passed through is one */
        if (m->source[i] && m->source[i] != g->tensors[i])
            m->by_channel[i] = m->by_channel[m->source[i]->id] = false;
    }
    for (size_t i = 0; i < g->input_count; i++) m->by_channel[g->inputs[i]->id] = false;
}

cr_status cr_placement_find(const cr_graph *g, const cr_role *roles, const cr_quantize_options *o,
                            const bool *barred, cr_placement_map *m, cr_error *err)
{
    *m = (cr_placement_map){.node = cr_calloc(g->node_count, sizeof(bool)),
                            .source = cr_calloc(g->tensor_count, sizeof(cr_tensor *)),
                            .by_channel = cr_calloc(g->tensor_count, sizeof(bool)),
                            .why = cr_calloc(g->tensor_count, sizeof(char *)),
                            .wide = cr_calloc(g->tensor_count, sizeof(bool))};
    if (!m->node || !m->source || !m->by_channel || !m->why || !m->wide) return CR_NOMEM(err);
    CR_TRY(choose_nodes(g, roles, o, barred, m, err));
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!m->node[i]) continue;
        mark_path(m, n->in[0], input_role(n));
        if (m->precision[i] == CR_LAYER_INT16) m->wide[find_source(n->in[0])->id] = true;
    }
    mark_siblings(g, m, roles);
    if (!cr_has_one_scale(o)) mark_channels(g, m);
    return CR_OK;
}

void cr_placement_release(cr_placement_map *m)
{
    cr_free(m->node);
    cr_free(m->source);
    cr_free(m->by_channel);
    cr_free(m->why);
    cr_free(m->wide);
    cr_free(m->precision);
    *m = (cr_placement_map){0};
}
