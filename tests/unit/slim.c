/* What slimming takes out comes back: constants to the bit, entries, names. */
#include "onnx/slim.h"

#include "onnx/qdq.h"
#include "unit/same_net.h"

enum { N = 300 };

static float half_steps(int64_t i)
{
    return (float)i / 2;
}

static float bytes(int64_t i)
{
    return (float)(i % 256);
}

static float minus_zero(int64_t i)
{
    return i ? 1.f : -0.f;
}

static float minus_one(int64_t i)
{
    return i % 2 ? 1.f : -1.f;
}

static float finer(int64_t i)
{
    return 1 + (float)i * 1e-6f;
}

static float beyond_half(int64_t i)
{
    return (float)(i + 65504);
}

static float chain(int64_t i)
{
    return (float)(i % 7);
}

/* y = ((x + a) - a again) * b, with x quantized; `sigmoid`: a is read by one, too. */
static cr_graph *small_net(float (*a)(int64_t), float (*b)(int64_t), bool sigmoid)
{
    static const cr_op_kind kinds[] = {CR_OP_Add, CR_OP_Sub, CR_OP_Mul};
    const cr_shape shape = {2, {1, N}};
    cr_graph *g;
    cr_error err;
    OK(cr_graph_create(&g, &err));
    g->inputs = cr_arena_alloc(&g->arena, sizeof *g->inputs);
    g->outputs = cr_arena_alloc(&g->arena, 2 * sizeof *g->outputs);
    cr_tensor *x = g->inputs[g->input_count++] = cr_graph_add_tensor(g, "x", CR_DT_F32, shape);
    for (int k = 0; k < 3; k++) {
        const char *const names[] = {"a", "again", "b"};
        cr_tensor *c = cr_graph_add_const(g, names[k], CR_DT_F32, shape);
        for (int64_t i = 0; i < N; i++) ((float *)c->data)[i] = (k < 2 ? a : b)(i);
        cr_node *n = cr_graph_add_node(g, kinds[k], "", 2, 1, 0);
        n->in[0] = x;
        n->in[1] = c;
        n->out[0] = x = cr_graph_new_tensor(g, "y", CR_DT_F32, shape);
    }
    g->outputs[g->output_count++] = x;
    if (sigmoid) {
        cr_node *n = cr_graph_add_node(g, CR_OP_Sigmoid, "", 1, 1, 0);
        n->in[0] = cr_graph_find(g, "a");
        n->out[0] = g->outputs[g->output_count++] = cr_graph_new_tensor(g, "z", CR_DT_F32, shape);
    }
    OK(cr_graph_index(g, &err));
    OK(cr_graph_infer(g, &err));
    return g;
}

static cr_graph *slimmed(const cr_graph *g)
{
    cr_error err;
    cr_recipe *r;
    cr_graph *out;
    float s = .5f;
    int32_t z = 3;
    const cr_qparams q = {CR_DT_U8, -1, 1, &s, &z};
    OK(cr_recipe_create(&r, &err));
    OK(cr_recipe_add(r, "x", false, &q, "", &err));
    OK(cr_qdq_write(g, r, &out, &err));
    OK(cr_onnx_slim(out, &err));
    cr_recipe_release(&r);
    return out;
}

static int constants_of(const cr_graph *g, cr_dtype type)
{
    int n = 0;
    for (size_t i = 0; i < g->tensor_count; i++)
        n += g->tensors[i]->data && g->tensors[i]->dtype == type &&
             cr_shape_count(&g->tensors[i]->shape) == N;
    return n;
}

