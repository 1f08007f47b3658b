/* Row kernels at every level against crayon/arith.h, to the bit: all lengths around the vectors,
 * both sides on guard pages, activations over a sweep of all float32 bit patterns. */
#include "harness.h"

static bool has_level(int level)
{
    return cr_rows_level(level) != NULL;
}

/* One of everything that floats can be. */
static const float odd[] = {0.0f,   -0.0f,   1.0f,  -1.0f,    0.5f,      -0.5f,      1.5f,
                            2.5f,   -2.5f,   NAN,   INFINITY, -INFINITY, 3.4e38f,    -3.4e38f,
                            1e-45f, -1e-45f, 88.5f, -88.5f,   127.5f,    -127.5f,    1e10f,
                            -1e10f, 3.0f,    -3.0f, 6.0f,     -87.7f,    16777216.0f};

static void fill_odd(float *p, size_t n, cr_rng *rng)
{
    for (size_t i = 0; i < n; i++)
        p[i] = cr_rng_below(rng, 3) ? (float)cr_rng_range(rng, -20, 20)
                                    : odd[cr_rng_below(rng, sizeof odd / sizeof *odd)];
}

/* NaNs are one value here: which bits a CPU gives them is not fixed. */
static bool same(float a, float b)
{
    return (a != a && b != b) || !memcmp(&a, &b, sizeof a);
}

static const cr_act *act_of(int kind)
{
    static cr_act act;
    act = (cr_act){(cr_act_kind)kind, kind == CR_ACT_CLIP ? -1.0f : 0.2f,
                   kind == CR_ACT_CLIP ? 6.0f : 0.5f};
    return &act;
}

static void check_act(const cr_rows *k, const float *x, size_t n, int kind, float *y)
{
    k->act(y, x, n, act_of(kind));
    for (size_t i = 0; i < n; i++)
        if (!same(y[i], activate(x[i], act_of(kind))))
            fail_msg("%s: activation %d of %a is %a, not %a", k->name, kind, (double)x[i],
                     (double)y[i], (double)activate(x[i], act_of(kind)));
}

/* Every 4099th bit pattern (a prime: all exponents, all residues of the mantissa). */
static void test_act_sweep(void **state)
{
    enum { STRIDE = 4099, PART = 4096 };
    static float x[PART], y[PART];
    report_levels(has_level);
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has_level(level) || !level_runs(level)) continue;
        for (uint64_t bits = 0; bits <= UINT32_MAX;) {
            size_t n = 0;
            for (; n < PART && bits <= UINT32_MAX; n++, bits += STRIDE) {
                const uint32_t b = (uint32_t)bits;
                memcpy(&x[n], &b, sizeof b);
            }
            for (int kind = 0; kind <= CR_ACT_HARD_SWISH; kind++)
                check_act(cr_rows_level(level), x, n, kind, y);
        }
    }
}

typedef struct row_case {
    const cr_rows *k;
    size_t n;
    cr_rng *rng;
    guarded x, w, y; /* n floats each */
} row_case;

static float *floats(const guarded *g)
{
    return (float *)(void *)g->data;
}

/* A scale and a zero point per column. */
typedef struct columns {
    guarded scale, zero;
} columns;

static columns random_columns(size_t n, cr_rng *rng, bool at_end)
{
    const columns c = {guarded_alloc(4 * n, at_end), guarded_alloc(4 * n, at_end)};
    for (size_t i = 0; i < n; i++) {
        ((float *)(void *)c.scale.data)[i] = (float)cr_rng_range(rng, 0.001, 0.2);
        ((int32_t *)(void *)c.zero.data)[i] = (int32_t)cr_rng_below(rng, 256);
    }
    return c;
}

static void free_columns(columns *c)
{
    guarded_free(&c->scale);
    guarded_free(&c->zero);
}

static void check_columns(const row_case *c)
{
    columns own = random_columns(c->n, c->rng, c->n & 1);
    const float *scale = floats(&own.scale);
    const int32_t *zero = (const int32_t *)(void *)own.zero.data;
    uint8_t *q = c->y.data + 3 * c->n, *codes = c->w.data + 3 * c->n;
    fill_odd(floats(&c->x), c->n, c->rng);
    c->k->quantize_each(q, floats(&c->x), c->n, scale, zero);
    for (size_t i = 0; i < c->n; i++)
        assert_int_equal(q[i], cr_quantize_u8(floats(&c->x)[i], scale[i], zero[i]));
    fill_u8(codes, c->n, UNIFORM, c->rng);
    c->k->dequantize_each(floats(&c->y), codes, c->n, scale, zero);
    for (size_t i = 0; i < c->n; i++)
        assert_true(same(floats(&c->y)[i], cr_dequantize(codes[i], scale[i], zero[i])));
    free_columns(&own);
}

