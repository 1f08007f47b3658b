/* Heads of every family, in small, and the roles that are found in them. All names are random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "quant/head_parts.h"
#include "unit/graphs.h"

enum { SIDE = 64, CLASSES = 5, BINS = 8, LEVELS = 2, FIRST = 8 };

static cr_rng rng;

static cr_tensor *conv(cr_graph *g, cr_tensor *x, int cout, int stride, double bias)
{
    cr_tensor *w = const_random(g, &rng, "w", shape_of(4, cout, (int)x->shape.dim[1], 1, 1), -1, 1);
    cr_tensor *b = const_random(g, &rng, "b", shape_of(1, cout), bias - .1, bias + .1);
    cr_node *n = graph_node(g, CR_OP_Conv, 1, 3, x, w, b);
    attr_ints(g, n, "strides", 2, stride, stride);
    return done(n);
}

/* Features of one level. */
static cr_tensor *level(cr_graph *g, int i)
{
    cr_tensor *x =
        g->input_count ? g->inputs[0] : graph_input(g, "picture", shape_of(4, 1, 3, SIDE, SIDE));
    return apply1(g, CR_OP_Relu, conv(g, x, 8, FIRST << i, 0));
}

static int cells(int i)
{
    return (SIDE / (FIRST << i)) * (SIDE / (FIRST << i));
}

static cr_tensor *reshape(cr_graph *g, cr_tensor *x, int a, int b, int c)
{
    return apply2(g, CR_OP_Reshape, x, const_ints(g, 3, a, b, c));
}

static cr_tensor *join(cr_graph *g, cr_tensor *a, cr_tensor *b, int axis)
{
    cr_node *n = graph_node(g, CR_OP_Concat, 1, 2, a, b);
    attr_int(n, "axis", axis);
    return done(n);
}

static cr_tensor *turn(cr_graph *g, cr_tensor *x, int a, int b, int c, int d)
{
    cr_node *n = graph_node(g, CR_OP_Transpose, 1, 1, x);
    attr_ints(g, n, "perm", d < 0 ? 3 : 4, a, b, c, d);
    return done(n);
}

/* [1, channels, cells of all levels] of one branch. */
static cr_tensor *branch(cr_graph *g, cr_tensor *const x[LEVELS], int channels, double bias)
{
    cr_tensor *part[LEVELS];
    for (int i = 0; i < LEVELS; i++)
        part[i] = reshape(g, conv(g, x[i], channels, 1, bias), 1, channels, cells(i));
    return join(g, part[0], part[1], 2);
}

static void all_levels(cr_graph *g, cr_tensor *x[LEVELS])
{
    for (int i = 0; i < LEVELS; i++) x[i] = level(g, i);
}

/* A constant [1, 2, all cells] that differs from cell to cell. */
static cr_tensor *grid(cr_graph *g)
{
    return const_random(g, &rng, "grid", shape_of(3, 1, 2, cells(0) + cells(1)), 0, 9);
}

static cr_tensor *slice(cr_graph *g, cr_tensor *x, int from, int to, int axis)
{
    cr_node *n = graph_node(g, CR_OP_Slice, 1, 4, x, const_ints(g, 1, from), const_ints(g, 1, to),
                            const_ints(g, 1, axis));
    return done(n);
}

/* Distances [1, 4, N] -> x, y, w, h by the points of the grid. */
static cr_tensor *boxes_of(cr_graph *g, cr_tensor *distances)
{
    cr_tensor *points = grid(g);
    cr_tensor *a = apply2(g, CR_OP_Sub, points, slice(g, distances, 0, 2, 1));
    cr_tensor *b = apply2(g, CR_OP_Add, points, slice(g, distances, 2, 4, 1));
    cr_tensor *centre =
        apply2(g, CR_OP_Div, apply2(g, CR_OP_Add, a, b), cr_graph_const_f32(g, "two", 2));
    return join(g, centre, apply2(g, CR_OP_Sub, b, a), 1);
}

/* Means over the bins: by a convolution, or as a sum of products. */
static cr_tensor *distances_of(cr_graph *g, cr_tensor *bins, bool by_sum)
{
    const int n = cells(0) + cells(1);
    cr_tensor *x = apply2(g, CR_OP_Reshape, bins, const_ints(g, 4, 1, 4, BINS, n));
    cr_node *soft = graph_node(g, CR_OP_Softmax, 1, 1, by_sum ? x : turn(g, x, 0, 2, 1, 3));
    attr_int(soft, "axis", by_sum ? 2 : 1);
    cr_tensor *p = done(soft), *mean;
    if (by_sum) {
        cr_tensor *w = const_random(g, &rng, "bins", shape_of(4, 1, 1, BINS, 1), 0, 7);
        cr_node *sum =
            graph_node(g, CR_OP_ReduceSum, 1, 2, apply2(g, CR_OP_Mul, p, w), const_ints(g, 1, 2));
        attr_int(sum, "keepdims", 0);
        return done(sum);
    }
    mean = done(graph_node(g, CR_OP_Conv, 1, 2, p,
                           const_random(g, &rng, "w", shape_of(4, 1, BINS, 1, 1), 0, 7)));
    return reshape(g, mean, 1, 4, n);
}

