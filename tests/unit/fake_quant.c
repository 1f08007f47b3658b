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
#include "unit/rounded_tape.h"

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
    const cr_tensor *seen = cr_fake_quant_find(m->q, c->tensor->name);
    assert_non_null(seen);
    assert_ptr_equal(seen, cr_graph_find(g, c->tensor->name));
    const cr_node *n = seen->producer;
    const cr_tensor *raw = n->op->kind == CR_OP_FakeQuantize ? n->in[0] : seen;
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
    if (cr_reference_layers(applied, r, inputs, &probe, &err) != CR_OK) fail_msg("%s", err.message);
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

/* ---- gradients ---- */

/* A rounding node over random numbers; scales 1, values of a few steps, some of them cut off. */
typedef struct form {
    cr_shape shape;
    int axis;
    int64_t block;
    size_t scales;
    bool sign, shift;
} form;

static const form forms[] = {
    {.shape = {3, {2, 5, 7}}, .axis = -1, .scales = 1, .shift = true},
    {.shape = {4, {3, 2, 5, 5}}, .axis = 0, .scales = 3},
    {.shape = {4, {2, 3, 5, 4}}, .axis = 1, .scales = 3, .shift = true},
    {.shape = {2, {3, 10}}, .axis = 1, .block = 4, .scales = 9},
    {.shape = {4, {2, 5, 2, 3}}, .axis = 1, .block = 2, .scales = 2 * 3 * 6},
    {.shape = {1, {40000}}, .axis = -1, .scales = 1, .shift = true},
    {.shape = {4, {3, 2, 5, 5}}, .axis = 0, .scales = 3, .sign = true},
};
enum { LO = -3, HI = 4, FORMS = sizeof forms / sizeof *forms };

static cr_tensor *list_input(cr_graph *g, const char *name, size_t n)
{
    return graph_input(g, name, shape_of(1, (int)n));
}

/* Inputs in the order x, factor, shift. */
static cr_graph *rounding_graph(const form *f)
{
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", f->shape), *factor = list_input(g, "factor", f->scales);
    cr_tensor *shift = f->shift ? list_input(g, "shift", f->scales) : NULL;
    cr_tensor *scale = cr_graph_new_const(g, "scale", CR_DT_F32, factor->shape);
    cr_tensor *zero = cr_graph_new_const(g, "zero", CR_DT_F32, factor->shape);
    for (size_t i = 0; i < f->scales; i++) {
        ((float *)scale->data)[i] = .25f + .125f * (float)(i % 3);
        ((float *)zero->data)[i] = (float)(i % 2);
    }
    cr_node *n = graph_node(g, CR_OP_FakeQuantize, 1, 5, x, scale, factor, zero, shift);
    attr_int(n, "lo", LO);
    attr_int(n, "hi", HI);
    attr_int(n, "axis", f->axis);
    attr_int(n, "block", f->block);
    attr_int(n, "sign", f->sign);
    attr_float(n, "gradient", .5f);
    graph_output(g, done(n));
    graph_ready(g);
    return g;
}

static cr_tape *rounding_tape(const cr_graph *g, cr_dtype real, cr_pool *pool)
{
    cr_tape *tape;
    cr_error err;
    cr_rng rng;
    bool wanted[16] = {false};
    const cr_tape_options o = {.real = real, .pool = pool, .wanted = wanted};
    for (size_t i = 0; i < g->input_count; i++) wanted[g->inputs[i]->id] = true;
    if (cr_tape_create(g, &o, &tape, &err) != CR_OK) fail_msg("%s", err.message);
    cr_rng_seed(&rng, 7);
    for (size_t i = 0; i < g->input_count; i++) {
        const double most = i == 0 ? 2 : g->inputs[i]->name[0] == 's' ? .3 : .2;
        for (int64_t k = 0; k < cr_shape_count(&g->inputs[i]->shape); k++) {
            const double v = (double)(float)cr_rng_range(&rng, -most, most);
            if (real == CR_DT_F64)
                ((double *)cr_tape_value(tape, g->inputs[i]))[k] = v;
            else
                ((float *)cr_tape_value(tape, g->inputs[i]))[k] = (float)v;
        }
    }
    forward(tape);
    return tape;
}

static double share(int64_t i)
{
    uint64_t s = (uint64_t)i;
    return (double)(float)((double)(cr_splitmix64(&s) >> 40) * 0x1p-23 - 1);
}

