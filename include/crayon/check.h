/* Before a calibration: are the pictures prepared as the model expects, and are they worth it?
 *
 * Wrong preprocessing is the commonest reason for a bad quantized model, and nothing says so: the
 * float model sees less, the statistics are of the wrong thing, and every number still looks like a
 * number. */
#ifndef CRAYON_CHECK_H
#define CRAYON_CHECK_H

#include "crayon/image.h"
#include "crayon/model.h"
#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How well a model sees with one way of preparing pictures. */
typedef struct cr_preprocess_score {
    cr_preprocess preprocess;
    size_t pictures; /* that were looked at */
    double score;    /* mean over them: what is found and found again in the mirror image, as the sum
                        over pairs among the five best boxes of sqrt(score * score') * IoU */
} cr_preprocess_score;

enum { CR_PREPROCESS_CANDIDATES = 16 };

typedef struct cr_preprocess_check {
    bool possible; /* false: the model's outputs are of no known kind, nothing was tried */
    size_t count;
    cr_preprocess_score candidates[CR_PREPROCESS_CANDIDATES]; /* [0] is the declared one */
    size_t best;   /* index; 0 unless another one is better beyond doubt */
    double gain;   /* how many times the score of the declared one it has, on the same pictures */
} cr_preprocess_check;

/* Tries orders of colours, ranges of values and ways to fit on at most 32 of the pictures, spread
 * evenly over the list. */
CR_API cr_status cr_preprocess_try(const cr_model *model, const cr_image_list *pictures, int threads,
                                   const cr_progress *progress, cr_preprocess_check *out,
                                   cr_error *err);

/* What is odd about a set of pictures, from at most 64 of them. */
typedef struct cr_picture_check {
    size_t looked_at;
    size_t alike;  /* of them: nearly equal to an earlier one */
    size_t grey;   /* without any colour */
    size_t empty;  /* one colour or nearly so */
} cr_picture_check;

CR_API cr_status cr_pictures_check(const cr_image_list *pictures, cr_picture_check *out,
                                   cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
