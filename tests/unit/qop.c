/* import(export(g, r)) == (g, r) for files of integer operators, as qdq.c tests it for pairs; and each
 * operator by itself: it is written, means what the recipe says, and comes back. */
#include "crayon/arith.h"
#include "onnx/qop.h"
#include "onnx/slim.h"
#include "unit/same_net.h"

enum { NETS = 150 };

static size_t count_of(const cr_graph *g, cr_op_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < g->node_count; i++) n += g->nodes[i]->op->kind == kind;
    return n;
}

static cr_graph *written(const cr_graph *g, const cr_recipe *r)
{
    cr_error err;
    cr_graph *q;
    OK(cr_qop_write(g, r, &q, &err));
    OK(cr_onnx_slim(q, &err));
    return q;
}

static cr_graph *there_and_back(const cr_graph *g, const cr_recipe *r, int opset, cr_recipe **found)
{
    cr_error err;
    cr_graph *q = written(g, r);
    cr_graph *back = through_onnx(q, opset);
    cr_graph_free(&q);
    OK(cr_qdq_read(back, found, &err));
    OK(cr_graph_infer(back, &err));
    return back;
}

static bool is_integer(const cr_node *n)
{
    return n->op->domain[0] || n->op->kind == CR_OP_QLinearConv ||
           n->op->kind == CR_OP_QLinearMatMul;
}

/* Every activation has an entry, most of them unsigned bytes: nothing but integers. */
static void fill_recipe(const cr_graph *g, cr_recipe *r, const tensor_range *ranges)
{
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *t = g->tensors[i];
        if (t->data || !can_quantize(t) || recipe_has(r, t)) continue;
        const float scale = (ranges[i].hi - ranges[i].lo) / 255 + 1e-6f;
        const int32_t zero = cr_quantize_value(-ranges[i].lo, scale, 0, 0, 255);
        add_entry(r, t, &(cr_qparams){CR_DT_U8, -1, 1, (float[]){scale}, (int32_t[]){zero}});
    }
}

