/* In blocks of BLOCK x BLOCK, so that the lines written to are still in the L1 cache when the next
 * rows add to them; inside, words go four by four through registers. */
#include "kernels/transpose.h"

enum { BLOCK = 32 };

static void block_words(const uint32_t *from, int64_t from_ld, uint32_t *to, int64_t to_ld,
                        int64_t rows, int64_t cols)
{
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        int64_t j = 0;
        for (; j + 4 <= cols; j += 4)
            cr_transpose_4x4(from + i * from_ld + j, from_ld, to + j * to_ld + i, to_ld);
        for (; j < cols; j++)
            for (int64_t k = i; k < i + 4; k++) to[j * to_ld + k] = from[k * from_ld + j];
    }
    for (; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) to[j * to_ld + i] = from[i * from_ld + j];
}

static void block_bytes(const uint8_t *from, int64_t from_ld, uint8_t *to, int64_t to_ld,
                        int64_t rows, int64_t cols)
{
    for (int64_t j = 0; j < cols; j++)
        for (int64_t i = 0; i < rows; i++) to[j * to_ld + i] = from[i * from_ld + j];
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void cr_transpose_words(const uint32_t *from, int64_t from_ld, uint32_t *to, int64_t to_ld,
                        int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i += BLOCK)
        for (int64_t j = 0; j < cols; j += BLOCK)
            block_words(from + i * from_ld + j, from_ld, to + j * to_ld + i, to_ld,
                        smaller(rows - i, BLOCK), smaller(cols - j, BLOCK));
}

void cr_transpose_bytes(const uint8_t *from, int64_t from_ld, uint8_t *to, int64_t to_ld,
                        int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i += BLOCK)
        for (int64_t j = 0; j < cols; j += BLOCK)
            block_bytes(from + i * from_ld + j, from_ld, to + j * to_ld + i, to_ld,
                        smaller(rows - i, BLOCK), smaller(cols - j, BLOCK));
}
