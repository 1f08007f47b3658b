/* Tensors that fall into groups of channels: the float network computes what it computed, whatever lies
 * around the depthwise convolutions; groups are the best there are; statistics follow; the quantized network
 * comes nearer to the float one where channels differ much. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "graph/channel_groups.h"
#include "quant/plan.h"
#include "quant/range_split.h"
#include "quant/stats.h"
#include "unit/net_outputs.h"

enum { SIDE = 10, CHANNELS = 8 };

/* ---- networks ---- */

static cr_tensor *silu(cr_graph *g, cr_tensor *x)
{
    return apply2(g, CR_OP_Mul, x, apply1(g, CR_OP_Sigmoid, x));
}

static cr_tensor *conv(cr_graph *g, cr_rng *r, cr_tensor *x, int64_t outputs, int kernel, int64_t groups)
{
    const int64_t in = x->shape.dim[1] / groups;
    cr_tensor *w = const_random(g, r, "w", shape_of(4, (int)outputs, (int)in, kernel, kernel), -1, 1);
    cr_tensor *b = const_random(g, r, "b", shape_of(1, (int)outputs), -.1f, .1f);
    cr_node *n = graph_node(g, CR_OP_Conv, 1, 3, x, w, b);
    attr_int(n, "group", groups);
    if (kernel == 3) attr_ints(g, n, "pads", 4, 1, 1, 1, 1);
    return done(n);
}

/* Which function is what makes y, which what reads the depthwise convolutions. */
typedef enum shape_of_net { SILU, FUSED, RELU, TWO_READERS, CHAIN, SHAPES } shape_of_net;

/* Output channel c of the first convolution is 4^c times the first one. */
static cr_graph *make_net(shape_of_net shape, const cr_tensor **y)
{
    cr_graph *g = graph_new();
    cr_rng r;
    cr_rng_seed(&r, 5);
    cr_tensor *x = conv(g, &r, graph_input(g, "x", shape_of(4, 1, 3, SIDE, SIDE)), CHANNELS, 3, 1), *z;
    const cr_tensor *w = g->nodes[0]->in[1];
    for (int64_t i = 0; i < cr_shape_count(&w->shape); i++)
        ((float *)w->data)[i] *= exp2f((float)(2 * (i / 27) - CHANNELS));
    *y = shape == SILU || shape == TWO_READERS ? silu(g, x)
         : shape == RELU                        ? apply1(g, CR_OP_Relu, x)
                                                : apply1(g, CR_OP_Swish, x);
    z = conv(g, &r, (cr_tensor *)*y, CHANNELS, 3, CHANNELS);
    z = shape == FUSED ? apply1(g, CR_OP_Swish, z) : shape == RELU ? apply1(g, CR_OP_Relu, z) : silu(g, z);
    if (shape == TWO_READERS) {
        cr_tensor *other = silu(g, conv(g, &r, (cr_tensor *)*y, CHANNELS, 3, CHANNELS));
        z = apply2(g, CR_OP_Add, z, other);
    }
    if (shape == CHAIN) { /* the order goes on through another depthwise convolution and a pool */
        cr_node *pool = graph_node(g, CR_OP_MaxPool, 1, 1, silu(g, conv(g, &r, z, CHANNELS, 3, CHANNELS)));
        attr_ints(g, pool, "kernel_shape", 2, 2, 2);
        z = done(pool);
    }
    graph_output(g, conv(g, &r, z, 4, 1, 1));
    graph_ready(g);
    return g;
}

