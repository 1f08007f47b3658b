/* Vector macros of rows_body.h and conv_body.h for AVX2 with FMA. */
#ifndef CR_KERNELS_VEC_AVX2_H
#define CR_KERNELS_VEC_AVX2_H

#include <immintrin.h>

typedef __m256 VF;
typedef __m256i VI;
#define VN                  8
#define V_GROUP             4
#define V_LOAD(p)           _mm256_loadu_ps(p)
#define V_STORE(p, v)       _mm256_storeu_ps(p, v)
#define V_SET1(x)           _mm256_set1_ps(x)
#define V_ADD(a, b)         _mm256_add_ps(a, b)
#define V_SUB(a, b)         _mm256_sub_ps(a, b)
#define V_MUL(a, b)         _mm256_mul_ps(a, b)
#define V_DIV(a, b)         _mm256_div_ps(a, b)
#define V_SQRT(a)           _mm256_sqrt_ps(a)
#define V_FMA(a, b, c)      _mm256_fmadd_ps(a, b, c)
#define V_FNMA(a, b, c)     _mm256_fnmadd_ps(a, b, c)
#define V_MAX(k, x)         _mm256_max_ps(k, x)
#define V_MIN(k, x)         _mm256_min_ps(k, x)
#define V_MAX_NUM(x, k)     _mm256_max_ps(x, k) /* NaN in x gives k */
#define V_EXP2BITS(t)       _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23))
#define V_BELOW0(x, a, b)   _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ))
#define V_ROUND_I(x)        _mm256_cvtps_epi32(x)
#define VI_LOAD(p)          _mm256_loadu_si256((const __m256i *)(p))
#define VI_STORE(p, v)      _mm256_storeu_si256((__m256i *)(p), v)
#define VI_ADD(a, b)        _mm256_add_epi32(a, b)
#define VI_LEFT8(v)         _mm256_slli_epi32(v, 8)
#define VI_RIGHT8(v)        _mm256_srli_epi32(v, 8)
#define VI_LOW8(v)          _mm256_and_si256(v, _mm256_set1_epi32(255))
#define VI_SUB(a, b)        _mm256_sub_epi32(a, b)
#define VI_MUL(a, b)        _mm256_mullo_epi32(a, b)
#define V_JOIN(h, l, o)     cr_avx2_join(h, l, o)
#define VI_SET1(x)          _mm256_set1_epi32(x)
#define VI_TO_F(v)          _mm256_cvtepi32_ps(v)
#define VI_STORE_U8(p, v)   cr_avx2_store_u8(p, v)
#define V_LOAD_U8(p)        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p)))
#define VB_N                32
#define VB_LOAD(p)          _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define VB_STORE(p, v)      _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define VB_MAX(a, b)        _mm256_max_epu8(a, b)
#define V_LOAD_U8_F(p)      VI_TO_F(V_LOAD_U8(p))
#define V_LOAD_U8_F_N(p, n) VI_TO_F(cr_avx2_load_u8_n(p, n))
#define V_LOAD_N(p, n)      _mm256_maskload_ps(p, cr_avx2_mask(n))
#define V_STORE_N(p, v, n)  _mm256_maskstore_ps(p, cr_avx2_mask(n), v)
#define VI_LOAD_N(p, n)     _mm256_maskload_epi32(p, cr_avx2_mask(n))
#define VI_STORE_N(p, v, n) _mm256_maskstore_epi32(p, cr_avx2_mask(n), v)

/* All ones in the first n lanes. */
static inline __m256i cr_avx2_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first n < 8 codes at p as int32, then zeros. */
static inline __m256i cr_avx2_load_u8_n(const unsigned char *p, int n)
{
    unsigned long long x = 0;
    for (int i = 0; i < n; i++) x |= (unsigned long long)p[i] << 8 * i;
    return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)x));
}

/* Eight int32 within 0..255 to bytes. */
static inline void cr_avx2_store_u8(void *p, __m256i v)
{
    const __m128i w = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(w, w));
}

static inline __m128 cr_avx2_join_4(__m128i high, __m128i low, const double *offset)
{
    const __m256d rest = _mm256_add_pd(_mm256_cvtepi32_pd(low), _mm256_loadu_pd(offset));
    return _mm256_cvtpd_ps(
        _mm256_fmadd_pd(_mm256_cvtepi32_pd(high), _mm256_set1_pd(256.0), rest));
}

static inline __m256 cr_avx2_join(__m256i high, __m256i low, const double *offset)
{
    const __m128 a = cr_avx2_join_4(_mm256_castsi256_si128(high), _mm256_castsi256_si128(low),
                                    offset);
    const __m128 b = cr_avx2_join_4(_mm256_extracti128_si256(high, 1),
                                    _mm256_extracti128_si256(low, 1), offset + 4);
    return _mm256_insertf128_ps(_mm256_castps128_ps256(a), b, 1);
}

/* 8 x 8: pairs, quads, then halves. */
static inline void cr_avx2_transpose(__m256 r[8])
{
    __m256 t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int h = 0; h < 2; h++) {
            u[i + 2 * h] = _mm256_shuffle_ps(t[i + h], t[i + 2 + h], 0x44);
            u[i + 2 * h + 1] = _mm256_shuffle_ps(t[i + h], t[i + 2 + h], 0xee);
        }
    for (int c = 0; c < 4; c++) {
        r[c] = _mm256_permute2f128_ps(u[c], u[4 + c], 0x20);
        r[4 + c] = _mm256_permute2f128_ps(u[c], u[4 + c], 0x31);
    }
}
#define V_TRANSPOSE(r) cr_avx2_transpose(r)

#endif