static void random_networks(void **state)
{
    (void)state;
    cr_error err;
    int equal = 0;
    size_t integer = 0, seen[CR_OP_COUNT] = {0};
    any_weights = true;
    for (uint64_t seed = 1; seed <= NETS; seed++) {
        cr_graph *g = random_net(seed + 7000, true, seed % 4 == 0);
        plain_swish(g);
        OK(cr_graph_prepare(g, cr_op_run, &err));
        tensor_range *ranges = calloc(g->tensor_count, sizeof *ranges);
        cr_tensor out[GRAPH_IO];
        run_graph(g, NULL, ranges, out);
        drop_outputs(g, out);
        cr_recipe *r = random_recipe(g, seed, ranges), *found;
        if (seed % 2) fill_recipe(g, r, ranges);
        cr_graph *q = written(g, r);
        for (size_t i = 0; i < q->node_count; i++) {
            integer += is_integer(q->nodes[i]);
            seen[q->nodes[i]->op->kind]++;
        }
        cr_graph_free(&q);
        cr_graph *back = there_and_back(g, r, least_opset(g, r), &found);
        if (!names_only(g) && back->node_count == g->node_count) { /* else a ReLU went */
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
    print_message("seeds 7001 to %d, %zu integer operators, %d equal graphs\n", 7000 + NETS, integer,
                  equal);
    assert_true(equal > NETS * 8 / 10);
    assert_true(seen[CR_OP_QLinearConv] > 10);
    assert_true(seen[CR_OP_QLinearAdd] && seen[CR_OP_QLinearMul] && seen[CR_OP_QLinearConcat]);
}

/* ---- each operator ---- */

static void entry(cr_recipe *r, const cr_tensor *t, cr_dtype type, float scale, int32_t zero)
{
    add_entry(r, t, &(cr_qparams){type, -1, 1, &scale, &zero});
}

static void weights(cr_recipe *r, cr_tensor *w, int axis)
{
    const int64_t n = axis < 0 ? 1 : w->shape.dim[axis], count = cr_shape_count(&w->shape);
    float scale[16];
    int32_t zero[16] = {0};
    for (int64_t i = 0; i < count; i++) ((float *)w->data)[i] = .01f * (float)((i * 37) % 101 - 50);
    for (int64_t i = 0; i < n; i++) scale[i] = .004f + .0003f * (float)i;
    add_entry(r, w, &(cr_qparams){CR_DT_I8, axis, (size_t)n, scale, zero});
}

/* The largest difference of the outputs of two networks. */
static float difference(const cr_graph *a, const cr_recipe *ra, const cr_graph *b)
{
    cr_tensor ya[GRAPH_IO], yb[GRAPH_IO];
    float worst = 0;
    run_graph(a, ra, NULL, ya);
    run_graph(b, NULL, NULL, yb);
    for (int64_t i = 0; i < cr_shape_count(&ya[0].shape); i++) {
        const float d = fabsf(((float *)ya[0].data)[i] - ((float *)yb[0].data)[i]);
        worst = d > worst ? d : worst;
    }
    drop_outputs(a, ya);
    drop_outputs(b, yb);
    return worst;
}

/* `kind` is in the file `times` times and the graph is nothing but integers between its ends; run by
 * the reference it differs by no more than a step of the output (ties: sums of scaled codes are
 * rounded in another order); it comes back as it was. */
static void one_operator(cr_graph *g, cr_recipe *r, cr_op_kind kind, size_t times, float step)
{
    cr_error err;
    cr_recipe *found;
    graph_ready(g);
    cr_graph *q = written(g, r);
    OK(cr_graph_infer(q, &err));
    if (count_of(q, kind) != times) fail_msg("%zu %s", count_of(q, kind), cr_op_get(kind)->name);
    const float worst = difference(g, r, q);
    if (worst > step * 1.001f) fail_msg("%s: off by %g", cr_op_get(kind)->name, (double)worst);
    cr_graph_free(&q);
    cr_graph *back = there_and_back(g, r, 13, &found);
    same_graph(g, r, back);
    same_recipe(r, found);
    cr_recipe_release(&found);
    cr_graph_free(&back);
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

static cr_recipe *new_recipe(void)
{
    cr_error err;
    cr_recipe *r;
    OK(cr_recipe_create(&r, &err));
    return r;
}

static void convolutions(void **state)
{
    (void)state;
    for (int with_output = 0; with_output < 2; with_output++) { /* a float result stays float */
        cr_graph *g = graph_new();
        cr_recipe *r = new_recipe();
        cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, 5, 5));
        cr_tensor *w = cr_graph_new_const(g, "w", CR_DT_F32, shape_of(4, 6, 4, 3, 3));
        cr_tensor *b = cr_graph_new_const(g, "b", CR_DT_F32, shape_of(1, 6));
        for (int i = 0; i < 6; i++) ((float *)b->data)[i] = .1f * (float)i;
        cr_tensor *y = done(graph_node(g, CR_OP_Conv, 1, 3, x, w, b));
        graph_output(g, apply1(g, CR_OP_Neg, y));
        entry(r, x, CR_DT_U8, 4 / 255.f, 128);
        weights(r, w, 0);
        if (with_output) entry(r, y, CR_DT_U8, .05f, 120);
        one_operator(g, r, CR_OP_QLinearConv, (size_t)with_output, with_output ? .05f : 1e-5f);
    }
}

static void products(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_recipe *r = new_recipe();
    cr_tensor *x = graph_input(g, "x", shape_of(2, 5, 7));
    cr_tensor *w = cr_graph_new_const(g, "w", CR_DT_F32, shape_of(2, 7, 6));
    cr_tensor *y = apply2(g, CR_OP_MatMul, x, w);
    graph_output(g, apply1(g, CR_OP_Neg, y));
    entry(r, x, CR_DT_U8, 4 / 255.f, 128);
    weights(r, w, 1);
    entry(r, y, CR_DT_U8, .03f, 120);
    one_operator(g, r, CR_OP_QLinearMatMul, 1, .03f);
}

static void one_operand(void **state)
{
    (void)state;
    static const cr_op_kind kinds[][2] = {{CR_OP_Sigmoid, CR_OP_QLinearSigmoid},
                                          {CR_OP_LeakyRelu, CR_OP_QLinearLeakyRelu},
                                          {CR_OP_Softmax, CR_OP_QLinearSoftmax},
                                          {CR_OP_GlobalAveragePool, CR_OP_QLinearGlobalAveragePool}};
    for (int i = 0; i < 4; i++)
        for (int is_signed = 0; is_signed < 2; is_signed++) {
            const cr_dtype type = is_signed ? CR_DT_I8 : CR_DT_U8;
            cr_graph *g = graph_new();
            cr_recipe *r = new_recipe();
            cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, 5, 5));
            cr_tensor *y = apply1(g, kinds[i][0], x);
            graph_output(g, apply1(g, CR_OP_Neg, y));
            entry(r, x, type, 4 / 255.f, is_signed ? 0 : 128);
            entry(r, y, type, .01f, is_signed ? -28 : 100);
            one_operator(g, r, kinds[i][1], 1, .01f);
        }
}

