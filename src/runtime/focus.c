/* Space-to-depth before a convolution costs eight slices and a concatenation, and no arithmetic: a
 * k x k window over the four half-size pictures sees what a 2k x 2k window with stride 2 sees in the
 * picture itself. So the convolution runs there, with its weights in another order:
 *
 *     w'[o][c][2 ky + dy][2 kx + dx] = w[o][part * C + c][ky][kx]
 *
 * The sums have the same terms, so integer results are the same. (YOLOv5 replaced its own Focus by
 * such a 6x6 convolution in version 6.0.) Rejected: a space-to-depth step of its own, which would
 * write and read the picture once more. */
#include "runtime/focus.h"

#include <string.h>

/* Every second element from 0 or 1 on along `axis`; other axes whole. */
static bool halves(const cr_node *n, int axis, int *first)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    if (n->n_in < 5 || !n->in[3] || !n->in[4]) return false;
    for (int i = 1; i < 5; i++)
        if (!n->in[i]->data) return false;
    *first = -1;
    for (int64_t i = 0; i < cr_shape_count(&n->in[3]->shape); i++) {
        const int64_t a = cr_tensor_get_i64(n->in[3], i), begin = cr_tensor_get_i64(n->in[1], i);
        if ((a < 0 ? a + 4 : a) != axis) continue;
        if (cr_tensor_get_i64(n->in[4], i) != 2 || begin < 0 || begin > 1) return false;
        *first = (int)begin;
    }
    return *first < 0 ? x->shape.dim[axis] == y->shape.dim[axis]
                      : x->shape.dim[axis] == 2 * y->shape.dim[axis];
}

/* Follows one or two slices back to their source. */
static const cr_tensor *part_source(const cr_program *p, const cr_tensor *t, int *dy, int *dx)
{
    *dy = *dx = -1;
    for (int step = 0; step < 2 && (*dy < 0 || *dx < 0); step++) {
        const cr_node *n = t->producer;
        int row, column;
        if (!n || n->op->kind != CR_OP_Slice || t->shape.rank != 4) return NULL;
        if (cr_program_entry(p, t) && !p->early[t->id]) return NULL;
        if (n->in[0]->shape.rank != 4 || n->in[0]->shape.dim[1] != t->shape.dim[1]) return NULL;
        if (!halves(n, 2, &row) || !halves(n, 3, &column)) return NULL;
        if ((row >= 0 && *dy >= 0) || (column >= 0 && *dx >= 0)) return NULL;
        if (row >= 0) *dy = row;
        if (column >= 0) *dx = column;
        t = n->in[0];
    }
    return *dy >= 0 && *dx >= 0 ? t : NULL;
}

bool cr_focus_find(const cr_program *p, const cr_tensor *t, cr_focus *f)
{
    const cr_node *concat = t->producer;
    if (!concat || concat->op->kind != CR_OP_Concat || concat->n_in != CR_FOCUS_PARTS) return false;
    const int64_t axis = cr_attr_int(concat, "axis", 0);
    if ((axis != 1 && axis != -3) || t->shape.rank != 4) return false;
    unsigned seen = 0;
    for (int k = 0; k < CR_FOCUS_PARTS; k++) {
        const cr_tensor *x = part_source(p, concat->in[k], &f->dy[k], &f->dx[k]);
        if (!x || (k && x != f->source)) return false;
        f->source = x;
        seen |= 1u << (2 * f->dy[k] + f->dx[k]);
    }
    return seen == 15 && t->shape.dim[1] == CR_FOCUS_PARTS * f->source->shape.dim[1] &&
           f->source->dtype == CR_DT_F32 && !f->source->data;
}

cr_conv_geometry cr_focus_geometry(const cr_focus *f, const cr_conv_geometry *g)
{
    cr_conv_geometry wide = *g;
    wide.h = f->source->shape.dim[2];
    wide.w = f->source->shape.dim[3];
    wide.cin = wide.ld_in = f->source->shape.dim[1];
    wide.kh = 2 * g->kh;
    wide.kw = 2 * g->kw;
    wide.stride_h = 2 * g->stride_h;
    wide.stride_w = 2 * g->stride_w;
    wide.pad_top = 2 * g->pad_top;
    wide.pad_left = 2 * g->pad_left;
    return wide;
}

void cr_focus_weights(const cr_focus *f, const cr_conv_geometry *g, const void *from, void *to)
{
    const int64_t channels = g->cin / CR_FOCUS_PARTS, taps = g->kh * g->kw;
    const uint32_t *w = from;
    uint32_t *wide = to;
    for (int64_t o = 0; o < g->cout; o++)
        for (int64_t i = 0; i < g->cin; i++)
            for (int64_t t = 0; t < taps; t++) {
                const int64_t part = i / channels, ky = t / g->kw, kx = t % g->kw;
                const int64_t y = 2 * ky + f->dy[part], x = 2 * kx + f->dx[part];
                const int64_t at = ((o * channels + i % channels) * 2 * g->kh + y) * 2 * g->kw + x;
                wide[at] = w[(o * g->cin + i) * taps + t];
            }
}
