/* Transposition of matrices of 1- and 4-byte elements. */
#ifndef CR_KERNELS_TRANSPOSE_H
#define CR_KERNELS_TRANSPOSE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t cr_words __attribute__((vector_size(16)));

#if defined(__clang__)
#define CR_LOW_PAIRS(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define CR_HIGH_PAIRS(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define CR_LOW_PAIRS(a, b)  __builtin_shuffle(a, b, (cr_words){0, 4, 1, 5})
#define CR_HIGH_PAIRS(a, b) __builtin_shuffle(a, b, (cr_words){2, 6, 3, 7})
#endif

/* Four rows of four words, `from_ld` words apart, become four columns. */
static inline void cr_transpose_4x4(const uint32_t *from, int64_t from_ld, uint32_t *to,
                                    int64_t to_ld)
{
    cr_words r[4];
    for (int i = 0; i < 4; i++) memcpy(&r[i], from + i * from_ld, sizeof r[i]);
    const cr_words a = CR_LOW_PAIRS(r[0], r[2]), b = CR_LOW_PAIRS(r[1], r[3]);
    const cr_words c = CR_HIGH_PAIRS(r[0], r[2]), d = CR_HIGH_PAIRS(r[1], r[3]);
    const cr_words t[4] = {CR_LOW_PAIRS(a, b), CR_HIGH_PAIRS(a, b), CR_LOW_PAIRS(c, d),
                           CR_HIGH_PAIRS(c, d)};
    for (int i = 0; i < 4; i++) memcpy(to + i * to_ld, &t[i], sizeof t[i]);
}

/* to[j * to_ld + i] = from[i * from_ld + j] for i < rows, j < cols; no overlap. */
void cr_transpose_words(const uint32_t *from, int64_t from_ld, uint32_t *to, int64_t to_ld,
                        int64_t rows, int64_t cols);
void cr_transpose_bytes(const uint8_t *from, int64_t from_ld, uint8_t *to, int64_t to_ld,
                        int64_t rows, int64_t cols);

#endif
