/* The ONNX reader: what it accepts, what it refuses and in which words. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/file.h"
#include "onnx/onnx.h"
#include "unit/onnx_models.h"

enum { F32 = 1, U8 = 2, I8 = 3, I32 = 6, I64 = 7, F16 = 10, I4 = 22 };

static const int64_t four[] = {4}, picture[] = {1, 3, 8, 8}, symbolic[] = {-1, 3, -1, -1};

/* x -> Relu -> y, with x of 4 floats. */
static void relu_model(model *b, int opset)
{
    model_begin(b, opset);
    model_input(b, "x", F32, four, 1);
    model_node(b, "Relu", "x", "y");
    model_output(b, "y");
}

static cr_status parse(model *b, const cr_onnx_options *o, cr_graph **g, cr_error *err)
{
    size_t size;
    unsigned char *bytes = model_end(b, &size);
    const cr_status st = cr_onnx_parse(bytes, size, ".", "test", o, g, err);
    free(bytes);
    return st;
}

static void expect_graph(model *b, const cr_onnx_options *o, cr_graph **g)
{
    cr_error err = {0};
    if (parse(b, o, g, &err) != CR_OK) fail_msg("%s", err.message);
}

static void expect_error(model *b, const cr_onnx_options *o, cr_status status, const char *words)
{
    cr_error err = {0};
    cr_graph *g;
    const cr_status st = parse(b, o, &g, &err);
    if (st != status || !strstr(err.message, words))
        fail_msg("got %d '%s', expected %d '%s'", st, err.message, status, words);
    assert_null(g);
    assert_null(strchr(err.message, '\n'));
}

static void minimal(void **state)
{
    model b;
    cr_graph *g;
    relu_model(&b, 17);
    expect_graph(&b, NULL, &g);
    assert_int_equal(g->node_count, 1);
    assert_int_equal(g->nodes[0]->op->kind, CR_OP_Relu);
    assert_int_equal(g->source_opset, 17);
    assert_int_equal(g->inputs[0]->shape.dim[0], 4);
    assert_ptr_equal(g->outputs[0]->producer, g->nodes[0]);
    cr_graph_free(&g);
}

static void opsets(void **state)
{
    model b;
    cr_graph *g;
    for (int opset = 7; opset <= 28; opset++) {
        relu_model(&b, opset);
        expect_graph(&b, NULL, &g);
        cr_graph_free(&g);
    }
    relu_model(&b, 6);
    expect_error(&b, NULL, CR_ERR_UNSUPPORTED, "opset 6; opset 7 to 28 can be read");
    relu_model(&b, 29);
    expect_error(&b, NULL, CR_ERR_UNSUPPORTED, "opset 29;");
    relu_model(&b, 17);
    b.m.n_opset_import = 0;
    expect_error(&b, NULL, CR_ERR_FORMAT, "no opset");
    relu_model(&b, 17);
    b.m.graph = NULL;
    expect_error(&b, NULL, CR_ERR_FORMAT, "no graph");
}

static void missing_operators(void **state)
{
    model b;
    relu_model(&b, 17);
    model_node(&b, "Foo", "y", "z")->domain = (char *)"my.domain";
    expect_error(&b, NULL, CR_ERR_UNSUPPORTED,
                 "node 'Foo_1': operator 'Foo' (domain 'my.domain') is not supported");
    relu_model(&b, 17);
    for (const char *const *op =
             (const char *const[]){"A", "B", "B", "C", "D", "E", "F", "G", NULL};
         *op; op++)
        model_node(&b, *op, "y", "z");
    expect_error(&b, NULL, CR_ERR_UNSUPPORTED,
                 "operator 'A' (domain '') is not supported; nor 'B', 'C', 'D', 'E' and 2 more");
    relu_model(&b, 17);
    model_node(&b, "Upsample", "y", "z"); /* gone since opset 11 */
    expect_error(&b, NULL, CR_ERR_UNSUPPORTED, "operator 'Upsample'");
}

static void subgraph_is_refused(void **state)
{
    model b;
    relu_model(&b, 17);
    CrOnnx__AttributeProto *a = model_attr(&b, b.nodes[0], "body");
    a->has_type = a->has_g = 1;
    a->type = 5;
    expect_error(&b, NULL, CR_ERR_UNSUPPORTED, "node 'Relu_0': attribute 'body'");
}

