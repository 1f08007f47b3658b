/* What nodes are for and where entries go: found from structure, whatever the names are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "onnx/onnx.h"
#include "onnx/qdq.h"
#include "ops/ref.h"
#include "quant/placement.h"
#include "quant/plan.h"
#include "quant/range.h"
#include "unit/graphs.h"

static cr_rng rng;

static cr_tensor *conv(cr_graph *g, cr_tensor *x, int cout, int k)
{
    cr_tensor *w =
        const_random(g, &rng, "w", shape_of(4, cout, (int)x->shape.dim[1], k, k), -.3, .3);
    cr_node *n = graph_node(g, CR_OP_Conv, 1, 2, x, w);
    attr_ints(g, n, "pads", 4, k / 2, k / 2, k / 2, k / 2);
    return done(n);
}

static cr_tensor *silu(cr_graph *g, cr_tensor *x)
{
    return apply1(g, CR_OP_Swish, x);
}

static cr_tensor *concat2(cr_graph *g, cr_tensor *a, cr_tensor *b, int axis)
{
    cr_node *n = graph_node(g, CR_OP_Concat, 1, 2, a, b);
    attr_int(n, "axis", axis);
    return done(n);
}

static cr_role *roles_of(const cr_graph *g)
{
    cr_error err;
    cr_role *roles;
    if (cr_roles_find(g, &roles, &err) != CR_OK) fail_msg("%s", err.message);
    return roles;
}

static cr_role role_of(const cr_graph *g, const cr_tensor *t)
{
    cr_role *roles = roles_of(g);
    const cr_role r = roles[t->producer->index];
    cr_free(roles);
    return r;
}

static cr_graph *ready(cr_graph *g)
{
    graph_ready(g);
    return g;
}

/* ---- roles ---- */

static const char *random_name(cr_graph *g)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz/._0123456789";
    char name[24];
    for (int i = 0; i < 23; i++) name[i] = letters[cr_rng_below(&rng, sizeof letters - 1)];
    name[23] = 0;
    return cr_arena_strdup(&g->arena, name);
}

/* The golden model's head: two convolutions of 18 channels, and what follows them. */
static void golden_with_random_names(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        cr_error err;
        cr_graph *g;
        cr_rng_seed(&rng, seed);
        const cr_onnx_options o = {0};
        if (cr_onnx_read("tests/golden/tiny.onnx", &o, &g, &err) != CR_OK)
            fail_msg("%s", err.message);
        for (size_t i = 0; i < g->node_count; i++) g->nodes[i]->name = random_name(g);
        for (size_t i = 0; i < g->tensor_count; i++) g->tensors[i]->name = random_name(g);
        if (cr_graph_prepare(g, cr_op_run, &err) != CR_OK) fail_msg("%s", err.message);
        cr_role *roles = roles_of(g);
        int last = 0, convs = 0;
        for (size_t i = 0; i < g->node_count; i++) {
            const cr_node *n = g->nodes[i];
            if (n->op->kind != CR_OP_Conv) continue;
            const bool head = n->out[0]->shape.dim[1] == 18 && n->in[1]->shape.dim[2] == 1 &&
                              n->in[1]->shape.dim[0] == 18;
            assert_int_equal(roles[i], head ? CR_ROLE_LAST_CONV : CR_ROLE_BODY);
            convs++;
            last += head;
        }
        assert_int_equal(convs, 9);
        assert_int_equal(last, 2);
        for (size_t i = 0; i < g->node_count; i++) {
            const cr_op_kind kind = g->nodes[i]->op->kind;
            if (kind == CR_OP_Softmax || kind == CR_OP_ReduceSum || kind == CR_OP_Sigmoid)
                assert_int_equal(roles[i], CR_ROLE_DECODE);
            if (kind == CR_OP_MaxPool || kind == CR_OP_Resize)
                assert_int_equal(roles[i], CR_ROLE_BODY);
        }
        cr_free(roles);
        cr_graph_free(&g);
    }
}

/* Distribution focal loss: the expectation over four bins is a convolution (or a product with a
 * matrix) behind a softmax, not one of the last convolutions. */
