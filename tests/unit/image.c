/* Reading, writing and finding pictures; damage of every kind. Pixel equality with OpenCV is
 * tests/peers/vision_opencv.py's business. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "crayon/image.h"
#include "vision/image_codec.h"

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static int make_dir(void **state)
{
    strcpy(dir, "/tmp/crayon-image-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* Smooth, and different at every corner. */
static cr_image picture(int w, int h)
{
    cr_image img;
    assert_int_equal(cr_image_create(w, h, &img, NULL), CR_OK);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *p = img.rgb + 3 * ((size_t)y * (size_t)w + (size_t)x);
            p[0] = (uint8_t)(255 * x / w);
            p[1] = (uint8_t)(255 * y / h);
            p[2] = (uint8_t)(128 * x / w + 64 * y / h);
        }
    return img;
}

static unsigned char *encoded(const char *name, const cr_image *img, size_t *size)
{
    unsigned char *bytes;
    assert_int_equal(cr_image_write(in_dir(name), img, NULL), CR_OK);
    assert_int_equal(cr_file_read(in_dir(name), 1 << 24, &bytes, size, NULL), CR_OK);
    return bytes;
}

static void png_round_trip_is_exact(void **state)
{
    cr_image img = picture(37, 21), back;
    assert_int_equal(cr_image_write(in_dir("a.png"), &img, NULL), CR_OK);
    assert_int_equal(cr_image_read(in_dir("a.png"), &back, NULL), CR_OK);
    assert_int_equal(back.width, 37);
    assert_int_equal(back.height, 21);
    assert_memory_equal(back.rgb, img.rgb, 37 * 21 * 3);
    cr_image_free(&back);
    cr_image_free(&img);
    cr_image_free(&img);
    cr_image_free(NULL);
}

/* Quality 92 of a smooth picture: measured mean error 0.6 of 255. */
static void jpeg_round_trip_is_close(void **state)
{
    cr_image img = picture(160, 120), back;
    assert_int_equal(cr_image_write(in_dir("a.JPG"), &img, NULL), CR_OK);
    assert_int_equal(cr_image_read(in_dir("a.JPG"), &back, NULL), CR_OK);
    long sum = 0;
    for (size_t i = 0; i < 160 * 120 * 3; i++) sum += labs((long)img.rgb[i] - back.rgb[i]);
    assert_true(sum < 160 * 120 * 3);
    cr_image_free(&back);
    cr_image_free(&img);
}

/* The red channel grows to the right and green downwards in the stored picture; where the largest
 * red and green end up tells the orientation (EXIF 2.3, figure of the eight positions). */
static void exif_orientation_is_applied(void **state)
{
    static const char ends[9][3] = {"", "RB", "LB", "LT", "RT", "BR", "BL", "TL", "TR"};
    cr_image img = picture(64, 40);
    size_t size;
    unsigned char *jpeg = encoded("o.jpg", &img, &size);
    for (int o = 1; o <= 8; o++) {
        const uint8_t exif[] = {0xff, 0xe1, 0, 34, 'E', 'x',        'i', 'f', 0, 0,    'M', 'M',
                                0,    '*',  0, 0,  0,   8,          0,   1,   1, 0x12, 0,   3,
                                0,    0,    0, 1,  0,   (uint8_t)o, 0,   0,   0, 0,    0,   0};
        unsigned char *with = malloc(size + sizeof exif);
        memcpy(with, jpeg, 2);
        memcpy(with + 2, exif, sizeof exif);
        memcpy(with + 2 + sizeof exif, jpeg + 2, size - 2);
        cr_image t;
        assert_int_equal(cr_image_decode(with, size + sizeof exif, "o", &t, NULL), CR_OK);
        assert_int_equal(t.width, o < 5 ? 64 : 40);
        const int w = t.width, h = t.height;
        for (int c = 0; c < 2; c++) {
            const int l = t.rgb[(h / 2 * w) * 3 + c], r = t.rgb[(h / 2 * w + w - 1) * 3 + c];
            const int top = t.rgb[w / 2 * 3 + c], bottom = t.rgb[((h - 1) * w + w / 2) * 3 + c];
            const char at = r - l > 150 ? 'R' : l - r > 150 ? 'L' : bottom - top > 150 ? 'B' : 'T';
            assert_int_equal(at, ends[o][c]);
        }
        cr_image_free(&t);
        free(with);
    }
    cr_free(jpeg);
    cr_image_free(&img);
}