/* 16-bit codes: high bytes in the first half of a row, low ones in the second. */
static void check_wide(const row_case *c)
{
    columns own = random_columns(c->n, c->rng, c->n & 1);
    const float *scale = floats(&own.scale), *x = floats(&c->x);
    int32_t *zero = (int32_t *)(void *)own.zero.data;
    const int64_t plane = (int64_t)c->n;
    uint8_t *q = c->y.data + 2 * c->n, *codes = c->w.data + 2 * c->n;
    for (size_t i = 0; i < c->n; i++) zero[i] = (int32_t)cr_rng_below(c->rng, 65536);
    fill_odd(floats(&c->x), c->n, c->rng);
    c->k->quantize_wide(q, plane, x, c->n, scale, zero);
    for (size_t i = 0; i < c->n; i++)
        assert_int_equal(q[i] << 8 | q[i + c->n], cr_quantize_u16(x[i], scale[i], zero[i]));
    fill_u8(codes, 2 * c->n, UNIFORM, c->rng);
    c->k->dequantize_wide(floats(&c->y), codes, plane, c->n, scale, zero);
    for (size_t i = 0; i < c->n; i++)
        assert_true(same(floats(&c->y)[i],
                         cr_dequantize(codes[i] << 8 | codes[i + c->n], scale[i], zero[i])));
    free_columns(&own);
}

static void check_quantize(const row_case *c)
{
    const int32_t zero = (int32_t)cr_rng_below(c->rng, 256);
    const float scale = (float)cr_rng_range(c->rng, 0.001, 0.2);
    uint8_t *q = c->y.data + 3 * c->n; /* the last n bytes */
    fill_odd(floats(&c->x), c->n, c->rng);
    c->k->quantize(q, floats(&c->x), c->n, scale, zero);
    for (size_t i = 0; i < c->n; i++)
        if (q[i] != cr_quantize_u8(floats(&c->x)[i], scale, zero))
            fail_msg("%s: code of %a at scale %a, zero %d is %d", c->k->name,
                     (double)floats(&c->x)[i], (double)scale, zero, q[i]);
    const float *const planes[4] = {floats(&c->x), NULL, floats(&c->x), NULL};
    c->k->quantize_pixels(c->w.data, planes, c->n, scale, zero);
    for (size_t i = 0; i < 4 * c->n; i++)
        assert_int_equal(c->w.data[i], i % 2 ? 0 : cr_quantize_u8(floats(&c->x)[i / 4], scale, zero));
    uint8_t *codes = c->w.data + 3 * c->n;
    fill_u8(codes, c->n, UNIFORM, c->rng);
    c->k->dequantize(floats(&c->y), codes, c->n, scale, zero);
    for (size_t i = 0; i < c->n; i++)
        assert_true(same(floats(&c->y)[i], cr_dequantize(codes[i], scale, zero)));
}

/* A third of the n bytes as triples, with one table for all and with three. */
static void check_code_pixels(const row_case *c, const uint8_t *x)
{
    uint8_t table[3][256], out[4 * 200];
    const size_t n = c->n / 3;
    for (int same = 0; same < 2; same++) {
        fill_u8(table[0], sizeof table, UNIFORM, c->rng);
        for (int t = 1; same && t < 3; t++) memcpy(table[t], table[0], 256);
        c->k->code_pixels(out, x, n, (const uint8_t(*)[256])table);
        for (size_t i = 0; i < 4 * n; i++)
            assert_int_equal(out[i], i % 4 == 3 ? 0 : table[i % 4][x[i / 4 * 3 + i % 4]]);
    }
}

