/* A recipe on a tape: a graph whose tensors are rounded as a recipe says, with weights and scales
 * that can be learned; and back, a recipe whose export does what the tape's forward did.
 *
 *     cr_fake_quant_create(g, recipe, &options, &q, &err);      g: the float graph of the recipe
 *     cr_tape_create(cr_fake_quant_graph(q), &tape_options, &tape, &err);   wanted NULL
 *     ... train: parameters are the graph's constants that have a gradient ...
 *     cr_fake_quant_recipe(q, tape, &trained, &err);            attach it in place of `recipe`
 *
 * Rounding is done by nodes. FakeQuantize, of activations and of weights: inputs x; scale, factor,
 * zero (one each per scale; s = scale exp(factor), graph/fake_scale.h); shift, seen
 * (optional). Attributes lo, hi (codes), axis, block (as in cr_qparams), sign (1: binary), learn
 * (bit k: input k is a parameter), gradient (a factor on the gradients of factor and shift).
 * FakeQuantizeBias, of what a convolution adds to int32 sums: inputs bias, scale and factor of
 * activation and weight. So tape, memory plan, checkpoints and tests need to know nothing about
 * quantization.
 *
 * Rejected: hooks on the tape's tensors (values before and after rounding are both needed, the
 * latter by backward of every reader, so the plan would have to know of two values per tensor);
 * rounding inside of convolutions (each operator anew). */
#ifndef CR_TRAIN_FAKE_QUANT_H
#define CR_TRAIN_FAKE_QUANT_H

#include "graph/recipe.h"
#include "train/tape.h"

typedef struct cr_fake_quant cr_fake_quant;

typedef struct cr_fake_quant_options {
    bool weight_scales;     /* learned; else they stay */
    bool activation_scales; /* likewise; those of sigmoid, softmax and tanh stay in any case */
    bool zero_points; /* of activations with one that is neither in the middle nor at an end */
    bool observe;     /* record ranges for cr_fake_quant_observe */
    const char *const *outputs; /* tensors of the recipe's graph where the new one ends; none: its
                                   own outputs */
    size_t output_count;
} cr_fake_quant_options;

/* Everything learned, nothing observed, all outputs. */
cr_fake_quant_options cr_fake_quant_options_default(void);

/* The recipe's steps and values are applied to a copy of g, which then gets the nodes. Recipe and
 * strings must outlive *out. CR_ERR_ARGUMENT: the recipe does not fit g, an output is not in it;
 * CR_ERR_UNSUPPORTED: a dynamic entry. */
cr_status cr_fake_quant_create(const cr_graph *g, const cr_recipe *r,
                               const cr_fake_quant_options *options, cr_fake_quant **out,
                               cr_error *err);
void cr_fake_quant_free(cr_fake_quant **q);
cr_graph *cr_fake_quant_graph(const cr_fake_quant *q);
/* The tensor that readers of `name` see, rounded if it has an entry; NULL: there is none. It has
 * that name itself, but for inputs and constants, where it is "name.rounded". */
cr_tensor *cr_fake_quant_find(const cr_fake_quant *q, const char *name);

/* A recipe with the scales, zero points, weights and biases that the tape (float32, of the graph
 * above) holds; everything else as in the given one. The caller owns *out. */
cr_status cr_fake_quant_recipe(const cr_fake_quant *q, const cr_tape *tape, cr_recipe **out,
                               cr_error *err);

/* After a forward pass with `observe`: moves the range of every activation towards what it held
 * (range = momentum range + (1 - momentum) seen; the first call takes what was seen) and sets
 * scales and zero points from it, symmetric where they were. Not calling it any more freezes them.
 */
void cr_fake_quant_observe(cr_fake_quant *q, cr_tape *tape, double momentum);

#endif