/* ---- what is found ---- */

static void rename_all(cr_graph *g)
{
    for (size_t i = 0; i < g->node_count + g->tensor_count; i++) {
        char name[24];
        for (int k = 0; k < 23; k++) name[k] = (char)('a' + cr_rng_below(&rng, 26));
        name[23] = 0;
        const char **to =
            i < g->node_count ? &g->nodes[i]->name : &g->tensors[i - g->node_count]->name;
        *to = cr_arena_strdup(&g->arena, name);
    }
}

/* channels[part]: how many of them the whole head has. Frees the graph. */
static void expect(cr_graph *g, const int channels[CR_PART_COUNT])
{
    cr_error err;
    cr_role *roles;
    cr_head_parts parts;
    graph_ready(g);
    rename_all(g);
    if (cr_roles_find(g, &roles, &err) != CR_OK) fail_msg("%s", err.message);
    if (cr_head_parts_find(g, roles, NULL, &parts, &err) != CR_OK) fail_msg("%s", err.message);
    int found[CR_PART_COUNT] = {0};
    for (size_t i = 0; i < parts.count; i++) found[parts.runs[i].part] += parts.runs[i].count;
    for (int p = 0; p < CR_PART_COUNT; p++)
        if (found[p] != channels[p])
            fail_msg("%s: %d channels, not %d", cr_part_name((cr_part)p), found[p], channels[p]);
    cr_head_parts_release(&parts);
    cr_free(roles);
    cr_graph_free(&g);
}

#define EXPECT(g, ...) expect(g, (const int[CR_PART_COUNT]){__VA_ARGS__})

/* YOLOv8, 9, 11, 12: distributions and scores, decoded; with keypoints or masks. */
static void distributions(void **state)
{
    (void)state;
    for (int by_sum = 0; by_sum < 2; by_sum++) {
        cr_graph *g = graph_new();
        cr_tensor *x[LEVELS];
        all_levels(g, x);
        cr_tensor *boxes = boxes_of(g, distances_of(g, branch(g, x, 4 * BINS, 1), by_sum));
        cr_tensor *scores = apply1(g, CR_OP_Sigmoid, branch(g, x, CLASSES, -4));
        graph_output(g, join(g, boxes, scores, 1));
        EXPECT(g, [CR_PART_DFL] = 4 * BINS * LEVELS, [CR_PART_SCORE] = CLASSES * LEVELS);
    }
}

static void pose(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x[LEVELS];
    const int n = cells(0) + cells(1), points = 3;
    all_levels(g, x);
    cr_tensor *boxes = boxes_of(g, distances_of(g, branch(g, x, 4 * BINS, 1), false));
    cr_tensor *score = apply1(g, CR_OP_Sigmoid, branch(g, x, 1, -4));
    cr_tensor *k =
        apply2(g, CR_OP_Reshape, branch(g, x, 3 * points, 0), const_ints(g, 4, 1, points, 3, n));
    cr_tensor *at = apply2(g, CR_OP_Add, slice(g, k, 0, 2, 2), grid(g));
    cr_tensor *seen = apply1(g, CR_OP_Sigmoid, slice(g, k, 2, 3, 2));
    cr_tensor *all = reshape(g, join(g, at, seen, 2), 1, 3 * points, n);
    graph_output(g, join(g, join(g, boxes, score, 1), all, 1));
    EXPECT(g, [CR_PART_DFL] = 4 * BINS * LEVELS, [CR_PART_SCORE] = LEVELS,
           [CR_PART_KEYPOINT] = 3 * points * LEVELS);
}

static void masks(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x[LEVELS];
    all_levels(g, x);
    cr_tensor *boxes = boxes_of(g, branch(g, x, 4, 1)); /* YOLO26: no distributions */
    cr_tensor *scores = apply1(g, CR_OP_Sigmoid, branch(g, x, CLASSES, -4));
    graph_output(g, join(g, join(g, boxes, scores, 1), branch(g, x, 6, 0), 1));
    graph_output(g, apply1(g, CR_OP_Swish, conv(g, g->inputs[0], 6, 4, 0)));
    EXPECT(g, [CR_PART_BOX] = 4 * LEVELS, [CR_PART_SCORE] = CLASSES * LEVELS,
           [CR_PART_MASK] = 6 * LEVELS, [CR_PART_PROTOTYPE] = 6);
}