/* The n bytes as rows of a few columns that leave one byte between them. */
static void check_sums(const row_case *c, const uint8_t *x, const uint8_t *y)
{
    const int64_t n = (int64_t)c->n, ld = 1 + n / 3, rows = n ? (n - 1) / ld + 1 : 0;
    const int64_t cols = rows > 1 ? (ld - 1 < n - (rows - 1) * ld ? ld - 1 : n - (rows - 1) * ld) : n;
    const cr_codes a = {x, ld, 0.031f, (int32_t)cr_rng_below(c->rng, 256)};
    const cr_codes b = {y, ld, 0.02f, (int32_t)cr_rng_below(c->rng, 256)};
    uint8_t sum[600], table[256], looked[600];
    memset(sum, 0xA5, sizeof sum);
    memset(looked, 0xA5, sizeof looked);
    fill_u8(table, sizeof table, UNIFORM, c->rng);
    const cr_finish_area area = {rows, cols, ld, ld};
    c->k->add_u8(sum, ld, &a, &b, rows, cols, 0.04f, 77);
    c->k->table(looked, x, &area, table);
    for (int64_t i = 0; i < rows * ld && i < 600; i++) {
        const bool inside = i % ld < cols && i < n;
        const float v = inside ? cr_dequantize(x[i], a.scale, a.zero_point) +
                                     cr_dequantize(y[i], b.scale, b.zero_point)
                               : 0;
        assert_int_equal(sum[i], inside ? cr_quantize_u8(v, 0.04f, 77) : 0xA5);
        assert_int_equal(looked[i], inside ? table[x[i]] : 0xA5);
    }
}

static void check_bytes(const row_case *c)
{
    uint8_t table[256], *x = c->x.data + 3 * c->n, *y = c->y.data + 3 * c->n, was[600];
    fill_u8(table, sizeof table, UNIFORM, c->rng);
    fill_u8(x, c->n, UNIFORM, c->rng);
    const cr_finish_area whole = {1, (int64_t)c->n, 0, 0};
    check_code_pixels(c, x);
    c->k->table(y, x, &whole, table);
    for (size_t i = 0; i < c->n; i++) assert_int_equal(y[i], table[x[i]]);
    check_sums(c, x, y);
    memcpy(was, y, c->n);
    c->k->max_u8(y, x, c->n);
    for (size_t i = 0; i < c->n; i++) assert_int_equal(y[i], was[i] > x[i] ? was[i] : x[i]);
}

static void check_pairs(const row_case *c)
{
    const float *x = floats(&c->x), *w = floats(&c->w);
    float *y = floats(&c->y), sum[600], was[600];
    fill_odd(floats(&c->x), c->n, c->rng);
    fill_odd(floats(&c->w), c->n, c->rng);
    c->k->add_f32(y, x, w, c->n);
    for (size_t i = 0; i < c->n; i++) assert_true(same(y[i], x[i] + w[i]));
    c->k->mul_f32(y, x, w, c->n);
    for (size_t i = 0; i < c->n; i++) assert_true(same(y[i], x[i] * w[i]));
    memcpy(y, w, c->n * sizeof *y);
    c->k->max_f32(y, x, c->n);
    for (size_t i = 0; i < c->n; i++) assert_true(same(y[i], x[i] > w[i] ? x[i] : w[i]));
    for (size_t i = 0; i < c->n; i++) was[i] = sum[i] = (float)i;
    c->k->exp_sum(y, x, w, sum, c->n);
    for (size_t i = 0; i < c->n; i++) {
        assert_true(same(y[i], cr_expf(x[i] - w[i])));
        assert_true(same(sum[i], was[i] + y[i]));
    }
    memcpy(was, sum, sizeof was);
    for (size_t i = 0; i < c->n; i++) y[i] = (float)i;
    c->k->exp_mean(x, w, 3.7f, sum, y, c->n);
    for (size_t i = 0; i < c->n; i++) {
        assert_true(same(sum[i], was[i] + cr_expf(x[i] - w[i])));
        assert_true(same(y[i], fmaf(cr_expf(x[i] - w[i]), 3.7f, (float)i)));
    }
}

static void test_lengths(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 5);
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has_level(level) || !level_runs(level)) continue;
        for (size_t n = 0; n < 150; n = n < 70 ? n + 1 : n + 37) {
            for (int at_end = 0; at_end < 2; at_end++) {
                row_case c = {cr_rows_level(level),
                              n,
                              &rng,
                              guarded_alloc(4 * n, at_end),
                              guarded_alloc(4 * n, at_end),
                              guarded_alloc(4 * n, at_end)};
                for (int kind = 0; kind <= CR_ACT_HARD_SWISH; kind++) {
                    fill_odd(floats(&c.x), n, &rng);
                    check_act(c.k, floats(&c.x), n, kind, floats(&c.y));
                }
                check_quantize(&c);
                check_columns(&c);
                check_wide(&c);
                check_bytes(&c);
                check_pairs(&c);
                guarded_free(&c.x);
                guarded_free(&c.w);
                guarded_free(&c.y);
            }
        }
    }
}

