/* Where gradients that die lie in one block (grad_plan.c). */
#ifndef CR_TRAIN_GRAD_PLAN_H
#define CR_TRAIN_GRAD_PLAN_H

#include <stddef.h>

#include "crayon/status.h"

/* A gradient of `bytes` (0: none here) that lives in steps first..last. */
typedef struct cr_grad_span {
    int first, last;
    size_t bytes, place;
} cr_grad_span;

/* Fills `place`; *total: the size of the block. Largest first, each at the lowest place that is
 * free while it lives, as runtime/plan_memory.c does with activations. */
cr_status cr_grad_place(cr_grad_span *spans, size_t n, size_t *total, cr_error *err);

#endif
