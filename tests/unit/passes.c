/* The passes: each leaves a graph that computes the same function, with the nodes that it promises.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "graph/infer_all.h"
#include "ops/ref.h"
#include "unit/random_recipe.h"

static void prepare(cr_graph *g)
{
    cr_error err;
    if (cr_graph_prepare(g, cr_op_run, &err) != CR_OK) fail_msg("prepare: %s", err.message);
}

static cr_graph *copy_of(const cr_graph *g)
{
    cr_error err;
    cr_graph *copy;
    if (cr_graph_clone(g, &copy, &err) != CR_OK) fail_msg("clone: %s", err.message);
    return copy;
}

static size_t count_of(const cr_graph *g, cr_op_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < g->node_count; i++) n += g->nodes[i]->op->kind == kind;
    return n;
}

static void run_graph(const cr_graph *g, const float *x, cr_tensor *out)
{
    cr_error err;
    const float *const inputs[1] = {x};
    memset(out, 0, GRAPH_IO * sizeof *out);
    if (cr_reference_run(g, NULL, inputs, out, NULL, &err) != CR_OK) fail_msg("%s", err.message);
}

/* Both graphs on the same random input; outputs within `tolerance` of the largest value. */
static void same_function(const cr_graph *a, const cr_graph *b, double tolerance)
{
    cr_tensor ya[GRAPH_IO], yb[GRAPH_IO];
    cr_rng r;
    cr_rng_seed(&r, 11);
    const int64_t n = cr_shape_count(&a->inputs[0]->shape);
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)cr_rng_range(&r, -5, 5);
    run_graph(a, x, ya);
    run_graph(b, x, yb);
    assert_int_equal(a->output_count, b->output_count);
    for (size_t i = 0; i < a->output_count; i++) {
        assert_string_equal(a->outputs[i]->name, b->outputs[i]->name);
        assert_true(cr_shape_equal(&ya[i].shape, &yb[i].shape));
        assert_int_equal(ya[i].dtype, yb[i].dtype);
        double largest = 1e-6, gap = 0;
        for (int64_t k = 0; k < cr_shape_count(&ya[i].shape); k++) {
            const double u = cr_tensor_get_f64(&ya[i], (size_t)k);
            largest = fmax(largest, fabs(u));
            gap = fmax(gap, fabs(u - cr_tensor_get_f64(&yb[i], (size_t)k)));
        }
        if (gap > tolerance * largest) fail_msg("'%s' differs by %g", a->outputs[i]->name, gap);
        cr_tensor_drop_data(&ya[i]);
        cr_tensor_drop_data(&yb[i]);
    }
    free(x);
}

/* ---- folding ---- */

static cr_tensor *gather_dim(cr_graph *g, cr_tensor *shape, int index)
{
    cr_tensor *at = cr_graph_new_const(g, "index", CR_DT_I64, shape_of(0));
    *(int64_t *)at->data = index;
    cr_tensor *dim = apply2(g, CR_OP_Gather, shape, at);
    return apply2(g, CR_OP_Unsqueeze, dim, const_ints(g, 1, 0));
}

static void shape_chains_vanish(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 2, 8, 6, 5));
    cr_tensor *shape = apply1(g, CR_OP_Shape, x);
    cr_tensor *half = apply2(g, CR_OP_Div, gather_dim(g, shape, 1), const_ints(g, 1, 2));
    cr_node *concat =
        graph_node(g, CR_OP_Concat, 1, 3, gather_dim(g, shape, 0), half, const_ints(g, 1, -1));
    attr_int(concat, "axis", 0);
    cr_tensor *y = apply2(g, CR_OP_Reshape, x, done(concat));
    graph_output(g, y);
    assert_false(cr_shape_known(&y->shape));
    cr_error err;
    assert_int_equal(cr_graph_index(g, &err), CR_OK);
    cr_graph *before = copy_of(g);
    prepare(g);
    assert_int_equal(g->node_count, 1);
    assert_int_equal(g->nodes[0]->op->kind, CR_OP_Reshape);
    assert_int_equal(y->shape.rank, 3);
    assert_int_equal(y->shape.dim[1], 4);
    assert_int_equal(y->shape.dim[2], 60);
    same_function(before, g, 0);
    cr_graph_free(&before);
    cr_graph_free(&g);
}

