/* What recipes change in a graph: branches and splits keep the function, values replace constants,
 * recipe.json keeps all of it, what does not fit is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "quant/plan.h"
#include "runtime/runtime.h"
#include "unit/graphs.h"

static char path[64];

static int make_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/crayon-rewrite-%ld.json", (long)getpid());
    return 0;
}

static int drop_path(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

/* x -> Relu -> t;  t -> Conv a -> Sigmoid;  t -> Conv b;  both summed are the output. */
typedef struct net {
    cr_graph *g;
    cr_tensor *t, *wa, *wb, *ya, *yb;
} net;

static net make_net(void)
{
    net n = {.g = graph_new()};
    cr_rng rng;
    cr_rng_seed(&rng, 7);
    cr_tensor *x = graph_input(n.g, "x", shape_of(4, 1, 4, 6, 6));
    n.t = apply1(n.g, CR_OP_Relu, x);
    n.wa = const_random(n.g, &rng, "wa", shape_of(4, 3, 4, 3, 3), -1, 1);
    n.wb = const_random(n.g, &rng, "wb", shape_of(4, 3, 4, 3, 3), -1, 1);
    n.ya = apply2(n.g, CR_OP_Conv, n.t, n.wa);
    n.yb = apply2(n.g, CR_OP_Conv, n.t, n.wb);
    graph_output(n.g, apply2(n.g, CR_OP_Add, apply1(n.g, CR_OP_Sigmoid, n.ya), n.yb));
    graph_ready(n.g);
    return n;
}

static cr_recipe *empty(void)
{
    cr_recipe *r;
    assert_int_equal(cr_recipe_create(&r, NULL), CR_OK);
    return r;
}

static cr_graph *applied(const cr_recipe *r, const cr_graph *g)
{
    cr_graph *out;
    cr_error err;
    if (cr_recipe_apply(r, g, &out, &err) != CR_OK) fail_msg("%s", err.message);
    return out;
}

static float *run(const cr_graph *g)
{
    float x[4 * 36];
    const float *const inputs[] = {x};
    cr_tensor out = {0};
    cr_error err;
    for (int i = 0; i < 4 * 36; i++) x[i] = sinf((float)i);
    if (cr_reference_run(g, NULL, inputs, &out, NULL, &err) != CR_OK) fail_msg("%s", err.message);
    float *copy = calloc(48, sizeof *copy);
    assert_int_equal(cr_shape_count(&out.shape), 48);
    memcpy(copy, out.data, 48 * sizeof *copy);
    cr_tensor_drop_data(&out);
    return copy;
}

static void same_function(const cr_graph *a, const cr_graph *b, float tolerance)
{
    float *x = run(a), *y = run(b);
    for (int i = 0; i < 48; i++)
        if (!(fabsf(x[i] - y[i]) <= tolerance))
            fail_msg("%d: %g and %g", i, (double)x[i], (double)y[i]);
    free(x);
    free(y);
}

static float powers[4] = {.5f, 4, 1, .125f};

/* Powers of two through a branch and out of the weights again: the same bits. */
static void branch_for_one_reader(void **state)
{
    (void)state;
    net n = make_net();
    cr_recipe *r = empty();
    const char *reader = n.yb->name;
    const cr_rewrite step = {
        CR_REWRITE_BRANCH, n.t->name, "t_scaled", &reader, 1, powers, 4, NULL, 0};
    assert_false(cr_recipe_changes_graph(r));
    assert_int_equal(cr_recipe_add_rewrite(r, &step, NULL), CR_OK);
    float w[3 * 4 * 9];
    for (int i = 0; i < 108; i++) w[i] = ((const float *)n.wb->data)[i] / powers[i / 9 % 4];
    assert_int_equal(cr_recipe_set_value(r, "wb", &n.wb->shape, w, NULL), CR_OK);
    assert_true(cr_recipe_changes_graph(r));
    const float first = ((const float *)n.wb->data)[0];
    cr_graph *g = applied(r, n.g);
    const cr_tensor *scaled = cr_graph_find(g, "t_scaled");
    assert_non_null(scaled);
    assert_int_equal(scaled->producer->op->kind, CR_OP_Mul);
    assert_ptr_equal(cr_graph_find(g, n.yb->name)->producer->in[0], scaled);
    assert_string_equal(cr_graph_find(g, n.ya->name)->producer->in[0]->name, n.t->name);
    same_function(n.g, g, 0);
    assert_true(((const float *)n.wb->data)[0] == first); /* the source is as it was */
    cr_graph_free(&g);
    cr_recipe_release(&r);
    cr_graph_free(&n.g);
}

