/* Which head a shape means, and each head on a few rows worked out by hand. Random tensors against
 * PyTorch are in tests/peers/vision_heads.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "crayon/detect.h"
#include "vision/heads.h"

struct expectation {
    const char *task;
    int classes, keypoints, side; /* hints */
    cr_output outs[2];
    size_t n;
    cr_head_kind kind;
    int want_classes, want_keypoints, want_dims, want_masks;
    bool transposed;
};

#define OUT2(a, b)                                                                                 \
    {                                                                                              \
        NULL, 2,                                                                                   \
        {                                                                                          \
            a, b                                                                                   \
        }                                                                                          \
    }
#define OUT3(a, b)                                                                                 \
    {                                                                                              \
        NULL, 3,                                                                                   \
        {                                                                                          \
            1, a, b                                                                                \
        }                                                                                          \
    }
#define OUT4(a, b, c, d)                                                                           \
    {                                                                                              \
        NULL, 4,                                                                                   \
        {                                                                                          \
            a, b, c, d                                                                             \
        }                                                                                          \
    }

static const struct expectation shapes[] = {
    {"detect", 80, 0, 640, {OUT3(84, 8400)}, 1, CR_HEAD_YOLOV8, 80, 0, 0, 0, false},
    {NULL, 0, 0, 640, {OUT3(84, 8400)}, 1, CR_HEAD_YOLOV8, 80, 0, 0, 0, false},
    {NULL, 0, 0, 640, {OUT3(8400, 84)}, 1, CR_HEAD_YOLOV8, 80, 0, 0, 0, true},
    {"detect", 1, 0, 320, {OUT3(5, 2100)}, 1, CR_HEAD_YOLOV8, 1, 0, 0, 0, false},
    {NULL, 0, 0, 1280, {OUT3(9, 34000)}, 1, CR_HEAD_YOLOV8, 5, 0, 0, 0, false}, /* P6 */
    {NULL, 0, 0, 640, {OUT3(14, 8000)}, 1, CR_HEAD_YOLOV8, 10, 0, 0, 0, false}, /* 8 and 16 */
    {NULL, 0, 0, 64, {OUT3(84, 84)}, 1, CR_HEAD_YOLOV8, 80, 0, 0, 0, false},
    {"segment",
     80,
     0,
     640,
     {OUT3(116, 8400), OUT4(1, 32, 160, 160)},
     2,
     CR_HEAD_YOLOV8,
     80,
     0,
     0,
     32,
     false},
    {"pose", 1, 17, 640, {OUT3(56, 8400)}, 1, CR_HEAD_POSE, 1, 17, 3, 0, false},
    {NULL, 0, 0, 640, {OUT3(56, 8400)}, 1, CR_HEAD_POSE, 1, 17, 3, 0, false},
    {"detect", 52, 0, 640, {OUT3(56, 8400)}, 1, CR_HEAD_YOLOV8, 52, 0, 0, 0, false},
    {"pose", 2, 4, 640, {OUT3(14, 8400)}, 1, CR_HEAD_POSE, 2, 4, 2, 0, false},
    {NULL, 80, 0, 640, {OUT3(25200, 85)}, 1, CR_HEAD_YOLOV5, 80, 0, 0, 0, false},
    {NULL,
     0,
     0,
     640,
     {OUT3(25200, 117), OUT4(1, 32, 160, 160)},
     2,
     CR_HEAD_YOLOV5,
     80,
     0,
     0,
     32,
     false},
    {NULL, 0, 0, 416, {OUT3(3549, 85)}, 1, CR_HEAD_YOLOX, 80, 0, 0, 0, false},
    {NULL, 3, 0, 416, {OUT3(3549, 8)}, 1, CR_HEAD_YOLOX, 3, 0, 0, 0, false},
    {"detect", 80, 0, 640, {OUT3(300, 6)}, 1, CR_HEAD_END2END, 80, 0, 0, 0, false},
    {"pose", 1, 17, 640, {OUT3(300, 57)}, 1, CR_HEAD_END2END, 1, 17, 3, 0, false},
    {"segment",
     80,
     0,
     640,
     {OUT3(300, 38), OUT4(1, 32, 160, 160)},
     2,
     CR_HEAD_END2END,
     80,
     0,
     0,
     32,
     false},
    {"obb", 15, 0, 1024, {OUT3(20, 21504)}, 1, CR_HEAD_YOLOV8, 15, 0, 0, 0, false},
    {"obb", 0, 0, 1024, {OUT3(21504, 20)}, 1, CR_HEAD_YOLOV8, 15, 0, 0, 0, true},
    {"obb", 15, 0, 1024, {OUT3(300, 7)}, 1, CR_HEAD_END2END, 15, 0, 0, 0, false},
    {NULL, 0, 0, 416, {OUT3(3598, 112)}, 1, CR_HEAD_NANODET, 80, 0, 0, 0, false},
    {NULL, 3, 0, 320, {OUT3(2125, 35)}, 1, CR_HEAD_NANODET, 3, 0, 0, 0, false},
    {"pose", 1, 4, 640, {OUT3(8400, 17)}, 1, CR_HEAD_POSE, 1, 4, 3, 0, true},
    {"classify", 1000, 0, 224, {OUT2(1, 1000)}, 1, CR_HEAD_CLASSIFY, 1000, 0, 0, 0, false},
    {NULL, 0, 0, 224, {OUT4(1, 10, 1, 1)}, 1, CR_HEAD_CLASSIFY, 10, 0, 0, 0, false},
};

