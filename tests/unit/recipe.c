/* Recipes: entries that are refused, recipe.json back and forth and hostile, binding to a graph,
 * codes of tensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/file.h"
#include "quant/explain.h"
#include "quant/plan.h"
#include "unit/random_recipe.h"

static char path[64];

static int make_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/crayon-recipe-%ld.json", (long)getpid());
    return 0;
}

static int drop_path(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static cr_recipe *empty(void)
{
    cr_recipe *r;
    assert_int_equal(cr_recipe_create(&r, NULL), CR_OK);
    return r;
}

/* ---- cr_recipe_add ---- */

static cr_status add(cr_recipe *r, const char *name, cr_dtype type, int axis, size_t count,
                     float scale, int32_t zero, cr_error *err)
{
    float s[4] = {1, 1, 1, scale};
    int32_t z[4] = {0, 0, 0, zero};
    return cr_recipe_add(r, name, true,
                         &(cr_qparams){type, axis, count, s + 4 - count, z + 4 - count}, "", err);
}

static void refused(cr_dtype type, int axis, size_t count, float scale, int32_t zero,
                    const char *part)
{
    cr_recipe *r = empty();
    cr_error err;
    assert_int_equal(add(r, "t", type, axis, count, scale, zero, &err), CR_ERR_FORMAT);
    if (!strstr(err.message, part)) fail_msg("'%s' does not say '%s'", err.message, part);
    assert_non_null(strstr(err.message, "'t'"));
    assert_int_equal(r->count, 0);
    cr_recipe_release(&r);
}

static void bad_entries(void **state)
{
    (void)state;
    refused(CR_DT_U8, -1, 1, 0, 0, "scale 0");
    refused(CR_DT_U8, -1, 1, -1, 0, "scale -1");
    refused(CR_DT_U8, -1, 1, NAN, 0, "scale nan");
    refused(CR_DT_U8, -1, 1, INFINITY, 0, "scale inf");
    refused(CR_DT_U8, 1, 4, 0, 0, "scale 0");
    refused(CR_DT_U8, -1, 1, 1, 256, "zero point 256");
    refused(CR_DT_U8, -1, 1, 1, -1, "zero point -1");
    refused(CR_DT_I8, 0, 3, 1, 128, "zero point 128");
    refused(CR_DT_I4, -1, 1, 1, 8, "zero point 8");
    refused(CR_DT_F32, -1, 1, 1, 0, "float32 is not a quantized type");
    refused(CR_DT_I32, -1, 1, 1, 0, "int32 is not a quantized type");
    refused(CR_DT_NONE, -1, 1, 1, 0, "not a quantized type");
    refused(CR_DT_U8, -1, 2, 1, 0, "2 scales without an axis");
    cr_recipe *r = empty();
    cr_error err;
    assert_int_equal(add(r, "t", CR_DT_U8, -1, 1, 1, 255, &err), CR_OK);
    assert_int_equal(add(r, "t", CR_DT_U8, -1, 1, 1, 0, &err), CR_ERR_FORMAT);
    assert_non_null(strstr(err.message, "two entries for tensor 't'"));
    cr_recipe_release(&r);
}

/* ---- recipe.json ---- */

static void same_recipe(const cr_recipe *a, const cr_recipe *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->fact_count, b->fact_count);
    for (size_t i = 0; i < a->count; i++) {
        const cr_recipe_entry *x = &a->entries[i], *y = NULL;
        for (size_t k = 0; k < b->count; k++)
            if (!strcmp(b->entries[k].tensor, x->tensor)) y = &b->entries[k];
        assert_non_null(y);
        assert_int_equal(x->is_weight, y->is_weight);
        assert_string_equal(x->note, y->note);
        assert_int_equal(x->q.type, y->q.type);
        assert_int_equal(x->q.axis, y->q.axis);
        assert_int_equal(x->q.block, y->q.block);
        assert_int_equal(x->q.lo, y->q.lo);
        assert_int_equal(x->q.hi, y->q.hi);
        assert_int_equal(x->q.count, y->q.count);
        assert_memory_equal(x->q.scale, y->q.scale, x->q.count * sizeof *x->q.scale);
        assert_memory_equal(x->q.zero_point, y->q.zero_point, x->q.count * sizeof *x->q.zero_point);
    }
}

