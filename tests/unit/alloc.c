/* Memory that runs out: the n-th allocation and all later ones fail, for n = 0, 1, 2 ... until a
 * whole pass succeeds. Every failure is a clean CR_ERR_MEMORY with one line and no result; under
 * AddressSanitizer nothing leaks and nothing is used after it was freed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/file.h"
#include "onnx/onnx.h"
#include "onnx/qdq.h"
#include "ops/ref.h"
#include "quant/plan.h"
#include "runtime/runtime.h"
#include "unit/graphs.h"

static unsigned char *model;
static size_t model_size;

static int load_model(void **state)
{
    (void)state;
    return cr_file_read("tests/golden/tiny.onnx", 1 << 20, &model, &model_size, NULL) == CR_OK ? 0
                                                                                               : -1;
}

static int drop_model(void **state)
{
    (void)state;
    cr_free(model);
    return 0;
}

static void clean(cr_status st, const cr_error *err, long n)
{
    if (st != CR_ERR_MEMORY) {
        cr_alloc_fail_after(-1);
        print_error("allocation %ld: status %d, %s\n", n, st, err->message);
        fail();
    }
    assert_true(err->message[0] && !strchr(err->message, '\n'));
}

/* Steps are large at first and the pass is repeated with every n below `dense`, then with some. */
static long step_after(long n)
{
    return n < 400 ? 1 : 1 + n / 150;
}

/* ---- open, prepare, take the recipe out, compile, run ---- */

static cr_status run_model(cr_error *err)
{
    cr_graph *g = NULL;
    cr_recipe *r = NULL;
    cr_program *p = NULL;
    cr_session *s = NULL;
    cr_status st = CR_OK;
    CR_TRY_GOTO(cr_onnx_parse(model, model_size, NULL, "tiny", &(cr_onnx_options){0}, &g, err),
                done);
    CR_TRY_GOTO(cr_graph_prepare(g, cr_op_run, err), done);
    CR_TRY_GOTO(cr_qdq_read(g, &r, err), done);
    CR_TRY_GOTO(cr_graph_infer(g, err), done);
    CR_TRY_GOTO(cr_program_create(g, r, 1, &p, err), done);
    CR_TRY_GOTO(cr_session_open(p, NULL, &s, err), done);
    CR_TRY_GOTO(cr_session_profile(s, 3, err), done);
    CR_TRY_GOTO(cr_session_execute(s, err), done);
done:
    cr_session_close(&s);
    cr_program_free(&p);
    cr_recipe_release(&r);
    cr_graph_free(&g);
    return st;
}

static void opening_and_running(void **state)
{
    (void)state;
    long n = 0, failures = 0;
    for (;; n += step_after(n)) {
        cr_error err = {0};
        cr_alloc_fail_after(n);
        const cr_status st = run_model(&err);
        cr_alloc_fail_after(-1);
        if (st == CR_OK) break;
        clean(st, &err, n);
        failures++;
    }
    print_message("open, prepare, compile, run: %ld failures, up to allocation %ld\n", failures, n);
    assert_true(failures > 300);
}

/* ---- calibrate, plan, export ---- */

static cr_status fill(void *user, size_t index, float *input, cr_error *err)
{
    const cr_graph *g = user;
    const int64_t n = cr_shape_count(&g->inputs[0]->shape);
    for (int64_t i = 0; i < n; i++) input[i] = (float)((i * 7 + (int64_t)index) % 255) / 255;
    return CR_OK;
}

static cr_status quantize_model(const cr_graph *g, cr_error *err)
{
    const cr_quantize_options o = cr_quantize_options_default();
    cr_stats *stats = NULL, *sum = NULL;
    cr_recipe *r = NULL;
    cr_graph *qdq = NULL;
    unsigned char *bytes = NULL;
    size_t size;
    cr_status st = CR_OK;
    const cr_collect_options collect = {.count = 2, .fill = fill, .user = (void *)g, .threads = 1};
    CR_TRY_GOTO(cr_stats_collect(g, &collect, &stats, err), done);
    CR_TRY_GOTO(cr_stats_create(&sum, err), done);
    CR_TRY_GOTO(cr_stats_merge(sum, stats, err), done);
    CR_TRY_GOTO(cr_plan_recipe(g, sum, &o, &r, NULL, err), done);
    CR_TRY_GOTO(cr_qdq_write(g, r, &qdq, err), done);
    CR_TRY_GOTO(cr_onnx_serialize(qdq, &(cr_onnx_write_options){0}, &bytes, &size, err), done);
done:
    cr_free(bytes);
    cr_graph_free(&qdq);
    cr_recipe_release(&r);
    cr_stats_release(&sum);
    cr_stats_release(&stats);
    return st;
}

