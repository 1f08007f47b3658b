/* COCO metrics on cases small enough to compute by hand; coco_random.py among the peer tests holds
 * the same code against pycocotools. */
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
#include "eval/coco_match.h"

/* Sums of at most 10 * 101 numbers below 1 round by less than this. */
static const double CLOSE = 1e-13;

static char path[] = "/tmp/crayon-eval-XXXXXX";

static int make_file(void **state)
{
    const int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int drop_file(void **state)
{
    return unlink(path);
}

/* Labels with images 1 and 2, categories 1 and 5, and the given annotations (JSON). */
static cr_labels *make_labels(const char *annotations)
{
    cr_labels *l;
    cr_error err;
    char text[8192];
    const int n =
        snprintf(text, sizeof text,
                 "{\"images\":[{\"id\":2,\"file_name\":\"b\"},{\"id\":1,\"file_name\":\"a\"}],"
                 "\"categories\":[{\"id\":1,\"name\":\"x\"},{\"id\":5,\"name\":\"y\"}],"
                 "\"annotations\":[%s]}",
                 annotations);
    assert_true(n > 0 && (size_t)n < sizeof text);
    assert_int_equal(cr_file_write(path, text, (size_t)n, &err), CR_OK);
    if (cr_labels_load(path, &l, &err)) fail_msg("%s", err.message);
    return l;
}

/* Precision over recall: its mean is AP, no point of a curve is above an earlier one. */
static void assert_curves(const cr_labels *l, const cr_coco_box *dets, size_t n, const cr_coco_metrics *m)
{
    const cr_coco_results found = {.boxes = (cr_coco_box *)dets, .count = n};
    cr_coco_curves c;
    double sum[CR_COCO_CURVES] = {0}, all = 0;
    assert_int_equal(cr_coco_evaluate_curves(l, &found, CR_COCO_BOXES, NULL, 0, NULL, &c, NULL, NULL), CR_OK);
    for (int t = 0; t < CR_COCO_CURVES; t++) {
        for (int r = 0; r < CR_COCO_RECALLS; r++) {
            sum[t] += c.at[t][r] / CR_COCO_RECALLS;
            assert_true(r == 0 || c.at[t][r] <= c.at[t][r - 1] + 1e-12);
        }
        all += sum[t] / CR_COCO_CURVES;
    }
    /* sums of 1010 doubles in another order */
    assert_true(fabs(all - m->ap) < 1e-12 && fabs(sum[0] - m->ap50) < 1e-12 && fabs(sum[5] - m->ap75) < 1e-12);
}

static cr_coco_metrics measure(const char *annotations, const cr_coco_box *dets, size_t n)
{
    cr_coco_metrics m;
    cr_error err;
    cr_labels *l = make_labels(annotations);
    if (cr_coco_evaluate(l, dets, n, NULL, 0, &m, &err)) fail_msg("%s", err.message);
    assert_curves(l, dets, n, &m);
    cr_labels_free(&l);
    return m;
}

#define ONE "{\"id\":1,\"image_id\":1,\"category_id\":1,\"bbox\":[0,0,10,10]}"
#define TWO ONE ",{\"id\":2,\"image_id\":2,\"category_id\":1,\"bbox\":[50,50,10,10]}"

static void a_perfect_detection(void **state)
{
    const cr_coco_box det = {1, 1, 0, 0, 10, 10, .3};
    const cr_coco_metrics m = measure(ONE, &det, 1);
    assert_float_equal(m.ap, 1, CLOSE);
    assert_float_equal(m.ap50, 1, CLOSE);
    assert_float_equal(m.ap75, 1, CLOSE);
    assert_float_equal(m.ap_small, 1, CLOSE);
    assert_true(m.ap_medium == -1 && m.ap_large == -1 && m.ar_medium == -1 && m.ar_large == -1);
    assert_float_equal(m.ar1, 1, CLOSE);
    assert_float_equal(m.ar10, 1, CLOSE);
    assert_float_equal(m.ar100, 1, CLOSE);
    assert_float_equal(m.ar_small, 1, CLOSE);
}

static void nothing_at_all(void **state)
{
    const cr_coco_box det = {1, 1, 0, 0, 10, 10, .3};
    cr_coco_metrics m = measure("", &det, 1);
    const double *v = &m.ap;
    for (size_t i = 0; i < sizeof m / sizeof *v; i++) assert_true(v[i] == -1);
    m = measure(ONE, NULL, 0);
    assert_true(m.ap == 0 && m.ap50 == 0 && m.ar1 == 0 && m.ar100 == 0 && m.ap_small == 0);
    assert_true(m.ap_medium == -1);
}

/* IoU is exactly 1/2: found at the first of ten thresholds only. */
static void a_box_on_a_threshold(void **state)
{
    const cr_coco_box det = {1, 1, 0, 0, 10, 20, .3};
    const cr_coco_metrics m = measure(ONE, &det, 1);
    assert_float_equal(m.ap, .1, CLOSE);
    assert_float_equal(m.ap50, 1, CLOSE);
    assert_true(m.ap75 == 0);
    assert_float_equal(m.ar100, .1, CLOSE);
}

/* Right, wrong, right: precision 1 up to recall 1/2 (51 points), then 2/3 (50 points). */
static void precision_is_interpolated(void **state)
{
    const cr_coco_box dets[] = {
        {2, 1, 50, 50, 10, 10, .7}, {1, 1, 0, 0, 10, 10, .9}, {1, 1, 300, 0, 10, 10, .8}};
    const double expected = (51 + 50 * 2. / 3) / 101;
    cr_coco_metrics m = measure(TWO, dets, 3);
    assert_float_equal(m.ap, expected, CLOSE);
    assert_float_equal(m.ap50, expected, CLOSE);
    assert_float_equal(m.ar100, 1, CLOSE);
    m = measure(TWO, dets, 2); /* without the wrong one */
    assert_float_equal(m.ap, 1, CLOSE);
    m = measure(TWO, dets + 1, 2); /* half found */
    assert_float_equal(m.ap, 51. / 101, CLOSE);
    assert_float_equal(m.ar100, .5, CLOSE);
}

/* Of equal scores the earlier detection comes first; across images, that of the lower image id. */
static void ties_keep_their_order(void **state)
{
    const cr_coco_box dets[] = {{1, 1, 300, 0, 10, 10, .5}, {1, 1, 0, 0, 10, 10, .5}};
    const cr_coco_box swapped[] = {dets[1], dets[0]};
    assert_float_equal(measure(ONE, dets, 2).ap, .5, CLOSE);
    assert_float_equal(measure(ONE, swapped, 2).ap, 1, CLOSE);
    const cr_coco_box across[] = {{2, 1, 300, 0, 10, 10, .5}, {1, 1, 0, 0, 10, 10, .5}};
    assert_float_equal(measure(ONE, across, 2).ap, 1, CLOSE);
}

static void crowds_are_neutral(void **state)
{
    static const char crowd[] =
        ONE ",{\"id\":2,\"image_id\":1,\"category_id\":1,\"bbox\":[100,100,200,200],\"iscrowd\":1}";
    const cr_coco_box dets[] = {{1, 1, 110, 110, 20, 20, .9}, /* wholly inside: ignored */
                                {1, 1, 120, 120, 20, 20, .8}, /* a crowd can be hit twice */
                                {1, 1, 0, 0, 10, 10, .7},
                                {1, 1, 295, 150, 20, 20, .6}}; /* a quarter inside: wrong */
    assert_float_equal(measure(crowd, dets, 3).ap, 1, CLOSE);
    assert_float_equal(measure(crowd, dets, 4).ap, 1, CLOSE); /* the wrong one comes last */
    const cr_coco_box first[] = {dets[3], dets[2]};
    assert_float_equal(measure(crowd, first, 2).ap, 1, CLOSE);
    const cr_coco_box better = {1, 1, 295, 150, 20, 20, .95};
    const cr_coco_box worse[] = {better, dets[2]};
    assert_float_equal(measure(crowd, worse, 2).ap, .5, CLOSE);
}

/* The area that counts is the annotation's, and a range includes both of its ends. */
static void areas_have_ranges(void **state)
{
    static const struct {
        double area;
        unsigned outside;
    } cases[] = {{0, 0xc},      {1023.9, 0xc}, {1024, 0x8},   {1024.1, 0xa}, {9216, 0x2},
                 {9216.1, 0x6}, {1e10, 0x6},   {1.1e10, 0xf}, {-1, 0xf}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(cr_coco_outside(cases[i].area), cases[i].outside);
    static const char medium[] = "{\"id\":1,\"image_id\":1,\"category_id\":1,"
                                 "\"bbox\":[0,0,100,100],\"area\":5000}";
    const cr_coco_box det = {1, 1, 0, 0, 100, 100, .5};
    const cr_coco_metrics m = measure(medium, &det, 1);
    assert_float_equal(m.ap_medium, 1, CLOSE);
    assert_true(m.ap_large == -1 && m.ap_small == -1);
}

/* A detection outside the range is wrong only where it belongs. */
static void areas_ignore_others(void **state)
{
    static const char both[] =
        ONE ",{\"id\":2,\"image_id\":1,\"category_id\":1,\"bbox\":[0,100,100,100]}";
    const cr_coco_box dets[] = {{1, 1, 300, 300, 50, 50, .9}, /* wrong, medium */
                                {1, 1, 0, 0, 10, 10, .8},
                                {1, 1, 0, 100, 100, 100, .7}};
    const cr_coco_metrics m = measure(both, dets, 3);
    assert_float_equal(m.ap_small, 1, CLOSE);
    assert_float_equal(m.ap_large, 1, CLOSE);
    assert_true(m.ap_medium == -1);
    assert_float_equal(m.ap, 2. / 3, CLOSE);
}

static void only_the_best_count(void **state)
{
    char text[4096] = "";
    cr_coco_box dets[112];
    size_t n = 0, used = 0;
    for (int i = 0; i < 11; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%s{\"id\":%d,\"image_id\":1,\"category_id\":1,"
                                 "\"bbox\":[%d,0,10,10]}",
                                 i ? "," : "", i + 1, 20 * i);
        dets[n++] = (cr_coco_box){1, 1, 20 * i, 0, 10, 10, .9};
    }
    cr_coco_metrics m = measure(text, dets, n);
    assert_float_equal(m.ar1, 1. / 11, CLOSE);
    assert_float_equal(m.ar10, 10. / 11, CLOSE);
    assert_float_equal(m.ar100, 1, CLOSE);
    /* 89 better wrong ones fill places 1..89 of 100, so all right ones are still seen; one more
     * pushes the last right one out. */
    while (n < 100) dets[n++] = (cr_coco_box){1, 1, 0, 300, 10, 10, .95};
    assert_float_equal(measure(text, dets, n).ar100, 1, CLOSE);
    dets[n++] = (cr_coco_box){1, 1, 0, 300, 10, 10, .95};
    m = measure(text, dets, n);
    assert_float_equal(m.ar100, 10. / 11, CLOSE);
    assert_true(m.ar10 == 0);
}

/* As in pycocotools: -1 for a category without truth, which no mean includes; an annotation with id
 * 0 is taken but not found. */
static void corners_of_the_original(void **state)
{
    const cr_coco_box dets[] = {
        {1, 1, 0, 0, 10, 10, .5}, {1, 5, 0, 0, 10, 10, .9}, {1, 77, 0, 0, 1, 1, 1}};
    cr_labels *l = make_labels(ONE);
    cr_coco_class classes[2];
    cr_coco_metrics m;
    assert_int_equal(cr_coco_evaluate_classes(l, dets, 3, NULL, 0, classes, &m, NULL), CR_OK);
    assert_float_equal(m.ap, 1, CLOSE);
    assert_true(classes[0].category_id == 1 && classes[0].truth == 1);
    assert_float_equal(classes[0].ap, 1, CLOSE);
    assert_float_equal(classes[0].ap50, 1, CLOSE);
    assert_true(classes[1].category_id == 5 && classes[1].truth == 0);
    assert_true(classes[1].ap == -1 && classes[1].ap50 == -1);
    assert_int_equal(cr_coco_evaluate_classes(l, dets, 3, NULL, 0, classes, NULL, NULL), CR_OK);
    cr_labels_free(&l);
    static const char zero[] = "{\"id\":0,\"image_id\":1,\"category_id\":1,\"bbox\":[0,0,10,10]}";
    assert_true(measure(zero, dets, 1).ap == 0);
}

static void thresholds_are_exact(void **state)
{
    static const double numpy[CR_COCO_THRESHOLDS] = {
        0x1.0000000000000p-1, 0x1.199999999999ap-1, 0x1.3333333333333p-1, 0x1.4cccccccccccdp-1,
        0x1.6666666666666p-1, 0x1.8000000000000p-1, 0x1.999999999999ap-1, 0x1.b333333333333p-1,
        0x1.cccccccccccccp-1, 0x1.e666666666666p-1};
    for (int t = 0; t < CR_COCO_THRESHOLDS; t++) assert_true(cr_coco_threshold(t) == numpy[t]);
}

static void images_can_be_chosen(void **state)
{
    cr_labels *l = make_labels(TWO);
    const cr_coco_box dets[] = {{1, 1, 0, 0, 10, 10, .5}, {2, 1, 0, 0, 10, 10, .9}};
    cr_coco_metrics m;
    cr_error err;
    assert_int_equal(cr_coco_evaluate(l, dets, 2, (const int64_t[]){1, 1}, 2, &m, &err), CR_OK);
    assert_float_equal(m.ap, 1, CLOSE);
    assert_int_equal(cr_coco_evaluate(l, dets, 2, (const int64_t[]){2}, 1, &m, &err), CR_OK);
    assert_true(m.ap == 0);
    assert_int_equal(cr_coco_evaluate(l, dets, 2, (const int64_t[]){2}, 0, &m, &err), CR_OK);
    assert_true(m.ap == -1);
    assert_int_equal(cr_coco_evaluate(l, dets, 2, (const int64_t[]){1, 3}, 2, &m, &err),
                     CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "image 3"));
    cr_labels_free(&l);
}

static void refuses_bad_boxes(void **state)
{
    cr_labels *l = make_labels(ONE);
    cr_coco_metrics m;
    cr_error err;
    for (int i = 0; i < 5; i++) {
        cr_coco_box det = {1, 1, 0, 0, 10, 10, .5};
        (&det.x)[i] = i & 1 ? NAN : INFINITY;
        assert_int_equal(cr_coco_evaluate(l, &det, 1, NULL, 0, &m, &err), CR_ERR_ARGUMENT);
        assert_int_equal(cr_coco_agreement(&det, 1, NULL, 0, .25, &m, &err), CR_ERR_ARGUMENT);
        assert_int_equal(cr_coco_agreement(NULL, 0, &det, 1, .25, &m, &err), CR_ERR_ARGUMENT);
        assert_int_equal(cr_coco_boxes_write(path, &det, 1, &err), CR_ERR_ARGUMENT);
    }
    const cr_coco_box unknown = {99, 1, 0, 0, 1, 1, 1};
    assert_int_equal(cr_coco_evaluate(l, &unknown, 1, NULL, 0, &m, &err), CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "image 99"));
    cr_labels_free(&l);
}

