/* 12 x 32 sums; vpdpbusd multiplies four uint8 codes by four int8 weights per lane without an
 * intermediate saturation. */
#include "kernels/x86/vec_avx512.h"

#define CONV(name)      name##_avx512vnni
#define CONV_MR         12
#define CONV_NV         2
#define KG              4
#define WBYTES          64
#define W_LOAD(p)       _mm512_loadu_si512(p)
#define DOT(acc, x, w)  _mm512_dpbusd_epi32(acc, x, w)
#define STEP(p)         _mm512_set1_epi32(load4(p))
#define STEP_TAIL(p, n) _mm512_set1_epi32(load_tail(p, n))

static inline int load4(const unsigned char *p)
{
    int x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
}

static inline int load_tail(const unsigned char *p, int n)
{
    unsigned x = p[0];
    if (n > 1) x |= (unsigned)p[1] << 8;
    if (n > 2) x |= (unsigned)p[2] << 16;
    return (int)x;
}

#include "kernels/conv_s8_body.h"

extern const cr_conv_s8_kernel cr_conv_s8_avx512vnni;
const cr_conv_s8_kernel cr_conv_s8_avx512vnni = CONV_RECORD("avx512vnni");