/* A step that divides y's channels as chance has it; the caller frees the list. */
static int64_t *random_list(cr_rng *r, int64_t channels, size_t *count)
{
    const int64_t groups = 2 + cr_rng_below(r, (uint32_t)(channels < 5 ? channels - 1 : 4));
    int64_t *list = malloc((size_t)(1 + groups + channels) * sizeof *list), *order = list + 1 + groups;
    list[0] = groups;
    for (int64_t k = 0; k < groups; k++) list[1 + k] = 1;
    for (int64_t i = groups; i < channels; i++) list[1 + cr_rng_below(r, (uint32_t)groups)]++;
    for (int64_t i = 0; i < channels; i++) {
        const int64_t j = cr_rng_below(r, (uint32_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    *count = (size_t)(1 + groups + channels);
    return list;
}

static cr_rewrite step_of(const cr_tensor *y, int64_t *list, size_t count)
{
    return (cr_rewrite){.kind = CR_REWRITE_GROUPS, .tensor = y->name, .result = "by chance",
                        .channel = list, .channel_count = count};
}

/* The other order of the sums behind: at most 4e-7 measured. */
static void divided_is_the_same(const cr_graph *g, const cr_tensor *y, uint64_t seed)
{
    cr_rng rng;
    cr_error err;
    cr_recipe *r;
    cr_graph *parts;
    size_t count, n, m;
    cr_rng_seed(&rng, seed);
    int64_t *list = random_list(&rng, y->shape.dim[1], &count);
    const cr_rewrite step = step_of(y, list, count);
    assert_int_equal(cr_recipe_create(&r, &err), CR_OK);
    if (cr_recipe_add_rewrite(r, &step, &err) != CR_OK) fail_msg("%s", err.message);
    if (cr_recipe_apply(r, g, &parts, &err) != CR_OK) fail_msg("%s", err.message);
    assert_null(cr_graph_find(parts, y->name));
    assert_int_equal(parts->output_count, g->output_count);
    float *a = run(g, NULL, &n), *b = run(parts, NULL, &m);
    assert_int_equal(n, m);
    const double d = difference(a, b, n);
    if (d > 1e-5) fail_msg("seed %d: %g", (int)seed, d);
    free(a);
    free(b);
    free(list);
    cr_graph_free(&parts);
    cr_recipe_release(&r);
}

static void keeps_the_function(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        const cr_tensor *y;
        cr_group_site site;
        cr_graph *g = make_net((shape_of_net)shape, &y);
        assert_true(cr_group_site_find(g, y, &site));
        assert_int_equal(site.reader_count, shape == TWO_READERS ? 2 : 1);
        for (uint64_t seed = 1; seed <= 6; seed++) divided_is_the_same(g, y, seed);
        cr_graph_free(&g);
    }
}

/* ---- what cannot be divided ---- */

static void sites_that_are_none(void **state)
{
    (void)state;
    cr_group_site site;
    cr_rng r;
    cr_rng_seed(&r, 1);
    for (int what = 0; what < 5; what++) {
        cr_graph *g = graph_new();
        cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 4, SIDE, SIDE));
        cr_tensor *y = what == 0 ? x : apply1(g, CR_OP_Relu, conv(g, &r, x, 4, 3, what == 1 ? 4 : 1));
        cr_tensor *z = conv(g, &r, y, 4, 3, what == 2 ? 1 : 4);
        if (what == 3) z = apply2(g, CR_OP_Add, z, y);             /* y is read by another */
        graph_output(g, what == 4 ? z : conv(g, &r, z, 3, 1, 1)); /* the order would be seen */
        graph_ready(g);
        assert_false(cr_group_site_find(g, y, &site));
        cr_graph_free(&g);
    }
}

static void refused(const cr_graph *g, const char *tensor, size_t count, int64_t *list, const char *why)
{
    cr_recipe *r;
    cr_error err;
    cr_graph *out = NULL;
    const cr_rewrite step = {.kind = CR_REWRITE_GROUPS, .tensor = tensor, .result = "no",
                             .channel = list, .channel_count = count};
    assert_int_equal(cr_recipe_create(&r, &err), CR_OK);
    cr_status st = cr_recipe_add_rewrite(r, &step, &err);
    if (st == CR_OK) st = cr_recipe_apply(r, g, &out, &err);
    assert_int_not_equal(st, CR_OK);
    assert_null(out);
    if (!strstr(err.message, why)) fail_msg("'%s' does not say '%s'", err.message, why);
    cr_recipe_release(&r);
}

