/* TFLite files in: what our writer wrote comes back. From random networks and recipes two things
 * are demanded. What is read computes what was written (float networks, to float rounding). And
 * reading is the inverse of writing: import(export(g, r)) == (g, r), with the same operators and
 * connections, names of inputs and outputs, constants bit for bit, scales and zero points. That
 * holds from the second file on: the first has TFLite's operators in place of ours, and layouts as
 * TFLite has them. Beside that, metadata in each form that tools append, and messages. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zip.h>

#include "graph/passes.h"
#include "onnx/qdq.h"
#include "ops/ref.h"
#include "tflite/tflite_read.h"
#include "tflite/tflite_write.h"
#include "unit/random_recipe.h"

typedef struct model {
    cr_graph *g;
    cr_recipe *r;
} model;

static void drop(model *m)
{
    cr_graph_free(&m->g);
    cr_recipe_release(&m->r);
}

/* As cr_model_open reads a file. */
static model import(const void *bytes, size_t size)
{
    model m = {0};
    cr_error err;
    cr_status st = cr_tflite_parse(bytes, size, "test", &m.g, &err);
    if (st == CR_OK) st = cr_graph_prepare(m.g, cr_op_run, &err);
    if (st == CR_OK) st = cr_qdq_read(m.g, &m.r, &err);
    if (st == CR_OK) st = cr_graph_infer(m.g, &err);
    if (st != CR_OK) fail_msg("import: %s", err.message);
    return m;
}

/* False: an operator that TFLite lacks. */
static bool export(const model *m, const char *metadata, unsigned char **bytes, size_t *size)
{
    const cr_tfl_write_options o = {.metadata = metadata};
    cr_error err;
    const cr_status st = cr_tflite_serialize(m->g, m->r, &o, bytes, size, &err);
    if (st != CR_OK && st != CR_ERR_UNSUPPORTED) fail_msg("export: %s", err.message);
    return st == CR_OK;
}

static const cr_qparams *entry_of(const cr_recipe *r, const cr_tensor *t)
{
    for (size_t i = 0; r && i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, t->name)) return &r->entries[i].q;
    return NULL;
}

static void same_entry(uint64_t seed, const cr_tensor *t, const cr_qparams *x, const cr_qparams *y)
{
    if (!x != !y)
        fail_msg("seed %llu: an entry of '%s' %s", (unsigned long long)seed, t->name,
                 x ? "is lost" : "is new");
    if (!x) return;
    assert_int_equal(x->type, y->type);
    assert_int_equal(x->axis, y->axis);
    assert_int_equal(x->count, y->count);
    assert_memory_equal(x->scale, y->scale, x->count * sizeof *x->scale);
    assert_memory_equal(x->zero_point, y->zero_point, x->count * sizeof *x->zero_point);
}

typedef struct comparison {
    uint64_t seed;
    const model *m, *o;
    const cr_tensor **mate; /* by id of m's tensors: the tensor of o in its place */
} comparison;

/* Both, and all that they are made of. */
static void same_tensor(const comparison *c, const cr_tensor *a, const cr_tensor *b)
{
    if (!a || !b) {
        assert_true(a == b);
        return;
    }
    if (c->mate[a->id]) {
        if (c->mate[a->id] != b)
            fail_msg("seed %llu: '%s' became '%s'", (unsigned long long)c->seed, a->name, b->name);
        return;
    }
    c->mate[a->id] = b;
    if (a->dtype != b->dtype || !a->data != !b->data || cr_tensor_bytes(a) != cr_tensor_bytes(b) ||
        (!a->data && !cr_shape_equal(&a->shape, &b->shape)))
        fail_msg("seed %llu: another form of '%s'", (unsigned long long)c->seed, a->name);
    if (a->data && memcmp(a->data, b->data, cr_tensor_bytes(a)))
        fail_msg("seed %llu: other values in '%s'", (unsigned long long)c->seed, a->name);
    same_entry(c->seed, a, entry_of(c->m->r, a), entry_of(c->o->r, b));
    const cr_node *x = a->producer, *y = b->producer;
    assert_true(!x == !y);
    if (!x) return;
    if (x->op != y->op || x->n_in != y->n_in)
        fail_msg("seed %llu: %s became %s", (unsigned long long)c->seed, x->op->name, y->op->name);
    for (int k = 0; k < x->n_in; k++) same_tensor(c, x->in[k], y->in[k]);
}

