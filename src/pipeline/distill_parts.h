/* What a student of a model should learn from it: the raw outputs of the last convolutions, by what
 * they mean (quant/head_parts.h: from the graph, never from names), and what the convolutions of
 * the body give. */
#ifndef CR_PIPELINE_DISTILL_PARTS_H
#define CR_PIPELINE_DISTILL_PARTS_H

#include "pipeline/model_impl.h"
#include "train/distill.h"

typedef struct cr_distill_plan {
    cr_distill_part *parts; /* those of the head, then features; names are the graph's */
    const char **names;     /* the parts' tensors, each once */
    size_t count, head, name_count;
} cr_distill_plan;

/* `features`: what the loss of all features together weighs, each its share; 0: none. */
cr_status cr_distill_plan_make(const cr_model *teacher, double features, cr_distill_plan *out,
                               cr_error *err);
void cr_distill_plan_release(cr_distill_plan *p);

#endif
