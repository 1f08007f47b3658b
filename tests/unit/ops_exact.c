/* Reference operators where the standard's own node tests do not look: integers at their limits,
 * NaN, empty tensors, indices and sizes that a broken file may hold. All expected values are
 * exact. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "graph/graph.h"
#include "ops/ref.h"

static cr_graph *g;
static cr_error err;

static int setup(void **state)
{
    return cr_graph_create(&g, NULL) != CR_OK;
}

static int teardown(void **state)
{
    cr_graph_free(&g);
    return 0;
}

static cr_tensor *constant(cr_dtype dtype, cr_shape shape, const void *data)
{
    cr_tensor *t = cr_graph_new_const(g, "c", dtype, shape);
    assert_non_null(t);
    if (cr_tensor_bytes(t)) memcpy(t->data, data, cr_tensor_bytes(t));
    return t;
}

#define VEC(dtype, ctype, ...)                                                                     \
    constant(dtype, (cr_shape){1, {sizeof((ctype[]){__VA_ARGS__}) / sizeof(ctype)}},               \
             (ctype[]){__VA_ARGS__})
#define F32(...)               VEC(CR_DT_F32, float, __VA_ARGS__)
#define I64(...)               VEC(CR_DT_I64, int64_t, __VA_ARGS__)
#define I32(...)               VEC(CR_DT_I32, int32_t, __VA_ARGS__)
#define I8(...)                VEC(CR_DT_I8, int8_t, __VA_ARGS__)
#define U8(...)                VEC(CR_DT_U8, uint8_t, __VA_ARGS__)
#define EMPTY(dtype, ...)      constant(dtype, (cr_shape)__VA_ARGS__, NULL)
#define SCALAR(dtype, type, x) constant(dtype, (cr_shape){0, {0}}, &(type){x})

/* A node with up to four inputs (NULL ends the list), one output and up to two attributes. */
static cr_node *node(cr_op_kind kind, int n_in, cr_tensor *a, cr_tensor *b, cr_tensor *c,
                     cr_tensor *d)
{
    cr_tensor *const in[4] = {a, b, c, d};
    cr_node *n = cr_graph_add_node(g, kind, "n", n_in, 1, 2);
    assert_non_null(n);
    memcpy(n->in, in, (size_t)n_in * sizeof *in);
    n->out[0] = cr_graph_new_tensor(g, "y", CR_DT_NONE, cr_shape_unknown());
    return n;
}

static cr_status run(cr_node *n)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    memset(&err, 0, sizeof err);
    return cr_op_run(&call, &err);
}

static void assert_data(const cr_node *n, const cr_tensor *want)
{
    const cr_tensor *y = n->out[0];
    assert_int_equal(y->dtype, want->dtype);
    assert_true(cr_shape_equal(&y->shape, &want->shape));
    assert_memory_equal(y->data, want->data, cr_tensor_bytes(want));
}

static void expect2(cr_op_kind kind, cr_tensor *a, cr_tensor *b, const cr_tensor *want)
{
    cr_node *n = node(kind, b ? 2 : 1, a, b, NULL, NULL);
    assert_int_equal(run(n), CR_OK);
    assert_data(n, want);
}

static void expect_failure(cr_node *n, cr_status status, const char *text)
{
    assert_int_equal(run(n), status);
    assert_string_equal(err.message, text);
}

static void test_integer_limits(void **state)
{
    const int64_t max = INT64_MAX, min = INT64_MIN;
    expect2(CR_OP_Add, I64(max, 1), I64(1, 2), I64(min, 3));
    expect2(CR_OP_Add, I64(((int64_t)1 << 53) + 1), I64(0), I64(((int64_t)1 << 53) + 1));
    expect2(CR_OP_Mul, I8(100, -128), I8(3, -1), I8(44, -128));
    expect2(CR_OP_Div, I64(min, -7, 7), I64(-1, 2, -2), I64(min, -3, -3));
    expect2(CR_OP_Div, I8(-128), I8(-1), I8(-128));
    expect2(CR_OP_Mod, I64(min, -7, 7), I64(-1, 3, -3), I64(0, 2, -2));
    expect2(CR_OP_Sub, U8(1), U8(2), U8(255));
    expect2(CR_OP_Neg, I64(min, 5), NULL, I64(min, -5));
    expect2(CR_OP_Abs, I8(-128, -3), NULL, I8(-128, 3));
    expect2(CR_OP_Pow, I32(3, -2, 2), I32(20, 3, 32), I32(-808182895, -8, 0));
    expect2(CR_OP_Pow, I32(2, -1, 1), I32(-1, -3, -9), I32(0, -1, 1));
    expect2(CR_OP_Sign, U8(0, 200), NULL, U8(0, 1));
    expect2(CR_OP_Max, I64(max, min), I64(max - 1, min + 1), I64(max, min + 1));
    expect2(CR_OP_Greater, I64(max), I64(max - 1), VEC(CR_DT_BOOL, uint8_t, 1));
}

