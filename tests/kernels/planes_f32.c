/* Convolution of planes, its transpose and its weights' gradient against plain loops, bit for bit
 * (but for the sign of zero): sums in the order (channel, tap), dots in 16 parts per stretch of
 * numbered places. Level c has no fused multiply-add. Every kind of window, groups, depthwise;
 * results between guard pages, one thread and three. */
#include "harness.h"

#include <math.h>

#include "base/threads.h"
#include "kernels/planes_f32.h"

typedef struct problem {
    cr_conv_geometry g;
    size_t picture, places, weights; /* elements */
} problem;

static problem problem_of(cr_conv_geometry g)
{
    g.n = 1;
    return (problem){g, (size_t)(g.cin * g.h * g.w), (size_t)(g.cout * g.oh * g.ow),
                     (size_t)(g.cout * g.cin / g.groups * g.kh * g.kw)};
}

static float multiply_add(float a, float b, float c, bool fused)
{
    return fused ? fmaf(a, b, c) : c + a * b;
}

/* The pixel under a tap of place (y, x); NULL: padding. */
static const float *pixel(const cr_conv_geometry *g, const float *picture, int64_t k, int64_t y,
                          int64_t x, int64_t ky, int64_t kx)
{
    const int64_t py = y * g->stride_h - g->pad_top + ky * g->dil_h;
    const int64_t px = x * g->stride_w - g->pad_left + kx * g->dil_w;
    if (py < 0 || py >= g->h || px < 0 || px >= g->w) return NULL;
    return &picture[(k * g->h + py) * g->w + px];
}

static float place_at(const cr_conv_geometry *g, const float *picture, const float *w, float start,
                      int64_t m, int64_t y, int64_t x, bool fused)
{
    const int64_t channels = g->cin / g->groups, group = m / (g->cout / g->groups);
    w += m * channels * g->kh * g->kw;
    for (int64_t k = 0; k < channels; k++)
        for (int64_t ky = 0; ky < g->kh; ky++)
            for (int64_t kx = 0; kx < g->kw; kx++, w++) {
                const float *v = pixel(g, picture, group * channels + k, y, x, ky, kx);
                if (v) start = multiply_add(*w, *v, start, fused);
            }
    return start;
}

/* The tap under which pixel position `at` is seen by a place: place * stride - pad + tap *
 * dilation. */
static int64_t place_of(int64_t at, int64_t pad, int64_t tap, int64_t dilation, int64_t stride,
                        int64_t places)
{
    const int64_t from = at + pad - tap * dilation;
    return from >= 0 && from % stride == 0 && from / stride < places ? from / stride : -1;
}

static float pixel_at(const cr_conv_geometry *g, const float *places, const float *w, float start,
                      int64_t k, int64_t py, int64_t px, bool fused)
{
    const int64_t rows = g->cout / g->groups, channels = g->cin / g->groups, group = k / channels;
    for (int64_t m = group * rows; m < (group + 1) * rows; m++)
        for (int64_t ky = 0; ky < g->kh; ky++)
            for (int64_t kx = 0; kx < g->kw; kx++) {
                const int64_t y = place_of(py, g->pad_top, ky, g->dil_h, g->stride_h, g->oh);
                const int64_t x = place_of(px, g->pad_left, kx, g->dil_w, g->stride_w, g->ow);
                if (y < 0 || x < 0) continue;
                start = multiply_add(w[((m * channels + k % channels) * g->kh + ky) * g->kw + kx],
                                     places[(m * g->oh + y) * g->ow + x], start, fused);
            }
    return start;
}

static float weight_at(const cr_planes *p, const cr_conv_geometry *g, const float *picture,
                       const float *places, float start, int64_t m, int64_t k, int64_t tap,
                       bool fused)
{
    const int64_t pitch = p->direct ? g->ow : p->pitch;
    for (int64_t from = 0; from < p->places; from += p->stretch) {
        float part[CR_PLANES_PARTS] = {0};
        for (int64_t i = 0; i < p->stretch && from + i < p->places; i++) {
            const int64_t y = (from + i) / pitch, x = (from + i) % pitch;
            if (x >= g->ow) continue;
            const float *v = pixel(g, picture, k, y, x, tap / g->kw, tap % g->kw);
            float *to = &part[i % CR_PLANES_PARTS];
            if (v) *to = multiply_add(places[(m * g->oh + y) * g->ow + x], *v, *to, fused);
        }
        for (int half = CR_PLANES_PARTS / 2; half > 0; half /= 2)
            for (int i = 0; i < half; i++) part[i] += part[i + half];
        start += part[0];
    }
    return start;
}

static void check(const problem *p, const char *what, int level, size_t i, float got, float want)
{
    if (got == want) return;
    print_geometry(&p->g);
    fail_msg("level %s: %s %zu: %a, not %a", cr_cpu_level_key((cr_cpu_level)level), what, i,
             (double)got, (double)want);
}

