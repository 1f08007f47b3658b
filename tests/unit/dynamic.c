/* Dynamic entries: sessions give what the reference gives, bit for bit, at every CPU level and with any
 * number of threads; written to ONNX and read back they are the same recipe; as ONNX's own operators
 * they give the same numbers. The networks hold convolutions and products whose geometry, weights and
 * zero points are random, with activations between them that are defined to the last bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "crayon/cpu.h"
#include "graph/recipe_dynamic.h"
#include "onnx/onnx.h"
#include "onnx/qdq.h"
#include "ops/ref.h"
#include "runtime/runtime.h"
#include "unit/graphs.h"

enum { NETS = 120 };

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CR_OK) fail_msg("%s: %s", #call, err.message);                               \
    } while (0)

/* ---- networks -------------------------------------------------------------------------------- */

typedef struct net {
    cr_graph *g;
    cr_recipe *r;
    cr_rng rng;
    int takers; /* nodes that read codes */
    bool gemm;
} net;

static int below(net *n, int limit) { return (int)cr_rng_below(&n->rng, (uint64_t)limit); }

/* An entry for the weight: int8 around 0, or uint8 with zero points, by tensor or by output. */
static void weight_entry(net *n, const cr_tensor *w, int axis, bool whole_range)
{
    float scale[128];
    int32_t zero[128];
    cr_error err;
    const bool by_output = below(n, 2), is_signed = !whole_range || below(n, 2);
    const size_t count = by_output ? (size_t)w->shape.dim[axis] : 1;
    for (size_t i = 0; i < count; i++) {
        scale[i] = (float)cr_rng_range(&n->rng, .004, .012);
        zero[i] = is_signed ? 0 : below(n, 256);
    }
    const cr_qparams q = {is_signed ? CR_DT_I8 : CR_DT_U8, by_output ? axis : -1, count, scale, zero};
    OK(cr_recipe_add(n->r, w->name, true, &q, "", &err));
}

static void dynamic_entry(net *n, const cr_tensor *x)
{
    float one = 1;
    int32_t zero = 0;
    cr_error err;
    const cr_qparams q = {CR_DT_U8, -1, 1, &one, &zero, .dynamic = true};
    for (size_t i = 0; i < n->r->count; i++)
        if (!strcmp(n->r->entries[i].tensor, x->name)) return;
    OK(cr_recipe_add(n->r, x->name, false, &q, "", &err));
}

static cr_tensor *activation(net *n, cr_tensor *x)
{
    switch (below(n, 3)) {
    case 0: return done(graph_node(n->g, CR_OP_Relu, 1, 1, x));
    case 1: return done(graph_node(n->g, CR_OP_Sigmoid, 1, 1, x));
    default: return x;
    }
}

static cr_tensor *convolution(net *n, cr_tensor *x)
{
    const int cin = (int)x->shape.dim[1], kind = below(n, 4);
    const int groups = kind == 0 ? cin : kind == 1 && cin % 2 == 0 ? 2 : 1;
    const int cout = kind == 0 ? cin : groups * (1 + below(n, 40));
    const int wanted = 1 + 2 * below(n, 3), stride = 1 + below(n, 2);
    const int k = wanted <= x->shape.dim[2] && wanted <= x->shape.dim[3] ? wanted : 1;
    cr_tensor *w = const_random(n->g, &n->rng, "w", shape_of(4, cout, cin / groups, k, k), -1, 1);
    cr_tensor *b = below(n, 3) ? const_random(n->g, &n->rng, "b", shape_of(1, cout), -1, 1) : NULL;
    cr_node *node = graph_node(n->g, CR_OP_Conv, 1, b ? 3 : 2, x, w, b);
    attr_int(node, "group", groups);
    attr_ints(n->g, node, "kernel_shape", 2, k, k);
    attr_ints(n->g, node, "strides", 2, stride, 1 + below(n, 2));
    attr_ints(n->g, node, "pads", 4, below(n, k), below(n, k), below(n, k), below(n, k));
    dynamic_entry(n, x);
    weight_entry(n, w, 0, groups == 1 || below(n, 4) == 0);
    n->takers++;
    return activation(n, done(node));
}

