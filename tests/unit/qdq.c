/* import(export(g, r)) == (g, r): random networks with random recipes are written as ONNX with Q/DQ
 * pairs, read, prepared and taken apart again. The graph comes back with the same nodes, names and
 * shapes, weights to within their codes; the recipe with the same bits; and both compute the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crayon/arith.h"
#include "onnx/onnx.h"
#include "onnx/qdq.h"
#include "ops/ref.h"
#include "unit/random_recipe.h"

enum { NETS = 150 };

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CR_OK) fail_msg("%s: %s", #call, err.message);                               \
    } while (0)

/* ---- there and back ---- */

static cr_graph *through_onnx(const cr_graph *g, int opset)
{
    cr_error err;
    unsigned char *bytes;
    size_t size;
    cr_graph *back;
    const cr_onnx_write_options w = {.opset = opset};
    OK(cr_onnx_serialize(g, &w, &bytes, &size, &err));
    OK(cr_onnx_parse(bytes, size, NULL, "memory", &(cr_onnx_options){0}, &back, &err));
    cr_free(bytes);
    OK(cr_graph_prepare(back, cr_op_run, &err));
    return back;
}

static cr_graph *there_and_back(const cr_graph *g, const cr_recipe *r, int opset, cr_recipe **found)
{
    cr_error err;
    cr_graph *qdq;
    OK(cr_qdq_write(g, r, &qdq, &err));
    cr_graph *back = through_onnx(qdq, opset);
    cr_graph_free(&qdq);
    OK(cr_qdq_read(back, found, &err));
    OK(cr_graph_infer(back, &err));
    return back;
}

static void see_range(void *user, const cr_view *v)
{
    tensor_range *r = (tensor_range *)user + v->tensor->id;
    for (int64_t i = 0; i < v->cols; i++) {
        const float x = ((const float *)v->data)[i];
        r->lo = x < r->lo ? x : r->lo;
        r->hi = x > r->hi ? x : r->hi;
    }
}

static void run_graph(const cr_graph *g, const cr_recipe *r, tensor_range *ranges, cr_tensor *out)
{
    cr_error err;
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    const int64_t n = cr_shape_count(&g->inputs[0]->shape);
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)cr_rng_range(&rng, -2, 2);
    const float *const inputs[1] = {x};
    const cr_observer o = {see_range, ranges};
    memset(out, 0, GRAPH_IO * sizeof *out);
    OK(cr_reference_run(g, r, inputs, out, ranges ? &o : NULL, &err));
    free(x);
}

static void drop_outputs(const cr_graph *g, cr_tensor *out)
{
    for (size_t i = 0; i < g->output_count; i++) cr_tensor_drop_data(&out[i]);
}

/* ---- comparisons ---- */

static void same_weight(const cr_recipe *r, const cr_tensor *a, const cr_tensor *b)
{
    assert_int_equal(a->dtype, b->dtype);
    assert_true(cr_shape_equal(&a->shape, &b->shape));
    const cr_recipe_entry *e = recipe_entry(r, a);
    if (!e) return; /* biases are rounded; same_function looks at them */
    const int64_t n = cr_shape_count(&a->shape);
    float *want = malloc((size_t)n * sizeof *want);
    cr_fake_quantize(a, &e->q, want);
    assert_memory_equal(want, b->data, (size_t)n * sizeof *want);
    free(want);
}

static void same_tensor(const cr_recipe *r, const cr_tensor *a, const cr_tensor *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (!a) return;
    assert_int_equal(a->data == NULL, b->data == NULL);
    if (a->data) {
        same_weight(r, a, b);
        return;
    }
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->dtype, b->dtype);
    assert_true(cr_shape_equal(&a->shape, &b->shape));
}

/* The node that writes a tensor of that name: the order among independent nodes may differ. */
static const cr_node *writer_of(const cr_graph *g, const char *name)
{
    const cr_tensor *t = cr_graph_find(g, name);
    if (!t || !t->producer) fail_msg("nobody writes '%s'", name);
    return t->producer;
}

