/* Reports: hostile text, layouts without overlap, curves whose mean is AP, files whole or not at all. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/runs.h"
#include "crayon/image.h"
#include "crayon/report.h"
#include "report/graph_layout.h"
#include "report/report_page.h"

static char *escaped(const char *text, size_t most)
{
    char *bytes = NULL;
    size_t size;
    FILE *f = open_memstream(&bytes, &size);
    assert_non_null(f);
    most ? cr_report_name(f, text, most) : cr_report_text(f, text);
    fclose(f);
    return bytes;
}

#define BAD "\xef\xbf\xbd"

static void text_of_any_origin_is_text(void **state)
{
    static const char *const pairs[][2] = {
        {"plain /name_0.1", "plain /name_0.1"},
        {"<script>\"&'", "&lt;script&gt;&quot;&amp;&#39;"},
        {"a\x01\x7f\n", "a" BAD BAD BAD},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x96\x8d", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x96\x8d"},
        {"\xc3", BAD},
        {"\xc0\xaf", BAD BAD},              /* overlong */
        {"\xed\xa0\x80", BAD BAD BAD},      /* half of a surrogate pair */
        {"\xf4\x90\x80\x80", BAD BAD BAD BAD},
        {"\xe2\x80\xae" "x", BAD BAD BAD "x"}, /* right to left */
        {"", ""}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char *text = escaped(pairs[i][0], 0);
        assert_string_equal(text, pairs[i][1]);
        free(text);
    }
}

static void long_names_keep_their_ends(void **state)
{
    char *text = escaped("abcdefghijklmnopqrstuvwxyz", 9);
    assert_string_equal(text, "abc\xe2\x80\xa6uvwxyz");
    free(text);
    text = escaped("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 9);
    assert_null(strstr(text, BAD));
    free(text);
}

static bool overlap(const cr_layout *l, int nodes)
{
    for (int i = 0; i < nodes; i++)
        for (int k = 0; k < i; k++) {
            const double apart = l->x[i] > l->x[k] ? l->x[i] - l->x[k] : l->x[k] - l->x[i];
            /* a thousandth for the sums of widths in doubles */
            if (l->rank[i] == l->rank[k] && apart < CR_LAYOUT_NODE - .001) return true;
        }
    return false;
}

/* Edges point down, nodes of a layer lie apart, everything is inside. */
static void random_graphs_are_laid_out(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    for (int round = 0; round < 60; round++) {
        const int nodes = 1 + (int)cr_rng_range(&rng, 0, 60);
        cr_layout_edge edges[200];
        size_t n = 0, ways = 0;
        cr_layout l;
        for (int to = 1; to < nodes; to++)
            for (int k = (int)cr_rng_range(&rng, 0, 3.5); k-- > 0 && n < 200;)
                edges[n++] = (cr_layout_edge){.from = (int)cr_rng_range(&rng, 0, to - .001), .to = to};
        assert_int_equal(cr_layout_make(nodes, edges, n, &l, NULL), CR_OK);
        for (size_t e = 0; e < n; e++) {
            assert_int_equal(edges[e].ways, l.rank[edges[e].to] - l.rank[edges[e].from] - 1);
            assert_int_equal(edges[e].first, ways);
            ways += (size_t)edges[e].ways;
        }
        for (int i = 0; i < nodes; i++) {
            assert_true(l.rank[i] >= 0 && l.rank[i] < l.ranks);
            assert_true(l.x[i] >= CR_LAYOUT_NODE / 2. - .001 && l.x[i] <= l.width - CR_LAYOUT_NODE / 2. + .001);
        }
        for (size_t w = 0; w < ways; w++) assert_true(l.way[w] >= 0 && l.way[w] <= l.width);
        assert_false(overlap(&l, nodes));
        cr_layout_free(&l);
    }
}

static void a_chain_is_straight(void **state)
{
    cr_layout_edge edges[9];
    cr_layout l;
    for (int i = 0; i < 9; i++) edges[i] = (cr_layout_edge){.from = i, .to = i + 1};
    assert_int_equal(cr_layout_make(10, edges, 9, &l, NULL), CR_OK);
    assert_int_equal(l.ranks, 10);
    for (int i = 1; i < 10; i++) assert_true(l.x[i] == l.x[0]);
    cr_layout_free(&l);
}

static void the_largest_graph_is_refused(void **state)
{
    enum { NODES = 700 };
    cr_layout_edge *edges = calloc(NODES * NODES, sizeof *edges);
    cr_layout l;
    cr_error err;
    size_t n = 0;
    assert_non_null(edges);
    for (int to = 1; to < NODES; to++)
        for (int from = 0; from < to; from++) edges[n++] = (cr_layout_edge){.from = from, .to = to};
    assert_int_equal(cr_layout_make(NODES, edges, n, &l, &err), CR_ERR_LIMIT);
    cr_layout_free(&l);
    free(edges);
}

static void a_page_is_written_whole(void **state)
{
    cr_report_page *page = NULL;
    const char *folder = *state;
    char path[128];
    unsigned char *bytes;
    size_t size;
    const cr_report_card cards[] = {{"Size", "MB", 2, 1, 1, true, ""}, {"<x>", "", 0.0 / 1, 1, 1, false, "&"}};
    const cr_report_fact facts[] = {{"who", "</td><script>"}};
    snprintf(path, sizeof path, "%s/page.html", folder);
    assert_int_equal(cr_report_open("a </title> b", "crayon '<i>'", &page, NULL), CR_OK);
    cr_report_cards(page, cards, 2);
    cr_report_facts(page, "Facts", facts, 1);
    cr_report_times(page, NULL, 0, NULL);
    cr_report_layers(page, NULL, 0, NULL);
    assert_int_equal(cr_report_save(page, "/nowhere/at/all.html", NULL), CR_ERR_IO);
    assert_int_equal(cr_report_save(page, path, NULL), CR_OK);
    assert_int_equal(cr_file_read(path, 1 << 20, &bytes, &size, NULL), CR_OK);
    const char *text = (const char *)bytes;
    assert_memory_equal(text, "<!DOCTYPE html>", 15);
    assert_string_equal(text + size - 8, "</html>\n");
    assert_non_null(strstr(text, "&lt;/td&gt;&lt;script&gt;"));
    assert_non_null(strstr(text, "<title>a &lt;/title&gt; b</title>"));
    assert_non_null(strstr(text, "2.00&times; less"));
    assert_null(strstr(text, "id=\"time\""));
    cr_free(bytes);
    unlink(path);
    cr_report_close(&page);
    assert_null(page);
}

/* A page made by `fill`, as a text to be freed by cr_free. */
static char *page_of(const char *folder, cr_status (*fill)(cr_report_page *, const char *, cr_error *))
{
    cr_report_page *page = NULL;
    char path[128];
    unsigned char *bytes;
    size_t size;
    cr_error err;
    snprintf(path, sizeof path, "%s/page.html", folder);
    assert_int_equal(cr_report_open("t", "c", &page, NULL), CR_OK);
    if (fill(page, folder, &err)) fail_msg("%s", err.message);
    assert_int_equal(cr_report_save(page, path, NULL), CR_OK);
    cr_report_close(&page);
    assert_int_equal(cr_file_read(path, 1 << 22, &bytes, &size, NULL), CR_OK);
    unlink(path);
    return (char *)bytes;
}

static int times(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)); text++) n++;
    return n;
}