static void shapes_tell_the_head(void **state)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct expectation *e = &shapes[i];
        cr_head h;
        cr_error err;
        if (cr_head_guess(e->outs, e->n, e->task, e->classes, e->keypoints, e->side, e->side, &h,
                          &err) != CR_OK)
            fail_msg("shape %zu: %s", i, err.message);
        if (h.kind != e->kind || h.classes != e->want_classes || h.masks != e->want_masks ||
            h.keypoints != e->want_keypoints || h.keypoint_dims != e->want_dims ||
            h.transposed != e->transposed)
            fail_msg("shape %zu: kind %d, %d classes, %d keypoints of %d, %d masks, transposed %d",
                     i, (int)h.kind, h.classes, h.keypoints, h.keypoint_dims, h.masks,
                     h.transposed);
        assert_int_equal(h.input_width, e->side);
    }
}

static void unknown_shapes_are_refused(void **state)
{
    static const cr_output odd[] = {
        OUT3(84, 8399), OUT3(4, 8400),  OUT4(1, 255, 80, 80),     OUT2(1, 1),
        OUT3(0, 0),     {NULL, 0, {0}}, {NULL, 3, {2, 84, 8400}}, OUT3(INT64_MAX, INT64_MAX)};
    cr_head h;
    cr_error err;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        assert_int_equal(cr_head_guess(&odd[i], 1, NULL, 0, 0, 640, 640, &h, &err),
                         CR_ERR_UNSUPPORTED);
        assert_int_equal(h.kind, CR_HEAD_NONE);
    }
    assert_int_equal(cr_head_guess(odd, 1, NULL, 0, 0, 640, 640, &h, &err), CR_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "[1, 84, 8399]"));
    const cr_output v8 = OUT3(84, 8400);
    assert_int_equal(cr_head_guess(&v8, 1, "obb", 80, 0, 640, 640, &h, &err), CR_ERR_UNSUPPORTED);
    assert_int_equal(cr_head_guess(&v8, 1, NULL, 79, 0, 640, 640, &h, &err), CR_ERR_UNSUPPORTED);
    assert_int_equal(cr_head_guess(&v8, 0, NULL, 0, 0, 640, 640, &h, &err), CR_ERR_ARGUMENT);
}