static void test_division_by_zero(void **state)
{
    expect_failure(node(CR_OP_Div, 2, I32(1, 2), I32(1, 0), NULL, NULL), CR_ERR_FORMAT,
                   "node 'n' (Div): integer division by 0");
    expect_failure(node(CR_OP_Mod, 2, U8(1), U8(0), NULL, NULL), CR_ERR_FORMAT,
                   "node 'n' (Mod): integer division by 0");
    expect2(CR_OP_Div, F32(1, -1), F32(0, 0), F32(INFINITY, -INFINITY));
}

static void test_nan(void **state)
{
    cr_node *n = node(CR_OP_Max, 2, F32(NAN, 1, 1), F32(1, NAN, 2), NULL, NULL);
    assert_int_equal(run(n), CR_OK);
    const float *y = n->out[0]->data;
    assert_true(isnan(y[0]) && isnan(y[1]) && y[2] == 2);
    n = node(CR_OP_Relu, 1, F32(NAN, -1), NULL, NULL, NULL);
    assert_int_equal(run(n), CR_OK);
    y = n->out[0]->data;
    assert_true(isnan(y[0]) && y[1] == 0);
    n = node(CR_OP_Clip, 3, F32(NAN, 9), SCALAR(CR_DT_F32, float, 0), SCALAR(CR_DT_F32, float, 6),
             NULL);
    assert_int_equal(run(n), CR_OK);
    y = n->out[0]->data;
    assert_true(isnan(y[0]) && y[1] == 6);
    expect2(CR_OP_Equal, F32(NAN, -0.0f), F32(NAN, 0.0f), VEC(CR_DT_BOOL, uint8_t, 0, 1));
    expect2(CR_OP_Sigmoid, F32(-1000, 1000), NULL, F32(0, 1));
    expect2(CR_OP_Swish, F32(-1e30f, 1e30f), NULL, F32(-0.0f, 1e30f));
}

static void test_clip_crossed(void **state)
{
    cr_node *n = node(CR_OP_Clip, 3, I64(-5, 0, 5), SCALAR(CR_DT_I64, int64_t, 3),
                      SCALAR(CR_DT_I64, int64_t, 1), NULL);
    assert_int_equal(run(n), CR_OK);
    assert_data(n, I64(1, 1, 1)); /* the upper bound wins */
}

static void cast(cr_tensor *from, cr_dtype to, const cr_tensor *want)
{
    cr_node *n = node(CR_OP_Cast, 1, from, NULL, NULL, NULL);
    cr_attr_set_int(&n->attrs[0], "to", cr_dtype_to_onnx(to));
    assert_int_equal(run(n), CR_OK);
    assert_data(n, want);
}

static void test_cast(void **state)
{
    cast(I64(200, -1, 256), CR_DT_I8, I8(-56, -1, 0));
    cast(I64(7, 8, -9), CR_DT_I4, VEC(CR_DT_I4, int8_t, 7, -8, 7));
    cast(F32(NAN, 0.5f, -0.0f), CR_DT_BOOL, VEC(CR_DT_BOOL, uint8_t, 1, 1, 0));
    cast(F32(1e30f, -1e30f, -1.9f), CR_DT_I64, I64(INT64_MAX, INT64_MIN, -1));
    cast(F32(1.5e19f), CR_DT_U64, VEC(CR_DT_U64, uint64_t, 15000000520515485696u));
    /* 2^53 + 2^29 + 1 is above the middle of two floats; by way of double it would be a tie */
    cast(I64(((int64_t)1 << 53) + ((int64_t)1 << 29) + 1), CR_DT_F32, F32(0x1.000002p53f));
}