static void wiring(void **state)
{
    model b;
    relu_model(&b, 17);
    model_node(&b, "Add", "x,b", "a");
    model_node(&b, "Relu", "a", "b");
    expect_error(&b, NULL, CR_ERR_FORMAT, "cycle through node");
    relu_model(&b, 17);
    model_node(&b, "Abs", "x", "y");
    expect_error(&b, NULL, CR_ERR_FORMAT, "'y' is written twice");
    relu_model(&b, 17);
    model_node(&b, "Abs", "nothing", "z");
    expect_error(&b, NULL, CR_ERR_FORMAT, "'nothing' is read but never written");
    relu_model(&b, 17);
    model_output(&b, "ghost");
    expect_error(&b, NULL, CR_ERR_FORMAT, "graph output 'ghost' is never written");
    relu_model(&b, 17);
    model_input(&b, "x", F32, four, 1);
    expect_error(&b, NULL, CR_ERR_FORMAT, "graph input 'x' is defined twice");
    relu_model(&b, 17);
    model_init(&b, "w", F32, NULL, 0)->n_float_data = 0;
    expect_error(&b, NULL, CR_ERR_FORMAT, "tensor 'w' (float32, scalar): 0 values of data");
}

static void duplicate_initializer(void **state)
{
    const float v[4] = {1, 2, 3, 4};
    model b;
    relu_model(&b, 17);
    model_raw(model_init(&b, "w", F32, four, 1), v, sizeof v);
    model_raw(model_init(&b, "w", F32, four, 1), v, sizeof v);
    expect_error(&b, NULL, CR_ERR_FORMAT, "tensor 'w' is defined twice");
}

/* Before IR 4 weights were listed as inputs as well. */
static void initializer_as_input(void **state)
{
    const float v[4] = {1, 2, 3, 4};
    model b;
    cr_graph *g;
    relu_model(&b, 8);
    b.m.ir_version = 3;
    model_input(&b, "w", F32, four, 1);
    model_raw(model_init(&b, "w", F32, four, 1), v, sizeof v);
    model_node(&b, "Add", "y,w", "z");
    model_output(&b, "z");
    expect_graph(&b, NULL, &g);
    assert_int_equal(g->input_count, 1);
    assert_memory_equal(cr_graph_find(g, "w")->data, v, sizeof v);
    cr_graph_free(&g);
}