static void same_graph(const cr_graph *a, const cr_recipe *r, const cr_graph *b)
{
    assert_int_equal(a->node_count, b->node_count);
    for (size_t i = 0; i < a->node_count; i++) {
        const cr_node *x = a->nodes[i], *y = writer_of(b, x->out[0]->name);
        if (x->op != y->op) fail_msg("node '%s' became %s", x->name, y->op->name);
        for (int k = 0; k < x->n_in || k < y->n_in; k++)
            same_tensor(r, k < x->n_in ? x->in[k] : NULL, k < y->n_in ? y->in[k] : NULL);
        for (int k = 0; k < x->n_out; k++) same_tensor(r, x->out[k], y->out[k]);
    }
    assert_int_equal(a->output_count, b->output_count);
    for (size_t i = 0; i < a->output_count; i++)
        assert_string_equal(a->outputs[i]->name, b->outputs[i]->name);
}

static void same_recipe(const cr_recipe *a, const cr_recipe *b)
{
    assert_non_null(b);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const cr_recipe_entry *x = &a->entries[i];
        const cr_tensor name = {.name = x->tensor};
        const cr_recipe_entry *y = recipe_entry(b, &name);
        if (!y) fail_msg("the entry of '%s' is lost", x->tensor);
        assert_int_equal(x->is_weight, y->is_weight);
        if (x->q.type != y->q.type && (x->q.type != CR_DT_I2 || y->q.type != CR_DT_I1))
            fail_msg("'%s': %s became %s", x->tensor, cr_dtype_key(x->q.type),
                     cr_dtype_key(y->q.type)); /* few codes of int2 may happen to be binary */
        assert_int_equal(x->q.count, y->q.count);
        if (x->q.count > 1) assert_int_equal(x->q.axis, y->q.axis);
        if (x->q.count > 1) assert_int_equal(x->q.block, y->q.block);
        assert_memory_equal(x->q.scale, y->q.scale, x->q.count * sizeof *x->q.scale);
        assert_memory_equal(x->q.zero_point, y->q.zero_point, x->q.count * sizeof *x->q.zero_point);
    }
}

static void same_function(const cr_graph *a, const cr_recipe *ra, const cr_graph *b,
                          const cr_recipe *rb)
{
    cr_tensor ya[GRAPH_IO], yb[GRAPH_IO];
    run_graph(a, ra, NULL, ya);
    run_graph(b, rb, NULL, yb);
    for (size_t i = 0; i < a->output_count; i++) {
        assert_true(cr_shape_equal(&ya[i].shape, &yb[i].shape));
        for (int64_t k = 0; k < cr_shape_count(&ya[i].shape); k++)
            if (cr_tensor_get_f64(&ya[i], (size_t)k) != cr_tensor_get_f64(&yb[i], (size_t)k))
                fail_msg("output '%s' differs at %lld", a->outputs[i]->name, (long long)k);
    }
    drop_outputs(a, ya);
    drop_outputs(b, yb);
}

/* Below opset 24 the file has no Swish with a factor; it comes back as the three nodes that say so.
 */
static void plain_swish(cr_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == CR_OP_Swish && g->nodes[i]->n_attrs)
            g->nodes[i]->attrs[0].f = 1;
}

/* Between two graph outputs a no-op stays; with an entry behind it, it comes back as two
 * Identities. Such networks compute the same, but are not the same. */
static bool names_only(const cr_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == CR_OP_Concat && g->nodes[i]->n_in == 1) return true;
    return false;
}

/* The lowest opset that says the recipe and every operator: GridSample came with 16. */
static int least_opset(const cr_graph *g, const cr_recipe *r)
{
    int least = cr_qdq_opset(r);
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == CR_OP_GridSample && least < 16) least = 16;
    return least;
}

static void random_networks(void **state)
{
    (void)state;
    cr_error err;
    int entries = 0, equal = 0;
    any_weights = true;
    for (uint64_t seed = 1; seed <= NETS; seed++) {
        cr_graph *g = random_net(seed + 9000, true, seed % 4 == 0);
        plain_swish(g);
        OK(cr_graph_prepare(g, cr_op_run, &err));
        tensor_range *ranges = calloc(g->tensor_count, sizeof *ranges);
        cr_tensor out[GRAPH_IO];
        run_graph(g, NULL, ranges, out);
        drop_outputs(g, out);
        cr_recipe *r = random_recipe(g, seed, ranges), *found;
        const int least = least_opset(g, r), opset = seed % 3 == 0 && least < 22 ? 22 : least;
        cr_graph *back = there_and_back(g, r, opset, &found);
        entries += (int)r->count;
        if (!names_only(g)) {
            same_graph(g, r, back);
            same_recipe(r, found);
            equal++;
        }
        same_function(g, r, back, found);
        free(ranges);
        cr_recipe_release(&r);
        cr_recipe_release(&found);
        cr_graph_free(&back);
        cr_graph_free(&g);
    }
    print_message("seeds 9001 to %d, %d entries, %d equal graphs\n", 9000 + NETS, entries, equal);
    assert_true(equal > NETS * 9 / 10);
}