/* What made t makes t times a power of two; a product behind it gives t back, under its name. */
static void restore_keeps_the_name(void **state)
{
    (void)state;
    net n = make_net();
    cr_recipe *r = empty();
    int64_t axis = 1;
    const cr_rewrite step = {
        CR_REWRITE_RESTORE, n.t->name, "t_small", NULL, 0, powers, 4, &axis, 1};
    assert_int_equal(cr_recipe_add_rewrite(r, &step, NULL), CR_OK);
    cr_graph *g = applied(r, n.g);
    const cr_tensor *t = cr_graph_find(g, n.t->name), *small = cr_graph_find(g, "t_small");
    assert_int_equal(t->producer->op->kind, CR_OP_Mul);
    assert_ptr_equal(t->producer->in[0], small);
    assert_int_equal(small->producer->op->kind, n.t->producer->op->kind);
    assert_ptr_equal(cr_graph_find(g, n.ya->name)->producer->in[0], t);
    cr_graph_free(&g);
    cr_recipe_release(&r);
    cr_graph_free(&n.g);
}

static void branch_for_all_is_an_identity(void **state)
{
    (void)state;
    net n = make_net();
    cr_recipe *r = empty();
    const cr_rewrite step = {.kind = CR_REWRITE_BRANCH, .tensor = n.t->name, .result = "copy"};
    assert_int_equal(cr_recipe_add_rewrite(r, &step, NULL), CR_OK);
    cr_graph *g = applied(r, n.g);
    assert_int_equal(cr_graph_find(g, "copy")->producer->op->kind, CR_OP_Identity);
    assert_int_equal(cr_graph_find(g, "copy")->uses, 2);
    assert_int_equal(cr_graph_find(g, n.t->name)->uses, 1);
    same_function(n.g, g, 0);
    cr_graph_free(&g);
    cr_recipe_release(&r);
    cr_graph_free(&n.g);
}

/* Halves are exact, but the sum takes the repeated channels last: another order of rounding. */
static void split_keeps_the_function(void **state)
{
    (void)state;
    net n = make_net();
    cr_recipe *r = empty();
    const char *reader = n.ya->name;
    int64_t channels[2] = {1, 3};
    const cr_rewrite step = {CR_REWRITE_SPLIT, n.t->name, "t_split", &reader, 1, NULL, 0,
                             channels,         2};
    assert_int_equal(cr_recipe_add_rewrite(r, &step, NULL), CR_OK);
    cr_graph *g = applied(r, n.g);
    const cr_node *conv = cr_graph_find(g, n.ya->name)->producer;
    assert_int_equal(conv->in[0]->shape.dim[1], 6);
    assert_int_equal(conv->in[1]->shape.dim[1], 6);
    same_function(n.g, g, 1e-5f);
    cr_graph_free(&g);
    cr_recipe_release(&r);
    cr_graph_free(&n.g);
}

static void refused_step(const net *n, cr_rewrite step, const char *part)
{
    cr_recipe *r = empty();
    cr_error err;
    cr_graph *g = NULL;
    cr_status st = cr_recipe_add_rewrite(r, &step, &err);
    if (st == CR_OK) {
        st = cr_recipe_apply(r, n->g, &g, &err);
        assert_int_equal(st, CR_ERR_ARGUMENT);
    } else {
        assert_int_equal(st, CR_ERR_FORMAT);
    }
    assert_null(g);
    if (!strstr(err.message, part)) fail_msg("'%s' does not say '%s'", err.message, part);
    cr_recipe_release(&r);
}

