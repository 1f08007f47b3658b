/* Rows widened to int16 one by one (P = 1): NEON multiplies a lane by a lane into int32. */
#define DW(name) dwconv_s8_##name##_neon
#define DW_MR    8
#include "kernels/arm/vec_neon.h"

typedef int16x4_t DX;
#define DX_LOAD(p)        vld1_s16((const int16_t *)(const void *)(p))
#define DX_DOT(acc, x, w) vmlal_s16(acc, x, w)
#include "kernels/dwconv_s8_body.h"

static void DW(zip)(const cr_dwconv_zip *z)
{
    for (int64_t x = 0; x < z->columns; x++) {
        const uint8_t *a = z->row[0] + x * z->step[0];
        unsigned char *out = z->out + x * 8;
        int64_t c = 0;
        for (; c + 8 <= z->channels; c += 8, out += 2 * z->plane) {
            const int16x8_t v = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(a + c)));
            vst1_s16((int16_t *)(void *)out, vget_low_s16(v));
            vst1_s16((int16_t *)(void *)(out + z->plane), vget_high_s16(v));
        }
        for (; c < z->channels; c++)
            ((int16_t *)(void *)(out + (c % 8 >= 4 ? z->plane : 0)))[c % 4] = a[c];
    }
}

extern const cr_dwconv_s8_kernel cr_dwconv_s8_neon;
const cr_dwconv_s8_kernel cr_dwconv_s8_neon = DW_RECORD("neon", 1, 2);
