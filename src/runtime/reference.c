/* The reference run: what a graph with a recipe means, node after node, nothing fused or reordered.
 *
 * A convolution whose input and weight have entries is computed on integers as crayon/arith.h says:
 * ConvInteger of the codes, bias at scale sa*sw, then one float product; a MatMul or Gemm likewise.
 * Every other operator sees dequantized floats. After each node, outputs with an entry are
 * fake-quantized. */
#include <string.h>

#include "base/error.h"
#include "graph/recipe.h"
#include "ops/ref.h"
#include "runtime/integer_conv.h"
#include "runtime/integer_live.h"
#include "runtime/integer_matmul.h"
#include "runtime/runtime.h"

typedef struct machine {
    const cr_graph *g;
    const cr_recipe_entry **entries;
    const cr_recipe_entry **live; /* the dynamic ones, which are not among the entries */
    cr_tensor *values;     /* by tensor id; data owned here unless the graph's tensor is constant */
    float **weights;       /* by tensor id: fake-quantized constants, or NULL */
    int *left;             /* readers that are still to come */
    const cr_observer *observer;
    const cr_layer_probe *probe;
} machine;

static const cr_recipe_entry *entry_of(const machine *m, const cr_tensor *t)
{
    return t ? m->entries[t->id] : NULL;
}

static const cr_tensor *input_value(const machine *m, const cr_tensor *t)
{
    return t ? &m->values[t->id] : NULL;
}

static cr_status run_float(machine *m, const cr_node *n, cr_error *err)
{
    const cr_tensor **in = cr_calloc((size_t)n->n_in, sizeof *in);
    cr_tensor **out = cr_calloc((size_t)n->n_out, sizeof *out);
    cr_status st = in && out ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        for (int i = 0; i < n->n_in; i++) in[i] = input_value(m, n->in[i]);
        for (int i = 0; i < n->n_out; i++) out[i] = n->out[i] ? &m->values[n->out[i]->id] : NULL;
        const cr_op_call call = {n, in, out, n->n_in, n->n_out};
        st = cr_op_run(&call, err);
    }
    cr_free(in);
    cr_free(out);
    return st;
}

static cr_status run_node(machine *m, const cr_node *n, cr_error *err)
{
    cr_tensor *y = n->n_out ? &m->values[n->out[0]->id] : NULL;
    if (cr_dynamic_takes(m->live, m->entries, n))
        return cr_live_eval(m->entries, n, input_value(m, n->in[0]), y, err);
    if (cr_conv_takes_integers(m->entries, n))
        return cr_integer_conv(m->entries, n, input_value(m, n->in[0]), y, err);
    if (cr_matmul_takes_integers(m->entries, n))
        return cr_integer_matmul(m->entries, n, input_value(m, n->in[0]),
                                 input_value(m, n->in[1]), y, err);
    return run_float(m, n, err);
}

static cr_status show(const machine *m, const cr_tensor *t, cr_tensor *v, cr_error *err)
{
    const cr_recipe_entry *e = entry_of(m, t);
    cr_computed c = {t, e, v->data, v->data, cr_shape_count(&v->shape)};
    float *rounded = e ? cr_malloc((size_t)c.count * sizeof *rounded) : NULL;
    if (e && !rounded) return CR_NOMEM(err);
    if (e) {
        cr_fake_quantize(v, &e->q, rounded);
        c.values = rounded;
    }
    m->probe->judge(m->probe->user, &c);
    if (e) memcpy(v->data, rounded, (size_t)c.count * sizeof *rounded);
    cr_free(rounded);
    return CR_OK;
}

static cr_status finish_outputs(machine *m, const cr_node *n, cr_error *err)
{
    for (int k = 0; k < n->n_out; k++) {
        if (!n->out[k]) continue;
        cr_tensor *v = &m->values[n->out[k]->id];
        const cr_recipe_entry *e = entry_of(m, n->out[k]);
        if (m->probe && v->dtype == CR_DT_F32) {
            CR_TRY(show(m, n->out[k], v, err));
            continue;
        }
        if (e && v->dtype == CR_DT_F32) cr_fake_quantize(v, &e->q, v->data);
        if (!m->observer || v->dtype != CR_DT_F32) continue;
        const int64_t count = cr_shape_count(&v->shape);
        const cr_view view = {n->out[k], CR_DT_F32, v->data, 1, count, count, false, 0, 0, NULL, NULL};
        m->observer->see(m->observer->user, &view);
    }
    return CR_OK;
}