/* The real nanodet_m_320.onnx: names and order do not match what the outputs hold. */
static void nanodet_outputs_pair_by_shape(void **state)
{
    static const cr_output outs[] = {OUT2(1600, 80), OUT2(400, 80), OUT2(100, 80),
                                     OUT2(1600, 32), OUT2(400, 32), OUT2(100, 32)};
    static const cr_output ambiguous[] = {OUT2(1600, 32), OUT2(400, 32), OUT2(100, 32),
                                          OUT2(1600, 32), OUT2(400, 32), OUT2(100, 32)};
    cr_head h;
    assert_int_equal(cr_head_guess(outs, 6, NULL, 0, 0, 320, 320, &h, NULL), CR_OK);
    assert_int_equal(h.kind, CR_HEAD_NANODET);
    assert_int_equal(h.classes, 80);
    assert_int_equal(cr_head_guess(outs, 6, NULL, 32, 0, 320, 320, &h, NULL), CR_OK);
    assert_int_equal(h.classes, 32); /* 80 = 4 * 20 bins is then the distances */
    assert_int_not_equal(cr_head_guess(outs, 6, NULL, 0, 0, 416, 416, &h, NULL), CR_OK);
    assert_int_not_equal(cr_head_guess(outs, 5, NULL, 0, 0, 320, 320, &h, NULL), CR_OK);
    assert_int_not_equal(cr_head_guess(ambiguous, 6, NULL, 0, 0, 320, 320, &h, NULL), CR_OK);
}

static void strides_are_found(void **state)
{
    int first, count;
    assert_true(cr_find_strides(640, 640, 8400, &first, &count) && first == 8 && count == 3);
    assert_true(cr_find_strides(640, 640, 34000, &first, &count) && first == 4 && count == 4);
    assert_true(cr_find_strides(100, 60, 13 * 8, &first, &count) && first == 8 && count == 1);
    assert_false(cr_find_strides(640, 640, 8401, &first, &count));
}

/* ---- decoding: an input of 32x32 has 16 + 4 + 1 = 21 cells ---- */

enum { CELLS = 21 };
static const cr_placement same = {32, 32, 1, 1, 0, 0};

static cr_detections decode(const cr_head *h, const cr_output *outs, size_t n,
                            const cr_placement *place, const cr_detect_options *o)
{
    cr_detections found;
    cr_error err;
    if (cr_head_decode(h, outs, n, place, o, &found, &err) != CR_OK) fail_msg("%s", err.message);
    return found;
}

static void expect_box(const cr_detection *d, float x1, float y1, float x2, float y2)
{
    const float want[4] = {x1, y1, x2, y2};
    for (int i = 0; i < 4; i++) assert_true(fabsf(d->box[i] - want[i]) < 1e-4f);
}

/* Two classes. Row 3: class 1 strong, class 0 weaker; row 4 nearly the same box, row 5 elsewhere.
 */
static void fill_yolov8(float data[6][CELLS])
{
    static const float rows[3][6] = {
        {10, 10, 8, 8, .5f, .9f}, {10, 10, 8, 9, .1f, .8f}, {24, 24, 4, 6, .7f, .2f}};
    memset(data, 0, 6 * CELLS * sizeof(float));
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 6; c++) data[c][3 + r] = rows[r][c];
}

static void yolov8_rows_become_boxes(void **state)
{
    float data[6][CELLS];
    fill_yolov8(data);
    const cr_output out = {data[0], 3, {1, 6, CELLS}};
    cr_head h;
    assert_int_equal(cr_head_guess(&out, 1, NULL, 2, 0, 32, 32, &h, NULL), CR_OK);
    cr_detect_options o = cr_detect_options_default();
    cr_detections found = decode(&h, &out, 1, &same, &o);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.items[0].class_id, 1);
    assert_int_equal(found.items[0].index, 3);
    assert_null(found.items[0].keypoints);
    expect_box(&found.items[0], 6, 6, 14, 14);
    assert_int_equal(found.items[1].class_id, 0);
    expect_box(&found.items[1], 22, 21, 26, 27);
    cr_detections_free(&found);
    cr_detections_free(&found);
    cr_detections_free(NULL);
}

static size_t count_with(const cr_detect_options *o)
{
    float data[6][CELLS];
    fill_yolov8(data);
    const cr_output out = {data[0], 3, {1, 6, CELLS}};
    const cr_head h = {.kind = CR_HEAD_YOLOV8, .classes = 2, .input_width = 32, .input_height = 32};
    cr_detections found = decode(&h, &out, 1, &same, o);
    const size_t n = found.count;
    cr_detections_free(&found);
    return n;
}