static void exif_bytes_are_checked(void **state)
{
    const uint8_t good[] = {'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12,
                            1,   3,   0,   1, 0, 0, 0, 6, 0, 0, 0};
    assert_int_equal(cr_exif_orientation(good, sizeof good), 6);
    for (size_t n = 0; n < sizeof good; n++) assert_int_equal(cr_exif_orientation(good, n), 1);
    uint8_t bad[sizeof good];
    memcpy(bad, good, sizeof good);
    bad[18] = 9;
    assert_int_equal(cr_exif_orientation(bad, sizeof bad), 1);
    memcpy(bad, good, sizeof good);
    memset(bad + 4, 0xff, 4);
    assert_int_equal(cr_exif_orientation(bad, sizeof bad), 1);
    memcpy(bad, good, sizeof good);
    bad[8] = bad[9] = 0xff;
    bad[10] = 0;
    assert_int_equal(cr_exif_orientation(bad, sizeof bad), 1);
}

static void expect_refusal(const void *bytes, size_t size, cr_status status, const char *text)
{
    cr_image img = {1, 1, NULL};
    cr_error err = {0};
    assert_int_equal(cr_image_decode(bytes, size, "shot.jpg", &img, &err), status);
    assert_null(img.rgb);
    assert_non_null(strstr(err.message, "shot.jpg"));
    if (!strstr(err.message, text)) fail_msg("'%s' does not say '%s'", err.message, text);
    assert_null(strchr(err.message, '\n'));
}

static void damage_is_one_clear_line(void **state)
{
    cr_image img = picture(300, 200);
    size_t size;
    unsigned char *jpeg = encoded("d.jpg", &img, &size);
    expect_refusal(jpeg, size / 2, CR_ERR_FORMAT, "damaged JPEG");
    expect_refusal(jpeg, 3, CR_ERR_FORMAT, "damaged JPEG");
    cr_free(jpeg);
    unsigned char *png = encoded("d.png", &img, &size);
    expect_refusal(png, size / 2, CR_ERR_FORMAT, "ends too early");
    png[size / 2] ^= 1;
    expect_refusal(png, size, CR_ERR_FORMAT, "damaged PNG");
    cr_free(png);
    expect_refusal("Not Found\n", 10, CR_ERR_FORMAT, "holds text");
    expect_refusal("", 0, CR_ERR_FORMAT, "empty");
    expect_refusal("GIF89a\1\2", 8, CR_ERR_FORMAT, "GIF");
    expect_refusal("\1\2\3\4", 4, CR_ERR_FORMAT, "not a JPEG or PNG");
    cr_image_free(&img);
}

/* Headers that promise 2^31 x 2^31 and 65535 x 65535 pixels. */
static void huge_promises_are_refused(void **state)
{
    cr_image img = picture(8, 8);
    size_t size;
    unsigned char *jpeg = encoded("h.jpg", &img, &size);
    for (size_t i = 0; i + 8 < size; i++)
        if (jpeg[i] == 0xff && jpeg[i + 1] == 0xc0) memset(jpeg + i + 5, 0xff, 4);
    cr_image out;
    cr_error err;
    assert_int_equal(cr_image_decode(jpeg, size, "h", &out, &err), CR_ERR_FORMAT);
    for (size_t i = 0; i + 8 < size; i++)
        if (jpeg[i] == 0xff && jpeg[i + 1] == 0xc0) memcpy(jpeg + i + 5, "\xff\x00\xff\x00", 4);
    assert_int_equal(cr_image_decode(jpeg, size, "h", &out, &err), CR_ERR_LIMIT);
    assert_non_null(strstr(err.message, "65280x65280"));
    assert_int_equal(cr_image_create(1 << 15, 1 << 15, &out, &err), CR_ERR_LIMIT);
    assert_int_equal(cr_image_create(0, 3, &out, &err), CR_ERR_ARGUMENT);
    cr_free(jpeg);
    cr_image_free(&img);
}

static void writing_fails_cleanly(void **state)
{
    cr_image img = picture(8, 8), empty = {0};
    cr_error err;
    assert_int_equal(cr_image_write(in_dir("a.bmp"), &img, &err), CR_ERR_ARGUMENT);
    assert_int_equal(cr_image_write(in_dir("noending"), &img, &err), CR_ERR_ARGUMENT);
    assert_int_equal(cr_image_write(in_dir("none/a.png"), &img, &err), CR_ERR_IO);
    assert_int_equal(cr_image_write(in_dir("e.png"), &empty, &err), CR_ERR_ARGUMENT);
    assert_int_not_equal(access(in_dir("e.png"), F_OK), 0);
    cr_image_free(&img);
    assert_int_equal(cr_image_create(70000, 1, &img, NULL), CR_OK);
    assert_int_equal(cr_image_write(in_dir("wide.jpg"), &img, &err), CR_ERR_LIMIT);
    assert_int_not_equal(access(in_dir("wide.jpg"), F_OK), 0);
    assert_int_equal(cr_image_write(in_dir("wide.png"), &img, &err), CR_OK);
    cr_image_free(&img);
}

