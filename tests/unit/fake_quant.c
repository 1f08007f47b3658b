/* A recipe on a tape (train/fake_quant.h): its forward against the reference run of the recipe, as
 * it was given and as it comes back after weights, scales and zero points were moved; gradients of
 * rounding against finite differences of what stands in for it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/threads.h"
#include "graph/fake_scale.h"
#include "ops/ref.h"
#include "train/fake_quant.h"
#include "unit/random_recipe.h"

enum { NETS = 120 };

/* Sums of floats in another order, and sigmoids from the C library instead of arith.h's: relative
 * to the tensor's largest value. Worst seen over 2000 networks: 3.5e-6. */
static const double float_tolerance = 2e-5;
/* A code may differ by one where the value lies so close to a tie, in steps. */
static const double tie = 2e-2;

static double worst_float, worst_tie;
static long codes_seen, ties_seen;

/* ---- forward, tensor by tensor ---- */

typedef struct mirror {
    const cr_fake_quant *q;
    const cr_tape *tape;
    uint64_t seed;
} mirror;

static double largest_of(const float *x, int64_t n)
{
    double most = 1e-3;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

static void check_code(const mirror *m, const cr_computed *c, int64_t i, float raw, float got)
{
    const cr_qparams *q = &c->entry->q;
    int64_t inner = 1;
    for (int d = q->axis + 1; q->count > 1 && d < c->tensor->shape.rank; d++)
        inner *= c->tensor->shape.dim[d];
    const double s = (double)q->scale[(size_t)(i / inner) % q->count], v = (double)raw / s;
    codes_seen++;
    if (got == c->values[i]) return;
    const double gap = fabs(fabs(v - floor(v)) - .5);
    const double step = fabs((double)got - (double)c->values[i]) / s;
    ties_seen++;
    worst_tie = fmax(worst_tie, gap);
    if (gap > tie || step > 1.01)
        fail_msg("seed %llu: tensor '%s' element %lld: %.9g (%.6f steps) became %.9g, not %.9g",
                 (unsigned long long)m->seed, c->tensor->name, (long long)i, (double)raw, v,
                 (double)got, (double)c->values[i]);
}

/* Compares, then lets the reference go on with the tape's value: differences do not travel. */
static void check_tensor(void *user, const cr_computed *c)
{
    const mirror *m = user;
    const cr_graph *g = cr_fake_quant_graph(m->q);
    const cr_tensor *raw = cr_graph_find(g, c->tensor->name);
    const cr_tensor *seen = cr_fake_quant_find(m->q, c->tensor->name);
    if (!raw || !seen) return; /* nothing reads it */
    const float *x = cr_tape_value(m->tape, raw), *y = cr_tape_value(m->tape, seen);
    const double most = largest_of(c->raw, c->count);
    for (int64_t i = 0; i < c->count; i++) {
        if (c->entry) {
            check_code(m, c, i, x[i], y[i]);
        } else {
            const double gap = fabs((double)x[i] - (double)c->raw[i]) / most;
            if (!(gap <= float_tolerance))
                fail_msg("seed %llu: tensor '%s' element %lld: %.9g, not %.9g",
                         (unsigned long long)m->seed, c->tensor->name, (long long)i, (double)x[i],
                         (double)c->raw[i]);
            worst_float = fmax(worst_float, gap);
        }
        c->values[i] = y[i];
    }
}

static void check_against(const cr_fake_quant *q, const cr_tape *tape, const cr_graph *g,
                          const cr_recipe *r, const float *input, uint64_t seed)
{
    cr_error err;
    cr_graph *applied;
    mirror m = {q, tape, seed};
    const cr_layer_probe probe = {check_tensor, &m};
    const float *const inputs[1] = {input};
    assert_int_equal(cr_recipe_apply(r, g, &applied, &err), CR_OK);
    if (cr_reference_layers(applied, r, inputs, &probe, &err) != CR_OK)
        fail_msg("%s", err.message);
    cr_graph_free(&applied);
}

static void see_range(void *user, const cr_view *v)
{
    tensor_range *r = (tensor_range *)user + v->tensor->id;
    for (int64_t i = 0; i < v->rows * v->cols; i++) {
        r->lo = fminf(r->lo, ((const float *)v->data)[i]);
        r->hi = fmaxf(r->hi, ((const float *)v->data)[i]);
    }
}

static tensor_range *ranges_of(const cr_graph *g, const float *input)
{
    tensor_range *ranges = calloc(g->tensor_count, sizeof *ranges);
    cr_tensor *outputs = calloc(g->output_count, sizeof *outputs);
    const cr_observer o = {see_range, ranges};
    const float *const inputs[1] = {input};
    assert_int_equal(cr_reference_run(g, NULL, inputs, outputs, &o, NULL), CR_OK);
    for (size_t i = 0; i < g->output_count; i++) cr_tensor_drop_data(&outputs[i]);
    free(outputs);
    ranges[g->inputs[0]->id] = (tensor_range){-2, 2};
    return ranges;
}

static void forward(cr_tape *tape)
{
    cr_error err;
    if (cr_tape_forward(tape, &err) != CR_OK) fail_msg("%s", err.message);
}

/* Without gradients: networks may have operators that have none. */
static cr_tape *tape_of(const cr_graph *g, const float *input)
{
    cr_error err;
    cr_tape *tape;
    bool *wanted = calloc(g->tensor_count, sizeof *wanted);
    const cr_tape_options o = {.real = CR_DT_F32, .wanted = wanted};
    if (cr_tape_create(g, &o, &tape, &err) != CR_OK) fail_msg("%s", err.message);
    memcpy(cr_tape_value(tape, g->inputs[0]), input, cr_tensor_bytes(g->inputs[0]));
    forward(tape);
    free(wanted);
    return tape;
}

/* What an optimiser might have done: factors, shifts, weights and biases moved at random. */
static void disturb(const cr_graph *g, cr_tape *tape, cr_rng *rng)
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

static void check_same_recipe(const cr_recipe *a, const cr_recipe *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const cr_qparams *p = &a->entries[i].q, *q = &b->entries[i].q;
        assert_string_equal(a->entries[i].tensor, b->entries[i].tensor);
        assert_int_equal(p->type, q->type);
        assert_int_equal(p->count, q->count);
        assert_memory_equal(p->scale, q->scale, p->count * sizeof *p->scale);
        assert_memory_equal(p->zero_point, q->zero_point, p->count * sizeof *p->zero_point);
    }
}

