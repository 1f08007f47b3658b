/* What the losses share: views of branches, and the two functions of binary cross-entropy. */
#include "train/loss.h"

#include <math.h>
#include <string.h>

cr_raw cr_raw_planes(cr_dtype real, const void *value, void *grad, int64_t channels, int64_t cells,
                     int64_t first)
{
    const size_t skip =
        (size_t)(first * cells) * (real == CR_DT_F32 ? sizeof(float) : sizeof(double));
    return (cr_raw){(const char *)value + skip, grad ? (char *)grad + skip : NULL, channels * cells,
                    cells, 1};
}

void cr_raw_clear(const cr_raw *r, cr_dtype real, size_t pictures, size_t channels, size_t cells)
{
    if (!r->value || !r->grad) return;
    const size_t size = real == CR_DT_F32 ? sizeof(float) : sizeof(double);
    for (size_t p = 0; p < pictures; p++)
        for (size_t c = 0; c < channels; c++) {
            if (r->cell == 1) {
                memset((char *)r->grad + cr_raw_at(r, p, c, 0) * size, 0, cells * size);
                continue;
            }
            for (size_t i = 0; i < cells; i++) cr_raw_put(r, real, cr_raw_at(r, p, c, i), 0);
        }
}

/* Exponent bits all set: infinite or NaN. Without a branch, so that the loop is one of vectors. */
static bool row_finite_f32(const float *x, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

bool cr_raw_finite(const cr_raw *r, cr_dtype real, size_t pictures, size_t channels, size_t cells)
{
    if (!r->value) return true;
    for (size_t p = 0; p < pictures; p++)
        for (size_t c = 0; c < channels; c++) {
            if (real == CR_DT_F32 && r->cell == 1) {
                const float *row = (const float *)r->value + cr_raw_at(r, p, c, 0);
                if (!row_finite_f32(row, cells)) return false;
                continue;
            }
            for (size_t i = 0; i < cells; i++)
                if (!isfinite(cr_raw_get(r, real, cr_raw_at(r, p, c, i)))) return false;
        }
    return true;
}

double cr_softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

double cr_sigmoid(double x)
{
    const double e = exp(-fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}
