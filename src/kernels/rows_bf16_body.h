/* Rows of bfloat16, written once over vec_bf16_*.h; ROWS(name) names the functions. The maximum
 * compares 16-bit integers: flipping the lower bits of negative values puts all in order, and the
 * same flip brings them back. */
#include "kernels/rows_bf16.h"
#include "kernels/unroll.h"

enum { ROWS(shorts) = 4 * VN / 2 }; /* values of 16 bits in a register of VN floats */
typedef int16_t ROWS(vs) __attribute__((vector_size(ROWS(shorts) * 2)));

static void ROWS(from_f32)(cr_bf16 *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) B_STORE(y + i, V_LOAD(x + i));
    for (; i < n; i++) y[i] = cr_bf16_round(x[i]);
}

static void ROWS(from_area)(cr_bf16 *y, const float *x, const cr_finish_area *area)
{
    for (int64_t r = 0; r < area->rows; r++)
        ROWS(from_f32)(y + r * area->ld_out, x + r * area->ld_in, (size_t)area->cols);
}

static void ROWS(to_f32)(float *y, const cr_bf16 *x, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) V_STORE(y + i, B_LOAD(x + i));
    for (; i < n; i++) y[i] = cr_bf16_widen(x[i]);
}

CR_INLINE int16_t ROWS(ordered)(cr_bf16 h)
{
    return (int16_t)(h & 0x8000 ? h ^ 0x7fff : h);
}

CR_INLINE ROWS(vs) ROWS(ordered_v)(ROWS(vs) v)
{
    return v ^ ((v >> 15) & 0x7fff);
}

static void ROWS(max)(cr_bf16 *y, const cr_bf16 *x, size_t n)
{
    size_t i = 0;
    for (; i + ROWS(shorts) <= n; i += ROWS(shorts)) {
        ROWS(vs) a, b;
        memcpy(&a, x + i, sizeof a);
        memcpy(&b, y + i, sizeof b);
        const ROWS(vs) u = ROWS(ordered_v)(a), v = ROWS(ordered_v)(b), above = u > v;
        b = (a & above) | (b & ~above);
        memcpy(y + i, &b, sizeof b);
    }
    for (; i < n; i++) y[i] = ROWS(ordered)(x[i]) > ROWS(ordered)(y[i]) ? x[i] : y[i];
}

static void ROWS(add)(cr_bf16 *y, const cr_bf16 *x, const cr_bf16 *w, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) B_STORE(y + i, B_LOAD(x + i) + B_LOAD(w + i));
    for (; i < n; i++) y[i] = cr_bf16_round(cr_bf16_widen(x[i]) + cr_bf16_widen(w[i]));
}

/* VN pixels: a pixel's four values are one 64-bit word. */
CR_INLINE void ROWS(weave_part)(cr_bf16 *y, const float *const planes[4], size_t at)
{
    cr_bf16 part[4][VN] = {{0}};
    uint64_t pixel[VN];
    CR_UNROLL for (int k = 0; k < 4; k++) if (planes[k]) B_STORE(part[k], V_LOAD(planes[k] + at));
    for (int i = 0; i < VN; i++)
        pixel[i] = (uint64_t)part[0][i] | (uint64_t)part[1][i] << 16 | (uint64_t)part[2][i] << 32 |
                   (uint64_t)part[3][i] << 48;
    memcpy(y, pixel, sizeof pixel);
}

static void ROWS(weave)(cr_bf16 *y, const float *const planes[4], size_t n)
{
    size_t i = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; i + VN <= n; i += VN) ROWS(weave_part)(y + 4 * i, planes, i);
#endif
    for (; i < n; i++)
        for (int k = 0; k < 4; k++) y[4 * i + k] = planes[k] ? cr_bf16_round(planes[k][i]) : 0;
}

#define ROWS_RECORD(level)                                                                         \
    {                                                                                              \
        "rows_bf16 " level, ROWS(from_f32), ROWS(to_f32), ROWS(from_area), ROWS(max), ROWS(add),   \
            ROWS(weave)                                                                            \
    }