static cr_graph *detector(bool matmul, cr_tensor **box, cr_tensor **scores, cr_tensor **expectation)
{
    cr_graph *g = graph_new();
    cr_tensor *x = silu(g, conv(g, graph_input(g, "x", shape_of(4, 1, 3, 8, 8)), 8, 3));
    *box = conv(g, silu(g, conv(g, x, 8, 3)), 16, 1);
    *scores = conv(g, silu(g, conv(g, x, 8, 3)), 5, 1);
    cr_tensor *all =
        apply2(g, CR_OP_Reshape, concat2(g, *box, *scores, 1), const_ints(g, 3, 1, 21, 64));
    cr_node *split = graph_node(g, CR_OP_Split, 2, 2, all, const_ints(g, 2, 16, 5));
    attr_int(split, "axis", 1);
    done(split);
    cr_tensor *bins = apply2(g, CR_OP_Reshape, split->out[0], const_ints(g, 4, 1, 4, 4, 64));
    cr_node *turn = graph_node(g, CR_OP_Transpose, 1, 1, bins);
    if (matmul)
        attr_ints(g, turn, "perm", 4, 0, 1, 3, 2);
    else
        attr_ints(g, turn, "perm", 4, 0, 2, 1, 3);
    cr_node *soft = graph_node(g, CR_OP_Softmax, 1, 1, done(turn));
    attr_int(soft, "axis", matmul ? 3 : 1);
    cr_tensor *p = done(soft);
    if (matmul)
        *expectation =
            apply2(g, CR_OP_MatMul, p, const_random(g, &rng, "bins", shape_of(2, 4, 1), 0, 3));
    else
        *expectation = conv(g, p, 1, 1);
    cr_tensor *flat = apply2(g, CR_OP_Reshape, *expectation, const_ints(g, 3, 1, 4, 64));
    graph_output(g, concat2(g, flat, apply1(g, CR_OP_Sigmoid, split->out[1]), 1));
    return ready(g);
}

static void expectation_is_decoding(void **state)
{
    (void)state;
    for (int matmul = 0; matmul < 2; matmul++) {
        cr_tensor *box, *scores, *expectation;
        cr_graph *g = detector(matmul, &box, &scores, &expectation);
        cr_role *roles = roles_of(g);
        int last = 0;
        for (size_t i = 0; i < g->node_count; i++) last += roles[i] == CR_ROLE_LAST_CONV;
        assert_int_equal(last, 2);
        assert_int_equal(roles[box->producer->index], CR_ROLE_LAST_CONV);
        assert_int_equal(roles[scores->producer->index], CR_ROLE_LAST_CONV);
        assert_int_equal(roles[expectation->producer->index], CR_ROLE_DECODE);
        assert_int_equal(roles[box->producer->in[0]->producer->index], CR_ROLE_BODY);
        cr_free(roles);
        cr_graph_free(&g);
    }
}

static void classifier(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *body = conv(g, graph_input(g, "x", shape_of(4, 1, 3, 8, 8)), 8, 3);
    cr_tensor *mean = apply1(g, CR_OP_GlobalAveragePool, apply1(g, CR_OP_Relu, body));
    cr_tensor *flat = apply1(g, CR_OP_Flatten, mean);
    cr_tensor *w = const_random(g, &rng, "w", shape_of(2, 8, 10), -1, 1);
    cr_tensor *logits = apply2(g, CR_OP_Gemm, flat, w), *p = apply1(g, CR_OP_Softmax, logits);
    graph_output(g, p);
    ready(g);
    assert_int_equal(role_of(g, body), CR_ROLE_BODY);
    assert_int_equal(role_of(g, flat), CR_ROLE_BODY);
    assert_int_equal(role_of(g, logits), CR_ROLE_LAST_CONV);
    assert_int_equal(role_of(g, p), CR_ROLE_DECODE);
    cr_graph_free(&g);
}

/* An inner tensor is an output, too: what makes it also feeds the body. */
static cr_graph *two_outputs(cr_tensor **inner, cr_tensor **end)
{
    cr_graph *g = graph_new();
    *inner = silu(g, conv(g, graph_input(g, "x", shape_of(4, 1, 3, 8, 8)), 8, 3));
    *end = conv(g, *inner, 4, 1);
    graph_output(g, *inner);
    graph_output(g, apply1(g, CR_OP_Sigmoid, *end));
    return ready(g);
}