/* The distances' middle, turned: centre + (x cos - y sin, x sin + y cos), as oriented boxes have it. */
static cr_tensor *turned_boxes(cr_graph *g, cr_tensor *distances, cr_tensor *angle)
{
    cr_tensor *c = apply1(g, CR_OP_Cos, angle), *s = apply1(g, CR_OP_Sin, angle);
    cr_tensor *ends[2] = {slice(g, distances, 0, 2, 1), slice(g, distances, 2, 4, 1)};
    cr_tensor *middle = apply2(g, CR_OP_Sub, ends[1], ends[0]);
    cr_tensor *x = slice(g, middle, 0, 1, 1), *y = slice(g, middle, 1, 2, 1);
    cr_tensor *u = apply2(g, CR_OP_Sub, apply2(g, CR_OP_Mul, x, c), apply2(g, CR_OP_Mul, y, s));
    cr_tensor *v = apply2(g, CR_OP_Add, apply2(g, CR_OP_Mul, x, s), apply2(g, CR_OP_Mul, y, c));
    cr_tensor *centre = apply2(g, CR_OP_Add, join(g, u, v, 1), grid(g));
    return join(g, centre, apply2(g, CR_OP_Add, ends[0], ends[1]), 1);
}

/* YOLOv8, 11, 12, 26 with oriented boxes: the angle is a branch of its own, given behind the scores. */
static void angles(void **state)
{
    (void)state;
    for (int by_bins = 0; by_bins < 2; by_bins++) {
        cr_graph *g = graph_new();
        cr_tensor *x[LEVELS];
        all_levels(g, x);
        cr_tensor *raw = branch(g, x, by_bins ? 4 * BINS : 4, 1);
        cr_tensor *angle = apply2(g, CR_OP_Mul, apply1(g, CR_OP_Sigmoid, branch(g, x, 1, 0)),
                                  cr_graph_const_f32(g, "pi", 3.14159f));
        cr_tensor *boxes = turned_boxes(g, by_bins ? distances_of(g, raw, false) : raw, angle);
        cr_tensor *scores = apply1(g, CR_OP_Sigmoid, branch(g, x, CLASSES, -4));
        graph_output(g, join(g, join(g, boxes, scores, 1), angle, 1));
        EXPECT(g, [CR_PART_BOX] = by_bins ? 0 : 4 * LEVELS,
               [CR_PART_DFL] = by_bins ? 4 * BINS * LEVELS : 0,
               [CR_PART_SCORE] = CLASSES * LEVELS, [CR_PART_ANGLE] = LEVELS);
    }
}

/* YOLOv10, YOLO26: the best rows are chosen inside. */
static void chosen_rows(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x[LEVELS];
    all_levels(g, x);
    cr_tensor *boxes = turn(g, boxes_of(g, branch(g, x, 4, 1)), 0, 2, 1, -1);
    cr_tensor *scores = apply1(g, CR_OP_Sigmoid, turn(g, branch(g, x, CLASSES, -4), 0, 2, 1, -1));
    cr_tensor *best = done(graph_node(g, CR_OP_ReduceMax, 1, 2, scores, const_ints(g, 1, 2)));
    cr_node *top = graph_node(g, CR_OP_TopK, 2, 2, best, const_ints(g, 1, 10));
    attr_int(top, "axis", 1);
    done(top);
    cr_tensor *rows = apply2(g, CR_OP_Expand, top->out[1], const_ints(g, 3, 1, 10, 4));
    cr_node *gather = graph_node(g, CR_OP_GatherElements, 1, 2, boxes, rows);
    attr_int(gather, "axis", 1);
    graph_output(g, join(g, done(gather), top->out[0], 2));
    EXPECT(g, [CR_PART_BOX] = 4 * LEVELS, [CR_PART_SCORE] = CLASSES * LEVELS);
}

