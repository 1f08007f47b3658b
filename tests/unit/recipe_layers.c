/* Recipes taken apart: who owns which entry, and what is left of a recipe without a layer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "quant/recipe_layers.h"
#include "quant/weight_match.h"
#include "unit/graphs.h"

/* x -> Conv a -> s -> MaxPool -> p;  p -> Conv b -> yb -> Relu -> rb;  p -> Conv c -> yc.
 * Entries: x, s and p (passed on), rb (which no layer reads), all weights. */
typedef struct net {
    cr_graph *g;
    cr_tensor *s, *p, *rb, *w[3];
    cr_recipe *r;
    cr_recipe_layers layers;
} net;

static void add(net *n, const char *tensor, bool is_weight)
{
    float scale = .01f;
    int32_t zero = is_weight ? 0 : 128;
    const cr_qparams q = {.type = is_weight ? CR_DT_I8 : CR_DT_U8,
                          .axis = -1,
                          .count = 1,
                          .scale = &scale,
                          .zero_point = &zero};
    assert_int_equal(cr_recipe_add(n->r, tensor, is_weight, &q, "", NULL), CR_OK);
}

static cr_tensor *conv(net *n, int which, cr_tensor *x, cr_tensor *bias)
{
    return done(graph_node(n->g, CR_OP_Conv, 1, bias ? 3 : 2, x, n->w[which], bias));
}

static net make_net(void)
{
    net n = {.g = graph_new()};
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    cr_tensor *x = graph_input(n.g, "x", shape_of(4, 1, 4, 8, 8));
    for (int i = 0; i < 3; i++)
        n.w[i] = const_random(n.g, &rng, "w", shape_of(4, 4, 4, 1, 1), -1, 1);
    cr_tensor *bias = const_random(n.g, &rng, "bias", shape_of(1, 4), -1, 1);
    n.s = conv(&n, 0, x, bias);
    cr_node *pool = graph_node(n.g, CR_OP_MaxPool, 1, 1, n.s);
    attr_ints(n.g, pool, "kernel_shape", 2, 2, 2);
    n.p = done(pool);
    n.rb = apply1(n.g, CR_OP_Relu, conv(&n, 1, n.p, NULL));
    graph_output(n.g, n.rb);
    graph_output(n.g, conv(&n, 2, n.p, NULL));
    graph_ready(n.g);
    assert_int_equal(cr_recipe_create(&n.r, NULL), CR_OK);
    add(&n, "x", false);
    add(&n, n.s->name, false);
    add(&n, n.p->name, false);
    add(&n, n.rb->name, false);
    for (int i = 0; i < 3; i++) add(&n, n.w[i]->name, true);
    return n;
}

static void take_apart(net *n)
{
    cr_error err;
    if (cr_recipe_layers_find(n->g, n->r, &n->layers, &err) != CR_OK) fail_msg("%s", err.message);
}

static void drop(net *n)
{
    cr_recipe_layers_release(&n->layers);
    cr_recipe_release(&n->r);
    cr_graph_free(&n->g);
}

static cr_recipe *subset(const net *n, const cr_graph *original, bool a, bool b, bool c)
{
    const bool keep[] = {a, b, c};
    cr_recipe *out;
    cr_error err;
    if (cr_recipe_subset(&n->layers, keep, false, original, &out, &err) != CR_OK)
        fail_msg("%s", err.message);
    return out;
}

static bool has(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, tensor)) return true;
    return false;
}

static void assert_entries(const net *n, const cr_recipe *r, const char *expected)
{
    const char *const names[] = {"x",           n->s->name,    n->p->name,   n->rb->name,
                                 n->w[0]->name, n->w[1]->name, n->w[2]->name};
    for (int i = 0; i < 7; i++)
        if (has(r, names[i]) != (expected[i] == '1')) fail_msg("entry of %s", names[i]);
}

static void layers_own_what_they_read(void **state)
{
    net n = make_net();
    take_apart(&n);
    assert_int_equal(n.layers.count, 3);
    cr_recipe *a = subset(&n, n.g, true, false, false), *b = subset(&n, n.g, false, true, false);
    cr_recipe *c = subset(&n, n.g, false, false, true), *none = subset(&n, n.g, 0, 0, 0);
    assert_entries(&n, a, "1000100");
    assert_entries(&n, b, "0111010"); /* and the output that no layer reads */
    assert_entries(&n, c, "0110001");
    assert_int_equal(none->count, 0);
    cr_recipe_release(&a);
    cr_recipe_release(&b);
    cr_recipe_release(&c);
    cr_recipe_release(&none);
    drop(&n);
}