/* Behind the convolutions: the pixels as rows. */
static cr_tensor *product(net *n, cr_tensor *x)
{
    const int k = (int)x->shape.dim[1], cols = 1 + below(n, 40);
    const int rows = (int)(x->shape.dim[2] * x->shape.dim[3]);
    cr_tensor *flat = done(graph_node(n->g, CR_OP_Reshape, 1, 2, x, const_ints(n->g, 2, k, rows)));
    cr_node *turn = graph_node(n->g, CR_OP_Transpose, 1, 1, flat);
    attr_ints(n->g, turn, "perm", 2, 1, 0);
    cr_tensor *a = done(turn);
    const bool turned = n->gemm && below(n, 2);
    cr_tensor *w = const_random(n->g, &n->rng, "m", turned ? shape_of(2, cols, k) : shape_of(2, k, cols),
                                -1, 1);
    cr_tensor *b = n->gemm && below(n, 2) ? const_random(n->g, &n->rng, "c", shape_of(1, cols), -1, 1)
                                          : NULL;
    cr_node *node = graph_node(n->g, n->gemm ? CR_OP_Gemm : CR_OP_MatMul, 1, b ? 3 : 2, a, w, b);
    if (turned) attr_int(node, "transB", 1);
    dynamic_entry(n, a);
    weight_entry(n, w, turned ? 0 : 1, true);
    n->takers++;
    return done(node);
}

static net make_net(uint64_t seed)
{
    net n = {.g = graph_new()};
    cr_error err;
    cr_rng_seed(&n.rng, seed);
    OK(cr_recipe_create(&n.r, &err));
    cr_tensor *x = graph_input(n.g, "x", shape_of(4, 1, 1 + below(&n, 20), 5 + below(&n, 14),
                                                  5 + below(&n, 14)));
    cr_tensor *a = convolution(&n, x);
    cr_tensor *b = convolution(&n, below(&n, 2) ? x : a); /* two readers of one tensor, or a chain */
    graph_output(n.g, a);
    n.gemm = below(&n, 2);
    graph_output(n.g, below(&n, 2) ? product(&n, b) : b);
    OK(cr_graph_index(n.g, &err));
    return n;
}

static float *random_input(net *n)
{
    const int64_t count = cr_shape_count(&n->g->inputs[0]->shape);
    float *x = calloc((size_t)count, sizeof *x);
    const double lo = below(n, 3) ? -cr_rng_unit(&n->rng) : 0, hi = below(n, 8) ? cr_rng_unit(&n->rng) : lo;
    for (int64_t i = 0; i < count; i++) x[i] = (float)cr_rng_range(&n->rng, lo, hi);
    return x;
}

static void drop(net *n)
{
    cr_graph_free(&n->g);
    cr_recipe_release(&n->r);
}

/* ---- the reference and sessions -------------------------------------------------------------- */

static void check_session(const net *n, const float *x, const cr_tensor *want, int threads)
{
    cr_error err;
    cr_program *p;
    cr_session *s;
    OK(cr_program_create(n->g, n->r, threads, &p, &err));
    OK(cr_session_open(p, NULL, &s, &err));
    memcpy(cr_session_input_data(s, 0), x, cr_tensor_bytes(n->g->inputs[0]));
    for (int run = 0; run < 2; run++) {
        OK(cr_session_execute(s, &err));
        for (size_t i = 0; i < n->g->output_count; i++) {
            const cr_tensor *got = cr_session_output_tensor(s, i);
            const float *a = got->data, *b = want[i].data;
            for (int64_t k = 0; k < cr_shape_count(&got->shape); k++)
                if (memcmp(&a[k], &b[k], sizeof *a))
                    fail_msg("output %zu element %lld: %.9g, reference %.9g (%s, %d threads)", i,
                             (long long)k, (double)a[k], (double)b[k], cr_cpu_level_name(), threads);
        }
    }
    cr_session_close(&s);
    cr_program_free(&p);
}

static void limit(const char *level)
{
    cr_error err;
    OK(cr_cpu_limit(level, &err));
}

static void sessions_equal_reference(void **state)
{
    const char *best = cr_cpu_level_name();
    cr_error err;
    (void)state;
    for (uint64_t seed = 1; seed <= NETS; seed++) {
        net n = make_net(seed);
        float *x = random_input(&n);
        cr_tensor want[2] = {{0}};
        const float *inputs[1] = {x};
        OK(cr_reference_run(n.g, n.r, inputs, want, NULL, &err));
        static const char *const levels[] = {"c", "avx2", "avx512", "avx512vnni", "neon"};
        for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
            if (cr_cpu_limit(levels[i], &err) != CR_OK) continue;
            check_session(&n, x, want, 1 + (int)(seed + i) % 3);
        }
        limit(best);
        check_session(&n, x, want, 2);
        for (int i = 0; i < 2; i++) cr_tensor_drop_data(&want[i]);
        free(x);
        drop(&n);
    }
}

