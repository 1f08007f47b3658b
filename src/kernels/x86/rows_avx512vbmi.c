/* The rows of AVX-512 and, as this level has VBMI, tables in registers: two permutations pick from 128
 * bytes each, the code's top bit picks between them. */
#define ROWS(name) name##_avx512vbmi
#include "kernels/x86/vec_avx512.h"

typedef struct VT {
    __m512i part[4];
} VT;

static inline VT cr_load_table(const unsigned char *table)
{
    VT t;
    for (int i = 0; i < 4; i++) t.part[i] = _mm512_loadu_si512(table + 64 * i);
    return t;
}

static inline __m512i cr_look_up(VT t, __m512i x)
{
    const __m512i low = _mm512_permutex2var_epi8(t.part[0], x, t.part[1]);
    const __m512i high = _mm512_permutex2var_epi8(t.part[2], x, t.part[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high);
}

/* 48 bytes: byte 4 i + c comes from byte 3 i + c. */
static inline __m512i cr_spread(__m512i x)
{
    const __m512i step = _mm512_set_epi32(0x002f2e2d, 0x002c2b2a, 0x00292827, 0x00262524, 0x00232221, 0x00201f1e, 0x001d1c1b, 0x001a1918, 0x00171615, 0x00141312, 0x0011100f, 0x000e0d0c, 0x000b0a09, 0x00080706, 0x00050403, 0x00020100);
    return _mm512_maskz_permutexvar_epi8(0x7777777777777777ull, step, x);
}

#define VB_TRIPLES(p)        _mm512_maskz_loadu_epi8(VB_FIRST(48), p)
#define VB_SPREAD(x)         cr_spread(x)
#define VT_LOAD(table)       cr_load_table(table)
#define VT_LOOK(t, x)        cr_look_up(t, x)
#define VB_FIRST(n)          ((__mmask64)((1ull << (n)) - 1)) /* n < 64 */
#define VB_LOAD_N(p, n)      _mm512_maskz_loadu_epi8(VB_FIRST(n), p)
#define VB_STORE_N(p, v, n)  _mm512_mask_storeu_epi8(p, VB_FIRST(n), v)

#include "kernels/rows_body.h"

extern const cr_rows cr_rows_avx512vbmi;
const cr_rows cr_rows_avx512vbmi = ROWS_RECORD("avx512vbmi");
