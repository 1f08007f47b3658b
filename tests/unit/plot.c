#define _XOPEN_SOURCE 700
/* Plots of calibration statistics: complete files, the same bytes each time, every kind of
 * histogram, and nothing written when something is wrong. */
#include <float.h>
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
#include "crayon/quantize.h"
#include "quant/stats.h"

enum { COUNT = 4000 };

/* fontconfig keeps a few hundred bytes for ever; a leak of ours would still be reported. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig";
}

static char folder[64], svg[96], png[96];

static void add(cr_stats *s, const char *name, const float *x, int64_t n)
{
    const cr_tensor t = {.name = name, .dtype = CR_DT_F32, .shape = {2, {1, n}}};
    const cr_view v = {&t, CR_DT_F32, (void *)(uintptr_t)x, 1, n, n, false, 0, 0, NULL, NULL};
    cr_stats_add(cr_stats_get(s, name, 0), &v);
}

static cr_stats *make_stats(const char *name, float scale)
{
    float x[COUNT];
    cr_rng rng;
    cr_rng_seed(&rng, 7);
    for (int i = 0; i < COUNT; i++) {
        const float u = (float)cr_rng_range(&rng, -1, 1);
        x[i] = scale * u * u * u;
    }
    cr_stats *s;
    assert_int_equal(cr_stats_create(&s, NULL), CR_OK);
    add(s, name, x, COUNT);
    s->pictures = 1;
    return s;
}

static size_t slurp(const char *path, unsigned char **bytes)
{
    size_t size;
    assert_int_equal(cr_file_read(path, 1 << 22, bytes, &size, NULL), CR_OK);
    return size;
}

static void assert_svg(const char *path)
{
    unsigned char *bytes;
    const size_t size = slurp(path, &bytes);
    assert_true(size > 2000);
    assert_non_null(strstr((const char *)bytes, "<svg "));
    assert_non_null(strstr((const char *)bytes + size - 16, "</svg>"));
    cr_free(bytes);
}

static void both_kinds_are_complete_and_repeat(void **state)
{
    cr_stats *s = make_stats("t", 3);
    unsigned char *first, *second;
    assert_int_equal(cr_stats_plot(s, "t", svg, NULL), CR_OK);
    assert_svg(svg);
    assert_int_equal(cr_stats_plot(s, "t", png, NULL), CR_OK);
    const size_t n = slurp(png, &first);
    assert_memory_equal(first, "\x89PNG\r\n\x1a\n", 8);
    assert_memory_equal(first + 16, "\0\0\x07\x80\0\0\x04\xd8", 8); /* 1920 x 1240 */
    assert_memory_equal(first + n - 8, "IEND", 4);
    assert_int_equal(cr_stats_plot(s, "t", png, NULL), CR_OK);
    assert_int_equal(slurp(png, &second), n);
    assert_memory_equal(first, second, n);
    cr_free(first);
    cr_free(second);
    cr_stats_free(&s);
}

static void other_values_give_another_picture(void **state)
{
    cr_stats *a = make_stats("t", 3), *b = make_stats("t", 3);
    const float outlier = 9;
    unsigned char *x, *y;
    add(b, "t", &outlier, 1);
    assert_int_equal(cr_stats_plot(a, "t", svg, NULL), CR_OK);
    const size_t n = slurp(svg, &x);
    assert_int_equal(cr_stats_plot(b, "t", svg, NULL), CR_OK);
    const size_t m = slurp(svg, &y);
    assert_true(n != m || memcmp(x, y, n));
    cr_free(x);
    cr_free(y);
    cr_stats_free(&a);
    cr_stats_free(&b);
}

static void odd_histograms_are_drawn(void **state)
{
    static const float values[][2] = {
        {0, 0},      {5, 5},           {-5, -5},       {-FLT_MAX, FLT_MAX},
        {0, 1e-45f}, {-1e-38f, 1e38f}, {1, 1.0000001f}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        cr_stats *s;
        assert_int_equal(cr_stats_create(&s, NULL), CR_OK);
        add(s, "bad utf-8 \xff\xc3 and \x01", values[i], 2);
        assert_int_equal(cr_stats_plot(s, s->tensors[0].name, svg, NULL), CR_OK);
        assert_svg(svg);
        cr_stats_free(&s);
    }
}

static void an_unknown_tensor_is_answered_with_near_names(void **state)
{
    static const char *const names[] = {"/head/box/Conv_output_0", "images",
                                        "/stem/act/Mul_output_0", "/neck/Concat_output_0"};
    cr_error err;
    cr_stats *s;
    assert_int_equal(cr_stats_create(&s, NULL), CR_OK);
    assert_int_equal(cr_stats_plot(s, "x", svg, &err), CR_ERR_ARGUMENT);
    const float x = 1;
    for (size_t i = 0; i < 4; i++) add(s, names[i], &x, 1);
    assert_int_equal(cr_stats_plot(s, "STEM/act", svg, &err), CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "'STEM/act'"));
    assert_non_null(strstr(err.message, "near names: /stem/act/Mul_output_0, "));
    assert_null(strchr(err.message, '\n'));
    char longest[4000];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(cr_stats_plot(s, longest, svg, &err), CR_ERR_ARGUMENT);
    cr_stats_free(&s);
}

static void a_failure_leaves_the_file_that_was_there(void **state)
{
    cr_error err;
    cr_stats *s = make_stats("broken", 1);
    const float nan = -(0.f / 0.f);
    unsigned char *bytes;
    assert_int_equal(cr_file_write(svg, "before", 6, NULL), CR_OK);
    assert_int_equal(cr_stats_plot(s, "other", svg, &err), CR_ERR_ARGUMENT);
    assert_int_equal(cr_stats_plot(s, "broken", "plot.pdf", &err), CR_ERR_ARGUMENT);
    assert_int_equal(cr_stats_plot(s, "broken", "/nowhere/at/all.svg", &err), CR_ERR_IO);
    assert_int_equal(cr_stats_plot(s, "broken", "/dev/full/x.png", &err), CR_ERR_IO);
    add(s, "broken", &nan, 1);
    assert_int_equal(cr_stats_plot(s, "broken", svg, &err), CR_ERR_FORMAT);
    assert_non_null(strstr(err.message, "'broken'"));
    assert_int_equal(slurp(svg, &bytes), 6);
    assert_memory_equal(bytes, "before", 6);
    cr_free(bytes);
    cr_stats_free(&s);
}

static int make_folder(void **state)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/plot-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) return 1;
    snprintf(svg, sizeof svg, "%s/a.svg", folder);
    snprintf(png, sizeof png, "%s/a.png", folder);
    return 0;
}

/* rmdir fails when anything but the two files was left behind. */
static int remove_folder(void **state)
{
    unlink(svg);
    unlink(png);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_kinds_are_complete_and_repeat),
        cmocka_unit_test(other_values_give_another_picture),
        cmocka_unit_test(odd_histograms_are_drawn),
        cmocka_unit_test(an_unknown_tensor_is_answered_with_near_names),
        cmocka_unit_test(a_failure_leaves_the_file_that_was_there),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
