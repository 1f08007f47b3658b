/* Tapes of graphs with rounding (train/fake_quant.h), for tests. */
#ifndef CR_TESTS_ROUNDED_TAPE_H
#define CR_TESTS_ROUNDED_TAPE_H

#include <math.h>

#include "train/fake_quant.h"
#include "unit/graphs.h"

static inline double largest_of(const float *x, int64_t n)
{
    double most = 1e-3;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

static inline void forward(cr_tape *tape)
{
    cr_error err;
    if (cr_tape_forward(tape, &err) != CR_OK) graph_fail("tape", err.message);
}

/* Without gradients: networks may have operators that have none. */
static inline cr_tape *tape_of(const cr_graph *g, const float *input)
{
    cr_error err;
    cr_tape *tape;
    bool *wanted = calloc(g->tensor_count, sizeof *wanted);
    const cr_tape_options o = {.real = CR_DT_F32, .wanted = wanted, .keep_values = true};
    if (cr_tape_create(g, &o, &tape, &err) != CR_OK) graph_fail("tape", err.message);
    memcpy(cr_tape_value(tape, g->inputs[0]), input, cr_tensor_bytes(g->inputs[0]));
    forward(tape);
    free(wanted);
    return tape;
}

/* What an optimiser might have done: factors, shifts, weights and biases moved at random. */
static inline void disturb(const cr_graph *g, cr_tape *tape, cr_rng *rng)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        const bool bias = n->op->kind == CR_OP_FakeQuantizeBias;
        if (!bias && n->op->kind != CR_OP_FakeQuantize) continue;
        for (int k = 0; k < n->n_in && k < (bias ? 1 : 5); k++) {
            const cr_tensor *t = n->in[k];
            const int64_t learn = cr_attr_int(n, "learn", 0) | 1;
            if (!t || !t->data || !(learn >> k & 1)) continue;
            float *x = cr_tape_value(tape, t);
            const double by = k == 2 ? .3 : k == 4 ? .1 : .05;
            for (int64_t j = 0; j < cr_shape_count(&t->shape); j++)
                x[j] += (float)cr_rng_range(rng, -by, by);
        }
    }
}

static inline void put_entry(cr_recipe *r, const char *tensor, bool weight, cr_dtype type,
                             float scale, int32_t zero)
{
    cr_error err;
    const cr_qparams q = {type, -1, 1, &scale, &zero};
    if (cr_recipe_add(r, tensor, weight, &q, "", &err) != CR_OK) graph_fail("tape", err.message);
}

#endif
