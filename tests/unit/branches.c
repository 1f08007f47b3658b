/* Detached heads: the decoder on numbers made by hand, and descriptions that do not fit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/model_impl.h"
#include "unit/graphs.h"

enum { BINS = 3, CLASSES = 2, CELLS = 4, STRIDE = 8 };

static const cr_placement whole = {16, 16, 1, 1, 0, 0};

/* A box and a score output of 2 x 2 cells; all logits -9. */
typedef struct planes {
    float box[4 * BINS * CELLS], score[(CLASSES + 1 + 3) * CELLS];
    cr_output outs[2];
    cr_branches branches;
    cr_head head;
} planes;

static void make(planes *p, int bins, bool exponent, bool object)
{
    *p = (planes){.branches = {.bins = bins,
                               .bin_value = {0, 1, 2},
                               .exponent = exponent,
                               .offset = exponent ? 0 : .5f,
                               .keypoint_scale = 2},
                  .head = {.kind = CR_HEAD_BRANCHES,
                           .classes = CLASSES,
                           .input_width = 16,
                           .input_height = 16,
                           .keypoints = 1,
                           .keypoint_dims = 3}};
    cr_branch *b = p->branches.items;
    b[0] = (cr_branch){CR_BRANCH_BOX, 0, 0, 4 * bins, STRIDE, false};
    b[1] = (cr_branch){CR_BRANCH_SCORE, 1, 0, CLASSES, STRIDE, true};
    b[2] = (cr_branch){CR_BRANCH_KEYPOINT, 1, CLASSES + 1, 3, STRIDE, true};
    b[3] = (cr_branch){CR_BRANCH_OBJECT, 1, CLASSES, 1, STRIDE, true};
    p->branches.count = object ? 4 : 3;
    p->head.branches = &p->branches;
    for (size_t i = 0; i < sizeof p->score / sizeof *p->score; i++) p->score[i] = -9;
    p->outs[0] = (cr_output){p->box, 4, {1, 4 * bins, 2, 2}};
    p->outs[1] = (cr_output){p->score, 4, {1, CLASSES + 4, 2, 2}};
}

static cr_detection decode(planes *p, cr_detections *found)
{
    cr_error err;
    const cr_detect_options o = cr_detect_options_default();
    if (cr_head_decode(&p->head, p->outs, 2, &whole, &o, found, &err) != CR_OK)
        fail_msg("%s", err.message);
    assert_int_equal(found->count, 1);
    return found->items[0];
}

static void expect_box(const cr_detection *d, float x1, float y1, float x2, float y2)
{
    const float want[4] = {x1, y1, x2, y2};
    for (int i = 0; i < 4; i++) assert_true(fabsf(d->box[i] - want[i]) < 1e-4f);
}

static void distances_and_keypoints(void **state)
{
    (void)state;
    planes p;
    cr_detections found;
    make(&p, BINS, false, false);
    p.score[1 * CELLS + 3] = 0;             /* class 1 in the last cell, whose point is (12, 12) */
    p.box[(0 * BINS + 1) * CELLS + 3] = 50; /* left: the bin of 1 */
    p.box[(1 * BINS + 0) * CELLS + 3] = 50; /* top: of 0; right, bottom: all alike, so 1 */
    const size_t k = CLASSES + 1;
    p.score[k * CELLS + 3] = .25f;
    p.score[(k + 1) * CELLS + 3] = -.5f;
    p.score[(k + 2) * CELLS + 3] = 0;
    const cr_detection d = decode(&p, &found);
    assert_int_equal(d.class_id, 1);
    assert_int_equal(d.index, 3);
    assert_true(d.score == .5f);
    expect_box(&d, 4, 12, 16, 16); /* 20 is cut at the picture's edge */
    assert_true(fabsf(d.keypoints[0] - 12) < 1e-5f && fabsf(d.keypoints[1]) < 1e-5f);
    assert_true(d.keypoints[2] == .5f);
    cr_detections_free(&found);
}

static void exponents_and_objectness(void **state)
{
    (void)state;
    planes p;
    cr_detections found;
    make(&p, 1, true, true);
    p.score[0 * CELLS + 1] = 30;      /* class 0 at cell (1, 0) */
    p.score[0 * CELLS + 2] = 30;      /* without an object there */
    p.score[CLASSES * CELLS + 1] = 0; /* half sure of an object */
    p.box[0 * CELLS + 1] = -.5f;      /* centre (.5, .25) * 8 */
    p.box[1 * CELLS + 1] = .25f;
    p.box[2 * CELLS + 1] = logf(.5f);
    p.box[3 * CELLS + 1] = logf(.25f);
    const cr_detection d = decode(&p, &found);
    assert_int_equal(d.class_id, 0);
    assert_true(fabsf(d.score - .5f) < 1e-6f);
    expect_box(&d, 2, 1, 6, 3);
    cr_detections_free(&found);
}