/* ---- ONNX ------------------------------------------------------------------------------------ */

static cr_graph *through_file(const cr_graph *g)
{
    cr_error err;
    unsigned char *bytes;
    size_t size;
    cr_graph *back;
    const cr_onnx_write_options w = {.opset = 13};
    OK(cr_onnx_serialize(g, &w, &bytes, &size, &err));
    OK(cr_onnx_parse(bytes, size, NULL, "memory", &(cr_onnx_options){0}, &back, &err));
    cr_free(bytes);
    OK(cr_graph_prepare(back, cr_op_run, &err));
    return back;
}

static void check_outputs(const cr_graph *g, const cr_recipe *r, const float *x, const cr_tensor *want)
{
    cr_error err;
    cr_tensor got[2] = {{0}};
    const float *inputs[1] = {x};
    OK(cr_reference_run(g, r, inputs, got, NULL, &err));
    for (size_t i = 0; i < g->output_count; i++) {
        assert_int_equal(cr_shape_count(&got[i].shape), cr_shape_count(&want[i].shape));
        assert_memory_equal(got[i].data, want[i].data, cr_tensor_bytes(&got[i]));
        cr_tensor_drop_data(&got[i]);
    }
}

static const cr_recipe_entry *entry_of(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, tensor)) return &r->entries[i];
    return NULL;
}

/* The same entries (int8 codes may come back in place of uint8 ones around 128), for the same names. */
static void check_recipe(const net *n, const cr_recipe *back)
{
    assert_int_equal(back->count, n->r->count);
    for (size_t i = 0; i < n->r->count; i++) {
        const cr_recipe_entry *a = &n->r->entries[i], *b = entry_of(back, a->tensor);
        if (!b) fail_msg("tensor '%s' has lost its entry", a->tensor);
        assert_int_equal(a->q.dynamic, b->q.dynamic);
        assert_int_equal(a->q.count, b->q.count);
        assert_memory_equal(a->q.scale, b->q.scale, a->q.count * sizeof(float));
    }
}

static void written_and_read(void **state)
{
    cr_error err;
    (void)state;
    for (uint64_t seed = 1; seed <= NETS; seed++) {
        net n = make_net(seed + 1000);
        float *x = random_input(&n);
        cr_tensor want[2] = {{0}};
        const float *inputs[1] = {x};
        OK(cr_reference_run(n.g, n.r, inputs, want, NULL, &err));
        cr_graph *file, *back;
        cr_recipe *r;
        OK(cr_qdq_write(n.g, n.r, &file, &err));
        back = through_file(file);
        check_outputs(back, NULL, x, want); /* as ONNX's operators */
        OK(cr_qdq_read(back, &r, &err));
        check_outputs(back, r, x, want);
        for (size_t i = 0; i < back->node_count; i++)
            if (back->nodes[i]->op->flags & CR_OPF_QUANT)
                fail_msg("seed %llu: %s is left", (unsigned long long)seed, back->nodes[i]->name);
        if (!n.gemm) {
            check_recipe(&n, r);
            assert_int_equal(back->node_count, n.g->node_count);
        }
        for (int i = 0; i < 2; i++) cr_tensor_drop_data(&want[i]);
        cr_recipe_release(&r);
        cr_graph_free(&back);
        cr_graph_free(&file);
        free(x);
        drop(&n);
    }
}

/* Dynamic entries are of activations, uint8, one scale. */
static void entries_are_checked(void **state)
{
    cr_recipe *r;
    cr_error err;
    float scale[2] = {1, 1};
    int32_t zero[2] = {0, 0};
    (void)state;
    OK(cr_recipe_create(&r, &err));
    const cr_qparams bad[] = {{CR_DT_I8, -1, 1, scale, zero, .dynamic = true},
                              {CR_DT_U8, 1, 2, scale, zero, .dynamic = true}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(cr_recipe_add(r, "x", false, &bad[i], "", &err), CR_ERR_FORMAT);
    const cr_qparams good = {CR_DT_U8, -1, 1, scale, zero, .dynamic = true};
    assert_int_equal(cr_recipe_add(r, "x", true, &good, "", &err), CR_ERR_FORMAT);
    assert_non_null(strstr(err.message, "dynamic"));
    OK(cr_recipe_add(r, "x", false, &good, "", &err));
    cr_recipe_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sessions_equal_reference),
                                       cmocka_unit_test(written_and_read),
                                       cmocka_unit_test(entries_are_checked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
