/* Pairs of rows as int16 (P = 2): no 16-bit saturating byte products, they would be wrong. */
#define DW(name) dwconv_s8_##name##_avx2
#define DW_MR    6
#include "kernels/x86/vec_avx2.h"

typedef __m256i DX;
#define DX_LOAD(p)        _mm256_load_si256((const __m256i *)(const void *)(p))
#define DX_DOT(acc, x, w) _mm256_add_epi32(acc, _mm256_madd_epi16(x, w))
#include "kernels/dwconv_s8_body.h"
#include "kernels/x86/dwconv_s8_pairs.h"

CR_INLINE void DW(store)(unsigned char *out, int64_t plane, __m128i lo, __m128i hi)
{
    _mm256_store_si256((__m256i *)(void *)out, _mm256_cvtepu8_epi16(lo));
    _mm256_store_si256((__m256i *)(void *)(out + plane), _mm256_cvtepu8_epi16(hi));
}

static void DW(zip)(const cr_dwconv_zip *z)
{
    for (int64_t x = 0; x < z->columns; x++) {
        const uint8_t *a = z->row[0] + x * z->step[0], *b = z->row[1] + x * z->step[1];
        unsigned char *out = z->out + x * 32;
        int64_t c = 0;
        for (; c + 16 <= z->channels; c += 16, out += 2 * z->plane) {
            const pair p = zip_pair(a + c, b + c, 16);
            DW(store)(out, z->plane, p.lo, p.hi);
        }
        if (c == z->channels) continue;
        const pair p = zip_pair(a + c, b + c, (int)(z->channels - c));
        DW(store)(out, z->channels - c > 8 ? z->plane : 0, p.lo, z->channels - c > 8 ? p.hi : p.lo);
    }
}

extern const cr_dwconv_s8_kernel cr_dwconv_s8_avx2;
const cr_dwconv_s8_kernel cr_dwconv_s8_avx2 = DW_RECORD("avx2", 2, 2);
