/* Class names from text and YAML, and what is neither. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "crayon/class_names.h"

static cr_status read_from(const char *ending, const char *text, size_t size, cr_class_names *out,
                           cr_error *err)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/crayon-names-%d%s", (int)getpid(), ending);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    fclose(f);
    const cr_status st = cr_class_names_read(path, out, err);
    unlink(path);
    return st;
}

/* The names joined by commas, or "!" and the end of the message. */
static void gives(const char *ending, const char *text, const char *expected)
{
    cr_class_names n;
    cr_error err = {0};
    char got[256] = "";
    if (read_from(ending, text, strlen(text), &n, &err) != CR_OK) {
        assert_int_equal(n.count, 0);
        if (!strstr(err.message, expected + 1)) fail_msg("%s: %s", text, err.message);
        return;
    }
    for (size_t i = 0; i < n.count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? "," : "", n.items[i]);
    assert_string_equal(got, expected);
    cr_class_names_free(&n);
    cr_class_names_free(&n);
}

static void text_files(void **state)
{
    gives(".txt", "cat\ndog\r\n\nstop sign", "cat,dog,stop sign");
    gives(".txt", "", "!not a text file");
    gives(".txt", "\n\n", "!has no class names");
}

static void yaml_files(void **state)
{
    gives(".yaml", "nc: 2\nnames: [cat, 'stop sign']\n", "cat,stop sign");
    gives(".yml", "names:\n  0: cat\n  2: bus\n  1: dog\n", "cat,dog,bus");
    gives(".yaml", "names:\n  2: bus\n", ",,bus");
    gives(".yaml", "train: x\n", "!\"names\" is missing");
    gives(".yaml", "names: cat\n", "!\"names\" is missing");
    gives(".yaml", "names: []\n", "!has no class names");
    gives(".yaml", "names: [[a], b]\n", "!class 0 is not a text");
    gives(".yaml", "names: {x: cat}\n", "!no class number");
    gives(".yaml", "names: {-1: cat}\n", "!no class number");
    gives(".yaml", "names: {65536: cat}\n", "!no class number");
    gives(".yaml", "names: {99999999999999999999: cat}\n", "!no class number");
    gives(".yaml", "names: {0: [cat]}\n", "!class 0 is not a text");
    gives(".yaml", "names: [cat\nx: {", "!line");
}

static void no_text(void **state)
{
    cr_class_names n;
    cr_error err;
    assert_int_equal(read_from(".txt", "a\0b", 3, &n, &err), CR_ERR_FORMAT);
    assert_int_equal(cr_class_names_read("/nowhere/labels.txt", &n, &err), CR_ERR_IO);
}

/* Any byte of a good file set to any value: names or one line, nothing lost or read past its end. */
static void damaged_yaml(void **state)
{
    const char good[] = "nc: 2\nnames:\n  0: cat\n  1: 'stop \"sign'\n";
    for (size_t at = 0; at < sizeof good - 1; at++)
        for (int byte = 0; byte < 256; byte += 3) {
            char text[sizeof good];
            cr_class_names n;
            cr_error err = {0};
            memcpy(text, good, sizeof good);
            text[at] = (char)byte;
            const cr_status st = read_from(".yaml", text, sizeof good - 1, &n, &err);
            assert_true(st == CR_OK ? n.count > 0 : n.count == 0 && err.message[0]);
            cr_class_names_free(&n);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_files),
        cmocka_unit_test(yaml_files),
        cmocka_unit_test(no_text),
        cmocka_unit_test(damaged_yaml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
