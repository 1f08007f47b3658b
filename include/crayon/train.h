/* Training without labels: the float model is the teacher of what was made of it.
 *
 *     cr_model_open("yolov8n.onnx", NULL, &teacher, &err);
 *     ... model: the same file, quantized by cr_quantize and cr_tune, or with another activation ...
 *     cr_qat_options o = cr_qat_options_default();
 *     o.minutes = 20;
 *     cr_qat(model, teacher, &pictures, &o, NULL, &report, &err);
 *     cr_model_export(model, "better.onnx", NULL, &err);
 *
 * A model with a recipe is trained with its rounding in the loop (straight-through estimator,
 * Bengio et al. 2013; learned steps, Esser et al. 2020): what training saw is what the exported file
 * does. A float model is trained as it is, which repairs another activation
 * (cr_model_swap_activation). */
#ifndef CRAYON_TRAIN_H
#define CRAYON_TRAIN_H

#include "crayon/quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cr_qat_options {
    double minutes;   /* how long to train; 0: no limit. Default 20 */
    int64_t steps;    /* instead, or what comes first of both; 0: no limit. Default 0 */
    int batch;        /* pictures per step, 1..1024; default 4 */
    double rate;      /* learning rate, > 0; 0: 1e-4 with a recipe, 5e-4 of a float model */
    double features;  /* what the outputs of inner layers weigh against those of the head; default 1 */
    int height, width; /* pictures in training; 0: as the model has them. Smaller is faster */
    bool vary;        /* mirrored, zoomed, lighter and darker; default true */
    size_t judges;    /* pictures set apart, on which the best state is chosen; default 16. With fewer
                         than twice as many pictures in all: an eighth, at least one */
    uint64_t seed;
    int threads;      /* 0: all cores; the result does not depend on it */
    const char *checkpoint; /* a file that is written now and then; NULL: none */
    bool resume;            /* go on from it, if it is there */
    const char *curve;      /* a file of tab-separated lines, one per step; NULL: none */
    void (*warn)(void *user, const char *line); /* what was survived: pictures, steps; or NULL */
    void (*tell)(void *user, const char *line); /* one line per judgement; or NULL */
    void *user;
} cr_qat_options;

CR_API cr_qat_options cr_qat_options_default(void);

typedef struct cr_qat_report {
    size_t pictures, judges, bad; /* trained with, set apart, unreadable ones left out */
    int64_t steps, left_out;      /* left out: numbers were not finite */
    int64_t best;                 /* after so many steps; 0: nothing was better than the start */
    double seconds;
    double error_before, error_after;         /* on those set apart: energy of the change of scores */
    double agreement_before, agreement_after; /* likewise with the teacher's detections; NaN: cannot
                                                 be measured */
} cr_qat_report;

/* Trains `model` to give what `teacher` gives; it gets the best state that was found, never one that
 * is worse than its own on the pictures set apart (then it is unchanged). Both must have one input
 * [1,3,H,W] of one size and the same outputs; the teacher's preprocessing is used. Cancelled: a
 * checkpoint is written, the model unchanged. CR_ERR_UNSUPPORTED names a node without a gradient. */
CR_API cr_status cr_qat(cr_model *model, const cr_model *teacher, const cr_image_list *pictures,
                        const cr_qat_options *options, const cr_progress *progress,
                        cr_qat_report *report, cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