/* Every tensor once, entries without a reason of their own, the others with one. */
static void check_places(const cr_graph *g, const cr_recipe *r)
{
    size_t activations = 0, quantized = 0;
    for (size_t i = 0; i < r->place_count; i++) {
        const cr_recipe_place *p = &r->places[i];
        bool has_entry = false;
        for (size_t k = 0; k < r->count; k++) has_entry |= !strcmp(r->entries[k].tensor, p->tensor);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(r->places[k].tensor, p->tensor);
        assert_int_equal(has_entry, p->why[0] == 0);
        assert_true(p->role[0]);
        activations += !p->is_weight;
        quantized += has_entry;
    }
    size_t made = g->input_count;
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_out; k++) made += g->nodes[i]->out[k] != NULL;
    assert_int_equal(activations, made);
    assert_int_equal(quantized, r->count);
}

static void same_places(const cr_recipe *a, const cr_recipe *b)
{
    assert_int_equal(a->place_count, b->place_count);
    for (size_t i = 0; i < a->place_count; i++) {
        const cr_recipe_place *p = &a->places[i], *q = &b->places[i];
        const char *const x[] = {p->tensor, p->shape, p->op, p->node, p->role, p->why};
        const char *const y[] = {q->tensor, q->shape, q->op, q->node, q->role, q->why};
        for (size_t k = 0; k < sizeof x / sizeof *x; k++) assert_string_equal(x[k], y[k]);
        assert_int_equal(p->is_weight, q->is_weight);
    }
}

static void json_round_trip(void **state)
{
    (void)state;
    cr_error err;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        cr_graph *g = random_net(seed, true, false);
        tensor_range *ranges = calloc(g->tensor_count, sizeof *ranges);
        cr_rng rng;
        cr_rng_seed(&rng, seed);
        for (size_t i = 0; i < g->tensor_count; i++)
            ranges[i] = (tensor_range){(float)cr_rng_range(&rng, -9, 0),
                                       (float)pow(10, cr_rng_range(&rng, -30, 30))};
        cr_recipe *a = random_recipe(g, seed, ranges), *b;
        assert_true(cr_recipe_set_fact(a, "calibration", "percentile:99.9"));
        assert_true(cr_recipe_set_fact(a, "note \"quoted\"\n", "\xc3\xa9"));
        if (cr_recipe_explain(g, a, &err) != CR_OK) fail_msg("%s", err.message);
        check_places(g, a);
        if (cr_recipe_write(a, path, &err) != CR_OK) fail_msg("%s", err.message);
        if (cr_recipe_read(path, &b, &err) != CR_OK) fail_msg("%s", err.message);
        same_recipe(a, b);
        same_places(a, b);
        cr_recipe_release(&a);
        cr_recipe_release(&b);
        free(ranges);
        cr_graph_free(&g);
    }
}

/* A name that JSON cannot hold must not vanish from the file in silence. */
static void names_that_are_not_text(void **state)
{
    (void)state;
    cr_recipe *r = empty();
    cr_error err;
    unlink(path);
    assert_int_equal(add(r, "bad \xff\xfe name", CR_DT_U8, -1, 1, 1, 0, &err), CR_OK);
    assert_int_equal(cr_recipe_write(r, path, &err), CR_ERR_FORMAT);
    assert_int_equal(access(path, F_OK), -1);
    cr_recipe_release(&r);
}

static void hostile(const char *text, const char *part)
{
    cr_error err;
    cr_recipe *r = NULL;
    assert_int_equal(cr_file_write(path, text, strlen(text), &err), CR_OK);
    const cr_status st = cr_recipe_read(path, &r, &err);
    assert_null(r);
    assert_int_equal(st, CR_ERR_FORMAT);
    assert_int_equal(strncmp(err.message, path, strlen(path)), 0);
    assert_null(strchr(err.message, '\n'));
    if (!strstr(err.message, part)) {
        print_error("'%s' does not say '%s'\n", err.message, part);
        fail();
    }
}

#define HEAD          "{\"format\": \"crayon-recipe\", \"version\": 1, "
#define ENTRY(fields) HEAD "\"weights\": {}, \"activations\": {\"a\\nb\": {" fields "}}}"

#define WEIGHT(type, fields)                                                                       \
    HEAD "\"activations\": {}, \"weights\": {\"t\": {\"type\": \"" type "\", " fields               \
         ", \"scale\": [1], \"zero_point\": [0]}}}"

