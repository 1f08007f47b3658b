/* Two-dimensional convolution on NHWC rows, float32 and int8, as indirect GEMM.
 *
 * An output pixel is a row of the product A*W: A's row is the concatenation, over the kernel's taps,
 * of `cin` neighbouring channels of one input pixel. Nothing is copied to build A (no im2col):
 * a tile of MR output pixels is a table of MR pointers per tap, and taps that fall on padding point
 * to a row of zeros (int8: of the zero point). The weights are packed once:
 *
 *     w[group][block of NR output channels][tap][cin step][NR][KG]     KG: 1 float; 4 or 2 bytes
 *
 * A work item is (block of channels) x (range of tiles), numbered so that neighbours share weights.
 * Each output value is computed by one thread in one fixed order: results do not depend on the
 * number of threads. Indirection: Dukhan 2019, "The Indirect Convolution Algorithm".
 *
 * Depthwise convolutions (one input channel per group) go over pixels with channels as lanes. */
#ifndef CR_KERNELS_CONV_H
#define CR_KERNELS_CONV_H

#include "base/threads.h"
#include "crayon/status.h"
#include "kernels/act.h"
#include "kernels/rows.h"

enum { CR_CONV_MAX_TAPS = 1024, CR_CONV_MAX_MR = 16, CR_CONV_MAX_NR = 64 };

typedef struct cr_conv_geometry {
    int64_t n, h, w, cin;      /* input [n,h,w,cin]; cin counts all groups */
    int64_t oh, ow, cout;      /* output [n,oh,ow,cout] */
    int64_t ld_in, ld_out;     /* elements between pixels; >= cin, cout */
    int64_t kh, kw, stride_h, stride_w, dil_h, dil_w, pad_top, pad_left, groups;
} cr_conv_geometry;

/* ---- float32 ---- */

typedef struct cr_conv_f32_tile {
    const float *const *a;     /* [taps][mr] pointers to cin floats */
    int64_t taps, cin;
    const float *w;            /* [taps][cin][nr] */
    float *c;                  /* [mr][nr] result, without bias */
    int vectors;               /* how many vectors of nr are needed: 1 .. */
} cr_conv_f32_tile;

typedef struct cr_conv_f32_kernel {
    const char *name;
    void (*run)(const cr_conv_f32_tile *t);
    int mr, nr, lanes;         /* tile; floats per vector */
} cr_conv_f32_kernel;

const cr_conv_f32_kernel *cr_conv_f32_level(int level); /* NULL: none at that level */
const cr_conv_f32_kernel *cr_conv_f32_select(unsigned cpu);

typedef struct cr_conv_f32 cr_conv_f32;

/* weights [cout][cin/groups][kh][kw] and bias [cout] (or NULL) are copied. CR_ERR_UNSUPPORTED: more
 * than CR_CONV_MAX_TAPS taps. */
cr_status cr_conv_f32_create(const cr_conv_geometry *g, const float *weights, const float *bias,
                             const cr_act *act, unsigned cpu, cr_conv_f32 **out, cr_error *err);
void cr_conv_f32_free(cr_conv_f32 *c);
/* Bytes of scratch that a run on so many threads uses. */
size_t cr_conv_f32_scratch(const cr_conv_f32 *c, int threads);
const char *cr_conv_f32_name(const cr_conv_f32 *c);
/* ld_in and ld_out of the geometry may be overridden per run: 0 keeps them. */
void cr_conv_f32_run(const cr_conv_f32 *c, const float *in, int64_t ld_in, float *out,
                     int64_t ld_out, void *scratch, cr_pool *pool);

/* ---- int8: uint8 activations, int8 weights, int32 sums (exact) ---- */

typedef struct cr_conv_s8_tile {
    const uint8_t *const *a;   /* [taps][mr] pointers to cin codes */
    int64_t taps, cin;
    const void *w;             /* [taps][ceil(cin/kg)][nr][kg] int8 or int16 */
    int32_t *c;                /* [mr][nr] result, without bias */
    int vectors;
} cr_conv_s8_tile;

typedef struct cr_conv_s8_kernel {
    const char *name;
    void (*run)(const cr_conv_s8_tile *t);
    int mr, nr, lanes, kg;
    bool wide;                 /* packed weights are int16 */
} cr_conv_s8_kernel;

const cr_conv_s8_kernel *cr_conv_s8_level(int level);
const cr_conv_s8_kernel *cr_conv_s8_select(unsigned cpu);

typedef struct cr_conv_s8_params {
    const int8_t *weights;     /* [cout][cin/groups][kh][kw] */
    const int32_t *bias;       /* [cout] at scale sa*sw[c], or NULL */
    const float *multiplier;   /* [cout], see cr_finish */
    int32_t zero_in;           /* of the input codes, 0..255 */
    cr_act act;
    bool float_out;            /* float32 results, else uint8 codes */
    float scale_out;
    int32_t zero_out;
} cr_conv_s8_params;

typedef struct cr_conv_s8 cr_conv_s8;

cr_status cr_conv_s8_create(const cr_conv_geometry *g, const cr_conv_s8_params *p, unsigned cpu,
                            cr_conv_s8 **out, cr_error *err);
void cr_conv_s8_free(cr_conv_s8 *c);
size_t cr_conv_s8_scratch(const cr_conv_s8 *c, int threads);
const char *cr_conv_s8_name(const cr_conv_s8 *c);
void cr_conv_s8_run(const cr_conv_s8 *c, const uint8_t *in, int64_t ld_in, void *out,
                    int64_t ld_out, void *scratch, cr_pool *pool);

/* ---- geometry that both share (conv_walk.c) ---- */

typedef struct cr_conv_walk {
    const cr_conv_geometry *g;
    int64_t ld_in;
    size_t element;            /* bytes per input element */
    const unsigned char *in, *zero; /* zero: a row of cin padding elements */
    int64_t first_channel;     /* of the group */
} cr_conv_walk;

/* Pointers of `rows` output pixels from `first` on: a[tap * mr + r]; rows beyond the last repeat it. */
void cr_conv_pointers(const cr_conv_walk *w, int64_t first, int64_t rows, int mr,
                      const unsigned char **a);

#endif