static void models_agree(void **state)
{
    const cr_coco_box reference[] = {{1, 1, 0, 0, 10, 10, .9},
                                     {1, 2, 0, 0, 50, 50, .25},
                                     {3, 2, 0, 0, 10, 20, .2499}, /* not confident enough */
                                     {4, 1, 70, 70, 10, 10, .5}};
    cr_coco_box candidate[4];
    cr_coco_metrics m;
    memcpy(candidate, reference, sizeof candidate);
    assert_int_equal(cr_coco_agreement(reference, 4, candidate, 4, CR_AGREEMENT_CONF, &m, NULL),
                     CR_OK);
    assert_float_equal(m.ap, 1, CLOSE);
    assert_float_equal(m.ar100, 1, CLOSE);
    candidate[2].score = .9; /* now it comes first and is wrong: class 2 falls to 1/2 */
    assert_int_equal(cr_coco_agreement(reference, 4, candidate, 4, CR_AGREEMENT_CONF, &m, NULL),
                     CR_OK);
    assert_float_equal(m.ap, .75, CLOSE);
    assert_int_equal(cr_coco_agreement(reference, 4, candidate, 4, .2, &m, NULL), CR_OK);
    assert_float_equal(m.ap, 1, CLOSE);
    assert_int_equal(cr_coco_agreement(reference, 4, NULL, 0, .25, &m, NULL), CR_OK);
    assert_true(m.ap == 0);
    assert_int_equal(cr_coco_agreement(reference, 4, candidate, 4, .95, &m, NULL), CR_OK);
    assert_true(m.ap == -1);
    assert_int_equal(cr_coco_agreement(NULL, 0, NULL, 0, .25, &m, NULL), CR_OK);
    assert_true(m.ap == -1);
    assert_int_equal(cr_coco_agreement(NULL, 0, NULL, 0, NAN, &m, NULL), CR_ERR_ARGUMENT);
}

