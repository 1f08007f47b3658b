/* Included by grad_f32.c: two-dimensional convolutions on the kernels of planes_f32.h, one picture
 * after the other; values and the gradient of the input by Winograd where that is faster. For
 * ConvTranspose the output is the picture and the input the places. */
#include "kernels/planes_f32.h"
#include "kernels/sums.h"
#include "kernels/winograd_planes.h"

static bool on_planes(const cr_conv_shape *s)
{
    const cr_window *w = &s->win;
    return w->in[0] == 1 && w->out[0] == 1 && w->kernel[0] == 1 && w->stride[0] == 1 &&
           w->pad_lo[0] == 0;
}

static cr_conv_geometry geometry_of(const cr_conv_shape *s, bool transposed)
{
    const cr_window *w = &s->win;
    const int64_t *picture = transposed ? w->out : w->in, *place = transposed ? w->in : w->out;
    return (cr_conv_geometry){.n = 1,
                              .h = picture[1],
                              .w = picture[2],
                              .oh = place[1],
                              .ow = place[2],
                              .cin = transposed ? s->out_channels : s->in_channels,
                              .cout = transposed ? s->in_channels : s->out_channels,
                              .kh = w->kernel[1],
                              .kw = w->kernel[2],
                              .stride_h = w->stride[1],
                              .stride_w = w->stride[2],
                              .dil_h = w->dilation[1],
                              .dil_w = w->dilation[2],
                              .pad_top = w->pad_lo[1],
                              .pad_left = w->pad_lo[2],
                              .groups = s->groups};
}

static cr_planes planes_of(const cr_conv_shape *s, bool transposed, void *scratch)
{
    const cr_conv_geometry g = geometry_of(s, transposed);
    cr_planes p;
    cr_planes_plan(&g, cr_planes_f32_select(cr_cpu_flags()), scratch, &p);
    return p;
}

/* back: the way to a picture. */
static cr_winograd_planes winograd_of(const cr_grad_call *c, const cr_conv_shape *s, bool back,
                                      void *scratch)
{
    const cr_conv_geometry g = geometry_of(s, false);
    cr_winograd_planes p;
    cr_winograd_planes_plan(&g, back, cr_cpu_flags(), cr_pool_threads(c->pool), scratch, &p);
    return p;
}

static bool by_winograd(const cr_conv_shape *s, bool transposed)
{
    const cr_conv_geometry g = geometry_of(s, false);
    return !transposed && cr_winograd_planes_pays(&g);
}

/* Rounded weights have a forward that is held against integer sums: directly, as those. */
static bool is_rounded(const cr_grad_call *c)
{
    const cr_node *producer = c->op.node->in[1]->producer;
    return producer && producer->op->kind == CR_OP_FakeQuantize;
}

static size_t planes_bytes(const cr_grad_call *c, const cr_conv_shape *s, bool transposed)
{
    const size_t direct = planes_of(s, transposed, NULL).bytes;
    if (!by_winograd(s, transposed)) return direct;
    const size_t there = winograd_of(c, s, false, NULL).bytes;
    const size_t back = winograd_of(c, s, true, NULL).bytes;
    const size_t most = there > back ? there : back;
    return most > direct ? most : direct;
}

static void planes_forward(const cr_grad_call *c, const cr_conv_shape *s, bool transposed)
{
    const cr_tensor *bias = cr_op_in(&c->op, 2);
    const float *w = c->op.in[1]->data, *x = c->op.in[0]->data, *start = bias ? bias->data : NULL;
    float *y = c->op.out[0]->data;
    const int64_t in = s->in_channels * s->win.in[1] * s->win.in[2];
    const int64_t out = s->out_channels * s->win.out[1] * s->win.out[2];
    if (by_winograd(s, transposed) && !is_rounded(c)) {
        const cr_winograd_planes p = winograd_of(c, s, false, c->scratch);
        cr_winograd_planes_load(&p, w, start, c->pool);
        for (int64_t b = 0; b < s->batch; b++)
            cr_winograd_planes_run(&p, x + b * in, y + b * out, false, c->pool);
        return;
    }
    cr_planes p = planes_of(s, transposed, c->scratch);
    (transposed ? cr_planes_pack_picture : cr_planes_pack_places)(&p, w, c->pool);
    for (int64_t b = 0; b < s->batch; b++, x += in, y += out) {
        if (transposed) {
            cr_planes_lay_places(&p, x, c->pool);
            cr_planes_to_picture(&p, start, y, false, c->pool);
        } else {
            cr_planes_lay_picture(&p, x, c->pool);
            cr_planes_to_places(&p, start, y, false, c->pool);
        }
    }
}

static void winograd_backward(const cr_grad_call *c, const cr_conv_shape *s, int64_t in,
                              int64_t out)
{
    const cr_winograd_planes p = winograd_of(c, s, true, c->scratch);
    const float *dy = c->d_out[0];
    float *dx = c->d_in[0];
    cr_winograd_planes_load(&p, c->op.in[1]->data, NULL, c->pool);
    for (int64_t b = 0; b < s->batch; b++)
        cr_winograd_planes_run(&p, dy + b * out, dx + b * in, !c->first[0], c->pool);
}

static void planes_backward(const cr_grad_call *c, const cr_conv_shape *s, bool transposed)
{
    cr_planes p = planes_of(s, transposed, c->scratch);
    const float *w = c->op.in[1]->data, *x = c->op.in[0]->data, *dy = c->d_out[0];
    const bool winograd = by_winograd(s, transposed);
    float *dx = winograd ? NULL : c->d_in[0], *dw = c->d_in[1];
    const int64_t in = s->in_channels * s->win.in[1] * s->win.in[2];
    const int64_t out = s->out_channels * s->win.out[1] * s->win.out[2];
    if (dx) (transposed ? cr_planes_pack_places : cr_planes_pack_picture)(&p, w, c->pool);
    for (int64_t b = 0; b < s->batch && (dx || dw); b++, x += in, dy += out) {
        const float *picture = transposed ? dy : x, *places = transposed ? x : dy;
        if (dw || transposed) cr_planes_lay_picture(&p, picture, c->pool);
        if (dw || !transposed) cr_planes_lay_places(&p, places, c->pool);
        if (dw) cr_planes_to_weights(&p, dw, c->pool);
        if (dx && transposed) cr_planes_to_places(&p, NULL, dx + b * in, !c->first[0], c->pool);
        if (dx && !transposed) cr_planes_to_picture(&p, NULL, dx + b * in, !c->first[0], c->pool);
    }
    if (winograd && c->d_in[0]) winograd_backward(c, s, in, out);
}

/* Sums of planes, several channels side by side. */
typedef struct bias_job {
    const float *dy;
    float *db;
    int64_t channels, plane;
} bias_job;

static void bias_rows(void *ctx, size_t index, int worker)
{
    const bias_job *j = ctx;
    const int64_t first = (int64_t)index * CR_SUM_ROWS, left = j->channels - first;
    const int rows = left < CR_SUM_ROWS ? (int)left : CR_SUM_ROWS;
    double sum[CR_SUM_ROWS];
    (void)worker;
    cr_sum_rows(j->dy + first * j->plane, j->plane, rows, j->plane, sum);
    for (int r = 0; r < rows; r++) j->db[first + r] += (float)sum[r];
}
