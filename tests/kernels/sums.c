/* Sums in double against plain loops, bit for bit, between guard pages. */
#include "harness.h"

#include "kernels/sums.h"

static double plain_sum(const float *x, int64_t step, int64_t n, double mean, bool squares)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = squares ? (double)x[i * step] - mean : (double)x[i * step];
        sum += squares ? d * d : d;
    }
    return sum;
}

static void check_size(int64_t rows, int64_t n, bool at_end)
{
    cr_rng rng;
    cr_rng_seed(&rng, (uint64_t)(rows * 100 + n));
    const int64_t ld = n + rows % 2;
    const size_t count = (size_t)((rows - 1) * ld + n);
    guarded g = guarded_alloc(count * sizeof(float), at_end);
    float *x = (float *)(void *)g.data;
    fill_f32(x, count, UNIFORM, &rng);
    double sum[CR_SUM_ROWS], mean[CR_SUM_ROWS], columns[64] = {0}, squares[64] = {0}, centre[64];
    cr_sum_rows(x, ld, (int)rows, n, mean);
    cr_variance_rows(x, ld, (int)rows, n, mean, sum);
    for (int64_t i = 0; i < n; i++) centre[i] = 0.1 * (double)i;
    for (int64_t r = 0; r < rows; r++) {
        assert_true(mean[r] == plain_sum(x + r * ld, 1, n, 0, false));
        assert_true(sum[r] == plain_sum(x + r * ld, 1, n, mean[r], true));
        cr_sum_columns(columns, x + r * ld, n);
        cr_variance_columns(squares, x + r * ld, centre, n);
    }
    for (int64_t i = 0; i < n; i++) {
        assert_true(columns[i] == plain_sum(x + i, ld, rows, 0, false));
        assert_true(squares[i] == plain_sum(x + i, ld, rows, centre[i], true));
    }
    guarded_free(&g);
}

static void test_sizes(void **state)
{
    for (int64_t rows = 1; rows <= CR_SUM_ROWS; rows++)
        for (int64_t n = 1; n <= 37; n++) check_size(rows, n, (rows + n) & 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