static void same_model(uint64_t seed, const model *m, const model *o)
{
    const comparison c = {seed, m, o, calloc(m->g->tensor_count, sizeof *c.mate)};
    assert_int_equal(m->g->node_count, o->g->node_count);
    assert_int_equal(m->g->output_count, o->g->output_count);
    for (size_t i = 0; i < m->g->output_count; i++) {
        assert_string_equal(m->g->outputs[i]->name, o->g->outputs[i]->name);
        same_tensor(&c, m->g->outputs[i], o->g->outputs[i]);
    }
    assert_string_equal(m->g->inputs[0]->name, o->g->inputs[0]->name);
    free(c.mate);
}

static const float *run(const cr_graph *g, const cr_recipe *r, uint64_t seed, cr_program **p,
                        cr_session **s, size_t *count)
{
    cr_error err;
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    if (cr_program_create(g, r, 1, p, &err) != CR_OK || cr_session_open(*p, NULL, s, &err) != CR_OK)
        fail_msg("%s", err.message);
    float *x = cr_session_input_data(*s, 0);
    for (size_t i = 0; i < cr_tensor_bytes(g->inputs[0]) / sizeof *x; i++)
        x[i] = (float)cr_rng_range(&rng, -2, 2);
    if (cr_session_execute(*s, &err) != CR_OK) fail_msg("%s", err.message);
    *count = (size_t)cr_shape_count(&cr_session_output_tensor(*s, 0)->shape);
    return cr_session_output_tensor(*s, 0)->data;
}

/* Output 0 of both, to float rounding: sums are formed in another order. */
static void same_results(uint64_t seed, const cr_graph *a, const cr_graph *b)
{
    cr_program *pa, *pb;
    cr_session *sa, *sb;
    size_t na, nb;
    const float *x = run(a, NULL, seed, &pa, &sa, &na), *y = run(b, NULL, seed, &pb, &sb, &nb);
    float most = 1, worst = 0;
    assert_int_equal(na, nb);
    assert_true(cr_shape_equal(&a->outputs[0]->shape, &b->outputs[0]->shape));
    for (size_t i = 0; i < na; i++) {
        most = fmaxf(most, fabsf(x[i]));
        worst = fmaxf(worst, fabsf(x[i] - y[i]));
    }
    if (!(worst <= 1e-4f * most)) /* 2e-5 was seen */
        fail_msg("seed %llu: results differ by %g of %g", (unsigned long long)seed, (double)worst,
                 (double)most);
    cr_session_close(&sa);
    cr_session_close(&sb);
    cr_program_free(&pa);
    cr_program_free(&pb);
}

static cr_recipe *plan(const cr_graph *g, uint64_t seed)
{
    tensor_range *ranges = malloc(g->tensor_count * sizeof *ranges);
    for (size_t i = 0; i < g->tensor_count; i++) ranges[i] = (tensor_range){-3, 3};
    cr_recipe *r = random_recipe(g, seed, ranges);
    free(ranges);
    return r;
}

/* import(export(m)); false: an operator that TFLite lacks. */
static bool through_file(const model *m, model *back)
{
    unsigned char *bytes;
    size_t size;
    if (!export(m, NULL, &bytes, &size)) return false;
    *back = import(bytes, size);
    cr_free(bytes);
    return true;
}

/* True: TFLite has all operators of this network. */
static bool round_trip(uint64_t seed, bool quantized)
{
    model m = {random_net(seed, true, false), NULL}, first, second, third;
    if (quantized) m.r = plan(m.g, seed);
    const bool written = through_file(&m, &first);
    if (written) {
        if (!quantized) same_results(seed, m.g, first.g);
        assert_true(through_file(&first, &second));
        assert_true(through_file(&second, &third));
        same_model(seed, &second, &third);
        drop(&first);
        drop(&second);
        drop(&third);
    }
    drop(&m);
    return written;
}

static void floats_come_back(void **state)
{
    size_t written = 0;
    for (uint64_t seed = 1; seed <= 120; seed++) written += round_trip(seed, false);
    assert_true(written >= 20);
}