static void lengths_are_checked(void **state)
{
    static const int64_t huge[] = {1 << 20, 1 << 19}, too_huge[] = {1 << 30, 1 << 30},
                         negative[] = {-4}, rank9[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    const float v[4] = {0};
    model b;
    relu_model(&b, 17);
    model_raw(model_init(&b, "w", F32, huge, 2), v, sizeof v); /* 2 TB, 16 bytes there */
    expect_error(&b, NULL, CR_ERR_FORMAT, "16 bytes of data, expected 2199023255552");
    relu_model(&b, 17);
    model_raw(model_init(&b, "w", F32, too_huge, 2), v, sizeof v);
    expect_error(&b, NULL, CR_ERR_LIMIT, "too many elements");
    relu_model(&b, 17);
    model_raw(model_init(&b, "w", F32, negative, 1), v, sizeof v);
    expect_error(&b, NULL, CR_ERR_FORMAT, "negative dimension -4");
    relu_model(&b, 17);
    model_raw(model_init(&b, "w", F32, rank9, 9), v, sizeof v);
    expect_error(&b, NULL, CR_ERR_LIMIT, "rank 9, at most 8");
    relu_model(&b, 17);
    model_raw(model_init(&b, "w", 17, four, 1), v, 4);
    expect_error(&b, NULL, CR_ERR_UNSUPPORTED, "element type 17 (float8e4m3fn)");
}

static void payload_forms(void **state)
{
    static int32_t small[] = {-1, 2, 127, -128}, half[] = {0x3c00, 0xc000, 0, 0x7bff};
    static int32_t nibbles[] = {0x21, 0xf8};
    static const uint8_t packed[] = {0x21, 0xf8};
    const cr_onnx_options keep = {.keep_half = true};
    model b;
    cr_graph *g;
    relu_model(&b, 17);
    CrOnnx__TensorProto *t = model_init(&b, "i8", I8, four, 1);
    t->n_int32_data = 4, t->int32_data = small;
    t = model_init(&b, "f16", F16, four, 1);
    t->n_int32_data = 4, t->int32_data = half;
    t = model_init(&b, "i4", I4, four, 1);
    t->n_int32_data = 2, t->int32_data = nibbles;
    model_raw(model_init(&b, "i4raw", I4, four, 1), packed, 2);
    expect_graph(&b, &keep, &g);
    assert_memory_equal(cr_graph_find(g, "i8")->data, ((int8_t[]){-1, 2, 127, -128}), 4);
    assert_memory_equal(cr_graph_find(g, "i4")->data, ((int8_t[]){1, 2, -8, -1}), 4);
    assert_memory_equal(cr_graph_find(g, "i4raw")->data, ((int8_t[]){1, 2, -8, -1}), 4);
    assert_true(cr_tensor_get_f64(cr_graph_find(g, "f16"), 3) == 65504);
    cr_graph_free(&g);
}

static void widened(void **state)
{
    static const uint16_t half[] = {0x3c00, 0xc000, 0, 0x7bff};
    model b;
    cr_graph *g;
    model_begin(&b, 17);
    model_input(&b, "x", F16, four, 1);
    model_raw(model_init(&b, "w", F16, four, 1), half, sizeof half);
    model_node(&b, "Add", "x,w", "s");
    model_attr_int(&b, model_node(&b, "Cast", "s", "y"), "to", F16);
    model_output(&b, "y");
    expect_graph(&b, NULL, &g);
    const cr_tensor *w = cr_graph_find(g, "w");
    assert_int_equal(w->dtype, CR_DT_F32);
    assert_memory_equal(w->data, ((float[]){1, -2, 0, 65504}), 16);
    assert_int_equal(g->inputs[0]->dtype, CR_DT_F32);
    assert_int_equal(cr_attr_int(g->nodes[1], "to", 0), F32);
    cr_graph_free(&g);
}

static void symbolic_sizes(void **state)
{
    const cr_onnx_options sized = {.height = 64, .width = 96, .batch = 2};
    const cr_onnx_options keep = {.keep_symbolic = true};
    for (int with_meta = 0; with_meta < 4; with_meta++) {
        model b;
        cr_graph *g;
        model_begin(&b, 17);
        model_input(&b, "images", F32, symbolic, 4);
        model_node(&b, "Relu", "images", "y");
        model_output(&b, "y");
        if (with_meta == 1) model_meta(&b, "imgsz", "[320, 416]");
        if (with_meta == 0) {
            expect_error(&b, NULL, CR_ERR_ARGUMENT,
                         "input 'images' has symbolic size: give --imgsz");
            continue;
        }
        expect_graph(&b, with_meta == 2 ? &sized : with_meta == 3 ? &keep : NULL, &g);
        static const int64_t want[3][4] = {{1, 3, 320, 416}, {2, 3, 64, 96}, {-1, 3, -1, -1}};
        assert_memory_equal(g->inputs[0]->shape.dim, want[with_meta - 1], sizeof want[0]);
        cr_graph_free(&g);
    }
}

static void fixed_sizes_stay(void **state)
{
    const cr_onnx_options sized = {.height = 64, .width = 64};
    model b;
    model_begin(&b, 17);
    model_input(&b, "images", F32, picture, 4);
    model_node(&b, "Relu", "images", "y");
    model_output(&b, "y");
    expect_error(&b, &sized, CR_ERR_ARGUMENT, "input 'images' is fixed at 8");
}

static void external_data(void **state)
{
    const float v[6] = {9, 1, 2, 3, 4, 9};
    char folder[] = "/tmp/onnx_read_XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/weights.bin", folder);
    assert_int_equal(cr_file_write(path, v, sizeof v, NULL), CR_OK);
    static const struct {
        const char *location, *offset, *words;
    } cases[] = {
        {"weights.bin", "4", NULL},
        {"./weights.bin", "4", NULL},
        {"../weights.bin", "4", "not inside the model's folder"},
        {"a/../../weights.bin", "4", "not inside the model's folder"},
        {"/etc/passwd", "0", "not inside the model's folder"},
        {"link", "0", "not inside the model's folder"},
        {"nothing.bin", "0", "no external data file"},
        {"weights.bin", "12", "has no 16 bytes at offset 12"},
        {"weights.bin", "99999999999999", "has no 16 bytes"},
        {"weights.bin", "-4", "external data has offset '-4'"},
        {".", "0", "not inside the model's folder"},
        {"", "0", "without a location"},
    };
    char link[64];
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(symlink("/etc/hostname", link), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model b;
        cr_graph *g;
        cr_error err = {0};
        size_t size;
        relu_model(&b, 17);
        model_external(&b, model_init(&b, "w", F32, four, 1), cases[i].location, cases[i].offset);
        unsigned char *bytes = model_end(&b, &size);
        const cr_status st = cr_onnx_parse(bytes, size, folder, "m", NULL, &g, &err);
        if (cases[i].words) {
            if (st == CR_OK || !strstr(err.message, cases[i].words)) fail_msg("%s", err.message);
        } else {
            assert_int_equal(st, CR_OK);
            assert_memory_equal(cr_graph_find(g, "w")->data, v + 1, 16);
        }
        cr_graph_free(&g);
        free(bytes);
    }
    unlink(link);
    unlink(path);
    rmdir(folder);
}

