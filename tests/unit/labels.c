/* Ground truth files: what they hold, and what hostile ones may not do. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "crayon/eval.h"
#include "eval/picture_size.h"

static char folder[64];

static const char *put(const char *name, const void *bytes, size_t n)
{
    static char path[512];
    cr_error err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    assert_int_equal(cr_mkdirs(path, &err), CR_OK);
    *slash = '/';
    assert_int_equal(cr_file_write(path, bytes, n, &err), CR_OK);
    return path;
}

static const char *put_text(const char *name, const char *text)
{
    return put(name, text, strlen(text));
}

/* The 24 bytes of a PNG that tell its size. */
static void put_png(const char *name, unsigned w, unsigned h)
{
    unsigned char png[24] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    for (int i = 0; i < 4; i++) {
        png[16 + i] = (unsigned char)(w >> (24 - 8 * i));
        png[20 + i] = (unsigned char)(h >> (24 - 8 * i));
    }
    put(name, png, sizeof png);
}

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/crayon-labels-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* ---- COCO ------------------------------------------------------------------------------------ */

#define IMAGES     "\"images\":[{\"id\":7,\"file_name\":\"a/x.jpg\",\"width\":640,\"height\":480}]"
#define CATEGORIES "\"categories\":[{\"id\":3,\"name\":\"car\"}]"
#define NONE       "\"annotations\":[]"
#define BOX(more)  "{\"id\":1,\"image_id\":7,\"category_id\":3,\"bbox\":[1,2,3,4]" more "}"

static const char GOOD[] =
    "\xef\xbb\xbf{ \"annotations\" : [ {\"id\":5,\"image_id\":9,\"category_id\":1,"
    "\"bbox\":[1.5,2,3,4],\"area\":6.25,\"iscrowd\":1,\"segmentation\":{\"counts\":[1,2]}},\n"
    "{\"id\":6.0,\"image_id\":-4,\"category_id\":90,\"bbox\":[0,0,10,2]} ],"
    "\"info\":{\"year\":2017,\"x\":[]},\"licenses\":[],\"extra\":[1,\"a\",[2]],\"n\":1e3,\"t\":"
    "true,"
    "\"images\":[{\"id\":9,\"file_name\":\"val/b.jpg\",\"width\":640,\"height\":480},"
    "{\"id\":-4,\"file_name\":\"a.jpg\"},{\"id\":2,\"file_name\":\"one/c.jpg\"},"
    "{\"id\":3,\"file_name\":\"two/c.jpg\"}],"
    "\"categories\":[{\"id\":90,\"name\":\"tooth brush\"},{\"id\":1,\"name\":\"person\"}]}\n";

static void reads_coco(void **state)
{
    cr_labels *l;
    cr_error err;
    assert_int_equal(cr_labels_load(put_text("good.json", GOOD), &l, &err), CR_OK);
    assert_int_equal(cr_labels_image_count(l), 4);
    assert_int_equal(cr_labels_category_count(l), 2);
    assert_int_equal(cr_labels_box_count(l), 2);
    assert_int_equal(cr_labels_category(l, 0)->id, 1);
    assert_string_equal(cr_labels_category(l, 1)->name, "tooth brush");
    const cr_label_image *image = cr_labels_image(l, 0);
    assert_true(image->id == 9 && image->width == 640 && image->height == 480 && !image->path);
    assert_int_equal(cr_labels_image(l, 1)->width, 0);
    const cr_label_box *a = cr_labels_box(l, 0), *b = cr_labels_box(l, 1);
    assert_true(a->id == 5 && a->image_id == 9 && a->category_id == 1 && a->x == 1.5 && a->y == 2);
    assert_true(a->w == 3 && a->h == 4 && a->area == 6.25 && a->crowd);
    assert_true(b->id == 6 && b->image_id == -4 && b->area == 20 && !b->crowd);
    assert_null(cr_labels_image(l, 4));
    assert_null(cr_labels_category(l, 2));
    assert_null(cr_labels_box(l, 2));
    cr_labels_free(&l);
    assert_null(l);
    cr_labels_free(&l);
    cr_labels_free(NULL);
}

