/* 16 channels of two rows, side by side: the first step of the levels that multiply int16 pairs. */
#ifndef CR_KERNELS_DWCONV_S8_PAIRS_H
#define CR_KERNELS_DWCONV_S8_PAIRS_H

#include <immintrin.h>
#include <string.h>

typedef struct pair {
    __m128i lo, hi; /* channels 0..7 and 8..15 */
} pair;

static inline __m128i load_codes(const unsigned char *p, int n)
{
    if (n == 16) return _mm_loadu_si128((const __m128i *)(const void *)p);
    unsigned char part[16] = {0};
    memcpy(part, p, (size_t)n);
    return _mm_loadu_si128((const __m128i *)(const void *)part);
}

/* The first n <= 16 channels; zeros follow. */
static inline pair zip_pair(const unsigned char *a, const unsigned char *b, int n)
{
    const __m128i va = load_codes(a, n), vb = load_codes(b, n);
    return (pair){_mm_unpacklo_epi8(va, vb), _mm_unpackhi_epi8(va, vb)};
}

#endif