static void steps_that_do_not_fit(void **state)
{
    (void)state;
    const cr_tensor *y;
    cr_graph *g = make_net(SILU, &y);
    int64_t twice[] = {2, 4, 4, 0, 1, 2, 3, 4, 5, 6, 6}, far[] = {2, 4, 4, 0, 1, 2, 3, 4, 5, 6, 8},
            sizes[] = {2, 4, 3, 0, 1, 2, 3, 4, 5, 6, 7}, one[] = {1, 8, 0, 1, 2, 3, 4, 5, 6, 7},
            empty[] = {2, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7}, many[] = {1000000, 1, 1, 0, 1},
            few[] = {2, 1, 1, 1, 0}, good[] = {2, 4, 4, 0, 1, 2, 3, 4, 5, 6, 7};
    refused(g, y->name, 11, twice, "each channel once");
    refused(g, y->name, 11, far, "each channel once");
    refused(g, y->name, 11, sizes, "their sizes");
    refused(g, y->name, 10, one, "their number");
    refused(g, y->name, 11, empty, "their sizes");
    refused(g, y->name, 5, many, "their number");
    refused(g, y->name, 0, NULL, "their number");
    refused(g, y->name, 5, few, "do not fit");
    refused(g, "x", 11, good, "do not fit");
    refused(g, "nothing", 11, good, "no such activation");
    cr_graph_free(&g);
}

/* ---- groups ---- */

