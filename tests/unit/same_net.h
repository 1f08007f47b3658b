/* Are two networks, two recipes the same, and do they compute the same? For the tests of formats that give a
 * graph and a recipe back. */
#ifndef CR_TESTS_SAME_NET_H
#define CR_TESTS_SAME_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx/onnx.h"
#include "onnx/qdq.h"
#include "onnx/qop.h"
#include "ops/ref.h"
#include "unit/random_recipe.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CR_OK) fail_msg("%s: %s", #call, err.message);                               \
    } while (0)

static inline cr_graph *through_onnx(const cr_graph *g, int opset)
{
    cr_error err;
    unsigned char *bytes;
    size_t size;
    cr_graph *back;
    const cr_onnx_write_options w = {.opset = opset, .lean = true};
    OK(cr_onnx_serialize(g, &w, &bytes, &size, &err));
    OK(cr_onnx_parse(bytes, size, NULL, "memory", &(cr_onnx_options){0}, &back, &err));
    cr_free(bytes);
    OK(cr_qop_read(back, &err));
    OK(cr_graph_prepare(back, cr_op_run, &err));
    return back;
}

static inline void see_range(void *user, const cr_view *v)
{
    tensor_range *r = (tensor_range *)user + v->tensor->id;
    for (int64_t i = 0; i < v->cols; i++) {
        const float x = ((const float *)v->data)[i];
        r->lo = x < r->lo ? x : r->lo;
        r->hi = x > r->hi ? x : r->hi;
    }
}

static inline void run_graph(const cr_graph *g, const cr_recipe *r, tensor_range *ranges, cr_tensor *out)
{
    cr_error err;
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    const int64_t n = cr_shape_count(&g->inputs[0]->shape);
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)cr_rng_range(&rng, -2, 2);
    const float *const inputs[1] = {x};
    const cr_observer o = {see_range, ranges};
    memset(out, 0, GRAPH_IO * sizeof *out);
    OK(cr_reference_run(g, r, inputs, out, ranges ? &o : NULL, &err));
    free(x);
}

static inline void drop_outputs(const cr_graph *g, cr_tensor *out)
{
    for (size_t i = 0; i < g->output_count; i++) cr_tensor_drop_data(&out[i]);
}

/* ---- comparisons ---- */

static inline void same_weight(const cr_recipe *r, const cr_tensor *a, const cr_tensor *b)
{
    assert_int_equal(a->dtype, b->dtype);
    assert_true(cr_shape_equal(&a->shape, &b->shape));
    const cr_recipe_entry *e = recipe_entry(r, a);
    if (!e) return; /* biases are rounded; same_function looks at them */
    const int64_t n = cr_shape_count(&a->shape);
    float *want = malloc((size_t)n * sizeof *want);
    cr_fake_quantize(a, &e->q, want);
    assert_memory_equal(want, b->data, (size_t)n * sizeof *want);
    free(want);
}

static inline void same_tensor(const cr_recipe *r, const cr_tensor *a, const cr_tensor *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (!a) return;
    assert_int_equal(a->data == NULL, b->data == NULL);
    if (a->data) {
        same_weight(r, a, b);
        return;
    }
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->dtype, b->dtype);
    assert_true(cr_shape_equal(&a->shape, &b->shape));
}

/* The node that writes a tensor of that name: the order among independent nodes may differ. */
static inline const cr_node *writer_of(const cr_graph *g, const char *name)
{
    const cr_tensor *t = cr_graph_find(g, name);
    if (!t || !t->producer) fail_msg("nobody writes '%s'", name);
    return t->producer;
}

static inline void same_graph(const cr_graph *a, const cr_recipe *r, const cr_graph *b)
{
    assert_int_equal(a->node_count, b->node_count);
    for (size_t i = 0; i < a->node_count; i++) {
        const cr_node *x = a->nodes[i], *y = writer_of(b, x->out[0]->name);
        if (x->op != y->op) fail_msg("node '%s' became %s", x->name, y->op->name);
        for (int k = 0; k < x->n_in || k < y->n_in; k++)
            same_tensor(r, k < x->n_in ? x->in[k] : NULL, k < y->n_in ? y->in[k] : NULL);
        for (int k = 0; k < x->n_out; k++) same_tensor(r, x->out[k], y->out[k]);
    }
    assert_int_equal(a->output_count, b->output_count);
    for (size_t i = 0; i < a->output_count; i++)
        assert_string_equal(a->outputs[i]->name, b->outputs[i]->name);
}

static inline void same_recipe(const cr_recipe *a, const cr_recipe *b)
{
    assert_non_null(b);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const cr_recipe_entry *x = &a->entries[i];
        const cr_tensor name = {.name = x->tensor};
        const cr_recipe_entry *y = recipe_entry(b, &name);
        if (!y) fail_msg("the entry of '%s' is lost", x->tensor);
        assert_int_equal(x->is_weight, y->is_weight);
        if (x->q.type != y->q.type && (x->q.type != CR_DT_I2 || y->q.type != CR_DT_I1))
            fail_msg("'%s': %s became %s", x->tensor, cr_dtype_key(x->q.type),
                     cr_dtype_key(y->q.type)); /* few codes of int2 may happen to be binary */
        assert_int_equal(x->q.count, y->q.count);
        if (x->q.count > 1) assert_int_equal(x->q.axis, y->q.axis);
        if (x->q.count > 1) assert_int_equal(x->q.block, y->q.block);
        assert_memory_equal(x->q.scale, y->q.scale, x->q.count * sizeof *x->q.scale);
        assert_memory_equal(x->q.zero_point, y->q.zero_point, x->q.count * sizeof *x->q.zero_point);
    }
}

static inline void same_function(const cr_graph *a, const cr_recipe *ra, const cr_graph *b,
                          const cr_recipe *rb)
{
    cr_tensor ya[GRAPH_IO], yb[GRAPH_IO];
    run_graph(a, ra, NULL, ya);
    run_graph(b, rb, NULL, yb);
    for (size_t i = 0; i < a->output_count; i++) {
        assert_true(cr_shape_equal(&ya[i].shape, &yb[i].shape));
        for (int64_t k = 0; k < cr_shape_count(&ya[i].shape); k++)
            if (cr_tensor_get_f64(&ya[i], (size_t)k) != cr_tensor_get_f64(&yb[i], (size_t)k))
                fail_msg("output '%s' differs at %lld", a->outputs[i]->name, (long long)k);
    }
    drop_outputs(a, ya);
    drop_outputs(b, yb);
}

/* Below opset 24 the file has no Swish with a factor; it comes back as the three nodes that say so.
 */
static inline void plain_swish(cr_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == CR_OP_Swish && g->nodes[i]->n_attrs)
            g->nodes[i]->attrs[0].f = 1;
}

/* Between two graph outputs a no-op stays; with an entry behind it, it comes back as two
 * Identities. Such networks compute the same, but are not the same. */
static inline bool names_only(const cr_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == CR_OP_Concat && g->nodes[i]->n_in == 1) return true;
    return false;
}


/* The lowest opset that says the recipe and every operator: GridSample came with 16. */
static inline int least_opset(const cr_graph *g, const cr_recipe *r)
{
    int least = cr_qdq_opset(r);
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->kind == CR_OP_GridSample && least < 16) least = 16;
    return least;
}

#endif