static void steps_that_do_not_fit(void **state)
{
    (void)state;
    net n = make_net();
    const char *nobody = "nobody", *reader = n.ya->name, *t = n.t->name;
    float bad[4] = {1, 0, 1, 1};
    int64_t far[1] = {4}, twice[2] = {1, 1}, one[1] = {1};
    refused_step(&n, (cr_rewrite){.kind = CR_REWRITE_BRANCH, .tensor = "no", .result = "y"},
                 "'no'");
    refused_step(&n, (cr_rewrite){.kind = CR_REWRITE_BRANCH, .tensor = "wa", .result = "y"},
                 "'wa'");
    refused_step(&n, (cr_rewrite){.kind = CR_REWRITE_BRANCH, .tensor = t, .result = "x"},
                 "already");
    refused_step(&n, (cr_rewrite){CR_REWRITE_BRANCH, t, "y", &nobody, 1, NULL, 0, NULL, 0},
                 "reader");
    refused_step(&n, (cr_rewrite){CR_REWRITE_BRANCH, t, "y", NULL, 0, powers, 3, NULL, 0},
                 "3 factors");
    refused_step(&n, (cr_rewrite){CR_REWRITE_BRANCH, t, "y", NULL, 0, bad, 4, NULL, 0}, "factor 0");
    refused_step(&n, (cr_rewrite){CR_REWRITE_RESTORE, t, "y", NULL, 0, powers, 4, far, 1},
                 "axis 4");
    refused_step(&n, (cr_rewrite){CR_REWRITE_RESTORE, t, "y", NULL, 0, powers, 4, NULL, 0},
                 "one axis");
    refused_step(
        &n, (cr_rewrite){CR_REWRITE_RESTORE, n.g->inputs[0]->name, "y", NULL, 0, powers, 3, one, 1},
        "input");
    refused_step(&n, (cr_rewrite){CR_REWRITE_SPLIT, t, "y", &reader, 1, NULL, 0, far, 1},
                 "does not fit");
    refused_step(&n, (cr_rewrite){CR_REWRITE_SPLIT, t, "y", &reader, 1, NULL, 0, twice, 2},
                 "ascending");
    refused_step(&n, (cr_rewrite){CR_REWRITE_SPLIT, t, "y", &nobody, 1, NULL, 0, one, 1},
                 "no such");
    refused_step(&n, (cr_rewrite){CR_REWRITE_SPLIT, t, "y", NULL, 0, NULL, 0, one, 1},
                 "one reader");
    cr_graph_free(&n.g);
}

static void refused_value(const net *n, const char *name, cr_shape shape, float value,
                          const char *part)
{
    cr_recipe *r = empty();
    cr_error err;
    cr_graph *g;
    float *x = calloc(200, sizeof *x);
    x[0] = value;
    cr_status st = cr_recipe_set_value(r, name, &shape, x, &err);
    if (st == CR_OK) st = cr_recipe_apply(r, n->g, &g, &err);
    assert_int_not_equal(st, CR_OK);
    if (!strstr(err.message, part)) fail_msg("'%s' does not say '%s'", err.message, part);
    assert_non_null(strstr(err.message, name));
    free(x);
    cr_recipe_release(&r);
}

static void values_that_do_not_fit(void **state)
{
    (void)state;
    net n = make_net();
    refused_value(&n, "wa", shape_of(4, 3, 4, 3, 2), 0, "do not fit");
    refused_value(&n, "nobody", shape_of(1, 3), 0, "do not fit");
    refused_value(&n, n.t->name, n.t->shape, 0, "do not fit");
    refused_value(&n, "wa", n.wa->shape, NAN, "finite");
    refused_value(&n, "wa", n.wa->shape, INFINITY, "finite");
    refused_value(&n, "wa", shape_of(2, 0, 4), 0, "without a shape");
    cr_graph_free(&n.g);
}

/* ---- recipe.json ---- */

