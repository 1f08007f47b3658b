/* Blocks of weights: as long as allowed, even where the length lets them be. */
#include "quant/weight_form.h"
#include "unit/same_net.h"

static int64_t block_of_layer(int64_t channels, int64_t block)
{
    cr_error err;
    cr_graph *g;
    OK(cr_graph_create(&g, &err));
    cr_node *n = cr_graph_add_node(g, CR_OP_Conv, "conv", 2, 1, 0);
    n->in[0] = cr_graph_add_tensor(g, "x", CR_DT_F32, (cr_shape){4, {1, channels, 8, 8}});
    n->in[1] = cr_graph_add_const(g, "w", CR_DT_F32, (cr_shape){4, {6, channels, 3, 3}});
    n->out[0] = cr_graph_add_tensor(g, "y", CR_DT_F32, (cr_shape){4, {1, 6, 6, 6}});
    cr_quantize_options o = cr_quantize_options_default();
    o.weights = CR_WEIGHTS_INT4;
    o.activations = CR_ACTIVATIONS_FLOAT;
    o.block = block;
    const cr_weight_form f = cr_weight_form_of(n, &o, CR_LAYER_PLANNED, false);
    cr_graph_free(&g);
    return f.block;
}

static void even_where_possible(void **state)
{
    (void)state;
    static const int64_t want[][2] = {{32, 0},   {63, 0},   {64, 64},   {80, 40},  {96, 48},
                                      {100, 50}, {128, 64}, {144, 48},  {192, 64}, {67, 64},
                                      {129, 43}, {131, 64}, {1280, 64}, {320, 64}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_int_equal(block_of_layer(want[i][0], CR_BLOCK_AUTO), want[i][1]);
}

static void as_asked_for(void **state)
{
    (void)state;
    assert_int_equal(block_of_layer(80, 64), 64);
    assert_int_equal(block_of_layer(80, 16), 16);
    assert_int_equal(block_of_layer(80, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(even_where_possible), cmocka_unit_test(as_asked_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
