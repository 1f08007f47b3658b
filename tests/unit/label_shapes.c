/* Masks and keypoints of labels, folders as labels, and what hostile ones may not do. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "crayon/eval.h"
#include "crayon/synth.h"
#include "eval/mask_runs.h"

static char folder[64];
static const unsigned ALL = CR_LABEL_MASKS | CR_LABEL_KEYPOINTS | CR_LABEL_CORNERS;

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

static const char *below(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

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
    strcpy(folder, "/tmp/crayon-shapes-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static cr_labels *load(const char *path, unsigned parts)
{
    cr_labels *l;
    cr_error err;
    if (cr_labels_load_parts(path, parts, &l, &err)) fail_msg("%s", err.message);
    return l;
}

static void expect_failure(const char *path, const char *part)
{
    cr_labels *l = (cr_labels *)folder;
    cr_error err = {0};
    const cr_status st = cr_labels_load_parts(path, ALL, &l, &err);
    if (st != CR_ERR_FORMAT || !strstr(err.message, part) || strchr(err.message, '\n'))
        fail_msg("status %d, \"%s\"; expected a format error with \"%s\"", st, err.message, part);
    assert_null(l);
}

static void survives(const char *path)
{
    cr_status st = CR_ERR_MEMORY;
    long n = 0;
    for (; st != CR_OK; n++) {
        cr_labels *l;
        cr_alloc_fail_after(n);
        st = cr_labels_load_parts(path, ALL, &l, NULL);
        cr_alloc_fail_after(-1);
        assert_true(st == CR_OK || st == CR_ERR_MEMORY);
        assert_true((st == CR_OK) == (l != NULL));
        cr_labels_free(&l);
    }
    assert_true(n > 8);
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* A square of 2x3 pixels in a picture of 5 columns and 4 rows, the last row and column included. */
static void makes_pixels(void **state)
{
    const double square[] = {3, 1, 5, 1, 5, 4, 3, 4};
    const uint32_t want[] = {13, 3, 1, 3};
    cr_runs r = {0}, again = {0};
    cr_error err;
    double box[4];
    assert_int_equal(cr_runs_from_polygon(square, 4, 5, 4, &r, &err), CR_OK);
    assert_int_equal(r.count, 4);
    assert_memory_equal(r.length, want, sizeof want);
    assert_int_equal(cr_runs_area(&r), 6);
    cr_runs_box(&r, 4, box);
    assert_true(box[0] == 3 && box[1] == 1 && box[2] == 2 && box[3] == 3);
    char *text = cr_runs_to_text(&r);
    assert_int_equal(cr_runs_from_text(text, 20, &again, &err), CR_OK);
    assert_int_equal(again.count, 4);
    assert_memory_equal(again.length, want, sizeof want);
    free(text);
    cr_runs_free(&r);
    cr_runs_free(&again);
}

static void compares_runs(void **state)
{
    uint32_t a_runs[] = {0, 4, 6}, b_runs[] = {2, 4, 4}, none[] = {10};
    const cr_runs a = {a_runs, 3, 3}, b = {b_runs, 3, 3}, empty = {none, 1, 1};
    cr_runs sum = {0};
    cr_error err;
    assert_true(cr_runs_overlap(&a, &b, false) == 2. / 6);
    assert_true(cr_runs_overlap(&a, &b, true) == 2. / 4);
    assert_true(cr_runs_overlap(&a, &a, false) == 1);
    assert_true(cr_runs_overlap(&empty, &empty, false) == 0);
    assert_true(cr_runs_add(&sum, true, 4) && cr_runs_add(&sum, false, 6));
    assert_int_equal(cr_runs_unite(&sum, &b, &err), CR_OK);
    assert_int_equal(cr_runs_area(&sum), 6);
    assert_int_equal(sum.count, 3);
    cr_runs_free(&sum);
}