static void outputs_of_another_shape(void **state)
{
    (void)state;
    planes p;
    cr_error err;
    cr_detections found;
    const cr_detect_options o = cr_detect_options_default();
    make(&p, BINS, false, false);
    p.outs[1].dim[3] = 1;
    assert_int_equal(cr_head_decode(&p.head, p.outs, 2, &whole, &o, &found, &err), CR_ERR_FORMAT);
    make(&p, BINS, false, false);
    p.outs[0].dim[1] = 4;
    assert_int_equal(cr_head_decode(&p.head, p.outs, 2, &whole, &o, &found, &err), CR_ERR_FORMAT);
    make(&p, BINS, false, false);
    assert_int_equal(cr_head_decode(&p.head, p.outs, 1, &whole, &o, &found, &err), CR_ERR_FORMAT);
}

/* ---- descriptions ---- */

static cr_status read_text(cr_graph *g, const char *text, cr_head *head, cr_branches *b)
{
    cr_error err;
    cr_arena arena = {0};
    cr_preprocess pre = cr_preprocess_default(16, 16);
    const char *family = "none";
    bool found;
    g->meta_count = 0;
    if (text) assert_true(cr_graph_set_meta(g, CR_META_BRANCHES, text));
    const cr_status st = cr_branches_read(g, head, b, &pre, &family, &found, &arena, &err);
    assert_int_equal(found, text != NULL);
    if (st != CR_OK) assert_non_null(strstr(err.message, "does not describe"));
    if (st == CR_OK && text) assert_string_equal(family, "some family");
    cr_arena_free(&arena);
    return st;
}

static void descriptions(void **state)
{
    (void)state;
    planes p;
    cr_error err;
    cr_arena arena = {0};
    cr_head head = {0};
    cr_branches b = {0};
    const char *text;
    cr_graph *g = graph_new();
    graph_input(g, "x", shape_of(4, 1, 3, 16, 16));
    graph_output(g, cr_graph_add_tensor(g, "boxes", CR_DT_F32, shape_of(4, 1, 4 * BINS, 2, 2)));
    graph_output(g, cr_graph_add_tensor(g, "rest", CR_DT_F32, shape_of(4, 1, CLASSES + 4, 2, 2)));
    make(&p, BINS, false, true);
    const cr_model_info info = {.family = "some family",
                                .preprocess = cr_preprocess_default(16, 16)};
    assert_int_equal(cr_branches_write(g, &p.head, &p.branches, &info, &text, &arena, &err), CR_OK);
    assert_int_equal(read_text(g, NULL, &head, &b), CR_OK);
    assert_int_equal(head.kind, CR_HEAD_NONE);
    assert_int_equal(read_text(g, text, &head, &b), CR_OK);
    assert_int_equal(head.classes, CLASSES);
    assert_memory_equal(&b, &p.branches, sizeof b);
    static const char *const wrong[][2] = {{"\"classes\": 2", "\"classes\": 3"},
                                           {"\"bins\": [0.0", "\"bins\": [1e9"},
                                           {"\"stride\": 8", "\"stride\": 0"},
                                           {"\"boxes\", \"part\"", "\"nothing\", \"part\""},
                                           {"\"part\": \"box\"", "\"part\": \"b\""},
                                           {"letterbox", "letterbux"},
                                           {"\"pad\": 114", "\"pad\": 256"},
                                           {"\"first\": 3", "\"first\": 4"},
                                           {"{", "["}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *at = strstr(text, wrong[i][0]);
        if (!at) fail_msg("the text has no %s: %s", wrong[i][0], text);
        char *changed = cr_arena_printf(&arena, "%.*s%s%s", (int)(at - text), text, wrong[i][1],
                                        at + strlen(wrong[i][0]));
        if (read_text(g, changed, &head, &b) != CR_ERR_FORMAT) fail_msg("%s", wrong[i][1]);
    }
    cr_arena_free(&arena);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_and_keypoints),
        cmocka_unit_test(exponents_and_objectness),
        cmocka_unit_test(outputs_of_another_shape),
        cmocka_unit_test(descriptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