static void survives_no_memory(void **state)
{
    const cr_coco_box dets[] = {{1, 1, 0, 0, 10, 10, .5}, {2, 1, 0, 0, 10, 10, .9}};
    cr_labels *l = make_labels(TWO);
    for (int kind = 0; kind < 2; kind++) {
        cr_status st = CR_ERR_MEMORY;
        long n = 0;
        for (; st != CR_OK; n++) {
            cr_coco_metrics m;
            cr_alloc_fail_after(n);
            st = kind ? cr_coco_agreement(dets, 2, dets, 2, 0, &m, NULL)
                      : cr_coco_evaluate(l, dets, 2, NULL, 0, &m, NULL);
            cr_alloc_fail_after(-1);
            assert_true(st == CR_OK || st == CR_ERR_MEMORY);
        }
        assert_true(n > 8);
    }
    cr_labels_free(&l);
}

/* ---- results files --------------------------------------------------------------------------- */

static void results_go_and_return(void **state)
{
    const cr_coco_box out[] = {
        {INT64_MAX, 1, 1. / 3, .1, 1e-300, 123456789012345680., .30000001192092896},
        {INT64_MIN, -1, -5, 0, 1e22, 5e-324, 1.7976931348623157e308}};
    cr_coco_box *in;
    size_t n;
    cr_error err;
    assert_int_equal(cr_coco_boxes_write(path, out, 2, &err), CR_OK);
    if (cr_coco_boxes_read(path, &in, &n, &err)) fail_msg("%s", err.message);
    assert_int_equal(n, 2);
    assert_memory_equal(in, out, sizeof out);
    cr_coco_boxes_free(&in);
    assert_null(in);
    assert_int_equal(cr_coco_boxes_write(path, NULL, 0, &err), CR_OK);
    assert_int_equal(cr_coco_boxes_read(path, &in, &n, &err), CR_OK);
    assert_int_equal(n, 0);
    cr_coco_boxes_free(&in);
    assert_int_equal(cr_coco_boxes_write("/nowhere/x.json", out, 2, &err), CR_ERR_IO);
}

