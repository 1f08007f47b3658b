/* What drawing does to pixels: where it must, and nowhere else; with hostile boxes and names. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crayon/detect.h"

/* fontconfig keeps a few hundred bytes for ever; a leak of ours would still be reported. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig";
}

static cr_image grey(int w, int h)
{
    cr_image img;
    assert_int_equal(cr_image_create(w, h, &img, NULL), CR_OK);
    memset(img.rgb, 128, (size_t)w * (size_t)h * 3);
    return img;
}

static size_t changed(const cr_image *img, int x1, int y1, int x2, int y2)
{
    size_t n = 0;
    for (int y = y1; y < y2; y++)
        for (int x = x1; x < x2; x++) {
            const uint8_t *p = img->rgb + 3 * ((size_t)y * (size_t)img->width + (size_t)x);
            n += p[0] != 128 || p[1] != 128 || p[2] != 128;
        }
    return n;
}

static void draw(cr_image *img, cr_detection *items, size_t count, int keypoints,
                 const char *const *names, size_t name_count)
{
    const cr_detections found = {.items = items, .count = count, .keypoint_count = keypoints};
    cr_error err;
    if (cr_draw_detections(img, &found, names, name_count, &err) != CR_OK)
        fail_msg("%s", err.message);
}

static void box_and_label_are_where_they_belong(void **state)
{
    static const char *const names[] = {"person"};
    static const int sides[] = {320, 1280, 3840};
    for (int i = 0; i < 3; i++) {
        const int s = sides[i], q = s / 4;
        cr_image img = grey(s, s);
        cr_detection d = {.score = .87f,
                          .box = {(float)q, (float)q, 3.0f * (float)q, 3.0f * (float)q}};
        draw(&img, &d, 1, 0, names, 1);
        const int m = s / 100 + 3;
        assert_true(changed(&img, q - m, q - m, q + m, 3 * q) > 0);
        assert_true(changed(&img, q + m, 3 * q - m, 3 * q - m, 3 * q + m) > 0);
        assert_int_equal(changed(&img, q + m, q + m, 3 * q - m, 3 * q - m), 0);
        assert_int_equal(changed(&img, 0, 3 * q + m, s, s), 0);
        assert_true(changed(&img, q, q - s / 12, 3 * q, q - m) > 0); /* the label, above the box */
        cr_image_free(&img);
    }
}

static void colour_depends_on_the_class_alone(void **state)
{
    uint8_t seen[21][3];
    for (int k = 0; k < 21; k++) {
        cr_image img = grey(200, 200);
        cr_detection d = {.class_id = k, .score = .5f, .box = {20, 80, 180, 180}};
        draw(&img, &d, 1, 0, NULL, 0);
        memcpy(seen[k], img.rgb + 3 * (130 * 200 + 20), 3);
        for (int j = 0; j < k; j++) assert_memory_not_equal(seen[k], seen[j], 3);
        cr_image_free(&img);
    }
}

static void nothing_leaves_a_picture_alone(void **state)
{
    cr_image img = grey(50, 40);
    draw(&img, NULL, 0, 0, NULL, 0);
    assert_int_equal(changed(&img, 0, 0, 50, 40), 0);
    cr_image_free(&img);
}

/* Valid UTF-8, broken UTF-8 (overlong, surrogate, cut), control characters, very long: each still
 * gives a label. */
static void any_name_can_be_drawn(void **state)
{
    char endless[5000];
    memset(endless, 'w', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    const char *const names[] = {"crayon \xc3\xa9\xe6\xbc\xa2",
                                 "\xc0\xaf",
                                 "\xed\xa0\x80",
                                 "cut \xe6\xbc",
                                 "a\nb\x1b[0m",
                                 "\xff\xfe",
                                 "",
                                 endless};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_image img = grey(320, 240);
        cr_detection d = {.class_id = (int)i, .score = .5f, .box = {40, 100, 280, 200}};
        draw(&img, &d, 1, 0, names, sizeof names / sizeof names[0]);
        assert_true(changed(&img, 40, 84, 300, 96) > 50);
        cr_image_free(&img);
    }
}

static void hostile_boxes_are_harmless(void **state)
{
    cr_detection items[] = {{.score = .5f, .box = {-1e9f, -1e9f, 1e9f, 1e9f}},
                            {.score = NAN, .box = {5, 5, 4, 4}},
                            {.class_id = -3, .score = .1f, .box = {0, 0, 0, 0}},
                            {.class_id = 2147483647, .score = 1e30f, .box = {63, 63, 64, 64}}};
    cr_image img = grey(64, 64), tiny = grey(1, 1), empty = {0};
    draw(&img, items, 4, 0, NULL, 0);
    draw(&tiny, items, 4, 0, NULL, 0);
    assert_true(changed(&img, 0, 0, 64, 64) > 0);
    const cr_detections none = {0};
    assert_int_equal(cr_draw_detections(&empty, &none, NULL, 0, NULL), CR_ERR_ARGUMENT);
    cr_image wide = grey(40000, 1);
    assert_int_equal(cr_draw_detections(&wide, &none, NULL, 0, NULL), CR_ERR_LIMIT);
    cr_image_free(&wide);
    cr_image_free(&tiny);
    cr_image_free(&img);
}

/* A nose, far from the rest, and one bone between two shoulders; weak points are left out. */
static void keypoints_and_bones(void **state)
{
    float k[17 * 3] = {0};
    k[0] = 50, k[1] = 300, k[2] = .9f;
    k[15] = 200, k[16] = 200, k[17] = .9f;
    k[18] = 300, k[19] = 200, k[20] = .9f;
    k[21] = 250, k[22] = 350, k[23] = .1f;
    cr_image img = grey(400, 400);
    cr_detection d = {.score = .5f, .box = {1, 60, 399, 399}, .keypoints = k};
    draw(&img, &d, 1, 17, NULL, 0);
    assert_true(changed(&img, 45, 295, 56, 306) > 5);
    assert_true(changed(&img, 240, 195, 260, 206) > 20);
    assert_int_equal(changed(&img, 240, 340, 260, 360), 0);
    cr_image_free(&img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(box_and_label_are_where_they_belong),
        cmocka_unit_test(colour_depends_on_the_class_alone),
        cmocka_unit_test(nothing_leaves_a_picture_alone),
        cmocka_unit_test(any_name_can_be_drawn),
        cmocka_unit_test(hostile_boxes_are_harmless),
        cmocka_unit_test(keypoints_and_bones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