/* A few numbers in the file must not become gigabytes or hours: what is beyond the budget stays. */
static void bombs_stay_nodes(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *sum = graph_input(g, "x", shape_of(1, 1));
    for (int i = 0; i < 40; i++) { /* 40 x 40 MB */
        cr_tensor *big = apply1(g, CR_OP_ConstantOfShape, const_ints(g, 2, 2500, 4000));
        cr_tensor *product = apply2(g, CR_OP_MatMul, big, /* 25 G multiplications */
                                    apply1(g, CR_OP_ConstantOfShape, const_ints(g, 2, 4000, 2500)));
        cr_tensor *one = done(graph_node(g, CR_OP_ReduceMax, 1, 1, product));
        sum = apply2(g, CR_OP_Add, sum, one);
    }
    graph_output(g, sum);
    prepare(g);
    size_t bytes = 0;
    for (size_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i]->data) bytes += cr_tensor_bytes(g->tensors[i]);
    assert_true(bytes <= (size_t)65 << 20);
    assert_int_equal(count_of(g, CR_OP_MatMul), 40);
    cr_graph_free(&g);
}

static void too_many_nodes(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(1, 1));
    for (int i = 0; i <= CR_MAX_NODES; i++) {
        cr_node *n = cr_graph_add_node(g, CR_OP_Identity, "n", 1, 1, 0);
        n->in[0] = x;
        x = n->out[0] = cr_graph_add_tensor(g, "t", CR_DT_F32, shape_of(1, 1));
    }
    graph_output(g, x);
    cr_error err;
    assert_int_equal(cr_graph_prepare(g, cr_op_run, &err), CR_ERR_LIMIT);
    g->node_count--; /* one fewer is fine, and quick */
    g->outputs[0] = g->nodes[g->node_count - 1]->out[0];
    prepare(g);
    assert_int_equal(g->node_count, 1);
    cr_graph_free(&g);
}

/* ---- batch normalization ---- */

static cr_tensor *add_norm(cr_graph *g, cr_rng *r, cr_tensor *x)
{
    const cr_shape c = shape_of(1, (int)x->shape.dim[1]);
    cr_node *n =
        graph_node(g, CR_OP_BatchNormalization, 1, 5, x, const_random(g, r, "scale", c, -2, 2),
                   const_random(g, r, "bias", c, -1, 1), const_random(g, r, "mean", c, -1, 1),
                   const_random(g, r, "var", c, .01, 2));
    attr_float(n, "epsilon", 1e-3f);
    return done(n);
}

static cr_tensor *add_conv(cr_graph *g, cr_rng *r, cr_tensor *x, bool transposed, int group,
                           bool bias)
{
    const int c = (int)x->shape.dim[1], out = 6;
    const cr_shape ws =
        transposed ? shape_of(4, c, out / group, 3, 3) : shape_of(4, out, c / group, 3, 3);
    cr_node *n = graph_node(g, transposed ? CR_OP_ConvTranspose : CR_OP_Conv, 1, bias ? 3 : 2, x,
                            const_random(g, r, "w", ws, -1, 1),
                            const_random(g, r, "b", shape_of(1, out), -1, 1));
    attr_int(n, "group", group);
    return done(n);
}

/* Folded weights are rounded to float once: 7.6e-8 of the largest output was measured. */
static void norm_folds(bool transposed, int group, bool bias, bool shared, bool expected)
{
    cr_rng r;
    cr_rng_seed(&r, 5);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 2, 4, 7, 6));
    cr_tensor *y = add_conv(g, &r, x, transposed, group, bias);
    if (shared) graph_output(g, y);
    graph_output(g, add_norm(g, &r, y));
    graph_ready(g);
    cr_graph *before = copy_of(g);
    prepare(g);
    assert_int_equal(count_of(g, CR_OP_BatchNormalization), expected ? 0 : 1);
    same_function(before, g, 4e-7);
    cr_graph_free(&before);
    cr_graph_free(&g);
}

