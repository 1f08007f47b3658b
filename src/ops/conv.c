/* Conv and ConvTranspose: the exact sum in double, rounded once. */
#include "ops/nn_loops.h"
#include "ops/ref_all.h"

static void fill_bias(const cr_conv_shape *c, const cr_tensor *bias, double *y)
{
    const int64_t plane = cr_window_out(&c->win);
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t m = 0; m < c->out_channels; m++)
            for (int64_t i = 0; i < plane; i++) *y++ = cr_tensor_get_f64(bias, (size_t)m);
}

static cr_status convolve(const cr_op_call *call, const cr_conv_shape *c,
                          void (*loops)(const cr_conv_shape *, const double *, const double *,
                                        double *),
                          cr_error *err)
{
    cr_status st = CR_OK;
    double *x = cr_buffer_f64(call->in[0]), *w = cr_buffer_f64(call->in[1]);
    double *y = cr_buffer_zero(cr_shape_count(&call->out[0]->shape), sizeof *y);
    if (!x || !w || !y) {
        st = CR_NOMEM(err);
        goto done;
    }
    if (call->n_in > 2 && call->in[2]) fill_bias(c, call->in[2], y);
    loops(c, x, w, y);
    cr_buffer_store_f64(y, call->out[0]);
done:
    cr_free(x);
    cr_free(w);
    cr_free(y);
    return st;
}

cr_status cr_eval_conv(const cr_op_call *call, cr_error *err)
{
    cr_conv_shape c;
    CR_TRY(cr_conv_read(call, 1, &c, err));
    return convolve(call, &c, cr_conv_f64, err);
}

cr_status cr_eval_conv_transpose(const cr_op_call *call, cr_error *err)
{
    cr_conv_shape c;
    CR_TRY(cr_conv_transpose_read(call, &c, err));
    return convolve(call, &c, cr_conv_transpose_f64, err);
}