static void try_network(uint64_t seed)
{
    cr_error err;
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    cr_graph *g = random_net(seed + 9000, true, false);
    const int64_t n = cr_shape_count(&g->inputs[0]->shape);
    float *input = malloc((size_t)n * sizeof *input);
    for (int64_t i = 0; i < n; i++) input[i] = (float)cr_rng_range(&rng, -2, 2);
    tensor_range *ranges = ranges_of(g, input);
    cr_recipe *r = random_recipe(g, seed, ranges), *back;
    cr_fake_quant_options o = cr_fake_quant_options_default();
    cr_fake_quant *q;
    if (cr_fake_quant_create(g, r, &o, &q, &err) != CR_OK) fail_msg("%s", err.message);
    cr_graph *t = cr_fake_quant_graph(q);
    cr_tape *tape = tape_of(t, input);
    check_against(q, tape, g, r, input, seed);
    assert_int_equal(cr_fake_quant_recipe(q, tape, &back, &err), CR_OK);
    check_same_recipe(r, back);
    check_against(q, tape, g, back, input, seed);
    cr_recipe_release(&back);
    disturb(t, tape, &rng);
    forward(tape);
    if (cr_fake_quant_recipe(q, tape, &back, &err) != CR_OK) fail_msg("%s", err.message);
    check_against(q, tape, g, back, input, seed);
    cr_recipe_release(&back);
    cr_tape_free(&tape);
    free(ranges);
    free(input);
    cr_fake_quant_free(&q);
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

static void networks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= NETS; seed++) try_network(seed);
    print_message("%d networks: %ld codes, %ld ties (farthest %.2g steps), floats within %.2g\n",
                  NETS, codes_seen, ties_seen, worst_tie, worst_float);
    assert_true(codes_seen > 1000 * NETS);
    assert_true(ties_seen < codes_seen / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
