/* Names that a message offers in place of one that is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/nearest.h"

static const char *const names[] = {
    "/model.0/conv/Conv",      "/model.22/Concat_3", "/model.22/cv2.0/Conv", "/model.22/cv3.1/Conv",
    "/model.22/dfl/conv/Conv", "/model.22/Split",    "/model.22/Split",      ""};

static const char *nearest(const char *query)
{
    static char text[320];
    cr_nearest n = cr_nearest_to(query);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) cr_nearest_see(&n, names[i]);
    return cr_nearest_text(&n, text, sizeof text);
}

static void assert_first(const char *query, const char *expected)
{
    const char *list = nearest(query);
    if (strncmp(list, expected, strlen(expected))) fail_msg("'%s' gives '%s'", query, list);
}

static void part_of_a_name_finds_it(void **state)
{
    assert_first("dfl", "/model.22/dfl/conv/Conv");
    assert_first("/Model.22/SPLIT", "/model.22/Split");
    assert_first("/model.22/cv3.2/Conv", "/model.22/cv3.1/Conv");
}

static void stars_count_for_nothing(void **state)
{
    assert_first("*cv3.7*", "/model.22/cv3.1/Conv");
    assert_first("*dfl/konv*", "/model.22/dfl/conv/Conv");
}

static void names_that_were_fused_are_both_found(void **state)
{
    assert_first("/model.22/Concat_3/model.22/Split", "/model.22/Concat_3, /model.22/Split");
}

static void few_names_and_long_ones(void **state)
{
    char text[320], query[400];
    memset(query, 'a', sizeof query);
    query[sizeof query - 1] = 0;
    cr_nearest n = cr_nearest_to(query);
    assert_string_equal(cr_nearest_text(&n, text, sizeof text), "");
    cr_nearest_see(&n, "one");
    cr_nearest_see(&n, "one");
    cr_nearest_see(&n, query + 10);
    assert_int_equal(strlen(cr_nearest_text(&n, text, sizeof text)), 96 + 2 + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(part_of_a_name_finds_it),
                                       cmocka_unit_test(stars_count_for_nothing),
                                       cmocka_unit_test(names_that_were_fused_are_both_found),
                                       cmocka_unit_test(few_names_and_long_ones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
