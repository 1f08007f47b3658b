/* Scales of weights for the form in which they are to be stored. */
#ifndef CR_QUANT_WEIGHT_SCALES_H
#define CR_QUANT_WEIGHT_SCALES_H

#include "graph/recipe.h"

typedef struct cr_weight_form {
    cr_dtype type;
    int axis;            /* -1: one scale for all */
    int64_t block;       /* 0, or along axis as in cr_qparams */
    bool reduced;        /* 8-bit types: 7 bits of them */
    bool least_error;    /* scales of least squared error; else of the largest value */
} cr_weight_form;

/* Parameters of w in that form; arrays live in the arena. Zero points are 0 for signed types, whose
 * codes are then -top..top of a symmetric quantizer. CR_ERR_FORMAT: w has NaN or infinite values. */
cr_status cr_weight_scales(const cr_tensor *w, const cr_weight_form *form, cr_arena *arena,
                           cr_qparams *out, cr_error *err);

#endif