static void options_do_what_they_say(void **state)
{
    const int only[] = {1}, none[] = {5};
    cr_detect_options o = cr_detect_options_default();
    o.multi_label = true;
    assert_int_equal(count_with(&o), 3); /* + class 0 of row 3 */
    o.class_agnostic = true;
    assert_int_equal(count_with(&o), 2);
    o = cr_detect_options_default();
    o.conf = .75f;
    assert_int_equal(count_with(&o), 1);
    o.conf = .9f; /* .9 is not above .9 */
    assert_int_equal(count_with(&o), 0);
    o = cr_detect_options_default();
    o.iou = 1;
    assert_int_equal(count_with(&o), 3);
    o.max_candidates = 2;
    assert_int_equal(count_with(&o), 2);
    o.max_detections = 1;
    assert_int_equal(count_with(&o), 1);
    o = cr_detect_options_default();
    o.classes = only;
    o.class_count = 1;
    assert_int_equal(count_with(&o), 1);
    o.classes = none;
    assert_int_equal(count_with(&o), 0);
}

/* Scores from tiny to one, many of them twice: best first, equal ones in the order of their rows. */
static void many_candidates_are_sorted(void **state)
{
    enum { ROWS = 8400 };
    const cr_head h = {
        .kind = CR_HEAD_YOLOV8, .classes = 1, .input_width = 640, .input_height = 640};
    const cr_placement place = {640, 640, 1, 1, 0, 0};
    cr_detect_options o = cr_detect_options_eval();
    o.conf = 0;
    o.iou = 1; /* the boxes are all the same, and 1 is not above 1 */
    o.max_detections = ROWS;
    float *data = calloc(5 * ROWS, sizeof *data);
    assert_non_null(data);
    for (uint32_t r = 0; r < ROWS; r++) {
        data[2 * ROWS + r] = data[3 * ROWS + r] = 8;
        data[4 * ROWS + r] = ldexpf((float)(1 + r * 2654435761u % 61), -6 - (int)(r % 40));
    }
    const cr_output out = {data, 3, {1, 5, ROWS}};
    cr_detections found = decode(&h, &out, 1, &place, &o);
    assert_int_equal(found.count, ROWS);
    size_t equal = 0;
    for (size_t i = 1; i < found.count; i++) {
        const cr_detection *a = &found.items[i - 1], *b = &found.items[i];
        assert_true(a->score > b->score || (a->score == b->score && a->index < b->index));
        assert_true(b->score == data[4 * ROWS + b->index]);
        equal += a->score == b->score;
    }
    assert_true(equal > ROWS / 2);
    cr_detections_free(&found);
    free(data);
}

static void boxes_move_to_the_source_and_are_clipped(void **state)
{
    float data[6][CELLS];
    fill_yolov8(data);
    const cr_output out = {data[0], 3, {1, 6, CELLS}};
    const cr_head h = {.kind = CR_HEAD_YOLOV8, .classes = 2, .input_width = 32, .input_height = 32};
    const cr_placement place = {20, 15, .5f, .5f, 8, 4};
    const cr_detect_options o = cr_detect_options_default();
    cr_detections found = decode(&h, &out, 1, &place, &o);
    expect_box(&found.items[0], 0, 4, 12, 15);
    cr_detections_free(&found);
}

static void numbers_that_are_none_are_skipped(void **state)
{
    float data[6][CELLS];
    fill_yolov8(data);
    data[0][3] = NAN;
    data[2][4] = INFINITY;
    data[5][5] = NAN;
    const cr_output out = {data[0], 3, {1, 6, CELLS}};
    const cr_head h = {.kind = CR_HEAD_YOLOV8, .classes = 2, .input_width = 32, .input_height = 32};
    const cr_detect_options o = cr_detect_options_eval();
    cr_detections found = decode(&h, &out, 1, &same, &o);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.items[0].index, 5);
    cr_detections_free(&found);
}