static void put_grey(const char *path, int width, int height)
{
    cr_image img;
    assert_int_equal(cr_image_create(width, height, &img, NULL), CR_OK);
    memset(img.rgb, 90, (size_t)width * (size_t)height * 3);
    assert_int_equal(cr_image_write(path, &img, NULL), CR_OK);
    cr_image_free(&img);
}

/* Of six pictures a<b> is right twice and taken for another once; 7 is no class. */
static cr_status fill_confusion(cr_report_page *page, const char *folder, cr_error *err)
{
    static const int left[] = {0, 0, 0, 1, 1, 1}, right[] = {0, 0, 1, 1, 7, -1};
    static const float sure[] = {.9f, .8f, .7f, .6f, .5f, .95f};
    static const char *const names[] = {"a<b>", "b", "nobody"};
    char path[128];
    char *paths[6];
    snprintf(path, sizeof path, "%s/p.png", folder);
    put_grey(path, 400, 3);
    for (int i = 0; i < 6; i++) paths[i] = path;
    const cr_report_answers a = {paths, 6, "labels", "found", left, right, NULL, sure, names, 3};
    const cr_status st = cr_report_confusion(page, &a, 2, err);
    unlink(path);
    return st;
}

static void classes_are_counted(void **state)
{
    char *text = page_of(*state, fill_confusion);
    assert_non_null(strstr(text, "same class on 3 of 6 pictures"));
    assert_null(strstr(text, "a<b>"));
    assert_null(strstr(text, "nobody"));
    assert_non_null(strstr(text, "<td>a&lt;b&gt;</td><td class=\"n\">3</td><td class=\"n\">0.667</td><td class=\"n\">1.000</td>"));
    assert_non_null(strstr(text, "<td>b</td><td class=\"n\">3</td><td class=\"n\">0.333</td><td class=\"n\">0.500</td>"));
    assert_non_null(strstr(text, "<td>b</td><td><i>another</i></td><td class=\"n\">2</td><td class=\"n\">3</td>"));
    assert_non_null(strstr(text, "cell same\" style=\"--v:47%\">2<")); /* two thirds of 70 */
    assert_int_equal(times(text, "<figure class=\"answer\">"), 2);
    assert_true(strstr(text, "<i>another</i> 0.95") < strstr(text, ": b 0.70")); /* the surest first */
    assert_int_equal(times(text, "width=\"320\" height=\"2\""), 2);
    cr_free(text);
}