static void refuses_polygons(void **state)
{
    static const double bad[][6] = {{0, 0, NAN, 1, 2, 2}, {0, 0, INFINITY, 1, 2, 2},
                                    {0, 0, 1e9, 1, 2, 2}, {0, 0, 1, -1e300, 2, 2}};
    static const double wide[] = {-1e8, -1e8, 1e8, 3, -1e8, 1e8};
    cr_runs r = {0};
    cr_error err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(cr_runs_from_polygon(bad[i], 3, 9, 9, &r, &err), CR_ERR_FORMAT);
        assert_null(r.length);
    }
    assert_int_equal(cr_runs_from_polygon(wide, 2, 9, 9, &r, &err), CR_ERR_FORMAT);
    assert_int_equal(cr_runs_from_polygon(wide, 3, 0, 9, &r, &err), CR_ERR_FORMAT);
    assert_int_equal(cr_runs_from_polygon(wide, 3, 65535, 65535, &r, &err), CR_ERR_FORMAT);
    /* far corners cost no time, and all of the picture is inside */
    assert_int_equal(cr_runs_from_polygon(wide, 3, 9, 9, &r, &err), CR_OK);
    assert_int_equal(cr_runs_area(&r), 81);
    cr_runs_free(&r);
}

static void refuses_texts(void **state)
{
    static const char *const bad[] = {"\x7f", "0\n", "/", "PPPPPPPPPPPPPPPPPPPPP", "oooooooooooo0",
                                      "5", "55", ":2", "O", "", "P"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_runs r = {0};
        cr_error err = {0};
        if (cr_runs_from_text(bad[i], 11, &r, &err) != CR_ERR_FORMAT) fail_msg("%s", bad[i]);
        cr_runs_free(&r);
    }
}

/* ---- COCO ------------------------------------------------------------------------------------ */

#define FILE_OF(segmentation, size)                                                                \
    "{\"annotations\":[{\"id\":1,\"image_id\":7,\"category_id\":3,\"bbox\":[1,1,2,2]," segmentation    \
    "}],\"categories\":[{\"id\":3,\"name\":\"car\"}],\"images\":[{\"id\":7,\"file_name\":\"x.jpg\"" size    \
    "}]}"
#define SIZE ",\"width\":5,\"height\":4"
#define POLYGON "[3,1,5,1,5,4,3,4]"

static void reads_coco(void **state)
{
    static const char *const same[] = {
        "\"segmentation\":[" POLYGON "]", "\"segmentation\":[" POLYGON ",[3,1,5,1,5,2,3,2]]",
        "\"segmentation\":{\"size\":[4,5],\"counts\":[13,3,1,3]}",
        "\"segmentation\":{\"size\":[4,5],\"counts\":\"=310\"}"};
    char text[1024];
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        snprintf(text, sizeof text, FILE_OF("%s", SIZE), same[i]);
        const char *path = put_text("s.json", text);
        cr_labels *l = load(path, CR_LABEL_MASKS);
        const cr_label_box *b = cr_labels_box(l, 0);
        assert_string_equal(b->mask->counts, "=310");
        assert_true(b->mask->height == 4 && b->mask->width == 5 && b->area == 6);
        assert_int_equal(cr_labels_parts(l), CR_LABEL_MASKS);
        cr_labels_free(&l);
        l = load(path, 0);
        assert_null(cr_labels_box(l, 0)->mask);
        assert_true(cr_labels_box(l, 0)->area == 4);
        cr_labels_free(&l);
        survives(put_text("s.json", text));
    }
    cr_labels *l = load(put_text("s.json", FILE_OF("\"segmentation\":[]", "")), ALL);
    assert_int_equal(cr_labels_parts(l), 0);
    cr_labels_free(&l);
    l = load(put_text("k.json", FILE_OF("\"keypoints\":[1,2,2,3,4,0],\"num_keypoints\":1", "")), ALL);
    assert_int_equal(cr_labels_parts(l), CR_LABEL_KEYPOINTS);
    assert_int_equal(cr_labels_box(l, 0)->keypoint_count, 2);
    assert_true(cr_labels_box(l, 0)->keypoints[4] == 4);
    cr_labels_free(&l);
}