static void release_inputs(machine *m, const cr_node *n)
{
    for (int k = 0; k < n->n_in; k++) {
        const cr_tensor *t = n->in[k];
        if (t && !t->data && --m->left[t->id] == 0) cr_tensor_drop_data(&m->values[t->id]);
    }
}

static cr_status prepare_values(machine *m, const float *const *inputs, cr_error *err)
{
    const cr_graph *g = m->g;
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *t = g->tensors[i];
        m->values[i] = *t;
        m->left[i] = t->uses;
        if (!t->data || !m->entries[i]) continue;
        m->weights[i] = cr_aligned_alloc(cr_tensor_bytes(t));
        if (!m->weights[i]) return CR_NOMEM(err);
        cr_fake_quantize(t, &m->entries[i]->q, m->weights[i]);
        m->values[i].data = m->weights[i];
    }
    for (size_t i = 0; i < g->input_count; i++) {
        cr_tensor *v = &m->values[g->inputs[i]->id];
        if (!cr_tensor_alloc(v)) return CR_NOMEM(err);
        memcpy(v->data, inputs[i], cr_tensor_bytes(v));
        const cr_recipe_entry *e = m->entries[g->inputs[i]->id];
        if (e) cr_fake_quantize(v, &e->q, v->data);
    }
    return CR_OK;
}

static void free_values(machine *m)
{
    for (size_t i = 0; m->values && i < m->g->tensor_count; i++)
        if (!m->g->tensors[i]->data) cr_tensor_drop_data(&m->values[i]);
    for (size_t i = 0; m->weights && i < m->g->tensor_count; i++) cr_aligned_free(m->weights[i]);
    cr_free(m->values);
    cr_free(m->weights);
    cr_free(m->left);
    cr_free(m->entries);
    cr_free(m->live);
}

static cr_status run_nodes(machine *m, const cr_recipe *r, const float *const *inputs, cr_error *err)
{
    const cr_graph *g = m->g;
    m->values = cr_calloc(g->tensor_count, sizeof *m->values);
    m->weights = cr_calloc(g->tensor_count, sizeof *m->weights);
    m->left = cr_calloc(g->tensor_count, sizeof *m->left);
    if (!m->values || !m->weights || !m->left) return CR_NOMEM(err);
    CR_TRY(cr_recipe_bind(r, g, &m->entries, err));
    m->live = cr_recipe_part_dynamic(m->entries, g->tensor_count);
    if (!m->live) return CR_NOMEM(err);
    CR_TRY(prepare_values(m, inputs, err));
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        CR_TRY(run_node(m, n, err));
        CR_TRY(finish_outputs(m, n, err));
        release_inputs(m, n);
    }
    return CR_OK;
}

static cr_status copy_outputs(const machine *m, cr_tensor *outputs, cr_error *err)
{
    for (size_t i = 0; i < m->g->output_count; i++) {
        const cr_tensor *v = &m->values[m->g->outputs[i]->id];
        outputs[i] = *v;
        outputs[i].data = NULL;
        if (!cr_tensor_alloc(&outputs[i])) return CR_NOMEM(err);
        memcpy(outputs[i].data, v->data, cr_tensor_bytes(&outputs[i]));
    }
    return CR_OK;
}

cr_status cr_reference_run(const cr_graph *g, const cr_recipe *r, const float *const *inputs,
                           cr_tensor *outputs, const cr_observer *observer, cr_error *err)
{
    machine m = {.g = g, .observer = observer};
    cr_status st = run_nodes(&m, r, inputs, err);
    if (st == CR_OK) st = copy_outputs(&m, outputs, err);
    free_values(&m);
    return st;
}

cr_status cr_reference_layers(const cr_graph *g, const cr_recipe *r, const float *const *inputs,
                              const cr_layer_probe *probe, cr_error *err)
{
    machine m = {.g = g, .probe = probe};
    const cr_status st = run_nodes(&m, r, inputs, err);
    free_values(&m);
    return st;
}
