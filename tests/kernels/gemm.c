/* Products of two computed matrices against plain loops, bit for bit: the float chain in the order
 * of k (without fused multiply-add at level c), the sums of codes exactly. Every combination of
 * strides that the runtime asks for, operands and results against guard pages. */
#include "harness.h"

#include "base/threads.h"
#include "kernels/gemm.h"

enum { MOST_BATCH = 4 };

typedef struct problem {
    cr_gemm_shape s;
    int64_t a_at[MOST_BATCH], b_at[MOST_BATCH], c_at[MOST_BATCH];
    int64_t a_size, b_size, c_size;
} problem;

/* Dense, transposed, or rows wider than needed (the heads of a projection lie side by side). */
static int64_t place(cr_rng *rng, int64_t batch, int64_t rows, int64_t cols, int64_t *down,
                     int64_t *right, int64_t *at)
{
    const uint32_t form = cr_rng_below(rng, 3);
    *down = form == 0 ? cols : form == 1 ? 1 : batch * cols;
    *right = form == 1 ? rows : 1;
    for (int64_t i = 0; i < batch; i++) at[i] = form == 2 ? i * cols : i * rows * cols;
    return batch * rows * cols;
}

static void random_problem(cr_rng *rng, problem *p)
{
    const int64_t most = cr_rng_below(rng, 3) ? 30 : 100, deep = cr_rng_below(rng, 8) ? most : 600;
    cr_gemm_shape *s = &p->s;
    *s = (cr_gemm_shape){.batch = 1 + cr_rng_below(rng, MOST_BATCH),
                         .m = 1 + cr_rng_below(rng, (uint32_t)most),
                         .n = 1 + cr_rng_below(rng, (uint32_t)most),
                         .k = 1 + cr_rng_below(rng, (uint32_t)deep)};
    int64_t right;
    p->a_size = place(rng, s->batch, s->m, s->k, &s->a_down, &s->a_right, p->a_at);
    p->b_size = place(rng, s->batch, s->k, s->n, &s->b_down, &s->b_right, p->b_at);
    do p->c_size = place(rng, s->batch, s->m, s->n, &s->c_down, &right, p->c_at);
    while (right != 1);
    s->a_at = p->a_at;
    s->b_at = p->b_at;
    s->c_at = p->c_at;
    s->alpha = cr_rng_below(rng, 2) ? 1 : 0.37f;
}

static void print_problem(const cr_gemm_shape *s, int level)
{
    print_message("level %s: %lld x (%lld x %lld x %lld), a %lld %lld, b %lld %lld, c %lld\n",
                  cr_cpu_level_key((cr_cpu_level)level), (long long)s->batch, (long long)s->m,
                  (long long)s->n, (long long)s->k, (long long)s->a_down, (long long)s->a_right,
                  (long long)s->b_down, (long long)s->b_right, (long long)s->c_down);
}

/* ---- float32 ---- */

static float f32_at(const cr_gemm_shape *s, const float *a, const float *b, bool fused)
{
    float sum = 0;
    for (int64_t k = 0; k < s->k; k++) {
        const float u = a[k * s->a_right], v = b[k * s->b_down];
        sum = fused ? fmaf(u, v, sum) : sum + u * v;
    }
    return s->alpha * sum;
}

static void check_f32(const cr_gemm_shape *s, const float *a, const float *b, const float *c,
                      int level)
{
    for (int64_t i = 0; i < s->batch; i++)
        for (int64_t r = 0; r < s->m; r++)
            for (int64_t q = 0; q < s->n; q++) {
                const float want = f32_at(s, a + s->a_at[i] + r * s->a_down,
                                          b + s->b_at[i] + q * s->b_right, level != CR_CPU_C);
                const float got = c[s->c_at[i] + r * s->c_down + q];
                if (!memcmp(&want, &got, sizeof want)) continue;
                print_problem(s, level);
                fail_msg("product %lld, row %lld, column %lld: %a, not %a", (long long)i,
                         (long long)r, (long long)q, (double)got, (double)want);
            }
}

static bool has_f32(int level)
{
    return cr_gemm_f32_level(level) != NULL;
}