static void hostile_files(void **state)
{
    (void)state;
    hostile("", "line 1");
    hostile("[1, 2", "line 1");
    hostile("{}", "not a crayon-recipe file");
    hostile("{\"format\": \"crayon-stats\", \"version\": 1}", "not a crayon-recipe file");
    hostile("{\"format\": \"crayon-recipe\", \"version\": 2}", "of version 1");
    hostile(HEAD "\"weights\": {}}", "no \"activations\"");
    hostile(HEAD "\"activations\": {}, \"weights\": [1]}", "no \"activations\" or \"weights\"");
    hostile(HEAD "\"activations\": {\"t\": 5}, \"weights\": {}}", "'t': needs type");
    hostile(HEAD "\"activations\": {\"t\": {}, \"t\": {}}, \"weights\": {}}", "duplicate");
    hostile(ENTRY("\"type\": \"uint8\""), "'a?b': needs type, scale");
    hostile(ENTRY("\"type\": 8, \"scale\": [1], \"zero_point\": [0]"), "needs type");
    hostile(ENTRY("\"type\": \"uint9\", \"scale\": [1], \"zero_point\": [0]"),
            "not a quantized type");
    hostile(ENTRY("\"type\": \"float32\", \"scale\": [1], \"zero_point\": [0]"),
            "not a quantized type");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [], \"zero_point\": []"), "needs type, scale");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [\"1\"], \"zero_point\": [0]"),
            "list of numbers");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [1e300], \"zero_point\": [0]"),
            "list of numbers");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [0], \"zero_point\": [0]"), "scale 0");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [1e-60], \"zero_point\": [0]"), "scale 0");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [1], \"zero_point\": [0, 0]"),
            "as many numbers");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [1]"), "as many numbers");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [1], \"zero_point\": [4294967296]"),
            "whole numbers");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [1], \"zero_point\": [300]"), "zero point 300");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [1], \"zero_point\": [1.5]"), "whole numbers");
    hostile(ENTRY("\"type\": \"uint8\", \"scale\": [1, 1], \"zero_point\": [0, 0]"),
            "without an axis");
    hostile(ENTRY("\"type\": \"uint8\", \"axis\": 8, \"scale\": [1], \"zero_point\": [0]"),
            "axis out of range");
    hostile(ENTRY("\"type\": \"uint8\", \"axis\": -2, \"scale\": [1], \"zero_point\": [0]"),
            "axis out of range");
    hostile(ENTRY("\"type\": \"uint8\", \"axis\": \"x\", \"scale\": [1], \"zero_point\": [0]"),
            "needs type");
    hostile(ENTRY("\"type\": \"int4\", \"scale\": [1], \"zero_point\": [0]"), "weights only");
    hostile(ENTRY("\"type\": \"int8\", \"range\": [-1, 1], \"scale\": [1], \"zero_point\": [0]"),
            "weights only");
    hostile(WEIGHT("int4", "\"axis\": 1, \"block\": 0"), "above 0");
    hostile(WEIGHT("int4", "\"axis\": 1, \"block\": -4"), "above 0");
    hostile(WEIGHT("int4", "\"axis\": 1, \"block\": 1e3"), "above 0");
    hostile(WEIGHT("int4", "\"axis\": 1, \"block\": 4294967296"), "above 0");
    hostile(WEIGHT("int4", "\"block\": 32"), "a block of 32 along axis -1");
    hostile(WEIGHT("int4", "\"range\": [1, -1]"), "1 to -1 is no range");
    hostile(WEIGHT("int4", "\"range\": [-9, 7]"), "-9 to 7 is no range of int4");
    hostile(WEIGHT("int4", "\"range\": [-1]"), "two codes");
    hostile(WEIGHT("int4", "\"range\": [-1, \"1\"]"), "whole numbers");
    hostile(WEIGHT("int4", "\"range\": [1, 7]"), "zero point 0 outside");
    cr_error err;
    cr_recipe *r;
    assert_int_equal(cr_recipe_read("/nowhere/recipe.json", &r, &err), CR_ERR_IO);
}

static void same_name_in_both_groups(void **state)
{
    (void)state;
    hostile(HEAD
            "\"activations\": {\"t\": {\"type\": \"uint8\", \"scale\": [1], \"zero_point\": [0]}},"
            "\"weights\": {\"t\": {\"type\": \"int8\", \"scale\": [1], \"zero_point\": [0]}}}",
            "two entries for tensor 't'");
}

