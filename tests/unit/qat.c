/* What a student learns from a model, which pictures it sees, and what cr_qat refuses. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "crayon/train.h"
#include "graph/passes.h"
#include "pipeline/distill_parts.h"
#include "pipeline/judge.h"
#include "pipeline/model_impl.h"
#include "pipeline/train_pictures.h"
#include "runtime/runtime.h"
#include "unit/graphs.h"

static const char *const sample = "sample/shapes.onnx";

static cr_model *open_sample(void)
{
    cr_model *m;
    cr_error err;
    if (cr_model_open(sample, NULL, &m, &err) != CR_OK) fail_msg("%s", err.message);
    return m;
}

/* A YOLOv8 head: per level a distribution of boxes, weighed by the scores of the same cells. */
static void parts_of_yolov8(void **state)
{
    (void)state;
    cr_model *m = open_sample();
    cr_distill_plan p;
    int bins = 0, scores = 0;
    double features = 0;
    assert_int_equal(cr_distill_plan_make(m, 3, &p, NULL), CR_OK);
    for (size_t i = 0; i < p.count; i++) {
        const cr_distill_part *part = &p.parts[i];
        if (part->kind == CR_DISTILL_BINS) {
            const cr_distill_part *by = &p.parts[part->scores];
            const cr_tensor *a = cr_graph_find(m->graph, part->tensor);
            const cr_tensor *b = cr_graph_find(m->graph, by->tensor);
            bins++;
            assert_int_equal(part->count, 4 * part->bins);
            assert_int_equal(by->kind, CR_DISTILL_LOGIT);
            assert_int_equal(a->shape.dim[2], b->shape.dim[2]);
            assert_int_equal(part->objects, -1);
        }
        scores += part->kind == CR_DISTILL_LOGIT;
        if (i >= p.head) features += part->weight;
        assert_true((i < p.head) == (part->kind != CR_DISTILL_FEATURE));
    }
    assert_true(bins >= 2);
    assert_int_equal(scores, bins);
    assert_int_equal(p.head, 2 * bins);
    assert_true(fabs(features - 3) < 1e-9);
    cr_distill_plan_release(&p);
    assert_int_equal(cr_distill_plan_make(m, 0, &p, NULL), CR_OK);
    assert_int_equal(p.count, p.head);
    cr_distill_plan_release(&p);
    cr_model_free(&m);
}

/* ---- pictures ---- */

enum { PICTURES = 6, SIDE = 32, INPUT = 3 * SIDE * SIDE };

/* Plain pictures, each of a grey of its own; number 2 is none at all. */
static cr_image_list plain_pictures(char folder[64])
{
    cr_image_list list = {cr_calloc(PICTURES, sizeof *list.paths), PICTURES};
    snprintf(folder, 64, "/tmp/crayon-qat-%d", (int)getpid());
    assert_int_equal(cr_mkdirs(folder, NULL), CR_OK);
    for (int i = 0; i < PICTURES; i++) {
        char path[96];
        cr_image img;
        snprintf(path, sizeof path, "%s/%d.png", folder, i);
        list.paths[i] = cr_strdup(path);
        if (i == 2) {
            assert_int_equal(cr_file_write(path, "no picture", 10, NULL), CR_OK);
            continue;
        }
        assert_int_equal(cr_image_create(SIDE, SIDE, &img, NULL), CR_OK);
        memset(img.rgb, 10 * (i + 1), INPUT);
        assert_int_equal(cr_image_write(path, &img, NULL), CR_OK);
        cr_image_free(&img);
    }
    return list;
}

static void remove_pictures(cr_image_list *list, const char *folder)
{
    for (size_t i = 0; i < list->count; i++) unlink(list->paths[i]);
    rmdir(folder);
    cr_image_list_free(list);
}

static void count_line(void *user, const char *line)
{
    ++*(int *)user;
    assert_non_null(strstr(line, "left out"));
}

/* Every good picture once per round, in another order each round; what cannot be read is told once
 * and another comes in its place; a step in the middle gives what it gave in the whole run. */
static void rounds(void **state)
{
    (void)state;
    char folder[64];
    int lines = 0, turn[3][PICTURES];
    float input[INPUT];
    cr_image_list list = plain_pictures(folder);
    const cr_train_pictures_options o = {.preprocess = cr_preprocess_default(SIDE, SIDE),
                                         .seed = 3,
                                         .warn = count_line,
                                         .user = &lines};
    cr_train_pictures *p;
    assert_int_equal(cr_train_pictures_open(list.paths, list.count, &o, &p, NULL), CR_OK);
    for (int round = 0; round < 3; round++) {
        int seen[PICTURES + 1] = {0};
        for (int i = 0; i < PICTURES; i++) {
            const int64_t at = round * PICTURES + i;
            assert_int_equal(cr_train_pictures_take(p, at / 2, (int)(at % 2), 2, input, NULL),
                             CR_OK);
            turn[round][i] = (int)lrintf(input[7] * 25.5f);
            seen[turn[round][i]]++;
        }
        for (int i = 1; i <= PICTURES; i++) assert_true(i == 3 ? !seen[i] : seen[i] >= 1);
    }
    assert_memory_not_equal(turn[0], turn[1], sizeof *turn);
    assert_int_equal(lines, 1);
    assert_int_equal(cr_train_pictures_bad(p), 1);
    assert_int_equal(cr_train_pictures_take(p, 4, 1, 2, input, NULL), CR_OK);
    assert_int_equal(lrintf(input[7] * 25.5f), turn[1][3]);
    cr_train_pictures_close(&p);
    remove_pictures(&list, folder);
}

