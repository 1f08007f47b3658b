/* Resizing and fitting against results of OpenCV 5.0.0.93, kept as hashes.
 *
 * The table comes from `tests/peers/vision_opencv.py --golden`; the pictures are made by the same
 * formula here and there. The peer script itself compares many more sizes byte by byte. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "crayon/image.h"

static uint8_t *make_pixels(size_t n)
{
    uint8_t *p = malloc(n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)((uint32_t)i * 2654435761u >> 24);
    return p;
}

static uint64_t fnv1a(const uint8_t *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

struct golden {
    int sw, sh, dw, dh, channels;
    uint64_t hash;
};

static const struct golden table[] = {
    {640, 480, 640, 640, 1, 0xa5240d4318089f89}, {640, 480, 640, 640, 2, 0x2a3fe34f99c42344},
    {640, 480, 640, 640, 3, 0x302b8656ff347495}, {640, 480, 640, 640, 4, 0x4026bc289ca45d1a},
    {500, 333, 97, 211, 1, 0xca09501011766a84},  {500, 333, 97, 211, 2, 0xf714f3ec0129a1f9},
    {500, 333, 97, 211, 3, 0x4cba141cdf64c569},  {500, 333, 97, 211, 4, 0xa962b8f125fa61d3},
    {7, 5, 64, 48, 1, 0x580876522a23a5ef},       {7, 5, 64, 48, 2, 0x76cf1a31eadba747},
    {7, 5, 64, 48, 3, 0x8ea8e788f45b0db3},       {7, 5, 64, 48, 4, 0x206a754cd1166a49},
    {64, 48, 32, 24, 1, 0x6a1b3e42d6ba4496},     {64, 48, 32, 24, 2, 0x68ab88fc15697ff3},
    {64, 48, 32, 24, 3, 0x95a1ad196444fa14},     {64, 48, 32, 24, 4, 0x4fb53605e6f4e8aa},
    {1, 1, 9, 4, 1, 0x943cf28841434e75},         {1, 1, 9, 4, 2, 0x1f6178b9523c6245},
    {1, 1, 9, 4, 3, 0xf7e1cf5f6347cd65},         {1, 1, 9, 4, 4, 0x03c0ec2643431d25},
    {300, 2, 5, 2, 1, 0x24d1a440a910c2be},       {300, 2, 5, 2, 2, 0x19cb7ce6b4ab7d95},
    {300, 2, 5, 2, 3, 0x16488fdfec071c52},       {300, 2, 5, 2, 4, 0x6ad6f89d0e3208c5},
    {33, 70, 33, 35, 1, 0xab18d2fc23fba02d},     {33, 70, 33, 35, 2, 0xaf025ef403135e7e},
    {33, 70, 33, 35, 3, 0xa2e49dbdf4193e95},     {33, 70, 33, 35, 4, 0xbadfac92b1639599},
    {480, 360, 120, 90, 1, 0xf3b9456cdae0f3d2},  {480, 360, 120, 90, 2, 0xae0fff2c27d77412},
    {480, 360, 120, 90, 3, 0xff1fdbfaffb748b9},  {480, 360, 120, 90, 4, 0x08da9a4dd89da43b},
    {3, 9, 1, 1, 1, 0xaf63c54c8601c577},         {3, 9, 1, 1, 2, 0x08661907b517bfe9},
    {3, 9, 1, 1, 3, 0xbcbeca18ed849dbb},         {3, 9, 1, 1, 4, 0x74e38780dfa0d08d},
    {90, 1, 31, 50, 1, 0x9be9b5b76c013d01},      {90, 1, 31, 50, 2, 0xe106473ea06e9cad},
    {90, 1, 31, 50, 3, 0xfd49df4fca714ab9},      {90, 1, 31, 50, 4, 0x693e490a29a7ca65},
};

static void equals_opencv(void **state)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct golden *t = &table[i];
        const size_t c = (size_t)t->channels, out_size = (size_t)t->dw * (size_t)t->dh * c;
        uint8_t *src = make_pixels((size_t)t->sw * (size_t)t->sh * c), *dst = malloc(out_size + 1);
        dst[out_size] = 0x5a;
        assert_int_equal(
            cr_resize_linear_u8(src, t->sw, t->sh, t->channels, dst, t->dw, t->dh, NULL), CR_OK);
        assert_int_equal(dst[out_size], 0x5a);
        if (fnv1a(dst, out_size) != t->hash)
            fail_msg("%dx%dx%d -> %dx%d differs from OpenCV", t->sw, t->sh, t->channels, t->dw,
                     t->dh);
        free(dst);
        free(src);
    }
}

static void constant_stays_constant(void **state)
{
    for (int v = 0; v < 256; v += 51) {
        uint8_t src[13 * 11 * 3], dst[40 * 7 * 3];
        memset(src, v, sizeof src);
        assert_int_equal(cr_resize_linear_u8(src, 13, 11, 3, dst, 40, 7, NULL), CR_OK);
        for (size_t i = 0; i < sizeof dst; i++) assert_int_equal(dst[i], v);
    }
}

static void bad_sizes_are_refused(void **state)
{
    uint8_t src[16] = {0}, dst[16];
    cr_error err;
    assert_int_equal(cr_resize_linear_u8(src, 0, 1, 3, dst, 1, 1, &err), CR_ERR_ARGUMENT);
    assert_int_equal(cr_resize_linear_u8(src, 1, 1, 5, dst, 1, 1, &err), CR_ERR_ARGUMENT);
    assert_int_equal(cr_resize_linear_u8(src, 1, 1, 3, dst, 1, -1, &err), CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "1x-1"));
}

static cr_image picture(int w, int h)
{
    cr_image img;
    assert_int_equal(cr_image_create(w, h, &img, NULL), CR_OK);
    for (size_t i = 0; i < (size_t)w * (size_t)h * 3; i++) img.rgb[i] = (uint8_t)(i * 7 % 251);
    return img;
}

/* 810x1080 in 640x640: r = 640/1080, 480x640, 80 columns of border on both sides. */
static void letterbox_places_like_ultralytics(void **state)
{
    cr_image img = picture(810, 1080);
    const cr_preprocess pre = cr_preprocess_default(640, 640);
    cr_placement place;
    float *out = malloc(3 * 640 * 640 * sizeof *out);
    assert_int_equal(cr_preprocess_run(&pre, &img, out, &place, NULL), CR_OK);
    assert_true(place.gain_x == (float)(640.0 / 1080) && place.gain_y == place.gain_x);
    assert_true(place.pad_x == 80 && place.pad_y == 0);
    const float border = 114.0f / 255.0f;
    assert_true(out[79] == border && out[560] == border);
    assert_true(out[320 * 640 + 79] == border && out[640 * 640 - 1] == border);
    float box[4] = {80, 0, 560, 640}, outside[4] = {-100, -5, 700, 900};
    cr_placement_box(&place, box);
    cr_placement_box(&place, outside);
    assert_true(box[0] == 0 && box[1] == 0 && fabsf(box[2] - 810) < 1e-3f && box[3] == 1080);
    assert_true(outside[0] == 0 && outside[1] == 0 && outside[2] == 810 && outside[3] == 1080);
    free(out);
    cr_image_free(&img);
}

