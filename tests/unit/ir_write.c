/* OpenVINO IR out: what is written comes back as the graph and the recipe that it was. What OpenVINO
 * makes of it: tests/peers/ir_out.py. */
#define _POSIX_C_SOURCE 200809L /* mkdtemp */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "openvino/ir_write.h"
#include "openvino/openvino.h"
#include "unit/pair_folder.h"
#include "unit/random_net.h"
#include "unit/same_net.h"

static int make_folder(void **state)
{
    (void)state;
    return make_pair_folder("xml");
}

static size_t size_of(const char *name)
{
    FILE *f = fopen(name, "rb");
    if (!f) return 0;
    fseek(f, 0, SEEK_END);
    const long n = ftell(f);
    fclose(f);
    return (size_t)n;
}

static cr_graph *read_back(cr_recipe **r)
{
    cr_error err;
    cr_graph *g;
    OK(cr_openvino_read(path, NULL, cr_op_run, &g, &err));
    OK(cr_graph_prepare(g, cr_op_run, &err));
    OK(cr_qdq_read(g, r, &err));
    return g;
}

/* False: IR as we write it has no such operator. */
static bool write_net(const cr_graph *g, const cr_recipe *r)
{
    cr_error err;
    const cr_status st = cr_openvino_write(g, r, NULL, path, &err);
    if (st == CR_OK) return true;
    if (st != CR_ERR_UNSUPPORTED) fail_msg("%s", err.message);
    assert_int_equal(size_of(path) + size_of(bin), 0); /* neither file */
    return false;
}

/* Outputs of both, of the same inputs. What single codes one step off may do is `share` of the
 * largest value, on average. */
static void same_values(uint64_t seed, const cr_graph *a, const cr_recipe *ra, const cr_graph *b,
                        const cr_recipe *rb, double share)
{
    cr_tensor x[GRAPH_IO], y[GRAPH_IO];
    run_graph(a, ra, NULL, x);
    run_graph(b, rb, NULL, y);
    assert_int_equal(a->output_count, b->output_count);
    for (size_t i = 0; i < a->output_count; i++) {
        const int64_t n = cr_shape_count(&x[i].shape);
        const float *p = x[i].data, *q = y[i].data;
        double sum = 0, most = 1e-6;
        assert_string_equal(a->outputs[i]->name, b->outputs[i]->name);
        assert_true(cr_shape_equal(&x[i].shape, &y[i].shape));
        for (int64_t k = 0; k < n; k++) {
            sum += fabs((double)p[k] - q[k]);
            most = fmax(most, fabs(p[k]));
        }
        if (!(sum / (double)n <= share * most))
            fail_msg("seed %d: '%s' differs by %g of %g on average", (int)seed, a->outputs[i]->name,
                     sum / (double)n, most);
    }
    drop_outputs(a, x);
    drop_outputs(b, y);
}

static void floats_come_back(void **state)
{
    (void)state;
    int written = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        cr_graph *g = random_net(seed, false, false);
        if (write_net(g, NULL)) {
            cr_recipe *r;
            cr_graph *back = read_back(&r);
            assert_null(r);
            same_values(seed, g, NULL, back, NULL, 1e-6); /* sums of another order */
            cr_graph_free(&back);
            written++;
        }
        remove(path);
        remove(bin);
        cr_graph_free(&g);
    }
    assert_in_range(written, 75, 150);
}

/* ---- recipes ---- */

static int32_t first_code(cr_dtype t)
{
    int32_t lo = 0, hi;
    assert_true(cr_qtype_range(t, &lo, &hi));
    return lo;
}

/* The same grid: scales of activations within the last bit, zero points as far from the first code. */
static void same_entry(const cr_recipe_entry *x, const cr_recipe_entry *y)
{
    if (x->q.count != y->q.count) fail_msg("'%s': %zu scales", x->tensor, y->q.count);
    assert_int_equal(x->q.count > 1 ? x->q.axis : 0, x->q.count > 1 ? y->q.axis : 0);
    for (size_t i = 0; i < x->q.count; i++) {
        if (!(fabsf(x->q.scale[i] - y->q.scale[i]) <= 1.2e-7f * x->q.scale[i]))
            fail_msg("'%s': scale %.9g became %.9g", x->tensor, x->q.scale[i], y->q.scale[i]);
        if (!x->is_weight)
            assert_int_equal(x->q.zero_point[i] - first_code(x->q.type),
                             y->q.zero_point[i] - first_code(y->q.type));
        else assert_int_equal(x->q.zero_point[i], y->q.zero_point[i]);
    }
}

static void recipes_come_back(void **state)
{
    (void)state;
    int written = 0, entries = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        cr_graph *g = random_net(seed, false, false);
        tensor_range *ranges = calloc(g->tensor_count, sizeof *ranges);
        cr_tensor out[GRAPH_IO];
        run_graph(g, NULL, ranges, out);
        drop_outputs(g, out);
        cr_recipe *r = random_recipe(g, seed, ranges);
        if (!names_only(g) && write_net(g, r)) {
            cr_recipe *again;
            cr_graph *back = read_back(&again);
            for (size_t i = 0; i < r->count; i++) {
                const cr_tensor name = {.name = r->entries[i].tensor};
                const cr_recipe_entry *e = again ? recipe_entry(again, &name) : NULL;
                if (!e) fail_msg("seed %d: the entry of '%s' is lost", (int)seed, name.name);
                same_entry(&r->entries[i], e);
                entries++;
            }
            same_values(seed, g, r, back, again, 2e-3);
            cr_recipe_release(&again);
            cr_graph_free(&back);
            written++;
        }
        remove(path);
        remove(bin);
        free(ranges);
        cr_recipe_release(&r);
        cr_graph_free(&g);
    }
    assert_in_range(written, 75, 150);
    assert_true(entries > 500);
}

