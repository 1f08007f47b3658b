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
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