static void shared_with_the_body(void **state)
{
    (void)state;
    cr_tensor *inner, *end;
    cr_graph *g = two_outputs(&inner, &end);
    assert_int_equal(role_of(g, inner), CR_ROLE_BODY);
    assert_int_equal(role_of(g, inner->producer->in[0]), CR_ROLE_BODY);
    assert_int_equal(role_of(g, end), CR_ROLE_LAST_CONV);
    cr_graph_free(&g);
}

/* ---- placement ---- */

static cr_placement_map place(const cr_graph *g, const cr_quantize_options *o)
{
    cr_error err;
    cr_placement_map m;
    cr_role *roles = roles_of(g);
    if (cr_placement_find(g, roles, o, NULL, &m, &err) != CR_OK) fail_msg("%s", err.message);
    cr_free(roles);
    return m;
}

typedef struct block { /* a C2f block and a pooling behind it */
    cr_graph *g;
    cr_tensor *x, *first, *act, *half[2], *inner, *inner_act, *joined, *pooled, *up, *last;
} block;

static block make_block(void)
{
    block b = {.g = graph_new()};
    cr_graph *g = b.g;
    b.x = graph_input(g, "x", shape_of(4, 1, 3, 8, 8));
    b.first = conv(g, b.x, 8, 3);
    b.act = silu(g, b.first);
    cr_node *split = graph_node(g, CR_OP_Split, 2, 2, b.act, const_ints(g, 2, 4, 4));
    attr_int(split, "axis", 1);
    done(split);
    b.half[0] = split->out[0];
    b.half[1] = split->out[1];
    b.inner = conv(g, b.half[1], 4, 3);
    b.inner_act = silu(g, b.inner);
    b.joined = concat2(g, b.half[0], apply2(g, CR_OP_Add, b.half[1], b.inner_act), 1);
    cr_node *pool = graph_node(g, CR_OP_MaxPool, 1, 1, b.joined);
    attr_ints(g, pool, "kernel_shape", 2, 2, 2);
    attr_ints(g, pool, "strides", 2, 2, 2);
    b.pooled = done(pool);
    cr_tensor *scales = cr_graph_new_const(g, "scales", CR_DT_F32, shape_of(1, 4));
    memcpy(scales->data, (float[]){1, 1, 2, 2}, 16);
    b.up = done(graph_node(g, CR_OP_Resize, 1, 3, b.pooled, NULL, scales));
    b.last = conv(g, b.up, 5, 1);
    graph_output(g, apply1(g, CR_OP_Sigmoid, b.last));
    ready(g);
    return b;
}

static void places(void **state)
{
    (void)state;
    const cr_quantize_options o = cr_quantize_options_default();
    block b = make_block();
    cr_placement_map m = place(b.g, &o);
    assert_ptr_equal(m.source[b.x->id], b.x);
    assert_null(m.source[b.first->id]); /* nothing between a convolution and its SiLU */
    assert_ptr_equal(m.source[b.act->id], b.act);
    assert_ptr_equal(m.source[b.half[0]->id], b.act); /* splits share the scale of their source */
    assert_ptr_equal(m.source[b.half[1]->id], b.act);
    assert_null(m.source[b.inner->id]);
    assert_null(m.source[b.inner_act->id]);               /* only an Add reads it */
    assert_null(m.source[b.joined->producer->in[1]->id]); /* the sum, which only a Concat reads */
    assert_ptr_equal(m.source[b.joined->id], b.joined);
    assert_ptr_equal(m.source[b.pooled->id], b.joined);
    assert_ptr_equal(m.source[b.up->id], b.joined);
    assert_null(m.source[b.last->id]); /* last convolutions give floats */
    assert_int_equal(m.excluded, 0);
    assert_true(m.node[b.last->producer->index]);
    cr_placement_release(&m);

    cr_quantize_options q = o;
    q.head = CR_HEAD_FLOAT;
    m = place(b.g, &q);
    assert_false(m.node[b.last->producer->index]);
    assert_true(m.node[b.first->producer->index]);
    cr_placement_release(&m);
    cr_graph_free(&b.g);
}

