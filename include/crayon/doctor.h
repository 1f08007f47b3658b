/* What is wrong with a quantized model, whoever wrote it, and taking it apart to plan it anew.
 *
 *     cr_finding *list;
 *     size_t count;
 *     cr_model_findings(model, &list, &count, &err);        what `crayon inspect` prints below its summary
 *     free(list);
 *
 *     cr_model_unquantize(model, &err);                     what `crayon quantize --fix` does:
 *     cr_calibrate(model, &pictures, &o, NULL, &stats, &err);
 *     cr_quantize(model, stats, &o, &report, &err);         keeps what was good in the file */
#ifndef CRAYON_DOCTOR_H
#define CRAYON_DOCTOR_H

#include "crayon/model.h"
#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cr_finding_kind {
    CR_FINDING_BAD_SCALE,         /* zero, negative, infinite, NaN */
    CR_FINDING_WRONG_AXIS,        /* scales along an axis that is not the output channels' */
    CR_FINDING_OLD_OPSET,         /* scales per channel where the opset has one per tensor only */
    CR_FINDING_SHARED_SCALE,      /* boxes and scores in one tensor of 8 bits */
    CR_FINDING_COARSE_BOXES,      /* positions in the picture in 8 bits */
    CR_FINDING_QUANTIZED_DFL,     /* the distribution of box sides in 8 bits */
    CR_FINDING_CUT_ACTIVATION,    /* roundings between a convolution and its activation */
    CR_FINDING_COARSE_WEIGHTS,    /* one scale for output channels that differ much */
    CR_FINDING_UNFUSED_PAIR,      /* a rounding that no integer kernel reads */
    CR_FINDING_SIGNED_ACTIVATIONS, /* int8 by int8 */
    CR_FINDING_INTEGER_OPERATOR,  /* ConvInteger, MatMulInteger */
    CR_FINDING_DEAD_PAIR,         /* Q and DQ that do nothing, or round twice */
    CR_FINDING_STORED_FLOAT,      /* weights stored as float32 in front of a QuantizeLinear */
    CR_FINDING_KINDS
} cr_finding_kind;

/* Can cr_model_unquantize and planning anew mend it? */
typedef enum cr_fixable {
    CR_FIXABLE,
    CR_FIXABLE_WITH_PICTURES, /* ranges are missing in the file */
    CR_FIXABLE_FROM_FLOAT     /* what was lost is in the float model only */
} cr_fixable;

/* One finding at one place. All strings live as long as the model. */
typedef struct cr_finding {
    cr_finding_kind kind;
    const char *key;   /* "shared-scale" */
    const char *harm;  /* "wrong", "accuracy", "speed" or "size": what it costs */
    const char *node;  /* where */
    const char *tensor;
    const char *what;  /* what is there, with its numbers */
    const char *why;   /* why it hurts; the same for all of a kind */
    const char *mend;  /* the option that mends it; the same for all of a kind */
    cr_fixable fixable;
} cr_finding;

/* Looks at what the file said and at the recipe. Worst kinds first, within a kind in the order of
 * nodes; a float model has none. The caller frees *out with free(). */
CR_API cr_status cr_model_findings(cr_model *model, cr_finding **out, size_t *count, cr_error *err);

/* Makes a quantized model float again: weights keep the values of their codes, roundings between are
 * gone, activations in pieces are one node again. The next cr_quantize then takes over the file's
 * entries where the plan has a place for them: those of weights as long as their type and axis are
 * right, ranges of activations unless the statistics show a smaller error; it may do without
 * statistics, and quantizes only what the file has ranges for then. CR_ERR_ARGUMENT: the model is
 * float, or its recipe changes the graph. */
CR_API cr_status cr_model_unquantize(cr_model *model, cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