static void backward(const cr_graph *g, cr_tape *tape, cr_dtype real)
{
    cr_error err;
    cr_tape_zero(tape);
    for (int64_t i = 0; i < cr_shape_count(&g->outputs[0]->shape); i++)
        if (real == CR_DT_F64)
            ((double *)cr_tape_grad(tape, g->outputs[0]))[i] = share(i);
        else
            ((float *)cr_tape_grad(tape, g->outputs[0]))[i] = (float)share(i);
    if (cr_tape_backward(tape, &err) != CR_OK) fail_msg("%s", err.message);
}

/* The scale that element i of the form has. */
static size_t scale_index(const form *f, int64_t i)
{
    if (f->axis < 0) return 0;
    int64_t inner = 1, length = f->shape.dim[f->axis];
    for (int d = f->axis + 1; d < f->shape.rank; d++) inner *= f->shape.dim[d];
    const int64_t a = i / inner % length, o = i / inner / length;
    if (!f->block) return (size_t)a;
    return (size_t)((o * ((length + f->block - 1) / f->block) + a / f->block) * inner + i % inner);
}

/* What stands in for rounding, as a function of (x, scale, zero point) around a given place (0):
 * what rounding added to the quotient there, in steps, is held; so is on which side of a bound. */
static double stand_in(const form *f, double x0, double s0, double z0, double x, double s, double z)
{
    const double v = x0 / s0, lo = LO - z0, hi = HI - z0;
    if (f->sign) return (x - x0) + (x0 < 0 ? -s : s);
    if (v < lo) return (LO - z) * s;
    if (v > hi) return (HI - z) * s;
    return x + (rint(v) - v) * s;
}

static double scale_of(size_t k, double factor)
{
    return (.25 + .125 * (double)(k % 3)) * exp(factor);
}

/* d loss / d (input `which`, element e) by central differences of the stand-in. */
static double slope_of(const form *f, const double *x, const double *factor, const double *shift,
                       int which, int64_t e)
{
    const double h = 1e-5;
    double sum = 0;
    for (int64_t i = 0; i < cr_shape_count(&f->shape); i++) {
        const size_t k = scale_index(f, i);
        if (which == 0 ? i != e : (int64_t)k != e) continue;
        const double s0 = scale_of(k, factor[k]);
        const double z0 = cr_fake_zero((double)(k % 2), shift ? shift[k] : 0, LO, HI);
        double y[2];
        for (int side = 0; side < 2; side++) {
            const double by = side ? -h : h;
            y[side] = stand_in(f, x[i], s0, z0, x[i] + (which == 0 ? by : 0),
                               which == 1 ? scale_of(k, factor[k] + by) : s0,
                               z0 + (which == 2 ? by * (HI - LO) : 0));
        }
        sum += share(i) * (y[0] - y[1]) / (2 * h);
    }
    return which == 0 ? sum : .5 * sum; /* the node's factor on these */
}

static void check_slopes(const form *f, const cr_graph *g, const cr_tape *tape)
{
    const double *x = cr_tape_value(tape, g->inputs[0]),
                 *factor = cr_tape_value(tape, g->inputs[1]);
    const double *shift = f->shift ? cr_tape_value(tape, g->inputs[2]) : NULL;
    for (int which = 0; which < 2 + f->shift; which++) {
        const double *d = cr_tape_grad(tape, g->inputs[which]);
        const int64_t n = cr_shape_count(&g->inputs[which]->shape);
        for (int64_t e = 0; e<n; e += n> 1000 ? 997 : 1) {
            const double slope = slope_of(f, x, factor, shift, which, e);
            if (!(fabs(slope - d[e]) <= 1e-7 * (1 + fabs(slope)))) /* h^2 and 1e-16 / h, as sums */
                fail_msg("form %td input %d element %lld: %.12g, finite difference %.12g",
                         f - forms, which, (long long)e, d[e], slope);
        }
    }
}

/* float32 against float64 (a code near a tie may differ between them, so values are compared by
 * their gradients' sums alone), one thread against three and the forward against the reference
 * operator, both to the bit. */
