/* A judge knows what the float model sees on some pictures and says how far a recipe is from it.
 *
 * Two measures. The *error* is smooth and adds up over layers, so that a few pictures are enough to
 * rank hundreds of recipes: candidates before suppression, each weighted with its confidence; see
 * judge.c. The *agreement* is what users are told: the COCO metric with the float model's
 * detections as the truth, or the mAP against labels, with its standard error over pictures. */
#ifndef CR_PIPELINE_JUDGE_H
#define CR_PIPELINE_JUDGE_H

#include "crayon/eval.h"
#include "crayon/model.h"
#include "graph/recipe.h"

typedef struct cr_judge cr_judge;

typedef struct cr_judge_options {
    size_t pictures; /* the first so many of the list; 0: all */
    int threads;
    const cr_labels *labels; /* NULL: agreement with the reference model */
} cr_judge_options;

enum { CR_JUDGE_GROUPS = 10 };

typedef struct cr_verdict {
    double error;     /* energy of the change over energy of the scores; 0: none */
    double agreement; /* 0..1; NaN: not asked for, or it cannot be measured */
    double deviation; /* standard error of `agreement`, by resampling the pictures; NaN as well, and
                         with fewer pictures than groups */
    double without[CR_JUDGE_GROUPS]; /* `agreement` without each group of pictures, where `deviation`
                                        is a number */
} cr_verdict;

/* How much more b agrees than a, on the same pictures of one judge, and the standard error of that
 * difference: what is hard about a picture is hard for both and cancels, so it is far below that of
 * either. NaN as in the verdicts. */
double cr_verdict_gain(const cr_verdict *a, const cr_verdict *b, double *deviation);

/* Fits the pictures (kept in memory: height x width x 3 bytes each), runs the reference. The model
 * must outlive the judge, and its preprocessing is that of everything that is judged. */
cr_status cr_judge_open(const cr_model *reference, const cr_image_list *pictures,
                        const cr_judge_options *options, const cr_progress *progress,
                        cr_judge **out, cr_error *err);
void cr_judge_close(cr_judge **j);

size_t cr_judge_pictures(const cr_judge *j);
/* Can the agreement be measured: is the head known and was something seen? */
bool cr_judge_measures_agreement(const cr_judge *j);

/* A model that borrows everything from `model` but its recipe (NULL: float), which stays the
 * caller's. Both must outlive it. */
cr_status cr_model_borrow(const cr_model *model, const cr_recipe *recipe, cr_model *out,
                          cr_error *err);
void cr_model_give_back(cr_model *borrowed);

/* Judges `model` with `recipe` (NULL: float) in place of its own, on the first `pictures` (0: all).
 * exact: with the agreement. The reference itself scores what it is worth: 1, or its mAP. */
cr_status cr_judge_try(cr_judge *j, const cr_model *model, const cr_recipe *recipe, size_t pictures,
                       bool exact, cr_verdict *out, cr_error *err);

#endif