/* Varied pictures differ from step to step, stay within the pixels' range and come again. */
static void variations(void **state)
{
    (void)state;
    float a[INPUT], b[INPUT];
    char folder[64];
    int different = 0;
    cr_image_list list = plain_pictures(folder);
    cr_train_pictures_options o = {.preprocess = cr_preprocess_default(SIDE, SIDE), .vary = true};
    cr_train_pictures *p, *again;
    assert_int_equal(cr_train_pictures_open(list.paths, 1, &o, &p, NULL), CR_OK);
    assert_int_equal(cr_train_pictures_open(list.paths, 1, &o, &again, NULL), CR_OK);
    for (int step = 0; step < 20; step++) {
        assert_int_equal(cr_train_pictures_take(p, step, 0, 1, a, NULL), CR_OK);
        assert_int_equal(cr_train_pictures_take(again, step, 0, 1, b, NULL), CR_OK);
        assert_memory_equal(a, b, sizeof a);
        different += lrintf(a[7] * 255) != 10;
        for (int i = 0; i < INPUT; i++) assert_true(a[i] >= 0 && a[i] <= 1);
    }
    assert_in_range(different, 3, 17); /* light changes half of them */
    cr_train_pictures_close(&p);
    cr_train_pictures_close(&again);
    /* nothing but a file that is no picture */
    cr_error err;
    assert_int_equal(cr_train_pictures_open(list.paths + 2, 1, &o, &p, NULL), CR_OK);
    assert_int_equal(cr_train_pictures_take(p, 0, 0, 1, a, &err), CR_ERR_IO);
    cr_train_pictures_close(&p);
    remove_pictures(&list, folder);
}

/* ---- what judges say ---- */

/* Two verdicts that move together with the pictures differ by the same everywhere: certain, though
 * each alone is not. */
static void gains(void **state)
{
    (void)state;
    cr_verdict a = {.agreement = .90, .deviation = .02}, b = {.agreement = .92, .deviation = .02};
    double deviation;
    for (int g = 0; g < CR_JUDGE_GROUPS; g++) {
        a.without[g] = .88 + .005 * g;
        b.without[g] = a.without[g] + .02;
    }
    assert_true(fabs(cr_verdict_gain(&a, &b, &deviation) - .02) < 1e-12);
    assert_true(deviation < 1e-12);
    /* one group of ten that says otherwise: sqrt(.9 (9 .001^2 + .009^2)) */
    b.without[3] -= .01;
    cr_verdict_gain(&a, &b, &deviation);
    assert_true(fabs(deviation - .009) < 1e-9);
    b.deviation = NAN;
    assert_true(fabs(cr_verdict_gain(&a, &b, &deviation) - .02) < 1e-12);
    assert_true(isnan(deviation));
}

/* ---- swapped activations ---- */

static void swapped(void **state)
{
    (void)state;
    static const cr_op_kind kinds[] = {CR_OP_Clip, CR_OP_Relu, CR_OP_LeakyRelu, CR_OP_HardSwish};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        cr_graph *g = graph_new();
        size_t count;
        cr_tensor *x = graph_input(g, "x", shape_of(2, 1, 5));
        graph_output(g, apply1(g, CR_OP_Relu, apply1(g, CR_OP_Swish, x)));
        graph_ready(g);
        assert_int_equal(cr_graph_swap_activation(g, kinds[k], &count, NULL), CR_OK);
        assert_int_equal(count, 1);
        const cr_node *n = g->nodes[0];
        assert_int_equal(n->op->kind, kinds[k]);
        assert_int_equal(n->n_in, kinds[k] == CR_OP_Clip ? 3 : 1);
        if (n->n_in == 3) {
            assert_true(cr_tensor_get_f64(n->in[1], 0) == 0);
            assert_true(cr_tensor_get_f64(n->in[2], 0) == 6);
        }
        if (kinds[k] == CR_OP_LeakyRelu) assert_true(cr_attr_float(n, "alpha", 0) == .1f);
        cr_graph_free(&g);
    }
    size_t count;
    cr_error err;
    cr_model *m = open_sample();
    assert_int_equal(cr_model_swap_activation(m, CR_ACTIVATION_RELU, &count, &err), CR_OK);
    assert_true(count > 10);
    assert_int_equal(cr_model_swap_activation(m, CR_ACTIVATION_RELU6, &count, &err),
                     CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "no SiLU"));
    cr_model_free(&m);
}