static void add_weight_entry(cr_recipe *r, const char *name, cr_dtype type, int axis, size_t count,
                             float *scale)
{
    int32_t zero[4] = {0};
    const cr_qparams q = {type, axis, count, scale, zero};
    assert_int_equal(cr_recipe_add(r, name, true, &q, "", NULL), CR_OK);
}

static bool file_has(const char *text)
{
    unsigned char *bytes;
    size_t size;
    assert_int_equal(cr_file_read(path, 1 << 20, &bytes, &size, NULL), CR_OK);
    char *copy = calloc(1, size + 1);
    memcpy(copy, bytes, size);
    const bool has = strstr(copy, text) != NULL;
    free(copy);
    cr_free(bytes);
    return has;
}

static cr_recipe *through_the_file(const cr_recipe *r)
{
    cr_recipe *back;
    cr_error err;
    if (cr_recipe_write(r, path, &err) != CR_OK) fail_msg("%s", err.message);
    if (cr_recipe_read(path, &back, &err) != CR_OK) fail_msg("%s", err.message);
    return back;
}

static void same_values(const cr_recipe *a, const cr_recipe *b)
{
    assert_int_equal(a->value_count, b->value_count);
    for (size_t i = 0; i < a->value_count; i++) {
        const cr_recipe_value *x = &a->values[i], *y = cr_recipe_find_value(b, x->tensor);
        assert_non_null(y);
        assert_true(cr_shape_equal(&x->shape, &y->shape));
        assert_memory_equal(x->data, y->data, (size_t)cr_shape_count(&x->shape) * sizeof *x->data);
    }
}

/* Values on the entry's grid are kept as codes, others as floats; both come back bit for bit. */
static void values_through_the_file(void **state)
{
    (void)state;
    static const cr_dtype types[] = {CR_DT_I8, CR_DT_U8, CR_DT_I4, CR_DT_I16, CR_DT_U16};
    float scale[4] = {.1f, .37f, 1e-4f, 3};
    for (size_t k = 0; k < 5; k++) {
        for (int axis = -1; axis < 2; axis++) {
            cr_recipe *r = empty();
            const cr_shape shape = shape_of(3, 4, 4, 5);
            const cr_tensor t = {
                .name = "w", .dtype = CR_DT_F32, .shape = shape, .data = calloc(80, sizeof(float))};
            float *x = t.data;
            for (int i = 0; i < 80; i++) x[i] = cosf((float)i);
            add_weight_entry(r, "w", types[k], axis, axis < 0 ? 1 : 4, scale);
            assert_int_equal(cr_recipe_set_value(r, "w", &shape, x, NULL), CR_OK);
            cr_recipe *loose = through_the_file(r);
            assert_true(file_has("\"float32\""));
            same_values(r, loose);
            cr_fake_quantize(&t, &r->entries[0].q, x);
            assert_int_equal(cr_recipe_set_value(r, "w", &shape, x, NULL), CR_OK);
            assert_int_equal(r->value_count, 1);
            cr_recipe *tight = through_the_file(r);
            assert_true(file_has("\"codes\""));
            same_values(r, tight);
            free(x);
            cr_recipe_release(&loose);
            cr_recipe_release(&tight);
            cr_recipe_release(&r);
        }
    }
}

static void steps_through_the_file(void **state)
{
    (void)state;
    net n = make_net();
    cr_recipe *r = empty();
    const char *a = n.ya->name, *b = n.yb->name;
    int64_t channels[2] = {0, 2};
    const cr_rewrite branch = {CR_REWRITE_BRANCH, n.t->name, "t_scaled", &b, 1, powers, 4, NULL, 0};
    const cr_rewrite split = {CR_REWRITE_SPLIT, n.t->name, "t_split", &a, 1, NULL, 0, channels, 2};
    const cr_rewrite copy = {.kind = CR_REWRITE_BRANCH, .tensor = "t_split", .result = "t_copy"};
    assert_int_equal(cr_recipe_add_rewrite(r, &branch, NULL), CR_OK);
    assert_int_equal(cr_recipe_add_rewrite(r, &split, NULL), CR_OK);
    assert_int_equal(cr_recipe_add_rewrite(r, &copy, NULL), CR_OK);
    cr_recipe *back = through_the_file(r);
    cr_graph *g = applied(r, n.g), *h = applied(back, n.g);
    assert_int_equal(g->node_count, h->node_count);
    same_function(g, h, 0);
    cr_graph_free(&g);
    cr_graph_free(&h);
    cr_recipe_release(&back);
    cr_recipe_release(&r);
    cr_graph_free(&n.g);
}