static cr_tensor *depthwise(cr_graph *g, cr_tensor *x)
{
    const int channels = (int)x->shape.dim[1];
    cr_node *n = graph_node(g, CR_OP_Conv, 1, 2, x,
                            const_random(g, &rng, "w", shape_of(4, channels, 1, 3, 3), -.3, .3));
    attr_ints(g, n, "pads", 4, 1, 1, 1, 1);
    attr_int(n, "group", channels);
    return done(n);
}

/* One scale per channel where depthwise convolutions alone read integers, and nowhere else. */
static void scales_by_channel(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, 6, 6));
    cr_tensor *a = silu(g, conv(g, x, 4, 1));
    cr_tensor *b = silu(g, depthwise(g, a));
    cr_tensor *both = apply2(g, CR_OP_Add, depthwise(g, b), conv(g, b, 4, 1));
    cr_tensor *added = silu(g, conv(g, both, 4, 1));
    cr_tensor *sum = apply2(g, CR_OP_Add, depthwise(g, added), added); /* floats read it as well */
    cr_node *pool = graph_node(g, CR_OP_MaxPool, 1, 1, silu(g, conv(g, sum, 4, 1)));
    attr_ints(g, pool, "kernel_shape", 2, 2, 2);
    cr_tensor *pooled = done(pool);
    graph_output(g, conv(g, depthwise(g, pooled), 3, 1));
    ready(g);
    cr_quantize_options o = cr_quantize_options_default();
    cr_placement_map m = place(g, &o);
    assert_true(m.by_channel[a->id]);
    assert_false(m.by_channel[b->id]); /* a dense convolution reads it too */
    assert_true(m.by_channel[added->id]);
    assert_false(m.by_channel[pooled->id]); /* passed through */
    assert_false(m.by_channel[pool->in[0]->id]);
    assert_false(m.by_channel[x->id]);
    cr_placement_release(&m);
    o.granularity = CR_PER_TENSOR;
    m = place(g, &o);
    for (size_t i = 0; i < g->tensor_count; i++) assert_false(m.by_channel[i]);
    cr_placement_release(&m);
    cr_graph_free(&g);
}

static void globs(void **state)
{
    (void)state;
    block b = make_block();
    cr_quantize_options o = cr_quantize_options_default();
    const char *first[] = {b.first->producer->name}, *some[] = {"Conv_*"}, *none[] = {"nobody*"};
    o.keep_float = first;
    o.keep_float_count = 1;
    cr_placement_map m = place(b.g, &o);
    assert_false(m.node[b.first->producer->index]);
    assert_true(m.node[b.inner->producer->index]);
    assert_null(m.source[b.x->id]); /* its only reader stays float */
    assert_int_equal(m.excluded, 1);
    cr_placement_release(&m);

    o.only = some; /* keep_float wins */
    o.only_count = 1;
    m = place(b.g, &o);
    assert_int_equal(m.excluded, 1);
    cr_placement_release(&m);

    o.keep_float_count = 0;
    o.only = first;
    m = place(b.g, &o);
    assert_true(m.node[b.first->producer->index]);
    assert_int_equal(m.excluded, 2);
    assert_ptr_equal(m.source[b.x->id], b.x);
    assert_null(m.source[b.act->id]);
    cr_placement_release(&m);

    o.only = none;
    cr_error err;
    cr_role *roles = roles_of(b.g);
    assert_int_equal(cr_placement_find(b.g, roles, &o, NULL, &m, &err), CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "'nobody*'"));
    cr_placement_release(&m);
    cr_free(roles);
    cr_graph_free(&b.g);
}

/* ---- from statistics to a file, for networks whose quantized tensors are outputs ---- */

static cr_status fill(void *user, size_t index, float *input, cr_error *err)
{
    const cr_graph *g = user;
    for (int64_t i = 0; i < cr_shape_count(&g->inputs[0]->shape); i++)
        input[i] = (float)((i * 31 + (int64_t)index) % 200) / 100 - 1;
    return CR_OK;
}