static float scale_at(const cr_finish *f, int64_t column)
{
    return f->scales ? f->scales[column] : f->scale;
}

static int32_t zero_at(const cr_finish *f, int64_t column)
{
    return f->scales ? f->zeros[column] : f->zero_point;
}

static void check_residual(const cr_rows *k, const cr_finish_area *a, const cr_finish *f,
                           const int32_t *sums, cr_rng *rng, bool at_end)
{
    const size_t n_added = span_of(a->rows, f->residual.ld, a->cols);
    guarded added = guarded_alloc(n_added, at_end);
    guarded q = guarded_alloc(span_of(a->rows, a->ld_out, a->cols), at_end);
    cr_finish with = *f;
    const cr_codes *r = &with.residual;
    fill_u8(added.data, n_added, UNIFORM, rng);
    with.residual.data = added.data;
    k->finish_u8(q.data, sums, a, &with);
    for (int64_t i = 0; i < a->rows * a->cols; i++) {
        const int64_t row = i / a->cols, c = i % a->cols;
        const float v = activate((float)sums[row * a->ld_in + c] * f->multiplier[c], &f->act) +
                        cr_dequantize(added.data[row * r->ld + c], r->scale, r->zero_point);
        assert_int_equal(q.data[row * a->ld_out + c],
                         cr_quantize_u8(v, scale_at(f, c), zero_at(f, c)));
    }
    guarded_free(&added);
    guarded_free(&q);
}

/* Two planes' sums to floats, and those to results; `low` and codes of 16 bits. */
static void check_joined(const cr_rows *k, const cr_finish_area *a, const cr_finish *f,
                         const int32_t *sums, cr_rng *rng, bool at_end)
{
    const size_t n_in = span_of(a->rows, a->ld_in, a->cols);
    const int64_t plane = (int64_t)span_of(a->rows, a->ld_out, a->cols);
    guarded high = guarded_alloc(n_in * 4, at_end), low = guarded_alloc(n_in * 4, at_end);
    guarded offset = guarded_alloc((size_t)a->cols * 8, at_end);
    guarded q = guarded_alloc(2 * (size_t)plane, at_end);
    guarded y = guarded_alloc((size_t)plane * 4, at_end);
    int32_t *s = (int32_t *)(void *)high.data, *t = (int32_t *)(void *)low.data;
    double *o = (double *)(void *)offset.data;
    cr_finish joined = *f;
    joined.floats = true;
    memcpy(s, sums, n_in * 4);
    for (size_t i = 0; i < n_in; i++) t[i] = (int32_t)(uint32_t)cr_rng_u64(rng);
    for (int64_t i = 0; i < a->cols; i++) o[i] = (double)((int64_t)cr_rng_u64(rng) >> 14);
    k->join_sums(s, t, o, a);
    k->finish_f32(floats(&y), s, a, &joined);
    k->finish_wide(q.data, plane, s, a, &joined);
    for (int64_t i = 0; i < a->rows * a->cols; i++) {
        const int64_t c = i % a->cols, in = i / a->cols * a->ld_in + c;
        const int64_t out = i / a->cols * a->ld_out + c, sum = (int64_t)sums[in] * 256 + t[in] + (int64_t)o[c];
        const float x = (float)sum * f->multiplier[c], v = activate(x, &f->act);
        const int32_t code = f->act.kind == CR_ACT_NONE
                                 ? cr_round_clamp(x, zero_at(f, c), 0, 65535)
                                 : cr_quantize_value(v, scale_at(f, c), zero_at(f, c), 0, 65535);
        assert_true(same(floats(&y)[out], v));
        assert_int_equal(q.data[out] << 8 | q.data[out + plane], code);
    }
    guarded_free(&high);
    guarded_free(&low);
    guarded_free(&offset);
    guarded_free(&q);
    guarded_free(&y);
}

