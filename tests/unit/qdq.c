/* import(export(g, r)) == (g, r): random networks with random recipes are written as ONNX with Q/DQ
 * pairs, read, prepared and taken apart again. The graph comes back with the same nodes, names and
 * shapes, weights to within their codes; the recipe with the same bits; and both compute the same.
 */
#include "onnx/qdq.h"
#include "onnx/slim.h"
#include "unit/same_net.h"

enum { NETS = 150 };

/* ---- there and back ---- */

static cr_graph *there_and_back(const cr_graph *g, const cr_recipe *r, int opset, cr_recipe **found)
{
    cr_error err;
    cr_graph *qdq;
    OK(cr_qdq_write(g, r, &qdq, &err));
    OK(cr_onnx_slim(qdq, &err));
    cr_graph *back = through_onnx(qdq, opset);
    cr_graph_free(&qdq);
    OK(cr_qdq_read(back, found, &err));
    OK(cr_graph_infer(back, &err));
    return back;
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