/* ---- single cases ---- */

static void opsets(void **state)
{
    (void)state;
    static const cr_dtype types[] = {CR_DT_U8, CR_DT_I8, CR_DT_U16, CR_DT_I16, CR_DT_U4,
                                     CR_DT_I4, CR_DT_U2, CR_DT_I2,  CR_DT_I1};
    static const int want[] = {13, 13, 21, 21, 21, 21, 25, 25, 25};
    float s = 1;
    int32_t z = 0;
    assert_int_equal(cr_qdq_opset(NULL), 13);
    for (int i = 0; i < 10; i++) { /* the last one: int8 in blocks */
        const cr_qparams q = {i < 9 ? types[i] : CR_DT_I8, i < 9 ? -1 : 0, 1, &s, &z,
                              .block = i < 9 ? 0 : 32};
        cr_recipe *r;
        cr_error err;
        OK(cr_recipe_create(&r, &err));
        OK(cr_recipe_add(r, "t", true, &q, "", &err));
        assert_int_equal(cr_qdq_opset(r), i < 9 ? want[i] : 21);
        cr_recipe_release(&r);
    }
}

static cr_tensor *scalar_code(cr_graph *g, cr_dtype type, int value)
{
    cr_tensor *z = cr_graph_new_const(g, "zero", type, shape_of(0));
    *(uint8_t *)z->data = (uint8_t)value;
    return z;
}

static cr_tensor *pair(cr_graph *g, cr_tensor *x, float q_scale, float dq_scale)
{
    cr_tensor *z = scalar_code(g, CR_DT_U8, 7), *s = cr_graph_const_f32(g, "scale", q_scale);
    cr_tensor *q = done(graph_node(g, CR_OP_QuantizeLinear, 1, 3, x, s, z));
    if (dq_scale != q_scale) s = cr_graph_const_f32(g, "scale", dq_scale);
    return done(graph_node(g, CR_OP_DequantizeLinear, 1, 3, q, s, z));
}

/* Takes the pairs out and checks that the graph computes what it did with them. */
static cr_recipe *take_apart(cr_graph *g)
{
    cr_error err;
    cr_graph *before;
    cr_recipe *r;
    graph_ready(g);
    OK(cr_graph_clone(g, &before, &err));
    OK(cr_qdq_read(g, &r, &err));
    same_function(before, NULL, g, r);
    cr_graph_free(&before);
    return r;
}

static size_t count_of(const cr_graph *g, cr_op_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < g->node_count; i++) n += g->nodes[i]->op->kind == kind;
    return n;
}

static void float_and_quantized_readers(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(2, 3, 4)), *t = apply1(g, CR_OP_Relu, x);
    graph_output(g, apply1(g, CR_OP_Neg, pair(g, t, .01f, .01f)));
    graph_output(g, apply1(g, CR_OP_Abs, t));
    cr_recipe *r = take_apart(g);
    assert_int_equal(g->node_count, 4); /* Relu, Identity, Neg, Abs */
    assert_int_equal(count_of(g, CR_OP_Identity), 1);
    assert_int_equal(r->count, 1);
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == CR_OP_Identity)
            assert_string_equal(r->entries[0].tensor, g->nodes[i]->out[0]->name);
    cr_recipe *found; /* preparing removes the Identity, reading puts another one there */
    cr_graph *back = there_and_back(g, r, 13, &found);
    assert_int_equal(back->node_count, 4);
    assert_int_equal(found->count, 1);
    same_function(g, r, back, found);
    cr_recipe_release(&found);
    cr_graph_free(&back);
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

