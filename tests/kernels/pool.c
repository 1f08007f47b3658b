/* Max pooling and layout changes against plain loops: same bits, nothing outside the columns. */
#include "harness.h"

#include "kernels/pool.h"

static float pooled(const cr_pool_geometry *g, const float *in, int64_t n, int64_t oy, int64_t ox,
                    int64_t c)
{
    float best = -INFINITY;
    for (int64_t ky = 0; ky < g->kh; ky++)
        for (int64_t kx = 0; kx < g->kw; kx++) {
            const int64_t y = oy * g->stride_h - g->pad_top + ky * g->dil_h;
            const int64_t x = ox * g->stride_w - g->pad_left + kx * g->dil_w;
            if (y < 0 || y >= g->h || x < 0 || x >= g->w) continue;
            const float v = in[((n * g->h + y) * g->w + x) * g->ld_in + c];
            if (v > best) best = v;
        }
    return best;
}

static void run_pool(const cr_pool_geometry *g, const cr_rows *k, cr_rng *rng, bool at_end,
                     cr_pool *pool)
{
    const size_t n_in = span_of(g->n * g->h * g->w, g->ld_in, g->c);
    const size_t n_out = span_of(g->n * g->oh * g->ow, g->ld_out, g->c);
    guarded codes = guarded_alloc(n_in, at_end), floats = guarded_alloc(n_in * 4, at_end);
    guarded out8 = guarded_alloc(n_out, at_end), out32 = guarded_alloc(n_out * 4, at_end);
    float *in = (float *)(void *)floats.data, *y = (float *)(void *)out32.data;
    fill_u8(codes.data, n_in, UNIFORM, rng);
    for (size_t i = 0; i < n_in; i++) in[i] = codes.data[i];
    cr_max_pool_u8(g, k, codes.data, out8.data, pool);
    cr_max_pool_f32(g, k, in, y, pool);
    for (size_t i = 0; i < n_out; i++) {
        const int64_t p = (int64_t)i / g->ld_out, c = (int64_t)i % g->ld_out;
        const float want =
            c < g->c ? pooled(g, in, p / (g->oh * g->ow), p / g->ow % g->oh, p % g->ow, c) : 0xA5;
        assert_int_equal(out8.data[i], (int)want);
        if (c < g->c)
            assert_true(y[i] == want);
        else
            assert_memory_equal(&y[i], "\xA5\xA5\xA5\xA5", 4);
    }
    guarded_free(&codes);
    guarded_free(&floats);
    guarded_free(&out8);
    guarded_free(&out32);
}

/* Whole numbers of 8 bits: bfloat16 holds them exactly. */
static void run_pool_bf16(const cr_pool_geometry *g, const cr_rows_bf16 *k, cr_rng *rng, bool at_end)
{
    const size_t n_in = span_of(g->n * g->h * g->w, g->ld_in, g->c);
    const size_t n_out = span_of(g->n * g->oh * g->ow, g->ld_out, g->c);
    guarded halves = guarded_alloc(n_in * 2, at_end), out = guarded_alloc(n_out * 2, at_end);
    cr_bf16 *in = (cr_bf16 *)(void *)halves.data, *y = (cr_bf16 *)(void *)out.data;
    float *floats = malloc(n_in * sizeof *floats);
    for (size_t i = 0; i < n_in; i++) {
        floats[i] = (float)cr_rng_below(rng, 256) - 128;
        in[i] = cr_bf16_round(floats[i]);
    }
    cr_max_pool_bf16(g, k, in, y, NULL);
    for (size_t i = 0; i < n_out; i++) {
        const int64_t p = (int64_t)i / g->ld_out, c = (int64_t)i % g->ld_out;
        if (c >= g->c)
            assert_int_equal(y[i], 0xA5A5);
        else
            assert_true(cr_bf16_widen(y[i]) == pooled(g, floats, p / (g->oh * g->ow),
                                                      p / g->ow % g->oh, p % g->ow, c));
    }
    guarded_free(&halves);
    guarded_free(&out);
    free(floats);
}

static void run_levels(const cr_pool_geometry *g, cr_rng *rng, bool at_end, cr_pool *pool)
{
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!level_runs(level)) continue;
        if (cr_rows_level(level)) run_pool(g, cr_rows_level(level), rng, at_end, pool);
        if (cr_rows_bf16_level(level)) run_pool_bf16(g, cr_rows_bf16_level(level), rng, at_end);
    }
}