static void norms_fold(void **state)
{
    (void)state;
    for (int bias = 0; bias < 2; bias++) {
        norm_folds(false, 1, bias, false, true);
        norm_folds(false, 2, bias, false, true);
        norm_folds(true, 1, bias, false, true);
        norm_folds(true, 2, bias, false, false);
        norm_folds(false, 1, bias, true, false);
    }
}

/* The weight of a folded convolution may be read by another one, which keeps it as it was. */
static void shared_weights_stay(void **state)
{
    (void)state;
    cr_rng r;
    cr_rng_seed(&r, 6);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, 7, 6));
    cr_tensor *y = add_conv(g, &r, x, false, 1, true);
    cr_node *twin = graph_node(g, CR_OP_Conv, 1, 2, x, g->nodes[0]->in[1]);
    graph_output(g, add_norm(g, &r, y));
    graph_output(g, done(twin));
    graph_ready(g);
    cr_graph *before = copy_of(g);
    prepare(g);
    assert_int_equal(g->node_count, 2);
    same_function(before, g, 4e-7);
    cr_graph_free(&before);
    cr_graph_free(&g);
}

/* ---- activations ---- */

static cr_tensor *multiply(cr_graph *g, cr_tensor *a, cr_tensor *b, bool swap)
{
    return apply2(g, CR_OP_Mul, swap ? b : a, swap ? a : b);
}

static void silu_is_found(void **state)
{
    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        cr_graph *g = graph_new();
        cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 3, 4, 4));
        cr_tensor *gate = apply1(g, CR_OP_Sigmoid, x), *y = multiply(g, x, gate, swap);
        graph_output(g, y);
        graph_output(g, multiply(g, y, gate, false)); /* another tensor's gate: no SiLU */
        graph_ready(g);
        cr_graph *before = copy_of(g);
        prepare(g);
        assert_int_equal(count_of(g, CR_OP_Swish), 1);
        assert_int_equal(count_of(g, CR_OP_Sigmoid), 1);
        assert_int_equal(count_of(g, CR_OP_Mul), 1);
        same_function(before, g, 5e-7); /* one rounding less: 9.8e-8 measured */
        cr_graph_free(&before);
        cr_graph_free(&g);
    }
}

/* Where the sixth is taken: of the product, of the clipped factor, of x. How: x/6, x*(1/6),
 * (1/6)*x. */
static cr_tensor *take_sixth(cr_graph *g, cr_tensor *x, int how, int rank)
{
    cr_shape s = {.rank = rank};
    for (int i = 0; i < rank; i++) s.dim[i] = 1;
    cr_tensor *c = cr_graph_new_const(g, "sixth", CR_DT_F32, s);
    *(float *)c->data = how ? 1.f / 6 : 6.f;
    return how ? multiply(g, x, c, how == 2) : apply2(g, CR_OP_Div, x, c);
}

static cr_tensor *spell(cr_graph *g, cr_tensor *x, int where, int how, int order, int rank,
                        float top)
{
    cr_tensor *three = cr_graph_const_f32(g, "three", 3);
    cr_tensor *plus = apply2(g, CR_OP_Add, order & 1 ? three : x, order & 1 ? x : three);
    cr_tensor *clip = done(graph_node(g, CR_OP_Clip, 1, 3, plus, cr_graph_const_f32(g, "zero", 0),
                                      cr_graph_const_f32(g, "top", top)));
    if (where == 1) clip = take_sixth(g, clip, how, rank);
    if (where == 2) x = take_sixth(g, x, how, rank);
    cr_tensor *y = multiply(g, x, clip, order & 2);
    return where == 0 ? take_sixth(g, y, how, rank) : y;
}

static void hard_swish(int where, int how, int order, int rank, float top, bool expected)
{
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 3, 9, 4));
    graph_output(g, spell(g, x, where, how, order, rank, top));
    graph_ready(g);
    cr_graph *before = copy_of(g);
    prepare(g);
    assert_int_equal(count_of(g, CR_OP_HardSwish), expected);
    if (expected) assert_int_equal(g->node_count, 1);
    same_function(before, g, 5e-7); /* the sixth is rounded at another place: 9.8e-8 measured */
    cr_graph_free(&before);
    cr_graph_free(&g);
}