/* tiny.onnx has a quantized branch of its own, which has no place in a float model. */
static cr_graph *float_model(void)
{
    cr_rng r;
    cr_rng_seed(&r, 1);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 3, 8, 8));
    for (int i = 0; i < 3; i++) {
        cr_tensor *w =
            const_random(g, &r, "w", shape_of(4, 4, (int)x->shape.dim[1], 3, 3), -.3, .3);
        cr_tensor *b = const_random(g, &r, "b", shape_of(1, 4), -.3, .3);
        cr_tensor *y = done(graph_node(g, CR_OP_Conv, 1, 3, x, w, b));
        x = i < 2 ? apply1(g, CR_OP_Swish, y) : y;
    }
    graph_output(g, apply1(g, CR_OP_Sigmoid, x));
    graph_ready(g);
    return g;
}

static void planning_and_exporting(void **state)
{
    (void)state;
    cr_graph *g = float_model();
    long n = 0, failures = 0;
    for (;; n += step_after(n)) {
        cr_error err = {0};
        cr_alloc_fail_after(n);
        const cr_status st = quantize_model(g, &err);
        cr_alloc_fail_after(-1);
        if (st == CR_OK) break;
        clean(st, &err, n);
        failures++;
    }
    print_message("calibrate, plan, export: %ld failures, up to allocation %ld\n", failures, n);
    assert_true(failures > 100);
    cr_graph_free(&g);
}

/* ---- recipe.json and stats.json (jansson's own memory is not ours to fail) ---- */

static void reading_recipes(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "/tmp/crayon-alloc-%ld.json", (long)getpid());
    const char text[] = "{\"format\": \"crayon-recipe\", \"version\": 1, \"facts\": {\"a\": \"b\"},"
                        "\"activations\": {\"x\": {\"type\": \"uint8\", \"scale\": [1],"
                        "\"zero_point\": [0], \"note\": \"n\"}}, \"weights\": {}}";
    assert_int_equal(cr_file_write(path, text, sizeof text - 1, NULL), CR_OK);
    long n = 0;
    for (;; n++) {
        cr_error err = {0};
        cr_recipe *r;
        cr_alloc_fail_after(n);
        const cr_status st = cr_recipe_read(path, &r, &err);
        cr_alloc_fail_after(-1);
        if (st == CR_OK) {
            cr_recipe_release(&r);
            break;
        }
        assert_null(r);
        clean(st, &err, n);
    }
    assert_true(n > 4);
    unlink(path);
}

/* A clone that fails half-way must leave its source whole (Constant nodes own tensors). */
static void cloning(void **state)
{
    (void)state;
    cr_error err;
    cr_graph *g, *copy;
    assert_int_equal(
        cr_onnx_parse(model, model_size, NULL, "tiny", &(cr_onnx_options){0}, &g, &err), CR_OK);
    long n = 0;
    for (;; n++) {
        cr_alloc_fail_after(n);
        const cr_status st = cr_graph_clone(g, &copy, &err);
        cr_alloc_fail_after(-1);
        if (st == CR_OK) break;
        assert_null(copy);
        clean(st, &err, n);
    }
    cr_graph_free(&copy);
    if (cr_graph_prepare(g, cr_op_run, &err) != CR_OK) fail_msg("%s", err.message);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_and_running),
        cmocka_unit_test(planning_and_exporting),
        cmocka_unit_test(reading_recipes),
        cmocka_unit_test(cloning),
    };
    return cmocka_run_group_tests(tests, load_model, drop_model);
}
