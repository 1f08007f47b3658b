/* Drawing onto YUV frames: nothing changes outside what was drawn, and a solid patch has the colour
 * that the frame's matrix gives it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/overlay.h"

typedef struct picture {
    cr_yuv yuv;
    uint8_t *bytes;
    size_t size;
} picture;

static picture make(int width, int height, uint8_t luma)
{
    const int cw = (width + 1) / 2, ch = (height + 1) / 2;
    picture p = {.yuv = {.width = width, .height = height, .stride = {width, cw, cw}}};
    p.size = (size_t)width * (size_t)height + 2 * (size_t)cw * (size_t)ch;
    p.bytes = malloc(p.size);
    assert_non_null(p.bytes);
    memset(p.bytes, 128, p.size);
    memset(p.bytes, luma, (size_t)width * (size_t)height);
    p.yuv.plane[0] = p.bytes;
    p.yuv.plane[1] = p.bytes + (size_t)width * (size_t)height;
    p.yuv.plane[2] = p.yuv.plane[1] + (size_t)cw * (size_t)ch;
    return p;
}

/* An opaque rectangle in one colour, then a blend, in every kind of frame. */
static void patch(bool bt709, bool full_range, const double rgb[3])
{
    const int width = 65, height = 43, x = 11, y = 6, w = 20, h = 9;
    cr_error err = {0};
    cr_overlay *o = NULL;
    picture p = make(width, height, 90);
    p.yuv.bt709 = bt709;
    p.yuv.full_range = full_range;
    assert_int_equal(cr_overlay_create(width, height, &o, &err), CR_OK);
    const cr_pen pen = cr_overlay_pen(o);
    pen.touch(pen.user, x, y, x + w, y + h);
    cairo_rectangle(pen.cr, x, y, w, h);
    cairo_set_source_rgb(pen.cr, rgb[0], rgb[1], rgb[2]);
    cairo_fill(pen.cr);
    assert_int_equal(cr_overlay_blend(o, &p.yuv, &err), CR_OK);
    const double kr = bt709 ? .2126 : .299, kb = bt709 ? .0722 : .114;
    const double luma = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2];
    const double level = full_range ? 255 * luma : 16 + 219 * luma;
    const double u = 128 + (full_range ? 255 : 224) * (rgb[2] - luma) / (2 - 2 * kb);
    const double v = 128 + (full_range ? 255 : 224) * (rgb[0] - luma) / (2 - 2 * kr);
    for (int j = 0; j < height; j++)
        for (int i = 0; i < width; i++) {
            const bool inside = i >= x && i < x + w && j >= y && j < y + h;
            const int got = p.yuv.plane[0][j * width + i];
            if (inside)
                assert_true(fabs(got - level) <= 1);
            else
                assert_int_equal(got, 90);
        }
    const size_t at = (size_t)((y + 3) / 2 * p.yuv.stride[1] + (x + 5) / 2);
    assert_true(fabs(p.yuv.plane[1][at] - fmin(u, 255)) <= 1.01);
    assert_true(fabs(p.yuv.plane[2][at] - fmin(v, 255)) <= 1.01);
    assert_int_equal(p.yuv.plane[1][0], 128);
    const picture once = make(width, height, 90); /* the layer is empty again */
    memcpy(once.bytes, p.bytes, p.size);
    assert_int_equal(cr_overlay_blend(o, &p.yuv, &err), CR_OK);
    assert_memory_equal(once.bytes, p.bytes, p.size);
    free(once.bytes);
    free(p.bytes);
    cr_overlay_free(&o);
}

static void colours_are_the_matrix_s(void **state)
{
    static const double colours[][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 1, 1}, {.2, .6, .4}};
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++)
        for (int kind = 0; kind < 4; kind++) patch(kind & 1, kind & 2, colours[i]);
}

/* Boxes and labels at every edge: all within what touch() was told, nothing outside the frame. */
static void boxes_touch_what_they_say(void **state)
{
    cr_error err = {0};
    for (int width = 33; width < 400; width += 91) {
        const int height = width / 2 + 1;
        picture p = make(width, height, 60);
        cr_overlay *o = NULL;
        cr_detection items[] = {{.score = .9f, .box = {-5, -5, 20, 12}},
                                {.class_id = 1, .score = .5f, .box = {10, 5, (float)width + 9, (float)height + 9}},
                                {.class_id = 2, .score = .4f, .box = {3, 3, 3, 3}}};
        const cr_detections found = {.items = items, .count = 3};
        assert_int_equal(cr_overlay_create(width, height, &o, &err), CR_OK);
        const cr_pen pen = cr_overlay_pen(o);
        cr_pen_detections(&pen, &found, NULL, 0);
        cr_pen_panel(&pen, "12.3 FPS");
        assert_int_equal(cr_overlay_blend(o, &p.yuv, &err), CR_OK);
        int changed = 0;
        for (int i = 0; i < width * height; i++) changed += p.bytes[i] != 60;
        assert_true(changed > 50);
        picture before = make(width, height, 60);
        memcpy(before.bytes, p.bytes, p.size);
        /* whatever had not been told of would still lie on the layer */
        pen.touch(pen.user, 0, 0, width, height);
        assert_int_equal(cr_overlay_blend(o, &p.yuv, &err), CR_OK);
        assert_memory_equal(before.bytes, p.bytes, p.size);
        free(before.bytes);
        free(p.bytes);
        cr_overlay_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colours_are_the_matrix_s),
        cmocka_unit_test(boxes_touch_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