/* ---- binding ---- */

static void unbound(const cr_graph *g, const char *name, bool weight, int axis, size_t count,
                    cr_status status, const char *part)
{
    cr_recipe *r = empty();
    cr_error err;
    float s[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    int32_t z[8] = {0};
    const cr_recipe_entry **found;
    assert_int_equal(
        cr_recipe_add(r, name, weight, &(cr_qparams){CR_DT_I8, axis, count, s, z}, "", &err),
        CR_OK);
    assert_int_equal(cr_recipe_bind(r, g, &found, &err), status);
    if (status == CR_OK) {
        for (size_t i = 0; i < g->tensor_count; i++)
            assert_int_equal(found[i] != NULL, !strcmp(g->tensors[i]->name, name));
        cr_free(found);
    } else {
        assert_null(found);
        if (!strstr(err.message, part)) fail_msg("'%s' does not say '%s'", err.message, part);
        assert_non_null(strstr(err.message, name));
    }
    cr_recipe_release(&r);
}

static void binding(void **state)
{
    (void)state;
    cr_rng rng;
    cr_rng_seed(&rng, 1);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 3, 4, 4));
    cr_tensor *w = const_random(g, &rng, "w", shape_of(4, 5, 3, 1, 1), -1, 1);
    cr_tensor *y = apply2(g, CR_OP_Conv, x, w);
    cr_tensor *n = apply1(g, CR_OP_NonZero, y);
    cr_tensor *i = apply2(g, CR_OP_Add, n, cr_graph_const_i64(g, "one", (int64_t[]){1}, 1));
    graph_output(g, i);
    graph_ready(g);
    unbound(g, "x", false, -1, 1, CR_OK, "");
    unbound(g, "x", false, 1, 3, CR_OK, "");
    unbound(g, "w", true, 0, 5, CR_OK, "");
    unbound(g, "nobody", false, -1, 1, CR_ERR_ARGUMENT, "no tensor");
    unbound(g, "x", true, -1, 1, CR_ERR_FORMAT, "no weight");
    unbound(g, "w", false, -1, 1, CR_ERR_FORMAT, "a weight");
    unbound(g, "w", true, 0, 4, CR_ERR_FORMAT, "4 scales do not fit axis 0");
    unbound(g, "w", true, 4, 5, CR_ERR_FORMAT, "do not fit axis 4");
    unbound(g, "one", true, -1, 1, CR_ERR_FORMAT, "int64, only float32");
    unbound(g, n->name, false, -1, 1, CR_ERR_FORMAT, "int64, only float32");
    const cr_recipe_entry **found;
    assert_int_equal(cr_recipe_bind(NULL, g, &found, NULL), CR_OK);
    for (size_t k = 0; k < g->tensor_count; k++) assert_null(found[k]);
    cr_free(found);
    cr_graph_free(&g);
}

/* ---- codes ---- */

static void codes_of_tensors(void **state)
{
    (void)state;
    float x[10] = {0, .5f, 1.5f, 2.5f, -1e30f, 1e30f, NAN, INFINITY, -INFINITY, -.49f};
    const cr_tensor t = {.name = "t", .dtype = CR_DT_F32, .shape = shape_of(2, 2, 5), .data = x};
    float one = 1;
    int32_t zero = 10, codes[10];
    const int32_t unsigned_codes[10] = {10, 10, 12, 12, 0, 255, 0, 255, 0, 10};
    cr_quantize_tensor(&t, &(cr_qparams){CR_DT_U8, -1, 1, &one, &zero}, codes);
    assert_memory_equal(codes, unsigned_codes, sizeof codes);
    const int32_t nibbles[10] = {7, 7, 7, 7, -8, 7, -8, 7, -8, 7};
    zero = 7;
    cr_quantize_tensor(&t, &(cr_qparams){CR_DT_I4, -1, 1, &one, &zero}, codes);
    assert_memory_equal(codes, nibbles, sizeof codes);
    float scales[2] = {.5f, 1e-45f};
    int32_t zeros[2] = {0, -128};
    const int32_t rows[10] = {0, 1, 3, 5, -128, 127, -128, 127, -128, -128};
    cr_quantize_tensor(&t, &(cr_qparams){CR_DT_I8, 0, 2, scales, zeros}, codes);
    assert_memory_equal(codes, rows, sizeof codes);
    float out[10];
    scales[1] = 2;
    const float back[10] = {0, .5f, 1.5f, 2.5f, -64, 510, 0, 510, 0, 0};
    cr_fake_quantize(&t, &(cr_qparams){CR_DT_I8, 0, 2, scales, zeros}, out);
    assert_memory_equal(out, back, sizeof out);
    cr_fake_quantize(&t, &(cr_qparams){CR_DT_I8, 0, 2, scales, zeros}, x); /* in place */
    assert_memory_equal(x, back, sizeof x);
}