static void no_memory_is_an_error(void **state)
{
    cr_image img = picture(20, 10);
    static const char *const names[] = {"m.jpg", "m.png"};
    for (int i = 0; i < 2; i++) {
        size_t size;
        unsigned char *bytes = encoded(names[i], &img, &size);
        cr_status st = CR_ERR_MEMORY;
        long n = 0;
        for (; st != CR_OK && n < 50; n++) {
            cr_image out;
            cr_alloc_fail_after(n);
            st = cr_image_decode(bytes, size, "m", &out, NULL);
            cr_alloc_fail_after(-1);
            assert_true(st == CR_OK || (st == CR_ERR_MEMORY && !out.rgb));
            cr_image_free(&out);
        }
        assert_true(st == CR_OK && n > 2);
        cr_free(bytes);
    }
    cr_image_free(&img);
}

static void touch(const char *name)
{
    assert_int_equal(cr_file_write(in_dir(name), "x", 1, NULL), CR_OK);
}

static void expect_list(const char *spec, const char *const *names, size_t count)
{
    cr_image_list list;
    cr_error err = {0};
    assert_int_equal(cr_image_list_open(spec, &list, &err), CR_OK);
    assert_int_equal(list.count, count);
    for (size_t i = 0; i < count; i++) {
        const char *base = strrchr(list.paths[i], '/');
        assert_string_equal(base ? base + 1 : list.paths[i], names[i]);
        assert_int_equal(access(list.paths[i], F_OK), 0);
    }
    cr_image_list_free(&list);
    cr_image_list_free(&list);
}

static void lists_are_found_and_sorted(void **state)
{
    assert_int_equal(mkdir(in_dir("set"), 0777), 0);
    assert_int_equal(mkdir(in_dir("set/images"), 0777), 0);
    touch("set/notes.md");
    touch("set/images/b.JPEG");
    touch("set/images/a.png");
    touch("set/images/c.jpg");
    touch("set/images/.hidden.jpg");
    static const char *const all[] = {"a.png", "b.JPEG", "c.jpg"};
    expect_list(in_dir("set"), all, 3);
    expect_list(in_dir("set/images/"), all, 3);
    expect_list(in_dir("set/images/*"), all, 3);
    expect_list(in_dir("set/images/[bc]*"), all + 1, 2);
    expect_list(in_dir("set/images/c.jpg"), all + 2, 1);
    char text[400];
    snprintf(text, sizeof text, "images/c.jpg\r\n\n%s/set/images/a.png", dir);
    assert_int_equal(cr_file_write(in_dir("set/list.txt"), text, strlen(text), NULL), CR_OK);
    static const char *const listed[] = {"c.jpg", "a.png"};
    expect_list(in_dir("set/list.txt"), listed, 2);
}

static void expect_no_list(const char *spec, const char *text)
{
    cr_image_list list;
    cr_error err;
    assert_int_not_equal(cr_image_list_open(spec, &list, &err), CR_OK);
    assert_int_equal(list.count, 0);
    assert_null(list.paths);
    if (!strstr(err.message, text)) fail_msg("'%s' does not say '%s'", err.message, text);
}

static void empty_sources_are_errors(void **state)
{
    assert_int_equal(mkdir(in_dir("empty"), 0777), 0);
    expect_no_list(in_dir("empty"), "no .jpg, .jpeg or .png pictures in this folder");
    expect_no_list(in_dir("missing"), "no such file");
    expect_no_list(in_dir("*.nothing"), "no such file");
    touch("empty.txt");
    assert_int_equal(cr_file_write(in_dir("empty.txt"), "\n\n", 2, NULL), CR_OK);
    expect_no_list(in_dir("empty.txt"), "names no picture");
    assert_int_equal(cr_file_write(in_dir("bin.txt"), "a\0b", 3, NULL), CR_OK);
    expect_no_list(in_dir("bin.txt"), "not a text file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_round_trip_is_exact),     cmocka_unit_test(jpeg_round_trip_is_close),
        cmocka_unit_test(exif_orientation_is_applied), cmocka_unit_test(exif_bytes_are_checked),
        cmocka_unit_test(damage_is_one_clear_line),    cmocka_unit_test(huge_promises_are_refused),
        cmocka_unit_test(writing_fails_cleanly),       cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(lists_are_found_and_sorted),  cmocka_unit_test(empty_sources_are_errors),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
