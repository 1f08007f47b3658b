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

/* ---- budgets ---- */

typedef struct cr_budget_options {
    double max_drop; /* points (hundredths) of agreement with the float model, or, with labels, of
                        mAP50-95, that may be lost; negative: no budget, int16_layers only */
    const cr_labels *labels; /* of the pictures; NULL */
    long int16_layers;       /* at most so many activations in 16 bits; negative: any number */
    bool no_int4;            /* leave these out of the choices */
    bool no_int16;
    const char *times; /* file of measured times: used if it exists, else measured and written;
                          with the same file, pictures and options a plan is the same. NULL */
    int threads;       /* 0: all cores */
} cr_budget_options;

CR_API cr_budget_options cr_budget_options_default(void);

/* One plan that was tried. */
typedef struct cr_budget_point {
    double drop, deviation; /* points, and their standard error over pictures (NaN: too few) */
    double ms;              /* by the times of its layers */
    uint64_t bytes;         /* of the weights' file, about */
    size_t int4, int8, int16, floats; /* layers */
    bool chosen;
} cr_budget_point;

typedef struct cr_budget_report {
    cr_budget_point *points; /* in the order of being tried */
    size_t count, pictures, layers;
    double reference; /* what the float model scores: 1, or its mAP */
    double float_ms;  /* by the times of its layers */
    uint64_t float_bytes;
    double measured_ms, measured_float_ms; /* whole runs in turn; 0 with times from a file */
    bool within;     /* false: even the most exact plan of the choices loses more */
    bool kept_float; /* the model has no recipe: see why_float */
    const char *why_float;
} cr_budget_report;

/* Finds the precision of each layer (int4, int8, int16 activations, float) that makes the model
 * fastest, size counting a little, and loses at most max_drop on the pictures, which should be
 * others than those of the statistics and as many as there is time for. Attaches the recipe (none
 * where float is best: the result is never slower than the float model), which has the choice and
 * the table of tried plans among its facts. options: as for cr_quantize; layers that they name are
 * as they say. CR_ERR_UNSUPPORTED: max_drop, and the agreement cannot be measured. Free *out with
 * cr_budget_report_free. */
CR_API cr_status cr_quantize_within(cr_model *model, const cr_stats *stats,
                                    const cr_quantize_options *options,
                                    const cr_image_list *pictures, const cr_budget_options *budget,
                                    const cr_progress *progress, cr_budget_report *out,
                                    cr_error *err);
CR_API void cr_budget_report_free(cr_budget_report *report);

#ifdef __cplusplus
}
#endif
#endif