/* Two lists of every kind of shape: the same on the first picture, another one on the second, where
 * the mask of the left side is empty. */
static cr_status fill_shapes(cr_report_page *page, const char *folder, cr_error *err)
{
    static const char *const names[] = {"x"};
    char first[128], second[128];
    snprintf(first, sizeof first, "%s/1.png", folder);
    snprintf(second, sizeof second, "%s/2.png", folder);
    put_grey(first, 1400, 40);
    put_grey(second, 5, 4);
    char *paths[] = {first, second};
    cr_coco_box left[] = {{2, 0, 1, 1, 2, 3, 1}, {1, 0, 100, 5, 1200, 30, 1}};
    cr_coco_box right[] = {{1, 0, 100, 5, 1200, 30, .9}, {2, 0, 0, 0, 3, 3, .5}, {2, 0, 0, 0, 3, 3, .1}};
    /* columns of 40: 100 off, 1200 of ten rows on, the rest off */
    char *half = NULL;
    cr_runs runs = {0};
    bool ok = cr_runs_add(&runs, false, 100 * 40);
    for (int i = 0; i < 1200; i++) ok = ok && cr_runs_add(&runs, true, 10) && cr_runs_add(&runs, false, 30);
    ok = ok && cr_runs_add(&runs, false, 100 * 40);
    half = cr_runs_to_text(&runs);
    cr_runs_free(&runs);
    assert_true(ok && half);
    cr_coco_mask a[] = {{4, 5, "d0"}, {40, 1400, half}};
    cr_coco_mask b[] = {{40, 1400, half}, {4, 5, "=310"}, {4, 5, "=310"}};
    double points[6] = {1, 1, 1, 2, 2, 1}, elsewhere[9] = {900, 30, 1, 2, 2, 1, 3, 3, 1};
    double corners[24] = {1, 1, 3, 1, 3, 4, 1, 4, 100, 5, 1300, 5, 1300, 35, 100, 35};
    double others[24] = {100, 5, 1300, 5, 1300, 35, 100, 35, 0, 0, 3, 0, 3, 3, 0, 3, 0, 0, 3, 0, 3, 3, 0, 3};
    const cr_coco_results l = {left, 2, a, points, 1, corners}, r = {right, 3, b, elsewhere, 1, others};
    cr_status st = CR_OK;
    for (cr_coco_metric m = CR_COCO_BOXES; m <= CR_COCO_ORIENTED && st == CR_OK; m++) {
        const cr_report_views views = {paths, NULL, 2, "float32", "int8", &l, &r, m, names, 1};
        st = cr_report_pictures(page, &views, 2, err);
    }
    free(half);
    unlink(first);
    unlink(second);
    return st;
}

static void shapes_are_drawn(void **state)
{
    char *text = page_of(*state, fill_shapes);
    /* boxes, masks and oriented boxes: the first picture is the same, the other one is shown */
    assert_int_equal(times(text, "on 1 they agree entirely"), 3);
    assert_int_equal(times(text, "<img width=\"5\" height=\"4\""), 8);
    assert_int_equal(times(text, "<img width=\"640\""), 2); /* a keypoint went elsewhere */
    assert_int_equal(times(text, "int8: 1</span>"), 5);       /* not what is below .25 */
    cr_free(text);
}

static int make_folder(void **state)
{
    static char folder[64];
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/report-XXXXXX", tmp ? tmp : "/tmp");
    *state = folder;
    return mkdtemp(folder) ? 0 : 1;
}

/* rmdir fails when anything was left behind. */
static int remove_folder(void **state)
{
    return rmdir(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_any_origin_is_text),   cmocka_unit_test(long_names_keep_their_ends),
        cmocka_unit_test(random_graphs_are_laid_out),   cmocka_unit_test(a_chain_is_straight),
        cmocka_unit_test(the_largest_graph_is_refused), cmocka_unit_test(a_page_is_written_whole),
        cmocka_unit_test(classes_are_counted),          cmocka_unit_test(shapes_are_drawn),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