/* YOLOv5, 7: everything from one convolution per level, three anchors, sigmoid on all. */
static void anchors(void **state)
{
    (void)state;
    for (int classes = 1; classes <= CLASSES; classes += CLASSES - 1) {
        cr_graph *g = graph_new();
        cr_tensor *x[LEVELS], *part[LEVELS];
        const int row = 5 + classes;
        all_levels(g, x);
        for (int i = 0; i < LEVELS; i++) {
            const int n = cells(i);
            cr_tensor *y = apply2(g, CR_OP_Reshape, conv(g, x[i], 3 * row, 1, -1),
                                  const_ints(g, 4, 1, 3, row, n));
            y = apply1(g, CR_OP_Sigmoid, turn(g, y, 0, 1, 3, 2));
            cr_tensor *points = const_random(g, &rng, "grid", shape_of(4, 1, 1, n, 2), 0, 9);
            cr_tensor *sizes = const_random(g, &rng, "anchors", shape_of(4, 1, 3, 1, 2), 10, 90);
            cr_tensor *xy = apply2(g, CR_OP_Add, slice(g, y, 0, 2, 3), points),
                      *wh = slice(g, y, 2, 4, 3);
            wh = apply2(g, CR_OP_Mul, apply2(g, CR_OP_Pow, wh, cr_graph_const_f32(g, "two", 2)),
                        sizes);
            y = join(g, join(g, xy, wh, 3), slice(g, y, 4, row, 3), 3);
            part[i] = reshape(g, y, 1, 3 * n, row);
        }
        graph_output(g, join(g, part[0], part[1], 1));
        EXPECT(g, [CR_PART_BOX] = 12 * LEVELS, [CR_PART_OBJECT] = 3 * LEVELS,
               [CR_PART_SCORE] = 3 * classes * LEVELS);
    }
}

/* YOLOX as most exports have it: the host decodes; with one class, objectness comes first. */
static void yolox(void **state)
{
    (void)state;
    for (int decoded = 0; decoded < 2; decoded++)
        for (int classes = 1; classes <= CLASSES; classes += CLASSES - 1) {
            cr_graph *g = graph_new();
            cr_tensor *x[LEVELS];
            all_levels(g, x);
            cr_tensor *box = branch(g, x, 4, 0);
            if (decoded)
                box = join(g, apply2(g, CR_OP_Add, slice(g, box, 0, 2, 1), grid(g)),
                           apply1(g, CR_OP_Exp, slice(g, box, 2, 4, 1)), 1);
            cr_tensor *object = apply1(g, CR_OP_Sigmoid, branch(g, x, 1, -4));
            cr_tensor *scores = apply1(g, CR_OP_Sigmoid, branch(g, x, classes, -4));
            graph_output(g, turn(g, join(g, join(g, box, object, 1), scores, 1), 0, 2, 1, -1));
            EXPECT(g, [CR_PART_BOX] = 4 * LEVELS, [CR_PART_OBJECT] = LEVELS,
                   [CR_PART_SCORE] = classes * LEVELS);
        }
}

/* NanoDet, PicoDet: one convolution per level, two outputs. */
static void nanodet(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x[LEVELS];
    all_levels(g, x);
    for (int i = 0; i < LEVELS; i++) {
        cr_tensor *y =
            reshape(g, conv(g, x[i], CLASSES + 4 * BINS, 1, 0), 1, CLASSES + 4 * BINS, cells(i));
        cr_node *split = graph_node(g, CR_OP_Split, 2, 2, y, const_ints(g, 2, CLASSES, 4 * BINS));
        attr_int(split, "axis", 1);
        done(split);
        graph_output(g, turn(g, apply1(g, CR_OP_Sigmoid, split->out[0]), 0, 2, 1, -1));
        graph_output(g, turn(g, split->out[1], 0, 2, 1, -1));
    }
    EXPECT(g, [CR_PART_DFL] = 4 * BINS * LEVELS, [CR_PART_SCORE] = CLASSES * LEVELS);
}

/* [1, 2 * cells of all levels, columns]: two anchors per cell, one after the other. */
static cr_tensor *anchored(cr_graph *g, cr_tensor *const x[LEVELS], int columns)
{
    cr_tensor *part[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        cr_tensor *y = turn(g, conv(g, x[i], 2 * columns, 1, 0), 0, 2, 3, 1);
        part[i] = reshape(g, y, 1, 2 * cells(i), columns);
    }
    return join(g, part[0], part[1], 1);
}

