/* Vector macros of rows_body.h and conv_body.h for AVX-512 (F, BW, DQ, VL). */
#ifndef CR_KERNELS_VEC_AVX512_H
#define CR_KERNELS_VEC_AVX512_H

#include <immintrin.h>

typedef __m512 VF;
typedef __m512i VI;
#define VN              16
#define V_GROUP         6
#define V_LOAD(p)       _mm512_loadu_ps(p)
#define V_STORE(p, v)   _mm512_storeu_ps(p, v)
#define V_SET1(x)       _mm512_set1_ps(x)
#define V_ADD(a, b)     _mm512_add_ps(a, b)
#define V_SUB(a, b)     _mm512_sub_ps(a, b)
#define V_MUL(a, b)     _mm512_mul_ps(a, b)
#define V_DIV(a, b)     _mm512_div_ps(a, b)
#define V_SQRT(a)       _mm512_sqrt_ps(a)
#define V_FMA(a, b, c)  _mm512_fmadd_ps(a, b, c)
#define V_FNMA(a, b, c) _mm512_fnmadd_ps(a, b, c)
#define V_MAX(k, x)     _mm512_max_ps(k, x)
#define V_MIN(k, x)     _mm512_min_ps(k, x)
#define V_MAX_NUM(x, k) _mm512_max_ps(x, k) /* NaN in x gives k */
#define V_EXP2BITS(t)   _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t), 23))
#define V_BELOW0(x, a, b)                                                                          \
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), b, a)
#define V_ROUND_I(x)        _mm512_cvtps_epi32(x)
#define VI_LOAD(p)          _mm512_loadu_si512(p)
#define VI_STORE(p, v)      _mm512_storeu_si512(p, v)
#define VI_ADD(a, b)        _mm512_add_epi32(a, b)
#define VI_LEFT8(v)         _mm512_slli_epi32(v, 8)
#define VI_RIGHT8(v)        _mm512_srli_epi32(v, 8)
#define VI_LOW8(v)          _mm512_and_si512(v, _mm512_set1_epi32(255))
#define VI_SUB(a, b)        _mm512_sub_epi32(a, b)
#define VI_MUL(a, b)        _mm512_mullo_epi32(a, b)
#define V_JOIN(h, l, o)     cr_avx512_join(h, l, o)
#define VI_SET1(x)          _mm512_set1_epi32(x)
#define VI_TO_F(v)          _mm512_cvtepi32_ps(v)
#define VI_STORE_U8(p, v)   _mm_storeu_si128((__m128i *)(p), _mm512_cvtepi32_epi8(v))
/* saturation to 255 is the narrowing's: what is negative would wrap, hence the bound lo */
#define V_STORE_CODES(p, v, lo, hi, zp)                                                            \
    _mm_storeu_si128((__m128i *)(p), _mm512_cvtusepi32_epi8(_mm512_add_epi32(                      \
                                         _mm512_cvtps_epi32(_mm512_max_ps(v, lo)), zp)))
#define V_LOAD_U8(p)        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(p)))
#define VB_N                64
#define VB_LOAD(p)          _mm512_loadu_si512(p)
#define VB_STORE(p, v)      _mm512_storeu_si512(p, v)
#define VB_MAX(a, b)        _mm512_max_epu8(a, b)
#define V_LOAD_U8_F(p)      VI_TO_F(V_LOAD_U8(p))
#define V_LOAD_U8_F_N(p, n) VI_TO_F(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(V_FIRST(n), p)))
#define V_LOAD_N(p, n)      _mm512_maskz_loadu_ps(V_FIRST(n), p)
#define V_STORE_N(p, v, n)  _mm512_mask_storeu_ps(p, V_FIRST(n), v)
#define VI_LOAD_N(p, n)     _mm512_maskz_loadu_epi32(V_FIRST(n), p)
#define VI_STORE_N(p, v, n) _mm512_mask_storeu_epi32(p, V_FIRST(n), v)
#define V_FIRST(n)          ((__mmask16)((1u << (n)) - 1)) /* the first n lanes, n <= 16 */

static inline __m256 cr_avx512_join_8(__m256i high, __m256i low, const double *offset)
{
    const __m512d rest = _mm512_add_pd(_mm512_cvtepi32_pd(low), _mm512_loadu_pd(offset));
    return _mm512_cvtpd_ps(
        _mm512_fmadd_pd(_mm512_cvtepi32_pd(high), _mm512_set1_pd(256.0), rest));
}

static inline __m512 cr_avx512_join(__m512i high, __m512i low, const double *offset)
{
    const __m256 a = cr_avx512_join_8(_mm512_castsi512_si256(high), _mm512_castsi512_si256(low),
                                      offset);
    const __m256 b = cr_avx512_join_8(_mm512_extracti32x8_epi32(high, 1),
                                      _mm512_extracti32x8_epi32(low, 1), offset + 8);
    return _mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1);
}

/* 16 x 16: pairs, quads, then 128-bit lanes in two rounds. */
static inline void cr_avx512_transpose(__m512 r[16])
{
    __m512 t[16], u[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int h = 0; h < 2; h++) {
            const __m512d a = _mm512_castps_pd(t[i + h]), b = _mm512_castps_pd(t[i + 2 + h]);
            u[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            u[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int c = 0; c < 4; c++) {
        const __m512 a = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x88);
        const __m512 b = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xdd);
        const __m512 d = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x88);
        const __m512 e = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xdd);
        r[c] = _mm512_shuffle_f32x4(a, d, 0x88);
        r[4 + c] = _mm512_shuffle_f32x4(b, e, 0x88);
        r[8 + c] = _mm512_shuffle_f32x4(a, d, 0xdd);
        r[12 + c] = _mm512_shuffle_f32x4(b, e, 0xdd);
    }
}
#define V_TRANSPOSE(r) cr_avx512_transpose(r)

#endif
