/* The ONNX writer: what is written reads back as the same graph, the same bytes each time, and what
 * an opset cannot say is refused. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "graph/names.h"
#include "onnx/onnx.h"
#include "onnx/onnx_tensor.h"

static const cr_shape row = {2, {2, 6}};

/* x -> kind -> y on 2x6 floats, with room for two attributes; the node is g->nodes[0]. */
static cr_graph *one_node(cr_op_kind kind, int n_in, int n_out)
{
    cr_graph *g;
    assert_int_equal(cr_graph_create(&g, NULL), CR_OK);
    g->inputs = cr_arena_alloc(&g->arena, sizeof *g->inputs);
    g->outputs = cr_arena_alloc(&g->arena, 4 * sizeof *g->outputs);
    g->inputs[g->input_count++] = cr_graph_add_tensor(g, "x", CR_DT_F32, row);
    cr_node *n = cr_graph_add_node(g, kind, "n", n_in, n_out, 2);
    n->in[0] = g->inputs[0];
    for (int i = 0; i < n_out; i++)
        g->outputs[g->output_count++] = n->out[i] =
            cr_graph_new_tensor(g, "y", CR_DT_NONE, cr_shape_unknown());
    n->n_attrs = 0;
    return g;
}

static void ready(cr_graph *g)
{
    cr_error err = {0};
    if (cr_graph_index(g, &err) != CR_OK || cr_graph_infer(g, &err) != CR_OK)
        fail_msg("%s", err.message);
}

/* Writes at an opset and reads back. */
static cr_graph *through(const cr_graph *g, int opset)
{
    const cr_onnx_write_options w = {.opset = opset};
    const cr_onnx_options keep = {.keep_half = true, .keep_symbolic = true};
    cr_error err = {0};
    unsigned char *bytes;
    size_t size;
    cr_graph *back = NULL;
    if (cr_onnx_serialize(g, &w, &bytes, &size, &err) != CR_OK ||
        cr_onnx_parse(bytes, size, NULL, "back", &keep, &back, &err) != CR_OK)
        fail_msg("%s", err.message);
    cr_free(bytes);
    return back;
}

static void expect_refusal(const cr_graph *g, int opset, const char *words)
{
    const cr_onnx_write_options w = {.opset = opset};
    cr_error err = {0};
    unsigned char *bytes;
    size_t size;
    const cr_status st = cr_onnx_serialize(g, &w, &bytes, &size, &err);
    if (st == CR_OK || !strstr(err.message, words)) fail_msg("%d '%s'", st, err.message);
    assert_null(bytes);
}

