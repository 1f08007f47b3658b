/* Int8 depthwise convolution: one input channel per group, multiplier 1; channels are lanes.
 *
 * A dot product of P neighbouring bytes wants P products of ONE channel side by side, but P
 * neighbours in memory are P channels. So P rows of the picture are zipped: a lane then holds a
 * column of P pixels of its channel, and one instruction adds P of the window's rows. With P = 4 a
 * zipped group of four rows serves two output rows of a 3x3 window (rows 0..2 and 1..3, the other
 * weight is zero) and every column of it serves kw output pixels:
 *
 *     zipped  [vector of channels][group of P rows][column][lane][P]    a few KB, stays in L1
 *     weights [output row of a band][vector][group][kx][lane][P]
 *
 * A band is as many output rows as one set of zipped rows serves. A unit of work is a piece of a
 * band: some columns and some vectors of channels, chosen so that zipped rows and sums stay in L1.
 * Columns and rows of padding are written as zero points; the sums run over raw codes and the zero
 * point's share is folded into the bias, as in conv_s8.c. All products fit int16 pairs and all
 * sums of up to 1024 taps fit int32, so they are exact; only the bias may wrap.
 *
 * Rejected: pointer tables as in conv_walk.h with codes converted to floats at every tap (a load,
 * a conversion and a multiply-add per tap; 3 to 5 times slower); zipping along a row (every output
 * pixel would need its own shuffle). */
#ifndef CR_KERNELS_DWCONV_S8_H
#define CR_KERNELS_DWCONV_S8_H

#include "kernels/conv_walk.h"

/* ---- micro-kernels: one record per CPU level, listed in kernels.inc ---- */

enum { CR_DWCONV_MAX_ROWS = 4 };

/* P rows to one group. Lanes beyond `channels` get any value. */
typedef struct cr_dwconv_zip {
    const uint8_t *row[CR_DWCONV_MAX_ROWS];
    int64_t step[CR_DWCONV_MAX_ROWS]; /* from a pixel to the next; 0: a row of padding */
    int64_t columns, channels;
    unsigned char *out;
    int64_t plane; /* bytes of `out` from a vector of channels to the next */
} cr_dwconv_zip;

typedef struct cr_dwconv_s8_tile {
    const unsigned char *x, *w; /* x: first column of the first output pixel */
    const int32_t *bias;        /* [vectors * lanes] */
    int32_t *c;                 /* [pixels][vectors * lanes] result */
    int64_t vectors, groups, columns, kw, pixels, stride, dil;
} cr_dwconv_s8_tile;

typedef struct cr_dwconv_s8_kernel {
    const char *name;
    void (*zip)(const cr_dwconv_zip *z);
    void (*run)(const cr_dwconv_s8_tile *t);
    int rows, lanes; /* P, channels per vector */
    int element;     /* bytes of a zipped code and of a weight: 1, or 2 (int16) */
} cr_dwconv_s8_kernel;

const cr_dwconv_s8_kernel *cr_dwconv_s8_level(int level);     /* NULL: none of exactly that level */
const cr_dwconv_s8_kernel *cr_dwconv_s8_select(unsigned cpu); /* best that the flags allow */

/* ---- a prepared convolution ---- */

typedef struct cr_dwconv_s8 cr_dwconv_s8;

/* A depthwise convolution whose window is of a size that this is made for; others are grouped. */
bool cr_dwconv_s8_takes(const cr_conv_geometry *g);
/* For geometries that are taken. weights [channels][kh][kw] in -255..255, folded bias and zero points [channels]:
 * copied. wide: two planes of bytes in (rows.h). */
cr_status cr_dwconv_s8_create(const cr_conv_geometry *g, const int16_t *weights, const int32_t *bias,
                              const int32_t *zeros_in, bool wide, unsigned cpu, cr_dwconv_s8 **out,
                              cr_error *err);
void cr_dwconv_s8_free(cr_dwconv_s8 *d); /* NULL is fine */
size_t cr_dwconv_s8_scratch(const cr_dwconv_s8 *d, int threads);
const char *cr_dwconv_s8_name(const cr_dwconv_s8 *d);
void cr_dwconv_s8_run(const cr_dwconv_s8 *d, const uint8_t *in, int64_t ld_in,
                      cr_conv_s8_finish finish, const void *ctx, void *scratch, cr_pool *pool);

#endif