static void hostile(const char *text, const char *part)
{
    cr_error err;
    cr_recipe *r = NULL;
    char all[1024];
    snprintf(all, sizeof all,
             "{\"format\": \"crayon-recipe\", \"version\": 1, \"activations\": {}, \"weights\": "
             "{\"w\": {\"type\": \"int4\", \"scale\": [1], \"zero_point\": [0]}}, %s}",
             text);
    assert_int_equal(cr_file_write(path, all, strlen(all), &err), CR_OK);
    assert_int_equal(cr_recipe_read(path, &r, &err), CR_ERR_FORMAT);
    assert_null(r);
    if (!strstr(err.message, part)) fail_msg("'%s' does not say '%s'", err.message, part);
}

#define STEP(fields)  "\"rewrites\": [{\"tensor\": \"t\", \"result\": \"y\", " fields "}]"
#define VALUE(fields) "\"values\": {\"w\": {" fields "}}"

static void hostile_files(void **state)
{
    (void)state;
    hostile("\"rewrites\": [5]", "a rewrite needs");
    hostile(STEP("\"kind\": \"erase\""), "a rewrite needs");
    hostile(STEP("\"kind\": \"branch\", \"readers\": [1]"), "must be names");
    hostile(STEP("\"kind\": \"branch\", \"factor\": [\"1\"]"), "list of numbers");
    hostile(STEP("\"kind\": \"branch\", \"factor\": [0]"), "factor 0");
    hostile(STEP("\"kind\": \"split\", \"readers\": [\"a\"], \"channel\": [1.5]"), "whole numbers");
    hostile(STEP("\"kind\": \"split\", \"readers\": [\"a\"], \"channel\": [-1]"), "ascending");
    hostile(STEP("\"kind\": \"split\", \"readers\": [\"a\"]"), "list of channels");
    hostile(VALUE("\"shape\": [1]"), "need shape and codes");
    hostile(VALUE("\"shape\": [0], \"codes\": \"\""), "need shape and codes");
    hostile(VALUE("\"shape\": [1099511627776], \"codes\": \"AAAA\""), "too few");
    hostile(VALUE("\"shape\": [9, 9, 9, 9, 9, 9, 9, 9, 9], \"codes\": \"AAAA\""), "need shape");
    hostile(VALUE("\"shape\": [3], \"codes\": \"AA!A\""), "not base64");
    hostile(VALUE("\"shape\": [2], \"codes\": \"AAAA\""), "not base64");
    hostile(VALUE("\"shape\": [2], \"codes\": \"AAB=AAAA\""), "not base64");
    hostile(VALUE("\"shape\": [3], \"codes\": \"AAAI\""), "outside int4");
    hostile(VALUE("\"shape\": [1], \"float32\": \"AADAfw==\""), "finite");
    hostile("\"values\": {\"v\": {\"shape\": [3], \"codes\": \"AAAA\"}}", "without an entry");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branch_for_one_reader),
        cmocka_unit_test(restore_keeps_the_name),
        cmocka_unit_test(branch_for_all_is_an_identity),
        cmocka_unit_test(split_keeps_the_function),
        cmocka_unit_test(steps_that_do_not_fit),
        cmocka_unit_test(values_that_do_not_fit),
        cmocka_unit_test(values_through_the_file),
        cmocka_unit_test(steps_through_the_file),
        cmocka_unit_test(hostile_files),
    };
    return cmocka_run_group_tests(tests, make_path, drop_path);
}