/* Two runs: one that sets, one that adds to `before`. */
static void run_level(const problem *p, int level, cr_rng *rng, pattern kind, bool at_end,
                      cr_pool *pool)
{
    const cr_conv_geometry *g = &p->g;
    const bool fused = level != CR_CPU_C, add = cr_rng_below(rng, 2), biased = cr_rng_below(rng, 2);
    const size_t sizes[] = {p->picture, p->places, p->weights, (size_t)(g->cin + g->cout),
                            p->picture, p->places, p->weights};
    guarded room[7];
    float *f[7];
    for (int i = 0; i < 7; i++) {
        room[i] = guarded_alloc(sizes[i] * sizeof(float), at_end);
        f[i] = (float *)(void *)room[i].data;
        fill_f32(f[i], sizes[i], i == 0 ? kind : UNIFORM, rng);
    }
    float *before[3];
    for (int i = 0; i < 3; i++) {
        before[i] = calloc(sizes[4 + i], sizeof(float));
        for (size_t k = 0; k < sizes[4 + i] && (add || i == 2); k++) before[i][k] = f[4 + i][k];
    }
    cr_planes c;
    cr_planes_plan(g, cr_planes_f32_level(level), NULL, &c);
    guarded scratch = guarded_alloc(c.bytes, false);
    cr_planes_plan(g, cr_planes_f32_level(level), scratch.data, &c);
    cr_planes_lay_picture(&c, f[0], pool);
    cr_planes_lay_places(&c, f[1], pool);
    cr_planes_pack_picture(&c, f[2], pool);
    cr_planes_to_picture(&c, biased ? f[3] : NULL, f[4], add, pool);
    cr_planes_pack_places(&c, f[2], pool);
    cr_planes_to_places(&c, biased ? f[3] : NULL, f[5], add, pool);
    cr_planes_to_weights(&c, f[6], pool);
    for (size_t i = 0; i < p->places; i++) {
        const int64_t m = (int64_t)i / (g->oh * g->ow), at = (int64_t)i % (g->oh * g->ow);
        const float y =
            place_at(g, f[0], f[2], biased ? f[3][m] : 0, m, at / g->ow, at % g->ow, fused);
        check(p, "place", level, i, f[5][i], add ? before[1][i] + y : y);
    }
    for (size_t i = 0; i < p->picture; i++) {
        const int64_t k = (int64_t)i / (g->h * g->w), at = (int64_t)i % (g->h * g->w);
        const float x =
            pixel_at(g, f[1], f[2], biased ? f[3][k] : 0, k, at / g->w, at % g->w, fused);
        check(p, "pixel", level, i, f[4][i], add ? before[0][i] + x : x);
    }
    for (size_t i = 0; i < p->weights; i++) {
        const int64_t taps = g->kh * g->kw, channels = g->cin / g->groups;
        const int64_t m = (int64_t)i / taps / channels, tap = (int64_t)i % taps;
        const int64_t k = m / (g->cout / g->groups) * channels + (int64_t)i / taps % channels;
        check(p, "weight", level, i, f[6][i],
              weight_at(&c, g, f[0], f[1], before[2][i], m, k, tap, fused));
    }
    for (int i = 0; i < 3; i++) free(before[i]);
    for (int i = 0; i < 7; i++) guarded_free(&room[i]);
    guarded_free(&scratch);
}

static bool has_planes(int level)
{
    return cr_planes_f32_level(level) != NULL;
}

static cr_conv_geometry geometry_of(uint64_t seed, cr_rng *rng)
{
    if (seed % 8 == 0) /* 1x1 windows, read where they are */
        for (;;) {
            cr_conv_geometry g = random_geometry(rng, false);
            g.kh = g.kw = g.stride_h = g.stride_w = 1;
            g.pad_top = g.pad_left = 0;
            finish_geometry(&g);
            return g;
        }
    if (seed % 8 == 1) { /* several stretches */
        cr_conv_geometry g = {.h = 41,
                              .w = 37,
                              .cin = 3,
                              .cout = 5,
                              .kh = 3,
                              .kw = 3,
                              .pad_top = 1,
                              .pad_left = 1,
                              .stride_h = 1 + (int64_t)(seed / 8 % 2)};
        g.stride_w = g.stride_h;
        g.dil_h = g.dil_w = 1;
        finish_geometry(&g);
        return g;
    }
    return seed % 8 == 2   ? random_geometry(rng, true)
           : seed % 8 == 3 ? random_groups(rng)
                           : random_geometry(rng, false);
}

static void test_planes(void **state)
{
    cr_pool *pool;
    report_levels(has_planes);
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    for (uint64_t seed = 0; seed < 160; seed++) {
        cr_rng rng;
        cr_rng_seed(&rng, seed);
        const problem p = problem_of(geometry_of(seed, &rng));
        for (int level = 0; level < CR_CPU_LEVELS; level++)
            if (has_planes(level) && level_runs(level))
                run_level(&p, level, &rng, (pattern)(seed % PATTERNS), seed & 1,
                          seed % 3 ? NULL : pool);
    }
    cr_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_planes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
