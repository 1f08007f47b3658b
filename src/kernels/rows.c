/* The portable row kernels, and the choice of a record. */
#include "kernels/rows.h"

#include <string.h>

#include "crayon/arith.h"

static float act_one(float x, const cr_act *a)
{
    switch (a->kind) {
    case CR_ACT_RELU:
        return cr_clipf(x, 0, INFINITY);
    case CR_ACT_CLIP:
        return cr_clipf(x, a->a, a->b);
    case CR_ACT_LEAKY_RELU:
        return cr_leaky_reluf(x, a->a);
    case CR_ACT_SIGMOID:
        return cr_sigmoidf(x);
    case CR_ACT_SILU:
        return cr_siluf(x);
    case CR_ACT_HARD_SIGMOID:
        return cr_hard_sigmoidf(x, a->a, a->b);
    case CR_ACT_HARD_SWISH:
        return cr_hard_swishf(x);
    default:
        return x;
    }
}

static void act_c(float *y, const float *x, size_t n, const cr_act *act)
{
    for (size_t i = 0; i < n; i++) y[i] = act_one(x[i], act);
}

static void quantize_c(uint8_t *y, const float *x, size_t n, float scale, int32_t zero_point)
{
    for (size_t i = 0; i < n; i++) y[i] = cr_quantize_u8(x[i], scale, zero_point);
}

static void quantize_pixels_c(uint8_t *y, const float *const planes[4], size_t n, float scale,
                              int32_t zero_point)
{
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 4; c++)
            y[4 * i + c] = planes[c] ? cr_quantize_u8(planes[c][i], scale, zero_point) : 0;
}

static void code_pixels_c(uint8_t *y, const uint8_t *x, size_t n, const uint8_t table[3][256])
{
    for (size_t i = 0; i < n; i++) {
        for (int c = 0; c < 3; c++) y[4 * i + c] = table[c][x[3 * i + c]];
        y[4 * i + 3] = 0;
    }
}

static void quantize_each_c(uint8_t *y, const float *x, size_t n, const float *scale,
                            const int32_t *zero_point)
{
    for (size_t i = 0; i < n; i++) y[i] = cr_quantize_u8(x[i], scale[i], zero_point[i]);
}

static void dequantize_each_c(float *y, const uint8_t *x, size_t n, const float *scale,
                              const int32_t *zero_point)
{
    for (size_t i = 0; i < n; i++) y[i] = cr_dequantize(x[i], scale[i], zero_point[i]);
}

static void dequantize_c(float *y, const uint8_t *x, size_t n, float scale, int32_t zero_point)
{
    for (size_t i = 0; i < n; i++) y[i] = cr_dequantize(x[i], scale, zero_point);
}

static void table_c(uint8_t *y, const uint8_t *x, const cr_finish_area *area,
                    const uint8_t table[256])
{
    for (int64_t r = 0; r < area->rows; r++, y += area->ld_out, x += area->ld_in)
        for (int64_t i = 0; i < area->cols; i++) y[i] = table[x[i]];
}

static void add_u8_c(uint8_t *y, int64_t ld, const cr_codes *a, const cr_codes *b, int64_t rows,
                     int64_t cols, float scale, int32_t zero_point)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < cols; i++)
            y[r * ld + i] =
                cr_quantize_u8(cr_dequantize(a->data[r * a->ld + i], a->scale, a->zero_point) +
                                   cr_dequantize(b->data[r * b->ld + i], b->scale, b->zero_point),
                               scale, zero_point);
}

static void put_wide(uint8_t *y, int64_t plane, int32_t code)
{
    y[0] = (uint8_t)(code >> 8);
    y[plane] = (uint8_t)(code & 255);
}

static void quantize_wide_c(uint8_t *y, int64_t plane, const float *x, size_t n, const float *scale,
                            const int32_t *zero_point)
{
    for (size_t i = 0; i < n; i++)
        put_wide(y + i, plane, cr_quantize_u16(x[i], scale[i], zero_point[i]));
}

static void dequantize_wide_c(float *y, const uint8_t *x, int64_t plane, size_t n,
                              const float *scale, const int32_t *zero_point)
{
    for (size_t i = 0; i < n; i++)
        y[i] = cr_dequantize(x[i] << 8 | x[(int64_t)i + plane], scale[i], zero_point[i]);
}

static void join_sums_c(int32_t *high, const int32_t *low, const double *offset,
                        const cr_finish_area *area)
{
    for (int64_t r = 0; r < area->rows; r++, high += area->ld_in, low += area->ld_in)
        for (int64_t i = 0; i < area->cols; i++) {
            const float sum = (float)((double)high[i] * 256 + (double)low[i] + offset[i]);
            memcpy(high + i, &sum, sizeof sum);
        }
}

static void take_zeros_c(int32_t *sums, const int32_t *zero, const int32_t *ones,
                         const cr_finish_area *area)
{
    for (int64_t r = 0; r < area->rows; r++, sums += area->ld_in, ones += area->ld_out)
        for (int64_t i = 0; i < area->cols; i++)
            sums[i] = cr_wrap_add(sums[i], cr_wrap_mul(-zero[i], *ones));
}