/* Every type and blocks along any axis, alone: as floats the weights are what the recipe makes of
 * them, to the last bit. Most blocks come back as such; those that do not divide their axis come back in
 * smaller ones, or as floats. */
static void weights_come_back(void **state)
{
    (void)state;
    int blocked = 0, entries = 0, lost = 0;
    any_weights = true;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        cr_graph *g = random_net(seed, false, false);
        tensor_range *ranges = calloc(g->tensor_count, sizeof *ranges);
        for (size_t i = 0; i < g->tensor_count; i++) ranges[i] = (tensor_range){-3, 3};
        cr_recipe *all = random_recipe(g, seed, ranges), *r, *again;
        cr_error err;
        OK(cr_recipe_create(&r, &err));
        for (size_t i = 0; i < all->count; i++) {
            const cr_recipe_entry *e = &all->entries[i];
            if (e->is_weight) OK(cr_recipe_add(r, e->tensor, true, &e->q, "", &err));
        }
        if (write_net(g, r)) {
            cr_graph *back = read_back(&again);
            for (size_t i = 0; i < r->count; i++) {
                const cr_tensor name = {.name = r->entries[i].tensor};
                const cr_recipe_entry *e = again ? recipe_entry(again, &name) : NULL;
                entries++;
                lost += !e;
                blocked += e && e->q.block;
            }
            same_values(seed, g, r, back, again, 1e-6); /* sums of another order */
            cr_recipe_release(&again);
            cr_graph_free(&back);
        }
        remove(path);
        remove(bin);
        free(ranges);
        cr_recipe_release(&all);
        cr_recipe_release(&r);
        cr_graph_free(&g);
    }
    any_weights = false;
    if (lost * 10 > entries || blocked < 3) /* 25 of 323, 4 */
        fail_msg("%d of %d entries lost, %d blocked", lost, entries, blocked);
}

/* ---- single facts ---- */

static void texts_that_xml_cannot_hold(void **state)
{
    (void)state;
    cr_error err;
    cr_recipe *r;
    cr_graph *g = random_net(2, true, false);
    assert_true(cr_graph_set_meta(g, "names", "{0: 'a<b>&\"c\"', 1: 'd\xff\x01\xc3\xa9'}"));
    assert_true(cr_graph_set_meta(g, "not a name", "x"));
    OK(cr_openvino_write(g, NULL, NULL, path, &err));
    cr_graph *back = read_back(&r);
    assert_string_equal(cr_graph_meta(back, "names"), "{0: 'a<b>&\"c\"', 1: 'd??\xc3\xa9'}");
    assert_null(cr_graph_meta(back, "not a name"));
    cr_graph_free(&back);
    cr_graph_free(&g);
}

static void half_is_half(void **state)
{
    (void)state;
    cr_error err;
    cr_recipe *r;
    cr_graph *g = random_net(5, true, false);
    for (size_t i = 0; i < g->tensor_count; i++) {
        cr_tensor *t = g->tensors[i];
        for (int64_t k = 0; t->data && t->dtype == CR_DT_F32 && k < cr_shape_count(&t->shape); k++)
            ((float *)t->data)[k] = cr_f16_to_f32(cr_f32_to_f16(((float *)t->data)[k]));
    }
    OK(cr_openvino_write(g, NULL, NULL, path, &err));
    const size_t whole = size_of(bin);
    OK(cr_openvino_write(g, NULL, &(cr_openvino_write_options){.half = CR_DT_F16}, path, &err));
    assert_true(size_of(bin) < whole * 3 / 4); /* biases stay float32, and so do lists of axes */
    cr_graph *back = read_back(&r);
    same_values(5, g, NULL, back, NULL, 1e-6);
    cr_graph_free(&back);
    cr_graph_free(&g);
}

static void memory_runs_out(void **state)
{
    (void)state;
    cr_error err;
    cr_graph *g = random_net(5, true, false);
    cr_status st = CR_ERR_MEMORY;
    remove(path);
    remove(bin);
    long n = 0;
    for (; st != CR_OK && n < 20000; n++) {
        cr_alloc_fail_after(n);
        st = cr_openvino_write(g, NULL, NULL, path, &err);
        cr_alloc_fail_after(-1);
        if (st == CR_OK) break;
        assert_int_equal(st, CR_ERR_MEMORY);
        assert_int_equal(size_of(path) + size_of(bin), 0);
    }
    assert_true(n > 10);
    assert_int_equal(st, CR_OK);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_come_back),           cmocka_unit_test(recipes_come_back),
        cmocka_unit_test(weights_come_back),
        cmocka_unit_test(texts_that_xml_cannot_hold), cmocka_unit_test(half_is_half),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_pair_folder);
}