static void refuses_bad_results(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "must be a JSON array"},
        {"{}", "must be a JSON array"},
        {"[", "not JSON at byte"},
        {"[]]", "more text after"},
        {"[1]", "detection 0 is not an object"},
        {"[{}]", "\"image_id\" is missing"},
        {"[{\"image_id\":\"a\",\"category_id\":1,\"bbox\":[1,2,3,4],\"score\":1}]",
         "\"image_id\" has a wrong value, need an integer"},
        {"[{\"image_id\":1,\"category_id\":1,\"bbox\":[1,2,3,4]}]", "\"score\" is missing"},
        {"[{\"image_id\":1,\"category_id\":1,\"bbox\":[1,2,3,null],\"score\":1}]", "four numbers"},
        {"[{\"image_id\":1,\"category_id\":1,\"bbox\":[1,2,3,4],\"score\":1},]",
         "not JSON at byte"},
        {"[{\"image_id\":1,\"category_id\":1,\"bbox\":[1,2,3,4],\"score\":Infinity}]",
         "not JSON at byte"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_coco_box *boxes;
        size_t n;
        cr_error err = {0};
        assert_int_equal(cr_file_write(path, bad[i].text, strlen(bad[i].text), NULL), CR_OK);
        assert_int_equal(cr_coco_boxes_read(path, &boxes, &n, &err), CR_ERR_FORMAT);
        if (!strstr(err.message, bad[i].message)) fail_msg("\"%s\"", err.message);
        assert_true(!boxes && !n);
    }
}