static void test_slice(void **state)
{
    cr_tensor *x = F32(0, 1, 2, 3, 4);
    const int64_t max = INT64_MAX, min = INT64_MIN;
    const int64_t cases[][3] = {{1, max, 2},  {max, min, -2}, {min, max, max},
                                {-1, -4, -1}, {3, 1, 1},      {4, -9, min}};
    const cr_tensor *want[] = {
        F32(1, 3), F32(4, 2, 0), F32(0), F32(4, 3, 2), EMPTY(CR_DT_F32, {1, {0}}), F32(4)};
    for (int i = 0; i < 6; i++) {
        cr_node *n = cr_graph_add_node(g, CR_OP_Slice, "n", 5, 1, 0);
        n->in[0] = x;
        n->in[1] = I64(cases[i][0]);
        n->in[2] = I64(cases[i][1]);
        n->in[4] = I64(cases[i][2]);
        n->out[0] = cr_graph_new_tensor(g, "y", CR_DT_NONE, cr_shape_unknown());
        assert_int_equal(run(n), CR_OK);
        assert_data(n, want[i]);
    }
}

static void pad(const char *mode, int64_t before, int64_t after, const cr_tensor *want)
{
    cr_node *n = node(CR_OP_Pad, 2, F32(1, 2, 3), I64(before, after), NULL, NULL);
    cr_attr_set_string(g, &n->attrs[0], "mode", mode);
    assert_int_equal(run(n), CR_OK);
    assert_data(n, want);
}

static void test_pad(void **state)
{
    pad("constant", -1, 2, F32(2, 3, 0, 0));
    pad("reflect", 5, 0, F32(2, 1, 2, 3, 2, 1, 2, 3)); /* further than the line is long */
    pad("reflect", -1, 2, F32(2, 3, 2, 3));            /* reflects what is left */
    pad("wrap", 4, 1, F32(3, 1, 2, 3, 1, 2, 3, 1));
    pad("edge", 1, -2, F32(1, 1));
    pad("edge", -3, 0, EMPTY(CR_DT_F32, {1, {0}}));
    expect_failure(node(CR_OP_Pad, 2, F32(1), I64(-2, 0), NULL, NULL), CR_ERR_FORMAT,
                   "node 'n' (Pad): padding takes more away than the 1 there are");
}

static void test_indices(void **state)
{
    expect2(CR_OP_Gather, F32(1, 2, 3), I64(-1, 0), F32(3, 1));
    expect_failure(node(CR_OP_Gather, 2, F32(1, 2, 3), I64(3), NULL, NULL), CR_ERR_FORMAT,
                   "node 'n' (Gather): index 3 is out of range for 3");
    expect_failure(node(CR_OP_GatherElements, 2, F32(1, 2), I64(-3), NULL, NULL), CR_ERR_FORMAT,
                   "node 'n' (GatherElements): index -3 is out of range for 2");
    expect_failure(node(CR_OP_ScatterElements, 3, F32(1, 2), I64(INT64_MIN), F32(9), NULL),
                   CR_ERR_FORMAT,
                   "node 'n' (ScatterElements): index -9223372036854775808 is out of range for 2");
    expect_failure(node(CR_OP_Gather, 2, EMPTY(CR_DT_F32, {1, {0}}), I64(0), NULL, NULL),
                   CR_ERR_FORMAT, "node 'n' (Gather): index 0 is out of range for 0");
    expect2(CR_OP_Gather, EMPTY(CR_DT_F32, {1, {0}}), EMPTY(CR_DT_I64, {1, {0}}),
            EMPTY(CR_DT_F32, {1, {0}}));
}

