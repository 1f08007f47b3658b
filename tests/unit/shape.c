/* Shape arithmetic: broadcasting, strides, walks, and the readers of axes and lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "graph/shape.h"

static void test_broadcast(void **state)
{
    const cr_shape a = {3, {2, 1, 4}}, b = {2, {3, 1}}, scalar = {0, {0}}, empty = {1, {0}};
    cr_shape out;
    assert_true(cr_shape_broadcast(&a, &b, &out));
    assert_true(cr_shape_equal(&out, &(cr_shape){3, {2, 3, 4}}));
    assert_true(cr_shape_broadcast(&scalar, &a, &out));
    assert_true(cr_shape_equal(&out, &a));
    assert_true(cr_shape_broadcast(&empty, &(cr_shape){1, {1}}, &out));
    assert_true(cr_shape_equal(&out, &empty));
    assert_false(cr_shape_broadcast(&empty, &(cr_shape){1, {2}}, &out));
    assert_false(cr_shape_broadcast(&a, &(cr_shape){1, {3}}, &out));
    cr_shape self = a; /* the result may be an input */
    assert_true(cr_shape_broadcast(&self, &b, &self));
    assert_true(cr_shape_equal(&self, &(cr_shape){3, {2, 3, 4}}));
}

static void test_strides(void **state)
{
    const cr_shape in = {2, {3, 1}}, out = {3, {2, 3, 4}};
    int64_t s[CR_MAX_RANK];
    cr_shape_strides(&out, s);
    assert_int_equal(s[0], 12);
    assert_int_equal(s[1], 4);
    assert_int_equal(s[2], 1);
    cr_broadcast_strides(&in, &out, s);
    assert_int_equal(s[0], 0);
    assert_int_equal(s[1], 1);
    assert_int_equal(s[2], 0);
    assert_int_equal(cr_shape_span(&out, 1, 3), 12);
    assert_int_equal(cr_shape_span(&out, 1, 1), 1);
}

static void test_walk(void **state)
{
    const cr_shape in = {2, {3, 1}}, out = {3, {2, 3, 4}};
    cr_walk w = cr_walk_begin(&out);
    cr_shape_strides(&out, w.stride[0]);
    cr_broadcast_strides(&in, &out, w.stride[1]);
    w.stride[2][0] = -5; /* strides may be negative, offsets may start anywhere */
    w.at[2] = 7;
    for (int64_t i = 0; i < 24; i++, cr_walk_next(&w)) {
        assert_int_equal(w.at[0], i);
        assert_int_equal(w.at[1], i / 4 % 3);
        assert_int_equal(w.at[2], 7 - 5 * (i / 12));
        assert_int_equal(w.index[0] * 12 + w.index[1] * 4 + w.index[2], i);
    }
    assert_int_equal(w.at[0], 0); /* behind the end it is at the start again */
}

/* A dim of 0 must not hide other dims whose product would overflow strides. */
static void test_count_beside_zero(void **state)
{
    const int64_t big = (int64_t)1 << 39;
    assert_int_equal(cr_shape_count(&(cr_shape){2, {0, big}}), 0);
    assert_int_equal(cr_shape_count(&(cr_shape){3, {0, big, big}}), -1);
    assert_int_equal(cr_shape_count(&(cr_shape){2, {big, 2}}), big * 2);
    assert_int_equal(cr_shape_count(&(cr_shape){2, {big, 3}}), -1);
    assert_int_equal(cr_shape_count(&(cr_shape){0, {0}}), 1);
}

static int64_t numbers[9];
static cr_tensor list = {.name = "list", .dtype = CR_DT_I64, .data = numbers};

static cr_op_call call_with_list(void)
{
    static cr_node node = {.name = "n"};
    static const cr_tensor *in[1] = {&list};
    node.op = cr_op_get(CR_OP_Squeeze);
    return (cr_op_call){&node, in, NULL, 1, 0};
}

static void test_axis(void **state)
{
    const cr_op_call call = call_with_list();
    int axis = -1;
    cr_error err;
    assert_int_equal(cr_axis_normalize(-3, 3, call.node, &axis, &err), CR_OK);
    assert_int_equal(axis, 0);
    assert_int_equal(cr_axis_normalize(2, 3, call.node, &axis, &err), CR_OK);
    assert_int_equal(axis, 2);
    assert_int_equal(cr_axis_normalize(3, 3, call.node, &axis, &err), CR_ERR_FORMAT);
    assert_string_equal(err.message, "node 'n' (Squeeze): axis 3 is out of range for 3 dimensions");
    assert_int_equal(cr_axis_normalize(INT64_MIN, 3, call.node, &axis, &err), CR_ERR_FORMAT);
    assert_int_equal(cr_axis_normalize(0, 0, call.node, &axis, &err), CR_ERR_FORMAT);
}

static void test_lists(void **state)
{
    const cr_op_call call = call_with_list();
    int64_t values[8];
    bool flags[CR_MAX_RANK];
    int count;
    cr_error err;
    list.shape = (cr_shape){1, {2}};
    numbers[0] = -1;
    numbers[1] = 0;
    assert_int_equal(cr_op_ints(&call, 0, 8, values, &count, &err), CR_OK);
    assert_int_equal(count, 2);
    assert_int_equal(values[0], -1);
    assert_int_equal(cr_op_ints(&call, 0, 1, values, &count, &err), CR_ERR_FORMAT); /* too long */
    assert_int_equal(cr_op_axes(&call, 0, 3, flags, &count, &err), CR_OK);
    assert_true(flags[0] && !flags[1] && flags[2]);
    numbers[1] = 2; /* the same dim as -1 */
    assert_int_equal(cr_op_axes(&call, 0, 3, flags, &count, &err), CR_ERR_FORMAT);
    list.data = NULL;
    assert_int_equal(cr_op_ints(&call, 0, 8, values, &count, &err), CR_OK);
    assert_int_equal(count, -1);
    list.data = numbers;
    list.dtype = CR_DT_F32;
    assert_int_equal(cr_op_ints(&call, 0, 8, values, &count, &err), CR_ERR_UNSUPPORTED);
    list.dtype = CR_DT_I64;
    assert_int_equal(cr_op_ints(&call, 1, 8, values, &count, &err), CR_OK); /* absent */
    assert_int_equal(count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_axis),
        cmocka_unit_test(test_count_beside_zero),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
