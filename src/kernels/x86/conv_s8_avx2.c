/* 6 x 16 sums. vpmaddubsw would saturate its int16 sums, so codes and weights are widened to int16
 * and vpmaddwd adds two exact products per lane. */
#include "kernels/x86/vec_avx2.h"

#define CONV(name)      name##_avx2
#define CONV_MR         6
#define CONV_NV         2
#define KG              2
#define WBYTES          32
#define W_LOAD(p)       _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define DOT(acc, x, w)  _mm256_add_epi32(acc, _mm256_madd_epi16(x, w))
#define STEP(p)         _mm256_set1_epi32((int)((unsigned)(p)[0] | (unsigned)(p)[1] << 16))
#define STEP_TAIL(p, n) _mm256_set1_epi32((int)(unsigned)(p)[0])

#include "kernels/conv_s8_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_avx2;
const cr_conv_s8_kernel cr_conv_s8_avx2 = CONV_RECORD("avx2");