static void check_floats(const form *f, const cr_graph *g)
{
    cr_pool *pool;
    cr_error err;
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    cr_tape *one = rounding_tape(g, CR_DT_F32, NULL), *many = rounding_tape(g, CR_DT_F32, pool);
    backward(g, one, CR_DT_F32);
    backward(g, many, CR_DT_F32);
    for (size_t i = 0; i < g->input_count; i++)
        assert_memory_equal(cr_tape_grad(one, g->inputs[i]), cr_tape_grad(many, g->inputs[i]),
                            cr_tensor_bytes(g->inputs[i]));
    const cr_node *n = g->nodes[0];
    cr_tensor copy[6], out = *g->outputs[0];
    const cr_tensor *in[6] = {NULL};
    cr_tensor *outs[1] = {&out};
    for (int i = 0; i < n->n_in; i++) {
        if (!n->in[i]) continue;
        copy[i] = *n->in[i];
        copy[i].data = cr_tape_value(one, n->in[i]);
        in[i] = &copy[i];
    }
    out.data = NULL;
    assert_true(cr_tensor_alloc(&out));
    const cr_op_call call = {n, in, outs, n->n_in, 1};
    assert_int_equal(cr_op_eval(&call, &err), CR_OK);
    assert_memory_equal(out.data, cr_tape_value(one, g->outputs[0]), cr_tensor_bytes(&out));
    cr_tensor_drop_data(&out);
    cr_tape_free(&one);
    cr_tape_free(&many);
    cr_pool_free(&pool);
    (void)f;
}

static void gradients(void **state)
{
    (void)state;
    for (int i = 0; i < FORMS; i++) {
        cr_graph *g = rounding_graph(&forms[i]);
        cr_tape *tape = rounding_tape(g, CR_DT_F64, NULL);
        backward(g, tape, CR_DT_F64);
        check_slopes(&forms[i], g, tape);
        check_floats(&forms[i], g);
        cr_tape_free(&tape);
        cr_graph_free(&g);
    }
}

/* ---- what is learned, and what is joined ---- */

/* x -> conv -> sigmoid, max pooling; joined. Pooling shares its input's entry, sigmoid's is fixed.
 */
static cr_graph *small_net(cr_recipe **r)
{
    cr_rng rng;
    cr_graph *g = graph_new();
    cr_rng_seed(&rng, 3);
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 3, 6, 6));
    cr_tensor *w = const_random(g, &rng, "w", shape_of(4, 4, 3, 1, 1), -1, 1);
    cr_tensor *b = const_random(g, &rng, "b", shape_of(1, 4), -1, 1);
    cr_tensor *y = done(graph_node(g, CR_OP_Conv, 1, 3, x, w, b));
    cr_node *pool = graph_node(g, CR_OP_MaxPool, 1, 1, y);
    attr_ints(g, pool, "kernel_shape", 2, 3, 3);
    attr_ints(g, pool, "pads", 4, 1, 1, 1, 1);
    cr_tensor *p = done(pool), *s = apply1(g, CR_OP_Sigmoid, y);
    cr_node *join = graph_node(g, CR_OP_Concat, 1, 2, p, s);
    attr_int(join, "axis", 1);
    graph_output(g, done(join));
    graph_ready(g);
    assert_int_equal(cr_recipe_create(r, NULL), CR_OK);
    put_entry(*r, "x", false, CR_DT_U8, .01f, 128);
    put_entry(*r, w->name, true, CR_DT_I4, .15f, 0);
    put_entry(*r, y->name, false, CR_DT_U8, .02f, 100);
    put_entry(*r, p->name, false, CR_DT_U8, .02f, 100);
    put_entry(*r, s->name, false, CR_DT_I8, 1.f / 256, -128);
    return g;
}

static bool learns(const cr_fake_quant *q, const cr_tape *tape, const char *name)
{
    const cr_tensor *t = cr_graph_find(cr_fake_quant_graph(q), name);
    return t && cr_tape_grad(tape, t);
}

