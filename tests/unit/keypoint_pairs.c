/* Which keypoints change places in a mirror: from COCO's names, from a data.yaml's flip_idx, and
 * what a mirrored training picture makes of them. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "train/dataset.h"

static char folder[] = "/tmp/crayon-pairs-XXXXXX";

static const char *at(const char *name)
{
    static char path[4][256];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static const char *put(const char *name, const char *text)
{
    const char *path = at(name);
    assert_int_equal(cr_file_write(path, text, strlen(text), NULL), CR_OK);
    return path;
}

static int make_folder(void **state)
{
    cr_image img;
    (void)state;
    if (!mkdtemp(folder) || cr_mkdirs(at("images"), NULL) || cr_mkdirs(at("labels"), NULL) ||
        cr_image_create(40, 40, &img, NULL))
        return -1;
    const bool ok = !cr_image_write(at("images/a.png"), &img, NULL);
    cr_image_free(&img);
    return ok ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) != 0;
}

/* The pairs of COCO labels with these categories; NULL in `want`: none. */
static void expect_coco(const char *categories, const int *want, size_t n)
{
    char text[1024];
    cr_labels *l;
    cr_error err;
    size_t count;
    snprintf(text, sizeof text,
             "{\"images\":[{\"id\":1,\"file_name\":\"a.png\",\"width\":40,\"height\":40}],"
             "\"categories\":[%s],\"annotations\":[{\"id\":1,\"image_id\":1,\"category_id\":1,"
             "\"bbox\":[1,1,9,9],\"keypoints\":[1,1,2,5,5,2,9,9,2]}]}",
             categories);
    if (cr_labels_load_parts(put("labels.json", text), CR_LABEL_KEYPOINTS, &l, &err) != CR_OK)
        fail_msg("%s", err.message);
    const int *pairs = cr_labels_keypoint_pairs(l, &count);
    assert_int_equal(count, n);
    if (want)
        assert_memory_equal(pairs, want, n * sizeof *want);
    else
        assert_null(pairs);
    cr_labels_free(&l);
}

static void names_of_coco(void **state)
{
    static const int ends[3] = {2, 1, 0}, first[3] = {1, 0, 2};
    (void)state;
    expect_coco("{\"id\":1,\"name\":\"x\",\"keypoints\":[\"left_eye\",\"nose\",\"right_eye\"]}",
                ends, 3);
    expect_coco("{\"id\":1,\"name\":\"x\",\"keypoints\":[\"Paw RIGHT\",\"paw left\",\"tail\"]}",
                first, 3);
    expect_coco("{\"id\":1,\"name\":\"x\",\"keypoints\":[\"tip\",\"end\",\"left\"]}", NULL, 0);
    expect_coco("{\"id\":1,\"name\":\"x\",\"keypoints\":[3,null,\"left\"]}", NULL, 0);
    expect_coco("{\"id\":1,\"name\":\"x\",\"keypoints\":\"left\"}", NULL, 0);
    expect_coco("{\"id\":1,\"name\":\"x\"}", NULL, 0);
    /* two categories: the same pairs, others */
    expect_coco("{\"id\":1,\"name\":\"x\",\"keypoints\":[\"left\",\"right\",\"a\"]},"
                "{\"id\":2,\"name\":\"y\",\"keypoints\":[\"right\",\"left\",\"b\"]}",
                first, 3);
    expect_coco("{\"id\":1,\"name\":\"x\",\"keypoints\":[\"left\",\"right\",\"a\"]},"
                "{\"id\":2,\"name\":\"y\",\"keypoints\":[\"b\",\"left\",\"right\"]}",
                NULL, 0);
}

static void flip_index_of_yaml(void **state)
{
    static const char *const bad[] = {"[1, 0]", "[0, 1, 3]", "[1, 2, 0]", "x", "[a, 1, 2]"};
    cr_labels *l;
    cr_error err;
    char text[256];
    size_t count;
    (void)state;
    put("labels/a.txt", "0 .5 .5 .5 .5 .25 .25 2 .75 .25 2 .5 .5 2\n");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, "train: images\nnames: [x]\nkpt_shape: [3, 3]\nflip_idx: %s\n",
                 bad[i]);
        const char *path = put("data.yaml", text);
        assert_int_equal(cr_labels_load_parts(path, CR_LABEL_TRAIN, &l, &err), CR_ERR_FORMAT);
        assert_non_null(strstr(err.message, "flip_idx"));
        assert_non_null(strstr(err.message, "data.yaml"));
        /* measuring has no mirrors */
        assert_int_equal(cr_labels_load_parts(path, 0, &l, &err), CR_OK);
        assert_null(cr_labels_keypoint_pairs(l, &count));
        cr_labels_free(&l);
    }
}

/* Mirrored, keypoint 0 of the left comes to stand where the right one is called. */
static void mirrored(void **state)
{
    static float input[3 * 40 * 40];
    cr_item_options o = {
        .pre = cr_preprocess_default(40, 40), .augment = {.flip = 1}, .keypoints = 3};
    cr_dataset *d;
    cr_error err;
    (void)state;
    put("labels/a.txt", "0 .5 .5 .5 .5 .25 .25 2 .75 .25 2 .625 .5 2\n");
    for (int known = 0; known < 2; known++) {
        cr_item item;
        cr_rng rng;
        cr_rng_seed(&rng, 1);
        const char *path =
            put("data.yaml", known ? "train: images\nnames: [x]\nkpt_shape: [3, 3]\n"
                                     "flip_idx: [1, 0, 2]\n"
                                   : "train: images\nnames: [x]\nkpt_shape: [3, 3]\n");
        const cr_dataset_options with = {.labels = path, .parts = CR_LABEL_KEYPOINTS};
        if (cr_dataset_open(&with, &d, &err) != CR_OK) fail_msg("%s", err.message);
        if (cr_dataset_item(d, &o, 0, &rng, input, &item, &err) != CR_OK)
            fail_msg("%s", err.message);
        const double *p = item.truth.keypoints;
        assert_true(p[0] == 10 && p[3] == 30);  /* number 0 stays the left one */
        assert_true(p[6] == (known ? 15 : 25)); /* without pairs nothing is mirrored */
        cr_item_free(&item);
        cr_dataset_free(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_coco),
        cmocka_unit_test(flip_index_of_yaml),
        cmocka_unit_test(mirrored),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