static void refuses_coco(void **state)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"\"segmentation\":7", "\"size\""},
        {"\"segmentation\":[[1,2,3,4]]", "not a list of polygons"},
        {"\"segmentation\":[[1,2,3,4,5,6,7]]", "not a list of polygons"},
        {"\"segmentation\":[[1,2,3,4,5,\"6\"]]", "not a list of polygons"},
        {"\"segmentation\":[[1,2,3,4,5,1e9]]", "corner"},
        {"\"segmentation\":[{}]", "not a list of polygons"},
        {"\"segmentation\":{\"size\":[4,5]}", "\"counts\""},
        {"\"segmentation\":{\"size\":[4],\"counts\":[20]}", "\"size\""},
        {"\"segmentation\":{\"size\":[4,-5],\"counts\":[20]}", "not that of a picture"},
        {"\"segmentation\":{\"size\":[65535,65535],\"counts\":[20]}", "not the size of a mask"},
        {"\"segmentation\":{\"size\":[4,5],\"counts\":[19]}", "do not make the picture"},
        {"\"segmentation\":{\"size\":[4,5],\"counts\":[20,1]}", "do not make the picture"},
        {"\"segmentation\":{\"size\":[4,5],\"counts\":[-1,21]}", "no run length"},
        {"\"segmentation\":{\"size\":[4,5],\"counts\":\"=31\"}", "too early"},
        {"\"segmentation\":{\"size\":[4,5],\"counts\":\"=31000000\"}", "pixels are left"},
        {"\"segmentation\":{\"size\":[5,4],\"counts\":\"=310\"}", "its image has 5x4"},
        {"\"keypoints\":[1,2]", "\"keypoints\" is not"},
        {"\"keypoints\":{}", "\"keypoints\" is not"},
        {"\"keypoints\":[1,2,\"x\"]", "\"keypoints\" is not"},
    };
    char text[1024];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, FILE_OF("%s", SIZE), bad[i].text);
        expect_failure(put_text("bad.json", text), bad[i].part);
    }
    expect_failure(put_text("bad.json", FILE_OF("\"segmentation\":[" POLYGON "]", "")),
                   "has no \"width\" and \"height\"");
}

/* ---- Ultralytics ----------------------------------------------------------------------------- */

static void reads_yolo(void **state)
{
    char yaml[512];
    put_png("y/images/a.png", 5, 4);
    put_text("y/labels/a.txt", "0 0.6 0.25 1 0.25 1 1 0.6 1\n");
    strcpy(yaml, put_text("y/data.yaml", "val: images\nnames: [x]\n"));
    cr_labels *l = load(yaml, CR_LABEL_MASKS);
    assert_string_equal(cr_labels_box(l, 0)->mask->counts, "=310");
    assert_true(cr_labels_box(l, 0)->area == 6);
    cr_labels_free(&l);
    survives(yaml);
    put_text("y/data.yaml", "val: images\nnames: [x]\nkpt_shape: [2, 3]\n");
    put_text("y/labels/a.txt", "0 .5 .5 1 1 .2 .5 2 0 0 0\n0 .5 .5 1 1 .4 .5 2 0 0 0\n");
    l = load(yaml, ALL);
    assert_int_equal(cr_labels_parts(l), CR_LABEL_KEYPOINTS);
    assert_int_equal(cr_labels_box_count(l), 2); /* same boxes, other keypoints */
    const cr_label_box *b = cr_labels_box(l, 0);
    assert_true(b->keypoint_count == 2 && b->keypoints[0] == 1 && b->keypoints[1] == 2 &&
                b->keypoints[2] == 2 && b->keypoints[5] == 0);
    assert_true(b->area == 20 * CR_COCO_BODY_SHARE);
    cr_labels_free(&l);
    survives(yaml);
    put_text("y/data.yaml", "val: images\nnames: [x]\nkpt_shape: [2, 2]\n");
    put_text("y/labels/a.txt", "0 .5 .5 1 1 .2 .5 -.1 0\n");
    l = load(yaml, ALL);
    b = cr_labels_box(l, 0);
    assert_true(b->keypoints[2] == 2 && b->keypoints[5] == 0);
    cr_labels_free(&l);
}

