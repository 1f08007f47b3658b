/* The first layer of YOLOX and of early YOLOv5: a convolution over space-to-depth (focus.c). */
#ifndef CR_RUNTIME_FOCUS_H
#define CR_RUNTIME_FOCUS_H

#include "kernels/conv.h"
#include "runtime/program.h"

enum { CR_FOCUS_PARTS = 4 };

typedef struct cr_focus {
    const cr_tensor *source;               /* [N,C,2H,2W] */
    int dy[CR_FOCUS_PARTS], dx[CR_FOCUS_PARTS]; /* of the part of channels [k*C, (k+1)*C) */
} cr_focus;

/* Is t [N,4C,H,W] the Concat of the four pictures that every second row and column of one picture
 * give? */
bool cr_focus_find(const cr_program *p, const cr_tensor *t, cr_focus *f);

/* The same convolution over the source. Only for dilation 1 and one group. */
cr_conv_geometry cr_focus_geometry(const cr_focus *f, const cr_conv_geometry *g);

/* Weights [cout][4C][kh][kw] of four bytes each as [cout][C][2kh][2kw]. g: of the convolution that
 * the weights are from. */
void cr_focus_weights(const cr_focus *f, const cr_conv_geometry *g, const void *from, void *to);

#endif