/* An odd rest: 3 columns of border are 1 left and 2 right (round(1.5 - .1), round(1.5 + .1)). */
static void odd_border_splits_like_ultralytics(void **state)
{
    cr_image img = picture(61, 64);
    const cr_preprocess pre = cr_preprocess_default(64, 64);
    cr_placement place;
    float out[3 * 64 * 64];
    assert_int_equal(cr_preprocess_run(&pre, &img, out, &place, NULL), CR_OK);
    assert_true(place.pad_x == 1 && place.gain_x == 1);
    assert_true(out[0] == 114.0f / 255.0f && out[1] == img.rgb[0] / 255.0f);
    assert_true(out[62] == 114.0f / 255.0f && out[61] == img.rgb[3 * 60] / 255.0f);
    cr_image_free(&img);
}

static void planes_follow_bgr_mean_and_div(void **state)
{
    cr_image img = picture(5, 4);
    cr_preprocess pre = cr_preprocess_default(5, 4);
    pre.fit = CR_FIT_STRETCH;
    pre.bgr = true;
    for (int c = 0; c < 3; c++) {
        pre.mean[c] = 100.5f + (float)c;
        pre.div[c] = 57.375f + (float)c;
    }
    float out[3 * 20];
    assert_int_equal(cr_preprocess_run(&pre, &img, out, NULL, NULL), CR_OK);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 20; i++)
            assert_true(out[c * 20 + i] ==
                        ((float)img.rgb[3 * i + 2 - c] - pre.mean[c]) / pre.div[c]);
    cr_image_free(&img);
}