/* Row 17 is cell (1, 0) of stride 16: x = (.5 + 1) * 16, w = e^0 * 16. */
static void yolox_decodes_its_grid(void **state)
{
    float data[CELLS][6] = {{0}};
    const float row[6] = {.5f, .25f, 0, logf(.5f), .5f, .8f};
    memcpy(data[17], row, sizeof row);
    const cr_output out = {data[0], 3, {1, CELLS, 6}};
    cr_head h;
    assert_int_equal(cr_head_guess(&out, 1, NULL, 1, 0, 32, 32, &h, NULL), CR_OK);
    assert_int_equal(h.kind, CR_HEAD_YOLOX);
    const cr_detect_options o = cr_detect_options_default();
    cr_detections found = decode(&h, &out, 1, &same, &o);
    assert_int_equal(found.count, 1);
    assert_true(fabsf(found.items[0].score - .4f) < 1e-6f);
    expect_box(&found.items[0], 16, 0, 32, 8);
    cr_detections_free(&found);
}

/* Cell (1, 1) of stride 16; logits that put all weight on bin 1, 0, 1, 0: one stride left and right
 * of the centre 24, nothing above and below. */
static void nanodet_decodes_its_distribution(void **state)
{
    float scores[3][16] = {{0}}, distances[3][16 * 32] = {{0}};
    scores[1][3] = .9f;
    for (int side = 0; side < 4; side++) distances[1][3 * 32 + side * 8 + (side % 2 == 0)] = 100;
    const cr_output outs[] = {{distances[2], 2, {1, 32}}, {scores[0], 2, {16, 1}},
                              {scores[1], 2, {4, 1}},     {distances[0], 2, {16, 32}},
                              {distances[1], 2, {4, 32}}, {scores[2], 2, {1, 1}}};
    cr_head h;
    assert_int_equal(cr_head_guess(outs, 6, NULL, 0, 0, 32, 32, &h, NULL), CR_OK);
    const cr_detect_options o = cr_detect_options_default();
    cr_detections found = decode(&h, outs, 6, &same, &o);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.items[0].index, 16 + 3);
    expect_box(&found.items[0], 8, 24, 32, 24);
    cr_detections_free(&found);
}

/* The same cell in NanoDet-Plus' joined rows, where a cell's point is its corner: 16, 16. */
static void joined_nanodet_counts_from_corners(void **state)
{
    float data[CELLS][1 + 32] = {{0}};
    data[16 + 3][0] = .9f;
    for (int side = 0; side < 4; side++) data[16 + 3][1 + side * 8 + (side % 2 == 0)] = 100;
    const cr_output out = {data[0], 3, {1, CELLS, 1 + 32}};
    cr_head h;
    assert_int_equal(cr_head_guess(&out, 1, NULL, 1, 0, 32, 32, &h, NULL), CR_OK);
    assert_int_equal(h.kind, CR_HEAD_NANODET);
    const cr_detect_options o = cr_detect_options_default();
    cr_detections found = decode(&h, &out, 1, &same, &o);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.items[0].index, 16 + 3);
    expect_box(&found.items[0], 0, 16, 32, 16);
    cr_detections_free(&found);
}

/* 8 x 4 at (16, 10), turned by a right angle: 4 wide and 8 high. At 30 degrees: 8 cos + 4 sin. */
static void oriented_boxes_stand_upright(void **state)
{
    const float right = 1.57079633f, slant = right / 3;
    float data[6][CELLS] = {{0}}, rows[2][7] = {{16, 10, 8, 4, .9f, 0, right}};
    const float row[6] = {16, 10, 8, 4, .9f, slant};
    for (int k = 0; k < 6; k++) data[k][5] = row[k];
    const cr_output dense = {data[0], 3, {1, 6, CELLS}}, chosen = {rows[0], 3, {1, 2, 7}};
    const cr_detect_options o = cr_detect_options_default();
    cr_head h;
    assert_int_equal(cr_head_guess(&dense, 1, "obb", 1, 0, 32, 32, &h, NULL), CR_OK);
    assert_true(h.oriented && h.kind == CR_HEAD_YOLOV8);
    cr_detections found = decode(&h, &dense, 1, &same, &o);
    assert_int_equal(found.count, 1);
    const float w = 8 * cosf(slant) + 4 * sinf(slant), ht = 8 * sinf(slant) + 4 * cosf(slant);
    expect_box(&found.items[0], 16 - w / 2, 10 - ht / 2, 16 + w / 2, 10 + ht / 2);
    cr_detections_free(&found);
    assert_int_equal(cr_head_guess(&chosen, 1, "obb", 1, 0, 32, 32, &h, NULL), CR_OK);
    assert_true(h.oriented && h.kind == CR_HEAD_END2END);
    found = decode(&h, &chosen, 1, &same, &o);
    assert_int_equal(found.count, 1);
    expect_box(&found.items[0], 14, 6, 18, 14);
    static const float corners[8] = {14, 14, 18, 14, 18, 6, 14, 6}; /* its length points down */
    assert_true(found.items[0].oriented);
    for (int k = 0; k < 8; k++) assert_true(fabsf(found.items[0].corners[k] - corners[k]) < 1e-5f);
    cr_detections_free(&found);
}