/* Boxes that lie at an angle, of either form: found by themselves, half of one by the rest of it. */
static void reads_corners(void **state)
{
    static const double half[8] = {3, 1, 5, 1, 5, 2.5, 3, 2.5};
    char yaml[512], coco[512], json[1024];
    cr_coco_metrics m;
    cr_error err;
    put_png("o/images/a.png", 5, 4);
    put_text("o/labels/a.txt", "0 0.6 0.25 1 0.25 1 1 0.6 1\n0 0.6 0.25 1 0.25 1 1 0.6 1\n");
    strcpy(yaml, put_text("o/data.yaml", "val: images\nnames: [x]\n"));
    snprintf(json, sizeof json, FILE_OF("%s", SIZE), "\"segmentation\":[" POLYGON "]");
    strcpy(coco, put_text("o.json", json));
    const char *files[] = {yaml, coco};
    for (int i = 0; i < 2; i++) {
        cr_labels *l = load(files[i], CR_LABEL_CORNERS);
        assert_int_equal(cr_labels_parts(l), CR_LABEL_CORNERS);
        const cr_label_box *b = cr_labels_box(l, 0);
        assert_true(cr_labels_box_count(l) == 1 && b->area == 6 && b->corners[0] == 3 &&
                    b->corners[5] == 4);
        cr_coco_box box = {b->image_id, b->category_id, 3, 1, 2, 1.5, .5};
        double corners[8];
        memcpy(corners, half, sizeof half);
        cr_coco_results r = {.boxes = &box, .count = 1, .corners = corners};
        assert_int_equal(cr_coco_evaluate_results(l, &r, CR_COCO_ORIENTED, NULL, 0, NULL, &m, &err), CR_OK);
        assert_true(fabs(m.ap - .1) < 1e-12 && m.ap50 > 1 - 1e-12 && m.ap75 == 0); /* an overlap of .5 */
        corners[5] = corners[7] = 4;
        assert_int_equal(cr_coco_evaluate_results(l, &r, CR_COCO_ORIENTED, NULL, 0, NULL, &m, &err), CR_OK);
        assert_true(fabs(m.ap - 1) < 1e-12);
        assert_int_equal(cr_coco_agreement_results(&r, &r, CR_COCO_ORIENTED, .25, &m, &err), CR_OK);
        assert_true(fabs(m.ap - 1) < 1e-12);
        char out[512];
        strcpy(out, below("poly.json"));
        assert_int_equal(cr_coco_results_write(out, &r, CR_COCO_ORIENTED, &err), CR_OK);
        cr_coco_results back;
        assert_int_equal(cr_coco_results_read(out, &back, &err), CR_OK);
        assert_true(back.count == 1 && !memcmp(back.corners, corners, sizeof corners) &&
                    back.boxes[0].w == 2 && back.boxes[0].h == 3);
        cr_coco_results_free(&back);
        corners[0] = NAN;
        assert_int_equal(cr_coco_evaluate_results(l, &r, CR_COCO_ORIENTED, NULL, 0, NULL, &m, &err), CR_ERR_ARGUMENT);
        assert_int_equal(cr_coco_results_write(out, &r, CR_COCO_ORIENTED, &err), CR_ERR_ARGUMENT);
        r.corners = NULL;
        assert_int_equal(cr_coco_agreement_results(&r, &r, CR_COCO_ORIENTED, .25, &m, &err), CR_ERR_ARGUMENT);
        cr_labels_free(&l);
        survives(files[i]);
    }
    cr_labels *l;
    static const char *const bad[] = {"[{\"image_id\":1,\"category_id\":1,\"score\":1,\"poly\":[1,2,3]}]",
                                      "[{\"image_id\":1,\"category_id\":1,\"score\":1,\"poly\":[1,2,3,4,5,6,7,\"8\"]}]",
                                      "[{\"image_id\":1,\"category_id\":1,\"score\":1,\"poly\":[-1e308,2,1e308,4,5,6,7,8]}]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_coco_results r;
        assert_int_equal(cr_coco_results_read(put_text("bad.json", bad[i]), &r, &err), CR_ERR_FORMAT);
        assert_non_null(strstr(err.message, "\"poly\""));
    }
    snprintf(json, sizeof json, FILE_OF("%s", ""), "\"segmentation\":[[3,1,5,1,5,4,3,1e9]]");
    assert_int_equal(cr_labels_load_parts(put_text("o.json", json), CR_LABEL_CORNERS, &l, &err), CR_ERR_FORMAT);
}

