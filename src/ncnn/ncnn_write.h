/* Writing ncnn models: PATH.param, text with one line per layer, and PATH.bin, their weights in the
 * same order.
 *
 *     tensor [1, C, H, W]      blob c=C h=H w=W: ncnn has no batch, and one to four axes. A leading axis
 *                              of one is left out everywhere, whatever it means; layers that need
 *                              it (convolutions, pooling) refuse another batch
 *     Conv, ConvTranspose      Convolution, ConvolutionDepthWise (any groups), Deconvolution...; a
 *                              Relu, LeakyRelu, Clip, Sigmoid, Mish or HardSwish that alone reads the
 *                              result is part of the layer, as ncnn's optimizer does it
 *     a tensor read n times    a Split layer: every blob of ncnn has one reader
 *     constants                MemoryData; a number beside a BinaryOp is in its line
 *     Slice with steps         Crop and, on the two spatial axes, a Pooling of one pixel with strides
 *
 * Integers. ncnn has no quantized tensors, it has layers that round what they read: Convolution,
 * ConvolutionDepthWise and InnerProduct with int8_scale_term hold int8 weights, one scale per output
 * (per group in ConvolutionDepthWise) and one scale of the input, all as codes per unit (127 / absmax,
 * what ncnn2table writes); zero points are 0. Sums are exact int32, bias and activation are float. So
 *
 *     entry on T, and a convolution with an entry on its weight reads T      the scale of that layer
 *     other readers of T                                                      T in float, unrounded
 *     16-bit entries; groups that share no scale                              that layer in float
 *     U8, zero points, scales per channel, dynamic entries                    refused, by name
 *
 * which is at least as exact as the recipe says. (Rejected: Quantize and Dequantize layers behind every
 * entry so that all readers see rounded values: two passes over each tensor, and less accurate.)
 * Rounding is half away from zero there and half to even here, x * (1 / s) there and x / s here: codes
 * differ on ties alone.
 *
 * Weights: float32; float16 or bfloat16 where the options say so; a table of 256 floats and a byte per
 * weight (what ncnn calls quantized data) for weights that have no more values and gain by it.
 *
 * Sources: ncnn's documentation of the files and of the layers' parameters ("param and model file
 * structure", "operators"), and what ncnn itself makes of each (tests/peers/ncnn_models.py). */
#ifndef CR_NCNN_NCNN_WRITE_H
#define CR_NCNN_NCNN_WRITE_H

#include "graph/graph.h"
#include "graph/recipe.h"

typedef struct cr_ncnn_write_options { /* all zero: the defaults */
    cr_dtype half; /* CR_DT_F16, CR_DT_BF16: weights that lose nothing so are stored so */
    bool tables;   /* weights of at most 256 values are stored as a table and bytes */
} cr_ncnn_write_options;

/* g: indexed, all shapes known; r: a recipe for it, or NULL. `path` ends in .param; both files appear
 * complete or not at all. Errors: UNSUPPORTED names the node that ncnn has no layer for, or the tensor
 * whose entry it cannot express; IO, MEMORY. */
cr_status cr_ncnn_write(const cr_graph *g, const cr_recipe *r, const cr_ncnn_write_options *o,
                        const char *path, cr_error *err);

#endif