static float sum_value(int32_t acc, const cr_finish *f)
{
    float sum = (float)acc;
    if (f->floats) memcpy(&sum, &acc, sizeof sum);
    return sum;
}

static void finish_f32_c(float *y, const int32_t *acc, const cr_finish_area *area,
                         const cr_finish *f)
{
    for (int64_t r = 0; r < area->rows; r++, y += area->ld_out, acc += area->ld_in)
        for (int64_t i = 0; i < area->cols; i++)
            y[i] = act_one(sum_value(acc[i], f) * f->multiplier[i], &f->act);
}

/* Column i; codes 0..top. */
static int32_t finish_one(int32_t acc, int64_t i, const cr_finish *f, const uint8_t *added,
                          int32_t top)
{
    const cr_codes *r = &f->residual;
    const float m = f->multiplier[i], scale = f->scales ? f->scales[i] : f->scale;
    const int32_t zero = f->scales ? f->zeros[i] : f->zero_point;
    const float x = sum_value(acc, f) * m;
    if (r->data)
        return cr_quantize_value(
            act_one(x, &f->act) + cr_dequantize(*added, r->scale, r->zero_point), scale, zero, 0,
            top);
    if (f->act.kind == CR_ACT_NONE) return cr_round_clamp(x, zero, 0, top);
    return cr_quantize_value(act_one(x, &f->act), scale, zero, 0, top);
}

static void finish_u8_c(uint8_t *y, const int32_t *acc, const cr_finish_area *area,
                        const cr_finish *f)
{
    for (int64_t r = 0; r < area->rows; r++, y += area->ld_out, acc += area->ld_in)
        for (int64_t i = 0; i < area->cols; i++)
            y[i] = (uint8_t)finish_one(acc[i], i, f, f->residual.data + r * f->residual.ld + i, 255);
}

static void finish_wide_c(uint8_t *y, int64_t plane, const int32_t *acc, const cr_finish_area *area,
                          const cr_finish *f)
{
    for (int64_t r = 0; r < area->rows; r++, y += area->ld_out, acc += area->ld_in)
        for (int64_t i = 0; i < area->cols; i++)
            put_wide(y + i, plane, finish_one(acc[i], i, f, NULL, 65535));
}

static void finish_live_c(float *y, const int32_t *acc, const cr_finish_area *area,
                          const cr_finish *f)
{
    for (int64_t r = 0; r < area->rows; r++, y += area->ld_out, acc += area->ld_in)
        for (int64_t i = 0; i < area->cols; i++) {
            const float v = (float)cr_wrap_add(acc[i], f->zeros[i]) * f->multiplier[i];
            y[i] = act_one(v + f->scales[i], &f->act);
        }
}

static void range_c(const float *x, size_t n, float *lo, float *hi)
{
    for (size_t i = 0; i < n; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
}

static void max_f32_c(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void max_u8_c(uint8_t *y, const uint8_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void add_f32_c(float *y, const float *x, const float *w, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] + w[i];
}

static void mul_f32_c(float *y, const float *x, const float *w, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] * w[i];
}

static void exp_sum_c(float *y, const float *x, const float *shift, float *sum, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = cr_expf(x[i] - shift[i]);
        sum[i] += y[i];
    }
}

static void exp_mean_c(const float *x, const float *shift, float w, float *sum, float *mean,
                       size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float e = cr_expf(x[i] - shift[i]);
        sum[i] += e;
        mean[i] = fmaf(e, w, mean[i]);
    }
}

static void planes_c(float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t pixels,
                     int64_t channels)
{
    for (int64_t c = 0; c < channels; c++)
        for (int64_t p = 0; p < pixels; p++) y[c * ld_y + p] = x[p * ld_x + c];
}

static const cr_rows rows_c = {.name = "rows c",
                               .act = act_c,
                               .quantize = quantize_c,
                               .quantize_pixels = quantize_pixels_c,
                               .code_pixels = code_pixels_c,
                               .dequantize = dequantize_c,
                               .quantize_each = quantize_each_c,
                               .dequantize_each = dequantize_each_c,
                               .quantize_wide = quantize_wide_c,
                               .dequantize_wide = dequantize_wide_c,
                               .finish_wide = finish_wide_c,
                               .join_sums = join_sums_c,
                               .take_zeros = take_zeros_c,
                               .table = table_c,
                               .add_u8 = add_u8_c,
                               .finish_f32 = finish_f32_c,
                               .finish_u8 = finish_u8_c,
                               .finish_live = finish_live_c,
                               .range = range_c,
                               .max_f32 = max_f32_c,
                               .max_u8 = max_u8_c,
                               .add_f32 = add_f32_c,
                               .mul_f32 = mul_f32_c,
                               .exp_sum = exp_sum_c,
                               .exp_mean = exp_mean_c,
                               .planes = planes_c};

#define CR_ROWS_ONLY
#define KERNEL_RECORD cr_rows
#define KERNEL_C      rows_c
#define KERNEL_LEVEL  cr_rows_level
#define KERNEL_SELECT cr_rows_get
#include "kernels/select.h"