static void integers_come_back(void **state)
{
    size_t written = 0;
    for (uint64_t seed = 1; seed <= 120; seed++) written += round_trip(seed, true);
    assert_true(written >= 3); /* most random recipes have forms that TFLite lacks */
}

/* ---- metadata ---- */

/* A small model with `member` of that content behind it. */
static model with_member(const char *member, const char *content)
{
    static unsigned char joined[1 << 16];
    unsigned char *bytes;
    size_t size;
    model m = {graph_new(), NULL};
    cr_tensor *x = graph_input(m.g, "x", shape_of(4, 1, 3, 4, 4));
    graph_output(m.g, apply1(m.g, CR_OP_Relu, x));
    graph_ready(m.g);
    assert_true(export(&m, NULL, &bytes, &size));
    drop(&m);
    memcpy(joined, bytes, size);
    cr_free(bytes);
    zip_error_t ignored;
    zip_error_init(&ignored);
    zip_source_t *whole = zip_source_buffer_create(NULL, 0, 0, &ignored);
    zip_source_keep(whole);
    zip_t *z = zip_open_from_source(whole, ZIP_TRUNCATE, &ignored);
    assert_non_null(z);
    zip_file_add(z, member, zip_source_buffer(z, content, strlen(content), 0), 0);
    assert_int_equal(zip_close(z), 0);
    zip_source_open(whole);
    size += (size_t)zip_source_read(whole, joined + size, sizeof joined - size);
    zip_source_close(whole);
    zip_source_free(whole);
    return import(joined, size);
}

static void metadata_forms(void **state)
{
    model m = with_member("temp_meta.txt",
                          "{'description': 'It\\'s', 'names': {0: 'person', 1: \"fox's\"}, "
                          "'imgsz': [4, 4], 'stride': 32, 'task': 'detect'}");
    assert_string_equal(cr_graph_meta(m.g, "task"), "detect");
    assert_string_equal(cr_graph_meta(m.g, "description"), "It's");
    assert_string_equal(cr_graph_meta(m.g, "names"), "{0: 'person', 1: \"fox's\"}");
    assert_string_equal(cr_graph_meta(m.g, "imgsz"), "[4, 4]");
    assert_string_equal(cr_graph_meta(m.g, "stride"), "32");
    drop(&m);
    m = with_member("metadata.json",
                    "{\n \"names\": {\n  \"0\": \"caf\\u00e9\",\n  \"1\": \"b\"},\n"
                    " \"stride\": 32}\n");
    assert_string_equal(cr_graph_meta(m.g, "names"), "{\n  0: \"caf\303\251\",\n  1: \"b\"}");
    assert_string_equal(cr_graph_meta(m.g, "stride"), "32");
    drop(&m);
    m = with_member("labelmap.txt", "cat\r\ndog \"x\"\n\nbird");
    assert_string_equal(cr_graph_meta(m.g, "names"), "[\"cat\",\"dog \\\"x\\\"\",\"bird\"]");
    drop(&m);
    static const char *const broken[] = {
        "",         "{",   "{'a",    "{'a'",          "{'a':",         "{'a': [1",
        "{'a': 'b", "[1]", "{1: 2}", "{'a': 1, 'a\\", "{'a': '\\u12'}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        m = with_member("metadata.json", broken[i]);
        drop(&m);
    }
}

/* ---- messages ---- */

static void refusals(void **state)
{
    cr_error err;
    cr_graph *g;
    assert_int_equal(cr_tflite_parse("", 0, "f", &g, &err), CR_ERR_FORMAT);
    assert_string_equal(err.message, "f: not a TFLite model, or truncated");
    assert_int_equal(cr_tflite_parse("\10\0\0\0TFL3\0\0\0\0", 12, "f", &g, &err), CR_ERR_FORMAT);
    assert_null(g);
    assert_int_equal(cr_tflite_read("/nonexistent.tflite", 0, &g, &err), CR_ERR_IO);
    assert_true(cr_tflite_recognize("\34\0\0\0TFL3", 8));
    assert_false(cr_tflite_recognize("\34\0\0\0TFL2", 8));
    assert_false(cr_tflite_recognize("\34\0\0\0TFL", 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_come_back), cmocka_unit_test(integers_come_back),
        cmocka_unit_test(metadata_forms), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