static void hard_swish_spellings(void **state)
{
    (void)state;
    for (int where = 0; where < 3; where++)
        for (int how = 0; how < 3; how++) {
            for (int order = 0; order < 4; order++) hard_swish(where, how, order, 0, 6, true);
            hard_swish(where, how, 0, 4, 6, true);
            hard_swish(where, how, 0, 5, 6, false); /* the constant adds a dimension */
            hard_swish(where, how, 0, 0, 5, false);
        }
}

static void hard_sigmoid_gate(void **state)
{
    (void)state;
    for (int sixth = 0; sixth < 2; sixth++) {
        cr_graph *g = graph_new();
        cr_tensor *x = graph_input(g, "x", shape_of(2, 3, 40));
        cr_node *gate = graph_node(g, CR_OP_HardSigmoid, 1, 1, x);
        if (sixth) attr_float(gate, "alpha", 1.f / 6);
        graph_output(g, multiply(g, done(gate), x, false));
        graph_ready(g);
        cr_graph *before = copy_of(g);
        prepare(g);
        assert_int_equal(count_of(g, CR_OP_HardSwish), sixth);
        same_function(before, g, 5e-7);
        cr_graph_free(&before);
        cr_graph_free(&g);
    }
}

/* ---- no-ops and dead code ---- */

static cr_tensor *no_ops(cr_graph *g, cr_tensor *x)
{
    cr_node *cast = graph_node(g, CR_OP_Cast, 1, 1, apply1(g, CR_OP_Identity, x));
    attr_int(cast, "to", 1);
    cr_tensor *y = apply2(g, CR_OP_Reshape, done(cast), const_ints(g, 2, 3, -1));
    cr_node *concat = graph_node(g, CR_OP_Concat, 1, 1, y);
    attr_int(concat, "axis", 0);
    y = apply2(g, CR_OP_Expand, done(concat), const_ints(g, 2, 1, 4));
    cr_node *drop = graph_node(g, CR_OP_Dropout, 2, 1, y);
    return done(drop);
}

static void no_ops_vanish(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(2, 3, 4));
    cr_tensor *r = apply1(g, CR_OP_Relu, no_ops(g, x));
    cr_tensor *inner = no_ops(g, r);
    cr_tensor *tail = apply1(g, CR_OP_Neg, inner);
    graph_output(g, no_ops(g, r));                 /* takes over Relu's output */
    graph_output(g, apply1(g, CR_OP_Identity, r)); /* cannot: the name is taken */
    graph_output(g, apply1(g, CR_OP_Identity, x));
    graph_output(g, no_ops(g, tail));
    graph_ready(g);
    cr_graph *before = copy_of(g);
    prepare(g);
    assert_int_equal(g->node_count, 4); /* Relu, Neg and two Identities that carry names */
    assert_int_equal(count_of(g, CR_OP_Identity), 2);
    same_function(before, g, 0);
    cr_graph_free(&before);
    cr_graph_free(&g);
}

static void dead_code_vanishes(void **state)
{
    (void)state;
    cr_rng r;
    cr_rng_seed(&r, 5);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, 7, 6));
    graph_input(g, "unused", shape_of(1, 3));
    add_norm(g, &r, add_conv(g, &r, x, false, 1, true));
    cr_node *split = graph_node(g, CR_OP_Split, 2, 2, x, const_ints(g, 2, 1, 3));
    attr_int(split, "axis", 1);
    done(split);
    apply1(g, CR_OP_Relu, split->out[1]);
    graph_output(g, apply1(g, CR_OP_Neg, split->out[0]));
    graph_ready(g);
    prepare(g);
    assert_int_equal(g->node_count, 2);
    assert_int_equal(g->input_count, 2);
    assert_int_equal(g->tensor_count, 6); /* x, unused, sizes, both halves, the output */
    for (size_t i = 0; i < g->tensor_count; i++) assert_int_equal(g->tensors[i]->id, i);
    cr_graph_free(&g);
}

/* ---- broken graphs ---- */