static void expect_ops(cr_graph *g, int opset, const cr_op_kind *kinds)
{
    cr_graph *back = through(g, opset);
    size_t n = 0;
    while (kinds[n]) n++;
    assert_int_equal(back->node_count, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(back->nodes[i]->op->kind, kinds[i]);
    cr_graph_free(&back);
}

#define OPS(...) ((const cr_op_kind[]){__VA_ARGS__, CR_OP_NONE})

static void activations_are_lowered(void **state)
{
    cr_graph *g = one_node(CR_OP_Swish, 1, 1);
    ready(g);
    expect_ops(g, 22, OPS(CR_OP_Sigmoid, CR_OP_Mul));
    cr_graph_free(&g);
    g = one_node(CR_OP_Swish, 1, 1);
    cr_attr_set_float(&g->nodes[0]->attrs[0], "alpha", 1.7f);
    g->nodes[0]->n_attrs = 1;
    ready(g);
    expect_ops(g, 13, OPS(CR_OP_Mul, CR_OP_Sigmoid, CR_OP_Mul));
    cr_graph_free(&g);
    g = one_node(CR_OP_HardSwish, 1, 1);
    ready(g);
    expect_ops(g, 13, OPS(CR_OP_HardSigmoid, CR_OP_Mul));
    expect_ops(g, 14, OPS(CR_OP_HardSwish));
    cr_graph_free(&g);
    g = one_node(CR_OP_Mish, 1, 1);
    ready(g);
    expect_ops(g, 17, OPS(CR_OP_Softplus, CR_OP_Tanh, CR_OP_Mul));
    expect_ops(g, 18, OPS(CR_OP_Mish));
    cr_graph_free(&g);
}

/* In the file axes are an attribute below 18; read back they are an input again. */
static void reduce_axes_move(void **state)
{
    const int64_t axis = 1;
    cr_graph *g = one_node(CR_OP_ReduceMean, 2, 1);
    g->nodes[0]->in[1] = cr_graph_const_i64(g, "axes", &axis, 1);
    ready(g);
    for (int opset = 13; opset <= 22; opset++) {
        cr_graph *back = through(g, opset);
        const cr_node *n = back->nodes[0];
        assert_int_equal(n->n_in, 2);
        assert_int_equal(cr_tensor_get_i64(n->in[1], 0), 1);
        /* below 18 the constant is not in the file, the reader made a new one */
        assert_int_equal(strcmp(n->in[1]->name, "axes") == 0, opset >= 18);
        cr_graph_free(&back);
    }
    cr_graph_free(&g);
}

/* 6 columns in 4 parts are 2, 2, 2, 0 only since opset 18; before, sizes are spelled out. */
static void uneven_split(void **state)
{
    cr_graph *g = one_node(CR_OP_Split, 1, 4);
    cr_attr_set_int(&g->nodes[0]->attrs[0], "axis", 1);
    cr_attr_set_int(&g->nodes[0]->attrs[1], "num_outputs", 4);
    g->nodes[0]->n_attrs = 2;
    ready(g);
    cr_graph *back = through(g, 13);
    const cr_node *n = back->nodes[0];
    static const int64_t want[] = {2, 2, 2, 0};
    assert_int_equal(n->n_in, 2);
    assert_memory_equal(n->in[1]->data, want, sizeof want);
    cr_graph_free(&back);
    back = through(g, 18);
    assert_int_equal(back->nodes[0]->n_in, 1);
    cr_graph_free(&back);
    cr_graph_free(&g);
}

static void pad_with_axes(void **state)
{
    const int64_t pads[] = {1, 2}, axis = -1;
    cr_graph *g = one_node(CR_OP_Pad, 4, 1);
    g->nodes[0]->in[1] = cr_graph_const_i64(g, "pads", pads, 2);
    g->nodes[0]->in[3] = cr_graph_const_i64(g, "axes", &axis, 1);
    ready(g);
    cr_graph *back = through(g, 17);
    static const int64_t want[] = {0, 1, 0, 2};
    assert_int_equal(back->nodes[0]->n_in, 2);
    assert_memory_equal(back->nodes[0]->in[1]->data, want, sizeof want);
    cr_graph_free(&back);
    cr_graph_free(&g);
}

static void what_an_opset_cannot_say(void **state)
{
    cr_graph *g = one_node(CR_OP_QuantizeLinear, 3, 1);
    g->nodes[0]->in[1] = cr_graph_const_f32(g, "scale", 0.5f);
    g->nodes[0]->in[2] = cr_graph_new_const(g, "zero", CR_DT_I16, (cr_shape){0, {0}});
    ready(g);
    expect_refusal(g, 20, "node 'n': QuantizeLinear with int16 needs opset 21 (asked for 20)");
    expect_ops(g, 21, OPS(CR_OP_QuantizeLinear));
    expect_refusal(g, 12, "opset 12 cannot be written; 13 to 25 can");
    expect_refusal(g, 26, "opset 26 cannot be written; 13 to 25 can");
    cr_graph_free(&g);
}

static void four_bits(void **state)
{
    uint8_t values[7], packed[4], again[7];
    for (int i = 0; i < 7; i++) values[i] = (uint8_t)(int8_t)(i * 2 - 8);
    cr_onnx_pack(values, 7, CR_DT_I4, packed);
    assert_int_equal(packed[0], 0xa8);
    assert_int_equal(packed[3], 0x04);
    cr_onnx_unpack(packed, 7, CR_DT_I4, again);
    assert_memory_equal(values, again, 7);

    cr_graph *g = one_node(CR_OP_Relu, 1, 1);
    cr_tensor *w = cr_graph_add_const(g, "w", CR_DT_I4, (cr_shape){1, {7}});
    memcpy(w->data, values, 7);
    g->outputs[g->output_count++] = w;
    ready(g);
    expect_refusal(g, 20, "tensor 'w' is int4, which needs opset 21");
    cr_graph *back = through(g, 21);
    assert_memory_equal(cr_graph_find(back, "w")->data, values, 7);
    cr_graph_free(&back);
    cr_graph_free(&g);
}

static void two_bits(void **state)
{
    const int8_t values[6] = {-2, -1, 0, 1, 1, -2};
    uint8_t packed[2], again[6];
    cr_onnx_pack((const uint8_t *)values, 6, CR_DT_I2, packed);
    assert_int_equal(packed[0], 0x4e);
    assert_int_equal(packed[1], 0x09);
    cr_onnx_unpack(packed, 6, CR_DT_I2, again);
    assert_memory_equal(values, again, 6);
    cr_onnx_unpack(packed, 6, CR_DT_U2, again);
    assert_memory_equal(again, ((const uint8_t[]){2, 3, 0, 1, 1, 2}), 6);

    cr_graph *g = one_node(CR_OP_Relu, 1, 1);
    cr_tensor *w = cr_graph_add_const(g, "w", CR_DT_I2, (cr_shape){1, {6}});
    memcpy(w->data, values, 6);
    g->outputs[g->output_count++] = w;
    ready(g);
    expect_refusal(g, 24, "tensor 'w' is int2, which needs opset 25");
    cr_graph *back = through(g, 25);
    assert_memory_equal(cr_graph_find(back, "w")->data, values, 6);
    cr_graph_free(&back);
    cr_graph_free(&g);
}

/* Every element type, bit for bit; metadata; unused constants are left out. */
static void payloads_survive(void **state)
{
    cr_graph *g = one_node(CR_OP_Relu, 1, 1);
    cr_rng r;
    cr_rng_seed(&r, 5);
    for (cr_dtype t = CR_DT_F32; t <= CR_DT_BOOL; t++) {
        cr_tensor *c = cr_graph_add_const(g, cr_dtype_key(t), t, (cr_shape){2, {3, 5}});
        for (size_t i = 0; i < cr_tensor_bytes(c); i++)
            ((uint8_t *)c->data)[i] = (uint8_t)cr_rng_below(&r, t == CR_DT_BOOL ? 2 : 256);
    }
    g->outputs = cr_arena_alloc(&g->arena, g->tensor_count * sizeof *g->outputs);
    g->output_count = 0;
    for (size_t i = 1; i < g->tensor_count; i++) g->outputs[g->output_count++] = g->tensors[i];
    assert_non_null(cr_graph_add_const(g, "unused", CR_DT_F32, (cr_shape){0, {0}}));
    assert_true(cr_graph_set_meta(g, "names", "{0: 'crayon'}"));
    ready(g);
    cr_graph *back = through(g, 17);
    for (cr_dtype t = CR_DT_F32; t <= CR_DT_BOOL; t++) {
        const cr_tensor *a = cr_graph_find(g, cr_dtype_key(t));
        const cr_tensor *b = cr_graph_find(back, cr_dtype_key(t));
        assert_true(b && b->dtype == t && cr_shape_equal(&a->shape, &b->shape));
        assert_memory_equal(a->data, b->data, cr_tensor_bytes(a));
    }
    assert_null(cr_graph_find(back, "unused"));
    assert_string_equal(cr_graph_meta(back, "names"), "{0: 'crayon'}");
    cr_graph_free(&back);
    cr_graph_free(&g);
}

static void same_bytes(void **state)
{
    const cr_onnx_options none = {0};
    char folder[] = "/tmp/onnx_write_XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/out.onnx", folder);
    cr_graph *g;
    unsigned char *a, *b, *file;
    size_t n, m, k;
    assert_int_equal(cr_onnx_read("tests/golden/tiny.onnx", &none, &g, NULL), CR_OK);
    ready(g);
    assert_int_equal(cr_onnx_serialize(g, NULL, &a, &n, NULL), CR_OK);
    assert_int_equal(cr_onnx_write(g, NULL, path, NULL), CR_OK);
    cr_graph_free(&g);
    assert_int_equal(cr_onnx_read("tests/golden/tiny.onnx", &none, &g, NULL), CR_OK);
    ready(g);
    assert_int_equal(cr_onnx_serialize(g, NULL, &b, &m, NULL), CR_OK);
    assert_int_equal(cr_file_read(path, 1 << 20, &file, &k, NULL), CR_OK);
    assert_true(n == m && n == k);
    assert_memory_equal(a, b, n);
    assert_memory_equal(a, file, n);
    unlink(path);
    rmdir(folder);
    cr_free(a);
    cr_free(b);
    cr_free(file);
    cr_graph_free(&g);
}