static void plan_and_export(cr_graph *g, cr_head_mode head, const char *output)
{
    cr_error err;
    cr_stats *stats;
    cr_recipe *r = NULL, *found;
    cr_graph *qdq;
    cr_quantize_options o = cr_quantize_options_default();
    o.head = head;
    const cr_collect_options collect = {.count = 3, .fill = fill, .user = g, .threads = 1};
    cr_status st = cr_stats_collect(g, &collect, &stats, &err);
    if (st == CR_OK) st = cr_plan_recipe(g, stats, &o, &r, NULL, &err);
    if (st == CR_OK) st = cr_qdq_write(g, r, &qdq, &err);
    if (st != CR_OK) fail_msg("%s", err.message);
    bool entry = false;
    for (size_t i = 0; i < r->count; i++) entry |= !strcmp(r->entries[i].tensor, output);
    assert_true(entry);
    for (size_t i = 0; i < g->output_count; i++)
        assert_string_equal(qdq->outputs[i]->name, g->outputs[i]->name);
    if (cr_qdq_read(qdq, &found, &err) != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(found->count, r->count);
    assert_int_equal(qdq->node_count, g->node_count);
    cr_recipe_release(&r);
    cr_recipe_release(&found);
    cr_stats_release(&stats);
    cr_graph_free(&qdq);
}

/* What a channel's step is to be: its range by the method, times `room`, in 255 parts. */
static void check_steps(const cr_recipe *r, const cr_tensor *t, const cr_stats *stats,
                        cr_calibration method, double room)
{
    const cr_tensor_stats *seen = cr_stats_find(stats, t->name);
    const cr_range_want want = {method, 99.999, 4, 256, false};
    size_t i = 0;
    while (strcmp(r->entries[i].tensor, t->name)) i++;
    assert_int_equal(r->entries[i].q.count, 4);
    for (int c = 0; c < 4; c++) {
        cr_error err;
        cr_interval v;
        assert_int_equal(cr_range_choose_channel(seen, c, &want, &v, &err), CR_OK);
        const double step = (v.hi - v.lo) * room / 255;
        assert_true(fabs((double)r->entries[i].q.scale[c] / step - 1) < 1e-6); /* float32 */
    }
}

/* Channels of small maps get room beyond what calibration saw, those of large ones hardly any; a method
 * that was asked for is taken at its word. */
static void room_for_small_maps(void **state)
{
    (void)state;
    for (int big = 0; big < 2; big++) {
        cr_error err;
        cr_stats *stats;
        cr_graph *g = graph_new();
        const int side = big ? 100 : 6;
        cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, side, side));
        cr_tensor *a = silu(g, conv(g, x, 4, 1));
        graph_output(g, conv(g, silu(g, depthwise(g, a)), 3, 1));
        ready(g);
        const cr_collect_options collect = {.count = 3, .fill = fill, .user = g, .threads = 1};
        assert_int_equal(cr_stats_collect(g, &collect, &stats, &err), CR_OK);
        for (int asked = 0; asked < 2; asked++) {
            cr_recipe *r;
            cr_quantize_options o = cr_quantize_options_default();
            if (asked) o.calibration = CR_CALIB_MINMAX;
            assert_int_equal(cr_plan_recipe(g, stats, &o, &r, NULL, &err), CR_OK);
            check_steps(r, a, stats, o.calibration, asked ? 1 : big ? 1.027 : 1.3);
            cr_recipe_release(&r);
        }
        cr_stats_release(&stats);
        cr_graph_free(&g);
    }
}

static void quantized_outputs(void **state)
{
    (void)state;
    cr_tensor *inner, *end;
    cr_graph *g = two_outputs(&inner, &end);
    plan_and_export(g, CR_HEAD_AUTO, inner->name);
    cr_graph_free(&g);
    g = graph_new();
    end = conv(g, silu(g, conv(g, graph_input(g, "x", shape_of(4, 1, 3, 8, 8)), 8, 3)), 4, 1);
    graph_output(g, end);
    ready(g);
    plan_and_export(g, CR_HEAD_QUANTIZE, end->name);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_with_random_names),
        cmocka_unit_test(expectation_is_decoding),
        cmocka_unit_test(classifier),
        cmocka_unit_test(shared_with_the_body),
        cmocka_unit_test(places),
        cmocka_unit_test(scales_by_channel),
        cmocka_unit_test(globs),
        cmocka_unit_test(room_for_small_maps),
        cmocka_unit_test(quantized_outputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