/* Rounded weights and their bias go back to the float model's, scaled ones to those before rounding. */
static void other_layers_get_their_weights_back(void **state)
{
    net n = make_net();
    cr_graph *original;
    assert_int_equal(cr_graph_clone(n.g, &original, NULL), CR_OK);
    const cr_tensor *bias = n.s->producer->in[2];
    for (int i = 0; i < 16; i++) {
        ((float *)n.w[0]->data)[i] += i % 2 ? .02f : -.02f;
        ((float *)n.w[1]->data)[i] *= i % 4 == 1 ? .5f : 1; /* one input channel */
    }
    ((float *)bias->data)[1] += .1f;
    take_apart(&n);
    cr_recipe *c = subset(&n, original, false, false, true);
    const cr_recipe_value *w0 = cr_recipe_find_value(c, n.w[0]->name);
    const cr_recipe_value *b0 = cr_recipe_find_value(c, bias->name);
    assert_non_null(w0);
    assert_non_null(b0);
    assert_memory_equal(w0->data, cr_graph_find(original, n.w[0]->name)->data, 16 * sizeof(float));
    assert_memory_equal(b0->data, cr_graph_find(original, bias->name)->data, 4 * sizeof(float));
    const cr_recipe_value *w1 = cr_recipe_find_value(c, n.w[1]->name);
    assert_non_null(w1);
    for (int i = 0; i < 16; i++) {
        const float was = ((const float *)cr_graph_find(original, n.w[1]->name)->data)[i];
        assert_true(w1->data[i] == was * (i % 4 == 1 ? .5f : 1));
    }
    assert_null(cr_recipe_find_value(c, n.w[2]->name)); /* kept */
    cr_recipe_release(&c);
    cr_graph_free(&original);
    drop(&n);
}

static cr_match matched(const cr_node *n, const float *original, float *out)
{
    cr_match m;
    cr_tensor before = *n->in[1];
    before.data = (void *)original;
    assert_int_equal(cr_match_weights(n, &before, out, &m, NULL), CR_OK);
    return m;
}

static void round_to(float *w, int n, int levels)
{
    float most = 0;
    for (int i = 0; i < n; i++) most = fmaxf(most, fabsf(w[i]));
    for (int i = 0; i < n; i++) w[i] = nearbyintf(w[i] / most * (float)levels) / (float)levels * most;
}

/* Any factors of rows and columns, 8 bits; no factors, ternary; [12, 8, 3, 3] in one group, in two, and depthwise. */
static void scaled_weights_are_known(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 7);
    for (int groups = 1; groups <= 12; groups += groups == 1 ? 1 : 10) {
        const int rows = 12, cols = groups == 12 ? 1 : 8, count = rows * cols * 9;
        cr_graph *g = graph_new();
        cr_tensor *x = graph_input(g, "x", shape_of(4, 1, cols * groups, 8, 8));
        cr_tensor *w = const_random(g, &rng, "w", shape_of(4, rows, cols, 3, 3), -1, 1);
        cr_node *n = graph_node(g, CR_OP_Conv, 1, 2, x, w);
        attr_int(n, "group", groups);
        float was[12 * 8 * 9], scaled[12 * 8 * 9], back[12 * 8 * 9];
        float *now = w->data;
        memcpy(was, now, (size_t)count * sizeof *was);
        for (int i = 0; i < count; i++) {
            const int row = i / (cols * 9), col = i / 9 % cols, group = row / (rows / groups);
            const int by = groups == 12 ? row % 5 : row % 5 - 3 * ((group + col) % 3);
            now[i] = scaled[i] = was[i] * (float)exp2(by / 4.);
        }
        for (int row = 0; row < rows; row++) round_to(now + row * cols * 9, cols * 9, 127);
        assert_int_equal(matched(n, was, back), CR_MATCH_SCALED);
        assert_memory_equal(back, scaled, (size_t)count * sizeof *back);
        memcpy(now, was, (size_t)count * sizeof *was);
        round_to(now, count, 1);
        assert_int_equal(matched(n, was, back), CR_MATCH_ROUNDED);
        for (int i = 0; i < count; i++) now[i] = (float)cr_rng_range(&rng, -1, 1);
        assert_int_equal(matched(n, was, back), CR_MATCH_NONE);
        cr_graph_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layers_own_what_they_read),
                                       cmocka_unit_test(other_layers_get_their_weights_back),
                                       cmocka_unit_test(scaled_weights_are_known)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
