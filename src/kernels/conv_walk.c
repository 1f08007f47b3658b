/* Pointer tables of convolution tiles (conv.h). */
#include "kernels/conv.h"

/* Column r of the table: the window of one output pixel. */
static void point_window(const cr_conv_walk *w, int64_t index, int mr, const unsigned char **a)
{
    const cr_conv_geometry *g = w->g;
    const int64_t row = index / g->ow, n = row / g->oh;
    const int64_t y0 = (row - n * g->oh) * g->stride_h - g->pad_top;
    const int64_t x0 = (index - row * g->ow) * g->stride_w - g->pad_left;
    for (int64_t ky = 0; ky < g->kh; ky++) {
        const int64_t y = y0 + ky * g->dil_h;
        for (int64_t kx = 0; kx < g->kw; kx++, a += mr) {
            const int64_t x = x0 + kx * g->dil_w;
            const bool padding = y < 0 || y >= g->h || x < 0 || x >= g->w;
            const int64_t at = ((n * g->h + y) * g->w + x) * w->ld_in + w->first_channel;
            *a = padding ? w->zero : w->in + (size_t)at * w->element;
        }
    }
}

void cr_conv_pointers(const cr_conv_walk *w, int64_t first, int64_t rows, int mr,
                      const unsigned char **a)
{
    for (int r = 0; r < mr; r++) point_window(w, first + (r < rows ? r : rows - 1), mr, a + r);
}