/* What a graph gives for an input of random numbers; the caller frees it. */
static float *outcome(const cr_graph *g, size_t *count)
{
    cr_program *program;
    cr_session *session;
    cr_pool *pool;
    cr_rng r;
    assert_int_equal(cr_pool_create(1, &pool, NULL), CR_OK);
    assert_int_equal(cr_program_create(g, NULL, 1, &program, NULL), CR_OK);
    assert_int_equal(cr_session_open(program, pool, &session, NULL), CR_OK);
    float *x = cr_session_input_data(session, 0);
    cr_rng_seed(&r, 9);
    for (int64_t i = 0; i < cr_shape_count(&g->inputs[0]->shape); i++)
        x[i] = (float)cr_rng_range(&r, 0, 1);
    assert_int_equal(cr_session_execute(session, NULL), CR_OK);
    const cr_tensor *t = cr_session_output_tensor(session, 0);
    float *y = cr_malloc(cr_tensor_bytes(t));
    *count = (size_t)cr_shape_count(&t->shape);
    memcpy(y, t->data, cr_tensor_bytes(t));
    cr_session_close(&session);
    cr_program_free(&program);
    cr_pool_free(&pool);
    return y;
}

/* The teacher in other coordinates is the same function; the student is the network with another
 * activation and no node more. */
static void swapped_where_it_fits(void **state)
{
    (void)state;
    char folder[64];
    cr_image_list list = plain_pictures(folder);
    const cr_image_list two = {list.paths, 2};
    static const cr_activation all[] = {CR_ACTIVATION_RELU6, CR_ACTIVATION_LEAKY_RELU,
                                        CR_ACTIVATION_HARD_SWISH};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        cr_model *m = open_sample(), *teacher = open_sample();
        const size_t nodes = m->graph->node_count;
        size_t count, n, same;
        cr_error err;
        float *before = outcome(teacher->graph, &n);
        if (cr_model_swap_fitted(m, teacher, all[k], &two, 1, 1, NULL, &count, NULL, &err) != CR_OK)
            fail_msg("%s", err.message);
        float *after = outcome(teacher->graph, &same);
        double largest = 0, apart = 0;
        assert_true(n == same && count > 10);
        assert_int_equal(m->graph->node_count, nodes);
        for (size_t i = 0; i < n; i++) {
            largest = fmax(largest, fabs((double)before[i]));
            apart = fmax(apart, fabs((double)before[i] - (double)after[i]));
        }
        assert_true(largest > 10 && apart < 1e-3 * largest); /* float32, other orders: 1e-6 */
        for (size_t i = 0; i < nodes; i++)
            assert_int_not_equal(m->graph->nodes[i]->op->kind, CR_OP_Swish);
        cr_free(before);
        cr_free(after);
        cr_model_free(&m);
        cr_model_free(&teacher);
    }
    remove_pictures(&list, folder);
}

/* ---- refusals ---- */

static void refuse(cr_model *m, const cr_model *teacher, const cr_image_list *list,
                   const cr_qat_options *o, const char *text)
{
    cr_error err = {0};
    assert_int_not_equal(cr_qat(m, teacher, list, o, NULL, NULL, &err), CR_OK);
    if (!strstr(err.message, text)) fail_msg("%s", err.message);
}

static bool cancel(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user, (void)what, (void)total;
    return done < 1;
}

static void refusals(void **state)
{
    (void)state;
    char folder[64];
    cr_model *m = open_sample(), *teacher = open_sample();
    cr_image_list list = plain_pictures(folder), none = {NULL, 0};
    cr_qat_options o = cr_qat_options_default();
    refuse(m, teacher, &none, &o, "no pictures");
    o.judge_pictures = &none;
    refuse(m, teacher, &list, &o, "no pictures to judge with");
    o.judge_pictures = NULL;
    o.minutes = 0;
    refuse(m, teacher, &list, &o, "minutes or steps");
    o.steps = 1;
    o.batch = 0;
    refuse(m, teacher, &list, &o, "1 to 1024");
    o.batch = 1;
    o.height = o.width = 56; /* 7 cells, halved and doubled: 8 */
    refuse(m, teacher, &list, &o, "56x56");
    o.height = o.width = 64;
    const cr_progress progress = {cancel, NULL};
    cr_error err;
    assert_int_equal(cr_qat(m, teacher, &list, &o, &progress, NULL, &err), CR_ERR_CANCELLED);
    cr_model_free(&m);
    cr_model_free(&teacher);
    remove_pictures(&list, folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_yolov8), cmocka_unit_test(rounds),   cmocka_unit_test(variations),
        cmocka_unit_test(gains),           cmocka_unit_test(swapped),
        cmocka_unit_test(swapped_where_it_fits), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