static void test_max_pool(void **state)
{
    cr_pool *pool;
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 120; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed);
        cr_conv_geometry c = random_geometry(&rng, true);
        c.pad_top = c.kh > 1 ? (c.kh - 1) * c.dil_h / 2 : 0;
        c.pad_left = c.kw > 1 ? (c.kw - 1) * c.dil_w / 2 : 0;
        finish_geometry(&c);
        if (!c.oh || !c.ow || (c.kh - 1) * c.dil_h >= c.h || (c.kw - 1) * c.dil_w >= c.w) continue;
        const cr_pool_geometry g = {c.n,     c.h,      c.w,       c.cin,     c.oh,       c.ow,
                                    c.ld_in, c.ld_out, c.kh,      c.kw,      c.stride_h, c.stride_w,
                                    c.dil_h, c.dil_w,  c.pad_top, c.pad_left};
        run_levels(&g, &rng, seed & 1, seed % 3 ? NULL : pool);
    }
    cr_pool_free(&pool);
}

/* Chains of spatial pyramids (5x5, 9x9, 13x13), rows in pieces, channels in parts, columns of wider
 * tensors, and a window over everything. */
static void test_wide_pools(void **state)
{
    cr_pool *pool;
    assert_int_equal(cr_pool_create(2, &pool, NULL), CR_OK);
    static const int64_t sizes[][6] = {
        /* height, width, channels, window, stride, dilation */
        {13, 13, 37, 5, 1, 1},  {13, 13, 37, 9, 1, 1},    {13, 13, 128, 13, 1, 1},
        {20, 20, 257, 5, 1, 1}, {6, 1031, 67, 3, 2, 1},   {5, 700, 17, 4, 3, 1},
        {9, 9, 70, 3, 1, 2},    {3, 400, 64, 151, 7, 2},  {40, 600, 130, 35, 5, 9},
    };
    for (int i = 0; i < 9; i++) {
        const int64_t *s = sizes[i], reach = (s[3] - 1) * s[5];
        cr_pool_geometry g = {.n = 1 + i % 2, .h = s[0], .w = s[1], .c = s[2]};
        g.kw = s[3];
        g.kh = g.kw < g.h ? g.kw : g.h;
        g.stride_h = g.stride_w = s[4];
        g.dil_h = 1;
        g.dil_w = s[5];
        g.pad_left = reach < g.w ? reach / 2 : 0;
        g.pad_top = g.kh / 2;
        g.oh = out_extent(g.h, g.pad_top, g.kh, g.dil_h, g.stride_h);
        g.ow = out_extent(g.w, g.pad_left, g.kw, g.dil_w, g.stride_w);
        g.ld_in = g.c + i % 3 * 3;
        g.ld_out = g.c + i % 2 * 5;
        cr_rng rng;
        cr_rng_seed(&rng, (uint64_t)i);
        run_levels(&g, &rng, i & 1, i % 3 ? NULL : pool);
    }
    cr_pool_free(&pool);
}

static void run_layout(const cr_layout_args *a, cr_rng *rng, bool at_end, cr_pool *pool)
{
    const size_t planar = (size_t)(a->n * a->channels * a->pixels);
    const size_t packed = span_of(a->n * a->pixels, a->ld, a->channels);
    guarded p = guarded_alloc(planar * a->element, at_end),
            r = guarded_alloc(packed * a->element, at_end);
    guarded back = guarded_alloc(planar * a->element, at_end);
    fill_u8(p.data, planar * a->element, UNIFORM, rng);
    cr_nchw_to_nhwc(a, p.data, r.data, pool);
    for (size_t i = 0; i < packed; i++) {
        const size_t pixel = i / (size_t)a->ld, c = i % (size_t)a->ld;
        const size_t n = pixel / (size_t)a->pixels, at = pixel % (size_t)a->pixels;
        const unsigned char *want = (const unsigned char *)"\xA5\xA5\xA5\xA5";
        if ((int64_t)c < a->channels)
            want = p.data + ((n * (size_t)a->channels + c) * (size_t)a->pixels + at) * a->element;
        assert_memory_equal(want, r.data + i * a->element, a->element);
    }
    cr_nhwc_to_nchw(a, r.data, back.data, pool);
    assert_memory_equal(p.data, back.data, planar * a->element);
    guarded_free(&p);
    guarded_free(&r);
    guarded_free(&back);
}

static void test_layout(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 3);
    cr_pool *pool;
    assert_int_equal(cr_pool_create(2, &pool, NULL), CR_OK);
    static const int64_t channels[] = {1, 2, 3, 4, 5, 7, 8, 17, 64, 257};
    static const int64_t pixels[] = {1, 3, 4, 63, 64, 65, 131, 4999};
    for (int i = 0; i < 10; i++)
        for (int j = 0; j < 8; j++)
            for (size_t element = 1; element <= 4; element += 3) {
                const cr_layout_args a = {1 + j % 2, channels[i], pixels[j],
                                          channels[i] + (i % 3) * 5, element};
                run_layout(&a, &rng, j & 1, i % 2 ? pool : NULL);
            }
    cr_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max_pool),
        cmocka_unit_test(test_wide_pools),
        cmocka_unit_test(test_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