/* The same by trying all: bit i of `cuts` ends a group behind the i-th narrowest. */
static double least_cost(const double *sorted, int n, int most)
{
    double least = INFINITY;
    for (int cuts = 0; cuts < 1 << (n - 1); cuts++) {
        double sum = 0;
        int groups = 1, first = 0;
        for (int i = 0; i < n; i++) {
            const bool ends = i == n - 1 || (cuts >> i & 1);
            if (!ends) continue;
            for (int c = first; c <= i; c++)
                if (sorted[c] > 0) sum += pow(sorted[i] / sorted[c], 2);
            first = i + 1;
            groups += i < n - 1;
        }
        if (groups <= most && sum < least) least = sum;
    }
    return least / n;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void groups_are_the_best(void **state)
{
    (void)state;
    enum { MOST = 9 };
    cr_rng r;
    cr_rng_seed(&r, 3);
    for (int round = 0; round < 300; round++) {
        const int n = 1 + (int)cr_rng_below(&r, MOST), most = 1 + (int)cr_rng_below(&r, 4);
        double width[MOST], sorted[MOST], cost;
        int64_t order[MOST], size[MOST], sum = 0;
        for (int i = 0; i < n; i++) width[i] = exp(cr_rng_range(&r, -4, 4));
        if (round % 5 == 0) width[0] = 0;
        memcpy(sorted, width, sizeof sorted);
        qsort(sorted, (size_t)n, sizeof *sorted, ascending);
        const int groups = cr_range_groups(width, n, most, 0, order, size, &cost);
        assert_true(groups >= 1 && groups <= most && groups <= n);
        for (int k = 0; k < groups; k++) sum += size[k];
        assert_int_equal(sum, n);
        for (int i = 0; i < n; i++) assert_true(width[order[i]] == sorted[i]);
        assert_true(fabs(cost - least_cost(sorted, n, most)) <= 1e-9 * cost);
        const double enough = cost * 1.0001;
        assert_true(cr_range_groups(width, n, most, enough, order, size, &cost) <= groups);
        assert_true(cost <= enough);
    }
}

/* ---- plans ---- */

static cr_stats *see(const cr_graph *g)
{
    const cr_collect_options o = {.count = 4, .fill = fill, .user = (void *)g, .threads = 1};
    cr_stats *stats;
    cr_error err;
    if (cr_stats_collect(g, &o, &stats, &err) != CR_OK) fail_msg("%s", err.message);
    return stats;
}

static cr_recipe *plan(const cr_graph *g, const cr_stats *stats, int groups, cr_quantize_report *report)
{
    cr_quantize_options o = cr_quantize_options_default();
    cr_recipe *r;
    cr_error err;
    o.target = CR_TARGET_TFLITE;
    o.split_channels = groups;
    if (cr_plan_recipe(g, stats, &o, &r, report, &err) != CR_OK) fail_msg("%s", err.message);
    return r;
}

static double error_of(const cr_graph *g, const cr_recipe *r)
{
    cr_graph *changed;
    cr_error err;
    size_t n, m;
    double sum = 0, all = 0;
    if (cr_recipe_apply(r, g, &changed, &err) != CR_OK) fail_msg("%s", err.message);
    float *a = run(g, NULL, &n), *b = run(changed, r, &m);
    for (size_t i = 0; i < n; i++) {
        sum += pow((double)a[i] - (double)b[i], 2);
        all += pow((double)a[i], 2);
    }
    free(a);
    free(b);
    cr_graph_free(&changed);
    return sum / all;
}

/* The narrow channels count behind the depthwise convolution as much as the wide ones do. */
static void even_out(cr_graph *g, const cr_tensor *y)
{
    cr_group_site s;
    assert_true(cr_group_site_find(g, y, &s));
    for (int r = 0; r < s.reader_count; r++)
        for (int64_t i = 0; i < CHANNELS * 9; i++)
            ((float *)s.readers[r]->in[1]->data)[i] *= exp2f((float)(CHANNELS - 2 * (i / 9)) / 2);
}

static void quantizes_better(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        const cr_tensor *y;
        cr_quantize_report report;
        if (shape != SILU && shape != TWO_READERS) continue; /* the target does not know Swish */
        cr_graph *g = make_net((shape_of_net)shape, &y);
        even_out(g, y);
        cr_stats *stats = see(g);
        cr_recipe *one = plan(g, stats, CR_SPLIT_OFF, &report);
        assert_int_equal(report.divided, 0);
        assert_int_equal(one->rewrite_count, 0);
        cr_recipe *parts = plan(g, stats, CR_SPLIT_AUTO, &report);
        assert_int_equal(report.divided, 1);
        assert_true(report.parts > 1 && report.parts <= 4);
        cr_recipe *two = plan(g, stats, 2, &report);
        assert_int_equal(report.parts, 2);
        const double before = error_of(g, one), after = error_of(g, parts);
        if (after > before / 2) fail_msg("shape %d: %g -> %g", shape, before, after);
        cr_recipe_release(&one);
        cr_recipe_release(&two);
        cr_recipe_release(&parts);
        cr_stats_release(&stats);
        cr_graph_free(&g);
    }
}

/* Behind ReLU channels are scaled, which costs nothing. */
static void not_where_channels_can_be_scaled(void **state)
{
    (void)state;
    const cr_tensor *y;
    cr_quantize_report report;
    cr_graph *g = make_net(RELU, &y);
    cr_stats *stats = see(g);
    cr_recipe *r = plan(g, stats, CR_SPLIT_AUTO, &report);
    assert_int_equal(report.divided, 0);
    assert_true(report.equalized > 0);
    cr_recipe_release(&r);
    cr_stats_release(&stats);
    cr_graph_free(&g);
}