static void two_operands(void **state)
{
    (void)state;
    static const cr_op_kind kinds[][2] = {{CR_OP_Add, CR_OP_QLinearAdd},
                                          {CR_OP_Mul, CR_OP_QLinearMul},
                                          {CR_OP_Concat, CR_OP_QLinearConcat}};
    for (int i = 0; i < 3; i++) {
        cr_graph *g = graph_new();
        cr_recipe *r = new_recipe();
        cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, 5, 5));
        cr_tensor *a = apply1(g, CR_OP_Sin, x), *b = apply1(g, CR_OP_Cos, x);
        cr_node *n = graph_node(g, kinds[i][0], 1, 2, a, b);
        if (i == 2) attr_int(n, "axis", 1);
        cr_tensor *y = done(n);
        graph_output(g, apply1(g, CR_OP_Neg, y));
        entry(r, a, CR_DT_U8, 2 / 255.f, 128);
        entry(r, b, CR_DT_U8, 2 / 250.f, 125);
        entry(r, y, CR_DT_U8, 4 / 255.f, 128);
        one_operator(g, r, kinds[i][1], 1, 4 / 255.f);
    }
}

/* What goes through unchanged runs on codes: no pair is left around it. */
static void moves(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_recipe *r = new_recipe();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, 5, 5));
    cr_tensor *y = apply1(g, CR_OP_Transpose, x), *z = apply1(g, CR_OP_Flatten, y);
    graph_output(g, apply1(g, CR_OP_Neg, z));
    entry(r, x, CR_DT_U8, 4 / 255.f, 128);
    entry(r, y, CR_DT_U8, 4 / 255.f, 128);
    entry(r, z, CR_DT_U8, 4 / 255.f, 128);
    one_operator(g, r, CR_OP_DequantizeLinear, 1, 0);
}

/* Rounding cuts at zero: the ReLU in front of it goes. */
static void idle_relu(void **state)
{
    (void)state;
    for (int32_t zero = 0; zero < 2; zero++) {
        cr_error err;
        cr_graph *g = graph_new();
        cr_recipe *r = new_recipe(), *found;
        cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, 5, 5));
        cr_tensor *w = cr_graph_new_const(g, "w", CR_DT_F32, shape_of(4, 6, 4, 3, 3));
        cr_tensor *y = apply1(g, CR_OP_Relu, done(graph_node(g, CR_OP_Conv, 1, 2, x, w)));
        graph_output(g, apply1(g, CR_OP_Neg, y));
        entry(r, x, CR_DT_U8, 4 / 255.f, 128);
        weights(r, w, 0);
        entry(r, y, CR_DT_U8, .02f, zero);
        graph_ready(g);
        cr_graph *q = written(g, r);
        OK(cr_graph_infer(q, &err));
        assert_int_equal(count_of(q, CR_OP_Relu), zero != 0);
        assert_int_equal(count_of(q, CR_OP_QLinearConv), zero == 0);
        assert_true(difference(g, r, q) <= .02001f);
        cr_graph *back = there_and_back(g, r, 13, &found);
        same_function(g, r, back, found);
        cr_recipe_release(&found);
        cr_recipe_release(&r);
        cr_graph_free(&back);
        cr_graph_free(&q);
        cr_graph_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_networks), cmocka_unit_test(convolutions),
        cmocka_unit_test(products),        cmocka_unit_test(one_operand),
        cmocka_unit_test(two_operands),    cmocka_unit_test(moves),
        cmocka_unit_test(idle_relu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