static void refuses_yolo(void **state)
{
    static const char *const shapes[] = {"[0, 3]", "[2, 4]", "[2]", "x", "[1001, 3]", "{a: b}"};
    static const char *const lines[] = {"0 .5 .5 1 1 .2 .5 2 0 0", "0 .5 .5 1 1 .2 .5 2 0 0 3",
                                        "0 .5 .5 1 1 9 .5 2 0 0 0", "0 .5 .5 1 1 nan .5 2 0 0 0",
                                        "0 .5 .5 1 1 .2 .5"};
    char yaml[512], text[128];
    put_png("z/images/a.png", 5, 4);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        snprintf(text, sizeof text, "val: images\nnames: [x]\nkpt_shape: %s\n", shapes[i]);
        expect_failure(put_text("z/data.yaml", text), "kpt_shape");
    }
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        put_text("z/labels/a.txt", lines[i]);
        strcpy(yaml, put_text("z/data.yaml", "val: images\nnames: [x]\nkpt_shape: [2, 3]\n"));
        expect_failure(yaml, "a.txt line 1");
    }
}

/* ---- folders --------------------------------------------------------------------------------- */

#define VOC(object) "<annotation><filename>a.png</filename><size><width>50</width>" \
                    "<height> 40 </height></size>" object "</annotation>"
#define OBJECT(name, more)                                                                         \
    "<object><name>" name "</name>" more "<bndbox><xmin>3</xmin><ymin>1</ymin><xmax>12</xmax>"      \
    "<ymax>2.5</ymax></bndbox></object>"

static void reads_voc(void **state)
{
    put_png("voc/JPEGImages/a.png", 50, 40);
    put_text("voc/Annotations/a.xml",
             VOC(OBJECT("dog", "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>")
                     OBJECT("cat", "<difficult>1</difficult>")));
    put_text("voc/Annotations/notes.txt", "not labels");
    cr_labels *l = load(below("voc/Annotations"), 0);
    assert_int_equal(cr_labels_image_count(l), 1);
    assert_non_null(strstr(cr_labels_image(l, 0)->path, "JPEGImages/a.png"));
    assert_true(cr_labels_image(l, 0)->width == 50 && cr_labels_image(l, 0)->height == 40);
    assert_string_equal(cr_labels_category(l, 0)->name, "cat");
    const cr_label_box *b = cr_labels_box(l, 0);
    assert_true(b->category_id == 2 && !b->ignored);
    assert_true(b->x == 2 && b->y == 0 && b->w == 10 && b->h == 2.5 && b->area == 25);
    assert_true(cr_labels_box(l, 1)->category_id == 1 && cr_labels_box(l, 1)->ignored);
    cr_coco_metrics m;
    cr_error err;
    const cr_coco_box found[] = {{1, 2, 2, 0, 10, 2.5, .5}, {1, 1, 2, 0, 10, 2.5, .5}};
    assert_int_equal(cr_coco_evaluate(l, found, 2, NULL, 0, &m, &err), CR_OK);
    /* the cat counts nowhere; precision has an epsilon in its divisor */
    assert_true(fabs(m.ap - 1) < 1e-12 && m.ar100 == 1);
    cr_labels_free(&l);
    survives(below("voc/Annotations"));
}

static void refuses_voc(void **state)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"", "no element found"},
        {"<annotation>", "no element found"},
        {"<!DOCTYPE a [<!ENTITY b \"c\">]>" VOC(""), "document type"},
        {"<annotation/>", "no annotation/filename"},
        {VOC(""), "no object"},
        {VOC("<object><name>x</name></object>"), "without \"name\" or \"bndbox\""},
        {VOC("<object><bndbox><xmin>much</xmin></bndbox></object>"), "line 1: a number is needed"},
        {VOC("<object><bndbox><xmin>1e300</xmin></bndbox></object>"), "a number is needed"},
        {VOC("<object><name> </name></object>"), "a name is empty"},
        {VOC("<object><name>x</name><bndbox><xmin>9</xmin><ymin>1</ymin><xmax>2</xmax><ymax>3"
             "</ymax></bndbox></object>"), "ends before it begins"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_text("bad/a.xml", bad[i].text);
        expect_failure(below("bad"), bad[i].part);
    }
    char deep[3 * 40 + 1] = "";
    for (int i = 0; i < 40; i++) strcat(deep, "<a>");
    put_text("bad/a.xml", deep);
    cr_labels *l;
    cr_error err;
    assert_int_equal(cr_labels_load(below("bad"), &l, &err), CR_ERR_LIMIT);
}

