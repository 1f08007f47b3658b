/* Transposition of words and bytes: every small size and some around the blocks, with rows wider
 * than the matrix; guard pages on both sides, and what lies between rows is left alone. */
#include "harness.h"

#include "kernels/transpose.h"

static void check(int64_t rows, int64_t cols, size_t size, bool at_end)
{
    const int64_t from_ld = cols + rows % 3, to_ld = rows + cols % 3;
    const size_t n_from = (size_t)((rows - 1) * from_ld + cols);
    const size_t n_to = (size_t)((cols - 1) * to_ld + rows);
    guarded from = guarded_alloc(n_from * size, at_end), to = guarded_alloc(n_to * size, at_end);
    for (size_t i = 0; i < n_from * size; i++) from.data[i] = (unsigned char)(i * 167 + i / 251);
    if (size == 4)
        cr_transpose_words((const uint32_t *)(const void *)from.data, from_ld,
                           (uint32_t *)(void *)to.data, to_ld, rows, cols);
    else
        cr_transpose_bytes(from.data, from_ld, to.data, to_ld, rows, cols);
    const unsigned char untouched[4] = {0xA5, 0xA5, 0xA5, 0xA5};
    for (size_t i = 0; i < n_to; i++) {
        const int64_t row = (int64_t)i % to_ld, col = (int64_t)i / to_ld;
        const unsigned char *want =
            row < rows ? from.data + (size_t)(row * from_ld + col) * size : untouched;
        assert_memory_equal(to.data + i * size, want, size);
    }
    guarded_free(&from);
    guarded_free(&to);
}

static void test_sizes(void **state)
{
    for (int64_t rows = 1; rows <= 18; rows++)
        for (int64_t cols = 1; cols <= 18; cols++) {
            check(rows, cols, 4, (rows + cols) & 1);
            check(rows, cols, 1, (rows + cols) & 1);
        }
    static const int64_t wide[] = {31, 32, 33, 67};
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            check(wide[i], wide[j], 4, true);
            check(wide[i], wide[j], 1, false);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
