/* The loops that measure peaks do the work that they are counted for: the total of their sums is
 * the number of multiply-adds, of any number of rounds; and reading reads every word. */
#include "harness.h"

#include "kernels/peak.h"

#define CR_PEAK_ONLY
#define CR_KERNEL(family, level, symbol) extern const cr_##family symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL

static const struct {
    cr_cpu_level level;
    const cr_peak_kernel *kernel;
} kernels[] = {
    {CR_CPU_C, &cr_peak_c},
#define CR_KERNEL(family, level, symbol) {level, &symbol},
#include "kernels/kernels.inc"
#undef CR_KERNEL
};

/* Every lane of every chain has summed `rounds` times the same number of ones. */
static void check_loop(double (*loop)(int64_t))
{
    if (!loop) return;
    const double once = loop(1);
    assert_true(once >= CR_PEAK_SUMS && once <= 8192);
    assert_true(loop(0) == 0);
    assert_true(loop(1000) == 1000 * once);
    assert_true(loop((1 << 20) - 1) == ((1 << 20) - 1) * once);
}

static void check_read(uint64_t (*read)(const void *, size_t))
{
    enum { BYTES = 512 * 7 };
    if (!read) return;
    uint64_t want = 0;
    guarded g = guarded_alloc(BYTES, true);
    for (int i = 0; i < BYTES / 8; i++) {
        const uint64_t word = (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;
        memcpy(g.data + i * 8, &word, 8);
        want += word;
    }
    assert_true(read(g.data, BYTES) == want);
    guarded_free(&g);
}

static void test_loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (!level_runs(kernels[i].level)) {
            print_message("SKIP level %s: not on this CPU\n", cr_cpu_level_key(kernels[i].level));
            continue;
        }
        check_loop(kernels[i].kernel->f32);
        check_loop(kernels[i].kernel->s8);
        check_loop(kernels[i].kernel->bf16);
        check_read(kernels[i].kernel->read);
    }
}

static void test_choice(void **state)
{
    (void)state;
    for (unsigned level = 0; level < CR_CPU_LEVELS; level++) {
        const cr_peak_kernel k = cr_peak_choose((2u << level) - 1);
        assert_non_null(k.f32);
        assert_non_null(k.s8);
        assert_non_null(k.read);
    }
    assert_true(cr_peak_choose(1).f32 == cr_peak_c.f32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loops), cmocka_unit_test(test_choice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
