/* What a layer's inputs look like: for a convolution or matrix product, sums over sampled places of
 *
 *     G = sum x^ x^T     x^: the patch [k] that the layer reads in the quantized network
 *     B = sum x^ y^T     y = W x: what the float network computes there from its own patch x
 *
 * which is all that rounding needs (rounding.h): the squared error at the layer's output of any
 * weights V is  tr(V G V^T) - 2 tr(V B) + sum y^2. They are kept twice, for pictures that weights
 * are fitted to and for pictures that check them. Sums are added picture by picture, in order, so
 * they depend on the seed alone and not on threads; memory does not grow with pictures. */
#ifndef CR_QUANT_GRAM_H
#define CR_QUANT_GRAM_H

#include "base/threads.h"
#include "graph/graph.h"
#include "runtime/runtime.h"

enum { CR_GRAM_FIT, CR_GRAM_CHECK, CR_GRAM_SETS };

typedef struct cr_gram_sums {
    float *g;           /* [groups][k][k] */
    float *b;           /* [groups][k][out] */
    double *x, *y, *yy; /* [groups][k], [groups][out], [groups][out] */
    double rows;
} cr_gram_sums;

/* Groups of outputs that read the same k inputs; weight (g, o, i) is data[g*down + o*across +
 * i*step]. */
typedef struct cr_gram {
    const cr_node *node;
    const cr_tensor *input, *weight;
    bool conv;
    int64_t groups, k, out, down, across, step;
    int64_t channels, h, w, oh, ow, kh, kw, stride_h, stride_w, dil_h, dil_w, top, left;
    int64_t places; /* sampled per picture */
    cr_gram_sums sums[CR_GRAM_SETS];
    double *error[2]; /* [groups*out] squared error on the check set before and after rounding */
} cr_gram;

/* Can this node's weights be fitted: Conv in two dimensions, Gemm or MatMul with constant weights
 * that nothing else reads, of a size that fits memory? Fills the geometry. */
bool cr_gram_describe(const cr_node *n, cr_gram *out);
/* Memory for the sums, `places` per picture so that `pictures` give rows_per_input * k rows. */
cr_status cr_gram_open(cr_gram *g, size_t pictures, int64_t rows_per_input, cr_error *err);
void cr_gram_close(cr_gram *g);

/* Bytes of one picture's rows: [places][groups*k] floats. */
size_t cr_gram_row_bytes(const cr_gram *g);
/* Copies the sampled patches that `v` (the layer's input) shows; `seed` names the places. */
void cr_gram_gather(const cr_gram *g, const cr_view *v, uint64_t seed, float *rows);

/* Adds `pictures` pictures' rows to a set. weights: the float ones. */
cr_status cr_gram_add(cr_gram *g, int set, const float *quantized, const float *exact,
                      size_t pictures, const float *weights, cr_pool *pool, cr_error *err);

#endif