static void reads_class_folders(void **state)
{
    put_png("classes/cat/b.png", 5, 4);
    put_png("classes/cat/more/c.PNG", 5, 4);
    put_png("classes/ant/a.png", 5, 4);
    put_text("classes/ant/notes.txt", "x");
    put_text("classes/readme.txt", "x");
    cr_labels *l = load(below("classes/"), 0);
    assert_int_equal(cr_labels_category_count(l), 2);
    assert_string_equal(cr_labels_category(l, 0)->name, "ant");
    assert_int_equal(cr_labels_image_count(l), 3);
    assert_string_equal(cr_labels_image(l, 0)->file_name, "ant/a.png");
    assert_string_equal(cr_labels_image(l, 2)->file_name, "cat/more/c.PNG");
    assert_int_equal(cr_labels_box(l, 1)->category_id, 1);
    assert_int_equal(access(cr_labels_image(l, 1)->path, R_OK), 0);
    cr_labels_free(&l);
    survives(below("classes"));
    put_text("empty/x/notes.txt", "x");
    expect_failure(below("empty"), "no folders of pictures");
}

/* ---- labels found by themselves -------------------------------------------------------------- */

/* The labels' own masks or keypoints as results. */
static cr_coco_results own_results(const cr_labels *l, size_t keypoints)
{
    const size_t n = cr_labels_box_count(l);
    cr_coco_results r = {calloc(n, sizeof *r.boxes), n, calloc(n, sizeof *r.masks),
                         calloc(3 * n * (keypoints + 1), sizeof *r.points), keypoints};
    for (size_t i = 0; i < n; i++) {
        const cr_label_box *b = cr_labels_box(l, i);
        r.boxes[i] = (cr_coco_box){b->image_id, b->category_id, b->x, b->y, b->w, b->h, .5};
        if (b->mask) r.masks[i] = *b->mask;
        if (b->keypoint_count)
            memcpy(r.points + 3 * keypoints * i, b->keypoints, 24 * b->keypoint_count);
    }
    return r;
}

static void drop_results(cr_coco_results *r)
{
    free(r->boxes);
    free(r->masks);
    free(r->points);
}

static void labels_find_themselves(void **state)
{
    cr_synth_options o = cr_synth_options_default();
    cr_error err;
    cr_coco_metrics m;
    char dir[128], path[256];
    o.count = 8;
    for (int task = CR_SYNTH_SEGMENT; task <= CR_SYNTH_POSE; task++) {
        snprintf(dir, sizeof dir, "%s/scenes%d", folder, task);
        snprintf(path, sizeof path, "%s/instances.json", dir);
        o.task = (cr_synth_task)task;
        assert_int_equal(cr_synth_write(dir, &o, NULL, &err), CR_OK);
        cr_labels *l = load(path, ALL);
        const bool poses = task == CR_SYNTH_POSE;
        const cr_coco_metric metric = poses ? CR_COCO_KEYPOINTS : CR_COCO_MASKS;
        cr_coco_results r = own_results(l, poses ? 6 : 0);
        if (cr_coco_evaluate_results(l, &r, metric, NULL, 0, NULL, &m, &err))
            fail_msg("%s", err.message);
        assert_true(fabs(m.ap - 1) < 1e-12 && m.ar100 == 1);
        assert_int_equal(cr_coco_agreement_results(&r, &r, metric, .25, &m, &err), CR_OK);
        assert_true(fabs(m.ap - 1) < 1e-12);
        if (!poses) {
            r.masks[0].width++;
            assert_int_equal(cr_coco_evaluate_results(l, &r, metric, NULL, 0, NULL, &m, &err),
                             CR_ERR_ARGUMENT);
        }
        drop_results(&r);
        cr_labels_free(&l);
        l = load(path, 0);
        assert_int_equal(cr_coco_evaluate_results(l, &(cr_coco_results){0}, metric, NULL, 0, NULL,
                                                  &m, &err),
                         CR_ERR_ARGUMENT);
        cr_labels_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_pixels),      cmocka_unit_test(compares_runs),
        cmocka_unit_test(refuses_polygons),  cmocka_unit_test(refuses_texts),
        cmocka_unit_test(reads_coco),        cmocka_unit_test(refuses_coco),
        cmocka_unit_test(reads_yolo),        cmocka_unit_test(refuses_yolo),
        cmocka_unit_test(reads_corners),
        cmocka_unit_test(reads_voc),         cmocka_unit_test(refuses_voc),
        cmocka_unit_test(reads_class_folders), cmocka_unit_test(labels_find_themselves),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
