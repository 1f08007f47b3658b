/* The part of cmocka that the kernel tests use, for targets where cmocka is not installed (arm64
 * under emulation): compile with -DCR_CHECK_SHIM. A failed check prints where and ends the program.
 */
#ifndef CR_TESTS_CHECK_H
#define CR_TESTS_CHECK_H

#if !defined(CR_CHECK_SHIM)
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#else

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define cmocka_unit_test(f)                                                                        \
    {                                                                                              \
#f, f                                                                                      \
    }
#define print_message(...) printf(__VA_ARGS__)
#define fail_msg(...)                                                                              \
    do {                                                                                           \
        printf(__VA_ARGS__);                                                                       \
        printf("\n%s:%d: failed\n", __FILE__, __LINE__);                                           \
        exit(1);                                                                                   \
    } while (0)
#define assert_true(x)                                                                             \
    do {                                                                                           \
        if (!(x)) fail_msg("%s", #x);                                                              \
    } while (0)
#define assert_int_equal(a, b)       assert_true((a) == (b))
#define assert_non_null(p)           assert_true((p) != NULL)
#define assert_null(p)               assert_true((p) == NULL)
#define assert_memory_equal(a, b, n) assert_true(!memcmp(a, b, n))
#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cr_run_tests(tests, sizeof(tests) / sizeof *(tests))

static inline int cr_run_tests(const struct CMUnitTest *tests, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        printf("[ RUN      ] %s\n", tests[i].name);
        fflush(stdout);
        tests[i].run(NULL);
        printf("[       OK ] %s\n", tests[i].name);
    }
    printf("[  PASSED  ] %zu test(s).\n", n);
    return 0;
}

#endif
#endif