/* SSD: softmax over classes, boxes by priors; suppressed inside or not. */
static void ssd(void **state)
{
    (void)state;
    for (int inside = 0; inside < 2; inside++) {
        cr_graph *g = graph_new();
        cr_tensor *x[LEVELS];
        const int n = 2 * (cells(0) + cells(1));
        all_levels(g, x);
        cr_tensor *box = anchored(g, x, 4);
        cr_tensor *priors = const_random(g, &rng, "priors", shape_of(3, 1, n, 4), 0, 1);
        box = apply2(g, CR_OP_Add, apply2(g, CR_OP_Mul, box, priors), priors);
        cr_node *soft = graph_node(g, CR_OP_Softmax, 1, 1, anchored(g, x, CLASSES));
        attr_int(soft, "axis", 2);
        cr_tensor *scores = done(soft);
        if (inside) {
            scores = turn(g, scores, 0, 2, 1, -1);
            graph_output(g, done(graph_node(g, CR_OP_NonMaxSuppression, 1, 2, box, scores)));
        } else {
            graph_output(g, box);
            graph_output(g, scores);
        }
        EXPECT(g, [CR_PART_BOX] = 8 * LEVELS, [CR_PART_SCORE] = 2 * CLASSES * LEVELS);
    }
}

/* Branches as they are: the background tells scores from distributions of as many channels. */
static void bare_branches(void **state)
{
    (void)state;
    cr_graph *g = graph_new();
    cr_tensor *x[LEVELS];
    all_levels(g, x);
    for (int i = 0; i < LEVELS; i++) {
        graph_output(g, conv(g, x[i], 4 * BINS, 1, 1));
        graph_output(g, conv(g, x[i], 4 * BINS, 1, -4));
    }
    EXPECT(g, [CR_PART_DFL] = 4 * BINS * LEVELS, [CR_PART_SCORE] = 4 * BINS * LEVELS);

    g = graph_new();
    all_levels(g, x);
    for (int i = 0; i < LEVELS; i++) graph_output(g, conv(g, x[i], 3 * (5 + CLASSES), 1, -2));
    EXPECT(g, [CR_PART_BOX] = 12 * LEVELS, [CR_PART_OBJECT] = 3 * LEVELS,
           [CR_PART_SCORE] = 3 * CLASSES * LEVELS);
}

/* With and without a softmax; a bias that was left behind the product is no grid. */
static void classifiers(void **state)
{
    (void)state;
    for (int softmax = 0; softmax < 2; softmax++) {
        cr_graph *g = graph_new();
        cr_tensor *x = apply1(g, CR_OP_Flatten, apply1(g, CR_OP_GlobalAveragePool, level(g, 0)));
        cr_tensor *w = const_random(g, &rng, "w", shape_of(2, 8, 10), -1, 1);
        cr_tensor *b = const_random(g, &rng, "b", shape_of(1, 10), -1, 1);
        x = apply2(g, CR_OP_Add, apply2(g, CR_OP_MatMul, x, w), b);
        graph_output(g, softmax ? apply1(g, CR_OP_Softmax, x) : x);
        EXPECT(g, [CR_PART_SCORE] = 10);
    }
}

/* Positions in the picture are told from distances; what joins boxes and scores says so. */
static void what_tensors_carry(void **state)
{
    (void)state;
    cr_error err;
    cr_role *roles;
    cr_head_parts parts;
    cr_graph *g = graph_new();
    cr_tensor *x[LEVELS];
    all_levels(g, x);
    cr_tensor *distances = distances_of(g, branch(g, x, 4 * BINS, 1), false);
    cr_tensor *boxes = boxes_of(g, distances);
    cr_tensor *scores = apply1(g, CR_OP_Sigmoid, branch(g, x, CLASSES, -4));
    cr_tensor *all = join(g, boxes, scores, 1);
    graph_output(g, all);
    graph_ready(g);
    assert_int_equal(cr_roles_find(g, &roles, &err), CR_OK);
    assert_int_equal(cr_head_parts_find(g, roles, NULL, &parts, &err), CR_OK);
    assert_int_equal(parts.carried[distances->id], 1 << CR_PART_DFL);
    assert_int_equal(parts.carried[scores->id], 1 << CR_PART_SCORE);
    assert_int_equal(parts.carried[all->id], 1 << CR_PART_DFL | 1 << CR_PART_SCORE);
    assert_int_equal(parts.carried[x[0]->id], 0);
    assert_false(parts.absolute[distances->id]);
    assert_true(parts.absolute[boxes->id]);
    assert_false(parts.absolute[scores->id]);
    cr_head_parts_release(&parts);
    cr_free(roles);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributions),
        cmocka_unit_test(pose),
        cmocka_unit_test(masks),
        cmocka_unit_test(angles),
        cmocka_unit_test(chosen_rows),
        cmocka_unit_test(anchors),
        cmocka_unit_test(yolox),
        cmocka_unit_test(nanodet),
        cmocka_unit_test(ssd),
        cmocka_unit_test(bare_branches),
        cmocka_unit_test(classifiers),
        cmocka_unit_test(what_tensors_carry),
    };
    cr_rng_seed(&rng, 11);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