static void expect_broken(cr_graph *g, const char *part)
{
    cr_error err;
    assert_int_equal(cr_graph_prepare(g, cr_op_run, &err), CR_ERR_FORMAT);
    if (!strstr(err.message, part)) fail_msg("'%s' does not say '%s'", err.message, part);
    assert_null(strchr(err.message, '\n'));
    cr_graph_free(&g);
}

static void broken_graphs(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(1, 3));
    cr_node *a = graph_node(g, CR_OP_Add, 1, 2, x, x),
            *b = graph_node(g, CR_OP_Relu, 1, 1, a->out[0]);
    a->in[1] = b->out[0];
    graph_output(g, b->out[0]);
    expect_broken(g, "cycle through node 'Add_0'");

    g = graph_new();
    x = graph_input(g, "x", shape_of(1, 3));
    a = graph_node(g, CR_OP_Relu, 1, 1, x);
    a->in[0] = a->out[0];
    graph_output(g, a->out[0]);
    expect_broken(g, "cycle");

    g = graph_new();
    x = graph_input(g, "x", shape_of(1, 3));
    a = graph_node(g, CR_OP_Relu, 1, 1, x);
    b = graph_node(g, CR_OP_Relu, 1, 1, x);
    b->out[0] = a->out[0];
    graph_output(g, a->out[0]);
    expect_broken(g, "written twice");

    g = graph_new();
    a = graph_node(g, CR_OP_Relu, 1, 1, cr_graph_add_tensor(g, "lost", CR_DT_F32, shape_of(1, 3)));
    graph_output(g, a->out[0]);
    expect_broken(g, "'lost' is read but never written");
}

/* Nodes in reverse order are sorted; ten thousand of them at once. */
static void reversed_order(void **state)
{
    (void)state;
    enum { N = 10000 };
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(1, 3));
    for (int i = 0; i < N; i++) {
        cr_node *n = cr_graph_add_node(g, CR_OP_Neg, "", 1, 1, 0);
        n->in[0] = x;
        x = n->out[0] = cr_graph_add_tensor(g, "t", CR_DT_NONE, cr_shape_unknown());
    }
    graph_output(g, x);
    for (int i = 0; i < N / 2; i++) {
        cr_node *n = g->nodes[i];
        g->nodes[i] = g->nodes[N - 1 - i];
        g->nodes[N - 1 - i] = n;
    }
    graph_ready(g);
    for (int i = 1; i < N; i++) assert_ptr_equal(g->nodes[i]->in[0], g->nodes[i - 1]->out[0]);
    assert_string_equal(g->nodes[7]->name, "Neg_7");
    cr_graph_free(&g);
}

/* ---- clone ---- */

static void same_tensor(const cr_tensor *a, const cr_tensor *b)
{
    assert_ptr_not_equal(a, b);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->uses, b->uses);
    assert_true(cr_shape_equal(&a->shape, &b->shape));
    assert_int_equal(a->data != NULL, b->data != NULL);
    if (a->data) assert_memory_equal(a->data, b->data, cr_tensor_bytes(a));
}

static void same_attr(const cr_attr *a, const cr_attr *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->count, b->count);
    if (a->type == CR_ATTR_INT) assert_int_equal(a->i, b->i);
    if (a->type == CR_ATTR_FLOAT) assert_true(a->f == b->f);
    if (a->type == CR_ATTR_STRING) assert_string_equal(a->s, b->s);
    if (a->type == CR_ATTR_INTS) assert_memory_equal(a->ints, b->ints, a->count * sizeof *a->ints);
}

static void same_node(const cr_graph *ga, const cr_graph *gb, const cr_node *a, const cr_node *b)
{
    assert_string_equal(a->name, b->name);
    assert_ptr_equal(a->op, b->op);
    assert_int_equal(a->n_in, b->n_in);
    assert_int_equal(a->n_out, b->n_out);
    assert_int_equal(a->n_attrs, b->n_attrs);
    for (int k = 0; k < a->n_in; k++) {
        assert_int_equal(a->in[k] == NULL, b->in[k] == NULL);
        if (a->in[k]) assert_int_equal(a->in[k]->id, b->in[k]->id);
        if (a->in[k]) assert_ptr_equal(b->in[k], gb->tensors[b->in[k]->id]);
    }
    for (int k = 0; k < a->n_out; k++) assert_int_equal(a->out[k]->id, b->out[k]->id);
    for (int k = 0; k < a->n_attrs; k++) same_attr(&a->attrs[k], &b->attrs[k]);
    assert_ptr_equal(ga->nodes[a->index], a);
}