static void fractions_of_the_input_become_pixels(void **state)
{
    float rows[3][6] = {{.5f, .25f, .5f, .25f, .9f, 1}};
    const cr_output out = {rows[0], 3, {1, 3, 6}};
    const cr_detect_options o = cr_detect_options_default();
    cr_head h;
    assert_int_equal(cr_head_guess(&out, 1, "detect", 2, 0, 32, 32, &h, NULL), CR_OK);
    assert_true(h.kind == CR_HEAD_END2END && !h.fractions);
    h.fractions = true;
    cr_detections found = decode(&h, &out, 1, &same, &o);
    assert_int_equal(found.count, 1);
    expect_box(&found.items[0], 8, 4, 24, 12);
    cr_detections_free(&found);
}

static void pose_keypoints_follow_their_box(void **state)
{
    float data[11][CELLS] = {{0}};
    const float row[11] = {16, 16, 8, 8, .9f, 12, 14, .7f, 40, -3, .2f};
    for (int c = 0; c < 11; c++) data[c][20] = row[c];
    const cr_output out = {data[0], 3, {1, 11, CELLS}};
    cr_head h;
    assert_int_equal(cr_head_guess(&out, 1, "pose", 1, 2, 32, 32, &h, NULL), CR_OK);
    const cr_placement place = {16, 16, 2, 2, 0, 0};
    const cr_detect_options o = cr_detect_options_default();
    cr_detections found = decode(&h, &out, 1, &place, &o);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.keypoint_count, 2);
    const float want[] = {6, 7, .7f, 16, 0, .2f};
    for (int i = 0; i < 6; i++) assert_true(found.items[0].keypoints[i] == want[i]);
    cr_detections_free(&found);
}

static void end2end_is_only_filtered(void **state)
{
    static const float rows[4][6] = {
        {1, 1, 9, 9, .3f, 2}, {1, 1, 9, 9, .8f, 2}, {1, 1, 9, 9, .2f, 0}, {1, 1, 9, 9, .9f, -1}};
    const cr_output out = {rows[0], 3, {1, 4, 6}};
    cr_head h;
    assert_int_equal(cr_head_guess(&out, 1, "detect", 3, 0, 32, 32, &h, NULL), CR_OK);
    const cr_detect_options o = cr_detect_options_default();
    cr_detections found = decode(&h, &out, 1, &same, &o);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.items[0].index, 1);
    assert_int_equal(found.items[1].index, 0);
    cr_detections_free(&found);
}

static void classifier_gives_the_five_best(void **state)
{
    const float logits[7] = {1, 5, 3, 3, -2, 0, 4}, probs[3] = {.25f, .75f, 0};
    const cr_output a = {logits, 2, {1, 7}}, b = {probs, 2, {1, 3}};
    cr_head h;
    cr_detect_options o = cr_detect_options_default();
    assert_int_equal(cr_head_guess(&a, 1, NULL, 0, 0, 32, 32, &h, NULL), CR_OK);
    cr_detections found = decode(&h, &a, 1, &same, &o);
    static const int order[] = {1, 6, 2, 3, 0};
    double total = 0;
    for (int i = 0; i < 7; i++) total += exp(logits[i]);
    assert_int_equal(found.count, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(found.items[i].class_id, order[i]);
        assert_true(fabs(found.items[i].score - exp(logits[order[i]]) / total) < 1e-6);
    }
    cr_detections_free(&found);
    assert_int_equal(cr_head_guess(&b, 1, "classify", 0, 0, 32, 32, &h, NULL), CR_OK);
    found = decode(&h, &b, 1, &same, &o);
    assert_int_equal(found.count, 3);
    assert_true(found.items[0].class_id == 1 && found.items[0].score == .75f);
    expect_box(&found.items[0], 0, 0, 32, 32);
    cr_detections_free(&found);
}

