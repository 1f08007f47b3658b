/* Several pictures at once: each gives the bits that it gives alone, float and on integers, on
 * random networks and on the sample; what may mix pictures is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crayon/runtime.h"
#include "runtime/program.h"
#include "unit/random_recipe.h"

static const char *sample = "sample/shapes.onnx";

enum { NETS = 120, PICTURES = 3 };

static cr_session *open_session(const cr_graph *g, const cr_recipe *r, cr_program **p)
{
    cr_error err;
    cr_session *s;
    if (cr_program_create(g, r, 2, p, &err) != CR_OK) fail_msg("%s", err.message);
    if (cr_session_open(*p, NULL, &s, &err) != CR_OK) fail_msg("%s", err.message);
    return s;
}

/* Same network twice, the second one for PICTURES pictures. False: it has to be refused. */
static bool compare(uint64_t seed, bool exact)
{
    cr_error err;
    cr_graph *g = random_net(seed, exact, false), *many = random_net(seed, exact, false);
    const cr_status st = cr_graph_set_batch(many, PICTURES, &err);
    if (st != CR_OK) {
        assert_int_equal(st, CR_ERR_UNSUPPORTED);
        cr_graph_free(&g);
        cr_graph_free(&many);
        return false;
    }
    tensor_range *ranges = malloc(g->tensor_count * sizeof *ranges);
    for (size_t i = 0; i < g->tensor_count; i++) ranges[i] = (tensor_range){-3, 3};
    cr_recipe *r = exact ? random_recipe(g, seed, ranges) : NULL;
    cr_program *p, *pm;
    cr_session *s = open_session(g, r, &p), *sm = open_session(many, r, &pm);
    const size_t in = cr_tensor_bytes(g->inputs[0]);
    float *x = cr_session_input_data(sm, 0);
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    for (size_t i = 0; i < PICTURES * in / sizeof *x; i++) x[i] = (float)cr_rng_range(&rng, -2, 2);
    assert_int_equal(cr_session_execute(sm, &err), CR_OK);
    for (int k = 0; k < PICTURES; k++) {
        memcpy(cr_session_input_data(s, 0), (char *)cr_session_input_data(sm, 0) + (size_t)k * in,
               in);
        assert_int_equal(cr_session_execute(s, &err), CR_OK);
        for (size_t o = 0; o < g->output_count; o++) {
            const cr_tensor *one = cr_session_output_tensor(s, o);
            const cr_tensor *all = cr_session_output_tensor(sm, o);
            const size_t n = cr_tensor_bytes(one);
            assert_true(cr_tensor_bytes(all) == n || cr_tensor_bytes(all) == PICTURES * n);
            const size_t at = cr_tensor_bytes(all) == n ? 0 : (size_t)k * n;
            if (n && memcmp(one->data, (char *)all->data + at, n))
                fail_msg("seed %llu: picture %d of output %zu", (unsigned long long)seed, k, o);
        }
    }
    cr_session_close(&s);
    cr_session_close(&sm);
    cr_program_free(&p);
    cr_program_free(&pm);
    cr_recipe_release(&r);
    free(ranges);
    cr_graph_free(&g);
    cr_graph_free(&many);
    return true;
}

static void random_networks(void **state)
{
    (void)state;
    int run[2] = {0, 0};
    for (uint64_t seed = 1; seed <= NETS; seed++)
        for (int exact = 0; exact < 2; exact++) run[exact] += compare(seed + 9000, exact);
    print_message("%d float and %d quantized networks of %d each in a batch of %d\n", run[0],
                  run[1], NETS, PICTURES);
    assert_true(run[0] >= 10 && run[1] >= 10);
}

static void sample_model(void **state)
{
    (void)state;
    cr_error err;
    cr_model *m, *many;
    cr_runner *r, *rm;
    cr_output o, om;
    cr_model_options options = cr_model_options_default();
    if (cr_model_open(sample, &options, &m, &err) != CR_OK) skip();
    options.batch = PICTURES;
    if (cr_model_open(sample, &options, &many, &err) != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(cr_model_get_info(many)->batch, PICTURES);
    assert_int_equal(cr_runner_create(m, 1, &r, &err), CR_OK);
    assert_int_equal(cr_runner_create(many, 2, &rm, &err), CR_OK);
    size_t in, in_many, n = sizeof(float);
    float *x = cr_runner_input(rm, 0, &in_many), *x1 = cr_runner_input(r, 0, &in);
    assert_int_equal(in_many, PICTURES * in);
    for (size_t i = 0; i < in_many / sizeof *x; i++) x[i] = (float)(i * 2654435761u % 1009) / 1009;
    assert_int_equal(cr_runner_run(rm, &err), CR_OK);
    assert_int_equal(cr_runner_output(rm, 0, &om, &err), CR_OK);
    for (int k = 0; k < PICTURES; k++) {
        memcpy(x1, (char *)x + (size_t)k * in, in);
        assert_int_equal(cr_runner_run(r, &err), CR_OK);
        assert_int_equal(cr_runner_output(r, 0, &o, &err), CR_OK);
        n = sizeof(float);
        for (int d = 0; d < o.rank; d++) n *= (size_t)o.dim[d];
        assert_memory_equal(o.data, (const char *)om.data + (size_t)k * n, n);
    }
    cr_runner_free(&r);
    cr_runner_free(&rm);
    cr_model_free(&m);
    cr_model_free(&many);
}

/* Each of these reads across pictures, or could. */
static void refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        cr_error err;
        cr_graph *g = graph_new();
        cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 2, 3, 4));
        cr_node *n = NULL;
        if (kind == 0) n = graph_node(g, CR_OP_Reshape, 1, 2, x, const_ints(g, 3, 2, 3, 4));
        if (kind == 1) n = graph_node(g, CR_OP_Softmax, 1, 1, x);
        if (kind == 1) attr_int(n, "axis", 0);
        if (kind == 2) n = graph_node(g, CR_OP_Transpose, 1, 1, x);
        if (kind == 2) attr_ints(g, n, "perm", 4, 1, 0, 2, 3);
        if (kind == 3) n = graph_node(g, CR_OP_Concat, 1, 2, x, x);
        if (kind == 3) attr_int(n, "axis", 0);
        graph_output(g, done(n));
        graph_ready(g);
        assert_int_equal(cr_graph_set_batch(g, 2, &err), CR_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, n->name));
        cr_graph_free(&g);
    }
    cr_error err;
    cr_graph *g = graph_new();
    graph_output(g, apply1(g, CR_OP_Relu, graph_input(g, "x", shape_of(2, 2, 3))));
    graph_ready(g);
    assert_int_equal(cr_graph_set_batch(g, 4, &err), CR_ERR_UNSUPPORTED); /* has batch 2 */
    assert_int_equal(cr_graph_set_batch(g, 0, &err), CR_ERR_ARGUMENT);
    cr_graph_free(&g);
}

int main(int argc, char **argv) /* MODEL: another one in the sample's place */
{
    if (argc > 1) sample = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_networks),
                                       cmocka_unit_test(sample_model), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
