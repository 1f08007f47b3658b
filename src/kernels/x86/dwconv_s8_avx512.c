/* Pairs of rows as int16 (P = 2), 16 channels to a vector. */
#define DW(name) dwconv_s8_##name##_avx512
#define DW_MR    8
#include "kernels/x86/vec_avx512.h"

typedef __m512i DX;
#define DX_LOAD(p)        _mm512_load_si512(p)
#define DX_DOT(acc, x, w) _mm512_add_epi32(acc, _mm512_madd_epi16(x, w))
#include "kernels/dwconv_s8_body.h"
#include "kernels/x86/dwconv_s8_pairs.h"

static void DW(zip)(const cr_dwconv_zip *z)
{
    for (int64_t x = 0; x < z->columns; x++) {
        const uint8_t *a = z->row[0] + x * z->step[0], *b = z->row[1] + x * z->step[1];
        unsigned char *out = z->out + x * 64;
        for (int64_t c = 0; c < z->channels; c += 16, out += z->plane) {
            const int64_t left = z->channels - c;
            const pair p = zip_pair(a + c, b + c, left < 16 ? (int)left : 16);
            const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(p.lo), p.hi, 1);
            _mm512_store_si512(out, _mm512_cvtepu8_epi16(both));
        }
    }
}

extern const cr_dwconv_s8_kernel cr_dwconv_s8_avx512;
const cr_dwconv_s8_kernel cr_dwconv_s8_avx512 = DW_RECORD("avx512", 2, 2);