static void constants(void **state)
{
    static int64_t ints[] = {3, 4};
    model b;
    cr_graph *g;
    relu_model(&b, 17);
    CrOnnx__AttributeProto *a = model_attr(&b, model_node(&b, "Constant", "", "c"), "value_ints");
    a->has_type = 1, a->type = 7, a->n_ints = 2, a->ints = ints;
    expect_graph(&b, NULL, &g);
    assert_int_equal(g->node_count, 1);
    assert_memory_equal(cr_graph_find(g, "c")->data, ints, sizeof ints);
    cr_graph_free(&g);

    relu_model(&b, 17);
    model_attr_int(&b, model_node(&b, "Constant", "", "x"), "value_int", 1);
    expect_error(&b, NULL, CR_ERR_FORMAT, "graph input 'x' is written by a node");
}

/* Every prefix of a good file and every single flipped bit: read, or refused with one line. */
static void damaged(void **state)
{
    const float v[4] = {1, 2, 3, 4};
    model b;
    relu_model(&b, 17);
    model_raw(model_init(&b, "w", F32, four, 1), v, sizeof v);
    model_node(&b, "Add", "y,w", "z");
    model_output(&b, "z");
    size_t size, refused = 0;
    unsigned char *bytes = model_end(&b, &size);
    for (size_t n = 0; n < size; n++) {
        cr_graph *g;
        cr_error err = {0};
        if (cr_onnx_parse(bytes, n, NULL, "cut", NULL, &g, &err) == CR_OK)
            cr_graph_free(&g);
        else
            refused += err.message[0] != 0 && !strchr(err.message, '\n');
    }
    assert_int_equal(refused, size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        cr_graph *g;
        cr_error err = {0};
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (cr_onnx_parse(bytes, size, NULL, "flipped", NULL, &g, &err) == CR_OK)
            cr_graph_free(&g);
        else
            assert_true(err.message[0] && !strchr(err.message, '\n'));
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    free(bytes);
}

/* A file of empty messages would become structures of a hundred times its size. */
static void memory_is_bounded(void **state)
{
    enum { NODES = 4 << 20 };
    unsigned char *bytes = malloc(2 * NODES + 16), *p = bytes;
    *p++ = 7 << 3 | 2; /* ModelProto.graph */
    for (uint64_t n = 2 * NODES; n; n >>= 7)
        *p++ = (unsigned char)((n & 127) | (n > 127 ? 128 : 0));
    for (size_t i = 0; i < NODES; i++) {
        *p++ = 1 << 3 | 2; /* GraphProto.node, empty */
        *p++ = 0;
    }
    cr_graph *g;
    cr_error err = {0};
    assert_int_equal(cr_onnx_parse(bytes, (size_t)(p - bytes), NULL, "m", NULL, &g, &err),
                     CR_ERR_LIMIT);
    assert_non_null(strstr(err.message, "far more memory"));
    free(bytes);
}

static void no_memory(void **state)
{
    static const int64_t cube[] = {2, 2, 2};
    const float v[4] = {1, 2, 3, 4};
    model b;
    model_begin(&b, 9);
    model_input(&b, "x", F32, cube, 3);
    model_raw(model_init(&b, "w", F32, four, 1), v, sizeof v);
    model_node(&b, "Softmax", "x", "z");
    model_node(&b, "Clip", "z", "c");
    model_output(&b, "c");
    size_t size;
    unsigned char *bytes = model_end(&b, &size);
    long n = 0;
    for (cr_status st = CR_ERR_MEMORY; st != CR_OK && n < 10000; n++) {
        cr_graph *g;
        cr_error err = {0};
        cr_alloc_fail_after(n);
        st = cr_onnx_parse(bytes, size, NULL, "m", NULL, &g, &err);
        cr_alloc_fail_after(-1);
        if (st != CR_OK) assert_null(g);
        cr_graph_free(&g);
    }
    assert_true(n > 10 && n < 10000);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minimal),
        cmocka_unit_test(opsets),
        cmocka_unit_test(missing_operators),
        cmocka_unit_test(subgraph_is_refused),
        cmocka_unit_test(wiring),
        cmocka_unit_test(duplicate_initializer),
        cmocka_unit_test(initializer_as_input),
        cmocka_unit_test(lengths_are_checked),
        cmocka_unit_test(payload_forms),
        cmocka_unit_test(widened),
        cmocka_unit_test(symbolic_sizes),
        cmocka_unit_test(fixed_sizes_stay),
        cmocka_unit_test(external_data),
        cmocka_unit_test(constants),
        cmocka_unit_test(damaged),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
