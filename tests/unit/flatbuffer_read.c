/* Tables, vectors and strings out of bytes written by hand, at every alignment, cut at every place
 * and with every byte changed: what is read is right or refused, and never outside the bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tflite/flatbuffer_read.h"

/* Root table at 32 with fields: 0 i32, 1 absent, 2 string, 3 [f32], 4 [table], 5 u8, 6 table. */
enum { SIZE = 128 };

static void put(uint8_t *b, size_t at, size_t width, uint64_t v)
{
    for (size_t i = 0; i < width; i++) b[at + i] = (uint8_t)(v >> (8 * i));
}

static void make(uint8_t *b)
{
    memset(b, 0, SIZE);
    put(b, 0, 4, 32);
    memcpy(b + 4, "TEST", 4);
    put(b, 8, 2, 18); /* vtable at 8: 4 + 7 fields of 2 bytes */
    put(b, 10, 2, 28);
    static const uint16_t fields[7] = {4, 0, 8, 12, 16, 20, 24};
    for (size_t i = 0; i < 7; i++) put(b, 12 + 2 * i, 2, fields[i]);
    put(b, 32, 4, 32 - 8);
    put(b, 36, 4, (uint32_t)-5);
    put(b, 40, 4, 64 - 40);
    put(b, 44, 4, 72 - 44);
    put(b, 48, 4, 84 - 48);
    put(b, 52, 1, 200);
    put(b, 56, 4, 96 - 56);
    put(b, 64, 4, 3);
    memcpy(b + 68, "abc", 3);
    put(b, 72, 4, 2);
    put(b, 76, 4, 0x3f800000); /* 1 */
    put(b, 80, 4, 0xc0000000); /* -2 */
    put(b, 84, 4, 1);
    put(b, 88, 4, 96 - 88);
    put(b, 96, 4, (uint32_t)(96 - 104)); /* a table in front of its vtable at 104 */
    put(b, 104, 2, 6);
    put(b, 106, 2, 6);
    put(b, 108, 2, 4);
    put(b, 100, 2, 0x80ff); /* its i8: -1 */
}

typedef struct seen {
    int64_t sum;
    bool ok;
} seen;

static seen walk(const uint8_t *bytes, size_t size)
{
    cr_flat f;
    cr_flat_table root;
    cr_error err;
    size_t length;
    seen s = {0};
    if (!cr_flat_open(&f, bytes, size, "TEST", &root)) return s;
    s.sum += cr_flat_i32(&root, 0, 9) + cr_flat_i32(&root, 1, 1000) + cr_flat_u8(&root, 5, 0);
    const char *text = cr_flat_text(&root, 2, &length);
    for (size_t i = 0; i < length; i++) s.sum += text[i];
    const cr_flat_vector floats = cr_flat_items(&root, 3, 4), tables = cr_flat_items(&root, 4, 4);
    for (size_t i = 0; i < floats.count; i++) s.sum += cr_flat_item_f32(&floats, i) == 1.f ? 7 : 0;
    for (size_t i = 0; i < tables.count; i++) {
        const cr_flat_table t = cr_flat_item_table(&tables, i);
        s.sum += cr_flat_i8(&t, 0, 50);
    }
    const cr_flat_table child = cr_flat_child(&root, 6);
    s.sum += cr_flat_i8(&child, 0, 50) + cr_flat_i8(&child, 1, 3);
    s.ok = cr_flat_check(&f, &err) == CR_OK;
    if (!s.ok && (!err.message[0] || strchr(err.message, '\n'))) fail_msg("no message");
    return s;
}

static void reads_everything(void **state)
{
    uint8_t b[SIZE + 8];
    for (size_t shift = 0; shift < 8; shift++) { /* no alignment is assumed */
        uint8_t made[SIZE];
        make(made);
        memcpy(b + shift, made, SIZE);
        const seen s = walk(b + shift, SIZE);
        assert_true(s.ok);
        assert_int_equal(s.sum, -5 + 1000 + 200 + 'a' + 'b' + 'c' + 7 - 1 - 1 + 3);
    }
}

static void details(void **state)
{
    uint8_t b[SIZE];
    cr_flat f;
    cr_flat_table root;
    make(b);
    assert_true(cr_flat_open(&f, b, SIZE, "TEST", &root));
    assert_false(cr_flat_open(&f, b, SIZE, "TFL3", &root));
    assert_true(cr_flat_open(&f, b, SIZE, "TEST", &root));
    assert_true(cr_flat_has(&root, 0));
    assert_false(cr_flat_has(&root, 1));
    assert_false(cr_flat_has(&root, 700));
    const cr_flat_vector v = cr_flat_items(&root, 3, 4), none = cr_flat_items(&root, 1, 4);
    assert_int_equal(v.count, 2);
    assert_true(cr_flat_item_f32(&v, 1) == -2.f && cr_flat_item_f32(&v, 2) == 0.f);
    assert_int_equal(cr_flat_item_i64(&v, 0), 0); /* another width */
    assert_int_equal(none.count, 0);
    const cr_flat_table absent = cr_flat_child(&root, 1);
    assert_null(absent.file);
    assert_int_equal(cr_flat_i32(&absent, 0, 11), 11);
    assert_null(f.wrong);
    const cr_flat_vector too_wide = cr_flat_items(&root, 3, 64); /* 2 x 64 bytes are not there */
    assert_int_equal(too_wide.count, 0);
    assert_non_null(f.wrong);
}

static uint8_t *exact(const uint8_t *b, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1); /* so that a sanitizer sees reads past the end */
    memcpy(copy, b, n);
    return copy;
}

static void cut_anywhere(void **state)
{
    uint8_t b[SIZE];
    make(b);
    for (size_t n = 0; n < SIZE; n++) {
        uint8_t *copy = exact(b, n);
        const seen s = walk(copy, n);
        if (n < 110) assert_false(s.ok && s.sum == walk(b, SIZE).sum);
        free(copy);
    }
}

static void any_byte_changed(void **state)
{
    static const uint8_t values[] = {0, 1, 2, 3, 5, 0x7f, 0x80, 0xfe, 0xff};
    uint8_t b[SIZE];
    for (size_t at = 0; at < SIZE; at++)
        for (size_t k = 0; k < sizeof values; k++) {
            make(b);
            b[at] = values[k];
            uint8_t *copy = exact(b, SIZE);
            walk(copy, SIZE);
            free(copy);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_everything),
                                       cmocka_unit_test(details), cmocka_unit_test(cut_anywhere),
                                       cmocka_unit_test(any_byte_changed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