static void finish_case(const cr_rows *k, const cr_finish_area *a, const cr_finish *f, cr_rng *rng,
                        bool at_end)
{
    const size_t n_in = span_of(a->rows, a->ld_in, a->cols);
    const size_t n_out = span_of(a->rows, a->ld_out, a->cols);
    guarded acc = guarded_alloc(n_in * 4, at_end), y = guarded_alloc(n_out * 4, at_end);
    guarded q = guarded_alloc(n_out, at_end);
    int32_t *sums = (int32_t *)(void *)acc.data;
    for (size_t i = 0; i < n_in; i++) {
        sums[i] = (int32_t)(uint32_t)cr_rng_u64(rng) >> cr_rng_below(rng, 24);
        if (!cr_rng_below(rng, 9)) sums[i] = cr_rng_below(rng, 2) ? INT32_MIN : INT32_MAX;
    }
    k->finish_f32(floats(&y), sums, a, f);
    k->finish_u8(q.data, sums, a, f);
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < (r + 1 < a->rows ? a->ld_out : a->cols); i++) {
            float want_y;
            uint8_t want_q = 0xA5;
            memset(&want_y, 0xA5, sizeof want_y);
            if (i < a->cols) {
                const int32_t s = sums[r * a->ld_in + i];
                want_y = activate((float)s * f->multiplier[i], &f->act);
                want_q = f->act.kind == CR_ACT_NONE
                             ? (uint8_t)cr_requantize(s, f->multiplier[i], zero_at(f, i), 0, 255)
                             : cr_quantize_u8(want_y, scale_at(f, i), zero_at(f, i));
            }
            if (!same(want_y, floats(&y)[r * a->ld_out + i]) || q.data[r * a->ld_out + i] != want_q)
                fail_msg("%s: activation %d, row %lld, column %lld of %lld", k->name, f->act.kind,
                         (long long)r, (long long)i, (long long)a->cols);
        }
    check_residual(k, a, f, sums, rng, at_end);
    check_joined(k, a, f, sums, rng, at_end);
    guarded_free(&acc);
    guarded_free(&y);
    guarded_free(&q);
}

static void test_finish(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 6);
    float m[80];
    for (int i = 0; i < 80; i++) m[i] = i % 7 ? (float)cr_rng_range(&rng, 1e-9, 1e-2) : 0.5f;
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has_level(level) || !level_runs(level)) continue;
        for (int kind = 0; kind <= CR_ACT_HARD_SWISH; kind++)
            for (int64_t cols = 1; cols < 70; cols += 1 + cols / 9) {
                cr_finish f = {.multiplier = m,
                               .act = *act_of(kind),
                               .scale = 0.05f,
                               .zero_point = (int32_t)cr_rng_below(&rng, 256),
                               .residual = {NULL, cols + cols % 4, 0.03f,
                                            (int32_t)cr_rng_below(&rng, 256)}};
                const cr_finish_area a = {1 + cols % 14, cols, cols + cols % 3, cols + cols % 5};
                finish_case(cr_rows_level(level), &a, &f, &rng, cols & 1);
                columns own = random_columns((size_t)cols, &rng, cols & 1);
                f.scales = (const float *)(void *)own.scale.data;
                f.zeros = (const int32_t *)(void *)own.zero.data;
                finish_case(cr_rows_level(level), &a, &f, &rng, cols & 1);
                free_columns(&own);
            }
    }
}

static void test_planes(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 7);
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has_level(level) || !level_runs(level)) continue;
        for (int round = 0; round < 60; round++) {
            const int64_t pixels = 1 + cr_rng_below(&rng, 40), channels = 1 + cr_rng_below(&rng, 40);
            const int64_t ld_x = channels + cr_rng_below(&rng, 3);
            const int64_t ld_y = pixels + cr_rng_below(&rng, 3);
            guarded x = guarded_alloc(4 * span_of(pixels, ld_x, channels), round & 1);
            guarded y = guarded_alloc(4 * span_of(channels, ld_y, pixels), round & 1);
            fill_odd(floats(&x), span_of(pixels, ld_x, channels), &rng);
            cr_rows_level(level)->planes(floats(&y), ld_y, floats(&x), ld_x, pixels, channels);
            for (int64_t c = 0; c < channels; c++)
                for (int64_t p = 0; p < pixels; p++)
                    assert_true(same(floats(&y)[c * ld_y + p], floats(&x)[p * ld_x + c]));
            guarded_free(&x);
            guarded_free(&y);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_act_sweep),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_finish),
        cmocka_unit_test(test_planes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