/* ---- tensors --------------------------------------------------------------------------------- */

static void signal_to_noise(void **state)
{
    const float a[] = {3, 4}, b[] = {3, 4.5f}, zero[] = {0, 0}, bad[] = {NAN, 1},
                inf[] = {INFINITY, 0};
    assert_float_equal(cr_sqnr_db(a, b, 2), 20, 1e-12); /* 25 / .25, one rounding of log10 */
    assert_true(cr_sqnr_db(a, a, 2) == INFINITY);
    assert_true(cr_sqnr_db(zero, zero, 2) == INFINITY);
    assert_true(cr_sqnr_db(NULL, NULL, 0) == INFINITY);
    assert_true(cr_sqnr_db(zero, a, 2) == -INFINITY);
    assert_true(isnan(cr_sqnr_db(a, bad, 2)) && isnan(cr_sqnr_db(bad, a, 2)));
    assert_true(isnan(cr_sqnr_db(inf, inf, 2)));
    const float big[] = {3e38f, -3e38f}, tiny[] = {1e-45f, 0};
    assert_float_equal(cr_sqnr_db(big, zero, 2), 0, 1e-12);
    assert_float_equal(cr_sqnr_db(tiny, zero, 2), 0, 1e-12);
}

/* One point of sigma 1 on an object of area 100 * .53: a distance d gives exp(-d^2 / (8 * 53)). */
static void poses_agree(void **state)
{
    (void)state;
    cr_coco_metrics m;
    cr_error err;
    const cr_coco_box box = {1, 0, 0, 0, 10, 10, .9}, other = {1, 0, 500, 500, 10, 10, .8};
    const float seen[3] = {5, 5, .9f}, hidden[3] = {5, 5, .4f};
    for (int t = 0; t < 10; t++) {
        const double oks = .525 + .05 * t; /* between two thresholds: t + 1 of ten are passed */
        const float near[3] = {5 + (float)sqrt(-log(oks) * 8 * 53), 5, 0};
        /* the boxes of the candidates have no part in it */
        assert_int_equal(
            cr_coco_agreement_keypoints(&box, seen, 1, &other, near, 1, 1, .25, &m, &err), CR_OK);
        assert_float_equal(m.ap, .1 * (t + 1), 1e-9);
    }
    assert_int_equal(
        cr_coco_agreement_keypoints(&box, hidden, 1, &other, seen, 1, 1, .25, &m, &err), CR_OK);
    assert_true(m.ap == -1); /* nothing that could be found */
    const float bad[3] = {NAN, 0, 1};
    assert_int_equal(cr_coco_agreement_keypoints(&box, bad, 1, &other, seen, 1, 1, .25, &m, &err),
                     CR_ERR_ARGUMENT);
    assert_int_equal(cr_coco_agreement_keypoints(&box, seen, 1, &other, bad, 1, 1, .25, &m, &err),
                     CR_ERR_ARGUMENT);
    assert_int_equal(cr_coco_agreement_keypoints(&box, seen, 1, &other, seen, 1, 0, .25, &m, &err),
                     CR_ERR_ARGUMENT);
}

