/* Whole-tensor buffers and the sums of products that convolutions and matrix products share.
 *
 * Reference operators load their inputs into buffers of one computing type (double for floats,
 * 32 or 64 bit unsigned for integers, where overflow wraps), compute, and store once. */
#ifndef CR_OPS_NN_LOOPS_H
#define CR_OPS_NN_LOOPS_H

#include "graph/nn_rules.h"

/* All elements of a tensor, converted; NULL when memory runs out. Free with cr_free. */
double *cr_buffer_f64(const cr_tensor *t);
uint64_t *cr_buffer_u64(const cr_tensor *t);
/* `count` zeros (of at least one byte). */
void *cr_buffer_zero(int64_t count, size_t size);
/* Stores into any type: floats are rounded once, integers to the nearest even and saturated. */
void cr_buffer_store_f64(const double *values, cr_tensor *t);
void cr_buffer_store_u64(const uint64_t *values, cr_tensor *t);

/* y += conv(x, w) and so on, for dense buffers; y comes in holding the bias or zeros.
 *   conv            x [N,C,in...]  w [M,C/g,k...]  y [N,M,out...]
 *   conv_transpose  x [N,C,in...]  w [C,M/g,k...]  y [N,M,out...]
 *   matmul          a [batch,m,k]  b [batch,k,n]   c [batch,m,n] */
#define CR_NN_LOOPS(T, tag)                                                                        \
    void cr_conv_##tag(const cr_conv_shape *c, const T *x, const T *w, T *y);                      \
    void cr_conv_transpose_##tag(const cr_conv_shape *c, const T *x, const T *w, T *y);            \
    void cr_matmul_##tag(const cr_matmul_shape *s, const T *a, const T *b, T *c);
CR_NN_LOOPS(double, f64)
CR_NN_LOOPS(uint32_t, u32)
CR_NN_LOOPS(uint64_t, u64)

/* Elements of one spatial plane of the window's input and output, and taps of its kernel. */
int64_t cr_window_in(const cr_window *w);
int64_t cr_window_out(const cr_window *w);
int64_t cr_window_taps(const cr_window *w);

#endif