static void test_f32(void **state)
{
    cr_pool *pool;
    report_levels(has_f32);
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 300; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed);
        problem p;
        random_problem(&rng, &p);
        guarded a = guarded_alloc((size_t)p.a_size * sizeof(float), seed & 1);
        guarded b = guarded_alloc((size_t)p.b_size * sizeof(float), seed & 1);
        float *fa = (float *)(void *)a.data, *fb = (float *)(void *)b.data;
        fill_f32(fa, (size_t)p.a_size, (pattern)(seed % PATTERNS), &rng);
        fill_f32(fb, (size_t)p.b_size, UNIFORM, &rng);
        for (int level = 0; level < CR_CPU_LEVELS; level++) {
            if (!has_f32(level) || !level_runs(level)) continue;
            const cr_gemm_f32_kernel *k = cr_gemm_f32_level(level);
            guarded c = guarded_alloc((size_t)p.c_size * sizeof(float), seed & 1);
            guarded scratch = guarded_alloc(cr_gemm_f32_scratch(k, &p.s), false);
            cr_gemm_f32_run(k, &p.s, fa, fb, (float *)(void *)c.data, scratch.data,
                            seed % 3 ? NULL : pool);
            check_f32(&p.s, fa, fb, (float *)(void *)c.data, level);
            guarded_free(&scratch);
            guarded_free(&c);
        }
        guarded_free(&a);
        guarded_free(&b);
    }
    cr_pool_free(&pool);
}

/* ---- codes ---- */

static int32_t sum_at(const cr_gemm_shape *s, const cr_gemm_codes *q, const uint8_t *a,
                      const uint8_t *b)
{
    int32_t sum = 0;
    for (int64_t k = 0; k < s->k; k++)
        sum += (a[k * s->a_right] - q->zero_a) * (b[k * s->b_down] - q->zero_b);
    return sum;
}

static void check_codes(const cr_gemm_shape *s, const cr_gemm_codes *q, const uint8_t *a,
                        const uint8_t *b, const void *c, int level)
{
    for (int64_t i = 0; i < s->batch; i++)
        for (int64_t r = 0; r < s->m; r++)
            for (int64_t col = 0; col < s->n; col++) {
                const int32_t sum =
                    sum_at(s, q, a + s->a_at[i] + r * s->a_down, b + s->b_at[i] + col * s->b_right);
                const int64_t at = s->c_at[i] + r * s->c_down + col;
                const bool same = q->float_out
                                      ? ((const float *)c)[at] == (float)sum * q->multiplier
                                      : ((const uint8_t *)c)[at] ==
                                            cr_requantize(sum, q->multiplier, q->zero_out, 0, 255);
                if (same) continue;
                print_problem(s, level);
                fail_msg("product %lld, row %lld, column %lld", (long long)i, (long long)r,
                         (long long)col);
            }
}

static bool has_s16(int level)
{
    return cr_gemm_s16_level(level) != NULL;
}

static void run_codes(const problem *p, const cr_gemm_codes *q, const uint8_t *a, const uint8_t *b,
                      int level, bool at_end, cr_pool *pool)
{
    const cr_gemm_s16_kernel *k = cr_gemm_s16_level(level);
    const size_t size = q->float_out ? sizeof(float) : 1;
    guarded c = guarded_alloc((size_t)p->c_size * size, at_end);
    guarded scratch = guarded_alloc(cr_gemm_s16_scratch(k, &p->s, cr_pool_threads(pool)), false);
    cr_gemm_s16_run(k, cr_rows_get(only_level(level)), &p->s, q, a, b, c.data, scratch.data, pool);
    check_codes(&p->s, q, a, b, c.data, level);
    guarded_free(&scratch);
    guarded_free(&c);
}

static void test_codes(void **state)
{
    cr_pool *pool;
    report_levels(has_s16);
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 300; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed);
        problem p;
        random_problem(&rng, &p);
        guarded a = guarded_alloc((size_t)p.a_size, seed & 1);
        guarded b = guarded_alloc((size_t)p.b_size, seed & 1);
        fill_u8(a.data, (size_t)p.a_size, (pattern)(seed % PATTERNS), &rng);
        fill_u8(b.data, (size_t)p.b_size, (pattern)(seed / 2 % PATTERNS), &rng);
        const cr_gemm_codes q = {.zero_a = (int32_t)cr_rng_below(&rng, 256),
                                 .zero_b = (int32_t)cr_rng_below(&rng, 256),
                                 .multiplier = (float)cr_rng_range(&rng, 1e-4, 1e-2),
                                 .float_out = cr_rng_below(&rng, 2),
                                 .zero_out = (int32_t)cr_rng_below(&rng, 256)};
        for (int level = 0; level < CR_CPU_LEVELS; level++)
            if (has_s16(level) && level_runs(level))
                run_codes(&p, &q, a.data, b.data, level, seed & 1, seed % 3 ? NULL : pool);
        guarded_free(&a);
        guarded_free(&b);
    }
    cr_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_f32), cmocka_unit_test(test_codes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