/* A default plan has a scale per channel there, and nothing to divide. */
static void not_where_channels_have_scales(void **state)
{
    (void)state;
    const cr_tensor *y;
    cr_graph *g = make_net(FUSED, &y);
    cr_stats *stats = see(g);
    for (int tensor = 0; tensor < 2; tensor++)
        for (int asked = 0; asked < 2; asked++) {
            cr_quantize_options o = cr_quantize_options_default();
            cr_quantize_report report;
            cr_recipe *r;
            cr_error err;
            o.granularity = tensor ? CR_PER_TENSOR : CR_PER_CHANNEL;
            o.split_channels = asked ? 3 : CR_SPLIT_AUTO;
            assert_int_equal(cr_plan_recipe(g, stats, &o, &r, &report, &err), CR_OK);
            assert_int_equal(report.divided, tensor);
            cr_recipe_release(&r);
        }
    cr_stats_release(&stats);
    cr_graph_free(&g);
}

static void picked_statistics(void **state)
{
    (void)state;
    const cr_tensor *y;
    cr_graph *g = make_net(SILU, &y);
    cr_stats *stats = see(g), *out;
    cr_error err;
    const cr_tensor_stats *from = cr_stats_find(stats, y->name);
    int64_t chosen[] = {6, 1, 3}, all[] = {7, 6, 5, 4, 3, 2, 1, 0};
    assert_int_equal(cr_stats_create(&out, &err), CR_OK);
    assert_int_equal(cr_stats_pick(out, from, "some", chosen, 3, NULL, &err), CR_OK);
    assert_int_equal(cr_stats_pick(out, from, "all", all, CHANNELS, NULL, &err), CR_OK);
    const cr_tensor_stats *some = cr_stats_find(out, "some"), *turned = cr_stats_find(out, "all");
    uint64_t count = 0;
    for (int k = 0; k < some->all.bins; k++) count += some->all.counts[k];
    assert_int_equal(count, 4 * 3 * SIDE * SIDE);
    assert_int_equal(some->count, count);
    assert_int_equal(some->channels, 3);
    for (int i = 0; i < 3; i++) assert_true(some->channel_max[i] == from->channel_max[chosen[i]]);
    assert_true(some->all.max == from->channel_max[6]); /* the widest of them */
    assert_true(some->sum_max == from->channel_sum_max[6]);
    for (int i = 0; i < CHANNELS; i++) assert_true(turned->channel_min[i] == from->channel_min[CHANNELS - 1 - i]);
    assert_true(turned->all.counts == from->all.counts && turned->sum_min == from->sum_min);
    cr_stats_release(&out);
    cr_stats_release(&stats);
    cr_graph_free(&g);
}

/* recipe.json keeps the step. */
static void survives_the_file(void **state)
{
    (void)state;
    const cr_tensor *y;
    char path[64];
    cr_error err;
    cr_recipe *again;
    cr_quantize_report report;
    cr_graph *g = make_net(TWO_READERS, &y);
    cr_stats *stats = see(g);
    cr_recipe *r = plan(g, stats, CR_SPLIT_AUTO, &report);
    snprintf(path, sizeof path, "/tmp/crayon-groups-%ld.json", (long)getpid());
    assert_int_equal(cr_recipe_write(r, path, &err), CR_OK);
    if (cr_recipe_read(path, &again, &err) != CR_OK) fail_msg("%s", err.message);
    unlink(path);
    assert_int_equal(again->rewrite_count, r->rewrite_count);
    assert_int_equal(again->rewrites[0].kind, CR_REWRITE_GROUPS);
    assert_int_equal(again->rewrites[0].channel_count, r->rewrites[0].channel_count);
    assert_true(error_of(g, again) == error_of(g, r));
    cr_recipe_release(&again);
    cr_recipe_release(&r);
    cr_stats_release(&stats);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_function),
        cmocka_unit_test(sites_that_are_none),
        cmocka_unit_test(steps_that_do_not_fit),
        cmocka_unit_test(groups_are_the_best),
        cmocka_unit_test(quantizes_better),
        cmocka_unit_test(not_where_channels_can_be_scaled),
        cmocka_unit_test(not_where_channels_have_scales),
        cmocka_unit_test(picked_statistics),
        cmocka_unit_test(survives_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