static void mismatched_outputs_are_refused(void **state)
{
    float data[6][CELLS];
    fill_yolov8(data);
    const cr_output out = {data[0], 3, {1, 6, CELLS}}, none = {NULL, 3, {1, 6, CELLS}};
    cr_head h = {.kind = CR_HEAD_YOLOV8, .classes = 3, .input_width = 32, .input_height = 32};
    cr_detect_options o = cr_detect_options_default();
    cr_detections found;
    assert_int_equal(cr_head_decode(&h, &out, 1, &same, &o, &found, NULL), CR_ERR_FORMAT);
    h.classes = 2;
    assert_int_equal(cr_head_decode(&h, &none, 1, &same, &o, &found, NULL), CR_ERR_FORMAT);
    h.kind = CR_HEAD_NONE;
    assert_int_equal(cr_head_decode(&h, &out, 1, &same, &o, &found, NULL), CR_ERR_UNSUPPORTED);
    h.kind = CR_HEAD_NANODET;
    assert_int_equal(cr_head_decode(&h, &out, 1, &same, &o, &found, NULL), CR_ERR_FORMAT);
    h.kind = CR_HEAD_YOLOV8;
    o.iou = NAN;
    assert_int_equal(cr_head_decode(&h, &out, 1, &same, &o, &found, NULL), CR_ERR_ARGUMENT);
    o = cr_detect_options_default();
    o.max_detections = 0;
    assert_int_equal(cr_head_decode(&h, &out, 1, &same, &o, &found, NULL), CR_ERR_ARGUMENT);
}

static void no_memory_is_an_error(void **state)
{
    float data[11][CELLS] = {{0}};
    for (int c = 0; c < 11; c++) data[c][2] = data[c][9] = .9f;
    const cr_output out = {data[0], 3, {1, 11, CELLS}};
    cr_head h;
    assert_int_equal(cr_head_guess(&out, 1, "pose", 1, 2, 32, 32, &h, NULL), CR_OK);
    const cr_detect_options o = cr_detect_options_default();
    cr_status st = CR_ERR_MEMORY;
    long n = 0;
    for (; st != CR_OK && n < 50; n++) {
        cr_detections found;
        cr_alloc_fail_after(n);
        st = cr_head_decode(&h, &out, 1, &same, &o, &found, NULL);
        cr_alloc_fail_after(-1);
        assert_true(st == CR_OK || (st == CR_ERR_MEMORY && !found.items && !found.keypoint_block));
        cr_detections_free(&found);
    }
    assert_true(st == CR_OK && n > 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_tell_the_head),
        cmocka_unit_test(unknown_shapes_are_refused),
        cmocka_unit_test(nanodet_outputs_pair_by_shape),
        cmocka_unit_test(strides_are_found),
        cmocka_unit_test(yolov8_rows_become_boxes),
        cmocka_unit_test(options_do_what_they_say),
        cmocka_unit_test(many_candidates_are_sorted),
        cmocka_unit_test(boxes_move_to_the_source_and_are_clipped),
        cmocka_unit_test(numbers_that_are_none_are_skipped),
        cmocka_unit_test(yolox_decodes_its_grid),
        cmocka_unit_test(nanodet_decodes_its_distribution),
        cmocka_unit_test(joined_nanodet_counts_from_corners),
        cmocka_unit_test(oriented_boxes_stand_upright),
        cmocka_unit_test(fractions_of_the_input_become_pixels),
        cmocka_unit_test(pose_keypoints_follow_their_box),
        cmocka_unit_test(end2end_is_only_filtered),
        cmocka_unit_test(classifier_gives_the_five_best),
        cmocka_unit_test(mismatched_outputs_are_refused),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