/* Stored so, and the same bits when it is read. */
static void expect(float (*a)(int64_t), float (*b)(int64_t), bool sigmoid, int u8, int f16, int f32)
{
    cr_error err;
    cr_recipe *r;
    cr_graph *g = small_net(a, b, sigmoid), *slim = slimmed(g), *back = through_onnx(slim, 13);
    assert_int_equal(constants_of(slim, CR_DT_U8), u8);
    assert_int_equal(constants_of(slim, CR_DT_F16), f16);
    assert_int_equal(constants_of(slim, CR_DT_F32), f32);
    OK(cr_qdq_read(back, &r, &err));
    OK(cr_graph_prepare(back, cr_op_run, &err));
    assert_int_equal(r->count, 1);
    assert_int_equal(back->node_count, g->node_count - sigmoid); /* Sigmoid of a constant */
    const char *const names[] = {"a", "again", "b"};
    for (int k = 0; k < 3; k++) {
        const cr_tensor *was = cr_graph_find(g, names[k]), *is = cr_graph_find(back, names[k]);
        assert_non_null(is);
        assert_int_equal(is->dtype, CR_DT_F32);
        assert_memory_equal(was->data, is->data, N * sizeof(float));
    }
    cr_recipe_release(&r);
    cr_graph_free(&back);
    cr_graph_free(&slim);
    cr_graph_free(&g);
}

static void constants(void **state)
{
    (void)state;
    expect(half_steps, bytes, false, 1, 1, 0); /* the grid that is there twice once */
    expect(bytes, bytes, false, 1, 0, 0);
    expect(bytes, chain, false, 2, 0, 0);
    expect(minus_zero, bytes, false, 1, 1, 0);
    expect(minus_one, bytes, false, 1, 1, 0);
    expect(finer, beyond_half, false, 0, 0, 3);
    expect(half_steps, bytes, true, 1, 1, 1); /* Sigmoid wants floats */
}

/* Equal scales and zero points: one tensor each for all pairs. */
static void parameters(void **state)
{
    (void)state;
    cr_error err;
    cr_recipe *r, *found;
    cr_graph *g = small_net(finer, finer, false), *out;
    float s = .25f;
    int32_t z = 7;
    const cr_qparams q = {CR_DT_U8, -1, 1, &s, &z};
    OK(cr_recipe_create(&r, &err));
    OK(cr_recipe_add(r, "x", false, &q, "", &err));
    OK(cr_recipe_add(r, g->nodes[0]->out[0]->name, false, &q, "", &err));
    OK(cr_qdq_write(g, r, &out, &err));
    OK(cr_onnx_slim(out, &err));
    const cr_tensor *scale = NULL, *zero = NULL;
    int nodes = 0;
    for (size_t i = 0; i < out->node_count; i++) {
        const cr_node *n = out->nodes[i];
        if (!(n->op->flags & CR_OPF_QUANT)) continue;
        if (!nodes++) {
            scale = n->in[1];
            zero = n->in[2];
        }
        assert_ptr_equal(n->in[1], scale);
        assert_ptr_equal(n->in[2], zero);
    }
    assert_int_equal(nodes, 4);
    cr_graph *back = through_onnx(out, 13);
    OK(cr_qdq_read(back, &found, &err));
    same_recipe(r, found);
    cr_recipe_release(&r);
    cr_recipe_release(&found);
    cr_graph_free(&back);
    cr_graph_free(&out);
    cr_graph_free(&g);
}

/* A lean file has no types of inner tensors and no names of pairs, and reads as the same graph. */
static void lean_files(void **state)
{
    (void)state;
    cr_error err;
    cr_graph *g = small_net(half_steps, bytes, false), *slim = slimmed(g);
    size_t size[2];
    for (int lean = 0; lean < 2; lean++) {
        const cr_onnx_write_options w = {.opset = 13, .lean = lean != 0};
        unsigned char *file;
        OK(cr_onnx_serialize(slim, &w, &file, &size[lean], &err));
        cr_graph *back;
        OK(cr_onnx_parse(file, size[lean], NULL, "lean", NULL, &back, &err));
        OK(cr_graph_infer(back, &err));
        assert_int_equal(back->node_count, slim->node_count);
        for (size_t i = 0; i < back->node_count; i++) {
            const cr_node *n = back->nodes[i], *was = slim->nodes[i];
            assert_int_equal(n->op->kind, was->op->kind);
            if (!lean || !(n->op->flags & CR_OPF_QUANT)) assert_string_equal(n->name, was->name);
        }
        cr_free(file);
        cr_graph_free(&back);
    }
    assert_true(size[1] + 150 < size[0]);
    cr_graph_free(&slim);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(constants), cmocka_unit_test(parameters),
                                       cmocka_unit_test(lean_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
