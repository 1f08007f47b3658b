/* Element types: one table, and the conversions of half-precision floats. */
#include <math.h>
#include <string.h>

#include "graph/graph.h"

static const struct {
    const char *key;
    int onnx, bytes, is_float, is_signed;
} table[CR_DT_COUNT] = {
    [CR_DT_NONE] = {"?", 0, 0, 0, 0},
#define CR_DTYPE(name, key, onnx, bytes, is_float, is_signed)                                      \
    [CR_DT_##name] = {key, onnx, bytes, is_float, is_signed},
#include "graph/dtypes.inc"
#undef CR_DTYPE
};

const char *cr_dtype_key(cr_dtype t) { return table[t].key; }
size_t cr_dtype_size(cr_dtype t) { return (size_t)table[t].bytes; }
bool cr_dtype_is_float(cr_dtype t) { return table[t].is_float; }
bool cr_dtype_is_signed(cr_dtype t) { return table[t].is_signed; }
int cr_dtype_to_onnx(cr_dtype t) { return table[t].onnx; }

cr_dtype cr_dtype_from_onnx(int number)
{
    for (int i = 1; i < CR_DT_COUNT && number > 0; i++)
        if (table[i].onnx == number) return (cr_dtype)i;
    return CR_DT_NONE;
}

cr_dtype cr_dtype_from_key(const char *key)
{
    for (int i = 1; i < CR_DT_COUNT; i++)
        if (!strcmp(table[i].key, key)) return (cr_dtype)i;
    return CR_DT_NONE;
}

static float bits_to_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t f32_to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float cr_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, mant = h & 1023;
    if (exp == 0) { /* zero or subnormal: mant * 2^-24 is exact */
        const float f = (float)mant * 0x1p-24f;
        return sign ? -f : f;
    }
    if (exp == 31) return bits_to_f32(sign | 0x7f800000u | mant << 13);
    return bits_to_f32(sign | (exp + 112) << 23 | mant << 13);
}

uint16_t cr_f32_to_f16(float f)
{
    const uint32_t u = f32_to_bits(f), sign = u >> 16 & 0x8000, mag = u & 0x7fffffff;
    if (mag > 0x7f800000u) return (uint16_t)(sign | 0x7e00);
    if (mag >= 0x477ff000u) return (uint16_t)(sign | 0x7c00); /* 65520 and up round to infinity */
    if (mag < 0x38800000u) {                                  /* below 2^-14: subnormal */
        const float scaled = bits_to_f32(mag) * 0x1p24f;      /* exact */
        return (uint16_t)(sign | (uint32_t)rintf(scaled));
    }
    const uint32_t odd = mag >> 13 & 1;
    return (uint16_t)(sign | ((mag + 0xfff + odd - 0x38000000u) >> 13));
}

float cr_bf16_to_f32(uint16_t h) { return bits_to_f32((uint32_t)h << 16); }

uint16_t cr_f32_to_bf16(float f)
{
    const uint32_t u = f32_to_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

#define LOAD(type) ((const type *)t->data)[i]

int64_t cr_tensor_get_i64(const cr_tensor *t, size_t i)
{
    switch (t->dtype) {
    case CR_DT_I64: return LOAD(int64_t);
    case CR_DT_U64: return (int64_t)LOAD(uint64_t);
    case CR_DT_I32: return LOAD(int32_t);
    case CR_DT_U32: return LOAD(uint32_t);
    case CR_DT_I16: return LOAD(int16_t);
    case CR_DT_U16: return LOAD(uint16_t);
    case CR_DT_I8:
    case CR_DT_I4:
    case CR_DT_I2:
    case CR_DT_I1: return LOAD(int8_t);
    case CR_DT_U8:
    case CR_DT_U4:
    case CR_DT_U2:
    case CR_DT_BOOL: return LOAD(uint8_t);
    default: break;
    }
    const double x = cr_tensor_get_f64(t, i);
    if (!(x > -9.2e18)) return x != x ? 0 : INT64_MIN; /* saturating, NaN is 0 */
    return x < 9.2e18 ? (int64_t)x : INT64_MAX;
}

double cr_tensor_get_f64(const cr_tensor *t, size_t i)
{
    switch (t->dtype) {
    case CR_DT_F32: return LOAD(float);
    case CR_DT_F64: return LOAD(double);
    case CR_DT_F16: return cr_f16_to_f32(LOAD(uint16_t));
    case CR_DT_BF16: return cr_bf16_to_f32(LOAD(uint16_t));
    case CR_DT_U64: return (double)LOAD(uint64_t);
    case CR_DT_NONE:
    case CR_DT_COUNT: return 0;
    default: return (double)cr_tensor_get_i64(t, i);
    }
}