/* Fitted pixels, then floats: the same bits as both at once, for every fit and order. */
static void two_steps_equal_one(void **state)
{
    enum { SIDE = 61, N = SIDE * SIDE };
    cr_image img = picture(100, 50);
    for (int i = 0; i < 8; i++) {
        cr_preprocess pre = cr_preprocess_default(SIDE, SIDE);
        cr_placement a, b;
        static uint8_t pixels[3 * N];
        static float one[3 * N], two[3 * N];
        pre.fit = (cr_fit)(i / 2);
        pre.bgr = i % 2;
        pre.mean[1] = 103.53f;
        pre.div[2] = 58.395f;
        assert_int_equal(cr_preprocess_run(&pre, &img, one, &a, NULL), CR_OK);
        assert_int_equal(cr_preprocess_pixels(&pre, &img, pixels, &b, NULL), CR_OK);
        assert_int_equal(cr_preprocess_normalize(&pre, pixels, two, NULL), CR_OK);
        assert_memory_equal(one, two, sizeof one);
        assert_memory_equal(&a, &b, sizeof a);
    }
    cr_image_free(&img);
}

static void topleft_and_crop_place(void **state)
{
    cr_image img = picture(100, 50);
    cr_preprocess pre = cr_preprocess_default(64, 64);
    cr_placement place;
    float out[3 * 64 * 64];
    pre.fit = CR_FIT_TOPLEFT;
    assert_int_equal(cr_preprocess_run(&pre, &img, out, &place, NULL), CR_OK);
    assert_true(place.pad_x == 0 && place.pad_y == 0 && place.gain_x == .64f);
    assert_true(out[32 * 64] == 114.0f / 255.0f && out[0] != 114.0f / 255.0f);
    pre.fit = CR_FIT_CENTERCROP;
    assert_int_equal(cr_preprocess_run(&pre, &img, out, &place, NULL), CR_OK);
    float box[4] = {0, 0, 64, 64};
    cr_placement_box(&place, box);
    assert_true(box[0] == 25 && box[2] == 75 && box[1] == 0 && box[3] == 50);
    cr_image_free(&img);
}

/* A needle: the resized side would round to 0 rows. */
static void extreme_shapes_fit(void **state)
{
    cr_image img = picture(4000, 1);
    cr_preprocess pre = cr_preprocess_default(32, 32);
    float out[3 * 32 * 32];
    for (int fit = CR_FIT_LETTERBOX; fit <= CR_FIT_CENTERCROP; fit++) {
        pre.fit = (cr_fit)fit;
        assert_int_equal(cr_preprocess_run(&pre, &img, out, NULL, NULL), CR_OK);
        for (size_t i = 0; i < 3 * 32 * 32; i++) assert_true(out[i] >= 0 && out[i] <= 1);
    }
    cr_image_free(&img);
}

static void bad_preprocessing_is_refused(void **state)
{
    cr_image img = picture(4, 4), empty = {0};
    float out[3 * 16];
    cr_error err;
    cr_preprocess pre = cr_preprocess_default(4, 4);
    pre.div[1] = 0;
    assert_int_equal(cr_preprocess_run(&pre, &img, out, NULL, &err), CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "plane 1"));
    pre = cr_preprocess_default(4, 0);
    assert_int_equal(cr_preprocess_run(&pre, &img, out, NULL, &err), CR_ERR_ARGUMENT);
    pre = cr_preprocess_default(4, 4);
    assert_int_equal(cr_preprocess_run(&pre, &empty, out, NULL, &err), CR_ERR_ARGUMENT);
    cr_image_free(&img);
}

static void no_memory_is_an_error(void **state)
{
    cr_image img = picture(40, 30);
    cr_preprocess pre = cr_preprocess_default(16, 16);
    pre.fit = CR_FIT_CENTERCROP;
    float out[3 * 256];
    long n = 0;
    cr_status st = CR_ERR_MEMORY;
    for (; st != CR_OK && n < 50; n++) {
        cr_alloc_fail_after(n);
        st = cr_preprocess_run(&pre, &img, out, NULL, NULL);
        cr_alloc_fail_after(-1);
        assert_true(st == CR_OK || st == CR_ERR_MEMORY);
    }
    assert_true(st == CR_OK && n > 2); /* two allocations could fail */
    cr_image_free(&img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_opencv),
        cmocka_unit_test(constant_stays_constant),
        cmocka_unit_test(bad_sizes_are_refused),
        cmocka_unit_test(letterbox_places_like_ultralytics),
        cmocka_unit_test(odd_border_splits_like_ultralytics),
        cmocka_unit_test(planes_follow_bgr_mean_and_div),
        cmocka_unit_test(two_steps_equal_one),
        cmocka_unit_test(topleft_and_crop_place),
        cmocka_unit_test(extreme_shapes_fit),
        cmocka_unit_test(bad_preprocessing_is_refused),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
