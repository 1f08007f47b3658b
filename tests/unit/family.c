/* Families whose outputs have the same shape, told apart by operators and metadata; and the shape
 * behind suppression inside a network. Whole networks are in tests/peers/families.py. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "crayon/model.h"
#include "onnx/onnx.h"
#include "unit/graphs.h"

enum { SIDE = 128, STRIDES = 3 };

/* [1, n, channels] of one stride: a convolution of that stride, its pixels as rows. */
static cr_tensor *rows(cr_graph *g, cr_rng *r, cr_tensor *x, int stride, int channels)
{
    cr_tensor *w = const_random(g, r, "w", shape_of(4, channels, 3, 1, 1), -1, 1);
    cr_node *conv = graph_node(g, CR_OP_Conv, 1, 2, x, w);
    attr_ints(g, conv, "strides", 2, stride, stride);
    cr_tensor *y = apply2(g, CR_OP_Reshape, done(conv), const_ints(g, 3, 1, channels, -1));
    cr_node *turn = graph_node(g, CR_OP_Transpose, 1, 1, y);
    attr_ints(g, turn, "perm", 3, 0, 2, 1);
    return apply1(g, CR_OP_Sigmoid, done(turn));
}

static cr_graph *begin(cr_rng *r, cr_tensor **x)
{
    cr_graph *g = graph_new();
    cr_rng_seed(r, 5);
    *x = graph_input(g, "picture", shape_of(4, 1, 3, SIDE, SIDE));
    return g;
}

/* Three strides' rows of 5 + 80 in one output, with one more operator behind (none: CR_OP_NONE). */
static cr_graph *joined(cr_op_kind behind)
{
    cr_rng r;
    cr_tensor *x;
    cr_graph *g = begin(&r, &x);
    cr_tensor *part[STRIDES];
    for (int i = 0; i < STRIDES; i++) part[i] = rows(g, &r, x, 8 << i, 85);
    cr_node *all = graph_node(g, CR_OP_Concat, 1, 3, part[0], part[1], part[2]);
    attr_int(all, "axis", 1);
    cr_tensor *y = done(all);
    if (behind == CR_OP_Exp) y = apply1(g, CR_OP_Exp, y);
    if (behind == CR_OP_Mul) y = apply2(g, CR_OP_Mul, y, cr_graph_const_f32(g, "stride", 8));
    graph_output(g, y);
    return g;
}

/* A pair of outputs per stride, as NanoDet (3 strides) and PicoDet (4) give them. */
static cr_graph *pairs(int strides)
{
    cr_rng r;
    cr_tensor *x;
    cr_graph *g = begin(&r, &x);
    for (int i = 0; i < strides; i++) {
        graph_output(g, rows(g, &r, x, 8 << i, 80));
        graph_output(g, rows(g, &r, x, 8 << i, 32));
    }
    return g;
}

/* Writes, opens and forgets the file. */
static cr_model *opened(cr_graph *g)
{
    char path[] = "/tmp/crayon-family-XXXXXX";
    cr_error err;
    cr_model *m = NULL;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    graph_ready(g);
    cr_status st = cr_onnx_write(g, &(cr_onnx_write_options){0}, path, &err);
    if (st == CR_OK) st = cr_model_open(path, NULL, &m, &err);
    unlink(path);
    cr_graph_free(&g);
    if (st != CR_OK) fail_msg("%s", err.message);
    return m;
}

static void expect(cr_graph *g, const char *family, cr_head_kind kind, cr_fit fit, bool bgr)
{
    cr_model *m = opened(g);
    const cr_model_info *info = cr_model_get_info(m);
    assert_string_equal(info->family, family);
    assert_int_equal(info->head.kind, kind);
    assert_int_equal(info->head.classes, 80);
    assert_int_equal(info->preprocess.fit, fit);
    assert_int_equal(info->preprocess.bgr, bgr);
    cr_model_free(&m);
}

static void decoding_inside_is_seen(void **state)
{
    expect(joined(CR_OP_NONE), "YOLOX detector", CR_HEAD_YOLOX, CR_FIT_TOPLEFT, true);
    expect(joined(CR_OP_Exp), "YOLOX detector", CR_HEAD_YOLOV5, CR_FIT_TOPLEFT, true);
    expect(joined(CR_OP_Mul), "YOLOv6-style detector", CR_HEAD_YOLOV5, CR_FIT_LETTERBOX, false);
}

static void nanodet_has_three_strides_and_picodet_four(void **state)
{
    expect(pairs(3), "NanoDet detector", CR_HEAD_NANODET, CR_FIT_LETTERBOX, true);
    expect(pairs(4), "PicoDet detector", CR_HEAD_NANODET, CR_FIT_STRETCH, false);
}

/* [1, 300, 6], with Ultralytics' name of the decoder or without. */
static cr_graph *chosen(const char *decoder)
{
    cr_rng r;
    cr_tensor *x;
    cr_graph *g = begin(&r, &x);
    cr_tensor *w = const_random(g, &r, "w", shape_of(4, 1800, 3, 1, 1), -1, 1);
    cr_node *conv = graph_node(g, CR_OP_Conv, 1, 2, x, w);
    attr_ints(g, conv, "strides", 2, SIDE, SIDE);
    cr_tensor *y = done(conv);
    graph_output(g, apply2(g, CR_OP_Reshape, y, const_ints(g, 3, 1, 300, 6)));
    if (decoder) assert_true(cr_graph_set_meta(g, "head", decoder));
    return g;
}

static void rtdetr_is_named_by_its_decoder(void **state)
{
    static const char *const decoders[] = {"RTDETRDecoder", "v10Detect", NULL};
    for (size_t i = 0; i < 3; i++) {
        cr_model *m = opened(chosen(decoders[i]));
        const cr_model_info *info = cr_model_get_info(m);
        assert_int_equal(info->head.kind, CR_HEAD_END2END);
        assert_int_equal(info->head.fractions, i == 0);
        assert_string_equal(info->family, i == 0 ? "RT-DETR detector" : "end-to-end detector");
        assert_int_equal(info->preprocess.fit, i == 0 ? CR_FIT_STRETCH : CR_FIT_LETTERBOX);
        cr_model_free(&m);
    }
}

/* NonZero gives a varying number of indices; what is scattered with them keeps its shape. */
static void scattering_keeps_the_shape(void **state)
{
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(1, 7));
    cr_tensor *found = apply1(g, CR_OP_NonZero, x);
    cr_node *turn = graph_node(g, CR_OP_Transpose, 1, 1, found);
    cr_tensor *values = apply2(g, CR_OP_GatherND, x, done(turn));
    cr_tensor *room = cr_graph_add_const(g, "room", CR_DT_F32, shape_of(1, 7));
    graph_output(g, done(graph_node(g, CR_OP_ScatterND, 1, 3, room, turn->out[0], values)));
    graph_ready(g);
    assert_false(cr_shape_known(&values->shape));
    assert_true(cr_shape_equal(&g->outputs[0]->shape, &x->shape));
    assert_int_equal(g->outputs[0]->dtype, CR_DT_F32);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_inside_is_seen),
        cmocka_unit_test(nanodet_has_three_strides_and_picodet_four),
        cmocka_unit_test(rtdetr_is_named_by_its_decoder),
        cmocka_unit_test(scattering_keeps_the_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