/* Two Q nodes with different scales on one tensor: each has its own entry. */
static void two_pairs(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *t = apply1(g, CR_OP_Relu, graph_input(g, "x", shape_of(2, 3, 4)));
    graph_output(g, apply1(g, CR_OP_Neg, pair(g, t, .01f, .01f)));
    graph_output(g, apply1(g, CR_OP_Abs, pair(g, t, .5f, .5f)));
    cr_recipe *r = take_apart(g);
    assert_int_equal(r->count, 2);
    assert_int_equal(count_of(g, CR_OP_QuantizeLinear) + count_of(g, CR_OP_DequantizeLinear), 0);
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

/* A pair whose halves differ is arithmetic, not quantization: it stays. */
static void pairs_that_differ(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *t = apply1(g, CR_OP_Relu, graph_input(g, "x", shape_of(2, 3, 4)));
    graph_output(g, apply1(g, CR_OP_Neg, pair(g, t, .01f, .02f)));
    cr_recipe *r = take_apart(g);
    assert_null(r);
    assert_int_equal(g->node_count, 4);
    cr_graph_free(&g);
}

/* Behind a pair lies a graph output; the quantized tensor takes its name. And codes as an output.
 */
static void pairs_at_outputs(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(2, 3, 4));
    cr_tensor *y = pair(g, apply1(g, CR_OP_Relu, x), .01f, .01f);
    graph_output(g, y);
    cr_recipe *r = take_apart(g);
    assert_int_equal(r->count, 1);
    assert_int_equal(g->node_count, 1);
    assert_string_equal(g->outputs[0]->name, y->name);
    assert_non_null(recipe_entry(r, g->outputs[0]));
    cr_recipe_release(&r);
    cr_graph_free(&g);

    g = graph_new(); /* from input to output: both names must stay */
    x = graph_input(g, "x", shape_of(2, 3, 4));
    graph_output(g, pair(g, x, .5f, .5f));
    r = take_apart(g);
    assert_int_equal(g->node_count, 1);
    assert_int_equal(count_of(g, CR_OP_Identity), 1);
    assert_non_null(recipe_entry(r, g->inputs[0]));
    cr_recipe_release(&r);
    cr_graph_free(&g);

    g = graph_new();
    x = graph_input(g, "x", shape_of(2, 3, 4));
    y = pair(g, apply1(g, CR_OP_Relu, x), .01f, .01f);
    graph_output(g, y);
    graph_output(g, g->nodes[1]->out[0]); /* the codes */
    r = take_apart(g);
    assert_null(r);
    cr_graph_free(&g);
}

static void scales_that_are_computed(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(2, 3, 4));
    cr_node *max = graph_node(g, CR_OP_ReduceMax, 1, 1, x);
    attr_int(max, "keepdims", 0);
    cr_tensor *s = done(max);
    cr_tensor *z = scalar_code(g, CR_DT_U8, 7);
    cr_tensor *q = done(graph_node(g, CR_OP_QuantizeLinear, 1, 3, x, s, z));
    graph_output(g, done(graph_node(g, CR_OP_DequantizeLinear, 1, 3, q, s, z)));
    cr_recipe *r = take_apart(g);
    assert_null(r);
    assert_int_equal(g->node_count, 3);
    cr_graph_free(&g);
}

/* A constant behind DQ becomes a weight; int32 is a bias and needs no entry. */
static void constants(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(2, 3, 4));
    cr_tensor *w = cr_graph_new_const(g, "w", CR_DT_I8, shape_of(2, 3, 4));
    for (int i = 0; i < 12; i++) ((int8_t *)w->data)[i] = (int8_t)(11 * i - 60);
    cr_tensor *scales = cr_graph_new_const(g, "s", CR_DT_F32, shape_of(1, 4));
    for (int i = 0; i < 4; i++) ((float *)scales->data)[i] = .1f * (float)(i + 1);
    cr_node *dq = graph_node(g, CR_OP_DequantizeLinear, 1, 2, w, scales);
    attr_int(dq, "axis", -1);
    cr_tensor *b = cr_graph_new_const(g, "b", CR_DT_I32, shape_of(1, 1));
    *(int32_t *)b->data = 1000000001;
    cr_tensor *bias =
        done(graph_node(g, CR_OP_DequantizeLinear, 1, 2, b, cr_graph_const_f32(g, "s", 1e-9f)));
    graph_output(g, apply2(g, CR_OP_Add, apply2(g, CR_OP_Mul, x, done(dq)), bias));
    cr_recipe *r = take_apart(g);
    assert_int_equal(g->node_count, 2);
    assert_int_equal(r->count, 1);
    assert_true(r->entries[0].is_weight);
    assert_int_equal(r->entries[0].q.axis, 1);
    assert_int_equal(r->entries[0].q.count, 4);
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_networks),
        cmocka_unit_test(opsets),
        cmocka_unit_test(float_and_quantized_readers),
        cmocka_unit_test(two_pairs),
        cmocka_unit_test(pairs_that_differ),
        cmocka_unit_test(pairs_at_outputs),
        cmocka_unit_test(scales_that_are_computed),
        cmocka_unit_test(constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