static void parameters(void **state)
{
    (void)state;
    cr_recipe *r;
    cr_error err;
    cr_graph *g = small_net(&r);
    cr_fake_quant *q;
    cr_tape *tape;
    cr_fake_quant_options o = cr_fake_quant_options_default();
    const cr_tape_options how = {.real = CR_DT_F32};
    assert_int_equal(cr_fake_quant_create(g, r, &o, &q, &err), CR_OK);
    assert_int_equal(cr_tape_create(cr_fake_quant_graph(q), &how, &tape, &err), CR_OK);
    const char *y = g->nodes[0]->out[0]->name, *s = r->entries[4].tensor;
    char name[96];
    assert_true(learns(q, tape, g->nodes[0]->in[1]->name)); /* the weights */
    assert_true(learns(q, tape, g->nodes[0]->in[2]->name)); /* the bias */
    assert_true(learns(q, tape, "x.factor"));
    assert_false(learns(q, tape, "x.shift")); /* in the middle: symmetric */
    snprintf(name, sizeof name, "%s.factor", y);
    assert_true(learns(q, tape, name));
    snprintf(name, sizeof name, "%s.shift", y);
    assert_true(learns(q, tape, name));
    snprintf(name, sizeof name, "%s.factor", s);
    assert_false(learns(q, tape, name)); /* a sigmoid's */
    /* pooling is on its input's grid: no node, the same tensor for its readers */
    assert_ptr_equal(cr_fake_quant_find(q, r->entries[3].tensor),
                     cr_graph_find(cr_fake_quant_graph(q), r->entries[3].tensor));
    cr_tape_free(&tape);
    cr_fake_quant_free(&q);

    /* cut behind the convolution: later entries are not needed, and stay in the recipe */
    const char *const ends[] = {y};
    o.outputs = ends;
    o.output_count = 1;
    o.activation_scales = o.weight_scales = o.zero_points = false;
    assert_int_equal(cr_fake_quant_create(g, r, &o, &q, &err), CR_OK);
    assert_int_equal(cr_tape_create(cr_fake_quant_graph(q), &how, &tape, &err), CR_OK);
    assert_int_equal(cr_fake_quant_graph(q)->output_count, 1);
    assert_ptr_equal(cr_fake_quant_graph(q)->outputs[0], cr_fake_quant_find(q, y));
    assert_false(learns(q, tape, "x.factor"));
    assert_true(learns(q, tape, g->nodes[0]->in[1]->name));
    cr_recipe *back;
    assert_int_equal(cr_fake_quant_recipe(q, tape, &back, &err), CR_OK);
    check_same_recipe(r, back);
    cr_recipe_release(&back);
    cr_tape_free(&tape);
    cr_fake_quant_free(&q);

    o.outputs = (const char *const[]){"nowhere"};
    assert_int_equal(cr_fake_quant_create(g, r, &o, &q, &err), CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "'nowhere'"));
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

/* Ranges follow what is seen while they are observed, and stay when they are not. */
static void observing(void **state)
{
    (void)state;
    cr_recipe *r, *back;
    cr_error err;
    cr_graph *g = small_net(&r);
    cr_fake_quant *q;
    cr_fake_quant_options o = cr_fake_quant_options_default();
    o.observe = true;
    assert_int_equal(cr_fake_quant_create(g, r, &o, &q, &err), CR_OK);
    float x[3 * 36] = {[0] = -.5f, [1] = 2, [50] = 1};
    cr_tape *tape = tape_of(cr_fake_quant_graph(q), x);
    cr_fake_quant_observe(q, tape, .5);
    float *input = cr_tape_value(tape, cr_fake_quant_graph(q)->inputs[0]);
    input[0] = -1;
    input[1] = 4;
    forward(tape);
    cr_fake_quant_observe(q, tape, .5);
    input[1] = 100;
    forward(tape); /* frozen */
    assert_int_equal(cr_fake_quant_recipe(q, tape, &back, &err), CR_OK);
    const cr_qparams *p = &back->entries[0].q;
    assert_true(p->scale[0] == 3.f / 127 && p->zero_point[0] == 128); /* symmetric: (2 + 4) / 2 */
    const cr_qparams *y = &back->entries[2].q, *pooled = &back->entries[3].q;
    assert_true(y->scale[0] != .02f && y->scale[0] == pooled->scale[0]);
    assert_true(y->zero_point[0] > 0 && y->zero_point[0] == pooled->zero_point[0]);
    assert_true(back->entries[4].q.scale[0] == 1.f / 256); /* a sigmoid's */
    cr_recipe_release(&back);
    cr_tape_free(&tape);
    cr_fake_quant_free(&q);
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks),
        cmocka_unit_test(gradients),
        cmocka_unit_test(parameters),
        cmocka_unit_test(observing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