static void clones_are_equal(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        cr_graph *a = random_net(seed, false, seed % 3 == 0);
        cr_graph_set_meta(a, "stride", "32");
        cr_graph *b = copy_of(a);
        assert_int_equal(a->tensor_count, b->tensor_count);
        assert_int_equal(a->node_count, b->node_count);
        assert_int_equal(a->source_opset, b->source_opset);
        assert_string_equal(cr_graph_meta(b, "stride"), "32");
        for (size_t i = 0; i < a->tensor_count; i++) same_tensor(a->tensors[i], b->tensors[i]);
        for (size_t i = 0; i < a->node_count; i++) same_node(a, b, a->nodes[i], b->nodes[i]);
        same_function(a, b, 0);
        cr_graph_free(&a);
        b->inputs[0]->name = "alone"; /* nothing of a is needed any more */
        cr_graph_free(&b);
    }
}

/* Preparing a random network changes no output at all. */
static void prepared_networks(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 160; seed++) {
        cr_graph *a = random_net(seed, false, seed % 3 == 0), *b = copy_of(a);
        prepare(b);
        same_function(a, b, 0);
        cr_graph_free(&a);
        cr_graph_free(&b);
    }
}

/* ---- types behind unknown shapes ---- */

static cr_dtype type_behind(cr_graph *g, cr_op_kind kind, int n_in, cr_tensor *a, cr_tensor *b)
{
    return done(graph_node(g, kind, 1, n_in, a, b))->dtype;
}

static void types_behind_unknown_shapes(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(2, 3, 4));
    cr_tensor *at = apply1(g, CR_OP_NonZero, x);
    cr_node *cast = graph_node(g, CR_OP_Cast, 1, 1, at);
    attr_int(cast, "to", 1);
    cr_tensor *f = done(cast);
    assert_int_equal(at->dtype, CR_DT_I64);
    assert_false(cr_shape_known(&at->shape));
    assert_int_equal(f->dtype, CR_DT_F32);
    assert_int_equal(type_behind(g, CR_OP_Shape, 1, f, NULL), CR_DT_I64);
    assert_int_equal(type_behind(g, CR_OP_ArgMax, 1, f, NULL), CR_DT_I64);
    assert_int_equal(type_behind(g, CR_OP_Greater, 2, f, f), CR_DT_BOOL);
    assert_int_equal(type_behind(g, CR_OP_IsNaN, 1, f, NULL), CR_DT_BOOL);
    assert_int_equal(type_behind(g, CR_OP_Relu, 1, f, NULL), CR_DT_F32);
    assert_int_equal(type_behind(g, CR_OP_Gather, 2, x, at), CR_DT_F32);
    cr_tensor *mask = apply2(g, CR_OP_Greater, f, f);
    assert_int_equal(done(graph_node(g, CR_OP_Where, 1, 3, mask, f, f))->dtype, CR_DT_F32);
    cr_node *top = graph_node(g, CR_OP_TopK, 2, 2, f, const_ints(g, 1, 1));
    assert_int_equal(done(top)->dtype, CR_DT_F32);
    assert_int_equal(top->out[1]->dtype, CR_DT_I64);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_chains_vanish),
        cmocka_unit_test(bombs_stay_nodes),
        cmocka_unit_test(too_many_nodes),
        cmocka_unit_test(norms_fold),
        cmocka_unit_test(shared_weights_stay),
        cmocka_unit_test(silu_is_found),
        cmocka_unit_test(hard_swish_spellings),
        cmocka_unit_test(hard_sigmoid_gate),
        cmocka_unit_test(no_ops_vanish),
        cmocka_unit_test(dead_code_vanishes),
        cmocka_unit_test(broken_graphs),
        cmocka_unit_test(reversed_order),
        cmocka_unit_test(clones_are_equal),
        cmocka_unit_test(prepared_networks),
        cmocka_unit_test(types_behind_unknown_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