static void nothing_is_left_behind(void **state)
{
    cr_graph *g = one_node(CR_OP_Relu, 1, 1);
    cr_error err = {0};
    ready(g);
    assert_int_equal(cr_onnx_write(g, NULL, "no/such/folder/x.onnx", &err), CR_ERR_IO);
    assert_non_null(strstr(err.message, "no/such/folder/x.onnx: cannot write"));
    cr_graph_free(&g);
}

/* Every allocation on the way fails once; Gelu makes nodes, constants and value_infos. */
static void no_memory(void **state)
{
    const cr_onnx_write_options w = {.opset = 13};
    cr_graph *g = one_node(CR_OP_Gelu, 1, 1);
    assert_true(cr_attr_set_string(g, &g->nodes[0]->attrs[0], "approximate", "tanh"));
    g->nodes[0]->n_attrs = 1;
    ready(g);
    long n = 0;
    for (cr_status st = CR_ERR_MEMORY; st != CR_OK; n++) {
        unsigned char *bytes;
        size_t size;
        assert_true(n < 1000);
        cr_alloc_fail_after(n);
        st = cr_onnx_serialize(g, &w, &bytes, &size, NULL);
        cr_alloc_fail_after(-1);
        assert_true(st == CR_OK ? bytes != NULL : st == CR_ERR_MEMORY && !bytes);
        cr_free(bytes);
    }
    assert_true(n > 4);
    cr_graph_free(&g);
}

static void names_map(void **state)
{
    cr_names m = {0};
    cr_arena a = {0};
    static int value[1000];
    assert_null(cr_names_get(&m, "none"));
    for (int i = 0; i < 1000; i++)
        assert_true(cr_names_put(&m, cr_arena_printf(&a, "t%d", i), &value[i]));
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(cr_names_get(&m, cr_arena_printf(&a, "t%d", i)), &value[i]);
    assert_true(cr_names_put(&m, "t5", &value[6]));
    assert_ptr_equal(cr_names_get(&m, "t5"), &value[6]);
    assert_null(cr_names_get(&m, "t1000"));
    assert_int_equal(m.count, 1000);
    cr_names_free(&m);
    cr_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_lowered),
        cmocka_unit_test(reduce_axes_move),
        cmocka_unit_test(uneven_split),
        cmocka_unit_test(pad_with_axes),
        cmocka_unit_test(what_an_opset_cannot_say),
        cmocka_unit_test(four_bits),
        cmocka_unit_test(two_bits),
        cmocka_unit_test(payloads_survive),
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(names_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