static void cosine_of_vectors(void **state)
{
    const float a[] = {1, 0}, b[] = {1, 1}, c[] = {0, 2}, minus[] = {-1, 0}, zero[] = {0, 0};
    const float big[] = {3e38f, 0}, bad[] = {NAN, 1};
    assert_float_equal(cr_cosine(a, b, 2), sqrt(.5), 1e-15);
    assert_true(cr_cosine(a, c, 2) == 0 && cr_cosine(a, big, 2) == 1 &&
                cr_cosine(a, minus, 2) == -1);
    assert_true(cr_cosine(zero, zero, 2) == 1 && cr_cosine(zero, a, 2) == 0);
    assert_true(cr_cosine(a, zero, 2) == 0 && cr_cosine(NULL, NULL, 0) == 1);
    assert_true(isnan(cr_cosine(a, bad, 2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_perfect_detection),   cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(a_box_on_a_threshold),  cmocka_unit_test(precision_is_interpolated),
        cmocka_unit_test(ties_keep_their_order), cmocka_unit_test(crowds_are_neutral),
        cmocka_unit_test(areas_have_ranges),     cmocka_unit_test(areas_ignore_others),
        cmocka_unit_test(only_the_best_count),   cmocka_unit_test(corners_of_the_original),
        cmocka_unit_test(thresholds_are_exact),  cmocka_unit_test(images_can_be_chosen),
        cmocka_unit_test(refuses_bad_boxes),     cmocka_unit_test(models_agree),
        cmocka_unit_test(survives_no_memory),    cmocka_unit_test(results_go_and_return),
        cmocka_unit_test(refuses_bad_results),   cmocka_unit_test(signal_to_noise),
        cmocka_unit_test(cosine_of_vectors),     cmocka_unit_test(poses_agree),
    };
    return cmocka_run_group_tests(tests, make_file, drop_file);
}
