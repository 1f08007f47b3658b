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

/* 30 with a recipe, 10 of a float model, whose inner layers are further from what they should be. */
#define CR_FEATURES_AUTO (-1.0)

typedef struct cr_qat_options {
    double minutes;   /* how long to train; 0: no limit. Default 20 */
    int64_t steps;    /* instead, or what comes first of both; 0: no limit. Default 0 */
    int batch;        /* pictures per step, 1..1024; default 4 */
    double rate;      /* of what a number's size is, a step moves it by so much; 0: 1e-3 */
    double features;  /* what the outputs of inner layers weigh against those of the head; default
                         CR_FEATURES_AUTO */
    int height, width; /* pictures in training; smaller is faster. 0: half of the model's sides where
                          they are 448 and more and its layers take any size, else the model's */
    bool vary;        /* mirrored, zoomed, lighter and darker; default true */
    size_t judges;    /* pictures set apart, on which the best state is chosen; default 16. With fewer
                         than twice as many pictures in all: an eighth, at least one */
    const cr_image_list *judge_pictures; /* these judge, and all others train; NULL: set apart */
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
    double seconds;               /* of training, judging included, all runs up to this one */
    double processor_seconds;     /* of this process, all threads: what a machine of its own needs */
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

/* ---- from labelled pictures -------------------------------------------------------------------- */

/* Training: a detector or classifier from labelled pictures, from scratch or from a model file.
 *
 *     cr_train_options o = cr_train_options_default();
 *     cr_train_result result;
 *     o.arch = "pico";
 *     o.data = "shapes/instances.json";
 *     o.images = "shapes/images";
 *     if (cr_train(&o, "shapes.onnx", &result, &err) == CR_OK)
 *         printf("%s %.4f\n", result.metric, result.best);
 *     cr_train_result_free(&result);
 *
 * The same options and pictures give the same file for any number of threads, also when the run was
 * killed and resumed from its checkpoint. */

typedef enum cr_train_optimiser { CR_TRAIN_MUON, CR_TRAIN_ADAMW, CR_TRAIN_SGD } cr_train_optimiser;

/* How pictures are varied. */
typedef enum cr_train_augment {
    CR_TRAIN_AUGMENT_NONE,
    CR_TRAIN_AUGMENT_FLIP,     /* mirrored, one of two */
    CR_TRAIN_AUGMENT_SYMMETRY, /* one of the eight symmetries of the square */
    CR_TRAIN_AUGMENT_YOLO,     /* as YOLOv8 is trained: mosaic, scale, shift, mirror, colour */
    CR_TRAIN_AUGMENTS
} cr_train_augment;

typedef struct cr_train_options {
    const char *arch;   /* "yolov8n", "pico-cls", ... (cr_train_architectures); or */
    const char *model;  /* a float model file to go on from */
    const char *data;   /* labels as cr_labels_load reads them */
    const char *images; /* folder of the pictures; NULL: the labels know */
    const char *val, *val_images; /* the same to judge by; NULL: a tenth of the pictures is kept apart */
    int height, width;  /* of the architecture's input; 0: 640 (224 for classifiers) */
    int batch;          /* pictures per step, 16 */
    int pass;           /* of them at once; 0: all (an architecture), 1 (a model) */
    double epochs;      /* 100; steps and minutes, where given, come first */
    int64_t steps;
    double minutes;
    cr_train_optimiser optimiser;
    double rate;        /* 0: Muon .02, AdamW .001, SGD .01; a tenth of it for a model */
    cr_train_augment augment;
    int64_t validate_every; /* steps; 0: an epoch, at most a twentieth of the run */
    int patience;       /* validations without a better one before the end; 0: to the end */
    uint64_t seed;
    int threads;        /* 0: all cores */
    const char *checkpoint; /* file, or NULL */
    int64_t checkpoint_every; /* steps; 0: once a minute */
    bool resume;        /* go on from it if it is there */
    cr_progress progress;
    void (*say)(void *user, const char *line);  /* what a validation found; or NULL */
    void (*warn)(void *user, const char *line); /* what was survived; or NULL */
    void *user;
} cr_train_options;

CR_API cr_train_options cr_train_options_default(void);
/* The names, in words. */
CR_API const char *cr_train_architectures(void);

enum { CR_TRAIN_PARTS = 5 };

typedef struct cr_train_point {
    int64_t step;
    double rate, loss, parts[CR_TRAIN_PARTS]; /* means over the steps since the point before */
} cr_train_point;

typedef struct cr_train_mark {
    int64_t step;
    double score;
} cr_train_mark;

typedef struct cr_train_result {
    const char *metric; /* "mAP50-95", "top1", ... */
    double best;        /* of the file that was written, on the pictures kept apart */
    int64_t best_step, steps, left_out; /* left out: steps whose loss was not finite */
    size_t pictures, judged, objects;
    size_t missing, broken, unknown; /* pictures not there, unreadable; objects of unknown classes */
    double seconds;
    const char *part_names[CR_TRAIN_PARTS]; /* NULL behind the last */
    cr_train_point *points; /* at most a few hundred */
    size_t point_count;
    cr_train_mark *marks;   /* every validation */
    size_t mark_count;
} cr_train_result;

/* Trains and writes OUT, in the format of its ending, whole or not at all. Errors: ARGUMENT (an
 * option, classes that do not fit, a checkpoint of another run, a loss that stays not finite), IO,
 * FORMAT, UNSUPPORTED (a model whose head has no loss), CANCELLED (after writing the checkpoint),
 * MEMORY. The caller frees *result. */
CR_API cr_status cr_train(const cr_train_options *options, const char *out,
                          cr_train_result *result, cr_error *err);
CR_API void cr_train_result_free(cr_train_result *result);

/* Layer by layer, from the input on, new weights and biases for a float model whose activations were
 * swapped: those that give, on what the layer now reads, most nearly what the same layer of
 * `original` gives (least squares, held to the old weights where pictures say little). Seconds, and
 * most of what the swap broke; cr_qat goes on from there. report: as of cr_tune; or NULL. */
CR_API cr_status cr_refit(cr_model *model, const cr_model *original, const cr_image_list *pictures,
                          uint64_t seed, int threads, const cr_progress *progress,
                          cr_tune_report *report, cr_error *err);

/* Swaps the activations of `model` as cr_model_swap_activation does, but where they fit best: kinks
 * of ReLUs are moved, per channel, to where they cost least, and ReLU6 gets room for what the network
 * holds; then cr_refit. `teacher`: the same file opened once more; it goes on computing what it did,
 * in the coordinates of the model, and is to be the teacher of cr_qat. *count: activations swapped.
 * Both are of no use after an error. */
CR_API cr_status cr_model_swap_fitted(cr_model *model, cr_model *teacher, cr_activation activation,
                                      const cr_image_list *pictures, uint64_t seed, int threads,
                                      const cr_progress *progress, size_t *count,
                                      cr_tune_report *report, cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
