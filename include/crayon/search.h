/* Which layers cost what at the output, and the cheapest plan within a budget.
 *
 * The public face of sensitivity: docs/how-quantization-works.md tells what is measured and why. */
#ifndef CRAYON_SEARCH_H
#define CRAYON_SEARCH_H

#include "crayon/eval.h"
#include "crayon/image.h"
#include "crayon/model.h"
#include "crayon/quantize.h"
#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a quantized model costs at the output.
 *
 * error: how far its candidate detections are from those of the float model, each weighted with its
 * score: the energy of the changes of scores and boxes over the energy of the scores; 0 is none.
 * Errors of layers nearly add up. agreement: the COCO metric with the float model's detections as
 * the truth; NaN if it was not asked for or cannot be measured. */
typedef struct cr_output_cost {
    double error, agreement;
} cr_output_cost;

/* One layer: a convolution or gemm whose weight is quantized, with the activations that it reads.
 */
typedef struct cr_layer_cost {
    const char *node;       /* its name; owned by model b */
    cr_output_cost alone;   /* only this layer is quantized, all else is float */
    cr_output_cost without; /* all is quantized but this layer */
} cr_layer_cost;

typedef struct cr_layer_costs {
    cr_layer_cost *layers; /* most expensive alone first */
    size_t count;
    cr_output_cost all; /* everything is quantized */
    size_t pictures;    /* that were used */
} cr_layer_costs;

typedef struct cr_cost_options {
    size_t pictures; /* the first so many; 0: all. 8 are enough to rank by error */
    bool exact;      /* agreement as well, which needs many pictures to mean something */
    int threads;     /* 0: all cores */
} cr_cost_options;

/* Ranks the layers of model b, which has a recipe, by what each does to the output; model a is the
 * float model (or whatever else is to be the truth). Where a has the same layers, their weights
 * stand in for those of layers that are not quantized at the time; so b may be a quantized file of
 * a. Costs two compilations and runs per layer. Free with cr_layer_costs_free. CR_ERR_ARGUMENT: b
 * has no recipe, or the models are not of the same kind. */
CR_API cr_status cr_rank_layers(const cr_model *a, const cr_model *b, const cr_image_list *pictures,
                                const cr_cost_options *options, const cr_progress *progress,
                                cr_layer_costs *out, cr_error *err);
CR_API void cr_layer_costs_free(cr_layer_costs *costs);

#ifdef __cplusplus
}
#endif
#endif
