/* Four rows of bytes to a group (P = 4). 64 channels at a time: the dwords of a row are transposed
 * as a 4x4 matrix first, so that interleaving within 128-bit lanes leaves channels in order. */
#define DW(name) dwconv_s8_##name##_avx512vnni
#define DW_MR    8
#include "kernels/x86/vec_avx512.h"

typedef __m512i DX;
#define DX_LOAD(p)        _mm512_load_si512(p)
#define DX_DOT(acc, x, w) _mm512_dpbusd_epi32(acc, x, w)
#include "kernels/dwconv_s8_body.h"

CR_INLINE void zip_64(const uint8_t *const row[4], unsigned char *out, int64_t plane, __m512i order)
{
    const __m512i a = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(row[0]));
    const __m512i b = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(row[1]));
    const __m512i c = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(row[2]));
    const __m512i d = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(row[3]));
    const __m512i ab0 = _mm512_unpacklo_epi8(a, b), ab1 = _mm512_unpackhi_epi8(a, b);
    const __m512i cd0 = _mm512_unpacklo_epi8(c, d), cd1 = _mm512_unpackhi_epi8(c, d);
    _mm512_store_si512(out, _mm512_unpacklo_epi16(ab0, cd0));
    _mm512_store_si512(out + plane, _mm512_unpackhi_epi16(ab0, cd0));
    _mm512_store_si512(out + 2 * plane, _mm512_unpacklo_epi16(ab1, cd1));
    _mm512_store_si512(out + 3 * plane, _mm512_unpackhi_epi16(ab1, cd1));
}

CR_INLINE __m128i load_16(const uint8_t *p, __mmask16 valid)
{
    return valid == 0xFFFF ? _mm_loadu_si128((const __m128i *)(const void *)p)
                           : _mm_maskz_loadu_epi8(valid, p);
}

/* The dwords of a channel quartet come together (order), then their bytes are transposed (bytes). */
CR_INLINE void zip_16(const uint8_t *const row[4], unsigned char *out, __m512i order, __m512i bytes,
                      __mmask16 valid)
{
    __m512i v = _mm512_castsi128_si512(load_16(row[0], valid));
    v = _mm512_inserti32x4(v, load_16(row[1], valid), 1);
    v = _mm512_inserti32x4(v, load_16(row[2], valid), 2);
    v = _mm512_inserti32x4(v, load_16(row[3], valid), 3);
    v = _mm512_permutexvar_epi32(order, v);
    _mm512_store_si512(out, _mm512_shuffle_epi8(v, bytes));
}

/* One pixel of each row. */
CR_INLINE void zip_pixel(const uint8_t *const row[4], int64_t channels, unsigned char *out,
                         int64_t plane, __m512i order, __m512i bytes)
{
    int64_t c = 0;
    for (; c + 64 <= channels; c += 64, out += 4 * plane) {
        const uint8_t *const at[4] = {row[0] + c, row[1] + c, row[2] + c, row[3] + c};
        zip_64(at, out, plane, order);
    }
    for (; c < channels; c += 16, out += plane) {
        const uint8_t *const at[4] = {row[0] + c, row[1] + c, row[2] + c, row[3] + c};
        if (c + 16 <= channels)
            zip_16(at, out, order, bytes, 0xFFFF);
        else
            zip_16(at, out, order, bytes, (__mmask16)((1u << (channels - c)) - 1));
    }
}

/* Pixels of 16 channels that touch are like one pixel of 64 channels whose planes touch. */
static int64_t zip_touching(const cr_dwconv_zip *z, const uint8_t *row[4], __m512i order)
{
    int64_t x = 0;
    if (z->channels != 16) return 0;
    for (int i = 0; i < 4; i++)
        if (z->step[i] != 16) return 0;
    for (; x + 4 <= z->columns; x += 4) {
        zip_64((const uint8_t *const *)row, z->out + x * 64, 64, order);
        for (int i = 0; i < 4; i++) row[i] += 64;
    }
    return x;
}

static void DW(zip)(const cr_dwconv_zip *z)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400);
    const uint8_t *row[4] = {z->row[0], z->row[1], z->row[2], z->row[3]};
    for (int64_t x = zip_touching(z, row, order); x < z->columns; x++) {
        zip_pixel((const uint8_t *const *)row, z->channels, z->out + x * 64, z->plane, order,
                  bytes);
        for (int i = 0; i < 4; i++) row[i] += z->step[i];
    }
}

extern const cr_dwconv_s8_kernel cr_dwconv_s8_avx512vnni;
const cr_dwconv_s8_kernel cr_dwconv_s8_avx512vnni = DW_RECORD("avx512vnni", 4, 1);