static void test_reshape(void **state)
{
    cr_tensor *x = F32(1, 2, 3, 4, 5, 6);
    cr_node *n = node(CR_OP_Reshape, 2, x, I64(2, -1), NULL, NULL);
    assert_int_equal(run(n), CR_OK);
    assert_true(cr_shape_equal(&n->out[0]->shape, &(cr_shape){2, {2, 3}}));
    expect_failure(node(CR_OP_Reshape, 2, x, I64(4, -1), NULL, NULL), CR_ERR_FORMAT,
                   "node 'n' (Reshape): 6 cannot become 4x?");
    expect_failure(node(CR_OP_Reshape, 2, x, I64(-1, -1), NULL, NULL), CR_ERR_FORMAT,
                   "node 'n' (Reshape): the target has more than one -1");
    expect_failure(node(CR_OP_Reshape, 2, x, I64(3, -2), NULL, NULL), CR_ERR_FORMAT,
                   "node 'n' (Reshape): the target has a size of -2");
    const int64_t half = (int64_t)1 << 32; /* the product is 0 modulo 2^64 */
    assert_int_equal(run(node(CR_OP_Reshape, 2, x, I64(half, half), NULL, NULL)), CR_ERR_FORMAT);
}

static void test_range(void **state)
{
    const int64_t max = INT64_MAX, min = INT64_MIN;
    cr_node *n = node(CR_OP_Range, 3, I64(max - 2), I64(max), I64(2), NULL);
    assert_int_equal(run(n), CR_OK);
    assert_data(n, I64(max - 2));
    n = node(CR_OP_Range, 3, I64(max), I64(min), I64(min), NULL);
    assert_int_equal(run(n), CR_OK);
    assert_data(n, I64(max, -1));
    expect_failure(node(CR_OP_Range, 3, I64(min), I64(max), I64(1), NULL), CR_ERR_LIMIT,
                   "node 'n' (Range): the range is too long");
    expect_failure(node(CR_OP_Range, 3, F32(0), F32(9), F32(0), NULL), CR_ERR_FORMAT,
                   "node 'n' (Range): a step of 0");
    expect_failure(node(CR_OP_Range, 3, F32(0), F32(NAN), F32(1), NULL), CR_ERR_LIMIT,
                   "node 'n' (Range): the range is too long");
}

static void test_top_k(void **state)
{
    cr_node *n = cr_graph_add_node(g, CR_OP_TopK, "n", 2, 2, 1);
    n->in[0] = I64(5, INT64_MIN, 7, 5, INT64_MAX, 7);
    n->in[1] = I64(5);
    n->out[1] = cr_graph_new_tensor(g, "i", CR_DT_NONE, cr_shape_unknown());
    assert_int_equal(run(n), CR_OK);             /* the values may be absent */
    const cr_tensor *order = I64(4, 2, 5, 0, 3); /* equals: lower index first */
    assert_memory_equal(n->out[1]->data, order->data, cr_tensor_bytes(order));
    cr_attr_set_int(&n->attrs[0], "largest", 0);
    assert_int_equal(run(n), CR_OK);
    order = I64(1, 0, 3, 2, 5);
    assert_memory_equal(n->out[1]->data, order->data, cr_tensor_bytes(order));
    n->in[1] = I64(7);
    expect_failure(n, CR_ERR_FORMAT, "node 'n' (TopK): k is 7, but there are 6");
}

/* float16 passes through arithmetic by way of float32 and is rounded once. */
static void test_half(void **state)
{
    uint16_t a[2], b[2], sum[2];
    const float x[2] = {2048, 65504}, y[2] = {1, 32}, z[2] = {2048, INFINITY};
    for (int i = 0; i < 2; i++) {
        a[i] = cr_f32_to_f16(x[i]);
        b[i] = cr_f32_to_f16(y[i]);
        sum[i] = cr_f32_to_f16(z[i]);
    }
    const cr_shape two = {1, {2}};
    expect2(CR_OP_Add, constant(CR_DT_F16, two, a), constant(CR_DT_F16, two, b),
            constant(CR_DT_F16, two, sum));
    expect2(CR_OP_Identity, constant(CR_DT_F16, two, a), NULL, constant(CR_DT_F16, two, a));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_integer_limits),
        TEST(test_division_by_zero),
        TEST(test_nan),
        TEST(test_clip_crossed),
        TEST(test_cast),
        TEST(test_slice),
        TEST(test_pad),
        TEST(test_indices),
        TEST(test_reshape),
        TEST(test_range),
        TEST(test_top_k),
        TEST(test_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