static void finds_images(void **state)
{
    cr_labels *l;
    assert_int_equal(cr_labels_load(put_text("good.json", GOOD), &l, NULL), CR_OK);
    assert_int_equal(cr_labels_find_image(l, "val/b.jpg")->id, 9);
    assert_int_equal(cr_labels_find_image(l, "/elsewhere/b.jpg")->id, 9);
    assert_int_equal(cr_labels_find_image(l, "a.jpg")->id, -4);
    assert_int_equal(cr_labels_find_image(l, "two/c.jpg")->id, 3);
    assert_null(cr_labels_find_image(l, "c.jpg"));
    assert_null(cr_labels_find_image(l, "three/c.jpg"));
    assert_null(cr_labels_find_image(l, "d.jpg"));
    assert_null(cr_labels_find_image(l, ""));
    assert_int_equal(cr_labels_find_id(l, -4)->id, -4);
    assert_null(cr_labels_find_id(l, 1));
    cr_labels_free(&l);
}

static const struct {
    const char *text, *message; /* a part of the error's text */
} BAD_COCO[] = {
    {"", "must be a JSON object"},
    {"hello", "must be a JSON object"},
    {"[]", "must be a JSON object"},
    {"{}", "\"images\" is missing"},
    {"{" IMAGES "," CATEGORIES "}", "\"annotations\" is missing"},
    {"{" IMAGES "," CATEGORIES "," NONE, "no '}'"},
    {"{" IMAGES "," CATEGORIES "," NONE ",}", "no member name"},
    {"{" IMAGES "," CATEGORIES "," NONE "} x", "more text after"},
    {"{" IMAGES "," IMAGES "," CATEGORIES "," NONE "}", "\"images\" occurs twice"},
    {"{\"images\":{}," CATEGORIES "," NONE "}", "\"images\" is not an array"},
    {"{\"images\":[]," CATEGORIES "," NONE "}", "no images"},
    {"{" IMAGES ",\"categories\":[]," NONE "}", "no categories"},
    {"{\"images\":[7]," CATEGORIES "," NONE "}", "image 0 is not an object"},
    {"{\"images\":[{\"file_name\":\"x\"}]," CATEGORIES "," NONE "}", "image 0: \"id\" is missing"},
    {"{\"images\":[{\"id\":1}]," CATEGORIES "," NONE "}", "\"file_name\" is missing"},
    {"{\"images\":[{\"id\":\"1\",\"file_name\":\"x\"}]," CATEGORIES "," NONE "}",
     "\"id\" has a wrong value"},
    {"{\"images\":[{\"id\":1.5,\"file_name\":\"x\"}]," CATEGORIES "," NONE "}",
     "\"id\" has a wrong value"},
    {"{\"images\":[{\"id\":1e300,\"file_name\":\"x\"}]," CATEGORIES "," NONE "}",
     "\"id\" has a wrong value"},
    {"{\"images\":[{\"id\":99999999999999999999,\"file_name\":\"x\"}]," CATEGORIES "," NONE "}",
     "not JSON at byte"},
    {"{\"images\":[{\"id\":1,\"file_name\":\"x\",\"width\":-5}]," CATEGORIES "," NONE "}",
     "\"width\" is -5"},
    {"{\"images\":[{\"id\":1,\"file_name\":\"x\"},{\"id\":1,\"file_name\":\"y\"}]," CATEGORIES
     "," NONE "}",
     "image id 1 occurs twice"},
    {"{\"images\":[{\"id\":1,\"file_name\":\"x\"},{\"id\":2,\"file_name\":\"x\"}]," CATEGORIES
     "," NONE "}",
     "two images are named \"x\""},
    {"{" IMAGES ",\"categories\":[{\"id\":1}]," NONE "}", "category 0: \"name\" is missing"},
    {"{" IMAGES ",\"categories\":[{\"id\":-1,\"name\":\"x\"}]," NONE "}", "id -1 is negative"},
    {"{" IMAGES ",\"categories\":[{\"id\":1,\"name\":\"x\"},{\"id\":1,\"name\":\"y\"}]," NONE "}",
     "category id 1 occurs twice"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[" BOX("") "," BOX("") "]}",
     "annotation id 1 occurs twice"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[{\"id\":1,\"image_id\":8,\"category_id\":3,"
     "\"bbox\":[1,2,3,4]}]}",
     "image 8, which is not among"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[{\"id\":1,\"image_id\":7,\"category_id\":4,"
     "\"bbox\":[1,2,3,4]}]}",
     "category 4, which is not among"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[{\"id\":1,\"image_id\":7,\"category_id\":3}]}",
     "\"bbox\" is missing"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[{\"id\":1,\"image_id\":7,\"category_id\":3,"
     "\"bbox\":[1,2,3]}]}",
     "\"bbox\" has a wrong value"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[{\"id\":1,\"image_id\":7,\"category_id\":3,"
     "\"bbox\":[1,2,3,NaN]}]}",
     "not JSON at byte"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[{\"id\":1,\"image_id\":7,\"category_id\":3,"
     "\"bbox\":[1,2,3,1e999]}]}",
     "not JSON at byte"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[" BOX(",\"area\":\"big\"") "]}",
     "\"area\" has a wrong value"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[" BOX(",\"iscrowd\":[]") "]}",
     "\"iscrowd\" has a wrong value"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[" BOX("") " " BOX("") "]}", "no ','"},
    {"{" IMAGES "," CATEGORIES ",\"annotations\":[" BOX(",\"x\":\"\xff\"") "]}",
     "not JSON at byte"},
};

static void expect_failure(const char *path, cr_status status, const char *part)
{
    cr_labels *l = (cr_labels *)folder;
    cr_error err = {0};
    const cr_status st = cr_labels_load(path, &l, &err);
    if (st != status || !strstr(err.message, part) || strchr(err.message, '\n'))
        fail_msg("status %d, \"%s\"; expected %d, \"%s\"", st, err.message, status, part);
    assert_int_equal(err.status, st);
    assert_null(l);
}

static void refuses_bad_coco(void **state)
{
    for (size_t i = 0; i < sizeof BAD_COCO / sizeof BAD_COCO[0]; i++)
        expect_failure(put_text("bad.json", BAD_COCO[i].text), CR_ERR_FORMAT, BAD_COCO[i].message);
    expect_failure("/nowhere/labels.json", CR_ERR_IO, "/nowhere/labels.json: cannot open");
    expect_failure(folder, CR_ERR_FORMAT, "no folders of pictures, one per class");
}

/* Every proper prefix of a good file is refused. */
static void refuses_cut_coco(void **state)
{
    const size_t end = strlen(GOOD) - 1; /* without the last newline */
    for (size_t n = 0; n < end; n++) {
        cr_labels *l;
        cr_error err;
        assert_int_equal(cr_labels_load(put("cut.json", GOOD, n), &l, &err), CR_ERR_FORMAT);
    }
}

static void bounds_depth_and_size(void **state)
{
    const size_t n = 17 << 20;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, '[', n);
    memcpy(text, "{\"images\":", 10);
    expect_failure(put("deep.json", text, n), CR_ERR_FORMAT, "maximum parsing depth");
    memcpy(text, "{\"other\":{\"a\":\"", 15);
    memset(text + 15, 'x', n - 15);
    expect_failure(put("long.json", text, n), CR_ERR_LIMIT, "longer than 16777216 bytes");
    free(text);
}

static void survives_no_memory(void **state)
{
    char path[512];
    strcpy(path, put_text("good.json", GOOD));
    cr_status st = CR_ERR_MEMORY;
    long n = 0;
    for (; st != CR_OK; n++) {
        cr_labels *l;
        cr_alloc_fail_after(n);
        st = cr_labels_load(path, &l, NULL);
        cr_alloc_fail_after(-1);
        assert_true(st == CR_OK || st == CR_ERR_MEMORY);
        assert_true((st == CR_OK) == (l != NULL));
        cr_labels_free(&l);
    }
    assert_true(n > 8);
}

/* ---- Ultralytics ----------------------------------------------------------------------------- */

static void reads_yolo(void **state)
{
    put_png("set/images/val/b.png", 100, 200);
    put_png("set/images/val/sub/a.png", 50, 40);
    put_png("set/images/val/empty.png", 10, 10);
    put_text("set/images/val/notes.txt", "not a picture");
    put_text("set/labels/val/b.txt", "1 0.5 0.5 0.2 0.1\r\n\n 0 .25 0.25 5e-1 0.5\n"
                                     "1 0.5 0.5 0.2 0.1");
    put_text("set/labels/val/sub/a.txt", "0 0 0 1 0 0.5 0.5\n"); /* a triangle */
    cr_labels *l;
    cr_error err;
    const char *yaml = put_text("set/data.yaml",
                                "train: nowhere\nval: images/val\nnames:\n  1: b\n  0: a # one\n");
    if (cr_labels_load(yaml, &l, &err)) fail_msg("%s", err.message);
    assert_int_equal(cr_labels_image_count(l), 3);
    assert_string_equal(cr_labels_image(l, 0)->file_name, "b.png");
    assert_string_equal(cr_labels_image(l, 1)->file_name, "empty.png");
    assert_string_equal(cr_labels_image(l, 2)->file_name, "sub/a.png");
    assert_non_null(strstr(cr_labels_image(l, 2)->path, "/set/images/val/sub/a.png"));
    assert_int_equal(cr_labels_find_image(l, "sub/a.png")->height, 40);
    assert_int_equal(cr_labels_category_count(l), 2);
    assert_string_equal(cr_labels_category(l, 0)->name, "a");
    assert_int_equal(cr_labels_box_count(l), 3); /* the repeated line counts once */
    const cr_label_box *b = cr_labels_box(l, 0);
    assert_true(b->category_id == 0 && b->x == 0 && b->y == 0 && b->w == 50 && b->h == 100);
    b = cr_labels_box(l, 1);
    assert_true(b->category_id == 1 && b->image_id == 1 && b->id == 2);
    assert_float_equal(b->x, 40, 1e-12); /* (.5 - .1) * 100: one rounding of .4 */
    assert_float_equal(b->area, 400, 1e-11);
    b = cr_labels_box(l, 2);
    assert_true(b->image_id == 3 && b->x == 0 && b->y == 0 && b->w == 50 && b->h == 20);
    cr_labels_free(&l);
}

static void reads_yolo_variants(void **state)
{
    static const char *const yamls[] = {
        "path: .\nval: images\nnames: [x, y]\n",
        "path: ../v\nval: [images]\nnames: [x, y]\n",
        "path: missing\nval:\ntest: ../images\nnames: {0: x, 1: y}\n", /* as Roboflow writes */
        "val: list.txt\nnames: [x, y]\n",
        "train: ./images\nval: ~\nnames: &n [x, y]\nalso: *n\n",
    };
    put_png("v/images/1.png", 8, 8);
    put_text("v/labels/1.txt", "1 0.5 0.5 1 1\n");
    put_text("v/list.txt", "./images/1.png\n\n");
    for (size_t i = 0; i < sizeof yamls / sizeof yamls[0]; i++) {
        cr_labels *l;
        cr_error err;
        if (cr_labels_load(put_text("v/data.yaml", yamls[i]), &l, &err))
            fail_msg("%zu: %s", i, err.message);
        assert_int_equal(cr_labels_box_count(l), 1);
        assert_true(cr_labels_box(l, 0)->w == 8);
        cr_labels_free(&l);
    }
}

static const struct {
    const char *text;
    cr_status status;
    const char *message;
} BAD_YAML[] = {
    {"", CR_ERR_FORMAT, "not a data.yaml"},
    {"- 1\n", CR_ERR_FORMAT, "not a data.yaml"},
    {"val: [images\n", CR_ERR_FORMAT, "not YAML, line"},
    {"val: images\n", CR_ERR_FORMAT, "\"names\" is missing"},
    {"val: images\nnames: 3\n", CR_ERR_FORMAT, "\"names\" is missing"},
    {"val: images\nnames: []\n", CR_ERR_FORMAT, "no categories"},
    {"val: images\nnames: [[x]]\n", CR_ERR_FORMAT, "name 0 is not a text"},
    {"val: images\nnames: {x: y}\n", CR_ERR_FORMAT, "not \"NUMBER: TEXT\""},
    {"val: images\nnames: {-1: y}\n", CR_ERR_FORMAT, "not \"NUMBER: TEXT\""},
    {"val: images\nnames: {99999999999: y}\n", CR_ERR_FORMAT, "not \"NUMBER: TEXT\""},
    {"val: images\nnames: {0: y, 0: z}\n", CR_ERR_FORMAT, "category id 0 occurs twice"},
    {"val: images\nnames: [\"a\\0b\"]\n", CR_ERR_FORMAT, "name 0 is not a text"},
    {"names: [x]\n", CR_ERR_FORMAT, "none of val, test and train"},
    {"val: {a: b}\nnames: [x]\n", CR_ERR_FORMAT, "\"val\" is not a path"},
    {"val: [[a]]\nnames: [x]\n", CR_ERR_FORMAT, "\"val\" is not a list of paths"},
    {"path: [a]\nval: images\nnames: [x]\n", CR_ERR_FORMAT, "\"path\" is not a text"},
    {"val: nowhere\nnames: [x]\n", CR_ERR_IO, "which does not exist"},
    {"val: data.yaml\nnames: [x]\n", CR_ERR_FORMAT, "neither a folder nor a .txt list"},
    {"val: labels\nnames: [x]\n", CR_ERR_FORMAT, "no JPEG or PNG picture"},
    {"val: loose\nnames: [x]\n", CR_ERR_FORMAT, "not one label file for 1 pictures"},
    {"val: webp\nnames: [x]\n", CR_ERR_UNSUPPORTED, "only JPEG and PNG"},
    {"val: texts\nnames: [x]\n", CR_ERR_FORMAT, "neither a JPEG nor a PNG"},
    {"val: list.txt\nnames: [x]\n", CR_ERR_IO, "gone.jpg: not a regular file"},
    {"val: images\nnames: [x]\n", CR_ERR_FORMAT, "category 1, which is not among"},
};

static void refuses_bad_yaml(void **state)
{
    put_png("y/images/1.png", 8, 8);
    put_text("y/labels/1.txt", "1 0.5 0.5 1 1\n");
    put_png("y/loose/1.png", 8, 8);
    put_text("y/webp/1.webp", "RIFF");
    put_text("y/texts/1.jpg", "this text is longer than a header");
    put_text("y/list.txt", "gone.jpg\n");
    for (size_t i = 0; i < sizeof BAD_YAML / sizeof BAD_YAML[0]; i++)
        expect_failure(put_text("y/data.yaml", BAD_YAML[i].text), BAD_YAML[i].status,
                       BAD_YAML[i].message);
}

static void refuses_bad_lines(void **state)
{
    static const char *const lines[] = {"x 0.5 0.5 1 1",      "0",
                                        "0 0.5 0.5 1",        "0 0.5 0.5 1 1 1",
                                        "0 0.5 0.5 1 1.2",    "0 nan 0.5 1 1",
                                        "0 inf 0 1 1",        "0 0.5,0.5,1,1",
                                        "-1 0.5 0.5 1 1",     "0 -0.2 0.5 1 1",
                                        "0.5 0.5 0.5 1 1",    "0 1 1 1 1x",
                                        "99999999999 0 0 1 1"};
    put_png("l/images/1.png", 8, 8);
    put_text("l/data.yaml", "val: images\nnames: [x]\n");
    char yaml[128];
    snprintf(yaml, sizeof yaml, "%s/l/data.yaml", folder);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[80];
        snprintf(text, sizeof text, "0 0.5 0.5 1 1\n%s\n", lines[i]);
        put_text("l/labels/1.txt", text);
        expect_failure(yaml, CR_ERR_FORMAT, "1.txt line 2: not \"class cx cy w h\"");
    }
    put("l/labels/1.txt", "0 0.5\0 0.5 1 1\n", 15);
    expect_failure(yaml, CR_ERR_FORMAT, "not a text file");
}

/* A folder that contains itself ends in an error, not in endless work. */
static void refuses_loops(void **state)
{
    char link_path[128], yaml[128];
    put_png("loop/images/1.png", 8, 8);
    strcpy(yaml, put_text("loop/data.yaml", "val: images\nnames: [x]\n"));
    for (int i = 0; i < 2; i++) {
        snprintf(link_path, sizeof link_path, "%s/loop/images/again%d", folder, i);
        assert_int_equal(symlink(".", link_path), 0);
    }
    expect_failure(yaml, CR_ERR_LIMIT, "folders");
}

static void yolo_survives_no_memory(void **state)
{
    char yaml[512];
    put_png("m/images/1.png", 8, 8);
    put_text("m/labels/1.txt", "0 0.5 0.5 1 1\n0 0.5 0.5 1 1\n");
    strcpy(yaml, put_text("m/data.yaml", "path: ./\nval: [images, ../images]\nnames: [x]\n"));
    cr_status st = CR_ERR_MEMORY;
    for (long n = 0; n < 1000 && st == CR_ERR_MEMORY; n++) {
        cr_labels *l;
        cr_alloc_fail_after(n);
        st = cr_labels_load(yaml, &l, NULL);
        cr_alloc_fail_after(-1);
        cr_labels_free(&l);
    }
    /* The picture is listed twice, so with enough memory the names collide. */
    assert_int_equal(st, CR_ERR_FORMAT);
}

/* ---- picture sizes --------------------------------------------------------------------------- */

/* A JPEG of 300 x 20: fill byte, APP1 with the orientation in either byte order, DHT, SOF2. */
static const char *put_jpeg(unsigned orientation, bool big)
{
    unsigned char jpeg[] = "\xff\xd8\xff\xff\xe1\0\x22"
                           "Exif\0\0MM\0\x2a\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\0\0\0\0\0\0\0"
                           "\xff\xc4\0\x03\x07"
                           "\xff\xc2\0\x0b\x08\0\x14\x01\x2c\x01\x01\x11\0";
    unsigned char *tiff = jpeg + 13;
    if (big)
        tiff[19] = (unsigned char)orientation;
    else
        memcpy(tiff, "II\x2a\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\0\0", 20),
            tiff[18] = (unsigned char)orientation;
    return put("size.jpg", jpeg, sizeof jpeg - 1);
}

static void reads_jpeg_sizes(void **state)
{
    for (unsigned o = 0; o <= 9; o++) {
        for (int big = 0; big < 2; big++) {
            int w, h;
            cr_error err;
            if (cr_picture_size(put_jpeg(o, big), &w, &h, &err)) fail_msg("%s", err.message);
            const bool lying = o >= 5 && o <= 8;
            assert_int_equal(w, lying ? 20 : 300);
            assert_int_equal(h, lying ? 300 : 20);
        }
    }
}

static void refuses_bad_pictures(void **state)
{
    char path[512];
    unsigned char bytes[128];
    int w, h;
    strcpy(path, put_jpeg(6, true));
    unsigned char *jpeg;
    size_t n;
    assert_int_equal(cr_file_read(path, 1000, &jpeg, &n, NULL), CR_OK);
    const size_t frame = n - 13;
    for (size_t cut = 0; cut < frame + 9; cut++)
        assert_int_equal(cr_picture_size(put("cut.jpg", jpeg, cut), &w, &h, NULL), CR_ERR_FORMAT);
    memcpy(bytes, jpeg, n);
    bytes[frame + 1] = 0xd9; /* end of image before a frame */
    assert_int_equal(cr_picture_size(put("end.jpg", bytes, n), &w, &h, NULL), CR_ERR_FORMAT);
    memcpy(bytes, jpeg, n);
    memset(bytes + frame + 5, 0, 4); /* 0 x 0 */
    assert_int_equal(cr_picture_size(put("zero.jpg", bytes, n), &w, &h, NULL), CR_ERR_FORMAT);
    cr_free(jpeg);
    put_png("zero.png", 0, 5);
    snprintf(path, sizeof path, "%s/zero.png", folder);
    assert_int_equal(cr_picture_size(path, &w, &h, NULL), CR_ERR_FORMAT);
    put_png("huge.png", 0x80000000u, 5);
    snprintf(path, sizeof path, "%s/huge.png", folder);
    assert_int_equal(cr_picture_size(path, &w, &h, NULL), CR_ERR_FORMAT);
    assert_int_equal(cr_picture_size("/nowhere.jpg", &w, &h, NULL), CR_ERR_IO);
}

static void real_sizes_agree(void **state)
{
    const char *data = getenv("CRAYON_DATA");
    char path[1024];
    cr_labels *l;
    cr_error err;
    snprintf(path, sizeof path, "%s/coco-dev/instances.json", data ? data : "../shared/data");
    if (access(path, R_OK)) {
        print_message("SKIP no %s\n", path);
        skip();
    }
    if (cr_labels_load(path, &l, &err)) fail_msg("%s", err.message);
    assert_int_equal(cr_labels_image_count(l), 80);
    assert_int_equal(cr_labels_category_count(l), 80);
    for (size_t i = 0; i < cr_labels_image_count(l); i++) {
        const cr_label_image *image = cr_labels_image(l, i);
        int w, h;
        snprintf(path, sizeof path, "%s/coco-dev/images/%s", data ? data : "../shared/data",
                 image->file_name);
        if (cr_picture_size(path, &w, &h, &err)) fail_msg("%s", err.message);
        assert_true(w == image->width && h == image->height);
    }
    cr_labels_free(&l);
}

/* ---- classes --------------------------------------------------------------------------------- */

static const char KINDS[] = "{" IMAGES "," NONE ",\"categories\":[{\"id\":10,\"name\":\"car\"},"
                            "{\"id\":20,\"name\":\"dog\"},{\"id\":40,\"name\":\"Stop Sign\"}]}";

static void expect_map(const char *const *names, size_t n, const int64_t *expected)
{
    cr_labels *l;
    cr_error err;
    int64_t ids[4] = {-9, -9, -9, -9};
    assert_int_equal(cr_labels_load(put_text("kinds.json", KINDS), &l, &err), CR_OK);
    const cr_status st = cr_labels_map_classes(l, names, n, ids, &err);
    if (expected) {
        assert_int_equal(st, CR_OK);
        assert_memory_equal(ids, expected, n * sizeof *ids);
    } else {
        assert_int_equal(st, CR_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "are these the right labels?"));
    }
    cr_labels_free(&l);
}

static void maps_classes(void **state)
{
    static const int64_t order[] = {10, 20, 40}, moved[] = {40, 20, CR_NO_CATEGORY},
                         more[] = {40, CR_NO_CATEGORY, 10, 20};
    expect_map(NULL, 3, order);
    expect_map((const char *const[]){NULL, NULL, NULL}, 3, order);
    expect_map((const char *const[]){"auto", "dog", "stop_sign"}, 3, order);
    expect_map((const char *const[]){"x", "y", "z"}, 3, order);
    expect_map((const char *const[]){"STOP_SIGN ", "dog", "cat"}, 3, moved);
    expect_map((const char *const[]){"stop sign", "cat", "car", "Dog"}, 4, more);
    expect_map((const char *const[]){"dog"}, 1, (const int64_t[]){20});
    expect_map((const char *const[]){"x", "y"}, 2, NULL);
    expect_map((const char *const[]){NULL, "y"}, 2, NULL);
    expect_map(NULL, 2, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_coco),
        cmocka_unit_test(finds_images),
        cmocka_unit_test(refuses_bad_coco),
        cmocka_unit_test(refuses_cut_coco),
        cmocka_unit_test(bounds_depth_and_size),
        cmocka_unit_test(survives_no_memory),
        cmocka_unit_test(reads_yolo),
        cmocka_unit_test(reads_yolo_variants),
        cmocka_unit_test(refuses_bad_yaml),
        cmocka_unit_test(refuses_bad_lines),
        cmocka_unit_test(refuses_loops),
        cmocka_unit_test(yolo_survives_no_memory),
        cmocka_unit_test(reads_jpeg_sizes),
        cmocka_unit_test(refuses_bad_pictures),
        cmocka_unit_test(real_sizes_agree),
        cmocka_unit_test(maps_classes),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