/* 2 x 5 in blocks of two along axis 1, 2 x 5 in blocks of two along axis 0 (one scale per column),
 * ternary and binary codes. */
static void small_codes(void **state)
{
    (void)state;
    float x[10] = {0, .5f, 1.5f, 2.6f, -3, 3, -2, -.1f, .1f, 9}, out[10];
    const cr_tensor t = {.name = "t", .dtype = CR_DT_F32, .shape = shape_of(2, 2, 5), .data = x};
    float scales[6] = {.5f, 1, 2, 1, .25f, 4};
    int32_t zeros[6] = {0}, codes[10];
    const int32_t rows[10] = {0, 1, 2, 3, -2, 3, -2, 0, 0, 2};
    cr_quantize_tensor(&t, &(cr_qparams){CR_DT_I4, 1, 6, scales, zeros, 2}, codes);
    assert_memory_equal(codes, rows, sizeof codes);
    const float back[10] = {0, .5f, 2, 3, -4, 3, -2, 0, 0, 8};
    cr_fake_quantize(&t, &(cr_qparams){CR_DT_I4, 1, 6, scales, zeros, 2}, out);
    assert_memory_equal(out, back, sizeof out);
    const int32_t columns[10] = {0, 0, 1, 3, -8, 6, -2, 0, 0, 7};
    cr_quantize_tensor(&t, &(cr_qparams){CR_DT_I4, 0, 5, scales, zeros, 2}, codes);
    assert_memory_equal(codes, columns, sizeof codes);
    const int32_t ternary[10] = {0, 1, 1, 1, -1, 1, -1, 0, 0, 1};
    cr_quantize_tensor(&t, &(cr_qparams){CR_DT_I2, 0, 2, scales, zeros, 0, -1, 1}, codes);
    for (int i = 0; i < 5; i++) assert_int_equal(codes[i], ternary[i]);
    const int32_t binary[10] = {1, 1, 1, 1, -1, 1, -1, -1, 1, 1};
    cr_quantize_tensor(&t, &(cr_qparams){CR_DT_I1, -1, 1, scales, zeros}, codes);
    assert_memory_equal(codes, binary, sizeof codes);
    assert_int_equal(cr_q_code(&(cr_qparams){CR_DT_I1, -1, 1, scales, zeros}, 0, -.01f), -1);
    assert_int_equal(cr_q_code(&(cr_qparams){CR_DT_I4, 1, 6, scales, zeros, 2}, 4, 9), 7);
}

static void forms(void **state)
{
    (void)state;
    const cr_shape s = shape_of(4, 8, 20, 3, 1);
    const struct {
        int axis;
        size_t count;
        int64_t block;
        bool fits;
    } cases[] = {{-1, 1, 0, true},   {0, 8, 0, true},     {0, 20, 0, false},  {4, 8, 0, false},
                 {1, 72, 8, true},   {1, 48, 8, false},   {1, 24, 64, true},  {1, 480, 1, true},
                 {0, 60, 8, true},   {2, 320, 2, true},   {-1, 1, 4, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cr_qparams q = {CR_DT_I4, cases[i].axis, cases[i].count, .block = cases[i].block};
        assert_int_equal(cr_q_fits(&q, &s), cases[i].fits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_entries),
        cmocka_unit_test(json_round_trip),
        cmocka_unit_test(names_that_are_not_text),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(same_name_in_both_groups),
        cmocka_unit_test(binding),
        cmocka_unit_test(codes_of_tensors),
        cmocka_unit_test(small_codes),
        cmocka_unit_test(forms),
    };
    return cmocka_run_group_tests(tests, make_path, drop_path);
}
