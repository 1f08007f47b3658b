/* The builder's bytes, as the reader sees them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tflite/flatbuffer_read.h"
#include "tflite/flatbuffer_write.h"

static const unsigned char *finish(cr_fb *b, cr_fb_ref root, size_t *size, cr_flat *file,
                                   cr_flat_table *top)
{
    const unsigned char *bytes;
    cr_error err;
    assert_int_equal(cr_fb_finish(b, root, "TFL3", &bytes, size, &err), CR_OK);
    assert_true(cr_flat_open(file, bytes, *size, "TFL3", top));
    return bytes;
}

static void numbers_strings_and_vectors(void **state)
{
    cr_fb b = {0};
    cr_flat file;
    cr_flat_table top;
    size_t size, length;
    const int64_t wide[] = {-1, INT64_MIN, 7};
    const cr_fb_ref name = cr_fb_string(&b, "abc"), list = cr_fb_vector(&b, wide, 3, 8, 16);
    cr_fb_table(&b);
    cr_fb_put_i8(&b, 0, -3, 0);
    cr_fb_put_ref(&b, 1, name);
    cr_fb_put_i32(&b, 2, 9, 9); /* its default: not stored */
    cr_fb_put_f32(&b, 4, -.5f);
    cr_fb_put_ref(&b, 5, list);
    cr_fb_put_ref(&b, 6, 0);
    const cr_fb_ref root = cr_fb_end(&b);
    const unsigned char *bytes = finish(&b, root, &size, &file, &top);
    assert_int_equal(cr_flat_i8(&top, 0, 0), -3);
    assert_memory_equal(cr_flat_text(&top, 1, &length), "abc", 4);
    assert_int_equal(length, 3);
    assert_false(cr_flat_has(&top, 2));
    assert_int_equal(cr_flat_i32(&top, 2, 9), 9);
    assert_true(cr_flat_f32(&top, 4, 0) == -.5f);
    assert_false(cr_flat_has(&top, 6));
    const cr_flat_vector v = cr_flat_items(&top, 5, 8);
    assert_int_equal(v.count, 3);
    for (size_t i = 0; i < 3; i++) assert_int_equal(cr_flat_item_i64(&v, i), wide[i]);
    assert_int_equal(v.at % 16, 0);
    assert_int_equal(size % 16, 0);
    assert_memory_equal(bytes + 4, "TFL3", 4);
    assert_int_equal(cr_flat_check(&file, NULL), CR_OK);
    cr_fb_free(&b);
    (void)state;
}

/* Equal tables share a vtable, so a thousand of them take 8 bytes each and one reference. */
static void vtables_are_shared(void **state)
{
    enum { MANY = 1000 };
    cr_fb b = {0};
    cr_flat file;
    cr_flat_table top;
    static cr_fb_ref refs[MANY];
    size_t size;
    for (int i = 0; i < MANY; i++) {
        cr_fb_table(&b);
        cr_fb_put_i32(&b, 3, i + 1, 0);
        refs[i] = cr_fb_end(&b);
    }
    const cr_fb_ref list = cr_fb_ref_vector(&b, refs, MANY);
    cr_fb_table(&b);
    cr_fb_put_ref(&b, 0, list);
    const cr_fb_ref root = cr_fb_end(&b);
    finish(&b, root, &size, &file, &top);
    const cr_flat_vector v = cr_flat_items(&top, 0, 4);
    assert_int_equal(v.count, MANY);
    for (size_t i = 0; i < MANY; i++) {
        const cr_flat_table t = cr_flat_item_table(&v, i);
        assert_int_equal(cr_flat_i32(&t, 3, 0), i + 1);
    }
    assert_in_range(size, MANY * 12, MANY * 12 + 64);
    assert_int_equal(cr_flat_check(&file, NULL), CR_OK);
    cr_fb_free(&b);
    (void)state;
}

static void failures_are_told_at_the_end(void **state)
{
    for (long n = 0; n < 3; n++) {
        cr_fb b = {0};
        const unsigned char *bytes;
        size_t size;
        cr_error err;
        cr_alloc_fail_after(n);
        const cr_fb_ref s = cr_fb_string(&b, "name");
        cr_fb_table(&b);
        cr_fb_put_ref(&b, 0, s);
        const cr_status st = cr_fb_finish(&b, cr_fb_end(&b), "TFL3", &bytes, &size, &err);
        cr_alloc_fail_after(-1);
        assert_int_equal(st, n < 2 ? CR_ERR_MEMORY : CR_OK); /* the buffer, the list of vtables */
        cr_fb_free(&b);
    }
    cr_fb b = {0};
    const unsigned char *bytes;
    size_t size;
    cr_error err;
    cr_fb_vector(&b, "", SIZE_MAX / 2, 4, 4);
    assert_int_not_equal(cr_fb_finish(&b, 0, "TFL3", &bytes, &size, &err), CR_OK);
    cr_fb_free(&b);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_strings_and_vectors),
                                       cmocka_unit_test(vtables_are_shared),
                                       cmocka_unit_test(failures_are_told_at_the_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
